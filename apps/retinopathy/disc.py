"""Where the retina is in a fundus photograph: a circle, and the rule that found it.

A fundus camera sees through a round field stop, so the lit part of a photograph
is a disc, often cut by the frame or by a mask of the film holder, sometimes with
a notch. The edge of the lit region is taken at several brightnesses; three
random points of it make a circle, and the circle that most of the edge agrees
with wins, so that notches, flash artefacts and cut sides do not matter.

    rule      what was seen                                         radius is
    circle    the edge of a whole disc                              that circle's
    cut       arcs of a disc whose other parts are cut off          that circle's
    outline   a lit region with a dark surround, but not round      half its longer side
    frame     no dark surround: the retina fills the frame          half the longer side

The last two are fall-backs and only say where to look, not how large an eye is.
This module judges neither quality nor whether it is an eye at all. Pixel
coordinates are (row, col), zero-based, at pixel centres.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from core.data.resizing import shrunk

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FALLBACKS", "Disc", "brightest", "find_disc", "to_eight_bits"]

FALLBACKS = ("outline", "frame")

# The search runs where the longer side has this many pixels: the edge of the
# field stop is sharp there and a search takes a few milliseconds.
SEARCH_PX = 320
# 8-bit steps above the dark surround at which the edge is looked for, lowest
# first: a low step follows the edge of a dim retina, a high one ignores stray light.
STEPS = (6.0, 10.0, 16.0, 24.0, 36.0, 52.0)
# A picture whose darkest corners are brighter than this has no dark surround.
# Scanned film and lossy compression lift black to about 30.
DARK_CORNER = 48.0
# Share of the visible edge that must lie on the circle.
LEAST_SUPPORT = 0.6
# From this share on higher brightnesses are not tried any more.
CLEAR_SUPPORT = 0.9
# Share of the whole circumference that must be seen at all: 5 % are the four
# corners left over when a disc is cut to a square just inside of it.
LEAST_ARC = 0.05
# A disc is called whole when this share of its circumference is on its edge.
WHOLE_ARC = 0.9
# Distance from the circle, as a share of its radius, within which an edge point agrees.
TOLERANCE = 0.012
# Radius over the longer side of the picture. The smallest disc of a photograph
# that anybody grades fills a third of it; the largest is cut on all sides.
RADIUS_RANGE = (0.12, 0.95)
# The circumference is looked at in this many sectors.
SECTORS = 180
# Circles tried, and edge points that vote for one. Of a disc cut on four sides a third of the
# edge is round: one trial in thirty then has its three points there.
TRIALS, POINTS = 1000, 300
# Circles looked at closely; two are alike when centre and radius differ by less than this
# share of the longer side.
CANDIDATES, ALIKE = 4, 0.03


@dataclass(frozen=True)
class Disc:
    """The circle of the retina, in pixels of the picture.

    Attributes:
        row, col: centre; may lie outside of the picture.
        radius: in pixels.
        rule: ``circle``, ``cut``, ``outline`` or ``frame``.
        arc: share of the circumference seen as an edge, in [0, 1].
        support: share of the edge that could be seen which lies on the circle.
        inside: share of the circle's area that is in the picture and lit.
    """

    row: float
    col: float
    radius: float
    rule: str
    arc: float
    support: float
    inside: float


def find_disc(image: NDArray[Any]) -> Disc:
    """The disc of the retina, or the best stand-in for it; never fails.

    Args:
        image: (H, W, C) of any integer or float dtype.
    """
    pixels = to_eight_bits(image)
    height, width = pixels.shape[:2]
    # The red of a dim retina is all there is of it, so the brightest channel counts.
    light = cv2.GaussianBlur(brightest(shrunk(pixels, SEARCH_PX)), (3, 3), 0)
    found = _search(np.asarray(light, np.uint8))
    # Centres of pixels: (r + 0.5) / scale - 0.5.
    by_row, by_col = height / light.shape[0], width / light.shape[1]
    return Disc(
        row=(found.row + 0.5) * by_row - 0.5,
        col=(found.col + 0.5) * by_col - 0.5,
        radius=found.radius * (by_row + by_col) / 2,
        rule=found.rule,
        arc=found.arc,
        support=found.support,
        inside=found.inside,
    )


def to_eight_bits(image: NDArray[Any]) -> NDArray[np.uint8]:
    """The same picture in 8-bit steps; floats are taken to lie in [0, 1].

    >>> to_eight_bits(np.array([[[65535]]], np.uint16))[0, 0].tolist()
    [255]
    """
    if image.dtype == np.uint8:
        return image
    if image.dtype == np.uint16:
        # 65535 / 255 = 257 exactly.
        return np.asarray((image.astype(np.uint32) + 128) // 257, np.uint8)
    return np.asarray(np.clip(np.nan_to_num(image) * 255.0, 0, 255).round(), np.uint8)


def brightest(pixels: NDArray[Any]) -> NDArray[Any]:
    """The brightest channel (H, W) of (H, W, C); a maximum over a last axis of three is slow.

    >>> brightest(np.array([[[3, 9, 5]]], np.uint8)).tolist()
    [[9]]
    """
    return reduce(np.maximum, (pixels[..., channel] for channel in range(pixels.shape[-1])))


def _search(light: NDArray[np.uint8]) -> Disc:
    """The disc in a small picture of brightness (H, W)."""
    dark = _surround(light)
    best: Disc | None = None
    regions: list[NDArray[np.bool_]] = []
    if dark <= DARK_CORNER:
        for step in STEPS:
            mask = _largest(light > dark + step)
            if mask is None:
                break
            regions.append(mask)
            found = _fit(mask)
            if found is None:
                continue
            if found.support >= LEAST_SUPPORT and (best is None or found.arc > best.arc + 0.05):
                best = found
            if found.support >= CLEAR_SUPPORT:
                break
    if best is not None:
        return best
    return _fallback(light, regions)


def _surround(light: NDArray[np.uint8]) -> float:
    """Brightness of the dark surround: the second darkest corner, for one may hold a label."""
    reach = max(2, round(0.02 * min(light.shape)))
    corners = [
        light[r, c]
        for r in (slice(reach), slice(-reach, None))
        for c in (slice(reach), slice(-reach, None))
    ]
    return float(sorted(np.median(corner) for corner in corners)[1])


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """The largest connected region, without threads and with its holes filled; None if tiny."""
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    outlines, _ = cv2.findContours(opened, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not outlines:
        return None
    largest = max(outlines, key=cv2.contourArea)
    if cv2.contourArea(largest) < 0.02 * mask.size:
        return None
    filled = np.zeros(mask.shape, np.uint8)
    cv2.drawContours(filled, [largest], -1, 1, cv2.FILLED)
    return filled.astype(bool)


def _fit(mask: NDArray[np.bool_]) -> Disc | None:
    """The circle most of the region's edge agrees with; None if there is no edge to speak of."""
    height, width = mask.shape
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    points = np.concatenate([outline[:, 0, ::-1] for outline in outlines]).astype(np.float64)
    # Where the region meets the frame there is no edge of the field stop.
    inner = (
        (points[:, 0] > 1)
        & (points[:, 1] > 1)
        & (points[:, 0] < height - 2)
        & (points[:, 1] < width - 2)
    )
    points = points[inner]
    if len(points) < 12:
        return None
    circles = _candidates(points, max(height, width))
    measured = [_measure(mask, points, *circle) for circle in circles]
    fitting = [disc for disc in measured if disc is not None]
    return max(fitting, key=lambda disc: disc.arc * disc.support, default=None)


def _candidates(points: NDArray[np.float64], longer: int) -> list[tuple[float, float, float]]:
    """Centre and radius of the circles that most edge points agree with, unlike each other."""
    # Drawn anew from one seed for every picture: the same picture, the same disc.
    rng = np.random.default_rng(0)
    voters = points[:: -(-len(points) // POINTS)]
    three = voters[rng.integers(0, len(voters), (TRIALS, 3))]
    a, b, c = three[:, 0], three[:, 1], three[:, 2]
    ab, ac = b - a, c - a
    cross = 2 * (ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0])
    apart = np.abs(cross) > 1e-6
    ab, ac, a, cross = ab[apart], ac[apart], a[apart], cross[apart]
    ab2, ac2 = (ab**2).sum(1), (ac**2).sum(1)
    centre = a + np.stack(
        [(ac[:, 1] * ab2 - ab[:, 1] * ac2) / cross, (ab[:, 0] * ac2 - ac[:, 0] * ab2) / cross], 1
    )
    radius = np.hypot(*(a - centre).T)
    fits = (radius > RADIUS_RANGE[0] * longer) & (radius < RADIUS_RANGE[1] * longer)
    centre, radius = centre[fits], radius[fits]
    distance = np.hypot(
        voters[None, :, 0] - centre[:, None, 0], voters[None, :, 1] - centre[:, None, 1]
    )
    near = np.abs(distance - radius[:, None]) < np.maximum(1.0, TOLERANCE * radius)[:, None]
    circles = np.column_stack([centre, radius])
    order = np.argsort(-near.sum(1), kind="stable")
    chosen: list[tuple[float, float, float]] = []
    taken = np.zeros(len(circles), bool)
    for best in order:
        if taken[best]:
            continue
        taken |= np.abs(circles - circles[best]).max(axis=1) < ALIKE * longer
        refined = _refined(points, *(float(value) for value in circles[best]))
        if RADIUS_RANGE[0] * longer < refined[2] < RADIUS_RANGE[1] * longer:
            chosen.append(refined)
        if len(chosen) == CANDIDATES:
            break
    return chosen


def _refined(
    points: NDArray[np.float64], row: float, col: float, radius: float
) -> tuple[float, float, float]:
    """The circle fitted to all points near it."""
    for _ in range(3):
        distance = np.abs(np.hypot(points[:, 0] - row, points[:, 1] - col) - radius)
        agreeing = points[distance < max(1.2, 1.5 * TOLERANCE * radius)]
        if len(agreeing) < 8:
            break
        row, col, radius = _least_squares(agreeing)
    return row, col, radius


def _least_squares(points: NDArray[np.float64]) -> tuple[float, float, float]:
    """The circle through points, by the linear fit of Kasa (1976)."""
    middle = points.mean(axis=0)
    moved = points - middle
    design = np.column_stack([2 * moved, np.ones(len(moved))])
    (row, col, rest), *_ = np.linalg.lstsq(design, (moved**2).sum(1), rcond=None)
    radius = float(np.sqrt(max(rest + row**2 + col**2, 1e-9)))
    return float(row + middle[0]), float(col + middle[1]), radius


def _measure(
    mask: NDArray[np.bool_], points: NDArray[np.float64], row: float, col: float, radius: float
) -> Disc | None:
    """How well a circle explains a region; None if it does not."""
    height, width = mask.shape
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    # A straight mask cuts a disc inside of the picture as the frame does: the edge
    # can only be seen within the region's own bounds.
    margin = max(1.5, TOLERANCE * radius)
    top, bottom = max(rows.min() - margin, 1), min(rows.max() + margin, height - 2)
    left, right = max(cols.min() - margin, 1), min(cols.max() + margin, width - 2)
    angle = (np.arange(SECTORS) + 0.5) * 2 * np.pi / SECTORS
    on_row, on_col = row + radius * np.sin(angle), col + radius * np.cos(angle)
    could = (on_row > top) & (on_row < bottom) & (on_col > left) & (on_col < right)
    distance = np.abs(np.hypot(points[:, 0] - row, points[:, 1] - col) - radius)
    near = points[distance < margin]
    sector = np.arctan2(near[:, 0] - row, near[:, 1] - col) % (2 * np.pi)
    seen = np.zeros(SECTORS, bool)
    seen[(sector / (2 * np.pi) * SECTORS).astype(int) % SECTORS] = True
    seen &= could
    arc, support = float(seen.mean()), float(seen.sum() / max(1, could.sum()))
    grid_row, grid_col = np.ogrid[:height, :width]
    circle = (grid_row - row) ** 2 + (grid_col - col) ** 2 <= (radius + margin) ** 2
    # A notch may stick out of the circle; a region that does so by more is none.
    outside = float((mask & ~circle).sum() / mask.sum())
    spread = _spread(seen)
    if arc < LEAST_ARC or outside > 0.03 or spread < 0.4:
        return None
    inside = float((mask & circle).sum() / (np.pi * radius**2))
    rule = "circle" if arc >= WHOLE_ARC else "cut"
    return Disc(row, col, radius, rule, arc, support, min(1.0, inside))


def _spread(seen: NDArray[np.bool_]) -> float:
    """Share of the circumference between the outermost arcs seen: 1 less the largest gap."""
    hits = np.flatnonzero(seen)
    if not len(hits):
        return 0.0
    gaps = np.diff(np.append(hits, hits[0] + len(seen)))
    return 1.0 - float(gaps.max() - 1) / len(seen)


def _fallback(light: NDArray[np.uint8], regions: list[NDArray[np.bool_]]) -> Disc:
    """The bounds of the first region with a dark surround, else the whole frame."""
    height, width = light.shape
    for region in regions:
        rows, cols = np.nonzero(region)
        top, bottom, left, right = rows.min(), rows.max(), cols.min(), cols.max()
        free = [top > 2, left > 2, bottom < height - 3, right < width - 3]
        if sum(map(bool, free)) >= 2:
            radius = max(bottom - top + 1, right - left + 1) / 2
            inside = min(1.0, float(region.sum() / (np.pi * radius**2)))
            row, col = float(top + bottom) / 2, float(left + right) / 2
            return Disc(row, col, float(radius), "outline", 0.0, 0.0, inside)
    radius = max(height, width) / 2
    inside = min(1.0, height * width / (np.pi * radius**2))
    return Disc((height - 1) / 2, (width - 1) / 2, radius, "frame", 0.0, 0.0, inside)
