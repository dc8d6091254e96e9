"""Findings on chest radiographs: any of 14 on an image, in the layout of NIH ChestX-ray14.

A folder with images anywhere below it and ``Data_Entry_2017.csv``, one row per image with
``Image Index`` (the file), ``Finding Labels`` (joined by ``|``, or ``No Finding``),
``Patient ID`` and ``View Position``. The labels were mined from reports and hold errors.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import albumentations as A
import cv2
import numpy as np
from PIL import Image

from core.app import App, Metric, Task, Unit
from core.data.images import read_image
from core.data.manifest import GroupRule, index_images
from core.statistics.metrics import macro_auroc

FINDINGS = (
    *("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia"),
    *("Pneumothorax", "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening"),
    "Hernia",
)
TASK = Task(name="findings", kind="multilabel", classes=FINDINGS, label="Finding Labels")


def index(source):
    """The manifest: findings and patient of each image as the table says."""
    patient = GroupRule(words="the patient", columns=("Patient ID",))
    # A bare separator means: none of the findings. An empty label would mean: not known.
    none = {"No Finding": TASK.label_separator}
    return index_images(source, group=patient, label_of=lambda cell: none.get(cell, cell))


def read(row):
    """The radiograph (H, W, 1), by the one strict reader; some files of the set are RGBA."""
    pixels = read_image(Path(row["path"]), at_least=row.get("at_least"))
    return pixels if pixels.shape[2] == 1 else pixels[:, :, :1]


@dataclass(frozen=True)
class Fit:
    """The preparation: the whole radiograph at the size asked for."""

    size_px: tuple[int, int]

    def __call__(self, row):
        image = row["image"]
        scale = np.array(image.shape[:2]) / self.size_px
        affine = np.diag([*scale, 1.0])
        affine[:2, 2] = (scale - 1) / 2
        image = cv2.resize(image, self.size_px[::-1], interpolation=cv2.INTER_AREA)
        return {**row, "image": image.reshape(*self.size_px, -1), "affine": affine}


def augment(size_px):
    """Random changes of training; never mirrored, for the heart is on the left."""
    steps = [A.Affine(rotate=(-5, 5), scale=(0.9, 1.1), p=1.0), A.Resize(*size_px)]
    return A.Compose([*steps, A.RandomBrightnessContrast(p=0.5)])


def phantom(folder, n_images, seed):
    """Synthetic chests, three to a patient: an effusion whitens the base, a mass is round."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows = [("Image Index", "Finding Labels", "Patient ID", "View Position")]
    for number in range(n_images):
        patient = number // 3
        found = [n for n, on in (("Effusion", patient % 2), ("Mass", patient // 2 % 2)) if on]
        pixels = rng.normal(90, 8, (96, 96)).astype(np.float32)
        for lung in (30, 66):
            centre = rng.integers((lung - 5, 43), (lung + 6, 54))
            axes = rng.integers((9, 24), (15, 38))
            tilt = int(rng.integers(-15, 16))
            cv2.ellipse(pixels, centre.tolist(), axes.tolist(), tilt, 0, 360, 35, -1)
        if "Effusion" in found:
            pixels[66:] += 110
        if "Mass" in found:
            cv2.circle(pixels, rng.integers(26, 36, 2).tolist(), 8, 220, -1)
        name = f"{patient + 1:08d}_{number % 3:03d}.png"
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / "images" / name)
        rows.append((name, "|".join(found) or "No Finding", patient + 1, ("PA", "AP")[number % 2]))
    with (folder / "Data_Entry_2017.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return folder


APP = App(
    name="chest_xray", title="Findings on chest radiographs", group="patient",
    intended_use="Suggests findings on frontal chest radiographs, to study shortcuts and transfer.",
    tasks=(TASK,), index=index, read=read, prepare=Fit, augment=augment, phantom=phantom,
    units=(Unit(name="patient", columns=("Patient ID",), rule="mean"),),
    metrics=(Metric(name="macro_auroc", title="Macro AUROC", compute=macro_auroc),),
    subgroups=("View Position",), output_columns=("Patient ID", "View Position"),
)  # fmt: skip
