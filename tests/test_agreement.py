"""Confusion matrices and what follows from them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk
from statsmodels.stats.inter_rater import cohens_kappa

from core.errors import MetricError
from core.statistics.agreement import (
    accuracy,
    balanced_accuracy,
    cohen_kappa,
    concordance,
    confusion_matrices,
    confusion_matrix,
    from_confusion,
    kappa_interval,
    macro_f1,
    matthews,
    mean_absolute_error,
    off_by_two,
    per_class,
)

RNG = np.random.default_rng(0)
Y = RNG.integers(0, 5, 300)
DECIDED = np.clip(Y + RNG.integers(-2, 3, 300), 0, 4)
WEIGHT = RNG.integers(0, 4, 300)


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_numbers_agree_with_sklearn(weight: np.ndarray | None) -> None:
    w = {"sample_weight": weight}
    pairs = [
        (accuracy, sk.accuracy_score(Y, DECIDED, **w)),
        (balanced_accuracy, sk.balanced_accuracy_score(Y, DECIDED, **w)),
        (macro_f1, sk.f1_score(Y, DECIDED, average="macro", **w)),
        (matthews, sk.matthews_corrcoef(Y, DECIDED, **w)),
        (mean_absolute_error, sk.mean_absolute_error(Y, DECIDED, **w)),
        (off_by_two, np.average(np.abs(Y - DECIDED) >= 2, weights=weight)),
    ]
    for function, expected in pairs:
        assert function(Y, DECIDED, 5, weight=weight) == pytest.approx(expected)
    for name in (None, "linear", "quadratic"):
        expected = sk.cohen_kappa_score(Y, DECIDED, weights=name, labels=range(5), **w)
        found = cohen_kappa(Y, DECIDED, 5, weights=name, weight=weight)
        assert found == pytest.approx(expected)


def test_labels_are_fixed_whether_or_not_they_occur() -> None:
    # Grades 2 and, among the decisions, 4 do not occur; inferred labels would give 0.857.
    found = cohen_kappa([0, 1, 4], [0, 1, 3], 5, weights="quadratic")
    assert found == pytest.approx(0.926829, abs=1e-6)
    wrong = sk.cohen_kappa_score([0, 1, 4], [0, 1, 3], weights="quadratic")
    assert wrong == pytest.approx(0.857143, abs=1e-6)


def test_one_grade_alone_is_not_estimable() -> None:
    with pytest.raises(MetricError, match="one class"):
        cohen_kappa([2, 2, 2], [2, 2, 2], 5, weights="quadratic")
    with pytest.raises(MetricError, match="same for every case"):
        matthews([0, 1], [1, 1], 2)


@pytest.mark.parametrize("function", [accuracy, balanced_accuracy, macro_f1, off_by_two])
def test_no_case_is_not_estimable(function: object) -> None:
    with pytest.raises(MetricError, match="there is none"):
        function([], [], 3)  # type: ignore[operator]


def test_an_index_that_is_no_class_is_refused() -> None:
    with pytest.raises(MetricError, match=r"1 of 2 class indices are not among 0 to 2 \(first: 3"):
        confusion_matrix([0, 3], [0, 0], 3)


@pytest.mark.parametrize("weights", [None, "linear", "quadratic"])
def test_standard_error_of_kappa_agrees_with_statsmodels(weights: str | None) -> None:
    table = confusion_matrix(Y, DECIDED, 5)
    kappa, found = kappa_interval(table, weights)
    expected = cohens_kappa(table, wt=weights)
    assert kappa == pytest.approx(expected.kappa)
    assert found.se == pytest.approx(expected.std_kappa)


def test_perfect_agreement_withholds_the_interval() -> None:
    kappa, found = kappa_interval(np.diag([5, 5, 5]), "quadratic")
    assert kappa == 1.0
    assert found.low is None
    assert "agree perfectly" in found.reason


def test_many_matrices_equal_one_at_a_time() -> None:
    weights = RNG.integers(0, 3, (10, 300)).astype(float)
    tables = confusion_matrices(Y, DECIDED, 5, weights)
    for table, weight in zip(tables, weights, strict=True):
        assert (table == confusion_matrix(Y, DECIDED, 5, weight=weight)).all()
    numbers = from_confusion(tables)
    assert numbers["macro_f1"].shape == (10,)
    assert numbers["recall"].shape == (10, 5)


def test_classes_that_neither_occur_nor_are_decided_stay_out_of_means() -> None:
    assert macro_f1([0, 1], [0, 1], 5) == 1.0
    assert balanced_accuracy([0, 0, 1, 1], [0, 0, 1, 0], 5) == 0.75
    # Class 2 is decided once and never true: its F1 is 0 and counts.
    assert macro_f1([0, 1], [0, 2], 5) == pytest.approx(1 / 3)


def test_undefined_numbers_of_a_class_are_none() -> None:
    rows = per_class([0, 0], [0, 1], ["a", "b", "c"])
    assert rows[0] == {"class": "a", "precision": 1.0, "recall": 0.5, "f1": 2 / 3, "support": 2.0}
    assert rows[1]["recall"] is None
    assert rows[1]["precision"] == 0.0
    assert rows[2] == {
        "class": "c",
        "precision": None,
        "recall": None,
        "f1": None,
        "support": 0.0,
    }


def test_specificity_is_recall_of_the_rest() -> None:
    found = from_confusion(confusion_matrix([0, 0, 1, 1], [0, 1, 1, 1], 2))
    assert found["specificity"] == pytest.approx([1.0, 0.5])


def test_concordance_counts_shift_and_scale() -> None:
    a = RNG.normal(size=50)
    assert concordance(a, a) == pytest.approx(1.0)
    assert concordance(a, -a) == pytest.approx(-1.0 + 0.0, abs=0.1)
    # 2 s_ab / (s_a + s_b + (mean difference)^2) with n in the denominators.
    expected = 2 * a.var() / (2 * a.var() + 4)
    assert concordance(a, a + 2) == pytest.approx(expected)
    double = concordance(np.r_[a, a], np.r_[a, a] + 2)
    assert concordance(a, a + 2, weight=np.full(50, 2.0)) == pytest.approx(double)
    with pytest.raises(MetricError, match="at least two"):
        concordance([1.0], [1.0])
    with pytest.raises(MetricError, match="same constant"):
        concordance([1.0, 1.0], [1.0, 1.0])
