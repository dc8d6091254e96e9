"""Intervals of proportions and the resampling of groups."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from core.errors import MetricError
from core.statistics.intervals import (
    Interval,
    all_successes_limit,
    clopper_pearson,
    cluster_proportion,
    exact_on_groups,
    wilson,
)
from core.statistics.resampling import (
    bootstrap_interval,
    outcome_strata,
    percentile_interval,
    resample_groups,
)


@pytest.mark.parametrize(("x", "n"), [(0, 1), (1, 1), (0, 20), (7, 20), (20, 20), (999, 1000)])
@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_proportions_agree_with_statsmodels(x: int, n: int, level: float) -> None:
    for function, name in ((wilson, "wilson"), (clopper_pearson, "beta")):
        expected = proportion_confint(x, n, alpha=1 - level, method=name)
        expected = [0.0 if x == 0 else expected[0], 1.0 if x == n else expected[1]]
        assert function(x, n, level=level).ends == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("function", [wilson, clopper_pearson])
def test_no_case_is_not_estimable(function: object) -> None:
    with pytest.raises(MetricError, match="not estimable"):
        function(0, 0)  # type: ignore[operator]


@pytest.mark.parametrize(("x", "n"), [(-1, 5), (6, 5), (1, -1)])
def test_counts_that_are_no_proportion_are_refused(x: int, n: int) -> None:
    with pytest.raises(MetricError, match="not a proportion"):
        wilson(x, n)


def test_a_level_outside_of_0_and_1_is_refused() -> None:
    with pytest.raises(MetricError, match=r"0\.95"):
        wilson(1, 2, level=95)


def test_ratio_estimator_is_the_sandwich_with_small_sample_factor() -> None:
    import statsmodels.api as sm  # noqa: PLC0415

    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), rng.integers(1, 5, 30))
    hit = (rng.random(len(groups)) < 0.7).astype(float)
    fit = sm.OLS(hit, np.ones(len(hit))).fit(
        cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False}
    )
    expected = fit.bse[0] * np.sqrt(30 / 29)
    assert cluster_proportion(hit, groups).se == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("hits", [0, 1])
@pytest.mark.parametrize("scale", ["wald", "wilson"])
def test_perfect_results_get_an_exact_limit_on_groups(hits: int, scale: str) -> None:
    # 12 images of 4 patients, all alike: the limit counts 4, not 12.
    found = cluster_proportion([hits] * 12, [0, 1, 2, 3] * 3, scale=scale, word="patient")
    assert found.ends == pytest.approx(clopper_pearson(4 * hits, 4).ends)
    assert "4 patients" in found.method
    assert found.reason


def test_groups_with_equal_shares_show_no_spread() -> None:
    found = cluster_proportion([1, 0, 1, 0], ["a", "a", "b", "b"])
    assert found.low is None
    assert "withheld" in found.reason
    with pytest.raises(MetricError, match="withheld"):
        _ = found.ends


def test_design_effect_never_makes_an_interval_narrower_than_independence() -> None:
    found = cluster_proportion([1, 0, 1, 0], ["a", "a", "b", "b"], scale="wilson")
    low, high = wilson(2, 4).ends
    assert found.ends[0] <= low
    assert found.ends[1] >= high


def test_limit_without_a_failure_over_parts_of_unequal_size() -> None:
    # All hidden failures may lie in the smaller part: p = (1, 0.025 ** (1 / 5)) has mean 0.739;
    # spreading them cannot go lower than where p_k is proportional to n_k.
    found = all_successes_limit([5, 100])
    assert found <= (1 + 0.025 ** (1 / 5)) / 2 + 1e-12
    grid = np.linspace(1e-6, 1, 200_001)
    other = np.exp((np.log(0.025) - 5 * np.log(grid)) / 100)
    assert found == pytest.approx(np.min(((grid + other) / 2)[other <= 1]), abs=1e-5)
    with pytest.raises(MetricError, match="no group"):
        all_successes_limit([0, 0])


# --------------------------------------------------------------------------- resampling

GROUPS = np.repeat(np.arange(20), 3)


def test_a_group_is_drawn_whole_and_the_number_of_groups_is_kept() -> None:
    plan = resample_groups(GROUPS, resamples=50, seed=3)
    for block in plan.weights():
        by_group = block.reshape(-1, 20, 3)
        assert (by_group == by_group[:, :, :1]).all()
        assert (by_group[:, :, 0].sum(axis=1) == 20).all()


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    first, again, other = (
        np.concatenate(list(resample_groups(GROUPS, resamples=9, seed=s).weights()))
        for s in (1, 1, 2)
    )
    assert (first == again).all()
    assert (first != other).any()


def test_blocks_do_not_change_what_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = np.repeat([0] * 12 + [1] * 8, 3)
    plan = resample_groups(GROUPS, outcome=outcome, resamples=40, seed=1)
    whole = np.concatenate(list(plan.weights()))
    monkeypatch.setattr("core.statistics.resampling.BLOCK", 7 * len(GROUPS))
    parts = list(plan.weights())
    assert len(parts) == 6
    assert (np.concatenate(parts) == whole).all()


def test_strata_keep_a_rare_class_in_every_resample() -> None:
    outcome = np.repeat([0] * 15 + [1] * 5, 3)
    plan = resample_groups(GROUPS, outcome=outcome, resamples=500, seed=1)
    drawn = np.concatenate(list(plan.weights()))
    assert (drawn[:, outcome == 1].sum(axis=1) == 15).all()


def test_a_class_of_one_group_is_no_stratum_of_its_own() -> None:
    # Drawn alone it would show no spread at all.
    outcome = np.repeat([0] * 19 + [1], 3)
    plan = resample_groups(GROUPS, outcome=outcome, resamples=200, seed=1)
    drawn = np.concatenate(list(plan.weights()))
    assert len(set(drawn[:, -1])) > 1


def test_a_group_belongs_to_its_rarest_class() -> None:
    index = np.repeat(np.arange(12), 2)
    outcome = np.array([0, 0] * 6 + [0, 1] * 6)
    stratum = outcome_strata(outcome, index, 12)
    assert len(set(stratum[:6])) == len(set(stratum[6:])) == 1
    assert stratum[0] != stratum[-1]


def test_bootstrap_of_a_mean_has_the_standard_error_of_a_mean() -> None:
    values = np.random.default_rng(0).normal(size=80)
    plan = resample_groups(None, n=80, resamples=4000, seed=0)
    drawn = np.concatenate([(w @ values) / w.sum(axis=1) for w in plan.weights()])
    assert drawn.std() == pytest.approx(values.std() / np.sqrt(80), rel=0.04)


def plan_of(n: int) -> object:
    return resample_groups(None, n=n, resamples=100, word="patient")


def test_too_few_groups_withhold_the_interval() -> None:
    found = bootstrap_interval(0.5, np.linspace(0, 1, 100), plan_of(4))  # type: ignore[arg-type]
    assert found.low is None
    assert "4 patients are too few" in found.reason


def test_many_undefined_resamples_withhold_the_interval() -> None:
    drawn = np.linspace(0, 1, 100)
    drawn[:6] = np.nan
    found = bootstrap_interval(0.5, drawn, plan_of(30))  # type: ignore[arg-type]
    assert found.low is None
    assert "6 of 100 resamples" in found.reason
    drawn[:3] = 0.0
    found = bootstrap_interval(0.5, drawn, plan_of(30))  # type: ignore[arg-type]
    assert found.low is not None
    assert "3 resamples" in found.reason


def test_equal_resamples_never_give_an_interval_without_width() -> None:
    plan = plan_of(30)
    with_limit = exact_on_groups(1.0, [30], level=0.95, word="patient")
    assert with_limit.ends == pytest.approx((0.025 ** (1 / 30), 1.0))
    assert "exact" in with_limit.method
    none_seen = exact_on_groups(0.0, [30], level=0.95, word="patient")
    assert none_seen.ends == pytest.approx((0.0, 1 - 0.025 ** (1 / 30)))
    without = bootstrap_interval(1.0, np.ones(100), plan)  # type: ignore[arg-type]
    assert without.low is None
    assert "no spread" in without.reason


def test_the_method_says_how_many_of_what_were_drawn() -> None:
    plan = resample_groups(np.arange(439), resamples=2000, word="patient")
    drawn = np.linspace(0.4, 0.6, 2000)
    found = bootstrap_interval(0.5, drawn, plan)
    assert found.method == "bootstrap of 2,000 resamples of 439 patients, percentile"
    assert isinstance(found, Interval)
    assert found.ends == pytest.approx(percentile_interval(drawn))
