"""What is counted on decisions about leaves, in the order a report shows it.

Macro-F1 comes first: the rare diseases of a set are the reason to look at it, and
accuracy hides them behind the frequent ones. Where the classes are grades, the
distance between the grade given and the true one counts as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from core.app import Metric
from core.errors import MetricError
from core.statistics.agreement import concordance
from core.statistics.metrics import (
    accuracy,
    balanced_accuracy,
    macro_f1,
    mean_absolute_error,
    quadratic_kappa,
)

if TYPE_CHECKING:
    from core.app import Cases

__all__ = ["METRICS", "lins_concordance"]


def lins_concordance(cases: Cases) -> float:
    """Lin's concordance between the true grade and the mean grade of the scores.

    Kappa judges the grade decided; this judges the grade as a measurement, which
    two photos of the same grade can differ in. 1 is agreement, and a model whose
    grades run too high or too low loses as one does whose grades scatter.

    Raises:
        MetricError: the classes are no grades, or fewer than two cases count.
    """
    if cases.y.ndim != 1:
        msg = "not estimable: concordance needs one grade per case"
        raise MetricError(msg)
    expected = cases.scores @ np.arange(cases.scores.shape[1])
    return concordance(expected, cases.y, weight=cases.weight)


METRICS = (
    Metric(name="macro_f1", title="Macro-F1", compute=macro_f1),
    Metric(
        name="accuracy", title="Accuracy", compute=accuracy, percent=True, interval="proportion"
    ),
    Metric(
        name="balanced_accuracy", title="Balanced accuracy", compute=balanced_accuracy, percent=True
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
    Metric(
        name="lins_concordance",
        title="Lin's concordance of the grades",
        compute=lins_concordance,
        tasks=("ordinal",),
    ),
)
