"""Georeferencing: position and size of a pixel on the ground, in metres and hectares.

Lengths and areas are geodesic, on the ellipsoid (Karney 2013,
doi:10.1007/s00190-012-0578-z, through pyproj): a square metre in Web Mercator
at 45 degrees is half a square metre, and a degree is none at all.

Places in a raster are (row, col) of pixel corners: (0, 0) is the outer corner
of the first pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path

    from affine import Affine
    from numpy.typing import ArrayLike, NDArray

__all__ = ["DEGREE_M", "Ground", "area_perimeter_m", "geodesic", "in_degrees", "to_map"]

# Metres of a degree of latitude on a sphere of 6,371 km: near enough for the side of a cell, and
# for whether tiles overlap. What is told in metres or hectares is geodesic.
DEGREE_M = 111_195.0


def geodesic() -> Any:
    """Measures on the WGS 84 ellipsoid."""
    from pyproj import Geod  # noqa: PLC0415  (comes with the extra)

    return Geod(ellps="WGS84")


def area_perimeter_m(shape: Any) -> tuple[float, float]:
    """Area in m2 and perimeter in m of a polygon in longitude and latitude; holes are left out."""
    from shapely.geometry.polygon import orient  # noqa: PLC0415  (an extra)

    geod, area, perimeter = geodesic(), 0.0, 0.0
    for part in getattr(shape, "geoms", [shape]):
        if part.geom_type == "Polygon" and not part.is_empty:
            a, p = geod.geometry_area_perimeter(orient(part, 1.0))
            area, perimeter = area + abs(a), perimeter + p
    return area, perimeter


def in_degrees(shapes: Any, crs: str) -> Any:
    """Shapely geometries of any system in longitude and latitude, WGS 84."""
    import shapely  # noqa: PLC0415  (an extra)
    from pyproj import Transformer  # noqa: PLC0415  (comes with the extra)

    link = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    return shapely.transform(shapes, lambda xy: np.column_stack(link.transform(xy[:, 0], xy[:, 1])))


@dataclass(frozen=True)
class Ground:
    """The link between pixels, map coordinates and the ground.

    Attributes:
        transform: (col, row) -> (x, y).
        crs: as WKT.
    """

    transform: Affine
    crs: str
    _to_degrees: Any

    @classmethod
    def of(cls, crs: str, transform: Affine, path: Path | None = None) -> Ground:
        """The ground below a raster.

        Raises:
            ImageError: the system has no known place on Earth.
        """
        from pyproj import CRS, Transformer  # noqa: PLC0415  (comes with the extra)
        from pyproj.exceptions import ProjError  # noqa: PLC0415

        try:
            link = Transformer.from_crs(CRS.from_wkt(crs), "EPSG:4326", always_xy=True)
        except ProjError as error:
            msg = (
                f"{path or 'the raster'}: its coordinate reference system cannot be placed on "
                "the Earth, so areas are unknown. Reproject it: gdalwarp -t_srs EPSG:32615 in.tif "
                "out.tif."
            )
            raise ImageError(msg) from error
        return cls(transform, crs, link)

    def xy(self, rows: ArrayLike, cols: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
        """Map coordinates of places."""
        r, c = np.asarray(rows, np.float64), np.asarray(cols, np.float64)
        t = self.transform
        return t.a * c + t.b * r + t.c, t.d * c + t.e * r + t.f

    def lonlat(self, rows: ArrayLike, cols: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
        """Longitude and latitude of places, in degrees, WGS 84."""
        lon, lat = self._to_degrees.transform(*self.xy(rows, cols))
        return np.asarray(lon), np.asarray(lat)

    def distance_m(self, first: tuple[float, float], second: tuple[float, float]) -> float:
        """Metres between two places."""
        lon, lat = self.lonlat([first[0], second[0]], [first[1], second[1]])
        return float(geodesic().inv(lon[0], lat[0], lon[1], lat[1])[2])

    def pixel_area_m2(self, row: int, col: int, height: int, width: int) -> float:
        """Mean area of a pixel of a window, in m2."""
        corners = [(row, col), (row, col + width), (row + height, col + width), (row + height, col)]
        lon, lat = self.lonlat([r for r, _ in corners], [c for _, c in corners])
        area, _ = geodesic().polygon_area_perimeter(lon, lat)
        return abs(float(area)) / (height * width)


def to_map(t: Any, xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map coordinates of (col, row) places."""
    x = t.a * xy[:, 0] + t.b * xy[:, 1] + t.c
    return np.column_stack([x, t.d * xy[:, 0] + t.e * xy[:, 1] + t.f])
