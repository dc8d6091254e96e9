"""All numbers of one level (images, or one kind of unit), each with its interval.

``core.evaluation.metric_specs`` says which numbers there are; the values
of all resamples are computed together, block by block. Proportions of
independent cases get Wilson's interval and areas DeLong's; where cases come in
groups, everything is bootstrapped by group.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import MetricError
from core.statistics import metrics as named
from core.statistics import weighted as batches
from core.statistics.agreement import confusion_matrices, from_confusion
from core.statistics.delong import delong, newcombe_auroc
from core.statistics.discrimination import Ranking, indicator
from core.statistics.intervals import Interval, cluster_proportion, wilson
from core.statistics.resampling import (
    MIN_GROUPS,
    Resampling,
    bootstrap_interval,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from core.app import Cases
    from core.evaluation.cases import Level
    from core.evaluation.metric_specs import Spec

__all__ = [
    "FEW_EVENTS",
    "metric_row",
    "rows_of",
    "too_few",
]

# Below this many cases of a class its numbers are too few to judge.
FEW_EVENTS = 10
# Numbers of scores as probabilities that every task has.
OF_SCORES = (
    "log_loss",
    "brier",
    "brier_skill",
    "expected_calibration_error",
    "adaptive_calibration_error",
)
# Below this many groups of a class a bootstrapped area is too narrow (86 % coverage with 10
# groups, 91 % with 20 in the manner of tests/test_coverage.py).
FEW_GROUPS_OF_CLASS = 20


def values_of(
    level: Level, specs: Sequence[Spec], weights: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Values (b,) of every key for weights (b, N)."""
    cases, k = level.cases, len(level.task.classes)
    found: dict[str, NDArray[np.float64]] = {}
    found.update(_of_decisions(cases, k, weights))
    truth = indicator(cases.y, k)
    if level.task.kind != "binary":
        areas, precisions = [], []
        for i in range(k):
            area, precision = Ranking(truth[:, i], cases.scores[:, i]).both(weights)
            found[f"auroc:{i}"], found[f"average_precision:{i}"] = area, precision
            areas.append(area)
            precisions.append(precision)
        found["macro_auroc"] = np.mean(areas, axis=0)
        found["macro_average_precision"] = np.mean(precisions, axis=0)
    positive = level.task.positive_index
    if positive and level.task.kind != "multilabel":
        of, score, _ = batches.positive_part(cases, positive)
        area, precision = Ranking(of, score).both(weights)
        found["auroc_positive"], found["average_precision_positive"] = area, precision
    for name in OF_SCORES:
        found[name] = named.over_weights(getattr(named, name), cases, weights)
    for spec in specs:
        if spec.compute is not None and spec.key not in found:
            function = getattr(spec.compute, "__name__", "")
            same = function in found and getattr(named, function, None) is spec.compute
            found[spec.key] = (
                found[function] if same else named.over_weights(spec.compute, cases, weights)
            )
    return found


def _of_decisions(
    cases: Cases, k: int, weights: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """What follows from decisions: confusion matrices, or counts of each label."""
    found: dict[str, NDArray[np.float64]] = {}
    if cases.y.ndim == 1:
        numbers = from_confusion(confusion_matrices(cases.y, cases.decided, k, weights))
    else:
        numbers = {
            name: named.over_weights(getattr(named, name), cases, weights)
            for name in ("accuracy", "balanced_accuracy", "macro_f1")
        }
        hits = weights @ (cases.y * cases.decided).astype(float)
        support, called = weights @ cases.y.astype(float), weights @ cases.decided.astype(float)
        numbers["precision"], numbers["recall"] = (
            batches.ratio(hits, called),
            batches.ratio(hits, support),
        )
        numbers["f1"], numbers["support"] = batches.ratio(2 * hits, support + called), support
    for name, array in numbers.items():
        if array.ndim == 1:
            found[name] = array
        else:
            found.update({f"{name}:{i}": array[:, i] for i in range(k)})
    return found


def rows_of(level: Level, specs: Sequence[Spec], *, split: str) -> list[dict[str, Any]]:
    """Rows of ``core.base.tables.METRICS`` for these numbers."""
    point = values_of(level, specs, np.ones((1, level.n)))
    wanted = [spec.key for spec in specs if spec.kind != "count"]
    blocks: dict[str, list[NDArray[np.float64]]] = {key: [] for key in wanted}
    for weights in level.plan.weights():
        values = values_of(level, specs, weights)
        for key in wanted:
            blocks[key].append(values[key])
    rows = []
    for spec in specs:
        value = float(point[spec.key][0])
        if spec.kind == "count":
            interval = Interval(low=None, high=None, level=level.confidence)
        elif np.isfinite(value):
            interval = interval_of(level, spec, value, np.concatenate(blocks[spec.key]))
        else:
            interval = Interval(
                low=None,
                high=None,
                level=level.confidence,
                reason=_why(level, spec),
            )
        rows.append(metric_row(level, spec, value, interval, split=split))
    return rows


def _why(level: Level, spec: Spec) -> str:
    """Why a value is undefined: the metric's own words where it has any."""
    if spec.compute is not None:
        try:
            spec.compute(level.cases)
        except MetricError as error:
            return str(error)
    return f"not estimable: {spec.why}"


def interval_of(
    level: Level, spec: Spec, value: float, replicates: NDArray[np.float64]
) -> Interval:
    """The interval that fits a number and its cases."""
    plan, confidence = level.plan, level.confidence
    if spec.kind == "proportion" and spec.success is not None and spec.among is not None:
        if plan.is_independent:
            x, n = int(spec.success[spec.among].sum()), int(spec.among.sum())
            return wilson(x, n, level=confidence)
        parts = (level.groups_in(spec.among),)
        found = bootstrap_interval(value, replicates, plan, level=confidence, groups_of=parts)
        return found if found.low is not None else _of_groups(level, spec, found)
    if spec.kind == "area" and spec.truth is not None and spec.score is not None:
        return _area(level, spec, value, replicates)
    if spec.kind == "binned":
        return _binned(value, replicates, plan, confidence)
    return bootstrap_interval(
        value, replicates, plan, level=confidence, groups_of=spec.parts or None
    )


def _of_groups(level: Level, spec: Spec, found: Interval) -> Interval:
    """The interval of a proportion from the spread between groups, where resamples show none.

    Where every case is decided alike, resamples within strata of the classes all have the same
    share of right decisions; between groups that share still differs.
    """
    if spec.success is None or spec.among is None or level.plan.n_groups < MIN_GROUPS:
        return found
    groups, hits = level.groups[spec.among], spec.success[spec.among]
    try:
        return cluster_proportion(
            hits, groups, level=level.confidence, scale="wilson", word=level.plan.word
        )
    except MetricError:
        return found


def _area(level: Level, spec: Spec, value: float, replicates: NDArray[np.float64]) -> Interval:
    """DeLong or bootstrap; Newcombe's where few cases or a perfect result defeat both.

    DeLong's on the logit scale, which covers 94 to 95 % where the plain one covers
    89 to 93 % (20 to 60 positive cases, area 0.9).
    """
    truth, score = spec.truth, spec.score
    if truth is None or score is None:
        msg = f"The area {spec.name} has no labels and scores."
        raise ValueError(msg)
    plan, confidence = level.plan, level.confidence
    n_1, n_0 = level.groups_in(truth), level.groups_in(~truth)
    if plan.is_independent:
        if min(n_1, n_0) < FEW_EVENTS:
            return newcombe_auroc(value, n_1, n_0, level=confidence)
        return delong(truth, score, level=confidence, scale="logit")
    if value in {0.0, 1.0} or min(n_1, n_0) < FEW_GROUPS_OF_CLASS:
        return newcombe_auroc(value, n_1, n_0, level=confidence, word=plan.word)
    return bootstrap_interval(value, replicates, plan, level=confidence)


def _binned(
    value: float, replicates: NDArray[np.float64], plan: Resampling, confidence: float
) -> Interval:
    """The basic interval: it turns the replicates around the value.

    A binned error is never negative, so noise raises it: in the data, and once
    more in each resample. Turning the replicates around takes the second rise off.
    """
    found = bootstrap_interval(value, replicates, plan, level=confidence)
    if found.low is None or found.high is None:
        return found
    low, high = max(0.0, 2 * value - found.high), max(0.0, 2 * value - found.low)
    return replace(
        found,
        low=min(low, value),
        high=max(high, value),
        method=f"bootstrap of {plan.words}, basic",
    )


def metric_row(
    level: Level, spec: Spec, value: float, interval: Interval, *, split: str, subgroup: str = ""
) -> dict[str, Any]:
    """One row of ``core.base.tables.METRICS``."""
    known = np.isfinite(value)
    reasons = [interval.reason] if interval.reason else []
    if known and spec.kind != "count" and spec.events is not None:
        caution = too_few(spec.events, level.n - spec.events)
        if caution:
            reasons.append(caution)
    among = spec.among
    return {
        "name": spec.name,
        "title": spec.title,
        "of": spec.of,
        "unit": level.unit,
        "split": split,
        "subgroup": subgroup,
        "value": value if known else None,
        "low": interval.low,
        "high": interval.high,
        "level": level.confidence,
        "method": interval.method,
        "n": level.n if among is None else int(among.sum()),
        "n_groups": level.plan.n_groups if among is None else level.groups_in(among),
        "n_events": spec.events,
        "reason": "; ".join(reasons),
        "percent": spec.percent,
    }


def too_few(events: int, others: int) -> str:
    """A caution in words where events or non-events are few; empty if not.

    >>> too_few(4, 200), too_few(50, 50), too_few(100, 120)
    ('too few to judge: 4 events', '', '')
    """
    fewest = min(events, others)
    if fewest >= FEW_EVENTS:
        return ""
    return f"too few to judge: {fewest} {'events' if events <= others else 'non-events'}"
