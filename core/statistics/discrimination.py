"""Do scores tell two classes apart? Areas under curves, their intervals and tests.

Scores may be any finite numbers; only their order counts, and ties count half.
Several classes are asked about one at a time (one versus the rest). Weights
say how often a row counts. What cannot be computed raises ``MetricError``.

``core.statistics.delong`` says how sure an area is and whether two differ.

Source: McClish 1989, doi:10.1177/0272989X8900900307 (partial area).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import MetricError
from core.statistics.intervals import check_weights

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Curve",
    "Ranking",
    "auroc",
    "average_precision",
    "average_precision_by_class",
    "both_classes",
    "indicator",
    "macro_auroc",
    "micro_auroc",
    "one_vs_rest_auroc",
    "partial_auroc",
    "pr_points",
    "probabilistic_f1",
    "roc_points",
]


def _checked(
    y: ArrayLike, score: ArrayLike, weight: ArrayLike | None = None
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
    """Arrays of equal length, finite, with weights that are not negative."""
    truth = np.asarray(y)
    value = np.asarray(score, dtype=np.float64)
    if truth.shape != value.shape or truth.ndim != 1:
        msg = f"labels {truth.shape} and scores {value.shape} differ in shape"
        raise MetricError(msg)
    weights = check_weights(weight, len(value))
    if not np.isin(truth, (0, 1)).all():
        msg = "not estimable: labels of a two-way question must be 0 or 1"
        raise MetricError(msg)
    if not np.isfinite(value).all():
        msg = f"not estimable: {int((~np.isfinite(value)).sum())} score(s) are not finite numbers"
        raise MetricError(msg)
    return truth.astype(bool), value, weights


def both_classes(
    y: ArrayLike, score: ArrayLike, weight: ArrayLike | None = None
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
    """As ``_checked``, with at least one case of each class."""
    truth, value, weights = _checked(y, score, weight)
    n_positive = int((weights[truth] > 0).sum())
    n_negative = int((weights[~truth] > 0).sum())
    if n_positive == 0 or n_negative == 0:
        absent = "positive" if n_positive == 0 else "negative"
        msg = (
            f"not estimable: none of {n_positive + n_negative} cases is {absent}, and an area "
            "under the curve needs both classes"
        )
        raise MetricError(msg)
    return truth, value, weights


class Ranking:
    """Cases sorted by score once, so that areas follow for many sets of weights at once.

    Args:
        y: (N,) zeros and ones.
        score: (N,) finite numbers, higher for the positive class.

    >>> ranking = Ranking(np.array([0, 1, 1]), np.array([0.1, 0.1, 0.9]))
    >>> ranking.auroc(np.array([[1.0, 1.0, 1.0], [1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])).tolist()
    [0.75, 1.0, nan]
    """

    def __init__(self, y: NDArray[Any], score: NDArray[np.float64]) -> None:
        self._order = np.argsort(-score, kind="stable")
        ordered = score[self._order]
        self._positive = np.asarray(y)[self._order].astype(np.float64)
        self._starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        self._has_ties = len(self._starts) < len(ordered)

    def _steps(
        self, weights: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Positives and negatives (b, S) at each distinct score, from high to low."""
        ordered = weights[:, self._order]
        positive = ordered * self._positive
        negative = ordered - positive
        if self._has_ties:
            positive = np.add.reduceat(positive, self._starts, axis=1)
            negative = np.add.reduceat(negative, self._starts, axis=1)
        return positive, negative

    def auroc(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Areas under the ROC curve (b,) for weights (b, N); NaN without both classes."""
        return self._area(*self._steps(weights))

    def average_precision(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Average precisions (b,) for weights (b, N); NaN without a positive."""
        return self._precision(*self._steps(weights))

    def both(self, weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Areas under the ROC curve and average precisions."""
        steps = self._steps(weights)
        return self._area(*steps), self._precision(*steps)

    def rates(
        self, weights: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Positives and negatives (b, S + 1) called from nobody to everybody."""
        nobody = np.zeros((len(weights), 1))
        positive, negative = self._steps(weights)
        return (
            np.concatenate([nobody, np.cumsum(positive, axis=1)], axis=1),
            np.concatenate([nobody, np.cumsum(negative, axis=1)], axis=1),
        )

    def partial_area(
        self, weights: NDArray[np.float64], start: float, end: float
    ) -> NDArray[np.float64]:
        """Areas (b,) between two values of 1 - specificity, on McClish's scale."""
        hits, alarms = self.rates(weights)
        total = hits[:, -1] * alarms[:, -1]
        height = hits / np.where(total > 0, hits[:, -1], 1.0)[:, None]
        x = alarms / np.where(total > 0, alarms[:, -1], 1.0)[:, None]
        area = _area_to(x, height, end) - _area_to(x, height, start)
        chance = (end - start) * (end + start) / 2
        found = 0.5 * (1 + (area - chance) / (end - start - chance))
        return np.where(total > 0, found, np.nan)

    @staticmethod
    def _area(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> NDArray[np.float64]:
        """A negative is beaten by the positives above it, and half by those at its score."""
        above = np.cumsum(positive, axis=1)
        total = above[:, -1] * negative.sum(axis=1)
        won = np.einsum("bs,bs->b", above - 0.5 * positive, negative)
        return np.asarray(np.divide(won, total, out=np.full(len(won), np.nan), where=total > 0))

    @staticmethod
    def _precision(
        positive: NDArray[np.float64], negative: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """The mean precision at each positive, tied scores taken together."""
        above = np.cumsum(positive, axis=1)
        called = above + np.cumsum(negative, axis=1)
        precision = np.divide(above, called, out=np.zeros_like(above), where=called > 0)
        total = above[:, -1]
        gained = np.einsum("bs,bs->b", precision, positive)
        found = np.full(len(gained), np.nan)
        return np.asarray(np.divide(gained, total, out=found, where=total > 0))


def auroc(y: ArrayLike, score: ArrayLike, *, weight: ArrayLike | None = None) -> float:
    """The chance that a positive case scores above a negative one; ties count half.

    Args:
        y: (N,) zeros and ones.
        score: (N,) finite numbers.
        weight: (N,) how often a row counts; None counts each once.

    Raises:
        MetricError: one of the classes is absent.

    >>> auroc([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8])
    0.875
    """
    truth, value, weights = both_classes(y, score, weight)
    return float(Ranking(truth, value).auroc(weights[None, :])[0])


def average_precision(y: ArrayLike, score: ArrayLike, *, weight: ArrayLike | None = None) -> float:
    """The area under the precision-recall curve as a step function; ties are never split.

    Raises:
        MetricError: no case is positive.

    >>> round(average_precision([0, 1, 0, 1], [0.1, 0.4, 0.5, 0.8]), 4)
    0.8333
    """
    truth, value, weights = _checked(y, score, weight)
    found = float(Ranking(truth, value).average_precision(weights[None, :])[0]) if len(value) else 0
    if not len(value) or np.isnan(found):
        msg = f"not estimable: none of {len(value)} cases is positive"
        raise MetricError(msg)
    return found


@dataclass(frozen=True)
class Curve:
    """Points of a curve, each with the lowest score that is still called positive there."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    threshold: NDArray[np.float64]


def roc_points(y: ArrayLike, score: ArrayLike, *, weight: ArrayLike | None = None) -> Curve:
    """The ROC curve: x is 1 - specificity, y sensitivity, from (0, 0) at +inf to (1, 1).

    Cases with ``score >= threshold`` are called positive; tied cases together.

    Raises:
        MetricError: one of the classes is absent.

    >>> roc_points([0, 1, 1], [0.2, 0.2, 0.7]).y.tolist()
    [0.0, 0.5, 1.0]
    """
    truth, value, weights = both_classes(y, score, weight)
    found, hits, alarms = _counts(truth, value, weights)
    return Curve(alarms / alarms[-1], hits / hits[-1], found)


def pr_points(y: ArrayLike, score: ArrayLike, *, weight: ArrayLike | None = None) -> Curve:
    """The precision-recall curve: x is recall, y precision, from the highest score down.

    The first point has recall 0 and the precision of the highest score.

    Raises:
        MetricError: no case is positive.
    """
    truth, value, weights = _checked(y, score, weight)
    if not (weights[truth] > 0).any():
        msg = f"not estimable: none of {len(value)} cases is positive"
        raise MetricError(msg)
    found, hits, alarms = _counts(truth, value, weights)
    called = (hits + alarms)[1:]
    precision = np.divide(hits[1:], called, out=np.ones_like(called), where=called > 0)
    return Curve(hits / hits[-1], np.r_[precision[0], precision], found)


def _counts(
    truth: NDArray[np.bool_], value: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Thresholds from +inf down, and the true and false positives at each."""
    order = np.argsort(-value, kind="stable")
    ordered = value[order]
    last = np.flatnonzero(np.r_[ordered[1:] != ordered[:-1], True])
    hits = np.cumsum(weights[order] * truth[order])[last]
    alarms = np.cumsum(weights[order] * ~truth[order])[last]
    return np.r_[np.inf, ordered[last]], np.r_[0.0, hits], np.r_[0.0, alarms]


def partial_auroc(
    y: ArrayLike,
    score: ArrayLike,
    *,
    specificity: tuple[float, float] | None = None,
    sensitivity: tuple[float, float] | None = None,
    standardised: bool = True,
    weight: ArrayLike | None = None,
) -> float:
    """The area over a range of specificity, or of sensitivity.

    Args:
        y: (N,) zeros and ones.
        score: (N,) finite numbers.
        specificity: range, such as (0.85, 1.0); exactly one range is given.
        sensitivity: range, such as (0.9, 1.0).
        standardised: McClish's scale: 0.5 is chance and 1 perfect within the range.
        weight: (N,) how often a row counts.

    Raises:
        MetricError: a class is absent, or the range is not one.

    >>> y, score = [0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]
    >>> partial_auroc(y, score, specificity=(0.0, 1.0)) == auroc(y, score)
    True
    """
    if (specificity is None) == (sensitivity is None):
        msg = "Give either a range of specificity or a range of sensitivity."
        raise ValueError(msg)
    low, high = sorted(specificity or sensitivity or (0.0, 1.0))
    if not 0 <= low < high <= 1:
        msg = f"The range {low:g} to {high:g} must lie in [0, 1] and have a width."
        raise MetricError(msg)
    curve = roc_points(y, score, weight=weight)
    # Both ranges are areas above a stretch of an error rate: swap the axes for sensitivity.
    if specificity is not None:
        x, height = curve.x, curve.y
    else:
        x, height = (1 - curve.y)[::-1], (1 - curve.x)[::-1]
    start, end = 1 - high, 1 - low
    area = float((_area_to(x[None], height[None], end) - _area_to(x[None], height[None], start))[0])
    if not standardised:
        return area
    chance = (end - start) * (end + start) / 2
    return 0.5 * (1 + (area - chance) / (end - start - chance))


def _area_to(
    x: NDArray[np.float64], height: NDArray[np.float64], end: float
) -> NDArray[np.float64]:
    """The areas (b,) under rising polygons (b, S) from 0 to ``end``."""
    x_0, x_1, y_0, y_1 = x[:, :-1], x[:, 1:], height[:, :-1], height[:, 1:]
    width = np.minimum(x_1, end) - np.minimum(x_0, end)
    run = x_1 - x_0
    share = np.divide(width, run, out=np.zeros_like(run), where=run > 0)
    return np.asarray((width * (y_0 + (y_1 - y_0) * share / 2)).sum(axis=1))


def one_vs_rest_auroc(
    y: ArrayLike, scores: ArrayLike, *, weight: ArrayLike | None = None
) -> NDArray[np.float64]:
    """The area of each class against the rest: (K,), NaN where a class or its rest is absent.

    Args:
        y: (N,) class indices, or (N, K) zeros and ones.
        scores: (N, K).
        weight: (N,) how often a row counts.
    """
    return _by_class(y, scores, weight, "auroc")


def average_precision_by_class(
    y: ArrayLike, scores: ArrayLike, *, weight: ArrayLike | None = None
) -> NDArray[np.float64]:
    """The average precision of each class: (K,), NaN where a class is absent."""
    return _by_class(y, scores, weight, "average_precision")


def _by_class(
    y: ArrayLike, scores: ArrayLike, weight: ArrayLike | None, which: str
) -> NDArray[np.float64]:
    """One number per class."""
    values = np.asarray(scores, dtype=np.float64)
    weights = np.ones(len(values)) if weight is None else np.asarray(weight, dtype=np.float64)
    truth = indicator(np.asarray(y), values.shape[1])
    found = np.full(values.shape[1], np.nan)
    for k in range(values.shape[1]):
        if len(values):
            found[k] = getattr(Ranking(truth[:, k], values[:, k]), which)(weights[None, :])[0]
    return found


def indicator(y: NDArray[Any], n_classes: int) -> NDArray[np.int_]:
    """Class indices as (N, K) zeros and ones; such a table is returned as it is."""
    if y.ndim == 2:
        return np.asarray(y.astype(np.int_))
    return np.asarray((y[:, None] == np.arange(n_classes)).astype(np.int_))


def macro_auroc(y: ArrayLike, scores: ArrayLike, *, weight: ArrayLike | None = None) -> float:
    """The mean of the areas of each class against the rest.

    Raises:
        MetricError: a class has no case, or every case; naming how many.
    """
    areas = one_vs_rest_auroc(y, scores, weight=weight)
    n_undefined = int(np.isnan(areas).sum())
    if n_undefined:
        msg = (
            f"not estimable: {n_undefined} of {len(areas)} classes have no area (first: class "
            f"{int(np.isnan(areas).argmax())}), for they have no case or every case"
        )
        raise MetricError(msg)
    return float(areas.mean())


def micro_auroc(y: ArrayLike, scores: ArrayLike, *, weight: ArrayLike | None = None) -> float:
    """The area over all pairs of case and class pooled.

    Raises:
        MetricError: there is no case, or a single class.
    """
    values = np.asarray(scores, dtype=np.float64)
    truth = indicator(np.asarray(y), values.shape[1])
    weights = np.ones(len(values)) if weight is None else np.asarray(weight, dtype=np.float64)
    return auroc(truth.ravel(), values.ravel(), weight=np.repeat(weights, values.shape[1]))


def probabilistic_f1(
    y: ArrayLike, score: ArrayLike, *, beta: float = 1.0, weight: ArrayLike | None = None
) -> float:
    """F1 with scores in place of decisions: depends on prevalence and on calibration.

    Args:
        y: (N,) zeros and ones.
        score: (N,) probabilities of the positive class in [0, 1].
        beta: weight of recall over precision.
        weight: (N,) how often a row counts.

    Raises:
        MetricError: no case is positive, or a score is outside [0, 1].

    >>> round(probabilistic_f1([1, 0, 1, 0], [0.8, 0.2, 0.6, 0.4]), 4)
    0.7
    """
    truth, value, weights = _checked(y, score, weight)
    if ((value < 0) | (value > 1)).any():
        msg = "not estimable: a score is outside [0, 1], so it is no probability"
        raise MetricError(msg)
    n_positive = float(weights[truth].sum())
    if n_positive == 0:
        msg = f"not estimable: none of {len(value)} cases is positive"
        raise MetricError(msg)
    caught = float((weights * value)[truth].sum())
    called = float((weights * value).sum())
    if caught == 0:
        return 0.0
    precision, recall = caught / called, caught / n_positive
    return (1 + beta**2) * precision * recall / (beta**2 * precision + recall)
