"""Headers, sides, views, identities, layouts: from a folder to a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from apps.mammography import APP
from apps.mammography.headers import read_header, side_and_view
from apps.mammography.images import read
from apps.mammography.phantom import draw_breast
from core.app import Manifest, Source
from core.data.identity import Pseudonyms
from core.errors import ConfigError, ImageError, ManifestError
from core.evaluation.doubt import DoubtRule, decide_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydicom.dataset import FileDataset

    Make = Callable[..., FileDataset]
    Save = Callable[..., Path]


def index(
    *paths: Path, task: str = "cancer", labelled: bool = False, **options: object
) -> Manifest:
    named = {name.replace("_", "-"): value for name, value in options.items()}
    return APP.index(Source(paths=paths, labelled=labelled, task=APP.task(task), options=named))


def code(value: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = value, "SCT"
    return item


def frame_laterality(side: str) -> list[Dataset]:
    anatomy, group = Dataset(), Dataset()
    anatomy.FrameLaterality = side
    group.FrameAnatomySequence = [anatomy]
    return [group]


def region(side_code: str) -> list[Dataset]:
    item = code("76752008")
    item.AnatomicRegionModifierSequence = [code(side_code)]
    return [item]


@pytest.mark.parametrize(
    ("elements", "side", "where"),
    [
        ({"ImageLaterality": "L", "Laterality": "R"}, "L", "ImageLaterality"),
        ({"SharedFunctionalGroupsSequence": frame_laterality("R")}, "R", "FrameLaterality"),
        ({"AnatomicRegionSequence": region("7771000")}, "L", "AnatomicRegion"),
        ({"Laterality": "R"}, "R", "Laterality"),
        ({"ViewPosition": "RIGHT CC"}, "R", "text"),
        ({"SeriesDescription": "L MLO tomo"}, "L", "text"),
        ({"PatientID": "Mass-Test_P_00820_LEFT_CC"}, "L", "text"),
        ({"SeriesDescription": "ROUTINE MLO"}, "", ""),
    ],
)
def test_every_place_of_the_side(
    make: Make, save: Save, elements: dict[str, Any], side: str, where: str
) -> None:
    header = read_header(save(make([0, 1], **elements)))
    assert (header.laterality, header.laterality_from) == (side, where)


@pytest.mark.parametrize(
    ("elements", "view"),
    [
        ({"ViewCodeSequence": [code("399368009")], "ViewPosition": "CC"}, "MLO"),
        ({"ViewCodeSequence": [code("R-10242")]}, "CC"),
        ({"ViewPosition": "ML"}, "ML"),
        ({"PatientOrientation": "MLO"}, "MLO"),
        ({"PatientID": "Calc-Training_P_00001_RIGHT_MLO"}, "MLO"),
        ({"PatientOrientation": ["A", "FR"]}, ""),
    ],
)
def test_every_place_of_the_view(
    make: Make, save: Save, elements: dict[str, Any], view: str
) -> None:
    assert read_header(save(make([0, 1], **elements))).view == view


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"Modality": "CT", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, "modality CT"),
        ({"Modality": "", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "modality missing"),
        ({"PresentationIntentType": "FOR PROCESSING"}, "for processing"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.13.1.3"}, "tomosynthesis"),
        ({"ImageType": ["DERIVED", "PRIMARY", "RECOMBINED"]}, "contrast"),
        ({"ContrastBolusAgent": "IOHEXOL"}, "contrast"),
        ({"QualityControlImage": "YES"}, "quality control"),
        ({"EstimatedRadiographicMagnificationFactor": 1.8}, "magnified"),
        ({"PatientID": "Mass-Test_P_00820_LEFT_CC_1"}, "cut-out"),
        ({"NumberOfFrames": 40}, "40 frames"),
        ({"Modality": "MG", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, ""),
        ({"ImageType": ["DERIVED", "PRIMARY", "LOW_ENERGY"], "ContrastBolusAgent": "X"}, ""),
    ],
)
def test_what_is_no_standard_mammogram_is_passed_over(
    make: Make, save: Save, elements: dict[str, Any], reason: str
) -> None:
    found = read_header(save(make([0, 1], **elements))).reason
    assert reason in found
    assert bool(found) == bool(reason)


def test_spot_views_are_known_by_their_modifier(make: Make, save: Save) -> None:
    view = code("399162004")
    view.ViewModifierCodeSequence = [code("399055006")]
    header = read_header(save(make([0, 1], ViewCodeSequence=[view])))
    assert (header.view, header.modifiers) == ("CC", "spot")
    assert "spot" in header.reason


def test_facts_of_a_header_are_words_of_our_own(make: Make, save: Save) -> None:
    header = read_header(
        save(
            make(
                [0, 1],
                Manufacturer="HOLOGIC, Inc. CANARY",
                PatientAge="093Y",
                ImagerPixelSpacing=[0.1, 0.1],
                EstimatedRadiographicMagnificationFactor=1.25,
                BreastImplantPresent="YES",
            )
        )
    )
    assert (header.manufacturer, header.age_decade, header.implant) == ("Hologic", "90+", "yes")
    assert header.spacing_mm == pytest.approx(0.08)
    assert read_header(save(make([0, 1], Manufacturer="Acme"))).manufacturer == "other"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("20990909_R_MLO_1", ("R", "MLO")),
        ("LCC", ("L", "CC")),
        ("FRONT", ("", "")),
        ("mdb001", ("", "")),
        ("left breast", ("L", "")),
    ],
)
def test_sides_and_views_in_names(name: str, expected: tuple[str, str]) -> None:
    assert side_and_view(name) == expected


def test_identifiers_become_keyed_hashes_that_stay_the_same(
    make: Make, save: Save, tmp_path: Path
) -> None:
    save(make([0, 1], PatientID="P1", ImageLaterality="L", StudyInstanceUID="1.2"), "d/a.dcm")
    save(make([0, 2], PatientID="P1", ImageLaterality="R", StudyInstanceUID="1.2"), "d/b.dcm")
    save(make([0, 3], PatientID="P2", ImageLaterality="R", StudyInstanceUID="1.3"), "d/c.dcm")
    first = index(tmp_path / "d", labelled=False).table
    again = index(tmp_path / "d", labelled=False).table
    pd.testing.assert_frame_equal(first, again)
    assert first["group"].nunique() == 2
    assert first["group"].iloc[0] == first["group"].iloc[1]
    assert "P1" not in first.to_csv()
    # A folder of any name may be what tells the patients apart.
    assert len(Pseudonyms(b"k" * 32).name("patient", "caf\udce9")) == 12
    assert "1.2" not in "".join(first["exam"])
    kept = index(tmp_path / "d", keep_identifiers=True).table
    assert kept["patient"].tolist() == ["P1", "P1", "P2"]


def test_another_key_gives_other_names_and_is_not_stored_in_the_open(tmp_path: Path) -> None:
    mine = Pseudonyms.load()
    assert mine == Pseudonyms.load()
    key = tmp_path / "key"
    key.write_bytes(b"x" * 32)
    other = Pseudonyms.load(key_file=key)
    assert mine.name("patient", "P1") != other.name("patient", "P1")
    assert mine.name("patient", "P1") != mine.name("exam", "P1")
    assert "x" * 8 not in repr(other)
    stored = next(Path(p) for p in Path(tmp_path).parent.rglob("identity.key"))
    assert stored.stat().st_mode & 0o077 == 0


def test_a_short_key_is_refused(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(b"abc")
    with pytest.raises(ConfigError, match="3 bytes"):
        Pseudonyms.load(key_file=key)


def test_duplicates_skips_and_other_files_each_have_a_row(
    make: Make, save: Save, tmp_path: Path
) -> None:
    data = make([0, 1], PatientID="P1", ImageLaterality="L", ViewPosition="CC")
    save(data, "d/a.dcm")
    save(data, "d/copy.dcm")
    save(make([0, 2], PatientID="P1", Modality="CT", SOPClassUID="1.2.3"), "d/ct.dcm")
    (tmp_path / "d" / "broken.dcm").write_bytes(b"nothing")
    table = index(tmp_path / "d").table.set_index("image_id")
    assert table["status"].to_dict() == {
        "a.dcm": "ok",
        # It was meant as a picture, so it is an input, and fails when it is read.
        "broken.dcm": "ok",
        "copy.dcm": "skipped",
        "ct.dcm": "skipped",
    }
    assert "same picture as a.dcm" in table.loc["copy.dcm", "reason"]
    with pytest.raises(ImageError, match="not a DICOM file"):
        read({"path": tmp_path / "d" / "broken.dcm"})
    asked = index(tmp_path / "d", include_skipped=True).table.set_index("image_id")
    assert asked.loc["ct.dcm", "status"] == "ok"


def test_one_uid_in_all_files_is_no_duplicate_unless_the_pixels_agree(
    make: Make, save: Save, tmp_path: Path
) -> None:
    for k in range(3):
        save(make([0, k + 1], SOPInstanceUID="1.2.3", PatientID=f"P{k}"), f"d/{k}.dcm")
    save(make([0, 1], SOPInstanceUID="1.2.3", PatientID="P0"), "d/3.dcm")
    found = index(tmp_path / "d")
    status = found.table.set_index("image_id")["status"].to_dict()
    assert status == {"0.dcm": "ok", "1.dcm": "ok", "2.dcm": "ok", "3.dcm": "skipped"}
    assert any("2 pictures carry the SOPInstanceUID of another" in note for note in found.notes)


def test_an_empty_element_is_an_absent_one(make: Make, save: Save, tmp_path: Path) -> None:
    blank = dict.fromkeys(("RescaleSlope", "RescaleIntercept", "PixelPaddingValue"))
    plain = read({"path": save(make([[0, 5], [9, 3]]), "a.dcm")})
    for frames in (None, 0, 1):
        data = make([[0, 5], [9, 3]], **blank, NumberOfFrames=frames, HighBit=None)
        np.testing.assert_array_equal(read({"path": save(data, "b.dcm")}), plain)


@pytest.mark.parametrize("key", ["uid", "patient and side", "patient"])
def test_a_table_may_name_images_by_what_their_headers_say(
    make: Make, save: Save, tmp_path: Path, key: str
) -> None:
    for k, side in enumerate("LR"):
        save(make([0, k + 1], PatientID=f"P{k}", ImageLaterality=side), f"d/{k}.dcm")
    uids = [f"1.2.3.{abs(hash(str([0, k + 1]))) % 10**9}" for k in range(2)]
    rows = {
        "uid": f"SOPInstanceUID,cancer\n{uids[0]},no\n{uids[1]},yes\n",
        "patient and side": "patient_id,side,cancer\nP0,left,0\nP1,right,1\n",
        "patient": "PatientID,cancer\nP0,0\nP1,1\n",
    }
    (tmp_path / "d" / "labels.csv").write_text(rows[key])
    manifest = index(tmp_path / "d", labelled=True)
    found = manifest.table.query("status == 'ok'")
    assert dict(zip(found["image_id"], found["label"], strict=True)) == {
        "0.dcm": "no",
        "1.dcm": "yes",
    }
    assert manifest.class_rule.startswith("classes: 2 (no, yes), as labels.csv (column cancer)")


def test_missing_views_are_listed(make: Make, save: Save, tmp_path: Path) -> None:
    for i, (side, view) in enumerate([("L", "CC"), ("R", "CC"), ("R", "MLO")]):
        save(
            make(
                [0, i + 1],
                PatientID="P",
                StudyInstanceUID="1.9",
                ImageLaterality=side,
                ViewPosition=view,
            ),
            f"d/{i}.dcm",
        )
    assert set(index(tmp_path / "d").table["missing_views"]) == {"L MLO"}


def test_the_side_is_guessed_from_pixels_only_at_last_and_with_a_warning(
    make: Make, save: Save, tmp_path: Path
) -> None:
    shown = draw_breast(np.random.default_rng(0), side="R", view="CC", density=1, finding="").shown
    save(make(np.rint(shown * 4000), PatientID="P"), "d/a.dcm")
    found = index(tmp_path / "d")
    assert found.table["laterality"].tolist() == ["R"]
    assert any(note.startswith("1 sides are guessed") for note in found.notes)


def test_voi_options_reach_the_manifest(make: Make, save: Save, tmp_path: Path) -> None:
    save(make([0, 9], WindowCenter=[4, 5], WindowWidth=[8, 9]), "d/a.dcm")
    assert index(tmp_path / "d").table["voi"].tolist() == ["window:0"]
    assert index(tmp_path / "d", voi_index=1).table["voi"].tolist() == ["window:1"]
    assert index(tmp_path / "d", voi="range").table["voi"].tolist() == ["range"]


@pytest.mark.parametrize(
    "options", [{"voi": "best"}, {"voi_index": -1}, {"spacing_mm": 40.0}, {"dicom": True}]
)
def test_impossible_options_are_refused_before_any_work(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError):
        index(tmp_path, **options)


def mias(folder: Path) -> Path:
    folder.mkdir()
    (folder / "Info.txt").write_text(
        "INFORMATION:\n\nmdb001 G CIRC B 535 425 197\nmdb002 G CIRC B 522 280 69\n"
        "mdb003 D NORM \nmdb004 D CALC M *NOTE 3*\nmdb005 F CIRC B 477 133 30\n"
        "mdb005 F SPIC M 500 168 26\nmdb006 F NORM\n"
    )
    for n in range(1, 7):
        Image.fromarray(np.full((32, 32), n, np.uint8)).save(folder / f"mdb{n:03d}.png")
    return folder


@pytest.mark.parametrize(
    ("task", "labels"),
    [
        ("tissue", "G G D D F F"),
        ("cancer", "no no no yes yes no"),
        ("pathology", "benign benign normal malignant malignant normal"),
        ("finding", "abnormal abnormal normal abnormal abnormal normal"),
    ],
)
def test_mini_mias(tmp_path: Path, task: str, labels: str) -> None:
    found = index(mias(tmp_path / "m"), task=task, labelled=True)
    table = found.table
    assert table["label"].tolist() == labels.split()
    assert table["laterality"].tolist() == ["R", "L"] * 3
    assert table["group"].tolist() == [f"woman {n:03d}" for n in (1, 1, 2, 2, 3, 3)]
    # Bottom left origin of 1024: y 425 is row 599; 599 / 1024 = .5850.
    assert table["lesions"].iloc[0] == "0.5850 0.5225 0.1924"
    assert table["lesions"].iloc[4].count("|") == 1
    assert found.cards == ("mini_mias",)


def test_mini_mias_has_no_acr_density(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="tissue"):
        index(mias(tmp_path / "m"), task="density", labelled=True)


def test_cbis_rows_are_lesions_of_one_film(make: Make, save: Save, tmp_path: Path) -> None:
    name = "Mass-Training_P_00001_LEFT_CC"
    save(make([0, 1], Modality="MG", PatientID=name), f"c/{name}/1/1-1.dcm")
    save(make([0, 2], Modality="MG", PatientID=f"{name}_1"), f"c/{name}_1/1/1-1.dcm")
    (tmp_path / "c" / "mass_case_description_train_set.csv").write_text(
        "patient_id,breast_density,left or right breast,image view,abnormality id,assessment,"
        "pathology,image file path\n"
        f"P_00001,3,LEFT,CC,1,3,BENIGN,{name}/1/2/000000.dcm\n"
        f'P_00001,3,LEFT,CC,2,5,MALIGNANT,"{name}/1/2/000000.dcm\n"\n'
    )
    table = index(tmp_path / "c", labelled=True).table
    row = table[table["status"] == "ok"].iloc[0]
    # The cut-out lies beside the film, and is no film.
    assert list(table["status"]) == ["ok", "skipped"]
    assert (row["label"], row["patient"], row["laterality"], row["density"]) == (
        "yes",
        "P_00001",
        "L",
        "C",
    )


def test_vindr_leaves_out_what_is_neither(tmp_path: Path) -> None:
    folder = tmp_path / "v"
    lines = [
        "study_id,series_id,image_id,laterality,view_position,breast_birads,breast_density,split"
    ]
    for i, birads in enumerate((1, 4, 5)):
        image_id = f"{i:032x}"
        (folder / "images" / f"s{i}").mkdir(parents=True)
        Image.fromarray(np.full((8, 8), i, np.uint8)).save(
            folder / "images" / f"s{i}" / f"{image_id}.png"
        )
        lines.append(f"s{i},x,{image_id},L,CC,BI-RADS {birads},DENSITY B,training")
    (folder / "breast-level_annotations.csv").write_text("\n".join(lines))
    found = index(folder, labelled=True)
    assert found.table["label"].tolist() == ["no", "", "yes"]
    assert found.table["status"].tolist() == ["ok", "skipped", "ok"]
    assert set(found.table["split"]) == {"train"}
    assert found.split_rule


@pytest.mark.parametrize(
    ("table", "text", "file", "expected"),
    [
        (
            "train.csv",
            "site_id,patient_id,image_id,laterality,view,age,cancer,density\n1,7,42,R,MLO,61,1,C\n",
            "train_images/7/42.png",
            ("yes", "7", "R", "MLO", "60-69"),
        ),
        (
            "INbreast.csv",
            "Patient ID;Laterality;View;File Name;ACR;Bi-Rads\np1;L;ML;20586908;2;4a\n",
            "AllPNG/20586908_6c61_MG_L_ML_ANON.png",
            ("yes", "p1", "L", "MLO", ""),
        ),
        (
            "CMMD_clinicaldata_revision.csv",
            "ID1,LeftRight,Age,number,abnormality,classification\nD1-0001,R,44,2,mass,Benign\n",
            "D1-0001/R_CC.png",
            ("", "", "", "", ""),
        ),
    ],
)
def test_other_layouts(
    tmp_path: Path, table: str, text: str, file: str, expected: tuple[str, ...]
) -> None:
    folder = tmp_path / "x"
    (folder / file).parent.mkdir(parents=True)
    (folder / table).write_text(text)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / file)
    if not expected[0]:
        # Labels are per breast, and a picture without a header does not say which.
        with pytest.raises(ManifestError, match="none of 1"):
            index(folder, labelled=True)
        return
    row = index(folder, labelled=True).table.iloc[0]
    got = (row["label"], row["patient"], row["laterality"], row["view"], row.get("age_decade", ""))
    assert got == expected


def test_class_folders_work_for_dicom_and_png(make: Make, save: Save, tmp_path: Path) -> None:
    save(make([0, 1], PatientID="P1"), "d/no/a.dcm")
    save(make([0, 2], PatientID="P2"), "d/yes/b")
    table = index(tmp_path / "d", labelled=True).table
    assert table["label"].tolist() == ["no", "yes"]
    assert table["status"].tolist() == ["ok", "ok"]


def test_labels_are_read_in_other_spellings(make: Make, save: Save, tmp_path: Path) -> None:
    save(make([0, 1], PatientID="P1"), "d/a.dcm")
    save(make([0, 2], PatientID="P2"), "d/b.dcm")
    (tmp_path / "d" / "labels.csv").write_text("path,cancer,patient_id\na.dcm,0,X\nb.dcm,1,Y\n")
    table = index(tmp_path / "d", labelled=True).table
    assert table["label"].tolist() == ["no", "yes"]
    assert "X" not in set(table["patient"])


def _two_women(make: Make, save: Save, folder: str = "d", **both: object) -> None:
    """Two halves of two women under one StudyInstanceUID."""
    views = [("QA", "A", "L"), ("QB", "B", "R")]
    files = [(*who, view) for who in views for view in ("CC", "MLO")]
    for i, (patient, accession, side, view) in enumerate(files):
        own = {"PatientID": patient, "AccessionNumber": accession, "ImageLaterality": side}
        own |= {"StudyInstanceUID": "1.9", "ViewPosition": view, **both}
        save(make([0, i + 1], **own), f"{folder}/{i}.dcm")


def test_two_patients_under_one_study_uid_are_two_exams_and_one_group(
    make: Make, save: Save, tmp_path: Path
) -> None:
    _two_women(make, save)
    found = index(tmp_path / "d", keep_identifiers=True)
    table = found.table.set_index("image_id")
    assert table["exam"].tolist() == ["1.9 of QA"] * 2 + ["1.9 of QB"] * 2
    assert table["missing_views"].tolist() == ["R CC, R MLO"] * 2 + ["L CC, L MLO"] * 2
    assert any("shared by several patients (first: 1.9, by 2 patients)" in n for n in found.notes)
    marked, decided = decide_all(
        found.table.assign(score_yes=0.1, score_no=0.9, quality="", unfamiliar=False),
        task=APP.task("cancer"),
        units=APP.units,
        threshold=None,
        rule=DoubtRule(),
        withheld="",
    )
    exams = decided["exam"].set_index("unit_id")
    assert exams["decision"].to_dict() == {"1.9 of QA": "open", "1.9 of QB": "open"}
    assert exams.loc["1.9 of QA", "doubt"] == "no image of laterality R"
    assert set(marked["exam"]) == set(exams.index)
    # They may be one woman under two ids, whom training and test must not share.
    (tmp_path / "d" / "t.csv").write_text("file,label\n0.dcm,0\n1.dcm,0\n2.dcm,1\n3.dcm,1\n")
    ok = index(tmp_path / "d", labelled=True).table.query("status == 'ok'")
    assert (ok["group"].nunique(), ok["patient"].nunique()) == (1, 2)


def test_several_accessions_of_one_patient_and_study_are_one_exam(
    make: Make, save: Save, tmp_path: Path
) -> None:
    _two_women(make, save, PatientID="QA")
    found = index(tmp_path / "d", keep_identifiers=True)
    assert set(found.table["exam"]) == {"1.9"}
    assert "missing_views" not in found.table
    assert not any("shared" in note for note in found.notes)
