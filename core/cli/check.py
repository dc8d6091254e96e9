"""``resight check APP DATA``: look before training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from core import verbs
from core.app import app_names
from core.cli.complete import apps, cards
from core.cli.own_options import AppCommand, own_options
from core.cli.shared import (
    GROUP_COLUMN,
    ID_COLUMN,
    JSON,
    LABEL_COLUMN,
    LABEL_MAP,
    LAYER,
    PATH_COLUMN,
    QUIET,
    SOME_FAILED,
    SPLIT_COLUMN,
    Mistakes,
    data_options,
    existing,
    guarded,
    known_app,
    say,
    show_json,
    table,
)

__all__ = ["register"]


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("check", cls=AppCommand)(check)


def check(
    context: typer.Context,
    app: str = typer.Argument(
        metavar="[APP]",
        help="Name of the app, see `resight apps`; left out, the data say which.",
        autocompletion=apps,
    ),
    data: str = typer.Argument(None, help="Folder or table of labelled images."),
    out: Path = typer.Option(None, "--out", "-o", help="Directory of audit.html and audit.json."),
    task: str = typer.Option(None, "--task", help="What to predict: a task of the app, or a kind."),
    label: str = typer.Option(None, "--label", help="Column of the table that holds the label."),
    group: str = typer.Option(
        None,
        "--group",
        help="What may never straddle a split: a column, image_id, parent or name:REGEX.",
    ),
    card: str = typer.Option(
        None,
        "--card",
        help="Name of a data card, a card file, or none; see `resight cards`.",
        autocompletion=cards,
    ),
    allow_outside: bool = typer.Option(
        False, "--allow-outside", help="Let a table name files outside of its folder."
    ),
    path_column: str = PATH_COLUMN,
    label_column: str = LABEL_COLUMN,
    group_column: str = GROUP_COLUMN,
    split_column: str = SPLIT_COLUMN,
    id_column: str = ID_COLUMN,
    label_map: str = LABEL_MAP,
    layer: str = LAYER,
    weights: str = typer.Option(
        None,
        "--weights",
        help="Also find copies by the embedding of this network: hub, or a .safetensors file.",
    ),
    backbone: str = typer.Option("resnet50", "--backbone", help="The network of --weights."),
    quiet: bool = QUIET,
    as_json: bool = JSON,
) -> None:
    """Look before training: unreadable, duplicate, leaking, unbalanced, shortcuts.

    Example: resight check crop_disease leaves --out leaves-check
    """
    with guarded(quiet=quiet, as_json=as_json):
        mistakes = Mistakes()
        # One word that is no app is the data.
        is_named = data is not None or app in app_names()
        if is_named:
            mistakes.check(lambda: known_app(app))
        places = mistakes.check(lambda: existing([data if is_named else app])) or []
        if weights and weights != "hub":
            mistakes.check(lambda: existing([weights]))
        mistakes.tell()
        if not is_named:
            app = _proposed(places[0], quiet=quiet or as_json)
        options = data_options(
            own_options(context),
            {
                "path-column": path_column,
                "label-column": label_column,
                "split-column": split_column,
                "id-column": id_column,
                "label-map": label_map,
                "layer": layer,
            },
        )
        result = verbs.check.check(
            app,
            places[0],
            out,
            task=task,
            label=label or label_column,
            group=group or group_column,
            card=card,
            allow_outside=allow_outside,
            options=options,
            embed=_embedding(backbone, weights),
        )
        if as_json:
            show_json(result)
        else:
            if not quiet:
                say(result["class_rule"])
            for sentence in (result["group_rule"], result["split_rule"], *result["notes"]):
                if sentence and not quiet:
                    say(f"data: {sentence}")
            say()
            say(table(_worst_first(result["checks"])))
            say()
            say(f"open {Path(result['out']) / 'audit.html'}")
        if result.get("n_failed"):
            raise typer.Exit(SOME_FAILED)


def _proposed(data: Path, *, quiet: bool) -> str:
    """The app that the data call for, told with its reason."""
    proposal = verbs.propose.propose(data)
    if not quiet:
        say(f"app: {proposal.app} ({proposal.reason}); resight check APP {data} takes another.")
    return proposal.app


def _worst_first(checks: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """The checks as rows, warnings first."""
    order = {"warning": 0, "cannot be checked": 1}
    ranked = sorted(checks, key=lambda check: order.get(check["verdict"], 2))
    return [(c["verdict"], c["title"], c["words"]) for c in ranked]


def _embedding(backbone: str, weights: str | None) -> Any:
    """The embedding of a frozen network, where one is named; torch is imported only then."""
    if not weights:
        return None
    return verbs.embedding.embedding(backbone, weights)
