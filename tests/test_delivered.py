"""What is delivered is counted from decisions, and few cases of a kind are told once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.app import ReportContext, Task
from core.base.tables import score_columns
from core.evaluation.delivered import delivered_rates
from core.evaluation.summary import EvaluationPlan, summarise
from core.evaluation.verdicts import verdicts
from core.report.cautions import cautions

GRADES = Task(name="g", kind="ordinal", classes=("0", "1", "2"), positive=("1", "2"))


def rows(label: str, decision: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image_id": [f"i{i}" for i in range(len(label))],
            "label": list(label),
            "decision": decision,
            "group": "",
        }
    )


@pytest.mark.parametrize("sides", [False, True])
def test_calls_are_counted_by_the_decision_whether_a_class_or_a_side(sides: bool) -> None:
    # Of three positive cases two are called, of three others one; two rows have no decision
    # or no label.
    decided = ["2", "1", "0", "0", "2", "0", "", "2"]
    if sides:
        decided = [{"0": "negative", "": ""}.get(name, "positive") for name in decided]
    table = rows("12200022", decided)
    table.loc[7, "label"] = ""
    about = {"unit": "image", "level": 0.95}
    found = delivered_rates({"about": about, "prevalence": 0.1}, {"image": table}, GRADES)
    assert found is not None
    assert found["counts"] == {"tp": 2, "fp": 1, "fn": 1, "tn": 2}
    assert (found["sensitivity"]["x"], found["sensitivity"]["n"]) == (2, 3)
    # 100 of 1,000 positive: two thirds of them found; a third of the 900 others called.
    per = found["at_prevalence"]["per_1000"]
    assert [round(per[key]) for key in ("found", "false_alarms", "missed")] == [67, 300, 33]


def test_nothing_is_delivered_where_nothing_is_decided_or_positive() -> None:
    table = rows("0101", ["", "", "", ""])
    about = {"about": {"unit": "image"}}
    assert delivered_rates(about, {"image": table}, GRADES) is None
    bare = Task(name="g", kind="multiclass", classes=("0", "1"))
    assert delivered_rates(about, {"image": table.assign(decision="1")}, bare) is None


def scored(n_positive: int, n: int, groups: int) -> dict[str, Any]:
    """The evaluation of n images in so many groups, the first of them positive."""
    task = Task(name="t", kind="binary", classes=("no", "yes"), positive=("yes",))
    y = (np.arange(n) < n_positive).astype(int)
    score = np.where(y == 1, 0.6, 0.4) + np.linspace(-0.25, 0.25, n)
    table = pd.DataFrame(
        {
            "image_id": [f"i{i}" for i in range(n)],
            "path": [f"{i}.png" for i in range(n)],
            **dict.fromkeys(("reason", "quality"), ""),
            "status": "ok",
            "label": np.array(task.classes)[y],
            "predicted": np.where(score > 0.5, "yes", "no"),
            "decision": np.where(score > 0.5, "yes", "no"),
            "group": [f"g{i % groups}" for i in range(n)],
        }
    )
    table[score_columns(task.classes)] = np.stack([1 - score, score], axis=1)
    content, _ = summarise(
        table,
        EvaluationPlan(
            task=task,
            metrics=(),
            operating_points=[],
            group_word="patient",
            resamples=20,
            split="test",
        ),
    )
    return content


def context(evaluation: dict[str, Any], audit: dict[str, Any]) -> ReportContext:
    table = pd.DataFrame({"image_id": [], "label": [], "status": []})
    return ReportContext(
        app=None,
        task=GRADES,
        evaluation=evaluation,
        predictions=table,
        decisions={},
        manifest=pd.DataFrame(),
        audit=audit,
    )


def test_few_cases_of_a_kind_are_one_sentence() -> None:
    (one,) = [text for text in scored(12, 80, 80)["cautions"] if "yes" in text]
    assert one == (
        "12 images that are yes, 68 that are not: fewer than 100 of either call for caution. "
        "About 240 more (36 of them yes) would halve the intervals."
    )
    (grouped,) = [text for text in scored(12, 80, 40)["cautions"] if "yes" in text]
    assert grouped.startswith("12 images of 12 patients that are yes, 68 that are not: fewer than")
    assert "call for caution and intervals of what is found may be too narrow. About" in grouped


def test_ranking_is_asked_where_classes_are_not_shown_to_be_told() -> None:
    def row(name: str, value: float, low: float, high: float) -> dict[str, Any]:
        return {
            "name": name,
            "title": name,
            "value": value,
            "low": low,
            "high": high,
            "unit": "eye",
        }

    about = {"headline": "quadratic_kappa", "unit": "eye"}
    kappa, ranked = row("quadratic_kappa", 0.1, -0.1, 0.3), row("auroc_positive", 0.64, 0.51, 0.75)
    found = verdicts({"about": about, "metrics": [kappa, ranked]}, GRADES, {})
    answers = {entry["question"]: entry["answer"] for entry in found}
    assert answers == {"chance": "not shown", "ranking": "yes"}
    sure = {**kappa, "low": 0.05}
    found = verdicts({"about": about, "metrics": [sure, ranked]}, GRADES, {})
    assert [entry["question"] for entry in found] == ["chance"]


def test_copies_are_a_caution_only_where_they_are_among_the_cases() -> None:
    head = {"name": "macro_f1", "title": "Macro-F1", "value": 0.673, "unit": "image", "n": 9}
    check = {"name": "labels", "verdict": "warning", "title": "", "words": "1 set of copies."}
    audit = {"checks": [check]}
    entry = {"what": "leaking", "n": 1, "first": "rust/760.jpg", "row": {**head, "value": 0.672}}
    about = {"headline": "macro_f1", "unit": "image", "split": "test"}
    content = {"about": about, "metrics": [head], "without": [entry]}
    told = cautions(context(content, audit))
    assert any(
        "1 image judged here has a copy among those trained or tuned on (first: rust/760.jpg); "
        "without it Macro-F1 is 0.672 instead of 0.673." in text
        for text in told
    )
    assert not any("1 set of copies." in text for text in told)
    # Where nobody asked which cases they are, the warning stands.
    told = cautions(context({**content, "without": None}, audit))
    assert "1 set of copies." in told
