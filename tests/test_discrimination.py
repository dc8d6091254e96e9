"""Areas under curves, their intervals and tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logit
from sklearn import metrics as sk

from core.app import Cases
from core.errors import MetricError
from core.statistics import metrics
from core.statistics.delong import (
    delong,
    delong_clustered,
    delong_paired,
    delong_several,
    newcombe_auroc,
)
from core.statistics.discrimination import Ranking, pr_points, roc_points

RNG = np.random.default_rng(0)
Y = (RNG.random(200) < 0.3).astype(int)
# One decimal: many ties.
TIED = np.round(RNG.normal(size=200) + Y, 1)
WEIGHT = RNG.integers(0, 4, 200).astype(float)


def test_areas_agree_with_sklearn_with_ties_and_weights() -> None:
    weights = np.stack([np.ones(200), WEIGHT])
    area, precision = Ranking(Y, TIED).both(weights)
    assert area == pytest.approx([sk.roc_auc_score(Y, TIED, sample_weight=w) for w in weights])
    expected = [sk.average_precision_score(Y, TIED, sample_weight=w) for w in weights]
    assert precision == pytest.approx(expected)


@pytest.mark.parametrize("limit", [0.02, 0.1, 0.15, 0.5, 0.999])
def test_partial_area_agrees_with_sklearn(limit: float) -> None:
    weights = np.stack([np.ones(200), WEIGHT])
    found = Ranking(Y, TIED).partial_area(weights, 0.0, limit)
    expected = [sk.roc_auc_score(Y, TIED, max_fpr=limit, sample_weight=w) for w in weights]
    assert found == pytest.approx(expected)


def test_the_partial_area_over_all_is_the_area() -> None:
    ranking, ones = Ranking(Y, TIED), np.ones((1, 200))
    assert ranking.partial_area(ones, 0.0, 1.0) == pytest.approx(ranking.auroc(ones))


@pytest.mark.parametrize(("y", "absent"), [([1, 1], "negative"), ([0, 0], "positive")])
def test_one_class_is_not_estimable_and_says_which(y: list[int], absent: str) -> None:
    for function in (roc_points, delong):
        with pytest.raises(MetricError, match=f"none of 2 cases is {absent}"):
            function(y, [0.1, 0.2])


def test_no_case_at_all_is_not_estimable() -> None:
    for function in (roc_points, pr_points):
        with pytest.raises(MetricError, match="not estimable"):
            function([], [])


def test_average_precision_without_a_positive_is_not_zero() -> None:
    with pytest.raises(MetricError, match="none of 2 cases is positive"):
        pr_points([0, 0], [0.1, 0.2])


def test_a_class_whose_weights_are_all_zero_is_absent() -> None:
    with pytest.raises(MetricError, match="positive"):
        roc_points([0, 1], [0.1, 0.2], weight=[1.0, 0.0])


def test_scores_need_not_be_probabilities_but_must_be_numbers() -> None:
    assert delong(Y, 1000 * TIED - 5).ends == delong(Y, TIED).ends
    with pytest.raises(MetricError, match=r"1 score\(s\) are not finite"):
        roc_points([0, 1], [0.1, np.nan])


def test_curves_agree_with_sklearn() -> None:
    curve = roc_points(Y, TIED)
    x, y, threshold = sk.roc_curve(Y, TIED, drop_intermediate=False)
    assert curve.x == pytest.approx(x)
    assert curve.y == pytest.approx(y)
    assert curve.threshold == pytest.approx(threshold)
    precision, recall, _ = sk.precision_recall_curve(Y, TIED)
    found = pr_points(Y, TIED)
    assert found.y[1:] == pytest.approx(precision[:-1][::-1])
    assert found.x[1:] == pytest.approx(recall[:-1][::-1])


def test_a_threshold_of_the_curve_reproduces_its_point() -> None:
    curve = roc_points(Y, TIED)
    for x, y, t in zip(curve.x, curve.y, curve.threshold, strict=True):
        called = t <= TIED
        assert called[Y == 1].mean() == pytest.approx(y)
        assert called[Y == 0].mean() == pytest.approx(x)


def test_resamples_without_a_class_are_undefined_not_zero() -> None:
    ranking = Ranking(np.array([0, 1]), np.array([0.1, 0.9]))
    area, precision = ranking.both(np.array([[1.0, 0.0], [0.0, 1.0]]))
    assert np.isnan(area).all()
    assert np.isnan(precision).tolist() == [True, False]


# --------------------------------------------------------------------------- intervals and tests


def test_delong_variance_is_that_of_the_definition() -> None:
    # Every pair, as in the paper: placements of 3 positives and 4 negatives.
    positive, negative = np.array([3.0, 5.0, 6.0]), np.array([1.0, 3.0, 4.0, 2.0])
    psi = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    expected = psi.mean(axis=1).var(ddof=1) / 3 + psi.mean(axis=0).var(ddof=1) / 4
    found = delong([1] * 3 + [0] * 4, np.r_[positive, negative])
    assert found.se is not None
    assert found.se**2 == pytest.approx(expected)


def test_one_case_of_a_class_has_no_variance() -> None:
    with pytest.raises(MetricError, match="at least two positive"):
        delong([0, 0, 1], [0.1, 0.4, 0.2])


def test_perfect_separation_never_has_an_interval_without_width() -> None:
    found = delong([0] * 8 + [1] * 12, np.arange(20.0))
    assert found.ends[1] == 1.0
    assert 0.7 < found.ends[0] < 0.95
    assert "Newcombe" in found.method
    assert "separated perfectly" in found.reason
    mirrored = delong([1] * 12 + [0] * 8, np.arange(20.0))
    assert mirrored.ends == pytest.approx((0.0, 1 - found.ends[0]))


def test_newcombe_ends_solve_their_equation() -> None:
    # |theta - 0.8| = 1.96 * sqrt(V(theta)), V as in the source with both sizes (m + n) / 2 - 1.
    for end in newcombe_auroc(0.8, 15, 25).ends:
        variance = end * (1 - end) / 375 * (1 + 19 * ((1 - end) / (2 - end) + end / (1 + end)))
        assert abs(end - 0.8) == pytest.approx(1.959964 * np.sqrt(variance), rel=1e-5)
    assert newcombe_auroc(0.0, 5, 5).ends[0] == 0.0
    with pytest.raises(MetricError, match="both classes"):
        newcombe_auroc(0.5, 0, 5)


def test_the_logit_scale_stays_inside_0_and_1() -> None:
    y, score = [0, 0, 0, 1, 1, 1], [1, 2, 4, 3, 5, 6]
    assert delong(y, score).ends[1] == 1.0
    low, high = delong(y, score, scale="logit").ends
    assert 0 < low < high < 1


def test_clustered_delong_with_single_cases_is_delong() -> None:
    assert delong_clustered(Y, TIED, np.arange(200)).se == pytest.approx(delong(Y, TIED).se)


def test_clustered_delong_of_repeated_cases_is_that_of_the_cases() -> None:
    # Each case three times in one group: nothing is learnt, so the interval stays.
    three = np.repeat(np.arange(200), 3)
    found = delong_clustered(Y[three], TIED[three], three)
    assert found.se == pytest.approx(delong(Y, TIED).se)
    naive = delong(Y[three], TIED[three])
    assert naive.se is not None
    assert found.se is not None
    assert naive.se < 0.6 * found.se


def test_clustered_delong_agrees_with_the_bootstrap() -> None:
    from core.statistics.resampling import resample_groups  # noqa: PLC0415

    groups = np.repeat(np.arange(50), 4)
    effect = np.repeat(RNG.normal(size=50), 4)
    score = TIED + effect
    plan = resample_groups(groups, resamples=1500, seed=0)
    ranking = Ranking(Y, score)
    spread = np.concatenate([ranking.auroc(block) for block in plan.weights()]).std()
    assert delong_clustered(Y, score, groups).se == pytest.approx(spread, rel=0.1)


def test_clustered_delong_of_one_positive_group_is_refused() -> None:
    with pytest.raises(MetricError, match="one patient"):
        delong_clustered([1, 1, 0, 0], [3, 2, 1, 2], ["a", "a", "b", "c"], word="patient")


def test_identical_scores_have_p_1_even_without_variance() -> None:
    found = delong_paired([0, 0, 1, 1], [1, 2, 3, 4], [1, 2, 3, 4])
    assert (found.p, found.statistic, found.difference) == (1.0, 0.0, 0.0)
    # Another scale, the same order: the same areas.
    assert delong_paired(Y, TIED, np.exp(TIED)).p == 1.0


def test_a_difference_without_spread_cannot_be_tested() -> None:
    with pytest.raises(MetricError, match="no spread"):
        delong_paired([0, 0, 1, 1], [1, 2, 3, 4], [4, 3, 2, 1])


def test_paired_test_is_antisymmetric() -> None:
    other = TIED + RNG.normal(size=200)
    one, two = delong_paired(Y, TIED, other), delong_paired(Y, other, TIED)
    assert one.p == pytest.approx(two.p)
    assert one.difference == -two.difference


def pairs(y: Any, score: Any) -> np.ndarray:
    """(m, n): whether each positive case beats each negative one; half for a tie."""
    positive, negative = np.asarray(score)[y == 1][:, None], np.asarray(score)[y == 0]
    return np.asarray((positive > negative) + 0.5 * (positive == negative))


def obuchowski(y: np.ndarray, scores: list[np.ndarray], groups: np.ndarray) -> np.ndarray:
    """Covariance (K, K) of areas, and what each group pulls, group by group as in the paper."""
    names = np.unique(groups)
    pulls = []
    for score in scores:
        psi = pairs(y, score)
        area, m, n = psi.mean(), *psi.shape
        of_1, of_0 = groups[y == 1], groups[y == 0]
        pulls.append(
            [
                [(psi.mean(axis=1) - area)[of_1 == g].sum() / m for g in names],
                [(psi.mean(axis=0) - area)[of_0 == g].sum() / n for g in names],
            ]
        )
    one, other = np.array([p[0] for p in pulls]), np.array([p[1] for p in pulls])
    n_1, n_0, n = len(set(groups[y == 1])), len(set(groups[y == 0])), len(names)
    found = one @ one.T * n_1 / (n_1 - 1) + other @ other.T * n_0 / (n_0 - 1)
    return np.asarray(found + (one @ other.T + other @ one.T) * n / (n - 1))


GROUPS = np.repeat(np.arange(60), 4)[:200]


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_ends_of_delong_are_the_normal_ones_on_either_scale(level: float) -> None:
    psi = pairs(Y, TIED)
    area = psi.mean()
    se = np.sqrt(
        psi.mean(axis=1).var(ddof=1) / len(psi) + psi.mean(axis=0).var(ddof=1) / psi.shape[1]
    )
    z = stats.norm.ppf(0.5 + level / 2)
    found = delong(Y, TIED, level=level)
    assert found.ends == pytest.approx((area - z * se, area + z * se))
    assert found.level == level
    assert found.method == f"DeLong, {Y.sum()} positive and {200 - Y.sum()} negative " + (
        "independent cases"
    )
    half = z * se / (area * (1 - area))
    found = delong(Y, TIED, level=level, scale="logit")
    assert found.ends == pytest.approx(tuple(expit(logit(area) + s * half) for s in (-1, 1)))
    assert found.method.startswith("DeLong on the logit scale, ")
    # The plain interval ends where areas do.
    assert delong([0, 0, 0, 1, 1, 1], [5, 6, 3, 4, 2, 1], level=level).ends[0] == 0.0
    with pytest.raises(ValueError, match="'plain' or 'logit'"):
        delong(Y, TIED, scale="probit")


def test_newcombe_counts_what_it_is_told_at_the_level_it_is_told() -> None:
    found = newcombe_auroc(0.8, 1500, 25, level=0.8, word="patient")
    assert found.method == "Newcombe's score interval, 1,500 positive and 25 negative patients"
    assert (found.level, found.reason) == (0.8, "")
    for end in found.ends:
        more = 1525 / 2 - 1
        variance = end * (1 - end) / 37500 * (1 + more * ((1 - end) / (2 - end) + end / (1 + end)))
        assert abs(end - 0.8) == pytest.approx(1.281552 * np.sqrt(variance), rel=1e-5)
    assert newcombe_auroc(0.5, 1, 1).method.endswith("1 positive and 1 negative independent cases")
    low, high = newcombe_auroc(1 - 1e-13, 10, 10).ends
    assert (low, high) == pytest.approx((0.8, 1.0), abs=1e-3)
    assert newcombe_auroc(1e-13, 10, 10).ends == pytest.approx((0.0, 0.2), abs=1e-3)
    for counts in ((0, 5), (5, 0)):
        with pytest.raises(MetricError, match="both classes"):
            newcombe_auroc(0.5, *counts)
    for area in (-0.1, 1.1):
        with pytest.raises(MetricError, match="no area"):
            newcombe_auroc(area, 5, 5)


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_clustered_delong_has_the_variance_of_the_paper(level: float) -> None:
    found = delong_clustered(Y, TIED, GROUPS, level=level, word="patient")
    variance = obuchowski(Y, [TIED], GROUPS)[0, 0]
    area, z = pairs(Y, TIED).mean(), stats.norm.ppf(0.5 + level / 2)
    assert found.se == pytest.approx(np.sqrt(variance))
    assert found.ends == pytest.approx((area - z * np.sqrt(variance), area + z * np.sqrt(variance)))
    assert found.method == "DeLong for clusters (Obuchowski), 50 patients"
    assert found.df is None
    # Student's quantile on the logit scale, with the freedom of what the groups pull.
    # Two large groups carry it.
    groups = np.r_[np.zeros(60, dtype=int), np.ones(40, dtype=int), np.arange(2, 102)]
    variance = obuchowski(Y, [TIED], groups)[0, 0]
    found = delong_clustered(Y, TIED, groups, level=level, scale="logit")
    psi, y = pairs(Y, TIED), Y
    pull = np.array(
        [
            (psi.mean(axis=1) - area)[groups[y == 1] == g].sum() / psi.shape[0]
            + (psi.mean(axis=0) - area)[groups[y == 0] == g].sum() / psi.shape[1]
            for g in range(102)
        ]
    )
    square = (pull**2).sum()
    df = 2 * square**2 / ((pull**4).sum() - square**2 / 102)
    assert 2 < df < 101
    assert found.df == pytest.approx(df)
    half = stats.t.ppf(0.5 + level / 2, df) * np.sqrt(variance) / (area * (1 - area))
    assert found.ends == pytest.approx(tuple(expit(logit(area) + s * half) for s in (-1, 1)))
    assert found.method.endswith("102 groups, on the logit scale")


def test_clusters_without_spread_or_with_one_group_of_a_class_are_told() -> None:
    y, score, groups = [1, 1, 0, 0], [3, 4, 1, 2], ["a", "b", "c", "d"]
    found = delong_clustered(y, score, groups, level=0.8, word="eye")
    assert found.ends == newcombe_auroc(1.0, 2, 2, level=0.8).ends
    assert found.method.endswith("2 positive and 2 negative eyes")
    # Whichever class the last group holds.
    assert delong_clustered(y, score, ["c", "d", "a", "b"], level=0.8).ends == found.ends
    assert delong(y, score, level=0.8).ends == found.ends
    for few, names in (("positive", ["a", "a", "c", "d"]), ("negative", ["a", "b", "c", "c"])):
        with pytest.raises(MetricError, match=f"all {few} cases are of one eye"):
            delong_clustered(y, [3, 1, 2, 1], names, word="eye")
    # Two groups that pull alike: as many degrees as groups allow, and never fewer than two.
    two = delong_clustered([1, 0, 1, 0], [2, 1, 1, 2], ["a", "a", "b", "b"], scale="logit")
    assert two.df == 2.0
    with pytest.raises(MetricError, match="at least two negative"):
        delong([0, 1, 1], [0.3, 0.2, 0.4])


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_the_paired_test_has_the_variance_of_the_difference_of_every_pair(level: float) -> None:
    other = np.round(TIED + np.random.default_rng(1).normal(size=200), 1)
    away = pairs(Y, TIED) - pairs(Y, other)
    se = np.sqrt(
        away.mean(axis=1).var(ddof=1) / len(away) + away.mean(axis=0).var(ddof=1) / away.shape[1]
    )
    found, z = delong_paired(Y, TIED, other, level=level), stats.norm.ppf(0.5 + level / 2)
    assert (found.first, found.second) == pytest.approx(
        (sk.roc_auc_score(Y, TIED), sk.roc_auc_score(Y, other))
    )
    assert found.difference == pytest.approx(away.mean())
    assert found.se == pytest.approx(se)
    assert found.statistic == pytest.approx(away.mean() / se)
    assert found.p == pytest.approx(2 * stats.norm.sf(away.mean() / se))
    assert (found.low, found.high) == pytest.approx((away.mean() - z * se, away.mean() + z * se))
    assert found.method == "DeLong, paired, 200 independent cases"
    same = delong_paired(Y, TIED, 2 * TIED, level=level)
    assert (same.low, same.high, same.se) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("groups", [None, GROUPS])
def test_several_scores_are_tested_with_the_covariance_of_their_areas(groups: Any) -> None:
    rng = np.random.default_rng(2)
    scores = [TIED, TIED + rng.normal(size=200), rng.normal(size=200) + 0.2 * Y]
    chi2, df, p = delong_several(Y, np.column_stack(scores), groups)
    covariance = obuchowski(Y, scores, np.arange(200) if groups is None else groups)
    areas = np.array([pairs(Y, score).mean() for score in scores])
    contrast = np.array([[1, -1, 0], [0, 1, -1]])
    away = contrast @ areas
    assert chi2 == pytest.approx(away @ np.linalg.inv(contrast @ covariance @ contrast.T) @ away)
    assert df == 2
    assert p == pytest.approx(stats.chi2.sf(chi2, 2))
    with pytest.raises(MetricError, match="of one reader"):
        delong_several([1, 1, 0, 0], np.eye(4)[:, :2], ["a", "a", "b", "c"], word="reader")


# --------------------------------------------------------------------------- several classes


def test_several_classes_agree_with_sklearn() -> None:
    y = RNG.integers(0, 4, 300)
    scores = RNG.dirichlet(np.ones(4), 300)
    for weight in (np.ones(300), RNG.integers(1, 4, 300).astype(float)):
        cases, w = Cases(y, scores, scores.argmax(axis=1), weight), {"sample_weight": weight}
        assert metrics.macro_auroc(cases) == pytest.approx(
            sk.roc_auc_score(y, scores, multi_class="ovr", average="macro", **w)
        )
        assert metrics.micro_auroc(cases) == pytest.approx(
            sk.roc_auc_score(y, scores, multi_class="ovr", average="micro", **w)
        )
        each = [sk.average_precision_score(y == k, scores[:, k], **w) for k in range(4)]
        assert metrics.macro_average_precision(cases) == pytest.approx(np.mean(each))


def test_probabilistic_f1_of_decisions_is_f1() -> None:
    decided = (TIED > 0.5).astype(float)
    scores = np.column_stack([1 - decided, decided])
    cases = Cases(Y, scores, decided.astype(int), np.ones(200))
    assert metrics.probabilistic_f1_of_positive(cases) == pytest.approx(sk.f1_score(Y, decided))
