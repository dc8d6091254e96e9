"""Patches of a class map as a machine can work them: no finer than its working width.

The class map is read at half of the working width (the class most pixels of a cell have),
patches below the smallest zone go to the neighbour that surrounds them most, and outlines
are simplified together, so that neighbours still share their edge (coverage simplification,
Visvalingam and Whyatt 1993, doi:10.1179/000870493786962263). Then they are cut to the field:
cells reach beyond its edge, and a machine must not. What that does to the areas is for whoever
shows the zones to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from apps.crop_disease.field.mapping import NODATA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["clipped", "coarse_patches", "ground_of_map"]


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
    # The outer edge stays where it is, around every pixel of the map, to be cut to the field.
    array = shapely.coverage_simplify(shapely.segmentize(array, 1.0), 1.0, simplify_boundary=False)
    for i, shape in enumerate(array):
        array[i] = affinity.scale(shape, cell, cell, origin=(0, 0))
    return _polygons(array, kinds)


def ground_of_map(outlines: Sequence[Any], within: NDArray[Any] | None, *, width_px: float) -> Any:
    """The ground that zones may cover: what is on the map, inside of the field's boundary.

    Args:
        outlines: what is mapped, in pixels.
        within: the field in pixels, no further than the raster; None where none was given.
        width_px: working width; a hole that no machine can leave out is filled.
    """
    import shapely  # noqa: PLC0415  (an extra)

    mapped = shapely.union_all(np.array(outlines, object))
    parts = []
    for part in shapely.get_parts(mapped):
        holes = [h for h in part.interiors if shapely.Polygon(h).area >= width_px**2 / 4]
        parts.append(shapely.Polygon(part.exterior, holes))
    # A pixel: what is left are edges of the field and not steps of its pixels.
    ground = shapely.simplify(shapely.union_all(parts), 1.0)
    if within is None:
        return ground
    # Pixels belong to the field by their middle; its own edge lies up to one further out.
    return shapely.intersection(shapely.buffer(ground, 1.0, join_style="mitre"), within)


def clipped(
    shapes: NDArray[Any], kinds: NDArray[np.int_], ground: Any, *, least_px2: float
) -> tuple[NDArray[Any], NDArray[np.int_]]:
    """Patches cut to the ground; what becomes smaller than the smallest zone joins a neighbour.

    A patch without a neighbour stays, however small: it is all there is of its field.

    Args:
        shapes: (N,) patches in pixels.
        kinds: (N,) their classes.
        ground: see ``ground_of_map``.
        least_px2: area of the smallest zone in pixels.
    """
    import shapely  # noqa: PLC0415  (an extra)

    shapely.prepare(ground)
    shapes, kinds = _polygons(shapely.intersection(shapes, ground), kinds)
    tree = shapely.STRtree(shapes)
    joined: dict[int, int] = {}

    def now(i: int) -> int:
        while i in joined:
            i = joined[i]
        return i

    for i in map(int, np.argsort(shapely.area(shapes), kind="stable")):
        if shapely.area(shapes[i]) >= least_px2:
            continue
        near = {now(int(j)) for j in tree.query(shapes[i], predicate="intersects")} - {i}
        edge = {j: shapely.length(shapely.intersection(shapes[i], shapes[j])) for j in near}
        best = max(sorted(edge), key=lambda j: edge[j], default=i)
        if best != i and edge[best] > 0:
            joined[i], shapes[best] = best, shapely.union(shapes[best], shapes[i])
    if not joined:
        return shapes, kinds
    left = np.array([i not in joined for i in range(len(shapes))], bool)
    shapes, kinds = shapes[left], kinds[left]
    found = sorted(set(kinds.tolist()))
    whole = np.empty(len(found), object)
    whole[:] = [shapely.union_all(shapes[kinds == kind]) for kind in found]
    return _polygons(whole, np.array(found, np.int64))


def _polygons(
    shapes: NDArray[Any], kinds: NDArray[np.int_]
) -> tuple[NDArray[Any], NDArray[np.int_]]:
    """The valid polygons of shapes, one each, and the class of each."""
    import shapely  # noqa: PLC0415  (an extra)

    parts, of = shapely.get_parts(shapely.make_valid(shapes), return_index=True)
    # Of a part that is a collection itself, or a line, nothing can be worked.
    more, of_part = shapely.get_parts(parts, return_index=True)
    kept = (shapely.get_type_id(more) == shapely.GeometryType.POLYGON) & (shapely.area(more) > 1e-6)
    return more[kept], kinds[of[of_part]][kept]


def _coarse(source: Any, cell: int, n_classes: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The commonest class of each cell, and whether any of it is on the map.

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
        seen = counts.sum(axis=0) > 0
        index[row, seen] = counts.argmax(axis=0)[seen]
    return index, index != NODATA
