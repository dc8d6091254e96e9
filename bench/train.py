"""Processor time of a training epoch against timm's network in plain and in tuned PyTorch.

All three fine-tune the same network from random weights at 224 px in batches of 16, on the same
synthetic photos of 512 x 384 pixels, with the augmentation of the app, on one core:

- ``plain``: a Dataset that decodes a JPEG whenever it is asked for, AdamW, Lightning's Trainer;
- ``tuned``: photos decoded once and kept at the size that training cuts from, channels-last
  memory, a fused optimiser, autocast where bfloat16 is asked for, no framework around the loop;
- ``resight``: ``resight train``.

With ``--freeze 3`` (the default on a processor) the stem and two stages keep their weights and
their statistics in all three. Each way also scores the validation photos once per epoch. What an
epoch takes is half the difference between three epochs and one, so that set-up, probe and report
do not count; the ways take turns.

    python bench/train.py [--backbone resnet18] [--precision 32-true] [--freeze 0] [--rounds 2]
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
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pandas as pd
import pytorch_lightning as pl
import timm
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from core.app import find_app
from core.data.prepared import store_size
from core.model.backbone import stage_of
from core.verbs.train import train

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = (224, 224)
BATCH = 16


class Leaves(Dataset[tuple[torch.Tensor, int]]):
    """Photos, decoded whenever they are asked for or once."""

    def __init__(
        self,
        table: pd.DataFrame,
        root: Path,
        augment: Any,
        *,
        once: bool,
        size: tuple[int, int] = SIZE,
    ) -> None:
        self.size = size
        self.paths = [root / path for path in table["path"]]
        self.y = table["label"].astype("category").cat.codes.tolist()
        self.augment = augment
        self.kept = [self._read(path, store_size(size)) for path in self.paths] if once else None

    def _read(self, path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
        image = np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR_RGB))
        return image if size is None else cv2.resize(image, size[::-1], None, 0, 0, cv2.INTER_AREA)

    def __len__(self) -> int:
        """How many."""
        return len(self.paths)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        """One photo, (3, H, W) bytes."""
        image = self._read(self.paths[number]) if self.kept is None else self.kept[number]
        if self.augment is None:
            image = cv2.resize(image, self.size[::-1])
        else:
            self.augment.set_random_state(np.random.default_rng(number), random.Random(number))
            image = self.augment(image=image)["image"]
        return torch.from_numpy(image).permute(2, 0, 1), int(self.y[number])


def network_of(name: str, freeze: int, n_classes: int = 4) -> torch.nn.Module:
    """Timm's network, its first stages kept as they are."""
    network = timm.create_model(name, pretrained=False, num_classes=n_classes)
    for key, parameter in network.named_parameters():
        parameter.requires_grad_(stage_of(network, key) >= freeze)
    return network


def loss_of(network: torch.nn.Module, batch: Any) -> torch.Tensor:
    """Cross-entropy of a batch of bytes."""
    pixels = (batch[0].float() / 255 - 0.45) / 0.225
    if next(iter(network.parameters())).is_contiguous(memory_format=torch.channels_last):
        pixels = pixels.contiguous(memory_format=torch.channels_last)
    return torch.nn.functional.cross_entropy(network(pixels), batch[1])


def fit_epoch(
    network: torch.nn.Module,
    batches: DataLoader[Any],
    optimiser: torch.optim.Optimizer,
    lower: torch.autocast,
    *,
    is_frozen: bool,
    after: Callable[[], Any] = lambda: None,
) -> None:
    """One epoch of the tuned loop; where stages are frozen, so are statistics.

    Args:
        network: trained in place.
        batches: of pictures and classes.
        optimiser: of the weights that learn.
        lower: autocast, on or off.
        is_frozen: whether some stages are.
        after: called after each step.
    """
    network.train()
    if is_frozen:
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
    learned = [weight for group in optimiser.param_groups for weight in group["params"]]
    for batch in batches:
        with lower:
            loss = loss_of(network, batch)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimiser.step()
        after()


class Plain(pl.LightningModule):
    """What a tutorial shows."""

    def __init__(self, name: str, freeze: int) -> None:
        super().__init__()
        self.network = network_of(name, freeze)

    def training_step(self, batch: Any, _: int) -> torch.Tensor:
        """Loss."""
        loss = loss_of(self.network, batch)
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: Any, _: int) -> None:
        """Loss."""
        self.log("val", loss_of(self.network, batch))

    def configure_optimizers(self) -> Any:
        """AdamW."""
        return torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], lr=1e-3)


def cpu_seconds() -> float:
    """Processor time of this process and of those that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


class Bench:
    """The three ways on the same photos.

    Args:
        asked: backbone, precision, freeze.
        folder: the photos.
        rows: those of each split, as ``resight train`` drew them.
        work: for runs.
    """

    def __init__(
        self, asked: argparse.Namespace, folder: Path, rows: dict[str, pd.DataFrame], work: Path
    ) -> None:
        self.asked, self.folder, self.rows, self.work = asked, folder, rows, work
        self.turn = 0

    def _loaders(self, *, once: bool) -> tuple[DataLoader[Any], DataLoader[Any]]:
        augment = find_app("crop_disease").augment(SIZE)
        images = Leaves(self.rows["train"], self.folder, augment, once=once)
        checked = Leaves(self.rows["val"], self.folder, None, once=once)
        return (
            DataLoader(images, BATCH, shuffle=True, drop_last=True),
            DataLoader(checked, BATCH),
        )

    def plain(self, epochs: int) -> None:
        """Lightning's Trainer around a Dataset of files."""
        trainer = pl.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            precision=self.asked.precision,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(Plain(self.asked.backbone, self.asked.freeze), *self._loaders(once=False))

    def tuned(self, epochs: int) -> None:
        """A loop of its own, with all that is known to help on a processor."""
        network = network_of(self.asked.backbone, self.asked.freeze)
        network = network.to(memory_format=torch.channels_last)
        learned = [p for p in network.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(learned, lr=1e-3, fused=True)
        lower = torch.autocast("cpu", torch.bfloat16, self.asked.precision == "bf16-mixed")
        train_batches, val_batches = self._loaders(once=True)
        for _ in range(epochs):
            fit_epoch(network, train_batches, optimiser, lower, is_frozen=bool(self.asked.freeze))
            network.eval()
            with torch.inference_mode(), lower:
                for batch in val_batches:
                    loss_of(network, batch)

    def resight(self, epochs: int) -> None:
        """The command, everything around the epochs included."""
        self.turn += 1
        flags = {
            "backbone": self.asked.backbone,
            "weights": "none",
            "size_px": SIZE,
            "batch": BATCH,
            "epochs": epochs,
            "device": "cpu",
            "workers": 0,
            "precision": self.asked.precision,
            "freeze_stages": self.asked.freeze,
            "batchnorm": "frozen" if self.asked.freeze else "train",
        }
        train("crop_disease", self.folder, self.work / f"run-{self.turn}", flags=flags)

    def epoch(self, way: str) -> float:
        """Seconds of processor time that an epoch takes."""
        spent = []
        for epochs in (3, 1):
            start = cpu_seconds()
            getattr(self, way)(epochs)
            spent.append(cpu_seconds() - start)
        return (spent[0] - spent[1]) / 2


def main() -> None:
    """Print the seconds of each way, and how many times those of resight they are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--precision", default="32-true", choices=("32-true", "bf16-mixed"))
    parser.add_argument("--freeze", type=int, default=0)
    parser.add_argument("--images", type=int, default=96)
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
        first = Bench(asked, folder, {}, place / "first")
        first.resight(1)
        manifest = pd.read_parquet(place / "first" / "run-1" / "manifest.parquet")
        rows = {split: manifest[manifest["split"] == split] for split in ("train", "val")}
        bench = Bench(asked, folder, rows, place)
        best = dict.fromkeys(("plain", "tuned", "resight"), float("inf"))
        for _ in range(asked.rounds):
            best = {way: min(before, bench.epoch(way)) for way, before in best.items()}
    print(
        f"{asked.backbone}, {asked.precision}, {asked.freeze} stages frozen, an epoch of "
        f"{len(rows['train'])} + {len(rows['val'])} photos:"
    )
    for way, seconds in best.items():
        print(f"  {way:8}{seconds:6.2f} s of processor time, {seconds / best['resight']:.2f}")


if __name__ == "__main__":
    main()
