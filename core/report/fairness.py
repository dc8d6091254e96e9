"""The parts of a report that ask whether errors and calibration are alike in all subgroups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from core.blocks import Block, Figure, Fold, Table
from core.report import plots
from core.report.numbers import (
    UNDEFINED,
    Footnotes,
    count,
    estimate,
    interval,
    level_words,
    value_words,
    without_counts,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.report.results import Results

__all__ = ["WIDE", "gap_blocks", "is_too_small", "subgroup_calibration_blocks"]

# Measured: docs/coverage.md, gaps.
WIDE = (
    "With few positive cases such an interval is wider than need be (it held 98 to 100 % of "
    "simulated truths)."
)


def gap_blocks(results: Results) -> list[Block]:
    """Gaps of true and false positive rate between each subgroup and the rest."""
    rows = results.evaluation.get("gaps") or []
    lines = []
    for row in rows:
        difference = {**row, "value": row.get("difference")}
        if is_too_small(row):
            difference |= {"low": None, "high": None}
        lines.append(
            {
                "Column": results.column_words(row["column"]),
                "Subgroup": str(row["subgroup"]),
                "Rate": str(row["title"]),
                "Here": _share(row, "here", row.get("n")),
                "The rest": _share(row, "rest", row.get("n_rest")),
                "Gap": "" if is_too_small(row) else value_words(difference),
                level_words(results.rows): interval(difference),
                "In words": str(row.get("verdict") or ""),
            }
        )
    if not lines:
        return []
    frame = pd.DataFrame(lines)
    note = (
        f"Gap: here minus the rest, of cases called {results.task.positive_name} "
        f"{results.decided_words()}. What is said in words is corrected by Holm's method, of each "
        f"rate by itself; the intervals are not. {_methods(rows)} {WIDE}"
    ).strip()
    table = Table(frame, note=note, numeric=tuple(frame.columns[3:7]))
    return [Fold("Gaps of true and false positive rates between subgroups", [table])]


def is_too_small(row: Mapping[str, Any]) -> bool:
    """Whether a comparison of a subgroup rests on too few cases to show a difference.

    >>> is_too_small({"reason": "too few to judge: 4 cases"}), is_too_small({"reason": ""})
    (True, False)
    """
    return str(row.get("reason") or "").startswith("too few")


def _share(row: Mapping[str, Any], key: str, n: int | None) -> str:
    """A rate and what it is counted on: ``43.8 % (7 of 16)``."""
    value = row.get(key)
    shown = value_words({**row, "value": value})
    return shown if value is None or not n else f"{shown} ({count(round(value * n))} of {count(n)})"


def _methods(rows: Sequence[Mapping[str, Any]]) -> str:
    """How the intervals were made."""
    methods = without_counts(row.get("method") for row in rows)
    return f"Intervals: {'; '.join(methods)}." if methods else ""


def subgroup_calibration_blocks(results: Results) -> list[Block]:
    """Calibration slope, calibration in the large and a diagram, by subgroup."""
    rows = results.evaluation.get("calibration_by_subgroup") or []
    if all(row.get("reason") for row in rows):
        # A table of reasons alone; metrics.json holds them.
        return []
    lines: list[dict[str, str]] = []
    notes = Footnotes()
    for row in rows:
        line = {
            "Column": results.column_words(row["column"]),
            "Subgroup": str(row["subgroup"]),
            "Cases": count(row["n"]),
            "Positive": count(row["n_events"]),
        }
        for key, title in (("slope", "Slope"), ("in_the_large", "Calibration-in-the-large")):
            one = row.get(key) or {"value": None}
            mark = notes.mark({"reason": one.get("reason") or row.get("reason")})
            line[title] = (estimate(one) if one.get("value") is not None else UNDEFINED) + mark
        lines.append(line)
    frame = pd.DataFrame(lines)
    note = f"As in the calibration line above. In brackets the {level_words(results.rows)}."
    table = Table(frame, note=note, numeric=tuple(frame.columns[2:]), marked=notes.texts)
    blocks: list[Table | Figure] = [table]
    for column in dict.fromkeys(str(row["column"]) for row in rows):
        bins = {
            str(row["subgroup"]): row["bins"]
            for row in rows
            if row["column"] == column and row.get("bins")
        }
        if 1 < len(bins) <= MOST_LINES:
            blocks.append(
                plots.reliability(
                    bins,
                    title=f"Reliability by {results.column_words(column)}.",
                    note="On the diagonal, scores are the shares found. Lines: intervals.",
                )
            )
    return [Fold("Calibration by subgroup", blocks)]


# More lines than this in one diagram are not told apart.
MOST_LINES = 5
