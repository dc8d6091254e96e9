"""Operating points are chosen where they may be, and nowhere else."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from core.app import Metric, Task, Unit
from core.base.tables import METRICS
from core.errors import ConfigError
from core.evaluation.cases import Level
from core.evaluation.labelled_rows import cases_of
from core.evaluation.stored_thresholds import (
    PREVALENCES,
    at_prevalence,
    counted_at,
    likelihood_ratios,
    reached,
    threshold_in_force,
    thresholds_of,
)
from core.evaluation.summary import EvaluationPlan, summarise
from core.evaluation.threshold_choice import choose_points, headline_unit
from core.evaluation.units import decisions_of
from core.runs.run import task_to_dict
from core.runs.run_metrics import against_probe
from core.statistics.intervals import clopper_pearson, wilson
from core.statistics.metrics import quadratic_kappa
from core.statistics.operating_points import choose_threshold, predictive_values
from core.statistics.resampling import Draws
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
    severe = replace(GRADES, positive=("2",))
    (found,) = choose_points(rows, task=severe, targets=["youden"], units=[EYE])
    assert found["n_events"] == (worst["label"] == "2").sum()


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
    assert "is positive" in found["reason"]
    plain = Task(name="t", kind="multiclass", classes=("0", "1", "2"))
    assert choose_points(table(), task=plain, targets=["youden"]) == []
    with pytest.raises(ConfigError, match="no target"):
        choose_points(table(), task=GRADES, targets=["accuracy=1"])
    with pytest.raises(ConfigError, match="No unit"):
        choose_points(table(), task=GRADES, targets=["youden"], unit="farm")


YES_NO = Task(name="t", kind="binary", classes=("no", "yes"), positive=("yes",))
SCORES, TRUTH = (0.1, 0.4, 0.35, 0.8), ("no", "no", "yes", "yes")


def four(**columns: Any) -> pd.DataFrame:
    """Four images of a question of yes or no."""
    frame = pd.DataFrame({"image_id": list("abcd"), "status": "ok", "label": TRUTH, "split": "val"})
    frame["score_yes"] = SCORES
    frame["score_no"] = 1 - frame["score_yes"]
    return frame.assign(**columns)


def test_a_chosen_point_tells_where_it_comes_from_and_what_it_reached() -> None:
    (found,) = choose_points(four(), task=YES_NO, targets=["sensitivity=1"])
    # Calling .35, .4 and .8 finds both and calls one of the two others.
    assert found == {
        "name": "sensitivity=1",
        "target": "sensitivity=1",
        "n": 4,
        "n_events": 2,
        "threshold": pytest.approx(0.225),
        "between": pytest.approx([0.1, 0.35]),
        "reached": {"sensitivity": 1.0, "specificity": 0.5, "recall_rate": 0.75},
        "unit": "image",
        "split": "val",
        "active": False,
    }


def test_a_point_chosen_on_the_cases_that_are_judged_is_marked() -> None:
    rows = four(split="new", fold=["0", "0", "1", "1"])
    (found,) = choose_points(rows, task=YES_NO, targets=["youden"], exploratory="new data")
    assert (found["name"], found["target"]) == ("youden (exploratory)", "youden")
    assert found["exploratory"] is True
    assert (found["split"], found["n"], found["threshold"]) == ("new data", 4, pytest.approx(0.225))
    assert "fold_thresholds" not in found
    without_folds = rows.drop(columns="fold")
    assert choose_points(
        without_folds, task=YES_NO, targets=["youden"], exploratory="new data"
    ) == [found]
    (stored,) = choose_points(four(), task=YES_NO, targets=["youden"])
    assert "exploratory" not in stored


def test_out_of_fold_rows_are_the_better_basis_and_without_either_nothing_is_chosen() -> None:
    both = pd.concat([four(), four(image_id=list("efgh"), split="out-of-fold", score_yes=0.5)])
    (found,) = choose_points(both, task=YES_NO, targets=["youden"])
    assert (found["split"], found["n"]) == ("out-of-fold", 4)
    (found,) = choose_points(four(split="test"), task=YES_NO, targets=["youden"])
    assert (found["split"], found["n"], found["threshold"]) == ("val", 0, None)
    assert found["reason"]


@pytest.mark.parametrize("target", ["recall-rate=0.25", "Recall_Rate=0.25"])
def test_a_recall_rate_says_of_which_prevalence_it_is(target: str) -> None:
    rows = table(folds=2)
    here, there = (
        choose_points(rows, task=GRADES, targets=[target, "youden"], prevalence=share)
        for share in (None, 0.01)
    )
    assert "prevalence" not in here[0]
    assert there[0]["prevalence"] == 0.01
    # Fewer are positive there, so that more of these may be called, in the folds as well.
    assert there[0]["threshold"] < here[0]["threshold"]
    score = (rows["score_1"] + rows["score_2"]).to_numpy()
    truth = (rows["label"] != "0").to_numpy().astype(int)
    for fold in (0, 1):
        others = (rows["fold"] != fold).to_numpy()
        by_hand = choose_threshold(
            truth[others], score[others], target="recall-rate=0.25", prevalence=0.01
        )
        assert there[0]["fold_thresholds"][str(fold)] == pytest.approx(by_hand.threshold, abs=1e-9)
    # What the other rules reach is of these cases, wherever the model will be used.
    assert here[1] == there[1]


def test_one_fold_alone_has_no_others_and_rows_of_no_fold_serve_all() -> None:
    rows = four(split="out-of-fold", fold="0")
    assert "fold_thresholds" not in choose_points(rows, task=YES_NO, targets=["youden"])[0]
    rows = table(folds=2)
    rows["fold"] = np.where(rows["fold"] == 1, "", "0")
    assert "fold_thresholds" not in choose_points(rows, task=GRADES, targets=["youden"])[0]
    rows["fold"] = np.resize(["0", "1", ""], len(rows))
    (found,) = choose_points(rows, task=GRADES, targets=["youden"])
    assert sorted(found["fold_thresholds"]) == ["0", "1"]


def test_another_unit_can_be_chosen_for() -> None:
    rows = table()
    metric = Metric(name="k", title="K", compute=quadratic_kappa, unit="image")
    for unit, expected in ((None, ("image", 60)), ("eye", ("eye", 30))):
        (found,) = choose_points(
            rows, task=GRADES, targets=["youden"], units=[EYE], metrics=[metric], unit=unit
        )
        assert (found["unit"], found["n"]) == expected
    with pytest.raises(ConfigError, match=r"'farm'.*image, eye"):
        choose_points(rows, task=GRADES, targets=["youden"], units=[EYE], unit="farm")


def test_several_labels_have_no_point_of_positive_classes() -> None:
    task = Task(name="m", kind="multilabel", classes=("no", "yes"), positive=("yes",))
    assert choose_points(four(), task=task, targets=["youden"]) == []
    assert choose_points(four(), task=YES_NO, targets=[]) == []


def level_of(rows: pd.DataFrame, task: Task, groups: list[str] | None = None) -> Level:
    """The images of a table as cases."""
    cases = cases_of(decisions_of(rows, task=task)["image"], task)
    names = np.array(groups or [f"\uffff{i}" for i in rows["image_id"]])
    draws = Draws(level=0.9, resamples=100, seed=0, word="patient")
    return Level.of("image", cases, names, task=task, draws=draws)


def test_a_stored_point_is_counted_at_with_its_rates_and_rows() -> None:
    point = {"name": "p", "threshold": 0.4, "target": "youden", "unit": "eye"}
    levels = {"image": level_of(four(), YES_NO)}
    entry, rows = reached(point, levels, "image", prevalence=0.02, split="test")
    # At .4 and above: one of two found, one of two called in error.
    assert entry["counts"] == {"tp": 1, "fp": 1, "fn": 1, "tn": 1}
    assert (entry["unit"], entry["target"]) == ("image", "youden")
    assert entry["counted_at"] == counted_at(point, "test")
    events = {"sensitivity": 2, "specificity": 2, "ppv": 2, "npv": 2, "recall_rate": 4}
    assert [row["name"] for row in rows] == list(events)
    assert all(set(row) == {column.name for column in METRICS} for row in rows)
    low, high = wilson(1, 2, level=0.9).ends
    for row in rows:
        n = events[row["name"]]
        assert (row["value"], row["n"]) == (0.5, n)
        assert row["n_events"] == n / 2
        assert (row["of"], row["unit"], row["split"]) == ("p", "image", "test")
        assert (row["subgroup"], row["level"], row["percent"]) == ("", 0.9, True)
        assert row["method"] == f"Wilson, {n} independent cases"
        if n == 2:
            assert (row["low"], row["high"]) == pytest.approx((low, high))
        assert entry[row["name"]]["value"] == row["value"]
    assert rows[0]["title"] == "Sensitivity"
    assert [row["n_groups"] for row in rows] == [2, 2, 4, 4, 4]
    assert [one["prevalence"] for one in entry["by_prevalence"]] == list(PREVALENCES)
    there = predictive_values(0.5, 0.5, 0.02, n_positive=2, n_negative=2, level=0.9)
    assert entry["at_prevalence"]["ppv_low"] == pytest.approx(there["ppv_low"])
    assert entry["at_prevalence"]["ppv"] == pytest.approx(0.02)
    assert entry["at_prevalence"]["per_1000"]["found"] == pytest.approx(10)
    assert entry["likelihood_ratios"]["positive"]["value"] == pytest.approx(1)
    plain, _ = reached(point, levels, "image", prevalence=None, split="test")
    assert "at_prevalence" not in plain


def test_cases_of_groups_are_counted_by_group() -> None:
    rows = table(20)
    groups = [f"p{i // 4}" for i in range(len(rows))]
    point = {"name": "p", "threshold": 0.6, "unit": "image"}
    levels = {"eye": level_of(four(), YES_NO), "image": level_of(rows, GRADES, groups)}
    entry, found = reached(point, levels, "eye", prevalence=None, split="test")
    assert entry["unit"] == "image"
    assert "10 patients" in found[-1]["method"]
    for task, positive in ((GRADES, ["1", "2"]), (replace(GRADES, positive=("2",)), ["2"])):
        levels["image"] = level_of(rows, task, groups)
        _, found = reached(point, levels, "eye", prevalence=None, split="test")
        truth = rows["label"].isin(positive).to_numpy()
        assert [row["n"] for row in found[:2]] == [truth.sum(), (~truth).sum()]
        assert found[0]["n_groups"] == len(set(np.array(groups)[truth]))
        assert found[1]["n_groups"] == len(set(np.array(groups)[~truth]))
        assert found[4]["n_groups"] == 10


def test_a_point_without_a_threshold_or_a_question_keeps_its_reason() -> None:
    levels = {"image": level_of(four(), YES_NO)}
    for point, reason in (
        ({"name": "p", "threshold": None, "reason": "one class"}, "one class"),
        ({"name": "p", "threshold": None}, "no threshold was found for it"),
    ):
        entry, rows = reached(point, levels, "image", prevalence=None, split="test")
        assert rows == []
        assert entry == {**point, "unit": "image", "reason": reason}
    plain = Task(name="c", kind="multiclass", classes=("no", "yes"))
    labels = Task(name="m", kind="multilabel", classes=("no", "yes"), positive=("yes",))
    for task in (plain, labels):
        levels = {"image": level_of(four(), task)}
        entry, rows = reached(
            {"name": "p", "threshold": 0.5}, levels, "image", prevalence=None, split="test"
        )
        assert rows == []
        assert "names no positive classes" in entry["reason"]


def test_cases_of_a_fold_without_a_threshold_of_its_own_are_counted_at_that_of_the_run() -> None:
    point = {"name": "p", "threshold": 0.5, "split": "out-of-fold", "fold_thresholds": {"0": 0.1}}
    levels = {"image": level_of(four(), YES_NO)}
    folds = {"image": np.array(["0", "1", "0", ""])}
    settings: dict[str, Any] = {"prevalence": None, "split": "out-of-fold"}
    entry, _ = reached(point, levels, "image", folds=folds, **settings)
    # .1 and .35 are called at .1; .4 is not at .5, .8 is.
    assert entry["counts"] == {"tp": 2, "fp": 1, "fn": 0, "tn": 1}
    for others in (None, {"eye": folds["image"]}):
        entry, _ = reached(point, levels, "image", folds=others, **settings)
        assert entry["counts"] == {"tp": 1, "fp": 0, "fn": 1, "tn": 2}
    assert thresholds_of(point, "out-of-fold") == {"": 0.5, "0": 0.1}
    assert thresholds_of(point, "val") == 0.5
    assert thresholds_of({**point, "split": "val"}, "out-of-fold") == 0.5
    assert threshold_in_force({}, "test") is None
    assert "set before" in counted_at({**point, "fold_thresholds": {}}, "out-of-fold")


def rate(value: float | None, n: int, low: float | None, high: float | None, how: str = "x") -> Any:
    return {"value": value, "n": n, "low": low, "high": high, "method": how}


def test_likelihood_ratios_of_perfect_rates_have_one_end_or_none() -> None:
    half, all_ = rate(0.5, 10, None, None), rate(1.0, 10, None, None)
    found = likelihood_ratios(half, all_, 0.95)
    # No false alarm: infinite, drawn in by half a case of eleven.
    assert found["positive"]["value"] is None
    assert found["positive"]["high"] is None
    assert "no negative case was called" in found["positive"]["reason"]
    a, b = 0.5, 0.5 / 11
    spread = 1.959964 * np.sqrt((1 - a) / (a * 10) + (1 - b) / (b * 10))
    assert found["positive"]["low"] == pytest.approx(a / b * np.exp(-spread), rel=1e-5)
    assert found["negative"]["value"] == 0.5
    assert found["negative"]["reason"] == ""
    # All found: no missed case changes the odds to nothing.
    found = likelihood_ratios(all_, half, 0.95)
    assert found["negative"]["value"] == found["negative"]["low"] == 0.0
    assert found["negative"]["high"] > 0
    found = likelihood_ratios(half, rate(0.0, 10, None, None), 0.95)
    assert found["negative"]["value"] is None
    assert found["negative"]["reason"] == "all were called"
    for pair in ((rate(None, 0, None, None), half), (half, rate(None, 0, None, None))):
        found = likelihood_ratios(*pair, 0.95)
        for one in found.values():
            assert one["value"] is one["low"] is one["high"] is None
            assert "not estimable" in one["reason"]
        content = dict(zip(("sensitivity", "specificity"), pair, strict=True))
        there = at_prevalence(content, 0.1, 0.95)
        assert there["prevalence"] == 0.1
        assert "not estimable" in there["reason"]
        assert set(there) == {"prevalence", "reason"}


def test_rates_of_groups_count_as_the_independent_cases_of_equal_intervals() -> None:
    def end(sensitivity: Any, which: str = "low") -> float:
        # Of 100,000 negative cases the specificity is as good as known.
        specificity = rate(0.5, 100_000, None, None)
        return float(likelihood_ratios(sensitivity, specificity, 0.95)["positive"][which])

    # .8 +- .16 is the width of 24 cases: .8 * .2 * 1.96 ** 2 / .16 ** 2 = 24.
    assert end(rate(0.8, 100, 0.64, 0.96)) == pytest.approx(
        1.6 * np.exp(-1.959964 * np.sqrt(0.2 / (0.8 * 24.009))), rel=1e-3
    )
    # Never more than there are, whatever the interval; never less than one.
    assert end(rate(0.8, 100, 0.79, 0.81)) == end(rate(0.8, 100, None, None))
    one = end(rate(0.8, 1, None, None))
    assert end(rate(0.8, 100, -1.0, 1.0)) == one
    # The exact limit of twelve groups is that of twelve independent cases.
    low, high = clopper_pearson(12, 12).ends
    assert end(rate(1.0, 100, low, high)) == pytest.approx(end(rate(1.0, 12, None, None)))
    low, high = clopper_pearson(0, 12).ends
    of_none = rate(0.0, 100, low, high), rate(0.0, 12, None, None)
    assert end(of_none[0], "high") == pytest.approx(end(of_none[1], "high"))
    assert end(of_none[0], "high") > end(rate(0.0, 100, None, None), "high")
    assert end(rate(1.0, 100, 0.01, 1.0)) == end(rate(1.0, 1, None, None))
    # Wilson's interval of independent cases is not taken for one of groups.
    wide = rate(0.8, 100, 0.64, 0.96, "Wilson, 100 independent cases")
    assert end(wide) == end(rate(0.8, 100, None, None))


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
