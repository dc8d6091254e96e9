"""What a stored operating point gives on new cases, here and at another prevalence.

The threshold comes with the run and is only counted at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from core.statistics.intervals import check_level
from core.statistics.operating_points import drawn_in, per_thousand, predictive_values, two_by_two
from core.statistics.weighted import positive_part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from core.evaluation.cases import Level

__all__ = ["at_prevalence", "counted_at", "reached", "threshold_in_force", "thresholds_of"]

# Rates of an operating point and their words.
NAMES = {
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "Positive predictive value",
    "npv": "Negative predictive value",
    "recall_rate": "Called positive",
}
# From screening a population to a clinic of the referred.
PREVALENCES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


def reached(
    point: Mapping[str, Any],
    levels: Mapping[str, Level],
    highest: str,
    *,
    prevalence: float | None,
    split: str,
    folds: Mapping[str, NDArray[np.str_]] | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What an operating point gives on these cases.

    Args:
        point: ``name``, ``threshold`` and, where known, ``unit`` and provenance.
        levels: unit name -> cases.
        highest: the unit of a point that names none.
        prevalence: where the model will be used, or None.
        split: for the rows.
        folds: unit name -> (N,) the fold each case was left out in.

    Returns:
        its entry for ``metrics.json``, and rows of ``core.base.tables.METRICS``.
    """
    unit = point.get("unit") if point.get("unit") in levels else highest
    level = levels[str(unit)]
    positive = level.task.positive_index
    entry = {**point, "unit": unit}
    if not positive or level.task.kind == "multilabel":
        entry["reason"] = "the task names no positive classes, so a threshold has no meaning"
        return entry, []
    if point["threshold"] is None:
        entry["reason"] = point.get("reason") or "no threshold was found for it"
        return entry, []
    truth, score, _ = positive_part(level.cases, positive)
    at: float | NDArray[np.float64] = float(point["threshold"])
    by_fold = thresholds_of(point, split)
    if isinstance(by_fold, dict) and unit in (folds or {}):
        at = np.array([by_fold.get(name, at) for name in (folds or {})[str(unit)]])
    entry["counted_at"] = counted_at(point, split)
    groups = None if level.plan.is_independent else level.groups
    table = two_by_two(
        truth,
        score >= at,
        groups=groups,
        level=level.confidence,
        word=level.plan.word,
    )
    entry["counts"] = {"tp": table.tp, "fp": table.fp, "fn": table.fn, "tn": table.tn}
    content = table.as_dict()
    entry |= {name: content[name] for name in NAMES}
    about = {"of": point["name"], "unit": level.unit, "split": split, "subgroup": ""}
    rows = [_rate_row(name, content[name], level, truth == 1, about) for name in NAMES]
    entry["likelihood_ratios"] = likelihood_ratios(
        content["sensitivity"], content["specificity"], level.confidence
    )
    entry["by_prevalence"] = [
        at_prevalence(content, share, level.confidence) for share in PREVALENCES
    ]
    if prevalence is not None:
        entry["at_prevalence"] = at_prevalence(content, prevalence, level.confidence)
    return entry, rows


def _rate_row(
    name: str,
    rate: Mapping[str, Any],
    level: Level,
    positive: NDArray[np.bool_],
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """A rate as a row of ``core.base.tables.METRICS``."""
    among = {"sensitivity": positive, "specificity": ~positive}.get(name)
    return {
        "name": name,
        "title": NAMES[name],
        **about,
        "value": rate["value"],
        "low": rate["low"],
        "high": rate["high"],
        "level": level.confidence,
        "method": rate["method"],
        "n": rate["n"],
        "n_groups": level.plan.n_groups if among is None else level.groups_in(among),
        "n_events": rate["x"],
        "reason": rate["reason"],
        "percent": True,
    }


def thresholds_of(point: Mapping[str, Any], split: str) -> float | dict[str, float]:
    """The threshold, or one for each fold where the judged cases helped to choose it.

    Out-of-fold cases choose the threshold of the run. To judge them at it would flatter it,
    so each is judged at the one that the other folds alone gave, stored at training.
    """
    stored = point.get("fold_thresholds")
    if split == "out-of-fold" and point.get("split") == split and stored:
        return {"": float(point["threshold"]), **{k: float(v) for k, v in stored.items()}}
    return float(point["threshold"])


def counted_at(point: Mapping[str, Any], split: str) -> str:
    """At which threshold cases of a split are counted, in words."""
    if point.get("exploratory"):
        return "at a threshold chosen on these very cases"
    if isinstance(thresholds_of(point, split), dict):
        return "each case at the threshold that the other folds gave"
    return "at a threshold set before, not on these cases"


def threshold_in_force(run: Mapping[str, Any], split: str) -> float | dict[str, float] | None:
    """The threshold that a run decides cases of a split at, or one for each fold; or None."""
    point = run.get("operating_point")
    if point is None or point.get("threshold") is None:
        return None
    return thresholds_of(point, split)


def at_prevalence(
    content: Mapping[str, Any], prevalence: float, confidence: float
) -> dict[str, Any]:
    """Predictive values and counts per 1,000 where the model will be used."""
    sensitivity, specificity = content["sensitivity"], content["specificity"]
    if sensitivity["value"] is None or specificity["value"] is None:
        reason = "sensitivity or specificity is not estimable here"
        return {"prevalence": prevalence, "reason": reason}
    found = predictive_values(
        sensitivity["value"],
        specificity["value"],
        prevalence,
        n_positive=_effective(sensitivity, confidence),
        n_negative=_effective(specificity, confidence),
        level=confidence,
    )
    counts = per_thousand(sensitivity["value"], specificity["value"], prevalence)
    return {"prevalence": prevalence, **found, "per_1000": counts}


def likelihood_ratios(
    sensitivity: Mapping[str, Any], specificity: Mapping[str, Any], confidence: float
) -> dict[str, dict[str, Any]]:
    """How much a call, and none, change the odds of a positive case, with intervals.

    On the scale of logarithms, with as many independent cases as the intervals of sensitivity
    and specificity are worth (Simel, Samsa and Matchar 1991, doi:10.1016/0895-4356(91)90128-v).

    Returns:
        ``positive`` and ``negative``, each ``value``, ``low``, ``high``, ``reason``.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in ("positive", "negative"):
        row: dict[str, Any] = {"value": None, "low": None, "high": None, "reason": ""}
        found[name] = row
        if sensitivity["value"] is None or specificity["value"] is None:
            row["reason"] = "sensitivity or specificity is not estimable here"
            continue
        hit, pass_ = float(sensitivity["value"]), float(specificity["value"])
        above, below = (hit, 1 - pass_) if name == "positive" else (1 - hit, pass_)
        n_1, n_0 = _effective(sensitivity, confidence), _effective(specificity, confidence)
        if below > 0:
            row["value"] = above / below
        else:
            row["reason"] = (
                "no negative case was called" if name == "positive" else "all were called"
            )
        # As in predictive values elsewhere, which are these ratios times the odds there.
        a, b = drawn_in(above, n_1), drawn_in(below, n_0)
        half = check_level(confidence) * float(np.sqrt((1 - a) / (a * n_1) + (1 - b) / (b * n_0)))
        middle = float(np.log(a / b))
        value = row["value"]
        low, high = float(np.exp(middle - half)), float(np.exp(middle + half))
        row["low"] = low if value is None else min(low, value)
        row["high"] = None if value is None else max(high, value)
    return found


def _effective(rate: Mapping[str, Any], confidence: float) -> float:
    """As many independent cases as would give an interval of this width."""
    n, p = float(rate["n"]), float(rate["value"])
    z = check_level(confidence)
    if rate["low"] is None or "Wilson," in rate["method"]:
        return n
    if p in {0.0, 1.0}:
        # The exact limit counts groups: as many cases as would give it.
        limit = float(rate["low"]) if p == 1.0 else 1 - float(rate["high"])
        return float(min(n, max(1.0, np.log((1 - confidence) / 2) / np.log(limit))))
    half = (float(rate["high"]) - float(rate["low"])) / 2
    return float(min(n, max(1.0, p * (1 - p) * z**2 / half**2)))
