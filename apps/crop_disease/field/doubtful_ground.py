"""How much of a map lies in tiles in doubt, and from where on its areas are not given.

One rule for the map, each field and each class: where more than ``MOST_DOUBT`` of the ground
lies in tiles that are unlike the training or of poor quality, hectares and accuracies are
withheld with the reason; below that they are given and marked with the share. The rest of a
map would be as good as before, but nobody knows which class the doubtful ground has, and an area
can be off by all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["IN_DOUBT", "MOST_DOUBT", "doubt_verdict", "overlaps", "share_in", "share_of"]

# Share of the ground. Judged tiles of ordinary fields are marked one in a hundred; corrected
# areas of classes have intervals of some ten percent (``areas``), so more than a fifth unknown
# would be the larger error by far.
MOST_DOUBT = 0.2
# What stands in place of a class where more of a zone, or a tile, is in doubt.
IN_DOUBT = "in doubt"
# Share of the smaller of the two from which a tile and a zone overlap: less is a shared edge.
_LEAST_OVERLAP = 1e-6


def overlaps(
    shapes: NDArray[Any], tiles: NDArray[Any]
) -> tuple[NDArray[np.int_], NDArray[np.int_], NDArray[np.float64]]:
    """Which tiles (M,) share ground with which shapes (N,), and how much.

    Returns:
        numbers of the shape and of the tile of each pair, and the area of both, in the square of
        the unit of the coordinates.
    """
    import shapely  # noqa: PLC0415  (an extra)

    nothing = np.zeros(0, np.int64)
    if not len(shapes) or not len(tiles):
        return nothing, nothing, np.zeros(0)
    tree = shapely.STRtree(tiles)
    # Most tiles lie inside, and only those at an edge need to be cut.
    inside = tree.query(shapes, predicate="contains")
    every = tree.query(shapes, predicate="intersects")
    code = [pairs[0] * len(tiles) + pairs[1] for pairs in (every, inside)]
    shape, tile = every[:, ~np.isin(*code)]
    cut = shapely.area(shapely.intersection(shapes[shape], tiles[tile]))
    least = np.minimum(shapely.area(shapes[shape]), shapely.area(tiles[tile])) * _LEAST_OVERLAP
    shape, tile, cut = shape[cut > least], tile[cut > least], cut[cut > least]
    return (
        np.concatenate([shape, inside[0]]),
        np.concatenate([tile, inside[1]]),
        np.concatenate([cut, shapely.area(tiles[inside[1]])]),
    )


def share_in(
    n_shapes: int,
    pairs: tuple[NDArray[np.int_], NDArray[np.int_], NDArray[np.float64]],
    doubtful: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Which share in [0, 1] of the ground of each shape (N,) lies in tiles in doubt.

    Ground that overlapping tiles share counts for each of them; 0 where no tile lies.

    Args:
        n_shapes: N.
        pairs: see ``overlaps``.
        doubtful: (M,) which tiles are in doubt.

    >>> pairs = np.array([0, 0, 1]), np.array([0, 1, 1]), np.array([3.0, 1.0, 2.0])
    >>> share_in(3, pairs, np.array([False, True])).tolist()
    [0.25, 1.0, 0.0]
    """
    shape, tile, area = pairs
    whole = np.bincount(shape, area, n_shapes)
    part = np.bincount(shape, area * doubtful[tile], n_shapes)
    return np.asarray(np.clip(part / np.maximum(whole, 1e-300), 0.0, 1.0), np.float64)


def share_of(area: ArrayLike, share: ArrayLike) -> float:
    """The share in doubt of several shapes together, by area.

    >>> share_of([3.0, 1.0], [0.0, 1.0])
    0.25
    """
    weight = np.asarray(area, dtype=np.float64)
    return float(weight @ np.asarray(share, dtype=np.float64) / max(weight.sum(), 1e-300))


def doubt_verdict(share: float, *, of: str, accept: bool) -> tuple[bool, str]:
    """Whether areas are withheld, and the mark in words, empty where no ground is in doubt.

    Args:
        share: of the ground, in [0, 1].
        of: what the ground is.
        accept: whether the user asked for areas in spite of doubt.

    >>> doubt_verdict(0.47, of="this field", accept=False)
    (True, 'withheld: 47 % of this field lies in tiles in doubt (more than 20 %)')
    >>> doubt_verdict(0.031, of="this field", accept=False)
    (False, '3.1 % of this field lies in tiles in doubt')
    """
    if share <= 0:
        return False, ""
    words = f"{float(f'{100 * share:.2g}'):g} % of {of} lies in tiles in doubt"
    if share <= MOST_DOUBT or accept:
        return False, words
    return True, f"withheld: {words} (more than {100 * MOST_DOUBT:.0f} %)"
