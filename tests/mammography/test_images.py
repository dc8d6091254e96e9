"""The breast is found, turned, fitted and mapped back."""

from __future__ import annotations

import pickle

import cv2
import numpy as np
import pytest

from apps.mammography.images import augment, find_breast, prepare
from apps.mammography.phantom import draw_breast


def picture(side: str = "L", *, ground: float = 0.0, view: str = "CC") -> np.ndarray:
    shown = draw_breast(np.random.default_rng(3), side=side, view=view, density=1, finding="")
    values = ground + shown.shown * (1 - ground)
    return np.rint(values * 65535).astype(np.uint16)[..., None]


@pytest.mark.parametrize("ground", [0.0, 0.05, 0.15])
def test_the_breast_is_found_on_any_ground_and_the_marker_is_not(ground: float) -> None:
    noise = np.random.default_rng(0).normal(0, 0.004, (384, 288, 1)) * (ground > 0)
    pixels = np.clip(picture(ground=ground) + noise * 65535, 0, 65535).astype(np.uint16)
    found = find_breast(pixels)
    truth = find_breast(picture())
    assert abs(found.fraction - truth.fraction) < 0.03
    assert 0.2 < found.fraction < 0.6
    # The lead marker stands in the last 40 columns.
    assert found.box[3] < 288 - 40


def test_a_bright_frame_is_not_breast() -> None:
    pixels = picture()
    pixels[:4], pixels[-4:], pixels[:, -4:] = 65535, 65535, 65535
    assert abs(find_breast(pixels).fraction - find_breast(picture()).fraction) < 0.03


@pytest.mark.parametrize("view", ["CC", "MLO"])
@pytest.mark.parametrize(("side", "where"), [("L", "left"), ("R", "right")])
def test_the_chest_side_is_seen(side: str, where: str, view: str) -> None:
    assert find_breast(picture(side, view=view)).chest_side == where


def test_a_mirrored_breast_is_prepared_to_the_same_pixels() -> None:
    # The picture and its mirror image: only the turn may differ.
    left = picture("L")
    transform = prepare((128, 64))
    one = transform({"image": left, "laterality": "L"})
    two = transform({"image": np.ascontiguousarray(left[:, ::-1]), "laterality": "R"})
    assert (one["chest_side"], two["chest_side"]) == ("left", "right")
    assert np.abs(one["image"].astype(int) - two["image"]).max() <= 0.02 * 65535


def test_a_blurred_picture_is_said_to_be_blurred_and_a_grainy_one_is_not() -> None:
    grain = np.random.default_rng(1).normal(0, 0.02, (384, 288, 1)) * 65535
    sharp = np.clip(picture() + grain, 0, 65535).astype(np.uint16)
    # A Gaussian of 1/256 of the long side: 384 / 256 = 1.5 px.
    blurred = cv2.GaussianBlur(sharp, (0, 0), 1.5)[..., None]
    transform = prepare((128, 64))
    assert transform({"image": sharp, "laterality": "L"})["quality"] == ""
    assert transform({"image": blurred, "laterality": "L"})["quality"] == "blurred"


@pytest.mark.parametrize("side", ["L", "R"])
def test_affine_leads_back_to_the_source(side: str) -> None:
    # One bright square, more than the half percent that becomes white anyway. Its centre must
    # come back within half a prepared pixel.
    pixels = picture(side)
    row, column = 190, 60 if side == "L" else 287 - 60
    pixels[row - 15 : row + 16, column - 15 : column + 16] = 65535
    done = prepare((192, 96))({"image": pixels, "laterality": side})
    rows, columns = np.nonzero(done["image"][..., 0] >= 0.999 * 65535)
    back = done["affine"] @ np.array([rows.mean(), columns.mean(), 1.0])
    scale = abs(done["affine"][0, 0])
    assert abs(back[0] - row) <= 0.5 * scale
    assert abs(back[1] - column) <= 0.5 * scale
    assert np.sign(done["affine"][1, 1]) == (1 if side == "L" else -1)


def test_the_breast_is_not_stretched_and_stands_at_the_left_edge() -> None:
    done = prepare((256, 128))({"image": picture("R"), "laterality": "R"})
    assert abs(abs(done["affine"][1, 1]) / done["affine"][0, 0] - 1) < 0.02
    assert done["image"][100:156, 0].mean() > 0.3 * 65535


def test_spacing_brings_two_resolutions_to_one_size() -> None:
    large = picture("L")
    small = cv2.resize(large[..., 0], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)[..., None]
    transform = prepare((400, 200))
    one = transform({"image": large, "spacing_mm": 0.5, "target_spacing_mm": 1.0})
    two = transform({"image": small, "spacing_mm": 1.0, "target_spacing_mm": 1.0})
    assert one["affine"][0, 0] == pytest.approx(2.0, rel=0.03)
    assert two["affine"][0, 0] == pytest.approx(1.0, rel=0.03)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 3])
def test_size_and_dtype_are_kept_and_the_range_is_filled(dtype: str, channels: int) -> None:
    full = {"uint8": 255, "uint16": 65535, "float32": 1}[dtype]
    pixels = np.repeat(picture() / 65535 * full, channels, axis=2).astype(dtype)
    image = pickle.loads(pickle.dumps(prepare((64, 32))))({"image": pixels})["image"]
    assert image.shape == (64, 32, channels)
    assert image.dtype == dtype
    assert image.min() == 0
    assert image.max() == full


def test_exposure_does_not_matter() -> None:
    bright = (picture() * 0.9).astype(np.uint16)
    dark = (picture() * 0.45).astype(np.uint16)
    transform = prepare((128, 64))
    difference = (
        transform({"image": bright})["image"].astype(int) - transform({"image": dark})["image"]
    )
    assert np.abs(difference).max() < 0.02 * 65535


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            {"laterality": "R"},
            "the side in the header and in the picture differ: the chest wall is on the left",
        ),
        (
            {"laterality": "R", "laterality_from": "file name"},
            "the side in the file name and in the picture differ",
        ),
        ({"implant": "yes"}, "implant"),
        ({"laterality": "L"}, ""),
    ],
)
def test_quality_says_why_an_image_should_not_be_judged(row: dict[str, str], words: str) -> None:
    quality = prepare((64, 32))({"image": picture(), **row})["quality"]
    assert words in quality
    assert bool(quality) == bool(words)


def test_an_empty_picture_is_flagged_and_kept_whole() -> None:
    done = prepare((64, 32))({"image": np.zeros((100, 80, 1), np.uint8)})
    # Such a picture says nothing of its breast, see ``App.prepare``.
    assert done["quality"].startswith("not a mammogram: no breast was found")
    assert done["image"].shape == (64, 32, 1)


def test_a_white_breast_is_flagged() -> None:
    pixels = np.where(picture() > 5000, 65535, 0).astype(np.uint16)
    assert "highest value" in prepare((64, 32))({"image": pixels})["quality"]


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 500, 1), (500, 3, 1)])
def test_odd_shapes_pass(shape: tuple[int, int, int]) -> None:
    assert prepare((64, 32))({"image": np.full(shape, 9, np.uint8)})["image"].shape == (64, 32, 1)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_augmentation_keeps_head_up_and_chest_left(dtype: str) -> None:
    full = {"uint8": 255, "uint16": 65535, "float32": 1}[dtype]
    image = np.zeros((160, 80, 1), dtype)
    image[:60, :30] = full  # top left
    pipeline = augment((128, 64))
    pipeline.set_random_seed(0)
    for _ in range(20):
        done = pipeline(image=image)["image"]
        assert done.shape == (128, 64, 1)
        assert done.dtype == dtype
        top, left = done[:64].mean(), done[:, :32].mean()
        assert top > 2 * done[64:].mean()
        assert left > 2 * done[:, 32:].mean()


def test_without_a_crop_the_whole_picture_is_kept_and_still_turned() -> None:
    rows, columns = np.mgrid[0:256, 0:128]
    pixels = np.zeros((256, 128, 1), np.uint8)
    # A right breast: the chest wall at the right edge, a marker in the upper left corner.
    pixels[((rows - 128) / 90) ** 2 + ((columns - 127) / 80) ** 2 < 1] = 120
    pixels[8:20, 8:20] = 250
    row = {"image": pixels, "laterality": "R"}
    transform = prepare((256, 128))
    cut, whole = transform(row), transform({**row, "crop": "none"})
    assert whole["chest_side"] == cut["chest_side"] == "right"
    assert whole["breast_fraction"] == cut["breast_fraction"] < 0.5
    # Turned, the marker lies in the upper right corner; cut, it is gone.
    assert whole["image"][8:20, 108:120].min() > 200
    np.testing.assert_allclose(whole["affine"] @ [8, 119, 1], [8, 8, 1], atol=1e-9)
    assert (cut["image"] > 0).mean() > 1.5 * (whole["image"] > 0).mean()
