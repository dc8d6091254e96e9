"""What is counted on breasts and exams, in the order a report shows it.

A screening programme fixes how many women it recalls and asks how many cancers
it finds at that rate; the numbers here answer from decisions alone. Every task
of this app asks its yes-or-no question of the upper half of its classes: cancer
of no and yes, malignant of three, D of F, G and D, dense (C and D) of A to D.

Sources: probabilistic F1 as in the RSNA Screening Mammography challenge (2023);
partial area with McClish's standardisation (doi 10.1177/0272989X8900900307).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from core.app import Metric
from core.errors import MetricError
from core.statistics.agreement import accuracy as _accuracy
from core.statistics.agreement import cohen_kappa
from core.statistics.discrimination import auroc as _auroc
from core.statistics.discrimination import average_precision as _average_precision
from core.statistics.discrimination import partial_auroc as _partial_auroc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from core.app import Cases

__all__ = [
    "METRICS",
    "probabilistic_f1",
    "sensitivity_at_recall_rate",
    "sensitivity_at_specificity",
    "specificity_at_sensitivity",
]

# Specificities worth an operating point in screening: below, more than one
# woman in seven would be recalled.
SCREENING = (0.85, 1.0)


def question(cases: Cases) -> tuple[NDArray[np.int_], NDArray[np.float64], NDArray[np.float64]]:
    """Truth, score and weight (N,) of the yes-or-no question of a task.

    Raises:
        MetricError: the classes have no upper half to ask for.
    """
    n_classes = cases.scores.shape[1]
    if cases.y.ndim != 1 or not 2 <= n_classes <= 4:
        msg = "not estimable: these classes have no half that counts as positive"
        raise MetricError(msg)
    first = n_classes - n_classes // 2
    score = cases.scores[:, first:].sum(axis=1)
    # Sums of scores end in different digits; ties must stay ties.
    return (cases.y >= first).astype(int), np.round(score, 12), cases.weight


def auroc(cases: Cases) -> float:
    """Area under the ROC curve."""
    y, score, weight = question(cases)
    return _auroc(y, score, weight=weight)


def average_precision(cases: Cases) -> float:
    """Area under the precision-recall curve, as a step function."""
    y, score, weight = question(cases)
    return _average_precision(y, score, weight=weight)


def partial_auroc(cases: Cases) -> float:
    """Area at specificities of 85 % and more, 0.5 for chance and 1 for perfection."""
    y, score, weight = question(cases)
    return _partial_auroc(y, score, specificity=SCREENING, weight=weight)


def probabilistic_f1(cases: Cases) -> float:
    """The F1 of scores instead of decisions; depends on how frequent cancer is.

    With P the sum of scores of the positive cases over the sum of all scores
    and R the same sum over the number of positive cases: 2 P R / (P + R).

    Raises:
        MetricError: no case is positive.

    >>> from core.app import Cases
    >>> scores = np.array([[0.2, 0.8], [0.6, 0.4]])
    >>> cases = Cases(np.array([1, 0]), scores, np.array([1, 0]), np.ones(2))
    >>> round(probabilistic_f1(cases), 4)  # P = .8 / 1.2, R = .8 / 1
    0.7273
    """
    y, score, weight = question(cases)
    n_positive = float(weight[y == 1].sum())
    if not n_positive:
        msg = f"not estimable: none of {len(y)} cases is positive"
        raise MetricError(msg)
    found = float((score * weight)[y == 1].sum())
    total = float((score * weight).sum())
    if not found:
        return 0.0
    precision, recall = found / total, found / n_positive
    return 2 * precision * recall / (precision + recall)


def sensitivity_at_specificity(cases: Cases, *, at_least: float) -> float:
    """The greatest sensitivity of any threshold with at least this specificity."""
    sensitivity, specificity, _ = _thresholds(cases)
    return float(sensitivity[specificity >= at_least - 1e-12].max())


def specificity_at_sensitivity(cases: Cases, *, at_least: float) -> float:
    """The greatest specificity of any threshold with at least this sensitivity."""
    sensitivity, specificity, _ = _thresholds(cases)
    return float(specificity[sensitivity >= at_least - 1e-12].max())


def sensitivity_at_recall_rate(cases: Cases, *, limit: float) -> float:
    """The share of cancers found when at most this share of all cases is recalled.

    Tied scores are recalled together or not at all.
    """
    sensitivity, _, recalled = _thresholds(cases)
    return float(sensitivity[recalled <= limit + 1e-12].max())


def accuracy(cases: Cases) -> float:
    """Share of decisions that are right."""
    return _accuracy(cases.y, cases.decided, cases.scores.shape[1], weight=cases.weight)


def quadratic_kappa(cases: Cases) -> float:
    """Agreement of grades beyond chance; two grades off counts four times one grade off."""
    n_classes = cases.scores.shape[1]
    return cohen_kappa(cases.y, cases.decided, n_classes, weights="quadratic", weight=cases.weight)


def linear_kappa(cases: Cases) -> float:
    """Agreement of grades beyond chance; two grades off counts twice one grade off."""
    n_classes = cases.scores.shape[1]
    return cohen_kappa(cases.y, cases.decided, n_classes, weights="linear", weight=cases.weight)


def _thresholds(
    cases: Cases,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Sensitivity, specificity and share called at every threshold, calling nobody first.

    Raises:
        MetricError: a class is absent.
    """
    y, score, weight = question(cases)
    positives, negatives = float(weight[y == 1].sum()), float(weight[y == 0].sum())
    if not positives or not negatives:
        absent = "positive" if not positives else "negative"
        msg = f"not estimable: none of {len(y)} cases is {absent}"
        raise MetricError(msg)
    order = np.argsort(-score, kind="stable")
    ordered = score[order]
    last = np.flatnonzero(np.r_[ordered[1:] != ordered[:-1], True])
    hits = np.r_[0.0, np.cumsum((weight * y)[order])[last]]
    alarms = np.r_[0.0, np.cumsum((weight * (1 - y))[order])[last]]
    recalled = (hits + alarms) / (positives + negatives)
    return hits / positives, 1 - alarms / negatives, recalled


METRICS = (
    Metric(name="auroc", title="AUROC", compute=auroc),
    Metric(name="auroc_breast", title="AUROC, by breast", compute=auroc, unit="breast"),
    Metric(name="auroc_image", title="AUROC, by image", compute=auroc, unit="image"),
    Metric(name="average_precision", title="Average precision", compute=average_precision),
    Metric(
        name="partial_auroc",
        title="Partial AUROC, specificity 85 % and more",
        compute=partial_auroc,
    ),
    Metric(name="probabilistic_f1", title="Probabilistic F1", compute=probabilistic_f1),
    Metric(
        name="sensitivity_at_specificity_90",
        title="Sensitivity at 90 % specificity",
        compute=partial(sensitivity_at_specificity, at_least=0.90),
        percent=True,
    ),
    Metric(
        name="sensitivity_at_recall_10",
        title="Sensitivity when 10 % are recalled",
        compute=partial(sensitivity_at_recall_rate, limit=0.10),
        percent=True,
    ),
    Metric(
        name="specificity_at_sensitivity_90",
        title="Specificity at 90 % sensitivity",
        compute=partial(specificity_at_sensitivity, at_least=0.90),
        percent=True,
    ),
    # The two kappas are for grades only; core leaves them out of any other task.
    Metric(name="quadratic_kappa", title="Quadratic weighted kappa", compute=quadratic_kappa),
    Metric(name="linear_kappa", title="Linear weighted kappa", compute=linear_kappa),
    Metric(name="accuracy", title="Accuracy", compute=accuracy, percent=True),
)
