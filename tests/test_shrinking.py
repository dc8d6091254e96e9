"""A large JPEG is decoded smaller where that is enough; nothing else may change by it."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from core.app import find_app
from core.data.prepared import READ_SCALE, Form, Preparation, prepare_one, store_size
from core.prediction.scorer import scaled

APP = find_app("crop_disease")
SIZE = (64, 96)


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo of 1600 x 2400 pixels with soft structure and one bright spot."""
    rng = np.random.default_rng(0)
    small = rng.integers(40, 160, (20, 30, 3), dtype=np.uint8)
    pixels = cv2.resize(small, (2400, 1600), interpolation=cv2.INTER_CUBIC)
    pixels[400:480, 1800:1880] = 255
    path = tmp_path_factory.mktemp("large") / "photo.jpg"
    Image.fromarray(pixels).save(path, quality=95)
    return path


def test_shrunk_photo_prepares_to_nearly_the_same_picture(photo: Path) -> None:
    preparation = Preparation.of(APP, SIZE, Form(3, "uint8"))
    transform = APP.prepare(store_size(SIZE))
    row = {"path": str(photo)}
    done = prepare_one(APP, transform, row, preparation)
    # 74 x 110 are stored, so 148 x 220 are needed, and an eighth of the photo has 200 x 300.
    assert done["read_px"] == (200, 300)
    full = transform({**row, "image": APP.read(row)})
    difference = np.abs(done["image"].astype(int) - full["image"].astype(int))
    assert difference.mean() < 1.5
    # The same place of the prepared picture is the same place of the photo.
    laid = scaled(done["read_px"], (1600, 2400)) @ done["affine"]
    np.testing.assert_allclose(laid, full["affine"], atol=0.05 * 2400 / 96)
    brightest = np.unravel_index(done["image"].sum(axis=2).argmax(), done["image"].shape[:2])
    place = laid @ [*brightest, 1.0]
    assert 390 < place[0] < 490
    assert 1790 < place[1] < 1890


def test_photo_under_twice_the_store_is_read_whole(tmp_path: Path) -> None:
    height, width = (READ_SCALE * side for side in store_size(SIZE))
    pixels = np.full((2 * height - 2, 2 * width - 2, 3), 90, np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.jpg")
    preparation = Preparation.of(APP, SIZE, Form(3, "uint8"))
    row = {"path": str(tmp_path / "a.jpg")}
    done = prepare_one(APP, APP.prepare(store_size(SIZE)), row, preparation)
    assert done["read_px"] == pixels.shape[:2]
