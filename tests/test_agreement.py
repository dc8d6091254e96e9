"""Confusion matrices and what follows from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn import metrics as sk

from core.errors import MetricError
from core.statistics.agreement import (
    concordance,
    confusion_matrices,
    confusion_matrix,
    from_confusion,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

RNG = np.random.default_rng(0)
Y = RNG.integers(0, 5, 300)
DECIDED = np.clip(Y + RNG.integers(-2, 3, 300), 0, 4)
WEIGHT = RNG.integers(0, 4, 300)
KAPPAS = {"kappa": None, "linear_kappa": "linear", "quadratic_kappa": "quadratic"}


def numbers(
    y: ArrayLike, decided: ArrayLike, n_classes: int, weight: ArrayLike | None = None
) -> dict[str, Any]:
    """All that follows from the confusion matrix of these labels."""
    return from_confusion(confusion_matrix(y, decided, n_classes, weight=weight))


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_numbers_agree_with_sklearn(weight: np.ndarray | None) -> None:
    w = {"sample_weight": weight}
    found = numbers(Y, DECIDED, 5, weight)
    expected = {
        "accuracy": sk.accuracy_score(Y, DECIDED, **w),
        "balanced_accuracy": sk.balanced_accuracy_score(Y, DECIDED, **w),
        "macro_f1": sk.f1_score(Y, DECIDED, average="macro", **w),
        "matthews": sk.matthews_corrcoef(Y, DECIDED, **w),
        "mean_absolute_error": sk.mean_absolute_error(Y, DECIDED, **w),
        "off_by_two": np.average(np.abs(Y - DECIDED) >= 2, weights=weight),
        **{
            name: sk.cohen_kappa_score(Y, DECIDED, weights=weights, labels=range(5), **w)
            for name, weights in KAPPAS.items()
        },
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value), name


def test_labels_are_fixed_whether_or_not_they_occur() -> None:
    # Grades 2 and, among the decisions, 4 do not occur; inferred labels would give 0.857.
    found = numbers([0, 1, 4], [0, 1, 3], 5)["quadratic_kappa"]
    assert found == pytest.approx(0.926829, abs=1e-6)
    wrong = sk.cohen_kappa_score([0, 1, 4], [0, 1, 3], weights="quadratic")
    assert wrong == pytest.approx(0.857143, abs=1e-6)


def test_what_is_undefined_is_no_number() -> None:
    assert np.isnan(numbers([2, 2, 2], [2, 2, 2], 5)["quadratic_kappa"])
    assert np.isnan(numbers([0, 1], [1, 1], 2)["matthews"])
    assert all(np.isnan(numbers([], [], 3)[name]) for name in ("accuracy", "macro_f1", "kappa"))
    assert numbers([0], [1], 3)["kappa"] == 0.0


def test_an_index_that_is_no_class_is_refused() -> None:
    with pytest.raises(MetricError, match=r"1 of 2 class indices are not among 0 to 2 \(first: 3"):
        confusion_matrix([0, 3], [0, 0], 3)


def test_many_matrices_equal_one_at_a_time() -> None:
    weights = RNG.integers(0, 3, (10, 300)).astype(float)
    tables = confusion_matrices(Y, DECIDED, 5, weights)
    for table, weight in zip(tables, weights, strict=True):
        assert (table == confusion_matrix(Y, DECIDED, 5, weight=weight)).all()
    found = from_confusion(tables)
    assert found["macro_f1"].shape == (10,)
    assert found["recall"].shape == (10, 5)


def test_classes_that_neither_occur_nor_are_decided_stay_out_of_means() -> None:
    assert numbers([0, 1], [0, 1], 5)["macro_f1"] == 1.0
    assert numbers([0, 0, 1, 1], [0, 0, 1, 0], 5)["balanced_accuracy"] == 0.75
    # Class 2 is decided once and never true: its F1 is 0 and counts.
    assert numbers([0, 1], [0, 2], 5)["macro_f1"] == pytest.approx(1 / 3)


def test_undefined_numbers_of_a_class_are_left_open() -> None:
    found = numbers([0, 0], [0, 1], 3)
    assert found["precision"] == pytest.approx([1.0, 0.0, np.nan], nan_ok=True)
    assert found["recall"] == pytest.approx([0.5, np.nan, np.nan], nan_ok=True)
    assert found["f1"] == pytest.approx([2 / 3, 0.0, np.nan], nan_ok=True)
    assert found["support"].tolist() == [2.0, 0.0, 0.0]


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
