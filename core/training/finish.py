"""How a training becomes a run: calibrated, points chosen, weights and facts written, judged.

Temperature, cuts and operating points come from validation or from out-of-fold
rows; what was held out is scored once, here, and only reported.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pandas as pd
import torch

from core.app import CONTRACT, App, ReportContext, Rule, Task, Unit, find_app
from core.base.options import stored_options
from core.base.outputs import is_complete, seal, sha256_file, write_json, write_text
from core.base.versions import versions
from core.base.volumes import visible
from core.cards.licence_terms import joined_terms, terms_of_weights
from core.data.prepared import resize_to
from core.errors import ConfigError
from core.model.checkpoint import save_network
from core.model.saliency import saliency_map
from core.runs.predictions import Scoring, final_split, points_for_run, predictions_of
from core.runs.results import Look, write_evaluation
from core.runs.run import SCHEMA, model_id_of, task_from_dict, task_to_dict
from core.runs.run_metrics import BASELINE, against_probe, compute_metrics, headline_without_flagged
from core.runs.table_files import read_json, write_table
from core.statistics.calibration import fit_temperature
from core.statistics.scores import link_of, scores_from_logits
from core.training.fingerprint import RESUMING
from core.training.fold_average import shrinkage_of_average
from core.training.grade_cuts import chosen_cuts, with_fold_cuts
from core.training.vector_scaling import with_vector_scaling

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from core.base.settings import Question, TrainConfig
    from core.data.prepared import Prepared
    from core.model.network import Network
    from core.training.fine_tuning import Data, Training
    from core.training.one_network import Trained

__all__ = ["Given", "finish", "remove_resume_points", "units_for", "units_of"]


@dataclass(frozen=True)
class Given:
    """What was asked of a training, and what was found in the data.

    Attributes:
        question: as in ``plan.yaml``.
        words: of the data; see ``core.training.fingerprint.look``.
        manifest: with splits.
        ok: the rows of the manifest that could be read when it was made, with what their
            preparation said.
    """

    question: Question
    words: Mapping[str, Any]
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
    logits, distance, probe_logits, heat, average = _calibrate(data, parts, members, link)
    task = _with_cuts(app, plain, config, data, parts, logits, heat, link)
    # The probe beside it is decided at cuts of its own scores, not at those of the network.
    alone = np.ones(len(probe_logits))
    probe_task = task
    if any(member.kept != "probe" for member in members):
        probe_task = _with_cuts(app, plain, config, data, parts, probe_logits, alone, link)
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
    if given.words.get("group_word"):
        units = [unit for unit in units if unit.name != app.group]
    return units


def _about_run(training: Training, given: Given, entries: list[dict[str, Any]]) -> dict[str, Any]:
    """What ``run.json`` says of the app, the data and the networks, before anything is chosen."""
    app, config, words, ok = training.app, training.config, given.words, given.ok
    data = given.manifest.drop(columns=["path"]).to_csv(index=False)
    return {
        "schema": SCHEMA,
        "contract": CONTRACT,
        "app": app.name,
        "title": app.title,
        "intended_use": app.intended_use,
        "task": task_to_dict(training.task),
        "group": words.get("group_word") or app.group,
        "group_rule": words["group_rule"],
        "split_rule": words["split_rule"],
        "cards": words["cards"],
        "design": words.get("design") or app.design,
        "terms": joined_terms(words["terms"], terms_of_weights(str(config.weights))),
        "options": stored_options(app, given.question.options),
        "facts": words.get("facts", {}),
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


def _with_cuts(
    app: App,
    task: Task,
    config: TrainConfig,
    data: Data,
    parts: Sequence[Mapping[str, np.ndarray]],
    logits: np.ndarray,
    heat: np.ndarray,
    link: str,
) -> Task:
    """The task with the cuts that decide by frequencies, where that was asked for.

    Scores are those of validation, or out of fold; the frequencies are of all labels
    that are not held out, of which there are more. ``validation`` takes the cuts where the
    task's headline is better with them than with the median. The rows of each fold are
    judged by what the other folds alone give.
    """
    if config.decide == "median" or task.kind != "ordinal":
        return task
    scores = scores_from_logits(logits / heat[:, None], link=link)
    folds = [part["fold" if len(parts) > 1 else "val"] for part in parts]
    judged = np.concatenate(folds)
    known = np.concatenate([parts[0]["train"], judged]) if len(parts) == 1 else judged
    headline = None if config.decide == "frequencies" else app.metrics_for(task)[0]
    cuts = chosen_cuts(
        scores[judged], data.y[judged], task=task, headline=headline, known=data.y[known]
    )
    task = replace(task, cuts=cuts)
    if len(parts) == 1:
        return task
    named = {str(number): rows for number, rows in enumerate(folds)}
    return with_fold_cuts(
        task, logits, data.y, folds=named, heat=heat, link=link, headline=headline
    )


def _calibrate(
    data: Data,
    parts: Sequence[Mapping[str, np.ndarray]],
    members: Sequence[Trained],
    link: str,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
    """Logits, distances, probe logits and temperature of each row, and that of the run.

    With one member the temperature comes from validation. With folds it comes
    from the out-of-fold logits; a row's own temperature then from the other
    folds only, so that no row helps to judge itself. The run's own is that of the average
    of the members, which is what predicts.
    """
    n = len(data.y)
    logits = np.full((n, members[0].logits.shape[1]), np.nan)
    probe, distance, heat = logits.copy(), np.full(n, np.nan), np.ones(n)
    if len(members) == 1:
        val = parts[0]["val"]
        temperature = fit_temperature(members[0].logits[val], data.y[val], link=link)
        heat[:] = temperature
        one = members[0]
        return one.logits, one.distance, one.probe_logits, heat, {"temperature": temperature}
    folds = [part["fold"] for part in parts]
    for rows, member in zip(folds, members, strict=True):
        logits[rows], distance[rows] = member.logits[rows], member.distance[rows]
        probe[rows] = member.probe_logits[rows]
    everything = np.concatenate(folds)
    # Rows of a given test split were seen by no member: the ensemble scores them.
    shared = np.setdiff1d(parts[0]["held"], everything)
    logits[shared] = np.mean([m.logits[shared] for m in members], axis=0)
    probe[shared] = np.mean([m.probe_logits[shared] for m in members], axis=0)
    distance[shared] = np.mean([m.distance[shared] for m in members], axis=0)
    for rows in folds:
        others = np.setdiff1d(everything, rows)
        heat[rows] = fit_temperature(logits[others], data.y[others], link=link)
    single = fit_temperature(logits[everything], data.y[everything], link=link)
    own = [_only(member.logits, everything) for member in members]
    factor, n = shrinkage_of_average(own, data.y, link=link)
    heat[shared] = single * factor
    average = {
        "temperature": single * factor,
        "temperature_of_one": single,
        "n_shared": n,
        "fold_temperatures": {str(i): float(heat[rows[0]]) for i, rows in enumerate(folds)},
    }
    return logits, distance, probe, heat, average


def _only(logits: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The logits of these rows; NaN in all others, which are held out."""
    found = np.full_like(logits, np.nan)
    found[rows] = logits[rows]
    return found


def _with_skipped(predictions: pd.DataFrame, manifest: pd.DataFrame) -> pd.DataFrame:
    """Add the rows that were skipped, so that every input has its row."""
    skipped = manifest[manifest["status"] != "ok"]
    if not len(skipped):
        return predictions
    rows = skipped[[c for c in predictions.columns if c in skipped.columns]].copy()
    return pd.concat([predictions, rows], ignore_index=True)


def report_run(
    out: Path,
    *,
    predictions: pd.DataFrame,
    probe: pd.DataFrame,
    probe_task: Task,
    manifest: pd.DataFrame,
    store: Prepared,
    network: Network,
) -> dict[str, Any]:
    """Write predictions, metrics and the report of a training into its run.

    Args:
        out: the run directory; holds ``run.json``, ``plan.yaml`` and ``audit.json``.
        predictions: rows of every split; those without a score and without a
            failure (training rows) are left out.
        probe: the same rows scored by the probe on frozen features.
        probe_task: the task with the cuts of the probe.
        manifest: with splits.
        store: prepared images, for pictures.
        network: for saliency maps.
    """
    run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    split = final_split(predictions)
    judged = predictions[
        (predictions["split"].fillna("") != "train") | (predictions["status"] != "ok")
    ]
    judged = judged.reset_index(drop=True)
    write_table(out / "predictions", judged)
    evaluation, decisions = compute_metrics(judged, run=run, split=split)
    known = judged["image_id"][judged["split"] == split]
    beside = probe[probe["image_id"].isin(known)].reset_index(drop=True)
    of_probe = {**run, "temperature": 1.0, "task": task_to_dict(probe_task)}
    baseline, _ = compute_metrics(beside, run=of_probe, split=split, without=BASELINE)
    evaluation["probe"] = baseline["metrics"]
    evaluation["against_probe"] = against_probe(
        judged, beside, run=run, split=split, probe_task=probe_task
    )
    evaluation["without"] = headline_without_flagged(
        judged, manifest, read_json(out / "audit.json"), run, split
    )
    picture, saliency = _pictures(store, network, run)
    context = ReportContext(
        app=find_app(run["app"]),
        task=task_from_dict(run["task"]),
        evaluation=evaluation,
        predictions=judged[judged["split"] == split].reset_index(drop=True),
        decisions=decisions,
        manifest=manifest,
        run=run,
        picture=picture,
        saliency=saliency,
    )
    return write_evaluation(out, context)


def _pictures(store: Prepared, network: Network, run: Mapping[str, Any]) -> tuple[Look, Look]:
    """Functions that give the prepared picture and the saliency map of an image."""
    place = {image_id: row for row, image_id in enumerate(store.table["image_id"])}
    size = run["members"][0]["preparation"]["size_px"]
    size_px = (int(size[0]), int(size[1]))

    def pixels(image_id: str) -> NDArray[Any]:
        return resize_to(store[place[image_id]], size_px)

    def picture(image_id: str) -> NDArray[Any]:
        return visible(pixels(image_id))

    def saliency(image_id: str) -> NDArray[Any]:
        batch = torch.from_numpy(np.ascontiguousarray(pixels(image_id).transpose(2, 0, 1)))[None]
        return saliency_map(network, batch, class_index=None, target_layer=network.last_stage)

    return picture, saliency
