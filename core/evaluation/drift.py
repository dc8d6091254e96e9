"""Are new cases like those a model was trained and tested on, and does it do as well on them?

Inputs are compared by their distributions, numbers by their difference, each with
an interval. Old and new cases are different cases, so their resamples are drawn
apart and nothing is paired.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import ks_2samp, norm

from core.errors import MetricError
from core.statistics import metrics as named
from core.statistics import weighted as batches
from core.statistics.calibration import calibration_line
from core.statistics.comparisons import adjust, bootstrap_p
from core.statistics.delong import delong_unpaired
from core.statistics.intervals import check_level
from core.statistics.operating_points import proportion
from core.statistics.resampling import bootstrap_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from core.evaluation.cases import Level
    from core.evaluation.metric_specs import Spec

__all__ = ["input_drift", "number_drift"]

# Shares of the training images below and above which a new value counts as outside.
OUTSIDE = (0.01, 0.99)
# Areas of the positive classes, for which independent cases have a test of their own.
AREAS = ("auroc", "auroc_positive")
# Resamples for a metric of the app's own that has to be called once for each.
SLOW_RESAMPLES = 300


def input_drift(
    before: NDArray[np.float64],
    now: NDArray[np.float64],
    *,
    groups: NDArray[np.str_] | None = None,
    level: float = 0.95,
    word: str = "group",
) -> dict[str, Any]:
    """One property of the inputs then and now.

    Args:
        before: (M,) of the images the model was trained on.
        now: (N,) of the new images.
        groups: (N,) groups of the new images; None where each is its own.
        level: confidence level.
        word: what a group is called.

    Returns:
        ``before`` and ``now`` (``n``, ``median``, ``low``, ``high``: 5th and 95th percentile),
        ``outside`` (share of new values outside of the middle 98 % of the old ones, with its
        interval), ``expected`` (0.02), ``distance`` (Kolmogorov and Smirnov: 0 alike, 1 apart),
        ``words``.

    Raises:
        MetricError: one side has no value.
    """
    old, new = before[np.isfinite(before)], np.isfinite(now)
    if not len(old) or not new.any():
        msg = "not estimable: one side has no value to compare"
        raise MetricError(msg)
    values = now[new]
    low, high = np.quantile(old, OUTSIDE)
    is_out = (values < low) | (values > high)
    own = None if groups is None else groups[new]
    rate = proportion(is_out, own, level=level, word=word)
    expected = 1 - (OUTSIDE[1] - OUTSIDE[0])
    shift = float(np.median(values) - np.median(old))
    far = rate.low is not None and rate.low > 2 * expected
    words = "as in training"
    if far:
        words = (
            f"{'higher' if shift > 0 else 'lower' if shift < 0 else 'more varied'} than in training"
        )
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


def number_drift(before: Level, now: Level, specs: Sequence[Spec]) -> list[dict[str, Any]]:
    """Numbers on new cases against the same numbers on the run's own held-out cases.

    Args:
        before: the held-out cases of the run.
        now: the new cases, at the same unit.
        specs: what is compared; the first is the headline and stands alone, the p of the others
            are corrected for their number by Holm's method.

    Returns:
        for each ``name``, ``title``, ``percent``, ``before``, ``now``, ``difference`` (now minus
        before), ``low``, ``high``, ``p``, ``p_holm``, ``method``, ``reason``, ``verdict``.
    """
    rows = [_difference(before, now, spec) for spec in specs if spec.compute is not None]
    rows += _line_drift(before, now)
    family = adjust([np.nan if row["p"] is None else row["p"] for row in rows[1:]])
    for i, row in enumerate(rows):
        p = row["p"] if i == 0 else float(family[i - 1])
        row["p_holm"] = None if p is None or not np.isfinite(p) else float(p)
        row["verdict"] = _verdict(row, now.confidence)
    return rows


def _difference(before: Level, now: Level, spec: Spec) -> dict[str, Any]:
    """The difference of one number, its interval from resamples of both sides."""
    row: dict[str, Any] = {"name": spec.name, "title": spec.title, "percent": spec.percent}
    row |= {"difference": None, "low": None, "high": None, "p": None, "method": "", "reason": ""}
    compute = spec.compute
    if compute is None:
        return row
    values, replicates = [], []
    for level in (before, now):
        one = float(named.over_weights(compute, level.cases, np.ones((1, level.n)))[0])
        values.append(one)
        blocks, n = [], 0
        most = level.plan.resamples if named.is_batched(compute) else SLOW_RESAMPLES
        for block in level.plan.weights() if np.isfinite(one) else ():
            blocks.append(named.over_weights(compute, level.cases, block[: most - n]))
            n += len(blocks[-1])
            if n >= most:
                break
        replicates.append(np.concatenate(blocks) if blocks else np.full(1, np.nan))
    row["before"], row["now"] = (v if np.isfinite(v) else None for v in values)
    if not np.isfinite(values).all():
        row["reason"] = "undefined on the run's own cases or on the new ones"
        return row
    n = min(map(len, replicates))
    away = replicates[1][:n] - replicates[0][:n]
    fewer = before if before.plan.n_groups < now.plan.n_groups else now
    found = bootstrap_interval(values[1] - values[0], away, fewer.plan, level=now.confidence)
    row |= {"difference": values[1] - values[0], "low": found.low, "high": found.high}
    row["reason"] = found.reason
    if found.low is not None:
        row["method"] = f"bootstrap of both by {now.plan.word}, percentile"
        row["p"] = bootstrap_p(away)
    if spec.name in AREAS and before.plan.is_independent and now.plan.is_independent:
        _by_delong(row, before, now)
    return row


def _by_delong(row: dict[str, Any], before: Level, now: Level) -> None:
    """Put DeLong's unpaired interval and p in place of those of resamples."""
    positive = now.task.positive_index
    sides = [batches.positive_part(level.cases, positive)[:2] for level in (now, before)]
    try:
        test = delong_unpaired(*sides[0], *sides[1], level=now.confidence)
    except MetricError:
        return
    if test.p is not None and test.se:
        row |= {"low": test.low, "high": test.high, "p": test.p, "method": test.method}


def _line_drift(before: Level, now: Level) -> list[dict[str, Any]]:
    """Calibration slope and calibration in the large of the positive classes."""
    positive = now.task.positive_index
    if not positive or now.task.kind == "multilabel":
        return []
    lines = []
    for level in (before, now):
        truth, score, _ = batches.positive_part(level.cases, positive)
        groups = None if level.plan.is_independent else level.groups
        try:
            lines.append(calibration_line(truth, score, groups=groups, level=level.confidence))
        except MetricError:
            return []
    z = check_level(now.confidence)
    rows = []
    for key, title in (
        ("slope", "Calibration slope"),
        ("in_the_large", "Calibration in the large"),
    ):
        then, here = (getattr(line, key) for line in lines)
        errors = [float(getattr(line, f"{key}_interval").se or 0.0) for line in lines]
        se = float(np.hypot(errors[0], errors[1]))
        away = here - then
        row: dict[str, Any] = {"name": key, "title": title, "percent": False, "reason": ""}
        row |= {"before": then, "now": here, "difference": away}
        row |= {"low": away - z * se, "high": away + z * se, "method": "Wald, of both"}
        row["p"] = float(2 * norm.sf(abs(away) / se)) if se > 0 else None
        rows.append(row)
    return rows


def _verdict(row: Mapping[str, Any], confidence: float) -> str:
    """A difference in words."""
    if row["difference"] is None or row["p_holm"] is None:
        return str(row["reason"] or "not compared")
    if row["p_holm"] >= 1 - confidence:
        return "no difference is shown"
    return f"{'higher' if row['difference'] > 0 else 'lower'} here (p = {row['p_holm']:.2g})"
