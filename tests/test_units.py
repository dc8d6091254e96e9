"""Scores of images -> decisions per unit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.app import Task, Unit
from core.base.tables import DECISIONS, NEGATIVE, POSITIVE
from core.errors import AppError, ManifestError
from core.evaluation.labelled_rows import judged_rows
from core.evaluation.units import combine, decisions_by_unit, decisions_of, left_out_of, text_of

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
    assert found["eye"]["unit_id"].tolist() == ["p1/L", "p2/L", "p3/L", "2", "3"]
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


def scores_of_eye(task: Task, rule: Any, *rows: list[float]) -> list[float]:
    """The scores of an eye from those of its images."""
    unit = Unit(name="eye", columns=("eye",), rule=rule)
    owner = np.zeros(len(rows), dtype=int)
    return list(combine(np.array(rows), owner, 1, unit=unit, task=task)[0])


def test_noisy_or_of_classes_shares_the_chance_of_a_positive_one_as_the_mean_does() -> None:
    task = replace(KINDS, positive=("b", "c"))
    found = scores_of_eye(task, "noisy_or", [0.5, 0.3, 0.2], [0.8, 0.1, 0.1])
    # Present: 1 - .5 * .8 = .6; means .65, .2, .15.
    assert found == pytest.approx([0.4, 0.6 * 0.2 / 0.35, 0.6 * 0.15 / 0.35])
    task = replace(KINDS, positive=("c",))
    found = scores_of_eye(task, "noisy_or", [0.5, 0.3, 0.2], [0.8, 0.1, 0.1])
    assert found == pytest.approx([0.72 * 0.65 / 0.85, 0.72 * 0.2 / 0.85, 0.28])
    assert scores_of_eye(task, "noisy_or", [1.0, 0.0, 0.0]) == [1.0, 0.0, 0.0]
    assert scores_of_eye(task, "noisy_or", [0.0, 0.0, 1.0]) == [0.0, 0.0, 1.0]


def test_noisy_or_of_several_labels_is_that_of_each() -> None:
    assert scores_of_eye(LABELS, "noisy_or", [0.2, 0.9], [0.5, 0.0]) == pytest.approx([0.6, 0.9])


EYE_BY_MAX = Unit(name="eye", columns=("eye",), rule="max")


def test_the_worst_of_classes_has_the_highest_positive_score_or_is_the_surest() -> None:
    rows = [0.1, 0.5, 0.4], [0.0, 0.9, 0.1], [0.3, 0.1, 0.6]
    assert scores_of_eye(replace(KINDS, positive=("a", "c")), "max", *rows) == [0.3, 0.1, 0.6]
    assert scores_of_eye(KINDS, "max", *rows) == [0.0, 0.9, 0.1]
    two = combine(np.array(rows), np.array([0, 0, 1]), 2, unit=EYE_BY_MAX, task=KINDS)
    assert two.tolist() == [rows[1], rows[2]]
    # Of equals the first.
    assert scores_of_eye(KINDS, "max", [0.2, 0.8, 0.0], [0.8, 0.2, 0.0]) == [0.2, 0.8, 0.0]


@pytest.mark.parametrize("rule", ["mean", "max", "noisy_or"])
@pytest.mark.parametrize("task", [BINARY, LABELS, replace(KINDS, positive=("c",))])
def test_units_between_others_stay_without_scores_where_they_have_none(
    task: Task, rule: Any
) -> None:
    one, two, none = ([0.3, 0.7], [0.8, 0.2], [np.nan, np.nan])
    if task.kind == "multiclass":
        one, two, none = ([0.1, 0.2, 0.7], [0.5, 0.3, 0.2], [np.nan] * 3)
    unit = Unit(name="eye", columns=("eye",), rule=rule)
    # Units 1 and 3 have no row with a score, 4 no row at all.
    rows, owner = np.array([two, none, one, none]), np.array([2, 1, 0, 3])
    found = combine(rows, owner, 5, unit=unit, task=task)
    np.testing.assert_allclose(found, [one, none, two, none, none])
    none_at_all = combine(np.array([none]), np.array([0]), 1, unit=unit, task=task)
    assert np.isnan(none_at_all).all()


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
    found, notes = labels(replace(KINDS, truths={"zone": "most"}), ZONES)
    assert found == ["c", "b"]
    assert "left out" not in notes[0]
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
    eye = decisions_of(EYES, task=BINARY, units=STEPS, threshold=0.3)["eye"].set_index("unit_id")
    assert eye.loc["p3/L", ["predicted", "decision"]].tolist() == ["no", "yes"]


def test_labels_read_as_numbers_are_still_names() -> None:
    rows = table(GRADES, [("1", 0, [0.5, 0.3, 0.2]), ("2", None, [0.5, 0.3, 0.2])], "")
    assert decisions_of(rows, task=GRADES)["image"]["label"].tolist() == ["0", ""]


def test_numbers_become_text_without_a_point_unless_they_have_decimals() -> None:
    assert text_of(pd.Series([1.0, None, 2.0])).tolist() == ["1", "", "2"]
    assert text_of(pd.Series([1.5, None])).tolist() == ["1.5", ""]
    assert text_of(pd.Series([3, 4])).tolist() == ["3", "4"]


def test_only_rows_out_of_fold_were_left_out_by_a_fold() -> None:
    rows = pd.DataFrame({"fold": [0.0, 1.0, None], "split": ["out-of-fold", "test", "out-of-fold"]})
    assert left_out_of(rows).tolist() == ["0", "", ""]
    for column in ("fold", "split"):
        assert left_out_of(rows.drop(columns=column)).tolist() == ["", "", ""]


def test_rows_left_out_of_a_fold_are_decided_by_its_cuts() -> None:
    task = replace(GRADES, cuts=(0.9, 1.9), fold_cuts={"0": (0.1, 0.2), "1": (0.5, 1.9)})
    rows = table(task, [(str(i), "0", [0.4, 0.4, 0.2], f"e{i}") for i in range(4)], "eye")
    rows["split"] = ["out-of-fold", "out-of-fold", "test", "out-of-fold"]
    rows["fold"] = ["0", "1", "0", ""]
    tables = decisions_of(rows, task=task, units=[Unit(name="eye", columns=("eye",))])
    # The expected grade is 0.8.
    for level in tables.values():
        assert level["predicted"].tolist() == ["2", "1", "0", "0"]
        assert level["decision"].tolist() == ["2", "1", "0", "0"]


def test_each_case_is_decided_at_the_threshold_of_its_fold() -> None:
    rows = table(BINARY, [(str(i), "no", [0.6, 0.4], f"e{i}") for i in range(4)], "eye")
    rows["fold"] = ["0", "1", "2", "0"]
    at = {"0": 0.3, "1": 0.5, "": 0.4}
    found = decisions_of(rows, task=BINARY, threshold=at)["image"]
    # Without the column of folds all are decided at the threshold of all other rows.
    assert found["decision"].tolist() == ["yes"] * 4
    found, _ = decisions_by_unit(
        rows, task=BINARY, units=STEPS[:0], threshold=at | {"": 0.5}, keep=["fold"]
    )
    assert found["image"]["decision"].tolist() == ["yes", "no", "no", "yes"]
    assert found["image"]["predicted"].tolist() == ["no"] * 4


def test_a_threshold_of_more_classes_than_two_says_on_which_side_a_case_lies() -> None:
    rows = table(
        GRADES, [("1", "2", [0.1, 0.2, 0.7]), ("2", "0", [0.8, 0.1, 0.1]), ("3", "0", None)], ""
    )
    found = decisions_of(rows, task=GRADES, threshold=0.5)["image"]
    assert found["decision"].tolist() == [POSITIVE, NEGATIVE, ""]
    assert found["predicted"].tolist() == ["2", "0", ""]
    found = decisions_of(rows, task=GRADES)["image"]
    assert found["decision"].tolist() == ["2", "0", ""]
    labels = table(LABELS, [("1", "", [0.2, 0.9]), ("2", "", [0.2, 0.1])], "")
    assert decisions_of(labels, task=LABELS, threshold=0.5)["image"]["decision"].tolist() == [
        "rust",
        "",
    ]


def test_a_unit_without_columns_is_said_of_its_image_where_each_group_has_one() -> None:
    eye = Unit(name="eye", columns=("side",))
    alone = table(BINARY, [("1", "no", [0.9, 0.1], "a"), ("2", "no", [0.9, 0.1], "b")], "group")
    found, notes = decisions_by_unit(alone, task=BINARY, units=[eye, STEPS[1]])
    assert (list(found), notes) == (["image"], [])
    for groups in (["a", "a"], ["a", ""], ["", ""]):
        found, notes = decisions_by_unit(alone.assign(group=groups), task=BINARY, units=[eye])
        assert notes == ["No result per eye: the data have no column side."]
    for groups in (["a", "a"], ["a", "b"]):
        patient = alone.assign(group=groups, patient=["p", "p"])
        found, _ = decisions_by_unit(patient, task=BINARY, units=[eye, STEPS[1]])
        assert list(found) == ["image", "patient"]


def test_a_table_of_scores_alone_is_decided() -> None:
    found = decisions_of(EYES.drop(columns=["label", "group"]), task=BINARY, units=STEPS)
    for level in found.values():
        assert set(level["label"]) == set(level["group"]) == {""}
    assert found["image"]["decision"].tolist() == ["no", "yes", "yes", "", "no", ""]
    none = decisions_of(EYES.assign(status="failed"), task=BINARY, units=STEPS)
    for level in none.values():
        assert set(level["decision"]) == {""}
        assert level["score_yes"].isna().all()


def test_a_unit_has_the_group_of_its_first_image() -> None:
    rows = EYES.assign(group=["g1", "g2", "g3", "", "g5", "g5"])
    found, _ = decisions_by_unit(rows, task=BINARY, units=STEPS, keep=["group", "patient"])
    assert found["patient"]["group"].tolist() == ["g1", "", "g5"]
    assert found["eye"]["group"].tolist() == ["g1", "g2", "", "g5"]
    assert found["patient"]["patient"].tolist() == ["p1", "p2", "p3"]


def test_images_count_at_their_own_level() -> None:
    image = decisions_of(EYES, task=BINARY)["image"]
    assert image["unit_id"].tolist() == list("123456")
    assert image["n_images"].tolist() == [1, 1, 1, 0, 1, 0]
    assert image["n_failed"].tolist() == [0, 0, 0, 1, 0, 1]
    assert image["score_no"].tolist()[:3] == [0.9, 0.1, 0.3]


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
