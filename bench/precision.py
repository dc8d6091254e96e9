"""What a fused optimiser and bfloat16 give: time of a step, and whether the answer is the same.

First the processor time of one training step of a ResNet-18 with a fused and with a plain
AdamW, in fp32 and in bf16-mixed, taking turns. Then the same training twice, in fp32 and in
bf16-mixed, on photos of leaves in class folders: the paired difference of the accuracy on
the held-out photos, how many predicted classes agree, how far scores move, and how many of
the decisions that flip ``resight compare`` finds near the threshold. On a processor
without bfloat16 instructions torch emulates them, which is slow.

    python bench/precision.py LEAVES --weights resnet18.safetensors [--images 200] [--epochs 2]
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import tempfile
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import timm
import torch

from core.verbs.compare import compare
from core.verbs.train import train

SIZE = (96, 192)
BATCH = 16


def cpu_seconds() -> float:
    """Processor time of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def steps(steps_each: int, rounds: int, size_px: tuple[int, int]) -> None:
    """Print the time of a step and of its optimiser, fused and plain, in two precisions."""
    pixels, y = torch.randn(BATCH, 3, *size_px), torch.arange(BATCH) % 5
    best: dict[tuple[str, str], tuple[float, float]] = {}
    made = {}
    for name in ("fused", "plain"):
        torch.manual_seed(0)
        network = timm.create_model("resnet18", num_classes=5)
        network.to(memory_format=torch.channels_last).train()
        made[name] = network, torch.optim.AdamW(network.parameters(), fused=name == "fused")
    for _ in range(rounds):
        for precision in ("fp32", "bf16-mixed"):
            for name, (network, optimiser) in made.items():
                whole, update = 0.0, 0.0
                for number in range(steps_each + 1):
                    start = cpu_seconds()
                    narrow = torch.autocast("cpu", torch.bfloat16)
                    with narrow if precision == "bf16-mixed" else nullcontext():
                        loss = torch.nn.functional.cross_entropy(network(pixels), y)
                    loss.backward()
                    middle = cpu_seconds()
                    optimiser.step()
                    optimiser.zero_grad()
                    if number:  # the first warms up
                        update += (cpu_seconds() - middle) / steps_each
                        whole += (cpu_seconds() - start) / steps_each
                before = best.get((precision, name), (float("inf"), float("inf")))
                best[precision, name] = min(before[0], whole), min(before[1], update)
    for precision in ("fp32", "bf16-mixed"):
        (fused, fused_update), (plain, plain_update) = (
            best[precision, name] for name in ("fused", "plain")
        )
        print(
            f"{precision}: a step of {BATCH} images takes {1000 * fused:.0f} ms fused and "
            f"{1000 * plain:.0f} ms plain (ratio {plain / fused:.2f}), its update "
            f"{1000 * fused_update:.1f} and {1000 * plain_update:.1f} ms "
            f"(ratio {plain_update / fused_update:.1f})"
        )


def subset(folder: Path, to: Path, count: int) -> Path:
    """Copies of every so many photos of each class folder."""
    files = sorted(f for f in folder.glob("*/*") if f.suffix.lower() in {".jpg", ".jpeg", ".png"})
    for number in np.linspace(0, len(files) - 1, min(count, len(files))).astype(int):
        target = to / files[number].parent.name / files[number].name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(files[number], target)
    return to


def answers(leaves: Path, place: Path, weights: Path, epochs: int) -> None:
    """Print how the answers of the two precisions differ on the same held-out photos."""
    tables = {}
    for precision in ("32-true", "bf16-mixed"):
        flags = {
            "backbone": "resnet18",
            "weights": str(weights),
            "size_px": SIZE,
            "batch": BATCH,
            "epochs": epochs,
            "precision": precision,
            "device": "cpu",
        }
        start = cpu_seconds()
        train("crop_disease", leaves, place / precision, flags=flags)
        table = pd.read_parquet(place / precision / "predictions.parquet")
        tables[precision] = table[table["split"] == "test"].set_index("image_id").sort_index()
        print(f"{precision}: {cpu_seconds() - start:.0f} s of processor time")
    one, other = tables["32-true"], tables["bf16-mixed"]
    right = [(t["predicted"] == t["label"]).to_numpy(float) for t in (one, other)]
    difference = right[1] - right[0]
    rng = np.random.default_rng(0)
    drawn = difference[rng.integers(0, len(difference), (2000, len(difference)))].mean(1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    scores = [t.filter(regex="^score_").to_numpy() for t in (one, other)]
    moved = np.abs(scores[0] - scores[1])
    agree = int((one["predicted"] == other["predicted"]).sum())
    print(
        f"{len(one)} held-out photos: accuracy {right[0].mean():.3f} in fp32, "
        f"{right[1].mean():.3f} in bf16-mixed, paired difference {difference.mean():+.3f} "
        f"[{low:+.3f}, {high:+.3f}]; {agree} predicted classes agree; scores differ by at most "
        f"{moved.max():.3f}, {moved.mean():.4f} in the mean"
    )
    agreement = compare(place / "32-true", place / "bf16-mixed")["agreement"]["image"]
    print("compare: {flipped} of {n} decisions flip, {flipped_near} near".format(**agreement))


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("leaves", type=Path, nargs="?")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--size", type=int, nargs=2, default=SIZE, help="of the timed step")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    steps(asked.steps, asked.rounds, tuple(asked.size))
    if asked.leaves is None or asked.weights is None:
        return
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        os.environ["RESIGHT_HOME"] = str(place / "home")
        leaves = subset(asked.leaves, place / "leaves", asked.images)
        answers(leaves, place, asked.weights.resolve(), asked.epochs)


if __name__ == "__main__":
    main()
