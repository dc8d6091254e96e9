"""What is read from a GeoTIFF, what is refused, and what the refusal says."""

from __future__ import annotations

import threading
import time
import warnings
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from apps.crop_disease.field.channels import INDICES, Reading
from apps.crop_disease.field.raster import (
    CACHE_BYTES,
    MOST_CACHE_BYTES,
    borrow,
    cache_bytes,
    choose_reading,
    describe,
    read_pixels,
    valid_pixels,
)
from core.data.framing import PADDING
from core.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path

rasterio = pytest.importorskip("rasterio")
Affine = pytest.importorskip("affine").Affine

UTM = "EPSG:32632"


def write(
    path: Path,
    bands: np.ndarray[Any, Any],
    *,
    crs: str | None = UTM,
    transform: Any = None,
    descriptions: tuple[str, ...] = (),
    scale: float | None = None,
    **profile: Any,
) -> Path:
    """A GeoTIFF of (C, H, W) values with pixels of 10 cm."""
    if transform is None:
        transform = Affine(0.1, 0, 451_000, 0, -0.1, 5_433_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            count=len(bands),
            height=bands.shape[1],
            width=bands.shape[2],
            dtype=bands.dtype,
            crs=crs,
            transform=transform,
            **profile,
        ) as target:
            target.write(bands)
            if descriptions:
                target.descriptions = descriptions
            if scale is not None:
                target.scales = (scale,) * len(bands)
    return path


def values(dtype: str, n: int = 3, side: int = 16) -> np.ndarray[Any, Any]:
    """Distinct positive values (C, H, W)."""
    rng = np.random.default_rng(0)
    top = {"uint8": 255, "uint16": 60_000, "float32": 0.9}[dtype]
    return (rng.uniform(0.05, 1, (n, side, side)) * top).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_values_are_read_as_they_are_stored(tmp_path: Path, dtype: str) -> None:
    stored = values(dtype)
    path = write(tmp_path / "a.tif", stored, photometric="RGB")
    reading = choose_reading(describe(path))
    with borrow(path) as source:
        pixels = read_pixels(source, reading, (3, 4, 5, 6))
    assert pixels.dtype == np.dtype(dtype)
    assert np.array_equal(pixels, stored[:, 3:8, 4:10].transpose(1, 2, 0))


def test_scaling_does_not_depend_on_the_tile(tmp_path: Path) -> None:
    # The left half is ten times darker; a tile scaled by its own maximum would hide that.
    stored = np.full((3, 8, 16), 5000, np.uint16)
    stored[:, :, :8] = 500
    path = write(tmp_path / "a.tif", stored)
    reading = choose_reading(describe(path), full_scale=10_000)
    with borrow(path) as source:
        dark = read_pixels(source, reading, (0, 0, 8, 8))
        light = read_pixels(source, reading, (0, 8, 8, 8))
    assert dark.dtype == np.float32
    assert np.allclose(dark, 0.05)
    assert np.allclose(light, 0.5)


def test_a_declared_scale_is_applied(tmp_path: Path) -> None:
    stored = np.full((3, 8, 8), 2000, np.int16)
    path = write(tmp_path / "a.tif", stored, scale=0.0001)
    with borrow(path) as source:
        pixels = read_pixels(source, choose_reading(describe(path)), (0, 0, 8, 8))
    assert np.allclose(pixels, 0.2)


def test_vegetation_indices_follow_their_formulas(tmp_path: Path) -> None:
    # R .1, G .3, B .05, N .5, Re .3
    stored = np.array([0.1, 0.3, 0.05, 0.5, 0.3], np.float32)[:, None, None]
    path = write(tmp_path / "a.tif", np.tile(stored, (1, 8, 8)))
    facts = describe(path)
    reading = choose_reading(facts, bands="RGBNRe", indices=",".join(INDICES))
    assert reading.channels == ("R", "G", "B", "N", "Re", *INDICES)
    with borrow(path) as source:
        pixel = read_pixels(source, reading, (0, 0, 1, 1))[0, 0]
    by_hand = {
        "NDVI": 0.4 / 0.6,
        "NDRE": 0.2 / 0.8,
        "GNDVI": 0.2 / 0.8,
        "VARI": 0.2 / 0.35,
        "GLI": 0.45 / 0.75,
        "SAVI": 1.5 * 0.4 / 1.1,
        "OSAVI": 0.4 / 0.76,
    }
    for name, value in by_hand.items():
        assert pixel[reading.channels.index(name)] == pytest.approx((value + 1) / 2, abs=1e-6)
    # 2g - r - b of the shares .6667, .2222, .1111 is 1; the range is -1 to 2.
    assert pixel[reading.channels.index("ExG")] == pytest.approx(2 / 3, abs=1e-6)


def test_an_index_of_nothing_is_a_number(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.zeros((4, 8, 8), np.float32))
    reading = choose_reading(describe(path), bands="RGBN", indices="NDVI,ExG")
    with borrow(path) as source:
        assert np.isfinite(read_pixels(source, reading, (0, 0, 8, 8))).all()


def test_bands_are_named_by_their_descriptions(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.tif", values("float32", 4), descriptions=("NIR", "Red edge", "Red", "Green")
    )
    facts = describe(path)
    assert facts.names == ("N", "Re", "R", "G")
    assert str(choose_reading(facts)) == "N=1 Re=2 R=3 G=4"


def test_named_bands_may_pass_over_some(tmp_path: Path) -> None:
    facts = describe(write(tmp_path / "a.tif", values("float32", 5)))
    assert str(choose_reading(facts, bands="RGB--")) == "R=1 G=2 B=3"
    assert str(choose_reading(facts, bands="R,G,-,N")) == "R=1 G=2 N=4"


@pytest.mark.parametrize(
    ("bands", "indices", "word"),
    [
        ("RGX", "", "'X' is no name of a band"),
        ("RGBNReR", "", "names 6 bands"),
        ("RR", "", "a band twice"),
        ("---", "", "no band"),
        ("RGB", "NDVI", "NDVI needs the band N"),
        ("RGB", "WETNESS", "'WETNESS' is not known"),
    ],
)
def test_impossible_channels_are_refused(
    tmp_path: Path, bands: str, indices: str, word: str
) -> None:
    facts = describe(write(tmp_path / "a.tif", values("float32", 5)))
    with pytest.raises(ImageError, match=word):
        choose_reading(facts, bands=bands, indices=indices)


def test_alpha_is_validity_and_no_channel(tmp_path: Path) -> None:
    stored = values("uint8", 4)
    stored[3] = 255
    stored[3, :, :4] = 0
    path = write(tmp_path / "a.tif", stored, photometric="RGB", alpha="yes")
    reading = choose_reading(describe(path))
    assert str(reading) == "R=1 G=2 B=3 alpha=4"
    with borrow(path) as source:
        valid = valid_pixels(source, reading, (0, 0, 16, 16))
        pixels = read_pixels(source, reading, (0, 0, 16, 16))
    assert not valid[:, :4].any()
    assert valid[:, 4:].all()
    assert (pixels[:, :4] == PADDING).all()
    assert np.array_equal(pixels[:, 4:], stored[:3, :, 4:].transpose(1, 2, 0))


def test_a_fourth_band_that_only_masks_is_taken_for_alpha(tmp_path: Path) -> None:
    stored = values("uint8", 4)
    stored[3] = 255
    stored[3, :, :4] = 0
    path = write(tmp_path / "a.tif", stored, photometric="RGB", alpha="no")
    assert describe(path).alpha == 4
    stored[3, 8, 8] = 77
    other = write(tmp_path / "b.tif", stored, photometric="RGB", alpha="no")
    assert describe(other).alpha == 0


def test_a_colour_may_equal_nodata_in_one_band_but_a_reflectance_may_not(tmp_path: Path) -> None:
    for dtype, kept in (("uint8", True), ("float32", False)):
        stored = values(dtype)
        stored[0, 0, 0] = 0
        stored[:, 1, 1] = 0
        path = write(tmp_path / f"{dtype}.tif", stored, photometric="RGB", nodata=0)
        with borrow(path) as source:
            valid = valid_pixels(source, choose_reading(describe(path)), (0, 0, 16, 16))
        assert valid[0, 0] == kept
        assert not valid[1, 1]
        assert valid.sum() == 256 - (1 if kept else 2)


def test_values_that_are_not_numbers_are_nodata(tmp_path: Path) -> None:
    stored = values("float32", 4)
    stored[2, 5, 5] = np.nan
    path = write(tmp_path / "a.tif", stored)
    reading = choose_reading(describe(path))
    with borrow(path) as source:
        assert not valid_pixels(source, reading, (0, 0, 16, 16))[5, 5]
        assert np.isfinite(read_pixels(source, reading, (0, 0, 16, 16))).all()


def test_an_external_mask_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", values("uint8"), photometric="RGB")
    mask = np.full((16, 16), 255, np.uint8)
    mask[:, 8:] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as target:
        target.write_mask(mask)
    assert (tmp_path / "a.tif.msk").is_file()
    with borrow(path) as source:
        valid = valid_pixels(source, choose_reading(describe(path)), (0, 0, 16, 16))
    assert np.array_equal(valid, mask > 0)


def test_a_vrt_is_refused_whatever_its_name(tmp_path: Path) -> None:
    secret = write(tmp_path / "secret.tif", values("uint8"))
    trap = tmp_path / "mosaic.tif"
    trap.write_text(
        '<VRTDataset rasterXSize="16" rasterYSize="16"><VRTRasterBand dataType="Byte" band="1">'
        f"<SimpleSource><SourceFilename>{secret}</SourceFilename></SimpleSource>"
        "</VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(ImageError, match=r"is a VRT.*gdal_translate"):
        describe(trap)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"II*\0", b"\x89PNG\r\n\x1a\n", b"II*\0" + b"\xff" * 99]
)
def test_what_is_no_geotiff_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(content)
    with pytest.raises(ImageError, match="is not a GeoTIFF that can be read"):
        describe(path)


def test_a_raster_without_a_system_needs_one(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", values("uint8"), crs=None, photometric="RGB")
    with pytest.raises(ImageError, match=r"names no coordinate reference system.*--crs EPSG"):
        describe(path)
    assert describe(path, crs=UTM).pixel_m == pytest.approx(0.1, rel=1e-3)
    with pytest.raises(ImageError, match="is not a coordinate reference system"):
        describe(path, crs="EPSG:99999999")


def test_a_raster_without_a_place_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", values("uint8"), transform=Affine.identity())
    with pytest.raises(ImageError, match="is not georeferenced"):
        describe(path)


def test_a_surface_model_is_refused_unless_its_scale_is_given(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.full((1, 16, 16), 142.0, np.float32))
    with pytest.raises(ImageError, match=r"values up to 142.*--full-scale"):
        choose_reading(describe(path))
    assert choose_reading(describe(path), full_scale=200).full_scale == 200


def test_integers_without_a_scale_and_palettes_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.ones((3, 8, 8), np.int16))
    with pytest.raises(ImageError, match="holds int16 values and declares no scale"):
        choose_reading(describe(path))
    palette = write(tmp_path / "b.tif", np.ones((1, 8, 8), np.uint8))
    with rasterio.open(palette, "r+") as target:
        target.write_colormap(1, {1: (255, 0, 0, 255)})
    with pytest.raises(ImageError, match="indices into a palette"):
        describe(palette)


def test_ground_sampling_distance_is_in_metres_in_any_system(tmp_path: Path) -> None:
    # At 60 degrees north a degree of longitude is 55.8 km and one of latitude 111.4 km.
    transform = Affine(1e-6, 0, 10, 0, -1e-6, 60)
    degrees = describe(
        write(tmp_path / "a.tif", values("uint8"), crs="EPSG:4326", transform=transform)
    )
    assert degrees.gsd_m == pytest.approx((0.1114, 0.0558), rel=2e-3)
    # Web Mercator stretches by 1 / cos(latitude): 1 m there is half a metre here.
    northing = 8_399_737.9
    mercator = describe(
        write(
            tmp_path / "b.tif",
            values("uint8"),
            crs="EPSG:3857",
            transform=Affine(1, 0, 1_113_194.9, 0, -1, northing),
        )
    )
    assert mercator.pixel_m == pytest.approx(0.5, rel=5e-3)


def test_rotated_rasters_keep_their_pixel_size(tmp_path: Path) -> None:
    turn = Affine.translation(451_000, 5_433_000) @ Affine.rotation(30) @ Affine.scale(0.1, -0.1)
    facts = describe(write(tmp_path / "a.tif", values("uint8"), transform=turn))
    assert facts.pixel_m == pytest.approx(0.1, rel=1e-3)


@pytest.mark.parametrize(
    "layout", [{"BIGTIFF": "YES"}, {"tiled": True, "blockxsize": 16, "blockysize": 16}]
)
def test_bigtiff_and_tiled_files_read_alike(tmp_path: Path, layout: dict[str, Any]) -> None:
    stored = values("uint8", side=48)
    path = write(tmp_path / "a.tif", stored, photometric="RGB", **layout)
    with borrow(path) as source:
        pixels = read_pixels(source, choose_reading(describe(path)), (10, 11, 30, 31))
    assert np.array_equal(pixels, stored[:, 10:40, 11:42].transpose(1, 2, 0))


def test_threads_share_one_handle(tmp_path: Path) -> None:
    stored = values("uint8", side=128)
    path = write(tmp_path / "a.tif", stored, photometric="RGB")
    reading = Reading((("R", 1), ("G", 2), ("B", 3)))
    wrong: list[int] = []

    def work(number: int) -> None:
        for row in range(0, 112, 7):
            with borrow(path) as source:
                pixels = read_pixels(source, reading, (row, number, 16, 16))
            if not np.array_equal(pixels[..., 0], stored[0, row : row + 16, number : number + 16]):
                wrong.append(row)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_one_thread_at_a_time_holds_a_handle(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", values("uint8"), photometric="RGB")
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        with borrow(path):
            inside.append(1)
            time.sleep(0.01)
            most.append(len(inside))
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 8


def test_a_file_written_anew_is_read_anew(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.full((3, 16, 16), 10, np.uint8), photometric="RGB")
    reading = Reading((("R", 1),))
    with borrow(path) as source:
        assert read_pixels(source, reading, (0, 0, 1, 1))[0, 0, 0] == 10
    path.unlink()
    write(path, np.full((3, 17, 16), 20, np.uint8), photometric="RGB")
    with borrow(path) as source:
        assert read_pixels(source, reading, (0, 0, 1, 1))[0, 0, 0] == 20


def test_the_cache_follows_the_width_within_limits_and_not_the_height() -> None:
    def needed(width: int, height: int, dtypes: tuple[str, ...]) -> int:
        return cache_bytes(
            SimpleNamespace(width=width, height=height, dtypes=dtypes, block_shapes=[(512, 512)])
        )

    rgb, multispectral = ("uint8",) * 3, ("uint16",) * 5
    assert needed(20_000, 20_000, rgb) == CACHE_BYTES
    # Three rows of blocks: 1,536 x 20,000 px of 10 bytes.
    assert needed(20_000, 20_000, multispectral) == 1536 * 20_000 * 10
    assert needed(20_000, 90_000, multispectral) == 1536 * 20_000 * 10
    assert needed(90_000, 20_000, multispectral) == MOST_CACHE_BYTES
