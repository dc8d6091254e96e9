"""Text beside a map: accuracy of the model, where it was trained, which thresholds apply."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from apps.crop_disease.field.ground import DEGREE_M
from apps.crop_disease.field.notes import area_words, tiles_of
from core.app import ReportContext
from core.blocks import Table
from core.report.numbers import count, number
from core.report.verdict import NO_MEASURE, held_out_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from apps.crop_disease.field.rates import Rate
    from core.app import ExportContext

__all__ = ["applied_table", "trained_share", "trust_words"]


def trust_words(context: ExportContext, tiles: pd.DataFrame, *, unlike: str) -> list[str]:
    """The headline on held-out tiles, and that the mapped ground was trained on, where it was.

    ``unlike`` says why what was measured does not hold for this map; it is then left out.
    """
    own = ReportContext(
        app=None,
        task=context.task,
        evaluation=context.evaluation,
        predictions=context.predictions,
        decisions={},
        manifest=context.manifest,
        run=context.run,
    )
    sentences = held_out_words(own, word="tile")
    if unlike and sentences:
        sentences = [f"{NO_MEASURE} {unlike}"]
    if context.trained is None:
        return sentences
    share = trained_share(tiles_of(tiles), tiles_of(context.trained))
    if share > 0:
        sentences.append(
            f"{number(share, percent=True)} of the tiles of this map overlap ground that the model "
            "was trained on, so this map does not show how the model does on new ground."
        )
    return sentences


def trained_share(tiles: pd.DataFrame, trained: pd.DataFrame) -> float:
    """Which share in [0, 1] of tiles overlap tiles of the training or validation split.

    Args:
        tiles: with ``lon``, ``lat`` (degrees, of the middle) and ``tile_m``.
        trained: the same, with ``split``.
    """
    from scipy.spatial import cKDTree  # noqa: PLC0415  (only a map asks)

    if not len(tiles) or not {"lon", "lat", "tile_m", "split"} <= set(trained):
        return 0.0
    trained = trained[trained["split"].isin(["train", "val"])]
    if not len(trained):
        return 0.0
    shrink = float(np.cos(np.radians(trained["lat"].mean())))

    def metres(table: pd.DataFrame) -> Any:
        return table[["lon", "lat"]].to_numpy(float) * [DEGREE_M * shrink, DEGREE_M]

    # Squares whose middles lie closer than half their sides together, along both axes, overlap;
    # a hundredth is left for the rounding of degrees.
    reach = (tiles["tile_m"].to_numpy(float) + float(trained["tile_m"].median())) / 2 * 0.99
    nearest, _ = cKDTree(metres(trained)).query(metres(tiles), p=np.inf)
    return float((nearest < reach).mean())


def applied_table(
    zones: Any, rates: Mapping[str, Rate], context: ExportContext, withheld: str
) -> Table:
    """What the sprayer will apply: rate, area and zones of each class, and zones without a rate.

    Args:
        zones: see ``zone_tiles.with_tiles``.
        rates: for every class; zero is a rate like any other.
        context: of the prediction.
        withheld: why no prescription was written; empty where one was.
    """
    import pandas as pd  # noqa: PLC0415  (the app's description must load without it)

    doubtful = (zones["doubt"] != "") & (not context.accept_doubtful)
    if withheld:
        doubtful = zones["doubt"].notna()
    rows = []
    for name in context.task.classes:
        own = zones["class"] == name
        given, left = zones[own & ~doubtful], zones[own & doubtful]
        rate, hectares = rates[name], float(given["area_ha"].sum())
        rows.append(
            {
                "Class of the zone": context.task.title(name),
                "Rate": f"{rate.value:g}\N{NO-BREAK SPACE}{rate.unit}",
                "Area": area_words(hectares),
                "Zones": count(len(given)),
                "Zones without a rate": count(len(left)),
            }
        )
    n_left = int(doubtful.sum())
    marked = zones["doubt"] != ""
    why = "Every zone has a rate."
    if marked.any():
        area = area_words(float(zones.loc[marked, "area_ha"].sum()))
        why = (
            f"Every zone has a rate, as asked by --accept-doubtful, although "
            f"{count(int(marked.sum()))} of {count(len(zones))} zones ({area}) are in doubt: "
            "unlike the training images or of poor quality."
        )
    if withheld:
        why = f"No prescription was written: {withheld}"
    elif n_left:
        area = area_words(float(zones.loc[doubtful, "area_ha"].sum()))
        why = (
            f"{count(n_left)} of {count(len(zones))} zones ({area}) have no rate, for they are in "
            "doubt: unlike the training images or of poor quality. Nothing is applied there."
        )
    return Table(pd.DataFrame(rows), title="What the sprayer will apply", note=why)
