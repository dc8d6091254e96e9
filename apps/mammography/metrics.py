"""What is counted on breasts and exams, in the order a report shows it.

A screening programme fixes how many women it recalls and asks how many cancers it finds
at that rate. Each task names its positive classes: cancer, malignant, abnormal, dense.

Sources: probabilistic F1 as in the RSNA Screening Mammography challenge (2023);
partial area with McClish's standardisation (doi 10.1177/0272989X8900900307).
"""

from __future__ import annotations

from functools import partial

from core.app import Metric
from core.statistics.metrics import (
    auroc_of_positive,
    average_precision_of_positive,
    linear_kappa,
    partial_auroc_of_positive,
    probabilistic_f1_of_positive,
    sensitivity_at_recall_rate,
    sensitivity_at_specificity,
    specificity_at_sensitivity,
)
from core.statistics.standard_metrics import ACCURACY, QUADRATIC_KAPPA

__all__ = ["METRICS"]

# Specificities worth an operating point in screening: below, more than one
# woman in seven would be recalled.
SCREENING = (0.85, 1.0)
# The questions with an answer of yes or no have positive classes that exclude one another.
ONE_CLASS = ("binary", "multiclass", "ordinal")

METRICS = (
    *(
        Metric(name=name, title=title, compute=compute, unit=unit, tasks=ONE_CLASS)
        for name, title, compute, unit in (
            ("auroc", "AUROC", auroc_of_positive, ""),
            ("auroc_breast", "AUROC, by breast", auroc_of_positive, "breast"),
            ("auroc_image", "AUROC, by image", auroc_of_positive, "image"),
            ("average_precision", "Average precision", average_precision_of_positive, ""),
            (
                "partial_auroc",
                "Partial AUROC, specificity 85 % and more",
                partial(partial_auroc_of_positive, specificity=SCREENING),
                "",
            ),
            ("probabilistic_f1", "Probabilistic F1", probabilistic_f1_of_positive, ""),
        )
    ),
    *(
        Metric(name=name, title=title, compute=compute, percent=True, tasks=tasks, seeks=True)
        for name, title, compute, tasks in (
            (
                "sensitivity_at_specificity_90",
                "Sensitivity at 90 % specificity",
                partial(sensitivity_at_specificity, at_least=0.90),
                ONE_CLASS,
            ),
            (
                "sensitivity_at_recall_10",
                "Sensitivity when 10 % are recalled",
                partial(sensitivity_at_recall_rate, limit=0.10),
                # Nobody is recalled for a grade of density.
                ("binary", "multiclass"),
            ),
            (
                "specificity_at_sensitivity_90",
                "Specificity at 90 % sensitivity",
                partial(specificity_at_sensitivity, at_least=0.90),
                ONE_CLASS,
            ),
        )
    ),
    QUADRATIC_KAPPA,
    Metric(
        name="linear_kappa",
        title="Linear weighted kappa",
        compute=linear_kappa,
        tasks=("ordinal",),
    ),
    ACCURACY,
)
