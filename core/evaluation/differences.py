"""Differences of a metric, with intervals: two models, two sets of cases, a subgroup and the rest.

Of the same cases the difference is paired, by group. Of different cases it follows from the
ends of both intervals, as they stand in the tables. The p of a difference is that of the
interval beside it: it is below one minus the level exactly where the interval leaves 0 out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from core.errors import MetricError
from core.evaluation.unit_intervals import FEW_EVENTS, interval_of, replicates_of
from core.statistics import metrics as named
from core.statistics.comparisons import adjust
from core.statistics.delong import delong_paired
from core.statistics.intervals import Interval
from core.statistics.jackknife import (
    difference_of_ends,
    paired_proportions,
    spread_of,
    student_difference,
)
from core.statistics.resampling import MIN_GROUPS, few_groups, jackknife

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from numpy.typing import NDArray

    from core.evaluation.cases import Level
    from core.evaluation.metric_specs import MetricSpec

__all__ = ["Change", "hold_family", "of_parts", "of_same_cases", "unpaired", "verdict_of"]

# Reach of an interval that leaves nothing out.
NOTHING_KNOWN = 1e9
BINNED = (
    "not compared: a calibration error in bins is raised by noise, by how much depends on the "
    "cases; compare the Brier score and the log-loss"
)


@dataclass(frozen=True)
class Change:
    """A difference second minus first.

    Attributes:
        first, second: the numbers; NaN where undefined.
        interval: of the difference.
        p: two-sided; None where there is no interval.
    """

    first: float
    second: float
    interval: Interval
    p: float | None

    @property
    def value(self) -> float:
        """Second minus first."""
        return self.second - self.first

    def as_row(self) -> dict[str, Any]:
        """``difference``, ``low``, ``high``, ``p``, ``method`` and ``reason``."""
        known = bool(np.isfinite(self.value))
        return {
            "difference": self.value if known else None,
            "low": self.interval.low,
            "high": self.interval.high,
            "p": self.p,
            "method": self.interval.method,
            "reason": self.interval.reason,
        }


def _without(reason: str, level: float) -> Interval:
    """No interval, and why."""
    return Interval(low=None, high=None, level=level, reason=reason)


# By how much two values of a number can differ: shares lie in [0, 1], agreement in [-1, 1].
REACH = {"share": 1.0, "agreement": 2.0}


def _within(found: Interval, spec: MetricSpec) -> Interval:
    """An interval of a difference that reaches no further than the number itself can."""
    basis = spec.basis
    if basis is None or found.low is None or found.high is None:
        return found
    is_share = basis.kind in {"proportion", "area", "recalls"}
    most = 1.0 if is_share else REACH.get(basis.scale, np.inf)
    return replace(found, low=max(-most, found.low), high=min(most, found.high))


def value_of(level: Level, spec: MetricSpec) -> float:
    """The number itself; NaN where undefined."""
    if spec.compute is None:
        return float("nan")
    return float(named.over_weights(spec.compute, level.cases, np.ones((1, level.n)))[0])


# --------------------------------------------------------------------------- the same cases


def of_same_cases(first: Level, second: Level, one: MetricSpec, other: MetricSpec) -> Change:
    """The paired difference of a number between two models on the same cases.

    Args:
        first: cases with the scores of one model.
        second: the same cases, in the same order, with those of the other.
        one: the number, as the first level has it.
        other: as the second has it.
    """
    values = value_of(first, one), value_of(second, other)
    if not np.isfinite(values).all():
        which = "first" if not np.isfinite(values[0]) else "second"
        reason = f"not estimable: the number is undefined for the {which} model on these cases"
        return Change(*values, _without(reason, first.confidence), None)
    interval, p = _paired(first, second, one, other, values[1] - values[0])
    return Change(*values, _within(interval, one), p)


def _paired(
    first: Level, second: Level, one: MetricSpec, other: MetricSpec, value: float
) -> tuple[Interval, float | None]:
    """The interval of a paired difference, and its p."""
    plan, confidence = first.plan, first.confidence
    if one.kind == "binned":
        return _without(BINNED, confidence), None
    if plan.n_groups < MIN_GROUPS:
        return few_groups(plan, confidence), None
    found = None
    if one.kind == "proportion" and not one.is_f1:
        found = _of_shares(first, one, other)
    elif one.kind == "area" and plan.is_independent:
        found = _by_delong(first, one, other)
    elif one.kind == "resampled":
        a, b = replicates_of(first, one), replicates_of(second, other)
        n = min(len(a), len(b))
        found = _of_replicates(first, b[:n] - a[:n], value)
    if found is not None:
        return found
    compute, against = one.compute, other.compute
    if compute is None or against is None:
        return _without("not compared", confidence), None

    def away(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return named.over_weights(against, second.cases, weights) - named.over_weights(
            compute, first.cases, weights
        )

    return _of_left_out(first, jackknife(away, plan), value)


def _of_shares(
    first: Level, one: MetricSpec, other: MetricSpec
) -> tuple[Interval, float | None] | None:
    """The difference of two proportions of the same cases; None where the cases are others."""
    if one.basis is None or other.basis is None:
        return None
    a, b = one.basis.shares[0], other.basis.shares[0]
    if not (a.among == b.among).all():
        return None
    try:
        return paired_proportions(
            a.success[a.among],
            b.success[a.among],
            None if first.plan.is_independent else first.groups[a.among],
            level=first.confidence,
            word=first.plan.word,
        )
    except MetricError as error:
        return _without(str(error), first.confidence), None


def _by_delong(
    first: Level, one: MetricSpec, other: MetricSpec
) -> tuple[Interval, float | None] | None:
    """DeLong's paired interval and p of independent cases; None where few cases defeat them."""
    if one.basis is None or other.basis is None:
        return None
    truth, score, beside = one.basis.truth, one.basis.score, other.basis.score
    if truth is None or score is None or beside is None:
        return None
    if min(int(truth.sum()), int((~truth).sum())) < FEW_EVENTS:
        return None
    test = delong_paired(truth, beside, score, level=first.confidence)
    if test.se <= 0:
        return None
    return (
        Interval(
            low=test.low,
            high=test.high,
            level=first.confidence,
            method="DeLong, paired",
            se=test.se,
        ),
        test.p,
    )


def _of_left_out(
    level: Level,
    left_out: NDArray[np.float64],
    value: float,
    known_df: int | None = None,
) -> tuple[Interval, float | None]:
    """Student's interval of a difference from its values without each group.

    ``known_df`` takes the place of the degrees of freedom that the spread itself shows.
    """
    word = level.plan.word
    if not np.isfinite(left_out).all():
        reason = f"interval withheld: a class is held by one {word} alone"
        return _without(reason, level.confidence), None
    se, df = spread_of(left_out, level.plan)
    df = df if known_df is None else float(known_df)
    method = f"jackknife over {level.plan.n_groups:,} groups ({word}), paired"
    return student_difference(value, se, df, level=level.confidence, method=method)


def _of_replicates(
    level: Level, difference: NDArray[np.float64], value: float
) -> tuple[Interval, float | None]:
    """Student's interval of a difference from its values over shared resamples."""
    known = difference[np.isfinite(difference)]
    if len(known) < 0.95 * len(difference):
        reason = "interval withheld: a class is missing from many resamples"
        return _without(reason, level.confidence), None
    n = level.plan.n_groups
    se = float(known.std(ddof=1)) * float(np.sqrt(n / (n - 1)))
    method = f"bootstrap of {level.plan.words}, paired, Student's"
    return student_difference(value, se, float(n - 1), level=level.confidence, method=method)


# --------------------------------------------------------------------------- different cases


def unpaired(first: Level, second: Level, one: MetricSpec, other: MetricSpec) -> Change:
    """The difference of a number between two sets of different cases.

    Args:
        first: cases of one set.
        second: those of the other; no group is in both.
        one: the number, as the first level has it.
        other: as the second has it.
    """
    values = value_of(first, one), value_of(second, other)
    confidence = second.confidence
    if one.kind == "binned":
        return Change(*values, _without(BINNED, confidence), None)
    if not np.isfinite(values).all():
        reason = "undefined on one side, so there is nothing to compare"
        return Change(*values, _without(reason, confidence), None)
    sides = [
        _ends(level, spec, v)
        for level, spec, v in zip((first, second), (one, other), values, strict=True)
    ]
    for side in sides:
        if isinstance(side, str):
            return Change(*values, _without(side, confidence), None)
    low, high, p = difference_of_ends(*sides, level=confidence)  # type: ignore[arg-type]
    found = Interval(
        low=low,
        high=high,
        level=confidence,
        method="from the ends of both intervals (Newcombe; Zou and Donner)",
    )
    return Change(*values, _within(found, one), p)


def _ends(
    level: Level, spec: MetricSpec, value: float
) -> Callable[[float], tuple[float, float, float]] | str:
    """Level -> value and ends of a number's own interval; or why it has none."""
    left_out = replicates = None
    compute = spec.compute
    if spec.kind == "smooth" and compute is not None and level.plan.n_groups >= MIN_GROUPS:
        left_out = jackknife(lambda w: named.over_weights(compute, level.cases, w), level.plan)
    elif spec.kind == "resampled":
        replicates = replicates_of(level, spec)

    def interval(confidence: float) -> Interval:
        return interval_of(
            replace(level, confidence=confidence),
            spec,
            value,
            left_out=left_out,
            replicates=replicates,
        )

    first = interval(level.confidence)
    if first.low is None:
        return first.reason

    def ends(confidence: float) -> tuple[float, float, float]:
        found = interval(confidence)
        if found.low is None or found.high is None:
            # At a level this high nothing is left out.
            return value, value - NOTHING_KNOWN, value + NOTHING_KNOWN
        return value, found.low, found.high

    return ends


def of_parts(
    level: Level,
    inside: NDArray[np.bool_],
    parts: tuple[Level, Level],
    specs: tuple[MetricSpec, MetricSpec],
) -> Change:
    """The difference of a number, the cases inside minus the rest.

    Args:
        level: all cases.
        inside: (N,) which of them the first part holds.
        parts: the cases inside, and the rest.
        specs: the number, as either part has it.
    """
    fewest = min(parts, key=lambda part: part.plan.n_groups)
    if fewest.plan.n_groups < MIN_GROUPS:
        values = value_of(parts[1], specs[1]), value_of(parts[0], specs[0])
        return Change(*values, few_groups(fewest.plan, level.confidence), None)
    of_group = level.plan.index
    if not set(of_group[inside].tolist()) & set(of_group[~inside].tolist()):
        return unpaired(parts[1], parts[0], specs[1], specs[0])
    values = value_of(parts[1], specs[1]), value_of(parts[0], specs[0])
    if specs[0].kind == "binned":
        return Change(*values, _without(BINNED, level.confidence), None)
    if not np.isfinite(values).all():
        reason = "the subgroup or the rest has no value"
        return Change(*values, _without(reason, level.confidence), None)
    compute, against = specs[0].compute, specs[1].compute
    if compute is None or against is None:
        return Change(*values, _without("not compared", level.confidence), None)

    def away(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return named.over_weights(compute, parts[0].cases, weights[:, inside]) - named.over_weights(
            against, parts[1].cases, weights[:, ~inside]
        )

    if specs[0].kind == "resampled":
        drawn = np.concatenate([away(block) for block in level.plan.weights()])
        found, p = _of_replicates(level, drawn, values[1] - values[0])
    else:
        found, p = _of_left_out(
            level,
            jackknife(away, level.plan),
            values[1] - values[0],
            # Areas within groups vary so evenly that fewer degrees of freedom only widen them.
            known_df=level.plan.n_groups - 1 if specs[0].kind == "area" else None,
        )
    return Change(*values, _within(found, specs[0]), p)


# --------------------------------------------------------------------------- families and words


def hold_family(rows: Sequence[dict[str, Any]], name: str, *, behind: float | None = None) -> None:
    """Correct the p of a family of comparisons by Holm's method.

    Args:
        rows: with ``p``; filled with ``p_holm``, ``family`` and ``behind``.
        name: what the family holds, in words.
        behind: p of the headline, which was named before: these are called only where it
            differs, too, so that all calls of a comparison together keep the level.
    """
    p = [np.nan if row["p"] is None else row["p"] for row in rows]
    n = int(np.isfinite(np.asarray(p, dtype=float)).sum())
    for row, value in zip(rows, adjust(p), strict=True):
        row["p_holm"] = float(value) if np.isfinite(value) else None
        row["family"] = f"{name} ({n})"
        row["behind"] = behind


def verdict_of(
    row: dict[str, Any],
    confidence: float,
    *,
    than: str,
    none: str = "no difference is shown",
    with_p: bool = True,
) -> str:
    """A difference in words that never contradict the interval beside them.

    Args:
        row: with ``difference``, ``low``, ``high``, ``p``, ``p_holm`` and ``reason``.
        confidence: level of the interval.
        than: said after "higher" or "lower".
        none: said where none is shown.
        with_p: whether p is said where none is shown.
    """
    if row["difference"] is None:
        return str(row["reason"] or "not compared")
    alpha, p, behind = 1 - confidence, row["p_holm"], row.get("behind")
    if row["difference"] == 0 and row["p"] in {None, 1.0}:
        words = f"{none}: both give the same here"
    elif row["low"] is None or p is None:
        words = str(row["reason"] or "no interval, so no statement")
    elif not (row["low"] > 0 or row["high"] < 0):
        words = f"{none} ({p_words(p)})" if with_p else none
    elif p >= alpha:
        words = (
            f"{none} once all numbers are counted ({p_words(p)} after Holm), though this interval "
            "alone leaves 0 out"
        )
    elif behind is not None and behind >= alpha:
        words = (
            f"{none} that may be called, for the headline shows none; on its own {p_words(p)} "
            "after Holm"
        )
    else:
        words = f"{'higher' if row['difference'] > 0 else 'lower'} {than} ({p_words(p)})"
    return words


def p_words(p: float) -> str:
    """A p-value in words.

    >>> p_words(0.0312), p_words(1e-9)
    ('p = 0.031', 'p < 0.0001')
    """
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}"
