"""Metrics that an app can name: module-level functions of ``core.app.Cases``.

Each takes cases and returns a number, honours their weights, and raises
``MetricError`` where it is undefined. Those about positive classes take them by
index: ``functools.partial(auroc_of_positive, positive=(2, 3, 4))``; a partial of a
module-level function pickles. Without them the upper half of the classes counts.

Behind each stands one that gives all resamples at once, (b, N) weights in and
(b,) values out; ``over_weights`` finds it, and falls back to calling an app's
own function once per resample.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import MetricError
from core.evaluation.agreement import confusion_matrices, from_confusion
from core.evaluation.discrimination import Ranking, indicator
from core.evaluation.reliability import bin_numbers, brier_rows, log_loss_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from core.app import Cases

    Weights = NDArray[np.float64]
    Batch = Callable[..., NDArray[np.float64]]

__all__ = [
    "accuracy",
    "auroc_of_positive",
    "average_precision_of_positive",
    "balanced_accuracy",
    "brier",
    "brier_of_positive",
    "expected_calibration_error",
    "is_batched",
    "kappa",
    "linear_kappa",
    "lins_concordance",
    "log_loss",
    "macro_auroc",
    "macro_average_precision",
    "macro_f1",
    "matthews",
    "mean_absolute_error",
    "micro_auroc",
    "off_by_two",
    "over_weights",
    "partial_auroc_of_positive",
    "positive_part",
    "probabilistic_f1_of_positive",
    "quadratic_kappa",
    "ratio",
    "sensitivity_at_recall_rate",
    "sensitivity_at_specificity",
    "sensitivity_of_positive",
    "specificity_at_sensitivity",
    "specificity_of_positive",
    "top_two_accuracy",
    "weighted_means",
]


# --------------------------------------------------------------------------- all resamples at once


def weighted_means(values: NDArray[np.float64], weights: Weights) -> NDArray[np.float64]:
    """Means (b,) of rows (N,); NaN where no row has weight."""
    return ratio(weights @ values, weights.sum(axis=1))


def ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    """The ratio, NaN where the denominator is 0."""
    found = np.full(np.shape(above), np.nan)
    return np.asarray(np.divide(above, below, out=found, where=below > 0))


def positive_part(
    cases: Cases, positive: tuple[int, ...] | None
) -> tuple[NDArray[np.int_], NDArray[np.float64], NDArray[np.int_]]:
    """Truth, summed score and decision of the positive classes taken together, (N,) each.

    Args:
        cases: see ``core.app.Cases``.
        positive: class indices; None takes the upper half: the second of two, the
            third of three, the third and fourth of four.
    """
    n_classes = cases.scores.shape[1]
    upper = range(n_classes - n_classes // 2, n_classes)
    where = list(upper if positive is None else positive)
    if cases.y.ndim == 2:
        # Labels that do not exclude one another: positive if any is.
        score = 1 - np.prod(1 - cases.scores[:, where], axis=1)
        return (
            cases.y[:, where].max(axis=1),
            score,
            cases.decided[:, where].max(axis=1),
        )
    # Sums of scores end in different digits; ties must stay ties.
    score = np.round(np.clip(cases.scores[:, where].sum(axis=1), 0.0, 1.0), 12)
    return np.isin(cases.y, where).astype(int), score, np.isin(cases.decided, where).astype(int)


def _from_confusion(cases: Cases, weights: Weights, *, name: str) -> NDArray[np.float64]:
    """One number of the confusion matrices."""
    if cases.y.ndim == 2:
        if name == "accuracy":
            return weighted_means((cases.y == cases.decided).all(axis=1).astype(float), weights)
        if name not in {"macro_f1", "balanced_accuracy"}:
            return np.full(len(weights), np.nan)
        return _of_labels(cases, weights)[name]
    counts = confusion_matrices(cases.y, cases.decided, cases.scores.shape[1], weights)
    return from_confusion(counts)[name]


def _of_labels(cases: Cases, weights: Weights) -> dict[str, NDArray[np.float64]]:
    """Macro F1 and mean recall over the labels of a multi-label task."""
    hits = weights @ (cases.y * cases.decided).astype(float)
    support, called = weights @ cases.y.astype(float), weights @ cases.decided.astype(float)
    f1, recall = ratio(2 * hits, support + called), ratio(hits, support)
    return {"macro_f1": _mean_of_defined(f1), "balanced_accuracy": _mean_of_defined(recall)}


def _mean_of_defined(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean over the last axis of what is defined."""
    known = np.isfinite(values)
    return ratio(np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1).astype(float))


def _of_ranking(cases: Cases, weights: Weights, *, which: str) -> NDArray[np.float64]:
    """The mean over classes of an area; NaN if any class has none."""
    truth = indicator(cases.y, cases.scores.shape[1])
    columns = [
        getattr(Ranking(truth[:, k], cases.scores[:, k]), which)(weights)
        for k in range(truth.shape[1])
    ]
    return np.asarray(np.mean(columns, axis=0))


def _micro_auroc(cases: Cases, weights: Weights) -> NDArray[np.float64]:
    n_classes = cases.scores.shape[1]
    truth = indicator(cases.y, n_classes).ravel()
    return Ranking(truth, cases.scores.ravel()).auroc(np.repeat(weights, n_classes, axis=1))


def _rows_mean(
    cases: Cases, weights: Weights, *, rows: Callable[..., NDArray[np.float64]]
) -> NDArray[np.float64]:
    """The mean of a number that each row has."""
    if not len(cases.y):
        return np.full(len(weights), np.nan)
    if cases.scores.shape[1] == 2 and cases.y.ndim == 1:
        return weighted_means(rows(cases.y, np.clip(cases.scores[:, 1], 0, 1)), weights)
    return weighted_means(rows(cases.y, np.clip(cases.scores, 0, 1)), weights)


def _ece(cases: Cases, weights: Weights, *, bins: int = 10) -> NDArray[np.float64]:
    """Of the positive class, of the decided class, or of all labels."""
    if not len(cases.y):
        return np.full(len(weights), np.nan)
    n_labels = 1
    if cases.y.ndim == 2:
        truth, score = cases.y.ravel(), cases.scores.ravel()
        n_labels = cases.y.shape[1]
    elif cases.scores.shape[1] == 2:
        truth, score = cases.y, cases.scores[:, 1]
    else:
        best = cases.scores.argmax(axis=1)
        truth, score = (best == cases.y).astype(int), cases.scores[np.arange(len(best)), best]
    number, _ = bin_numbers(np.clip(score, 0.0, 1.0), bins=bins)
    gaps = np.zeros((len(cases.y), bins))
    owner = np.repeat(np.arange(len(cases.y)), n_labels)
    np.add.at(gaps, (owner, number), score - truth)
    return ratio(np.abs(weights @ gaps).sum(axis=1), n_labels * weights.sum(axis=1))


def _positive_ranking(
    cases: Cases, weights: Weights, *, which: str, positive: tuple[int, ...] | None = None
) -> NDArray[np.float64]:
    truth, score, _ = positive_part(cases, positive)
    return np.asarray(getattr(Ranking(truth, score), which)(weights))


def _positive_rate(
    cases: Cases, weights: Weights, *, of: int, positive: tuple[int, ...] | None = None
) -> NDArray[np.float64]:
    """Sensitivity (of 1) or specificity (of 0) of the decisions."""
    truth, _, decided = positive_part(cases, positive)
    among = (truth == of).astype(float)
    return ratio(weights @ (among * (decided == of)), weights @ among)


def _positive_brier(
    cases: Cases, weights: Weights, *, positive: tuple[int, ...] | None = None
) -> NDArray[np.float64]:
    truth, score, _ = positive_part(cases, positive)
    return weighted_means((score - truth) ** 2, weights)


def _positive_f1(
    cases: Cases, weights: Weights, *, positive: tuple[int, ...] | None = None
) -> NDArray[np.float64]:
    """F1 = 2 sum(p over positives) / (sum(p) + n positive), with scores for decisions."""
    truth, score, _ = positive_part(cases, positive)
    n_positive = weights @ truth.astype(float)
    value = ratio(2 * (weights @ (truth * score)), weights @ score + n_positive)
    return np.where(n_positive > 0, value, np.nan)


def _positive_partial(
    cases: Cases,
    weights: Weights,
    *,
    positive: tuple[int, ...] | None = None,
    specificity: tuple[float, float] = (0.85, 1.0),
) -> NDArray[np.float64]:
    truth, score, _ = positive_part(cases, positive)
    return Ranking(truth, score).partial_area(weights, 1 - specificity[1], 1 - specificity[0])


def _best_rate(
    cases: Cases,
    weights: Weights,
    *,
    of: str,
    positive: tuple[int, ...] | None = None,
    at_least: float = 0.0,
    limit: float = 1.0,
) -> NDArray[np.float64]:
    """The best rate of any threshold that keeps to a bound on another."""
    truth, score, _ = positive_part(cases, positive)
    hits, alarms = Ranking(truth, score).rates(weights)
    n_1, n_0 = hits[:, -1:], alarms[:, -1:]
    sensitivity = hits / np.where(n_1 > 0, n_1, 1.0)
    specificity = 1 - alarms / np.where(n_0 > 0, n_0, 1.0)
    slack = 1e-12
    if of == "specificity":
        found = np.where(sensitivity >= at_least - slack, specificity, 0.0).max(axis=1)
    elif limit < 1:
        recalled = (hits + alarms) / np.where(n_1 + n_0 > 0, n_1 + n_0, 1.0)
        found = np.where(recalled <= limit + slack, sensitivity, 0.0).max(axis=1)
    else:
        found = np.where(specificity >= at_least - slack, sensitivity, 0.0).max(axis=1)
    return np.where((n_1 > 0) & (n_0 > 0), found[:, None], np.nan)[:, 0]


def _concordance(cases: Cases, weights: Weights) -> NDArray[np.float64]:
    """Lin's concordance of true and decided grade."""
    if cases.y.ndim == 2:
        return np.full(len(weights), np.nan)
    a, b = cases.y.astype(float), cases.decided.astype(float)
    mean_a, mean_b = weighted_means(a, weights), weighted_means(b, weights)
    both = weighted_means(a * b, weights) - mean_a * mean_b
    spread = weighted_means(a * a, weights) - mean_a**2 + weighted_means(b * b, weights) - mean_b**2
    below = spread + (mean_a - mean_b) ** 2
    return ratio(2 * both, np.where(below > 1e-12, below, 0.0))


def _top_two(cases: Cases, weights: Weights) -> NDArray[np.float64]:
    if cases.y.ndim == 2 or not len(cases.y):
        return np.full(len(weights), np.nan)
    best = np.argsort(-cases.scores, axis=1, kind="stable")[:, :2]
    return weighted_means((best == cases.y[:, None]).any(axis=1).astype(float), weights)


# --------------------------------------------------------------------------- what apps name


def _one(batch: Batch, cases: Cases, why: str, **settings: Any) -> float:
    """The value of the cases themselves.

    Raises:
        MetricError: it is undefined; ``why`` is the reason where there are cases.
    """
    if not len(cases.y) or not cases.weight.sum() > 0:
        msg = "not estimable: no case is left"
        raise MetricError(msg)
    value = float(batch(cases, cases.weight[None, :], **settings)[0])
    if not np.isfinite(value):
        msg = f"not estimable: {why}"
        raise MetricError(msg)
    return value


_NO_CASE = "no case is left"
_ONE_CLASS = "all cases and decisions are of one class"
_BOTH = "positive and negative cases are both needed"
_EVERY_CLASS = "a class has no case, or every case"
_NO_POSITIVE = "no case is positive"


def accuracy(cases: Cases) -> float:
    """The share of cases decided right; of a multi-label task, with every label right."""
    return _one(_BATCHES[accuracy], cases, _NO_CASE)


def balanced_accuracy(cases: Cases) -> float:
    """The mean recall of the classes that occur."""
    return _one(_BATCHES[balanced_accuracy], cases, _NO_CASE)


def macro_f1(cases: Cases) -> float:
    """The mean F1 of the classes that occur or were decided."""
    return _one(_BATCHES[macro_f1], cases, "no label occurs and none was decided")


def matthews(cases: Cases) -> float:
    """Matthews' correlation of truth and decision."""
    return _one(_BATCHES[matthews], cases, "the truth or the decision is the same for every case")


def kappa(cases: Cases) -> float:
    """Cohen's kappa over all classes of the task."""
    return _one(_BATCHES[kappa], cases, _ONE_CLASS)


def linear_kappa(cases: Cases) -> float:
    """Cohen's kappa, disagreement weighted by the distance in grades."""
    return _one(_BATCHES[linear_kappa], cases, _ONE_CLASS)


def quadratic_kappa(cases: Cases) -> float:
    """Cohen's kappa, disagreement weighted by the squared distance in grades."""
    return _one(_BATCHES[quadratic_kappa], cases, _ONE_CLASS)


def mean_absolute_error(cases: Cases) -> float:
    """The mean distance in grades."""
    return _one(_BATCHES[mean_absolute_error], cases, _NO_CASE)


def off_by_two(cases: Cases) -> float:
    """The share of cases two grades or more from the truth."""
    return _one(_BATCHES[off_by_two], cases, _NO_CASE)


def lins_concordance(cases: Cases) -> float:
    """Lin's concordance of the true and the decided grade."""
    return _one(_BATCHES[lins_concordance], cases, _ONE_CLASS)


def top_two_accuracy(cases: Cases) -> float:
    """The share of cases whose class has one of the two highest scores."""
    return _one(_BATCHES[top_two_accuracy], cases, _NO_CASE)


def macro_auroc(cases: Cases) -> float:
    """The mean area under the ROC curve of each class against the rest."""
    return _one(_BATCHES[macro_auroc], cases, _EVERY_CLASS)


def micro_auroc(cases: Cases) -> float:
    """The area under the ROC curve over all pairs of case and class."""
    return _one(_BATCHES[micro_auroc], cases, _EVERY_CLASS)


def macro_average_precision(cases: Cases) -> float:
    """The mean average precision of the classes."""
    return _one(_BATCHES[macro_average_precision], cases, "a class has no case")


def log_loss(cases: Cases) -> float:
    """The mean negative logarithm of the score of the truth."""
    return _one(_BATCHES[log_loss], cases, _NO_CASE)


def brier(cases: Cases) -> float:
    """The mean squared error of the scores; of several classes, summed over them."""
    return _one(_BATCHES[brier], cases, _NO_CASE)


def expected_calibration_error(cases: Cases) -> float:
    """The expected calibration error in ten bins of equal width, of the decided class.

    Of a binary task that of the positive class, of a multi-label task that of all labels.
    """
    return _one(_BATCHES[expected_calibration_error], cases, _NO_CASE)


def auroc_of_positive(cases: Cases, *, positive: tuple[int, ...] | None = None) -> float:
    """The area under the ROC curve of the positive classes together.

    >>> from core.app import Cases
    >>> scores = np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]])
    >>> cases = Cases(np.array([0, 1, 0]), scores, np.array([0, 1, 0]), np.ones(3))
    >>> auroc_of_positive(cases)
    1.0
    """
    return _one(_BATCHES[auroc_of_positive], cases, _BOTH, positive=positive)


def average_precision_of_positive(
    cases: Cases, *, positive: tuple[int, ...] | None = None
) -> float:
    """The average precision of the positive classes together."""
    batch = _BATCHES[average_precision_of_positive]
    return _one(batch, cases, _NO_POSITIVE, positive=positive)


def partial_auroc_of_positive(
    cases: Cases,
    *,
    positive: tuple[int, ...] | None = None,
    specificity: tuple[float, float] = (0.85, 1.0),
) -> float:
    """The standardised partial area over a range of specificity."""
    batch = _BATCHES[partial_auroc_of_positive]
    return _one(batch, cases, _BOTH, positive=positive, specificity=specificity)


def sensitivity_at_specificity(
    cases: Cases, *, at_least: float, positive: tuple[int, ...] | None = None
) -> float:
    """The greatest sensitivity of any threshold with at least this specificity here.

    The threshold is sought on the cases themselves: it describes the ranking, and
    is no promise for a threshold set beforehand.
    """
    batch = _BATCHES[sensitivity_at_specificity]
    return _one(batch, cases, _BOTH, positive=positive, at_least=at_least)


def specificity_at_sensitivity(
    cases: Cases, *, at_least: float, positive: tuple[int, ...] | None = None
) -> float:
    """The greatest specificity of any threshold with at least this sensitivity here."""
    batch = _BATCHES[specificity_at_sensitivity]
    return _one(batch, cases, _BOTH, positive=positive, at_least=at_least)


def sensitivity_at_recall_rate(
    cases: Cases, *, limit: float, positive: tuple[int, ...] | None = None
) -> float:
    """The greatest sensitivity of any threshold that calls no more than this share of cases."""
    batch = _BATCHES[sensitivity_at_recall_rate]
    return _one(batch, cases, _BOTH, positive=positive, limit=limit)


def sensitivity_of_positive(cases: Cases, *, positive: tuple[int, ...] | None = None) -> float:
    """The share of positive cases decided for a positive class."""
    return _one(_BATCHES[sensitivity_of_positive], cases, _NO_POSITIVE, positive=positive)


def specificity_of_positive(cases: Cases, *, positive: tuple[int, ...] | None = None) -> float:
    """The share of negative cases not decided for a positive class."""
    batch = _BATCHES[specificity_of_positive]
    return _one(batch, cases, "no case is negative", positive=positive)


def probabilistic_f1_of_positive(cases: Cases, *, positive: tuple[int, ...] | None = None) -> float:
    """F1 with scores in place of decisions; depends on prevalence and calibration."""
    batch = _BATCHES[probabilistic_f1_of_positive]
    return _one(batch, cases, _NO_POSITIVE, positive=positive)


def brier_of_positive(cases: Cases, *, positive: tuple[int, ...] | None = None) -> float:
    """The Brier score of the positive classes together."""
    return _one(_BATCHES[brier_of_positive], cases, _NO_CASE, positive=positive)


_BATCHES: Mapping[Callable[..., float], Batch] = {
    **{
        function: partial(_from_confusion, name=function.__name__)
        for function in (
            accuracy,
            balanced_accuracy,
            macro_f1,
            matthews,
            kappa,
            linear_kappa,
            quadratic_kappa,
            mean_absolute_error,
            off_by_two,
        )
    },
    lins_concordance: _concordance,
    top_two_accuracy: _top_two,
    macro_auroc: partial(_of_ranking, which="auroc"),
    macro_average_precision: partial(_of_ranking, which="average_precision"),
    micro_auroc: _micro_auroc,
    log_loss: partial(_rows_mean, rows=log_loss_rows),
    brier: partial(_rows_mean, rows=brier_rows),
    expected_calibration_error: _ece,
    auroc_of_positive: partial(_positive_ranking, which="auroc"),
    average_precision_of_positive: partial(_positive_ranking, which="average_precision"),
    partial_auroc_of_positive: _positive_partial,
    sensitivity_at_specificity: partial(_best_rate, of="sensitivity"),
    specificity_at_sensitivity: partial(_best_rate, of="specificity"),
    sensitivity_at_recall_rate: partial(_best_rate, of="sensitivity"),
    sensitivity_of_positive: partial(_positive_rate, of=1),
    specificity_of_positive: partial(_positive_rate, of=0),
    probabilistic_f1_of_positive: _positive_f1,
    brier_of_positive: _positive_brier,
}


def is_batched(compute: Callable[[Cases], float]) -> bool:
    """Whether all resamples of this metric come at once."""
    return _split(compute)[0] in _BATCHES


def over_weights(
    compute: Callable[[Cases], float], cases: Cases, weights: Weights
) -> NDArray[np.float64]:
    """Values (b,) of a metric for weights (b, N), NaN where it is undefined.

    Args:
        compute: a function of this module, a partial of one, or an app's own.
        cases: see ``core.app.Cases``.
        weights: how often each row counts in each resample.
    """
    function, settings = _split(compute)
    if function in _BATCHES:
        return np.asarray(_BATCHES[function](cases, weights, **settings), dtype=np.float64)
    found = np.full(len(weights), np.nan)
    for i, weight in enumerate(weights):
        try:
            found[i] = compute(replace(cases, weight=weight))
        except MetricError:
            continue
    return found


def _split(compute: Callable[..., float]) -> tuple[Callable[..., float], dict[str, Any]]:
    """The function and the settings of a partial."""
    if isinstance(compute, partial) and not compute.args:
        return compute.func, dict(compute.keywords)
    return compute, {}
