"""The errors worth looking at: the surest wrong decisions, and the least expected truths.

Each picture is the prepared image, and beside it where the network looked. The
caption names the file, so that the case can be found again.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.base.tables import decided_classes, score_columns
from core.base.volumes import LEAST_SLICES
from core.blocks import Block, Fold, Pictures, Table, Text
from core.data.resizing import shrunk
from core.report.numbers import count, number, quantity
from core.report.overlay import overlay

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from core.app import ReportContext, Task

__all__ = ["error_blocks"]

# Pictures per gallery, and their longer side in pixels: a lesion shows, a report stays mailable.
SHOWN = 6
SIDE_PX = 420


def error_blocks(context: ReportContext) -> list[Block]:
    """Two galleries; tables of file names where there are no pictures."""
    errors = _errors(context.predictions, context.task)
    if errors is None:
        return []
    if errors.empty:
        return [Text("No image of this split was decided wrongly.")]
    surest = errors.sort_values(["sure", "image_id"], ascending=[False, True]).head(SHOWN)
    rest = errors[~errors["image_id"].isin(surest["image_id"])]
    worst = rest.sort_values(["truth", "image_id"]).head(SHOWN)
    n = int(((context.predictions["status"] == "ok") & (context.predictions["label"] != "")).sum())
    title = (
        f"Wrong with the highest score: {len(surest)} of {quantity(len(errors), 'wrong image')} "
        f"(of {count(n)})"
    )
    blocks: list[Block] = [_shown(title, surest, context)]
    if context.picture is not None and context.saliency is not None:
        blocks.append(
            Text(
                "Right of each picture: the regions that raised the score of the predicted class "
                "(GradCAM++, last stage), inside the double line at least half of the maximum. "
                "Such a map can lie beside the subject"
                f"{_by_border(context)}{_as_sheet(context)}",
                "note",
            )
        )
    if len(worst):
        title = "The true class given the lowest score, not shown above"
        blocks.append(Fold(title, [_shown("", worst, context)]))
    return blocks


def _by_border(context: ReportContext) -> str:
    """How well the border alone tells the class, where that was asked."""
    known = context.audit.get("shortcuts") or []
    entry = next((e for e in known if e["name"] == "border" and e.get("value") is not None), None)
    if entry is None:
        return "."
    share = number(entry["value"], percent=True)
    return f"; the border alone reaches {share} (chance {number(entry['chance'], percent=True)})."


def _as_sheet(context: ReportContext) -> str:
    """What the picture of a volume is."""
    members = context.run.get("members") or [{}]
    channels = members[0].get("network", {}).get("channels", 0)
    if channels < LEAST_SLICES:
        return ""
    return " Each volume is shown as a sheet of nine of its slices, from the first to the last."


def _shown(title: str, rows: pd.DataFrame, context: ReportContext) -> Pictures | Table:
    """Pictures of these rows, or a table of them where there are none."""
    return _pictures(title, rows, context) or _table(title, rows, context.task)


def _errors(predictions: pd.DataFrame, task: Task) -> pd.DataFrame | None:
    """Wrong rows with the scores of decided and true class; None if unknowable."""
    columns = score_columns(task.classes)
    wanted = {"label", "status", "predicted", *columns}
    if task.kind == "multilabel" or not wanted <= set(predictions.columns):
        return None
    rows = predictions[(predictions["status"] == "ok") & predictions["label"].isin(task.classes)]
    decided = decided_classes(rows.assign(decision=rows.get("decision", rows["predicted"])), task)
    rows = rows.assign(decided=decided.where(decided != "", rows["predicted"]))
    rows = rows[rows["decided"].isin(task.classes) & (rows["decided"] != rows["label"])]
    scores = rows[columns].to_numpy(dtype=float)
    place = {name: i for i, name in enumerate(task.classes)}
    at = np.arange(len(rows))
    return rows.assign(
        sure=scores[at, [place[name] for name in rows["decided"]]],
        truth=scores[at, [place[name] for name in rows["label"]]],
    )


def _caption(row: Any, task: Task) -> str:
    """File, truth and decision in words."""
    return (
        f"{row.path}{_place(row)}: true {task.title(row.label)} (score {number(row.truth)}), "
        f"predicted {task.title(row.decided)} ({number(row.sure)})"
    )


def _place(row: Any) -> str:
    """Where a tile lies on its field."""
    top, left = getattr(row, "row_off", None), getattr(row, "col_off", None)
    if top is None or left is None or pd.isna(top) or pd.isna(left):
        return ""
    return f", tile at row {int(top)}, column {int(left)}"


def _pictures(title: str, rows: pd.DataFrame, context: ReportContext) -> Pictures | None:
    """The gallery of these rows, or None where there are no pictures."""
    if context.picture is None:
        return None
    pictures = []
    for row in rows.itertuples():
        image_id = str(row.image_id)
        shown = [shrunk(context.picture(image_id), SIDE_PX)]
        if context.saliency is not None:
            picture = context.picture(image_id)
            shown.append(shrunk(overlay(picture, context.saliency(image_id)), SIDE_PX))
        pictures.append((_jpeg(shown), _caption(row, context.task)))
    return Pictures(title, pictures)


def _table(title: str, rows: pd.DataFrame, task: Task) -> Table:
    """The same cases by name."""
    frame = pd.DataFrame(
        {
            "File": rows["path"].astype(str),
            "True": [task.title(name) for name in rows["label"]],
            "Predicted": [task.title(name) for name in rows["decided"]],
            "Score of predicted": [number(value) for value in rows["sure"]],
            "Score of true": [number(value) for value in rows["truth"]],
        }
    )
    return Table(frame, title=title, numeric=("Score of predicted", "Score of true"))


def _jpeg(pictures: list[NDArray[np.uint8]]) -> bytes:
    """Pictures of equal height side by side, as JPEG."""
    from PIL import Image  # noqa: PLC0415  (only for pictures)

    gap = np.full((pictures[0].shape[0], 4, 3), 255, dtype=np.uint8)
    parts = [part for picture in pictures for part in (picture, gap)][:-1]
    stream = io.BytesIO()
    Image.fromarray(np.concatenate(parts, axis=1)).save(stream, format="JPEG", quality=85)
    return stream.getvalue()
