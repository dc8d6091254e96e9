"""Intervals and tests of areas under the ROC curve: DeLong, Obuchowski, Newcombe.

DeLong's intervals and tests for independent cases, Obuchowski's extension to
cases in groups, and Newcombe's score interval, which still holds where few cases
or a perfect result leave DeLong's variance too small. The areas themselves are
those of ``core.statistics.discrimination``.

Sources: DeLong et al. 1988, doi:10.2307/2531595; Sun and Xu 2014,
doi:10.1109/LSP.2014.2337313 (ranks in place of pairs); Obuchowski 1997,
doi:10.2307/2533958 (clustered data); Newcombe 2006, doi:10.1002/sim.2324 (score
interval).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats
from scipy.optimize import brentq
from scipy.special import expit, logit

from core.errors import MetricError
from core.statistics.discrimination import both_classes
from core.statistics.intervals import Interval, check_level, number_groups, plural, student_quantile

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "AreaTest",
    "delong",
    "delong_clustered",
    "delong_paired",
    "delong_several",
    "newcombe_auroc",
]


@dataclass(frozen=True, kw_only=True)
class AreaTest:
    """The difference between two areas under the ROC curve.

    Attributes:
        first, second: the areas.
        difference: first minus second.
        low, high: interval of the difference.
        se: its standard error.
        statistic: z of the test.
        p: two-sided; 1 where the scores are the same.
        method: in words.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    se: float
    statistic: float
    p: float
    method: str


def _placements(
    truth: NDArray[np.bool_], value: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """The area, and each case's share in it: of positives (m,), of negatives (n,)."""
    positive, negative = value[truth], value[~truth]
    m, n = len(positive), len(negative)
    # Mid-ranks count, for each case, how many of the others it beats (Sun and Xu 2014).
    ranks = stats.rankdata(np.concatenate([positive, negative]))
    of_positive = (ranks[:m] - stats.rankdata(positive)) / n
    of_negative = 1 - (ranks[m:] - stats.rankdata(negative)) / m
    return float(of_positive.mean()), of_positive, of_negative


def _variance(of_positive: NDArray[np.float64], of_negative: NDArray[np.float64]) -> float:
    """DeLong's variance of an area."""
    m, n = len(of_positive), len(of_negative)
    if m < 2 or n < 2:
        few = "positive" if m < 2 else "negative"
        msg = f"not estimable: a variance needs at least two {few} cases, and there is one"
        raise MetricError(msg)
    return float(of_positive.var(ddof=1) / m + of_negative.var(ddof=1) / n)


def delong(
    y: ArrayLike, score: ArrayLike, *, level: float = 0.95, scale: str = "plain"
) -> Interval:
    """DeLong's interval of the area under the ROC curve, for independent cases.

    Args:
        y: (N,) zeros and ones.
        score: (N,) finite numbers.
        level: confidence level.
        scale: ``plain``, cut off at 0 and 1, or ``logit``, which stays inside them.

    Returns:
        the interval with its standard error (its square is DeLong's variance).
        Where the classes are separated perfectly the variance is 0, and
        Newcombe's interval takes its place.

    Raises:
        MetricError: a class is absent or has one case.

    >>> delong([0, 0, 0, 1, 1, 1], [1, 2, 4, 3, 5, 6]).method
    'DeLong, 3 positive and 3 negative independent cases'
    """
    if scale not in {"plain", "logit"}:
        msg = f"The scale is {scale!r}; choose 'plain' or 'logit'."
        raise ValueError(msg)
    truth, value, _ = both_classes(y, score)
    area, of_positive, of_negative = _placements(truth, value)
    variance = _variance(of_positive, of_negative)
    if variance <= 1e-18:
        return newcombe_auroc(area, len(of_positive), len(of_negative), level=level)
    words = f"{len(of_positive):,} positive and {len(of_negative):,} negative independent cases"
    name = "DeLong" if scale == "plain" else "DeLong on the logit scale"
    return _area_interval(area, variance, level, scale, f"{name}, {words}")


def _area_interval(
    area: float, variance: float, level: float, scale: str, method: str, df: float | None = None
) -> Interval:
    """A normal interval of an area on either scale; Student's with degrees of freedom."""
    z = check_level(level) if df is None else student_quantile(df, level)
    se = float(np.sqrt(variance))
    if scale == "logit" and 0 < area < 1:
        half = z * se / (area * (1 - area))
        low, high = (float(expit(logit(area) + side * half)) for side in (-1, 1))
    else:
        low, high = max(0.0, area - z * se), min(1.0, area + z * se)
    return Interval(low=low, high=high, level=level, method=method, se=se, df=df)


def newcombe_auroc(
    area: float, n_positive: int, n_negative: int, *, level: float = 0.95, word: str = ""
) -> Interval:
    """Newcombe's score interval of an area: it keeps inside [0, 1] and holds at a perfect result.

    The ends are the areas whose own standard error (Hanley and McNeil's, with both
    numbers of cases replaced by half their sum; Newcombe's method 5) puts the
    observed area just within reach. It is to an area what Wilson's is to a share.

    Args:
        area: as observed.
        n_positive: positive cases, or groups that hold one.
        n_negative: negative cases, or groups that hold one.
        level: confidence level.
        word: what is counted; empty means independent cases.

    Raises:
        MetricError: a class is absent.

    >>> [round(end, 3) for end in newcombe_auroc(1.0, 10, 10).ends]
    [0.8, 1.0]
    """
    if n_positive < 1 or n_negative < 1:
        msg = "not estimable: an area under the curve needs both classes"
        raise MetricError(msg)
    if not 0 <= area <= 1:
        msg = f"not estimable: {area:g} is no area; it must lie in [0, 1]"
        raise MetricError(msg)
    z = check_level(level)
    more = (n_positive + n_negative) / 2 - 1

    def reach(a: float) -> float:
        spread = a * (1 - a) / (n_positive * n_negative)
        spread *= 1 + more * ((1 - a) / (2 - a) + a / (1 + a))
        return z * float(np.sqrt(max(0.0, spread)))

    # At a perfect result the area itself is a root too; the interval ends at the other one.
    tiny = 1e-15
    low, high = 0.0, 1.0
    if area > tiny:
        low = float(brentq(lambda a: area - a - reach(a), 0.0, min(area, 1 - tiny)))
    if area < 1 - tiny:
        high = float(brentq(lambda a: a - area - reach(a), max(area, tiny), 1.0))
    what = (
        f"{n_positive:,} positive and {n_negative:,} negative "
        f"{plural(word) if word else 'independent cases'}"
    )
    edge = area in {0.0, 1.0}
    reason = "the classes are separated perfectly, so no spread was seen" if edge else ""
    method = f"Newcombe's score interval, {what}"
    return Interval(low=low, high=high, level=level, method=method, reason=reason)


def delong_clustered(
    y: ArrayLike,
    score: ArrayLike,
    groups: ArrayLike,
    *,
    level: float = 0.95,
    scale: str = "plain",
    word: str = "group",
) -> Interval:
    """Obuchowski's interval of an area whose cases come in groups.

    With one case per group it is exactly DeLong's.

    Args:
        y: (N,) zeros and ones; a group may hold both.
        score: (N,) finite numbers.
        groups: (N,) the group of each case.
        level: confidence level.
        scale: ``plain``, or ``logit`` with Student's quantile, whose degrees of freedom
            are few where the groups of a rare class carry the variance.
        word: what a group is called.

    Raises:
        MetricError: a class is absent, or held by one group only.
    """
    truth, value, _ = both_classes(y, score)
    index, n_groups = number_groups(groups, len(value))
    area, pull_1, pull_0, groups_1, groups_0 = _pulls(truth, value, index, n_groups, word)
    variance = groups_1 / (groups_1 - 1) * float((pull_1**2).sum())
    variance += groups_0 / (groups_0 - 1) * float((pull_0**2).sum())
    variance += 2 * n_groups / (n_groups - 1) * float((pull_1 * pull_0).sum())
    if variance <= 1e-18:
        return newcombe_auroc(area, groups_1, groups_0, level=level, word=word)
    words = f"DeLong for clusters (Obuchowski), {n_groups:,} {plural(word)}"
    if scale == "plain":
        return _area_interval(area, variance, level, scale, words)
    df = _freedom(pull_1 + pull_0)
    return _area_interval(area, variance, level, scale, f"{words}, on the logit scale", df)


def _pulls(
    truth: NDArray[np.bool_],
    value: NDArray[np.float64],
    index: NDArray[np.int_],
    n_groups: int,
    word: str,
) -> tuple[float, NDArray[np.float64], NDArray[np.float64], int, int]:
    """The area, what each group (G,) pulls it by with its positives and negatives, and groups."""
    area, of_positive, of_negative = _placements(truth, value)
    m = np.bincount(index[truth], minlength=n_groups)
    n = np.bincount(index[~truth], minlength=n_groups)
    groups_1, groups_0 = int((m > 0).sum()), int((n > 0).sum())
    if groups_1 < 2 or groups_0 < 2:
        few = "positive" if groups_1 < 2 else "negative"
        msg = f"not estimable: all {few} cases are of one {word}, which shows no spread"
        raise MetricError(msg)
    away_1 = np.bincount(index[truth], weights=of_positive, minlength=n_groups) - m * area
    away_0 = np.bincount(index[~truth], weights=of_negative, minlength=n_groups) - n * area
    pull_1, pull_0 = away_1 / len(of_positive), away_0 / len(of_negative)
    return area, pull_1, pull_0, groups_1, groups_0


def _freedom(pull: NDArray[np.float64]) -> float:
    """Degrees of freedom of a sum of squares: few where a few groups carry it (Satterthwaite)."""
    n, square = len(pull), float((pull**2).sum())
    noise = float((pull**4).sum()) - square**2 / n
    return float(np.clip(2 * square**2 / noise if noise > 0 else n - 1, 2.0, max(2, n - 1)))


def delong_paired(
    y: ArrayLike, first: ArrayLike, second: ArrayLike, *, level: float = 0.95
) -> AreaTest:
    """DeLong's test of two scores of the same independent cases.

    Raises:
        MetricError: a class is absent or has one case.

    >>> delong_paired([0, 0, 1, 1], [1, 3, 2, 4], [1, 3, 2, 4]).p
    1.0
    """
    truth, a, _ = both_classes(y, first)
    _, b, _ = both_classes(y, second)
    area_a, a_1, a_0 = _placements(truth, a)
    area_b, b_1, b_0 = _placements(truth, b)
    # The differences' own variance: subtracting would leave rounding where it is 0.
    variance = _variance(a_1 - b_1, a_0 - b_0)
    difference = area_a - area_b
    z = check_level(level)
    se = float(np.sqrt(variance))
    if se <= 1e-12:
        if abs(difference) > 1e-12:
            msg = (
                "not estimable: the difference has no spread over the cases (one score separates "
                "the classes perfectly, the other ranks every case alike), so it cannot be tested"
            )
            raise MetricError(msg)
        statistic, p = 0.0, 1.0
    else:
        statistic = difference / se
        p = float(2 * stats.norm.sf(abs(statistic)))
    return AreaTest(
        first=area_a,
        second=area_b,
        difference=difference,
        low=difference - z * se,
        high=difference + z * se,
        se=se,
        statistic=statistic,
        p=p,
        method=f"DeLong, paired, {len(truth):,} independent cases",
    )


def delong_several(
    y: ArrayLike, scores: ArrayLike, groups: ArrayLike | None = None, *, word: str = "group"
) -> tuple[float, int, float]:
    """DeLong's test of all contrasts at once: have several scores of the same cases one area?

    Args:
        y: (N,) zeros and ones.
        scores: (N, K) finite numbers, K of 2 or more.
        groups: (N,) the group of each case (Obuchowski's covariance); None where each is its own.
        word: what a group is called.

    Returns:
        chi-squared, its degrees of freedom (K - 1, less where contrasts depend on each other),
        and p. Of two scores it is the square of the paired test.

    Raises:
        MetricError: a class is absent, or held by one group only.

    >>> delong_several([0, 0, 1, 1], [[1, 1], [3, 3], [2, 2], [4, 4]])
    (0.0, 0, 1.0)
    """
    values = np.asarray(scores, dtype=np.float64)
    index, n_groups = number_groups(groups, len(values))
    areas, pulls = [], []
    for column in values.T:
        truth, value, _ = both_classes(y, column)
        area, pull_1, pull_0, n_1, n_0 = _pulls(truth, value, index, n_groups, word)
        areas.append(area)
        pulls.append((pull_1, pull_0))
    of_1, of_0 = (np.array([pair[i] for pair in pulls]) for i in (0, 1))
    between = of_1 @ of_0.T * n_groups / (n_groups - 1)
    covariance = of_1 @ of_1.T * n_1 / (n_1 - 1) + of_0 @ of_0.T * n_0 / (n_0 - 1)
    covariance += between + between.T
    # Each score against the first; any other set of contrasts gives the same.
    contrast = np.hstack([-np.ones((len(areas) - 1, 1)), np.eye(len(areas) - 1)])
    difference, spread = contrast @ areas, contrast @ covariance @ contrast.T
    df = int(np.linalg.matrix_rank(spread, tol=1e-12, hermitian=True))
    chi2 = float(difference @ np.linalg.pinv(spread, rcond=1e-9, hermitian=True) @ difference)
    return chi2, df, float(stats.chi2.sf(chi2, df)) if df else 1.0
