"""``resight train``: check, plan, fine-tune, calibrate, evaluate what was held out.

The steps stand in the order the data takes them. Each leaves a file, so that
the same command after a kill goes on with the step that was not finished.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from core.app import App, Manifest, Task, Unit, find_app
from core.base.jobs import Job, open_output
from core.base.machine import cores, freed_memory_kept
from core.base.options import LABEL_MAP, of_value, plain_options, resolve_options
from core.base.outputs import write_text
from core.base.progress import log
from core.base.settings import Plan, Question, TrainConfig, check_settings, read_plan, write_plan
from core.base.tables import groups_or_own
from core.data.input_files import absolute_rows, require_apart, with_paths
from core.data.label_map import in_words
from core.data.loader import require_guard
from core.data.prepared import Form, Preparation, prepare_table
from core.data.split import draw_folds, draw_split
from core.data.training_data import index_for
from core.errors import ConfigError, ManifestError, ResightError
from core.evaluation.attention_units import learned_unit
from core.evaluation.failures import quality_words
from core.model.backbone import require_weights
from core.model.embedding import frozen_embedding
from core.model.tracking import require_tracker
from core.runs.run import load_run
from core.runs.table_files import read_json, read_table
from core.statistics.scores import encode
from core.training.attention_fitting import LEAST_UNITS, can_learn
from core.training.crew import Crew
from core.training.fine_tuning import Data, Training
from core.training.fingerprint import (
    INPUTS,
    LOOKED,
    Fingerprint,
    facts_of,
    keep,
    look,
    read_manifest,
    require_same_data,
)
from core.training.finish import Given, finish, remove_resume_points, units_for, units_of
from core.training.machine_check import check_machine
from core.training.one_network import epochs_within, train_member
from core.training.recipe import resolve

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["train"]

# Settings that change how fast a training is and nothing else.
NO_DIFFERENCE = {"workers", "checkpoint_minutes", "mlflow"}

Plans = Callable[[Plan, Fingerprint], None]


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
    corrections: Path | None = None,
    options: Mapping[str, Any] | None = None,
    rules: Mapping[str, str] | None = None,
    plan_file: Path | None = None,
    on_plan: Plans = lambda _plan, _found: None,
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
        corrections: table of corrected labels (``predictions.html`` saves one).
        options: the app's own.
        rules: unit -> rule of its step, where it is not the app's: mean, max or noisy_or.
        plan_file: a ``plan.yaml`` to run again.
        on_plan: called with the plan and what was found in the data before training starts.

    Returns:
        the run's ``run.json`` content with ``headline`` and ``files`` added; nothing in a process
        that only trained along.

    Raises:
        ResightError: the data, the settings or the output must change.
    """
    settings = check_settings(flags or {}, "command line")
    planned: dict[str, Any] = {}
    question = _question(app_name, data, task, label, group, card, allow_outside, rules)
    question["corrections"] = None if corrections is None else str(corrections.resolve())
    if plan_file is not None:
        asked, planned = read_plan(plan_file)
        given = {k: v for k, v in question.items() if v not in (None, False, {})}
        question = {**asked.model_dump(), **given}
    if not question["app"] or not question["data"]:
        msg = "Neither an app with data nor a plan was given. Pass APP DATA, or --plan FILE."
        raise ConfigError(msg)
    app = find_app(question["app"])
    own = _own_options(app, {**question.get("options", {}), **(options or {})})
    asked = Question.model_validate({**question, "options": plain_options(own)})
    units_of(app, asked.rules)
    require_apart(out, [Path(asked.data)])
    own_config = _domain_settings(app, asked, own)
    wanted = {**TrainConfig().model_dump(), **own_config, **planned, **settings}
    job = Job("run", _asked(asked, own, {**planned, **settings}), begun_by="plan.yaml")
    crew = Crew.of(TrainConfig.model_validate(wanted))
    if crew.has_served():
        return {}
    with crew, open_output(out, job) as is_made:
        if is_made:
            remove_resume_points(out)
            _require_same_data(app, asked, own, out)
            log.info("%s is complete already; nothing was done", out)
            return _result(out)
        crew.require(check_machine(TrainConfig.model_validate(wanted)))
        require_tracker(wanted["mlflow"])
        _forget(out)
        try:
            require_weights(str(wanted["backbone"]), str(wanted["weights"]))
            _train(app, asked, own, planned, settings, out, on_plan, crew)
        except ResightError:
            _forget(out)
            raise
        return _result(out)


def _own_options(app: App, given: Mapping[str, Any]) -> dict[str, Any]:
    """The app's options with their values; a table of labels by what it says."""
    own = resolve_options(app, "train", given)
    if LABEL_MAP in own:
        own[LABEL_MAP] = in_words(own[LABEL_MAP])
    return own


def _asked(
    question: Question, options: Mapping[str, Any], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """What the trained weights depend on: neither where files lie nor how they are read."""
    about = question.model_dump(exclude={"data", "card", "options", "corrections"})
    if question.corrections:
        about["corrections"] = of_value(Path(question.corrections))
    card = Path(question.card).name if question.card else None
    own = {name: of_value(value) for name, value in sorted(options.items())}
    values = {name: value for name, value in settings.items() if name not in NO_DIFFERENCE}
    asked = {**about, "card": card, "options": own, **values}
    return dict(json.loads(json.dumps(asked, sort_keys=True)))


def _require_same_data(app: App, question: Question, options: Mapping[str, Any], out: Path) -> None:
    """Refuse to pass a complete run for one of the data as they are now, if they are there."""
    try:
        found = index_for(app, question, options)
    except ManifestError as error:
        log.warning("the data of this run cannot be compared with it: %s", error)
        return
    require_same_data(app, found, read_manifest(out), out)


def _forget(out: Path) -> None:
    """Remove what precedes a plan, if there is none, so that a corrected command finds it free."""
    if (out / "plan.yaml").is_file():
        return
    for name in (LOOKED, INPUTS, "audit.json", "manifest.parquet", "wish.json"):
        (out / name).unlink(missing_ok=True)


def _domain_settings(app: App, question: Question, options: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the app, of its task, and of what was asked of its own options."""
    found = {**app.config, **app.task(question.task).config}
    for option in app.options:
        found |= option.settings.get(str(options.get(option.name)), {})
    return found


def _train(
    app: App,
    question: Question,
    options: Mapping[str, Any],
    planned: Mapping[str, Any],
    settings: Mapping[str, Any],
    out: Path,
    on_plan: Plans,
    crew: Crew,
) -> None:
    """The steps, inside the claimed directory."""
    began = time.monotonic()
    domain = _domain_settings(app, question, options)
    wanted = {**domain, **planned, **settings}
    start = {**TrainConfig().model_dump(include={"backbone", "weights"}), **wanted}
    weights = str(start["weights"])
    backbone = str(start["backbone"])
    # Random weights see no likeness that the audit itself does not, and 3-D ones no pictures.
    sees_pictures = weights != "none" and ".medicalnet" not in backbone
    embed = frozen_embedding(backbone, weights) if sees_pictures else None
    manifest, task, found = look(app, question, options, wanted, out, embed)
    torch.set_num_threads(found.threads)
    facts = facts_of(manifest, found.audit, task, wanted)
    # What the data call for stands above the app's own defaults.
    defaults = {**domain, **found.settings}
    plan = resolve(question, facts, app_defaults=defaults, plan=planned, flags=settings)
    config = plan.config
    require_guard(config.workers or 0)
    write_text(out / "plan.yaml", write_plan(plan))
    on_plan(plan, found)

    form = Form(*found.form)
    preparation = Preparation.of(app, config.size_px or (224, 224), form, options)
    where = absolute_rows(Manifest(table=manifest, root=Path(found.root)))
    rows = with_paths(manifest, where)
    store = prepare_table(rows, app=app, preparation=preparation, workers=cores())
    ok = manifest[manifest["status"] == "ok"].reset_index(drop=True)
    ok = ok.merge(
        store.table.drop(columns=["status", "reason", "affine"]), on="image_id", validate="1:1"
    )
    ok["status"], ok["reason"] = store.table["status"], store.table["reason"]
    data = Data(
        store=store,
        y=encode(list(ok["label"].astype(str)), task),
        groups=groups_or_own(ok).to_numpy(dtype=object),
    )
    if flagged := quality_words(ok, "trained on"):
        log.warning("%s", flagged)
    usable = (ok["status"] == "ok").to_numpy()
    parts = _parts(ok, usable, task, config)
    data = _with_owner(data, ok, units_for(app, question), parts)
    until = began + 60 * (config.minutes or math.inf)
    training = Training(app, task, config, data, preparation, until)
    if config.minutes and "epochs" not in settings:
        plan = _within_budget(plan, found, out, training, parts)
        training = replace(training, config=plan.config)
        on_plan(plan, found)
    members = []
    for number, part in enumerate(parts):
        if len(parts) > 1:
            log.info("fold %d of %d", number + 1, len(parts))
        work = out / "checkpoints" / f"member-{number}"
        with freed_memory_kept():
            left = len(parts) - number
            members.append(train_member(training, rows=part, work=work, crew=crew, left=left))
    finish(training, Given(question, found, manifest, ok), parts, members, out)


def _within_budget(
    plan: Plan,
    found: Fingerprint,
    out: Path,
    training: Training,
    parts: Sequence[Mapping[str, np.ndarray]],
) -> Plan:
    """The plan with as many epochs as fit the time given; measured once, then kept."""
    rule, epochs = plan.config.epochs or 0, found.epochs
    if epochs is None:
        epochs = min(rule, epochs_within(training, rows=parts[0], members=len(parts)))
        # A resumed training must not measure again: it would become another training.
        keep(found.model_copy(update={"epochs": epochs}), out)
    reason = f"what fits into {plan.config.minutes:g} minutes on this machine"
    if not epochs:
        reason = (
            f"{plan.config.minutes:g} minutes hold the probe alone on this machine, and no epoch "
            f"of the {rule} of the rule"
        )
    elif epochs < rule:
        reason += f", of {rule} by the rule"
    plan = plan.model_copy(
        update={
            "config": plan.config.model_copy(update={"epochs": epochs}),
            "reasons": {**plan.reasons, "epochs": reason},
        }
    )
    write_text(out / "plan.yaml", write_plan(plan))
    return plan


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


def _result(out: Path) -> dict[str, Any]:
    """What the command shows of a complete run."""
    run = load_run(out)
    metrics = read_json(out / "metrics.json")
    status = read_table(out / "predictions", ["status"])["status"]
    return {
        "out": str(out),
        "run": dict(run.content),
        "metrics": metrics,
        "n_failed": int((status == "failed").sum()),
    }
