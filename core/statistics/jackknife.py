"""Jackknife over groups: intervals and tests of any smooth number, on the scale that suits it.

Each group is left out in turn; how the number moves gives its variance, with the share
of classes as free as in the data. The interval is Student's on a scale without ends
(log odds of a share, Fisher's z of a kappa, the logarithm of a loss). Its degrees of
freedom are those of the variance itself: where a few groups carry it, as the few
patients of a rare class do, they are few.

Measured coverage of every kind of number: docs/coverage.md.

Sources: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 11
(jackknife); Satterthwaite 1946, doi:10.2307/3002019 (degrees of freedom of a variance);
Tango 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<891::AID-SIM780>3.0.CO;2-B (difference
of paired proportions);
Newcombe 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I, and
Zou and Donner 2008, doi:10.1002/sim.3095 (difference from the ends of two intervals).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, stdtr

from core.errors import MetricError
from core.statistics.intervals import (
    Interval,
    check_level,
    exact_on_groups,
    number_groups,
    plural,
    student_quantile,
)
from core.statistics.resampling import MIN_GROUPS, few_groups
from core.statistics.scales import AT_END, SCALES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from core.statistics.resampling import Resampling

__all__ = [
    "Estimate",
    "between_samples",
    "difference_of_ends",
    "jackknife_interval",
    "paired_proportions",
    "spread_of",
    "student_difference",
]


# An upper end of a loss that is this many times the loss itself says nothing.
MOST_RISE = 100.0
# Tango's score has no value at a difference of -1, of 1, or of what is seen where all is alike.
NEAR_END = 1e-9


@dataclass(frozen=True)
class Estimate:
    """A number with the spread it has between groups.

    Attributes:
        value: of all cases.
        se: standard error on the number's own scale.
        df: degrees of freedom of that standard error.
    """

    value: float
    se: float
    df: float


def spread_of(left_out: NDArray[np.float64], plan: Resampling) -> tuple[float, float]:
    """Standard error and its degrees of freedom, from values without each block of groups.

    Args:
        left_out: (U,) from ``core.statistics.resampling.jackknife``, all finite.
        plan: what was left out; within its strata, if it has any.
    """
    variance = noise = 0.0
    most = 0
    stratum = plan.blocks()[1]
    for number in np.unique(stratum):
        moved = left_out[stratum == number]
        n = len(moved)
        if n < 2:
            continue
        parts = (n - 1) / n * (moved - moved.mean()) ** 2
        total = float(parts.sum())
        variance += total
        noise += float((parts**2).sum()) - total**2 / n
        most += n - 1
    if variance <= 0 or noise <= 0:
        return float(np.sqrt(variance)), float(max(1, most))
    return float(np.sqrt(variance)), float(np.clip(2 * variance**2 / noise, 2.0, max(2, most)))


def jackknife_interval(
    value: float,
    left_out: NDArray[np.float64],
    plan: Resampling,
    *,
    scale: str = "plain",
    level: float = 0.95,
    groups_of: Sequence[int] = (),
) -> Interval:
    """The interval of a number from its values without each group, or why there is none.

    Args:
        value: of all cases.
        left_out: (U,) from ``core.statistics.resampling.jackknife``; NaN where undefined.
        plan: what was left out.
        scale: of ``core.statistics.scales.SCALES``.
        level: confidence level.
        groups_of: numbers of groups behind each of the shares that it averages: a perfect
            result then has an exact limit on them.
    """
    check_level(level)
    word, n_groups = plan.word, plan.n_groups

    def withheld(why: str) -> Interval:
        reason = f"interval withheld: {why}"
        return Interval(low=None, high=None, level=level, reason=reason)

    if n_groups < MIN_GROUPS:
        return few_groups(plan, level)
    if not np.isfinite(left_out).all():
        return withheld(f"a class is held by one {word} alone, without which there is no value")
    se, df = spread_of(left_out, plan)
    one = SCALES[scale]
    slope = one.slope(value)
    if se <= AT_END * max(1.0, abs(value)) or slope <= AT_END:
        if groups_of and max(groups_of) > 0 and min(abs(value), abs(value - 1)) < AT_END:
            return exact_on_groups(round(value), groups_of, level=level, word=word)
        return withheld(f"without any of the {plural(word)} it is {value:.4g} just the same")
    spread = se / slope
    if one.is_skewed and (left_out > AT_END).all():
        spread, df = spread_of(np.array([one.forward(v) for v in left_out]), plan)
    reach = student_quantile(df, level) * spread
    middle = one.forward(value)
    if one.is_skewed and reach > np.log(MOST_RISE):
        return withheld(f"a few {plural(word)} alone carry it, so its upper end is not known")
    on = f" on the scale of {one.name}" if one.name else ""
    within = ", within classes" if len(np.unique(plan.stratum)) > 1 else ""
    return Interval(
        low=one.back(middle - reach),
        high=one.back(middle + reach),
        level=level,
        method=f"jackknife over {n_groups:,} {plural(word, n_groups)}{on}{within}",
        se=se,
        df=df,
    )


def student_difference(
    value: float, se: float, df: float, *, level: float = 0.95, method: str = ""
) -> tuple[Interval, float | None]:
    """Student's interval of a difference, and its two-sided p; withheld without any spread."""
    if se <= AT_END:
        reason = "interval withheld: the difference is the same whichever group is left out"
        return Interval(low=None, high=None, level=level, reason=reason), None
    reach = student_quantile(df, level) * se
    found = Interval(
        low=value - reach, high=value + reach, level=level, method=method, se=se, df=df
    )
    return found, float(2 * stdtr(df, -abs(value) / se))


def between_samples(
    first: Estimate, second: Estimate, *, level: float = 0.95, method: str = ""
) -> tuple[Interval, float | None]:
    """The difference second minus first of two numbers of different cases, Welch's way."""
    a, b = first.se**2, second.se**2
    if a + b <= 0:
        return student_difference(0.0, 0.0, 1.0, level=level)
    df = (a + b) ** 2 / (a**2 / max(first.df, 1.0) + b**2 / max(second.df, 1.0))
    se = float(np.sqrt(a + b))
    return student_difference(second.value - first.value, se, df, level=level, method=method)


def difference_of_ends(
    first: Callable[[float], tuple[float, float, float]],
    second: Callable[[float], tuple[float, float, float]],
    *,
    level: float = 0.95,
) -> tuple[float, float, float]:
    """Ends and p of a difference second minus first of two shares of different cases.

    The distance of each share to the ends of its own interval stands for its spread, which
    keeps what those intervals are worth near 0 and 1 (Newcombe's method 10, for any intervals).

    Args:
        first: level -> value, low, high.
        second: of the other cases.
        level: confidence level.

    Returns:
        low, high, and p: the level at which the interval just reaches 0.
    """

    def ends(at: float) -> tuple[float, float]:
        a, a_low, a_high = first(at)
        b, b_low, b_high = second(at)
        difference = b - a
        return (
            difference - float(np.hypot(b - b_low, a_high - a)),
            difference + float(np.hypot(b_high - b, a - a_low)),
        )

    low, high = ends(level)
    difference = second(level)[0] - first(level)[0]
    if difference == 0:
        return low, high, 1.0

    def edge(p: float) -> float:
        return ends(1 - p)[0] if difference > 0 else -ends(1 - p)[1]

    least, most = 1e-12, 0.9999
    if edge(least) >= 0:
        return low, high, least
    # Ends that do not close on the value itself (of a share of 1) may never leave 0 out.
    return low, high, float(brentq(edge, least, most)) if edge(most) > 0 else 1.0


def paired_proportions(
    first: ArrayLike,
    second: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    level: float = 0.95,
    word: str = "group",
) -> tuple[Interval, float]:
    """The difference second minus first of two proportions of the same cases.

    Tango's score interval on as many independent cases as would give the variance that the
    difference has between groups. It has a width even where both decide alike on every case
    seen. Its p is that of McNemar's test on those cases.

    Args:
        first: (N,) success of one.
        second: (N,) success of the other.
        groups: (N,) the group of each case; None where each is its own.
        level: confidence level.
        word: what a group is called.

    Returns:
        the interval, and the two-sided p of the same statistic.

    Raises:
        MetricError: no case, or one group only.

    >>> found, p = paired_proportions([1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0])
    >>> [round(end, 3) for end in found.ends], p
    ([-0.39, 0.39], 1.0)
    """
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if not len(a):
        msg = "not estimable: no case is left to count (0 of 0)"
        raise MetricError(msg)
    index, n_groups = number_groups(groups, len(a))
    if n_groups < 2:
        msg = f"not estimable: all {len(a)} cases are of one {word}, which shows no spread"
        raise MetricError(msg)
    difference = b - a
    mean, n = float(difference.mean()), float(len(difference))
    gained, lost = float((difference > 0).mean()), float((difference < 0).mean())
    alone = (gained + lost - mean**2) / n
    if n_groups == len(a):
        effective = n
    elif alone <= 0:
        # Nothing differs (or everything): how alike a group is cannot be seen.
        effective = float(n_groups)
    else:
        totals = np.bincount(index, weights=difference) - mean * np.bincount(index)
        between = n_groups / (n_groups - 1) * float((totals**2).sum()) / n**2
        effective = n / max(1.0, between / alone)
    low, high = _tango(gained * effective, lost * effective, effective, check_level(level))
    over = f"{n_groups:,} {plural(word, n_groups)}" if groups is not None else f"{len(a):,} cases"
    differ = gained + lost
    spread = float(np.sqrt(max(0.0, differ - mean**2) / effective))
    found = Interval(
        low=min(mean, low),
        high=max(mean, high),
        level=level,
        method=f"Tango's score, paired, {over}",
        reason="" if differ else "both decide alike on every case seen",
        se=spread,
    )
    if not differ:
        return found, 1.0
    return found, float(2 * ndtr(-abs(gained - lost) * np.sqrt(effective / differ)))


def _tango(gained: float, lost: float, n: float, z: float) -> tuple[float, float]:
    """Ends of Tango's interval of (gained - lost) / n; counts need not be whole."""
    mean = (gained - lost) / n

    def score(away: float) -> float:
        # The share lost that is most likely where the difference is ``away``.
        b = -gained - lost + (2 * n - gained + lost) * away
        c = -lost * away * (1 - away)
        share = (np.sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n)
        variance = n * (2 * share + away * (1 - away))
        return float((gained - lost - n * away) / np.sqrt(max(variance, 1e-300)))

    ends = []
    for side, limit in ((1, -1.0), (-1, 1.0)):
        inner, outer = mean - side * NEAR_END, limit + side * NEAR_END
        reaches = side * (inner - outer) > 0 and side * score(outer) > z
        found = brentq(lambda at, s=side: score(at) - s * z, outer, inner) if reaches else limit
        ends.append(float(found))
    return ends[0], ends[1]
