"""What a prediction on mammograms gives besides tables and a work list.

Files are named by number, never by what a header or a file's name says; a
table beside them says which is which. Inputs are only read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.mammography.dicom_export import write_objects
from apps.mammography.overlay import overlay_of, silent_pictures
from core.base.outputs import csv_safe, write_bytes, write_text
from core.report.overlay import png_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from core.app import ExportContext

__all__ = ["write_dicom", "write_overlays"]


def write_overlays(context: ExportContext) -> Sequence[Path]:
    """Where the model looked, drawn over each image at its own size, as numbered PNG files."""
    import pandas as pd  # noqa: PLC0415  (see above)

    if context.saliency is None:
        return []
    folder = context.out / "overlays"
    folder.mkdir(exist_ok=True)
    files, rows = [], []
    scored = context.predictions[context.predictions["status"] == "ok"]
    silent = silent_pictures(scored)
    for number, row in enumerate(scored.to_dict("records"), start=1):
        if row["image_id"] in silent:
            continue
        image_id = str(row["image_id"])
        path = folder / f"{number:05d}.png"
        facts = {**{str(key): value for key, value in row.items()}, "picture": path.stem}
        picture = overlay_of(context.read(image_id), context.saliency(image_id), facts, context)
        write_bytes(path, png_bytes(picture))
        files.append(path)
        rows.append({"file": path.name, "image_id": csv_safe(image_id)})
    if not files:
        return []
    table = folder / "overlays.csv"
    write_text(table, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))
    return [*files, table]


def write_dicom(context: ExportContext) -> Sequence[Path]:
    """Secondary capture, segmentation and structured report of each DICOM input; see the module."""
    return write_objects(context)
