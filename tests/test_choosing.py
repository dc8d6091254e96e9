"""Operating points are chosen where they may be, and nowhere else."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from core.app import Metric, Task, Unit
from core.errors import ConfigError
from core.evaluation.stored_thresholds import (
    at_prevalence,
    counted_at,
    likelihood_ratios,
    threshold_in_force,
)
from core.evaluation.summary import EvaluationPlan, summarise
from core.evaluation.threshold_choice import choose_points, headline_unit
from core.runs.run import task_to_dict
from core.runs.run_metrics import against_probe
from core.statistics.metrics import quadratic_kappa
from core.statistics.operating_points import choose_threshold
from core.statistics.scores import cuts_by_frequency, decide

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


def test_out_of_fold_cases_are_judged_at_the_threshold_of_the_other_folds() -> None:
    rows = table(folds=3)
    points = choose_points(rows, task=GRADES, targets=["sensitivity=0.9"])
    content, _ = summarise(
        rows,
        EvaluationPlan(task=GRADES, split="out-of-fold", operating_points=points, resamples=100),
    )
    (counted,) = content["operating_points"]
    score = (rows["score_1"] + rows["score_2"]).to_numpy()
    at = np.array([points[0]["fold_thresholds"][str(f)] for f in rows["fold"]])
    truth = (rows["label"] != "0").to_numpy()
    assert counted["counts"]["tp"] == int((truth & (score >= at)).sum())
    assert counted["counts"]["fp"] == int((~truth & (score >= at)).sum())
    # The threshold that these cases chose themselves gives another table.
    assert (score >= at).sum() != (score >= points[0]["threshold"]).sum()
    spread = content["folds"]
    assert spread["n_folds"] == 3
    kappa = next(row for row in spread["rows"] if row["name"] == "quadratic_kappa")
    for value in kappa["values"]:
        some = rows[rows["fold"] == int(value["fold"])]
        decided = np.argmax(
            np.cumsum(some[["score_0", "score_1", "score_2"]].to_numpy(), axis=1) >= 0.5, axis=1
        )
        expected = cohen_kappa_score(
            some["label"].astype(int), decided, labels=[0, 1, 2], weights="quadratic"
        )
        assert value["value"] == pytest.approx(expected)
    values = [value["value"] for value in kappa["values"]]
    assert kappa["sd"] == pytest.approx(np.std(values, ddof=1))


def test_the_point_in_force_decides_out_of_fold_cases_by_fold() -> None:
    rows = table(folds=3)
    points = choose_points(rows, task=GRADES, targets=["sensitivity=0.9"])
    active = [{**points[0], "active": True}]
    _, tables = summarise(
        rows,
        EvaluationPlan(task=GRADES, split="out-of-fold", operating_points=active, resamples=100),
    )
    decided = tables["image"].set_index("unit_id").loc[rows["image_id"], "decision"]
    score = (rows["score_1"] + rows["score_2"]).to_numpy()
    at = np.array([points[0]["fold_thresholds"][str(f)] for f in rows["fold"]])
    assert ((decided == "positive").to_numpy() == (score >= at)).all()


def test_a_run_decides_its_own_out_of_fold_cases_by_fold_and_others_at_its_threshold() -> None:
    points = choose_points(table(folds=3), task=GRADES, targets=["sensitivity=0.9"])
    run = {"operating_point": {**points[0], "active": True}}
    by_fold = threshold_in_force(run, "out-of-fold")
    assert by_fold == {"": points[0]["threshold"], **points[0]["fold_thresholds"]}
    assert len(set(by_fold.values())) > 1  # type: ignore[union-attr]
    assert threshold_in_force(run, "new data") == points[0]["threshold"]
    # A target that no threshold answered puts none in use.
    assert threshold_in_force({"operating_point": {"threshold": None}}, "test") is None
    assert "other folds" in counted_at(points[0], "out-of-fold")
    assert "not on these cases" in counted_at(points[0], "new data")
    assert "these very cases" in counted_at({**points[0], "exploratory": True}, "test")


def test_a_recall_rate_is_that_of_the_place_of_use_where_its_prevalence_is_known() -> None:
    # Four cancers of ten: recalling a tenth finds a quarter at most. Among 1,000 women with five
    # cancers, one normal of six called would recall 5 + 166; calling no normal recalls five.
    y = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    score = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05]
    here = choose_threshold(y, score, target="recall-rate=0.1")
    assert (here.sensitivity, here.recall_rate) == (0.25, 0.1)
    there = choose_threshold(y, score, target="recall-rate=0.1", prevalence=0.005)
    assert (there.sensitivity, there.specificity) == (1.0, 1.0)
    assert there.recall_rate == pytest.approx(0.005)


def test_likelihood_ratios_are_those_of_the_table_and_their_intervals_hold_them() -> None:
    # By hand: 90 of 100 found, 20 of 100 called in error: .9 / .2 and .1 / .8.
    rate = {"method": "Wilson, 100 independent cases", "n": 100}
    sensitivity = {**rate, "value": 0.9, "low": 0.825, "high": 0.945}
    specificity = {**rate, "value": 0.8, "low": 0.711, "high": 0.867}
    found = likelihood_ratios(sensitivity, specificity, 0.95)
    assert found["positive"]["value"] == pytest.approx(4.5)
    assert found["negative"]["value"] == pytest.approx(0.125)
    for one in found.values():
        assert one["low"] < one["value"] < one["high"]
    # Simel's formula: 4.5 * exp(-+1.96 sqrt(.1/90 + .8/20)).
    assert found["positive"]["low"] == pytest.approx(3.0243, rel=1e-3)
    assert found["positive"]["high"] == pytest.approx(6.6958, rel=1e-3)


@pytest.mark.parametrize("hits", [1.0, 0.9])
def test_predictive_values_elsewhere_are_the_likelihood_ratios_times_the_odds_there(
    hits: float,
) -> None:
    rate = {"method": "Wilson, 40 independent cases", "n": 40}
    content = {
        "sensitivity": {**rate, "value": hits, "low": 0.77, "high": 1.0},
        "specificity": {**rate, "value": 0.8, "low": 0.65, "high": 0.89},
    }
    ratios = likelihood_ratios(content["sensitivity"], content["specificity"], 0.95)
    there = at_prevalence(content, 0.2, 0.95)
    for end in ("low", "high"):
        odds = 0.25 * ratios["positive"][end]
        assert there[f"ppv_{end}"] == pytest.approx(odds / (1 + odds))
        other = "high" if end == "low" else "low"
        missed = 0.25 * ratios["negative"][other]
        assert there[f"npv_{end}"] == pytest.approx(1 / (1 + missed))


def test_each_patient_is_referred_at_the_threshold_of_the_other_folds() -> None:
    from apps.retinopathy import APP  # noqa: PLC0415
    from apps.retinopathy.screening import referrals  # noqa: PLC0415

    task = APP.task()
    rows = pd.DataFrame(
        {
            "image_id": ["a", "b"],
            "path": ["a.png", "b.png"],
            "patient": ["a", "b"],
            "eye": ["left", "left"],
            "label": ["2", "2"],
            "group": ["a", "b"],
            "status": "ok",
            "reason": "",
            "quality": "",
            "fold": ["1", "2"],
            "embedding_distance": 0.5,
        }
    )
    for name in task.classes:
        rows[f"score_{name}"] = {"0": 0.6, "2": 0.4}.get(name, 0.0)
    found = referrals(rows, task=task, threshold={"": 0.5, "1": 0.3, "2": 0.5}).patients
    assert found.set_index("patient")["is_called"].to_dict() == {"a": True, "b": False}


def test_a_probe_is_held_against_a_network_at_cuts_of_its_own() -> None:
    from apps.retinopathy import APP  # noqa: PLC0415

    plain = APP.task()
    grades = np.array([0, 1, 2, 3, 4] * 12)
    names = [f"p{i}" for i in range(len(grades))]
    common = {"image_id": names, "path": names, "patient": names, "group": names, "eye": "left"}
    common |= {"label": grades.astype(str), "status": "ok", "reason": "", "quality": ""}
    common |= {"fold": "", "split": "test", "embedding_distance": 0.5}

    def scored(lift: float) -> pd.DataFrame:
        # The expected grade rises with the true one; the probe's are squeezed towards the middle.
        middle = 2 + (grades - 2) * lift
        at = np.exp(-(((np.arange(5)[None] - middle[:, None]) / 0.8) ** 2))
        share = at / at.sum(axis=1, keepdims=True)
        return pd.DataFrame(
            common | {f"score_{name}": share[:, i] for i, name in enumerate(plain.classes)}
        )

    network, probe = scored(1.0), scored(0.5)
    columns = [f"score_{name}" for name in plain.classes]
    of_network, of_probe = (
        replace(plain, cuts=cuts_by_frequency(table[columns].to_numpy(), grades, n_classes=5))
        for table in (network, probe)
    )
    assert of_network.cuts != of_probe.cuts
    run = {"app": "retinopathy", "task": task_to_dict(of_network), "units": [], "seed": 0}
    run |= {"group": "patient", "operating_point": None}
    settings: dict[str, Any] = {"run": run, "split": "test"}
    for table, task in ((probe, of_probe), (network, of_network)):
        found = cohen_kappa_score(
            grades, decide(table[columns].to_numpy(), task=task), weights="quadratic"
        )
        assert found == pytest.approx(1)
    told = against_probe(network, probe, **settings, probe_task=of_probe)
    assert told is not None
    assert (told["name"], told["first"], told["difference"]) == ("quadratic_kappa", 1.0, 0.0)
    at_the_networks = against_probe(network, probe, **settings)
    assert at_the_networks is not None
    assert at_the_networks["first"] < 0.9
