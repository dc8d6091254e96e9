"""``resight similar RUN IMAGE``: the training images nearest to an image."""

from __future__ import annotations

from pathlib import Path

import typer

from core import verbs
from core.cli.complete import runs
from core.cli.shared import JSON, QUIET, existing, guarded, known_run, say, show_json, table

__all__ = ["similar"]


def similar(
    run: Path = typer.Argument(help="A complete run.", autocompletion=runs),
    images: list[str] = typer.Argument(help="Images, or folders of a few."),
    out: Path = typer.Option(
        None, "--out", "-o", help="Directory of the page; default NAME-similar."
    ),
    k: int = typer.Option(6, "--neighbours", "-k", min=1, max=50, help="How many of each."),
    device: str = typer.Option("auto", help="Where to compute: auto, cpu, gpu, mps."),
    quiet: bool = QUIET,
    as_json: bool = JSON,
) -> None:
    """Find the training images that the network sees as most alike.

    Example: resight similar runs/leaves new/leaf.jpg
    """
    with guarded(quiet=quiet, as_json=as_json):
        known_run(run)
        places = existing(images)
        place = (out or Path.cwd() / f"{places[0].stem}-similar").absolute()
        result = verbs.similar.similar(run, places, place, k=k, device=device)
        if as_json:
            show_json(result)
            return
        rows = [
            (entry["image_id"], entry["predicted"], other["image_id"], other["label"], cosine)
            for entry in result["similar"]
            for other in entry["neighbours"]
            for cosine in (f"{other['similarity']:.3f}",)
        ]
        say(table(rows, ("image", "predicted", "training image", "label", "similarity")))
        say(f"open {place / 'similar.html'}")
