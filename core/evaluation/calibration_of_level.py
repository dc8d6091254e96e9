"""Calibration slope, intercept and calibration in the large of a level's positive classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import MetricError
from core.statistics.calibration import calibration_line, in_the_large, logistic_lines
from core.statistics.jackknife import jackknife_interval
from core.statistics.reliability import logits_of
from core.statistics.resampling import jackknife
from core.statistics.weighted import positive_part

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from core.evaluation.cases import Level
    from core.statistics.intervals import Interval

__all__ = ["calibration_of"]


def calibration_of(level: Level) -> dict[str, Any] | None:
    """How the truth follows the scores on the scale of log odds; None without positive classes.

    Where cases come in groups, the intervals are the jackknife's over groups.

    Returns:
        ``of``, ``unit``, and ``slope``, ``intercept`` and ``in_the_large``, each with ``value``,
        ``low``, ``high``, ``method``, ``reason``, ``se`` and ``df``; or ``reason`` alone.
    """
    positive = level.task.positive_index
    if not positive or level.task.kind == "multilabel":
        return None
    truth, score, _ = positive_part(level.cases, positive)
    about = {"of": "+".join(level.task.classes[i] for i in positive), "unit": level.unit}
    try:
        line = calibration_line(truth, score, level=level.confidence)
    except MetricError as error:
        return {**about, "reason": str(error)}
    values = {"intercept": line.intercept, "slope": line.slope, "in_the_large": line.in_the_large}
    if level.plan.is_independent:
        found = {name: getattr(line, f"{name}_interval") for name in values}
    else:
        left_out = jackknife(_lines(truth.astype(float), logits_of(score)), level.plan)
        found = {
            name: jackknife_interval(value, left_out[:, i], level.plan, level=level.confidence)
            for i, (name, value) in enumerate(values.items())
        }
    return {**about, **{name: _row(values[name], found[name], level.n) for name in values}}


def _lines(truth: NDArray[np.float64], x: NDArray[np.float64]) -> Any:
    """Weights (b, N) -> intercept, slope and intercept in the large (b, 3)."""

    def of(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack([logistic_lines(truth, x, weights), in_the_large(truth, x, weights)])

    return of


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
