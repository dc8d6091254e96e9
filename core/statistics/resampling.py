"""Cluster bootstrap: groups are drawn with replacement, and each row is weighted by their draws.

Images of one patient, leaf or field resemble each other, so the group is what
is drawn, never the image. A resample is a weight for each row (how often its
group was drawn); no row is ever copied, and every metric is a function of rows
and weights.

An interval is never invented: where too few groups, or too many resamples
without a value, or resamples that are all the same leave nothing to stand on, it is
withheld with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import MetricError
from core.statistics.intervals import Interval, check_level, number_groups, plural, student_quantile
from core.statistics.scales import AT_END, SCALES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "MAX_UNDEFINED",
    "MIN_GROUPS",
    "Draws",
    "Resampling",
    "bootstrap_interval",
    "few_groups",
    "jackknife",
    "outcome_strata",
    "percentile_interval",
    "resample_groups",
]

# Below this many groups a bootstrap interval says nothing: 4 groups have only 35 resamples.
MIN_GROUPS = 5
# Share of resamples without a value above which the rest would be a selected set.
MAX_UNDEFINED = 0.05
# Elements of one block of weights: 16 MB of float64.
BLOCK = 2_000_000
# Groups are left out one by one up to this many, beyond it in as many blocks of them.
MAX_LEFT_OUT = 400


@dataclass(frozen=True, kw_only=True)
class Draws:
    """How groups are drawn for the intervals of a page.

    Attributes:
        level: confidence level.
        resamples: of the bootstrap.
        seed: the same seed draws the same groups.
        word: what a group is called.
        within_classes: whether the design fixed how many cases of each class there are
            (case-control); groups are then drawn within strata of their rarest class.
    """

    level: float = 0.95
    resamples: int = 2000
    seed: int = 0
    word: str = "group"
    within_classes: bool = False


@dataclass(frozen=True)
class Resampling:
    """Which groups are drawn how often.

    Attributes:
        index: (N,) number of the group of each row.
        stratum: (G,) number of the stratum of each group; groups are drawn within it.
        resamples: how many.
        seed: the same seed draws the same groups.
        word: what a group is called.
    """

    index: NDArray[np.int_]
    stratum: NDArray[np.int_]
    resamples: int
    seed: int
    word: str = "group"

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return len(self.stratum)

    @property
    def is_independent(self) -> bool:
        """Whether every row is a group of its own."""
        return self.n_groups == len(self.index)

    @property
    def words(self) -> str:
        """In words: ``2,000 resamples of 439 patients``."""
        groups = plural(self.word, self.n_groups)
        return f"{self.resamples:,} resamples of {self.n_groups:,} {groups}"

    def weights(self) -> Iterator[NDArray[np.float64]]:
        """Blocks (b, N) of weights, together ``resamples`` rows; the same at every call."""
        members = [np.flatnonzero(self.stratum == s) for s in np.unique(self.stratum)]
        streams = np.random.default_rng(self.seed).spawn(len(members))
        step = max(1, BLOCK // max(1, len(self.index)))
        for start in range(0, self.resamples, step):
            rows = min(step, self.resamples - start)
            counts = np.empty((rows, self.n_groups))
            for stream, some in zip(streams, members, strict=True):
                size = len(some)
                drawn = stream.integers(0, size, (rows, size))
                drawn += np.arange(rows)[:, None] * size
                times = np.bincount(drawn.ravel(), minlength=rows * size)
                counts[:, some] = times.reshape(rows, size)
            yield np.ascontiguousarray(counts[:, self.index])

    def blocks(self) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
        """What the jackknife leaves out at once: one group, or of many groups a share.

        Returns:
            (G,) the block of each group, drawn at random within strata, and (U,) the
            stratum of each block; at most ``MAX_LEFT_OUT`` blocks.
        """
        if self.n_groups <= MAX_LEFT_OUT:
            return np.arange(self.n_groups), self.stratum
        block = np.empty(self.n_groups, dtype=np.int_)
        of_block: list[int] = []
        rng = np.random.default_rng(self.seed)
        for number in np.unique(self.stratum):
            members = np.flatnonzero(self.stratum == number)
            share = max(2, round(MAX_LEFT_OUT * len(members) / self.n_groups))
            n = min(len(members), share)
            block[rng.permutation(members)] = len(of_block) + np.arange(len(members)) % n
            of_block += [int(number)] * n
        return block, np.array(of_block)

    def without_each(self) -> Iterator[NDArray[np.float64]]:
        """Blocks (b, N) of weights, together one row per block of groups, which is left out."""
        of_group, of_block = self.blocks()
        of_row = of_group[self.index]
        step = max(1, BLOCK // max(1, len(self.index)))
        for start in range(0, len(of_block), step):
            left_out = np.arange(start, min(start + step, len(of_block)))
            yield (of_row[None, :] != left_out[:, None]).astype(np.float64)


def resample_groups(
    groups: ArrayLike | None,
    *,
    n: int | None = None,
    outcome: ArrayLike | None = None,
    resamples: int = 2000,
    seed: int = 0,
    word: str = "group",
) -> Resampling:
    """A plan of resamples: groups are drawn with replacement.

    Args:
        groups: (N,) the group of each row; None makes every row its own group.
        n: number of rows, needed only without groups.
        outcome: (N,) class of each row, where a design fixed how many cases of each class
            there are: groups are then drawn within strata of their rarest class. None draws
            from all groups alike, which a share of classes that is itself a matter of
            chance asks for.
        resamples: how many.
        seed: of the draws.
        word: what a group is called.

    Raises:
        MetricError: there is no row.

    >>> plan = resample_groups(["a", "a", "b"], resamples=2, seed=1)
    >>> [block.sum(axis=1).tolist() for block in plan.weights()], plan.words
    ([[3.0, 3.0]], '2 resamples of 2 groups')
    """
    size = len(np.asarray(groups)) if groups is not None else int(n or 0)
    if size == 0:
        msg = "not estimable: no case is left"
        raise MetricError(msg)
    index, n_groups = number_groups(groups, size)
    stratum = np.zeros(n_groups, dtype=np.int_)
    if outcome is not None:
        stratum = outcome_strata(np.asarray(outcome), index, n_groups)
    return Resampling(index, stratum, int(resamples), int(seed), word)


def outcome_strata(
    outcome: NDArray[Any], index: NDArray[np.int_], n_groups: int
) -> NDArray[np.int_]:
    """The stratum of each group: the class it holds that the fewest groups hold.

    Classes held by fewer than ``MIN_GROUPS`` groups make no stratum of their own
    (one group alone would be drawn every time and show no spread).
    """
    values, code = np.unique(outcome, return_inverse=True)
    held = np.zeros((n_groups, len(values)), dtype=bool)
    held[index, code] = True
    n_holding = held.sum(axis=0)
    rank = np.argsort(np.argsort(n_holding, kind="stable"), kind="stable")
    rank = np.where(n_holding >= MIN_GROUPS, rank, len(values))
    ranked = np.where(held, rank[None, :], len(values))
    stratum = ranked.min(axis=1)
    numbers, sizes = np.unique(stratum, return_counts=True)
    # What is left of a class may be few groups; those join the largest stratum.
    largest = numbers[sizes.argmax()]
    small = numbers[sizes < MIN_GROUPS]
    return np.asarray(np.where(np.isin(stratum, small), largest, stratum).astype(np.int_))


def jackknife(
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]], plan: Resampling
) -> NDArray[np.float64]:
    """Values of a statistic without each block of groups in turn: (U,) or (U, M)."""
    return np.concatenate([np.asarray(statistic(block)) for block in plan.without_each()])


def percentile_interval(
    replicates: NDArray[np.float64], *, level: float = 0.95
) -> tuple[float, float]:
    """The middle ``level`` of the defined replicates.

    >>> percentile_interval(np.arange(101.0), level=0.5)
    (25.0, 75.0)
    """
    known = replicates[np.isfinite(replicates)]
    tail = (1 - level) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def few_groups(plan: Resampling, level: float) -> Interval:
    """No interval, for there are fewer than ``MIN_GROUPS`` groups."""
    few = plural(plan.word, plan.n_groups)
    verb = "is" if plan.n_groups == 1 else "are"
    reason = (
        f"interval withheld: {plan.n_groups} {few} {verb} too few to show how "
        f"{plural(plan.word)} differ (at least {MIN_GROUPS} are needed)"
    )
    return Interval(low=None, high=None, level=level, reason=reason)


def bootstrap_interval(
    value: float,
    replicates: NDArray[np.float64],
    plan: Resampling,
    *,
    level: float = 0.95,
    scale: str | None = None,
) -> Interval:
    """The interval of a value from its replicates, or why there is none.

    Args:
        value: of the data themselves.
        replicates: (B,) values of the resamples; NaN where undefined.
        plan: what was drawn.
        level: confidence level.
        scale: of ``core.statistics.scales.SCALES``: Student's interval on it, from the spread
            of the replicates, in place of their percentiles.
    """
    check_level(level)
    if plan.n_groups < MIN_GROUPS:
        return few_groups(plan, level)
    known = replicates[np.isfinite(replicates)]
    n_undefined = len(replicates) - len(known)
    if n_undefined > MAX_UNDEFINED * len(replicates):
        reason = (
            f"interval withheld: {n_undefined:,} of {len(replicates):,} resamples have no value, "
            "for a class is missing from them"
        )
        return Interval(low=None, high=None, level=level, reason=reason)
    if float(known.max() - known.min()) <= 1e-12 * max(1.0, abs(value)):
        reason = (
            f"interval withheld: every resample gives {value:.4g}, so there is no spread to measure"
        )
        return Interval(low=None, high=None, level=level, reason=reason)
    if scale is not None:
        low, high, kind = _student(value, known, plan, level, scale)
    else:
        low, high = percentile_interval(known, level=level)
        kind = "percentile"
    reason = f"{n_undefined:,} resamples without a value are left out" if n_undefined else ""
    return Interval(
        low=low,
        high=high,
        level=level,
        method=f"bootstrap of {plan.words}, {kind}",
        reason=reason,
        se=float(known.std(ddof=1)),
    )


def _student(
    value: float, known: NDArray[np.float64], plan: Resampling, level: float, scale: str
) -> tuple[float, float, str]:
    """Student's interval on a scale, from the spread of resamples, and what it is called.

    Resamples of G groups are less spread than samples by a factor of (G - 1) / G.
    """
    one, n = SCALES[scale], plan.n_groups
    slope = one.slope(value)
    if slope <= AT_END:
        low, high = percentile_interval(known, level=level)
        return min(low, value), max(high, value), "percentile"
    se = float(known.std(ddof=1)) * float(np.sqrt(n / (n - 1)))
    reach = student_quantile(n - 1, level) * se / slope
    middle = one.forward(value)
    on = f" on the scale of {one.name}" if one.name else ""
    return one.back(middle - reach), one.back(middle + reach), f"Student's{on}"
