"""The sections on new data beside the run's own: inputs, numbers, local recalibration.

Nothing is computed here; a number that ``metrics.json`` does not hold is not shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from core.blocks import Block, Fold, Table, Text
from core.report.numbers import (
    Footnotes,
    count,
    estimate,
    interval,
    level_words,
    number,
    quantity,
    value_words,
    without_counts,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.report.results import Results

__all__ = ["drift_blocks", "input_blocks", "recalibration_blocks"]

# Keys of local recalibration, and their words.
LOSSES = (
    ("log_loss", "Log-loss"),
    ("brier", "Brier score"),
    ("calibration_error", "Expected calibration error"),
)


def drift_blocks(results: Results) -> list[Block]:
    """Each number here against the same number on the run's own held-out cases."""
    rows = (results.evaluation.get("external") or {}).get("numbers") or []
    if not rows:
        return []
    lines = []
    notes = Footnotes()
    for row in rows:
        difference = {**row, "value": row.get("difference")}
        lines.append(
            {
                "Measure": str(row["title"]),
                "The run's own test": _one(row, row.get("before")),
                "Here": _one(row, row.get("now")),
                "Difference": value_words(difference) + notes.mark(row),
                level_words(results.rows): interval(difference),
                "In words": str(row.get("verdict") or ""),
            }
        )
    frame = pd.DataFrame(lines)
    unit = str(results.about.get("unit") or "image")
    methods = "; ".join(without_counts(row.get("method") for row in rows))
    points = " Differences of percentages are in points." if any(r["percent"] for r in rows) else ""
    first = (
        "Asked first are the headline, in the first line, and calibration in the large, corrected "
        "together; each other number is called only where one of these differs"
        if any(row["name"] == "in_the_large" for row in rows)
        else "The headline, in the first line, stands alone; each other number is called only "
        "where it differs"
    )
    note = (
        f"By {unit}. Difference: here minus the run's own test; its interval: {methods}.{points} "
        f"{first}, and corrected for the number of all others (Holm's method)."
    )
    title = "Here against the run's own test"
    numeric = tuple(frame.columns[1:5])
    return [Table(frame, title=title, note=note, numeric=numeric, marked=notes.texts)]


def _one(row: Mapping[str, Any], value: float | None) -> str:
    """One value in the manner of its row."""
    return value_words({"value": value, "percent": row.get("percent")})


def input_blocks(results: Results) -> list[Block]:
    """Properties of the images here and in training."""
    external = results.evaluation.get("external") or {}
    rows = external.get("inputs") or []
    blocks: list[Block] = []
    lines = []
    for row in rows:
        outside = {**row["outside"], "percent": True}
        lines.append(
            {
                "Property": str(row["title"]),
                "Training: median (5 to 95 %)": _spread(row["before"]),
                "Here": _spread(row["now"]),
                "Outside of the training range": estimate(outside),
                "Distance": number(row["distance"]),
                "In words": str(row["words"]),
            }
        )
    if lines:
        frame = pd.DataFrame(lines)
        note = (
            "Outside: below the 1st or above the 99th percentile of training, where "
            f"{number(rows[0]['expected'], percent=True)} are expected; of the out-of-distribution "
            "score above only. Distance: Kolmogorov-Smirnov, from 0 (alike) to 1 (apart)."
        )
        blocks.append(Table(frame, note=note, numeric=tuple(frame.columns[1:5])))
    copies = external.get("copies")
    if copies and copies["n"]:
        blocks.append(
            Text(
                f"{quantity(copies['n'], 'image')} of {count(copies['of'])} hold the pixels of a "
                f"training image (first: {copies['first']}): for these this is no test.",
                "warning",
            )
        )
    elif copies:
        blocks.append(
            Text(f"None of {quantity(copies['of'], 'image')} holds the pixels of a training image.")
        )
    return blocks


def _spread(side: Mapping[str, Any]) -> str:
    """The median with the 5th and 95th percentile."""
    low, middle, high = (number(side[key]) for key in ("low", "median", "high"))
    return f"{middle} ({low} to {high})"


def recalibration_blocks(results: Results) -> list[Block]:
    """What recalibration on some local cases gives on the others."""
    blocks: list[Text | Table] = []
    for entry in (results.evaluation.get("external") or {}).get("recalibration") or []:
        of = results.words_of(entry["of"]) if entry["of"] != "all classes" else entry["of"]
        title = f"{str(entry['method']).capitalize()}, {of}, by {entry['unit']}"
        if not entry["rows"]:
            blocks.append(Text(f"{title}: {entry.get('reason', 'no fit was found')}.", "note"))
            continue
        lines = []
        for row in entry["rows"]:
            fitted = row["fitted_on"]
            on = fitted if isinstance(fitted, str) else quantity(fitted, str(entry["unit"]))
            for i, (key, words) in enumerate(LOSSES):
                change = {**row[key], "value": row[key]["change"]}
                lines.append(
                    {
                        "Fitted on": "" if i else str(on),
                        "Measure": words,
                        "Before": number(row[key]["before"]),
                        "After": number(row[key]["after"]),
                        "Change": estimate(change),
                    }
                )
        frame = pd.DataFrame(lines)
        note = (
            "Judged on the cases that were not fitted on. Lower is better; the ranking of cases "
            "does not change. In brackets: for numbers of cases the middle 95 % of draws, in the "
            "last line the interval by group."
        )
        blocks.append(Table(frame, title=title, note=note, numeric=tuple(frame.columns[2:])))
    return [Fold("Expected gain from recalibration on local cases", blocks)] if blocks else []
