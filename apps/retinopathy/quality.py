"""Whether a photograph can be graded: gradable, ungradable with the reason, or no fundus at all.

Judged on a small copy in which the disc of the retina always has the same
radius, so that a verdict does not depend on the size of the file. Thresholds are
conservative: a photograph that a person could grade must pass. They were set by
looking at the extremes of 886 fundus photographs (878 of EyePACS 2015, eight
others), and against 308 pictures of other things, all of which are told apart; no
grader's verdicts were at hand, so how often the gate agrees with a grader is not
known.

    question         measured                                            refused when
    is it lit        median brightness in the disc                       < LEAST_LIGHT
    is it a retina   colour, reddish share, fine contrast, colours       see ``_doubts``
    field            radius; edge of the disc seen; share in the frame   see ``_faults``
    illumination     share of the disc that is dark, or burnt out        > MOST_DARK, MOST_BURNT
    focus            share of the disc where a vessel would be seen      < LEAST_SEEN
    one eye          lit, reddish ground outside of the disc             > MOST_BESIDE

This module knows no grades, no table and no file.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from apps.retinopathy.disc import FALLBACKS, Disc, brightest, to_eight_bits
from core.data.resizing import shrunk

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["GATES", "JUDGED_RADIUS_PX", "Measures", "beside", "gate_of", "judge", "measure"]

GATES = ("gradable", "ungradable", "not a fundus")

# Radius of the disc in the copy that is judged.
JUDGED_RADIUS_PX = 128
# The rim shows haze and the edge of the field stop, not the retina.
JUDGED_SHARE = 0.92
# Pixels of a side of a tile; an eighth of the disc's diameter.
TILE_PX = 32

# Median of the brightest channel, 8-bit steps. The darkest of 886 has 18; black has 0.
LEAST_LIGHT = 8.0
# Largest less smallest channel, 95th percentile, over the median brightness: so that the
# dark is not called colourless. The palest of 886 has 0.22; grey has nothing but noise.
LEAST_COLOUR = 0.12
# Share of the disc in which red is not below green or blue. With a disc the
# lowest of 886 is 0.39 (a green haze), without one 0.75 (221 cut out of their discs);
# leaves reach 0.87, but not with the two below.
LEAST_RED = {"disc": 0.3, "no disc": 0.7}
# Standard deviation of green about its surroundings, relative to them. The highest
# of 886 is 0.22 (a scanned film) with a disc and 0.10 without one.
MOST_CONTRAST = {"disc": 0.28, "no disc": 0.12}
# Spread of colours, CIE a* and b* of 8 bits. The highest of 886 is 21.5.
MOST_COLOURS = 28.0

# Radius of the disc in the file. A 45 degree field is about 13 mm wide, so a pixel then
# covers 0.09 mm, and the smallest haemorrhages worth a referral are one pixel.
LEAST_RADIUS_PX = 75.0
# Share of the disc in the frame and lit. A square cut out just inside of the disc keeps
# 0.64, and the least of 886 have 0.70.
LEAST_INSIDE = 0.6
# Brightest channel below DARK is noise; share of the disc. Seven of 878 exceed 0.2.
DARK, MOST_DARK = 20, 0.25
# Green at or above BURNT holds no detail; share of the disc. The highest of 886 is 0.08.
BURNT, MOST_BURNT = 246, 0.15
# Response to a dark line, relative to the surroundings, and the share of a tile that must
# show it for a vessel to be seen there; and the least share of tiles where one is. Of 878,
# 15 fall below 0.12, and on all of them hardly a vessel can be followed.
SEEN_RESPONSE, SEEN_SHARE, LEAST_SEEN = 0.012, 0.07, 0.12
# Largest lit and reddish patch outside of the disc, over the disc's area: a second retina. The
# highest of 885 photographs with a disc is 0.009; of two photographs in one picture, 0.55 to 0.7.
MOST_BESIDE = 0.2
# Longer side of the copy it is sought in; steps of 8 bits from which a pixel is lit; how far
# beyond the disc, in radii, its haze does not reach.
BESIDE_PX, BESIDE_LIT, BESIDE_FROM = 256, 30, 1.08
# Half a side of the kernels that respond to lines, in pixels of the judged copy.
LINE_REACH = 10


@dataclass(frozen=True, kw_only=True)
class Measures:
    """What the verdict is made from; see the thresholds above for what each is."""

    light: float
    colour: float
    red: float
    contrast: float
    colours: float
    dark: float
    burnt: float
    seen: float


def judge(view: NDArray[Any], shown: NDArray[np.bool_], disc: Disc, *, second: float = 0.0) -> str:
    """Why a photograph should not be graded; empty if nothing speaks against it.

    Args:
        view: (H, W, 3) with the disc centred and of radius ``JUDGED_RADIUS_PX``.
        shown: (H, W) where the photograph has pixels.
        disc: in the photograph itself.
        second: see ``beside``.

    Returns:
        "", "ungradable: ..." or "not a fundus photograph: ...".
    """
    found = measure(view, shown)
    if found is None:
        return "ungradable: hardly anything of the disc is in the picture"
    doubts = _doubts(found, disc)
    if doubts:
        return f"not a fundus photograph: {'; '.join(doubts)}"
    faults = _faults(found, disc)
    if second > MOST_BESIDE:
        faults.append("two retinas are in the picture; cut it to one photograph per file")
    return f"ungradable: {'; '.join(faults)}" if faults else ""


def beside(image: NDArray[Any], disc: Disc) -> float:
    """The largest lit and reddish patch outside of the disc, over the area of the disc.

    Args:
        image: the photograph as read, (H, W, C).
        disc: in it.
    """
    pixels = to_eight_bits(image)
    if pixels.shape[2] != 3 or disc.rule in FALLBACKS:
        return 0.0
    height, width = pixels.shape[:2]
    scale = min(1.0, BESIDE_PX / max(height, width))
    small = shrunk(pixels, BESIDE_PX).astype(np.int16)
    rows, cols = np.ogrid[: small.shape[0], : small.shape[1]]
    distance = np.hypot(rows - disc.row * scale, cols - disc.col * scale)
    red, green, blue = np.moveaxis(small, -1, 0)
    lit = (small.max(axis=2) >= BESIDE_LIT) & (red >= green - 6) & (red >= blue - 2)
    outside = (lit & (distance > BESIDE_FROM * disc.radius * scale)).astype(np.uint8)
    # Letters and edges are thin.
    _, _, stats, _ = cv2.connectedComponentsWithStats(cv2.erode(outside, np.ones((5, 5), np.uint8)))
    largest = int(stats[1:, cv2.CC_STAT_AREA].max(initial=0))
    return largest / max(1, int((distance <= disc.radius * scale).sum()))


def gate_of(quality: str) -> str:
    """One of ``GATES`` for the sentence of ``judge``.

    >>> gate_of(""), gate_of("ungradable: too dark")
    ('gradable', 'ungradable')
    """
    if not quality:
        return "gradable"
    return "not a fundus" if quality.startswith("not a fundus") else "ungradable"


def measure(view: NDArray[Any], shown: NDArray[np.bool_]) -> Measures | None:
    """The measures of a view; None if there is next to nothing to measure."""
    pixels = to_eight_bits(view)
    inner = _circle(pixels.shape[0], pixels.shape[1]) & shown
    # Filters near the frame would see its edge.
    inner = cv2.erode(inner.astype(np.uint8), np.ones((9, 9), np.uint8), borderValue=0) > 0
    if inner.mean() < 0.05:
        return None
    colours = pixels[inner].astype(np.float32)
    red, green, blue = np.ascontiguousarray(colours.T)
    light = np.maximum(np.maximum(red, green), blue)
    least = np.minimum(np.minimum(red, green), blue)
    lab = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)[inner].astype(np.float32)
    contrast, line = _detail(pixels[..., 1], inner)
    return Measures(
        light=float(np.median(light)),
        colour=float(np.percentile(light - least, 95)) / max(1.0, float(np.median(light))),
        # A step or two of slack for grey and for compression.
        red=float(((red >= green - 6) & (red >= blue - 2)).mean()),
        contrast=float(contrast[inner].std()),
        colours=float(np.hypot(lab[:, 1].std(), lab[:, 2].std())),
        dark=float((light < DARK).mean()),
        burnt=float((green >= BURNT).mean()),
        seen=_seen(pixels, line, inner),
    )


def _doubts(found: Measures, disc: Disc) -> list[str]:
    """Why it may not be a colour photograph of a retina at all."""
    kind = "no disc" if disc.rule in FALLBACKS else "disc"
    if found.light < LEAST_LIGHT:
        return ["nothing in it is lit"]
    doubts = []
    if found.colour < LEAST_COLOUR:
        doubts.append("it has no colour")
    if found.red < LEAST_RED[kind]:
        doubts.append(f"only {100 * found.red:.0f} % of it is reddish")
    if found.contrast > MOST_CONTRAST[kind] or found.colours > MOST_COLOURS:
        doubts.append(
            "its contrasts and colours are stronger than those of a retina"
            + (", and no disc is seen" if kind == "no disc" else "")
        )
    return doubts


def _faults(found: Measures, disc: Disc) -> list[str]:
    """Why a retina cannot be graded from it."""
    faults = []
    if disc.rule in FALLBACKS:
        faults.append("field: the round edge of the retina is not in the picture")
    elif disc.inside < LEAST_INSIDE:
        faults.append(f"field: only {100 * disc.inside:.0f} % of the disc is in the picture")
    if disc.radius < LEAST_RADIUS_PX:
        faults.append(
            f"field: the disc's radius is {disc.radius:.0f} px, {LEAST_RADIUS_PX:.0f} are needed"
        )
    if found.dark > MOST_DARK:
        faults.append(f"illumination: {100 * found.dark:.0f} % of the disc is dark")
    if found.burnt > MOST_BURNT:
        faults.append(f"illumination: {100 * found.burnt:.0f} % of the disc is burnt out")
    if found.seen < LEAST_SEEN:
        faults.append("focus: hardly a vessel can be followed")
    return faults


def _detail(
    green: NDArray[np.uint8], inner: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Fine contrast, and the response to dark lines, both relative to the surroundings."""
    value = green.astype(np.float32)
    weight = inner.astype(np.float32)
    covered = np.asarray(cv2.GaussianBlur(weight, (0, 0), 8))
    around = np.asarray(cv2.GaussianBlur(value * weight, (0, 0), 8)) / np.maximum(covered, 1e-3)
    # Of a picture this dark the noise would pass for contrast.
    floor = np.maximum(around, 12)
    contrast = (cv2.GaussianBlur(value, (0, 0), 1.0) - around) / floor
    smooth = cv2.GaussianBlur(value, (0, 0), 1.2)
    line = _strongest_line(smooth)
    return contrast.astype(np.float32), (line / floor).astype(np.float32)


def _seen(pixels: NDArray[np.uint8], line: NDArray[np.float32], inner: NDArray[np.bool_]) -> float:
    """Share of the tiles of the disc where a vessel would be seen."""
    n = _per_tile(inner)
    judged = n >= 0.4 * TILE_PX**2
    lit = _per_tile(inner & (brightest(pixels) >= DARK)) >= 0.5 * n
    burnt = _per_tile(inner & (pixels[..., 1] >= BURNT)) > 0.5 * n
    crossed = _per_tile(inner & (line > SEEN_RESPONSE)) > SEEN_SHARE * n
    return float((judged & lit & ~burnt & crossed).sum() / max(1, judged.sum()))


def _per_tile(mask: NDArray[np.bool_]) -> NDArray[np.int_]:
    """How many pixels of each tile are set; a rest at the edges is left out."""
    rows, cols = mask.shape[0] // TILE_PX, mask.shape[1] // TILE_PX
    tiles = mask[: rows * TILE_PX, : cols * TILE_PX].reshape(rows, TILE_PX, cols, TILE_PX)
    return np.asarray(tiles.sum(axis=(1, 3)))


@lru_cache(maxsize=4)
def _circle(height: int, width: int) -> NDArray[np.bool_]:
    """The judged part of the disc."""
    rows, cols = np.ogrid[:height, :width]
    distance = np.hypot(rows - (height - 1) / 2, cols - (width - 1) / 2)
    return np.asarray(distance < JUDGED_SHARE * JUDGED_RADIUS_PX)


def _strongest_line(smooth: NDArray[Any]) -> NDArray[np.float32]:
    """The strongest response (H, W) of the line kernels, by one transform for all of them."""
    from scipy import fft  # noqa: PLC0415  (only needed where pixels are judged)

    height, width = smooth.shape
    framed = cv2.copyMakeBorder(smooth, *(LINE_REACH,) * 4, cv2.BORDER_REFLECT_101)
    spectra = _line_spectra(*framed.shape)
    shape = (fft.next_fast_len(framed.shape[0]), fft.next_fast_len(framed.shape[1], real=True))
    lines = fft.irfft2(fft.rfft2(framed, shape) * spectra, shape)
    first = 2 * LINE_REACH
    return np.asarray(
        lines[:, first : first + height, first : first + width].max(axis=0), np.float32
    )


@lru_cache(maxsize=2)
def _line_spectra(height: int, width: int) -> NDArray[np.complex64]:
    """Transforms of second derivatives across lines of vessel width, each summing to 0.

    Eight directions; the kernels are symmetric under a half turn, so a product of
    transforms is a correlation as well.

    Args:
        height: rows of the picture with its frame.
        width: columns of it.
    """
    from scipy import fft  # noqa: PLC0415  (see above)

    half_length, line_width = 7.5, 1.6
    side = np.arange(-LINE_REACH, LINE_REACH + 1, dtype=np.float32)
    rows, cols = side[:, None], side[None, :]
    kernels = []
    for turn in range(8):
        angle = turn * np.pi / 8
        along = cols * np.cos(angle) + rows * np.sin(angle)
        across = -cols * np.sin(angle) + rows * np.cos(angle)
        profile = -(1 - (across / line_width) ** 2) * np.exp(-(across**2) / (2 * line_width**2))
        profile = np.where(np.abs(along) <= half_length, profile, 0)
        profile -= profile.mean()
        kernels.append((profile / np.abs(profile).sum()).astype(np.float32))
    shape = (fft.next_fast_len(height), fft.next_fast_len(width, real=True))
    return np.asarray(fft.rfft2(np.stack(kernels), shape), np.complex64)
