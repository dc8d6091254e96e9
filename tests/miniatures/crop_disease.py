"""Public sets of leaf photos in small."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from apps.crop_disease import APP
from tests.miniatures.sets import miniature, photo, table

if TYPE_CHECKING:
    from pathlib import Path


@miniature(APP, "dataset.csv", "predominant_stress", "stress")
def bracol(root: Path) -> None:
    rows = ["1,0,0,0,0,0,0", "2,1,1,0,0,0,1", "3,2,0,1,0,1,3", "4,3,0,0,1,0,2"]
    rows += ["5,4,0,0,0,1,1", "6,0,0,0,0,0,0", "7,2,0,1,0,0,4", "8,4,0,1,0,1,2"]
    heading = "id,predominant_stress,miner,rust,phoma,cercospora,severity"
    table(root / "dataset.csv", heading, *rows)
    for row in rows:
        photo(root / "images" / f"{row.split(',')[0]}.jpg")


@miniature(APP, "train.csv", "label", "disease_label")
def cassava2020(root: Path) -> None:
    names = [f"100001515{n}.jpg" for n in range(8)]
    table(root / "train.csv", "image_id,label", *(f"{n},{i % 4}" for i, n in enumerate(names)))
    classes = ["Cassava Bacterial Blight (CBB)", "Cassava Brown Streak Disease (CBSD)"]
    classes += ["Cassava Green Mottle (CGM)", "Cassava Mosaic Disease (CMD)", "Healthy"]
    text = json.dumps({str(i): name for i, name in enumerate(classes)})
    (root / "label_num_to_disease_map.json").write_text(text)
    for name in names:
        photo(root / "train_images" / name)


@miniature(APP, "train.csv", "scab", "apple_scab")
def plant_pathology2020(root: Path) -> None:
    rows = [f"Train_{i},{','.join('1' if k == i % 4 else '0' for k in range(4))}" for i in range(8)]
    table(root / "train.csv", "image_id,healthy,multiple_diseases,rust,scab", *rows)
    for i in range(8):
        photo(root / "images" / f"Train_{i}.jpg")
    photo(root / "images" / "Test_0.jpg")


@miniature(APP, "train.csv", "labels", "label_list")
def plant_pathology2021(root: Path) -> None:
    labels = ["healthy", "scab", "scab frog_eye_leaf_spot", "rust", "complex", "powdery_mildew"]
    labels += ["healthy", "rust complex"]
    names = [f"80011322aabbccd{i}.jpg" for i in range(8)]
    rows = [f"{name},{label}" for name, label in zip(names, labels, strict=True)]
    table(root / "train.csv", "image,labels", *rows)
    for name in names:
        photo(root / "train_images" / name)


@miniature(APP, "train.csv", "variety", "cultivar")
def paddy_doctor(root: Path) -> None:
    rows = [
        (f"10033{i}.jpg", ["blast", "normal"][i % 2], ["ADT45", "Ponni"][i // 4]) for i in range(8)
    ]
    lines = [f"{name},{label},{variety},{45 + i}" for i, (name, label, variety) in enumerate(rows)]
    table(root / "train.csv", "image_id,label,variety,age", *lines)
    for name, label, _ in rows:
        photo(root / "train_images" / label / name)


@miniature(APP, "raw/color", "Tomato___Late_blight", "Tomato___Late_blite")
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


@miniature(APP, "train", "Corn rust leaf", "Corn rusty leaf")
def plantdoc(root: Path) -> None:
    classes = ["Apple Scab Leaf", "Corn rust leaf", "grape leaf black rot"]
    for split in ("train", "test"):
        for name in classes:
            for i in range(2):
                photo(root / split / name / f"{split}%20{i}.JPG.jpg")


@miniature(APP, "train", "bean_rust", "beanrust")
def ibean(root: Path) -> None:
    for split in ("train", "validation", "test"):
        for name in ("angular_leaf_spot", "bean_rust", "healthy"):
            photo(root / split / name / f"{name}_{split}.0.jpg")
