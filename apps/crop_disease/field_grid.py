"""How large is a tile of this raster, and where do tiles lie: for a map, or for training?

In pixels of the raster, from what the user or the run says in pixels, metres or shares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from apps.crop_disease.tiles import Blocks, block_starts, length_px
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from apps.crop_disease.raster import RasterFacts
    from core.app import Source

__all__ = ["blocked", "in_words", "stride_px", "tile_side", "trained_facts"]

TILE_PX = 224
# Tiles along a side of a block, the most that leaves as many blocks as a split wants.
PER_BLOCK, BLOCKS_WANTED = 5, 16


def blocked(
    facts: RasterFacts, tile: int, source: Source, notes: list[str]
) -> tuple[NDArray[np.int_], NDArray[np.int_], list[int], list[int]]:
    """First rows and columns of training tiles, and the numbers of their blocks."""
    options = source.options
    stride = stride_px(facts, tile, str(options.get("overlap") or "0px"))
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

    def laid(per_block: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        blocks = Blocks(tile, stride, per_block, gap)
        return block_starts(facts.height, blocks), block_starts(facts.width, blocks)

    if options.get("block"):
        side = length_px(str(options["block"]), option="--block", pixel_m=facts.pixel_m)
        rows, cols = laid(max(1, (side - tile) // stride + 1))
    else:
        for per_block in range(PER_BLOCK, 0, -1):
            rows, cols = laid(per_block)
            n_blocks = len({n for _, n in rows}) * len({n for _, n in cols})
            if n_blocks >= BLOCKS_WANTED:
                break
    if not rows or not cols:
        msg = (
            f"{facts.path}: is {facts.height} x {facts.width} px, smaller than a tile of "
            f"{tile} px. Pass a smaller --tile."
        )
        raise ManifestError(msg)
    return (
        np.array([r for r, _ in rows]),
        np.array([c for c, _ in cols]),
        [n for _, n in rows],
        [n for _, n in cols],
    )


def stride_px(facts: RasterFacts, tile: int, overlap: str) -> int:
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
    trained = trained_facts(source)
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


def trained_facts(source: Source) -> Mapping[str, Any]:
    """What the run that predicts remembers of its training; empty where it is not handed over."""
    run = getattr(source, "run", None) or {}
    facts: Mapping[str, Any] = run.get("facts") or {}
    return facts
