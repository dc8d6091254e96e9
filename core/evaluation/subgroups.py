"""Does the result hold for everybody? Numbers by subgroup, and each against the rest.

All subgroups share the resamples of the level, so that a difference between a
subgroup and the rest is made within each resample. Holm's correction covers the
whole family of differences. A subgroup with too few cases is said to be so.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from core.evaluation.cases import Level, part_of
from core.evaluation.unit_metrics import FEW_EVENTS, metric_row, too_few
from core.statistics import metrics as named
from core.statistics import weighted as batches
from core.statistics.comparisons import adjust, bootstrap_p
from core.statistics.intervals import Interval
from core.statistics.resampling import bootstrap_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from core.app import Cases
    from core.evaluation.metric_specs import Spec
    from core.statistics.resampling import Resampling

__all__ = ["subgroup_rows", "values_in_words"]

# A column with more values than this is cut into thirds (numbers) or has its
# smallest values put together (words).
MANY = 12
# Resamples for a metric of the app's own that has to be called once for each.
SLOW_RESAMPLES = 300


def values_in_words(values: NDArray[np.str_]) -> NDArray[np.str_]:
    """The subgroup of each case: the value itself, or a third of many numbers.

    >>> sorted(set(values_in_words(np.array([str(i) for i in range(30)])).tolist()))
    ['10 to 19', '20 or more', 'under 10']
    """
    distinct = np.unique(values[values != ""])
    words = np.where(values == "", "(empty)", values).astype(object)
    if len(distinct) <= MANY:
        return words.astype(str)
    try:
        numbers = np.array([float(v) if v else np.nan for v in values])
    except ValueError:
        names, counts = np.unique(values, return_counts=True)
        kept = set(names[np.argsort(-counts, kind="stable")][: MANY - 1])
        return np.array(
            [w if v in kept or not v else "other" for v, w in zip(values, words, strict=True)]
        )
    low, high = np.nanquantile(numbers, [1 / 3, 2 / 3], method="higher")
    whole = np.nanmax(np.abs(numbers - np.round(numbers))) == 0
    top_of_middle = f"{high - 1:g}" if whole else f"below {high:g}"
    words[numbers < low] = f"under {low:g}"
    words[(numbers >= low) & (numbers < high)] = f"{low:g} to {top_of_middle}"
    words[numbers >= high] = f"{high:g} or more"
    return words.astype(str)


def subgroup_rows(
    level: Level,
    specs: Sequence[Spec],
    columns: Mapping[str, NDArray[np.str_]],
    *,
    split: str,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Numbers by subgroup.

    Args:
        level: the cases.
        specs: what is computed; the first one is compared with the rest.
        columns: column -> (N,) value of each case, as text.
        split: for the rows.

    Returns:
        rows of ``core.base.tables.METRICS`` with ``subgroup`` filled, and one row for each
        comparison of the first number with everybody else: ``column``, ``subgroup``,
        ``name``, ``unit``, ``n``, ``n_groups``, ``value``, ``rest``, ``difference``,
        ``low``, ``high``, ``p``, ``p_holm``, ``verdict``.
    """
    jobs = _jobs(level, specs, columns)
    for block in level.plan.weights():
        for job in jobs:
            job.draw(block)
    rows = [_row(job, split) for job in jobs if job.column]
    compared = [
        _against_rest(job, rest) for job, rest in pairwise(jobs) if job.column and not rest.column
    ]
    adjusted = adjust([np.nan if c["p"] is None else c["p"] for c in compared])
    for one, p in zip(compared, adjusted, strict=True):
        one["p_holm"] = None if np.isnan(p) else float(p)
        one["verdict"] = _verdict(one, level.confidence)
    return rows, compared


def _order(word: str) -> tuple[int, float, str]:
    """Numbers by value, thirds from low to high, then words."""
    if word.startswith("under "):
        return (0, -1e300, word)
    try:
        return (0, float(word.split(" ", maxsplit=1)[0]), word)
    except ValueError:
        return (2 if word in {"(empty)", "other"} else 1, 0.0, word)


@dataclass
class _Job:
    """One number of some cases, over the resamples of all.

    Attributes:
        column: of the subgroup; empty for the rest that it is compared with.
        subgroup: its value in words.
        spec: the number.
        part: the level of these cases.
        inside: (N,) which of all cases they are.
        value: of the cases themselves; NaN where undefined.
        blocks: values over the resamples so far.
    """

    column: str
    subgroup: str
    spec: Spec
    part: Level
    inside: NDArray[np.bool_]
    value: float = np.nan
    blocks: list[NDArray[np.float64]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.value = float(named.over_weights(self.compute, self.part.cases, self._once())[0])

    def _once(self) -> NDArray[np.float64]:
        return np.ones((1, self.part.n))

    @property
    def compute(self) -> Callable[[Cases], float]:
        """The function behind the number."""
        if self.spec.compute is None:
            msg = f"The number {self.spec.name!r} has no function of cases."
            raise ValueError(msg)
        return self.spec.compute

    def draw(self, block: NDArray[np.float64]) -> None:
        """Values over one block of weights (b, N) of all cases."""
        if not np.isfinite(self.value):
            return
        if not named.is_batched(self.compute):
            block = block[: max(0, SLOW_RESAMPLES - sum(map(len, self.blocks)))]
        if len(block):
            weights = block[:, self.inside]
            self.blocks.append(named.over_weights(self.compute, self.part.cases, weights))

    @property
    def replicates(self) -> NDArray[np.float64]:
        """Values over all resamples."""
        return np.concatenate(self.blocks)

    @property
    def plan(self) -> Resampling:
        """What was drawn of these cases."""
        return replace(self.part.plan, resamples=len(self.replicates))


def _jobs(
    level: Level, specs: Sequence[Spec], columns: Mapping[str, NDArray[np.str_]]
) -> list[_Job]:
    """Every number of every subgroup; behind the first of each, the same of the rest."""
    jobs = []
    for column, raw in columns.items():
        words = values_in_words(raw)
        distinct = sorted(set(words.tolist()), key=_order)
        if len(distinct) < 2:
            continue
        for value in distinct:
            inside = words == value
            part = part_of(level, inside)
            for i, spec in enumerate(specs):
                jobs.append(_Job(column, value, spec, part, inside))
                if i == 0:
                    jobs.append(_Job("", value, spec, part_of(level, ~inside), ~inside))
    return jobs


def _row(job: _Job, split: str) -> dict[str, Any]:
    """One row of METRICS."""
    part, spec = job.part, job.spec
    if np.isfinite(job.value):
        interval = bootstrap_interval(
            job.value,
            job.replicates,
            job.plan,
            level=part.confidence,
            groups_of=(part.plan.n_groups,) if spec.is_share else None,
        )
    else:
        reason = "not estimable: the cases of this subgroup do not allow it"
        interval = Interval(low=None, high=None, level=part.confidence, reason=reason)
    plain = replace(spec, among=None, success=None, events=None)
    name = f"{job.column}={job.subgroup}"
    row = metric_row(part, plain, job.value, interval, split=split, subgroup=name)
    caution = f"too few to judge: {part.n} cases" if part.n < FEW_EVENTS else ""
    if spec.kind == "area":
        truth = batches.positive_part(part.cases, part.task.positive_index or None)[0]
        row["n_events"] = int(truth.sum())
        caution = too_few(int(truth.sum()), int(len(truth) - truth.sum())) or caution
    row["reason"] = "; ".join(filter(None, [row["reason"], caution]))
    return row


def _against_rest(job: _Job, rest: _Job) -> dict[str, Any]:
    """The difference of a subgroup to the rest."""
    part = job.part
    known, other = bool(np.isfinite(job.value)), bool(np.isfinite(rest.value))
    found: dict[str, Any] = {
        "column": job.column,
        "subgroup": job.subgroup,
        "name": job.spec.name,
        "title": job.spec.title,
        "unit": part.unit,
        "n": part.n,
        "n_groups": part.plan.n_groups,
        "value": job.value if known else None,
        "rest": rest.value if other else None,
        "difference": None,
        "low": None,
        "high": None,
        "p": None,
        "reason": "",
    }
    if not (known and other):
        found["reason"] = "the subgroup or the rest has no value"
        return found
    found["difference"] = job.value - rest.value
    # Too few groups on either side leave nothing to resample.
    plan = job.plan if job.plan.n_groups <= rest.plan.n_groups else rest.plan
    away = job.replicates - rest.replicates
    interval = bootstrap_interval(job.value - rest.value, away, plan, level=part.confidence)
    found["low"], found["high"], found["reason"] = interval.low, interval.high, interval.reason
    if part.n < FEW_EVENTS:
        found["reason"] = f"too few to judge: {part.n} cases"
    elif interval.low is not None:
        found["p"] = bootstrap_p(away)
    return found


def _verdict(one: Mapping[str, Any], confidence: float) -> str:
    """A comparison in words."""
    if one["reason"].startswith("too few"):
        return str(one["reason"])
    if one["p_holm"] is None:
        return str(one["reason"] or "not compared")
    if one["p_holm"] >= 1 - confidence:
        return "no difference to the rest is shown"
    way = "higher" if one["difference"] > 0 else "lower"
    return f"{way} than the rest (p = {one['p_holm']:.2g} after Holm)"
