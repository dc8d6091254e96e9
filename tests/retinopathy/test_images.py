"""From a file to prepared pixels."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from PIL import Image

from apps.retinopathy.disc import find_disc
from apps.retinopathy.images import PREPARED_COLUMNS, augment, prepare, read, scale_disc

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    Draw = Callable[..., NDArray[np.uint8]]


@pytest.mark.parametrize("size", [(96, 96), (80, 128), (37, 41)])
def test_prepare_gives_exactly_the_size_and_all_columns(draw: Draw, size: tuple[int, int]) -> None:
    done = prepare(size)({"image": draw((240, 320), 118, 150, 95), "image_id": "a"})
    assert done["image"].shape == (*size, 3)
    assert set(PREPARED_COLUMNS) <= set(done)
    assert done["image_id"] == "a"
    assert not {"disc", "shown"} & set(done)


@pytest.mark.parametrize("radius", [60.0, 95.0, 140.0])
def test_the_disc_has_the_same_radius_whatever_it_was(draw: Draw, radius: float) -> None:
    image = draw((300, 320), 150, 160, radius)
    done = prepare((128, 128))({"image": image})["image"]
    lit = done.max(axis=2) > 40
    # 98.5 % of 64 px to either side of the middle.
    assert abs(np.sqrt(lit.sum() / np.pi) - 63) < 1.5
    rows, cols = np.nonzero(lit)
    assert abs(rows.mean() - 63.5) < 1
    assert abs(cols.mean() - 63.5) < 1


def test_the_affine_leads_back_to_the_source(draw: Draw) -> None:
    image = draw((300, 400), 140, 190, 120)
    cv2.circle(image, (230, 100), 6, (0, 0, 255), cv2.FILLED)
    done = prepare((150, 150))({"image": image})
    blue = (done["image"][..., 2] > 120) & (done["image"][..., 0] < 90)
    prepared = np.array([*np.argwhere(blue).mean(axis=0), 1.0])
    assert done["affine"] @ prepared == pytest.approx([100, 230, 1], abs=1.0)


def test_a_cut_disc_is_completed_with_black_and_not_stretched(draw: Draw) -> None:
    image = draw((200, 320), 100, 160, 140)
    done = prepare((140, 140))({"image": image})["image"]
    # 200 of 280 rows are there: 20 rows of 140 are missing above and below.
    assert not done[:18].any()
    assert not done[-18:].any()
    assert done[22:118, 70].max(axis=1).min() > 40


def test_what_is_outside_of_the_disc_is_black(draw: Draw) -> None:
    image = draw((256, 256), 128, 128, 100, dark=20)
    done = prepare((128, 128))({"image": image})["image"]
    assert not done[:10, :10].any()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_the_dtype_is_kept_and_the_input_untouched(draw: Draw, dtype: str) -> None:
    scale = {"uint8": 1, "uint16": 257, "float32": 1 / 255}[dtype]
    image = (draw((200, 200), 100, 100, 90).astype(np.float64) * scale).astype(dtype)
    before = image.copy()
    done = prepare((64, 64))({"image": image, "colours": "normalised+equalised"})["image"]
    assert done.dtype == image.dtype
    assert done.shape == (64, 64, 3)
    np.testing.assert_array_equal(image, before)


def test_grey_of_one_channel_is_prepared_too(draw: Draw) -> None:
    image = draw((200, 200), 100, 100, 90)[..., :1]
    done = prepare((64, 64))({"image": np.ascontiguousarray(image)})
    assert done["image"].shape == (64, 64, 1)
    assert done["gate"] == "not a fundus"


def test_local_normalisation_puts_the_retina_at_its_middle(draw: Draw) -> None:
    image = draw((300, 300), 150, 150, 140)
    plain = prepare((128, 128))({"image": image})["image"]
    changed = prepare((128, 128))({"image": image, "colours": "normalised"})["image"]
    assert np.median(plain[60:68, 60:68, 0]) > 140
    assert abs(float(np.median(changed[30:98, 30:98])) - 128) < 20
    assert not changed[:6, :6].any()


def test_equalising_leaves_colours_in_place(draw: Draw) -> None:
    image = draw((300, 300), 150, 150, 140)
    done = prepare((128, 128))({"image": image, "colours": "equalised"})["image"]
    inside = done[40:88, 40:88].reshape(-1, 3).mean(axis=0)
    assert inside[0] > inside[1] > inside[2]


def test_shrinking_averages(draw: Draw) -> None:
    image = draw((800, 800), 400, 400, 390)
    image[::2, ::2] = 0
    disc = find_disc(draw((800, 800), 400, 400, 390))
    small, _, shown = scale_disc(image, disc, (80, 80))
    # A quarter of the pixels are black, evenly: no pixel of the result is.
    assert shown.all()
    assert small[30:50, 30:50, 0].min() > 60


def test_preparation_pickles(draw: Draw) -> None:
    image = draw((200, 200), 100, 100, 90)
    transform = prepare((64, 64))
    again = pickle.loads(pickle.dumps(transform))
    np.testing.assert_array_equal(
        transform({"image": image})["image"], again({"image": image})["image"]
    )


def test_grey_files_are_read_as_colour(tmp_path: Path) -> None:
    Image.fromarray(np.full((20, 30), 77, np.uint8)).save(tmp_path / "grey.png")
    pixels = read({"path": tmp_path / "grey.png"})
    assert pixels.shape == (20, 30, 3)
    assert (pixels == 77).all()


def changed(pipeline: Any, image: NDArray[Any], seed: int) -> NDArray[Any]:
    """One draw of the augmentation."""
    pipeline.set_random_seed(seed)
    return pipeline(image=image)["image"]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_augment_keeps_dtype_and_gives_the_size(draw: Draw, dtype: str) -> None:
    scale = {"uint8": 1, "uint16": 257, "float32": 1 / 255}[dtype]
    image = (draw((110, 110), 55, 55, 54).astype(np.float64) * scale).astype(dtype)
    pipeline = augment((96, 96))
    for seed in range(12):
        done = changed(pipeline, image, seed)
        assert done.shape == (96, 96, 3)
        assert done.dtype == image.dtype
    np.testing.assert_array_equal(changed(pipeline, image, 4), changed(pipeline, image, 4))


def test_augment_turns_to_every_angle_and_hardly_changes_the_hue() -> None:
    image = np.zeros((120, 120, 3), np.uint8)
    cv2.circle(image, (60, 60), 58, (160, 80, 40), cv2.FILLED)
    cv2.circle(image, (95, 60), 8, (40, 160, 220), cv2.FILLED)
    pipeline, angles, hues = augment((120, 120)), [], []
    for seed in range(60):
        done = changed(pipeline, image, seed).astype(int)
        row, col = np.argwhere(done[..., 2] > done[..., 0] + 40).mean(axis=0)
        angles.append(np.degrees(np.arctan2(row - 60, col - 60)) // 90)
        middle = np.uint8([[done[55:65, 55:65].reshape(-1, 3).mean(axis=0)]])
        hues.append(cv2.cvtColor(middle, cv2.COLOR_RGB2HSV)[0, 0, 0])
    assert set(angles) == {-2.0, -1.0, 0.0, 1.0}
    # Hue 10 of 180 before; orange must stay orange.
    assert min(hues) >= 4
    assert max(hues) <= 16


def test_steps_of_the_augmentation_draw_independently() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[:32, :32] = 200
    pipeline = augment((64, 64))
    kept = set()
    for seed in range(80):
        pipeline.set_random_seed(seed)
        draws = [step.py_random.random() for step in pipeline.transforms[:2]]
        kept.add((draws[0] < 0.5, draws[1] < 0.5))
    assert len(kept) == 4
