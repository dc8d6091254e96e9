"""Labels over a raster from every kind of vector file, as people export and pack them."""

from __future__ import annotations

import zipfile
from collections import Counter
from typing import TYPE_CHECKING, Any

import geopandas
import pytest

from apps.crop_disease.field.phantom import write_field_phantom
from apps.crop_disease.field.raster import describe
from apps.crop_disease.field.spatial import read_shapes
from core.errors import ManifestError

if TYPE_CHECKING:
    from pathlib import Path

    from apps.crop_disease.field.raster import RasterFacts

LABELS = {"healthy": "größer", "rust": "rust", "wilt": "wilt"}
Field = tuple["RasterFacts", Any]


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Field:
    """A raster, and its three plots, one with an accent in its label."""
    root = write_field_phantom(tmp_path_factory.mktemp("field"), 150, 3)
    shapes = geopandas.read_file(root / "labels.gpkg")
    return describe(root / "mosaic.tif"), shapes.assign(label=shapes["label"].map(LABELS))


def labels(field: Field, path: Path, **options: Any) -> list[str]:
    return sorted(read_shapes(path, field[0], column="label", what="--labels", **options).values)


def shapefile(root: Path, shapes: Any, encoding: str, *, says_so: bool = False) -> Path:
    root.mkdir()
    shapes.to_file(root / "plots.shp", engine="pyogrio", encoding=encoding)
    if not says_so:
        (root / "plots.cpg").unlink()
    return root / "plots.shp"


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
@pytest.mark.parametrize("says_so", [True, False])
def test_text_of_a_shapefile_is_read_in_its_encoding(
    tmp_path: Path, field: Field, encoding: str, says_so: bool
) -> None:
    path = shapefile(tmp_path / "s", field[1], encoding, says_so=says_so)
    assert labels(field, path) == sorted(LABELS.values())


def test_text_in_an_encoding_that_nothing_names_is_refused(tmp_path: Path, field: Field) -> None:
    shapes = field[1].assign(label=["ржавчина", "здоровый", "увядание"])
    with pytest.raises(ManifestError, match=r"add a \.cpg file"):
        labels(field, shapefile(tmp_path / "s", shapes, "cp1251"))


@pytest.mark.parametrize("kind", ["geojson", "fgb", "kml", "kmz", "zip"])
def test_every_kind_of_file_gives_the_same_labels(tmp_path: Path, field: Field, kind: str) -> None:
    path = tmp_path / f"plots.{kind}"
    degrees = field[1].to_crs(4326)
    if kind in {"kml", "kmz"}:
        degrees.to_file(tmp_path / "plots.kml", engine="pyogrio", driver="LIBKML")
    if kind == "kmz":
        with zipfile.ZipFile(path, "w") as packed:
            packed.write(tmp_path / "plots.kml", "doc.kml")
    elif kind == "zip":
        made = shapefile(tmp_path / "s", field[1], "utf-8")
        with zipfile.ZipFile(path, "w") as packed:
            for file in made.parent.iterdir():
                packed.write(file, f"folder/{file.name}")
    elif kind != "kml":
        degrees.to_file(path, engine="pyogrio")
    assert labels(field, path) == sorted(LABELS.values())


def test_of_several_files_in_a_zip_one_is_named(tmp_path: Path, field: Field) -> None:
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as packed:
        for name in ("north", "south"):
            field[1].to_file(tmp_path / f"{name}.gpkg", engine="pyogrio")
            packed.write(tmp_path / f"{name}.gpkg", f"{name}.gpkg")
    with pytest.raises(ManifestError, match=r"2 files of shapes \(north, south\).*--layer"):
        labels(field, tmp_path / "two.zip")
    assert len(labels(field, tmp_path / "two.zip", layer="south")) == 3


def test_labels_are_trimmed_counted_as_the_map_says_and_empty_where_a_word_says_so(
    tmp_path: Path, field: Field
) -> None:
    again = field[1].assign(label=[" Rust", "rust ", "NULL"])
    again.to_file(tmp_path / "odd.gpkg", engine="pyogrio")
    with pytest.raises(ManifestError, match=r"--label-map '(rust=Rust|Rust=rust)'"):
        labels(field, tmp_path / "odd.gpkg")
    read = labels(field, tmp_path / "odd.gpkg", chosen={"rust": "Rust"})
    assert Counter(read) == {"Rust": 2, "": 1}
    assert Counter(labels(field, tmp_path / "odd.gpkg", chosen={"rust": ""})) == {"": 3}
