"""``resight ensemble RUN RUN ... --out RUN``."""

from __future__ import annotations

from pathlib import Path

import typer

from core.cli.shared import JSON, guarded, say_result, show_json

__all__ = ["register"]


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("ensemble")(ensemble)


def ensemble(
    runs: list[Path] = typer.Argument(help="Two or more runs of one task, split alike."),
    out: Path = typer.Option(..., "--out", "-o", help="The new run."),
    as_json: bool = JSON,
) -> None:
    """Join runs into one that averages their scores, calibrated and judged anew.

    Example: resight ensemble runs/a runs/b --out runs/both
    """
    with guarded(as_json=as_json):
        from core.verbs.ensemble import ensemble as work  # noqa: PLC0415  (imports pandas)

        result = work(runs, out)
        if as_json:
            show_json(result)
            return
        say_result(result["metrics"], out, use=str(out))
