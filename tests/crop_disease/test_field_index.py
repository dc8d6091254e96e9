"""From rasters to a manifest: what is a tile, what is its class, what may not straddle a split."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from apps.crop_disease.field.files import is_raster
from apps.crop_disease.field.index import OUTPUT_COLUMNS, index_field
from apps.crop_disease.field.notes import facts_of
from apps.crop_disease.field.options import OPTIONS
from apps.crop_disease.field.phantom import CLASSES, Form, plan_field, write_mosaic
from apps.crop_disease.field.spatial import Shapes, label_of_tiles
from apps.crop_disease.field.tile_pixels import read_tile
from apps.crop_disease.field.window import is_tile, window_of
from apps.crop_disease.index import index
from apps.crop_disease.inputs import read
from core.app import Source, Task
from core.base.tables import check_manifest, check_splits
from core.data.split import draw_split
from core.errors import ConfigError, ImageError, ManifestError

if TYPE_CHECKING:
    from pathlib import Path

rasterio = pytest.importorskip("rasterio")
geopandas = pytest.importorskip("geopandas")

TASK = Task(name="disease", kind="multiclass")


def source(
    *paths: Path, labelled: bool = False, group: str | None = None, **options: Any
) -> Source:
    """What a user points at; options with ``_`` for ``-``."""
    return Source(
        paths=paths,
        labelled=labelled,
        task=TASK,
        group=group,
        options={name.replace("_", "-"): value for name, value in options.items()},
    )


def test_a_map_reaches_every_valid_pixel(phantom: Path) -> None:
    found = index_field(source(phantom / "mosaic.tif", tile="64px", overlap="25%"))
    with rasterio.open(phantom / "mosaic.tif") as raster:
        valid = raster.read(4) > 0
    reached = np.zeros(valid.shape, int)
    for row in found.table.to_dict("records"):
        top, left, height, width = window_of(row)
        reached[top : top + height, left : left + width] += 1
        share = valid[top : top + height, left : left + width].mean()
        assert row["valid_fraction"] == pytest.approx(share, abs=1e-6)
        assert (row["status"] == "ok") == (share >= 0.5)
    assert (reached > 0).all()
    assert found.table["reason"].eq("less than 50% of it is valid").any()
    check_manifest(found.table, labelled=False)


def test_rows_stand_in_storage_order_and_sort_there(phantom: Path) -> None:
    table = index_field(source(phantom / "mosaic.tif", tile="64px")).table
    places = list(zip(table["row_off"], table["col_off"], strict=True))
    assert places == sorted(places)
    assert list(table["image_id"]) == sorted(table["image_id"])
    assert table["image_id"].is_unique


def test_a_tile_is_the_pixels_of_its_window(phantom: Path) -> None:
    found = index_field(source(phantom / "mosaic.tif", tile="64px"))
    row = found.table[found.table["valid_fraction"] == 1].iloc[5].to_dict()
    top, left, height, width = window_of(row)
    with rasterio.open(phantom / "mosaic.tif") as raster:
        expected = raster.read([1, 2, 3])[:, top : top + height, left : left + width]
        x, y = raster.xy(top + height / 2 - 0.5, left + width / 2 - 0.5)
    pixels = read_tile({**row, "path": str(found.root / row["path"])})
    assert np.array_equal(pixels, expected.transpose(1, 2, 0))
    assert (row["x"], row["y"]) == pytest.approx((x, y), abs=1e-6)
    assert 8.3 < row["lon"] < 8.4
    assert 49.0 < row["lat"] < 49.1


def test_a_damaged_raster_costs_its_tiles_a_reason(tmp_path: Path, phantom: Path) -> None:
    path = tmp_path / "mosaic.tif"
    data = (phantom / "mosaic.tif").read_bytes()
    found = index_field(source(shutil.copy(phantom / "mosaic.tif", path), tile="64px"))
    row = found.table[found.table["status"] == "ok"].iloc[-1].to_dict()
    path.write_bytes(data[: len(data) // 2] + b"\0" * (len(data) - len(data) // 2))
    with pytest.raises(ImageError, match="cannot be read"):
        read_tile({**row, "path": str(path)})


def test_polygons_give_classes(phantom: Path) -> None:
    found = index_field(source(phantom, labelled=True, tile="32px"))
    truth = plan_field(826, 826, seed=3)
    ok = found.table[found.table["status"] == "ok"]
    assert set(ok["label"]) == set(CLASSES)
    for row in ok.to_dict("records"):
        centre = row["row_off"] + 16, row["col_off"] + 16
        names = [
            f.name
            for f in truth.foci
            # Well inside or well outside of the ellipse; between, either is right.
            if ((centre[0] - f.row) / (f.high - 24)) ** 2
            + ((centre[1] - f.col) / (f.wide - 24)) ** 2
            < 1
        ]
        far = all(
            ((centre[0] - f.row) / (f.high + 24)) ** 2 + ((centre[1] - f.col) / (f.wide + 24)) ** 2
            > 1
            for f in truth.foci
        )
        if names or far:
            assert row["label"] == (names[0] if names else "healthy")


def test_a_mixed_tile_is_left_out_with_the_shares(phantom: Path) -> None:
    found = index_field(source(phantom, labelled=True, tile="32px", label_share=0.95))
    mixed = found.table[found.table["reason"].str.contains("no class covers 95%")]
    assert len(mixed) > 0
    assert (mixed["label"] == "").all()
    assert (mixed["status"] == "skipped").all()


def test_points_give_classes_and_contradictions_are_told(tmp_path: Path, phantom: Path) -> None:
    # Pixels of 5 cm from (451000, 5433000): the tile at row 384, col 384 spans 19.2 to 20.8 m.
    places = [(400, 400, "rust"), (401, 402, "rust"), (464, 400, "wilt"), (465, 401, "rust")]
    points = geopandas.GeoDataFrame(
        {"what": [name for *_, name in places]},
        geometry=geopandas.points_from_xy(
            [451_000 + c * 0.05 for _, c, _ in places], [5_433_000 - r * 0.05 for r, *_ in places]
        ),
        crs="EPSG:32632",
    ).to_crs("EPSG:4326")
    points.to_file(tmp_path / "points.geojson", engine="pyogrio")
    found = index_field(
        source(
            phantom / "mosaic.tif",
            labelled=True,
            tile="32px",
            labels=tmp_path / "points.geojson",
            label_column="what",
            block="320px",
        )
    )
    named = found.table[found.table["label"] != ""]
    assert list(named["label"]) == ["rust"]
    torn = found.table[found.table["reason"].str.contains("points of several classes")]
    assert len(torn) == 1
    assert "rust, wilt" in torn["reason"].iloc[0]


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        # One ground with two classes: neither is known, whichever name comes first.
        ([("rust", 0, 100), ("healthy", 0, 100)], "shapes of several classes overlap on 100%"),
        ([("healthy", 0, 100), ("rust", 40, 100)], "overlap on 60% of it (healthy, rust)"),
        # Edges that were drawn carelessly, and one class drawn twice, are no contradiction.
        ([("healthy", 0, 98), ("rust", 93, 100)], "healthy"),
        ([("rust", 0, 60), ("rust", 20, 60), ("healthy", 60, 100)], "rust"),
    ],
)
def test_a_tile_under_shapes_of_two_classes_has_none(
    places: list[tuple[str, int, int]], expected: str
) -> None:
    shapely = pytest.importorskip("shapely")
    boxes = np.array([shapely.box(left, 0, right, 100) for _, left, right in places])
    shapes = Shapes(boxes, tuple(name for name, *_ in places))
    ((label, reason),) = label_of_tiles(shapes, [(0, 0, 100, 100)], background="", least_share=0.5)
    assert expected in (label or reason)
    assert bool(label) != bool(reason)


def test_shapes_that_can_lie_nowhere_are_refused_with_what_is_wrong(
    tmp_path: Path, phantom: Path
) -> None:
    from shapely.geometry import LineString, Point  # noqa: PLC0415

    def refused(shape: Any, crs: str) -> str:
        file = tmp_path / "l.gpkg"
        frame = geopandas.GeoDataFrame({"label": ["rust"]}, geometry=[shape], crs=crs)
        frame.to_file(file, engine="pyogrio")
        with pytest.raises(ManifestError) as caught:
            index_field(source(phantom / "mosaic.tif", labelled=True, tile="32px", labels=file))
        return str(caught.value)

    line = LineString([(451_000, 5_432_990), (451_020, 5_432_980)])
    assert "1 of its 1 shapes are lines" in refused(line, "EPSG:32632")
    # The field lies at 49 degrees north, 8.3 east.
    place = geopandas.GeoSeries([Point(451_010, 5_432_990)], crs="EPSG:32632").to_crs(4326)[0]
    assert "latitude first" in refused(Point(place.y, place.x), "EPSG:4326")
    assert "Check that both" in refused(Point(20, 10), "EPSG:4326")


def test_ground_without_a_polygon_is_background_where_that_is_named(
    tmp_path: Path, phantom: Path
) -> None:
    labels = geopandas.read_file(phantom / "labels.gpkg", engine="pyogrio")
    labels[labels["label"] != "healthy"].to_file(tmp_path / "l.gpkg", engine="pyogrio")
    asked: dict[str, Any] = {"labelled": True, "tile": "32px", "labels": tmp_path / "l.gpkg"}
    without = index_field(source(phantom / "mosaic.tif", **asked))
    assert without.table["reason"].eq("no label lies on it").any()
    named = index_field(source(phantom / "mosaic.tif", **asked, background="well"))
    assert set(named.table.loc[named.table["status"] == "ok", "label"]) == {"rust", "well", "wilt"}


@pytest.mark.parametrize("extra", [{}, {"overlap": "50%"}, {"buffer": "3m"}, {"buffer": "1px"}])
def test_blocks_keep_at_least_a_tile_apart(phantom: Path, extra: dict[str, Any]) -> None:
    found = index_field(source(phantom, labelled=True, tile="32px", **extra))
    table = found.table
    assert "between blocks lies at least the side of a tile" in found.group_rule
    top, left = table["row_off"].to_numpy(), table["col_off"].to_numpy()
    apart = np.maximum(
        np.abs(top[:, None] - top[None]) - 32, np.abs(left[:, None] - left[None]) - 32
    )
    other = table["group"].to_numpy()[:, None] != table["group"].to_numpy()[None]
    assert apart[other].min() >= (60 if extra.get("buffer") == "3m" else 32)
    assert table["group"].nunique() >= 16


def test_a_drawn_split_never_breaks_a_block(phantom: Path) -> None:
    found = index_field(source(phantom, labelled=True, tile="24px"))
    tiles = found.table[found.table["status"] == "ok"]
    # A class in fewer than six blocks cannot stand in three splits; that refusal is core's.
    blocks = tiles.groupby("label")["group"].nunique()
    labels = sorted(blocks.index[blocks >= 6])
    assert len(labels) >= 2
    tiles = tiles[tiles["label"].isin(labels)]
    table, _ = draw_split(tiles, task=TASK.with_classes(labels), seed=1)
    check_splits(table)


def test_fields_and_flights_can_be_the_group(phantom: Path, tmp_path: Path) -> None:
    for name in ("north", "south"):
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(phantom / "mosaic.tif", folder / f"{name}_field.tif")
        shutil.copy(phantom / "labels.gpkg", folder / "labels.gpkg")
    by_field = index_field(source(tmp_path, labelled=True, tile="32px", group="field"))
    assert set(by_field.table["group"]) == {"north_field", "south_field"}
    by_flight = index_field(source(tmp_path, labelled=True, tile="32px", group="flight"))
    assert set(by_flight.table["group"]) == {"north", "south"}
    with pytest.raises(ManifestError, match="--group farm: tiles know their block, field, flight"):
        index_field(source(tmp_path, labelled=True, tile="32px", group="farm"))


def test_class_folders_of_geotiff_tiles(tmp_path: Path) -> None:
    truth = plan_field(64, 64, seed=1)
    for name in ("healthy", "rust"):
        (tmp_path / name).mkdir()
        for i in range(2):
            write_mosaic(
                tmp_path / name / f"{i}.tif", replace(truth, seed=i), Form(bands="RGB", tiled=False)
            )
    assert is_raster(tmp_path, asked=False)
    found = index_field(source(tmp_path, labelled=True))
    assert list(found.table["label"]) == ["healthy", "healthy", "rust", "rust"]
    assert (found.table["height"] == 64).all()


def test_a_raster_without_labels_says_how_to_give_them(tmp_path: Path, phantom: Path) -> None:
    path = shutil.copy(phantom / "mosaic.tif", tmp_path / "mosaic.tif")
    with pytest.raises(ManifestError, match=r"nothing says which class.*--labels FILE"):
        index_field(source(path, labelled=True))


def test_a_webodm_project_is_its_orthophoto(tmp_path: Path, phantom: Path) -> None:
    project = tmp_path / "may"
    (project / "odm_orthophoto").mkdir(parents=True)
    (project / "images").mkdir()
    (project / "images" / "DJI_0001.JPG").write_bytes(b"\xff\xd8\xff")
    (project / "odm_dem").mkdir()
    shutil.copy(phantom / "mosaic.tif", project / "odm_orthophoto" / "odm_orthophoto.tif")
    shutil.copy(phantom / "mosaic.tif", project / "odm_dem" / "dsm.tif")
    assert is_raster(project, asked=False)
    table = index_field(source(project, tile="128px")).table
    assert set(table["path"]) == {"odm_orthophoto/odm_orthophoto.tif"}
    assert set(table["flight"]) == {"may"}


def test_photos_of_leaves_are_no_field(tmp_path: Path) -> None:
    from PIL import Image  # noqa: PLC0415  (only here)

    (tmp_path / "rust").mkdir()
    picture = Image.fromarray(np.zeros((20, 20, 3), np.uint8))
    picture.save(tmp_path / "rust" / "a.tif")
    assert not is_raster(tmp_path, asked=False)
    assert not is_raster(tmp_path / "rust" / "a.tif", asked=False)
    picture.save(tmp_path / "rust" / "b.jpg")
    assert not is_raster(tmp_path, asked=True)
    assert is_tile({"row_off": 0})
    for row in ({}, {"row_off": ""}, {"row_off": float("nan")}, {"row_off": None}):
        assert not is_tile(row)


def test_only_the_field_counts_within_its_boundary(tmp_path: Path, phantom: Path) -> None:
    from shapely.geometry import box  # noqa: PLC0415  (an extra)

    # The left half of the raster, 413 px of 5 cm.
    half = geopandas.GeoDataFrame(
        {"name": ["west"]},
        geometry=[box(451_000, 5_432_000, 451_000 + 413 * 0.05, 5_434_000)],
        crs="EPSG:32632",
    )
    half.to_crs("EPSG:4326").to_file(tmp_path / "half.geojson", engine="pyogrio")
    found = index_field(
        source(phantom / "mosaic.tif", tile="64px", within=tmp_path / "half.geojson")
    )
    ok = found.table[found.table["status"] == "ok"]
    assert set(ok["field"]) == {"west"}
    assert (ok["col_off"] + 32 <= 413).all()


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("gone.gpkg", None, "there is no such file"),
        ("a.dwg", "x", "is no kind of file known"),
        ("a.kml", "<kml/>", "cannot be read"),
        ("a.geojson", "{", "cannot be read"),
    ],
)
def test_boundaries_that_cannot_be_read_are_named(
    tmp_path: Path, phantom: Path, name: str, content: str | None, word: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(ManifestError, match=word):
        index_field(source(phantom / "mosaic.tif", within=tmp_path / name))


def test_shapes_that_cannot_be_laid_over_the_raster_are_refused_with_the_way_out(
    tmp_path: Path, phantom: Path
) -> None:
    shapes = geopandas.read_file(phantom / "labels.gpkg")
    metres = json.loads(shapes.to_json())
    metres.pop("crs", None)
    (tmp_path / "metres.geojson").write_text(json.dumps(metres))
    local = shapes.set_crs('LOCAL_CS["farm",UNIT["metre",1]]', allow_override=True)
    local.to_file(tmp_path / "local.gpkg", engine="pyogrio")
    shapes.to_file(tmp_path / "two.gpkg", layer="plots", engine="pyogrio")
    shapes.to_file(tmp_path / "two.gpkg", layer="roads", engine="pyogrio")
    for name, word in (
        ("metres.geojson", "are no degrees"),
        ("local.gpkg", "no known place on the Earth"),
        ("two.gpkg", "--layer plots"),
    ):
        for option in ("within", "labels"):
            asked = source(phantom / "mosaic.tif", labelled=True, **{option: tmp_path / name})
            with pytest.raises(ManifestError, match=word):
                index_field(asked)
    chosen = {"labels": tmp_path / "two.gpkg", "layer": "roads", "label_column": "label"}
    assert index_field(source(phantom / "mosaic.tif", labelled=True, **chosen)).class_rule


def test_a_raster_of_another_depth_asks_for_its_white(tmp_path: Path, phantom: Path) -> None:
    with rasterio.open(phantom / "mosaic.tif") as raster:
        pixels, profile = raster.read([1, 2, 3]), raster.profile
    profile.update(count=3, photometric="RGB")
    files = {"uint16": pixels.astype("uint16") * 39, "float32": pixels.astype("float32") / 255}
    for dtype, values in files.items():
        with rasterio.open(tmp_path / f"{dtype}.tif", "w", **{**profile, "dtype": dtype}) as out:
            out.write(values)
    trained = {"reading": "R=1 G=2 B=3", "depth": "uint8"}
    eight = index_field(source(phantom / "mosaic.tif", tile="64px")).table
    for dtype, white in (("uint16", 39 * 255), ("float32", 1)):
        asked = replace(source(tmp_path / f"{dtype}.tif", tile="64px"), trained=trained)
        with pytest.raises(ImageError, match="--full-scale"):
            index_field(asked)
        scaled = replace(asked, options={**asked.options, "full-scale": white})
        row = index_field(scaled).table.iloc[60]
        twin = eight.set_index("image_id").loc[row["image_id"].replace(dtype, "mosaic")]
        mine = read_tile({**row, "path": tmp_path / f"{dtype}.tif"})
        theirs = read_tile({**twin, "path": phantom / "mosaic.tif"})
        assert mine.dtype == np.uint8
        valid = (theirs != theirs[0, 0]).any(axis=2)
        assert np.abs(mine.astype(int) - theirs)[valid].max() <= 1


def test_fields_with_other_bands_are_not_one_training(tmp_path: Path, phantom: Path) -> None:
    for name, bands in (("a", [1, 2, 3]), ("b", [1])):
        (tmp_path / name).mkdir()
        shutil.copy(phantom / "labels.gpkg", tmp_path / name / "labels.gpkg")
        with rasterio.open(phantom / "mosaic.tif") as raster:
            pixels, profile = raster.read(bands), raster.profile
        profile.update(count=len(bands), photometric="RGB" if len(bands) > 1 else "MINISBLACK")
        with rasterio.open(tmp_path / name / "mosaic.tif", "w", **profile) as out:
            out.write(pixels)
    found = index_field(source(tmp_path, labelled=True, label_column="label", tile="32px"))
    refused = found.table[found.table["image_id"].eq("b/mosaic.tif")]
    assert "one model needs one reading" in refused["reason"].iloc[0]


def test_control_points_are_told_from_no_place_at_all(tmp_path: Path, phantom: Path) -> None:
    from rasterio.control import GroundControlPoint  # noqa: PLC0415

    points = [GroundControlPoint(r, c, 9 + c / 1e5, 48 - r / 1e5) for r in (0, 8) for c in (0, 8)]
    with rasterio.open(
        tmp_path / "g.tif",
        "w",
        **{"driver": "GTiff", "height": 8, "width": 8, "count": 3, "dtype": "uint8"},
        gcps=points,
        crs="EPSG:4326",
    ) as out:
        out.write(np.zeros((3, 8, 8), np.uint8))
    with pytest.raises(ImageError, match=r"4 ground control points.*gdalwarp -t_srs EPSG:32632"):
        index_field(source(tmp_path / "g.tif", crs="EPSG:32632"))


def test_a_boundary_elsewhere_and_a_column_that_is_not_there(tmp_path: Path, phantom: Path) -> None:
    from shapely.geometry import box  # noqa: PLC0415  (an extra)

    far = geopandas.GeoDataFrame({"name": ["x"]}, geometry=[box(0, 0, 1, 1)], crs="EPSG:4326")
    far.to_file(tmp_path / "far.gpkg", engine="pyogrio")
    with pytest.raises(ManifestError, match=r"none of its 1 shapes lies on mosaic\.tif"):
        index_field(source(phantom / "mosaic.tif", within=tmp_path / "far.gpkg"))
    with pytest.raises(ManifestError, match=r"has no column 'sort' \(it has: label, severity\)"):
        index_field(source(phantom, labelled=True, label_column="sort"))


def test_tiles_in_metres_show_the_same_ground_at_any_sampling(tmp_path: Path) -> None:
    sizes = []
    for gsd in (0.05, 0.1):
        truth = plan_field(512, 512, seed=1, gsd_m=gsd)
        path = write_mosaic(tmp_path / f"{gsd}.tif", truth)
        found = index_field(source(path, tile="3.2m"))
        sizes.append((found.table["width"].iloc[0], found.table["tile_m"].iloc[0]))
    assert [width for width, _ in sizes] == [64, 32]
    assert sizes[0][1] == pytest.approx(sizes[1][1], rel=1e-3)
    both = index_field(source(tmp_path, tile="64px"))
    assert any("differ in ground sampling distance, 5 cm to 10 cm" in n for n in both.notes)


@pytest.mark.parametrize(
    ("options", "error", "word"),
    [
        ({"tile": "big"}, ConfigError, "--tile big"),
        ({"tile": "2px"}, ManifestError, "nothing can be seen"),
        ({"tile": "0.1m"}, ManifestError, "is 2 px at"),
        ({"overlap": "99%"}, ManifestError, "90 % is the most"),
        ({"match_gsd": True}, ManifestError, "does not say on which ground size"),
        ({"bands": "RGBNRe"}, ImageError, "names 5 bands, and the file has 3"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    phantom: Path, options: dict[str, Any], error: type[Exception], word: str
) -> None:
    with pytest.raises(error, match=word):
        index_field(source(phantom / "mosaic.tif", **options))


def test_a_run_that_tells_its_training_is_compared_with(tmp_path: Path, phantom: Path) -> None:
    trained = index_field(source(phantom, labelled=True, tile="32px"))
    facts = facts_of(trained.table)
    assert facts["tile_px"] == 32
    assert facts["reading"] == "R=1 G=2 B=3 alpha=4"
    finer = write_mosaic(tmp_path / "finer.tif", plan_field(512, 512, seed=1, gsd_m=0.02))

    def ask(path: Path, **options: Any) -> Source:
        return replace(source(path), options=options, trained=facts)

    found = index_field(ask(finer))
    assert (found.table["width"] == 32).all()
    assert any("2.5 times larger. Pass --match-gsd" in note for note in found.notes)
    matched = index_field(ask(finer, **{"match-gsd": True}))
    # 32 px of 5 cm are 80 px of 2 cm.
    assert (matched.table["width"] == 80).all()
    assert not any("times" in note for note in matched.notes)
    two = tmp_path / "two.tif"
    with rasterio.open(finer) as full:
        profile = {**full.profile, "count": 2, "photometric": "MINISBLACK"}
        with rasterio.open(two, "w", **profile) as target:
            target.write(full.read([1, 2]))
    with pytest.raises(ManifestError, match=r"gives 2 channels .* trained on 3 \(R, G, B\)"):
        index_field(ask(two))


def test_an_empty_raster_is_refused(tmp_path: Path) -> None:
    path = write_mosaic(
        tmp_path / "a.tif", plan_field(256, 256, seed=1), Form(bands="RGB", nodata=0)
    )
    with rasterio.open(path, "r+") as target:
        target.write(np.zeros((3, 256, 256), np.uint8))
    with pytest.raises(ManifestError, match="holds no valid pixel; all is nodata"):
        index_field(source(path))


def test_in_a_folder_one_bad_raster_costs_one_row(tmp_path: Path, phantom: Path) -> None:
    shutil.copy(phantom / "mosaic.tif", tmp_path / "a.tif")
    (tmp_path / "b.tif").write_bytes(b"nothing")
    table = index_field(source(tmp_path, tile="128px")).table
    bad = table[table["path"] == "b.tif"]
    # Reading it fails, so that a prediction counts it as failed and not as left out.
    assert list(bad["status"]) == ["ok"]
    with pytest.raises(ImageError, match="is not a GeoTIFF that can be read"):
        read({**bad.iloc[0], "path": str(tmp_path / "b.tif")})
    check_manifest(table, labelled=False)
    shutil.copy(phantom / "labels.gpkg", tmp_path / "labels.gpkg")
    learnt = index(source(tmp_path, labelled=True, tile="32px")).table
    bad = learnt[learnt["path"] == "b.tif"]
    assert list(bad["status"]) == ["skipped"]
    assert "is not a GeoTIFF that can be read" in bad["reason"].iloc[0]


@pytest.mark.parametrize(
    "form",
    [
        Form(bands="RGB", nodata=0, tiled=False),
        Form(bands="RGBA", dtype="uint16"),
        Form(bands="RGBNRe", dtype="float32", nodata=-10000),
    ],
)
def test_every_form_of_mosaic_gives_the_same_tiles(tmp_path: Path, form: Form) -> None:
    truth = plan_field(512, 512, seed=4)
    path = write_mosaic(tmp_path / "a.tif", truth, form)
    plain = write_mosaic(tmp_path / "b.tif", truth)
    found, same = (index_field(source(p, tile="64px")).table for p in (path, plain))
    assert np.array_equal(found["valid_fraction"], same["valid_fraction"])
    row = found[found["status"] == "ok"].iloc[0]
    assert read_tile({**row, "path": str(path)}).dtype == np.dtype(form.dtype)


def test_real_rasters_are_tiled_or_refused(shared: Path) -> None:
    folder = shared / "geotiff"
    if not folder.is_dir():
        pytest.skip("needs the real rasters of ../shared/data/geotiff, which are not here")
    # Counted by hand from the sizes: 177 x 161 px is 4 x 4 tiles of 64 px with 25 % overlap.
    found = index_field(source(folder / "615.tif", tile="64px"))
    assert len(found.table) == 16
    pixels = read_tile({**found.table.iloc[5], "path": str(folder / "615.tif")})
    assert pixels.shape == (64, 64, 5)
    assert pixels.dtype == np.float32
    assert str(found.table["reading"].iloc[0]) == "R=1 G=2 B=3 B4=4 B5=5"
    for name in ("rgb.tif", "rasterio_RGBA.byte.tif"):
        table = index_field(source(folder / name, tile="64px")).table
        assert set(table["status"]) == {"ok", "skipped"}
        assert table["reading"].iloc[0] == "R=1 G=2 B=3 alpha=4"
    refused = {
        "cropped_empty.tif": (ManifestError, "holds no valid pixel"),
        "gray.tif": (ImageError, "a surface model"),
        "rgb_uint16.tif": (ImageError, "names no coordinate reference system"),
    }
    for name, (error, word) in refused.items():
        with pytest.raises(error, match=word):
            index_field(source(folder / name))
    plots = index_field(
        source(
            folder / "615.tif",
            tile="16px",
            overlap="0px",
            within=folder / "square_crop_with_plot_ids.geojson",
        )
    )
    assert set(plots.table.loc[plots.table["status"] == "ok", "field"]) == {"888"}


def test_options_and_columns_are_what_is_read() -> None:
    names = {option.name for option in OPTIONS}
    assert len(names) == len(OPTIONS)
    assert all(option.help.endswith(".") for option in OPTIONS)
    assert {"tile", "overlap", "within", "labels", "bands", "rates"} <= names
    assert "reading" not in OUTPUT_COLUMNS
