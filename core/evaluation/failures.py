"""Sensitivity analysis of failures: cases without a score left out, as wrong, or as positive.

Leaving failures out flatters a model that fails on the hard ones. Each number
that counts decisions is given several ways: failures left out, counted as wrong,
and, where classes are positive, referred as if positive; and the same with images
whose quality says that they should not be judged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from core.base.tables import POSITIVE, decided_classes
from core.evaluation.labelled_rows import groups_of, is_labelled
from core.evaluation.units import text_of
from core.statistics.operating_points import Rate, proportion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pandas as pd
    from numpy.typing import NDArray

    from core.app import Task

__all__ = ["both_ways", "failures_of", "quality_words"]

# Share of the images that a gate may flag before it is said to be unfit for them.
MANY_FLAGGED = 0.3

WAYS = {
    "excluded": "left out",
    "as_wrong": "counted as wrong",
    "as_positive": "counted as called positive",
}


def failures_of(
    predictions: pd.DataFrame,
    tables: Mapping[str, pd.DataFrame],
    unit: str,
    task: Task,
    level: float,
    word: str,
) -> dict[str, Any] | None:
    """Numbers with failures left out and counted, per image and per headline unit."""
    flagged_ids: set[str] = set()
    if "quality" in predictions:
        flagged_ids = set(
            text_of(predictions["image_id"])[text_of(predictions["quality"]) != ""].tolist()
        )
    found: dict[str, Any] = {}
    for name in dict.fromkeys((unit, "image")):
        table = tables[name][is_labelled(tables[name], task) & (tables[name]["label"] != "")]
        if not len(table):
            continue
        flagged = np.zeros(len(table), dtype=bool)
        if name == "image":
            flagged = table["unit_id"].isin(flagged_ids).to_numpy()
        own = word if (table["group"] != "").any() else name
        one = both_ways(table, flagged, task=task, groups=groups_of(table), level=level, word=own)
        if one is not None:
            for row in one["rows"]:
                row["unit"] = name
            if not found:
                found = {**one, "unit": name}
            else:
                found["rows"] = found["rows"] + one["rows"]
                found["n_flagged"] = max(found["n_flagged"], one["n_flagged"])
    return found or None


def quality_words(table: pd.DataFrame, doing: str) -> str:
    """What is said where the app's gate would refuse many of these images; empty where not.

    Labels that a person gave count, also of images that the gate flags: they are trained and
    judged on. New images that it flags are marked and not decided.

    Args:
        table: ``status`` and, where the app has a gate, ``quality`` of each image.
        doing: what is done with them: ``trained on``.
    """
    if "quality" not in table:
        return ""
    scored = table[table["status"] == "ok"]
    quality = text_of(scored["quality"])
    flagged = quality[quality != ""]
    if len(flagged) <= MANY_FLAGGED * len(scored):
        return ""
    kinds, counts = np.unique(flagged, return_counts=True)
    return (
        f"The quality gate of this app flags {len(flagged):,} of these {len(scored):,} images "
        f"(most often: {kinds[counts.argmax()]}). They are {doing} with the labels they came with, "
        "but new images like them will be marked and not decided: use larger or better images, "
        "or pass --accept-doubtful when you predict."
    )


def both_ways(
    decisions: pd.DataFrame,
    flagged: NDArray[np.bool_],
    *,
    task: Task,
    groups: NDArray[np.str_],
    level: float,
    word: str,
) -> dict[str, Any] | None:
    """Numbers of decisions with failures left out and counted.

    Args:
        decisions: all units of one level with a label that is a class of the task.
        flagged: (N,) scored, but of a quality that should not be judged.
        task: with its class order.
        groups: (N,) unique where a unit has none.
        level: confidence level.
        word: what a group is called.

    Returns:
        ``n`` failed, ``n_flagged`` and ``rows``: ``name``, ``title``, ``what`` (failed, or
        failed and flagged), ``way``, ``words``, ``value``, ``low``, ``high``, ``x``, ``n``,
        ``method``, ``reason``; None where every case has a score and none is flagged.
    """
    failed = (decisions["n_images"] == 0).to_numpy()
    if not failed.any() and not flagged.any():
        return None
    label, classes = decisions["label"].to_numpy(), decided_classes(decisions, task).to_numpy()
    decision = decisions["decision"].to_numpy()
    own = None if len(np.unique(groups)) == len(groups) else groups

    def rate(success: NDArray[np.bool_], among: NDArray[np.bool_]) -> Rate:
        some = None if own is None else own[among]
        return proportion(success[among], some, level=level, word=word)

    sets = [("failed", failed)]
    if flagged.any():
        sets.append(("failed or flagged", failed | flagged))
    rows: list[dict[str, Any]] = []
    for what, lost in sets:
        if not lost.any():
            continue
        for name, title, way, found in _rates(label, (classes, decision), lost, task, rate):
            rows.append(
                {
                    "name": name,
                    "title": title,
                    "what": what,
                    "way": way,
                    "words": f"{what}: {WAYS[way]}",
                    "value": found.value,
                    "low": found.low,
                    "high": found.high,
                    "x": found.x,
                    "n": found.n,
                    "method": found.method,
                    "reason": found.reason,
                    "percent": True,
                }
            )
    return {
        "n": int(failed.sum()),
        "n_failed": int(failed.sum()),
        "n_flagged": int((flagged & ~failed).sum()),
        "n_total": len(decisions),
        "rows": rows,
    }


def _rates(
    label: NDArray[Any],
    decided: tuple[NDArray[Any], NDArray[Any]],
    lost: NDArray[np.bool_],
    task: Task,
    rate: Callable[[NDArray[np.bool_], NDArray[np.bool_]], Rate],
) -> list[tuple[str, str, str, Rate]]:
    """(name, title, way, rate) of what counts classes and decisions, ``decided``."""
    everybody = np.ones(len(label), dtype=bool)
    classes, decision = decided
    right = label == classes
    found = [
        ("accuracy", "Accuracy", "excluded", rate(right, ~lost)),
        ("accuracy", "Accuracy", "as_wrong", rate(right & ~lost, everybody)),
    ]
    if not task.positive_index or task.kind == "multilabel":
        return found
    names = [task.classes[i] for i in task.positive_index]
    sides = [] if task.is_two_way else [POSITIVE]
    truth, called = np.isin(label, names), np.isin(decision, [*names, *sides])
    for name, title, of, success in (
        ("sensitivity", "Sensitivity", truth, called),
        ("specificity", "Specificity", ~truth, ~called),
    ):
        found += [
            (name, title, "excluded", rate(success, of & ~lost)),
            (name, title, "as_wrong", rate(success & ~lost, of)),
        ]
        as_positive = np.where(lost, name == "sensitivity", success)
        found.append((name, title, "as_positive", rate(as_positive, of)))
    return found
