"""The sections on whether another training gives another result: folds, and members.

Nothing is computed here; a number that ``metrics.json`` does not hold is not shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from core.blocks import Block, Fold, Table
from core.report.numbers import UNDEFINED, count, estimate, level_words, number, pick, plural

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.report.results import Results

__all__ = ["fold_blocks", "member_blocks"]


def fold_blocks(results: Results) -> list[Block]:
    """The headline of each fold, and the spread over folds."""
    spread = results.evaluation.get("folds")
    if not spread:
        return []
    rows = spread["rows"]
    lines = []
    for i, first in enumerate(rows[0]["values"]):
        line = {
            "Fold": str(first["fold"]),
            "Cases": count(first["n"]),
            plural(results.group).capitalize(): count(first["n_groups"]),
        }
        line |= {row["title"]: _value(row, row["values"][i]["value"]) for row in rows}
        lines.append(line)
    for words, key in (("Mean", "mean"), ("Standard deviation", "sd")):
        lines.append({"Fold": words, **{row["title"]: _value(row, row[key]) for row in rows}})
    frame = pd.DataFrame(lines).fillna("")
    note = (
        f"By {spread['unit']}. Each fold was judged by a network that had not seen its "
        f"{plural(results.group)}. The standard deviation shows how much the result depends on "
        "which part was trained on; folds share training data, so it is no standard error."
    )
    table = Table(frame, note=note, numeric=tuple(frame.columns[1:]))
    return [Fold("Spread over folds", [table])]


def _value(row: Mapping[str, Any], value: float | None) -> str:
    """One number of a fold."""
    return UNDEFINED if value is None else number(value, percent=bool(row["percent"]))


def member_blocks(results: Results) -> list[Block]:
    """An ensemble beside each run it is made of, on the same cases."""
    members = results.evaluation.get("members") or []
    if not members:
        return []
    rows = [row for row in pick(results.rows, of="", subgroup="") if row["unit"] == "image"]
    lines = []
    for row in rows:
        line = {"Measure": str(row.get("title") or row["name"]), "Together": estimate(row)}
        for member in members:
            same = pick(member["metrics"], name=row["name"], of="", subgroup="", unit="image")
            line[str(member["title"])] = estimate(same[0]) if same else ""
        if any(line[str(member["title"])] for member in members):
            lines.append(line)
    if not lines:
        return []
    frame = pd.DataFrame(lines)
    title = "Members of the ensemble"
    note = f"By image, on the same images. In brackets the {level_words(rows)}."
    return [Table(frame, title=title, note=note, numeric=tuple(frame.columns[1:]))]
