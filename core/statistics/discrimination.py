"""Discrimination: areas under ROC and precision-recall curves, their intervals and tests.

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
    "both_classes",
    "indicator",
    "pr_points",
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


def _area_to(
    x: NDArray[np.float64], height: NDArray[np.float64], end: float
) -> NDArray[np.float64]:
    """The areas (b,) under rising polygons (b, S) from 0 to ``end``."""
    x_0, x_1, y_0, y_1 = x[:, :-1], x[:, 1:], height[:, :-1], height[:, 1:]
    width = np.minimum(x_1, end) - np.minimum(x_0, end)
    run = x_1 - x_0
    share = np.divide(width, run, out=np.zeros_like(run), where=run > 0)
    return np.asarray((width * (y_0 + (y_1 - y_0) * share / 2)).sum(axis=1))


def indicator(y: NDArray[Any], n_classes: int) -> NDArray[np.int_]:
    """Class indices as (N, K) zeros and ones; such a table is returned as it is."""
    if y.ndim == 2:
        return np.asarray(y.astype(np.int_))
    return np.asarray((y[:, None] == np.arange(n_classes)).astype(np.int_))
