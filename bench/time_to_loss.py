"""Processor time until a validation loss is reached: timm's network in tuned PyTorch and resight.

``resight train`` runs with its defaults, and its validation log-loss is noted after each epoch
with the processor time of the whole command so far: reading, checking, probe and all. Then the
same network from the same weights is fine-tuned on the same rows, at the same size, with the
same augmentation and precision in a loop that has all that is known to help on a processor
(``bench/train.py``): AdamW, one cycle of the learning rate, with all stages or with the last
one, at several learning rates, of which the best is compared as if it had been known. Its time
begins when its photos are decoded.

    python bench/time_to_loss.py images DATA --weights FILE [--epochs 12] [--rates 1e-4 3e-4]
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import torch
import yaml
from safetensors.torch import load_file
from torch.utils.data import DataLoader
from train import Leaves, fit_epoch, loss_of, network_of

from core.app import find_app
from core.base.progress import log
from core.verbs.train import train

# Epoch, validation log-loss, processor seconds so far.
Curve = list[tuple[int, float, float]]


def cpu_seconds() -> float:
    """Processor time of this process and of those that it started and that still run."""
    own = psutil.Process()
    times = [own.cpu_times(), *(child.cpu_times() for child in own.children(recursive=True))]
    return sum(one.user + one.system for one in times)


class Noted(logging.Handler):
    """The time at which each epoch is reported."""

    def __init__(self) -> None:
        super().__init__()
        self.start = cpu_seconds()
        self.curve: Curve = []

    def emit(self, record: logging.LogRecord) -> None:
        """Note what is said of the probe, which is epoch 0, and of an epoch."""
        told, spent = record.args, cpu_seconds() - self.start
        if str(record.msg).startswith("probe on frozen") and isinstance(told, tuple):
            self.curve.append((0, float(str(told[0])), spent))
        if str(record.msg).startswith("epoch %d") and isinstance(told, tuple):
            self.curve.append((int(str(told[0])), float(str(told[3])), spent))


def resight(app: str, data: Path, run: Path, flags: dict[str, Any], task: str | None) -> Curve:
    """The default training; epoch 0 is the probe."""
    noted = Noted()
    log.addHandler(noted)
    log.setLevel(logging.INFO)
    train(app, data, run, flags=flags, task=task)
    log.removeHandler(noted)
    return noted.curve


class Tuned:
    """The loop of one's own, on the rows and at the size of a run."""

    def __init__(self, app: str, data: Path, run: Path, weights: Path) -> None:
        self.config = yaml.safe_load((run / "plan.yaml").read_text())["settings"]
        table = pd.read_parquet(run / "manifest.parquet")
        table["label"] = pd.Categorical(table["label"]).codes
        self.rows = {split: table[table["split"] == split] for split in ("train", "val")}
        self.n_classes = int(table["label"].max()) + 1
        self.app, self.data, self.weights = app, data, load_file(weights)

    def network(self, freeze: int) -> torch.nn.Module:
        """Timm's network with its weights and a new last layer."""
        network = network_of(self.config["backbone"], freeze, self.n_classes)
        kept = {key: value for key, value in self.weights.items() if not key.startswith("fc.")}
        network.load_state_dict(kept, strict=False)
        return network.to(memory_format=torch.channels_last)

    def fit(self, *, freeze: int, rate: float, epochs: int) -> Curve:
        """Validation log-loss after each epoch."""
        torch.manual_seed(0)
        start = cpu_seconds()
        size, batch = tuple(self.config["size_px"]), self.config["batch"]
        augment = find_app(self.app).augment(size)
        images = Leaves(self.rows["train"], self.data, augment, once=True, size=size)
        checked = Leaves(self.rows["val"], self.data, None, once=True, size=size)
        batches = DataLoader(images, batch, shuffle=True, drop_last=True)
        network = self.network(freeze)
        learned = [p for p in network.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(learned, lr=rate, weight_decay=0.01, fused=True)
        steps = epochs * len(batches)
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps, pct_start=0.1)
        lower = torch.autocast("cpu", torch.bfloat16, self.config["precision"] == "bf16-mixed")
        curve: Curve = []
        for epoch in range(1, epochs + 1):
            fit_epoch(network, batches, optimiser, lower, is_frozen=bool(freeze), after=cycle.step)
            network.eval()
            with torch.inference_mode(), lower:
                losses = [loss_of(network, some) * len(some[1]) for some in DataLoader(checked, 16)]
            curve.append((epoch, float(sum(losses)) / len(checked), cpu_seconds() - start))
        return curve


def until(curve: Curve, loss: float) -> float:
    """Seconds until a loss is reached."""
    return min((spent for _, reached, spent in curve if reached <= loss), default=float("inf"))


def main() -> None:
    """Print the curves, and the times until the losses that each of the two reaches."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("app")
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--task", default=None)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-4, 3e-4])
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        os.environ["RESIGHT_HOME"] = str(Path(name) / "home")
        flags = {"backbone": asked.backbone, "weights": str(asked.weights), "device": "cpu"}
        run = Path(name) / "run"
        curves = {"resight": resight(asked.app, asked.data, run, flags, asked.task)}
        tuned = Tuned(asked.app, asked.data, run, asked.weights)
        for freeze in (0, tuned.config["freeze_stages"]) if tuned.config["freeze_stages"] else (0,):
            for rate in asked.rates:
                words = f"timm, {freeze} stages frozen, rate {rate:g}"
                curves[words] = tuned.fit(freeze=freeze, rate=rate, epochs=asked.epochs)
    for words, curve in curves.items():
        print(f"{words}: " + ", ".join(f"{loss:.4f} after {s:.0f} s" for _, loss, s in curve))
    others = {words: curve for words, curve in curves.items() if words != "resight"}
    best = min(loss for curve in others.values() for _, loss, _ in curve)
    for whose, loss in (("timm", best), ("resight", min(at[1] for at in curves["resight"]))):
        own = until(curves["resight"], loss)
        words, peer = min(
            ((words, until(curve, loss)) for words, curve in others.items()), key=lambda it: it[1]
        )
        reached = f"resight {_seconds(own)}, {words} {_seconds(peer)}"
        print(f"until {loss:.4f}, the best of {whose}: {reached}")


def _seconds(seconds: float) -> str:
    """Seconds, or that the loss is not reached."""
    return f"{seconds:.0f} s" if np.isfinite(seconds) else "never"


if __name__ == "__main__":
    main()
