"""``resight evaluate RUN [DATA] --out DIR``."""

from __future__ import annotations

from pathlib import Path

import typer

from core.cli.shared import (
    EXTRA,
    SOME_FAILED,
    app_options,
    existing,
    guarded,
    headline,
    print_rows,
    say,
    show_json,
)

__all__ = ["register"]


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("evaluate", context_settings=EXTRA)(evaluate)


def evaluate(
    context: typer.Context,
    run: Path = typer.Argument(help="A complete run."),
    data: str = typer.Argument(None, help="A new labelled folder; without it, the held-out split."),
    out: Path = typer.Option(..., "--out", "-o", help="Directory of the report."),
    label: str = typer.Option(None, "--label", help="Column of the table that holds the label."),
    group: str = typer.Option(None, "--group", help="Column that identifies the group."),
    card: str = typer.Option(None, "--card", help="Data card to use, or none."),
    prevalence: float = typer.Option(
        None, "--prevalence", help="Of the positive classes where the model will be used."
    ),
    allow_outside: bool = typer.Option(
        False, "--allow-outside", help="Let a table name files outside of its folder."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print the result for programs."),
) -> None:
    """Report on the held-out split of a run, or on a new labelled folder."""
    with guarded(as_json=as_json):
        from core.evaluate import evaluate as work  # noqa: PLC0415  (imports pandas)
        from core.run import load_run  # noqa: PLC0415

        options = app_options(load_run(run).app, "evaluate", context.args)
        result = work(
            run,
            existing([data])[0] if data else None,
            out,
            label=label,
            group=group,
            card=card,
            prevalence=prevalence,
            allow_outside=allow_outside,
            options=options,
        )
        if as_json:
            show_json(result)
        else:
            say(headline(result["metrics"]))
            say()
            say(print_rows(result["metrics"]))
            for caution in result["metrics"].get("cautions", []):
                say(f"note: {caution}")
            say()
            say(f"open {out / 'report.html'}")
        if result["n_failed"]:
            raise typer.Exit(SOME_FAILED)
