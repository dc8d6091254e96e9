"""Zones end at the field's boundary, and all ground of each plot is accounted for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from apps.crop_disease.field.mapping import NODATA
from apps.crop_disease.field.plots import IN_NO_ZONE, per_field, plot_notes
from apps.crop_disease.field.raster import describe
from apps.crop_disease.field.spatial import Shapes, read_shapes
from apps.crop_disease.field.zones import trace_zones

if TYPE_CHECKING:
    from pathlib import Path

rasterio = pytest.importorskip("rasterio")
Affine = pytest.importorskip("affine").Affine
geopandas = pytest.importorskip("geopandas")
shapely = pytest.importorskip("shapely")

WEST, NORTH, PIXEL_M = 451_000.0, 5_433_000.0, 0.05
CLASSES = ("healthy", "rust", "wilt")


def box(left: float, top: float, right: float, bottom: float) -> Any:
    """A plot, in metres east and south of the raster's corner."""
    return shapely.box(WEST + left, NORTH - bottom, WEST + right, NORTH - top)


# Two of one name, one that leans, one half beyond the raster and one wholly.
PLOTS = (
    ("A", box(0.6, 0.7, 5.6, 5.7)),
    ("A", box(7.3, 0.9, 12.3, 5.9)),
    ("leans", shapely.affinity.rotate(box(2, 8, 7, 13), 20)),
    ("half", box(13.5, 9, 18.5, 14)),
    ("far", box(30, 0, 35, 5)),
)


@pytest.fixture
def mapped(tmp_path: Path) -> tuple[Path, Path, Shapes]:
    """A class map of 16 x 16 m that ends at the plots, its scores, and the plots."""
    geopandas.GeoDataFrame(
        {"name": [name for name, _ in PLOTS]}, geometry=[s for _, s in PLOTS], crs="EPSG:32632"
    ).to_file(tmp_path / "plots.gpkg", engine="pyogrio")
    side = 320
    index = np.zeros((side, side), np.uint8)
    index[:, 160:] = 2
    index[30:60, 30:60] = 1
    files = tmp_path / "classes.tif", tmp_path / "scores.tif"
    profile = {
        **{"driver": "GTiff", "width": side, "height": side, "dtype": "uint8", "crs": "EPSG:32632"},
        "transform": Affine(PIXEL_M, 0, WEST, 0, -PIXEL_M, NORTH),
        "nodata": NODATA,
    }
    for file in files:
        with rasterio.open(file, "w", count=1 if file == files[0] else 3, **profile) as target:
            target.write(np.full((target.count, side, side), 200, np.uint8))
    within = read_shapes(tmp_path / "plots.gpkg", describe(files[1], crs=""))
    index[~within.mask((0, 0, side, side))] = NODATA
    with rasterio.open(files[0], "r+") as target:
        target.write(index, 1)
    return *files, within


@pytest.mark.parametrize(("width", "least"), [(0.0, 0.0), (3.0, 1.0), (10.0, 20.0)])
def test_zones_are_the_plots_and_nothing_else(
    mapped: tuple[Path, Path, Shapes], width: float, least: float
) -> None:
    classes, scores, within = mapped
    zones = trace_zones(
        classes, scores, CLASSES, width_m=width, least_m2=least, within=within.geometries
    )
    assert zones.geometry.is_valid.all()
    plots = shapely.intersection(
        shapely.union_all([shape for _, shape in PLOTS]), box(0, 0, 16, 16)
    )
    covered = zones.union_all()
    assert covered.difference(plots).area < 1e-6
    # Without a width a pixel belongs to a plot by its middle.
    assert plots.difference(covered).area < (0.02 if width == 0 else 1e-4) * plots.area
    assert zones.area.sum() == pytest.approx(covered.area, rel=1e-6)


def test_every_plot_has_all_of_its_ground_in_the_table(mapped: tuple[Path, Path, Shapes]) -> None:
    classes, scores, within = mapped
    zones = trace_zones(
        classes, scores, CLASSES, width_m=10.0, least_m2=20.0, within=within.geometries
    )
    facts = describe(scores, crs="")
    tiles = pd.DataFrame(
        {"status": ["ok"], "quality": "", "row_off": 0, "col_off": 0, "height": 320, "width": 320}
    )
    table = per_field(zones, within, facts, tiles)
    whole = table.groupby("field")[["area_ha", "share"]].sum()
    assert set(whole.index) == {"A", "A (2)", "leans", "half", "far"}
    # Geodesic hectares of 25 m2 in UTM are a thousandth off at most.
    assert whole["area_ha"].to_numpy() == pytest.approx(25e-4, rel=2e-3)
    assert whole["share"].to_numpy() == pytest.approx(1.0, abs=1e-5)
    rest = table[table["class"] == IN_NO_ZONE].set_index("field")
    assert rest["share"].round(3).to_dict() == {"half": 0.5, "far": 1.0}
    assert rest.loc["far", "doubt"] == "no part of it lies on the raster"
    said = " ".join(plot_notes(zones, within, facts, {"working-width": 10.0}))
    assert "12.5\N{NO-BREAK SPACE}m² of 100" in said
    assert "1 of 5 polygons of --within lies beyond this raster (first: far)" in said
    assert "4 of 5 polygons of --within are narrower than two working widths of 10 m" in said
