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
    "the outputs after softmax or sigmoid for those, or --scores logits if they are logits."
)
SEVERAL = "Each class is judged by the order of its own column, for columns share no scale."
# Names of numbers that rest on the order of scores alone, at no stored threshold.
RANKING = re.compile(r"auroc|average_precision")
# Of these, what puts columns of several classes on one scale.
ACROSS = re.compile(r"^micro_|_positive$")
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


def only_ranking(evaluation: Mapping[str, Any], *, several: bool = False) -> dict[str, Any]:
    """The content of ``metrics.json`` without what needs probabilities.

    Args:
        evaluation: of ``core.evaluation.summary.summarise``, from ranks.
        several: whether there are three classes or more, each with ranks of its own.
    """
    rows = [row for row in evaluation["metrics"] if RANKING.search(row["name"])]
    if several:
        rows = [row for row in rows if not ACROSS.search(row["name"])]
    about = dict(evaluation["about"])
    whole = [row for row in rows if not row["of"] and not row["subgroup"]]
    same = [row for row in whole if row["name"] == about["headline"]]
    compared = evaluation["subgroups"] if same else []
    precision = evaluation["precision"] if same else None
    if whole and not same:
        about |= {"headline": whole[0]["name"], "unit": whole[0]["unit"]}
    curves = {**evaluation["curves"], "reliability": {}, "decision": None, "risk_coverage": []}
    if several:
        alone = {row["of"] for row in rows}
        curves |= {key: [c for c in curves[key] if c["of"] in alone] for key in ("roc", "pr")}
    return {
        **evaluation,
        **OTHERS,
        "about": {**about, "threshold": None, "ranking_only": True},
        "metrics": rows,
        "curves": curves,
        "subgroups": compared,
        "precision": precision,
        "folds": evaluation["folds"] if same else None,
        "cautions": [SAID, *([SEVERAL] if several else []), *evaluation["cautions"]],
    }
