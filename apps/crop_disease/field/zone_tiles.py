"""Which tiles stand behind a zone: how many, how many in doubt, how many above the threshold.

A zone is drawn from scores, and a score says nothing of whether the model knows such
ground. Counted are the tiles that share ground with the zone; how much of this ground is
in doubt is measured on the same tiles (``doubtful_ground``), so that one is zero where the
other is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from apps.crop_disease.field.doubtful_ground import IN_DOUBT, MOST_DOUBT, overlaps, share_in
from core.base.tables import POSITIVE
from core.evaluation.doubt_marks import is_doubtful

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from apps.crop_disease.field.raster import RasterFacts
    from core.app import Task

__all__ = ["doubt_of_shapes", "for_files", "n_tiles_of", "tile_shapes", "with_tiles"]


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
    pairs = overlaps(shapes, tile_shapes(scored, facts))
    return share_in(len(shapes), pairs, is_doubtful(scored))


def n_tiles_of(zones: Any, tiles: pd.DataFrame, facts: RasterFacts) -> tuple[int, int]:
    """How many tiles with a score share ground with these zones, and how many are in doubt.

    A tile that shares ground with several of them counts once.
    """
    scored = tiles[tiles["status"] == "ok"]
    tile = np.unique(overlaps(zones.geometry.to_numpy(), tile_shapes(scored, facts))[1])
    return len(tile), int(is_doubtful(scored)[tile].sum())


def with_tiles(zones: Any, tiles: pd.DataFrame, facts: RasterFacts, task: Task) -> Any:
    """Zones with ``n_tiles``, ``n_doubtful``, ``n_positive``, ``doubt_share`` and ``doubt``.

    The last is empty where at most ``MOST_DOUBT`` of the zone's ground lies in tiles in doubt.

    Args:
        zones: see ``zones.trace_zones``.
        tiles: of the raster, with ``unfamiliar``, ``quality`` and ``decision`` where known.
        facts: of the raster.
        task: with its class order.
    """
    scored = tiles[tiles["status"] == "ok"].reset_index(drop=True)
    # Not the column ``doubt``: a threshold that decides against a class makes no ground unknown.
    doubtful = is_doubtful(scored)
    sides = {POSITIVE, *(task.classes[i] for i in task.positive_index)}
    positive = (
        scored["decision"].isin(sides).to_numpy()
        if "decision" in scored
        else np.zeros(len(scored), bool)
    )
    outlines = zones.geometry.to_numpy()
    zone, tile, area = overlaps(outlines, tile_shapes(scored, facts))
    share = share_in(len(zones), (zone, tile, area), doubtful)
    n, bad, up = (
        np.bincount(zone, weights, len(zones)).astype(np.int64)
        for weights in (None, doubtful[tile], positive[tile])
    )
    return zones.assign(
        n_tiles=n,
        n_doubtful=bad,
        n_positive=up,
        # Rounded up: no share is 0 where a tile is in doubt.
        doubt_share=np.ceil(share * 1e6) / 1e6,
        doubt=[
            f"{some} of {of} tiles in doubt" if part > MOST_DOUBT else ""
            for some, of, part in zip(bad, n, share, strict=True)
        ],
    )


def for_files(zones: Any, *, accept: bool, withheld: bool) -> Any:
    """Zones as they are written: what is in doubt is a kind of its own, and none of a class.

    Nobody who adds hectares by class, or over all zones, adds what is withheld.

    Args:
        zones: see ``with_tiles``.
        accept: whether the user asked for areas in spite of doubt; then zones are as they are.
        withheld: whether no area of the map is given at all.

    Returns:
        the zones with ``predicted``, the class; ``class``, which is ``in doubt`` where most of
        what is known of the zone is; and ``doubt_ha``, the hectares of a zone in doubt, in place of
        ``area_m2``,
        ``area_ha``, ``perim_m`` and ``score``, or beside them where accepted.
    """
    doubtful = (zones["doubt"] != "").to_numpy()
    if accept:
        return zones.assign(predicted=zones["class"], doubt_ha=zones["area_ha"].where(doubtful))
    empty = doubtful | withheld
    return zones.assign(
        **{name: zones[name].where(~empty) for name in ("area_m2", "area_ha", "perim_m")},
        score=zones["score"].where(~doubtful),
        predicted=zones["class"],
        doubt_ha=zones["area_ha"].where(doubtful & (not withheld)),
        **{"class": np.where(doubtful, IN_DOUBT, zones["class"])},
    )
