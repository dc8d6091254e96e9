"""Saliency over a mammogram at its own size, inside of the breast only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from apps.mammography.images import find_breast
from core.base.words import apart
from core.evaluation.doubt import rule_of_decision
from core.evaluation.doubt_marks import says_nothing
from core.report.overlay import hot_region, is_strongest_outside, overlay, with_legend

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from numpy.typing import NDArray

    from core.app import ExportContext

__all__ = ["inside_breast", "marked_region", "overlay_of", "score_and_decision", "silent_pictures"]

# What is decided about, the whole first, and the columns that name it.
LEVELS = {"exam": ("exam",), "breast": ("exam", "laterality")}


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


def silent_pictures(scored: pd.DataFrame) -> set[str]:
    """Ids of pictures of which nothing is said: where a model looked would say something."""
    return set(scored["image_id"][says_nothing(scored)])


def overlay_of(
    pixels: NDArray[Any],
    heat: NDArray[np.float32],
    row: Mapping[str, Any],
    context: ExportContext,
) -> NDArray[np.uint8]:
    """The image in grey, attention in colour with its hottest part outlined, words below.

    Args:
        pixels: (H, W, C) as read.
        heat: (H, W) in [0, 1].
        row: of the predictions.
        context: of the prediction: task, threshold in use, decisions of exams.

    Returns:
        (H + h, W, 3); rows 0 to H are the image.
    """
    inside = inside_breast(pixels)
    lines = _words(row, context)
    if is_strongest_outside(heat, inside):
        lines.append("the strongest attention lies outside of the breast and is not shown")
    grey = pixels.astype(np.float32).mean(axis=2)
    full = {"uint8": 255.0, "uint16": 65535.0}.get(str(pixels.dtype)) or float(grey.max()) or 1.0
    shown = np.rint(np.clip(grey / full, 0, 1) * 255).astype(np.uint8)
    return with_legend(overlay(np.repeat(shown[..., None], 3, axis=2), heat * inside), lines)


def score_and_decision(row: Mapping[str, Any], context: ExportContext) -> list[str]:
    """What a picture is told to say: its own score, and the decision about its exam.

    A threshold is chosen for exams or breasts; held against one picture it would give another
    answer than the one that stands in every table. Scores have so many digits that they do not
    read alike on two sides of the threshold.
    """
    point = context.run.get("operating_point") or {}
    level, unit = _unit_of(row, context, str(point.get("unit") or ""))
    task = context.task
    positive = [task.classes[i] for i in task.positive_index] or list(task.classes)
    names = [f"score_{name}" for name in positive]
    # That of the unit is the sum, which is what the threshold is held against.
    values = [float(row[name]) for name in names]
    has_score = unit is not None and all(name in unit for name in names)
    whole = sum(float(unit[name]) for name in names) if unit is not None and has_score else np.nan
    known = [float(point["threshold"])] if point.get("threshold") is not None else []
    texts = apart(*(v for v in (*values, whole, *known) if np.isfinite(v)))
    scores = [f"{task.title(n)} {text}" for n, text in zip(positive, texts, strict=False)]
    predicted = task.title(str(row.get("predicted") or "none"))
    rule = rule_of_decision(context.run, task)
    own = f"this picture: score of {', '.join(scores)}; predicted class: {predicted}"
    if not row.get("predicted"):
        own = "this picture: no score and no class, for it says nothing of the breast"
    if unit is None:
        return [own, f"decision of this picture: {row.get('decision') or 'none'} ({rule})"]
    score = f"score {texts[len(values)]}, " if task.positive_index and np.isfinite(whole) else ""
    held = f", {texts[-1]}" if known else ""
    rule = f"at the threshold in use{held}" if known else rule
    return [own, f"decision of the {level}: {unit.get('decision') or 'none'} ({score}{rule})"]


def _unit_of(
    row: Mapping[str, Any], context: ExportContext, wanted: str
) -> tuple[str, Mapping[str, Any] | None]:
    """The level the threshold was chosen for, else the highest, and the picture's unit of it."""
    for level in sorted(LEVELS, key=lambda name: name != wanted):
        table, columns = context.decisions.get(level), LEVELS[level]
        if table is None or any(name not in row for name in columns) or wanted == "image":
            continue
        parts = [str(row.get(name) or "") for name in columns]
        name = "/".join(parts) if all(parts) else str(row["image_id"])
        found = table[table["unit_id"].astype(str) == name].to_dict("records")
        if found:
            return level, {str(key): value for key, value in found[0].items()}
    return "image", None


def _words(row: Mapping[str, Any], context: ExportContext) -> list[str]:
    """Name of the picture (a number), side, view, scores, class, decision and doubt."""
    name = f"picture {row['picture']}, " if row.get("picture") else ""
    side = str(row.get("laterality") or "")
    if side and row.get("laterality_from") == "pixels":
        side += " (guessed from the picture)"
    place = f"{side} {row.get('view') or ''}".strip()
    model = context.run.get("model_id") or row.get("model_id") or "unknown"
    lines = [
        f"{name}{place or 'side and view unknown'}",
        *score_and_decision(row, context),
        f"resight, model {model}",
    ]
    if row.get("doubt"):
        lines.insert(0, f"IN DOUBT: {row['doubt']}")
    return lines
