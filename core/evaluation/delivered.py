"""How often the calls that a run delivers are right: at its operating point, else by the class.

A stored threshold that is not in use calls nobody. What a user gets is the decision of each
case, so these rates are counted from the decisions themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.evaluation.doubt_marks import is_negative
from core.evaluation.labelled_rows import groups_of, is_labelled
from core.evaluation.stored_thresholds import at_prevalence
from core.statistics.operating_points import two_by_two

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from core.app import Task

__all__ = ["delivered_rates"]


def delivered_rates(
    evaluation: Mapping[str, Any], decisions: Mapping[str, pd.DataFrame], task: Task
) -> dict[str, Any] | None:
    """Sensitivity, specificity and share called of the positive classes, by the decisions.

    Args:
        evaluation: the content of ``metrics.json``.
        decisions: unit name -> decisions table; of images the predictions.
        task: with its classes.

    Returns:
        ``unit``, ``counts``, ``sensitivity``, ``specificity``, ``ppv``, ``npv`` and
        ``recall_rate`` as an operating point has them, and ``at_prevalence`` where one is given;
        None where no class is positive, or no case was decided.
    """
    about = evaluation.get("about") or {}
    unit = str(about.get("unit") or "image")
    table = decisions.get(unit)
    if not task.positive_index or task.kind == "multilabel" or table is None:
        return None
    if not {"label", "decision", "group"} <= set(table.columns):
        return None
    if "unit_id" not in table:
        table = table.assign(unit_id=table["image_id"])
    text = table.assign(
        **{name: table[name].fillna("").astype(str) for name in ("label", "decision", "group")}
    )
    rows = text[is_labelled(text, task) & (text["label"] != "") & (text["decision"] != "")]
    if not len(rows):
        return None
    positive = [task.classes[i] for i in task.positive_index]
    level, word = float(about.get("level") or 0.95), str(about.get("group") or "group")
    groups = groups_of(rows)
    found = two_by_two(
        rows["label"].isin(positive).to_numpy(),
        ~is_negative(rows["decision"].to_numpy(dtype=object), task),
        groups=None if len(set(groups)) == len(rows) else groups,
        level=level,
        word=word,
    )
    content: dict[str, Any] = {
        "unit": unit,
        "counts": {"tp": found.tp, "fp": found.fp, "fn": found.fn, "tn": found.tn},
        **{name: rate for name, rate in found.as_dict().items() if name in _RATES},
    }
    prevalence = evaluation.get("prevalence")
    if prevalence:
        content["at_prevalence"] = at_prevalence(content, float(prevalence), level)
    return content


_RATES = ("sensitivity", "specificity", "ppv", "npv", "recall_rate")
