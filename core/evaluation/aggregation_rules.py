"""Aggregation of image scores to units compared: mean, max, noisy-or and attention.

Each rule is applied to the same predictions, at each unit that holds several
images, and the headline is computed there; the difference to the rule in use
is paired, over the same resamples of whole groups. Nothing is chosen here: the
rule of a run was fixed before.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from core.app import Rule
from core.errors import AppError
from core.evaluation.attention_units import holds_attention
from core.evaluation.cases import Level
from core.evaluation.differences import of_same_cases, value_of
from core.evaluation.labelled_rows import cases_of, groups_of, judged_rows
from core.evaluation.metric_specs import MetricSpec, specs_of
from core.evaluation.unit_intervals import interval_of
from core.evaluation.units import decisions_by_unit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from core.app import Metric, Task, Unit
    from core.statistics.resampling import Draws

__all__ = ["compare_rules"]

# Units with several images below which a comparison of rules says nothing.
LEAST = 5


def compare_rules(
    predictions: pd.DataFrame,
    *,
    task: Task,
    units: Sequence[Unit],
    metric: Metric | None,
    threshold: float | Mapping[str, float] | None,
    draws: Draws,
) -> list[dict[str, Any]]:
    """The headline by unit and rule, with its interval and the difference to the rule in use.

    Args:
        predictions: ``core.base.tables.PREDICTIONS``.
        task: with its class order.
        units: the steps, with the rules in use.
        metric: the headline; None leaves everything out.
        threshold: of the operating point in use, or None; or one for each fold.
        draws: those of the other numbers of the page: the rule in use has its number there,
            too, and one interval.

    Returns:
        rows with unit, rule, in_force, title, value, low, high, n, n_several, and difference with
        its low and high (None for the rule in use itself). A unit whose images never
        number more than one, but for a few, is left out.
    """
    if metric is None:
        return []
    found: list[dict[str, Any]] = []
    for place, unit in enumerate(units):
        if not set(unit.columns) <= set(predictions.columns):
            continue
        rules = [rule for rule in get_args(Rule) if rule != "attention"]
        # Weights were learned for one unit; at another they would mean something else.
        if holds_attention(predictions) and (unit.learned or unit.rule == "attention"):
            rules.append("attention")
        values: dict[str, tuple[Level, MetricSpec]] = {}
        n_several = 0
        for rule in sorted(rules, key=lambda rule: rule != unit.rule):
            steps = [*units[:place], replace(unit, rule=rule)]
            try:
                tables, _ = decisions_by_unit(
                    predictions, task=task, units=steps, threshold=threshold, keep=("fold",)
                )
            except AppError:
                continue  # the rule has no meaning for this kind of task
            table = judged_rows(tables[unit.name], task)
            n_several = int((table["n_images"] > 1).sum())
            if n_several < LEAST:
                break
            cases, groups = cases_of(table, task), groups_of(table)
            one = Level.of(unit.name, cases, groups, task=task, draws=draws)
            values[rule] = (one, specs_of(one, [metric])[0])
        if unit.rule not in values:
            continue
        found += _rows(unit, metric, values, n_several)
    return found


def _rows(
    unit: Unit, metric: Metric, values: Mapping[str, tuple[Level, MetricSpec]], n_several: int
) -> list[dict[str, Any]]:
    """The rows of one unit; the rule in use first."""
    found = []
    base, base_spec = values[unit.rule]
    for rule, (one, spec) in values.items():
        value = value_of(one, spec)
        if not np.isfinite(value):
            continue
        interval = interval_of(one, spec, value)
        row: dict[str, Any] = {
            "unit": unit.name,
            "rule": rule,
            "in_force": rule == unit.rule,
            "name": metric.name,
            "title": metric.title,
            "percent": metric.percent,
            "value": value,
            "low": interval.low,
            "high": interval.high,
            "reason": interval.reason,
            "n": one.n,
            "n_several": n_several,
            "difference": None,
            "difference_low": None,
            "difference_high": None,
        }
        if rule != unit.rule:
            difference = of_same_cases(base, one, base_spec, spec).as_row()
            row["difference"] = difference["difference"]
            row["difference_low"], row["difference_high"] = difference["low"], difference["high"]
        found.append(row)
    return found
