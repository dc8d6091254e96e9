"""Two models on the same cases: differences, their tests, and what is left possible."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import binomtest

from core.app import Cases, Task
from core.evaluation.cases import Level
from core.evaluation.metric_specs import specs_of
from core.evaluation.paired import compare_levels, hold_family
from core.statistics.delong import delong_paired

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
        settings: dict[str, Any] = {"confidence": 0.95, "resamples": 400, "seed": 0, "word": "leaf"}
        names = np.array([f"g{g}" for g in group])
        found.append(Level.of("image", cases, names, task=TASK, **settings))
    return found[0], found[1]


def compared(first: Level, second: Level) -> dict[str, dict[str, Any]]:
    rows = compare_levels(
        first, second, [s for s in specs_of(first, []) if not s.of], headline="auroc"
    )
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
    assert rows["auroc"]["difference"] is None
    assert "undefined" in rows["auroc"]["reason"]
    assert rows["specificity"]["difference"] is None
