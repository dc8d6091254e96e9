"""From pixels read to pixels seen: geometry, dtype, what is refused, what may vary."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from apps.crop_disease.images import LEAST_SHORT_SIDE_PX, augment, prepare
from apps.crop_disease.phantom import write_phantom
from core.data.framing import PADDING, padding_for

REAL = Path(__file__).parents[3] / "shared" / "data" / "coffee_leaves"
DTYPES = {"uint8": 255, "uint16": 65535, "float32": 1}


def picture(height: int, width: int, dtype: str = "uint8") -> np.ndarray[Any, Any]:
    """A sharp, lit picture in which every position is different."""
    rng = np.random.default_rng(height * 1000 + width)
    values = rng.uniform(0.05, 0.95, (height, width, 3))
    return (values * DTYPES[dtype]).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_photo_of_the_size_asked_for_passes_unchanged(dtype: str) -> None:
    image = picture(256, 512, dtype)
    done = prepare((256, 512))({"image": image.copy(), "image_id": "a"})
    assert done["image"].dtype == image.dtype
    assert np.array_equal(done["image"], image)
    assert np.array_equal(done["affine"], np.eye(3))
    assert done["image_id"] == "a"
    assert done["quality"] == ""


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape", [(300, 100), (100, 300), (64, 64), (777, 431), (1, 500), (500, 1)]
)
def test_any_shape_becomes_exactly_the_size_in_its_own_dtype(
    shape: tuple[int, int], dtype: str
) -> None:
    done = prepare((96, 160))({"image": picture(*shape, dtype)})
    assert done["image"].shape == (96, 160, 3)
    assert done["image"].dtype == np.dtype(dtype)


@pytest.mark.parametrize(("dtype", "factor"), [("uint8", 1), ("uint16", 257), ("float32", 1 / 255)])
def test_padding_has_one_colour_in_every_dtype(dtype: str, factor: float) -> None:
    done = prepare((100, 100))({"image": picture(100, 50, dtype)})["image"]
    # 100 x 50 fits as it is; 25 columns remain on either side.
    for side in (done[:, :25], done[:, 75:]):
        assert np.allclose(side, np.array(PADDING) * factor)
    assert np.array_equal(done[:, 25:75], picture(100, 50, dtype))


def test_a_single_channel_keeps_its_axis() -> None:
    done = prepare((50, 50))({"image": picture(100, 60)[..., :1]})
    assert done["image"].shape == (50, 50, 1)


def test_nothing_is_cropped_away() -> None:
    # Each corner of the source must be found again in the result.
    for shape in [(200, 600), (600, 200)]:
        image = np.full((*shape, 3), 200, np.uint8)
        for rows, cols in [(slice(0, 20), slice(0, 20)), (slice(-20, None), slice(-20, None))]:
            image[rows, cols] = (255, 0, 0)
        done = prepare((100, 150))({"image": image})["image"].astype(int)
        red = (done[..., 0] > 240) & (done[..., 1] < 20)
        scale = min(100 / shape[0], 150 / shape[1])
        assert red.sum() == pytest.approx(2 * (20 * scale) ** 2, rel=0.35)


def test_sides_keep_their_proportion() -> None:
    image = np.full((400, 400, 3), 30, np.uint8)
    cv2.circle(image, (200, 200), 150, (250, 250, 250), -1)
    done = prepare((90, 200))({"image": image})["image"]
    disc = done[..., 0] > 140
    height, width = np.ptp(np.nonzero(disc)[0]) + 1, np.ptp(np.nonzero(disc)[1]) + 1
    assert abs(height - width) <= 1
    assert height == pytest.approx(90 * 300 / 400, abs=1.5)


@pytest.mark.parametrize("shape", [(400, 300), (120, 700), (60, 40)])
def test_affine_leads_from_a_prepared_pixel_to_its_source(shape: tuple[int, int]) -> None:
    # A smooth ramp per axis: the prepared value names the source position it came from.
    rows, cols = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    image = np.stack([rows, cols, np.zeros_like(rows)], 2) / 1000
    done = prepare((96, 128))({"image": image})
    height, width = done["image"].shape[:2]
    inside = done["image"][..., 2] == 0
    for row, col in [(height // 2, width // 2), (height // 2 - 9, width // 2 + 5)]:
        assert inside[row, col]
        source = done["affine"] @ [row, col, 1]
        assert source[0] == pytest.approx(done["image"][row, col, 0] * 1000, abs=0.05)
        assert source[1] == pytest.approx(done["image"][row, col, 1] * 1000, abs=0.05)


def test_corners_of_the_fitted_photo_map_to_corners_of_the_source() -> None:
    # 200 x 100 in 50 x 50: 50 x 25, twelve columns to the left. The left edge of
    # column 12 is the left edge of the source: -0.5 in pixel centres.
    affine = prepare((50, 50))({"image": picture(200, 100)})["affine"]
    assert (affine @ [-0.5, 11.5, 1])[:2] == pytest.approx([-0.5, -0.5])
    assert (affine @ [49.5, 36.5, 1])[:2] == pytest.approx([199.5, 99.5])


def test_shrinking_averages_and_does_not_skip() -> None:
    # A quarter of the pixels is orange; after shrinking by four the share is still there.
    image = np.zeros((400, 400, 3), np.uint8)
    image[::2, ::2] = (200, 100, 40)
    done = prepare((100, 100))({"image": image})["image"]
    assert np.abs(done.astype(int) - [50, 25, 10]).max() <= 1


def test_preparation_is_the_same_twice_and_after_pickling() -> None:
    transform = prepare((80, 120))
    again = pickle.loads(pickle.dumps(transform))
    image = picture(333, 222)
    first, second, third = (
        t({"image": image.copy()})["image"] for t in (transform, transform, again)
    )
    assert np.array_equal(first, second)
    assert np.array_equal(first, third)


def test_the_input_is_left_alone() -> None:
    image = picture(100, 90)
    data = {"image": image, "path": "x"}
    prepare((64, 64))(data)
    assert np.array_equal(image, picture(100, 90))
    assert set(data) == {"image", "path"}


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_dark_photo_is_called_dark_in_every_dtype(dtype: str) -> None:
    image = (picture(200, 200, "float32") * 0.1 * DTYPES[dtype]).astype(dtype)
    assert prepare((64, 64))({"image": image})["quality"] == "too dark"


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_blurred_photo_is_called_blurred_in_every_dtype(dtype: str) -> None:
    image = cv2.GaussianBlur(picture(400, 400, "float32"), (0, 0), 12)
    image = (image * DTYPES[dtype]).astype(dtype)
    assert prepare((64, 64))({"image": image})["quality"] == "blurred"


def test_a_tiny_photo_is_called_small_with_its_size() -> None:
    quality = prepare((64, 64))({"image": picture(40, 200)})["quality"]
    assert quality == f"too small (40 px on its short side, {LEAST_SHORT_SIDE_PX} needed)"


def test_no_phantom_photo_is_flagged(tmp_path: Path) -> None:
    write_phantom(tmp_path, 60, 2)
    transform = prepare((112, 168))
    for path in tmp_path.rglob("*.jpg"):
        assert transform({"image": cv2.imread(str(path))[..., ::-1]})["quality"] == ""


@pytest.mark.skipif(not REAL.is_dir(), reason="no real coffee-leaf photos beside the repository")
def test_hardly_a_real_photo_is_flagged_and_blurred_ones_are() -> None:
    transform = prepare((128, 256))
    paths = sorted(REAL.glob("*/*.jpg"))[::12]
    flagged = blurred = 0
    for path in paths:
        pixels = cv2.imread(str(path))[..., ::-1]
        flagged += transform({"image": pixels})["quality"] != ""
        blurred += transform({"image": cv2.GaussianBlur(pixels, (0, 0), 8)})["quality"] != ""
    assert flagged == 0
    assert blurred == len(paths)


# --- augmentation ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size_px", [(64, 64), (48, 96), (96, 48)])
def test_augmentation_gives_the_size_dtype_and_range(size_px: tuple[int, int], dtype: str) -> None:
    pipeline = augment(size_px)
    for scale in (1.0, 1.15, 1.7):
        image = picture(round(size_px[0] * scale), round(size_px[1] * scale), dtype)
        for seed in range(12):
            pipeline.set_random_seed(seed)
            changed = pipeline(image=image)["image"]
            assert changed.shape == (*size_px, 3)
            assert changed.dtype == np.dtype(dtype)
            assert changed.min() >= 0
            assert changed.max() <= DTYPES[dtype]


def test_augmentation_depends_on_the_seed_alone() -> None:
    image = picture(74, 110)
    one, two = augment((64, 96)), pickle.loads(pickle.dumps(augment((64, 96))))
    results = []
    for seed in range(20):
        one.set_random_seed(seed)
        results.append(one(image=image)["image"])
    for seed in reversed(range(20)):
        two.set_random_seed(seed)
        assert np.array_equal(two(image=image)["image"], results[seed])
    assert len({r.tobytes() for r in results}) == 20


def test_mirrorings_are_independent_of_each_other() -> None:
    # A bright corner tells which way a picture was turned: all four ways must occur.
    image = np.full((64, 96, 3), 60, np.uint8)
    image[8:24, 8:32] = 250
    pipeline = augment((64, 96))
    ways = set()
    for seed in range(60):
        pipeline.set_random_seed(seed)
        grey = pipeline(image=image)["image"].astype(float).sum(2)
        rows, cols = np.nonzero(grey > 0.8 * grey.max())
        ways.add((rows.mean() < 32, cols.mean() < 48))
    assert len(ways) == 4


def test_only_a_square_frame_is_turned_by_a_quarter() -> None:
    # A long bar stays lying in an oblong frame, and stands up at times in a square one.
    def standing(size_px: tuple[int, int]) -> int:
        image = np.full((*size_px, 3), 40, np.uint8)
        image[size_px[0] // 2 - 4 : size_px[0] // 2 + 4, 8:-8] = 240
        pipeline, count = augment(size_px), 0
        for seed in range(40):
            pipeline.set_random_seed(seed)
            rows, cols = np.nonzero(pipeline(image=image)["image"][..., 1] > 180)
            count += np.ptp(rows) > np.ptp(cols)
        return count

    assert standing((64, 96)) == 0
    assert 8 <= standing((80, 80)) <= 32


def test_hue_stays_the_symptom() -> None:
    # Orange pustules on green: over all seeds the hue of either moves by no more than
    # .02 of the circle (7.2 degrees), and 2 degrees for rounding to 8 bits and compression.
    pipeline = augment((64, 64))
    for colour in [(219, 122, 26), (60, 110, 40)]:
        image = np.full((74, 74, 3), colour, np.uint8)
        wanted = _hue(np.array(colour, np.uint8)[None, None])[0, 0]
        for seed in range(80):
            pipeline.set_random_seed(seed)
            middle = pipeline(image=image)["image"][24:40, 24:40]
            assert np.abs(_hue(middle).mean() - wanted) < 7.2 + 2


def test_what_comes_into_view_has_the_padding_colour() -> None:
    # Imported here, because albumentations may only be imported after ``augment`` has spoken.
    from core.data.augmentation import Changes, Pose  # noqa: PLC0415

    image = np.full((74, 110, 3), 255, np.uint8)
    pipeline = Changes([Pose((64, 96), fill_of=padding_for)])
    seen = set()
    for seed in range(30):
        pipeline.set_random_seed(seed)
        changed = pipeline(image=image)["image"]
        foreign = changed[(changed != 255).any(axis=2)]
        seen.update(map(tuple, foreign[foreign[:, 0] == PADDING[0]].tolist()))
    assert seen == {PADDING}


def test_pose_without_change_is_a_plain_resize() -> None:
    from core.data.augmentation import Pose  # noqa: PLC0415  (see above)

    ramp = np.add.outer(np.arange(92), np.arange(138)).astype(np.float32)[..., None] / 300
    ramp = np.repeat(ramp, 3, axis=2)
    pose = Pose((80, 120))
    changed = pose.apply(ramp, matrix=np.eye(3), output_shape=(92, 138))
    plain = cv2.resize(ramp, (120, 80), interpolation=cv2.INTER_LINEAR)
    assert np.abs(changed - plain)[1:-1, 1:-1].max() < 2e-3


def test_most_of_the_photo_stays_in_view() -> None:
    image = np.full((110, 165, 3), 255, np.uint8)
    image[:4], image[-4:], image[:, :4], image[:, -4:] = 0, 0, 0, 0
    pipeline = augment((96, 144))
    kept = []
    for seed in range(40):
        pipeline.set_random_seed(seed)
        kept.append((pipeline(image=image)["image"] > 180).all(axis=2).mean())
    assert min(kept) > 0.5


def _hue(rgb: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Hue in degrees."""
    return cv2.cvtColor((rgb / 255).astype(np.float32), cv2.COLOR_RGB2HSV)[..., 0]
