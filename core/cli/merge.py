"""``resight merge PART PART ... --out DIR``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import typer

from core import verbs
from core.cli.predict import tell
from core.cli.shared import JSON, QUIET, existing, guarded

__all__ = ["merge"]


def merge(
    parts: list[str] = typer.Argument(help="The --out of every `resight predict --part`."),
    out: Path = typer.Option(
        ..., "--out", "-o", help="Directory of the outputs; resumed if incomplete."
    ),
    run: Path = typer.Option(None, help="Where the run is now; default where the parts found it."),
    inputs: list[str] = typer.Option(
        [], help="Where the inputs are now; default where the parts found them."
    ),
    device: Literal["auto", "cpu", "gpu", "mps"] = typer.Option(
        "auto", help="Where heat maps are computed, if any are asked for."
    ),
    quiet: bool = QUIET,
    as_json: bool = JSON,
) -> None:
    """Join the parts of a prediction: the same files as if one machine had made it.

    Example: resight merge parts/* --out predictions
    """
    with guarded(quiet=quiet, as_json=as_json):
        places = existing(parts)
        again = existing(inputs) if inputs else []
        result = verbs.parts.merge(places, out, run_path=run, inputs=again, device=device)
        tell(result, out, quiet=quiet, as_json=as_json)
