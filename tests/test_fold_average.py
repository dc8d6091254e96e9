"""The average of the networks of a cross-validation is calibrated, and not only single ones."""

import numpy as np
import pytest

from core.statistics.calibration import fit_temperature
from core.training.fold_average import LEAST_ROWS, shrinkage_of_average

MEMBERS = 5


def networks(rng: np.random.Generator, n: int, own: float) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N,) and the logits (M, N, 2) of networks with noise of their own."""
    truth = 1.5 * rng.standard_normal(n)
    y = (rng.random(n) < 1 / (1 + np.exp(-truth))).astype(int)
    # Too extreme by a factor of two, as trained networks are.
    z = 2 * (truth + own * rng.standard_normal((MEMBERS, n)))
    return y, np.stack([np.zeros_like(z), z], axis=2)


@pytest.mark.parametrize("own", [0.0, 1.0, 2.0])
def test_the_temperature_of_the_average_holds_on_new_cases(own: float) -> None:
    away = {"single": [], "average": []}
    for seed in range(8):
        rng = np.random.default_rng(seed)
        y, logits = networks(rng, 600, own)
        fold = np.arange(600) % MEMBERS
        for m in range(MEMBERS):
            # Seen in training: neither its fold nor its validation rows.
            logits[m, (fold != m) & (rng.random(600) > 0.15)] = np.nan
        one = fit_temperature(logits[fold, np.arange(600)], y)
        factor, rows = shrinkage_of_average(list(logits), y, link="softmax")
        assert rows > LEAST_ROWS
        new_y, new = networks(rng, 20_000, own)
        best = fit_temperature(new.mean(axis=0), new_y)
        away["single"].append(np.log(one / best))
        away["average"].append(np.log(one * factor / best))
    means = {name: np.mean(found) for name, found in away.items()}
    assert abs(means["average"]) < 0.12
    if own:
        assert means["single"] > 0.25


def test_few_rows_that_two_left_out_leave_the_temperature_as_it_is() -> None:
    y, logits = networks(np.random.default_rng(0), 100, 1.0)
    fold = np.arange(100) % MEMBERS
    for m in range(MEMBERS):
        logits[m, fold != m] = np.nan
    logits[1, :20] = 0.0
    assert shrinkage_of_average(list(logits), y, link="softmax")[0] == 1.0
