from dataclasses import replace

import numpy as np
import pytest
import torch

from core.app import Task
from core.errors import ConfigError
from core.model.heads import Head, loss_of
from core.statistics.scores import cuts_by_frequency, decide, encode, link_of, scores_from_logits

GRADES = Task(name="g", kind="ordinal", classes=("0", "1", "2"), positive=("1", "2"))
YES_NO = Task(name="y", kind="binary", classes=("no", "yes"), positive=("yes",))


@pytest.mark.parametrize("link", ["softmax", "cumulative", "sigmoid"])
def test_numpy_link_is_the_one_the_training_loss_assumes(link: str) -> None:
    rng = np.random.default_rng(0)
    head = Head(link, 5, 4).double()
    with torch.no_grad():
        head.weight.normal_()
        head.bias.normal_()
    features = torch.from_numpy(rng.normal(size=(50, 5)))
    logits = head(features).detach()
    y = torch.from_numpy(rng.integers(0, 4, 50))
    if link == "sigmoid":
        y = torch.nn.functional.one_hot(y, 4)
    scores = scores_from_logits(logits.numpy(), link=link)
    if link == "sigmoid":
        p = np.where(y.numpy() == 1, scores, 1 - scores)
        expected = -np.log(p).mean()
    else:
        np.testing.assert_allclose(scores.sum(1), 1.0)
        expected = -np.log(scores[np.arange(50), y.numpy()]).mean()
    assert float(loss_of(link, logits, y)) == pytest.approx(expected, rel=1e-9)


def test_ordinal_decision_is_the_median_grade() -> None:
    # Cumulative .30, .55: one half is reached in grade 1 although grade 2 has the highest score.
    assert decide(np.array([[0.30, 0.25, 0.45]]), task=GRADES).tolist() == [1]


def test_threshold_applies_to_the_sum_of_positive_classes() -> None:
    scores = np.array([[0.6, 0.15, 0.25], [0.7, 0.2, 0.1]])
    # .40 reaches the threshold and grade 2 is the likelier positive; .30 does not.
    assert decide(scores, task=GRADES, threshold=0.4).tolist() == [2, 0]


def test_score_equal_to_the_threshold_is_called() -> None:
    assert decide(np.array([[0.75, 0.25]]), task=YES_NO, threshold=0.25).tolist() == [1]


def test_higher_temperature_softens_and_keeps_the_order() -> None:
    logits = np.array([[2.0, 0.0, -1.0]])
    cold, hot = (scores_from_logits(logits, link="softmax", temperature=t)[0] for t in (1.0, 3.0))
    assert hot[0] < cold[0]
    assert np.argsort(hot).tolist() == np.argsort(cold).tolist()


def test_cumulative_loss_stays_finite_far_from_the_truth() -> None:
    logits = torch.tensor([[80.0, 79.9999999]], dtype=torch.float64, requires_grad=True)
    loss = loss_of("cumulative", logits, torch.tensor([0]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_multilabel_labels_become_flags() -> None:
    task = Task(name="m", kind="multilabel", classes=("a", "b", "c"))
    assert encode(["a|c", "", "b"], task).tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]


def test_plain_classes_can_be_asked_of_an_ordinal_task() -> None:
    assert link_of(GRADES) == "cumulative"
    assert link_of(GRADES, "multiclass") == "softmax"
    assert link_of(GRADES, "regression") == "regression"


def test_a_number_of_unordered_classes_is_refused() -> None:
    with pytest.raises(ConfigError, match="in no order"):
        link_of(YES_NO, "regression")


def test_cuts_decide_for_each_class_as_often_as_the_labels_do() -> None:
    rng = np.random.default_rng(0)
    scores = rng.dirichlet([12.0, 2.0, 1.0], 200)
    y = np.repeat([0, 1, 2], [150, 30, 20])
    task = replace(GRADES, cuts=cuts_by_frequency(scores, y, n_classes=3))
    assert np.bincount(decide(scores, task=task)).tolist() == [150, 30, 20]
    # The median names hardly any of the last two.
    assert np.bincount(decide(scores, task=GRADES), minlength=3)[1:].sum() < 10


def test_a_class_without_labels_is_never_decided() -> None:
    scores = np.array([[0.9, 0.1, 0.0], [0.5, 0.3, 0.2], [0.0, 0.0, 1.0]])
    cuts = cuts_by_frequency(scores, np.array([0, 0, 1]), n_classes=3)
    assert decide(scores, task=replace(GRADES, cuts=cuts)).tolist() == [0, 0, 1]


def test_an_operating_point_overrules_the_cuts() -> None:
    scores = np.array([[0.6, 0.15, 0.25], [0.7, 0.2, 0.1]])
    task = replace(GRADES, cuts=(1.9, 1.95))
    assert decide(scores, task=task).tolist() == [0, 0]
    assert decide(scores, task=task, threshold=0.4).tolist() == [2, 0]
