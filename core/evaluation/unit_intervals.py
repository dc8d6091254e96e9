"""The interval of each number of a level, by one method for each kind of number.

A number has one interval, whatever table it stands in: a proportion Wilson's with the design
effect of its groups, an area DeLong's for clusters, the mean of recalls that which follows
from theirs, a smooth number the jackknife's over groups, and only what moves in steps a
bootstrap's. Measured coverage: docs/coverage.md.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from core.evaluation.labelled_rows import FEW_EVENTS
from core.statistics import metrics as named
from core.statistics.delong import delong, delong_clustered, newcombe_auroc
from core.statistics.discrimination import Ranking
from core.statistics.intervals import Interval, check_level, plural
from core.statistics.jackknife import jackknife_interval
from core.statistics.operating_points import proportion
from core.statistics.resampling import MIN_GROUPS, bootstrap_interval, few_groups, jackknife
from core.statistics.weighted import calibration_noise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from core.evaluation.cases import Level
    from core.evaluation.metric_specs import MetricSpec
    from core.statistics.metric_kinds import Share
    from core.statistics.operating_points import Rate

__all__ = [
    "FEW_EVENTS",
    "FEW_GROUPS_OF_CLASS",
    "interval_of",
    "needs_resamples",
    "replicates_of",
    "share_rate",
]

# Below this many groups of a class, DeLong's variance of an area says too little, and Newcombe's
# interval over the groups takes its place.
FEW_GROUPS_OF_CLASS = 4
# Below this many groups of a class, the jackknife takes the place of DeLong's variance for
# clusters, which is too small where a few large groups carry it.
FEW_GROUPS_FOR_DELONG = 30
# A macro-F1 of which a class is held by fewer groups than the key: one more case found or missed
# moves it further than the groups that are there can tell. Such intervals hold the truth in so
# many percent of simulated studies, not in 95: docs/coverage.md, and studies of groups of 1 to 8.
MACRO_F1_COVERS = {3: (70, 85), 5: (87, 95)}
# A share at a threshold that is sought on the judged cases, such as the sensitivity at 90 %
# specificity: above this the few cases on the other side carry it, and its intervals hold less.
HIGH_SHARE = 0.9
HIGH_SHARE_COVERS = 83
# Resamples for a metric of the app's own that has to be called once for each.
SLOW_RESAMPLES = 300


def needs_resamples(spec: MetricSpec) -> bool:
    """Whether the interval of this number is made of resamples."""
    return spec.kind in {"resampled", "binned"}


def replicates_of(level: Level, spec: MetricSpec) -> NDArray[np.float64]:
    """Values of a number over the resamples of a level (B,)."""
    compute = spec.compute
    if compute is None:
        return np.full(1, np.nan)
    most = level.plan.resamples if named.is_batched(compute) else SLOW_RESAMPLES
    found: list[NDArray[np.float64]] = []
    n = 0
    for block in level.plan.weights():
        found.append(named.over_weights(compute, level.cases, block[: most - n]))
        n += len(found[-1])
        if n >= most:
            break
    return np.concatenate(found)


def interval_of(
    level: Level,
    spec: MetricSpec,
    value: float,
    *,
    left_out: NDArray[np.float64] | None = None,
    replicates: NDArray[np.float64] | None = None,
) -> Interval:
    """The interval that fits a number and its cases.

    Args:
        level: the cases.
        spec: the number.
        value: of all cases, finite.
        left_out: values without each block of groups, where they are known.
        replicates: values over the resamples, where they are known.
    """
    basis, plan = spec.basis, level.plan
    if basis is None:
        return Interval(low=None, high=None, level=level.confidence)
    found: Interval
    if basis.kind == "proportion":
        found = _of_share(level, spec, basis.shares[0])
    elif basis.kind == "area" and basis.truth is not None and basis.score is not None:
        found = _area(level, value, basis.truth, basis.score)
    elif plan.n_groups < MIN_GROUPS:
        found = few_groups(plan, level.confidence)
    elif basis.kind == "recalls":
        found = _of_recalls(level, value, basis.shares)
    elif basis.kind in {"binned", "resampled"}:
        drawn = replicates_of(level, spec) if replicates is None else replicates
        if basis.kind == "binned":
            found = _binned(level, spec, value, drawn)
        else:
            found = bootstrap_interval(
                value, drawn, plan, level=level.confidence, scale=basis.scale
            )
            if basis.scale == "share" and value > HIGH_SHARE:
                found = _approximate(found, f"above {100 * HIGH_SHARE:g} %", HIGH_SHARE_COVERS)
    else:
        found = _smooth(level, spec, value, left_out)
    return found


def _smooth(
    level: Level, spec: MetricSpec, value: float, left_out: NDArray[np.float64] | None
) -> Interval:
    """The jackknife's interval, on the scale of the number."""
    compute, plan = spec.compute, level.plan
    if left_out is None:
        if compute is None:
            return Interval(low=None, high=None, level=level.confidence)
        left_out = jackknife(lambda w: named.over_weights(compute, level.cases, w), plan)
    found = jackknife_interval(
        value,
        left_out,
        plan,
        scale="plain" if spec.basis is None else spec.basis.scale,
        level=level.confidence,
        groups_of=[level.groups_in(part) for part in spec.parts],
    )
    return _marked(level, found) if compute is named.macro_f1 else found


def _marked(level: Level, found: Interval) -> Interval:
    """The interval of a macro-F1, marked approximate where a class is too rare for it."""
    fewest = min(level.groups_in(level.holds(i)) for i in range(len(level.task.classes)))
    covers = next((share for few, share in MACRO_F1_COVERS.items() if fewest < few), None)
    if found.low is None or found.reason or covers is None:
        return found
    word = level.plan.word
    held = f"{fewest} {plural(word, fewest)}" if fewest else f"no {word}"
    return _approximate(found, f"a class is held by {held}", "{} to {}".format(*covers))


def _approximate(found: Interval, why: str, covers: int | str) -> Interval:
    """An interval that is marked with the share of simulated studies in which it held."""
    if found.low is None:
        return found
    reason = (
        f"approximate: {why}, and such intervals hold the truth in about {covers} % of studies, "
        f"not in {100 * found.level:g} %"
    )
    return replace(found, reason="; ".join(filter(None, [reason, found.reason])))


def share_rate(level: Level, share: Share, confidence: float | None = None) -> Rate:
    """A proportion of a level's cases with its interval, as every table has it."""
    groups = None if level.plan.is_independent else level.groups[share.among]
    return proportion(
        share.success[share.among],
        groups,
        level=confidence or level.confidence,
        word=level.plan.word,
    )


def _of_share(level: Level, spec: MetricSpec, share: Share) -> Interval:
    """A proportion; an F1 by way of the share that it follows from."""
    rate = share_rate(level, share)
    low, high = rate.low, rate.high
    if spec.is_f1 and low is not None and high is not None:
        # F1 = 2 J / (1 + J), where J is the share of those that are either which are both.
        low, high = 2 * low / (1 + low), 2 * high / (1 + high)
    return Interval(
        low=low, high=high, level=level.confidence, method=rate.method, reason=rate.reason
    )


def _area(
    level: Level, value: float, truth: NDArray[np.bool_], score: NDArray[np.float64]
) -> Interval:
    """DeLong's on the logit scale; another's where few cases or groups, or a perfect result, are.

    On the logit scale it covers 94 to 95 % where the plain one covers 89 to 93 % (20 to 60
    positive cases, area 0.9). Of groups of uneven size (1 to 8 cases) that few of a class are
    among, DeLong's for clusters holds 89 to 94 % of simulated studies and the jackknife over
    groups, on the same scale, 93 to 96 % (docs/coverage.md).
    """
    plan, confidence = level.plan, level.confidence
    n_1, n_0 = level.groups_in(truth), level.groups_in(~truth)
    if plan.is_independent:
        if min(n_1, n_0) < FEW_EVENTS:
            return newcombe_auroc(value, n_1, n_0, level=confidence)
        return delong(truth, score, level=confidence, scale="logit")
    if value in {0.0, 1.0} or min(n_1, n_0) < FEW_GROUPS_OF_CLASS:
        return newcombe_auroc(value, n_1, n_0, level=confidence, word=plan.word)
    if min(n_1, n_0) < FEW_GROUPS_FOR_DELONG and plan.n_groups >= MIN_GROUPS:
        left_out = jackknife(Ranking(truth, score).auroc, plan)
        found = jackknife_interval(value, left_out, plan, scale="share", level=confidence)
        if found.low is not None:
            return found
    return delong_clustered(
        truth, score, level.groups, level=confidence, scale="logit", word=plan.word
    )


def _of_recalls(level: Level, value: float, shares: tuple[Share, ...]) -> Interval:
    """The mean of proportions of different cases, from the ends of their intervals."""
    below = above = 0.0
    for share in shares:
        rate = share_rate(level, share)
        if rate.value is None or rate.low is None or rate.high is None:
            return Interval(low=None, high=None, level=level.confidence, reason=rate.reason)
        below += (rate.value - rate.low) ** 2
        above += (rate.high - rate.value) ** 2
    n = len(shares)
    return Interval(
        low=max(0.0, value - float(np.sqrt(below)) / n),
        high=min(1.0, value + float(np.sqrt(above)) / n),
        level=level.confidence,
        method="from the intervals of the recalls (Zou and Donner)",
    )


def _binned(
    level: Level, spec: MetricSpec, value: float, replicates: NDArray[np.float64]
) -> Interval:
    """An interval of a calibration error in bins that holds for scores that are right, too.

    The error is never negative, so noise alone raises it. From below, what scores that are
    right would show by chance is taken off; above, the spread of the error itself is added.
    """
    plan, confidence = level.plan, level.confidence
    found = bootstrap_interval(value, replicates, plan, level=confidence)
    if found.low is None or found.se is None:
        return found
    equal = "mass" if "adaptive" in spec.key or "adaptive" in spec.name else "width"
    chance = calibration_noise(level.cases, plan.index, seed=plan.seed, equal=equal)
    noise = float(np.quantile(chance, (1 + confidence) / 2))
    widen = float(np.sqrt(plan.n_groups / (plan.n_groups - 1)))
    high = value + found.se * widen * check_level(confidence)
    return replace(
        found,
        low=max(0.0, value - noise),
        high=min(1.0, high),
        method=f"bootstrap of {plan.words} above, chance taken off below",
        reason=f"a perfectly calibrated model would show up to {noise:.3f} here",
    )
