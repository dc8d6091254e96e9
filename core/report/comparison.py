"""The page of a comparison: which of two runs does better, on which cases, and what changed.

Nothing is computed here; every number stands in ``comparison.json``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from core.base.outputs import write_text
from core.base.words import NOT_A_DEVICE
from core.blocks import Block, Table, Text
from core.report import plots
from core.report.html import render_page
from core.report.numbers import (
    count,
    estimate,
    interval,
    level_words,
    number,
    plural,
    quantity,
    reasons,
    value_words,
    without_counts,
)
from core.report.verdict import use_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from core.app import App, Task

__all__ = ["comparison_html", "write_comparison"]

# Cases decided differently that are listed; all of them are in the table of cases.
LISTED = 40


def write_comparison(
    out: Path,
    content: Mapping[str, Any],
    app: App,
    task: Task,
    cases: Mapping[str, pd.DataFrame],
) -> None:
    """Write ``report.html``.

    Args:
        out: an existing directory, held by the caller.
        content: of ``comparison.json``.
        app: gives title and intended use.
        task: with its class order.
        cases: unit -> decisions of both, side by side.
    """
    write_text(out / "report.html", comparison_html(content, app, task, cases))


def comparison_html(
    content: Mapping[str, Any], app: App, task: Task, cases: Mapping[str, pd.DataFrame]
) -> str:
    """The page as text."""
    names = [f"{run['name']} ({run['model_id']})" for run in content["runs"]]
    sections: list[tuple[str, Sequence[Block]]] = [
        ("", _first_screen(content, names)),
        ("Differences", _differences(content)),
        ("Decisions", _decisions(content, task, cases)),
        ("What changed", _changed(content, names)),
    ]
    short = [str(run["name"]) for run in content["runs"]]
    return render_page(
        # Two runs may lie in folders of one name.
        f"{app.title}: {' and '.join(short if short[0] != short[1] else names)}",
        lead=use_words(app),
        sections=sections,
        footer="Every result shown stands in comparison.json."
        + (f" {NOT_A_DEVICE}" if app.about_people else ""),
    )


def _first_screen(content: Mapping[str, Any], names: Sequence[str]) -> list[Block]:
    """The verdict, and what limits it."""
    blocks: list[Block] = []
    rows = content["rows"]
    main = next((row for row in rows if row["is_headline"]), rows[0])
    on = f"On {quantity(main['n'], main['unit'])}"
    if main["n_groups"] != main["n"] and content["group"] != main["unit"]:
        on += f" of {quantity(main['n_groups'], content['group'])}"
    if main["difference"] is None:
        sentence = f"{main['title']} cannot be compared: {main['reason']}."
    else:
        difference = {**main, "value": main["difference"]}
        sentence = (
            f"{main['title']} is {_one(main, main['first'])} for the first run and "
            f"{_one(main, main['second'])} for the second: difference {estimate(difference)}, "
            f"{main['verdict']}."
        )
    # Within a sentence: macro-F1, but AUROC.
    sentence = sentence[0].lower() + sentence[1:] if sentence[1:2].islower() else sentence
    blocks.append(Text(f"{on} ({content['of']}), {sentence}", "verdict"))
    if content["possible"]:
        blocks.append(Text(str(content["possible"])))
    blocks += [Text(str(note), "warning") for note in content["notes"]]
    for which, name, rule in zip(("First", "Second"), names, content["counted_at"], strict=True):
        blocks.append(Text(f"{which}: {name}. Decides by {rule}.", "note"))
    return blocks


def _one(row: Mapping[str, Any], value: float | None) -> str:
    """One value in the manner of its row."""
    return value_words({"value": value, "percent": row["percent"]})


def _differences(content: Mapping[str, Any]) -> list[Block]:
    """A plot of all differences of one unit, and a table of every unit."""
    blocks: list[Block] = []
    for unit in dict.fromkeys(row["unit"] for row in content["rows"]):
        rows = [row for row in content["rows"] if row["unit"] == unit]
        # Shares and areas lie on one scale; losses have their own.
        shown = [
            {
                "label": row["title"],
                "n": row["n"],
                "value": row["difference"],
                "low": row["low"],
                "high": row["high"],
                "text": estimate({**row, "value": row["difference"]}),
            }
            for row in rows
            if row["difference"] is not None and row["name"] != "log_loss"
        ]
        if shown:
            blocks.append(
                plots.forest(
                    shown,
                    title=f"Second minus first, by {unit}.",
                    x="Difference",
                    reference=0.0,
                    note=f"Squares: difference; lines: {level_words(rows)}; dotted: none.",
                )
            )
        blocks.append(_table(rows, unit, content["group"], str(content.get("families") or "")))
    return blocks


def _table(rows: Sequence[Mapping[str, Any]], unit: str, group: str, gate: str) -> Table:
    """Every number of one unit."""
    lines = []
    for row in rows:
        difference = {**row, "value": row["difference"]}
        lines.append(
            {
                "Measure": str(row["title"]),
                "First": _one(row, row["first"]),
                "Second": _one(row, row["second"]),
                "Second minus first": value_words(difference),
                level_words(rows): interval(difference),
                "p": "" if row["p"] is None else _p(row["p"]),
                "p, Holm": _holm(row),
                "In words": str(row["verdict"]),
            }
        )
    frame = pd.DataFrame(lines)
    methods = without_counts(row["method"] for row in rows)
    shares = any(row["percent"] for row in rows)
    families = dict.fromkeys(
        str(row["family"]) for row in rows if row["family"] and not row["is_headline"]
    )
    n = quantity(rows[0]["n"], unit)
    grouped = rows[0]["n_groups"] != rows[0]["n"] and group != unit
    groups = f" of {quantity(rows[0]['n_groups'], group)}"
    note = (
        f"{n}{groups if grouped else ''}. Intervals: {'; '.join(methods)}."
        f"{' Differences of percentages are in points.' if shares else ''} {gate} "
        f"{' '.join(f'Family {name}.' for name in families)} {reasons(rows)}"
    )
    title = f"By {unit} ({plural(unit)} are the cases)"
    return Table(frame, title=title, note=note.strip(), numeric=tuple(frame.columns[1:7]))


def _holm(row: Mapping[str, Any]) -> str:
    """The corrected p; the headline has none."""
    if row["is_headline"]:
        return "headline"
    return "" if row["p_holm"] is None else _p(row["p_holm"])


def _p(value: float) -> str:
    """A p value."""
    return "< 0.001" if value < 0.001 else number(value)


def _decisions(
    content: Mapping[str, Any], task: Task, cases: Mapping[str, pd.DataFrame]
) -> list[Block]:
    """Who is right where, and the cases decided differently."""
    blocks: list[Block] = []
    for unit, found in content["agreement"].items():
        blocks.append(_agreement(unit, found))
        if unit in content["agreement_at_threshold"]:
            blocks.append(_agreement(unit, content["agreement_at_threshold"][unit]))
    table = cases.get(str(content["unit"]))
    if table is None:
        return blocks
    # Of two classes the decision is the class; of more it is a side, beside the predicted class.
    kinds = ["predicted"] if content["agreement_at_threshold"] else []
    kinds.append("decision")
    pairs = [(table[f"{kind}_first"], table[f"{kind}_second"]) for kind in kinds]
    differing = table[pd.concat([a != b for a, b in pairs], axis=1).any(axis=1)]
    if len(differing):
        listed = differing.head(LISTED)
        columns = {
            str(content["unit"]).capitalize(): listed["unit_id"].astype(str),
            "Truth": [task.title(name) for name in listed["label"]],
        }
        for kind in kinds:
            for which in ("first", "second"):
                title = f"{which.capitalize()}, {kind}" if len(kinds) > 1 else which.capitalize()
                columns[title] = [
                    task.title(name) if name in task.classes else name
                    for name in listed[f"{kind}_{which}"]
                ]
        more = "" if len(listed) == len(differing) else f" The first {count(len(listed))} of "
        note = f"{more}{count(len(differing))} cases; all are in cases_{content['unit']}.csv."
        blocks.append(Table(pd.DataFrame(columns), title="Decided differently", note=note.strip()))
    return blocks


def _agreement(unit: str, found: Mapping[str, Any]) -> Table:
    """Both, one or neither right; and the cases on which they part."""
    frame = pd.DataFrame(
        {
            "Run": ["First right", "First wrong"],
            "Second right": [count(found["both_right"]), count(found["second_only"])],
            "Second wrong": [count(found["first_only"]), count(found["both_wrong"])],
        }
    )
    border = "the threshold" if found["of"].startswith("decision") else "the border of two classes"
    message = f"The same for both: {count(found['same_decision'])} of {count(found['n'])}."
    if found["flipped"] and found["flipped_near"] is None:
        message += (
            f" {count(found['flipped'])} differ, and so do the thresholds: none is counted as "
            "near the threshold."
        )
    elif found["flipped"]:
        message += (
            f" Of {count(found['flipped'])} that differ, {count(found['flipped_near'])} lie near "
            f"{border}: no score moved by more than 0.05."
        )
    numeric = ("Second right", "Second wrong")
    title = f"By {unit}: {found['of']}"
    return Table(frame, title=title, note=message, numeric=numeric)


def _changed(content: Mapping[str, Any], names: Sequence[str]) -> list[Block]:
    """Settings, data and versions that differ."""
    if not content["changed"]:
        return [Text("Nothing differs in the plans, the data or the versions.")]
    frame = pd.DataFrame(
        [
            {
                "What": row["what"],
                f"First: {names[0]}": row["first"],
                f"Second: {names[1]}": row["second"],
                "Because": row["why"],
            }
            for row in content["changed"]
        ]
    )
    return [Table(frame.loc[:, (frame != "").any()])]
