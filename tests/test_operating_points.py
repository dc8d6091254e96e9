"""Thresholds, what they give, and what that is worth."""

from __future__ import annotations

import numpy as np
import pytest

from core.app import Cases, Task
from core.errors import ConfigError, MetricError
from core.evaluation.cases import Level
from core.evaluation.subgroups import subgroup_gaps
from core.statistics.decision_curves import decision_curve, net_interval, risk_coverage
from core.statistics.intervals import wilson
from core.statistics.metric_kinds import Share
from core.statistics.operating_points import (
    choose_threshold,
    parse_target,
    per_thousand,
    predictive_values,
    two_by_two,
)
from core.statistics.resampling import Draws
from core.statistics.scores import decide

RNG = np.random.default_rng(0)
Y = (RNG.random(120) < 0.4).astype(int)
SCORE = np.round(RNG.random(120) * 0.6 + 0.3 * Y, 2)
TARGETS = ["sensitivity=0.9", "specificity=90%", "recall-rate=0.1", "youden", "cost=5:1"]


@pytest.mark.parametrize("target", TARGETS)
def test_threshold_reproduces_its_counts_and_splits_no_tie(target: str) -> None:
    found = choose_threshold(Y, SCORE, target=target)
    called = found.threshold <= SCORE
    assert called[Y == 1].mean() == pytest.approx(found.sensitivity)
    assert (~called)[Y == 0].mean() == pytest.approx(found.specificity)
    assert called.mean() == pytest.approx(found.recall_rate)
    # Neither rounding to nine digits nor to single precision moves a case.
    assert (np.round(SCORE, 9).astype(np.float32) >= np.float32(found.threshold)).tolist() == (
        called.tolist()
    )


@pytest.mark.parametrize("target", TARGETS)
def test_no_threshold_does_better(target: str) -> None:
    found = choose_threshold(Y, SCORE, target=target)
    rule, wanted, alarm = parse_target(target)
    every = [*np.unique(SCORE), 2.0]
    points = []
    for t in every:
        called = t <= SCORE
        points.append((called[Y == 1].mean(), (~called)[Y == 0].mean(), called.mean()))
    sens, spec, recalled = np.array(points).T
    n_1, n_0 = Y.sum(), (1 - Y).sum()
    best = {
        "sensitivity": lambda: spec[sens >= wanted].max() == pytest.approx(found.specificity),
        "specificity": lambda: sens[spec >= wanted].max() == pytest.approx(found.sensitivity),
        "recall-rate": lambda: sens[recalled <= wanted].max() == pytest.approx(found.sensitivity),
        "youden": lambda: (
            (sens + spec).max() == pytest.approx(found.sensitivity + found.specificity)
        ),
        "cost": lambda: (
            (wanted * n_1 * (1 - sens) + alarm * n_0 * (1 - spec)).min()
            == pytest.approx(
                wanted * n_1 * (1 - found.sensitivity) + alarm * n_0 * (1 - found.specificity)
            )
        ),
    }
    assert best[rule]()


def test_ties_are_never_split() -> None:
    # Three cases share 0.4: calling one would call all, 4/5 > 0.5.
    y, score = [0, 1, 1, 1, 0], [0.4, 0.4, 0.9, 0.4, 0.1]
    assert choose_threshold(y, score, target="recall-rate=0.5").recall_rate == 0.2


def test_nobody_and_everybody_can_be_called() -> None:
    y, score = [0, 1], [0.5, 0.5]
    nobody = choose_threshold(y, score, target="recall-rate=0.5")
    assert nobody.recall_rate == 0.0
    assert not (np.array(score) >= nobody.threshold).any()
    assert np.isfinite(nobody.threshold)
    everybody = choose_threshold(y, score, target="sensitivity=1")
    assert everybody.recall_rate == 1.0
    assert (np.array(score) >= everybody.threshold).all()


def test_neighbouring_numbers_have_a_threshold_between_them() -> None:
    low = 0.5
    high = float(np.nextafter(low, 1))
    found = choose_threshold([0, 1], [low, high], target="youden")
    assert found.threshold == high


def test_shuffled_test_labels_leave_a_threshold_alone() -> None:
    # It is a function of what it was chosen on, and of nothing else.
    found = choose_threshold(Y, SCORE, target="youden")
    shuffled = RNG.permutation(Y)
    assert choose_threshold(Y, SCORE, target="youden") == found
    assert choose_threshold(shuffled, SCORE, target="youden") != found


def test_one_class_has_no_threshold() -> None:
    with pytest.raises(MetricError, match="positive"):
        choose_threshold([0, 0], [0.1, 0.2], target="youden")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sens=0.9",
        "sensitivity",
        "sensitivity=0",
        "sensitivity=1.2",
        "cost=10",
        "cost=0:1",
        "cost=a:b",
        "youden=1",
        "specificity=nan",
        "cost=inf:1",
    ],
)
def test_a_text_that_is_no_target_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ConfigError, match=r"sensitivity=0\.95"):
        parse_target(text)


def test_table_counts_and_undefined_rates_say_why() -> None:
    found = two_by_two([1, 1, 0], [0, 0, 0])
    assert (found.tp, found.fp, found.fn, found.tn) == (0, 0, 2, 1)
    assert found.ppv.value is None
    assert "0 of 0" in found.ppv.reason
    assert found.npv.value == pytest.approx(1 / 3)
    assert found.as_dict()["sensitivity"]["x"] == 0


def test_rates_use_the_groups_of_their_own_cases() -> None:
    groups = np.repeat(np.arange(40), 3)
    called = SCORE >= 0.5
    grouped = two_by_two(Y, called, groups=groups, word="patient")
    alone = two_by_two(Y, called)
    n_with_positive = len(set(groups[Y == 1]))
    assert f"{n_with_positive} patients" in grouped.sensitivity.method
    assert "Wilson, " in alone.sensitivity.method
    assert grouped.sensitivity.value == alone.sensitivity.value


def test_one_group_has_a_rate_but_no_interval() -> None:
    found = two_by_two([1, 1, 0], [1, 0, 0], groups=["a", "a", "a"])
    assert found.sensitivity.value == 0.5
    assert found.sensitivity.low is None
    assert "one group" in found.sensitivity.reason


def test_predictive_values_at_the_own_prevalence_are_the_observed_ones() -> None:
    table = two_by_two(Y, SCORE >= 0.5)
    sens, spec = table.sensitivity.value, table.specificity.value
    assert sens is not None
    assert spec is not None
    found = predictive_values(
        sens, spec, float(Y.mean()), n_positive=Y.sum(), n_negative=(1 - Y).sum()
    )
    assert found["ppv"] == pytest.approx(table.ppv.value)
    assert found["npv"] == pytest.approx(table.npv.value)
    for name in ("ppv", "npv"):
        low, value, high = (found[f"{name}{end}"] for end in ("_low", "", "_high"))
        assert low is not None
        assert value is not None
        assert high is not None
        assert 0 < low < value < high < 1


def test_predictive_values_cover() -> None:
    rng = np.random.default_rng(1)
    truth = predictive_values(0.85, 0.9, 0.02)["ppv"]
    held = 0
    for _ in range(500):
        sens, spec = rng.binomial(80, 0.85) / 80, rng.binomial(150, 0.9) / 150
        found = predictive_values(sens, spec, 0.02, n_positive=80, n_negative=150)
        held += found["ppv_low"] <= truth <= found["ppv_high"]  # type: ignore[operator]
    assert 0.93 <= held / 500 <= 0.98


def test_perfect_rates_keep_finite_intervals() -> None:
    found = predictive_values(1.0, 1.0, 0.01, n_positive=30, n_negative=50)
    assert found["ppv"] == 1.0
    assert found["ppv_low"] is not None
    assert 0 < found["ppv_low"] < 1
    nobody = predictive_values(0.0, 1.0, 0.01)
    assert nobody["ppv"] is None
    assert nobody["npv"] == pytest.approx(0.99)
    with pytest.raises(MetricError, match="prevalence"):
        predictive_values(0.9, 0.9, 0.0)


def test_counts_per_thousand_add_up() -> None:
    found = per_thousand(0.9, 0.8, 0.05)
    assert found["found"] + found["missed"] == pytest.approx(50)
    assert found["called"] + found["missed"] + found["cleared"] == pytest.approx(1000)


def test_a_threshold_of_a_decision_curve_lies_inside() -> None:
    with pytest.raises(MetricError, match="between 0 and 1"):
        decision_curve(Y, SCORE, thresholds=[1.0])


def test_a_loss_that_was_not_seen_may_still_be_there() -> None:
    # 100 negative and 20 positive cases; 60 negative ones are spared, no positive one is missed.
    truth, called = np.arange(120) < 20, np.arange(120) < 60
    everybody = np.ones(120, dtype=bool)
    spared, missed = Share(~called & ~truth, everybody), Share(~called & truth, everybody)
    found = net_interval((0.01 / 0.99, spared), (1.0, missed), None)
    low, high = found.ends
    # Resamples would never fall below 0; up to 3.03 % of cases may be missed (exact, 0 of 120).
    assert low == pytest.approx(
        0.5 / 99 - np.hypot(0.5 / 99 - wilson(60, 120).ends[0] / 99, 0.0303), abs=5e-4
    )
    assert high == pytest.approx(wilson(60, 120).ends[1] / 99)


def test_refer_sends_the_least_certain_and_keeps_ties_together() -> None:
    correct = np.array([0, 0, 1, 1, 1, 1, 1, 1, 1, 1])
    sure = np.array([0.5, 0.6, 0.6, 0.7, 0.8, 0.9, 0.9, 0.9, 1.0, 1.0])
    none, one, two = risk_coverage(correct, sure, referred=[0.0, 0.1, 0.2])
    assert (none["errors"], none["n"], none["coverage"]) == (2, 10, 1.0)
    assert (one["errors"], one["n"]) == (1, 9)
    # The second and third tie: referring two keeps both.
    assert (two["errors"], two["n"]) == (1, 9)
    assert one["words"].startswith("refer 10 %: error on the rest 11.1 % [")


def test_error_of_the_rest_is_less_sure_than_at_a_confidence_that_was_given() -> None:
    rng = np.random.default_rng(0)

    def study() -> tuple[np.ndarray, np.ndarray]:
        sure = rng.uniform(0.5, 1.0, 400)
        return rng.random(400) < np.where(sure < 0.7, 0.5, 0.95), sure

    def width(row: dict) -> float:
        return (row["high"] - row["low"]) / (2 * 1.96)

    studies = [study() for _ in range(400)]
    rows = [risk_coverage(*one, referred=[0.0, 0.3]) for one in studies]
    # Referring nobody leaves the plain share; it has its interval.
    assert (rows[0][0]["low"], rows[0][0]["high"]) == wilson(rows[0][0]["errors"], 400).ends
    # Which confidence refers 30 % is a matter of chance, too.
    spread = np.std([some["error"] for _, some in rows])
    assert np.mean([width(some) for _, some in rows]) == pytest.approx(spread, rel=0.08)
    plain = [wilson(some["errors"], some["n"]).ends for _, some in rows]
    assert np.mean([high - low for low, high in plain]) / (2 * 1.96) < 0.88 * spread


def test_something_is_always_kept() -> None:
    (row,) = risk_coverage([1, 0], [0.4, 0.6], referred=[1.0])
    assert row["n"] == 1


def test_predictive_values_lie_in_their_intervals_at_the_ends() -> None:
    for sensitivity, specificity in ((1.0, 0.5), (0.5, 1.0), (1.0, 1.0), (0.1, 1.0), (1.0, 0.0)):
        found = predictive_values(sensitivity, specificity, 0.01, n_positive=11, n_negative=22)
        for name in ("ppv", "npv"):
            value, low, high = (found[f"{name}{end}"] for end in ("", "_low", "_high"))
            if value is not None:
                assert low is not None
                assert high is not None
                assert low <= value <= high
                assert high - low > 1e-6


def test_gaps_between_subgroups_are_counted_at_the_threshold_in_force() -> None:
    rng = np.random.default_rng(0)
    y, site = np.arange(200) % 3, np.repeat(["a", "b"], 100)
    scores = rng.dirichlet([2, 1, 1], 200)
    task = Task(name="g", kind="ordinal", classes=("0", "1", "2"), positive=("1", "2"))
    cases = Cases(y, scores, decide(scores, task=task), np.ones(200), task.positive_index)
    level = Level.of(
        "image",
        cases,
        np.arange(200).astype(str),
        task=task,
        draws=Draws(resamples=50, word="patient", within_classes=False),
    )
    called = scores[:, 1:].sum(axis=1) >= 0.3
    rows = subgroup_gaps(level, {"site": site}, called)
    by_hand = {
        name: called[(site == "a") & (y > 0 if is_positive else y == 0)].mean()
        for name, is_positive in (("true_positive_rate", True), ("false_positive_rate", False))
    }
    found = {row["name"]: row["here"] for row in rows if row["subgroup"] == "a"}
    assert found == pytest.approx(by_hand)
    plain = {r["name"]: r["here"] for r in subgroup_gaps(level, {"site": site})}
    assert plain != pytest.approx(by_hand)
    # One patient whose cases are all positive: a share of no negative case.
    lone = np.where(np.arange(200) == 1, "arch", "breast")
    away = [r for r in subgroup_gaps(level, {"site": lone}, called) if r["subgroup"] == "arch"]
    assert away[1]["verdict"] == "too few to judge: 0 negative cases"
