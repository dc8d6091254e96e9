"""Saliency over a mammogram at its own size, inside of the breast only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from apps.mammography.images import find_breast
from core.evaluation.doubt import rule_of_decision
from core.report.overlay import hot_region, is_strongest_outside, overlay, with_legend

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from core.app import Task

__all__ = ["inside_breast", "marked_region", "overlay_of"]


def inside_breast(pixels: NDArray[Any]) -> NDArray[np.bool_]:
    """(H, W) where the breast is; everywhere if none was found."""
    import cv2  # noqa: PLC0415  (0.1 s to import)

    found = find_breast(pixels)
    if not found.mask.any():
        return np.ones(pixels.shape[:2], dtype=bool)
    full = cv2.resize(
        found.mask.astype(np.uint8), pixels.shape[1::-1], interpolation=cv2.INTER_NEAREST
    )
    return np.asarray(full > 0, dtype=bool)


def marked_region(pixels: NDArray[Any], heat: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(H, W) the region of highest attention; never air."""
    return hot_region(heat, inside_breast(pixels))


def overlay_of(
    pixels: NDArray[Any],
    heat: NDArray[np.float32],
    row: Mapping[str, Any],
    task: Task,
    run: Mapping[str, Any],
) -> NDArray[np.uint8]:
    """The image in grey, attention in colour with its hottest part outlined, words below.

    Args:
        pixels: (H, W, C) as read.
        heat: (H, W) in [0, 1].
        row: of the predictions.
        task: with its class order.
        run: its record, with the threshold in force.

    Returns:
        (H + h, W, 3); rows 0 to H are the image.
    """
    inside = inside_breast(pixels)
    lines = _words(row, task, run)
    if is_strongest_outside(heat, inside):
        lines.append("the strongest attention lies outside of the breast and is not shown")
    grey = pixels.astype(np.float32).mean(axis=2)
    full = {"uint8": 255.0, "uint16": 65535.0}.get(str(pixels.dtype)) or float(grey.max()) or 1.0
    shown = np.rint(np.clip(grey / full, 0, 1) * 255).astype(np.uint8)
    return with_legend(overlay(np.repeat(shown[..., None], 3, axis=2), heat * inside), lines)


def _words(row: Mapping[str, Any], task: Task, run: Mapping[str, Any]) -> list[str]:
    """Name of the picture (a number), side, view, scores, class, decision and doubt."""
    name = f"picture {row['picture']}, " if row.get("picture") else ""
    place = " ".join(str(row.get(name) or "") for name in ("laterality", "view")).strip()
    positive = [task.classes[i] for i in task.positive_index] or list(task.classes)
    scores = [f"{task.title(n)} {float(row[f'score_{n}']):.2f}" for n in positive]
    lines = [
        f"{name}{place or 'side and view unknown'}: score of {', '.join(scores)}",
        f"predicted class: {task.title(str(row.get('predicted') or 'none'))}; "
        f"decision: {row.get('decision') or 'none'}",
        f"decided {rule_of_decision(run, task)}",
        f"resight, model {run.get('model_id') or row.get('model_id') or 'unknown'}",
    ]
    if row.get("doubt"):
        lines.insert(0, f"IN DOUBT: {row['doubt']}")
    return lines
