"""What the app adds to a report."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from apps.retinopathy import APP
from apps.retinopathy.index import UNGRADABLE
from apps.retinopathy.report import cameras, referral_words, screening, ungradable, worst_errors
from core.app import ReportContext, Task
from core.blocks import Figure, Fold, Pictures, Table, Text
from core.evaluation.units import decisions_of

if TYPE_CHECKING:
    from collections.abc import Callable

    Predicted = Callable[..., pd.DataFrame]

BAD = "ungradable: focus: hardly a vessel can be followed"


def context(table: pd.DataFrame, **evaluation: Any) -> ReportContext:
    """A report context of these predictions."""
    table = table.assign(split="test")
    return ReportContext(
        app=APP,
        task=APP.task(),
        evaluation=evaluation,
        predictions=table,
        decisions=decisions_of(table, task=APP.task(), units=APP.units),
        manifest=pd.DataFrame(),
        picture=lambda _: np.full((64, 64, 3), 90, np.uint8),
    )


# Of patients 1 and 2, who are referable, one is called; of 3 and 4 one; 5 cannot be judged.
FIVE = (
    ("a", "1", "left", 2, "2", ""),
    ("b", "2", "left", 0, "3", ""),
    ("c", "3", "left", 0, "0", ""),
    ("d", "4", "left", 2, "0", ""),
    ("e", "5", "left", 4, "4", BAD),
)


def plain(cell: str) -> str:
    """A cell with ordinary spaces."""
    return cell.replace("\N{NO-BREAK SPACE}", " ")


def test_the_screening_table_counts_ungradable_patients_both_ways(predicted: Predicted) -> None:
    # Gradable: 1 of 2 referable found, 2 of 2 others passed. With the ungradable ones, who
    # are all referred: 2 of 3 and 2 of 3.
    table = predicted(
        ("a", "1", "left", 2, "2", ""),
        ("b", "2", "left", 0, "3", ""),
        ("c", "3", "left", 0, "0", ""),
        ("d", "4", "left", 1, "0", ""),
        ("e", "5", "left", 0, "4", BAD),
        ("f", "6", "left", 0, "0", BAD),
    )
    blocks = screening(context(table))
    assert isinstance(blocks[0], Table)
    assert "2 patients with an ungradable eye are counted as referred" in blocks[0].note
    folded = blocks[-1]
    assert isinstance(folded, Fold)
    (apart,) = folded.blocks
    assert isinstance(apart, Table)
    frame = pd.concat([apart.frame, blocks[0].frame], ignore_index=True)
    assert plain(frame["Sensitivity"][0]).startswith("50.0 %")
    assert plain(frame["Sensitivity"][1]).startswith("66.7 %")
    assert plain(frame["Specificity"][0]).startswith("100.0 %")
    assert plain(frame["Specificity"][1]).startswith("66.7 %")
    # Prevalence 0.5: 500 referable, of whom a third is missed; 500 others, a third referred.
    assert frame["Missed of 1,000"][1] == "167"
    assert frame["Referred of 1,000"][1] == "500"
    words = blocks[-2]
    assert isinstance(words, Text)
    assert "1 mild (0 eyes)" in words.text
    assert words.tone == "warning"


def test_photographs_that_graders_refused_refer_their_patient(predicted: Predicted) -> None:
    table = predicted(
        ("a", "1", "left", 2, "2", ""),
        ("b", "2", "left", 0, "0", ""),
        ("c", "3", "left", 0, "0", ""),
    )
    # The right eye of patient 3 has a photograph without a grade; patient 9 is of another split.
    refused = pd.DataFrame(
        [("d", "3", "right"), ("e", "9", "left")], columns=["image_id", "patient", "eye"]
    ).assign(group=["3", "9"], label="", status="skipped", reason=UNGRADABLE, path="", split="")
    shown = replace(context(table), manifest=refused)
    block = screening(shown)[0]
    assert isinstance(block, Table)
    assert list(block.frame["Patients"]) == ["3"]
    assert [plain(cell)[:7] for cell in block.frame["Specificity"]] == ["50.0 % "]
    counted = ungradable(shown)[0]
    assert isinstance(counted, Table)
    assert list(counted.frame["Why"]) == ["ungradable: its grader said so"]
    assert list(counted.frame["Photographs"]) == ["1"]


def test_a_stated_prevalence_and_operating_points_are_used(predicted: Predicted) -> None:
    table = predicted(("a", "1", "left", 2, "2", ""), ("b", "2", "left", 0, "0", ""))
    point = {"name": "high sensitivity", "threshold": 0.1}
    block = screening(context(table, prevalence=0.1, operating_points=[point]))[0]
    assert isinstance(block, Table)
    assert list(block.frame["Decided by"]) == ["the predicted grade", "high sensitivity"]
    # At 0.1 everybody is referred: 0.15 of the second patient's score is referable.
    assert plain(block.frame["Specificity"][1]).startswith("0.0 %")
    assert list(block.frame["Referred of 1,000"]) == ["100", "1,000"]
    assert "10.0 %" in plain(block.note)


def test_operating_points_are_drawn_with_their_intervals(predicted: Predicted) -> None:
    table = predicted(*FIVE)
    point = {"name": "high sensitivity", "threshold": 0.5}
    figure = screening(context(table, operating_points=[point]))[1]
    assert isinstance(figure, Figure)
    assert "4 gradable patients" in plain(figure.note)
    assert figure.data is not None
    # One of two referable patients is called, and one of two others.
    assert list(figure.data.iloc[-1]) == ["high sensitivity", 0.5, 0.5]
    assert "high sensitivity" in figure.svg


def test_the_first_screen_counts_patients_as_the_table_of_referral_does(
    predicted: Predicted,
) -> None:
    table = predicted(*FIVE)
    point = {"name": "high sensitivity", "threshold": 0.1, "sensitivity": {"value": 1.0}}
    # Patients 1 and 4 are called, 5 cannot be judged; of 1, 2 and 5 the second is missed.
    told = (
        "3 of 5 would be referred (600 of 1,000), 1 of them for an eye that the quality gate calls "
        "ungradable. Of 3 "
        "referable patients 1 is missed (sensitivity 66.7 % ("
    )
    # A threshold that is not in use refers nobody.
    shown = context(table, operating_points=[point])
    assert plain(referral_words(shown)).startswith(
        f"By patient (the worse eye) and by the predicted grade, {told}"
    )
    block = screening(shown)[0]
    assert isinstance(block, Table)
    assert list(block.frame.iloc[0][["Referred of 1,000", "Missed of 1,000"]]) == ["600", "200"]
    used = context(table, operating_points=[{**point, "active": True}])
    assert "at the operating point in use, 5 of 5 would be referred" in plain(referral_words(used))
    assert list(block.frame.iloc[1][["Referred of 1,000", "Missed of 1,000"]]) == ["1,000", "0"]


def test_grave_eyes_below_referable_are_told(predicted: Predicted) -> None:
    # Of four severe or proliferative eyes one is found, one is graded mild and two none.
    counts = np.zeros((5, 5), dtype=int)
    counts[3, [0, 2]], counts[4, [0, 1]] = 1, 1
    matrix = {"image": {"classes": ["0", "1", "2", "3", "4"], "counts": counts.tolist()}}
    said = plain(referral_words(context(predicted(*FIVE), confusion=matrix)))
    assert said.endswith(
        "Of 4 images with severe or proliferative disease, 3 are graded below referable, 2 of "
        "them as none."
    )


def test_ungradable_photographs_are_counted_by_reason(predicted: Predicted) -> None:
    table = predicted(
        ("a", "1", "left", 2, "2", BAD),
        ("b", "2", "left", 0, "0", BAD),
        ("c", "3", "left", 0, "0", "not a fundus photograph: it has no colour"),
        ("d", "4", "left", None, "0", ""),
        ("e", "5", "left", 0, "0", ""),
    ).assign(disc_rule=["circle", "cut", "frame", None, "circle"])
    first, note = ungradable(context(table))
    assert isinstance(first, Table)
    assert list(first.frame["Why"]) == [
        "ungradable: focus",
        "not a fundus photograph",
        "not read, or left out",
    ]
    assert list(first.frame["Photographs"]) == ["2", "1", "1"]
    assert first.frame["Labelled referable"][0] == "1"
    assert isinstance(note, Text)
    assert "1 photograph no round edge" in note.text


def test_cameras_are_compared_where_there_are_several(predicted: Predicted) -> None:
    table = predicted(
        ("a", "1", "left", 2, "2", ""),
        ("b", "1", "right", 0, "0", ""),
        ("c", "2", "left", 0, "0", BAD),
        ("d", "3", "left", 0, "1", ""),
    )
    assert cameras(context(table.assign(camera="north"))) == []
    block = cameras(context(table.assign(camera=["north", "north", "south", "south"])))[0]
    assert isinstance(block, Table)
    assert list(block.frame["Camera"]) == ["north", "south"]
    assert plain(block.frame["Ungradable"][1]).startswith("50.0 %")
    assert plain(block.frame["Grade right"][0]).startswith("100.0 %")
    assert block.frame["Referable found"][1] == "none"


def test_the_worst_errors_are_shown_the_farthest_first(predicted: Predicted) -> None:
    table = predicted(
        ("a", "1", "left", 2, "0", ""),
        ("b", "2", "left", 0, "4", BAD),
        ("c", "3", "left", 1, "0", ""),
    )
    words, folded = worst_errors(context(table))
    assert isinstance(folded, Fold)
    (pictures,) = folded.blocks
    assert isinstance(words, Text)
    assert "2 of 3 photographs are two grades or more off, by the predicted grade" in words.text
    assert ": 1 too low, 1 too high" in words.text
    assert isinstance(pictures, Pictures)
    captions = [caption for _, caption in pictures.pictures]
    # The gradable one first, then the one that nobody would grade.
    assert captions[0].startswith("a: is 0 none, called 2 moderate")
    assert captions[1].startswith("b: is 4 proliferative, called 0 none; ungradable")
    assert len(captions) == 2


def test_sections_stay_away_from_tasks_they_do_not_know(predicted: Predicted) -> None:
    table = predicted(("a", "1", "left", 2, "2", "")).drop(columns="label")
    task = Task(name="multilabel", kind="multilabel", classes=APP.task().classes)
    other = replace(context(predicted(("a", "1", "left", 2, "2", ""))), task=task)
    assert screening(other) == cameras(other) == worst_errors(other) == []
    bare = replace(other, task=APP.task(), predictions=table)
    assert worst_errors(bare) == []
