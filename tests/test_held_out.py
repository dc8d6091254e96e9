"""Nothing that a run ships is chosen on its test rows: trained with others, it is the same.

Other labels of the test images, or other images under their names, may change what a report
says, and nothing else: weights, temperature, cuts, thresholds, the chosen epoch and every file
that a prediction uses are the same bytes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.special import expit, logit

from core.app import find_app
from core.verbs.train import train

if TYPE_CHECKING:
    from pathlib import Path

TINY: dict[str, Any] = {
    "backbone": "test_resnet",
    "weights": "none",
    "batch": 8,
    "size_px": (64, 64),
    "device": "cpu",
    "epochs": 3,
    # Cuts are chosen as well, so that they could be chosen wrongly.
    "decide": "frequencies",
}
# What may differ: when the run was made, and of which rows.
OF_THE_DATA = ("made", "data_sha256")


@pytest.fixture(scope="module")
def leaves(tmp_path_factory: pytest.TempPathFactory, quick: None) -> Path:
    """A table of graded leaves that names its split."""
    folder = find_app("crop_disease").phantom(tmp_path_factory.mktemp("held") / "leaves", 72, 1)
    listed = pd.read_csv(folder / "labels.csv")[["path", "leaf", "severity"]]
    listed["severity"] = listed["severity"].map({0: 0, 1: 0, 2: 1, 3: 2, 4: 2})
    of_grade = listed.groupby("severity")["leaf"]
    number = of_grade.transform(lambda leaf: pd.factorize(leaf)[0]) % 4
    listed["split"] = np.select([number == 0, number == 1], ["test", "val"], "train")
    listed.to_csv(folder / "grades.csv", index=False)
    return folder


def trained(table: Path, out: Path, **more: Any) -> Path:
    train("crop_disease", table, out, task="severity", flags={**TINY, **more})
    return out


def shipped(run: Path) -> dict[str, Any]:
    """The bytes of what a prediction uses, and of the learning curve."""
    content = json.loads((run / "run.json").read_text())
    assert set(OF_THE_DATA) <= set(content)
    found: dict[str, Any] = {
        "run.json": {key: value for key, value in content.items() if key not in OF_THE_DATA},
        # How long an epoch took is no choice.
        "log.csv": pd.read_csv(run / "log.csv").drop(columns="seconds").to_csv(),
    }
    weights = sorted(run.glob("*.safetensors"))
    assert weights
    return found | {file.name: file.read_bytes() for file in weights}


def with_other_labels(folder: Path) -> Path:
    """The same table, the labels of its test rows shuffled."""
    listed = pd.read_csv(folder / "grades.csv")
    test = (listed["split"] == "test").to_numpy()
    shuffled = np.random.default_rng(3).permutation(listed.loc[test, "severity"].to_numpy())
    assert (shuffled != listed.loc[test, "severity"].to_numpy()).sum() > 3
    listed.loc[test, "severity"] = shuffled
    listed.to_csv(folder / "shuffled.csv", index=False)
    return folder / "shuffled.csv"


@pytest.fixture(scope="module")
def run(leaves: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(leaves / "grades.csv", tmp_path_factory.mktemp("held") / "run")


def test_other_test_labels_change_nothing_that_is_shipped(
    leaves: Path, run: Path, tmp_path: Path
) -> None:
    other = trained(with_other_labels(leaves), tmp_path / "other")
    assert shipped(other) == shipped(run)
    # The labels did reach the report.
    one, two = (json.loads((r / "metrics.json").read_text())["metrics"] for r in (run, other))
    assert one != two


def test_other_test_images_change_nothing_that_is_shipped(
    leaves: Path, run: Path, tmp_path: Path
) -> None:
    listed = pd.read_csv(leaves / "grades.csv")
    rng = np.random.default_rng(0)
    kept = {}
    for name in listed.loc[listed["split"] == "test", "path"]:
        file = leaves / name
        kept[file] = file.read_bytes()
        noise = rng.integers(0, 255, (90, 90, 3), dtype=np.uint8)
        Image.fromarray(noise).save(file, format="JPEG")
    try:
        other = trained(leaves / "grades.csv", tmp_path / "other")
    finally:
        for file, content in kept.items():
            file.write_bytes(content)
    assert shipped(other) == shipped(run)


def test_other_test_labels_change_nothing_that_folds_ship(leaves: Path, tmp_path: Path) -> None:
    runs = [
        trained(table, tmp_path / table.stem, folds=2, epochs=1)
        for table in (leaves / "grades.csv", with_other_labels(leaves))
    ]
    first, other = (shipped(run) for run in runs)
    assert len([name for name in first if name.endswith("safetensors")]) == 2
    assert first == other


def test_the_weights_that_ship_are_those_of_the_epoch_that_the_log_calls_best(run: Path) -> None:
    log = pd.read_csv(run / "log.csv")
    best = float(log["val_log_loss"].min())
    content = json.loads((run / "run.json").read_text())
    rows = pd.read_parquet(run / "predictions.parquet")
    rows = rows[rows["split"] == "val"]
    logits = rows[["logit_0", "logit_1"]].to_numpy(dtype=float)
    above = expit(logits)
    edges = np.concatenate([np.ones((len(rows), 1)), above, np.zeros((len(rows), 1))], axis=1)
    scores = edges[:, :-1] - edges[:, 1:]
    of_truth = scores[np.arange(len(rows)), rows["label"].astype(int)]
    assert -np.log(of_truth).mean() == pytest.approx(best, abs=1e-4)
    # The temperature is that of validation: scores are the logits divided by it.
    shown = 1 - rows["score_0"].to_numpy(dtype=float)
    assert logit(shown) == pytest.approx(logits[:, 0] / content["temperature"], abs=1e-4)
