"""Metrics that apps name: they pickle, honour weights, and say why they are undefined."""

from __future__ import annotations

import pickle
from functools import partial

import numpy as np
import pytest
from sklearn import metrics as sk

from core.app import Cases
from core.errors import MetricError
from core.statistics import metrics
from core.statistics.metrics import adaptive_calibration_error, brier_skill
from core.statistics.reliability import expected_calibration_error

RNG = np.random.default_rng(0)


def cases_of(n_classes: int, n: int = 80) -> Cases:
    scores = np.round(RNG.dirichlet(np.ones(n_classes), n), 2)
    scores /= scores.sum(axis=1, keepdims=True)
    y = np.r_[np.arange(n_classes), RNG.integers(0, n_classes, n - n_classes)]
    return Cases(y, scores, scores.argmax(axis=1), np.ones(n))


def multilabel(n: int = 80) -> Cases:
    scores = RNG.random((n, 3))
    y = (RNG.random((n, 3)) < scores).astype(int)
    return Cases(y, scores, (scores >= 0.5).astype(int), np.ones(n))


SETTINGS = {
    "sensitivity_at_specificity": {"at_least": 0.8},
    "specificity_at_sensitivity": {"at_least": 0.8},
    "sensitivity_at_recall_rate": {"limit": 0.3},
}
# Bins of equal mass stay those of the cases, so copies of cases would move them.
NAMES = sorted(set(metrics.__all__) - {"is_batched", "over_weights", "adaptive_calibration_error"})


def function_of(name: str) -> partial[float]:
    return partial(getattr(metrics, name), **SETTINGS.get(name, {}))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n_classes", [2, 3, 4])
def test_a_weight_is_as_many_copies(name: str, n_classes: int) -> None:
    cases, compute = cases_of(n_classes), function_of(name)
    weight = RNG.integers(0, 4, 80)
    copies = np.repeat(np.arange(80), weight)
    copied = Cases(
        cases.y[copies], cases.scores[copies], cases.decided[copies], np.ones(len(copies))
    )
    weighted = Cases(cases.y, cases.scores, cases.decided, weight.astype(float))
    assert compute(weighted) == pytest.approx(compute(copied), abs=1e-12)
    at_once = metrics.over_weights(compute, cases, np.stack([np.ones(80), weight]))
    assert at_once == pytest.approx([compute(cases), compute(weighted)], abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_metrics_pickle_and_are_batched(name: str) -> None:
    compute = function_of(name)
    again = pickle.loads(pickle.dumps(compute))
    assert metrics.is_batched(again)
    assert again(cases := cases_of(3)) == compute(cases)


@pytest.mark.parametrize("name", NAMES)
def test_no_case_is_said_not_invented(name: str) -> None:
    empty = Cases(np.zeros(0, dtype=int), np.zeros((0, 2)), np.zeros(0, dtype=int), np.zeros(0))
    with pytest.raises(MetricError, match=r"^not estimable: no case is left$"):
        function_of(name)(empty)
    unweighted = cases_of(2)
    nothing = Cases(unweighted.y, unweighted.scores, unweighted.decided, np.zeros(80))
    with pytest.raises(MetricError, match=r"^not estimable: no case is left$"):
        function_of(name)(nothing)


def test_one_class_leaves_rankings_undefined() -> None:
    cases = cases_of(2)
    alone = Cases(np.zeros(80, dtype=int), cases.scores, np.zeros(80, dtype=int), cases.weight)
    for name in (
        "auroc_of_positive",
        "average_precision_of_positive",
        "macro_auroc",
        "quadratic_kappa",
        "matthews",
        "sensitivity_of_positive",
        "probabilistic_f1_of_positive",
        "lins_concordance",
        "partial_auroc_of_positive",
    ):
        with pytest.raises(MetricError, match="not estimable: "):
            getattr(metrics, name)(alone)
    assert metrics.accuracy(alone) == 1.0


def test_positive_classes_default_to_the_upper_half() -> None:
    four = cases_of(4)
    assert metrics.auroc_of_positive(four) == metrics.auroc_of_positive(four, positive=(2, 3))
    assert metrics.auroc_of_positive(four) != metrics.auroc_of_positive(four, positive=(1, 2, 3))


def test_numbers_of_decisions_are_those_of_sklearn() -> None:
    scores, y = RNG.dirichlet(np.ones(4), 80), np.resize(np.arange(4), 80)
    decided = scores.argmax(axis=1)
    cases = Cases(y, scores, decided, np.ones(80))
    truth = np.eye(4)[y]
    expected = {
        "accuracy": sk.accuracy_score(y, decided),
        "balanced_accuracy": sk.balanced_accuracy_score(y, decided),
        "macro_f1": sk.f1_score(y, decided, average="macro"),
        "matthews": sk.matthews_corrcoef(y, decided),
        "kappa": sk.cohen_kappa_score(y, decided),
        "linear_kappa": sk.cohen_kappa_score(y, decided, weights="linear"),
        "quadratic_kappa": sk.cohen_kappa_score(y, decided, weights="quadratic"),
        "mean_absolute_error": sk.mean_absolute_error(y, decided),
        "off_by_two": (abs(y - decided) >= 2).mean(),
        "lins_concordance": 2
        * np.cov(y, decided, ddof=0)[0, 1]
        / (y.var() + decided.var() + (y.mean() - decided.mean()) ** 2),
        "top_two_accuracy": sk.top_k_accuracy_score(y, scores, k=2),
        "macro_auroc": sk.roc_auc_score(y, scores, multi_class="ovr"),
        "micro_auroc": sk.roc_auc_score(truth.ravel(), scores.ravel()),
        "macro_average_precision": sk.average_precision_score(truth, scores),
        "log_loss": sk.log_loss(y, scores),
        "brier": ((scores - truth) ** 2).sum(axis=1).mean(),
        "expected_calibration_error": expected_calibration_error(y == decided, scores.max(axis=1)),
        "adaptive_calibration_error": expected_calibration_error(
            y == decided, scores.max(axis=1), equal="mass"
        ),
    }
    for name, value in expected.items():
        assert getattr(metrics, name)(cases) == pytest.approx(value), name


def test_numbers_of_positive_classes_are_of_those_that_are_asked_for() -> None:
    cases, positive = cases_of(4), (1, 3)
    truth = np.isin(cases.y, positive)
    called = np.isin(cases.decided, positive)
    score = np.round(cases.scores[:, list(positive)].sum(axis=1), 12)
    fpr, tpr, _ = sk.roc_curve(truth, score, drop_intermediate=False)
    n_1, n_0 = truth.sum(), (~truth).sum()
    recalled = (tpr * n_1 + fpr * n_0) / 80
    there = 0.05 * tpr + 0.95 * fpr
    hit = score[truth].sum()
    expected = {
        metrics.auroc_of_positive: sk.roc_auc_score(truth, score),
        metrics.average_precision_of_positive: sk.average_precision_score(truth, score),
        metrics.partial_auroc_of_positive: sk.roc_auc_score(truth, score, max_fpr=0.15),
        partial(metrics.partial_auroc_of_positive, specificity=(0.6, 1.0)): sk.roc_auc_score(
            truth, score, max_fpr=0.4
        ),
        partial(metrics.sensitivity_at_specificity, at_least=0.8): tpr[1 - fpr >= 0.8].max(),
        partial(metrics.specificity_at_sensitivity, at_least=0.8): 1 - fpr[tpr >= 0.8].min(),
        partial(metrics.sensitivity_at_recall_rate, limit=0.3): tpr[recalled <= 0.3].max(),
        partial(metrics.sensitivity_at_recall_rate, limit=0.3, prevalence=0.05): tpr[
            there <= 0.3
        ].max(),
        metrics.sensitivity_of_positive: called[truth].mean(),
        metrics.specificity_of_positive: (~called)[~truth].mean(),
        metrics.probabilistic_f1_of_positive: 2 * hit / (score.sum() + n_1),
        metrics.brier_of_positive: ((score - truth) ** 2).mean(),
    }
    for compute, value in expected.items():
        assert compute(cases, positive=positive) == pytest.approx(value), compute


@pytest.mark.parametrize(
    ("name", "y", "why"),
    [
        ("auroc_of_positive", 0, "positive and negative cases are both needed"),
        ("partial_auroc_of_positive", 1, "positive and negative cases are both needed"),
        ("sensitivity_at_specificity", 0, "positive and negative cases are both needed"),
        ("specificity_at_sensitivity", 0, "positive and negative cases are both needed"),
        ("sensitivity_at_recall_rate", 0, "positive and negative cases are both needed"),
        ("average_precision_of_positive", 0, "no case is positive"),
        ("sensitivity_of_positive", 0, "no case is positive"),
        ("probabilistic_f1_of_positive", 0, "no case is positive"),
        ("specificity_of_positive", 1, "no case is negative"),
        ("matthews", 0, "the same for every case"),
        ("kappa", 0, "all cases and decisions are of one class"),
        ("linear_kappa", 0, "all cases and decisions are of one class"),
        ("lins_concordance", 0, "all cases and decisions are of one class"),
        ("macro_auroc", 0, "a class has no case, or every case"),
        ("macro_average_precision", 0, "a class has no case"),
    ],
)
def test_what_is_undefined_says_why(name: str, y: int, why: str) -> None:
    cases, truth = cases_of(2), np.full(80, y)
    decided = cases.decided if name.startswith("s") else truth
    alone = Cases(truth, cases.scores, decided, np.ones(80))
    with pytest.raises(MetricError, match=f"^not estimable: {why}|the truth or .*{why}"):
        function_of(name)(alone)
    # Resamples without a value are NaN, whatever the others are.
    both = np.stack([np.ones(80), (cases.y == y).astype(float)])
    mixed = Cases(cases.y, cases.scores, np.where(cases.y == y, y, cases.decided), both[0])
    found = metrics.over_weights(function_of(name), mixed, both)
    assert np.isnan(found).tolist() == [False, True]


def test_sums_of_scores_keep_ties() -> None:
    # 0.1 + 0.2 and 0.3 differ in the last digit.
    scores = np.array([[0.7, 0.1, 0.2], [0.7, 0.3, 0.0]])
    cases = Cases(np.array([0, 1]), scores, np.array([0, 0]), np.ones(2))
    assert metrics.auroc_of_positive(cases, positive=(1, 2)) == 0.5


@pytest.mark.parametrize(
    "name",
    [
        "accuracy",
        "macro_f1",
        "balanced_accuracy",
        "macro_auroc",
        "log_loss",
        "brier",
        "expected_calibration_error",
    ],
)
def test_multilabel_cases_have_their_own_numbers(name: str) -> None:
    assert np.isfinite(getattr(metrics, name)(multilabel()))


def test_kappa_of_a_multilabel_task_is_undefined() -> None:
    with pytest.raises(MetricError):
        metrics.quadratic_kappa(multilabel())


def own(cases: Cases) -> float:
    if cases.weight[0] == 0:
        msg = "the first case is needed"
        raise MetricError(msg)
    return float(cases.weight.sum())


def test_a_metric_of_the_apps_own_is_called_once_for_each_resample() -> None:
    weights = np.array([[1.0, 2.0], [0.0, 2.0], [1.0, 0.0]])
    two = Cases(np.array([0, 1]), np.eye(2), np.array([0, 1]), np.ones(2))
    found = metrics.over_weights(own, two, weights)
    assert found[0] == 3.0
    assert np.isnan(found[1])
    assert found[2] == 1.0
    assert not metrics.is_batched(own)
    # Settings by their place are not looked into.
    by_place = partial(own, two)
    assert not metrics.is_batched(by_place)


def test_skill_is_measured_from_always_saying_the_class_shares() -> None:
    def skill(y: list[int], p: list[float]) -> float:
        scores = np.column_stack([1 - np.array(p), p])
        return brier_skill(Cases(np.array(y), scores, np.array(y), np.ones(len(y))))

    assert skill([0, 0, 0, 1], [0.25] * 4) == pytest.approx(0.0)
    assert skill([0, 0, 0, 1], [0.0, 0.0, 0.0, 1.0]) == 1.0
    with pytest.raises(MetricError, match="one class"):
        skill([1, 1], [0.5, 0.5])
    # Of three classes, weighted: errors summed over classes, against those of the shares.
    scores, y = RNG.dirichlet(np.ones(3), 50), RNG.integers(0, 3, 50)
    weight = RNG.integers(0, 3, 50).astype(float)
    truth = np.eye(3)[y]
    shares = np.average(truth, axis=0, weights=weight)

    def of(p: np.ndarray) -> float:
        return float(np.average(((p - truth) ** 2).sum(axis=1), weights=weight))

    found = brier_skill(Cases(y, scores, scores.argmax(axis=1), weight))
    assert found == pytest.approx(1 - of(scores) / of(shares))


def test_the_adaptive_error_has_bins_of_equal_mass() -> None:
    p = RNG.random(50)
    y = (RNG.random(50) < p).astype(int)
    cases = Cases(y, np.column_stack([1 - p, p]), y, np.ones(50))
    expected = expected_calibration_error(y, p, equal="mass")
    assert adaptive_calibration_error(cases) == pytest.approx(expected)
