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
from core.statistics.standard_metrics import (
    ACCURACY,
    BALANCED_ACCURACY,
    MACRO_F1,
    MEAN_ABSOLUTE_ERROR,
    QUADRATIC_KAPPA,
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
    MACRO_F1,
    ACCURACY,
    BALANCED_ACCURACY,
    QUADRATIC_KAPPA,
    MEAN_ABSOLUTE_ERROR,
    Metric(
        name="lins_concordance",
        title="Lin's concordance of the grades",
        compute=lins_concordance,
        tasks=("ordinal",),
    ),
)
