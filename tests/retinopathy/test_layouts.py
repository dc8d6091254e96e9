"""Public sets of fundus photographs: a miniature of each, in exactly the published tree."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from apps.retinopathy import APP
from core.app import Source
from core.base.tables import check_manifest, check_splits
from core.cards.card import all_cards
from core.data.recognition import index_with_cards
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.app import Manifest

REAL = Path(__file__).parents[3] / "shared" / "data" / "fundus_grades"


def photo(path: Path) -> None:
    """A tiny picture; the index only looks at names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (120, 60, 30)).save(path)


def table(file: Path, *lines: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def eyepacs(root: Path) -> None:
    grades = {10: (0, 0), 13: (0, 2), 15: (1, 2), 16: (4, 4)}
    rows = [
        f"{p}_{e},{g}"
        for p, both in grades.items()
        for e, g in zip(("left", "right"), both, strict=True)
    ]
    table(root / "trainLabels.csv", "image,level", *rows)
    for row in rows:
        photo(root / "train" / f"{row.split(',')[0]}.jpeg")


def aptos2019(root: Path) -> None:
    names = [f"000c1434d8d{i}" for i in range(8)]
    table(root / "train.csv", "id_code,diagnosis", *(f"{n},{i % 5}" for i, n in enumerate(names)))
    for name in names:
        photo(root / "train_images" / f"{name}.png")
    photo(root / "test_images" / "0005cfc8afb6.png")


def messidor2(root: Path) -> None:
    names = [f"2006012{i}_{i}_PP.png" if i % 2 else f"IM00472{i}.JPG" for i in range(8)]
    rows = [
        f"{name},{'' if i == 7 else float(i % 4)},0.0,{int(i != 7)}" for i, name in enumerate(names)
    ]
    heading = "image_id,adjudicated_dr_grade,adjudicated_dme,adjudicated_gradable"
    table(root / "messidor_data.csv", heading, *rows)
    pairs = [f"{names[i]};{names[i + 1]}" for i in range(0, 8, 2)]
    table(root / "messidor-2.csv", "left;right", *pairs)
    for name in names:
        photo(root / "IMAGES" / name)


def idrid(root: Path) -> None:
    parts = (("a. Training Set", "a. IDRiD_Disease Grading_Training", 5),)
    parts += (("b. Testing Set", "b. IDRiD_Disease Grading_Testing", 3),)
    for images, name, n in parts:
        rows = [f"IDRiD_{i:03d},{i % 5},{i % 3},,," for i in range(1, n + 1)]
        heading = "Image name,Retinopathy grade,Risk of macular edema ,,,"
        table(root / "2. Groundtruths" / f"{name} Labels.csv", heading, *rows)
        for row in rows:
            photo(root / "1. Original Images" / images / f"{row.split(',')[0]}.jpg")


def ddr(root: Path) -> None:
    lines = {
        "train": ["007-0004-000.jpg 0", "007-0007-001.jpg 2", "007-0010-002.jpg 5", "007-1.jpg 4"],
        "valid": ["007-2.jpg 1", "007-3.jpg 0"],
        "test": ["007-4.jpg 3", "007-5.jpg 0"],
    }
    for split, rows in lines.items():
        table(root / "DR_grading" / f"{split}.txt", *rows)
        for row in rows:
            photo(root / "DR_grading" / split / row.split(" ")[0])


def deepdrid(root: Path) -> None:
    heading = (
        "patient_id,image_id,image_path,Overall quality,left_eye_DR_Level,right_eye_DR_Level,"
        "patient_DR_Level,Clarity,Field definition,Artifact"
    )
    for split, patients in (("training", (1, 2)), ("validation", (265,))):
        folder = root / "regular_fundus_images" / f"regular-fundus-{split}"
        rows = []
        for patient in patients:
            for name, left, right in (("l1", 0, ""), ("l2", 0, ""), ("r1", "", 2), ("r2", "", 2)):
                # One row of the published table fills the other eye's column.
                cells = (right, left) if (patient, name) == (2, "r2") else (left, right)
                photo(folder / "Images" / str(patient) / f"{patient}_{name}.jpg")
                path = f"\\regular-fundus-{split}\\{patient}\\{patient}_{name}.jpg"
                rows.append(f"{patient},{patient}_{name},{path},1,{cells[0]},{cells[1]},2,8,8,1")
        table(folder / f"regular-fundus-{split}.csv", heading, *rows)


def odir5k(root: Path) -> None:
    rows = [
        (0, "cataract", "normal fundus", "0,0,0,1,0,0,0,0"),
        (1, "normal fundus", "normal fundus", "1,0,0,0,0,0,0,0"),
        (
            2,
            "lens dust\uff0cmoderate non proliferative retinopathy",
            "severe nonproliferative retinopathy\uff0chypertensive retinopathy",
            "0,1,0,0,0,1,0,0",
        ),
        (3, "normal fundus", "mild nonproliferative retinopathy", "1,0,0,0,0,0,0,0"),
        (4, "anterior segment image", "diabetic retinopathy", "0,1,0,0,0,0,0,0"),
    ]
    heading = (
        "ID,Patient Age,Patient Sex,Left-Fundus,Right-Fundus,Left-Diagnostic Keywords,"
        "Right-Diagnostic Keywords,N,D,G,C,A,H,M,O"
    )
    lines = [f"{i},{60 + i},Female,{i}_left.jpg,{i}_right.jpg,{a},{b},{c}" for i, a, b, c in rows]
    table(root / "full_df.csv", heading, *lines)
    for i, *_ in rows:
        photo(root / "ODIR-5K_Training_Dataset" / f"{i}_left.jpg")
        photo(root / "ODIR-5K_Training_Dataset" / f"{i}_right.jpg")


def retinamnist(root: Path) -> None:
    lines = []
    for split, word, n in (("train", "TRAIN", 5), ("val", "VALIDATION", 2), ("test", "TEST", 2)):
        for i in range(n):
            name = f"{split}{i}_{i % 5}.png"
            photo(root / "retinamnist" / name)
            lines.append(f"{word},{name},{i % 5}")
    table(root / "retinamnist.csv", *lines)


MINIATURES: dict[str, Callable[[Path], None]] = {
    write.__name__: write
    for write in (eyepacs, aptos2019, messidor2, idrid, ddr, deepdrid, odir5k, retinamnist)
}
GROUNDS = "2. Groundtruths/a. IDRiD_Disease Grading_Training Labels.csv"
TRAINING = "regular_fundus_images/regular-fundus-training/regular-fundus-training.csv"
RENAMED = {
    "eyepacs": ("trainLabels.csv", "level", "dr_level"),
    "aptos2019": ("train.csv", "diagnosis", "label_of_dr"),
    "messidor2": ("messidor_data.csv", "adjudicated_dr_grade", "dr_grade"),
    "idrid": (GROUNDS, "Retinopathy grade", "DR grade"),
    "ddr": ("DR_grading/train.txt", "007-0004-000.jpg 0", "007-0004-000.jpg,none"),
    "deepdrid": (TRAINING, "left_eye_DR_Level", "left_DR"),
    "odir5k": ("full_df.csv", "Left-Diagnostic Keywords", "Left words"),
    "retinamnist": ("retinamnist.csv", "TRAIN,train0_0.png,0", "TRAIN,train0_0.png,none"),
}
LISTS = {"ddr": "- name grade", "retinamnist": "- TRAIN|VALIDATION|TEST,name,grade"}


def look(path: Path, **settings: object) -> Manifest:
    source = Source(paths=(path,), labelled=True, task=APP.task())
    card = settings.pop("card", None)
    found, cards = index_with_cards(APP, replace(source, **settings), card)  # type: ignore[arg-type]
    check_manifest(found.table, labelled=True)
    check_splits(found.table)
    assert tuple(card.name for card in cards) == found.cards
    return found


def labels(found: Manifest) -> dict[str, str]:
    rows = found.table[found.table["status"] == "ok"]
    return dict(zip(rows["image_id"].str.rsplit("/", n=1).str[-1], rows["label"], strict=True))


def test_every_set_of_this_app_has_a_miniature() -> None:
    mine = {name for name, file in all_cards().items() if file.card.app == APP.name}
    assert mine == set(MINIATURES) == set(RENAMED)


@pytest.mark.parametrize("name", MINIATURES)
def test_a_miniature_is_recognised(name: str, tmp_path: Path) -> None:
    MINIATURES[name](tmp_path)
    found = look(tmp_path)
    assert found.cards == (name,)
    assert set(labels(found).values()) <= set("01234")
    assert len(labels(found)) >= 5
    assert labels(look(tmp_path, card=name)) == labels(found)


@pytest.mark.parametrize("name", RENAMED)
def test_a_renamed_column_is_an_error_with_a_diff(name: str, tmp_path: Path) -> None:
    MINIATURES[name](tmp_path)
    place, old, new = RENAMED[name]
    text = (tmp_path / place).read_text()
    assert old in text
    (tmp_path / place).write_text(text.replace(old, new, 1))
    if name in LISTS:
        for other in (tmp_path / place).parent.glob("*.txt"):
            other.write_text("007.jpg;4\n" if other.name != "train.txt" else other.read_text())
    with pytest.raises(ManifestError) as caught:
        look(tmp_path)
    words = str(caught.value)
    assert LISTS.get(name, f"- {old}") in words
    assert f"+ {new}" in words or name == "ddr"
    assert "--card none" in words


@pytest.mark.parametrize("name", MINIATURES)
def test_a_missing_file_is_counted(name: str, tmp_path: Path) -> None:
    MINIATURES[name](tmp_path)
    before = look(tmp_path)
    ok = before.table[before.table["status"] == "ok"]
    (before.root / ok["path"].iloc[0]).unlink()
    notes = look(tmp_path).notes
    assert any("1 of" in note and "listed images are not there" in note for note in notes), notes


def test_a_list_of_the_set_that_is_empty_is_refused(tmp_path: Path) -> None:
    ddr(tmp_path)
    table(tmp_path / "DR_grading" / "valid.txt", "")
    with pytest.raises(ManifestError, match=r"\+ an empty file"):
        look(tmp_path)


def test_groups_eyes_and_splits(tmp_path: Path) -> None:
    for name in ("eyepacs", "messidor2", "deepdrid", "retinamnist"):
        MINIATURES[name](tmp_path / name)
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
