"""Public sets of leaf photos: what is particular to each."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from apps.crop_disease import APP
from apps.crop_disease.layouts import LAYOUTS
from core.data.layouts import Published
from core.data.published_tables import Place, known_of, refuse_two_sets
from core.errors import ConfigError, ManifestError
from tests.miniatures.crop_disease import bracol, cassava2020, ibean, paddy_doctor, plantvillage
from tests.miniatures.sets import MINIATURES, labels, look_at, photo, table

REAL = Path(__file__).parents[3] / "shared" / "data" / "coffee_leaves"
look = partial(look_at, APP)


def test_labels_of_each_set(tmp_path: Path) -> None:
    for name in ("bracol", "cassava2020", "plant_pathology2020", "plant_pathology2021"):
        MINIATURES[name].write(tmp_path / name)
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
