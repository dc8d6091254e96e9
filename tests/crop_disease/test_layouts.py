"""Public sets of leaf photos: a miniature of each, in exactly the published tree."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from apps.crop_disease import APP
from apps.crop_disease.layouts import LAYOUTS
from core.app import Source
from core.base.tables import check_manifest, check_splits
from core.cards.card import all_cards
from core.data.layouts import Published
from core.data.published_tables import Place, known_of, refuse_two_sets
from core.data.recognition import index_with_cards
from core.errors import ConfigError, ManifestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.app import Manifest

REAL = Path(__file__).parents[3] / "shared" / "data" / "coffee_leaves"


def photo(path: Path) -> None:
    """A tiny picture; the index only looks at names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (40, 120, 30)).save(path)


def table(file: Path, *lines: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def bracol(root: Path) -> None:
    rows = ["1,0,0,0,0,0,0", "2,1,1,0,0,0,1", "3,2,0,1,0,1,3", "4,3,0,0,1,0,2"]
    rows += ["5,4,0,0,0,1,1", "6,0,0,0,0,0,0", "7,2,0,1,0,0,4", "8,4,0,1,0,1,2"]
    heading = "id,predominant_stress,miner,rust,phoma,cercospora,severity"
    table(root / "dataset.csv", heading, *rows)
    for row in rows:
        photo(root / "images" / f"{row.split(',')[0]}.jpg")


def cassava2020(root: Path) -> None:
    names = [f"100001515{n}.jpg" for n in range(8)]
    table(root / "train.csv", "image_id,label", *(f"{n},{i % 4}" for i, n in enumerate(names)))
    classes = ["Cassava Bacterial Blight (CBB)", "Cassava Brown Streak Disease (CBSD)"]
    classes += ["Cassava Green Mottle (CGM)", "Cassava Mosaic Disease (CMD)", "Healthy"]
    text = json.dumps({str(i): name for i, name in enumerate(classes)})
    (root / "label_num_to_disease_map.json").write_text(text)
    for name in names:
        photo(root / "train_images" / name)


def plant_pathology2020(root: Path) -> None:
    rows = [f"Train_{i},{','.join('1' if k == i % 4 else '0' for k in range(4))}" for i in range(8)]
    table(root / "train.csv", "image_id,healthy,multiple_diseases,rust,scab", *rows)
    for i in range(8):
        photo(root / "images" / f"Train_{i}.jpg")
    photo(root / "images" / "Test_0.jpg")


def plant_pathology2021(root: Path) -> None:
    labels = ["healthy", "scab", "scab frog_eye_leaf_spot", "rust", "complex", "powdery_mildew"]
    labels += ["healthy", "rust complex"]
    names = [f"80011322aabbccd{i}.jpg" for i in range(8)]
    rows = [f"{name},{label}" for name, label in zip(names, labels, strict=True)]
    table(root / "train.csv", "image,labels", *rows)
    for name in names:
        photo(root / "train_images" / name)


def paddy_doctor(root: Path) -> None:
    rows = [
        (f"10033{i}.jpg", ["blast", "normal"][i % 2], ["ADT45", "Ponni"][i // 4]) for i in range(8)
    ]
    lines = [f"{name},{label},{variety},{45 + i}" for i, (name, label, variety) in enumerate(rows)]
    table(root / "train.csv", "image_id,label,variety,age", *lines)
    for name, label, _ in rows:
        photo(root / "train_images" / label / name)


def plantvillage(root: Path) -> None:
    leaves: dict[str, list[str]] = {}
    shots = [("Tomato___healthy", "RS_HL 5959", 17), ("Tomato___healthy", "RS_HL 5960", 17)]
    shots += [
        ("Tomato___Late_blight", "RS_Late.B 5202", 69),
        ("Soybean___healthy", "RS_HL 6164", 3),
    ]
    shots += [("Apple___healthy", "RS_HL 6164", 87), ("Tomato___Late_blight", "RS_Late.B 1", None)]
    for i, (label, name, leaf) in enumerate(shots):
        for kind in ("color", "grayscale"):
            photo(root / "raw" / kind / label / f"{i:08d}-d81a-4184___{name}.JPG")
        if leaf is not None:
            leaves.setdefault(name.lower(), []).append(f"{label}:::{leaf}.0")
    (root / "leaf-map.json").write_text(json.dumps(leaves))


def plantdoc(root: Path) -> None:
    classes = ["Apple Scab Leaf", "Corn rust leaf", "grape leaf black rot"]
    for split in ("train", "test"):
        for name in classes:
            for i in range(2):
                photo(root / split / name / f"{split}%20{i}.JPG.jpg")


def ibean(root: Path) -> None:
    for split in ("train", "validation", "test"):
        for name in ("angular_leaf_spot", "bean_rust", "healthy"):
            photo(root / split / name / f"{name}_{split}.0.jpg")


MINIATURES: dict[str, Callable[[Path], None]] = {
    write.__name__: write
    for write in (
        *(bracol, cassava2020, plant_pathology2020, plant_pathology2021, paddy_doctor),
        *(plantvillage, plantdoc, ibean),
    )
}
# What is renamed in each, file or folder, and how.
RENAMED = {
    "bracol": ("dataset.csv", "predominant_stress", "stress"),
    "cassava2020": ("train.csv", "label", "disease_label"),
    "plant_pathology2020": ("train.csv", "scab", "apple_scab"),
    "plant_pathology2021": ("train.csv", "labels", "label_list"),
    "paddy_doctor": ("train.csv", "variety", "cultivar"),
    "plantvillage": ("raw/color", "Tomato___Late_blight", "Tomato___Late_blite"),
    "plantdoc": ("train", "Corn rust leaf", "Corn rusty leaf"),
    "ibean": ("train", "bean_rust", "beanrust"),
}
FOLDERS = {"plantvillage", "plantdoc", "ibean"}


def look(path: Path, task: str = "disease", **settings: object) -> Manifest:
    source = Source(paths=(path,), labelled=True, task=APP.task(task))
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
    assert len(set(found.table.loc[found.table["status"] == "ok", "label"])) >= 2
    # A card that is named reads the same; none reads the folder without any.
    assert labels(look(tmp_path, card=name)) == labels(found)


@pytest.mark.parametrize("name", RENAMED)
def test_a_renamed_column_or_class_is_an_error_with_a_diff(name: str, tmp_path: Path) -> None:
    MINIATURES[name](tmp_path)
    place, old, new = RENAMED[name]
    if name in FOLDERS:
        (tmp_path / place / old).rename(tmp_path / place / new)
    else:
        heading, rest = (tmp_path / place).read_text().split("\n", 1)
        heading = ",".join(new if column == old else column for column in heading.split(","))
        (tmp_path / place).write_text(f"{heading}\n{rest}")
    with pytest.raises(ManifestError) as caught:
        look(tmp_path)
    words = str(caught.value)
    assert f"- {old}" in words
    assert f"+ {new}" in words
    assert "--card none" in words


@pytest.mark.parametrize("name", MINIATURES)
def test_a_missing_file_is_counted(name: str, tmp_path: Path) -> None:
    MINIATURES[name](tmp_path)
    before = look(tmp_path)
    ok = before.table[before.table["status"] == "ok"]
    (before.root / ok["path"].iloc[-1]).unlink()
    found = look(tmp_path)
    told = [
        note
        for note in found.notes
        if "of" in note and ("not there" in note or "published" in note)
    ]
    n = len(ok)
    if name in FOLDERS:
        total = all_cards()[name].card.counts.images
        assert any(f"{n - 1:,} of {total:,} published images are here" in note for note in told)
    else:
        assert any("1 of" in note and "listed images are not there" in note for note in told)


def test_labels_of_each_set(tmp_path: Path) -> None:
    for name in ("bracol", "cassava2020", "plant_pathology2020", "plant_pathology2021"):
        MINIATURES[name](tmp_path / name)
    assert labels(look(tmp_path / "bracol"))["3.jpg"] == "rust"
    assert labels(look(tmp_path / "bracol", "severity"))["3.jpg"] == "3"
    assert labels(look(tmp_path / "bracol", "symptoms"))["3.jpg"] == "rust|cercospora"
    assert labels(look(tmp_path / "bracol", "symptoms"))["1.jpg"] == "|"
    assert labels(look(tmp_path / "cassava2020"))["1000015153.jpg"].endswith("(CMD)")
    assert labels(look(tmp_path / "plant_pathology2020"))["Train_1.jpg"] == "multiple_diseases"
    single = look(tmp_path / "plant_pathology2021")
    assert "80011322aabbccd2.jpg" not in labels(single)
    assert sum("gives it 2 labels" in reason for reason in single.table["reason"]) == 2
    many = look(tmp_path / "plant_pathology2021", "symptoms")
    assert labels(many)["80011322aabbccd2.jpg"] == "scab|frog_eye_leaf_spot"
    with pytest.raises(ManifestError, match="no label for the task 'severity'"):
        look(tmp_path / "cassava2020", "severity")


def test_photos_of_one_leaf_are_one_group(tmp_path: Path) -> None:
    plantvillage(tmp_path)
    found = look(tmp_path)
    assert len(found.table) == 6
    groups = dict(zip(found.table["image_id"], found.table["group"], strict=True))
    of_leaf = [group for name, group in groups.items() if "HL 59" in name]
    assert of_leaf == ["Tomato___healthy:::17.0"] * 2
    # One number, two crops: the class tells which.
    assert {g for n, g in groups.items() if "6164" in n} == {
        *("Soybean___healthy:::3.0", "Apple___healthy:::87.0")
    }
    assert any("1 of 6 photos are not in leaf-map.json" in note for note in found.notes)
    assert "the leaf, from leaf-map.json: 4 leaves of 5 photos" in found.group_rule
    (tmp_path / "leaf-map.json").unlink()
    assert any("leaf-map.json is not there" in note for note in look(tmp_path).notes)
    (tmp_path / "leaf-map.json").write_text("[1]")
    with pytest.raises(ManifestError, match="not a map from photo to leaves"):
        look(tmp_path)


def test_the_splits_of_folders_are_kept(tmp_path: Path) -> None:
    ibean(tmp_path)
    assert set(look(tmp_path).table["split"]) == {"train", "val", "test"}


def test_labels_count_as_the_user_says_and_that_is_told(tmp_path: Path) -> None:
    paddy_doctor(tmp_path)
    found = look(tmp_path, options={"label-map": "blast=sick, normal=fine"})
    assert set(labels(found).values()) == {"sick", "fine"}
    assert any("as asked: blast as sick" in note for note in found.notes)
    with pytest.raises(ConfigError, match="is not RAW=CLASS"):
        look(tmp_path, options={"label-map": "blast"})


def test_a_class_may_be_renamed_by_its_name_or_by_its_cell(tmp_path: Path) -> None:
    bracol(tmp_path)
    found = look(tmp_path, options={"label-map": "rust=fungus, 1=pest"})
    assert set(labels(found).values()) == {"healthy", "pest", "fungus", "phoma", "cercospora"}
    ibean(tmp_path / "beans")
    # Each is looked up once: what was renamed is not renamed again.
    swapped = {"label-map": "healthy=bean_rust, bean_rust=healthy"}
    assert labels(look(tmp_path / "beans", options=swapped))["healthy_test.0.jpg"] == "bean_rust"


def test_a_set_in_a_folder_of_its_own_is_the_set(tmp_path: Path) -> None:
    cassava2020(tmp_path / "unpacked" / "cassava")
    found = look(tmp_path)
    assert found.cards == ("cassava2020",)
    assert labels(found)["1000015153.jpg"].endswith("(CMD)")


def test_a_split_that_somebody_added_is_kept_with_the_names_of_the_classes(tmp_path: Path) -> None:
    cassava2020(tmp_path)
    rows = (tmp_path / "train.csv").read_text().splitlines()
    table(tmp_path / "train.csv", rows[0] + ",split", *(f"{r},train" for r in rows[1:-1]))
    with (tmp_path / "train.csv").open("a") as stream:
        stream.write(f"{rows[-1]},test\n")
    found = look(tmp_path)
    assert dict(found.table["split"].value_counts()) == {"train": 7, "test": 1}
    assert all(len(name) > 2 for name in labels(found).values())
    assert set(look(tmp_path, options={"split-column": "none"}).table["split"]) == {""}
    table(tmp_path / "train.csv", rows[0] + ",split", *(f"{r},x9" for r in rows[1:]))
    with pytest.raises(ManifestError, match="name a split that is not known"):
        look(tmp_path)


def test_images_that_the_table_does_not_list_have_a_row_and_are_counted(tmp_path: Path) -> None:
    cassava2020(tmp_path)
    photo(tmp_path / "test_images" / "2216849948.jpg")
    photo(tmp_path / "train_images" / "2216849949.jpg")
    found = look(tmp_path)
    reasons = dict(zip(found.table["image_id"], found.table["reason"], strict=True))
    assert "outside of train_images/" in reasons["test_images/2216849948.jpg"]
    assert reasons["train_images/2216849949.jpg"] == "train.csv does not list it"
    assert any("1 image left out: train.csv does not list it" in note for note in found.notes)


def test_a_group_column_of_the_set_can_be_asked_for(tmp_path: Path) -> None:
    paddy_doctor(tmp_path)
    found = look(tmp_path, group="variety")
    assert set(found.table["group"]) == {"ADT45", "Ponni"}
    assert "in the column variety" in found.group_rule
    assert found.cards == ("paddy_doctor",)


def test_a_folder_of_ones_own_is_no_public_set(tmp_path: Path) -> None:
    for name in ("healthy", "rust"):
        photo(tmp_path / "own" / name / "1.jpg")
    table(tmp_path / "own" / "train.csv", "image_id,label", "9.jpg,0")
    assert look(tmp_path / "own").cards == ()
    with pytest.raises(ManifestError, match="not those of the data card 'ibean'"):
        look(tmp_path / "own", card="ibean")
    ibean(tmp_path / "beans")
    assert look(tmp_path / "beans", card="none").cards == ()


@pytest.mark.skipif(not REAL.is_dir(), reason="no real coffee leaves here")
def test_the_real_coffee_leaves() -> None:
    found = look(REAL)
    assert found.cards == ("bracol",)
    counts = found.table.loc[found.table["status"] == "ok", "label"].value_counts().to_dict()
    expected = {"rust": 458, "miner": 329, "phoma": 288, "healthy": 232, "cercospora": 126}
    assert counts == expected
    assert set(found.table["split"]) == {"train", "val"}
    many = look(REAL, "symptoms")
    assert set("|".join(labels(many).values()).split("|")) == {
        *("", "miner", "rust", "phoma", "cercospora")
    }


def test_a_set_of_class_folders_beside_one_with_a_table_is_a_question(tmp_path: Path) -> None:
    plantvillage(tmp_path)
    cassava2020(tmp_path / "cassava")
    known = {layout.card: known_of(layout) for layout in LAYOUTS}
    place = Place(tmp_path, frozenset({".jpg"}), "")
    base = tmp_path / "raw" / "color"
    found = Published(known["plantvillage"], tmp_path, (), base=base)
    with pytest.raises(ManifestError, match=r"in raw/ and .*in cassava/"):
        refuse_two_sets(found, [known["cassava2020"]], place)
