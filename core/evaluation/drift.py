"""Data drift: new cases against those of training and test, and the metrics on both.

Inputs are compared by their distributions, numbers by their difference, each with
an interval. Old and new cases are different cases, so nothing is paired.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import ks_2samp

from core.errors import MetricError
from core.evaluation.calibration_of_level import calibration_of
from core.evaluation.differences import hold_family, unpaired, verdict_of
from core.evaluation.metric_specs import same_of
from core.statistics.jackknife import Estimate, between_samples
from core.statistics.operating_points import proportion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from core.evaluation.cases import Level
    from core.evaluation.metric_specs import MetricSpec

__all__ = ["input_drift", "number_drift"]

# Shares of the training images below and above which a new value counts as outside.
OUTSIDE = (0.01, 0.99)


def input_drift(
    before: NDArray[np.float64],
    now: NDArray[np.float64],
    *,
    groups: NDArray[np.str_] | None = None,
    level: float = 0.95,
    word: str = "group",
    upper_only: bool = False,
) -> dict[str, Any]:
    """One property of the inputs then and now.

    Args:
        before: (M,) of the images the model was trained on.
        now: (N,) of the new images.
        groups: (N,) groups of the new images; None where each is its own.
        level: confidence level.
        word: what a group is called.
        upper_only: whether only high values mean unlike, as of a distance: an image
            nearer to the training than usual is no cause for alarm.

    Returns:
        ``before`` and ``now`` (``n``, ``median``, ``low``, ``high``: 5th and 95th percentile),
        ``outside`` (share of new values outside of the middle 98 % of the old ones, with its
        interval), ``expected`` (0.02, of one tail 0.01), ``distance`` (Kolmogorov and
        Smirnov: 0 alike, 1 apart), ``words``.

    Raises:
        MetricError: one side has no value.
    """
    old, new = before[np.isfinite(before)], np.isfinite(now)
    if not len(old) or not new.any():
        msg = "not estimable: one side has no value to compare"
        raise MetricError(msg)
    values = now[new]
    low, high = np.quantile(old, OUTSIDE)
    above = values > high
    below = np.zeros_like(above) if upper_only else values < low
    is_out = above | below
    own = None if groups is None else groups[new]
    rate = proportion(is_out, own, level=level, word=word)
    expected = 1 - OUTSIDE[1] + (0.0 if upper_only else OUTSIDE[0])
    far = rate.low is not None and rate.low > 2 * expected
    words = "as in training"
    if far:
        # The tail that gives the alarm gives its direction.
        over, under = int(above.sum()), int(below.sum())
        way = "higher" if over > 2 * under else "lower" if under > 2 * over else "more varied"
        words = f"{way} than in training"
    return {
        "before": _spread(old),
        "now": _spread(values),
        "outside": {
            "value": rate.value,
            "low": rate.low,
            "high": rate.high,
            "x": rate.x,
            "n": rate.n,
            "method": rate.method,
            "reason": rate.reason,
        },
        "expected": expected,
        "distance": float(ks_2samp(old, values).statistic),
        "is_far": bool(far),
        "words": words,
    }


def _spread(values: NDArray[np.float64]) -> dict[str, float]:
    """The middle and the ends of a distribution."""
    low, middle, high = (float(v) for v in np.quantile(values, [0.05, 0.5, 0.95]))
    return {"n": len(values), "median": middle, "low": low, "high": high}


def number_drift(before: Level, now: Level, specs: Sequence[MetricSpec]) -> list[dict[str, Any]]:
    """Numbers on new cases against the same numbers on the run's own held-out cases.

    Two questions were named before: is the headline as it was, and is calibration in the
    large; together they keep the level (Holm). Every other number is called only where one of
    the two differs, and corrected for the number of all the others.

    Args:
        before: the held-out cases of the run.
        now: the new cases, at the same unit.
        specs: what is compared, as the new cases have it; the first is the headline.

    Returns:
        for each ``name``, ``title``, ``percent``, ``before``, ``now``, ``difference`` (now minus
        before), ``low``, ``high``, ``p``, ``p_holm``, ``family``, ``method``, ``reason``,
        ``verdict``.
    """
    rows = [_difference(before, now, spec) for spec in specs if spec.compute is not None]
    rows += _line_drift(before, now)
    first = [i for i, row in enumerate(rows) if i == 0 or row["name"] == "in_the_large"]
    hold_family([rows[i] for i in first], "the headline and calibration in the large")
    known = [rows[i]["p_holm"] for i in first if rows[i]["p_holm"] is not None]
    rest = [row for i, row in enumerate(rows) if i not in first]
    hold_family(rest, "the other numbers", behind=min(known, default=None))
    for row in rows:
        row["verdict"] = verdict_of(row, now.confidence, than="here", with_p=False)
    return rows


def _difference(before: Level, now: Level, spec: MetricSpec) -> dict[str, Any]:
    """The difference of one number, from its intervals on both sides."""
    found = unpaired(before, now, same_of(spec, before), same_of(spec, now))
    row: dict[str, Any] = {"name": spec.name, "title": spec.title, "percent": spec.percent}
    row |= found.as_row()
    for key, value in (("before", found.first), ("now", found.second)):
        row[key] = float(value) if np.isfinite(value) else None
    return row


def _line_drift(before: Level, now: Level) -> list[dict[str, Any]]:
    """Calibration slope and calibration in the large of the positive classes."""
    lines = [calibration_of(level) for level in (before, now)]
    if any(line is None or "slope" not in line for line in lines):
        return []
    rows = []
    for key, title in (
        ("slope", "Calibration slope"),
        ("in_the_large", "Calibration in the large"),
    ):
        then, here = (line[key] for line in lines if line is not None)
        row: dict[str, Any] = {"name": key, "title": title, "percent": False, "reason": ""}
        row |= {"before": then["value"], "now": here["value"]}
        row |= {"difference": here["value"] - then["value"]}
        row |= {"low": None, "high": None, "p": None, "method": ""}
        if then["se"] is None or here["se"] is None:
            row["reason"] = then["reason"] or here["reason"]
        else:
            found, p = between_samples(
                Estimate(then["value"], then["se"], then["df"]),
                Estimate(here["value"], here["se"], here["df"]),
                level=now.confidence,
                method="Welch, of both",
            )
            row |= {"low": found.low, "high": found.high, "p": p, "method": found.method}
        rows.append(row)
    return rows
