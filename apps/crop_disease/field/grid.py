"""The grid of tiles over a raster: tile size and positions, for mapping and for training.

In pixels of the raster, from what the user or the run says in pixels, metres or shares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from apps.crop_disease.field.tiles import Blocks, block_starts, length_px, starts
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from apps.crop_disease.field.raster import RasterFacts
    from apps.crop_disease.field.window import Window
    from core.app import Source

__all__ = [
    "BLOCKS_PER_CLASS",
    "BLOCKS_WANTED",
    "PER_BLOCK",
    "Layout",
    "for_a_map",
    "for_training",
    "in_words",
    "one_tile",
    "tile_side",
]

TILE_PX = 224
# Of a tile's side, when a map is made; in training tiles do not overlap.
MAP_OVERLAP = "25%"
# Tiles along a side of a block, the most that leaves as many blocks as a split wants: in all,
# and of each class: a split into three needs six, and more are better.
PER_BLOCK, BLOCKS_WANTED, BLOCKS_PER_CLASS = 5, 30, (6, 8)


@dataclass(frozen=True)
class Layout:
    """Where the tiles of one raster lie.

    Attributes:
        rows, cols: (R,) and (C,) first pixels, rising; every row with every column is a tile.
        tile: (H, W).
        row_block, col_block: the number of the block that each row and column is in; empty
            where there are no blocks.
    """

    rows: NDArray[np.int_]
    cols: NDArray[np.int_]
    tile: tuple[int, int]
    row_block: tuple[int, ...] = ()
    col_block: tuple[int, ...] = ()

    @property
    def windows(self) -> list[Window]:
        """The tiles, in storage order."""
        return [(int(r), int(c), *self.tile) for r in self.rows for c in self.cols]

    @property
    def blocks(self) -> list[str]:
        """The block of each tile; empty where there are none."""
        return [f"r{r:02d}c{c:02d}" for r in self.row_block for c in self.col_block]


def for_a_map(facts: RasterFacts, tile: int, source: Source) -> Layout:
    """Tiles that reach every pixel and overlap."""
    stride = _stride(facts, tile, str(source.options.get("overlap") or MAP_OVERLAP))
    rows, cols = (np.array(starts(length, tile, stride)) for length in (facts.height, facts.width))
    return Layout(rows, cols, (min(tile, facts.height), min(tile, facts.width)))


def one_tile(facts: RasterFacts) -> Layout:
    """The raster as a whole."""
    return Layout(np.array([0]), np.array([0]), (facts.height, facts.width))


def for_training(
    facts: RasterFacts, tile: int, source: Source, notes: list[str]
) -> Iterator[Layout]:
    """Tiles in blocks with strips of ground between them, from large blocks to small.

    The size of blocks that the user names is the only one.
    """
    options = source.options
    stride = _stride(facts, tile, str(options.get("overlap") or "0px"))
    gap = tile
    if options.get("buffer"):
        wanted = length_px(
            str(options["buffer"]), option="--buffer", pixel_m=facts.pixel_m, whole_px=tile
        )
        gap = max(tile, wanted)
        if wanted < tile:
            notes.append(
                f"--buffer {options['buffer']} is less than a tile; {tile} px are kept between "
                "blocks."
            )
    if min(facts.height, facts.width) < tile:
        msg = (
            f"{facts.path}: is {facts.height} x {facts.width} px, smaller than a tile of "
            f"{tile} px. Pass a smaller --tile."
        )
        raise ManifestError(msg)
    sizes = list(range(PER_BLOCK, 0, -1))
    if options.get("block"):
        side = length_px(str(options["block"]), option="--block", pixel_m=facts.pixel_m)
        sizes = [max(1, (side - tile) // stride + 1)]
    for per_block in sizes:
        blocks = Blocks(tile, stride, per_block, gap)
        rows, cols = block_starts(facts.height, blocks), block_starts(facts.width, blocks)
        yield Layout(
            np.array([r for r, _ in rows]),
            np.array([c for c, _ in cols]),
            (tile, tile),
            tuple(n for _, n in rows),
            tuple(n for _, n in cols),
        )


def _stride(facts: RasterFacts, tile: int, overlap: str) -> int:
    """Pixels from one tile to the next.

    Raises:
        ManifestError: tiles would overlap wholly.
    """
    over = length_px(overlap, option="--overlap", pixel_m=facts.pixel_m, whole_px=tile)
    if over > 0.9 * tile:
        msg = f"--overlap {overlap}: is {over} of a tile's {tile} px; 90 % is the most that helps."
        raise ManifestError(msg)
    return tile - over


def tile_side(facts: RasterFacts, source: Source) -> int:
    """Side of a tile in pixels of this raster."""
    trained = source.trained
    if source.options.get("match-gsd"):
        if not trained.get("tile_m"):
            msg = (
                "--match-gsd: this run does not say on which ground size it was trained. Pass "
                "that size instead, as in --tile 10m."
            )
            raise ManifestError(msg)
        return max(8, round(float(trained["tile_m"]) / facts.pixel_m))
    given = source.options.get("tile")
    if not given:
        return int(trained.get("tile_px") or TILE_PX)
    tile = length_px(str(given), option="--tile", pixel_m=facts.pixel_m)
    if tile < 8:
        msg = (
            f"--tile {given}: is {tile} px at {facts.pixel_m:.3g} m a pixel; nothing can be seen "
            "on fewer than 8."
        )
        raise ManifestError(msg)
    return tile


def in_words(metres: float) -> str:
    """A length for a reader.

    >>> in_words(0.0355), in_words(11.2)
    ('3.55 cm', '11.2 m')
    """
    return f"{metres * 100:.3g} cm" if metres < 1 else f"{metres:,.3g} m"
