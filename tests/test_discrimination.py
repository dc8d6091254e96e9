"""Areas under curves, their intervals and tests."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from core.errors import MetricError
from core.statistics.delong import (
    delong,
    delong_clustered,
    delong_paired,
    delong_unpaired,
    newcombe_auroc,
)
from core.statistics.discrimination import (
    Ranking,
    auroc,
    average_precision,
    average_precision_by_class,
    macro_auroc,
    micro_auroc,
    one_vs_rest_auroc,
    partial_auroc,
    pr_points,
    probabilistic_f1,
    roc_points,
)

RNG = np.random.default_rng(0)
Y = (RNG.random(200) < 0.3).astype(int)
# One decimal: many ties.
TIED = np.round(RNG.normal(size=200) + Y, 1)
WEIGHT = RNG.integers(0, 4, 200).astype(float)


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_areas_agree_with_sklearn_with_ties_and_weights(weight: np.ndarray | None) -> None:
    assert auroc(Y, TIED, weight=weight) == pytest.approx(
        sk.roc_auc_score(Y, TIED, sample_weight=weight)
    )
    assert average_precision(Y, TIED, weight=weight) == pytest.approx(
        sk.average_precision_score(Y, TIED, sample_weight=weight)
    )


@pytest.mark.parametrize("limit", [0.02, 0.1, 0.15, 0.5, 0.999])
def test_partial_area_agrees_with_sklearn(limit: float) -> None:
    expected = sk.roc_auc_score(Y, TIED, max_fpr=limit)
    assert partial_auroc(Y, TIED, specificity=(1 - limit, 1)) == pytest.approx(expected)
    weights = np.stack([np.ones(200), WEIGHT])
    many = Ranking(Y, TIED).partial_area(weights, 0.0, limit)
    weighted = sk.roc_auc_score(Y, TIED, max_fpr=limit, sample_weight=WEIGHT)
    assert many == pytest.approx([expected, weighted])


def test_partial_area_over_sensitivity_is_that_of_the_mirrored_question() -> None:
    # Swapping the classes and the sign of the score swaps sensitivity and specificity.
    found = partial_auroc(Y, TIED, sensitivity=(0.8, 0.95))
    assert found == pytest.approx(partial_auroc(1 - Y, -TIED, specificity=(0.8, 0.95)))


def test_partial_areas_add_up_to_the_whole() -> None:
    parts = [
        partial_auroc(Y, TIED, specificity=s, standardised=False) for s in ((0, 0.3), (0.3, 1))
    ]
    assert sum(parts) == pytest.approx(auroc(Y, TIED))


def test_a_range_that_is_none_is_refused() -> None:
    with pytest.raises(MetricError, match="width"):
        partial_auroc(Y, TIED, specificity=(0.9, 0.9))
    with pytest.raises(ValueError, match="either"):
        partial_auroc(Y, TIED)


@pytest.mark.parametrize(("y", "absent"), [([1, 1], "negative"), ([0, 0], "positive")])
def test_one_class_is_not_estimable_and_says_which(y: list[int], absent: str) -> None:
    for function in (auroc, roc_points, delong):
        with pytest.raises(MetricError, match=f"none of 2 cases is {absent}"):
            function(y, [0.1, 0.2])


def test_no_case_at_all_is_not_estimable() -> None:
    for function in (auroc, average_precision, pr_points):
        with pytest.raises(MetricError, match="not estimable"):
            function([], [])


def test_average_precision_without_a_positive_is_not_zero() -> None:
    with pytest.raises(MetricError, match="none of 2 cases is positive"):
        average_precision([0, 0], [0.1, 0.2])


def test_a_class_whose_weights_are_all_zero_is_absent() -> None:
    with pytest.raises(MetricError, match="positive"):
        auroc([0, 1], [0.1, 0.2], weight=[1.0, 0.0])


def test_scores_need_not_be_probabilities_but_must_be_numbers() -> None:
    assert auroc(Y, 1000 * TIED - 5) == auroc(Y, TIED)
    with pytest.raises(MetricError, match=r"1 score\(s\) are not finite"):
        auroc([0, 1], [0.1, np.nan])


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


def test_many_resamples_at_once_equal_one_at_a_time() -> None:
    weights = RNG.integers(0, 3, (20, 200)).astype(float)
    found = Ranking(Y, TIED).both(weights)
    for i, w in enumerate(weights):
        assert found[0][i] == pytest.approx(auroc(Y, TIED, weight=w))
        assert found[1][i] == pytest.approx(average_precision(Y, TIED, weight=w))


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
    from core.statistics.resampling import bootstrap, resample_groups  # noqa: PLC0415

    groups = np.repeat(np.arange(50), 4)
    effect = np.repeat(RNG.normal(size=50), 4)
    score = TIED + effect
    plan = resample_groups(groups, resamples=1500, seed=0)
    spread = bootstrap(Ranking(Y, score).auroc, plan).std()
    assert delong_clustered(Y, score, groups).se == pytest.approx(spread, rel=0.1)


def test_clustered_delong_of_one_positive_group_is_refused() -> None:
    with pytest.raises(MetricError, match="one patient"):
        delong_clustered([1, 1, 0, 0], [3, 2, 1, 2], ["a", "a", "b", "c"], word="patient")


def test_identical_scores_have_p_1_even_without_variance() -> None:
    found = delong_paired([0, 0, 1, 1], [1, 2, 3, 4], [1, 2, 3, 4])
    assert (found.p, found.statistic, found.difference) == (1.0, 0.0, 0.0)
    # Another scale, the same order: the same areas.
    assert delong_paired(Y, TIED, np.exp(TIED)).p == 1.0
    same = delong_unpaired([0, 0, 1, 1], [1, 2, 3, 4], [0, 0, 1, 1], [1, 2, 3, 4])
    assert same.p == 1.0


def test_a_difference_without_spread_cannot_be_tested() -> None:
    with pytest.raises(MetricError, match="no spread"):
        delong_paired([0, 0, 1, 1], [1, 2, 3, 4], [4, 3, 2, 1])


def test_paired_test_is_antisymmetric() -> None:
    other = TIED + RNG.normal(size=200)
    one, two = delong_paired(Y, TIED, other), delong_paired(Y, other, TIED)
    assert one.p == pytest.approx(two.p)
    assert one.difference == -two.difference


# --------------------------------------------------------------------------- several classes


def test_several_classes_agree_with_sklearn() -> None:
    y = RNG.integers(0, 4, 300)
    scores = RNG.dirichlet(np.ones(4), 300)
    weight = RNG.integers(1, 4, 300)
    for w in (None, weight):
        kwargs = {"sample_weight": w}
        assert macro_auroc(y, scores, weight=w) == pytest.approx(
            sk.roc_auc_score(y, scores, multi_class="ovr", average="macro", **kwargs)
        )
        assert micro_auroc(y, scores, weight=w) == pytest.approx(
            sk.roc_auc_score(y, scores, multi_class="ovr", average="micro", **kwargs)
        )
        expected = [sk.average_precision_score(y == k, scores[:, k], **kwargs) for k in range(4)]
        assert average_precision_by_class(y, scores, weight=w) == pytest.approx(expected)


def test_an_absent_class_is_undefined_alone_and_named_in_the_mean() -> None:
    y = np.array([0, 1, 0, 1])
    scores = np.array([[0.7, 0.2, 0.1], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1], [0.5, 0.4, 0.1]])
    areas = one_vs_rest_auroc(y, scores)
    assert np.isnan(areas).tolist() == [False, False, True]
    with pytest.raises(MetricError, match=r"1 of 3 classes .* class 2"):
        macro_auroc(y, scores)


def test_probabilistic_f1_of_decisions_is_f1() -> None:
    decided = (TIED > 0.5).astype(float)
    assert probabilistic_f1(Y, decided) == pytest.approx(sk.f1_score(Y, decided))
    assert probabilistic_f1([1, 0], [0.0, 0.5]) == 0.0
    with pytest.raises(MetricError, match="no probability"):
        probabilistic_f1([1, 0], [1.2, 0.5])
    with pytest.raises(MetricError, match="positive"):
        probabilistic_f1([0, 0], [0.2, 0.5])
