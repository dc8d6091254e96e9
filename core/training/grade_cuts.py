"""Cuts that decide between grades by their frequencies: of a run, and of each fold.

The cuts of a run come from validation or from all out-of-fold rows. Those that judge the rows
of one fold come from the other folds alone, as its temperature does: labels of a fold change
nothing of how its own rows are decided.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from core.app import Cases, Metric, Task
from core.errors import MetricError
from core.statistics.scores import cuts_by_frequency, decide, scores_from_logits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["chosen_cuts", "with_fold_cuts"]


def chosen_cuts(
    scores: NDArray[np.float64],
    y: NDArray[np.int_],
    *,
    task: Task,
    headline: Metric | None = None,
    known: NDArray[np.int_] | None = None,
) -> tuple[float, ...]:
    """The cuts of an ordinal task from these cases; empty where the median is chosen.

    Args:
        scores: (N, K) of validation cases, or of out-of-fold ones.
        y: (N,) their class indices.
        task: with its class order.
        headline: the metric by which cuts or the median are chosen: cuts serve an agreement
            that rewards rare grades and may cost accuracy. None always takes the cuts.
        known: (M,) labels whose frequencies are to be met, where there are more.
    """
    frequent = y if known is None else known
    cuts = cuts_by_frequency(scores, frequent, n_classes=len(task.classes))
    if headline is None:
        return cuts
    weight = np.ones(len(y))
    rules = (replace(task, cuts=()), replace(task, cuts=cuts))
    try:
        by_median, by_cuts = (
            headline.compute(Cases(y, scores, decide(scores, task=rule), weight)) for rule in rules
        )
    except MetricError:
        return ()
    is_better = by_cuts > by_median if headline.higher_is_better else by_cuts < by_median
    return cuts if is_better else ()


def with_fold_cuts(
    task: Task,
    logits: NDArray[np.float64],
    y: NDArray[np.int_],
    *,
    folds: Mapping[str, NDArray[np.int_]],
    heat: NDArray[np.float64],
    link: str,
    headline: Metric | None = None,
) -> Task:
    """The task with the cuts of each fold, which the rows of the other folds give.

    Rows of other folds are scaled by the temperature of the fold that they serve: their own
    were fitted with its labels.

    Args:
        task: with its class order and its own cuts.
        logits: (N, L) out of fold.
        y: (N,) class indices.
        folds: the rows of each fold, by its name.
        heat: (N,) the temperature of each row, one for each fold.
        link: see ``core.statistics.scores.link_of``.
        headline: see ``chosen_cuts``.
    """
    everything = np.concatenate(list(folds.values()))
    found = {}
    for name, rows in folds.items():
        others = np.setdiff1d(everything, rows)
        scores = scores_from_logits(logits[others], link=link, temperature=float(heat[rows[0]]))
        found[name] = chosen_cuts(scores, y[others], task=task, headline=headline)
    return replace(task, fold_cuts=found)
