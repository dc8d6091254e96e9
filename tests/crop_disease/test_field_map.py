"""From scores of tiles to maps, zones, areas, rates and a page: every number against the truth."""

from __future__ import annotations

import errno
import json
import re
import shutil
import struct
import subprocess
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from apps.crop_disease import APP
from apps.crop_disease.field.areas import corrected_areas, read_confusion
from apps.crop_disease.field.colours import map_colours
from apps.crop_disease.field.index import index_field
from apps.crop_disease.field.map_words import trained_share, trust_words
from apps.crop_disease.field.mapping import NODATA, STEPS, blend, write_maps
from apps.crop_disease.field.notes import area_words
from apps.crop_disease.field.outputs import EXPORTS, affected_classes, check_options, write_field
from apps.crop_disease.field.phantom import (
    CLASSES,
    Form,
    plan_field,
    write_field_phantom,
    write_mosaic,
)
from apps.crop_disease.field.plots import IN_NO_ZONE
from apps.crop_disease.field.raster import Reading, describe
from apps.crop_disease.field.spatial import label_of_tiles, read_shapes
from apps.crop_disease.field.tile_pixels import field_mask
from apps.crop_disease.field.window import window_of
from core.app import ExportContext, Source, Task
from core.errors import ConfigError, ImageError, ManifestError, MetricError

if TYPE_CHECKING:
    from collections.abc import Callable

rasterio = pytest.importorskip("rasterio")
pyogrio = pytest.importorskip("pyogrio")
Affine = pytest.importorskip("affine").Affine

VENDOR = Path(__file__).parents[2] / "apps" / "crop_disease" / "field" / "vendor" / "leaflet"
TASK = Task(name="disease", kind="multiclass", classes=CLASSES, titles={"rust": "<b>rust</b>"})


def tiles_of(path: Path, **options: Any) -> pd.DataFrame:
    """The tiles of a raster, with absolute paths."""
    found = index_field(Source(paths=(path,), labelled=False, task=TASK, options=options))
    return found.table.assign(path=str(path))


def with_truth(tiles: pd.DataFrame, labels: Path, sure: float = 0.96) -> pd.DataFrame:
    """Scores of a model that errs only where a tile is mixed."""
    facts = describe(Path(tiles["path"].iloc[0]))
    shapes = read_shapes(labels, facts, column="label")
    windows = [window_of(row) for row in tiles.to_dict("records")]
    names = [n for n, _ in label_of_tiles(shapes, windows, background="", least_share=0.0)]
    for name in CLASSES:
        rest = (1 - sure) / (len(CLASSES) - 1)
        score = np.where(np.array(names) == name, sure, rest)
        tiles = tiles.assign(**{f"score_{name}": np.where(tiles["status"] == "ok", score, np.nan)})
    return tiles.assign(predicted=names, decision=names)


def context(tiles: pd.DataFrame, out: Path, **options: Any) -> ExportContext:
    """What an export receives after a prediction."""
    scores = [c for c in tiles if str(c).startswith("score_")]
    kept = ["image_id", *scores, "predicted", "decision"]

    def read(image_id: str) -> Any:
        raise NotImplementedError(image_id)

    return ExportContext(
        out=out,
        predictions=tiles[kept],
        decisions={},
        manifest=tiles.drop(columns=kept[1:]),
        task=TASK,
        run={"intended_use": "For <tests>."},
        options=options,
        checked={"maps": check_options(options, TASK)},
        read=read,
    )


@pytest.fixture(scope="module")
def mapped(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that a prediction writes for it."""
    out = tmp_path_factory.mktemp("out")
    (out / "rates.csv").write_text("class,rate,unit\nhealthy,0,L/ha\nrust,1.5,L/ha\nwilt,2,L/ha\n")
    (out / "confusion.csv").write_text(
        ",healthy,rust,wilt\nhealthy,96,3,1\nrust,2,47,1\nwilt,2,0,48\n"
    )
    tiles = with_truth(
        tiles_of(phantom / "mosaic.tif", tile="24px", overlap="50%"), phantom / "labels.gpkg"
    )
    files = write_field(
        context(tiles, out, rates=out / "rates.csv", confusion=out / "confusion.csv")
    )
    folder = out / "maps" / "mosaic"
    assert {f.resolve() for f in files} == {f.resolve() for f in folder.rglob("*") if f.is_file()}
    return folder


# ---- blending


def test_one_tile_is_its_own_score() -> None:
    score, reached = blend(
        (0, 0, 4, 6), np.array([[1, 1, 2, 3]]), np.array([[0.25, 0.75]], np.float32)
    )
    assert reached.sum() == 6
    assert np.allclose(score[0][reached], 0.25)
    assert np.allclose(score[1][reached], 0.75)


def test_two_tiles_fade_into_each_other_by_hand() -> None:
    # Tiles of 8 px at columns 0 and 4, scores 0 and 1. At column 4 the first is 3.5 px from
    # its edge and the second 0.5: 0.5 / 4 = 0.125; then .375, .625, .875.
    tiles = np.array([[0, 0, 1, 8], [0, 4, 1, 8]])
    score, _ = blend((0, 0, 1, 12), tiles, np.array([[0.0], [1.0]], np.float32))
    assert np.allclose(score[0, 0], [0, 0, 0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1, 1, 1])


def test_windows_of_a_map_fit_together() -> None:
    rng = np.random.default_rng(0)
    tiles = np.array([[r, c, 16, 16] for r in range(0, 50, 11) for c in range(0, 50, 11)])
    scores = rng.dirichlet([1, 1, 1], len(tiles)).astype(np.float32)
    whole, _ = blend((0, 0, 60, 60), tiles, scores)
    for row in range(0, 60, 25):
        for col in range(0, 60, 25):
            part, _ = blend((row, col, min(25, 60 - row), min(25, 60 - col)), tiles, scores)
            assert np.array_equal(part, whole[:, row : row + 25, col : col + 25])
    assert np.allclose(whole.sum(axis=0), 1, atol=1e-5)


# ---- rasters


def test_the_map_has_the_grid_of_the_mosaic(phantom: Path, mapped: Path) -> None:
    with rasterio.open(phantom / "mosaic.tif") as source:
        for name in ("scores.tif", "classes.tif"):
            with rasterio.open(mapped / name) as found:
                assert found.crs == source.crs
                assert found.shape == source.shape
                for col, row in ((0, 0), (source.width, 0), (0, source.height), source.shape[::-1]):
                    assert found.transform @ (col, row) == pytest.approx(
                        source.transform @ (col, row), abs=1e-9
                    )


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:4326", Affine(5e-7, 0, 8.123456789, 0, -5e-7, 49.987654321)),
        ("EPSG:3857", Affine(0.07, 0, 904_250.125, 0, -0.07, 6_288_000.75)),
        (
            "EPSG:32632",
            Affine.translation(451_000.3, 5_433_000.7)
            @ Affine.rotation(20)
            @ Affine.scale(0.05, -0.05),
        ),
    ],
)
def test_any_system_and_rotation_comes_back_exactly(
    tmp_path: Path, crs: str, transform: Any
) -> None:
    path = write_mosaic(tmp_path / "a.tif", plan_field(300, 280, seed=1))
    with rasterio.open(path) as source:
        bands, profile = source.read(), source.profile
    with rasterio.open(path, "w", **{**profile, "crs": crs, "transform": transform}) as target:
        target.write(bands)
    tiles = tiles_of(path, tile="64px")
    for i, name in enumerate(CLASSES):
        tiles[f"score_{name}"] = [0.2, 0.7, 0.1][i]
    out = tmp_path / "out"
    out.mkdir()
    write_field(context(tiles.assign(predicted="rust", decision="rust"), out))
    for name in ("scores.tif", "classes.tif"):
        with rasterio.open(out / "maps" / "a" / name) as found:
            assert found.crs == rasterio.crs.CRS.from_user_input(crs)
            for corner in ((0, 0), (280, 300)):
                assert found.transform @ corner == pytest.approx(transform @ corner, abs=1e-9)
    # The zones lie on the ground where the pixels lie.
    zones = pyogrio.read_dataframe(out / "maps" / "a" / "zones.gpkg")
    with rasterio.open(out / "maps" / "a" / "classes.tif") as found:
        for shape in zones.geometry:
            point = shape.representative_point()
            col, row = ~found.transform @ (point.x, point.y)
            assert found.read(1)[int(row), int(col)] == 1


def test_nodata_is_nodata_in_every_output(phantom: Path, mapped: Path) -> None:
    with rasterio.open(phantom / "mosaic.tif") as source:
        valid = source.read(4) > 0
    tiles = tiles_of(phantom / "mosaic.tif", tile="24px", overlap="50%")
    reached = np.zeros(valid.shape, bool)
    for row in tiles[tiles["status"] == "ok"].to_dict("records"):
        top, left, height, width = window_of(row)
        reached[top : top + height, left : left + width] = True
    with rasterio.open(mapped / "scores.tif") as found:
        assert found.nodata == NODATA
        for band in found.read():
            assert np.array_equal(band != NODATA, valid & reached)
    with rasterio.open(mapped / "classes.tif") as found:
        assert found.nodata == NODATA
        assert np.array_equal(found.read(1) != NODATA, valid & reached)
        assert np.array_equal(found.dataset_mask() > 0, valid & reached)


def test_scores_are_the_blend_in_steps_and_the_class_is_the_highest(mapped: Path) -> None:
    with rasterio.open(mapped / "scores.tif") as found:
        assert found.descriptions == CLASSES
        assert found.scales == (1 / STEPS,) * 3
        stored = found.read()
    with rasterio.open(mapped / "classes.tif") as found:
        index = found.read(1)
        assert found.colormap(1)[1] == (213, 94, 0, 255)
        assert [found.tags()[f"class_{i}"] for i in range(3)] == list(CLASSES)
    shown = index != NODATA
    assert np.abs(stored[:, shown].sum(axis=0, dtype=int) - STEPS).max() <= 2
    first, second = np.sort(stored[:, shown].astype(int), axis=0)[[-1, -2]]
    clear = first - second > 1
    assert np.array_equal(stored[:, shown].argmax(axis=0)[clear], index[shown][clear])


def offsets(path: Path) -> list[tuple[int, int, int]]:
    """(offset of the directory, width, offset of the first block) of each image of a TIFF."""
    data = path.read_bytes()
    assert data[:4] == b"II*\0"
    found, place = [], struct.unpack("<I", data[4:8])[0]
    while place:
        n = struct.unpack("<H", data[place : place + 2])[0]
        tags = {}
        for i in range(n):
            tag, kind, count, value = struct.unpack(
                "<HHII", data[place + 2 + 12 * i : place + 14 + 12 * i]
            )
            tags[tag] = (kind, count, value)
        kind, count, value = tags[324]
        first = value if count == 1 else struct.unpack("<I", data[value : value + 4])[0]
        width = tags[256][2] & 0xFFFF
        found.append((place, width, first))
        place = struct.unpack("<I", data[place + 2 + 12 * n : place + 6 + 12 * n])[0]
    return found


@pytest.mark.parametrize("name", ["scores.tif", "classes.tif"])
def test_maps_are_cloud_optimised(mapped: Path, name: str) -> None:
    with rasterio.open(mapped / name) as found:
        assert found.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert found.block_shapes[0] == (512, 512)
        assert found.overviews(1) == [2]
    directories = offsets(mapped / name)
    # All directories before all pixels, and the pixels of overviews before those of the map.
    assert [width for _, width, _ in directories] == [826, 413]
    assert max(place for place, *_ in directories) < min(first for *_, first in directories)
    assert directories[1][2] < directories[0][2]


@pytest.mark.skipif(shutil.which("gdalinfo") is None, reason="needs gdalinfo (Debian: gdal-bin)")
def test_gdals_own_tools_open_everything(mapped: Path) -> None:
    for name in ("scores.tif", "classes.tif"):
        told = json.loads(
            subprocess.run(
                ["gdalinfo", "-json", mapped / name], capture_output=True, check=True, text=True
            ).stdout
        )
        assert told["size"] == [826, 826]
        assert told["bands"][0]["noDataValue"] == NODATA
    for name in ("zones.gpkg", "tiles.gpkg", "hotspots.geojson", "prescription.shp"):
        told = subprocess.run(
            ["ogrinfo", "-so", "-al", mapped / name], capture_output=True, check=True, text=True
        )
        assert "Feature Count" in told.stdout


@pytest.mark.parametrize("name", ["scores.tif", "classes.tif"])
def test_gdals_own_validator_accepts_the_maps(mapped: Path, name: str) -> None:
    # Debian's python3-gdal brings it for the system's Python, not for this environment.
    validator = ["/usr/bin/python3", "-m", "osgeo_utils.samples.validate_cloud_optimized_geotiff"]
    if not Path(validator[0]).is_file() or b"Usage" not in _said(validator):
        pytest.skip("needs GDAL's validator (Debian: python3-gdal)")
    assert b"is a valid cloud optimized GeoTIFF" in _said([*validator, str(mapped / name)])


def _said(command: list[str]) -> bytes:
    """All that a command prints."""
    done = subprocess.run(command, capture_output=True, check=False)
    return done.stdout + done.stderr


def test_a_finished_map_is_kept_and_a_changed_one_is_not(phantom: Path, tmp_path: Path) -> None:
    path = phantom / "mosaic.tif"
    tiles = with_truth(tiles_of(path, tile="64px"), phantom / "labels.gpkg")
    asked: list[int] = []

    def run(table: pd.DataFrame) -> Any:
        asked.clear()
        mask = field_mask(path, Reading.parse(table["reading"].iloc[0]))

        def counted(window: tuple[int, int, int, int]) -> Any:
            asked.append(1)
            return mask(window)

        return write_maps(
            table,
            classes=CLASSES,
            facts=describe(path),
            mask=counted,
            out=tmp_path,
            decide=lambda scores: scores.argmax(axis=1),
        )

    (tmp_path / ".scores.tif.99.partial").write_bytes(b"left by a killed job")
    first = run(tiles)
    assert asked
    assert sorted(f.name for f in tmp_path.iterdir()) == ["classes.tif", "doubt.tif", "scores.tif"]
    before = (tmp_path / "scores.tif").read_bytes()
    assert run(tiles) == first
    assert not asked
    # The same tiles in another order are the same map, to the byte.
    (tmp_path / "scores.tif").unlink()
    run(tiles.sample(frac=1, random_state=1))
    assert (tmp_path / "scores.tif").read_bytes() == before
    run(tiles.assign(score_rust=tiles["score_rust"] * 0.9))
    assert asked


def test_a_failed_write_leaves_no_half_map(phantom: Path, tmp_path: Path) -> None:
    tiles = with_truth(tiles_of(phantom / "mosaic.tif", tile="64px"), phantom / "labels.gpkg")

    def broken(window: tuple[int, int, int, int]) -> Any:
        if window[0]:
            raise KeyboardInterrupt
        return np.ones(window[2:], bool)

    with pytest.raises(KeyboardInterrupt):
        write_maps(
            tiles,
            classes=CLASSES,
            facts=describe(phantom / "mosaic.tif"),
            mask=broken,
            out=tmp_path,
            decide=lambda scores: scores.argmax(axis=1),
        )
    assert list(tmp_path.iterdir()) == []


def test_a_multilabel_task_has_scores_and_no_classes(phantom: Path, tmp_path: Path) -> None:
    tiles = with_truth(tiles_of(phantom / "mosaic.tif", tile="64px"), phantom / "labels.gpkg")
    base = context(tiles, tmp_path)
    task = Task(name="symptoms", kind="multilabel", classes=CLASSES)
    files = write_field(ExportContext(**{**base.__dict__, "task": task}))
    names = ["doubt.qml", "doubt.tif", "map.qgs", "scores.qml", "scores.tif"]
    names += ["tiles.gpkg", "tiles.qml"]
    assert sorted(f.name for f in files) == names


# ---- zones and areas


def test_areas_agree_with_the_truth(phantom: Path, mapped: Path) -> None:
    truth = json.loads((phantom / "truth.json").read_text())["area_m2"]
    table = pd.read_csv(mapped / "summary.csv").set_index("class")
    zones = pyogrio.read_dataframe(mapped / "zones.gpkg")
    for name in CLASSES:
        on_map = table.loc[name, "area_ha"] * 1e4
        # Tiles of 24 px at half overlap place an edge to within a few pixels.
        assert on_map == pytest.approx(truth[name], rel=0.06)
        assert zones.loc[zones["class"] == name, "area_m2"].sum() == pytest.approx(on_map, rel=1e-3)
        # The matrix given is worse than this model, so its interval must hold the truth.
        assert table.loc[name, "low_ha"] * 1e4 <= truth[name] * 1.02
        assert table.loc[name, "high_ha"] * 1e4 >= truth[name] * 0.98
    assert table["share"].sum() == pytest.approx(1, abs=1e-5)


def test_a_zone_per_focus_with_its_place(mapped: Path) -> None:
    truth = plan_field(826, 826, seed=3)
    zones = pyogrio.read_dataframe(mapped / "zones.gpkg")
    for focus in truth.foci:
        x, y = truth.transform @ (focus.col, focus.row)
        hit = zones[[shape.covers(_point(x, y)) for shape in zones.geometry]]
        assert list(hit["class"]) == [focus.name]
        area = np.pi * focus.high * focus.wide * truth.gsd_m**2
        assert hit["area_m2"].iloc[0] == pytest.approx(area, rel=0.1)
        assert 0.8 < hit["score"].iloc[0] <= 0.96
    assert zones["zone"].tolist() == list(range(1, len(zones) + 1))
    assert zones["area_m2"].is_monotonic_decreasing


def _point(x: float, y: float) -> Any:
    from shapely import Point  # noqa: PLC0415  (an extra)

    return Point(x, y)


def test_hot_spots_lie_in_foci_and_the_largest_comes_first(mapped: Path) -> None:
    spots = pd.read_csv(mapped / "hotspots.csv")
    assert set(spots["class"]) <= {"rust", "wilt"}
    weight = spots["area_m2"] * spots["score"]
    assert weight.is_monotonic_decreasing
    zones = pyogrio.read_dataframe(mapped / "zones.geojson")
    for spot in spots.to_dict("records"):
        shape = zones.loc[zones["zone"] == spot["zone"], "geometry"].iloc[0]
        assert shape.covers(_point(spot["lon"], spot["lat"]))


def test_tiles_are_written_with_scores_or_the_reason(phantom: Path, mapped: Path) -> None:
    written = pyogrio.read_dataframe(mapped / "tiles.gpkg")
    table = tiles_of(phantom / "mosaic.tif", tile="24px", overlap="50%")
    assert list(written["image_id"]) == list(table["image_id"])
    ok = written["status"] == "ok"
    assert written.loc[ok, "score_rust"].notna().all()
    assert (written.loc[~ok, "reason"].str.len() > 0).all()
    first = written.geometry.iloc[0].bounds
    assert first == pytest.approx((451_000, 5_433_000 - 1.2, 451_001.2, 5_433_000), abs=1e-9)


def test_the_confusion_of_an_evaluation_is_counted(tmp_path: Path) -> None:
    rows = [("healthy", "healthy", "ok")] * 5 + [("rust", "healthy", "ok")] * 2
    rows += [("wilt", "wilt", "failed")]
    pd.DataFrame(rows, columns=["decision", "label", "status"]).assign(split="test").to_parquet(
        tmp_path / "predictions.parquet"
    )
    counts = read_confusion(tmp_path, CLASSES)
    assert counts.tolist() == [[[5, 0, 0], [2, 0, 0], [0, 0, 0]]]
    with pytest.raises(MetricError, match="fewer than two tiles"):
        corrected_areas([1, 1, 1], counts)
    with pytest.raises(ManifestError, match="holds no predictions"):
        read_confusion(tmp_path / "..", CLASSES)
    (tmp_path / "c.csv").write_text(",healthy\nhealthy,3\n")
    with pytest.raises(ManifestError, match="no row and column for rust, wilt"):
        read_confusion(tmp_path / "c.csv", CLASSES)


def test_no_error_seen_is_not_no_error() -> None:
    found = corrected_areas([10.0, 5.0], [[50, 0], [0, 20]])
    assert found.area.tolist() == [10.0, 5.0]
    assert found.accuracy == 1
    # By hand for 50 and 20 judged tiles: p = .5 / 51 and .5 / 21, variances p (1 - p) / 52 and
    # / 22, weights 2/3 and 1/3: sqrt(.4444 x .00018668 + .1111 x .0010564) x 15 x 1.96 = .4161.
    assert found.high[0] - 10 == pytest.approx(0.4161, abs=2e-4)
    assert 5 - found.low[1] == pytest.approx(0.4161, abs=2e-4)
    assert found.accuracy_low < 1


# ---- doubt

GIVEN = {"rates": "rates.csv", "confusion": "c.csv", "within": "halves.gpkg"}
SIDE_M = 826 * 0.05


def halves(path: Path) -> None:
    """The west and the east half of the field."""
    import geopandas  # noqa: PLC0415  (an extra)
    from shapely import box  # noqa: PLC0415

    edges = [451_000, 451_000 + SIDE_M / 2, 451_000 + SIDE_M]
    geopandas.GeoDataFrame(
        {"name": ["west", "east"]},
        geometry=[box(a, 5_433_000 - SIDE_M, b, 5_433_000) for a, b in pairwise(edges)],
        crs="EPSG:32632",
    ).to_file(path, engine="pyogrio")


def doubtful(
    phantom: Path, out: Path, strange: Callable[[pd.DataFrame], Any], **changes: Any
) -> tuple[Path, ExportContext]:
    """The maps of a field some of whose tiles are unlike the training, with rates."""
    out.mkdir(parents=True)
    halves(out / "halves.gpkg")
    (out / "rates.csv").write_text("class,rate,unit\nhealthy,0,L/ha\nrust,1.5,L/ha\nwilt,2,L/ha\n")
    (out / "c.csv").write_text(",healthy,rust,wilt\nhealthy,9,0,0\nrust,0,9,0\nwilt,0,0,9\n")
    tiles = with_truth(tiles_of(phantom / "mosaic.tif", tile="64px"), phantom / "labels.gpkg")
    tiles = tiles.assign(unfamiliar=strange(tiles))
    tiles["doubt"] = np.where(tiles["unfamiliar"], "unlike the training images", "")
    given = {name: out / file for name, file in GIVEN.items()}
    base = context(tiles, out, **given)
    made = ExportContext(**{**base.__dict__, "predictions": tiles, **changes})
    files = write_field(made)
    folder = out / "maps" / "mosaic"
    assert {f.resolve() for f in files} == {f.resolve() for f in folder.rglob("*") if f.is_file()}
    return folder, made


def test_an_unfamiliar_field_gets_no_prescription_and_no_accuracy(
    phantom: Path, tmp_path: Path
) -> None:
    folder, made = doubtful(phantom, tmp_path / "a", lambda tiles: True)
    assert not list(folder.rglob("prescription.*"))
    assert not list(folder.rglob("TASKDATA*"))
    assert "no prescription was written" in made.notes[0]
    table = pd.read_csv(folder / "summary.csv")
    assert table["corrected_ha"].isna().all()
    assert table["doubt"].str.startswith("Most of this is in doubt: ").all()
    page = (folder / "map.html").read_text()
    assert 'role="alert">Most of this is in doubt' in page
    assert "Accuracy expected on this map" not in page
    zones = pyogrio.read_dataframe(folder / "zones.gpkg")
    assert (zones["n_doubtful"] == zones["n_tiles"]).all()
    assert (zones["doubt"] != "").all()
    # Nobody can rank or add up what is withheld.
    for layer in (zones, pyogrio.read_dataframe(folder / "zones.geojson")):
        assert set(layer["class"]) == {"in doubt"}
        assert set(layer["predicted"]) <= set(CLASSES)
        assert layer[["area_m2", "area_ha", "score", "doubt_ha"]].isna().all(axis=None)
    assert not len(pd.read_csv(folder / "hotspots.csv"))
    assert "are not ranked among the places to look at" in page
    assert "in doubt" in page[page.index('"legend"') :]
    with rasterio.open(folder / "doubt.tif") as source:
        assert set(np.unique(source.read(1))) == {100, 255}
    row = {"name": "macro_f1", "title": "Macro-F1", "unit": "image", "value": 0.9, "n": 43}
    folder, _ = doubtful(
        phantom,
        tmp_path / "b",
        lambda tiles: True,
        accept_doubtful=True,
        evaluation={"about": {"unit": "image"}, "metrics": [{**row, "of": "", "subgroup": ""}]},
    )
    assert (folder / "TASKDATA" / "TASKDATA.XML").is_file()
    # Prescribed because somebody asked for it: the mark goes along.
    marked = pyogrio.read_dataframe(folder / "prescription.shp")
    assert marked["Doubt"].str.endswith("tiles in doubt, 100 % of the ground").all()
    assert (marked["N_doubtful"] == marked["N_tiles"]).all()
    n = int((pyogrio.read_dataframe(folder / "tiles.gpkg")["status"] == "ok").sum())
    # Whatever was asked, nothing was measured on such ground; and pages say what was done.
    page = (folder / "map.html").read_text()
    assert "Accuracy expected on this map" not in page
    assert "No decisions are given" not in page
    assert "Accuracy and corrected areas are withheld, whatever was asked: 100" in page
    assert f"Decisions were given although {n} of {n} inputs" in page
    assert f"although {len(marked)} of {len(marked)} zones (" in page
    table = pd.read_csv(folder / "summary.csv")
    assert table[["corrected_ha", "low_ha", "high_ha"]].isna().all(axis=None)
    assert table["doubt"].str.contains("corrected area withheld: ").all()
    # One meaning of ground in doubt: the zones of the table are those of the sentence.
    assert table["doubt_ha"].sum() == pytest.approx(marked["Area_ha"].sum(), abs=1e-5)
    assert page.count("<td>withheld</td>") == len(table)


def in_the_west(share: float) -> Callable[[pd.DataFrame], Any]:
    """Tiles of the west of the field, of so much of its ground."""
    return lambda tiles: (tiles["col_off"] + 32 < share * 826).to_numpy()


@pytest.mark.slow
def test_areas_are_withheld_where_a_fifth_of_the_ground_is_in_doubt(
    phantom: Path, tmp_path: Path
) -> None:
    folder, made = doubtful(phantom, tmp_path / "a", in_the_west(0.47))
    table = pd.read_csv(folder / "summary.csv")
    areas = ["area_ha", "share", "corrected_ha", "low_ha", "high_ha", "zones_ha", "doubt_ha"]
    assert table[areas].isna().all(axis=None)
    assert table["doubt"].str.contains(r"withheld: 4\d % of the map of mosaic").all()
    page = (folder / "map.html").read_text()
    assert 'role="alert">Hectares and accuracy are withheld: 4' in page
    assert "Accuracy expected on this map" not in page
    assert page.count("<td>withheld</td>") == 5 * len(table)
    assert any("Hectares and accuracy are withheld" in note for note in made.notes)
    fields = pd.read_csv(folder / "fields.csv")
    fields = fields[fields["class"] != IN_NO_ZONE]
    assert fields[["area_ha", "share"]].isna().all(axis=None)
    # Given where somebody has looked, and marked all the same.
    folder, _ = doubtful(phantom, tmp_path / "b", in_the_west(0.47), accept_doubtful=True)
    table = pd.read_csv(folder / "summary.csv")
    assert table["area_ha"].notna().all()
    assert table["corrected_ha"].isna().all()
    assert table["doubt"].str.contains("lies in tiles in doubt").any()
    page = (folder / "map.html").read_text()
    assert "Accuracy expected on this map" not in page
    assert re.search(r"withheld, whatever was asked: 4\d % of this map lies in tiles in", page)


def test_a_field_and_a_class_in_doubt_are_withheld_and_others_marked(
    phantom: Path, tmp_path: Path
) -> None:
    # 16 % of the whole, so some 32 % of the west half and nothing of the east.
    folder, _ = doubtful(phantom, tmp_path / "a", in_the_west(0.16))
    fields = pd.read_csv(folder / "fields.csv").set_index("field")
    fields = fields[fields["class"] != IN_NO_ZONE]
    assert fields.loc[["west"], ["area_ha", "share"]].isna().all(axis=None)
    assert fields.loc["west", "doubt"].str.match(r"withheld: (?:29|3\d) % of this field").all()
    assert fields.loc[["east"], "area_ha"].notna().all()
    assert fields.loc[["east"], "doubt"].isna().all()
    with rasterio.open(folder / "doubt.tif") as source:
        share = source.read(1)
    west = share[:, : int(0.1 * share.shape[1])]
    assert set(np.unique(west)) <= {100, 255}
    assert set(np.unique(share[:, share.shape[1] // 2 :])) <= {0, 255}
    table = pd.read_csv(folder / "summary.csv").set_index("class")
    held = table["doubt_share"] > 0.2
    assert table.loc[held, "area_ha"].isna().all()
    assert table.loc[~held, "area_ha"].notna().all()
    assert not held["healthy"]
    share = table.loc["healthy", "doubt_share"]
    assert 0.1 < share < 0.2
    assert f"{100 * share:.2g} % of the ground called healthy" in table.loc["healthy", "doubt"]
    # Half of the ground of a class, two percent of the map.
    folder, _ = doubtful(
        phantom, tmp_path / "b", lambda tiles: (tiles["predicted"] == "wilt").to_numpy()
    )
    table = pd.read_csv(folder / "summary.csv").set_index("class")
    assert np.isnan(table.loc["wilt", "area_ha"])
    assert table.loc["wilt", "doubt"].startswith("withheld: ")
    assert table.loc["healthy", "area_ha"] > 0
    assert "Accuracy expected on this map" in (folder / "map.html").read_text()


def test_the_share_in_doubt_is_that_of_the_ground(phantom: Path, tmp_path: Path) -> None:
    folder, _ = doubtful(phantom, tmp_path / "a", in_the_west(0.3), accept_doubtful=True)
    zones = pyogrio.read_dataframe(folder / "zones.gpkg")
    tiles = pyogrio.read_dataframe(folder / "tiles.gpkg")
    scored = tiles[tiles["status"] == "ok"]
    doubtful_m2, m2 = (
        # Tiles at the far edges overlap their neighbours, and count for themselves.
        sum(zones.intersection(tile).area.sum() for tile in part.geometry)
        for part in (scored[scored["doubt"] != ""], scored)
    )
    by_hand = doubtful_m2 / m2
    table = pd.read_csv(folder / "summary.csv")
    assert (table["doubt_share"] * table["area_ha"]).sum() / table["area_ha"].sum() == (
        pytest.approx(by_hand, abs=0.01)
    )
    assert zones["doubt_share"].between(0, 1).all()


def test_zones_in_doubt_have_no_rate(phantom: Path, tmp_path: Path) -> None:
    folder, made = doubtful(
        phantom, tmp_path / "a", lambda tiles: (tiles["predicted"] == "wilt").to_numpy()
    )
    zones = pyogrio.read_dataframe(folder / "zones.gpkg")
    left = zones[zones["doubt"] != ""]
    assert len(left)
    assert set(left["predicted"]) == {"wilt"}
    # They are a kind of their own, with their hectares in a column of their own.
    own = zones["class"] == "in doubt"
    assert (own == (zones["doubt"] != "")).all()
    assert zones.loc[own, "area_ha"].isna().all()
    assert zones.loc[~own, "area_ha"].notna().all()
    assert (zones["doubt_ha"].notna() == own).all()
    # One meaning: a tile in doubt shares ground with a zone, or no ground is in doubt.
    assert ((zones["n_doubtful"] > 0) == (zones["doubt_share"] > 0)).all()
    spots = pd.read_csv(folder / "hotspots.csv")
    assert not set(spots["zone"]) & set(zones.loc[own, "zone"])
    assert spots["rank"].tolist() == list(range(1, len(spots) + 1))
    assert f"{len(left)} of {len(zones)} zones" in made.notes[0]
    rates = pyogrio.read_dataframe(folder / "prescription.shp")
    assert sorted(rates["Zone"]) == sorted(zones.loc[zones["doubt"] == "", "zone"])
    assert f"{len(left)} of {len(zones)} zones" in (folder / "map.html").read_text()
    # Each tile counts once, though it may touch several zones, and each zone says its share.
    tiles = pyogrio.read_dataframe(folder / "tiles.gpkg")
    scored = tiles[tiles["status"] == "ok"]
    ground = zones[zones["doubt"] == ""].union_all()
    touched = scored[scored.intersection(ground).area > 1e-3]
    n = int((touched["doubt"] != "").sum())
    assert n > 0
    assert len(touched) < int(rates["N_tiles"].sum())
    assert any(f"{n} of {len(touched)} tiles of the zones" in note for note in made.notes)
    some = rates["N_doubtful"] > 0
    assert some.any()
    assert not some.all()
    assert rates.loc[some, "Doubt"].str.fullmatch(r"\d+ of \d+ tiles in doubt, .* ground").all()
    assert (rates.loc[~some, "Doubt"].fillna("") == "").all()


@pytest.mark.slow
def test_a_threshold_changes_no_class_of_a_map(phantom: Path, tmp_path: Path) -> None:
    tiles = with_truth(tiles_of(phantom / "mosaic.tif", tile="64px"), phantom / "labels.gpkg")
    tiles = tiles.assign(decision="positive")
    shown = {}
    for name, point in (
        ("none", None),
        ("low", {"threshold": 0.01}),
        ("high", {"threshold": 0.999}),
    ):
        out = tmp_path / name
        out.mkdir()
        base = context(tiles, out)
        task = Task(name="d", kind="multiclass", classes=CLASSES, positive=("rust", "wilt"))
        run = {"intended_use": "", "operating_point": point}
        write_field(ExportContext(**{**base.__dict__, "task": task, "run": run}))
        with rasterio.open(out / "maps" / "mosaic" / "classes.tif") as found:
            shown[name] = found.read(1)
        page = (out / "maps" / "mosaic" / "map.html").read_text()
        assert ("The threshold in use" in page) == bool(point)
        assert ("no threshold in use: class of the highest score" in page) != bool(point)
    assert np.array_equal(shown["none"], shown["low"])
    assert np.array_equal(shown["none"], shown["high"])


# ---- zones for a machine


@pytest.mark.parametrize(("name", "value"), [("working-width", -1.0), ("least-zone", np.nan)])
def test_a_size_that_is_none_is_refused_before_a_tile_is_scored(name: str, value: float) -> None:
    (export,) = EXPORTS
    assert export.check is not None
    with pytest.raises(ConfigError, match=f"--{name} .* is no size on the ground"):
        export.check({name: value}, APP.task("disease"))


@pytest.mark.slow
def test_zones_are_no_finer_than_the_working_width(phantom: Path, tmp_path: Path) -> None:
    tiles = with_truth(
        tiles_of(phantom / "mosaic.tif", tile="24px", overlap="50%"), phantom / "labels.gpkg"
    )
    points, areas = {}, {}
    for width in (0.0, 2.0):
        out = tmp_path / str(width)
        out.mkdir()
        write_field(context(tiles, out, **{"working-width": width, "least-zone": 4.0}))
        zones = pyogrio.read_dataframe(out / "maps" / "mosaic" / "zones.gpkg")
        assert zones.geometry.is_valid.all()
        points[width] = int(zones.geometry.count_coordinates().sum())
        areas[width] = zones.groupby("class")["area_ha"].sum()
        # Neighbours share their edge: no ground is lost or counted twice.
        assert zones.union_all().area == pytest.approx(zones.area.sum(), rel=1e-6)
    assert points[2.0] < points[0.0] / 5
    assert zones["area_m2"].min() >= 3
    whole = areas[0.0].sum()
    assert areas[2.0].sum() == pytest.approx(whole, rel=0.03)
    assert (areas[2.0] - areas[0.0]).abs().max() < 0.03 * whole
    page = (out / "maps" / "mosaic" / "map.html").read_text()
    assert "simplified to a working width of 2 m" in page


# ---- the page and the styles


def test_the_page_lists_the_places_to_visit_in_their_order(mapped: Path) -> None:
    page = (mapped / "map.html").read_text()
    # With coordinates that a phone opens.
    spots = pd.read_csv(mapped / "hotspots.csv")
    listed = re.findall(r'<li><strong>(.*?)</strong>, .*?<a href="geo:([-\d.]+),([-\d.]+)">', page)
    assert [(float(lat), float(lon)) for _, lat, lon in listed] == [
        (round(row.lat, 6), round(row.lon, 6)) for row in spots.itertuples()
    ]
    assert [name for name, _, _ in listed] == spots["class"].tolist()


def test_the_page_names_no_host_and_escapes_words(mapped: Path) -> None:
    page = (mapped / "map.html").read_text()
    assert "For &lt;tests&gt;." in page
    assert "<b>rust</b>" not in page
    assert "default-src 'none'" in page
    # Leaflet's own text names pages in comments; it asks none of them for anything.
    ours = page.replace((VENDOR / "leaflet.js").read_text(), "")
    assert len(ours) < len(page) - 100_000
    ours = re.sub(r"/\*.*?\*/", "", ours.replace("url(#default#VML)", ""), flags=re.DOTALL)
    # Coordinates of places open the map of a phone, which fetches nothing for the page.
    ours = ours.replace('href="geo:', "")
    for word in ("src=", "href=", "url(", "@import", "fetch(", "http:", "https:"):
        assert word not in ours


def test_a_mosaic_that_cannot_be_shown_costs_neither_its_map_nor_its_page(tmp_path: Path) -> None:
    phantom = write_field_phantom(tmp_path / "field", 60, 3)
    mosaic = phantom / "mosaic.tif"
    tiles = with_truth(tiles_of(mosaic, tile="24px"), phantom / "labels.gpkg")
    mosaic.write_bytes(mosaic.read_bytes()[: mosaic.stat().st_size * 7 // 10])
    files = write_field(context(tiles, tmp_path))
    assert {"map.html", "classes.tif", "zones.gpkg"} <= {file.name for file in files}
    page = (tmp_path / "maps" / "mosaic" / "map.html").read_text()
    assert "cannot be shown below the classes" in page


def test_a_page_that_cannot_be_made_costs_no_map(
    phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As beyond the reach of Web Mercator, around the poles.
    monkeypatch.setattr("apps.crop_disease.field.webmap.MERCATOR", "EPSG:0")
    tiles = with_truth(tiles_of(phantom / "mosaic.tif", tile="64px"), phantom / "labels.gpkg")
    files = {file.name for file in write_field(context(tiles, tmp_path))}
    assert {"classes.tif", "zones.gpkg", "summary.csv"} <= files
    assert "map.html" not in files


def test_a_page_that_the_disk_of_the_output_fails_is_not_left_out(
    phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> str:
        msg = "a raster cannot be read"
        raise ImageError(msg) from OSError(errno.EIO, "", str(tmp_path / "maps" / "classes.tif"))

    monkeypatch.setattr("apps.crop_disease.field.outputs.web_map", fails)
    tiles = with_truth(tiles_of(phantom / "mosaic.tif", tile="64px"), phantom / "labels.gpkg")
    with pytest.raises(ImageError):
        write_field(context(tiles, tmp_path))


def test_the_page_says_what_is_applied_and_how_good_the_model_was(mapped: Path) -> None:
    page = (mapped / "map.html").read_text()
    zones = pyogrio.read_dataframe(mapped / "zones.gpkg", read_geometry=False)
    table = page[page.index("<h2>What the sprayer will apply") :]
    table = table[: table.index("</table>")]
    for name, rate in (("healthy", "0"), ("rust", "1.5"), ("wilt", "2")):
        own = zones[zones["class"] == name]
        cells = [f"{rate}\xa0L/ha", area_words(own["area_ha"].sum()), str(len(own)), "0"]
        assert "".join(f"<td>{cell}</td>" for cell in cells) in table
    assert 'id="legend"' in page[: page.index("What the sprayer")]


def test_a_map_of_ground_that_was_trained_on_says_so(phantom: Path, tmp_path: Path) -> None:
    tiles = tiles_of(phantom / "mosaic.tif", tile="64px")
    run_tiles = tiles.assign(split=np.where(tiles["col_off"] < 200, "train", "test"))
    share = trained_share(tiles, run_tiles)
    # Tiles of 64 px overlap training ground where they begin less than 64 px from its last column.
    last = run_tiles.loc[run_tiles["split"] == "train", "col_off"].max()
    assert share == pytest.approx(float((tiles["col_off"] < last + 64).mean()), abs=0.03)
    assert trained_share(tiles, run_tiles.assign(lon=run_tiles["lon"] + 0.01)) == 0
    row = {"name": "macro_f1", "title": "Macro-F1", "unit": "image", "value": 0.923, "low": 0.274}
    row.update(high=0.997, n=43, n_groups=15, of="", subgroup="")
    about = {"unit": "image", "headline": "macro_f1", "group": "block", "grouped": True}
    given = replace(
        context(with_truth(tiles, phantom / "labels.gpkg"), tmp_path),
        evaluation={"about": about, "metrics": [row]},
        trained=run_tiles,
    )
    first, second = trust_words(given, tiles, unlike="")
    assert first.startswith("On 43 tiles of 15 blocks, macro-F1 was 0.923 (95")
    assert "0.274 to 0.997" in first
    assert "overlap ground that the model was trained on" in second
    # Of ground unlike any in training nothing was measured.
    told, _ = trust_words(given, tiles, unlike="It is all noise.")
    assert told.endswith("says nothing of these inputs. It is all noise.")
    assert "0.923" not in told


def test_colours_of_unwell_classes_differ_in_lightness() -> None:
    def lightness(colour: tuple[int, int, int]) -> float:
        linear = [(c / 255) ** 2.2 for c in colour]
        return float(116 * np.dot(linear, [0.2126, 0.7152, 0.0722]) ** (1 / 3) - 16)

    names = ["healthy", "rust", "wilt", "blight", "mildew"]
    colours = [lightness(colour) for colour in map_colours(names)[1:]]
    assert min(abs(a - b) for a, b in pairwise(colours)) > 10


def test_leaflet_comes_with_its_licence() -> None:
    assert "BSD 2-Clause" in (VENDOR / "LICENSE").read_text()
    assert "Leaflet 1.9.4" in (VENDOR / "leaflet.js").read_text()[:60]


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")
def test_the_page_draws_in_a_browser(mapped: Path, tmp_path: Path) -> None:
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    flags += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    told = subprocess.run(
        [
            "chromium",
            *flags,
            f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=3000",
            "--dump-dom",
            (mapped / "map.html").as_uri(),
        ],
        capture_output=True,
        check=True,
        text=True,
        timeout=180,
    ).stdout
    spots = pd.read_csv(mapped / "hotspots.csv")
    # Set by the last line of the script: all before it ran.
    assert f'data-ready="{len(spots)}"' in told
    assert told.count('class="leaflet-image-layer') == 2
    assert told.count("leaflet-marker-icon number") == len(spots)
    assert "&lt;b&gt;rust&lt;/b&gt;" in told


def test_styles_name_every_class(mapped: Path) -> None:
    from xml.etree import ElementTree as Xml  # noqa: PLC0415  (our own files)

    raster = Xml.fromstring((mapped / "classes.qml").read_text())
    labels = [entry.get("label") for entry in raster.iter("paletteEntry")]
    assert labels == list(CLASSES)
    for name, column in (("zones.qml", "class"), ("tiles.qml", "class")):
        style = Xml.fromstring((mapped / name).read_text())
        assert next(style.iter("renderer-v2")).get("attr") == column
        assert [c.get("value") for c in style.iter("category")] == [*CLASSES, "in doubt", ""]


def test_affected_classes_are_the_positive_or_the_unwell() -> None:
    assert affected_classes(TASK) == ["rust", "wilt"]
    asked = Task(name="t", kind="multiclass", classes=CLASSES, positive=("wilt",))
    assert affected_classes(asked) == ["wilt"]


def test_photos_leave_no_maps(tmp_path: Path) -> None:
    photos = pd.DataFrame({"image_id": ["a"], "path": ["/a.jpg"], "predicted": ["rust"]})
    assert write_field(context(photos.assign(decision="rust"), tmp_path)) == []


# ---- the phantom


@pytest.mark.parametrize("form", [Form(), Form(bands="RGBNRe", dtype="float32", nodata=-1)])
def test_the_phantom_is_the_same_for_a_seed(tmp_path: Path, form: Form) -> None:
    truth = plan_field(600, 560, seed=5)
    first = write_mosaic(tmp_path / "a.tif", truth, form).read_bytes()
    assert write_mosaic(tmp_path / "b.tif", truth, form).read_bytes() == first
    assert (
        write_mosaic(tmp_path / "c.tif", plan_field(600, 560, seed=6), form).read_bytes() != first
    )


def test_the_truth_is_what_the_pixels_show(tmp_path: Path) -> None:
    truth = plan_field(826, 826, seed=3)
    path = write_mosaic(tmp_path / "a.tif", truth)
    with rasterio.open(path) as source:
        valid = (source.read(4) > 0).sum()
    # UTM at this place is 0.08 % larger than the ground.
    assert sum(truth.area_m2().values()) == pytest.approx(valid * 0.05**2, rel=2e-3)
    by_hand = sum(np.pi * f.high * f.wide for f in truth.foci if f.name == "rust") * 0.05**2
    assert truth.area_m2()["rust"] == pytest.approx(by_hand, rel=2e-3)
    assert {f.name for f in truth.foci} == {"rust", "wilt"}
    clear: Callable[[Any, Any], float] = lambda a, b: np.hypot(a.row - b.row, a.col - b.col)  # noqa: E731
    for i, one in enumerate(truth.foci):
        for other in truth.foci[i + 1 :]:
            assert clear(one, other) > max(one.high, one.wide) + max(other.high, other.wide)
