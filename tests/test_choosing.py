"""Operating points are chosen where they may be, and nowhere else."""

import numpy as np
import pandas as pd
import pytest

from core.app import Metric, Task, Unit
from core.errors import ConfigError
from core.evaluation.choosing import choose_points, headline_unit
from core.evaluation.metrics import quadratic_kappa
from core.evaluation.operating_points import choose_threshold

GRADES = Task(name="grade", kind="ordinal", classes=("0", "1", "2"), positive=("1", "2"))
EYE = Unit(name="eye", columns=("patient", "side"), rule="max")


def table(n: int = 60, seed: int = 0, folds: int = 0) -> pd.DataFrame:
    """Two images of each eye; validation rows, then as many test rows."""
    rng = np.random.default_rng(seed)
    rows = 2 * n
    eye = np.arange(rows) // 2
    label = rng.integers(0, 3, rows)[eye]
    logits = 1.3 * (label[:, None] == np.arange(3)) + rng.normal(size=(rows, 3))
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    frame = pd.DataFrame(
        {
            "image_id": [f"i{i:03d}" for i in range(rows)],
            "status": "ok",
            "label": label.astype(str),
            "group": [f"p{e // 2}" for e in eye],
            "patient": [f"p{e // 2}" for e in eye],
            "side": [("left", "right")[e % 2] for e in eye],
            "split": np.where(np.arange(rows) < n, "val", "test"),
        }
    )
    if folds:
        frame["split"] = "out-of-fold"
        frame["fold"] = (eye // 2) % folds
    for k in range(3):
        frame[f"score_{k}"] = scores[:, k]
    return frame


def test_shuffled_test_labels_leave_the_threshold_unchanged() -> None:
    rows = table()
    targets = ["sensitivity=0.9", "youden", "cost=5:1"]
    before = choose_points(rows, task=GRADES, targets=targets, units=[EYE])
    shuffled = rows.copy()
    is_test = (rows["split"] == "test").to_numpy()
    mixed = np.random.default_rng(1).permutation(rows.loc[is_test, "label"].to_numpy())
    shuffled.loc[is_test, "label"] = mixed
    assert (shuffled["label"] != rows["label"]).any()
    assert choose_points(shuffled, task=GRADES, targets=targets, units=[EYE]) == before
    # The test can fail: other validation labels give other thresholds.
    other = rows.copy()
    other.loc[~is_test, "label"] = rows.loc[~is_test, "label"].to_numpy()[::-1]
    assert choose_points(other, task=GRADES, targets=targets, units=[EYE]) != before


def test_threshold_is_that_of_the_unit_and_of_the_summed_positive_score() -> None:
    rows = table()
    (found,) = choose_points(rows, task=GRADES, targets=["youden"], units=[EYE])
    val = rows[rows["split"] == "val"].copy()
    # By hand: the worse of the two images of an eye, by expected grade.
    val["worse"] = val["score_1"] + 2 * val["score_2"]
    worst = val.loc[val.groupby(["patient", "side"])["worse"].idxmax()]
    score = (worst["score_1"] + worst["score_2"]).to_numpy()
    truth = (worst["label"] != "0").to_numpy().astype(int)
    by_hand = choose_threshold(truth, score, target="youden")
    assert found["threshold"] == pytest.approx(by_hand.threshold, abs=1e-9)
    assert (found["unit"], found["split"], found["n"]) == ("eye", "val", 30)
    assert found["n_events"] == truth.sum()
    assert found["active"] is False


def test_each_fold_gets_the_threshold_of_the_others() -> None:
    rows = table(folds=3)
    (found,) = choose_points(rows, task=GRADES, targets=["sensitivity=0.9"])
    assert found["split"] == "out-of-fold"
    for fold in range(3):
        others = rows[rows["fold"] != fold]
        (alone,) = choose_points(others, task=GRADES, targets=["sensitivity=0.9"])
        assert found["fold_thresholds"][str(fold)] == alone["threshold"]


def test_what_cannot_be_chosen_is_said() -> None:
    rows = table()
    rows.loc[rows["split"] == "val", "label"] = "0"
    (found,) = choose_points(rows, task=GRADES, targets=["youden"])
    assert found["threshold"] is None
    assert found["n_events"] == 0
    assert found["reason"]
    plain = Task(name="t", kind="multiclass", classes=("0", "1", "2"))
    assert choose_points(table(), task=plain, targets=["youden"]) == []
    with pytest.raises(ConfigError, match="no target"):
        choose_points(table(), task=GRADES, targets=["accuracy=1"])
    with pytest.raises(ConfigError, match="No unit"):
        choose_points(table(), task=GRADES, targets=["youden"], unit="farm")


def test_headline_unit_is_the_metrics_where_it_is_present() -> None:
    metric = Metric(name="k", title="K", compute=quadratic_kappa, unit="eye")
    assert headline_unit([metric], ["image", "eye", "patient"]) == "eye"
    assert headline_unit([metric], ["image", "patient"]) == "patient"
