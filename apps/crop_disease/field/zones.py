"""From a class map to zones: where, what, how large, how sure.

A zone is a connected patch of one class. Patches are simplified to the width of the machine
that works them (``simplify``), or, where that is finer than the map, traced on its pixels window
by window and joined along the window edges. Areas and perimeters are geodesic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from apps.crop_disease.field.ground import Ground, area_perimeter_m, in_degrees, to_map
from apps.crop_disease.field.mapping import NODATA, STEPS
from apps.crop_disease.field.raster import CACHE_BYTES, open_geotiff
from apps.crop_disease.field.simplify import clipped, coarse_patches, ground_of_map

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["hot_spots", "trace_zones", "write_layer"]

WINDOW = 1024
# Hot spots listed at most: about what a scout walks to in a day.
MOST_SPOTS = 20
# A fixed date in GeoPackages, so that the same map gives the same bytes.
DATE = "2000-01-01T00:00:00.000Z"


def trace_zones(
    classes_file: Path,
    scores_file: Path,
    classes: Sequence[str],
    *,
    width_m: float = 0.0,
    least_m2: float = 0.0,
    within: NDArray[Any] | None = None,
) -> Any:
    """One row per zone, the largest first.

    Args:
        classes_file: class indices, see ``mapping``.
        scores_file: scores on the same grid.
        classes: names in index order.
        width_m: working width that outlines are simplified to; 0 keeps the pixels.
        least_m2: smaller patches are joined to what surrounds them; not with a width of 0.
        within: (N,) polygons in pixels that no zone leaves; None where there are none.

    Returns:
        a GeoDataFrame in the map's system: zone, class, score (mean of the
        zone's class), area_m2, area_ha, perim_m, lon and lat of a point inside.
    """
    import geopandas  # noqa: PLC0415  (an extra)
    import rasterio  # noqa: PLC0415
    import shapely  # noqa: PLC0415

    with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES), open_geotiff(classes_file) as source:
        crs = source.crs
        ground = Ground.of(crs.to_wkt(), source.transform)
        pixel_m = ground.pixel_area_m2(source.height // 2, source.width // 2, 1, 1) ** 0.5
        field = None
        if within is not None:
            frame = shapely.box(0, 0, source.width, source.height)
            field = shapely.intersection(shapely.union_all(within), frame)
        if width_m > 2 * pixel_m:
            shapes, kinds = coarse_patches(
                source, len(classes), pixel_m, width_m=width_m, least_m2=least_m2
            )
            if len(shapes):
                mapped = [shape for _, shape in _outlines(source, by_class=False)]
                field = ground_of_map(mapped, field, width_px=width_m / pixel_m)
                shapes, kinds = clipped(shapes, kinds, field, least_px2=least_m2 / pixel_m**2)
        else:
            shapes, kinds = _patches(source, len(classes))
            if field is not None and len(shapes):
                shapes, kinds = clipped(shapes, kinds, field, least_px2=0.0)
        score = _mean_scores(source, scores_file, shapes, kinds) if len(shapes) else np.zeros(0)
        transform = source.transform
    shapes = shapely.transform(shapes, lambda xy: to_map(transform, xy)) if len(shapes) else shapes
    degrees = in_degrees(shapes, crs.to_wkt()) if len(shapes) else shapes
    inside = shapely.point_on_surface(degrees) if len(shapes) else shapes
    sizes = np.array([area_perimeter_m(shape) for shape in degrees]).reshape(-1, 2)
    frame = geopandas.GeoDataFrame(
        {
            "class": [classes[k] for k in kinds],
            "score": np.round(score, 4),
            "area_m2": np.round(sizes[:, 0], 2),
            "area_ha": np.round(sizes[:, 0] / 1e4, 6),
            "perim_m": np.round(sizes[:, 1], 2),
            "lon": [round(p.x, 8) for p in inside],
            "lat": [round(p.y, 8) for p in inside],
        },
        geometry=list(shapes),
        crs=crs,
    )
    frame = frame.sort_values(["area_m2", "lon", "lat"], ascending=[False, True, True])
    frame.insert(0, "zone", np.arange(1, len(frame) + 1))
    return frame.reset_index(drop=True)


def hot_spots(zones: Any, affected: Sequence[str]) -> Any:
    """The zones to look at first: of affected classes, by area times mean score.

    Args:
        zones: see ``trace_zones``.
        affected: classes that a scout should see.

    Returns:
        up to 20 rows in WGS 84, ``rank`` first; the geometry is a point inside the zone.
    """
    import geopandas  # noqa: PLC0415  (an extra)

    rows = zones[zones["class"].isin(list(affected))]
    weight = rows["area_m2"] * rows["score"]
    order = weight.sort_values(ascending=False, kind="stable").index[:MOST_SPOTS]
    spots = rows.loc[order].reset_index(drop=True)
    spots.insert(0, "rank", np.arange(1, len(spots) + 1))
    points = geopandas.points_from_xy(spots["lon"], spots["lat"])
    return geopandas.GeoDataFrame(spots.drop(columns="geometry"), geometry=points, crs="EPSG:4326")


def write_layer(frame: Any, path: Path) -> Path:
    """Write a GeoPackage, GeoJSON (in WGS 84) or shapefile, whole or not at all.

    Args:
        frame: a GeoDataFrame.
        path: its ending says which.
    """
    import tempfile  # noqa: PLC0415  (only where a layer is written)
    from pathlib import Path as Folder  # noqa: PLC0415

    import pyogrio  # noqa: PLC0415  (an extra)

    driver = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".shp": "ESRI Shapefile"}[path.suffix]
    if driver == "GeoJSON":
        # RFC 7946 knows no other system.
        frame = frame.to_crs("EPSG:4326")
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": DATE})
    extra = {"layer": path.stem} if driver == "GPKG" else {}
    if driver == "ESRI Shapefile":
        extra["DBF_DATE_LAST_UPDATE"] = DATE[:10]
    with tempfile.TemporaryDirectory(
        dir=path.parent, prefix=f".{path.name}.", suffix=".partial"
    ) as folder:
        kind = None if len(frame) else "Unknown"
        pyogrio.write_dataframe(
            frame, Folder(folder) / path.name, driver=driver, geometry_type=kind, **extra
        )
        # The parts of a shapefile first, its .shp last: with it the layer is there.
        parts = sorted(Folder(folder).iterdir(), key=lambda f: f.suffix == path.suffix)
        for part in parts:
            part.replace(path.with_name(part.name))
    return path


def _patches(source: Any, n_classes: int) -> tuple[NDArray[Any], NDArray[np.int_]]:
    """Connected patches in pixels, and the class index of each."""
    import shapely  # noqa: PLC0415  (an extra)

    pieces: list[list[Any]] = [[] for _ in range(n_classes)]
    for kind, piece in _outlines(source):
        pieces[kind].append(piece)
    found: list[Any] = []
    kinds: list[int] = []
    for kind, parts in enumerate(pieces):
        if not parts:
            continue
        whole = shapely.union_all(np.array(parts))
        patches = [p for p in shapely.get_parts([whole]) if p.geom_type == "Polygon"]
        found += patches
        kinds += [kind] * len(patches)
    array = np.empty(len(found), object)
    array[:] = found
    return array, np.array(kinds, np.int64)


def _outlines(source: Any, *, by_class: bool = True) -> Iterator[tuple[int, Any]]:
    """Class index (1 of all together) and polygon in pixels of what is mapped, by window."""
    import shapely  # noqa: PLC0415  (an extra)
    from affine import Affine  # noqa: PLC0415
    from rasterio.features import shapes  # noqa: PLC0415

    for row, col, window in _windows(source):
        index = source.read(1, window=window)
        shown = index != NODATA
        values = index if by_class else shown.astype(np.uint8)
        for shape, value in shapes(values, mask=shown, transform=Affine.translation(col, row)):
            rings = shape["coordinates"]
            yield int(value), shapely.Polygon(rings[0], rings[1:])


def _mean_scores(
    source: Any, scores_file: Path, shapes: NDArray[Any], kinds: NDArray[np.int_]
) -> NDArray[np.float64]:
    """Mean score of its own class over each zone."""
    import shapely  # noqa: PLC0415  (an extra)
    from affine import Affine  # noqa: PLC0415
    from rasterio.features import rasterize  # noqa: PLC0415

    total, count = np.zeros(len(shapes)), np.zeros(len(shapes))
    tree = shapely.STRtree(shapes)
    with open_geotiff(scores_file) as scores:
        for row, col, window in _windows(source):
            frame = shapely.box(col, row, col + window.width, row + window.height)
            near = tree.query(frame, predicate="intersects")
            if not len(near):
                continue
            place = rasterize(
                [(shapes[i], int(i) + 1) for i in near],
                out_shape=(window.height, window.width),
                transform=Affine.translation(col, row),
                dtype="int32",
            )
            for kind in np.unique(kinds[near]):
                value = scores.read(int(kind) + 1, window=window)
                here = (place > 0) & (value != NODATA)
                here[here] = kinds[place[here] - 1] == kind
                number = place[here] - 1
                total += np.bincount(number, value[here] / STEPS, minlength=len(shapes))
                count += np.bincount(number, minlength=len(shapes))
    return np.asarray(total / np.maximum(count, 1))


def _windows(source: Any) -> Iterator[tuple[int, int, Any]]:
    """(row, col, window) in storage order."""
    from rasterio.windows import Window  # noqa: PLC0415  (an extra)

    for row in range(0, source.height, WINDOW):
        for col in range(0, source.width, WINDOW):
            size = min(WINDOW, source.width - col), min(WINDOW, source.height - row)
            yield row, col, Window(col, row, *size)
