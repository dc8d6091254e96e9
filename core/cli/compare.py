"""``resight compare RUN_A RUN_B [--out DIR]``."""

from __future__ import annotations

from pathlib import Path

import typer

from core import verbs
from core.cli.complete import runs
from core.cli.own_options import AppCommand, own_options
from core.cli.shared import (
    JSON,
    QUIET,
    Mistakes,
    existing,
    guarded,
    known_run,
    say,
    show_json,
    table,
)

__all__ = ["register"]


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("compare", cls=AppCommand)(compare)


def compare(
    context: typer.Context,
    first: Path = typer.Argument(
        help="A complete run, to be measured against.", autocompletion=runs
    ),
    second: Path = typer.Argument(
        help="Another run of the same app and classes.", autocompletion=runs
    ),
    out: Path = typer.Option(
        None, "--out", "-o", help="Directory of the page; without it, numbers are only printed."
    ),
    data: str = typer.Option(
        None, "--data", help="A labelled folder that both score; without it, shared held-out cases."
    ),
    label: str = typer.Option(None, "--label", help="Column of the table that holds the label."),
    group: str = typer.Option(None, "--group", help="Column that identifies the group."),
    card: str = typer.Option(None, "--card", help="Data card to use, or none."),
    margin: float = typer.Option(
        None,
        "--margin",
        help="Greatest loss of the headline that does not matter, as 0.02: is the second run not "
        "worse by more?",
    ),
    pdf: bool = typer.Option(False, "--pdf", help="Print the page to report.pdf as well."),
    allow_outside: bool = typer.Option(
        False, "--allow-outside", help="Let a table name files outside of its folder."
    ),
    quiet: bool = QUIET,
    as_json: bool = JSON,
) -> None:
    """Compare two runs on the same cases: paired tests, and what changed between them.

    Example: resight compare runs/a runs/b --out a-against-b
    """
    with guarded(quiet=quiet, as_json=as_json):
        mistakes = Mistakes()
        mistakes.check(lambda: known_run(first))
        mistakes.check(lambda: known_run(second))
        places = mistakes.check(lambda: existing([data] if data else [])) or []
        mistakes.tell()
        result = verbs.compare.compare(
            first,
            second,
            out,
            data=places[0] if places else None,
            label=label,
            group=group,
            card=card,
            allow_outside=allow_outside,
            options=own_options(context),
            margin=margin,
            pdf=pdf,
        )
        if as_json:
            show_json(result)
            return
        rows = []
        for row in result["rows"]:
            numbers = ["" if row[key] is None else f"{row[key]:.4f}" for key in ("first", "second")]
            between = (
                ""
                if row["low"] is None
                else f"{row['difference']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]"
            )
            rows.append((row["title"], row["unit"], *numbers, between, row["verdict"]))
        header = ("metric", "unit", "first", "second", "difference, 95 % interval", "in words")
        say(table(rows, header))
        for note in result["notes"]:
            say(f"note: {note}")
        say()
        if out is None:
            say("add --out DIR for the page with plots, cases and what changed")
        else:
            say(f"open {out / 'report.html'}")
