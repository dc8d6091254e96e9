"""Sample size of a study: for an interval of a given width, or for the power of a test.

Every number is one of independent cases; where cases come in groups, it is multiplied by the
design effect 1 + (m - 1) ICC of m cases a group.

The variance of an area is that of normal scores of equal spread (binormal). Hanley and McNeil's,
of exponential scores, gives too many cases where negative ones abound (power .94 where .80 was
asked, nine negative to a positive) and too few where they are rare (.67, one to four); a test
holds this one to .80 by simulation.

Sources: Newcombe 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E
(Wilson's interval); Bamber 1975, doi:10.1016/0022-2496(75)90001-2 (variance of an area); Owen
1956, doi:10.1214/aoms/1177728074 (the bivariate normal distribution); Hanley and McNeil 1983,
doi:10.1148/radiology.148.3.6878708 (difference of two areas of the same cases); Connor 1987,
doi:10.2307/2531961 (paired proportions); Kish 1965 (design effect).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats
from scipy.special import expit, logit, ndtri, owens_t

from core.errors import MetricError
from core.statistics.comparisons import cases_for_auroc
from core.statistics.intervals import check_level, plural

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Aim",
    "StudySize",
    "cases_for_area_width",
    "cases_for_better_area",
    "cases_for_better_proportion",
    "cases_for_proportion_width",
    "design_effect",
    "plan",
]

MOST = 10_000_000


@dataclass(frozen=True, kw_only=True)
class StudySize:
    """What a study needs.

    Attributes:
        positive: positive cases; None where the number is of all cases.
        negative: negative cases; None as well.
        cases: all cases.
        groups: groups of them.
        words: the plan in one sentence.
    """

    positive: int | None
    negative: int | None
    cases: int
    groups: int
    words: str


def design_effect(per_group: float, icc: float) -> float:
    """By how much cases in groups are worth less than independent ones.

    >>> design_effect(4, 0.5), design_effect(1, 0.5)
    (2.5, 1.0)
    """
    if per_group < 1 or not 0 <= icc <= 1:
        msg = "Cases in a group are at least 1, and the ICC lies between 0 and 1."
        raise MetricError(msg)
    return 1 + (per_group - 1) * icc


def cases_for_proportion_width(share: float, half_width: float, *, level: float = 0.95) -> int:
    """Cases of which a share has Wilson's interval with no more than this half-width.

    >>> cases_for_proportion_width(0.9, 0.05)
    141
    """
    _inside(share, "share")
    _inside(half_width, "half-width", top=0.5)
    z = check_level(level)

    def half(n: float) -> float:
        return z * sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)

    return _least(lambda n: half(n) <= half_width)


def cases_for_area_width(
    area: float, half_width: float, ratio: float, *, level: float = 0.95
) -> int:
    """Positive cases for an area under the ROC curve with no more than this half-width.

    The interval is DeLong's on the scale of log odds, as a report has it.

    Args:
        area: that is expected, in (0.5, 1).
        half_width: of its interval.
        ratio: negative cases for each positive one.
        level: confidence level.
    """
    _area(area)
    _inside(half_width, "half-width", top=0.5)
    z = check_level(level)

    def half(n: float) -> float:
        reach = z * sqrt(_area_variance(area, n, n * ratio)) / (area * (1 - area))
        low, high = expit(logit(area) + reach * np.array([-1, 1]))
        return float(high - low) / 2

    return _least(lambda n: half(n) <= half_width)


def cases_for_better_proportion(
    first: float, second: float, *, discordant: float | None, power: float, alpha: float = 0.05
) -> int:
    """Cases on which two paired proportions are shown to differ (McNemar's test).

    Args:
        first: share right of one model.
        second: of the other, on the same cases.
        discordant: share of cases on which only one is right; None takes that of models whose
            errors are independent.
        power: wanted chance of showing it.
        alpha: accepted chance of a false positive.

    Raises:
        MetricError: a share is out of range, or fewer cases differ than the shares do.

    >>> cases_for_better_proportion(0.8, 0.9, discordant=None, power=0.8)
    202
    """
    _inside(first, "share")
    _inside(second, "share")
    _inside(power, "power")
    difference = abs(second - first)
    if difference <= 0:
        msg = f"Both shares are {first:g}; equal shares show no difference in any study."
        raise MetricError(msg)
    apart = first * (1 - second) + second * (1 - first) if discordant is None else discordant
    # All that the better model misses may be right in the other, and no more than that is right.
    most = difference + 2 * min(1 - max(first, second), first, second)
    if not difference - 1e-9 <= apart <= most + 1e-9:
        msg = (
            f"Of models that are right on shares of {first:g} and {second:g}, only one is right "
            f"on {difference:g} to {most:g} of the cases, and not on {apart:g}."
        )
        raise MetricError(msg)
    apart = max(difference, apart)
    z_a, z_b = float(stats.norm.isf(alpha / 2)), float(stats.norm.ppf(power))
    return ceil((z_a * sqrt(apart) + z_b * sqrt(apart - difference**2)) ** 2 / difference**2 - 1e-9)


def cases_for_better_area(
    first: float,
    second: float,
    ratio: float,
    *,
    correlation: float = 0.5,
    power: float,
    alpha: float = 0.05,
) -> int:
    """Positive cases on which two areas of the same cases are shown to differ.

    Args:
        first: area of one model.
        second: of the other.
        ratio: negative cases for each positive one.
        correlation: of the two areas; models that err on the same cases have a high one.
        power: wanted chance of showing it.
        alpha: accepted chance of a false positive.
    """
    _area(first)
    _area(second)
    _inside(power, "power")
    if first == second or not 0 <= correlation < 1:
        msg = "Two areas must differ, and their correlation lie in [0, 1)."
        raise MetricError(msg)
    z = float(stats.norm.isf(alpha / 2)) + float(stats.norm.ppf(power))

    def enough(n: float) -> bool:
        a, b = _area_variance(first, n, n * ratio), _area_variance(second, n, n * ratio)
        # DeLong's test takes the variance of the cases as they are, not that of equal areas.
        return abs(second - first) >= z * sqrt(a + b - 2 * correlation * sqrt(a * b))

    return _least(enough)


@dataclass(frozen=True, kw_only=True)
class Aim:
    """What a study is to tell.

    Attributes:
        kind: ``sensitivity``, ``specificity``, ``accuracy`` or ``auroc``.
        expected: the value that is expected.
        half_width: wanted of its interval; or
        against: the value of another model on the same cases; of an AUROC, 0.5 is chance.
        power: wanted chance of showing the difference.
        level: confidence level; of a comparison one minus alpha.
        discordant: see ``cases_for_better_proportion``.
        correlation: see ``cases_for_better_area``.
    """

    kind: str
    expected: float
    half_width: float | None = None
    against: float | None = None
    power: float = 0.8
    level: float = 0.95
    discordant: float | None = None
    correlation: float = 0.5

    @property
    def words(self) -> str:
        """The aim in words."""
        if self.half_width is not None:
            return f"an interval of ± {self.half_width:g} around {self.kind} {self.expected:g}"
        return f"{self.kind} {self.expected:g} against {self.against:g} with power {self.power:g}"


def plan(
    aim: Aim,
    *,
    prevalence: float = 0.5,
    per_group: float = 1.0,
    icc: float = 0.5,
    word: str = "group",
) -> StudySize:
    """A study in whole cases and groups.

    Args:
        aim: what it is to tell.
        prevalence: share of positive cases.
        per_group: cases of a patient, leaf or field.
        icc: how alike they are: intraclass correlation.
        word: what a group is called.

    Raises:
        MetricError: a number is out of range, or neither or both aims are given.

    >>> plan(Aim(kind="sensitivity", expected=0.9, half_width=0.05), prevalence=0.1).cases
    1410
    """
    if (aim.half_width is None) == (aim.against is None):
        msg = "Say what is wanted: a half-width of the interval, or a value to differ from."
        raise MetricError(msg)
    _inside(prevalence, "prevalence")
    effect = design_effect(per_group, icc)
    n = _positive_for_area(aim, prevalence) if aim.kind == "auroc" else _cases_for_share(aim)
    shares = {"sensitivity": prevalence, "specificity": 1 - prevalence, "auroc": prevalence}
    cases = ceil(n * effect / shares.get(aim.kind, 1.0) - 1e-9)
    positive, groups = ceil(cases * prevalence - 1e-9), ceil(cases / per_group)
    by_kind = aim.kind in shares
    message = f"{cases:,} cases"
    if by_kind:
        message += f", {positive:,} of them positive at a prevalence of {prevalence:g}"
    if per_group > 1:
        message += f", from {groups:,} {plural(word)} of {per_group:g} (design effect {effect:.3g})"
    return StudySize(
        positive=positive if by_kind else None,
        negative=cases - positive if by_kind else None,
        cases=cases,
        groups=groups,
        words=f"For {aim.words}: {message}.",
    )


def _positive_for_area(aim: Aim, prevalence: float) -> int:
    """Independent positive cases for an aim about an area."""
    ratio, alpha = (1 - prevalence) / prevalence, 1 - aim.level
    if aim.half_width is not None:
        return cases_for_area_width(aim.expected, aim.half_width, ratio, level=aim.level)
    if aim.against == 0.5:
        return ceil(cases_for_auroc(aim.expected, power=aim.power, ratio=ratio, alpha=alpha)[0])
    return cases_for_better_area(
        aim.expected,
        float(aim.against or 0),
        ratio,
        correlation=aim.correlation,
        power=aim.power,
        alpha=alpha,
    )


def _cases_for_share(aim: Aim) -> int:
    """Independent cases for an aim about a share."""
    if aim.half_width is not None:
        return cases_for_proportion_width(aim.expected, aim.half_width, level=aim.level)
    return cases_for_better_proportion(
        aim.expected,
        float(aim.against or 0),
        discordant=aim.discordant,
        power=aim.power,
        alpha=1 - aim.level,
    )


def _area_variance(area: float, positive: float, negative: float) -> float:
    """Variance of an area of normal scores of equal spread.

    Two negative cases lie below one positive as often as one negative lies below two: the share
    is that of a bivariate normal distribution with a correlation of one half.
    """
    both = area - 2 * float(owens_t(ndtri(area), 1 / sqrt(3)))
    above = area * (1 - area) + (positive + negative - 2) * (both - area**2)
    return above / (positive * negative)


def _least(enough: Callable[[float], bool]) -> int:
    """The least whole number of cases that is enough, of a condition that stays true."""
    if not enough(MOST):
        msg = f"More than {MOST:,} cases would be needed."
        raise MetricError(msg)
    low, high = 1, MOST
    while low < high:
        middle = (low + high) // 2
        if enough(float(middle)):
            high = middle
        else:
            low = middle + 1
    return low


def _inside(value: float, word: str, top: float = 1.0) -> None:
    """Refuse what is no share."""
    if not 0 < value < top:
        msg = f"The {word} is {value:g}; it must lie between 0 and {top:g}."
        raise MetricError(msg)


def _area(value: float) -> None:
    """Refuse what is no area above chance."""
    if not 0.5 < value < 1:
        msg = f"The area is {value:g}; it must lie between 0.5 and 1, without them."
        raise MetricError(msg)
