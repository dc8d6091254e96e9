"""Public mammography sets: a miniature of each, in exactly the published tree."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from apps.mammography import APP
from core.app import Source
from core.base.tables import check_manifest, check_splits
from core.cards.card import all_cards
from core.data.recognition import index_with_cards
from core.errors import ConfigError, ManifestError
from core.verbs.check import check

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.app import Manifest

DATA = Path(__file__).parents[3] / "shared" / "data"
SIDES = (("L", "CC"), ("L", "MLO"), ("R", "CC"), ("R", "MLO"))


def table(file: Path, *lines: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def dicom(path: Path, number: int, **elements: object) -> None:
    """The smallest mammogram that a header reader accepts."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.1.2")
    meta.MediaStorageSOPInstanceUID = UID(f"1.2.3.{number}")
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID = meta.MediaStorageSOPClassUID
    data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    data.Modality, data.PhotometricInterpretation = "MG", "MONOCHROME2"
    data.Rows, data.Columns, data.SamplesPerPixel, data.PixelRepresentation = 2, 2, 1, 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    data.PixelData = np.array([0, 1, 2, number], "<u2").tobytes()
    data["PixelData"].VR = "OW"
    for name, value in elements.items():
        setattr(data, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)


def cbis_ddsm(root: Path) -> None:
    films = [
        ("Mass-Training_P_00001_LEFT_CC", "MALIGNANT"),
        ("Mass-Training_P_00001_LEFT_MLO", "MALIGNANT"),
        ("Mass-Training_P_00002_RIGHT_CC", "BENIGN"),
        ("Mass-Training_P_00003_RIGHT_CC", "BENIGN"),
        ("Calc-Test_P_00003_RIGHT_MLO", "BENIGN_WITHOUT_CALLBACK"),
        ("Calc-Test_P_00004_LEFT_CC", "MALIGNANT"),
    ]
    lines: dict[str, list[str]] = {"mass": [], "calc": []}
    for i, (name, pathology) in enumerate(films):
        part, _, number, side, view = name.split("_")
        kind, patient = part.split("-")[0].lower(), f"P_{number}"
        dicom(root / name / "07-20-2016" / "1.000000-full" / "1-1.dcm", i, PatientID=name)
        lines[kind].append(f"{patient},3,{side},{view},1,{kind},4,{pathology},3,{name}/1/2/0.dcm")
    density = {"mass": "breast_density", "calc": "breast density"}
    for kind, part in (("mass", "train"), ("calc", "test")):
        heading = (
            f"patient_id,{density[kind]},left or right breast,image view,abnormality id,"
            "abnormality type,assessment,pathology,subtlety,image file path"
        )
        table(root / f"{kind}_case_description_{part}_set.csv", heading, *lines[kind])


def vindr_mammo(root: Path) -> None:
    lines = []
    for study, birads in (("s0", (1, 5)), ("s1", (2, 4))):
        for i, (side, view) in enumerate(SIDES):
            name = f"{study}{i}".encode().hex().rjust(32, "0")
            dicom(root / "images" / study / f"{name}.dicom", int(study[1]) * 4 + i)
            assessed = birads[side == "R"]
            split = "training" if study == "s0" else "test"
            lines.append(
                f"{study},x,{name},{side},{view},3518,2800,BI-RADS {assessed},DENSITY C,{split}"
            )
    heading = (
        "study_id,series_id,image_id,laterality,view_position,height,width,breast_birads,"
        "breast_density,split"
    )
    table(root / "breast-level_annotations.csv", heading, *lines)


def rsna2023(root: Path) -> None:
    lines = []
    for p, patient in enumerate(("10006", "10011")):
        for i, (side, view) in enumerate(SIDES):
            image = f"46{p}{i}"
            dicom(root / "train_images" / patient / f"{image}.dcm", p * 4 + i)
            cancer = int(patient == "10011" and side == "L")
            lines.append(f"2,{patient},{image},{side},{view},61.0,{cancer},{cancer},0,,0,,29,False")
    heading = (
        "site_id,patient_id,image_id,laterality,view,age,cancer,biopsy,invasive,BIRADS,implant,"
        "density,machine_id,difficult_negative_case"
    )
    table(root / "train.csv", heading, *lines)


def embed(root: Path) -> None:
    files, findings = [], []
    for e, exam in enumerate(("501", "502")):
        for i, (side, view) in enumerate(SIDES):
            name = f"1.2.840.{e}{i}"
            path = f"cohort_1/7{e}/{exam}/{name}.dcm"
            dicom(root / path, e * 4 + i)
            kind = "cview" if i == 1 else "2D"
            files.append(f"7{e},{exam},/mnt/embed/{path},{kind},{side},{view},0,0")
    files[3] = files[3].replace(",0,0", ",1,0")
    findings = [
        "70,501,MG Screening Bilateral,3,A,L,0,L",
        "70,501,MG Screening Bilateral,3,N,R,,",
        "71,502,MG Screening Bilateral,2,N,,,",
        "71,502,MG Screening Bilateral,2,S,R,,",
    ]
    table(
        root / "tables" / "EMBED_OpenData_metadata.csv",
        "empi_anon,acc_anon,anon_dicom_path,FinalImageType,ImageLateralityFinal,ViewPosition,"
        "spot_mag,num_roi",
        *files,
    )
    table(
        root / "tables" / "EMBED_OpenData_clinical.csv",
        "empi_anon,acc_anon,desc,tissueden,asses,side,path_severity,bside",
        *findings,
    )


def inbreast(root: Path) -> None:
    lines = []
    for i, birads in enumerate(("1", "2", "4a", "5", "3", "6", "1", "2")):
        side, view = SIDES[i % 4]
        view = "ML" if view == "MLO" else view
        number = 20586908 + i
        dicom(root / "AllDICOMs" / f"{number}_6c613a14b80a859{i // 4}_MG_{side}_{view}_ANON.dcm", i)
        lines.append(f"removed;removed;{side};{view};201001;{number};{i % 4 + 1};{birads};;X;;")
    heading = (
        "Patient ID;Patient age;Laterality;View;Acquisition date;File Name;ACR;Bi-Rads;Mass;"
        "Micros;Distortion;Asymmetry"
    )
    table(root / "INbreast.csv", heading, *lines)


def mini_mias(root: Path) -> None:
    table(
        root / "Info.txt",
        *("INFORMATION:", "", "mdb001 G CIRC B 535 425 197", "mdb002 G CIRC B 522 280 69"),
        *("mdb003 D NORM ", "mdb004 D CALC M *NOTE 3*", "mdb005 F CIRC B 477 133 30"),
        *("mdb005 F SPIC M 500 168 26", "mdb006 F NORM", "mdb007 G NORM", "mdb008 G NORM"),
    )
    for n in range(1, 9):
        Image.fromarray(np.full((8, 8), n, np.uint8)).save(root / f"mdb{n:03d}.pgm")


def csaw_cc(root: Path) -> None:
    lines = []
    for p, (case, side_of, timing) in enumerate(((1, "Left", 1), (1, "Left", 3), (0, "", ""))):
        for side, view in SIDES:
            name = f"0000{p}_20990909_{side}_{view}_1.dcm"
            dicom(root / name, p * 4 + len(lines), ImageLaterality=side)
            word = {"L": "Left", "R": "Right"}[side]
            lines.append(
                f"0000{p},{name},2010,1,{case},,{side_of},0,{timing},1,0,0,{word},{view},0.3"
            )
    heading = (
        "anon_patientid,anon_filename,exam_year,x_age,x_case,x_type,x_cancer_laterality,"
        "x_lymphnode_met,rad_timing,rad_r1,rad_r2,rad_recall,imagelaterality,viewposition,"
        "libra_percentdensity"
    )
    table(root / "CSAW-CC_breast_cancer_screening_data.csv", heading, *lines)


def cmmd(root: Path) -> None:
    lines = []
    for p, (patient, kind) in enumerate((("D1-0001", "Benign"), ("D2-0002", "Malignant"))):
        for i, (side, view) in enumerate(SIDES):
            folder = root / "CMMD" / patient / "07-18-2010" / "1.000000-71002"
            dicom(folder / f"1-{i + 1}.dcm", p * 4 + i, ImageLaterality=side, ViewPosition=view)
        lines.append(f"{patient},R,44,2,mass,{kind},")
    heading = "ID1,LeftRight,Age,number,abnormality,classification,subtype"
    table(root / "CMMD_clinicaldata_revision.csv", heading, *lines)


MINIATURES: dict[str, Callable[[Path], None]] = {
    write.__name__: write
    for write in (*(cbis_ddsm, vindr_mammo, rsna2023, embed, inbreast, mini_mias, csaw_cc, cmmd),)
}
RENAMED = {
    "cbis_ddsm": ("mass_case_description_train_set.csv", "pathology", "histology"),
    "vindr_mammo": ("breast-level_annotations.csv", "breast_birads", "birads_of_breast"),
    "rsna2023": ("train.csv", "cancer", "is_cancer"),
    "embed": ("tables/EMBED_OpenData_metadata.csv", "acc_anon", "accession_anon"),
    "inbreast": ("INbreast.csv", "Bi-Rads", "Assessment"),
    "mini_mias": ("Info.txt", "mdb003 D NORM", "mdb003 NORM D"),
    "csaw_cc": ("CSAW-CC_breast_cancer_screening_data.csv", "x_case", "case"),
    "cmmd": ("CMMD_clinicaldata_revision.csv", "classification", "diagnosis"),
}


def look(path: Path, task: str = "cancer", **settings: object) -> Manifest:
    source = Source(paths=(path,), labelled=True, task=APP.task(task))
    card = settings.pop("card", None)
    options = {str(name).replace("_", "-"): value for name, value in settings.items()}
    found, cards = index_with_cards(APP, replace(source, options=options), card)  # type: ignore[arg-type]
    check_splits(found.table)
    assert tuple(card.name for card in cards) == found.cards
    return found


def labels(found: Manifest) -> dict[str, str]:
    rows = found.table[found.table["status"] == "ok"]
    return dict(zip(rows["image_id"], rows["label"], strict=True))


def of(found: Manifest, part: str) -> list[str]:
    return [label for name, label in labels(found).items() if part in name]


def test_every_set_of_this_app_has_a_miniature() -> None:
    mine = {name for name, file in all_cards().items() if file.card.app == APP.name}
    assert mine == set(MINIATURES) == set(RENAMED)


@pytest.mark.parametrize("name", MINIATURES)
def test_a_miniature_is_recognised(name: str, tmp_path: Path) -> None:
    MINIATURES[name](tmp_path)
    found = look(tmp_path)
    check_manifest(found.table, labelled=True)
    assert found.cards == (name,)
    assert set(labels(found).values()) == {"no", "yes"}
    assert (found.table.loc[found.table["status"] == "ok", "group"] != "").all()
    assert "patient" in found.group_rule
    assert labels(look(tmp_path, card=name)) == labels(found)


def test_none_reads_the_folder_as_any_other(tmp_path: Path) -> None:
    rsna2023(tmp_path)
    found = look(tmp_path, card="none")
    assert found.cards == ()
    # A label column that the user names does not change whose data these are.
    source = Source(paths=(tmp_path,), labelled=True, task=APP.task("cancer"), label="cancer")
    assert index_with_cards(APP, source, None)[0].cards == ("rsna2023",)


@pytest.mark.parametrize("name", RENAMED)
def test_a_renamed_column_is_an_error_with_a_diff(name: str, tmp_path: Path) -> None:
    MINIATURES[name](tmp_path)
    place, old, new = RENAMED[name]
    text = (tmp_path / place).read_text()
    assert old in text
    (tmp_path / place).write_text(text.replace(old, new, 1))
    with pytest.raises(ManifestError) as caught:
        look(tmp_path)
    words = str(caught.value)
    assert f"+ {new}" in words
    assert "- mdbNNN" in words if name == "mini_mias" else f"- {old}" in words
    assert "--card none" in words


@pytest.mark.parametrize("name", MINIATURES)
def test_a_missing_file_is_counted(name: str, tmp_path: Path) -> None:
    MINIATURES[name](tmp_path)
    first = look(tmp_path).table.iloc[0]["path"]
    if name == "cmmd":
        # Its table lists patients, so all files of one must be gone.
        for file in (tmp_path / first).parent.iterdir():
            file.unlink()
    else:
        (tmp_path / first).unlink()
    notes = look(tmp_path).notes
    assert any("1 of" in note and "listed images are not there" in note for note in notes), notes


def test_cbis_patients_in_both_parts_train_and_are_counted(tmp_path: Path) -> None:
    cbis_ddsm(tmp_path)
    found = look(tmp_path)
    splits = found.table.groupby("group")["split"].agg(set).to_dict()
    assert splits == {
        "P_00001": {"train"},
        "P_00002": {"train"},
        "P_00003": {"train"},
        "P_00004": {"test"},
    }
    assert any("1 patients stand in the training set of one kind" in note for note in found.notes)
    assert set(found.table["density"]) == {"C"}


def test_cbis_without_its_tables_is_known_by_its_headers(tmp_path: Path) -> None:
    cbis_ddsm(tmp_path)
    for file in tmp_path.glob("*.csv"):
        file.unlink()
    dicom(tmp_path / "other.dcm", 99, PatientID="someone")
    found = look(tmp_path)
    assert found.cards == ("cbis_ddsm",)
    assert set(labels(found).values()) == {""}
    assert len(labels(found)) == 6
    assert any("no label is known" in note for note in found.notes)
    assert "its header is not one of CBIS-DDSM" in set(found.table["reason"])


def test_a_folder_without_any_label_can_be_looked_at(tmp_path: Path) -> None:
    cbis_ddsm(tmp_path / "films")
    for file in (tmp_path / "films").glob("*.csv"):
        file.unlink()
    done = check("mammography", tmp_path / "films", tmp_path / "out", progress=False)
    assert (done["cards"], done["counts"]["ok"]) == (["cbis_ddsm"], 6)
    verdicts = {entry["name"]: entry["verdict"] for entry in done["checks"]}
    assert verdicts["classes"] == verdicts["shortcut_file"] == "cannot be checked"
    assert verdicts["readable"] == "passed"


@pytest.mark.parametrize("name", ["INbreast.xls", "CMMD_clinicaldata_revision.xlsx"])
def test_a_table_that_is_a_spreadsheet_is_named(name: str, tmp_path: Path) -> None:
    dicom(tmp_path / "D1-0001" / "1.dcm", 1)
    (tmp_path / name).write_bytes(b"sheet")
    with pytest.raises(ManifestError, match=r"Save its first sheet as \.xlsx or CSV"):
        look(tmp_path)


def test_the_copy_of_cbis_ddsm_as_jpeg_is_the_set(tmp_path: Path) -> None:
    cbis_ddsm(tmp_path / "published")
    before = look(tmp_path / "published")
    uid = "1.3.6.1.4.1.9590.100.1.2.{}"
    (tmp_path / "copy" / "csv").mkdir(parents=True)
    n = 0
    for file in sorted((tmp_path / "published").glob("*.csv")):
        heading, *rows = file.read_text().splitlines()
        lines = [heading]
        for row in rows:
            n += 1
            lines.append(row.replace("/1/2/0.dcm", f"/{uid.format(n)}0/{uid.format(n)}/0.dcm"))
            # The full film, and a cut-out in a series of its own that no row names.
            for name, value in ((uid.format(n), n), (f"{uid.format(n)}9", n + 50)):
                place = tmp_path / "copy" / "jpeg" / name / "1-1.jpg"
                place.parent.mkdir(parents=True)
                Image.fromarray(np.full((8, 8), value, np.uint8)).save(place)
        (tmp_path / "copy" / "csv" / file.name).write_text("\n".join(lines))
    after = look(tmp_path / "copy")
    assert after.cards == ("cbis_ddsm",)

    def known(found: Manifest) -> list[tuple[str, ...]]:
        ok = found.table[found.table["status"] == "ok"]
        names = ["label", "laterality", "view", "split"]
        return sorted(tuple(row) for row in ok[names].itertuples(index=False))

    assert known(after) == known(before)
    assert (after.table["status"] == "skipped").sum() == n


def test_what_counts_as_cancer_in_birads_is_a_choice(tmp_path: Path) -> None:
    vindr_mammo(tmp_path / "v")
    inbreast(tmp_path / "i")
    before = look(tmp_path / "v")
    assert sorted(of(before, "s0")) == ["no", "no", "yes", "yes"]
    assert of(before, "s1") == ["no", "no"]
    after = look(tmp_path / "v", birads_cancer="4,5")
    assert sorted(of(after, "s1")) == ["no", "no", "yes", "yes"]
    assert any("as asked" in note and "bi-rads 4 as yes" in note for note in after.notes)
    assert list(labels(look(tmp_path / "i")).values()).count("yes") == 3
    fewer = look(tmp_path / "i", birads_cancer="5,6")
    assert list(labels(fewer).values()).count("yes") == 2
    # 4a counted by the card and is not named: it is neither.
    assert len(labels(fewer)) == 7
    mapped = look(tmp_path / "v", label_map="BI-RADS 4=no")
    assert of(mapped, "s1") == ["no"] * 4
    with pytest.raises(ConfigError, match="not a list of BI-RADS"):
        look(tmp_path / "v", birads_cancer="high")


def test_inbreast_patients_come_from_the_names_and_ml_is_mlo(tmp_path: Path) -> None:
    inbreast(tmp_path)
    found = look(tmp_path)
    assert found.table["group"].nunique() == 2
    assert set(found.table["view"]) == {"CC", "MLO"}


def test_embed_findings_meet_images_by_exam_and_side(tmp_path: Path) -> None:
    embed(tmp_path)
    found = look(tmp_path)
    # Left of 501 has invasive cancer; its right is negative, one of its views is a spot view.
    assert of(found, "/501/") == ["yes", "yes", "no"]
    # Right of 502 is BI-RADS 4 without pathology: neither; its left is negative.
    assert of(found, "/502/") == ["no", "no"]
    reasons = set(found.table["reason"])
    assert "is a spot or magnified view" in reasons
    assert found.table["group"].nunique() == 2
    assert any("path_severity" in note and "dropped" in note for note in found.notes)
    assert any("may not be released" in note for note in found.notes)
    assert "path_severity" not in found.table
    assert of(look(tmp_path, label_map="birads S=yes"), "/502/") == ["no", "no", "yes", "yes"]


def test_csaw_takes_the_side_and_the_time_of_the_cancer(tmp_path: Path) -> None:
    csaw_cc(tmp_path)
    found = look(tmp_path)
    assert of(found, "00000_") == ["yes", "yes"]
    assert of(found, "00001_") == []
    assert of(found, "00002_") == ["no"] * 4
    assert of(look(tmp_path, label_map="timing 3=yes"), "00001_") == ["yes", "yes"]
    assert not any(str(column).startswith(("x_", "rad_")) for column in found.table)


def test_cmmd_rows_are_of_one_breast(tmp_path: Path) -> None:
    cmmd(tmp_path)
    found = look(tmp_path)
    assert sorted(labels(found).values()) == ["no", "no", "yes", "yes"]
    assert set(found.table.loc[found.table["status"] == "ok", "laterality"]) == {"R"}


def test_images_to_score_need_no_table(tmp_path: Path) -> None:
    csaw_cc(tmp_path)
    dicom(tmp_path / "later.dcm", 77, ImageLaterality="L", ViewPosition="CC")
    # CSAW-CC has no density: that must not keep a density model from reading its images.
    source = Source(paths=(tmp_path,), labelled=False, task=APP.task("density"))
    found = APP.index(source).table
    images = found[found["path"].str.endswith(".dcm")]
    assert (len(images), set(images["status"])) == (13, {"ok"})
    source = Source(paths=(tmp_path,), labelled=False, task=APP.task("cancer"))
    found = APP.index(source).table
    assert (len(found), set(found["label"]), set(found["status"])) == (13, {""}, {"ok"})


def test_a_split_or_group_of_the_table_is_taken_with_what_else_the_set_says(tmp_path: Path) -> None:
    rsna2023(tmp_path)
    rows = (tmp_path / "train.csv").read_text().splitlines()
    lines = [f"{row},{'train' if ',10006,' in row else 'val'}" for row in rows[1:]]
    table(tmp_path / "train.csv", f"{rows[0]},split", *lines)
    found = look(tmp_path)
    assert found.table.groupby("patient")["split"].agg(set).to_dict() == {
        **{"10006": {"train"}, "10011": {"val"}}
    }
    source = Source(paths=(tmp_path,), labelled=True, task=APP.task("cancer"), group="machine_id")
    by_machine = index_with_cards(APP, source, None)[0]
    assert by_machine.cards == ("rsna2023",)
    assert set(by_machine.table["group"]) == {"29"}
    assert set(by_machine.table["site"]) == {"2"}
    # The table itself may be named as well as its folder.
    assert labels(look(tmp_path / "train.csv")) == labels(found)


def test_rsna_outcomes_are_dropped_and_said(tmp_path: Path) -> None:
    rsna2023(tmp_path)
    found = look(tmp_path)
    assert {"biopsy", "invasive", "BIRADS"}.isdisjoint(found.table)
    assert any("biopsy, invasive, BIRADS" in note and "dropped" in note for note in found.notes)


@pytest.mark.skipif(not (DATA / "mammo_film").is_dir(), reason="no mini-MIAS here")
def test_the_real_films() -> None:
    found = look(DATA / "mammo_film", "pathology")
    assert found.cards == ("mini_mias",)
    assert found.table["group"].nunique() == 161
    counts = found.table["label"].value_counts().to_dict()
    assert sum(counts.values()) == 322
    assert counts["normal"] > counts["benign"] > counts["malignant"]


@pytest.mark.skipif(not (DATA / "mammo_dicom").is_dir(), reason="no real DICOM mammograms here")
def test_the_real_exam() -> None:
    found = look(DATA / "mammo_dicom")
    assert found.cards == ("cbis_ddsm",)
    ok = found.table[found.table["status"] == "ok"]
    assert (len(ok), ok["exam"].nunique(), set(ok["group"])) == (4, 1, {"P_00820"})
    assert set(found.table["status"]) == {"ok", "skipped"}
