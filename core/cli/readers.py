"""``resight readers TABLE``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from core import verbs
from core.cli.shared import JSON, QUIET, existing, guarded, say, show_json, table

__all__ = ["readers"]


def readers(
    file: str = typer.Argument(
        metavar="TABLE", help="One row per case, one column per reader; id, group, label, score."
    ),
    out: Path = typer.Option(
        None, "--out", "-o", help="Directory of the page; without it, numbers are only printed."
    ),
    reader: list[str] = typer.Option(
        [], help="A column of a reader; without it, those called reader... Repeat it."
    ),
    label: str = typer.Option(None, help="Column of the truth."),
    group: str = typer.Option(None, help="Column that identifies the group."),
    positive: str = typer.Option(None, help="Classes of the truth that count as positive, A,B."),
    quiet: bool = QUIET,
    as_json: bool = JSON,
) -> None:
    """Agreement of several readers, and whether a model reads as well as they do.

    Example: resight readers grades.csv --positive 2,3,4 --out readers-report
    """
    with guarded(quiet=quiet, as_json=as_json):
        where = existing([file])[0]
        found = verbs.readers.readers_of(
            where,
            out,
            readers=reader,
            label=label,
            group=group,
            positive=[name.strip() for name in positive.split(",")] if positive else (),
        )
        if as_json:
            show_json(found)
            return
        say(table(_lines(found), ("", "value", "95 % interval")))
        notes = list(found["notes"])
        if found["comparison"] and found["comparison"]["model"] is None:
            notes.append(f"{found['comparison']['difference']['reason']}.")
        for note in [] if quiet else notes:
            say(f"note: {note}")
        if out is not None:
            say(f"open {out / 'report.html'}")


def _lines(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Every number, by its name."""
    kappa = "weighted kappa" if found["weights"] == "quadratic" else "kappa"
    lines = [_line(row, f"{kappa}: ") for row in [found["overall"], *found["pairs"]]]
    lines += [_line(found["icc"])] if found["icc"] else []
    lines += [_line(row, f"{kappa} against the label: ") for row in found["truth"]]
    beside = found["comparison"]
    if beside:
        for row in beside["readers"]:
            if "sensitivity" in row:
                lines += [_line(row["sensitivity"]), _line(row["specificity"])]
                at = f"Sensitivity of the model at the specificity of {row['title']}"
                found_here = f"{at}, threshold found here"
                lines.append((found_here, f"{row['model_sensitivity']:.3f}", ""))
        lines.append(_line(beside["difference"]))
    return lines


def _line(row: dict[str, Any], before: str = "") -> tuple[str, str, str]:
    """A number with its interval."""
    value = "not estimable" if row["value"] is None else f"{row['value']:.3f}"
    between = "" if row["low"] is None else f"{row['low']:.3f} to {row['high']:.3f}"
    title = str(row["title"])
    # "Mean of all pairs" within a line, but a column of the table as it is written.
    title = title[0].lower() + title[1:] if before and title == "Mean of all pairs" else title
    return before + title, value, between
