"""Metrics that several apps report alike, with one name and one title; an app adds its own.

``dataclasses.replace`` gives one of them another unit or other tasks.
"""

from __future__ import annotations

from core.app import Metric
from core.statistics.metrics import (
    accuracy,
    balanced_accuracy,
    macro_f1,
    mean_absolute_error,
    quadratic_kappa,
)

__all__ = ["ACCURACY", "BALANCED_ACCURACY", "MACRO_F1", "MEAN_ABSOLUTE_ERROR", "QUADRATIC_KAPPA"]

ACCURACY = Metric(
    name="accuracy", title="Accuracy", compute=accuracy, percent=True, interval="proportion"
)
BALANCED_ACCURACY = Metric(
    name="balanced_accuracy", title="Balanced accuracy", compute=balanced_accuracy, percent=True
)
MACRO_F1 = Metric(name="macro_f1", title="Macro-F1", compute=macro_f1)
QUADRATIC_KAPPA = Metric(
    name="quadratic_kappa",
    title="Quadratic weighted kappa",
    compute=quadratic_kappa,
    tasks=("ordinal",),
)
MEAN_ABSOLUTE_ERROR = Metric(
    name="mean_absolute_error",
    title="Mean absolute error, in grades",
    compute=mean_absolute_error,
    tasks=("ordinal",),
    higher_is_better=False,
)
