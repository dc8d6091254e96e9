"""The app for any labelled folder: it works without options, or says what is missing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from apps.images import APP
from core.app import Source, Task
from core.errors import ManifestError
from core.testing import check_app

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from core.app import Manifest


def index(data: Path, task: str | None = None, **more: Any) -> Manifest:
    return APP.index(Source(paths=(data,), labelled=True, task=APP.task(task), **more))


def save(path: Path, rng: np.random.Generator) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The contract, checked; the phantom and the run stay for the tests below."""
    folder = tmp_path_factory.mktemp("images")
    check_app(APP, folder, n_images=48)
    return folder


@pytest.mark.slow
def test_contract_and_the_plan_says_what_was_measured(checked: Path) -> None:
    plan = (checked / "run" / "plan.yaml").read_text()
    assert "symmetry: " in plan
    assert "told apart" in plan or "are too few to see" in plan


@pytest.mark.slow
def test_the_most_similar_training_image_is_the_image_itself(
    checked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.verbs.predict import begin, complete  # noqa: PLC0415  (imports torch)
    from core.verbs.similar import similar  # noqa: PLC0415

    monkeypatch.setenv("RESIGHT_HOME", str(tmp_path / "home"))
    table = pd.read_parquet(checked / "run" / "manifest.parquet")
    row = table[table["split"] == "train"].iloc[0]
    image = checked / "phantom" / row["path"]
    found = similar(checked / "run", [image], tmp_path / "out", k=3)
    (entry,) = found["similar"]
    first = entry["neighbours"][0]
    assert (first["image_id"], first["label"]) == (row["image_id"], row["label"])
    assert first["similarity"] == pytest.approx(1, abs=1e-3)
    cosines = [other["similarity"] for other in entry["neighbours"]]
    assert cosines == sorted(cosines, reverse=True)
    assert row["image_id"] in (tmp_path / "out" / "similar.html").read_text()
    # On the page of a prediction, too, from the cache.
    begun = begin(checked / "run", [image], tmp_path / "predictions", similar=2)
    complete(begun, tmp_path / "predictions")
    page = (tmp_path / "predictions" / "predictions.html").read_text()
    pictures = [p.name for p in (tmp_path / "predictions" / "thumbnails").glob("t*.jpg")]
    assert len(pictures) == 2
    assert all(name in page for name in pictures)
    # From the cache, the same.
    assert similar(checked / "run", [image], tmp_path / "again", k=3)["similar"] == found["similar"]


@pytest.mark.parametrize(
    ("data", "app"),
    [
        ("cells", "images"),
        ("crops", "images"),
        ("leaf_photos", "crop_disease"),
        ("fundus", "retinopathy"),
    ],
)
def test_data_propose_their_app(tmp_path: Path, data: str, app: str) -> None:
    from core.verbs.propose import propose  # noqa: PLC0415  (imports pandas)

    rng = np.random.default_rng(0)
    names = {
        "cells": "ab",
        "crops": ("tumor", "normal"),
        "leaf_photos": ("rust", "healthy"),
        "fundus": "01",
    }[data]
    for name in names:
        for number in range(3):
            save(tmp_path / data / name / f"{number}.png", rng)
    assert propose(tmp_path / data).app == app


def test_a_stranger_folder_needs_no_option(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("tulip", "rose", "daisy"):
        for number in range(4):
            save(tmp_path / "flowers" / name / f"{number}.jpg", rng)
    found = index(tmp_path / "flowers")
    assert sorted(set(found.table["label"])) == ["daisy", "rose", "tulip"]
    assert (found.table["status"] == "ok").all()
    assert found.class_rule.startswith("classes: 3 folders")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        ("flat", "nothing says their class"),
        ("one class", "all 4 images are of one class"),
        ("yolo", "boxes or outlines in YOLO's format"),
        ("voc", "boxes in Pascal VOC's format"),
        ("coco", "boxes or outlines in COCO's format"),
        ("measurements", "24 different labels"),
        ("empty", "none of its"),
    ],
)
def test_what_is_no_classification_task_is_refused_with_what_to_do(
    tmp_path: Path, make: str, told: str
) -> None:
    rng = np.random.default_rng(0)
    data = tmp_path / "data"
    if make == "flat":
        for number in range(4):
            save(data / f"{number}.png", rng)
    elif make == "one class":
        for number in range(4):
            save(data / "cats" / f"{number}.png", rng)
    elif make == "yolo":
        for split in ("train", "val"):
            for number in range(2):
                save(data / "images" / split / f"{number}.png", rng)
                file = data / "labels" / split / f"{number}.txt"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text("0 0.5 0.5 0.2 0.3\n1 0.2 0.2 0.1 0.1\n")
    elif make == "voc":
        save(data / "JPEGImages" / "1.jpg", rng)
        (data / "Annotations").mkdir()
        box = "<annotation><object><name>cat</name><bndbox></bndbox></object></annotation>"
        (data / "Annotations" / "1.xml").write_text(box)
    elif make == "coco":
        save(data / "train2017" / "1.jpg", rng)
        save(data / "val2017" / "2.jpg", rng)
        content = {"images": [], "annotations": [{"bbox": [0, 0, 1, 1]}]}
        (data / "instances.json").write_text(json.dumps(content))
    elif make == "measurements":
        paths = [save(data / f"{number}.png", rng).name for number in range(24)]
        table = pd.DataFrame({"path": paths, "label": rng.normal(size=24).round(3)})
        table.to_csv(data / "labels.csv", index=False)
    else:
        data.mkdir()
        (data / "notes.pdf").write_bytes(b"%PDF-1.4")
    with pytest.raises(ManifestError, match=told):
        index(data)


def test_the_group_is_read_from_file_names_and_shown(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for slide in range(6):
        for view in range(2):
            save(tmp_path / "ab"[slide % 2] / f"patient{slide}_{view}.png", rng)
    found = index(tmp_path)
    assert found.table["group"].nunique() == 6
    assert "patient, slide, case" in found.group_rule
    # All images of a group share their label, so they are decided about together.
    assert list(found.table["subject"]) == list(found.table["group"])


def test_images_of_a_group_with_labels_of_their_own_are_decided_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for patient in range(6):
        for view in range(2):
            save(tmp_path / "ab"[view] / f"patient{patient}_{view}.png", rng)
    assert "subject" not in index(tmp_path).table


def test_a_path_that_goes_up_and_down_again_finds_its_table(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = tmp_path / "data"
    paths = [save(data / "all" / f"{number}.png", rng).name for number in range(6)]
    table = pd.DataFrame({"path": [f"all/{name}" for name in paths], "label": list("ababab")})
    table.to_csv(data / "labels.csv", index=False)
    (tmp_path / "here").mkdir()
    found = index(tmp_path / "here" / ".." / "data")
    assert list(found.table["label"][found.table["status"] == "ok"]) == list("ababab")


def test_several_labels_and_grades_are_read_or_hinted_at(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    paths = [save(tmp_path / f"{number}.png", rng).name for number in range(8)]
    table = pd.DataFrame({"path": paths, "label": ["a|b", "a", "b", "|"] * 2})
    table.to_csv(tmp_path / "labels.csv", index=False)
    many = index(tmp_path, "multilabel")
    assert set(many.table["label"]) == {"a|b", "a", "b", "|"}
    assert any("--task multilabel" in note for note in index(tmp_path).notes)
    table["label"] = [0, 1, 2, 3] * 2
    table.to_csv(tmp_path / "labels.csv", index=False)
    assert any("--task ordinal" in note for note in index(tmp_path).notes)


def test_a_table_of_people_leaves_its_names_behind(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    paths = [save(tmp_path / f"{number}.png", rng).name for number in range(6)]
    table = pd.DataFrame({"path": paths, "label": list("ababab"), "site": "north"})
    table["full_name"] = "Jane Doe"
    table.to_csv(tmp_path / "labels.csv", index=False)
    assert set(index(tmp_path).table.columns) >= {"site"}
    assert "full_name" not in index(tmp_path).table


def dicom(path: Path, pixels: NDArray[np.uint16], patient: str, photometric: str) -> None:
    from pydicom.dataset import Dataset, FileMetaDataset  # noqa: PLC0415  (heavy)
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid  # noqa: PLC0415

    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.PatientID, data.Modality = patient, "DX"
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, photometric
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 0
    data.PixelData = pixels.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)


def test_dicom_is_read_grouped_by_patient_and_never_mirrored(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(1000, 3000, 50, dtype=np.uint16), (30, 1))
    for number in range(4):
        name = tmp_path / "ab"[number % 2] / f"{number}.dcm"
        dicom(name, ramp, f"DOE{number // 2}", ("MONOCHROME1", "MONOCHROME2")[number % 2])
    found = index(tmp_path)
    assert found.table["group"].nunique() == 2
    assert not found.table["group"].str.contains("DOE").any()
    assert "left and right" in str(found.facts["sided"])
    white, black = (APP.read({"path": str(tmp_path / name)}) for name in ("a/0.dcm", "b/1.dcm"))
    assert white.shape == (30, 40, 1)
    assert white[0, 0, 0] == 65535
    assert black[0, 0, 0] == 0


def test_deep_pixels_are_stretched_and_eight_bits_stay() -> None:
    deep = np.tile(np.arange(0, 4096, 32, dtype=np.uint16), (128, 1))[..., None]
    done = APP.prepare((64, 64))({"image": deep})["image"]
    assert done.dtype == np.uint16
    assert done.max() > 64_000
    flat = np.tile(np.arange(10, 138, dtype=np.uint8), (128, 1))[..., None]
    assert int(APP.prepare((128, 128))({"image": flat})["image"].max()) == 137


def draw(kind: str, rng: np.random.Generator, *, sided: bool) -> NDArray[np.uint8]:
    """A blob anywhere; with ``sided`` a marker in the upper left corner, as on X-rays."""
    picture = np.zeros((48, 48), np.uint8)
    centre = rng.integers(12, 36, 2).tolist()
    cv2.circle(picture, centre, 9 if kind == "a" else 5, 200, -1)
    if sided:
        picture[2:8, 2:8] = 255
    return picture


@pytest.mark.parametrize(("sided", "wanted"), [(True, "none"), (False, "any")])
def test_flips_are_used_only_where_left_and_right_are_alike(
    tmp_path: Path, sided: bool, wanted: str
) -> None:
    from core.verbs.check import check  # noqa: PLC0415  (imports pandas)

    rng = np.random.default_rng(3)
    for kind in "ab":
        for number in range(24):
            path = tmp_path / "data" / f"kind_{kind}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw(kind, rng, sided=sided)).save(path)
    looked = check("images", tmp_path / "data", tmp_path / "out", progress=False)
    assert looked["symmetry"]["name"] == wanted
    assert looked["symmetry"]["words"] in [c["words"] for c in looked["checks"]]


def test_class_names_that_tell_sides_forbid_flips() -> None:
    from core.data.symmetry import names_tell_sides  # noqa: PLC0415

    assert names_tell_sides(["left", "right", "straight"])
    assert names_tell_sides(list("ABCD"))
    assert not names_tell_sides(["0", "1", "2"])


@pytest.mark.parametrize(
    ("labels", "positive"),
    [
        (("hyperplasia", "normal"), "hyperplasia"),
        (("malignant", "normal_or_benign"), "malignant"),
        (("Healthy leaf", "brown spot"), "brown spot"),
        (("NORMAL", "PNEUMONIA"), "PNEUMONIA"),
        (("0", "1"), "1"),
        (("northern", "southern"), "southern"),
        (("no_finding", "none"), "none"),
    ],
)
def test_of_two_classes_the_finding_is_positive(labels: tuple[str, str], positive: str) -> None:
    for name in ("binary", "class"):
        assert APP.task(name).with_classes(sorted(labels)).classes[1] == positive


def test_grades_rise_by_number_or_by_words_and_else_are_asked_for() -> None:
    task = Task(name="g", kind="ordinal")
    words = ["severe", "mild", "none", "moderate"]
    assert task.with_classes(words).classes == ("none", "mild", "moderate", "severe")
    stages = ["stage 10", "stage 2", "stage 1"]
    assert task.with_classes(stages).classes == ("stage 1", "stage 2", "stage 10")
    with pytest.raises(ManifestError, match=r"--label-map 'apple=0,pear=1,plum=2'"):
        task.with_classes(["pear", "plum", "apple"])
