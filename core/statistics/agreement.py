"""Do decisions agree with the truth? Confusion matrices and what follows from them.

Classes are the indices 0 .. K-1, all of them, whether or not each occurs: a kappa
over the grades that happen to occur is another number. ``from_confusion`` turns
any number of weighted confusion matrices (..., K, K) into values at once, NaN where
undefined; the functions of labels raise ``MetricError`` there instead.

Sources: Cohen 1968, doi:10.1037/h0026256 (weighted kappa); Fleiss, Cohen and Everitt
1969, doi:10.1037/h0028106 (its standard error); Lin 1989, doi:10.2307/2532051
(concordance); Gorodkin 2004, doi:10.1016/j.compbiolchem.2004.09.006 (correlation
of several classes).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import MetricError
from core.statistics.intervals import Interval, check_level, check_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "accuracy",
    "balanced_accuracy",
    "cohen_kappa",
    "concordance",
    "confusion_matrices",
    "confusion_matrix",
    "from_confusion",
    "kappa_from_table",
    "kappa_interval",
    "kappa_weights",
    "macro_f1",
    "matthews",
    "mean_absolute_error",
    "off_by_two",
    "per_class",
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


def kappa_weights(n_classes: int, weights: str | ArrayLike | None = None) -> NDArray[np.float64]:
    """Disagreement of each pair of classes (K, K): 0 on the diagonal.

    Args:
        n_classes: K.
        weights: None (every disagreement alike), ``linear``, ``quadratic``, or a
            (K, K) table of disagreements.
    """
    if weights is None:
        return 1.0 - np.eye(n_classes)
    if isinstance(weights, str):
        if weights not in {"linear", "quadratic"}:
            msg = f"The weights are {weights!r}; choose None, 'linear', 'quadratic' or a table."
            raise ValueError(msg)
        away = np.abs(np.subtract.outer(np.arange(n_classes), np.arange(n_classes)))
        return (away / max(1, n_classes - 1)) ** (1.0 if weights == "linear" else 2.0)
    table = np.asarray(weights, dtype=np.float64)
    if table.shape != (n_classes, n_classes):
        msg = f"The table of weights is {table.shape}; it must be ({n_classes}, {n_classes})."
        raise MetricError(msg)
    return table


def kappa_from_table(
    counts: NDArray[np.float64], weights: str | ArrayLike | None = None
) -> NDArray[np.float64]:
    """Kappa of confusion matrices (..., K, K); NaN where chance alone leaves no disagreement."""
    table = np.asarray(counts, dtype=np.float64)
    cost = kappa_weights(table.shape[-1], weights)
    total = table.sum(axis=(-2, -1))
    chance = np.einsum("...i,...j,ij->...", table.sum(axis=-1), table.sum(axis=-2), cost)
    seen = np.einsum("...ij,ij->...", table, cost) * total
    return 1 - _divide(seen, chance)


def cohen_kappa(
    y: ArrayLike,
    decided: ArrayLike,
    n_classes: int,
    *,
    weights: str | ArrayLike | None = None,
    weight: ArrayLike | None = None,
) -> float:
    """Cohen's kappa over the classes 0 .. K-1.

    Args:
        y: (N,) class indices.
        decided: (N,) class indices.
        n_classes: K of the task, not of the classes that happen to occur.
        weights: see ``kappa_weights``.
        weight: (N,) how often a row counts.

    Raises:
        MetricError: there is no case, or all cases and decisions are of one class.

    >>> round(cohen_kappa([0, 1, 4], [0, 1, 3], 5, weights="quadratic"), 6)
    0.926829
    """
    counts = confusion_matrix(y, decided, n_classes, weight=weight)
    return _defined(float(kappa_from_table(counts, weights)), counts, "kappa")


def kappa_interval(
    counts: ArrayLike, weights: str | ArrayLike | None = None, *, level: float = 0.95
) -> tuple[float, Interval]:
    """Kappa of a confusion matrix with its asymptotic interval, for independent cases.

    Args:
        counts: (K, K) cases.
        weights: see ``kappa_weights``.
        level: confidence level.

    Returns:
        kappa, and the interval with the standard error of Fleiss, Cohen and Everitt.

    Raises:
        MetricError: kappa is undefined.

    >>> kappa, found = kappa_interval([[20, 5], [10, 15]])
    >>> round(kappa, 2), round(found.se, 4)
    (0.4, 0.127)
    """
    table = np.asarray(counts, dtype=np.float64)
    n = table.sum()
    kappa = _defined(float(kappa_from_table(table, weights)), table, "kappa")
    z = check_level(level)
    cost = kappa_weights(len(table), weights)
    agree = 1 - cost / max(cost.max(), 1e-300)
    share = table / n
    rows, columns = share.sum(axis=1), share.sum(axis=0)
    seen = float((agree * share).sum())
    chance = float(rows @ agree @ columns)
    mean_agree = (agree @ columns)[:, None] + (rows @ agree)[None, :]
    spread = float((share * (agree - mean_agree * (1 - kappa)) ** 2).sum())
    spread -= (kappa - chance * (1 - kappa)) ** 2
    se = float(np.sqrt(max(0.0, spread) / n)) / (1 - chance)
    if se <= 1e-12:
        reason = (
            f"interval withheld: {n:,.0f} cases agree perfectly, so there is no spread to measure"
            if seen == 1.0
            else "interval withheld: the cases show no spread"
        )
        return kappa, Interval(low=None, high=None, level=level, reason=reason)
    method = f"asymptotic (Fleiss, Cohen and Everitt), {n:,.0f} independent cases"
    low, high = max(-1.0, kappa - z * se), min(1.0, kappa + z * se)
    return kappa, Interval(low=low, high=high, level=level, method=method, se=se)


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
    recall, f1 = _divide(hits, support), _divide(2 * hits, support + called)
    away = np.abs(np.subtract.outer(np.arange(n_classes), np.arange(n_classes)))
    rest = total[..., None] - support
    covariance = hits.sum(axis=-1) * total - (support * called).sum(axis=-1)
    spread = (total**2 - (support**2).sum(axis=-1)) * (total**2 - (called**2).sum(axis=-1))
    return {
        "accuracy": _divide(hits.sum(axis=-1), total),
        "balanced_accuracy": _mean_of_defined(recall),
        "macro_f1": _mean_of_defined(f1),
        "matthews": _divide(covariance, np.sqrt(np.maximum(spread, 0.0))),
        "kappa": kappa_from_table(table),
        "linear_kappa": kappa_from_table(table, "linear"),
        "quadratic_kappa": kappa_from_table(table, "quadratic"),
        "mean_absolute_error": _divide((table * away).sum(axis=(-2, -1)), total),
        "off_by_two": _divide((table * (away >= 2)).sum(axis=(-2, -1)), total),
        "precision": _divide(hits, called),
        "recall": recall,
        "specificity": _divide(rest - called + hits, rest),
        "f1": f1,
        "support": support,
    }


def _divide(
    numerator: NDArray[np.float64], denominator: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The ratio, NaN where the denominator is 0."""
    above, below = np.asarray(numerator, dtype=float), np.asarray(denominator, dtype=float)
    found = np.full(above.shape, np.nan)
    return np.asarray(np.divide(above, below, out=found, where=below > 0))


def _mean_of_defined(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean over the last axis of what is defined."""
    known = np.isfinite(values)
    return _divide(np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1))


def _defined(value: float, counts: NDArray[np.float64], name: str) -> float:
    """The value, or why there is none."""
    if np.isfinite(value):
        return value
    n = counts.sum()
    msg = f"not estimable: {name} needs cases, and there is none"
    if n:
        msg = (
            f"not estimable: all {n:,.10g} cases and decisions are of one class, which leaves "
            f"nothing for {name} to measure"
        )
    raise MetricError(msg)


def _number(
    name: str, y: ArrayLike, decided: ArrayLike, n_classes: int, weight: ArrayLike | None
) -> float:
    """One number of ``from_confusion``."""
    counts = confusion_matrix(y, decided, n_classes, weight=weight)
    return _defined(float(from_confusion(counts)[name]), counts, name.replace("_", " "))


def accuracy(
    y: ArrayLike, decided: ArrayLike, n_classes: int, *, weight: ArrayLike | None = None
) -> float:
    """The share of cases decided right.

    Raises:
        MetricError: there is no case.
    """
    return _number("accuracy", y, decided, n_classes, weight)


def balanced_accuracy(
    y: ArrayLike, decided: ArrayLike, n_classes: int, *, weight: ArrayLike | None = None
) -> float:
    """The mean of the recalls of the classes that occur.

    Raises:
        MetricError: there is no case.

    >>> balanced_accuracy([0, 0, 0, 1], [0, 0, 0, 0], 2)
    0.5
    """
    return _number("balanced_accuracy", y, decided, n_classes, weight)


def macro_f1(
    y: ArrayLike, decided: ArrayLike, n_classes: int, *, weight: ArrayLike | None = None
) -> float:
    """The mean F1 of the classes that occur or were decided.

    Raises:
        MetricError: there is no case.
    """
    return _number("macro_f1", y, decided, n_classes, weight)


def matthews(
    y: ArrayLike, decided: ArrayLike, n_classes: int, *, weight: ArrayLike | None = None
) -> float:
    """Matthews' correlation of truth and decision, for any number of classes.

    Raises:
        MetricError: there is no case, or one of the two never varies.
    """
    counts = confusion_matrix(y, decided, n_classes, weight=weight)
    value = float(from_confusion(counts)["matthews"])
    if not np.isfinite(value) and counts.sum():
        msg = "not estimable: the truth or the decision is the same for every case"
        raise MetricError(msg)
    return _defined(value, counts, "the correlation")


def mean_absolute_error(
    y: ArrayLike, decided: ArrayLike, n_classes: int, *, weight: ArrayLike | None = None
) -> float:
    """The mean distance in grades of an ordinal task.

    Raises:
        MetricError: there is no case.
    """
    return _number("mean_absolute_error", y, decided, n_classes, weight)


def off_by_two(
    y: ArrayLike, decided: ArrayLike, n_classes: int, *, weight: ArrayLike | None = None
) -> float:
    """The share of cases decided two grades or more from the truth.

    Raises:
        MetricError: there is no case.
    """
    return _number("off_by_two", y, decided, n_classes, weight)


def per_class(
    y: ArrayLike,
    decided: ArrayLike,
    classes: Sequence[str],
    *,
    weight: ArrayLike | None = None,
) -> list[dict[str, Any]]:
    """Precision, recall, F1 and support of each class, None where undefined.

    >>> per_class([0, 1], [0, 0], ["a", "b"])[1]
    {'class': 'b', 'precision': None, 'recall': 0.0, 'f1': 0.0, 'support': 1.0}
    """
    found = from_confusion(confusion_matrix(y, decided, len(classes), weight=weight))
    names = ("precision", "recall", "f1", "support")
    return [
        {"class": name} | {k: None if np.isnan(found[k][i]) else float(found[k][i]) for k in names}
        for i, name in enumerate(classes)
    ]


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
