"""Where tiles lie: everything is reached, blocks keep apart, shares are exact."""

from __future__ import annotations

import numpy as np
import pytest

from apps.crop_disease.field.tiles import Blocks, block_starts, length_px, starts, valid_fractions
from core.errors import ConfigError


@pytest.mark.parametrize("length", [1, 31, 32, 33, 100, 257])
@pytest.mark.parametrize(("tile", "stride"), [(32, 32), (32, 24), (32, 1), (7, 5)])
def test_tiles_reach_every_pixel_and_nothing_else(length: int, tile: int, stride: int) -> None:
    reached = np.zeros(length, int)
    for first in starts(length, tile, stride):
        assert first >= 0
        assert first + min(tile, length) <= length
        reached[first : first + tile] += 1
    assert (reached > 0).all()


def test_lengths_in_pixels_metres_and_shares() -> None:
    assert length_px("224", option="--tile", pixel_m=0.05) == 224
    assert length_px(" 64 px ", option="--tile", pixel_m=0.05) == 64
    assert length_px("1.6m", option="--tile", pixel_m=0.05) == 32
    assert length_px("50%", option="--overlap", pixel_m=0.05, whole_px=32) == 16


@pytest.mark.parametrize("text", ["ten", "-5px", "5 km", "", "25%", "nan"])
def test_other_lengths_are_refused_with_examples(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--tile .*224px.*10m"):
        length_px(text, option="--tile", pixel_m=0.05)


@pytest.mark.parametrize("gap", [32, 50])
def test_tiles_of_two_blocks_keep_the_gap(gap: int) -> None:
    blocks = Blocks(tile=32, stride=16, per_block=4, gap=gap)
    found = block_starts(1000, blocks)
    assert len({number for _, number in found}) > 5
    for first, number in found:
        assert first + 32 <= 1000
        for other, its in found:
            if its != number:
                distance = max(first - (other + 32), other - (first + 32))
                assert distance >= gap


def test_valid_shares_are_those_of_the_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    mask = rng.random((157, 211)) < 0.6
    rows, cols = np.array(starts(157, 32, 24)), np.array(starts(211, 32, 24))
    for strip in (8_000_000, 500):
        # A small strip makes every band be read in parts.
        monkeypatch.setattr("apps.crop_disease.field.tiles.STRIP_PX", strip)
        share, n = valid_fractions(
            lambda w: mask[w[0] : w[0] + w[2], w[1] : w[1] + w[3]], mask.shape, rows, cols, (32, 32)
        )
        assert n == mask.sum()
        expected = [[mask[r : r + 32, c : c + 32].mean() for c in cols] for r in rows]
        assert np.allclose(share, expected)


def test_the_mask_is_read_once_and_in_storage_order() -> None:
    seen: list[tuple[int, int, int, int]] = []

    def mask(window: tuple[int, int, int, int]) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
        seen.append(window)
        return np.ones(window[2:], bool)

    valid_fractions(mask, (100, 50), np.array([0, 24, 48, 68]), np.array([0, 18]), (32, 32))
    assert [w[0] for w in seen] == sorted(w[0] for w in seen)
    assert sum(w[2] for w in seen) == 100
    assert all(w[1] == 0 and w[3] == 50 for w in seen)
