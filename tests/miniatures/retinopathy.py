"""Public sets of fundus photographs in small."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.retinopathy import APP
from tests.miniatures.sets import miniature, photo, table

if TYPE_CHECKING:
    from pathlib import Path

GROUNDS = "2. Groundtruths/a. IDRiD_Disease Grading_Training Labels.csv"
TRAINING = "regular_fundus_images/regular-fundus-training/regular-fundus-training.csv"


@miniature(APP, "trainLabels.csv", "level", "dr_level")
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


@miniature(APP, "train.csv", "diagnosis", "label_of_dr")
def aptos2019(root: Path) -> None:
    names = [f"000c1434d8d{i}" for i in range(8)]
    table(root / "train.csv", "id_code,diagnosis", *(f"{n},{i % 5}" for i, n in enumerate(names)))
    for name in names:
        photo(root / "train_images" / f"{name}.png")
    photo(root / "test_images" / "0005cfc8afb6.png")


@miniature(APP, "messidor_data.csv", "adjudicated_dr_grade", "dr_grade")
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


@miniature(APP, GROUNDS, "Retinopathy grade", "DR grade")
def idrid(root: Path) -> None:
    parts = (("a. Training Set", "a. IDRiD_Disease Grading_Training", 5),)
    parts += (("b. Testing Set", "b. IDRiD_Disease Grading_Testing", 3),)
    for images, name, n in parts:
        rows = [f"IDRiD_{i:03d},{i % 5},{i % 3},,," for i in range(1, n + 1)]
        heading = "Image name,Retinopathy grade,Risk of macular edema ,,,"
        table(root / "2. Groundtruths" / f"{name} Labels.csv", heading, *rows)
        for row in rows:
            photo(root / "1. Original Images" / images / f"{row.split(',')[0]}.jpg")


@miniature(APP, "DR_grading/train.txt", "007-0004-000.jpg 0", "007.jpg,none", told="- name grade")
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


@miniature(APP, TRAINING, "left_eye_DR_Level", "left_DR")
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


@miniature(APP, "full_df.csv", "Left-Diagnostic Keywords", "Left words")
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


@miniature(
    *(APP, "retinamnist.csv", "TRAIN,train0_0.png,0", "TRAIN,train0_0.png,none"),
    told="- TRAIN|VALIDATION|TEST,name,grade",
)
def retinamnist(root: Path) -> None:
    lines = []
    for split, word, n in (("train", "TRAIN", 5), ("val", "VALIDATION", 2), ("test", "TEST", 2)):
        for i in range(n):
            name = f"{split}{i}_{i % 5}.png"
            photo(root / "retinamnist" / name)
            lines.append(f"{word},{name},{i % 5}")
    table(root / "retinamnist.csv", *lines)
