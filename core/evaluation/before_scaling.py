"""What temperature scaling changed: calibration numbers before it, and the paired difference.

Both are of the same images, so that the intervals of the two numbers overlap says nothing of
their difference: it has an interval of its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from core.evaluation.differences import value_of
from core.evaluation.labelled_rows import cases_of
from core.evaluation.metric_specs import MetricSpec
from core.evaluation.paired import compare_levels
from core.evaluation.paired_decisions import PairedCases
from core.evaluation.unit_intervals import interval_of
from core.evaluation.unit_metrics import metric_row
from core.evaluation.units import text_of
from core.statistics import metrics as named
from core.statistics.metric_kinds import basis_of
from core.statistics.scores import scores_from_logits

if TYPE_CHECKING:
    import pandas as pd

    from core.app import Cases, Task
    from core.evaluation.cases import Level

__all__ = ["before_scaling", "effect_of_scaling", "rows_before"]


def before_scaling(
    predictions: pd.DataFrame, judged: pd.DataFrame, task: Task, link: str
) -> Cases | None:
    """The images with the scores they had before temperature scaling.

    None where logits are absent, or where the scores are theirs as they stand: a temperature
    of 1 scales nothing.
    """
    n_logits = len(task.classes) - 1 if link in {"cumulative", "regression"} else len(task.classes)
    names = [f"logit_{i}" for i in range(n_logits)]
    if not set(names) <= set(predictions.columns) or not len(judged):
        return None
    ids = text_of(predictions["image_id"])
    place = {name: i for i, name in enumerate(ids)}
    rows = [place[name] for name in judged["unit_id"]]
    logits = predictions[names].to_numpy(dtype=np.float64, na_value=np.nan)[rows]
    if not np.isfinite(logits).all():
        return None
    now = cases_of(judged, task)
    scores = scores_from_logits(logits, link=link)
    # Scores are stored in single precision.
    if np.allclose(scores, now.scores, rtol=0.0, atol=1e-6):
        return None
    return replace(now, scores=scores)


def rows_before(level: Level, before: Cases, split: str) -> list[dict[str, Any]]:
    """Calibration numbers before temperature scaling."""
    then = replace(level, cases=before)
    rows = []
    for name, title in (
        ("log_loss", "Log-loss before temperature scaling"),
        ("brier", "Brier score before temperature scaling"),
        ("expected_calibration_error", "Expected calibration error before temperature scaling"),
    ):
        spec = replace(_spec(name, title, before), name=f"{name}_before")
        value = value_of(then, spec)
        rows.append(metric_row(then, spec, value, interval_of(then, spec, value), split=split))
    return rows


def effect_of_scaling(level: Level, before: Cases) -> dict[str, Any] | None:
    """Log-loss after temperature scaling minus that before, on the same images.

    Returns:
        ``difference``, ``low``, ``high``, ``p``, ``method`` and ``reason``, as of
        ``core.evaluation.paired.compare_levels``; None where log-loss is not defined.
    """
    then = replace(level, cases=before)
    spec = _spec("log_loss", "Log-loss", before)
    found = compare_levels(PairedCases(then, level), [spec], headline="log_loss")
    wanted = ("difference", "low", "high", "p", "method", "reason")
    return next(({key: row[key] for key in wanted} for row in found), None)


def _spec(name: str, title: str, before: Cases) -> MetricSpec:
    """A number of ``core.statistics.metrics``, of the scores before scaling."""
    compute = getattr(named, name)
    return MetricSpec(
        name=name, title=title, key=name, basis=basis_of(compute, before), compute=compute
    )
