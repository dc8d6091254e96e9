"""Copies that were mirrored, turned, cropped, framed or inverted, found by registering pairs.

Candidates are pictures that share local features (``local_features``), found in near-linear
time, and where a frozen network is at hand the nearest by its embedding: of copies equalised
locally the features of a third meet no other. Features that meet tell how one picture lies on
the other (a similarity, by RANSAC, Fischler and Bolles 1981, doi:10.1145/358669.358692), and
the pair counts only if the two, laid over each other, show the same fine structure, or its
negative. A border of one colour is no part of a picture.

docs/inputs.md has what was measured on leaf photos, fundus photographs, mammograms and chest
films: which kinds of copies are found, and the agreement of other pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from core.data.array_file import ArrayFile
from core.data.duplicates import NearPair
from core.data.facts import GREY_PX
from core.data.local_features import Features, features_of, in_reading, pairs_that_share, rooted
from core.data.reading import in_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from numpy.typing import NDArray

    from core.data.array_file import StoredArray
    from core.data.facts import Facts

    Floats = NDArray[np.float32]
    Embed = Callable[[Sequence[NDArray[np.uint8]]], Floats]

__all__ = ["MOVED", "moved_copies", "register"]

# Agreement of fine structure from which two registered pictures are one; see above.
MOVED = 0.65
# Neighbours of each image that are compared, and pairs in all, the closest first.
_NEIGHBOURS, _MOST_PAIRS = 5, 50_000
# Pictures that are kept while pairs are compared; each takes a tenth of a megabyte.
_KEPT = 256
# Images up to which all embeddings are compared with each other.
_MOST_EMBEDDED = 20_000
# Features that must agree about how one picture lies on the other, and pixels by which they may
# miss each other.
_LEAST_MET, _MISS_PX = 4, 2.5
# Times by which one may be larger, and pixels of 96 by which features may misplace it.
_MOST_SCALE, _MOST_SHIFT = 2.0, 6.0
# Share of the smaller picture that both must show.
_LEAST_OVERLAP = 0.3
# Grey levels within which 5 x 5 pixels are even, the share of a picture from which such an area
# is large, and the share of a picture that must be left beside them.
_EVEN, _LARGE, _LEAST_SEEN = 6, 0.02, 0.2
# A line at the edge that differs by less from the outermost one belongs to a border, of at most
# this share of the side.
_BORDER, _MOST_BORDER = 10, 0.35


@dataclass(frozen=True)
class _Picture:
    """Fine structure (S, S) of a picture in the middle of a square, and where it is.

    ``window`` fades to the edges of the picture; places of features are (x, y) in the square.
    """

    detail: Floats
    mask: Floats
    window: Floats
    features: Features


@dataclass(frozen=True)
class _Move:
    """How one picture is laid over another: perhaps mirrored, perhaps as a negative, by a matrix.

    ``matrix`` (2, 3) takes (x, y) of the other, mirrored where that is so, to the one.
    """

    is_mirrored: bool
    is_negative: bool
    matrix: NDArray[np.float64]


def moved_copies(
    facts: Sequence[Facts],
    *,
    known: Collection[tuple[str, str]] = (),
    workers: int = 1,
    embed: Embed | None = None,
) -> tuple[list[NearPair], bool]:
    """Pairs of images that show the same picture, mirrored, turned, cropped or framed.

    Args:
        facts: of images; those without ``grey`` are passed over.
        known: pairs found otherwise, ids in order; they are not looked at again.
        workers: threads.
        embed: pictures (H, W) -> (N, D) of length 1; its nearest are candidates as well.

    Returns:
        Pairs, ids in order, and whether all candidates were compared.
    """
    by_pixels = {entry.sha256: entry for entry in reversed(facts) if entry.grey is not None}
    kept = sorted(by_pixels.values(), key=lambda entry: entry.image_id)
    if len(kept) < 2:
        return [], True
    aside = ArrayFile()

    def described(entry: Facts) -> tuple[StoredArray, StoredArray]:
        found = _features(np.asarray(entry.grey))
        return aside.put(found.places), aside.put(found.descriptors)

    features = in_threads(described, kept, workers=workers)
    done = set(known)
    shared = pairs_that_share([descriptors for _, descriptors in features], most=_NEIGHBOURS)
    if embed is not None and len(kept) <= _MOST_EMBEDDED:
        near = _nearest(embed([np.asarray(entry.grey) for entry in kept]))
        shared = {**dict.fromkeys(near, 0), **shared}
    pairs = sorted(
        (pair for pair in shared if (kept[pair[0]].image_id, kept[pair[1]].image_id) not in done),
        key=lambda pair: (-shared[pair], pair),
    )

    @lru_cache(maxsize=_KEPT)
    def picture(at: int) -> _Picture:
        return _picture(np.asarray(kept[at].grey), Features(*map(np.asarray, features[at])))

    chosen = pairs[:_MOST_PAIRS]
    # In the order of their places, so that a picture is made about once.
    by_place = sorted(chosen)
    scores = in_threads(
        lambda pair: register(picture(pair[0]), picture(pair[1])), by_place, workers=workers
    )
    score = dict(zip(by_place, scores, strict=True))
    copies = [
        NearPair(kept[i].image_id, kept[j].image_id, round(score[i, j], 3))
        for i, j in chosen
        if score[i, j] >= MOVED
    ]
    return copies, len(chosen) == len(pairs)


def _nearest(embeddings: Floats) -> set[tuple[int, int]]:
    """Each picture with the few whose embeddings (N, D) are most alike, as places in order."""
    pairs: set[tuple[int, int]] = set()
    n = min(_NEIGHBOURS, len(embeddings) - 1)
    for start in range(0, len(embeddings), 1024):
        alike = embeddings[start : start + 1024] @ embeddings.T
        own = np.arange(len(alike))
        alike[own, own + start] = -np.inf
        for i, row in enumerate(np.argpartition(-alike, n - 1, axis=1)[:, :n], start):
            pairs.update((min(i, int(j)), max(i, int(j))) for j in row)
    return pairs


def register(one: _Picture, other: _Picture) -> float:
    """Agreement of the fine structure of two pictures, one laid over the other, up to 1."""
    best, at = 0.0, None
    for is_mirrored in (False, True):
        for is_negative in (False, True):
            move = _move(one, other, is_mirrored=is_mirrored, is_negative=is_negative)
            score = _agreement(one, other, move) if move is not None else 0.0
            if score > best:
                best, at = score, move
    if at is None or not 0.25 < best < 0.95:
        return best
    # Few features tell the turn to about 2 degrees and the scale to 3 %.
    for step in (0.03, 0.015):
        start = at
        for turn, scale in ((0, 1 - step), (0, 1 + step), (-50 * step, 1), (50 * step, 1)):
            move = _Move(at.is_mirrored, at.is_negative, _turned(start.matrix, turn, scale))
            score = _agreement(one, other, move)
            if score > best:
                best, at = score, move
    return best


def _move(one: _Picture, other: _Picture, *, is_mirrored: bool, is_negative: bool) -> _Move | None:
    """How the other lies on the one, by features that meet; None if they do not agree."""
    import cv2  # noqa: PLC0415  (0.1 s to import)

    a = one.features
    b = in_reading(other.features, side=GREY_PX, is_mirrored=is_mirrored, is_negative=is_negative)
    if min(len(a.places), len(b.places)) < _LEAST_MET:
        return None
    alike = rooted(a.descriptors) @ rooted(b.descriptors).T
    nearest = alike.argmax(axis=1)
    # Each is the other's nearest.
    met = np.flatnonzero(alike.argmax(axis=0)[nearest] == np.arange(len(nearest)))
    if len(met) < _LEAST_MET:
        return None
    matrix, agreed = cv2.estimateAffinePartial2D(
        b.places[nearest[met]],
        a.places[met],
        method=cv2.RANSAC,
        ransacReprojThreshold=_MISS_PX,
        maxIters=300,
    )
    if matrix is None or int(agreed.sum()) < _LEAST_MET:
        return None
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if not 1 / _MOST_SCALE < scale < _MOST_SCALE:
        return None
    return _Move(is_mirrored, is_negative, np.asarray(matrix, np.float64))


def _turned(matrix: NDArray[np.float64], degrees: float, scale: float) -> NDArray[np.float64]:
    """A move, turned and scaled a little more around the middle of the square."""
    import cv2  # noqa: PLC0415

    middle = (GREY_PX / 2 - 0.5, GREY_PX / 2 - 0.5)
    more = cv2.getRotationMatrix2D(middle, degrees, scale)
    return np.asarray((np.vstack([more, [0, 0, 1]]) @ np.vstack([matrix, [0, 0, 1]]))[:2])


def _agreement(one: _Picture, other: _Picture, move: _Move) -> float:
    """Correlation of the details where both pictures are, the other laid onto the one."""
    import cv2  # noqa: PLC0415

    detail, mask = other.detail, other.mask
    if move.is_mirrored:
        detail, mask = detail[:, ::-1], mask[:, ::-1]
    if move.is_negative:
        detail = -detail
    size, matrix = (GREY_PX, GREY_PX), move.matrix.copy()
    shift, _ = cv2.phaseCorrelate(
        cv2.warpAffine(detail, matrix, size) * one.window, one.detail * one.window
    )
    if max(map(abs, shift)) <= _MOST_SHIFT:
        matrix[:, 2] += np.asarray(shift)
    moved = cv2.warpAffine(detail, matrix, size)
    both = (cv2.warpAffine(mask, matrix, size) > 0.5) & (one.mask > 0.5)
    if both.sum() < _LEAST_OVERLAP * min(one.mask.sum(), other.mask.sum()):
        return 0.0
    a, b = one.detail[both], moved[both]
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum() + 1e-6))


def _features(grey: NDArray[np.uint8]) -> Features:
    """Local features of a grey picture (H, W), placed in the square; see ``_Picture``."""
    inner = _without_border(grey)
    top, left = _corner(inner)
    found = features_of(inner, where=_with_structure(inner))
    return Features(found.places + np.array([left, top], np.float32), found.descriptors)


def _picture(grey: NDArray[np.uint8], features: Features) -> _Picture:
    """What is compared of a grey picture (H, W), its longer side ``GREY_PX``."""
    import cv2  # noqa: PLC0415

    inner = _without_border(grey)
    solid = np.asarray(inner, np.float32)
    fine = solid - cv2.GaussianBlur(solid, (0, 0), 2.0)
    local = np.sqrt(cv2.GaussianBlur(fine * fine, (0, 0), 4.0))
    height, width = solid.shape
    top, left = _corner(inner)
    place = (slice(top, top + height), slice(left, left + width))
    detail, mask, window = (np.zeros((GREY_PX, GREY_PX), np.float32) for _ in range(3))
    seen = _with_structure(inner)
    # Two grey levels: below that structure is noise, and must not be blown up.
    detail[place], mask[place] = fine / (local + 2.0) * seen, seen
    window[place] = np.outer(np.hanning(height), np.hanning(width))
    return _Picture(detail, mask, window, features)


def _corner(inner: NDArray[np.uint8]) -> tuple[int, int]:
    """Top and left of a picture in the middle of the square."""
    return (GREY_PX - inner.shape[0]) // 2, (GREY_PX - inner.shape[1]) // 2


def _with_structure(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """1 where a picture (H, W) shows something, 0 in large even areas and along their edges.

    The outline of a round field of view is that of every picture of the camera.
    """
    import cv2  # noqa: PLC0415

    near = np.ones((5, 5), np.uint8)
    is_even = (cv2.dilate(grey, near) - cv2.erode(grey, near) <= _EVEN).astype(np.uint8)
    _, areas, found, _ = cv2.connectedComponentsWithStats(is_even)
    is_large = found[:, cv2.CC_STAT_AREA] >= _LARGE * grey.size
    is_large[0] = False
    seen = 1 - cv2.dilate(is_large[areas].astype(np.uint8), np.ones((9, 9), np.uint8))
    return np.asarray(seen if seen.mean() > _LEAST_SEEN else np.ones_like(grey))


def _without_border(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture without a frame or padding of one colour around it."""
    whole = grey.astype(np.int16)

    def lines(edge: NDArray[np.int16]) -> int:
        limit = int(_MOST_BORDER * len(edge))
        is_border = (np.abs(edge[:limit] - np.median(edge[0])) < _BORDER).all(axis=1)
        n = limit if is_border.all() else int(is_border.argmin())
        # The next line mixes border and picture.
        return n + 1 if n else 0

    top, bottom = lines(whole), len(whole) - lines(whole[::-1])
    left, right = lines(whole.T), whole.shape[1] - lines(whole.T[::-1])
    inner = grey[top:bottom, left:right]
    return np.ascontiguousarray(inner) if min(inner.shape) >= 8 else grey
