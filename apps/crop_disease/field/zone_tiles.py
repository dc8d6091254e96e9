"""Which tiles stand behind a zone: how many, how many in doubt, how many above the threshold.

A zone is drawn from scores, and a score says nothing of whether the model knows such
ground. Counted are the tiles whose centre lies in the zone and those that cover a point
inside of it; how much of its ground is in doubt is measured (``doubtful_ground``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from apps.crop_disease.field.doubtful_ground import MOST_DOUBT, share_in
from core.base.tables import POSITIVE
from core.evaluation.doubt import is_doubtful

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from apps.crop_disease.field.raster import RasterFacts
    from core.app import Task

__all__ = ["doubt_of_shapes", "tile_shapes", "with_tiles"]


def tile_shapes(tiles: pd.DataFrame, facts: RasterFacts) -> NDArray[Any]:
    """The tiles as polygons of the raster's system."""
    import shapely  # noqa: PLC0415  (an extra)

    t = facts.transform
    top, left = tiles["row_off"].to_numpy(float), tiles["col_off"].to_numpy(float)
    bottom, right = top + tiles["height"].to_numpy(float), left + tiles["width"].to_numpy(float)
    corners = np.stack(
        [
            np.stack([t.a * c + t.b * r + t.c, t.d * c + t.e * r + t.f], axis=1)
            for r, c in ((top, left), (top, right), (bottom, right), (bottom, left))
        ],
        axis=1,
    )
    return np.asarray(shapely.polygons(corners))


def doubt_of_shapes(
    shapes: NDArray[Any], tiles: pd.DataFrame, facts: RasterFacts
) -> NDArray[np.float64]:
    """Which share in [0, 1] of each shape (N,) lies in tiles with a score that are in doubt."""
    scored = tiles[tiles["status"] == "ok"]
    return share_in(shapes, tile_shapes(scored, facts), is_doubtful(scored))


def with_tiles(zones: Any, tiles: pd.DataFrame, facts: RasterFacts, task: Task) -> Any:
    """Zones with ``n_tiles``, ``n_doubtful``, ``n_positive``, ``doubt_share`` and ``doubt``.

    The last is empty where at most ``MOST_DOUBT`` of the zone's ground lies in tiles in doubt.

    Args:
        zones: see ``zones.trace_zones``.
        tiles: of the raster, with ``unfamiliar``, ``quality`` and ``decision`` where known.
        facts: of the raster.
        task: with its class order.
    """
    import shapely  # noqa: PLC0415  (an extra)

    scored = tiles[tiles["status"] == "ok"].reset_index(drop=True)
    # Not the column ``doubt``: a threshold that decides against a class makes no ground unknown.
    doubtful = is_doubtful(scored)
    sides = {POSITIVE, *(task.classes[i] for i in task.positive_index)}
    positive = (
        scored["decision"].isin(sides).to_numpy()
        if "decision" in scored
        else np.zeros(len(scored), bool)
    )
    shapes = tile_shapes(scored, facts)
    behind: list[set[int]] = [set() for _ in range(len(zones))]
    outlines = zones.geometry.to_numpy()
    if len(zones) and len(scored):
        zone, tile = shapely.STRtree(shapely.centroid(shapes)).query(outlines, predicate="covers")
        inside = shapely.point_on_surface(outlines)
        also, over = shapely.STRtree(shapes).query(inside, predicate="covered_by")
        for z, t in zip([*zone, *also], [*tile, *over], strict=True):
            behind[int(z)].add(int(t))
    at = [np.array(sorted(found), dtype=int) for found in behind]
    share = doubt_of_shapes(outlines, tiles, facts)
    counts = [(len(a), int(doubtful[a].sum()), int(positive[a].sum())) for a in at]
    return zones.assign(
        n_tiles=[n for n, _, _ in counts],
        n_doubtful=[bad for _, bad, _ in counts],
        n_positive=[up for _, _, up in counts],
        doubt_share=share.round(6),
        doubt=[
            f"{bad} of {n} tiles in doubt" if part > MOST_DOUBT else ""
            for (n, bad, _), part in zip(counts, share, strict=True)
        ],
    )
