"""Scores as probabilities: bins, scoring rules, slope, temperature."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.linalg import sqrtm
from scipy.special import expit, logit
from sklearn import metrics as sk

from core.errors import MetricError
from core.statistics.calibration import (
    calibration_in_the_large,
    calibration_line,
    fit_temperature,
    fit_vector_scaling,
    logistic_lines,
    recalibrate,
)
from core.statistics.operating_points import proportion
from core.statistics.reliability import (
    bin_numbers,
    brier_rows,
    expected_calibration_error,
    log_loss,
    reliability,
)
from core.statistics.scores import scores_from_logits

RNG = np.random.default_rng(0)
Z = RNG.normal(size=500)
P = expit(Z)
Y = (RNG.random(500) < expit(0.4 + 0.6 * Z)).astype(int)
WEIGHT = RNG.integers(0, 4, 500).astype(float)


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_scoring_rules_agree_with_sklearn(weight: np.ndarray | None) -> None:
    brier = np.average(brier_rows(Y, P), weights=weight)
    assert brier == pytest.approx(sk.brier_score_loss(Y, P, sample_weight=weight))
    assert log_loss(Y, P, weight=weight) == pytest.approx(sk.log_loss(Y, P, sample_weight=weight))
    labels, scores = RNG.integers(0, 3, 500), RNG.dirichlet(np.ones(3), 500)
    assert log_loss(labels, scores, weight=weight) == pytest.approx(
        sk.log_loss(labels, scores, sample_weight=weight)
    )
    spread = ((scores - np.eye(3)[labels]) ** 2).sum(axis=1)
    assert brier_rows(labels, scores) == pytest.approx(spread)


def test_a_sure_error_costs_much_but_not_infinitely() -> None:
    assert log_loss([1], [0.0]) == pytest.approx(36.04, abs=0.01)


def test_scores_that_are_no_probabilities_are_refused() -> None:
    for function in (brier_rows, log_loss, expected_calibration_error):
        with pytest.raises(MetricError, match=r"1 score\(s\) are outside"):
            function([0, 1], [0.5, 1.1])
        with pytest.raises(MetricError, match="outside"):
            function([0, 1], [0.5, np.nan])
        with pytest.raises(MetricError, match="no case"):
            function([], [])


def test_bins_are_closed_below_and_the_last_above() -> None:
    number, _ = bin_numbers(np.array([0.0, 0.1, 0.3, 0.7, 0.999, 1.0]), bins=10)
    assert number.tolist() == [0, 1, 3, 7, 9, 9]
    number, _ = bin_numbers(np.array([0.29, 0.57]), bins=100)
    assert number.tolist() == [29, 57]


def test_error_is_the_weighted_distance_over_bins() -> None:
    # Bin 0: mean .1, share 1/2, n 2; bin 9: mean .95, share 1, n 1 -> (2 * .4 + .05) / 3.
    y, p = [0, 1, 1], [0.05, 0.15, 0.95]
    assert expected_calibration_error(y, p, bins=5) == pytest.approx((0.8 + 0.05) / 3)


def test_a_weight_of_two_is_a_row_twice() -> None:
    twice = np.r_[Y, Y[:50]], np.r_[P, P[:50]]
    weight = np.r_[np.full(50, 2.0), np.ones(450)]
    assert expected_calibration_error(Y, P, weight=weight) == pytest.approx(
        expected_calibration_error(*twice)
    )


def test_bins_of_equal_mass_keep_ties_together() -> None:
    score = np.r_[np.full(60, 0.2), np.linspace(0.3, 0.9, 40)]
    number, edges = bin_numbers(score, bins=10, equal="mass")
    assert len(set(number[:60])) == 1
    assert (np.diff(edges) > 0).all()
    distinct, _ = bin_numbers(RNG.random(100), bins=10, equal="mass")
    assert np.bincount(distinct).tolist() == [10] * 10
    with pytest.raises(ValueError, match="width"):
        bin_numbers(score, equal="size")


def test_all_scores_alike_are_one_bin_of_equal_mass() -> None:
    assert expected_calibration_error([0, 1], [0.5, 0.5], equal="mass") == 0.0


def test_empty_bins_are_listed_without_numbers() -> None:
    rows = reliability([0, 1], [0.05, 0.95], bins=3)
    assert [row.n for row in rows] == [1, 0, 1]
    assert rows[1].share is None
    assert rows[0].low == 0.0
    assert rows[0].high is not None
    assert rows[0].high > 0.7


def test_a_bin_has_the_interval_that_its_share_has_in_every_table() -> None:
    # Ten patients with two images each; in the highest bin one image of each, all of them hits.
    groups = np.repeat(np.arange(10), 2)
    score = np.tile([0.05, 0.95], 10)
    hit = np.tile([0, 1], 10)
    hit[0] = 1
    rows = reliability(hit, score, groups=groups)
    for row, inside in ((rows[0], score < 0.5), (rows[-1], score > 0.5)):
        found = proportion(hit[inside] == 1, groups[inside])
        assert (row.low, row.high) == (found.low, found.high)


def test_line_agrees_with_statsmodels_with_and_without_groups() -> None:
    groups = np.repeat(np.arange(100), 5)
    model = sm.Logit(Y, sm.add_constant(Z))
    plain = model.fit(disp=0)
    line = calibration_line(Y, P)
    assert (line.intercept, line.slope) == pytest.approx(tuple(plain.params), rel=1e-6)
    assert line.slope_interval.se == pytest.approx(plain.bse[1], rel=1e-5)
    offset = sm.GLM(Y, np.ones(500), family=sm.families.Binomial(), offset=Z).fit()
    assert line.in_the_large == pytest.approx(offset.params[0], rel=1e-6)
    assert line.in_the_large_interval.se == pytest.approx(offset.bse[0], rel=1e-5)
    clustered = model.fit(
        disp=0, cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False}
    )
    found = calibration_line(Y, P, groups=groups).slope_interval
    # Freed of the pull of each group on the fit, it is a little more than the plain sandwich.
    assert 1 < found.se / clustered.bse[1] < 1.05
    assert "100 groups" in found.method


def test_spread_between_groups_is_that_of_bell_and_mccaffrey() -> None:
    groups = np.repeat(np.arange(25), 20)
    line = calibration_line(Y, P, groups=groups)
    for columns, interval, b in (
        (sm.add_constant(Z), line.slope_interval, [line.intercept, line.slope]),
        (np.ones((500, 1)), line.in_the_large_interval, [line.in_the_large]),
    ):
        fitted = expit(columns @ b + (0 if len(b) == 2 else Z))
        root = np.sqrt(fitted * (1 - fitted))
        x, left = columns * root[:, None], (Y - fitted) / root
        bread, meat = np.linalg.inv(x.T @ x), np.zeros((len(b), len(b)))
        for group in range(25):
            own = groups == group
            free = np.linalg.inv(sqrtm(np.eye(20) - x[own] @ bread @ x[own].T).real)
            pull = x[own].T @ free @ left[own]
            meat += np.outer(pull, pull)
        assert interval.se == pytest.approx(np.sqrt((bread @ meat @ bread)[-1, -1]), rel=1e-3)


def test_a_class_of_one_patient_has_no_calibration_line() -> None:
    y = np.r_[np.ones(4), np.zeros(12)]
    groups = np.repeat(["a", "b", "c", "d"], 4)
    with pytest.raises(MetricError, match="held by one patient alone"):
        calibration_line(y, np.linspace(0.9, 0.1, 16)[::-1] % 0.7, groups=groups, word="patient")


def test_lines_of_many_resamples_equal_weighted_fits() -> None:
    weights = RNG.integers(0, 3, (4, 500)).astype(float)
    for found, weight in zip(logistic_lines(Y, Z, weights), weights, strict=True):
        fit = sm.GLM(Y, sm.add_constant(Z), family=sm.families.Binomial(), freq_weights=weight)
        assert found == pytest.approx(fit.fit().params, rel=1e-6)


def test_separated_classes_and_constant_scores_have_no_line() -> None:
    with pytest.raises(MetricError, match="separate"):
        calibration_line([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9])
    with pytest.raises(MetricError, match="do not vary"):
        calibration_line([0, 1, 1], [0.5, 0.5, 0.5])
    with pytest.raises(MetricError, match="both classes"):
        calibration_line([1, 1, 1], [0.5, 0.6, 0.7])


def test_saturated_scores_still_have_a_line() -> None:
    y = np.r_[np.zeros(50), np.ones(50), [0, 1]].astype(int)
    p = np.r_[np.zeros(50), np.ones(50), [1.0, 0.0]]
    assert calibration_line(y, p).slope == pytest.approx(np.log(50) / logit(1 - 1e-12), rel=1e-3)


# --------------------------------------------------------------------------- mending


@pytest.mark.parametrize(("link", "n_logits"), [("softmax", 4), ("cumulative", 3), ("sigmoid", 4)])
def test_temperature_undoes_a_known_one(link: str, n_logits: int) -> None:
    rng = np.random.default_rng(5)
    raw = rng.normal(size=(4_000, n_logits)) * 1.5
    if link == "cumulative":
        raw = -np.sort(-raw, axis=1)
    scores = scores_from_logits(raw, link=link)
    if link == "sigmoid":
        y = (rng.random(scores.shape) < scores).astype(int)
    else:
        y = (rng.random((len(raw), 1)) > np.cumsum(scores, axis=1)).sum(axis=1).clip(max=3)
    assert fit_temperature(2.5 * raw, y, link=link) == pytest.approx(2.5, rel=0.08)


def test_temperature_is_a_minimum() -> None:
    logits = np.column_stack([np.zeros(500), 3 * Z])
    best = fit_temperature(logits, Y)

    def loss(t: float) -> float:
        return log_loss(Y, scores_from_logits(logits, link="softmax", temperature=t))

    assert loss(best) < min(loss(best * 1.001), loss(best / 1.001), loss(1.0))


def test_temperature_without_an_error_to_learn_from_is_1() -> None:
    logits = np.array([[0.0, 3.0], [2.0, 0.0]])
    assert fit_temperature(logits, [1, 0]) == 1.0
    with pytest.raises(MetricError, match="no validation case"):
        fit_temperature(np.zeros((0, 2)), [])


def test_temperature_leaves_the_order_of_scores() -> None:
    logits = RNG.normal(size=(100, 3))
    cold, hot = (scores_from_logits(logits, link="softmax", temperature=t) for t in (1.0, 3.0))
    assert (cold.argmax(axis=1) == hot.argmax(axis=1)).all()


def test_vector_scaling_undoes_factors_and_shifts() -> None:
    rng = np.random.default_rng(1)
    raw = rng.normal(size=(6_000, 3)) * 2
    y = (rng.random((6_000, 1)) > np.cumsum(scores_from_logits(raw, link="softmax"), axis=1)).sum(
        axis=1
    )
    spoilt = (raw - np.array([0.5, 0.0, -0.5])) * np.array([2.0, 0.5, 1.0])
    factor, shift = fit_vector_scaling(spoilt, y)
    assert factor == pytest.approx([0.5, 2.0, 1.0], rel=0.12)
    assert shift == pytest.approx([0.5, 0.0, -0.5], abs=0.12)


def test_vector_scaling_of_few_cases_is_refused() -> None:
    with pytest.raises(MetricError, match="at least 1,000"):
        fit_vector_scaling(np.zeros((999, 2)), np.zeros(999))
    with pytest.raises(MetricError, match="1 have no case"):
        fit_vector_scaling(np.zeros((1000, 2)), np.zeros(1000, dtype=int))


def test_local_recalibration_takes_what_the_cases_allow() -> None:
    shift, slope, about = recalibrate(Y[:60], P[:60])
    assert about["kind"] == "shift"
    assert slope == 1.0
    mended = expit(shift + logit(P[:60]))
    assert mended.mean() == pytest.approx(Y[:60].mean(), abs=1e-9)
    shift, slope, about = recalibrate(Y, P)
    assert about["kind"] == "line"
    line = calibration_line(Y, expit(shift + slope * logit(P)))
    assert (line.slope, line.in_the_large) == pytest.approx((1.0, 0.0), abs=1e-6)
    assert calibration_in_the_large(Y, P) == pytest.approx(calibration_line(Y, P).in_the_large)
