"""Cut a raster into tiles, with the share of valid pixels of each.

Tiles are squares of pixels. A regular grid reaches every pixel: the last row and
the last column are moved back so that they end at the edge, and a raster smaller than
a tile is one tile. For training the grid is broken into blocks with a strip of
ground between them, so that no tile of one block touches a tile of another.

This module knows positions and masks, neither models nor labels.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from apps.crop_disease.field.window import Window

__all__ = [
    "Blocks",
    "block_starts",
    "length_px",
    "starts",
    "valid_fractions",
]

# Pixels of a mask held at once while tiles are counted: 20,000 px wide, 400 rows.
STRIP_PX = 8_000_000


def length_px(text: str, *, option: str, pixel_m: float, whole_px: int | None = None) -> int:
    """A length in pixels, from pixels, metres or a share.

    Args:
        text: ``224``, ``224px``, ``10m`` or, where ``whole_px`` is given, ``25%``.
        option: its name, for the message.
        pixel_m: ground sampling distance in metres.
        whole_px: what a share is a share of.

    Raises:
        ConfigError: it is none of these, or negative.

    >>> length_px("10m", option="--tile", pixel_m=0.05)
    200
    >>> length_px("25%", option="--overlap", pixel_m=0.05, whole_px=224)
    56
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(px|m|%)?\s*", str(text))
    if not match or (match[2] == "%" and whole_px is None):
        share = ", or a share of the tile, as in 25%" if whole_px is not None else ""
        msg = f"{option} {text}: write pixels, as in 224px, or metres, as in 10m{share}."
        raise ConfigError(msg)
    value = float(match[1])
    if match[2] == "m":
        value /= pixel_m
    elif match[2] == "%":
        value *= (whole_px or 0) / 100
    return round(value)


def starts(length: int, tile: int, stride: int) -> list[int]:
    """First pixels of tiles that together reach every pixel of an axis.

    >>> starts(10, 4, 3), starts(11, 4, 3), starts(3, 4, 3)
    ([0, 3, 6], [0, 3, 6, 7], [0])
    """
    if length <= tile:
        return [0]
    first = list(range(0, length - tile + 1, stride))
    return first if first[-1] == length - tile else [*first, length - tile]


@dataclass(frozen=True)
class Blocks:
    """How an axis is divided for training.

    Attributes:
        tile, stride: of the tiles in a block, in pixels.
        per_block: tiles along a side of a block.
        gap: pixels between the last tile of a block and the first of the next.
    """

    tile: int
    stride: int
    per_block: int
    gap: int

    @property
    def side(self) -> int:
        """Pixels along a block, without the gap."""
        return (self.per_block - 1) * self.stride + self.tile


def block_starts(length: int, blocks: Blocks) -> list[tuple[int, int]]:
    """(first pixel, number of the block) of the tiles along an axis.

    What does not fill a tile at the end is left out, and so are the gaps.

    >>> block_starts(20, Blocks(tile=4, stride=2, per_block=2, gap=4))
    [(0, 0), (2, 0), (10, 1), (12, 1)]
    """
    found = []
    pitch = blocks.side + blocks.gap
    for number in range(-(-length // pitch)):
        first = number * pitch + np.arange(blocks.per_block) * blocks.stride
        found += [(int(start), number) for start in first if start + blocks.tile <= length]
    return found


def valid_fractions(
    mask: Callable[[Window], NDArray[np.bool_]],
    shape: tuple[int, int],
    rows: NDArray[np.int_],
    cols: NDArray[np.int_],
    tile: tuple[int, int],
) -> tuple[NDArray[np.float64], int]:
    """Share of each tile that is valid, from one pass over the mask in storage order.

    Args:
        mask: window -> (H, W) what is valid there.
        shape: (H, W) of the raster.
        rows: (R,) first rows of the tiles, rising.
        cols: (C,) first columns, rising.
        tile: (H, W).

    Returns:
        (R, C) shares, and the number of valid pixels in the whole raster.
    """
    # Every tile begins and ends on one of these lines, so the counts of the cells
    # between them are all that must be kept.
    lines = [
        np.unique(np.concatenate([[0, length], first, np.minimum(first + side, length)]))
        for first, side, length in zip((rows, cols), tile, shape, strict=True)
    ]
    cells = np.zeros((len(lines[0]) - 1, len(lines[1]) - 1), np.int64)
    most = max(1, STRIP_PX // shape[1])
    for number, (top, bottom) in enumerate(zip(lines[0][:-1], lines[0][1:], strict=True)):
        for row in range(int(top), int(bottom), most):
            height = min(most, int(bottom) - row)
            valid = mask((row, 0, height, shape[1]))
            # Rows first: a column sum in bytes is fast, and 65,535 rows fit 16 bits.
            down = valid.sum(axis=0, dtype=np.int32)
            cells[number] += np.add.reduceat(down, lines[1][:-1])
    total = np.zeros((len(lines[0]), len(lines[1])), np.int64)
    total[1:, 1:] = cells.cumsum(axis=0).cumsum(axis=1)
    ends = [np.minimum(f + s, n) for f, s, n in zip((rows, cols), tile, shape, strict=True)]
    top, bottom = np.searchsorted(lines[0], rows), np.searchsorted(lines[0], ends[0])
    left, right = np.searchsorted(lines[1], cols), np.searchsorted(lines[1], ends[1])
    count = (
        total[np.ix_(bottom, right)]
        - total[np.ix_(top, right)]
        - total[np.ix_(bottom, left)]
        + total[np.ix_(top, left)]
    )
    area = np.outer(ends[0] - rows, ends[1] - cols)
    return count / area, int(cells.sum())
