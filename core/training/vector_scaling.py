"""Vector scaling: a factor and a shift for each class, where validation data allow.

One temperature softens or sharpens all classes alike. With enough validation rows a
factor and a shift of each class may do better; whether they do is judged on rows they
were not fitted on, and only then are they kept. They are folded into the last layer,
so that a run, its export and its predictions know nothing of them; what was found is
told in ``run.json``.

Source: Guo et al. 2017, arXiv:1706.04599.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import MetricError
from core.statistics.calibration import VECTOR_SCALING_ROWS, fit_temperature, fit_vector_scaling
from core.statistics.intervals import number_groups
from core.statistics.reliability import log_loss
from core.statistics.scores import scores_from_logits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from core.model.network import Network
    from core.training.fine_tuning import Data
    from core.training.one_network import Trained

__all__ = ["choose_vector_scaling", "fold_into_head", "with_vector_scaling"]

FOLDS = 5
# Gain in log-loss, per case, from which twice as many parameters as classes are worth it.
LEAST_GAIN = 0.002


def with_vector_scaling(
    members: Sequence[Trained], data: Data, parts: Sequence[Mapping[str, NDArray[np.int_]]]
) -> tuple[list[Trained], dict[str, Any] | None]:
    """The members, their last layers rescaled where validation (or out-of-fold) rows say so.

    Args:
        members: trained networks with the logits of the rows they did not train on.
        data: labels and groups.
        parts: rows of train, val, held and fold for each member.

    Returns:
        the members, and what was found for ``run.json``; None where nothing was tried.
    """
    network = members[0].network
    if network.head.link != "softmax" or network.n_classes < 3:
        return list(members), None
    key = "val" if len(members) == 1 else "fold"
    rows = np.concatenate([part[key] for part in parts])
    logits = np.concatenate(
        [member.logits[part[key]] for member, part in zip(members, parts, strict=True)]
    )
    found, facts = choose_vector_scaling(logits, data.y[rows], data.groups[rows])
    if found is None:
        return list(members), facts
    factor, shift = found
    changed = []
    for member in members:
        fold_into_head(member.network, factor, shift)
        changed.append(replace(member, logits=member.logits * factor + shift))
    return changed, facts


def choose_vector_scaling(
    logits: NDArray[np.float64], y: NDArray[np.int_], groups: NDArray[Any]
) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]] | None, dict[str, Any] | None]:
    """A factor and a shift for each class, if they beat one temperature on groups not fitted on.

    Args:
        logits: (N, K) of validation rows.
        y: (N,) class indices.
        groups: (N,) groups, which stay whole.

    Returns:
        factor and shift (K,) or None; and ``n``, ``kept``, ``log_loss_temperature`` and
        ``log_loss_vector`` over the rows left out in turn, or None where the rows are too few.
    """
    if len(y) < VECTOR_SCALING_ROWS * FOLDS / (FOLDS - 1):
        return None, None
    index, n_groups = number_groups(groups, len(y))
    if n_groups < FOLDS:
        return None, None
    fold = np.random.default_rng(0).permutation(np.arange(n_groups) % FOLDS)[index]
    temperature, vector = np.empty_like(logits), np.empty_like(logits)
    try:
        for number in range(FOLDS):
            use, fit = fold == number, fold != number
            heat = fit_temperature(logits[fit], y[fit])
            factor, shift = fit_vector_scaling(logits[fit], y[fit])
            temperature[use], vector[use] = logits[use] / heat, logits[use] * factor + shift
        whole = fit_vector_scaling(logits, y)
    except MetricError:
        return None, None
    losses = [log_loss(y, scores_from_logits(z, link="softmax")) for z in (temperature, vector)]
    kept = losses[1] < losses[0] - LEAST_GAIN
    facts = {
        "n": len(y),
        "kept": bool(kept),
        "log_loss_temperature": float(losses[0]),
        "log_loss_vector": float(losses[1]),
    }
    return (whole if kept else None), facts


def fold_into_head(
    network: Network, factor: NDArray[np.float64], shift: NDArray[np.float64]
) -> None:
    """Make the last layer give ``factor * logits + shift``."""
    import torch  # noqa: PLC0415  (numbers alone need none)

    head = network.head
    with torch.no_grad():
        scale = torch.from_numpy(factor).to(head.weight)
        head.weight.mul_(scale[:, None])
        head.bias.mul_(scale).add_(torch.from_numpy(shift).to(head.bias))
