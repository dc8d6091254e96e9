"""The page of a comparison of readers. Nothing is computed here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from core.base.outputs import write_text
from core.base.words import NOT_A_DEVICE
from core.blocks import Block, Table, Text
from core.report.html import render_page
from core.report.numbers import (
    count,
    estimate,
    interval,
    level_words,
    number,
    quantity,
    reasons,
    sentences,
    value_words,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["readers_html", "write_readers"]

LEAD = f"Agreement of readers, and a model beside them. {NOT_A_DEVICE}"


def write_readers(out: Path, content: Mapping[str, Any]) -> None:
    """Write ``report.html``.

    Args:
        out: an existing directory, held by the caller.
        content: of ``readers.json``.
    """
    write_text(out / "report.html", readers_html(content))


def readers_html(content: Mapping[str, Any]) -> str:
    """The page as text."""
    cases = quantity(content["n"], "case")
    if content["n_groups"] != content["n"]:
        cases += f" of {quantity(content['n_groups'], str(content['word']))}"
    first: list[Block] = [Text(f"On {cases} that every reader rated.", "verdict")]
    first += [Text(str(note), "warning") for note in content["notes"]]
    sections: list[tuple[str, Sequence[Block]]] = [
        ("", first),
        ("Model and readers", _comparison(content["comparison"])),
        ("Agreement", _agreement(content)),
    ]
    return render_page(
        f"Readers: {content['table']}",
        lead=LEAD,
        sections=sections,
        footer="Every result shown stands in readers.json.",
    )


def _comparison(found: Mapping[str, Any] | None) -> list[Block]:
    """Areas of all, and the difference."""
    if not found:
        return []
    difference = found["difference"]
    if found["model"] is None:
        return _points(found)
    lines = [{"Who": row["title"], "AUROC": number(row["value"])} for row in found["readers"]]
    lines.append({"Who": "The model", "AUROC": number(found["model"])})
    message = f"The model's AUROC minus the mean of the readers' is {value_words(difference)}"
    if interval(difference):
        message += f" ({level_words([difference])} {interval(difference)}"
        message += f", p {_p(found['p'])})" if found["p"] is not None else ")"
        lies = "a difference is shown" if found["p"] < 1 - difference["level"] else "none is shown"
        message += f": {lies}"
    note = (
        f"{count(found['n'])} cases, {count(found['n_events'])} positive. "
        f"{difference['method'] or difference['reason']}."
    )
    if every := found.get("all_alike"):
        message += (
            f". That all readers and the model have one AUROC: chi-squared {number(every['chi2'])} "
            f"with {count(every['df'])} degrees of freedom, p {_p(every['p'])} (DeLong, all "
            "contrasts at once, by group)"
        )
    return [Text(f"{message}."), Table(pd.DataFrame(lines), note=note, numeric=("AUROC",))]


def _points(found: Mapping[str, Any]) -> list[Block]:
    """Readers who say yes or no: sensitivity and specificity, and the model beside each."""
    rows = [row for row in found["readers"] if "sensitivity" in row]
    shares = [row[name] for row in rows for name in ("specificity", "sensitivity")]
    lines = [
        {
            "Reader": row["title"],
            "Specificity": _with_ends(row["specificity"]),
            "Sensitivity": _with_ends(row["sensitivity"]),
            "The model's sensitivity at this specificity, threshold found here": number(
                row["model_sensitivity"], percent=True
            ),
        }
        for row in rows
    ]
    methods = "; ".join(dict.fromkeys(share["method"] for share in shares if share["method"]))
    note = (
        f"{count(found['n'])} cases, {count(found['n_events'])} positive. In brackets the 95 % "
        f"interval: {methods}. Described, not tested: the specificity is itself an estimate, and "
        "the model's threshold is sought on these cases, so no difference is claimed."
        f" {reasons(shares)}"
    ).strip()
    frame = pd.DataFrame(lines)
    return [
        Text(f"{found['difference']['reason']}."),
        Table(frame, note=note, numeric=tuple(frame.columns[1:])),
    ]


def _with_ends(share: Mapping[str, Any]) -> str:
    """A reader's share with its interval and its counts."""
    return f"{estimate({**share, 'percent': True})}, {count(share['x'])} of {count(share['n'])}"


def _p(value: float) -> str:
    """A p value."""
    return "< 0.001" if value < 0.001 else f"= {number(value)}"


def _agreement(content: Mapping[str, Any]) -> list[Block]:
    """Kappas and the intraclass correlation."""
    weighted = "quadratic weights" if content["weights"] == "quadratic" else "no weights"
    rows = [content["overall"], *content["pairs"]]
    blocks: list[Block] = [_table(rows, f"Kappa of readers, {weighted}", "Readers")]
    if content["icc"]:
        note = "Intraclass correlation of single ratings, absolute agreement, readers random."
        blocks.append(_table([content["icc"]], "Intraclass correlation", "Number", note))
    if content["truth"]:
        blocks.append(_table(content["truth"], f"Kappa against the label, {weighted}", "Reader"))
    return blocks


def _table(rows: Sequence[Mapping[str, Any]], title: str, head: str, note: str = "") -> Table:
    """One line per number."""
    between = level_words(rows)
    frame = pd.DataFrame(
        [
            {head: str(row["title"]), "Value": value_words(row), between: interval(row)}
            for row in rows
        ]
    )
    methods = "; ".join(dict.fromkeys(str(row["method"]) for row in rows if row["method"]))
    message = f"{note} {sentences(methods)} {reasons(rows)}".strip()
    return Table(frame, title=title, note=message, numeric=tuple(frame.columns[1:]))
