"""Calibration slope, intercept and calibration in the large of a level's positive classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.errors import MetricError
from core.statistics.calibration import calibration_line
from core.statistics.weighted import positive_part

if TYPE_CHECKING:
    from core.evaluation.cases import Level
    from core.statistics.intervals import Interval

__all__ = ["calibration_of"]


def calibration_of(level: Level) -> dict[str, Any] | None:
    """How the truth follows the scores on the scale of log odds; None without positive classes.

    Where cases come in groups, the intervals come from the spread between groups.

    Returns:
        ``of``, ``unit``, ``n``, ``n_events``, and ``slope``, ``intercept`` and ``in_the_large``,
        each with ``value``, ``low``, ``high``, ``method``, ``reason``, ``se`` and ``df``; or
        ``reason`` alone.
    """
    positive = level.task.positive_index
    if not positive or level.task.kind == "multilabel":
        return None
    truth, score, _ = positive_part(level.cases, positive)
    about = {"of": "+".join(level.task.classes[i] for i in positive), "unit": level.unit}
    alone = level.plan.is_independent
    try:
        line = calibration_line(
            truth,
            score,
            groups=None if alone else level.groups,
            strata=None if alone else level.plan.stratum[level.plan.index],
            level=level.confidence,
            word=level.plan.word,
        )
    except MetricError as error:
        return {**about, "reason": str(error)}
    return {
        **about,
        "n": level.n,
        "n_events": int(truth.sum()),
        **{
            name: _row(getattr(line, name), getattr(line, f"{name}_interval"), level.n)
            for name in ("intercept", "slope", "in_the_large")
        },
    }


def _row(value: float, found: Interval, n: int) -> dict[str, Any]:
    """One number of the line."""
    return {
        "value": value,
        "low": found.low,
        "high": found.high,
        "method": found.method,
        "reason": found.reason,
        "se": found.se,
        "df": float(n - 2) if found.df is None else found.df,
    }
