"""The curves of a level as plain lists: ROC, precision-recall, reliability, decision, refer.

What is listed here is what a report draws; curves with many points are thinned
to those that carry their shape.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import MetricError
from core.statistics import weighted as batches
from core.statistics.decision_curves import decision_curve, net_interval, risk_coverage
from core.statistics.discrimination import Curve, pr_points, roc_points
from core.statistics.metric_kinds import Share
from core.statistics.reliability import reliability, top_label
from core.statistics.resampling import MIN_GROUPS, few_groups

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from core.app import Cases
    from core.evaluation.cases import Level
    from core.statistics.intervals import Interval

__all__ = ["decision_of", "questions", "ranking_curves", "reliability_of", "risk_coverage_of"]

# More points than this are not told apart on paper.
MAX_POINTS = 300
THRESHOLDS = np.arange(1, 100) / 100
# Where the gain on acting on all is told with an interval.
GAINS_AT = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)


def questions(level: Level) -> list[tuple[str, NDArray[np.bool_], NDArray[np.float64]]]:
    """The two-way questions of a task: (what is positive, truth, score)."""
    task, cases = level.task, level.cases
    found = []
    positive = task.positive_index
    if positive and task.kind != "multilabel":
        truth, score, _ = batches.positive_part(cases, positive)
        found.append(("+".join(task.classes[i] for i in positive), truth == 1, score))
    if task.kind != "binary":
        taken = {name for name, _, _ in found}
        found += [
            (name, level.holds(i), cases.scores[:, i])
            for i, name in enumerate(task.classes)
            if name not in taken
        ]
    return found


def ranking_curves(level: Level) -> dict[str, list[dict[str, Any]]]:
    """ROC and precision-recall curves of every question that has one."""
    found: dict[str, list[dict[str, Any]]] = {"roc": [], "pr": []}
    for of, truth, score in questions(level):
        for name, points in (("roc", roc_points), ("pr", pr_points)):
            try:
                curve = _thinned(points(truth, score))
            except MetricError:
                continue
            found[name].append(
                {
                    "of": of,
                    "unit": level.unit,
                    "n": level.n,
                    "n_events": int(truth.sum()),
                    # More digits than this are not told apart on paper.
                    "x": curve.x.round(6).tolist(),
                    "y": curve.y.round(6).tolist(),
                    "threshold": [float(t) if np.isfinite(t) else None for t in curve.threshold],
                }
            )
    return found


def _thinned(curve: Curve) -> Curve:
    """Corners first: points inside a straight stretch go, then every so many."""
    x, y = curve.x, curve.y
    if len(x) > 2:
        cross = (x[1:-1] - x[:-2]) * (y[2:] - y[1:-1]) - (y[1:-1] - y[:-2]) * (x[2:] - x[1:-1])
        keep = np.r_[True, np.abs(cross) > 1e-15, True]
        curve = Curve(x[keep], y[keep], curve.threshold[keep])
    if len(curve.x) > MAX_POINTS:
        at = np.unique(np.linspace(0, len(curve.x) - 1, MAX_POINTS).round().astype(int))
        curve = Curve(curve.x[at], curve.y[at], curve.threshold[at])
    return curve


def reliability_of(level: Level, cases: Cases | None = None) -> list[dict[str, Any]]:
    """Bins of the positive class, of the decided class, or of all labels.

    Args:
        level: gives the kind of task.
        cases: with other scores, such as before scaling; None takes the level's own.
    """
    own = cases or level.cases
    groups = level.groups
    if own.y.ndim == 2:
        truth, score = own.y.ravel(), own.scores.ravel()
        groups = np.repeat(groups, own.y.shape[1])
    elif own.scores.shape[1] == 2:
        truth, score = own.y, own.scores[:, 1]
    else:
        truth, score = top_label(own.y, own.scores)
    alone = level.plan.is_independent and own.y.ndim == 1
    bins = reliability(
        truth,
        np.clip(score, 0.0, 1.0),
        level=level.confidence,
        groups=None if alone else groups,
    )
    return [asdict(one) for one in bins]


def decision_of(level: Level, prevalence: float | None = None) -> dict[str, Any] | None:
    """Net benefit by threshold with its interval, and what it gains on acting on all.

    Args:
        level: the cases.
        prevalence: of the positive classes where the model will be used; None takes that of
            these cases.

    Returns:
        None where the task has no positive classes. ``rows`` holds the net benefit, which is
        the gain on acting on none, and the gain on acting on all at some thresholds, each with
        its interval.
    """
    positive = level.task.positive_index
    if not positive or level.task.kind == "multilabel":
        return None
    positives, score, _ = batches.positive_part(level.cases, positive)
    truth = np.asarray(positives == 1)
    if not truth.any() or truth.all():
        return None
    found = decision_curve(truth, score, thresholds=THRESHOLDS, prevalence=prevalence)
    enough = level.plan.n_groups >= MIN_GROUPS
    model, rows = [], []
    for i, at in enumerate(THRESHOLDS):
        called = score >= at
        if enough:
            model.append(_net(level, truth, called, float(at), prevalence))
        if at.round(2) in GAINS_AT:
            gain = few_groups(level.plan, level.confidence)
            if enough:
                gain = _net(level, truth, called, float(at), prevalence, beyond_all=True)
            both = float(found["model"][i]), float(found["everybody"][i])
            row: dict[str, Any] = {"threshold": float(at), "model": both[0], "all": both[1]}
            row |= {"gain": both[0] - both[1], "low": gain.low, "high": gain.high}
            # What the model gains on acting on none is its net benefit itself.
            alone = model[-1] if enough else gain
            row |= {"model_low": alone.low, "model_high": alone.high}
            rows.append(row | {"reason": gain.reason})
    return {
        "of": "+".join(level.task.classes[i] for i in positive),
        "unit": level.unit,
        "prevalence": float(truth.mean()) if prevalence is None else prevalence,
        "prevalence_is_given": prevalence is not None,
        "threshold": THRESHOLDS.tolist(),
        "model": found["model"].tolist(),
        "low": [one.low for one in model],
        "high": [one.high for one in model],
        "all": found["everybody"].tolist(),
        "none": found["nobody"].tolist(),
        "rows": rows,
        "method": "intervals from those of the shares found and called wrongly (Zou and Donner)",
    }


def _net(
    level: Level,
    truth: NDArray[np.bool_],
    called: NDArray[np.bool_],
    threshold: float,
    prevalence: float | None,
    *,
    beyond_all: bool = False,
) -> Interval:
    """The interval of the net benefit of calling these cases, or of its gain on calling all.

    What calling all would have cost is spared in negative cases that are not called, and lost
    in positive ones.
    """
    odds = threshold / (1 - threshold)
    everybody = np.ones(level.n, dtype=bool)
    weights = {True: 1.0, False: odds}
    if prevalence is not None:
        weights = {True: prevalence, False: (1 - prevalence) * odds}
    counted = ~called if beyond_all else called
    shares = {
        side: (
            weights[side],
            Share(counted & (truth == side), everybody)
            if prevalence is None
            else Share(counted, truth == side),
        )
        for side in (True, False)
    }
    return net_interval(
        shares[not beyond_all],
        shares[beyond_all],
        None if level.plan.is_independent else level.groups,
        level=level.confidence,
        word=level.plan.word,
    )


def risk_coverage_of(level: Level) -> dict[str, Any]:
    """The error among the rest when the least certain cases are referred."""
    cases = level.cases
    right = cases.y == cases.decided
    if right.ndim == 2:
        right = right.all(axis=1)
        # As sure as the least sure label.
        sure = np.abs(cases.scores - 0.5).min(axis=1)
    else:
        sure = cases.scores[np.arange(level.n), cases.decided]
    groups = None if level.plan.is_independent else level.groups
    shares = [0.0, *(np.arange(1, 19) / 20)]
    rows = risk_coverage(
        right, sure, groups=groups, referred=shares, level=level.confidence, word=level.plan.word
    )
    kept = [row for row in rows if row["low"] is not None]
    kept = sorted({row["coverage"]: row for row in kept}.values(), key=lambda row: row["coverage"])
    shown = {0.0, 0.05, 0.1, 0.2, 0.3}
    return {
        "of": "decided class",
        "unit": level.unit,
        "x": [row["coverage"] for row in kept],
        "y": [row["error"] for row in kept],
        "low": [row["low"] for row in kept],
        "high": [row["high"] for row in kept],
        "threshold": [row["threshold"] for row in kept],
        "n": [row["n"] for row in kept],
        "rows": [row for row in rows if row["referred"] in shown],
    }
