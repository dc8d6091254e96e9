"""Referral: what ungradable photographs do, units, urgency."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from apps.retinopathy import APP
from apps.retinopathy.metrics import METRICS
from apps.retinopathy.screening import URGENCY, referrals

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    Predicted = Callable[..., pd.DataFrame]

TASK = APP.task()
BAD = "ungradable: focus: hardly a vessel can be followed"


def patient(table: pd.DataFrame, name: str) -> pd.Series:
    """The row of a patient."""
    return table.set_index("patient").loc[name]


def test_the_worse_eye_decides(predicted: Predicted) -> None:
    found = referrals(
        predicted(("a", "7", "left", 0, "0", ""), ("b", "7", "right", 3, "3", "")), task=TASK
    )
    row = patient(found.patients, "7")
    assert (row["grade"], row["referred"], row["why"]) == ("3", True, "grade 3")
    # 0.05 for grade 2, 0.8 for grade 3, 0.05 for grade 4.
    assert row["score_referable"] == pytest.approx(0.9)
    assert row["score_vision_threatening"] == pytest.approx(0.85)
    assert row["label"] == "3"


def test_an_ungradable_eye_refers_a_patient_whose_other_eye_is_fine(predicted: Predicted) -> None:
    found = referrals(
        predicted(("a", "7", "left", 0, "0", BAD), ("b", "7", "right", 0, "0", "")), task=TASK
    )
    row = patient(found.patients, "7")
    assert row["referred"]
    assert not row["is_referable"]
    assert row["why"] == f"left eye: {BAD}"
    assert URGENCY[row["urgency"]] == "not gradable, to be examined"


def test_an_eye_with_one_gradable_photograph_is_graded_from_it(predicted: Predicted) -> None:
    # The ungradable photograph was scored as grade 4 and must not count.
    found = referrals(
        predicted(("a", "7", "left", 4, "0", BAD), ("b", "7", "left", 0, "0", "")), task=TASK
    )
    eye = found.eyes.iloc[0]
    assert (eye["grade"], eye["n_images"], eye["n_ungradable"]) == ("0", 2, 1)
    assert not patient(found.patients, "7")["referred"]


def test_a_failed_file_counts_as_ungradable(predicted: Predicted) -> None:
    found = referrals(predicted(("a", "7", "left", None, "0", "")), task=TASK)
    row = patient(found.patients, "7")
    assert row["referred"]
    assert row["grade"] == ""
    assert "cut short" in row["why"]


def test_the_list_is_ordered_by_urgency_then_score_then_quality(predicted: Predicted) -> None:
    table = predicted(
        ("a", "1", "left", 0, "0", ""),
        ("b", "2", "left", 4, "4", ""),
        ("c", "3", "left", 2, "2", BAD),
        ("d", "4", "left", 2, "2", ""),
        ("e", "5", "left", 3, "3", ""),
        ("f", "6", "left", 2, "2", ""),
        ("g", "6", "right", 0, "0", BAD),
        ("h", "8", "left", 2, "2", ""),
    )
    table.loc[table["image_id"] == "h", ["score_2", "score_4"]] = [0.55, 0.3]
    found = referrals(table, task=TASK)
    # Grade 4, 3, 2 (the highest score first, then with an ungradable eye), ungradable, the rest.
    assert list(found.patients["patient"]) == ["2", "5", "8", "6", "4", "3", "1"]


def test_without_patient_and_eye_each_photograph_stands_for_itself(predicted: Predicted) -> None:
    table = predicted(("a", "", "", 0, "0", ""), ("b", "", "", 4, "4", "")).drop(columns="eye")
    found = referrals(table, task=TASK)
    assert sorted(found.patients["patient"]) == ["a", "b"]
    assert len(found.eyes) == 2


def test_photographs_of_unknown_eyes_are_not_averaged(predicted: Predicted) -> None:
    found = referrals(predicted(("a", "7", "", 0, "0", ""), ("b", "7", "", 4, "4", "")), task=TASK)
    assert len(found.eyes) == 2
    assert patient(found.patients, "7")["grade"] == "4"


def near_the_threshold(predicted: Predicted) -> pd.DataFrame:
    """Two eyes: predicted none with .60, referable .30; predicted moderate, referable .55."""
    table = predicted(("a", "7", "left", 0, "0", ""), ("b", "8", "left", 2, "2", ""))
    scores = {"a": (0.60, 0.10, 0.20, 0.08, 0.02), "b": (0.25, 0.20, 0.50, 0.04, 0.01)}
    for image_id, values in scores.items():
        columns = [f"score_{grade}" for grade in "01234"]
        table.loc[table["image_id"] == image_id, columns] = values
    return table


def test_a_threshold_decides_and_leaves_the_grade_as_it_was(predicted: Predicted) -> None:
    table = near_the_threshold(predicted)
    for threshold, decided in (
        (None, ("0", "2")),
        (0.25, ("positive", "positive")),
        (0.7, ("negative", "negative")),
    ):
        found = referrals(table, task=TASK, threshold=threshold)
        for level in (found.images, found.eyes, found.patients):
            rows = level.set_index("patient")
            assert (rows.loc["7", "grade"], rows.loc["8", "grade"]) == ("0", "2")
            assert (rows.loc["7", "decision"], rows.loc["8", "decision"]) == decided
        assert patient(found.patients, "7")["referred"] == (decided[0] == "positive")
        assert patient(found.patients, "8")["referred"] == (decided[1] in {"positive", "2"})
    above = referrals(table, task=TASK, threshold=0.25)
    assert patient(above.patients, "7")["why"] == "grade 0 predicted, above the threshold"
    below = referrals(table, task=TASK, threshold=0.7)
    assert patient(below.patients, "8")["why"] == "grade 2 predicted, below the threshold"


def test_the_first_metric_is_the_quadratic_kappa_per_eye() -> None:
    assert (METRICS[0].name, METRICS[0].unit) == ("quadratic_kappa", "eye")
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    assert {"vision_threatening_auroc", "referable_sensitivity", "off_by_two"} <= set(names)
