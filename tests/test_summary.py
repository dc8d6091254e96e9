"""The content of metrics.json: complete, plain, the same for the same predictions."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from core.app import Cases, Metric, Task, Unit
from core.base.tables import METRICS
from core.errors import MetricError
from core.evaluation.failures import quality_words
from core.evaluation.subgroups import values_in_words
from core.evaluation.summary import EvaluationPlan, summarise
from core.evaluation.verdicts import verdicts
from core.statistics import metrics

if TYPE_CHECKING:
    from collections.abc import Callable

BINARY = Task(name="cancer", kind="binary", classes=("no", "yes"), positive=("yes",))
GRADES = Task(name="grade", kind="ordinal", classes=("0", "1", "2", "3"), positive=("2", "3"))
KINDS = Task(name="disease", kind="multiclass", classes=("a", "b", "c"))
LABELS = Task(name="signs", kind="multilabel", classes=("spot", "rust"))
EYES = (Unit(name="eye", columns=("patient", "side")), Unit(name="patient", columns=("patient",)))
FAST = {"split": "test", "resamples": 100, "group_word": "patient"}


def predictions(task: Task, n: int = 240, seed: int = 0, *, shift: float = 2.0) -> pd.DataFrame:
    """Three images for each of n / 3 patients, two of the left and one of the right side."""
    rng = np.random.default_rng(seed)
    k = len(task.classes)
    patient = np.repeat(np.arange(n // 3), 3)
    truth = (np.arange(n // 3) % k)[patient]
    logits = rng.normal(size=(n, k)) + rng.normal(size=(n // 3, k))[patient]
    logits[np.arange(n), truth] += shift
    exp = np.exp(logits / 1.5)
    scores = exp / exp.sum(axis=1, keepdims=True)
    labels = [task.classes[i] for i in truth]
    if task.kind == "multilabel":
        scores = 1 / (1 + np.exp(-logits / 1.5))
        flags = rng.random(scores.shape) < scores
        labels = ["|".join(np.array(task.classes)[row]) or "|" for row in flags]
    table = pd.DataFrame(
        {
            "image_id": [f"i{i:04}" for i in range(n)],
            "path": "x.png",
            "status": "ok",
            "reason": "",
            "quality": "",
            "label": labels,
            "group": [f"p{i:03}" for i in patient],
            "patient": [f"p{i:03}" for i in patient],
            "side": ["L", "L", "R"] * (n // 3),
            "camera": np.array(["x", "y"])[(patient // k) % 2],
        }
    )
    for name, column in zip(task.classes, scores.T, strict=True):
        table[f"score_{name}"] = column
    for i, column in enumerate(logits.T):
        table[f"logit_{i}"] = column
    return table


def row_of(content: dict[str, Any], name: str, **wanted: str) -> dict[str, Any]:
    """The one row with this name."""
    default = {"of": "", "subgroup": "", "unit": "image"} | wanted
    found = [
        row
        for row in content["metrics"]
        if row["name"] == name and all(row[key] == value for key, value in default.items())
    ]
    assert len(found) == 1, (name, wanted, len(found))
    return found[0]


@pytest.mark.parametrize("task", [BINARY, GRADES, KINDS, LABELS], ids=lambda task: task.kind)
def test_content_is_plain_json_with_every_column_of_the_metrics_table(task: Task) -> None:
    link = "sigmoid" if task.kind == "multilabel" else "softmax"
    content, tables = summarise(
        predictions(task),
        EvaluationPlan(task=task, units=EYES, subgroups=["camera"], link=link, **FAST),
    )
    json.dumps(content, allow_nan=False)
    wanted = [column.name for column in METRICS]
    for row in content["metrics"]:
        assert list(row) == wanted
        assert row["value"] is not None or row["reason"]
        if row["value"] is not None and row["name"] != "support":
            assert (row["low"] is None) == (row["high"] is None)
            assert row["low"] is None or row["low"] <= row["value"] <= row["high"]
            assert row["method"] or row["reason"]
    assert list(tables) == ["image", "eye", "patient"]
    keys = [tuple(row[k] for k in ("name", "of", "unit", "subgroup")) for row in content["metrics"]]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("task", [BINARY, GRADES, KINDS, LABELS], ids=lambda task: task.kind)
def test_same_predictions_in_any_order_give_the_same_content(task: Task) -> None:
    table = predictions(task)
    first, _ = summarise(table, EvaluationPlan(task=task, units=EYES, subgroups=["camera"], **FAST))
    again, _ = summarise(
        table.sample(frac=1, random_state=3),
        EvaluationPlan(task=task, units=EYES, subgroups=["camera"], **FAST),
    )
    assert json.dumps(first) == json.dumps(again)


def test_numbers_recompute_with_sklearn() -> None:
    table = predictions(KINDS)
    content, _ = summarise(table, EvaluationPlan(task=KINDS, **FAST))
    y = table["label"].map(KINDS.classes.index)
    scores = table[["score_a", "score_b", "score_c"]].to_numpy()
    decided = scores.argmax(axis=1)
    expected = {
        "accuracy": sk.accuracy_score(y, decided),
        "balanced_accuracy": sk.balanced_accuracy_score(y, decided),
        "macro_f1": sk.f1_score(y, decided, average="macro"),
        "macro_auroc": sk.roc_auc_score(y, scores, multi_class="ovr"),
        "log_loss": sk.log_loss(y, scores),
    }
    for name, value in expected.items():
        assert row_of(content, name)["value"] == pytest.approx(value)
    for k, name in enumerate(KINDS.classes):
        assert row_of(content, "recall", of=name)["value"] == pytest.approx(
            sk.recall_score(y == k, decided == k)
        )
        assert row_of(content, "auroc", of=name)["value"] == pytest.approx(
            sk.roc_auc_score(y == k, scores[:, k])
        )
        assert row_of(content, "support", of=name)["value"] == (y == k).sum()
    counts = np.array(content["confusion"]["image"]["counts"])
    assert (counts == sk.confusion_matrix(y, decided)).all()


def test_images_drawn_as_independent_give_narrower_intervals() -> None:
    table = predictions(KINDS, n=600)
    by_patient, _ = summarise(table, EvaluationPlan(task=KINDS, **FAST | {"resamples": 400}))
    by_image, _ = summarise(
        table.assign(group=""), EvaluationPlan(task=KINDS, **FAST | {"resamples": 400})
    )
    width = {}
    for name, content in (("patient", by_patient), ("image", by_image)):
        row = row_of(content, "macro_f1")
        width[name] = row["high"] - row["low"]
    assert width["patient"] > 1.12 * width["image"]
    assert "200 patients" in row_of(by_patient, "macro_f1")["method"]
    assert any("counts as independent" in words for words in by_image["cautions"])
    assert not any("counts as independent" in words for words in by_patient["cautions"])


def test_the_apps_metric_comes_first_and_is_computed_once() -> None:
    metric = Metric(
        name="accuracy", title="Share right", compute=metrics.accuracy, unit="eye", percent=True
    )
    content, _ = summarise(
        predictions(KINDS), EvaluationPlan(task=KINDS, units=EYES, metrics=[metric], **FAST)
    )
    assert content["metrics"][0]["title"] == "Share right"
    assert content["about"]["headline"] == "accuracy"
    assert content["about"]["unit"] == "eye"
    assert row_of(content, "accuracy", unit="eye")["title"] == "Share right"
    assert row_of(content, "accuracy", unit="image")["title"] == "Accuracy"


def test_a_metric_without_a_unit_is_of_the_highest_and_an_absent_unit_is_said() -> None:
    named = [
        Metric(name="f", title="F", compute=metrics.macro_f1),
        Metric(name="g", title="G", compute=metrics.macro_f1, unit="breast"),
    ]
    content, _ = summarise(
        predictions(KINDS), EvaluationPlan(task=KINDS, units=EYES, metrics=named, **FAST)
    )
    assert row_of(content, "f", unit="patient")["value"] is not None
    assert row_of(content, "g", unit="patient")["value"] is not None
    assert "G is given per patient, for there is no breast." in content["cautions"]


def always_undefined(cases: Cases) -> float:
    msg = f"not estimable: the moon is missing from {len(cases.y)} cases"
    raise MetricError(msg)


def test_an_undefined_number_is_null_with_the_reason_of_its_metric() -> None:
    metric = Metric(name="moon", title="Moon", compute=always_undefined)
    content, _ = summarise(predictions(KINDS), EvaluationPlan(task=KINDS, metrics=[metric], **FAST))
    row = content["metrics"][0]
    assert row["value"] is None
    assert row["low"] is None
    assert row["reason"] == "not estimable: the moon is missing from 240 cases"


def test_one_class_alone_leaves_rankings_undefined_in_words() -> None:
    table = predictions(BINARY)
    table = table[table["label"] == "no"]
    content, _ = summarise(table, EvaluationPlan(task=BINARY, **FAST))
    assert row_of(content, "auroc")["value"] is None
    assert "both needed" in row_of(content, "auroc")["reason"]
    assert row_of(content, "recall", of="yes")["value"] is None
    assert row_of(content, "accuracy")["value"] is not None
    assert content["calibration"]["reason"].startswith("not estimable")
    assert content["about"]["absent_classes"] == ["yes"]
    assert any("No case of 1 of 2 classes: yes" in words for words in content["cautions"])


def test_a_missing_class_is_named_never_shifted() -> None:
    table = predictions(GRADES)
    table = table[table["label"] != "1"]
    content, _ = summarise(table, EvaluationPlan(task=GRADES, **FAST))
    counts = np.array(content["confusion"]["image"]["counts"])
    assert counts.shape == (4, 4)
    assert counts[1].sum() == 0
    assert counts[3].sum() == (table["label"] == "3").sum()
    y = table["label"].astype(int)
    decided = np.array([_median(s) for s in table.filter(like="score_").to_numpy()])
    expected = sk.cohen_kappa_score(y, decided, weights="quadratic", labels=range(4))
    assert row_of(content, "quadratic_kappa")["value"] == pytest.approx(expected)
    assert row_of(content, "macro_auroc")["value"] is None


def _median(scores: np.ndarray) -> int:
    """The first grade whose cumulative score reaches one half."""
    return int((np.cumsum(scores) < 0.5).sum())


def test_a_perfect_result_never_has_an_interval_without_width() -> None:
    table = predictions(BINARY)
    yes = (table["label"] == "yes").to_numpy()
    table["score_yes"] = np.where(yes, 0.9, 0.1)
    table["score_no"] = 1 - table["score_yes"]
    for group in (table["group"], ""):
        content, _ = summarise(table.assign(group=group), EvaluationPlan(task=BINARY, **FAST))
        for name in ("accuracy", "balanced_accuracy", "macro_f1", "auroc", "average_precision"):
            row = row_of(content, name)
            assert row["value"] == 1.0
            assert row["low"] < 1.0, name
            assert row["high"] == 1.0
        for row in content["metrics"]:
            assert row["low"] is None or row["low"] < row["high"], row
        assert "reason" in content["calibration"]
    grouped = row_of(summarise(table, EvaluationPlan(task=BINARY, **FAST))[0], "accuracy")
    assert grouped["low"] == pytest.approx(0.025 ** (1 / 80))
    assert "80 patients" in grouped["method"]


def test_few_groups_withhold_intervals_but_keep_values() -> None:
    content, _ = summarise(predictions(KINDS, n=12), EvaluationPlan(task=KINDS, **FAST))
    row = row_of(content, "macro_f1")
    assert row["value"] is not None
    assert row["low"] is None
    assert "4 patients are too few" in row["reason"]
    assert any("intervals are withheld" in words for words in content["cautions"])


def with_failures() -> pd.DataFrame:
    """Two failed images of positives, one skipped, one unlabelled, one of an unknown class."""
    table = predictions(BINARY)
    scores = ["score_no", "score_yes", "logit_0", "logit_1"]
    positive = table.index[table["label"] == "yes"][:2]
    table.loc[positive, "status"] = "failed"
    table.loc[0, "status"] = "skipped"
    table.loc[[0, *positive], scores] = np.nan
    table.loc[1, "label"] = None
    table.loc[2, "label"] = "maybe"
    return table


def test_every_image_is_somewhere_in_the_flow() -> None:
    content, tables = summarise(with_failures(), EvaluationPlan(task=BINARY, units=EYES, **FAST))
    n = {step["step"]: step["n"] for step in content["flow"]}
    assert n == {
        "Images given": 240,
        "Skipped": 1,
        "Failed: no score": 2,
        "Without a label": 1,
        "Excluded: label unknown to the model": 1,
        "Images evaluated": 235,
        # Both left images of one patient failed; the right image of another is unknown.
        "Eyes evaluated": 158,
        "Patients evaluated": 80,
    }
    aside = sum(step["n"] for step in content["flow"] if step.get("aside"))
    assert aside + n["Images evaluated"] == n["Images given"]
    assert len(tables["image"]) == 240
    assert row_of(content, "accuracy")["n"] == 235


def test_failures_are_counted_both_ways() -> None:
    content, _ = summarise(with_failures(), EvaluationPlan(task=BINARY, **FAST))
    found = content["failures"]
    # The skipped image has a label and no score, so it is one of them.
    assert (found["n"], found["n_total"]) == (3, 238)
    rate = {(row["name"], row["way"]): (row["x"], row["n"]) for row in found["rows"]}
    right, n = rate["accuracy", "excluded"]
    assert n == 235
    assert rate["accuracy", "as_wrong"] == (right, 238)
    caught, positives = rate["sensitivity", "excluded"]
    assert rate["sensitivity", "as_wrong"] == (caught, positives + 2)
    assert rate["sensitivity", "as_positive"] == (caught + 2, positives + 2)
    cleared, negatives = rate["specificity", "excluded"]
    assert rate["specificity", "as_positive"] == (cleared, negatives + 1)
    assert (
        summarise(predictions(BINARY), EvaluationPlan(task=BINARY, **FAST))[0]["failures"] is None
    )


def test_images_of_poor_quality_are_shown_with_and_without() -> None:
    table = predictions(BINARY)
    table.loc[:9, "quality"] = "too dark"
    content, _ = summarise(table, EvaluationPlan(task=BINARY, **FAST))
    assert content["failures"]["n_flagged"] == 10
    assert row_of(content, "accuracy")["n"] == 240
    n = {row["way"]: row["n"] for row in content["failures"]["rows"] if row["name"] == "accuracy"}
    assert n == {"excluded": 230, "as_wrong": 240}
    assert content["failures"]["rows"][0]["what"] == "failed or flagged"


def test_nothing_to_evaluate_is_refused() -> None:
    table = predictions(BINARY).assign(label="")
    with pytest.raises(MetricError, match="None of 240 rows has both"):
        summarise(table, EvaluationPlan(task=BINARY, **FAST))


def test_calibration_is_given_before_and_after_scaling() -> None:
    table = predictions(KINDS)
    content, _ = summarise(table, EvaluationPlan(task=KINDS, temperature=1.5, **FAST))
    logits = table[["logit_0", "logit_1", "logit_2"]].to_numpy()
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    y = table["label"].map(KINDS.classes.index)
    before = row_of(content, "log_loss_before")["value"]
    assert before == pytest.approx(sk.log_loss(y, scores))
    assert row_of(content, "log_loss")["value"] != pytest.approx(before, abs=1e-3)
    bins = content["curves"]["reliability"]
    assert set(bins) == {"before", "after"}
    assert sum(one["n"] for one in bins["before"]) == 240
    bare, _ = summarise(table.drop(columns="logit_0"), EvaluationPlan(task=KINDS, **FAST))
    assert set(bare["curves"]["reliability"]) == {"after"}


def test_nothing_stands_before_a_temperature_of_one() -> None:
    table = predictions(KINDS)
    logits = table[["logit_0", "logit_1", "logit_2"]].to_numpy()
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    # As a file holds them.
    table[[f"score_{name}" for name in KINDS.classes]] = scores.astype(np.float32)
    content, _ = summarise(table, EvaluationPlan(task=KINDS, temperature=1.0, **FAST))
    assert set(content["curves"]["reliability"]) == {"after"}
    assert not [row["name"] for row in content["metrics"] if row["name"].endswith("_before")]


POINT = {"name": "screening", "threshold": 0.3, "target": "sensitivity=0.95", "split": "val"}


def test_an_operating_point_is_counted_at_and_never_moved() -> None:
    table = predictions(BINARY)
    content, _ = summarise(
        table, EvaluationPlan(task=BINARY, operating_points=[POINT], prevalence=0.01, **FAST)
    )
    (point,) = content["operating_points"]
    assert {key: point[key] for key in POINT} == POINT
    called, yes = table["score_yes"] >= 0.3, table["label"] == "yes"
    assert point["counts"]["tp"] == (called & yes).sum()
    sensitivity = row_of(content, "sensitivity", of="screening")
    assert sensitivity["value"] == pytest.approx(called[yes].mean())
    assert sensitivity["n"] == yes.sum()
    assert "40 patients" in sensitivity["method"]
    at = point["at_prevalence"]
    assert (
        at["ppv_low"] < at["ppv"] < at["ppv_high"] < row_of(content, "ppv", of="screening")["value"]
    )
    assert at["per_1000"]["found"] + at["per_1000"]["missed"] == pytest.approx(10)
    shuffled = table.assign(label=table["label"].sample(frac=1, random_state=1).to_numpy())
    other, _ = summarise(shuffled, EvaluationPlan(task=BINARY, operating_points=[POINT], **FAST))
    assert other["operating_points"][0]["threshold"] == 0.3


def test_the_point_in_force_makes_the_decisions() -> None:
    table = predictions(BINARY)
    content, tables = summarise(
        table, EvaluationPlan(task=BINARY, operating_points=[POINT | {"active": True}], **FAST)
    )
    decided = tables["image"].set_index("unit_id")["decision"] == "yes"
    assert (decided.to_numpy() == (table["score_yes"] >= 0.3).to_numpy()).all()
    assert content["about"]["threshold"] == 0.3
    accuracy = row_of(content, "accuracy")["value"]
    assert accuracy == pytest.approx((decided.to_numpy() == (table["label"] == "yes")).mean())


def test_a_point_of_a_task_without_positive_classes_says_so() -> None:
    content, _ = summarise(
        predictions(KINDS), EvaluationPlan(task=KINDS, operating_points=[POINT], **FAST)
    )
    assert "no positive classes" in content["operating_points"][0]["reason"]
    assert content["curves"]["decision"] is None


def test_subgroups_are_compared_with_the_rest_as_a_family() -> None:
    table = predictions(BINARY, n=900)
    spoilt = (table["camera"] == "x").to_numpy()
    rng = np.random.default_rng(0)
    table.loc[spoilt, "score_yes"] = rng.random(spoilt.sum())
    table["score_no"] = 1 - table["score_yes"]
    metric = Metric(name="accuracy", title="Accuracy", compute=metrics.accuracy)
    content, _ = summarise(
        table, EvaluationPlan(task=BINARY, metrics=[metric], subgroups=["camera", "side"], **FAST)
    )
    found = {f"{one['column']}={one['subgroup']}": one for one in content["subgroups"]}
    assert set(found) == {"camera=x", "camera=y", "side=L", "side=R"}
    worse = found["camera=x"]
    assert worse["high"] < 0
    assert worse["verdict"].startswith("lower than the rest")
    assert worse["difference"] == pytest.approx(-found["camera=y"]["difference"])
    assert found["side=L"]["verdict"] == "no difference to the rest is shown"
    raw = sorted(one["p"] for one in found.values())
    assert min(one["p_holm"] for one in found.values()) == pytest.approx(4 * raw[0])
    row = row_of(content, "accuracy", subgroup="camera=x")
    assert row["value"] == worse["here"]
    # The interval beside it is that of the difference, so it is no value with an interval.
    assert "value" not in worse
    assert row["n"] == 450
    assert row_of(content, "auroc", subgroup="camera=y")["n_events"] == 225


def test_a_tiny_subgroup_is_too_few_to_judge() -> None:
    table = predictions(BINARY)
    table["camera"] = ["rare"] * 6 + ["usual"] * 234
    content, _ = summarise(table, EvaluationPlan(task=BINARY, subgroups=["camera"], **FAST))
    rare = next(one for one in content["subgroups"] if one["subgroup"] == "rare")
    assert rare["verdict"] == "too few to judge: 6 cases"
    assert rare["p"] is None
    rest = next(one for one in content["subgroups"] if one["subgroup"] == "usual")
    assert rest["verdict"] == "too few to judge: 6 cases in the rest"
    # Two patients show no spread: a difference of kappas once reached from -4.2 to 2.4.
    assert rare["low"] is None
    assert row_of(content, "accuracy", subgroup="camera=rare")["low"] is None


def slow_share(cases: Cases) -> float:
    return float(np.average(cases.y == cases.decided, weights=cases.weight))


def test_a_metric_of_the_apps_own_has_an_interval_and_subgroups() -> None:
    metric = Metric(name="own", title="Own", compute=slow_share)
    content, _ = summarise(
        predictions(BINARY),
        EvaluationPlan(task=BINARY, metrics=[metric], subgroups=["camera"], **FAST),
    )
    own, core = content["metrics"][0], row_of(content, "accuracy")
    # Of an undeclared function only the spread is known, so its interval is another, as wide.
    assert own["high"] - own["low"] == pytest.approx(core["high"] - core["low"], rel=0.3)
    assert row_of(content, "own", subgroup="camera=x")["low"] is not None


def test_partials_of_named_metrics_work_as_headline() -> None:
    metric = Metric(
        name="referable",
        title="AUROC, referable",
        compute=partial(metrics.auroc_of_positive, positive=(2, 3)),
    )
    content, _ = summarise(
        predictions(GRADES), EvaluationPlan(task=GRADES, metrics=[metric], **FAST)
    )
    assert content["metrics"][0]["value"] == pytest.approx(
        row_of(content, "auroc_positive")["value"]
    )


def test_curves_are_of_the_headline_unit_and_can_be_drawn() -> None:
    content, tables = summarise(
        predictions(BINARY), EvaluationPlan(task=BINARY, units=EYES, **FAST)
    )
    (roc,) = content["curves"]["roc"]
    assert roc["unit"] == "patient"
    assert roc["of"] == "yes"
    area = np.trapezoid(roc["y"], roc["x"])
    assert area == pytest.approx(row_of(content, "auroc", unit="patient")["value"], abs=1e-4)
    (refer,) = content["curves"]["risk_coverage"]
    assert refer["x"][-1] == 1.0
    assert refer["y"][-1] == pytest.approx(1 - row_of(content, "accuracy", unit="patient")["value"])
    assert refer["rows"][0]["words"].startswith("refer 0 %")
    decision = content["curves"]["decision"]
    assert len(decision["model"]) == len(decision["low"]) == len(decision["threshold"])
    assert len(tables["patient"]) == 80


def test_numbers_of_a_column_are_cut_into_thirds_and_words_kept() -> None:
    assert set(values_in_words(np.array(["a", "", "b"]))) == {"a", "b", "not given"}
    ages = values_in_words(np.array([f"{v / 2}" for v in range(60)]))
    assert set(ages) == {"under 10", "10 to below 20", "20 or more"}
    names = values_in_words(np.array([f"w{i % 20}" for i in range(100)]))
    assert len(set(names)) == 12
    assert "other" in names


def test_no_interval_is_made_of_one_group() -> None:
    table = predictions(BINARY).assign(group="p")
    content, _ = summarise(table, EvaluationPlan(task=BINARY, operating_points=[POINT], **FAST))
    for row in content["metrics"]:
        assert row["low"] is None or row["name"] in {"auroc"}, row
    assert any("Only 1 patient" in words for words in content["cautions"])


def own_accuracy(cases: Cases) -> float:
    """An app's own function for a number that is built in."""
    right = (cases.y == cases.decided).astype(float)
    return float(right @ cases.weight / cases.weight.sum())


def shifted_accuracy(cases: Cases) -> float:
    """Another number under a built-in name."""
    return own_accuracy(cases) / 2


def test_an_apps_own_number_has_the_interval_of_the_kind_it_declares() -> None:
    rows = predictions(BINARY).assign(group="")
    own = [
        Metric(name="own", title="A", compute=own_accuracy, percent=True, interval="proportion"),
        Metric(name="halved", title="B", compute=shifted_accuracy),
    ]
    content, _ = summarise(rows, EvaluationPlan(task=BINARY, metrics=own, **FAST))
    declared, core = row_of(content, "own"), row_of(content, "accuracy")
    assert declared["method"].startswith("Wilson")
    assert (declared["low"], declared["high"]) == (core["low"], core["high"])
    assert "bootstrap" in row_of(content, "halved")["method"]
    # Half an accuracy is no proportion of cases: to say so is an error, not an interval.
    wrong = [replace(own[1], interval="proportion")]
    with pytest.raises(MetricError, match="declared a proportion"):
        summarise(rows, EvaluationPlan(task=BINARY, metrics=wrong, **FAST))


def test_one_number_has_one_interval_wherever_it_stands() -> None:
    # Sensitivity at the threshold in use is the recall of its class, by whatever name.
    point = {"name": "p", "threshold": 0.5, "unit": "image", "active": True}
    own = Metric(name="found", title="Found", compute=metrics.sensitivity_of_positive, percent=True)
    for groups in ("patient", None):
        table = predictions(BINARY)
        table["group"] = table[groups] if groups else ""
        content, _ = summarise(
            table, EvaluationPlan(task=BINARY, metrics=[own], operating_points=[point], **FAST)
        )
        same = [
            row_of(content, "found"),
            row_of(content, "recall", of="yes"),
            row_of(content, "sensitivity", of="p"),
        ]
        assert len({(row["value"], row["low"], row["high"]) for row in same}) == 1


def test_a_share_that_strata_hold_still_has_the_interval_of_its_groups() -> None:
    # Every case is decided negative: each stratified resample has the same share of right ones.
    rows = predictions(BINARY).assign(score_no=0.9, score_yes=0.1)
    content, _ = summarise(rows, EvaluationPlan(task=BINARY, **FAST))
    row = row_of(content, "accuracy")
    assert row["low"] < row["value"] < row["high"]
    assert "design effect" in row["method"]


def test_a_case_control_design_holds_the_mix_of_classes_and_says_so() -> None:
    rows = predictions(BINARY)
    free, fixed = (
        summarise(rows, EvaluationPlan(task=BINARY, design=design, **FAST))[0]
        for design in ("cohort", "case-control")
    )
    one, other = row_of(free, "macro_f1"), row_of(fixed, "macro_f1")
    assert one["value"] == other["value"]
    assert "within classes" in other["method"]
    assert "within classes" not in one["method"]
    assert any("fixed by the design" in words for words in fixed["cautions"])
    wide = [row["high"] - row["low"] for row in (one, other)]
    assert wide[1] < wide[0] * 1.1


def test_a_number_at_a_threshold_found_here_says_so_in_its_title() -> None:
    seeking = Metric(
        name="found",
        title="Sensitivity at 90 % specificity",
        compute=partial(metrics.sensitivity_at_specificity, at_least=0.9),
        seeks=True,
    )
    content, _ = summarise(
        predictions(BINARY), EvaluationPlan(task=BINARY, metrics=[seeking], **FAST)
    )
    row = row_of(content, "found")
    assert row["title"] == "Sensitivity at 90 % specificity, threshold found here"
    assert "chosen on these same cases" in row["reason"]


@pytest.mark.parametrize("design", ["cohort", "case-control"])
@pytest.mark.parametrize("compute", [metrics.macro_f1, slow_share])
def test_the_rule_in_use_has_the_interval_of_the_headline(
    design: str, compute: Callable[[Cases], float]
) -> None:
    # A jackknife and a bootstrap: either depends on the strata, the second on the draws, too.
    metric = Metric(name="head", title="Head", compute=compute, unit="patient", percent=True)
    content, _ = summarise(
        predictions(BINARY),
        EvaluationPlan(task=BINARY, metrics=[metric], units=EYES, design=design, **FAST),
    )
    row = row_of(content, "head", unit="patient")
    (used,) = (r for r in content["rules"] if r["unit"] == "patient" and r["in_force"])
    assert row["low"] is not None
    assert [used[k] for k in ("value", "low", "high")] == [row[k] for k in ("value", "low", "high")]


def test_a_gate_that_flags_most_images_is_told_and_one_that_flags_few_is_not() -> None:
    words = "ungradable: focus: hardly a vessel can be followed"
    table = pd.DataFrame({"status": ["ok"] * 10 + ["failed"], "quality": [words] * 9 + [""] * 2})
    told = quality_words(table, "trained on")
    assert told.startswith(
        "The quality gate of this app flags 9 of these 10 images (most often: un"
    )
    assert "They are trained on with the labels they came with" in told
    assert quality_words(table.assign(quality=[words] * 3 + [""] * 8), "judged") == ""
    assert quality_words(table.drop(columns="quality"), "judged") == ""


def test_guessing_at_labels_of_any_number_is_right_for_half_of_them() -> None:
    names = ("a", "b", "c", "d")
    task = Task(name="signs", kind="multilabel", classes=names)
    rng = np.random.default_rng(4)
    truth, scores = rng.random((150, 4)) < 0.4, rng.random((150, 4))
    found = [
        sk.balanced_accuracy_score(truth[:, i], scores[:, i] >= 0.5) for i in range(len(names))
    ]
    row = {"name": "balanced_accuracy", "unit": "image", "value": float(np.mean(found))}
    row |= {"title": "Balanced accuracy", "low": 0.44, "high": 0.56, "percent": True, "n": 150}
    content = {"about": {"headline": "balanced_accuracy", "unit": "image"}, "metrics": [row]}
    (entry,) = verdicts(content, task, {})
    assert entry["against"]["value"] == 0.5
    assert entry["answer"] == "not shown"


# --------------------------------------------------------------------------- the plan


def test_the_headline_is_the_apps_or_what_fits_the_task() -> None:
    for task, name in (
        (BINARY, "auroc"),
        (GRADES, "quadratic_kappa"),
        (KINDS, "macro_f1"),
        (LABELS, "macro_f1"),
    ):
        assert EvaluationPlan(task=task, split="test").headline() == name
    own = [Metric(name=name, title=name, compute=metrics.accuracy) for name in ("one", "two")]
    assert EvaluationPlan(task=BINARY, split="test", metrics=own).headline() == "one"


def test_points_have_names_and_the_first_in_use_with_a_threshold_decides() -> None:
    points = [
        {"threshold": None, "active": True, "target": "youden"},
        {"threshold": 0.7, "rule": "cost=5:1"},
        {"threshold": 0.2, "active": True},
        {"threshold": 0.4, "active": True, "name": "own", "target": "youden"},
    ]
    plan = EvaluationPlan(task=BINARY, split="test", operating_points=points)
    assert [point["name"] for point in plan.points()] == ["youden", "cost=5:1", "point 3", "own"]
    active = plan.active()
    assert active is not None
    assert active["name"] == "point 3"
    assert plan.threshold() == 0.2
    assert "name" not in points[2]
    none = EvaluationPlan(task=BINARY, split="test", operating_points=points[:2])
    assert none.active() is None
    assert none.threshold() is None


def test_a_recall_rate_of_the_app_is_that_of_the_place_of_use() -> None:
    at = partial(metrics.sensitivity_at_recall_rate, limit=0.2)
    own = [
        Metric(name="recall", title="R", compute=at, seeks=True),
        Metric(name="share", title="S", compute=metrics.accuracy),
    ]
    table = predictions(BINARY, 90)
    yes = (table["label"] == "yes").to_numpy()
    for prevalence in (None, 0.01):
        plan = EvaluationPlan(task=BINARY, metrics=own, prevalence=prevalence, **FAST)
        content, _ = summarise(table, plan)
        best = 0.0
        for threshold in table["score_yes"]:
            called = (table["score_yes"] >= threshold).to_numpy()
            found, alarms = called[yes].mean(), called[~yes].mean()
            share = yes.mean() if prevalence is None else prevalence
            if share * found + (1 - share) * alarms <= 0.2 + 1e-12:
                best = max(best, found)
        assert row_of(content, "recall")["value"] == pytest.approx(best)
        assert content["prevalence"] == prevalence
        decision = content["curves"]["decision"]
        assert decision["prevalence"] == pytest.approx(0.5 if prevalence is None else prevalence)
        assert [metric.name for metric in plan.wanted()] == ["recall", "share"]


# --------------------------------------------------------------------------- what it says


def test_the_content_says_what_was_judged_and_how() -> None:
    table = predictions(GRADES, 60)
    table.loc[:2, "label"] = ""
    plan = EvaluationPlan(
        task=GRADES,
        units=EYES,
        temperature=1.5,
        level=0.8,
        seed=3,
        operating_points=[POINT | {"active": True}],
        **FAST,
    )
    content, tables = summarise(table, plan)
    about = dict(content["about"])
    truth = about.pop("truth")
    assert about == {
        "task": "grade",
        "kind": "ordinal",
        "classes": ["0", "1", "2", "3"],
        "positive": ["2", "3"],
        "split": "test",
        "level": 0.8,
        "resamples": 100,
        "seed": 3,
        "design": "cohort",
        "group": "patient",
        "headline": "quadratic_kappa",
        "temperature": 1.5,
        "threshold": 0.3,
        "unit": "patient",
        "units": ["image", "eye", "patient"],
        "n_images": 57,
        "n_groups": 19,
        "grouped": True,
        "absent_classes": [],
    }
    assert list(truth) == ["eye", "patient"]
    assert "highest grade of its images" in truth["eye"]
    assert content["schema"] == 1
    assert list(content["confusion"]) == list(tables) == ["image", "eye", "patient"]
    for name, one in content["confusion"].items():
        assert one["classes"] == ["0", "1", "2", "3"]
        assert sum(map(sum, one["counts"])) == {"image": 57, "eye": 38, "patient": 19}[name]
    # The headline of the highest unit is first, the others from the highest down.
    assert (content["metrics"][0]["name"], content["metrics"][0]["unit"]) == (
        "quadratic_kappa",
        "patient",
    )
    units = [row["unit"] for row in content["metrics"] if row["name"] == "accuracy"]
    assert units == ["patient", "eye", "image"]
    assert {row["level"] for row in content["metrics"]} == {0.8}
    half = (content["metrics"][0]["high"] - content["metrics"][0]["low"]) / 2
    assert content["precision"]["half_width"] == pytest.approx(half)
    assert content["precision"]["more_groups"] == 57
    assert set(content["curves"]["reliability"]) == {"before", "after", "after, by patient"}
    for name, n in (("before", 57), ("after", 57), ("after, by patient", 19)):
        assert sum(one["n"] for one in content["curves"]["reliability"][name]) == n
    assert content["scaling"]["difference"] == pytest.approx(
        row_of(content, "log_loss")["value"] - row_of(content, "log_loss_before")["value"]
    )
    assert content["calibration"]["of"] == "2+3"
    assert (content["calibration"]["unit"], content["folds"]) == ("patient", None)


def test_without_logits_groups_or_units_less_is_said() -> None:
    table = predictions(LABELS, 60).drop(columns=["logit_0", "patient"]).assign(group="")
    content, _ = summarise(table, EvaluationPlan(task=LABELS, units=EYES, **FAST))
    assert content["scaling"] is None
    assert content["confusion"] == {}
    assert set(content["curves"]["reliability"]) == {"after"}
    about = content["about"]
    assert (about["units"], about["unit"], about["grouped"]) == (["image"], "image", False)
    assert (about["n_groups"], about["truth"], about["threshold"]) == (60, {}, None)
    assert "No result per eye: the data have no column patient." in content["cautions"]
    assert content["gaps"] == content["calibration_by_subgroup"] == content["rules"] == []


def test_labels_of_units_that_the_table_has_are_said_to_be_their_truth() -> None:
    table = predictions(BINARY, 60)
    for labels, words in ((table["label"], "eye_label"), ("", "worst finding")):
        content, _ = summarise(
            table.assign(eye_label=labels), EvaluationPlan(task=BINARY, units=EYES, **FAST)
        )
        assert words in content["about"]["truth"]["eye"]
        assert "worst finding" in content["about"]["truth"]["patient"]


def test_subgroups_hold_the_headline_and_what_everybody_asks_for() -> None:
    table = predictions(GRADES, 120).assign(empty="", age=[str(30 + i % 2) for i in range(120)])
    plan = EvaluationPlan(
        task=GRADES,
        units=EYES,
        subgroups=["camera", "empty", "side", "absent", "age"],
        operating_points=[POINT | {"active": True}],
        **FAST,
    )
    content, tables = summarise(table, plan)
    names = [row["name"] for row in content["metrics"] if row["subgroup"] == "camera=x"]
    assert names == ["quadratic_kappa", "accuracy", "auroc_positive"]
    assert {row["unit"] for row in content["metrics"] if row["subgroup"]} == {"patient"}
    notes = [words for words in content["cautions"] if words.startswith("No subgroups by ")]
    # Every patient has images of both sides and of both ages.
    assert notes == [
        f"No subgroups by {name}: it is empty, or varies within units."
        for name in ("empty", "side", "age")
    ]
    columns = {one["column"] for one in content["subgroups"]}
    assert columns == {"camera"}
    assert {one["name"] for one in content["subgroups"]} == {"quadratic_kappa"}
    # Gaps are those of the threshold in use, not of the predicted grade.
    patients = tables["patient"]
    called = (patients[["score_2", "score_3"]].sum(axis=1) >= 0.3).to_numpy()
    of = patients["label"].isin(["2", "3"]).to_numpy() & (patients["camera"] == "x").to_numpy()
    gap = next(row for row in content["gaps"] if row["subgroup"] == "x")
    assert gap["here"] == pytest.approx(called[of].mean())
    assert {row["column"] for row in content["calibration_by_subgroup"]} == {"camera"}


def test_a_unit_whose_images_differ_is_a_subgroup_of_its_own_where_all_have_a_value() -> None:
    table = predictions(BINARY, 120)
    table["view"] = np.where(np.arange(120) < 60, "front", np.resize(["front", "back"], 120))
    plan = EvaluationPlan(task=BINARY, units=EYES[1:], subgroups=["view"], **FAST)
    content, _ = summarise(table, plan)
    found = [one["subgroup"] for one in content["subgroups"]]
    assert found == ["front", "differs within the patient"]
    # One image without a value: then it may be that one which makes them differ.
    content, _ = summarise(table.assign(view=["", *table["view"][1:]]), plan)
    assert [one["subgroup"] for one in content["subgroups"]] == ["front", "not given"]


def test_folds_are_counted_and_what_predicts_is_said_to_be_another_network() -> None:
    table = predictions(BINARY, 90).assign(fold=[str(i // 3 % 3) for i in range(90)])
    table.loc[table["patient"] == "p000", "fold"] = ""
    out_of_fold = FAST | {"split": "out-of-fold"}
    content, _ = summarise(
        table.assign(split="out-of-fold"), EvaluationPlan(task=BINARY, units=EYES, **out_of_fold)
    )
    assert any(words.startswith("Judged are 3 single networks") for words in content["cautions"])
    assert (content["folds"]["unit"], content["folds"]["n_folds"]) == ("patient", 3)
    (of_area, _) = content["folds"]["rows"]
    assert of_area["name"] == "auroc"
    assert [value["n"] for value in of_area["values"]] == [9, 10, 10]
    for rows, plan in (
        (table, EvaluationPlan(task=BINARY, **FAST)),
        (table.drop(columns="fold"), EvaluationPlan(task=BINARY, **out_of_fold)),
    ):
        content, _ = summarise(rows, plan)
        assert not any("single networks" in words for words in content["cautions"])


def test_a_point_is_counted_at_its_own_unit_or_the_highest() -> None:
    points = [POINT | {"unit": "eye"}, {"threshold": 0.5}]
    content, _ = summarise(
        predictions(BINARY, 90),
        EvaluationPlan(task=BINARY, units=EYES, operating_points=points, **FAST),
    )
    assert [point["unit"] for point in content["operating_points"]] == ["eye", "patient"]
    assert row_of(content, "sensitivity", of="screening", unit="eye")["split"] == "test"
    assert row_of(content, "sensitivity", of="point 2", unit="patient")["value"] is not None


def test_an_evaluation_of_nothing_but_failures_says_so() -> None:
    table = predictions(BINARY, 30).assign(status="failed", reason="no such file")
    content, tables = summarise(table, EvaluationPlan(task=BINARY, units=EYES, seed=5, **FAST))
    assert content["metrics"] == []
    assert "0 of 30 images were scored" in content["cautions"][0]
    assert content["about"]["headline"] == "auroc"
    assert (content["about"]["seed"], content["about"]["group"]) == (5, "patient")
    assert list(tables) == ["image", "eye", "patient"]


def test_what_the_data_lack_is_refused_by_name() -> None:
    plan = EvaluationPlan(task=BINARY, **FAST)
    with pytest.raises(MetricError, match=r"None of 30 rows .*\(no, yes\).*label column"):
        summarise(predictions(BINARY, 30).assign(label="maybe"), plan)
    with pytest.raises(MetricError, match="between 0 and 1"):
        summarise(predictions(BINARY, 30), replace(plan, level=95))


def test_units_alone_may_have_labels() -> None:
    table = predictions(BINARY, 60)
    table["patient_label"] = table["label"]
    plan = EvaluationPlan(task=BINARY, units=EYES[1:], **FAST)
    content, _ = summarise(table.assign(label=""), plan)
    about = content["about"]
    assert (about["units"], about["n_images"], about["n_groups"]) == (["patient"], 0, 20)
    assert set(content["curves"]["reliability"]) == {"after", "after, by patient"}
    assert content["scaling"] is None
