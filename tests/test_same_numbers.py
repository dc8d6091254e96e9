"""Ids that file names tell: kept apart by folder where two people may share one."""

from __future__ import annotations

import pytest

from core.data.same_numbers import apart_by_folder


@pytest.mark.parametrize(
    "paths",
    [
        ("7_left.png", "7_right.png"),
        ("clinicA/7_left.png", "clinicA/7_right.png"),
        ("left/7_left.png", "right/7_right.png"),
        ("Left eyes/7_left.png", "OD/7_right.png"),
        ("7/2020/7_left.png", "7/2021/7_right.png"),
        ("visit 1/7_left.png", "visit_2/7_right.png"),
        ("No_DR/7_left.png", "mild/7_right.png"),
    ],
)
def test_folders_of_one_person_are_joined(paths: tuple[str, str]) -> None:
    same = ("no dr", "mild")
    assert apart_by_folder(["7", "7"], paths, what="patient", same=same) == (["7", "7"], "")


def test_a_number_in_two_folders_is_two_people_and_says_so() -> None:
    paths = ["A/7_left.png", "B/left/7_right.png", "B/7/7_left.png", "A/8_left.png", "x/y.png"]
    ids, note = apart_by_folder(["7", "7", "7", "8", ""], paths, what="patient")
    assert ids == ["A/7", "B/7", "B/7", "8", ""]
    assert "1 patient is named" in note
    assert "A/7 and B/7" in note
    assert "a table with the columns path and patient" in note
    # What something surer than a name tells is left to it.
    assert apart_by_folder(["7", ""], ["A/7_left.png", "B/7_right.png"], what="patient")[1] == ""
