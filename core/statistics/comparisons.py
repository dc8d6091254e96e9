"""Tests of two models or groups of cases (McNemar, Holm), and the cases needed for power.

Sources: McNemar 1947, doi:10.1007/BF02295996; Edwards 1948, doi:10.1007/BF02289261
(continuity correction); Holm 1979, Scandinavian Journal of Statistics 6:65-70; Obuchowski,
Lieber and Wians 2004, doi:10.1373/clinchem.2004.031823 (cases for an area under the ROC curve).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats
from scipy.optimize import brentq

from core.errors import MetricError
from core.statistics.intervals import plural

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray


__all__ = [
    "McNemar",
    "adjust",
    "cases_for_auroc",
    "cases_to_halve",
    "mcnemar",
    "mcnemar_of",
    "power_of_auroc",
    "precision_of",
]


@dataclass(frozen=True, kw_only=True)
class McNemar:
    """A test of two decisions on the same independent cases.

    Attributes:
        first_only: cases that only the first decides right.
        second_only: cases that only the second decides right.
        p_exact: from the binomial distribution; the one to report.
        chi2, p: without correction; None where no case differs.
        chi2_corrected, p_corrected: with continuity correction.
    """

    first_only: int
    second_only: int
    p_exact: float
    chi2: float | None
    p: float | None
    chi2_corrected: float | None
    p_corrected: float | None


def mcnemar(first_only: int, second_only: int) -> McNemar:
    """McNemar's tests from the numbers of cases on which two decisions differ.

    Args:
        first_only: off-diagonal count.
        second_only: the other one.

    Returns:
        with no differing case, an exact p of 1 and nothing else.

    >>> round(mcnemar(150, 86).chi2_corrected, 4)
    16.8178
    """
    if first_only < 0 or second_only < 0:
        msg = "not estimable: counts of differing cases cannot be negative"
        raise MetricError(msg)
    if first_only != int(first_only) or second_only != int(second_only):
        msg = "not estimable: counts of differing cases must be whole numbers"
        raise MetricError(msg)
    n = first_only + second_only
    if n == 0:
        return McNemar(
            first_only=0,
            second_only=0,
            p_exact=1.0,
            chi2=None,
            p=None,
            chi2_corrected=None,
            p_corrected=None,
        )
    difference = abs(first_only - second_only)
    chi2, corrected = difference**2 / n, max(0, difference - 1) ** 2 / n
    return McNemar(
        first_only=int(first_only),
        second_only=int(second_only),
        p_exact=float(stats.binomtest(int(first_only), int(n)).pvalue),
        chi2=chi2,
        p=float(stats.chi2.sf(chi2, 1)),
        chi2_corrected=corrected,
        p_corrected=float(stats.chi2.sf(corrected, 1)),
    )


def mcnemar_of(y: ArrayLike, first: ArrayLike, second: ArrayLike) -> McNemar:
    """McNemar's tests of two sets of decisions (N,) on the same cases.

    For sensitivity pass the positive cases only, for specificity the negative ones.

    >>> mcnemar_of([1, 1, 1], [1, 1, 0], [1, 0, 0]).first_only
    1
    """
    truth = np.asarray(y)
    a, b = np.asarray(first) == truth, np.asarray(second) == truth
    return mcnemar(int((a & ~b).sum()), int((~a & b).sum()))


def adjust(p: ArrayLike) -> NDArray[np.float64]:
    """P-values adjusted for a family of tests by Holm's method.

    Args:
        p: (M,) values in [0, 1]; NaN stays NaN and does not count.

    >>> adjust([0.01, 0.04]).round(3).tolist()
    [0.02, 0.04]
    """
    values = np.asarray(p, dtype=np.float64)
    known = np.isfinite(values)
    if ((values[known] < 0) | (values[known] > 1)).any():
        msg = "A p-value must lie in [0, 1]."
        raise MetricError(msg)
    # statsmodels gives the same, and collects garbage at every call: a second in a large process.
    order = np.argsort(values[known], kind="stable")
    some = values[known][order]
    raised = np.maximum.accumulate(np.arange(len(some), 0, -1) * some)
    found = np.full(values.shape, np.nan)
    back = np.empty(len(some))
    back[order] = np.minimum(raised, 1.0)
    found[known] = back
    return found


def cases_to_halve(n: int) -> int:
    """Further cases of the same kind that would halve an interval: its width falls as 1/sqrt(n).

    >>> cases_to_halve(120)
    360
    """
    return 3 * int(n)


def precision_of(row: Mapping[str, Any], word: str) -> dict[str, Any] | None:
    """How wide the interval of a number is, and how many further cases would halve it.

    Args:
        row: of ``core.base.tables.METRICS``.
        word: what a group is called.

    Returns:
        ``half_width``, ``n``, ``n_groups``, ``more`` (further cases), ``more_groups`` and
        ``words``; None where there is no interval.

    >>> row = {"low": 0.8, "high": 0.9, "value": 0.85, "n": 60, "n_groups": 60, "unit": "image"}
    >>> precision_of({**row, "title": "Accuracy", "level": 0.95}, "leaf")["more"]
    180
    """
    if row.get("low") is None or row.get("high") is None:
        return None
    half = (float(row["high"]) - float(row["low"])) / 2
    n, n_groups = int(row["n"]), int(row["n_groups"])
    more, more_groups = cases_to_halve(n), cases_to_halve(n_groups)
    unit = str(row.get("unit") or "case")
    width = f"{100 * half:.1f} points" if row.get("percent") else f"{half:.3f}"
    grouped = f" of {more_groups:,} {plural(word)}" if n != n_groups and word != unit else ""
    words = (
        f"The interval of {row['title']} reaches {width} to either side on average; about "
        f"{more:,} more {plural(unit)}{grouped} like these would halve it."
    )
    return {
        "half_width": half,
        "n": n,
        "n_groups": n_groups,
        "more": more,
        "more_groups": more_groups,
        "words": words,
    }


# --------------------------------------------------------------------------- size of a study


def _spread_of_area(area: float, ratio: float) -> float:
    """Variance of an area times the number of cases (binormal; formula 3 of the source)."""
    # The source rounds the square root of 2 so, and published tables follow it.
    a = float(stats.norm.ppf(area)) * 1.414
    return 0.0099 * float(np.exp(-(a**2) / 2)) * ((5 * a**2 + 8) + (a**2 + 8) / ratio)


def power_of_auroc(area: float, n_cases: float, n_controls: float, *, alpha: float = 0.05) -> float:
    """The chance that a study shows an area to differ from one half.

    Args:
        area: the true area, in (0.5, 1).
        n_cases: positive cases.
        n_controls: negative cases.
        alpha: accepted chance of a false positive, on both sides together.

    Raises:
        MetricError: a number is out of range.

    >>> round(power_of_auroc(0.73, 41, 72), 7)
    0.9897453
    """
    _check_plan(area, alpha)
    if n_cases <= 0 or n_controls <= 0:
        msg = "The power needs cases and controls."
        raise MetricError(msg)
    ratio = n_controls / n_cases
    z = float(stats.norm.isf(alpha / 2))
    reach = np.sqrt(n_cases * (area - 0.5) ** 2) - z * np.sqrt(_spread_of_area(0.5, ratio))
    return float(stats.norm.cdf(reach / np.sqrt(_spread_of_area(area, ratio))))


def cases_for_auroc(
    area: float, *, power: float = 0.9, ratio: float = 1.0, alpha: float = 0.05
) -> tuple[float, float]:
    """How many cases and controls show an area to differ from one half.

    Args:
        area: the true area, in (0.5, 1).
        power: wanted chance of showing it.
        ratio: controls for each case.
        alpha: accepted chance of a false positive.

    Returns:
        positive and negative cases; round both up.

    Raises:
        MetricError: a number is out of range.
    """
    _check_plan(area, alpha)
    if not (alpha / 2 < power < 1 and ratio > 0):
        msg = "The power must lie between alpha and 1, and the ratio above 0."
        raise MetricError(msg)

    def short(log_n: float) -> float:
        n = float(np.exp(log_n))
        return power_of_auroc(area, n, n * ratio, alpha=alpha) - power

    n_cases = float(np.exp(brentq(short, -20.0, 40.0, xtol=1e-13)))
    return n_cases, n_cases * ratio


def _check_plan(area: float, alpha: float) -> None:
    """Refuse an area or an error rate out of range."""
    if not 0.5 < area < 1:
        msg = f"The area is {area:g}; it must lie between 0.5 and 1, without them."
        raise MetricError(msg)
    if not 0 < alpha < 1:
        msg = "alpha must lie between 0 and 1."
        raise MetricError(msg)
