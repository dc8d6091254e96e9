"""``resight threshold RUN --target TARGET``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from core import verbs
from core.cli.complete import runs
from core.cli.shared import JSON, QUIET, guarded, say, show_json, table

__all__ = ["threshold"]


def threshold(
    run: Path = typer.Argument(help="A complete run.", autocompletion=runs),
    target: str = typer.Option(
        None,
        help="sensitivity=0.95, specificity=0.9, recall-rate=0.1, youden, or cost=5:1 (a missed "
        "case costs as much as five false alarms). Without it, the stored points are listed.",
    ),
    unit: str = typer.Option(None, help="Choose for this unit, not the headline's."),
    prevalence: float = typer.Option(
        None,
        help="Of the positive classes where the model will be used: a recall-rate is then that "
        "of this place.",
    ),
    off: bool = typer.Option(False, "--off", help="Decide without an operating point again."),
    quiet: bool = QUIET,
    as_json: bool = JSON,
) -> None:
    """Set the operating point at which a run decides, chosen on its validation cases.

    Example: resight threshold runs/dr --target sensitivity=0.95
    """
    with guarded(quiet=quiet, as_json=as_json):
        result = verbs.threshold.set_threshold(
            run, target=target, unit=unit, off=off, prevalence=prevalence
        )
        if as_json:
            show_json(result)
            return
        points = result["operating_points"]
        if points:
            header = (
                "",
                "target",
                "threshold",
                "sensitivity",
                "specificity",
                "called",
                "chosen on",
            )
            say(table([_line(point) for point in points], header))
        active = result["operating_point"]
        if active is None:
            say(f"No operating point is in use: {result['otherwise']}.")
        else:
            say(
                f"In force: {active['name']}. Predictions and evaluations from now on decide at it."
            )
            say(f"judge it  resight evaluate {run} --out REPORT")


def _line(point: Mapping[str, Any]) -> tuple[str, ...]:
    """One stored operating point."""
    there = point.get("reached") or {}
    shown = [f"{there[key]:.3f}" if key in there else "" for key in _REACHED]
    value = "none" if point["threshold"] is None else f"{point['threshold']:.6g}"
    basis = f"{point['split']}, {point['n']:,} by {point['unit']}, {point['n_events']:,} positive"
    return ("*" if point.get("active") else "", str(point["name"]), value, *shown, basis)


_REACHED = ("sensitivity", "specificity", "recall_rate")
