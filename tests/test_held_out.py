"""Nothing that a run ships is chosen on its test rows: trained with others, it is the same.

Other labels of the test images, and other images under their names, may change what a report
says, and nothing else: weights, temperature, cuts, thresholds, the chosen epoch and every file
that a prediction uses are the same bytes.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from scipy.special import expit, logit

import core.training.one_network
from core.base.outputs import sha256_file
from core.verbs.train import train

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TINY: dict[str, Any] = {
    "backbone": "test_resnet",
    "weights": "none",
    "batch": 8,
    "size_px": (64, 64),
    "device": "cpu",
    "epochs": 4,
    # So high that the last epoch is not the best.
    "lr_head": 0.01,
    "lr_backbone": 0.01,
    "stage_decay": 1.0,
    "final_lr": 1.0,
    "patience": 1.0,
    # Cuts are chosen as well, so that they could be chosen wrongly.
    "decide": "frequencies",
}
# What may differ: when the run was made, and of which rows.
OF_THE_DATA = ("made", "data_sha256")


def leaves(folder: Path, *, others: bool) -> Path:
    """A table of 60 graded leaves that names its split.

    Args:
        folder: to make.
        others: whether test images are noise and test labels are shuffled.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for i in range(60):
        split = {0: "test", 1: "val"}.get(i // 3 % 4, "train")
        pixels = rng.normal(110, 25, (64, 64, 3)) + rng.normal(0, 15, 3)
        for _ in range(8 * (i % 3)):
            y, x = rng.integers(0, 60, 2)
            pixels[y : y + 4, x : x + 4] += np.array([60, -30, -30])
        if others and split == "test":
            pixels = np.random.default_rng(i).uniform(0, 255, (64, 64, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{i:02}.png")
        rows.append({"path": f"{i:02}.png", "leaf": f"l{i}", "severity": i % 3, "split": split})
    table = pd.DataFrame(rows)
    if others:
        test = (table["split"] == "test").to_numpy()
        table.loc[test, "severity"] = np.roll(table.loc[test, "severity"].to_numpy(), 1)
    table.to_csv(folder / "grades.csv", index=False)
    return folder / "grades.csv"


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The table, and the same with other labels and images of its test rows."""
    root = tmp_path_factory.mktemp("held")
    return leaves(root / "own", others=False), leaves(root / "others", others=True)


@pytest.fixture(scope="module")
def runs(
    tables: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory, quick: None
) -> Iterator[list[Path]]:
    """Both trained; fine-tuning is kept, however good the probe is."""
    fit = core.training.one_network.fit

    def from_nothing(*args: Any, **more: Any) -> Any:
        return fit(*args, **{**more, "start_log_loss": math.inf})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core.training.one_network, "fit", from_nothing)
        root = tmp_path_factory.mktemp("runs")
        found = [root / "own", root / "others"]
        for table, out in zip(tables, found, strict=True):
            train("crop_disease", table, out, task="severity", flags=TINY)
        yield found


def shipped(run: Path) -> dict[str, Any]:
    """What a prediction uses, and the learning curve."""
    content = json.loads((run / "run.json").read_text())
    assert set(OF_THE_DATA) <= set(content)
    found: dict[str, Any] = {key: v for key, v in content.items() if key not in OF_THE_DATA}
    log = run / "log.csv"
    if log.stat().st_size > 3:
        # How long an epoch took is no choice.
        found["log"] = pd.read_csv(log).drop(columns="seconds").to_csv()
    files = sorted(run.glob("*.safetensors"))
    assert files
    return found | {file.name: sha256_file(file) for file in files}


def judged_otherwise(one: Path, other: Path) -> bool:
    """Whether the other labels did reach the report."""
    first, second = (json.loads((r / "metrics.json").read_text())["metrics"] for r in (one, other))
    return bool(first != second)


def test_other_test_labels_and_images_change_nothing_that_is_shipped(runs: list[Path]) -> None:
    first, other = (shipped(run) for run in runs)
    assert {k: v for k, v in first.items() if other[k] != v} == {}
    assert first["task"]["cuts"]
    assert judged_otherwise(*runs)


def test_other_test_labels_and_images_change_nothing_that_folds_ship(
    tables: tuple[Path, Path], tmp_path: Path, quick: None
) -> None:
    found = []
    for name, table in zip(("own", "others"), tables, strict=True):
        flags = {**TINY, "folds": 2, "epochs": 0}
        train("crop_disease", table, tmp_path / name, task="severity", flags=flags)
        found.append(shipped(tmp_path / name))
    assert [name for name in found[0] if name.startswith("member-")] == [
        "member-0.safetensors",
        "member-1.safetensors",
    ]
    assert {k: v for k, v in found[0].items() if found[1][k] != v} == {}


def test_the_weights_that_ship_are_those_of_the_epoch_that_the_log_calls_best(
    runs: list[Path],
) -> None:
    log = pd.read_csv(runs[0] / "log.csv")
    content = json.loads((runs[0] / "run.json").read_text())
    best = int(log["val_log_loss"].idxmin())
    # An epoch that is not the last, or this could not tell.
    assert content["members"][0]["best_epoch"] == best + 1 < len(log)
    rows = pd.read_parquet(runs[0] / "predictions.parquet")
    rows = rows[rows["split"] == "val"]
    logits = rows[["logit_0", "logit_1"]].to_numpy(dtype=float)
    above = expit(logits)
    edges = np.concatenate([np.ones((len(rows), 1)), above, np.zeros((len(rows), 1))], axis=1)
    scores = edges[:, :-1] - edges[:, 1:]
    of_truth = scores[np.arange(len(rows)), rows["label"].astype(int)]
    # Validation computes in the training's precision, and bfloat16 has three digits.
    config = yaml.safe_load((runs[0] / "plan.yaml").read_text())["settings"]
    near = 1e-4 if config["precision"] == "32-true" else 2e-3
    found = -np.log(of_truth).mean()
    assert found == pytest.approx(log["val_log_loss"][best], abs=near)
    assert (log["val_log_loss"] - found).abs().idxmin() == best
    # The temperature is that of validation: scores are the logits divided by it.
    shown = 1 - rows["score_0"].to_numpy(dtype=float)
    assert logit(shown) == pytest.approx(logits[:, 0] / content["temperature"], abs=1e-4)
