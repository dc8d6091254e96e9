"""Compute metrics.json, the whole content of a report, from a table of predictions.

Nothing is chosen here: thresholds and temperature are given, and only counted
at. The same table in any order of rows gives the same content.

    schema, about, prevalence
    flow                what became of the images: [{step, n, groups, unit, aside}]
    metrics             rows of core.base.tables.METRICS
    confusion           unit -> {classes, counts}: rows are the true class
    curves              roc, pr: [{of, unit, n, n_events, x, y, threshold}]
                        reliability: {before, after: bins}, decision: {threshold, model, low, high,
                        all, none, rows: gain on acting on all}
                        risk_coverage: [{x (coverage), y (error), low, high, rows}]
    operating_points    as given, with counts, rates, predictive values and counts per 1,000
    subgroups           the headline of each subgroup against the rest
    gaps                true and false positive rates of each subgroup against the rest
    calibration_by_subgroup  slope, in the large and bins of each subgroup
    precision           width of the headline's interval, and further cases that would halve it
    folds               the headline of each fold of a cross-validation; None where there is none
    rules               the headline by unit and rule of combining images, against the rule in use
    scaling             what temperature scaling did to log-loss, paired; None without logits
    calibration         slope, intercept, in the large, of the positive classes
    failures            numbers with failures left out and counted; None where nothing failed
    cautions            sentences
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from core.base.outputs import plain_json
from core.errors import MetricError
from core.evaluation import curves
from core.evaluation.aggregation_rules import compare_rules
from core.evaluation.before_scaling import before_scaling, effect_of_scaling, rows_before
from core.evaluation.calibration_of_level import calibration_of
from core.evaluation.cases import Level
from core.evaluation.doubt_marks import is_negative
from core.evaluation.failures import failures_of, quality_words
from core.evaluation.folds import fold_spread
from core.evaluation.labelled_rows import cases_of, groups_of, judged_rows
from core.evaluation.metric_specs import MetricSpec, specs_of
from core.evaluation.nothing_scored import is_nothing_scored, nothing_scored
from core.evaluation.participant_flow import absent_classes, cautions_of, flow_of
from core.evaluation.stored_thresholds import reached, thresholds_of
from core.evaluation.subgroups import DIFFERS, subgroup_calibration, subgroup_gaps, subgroup_rows
from core.evaluation.threshold_choice import headline_unit
from core.evaluation.unit_metrics import rows_of
from core.evaluation.unit_truth import truth_words
from core.evaluation.units import decisions_by_unit, text_of
from core.statistics import metrics as named
from core.statistics.agreement import confusion_matrix
from core.statistics.comparisons import precision_of
from core.statistics.intervals import check_level
from core.statistics.resampling import Draws

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from core.app import Cases, Metric, Task, Unit

__all__ = ["EvaluationPlan", "summarise"]

SCHEMA = 1
# The headline where an app names none; of any other kind of task the macro-F1.
DEFAULT_HEADLINES = {"binary": "auroc", "ordinal": "quadratic_kappa"}
# What is computed in subgroups beside the headline.
IN_SUBGROUPS = ("accuracy", "auroc", "auroc_positive")


@dataclass(frozen=True, kw_only=True)
class EvaluationPlan:
    """What an evaluation computes, and how.

    Attributes:
        task: with its class order.
        metrics: the app's; the first is the headline.
        units: the steps above the image.
        subgroups: columns to break results down by.
        split: what the rows are called: ``test``, ``val`` or the name of new data.
        operating_points: each with ``threshold``, and ``name``, ``unit``, ``active`` (in use)
            and provenance where known.
        temperature: that the scores were made with; for the record.
        link: how logits become scores.
        level: confidence level.
        resamples: of the bootstrap.
        seed: of the bootstrap.
        group_word: what a group is called.
        prevalence: of the positive classes where the model will be used.
        design: ``cohort``: how many cases of each class there are is a matter of chance;
            ``case-control``: it was fixed, and intervals hold within classes.
    """

    task: Task
    metrics: Sequence[Metric] = ()
    units: Sequence[Unit] = ()
    subgroups: Sequence[str] = ()
    split: str
    operating_points: Sequence[Mapping[str, Any]] = ()
    temperature: float = 1.0
    link: str = "softmax"
    level: float = 0.95
    resamples: int = 2000
    seed: int = 0
    group_word: str = "group"
    prevalence: float | None = None
    design: str = "cohort"

    @property
    def draws(self) -> Draws:
        """How groups are drawn for its intervals."""
        return Draws(
            level=self.level,
            resamples=self.resamples,
            seed=self.seed,
            word=self.group_word,
            within_classes=self.design == "case-control",
        )

    def wanted(self) -> list[Metric]:
        """The app's metrics, at the prevalence of the place where the model will be used."""
        return [_at_prevalence(metric, self.prevalence) for metric in self.metrics]

    def points(self) -> list[dict[str, Any]]:
        """Its operating points, with a name each."""
        return _named(self.operating_points)

    def active(self) -> Mapping[str, Any] | None:
        """The operating point in use."""
        used = (p for p in self.points() if p.get("active") and p["threshold"] is not None)
        return next(used, None)

    def threshold(self) -> float | None:
        """That of the operating point in use."""
        active = self.active()
        return None if active is None else float(active["threshold"])

    def headline(self) -> str:
        """The name of the headline: the app's first metric, or what fits the task."""
        default = DEFAULT_HEADLINES.get(self.task.kind, "macro_f1")
        return self.metrics[0].name if self.metrics else default

    def about(self) -> dict[str, Any]:
        """What of it stands in ``metrics.json``, whatever was found."""
        return {
            "split": self.split,
            "level": self.level,
            "resamples": self.resamples,
            "seed": self.seed,
            "design": self.design,
            "group": self.group_word,
            "headline": self.headline(),
        }


@dataclass(frozen=True)
class _Decided:
    """What was decided on every image and unit.

    Attributes:
        threshold: of the operating point in use, or one for each fold.
        keep: columns of subgroups that there are.
        tables: unit name -> decisions on all images or units.
        rows: unit name -> those of them with a score and a label.
        notes: in words what was left out or assumed.
    """

    threshold: float | Mapping[str, float] | None
    keep: Sequence[str]
    tables: dict[str, pd.DataFrame]
    rows: Mapping[str, pd.DataFrame]
    notes: list[str]

    def folds(self) -> dict[str, NDArray[np.str_]]:
        """Unit name -> (N,) the fold each case was left out in, where that is known."""
        return {
            name: table["fold"].to_numpy().astype(str)
            for name, table in self.rows.items()
            if "fold" in table and len(table)
        }


@dataclass(frozen=True)
class _Judged:
    """The cases that are judged.

    Attributes:
        rows: unit name -> decisions with a score and a label.
        levels: unit name -> their cases, where there are any.
        main: the level of the headline.
        before: the images before temperature scaling, or None without logits.
    """

    rows: Mapping[str, pd.DataFrame]
    levels: dict[str, Level]
    main: Level
    before: Cases | None

    def scaling(self) -> dict[str, Any] | None:
        """What temperature scaling did to the log-loss, paired."""
        if self.before is None:
            return None
        return effect_of_scaling(self.levels["image"], self.before)


def summarise(
    predictions: pd.DataFrame, plan: EvaluationPlan
) -> tuple[dict[str, Any], dict[str, pd.DataFrame]]:
    """Everything a report says, and the decisions it is computed on.

    Args:
        predictions: ``core.base.tables.PREDICTIONS`` with ``score_<class>`` (calibrated),
            ``label``, and where known ``group``, ``logit_<i>``, ``quality`` and the columns
            of units and subgroups. Every row is counted somewhere.
        plan: what is computed.

    Returns:
        the content of ``metrics.json`` (plain JSON types, None where undefined), and
        unit name -> decisions table, ``image`` included.

    Raises:
        MetricError: no row has both a score and a label that is a class of the task.
        ManifestError: columns are absent or image ids repeat.
    """
    check_level(plan.level)
    task, split, metrics, word = plan.task, plan.split, plan.wanted(), plan.group_word
    decided = _decided(predictions, plan)
    tables, notes, folds = decided.tables, decided.notes, decided.folds()
    if is_nothing_scored(predictions):
        return nothing_scored(predictions, tables, decided.rows, task, plan.about()), tables
    judged = _judged(predictions, plan, metrics, decided.rows)
    levels, main, unit = judged.levels, judged.main, judged.main.unit
    highest = list(levels)[-1]
    by_unit = _metrics_by_unit(metrics, levels, highest, notes)
    specs = {name: specs_of(levels[name], by_unit[name]) for name in reversed(levels)}
    rows = [row for name in specs for row in rows_of(levels[name], specs[name], split=split)]
    rows = _headline_first(rows, plan.headline(), unit)
    if judged.before is not None:
        rows += rows_before(levels["image"], judged.before, split)
    chosen = _for_subgroups(specs[unit], plan.headline())
    columns = _columns(decided.rows[unit], decided.rows["image"], decided.keep, notes)
    by_subgroup, compared = subgroup_rows(main, chosen, columns, split=split)
    counted = [
        reached(point, levels, highest, prevalence=plan.prevalence, split=split, folds=folds)
        for point in plan.points()
    ]
    rows += [row for _, some in counted for row in some]
    rows += by_subgroup
    flow, excluded = flow_of(predictions, tables, decided.rows, task, word)
    content = {
        "schema": SCHEMA,
        "about": _about(predictions, plan, judged),
        "prevalence": plan.prevalence,
        "flow": flow,
        "metrics": rows,
        "confusion": _confusion(judged),
        "curves": {
            **curves.ranking_curves(main),
            "reliability": _bins(judged),
            "decision": curves.decision_of(main, plan.prevalence),
            "risk_coverage": [curves.risk_coverage_of(main)],
        },
        "operating_points": [point for point, _ in counted],
        "subgroups": compared,
        "gaps": subgroup_gaps(main, columns, _called(decided.rows[unit], task)),
        "calibration_by_subgroup": subgroup_calibration(main, columns),
        "rules": compare_rules(
            predictions,
            task=task,
            units=plan.units,
            metric=metrics[0] if metrics else None,
            threshold=decided.threshold,
            draws=plan.draws,
        ),
        "precision": precision_of(rows[0], main.plan.word) if rows else None,
        "scaling": judged.scaling(),
        "folds": fold_spread(main, chosen, folds[unit]) if unit in folds else None,
        "calibration": calibration_of(main),
        "failures": failures_of(predictions, tables, unit, task, plan.level, word),
        "cautions": cautions_of(main, decided.rows["image"], excluded, notes, word),
    }
    return plain_json(content), tables


# --------------------------------------------------------------------------- cases


def _decided(predictions: pd.DataFrame, plan: EvaluationPlan) -> _Decided:
    """Every image and unit decided, at the operating point in use where there is one."""
    active = plan.active()
    threshold = None if active is None else thresholds_of(active, plan.split)
    keep = [name for name in plan.subgroups if name in predictions.columns]
    kept = [*keep, *(["fold"] if "fold" in predictions.columns else [])]
    tables, notes = decisions_by_unit(
        predictions, task=plan.task, units=plan.units, threshold=threshold, keep=kept
    )
    notes += _folds_note(predictions, plan.split)
    notes += [words] if (words := quality_words(predictions, "judged")) else []
    notes += _design_note(plan)
    rows = {name: judged_rows(table, plan.task) for name, table in tables.items()}
    return _Decided(threshold, keep, tables, rows, notes)


def _judged(
    predictions: pd.DataFrame,
    plan: EvaluationPlan,
    metrics: Sequence[Metric],
    rows: Mapping[str, pd.DataFrame],
) -> _Judged:
    """The cases of each level.

    Raises:
        MetricError: no row has both a score and a label that is a class of the task.
    """
    task = plan.task
    levels = {
        name: Level.of(name, cases_of(table, task), groups_of(table), task=task, draws=plan.draws)
        for name, table in rows.items()
        if len(table)
    }
    if not levels:
        msg = (
            f"None of {len(predictions):,} rows has both a score and a label of this task "
            f"({', '.join(task.classes[:6])}), so there is nothing to evaluate. "
            "Check the label column."
        )
        raise MetricError(msg)
    main = levels[headline_unit(metrics, list(levels))]
    before = None
    if "image" in levels:
        before = before_scaling(predictions, rows["image"], task, plan.link)
    return _Judged(rows, levels, main, before)


def _about(predictions: pd.DataFrame, plan: EvaluationPlan, judged: _Judged) -> dict[str, Any]:
    """What ``metrics.json`` says of the task, the plan and the cases."""
    levels, main, images, task = judged.levels, judged.main, judged.rows["image"], plan.task
    return {
        "task": task.name,
        "kind": task.kind,
        "classes": list(task.classes),
        "positive": [task.classes[i] for i in task.positive_index],
        **plan.about(),
        "temperature": plan.temperature,
        "threshold": plan.threshold(),
        "unit": main.unit,
        "units": list(levels),
        "n_images": len(images),
        "n_groups": levels.get("image", main).plan.n_groups,
        "grouped": bool((images["group"] != "").any()),
        "absent_classes": absent_classes(main),
        "truth": _truths(predictions, main.task, [name for name in levels if name != "image"]),
    }


def _confusion(judged: _Judged) -> dict[str, Any]:
    """Unit -> its classes and counts; rows are the true class."""
    found = {}
    for name, one in judged.levels.items():
        if one.task.kind != "multilabel":
            classes = one.task.classes
            counts = confusion_matrix(one.cases.y, one.cases.decided, len(classes)).astype(int)
            found[name] = {"classes": list(classes), "counts": counts}
    return found


def _bins(judged: _Judged) -> dict[str, Any]:
    """Reliability of images before and after scaling, and at the headline's unit."""
    levels, main = judged.levels, judged.main
    bins = {"after": curves.reliability_of(levels.get("image", main))}
    if judged.before is not None:
        bins = {"before": curves.reliability_of(levels["image"], judged.before)} | bins
    if main.unit != "image":
        bins[f"after, by {main.unit}"] = curves.reliability_of(main)
    return bins


def _for_subgroups(specs: Sequence[MetricSpec], headline: str) -> list[MetricSpec]:
    """The headline, and what else is computed in subgroups."""
    whole = [spec for spec in specs if not spec.of]
    return [
        *(spec for spec in whole if spec.name == headline),
        *(spec for spec in whole if spec.name in IN_SUBGROUPS and spec.name != headline),
    ]


def _design_note(plan: EvaluationPlan) -> list[str]:
    """What a fixed number of cases of each class means for the numbers."""
    if plan.design != "case-control":
        return []
    return [
        "The number of cases of each class was fixed by the design (case-control): intervals "
        "are resampled within classes, and predictive values, accuracy and calibration are "
        "those of this mix alone. State --prevalence for those of a place of use."
    ]


def _truths(predictions: pd.DataFrame, task: Task, names: Sequence[str]) -> dict[str, str]:
    """How units come by their labels, in words; by their own where the table has them."""
    stated = {
        name
        for name in names
        if f"{name}_label" in predictions and (text_of(predictions[f"{name}_label"]) != "").any()
    }
    return {name: truth_words(task, name, "stated" if name in stated else None) for name in names}


def _folds_note(predictions: pd.DataFrame, split: str) -> list[str]:
    """What was judged, and that what predicts is something else, where there were folds."""
    if split != "out-of-fold" or "fold" not in predictions:
        return []
    n = len(set(predictions["fold"].dropna().astype(str)) - {""})
    return [
        f"Judged are {n} single networks, each on cases that it had not seen. What predicts is "
        "their average, which was not judged here: that takes new data."
    ]


def _at_prevalence(metric: Metric, prevalence: float | None) -> Metric:
    """A metric at a recall rate, with the rate that of the place where the model will be used."""
    function = getattr(metric.compute, "func", None)
    if prevalence is None or function is not named.sensitivity_at_recall_rate:
        return metric
    compute: Any = metric.compute
    return replace(metric, compute=partial(compute, prevalence=prevalence))


def _named(points: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Operating points with a name each."""
    found = []
    for i, point in enumerate(points):
        one = dict(point)
        one["name"] = str(
            one.get("name") or one.get("target") or one.get("rule") or f"point {i + 1}"
        )
        found.append(one)
    return found


def _metrics_by_unit(
    metrics: Sequence[Metric], levels: Mapping[str, Level], highest: str, notes: list[str]
) -> dict[str, list[Metric]]:
    """Which of the app's metrics are computed at which level."""
    found: dict[str, list[Metric]] = {name: [] for name in levels}
    for metric in metrics:
        unit = metric.unit or highest
        if unit not in levels:
            notes.append(f"{metric.title} is given per {highest}, for there is no {unit}.")
            unit = highest
        found[unit].append(metric)
    return found


def _headline_first(rows: list[dict[str, Any]], headline: str, unit: str) -> list[dict[str, Any]]:
    """The headline's row in front."""
    first = [r for r in rows if r["name"] == headline and r["unit"] == unit and not r["of"]]
    return first + [row for row in rows if row not in first]


def _called(table: pd.DataFrame, task: Task) -> NDArray[np.bool_]:
    """Which cases (N,) of a decisions table are decided for a positive class."""
    return ~is_negative(table["decision"].to_numpy(dtype=object), task)


def _columns(
    table: pd.DataFrame, images: pd.DataFrame, keep: Sequence[str], notes: list[str]
) -> dict[str, NDArray[np.str_]]:
    """Subgroup columns that vary; those that units mix are left out in words."""
    found = {}
    for name in keep:
        values = table[name].to_numpy().astype(str)
        if (values != "").any():
            # Where every image has a value, a unit without one has several.
            if (values == "").any() and (images[name].to_numpy().astype(str) != "").all():
                values = np.where(values == "", f"{DIFFERS}{table['unit'].iloc[0]}", values)
            found[name] = values
        else:
            notes.append(f"No subgroups by {name}: it is empty, or varies within units.")
    return found


# --------------------------------------------------------------------------- parts
