"""Decisions of two runs on the same cases, like held against like.

A predicted class is right where it is the label; a decision at a threshold is right where its
side, positive or negative, is that of the label. Both are counted, each in a table of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from core.app import Cases, Task
from core.base.tables import NEGATIVE, POSITIVE
from core.evaluation.stored_thresholds import counted_at, thresholds_of
from core.statistics.scores import rule_words
from core.statistics.weighted import positive_part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from core.evaluation.cases import Level

__all__ = ["PairedCases", "agreement_at_threshold", "agreement_of", "point_words"]

# Scores that moved by no more are near to each other: a flip between them is one of the threshold.
NEAR = 0.05
SIDES = Task(name="sides", kind="binary", classes=(NEGATIVE, POSITIVE))


@dataclass(frozen=True)
class PairedCases:
    """The same cases as two runs have them.

    Attributes:
        first, second: scores and predicted classes of each, in one order.
        called: (N,) of each, whether a threshold in use calls a case positive; None where one
            of the runs has no threshold.
        same_threshold: whether the thresholds in use are the same.
    """

    first: Level
    second: Level
    called: tuple[NDArray[np.bool_], NDArray[np.bool_]] | None = None
    same_threshold: bool = True

    @property
    def sides(self) -> tuple[Level, Level] | None:
        """The cases as positive or negative, decided at the threshold in use; None without one."""
        if self.called is None:
            return None
        found = []
        for level, called in zip((self.first, self.second), self.called, strict=True):
            truth, score, _ = positive_part(level.cases, level.task.positive_index)
            cases = Cases(
                y=truth.astype(np.int_),
                scores=np.column_stack([1 - score, score]),
                decided=called.astype(np.int_),
                weight=level.cases.weight,
                positive=(1,),
            )
            found.append(replace(level, cases=cases, task=SIDES))
        return found[0], found[1]


def agreement_of(pair: PairedCases) -> dict[str, Any]:
    """How often both, one or neither take a case for its class, and how often for the same one.

    Returns:
        ``of``: what is held against what; ``n``, ``both_right``, ``first_only``,
        ``second_only``, ``both_wrong``, ``same_decision``, ``flipped``; and ``flipped_near``,
        the flips where no score moved by more than ``NEAR``: they change with the precision or
        the machine, and say little about either run. None where the thresholds differ.
    """
    two_way = pair.first.task.is_two_way and pair.called is not None
    of = "decision at the threshold in use" if two_way else "predicted class"
    near = pair.same_threshold or not two_way
    return {"of": f"{of} against label", **_counts(pair.first, pair.second, near=near)}


def agreement_at_threshold(pair: PairedCases) -> dict[str, Any] | None:
    """The same of positive and negative, at the threshold in use; None where that is no other."""
    sides = pair.sides
    if sides is None or pair.first.task.is_two_way:
        return None
    of = "decision (positive or negative) against whether the label is a positive class"
    return {"of": of, **_counts(*sides, near=pair.same_threshold)}


def _counts(first: Level, second: Level, *, near: bool) -> dict[str, Any]:
    """The four cells, and the flips."""
    truth = first.cases.y.reshape(first.n, -1)
    a, b = (level.cases.decided.reshape(level.n, -1) for level in (first, second))
    one, other = (a == truth).all(axis=1), (b == truth).all(axis=1)
    flipped = (a != b).any(axis=1)
    moved = np.abs(first.cases.scores - second.cases.scores).max(axis=1, initial=0.0)
    return {
        "n": first.n,
        "both_right": int((one & other).sum()),
        "first_only": int((one & ~other).sum()),
        "second_only": int((~one & other).sum()),
        "both_wrong": int((~one & ~other).sum()),
        "same_decision": int((~flipped).sum()),
        "flipped": int(flipped.sum()),
        "flipped_near": int((flipped & (moved <= NEAR)).sum()) if near else None,
    }


def point_words(run: Mapping[str, Any], task: Task, split: str) -> str:
    """By which rule a run decides cases of a split: its threshold, and where that was chosen."""
    point = run.get("operating_point")
    if point is None or point.get("threshold") is None:
        return rule_words(task).removesuffix(" is decided").removesuffix(",")
    at = thresholds_of(point, split)
    words = f"{point['name']}, threshold {float(point['threshold']):.4g}"
    if isinstance(at, dict):
        folds = [value for name, value in at.items() if name] or [at[""]]
        words += f" ({min(folds):.4g} to {max(folds):.4g} by fold)"
    if point.get("split"):
        words += f", chosen on {point['split']}"
        if point.get("n") and point.get("unit"):
            words += f", {point['n']:,} by {point['unit']}"
    return f"{words}; counted {counted_at(point, split)}"
