"""``resight backbones``: the residual networks that can be named with ``--backbone``."""

from __future__ import annotations

import typer

from core import verbs
from core.cli.shared import JSON, QUIET, guarded, say, show_json, table

__all__ = ["backbones"]


def backbones(
    family: str = typer.Option("", help="One family: ResNet, ResNeXt, SE, BiT ..."),
    quiet: bool = QUIET,
    as_json: bool = JSON,
) -> None:
    """List residual networks: size, arithmetic, input statistics, licence, cached or not.

    Example: resight backbones --family ResNeXt
    """
    with guarded(quiet=quiet, as_json=as_json):
        found = verbs.backbones.backbones(family)
        if as_json:
            show_json(found)
            return
        rows = []
        for one in found:
            weights = one["weights"]
            first = weights[0] if weights else None
            more = f" (+{len(weights) - 1})" if len(weights) > 1 else ""
            rows.append(
                (
                    one["name"],
                    one["family"],
                    f"{one['params_m']:.1f}",
                    f"{one['gmacs']:.2f}",
                    one["input_px"],
                    f"{first['tag']}{more}" if first else "none",
                    first["licence"] or "not stated" if first else "",
                    _statistics(first["mean"], first["std"]) if first else "",
                    "yes" if any(w["is_cached"] for w in weights) else "no",
                )
            )
        header = (
            *("network", "family", "M params", "GMAC", "input px", "weights", "licence"),
            *("mean / std", "cached"),
        )
        say(table(rows, header))
        say()
        say(
            f"{len(found)} networks; parameters and multiply-accumulates without classifier, for "
            "one image of that size (3-D: 64 slices of it). `resight train APP DATA --backbone "
            "NAME` takes any of them, NAME.TAG other weights; --json lists every set of weights."
        )


def _statistics(mean: tuple[float, ...], std: tuple[float, ...]) -> str:
    """Input statistics in few words: those of ImageNet have a name."""
    if [round(v, 3) for v in mean] == [0.485, 0.456, 0.406]:
        return "ImageNet"
    return f"{mean[0]:g} / {std[0]:g}"
