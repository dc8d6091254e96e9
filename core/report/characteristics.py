"""Table 1 of a report: the characteristics of each partition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from core.blocks import Block, Fold, Table
from core.report.numbers import count, number, plural

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.app import ReportContext

__all__ = ["characteristics_blocks"]

PARTITIONS = {"train": "Training", "val": "Validation", "test": "Test", "new data": "New data"}


def characteristics_blocks(context: ReportContext) -> list[Block]:
    """Counts, shares and quartiles by partition, behind a fold."""
    found = context.evaluation.get("characteristics")
    if not found:
        return []
    lines = []
    for row in found["rows"]:
        what = str(row["what"])
        what = plural(what) if row.get("is_group") else what
        line = {
            "Characteristic": what.replace("_", " ").capitalize(),
            "Value": str(row["value"]),
        }
        for name in found["partitions"]:
            line[_partition(context, name)] = _cell(row["cells"].get(name) or {})
        lines.append(line)
    frame = pd.DataFrame(lines)
    is_spread = any("median" in cell for row in found["rows"] for cell in row["cells"].values())
    note = "Images that could be read, with their share of the partition" + (
        "; of numbers the median and the quartiles." if is_spread else "."
    )
    table = Table(frame, note=note, numeric=tuple(frame.columns[2:]))
    return [Fold("Characteristics of each partition (Table 1)", [table])]


def _partition(context: ReportContext, name: str) -> str:
    """What a partition is called; of a cross-validation all rows are trained on in turn."""
    about = context.evaluation.get("about") or {}
    if str(about.get("split")) == "out-of-fold" and name == "train":
        return "All folds"
    return PARTITIONS.get(name, name)


def _cell(cell: Mapping[str, Any]) -> str:
    """A count with its share, or a median with its quartiles."""
    if "median" in cell:
        if cell["median"] is None:
            return ""
        return f"{number(cell['median'])} ({number(cell['low'])} to {number(cell['high'])})"
    if cell.get("n") is None:
        return ""
    share = f" ({number(cell['n'] / cell['of'], percent=True)})" if cell.get("of") else ""
    return f"{count(cell['n'])}{share}"
