"""Which images make a batch, and how hard their labels are."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from core.app import Task
from core.base.settings import TrainConfig
from core.data.loader import StepSampler
from core.model.classifier import Classifier
from core.training.fine_tuning import _one_in_each

TASK = Task(name="cancer", kind="binary", classes=("no", "yes"))


def batches(n: int, n_positive: int, batch: int) -> list[list[int]]:
    rows = np.arange(n)
    spread, _ = _one_in_each((rows < n_positive).astype(int), TASK, "softmax", batch)
    sampler = StepSampler(
        rows, batch=batch, seed=0, weights=None, size_of=lambda _: (8, 8), step=lambda: 0,
        spread=spread,
    )  # fmt: skip
    return [[draw.row for draw in one] for one in sampler]


@pytest.mark.parametrize("n_positive", [1, 4, 12, 30])
def test_every_batch_holds_a_positive(n_positive: int) -> None:
    drawn = batches(100, n_positive, 8)
    assert [len(one) for one in drawn] == [8] * 12
    assert all(any(row < n_positive for row in one) for one in drawn)
    negatives = [row for one in drawn for row in one if row >= n_positive]
    assert len(set(negatives)) == len(negatives)


def test_nothing_is_seen_twice_where_positives_suffice() -> None:
    seen = [row for one in batches(96, 20, 8) for row in one]
    assert sorted(seen) == list(range(96))


def test_repeated_positives_are_corrected_for() -> None:
    y = (np.arange(100) < 4).astype(int)
    # One of 8 is drawn positive where 4 of 100 are.
    _, shift = _one_in_each(y, TASK, "softmax", 8)
    assert shift is not None
    np.testing.assert_allclose(shift, np.log([0.875 / 0.96, 0.125 / 0.04]), rtol=1e-5)
    assert _one_in_each(y, TASK, "cumulative", 8) == (None, None)
    spread, shift = _one_in_each((np.arange(100) < 50).astype(int), TASK, "softmax", 8)
    assert spread is not None
    assert shift is None


def test_soft_positives_lower_the_label_of_positives_only() -> None:
    logits, y = torch.tensor([[0.0, 2.0], [1.0, 0.0]]), torch.tensor([1, 0])
    network = SimpleNamespace(head=SimpleNamespace(link="softmax"))
    config = TrainConfig(soft_positive=0.1)
    found = Classifier._loss(SimpleNamespace(network=network, config=config), logits, y)
    log_p = logits.log_softmax(1)
    # .9 of the loss of yes and .1 of that of no; the negative is left alone.
    expected = (-0.9 * log_p[0, 1] - 0.1 * log_p[0, 0] - log_p[1, 0]) / 2
    torch.testing.assert_close(found, expected)
