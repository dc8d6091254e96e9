"""Numbers by subgroup: who is in which, what is counted, and what is too few."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from core.app import Cases, Metric, Task
from core.evaluation.cases import Level
from core.evaluation.metric_specs import MetricSpec, specs_of
from core.evaluation.subgroups import (
    DIFFERS,
    subgroup_calibration,
    subgroup_gaps,
    subgroup_rows,
    values_in_words,
)
from core.statistics.intervals import wilson
from core.statistics.metrics import auroc_of_positive
from core.statistics.resampling import Draws

YES_NO = Task(name="t", kind="binary", classes=("no", "yes"), positive=("yes",))
GRADES = Task(name="g", kind="ordinal", classes=("0", "1", "2"), positive=("2",))


def words_of(*values: str) -> list[str]:
    return values_in_words(np.array(values)).tolist()


def test_few_values_stay_as_they_are() -> None:
    assert words_of("a", "", f"{DIFFERS}eye") == ["a", "not given", f"{DIFFERS}eye"]
    twelve = [str(i) for i in range(12)]
    # What is not given or differs is no further value.
    assert words_of(*twelve, "", f"{DIFFERS}eye")[:12] == twelve
    assert len(set(words_of(*twelve, "12"))) == 3


def test_many_numbers_are_cut_into_thirds_that_say_their_ends() -> None:
    values = [str(i) for i in range(30)]
    found = words_of(*values, "", f"{DIFFERS}eye")
    assert found[:10] == ["under 10"] * 10
    assert found[10:20] == ["10 to 19"] * 10
    assert found[20:30] == ["20 or more"] * 10
    assert found[30:] == ["not given", f"{DIFFERS}eye"]
    halves = words_of(*(f"{i / 2:g}" for i in range(-15, 15)))
    assert halves == ["under -2.5"] * 10 + ["-2.5 to below 2.5"] * 10 + ["2.5 or more"] * 10


def test_of_many_words_the_rarest_are_put_together() -> None:
    names = [f"w{i:02}" for i in range(13) for _ in range(20 - i)]
    found = words_of(*names, "", f"{DIFFERS}eye")
    kept = [name if name < "w11" else "other" for name in names]
    assert found == [*kept, "not given", f"{DIFFERS}eye"]


def level_of(
    y: Any, score: Any, groups: Any = None, *, task: Task = YES_NO, confidence: float = 0.9
) -> Level:
    """Cases of a task, decided at one half; each a patient of its own unless groups are given."""
    truth, s = np.asarray(y), np.asarray(score, dtype=float)
    scores = np.column_stack([1 - s, s]) if s.ndim == 1 else s
    decided = (s >= 0.5).astype(int) if s.ndim == 1 else s.argmax(axis=1)
    cases = Cases(truth, scores, decided, np.ones(len(truth)), positive=task.positive_index)
    names = np.array([f"p{i}" for i in (range(len(truth)) if groups is None else groups)])
    draws = Draws(level=confidence, resamples=50, word="patient")
    return Level.of("eye", cases, names, task=task, draws=draws)


def named(level: Level, *names: str) -> list[MetricSpec]:
    found = {spec.name: spec for spec in specs_of(level, []) if not spec.of}
    return [found[name] for name in names]


# Forty eyes, half of them positive; in the first camera one of each class is wrong, in the
# second five of each.
Y = np.tile([0, 1], 20)
WRONG = np.isin(np.arange(40), [0, 1, *range(20, 30)])
SCORE = np.where(Y ^ WRONG, 0.8, 0.2) + np.linspace(0, 0.1, 40)
CAMERA = np.array(["b"] * 20 + ["a"] * 20)


def test_numbers_of_a_subgroup_are_those_of_its_cases() -> None:
    level = level_of(Y, SCORE)
    columns = {"camera": CAMERA, "same": np.full(40, "x")}
    rows, compared = subgroup_rows(level, named(level, "accuracy", "auroc"), columns, split="test")
    # A column of one value has no rest.
    assert [row["subgroup"] for row in rows] == ["camera=a"] * 2 + ["camera=b"] * 2
    assert [row["name"] for row in rows] == ["accuracy", "auroc"] * 2
    for name, right, row in zip("ab", (10, 18), rows[::2], strict=True):
        low, high = wilson(right, 20, level=0.9).ends
        assert (row["value"], row["n"], row["n_groups"]) == (right / 20, 20, 20)
        assert (row["low"], row["high"]) == pytest.approx((low, high))
        assert (row["unit"], row["split"], row["level"]) == ("eye", "test", 0.9)
        assert (row["of"], row["n_events"], row["reason"]) == ("", None, "")
        assert row["subgroup"] == f"camera={name}"
    for name, row in zip("ab", rows[1::2], strict=True):
        inside = name == CAMERA
        assert row["value"] == pytest.approx(roc_auc_score(Y[inside], SCORE[inside]))
        assert row["n_events"] == 10
    # The first number alone is held against the rest.
    a, b = compared
    expected = {"column": "camera", "subgroup": "a", "name": "accuracy", "unit": "eye"}
    expected |= {"here": 0.5, "rest": 0.9, "n": 20, "n_rest": 20, "n_groups": 20}
    assert {key: a[key] for key in expected} == expected
    assert (a["title"], a["percent"]) == ("Accuracy", True)
    assert a["difference"] == pytest.approx(-0.4)
    assert b["difference"] == pytest.approx(0.4)
    assert a["family"] == "Accuracy of each subgroup against the rest (2)"
    assert a["verdict"].startswith("lower than the rest")
    assert b["verdict"].startswith("higher than the rest")
    # Counted on a level of its own, not on the 95 % of most.
    assert a["low"] < -0.4 < a["high"] < 0
    assert subgroup_rows(level, [], columns, split="test") == ([], [])


def test_subgroups_stand_in_their_order() -> None:
    level = level_of(np.tile(Y, 2), np.tile(SCORE, 2))
    ages = np.array([str(i) for i in range(20, 98)] + ["", f"{DIFFERS}eye"])
    kinds = np.resize(["10", "9", "b", "a", "", f"{DIFFERS}eye"], 80)
    many = np.array([f"w{i % 14}" for i in range(80)])
    _, found = subgroup_rows(
        level, named(level, "accuracy"), {"age": ages, "kind": kinds, "many": many}, split="test"
    )
    order = {
        name: [row["subgroup"] for row in found if row["column"] == name]
        for name in ("age", "kind", "many")
    }
    ends = [f"{DIFFERS}eye", "not given"]
    assert order["age"] == ["under 46", "46 to 71", "72 or more", *ends]
    assert order["kind"] == ["9", "10", "a", "b", *ends]
    assert order["many"][-1] == "other"
    assert order["many"][:-1] == sorted(order["many"][:-1])


def test_too_few_cases_or_groups_are_said_to_be_so() -> None:
    few = np.array(["few"] * 9 + ["rest"] * 31)
    level = level_of(Y, SCORE)
    rows, compared = subgroup_rows(
        level, named(level, "accuracy", "auroc"), {"x": few}, split="test"
    )
    by_name = {(row["name"], row["subgroup"]): row for row in rows}
    assert by_name["accuracy", "x=few"]["reason"] == "too few to judge: 9 cases"
    assert by_name["accuracy", "x=few"]["low"] is not None
    assert by_name["accuracy", "x=rest"]["reason"] == ""
    # Four of nine are positive.
    assert "too few to judge: 4 events" in by_name["auroc", "x=few"]["reason"]
    assert by_name["auroc", "x=few"]["n_events"] == 4
    verdicts = [row["verdict"] for row in compared]
    assert verdicts == ["too few to judge: 9 cases", "too few to judge: 9 cases in the rest"]
    assert [row["p"] for row in compared] == [None, None]
    assert [(row["n"], row["n_rest"]) for row in compared] == [(9, 31), (31, 9)]
    ten = np.array(["ten"] * 10 + ["rest"] * 30)
    rows, compared = subgroup_rows(level, named(level, "accuracy"), {"x": ten}, split="test")
    assert [row["reason"] for row in rows] == ["", ""]
    assert all(row["p"] is not None for row in compared)
    # Twenty cases of four patients.
    level = level_of(Y, SCORE, [*np.arange(20) // 5, *range(4, 24)])
    rows, compared = subgroup_rows(level, named(level, "accuracy"), {"x": CAMERA}, split="test")
    row = next(row for row in rows if row["subgroup"] == "x=b")
    assert row["value"] == 0.9
    assert row["low"] is None
    assert row["reason"].startswith("interval withheld: 4 patients are too few")
    assert next(one for one in compared if one["subgroup"] == "b")["low"] is None


def test_an_area_has_the_events_that_it_ranks() -> None:
    y = np.resize([0, 1, 1, 2, 2, 2], 60)
    rng = np.random.default_rng(0)
    level = level_of(y, 0.7 * rng.dirichlet(np.ones(3), 60) + 0.3 * np.eye(3)[y], task=GRADES)
    # Not of the positive classes of the task, but of the two that this metric names.
    metric = Metric(name="any", title="Any", compute=partial(auroc_of_positive, positive=(1, 2)))
    specs = [*named(level, "auroc_positive"), specs_of(level, [metric])[0]]
    rows, _ = subgroup_rows(level, specs, {"x": np.repeat(["a", "b"], 30)}, split="test")
    assert [row["n_events"] for row in rows] == [15, 25, 15, 25]
    assert "too few to judge: 5 non-events" in rows[1]["reason"]
    assert rows[0]["reason"] == ""


def test_one_case_is_one_case() -> None:
    level = level_of(Y, SCORE)
    rows, compared = subgroup_rows(
        level, named(level, "accuracy"), {"x": np.array(["one"] + ["rest"] * 39)}, split="test"
    )
    assert rows[0]["reason"].endswith("too few to judge: 1 case")
    assert compared[0]["verdict"] == "too few to judge: 1 case"


def test_what_a_subgroup_does_not_allow_is_null_with_the_reason() -> None:
    y = np.r_[np.zeros(20, int), np.tile([0, 1], 10)]
    level = level_of(y, SCORE)
    rows, compared = subgroup_rows(level, named(level, "auroc"), {"x": CAMERA}, split="test")
    row = next(row for row in rows if row["subgroup"] == "x=b")
    assert row["value"] is None
    assert row["reason"].startswith("not estimable: the cases of this subgroup do not allow it; ")
    assert "0 events" in row["reason"]
    found = next(one for one in compared if one["subgroup"] == "b")
    assert (found["here"], found["difference"], found["p"]) == (None, None, None)
    assert found["rest"] == pytest.approx(roc_auc_score(y[20:], SCORE[20:]))
    assert found["verdict"]


def test_gaps_are_of_the_shares_of_positive_and_of_negative_cases_that_are_called() -> None:
    level = level_of(Y, SCORE)
    found = subgroup_gaps(level, {"camera": CAMERA})
    rate = {(row["name"], row["subgroup"]): row for row in found}
    assert list(rate) == [
        (name, value) for name in ("true_positive_rate", "false_positive_rate") for value in "ab"
    ]
    assert rate["true_positive_rate", "a"]["here"] == 0.5
    assert rate["true_positive_rate", "b"]["here"] == 0.9
    assert rate["false_positive_rate", "a"]["here"] == pytest.approx(0.5)
    assert rate["false_positive_rate", "b"]["here"] == pytest.approx(0.1)
    for row in found:
        assert (row["n"], row["n_rest"], row["percent"]) == (10, 10, True)
        assert row["low"] < row["difference"] < row["high"]
    titles = [row["title"] for row in found]
    assert titles == ["True positive rate"] * 2 + ["False positive rate"] * 2
    # Newcombe's interval of the difference, from those of both shares.
    (low_a, high_a), (low_b, high_b) = (wilson(x, 10, level=0.9).ends for x in (5, 9))
    row = rate["true_positive_rate", "a"]
    assert row["low"] == pytest.approx(-0.4 - np.hypot(0.5 - low_a, high_b - 0.9))
    assert row["high"] == pytest.approx(-0.4 + np.hypot(high_a - 0.5, 0.9 - low_b))
    # At another threshold everybody is called.
    for row in subgroup_gaps(level, {"camera": CAMERA}, np.ones(40, dtype=bool)):
        assert row["here"] == row["rest"] == 1.0
        assert row["verdict"].startswith("no difference to the rest is shown")
    column = {"x": np.array(["few"] * 7 + ["rest"] * 33)}
    same = subgroup_gaps(level, column, np.ones(40, dtype=bool))
    assert same[0]["verdict"] == "too few to judge: 3 positive cases"
    few = subgroup_gaps(level, column)
    assert few[0]["verdict"] == "too few to judge: 3 positive cases"
    assert few[1]["verdict"] == "too few to judge: 3 positive cases in the rest"
    assert few[2]["verdict"] == "too few to judge: 4 negative cases"
    none = subgroup_gaps(level_of(np.r_[np.zeros(20, int), Y[20:]], SCORE), {"camera": CAMERA})
    assert none[1]["verdict"] == "too few to judge: 0 positive cases"


def test_gaps_of_grades_are_of_the_side_of_the_threshold() -> None:
    y = np.resize([0, 1, 2], 60)
    scores = np.eye(3)[(y + (np.arange(60) % 4 == 0)) % 3] * 0.7 + 0.1
    level = level_of(y, scores, task=GRADES)
    side = np.repeat(["l", "r"], 30)
    called = np.arange(60) % 5 > 0
    for given, is_called in ((called, called), (None, level.cases.decided == 2)):
        for row in subgroup_gaps(level, {"side": side}, given):
            of = (y == 2) == (row["name"] == "true_positive_rate")
            inside = side == row["subgroup"]
            assert row["here"] == pytest.approx(is_called[inside & of].mean())
            assert row["rest"] == pytest.approx(is_called[~inside & of].mean())
            assert row["n"] == (inside & of).sum()
            assert row["verdict"].startswith("no difference to the rest is shown")
            assert "(p" not in row["verdict"]
    of_side = subgroup_calibration(level, {"side": side})
    assert [row["n_events"] for row in of_side] == [10, 10]


def test_calibration_by_subgroup_is_given_where_both_classes_are_enough() -> None:
    rng = np.random.default_rng(0)
    score = rng.uniform(0.1, 0.9, 300)
    y = (rng.random(300) < score).astype(int)
    column = np.array(["a"] * 140 + ["b"] * 142 + ["c"] * 18)
    found = subgroup_calibration(level_of(y, score), {"x": column})
    assert [(row["column"], row["subgroup"], row["n"]) for row in found] == [
        ("x", "a", 140),
        ("x", "b", 142),
        ("x", "c", 18),
    ]
    for row in found[:2]:
        assert row["n_events"] == y[column == row["subgroup"]].sum()
        assert row["reason"] == ""
        assert row["slope"]["low"] < 1 < row["slope"]["high"]
        assert sum(one["n"] for one in row["bins"]) == row["n"]
    assert found[2]["reason"].startswith("too few to judge")
    assert set(found[2]) == {"column", "subgroup", "n", "n_events", "reason"}
    # Few patients: no bins, whose intervals would come from their spread.
    level = level_of(y, score, [*np.arange(140) // 40, *range(10, 170)])
    found = subgroup_calibration(level, {"x": column})
    assert "bins" not in found[0]
    assert "bins" in found[1]


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_without_a_question_of_positive_classes_there_are_no_gaps(kind: Any) -> None:
    positive = ("yes",) if kind == "multilabel" else ()
    task = Task(name="t", kind=kind, classes=("no", "yes"), positive=positive)
    y = np.column_stack([1 - Y, Y]) if kind == "multilabel" else Y
    scores = np.column_stack([1 - SCORE, SCORE])
    decided = (scores >= 0.5).astype(int) if kind == "multilabel" else scores.argmax(axis=1)
    cases = Cases(y, scores, decided, np.ones(40), positive=task.positive_index)
    names = np.arange(40).astype(str)
    level = Level.of("eye", cases, names, task=task, draws=Draws(resamples=50))
    for called in (None, np.ones(40, dtype=bool)):
        assert subgroup_gaps(level, {"camera": CAMERA}, called) == []
    assert subgroup_calibration(level, {"camera": CAMERA}) == []
    rows, compared = subgroup_rows(
        level, named(level, "accuracy"), {"camera": CAMERA}, split="test"
    )
    assert len(rows) == len(compared) == 2
