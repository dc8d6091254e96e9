"""Vector scaling is kept where it helps on rows not fitted on, and nowhere else."""

import numpy as np
import pytest
import torch

from core.model.checkpoint import build_network
from core.statistics.calibration import VECTOR_SCALING_ROWS
from core.statistics.reliability import log_loss
from core.statistics.scores import scores_from_logits
from core.training.vector_scaling import choose_vector_scaling, fold_into_head
from tests.networks import DESCRIPTION


def rows(n: int, shift: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels drawn from right scores, logits moved away from them by class, groups of two."""
    rng = np.random.default_rng(seed)
    right = rng.normal(0, 2, (n, 3))
    scores = scores_from_logits(right, link="softmax")
    y = (rng.random(n)[:, None] > scores.cumsum(axis=1)).sum(axis=1)
    return right + shift, y, np.arange(n) // 2


def test_a_bias_of_one_class_is_mended_where_a_temperature_cannot() -> None:
    logits, y, groups = rows(2000, np.array([0.0, 0.0, 1.5]))
    found, facts = choose_vector_scaling(logits, y, groups)
    assert found is not None
    assert facts is not None
    assert facts["kept"]
    factor, shift = found
    # Only differences matter: the third class comes back down by 1.5.
    assert shift[2] - shift[:2].mean() == pytest.approx(-1.5, abs=0.25)
    assert factor == pytest.approx(np.ones(3), abs=0.15)
    new, truth, _ = rows(2000, np.array([0.0, 0.0, 1.5]), seed=1)
    before = log_loss(truth, scores_from_logits(new, link="softmax"))
    after = log_loss(truth, scores_from_logits(new * factor + shift, link="softmax"))
    assert after < before - 0.1


def test_right_scores_are_left_alone_and_few_rows_are_not_tried() -> None:
    found, facts = choose_vector_scaling(*rows(1500, np.zeros(3)))
    assert found is None
    assert facts is not None
    assert not facts["kept"]
    assert choose_vector_scaling(*rows(VECTOR_SCALING_ROWS, np.full(3, 1.0))) == (None, None)


def test_the_last_layer_gives_the_scaled_logits() -> None:
    network = build_network({**DESCRIPTION, "pool": "last"}, n_classes=3).eval()
    pixels = torch.randint(0, 255, (4, 3, 64, 64), dtype=torch.uint8)
    factor, shift = np.array([1.5, 0.5, 1.0]), np.array([0.1, -0.3, 0.2])
    with torch.no_grad():
        before = network(pixels).numpy()
        fold_into_head(network, factor, shift)
        after = network(pixels).numpy()
    np.testing.assert_allclose(after, before * factor + shift, atol=1e-5)
