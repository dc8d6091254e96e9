"""The page of a prediction: every input with its picture, scores, decision and marks.

One file, opened by a double click, with the pictures in a folder beside it. Rows are drawn a
page at a time, so that ten thousand do not freeze a browser. A reader can agree with a
decision or correct it; the corrections are saved as a table that ``resight train
--corrections`` reads. Nothing is fetched; names of files never become markup or file names.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.base.attempt import attempt
from core.base.outputs import write_bytes, write_text
from core.base.tables import score_columns
from core.data.resizing import shrunk
from core.evaluation.doubt_marks import says_nothing
from core.report.html import clean, page_template

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from core.app import Task

__all__ = ["PAGE", "PageText", "Thumbnails", "small_jpeg", "write_predictions_page"]

PAGE, FOLDER = "predictions.html", "thumbnails"
# Longer side of a picture, and how many are kept: about 4 kB each.
SIDE_PX, MOST = 144, 10_000
MOST_LINKS = 12


@dataclass(frozen=True)
class PageText:
    """What stands above the rows.

    Attributes:
        title: heading.
        lead: the intended use.
        sentences: how good the model was, by which rule it decides, and what it decided.
        warnings: what should not be relied on.
        notes: what was noticed about the inputs.
        files: other files of the prediction, relative to its directory; its pages and tables are
            linked.
    """

    title: str
    lead: str
    sentences: Sequence[str] = ()
    warnings: Sequence[str] = ()
    notes: Sequence[str] = ()
    files: Sequence[str] = ()


class Thumbnails:
    """Small pictures of the inputs, written while they are scored.

    Args:
        out: directory of the prediction.
        rows: manifest rows in the order of the predictions table.
    """

    def __init__(self, out: Path, rows: Sequence[Mapping[str, Any]]) -> None:
        self.folder = out / FOLDER
        self._number = {str(row["image_id"]): i for i, row in enumerate(rows[:MOST])}

    def name(self, image_id: str) -> str:
        """The file of an input: its number, never its name."""
        number = self._number.get(image_id)
        return "" if number is None else f"{number + 1:05d}.jpg"

    def other(self, number: int) -> str:
        """The file of a training image, by its number among those that were compared."""
        return f"t{number + 1:06d}.jpg"

    def keep_other(self, number: int, pixels: NDArray[np.uint8]) -> None:
        """Write the picture of a training image, (H, W, 3)."""
        self._write(self.other(number), small_jpeg(pixels))

    def keep(self, image_id: str, pixels: NDArray[np.uint8]) -> None:
        """Write the picture of one input, (H, W, 3); nothing beyond the first ``MOST``."""
        name = self.name(image_id)
        if name and not (self.folder / name).is_file():
            self._write(name, small_jpeg(pixels))

    def put(self, image_id: str, picture: bytes | None) -> None:
        """Write what ``small_jpeg`` made of one input; nothing where it made nothing."""
        if name := self.name(image_id):
            self._write(name, picture)

    def _write(self, name: str, picture: bytes | None) -> None:
        """Write a picture that is not there yet."""
        if picture is not None and not (self.folder / name).is_file():
            self.folder.mkdir(exist_ok=True)
            write_bytes(self.folder / name, picture)


def small_jpeg(pixels: NDArray[np.uint8]) -> bytes | None:
    """The picture (H, W, 3) as a small JPEG.

    None if it cannot be drawn: that costs the page a picture, and not the input its row.
    """
    return attempt(lambda: _small_jpeg(pixels))[0]


def _small_jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """The picture (H, W, 3) as a small JPEG."""
    import cv2  # noqa: PLC0415  (only for pictures)

    small = shrunk(pixels, SIDE_PX)
    _, data = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 78])
    return bytes(data.tobytes())


def _part_of(path: str, image_id: str) -> str:
    """What an input is called that is one part of its file; empty where it is the file.

    >>> _part_of("a.tif", "a.tif#r000032_c000064")
    'a.tif, row 32, column 64'
    >>> _part_of("a.png", "a.png")
    ''
    """
    file, mark, part = image_id.rpartition("#")
    if not mark or file != path:
        return ""
    place = re.fullmatch(r"r0*(\d+)_c0*(\d+)", part)
    return f"{path}, row {place[1]}, column {place[2]}" if place else f"{path}, {part}"


def _cells(
    row: Mapping[Any, Any],
    scores: Sequence[float],
    picture: str,
    alike: Sequence[Sequence[Any]],
    *,
    is_silent: bool,
) -> list[Any]:
    """One row as the page's script takes it apart."""
    is_ok = row["status"] == "ok"
    return [
        clean(row["image_id"]),
        clean(row["path"]),
        str(row["status"]),
        clean(row.get("reason") or ""),
        str(row.get("decision") or "") if is_ok else "",
        list(scores),
        int(bool(row.get("unfamiliar"))) if is_ok else 0,
        clean(row.get("quality") or "") if is_ok else "",
        picture,
        # As in the tables of units: what says nothing has no class, either.
        str(row.get("predicted") or "") if is_ok and not is_silent else "",
        clean(_part_of(str(row["path"]), str(row["image_id"]))),
        clean(row.get("doubt") or "") if is_ok else "",
        list(alike),
    ]


def write_predictions_page(
    out: Path,
    predictions: pd.DataFrame,
    task: Task,
    text: PageText,
    *,
    threshold: float | None = None,
    thumbnails: Thumbnails | None = None,
    similar: Mapping[str, Sequence[tuple[str, str, float]]] | None = None,
) -> Path:
    """Write ``predictions.html``.

    Args:
        out: directory of the prediction, held by the caller.
        predictions: the finished table, one row per input.
        task: gives classes and their words.
        text: what stands above the rows.
        threshold: in use; the score that it is held against is then shown.
        thumbnails: where pictures were kept.
        similar: image_id -> (file of the picture, class, cosine) of training images.
    """
    similar = similar or {}
    columns = score_columns(task.classes)
    has_scores = set(columns) <= set(predictions.columns)
    silent = says_nothing(predictions)
    rows = []
    for place, row in enumerate(predictions.to_dict("records")):
        is_ok, name = row["status"] == "ok", str(row["image_id"])
        # Scores of what says nothing would be read as if they did.
        is_shown = is_ok and has_scores and not silent[place]
        scores = [round(float(row[column]), 4) for column in columns] if is_shown else []
        picture = thumbnails.name(name) if thumbnails else ""
        if picture and thumbnails and not (thumbnails.folder / picture).is_file():
            picture = ""
        alike = [[file, clean(title), near] for file, title, near in similar.get(name, ())]
        rows.append(_cells(row, scores, picture, alike, is_silent=bool(silent[place])))
    content = {
        "classes": list(task.classes),
        "titles": [task.title(name) for name in task.classes],
        "many": task.kind == "multilabel",
        "separator": task.label_separator,
        "positive": list(task.positive_index) if threshold is not None else [],
        "threshold": threshold,
        "called": task.positive_name,
        "folder": FOLDER,
        "rows": rows,
    }
    # No "<" of a name may end the element that holds the data.
    data = json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    page = page_template(
        "predictions.html",
        title=text.title,
        lead=text.lead,
        sentences=list(text.sentences),
        warnings=list(text.warnings),
        notes=list(text.notes),
        files=[name for name in text.files if name.endswith((".html", ".csv"))][:MOST_LINKS],
        n=len(rows),
        data=data,
        script="predictions.js",
        pictures="'self' file: data:",
    )
    write_text(out / PAGE, page)
    return out / PAGE
