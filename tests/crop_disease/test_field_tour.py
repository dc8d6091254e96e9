"""The field tour of the app's README, run as it stands there, and what it leaves behind."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from apps.crop_disease.field.phantom import plan_field, write_mosaic
from core.base.outputs import recorded_files
from core.cli.main import build

rasterio = pytest.importorskip("rasterio")
pyogrio = pytest.importorskip("pyogrio")

README = Path(__file__).parents[2] / "apps" / "crop_disease" / "README.md"
# In place of the README's own settings of a training, so that it takes seconds.
TINY = "--backbone test_resnet --weights none --epochs 0 --batch 16 --seed 3 --size 32"


def commands(heading: str) -> list[list[str]]:
    """Words of the commands in the console blocks under a heading."""
    text = README.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    return [shlex.split(line[2:]) for block in blocks for line in block.splitlines()]


def run(words: list[str]) -> Any:
    """Run one command as a shell would."""
    if words[0] == "python":
        exec(words[2], {})
        return None
    tiny = shlex.split(TINY) if words[1] == "train" else []
    done = CliRunner().invoke(build(), [*words[1:], *tiny])
    assert done.exit_code == 0, f"{shlex.join(words)}\n{done.output}"
    return done


@dataclass(frozen=True)
class Tour:
    """Where the field tour was run."""

    folder: Path

    @property
    def maps(self) -> Path:
        """What the prediction left of the mosaic."""
        return self.folder / "south-map" / "maps" / "mosaic"

    def predict(self, *words: object) -> Any:
        """Another prediction with the tour's run."""
        given = [str(word) for word in words]
        return CliRunner().invoke(build(), ["predict", str(self.folder / "runs" / "field"), *given])


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory, quick: None) -> Tour:
    """The field tour of the README, run once."""
    folder = tmp_path_factory.mktemp("tour")
    with contextlib.chdir(folder):
        found = commands("A tour of a field")
        assert [words[1] for words in found if words[0] == "resight"] == ["train", "predict"]
        for words in found:
            run(words)
    return Tour(folder)


def test_a_run_on_tiles_knows_its_ground(tour: Tour) -> None:
    content = json.loads((tour.folder / "runs" / "field" / "run.json").read_text())
    assert content["facts"]["tile_px"] == 32
    assert content["facts"]["gsd_m"] == pytest.approx(0.05, rel=2e-3)
    assert content["group"] == "block"
    assert content["units"] == []
    # Where the labels lie belongs to the data; the size of a tile belongs to the model.
    assert content["options"] == {"label-column": "label", "tile": "1.6m"}


def test_the_report_sets_a_random_split_beside_the_spatial_one(tour: Tour) -> None:
    page = (tour.folder / "runs" / "field" / "report.html").read_text()
    for words in ("tiles scattered at random", "blocks not seen", "a random split"):
        assert words in page
    for words in ("Areas of the judged tiles", "is called rightly", "Producer&#39;s"):
        assert words in page or words.replace("&#39;", "'") in page
    assert "No result per leaf" not in page


def test_blocks_of_a_split_keep_a_tile_apart(tour: Tour) -> None:
    table = pd.read_parquet(tour.folder / "runs" / "field" / "manifest.parquet")
    table = table[table["status"] == "ok"]
    assert set(table["split"]) == {"train", "val", "test"}
    top, left = table["row_off"].to_numpy(), table["col_off"].to_numpy()
    apart = np.maximum(np.abs(top[:, None] - top), np.abs(left[:, None] - left)) - 32
    other = table["split"].to_numpy()[:, None] != table["split"].to_numpy()
    assert apart[other].min() >= 32


def test_every_tile_has_a_row_and_every_map_the_grid_of_the_mosaic(tour: Tour) -> None:
    table = pd.read_parquet(tour.folder / "south-map" / "predictions.parquet")
    with rasterio.open(tour.folder / "south" / "mosaic.tif") as source:
        valid = source.read(4) > 0
        reached = np.zeros(valid.shape, bool)
        for row in table.itertuples():
            place = (int(row.row_off), int(row.col_off))
            reached[place[0] : place[0] + 32, place[1] : place[1] + 32] |= True
        assert reached.all()
        assert set(table["status"]) == {"ok", "skipped"}
        for name in ("scores.tif", "classes.tif"):
            with rasterio.open(tour.maps / name) as made:
                assert made.crs == source.crs
                for corner in ((0, 0), source.shape[::-1]):
                    there = source.transform @ corner
                    assert made.transform @ corner == pytest.approx(there, abs=1e-6)
                assert (made.read(1)[~valid] == made.nodata).all()


def test_areas_hold_the_truth_in_their_interval(tour: Tour) -> None:
    truth = json.loads((tour.folder / "south" / "truth.json").read_text())["area_m2"]
    table = pd.read_csv(tour.maps / "summary.csv").set_index("class")
    given = table[table["area_ha"].notna()]
    assert {"healthy", "rust"} <= set(given.index)
    for name, row in given.iterrows():
        assert row["low_ha"] <= truth[str(name)] / 1e4 <= row["high_ha"], name
    # Of a class too much of whose ground is unlike the field of training no area is given.
    assert ((table["doubt_share"] > 0.2) == table["area_ha"].isna()).all()
    assert table.loc[table["area_ha"].isna(), "doubt"].str.startswith("withheld: ").all()
    fields = pd.read_csv(tour.maps / "fields.csv")
    assert set(fields["field"]) == {"phantom"}
    # Fields are cut from zones, whose outlines are simplified to the working width.
    fields = fields[fields["class"] != "in no zone"]
    assert fields["area_ha"].sum() == pytest.approx(table["area_ha"].sum(), rel=0.03)
    assert "Accuracy expected on this map" in (tour.maps / "map.html").read_text()


def test_the_same_command_again_changes_nothing(tour: Tour) -> None:
    before = (tour.folder / "south-map" / "MANIFEST.json").read_bytes()
    with contextlib.chdir(tour.folder):
        run(commands("A tour of a field")[-1])
    assert (tour.folder / "south-map" / "MANIFEST.json").read_bytes() == before


def vrt(folder: Path) -> tuple[Path, str]:
    """A VRT that calls itself a TIFF."""
    (folder / "a.tif").write_text('<VRTDataset rasterXSize="9" rasterYSize="9"></VRTDataset>')
    return folder / "a.tif", "is a VRT"


def stored(folder: Path, change: dict[str, Any], bands: Any = None) -> Path:
    """A small mosaic stored otherwise."""
    path = write_mosaic(folder / "whole.tif", plan_field(256, 256, seed=1))
    with rasterio.open(path) as source:
        pixels, profile = source.read(bands), {**source.profile, **change}
    if change.get("crs", "") is None:
        profile.pop("crs")
    with rasterio.open(folder / "a.tif", "w", **profile) as target:
        target.write(pixels if change.get("nodata") is None else np.zeros_like(pixels))
    return folder / "a.tif"


def placeless(folder: Path) -> tuple[Path, str]:
    """A raster without a coordinate reference system."""
    return stored(folder, {"crs": None}), "--crs EPSG:32615"


def empty(folder: Path) -> tuple[Path, str]:
    """A raster of nothing but nodata."""
    form = {"count": 3, "nodata": 0, "photometric": "RGB"}
    return stored(folder, form, [1, 2, 3]), "holds no valid pixel"


def narrow(folder: Path) -> tuple[Path, str]:
    """Two bands for a model of three."""
    form = {"count": 2, "photometric": "MINISBLACK"}
    return stored(folder, form, [1, 2]), "gives 2 channels"


def test_strips_of_a_field_scored_apart_are_joined_to_the_same_maps(
    tour: Tour, tmp_path: Path
) -> None:
    words = commands("A tour of a field")[-1]
    parts = [str(tmp_path / str(i)) for i in (1, 2)]
    with contextlib.chdir(tour.folder):
        for i, part in enumerate(parts, 1):
            run([*words[:-1], part, "--part", f"{i}/2"])
        # Beside the other, for a map names its raster by the way from the map.
        whole = Path(words[-1])
        joined = whole.with_name(f"{whole.name}-joined")
        run(["resight", "merge", *parts, "--out", str(joined)])
        assert recorded_files(joined) == recorded_files(whole)


@pytest.mark.parametrize("case", [vrt, placeless, empty, narrow])
def test_what_cannot_be_mapped_ends_with_2_and_advice(
    tour: Tour, tmp_path: Path, case: Any
) -> None:
    path, words = case(tmp_path)
    done = tour.predict(path, "--out", tmp_path / "out")
    assert done.exit_code == 2, done.output
    assert words in " ".join(done.output.split())
    assert "Traceback" not in done.output
    assert not (tmp_path / "out" / "MANIFEST.json").exists()


def test_one_bad_raster_of_two_ends_with_3_and_a_row(tour: Tour, tmp_path: Path) -> None:
    folder = tmp_path / "flight"
    folder.mkdir()
    write_mosaic(folder / "good.tif", plan_field(256, 256, seed=1))
    (folder / "zbad.tif").write_bytes(b"II*\0nothing")
    done = tour.predict(folder, "--tile", "64px", "--overlap", "0px", "--out", tmp_path / "out")
    assert done.exit_code == 3, done.output
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    bad = table[table["path"] == "zbad.tif"]
    assert list(bad["status"]) == ["failed"]
    assert "is not a GeoTIFF" in bad["reason"].iloc[0]
    assert (table["status"] == "ok").sum() == 16 - (table["status"] == "skipped").sum()
    assert (tmp_path / "out" / "maps" / "good" / "classes.tif").is_file()


def test_photos_and_rasters_are_not_mixed(tour: Tour, tmp_path: Path) -> None:
    photo = tmp_path / "leaf.jpg"
    photo.write_bytes(b"\xff\xd8\xff")
    mosaic = tour.folder / "south" / "mosaic.tif"
    done = tour.predict(mosaic, photo, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "is a raster of a field and" in " ".join(done.output.split())
    done = tour.predict(photo, "--rates", "r.csv", "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "--rates: speaks of a raster" in " ".join(done.output.split())


def test_real_rasters_are_mapped_or_refused(tour: Tour, tmp_path: Path, shared: Path) -> None:
    folder = shared / "geotiff"
    if not folder.is_dir():
        pytest.skip("needs the real rasters of ../shared/data/geotiff, which are not here")
    for name in ("rgb.tif", "rasterio_RGBA.byte.tif"):
        out = tmp_path / name
        done = tour.predict(folder / name, "--tile", "128px", "--out", out)
        # No picture of a field like the synthetic ones: mapped, and nothing decided.
        assert done.exit_code == 3, done.output
        assert "No decisions are given" in done.output
        stem = name.removesuffix(".tif")
        map_file = out / "maps" / stem / "classes.tif"
        with rasterio.open(folder / name) as source, rasterio.open(map_file) as made:
            assert made.transform.almost_equals(source.transform, precision=1e-9)
            assert made.shape == source.shape
        zones = pyogrio.read_dataframe(out / "maps" / stem / "zones.gpkg")
        assert len(zones) >= 1
    refused = {
        "615.tif": "gives 5 channels",
        "cropped_empty.tif": "holds no valid pixel",
        "gray.tif": "a surface model",
        "rgb_uint16.tif": "names no coordinate reference system",
    }
    for name, words in refused.items():
        read = ["--bands", "R,G,B,-,-", "--full-scale", "1"] if name == "cropped_empty.tif" else []
        done = tour.predict(folder / name, *read, "--out", tmp_path / f"not-{name}")
        assert done.exit_code == 2, name
        assert words in " ".join(done.output.split())
    # With the channels of training what is left to say is which value is white.
    bands = ["--bands", "R,G,B,-,-"]
    done = tour.predict(folder / "615.tif", *bands, "--out", tmp_path / "not-615")
    assert done.exit_code == 2
    assert "holds float32 values, and the model learned from uint8" in " ".join(done.output.split())
