"""Copies that were mirrored, turned, cropped or inverted, found by registering pairs of images.

Candidates are pictures that share local features (``local_features``), found in near-linear
time. A candidate counts only if one picture, laid over the other by the turn and scale that
their spectra tell (Fourier-Mellin, Reddy and Chatterji 1996, doi:10.1109/83.506761), shows
the same fine structure, or its negative.

Of leaf photos, fundus photographs, mammograms and chest films, copies that were mirrored,
turned, cropped by 5 or 10 % of each side, or inverted agree by 0.77 to 1.00; of pairs of
different pictures the highest agreement is 0.72.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from core.data.duplicates import NearPair
from core.data.facts import GREY_PX
from core.data.local_features import descriptors_of, pairs_that_share
from core.data.reading import in_threads

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from core.data.facts import Facts

    Floats = NDArray[np.float32]

__all__ = ["MOVED", "moved_copies", "register"]

# Agreement of fine structure from which two registered pictures are one; see above.
MOVED = 0.77
# Neighbours of each image that are compared, and pairs in all, the closest first.
_NEIGHBOURS, _MOST_PAIRS = 5, 50_000
# Response of the phase correlation of two spectra below which no turn is known; copies have 0.14.
_LEAST_RESPONSE = 0.12
# Agreement from which no other turn is tried.
_SURE = 0.9
_ANGLES, _RADII = 180, 64
_MOST_SCALE, _MOST_SHIFT = 1.30, 20.0


@dataclass(frozen=True)
class _Picture:
    """Fine structure (S, S) of a picture in the middle of a square, where it is, and its spectra.

    ``window`` fades to the edges of the picture; ``turned`` is the spectrum of the mirrored one;
    ``features`` are descriptors of its local features.
    """

    detail: Floats
    mask: Floats
    window: Floats
    spectrum: Floats
    turned: Floats
    features: Floats

    def seen(self, *, mirrored: bool) -> tuple[Floats, Floats, Floats]:
        """Detail, mask and spectrum, as they are or mirrored."""
        if mirrored:
            return self.detail[:, ::-1], self.mask[:, ::-1], self.turned
        return self.detail, self.mask, self.spectrum


@dataclass(frozen=True)
class _Move:
    """How one picture is laid over another; ``sign`` is -1 for a negative, angles in degrees."""

    mirrored: bool
    sign: float
    angle: float
    scale: float


def moved_copies(
    facts: Sequence[Facts], *, known: Collection[tuple[str, str]] = (), workers: int = 1
) -> tuple[list[NearPair], bool]:
    """Pairs of images that show the same picture, mirrored, turned or cropped.

    Args:
        facts: of images; those without ``grey`` are passed over.
        known: pairs found otherwise, ids in order; they are not looked at again.
        workers: threads.

    Returns:
        Pairs, ids in order, and whether all candidates were compared.
    """
    by_pixels = {entry.sha256: entry for entry in reversed(facts) if entry.grey is not None}
    kept = sorted(by_pixels.values(), key=lambda entry: entry.image_id)
    if len(kept) < 2:
        return [], True
    pictures = in_threads(lambda e: _picture(e.grey), kept, workers=workers)
    done = set(known)
    shared = pairs_that_share([picture.features for picture in pictures], most=_NEIGHBOURS)
    pairs = sorted(
        (pair for pair in shared if (kept[pair[0]].image_id, kept[pair[1]].image_id) not in done),
        key=lambda pair: (-shared[pair], pair),
    )
    chosen = pairs[:_MOST_PAIRS]
    scores = in_threads(
        lambda pair: register(pictures[pair[0]], pictures[pair[1]]), chosen, workers=workers
    )
    copies = [
        NearPair(kept[i].image_id, kept[j].image_id, round(score, 3))
        for (i, j), score in zip(chosen, scores, strict=True)
        if score >= MOVED
    ]
    return copies, len(chosen) == len(pairs)


def register(one: _Picture, other: _Picture) -> float:
    """Agreement of the fine structure of two pictures at the best turn and scale, up to 1."""
    best, at = 0.0, _Move(False, 1.0, 0.0, 1.0)
    for mirrored in (False, True):
        turn = _turn(one.spectrum, other.seen(mirrored=mirrored)[2])
        if turn is None:
            continue
        angle, scale = turn
        for sign, half in ((1.0, 0.0), (1.0, 180.0), (-1.0, 0.0), (-1.0, 180.0)):
            for size in {1.0, scale}:
                move = _Move(mirrored, sign, angle + half, size)
                score = _agreement(one, other, move)
                if score > best:
                    best, at = score, move
        if best > _SURE:
            break
    if not 0.25 < best < 0.95:
        return best
    # The spectra tell turn and scale to about 2 degrees and 3 %.
    for step in (0.04, 0.02, 0.01):
        start = at
        for turned, size in (
            *((start.angle, start.scale * (1 + sign * step)) for sign in (-1, 1)),
            *((start.angle + sign * 50 * step, start.scale) for sign in (-1, 1)),
        ):
            move = replace(start, angle=turned, scale=size)
            score = _agreement(one, other, move)
            if score > best:
                best, at = score, move
    return best


def _turn(one: Floats, other: Floats) -> tuple[float, float] | None:
    """Degrees and scale by which one spectrum is that of the other; None if it is none."""
    import cv2  # noqa: PLC0415  (0.1 s to import)

    (dx, dy), response = cv2.phaseCorrelate(one, other)
    if response < _LEAST_RESPONSE:
        return None
    scale = float(np.exp(dx * np.log(GREY_PX / 2) / _RADII))
    is_far = not 1 / _MOST_SCALE < scale < _MOST_SCALE
    return dy * 360 / _ANGLES, 1.0 if is_far else scale


def _agreement(one: _Picture, other: _Picture, move: _Move) -> float:
    """Correlation of the details where both pictures are, the other turned onto the one."""
    import cv2  # noqa: PLC0415

    if not 1 / _MOST_SCALE < move.scale < _MOST_SCALE:
        return 0.0
    detail, mask, _ = other.seen(mirrored=move.mirrored)
    detail = detail * move.sign if move.sign < 0 else detail
    size, middle = (GREY_PX, GREY_PX), GREY_PX / 2 - 0.5
    matrix = cv2.getRotationMatrix2D((middle, middle), move.angle, move.scale)
    shift, _ = cv2.phaseCorrelate(
        cv2.warpAffine(detail, matrix, size) * one.window, one.detail * one.window
    )
    if max(map(abs, shift)) > _MOST_SHIFT:
        return 0.0
    matrix[:, 2] += np.asarray(shift)
    moved = cv2.warpAffine(detail, matrix, size)
    both = (cv2.warpAffine(mask, matrix, size) > 0.5) & (one.mask > 0.5)
    if both.sum() < 0.5 * min(one.mask.sum(), other.mask.sum()):
        return 0.0
    a, b = one.detail[both], moved[both]
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum() + 1e-6))


def _picture(grey: NDArray[Any] | None) -> _Picture:
    """What is compared of a grey picture (H, W), its longer side ``GREY_PX``."""
    import cv2  # noqa: PLC0415

    solid = np.asarray(grey, np.float32)
    fine = solid - cv2.GaussianBlur(solid, (0, 0), 2.0)
    local = np.sqrt(cv2.GaussianBlur(fine * fine, (0, 0), 4.0))
    height, width = solid.shape
    top, left = (GREY_PX - height) // 2, (GREY_PX - width) // 2
    place = (slice(top, top + height), slice(left, left + width))
    detail, mask, window = (np.zeros((GREY_PX, GREY_PX), np.float32) for _ in range(3))
    # Two grey levels: below that structure is noise, and must not be blown up.
    detail[place], mask[place] = fine / (local + 2.0), 1
    window[place] = np.outer(np.hanning(height), np.hanning(width))
    shown = detail * window
    amplitude = np.abs(np.fft.fftshift(np.fft.fft2(shown))).astype(np.float32)
    return _Picture(
        detail,
        mask,
        window,
        _log_polar(amplitude),
        _log_polar(np.abs(np.fft.fftshift(np.fft.fft2(shown[:, ::-1]))).astype(np.float32)),
        descriptors_of(np.asarray(grey)),
    )


def _log_polar(amplitude: Floats) -> Floats:
    """A spectrum by angle and logarithm of the frequency: turn and scale become shifts."""
    import cv2  # noqa: PLC0415

    centre = (GREY_PX / 2, GREY_PX / 2)
    flags = cv2.WARP_POLAR_LOG + cv2.INTER_LINEAR
    polar = cv2.warpPolar(np.log1p(amplitude), (_RADII, _ANGLES), centre, GREY_PX / 2, flags)
    return np.asarray(polar * np.hanning(_RADII).astype(np.float32))
