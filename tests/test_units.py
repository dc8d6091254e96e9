"""Scores of images -> decisions per unit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.app import Task, Unit
from core.base.tables import DECISIONS
from core.errors import AppError, ManifestError
from core.evaluation.labelled_rows import judged_rows
from core.evaluation.units import decisions_by_unit, decisions_of

BINARY = Task(name="t", kind="binary", classes=("no", "yes"), positive=("yes",))
GRADES = Task(name="t", kind="ordinal", classes=("0", "1", "2"), positive=("1", "2"))
KINDS = Task(name="t", kind="multiclass", classes=("a", "b", "c"))
LABELS = Task(name="t", kind="multilabel", classes=("spot", "rust"))


def table(task: Task, rows: list[tuple[Any, ...]], columns: str) -> pd.DataFrame:
    """Predictions from (image_id, label, scores or None, further columns ...)."""
    names = columns.split()
    found = []
    for image_id, label, scores, *more in rows:
        row = {"image_id": image_id, "label": label, "status": "ok" if scores else "failed"}
        values = scores or [np.nan] * len(task.classes)
        row |= {f"score_{c}": s for c, s in zip(task.classes, values, strict=True)}
        row |= dict(zip(names, more, strict=True))
        found.append(row)
    return pd.DataFrame(found)


EYES = table(
    BINARY,
    [
        ("1", "no", [0.9, 0.1], "p1", "L"),
        ("2", "yes", [0.1, 0.9], "p1", "R"),
        ("3", "yes", [0.3, 0.7], "p1", "R"),
        ("4", "no", None, "p2", "L"),
        ("5", "no", [0.6, 0.4], "p3", "L"),
        ("6", "no", None, "p3", "L"),
    ],
    "patient side",
)
EYES["group"] = EYES["patient"]
STEPS = (
    Unit(name="eye", columns=("patient", "side"), rule="mean"),
    Unit(name="patient", columns=("patient",), rule="max"),
)


def test_each_step_takes_the_scores_of_the_step_below() -> None:
    found = decisions_of(EYES, task=BINARY, units=STEPS)
    eye = found["eye"].set_index("unit_id")
    assert eye.loc["p1/R", "score_yes"] == pytest.approx(0.8)
    patient = found["patient"].set_index("unit_id")
    # The worst eye, (0.9 + 0.7) / 2, not the worst image.
    assert patient.loc["p1", "score_yes"] == pytest.approx(0.8)
    assert patient.loc["p1", ["label", "decision", "group"]].tolist() == ["yes", "yes", "p1"]


def test_every_image_is_counted_at_every_level() -> None:
    for level in decisions_of(EYES, task=BINARY, units=STEPS).values():
        assert level["n_images"].sum() == 4
        assert level["n_failed"].sum() == 2


def test_a_unit_whose_every_image_failed_stays_without_scores() -> None:
    patient = decisions_of(EYES, task=BINARY, units=STEPS)["patient"].set_index("unit_id")
    assert patient.loc["p2", ["n_images", "n_failed", "decision", "label"]].tolist() == [
        0,
        1,
        "",
        "no",
    ]
    assert np.isnan(patient.loc["p2", "score_yes"])
    assert patient.loc["p3", ["n_images", "n_failed"]].tolist() == [1, 1]


def test_columns_follow_the_table_of_decisions() -> None:
    for name, level in decisions_of(EYES, task=BINARY, units=STEPS).items():
        assert [column.name for column in DECISIONS] == list(level.columns)[: len(DECISIONS)]
        assert set(level["unit"]) == {name}
        assert level["unit_id"].is_unique


def test_order_of_rows_changes_nothing() -> None:
    shuffled = EYES.sample(frac=1, random_state=1).reset_index(drop=True)
    for name, level in decisions_of(EYES, task=BINARY, units=STEPS).items():
        other = decisions_of(shuffled, task=BINARY, units=STEPS)[name]
        pd.testing.assert_frame_equal(level, other)


def test_a_step_without_its_columns_is_left_out_in_words() -> None:
    found, notes = decisions_by_unit(
        EYES, task=BINARY, units=[Unit(name="breast", columns=("study", "side")), STEPS[1]]
    )
    assert list(found) == ["image", "patient"]
    assert notes == ["No result per breast: the data have no column study."]


def test_images_that_name_no_unit_count_alone() -> None:
    rows = EYES.assign(side=["L", "", "", "L", "L", "L"])
    found, notes = decisions_by_unit(rows, task=BINARY, units=STEPS[:1])
    assert len(found["eye"]) == 5
    assert "2 of 6 images name no eye" in notes[0]


def test_a_lower_unit_that_spans_several_is_passed_over() -> None:
    rows = EYES.assign(tile="t", patient=["p1", "p2", "p1", "p1", "p1", "p1"])
    units = [Unit(name="tile", columns=("tile",)), Unit(name="patient", columns=("patient",))]
    found, notes = decisions_by_unit(rows, task=BINARY, units=units)
    patient = found["patient"].set_index("unit_id")
    assert patient.loc["p2", "score_yes"] == pytest.approx(0.9)
    assert "made from images" in notes[0]


def test_the_worst_image_counts_by_expected_grade() -> None:
    rows = table(
        GRADES,
        [("1", "0", [0.5, 0.0, 0.5], "e"), ("2", "2", [0.0, 0.9, 0.1], "e"), ("3", "1", None, "e")],
        "eye",
    )
    level = decisions_of(rows, task=GRADES, units=[Unit(name="eye", columns=("eye",), rule="max")])
    # Expected grades 1.0 and 1.1: the second row as a whole, not the maximum of each class.
    assert level["eye"][["score_0", "score_1", "score_2"]].to_numpy().tolist() == [[0.0, 0.9, 0.1]]
    assert level["eye"]["label"].tolist() == ["2"]


def test_noisy_or_of_grades_keeps_scores_a_distribution() -> None:
    rows = table(
        GRADES, [("1", "0", [0.5, 0.3, 0.2], "e"), ("2", "0", [0.8, 0.1, 0.1], "e")], "eye"
    )
    unit = Unit(name="eye", columns=("eye",), rule="noisy_or")
    scores = (
        decisions_of(rows, task=GRADES, units=[unit])["eye"].filter(like="score_").to_numpy()[0]
    )
    # P(y > 0) = 1 - .5 * .8 = .6; P(y > 1) = 1 - .8 * .9 = .28.
    assert scores == pytest.approx([0.4, 0.32, 0.28])


def test_noisy_or_of_a_certain_image_is_certain() -> None:
    rows = table(BINARY, [("1", "no", [0.0, 1.0], "e"), ("2", "no", [1.0, 0.0], "e")], "eye")
    unit = Unit(name="eye", columns=("eye",), rule="noisy_or")
    assert decisions_of(rows, task=BINARY, units=[unit])["eye"]["score_yes"].tolist() == [1.0]


def test_noisy_or_without_positive_classes_has_no_meaning() -> None:
    rows = table(KINDS, [("1", "a", [0.5, 0.3, 0.2], "e")], "eye")
    unit = Unit(name="eye", columns=("eye",), rule="noisy_or")
    with pytest.raises(AppError, match="rule mean"):
        decisions_of(rows, task=KINDS, units=[unit])


ZONES = table(
    KINDS,
    [
        ("1", "b", [0.5, 0.3, 0.2], "z"),
        ("2", "b", [0.5, 0.3, 0.2], "z"),
        ("3", "a", [0.5, 0.3, 0.2], "z"),
        ("4", "c", [0.5, 0.3, 0.2], "y"),
    ],
    "zone",
)


def test_a_field_of_several_classes_has_no_label_unless_a_rule_or_the_table_says_which() -> None:
    unit = Unit(name="zone", columns=("zone",))

    def labels(task: Task, rows: pd.DataFrame) -> tuple[list[str], list[str]]:
        found, notes = decisions_by_unit(rows, task=task, units=[unit])
        return found["zone"].set_index("unit_id").loc[["y", "z"], "label"].tolist(), notes

    found, notes = labels(KINDS, ZONES)
    assert found == ["c", ""]
    assert "1 of 2 zones hold images of different classes" in notes[0]
    assert notes[0].endswith("1 are left out.")
    assert labels(replace(KINDS, truths={"zone": "most"}), ZONES)[0] == ["c", "b"]
    assert labels(replace(KINDS, truths={"": "worst"}), ZONES)[0] == ["c", "b"]
    stated = ZONES.assign(zone_label=["a", "a", "a", "c"])
    assert labels(KINDS, stated)[0] == ["c", "a"]


def test_a_woman_with_one_malignant_breast_has_cancer_and_the_worse_eye_is_the_patients() -> None:
    from apps.mammography import APP as MAMMOGRAPHY  # noqa: PLC0415
    from apps.retinopathy import APP as RETINOPATHY  # noqa: PLC0415

    task = MAMMOGRAPHY.task("pathology")
    # Three normal pictures outvote one malignant: the label of most would make her healthy.
    names = ["normal", "normal", "normal", "malignant"]
    rows = table(
        task,
        [(str(i), name, [0.8, 0.1, 0.1], "w", "LLRR"[i]) for i, name in enumerate(names)],
        "exam laterality",
    )
    found, notes = decisions_by_unit(rows, task=task, units=MAMMOGRAPHY.units)
    assert found["breast"].set_index("unit_id")["label"].to_dict() == {
        "w/L": "normal",
        "w/R": "malignant",
    }
    assert found["exam"]["label"].tolist() == ["malignant"]
    assert any("worst finding of its images" in note for note in notes)
    grades = RETINOPATHY.task()
    rows = table(
        grades,
        [("1", "0", [1, 0, 0, 0, 0], "p", "L"), ("2", "3", [1, 0, 0, 0, 0], "p", "R")],
        "patient eye",
    )
    found, _ = decisions_by_unit(rows, task=grades, units=RETINOPATHY.units)
    assert found["patient"]["label"].tolist() == ["3"]


def test_an_unknown_label_of_several_is_not_none_of_them() -> None:
    rows = table(
        LABELS,
        [
            ("1", "", [0.2, 0.9], "p"),
            ("2", "|", [0.7, 0.1], "q"),
            ("3", "|", [0.7, 0.1], "r"),
            ("4", "", [0.7, 0.1], "r"),
            ("5", "rust", [0.7, 0.1], "r2"),
        ],
        "plant",
    )
    unit = Unit(name="plant", columns=("plant",))
    tables = decisions_of(rows, task=LABELS, units=[unit])
    assert judged_rows(tables["image"], LABELS)["unit_id"].tolist() == ["2", "3", "5"]
    plants = tables["plant"].set_index("unit_id")["label"].to_dict()
    assert plants == {"p": "", "q": "|", "r": "", "r2": "rust"}


def test_twenty_of_sixty_unknown_labels_of_several_are_not_judged() -> None:
    labels = ["", "|", "rust"] * 20
    given = [(str(i), label, [0.2, 0.9], f"p{i}") for i, label in enumerate(labels)]
    unit = Unit(name="plant", columns=("plant",))
    tables = decisions_of(table(LABELS, given, "plant"), task=LABELS, units=[unit])
    for name in ("image", "plant"):
        judged = judged_rows(tables[name], LABELS)
        assert len(judged) == 40
        # None of the labels is as good a truth as one of them.
        assert (judged["label"] == "|").sum() == 20


def test_labels_of_a_multilabel_unit_are_their_union() -> None:
    rows = table(
        LABELS,
        [
            ("1", "rust", [0.2, 0.9], "p"),
            ("2", "spot", [0.7, 0.1], "p"),
            ("3", "", [0.1, 0.2], "q"),
        ],
        "plant",
    )
    unit = Unit(name="plant", columns=("plant",), rule="max")
    plant = decisions_of(rows, task=LABELS, units=[unit])["plant"].set_index("unit_id")
    assert plant.loc["p", ["label", "decision"]].tolist() == ["spot|rust", "spot|rust"]
    assert plant.loc["p", ["score_spot", "score_rust"]].tolist() == [0.7, 0.9]
    assert plant.loc["q", "decision"] == ""


def test_a_threshold_decides_but_does_not_predict() -> None:
    level = decisions_of(EYES, task=BINARY, threshold=0.3)["image"].set_index("unit_id")
    assert level.loc["5", ["predicted", "decision"]].tolist() == ["no", "yes"]


def test_labels_read_as_numbers_are_still_names() -> None:
    rows = table(GRADES, [("1", 0, [0.5, 0.3, 0.2]), ("2", None, [0.5, 0.3, 0.2])], "")
    assert decisions_of(rows, task=GRADES)["image"]["label"].tolist() == ["0", ""]


def test_subgroup_columns_stay_where_a_unit_agrees_on_them() -> None:
    rows = EYES.assign(camera=["a", "a", "b", "a", "b", "b"])
    found, _ = decisions_by_unit(rows, task=BINARY, units=STEPS, keep=["camera"])
    assert found["patient"]["camera"].tolist() == ["", "a", "b"]


def test_a_table_without_scores_or_with_repeated_ids_is_refused() -> None:
    with pytest.raises(ManifestError, match="score_yes"):
        decisions_of(EYES.drop(columns="score_yes"), task=BINARY)
    twice = pd.concat([EYES, EYES.iloc[:1]])
    with pytest.raises(ManifestError, match="first: '1'"):
        decisions_of(twice, task=BINARY)
