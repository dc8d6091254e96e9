"""``resight train``: check, plan, fine-tune, calibrate, evaluate what was held out.

The steps stand in the order the data takes them. Each leaves a file, so that
the same command after a kill goes on with the step that was not finished.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from core.app import CONTRACT, App, Rule, Source, Task, Unit, find_app
from core.config import Plan, Question, TrainConfig, check_settings, read_plan, write_plan
from core.data.audit import audit, image_facts_of, merge_duplicates
from core.data.manifest import locate
from core.data.prepared import Form, Preparation, prepare_table
from core.data.recognition import index_with_cards
from core.data.split import draw_folds, draw_split
from core.errors import ConfigError, ManifestError, ResightError, RunError
from core.evaluate import fitting_metrics, report_run
from core.evaluation.attention import learned_unit
from core.evaluation.calibration import fit_temperature
from core.evaluation.choosing import choose_points
from core.member import Data, Trained, epochs_within, train_member
from core.model.backbone import require_weights
from core.model.checkpoint import save_network
from core.model.pooling import LEAST_UNITS, can_learn
from core.model.recipe import Facts, machine, resolve
from core.options import plain_options, resolve_options, stored_options
from core.outputs import claim, is_complete, seal, sha256_file, write_bytes, write_json, write_text
from core.predictions import predictions_of
from core.progress import log
from core.run import SCHEMA, load_run, task_from_dict, task_to_dict, versions
from core.scaling import with_vector_scaling
from core.scores import cuts_by_frequency, encode, link_of, scores_from_logits
from core.tables import check_manifest, check_splits
from core.terms import joined_terms, terms_of, terms_of_weights

__all__ = ["train"]

# Written last when the data were looked at.
LOOKED = "words.json"
Plans = Callable[[Plan, Mapping[str, Any]], None]


def train(
    app_name: str | None,
    data: Path | None,
    out: Path,
    *,
    flags: Mapping[str, Any] | None = None,
    task: str | None = None,
    label: str | None = None,
    group: str | None = None,
    card: str | None = None,
    allow_outside: bool = False,
    options: Mapping[str, Any] | None = None,
    rules: Mapping[str, str] | None = None,
    plan_file: Path | None = None,
    on_plan: Plans = lambda _plan, _words: None,
) -> dict[str, Any]:
    """Fine-tune a network on a labelled folder or table, and judge it on what was held out.

    Args:
        app_name: the app; None takes it from the plan file.
        data: folder or table; None takes it from the plan file.
        out: the run directory; made if absent, resumed if incomplete.
        flags: settings of ``TrainConfig`` given by the user.
        task: name of a task of the app, or a kind; None takes the first.
        label: column of the labels; None takes the task's.
        group: column that may never straddle a split; None takes the app's rule.
        card: data card to use; None lets the layout decide.
        allow_outside: whether a table may name files outside of its folder.
        options: the app's own.
        rules: unit -> rule of its step, where it is not the app's: mean, max or noisy_or.
        plan_file: a ``plan.yaml`` to run again.
        on_plan: called with the plan and the words about the data before training starts.

    Returns:
        the run's ``run.json`` content with ``headline`` and ``files`` added.

    Raises:
        ResightError: the data, the settings or the output must change.
    """
    settings = check_settings(flags or {}, "command line")
    planned: dict[str, Any] = {}
    question = _question(app_name, data, task, label, group, card, allow_outside, rules)
    if plan_file is not None:
        asked, planned = read_plan(plan_file)
        given = {k: v for k, v in question.items() if v not in (None, False, {})}
        question = {**asked.model_dump(), **given}
    if not question["app"] or not question["data"]:
        msg = "Neither an app with data nor a plan was given. Pass APP DATA, or --plan FILE."
        raise ConfigError(msg)
    app = find_app(question["app"])
    planned_options = question.get("options", {})
    own = resolve_options(app, "train", {**planned_options, **(options or {})})
    asked = Question.model_validate({**question, "options": plain_options(own)})
    units_of(app, asked.rules)
    _keep_apart(out, Path(asked.data))
    with claim(out):
        wish = json.loads(json.dumps([asked.model_dump(), {**planned, **settings}], sort_keys=True))
        if is_complete(out):
            _same_wish(out, wish)
            log.info("%s is complete already; nothing was done", out)
            return _result(out)
        if (out / "plan.yaml").is_file():
            _same_wish(out, wish)
        else:
            _forget(out)
        write_json(out / "wish.json", wish)
        domain = {**app.config, **app.task(asked.task).config}
        wanted = {**TrainConfig().model_dump(), **domain, **planned, **settings}
        try:
            require_weights(str(wanted["backbone"]), str(wanted["weights"]))
            _train(app, asked, own, planned, settings, out, on_plan)
        except ResightError:
            if not (out / "plan.yaml").is_file():
                _forget(out)
            raise
        return _result(out)


def _forget(out: Path) -> None:
    """Remove what precedes a plan, so that a corrected command finds the place free."""
    for name in ("wish.json", LOOKED, "audit.json", "manifest.parquet"):
        (out / name).unlink(missing_ok=True)


def _train(
    app: App,
    question: Question,
    options: Mapping[str, Any],
    planned: Mapping[str, Any],
    settings: Mapping[str, Any],
    out: Path,
    on_plan: Plans,
) -> None:
    """The steps, inside the claimed directory."""
    domain = {**app.config, **app.task(question.task).config}
    wanted = {**domain, **planned, **settings}
    manifest, task, words = _look(app, question, options, wanted, out)
    facts = _facts(manifest, words["audit"], task, wanted)
    # What the data call for stands above the app's own defaults.
    defaults = {**domain, **words.get("settings", {})}
    plan = resolve(question, facts, app_defaults=defaults, plan=planned, flags=settings)
    config = plan.config
    write_text(out / "plan.yaml", write_plan(plan))
    on_plan(plan, words)

    form = Form(*words["form"])
    preparation = Preparation.of(app, config.size_px or (224, 224), form, options)
    rows = manifest.copy()
    rows["path"] = [str(locate(Path(words["root"]), path)) for path in rows["path"]]
    store = prepare_table(rows, app=app, preparation=preparation, workers=cores())
    ok = manifest[manifest["status"] == "ok"].reset_index(drop=True)
    ok = ok.merge(
        store.table.drop(columns=["status", "reason", "affine"]), on="image_id", validate="1:1"
    )
    ok["status"], ok["reason"] = store.table["status"], store.table["reason"]
    group = ok["group"].fillna("").astype(str)
    data = Data(
        store=store,
        y=encode(list(ok["label"].astype(str)), task),
        groups=group.where(group != "", ok["image_id"]).to_numpy(dtype=object),
    )
    usable = (ok["status"] == "ok").to_numpy()
    parts = _parts(ok, usable, task, config)
    data = _with_owner(data, ok, _units_for(app, question), parts)
    if config.minutes and "epochs" not in settings:
        plan = _within_budget(plan, words, out, task, data, preparation, parts)
        config = plan.config
        on_plan(plan, words)
    members = []
    for number, part in enumerate(parts):
        if len(parts) > 1:
            log.info("fold %d of %d", number + 1, len(parts))
        work = out / "checkpoints" / f"member-{number}"
        members.append(
            train_member(app, task, config, data, preparation=preparation, rows=part, work=work)
        )
    _finish(
        app, task, question, config, words, out, manifest, ok, data, parts, members, preparation
    )


def _within_budget(
    plan: Plan,
    words: dict[str, Any],
    out: Path,
    task: Task,
    data: Data,
    preparation: Preparation,
    parts: Sequence[Mapping[str, np.ndarray]],
) -> Plan:
    """The plan with as many epochs as fit the time given; measured once, then kept."""
    if "epochs" not in words:
        rule = plan.config.epochs or 0
        fit = epochs_within(
            task, plan.config, data, preparation=preparation, rows=parts[0], members=len(parts)
        )
        words["epochs"] = min(rule, fit)
        # A resumed training must not measure again: it would become another training.
        write_json(out / LOOKED, {k: v for k, v in words.items() if k != "audit"})
    epochs = words["epochs"]
    reason = f"what fits into {plan.config.minutes:g} minutes on this machine"
    plan = plan.model_copy(
        update={
            "config": plan.config.model_copy(update={"epochs": epochs}),
            "reasons": {**plan.reasons, "epochs": reason},
        }
    )
    write_text(out / "plan.yaml", write_plan(plan))
    return plan


def _finish(
    app: App,
    task: Task,
    question: Question,
    config: TrainConfig,
    words: Mapping[str, Any],
    out: Path,
    manifest: pd.DataFrame,
    ok: pd.DataFrame,
    data: Data,
    parts: Sequence[Mapping[str, np.ndarray]],
    members: Sequence[Trained],
    preparation: Preparation,
) -> None:
    """Calibrate, write the run, score what was held out, report, and declare it complete."""
    link = link_of(task, config.head)
    units = _units_for(app, question)
    if words.get("group_word"):
        units = [unit for unit in units if unit.name != app.group]
    members, vector = with_vector_scaling(members, data, parts)
    entries: list[dict[str, Any]] = []
    for number, member in enumerate(members):
        name = "model.safetensors" if len(members) == 1 else f"member-{number}.safetensors"
        save_network(out / name, member.network, member.familiarity)
        entries.append(
            {
                "weights": name,
                "network": member.description,
                "preparation": preparation.as_dict(),
                "kept": member.kept,
                "best_epoch": member.best_epoch,
                "probe": member.probe,
                "n_train": len(parts[number]["train"]),
                "n_val": len(parts[number]["val"]),
                "attention": member.attention,
            }
        )
    logits, distance, probe_logits, heat, temperature = _calibrate(data, parts, members, link)
    task = _with_cuts(
        task, config, data, parts, scores_from_logits(logits / heat[:, None], link=link)
    )
    digest = hashlib.sha256("".join(sha256_file(out / e["weights"]) for e in entries).encode())
    run = {
        "schema": SCHEMA,
        "contract": CONTRACT,
        "app": app.name,
        "title": app.title,
        "intended_use": app.intended_use,
        "task": task_to_dict(task),
        "group": words.get("group_word") or app.group,
        "group_rule": words["group_rule"],
        "split_rule": words["split_rule"],
        "cards": words["cards"],
        "terms": joined_terms(words["terms"], terms_of_weights(str(config.weights))),
        "options": stored_options(app, question.options),
        "facts": words.get("facts", {}),
        "members": entries,
        "start": members[0].weights.as_dict(),
        "temperature": temperature,
        "vector_scaling": vector,
        "operating_point": None,
        "operating_points": [],
        "unfamiliar_above": float(np.median([m.unfamiliar_above for m in members])),
        "units": [{"name": u.name, "columns": list(u.columns), "rule": u.rule} for u in units],
        "seed": config.seed,
        "n_images": {
            split: int((ok["split"] == split).sum()) for split in ("train", "val", "test")
        },
        "data_sha256": hashlib.sha256(
            manifest.drop(columns=["path"]).to_csv(index=False).encode("utf-8", "surrogateescape")
        ).hexdigest(),
        "versions": versions(),
        "model_id": sha256_file(out / entries[0]["weights"])[:12]
        if len(entries) == 1
        else digest.hexdigest()[:12],
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if len(members) > 1:
        ok = ok.assign(split=ok["split"].where(ok["split"] == "test", "out-of-fold"), fold="")
        for number, part in enumerate(parts):
            ok.loc[ok.index[part["fold"]], "fold"] = str(number)
    score = {
        "app": app,
        "task": task,
        "link": link,
        "temperature": heat,
        "threshold": None,
        "unfamiliar_above": run["unfamiliar_above"],
        "model_id": run["model_id"],
    }
    attended = _attended(parts, members)
    predictions = predictions_of(ok, logits, distance, **score, attended=attended)
    run["operating_points"] = choose_points(
        predictions,
        task=task,
        targets=app.targets,
        units=units,
        metrics=fitting_metrics(app, task),
    )
    write_json(out / "run.json", run)
    curves = pd.concat(
        [m.log.assign(member=i) for i, m in enumerate(members) if len(m.log)] or [pd.DataFrame()],
        ignore_index=True,
    )
    write_text(out / "log.csv", curves.to_csv(index=False, lineterminator="\n"))
    report_run(
        out,
        predictions=_with_skipped(predictions, manifest),
        probe=predictions_of(ok, probe_logits, distance, **{**score, "temperature": 1.0}),
        manifest=manifest,
        store=data.store,
        network=members[0].network,
    )
    shutil.rmtree(out / "checkpoints", ignore_errors=True)
    (out / LOOKED).unlink(missing_ok=True)
    seal(out)


def _units_for(app: App, question: Question) -> list[Unit]:
    """The app's steps with the rules of the task, then those of the user."""
    return units_of(app, {**app.task(question.task).rules, **question.rules})


def _with_owner(
    data: Data,
    ok: pd.DataFrame,
    units: Sequence[Unit],
    parts: Sequence[Mapping[str, np.ndarray]],
) -> Data:
    """The data with the unit whose images get learned weights, if there is enough to learn from.

    Raises:
        ConfigError: the rule attention was asked for and there is not.
    """
    found = learned_unit(units, ok)
    if found is None:
        return data
    unit, owner = found
    if all(can_learn(owner, part["train"], part["val"]) for part in parts):
        return replace(data, unit=unit.name, owner=owner)
    if unit.rule == "attention":
        msg = (
            f"--rule {unit.name}=attention: needs {LEAST_UNITS} units with several images in "
            f"training and in validation, and there are fewer. Choose mean, max or noisy_or."
        )
        raise ConfigError(msg)
    return data


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
    task: Task,
    config: TrainConfig,
    data: Data,
    parts: Sequence[Mapping[str, np.ndarray]],
    scores: np.ndarray,
) -> Task:
    """The task with the cuts that decide by frequencies, where that was asked for.

    Scores are those of validation, or out of fold; the frequencies are of all labels
    that are not held out, of which there are more.
    """
    if config.decide != "frequencies" or task.kind != "ordinal":
        return task
    judged = np.concatenate([part["fold" if len(parts) > 1 else "val"] for part in parts])
    known = np.concatenate([parts[0]["train"], judged]) if len(parts) == 1 else judged
    cuts = cuts_by_frequency(scores[judged], data.y[known], n_classes=len(task.classes))
    return replace(task, cuts=cuts)


def _calibrate(
    data: Data,
    parts: Sequence[Mapping[str, np.ndarray]],
    members: Sequence[Trained],
    link: str,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]:
    """Logits, distances, probe logits and temperature of each row, and the run's temperature.

    With one member the temperature comes from validation. With folds it comes
    from the out-of-fold logits; a row's own temperature then from the other
    folds only, so that no row helps to judge itself.
    """
    n = len(data.y)
    logits = np.full((n, members[0].logits.shape[1]), np.nan)
    probe, distance, heat = logits.copy(), np.full(n, np.nan), np.ones(n)
    if len(members) == 1:
        val = parts[0]["val"]
        temperature = fit_temperature(members[0].logits[val], data.y[val], link=link)
        heat[:] = temperature
        return members[0].logits, members[0].distance, members[0].probe_logits, heat, temperature
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
    temperature = fit_temperature(logits[everything], data.y[everything], link=link)
    heat[shared] = temperature
    return logits, distance, probe, heat, temperature


def _parts(
    ok: pd.DataFrame, usable: np.ndarray, task: Task, config: TrainConfig
) -> list[dict[str, np.ndarray]]:
    """Row numbers of train, val and held for each member."""

    def rows(mask: Any) -> np.ndarray:
        return np.flatnonzero(np.asarray(mask) & usable)

    if config.folds == 1:
        split = ok["split"]
        return [
            {
                "train": rows(split == "train"),
                "val": rows(split == "val"),
                "held": rows(split == "test"),
            }
        ]
    given = (ok["split"] == "test").to_numpy()
    folds = np.full(len(ok), -1)
    folds[~given] = draw_folds(ok[~given], task=task, folds=config.folds, seed=config.seed)
    parts = []
    for fold in range(config.folds):
        inner = ok[(folds != fold) & ~given].assign(split="")
        # Choosing the epoch needs rows of its own, or the fold would judge its own choice.
        chosen, _ = draw_split(inner, task=task, seed=config.seed + fold, val=config.val, test=0.0)
        is_val = ok["image_id"].isin(chosen.loc[chosen["split"] == "val", "image_id"]).to_numpy()
        parts.append(
            {
                "train": rows((folds != fold) & ~is_val & ~given),
                "val": rows(is_val),
                "held": rows((folds == fold) | given),
                "fold": rows(folds == fold),
            }
        )
    return parts


def _look(
    app: App,
    question: Question,
    options: Mapping[str, Any],
    wanted: Mapping[str, Any],
    out: Path,
) -> tuple[pd.DataFrame, Task, dict[str, Any]]:
    """Manifest with splits, and the audit: new, or as a killed training left them."""
    task = chosen_task(app, question.task, question.label)
    source = Source(
        paths=(Path(question.data),),
        labelled=True,
        task=task,
        label=question.label,
        group=question.group,
        allow_outside=question.allow_outside,
        options=options,
    )
    found, cards = index_with_cards(app, source, question.card)
    check_manifest(found.table, labelled=True)
    check_splits(found.table)
    if (out / LOOKED).is_file():
        table = pd.read_parquet(out / "manifest.parquet")
        _same_data(table, found.table, out)
        words = json.loads((out / LOOKED).read_text(encoding="utf-8"))
        words["audit"] = json.loads((out / "audit.json").read_text(encoding="utf-8"))
        return table, task_from_dict(words["task"]), words
    labels = found.table.loc[found.table["status"] == "ok", "label"]
    task = task.with_classes(sorted(set(labels.astype(str))))
    audited = audit(found, app=app, task=task, progress=True, workers=cores())
    folds = int(wanted.get("folds", 1))
    table, sentences = draw_split(
        merge_duplicates(found.table, audited),
        task=task,
        seed=int(wanted.get("seed", 0)),
        val=float(wanted.get("val", 0.15)),
        test=float(wanted.get("test", 0.2)) if folds == 1 else 0.0,
    )
    if folds > 1 and not found.split_rule:
        # Every row is judged once and trains in the other folds; no row is kept to tune only.
        table = table.assign(split=table["split"].replace("val", "train"))
        share = float(wanted.get("val", 0.15))
        sentences = (
            f"Cross-validated in {folds} folds drawn by resight, stratified by class, with every "
            "group in one: each image is judged by the network that saw nothing of its fold. "
            f"{share:.0%} of the other folds chose that network's epoch.",
        )
    check_splits(table)
    words = {
        "task": task_to_dict(task),
        "group_rule": found.group_rule,
        "split_rule": " ".join(part for part in (found.split_rule, *sentences) if part),
        "notes": list(found.notes),
        "cards": list(found.cards),
        "terms": terms_of(cards),
        "group_word": found.group_word,
        "facts": dict(found.facts),
        "settings": dict(found.settings),
        "root": str(found.root),
        "form": list(_form(audited)),
    }
    write_json(out / "audit.json", audited)
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    write_bytes(out / "manifest.parquet", buffer.getvalue())
    # Written last: with it the look at the data is finished.
    write_json(out / LOOKED, words)
    return table, task, {**words, "audit": audited}


def chosen_task(app: App, name: str | None, label: str | None) -> Task:
    """The task asked for; a label column named alone keeps the kind of the first task."""
    task = app.task(name)
    if label is not None and label != task.label:
        return replace(task, label=label)
    return task


def cores() -> int:
    """Processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _facts(
    manifest: pd.DataFrame, audited: Mapping[str, Any], task: Task, wanted: Mapping[str, Any]
) -> Facts:
    """What the rules look at."""
    ok = manifest[manifest["status"] == "ok"]
    train_rows = ok[ok["split"] == "train"]
    n_train = len(train_rows)
    if int(wanted.get("folds", 1)) > 1:
        n_train = round(
            len(ok) * (1 - 1 / int(wanted["folds"])) * (1 - float(wanted.get("val", 0.15)))
        )
        train_rows = ok
    counts = np.atleast_2d(encode(list(train_rows["label"].astype(str)), task))
    per_class = (
        np.bincount(counts.ravel(), minlength=len(task.classes))
        if task.kind != "multilabel"
        else counts.sum(0)
    )
    facts = image_facts_of(audited)
    has_gpu, has_bf16, n_cores = machine(str(wanted.get("device", "auto")))
    return Facts(
        n_train=n_train,
        n_classes=len(task.classes),
        rarest=int(per_class.min()),
        size_px=(int(facts["height"].median()), int(facts["width"].median())),
        has_gpu=has_gpu,
        has_bf16=has_bf16,
        cores=n_cores,
    )


def _form(audited: Mapping[str, Any]) -> tuple[int, str]:
    """Channels and dtype of the run: those of most images; colour wins over grey."""
    facts = image_facts_of(audited)
    channels = int(facts["channels"].max())
    if channels > 3 or set(facts["channels"]) <= {1}:
        channels = int(facts["channels"].mode().iloc[0])
    return channels, str(facts["dtype"].mode().iloc[0])


def _question(
    app: str | None,
    data: Path | None,
    task: str | None,
    label: str | None,
    group: str | None,
    card: str | None,
    allow_outside: bool,
    rules: Mapping[str, str] | None,
) -> dict[str, Any]:
    """The question as plain values, but for the app's own options."""
    return {
        "app": app,
        "data": None if data is None else str(data.resolve()),
        "task": task,
        "label": label,
        "group": group,
        # A card file is found again from wherever the training is resumed.
        "card": str(Path(card).resolve()) if card and Path(card).is_file() else card,
        "allow_outside": allow_outside,
        "rules": dict(rules or {}),
    }


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


def _keep_apart(out: Path, data: Path) -> None:
    """Refuse to write into the data: the next run would take our files for images."""
    if data.is_dir() and out.resolve().is_relative_to(data.resolve()):
        msg = (
            f"{out}: lies inside the data folder {data}. Inputs are never changed; choose "
            f"another --out."
        )
        raise ManifestError(msg)


def _same_wish(out: Path, wish: Any) -> None:
    """Refuse to mix two different trainings in one directory."""
    file = out / "wish.json"
    before = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
    if before == wish:
        return
    changed = "everything"
    if before is not None:
        flat = [{**part[0], **part[1]} for part in (before, wish)]
        names = sorted(n for n in set(flat[0]) | set(flat[1]) if flat[0].get(n) != flat[1].get(n))
        changed = ", ".join(f"{n} was {flat[0].get(n)!r}, is {flat[1].get(n)!r}" for n in names[:3])
    msg = (
        f"{out}: holds a run that was asked for otherwise ({changed}). Choose another --out, or "
        "remove that directory."
    )
    raise RunError(msg)


def _same_data(before: pd.DataFrame, now: pd.DataFrame, out: Path) -> None:
    """Refuse to resume on other data than the training began with."""
    old, new = (set(zip(t["image_id"], t["label"].fillna(""), strict=True)) for t in (before, now))
    if old != new:
        first = sorted(str(entry[0]) for entry in old ^ new)[0]
        msg = (
            f"{out}: the data changed since this training began ({len(old ^ new)} differences, "
            f"first: "
            f"{first}). Restore the data to resume, or choose another --out to train on it as "
            f"it is."
        )
        raise RunError(msg)


def _with_skipped(predictions: pd.DataFrame, manifest: pd.DataFrame) -> pd.DataFrame:
    """Add the rows that were skipped, so that every input has its row."""
    skipped = manifest[manifest["status"] != "ok"]
    if not len(skipped):
        return predictions
    rows = skipped[[c for c in predictions.columns if c in skipped.columns]].copy()
    return pd.concat([predictions, rows], ignore_index=True)


def _result(out: Path) -> dict[str, Any]:
    """What the command shows of a complete run."""
    run = load_run(out)
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    status = pd.read_parquet(out / "predictions.parquet", columns=["status"])["status"]
    return {
        "out": str(out),
        "run": dict(run.content),
        "metrics": metrics,
        "n_failed": int((status == "failed").sum()),
    }
