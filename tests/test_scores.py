from dataclasses import replace

import numpy as np
import pytest
import torch

from core.app import Task
from core.errors import ConfigError
from core.model.heads import Head, loss_of
from core.statistics.scores import (
    cuts_by_frequency,
    decide,
    encode,
    link_of,
    rule_words,
    scores_from_logits,
)

GRADES = Task(name="g", kind="ordinal", classes=("0", "1", "2"), positive=("1", "2"))
YES_NO = Task(name="y", kind="binary", classes=("no", "yes"), positive=("yes",))
SIGNS = Task(name="m", kind="multilabel", classes=("a", "b", "c"))


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


def test_the_cumulative_link_gives_the_classes_what_lies_between_their_thresholds() -> None:
    # P(y > 0) = 3/4 and P(y > 1) = 1/4.
    logits = np.array([[np.log(3.0), -np.log(3.0)]])
    np.testing.assert_allclose(scores_from_logits(logits, link="cumulative"), [[0.25, 0.5, 0.25]])
    # Thresholds in the wrong order by rounding.
    assert scores_from_logits(np.array([[0.0, 1e-9]]), link="cumulative").min() == 0.0


def test_logits_of_any_size_give_scores() -> None:
    logits = np.array([[2000.0, 0.0], [-1000.0, -1001.0]])
    odds = np.e / (1 + np.e)
    expected = [[1.0, 0.0], [odds, 1 - odds]]
    np.testing.assert_allclose(scores_from_logits(logits, link="softmax"), expected)
    expected = [[1.0, 0.5], [0.0, 0.0]]
    np.testing.assert_allclose(scores_from_logits(logits, link="sigmoid"), expected)


@pytest.mark.parametrize("link", ["softmax", "cumulative", "sigmoid"])
def test_logits_of_single_precision_are_scored_in_double(link: str) -> None:
    logits = np.array([[1.3, 0.2, -0.7]], dtype=np.float32)
    scores = scores_from_logits(logits, link=link, temperature=1.7)
    expected = scores_from_logits(logits.astype(np.float64), link=link, temperature=1.7)
    assert scores.dtype == np.float64
    assert scores.tolist() == expected.tolist()


def test_the_class_with_the_highest_score_is_decided() -> None:
    scores = np.array([[0.2, 0.3, 0.5], [0.1, 0.8, 0.1], [0.4, 0.4, 0.2]])
    task = Task(name="c", kind="multiclass", classes=("a", "b", "c"))
    assert decide(scores, task=task).tolist() == [2, 1, 0]


def test_each_label_is_decided_at_one_half_or_at_the_threshold_of_its_row() -> None:
    scores = np.array([[0.5, 0.4, 0.9], [0.2, 0.49, 0.3]])
    found = decide(scores, task=SIGNS)
    assert found.tolist() == [[1, 0, 1], [0, 0, 0]]
    assert found.dtype == np.int_
    assert decide(scores, task=SIGNS, threshold=0.4).tolist() == [[1, 1, 1], [0, 1, 0]]
    by_row = decide(scores, task=SIGNS, threshold=np.array([0.6, 0.3]))
    assert by_row.tolist() == [[0, 0, 1], [0, 1, 1]]


def test_half_of_the_score_below_a_grade_is_enough_for_it() -> None:
    # The last sum is one half but for rounding; scores that sum to less have a grade, too.
    rows = np.array([[0.5, 0.0, 0.5], [0.1, 0.4 - 1e-14, 0.5 + 1e-14], [0.1, 0.1, 0.1]])
    assert decide(rows, task=GRADES).tolist() == [0, 1, 2]


def test_an_expected_grade_on_a_cut_is_above_it() -> None:
    task = replace(GRADES, cuts=(0.5, 1.5))
    assert decide(np.array([[0.0, 0.5, 0.5], [0.5, 0.5, 0.0]]), task=task).tolist() == [2, 1]


def test_a_row_is_decided_by_the_cuts_of_its_fold() -> None:
    scores = np.tile([0.6, 0.3, 0.1], (4, 1))  # The expected grade is one half.
    fold = np.array(["0", "1", "2", ""])
    by_fold = {"0": (0.1, 0.2), "1": (0.4, 0.9), "2": (), "3": (0.1, 0.2)}
    task = replace(GRADES, cuts=(0.8, 0.9), fold_cuts=by_fold)
    assert decide(scores, task=task, fold=fold).tolist() == [2, 1, 0, 0]
    assert decide(scores, task=task).tolist() == [0, 0, 0, 0]


def test_below_the_threshold_the_best_of_the_other_classes_is_decided() -> None:
    scores = np.array([[0.3, 0.4, 0.3], [0.1, 0.2, 0.7], [0.8, 0.1, 0.1]])
    # Grade 2 is the likeliest of the second row, but the threshold is not reached.
    assert decide(scores, task=GRADES, threshold=0.95).tolist() == [0, 0, 0]
    assert decide(scores, task=GRADES, threshold=0.2).tolist() == [1, 2, 1]
    tied = np.array([[0.0, 0.6, 0.4]])
    assert decide(tied, task=replace(GRADES, positive=("2",)), threshold=0.5).tolist() == [1]


def test_a_sum_that_is_the_threshold_but_for_rounding_is_called() -> None:
    assert 0.1 + 0.7 < 0.8
    assert decide(np.array([[0.2, 0.1, 0.7]]), task=GRADES, threshold=0.8).tolist() == [2]


@pytest.mark.parametrize(
    ("task", "word"),
    [
        (SIGNS, "each label"),
        (replace(GRADES, cuts=(0.5, 1.5)), "cuts"),
        (GRADES, "median"),
        (YES_NO, "highest"),
    ],
)
def test_the_rule_of_a_decision_is_told(task: Task, word: str) -> None:
    assert word in rule_words(task)


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
    assert encode(["a|c", "", "b"], SIGNS).tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]


def test_labels_become_whole_numbers_also_where_there_are_none() -> None:
    assert encode(["yes", "no"], YES_NO).tolist() == [1, 0]
    for labels in ([], ["a"]):
        assert encode(labels, SIGNS).dtype == np.int_
    assert encode([], YES_NO).dtype == np.int_


def test_each_kind_of_task_has_its_link() -> None:
    assert link_of(YES_NO) == link_of(YES_NO, "multiclass") == "softmax"
    assert link_of(SIGNS) == "sigmoid"


def test_plain_classes_are_refused_where_an_image_has_several_labels() -> None:
    with pytest.raises(ConfigError, match="--head auto"):
        link_of(SIGNS, "multiclass")


def test_plain_classes_can_be_asked_of_an_ordinal_task() -> None:
    assert link_of(GRADES) == "cumulative"
    assert link_of(GRADES, "multiclass") == "softmax"
    assert link_of(GRADES, "regression") == "regression"


def test_a_number_of_unordered_classes_is_refused() -> None:
    for head in ("regression", "ordinal"):
        with pytest.raises(ConfigError, match="in no order"):
            link_of(YES_NO, head)


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
    assert len(cuts) == 2
    assert decide(scores, task=replace(GRADES, cuts=cuts)).tolist() == [0, 0, 1]
    # The first class, too: 0.1 is the least expected grade.
    cuts = cuts_by_frequency(scores, np.array([1, 1, 2]), n_classes=3)
    assert decide(scores, task=replace(GRADES, cuts=cuts)).tolist() == [1, 1, 2]


def test_an_operating_point_overrules_the_cuts() -> None:
    scores = np.array([[0.6, 0.15, 0.25], [0.7, 0.2, 0.1]])
    task = replace(GRADES, cuts=(1.9, 1.95))
    assert decide(scores, task=task).tolist() == [0, 0]
    assert decide(scores, task=task, threshold=0.4).tolist() == [2, 0]
