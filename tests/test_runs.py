"""What can be done with finished runs: set a threshold, look, judge; on drawn leaves."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from core.app import find_app
from core.cli.main import build
from core.errors import ConfigError
from core.evaluate import evaluate
from core.evaluation.operating_points import choose_threshold
from core.outputs import is_complete
from core.predict import predict
from core.run import load_run
from core.threshold import set_threshold
from core.train import train

PROBE: dict[str, Any] = {
    "backbone": "test_resnet",
    "weights": "none",
    "epochs": 0,
    "batch": 8,
    "size_px": (64, 64),
    "device": "cpu",
}
ASKED: dict[str, Any] = {"task": "binary", "label": "sick"}


def labelled(folder: Path, n: int, seed: int) -> Path:
    """Drawn leaves with one more column: sick or not; the table to train on."""
    find_app("crop_disease").phantom(folder, n, seed)
    table = pd.read_csv(folder / "labels.csv")
    table["sick"] = np.where(table["label"] == "healthy", "no", "yes")
    table.to_csv(folder / "sick.csv", index=False)
    return folder / "sick.csv"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    data = labelled(folder / "leaves", 80, 1)
    labelled(folder / "elsewhere", 40, 2)
    train("crop_disease", data, folder / "run", flags=PROBE, rules={"leaf": "max"}, **ASKED)
    return folder


@pytest.fixture
def run(place: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(place / "run", tmp_path / "run"))


def test_the_rule_of_a_unit_is_kept_and_used(place: Path) -> None:
    content = json.loads((place / "run" / "run.json").read_text())
    assert content["units"] == [{"name": "leaf", "columns": ["leaf"], "rule": "max"}]
    images = pd.read_parquet(place / "run" / "predictions.parquet")
    images = images[images["split"] == "test"]
    leaves = pd.read_parquet(place / "run" / "decisions_leaf.parquet").set_index("unit_id")
    worst = images.groupby("leaf")["score_yes"].max()
    np.testing.assert_allclose(leaves.loc[worst.index, "score_yes"], worst)


def test_an_unknown_unit_or_rule_is_refused(place: Path, tmp_path: Path) -> None:
    data, out = place / "leaves" / "sick.csv", tmp_path / "run"
    for rules, said in (({"tree": "max"}, "no unit 'tree'"), ({"leaf": "sum"}, "is no rule")):
        with pytest.raises(ConfigError, match=said):
            train("crop_disease", data, out, flags=PROBE, rules=rules, **ASKED)


def test_a_threshold_is_chosen_on_validation_stored_and_used(
    place: Path, run: Path, tmp_path: Path
) -> None:
    weights = (run / "model.safetensors").read_bytes()
    done = set_threshold(run, target="sensitivity=0.95", unit="image")
    point = done["operating_point"]
    table = pd.read_parquet(run / "predictions.parquet")
    val = table[table["split"] == "val"]
    truth = (val["label"] == "yes").to_numpy().astype(int)
    by_hand = choose_threshold(truth, val["score_yes"], target="sensitivity=0.95")
    assert point["threshold"] == pytest.approx(by_hand.threshold, abs=1e-9)
    assert (point["split"], point["n"], point["active"]) == ("val", len(val), True)
    assert is_complete(run)
    assert load_run(run).threshold == point["threshold"]
    assert (run / "model.safetensors").read_bytes() == weights
    predict(run, [place / "elsewhere"], tmp_path / "out")
    made = pd.read_parquet(tmp_path / "out" / "predictions.parquet")
    made = made[made["status"] == "ok"]
    called = np.where(made["score_yes"].round(12) >= point["threshold"], "yes", "no")
    assert list(made["decision"]) == list(called)
    assert set(called) == {"yes", "no"}
    judged = evaluate(run, None, tmp_path / "judged")["metrics"]
    assert judged["about"]["threshold"] == point["threshold"]
    assert judged["operating_points"][-1]["counts"]
    set_threshold(run, off=True)
    assert load_run(run).threshold is None


def test_shuffled_test_labels_leave_the_runs_threshold_unchanged(run: Path) -> None:
    before = set_threshold(run, target="youden")["operating_point"]["threshold"]
    table = pd.read_parquet(run / "predictions.parquet")
    test = (table["split"] == "test").to_numpy()
    table.loc[test, "label"] = np.random.default_rng(0).permutation(table.loc[test, "label"])
    table.to_parquet(run / "predictions.parquet", index=False)
    assert set_threshold(run, target="youden")["operating_point"]["threshold"] == before


def test_evaluation_refuses_to_choose_and_marks_what_is_only_looked_at(
    run: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="never chooses a threshold"):
        evaluate(run, None, tmp_path / "a", targets=["youden"])
    looked = evaluate(run, None, tmp_path / "a", targets=["youden"], exploratory=True)
    point = looked["metrics"]["operating_points"][-1]
    assert point["exploratory"]
    assert not point["active"]
    assert "Exploratory" in (tmp_path / "a" / "report.html").read_text()
    assert json.loads((run / "run.json").read_text())["operating_points"] == []


def test_the_command_lists_and_sets(run: Path) -> None:
    runner = CliRunner()
    done = runner.invoke(build(), ["threshold", str(run), "--target", "cost=5:1"])
    assert done.exit_code == 0, done.output
    assert "In force: cost=5:1" in done.output
    listed = runner.invoke(build(), ["threshold", str(run), "--json"])
    assert json.loads(listed.stdout)["operating_point"]["target"] == "cost=5:1"
    wrong = runner.invoke(build(), ["threshold", str(run), "--target", "accuracy"])
    assert wrong.exit_code == 2
