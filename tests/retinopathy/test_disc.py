"""Finding the disc of the retina."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from apps.retinopathy.disc import FALLBACKS, find_disc, to_eight_bits

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Draw = Callable[..., NDArray[np.uint8]]


@pytest.mark.parametrize("scale", [1, 4])
def test_a_whole_disc_is_found_where_it_is(draw: Draw, scale: int) -> None:
    disc = find_disc(draw((240 * scale, 320 * scale), 118 * scale, 150 * scale, 95 * scale))
    assert disc.rule == "circle"
    # The edge is blurred over a pixel of the search, and a low step takes its outer side.
    found = (disc.row, disc.col, disc.radius)
    assert np.abs(np.subtract(found, (118 * scale, 150 * scale, 95 * scale))).max() < 1.6 * scale
    assert disc.inside > 0.97


@pytest.mark.parametrize(
    ("shape", "row", "col", "radius"),
    [
        ((200, 320), 100, 160, 140),  # cut above and below
        ((300, 300), 150, 150, 175),  # cut to a square: arcs in the corners only
        ((300, 300), 150, 90, 140),  # cut on one side
    ],
)
def test_a_cut_disc_keeps_its_true_radius(
    draw: Draw, shape: tuple[int, int], row: float, col: float, radius: float
) -> None:
    disc = find_disc(draw(shape, row, col, radius))
    assert disc.rule == "cut"
    assert disc.radius == pytest.approx(radius, rel=0.03)
    assert (disc.row, disc.col) == pytest.approx((row, col), abs=6)
    assert disc.inside < 0.97


def test_a_band_of_the_film_holder_does_not_shrink_the_disc(draw: Draw) -> None:
    image = draw((320, 320), 160, 160, 150)
    image[270:] = 2
    disc = find_disc(image)
    assert disc.rule == "cut"
    assert disc.radius == pytest.approx(150, rel=0.03)


def test_neither_notch_nor_flash_nor_label_moves_the_disc(draw: Draw) -> None:
    image = draw((320, 320), 160, 160, 130)
    cv2.circle(image, (160 + 92, 160 - 92), 9, (170, 90, 45), cv2.FILLED)
    cv2.circle(image, (160, 250), 30, (255, 255, 255), cv2.FILLED)
    cv2.putText(image, "OD 1987", (2, 316), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1)
    disc = find_disc(image)
    assert disc.radius == pytest.approx(130, rel=0.02)
    assert (disc.row, disc.col) == pytest.approx((160, 160), abs=2.5)


def test_a_dim_disc_on_a_border_that_is_not_black_is_found(draw: Draw) -> None:
    image = (draw((300, 360), 150, 180, 130) * 0.12).astype(np.uint8)
    image += np.random.default_rng(0).integers(8, 12, image.shape).astype(np.uint8)
    disc = find_disc(image)
    assert disc.rule not in FALLBACKS
    assert disc.radius == pytest.approx(130, rel=0.03)


def test_a_photograph_without_a_border_falls_back_to_its_frame(draw: Draw) -> None:
    image = draw((400, 400), 200, 200, 190)[80:320, 60:340]
    disc = find_disc(image)
    assert disc.rule == "frame"
    # Half the longer side, around the middle of 240 x 280.
    assert (disc.row, disc.col, disc.radius) == (119.5, 139.5, 140)


def test_a_lit_region_that_is_not_round_falls_back_to_its_outline() -> None:
    image = np.zeros((300, 300, 3), np.uint8)
    image[100:180, 60:260] = (160, 90, 40)
    disc = find_disc(image)
    assert disc.rule == "outline"
    assert disc.radius == pytest.approx(100, abs=2)


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 300, 3), (64, 64, 1)])
def test_nothing_makes_it_fail(shape: tuple[int, int, int]) -> None:
    for value in (0, 255):
        assert find_disc(np.full(shape, value, np.uint8)).rule in FALLBACKS


def test_the_same_picture_gives_the_same_disc_at_any_depth(draw: Draw) -> None:
    image = draw((256, 300), 128, 150, 140)
    deep = image.astype(np.uint16) * 257
    assert find_disc(image) == find_disc(image.copy())
    assert find_disc(deep) == find_disc(image)
    np.testing.assert_array_equal(to_eight_bits((image / 255).astype(np.float32)), image)
