"""Trainings of every kind of task and preset, end to end on drawn leaves."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

import core.training.one_network
import core.verbs.train
from core.app import find_app
from core.base.outputs import is_complete
from core.testing import SETTINGS
from core.verbs.predict import predict
from core.verbs.train import train

# Whole trainings, each of which is of use to a test; `make test-slow`.
pytestmark = pytest.mark.slow

# Epochs are for a preset to say.
TINY: dict[str, Any] = {k: v for k, v in SETTINGS.items() if k != "epochs"}


@pytest.fixture(scope="module")
def leaves(tmp_path_factory: pytest.TempPathFactory, quick: None) -> Path:
    return find_app("crop_disease").phantom(tmp_path_factory.mktemp("trainings") / "leaves", 72, 1)


def run_of(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "run.json").read_text())
    return content


def test_folds_of_grades_judge_each_image_once_by_a_network_that_never_saw_it(
    leaves: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    # Three grades, so that every fold has leaves of each: none, up to 10 %, more.
    listed = pd.read_csv(leaves / "labels.csv")[["path", "leaf", "severity"]]
    listed["severity"] = listed["severity"].map({0: 0, 1: 1, 2: 1, 3: 2, 4: 2})
    grades = leaves / "grades.csv"
    listed.to_csv(grades, index=False)
    # What the plan chooses beside bfloat16, wherever this runs.
    chosen = {"precision": "bf16-mixed", "freeze_stages": 2, "small_share": 0.6}
    flags = {**TINY, "epochs": 1, "folds": 2, **chosen}
    train("crop_disease", grades, out, task="severity", flags=flags)
    grades.unlink()
    run = run_of(out)
    assert run["task"]["kind"] == "ordinal"
    assert [m["network"]["link"] for m in run["members"]] == ["cumulative"] * 2
    assert run["split_rule"].startswith("Cross-validated in 2 folds")
    table = pd.read_parquet(out / "predictions.parquet")
    manifest = pd.read_parquet(out / "manifest.parquet")
    assert set(table["split"]) == {"out-of-fold"}
    # No row is kept only to tune.
    assert set(manifest["split"]) == {"train"}
    assert sorted(table["image_id"]) == sorted(manifest["image_id"])
    scores = table.filter(like="score_").to_numpy()
    np.testing.assert_allclose(scores.sum(axis=1), 1.0, atol=1e-6)
    names = {row["name"] for row in json.loads((out / "metrics.json").read_text())["metrics"]}
    assert {"quadratic_kappa", "accuracy"} <= names
    # New images are scored by both networks together.
    done = predict(out, [leaves / "rust"], tmp_path / "predictions")
    assert done["n_ok"] == done["n_inputs"] > 0
    assert (out / "member-1.safetensors").is_file()
    assert is_complete(out)


def test_probe_of_symptoms_is_a_whole_run_of_any_number_of_labels(
    leaves: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    train("crop_disease", leaves, out, task="symptoms", flags={**TINY, "preset": "probe"})
    run = run_of(out)
    assert run["task"]["kind"] == "multilabel"
    assert run["members"][0]["kept"] == "probe"
    assert run["members"][0]["best_epoch"] == 0
    plan = yaml.safe_load((out / "plan.yaml").read_text())["settings"]
    assert (plan["preset"], plan["epochs"]) == ("probe", 0)
    table = pd.read_parquet(out / "predictions.parquet")
    scores = table.filter(like="score_")
    assert len(scores.columns) == len(run["task"]["classes"])
    # Labels are independent, so the scores of an image need not sum to one.
    assert not np.allclose(scores.sum(axis=1), 1.0, atol=1e-3)
    known = {"", *run["task"]["classes"]}
    assert {part for text in table["decision"] for part in text.split("|")} <= known


@pytest.mark.slow
def test_time_budget_sets_the_epochs_once_and_says_so(
    leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    measured: list[float] = []

    def few(*args: Any, **kwargs: Any) -> int:
        measured.append(core.training.one_network.epochs_within(*args, **kwargs))
        if len(measured) > 1:
            pytest.fail("a resumed training measured again")
        return 2

    monkeypatch.setattr(core.verbs.train, "epochs_within", few)
    member = core.verbs.train.train_member

    def killed(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    flags = {**TINY, "preset": "fast", "minutes": 500.0}
    monkeypatch.setattr(core.verbs.train, "train_member", killed)
    with pytest.raises(KeyboardInterrupt):
        train("crop_disease", leaves, out, flags=flags)
    monkeypatch.setattr(core.verbs.train, "train_member", member)
    train("crop_disease", leaves, out, flags=flags)
    # So many minutes hold at least one epoch of a network for tests.
    assert measured[0] >= 1
    text = (out / "plan.yaml").read_text()
    assert yaml.safe_load(text)["settings"]["epochs"] == 2
    assert "what fits into 500 minutes on this machine" in text
    assert len(pd.read_csv(out / "log.csv")) == 2
