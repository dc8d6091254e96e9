"""``resight check APP DATA``: look before training."""

from __future__ import annotations

from pathlib import Path

import typer

from core.cli.shared import (
    EXTRA,
    SOME_FAILED,
    app_options,
    data_options,
    existing,
    guarded,
    say,
    show_json,
    table,
)

__all__ = ["register"]


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("check", context_settings=EXTRA)(check)


def check(
    context: typer.Context,
    app: str = typer.Argument(help="Name of the app; see `resight apps`."),
    data: str = typer.Argument(help="Folder or table of labelled images."),
    out: Path = typer.Option(None, "--out", "-o", help="Directory of audit.html and audit.json."),
    task: str = typer.Option(None, "--task", help="What to predict: a task of the app, or a kind."),
    label: str = typer.Option(None, "--label", help="Column of the table that holds the label."),
    group: str = typer.Option(
        None,
        "--group",
        help="What may never straddle a split: a column, image_id, parent or name:REGEX.",
    ),
    card: str = typer.Option(
        None, "--card", help="Name of a data card, a card file, or none; see `resight cards`."
    ),
    allow_outside: bool = typer.Option(
        False, "--allow-outside", help="Let a table name files outside of its folder."
    ),
    path_column: str = typer.Option(
        None, "--path-column", help="Column of the table that names the image files."
    ),
    label_column: str = typer.Option(
        None,
        "--label-column",
        help="Column of the table or polygons with the class; folder or parent for folders.",
    ),
    group_column: str = typer.Option(
        None, "--group-column", help="Column of what may never straddle a split."
    ),
    split_column: str = typer.Option(
        None, "--split-column", help="Column that says train, val or test; none draws a split."
    ),
    id_column: str = typer.Option(
        None, "--id-column", help="Column that names images by an id of file name or header."
    ),
    label_map: str = typer.Option(
        None, "--label-map", help="RAW=CLASS, by commas, or a table of both; RAW= leaves out."
    ),
    layer: str = typer.Option(None, "--layer", help="Layer of a GeoPackage with the polygons."),
    as_json: bool = typer.Option(False, "--json", help="Print the result for programs."),
) -> None:
    """Look before training: unreadable, duplicate, leaking, unbalanced, shortcuts."""
    with guarded(as_json=as_json):
        from core.app import find_app  # noqa: PLC0415  (loads the app)
        from core.verbs.check import check as run  # noqa: PLC0415

        options = data_options(
            app_options(find_app(app), "check", context.args),
            {
                "path-column": path_column,
                "label-column": label_column,
                "split-column": split_column,
                "id-column": id_column,
                "label-map": label_map,
                "layer": layer,
            },
        )
        result = run(
            app,
            existing([data])[0],
            out,
            task=task,
            label=label or label_column,
            group=group or group_column,
            card=card,
            allow_outside=allow_outside,
            options=options,
        )
        if as_json:
            show_json(result)
        else:
            say(result["class_rule"])
            for sentence in (result["group_rule"], result["split_rule"], *result["notes"]):
                if sentence:
                    say(f"data: {sentence}")
            say()
            say(table([(c["verdict"], c["title"], c["words"]) for c in result["checks"]]))
            say()
            say(f"open {Path(result['out']) / 'audit.html'}")
        if result.get("n_failed"):
            raise typer.Exit(SOME_FAILED)
