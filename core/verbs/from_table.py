"""``resight evaluate --predictions FILE``: the whole report from a table made elsewhere.

Whoever trains with other tools brings a table with one row per image, its label
and its scores, and gets the same numbers, intervals and page as a run of ours.
No model is loaded; ``core.data.scored_tables`` says which columns there may be.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from core.app import ReportContext, Unit, find_app
from core.base.jobs import Job, open_output
from core.base.outputs import sha256_file
from core.base.versions import versions
from core.data.scored_tables import read_foreign
from core.errors import ConfigError, ManifestError
from core.evaluation.ranking_only import only_ranking
from core.evaluation.summary import EvaluationPlan, summarise
from core.evaluation.threshold_choice import MAY_CHOOSE, choose_points
from core.report.numbers import quantity
from core.runs.results import print_page, write_evaluation
from core.runs.table_files import write_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from core.app import App
    from core.data.scored_tables import Foreign

__all__ = ["evaluate_table", "points_of"]


def evaluate_table(
    file: Path,
    out: Path,
    *,
    app_name: str | None = None,
    kind: str | None = None,
    label: str | None = None,
    group: str | None = None,
    positive: Sequence[str] = (),
    units: Mapping[str, str] | None = None,
    rules: Mapping[str, str] | None = None,
    subgroups: Sequence[str] = (),
    split: str | None = None,
    threshold: float | None = None,
    targets: Sequence[str] = (),
    exploratory: bool = False,
    prevalence: float | None = None,
    design: str | None = None,
    seed: int = 0,
    pdf: bool = False,
    columns: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Report on a table of predictions.

    Args:
        file: CSV, TSV or Parquet; see ``core.data.scored_tables``.
        out: directory of the report; replaced if it holds an earlier one.
        app_name: an app whose metrics, units and words are used where they fit.
        kind: ``binary``, ``multiclass``, ``ordinal`` or ``multilabel``; None: by the classes.
        label: column of the label.
        group: column of the group.
        positive: classes that together count as positive.
        units: unit -> the column (or columns, joined by ``+``) that identify it.
        rules: unit -> mean, max or noisy_or; mean where it is not named.
        subgroups: columns by which results are broken down.
        split: the rows to judge, where the table has splits; None: ``test``.
        threshold: an operating point that was set beforehand.
        targets: operating points to choose on ``val`` or ``out-of-fold`` rows.
        exploratory: choose ``targets`` on the judged rows instead, and mark the page.
        prevalence: of the positive classes where the model will be used.
        design: ``cohort``, or ``case-control``: see ``core.evaluation.summary.summarise``; None
            takes what the app says.
        seed: of the bootstrap.
        pdf: print the page to ``report.pdf`` as well.
        columns: which columns are what, and the label map; see ``read_foreign``.

    Raises:
        ResightError: the table or the command must change.
    """
    app = find_app(app_name) if app_name else None
    found = read_foreign(
        file, kind=kind, label=label, group=group, positive=positive, app=app, columns=columns
    )
    table = found.predictions
    if threshold is not None or targets:
        _require_probabilities(found, file)
    judged, name = _judged(table, split, file)
    plan = EvaluationPlan(
        task=found.task,
        metrics=app.metrics_for(found.task) if app else [],
        units=_units(app, units or {}, rules or {}, table),
        subgroups=_broken_down(app, subgroups, table, file),
        split=name,
        seed=seed,
        group_word=app.group if app else (group or "group").removesuffix("_id").replace("_", " "),
        prevalence=prevalence,
        design=design or (app.design if app else "cohort"),
    )
    wanted: dict[str, Any] = {"targets": targets, "exploratory": exploratory}
    points = points_of(table, judged, plan, threshold=threshold, **wanted)
    with open_output(out, Job("report", replaces=True)):
        context = _context(app, found, judged, replace(plan, operating_points=points), file)
        raw = [] if found.raw is None else [found.raw]
        write_table(out / "predictions", pd.concat([table, *raw], axis=1))
        evaluation = write_evaluation(out, context)
        print_page(out, pdf=pdf)
    n_failed = int((judged["status"] == "failed").sum())
    return {"out": str(out), "metrics": evaluation, "n_failed": n_failed}


def _require_probabilities(found: Foreign, file: Path) -> None:
    """Refuse a threshold on scores that only rank."""
    if found.raw is not None:
        msg = (
            f"{file}: has scores outside of [0, 1], which are no probabilities and are judged for "
            "discrimination only, without a threshold. Leave --threshold and --target out, pass "
            "the outputs after softmax or sigmoid, or --scores logits if that is what they are."
        )
        raise ConfigError(msg)


def _broken_down(
    app: App | None, subgroups: Sequence[str], table: pd.DataFrame, file: Path
) -> list[str]:
    """The columns to break results down by: those named, and the app's where they exist."""
    absent = [name for name in subgroups if name not in table.columns]
    if absent:
        msg = f"{file}: has no column {', '.join(absent)} to break results down by."
        raise ManifestError(msg)
    wanted = dict.fromkeys([*subgroups, *(app.subgroups if app else ())])
    return [name for name in wanted if name in table.columns]


def _context(
    app: App | None, found: Foreign, judged: pd.DataFrame, plan: EvaluationPlan, file: Path
) -> ReportContext:
    """The judged rows, their numbers and what is known in place of a run."""
    evaluation, decisions = summarise(judged, plan)
    if found.raw is not None:
        evaluation = only_ranking(evaluation, several=len(plan.task.classes) > 2)
        decisions = {}
    sharing = sharing_of(found.predictions, plan.split)
    evaluation["cautions"] = [
        *_shared_words(sharing, plan.split, plan.group_word),
        *_upside_down(evaluation["metrics"]),
        *found.notes,
        *evaluation["cautions"],
    ]
    return ReportContext(
        app=app,
        task=plan.task,
        evaluation=evaluation,
        predictions=judged,
        decisions=decisions,
        manifest=pd.DataFrame(),
        run={
            "title": app.title if app else "Predictions made elsewhere",
            "versions": {"resight": versions().get("resight", "")},
            "predictions": file.name,
            "predictions_sha256": sha256_file(file),
            "sharing": sharing,
            "seed": plan.seed,
        },
    )


def sharing_of(table: pd.DataFrame, split: str) -> dict[str, Any] | None:
    """How many groups of the judged rows have rows of another split as well.

    Args:
        table: with ``group`` and ``split``.
        split: the one that is judged.

    Returns:
        ``n`` groups judged, ``n_shared`` of these, ``with`` (split -> shared groups) and
        ``has_training``; None where no row names its group.
    """
    known = table[table["group"] != ""]
    if known.empty:
        return None
    held = {str(name): set(rows["group"]) for name, rows in known.groupby("split")}
    if split not in set(table["split"]):
        # No row names a split: all are judged.
        judged, held = set(known["group"]), {}
    else:
        judged = held.pop(split, set())
    return {
        "n": len(judged),
        "n_shared": len(judged & set().union(*held.values())),
        "with": {name: len(judged & groups) for name, groups in held.items()},
        "has_training": bool((table["split"] == "train").any()),
    }


def _shared_words(sharing: Mapping[str, Any] | None, split: str, word: str) -> list[str]:
    """A caution where groups stand in several splits."""
    if not sharing or not sharing["n_shared"]:
        return []
    places = [f"{name or 'no split'} {n:,}" for name, n in sharing["with"].items() if n]
    return [
        f"{sharing['n_shared']:,} of {quantity(sharing['n'], word)} of the {split} rows stand in "
        f"more than one split ({', '.join(places)}): images of one {word} resemble each other, so "
        "the result looks better than it is, and a threshold chosen there was not chosen on other "
        "data."
    ]


def _upside_down(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A caution where the AUROC is surely below one half: the scores may be of the other class."""
    return [
        f"The AUROC is {row['value']:.3f} and surely below 0.5 (95 % interval up to "
        f"{row['high']:.3f}): the scores rank the classes the wrong way round, as they do where "
        "they are of the other class. Pass --positive with the class that the scores are of."
        for row in rows
        if row["name"] == "auroc" and not row.get("subgroup") and not row.get("of")
        if row.get("high") is not None and row["high"] < 0.5
    ][:1]


def _units(
    app: App | None, named: Mapping[str, str], rules: Mapping[str, str], table: pd.DataFrame
) -> list[Unit]:
    """The steps above the image: those named by the user, and the app's where its columns exist."""
    steps = {
        name: Unit(name=name, columns=tuple(columns.split("+"))) for name, columns in named.items()
    }
    for unit in app.units if app else ():
        if unit.name not in steps and set(unit.columns) <= set(table.columns):
            steps[unit.name] = unit
    for name, unit in steps.items():
        absent = [column for column in unit.columns if column not in table.columns]
        if absent:
            msg = (
                f"--unit {name}: the table has no column {', '.join(absent)} "
                f"(it has: {', '.join(table.columns[:12])})."
            )
            raise ManifestError(msg)
    for name, rule in rules.items():
        if name not in steps or rule not in {"mean", "max", "noisy_or"}:
            msg = (
                f"--rule {name}={rule}: name a unit of this report ({', '.join(steps) or 'none'}; "
                "see --unit) and mean, max or noisy_or."
            )
            raise ConfigError(msg)
        steps[name] = replace(steps[name], rule=rule)  # type: ignore[arg-type]
    return list(steps.values())


def _judged(table: pd.DataFrame, split: str | None, file: Path) -> tuple[pd.DataFrame, str]:
    """The rows to judge, and what they are called."""
    present = sorted(set(table["split"]) - {""})
    if split is None and not present:
        return table, "predictions"
    wanted = split or next((s for s in ("test", "out-of-fold") if s in present), "")
    if wanted not in present:
        msg = (
            f"{file}: has no rows of the split {wanted or 'test'!r} (it has: "
            f"{', '.join(present) or 'no split'}). Name the one to judge with --split."
        )
        raise ManifestError(msg)
    return table[table["split"] == wanted].reset_index(drop=True), wanted


def points_of(
    table: pd.DataFrame,
    judged: pd.DataFrame,
    plan: EvaluationPlan,
    *,
    threshold: float | None,
    targets: Sequence[str],
    exploratory: bool,
) -> list[dict[str, Any]]:
    """Operating points: given, chosen on validation rows, or looked for and marked."""
    about: dict[str, Any] = {
        "task": plan.task,
        "units": plan.units,
        "metrics": plan.metrics,
        "prevalence": plan.prevalence,
    }
    points: list[dict[str, Any]] = []
    if threshold is not None:
        given = {"name": f"threshold {threshold:g}", "threshold": float(threshold)}
        points.append({**given, "chosen_on": "given by the user", "active": True})
    if not targets:
        return points
    if exploratory:
        return points + choose_points(judged, targets=targets, exploratory=plan.split, **about)
    may = [name for name in MAY_CHOOSE if (table["split"] == name).any() and name != plan.split]
    if not may:
        msg = (
            f"--target {targets[0]}: the table has no validation rows (split = val), and a "
            "threshold is never chosen on the cases it is judged on. Add them, pass --threshold, "
            "or add --exploratory to look and have the page marked."
        )
        raise ConfigError(msg)
    basis = table[table["split"].isin(may)].reset_index(drop=True)
    return points + choose_points(basis, targets=targets, **about)
