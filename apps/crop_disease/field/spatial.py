"""Polygons and points on a raster: the field's boundary, and which class a tile has.

Vector files may be in any coordinate reference system; they are brought to the
raster's pixels once. Shapes here are in pixels: x is the column and y the row
of pixel corners.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from apps.crop_disease.field.raster import RasterFacts
    from apps.crop_disease.field.window import Window

__all__ = ["Shapes", "label_of_tiles", "read_shapes"]

# Columns that name a field or plot, in the order they are looked for.
NAMING = ("field", "field_id", "name", "plot", "plot_id", "plot_ids", "block", "id", "fid")


@dataclass(frozen=True)
class Shapes:
    """Shapes over one raster.

    Attributes:
        geometries: (N,) shapely geometries in pixels.
        values: (N,) the text of the column asked for.
    """

    geometries: NDArray[Any]
    values: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.values)

    def mask(self, window: Window) -> NDArray[np.bool_]:
        """Which pixel centres (H, W) of a window lie inside a shape."""
        import shapely  # noqa: PLC0415  (an extra)
        from affine import Affine  # noqa: PLC0415
        from rasterio.features import geometry_mask  # noqa: PLC0415

        row, col, height, width = window
        frame = shapely.box(col, row, col + width, row + height)
        near = self.geometries[shapely.intersects(self.geometries, frame)]
        if not len(near):
            return np.zeros((height, width), bool)
        return np.asarray(
            geometry_mask(
                near, (height, width), Affine.translation(col, row), invert=True, all_touched=False
            )
        )

    def at(self, rows: NDArray[np.float64], cols: NDArray[np.float64]) -> list[str]:
        """The value of the shape at each place; empty where there is none."""
        import shapely  # noqa: PLC0415  (an extra)

        points = shapely.points(cols, rows)
        tree = shapely.STRtree(self.geometries)
        of, shape = tree.query(points, predicate="intersects")
        found = [""] * len(points)
        # Backwards, so that the first shape of several has the last word.
        for place, number in sorted(zip(of, shape, strict=True), reverse=True):
            found[place] = self.values[number]
        return found


def read_shapes(
    path: Path, facts: RasterFacts, *, column: str = "", what: str = "--within"
) -> Shapes:
    """Shapes of a vector file over a raster.

    Args:
        path: GeoPackage, GeoJSON or shapefile.
        facts: of the raster.
        column: whose values are wanted; empty takes the first that names a field,
            or the number of the shape.
        what: the option the file was given by, for messages.

    Raises:
        ManifestError: it cannot be read, has no system, or lacks the column.
    """
    import geopandas  # noqa: PLC0415  (an extra)
    import shapely  # noqa: PLC0415
    from pyogrio.errors import DataSourceError  # noqa: PLC0415

    drivers = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".json": "GeoJSON", ".shp": "ESRI Shapefile"}
    if path.suffix.lower() not in drivers or not path.is_file():
        why = "there is no such file" if not path.exists() else "is no kind of file known here"
        msg = f"{what} {path}: {why}. Pass a GeoPackage, a GeoJSON or a shapefile."
        raise ManifestError(msg)
    try:
        frame = geopandas.read_file(path, engine="pyogrio")
    except (DataSourceError, ValueError) as error:
        msg = f"{what} {path}: cannot be read ({error}). Export it again as GeoPackage or GeoJSON."
        raise ManifestError(msg) from error
    if frame.crs is None:
        msg = (
            f"{what} {path}: names no coordinate reference system, so it cannot be laid over the "
            "raster. Export it with one; a shapefile needs its .prj file."
        )
        raise ManifestError(msg)
    if column and column not in frame.columns:
        have = ", ".join(str(c) for c in frame.columns if c != "geometry") or "none"
        msg = f"{what} {path}: has no column {column!r} (it has: {have})."
        raise ManifestError(msg)
    frame = frame.to_crs(facts.crs)
    frame = frame[frame.geometry.notna() & ~frame.geometry.is_empty].reset_index(drop=True)
    back = ~facts.transform
    pixels = shapely.transform(
        frame.geometry.to_numpy(),
        lambda xy: np.column_stack(
            [
                back.a * xy[:, 0] + back.b * xy[:, 1] + back.c,
                back.d * xy[:, 0] + back.e * xy[:, 1] + back.f,
            ]
        ),
    )
    if len(frame):
        pixels = shapely.make_valid(pixels)
    lower = {str(name).lower(): name for name in frame.columns}
    name = column or next((lower[word] for word in NAMING if word in lower), "")
    values = [str(i + 1) for i in range(len(frame))]
    if name:
        values = ["" if v is None or v != v else str(v) for v in frame[name]]  # noqa: PLR0124  (NaN)
        values = [v.removesuffix(".0") for v in values]
    frame_px = shapely.box(0, 0, facts.width, facts.height)
    near = shapely.intersects(pixels, frame_px) if len(frame) else np.zeros(0, bool)
    if not near.any():
        msg = (
            f"{what} {path}: none of its {len(frame):,} shapes lies on {facts.path.name}. Check "
            "that both are of the same field, and the coordinate reference systems of both."
        )
        raise ManifestError(msg)
    kept = np.flatnonzero(near)
    return Shapes(pixels[kept], tuple(values[i] for i in kept))


def label_of_tiles(
    shapes: Shapes, windows: Sequence[Window], *, background: str, least_share: float
) -> list[tuple[str, str]]:
    """The class of each tile, or why it has none.

    Of polygons a tile has the class that covers most of it, if that is at least
    ``least_share``; what no polygon covers counts as ``background`` where that is
    named. Of points it has the class of the points in it, if they agree.

    Returns:
        (label, reason) each; one of them is empty.
    """
    import shapely  # noqa: PLC0415  (an extra)

    boxes = np.array([shapely.box(c, r, c + w, r + h) for r, c, h, w in windows])
    tree = shapely.STRtree(shapes.geometries)
    of, shape = tree.query(boxes, predicate="intersects")
    # Most tiles lie wholly in a polygon; cutting is slow and only its edge needs it.
    shapely.prepare(shapes.geometries)
    size = shapely.area(boxes[of])
    edge = ~shapely.covers(shapes.geometries[shape], boxes[of])
    overlap = shapely.intersection(boxes[of][edge], shapes.geometries[shape][edge])
    # A point has no area; it counts as a whole tile, so that the same rule serves both.
    size[edge] = np.where(shapely.get_dimensions(overlap) == 0, np.inf, shapely.area(overlap))
    cover: list[dict[str, float]] = [{} for _ in windows]
    for place, number, area in zip(of, shape, size, strict=True):
        value = shapes.values[number]
        if value and area > 0:
            cover[place][value] = cover[place].get(value, 0.0) + float(area)
    return [
        _label(found, height * width, background, least_share)
        for found, (_, _, height, width) in zip(cover, windows, strict=True)
    ]


def _label(
    cover: dict[str, float], whole: float, background: str, least_share: float
) -> tuple[str, str]:
    """Class and reason from the areas that classes cover."""
    points = sorted(name for name, area in cover.items() if area == np.inf)
    if len(points) == 1:
        return points[0], ""
    if points:
        return "", f"points of several classes lie in it ({', '.join(points)})"
    shares = {name: min(1.0, area / whole) for name, area in cover.items()}
    if background:
        rest = max(0.0, 1.0 - sum(shares.values()))
        shares[background] = shares.get(background, 0.0) + rest
    if not shares:
        return "", "no label lies on it"
    best = max(sorted(shares), key=lambda name: shares[name])
    if shares[best] < least_share - 1e-9:
        return "", f"no class covers {least_share:.0%} of it (most: {best}, {shares[best]:.0%})"
    return best, ""
