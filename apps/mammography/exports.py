"""What a prediction on mammograms gives besides its tables: a work list, overlays, DICOM objects.

Files are named by number, never by what a header or a file's name says; a
table beside them says which is which. Inputs are only read.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from apps.mammography.overlay import coloured
from core.base.outputs import csv_safe, write_bytes, write_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

    from core.app import ExportContext

__all__ = ["write_dicom", "write_overlays", "write_worklist"]

WORKLIST = ("rank", "exam", "triage", "score", "percentile")


def write_worklist(context: ExportContext) -> Sequence[Path]:
    """Exams (or breasts, or images) from the most to the least suspicious.

    ``percentile`` is among this batch; ``triage`` is ``priority`` where the
    run's decision is positive, ``incomplete`` where no image could be scored,
    else ``routine``. Nothing is ruled out: that needs a threshold of its own.
    """
    positive = [context.task.classes[i] for i in context.task.positive_index]
    level, rows = _highest(context)
    columns = [f"score_{name}" for name in positive if f"score_{name}" in rows]
    if not columns:
        return []
    rows = rows.copy()
    rows["score"] = rows[columns].sum(axis=1, min_count=len(columns))
    identifier = "unit_id" if "unit_id" in rows else "image_id"
    rows = rows.sort_values(["score", identifier], ascending=[False, True], na_position="last")
    known = rows["score"].notna().to_numpy()
    # Share of the batch with a lower score; ties share the middle.
    ranks = rows["score"].rank(method="average")
    percentile = 100 * (ranks - 0.5) / max(int(known.sum()), 1)
    called = rows["decision"].isin(positive).to_numpy() if "decision" in rows else ~known
    frame = {
        "rank": range(1, len(rows) + 1),
        level: [csv_safe(str(value)) for value in rows[identifier]],
        "triage": np.where(~known, "incomplete", np.where(called, "priority", "routine")),
        "score": rows["score"].round(6).to_numpy(),
        "percentile": percentile.round(1).to_numpy(),
        "missing_views": [csv_safe(v) for v in _missing_views(context, rows, level, identifier)],
    }
    for name in ("n_images", "n_failed"):
        if name in rows:
            frame[name] = rows[name].to_numpy()
    import pandas as pd  # noqa: PLC0415  (the app's description must load without it)

    path = context.out / "worklist.csv"
    write_text(path, pd.DataFrame(frame).to_csv(index=False, lineterminator="\n"))
    return [path]


def write_overlays(context: ExportContext) -> Sequence[Path]:
    """Where the model looked, drawn over each image at its own size, as numbered PNG files."""
    import pandas as pd  # noqa: PLC0415  (see above)
    from PIL import Image  # noqa: PLC0415  (only asked for)

    if context.saliency is None:
        return []
    folder = context.out / "overlays"
    folder.mkdir(exist_ok=True)
    files, rows = [], []
    scored = context.predictions[context.predictions["status"] == "ok"]
    for number, image_id in enumerate(scored["image_id"].astype(str), start=1):
        picture = coloured(context.read(image_id), context.saliency(image_id))
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, format="PNG", compress_level=1)
        path = folder / f"{number:05d}.png"
        write_bytes(path, buffer.getvalue())
        files.append(path)
        rows.append({"file": path.name, "image_id": csv_safe(image_id)})
    if not files:
        return []
    table = folder / "overlays.csv"
    write_text(table, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))
    return [*files, table]


def write_dicom(context: ExportContext) -> Sequence[Path]:
    """Secondary capture, segmentation and structured report of each DICOM input; see the module."""
    from apps.mammography.dicom_export import write_objects  # noqa: PLC0415  (needs highdicom)

    return write_objects(context)


def _highest(context: ExportContext) -> tuple[str, pd.DataFrame]:
    """The highest level there are decisions for."""
    for level in ("exam", "breast"):
        if level in context.decisions:
            return level, context.decisions[level]
    return "image_id", context.predictions


def _missing_views(
    context: ExportContext, rows: pd.DataFrame, level: str, identifier: str
) -> list[str]:
    """The views each row's exam lacks; empty where exams are not known."""
    images = context.predictions
    if "missing_views" not in images or "exam" not in images:
        return [""] * len(rows)
    by_exam = images[images["status"] == "ok"].drop_duplicates("exam").set_index("exam")
    known = by_exam["missing_views"].fillna("").astype(str).to_dict()
    if level == "image_id":
        exams = images.set_index("image_id")["exam"]
        return [known.get(str(exams.get(name, "")), "") for name in rows[identifier]]
    names = rows["exam"] if "exam" in rows else rows[identifier]
    return [known.get(str(name), "") for name in names]
