"""Prediction from disk to a table against a plain PyTorch loop, on drawn photos.

Both score the same JPEGs with the same ResNet-18 at 224 px. The plain loop is what
one writes first: PIL decodes, resizes and normalises one photo after the other,
and batches of eight go through the network. ``resight predict`` decodes in
processes of its own (shrinking on the way where the photo is large), refuses
what is damaged, keeps a journal, and writes tables and units.

The two take turns, and what counts is processor time of a process and its
children, which a busy machine disturbs least. Also: how memory grows with the number of inputs.

    python bench/predict_leaves.py [--images 24] [--rounds 3]
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np
import psutil
import torch
from PIL import Image

from core.app import find_app
from core.runs.networks import load_networks
from core.runs.run import load_run
from core.verbs.predict import predict
from core.verbs.train import train

SIZES = {"telephone, 3000 x 4000": (3000, 4000), "small, 384 x 512": (384, 512)}
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def cpu_seconds() -> float:
    """Processor time of this process and of the children it has and had."""
    me = psutil.Process()
    mine = me.cpu_times()
    children = [child.cpu_times() for child in me.children(recursive=True)]
    return sum((mine.user, mine.system, mine.children_user, mine.children_system)) + sum(
        times.user + times.system for times in children
    )


def photos(folder: Path, shape: tuple[int, int], count: int) -> Path:
    """Photos of soft noise, as large as asked for."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        small = rng.integers(0, 255, (shape[0] // 8, shape[1] // 8, 3), dtype=np.uint8)
        pixels = cv2.resize(small, shape[::-1], interpolation=cv2.INTER_CUBIC)
        Image.fromarray(pixels).save(folder / f"{number:04d}.jpg", quality=90)
    return folder


def plain(files: list[Path], network: torch.nn.Module, size_px: tuple[int, int]) -> torch.Tensor:
    """What one writes first."""
    scores = []
    with torch.inference_mode():
        for start in range(0, len(files), 8):
            batch = []
            for file in files[start : start + 8]:
                image = Image.open(file).convert("RGB").resize(size_px[::-1])
                pixels = torch.from_numpy(np.array(image)).float() / 255
                batch.append(((pixels - MEAN) / STD).permute(2, 0, 1))
            scores.append(network(torch.stack(batch)).softmax(1))
    return torch.cat(scores)


def compare(run: Path, folder: Path, rounds: int) -> tuple[float, float]:
    """Processor milliseconds per image of (plain, resight); the best of some turns."""
    files = sorted(folder.iterdir())
    loaded = load_run(run)
    size_px = loaded.members[0].preparation.size_px
    backbone = load_networks(loaded)[0][1].backbone
    network = torch.nn.Sequential(backbone, torch.nn.Identity()).eval()
    best = [float("inf"), float("inf")]
    for turn in range(rounds):
        start = cpu_seconds()
        plain(files, network, size_px)
        middle = cpu_seconds()
        out = folder.parent / f"out-{folder.name}-{turn}"
        predict(run, [folder], out)
        spent = (middle - start, cpu_seconds() - middle)
        best = [min(before, now) for before, now in zip(best, spent, strict=True)]
    return best[0] / len(files) * 1000, best[1] / len(files) * 1000


def memory(run: Path, folder: Path) -> tuple[float, float]:
    """Resident megabytes after 64 inputs and after ten times as many."""
    some = sorted(folder.iterdir())
    many = folder.parent / "many"
    many.mkdir()
    for number in range(640):
        shutil.copy(some[number % len(some)], many / f"{number:04d}.jpg")
    few = [many / f"{number:04d}.jpg" for number in range(64)]
    predict(run, few, folder.parent / "few-out")
    before = psutil.Process().memory_info().rss
    predict(run, [many], folder.parent / "many-out")
    return before / 1e6, psutil.Process().memory_info().rss / 1e6


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        os.environ["RESIGHT_HOME"] = str(place / "home")
        find_app("crop_disease").phantom(place / "leaves", 60, 1)
        settings = {"backbone": "resnet18", "weights": "none", "epochs": 0, "size_px": (224, 224)}
        train("crop_disease", place / "leaves", place / "run", flags=settings)
        for title, shape in SIZES.items():
            # Enough small ones that reading the run and writing the tables do not count.
            count = asked.images * (8 if shape[0] < 1000 else 1)
            folder = photos(place / title.split(",")[0], shape, count)
            slow, fast = compare(place / "run", folder, asked.rounds)
            print(
                f"{title}: plain {slow:.0f} ms, resight {fast:.0f} ms of processor time per image, "
                f"ratio {slow / fast:.2f}"
            )
        before, after = memory(place / "run", place / "small")
        print(f"memory after 64 inputs {before:.0f} MB, after 640 {after:.0f} MB")


if __name__ == "__main__":
    main()
