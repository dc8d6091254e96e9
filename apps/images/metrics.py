"""What is counted on decisions about any images, in the order a report shows it.

The area under the ROC curve comes first: it needs no threshold and is not moved by how
frequent a class is. Grades are judged by their distance.
"""

from __future__ import annotations

from core.app import Metric
from core.statistics.metrics import (
    accuracy,
    balanced_accuracy,
    macro_auroc,
    macro_average_precision,
    macro_f1,
    mean_absolute_error,
    quadratic_kappa,
    sensitivity_of_positive,
    specificity_of_positive,
)

__all__ = ["METRICS"]

_ONE_CLASS = ("binary", "multiclass", "ordinal")

METRICS = (
    Metric(
        name="macro_auroc",
        title="Area under the ROC curve, mean of the classes",
        compute=macro_auroc,
    ),
    Metric(
        name="accuracy",
        title="Accuracy",
        compute=accuracy,
        percent=True,
        interval="proportion",
        tasks=_ONE_CLASS,
    ),
    Metric(
        name="balanced_accuracy",
        title="Balanced accuracy",
        compute=balanced_accuracy,
        percent=True,
        tasks=_ONE_CLASS,
    ),
    Metric(name="macro_f1", title="Macro-F1", compute=macro_f1),
    Metric(
        name="macro_average_precision",
        title="Average precision, mean of the classes",
        compute=macro_average_precision,
        tasks=("multilabel",),
    ),
    Metric(
        name="sensitivity",
        title="Sensitivity",
        compute=sensitivity_of_positive,
        percent=True,
        tasks=("binary",),
    ),
    Metric(
        name="specificity",
        title="Specificity",
        compute=specificity_of_positive,
        percent=True,
        tasks=("binary",),
    ),
    Metric(
        name="quadratic_kappa",
        title="Quadratic weighted kappa",
        compute=quadratic_kappa,
        tasks=("ordinal",),
    ),
    Metric(
        name="mean_absolute_error",
        title="Mean absolute error, in grades",
        compute=mean_absolute_error,
        tasks=("ordinal",),
        higher_is_better=False,
    ),
)
