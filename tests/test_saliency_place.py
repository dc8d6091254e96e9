"""A heat map lies on the source where the network looked, through the preparation's affine."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from core.prediction.scorer import Scorer, scaled, to_source

# A source of 120 x 200 pixels: rows 20 to 79 and columns 100 to 189 were cut out and stored as
# 30 x 45, so a stored pixel is two source pixels wide.
SHAPE, STORED = (120, 200), (30, 45)
AFFINE = np.array([[2.0, 0.0, 20.5], [0.0, 2.0, 100.5], [0.0, 0.0, 1.0]])


def spot(shape: tuple[int, int], row: int, col: int) -> NDArray[np.float32]:
    """A map with one hot pixel."""
    heat = np.zeros(shape, dtype=np.float32)
    heat[row, col] = 1
    return heat


def centre(heat: NDArray[np.float32]) -> tuple[float, float]:
    """(row, col) of the centre of mass."""
    rows, cols = np.indices(heat.shape)
    return float((rows * heat).sum() / heat.sum()), float((cols * heat).sum() / heat.sum())


def test_grids_over_one_picture_share_its_corners() -> None:
    # Of 2 x 5 and 8 x 10 pixels: the outer edges, half a pixel beyond the centres, coincide.
    to_large = scaled((2, 5), (8, 10))
    np.testing.assert_allclose(to_large @ [-0.5, -0.5, 1], [-0.5, -0.5, 1])
    np.testing.assert_allclose(to_large @ [1.5, 4.5, 1], [7.5, 9.5, 1])


@pytest.mark.parametrize(("row", "col"), [(4, 40), (25, 3), (12, 22)])
def test_a_spot_lies_where_the_preparation_took_it_from(row: int, col: int) -> None:
    laid = to_source(spot(STORED, row, col), AFFINE, stored=STORED, shape=SHAPE)
    assert laid.shape == SHAPE
    # Stored pixel (r, c) shows source rows 20 + 2r, 21 + 2r and columns 100 + 2c, 101 + 2c.
    assert centre(laid) == pytest.approx((20.5 + 2 * row, 100.5 + 2 * col), abs=0.05)


def test_a_map_of_half_the_stored_size_lies_in_the_same_place() -> None:
    laid = to_source(spot((15, 15), 7, 2), AFFINE, stored=STORED, shape=SHAPE)
    # Its pixel (7, 2) covers stored rows 14, 15 and columns 6, 7, 8.
    assert centre(laid) == pytest.approx((20.5 + 2 * 14.5, 100.5 + 2 * 7), abs=0.1)


def test_what_the_preparation_left_out_stays_cold() -> None:
    laid = to_source(np.ones(STORED, dtype=np.float32), AFFINE, stored=STORED, shape=SHAPE)
    assert laid[:18].max() == laid[82:].max() == laid[:, :98].max() == laid[:, 192:].max() == 0
    assert laid[22:78, 102:188].min() > 0.99


def test_the_map_of_an_input_read_smaller_lies_on_its_full_source() -> None:
    # The photo was decoded at a quarter of its size, then cut as above.
    class Engine:
        def saliency(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
            assert pixels.shape == (3, *STORED)
            return spot(STORED, 10, 30)

    done = {"image": np.zeros((*STORED, 3), np.uint8), "affine": AFFINE, "read_px": SHAPE}
    full = (4 * SHAPE[0], 4 * SHAPE[1], 3)
    scorer = object.__new__(Scorer)
    member = SimpleNamespace(preparation=SimpleNamespace(size_px=STORED))
    scorer.members = [(member, Engine(), None)]
    scorer.run = SimpleNamespace(app=SimpleNamespace(read=lambda _row: np.zeros(full, np.uint8)))
    scorer.prepare = lambda _row, _preparation: done
    laid = scorer.saliency({}, in_source=True)
    assert laid.shape == full[:2]
    # Source row r at a quarter of the size covers rows 4r to 4r + 3.
    assert centre(laid) == pytest.approx((4 * 40.5 + 1.5, 4 * 160.5 + 1.5), abs=0.1)
    assert scorer.saliency({}, in_source=False).shape == STORED
