"""``resight demo [APP]``: phantom data -> check -> train -> evaluate -> predict, offline."""

from __future__ import annotations

import time
from pathlib import Path

import typer

from core import verbs
from core.cli.shared import JSON, QUIET, guarded, headline, say, show_json, table

__all__ = ["demo"]


def demo(
    app: str = typer.Argument("crop_disease", help="Name of the app; see `resight apps`."),
    out: Path = typer.Option(None, "--out", "-o", help="Where to write; default demo/APP."),
    images: int = typer.Option(240, min=60, help="How many synthetic images to make."),
    quiet: bool = QUIET,
    as_json: bool = JSON,
) -> None:
    """Run the whole path on synthetic images, offline, in a few minutes.

    Example: resight demo retinopathy
    """
    with guarded(as_json=as_json, quiet=True):
        start = time.monotonic()
        place = out or Path("demo") / app
        is_silent = quiet or as_json
        if not is_silent:
            say(verbs.demo.how_long(images))
        tell = (lambda _: None) if is_silent else say
        result = verbs.demo.demo(app, place.absolute(), n_images=images, say=tell)
        if as_json:
            show_json(result)
            return
        say()
        say(
            "A tiny network from random weights on synthetic images: the numbers show that the "
            "path works."
        )
        say(f"held out: {headline(result['train']['metrics'])}")
        say(f"from elsewhere: {headline(result['evaluate']['metrics'])}")
        say(f"predicted: {result['predict']['n_ok']} of {result['predict']['n_inputs']} images")
        say()
        rows = verbs.demo.summary_rows(place)
        say(table(rows.to_numpy().tolist(), list(rows.columns)))
        say(f"took {time.monotonic() - start:.0f} s")
