"""How a training becomes a run: calibrated, points chosen, weights and facts written, judged.

Temperature, cuts and operating points come from validation or from out-of-fold
rows; what was held out is scored once, here, and only reported.
"""

from __future__ import annotations

import hashlib
import shutil
import warnings
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pandas as pd

from core.app import CONTRACT, App, Rule, Unit
from core.base.options import stored_options
from core.base.outputs import is_complete, seal, sha256_file, write_json, write_text
from core.base.versions import versions
from core.cards.licence_terms import joined_terms, terms_of_weights
from core.errors import ConfigError
from core.model.checkpoint import save_network
from core.runs.predictions import Scoring, points_for_run, predictions_of
from core.runs.run import SCHEMA, model_id_of, task_to_dict
from core.statistics.scores import link_of
from core.training.fingerprint import RESUMING
from core.training.run_calibration import calibrate, with_cuts
from core.training.run_report import report_run
from core.training.vector_scaling import with_vector_scaling

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from core.base.settings import Question
    from core.training.fine_tuning import Training
    from core.training.fingerprint import Fingerprint
    from core.training.one_network import Trained

__all__ = ["Given", "finish", "remove_resume_points", "units_for", "units_of"]


@dataclass(frozen=True)
class Given:
    """What was asked of a training, and what was found in the data.

    Attributes:
        question: as in ``plan.yaml``.
        found: in the data.
        manifest: with splits.
        ok: the rows of the manifest that could be read when it was made, with what their
            preparation said.
    """

    question: Question
    found: Fingerprint
    manifest: pd.DataFrame
    ok: pd.DataFrame


def finish(
    training: Training,
    given: Given,
    parts: Sequence[Mapping[str, np.ndarray]],
    members: Sequence[Trained],
    out: Path,
) -> None:
    """Calibrate, write the run, score what was held out, report, and declare it complete."""
    app, plain, config, data = training.app, training.task, training.config, training.data
    link = link_of(plain, config.head)
    members, vector = with_vector_scaling(members, data, parts)
    entries = _entries(training, parts, members, out)
    logits, distance, probe_logits, heat, average = calibrate(data, parts, members, link)
    task = with_cuts(app, plain, config, data, parts, logits, heat, link)
    # The probe beside it is decided at cuts of its own scores, not at those of the network.
    alone = np.ones(len(probe_logits))
    probe_task = task
    if any(member.kept != "probe" for member in members):
        probe_task = with_cuts(app, plain, config, data, parts, probe_logits, alone, link)
    run = {
        **_about_run(replace(training, task=task), given, entries),
        "start": members[0].weights.as_dict(),
        "temperature": average["temperature"],
        "average": average if len(members) > 1 else None,
        "vector_scaling": vector,
        "unfamiliar_above": float(np.median([m.unfamiliar_above for m in members])),
    }
    ok = _with_folds(given.ok, parts)
    scoring = Scoring(
        app=app,
        task=task,
        link=link,
        temperature=heat,
        unfamiliar_above=run["unfamiliar_above"],
        model_id=run["model_id"],
    )
    predictions = predictions_of(ok, logits, distance, scoring, _attended(parts, members))
    run["operating_points"] = points_for_run(
        predictions,
        run,
        targets=app.targets,
        units=_units_known(app, given),
        metrics=app.metrics_for(task),
    )
    write_json(out / "run.json", run)
    curves = pd.concat(
        [m.log.assign(member=i) for i, m in enumerate(members) if len(m.log)] or [pd.DataFrame()],
        ignore_index=True,
    )
    write_text(out / "log.csv", curves.to_csv(index=False, lineterminator="\n"))
    of_probe = replace(scoring, temperature=1.0, task=probe_task)
    report_run(
        out,
        predictions=_with_skipped(predictions, given.manifest),
        probe=predictions_of(ok, probe_logits, distance, of_probe),
        probe_task=probe_task,
        manifest=given.manifest,
        store=data.store,
        network=members[0].network,
    )
    keep_tensorboard(out)
    # Sealed first: without its resume points an unsealed run could never be ended.
    seal(out, without=RESUMING)
    remove_resume_points(out)


def _entries(
    training: Training,
    parts: Sequence[Mapping[str, np.ndarray]],
    members: Sequence[Trained],
    out: Path,
) -> list[dict[str, Any]]:
    """The networks, written, and what ``run.json`` says of each."""
    entries: list[dict[str, Any]] = []
    for number, member in enumerate(members):
        name = "model.safetensors" if len(members) == 1 else f"member-{number}.safetensors"
        save_network(out / name, member.network, member.familiarity)
        entries.append(
            {
                "weights": name,
                "sha256": sha256_file(out / name),
                "network": member.description,
                "preparation": training.preparation.as_dict(),
                "kept": member.kept,
                "best_epoch": member.best_epoch,
                "stopped": member.stopped,
                "probe": member.probe,
                "n_train": len(parts[number]["train"]),
                "n_val": len(parts[number]["val"]),
                "attention": member.attention,
            }
        )
    return entries


def _units_known(app: App, given: Given) -> list[Unit]:
    """The steps above the image; not that of the group, where the user named another."""
    units = units_for(app, given.question)
    if given.found.group_word:
        units = [unit for unit in units if unit.name != app.group]
    return units


def _about_run(training: Training, given: Given, entries: list[dict[str, Any]]) -> dict[str, Any]:
    """What ``run.json`` says of the app, the data and the networks, before anything is chosen."""
    app, config, found, ok = training.app, training.config, given.found, given.ok
    data = given.manifest.drop(columns=["path"]).to_csv(index=False)
    return {
        "schema": SCHEMA,
        "contract": CONTRACT,
        "app": app.name,
        "title": app.title,
        "intended_use": app.intended_use,
        "task": task_to_dict(training.task),
        "group": found.group_word or app.group,
        "group_rule": found.group_rule,
        "split_rule": found.split_rule,
        "cards": found.cards,
        "design": found.design or app.design,
        "terms": joined_terms(found.terms, terms_of_weights(str(config.weights))),
        "options": stored_options(app, given.question.options),
        "facts": found.facts,
        "members": entries,
        "operating_point": None,
        "operating_points": [],
        "units": [
            {"name": u.name, "columns": list(u.columns), "rule": u.rule}
            for u in _units_known(app, given)
        ],
        "seed": config.seed,
        "n_images": {
            split: int(((ok["split"] == split) & (ok["status"] == "ok")).sum())
            for split in ("train", "val", "test")
        },
        "data_sha256": hashlib.sha256(data.encode("utf-8", "surrogateescape")).hexdigest(),
        "versions": versions(),
        "model_id": model_id_of([entry["sha256"] for entry in entries]),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _with_folds(ok: pd.DataFrame, parts: Sequence[Mapping[str, np.ndarray]]) -> pd.DataFrame:
    """The rows with the fold that left each out, where there are folds."""
    if len(parts) == 1:
        return ok
    ok = ok.assign(split=ok["split"].where(ok["split"] == "test", "out-of-fold"), fold="")
    for number, part in enumerate(parts):
        ok.loc[ok.index[part["fold"]], "fold"] = str(number)
    return ok


def remove_resume_points(out: Path) -> None:
    """Remove what only an incomplete run needs, once it is sealed.

    Raises:
        RuntimeError: it is not; a kill in the middle would leave a run that nothing ends.
    """
    if not is_complete(out):
        msg = f"{out} is not sealed, and without its resume points it could not be ended"
        raise RuntimeError(msg)
    for name in RESUMING:
        shutil.rmtree(out / name, ignore_errors=True)
        with suppress(OSError):
            (out / name).unlink(missing_ok=True)


def keep_tensorboard(out: Path) -> None:
    """Move TensorBoard's files from ``checkpoints`` to ``tensorboard``, one folder per network.

    Their own names hold the name of the machine and of the process, so they get new ones.
    """
    for number, folder in enumerate(sorted((out / "checkpoints").rglob("tensorboard"))):
        files = sorted(folder.glob("events.out.tfevents.*"))
        target = out / "tensorboard" / f"member-{number}"
        for part, file in enumerate(files):
            target.mkdir(parents=True, exist_ok=True)
            file.replace(target / f"events.out.tfevents.{part}")


def units_for(app: App, question: Question) -> list[Unit]:
    """The app's steps with the rules of the task, then those of the user."""
    return units_of(app, {**app.task(question.task).rules, **question.rules})


def units_of(app: App, rules: Mapping[str, str]) -> list[Unit]:
    """The app's steps, with the rules that the user chose.

    Raises:
        ConfigError: the app has no such unit, or a rule is unknown.
    """
    known = {unit.name: unit for unit in app.units}
    for name, rule in rules.items():
        if name not in known:
            named = ", ".join(known) or "none"
            msg = (
                f"--rule {name}={rule}: {app.name} has no unit {name!r} (it has: {named}). "
                f"Name one of these."
            )
            raise ConfigError(msg)
        if rule not in get_args(Rule):
            msg = f"--rule {name}={rule}: is no rule. Choose {', '.join(get_args(Rule))}."
            raise ConfigError(msg)
        known[name] = replace(known[name], rule=rule)  # type: ignore[arg-type]
    return list(known.values())


def _attended(
    parts: Sequence[Mapping[str, np.ndarray]], members: Sequence[Trained]
) -> np.ndarray | None:
    """What members say of each image for its unit: of a fold its own member, else their average."""
    values = [member.attended for member in members if member.attended is not None]
    if len(values) < len(members):
        return None
    with warnings.catch_warnings():
        # Rows that nobody scored, those of training, stay without a value.
        warnings.simplefilter("ignore", RuntimeWarning)
        found = np.nanmean(values, axis=0)
    if len(members) > 1:
        for part, one in zip(parts, values, strict=True):
            found[part["fold"]] = one[part["fold"]]
    return np.asarray(found)


def _with_skipped(predictions: pd.DataFrame, manifest: pd.DataFrame) -> pd.DataFrame:
    """Add the rows that were skipped, so that every input has its row."""
    skipped = manifest[manifest["status"] != "ok"]
    if not len(skipped):
        return predictions
    rows = skipped[[c for c in predictions.columns if c in skipped.columns]].copy()
    return pd.concat([predictions, rows], ignore_index=True)
