"""What is undefined is said, never invented: every number at the edge of its domain."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from core.errors import MetricError
from core.statistics.agreement import confusion_matrix
from core.statistics.calibration import calibration_line, fit_temperature, recalibrate
from core.statistics.comparisons import adjust, mcnemar
from core.statistics.decision_curves import decision_curve, risk_coverage
from core.statistics.delong import delong, newcombe_auroc
from core.statistics.discrimination import pr_points, roc_points
from core.statistics.intervals import clopper_pearson, cluster_proportion, wilson
from core.statistics.operating_points import choose_threshold, predictive_values, two_by_two
from core.statistics.reliability import brier_rows, expected_calibration_error, log_loss

NAN = float("nan")

REFUSED: dict[str, Callable[[], Any]] = {
    "curve of nothing": lambda: roc_points([], []),
    "curve of one case": lambda: roc_points([1], [0.5]),
    "curve of one class": lambda: roc_points([1, 1], [0.2, 0.9]),
    "curve of a score that is no number": lambda: roc_points([0, 1], [NAN, 0.5]),
    "curve with a negative weight": lambda: roc_points([0, 1], [0.1, 0.2], weight=[-1, 1]),
    "curve with a weight of no number": lambda: roc_points([0, 1], [0.1, 0.2], weight=[NAN, 1]),
    "curve with no weight at all": lambda: roc_points([0, 1], [0.1, 0.2], weight=[0, 0]),
    "curve of other labels": lambda: roc_points([0, 2], [0.1, 0.2]),
    "precision without a positive": lambda: pr_points([0, 0], [0.1, 0.2]),
    "DeLong with one positive": lambda: delong([0, 0, 1], [0.1, 0.2, 0.15]),
    "an area above 1": lambda: newcombe_auroc(1.2, 5, 5),
    "counts of an unknown grade": lambda: confusion_matrix([0, 5], [0, 1], 5),
    "counts with a negative weight": lambda: confusion_matrix([0, 1], [0, 1], 2, weight=[1, -1]),
    "share of nothing": lambda: wilson(0, 0),
    "more successes than cases": lambda: clopper_pearson(3, 2),
    "share of one group": lambda: cluster_proportion([1, 0], ["a", "a"]),
    "share of what is no number": lambda: cluster_proportion([1, NAN], ["a", "b"]),
    "half a differing case": lambda: mcnemar(1.5, 2),  # type: ignore[arg-type]
    "a p above 1": lambda: adjust([1.2]),
    "slope of separated classes": lambda: calibration_line([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]),
    "slope of one class": lambda: calibration_line([1, 1], [0.1, 0.2]),
    "slope of one score": lambda: calibration_line([0, 1, 0], [0.5, 0.5, 0.5]),
    "temperature of nothing": lambda: fit_temperature(np.zeros((0, 2)), []),
    "local shift of one class": lambda: recalibrate([1, 1], [0.2, 0.3]),
    "Brier of nothing": lambda: brier_rows([], []),
    "Brier of a logit": lambda: brier_rows([0, 1], [1.2, 0.5]),
    "log-loss of no number": lambda: log_loss([0, 1], [NAN, 0.5]),
    "error in no bin": lambda: expected_calibration_error([1], [0.3], bins=0),
    "threshold of one class": lambda: choose_threshold([1, 1], [0.1, 0.2], target="youden"),
    "table of other labels": lambda: two_by_two([0, 2], [0, 1]),
    "prevalence of nobody": lambda: predictive_values(0.9, 0.9, 0.0),
    "benefit of no number": lambda: decision_curve([0, 1], [NAN, 0.2]),
    "benefit at the threshold 0": lambda: decision_curve([0, 1], [0.1, 0.2], thresholds=[0.0]),
    "referral by no number": lambda: risk_coverage([1, 0], [NAN, 0.5]),
    "referral of nobody": lambda: risk_coverage([], []),
}


@pytest.mark.parametrize("compute", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_undefined_is_refused_with_a_reason(compute: Callable[[], Any]) -> None:
    with pytest.raises(MetricError) as caught:
        compute()
    assert len(str(caught.value)) > 20


def test_what_is_defined_at_the_edge_has_its_value() -> None:
    assert wilson(0, 1).low == 0.0
    assert wilson(1, 1).high == 1.0
    assert delong([0] * 10 + [1] * 10, np.arange(20.0)).ends[0] < 1
    assert mcnemar(0, 0).p_exact == 1.0
    assert expected_calibration_error([1], [0.3]) == pytest.approx(0.7)
    assert log_loss([1], [0.0]) < 40
    found = two_by_two([0, 0], [1, 0])
    assert found.sensitivity.value is None
    assert "0 of 0" in found.sensitivity.reason
    assert predictive_values(0.0, 1.0, 0.1)["ppv"] is None
    assert fit_temperature(np.array([[5.0, 0.0], [0.0, 5.0]]), [0, 1]) == 1.0
