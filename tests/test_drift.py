"""New data against old: inputs, numbers, and what local cases would mend."""

from typing import Any

import numpy as np
import pytest
from scipy.special import expit, logit

from core.app import Cases, Task
from core.errors import MetricError
from core.evaluation.cases import Level
from core.evaluation.drift import input_drift, number_drift
from core.evaluation.metric_specs import specs_of
from core.statistics.recalibration import local_recalibration
from core.statistics.reliability import log_loss
from core.statistics.resampling import Draws

TASK = Task(name="t", kind="binary", classes=("no", "yes"))


def level(n: int, strength: float, *, seed: int, shift: float = 0.0) -> Level:
    """Cases of n / 2 groups; the score carries so much of the truth."""
    rng = np.random.default_rng(seed)
    y = (np.arange(n) // 2 % 2).astype(int)
    score = expit(strength * (y - 0.5) + shift + rng.normal(0, 1, n))
    cases = Cases(y, np.column_stack([1 - score, score]), (score >= 0.5).astype(int), np.ones(n))
    groups = np.array([f"g{i // 2}" for i in range(n)])
    draws = Draws(resamples=400, seed=seed, word="leaf")
    return Level.of("image", cases, groups, task=TASK, draws=draws)


def test_inputs_of_one_kind_are_as_in_training_and_shifted_ones_are_not() -> None:
    rng = np.random.default_rng(0)
    old, same = rng.normal(0.5, 0.1, 500), rng.normal(0.5, 0.1, 200)
    found = input_drift(old, same)
    assert found["words"] == "as in training"
    assert found["outside"]["low"] <= 0.02 <= found["outside"]["high"]
    moved = input_drift(old, same + 0.3)
    assert moved["words"] == "higher than in training"
    # By hand: the share above the 99th percentile of the old values.
    above = (same + 0.3 > np.quantile(old, 0.99)).mean() + (
        same + 0.3 < np.quantile(old, 0.01)
    ).mean()
    assert moved["outside"]["value"] == pytest.approx(above)
    assert moved["distance"] > 0.7
    with pytest.raises(MetricError, match="no value"):
        input_drift(old, np.full(3, np.nan))


def test_groups_widen_the_interval_of_what_lies_outside() -> None:
    # Ten groups of twenty equal images: one group outside is one observation, not twenty.
    old, now = np.linspace(0, 1, 1000), np.repeat(np.r_[np.full(9, 0.5), 2.0], 20)
    groups = np.repeat(np.array([f"g{i}" for i in range(10)]), 20)
    alone, grouped = (
        input_drift(old, now)["outside"],
        input_drift(old, now, groups=groups)["outside"],
    )
    assert grouped["high"] - grouped["low"] > 2 * (alone["high"] - alone["low"])


def test_a_loss_of_discrimination_is_shown_with_its_interval_and_no_change_is_not() -> None:
    before = level(400, 3.0, seed=1)
    specs = [s for s in specs_of(before, []) if s.name in {"auroc", "accuracy"} and not s.of]
    specs.sort(key=lambda spec: spec.name != "auroc")
    worse = number_drift(before, level(400, 1.0, seed=2), specs)
    assert worse[0]["name"] == "auroc"
    assert worse[0]["high"] < 0
    assert worse[0]["verdict"].startswith("lower here")
    assert {row["name"] for row in worse} == {"auroc", "accuracy", "slope", "in_the_large"}
    same = number_drift(before, level(400, 3.0, seed=3), specs)
    assert same[0]["low"] <= 0 <= same[0]["high"]
    assert same[0]["verdict"] == "no difference is shown"


def test_scores_too_high_show_as_calibration_in_the_large() -> None:
    rows = number_drift(level(400, 2.0, seed=1), level(400, 2.0, seed=2, shift=1.5), [])
    large = next(row for row in rows if row["name"] == "in_the_large")
    # The scores are 1.5 too high on the logit scale, so a shift down would mend them.
    assert large["high"] < -0.5


def calibrated(n: int, offset: float, seed: int = 0) -> tuple[Any, Any, Any]:
    """Labels drawn from true probabilities, scores moved away from them, groups of two."""
    rng = np.random.default_rng(seed)
    p = expit(rng.normal(-0.5, 1.2, n))
    y = (rng.random(n) < p).astype(int)
    return y, expit(logit(p) + offset), np.array([f"g{i // 2}" for i in range(n)])


def test_local_cases_mend_a_shift_more_the_more_there_are() -> None:
    y, score, groups = calibrated(600, 1.5)
    found = local_recalibration(y, score, groups, draws=Draws(resamples=300))
    rows = found["rows"]
    assert [row["fitted_on"] for row in rows[:-1]] == pytest.approx([25, 50, 100, 200], abs=2)
    gains = [row["log_loss"]["change"] for row in rows]
    assert all(gain < 0 for gain in gains)
    assert gains[3] < gains[0]
    assert rows[-1]["log_loss"]["high"] < 0
    assert rows[-1]["log_loss"]["before"] == pytest.approx(log_loss(y, score))


def test_recalibration_is_judged_on_cases_it_was_not_fitted_on() -> None:
    # Scores that are right already cannot gain; fitted and judged on the same cases they would.
    changes = []
    for seed in range(2):
        y, score, groups = calibrated(160, 0.0, seed)
        rows = local_recalibration(y, score, groups, draws=Draws(resamples=100))["rows"]
        changes.append(rows[0]["log_loss"]["change"])
    assert np.mean(changes) > 0


def test_too_few_cases_are_not_fitted_on() -> None:
    y, score, groups = calibrated(16, 1.0)
    found = local_recalibration(y, score, groups)
    assert found["rows"] == []
    assert "fewer than" in found["reason"]


def test_a_distance_below_that_of_training_is_no_alarm_and_the_tail_names_the_direction() -> None:
    rng = np.random.default_rng(0)
    old = rng.normal(1, 0.2, 400)
    near = rng.normal(0.3, 0.05, 200)
    assert input_drift(old, near)["words"] == "lower than in training"
    assert input_drift(old, near, upper_only=True)["words"] == "as in training"
    # A third far above, the rest a little below: the median is lower, the alarm is above.
    mixed = np.r_[rng.normal(3, 0.1, 70), rng.normal(0.9, 0.05, 140)]
    found = input_drift(old, mixed, upper_only=True)
    assert np.median(mixed) < np.median(old)
    assert (found["is_far"], found["words"]) == (True, "higher than in training")
