"""Operating points: thresholds from which a case counts as positive, and the metrics at each.

A threshold is chosen on validation cases and then frozen; evaluation only counts
at it. Cases with ``score >= threshold`` are called, so tied cases are called
together or not at all, and a chosen threshold lies half-way between two
neighbouring scores, where rounding cannot move a case across it.

Sources: Youden 1950, doi:10.1002/1097-0142(1950)3:1<32::AID-CNCR2820030106>3.0.CO;2-3;
Mercaldo, Lau and Zhou 2007, doi:10.1002/sim.2677 (predictive values at another
prevalence, logit intervals).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import ConfigError, MetricError
from core.statistics.discrimination import both_classes
from core.statistics.intervals import (
    Interval,
    check_level,
    clopper_pearson,
    cluster_proportion,
    number_groups,
    wilson,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "OperatingPoint",
    "Rate",
    "TwoByTwo",
    "choose_threshold",
    "drawn_in",
    "parse_target",
    "per_thousand",
    "predictive_values",
    "proportion",
    "two_by_two",
]

# Targets that are a share to reach.
SHARES = ("sensitivity", "specificity", "recall-rate")


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """A threshold with the rule that chose it and what it gave where it was chosen.

    Attributes:
        rule: ``sensitivity=0.95``, ``youden``, ``cost=10:1`` ...
        threshold: cases with a score of at least this are called positive.
        between: the scores next to it, the one not called and the one called; None at an end.
        sensitivity, specificity, recall_rate: reached on the cases it was chosen on.
        n, n_events: those cases, and how many are positive.
    """

    rule: str
    threshold: float
    between: tuple[float | None, float | None]
    sensitivity: float
    specificity: float
    recall_rate: float
    n: int
    n_events: int


def parse_target(text: str) -> tuple[str, float, float]:
    """The rule of a target and its numbers.

    Args:
        text: ``sensitivity=0.95``, ``specificity=0.9``, ``recall-rate=0.1``, ``youden``
            or ``cost=10:1`` (a missed case costs as much as ten false alarms).

    Returns:
        rule, target (or cost of a miss), cost of a false alarm.

    Raises:
        ConfigError: the text is none of these.

    >>> parse_target("cost=10:1")
    ('cost', 10.0, 1.0)
    """
    name, _, value = text.strip().lower().replace("_", "-").partition("=")
    try:
        if name == "youden" and not value:
            return name, 0.0, 0.0
        if name == "cost":
            missed, alarm = (float(part) for part in value.split(":"))
            if missed > 0 and alarm > 0 and np.isfinite(missed + alarm):
                return name, missed, alarm
        elif name in SHARES:
            target = float(value.removesuffix("%")) / (100 if value.endswith("%") else 1)
            if 0 < target <= 1:
                return name, target, 0.0
    except ValueError:
        pass
    msg = (
        f"{text!r} is no target. Write sensitivity=0.95, specificity=0.9, recall-rate=0.1, youden, "
        "or cost=10:1 (a missed case costs as much as ten false alarms); shares lie in (0, 1]."
    )
    raise ConfigError(msg)


def choose_threshold(
    y: ArrayLike, score: ArrayLike, *, target: str, prevalence: float | None = None
) -> OperatingPoint:
    """The threshold that meets a target on these cases.

    ``sensitivity=s``: the fewest false alarms among thresholds with at least that
    sensitivity. ``specificity=s``: the most sensitive with at least that
    specificity. ``recall-rate=r``: the most sensitive that calls no more than that
    share of all cases. ``youden``: the greatest sensitivity + specificity.
    ``cost=a:b``: the least cost when a miss costs a and a false alarm b. Among
    equals the more sensitive one.

    Args:
        y: (N,) zeros and ones of validation cases.
        score: (N,) finite numbers.
        target: see ``parse_target``.
        prevalence: share of positives where the model will be used: a recall rate is then that
            of this place, and not of these cases, of which more may be positive.

    Raises:
        MetricError: a class is absent, or the prevalence is not between 0 and 1.
        ConfigError: the target is none.

    >>> y, score = [0, 0, 1, 0, 1], [0.1, 0.4, 0.4, 0.2, 0.8]
    >>> round(choose_threshold(y, score, target="recall-rate=0.4").threshold, 6)
    0.6
    """
    truth, value, _ = both_classes(y, score)
    rule, wanted, alarm_cost = parse_target(target)
    # Candidates from calling nobody to calling everybody, one per distinct score.
    levels, inverse = np.unique(-value, return_inverse=True)
    levels = -levels
    hits = np.r_[0, np.cumsum(np.bincount(inverse, weights=truth, minlength=len(levels)))]
    alarms = np.r_[0, np.cumsum(np.bincount(inverse, weights=~truth, minlength=len(levels)))]
    n_1, n_0 = int(truth.sum()), int((~truth).sum())
    sensitivity, specificity = hits / n_1, 1 - alarms / n_0
    recalled = (hits + alarms) / (n_1 + n_0)
    if prevalence is not None:
        share = _checked_share(prevalence)
        recalled = share * sensitivity + (1 - share) * (1 - specificity)
    slack = 1e-12
    if rule == "sensitivity":
        gain = np.where(sensitivity >= wanted - slack, specificity, -np.inf)
    elif rule == "specificity":
        gain = np.where(specificity >= wanted - slack, sensitivity, -np.inf)
    elif rule == "recall-rate":
        gain = np.where(recalled <= wanted + slack, sensitivity, -np.inf)
    elif rule == "youden":
        gain = sensitivity + specificity
    else:
        gain = -(wanted * (n_1 - hits) + alarm_cost * alarms)
    best = np.flatnonzero(gain >= gain.max() - slack * max(1.0, abs(float(gain.max()))))
    if rule in {"specificity", "recall-rate"}:
        # The same cases found: then with the fewest false alarms.
        at = int(best[0])
    else:
        at = int(best[np.argmax(sensitivity[best])])
    threshold, between = _threshold_at(levels, at)
    return OperatingPoint(
        rule=target,
        threshold=threshold,
        between=between,
        sensitivity=float(sensitivity[at]),
        specificity=float(specificity[at]),
        recall_rate=float(recalled[at]),
        n=n_1 + n_0,
        n_events=n_1,
    )


def _checked_share(prevalence: float) -> float:
    """A prevalence inside (0, 1)."""
    if not 0 < prevalence < 1:
        msg = f"The prevalence is {prevalence:g}; it must lie between 0 and 1, as in 0.005."
        raise MetricError(msg)
    return float(prevalence)


def _threshold_at(
    levels: NDArray[np.float64], called: int
) -> tuple[float, tuple[float | None, float | None]]:
    """A threshold that calls exactly the first ``called`` of the distinct scores, high to low."""
    if called == len(levels):
        return float(levels[-1]), (None, float(levels[-1]))
    below = float(levels[called])
    if called == 0:
        return float(np.nextafter(below, np.inf)), (below, None)
    above = float(levels[called - 1])
    middle = below + (above - below) / 2
    # Between neighbouring numbers there is no middle.
    return (middle if below < middle <= above else above), (below, above)


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A proportion as x of n, with its interval; value None and a reason where n is 0."""

    value: float | None
    x: int
    n: int
    low: float | None
    high: float | None
    method: str
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class TwoByTwo:
    """Counts at a threshold and the proportions that follow."""

    tp: int
    fp: int
    fn: int
    tn: int
    sensitivity: Rate
    specificity: Rate
    ppv: Rate
    npv: Rate
    recall_rate: Rate
    accuracy: Rate

    def as_dict(self) -> dict[str, Any]:
        """Plain content for JSON."""
        return asdict(self)


def proportion(
    success: NDArray[np.bool_],
    groups: NDArray[Any] | None,
    *,
    level: float = 0.95,
    word: str = "group",
) -> Rate:
    """A proportion with the interval that fits: Wilson's, with the design effect of its groups.

    With nothing but successes, or not one, it is the exact limit, on cases or on groups.

    Args:
        success: (N,) of the cases it is a proportion of.
        groups: (N,) their groups; None where each is its own.
        level: confidence level.
        word: what a group is called.
    """
    x, n = int(success.sum()), len(success)
    if n == 0:
        reason = "not estimable: no case is left to count (0 of 0)"
        return Rate(value=None, x=0, n=0, low=None, high=None, method="", reason=reason)
    try:
        if groups is None or number_groups(groups, n)[1] == n:
            # At the ends Wilson's own limit covers less than it says: the exact one stands there.
            found = (clopper_pearson if x in {0, n} else wilson)(x, n, level=level)
        else:
            found = cluster_proportion(success, groups, level=level, scale="wilson", word=word)
    except MetricError as error:
        found = Interval(low=None, high=None, level=level, reason=str(error))
    return Rate(
        value=x / n,
        x=x,
        n=n,
        low=found.low,
        high=found.high,
        method=found.method,
        reason=found.reason,
    )


def two_by_two(
    y: ArrayLike,
    called: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    level: float = 0.95,
    word: str = "group",
) -> TwoByTwo:
    """Counts of truth against call, and sensitivity, specificity and predictive values.

    Args:
        y: (N,) zeros and ones.
        called: (N,) whether each case was called positive.
        groups: (N,) the group of each case; None where each is its own.
        level: confidence level.
        word: what a group is called.

    Raises:
        MetricError: a label or a call is neither 0 nor 1, or their numbers differ.

    >>> found = two_by_two([1, 1, 0, 0], [1, 0, 0, 0])
    >>> found.sensitivity.value, found.ppv.n, found.npv.x
    (0.5, 1, 2)
    """
    labels, calls = np.asarray(y), np.asarray(called)
    if labels.shape != calls.shape or not (np.isin(labels, (0, 1)) & np.isin(calls, (0, 1))).all():
        msg = "not estimable: labels and calls must be as many, and each of them 0 or 1"
        raise MetricError(msg)
    truth, call = labels.astype(bool), calls.astype(bool)
    owner = None if groups is None else np.asarray(groups)

    def of(success: NDArray[np.bool_], among: NDArray[np.bool_]) -> Rate:
        some = None if owner is None else owner[among]
        return proportion(success[among], some, level=level, word=word)

    everybody = np.ones(len(truth), dtype=bool)
    return TwoByTwo(
        tp=int((truth & call).sum()),
        fp=int((~truth & call).sum()),
        fn=int((truth & ~call).sum()),
        tn=int((~truth & ~call).sum()),
        sensitivity=of(call, truth),
        specificity=of(~call, ~truth),
        ppv=of(truth, call),
        npv=of(~truth, ~call),
        recall_rate=of(call, everybody),
        accuracy=of(truth == call, everybody),
    )


def predictive_values(
    sensitivity: float,
    specificity: float,
    prevalence: float,
    *,
    n_positive: float | None = None,
    n_negative: float | None = None,
    level: float = 0.95,
) -> dict[str, float | None]:
    """PPV and NPV at another prevalence, by Bayes' rule.

    They hold only where the cases of each class are like those tested (same
    spectrum).

    Args:
        sensitivity: in [0, 1].
        specificity: in [0, 1].
        prevalence: share of positives where the model is to be used, in (0, 1).
        n_positive: cases (or effective cases) behind the sensitivity; None gives no interval.
        n_negative: cases behind the specificity.
        level: confidence level.

    Returns:
        ``ppv``, ``ppv_low``, ``ppv_high``, ``npv``, ``npv_low``, ``npv_high``;
        None where undefined. Intervals are logit intervals with half a case added
        where a proportion is 0 or 1.

    Raises:
        MetricError: a share is not in its range.

    >>> round(predictive_values(0.9, 0.9, 0.01)["ppv"], 6)
    0.083333
    """
    if not (0 <= sensitivity <= 1 and 0 <= specificity <= 1):
        msg = "Sensitivity and specificity must lie in [0, 1]."
        raise MetricError(msg)
    _checked_share(prevalence)
    alarms, missed = 1 - specificity, 1 - sensitivity
    called = sensitivity * prevalence + alarms * (1 - prevalence)
    passed = specificity * (1 - prevalence) + missed * prevalence
    found: dict[str, float | None] = {
        "ppv": sensitivity * prevalence / called if called else None,
        "npv": specificity * (1 - prevalence) / passed if passed else None,
    }
    for name in ("ppv", "npv"):
        found[f"{name}_low"] = found[f"{name}_high"] = None
    if n_positive is None or n_negative is None or min(n_positive, n_negative) <= 0:
        return found
    from scipy.special import expit, logit  # noqa: PLC0415  (0.3 s, which a prediction need not wait)

    z = check_level(level)
    p, q = drawn_in(sensitivity, n_positive), drawn_in(specificity, n_negative)
    odds = float(logit(prevalence))
    # The log odds are sums of independent logarithms; the delta method gives each a variance.
    centre = {
        "ppv": odds + np.log(p / (1 - q)),
        "npv": -odds + np.log(q / (1 - p)),
    }
    spread = {
        "ppv": (1 - p) / (n_positive * p) + q / (n_negative * (1 - q)),
        "npv": p / (n_positive * (1 - p)) + (1 - q) / (n_negative * q),
    }
    for name, middle in centre.items():
        half = z * float(np.sqrt(spread[name]))
        # Half a case draws the middle away from an end; the value itself stays possible.
        value = found[name]
        ends = [float(expit(middle - half)), float(expit(middle + half))]
        known = ends if value is None else [*ends, value]
        found[f"{name}_low"], found[f"{name}_high"] = min(known), max(known)
    return found


def drawn_in(share: float, n: float) -> float:
    """A proportion, drawn in by half a case where it is 0 or 1."""
    return (share * n + 0.5) / (n + 1) if share in {0.0, 1.0} else share


def per_thousand(sensitivity: float, specificity: float, prevalence: float) -> dict[str, float]:
    """What to expect among 1,000 cases at a prevalence.

    >>> {k: round(v, 1) for k, v in per_thousand(0.9, 0.9, 0.01).items()}
    {'called': 108.0, 'found': 9.0, 'missed': 1.0, 'false_alarms': 99.0, 'cleared': 891.0}
    """
    positives = 1000 * prevalence
    found = sensitivity * positives
    alarms = (1 - specificity) * (1000 - positives)
    return {
        "called": found + alarms,
        "found": found,
        "missed": positives - found,
        "false_alarms": alarms,
        "cleared": 1000 - positives - alarms,
    }
