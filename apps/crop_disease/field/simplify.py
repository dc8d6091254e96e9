"""Patches of a class map as a machine can work them: no finer than its working width.

The class map is read at half of the working width (the class most pixels of a cell have),
patches below the smallest zone go to the neighbour that surrounds them most, and outlines
are simplified together, so that neighbours still share their edge (coverage simplification,
Visvalingam and Whyatt 1993, doi:10.1179/000870493786962263). What that does to the areas is for
whoever shows the zones to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from apps.crop_disease.field.mapping import NODATA

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["coarse_patches"]


def coarse_patches(
    source: Any, n_classes: int, pixel_m: float, *, width_m: float, least_m2: float
) -> tuple[NDArray[Any], NDArray[np.int_]]:
    """Connected patches in pixels of the class map, and the class index of each.

    Args:
        source: an open class map, see ``mapping``.
        n_classes: K.
        pixel_m: side of a pixel on the ground.
        width_m: working width; at least two pixels, or there is nothing to simplify.
        least_m2: smaller patches are joined to what surrounds them.
    """
    import shapely  # noqa: PLC0415  (an extra)
    from rasterio.features import shapes, sieve  # noqa: PLC0415
    from shapely import affinity  # noqa: PLC0415

    cell = max(1, round(width_m / 2 / pixel_m))
    index, seen = _coarse(source, cell, n_classes)
    cells = round(least_m2 / (cell * pixel_m) ** 2)
    if cells > 1:
        # Ground outside of the map is neither joined nor a neighbour.
        joined = sieve(index, size=int(cells), connectivity=4, mask=seen)
        index = np.where(seen & (joined != NODATA), joined, index)
    found = [
        (shapely.Polygon(shape["coordinates"][0], shape["coordinates"][1:]), int(value))
        for shape, value in shapes(index, mask=seen)
    ]
    array = np.empty(len(found), object)
    array[:] = [shape for shape, _ in found]
    kinds = np.array([kind for _, kind in found], np.int64)
    if not found:
        return array, kinds
    # A corner of one patch on the edge of another is a point of both, or edges would part.
    array = shapely.coverage_simplify(shapely.segmentize(array, 1.0), 1.0)
    for i, shape in enumerate(array):
        array[i] = affinity.scale(shape, cell, cell, origin=(0, 0))
    whole = [
        (part, kind)
        for shape, kind in zip(array, kinds, strict=True)
        for part in shapely.get_parts([shapely.make_valid(shape)])
        if part.geom_type == "Polygon" and part.area > 0
    ]
    array = np.empty(len(whole), object)
    array[:] = [shape for shape, _ in whole]
    return array, np.array([kind for _, kind in whole], np.int64)


def _coarse(source: Any, cell: int, n_classes: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The commonest class of each cell, and whether at least half of it is on the map.

    Counted strip by strip, so that memory does not grow with the map.
    """
    from rasterio.windows import Window  # noqa: PLC0415  (an extra)

    n_rows, n_cols = -(-source.height // cell), -(-source.width // cell)
    index = np.full((n_rows, n_cols), NODATA, np.uint8)
    for row in range(n_rows):
        high = min(cell, source.height - row * cell)
        strip = np.full((cell, n_cols * cell), NODATA, np.uint8)
        strip[:high, : source.width] = source.read(
            1, window=Window(0, row * cell, source.width, high)
        )
        blocks = strip.reshape(cell, n_cols, cell)
        counts = np.stack([(blocks == k).sum(axis=(0, 2)) for k in range(n_classes)])
        seen = counts.sum(axis=0) >= cell * cell / 2
        index[row, seen] = counts.argmax(axis=0)[seen]
    return index, index != NODATA
