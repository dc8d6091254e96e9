"""A synthetic orthomosaic with a known answer: crop rows, foci of two diseases, a field's edge.

Drawn block by block from formulas of the position, so that a mosaic of any size
takes the memory of one block. The foci are ellipses and the field is a polygon,
so the area of every class is known exactly and not counted on pixels.

The look is a caricature (green rows, rust-coloured and pale patches); it serves tests,
documentation and the demo, and makes no agronomic claim.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from apps.crop_disease.field.ground import area_perimeter_m, in_degrees
from core.base.outputs import write_json, write_text

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["CLASSES", "Focus", "Form", "Truth", "plan_field", "write_field_phantom", "write_mosaic"]

CLASSES = ("healthy", "rust", "wilt")
# A grade for each class, so that a field has severities as well.
SEVERITY = {"healthy": 0, "rust": 1, "wilt": 2}
# UTM zone 32 north, a place in the Rhine valley.
CRS = "EPSG:32632"
ORIGIN = (451_000.0, 5_433_000.0)
# Metres between two rows of the crop, and their bearing in radians.
ROW_M, BEARING = 0.75, 0.35
BLOCK = 512
# Reflectance of soil and of leaves of each class: red, green, blue, near infrared, red edge.
SOIL = (0.26, 0.20, 0.15, 0.30, 0.28)
LEAF = {
    "healthy": (0.07, 0.20, 0.06, 0.55, 0.32),
    "rust": (0.34, 0.17, 0.06, 0.38, 0.30),
    "wilt": (0.42, 0.42, 0.26, 0.30, 0.33),
}


@dataclass(frozen=True)
class Form:
    """How a mosaic is stored.

    Attributes:
        bands: ``RGB``, ``RGBA`` or ``RGBNRe``.
        dtype: ``uint8``, ``uint16`` or ``float32``.
        nodata: the value outside of the field; None leaves that to the alpha band.
        tiled: in squares of 512 px, or in strips.
        compress: GDAL's name; empty for none.
    """

    bands: str = "RGBA"
    dtype: str = "uint8"
    nodata: float | None = None
    tiled: bool = True
    compress: str = "deflate"


@dataclass(frozen=True)
class Focus:
    """An ellipse of disease; centre and half axes in pixels."""

    name: str
    row: float
    col: float
    high: float
    wide: float


@dataclass(frozen=True)
class Truth:
    """What a mosaic shows.

    Attributes:
        height, width: in pixels.
        gsd_m: metres per pixel.
        foci: of disease; they do not overlap and lie within the field.
        corners: of the field, (row, col) in pixels.
        seed: of the texture.
    """

    height: int
    width: int
    gsd_m: float
    foci: tuple[Focus, ...]
    corners: tuple[tuple[float, float], ...]
    seed: int

    @property
    def transform(self) -> Any:
        """(col, row) -> (x, y)."""
        from affine import Affine  # noqa: PLC0415  (comes with the extra)

        return Affine(self.gsd_m, 0, ORIGIN[0], 0, -self.gsd_m, ORIGIN[1])

    def shapes(self) -> dict[str, Any]:
        """Class -> shapely geometry in map coordinates; together they are the field."""
        from shapely import affinity, union_all  # noqa: PLC0415  (an extra)
        from shapely.geometry import Point, Polygon  # noqa: PLC0415

        t = self.transform
        to_map = [t.a, t.b, t.d, t.e, t.c, t.f]
        field = affinity.affine_transform(Polygon([(c, r) for r, c in self.corners]), to_map)
        found: dict[str, Any] = {}
        for name in CLASSES[1:]:
            ellipses = [
                affinity.affine_transform(
                    # 256 sides: the area is short of the ellipse's by 1e-4 of itself.
                    affinity.scale(Point(f.col, f.row).buffer(1, quad_segs=64), f.wide, f.high),
                    to_map,
                )
                for f in self.foci
                if f.name == name
            ]
            found[name] = union_all(ellipses)
        return {"healthy": field.difference(union_all(list(found.values()))), **found}

    def area_m2(self) -> dict[str, float]:
        """Geodesic area of each class."""
        return {
            name: area_perimeter_m(in_degrees(shape, CRS))[0]
            for name, shape in self.shapes().items()
        }


def plan_field(
    height: int, width: int, *, seed: int, gsd_m: float = 0.05, n_foci: int = 6
) -> Truth:
    """Where the field and its foci lie.

    Args:
        height: of the mosaic in pixels.
        width: of the mosaic in pixels.
        seed: of everything.
        gsd_m: metres per pixel.
        n_foci: wanted; fewer if they do not fit.
    """
    rng = np.random.default_rng(seed)
    inset = 0.03 + 0.05 * rng.random(8)
    corners = (
        (inset[0] * height, inset[1] * width),
        (inset[2] * height, (1 - inset[3]) * width),
        ((1 - inset[4]) * height, (1 - inset[5]) * width),
        ((1 - inset[6]) * height, inset[7] * width),
    )
    foci: list[Focus] = []
    side = min(height, width)
    for _ in range(200 * n_foci):
        if len(foci) == n_foci:
            break
        high, wide = side * rng.uniform(0.08, 0.13, 2)
        row = rng.uniform(0.1 * height + high, 0.9 * height - high)
        col = rng.uniform(0.1 * width + wide, 0.9 * width - wide)
        far = all(
            np.hypot(f.row - row, f.col - col) > max(f.high, f.wide) + max(high, wide) + 0.05 * side
            for f in foci
        )
        if far:
            foci.append(Focus(CLASSES[1 + len(foci) % 2], row, col, float(high), float(wide)))
    return Truth(height, width, gsd_m, tuple(foci), corners, seed)


def write_mosaic(path: Path, truth: Truth, form: Form = Form()) -> Path:
    """Write the mosaic of a plan as GeoTIFF, block by block."""
    import rasterio  # noqa: PLC0415  (an extra)
    from rasterio.windows import Window  # noqa: PLC0415

    n = {"RGB": 3, "RGBA": 4, "RGBNRe": 5}[form.bands]
    layout: dict[str, Any] = {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK}
    profile = {
        "driver": "GTiff",
        "height": truth.height,
        "width": truth.width,
        "count": n,
        "dtype": form.dtype,
        "crs": CRS,
        "transform": truth.transform,
        "nodata": form.nodata,
        "photometric": "RGB",
        "interleave": "pixel",
        "BIGTIFF": "IF_SAFER",
        **({"alpha": "yes"} if form.bands == "RGBA" else {}),
        **(layout if form.tiled else {}),
        **({"compress": form.compress, "zlevel": 1} if form.compress else {}),
    }
    rng = np.random.default_rng(truth.seed + 1)
    noise = rng.standard_normal((4, BLOCK, BLOCK), dtype=np.float32)
    with rasterio.open(path, "w", **profile) as target:
        if form.bands == "RGBNRe":
            target.descriptions = ("red", "green", "blue", "nir", "red edge")
        for row in range(0, truth.height, BLOCK):
            for col in range(0, truth.width, BLOCK):
                size = (min(BLOCK, truth.height - row), min(BLOCK, truth.width - col))
                texture = noise[(row // BLOCK * 7 + col // BLOCK * 3) % 4]
                block = _draw(truth, form, row, col, size, texture)
                target.write(block, window=Window(col, row, size[1], size[0]))
    return path


def write_field_phantom(folder: Path, n_images: int, seed: int) -> Path:
    """A mosaic with polygons of its classes, the boundary of the field, and the truth.

    Args:
        folder: made if absent.
        n_images: about so many training tiles of 32 px it gives.
        seed: of everything.

    Returns:
        the folder: ``mosaic.tif`` (RGBA, 8 bit), ``labels.gpkg`` (columns ``label`` and
        ``severity``), ``boundary.gpkg``, ``rates.csv``, ``truth.json``.
    """
    import geopandas  # noqa: PLC0415  (an extra)
    import pyogrio  # noqa: PLC0415
    from shapely import union_all  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    # Two thirds of the ground lies in the field and not in the strips between blocks.
    side = max(256, round(32 * (n_images / 0.45) ** 0.5))
    truth = plan_field(side, side, seed=seed)
    write_mosaic(folder / "mosaic.tif", truth)
    shapes = truth.shapes()
    # A fixed date, so that the same seed gives the same bytes.
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "2000-01-01T00:00:00.000Z"})
    labels = geopandas.GeoDataFrame(
        {"label": list(shapes), "severity": [SEVERITY[name] for name in shapes]},
        geometry=list(shapes.values()),
        crs=CRS,
    )
    labels.to_file(folder / "labels.gpkg", engine="pyogrio", layer="labels")
    boundary = geopandas.GeoDataFrame(
        {"name": ["phantom"]}, geometry=[union_all(list(shapes.values()))], crs=CRS
    )
    boundary.to_file(folder / "boundary.gpkg", engine="pyogrio", layer="boundary")
    write_text(
        folder / "rates.csv", "class,rate,unit\nhealthy,0,L/ha\nrust,1.5,L/ha\nwilt,0.8,L/ha\n"
    )
    write_json(folder / "truth.json", {"area_m2": truth.area_m2(), "gsd_m": truth.gsd_m})
    return folder


def _draw(
    truth: Truth,
    form: Form,
    row: int,
    col: int,
    size: tuple[int, int],
    texture: NDArray[np.float32],
) -> NDArray[Any]:
    """Bands (C, H, W) of a block as they are stored."""
    height, width = size
    rows = np.arange(row, row + height, dtype=np.float32)[:, None] + np.float32(0.5)
    cols = np.arange(col, col + width, dtype=np.float32)[None, :] + np.float32(0.5)
    kind = np.zeros(size, np.uint8)
    for f in truth.foci:
        if f.row + f.high < row or f.row - f.high > row + height:
            continue
        if f.col + f.wide < col or f.col - f.wide > col + width:
            continue
        inside = ((rows - f.row) / f.high) ** 2 + ((cols - f.col) / f.wide) ** 2 <= 1
        kind[inside] = CLASSES.index(f.name)
    across = rows * np.float32(np.cos(BEARING)) + cols * np.float32(np.sin(BEARING))
    wave = np.sin(across * np.float32(2 * np.pi * truth.gsd_m / ROW_M))
    noise = texture[:height, :width]
    plant = np.clip(np.float32(0.55) + wave * np.float32(0.6) + noise * np.float32(0.12), 0, 1)
    n = 5 if form.bands == "RGBNRe" else 3
    leaf = np.array([LEAF[name][:n] for name in CLASSES], np.float32)
    soil = np.array(SOIL[:n], np.float32)
    light = 1 + np.float32(0.06) * noise
    field = _inside(truth, rows, cols)
    bands = np.empty((n, height, width), np.float32)
    for band in range(n):
        bands[band] = (soil[band] + plant * (leaf[:, band][kind] - soil[band])) * light
    np.clip(bands, 0.004, 1, out=bands)
    full = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}[form.dtype]
    # Pictures show reflectance of one half as white; reflectance is stored as it is.
    gain = 2.0 if form.dtype != "float32" else 1.0
    stored = np.clip(bands * np.float32(gain), 0, 1) * np.float32(full)
    outside = np.float32(0 if form.nodata is None else form.nodata)
    stored = np.where(field, stored, outside)
    if form.bands == "RGBA":
        stored = np.concatenate([stored, (field * np.float32(full))[None]])
    return np.asarray(stored.astype(form.dtype))


def _inside(
    truth: Truth, rows: NDArray[np.float32], cols: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Which pixel centres lie in the field; its corners run clockwise and it is convex."""
    inside = np.ones((rows.shape[0], cols.shape[1]), bool)
    corners = truth.corners
    for (r0, c0), (r1, c1) in zip(corners, (*corners[1:], corners[0]), strict=True):
        inside &= (r1 - r0) * (cols - c0) - (c1 - c0) * (rows - r0) <= 0
    return inside
