"""The front door: ``resight COMMAND``.

Only typer is imported here. Each command lives in a module of its own and
imports what it needs when it runs, so that ``resight --help`` answers at once.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
from typing import Any

import typer
import typer.core

from core.base.machine import seldom_collected, sleeping_threads
from core.base.versions import versions
from core.cli import (
    apps,
    backbones,
    cards,
    check,
    compare,
    demo,
    doctor,
    ensemble,
    evaluate,
    export,
    kit,
    merge,
    page,
    predict,
    readers,
    similar,
    size,
    study,
    threshold,
    train,
)
from core.cli.own_options import AppCommand, Command
from core.cli.shared import EXIT_CODES

__all__ = ["build", "main"]

HELP = (
    "Fine-tune residual networks on a labelled folder of medical or agricultural images, say "
    "honestly how good the result is, and apply it to new scans and maps. For research; not a "
    "medical device."
)
EPILOG = f"Exit codes: {EXIT_CODES}."
# Commands to which an app adds options of its own.
WITH_OWN_OPTIONS = {"check", "train", "evaluate", "compare", "predict"}
# Columns from which help is set in boxes.
BOXES_FROM = 70


class Commands(typer.core.TyperGroup):
    """All commands; their list is plain text, for boxes would take as long again to load."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The help of ``resight`` itself."""
        self.rich_markup_mode = None
        super().format_help(ctx, formatter)


def build() -> typer.Typer:
    """The command line, with every command in the order a user meets it."""
    # Boxes need room: in a narrow terminal they would cut the names of options short.
    plain: dict[str, Any] = {"rich_markup_mode": None}
    cli = typer.Typer(
        **({} if shutil.get_terminal_size().columns >= BOXES_FROM else plain),
        name="resight",
        cls=Commands,
        help=HELP,
        epilog=EPILOG,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    cli.callback(invoke_without_command=True)(root)
    for group in (cards, study):
        group.register(cli)
    for command in (
        apps.apps,
        backbones.backbones,
        check.check,
        train.train,
        evaluate.evaluate,
        readers.readers,
        size.size,
        threshold.threshold,
        compare.compare,
        ensemble.ensemble,
        predict.predict,
        merge.merge,
        similar.similar,
        export.export,
        kit.kit,
        demo.demo,
        doctor.doctor,
    ):
        name = command.__name__
        cli.command(name, cls=AppCommand if name in WITH_OWN_OPTIONS else Command)(command)
    # For those who change resight, so it is not listed.
    cli.command("page", hidden=True)(page.page)
    return cli


def root(
    context: typer.Context,
    version: bool = typer.Option(
        False, "--version", help="Show versions and leave.", is_eager=True
    ),
) -> None:
    """Options that stand before a command."""
    if version:
        for name, number in versions().items():
            typer.echo(f"{name} {number}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """Run the command line."""
    # Nothing phones home: this must be set before any library is imported.
    for name in (
        "NO_ALBUMENTATIONS_UPDATE",
        "HF_HUB_DISABLE_TELEMETRY",
        "DO_NOT_TRACK",
        "ORT_DISABLE_TELEMETRY",
    ):
        os.environ.setdefault(name, "1")
    sleeping_threads()
    seldom_collected()
    for stream in (sys.stdout, sys.stderr):
        # A file name that is not UTF-8 must not end a run.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    build()()
