"""``resight predict RUN INPUTS... --out DIR``."""

from __future__ import annotations

from pathlib import Path

import typer

from core.cli.shared import (
    EXTRA,
    SOME_FAILED,
    app_options,
    existing,
    guarded,
    say,
    show_json,
    table,
)

__all__ = ["register"]


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("predict", context_settings=EXTRA)(predict)


def predict(
    context: typer.Context,
    run: Path = typer.Argument(help="A complete run."),
    inputs: list[str] = typer.Argument(help="Files, folders, globs or tables."),
    out: Path = typer.Option(
        ..., "--out", "-o", help="Directory of the outputs; resumed if incomplete."
    ),
    device: str = typer.Option("auto", "--device", help="auto, cpu, gpu or mps."),
    workers: int = typer.Option(
        None, "--workers", help="Threads that decode; default one per core."
    ),
    allow_outside: bool = typer.Option(
        False, "--allow-outside", help="Let a table name files outside of its folder."
    ),
    abstain: bool = typer.Option(
        False, "--abstain", help="Refer what is in doubt (unlike the training, poor, incomplete)."
    ),
    accept_doubtful: bool = typer.Option(
        False,
        "--accept-doubtful",
        help="Decide, and write letters and prescriptions, in spite of doubt.",
    ),
    as_json: bool = typer.Option(False, "--json", help="Print the result for programs."),
) -> None:
    """Score new images: one row per input, and the app's exports."""
    with guarded(as_json=as_json):
        from core.evaluation.doubt import DoubtRule  # noqa: PLC0415  (imports pandas)
        from core.runs.run import load_run  # noqa: PLC0415
        from core.verbs.predict import predict as work  # noqa: PLC0415  (imports torch)

        paths, extra = _split(inputs, context.args)
        options = app_options(load_run(run).app, "predict", extra)
        result = work(
            run,
            existing(paths),
            out,
            device=device,
            workers=workers,
            allow_outside=allow_outside,
            options=options,
            doubt=DoubtRule(abstain=abstain, accept=accept_doubtful),
        )
        if as_json:
            show_json(result)
        else:
            say(result["intended_use"])
            if result["not_a_medical_device"]:
                say(result["not_a_medical_device"])
            say(
                f"{result['n_inputs']:,} inputs: {result['n_ok']:,} scored, "
                f"{result['n_failed']:,} failed, "
                f"{result['n_skipped']:,} skipped"
            )
            for reason, count in list(result["reasons"].items())[:5]:
                say(f"  {count:,} x {reason}")
            say(table(list(result["predicted"].items()), ("predicted class", "images")))
            if result["decisions"] != result["predicted"]:
                say(table(list(result["decisions"].items()), ("decision", "images")))
            for note in result["notes"]:
                say(f"note: {note}")
            say(f"open {out / 'predictions.csv'}")
        if result["n_failed"] or result["decisions_withheld"]:
            raise typer.Exit(SOME_FAILED)


def _split(inputs: list[str], extra: list[str]) -> tuple[list[str], list[str]]:
    """Inputs, and the app's own options that were taken for inputs.

    The parser does not know the app's options, so ``--flag`` and what follows it
    can land among the inputs.
    """
    for place, word in enumerate(inputs):
        if word.startswith("--"):
            return inputs[:place], [*inputs[place:], *extra]
    return inputs, extra
