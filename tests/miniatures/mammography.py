"""Public sets of mammograms in small."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from apps.mammography import APP
from tests.miniatures.sets import miniature, table

if TYPE_CHECKING:
    from pathlib import Path

SIDES = (("L", "CC"), ("L", "MLO"), ("R", "CC"), ("R", "MLO"))


def mammogram(
    values: object, *, bits: int = 12, signed: bool = False, **elements: object
) -> FileDataset:
    """The smallest mammogram that a header reader accepts, of these stored values."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.1.2")
    meta.MediaStorageSOPInstanceUID = UID(f"1.2.3.{abs(hash(str(values))) % 10**9}")
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID = meta.MediaStorageSOPClassUID
    data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    array = np.atleast_2d(np.asarray(values))
    data.Modality, data.PhotometricInterpretation = "MG", "MONOCHROME2"
    data.Rows, data.Columns = array.shape
    data.SamplesPerPixel, data.PixelRepresentation = 1, int(signed)
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, bits, bits - 1
    data.PixelData = array.astype("<i2" if signed else "<u2").tobytes()
    data["PixelData"].VR = "OW"
    for name, value in elements.items():
        setattr(data, name, value)
    return data


def dicom(path: Path, number: int, **elements: object) -> None:
    """A mammogram of 2 x 2 pixels, the last of them the number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mammogram([[0, 1], [2, number]], **elements).save_as(path, enforce_file_format=True)


@miniature(APP, "mass_case_description_train_set.csv", "pathology", "histology")
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


@miniature(APP, "breast-level_annotations.csv", "breast_birads", "birads_of_breast")
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


@miniature(APP, "train.csv", "cancer", "is_cancer")
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


@miniature(APP, "tables/EMBED_OpenData_metadata.csv", "acc_anon", "accession_anon")
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


@miniature(APP, "INbreast.csv", "Bi-Rads", "Assessment")
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


@miniature(APP, "Info.txt", "mdb003 D NORM", "mdb003 NORM D", told="- mdbNNN")
def mini_mias(root: Path) -> None:
    table(
        root / "Info.txt",
        *("INFORMATION:", "", "mdb001 G CIRC B 535 425 197", "mdb002 G CIRC B 522 280 69"),
        *("mdb003 D NORM ", "mdb004 D CALC M *NOTE 3*", "mdb005 F CIRC B 477 133 30"),
        *("mdb005 F SPIC M 500 168 26", "mdb006 F NORM", "mdb007 G NORM", "mdb008 G NORM"),
    )
    for n in range(1, 9):
        Image.fromarray(np.full((8, 8), n, np.uint8)).save(root / f"mdb{n:03d}.pgm")


@miniature(APP, "CSAW-CC_breast_cancer_screening_data.csv", "x_case", "case")
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


@miniature(APP, "CMMD_clinicaldata_revision.csv", "classification", "diagnosis")
def cmmd(root: Path) -> None:
    lines = []
    for p, (patient, kind) in enumerate((("D1-0001", "Benign"), ("D2-0002", "Malignant"))):
        for i, (side, view) in enumerate(SIDES):
            folder = root / "CMMD" / patient / "07-18-2010" / "1.000000-71002"
            dicom(folder / f"1-{i + 1}.dcm", p * 4 + i, ImageLaterality=side, ViewPosition=view)
        lines.append(f"{patient},R,44,2,mass,{kind},")
    heading = "ID1,LeftRight,Age,number,abnormality,classification,subtype"
    table(root / "CMMD_clinicaldata_revision.csv", heading, *lines)
