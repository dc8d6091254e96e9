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
from core.statistics import weighted as batches
from core.statistics.reliability import brier_rows, log_loss_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from core.app import Cases

    Weights = NDArray[np.float64]
    Batch = Callable[..., NDArray[np.float64]]

__all__ = [
    "accuracy",
    "adaptive_calibration_error",
    "auroc_of_positive",
    "average_precision_of_positive",
    "balanced_accuracy",
    "brier",
    "brier_of_positive",
    "brier_skill",
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
    "probabilistic_f1_of_positive",
    "quadratic_kappa",
    "sensitivity_at_recall_rate",
    "sensitivity_at_specificity",
    "sensitivity_of_positive",
    "specificity_at_sensitivity",
    "specificity_of_positive",
    "top_two_accuracy",
]


def _one(metric: Callable[..., float], cases: Cases, why: str, **settings: Any) -> float:
    """The value of a metric of the cases themselves.

    Raises:
        MetricError: it is undefined; ``why`` is the reason where there are cases.
    """
    if not len(cases.y) or not cases.weight.sum() > 0:
        msg = "not estimable: no case is left"
        raise MetricError(msg)
    value = float(_BATCHES[metric](cases, cases.weight[None, :], **settings)[0])
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
    return _one(accuracy, cases, _NO_CASE)


def balanced_accuracy(cases: Cases) -> float:
    """The mean recall of the classes that occur."""
    return _one(balanced_accuracy, cases, _NO_CASE)


def macro_f1(cases: Cases) -> float:
    """The mean F1 of the classes that occur or were decided."""
    return _one(macro_f1, cases, "no label occurs and none was decided")


def matthews(cases: Cases) -> float:
    """Matthews' correlation of truth and decision."""
    return _one(matthews, cases, "the truth or the decision is the same for every case")


def kappa(cases: Cases) -> float:
    """Cohen's kappa over all classes of the task."""
    return _one(kappa, cases, _ONE_CLASS)


def linear_kappa(cases: Cases) -> float:
    """Cohen's kappa, disagreement weighted by the distance in grades."""
    return _one(linear_kappa, cases, _ONE_CLASS)


def quadratic_kappa(cases: Cases) -> float:
    """Cohen's kappa, disagreement weighted by the squared distance in grades."""
    return _one(quadratic_kappa, cases, _ONE_CLASS)


def mean_absolute_error(cases: Cases) -> float:
    """The mean distance in grades."""
    return _one(mean_absolute_error, cases, _NO_CASE)


def off_by_two(cases: Cases) -> float:
    """The share of cases two grades or more from the truth."""
    return _one(off_by_two, cases, _NO_CASE)


def lins_concordance(cases: Cases) -> float:
    """Lin's concordance of the true and the decided grade."""
    return _one(lins_concordance, cases, _ONE_CLASS)


def top_two_accuracy(cases: Cases) -> float:
    """The share of cases whose class has one of the two highest scores."""
    return _one(top_two_accuracy, cases, _NO_CASE)


def macro_auroc(cases: Cases) -> float:
    """The mean area under the ROC curve of each class against the rest."""
    return _one(macro_auroc, cases, _EVERY_CLASS)


def micro_auroc(cases: Cases) -> float:
    """The area under the ROC curve over all pairs of case and class."""
    return _one(micro_auroc, cases, _EVERY_CLASS)


def macro_average_precision(cases: Cases) -> float:
    """The mean average precision of the classes."""
    return _one(macro_average_precision, cases, "a class has no case")


def log_loss(cases: Cases) -> float:
    """The mean negative logarithm of the score of the truth."""
    return _one(log_loss, cases, _NO_CASE)


def brier(cases: Cases) -> float:
    """The mean squared error of the scores; of several classes, summed over them."""
    return _one(brier, cases, _NO_CASE)


def expected_calibration_error(cases: Cases) -> float:
    """The expected calibration error in ten bins of equal width, of the decided class.

    Of a binary task that of the positive class, of a multi-label task that of all labels.
    """
    return _one(expected_calibration_error, cases, _NO_CASE)


def adaptive_calibration_error(cases: Cases) -> float:
    """As ``expected_calibration_error``, in ten bins with as many cases each."""
    return _one(adaptive_calibration_error, cases, _NO_CASE)


def brier_skill(cases: Cases) -> float:
    """One minus the Brier score over that of always saying the class shares; 1 is best."""
    return _one(brier_skill, cases, "all cases are of one class")


def auroc_of_positive(cases: Cases, *, positive: tuple[int, ...] | None = None) -> float:
    """The area under the ROC curve of the positive classes together.

    >>> from core.app import Cases
    >>> scores = np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]])
    >>> cases = Cases(np.array([0, 1, 0]), scores, np.array([0, 1, 0]), np.ones(3))
    >>> auroc_of_positive(cases)
    1.0
    """
    return _one(auroc_of_positive, cases, _BOTH, positive=positive)


def average_precision_of_positive(
    cases: Cases, *, positive: tuple[int, ...] | None = None
) -> float:
    """The average precision of the positive classes together."""
    return _one(average_precision_of_positive, cases, _NO_POSITIVE, positive=positive)


def partial_auroc_of_positive(
    cases: Cases,
    *,
    positive: tuple[int, ...] | None = None,
    specificity: tuple[float, float] = (0.85, 1.0),
) -> float:
    """The standardised partial area over a range of specificity."""
    return _one(partial_auroc_of_positive, cases, _BOTH, positive=positive, specificity=specificity)


def sensitivity_at_specificity(
    cases: Cases, *, at_least: float, positive: tuple[int, ...] | None = None
) -> float:
    """The greatest sensitivity of any threshold with at least this specificity here.

    The threshold is sought on the cases themselves: it describes the ranking, and
    is no promise for a threshold set beforehand.
    """
    return _one(sensitivity_at_specificity, cases, _BOTH, positive=positive, at_least=at_least)


def specificity_at_sensitivity(
    cases: Cases, *, at_least: float, positive: tuple[int, ...] | None = None
) -> float:
    """The greatest specificity of any threshold with at least this sensitivity here."""
    return _one(specificity_at_sensitivity, cases, _BOTH, positive=positive, at_least=at_least)


def sensitivity_at_recall_rate(
    cases: Cases,
    *,
    limit: float,
    positive: tuple[int, ...] | None = None,
    prevalence: float | None = None,
) -> float:
    """The greatest sensitivity of any threshold that calls no more than this share of cases.

    With a prevalence the share is that of a place where so many cases are positive.
    """
    return _one(
        sensitivity_at_recall_rate,
        cases,
        _BOTH,
        positive=positive,
        limit=limit,
        prevalence=prevalence,
    )


def sensitivity_of_positive(cases: Cases, *, positive: tuple[int, ...] | None = None) -> float:
    """The share of positive cases decided for a positive class."""
    return _one(sensitivity_of_positive, cases, _NO_POSITIVE, positive=positive)


def specificity_of_positive(cases: Cases, *, positive: tuple[int, ...] | None = None) -> float:
    """The share of negative cases not decided for a positive class."""
    return _one(specificity_of_positive, cases, "no case is negative", positive=positive)


def probabilistic_f1_of_positive(cases: Cases, *, positive: tuple[int, ...] | None = None) -> float:
    """F1 with scores in place of decisions; depends on prevalence and calibration."""
    return _one(probabilistic_f1_of_positive, cases, _NO_POSITIVE, positive=positive)


def brier_of_positive(cases: Cases, *, positive: tuple[int, ...] | None = None) -> float:
    """The Brier score of the positive classes together."""
    return _one(brier_of_positive, cases, _NO_CASE, positive=positive)


_BATCHES: Mapping[Callable[..., float], Batch] = {
    **{
        function: partial(batches.numbers_of_confusion, name=function.__name__)
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
    lins_concordance: batches.concordances,
    top_two_accuracy: batches.top_two,
    macro_auroc: partial(batches.macro_areas, which="auroc"),
    macro_average_precision: partial(batches.macro_areas, which="average_precision"),
    micro_auroc: batches.micro_areas,
    log_loss: partial(batches.means_of_rows, rows=log_loss_rows),
    brier: partial(batches.means_of_rows, rows=brier_rows),
    brier_skill: batches.brier_skills,
    expected_calibration_error: batches.calibration_errors,
    adaptive_calibration_error: partial(batches.calibration_errors, equal="mass"),
    auroc_of_positive: partial(batches.areas_of_positive, which="auroc"),
    average_precision_of_positive: partial(batches.areas_of_positive, which="average_precision"),
    partial_auroc_of_positive: batches.partial_areas_of_positive,
    sensitivity_at_specificity: partial(batches.best_rates, of="sensitivity"),
    specificity_at_sensitivity: partial(batches.best_rates, of="specificity"),
    sensitivity_at_recall_rate: partial(batches.best_rates, of="sensitivity"),
    sensitivity_of_positive: partial(batches.rates_of_positive, of=1),
    specificity_of_positive: partial(batches.rates_of_positive, of=0),
    probabilistic_f1_of_positive: batches.f1_of_positive,
    brier_of_positive: batches.briers_of_positive,
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
    found = np.full(len(weights), np.nan)
    if function in _BATCHES:
        try:
            return np.asarray(_BATCHES[function](cases, weights, **settings), dtype=np.float64)
        except MetricError:
            return found
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
