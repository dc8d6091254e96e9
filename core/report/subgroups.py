"""The sections on subgroups of the cases, and on images that failed.

Nothing is computed here; a number that ``metrics.json`` does not hold is not shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from core.blocks import Block, Figure, Fold, Table
from core.report import plots
from core.report.fairness import WIDE, is_too_small
from core.report.numbers import (
    Footnotes,
    count,
    estimate,
    interval,
    level_words,
    pick,
    plural,
    value_words,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.report.results import Results

    Row = Mapping[str, Any]

__all__ = ["failure_blocks", "subgroup_blocks"]


def subgroup_blocks(results: Results) -> list[Block]:
    """A forest plot of the headline, and a line for each subgroup."""
    rows = [row for row in results.rows if row.get("subgroup")]
    headline = results.headline()
    if not rows or headline is None:
        return []
    results.claim(rows)
    blocks: list[Block] = []
    same = pick(rows, name=headline["name"], of="", unit=headline.get("unit"))
    if same:
        blocks.append(_forest(same, headline, results))
    heads = {_measure(row): row for row in rows}
    lines = []
    notes = Footnotes()
    for name in dict.fromkeys(str(row["subgroup"]) for row in rows):
        column, _, value = name.partition("=")
        some = pick(rows, subgroup=name)
        line = {
            "Column": results.column_words(column),
            "Subgroup": value or "not given",
            "n": count(some[0].get("n") or 0),
            plural(results.group).capitalize(): count(some[0].get("n_groups") or 0),
        }
        by_measure = {_measure(row): row for row in some}
        line |= {
            head: _in_subgroup(by_measure[head]) + notes.mark(by_measure[head])
            if head in by_measure
            else ""
            for head in heads
        }
        lines.append(line)
    frame = pd.DataFrame(lines).fillna("")
    note = f"In brackets the {level_words(rows)}."
    table = Table(frame, note=note, numeric=tuple(frame.columns[2:]), marked=notes.texts)
    blocks.append(Fold("Every number by subgroup", [table]))
    blocks.extend(_against_rest(results, headline))
    return blocks


def _against_rest(results: Results, headline: Row) -> list[Block]:
    """Each subgroup against everybody else, by the headline."""
    lines = []
    for one in results.evaluation.get("subgroups") or []:
        row = {**one, "value": one.get("difference"), "percent": headline.get("percent")}
        if is_too_small(one):
            row |= {"low": None, "high": None}
        lines.append(
            {
                "Column": results.column_words(one["column"]),
                "Subgroup": str(one["subgroup"]),
                "Difference to the rest": "" if is_too_small(one) else value_words(row),
                level_words([headline]): interval(row),
                "In words": str(one.get("verdict") or ""),
            }
        )
    if not lines:
        return []
    frame = pd.DataFrame(lines)
    title = f"{headline.get('title') or headline['name']} against the rest"
    note = (
        "What is said in words is corrected for all comparisons of this table by Holm's method; "
        "the intervals are not."
    )
    if "auroc" in str(headline["name"]):
        note += f" {WIDE}"
    return [Fold(title, [Table(frame, note=note, numeric=tuple(frame.columns[2:4]))])]


def _is_of_nobody(row: Row) -> bool:
    """Whether a subgroup has too few cases for an interval, and its value says nothing."""
    return row.get("low") is None and "too few" in str(row.get("reason"))


def _in_subgroup(row: Row) -> str:
    """A number of a subgroup with its interval; empty where it says nothing."""
    return "" if _is_of_nobody(row) else estimate(row)


def _measure(row: Row) -> str:
    """The heading of a number in the table of subgroups."""
    of = f": {row.get('of_words') or row['of']}" if row.get("of") else ""
    return f"{row.get('title') or row['name']}{of}"


def _forest(rows: Sequence[Row], headline: Row, results: Results) -> Figure:
    """Everybody first, then each column of subgroups under its own heading."""
    shown: list[dict[str, Any]] = [{**headline, "label": "All", "text": estimate(headline)}]
    column = None
    for row in rows:
        name, _, value = str(row["subgroup"]).partition("=")
        if name != column:
            shown.append({"label": results.column_words(name), "heading": True})
            column = name
        shown.append(
            {**row, "label": value or "not given", "text": _in_subgroup(row) or "too few to judge"}
            | ({"value": None} if _is_of_nobody(row) else {})
        )
    title = str(headline.get("title") or headline["name"])
    return plots.forest(
        shown,
        title=f"{title} by subgroup.",
        x=title,
        reference=headline.get("value"),
        note=f"Squares: value; lines: {level_words(rows)}; dotted: all cases.",
        percent=bool(headline.get("percent")),
    )


def failure_blocks(results: Results) -> list[Block]:
    """Numbers with failures left out and counted."""
    found = results.evaluation.get("failures")
    if not found or not found.get("rows"):
        return []
    notes = Footnotes()
    lines = [
        {
            "Measure": str(row["title"]) + _for_positive(row, results),
            "By": str(row.get("unit") or ""),
            "Cases without a score": str(row["words"]).capitalize(),
            "Value": value_words(row) + notes.mark(row),
            "Interval": interval(row),
            "Of": f"{count(row['x'])} of {count(row['n'])}",
        }
        for row in found["rows"]
    ]
    frame = pd.DataFrame(lines)
    flagged = found.get("n_flagged") or 0
    note = f"Failed: {count(found['n_failed'])} of {count(found['n_total'])}."
    if flagged:
        note += f" Flagged for their quality: {count(flagged)}."
    if any(_for_positive(row, results) for row in found["rows"]):
        note += f" Sensitivity and specificity are counted {results.decided_words()}."
    table = Table(
        frame,
        note=note,
        numeric=("Value", "Interval", "Of"),
        marked=notes.texts,
    )
    return [Fold("With failures counted", [table])]


def _for_positive(row: Mapping[str, Any], results: Results) -> str:
    """For which cases a sensitivity or a specificity is."""
    is_rate = row["name"] in {"sensitivity", "specificity"}
    return f" for {results.task.positive_name}" if is_rate else ""
