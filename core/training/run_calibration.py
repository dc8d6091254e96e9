"""Temperatures of a run and cuts between its grades, from validation or out-of-fold rows alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from core.statistics.calibration import fit_temperature
from core.statistics.scores import scores_from_logits
from core.training.fold_average import shrinkage_of_average
from core.training.grade_cuts import chosen_cuts, with_fold_cuts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.app import App, Task
    from core.base.settings import TrainConfig
    from core.training.fine_tuning import Data
    from core.training.one_network import Trained

__all__ = ["calibrate", "with_cuts"]


def with_cuts(
    app: App,
    task: Task,
    config: TrainConfig,
    data: Data,
    parts: Sequence[Mapping[str, np.ndarray]],
    logits: np.ndarray,
    heat: np.ndarray,
    link: str,
) -> Task:
    """The task with the cuts that decide by frequencies, where that was asked for.

    Scores are those of validation, or out of fold; the frequencies are of all labels
    that are not held out, of which there are more. ``validation`` takes the cuts where the
    task's headline is better with them than with the median. The rows of each fold are
    judged by what the other folds alone give.
    """
    if config.decide == "median" or task.kind != "ordinal":
        return task
    scores = scores_from_logits(logits / heat[:, None], link=link)
    folds = [part["fold" if len(parts) > 1 else "val"] for part in parts]
    judged = np.concatenate(folds)
    known = np.concatenate([parts[0]["train"], judged]) if len(parts) == 1 else judged
    headline = None if config.decide == "frequencies" else app.metrics_for(task)[0]
    cuts = chosen_cuts(
        scores[judged], data.y[judged], task=task, headline=headline, known=data.y[known]
    )
    task = replace(task, cuts=cuts)
    if len(parts) == 1:
        return task
    named = {str(number): rows for number, rows in enumerate(folds)}
    return with_fold_cuts(
        task, logits, data.y, folds=named, heat=heat, link=link, headline=headline
    )


def calibrate(
    data: Data,
    parts: Sequence[Mapping[str, np.ndarray]],
    members: Sequence[Trained],
    link: str,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
    """Logits, distances, probe logits and temperature of each row, and that of the run.

    With one member the temperature comes from validation. With folds it comes
    from the out-of-fold logits; a row's own temperature then from the other
    folds only, so that no row helps to judge itself. The run's own is that of the average
    of the members, which is what predicts.
    """
    n = len(data.y)
    logits = np.full((n, members[0].logits.shape[1]), np.nan)
    probe, distance, heat = logits.copy(), np.full(n, np.nan), np.ones(n)
    if len(members) == 1:
        val = parts[0]["val"]
        temperature = fit_temperature(members[0].logits[val], data.y[val], link=link)
        heat[:] = temperature
        one = members[0]
        return one.logits, one.distance, one.probe_logits, heat, {"temperature": temperature}
    folds = [part["fold"] for part in parts]
    for rows, member in zip(folds, members, strict=True):
        logits[rows], distance[rows] = member.logits[rows], member.distance[rows]
        probe[rows] = member.probe_logits[rows]
    everything = np.concatenate(folds)
    # Rows of a given test split were seen by no member: the ensemble scores them.
    shared = np.setdiff1d(parts[0]["held"], everything)
    logits[shared] = np.mean([m.logits[shared] for m in members], axis=0)
    probe[shared] = np.mean([m.probe_logits[shared] for m in members], axis=0)
    distance[shared] = np.mean([m.distance[shared] for m in members], axis=0)
    for rows in folds:
        others = np.setdiff1d(everything, rows)
        heat[rows] = fit_temperature(logits[others], data.y[others], link=link)
    single = fit_temperature(logits[everything], data.y[everything], link=link)
    own = [_only(member.logits, everything) for member in members]
    factor, n = shrinkage_of_average(own, data.y, link=link)
    heat[shared] = single * factor
    average = {
        "temperature": single * factor,
        "temperature_of_one": single,
        "n_shared": n,
        "fold_temperatures": {str(i): float(heat[rows[0]]) for i, rows in enumerate(folds)},
    }
    return logits, distance, probe, heat, average


def _only(logits: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The logits of these rows; NaN in all others, which are held out."""
    found = np.full_like(logits, np.nan)
    found[rows] = logits[rows]
    return found
