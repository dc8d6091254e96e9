"""What is counted on decisions about any images, in the order a report shows it.

The area under the ROC curve comes first: it needs no threshold and is not moved by how
frequent a class is. Grades are judged by their distance.
"""

from __future__ import annotations

from dataclasses import replace

from core.app import Metric
from core.statistics.metrics import (
    macro_auroc,
    macro_average_precision,
    sensitivity_of_positive,
    specificity_of_positive,
)
from core.statistics.standard_metrics import (
    ACCURACY,
    BALANCED_ACCURACY,
    MACRO_F1,
    MEAN_ABSOLUTE_ERROR,
    QUADRATIC_KAPPA,
)

__all__ = ["METRICS"]

_ONE_CLASS = ("binary", "multiclass", "ordinal")

METRICS = (
    Metric(
        name="macro_auroc",
        title="Area under the ROC curve, mean of the classes",
        compute=macro_auroc,
    ),
    replace(ACCURACY, tasks=_ONE_CLASS),
    replace(BALANCED_ACCURACY, tasks=_ONE_CLASS),
    MACRO_F1,
    Metric(
        name="macro_average_precision",
        title="Average precision, mean of the classes",
        compute=macro_average_precision,
        tasks=("multilabel",),
    ),
    *(
        Metric(name=name, title=name.title(), compute=compute, percent=True, tasks=("binary",))
        for name, compute in (
            ("sensitivity", sensitivity_of_positive),
            ("specificity", specificity_of_positive),
        )
    ),
    QUADRATIC_KAPPA,
    MEAN_ABSOLUTE_ERROR,
)
