"""What kind of number each named metric is, for that decides how its interval is made.

A proportion says which cases are counted and which of them are successes; an area says
what is ranked; the mean of recalls says of which proportions. Every other number is
smooth in its cases (jackknife, on the scale that suits it) or has steps (bootstrap).
Methods and their measured coverage: docs/coverage.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from core.errors import MetricError
from core.statistics import metrics as named
from core.statistics.weighted import positive_part, right_of, top_two_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from core.app import Cases, Metric

__all__ = ["Basis", "Share", "basis_of", "basis_of_metric", "events_of"]

Kind = Literal["proportion", "area", "recalls", "binned", "smooth", "resampled"]


@dataclass(frozen=True)
class Share:
    """A proportion: which cases are counted (N,), and which of them are successes (N,)."""

    success: NDArray[np.bool_]
    among: NDArray[np.bool_]


@dataclass(frozen=True)
class Basis:
    """What the interval of a number rests on.

    Attributes:
        kind: ``proportion``, ``area`` (of one ranking), ``recalls`` (the mean of proportions
            of different cases), ``binned`` (a calibration error in bins), ``smooth``
            (jackknife) or ``resampled`` (bootstrap).
        shares: the proportion, or those whose mean it is.
        truth, score: (N,) of an area.
        scale: of ``core.statistics.scales.SCALES``.
    """

    kind: Kind
    shares: tuple[Share, ...] = ()
    truth: NDArray[np.bool_] | None = None
    score: NDArray[np.float64] | None = None
    scale: str = "plain"


# Functions of ``core.statistics.metrics`` that are smooth in their cases, and their scales.
SMOOTH = {
    named.macro_f1: "share",
    named.macro_auroc: "share",
    named.micro_auroc: "share",
    named.macro_average_precision: "share",
    named.average_precision_of_positive: "share",
    named.partial_auroc_of_positive: "share",
    named.probabilistic_f1_of_positive: "share",
    named.matthews: "agreement",
    named.kappa: "agreement",
    named.linear_kappa: "agreement",
    named.quadratic_kappa: "agreement",
    named.lins_concordance: "agreement",
    named.mean_absolute_error: "loss",
    named.log_loss: "loss",
    named.brier: "loss",
    named.brier_of_positive: "loss",
    named.brier_skill: "skill",
}
# Functions that seek a threshold on the cases: they move in steps.
STEPS: tuple[Callable[..., float], ...] = (
    named.sensitivity_at_specificity,
    named.specificity_at_sensitivity,
    named.sensitivity_at_recall_rate,
)
OF_POSITIVE = (
    named.auroc_of_positive,
    named.sensitivity_of_positive,
    named.specificity_of_positive,
)
# Functions that speak of the positive classes, which are their events.
ABOUT_POSITIVE: tuple[Callable[..., float], ...] = (
    *OF_POSITIVE,
    *STEPS,
    named.average_precision_of_positive,
    named.partial_auroc_of_positive,
    named.probabilistic_f1_of_positive,
    named.brier_of_positive,
)
BINNED = (named.expected_calibration_error, named.adaptive_calibration_error)


def basis_of(compute: Callable[[Cases], float], cases: Cases) -> Basis | None:
    """The basis of a function of ``core.statistics.metrics``; None of any other function.

    >>> from core.app import Cases
    >>> scores = np.array([[0.9, 0.1], [0.4, 0.6]])
    >>> cases = Cases(np.array([0, 1]), scores, np.array([0, 1]), np.ones(2))
    >>> basis_of(named.accuracy, cases).kind, basis_of(named.brier, cases).scale
    ('proportion', 'loss')
    """
    function, settings = _taken_apart(compute)
    if function in SMOOTH:
        return Basis("smooth", scale=SMOOTH[function])
    if function in STEPS:
        return Basis("resampled", scale="share")
    if function in BINNED:
        return Basis("binned")
    return _of_counts(function, settings, cases)


def events_of(compute: Callable[[Cases], float], cases: Cases) -> NDArray[np.bool_] | None:
    """Which cases (N,) are of the positive classes that a number speaks of; None of others.

    >>> from core.app import Cases
    >>> scores = np.array([[0.9, 0.1], [0.4, 0.6]])
    >>> cases = Cases(np.array([0, 1]), scores, np.array([0, 1]), np.ones(2), positive=(1,))
    >>> events_of(named.auroc_of_positive, cases).tolist(), events_of(named.brier, cases)
    ([False, True], None)
    """
    function, settings = _taken_apart(compute)
    if function not in ABOUT_POSITIVE:
        return None
    try:
        truth: NDArray[np.bool_] = positive_part(cases, settings.get("positive"))[0] == 1
    except MetricError:
        return None
    return truth


def _taken_apart(
    compute: Callable[[Cases], float],
) -> tuple[Callable[..., float], dict[str, Any]]:
    """The function behind a metric, and the settings it is called with."""
    if isinstance(compute, partial) and not compute.args:
        return compute.func, dict(compute.keywords)
    return compute, {}


def _of_counts(
    function: Callable[..., float], settings: dict[str, Any], cases: Cases
) -> Basis | None:
    """The basis of what counts decisions, or ranks the positive classes."""
    everybody = np.ones(len(cases.weight), dtype=bool)
    if function is named.balanced_accuracy:
        return _recalls(cases)
    share: Share | None = None
    if function is named.accuracy:
        share = Share(right_of(cases), everybody)
    elif function is named.top_two_accuracy and cases.y.ndim == 1:
        share = Share(top_two_of(cases), everybody)
    elif function is named.off_by_two and cases.y.ndim == 1:
        share = Share(np.abs(cases.y - cases.decided) >= 2, everybody)
    elif function in OF_POSITIVE:
        return _of_positive(function, settings.get("positive"), cases)
    return None if share is None else Basis("proportion", (share,))


def _of_positive(
    function: Callable[..., float], positive: tuple[int, ...] | None, cases: Cases
) -> Basis:
    """The basis of what is asked of the positive classes together."""
    try:
        truth, score, decided = positive_part(cases, positive)
    except MetricError:
        # Without positive classes there is no value, and no interval either.
        return Basis("smooth")
    if function is named.auroc_of_positive:
        return Basis("area", truth=truth == 1, score=score)
    of = 1 if function is named.sensitivity_of_positive else 0
    return Basis("proportion", (Share(decided == of, truth == of),))


def _recalls(cases: Cases) -> Basis:
    """The mean recall of the classes that occur."""
    if cases.y.ndim == 2:
        # Labels share their cases, so their recalls are not independent.
        return Basis("smooth", scale="share")
    right = right_of(cases)
    return Basis("recalls", tuple(Share(right, cases.y == i) for i in np.unique(cases.y)))


def basis_of_metric(metric: Metric, cases: Cases) -> Basis:
    """The basis of an app's metric: that of the function behind it, or what it declares.

    Raises:
        MetricError: it is declared a proportion, and one case alone gives neither 0 nor 1.
    """
    known = basis_of(metric.compute, cases)
    if known is not None:
        return known
    if metric.interval == "proportion":
        return Basis("proportion", (_by_case(metric, cases),))
    if metric.interval == "area":
        return Basis("smooth", scale="share")
    # A percentage lies between 0 and 1; of any other number the ends are not known.
    return Basis("resampled", scale="share" if metric.percent else "plain")


def _by_case(metric: Metric, cases: Cases) -> Share:
    """A declared proportion taken apart: each case alone is a success or a failure, or no case."""
    n = len(cases.weight)
    success, among = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    for i in range(n):
        weight = np.zeros(n)
        weight[i] = 1.0
        try:
            value = metric.compute(replace(cases, weight=weight))
        except MetricError:
            continue
        if value not in {0.0, 1.0}:
            msg = (
                f"The metric {metric.name!r} is declared a proportion, and of one case alone it is "
                f"{value:g}, neither 0 nor 1. Declare interval='resampled', or count cases."
            )
            raise MetricError(msg)
        success[i], among[i] = value == 1.0, True
    return Share(success, among)
