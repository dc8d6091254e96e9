"""The temperature of the average of the networks of a cross-validation.

Out-of-fold rows are scored by one network each, which errs more than the average that ships:
its temperature makes the average too unsure. The average of all cannot be judged on these
rows, for all networks but one were trained on them. Each network has validation rows of its
own, though, so many rows were left out by two networks or more: there, single networks and
averages of two both get their temperature. What networks do not have in common goes down
with one over their number, which leads from one and two to all.

Measured by simulation in ``bench/fold_average.py``.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from core.statistics.calibration import fit_temperature

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["LEAST_ROWS", "shrinkage_of_average"]

# With fewer rows that two networks left out, the step from two to all is noise.
LEAST_ROWS = 50


def shrinkage_of_average(
    logits: Sequence[NDArray[np.float64]], y: NDArray[np.int_], *, link: str
) -> tuple[float, int]:
    """The temperature of the average of M networks over that of single ones.

    Args:
        logits: M arrays (N, L), NaN in the rows that a network was trained on.
        y: (N,) class indices, or (N, K) zeros and ones for the link ``sigmoid``.
        link: see ``core.statistics.scores.link_of``.

    Returns:
        a factor in [1 / M, 1], and the number of rows it rests on; 1 where these are fewer
        than ``LEAST_ROWS``.

    >>> few = [np.zeros((3, 2)), np.zeros((3, 2))]
    >>> shrinkage_of_average(few, np.array([0, 1, 0]), link="softmax")
    (1.0, 3)
    """
    every = np.stack(logits)
    seen_by = np.asarray(np.isfinite(every).all(axis=2))
    rows = np.flatnonzero(seen_by.sum(axis=0) >= 2)
    if len(rows) < LEAST_ROWS:
        return 1.0, len(rows)
    m = len(every)
    found = []
    for size in (1, 2):
        z, place, weight = [], [], []
        for some in combinations(range(m), size):
            whole = rows[seen_by[list(some)][:, rows].all(axis=0)]
            z.append(every[list(some)][:, whole].mean(axis=0))
            n = seen_by[:, whole].sum(axis=0)
            # Every row counts once, by however many networks it was left out.
            weight.append(1 / (n if size == 1 else n * (n - 1) / 2))
            place.append(whole)
        heat = fit_temperature(
            np.concatenate(z), y[np.concatenate(place)], link=link, weight=np.concatenate(weight)
        )
        found.append(heat)
    one, two = found
    return float(np.clip((one - 2 * (one - two) * (1 - 1 / m)) / one, 1 / m, 1.0)), len(rows)
