"""Two models on the same cases: differences, their tests, and what is left possible."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import binomtest

from core.app import Cases, Metric, Task
from core.evaluation.cases import Level
from core.evaluation.metric_specs import MetricSpec, specs_of
from core.evaluation.paired import compare_levels, hold_family, non_inferiority, still_possible
from core.evaluation.paired_decisions import (
    PairedCases,
    agreement_at_threshold,
    agreement_of,
    point_words,
)
from core.statistics.delong import delong_paired
from core.statistics.metrics import off_by_two, sensitivity_at_specificity, sensitivity_of_positive
from core.statistics.resampling import Draws
from core.verbs.compare import _decided, _same_rows

TASK = Task(name="t", kind="binary", classes=("no", "yes"))


def levels(n: int, gain: float, *, group_size: int = 1, seed: int = 0) -> tuple[Level, Level]:
    """The same cases scored twice; the second model sees more of the truth by ``gain``."""
    rng = np.random.default_rng(seed)
    group = np.arange(n) // group_size
    y = (group % 2).astype(int)
    shared = rng.normal(0, 1, n)
    found = []
    for strength in (1.0, 1.0 + gain):
        score = expit(strength * (2 * y - 1) + shared + rng.normal(0, 0.3, n))
        decided = (score >= 0.5).astype(int)
        cases = Cases(y, np.column_stack([1 - score, score]), decided, np.ones(n))
        draws = Draws(resamples=400, word="leaf")
        names = np.array([f"g{g}" for g in group])
        found.append(Level.of("image", cases, names, task=TASK, draws=draws))
    return found[0], found[1]


def compared(first: Level, second: Level) -> dict[str, dict[str, Any]]:
    specs = [s for s in specs_of(first, []) if not s.of]
    rows = compare_levels(PairedCases(first, second), specs, headline="auroc")
    hold_family(rows)
    return {row["name"]: row for row in rows}


def test_independent_cases_get_delong_and_mcnemar() -> None:
    first, second = levels(300, 1.0)
    rows = compared(first, second)
    y = first.cases.y
    test = delong_paired(y, second.cases.scores[:, 1], first.cases.scores[:, 1])
    assert rows["auroc"]["p"] == test.p
    assert rows["auroc"]["difference"] == pytest.approx(test.difference)
    assert rows["auroc"]["method"] == "DeLong, paired"
    assert rows["auroc"]["verdict"].startswith("higher for the second")
    a, b = first.cases.decided == y, second.cases.decided == y
    only = (int((a & ~b).sum()), int((~a & b).sum()))
    assert rows["accuracy"]["p"] == pytest.approx(binomtest(only[0], sum(only)).pvalue)
    assert (
        rows["accuracy"]["mcnemar"]["first_only"],
        rows["accuracy"]["mcnemar"]["second_only"],
    ) == only


def test_grouped_cases_are_resampled_by_group_and_never_tested_as_independent() -> None:
    rows = compared(*levels(300, 0.5, group_size=6))
    assert "50 groups (leaf)" in rows["auroc"]["method"]
    assert "mcnemar" not in rows["accuracy"]
    assert "McNemar" not in rows["accuracy"]["method"]


def test_the_headline_stands_alone_and_the_family_is_corrected() -> None:
    rows = compared(*levels(300, 0.3, seed=3))
    assert rows["auroc"]["p_holm"] == rows["auroc"]["p"]
    others = [row for name, row in rows.items() if name != "auroc" and row["p"] is not None]
    assert all(row["p_holm"] >= row["p"] for row in others)
    least = min(others, key=lambda row: row["p"])
    assert least["p_holm"] == pytest.approx(min(1.0, len(others) * least["p"]))


def test_a_model_does_not_differ_from_itself() -> None:
    first, _ = levels(100, 0.0)
    rows = compared(first, first)
    for row in rows.values():
        assert row["difference"] == 0, row["name"]
        if row["low"] is not None:
            assert row["verdict"] == "no difference is shown: both give the same here", row


def test_an_undefined_number_is_said_and_not_compared() -> None:
    first, second = levels(60, 0.5)
    alone = [
        replace(one, cases=replace(one.cases, y=np.ones(60, dtype=int))) for one in (first, second)
    ]
    rows = compared(*alone)
    assert rows["auroc"]["difference"] is rows["auroc"]["first"] is rows["auroc"]["second"] is None
    assert "undefined" in rows["auroc"]["reason"]
    assert rows["specificity"]["difference"] is None


GRADES = Task(name="g", kind="ordinal", classes=("0", "1", "2"), positive=("1", "2"))


def graded(at: tuple[float, float], moved: float = 0.0) -> PairedCases:
    """Grades of 200 eyes scored twice, the second moved a little; decided at two thresholds."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, 200)
    scores = rng.dirichlet(np.ones(3), 200) * 0.6 + 0.4 * np.eye(3)[y]
    away = scores + moved * np.array([-1, 1, 0])
    draws = Draws(resamples=200, word="eye")
    found = [
        Level.of(
            "eye",
            Cases(y, one, one.argmax(axis=1), np.ones(200), positive=(1, 2)),
            np.arange(200).astype(str),
            task=GRADES,
            draws=draws,
        )
        for one in (scores, away)
    ]
    called = [
        one[:, 1:].sum(axis=1) >= limit for one, limit in zip((scores, away), at, strict=True)
    ]
    return PairedCases(found[0], found[1], (called[0], called[1]), at[0] == at[1])


def test_grades_are_held_against_grades_and_sides_against_sides() -> None:
    pair = graded((0.2, 0.8))
    y, truth = pair.first.cases.y, pair.first.cases.y >= 1
    right = int((pair.first.cases.decided == y).sum())
    classes = agreement_of(pair)
    assert classes["of"] == "predicted class against label"
    assert (classes["both_right"], classes["both_wrong"]) == (right, 200 - right)
    assert right > 100
    sides = agreement_at_threshold(pair)
    assert sides is not None
    assert "positive class" in sides["of"]
    assert pair.called is not None
    a, b = (called == truth for called in pair.called)
    assert [sides[key] for key in ("both_right", "first_only", "second_only", "both_wrong")] == [
        int(cell.sum()) for cell in (a & b, a & ~b, ~a & b, ~a & ~b)
    ]


def test_rates_are_those_of_the_threshold_in_use_beside_those_of_the_grade() -> None:
    pair = graded((0.2, 0.8))
    rows = {row["name"]: row for row in compare_levels(pair, specs_of(pair.first, []), headline="")}
    truth, score = pair.first.cases.y >= 1, pair.first.cases.scores[:, 1:].sum(axis=1)
    for which, at in (("first", 0.2), ("second", 0.8)):
        row = rows["sensitivity_at_threshold"]
        assert row[which] == pytest.approx((score[truth] >= at).mean())
        assert rows["specificity_at_threshold"][which] == pytest.approx((score[~truth] < at).mean())
        by_grade = (pair.first.cases.decided[truth] >= 1).mean()
        assert rows["sensitivity_by_class"][which] == pytest.approx(by_grade)
    assert rows["sensitivity_by_class"]["title"] == "Sensitivity by the predicted grade"


def test_other_thresholds_of_the_same_scores_are_told_apart_and_the_note_says_why() -> None:
    pair = graded((0.2, 0.8))
    specs = [spec for spec in specs_of(pair.first, []) if not spec.of]
    for headline in ("quadratic_kappa", "accuracy"):
        rows = compare_levels(pair, specs, headline=headline)
        told = hold_family(rows)
        by_name = {row["name"]: row for row in rows}
        assert by_name[headline]["is_same"]
        # The headline cannot differ, so it is no gate: the note must not say that it is.
        assert by_name["sensitivity_at_threshold"]["verdict"].startswith("lower for the second")
        assert told.endswith("whatever the headline gives, for it is the same in both.")
        assert len({row["family"] for row in rows if row["p"] and not row["is_headline"]}) == 1
    rows = compare_levels(graded((0.5, 0.5), 0.1), specs, headline="quadratic_kappa")
    assert "called only where the headline differs, too" in hold_family(rows)
    assert not any(row["is_same"] for row in rows if row["is_headline"])


def test_a_difference_reaches_no_further_than_its_number_can() -> None:
    # Ten leaves; the first model misses nearly all, the second nearly none.
    y = np.tile([0, 1], 10)
    found = []
    for wrong in (np.arange(20) > 3, np.arange(20) < 2):
        decided = np.where(wrong, 1 - y, y)
        cases = Cases(y, np.eye(2)[decided], decided, np.ones(20))
        draws = Draws(resamples=50, word="leaf")
        names = (np.arange(20) // 2).astype(str)
        found.append(Level.of("image", cases, names, task=TASK, draws=draws))
    rows = compared(*found)
    assert rows["macro_f1"]["high"] == 1.0
    assert rows["accuracy"]["high"] <= 1.0


def test_flips_are_near_the_threshold_only_where_both_have_the_same() -> None:
    same, other = (agreement_at_threshold(graded(at, 0.03)) for at in ((0.5, 0.5), (0.5, 0.51)))
    assert same is not None
    assert other is not None
    assert same["flipped"] == same["flipped_near"] > 0
    assert other["flipped"] > 0
    assert other["flipped_near"] is None


def test_one_test_stands_once_in_a_small_family_that_is_named() -> None:
    pair = graded((0.5, 0.5), 0.1)
    own = [
        Metric(name="two_off", title="Two or more off", compute=off_by_two),
        Metric(name="referred", title="Referred", compute=sensitivity_of_positive),
    ]
    specs = [spec for spec in specs_of(pair.first, own) if not spec.of]
    rows = compare_levels(pair, specs, headline="quadratic_kappa")
    hold_family(rows)
    names = [row["name"] for row in rows]
    assert not {"off_by_two", "sensitivity_by_class"} & set(names)
    assert {"two_off", "referred", "sensitivity_at_threshold", "macro_f1"} <= set(names)
    tested = [row for row in rows if row["p"] is not None and not row["is_headline"]]
    assert len(tested) <= 9
    assert all(row["title"] in tested[0]["family"] for row in tested)
    assert tested[0]["family"].endswith(f"({len(tested)})")
    described = next(row for row in rows if row["name"] == "macro_f1")
    assert described["low"] is not None
    assert described["p"] is None
    assert described["verdict"] == "described by its interval, not tested"


def test_a_row_of_a_difference_says_of_which_cases_it_is() -> None:
    first, second = levels(120, 1.0, group_size=3)
    specs = [spec for spec in specs_of(first, []) if spec.name == "accuracy"]
    row, sensitivity, specificity = compare_levels(
        PairedCases(first, second), specs, headline="accuracy"
    )[:3]
    right = [(level.cases.decided == level.cases.y).mean() for level in (first, second)]
    assert (row["first"], row["second"]) == pytest.approx(tuple(right))
    assert row["difference"] == pytest.approx(right[1] - right[0])
    expected = {"unit": "image", "n": 120, "n_groups": 40, "level": 0.95, "percent": True}
    assert {key: row[key] for key in expected} == expected
    assert (row["title"], row["is_headline"], row["is_tested"]) == ("Accuracy", True, True)
    # Half of the groups are positive.
    for one, name in ((sensitivity, "sensitivity"), (specificity, "specificity")):
        assert (one["name"], one["n"], one["n_groups"]) == (name, 60, 20)
        assert one["title"] == f"{name.capitalize()} by the predicted class"
        assert (one["is_headline"], one["is_tested"], one["percent"]) == (False, True, True)


def test_rates_of_two_classes_are_given_once_at_the_threshold_in_use() -> None:
    first, second = levels(200, 0.5)
    called = tuple(level.cases.scores[:, 1] >= 0.3 for level in (first, second))
    rows = compare_levels(PairedCases(first, second, called), [], headline="")  # type: ignore[arg-type]
    assert [row["name"] for row in rows] == ["sensitivity", "specificity"]
    y = first.cases.y
    assert rows[0]["first"] == pytest.approx(called[0][y == 1].mean())
    assert rows[1]["second"] == pytest.approx((~called[1])[y == 0].mean())
    assert rows[0]["title"] == "Sensitivity at the threshold in use"
    # McNemar of the positive cases alone.
    a, b = (one[y == 1] for one in called)
    only = int((a & ~b).sum()), int((~a & b).sum())
    assert rows[0]["p"] == pytest.approx(binomtest(only[0], sum(only)).pvalue)
    assert rows[0]["mcnemar"]["first_only"] == only[0]
    assert rows[0]["method"].endswith("; p: McNemar, exact")
    assert not rows[0]["is_same"]


def test_tasks_without_a_question_have_no_rates() -> None:
    for kind in ("multiclass", "multilabel"):
        task = Task(name="k", kind=kind, classes=("a", "b", "c"))
        y = np.arange(30) % 3
        truth = y if kind == "multiclass" else np.eye(3, dtype=int)[y]
        positive = () if kind == "multiclass" else (1,)
        task = replace(task, positive=tuple(task.classes[i] for i in positive))
        cases = Cases(truth, np.eye(3)[y], truth, np.ones(30), positive=positive)
        level = Level.of("image", cases, y.astype(str), task=task, draws=Draws(resamples=50))
        assert compare_levels(PairedCases(level, level), [], headline="") == []


def test_classes_that_have_no_order_have_rates_by_the_predicted_class() -> None:
    pair = graded((0.5, 0.5))
    task = replace(GRADES, kind="multiclass")
    pair = replace(pair, first=replace(pair.first, task=task), called=None)
    rows = compare_levels(pair, [], headline="")
    assert [row["name"] for row in rows] == ["sensitivity_by_class", "specificity_by_class"]
    assert rows[0]["title"] == "Sensitivity by the predicted class"


def test_the_same_function_at_other_settings_is_another_test() -> None:
    first, second = levels(200, 0.5)
    own = [
        Metric(name=name, title=name, compute=partial(sensitivity_at_specificity, at_least=at))
        for name, at in (("a", 0.9), ("b", 0.8), ("c", 0.9))
    ]
    specs = [spec for spec in specs_of(first, own) if spec.name in {"a", "b", "c", "support"}]
    rows = compare_levels(PairedCases(first, second), specs, headline="b")
    # The third is the first once more; counts are not compared.
    assert [row["name"] for row in rows[:2]] == ["a", "b"]
    assert {row["name"] for row in rows[2:]} == {"sensitivity", "specificity"}
    assert [row["is_headline"] for row in rows[:2]] == [False, True]


def test_positive_classes_that_are_named_are_those_of_the_task() -> None:
    pair = graded((0.5, 0.5))
    own = [
        Metric(name=name, title=name, compute=partial(sensitivity_of_positive, **settings))
        for name, settings in (("a", {"positive": (1, 2)}), ("b", {}), ("c", {"positive": (2,)}))
    ]
    specs = [spec for spec in specs_of(pair.first, own) if spec.metric is not None]
    rows = compare_levels(pair, specs, headline="")
    # The second is the first once more, and so is the sensitivity by the predicted grade.
    assert [row["name"] for row in rows if "specificity" not in row["name"]] == [
        "a",
        "c",
        "sensitivity_at_threshold",
    ]


def test_a_difference_without_an_interval_may_be_one() -> None:
    first, second = levels(12, 1.0, group_size=4)
    specs = [spec for spec in specs_of(first, []) if spec.name == "brier"]
    (row, *_) = compare_levels(PairedCases(first, second), specs, headline="brier")
    assert row["low"] is None
    assert row["difference"] != 0
    assert not row["is_same"]
    assert "are too few" in row["reason"]


def test_a_number_of_no_function_is_passed_over_and_one_of_its_own_name_stands_once() -> None:
    first, second = levels(60, 0.5)
    bare = MetricSpec(name="bare", title="Bare", key="bare")
    own = specs_of(first, [Metric(name="sensitivity", title="Own", compute=off_by_two)])
    specs = [bare, *(spec for spec in own if spec.name == "sensitivity")]
    rows = compare_levels(PairedCases(first, second), specs, headline="")
    assert [(row["name"], row["title"]) for row in rows] == [
        ("sensitivity", "Own"),
        ("specificity", "Specificity by the predicted class"),
    ]


def difference(name: str, p: float | None, **columns: Any) -> dict[str, Any]:
    """A row of a difference of 0.1."""
    row = {"name": name, "title": name.upper(), "unit": "image", "p": p, "difference": 0.1}
    row |= {"low": 0.05, "high": 0.15, "reason": "", "is_headline": name == "head"}
    return {**row, "is_tested": p is not None, "is_same": False, **columns}


def test_each_unit_has_a_family_behind_the_headline() -> None:
    rows = [
        difference("head", 0.001),
        difference("a", 0.01),
        difference("b", 0.02),
        difference("c", None),
        difference("d", 0.03, unit="eye"),
    ]
    told = hold_family(rows)
    assert "called only where the headline differs, too" in told
    head, a, b, c, d = rows
    assert (head["p_holm"], head["family"]) == (0.001, "the headline, named before")
    # Holm: of two, the lesser is doubled and the greater is not below it.
    assert (a["p_holm"], b["p_holm"], d["p_holm"]) == pytest.approx((0.02, 0.02, 0.03))
    assert a["family"] == b["family"] == "by image, after the headline: A; B (2)"
    assert d["family"] == "by eye, after the headline: D (1)"
    assert (c["family"], c["verdict"]) == ("", "described by its interval, not tested")
    assert head["verdict"].startswith("higher for the second")
    assert a["verdict"].startswith("higher for the second")
    # The headline shows nothing: the others are not called.
    rows = [difference("head", 0.2, low=-0.1), difference("a", 0.01)]
    hold_family(rows)
    assert "the headline shows none" in rows[1]["verdict"]
    # At another level it does.
    hold_family(rows, level=0.7)
    assert rows[1]["verdict"].startswith("higher")


def test_a_headline_that_cannot_differ_is_no_gate() -> None:
    others = [difference("a", 0.01), difference("d", 0.04, unit="eye")]
    for head, why in (
        ([difference("head", 0.5, is_same=True)], "is the same in both"),
        ([difference("head", None)], "is not tested"),
        ([], "is not tested"),
    ):
        rows = [*head, *(dict(row) for row in others)]
        assert hold_family(rows).endswith(f"whatever the headline gives, for it {why}.")
        a, d = rows[-2:]
        assert a["family"] == d["family"] == "all but the headline: A by image; D by eye (2)"
        assert (a["p_holm"], d["p_holm"]) == pytest.approx((0.02, 0.04))
        assert a["verdict"].startswith("higher")
    # Without an interval there is nothing to describe.
    row = difference("c", None, low=None, high=None, reason="few groups")
    hold_family([row])
    assert row["verdict"] == "few groups"
    row = difference("c", None, difference=0.0)
    hold_family([row])
    assert "both give the same here" in row["verdict"]


@pytest.mark.parametrize(
    ("ends", "higher_is_better", "is_shown", "words"),
    [
        ((-0.01, 0.2), True, True, "not worse than the first by the margin or more; it may lose"),
        ((-0.03, 0.2), True, False, "is not shown; it may lose up to 3.0 points"),
        ((-0.02, 0.2), True, False, "is not shown"),
        ((-0.153, 0.2), True, False, "it may lose up to 15.3 points"),
        ((0.01, 0.2), True, True, "it is better"),
        ((0.0, 0.2), True, True, "it is better"),
        ((-0.3, 0.01), False, True, "it may lose up to 1.0 points"),
        ((-0.3, 0.02), False, False, "is not shown"),
        ((-0.3, -0.1), False, True, "it is better"),
    ],
)
def test_not_worse_is_shown_where_the_interval_is_on_the_good_side_of_the_margin(
    ends: tuple[float, float], higher_is_better: bool, is_shown: bool, words: str
) -> None:
    row = {"name": "a", "title": "A", "percent": True, "low": ends[0], "high": ends[1]}
    found = non_inferiority(row | {"reason": ""}, 0.02, higher_is_better=higher_is_better)
    assert (found["name"], found["margin"], found["is_shown"]) == ("a", 0.02, is_shown)
    assert found["words"].startswith("A, margin 2 points: ")
    assert words in found["words"]


def test_without_an_interval_nothing_is_shown() -> None:
    row = {"name": "a", "title": "A", "percent": False, "low": None, "high": None, "reason": "few"}
    found = non_inferiority(row, 0.02, higher_is_better=True)
    assert (found["name"], found["margin"], found["is_shown"]) == ("a", 0.02, None)
    assert found["words"] == "A, margin 0.02: no interval (few), so nothing is shown."
    found = non_inferiority(row | {"reason": ""}, 0.02, higher_is_better=True)
    assert found["words"] == "A, margin 0.02: no interval, so nothing is shown."
    for ends in ({"low": 0.1}, {"high": 0.1}):
        assert non_inferiority(row | ends, 0.02, higher_is_better=True)["is_shown"] is None
        assert still_possible(row | ends | {"n": 9, "n_groups": 9, "unit": "image"}, "leaf") == ""
    found = non_inferiority(row | {"low": -0.01, "high": 0.1}, 0.02, higher_is_better=True)
    assert found["words"].endswith("it may lose up to 0.010.")


def test_what_remains_possible_is_said_with_the_cases_that_would_halve_it() -> None:
    row = {"low": -0.012, "high": 0.03, "percent": True, "n": 400, "n_groups": 100, "unit": "eye"}
    assert still_possible(row, "patient") == (
        "Differences from -1.2 points to +3.0 points remain possible; 1,200 more eyes of 300 "
        "patients would halve that."
    )
    plain = still_possible(row | {"percent": False, "n_groups": 400}, "patient")
    assert plain.startswith("Differences from -0.012 to +0.030 remain")
    assert plain.endswith("1,200 more eyes would halve that.")
    assert still_possible(row, "eye").endswith("1,200 more eyes would halve that.")


def test_units_that_are_the_same_cases_are_told_from_those_that_are_not() -> None:
    eyes = pd.DataFrame(
        {"unit": "eye", "unit_id": ["a", "b"], "label": ["0", "1"], "s": [0.1, 0.2]}
    )
    images = pd.DataFrame(
        {"unit": "image", "unit_id": ["1.png", "2.png"], "label": ["1", "0"], "s": [0.2, 0.1]}
    )
    assert _same_rows(eyes, images)
    assert not _same_rows(eyes, images.assign(s=[0.2, 0.3]))
    assert not _same_rows(eyes, images.head(1))


def test_a_rule_names_its_threshold_and_where_that_was_chosen() -> None:
    point = {"name": "youden", "threshold": 0.3, "split": "val", "n": 140, "unit": "eye"}
    words = point_words({"operating_point": point}, GRADES, "test")
    assert words.startswith("youden, threshold 0.3, chosen on val, 140 by eye; counted at")
    folds = {**point, "split": "out-of-fold", "fold_thresholds": {"0": 0.2, "1": 0.4}}
    assert "0.2 to 0.4 by fold" in point_words({"operating_point": folds}, GRADES, "out-of-fold")
    assert point_words({}, TASK, "test") == "the class with the highest score"


def test_each_run_is_decided_by_its_own_cuts_between_the_grades() -> None:
    table = pd.DataFrame(
        {"image_id": list("abc"), "path": list("abc"), "status": "ok", "label": ["0", "1", "2"]}
    )
    table["group"] = table["image_id"]
    # Expected grades of 0.4, 1.0 and 1.5.
    shares = [[0.7, 0.2, 0.1], [0.25, 0.5, 0.25], [0.1, 0.3, 0.6]]
    table[["score_0", "score_1", "score_2"]] = shares
    task = Task(name="grade", kind="ordinal", classes=("0", "1", "2"))
    runs = [
        SimpleNamespace(task=replace(task, cuts=cuts), content={"units": []})
        for cuts in ((0.5, 1.2), (0.3, 1.8))
    ]
    found = _decided(runs, [table, table], [None, None])
    assert [one["image"]["predicted"].tolist() for one in found] == [
        ["0", "1", "2"],
        ["1", "1", "1"],
    ]
