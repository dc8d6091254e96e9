"""``resight kit --for predict|train --out DIR``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Literal

import typer

from core import verbs
from core.cli.shared import JSON, QUIET, existing, guarded, say, show_json

__all__ = ["kit"]


def kit(
    purpose: Literal["predict", "train"] = typer.Option(
        "predict", "--for", help="predict needs an exported model and no torch."
    ),
    out: Path = typer.Option(..., "--out", "-o", help="The folder to write."),
    model: Path = typer.Option(None, help="An exported model, or a run to go on from."),
    weights: Path = typer.Option(
        None, help="Pretrained weights to train from, a .safetensors file."
    ),
    licence: str = typer.Option("not stated", help="Of these weights, as their source states it."),
    system: str = typer.Option(
        None,
        "--platform",
        help="linux-x86_64, linux-aarch64, macos-arm64 or windows-x86_64; without it, this one.",
    ),
    python: str = typer.Option(
        None, help="Python of the other machine, such as 3.12; without it, this one."
    ),
    requirements: list[Path] = typer.Option([], help="More hashed requirements. May be repeated."),
    wheel: Path = typer.Option(
        None, help="Wheel of resight; without it, one is made of what is installed."
    ),
    quiet: bool = QUIET,
    as_json: bool = JSON,
) -> None:
    """Put all that a machine without a network needs into one folder.

    Example: resight kit --for predict --model leaves-onnx --platform windows-x86_64 --out kit
    """
    with guarded(quiet=quiet, as_json=as_json):
        existing([str(path) for path in (model, weights, wheel, *requirements) if path])
        wanted = verbs.kit.Kit(
            purpose,
            system or verbs.kit.this_system(),
            python or "{}.{}".format(*sys.version_info),
            model,
            weights,
            licence,
            tuple(requirements),
            wheel,
        )
        found = verbs.kit.make_kit(wanted, out)
        if as_json:
            show_json(found)
            return
        n_bytes = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
        say(f"{len(found['sha256']):,} files, {n_bytes / 1e6:,.0f} MB, for {wanted.system}")
        say(f"there:  python{wanted.python} {shlex.quote(str(out))}/install.py")
