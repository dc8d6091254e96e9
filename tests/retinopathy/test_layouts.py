"""Public sets of fundus photographs: what is particular to each."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from apps.retinopathy import APP
from core.app import Source
from core.data.recognition import index_with_cards
from core.errors import ManifestError
from tests.miniatures.retinopathy import aptos2019, ddr, eyepacs, odir5k
from tests.miniatures.sets import MINIATURES, labels, look_at, photo, table

REAL = Path(__file__).parents[3] / "shared" / "data" / "fundus_grades"
look = partial(look_at, APP)


def test_a_list_of_the_set_that_is_empty_is_refused(tmp_path: Path) -> None:
    ddr(tmp_path)
    table(tmp_path / "DR_grading" / "valid.txt", "")
    with pytest.raises(ManifestError, match=r"\+ an empty file"):
        look(tmp_path)


def test_groups_eyes_and_splits(tmp_path: Path) -> None:
    for name in ("eyepacs", "messidor2", "deepdrid", "retinamnist"):
        MINIATURES[name].write(tmp_path / name)
    assert look(tmp_path / "eyepacs").table["group"].nunique() == 4
    assert set(look(tmp_path / "eyepacs").table["eye"]) == {"left", "right"}
    found = look(tmp_path / "messidor2").table
    assert found.loc[found["status"] == "ok", "group"].nunique() == 4
    deep = look(tmp_path / "deepdrid")
    assert deep.table.groupby("patient")["split"].agg(set).to_dict() == {
        **{"1": {"train"}, "2": {"train"}, "265": {"val"}}
    }
    assert any("1 rows fill the column of the other eye" in note for note in deep.notes)
    assert labels(deep)["2_r2.jpg"] == "2"
    assert set(look(tmp_path / "retinamnist").table["split"]) == {"train", "val", "test"}


def test_the_later_labels_of_eyepacs_are_its_test_set(tmp_path: Path) -> None:
    eyepacs(tmp_path)
    assert set(look(tmp_path).table["split"]) == {""}
    table(
        tmp_path / "retinopathy_solution.csv",
        "image,level,Usage",
        "1_left,0,Public",
        "1_right,2,Private",
    )
    for eye in ("left", "right"):
        photo(tmp_path / "test" / f"1_{eye}.jpeg")
    found = look(tmp_path)
    splits = dict(zip(found.table["patient"], found.table["split"], strict=True))
    assert splits == {"1": "test", "10": "train", "13": "train", "15": "train", "16": "train"}


@pytest.mark.parametrize("first", ["Unnamed: 0.1", ""])
def test_the_copy_of_eyepacs_with_two_tables_is_read_once(tmp_path: Path, first: str) -> None:
    eyepacs(tmp_path)
    rows = (tmp_path / "trainLabels.csv").read_text().splitlines()[1:]
    more = [f"{i},{i},{row}" for i, row in enumerate(rows)]
    file = tmp_path / "trainLabels_cropped.csv"
    table(file, f"{first},Unnamed: 0,image,level", *more)
    found = look(tmp_path)
    # The row numbers that the copy adds are known: it is the set, and its terms travel.
    assert (len(labels(found)), found.cards) == (8, ("eyepacs",))
    more[3] = "3,3,13_right,4"
    table(file, "Unnamed: 0.1,Unnamed: 0,image,level", *more)
    with pytest.raises(ManifestError, match=r"differ in level \(the other in trainLabels\.csv\)"):
        look(tmp_path)


def test_the_copy_of_aptos_with_three_tables_gives_its_split(tmp_path: Path) -> None:
    for k, (name, n) in enumerate((("train_1", 6), ("valid", 3), ("test", 3))):
        ids = [f"{k}00c1434d8d{i}" for i in range(n)]
        rows = [f"{image},{i % 5}" for i, image in enumerate(ids)]
        table(tmp_path / f"{name}.csv", "id_code,diagnosis", *rows)
        for image in ids:
            photo(tmp_path / f"{name}_images" / f"{name}_images" / f"{image}.png")
    found = look(tmp_path)
    assert found.cards == ("aptos2019",)
    assert found.table["split"].value_counts().to_dict() == {"train": 6, "val": 3, "test": 3}
    # As Kaggle publishes it, the images to be graded have a list without grades.
    (tmp_path / "valid.csv").unlink()
    table(tmp_path / "test.csv", "id_code", *(f"200c1434d8d{i}" for i in range(3)))
    assert len(labels(look(tmp_path))) == 6


def test_odir_grades_come_from_the_words_of_each_eye(tmp_path: Path) -> None:
    odir5k(tmp_path)
    found = look(tmp_path)
    assert labels(found) == {
        **{"0_right.jpg": "0", "1_left.jpg": "0", "1_right.jpg": "0"},
        **{"2_left.jpg": "2", "2_right.jpg": "3"},
    }
    reasons = dict(zip(found.table["image_id"].str[-11:], found.table["reason"], strict=True))
    assert "disagree" in reasons["/3_left.jpg"]
    assert "anterior segment" in reasons["/4_left.jpg"]
    assert "diabetic retinopathy counts as none" in reasons["4_right.jpg"]
    assert any("for 1 of 5 patients" in note for note in found.notes)
    asked = look(tmp_path, options={"label-map": "diabetic retinopathy=2"})
    assert labels(asked)["4_right.jpg"] == "2"
    assert any("as asked" in note for note in asked.notes)


def test_a_split_that_somebody_added_does_not_change_whose_data_these_are(tmp_path: Path) -> None:
    eyepacs(tmp_path)
    rows = (tmp_path / "trainLabels.csv").read_text().splitlines()
    lines = [f"{row},{'test' if row.startswith('16') else 'train'}" for row in rows[1:]]
    table(tmp_path / "trainLabels.csv", f"{rows[0]},split", *lines)
    found = look(tmp_path)
    splits = found.table.groupby("patient")["split"].agg(set).to_dict()
    assert splits == {**{p: {"train"} for p in ("10", "13", "15")}, "16": {"test"}}
    assert len(labels(found)) == 8


def test_a_table_of_ones_own_in_the_same_layout_is_not_the_set(tmp_path: Path) -> None:
    eyepacs(tmp_path)
    (tmp_path / "trainLabels.csv").rename(tmp_path / "my_clinic.csv")
    found = look(tmp_path)
    assert (found.cards, len(labels(found))) == ((), 8)
    # Another column name there is no error: core reads the table.
    text = (tmp_path / "my_clinic.csv").read_text().replace("level", "grade", 1)
    (tmp_path / "my_clinic.csv").write_text(text)
    assert len(labels(look(tmp_path))) == 8


def test_a_group_of_ones_own_does_not_change_whose_data_these_are(tmp_path: Path) -> None:
    eyepacs(tmp_path)
    assert look(tmp_path, group="image_id").cards == ("eyepacs",)
    assert look(tmp_path, card="none").cards == ()


@pytest.mark.skipif(not REAL.is_dir(), reason="no real fundus photographs here")
def test_the_real_photographs() -> None:
    found = look(REAL)
    assert found.cards == ("eyepacs",)
    assert (len(found.table), found.table["group"].nunique()) == (878, 439)
    assert set(labels(found).values()) == set("01234")


def test_two_sets_side_by_side_are_a_question(tmp_path: Path) -> None:
    eyepacs(tmp_path / "first")
    aptos2019(tmp_path / "second")
    source = Source(paths=(tmp_path,), labelled=True, task=APP.task())
    with pytest.raises(ManifestError, match=r"two published sets, .*second/.*first"):
        index_with_cards(APP, source, None)
    for name, card in (("first", "eyepacs"), ("second", "aptos2019")):
        found, cards = index_with_cards(APP, replace(source, paths=(tmp_path / name,)), None)
        assert found.cards == (card,)
        assert len(cards) == 1
