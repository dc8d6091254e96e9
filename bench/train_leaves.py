"""Processor time of a training epoch against plain Lightning, timm and albumentations.

Both fine-tune every weight of the same ResNet-18 at 224 px in batches of 16, on the
same drawn photos of 512 x 384 pixels, with the augmentation of the app. The plain
way is the usual one: a Dataset that decodes a JPEG whenever it is asked for,
a DataLoader, AdamW, Lightning's Trainer. Ours is ``resight train``, which decodes once.
What an epoch takes is the difference between two epochs and one, so that
set-up, probe and report do not count; the two ways take turns.

    python bench/train_leaves.py [--images 64] [--rounds 2]
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import resource
import tempfile
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytorch_lightning as pl
import timm
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from core.app import find_app
from core.verbs.train import train

SIZE = (224, 224)
BATCH = 16


class Leaves(Dataset[tuple[torch.Tensor, int]]):
    """Photos decoded whenever they are asked for."""

    def __init__(self, table: pd.DataFrame, root: Path, augment: Any) -> None:
        self.paths = [root / path for path in table["path"]]
        self.y = table["label"].astype("category").cat.codes.tolist()
        self.augment = augment

    def __len__(self) -> int:
        """How many."""
        return len(self.paths)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        """One photo."""
        image = np.array(Image.open(self.paths[number]).convert("RGB"))
        if self.augment is None:
            image = cv2.resize(image, SIZE[::-1])
        else:
            self.augment.set_random_state(np.random.default_rng(number), random.Random(number))
            image = self.augment(image=image)["image"]
        return torch.from_numpy(image).permute(2, 0, 1).float() / 255, int(self.y[number])


class Plain(pl.LightningModule):
    """What a tutorial shows."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.network = timm.create_model("resnet18", pretrained=False, num_classes=classes)

    def training_step(self, batch: Any, _: int) -> torch.Tensor:
        """Loss."""
        loss = torch.nn.functional.cross_entropy(self.network(batch[0]), batch[1])
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: Any, _: int) -> None:
        """Loss."""
        self.log("val", torch.nn.functional.cross_entropy(self.network(batch[0]), batch[1]))

    def configure_optimizers(self) -> Any:
        """AdamW."""
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def cpu_seconds() -> float:
    """Processor time of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def plain(folder: Path, rows: dict[str, pd.DataFrame], epochs: int) -> float:
    """Seconds of so many epochs the plain way."""
    augment = find_app("crop_disease").augment(SIZE)
    loaders = [
        DataLoader(Leaves(rows["train"], folder, augment), BATCH, shuffle=True, drop_last=True),
        DataLoader(Leaves(rows["val"], folder, None), BATCH),
    ]
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    start = cpu_seconds()
    trainer.fit(Plain(4), *loaders)
    return cpu_seconds() - start


def ours(folder: Path, out: Path, epochs: int) -> float:
    """Seconds of so many epochs of ``resight train``, everything around them included."""
    flags = {"backbone": "resnet18", "weights": "none", "size_px": SIZE, "batch": BATCH}
    start = cpu_seconds()
    train("crop_disease", folder, out, flags={**flags, "epochs": epochs, "device": "cpu"})
    return cpu_seconds() - start


def main() -> None:
    """Print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="pytorch_lightning.*")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        os.environ["RESIGHT_HOME"] = str(place / "home")
        folder = find_app("crop_disease").phantom(place / "leaves", asked.images, 1)
        for file in folder.rglob("*.jpg"):
            Image.open(file).resize((512, 384)).save(file, quality=90)
        ours(folder, place / "first", 1)
        manifest = pd.read_parquet(place / "first" / "manifest.parquet")
        rows = {split: manifest[manifest["split"] == split] for split in ("train", "val")}
        plain(folder, rows, 1)
        best = [float("inf"), float("inf")]
        for turn in range(asked.rounds):
            spent = (
                plain(folder, rows, 3) - plain(folder, rows, 1),
                ours(folder, place / f"three-{turn}", 3) - ours(folder, place / f"one-{turn}", 1),
            )
            best = [min(before, now / 2) for before, now in zip(best, spent, strict=True)]
        n = len(rows["train"])
        print(
            f"an epoch of {n} images: plain {best[0]:.1f} s, resight {best[1]:.1f} s of processor "
            f"time, ratio {best[0] / best[1]:.2f}"
        )


if __name__ == "__main__":
    main()
