"""The evaluation where no image could be scored: how many were given, and the reasons.

An evaluation of nothing has no number, and that is a result: the files are at fault, not the
labels, and the report lists them with their reasons.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.evaluation.participant_flow import flow_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from core.app import Task

__all__ = ["is_nothing_scored", "nothing_scored"]


def is_nothing_scored(predictions: pd.DataFrame) -> bool:
    """Whether there are images, and every one of them failed or was skipped."""
    return bool(len(predictions)) and not bool((predictions["status"] == "ok").any())


def nothing_scored(
    predictions: pd.DataFrame,
    tables: Mapping[str, pd.DataFrame],
    judged: Mapping[str, pd.DataFrame],
    task: Task,
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of ``metrics.json`` without a number.

    Args:
        predictions: every image failed or skipped.
        tables: unit name -> decisions.
        judged: unit name -> its rows that can be judged, none.
        task: with its class order.
        about: of the evaluation: ``split``, ``level``, ``resamples``, ``seed``, ``design``,
            ``group`` and ``headline``.
    """
    flow, _ = flow_of(predictions, tables, judged, task, str(about["group"]))
    why = predictions["reason"].fillna("").astype(str)
    first = next((text for text in why if text), "no reason is recorded")
    n = len(predictions)
    return {
        "schema": 1,
        "about": {
            "task": task.name,
            "kind": task.kind,
            "classes": list(task.classes),
            "positive": [task.classes[i] for i in task.positive_index],
            "threshold": None,
            "unit": "image",
            "units": [],
            "n_images": 0,
            "n_groups": 0,
            "grouped": False,
            "absent_classes": list(task.classes),
            "truth": {},
            **about,
        },
        "prevalence": None,
        "flow": flow,
        "metrics": [],
        "confusion": {},
        "curves": {"roc": [], "pr": [], "reliability": {}, "decision": None, "risk_coverage": []},
        "operating_points": [],
        "subgroups": [],
        "gaps": [],
        "calibration_by_subgroup": [],
        "rules": [],
        "precision": None,
        "folds": None,
        "calibration": None,
        "failures": None,
        "cautions": [
            f"0 of {n:,} images were scored, so nothing could be evaluated; intervals are "
            f"withheld with every number. The first reason: {first.rstrip('.')}. The page lists "
            "each file with its own."
        ],
    }
