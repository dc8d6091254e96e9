"""Confidence intervals of proportions, of independent and of clustered cases.

Nothing is invented: a proportion of no case is refused, and where not one
failure was seen the interval still has a lower limit. ``core.statistics.resampling``
answers the same for any other metric.

Sources: Newcombe 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E
(Wilson, Clopper-Pearson); Rao and Scott 1992, doi:10.2307/2532311 (ratio estimator
for clustered proportions); Korn and Graubard 1998, Survey Methodology 24:193-201
(effective number of cases).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from core.base.words import plural
from core.errors import MetricError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Interval",
    "all_successes_limit",
    "check_level",
    "check_weights",
    "clopper_pearson",
    "cluster_proportion",
    "exact_on_groups",
    "number_groups",
    "plural",
    "student_quantile",
    "wilson",
    "wilson_of_spread",
]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An interval, how it was made, or why there is none.

    Attributes:
        low, high: its ends; None where it is withheld.
        level: confidence level.
        method: how it was made, in words; empty where it is withheld.
        reason: why it is withheld, or what to bear in mind; may be empty.
        se: standard error, where the method has one.
        df: degrees of freedom of that standard error; None where it is taken as known.
    """

    low: float | None
    high: float | None
    level: float
    method: str = ""
    reason: str = ""
    se: float | None = None
    df: float | None = None

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends.

        Raises:
            MetricError: the interval is withheld.
        """
        if self.low is None or self.high is None:
            raise MetricError(self.reason or "The interval is withheld.")
        return self.low, self.high


def check_level(level: float) -> float:
    """The normal quantile of a two-sided level: 1.96 of 0.95.

    Raises:
        MetricError: the level is not between 0 and 1.
    """
    if not 0 < level < 1:
        msg = f"The confidence level is {level:g}; it must lie between 0 and 1, as in 0.95."
        raise MetricError(msg)
    from scipy.special import ndtri  # noqa: PLC0415  (0.3 s, which a prediction need not wait)

    return float(ndtri(0.5 + level / 2))


def student_quantile(df: float, level: float = 0.95) -> float:
    """Student's quantile of a two-sided level: 12.7 of one degree of freedom and 0.95.

    >>> round(student_quantile(1), 2)
    12.71
    """
    from scipy.special import stdtrit  # noqa: PLC0415  (0.3 s, which a prediction need not wait)

    return float(stdtrit(df, 0.5 + level / 2))


def check_weights(weight: ArrayLike | None, n: int) -> NDArray[np.float64]:
    """Weights (N,) of rows; ones where there are none.

    Raises:
        MetricError: one is negative or no finite number, or their number is not N.

    >>> check_weights(None, 2).tolist()
    [1.0, 1.0]
    """
    if weight is None:
        return np.ones(n)
    weights = np.asarray(weight, dtype=np.float64)
    if weights.shape != (n,):
        msg = f"{n} cases and weights of shape {weights.shape} differ in number"
        raise MetricError(msg)
    odd = int((~(np.isfinite(weights) & (weights >= 0))).sum())
    if odd:
        msg = f"not estimable: {odd} weight(s) are negative or not finite numbers"
        raise MetricError(msg)
    return weights


def _check_counts(successes: float, n: float) -> None:
    """Refuse counts that are no proportion."""
    if n == 0:
        msg = "not estimable: no case is left to count (0 of 0)"
        raise MetricError(msg)
    if not (n > 0 and 0 <= successes <= n and n % 1 == 0 and successes % 1 == 0):
        msg = f"not estimable: {successes:g} of {n:g} is not a proportion of whole cases"
        raise MetricError(msg)


def wilson(
    successes: float, n: float, *, level: float = 0.95, continuity: bool = False
) -> Interval:
    """Wilson's score interval of a proportion of independent cases.

    Args:
        successes: number of successes.
        n: number of cases.
        level: confidence level.
        continuity: with continuity correction, wider.

    Raises:
        MetricError: n is 0.

    >>> low, high = wilson(81, 263).ends
    >>> round(low, 4), round(high, 4)
    (0.2553, 0.3662)
    """
    _check_counts(successes, n)
    check_level(level)
    low, high = _binomial_limits(successes, n, level, "wilsoncc" if continuity else "wilson")
    words = "Wilson with continuity correction" if continuity else "Wilson"
    return Interval(
        low=low,
        high=high,
        level=level,
        method=f"{words}, {n:,.10g} independent {plural('case', int(n))}",
    )


def _wilson_end(p: float, n: float, z: float, side: int) -> float:
    """One end of the score interval of a share of an effective number of cases, not whole."""
    root = z * float(np.sqrt(max(0.0, p * (1 - p) / n + z * z / (4 * n * n))))
    return (p + z * z / (2 * n) + side * root) / (1 + z * z / n)


def wilson_of_spread(
    share: float, se: float, n: int, n_groups: int, *, level: float = 0.95
) -> Interval:
    """Wilson's interval on as many independent cases as would give a standard error.

    Args:
        share: the proportion, inside (0, 1).
        se: its standard error between groups.
        n: number of cases.
        n_groups: number of groups, 2 or more; Student's quantile has one degree less.
        level: confidence level.
    """
    z = check_level(level)
    # Groups that vary less than independent cases would are no reason for more trust.
    design = max(1.0, se**2 / (share * (1 - share) / n))
    effective = n / design * (z / student_quantile(n_groups - 1, level)) ** 2
    low, high = (_wilson_end(share, effective, z, side) for side in (-1, 1))
    return Interval(low=max(0.0, low), high=min(1.0, high), level=level, se=se)


def clopper_pearson(successes: float, n: float, *, level: float = 0.95) -> Interval:
    """The exact interval of a proportion of independent cases; never too narrow.

    Raises:
        MetricError: n is 0.

    >>> low, high = clopper_pearson(29, 29).ends
    >>> round(low, 4), high
    (0.8806, 1.0)
    """
    _check_counts(successes, n)
    check_level(level)
    low, high = _binomial_limits(successes, n, level, "exact")
    method = f"Clopper-Pearson, {n:,.10g} independent {plural('case', int(n))}"
    return Interval(low=low, high=high, level=level, method=method)


def _binomial_limits(
    successes: float, n: float, level: float, how: Literal["exact", "wilson", "wilsoncc"]
) -> tuple[float, float]:
    """Limits of a share of independent cases."""
    from scipy.stats import binomtest  # noqa: PLC0415  (1 s, which a prediction need not wait)

    found = binomtest(round(successes), round(n)).proportion_ci(level, method=how)
    return float(found.low), float(found.high)


def all_successes_limit(n_groups: Sequence[int], *, level: float = 0.95) -> float:
    """Lower limit of the mean of K proportions when not one failure was seen.

    With n_k groups in part k, all of them successes, the likelihood of the data
    is the product of p_k ** n_k. The limit is the smallest mean of the p_k whose
    likelihood is still (1 - level) / 2; for one part that is Clopper and
    Pearson's limit.

    Args:
        n_groups: (K,) groups in each part; parts without any are left out.
        level: confidence level.

    Raises:
        MetricError: no group at all.

    >>> round(all_successes_limit([29]), 4)
    0.8806
    >>> round(all_successes_limit([10, 10]), 4) == round(all_successes_limit([20]), 4)
    True
    """
    counts = np.array([n for n in n_groups if n > 0], dtype=float)
    if not len(counts):
        msg = "not estimable: no group is left to count"
        raise MetricError(msg)
    check_level(level)
    target = float(np.log((1 - level) / 2))

    def log_likelihood(log_scale: float) -> float:
        # The minimum has p_k proportional to n_k, and none above 1.
        return float((counts * np.minimum(0.0, log_scale + np.log(counts))).sum()) - target

    top = float(-np.log(counts.min()))
    bottom = float(-np.log(counts.max())) + target / float(counts.min()) - 1.0
    from scipy.optimize import brentq  # noqa: PLC0415  (0.5 s, which a prediction need not wait)

    log_scale = brentq(log_likelihood, bottom, top, xtol=1e-14)
    return float(np.exp(np.minimum(0.0, log_scale + np.log(counts))).mean())


def cluster_proportion(
    success: ArrayLike,
    groups: ArrayLike,
    *,
    level: float = 0.95,
    scale: str = "wald",
    word: str = "group",
) -> Interval:
    """Interval of a proportion whose cases come in groups, by the Rao-Scott ratio estimator.

    The proportion is a ratio of two totals over groups; its variance is that of
    the groups' residuals, K / (K - 1) / n**2 * sum((x_k - p n_k)**2).

    Args:
        success: (N,) one for a success, zero for a failure.
        groups: (N,) the group of each case.
        level: confidence level.
        scale: ``wald`` is symmetric, cut off at 0 and 1; ``wilson`` is Wilson's
            interval on as many independent cases as would give this variance,
            with Student's quantile (Korn and Graubard's way), and covers better
            where groups are few or the proportion is near an end.
        word: what a group is called.

    Returns:
        the interval; with nothing but successes, or not one, the exact limit on
        the number of groups.

    Raises:
        MetricError: no case, or one group only.

    >>> found = cluster_proportion([1, 1, 0, 1, 0, 1], ["a", "a", "b", "b", "c", "d"])
    >>> round(found.se, 4)
    0.2029
    """
    if scale not in {"wald", "wilson"}:
        msg = f"The scale is {scale!r}; choose 'wald' or 'wilson'."
        raise ValueError(msg)
    hits = np.asarray(success, dtype=np.float64)
    if not len(hits):
        msg = "not estimable: no case is left to count (0 of 0)"
        raise MetricError(msg)
    if not np.isin(hits, (0.0, 1.0)).all():
        msg = "not estimable: each case must be a success (1) or a failure (0)"
        raise MetricError(msg)
    z = check_level(level)
    index, n_groups = number_groups(groups, len(hits))
    if n_groups < 2:
        msg = (
            f"not estimable: all {len(hits)} cases are of one {word}, "
            f"which shows no spread between {plural(word)}"
        )
        raise MetricError(msg)
    share = float(hits.mean())
    if share in {0.0, 1.0}:
        return exact_on_groups(share, [n_groups], level=level, word=word)
    totals = np.bincount(index, weights=hits)
    sizes = np.bincount(index)
    spread = float(((totals - share * sizes) ** 2).sum())
    se = float(np.sqrt(n_groups / (n_groups - 1) * spread)) / len(hits)
    over = f"{n_groups:,} {plural(word)}"
    if scale == "wilson":
        found = wilson_of_spread(share, se, len(hits), n_groups, level=level)
        return replace(found, method=f"Wilson with the design effect of {over}")
    if se == 0.0:
        reason = (
            f"interval withheld: every {word} has the same share, so the spread between "
            f"{plural(word)} cannot be estimated"
        )
        return Interval(low=None, high=None, level=level, reason=reason)
    return Interval(
        low=max(0.0, share - z * se),
        high=min(1.0, share + z * se),
        level=level,
        method=f"ratio estimator over {over}",
        se=se,
    )


def exact_on_groups(value: float, n_groups: Sequence[int], *, level: float, word: str) -> Interval:
    """The exact limit where every group is a success (value 1) or none is (value 0)."""
    limit = all_successes_limit(n_groups, level=level)
    total = sum(n_groups)
    low, high = (limit, 1.0) if value == 1.0 else (0.0, 1.0 - limit)
    what = "no failure was seen" if value == 1.0 else "none was seen"
    return Interval(
        low=low,
        high=high,
        level=level,
        method=f"exact limit on {total:,} {plural(word, total)}",
        reason=f"{what}, so resampling shows no spread; the limit counts {plural(word)}",
    )


def number_groups(groups: ArrayLike | None, n: int) -> tuple[NDArray[np.int_], int]:
    """Groups as numbers 0 .. G-1 in sorted order; without groups every row its own."""
    if groups is None:
        return np.arange(n), n
    values, index = np.unique(np.asarray(groups), return_inverse=True)
    return index.reshape(-1), len(values)
