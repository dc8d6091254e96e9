"""Overlays for eyes that are referred: where on the photograph the network looked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from apps.retinopathy.disc import FALLBACKS, find_disc, to_eight_bits
from apps.retinopathy.worklist import decided, threshold_of
from core.base.outputs import csv_text, write_bytes, write_text
from core.base.words import apart
from core.data.resizing import shrunk
from core.evaluation.doubt import rule_of_decision
from core.report.overlay import is_strongest_outside, overlay, png_bytes, with_legend

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from core.app import ExportContext

__all__ = ["inside_disc", "write_overlays"]

# Longer side of an overlay; enough to find a place on the photograph again.
SIDE_PX = 1024


def write_overlays(context: ExportContext) -> Sequence[Path]:
    """Write ``overlays/overlay-0001.png`` and so on, and ``overlays/overlays.csv`` that names them.

    One for each gradable photograph of an eye with a referable grade or decision, by urgency.
    An overlay shows what moved the score, not where a lesion is.
    """
    import pandas as pd  # noqa: PLC0415  (the app's description must load without it)

    found = decided(context)
    order = {patient: place for place, patient in enumerate(found.patients["patient"])}
    eyes = found.eyes[found.eyes["is_referable"] | found.eyes["is_called"]]
    referable = set(zip(eyes["patient"], eyes["eye"], strict=True))
    images = found.images[
        [
            key in referable and not bad
            for key, bad in zip(
                zip(found.images["patient"], found.images["eye"], strict=True),
                found.images["ungradable"],
                strict=True,
            )
        ]
    ]
    images = images.assign(place=images["patient"].map(order)).sort_values(["place", "image_id"])
    if context.saliency is None or not len(images):
        return []
    by_id = {row["image_id"]: row for row in images.to_dict("records")}
    by_eye = {
        image_id: eye
        for eye in found.eyes.to_dict("records")
        for image_id in str(eye["images"]).split("|")
    }
    folder = context.out / "overlays"
    folder.mkdir(exist_ok=True)
    written, rows = [], []
    for number, image_id in enumerate(images["image_id"], start=1):
        path = folder / f"overlay-{number:04d}.png"
        source = context.read(str(image_id))
        picture = shrunk(to_eight_bits(source), SIDE_PX)
        heat, inside = context.saliency(str(image_id)), inside_disc(source)
        lines = _lines(by_id[image_id], by_eye[image_id], context)
        if is_strongest_outside(heat, inside):
            lines.append("the strongest attention lies outside of the disc and is not shown")
        drawn = _overlay(picture, _shrunk_map(heat * inside, picture.shape[:2]))
        write_bytes(path, png_bytes(with_legend(drawn, lines)))
        written.append(path)
        rows.append({"overlay": path.name, "image_id": image_id})
    table = folder / "overlays.csv"
    write_text(table, csv_text(pd.DataFrame(rows)))
    return [*written, table]


def inside_disc(pixels: NDArray[Any]) -> NDArray[np.bool_]:
    """(H, W) where the disc of the retina is; all of a picture without one."""
    disc = find_disc(pixels)
    if disc.rule in FALLBACKS:
        return np.ones(pixels.shape[:2], dtype=bool)
    rows, cols = np.ogrid[: pixels.shape[0], : pixels.shape[1]]
    return np.asarray(np.hypot(rows - disc.row, cols - disc.col) <= disc.radius)


def _lines(row: Mapping[Any, Any], eye: Mapping[Any, Any], context: ExportContext) -> list[str]:
    """What stands below an overlay: the score of the photograph, the decision about its eye."""
    title = context.task.title
    at = threshold_of(context.run)
    own, whole, *known = apart(
        row["score_referable"], eye["score_referable"], *([] if at is None else [at])
    )
    rule = (
        f"at the threshold in use, {known[0]}"
        if known
        else rule_of_decision(context.run, context.task)
    )
    lines = [
        f"patient {row['patient']}, {row['eye'] or 'eye not known'}",
        f"this photograph: score of referable {own}; predicted grade: {title(str(row['grade']))}",
        f"decision of the eye: {eye['decision']} (score {whole}, {rule})",
        f"resight, model {context.run.get('model_id') or 'unknown'}",
    ]
    return [f"IN DOUBT: {row['doubt']}", *lines] if row["doubt"] else lines


def _overlay(picture: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The photograph as it is, and beside it the map over it."""
    return np.concatenate([picture, overlay(picture, heat)], axis=1)


def _shrunk_map(heat: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A map at the size of its picture."""
    import cv2  # noqa: PLC0415  (see above)

    resized = cv2.resize(
        np.asarray(heat, np.float32), (shape[1], shape[0]), interpolation=cv2.INTER_AREA
    )
    return np.asarray(resized, np.float32)
