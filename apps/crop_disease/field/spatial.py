"""Polygons and points on a raster: the field's boundary, and which class a tile has.

Vector files may be in any coordinate reference system; they are brought to the
raster's pixels once. Shapes here are in pixels: x is the column and y the row
of pixel corners.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from apps.crop_disease.field.vector_file import open_vectors
from core.data.folder_words import spelled_alike
from core.data.tables_in import EMPTY, whole_number
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from apps.crop_disease.field.raster import RasterFacts
    from apps.crop_disease.field.window import Window

__all__ = ["Shapes", "label_of_tiles", "read_shapes"]

# Share of a tile on which shapes of two classes may overlap, as carelessly drawn edges do.
MOST_TWICE = 0.1
# Columns that name a field or plot, in the order they are looked for.
NAMING = ("field", "field_id", "name", "plot", "plot_id", "plot_ids", "block", "id", "fid")


@dataclass(frozen=True)
class Shapes:
    """Shapes over one raster.

    Attributes:
        geometries: (N,) shapely geometries in pixels.
        values: (N,) the text of the column asked for.
        beyond: those of the file that do not lie on the raster; None where all do.
    """

    geometries: NDArray[Any]
    values: tuple[str, ...]
    beyond: Shapes | None = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def n_bare(self) -> int:
        """Shapes without a value."""
        return sum(value == "" for value in tuple(self.values))

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
    path: Path,
    facts: RasterFacts,
    *,
    column: str = "",
    what: str = "--within",
    layer: str = "",
    chosen: Mapping[str, str] | None = None,
) -> Shapes:
    """Shapes of a vector file over a raster.

    Args:
        path: GeoPackage, GeoJSON, shapefile (zipped or not), KML, KMZ or FlatGeobuf.
        facts: of the raster.
        column: whose values are wanted; empty takes the first that names a field,
            or the number of the shape. Compared without case; values are trimmed.
        what: the option the file was given by, for messages.
        layer: of a file with several; empty takes the one layer that has shapes.
        chosen: ``--label-map``; a value that becomes empty leaves its shapes out.

    Raises:
        ManifestError: it cannot be read or laid over the raster, has no system, several
            layers, or lacks the column.
    """
    import shapely  # noqa: PLC0415  (an extra)

    frame = open_vectors(path, what, layer)
    name = _column(frame, column, path, what)
    frame = frame[~(frame.geometry.isna() | frame.geometry.is_empty)].reset_index(drop=True)
    _require_area(frame, path, what)
    _require_system(frame, path, what)
    try:
        pixels = _in_pixels(frame, facts)
    # pyproj, GEOS and shapely raise types of their own on coordinates that mean no place.
    except Exception as error:
        words = str(error).splitlines()[0] if str(error) else type(error).__name__
        msg = (
            f"{what} {path}: its coordinate reference system ({_named(frame.crs)}) cannot be "
            f"brought to that of {facts.path.name} ({words}); a local or engineering system has no "
            "known place on the Earth. Export it in the raster's system."
        )
        raise ManifestError(msg) from error
    values = [str(i + 1) for i in range(len(frame))]
    if name:
        cells = frame[name].tolist()
        values = ["" if v is None or v != v else whole_number(str(v)) for v in cells]  # noqa: PLR0124
        values = ["" if value in EMPTY else value for value in values]
    values = [(chosen or {}).get(value.casefold(), value) for value in values]
    frame_px = shapely.box(0, 0, facts.width, facts.height)
    near = shapely.intersects(pixels, frame_px) if len(frame) else np.zeros(0, bool)
    if not near.any():
        raise ManifestError(_none_on(frame, facts, path, what))
    kept = np.flatnonzero(near)
    if column:
        _refuse_spellings([values[i] for i in kept], path, what)
    rest = np.flatnonzero(~near)
    beyond = Shapes(pixels[rest], tuple(values[i] for i in rest)) if len(rest) else None
    return Shapes(pixels[kept], tuple(values[i] for i in kept), beyond)


def _column(frame: Any, column: str, path: Path, what: str) -> str:
    """The column asked for, whatever its case; else the first that names a field."""
    lower = {str(name).strip().lower(): str(name) for name in frame.columns}
    if not column:
        return next((lower[word] for word in NAMING if word in lower), "")
    # A shapefile cuts names to ten characters.
    found = lower.get(column.lower()) or (
        lower.get(column.lower()[:10]) if path.suffix.lower() in {".shp", ".zip"} else None
    )
    if found is None:
        have = ", ".join(str(c) for c in frame.columns if c != "geometry") or "none"
        if have == "none" and path.suffix.lower() == ".shp":
            have = "none; a shapefile keeps them in the .dbf file beside it"
        msg = (
            f"{what} {path}: has no column {column!r} (it has: {have}). Name the one with the "
            "class: --label-column NAME."
        )
        raise ManifestError(msg)
    return found


def _require_area(frame: Any, path: Path, what: str) -> None:
    """Refuse lines: they cover nothing, and a tile would get the class of what crosses it."""
    n = int(frame.geometry.geom_type.isin(["LineString", "MultiLineString", "LinearRing"]).sum())
    if n:
        msg = (
            f"{what} {path}: {n:,} of its {len(frame):,} shapes are lines, which cover no ground. "
            "Draw polygons, or give the lines a width (in QGIS: Vector, Geoprocessing, Buffer)."
        )
        raise ManifestError(msg)


def _none_on(frame: Any, facts: RasterFacts, path: Path, what: str) -> str:
    """What to say where no shape lies on the raster; that longitude and latitude are exchanged."""
    import shapely  # noqa: PLC0415  (an extra)

    if not len(frame):
        return f"{what} {path}: holds no shapes. Draw some, or name another layer with --layer."
    turned = frame.set_geometry(
        shapely.transform(frame.geometry.to_numpy(), lambda xy: xy[:, ::-1])
    )
    try:
        whole = shapely.box(0, 0, facts.width, facts.height)
        is_turned = shapely.intersects(_in_pixels(turned.set_crs(frame.crs), facts), whole).any()
    # Exchanged, they may mean no place at all.
    except Exception:
        is_turned = False
    way = (
        "They would with x and y exchanged: the file has latitude first, and GeoJSON and GIS have "
        "longitude first."
        if is_turned
        else "Check that both are of the same field, and the coordinate reference systems of both."
    )
    return f"{what} {path}: none of its {len(frame):,} shapes lies on {facts.path.name}. {way}"


def _require_system(frame: Any, path: Path, what: str) -> None:
    """Refuse shapes without a system, and metres in a file whose numbers mean degrees."""
    if frame.crs is None:
        msg = (
            f"{what} {path}: names no coordinate reference system, so it cannot be laid over the "
            "raster. Export it with one; a shapefile needs its .prj file."
        )
        raise ManifestError(msg)
    if not len(frame) or not frame.crs.is_geographic:
        return
    low_x, low_y, high_x, high_y = (float(v) for v in frame.total_bounds)
    if max(abs(low_x), abs(high_x)) > 360 or max(abs(low_y), abs(high_y)) > 90.001:
        is_json = path.suffix.lower() in {".geojson", ".json"}
        rule = "GeoJSON without crs is longitude and latitude" if is_json else _named(frame.crs)
        msg = (
            f"{what} {path}: its coordinates ({low_x:.0f}, {low_y:.0f}) are no degrees; {rule}. "
            "Export it as GeoPackage, or with its system."
        )
        raise ManifestError(msg)


def _in_pixels(frame: Any, facts: RasterFacts) -> NDArray[Any]:
    """Shapes in pixels of a raster, valid ones."""
    import shapely  # noqa: PLC0415  (an extra)

    frame = frame.to_crs(facts.crs)
    back = ~facts.transform
    pixels = shapely.transform(
        shapely.force_2d(frame.geometry.to_numpy()),
        lambda xy: np.column_stack(
            [
                back.a * xy[:, 0] + back.b * xy[:, 1] + back.c,
                back.d * xy[:, 0] + back.e * xy[:, 1] + back.f,
            ]
        ),
    )
    if len(frame) and not np.isfinite(shapely.get_coordinates(pixels)).all():
        msg = "a coordinate becomes infinite"
        raise ValueError(msg)
    return np.asarray(shapely.make_valid(pixels) if len(frame) else pixels)


def _refuse_spellings(values: Sequence[str], path: Path, what: str) -> None:
    """Refuse one class that is spelled in two ways."""
    counts = Counter(value for value in values if value)
    if twice := spelled_alike(counts, "shapes"):
        names, shown = twice[0]
        msg = (
            f"{what} {path}: one class is spelled in several ways ({shown}). They would count as "
            f"different classes. Did you mean {names[0]!r} for all of them? Correct the others, or "
            f"pass --label-map '{names[1]}={names[0]}'."
        )
        raise ManifestError(msg)


def _named(crs: Any) -> str:
    """A coordinate reference system in a few words."""
    return str(getattr(crs, "name", "") or crs)[:60]


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
    labels = [
        _label(found, height * width, background, least_share)
        for found, (_, _, height, width) in zip(cover, windows, strict=True)
    ]
    for place, found in enumerate(cover):
        # Of one ground with two classes neither is known.
        if len(found) > 1 and np.inf not in found.values() and labels[place][0]:
            mine = [shapes.geometries[n] for p, n in zip(of, shape, strict=True) if p == place]
            names = [shapes.values[n] for p, n in zip(of, shape, strict=True) if p == place]
            both = _twice_covered(boxes[place], mine, names)
            if both > MOST_TWICE:
                message = ", ".join(sorted(found))
                labels[place] = (
                    "",
                    f"shapes of several classes overlap on {both:.0%} of it ({message})",
                )
    return labels


def _twice_covered(box: Any, geometries: Sequence[Any], values: Sequence[str]) -> float:
    """Share of a tile that shapes of more than one class cover."""
    import shapely  # noqa: PLC0415  (an extra)

    parts = [
        shapely.union_all([g for g, v in zip(geometries, values, strict=True) if v == name])
        for name in dict.fromkeys(filter(None, values))
    ]
    parts = [shapely.intersection(part, box) for part in parts]
    total = sum(shapely.area(part) for part in parts) - shapely.area(shapely.union_all(parts))
    return float(total / shapely.area(box))


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
