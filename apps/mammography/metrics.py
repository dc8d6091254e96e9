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
    Metric(name="auroc", title="AUROC", compute=auroc_of_positive, tasks=ONE_CLASS),
    Metric(
        name="auroc_breast",
        title="AUROC, by breast",
        compute=auroc_of_positive,
        unit="breast",
        tasks=ONE_CLASS,
    ),
    Metric(
        name="auroc_image",
        title="AUROC, by image",
        compute=auroc_of_positive,
        unit="image",
        tasks=ONE_CLASS,
    ),
    Metric(
        name="average_precision",
        title="Average precision",
        compute=average_precision_of_positive,
        tasks=ONE_CLASS,
    ),
    Metric(
        name="partial_auroc",
        title="Partial AUROC, specificity 85 % and more",
        compute=partial(partial_auroc_of_positive, specificity=SCREENING),
        tasks=ONE_CLASS,
    ),
    Metric(
        name="probabilistic_f1",
        title="Probabilistic F1",
        compute=probabilistic_f1_of_positive,
        tasks=ONE_CLASS,
    ),
    Metric(
        name="sensitivity_at_specificity_90",
        title="Sensitivity at 90 % specificity",
        compute=partial(sensitivity_at_specificity, at_least=0.90),
        percent=True,
        tasks=ONE_CLASS,
        seeks=True,
    ),
    Metric(
        name="sensitivity_at_recall_10",
        title="Sensitivity when 10 % are recalled",
        compute=partial(sensitivity_at_recall_rate, limit=0.10),
        percent=True,
        # Nobody is recalled for a grade of density.
        tasks=("binary", "multiclass"),
        seeks=True,
    ),
    Metric(
        name="specificity_at_sensitivity_90",
        title="Specificity at 90 % sensitivity",
        compute=partial(specificity_at_sensitivity, at_least=0.90),
        percent=True,
        tasks=ONE_CLASS,
        seeks=True,
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
