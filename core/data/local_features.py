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
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Descriptors = NDArray[np.float32]

__all__ = ["Features", "features_of", "in_reading", "pairs_that_share"]

# Features of a picture, the strongest first, and the times its sides are enlarged for them.
_FEATURES, _ENLARGED = 48, 2
# Cells of a side of the picture, and features of one cell.
_CELLS, _OF_CELL = 4, 5
# Tables of hashes and bits of each. More bits for more features, so that buckets stay small.
_TABLES, _LEAST_BITS = 8, 14
# Features in a bucket from which it says nothing: an edge, a corner of the frame.
_COMMON = 60
_LEAST_SHARED = 3


@dataclass(frozen=True)
class Features:
    """Local features: places (N, 2) as x and y in pixels, descriptors (N, 128) of length 1."""

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
        return Features(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32))
    # Square roots make the largest gradients count less (RootSIFT).
    kept = np.asarray(found, np.float32)
    descriptors = np.sqrt(kept / (kept.sum(axis=1, keepdims=True) + 1e-6)).astype(np.float32)
    places = np.array([point.pt for point in points], np.float32)
    # The middle of a pixel of the enlarged picture, in pixels of the picture.
    placed = ((places + 0.5) / _ENLARGED - 0.5).astype(np.float32)
    return Features(placed, np.asarray(descriptors))


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


def pairs_that_share(pictures: Sequence[Descriptors], *, most: int) -> dict[tuple[int, int], int]:
    """Pairs of pictures, as places in the list, and how many features they share.

    Args:
        pictures: descriptors of each.
        most: pairs that are kept of each picture, those that share most.
    """
    owner = np.repeat(np.arange(len(pictures)), [len(found) for found in pictures])
    if not len(owner):
        return {}
    plain = np.concatenate(list(pictures))
    asked = [plain, _mirrored(plain), _inverted(plain), _inverted(_mirrored(plain))]
    bits = max(_LEAST_BITS, int(np.log2(len(owner))) + 1)
    middle = plain.mean(axis=0)
    planes = [
        np.random.default_rng(table).standard_normal((128, bits)).astype(np.float32)
        for table in range(_TABLES)
    ]
    keys = [_key(plain - middle, each) for each in planes]
    orders = [np.argsort(key, kind="stable") for key in keys]
    n = len(pictures)
    shared: dict[tuple[int, int], int] = {}
    for variant in asked:
        votes = [
            _met(owner, key[order], order, _key(variant - middle, plane), n)
            for key, order, plane in zip(keys, orders, planes, strict=True)
        ]
        pairs, times = np.unique(np.concatenate(votes), return_counts=True)
        is_shared = times >= _LEAST_SHARED
        for pair, count in zip(pairs[is_shared], times[is_shared], strict=True):
            both = (int(pair) // n, int(pair) % n)
            # One variant is the true one: its features are counted alone.
            shared[both] = max(shared.get(both, 0), int(count))
    return _strongest(shared, most)


def _key(found: Descriptors, planes: Descriptors) -> NDArray[np.int64]:
    """The hash of each descriptor: on which side of each plane it lies."""
    bits = np.asarray(found @ planes > 0)
    return np.asarray(bits @ (1 << np.arange(planes.shape[1], dtype=np.int64)))


def _met(
    owner: NDArray[np.int64],
    keys: NDArray[np.int64],
    order: NDArray[np.int64],
    wanted: NDArray[np.int64],
    n: int,
) -> NDArray[np.int64]:
    """Pairs of pictures ``a * n + b``, once for each feature of one that the other has.

    Args:
        owner: picture of each feature.
        keys: hashes in rising order.
        order: feature of each of these.
        wanted: hash of each feature as it is asked for.
        n: number of pictures.
    """
    first = np.searchsorted(keys, wanted, "left")
    count = np.searchsorted(keys, wanted, "right") - first
    count[count > _COMMON] = 0
    rows = np.repeat(np.arange(len(owner)), count)
    place = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
    # A feature of one picture that meets several of another counts once.
    once = np.unique(rows * n + owner[order[first[rows] + place]])
    a, b = owner[once // n], once % n
    return np.asarray((np.minimum(a, b) * n + np.maximum(a, b))[a != b])


def _strongest(shared: dict[tuple[int, int], int], most: int) -> dict[tuple[int, int], int]:
    """The pairs that are among the strongest of one of their pictures."""
    taken: dict[int, int] = {}
    kept: dict[tuple[int, int], int] = {}
    for pair in sorted(shared, key=lambda pair: (-shared[pair], pair)):
        if any(taken.get(picture, 0) < most for picture in pair):
            kept[pair] = shared[pair]
            for picture in pair:
                taken[picture] = taken.get(picture, 0) + 1
    return kept


def _mirrored(found: Descriptors) -> Descriptors:
    """Descriptors of the mirrored picture: cells across and directions the other way round."""
    cells = found.reshape(-1, 4, 4, 8)
    return cells[:, ::-1][..., (-np.arange(8)) % 8].reshape(-1, 128)


def _inverted(found: Descriptors) -> Descriptors:
    """Descriptors of the negative: every gradient turns by 180 degrees, and the cells with it."""
    cells = found.reshape(-1, 4, 4, 8)
    return cells[:, ::-1, ::-1].reshape(-1, 128)
