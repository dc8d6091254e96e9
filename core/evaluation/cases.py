"""The labelled and scored cases of one level (images, or one kind of unit) and their resamples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from core.evaluation.labelled_rows import BARE
from core.statistics.resampling import resample_groups

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from core.app import Cases, Task
    from core.statistics.resampling import Draws, Resampling

__all__ = ["Level", "part_of"]


@dataclass(frozen=True)
class Level:
    """The cases of one level.

    Attributes:
        unit: ``image`` or the name of a unit.
        cases: scored and labelled, weights all one.
        groups: (N,) the group of each case, as text, unique where it has none.
        plan: how groups are drawn.
        task: with its class order.
        confidence: level of the intervals.
    """

    unit: str
    cases: Cases
    groups: NDArray[np.str_]
    plan: Resampling
    task: Task
    confidence: float

    @classmethod
    def of(
        cls,
        unit: str,
        cases: Cases,
        groups: NDArray[np.str_],
        *,
        task: Task,
        draws: Draws,
    ) -> Level:
        """A level with its plan.

        Args:
            unit: of the cases.
            cases: scored and labelled.
            groups: (N,) of each case.
            task: with its class order.
            draws: of the groups. Where no case has one, each counts by itself, and is called
                what it is.
        """
        is_bare = np.char.startswith(groups.astype(str), BARE).all()
        plan = resample_groups(
            groups,
            outcome=_strata_of(cases) if draws.within_classes else None,
            resamples=draws.resamples,
            seed=draws.seed,
            word=unit if is_bare else draws.word,
        )
        return cls(unit, cases, groups, plan, task, draws.level)

    @property
    def n(self) -> int:
        """Number of cases."""
        return len(self.groups)

    def groups_in(self, rows: NDArray[np.bool_]) -> int:
        """Groups that hold any of these cases."""
        return len(np.unique(self.plan.index[rows]))

    def holds(self, index: int) -> NDArray[np.bool_]:
        """(N,) whether a case is of a class."""
        y = self.cases.y
        return np.asarray(y[:, index] == 1 if y.ndim == 2 else y == index)

    def decided_for(self, index: int) -> NDArray[np.bool_]:
        """(N,) whether a case was decided for a class."""
        d = self.cases.decided
        return np.asarray(d[:, index] == 1 if d.ndim == 2 else d == index)


def _strata_of(cases: Cases) -> NDArray[np.int_]:
    """(N,) the class of each case; of several labels the rarest stands for all."""
    if cases.y.ndim == 1:
        return cases.y
    # Label sets are too many for strata.
    support = cases.y.sum(axis=0)
    rare = np.argsort(np.argsort(support, kind="stable"), kind="stable")
    held = np.where(cases.y > 0, rare[None, :], cases.y.shape[1])
    return np.asarray(held.min(axis=1))


def part_of(level: Level, inside: NDArray[np.bool_]) -> Level:
    """The level of some of its cases; its plan numbers the groups that are left."""
    cases = replace(
        level.cases,
        y=level.cases.y[inside],
        scores=level.cases.scores[inside],
        decided=level.cases.decided[inside],
        weight=level.cases.weight[inside],
    )
    held, index = np.unique(level.plan.index[inside], return_inverse=True)
    plan = replace(level.plan, index=index, stratum=level.plan.stratum[held])
    return replace(level, cases=cases, groups=level.groups[inside], plan=plan)
