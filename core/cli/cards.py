"""``resight cards``: list, search, show, export and write data cards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from core import verbs
from core.app import find_app
from core.base.outputs import write_text
from core.cli import shared
from core.cli.complete import card_files
from core.cli.own_options import AppCommand, own_options
from core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.cards.card import CardFile

__all__ = ["markdown_table", "register"]

# Between these lines of data_cards/README.md stands the generated table.
BEGIN, END = "<!-- table: resight cards table -->", "<!-- end of table -->"


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    cards = typer.Typer(help="Data cards of public sets: list, search, show, export, write one.")
    cards.callback(invoke_without_command=True)(listed)
    cards.command("list")(search)
    cards.command("show")(show)
    cards.command("export")(export)
    cards.command("new", cls=AppCommand)(new)
    cards.command("table", hidden=True)(print_table)
    cli.add_typer(cards, name="cards")


def listed(context: typer.Context, quiet: bool = shared.QUIET, as_json: bool = shared.JSON) -> None:
    """List the data cards, or do what the word after it says."""
    if context.invoked_subcommand is None:
        _list((), None, quiet=quiet, as_json=as_json)


def search(
    words: list[str] = typer.Argument(None, help="Words that all must occur in a card."),
    app: str = typer.Option(None, help="Only cards of this app."),
    quiet: bool = shared.QUIET,
    as_json: bool = shared.JSON,
) -> None:
    """List the data cards in which all words occur."""
    _list(words or (), app, quiet=quiet, as_json=as_json)


def _list(words: Sequence[str], app: str | None, *, quiet: bool, as_json: bool) -> None:
    """Print the cards in which all words occur, as a table or for programs."""
    with shared.guarded(quiet=quiet, as_json=as_json):
        found = [f for f in card_files(words) if app in {None, f.card.app}]
        if as_json:
            shared.show_json([file.card.model_dump() for file in found])
            return
        if not found:
            shared.say("No data card holds all of these words. `resight cards` lists all.")
            return
        rows = [
            (
                file.card.name,
                file.card.app,
                _number(file.card.counts.images) + _short_mark(file, "counts.images"),
                file.card.weights_release + _short_mark(file, "weights_release"),
                file.card.title,
            )
            for file in found
        ]
        shared.say(
            shared.table(rows, ("card", "app", "images", "weights may be released", "title"))
        )


def show(
    name: str = typer.Argument(help="Name of a card, or the path of a card file."),
    quiet: bool = shared.QUIET,
    as_json: bool = shared.JSON,
) -> None:
    """Show all of one card; what was not checked against its source is marked."""
    with shared.guarded(quiet=quiet, as_json=as_json):
        shared.say(_text(name, "json" if as_json else "page").rstrip("\n"))


def export(
    name: str = typer.Argument(help="Name of a card, or the path of a card file."),
    croissant: bool = typer.Option(False, "--croissant", help="As Croissant JSON-LD."),
    out: Path = typer.Option(None, "--out", "-o", help="File to write; printed without it."),
    quiet: bool = shared.QUIET,
    as_json: bool = shared.JSON,
) -> None:
    """Write a card in another format."""
    with shared.guarded(quiet=quiet, as_json=as_json):
        if not croissant:
            msg = "No format is named. Pass --croissant."
            raise ConfigError(msg)
        text = _text(name, "croissant")
        if out is None:
            typer.echo(text, nl=False)
        else:
            write_text(out, text)
            if as_json:
                shared.show_json({"out": str(out)})
            elif not quiet:
                shared.say(f"wrote {out}")


def new(
    context: typer.Context,
    app: str = typer.Argument(help="Name of the app; see `resight apps`."),
    data: str = typer.Argument(help="Folder or table of labelled images."),
    out: Path = typer.Option(None, "--out", "-o", help="File to write; default NAME.md here."),
    title: str = typer.Option(None, help="What the data are called."),
    task: str = shared.TASK,
    label: str = shared.LABEL,
    group: str = typer.Option(None, help="What may never straddle a split."),
    quiet: bool = shared.QUIET,
    as_json: bool = shared.JSON,
) -> None:
    """Write a card for a folder of your own; questions only a person can answer are marked."""
    with shared.guarded(quiet=quiet, as_json=as_json):
        path = shared.existing([data])[0]
        chosen = find_app(app)
        options = own_options(context)
        asked = {"task": task, "label": label, "group": group, "options": options}
        place, n = verbs.cards.new_card(chosen, path, out, title=title, **asked)
        if as_json:
            shared.show_json({"out": str(place), "n_questions": n})
            return
        shared.say(f"wrote {place}: {n} questions wait for a person (search for QUESTION:)")
        shared.say(f"use   resight train {app} {data} --card {place} --out RUN")
        stem = path.name if path.is_dir() else path.stem
        shared.say(f"or    put it into the folder as card.md, or as {stem}.md")


def print_table(into: Path = typer.Option(None, help="README whose table is replaced.")) -> None:
    """Print the table of all cards, or put it into data_cards/README.md."""
    with shared.guarded():
        made = markdown_table()
        if into is None:
            typer.echo(made, nl=False)
            return
        head, _, rest = into.read_text(encoding="utf-8").partition(BEGIN)
        write_text(into, f"{head}{BEGIN}\n{made}{END}{rest.partition(END)[2]}")


def markdown_table() -> str:
    """The table of all cards in Markdown."""
    lines = [
        "| card | app | what | images | licence | weights may be released |",
        "|---|---|---|---:|---|---|",
    ]
    for file in card_files():
        card = file.card
        marks = [" *" if card.mark(field) else "" for field in ("counts.images", "licence")]
        release = card.weights_release + (" *" if card.mark("weights_release") else "")
        lines.append(
            f"| [{card.name}]({card.name}.md) | {card.app} | {card.title} | "
            f"{_number(card.counts.images)}{marks[0]} | {card.licence}{marks[1]} | {release} |"
        )
    return "\n".join(lines) + "\n"


def _text(name: str, form: Literal["page", "json", "croissant"]) -> str:
    """A card as text, by its name or its path."""
    return verbs.cards.card_text(name, form)


def _short_mark(file: CardFile, field: str) -> str:
    """The mark of an unchecked fact without its reason."""
    return " (unchecked)" if file.card.mark(field) else ""


def _number(n: int | None) -> str:
    return "unknown" if n is None else f"{n:,}"
