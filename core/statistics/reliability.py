"""Scoring rules (Brier score, log-loss), reliability diagrams, expected calibration error.

A binary question has scores (N,) of the positive class; several classes have
(N, K). Bins are stated wherever a number depends on them.

Sources: Brier 1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2; Guo et al. 2017,
arXiv:1706.04599 (expected calibration error).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.errors import MetricError
from core.statistics.intervals import check_weights
from core.statistics.operating_points import proportion

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "ReliabilityBin",
    "bin_numbers",
    "brier_rows",
    "expected_calibration_error",
    "log_loss",
    "log_loss_rows",
    "logits_of",
    "reliability",
    "top_label",
    "truth_and_scores",
]

# A score of 0 or 1 would make a single surprise infinitely bad; as in scikit-learn.
TINY = float(np.finfo(np.float64).eps)


def truth_and_scores(
    y: ArrayLike, scores: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Zeros and ones of the shape of the scores, checked."""
    values = np.asarray(scores, dtype=np.float64)
    labels = np.asarray(y)
    if len(labels) != len(values):
        msg = f"{len(labels)} labels and {len(values)} scores differ in number"
        raise MetricError(msg)
    if not len(values):
        msg = "not estimable: no case is left"
        raise MetricError(msg)
    if not ((values >= 0) & (values <= 1)).all():
        n_odd = int((~((values >= 0) & (values <= 1))).sum())
        msg = f"not estimable: {n_odd} score(s) are outside [0, 1], so they are no probabilities"
        raise MetricError(msg)
    if values.ndim == 2 and labels.ndim == 1:
        return (labels[:, None] == np.arange(values.shape[1])).astype(np.float64), values
    if not np.isin(labels, (0, 1)).all():
        msg = "labels of a two-way question must be 0 or 1"
        raise MetricError(msg)
    return labels.astype(np.float64), values


def logits_of(score: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores on the scale of log odds; 0 and 1 are drawn in to stay finite."""
    inside = np.clip(score, 1e-12, 1 - 1e-12)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def _mean(values: NDArray[np.float64], weight: ArrayLike | None) -> float:
    """The weighted mean over rows."""
    if weight is None:
        return float(values.mean())
    weights = check_weights(weight, len(values))
    if not weights.sum() > 0:
        msg = "not estimable: no case is left"
        raise MetricError(msg)
    return float(values @ weights / weights.sum())


def brier_rows(y: ArrayLike, scores: ArrayLike) -> NDArray[np.float64]:
    """The Brier score of each row (N,): squared errors, summed over classes if several."""
    truth, values = truth_and_scores(y, scores)
    square = (values - truth) ** 2
    return square if square.ndim == 1 else np.asarray(square.sum(axis=1))


def log_loss_rows(y: ArrayLike, scores: ArrayLike) -> NDArray[np.float64]:
    """The log-loss of each row (N,)."""
    truth, values = truth_and_scores(y, scores)
    if values.ndim == 2 and np.asarray(y).ndim == 1:
        of_truth = (values * truth).sum(axis=1)
        return np.asarray(-np.log(np.clip(of_truth, TINY, 1.0)))
    loss = -np.log(np.clip(np.where(truth == 1, values, 1 - values), TINY, 1.0))
    return loss if loss.ndim == 1 else np.asarray(loss.mean(axis=1))


def log_loss(y: ArrayLike, scores: ArrayLike, *, weight: ArrayLike | None = None) -> float:
    """The mean negative logarithm of the score of the truth; 0 is best.

    Args:
        y: (N,) zeros and ones, class indices, or (N, K) zeros and ones.
        scores: (N,) of the positive class, or (N, K); scores of 0 count as 2.2e-16.
        weight: (N,) how often a row counts.

    Raises:
        MetricError: there is no case, or a score is no probability.

    >>> round(log_loss([1, 0], [0.5, 0.5]), 4)
    0.6931
    """
    return _mean(log_loss_rows(y, scores), weight)


def top_label(
    y: NDArray[np.int_], scores: NDArray[np.float64]
) -> tuple[NDArray[np.int_], NDArray[np.float64]]:
    """Whether the highest score is right (N,), and that score (N,)."""
    best = scores.argmax(axis=1)
    return (best == y).astype(np.int_), scores[np.arange(len(scores)), best]


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """One bin of a reliability diagram.

    Attributes:
        start, end: its edges; the first is inside, the second only in the last bin.
        n: cases in it.
        score: their mean score; None in an empty bin.
        share: how many came true.
        low, high: interval of that share.
    """

    start: float
    end: float
    n: float
    score: float | None
    share: float | None
    low: float | None
    high: float | None


def bin_numbers(
    score: NDArray[np.float64], *, bins: int = 10, equal: str = "width"
) -> tuple[NDArray[np.int_], NDArray[np.float64]]:
    """The bin of each score (N,), and the edges (B + 1,).

    Args:
        score: (N,) in [0, 1].
        bins: number of bins.
        equal: ``width``: [0, 1/B), [1/B, 2/B) ... and the last closed; ``mass``:
            as many cases in each as ties allow, for tied scores stay together.

    Raises:
        MetricError: there is no bin.
    """
    if bins < 1:
        msg = f"{bins} bins hold nothing; choose at least one"
        raise MetricError(msg)
    if equal == "width":
        edges = np.arange(bins + 1) / bins
    elif equal == "mass":
        ordered = np.sort(score)
        sizes = [len(part) for part in np.array_split(ordered, bins)]
        starts = np.cumsum(sizes)[:-1]
        inner = np.unique(ordered[starts[starts < len(ordered)]])
        edges = np.r_[0.0, inner[inner > ordered[0]] if len(ordered) else inner, 1.0]
    else:
        msg = f"Bins are equal in {equal!r}; choose 'width' or 'mass'."
        raise ValueError(msg)
    return np.digitize(score, edges[1:-1]), edges


def reliability(
    y: ArrayLike,
    score: ArrayLike,
    *,
    bins: int = 10,
    equal: str = "width",
    level: float = 0.95,
    groups: ArrayLike | None = None,
) -> list[ReliabilityBin]:
    """Observed share against mean score in each bin, with Wilson's interval of the share.

    Args:
        y: (N,) zeros and ones.
        score: (N,) in [0, 1].
        bins: number of bins.
        equal: see ``bin_numbers``.
        level: confidence level.
        groups: (N,) the group of each case: Wilson's interval then has the design effect of
            the groups in the bin, and is withheld where they are one; None: independent cases.

    Raises:
        MetricError: there is no case, or a score is no probability.

    >>> [(one.n, one.share) for one in reliability([0, 1, 1], [0.2, 0.7, 0.9], bins=2)]
    [(1, 0.0), (2, 1.0)]
    """
    truth, values = truth_and_scores(y, score)
    number, edges = bin_numbers(values, bins=bins, equal=equal)
    owner = None if groups is None else np.asarray(groups)
    found = []
    for i in range(len(edges) - 1):
        inside = number == i
        n, hits = int(inside.sum()), int(truth[inside].sum())
        # As any other share that a page shows.
        rate = proportion(truth[inside] == 1, None if owner is None else owner[inside], level=level)
        found.append(
            ReliabilityBin(
                start=float(edges[i]),
                end=float(edges[i + 1]),
                n=n,
                score=float(values[inside].mean()) if n else None,
                share=hits / n if n else None,
                low=rate.low,
                high=rate.high,
            )
        )
    return found


def expected_calibration_error(
    y: ArrayLike,
    score: ArrayLike,
    *,
    bins: int = 10,
    equal: str = "width",
    weight: ArrayLike | None = None,
) -> float:
    """The mean distance between score and observed share over bins, weighted by their cases.

    With ``equal="mass"`` it is the adaptive error. It is never negative, so small
    samples show some even of perfect scores.

    Raises:
        MetricError: there is no case, or a score is no probability.

    >>> round(expected_calibration_error([0, 1], [0.2, 0.6]), 4)
    0.3
    """
    truth, values = truth_and_scores(y, score)
    weights = check_weights(weight, len(values))
    number, edges = bin_numbers(values, bins=bins, equal=equal)
    gaps = np.bincount(number, weights=weights * (values - truth), minlength=len(edges) - 1)
    if not weights.sum() > 0:
        msg = "not estimable: no case is left"
        raise MetricError(msg)
    return float(np.abs(gaps).sum() / weights.sum())
