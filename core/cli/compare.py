"""``resight compare RUN_A RUN_B [--out DIR]``."""

from __future__ import annotations

from pathlib import Path

import typer

from core import verbs
from core.cli import shared
from core.cli.complete import runs
from core.cli.own_options import own_options

__all__ = ["compare"]


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
        None, help="A labelled folder that both score; without it, shared held-out cases."
    ),
    label: str = shared.LABEL,
    group: str = typer.Option(None, help="Column that identifies the group."),
    card: str = typer.Option(None, help="Data card to use, or none."),
    margin: float = typer.Option(
        None,
        help="Greatest loss of the headline that does not matter, as 0.02: is the second run not "
        "worse by more?",
    ),
    pdf: bool = shared.PDF,
    allow_outside: bool = shared.ALLOW_OUTSIDE,
    quiet: bool = shared.QUIET,
    as_json: bool = shared.JSON,
) -> None:
    """Compare two runs on the same cases: paired tests, and what changed between them.

    Example: resight compare runs/a runs/b --out a-against-b
    """
    with shared.guarded(quiet=quiet, as_json=as_json):
        mistakes = shared.Mistakes()
        mistakes.check(lambda: shared.known_run(first))
        mistakes.check(lambda: shared.known_run(second))
        places = mistakes.check(lambda: shared.existing([data] if data else [])) or []
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
            shared.show_json(result)
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
        shared.say(shared.table(rows, header))
        for note in result["notes"]:
            shared.say(f"note: {note}")
        shared.say()
        if out is None:
            shared.say("add --out DIR for the page with plots, cases and what changed")
        else:
            shared.say(f"open {out / 'report.html'}")
