"""Manifests of fundus photographs: public layouts, class folders, tables, DICOM headers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from PIL import Image

from apps.retinopathy import APP
from apps.retinopathy.index import UNGRADABLE, index
from apps.retinopathy.layouts import patient_and_eye
from core.app import Source
from core.base.tables import check_manifest, check_splits
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd

    from core.app import Manifest


def photograph(path: Path) -> None:
    """A tiny picture; the index only looks at names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (120, 60, 30)).save(path)


def look(path: Path, *, labelled: bool = True, **settings: object) -> Manifest:
    """The manifest of a path."""
    found = index(Source(paths=(path,), labelled=labelled, task=APP.task(), **settings))  # type: ignore[arg-type]
    check_manifest(found.table, labelled=labelled)
    check_splits(found.table)
    return found


def row(found: Manifest, name: str) -> pd.Series:
    """The row whose image_id ends so."""
    rows = found.table[found.table["image_id"].str.endswith(name)]
    assert len(rows) == 1
    return rows.iloc[0]


@pytest.mark.parametrize(
    ("stem", "patient", "eye"),
    [
        ("10003_left", "10003", "left"),
        ("P-17 right 2", "P-17", "right"),
        ("347_l2", "347", "left"),
        ("0012-OD", "0012", "right"),
        ("IDRiD_001", "", ""),
        ("scan_r", "", ""),
        ("leftover_3", "", ""),
    ],
)
def test_names_tell_patient_and_eye_only_where_they_do(stem: str, patient: str, eye: str) -> None:
    assert patient_and_eye(stem) == (patient, eye)


def test_eyepacs_is_recognised_and_its_patients_are_the_groups(tmp_path: Path) -> None:
    for name in ("10_left", "10_right", "13_left"):
        photograph(tmp_path / "train" / f"{name}.jpeg")
    photograph(tmp_path / "train" / "99_left.jpeg")
    (tmp_path / "trainLabels.csv").write_text("image,level\n10_left,0\n10_right,4\n13_left,2\n")
    found = look(tmp_path)
    assert found.cards == ("eyepacs",)
    assert "patient" in found.group_rule
    assert list(row(found, "10_right.jpeg")[["label", "group", "patient", "eye"]]) == [
        *("4", "10", "10", "right")
    ]
    assert row(found, "99_left.jpeg")["reason"] == "trainLabels.csv does not list it"


def test_the_phantom_is_laid_out_as_eyepacs_and_is_not_it(phantom: Path) -> None:
    found = look(phantom)
    # A column more than published: somebody's own data, under nobody else's terms.
    assert found.cards == ()
    assert set(found.table["camera"]) == {"north", "south", "east"}
    assert found.table["group"].nunique() == 20


def test_a_split_somebody_added_is_kept(tmp_path: Path) -> None:
    for name in ("10_left", "10_right", "13_left"):
        photograph(tmp_path / f"{name}.jpeg")
    table = "image,level,split\n10_left,0,train\n10_right,4,train\n13_left,2,test\n"
    (tmp_path / "trainLabels.csv").write_text(table)
    found = look(tmp_path)
    assert row(found, "13_left.jpeg")["split"] == "test"
    assert row(found, "10_left.jpeg")["group"] == "10"


def test_aptos_has_no_patients_and_says_what_that_means(tmp_path: Path) -> None:
    for name in ("0a1b2c3d4e5f", "ffeeddccbbaa"):
        photograph(tmp_path / "train_images" / f"{name}.png")
    (tmp_path / "train.csv").write_text("id_code,diagnosis\n0a1b2c3d4e5f,2\nffeeddccbbaa,0\n")
    found = look(tmp_path)
    assert found.cards == ("aptos2019",)
    assert found.group_rule == ""
    assert "patient" not in found.table
    assert any("near copies" in note and "two eyes" in note for note in found.notes)


def test_messidor_counts_ungradable_and_reads_its_pairs(tmp_path: Path) -> None:
    for name in ("a1.png", "a2.JPG", "b1.png"):
        photograph(tmp_path / "images" / name)
    (tmp_path / "messidor_data.csv").write_text(
        "image_id,adjudicated_dr_grade,adjudicated_dme,adjudicated_gradable\n"
        "a1.png,1.0,0.0,1\na2.JPG,3.0,0.0,1\nb1.png,,,0\n"
    )
    (tmp_path / "messidor-2.csv").write_text("left;right\na1.png;a2.JPG\n")
    found = look(tmp_path)
    assert found.cards == ("messidor2",)
    assert row(found, "a2.JPG")["label"] == "3"
    assert row(found, "a1.png")["patient"] == row(found, "a2.JPG")["patient"] == "pair 1"
    assert row(found, "a2.JPG")["eye"] == "right"
    assert row(found, "b1.png")["reason"] == UNGRADABLE


def test_idrid_has_spaces_and_empty_columns_and_counts_each_set_anew(tmp_path: Path) -> None:
    for part in ("a. Training Set", "b. Testing Set"):
        photograph(tmp_path / "1. Original Images" / part / "IDRiD_001.jpg")
    folder = tmp_path / "2. Groundtruths"
    folder.mkdir()
    head = "Image name,Retinopathy grade,Risk of macular edema ,,,\n"
    for name, grade in (
        ("a. IDRiD_Disease Grading_Training", 3),
        ("b. IDRiD_Disease Grading_Testing", 1),
    ):
        (folder / f"{name} Labels.csv").write_text(f"{head}IDRiD_001,{grade},2,,,\n")
    found = look(tmp_path)
    assert found.cards == ("idrid",)
    parts = found.table.set_index("split")["label"].to_dict()
    assert parts == {"train": "3", "test": "1"}


def test_ddr_lists_are_read_and_its_fifth_grade_is_ungradable(tmp_path: Path) -> None:
    lines = {"train": ["a.jpg 0", "b.jpg 5"], "valid": ["c.jpg 4"], "test": ["d.jpg 2"]}
    for split, rows in lines.items():
        for line in rows:
            photograph(tmp_path / "DR_grading" / split / line.split()[0])
        (tmp_path / "DR_grading" / f"{split}.txt").write_text("\n".join(rows) + "\n")
    found = look(tmp_path)
    assert found.cards == ("ddr",)
    assert row(found, "c.jpg")["split"] == "val"
    assert row(found, "d.jpg")["label"] == "2"
    assert row(found, "b.jpg")["status"] == "skipped"
    assert any("1 photographs were called ungradable" in note for note in found.notes)


def test_deepdrid_takes_the_grade_of_the_eye_that_the_name_tells(tmp_path: Path) -> None:
    folder = tmp_path / "regular-fundus-training"
    for name in ("1_l1", "1_r2"):
        photograph(folder / "Images" / "1" / f"{name}.jpg")
    (folder / "regular-fundus-training.csv").write_text(
        "patient_id,image_id,image_path,Overall quality,left_eye_DR_Level,right_eye_DR_Level,"
        "patient_DR_Level\n"
        "1,1_l1,\\1\\1_l1.jpg,1,2,0,2\n1,1_r2,\\1\\1_r2.jpg,1,2,,2\n"
    )
    found = look(tmp_path)
    assert found.cards == ("deepdrid",)
    assert list(row(found, "1_l1.jpg")[["label", "patient", "eye", "split"]]) == [
        *("2", "1", "left", "train")
    ]
    # Its own column is empty, so the other one counts.
    assert row(found, "1_r2.jpg")["label"] == "2"


def test_class_folders_may_be_named_in_words(tmp_path: Path) -> None:
    for i, name in enumerate(["No_DR", "Mild", "moderate NPDR", "Severe", "Proliferate_DR", "5"]):
        photograph(tmp_path / name / f"{i}7_left.png")
    found = look(tmp_path)
    labels = dict(zip(found.table["patient"], found.table["label"], strict=True))
    assert labels == {"07": "0", "17": "1", "27": "2", "37": "3", "47": "4", "57": ""}
    assert row(found, "57_left.png")["reason"] == UNGRADABLE


def test_a_table_of_ones_own_gives_patient_eye_camera_and_site(tmp_path: Path) -> None:
    for name in ("x.png", "y.png", "z.png"):
        photograph(tmp_path / name)
    (tmp_path / "mine.csv").write_text(
        "file,grade,Patient ID,laterality,Device,centre\n"
        "x.png,0,7.0,OS,T1,A\ny.png,3,7,OD,T1,A\nz.png,2,8,OD,T2,B\n"
    )
    found = look(tmp_path)
    assert list(row(found, "y.png")[["label", "group", "patient", "eye", "camera", "site"]]) == [
        *("3", "7", "7", "right", "T1", "A")
    ]
    assert row(found, "x.png")["group"] == "7"


def test_a_table_that_names_a_file_twice_with_other_grades_is_refused(tmp_path: Path) -> None:
    photograph(tmp_path / "train" / "10_left.jpeg")
    (tmp_path / "trainLabels.csv").write_text("image,level\n10_left,0\n10_left.jpeg,4\n")
    with pytest.raises(ManifestError, match="two rows that differ"):
        look(tmp_path)


def test_a_table_without_its_images_is_refused(tmp_path: Path) -> None:
    photograph(tmp_path / "train" / "10_left.jpeg")
    (tmp_path / "trainLabels.csv").write_text("image,level\n10_left,0\n11_left,1\n12_left,1\n")
    with pytest.raises(ManifestError, match="2 of the 3 images"):
        look(tmp_path)


def test_a_card_that_does_not_fit_is_refused_and_none_reads_the_folder(
    tmp_path: Path, source: Callable[..., Source]
) -> None:
    for grade in ("0", "2"):
        photograph(tmp_path / grade / f"1{grade}_left.png")
    with pytest.raises(ManifestError, match="'aptos2019'"):
        index(source(tmp_path, options={"card": "aptos2019"}))
    assert len(index(source(tmp_path, options={"card": "none"})).table) == 2


def test_inputs_without_labels_keep_patient_and_eye(tmp_path: Path) -> None:
    photograph(tmp_path / "10_left.jpeg")
    photograph(tmp_path / "unknown.png")
    found = look(tmp_path, labelled=False)
    assert row(found, "10_left.jpeg")["eye"] == "left"
    assert row(found, "unknown.png")["patient"] == ""


def test_one_number_in_two_clinics_is_two_patients_to_predict_and_one_group_to_train(
    tmp_path: Path,
) -> None:
    for name in ("clinicA/7_left.jpeg", "clinicB/7_right.jpeg", "clinicB/8_left.jpeg"):
        photograph(tmp_path / "new" / name)
        photograph(tmp_path / "graded" / name.replace("clinicA", "0").replace("clinicB", "2"))
    found = look(tmp_path / "new", labelled=False)
    assert row(found, "clinicA/7_left.jpeg")["patient"] == "clinicA/7"
    assert row(found, "clinicB/7_right.jpeg")["patient"] == "clinicB/7"
    assert row(found, "clinicB/8_left.jpeg")["patient"] == "8"
    assert any("a table with the columns path and patient" in note for note in found.notes)
    # Folders of grades, with 0 among them, hold one patient's eyes apart by their grade.
    for labelled in (True, False):
        graded = look(tmp_path / "graded", labelled=labelled)
        assert graded.table["patient"].tolist() == ["7", "7", "8"]
        assert graded.table["group"].tolist() == ["7", "7", "8"]
    # A table that says whose they are joins them.
    listed = tmp_path / "new" / "list.csv"
    listed.write_text("path,patient\nclinicA/7_left.jpeg,7\nclinicB/7_right.jpeg,7\n")
    assert look(listed, labelled=False).table["patient"].tolist() == ["7", "7"]


def test_dicom_patients_become_numbers(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    from pydicom.dataset import Dataset, FileMetaDataset  # noqa: PLC0415

    for name, patient, side in (("a", "Doe-1", "L"), ("b", "Doe-1", "R"), ("c", "Roe-2", "L")):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
        data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.5.1"
        data.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
        data.PatientID, data.ImageLaterality, data.Manufacturer = patient, side, "Maker"
        pydicom.dcmwrite(tmp_path / f"{name}.dcm", data, enforce_file_format=True)
    found = look(tmp_path, labelled=False)
    assert row(found, "a.dcm")["patient"] == row(found, "b.dcm")["patient"] == "DICOM patient 1"
    assert list(found.table["eye"]) == ["left", "right", "left"]
    assert "number" in found.group_rule
    assert "Doe" not in found.table.to_csv()
