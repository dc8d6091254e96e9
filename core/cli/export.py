"""``resight export RUN --out DIR``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Literal

import typer

from core import verbs
from core.cli.shared import JSON, QUIET, guarded, say, show_json

__all__ = ["export"]


def export(
    run: Path = typer.Argument(help="A complete run."),
    out: Path = typer.Option(..., "--out", "-o", help="The folder to write."),
    engine: Literal["ort", "openvino"] = typer.Option("ort", help="ONNX Runtime, or OpenVINO."),
    precision: Literal["fp32", "bf16"] = typer.Option(
        "fp32", help="bf16 needs OpenVINO, and a processor that has it."
    ),
    form: Literal["onnx", "timm", "hf"] = typer.Option(
        "onnx",
        "--format",
        help="onnx predicts; timm is the backbone alone, as features; hf is onnx with what "
        "Hugging Face's hub shows.",
    ),
    data: Path = typer.Option(
        None, help="Where the images of the training are; default as in the plan."
    ),
    quiet: bool = QUIET,
    as_json: bool = JSON,
) -> None:
    """Write a run as an ONNX model that predicts without torch, with a certificate.

    Example: resight export runs/leaves --out leaves-onnx
    """
    with guarded(quiet=quiet, as_json=as_json):
        settings = verbs.export.ExportSettings(engine, precision, data, form)
        found = verbs.export.export(run, out, settings)
        if as_json:
            show_json(found)
            return
        if form == "timm":
            say(f"the backbone, as features: timm.create_model('local-dir:{out}', pretrained=True)")
            return
        held, ran = found["held_out"], found["engine"]
        say(
            f"{held['n_images']:,} held-out images through both: scores differ by at most "
            f"{held['largest_difference']:.2g}, {held['changed_decisions']} decisions changed "
            f"({ran['engine']} {ran['version'].partition('-')[0]}, {ran['precision']})"
        )
        say(f"use  resight predict {shlex.quote(str(out))} IMAGES --out PREDICTIONS")
