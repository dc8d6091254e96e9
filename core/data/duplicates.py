"""Which images are copies of each other: the same pixels, or the same picture taken again.

Candidates for near copies are pairs whose two perceptual hashes are close.
Hashes alone would call half of a well-framed data set copies (all leaves lie
alike, all retinas are round), so a candidate counts only if its fine detail
agrees as well, at the best shift of a few pixels. On 1,433 leaf photos and 878
retinal photos (BRACOL and EyePACS subsets) the pairs seen to show the same
leaf or eye score 0.74 to 0.97, and the highest score of any other pair is 0.58;
of 322 mammograms (mini-MIAS) without copies the highest is 0.58 as well.
Mirrored or turned copies are the business of ``moved_copies``.

Images with a side below 40 px have no fine detail that a hash could tell apart: there
the pixels themselves are compared. Of 780 films of 28 px (BreastMNIST) 28 of 156 test films
have a twin elsewhere by this, as their card says; by hashes all were copies of each other.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from core.data.facts import DETAIL_PX, TINY_PX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from core.data.facts import Facts

__all__ = ["NEAR", "NearPair", "exact_copies", "is_tiny", "near_copies", "of_whole_files"]

# Agreement of fine detail from which two images count as copies; see above.
NEAR = 0.65

# Correlation of the pixels from which two tiny images count as copies.
TINY_NEAR = 0.995

# Bits of 64 by which the hashes of candidates may differ. All pairs that are
# copies in the sets named above lie below 8; there is room for a crop.
_PHASH_BITS = 11
_DHASH_BITS = 16

# Parts of a hash that is looked up, and bits by which a part may differ: of hashes that differ
# by at most 11 bits, one of four parts differs by at most 2 (multi-index hashing, Norouzi, Punjani
# and Fleet 2014, doi:10.1109/TPAMI.2013.231), so nothing is missed.
_PARTS, _PART_BITS = 4, 2
# Pairs that are held at a time.
_AT_ONCE = 5_000_000

# Pixels of 64 by which one image may be shifted against the other.
_SHIFT_PX = 5

# Candidates that are compared in detail, the closest first; 50 microseconds each.
_MOST_CANDIDATES = 300_000

_BLOCK = 2048
# Pairs of which the details are compared at a time.
_PAIRS = 256
# Files that share a part up to which it may say that they are copies.
_MOST_FILES = 50


@dataclass(frozen=True)
class NearPair:
    """Two images that show the same; ``agreement`` is that of the fine detail, up to 1."""

    first: str
    second: str
    agreement: float


def exact_copies(facts: Sequence[Facts]) -> list[list[str]]:
    """Sets of images with equal pixels, whatever their files; ids sorted."""
    same: dict[str, list[str]] = defaultdict(list)
    for entry in facts:
        if not entry.reason:
            same[entry.sha256].append(entry.image_id)
    return sorted(sorted(ids) for ids in same.values() if len(ids) > 1)


def near_copies(facts: Sequence[Facts]) -> tuple[list[NearPair], bool]:
    """Pairs that show the same without being equal, and whether all candidates were compared.

    Hashes are looked up by their parts, so that the work grows with the number of images:
    200,000 take seconds. Of images with equal pixels one stands for all.
    """
    tiny = [entry for entry in facts if is_tiny(entry)]
    large = [entry for entry in facts if not is_tiny(entry)]
    by_pixels = {entry.sha256: entry for entry in reversed(large) if entry.detail is not None}
    small = _tiny_copies(tiny)
    kept = sorted(by_pixels.values(), key=lambda entry: entry.image_id)
    if len(kept) < 2:
        return small, True
    first, second, is_complete = _candidates(
        np.array([entry.phash for entry in kept], dtype=np.uint64),
        np.array([entry.dhash for entry in kept], dtype=np.uint64),
    )
    details = [entry.detail for entry in kept if entry.detail is not None]
    pairs = small
    for start in range(0, len(first), _PAIRS):
        chosen = slice(start, start + _PAIRS)
        score = _agreement(details, first[chosen], second[chosen])
        for i in np.flatnonzero(score >= NEAR):
            a, b = sorted((kept[first[start + i]].image_id, kept[second[start + i]].image_id))
            pairs.append(NearPair(a, b, round(float(score[i]), 3)))
    return sorted(pairs, key=lambda pair: (-pair.agreement, pair.first, pair.second)), is_complete


def of_whole_files(
    exact: Sequence[Sequence[str]], near: Sequence[NearPair], file: Mapping[str, str]
) -> tuple[list[list[str]], list[NearPair]]:
    """The copies that are copies of files, where images are parts of files.

    Tiles of a raster and slices of a volume may look like those of another, as what is empty
    does; that makes no copy of it. A file is a copy of another if half of its parts are.

    Args:
        exact: sets of images with equal pixels.
        near: pairs that show the same.
        file: image_id -> the file that it is, or is a part of.
    """
    parts = Counter(file.values())
    if max(parts.values(), default=1) == 1:
        return [list(ids) for ids in exact], list(near)
    # What is the same in many files is a background.
    sets = [
        ids
        for ids in exact
        if len({file[name] for name in ids}) <= _MOST_FILES
        or all(parts[file[name]] == 1 for name in ids)
    ]
    same_pixels = [pair for ids in sets for pair in combinations(ids, 2)]
    shared: dict[tuple[str, str], set[str]] = defaultdict(set)
    for first, second in [*same_pixels, *((pair.first, pair.second) for pair in near)]:
        shared[file[first], file[second]].add(first)
        shared[file[second], file[first]].add(second)

    def is_copy(first: str, second: str) -> bool:
        a, b = file[first], file[second]
        return a != b and (2 * len(shared[a, b]) >= parts[a] or 2 * len(shared[b, a]) >= parts[b])

    kept = []
    for ids in sets:
        left = list(ids)
        while left:
            first = left.pop(0)
            same = [name for name in left if is_copy(first, name)]
            left = [name for name in left if name not in same]
            if same:
                kept.append([first, *same])
    return kept, [pair for pair in near if is_copy(pair.first, pair.second)]


def is_tiny(entry: Facts) -> bool:
    """Whether an image is too small to have fine detail."""
    return not entry.reason and 0 < min(entry.height, entry.width) < TINY_PX


def _tiny_copies(facts: Sequence[Facts]) -> list[NearPair]:
    """Pairs of tiny images of one size whose pixels correlate."""
    pairs = []
    for size in sorted({(entry.height, entry.width) for entry in facts}):
        same = {e.sha256: e for e in reversed(facts) if (e.height, e.width) == size}
        kept = sorted(same.values(), key=lambda entry: entry.image_id)
        flat = np.array([np.asarray(e.grey, np.float32).ravel() for e in kept])
        flat -= flat.mean(axis=1, keepdims=True)
        flat /= np.linalg.norm(flat, axis=1, keepdims=True) + 1e-6
        for start in range(0, len(kept), _BLOCK):
            alike = flat[start : start + _BLOCK] @ flat[start:].T
            rows, cols = np.nonzero(np.triu(alike, 1) >= TINY_NEAR)
            pairs += [
                NearPair(
                    kept[start + i].image_id,
                    kept[start + j].image_id,
                    round(float(alike[i, j]), 3),
                )
                for i, j in zip(rows, cols, strict=True)
            ]
    return pairs


def _candidates(
    phash: NDArray[np.uint64], dhash: NDArray[np.uint64]
) -> tuple[NDArray[np.int_], NDArray[np.int_], bool]:
    """Pairs with close hashes, and whether these are all; the closest if there are too many."""
    found = np.zeros((3, 0), dtype=np.int32)
    is_complete = True
    for first, second in _close(phash):
        bits = np.bitwise_count(phash[first] ^ phash[second]).astype(np.int32)
        other = np.bitwise_count(dhash[first] ^ dhash[second])
        is_close = (bits <= _PHASH_BITS) & (other <= _DHASH_BITS)
        new = np.stack([first, second, bits + other])[:, is_close].astype(np.int32)
        # A pair may meet in several parts.
        found = np.unique(np.concatenate([found, new], axis=1), axis=1) if new.size else found
        if found.shape[1] > _MOST_CANDIDATES:
            found = found[:, np.argsort(found[2], kind="stable")[:_MOST_CANDIDATES]]
            is_complete = False
    return found[0].astype(np.int_), found[1].astype(np.int_), is_complete


def _close(
    hashes: NDArray[np.uint64],
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs of places, the lower first, whose hashes may differ by at most ``_PHASH_BITS``.

    A few hashes are compared with all others; many are looked up by their parts.
    """
    n = len(hashes)
    if n <= _BLOCK:
        rows, cols = np.triu_indices(n, 1)
        yield rows.astype(np.int64), cols.astype(np.int64)
        return
    width = 64 // _PARTS
    masks = [
        sum(1 << bit for bit in at)
        for k in range(_PART_BITS + 1)
        for at in combinations(range(width), k)
    ]
    for part in range(_PARTS):
        keys = ((hashes >> np.uint64(part * width)) & np.uint64((1 << width) - 1)).astype(np.int64)
        order = np.argsort(keys, kind="stable")
        ends = np.cumsum(np.bincount(keys, minlength=1 << width))
        starts = ends - np.bincount(keys, minlength=1 << width)
        for mask in masks:
            wanted = keys ^ mask
            # Of two unlike parts the lower one asks, so that a pair meets once.
            asking = np.flatnonzero(wanted > keys) if mask else np.arange(n)
            begin = starts[wanted[asking]]
            count = ends[wanted[asking]] - begin
            for batch in _batches(count):
                n_each = count[batch]
                first = np.repeat(asking[batch], n_each)
                shift = np.repeat(begin[batch] - np.cumsum(n_each) + n_each, n_each)
                second = order[np.arange(len(first)) + shift]
                near = np.flatnonzero(
                    np.bitwise_count(hashes[first] ^ hashes[second]) <= _PHASH_BITS
                )
                low, high = np.sort([first[near], second[near]], axis=0)
                yield low[low < high], high[low < high]


def _batches(count: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Places whose counts together stay within memory, some millions of pairs."""
    ends = np.cumsum(count)
    start, done = 0, 0
    while start < len(count):
        stop = max(start + 1, int(np.searchsorted(ends, done + _AT_ONCE, "right")))
        yield np.arange(start, stop)
        start, done = stop, int(ends[stop - 1])


def _agreement(
    details: Sequence[ArrayLike], first: NDArray[np.int_], second: NDArray[np.int_]
) -> NDArray[np.float64]:
    """Correlation of the details of each pair (N,), at the best shift of a few pixels."""
    asked, at = np.unique(np.concatenate([first, second]), return_inverse=True)
    maps = np.stack([np.asarray(details[i], np.float32) for i in asked])
    # The window lets a shift move the picture without its edges counting.
    window = np.hanning(DETAIL_PX).astype(np.float32)
    maps = (maps - maps.mean(axis=(1, 2), keepdims=True)) * np.outer(window, window)
    norm = np.linalg.norm(maps, axis=(1, 2), keepdims=True)
    spectra = np.fft.rfft2(maps / np.where(norm > 0, norm, 1)).astype(np.complex64)
    one, two = spectra[at[: len(first)]], spectra[at[len(first) :]]
    surface = np.fft.irfft2(one * two.conj(), s=(DETAIL_PX, DETAIL_PX))
    near = np.r_[0 : _SHIFT_PX + 1, -_SHIFT_PX:0]
    return np.asarray(surface[:, near][:, :, near].max(axis=(1, 2)))
