"""Pairs of pictures that share parts, wherever these lie: candidates for copies and crops.

Local features (SIFT, Lowe 2004, doi:10.1023/B:VISI.0000029664.99615.94) of a picture are
looked up among those of all others by locality-sensitive hashing, and the pictures that
share most are candidates. A mirrored or inverted picture has the same features in another
order, so nothing is computed twice. The work grows with the number of pictures, not with
that of pairs, and has no chance in it: the same pictures give the same candidates.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    Descriptors = NDArray[np.uint8]

__all__ = ["Features", "features_of", "in_reading", "pairs_that_share", "rooted"]

# Features of a picture, the strongest first, and the times its sides are enlarged for them.
_FEATURES, _ENLARGED = 48, 2
# Cells of a side of the picture, and features of one cell.
_CELLS, _OF_CELL = 4, 5
# Tables of hashes and bits of each. More bits for more features, so that buckets stay small.
_TABLES, _LEAST_BITS = 8, 14
# Features in a bucket from which it says nothing: an edge, a corner of the frame.
_COMMON = 60
# Times, in all tables, that features of one picture meet another from which the two share parts.
_LEAST_SHARED = 2
# A pair ``low * n + high`` and how often its pictures meet, below this, are one whole number.
_TIMES = 4_096
# Pictures that are looked up at a time, and of each so many others at most, the most alike.
_BLOCK, _MOST_MET = 256, 50


@dataclass(frozen=True)
class Features:
    """Local features: places (N, 2) as x and y in pixels, descriptors (N, 128), see ``rooted``."""

    places: NDArray[np.float32]
    descriptors: Descriptors


def features_of(grey: NDArray[np.uint8], *, where: NDArray[np.uint8]) -> Features:
    """The strongest local features of a grey picture (H, W), where ``where`` is not 0."""
    import cv2  # noqa: PLC0415  (0.1 s to import)

    size = (grey.shape[1] * _ENLARGED, grey.shape[0] * _ENLARGED)
    large = cv2.resize(grey, size, interpolation=cv2.INTER_CUBIC)
    finder = cv2.SIFT.create(contrastThreshold=0.01)
    allowed = cv2.resize(where, size, interpolation=cv2.INTER_NEAREST) * 255
    spread = _spread(finder.detect(large, allowed), *size)
    points, found = finder.compute(large, spread) if spread else ([], None)
    if found is None or not len(found):
        return Features(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8))
    places = np.array([point.pt for point in points], np.float32)
    # The middle of a pixel of the enlarged picture, in pixels of the picture.
    placed = ((places + 0.5) / _ENLARGED - 0.5).astype(np.float32)
    # The values of the library are whole numbers up to 255.
    return Features(placed, np.asarray(found).astype(np.uint8))


def rooted(found: Descriptors) -> NDArray[np.float32]:
    """Descriptors (N, 128) of length 1 by which features are compared.

    Square roots make the largest gradients count less (RootSIFT, Arandjelovic and Zisserman
    2012, doi:10.1109/CVPR.2012.6248018).
    """
    kept = found.astype(np.float32)
    return np.asarray(np.sqrt(kept / (kept.sum(axis=1, keepdims=True) + 1e-6)), np.float32)


def _spread(points: Sequence[Any], width: int, height: int) -> list[Any]:
    """The strongest points, so many of each cell of the picture at most: text on it has many."""
    taken: Counter[tuple[int, int]] = Counter()
    kept = []
    for point in sorted(points, key=lambda point: (-point.response, point.pt, point.angle)):
        cell = int(point.pt[0] * _CELLS / width), int(point.pt[1] * _CELLS / height)
        taken[cell] += 1
        if taken[cell] <= _OF_CELL:
            kept.append(point)
    return kept[:_FEATURES]


def in_reading(found: Features, *, side: int, is_mirrored: bool, is_negative: bool) -> Features:
    """Features as the mirrored picture, or its negative, would have them.

    Args:
        found: of a picture in a square.
        side: of the square, in pixels.
        is_mirrored: left and right change places.
        is_negative: dark and bright do.
    """
    places, descriptors = found.places, found.descriptors
    if is_mirrored:
        places = np.stack([side - 1 - places[:, 0], places[:, 1]], axis=1)
        descriptors = _mirrored(descriptors)
    if is_negative:
        descriptors = _inverted(descriptors)
    return Features(places, descriptors)


def pairs_that_share(pictures: Sequence[ArrayLike], *, most: int) -> dict[tuple[int, int], int]:
    """Pairs of pictures, as places in the list, and how many features they share.

    What is held beside the pairs is 8 bytes of each feature in each table.

    Args:
        pictures: descriptors of each, (N, 128); read in blocks.
        most: pairs that are kept of each picture, those that share most.
    """
    index = _Index(pictures)
    if not len(index.owner):
        return {}
    readings = (_as_it_is, _mirrored, _inverted, lambda found: _inverted(_mirrored(found)))
    met: list[list[NDArray[np.int64]]] = [[] for _ in readings]
    for start, block in _blocks(pictures):
        for found, reading in zip(met, readings, strict=True):
            found.append(index.met(block, start, reading))
    # One reading is the true one: its features are counted alone.
    return _strongest(_most_of([_summed(found) for found in met]), len(pictures), most)


def _blocks(pictures: Sequence[ArrayLike]) -> Iterator[tuple[int, list[Descriptors]]]:
    """Descriptors of some pictures at a time, from which place on, so that memory holds no more."""
    for start in range(0, len(pictures), _BLOCK):
        yield start, [np.asarray(found, np.uint8) for found in pictures[start : start + _BLOCK]]


class _Index:
    """Features of all pictures by locality-sensitive hashes: on which side of planes they lie.

    Attributes:
        owner: the picture of each feature.
    """

    def __init__(self, pictures: Sequence[ArrayLike]) -> None:
        sizes, total = [], np.zeros(128)
        for _, block in _blocks(pictures):
            sizes += [len(found) for found in block]
            total += rooted(np.concatenate(block)).sum(axis=0, dtype=np.float64)
        self.owner = np.repeat(np.arange(len(pictures), dtype=np.int32), sizes)
        self.n = len(pictures)
        n = max(1, len(self.owner))
        # What all descriptors have in common says nothing.
        self.middle = (total / n).astype(np.float32)
        bits = min(31, max(_LEAST_BITS, int(np.log2(n)) + 1))
        self.planes = [
            np.random.default_rng(table).standard_normal((128, bits)).astype(np.float32)
            for table in range(_TABLES)
        ]
        self.weights = 1 << np.arange(bits, dtype=np.int32)
        keys = np.empty((_TABLES, len(self.owner)), np.int32)
        at = 0
        for _, block in _blocks(pictures):
            n_block = sum(map(len, block))
            keys[:, at : at + n_block] = self._keys(np.concatenate(block))
            at += n_block
        self.tables = []
        for table in keys:
            order = np.argsort(table, kind="stable").astype(np.int32)
            table[:] = table[order]
            self.tables.append((table, order))

    def _keys(self, found: Descriptors) -> NDArray[np.int32]:
        """The hashes (tables, N) of descriptors (N, 128)."""
        centred = rooted(found) - self.middle
        return np.array([(centred @ planes > 0) @ self.weights for planes in self.planes])

    def met(
        self,
        block: Sequence[Descriptors],
        start: int,
        reading: Callable[[Descriptors], Descriptors],
    ) -> NDArray[np.int64]:
        """Which other pictures have features of a block's, and how many in all tables.

        Args:
            block: descriptors of pictures.
            start: place of the first of them.
            reading: how they are asked for.

        Returns:
            Packed pairs, see ``_TIMES``: those that share most of each asking picture.
        """
        owner = np.repeat(np.arange(start, start + len(block)), [len(found) for found in block])
        votes = []
        for wanted, (keys, order) in zip(
            self._keys(reading(np.concatenate(block))), self.tables, strict=True
        ):
            first = np.searchsorted(keys, wanted, "left")
            count = np.searchsorted(keys, wanted, "right") - first
            count[count > _COMMON] = 0
            rows = np.repeat(np.arange(len(count)), count)
            place = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
            # A feature of one picture that meets several of another counts once.
            once = np.unique(rows * self.n + self.owner[order[first[rows] + place]])
            votes.append(owner[once // self.n] * self.n + once % self.n)
        pairs, times = np.unique(np.concatenate(votes), return_counts=True)
        one, other = pairs // self.n, pairs % self.n
        chosen = np.flatnonzero((one != other) & (times >= _LEAST_SHARED))
        by_picture = chosen[np.lexsort((other[chosen], -times[chosen], one[chosen]))]
        asking = one[by_picture]
        rank = np.arange(len(asking)) - np.searchsorted(asking, asking, "left")
        kept = by_picture[rank < _MOST_MET]
        one, other = one[kept], other[kept]
        pair = np.minimum(one, other) * self.n + np.maximum(one, other)
        return np.asarray(pair * _TIMES + times[kept])


def _summed(met: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Packed pairs, each once, with how often the two meet each other; empties the list."""
    packed = np.concatenate(met)
    met.clear()
    packed.sort()
    pair, times = np.divmod(packed, _TIMES)
    first = np.flatnonzero(np.diff(pair, prepend=-1))
    return np.asarray(pair[first] * _TIMES + np.add.reduceat(times, first))


def _most_of(found: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Each packed pair once, with the most that it shares in one of the readings."""
    packed = np.concatenate(found)
    packed.sort()
    return np.asarray(packed[np.diff(packed // _TIMES, append=-1) != 0])


def _strongest(packed: NDArray[np.int64], n: int, most: int) -> dict[tuple[int, int], int]:
    """The pairs, of n pictures, that are among the strongest of one of their pictures."""
    taken: Counter[int] = Counter()
    kept: dict[tuple[int, int], int] = {}
    for one in packed[np.argsort(-(packed % _TIMES), kind="stable")]:
        pair, times = divmod(int(one), _TIMES)
        both = divmod(pair, n)
        if min(taken[picture] for picture in both) < most:
            kept[both] = times
            taken.update(both)
    return kept


def _as_it_is(found: Descriptors) -> Descriptors:
    """Descriptors of the picture itself."""
    return found


def _mirrored(found: Descriptors) -> Descriptors:
    """Descriptors of the mirrored picture: cells across and directions the other way round."""
    cells = found.reshape(-1, 4, 4, 8)
    return cells[:, ::-1][..., (-np.arange(8)) % 8].reshape(-1, 128)


def _inverted(found: Descriptors) -> Descriptors:
    """Descriptors of the negative: every gradient turns by 180 degrees, and the cells with it."""
    cells = found.reshape(-1, 4, 4, 8)
    return cells[:, ::-1, ::-1].reshape(-1, 128)
