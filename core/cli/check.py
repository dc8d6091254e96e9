"""``resight check APP DATA``: look before training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from core import verbs
from core.app import app_names
from core.cli import shared
from core.cli.complete import apps
from core.cli.own_options import own_options
from core.errors import ConfigError

__all__ = ["check"]


@shared.names_columns
def check(
    context: typer.Context,
    *,
    app: str = typer.Argument(
        metavar="[APP]",
        help="Name of the app, see `resight apps`; left out, the data say which.",
        autocompletion=apps,
    ),
    data: str = typer.Argument(None, help="Folder or table of labelled images."),
    out: Path = typer.Option(None, "--out", "-o", help="Directory of audit.html and audit.json."),
    task: str = shared.TASK,
    label: str = shared.LABEL,
    group: str = shared.GROUP,
    card: str = shared.CARD,
    allow_outside: bool = shared.ALLOW_OUTSIDE,
    columns: dict[str, str],
    weights: str = typer.Option(
        None, help="Also find copies by the embedding of this network: hub, or a .safetensors file."
    ),
    backbone: str = typer.Option("resnet50", help="The network of --weights."),
    quiet: bool = shared.QUIET,
    as_json: bool = shared.JSON,
) -> None:
    """Look before training: unreadable, duplicate, leaking, unbalanced, shortcuts.

    Example: resight check crop_disease leaves --out leaves-check
    """
    with shared.guarded(quiet=quiet, as_json=as_json):
        mistakes = shared.Mistakes()
        # One word is the data.
        is_named = data is not None
        if not is_named and app in app_names() and not Path(app).exists():
            msg = (
                f"{app} is an app, and no data are named. Name a folder or table after it: "
                f"resight check {app} DATA"
            )
            raise ConfigError(msg)
        if is_named:
            mistakes.check(lambda: shared.known_app(app))
        places = mistakes.check(lambda: shared.existing([data if is_named else app])) or []
        if weights and weights != "hub":
            mistakes.check(lambda: shared.existing([weights]))
        mistakes.tell()
        if not is_named:
            proposal = verbs.propose.propose(
                places[0], label=label or columns.get("label-column"), columns=columns
            )
            app = proposal.app
            if not (quiet or as_json):
                shared.say(
                    f"app: {app} ({proposal.reason}); resight check APP {places[0]} takes another."
                )
        named_group = columns.pop("group-column", None)
        result = verbs.check.check(
            app,
            places[0],
            out,
            task=task,
            label=label or columns.get("label-column"),
            group=group or named_group,
            card=card,
            allow_outside=allow_outside,
            options={**own_options(context), **columns},
            embed=_embedding(backbone, weights),
        )
        if as_json:
            shared.show_json(result)
        else:
            if not quiet:
                shared.say(result["class_rule"])
            for sentence in (result["group_rule"], result["split_rule"], *result["notes"]):
                if sentence and not quiet:
                    shared.say(f"data: {sentence}")
            shared.say()
            shared.say(shared.table(_worst_first(result["checks"])))
            shared.say()
            shared.say(f"open {Path(result['out']) / 'audit.html'}")
        if result.get("n_failed"):
            raise typer.Exit(shared.SOME_FAILED)


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
