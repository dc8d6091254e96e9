"""Nothing that a run ships is chosen on its test rows: trained with others, it is the same.

Other labels of the test images, and other images under their names, may change what a report
says, and nothing else: weights, temperature, cuts, thresholds, the chosen epoch and every file
that a prediction uses are the same bytes.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from scipy.special import expit, logit

import core.training.fine_tuning
from core.app import find_app
from core.base.outputs import sha256_file
from core.evaluation.units import decisions_of
from core.runs.predictions import Scoring, points_for_run, predictions_of
from core.runs.run import task_to_dict
from core.testing import SETTINGS
from core.training.run_calibration import calibrate, with_cuts
from core.verbs.train import train

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from core.app import Task
    from core.model.fitting import Fitting

GRADES = find_app("retinopathy")
TINY: dict[str, Any] = {
    **SETTINGS,
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
    fit = core.training.fine_tuning.fit

    def from_nothing(network: Any, config: Any, fitting: Fitting) -> Any:
        return fit(network, config, replace(fitting, start_log_loss=math.inf))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core.training.fine_tuning, "fit", from_nothing)
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


@pytest.mark.slow
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


@pytest.mark.parametrize("decide", ["frequencies", "validation"])
def test_the_labels_of_a_fold_change_nothing_of_how_its_own_cases_are_decided(decide: str) -> None:
    # Temperature, cuts, median or cuts, and threshold of each fold: all from the other folds.
    rng = np.random.default_rng(5)
    n, task = 240, replace(GRADES.task("grade"), classes=("0", "1", "2"), positive=("1", "2"))
    y, fold = rng.choice(3, n, p=[0.6, 0.1, 0.3]), np.arange(n) % 3
    above = np.sort(3 * (y[:, None] - [0.5, 1.5]) + 2 * rng.normal(size=(n, 2)))[:, ::-1]
    other = y.copy()
    other[fold == 1] = np.roll(y[fold == 1], 3)
    own, changed = (_judged(task, labels, above, fold, decide) for labels in (y, other))
    assert own.grades["1"] == changed.grades["1"]
    assert own.thresholds["1"] == changed.thresholds["1"]
    # It is not that labels do nothing: other folds and what ships are chosen on them.
    assert any(own.grades[name] != changed.grades[name] for name in "02")
    assert own.cuts != changed.cuts


class Judged(NamedTuple):
    """By fold, its predicted grades and its threshold; and the cuts that ship."""

    grades: dict[str, list[str]]
    thresholds: dict[str, float]
    cuts: tuple[float, ...]


def _judged(
    task: Task, y: NDArray[np.int_], logits: NDArray[np.float64], fold: NDArray[np.int_], how: str
) -> Judged:
    """The end of a cross-validation whose networks gave these logits."""
    parts = [{"fold": np.flatnonzero(fold == k), "held": np.arange(0)} for k in range(3)]
    one = SimpleNamespace(logits=logits, probe_logits=logits, distance=np.zeros(len(y)))
    data: Any = SimpleNamespace(y=y)
    members: Any = [one] * 3
    config: Any = SimpleNamespace(decide=how)
    link = "cumulative"
    own, distance, _, heat, average = calibrate(data, parts, members, link)
    task = with_cuts(GRADES, task, config, data, parts, own, heat, link)
    rows = pd.DataFrame({"image_id": [f"i{i:03}" for i in range(len(y))], "label": y.astype(str)})
    rows = rows.assign(status="ok", reason="", split="out-of-fold", fold=fold.astype(str), group="")
    table = predictions_of(
        rows,
        own,
        distance,
        Scoring(
            app=GRADES,
            task=task,
            link=link,
            temperature=heat,
            threshold=None,
            unfamiliar_above=1.0,
            model_id="m",
        ),
    )
    # Decisions are made anew from scores, and must not differ from the images' own column.
    decided = decisions_of(table, task=task)["image"]["predicted"]
    assert decided.tolist() == table["predicted"].tolist()
    run = {
        "task": task_to_dict(task),
        "members": [{"network": {"link": link}}] * 3,
        "temperature": average["temperature"],
        "average": average,
    }
    (point,) = points_for_run(table, run, targets=["youden"])
    grades = {str(k): table["predicted"][fold == k].tolist() for k in range(3)}
    return Judged(grades, point["fold_thresholds"], task.cuts)


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
