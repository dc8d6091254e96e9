"""A training by the command's own function: folds, the regression head, an option of the pixels."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

import core.training.one_network
from apps.retinopathy.phantom import write_phantom
from core.errors import ConfigError, RunError
from core.runs.run import load_run
from core.statistics.scores import decide
from core.verbs.predict import predict
from core.verbs.train import train

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TINY = {"backbone": "test_resnet", "weights": "none", "epochs": 0, "size_px": (64, 64)}
COLOURS = {"colours": "normalised"}


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, quick: None
) -> Iterator[tuple[Path, Path, int]]:
    """The data, the run, and how many images went through the backbone."""
    folder = tmp_path_factory.mktemp("training")
    data = write_phantom(folder / "eyes", 84, 3)
    seen = 0
    scored = core.training.one_network.run_batches

    def counted(network: Any, batches: Any, **settings: Any) -> Any:
        nonlocal seen
        done = scored(network, batches, **settings)
        seen += len(done[0])
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESIGHT_HOME", str(folder / "home"))
        patch.setattr(core.training.one_network, "run_batches", counted)
        flags = {**TINY, "folds": 2, "head": "regression", "decide": "frequencies"}
        train("retinopathy", data, folder / "run", flags=flags, options=COLOURS)
        yield data, folder / "run", seen


def test_folds_share_the_frozen_features(trained: tuple[Path, Path, int]) -> None:
    assert trained[2] == 84


def test_cuts_that_ship_decide_grades_as_often_as_they_were_given(
    trained: tuple[Path, Path, int],
) -> None:
    run = load_run(trained[1])
    assert len(run.task.cuts) == 4
    assert sorted(run.task.cuts) == list(run.task.cuts)
    table = pd.read_parquet(trained[1] / "predictions.parquet")
    scores = table[[f"score_{grade}" for grade in range(5)]].to_numpy(dtype=float)
    decided = np.bincount(decide(scores, task=run.task), minlength=5)
    given = np.bincount(table["label"].astype(int), minlength=5)
    # Out of fold each row has its own temperature, which can move single photographs.
    assert np.abs(given - decided).max() <= 3
    # What judges a fold comes from the other folds, so it need not.
    assert len(set(run.task.fold_cuts.values()) | {run.task.cuts}) == len(run.task.fold_cuts) + 1


def test_two_operating_points_are_kept_and_none_is_in_force(
    trained: tuple[Path, Path, int],
) -> None:
    run = load_run(trained[1])
    assert [p["target"] for p in run.content["operating_points"]] == list(run.app.targets)
    assert run.threshold is None


def test_the_probe_is_judged_by_the_units_of_the_model(trained: tuple[Path, Path, int]) -> None:
    evaluation = json.loads((trained[1] / "metrics.json").read_text())
    probe = {(r["unit"], r["name"]): r for r in evaluation["probe"] if not r["of"]}
    assert {unit for unit, _ in probe} == {"image", "eye", "patient"}
    beside = evaluation["against_probe"]
    at_unit = probe[beside["unit"], beside["name"]]
    assert beside["unit"] == evaluation["about"]["unit"] == "eye"
    assert at_unit["value"] == pytest.approx(beside["first"])
    assert at_unit["low"] < at_unit["value"] < at_unit["high"]


def test_another_preparation_than_the_trained_one_is_refused(
    trained: tuple[Path, Path, int], tmp_path: Path
) -> None:
    data, run, _ = trained
    with pytest.raises(RunError, match="trained with normalised"):
        predict(run, [data / "train"], tmp_path / "out", options={"colours": "camera"})
    assert load_run(run).members[0].preparation.options == COLOURS


def test_unknown_colours_are_refused(trained: tuple[Path, Path, int], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--colours sepia"):
        train("retinopathy", trained[0], tmp_path / "run", flags=TINY, options={"colours": "sepia"})
