"""Confusion matrices and measures of agreement: accuracy, F1, kappa, concordance.

Classes are the indices 0 .. K-1, all of them, whether or not each occurs: a kappa
over the grades that happen to occur is another number. ``from_confusion`` turns
any number of weighted confusion matrices (..., K, K) into values at once, NaN where
undefined.

Sources: Cohen 1968, doi:10.1037/h0026256 (weighted kappa); Lin 1989, doi:10.2307/2532051
(concordance); Gorodkin 2004, doi:10.1016/j.compbiolchem.2004.09.006 (correlation of several
classes).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from core.errors import MetricError
from core.statistics.intervals import check_weights

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "concordance",
    "confusion_matrices",
    "confusion_matrix",
    "from_confusion",
    "mean_of_defined",
    "ratio",
]


def confusion_matrix(
    y: ArrayLike, decided: ArrayLike, n_classes: int, *, weight: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Weighted counts (K, K): rows are the true class, columns the decided one.

    Args:
        y: (N,) class indices.
        decided: (N,) class indices.
        n_classes: K; classes that do not occur have rows and columns of zeros.
        weight: (N,) how often a row counts.

    Raises:
        MetricError: an index is not one of 0 .. K-1, or lengths differ.

    >>> confusion_matrix([0, 1, 2], [0, 1, 1], 3).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]
    """
    true, given = _indices(y, n_classes), _indices(decided, n_classes)
    if len(true) != len(given):
        msg = f"{len(true)} labels and {len(given)} decisions differ in number"
        raise MetricError(msg)
    weights = None if weight is None else check_weights(weight, len(true))
    cells = np.bincount(true * n_classes + given, weights=weights, minlength=n_classes**2)
    return cells.reshape(n_classes, n_classes).astype(np.float64)


def _indices(values: ArrayLike, n_classes: int) -> NDArray[np.int_]:
    """Class indices, checked."""
    array = np.asarray(values)
    if not len(array):
        return np.zeros(0, dtype=np.int_)
    if not np.isin(array, np.arange(n_classes)).all():
        odd = array[~np.isin(array, np.arange(n_classes))]
        msg = (
            f"{len(odd)} of {len(array)} class indices are not among 0 to {n_classes - 1} "
            f"(first: {odd[0]}). Pass indices in the order of the task's classes."
        )
        raise MetricError(msg)
    return array.astype(np.int_)


def confusion_matrices(
    y: NDArray[np.int_], decided: NDArray[np.int_], n_classes: int, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Confusion matrices (b, K, K) for weights (b, N)."""
    from scipy import sparse  # noqa: PLC0415  (0.1 s, which a prediction need not wait)

    n = len(y)
    cells = sparse.csr_matrix(
        (np.ones(n), (y * n_classes + decided, np.arange(n))), shape=(n_classes**2, n)
    )
    return np.asarray((cells @ weights.T).T).reshape(len(weights), n_classes, n_classes)


def from_confusion(counts: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Every number that follows from confusion matrices.

    Args:
        counts: (..., K, K).

    Returns:
        name -> (...) for ``accuracy``, ``balanced_accuracy`` (mean recall of the
        classes that occur), ``macro_f1`` (mean over the classes that occur or were
        decided), ``matthews``, ``kappa``, ``linear_kappa``, ``quadratic_kappa``,
        ``mean_absolute_error`` and ``off_by_two`` (of class indices); and (..., K)
        for ``precision``, ``recall``, ``specificity``, ``f1``, ``support``. NaN where undefined.
    """
    table = np.asarray(counts, dtype=np.float64)
    n_classes = table.shape[-1]
    total = table.sum(axis=(-2, -1))
    hits = np.diagonal(table, axis1=-2, axis2=-1)
    support, called = table.sum(axis=-1), table.sum(axis=-2)
    recall, f1 = ratio(hits, support), ratio(2 * hits, support + called)
    distance = np.abs(np.subtract.outer(np.arange(n_classes), np.arange(n_classes))).astype(float)
    rest = total[..., None] - support
    covariance = hits.sum(axis=-1) * total - (support * called).sum(axis=-1)
    spread = (total**2 - (support**2).sum(axis=-1)) * (total**2 - (called**2).sum(axis=-1))
    return {
        "accuracy": ratio(hits.sum(axis=-1), total),
        "balanced_accuracy": mean_of_defined(recall),
        "macro_f1": mean_of_defined(f1),
        "matthews": ratio(covariance, np.sqrt(np.maximum(spread, 0.0))),
        "kappa": _kappa(table, (distance > 0).astype(np.float64)),
        "linear_kappa": _kappa(table, distance),
        "quadratic_kappa": _kappa(table, distance**2),
        "mean_absolute_error": ratio((table * distance).sum(axis=(-2, -1)), total),
        "off_by_two": ratio((table * (distance >= 2)).sum(axis=(-2, -1)), total),
        "precision": ratio(hits, called),
        "recall": recall,
        "specificity": ratio(rest - called + hits, rest),
        "f1": f1,
        "support": support,
    }


def _kappa(table: NDArray[np.float64], cost: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kappa of (..., K, K), disagreements at a cost (K, K); NaN where chance alone leaves none."""
    total = table.sum(axis=(-2, -1))
    chance = np.einsum("...i,...j,ij->...", table.sum(axis=-1), table.sum(axis=-2), cost)
    return 1 - ratio(np.einsum("...ij,ij->...", table, cost) * total, chance)


def ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    """The ratio, NaN where the denominator is 0."""
    found = np.full(np.shape(above), np.nan)
    return np.asarray(np.divide(above, below, out=found, where=np.asarray(below) > 0))


def mean_of_defined(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean over the last axis of what is defined."""
    known = np.isfinite(values)
    return ratio(np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1))


def concordance(first: ArrayLike, second: ArrayLike, *, weight: ArrayLike | None = None) -> float:
    """Lin's concordance of two measurements of the same cases: correlation times accuracy.

    Args:
        first: (N,) numbers.
        second: (N,) numbers.
        weight: (N,) how often a row counts.

    Raises:
        MetricError: fewer than two cases, or both measurements are one and the same constant.

    >>> round(concordance([1.0, 2.0, 3.0], [2.0, 3.0, 4.0]), 4)
    0.5714
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape:
        msg = f"{a.shape} and {b.shape} measurements differ in shape"
        raise MetricError(msg)
    w = np.ones(len(a)) if weight is None else np.asarray(weight, dtype=np.float64)
    if (w > 0).sum() < 2:
        msg = f"not estimable: concordance needs at least two cases, and there are {len(a)}"
        raise MetricError(msg)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        msg = "not estimable: a measurement is not a finite number"
        raise MetricError(msg)
    mean_a, mean_b = np.average(a, weights=w), np.average(b, weights=w)
    # Lin's own estimator divides by n, as np.average does.
    spread = np.average((a - mean_a) ** 2, weights=w) + np.average((b - mean_b) ** 2, weights=w)
    below = float(spread + (mean_a - mean_b) ** 2)
    if below <= 0:
        msg = "not estimable: both measurements are the same constant"
        raise MetricError(msg)
    return float(2 * np.average((a - mean_a) * (b - mean_b), weights=w)) / below
