"""Several readers of the same cases: how far they agree, and whether a model does as well.

Readers are a sample as cases are: a result holds for other readers only where their spread is
counted. Everything is left out group by group (jackknife), so images of a patient count once.

Sources: Shrout and Fleiss 1979, doi:10.1037/0033-2909.86.2.420 (intraclass correlation); Light
1971, doi:10.1037/h0031643 (mean of the kappas of all pairs); Obuchowski and Rockette 1995,
doi:10.1080/03610919508813243, and Hillis 2007, doi:10.1002/sim.2532 (readers and cases random;
degrees of freedom).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtr

from core.errors import MetricError
from core.statistics.agreement import confusion_matrices, from_confusion
from core.statistics.discrimination import Ranking
from core.statistics.intervals import Interval, student_quantile
from core.statistics.jackknife import jackknife_interval
from core.statistics.resampling import MIN_GROUPS, Resampling, few_groups, jackknife

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Weights = NDArray[np.float64]

__all__ = [
    "ReaderComparison",
    "ReaderPoint",
    "compare_with_readers",
    "icc",
    "icc_of",
    "mean_kappa_of",
    "obuchowski_rockette",
    "reader_point",
]


@dataclass(frozen=True, kw_only=True)
class ReaderComparison:
    """A model against the mean of readers.

    Attributes:
        readers: (R,) area under the ROC curve of each.
        model: area of the model.
        difference: model minus the mean of readers.
        interval: of the difference, readers and cases random.
        p: two-sided; None where there is no interval.
        df: degrees of freedom (Hillis).
    """

    readers: tuple[float, ...]
    model: float
    difference: float
    interval: Interval
    p: float | None
    df: float | None


@dataclass(frozen=True, kw_only=True)
class ReaderPoint:
    """A reader who says yes or no, and the model where it has the same specificity.

    Attributes:
        sensitivity: of the reader.
        specificity: of the reader.
        model: sensitivity of the model at this specificity, on the line between the two
            thresholds beside it.
    """

    sensitivity: float
    specificity: float
    model: float


def icc(ratings: NDArray[np.float64], weights: Weights | None = None) -> NDArray[np.float64]:
    """Intraclass correlation ICC(2,1): absolute agreement of single ratings, readers random.

    Args:
        ratings: (N, R), every case rated by every reader.
        weights: (b, N) how often a case counts; None counts each once.

    Returns:
        (b,); NaN where nothing varies.

    >>> round(float(icc(np.array([[1.0, 2.0], [2.0, 3.0], [3.0, 4.0]]))[0]), 3)
    0.667
    """
    w = np.ones((1, len(ratings))) if weights is None else weights
    k, n = ratings.shape[1], w.sum(axis=1)
    of_case = ratings.mean(axis=1)
    of_reader = w @ ratings / n[:, None]
    grand = of_reader.mean(axis=1)
    between = k * (w @ of_case**2 - n * grand**2)
    readers = n * ((of_reader - grand[:, None]) ** 2).sum(axis=1)
    total = w @ (ratings**2).sum(axis=1) - n * k * grand**2
    ms_case = between / (n - 1)
    ms_reader = readers / (k - 1)
    ms_error = (total - between - readers) / ((n - 1) * (k - 1))
    below = ms_case + (k - 1) * ms_error + k * (ms_reader - ms_error) / n
    found = np.full(len(w), np.nan)
    return np.asarray(np.divide(ms_case - ms_error, below, out=found, where=below > 1e-15))


def icc_of(
    ratings: NDArray[np.float64], plan: Resampling, *, level: float = 0.95
) -> tuple[float, Interval]:
    """ICC(2,1) with its interval."""
    return _with_interval(lambda w: icc(ratings, w), len(ratings), plan, level)


def mean_kappa_of(
    ratings: NDArray[np.int_],
    n_classes: int,
    plan: Resampling,
    *,
    is_ordered: bool = False,
    level: float = 0.95,
) -> tuple[float, Interval]:
    """The mean kappa of all pairs of readers (N, R): Cohen's of two, Light's of more.

    Weights are quadratic where classes are in order.
    """
    name = "quadratic_kappa" if is_ordered else "kappa"

    def of(weights: Weights) -> NDArray[np.float64]:
        pairs = [
            from_confusion(confusion_matrices(ratings[:, a], ratings[:, b], n_classes, weights))
            for a, b in combinations(range(ratings.shape[1]), 2)
        ]
        return np.asarray(np.mean([pair[name] for pair in pairs], axis=0))

    return _with_interval(of, len(ratings), plan, level)


def _with_interval(
    of: Callable[[Weights], NDArray[np.float64]], n: int, plan: Resampling, level: float
) -> tuple[float, Interval]:
    """A number and the jackknife's interval over groups."""
    value = float(of(np.ones((1, n)))[0])
    if not np.isfinite(value):
        reason = "not estimable: ratings do not vary"
        return value, Interval(low=None, high=None, level=level, reason=reason)
    if plan.n_groups < MIN_GROUPS:
        return value, few_groups(plan, level)
    left_out = jackknife(of, plan)
    return value, jackknife_interval(value, left_out, plan, scale="agreement", level=level)


def obuchowski_rockette(
    differences: NDArray[np.float64], covariance: float, *, level: float = 0.95
) -> tuple[Interval, float, float]:
    """The mean of differences between two ways of reading over readers, readers and cases random.

    Args:
        differences: (R,) of each reader.
        covariance: of the differences of two readers, from the cases they share; of two ways
            of reading it is 2 (Cov2 - Cov3) in the notation of the source.
        level: confidence level.

    Returns:
        interval of the mean, p, and degrees of freedom.

    Raises:
        MetricError: there are fewer than two readers, or nothing varies.
    """
    n = len(differences)
    if n < 2:
        msg = "not estimable: one reader tells nothing about other readers; at least 2 are needed"
        raise MetricError(msg)
    spread = float(differences.var(ddof=1))
    both = spread + n * max(0.0, covariance)
    if both <= 0:
        msg = "not estimable: neither readers nor cases vary"
        raise MetricError(msg)
    # Without any spread between readers the cases alone decide: no limit to the freedom.
    df = (n - 1) * (both / spread) ** 2 if spread > 0 else 1e9
    se, middle = float(np.sqrt(both / n)), float(differences.mean())
    reach = student_quantile(df, level) * se
    method = f"Obuchowski and Rockette, {n} readers and the cases random, {df:.1f} df (Hillis)"
    found = Interval(
        low=middle - reach, high=middle + reach, level=level, method=method, se=se, df=df
    )
    return found, float(2 * stdtr(df, -abs(middle) / se)), df


def compare_with_readers(
    truth: NDArray[np.bool_],
    readers: NDArray[np.float64],
    model: NDArray[np.float64],
    plan: Resampling,
    *,
    level: float = 0.95,
) -> ReaderComparison:
    """The area of a model against the mean area of readers of the same cases.

    Args:
        truth: (N,) whether a case is positive.
        readers: (N, R) their ratings, of three values or more: see ``reader_point`` for two.
        model: (N,) scores.
        plan: the groups of cases.
        level: confidence level.

    Raises:
        MetricError: a class is absent, there are fewer than two readers, or one of them gives
            ratings of two values alone.
    """
    if any(len(np.unique(column)) < 3 for column in readers.T):
        msg = (
            "not estimable: a reader who says yes or no has one point of a ROC curve, whose area "
            "lies below that of equally good scores"
        )
        raise MetricError(msg)
    if not truth.any() or truth.all():
        msg = "not estimable: positive and negative cases are both needed"
        raise MetricError(msg)
    rankings = [Ranking(truth.astype(int), column) for column in (*readers.T, model)]

    def of(weights: Weights) -> NDArray[np.float64]:
        return np.column_stack([ranking.auroc(weights) for ranking in rankings])

    areas = of(np.ones((1, len(truth))))[0]
    apart = areas[-1] - areas[:-1]

    def without(reason: str) -> ReaderComparison:
        none = Interval(low=None, high=None, level=level, reason=reason)
        return _comparison(areas, none, None, None)

    if plan.n_groups < MIN_GROUPS:
        return without(few_groups(plan, level).reason)
    left_out = jackknife(of, plan)
    if not np.isfinite(left_out).all():
        return without(f"interval withheld: a class is held by one {plan.word} alone")
    difference = left_out[:, -1:] - left_out[:, :-1]
    n = len(difference)
    covariances = (n - 1) ** 2 / n * np.atleast_2d(np.cov(difference, rowvar=False))
    off = ~np.eye(len(apart), dtype=bool)
    interval, p, df = obuchowski_rockette(
        apart, float(covariances[off].mean()) if off.any() else 0.0, level=level
    )
    return _comparison(areas, interval, p, df)


def _comparison(
    areas: NDArray[np.float64], interval: Interval, p: float | None, df: float | None
) -> ReaderComparison:
    """The areas of readers, then that of the model, as a record."""
    return ReaderComparison(
        readers=tuple(float(one) for one in areas[:-1]),
        model=float(areas[-1]),
        difference=float(areas[-1] - areas[:-1].mean()),
        interval=interval,
        p=p,
        df=df,
    )


def reader_point(
    truth: NDArray[np.bool_], calls: NDArray[np.bool_], model: NDArray[np.float64]
) -> ReaderPoint:
    """Sensitivity and specificity of a reader's calls (N,), and the model's at the latter.

    Raises:
        MetricError: a class is absent.

    >>> truth = np.array([True, True, False, False])
    >>> calls = np.array([True, False, False, False])
    >>> reader_point(truth, calls, np.array([0.9, 0.3, 0.4, 0.1]))
    ReaderPoint(sensitivity=0.5, specificity=1.0, model=0.5)
    """
    if not truth.any() or truth.all():
        msg = "not estimable: positive and negative cases are both needed"
        raise MetricError(msg)
    hits, alarms = Ranking(truth.astype(int), model).rates(np.ones((1, len(truth))))
    difference = float(calls[~truth].mean())
    x, y = alarms[0] / alarms[0, -1], hits[0] / hits[0, -1]
    # On a vertical step of the curve the highest sensitivity belongs to this specificity.
    x, last = np.unique(x[::-1], return_index=True)
    return ReaderPoint(
        sensitivity=float(calls[truth].mean()),
        specificity=1 - difference,
        model=float(np.interp(difference, x, y[::-1][last])),
    )
