"""All numbers of one level (images, or one kind of unit), each with its interval.

``core.evaluation.metric_specs`` says which numbers there are, ``core.evaluation.unit_intervals``
how the interval of each is made; values over resamples are computed together, block by block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import MetricError
from core.evaluation.unit_intervals import FEW_EVENTS, interval_of, needs_resamples
from core.statistics import metrics as named
from core.statistics.agreement import confusion_matrices, from_confusion, ratio
from core.statistics.discrimination import Ranking, indicator
from core.statistics.intervals import Interval, plural
from core.statistics.resampling import MIN_GROUPS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from core.app import Cases
    from core.evaluation.cases import Level
    from core.evaluation.metric_specs import MetricSpec

__all__ = [
    "FEW_EVENTS",
    "metric_row",
    "rows_of",
    "too_few",
]

# Said of a number whose threshold was sought on the cases that are judged.
SOUGHT = "its threshold is chosen on these same cases: optimistic"
# Numbers that follow from the confusion matrix, all at once.
OF_DECISIONS = (
    *("accuracy", "balanced_accuracy", "macro_f1", "matthews", "kappa", "linear_kappa"),
    *("quadratic_kappa", "mean_absolute_error", "off_by_two"),
)


def values_of(
    level: Level, specs: Sequence[MetricSpec], weights: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Values (b,) of the keys of these numbers for weights (b, N)."""
    cases, k = level.cases, len(level.task.classes)
    keys = {spec.key for spec in specs}
    found: dict[str, NDArray[np.float64]] = {}
    if any(spec.compute is None or _is_of_decisions(spec) for spec in specs):
        found.update(_of_decisions(cases, k, weights))
    ranked = any(key.partition(":")[0] in {"auroc", "average_precision"} for key in keys)
    if level.task.kind != "binary" and (
        ranked or keys & {"macro_auroc", "macro_average_precision"}
    ):
        truth = indicator(cases.y, k)
        both = [Ranking(truth[:, i], cases.scores[:, i]).both(weights) for i in range(k)]
        for i, (area, precision) in enumerate(both):
            found[f"auroc:{i}"], found[f"average_precision:{i}"] = area, precision
        found["macro_auroc"] = np.mean([area for area, _ in both], axis=0)
        found["macro_average_precision"] = np.mean([one for _, one in both], axis=0)
    for spec in specs:
        if spec.compute is not None and spec.key not in found:
            function = getattr(spec.compute, "__name__", "")
            same = function in found and getattr(named, function, None) is spec.compute
            found[spec.key] = (
                found[function] if same else named.over_weights(spec.compute, cases, weights)
            )
    return found


def _is_of_decisions(spec: MetricSpec) -> bool:
    """Whether a number follows from the confusion matrix."""
    return getattr(spec.compute, "__name__", "") in OF_DECISIONS


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
            ratio(hits, called),
            ratio(hits, support),
        )
        numbers["f1"], numbers["support"] = ratio(2 * hits, support + called), support
    for name, array in numbers.items():
        if array.ndim == 1:
            found[name] = array
        else:
            found.update({f"{name}:{i}": array[:, i] for i in range(k)})
    return found


def rows_of(level: Level, specs: Sequence[MetricSpec], *, split: str) -> list[dict[str, Any]]:
    """Rows of ``core.base.tables.METRICS`` for these numbers."""
    point = values_of(level, specs, np.ones((1, level.n)))
    smooth = {spec.key for spec in specs if spec.kind == "smooth"}
    drawn = {spec.key for spec in specs if needs_resamples(spec) and _is_quick(spec)}
    left_out = _collected(level, specs, level.plan.without_each(), smooth)
    resampled = _collected(level, specs, level.plan.weights(), drawn)
    rows = []
    for spec in specs:
        value = float(point[spec.key][0])
        if spec.kind == "count":
            interval = Interval(low=None, high=None, level=level.confidence)
        elif np.isfinite(value):
            interval = interval_of(
                level,
                spec,
                value,
                left_out=left_out.get(spec.key),
                replicates=resampled.get(spec.key),
            )
        else:
            interval = Interval(
                low=None,
                high=None,
                level=level.confidence,
                reason=_why(level, spec),
            )
        rows.append(metric_row(level, spec, value, interval, split=split))
    return rows


def _is_quick(spec: MetricSpec) -> bool:
    """Whether all resamples of a number come at once."""
    return spec.compute is not None and named.is_batched(spec.compute)


def _collected(
    level: Level,
    specs: Sequence[MetricSpec],
    blocks: Iterator[NDArray[np.float64]],
    keys: set[str],
) -> dict[str, NDArray[np.float64]]:
    """Values of these keys over blocks of weights; nothing where no key is wanted."""
    if not keys or level.plan.n_groups < MIN_GROUPS:
        return {}
    wanted = [spec for spec in specs if spec.key in keys]
    found: dict[str, list[NDArray[np.float64]]] = {key: [] for key in keys}
    for weights in blocks:
        values = values_of(level, wanted, weights)
        for key in keys:
            found[key].append(values[key])
    return {key: np.concatenate(parts) for key, parts in found.items()}


def _why(level: Level, spec: MetricSpec) -> str:
    """Why a value is undefined: the metric's own words where it has any."""
    if spec.compute is not None:
        try:
            spec.compute(level.cases)
        except MetricError as error:
            return str(error)
    return f"not estimable: {spec.why}"


def metric_row(
    level: Level,
    spec: MetricSpec,
    value: float,
    interval: Interval,
    *,
    split: str,
    subgroup: str = "",
) -> dict[str, Any]:
    """One row of ``core.base.tables.METRICS``."""
    known = np.isfinite(value)
    reasons = [interval.reason] if interval.reason else []
    events = None if spec.events is None else int(spec.events.sum())
    if known and spec.kind != "count" and events is not None:
        caution = too_few(events, level.n - events)
        if caution:
            reasons.append(caution)
    if known and spec.seeks:
        reasons.append(SOUGHT)
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
        "n_events": events,
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
    return (
        f"too few to judge: {fewest} {plural('event' if events <= others else 'non-event', fewest)}"
    )
