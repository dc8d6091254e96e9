"""Scores that are no probabilities are judged for discrimination only.

Raw scores (logits, a risk on a scale of its own) rank cases and say nothing about chances:
areas and their curves hold for any scale, while calibration, decisions, net benefit and costs
do not. What is left out is said.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SAID", "only_ranking"]

SAID = (
    "Scores lie outside of [0, 1], so they are no probabilities: they are judged for "
    "discrimination only. Decisions, thresholds, calibration and net benefit are left out; pass "
    "the outputs after softmax or sigmoid for those."
)
# Names of numbers that rest on the order of scores alone, at no stored threshold.
RANKING = re.compile(r"auroc|average_precision")
# Parts of metrics.json that speak of decisions or of chances.
OTHERS: dict[str, Any] = {
    "confusion": {},
    "operating_points": [],
    "gaps": [],
    "calibration_by_subgroup": [],
    "rules": [],
    "calibration": None,
    "failures": None,
}


def only_ranking(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """The content of ``metrics.json`` without what needs probabilities."""
    rows = [row for row in evaluation["metrics"] if RANKING.search(row["name"])]
    about = dict(evaluation["about"])
    whole = [row for row in rows if not row["of"] and not row["subgroup"]]
    same = [row for row in whole if row["name"] == about["headline"]]
    compared = evaluation["subgroups"] if same else []
    precision = evaluation["precision"] if same else None
    if whole and not same:
        about |= {"headline": whole[0]["name"], "unit": whole[0]["unit"]}
    curves = {**evaluation["curves"], "reliability": {}, "decision": None, "risk_coverage": []}
    return {
        **evaluation,
        **OTHERS,
        "about": {**about, "threshold": None, "ranking_only": True},
        "metrics": rows,
        "curves": curves,
        "subgroups": compared,
        "precision": precision,
        "folds": evaluation["folds"] if same else None,
        "cautions": [SAID, *evaluation["cautions"]],
    }
