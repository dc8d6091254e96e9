"""``resight ensemble RUN RUN ... --out RUN``."""

from __future__ import annotations

from pathlib import Path

import typer

from core.cli.shared import guarded, say, say_result, show_json

__all__ = ["register"]


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("ensemble")(ensemble)


def ensemble(
    runs: list[Path] = typer.Argument(help="Two or more runs of one task, split alike."),
    out: Path = typer.Option(..., "--out", "-o", help="The new run."),
    as_json: bool = typer.Option(False, "--json", help="Print the result for programs."),
) -> None:
    """Join runs into one that averages their scores, calibrated and judged anew."""
    with guarded(as_json=as_json):
        from core.verbs.ensemble import ensemble as work  # noqa: PLC0415  (imports pandas)

        result = work(runs, out)
        if as_json:
            show_json(result)
            return
        say_result(result["metrics"], out)
        say(f"use  resight predict {out} IMAGES --out PREDICTIONS")
