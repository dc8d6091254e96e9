"""The picture on the first screen of a report on tiles: where the field was judged, and wrongly.

A table of confusions does not say whether errors lie together, at the border of the field or
under one cloud. A map of the judged tiles does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.crop_disease.field.area_report import judged_tiles
from apps.crop_disease.field.colours import map_colours
from core.base.tables import decided_classes
from core.base.words import plural
from core.report.drawing import HALF, INK, RULE, canvas_of, finish, legend_below, styled

if TYPE_CHECKING:
    import pandas as pd

    from core.app import ReportContext
    from core.blocks import Figure

__all__ = ["map_of_tiles"]


def map_of_tiles(context: ReportContext) -> Figure | None:
    """The judged tiles of the field that has most of them; None where there are no tiles.

    Args:
        context: its predictions hold ``x``, ``y`` and ``tile_m`` (metres) of each tile.
    """
    rows = judged_tiles(context, "tile_m", "x", "y", "field")
    if not len(rows):
        return None
    fields = rows["field"].astype(str).value_counts()
    rows = rows[rows["field"].astype(str) == fields.index[0]].reset_index(drop=True)
    of = "" if len(fields) == 1 else f" Field {fields.index[0]}, the largest of {len(fields)}."
    return _drawn(rows, context, of)


@styled
def _drawn(rows: pd.DataFrame, context: ReportContext, of: str) -> Figure:
    """Squares where tiles were judged, coloured by the class decided, crossed out where wrong."""
    # Slow to import; only a report needs it.
    from matplotlib.collections import PatchCollection  # noqa: PLC0415
    from matplotlib.patches import Rectangle  # noqa: PLC0415

    task = context.task
    classes, decided = list(task.classes), decided_classes(rows, task)
    is_wrong = (decided != rows["label"].astype(str)).to_numpy()
    side = float(rows["tile_m"].median())
    x, y = rows["x"].to_numpy(float), rows["y"].to_numpy(float)
    x, y = x - x.min(), y - y.min()
    across, up = float(x.max()) + side, float(y.max()) + side
    width = HALF
    height = 60 + min(400.0, max(160.0, width * up / across)) + 22 * (len(classes) + 1)
    canvas, axes = canvas_of(width, height)
    # As on the maps of a field, so that a class has one colour on every page.
    colours = [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in map_colours(classes)]
    for number, name in enumerate(classes):
        here = (decided == name).to_numpy()
        squares = [Rectangle((a, b), side, side) for a, b in zip(x[here], y[here], strict=True)]
        colour = colours[number]
        axes.add_collection(
            PatchCollection(squares, facecolor=colour, alpha=0.55, edgecolor=RULE, linewidth=0.5)
        )
        label = f"predicted {task.title(name)} ({int(here.sum()):,})"
        axes.scatter([], [], marker="s", s=60, color=colour, alpha=0.55, label=label)
    wrong = int(is_wrong.sum())
    centre = (x[is_wrong] + side / 2, y[is_wrong] + side / 2)
    axes.scatter(*centre, marker="x", s=30, color=INK, linewidths=1.4, label=f"wrong ({wrong:,})")
    axes.set(xlim=(-side, across + side), ylim=(-side, up + side))
    axes.set(xlabel="metres to the east", ylabel="metres to the north")
    axes.set_aspect("equal")
    legend_below(canvas, columns=1)
    n = len(rows)
    note = f"{n - wrong:,} of {n:,} {plural('tile', n)} right; a cross marks each wrong one.{of}"
    table = rows[["field", "x", "y", "label"]].assign(predicted=decided)
    return finish(canvas, "Judged tiles of the field.", note, table)
