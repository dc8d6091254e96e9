"""Numbers on decisions, against hand counts and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, cohen_kappa_score, roc_auc_score

from apps.mammography.metrics import METRICS
from core.app import Cases
from core.errors import MetricError
from core.statistics.metrics import probabilistic_f1_of_positive as probabilistic_f1
from core.statistics.metrics import (
    sensitivity_at_recall_rate,
    sensitivity_at_specificity,
    specificity_at_sensitivity,
)

COMPUTE = {metric.name: metric.compute for metric in METRICS}


def cases(y: list[int], score: list[float], weight: list[float] | None = None) -> Cases:
    p = np.array(score)
    return Cases(
        np.array(y),
        np.stack([1 - p, p], axis=1),
        (p >= 0.5).astype(int),
        np.ones(len(y)) if weight is None else np.array(weight),
    )


def test_probabilistic_f1_by_hand() -> None:
    # Scores .9 .6 of the positives, .3 .2 of the others: P = 1.5 / 2, R = 1.5 / 2.
    assert probabilistic_f1(cases([1, 1, 0, 0], [0.9, 0.6, 0.3, 0.2])) == pytest.approx(0.75)


def test_probabilistic_f1_of_plain_decisions_is_f1() -> None:
    # One hit, one miss, one false alarm: P = R = 1/2.
    assert probabilistic_f1(cases([1, 1, 0, 0], [1, 0, 1, 0])) == pytest.approx(0.5)


def test_ties_are_recalled_together_or_not_at_all() -> None:
    # Three share .4; recalling one would recall all, 4 of 5 > .5: only the .9 is recalled.
    some = cases([1, 0, 1, 1, 0], [0.4, 0.4, 0.9, 0.4, 0.1])
    assert sensitivity_at_recall_rate(some, limit=0.5) == pytest.approx(1 / 3)
    assert sensitivity_at_recall_rate(some, limit=0.8) == 1.0
    assert sensitivity_at_recall_rate(some, limit=0.1) == 0.0


def test_sensitivity_and_specificity_at_each_other() -> None:
    some = cases([1, 0, 1, 0, 0], [0.9, 0.8, 0.7, 0.3, 0.1])
    assert sensitivity_at_specificity(some, at_least=1.0) == 0.5
    assert sensitivity_at_specificity(some, at_least=0.6) == 1.0
    assert specificity_at_sensitivity(some, at_least=1.0) == pytest.approx(2 / 3)


@pytest.mark.parametrize("name", sorted(COMPUTE))
def test_a_weight_of_two_is_a_row_twice(name: str) -> None:
    y, p = [0, 1, 0, 1, 1, 0], [0.2, 0.7, 0.6, 0.4, 0.9, 0.1]
    once = COMPUTE[name](cases(y, p, [2, 1, 1, 1, 0, 1]))
    twice = COMPUTE[name](cases([0, *y[:4], 0], [0.2, *p[:4], 0.1]))
    assert once == pytest.approx(twice)


def test_areas_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 200)
    p = np.round(np.clip(0.3 * y + rng.random(200) * 0.7, 0, 1), 2)
    some = cases(y.tolist(), p.tolist())
    assert COMPUTE["auroc"](some) == pytest.approx(roc_auc_score(y, p))
    assert COMPUTE["average_precision"](some) == pytest.approx(average_precision_score(y, p))
    assert COMPUTE["partial_auroc"](some) == pytest.approx(roc_auc_score(y, p, max_fpr=0.15))


def test_density_asks_dense_against_fatty() -> None:
    rng = np.random.default_rng(1)
    scores = rng.dirichlet(np.ones(4), 100)
    y = rng.integers(0, 4, 100)
    some = Cases(y, scores, scores.argmax(axis=1), np.ones(100))
    dense = scores[:, 2] + scores[:, 3]
    assert COMPUTE["auroc"](some) == pytest.approx(roc_auc_score(y >= 2, dense))
    kappa = cohen_kappa_score(y, scores.argmax(axis=1), weights="quadratic", labels=range(4))
    assert COMPUTE["quadratic_kappa"](some) == pytest.approx(kappa)


@pytest.mark.parametrize("name", [m.name for m in METRICS if "kappa" not in m.name][:9])
def test_one_class_is_not_estimable_in_words(name: str) -> None:
    with pytest.raises(MetricError, match="not estimable"):
        COMPUTE[name](cases([0, 0], [0.1, 0.2]))
