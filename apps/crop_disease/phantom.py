"""Synthetic leaf photos with a known answer: which disease, how much of the leaf, which leaf.

Every leaf is painted once, flat, with its lesions; the share of the leaf that
is lesion is counted on that painting, so the severity is known and not
guessed. Each leaf is then photographed one to three times: other scale, angle,
light and background. Neither light nor background has anything to do with the
disease, so a model that looks only at the border of a picture must end at
chance. What makes the set hard on purpose: dirt on healthy leaves, old rust
pustules with brown centres, young spots without their halo, a few lesions of a
second disease, dim and blurred photos.

The pictures are drawn after what the diseases look like, not after any data
set; they serve tests, documentation and the demo, and no agronomic claim.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import cv2
import numpy as np

from core.base.outputs import write_text

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["CLASSES", "SEVERITY_STEPS", "severity_grade", "write_phantom"]

CLASSES = ("healthy", "miner", "rust", "spot")

# Upper ends of grades 0-3 in percent of the leaf's area; above the last is grade 4.
# The steps of the coffee-leaf data set of Esgario, Krohling and Ventura 2020,
# doi:10.1016/j.compag.2019.105162.
SEVERITY_STEPS = (0.1, 5.0, 10.0, 15.0)

# Height and width of a photo, and of the flat painting of a leaf, in pixels.
PHOTO = (112, 168)
PAINTING = (272, 448)
# A lesion is painted in a square of this half side around its centre, in pixels of the painting.
LESION_REACH = 76
# Photos are drawn larger and averaged down to PHOTO, which smooths every edge.
DRAWN = (176, 264)
# Photos of successive leaves of a class: two on average.
PHOTOS_PER_LEAF = (2, 3, 1, 2)
JPEG_QUALITY = 92

# float32; numpy's types cannot follow that through every operation.
Floats: TypeAlias = "NDArray[Any]"


@dataclass(frozen=True)
class Leaf:
    """One leaf: its flat painting and what is true of it.

    Attributes:
        colour: (H, W, 3) RGB in [0, 1].
        opacity: (H, W) in [0, 1]; 1 on the leaf.
        symptoms: every disease on it, the one that covers most first; that one is its label.
        area_percent: lesion area, of all diseases, in percent of the leaf's area.
    """

    colour: Floats
    opacity: Floats
    symptoms: tuple[str, ...]
    area_percent: float


def severity_grade(area_percent: float) -> int:
    """Grade 0-4 of a lesion area in percent of the leaf.

    >>> [severity_grade(p) for p in (0.0, 2.0, 7.5, 12.0, 40.0)]
    [0, 1, 2, 3, 4]
    """
    return sum(area_percent > step for step in SEVERITY_STEPS)


def write_phantom(out: Path, n: int, seed: int) -> Path:
    """Write ``n`` photos in class folders below ``out``, and ``labels.csv`` beside them.

    Columns of ``labels.csv``: path, label, severity (grade 0-4), symptoms (all
    diseases on the leaf, joined by ``|``), area_percent, leaf, background. The
    same arguments give the same bytes.

    Args:
        out: folder to write to; made if absent.
        n: number of photos; 48 is the least that leaves every class several leaves per split.
        seed: of all randomness; non-negative.

    Returns:
        ``out``, which is what a command takes as its data.
    """
    rows: list[dict[str, object]] = []
    leaf_number = 0
    while len(rows) < n:
        rng = np.random.default_rng([seed, leaf_number])
        leaf = _paint_leaf(CLASSES[leaf_number % len(CLASSES)], rng)
        disease = leaf.symptoms[0]
        photos = PHOTOS_PER_LEAF[(leaf_number // len(CLASSES)) % len(PHOTOS_PER_LEAF)]
        folder = out / disease
        folder.mkdir(parents=True, exist_ok=True)
        for photo in range(min(photos, n - len(rows))):
            name = f"leaf{leaf_number:04d}_{'abc'[photo]}.jpg"
            pixels, background = _photograph(leaf, rng)
            (folder / name).write_bytes(_jpeg(pixels))
            rows.append(
                {
                    "path": f"{disease}/{name}",
                    "label": disease,
                    "severity": severity_grade(leaf.area_percent),
                    "symptoms": "|".join(leaf.symptoms),
                    "area_percent": round(leaf.area_percent, 3),
                    "leaf": f"leaf{leaf_number:04d}",
                    "background": background,
                }
            )
        leaf_number += 1
    text = io.StringIO()
    if rows:
        table = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "labels.csv", text.getvalue())
    return out


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """RGB pixels as JPEG bytes."""
    _, data = cv2.imencode(
        ".jpg", np.ascontiguousarray(pixels[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )
    return data.tobytes()


def _clouds(shape: tuple[int, ...], cells: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Smooth noise around 0, about -1 to 1: octaves of ``cells`` across the longer side."""
    total = np.zeros(shape, np.float32)
    for octave, count in enumerate(cells):
        rows = max(2, round(count * shape[0] / max(shape)))
        cols = max(2, round(count * shape[1] / max(shape)))
        grid = 2 * rng.random((rows, cols), dtype=np.float32) - 1
        total += cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_CUBIC) * 0.5**octave
    return total


def _lay(canvas: Floats, opacity: Floats, colour: Floats | tuple[float, float, float]) -> None:
    """Lay a colour over the canvas, in place."""
    tone = np.asarray(colour, np.float32)
    # Channel by channel: numpy is slow where its innermost axis has three entries.
    for channel in range(3):
        plane = canvas[..., channel]
        plane += opacity * (tone[..., channel] - plane)


# --- the leaf -------------------------------------------------------------------------------


def _paint_leaf(disease: str, rng: np.random.Generator) -> Leaf:
    """Paint one leaf with its lesions."""
    outline, across, along = _outline(rng)
    colour = _tissue(across, along, rng)
    leaf_area = float(outline.sum())
    covered: dict[str, float] = {}
    if disease == "healthy":
        _sprinkle_dirt(colour, outline, rng)
        area_percent = 0.0
    else:
        target = _target_percent(rng)
        mask = np.zeros(PAINTING, np.float32)
        # One leaf in six carries a little of a second disease.
        other = str(rng.choice([c for c in CLASSES[1:] if c != disease]))
        parts = [(disease, target)] + ([(other, 0.25 * target)] if rng.random() < 1 / 6 else [])
        for name, wanted in parts:
            before = float(mask.sum())
            # Forty lesions fill any grade; the bound only guards against a leaf with no room.
            for _ in range(60):
                here = _window(outline, rng)
                LESIONS[name](colour[here], mask[here], outline[here], rng)
                if 100 * (float(mask.sum()) - before) / leaf_area >= wanted:
                    break
            covered[name] = float(mask.sum()) - before
        area_percent = 100 * float(mask.sum()) / leaf_area
    # A leaf is labelled with the disease that covers most of it.
    symptoms = tuple(sorted(covered, key=lambda name: -covered[name])) or ("healthy",)
    return Leaf(np.clip(colour, 0, 1), outline, symptoms, area_percent)


def _target_percent(rng: np.random.Generator) -> float:
    """Lesion area to aim for, in percent: light infections are the more frequent ones."""
    grade = int(rng.choice([1, 2, 3, 4], p=[0.4, 0.28, 0.18, 0.14]))
    low, high = ((0.8, 4.0), (5.5, 8.5), (10.5, 13.5), (16.0, 28.0))[grade - 1]
    return float(rng.uniform(low, high))


def _outline(rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Opacity of the leaf, and for each pixel where it lies across and along the midrib.

    Along runs from -1 (tip) to 1 (stalk), across from -1 to 1 between the margins.
    """
    height, width = PAINTING
    rows = np.arange(height, dtype=np.float32)[:, None]
    along = (np.arange(width, dtype=np.float32)[None, :] - width / 2) / (0.47 * width)
    bend = rng.uniform(-0.12, 0.12)
    y = (rows - height / 2) / (height / 2) - np.float32(bend) * (1 - along**2)
    half = rng.uniform(0.62, 0.86) * np.clip(1 - along**2, 0, 1) ** rng.uniform(0.62, 0.95)
    half = half * (1 + rng.uniform(-0.15, 0.25) * along)
    waves, phase = rng.uniform(7, 14), rng.uniform(0, 6.3)
    half = half * (1 + rng.uniform(0.0, 0.05) * np.sin(waves * along + phase))
    half = half.astype(np.float32)
    across = y / np.maximum(half, 1e-3)
    # Opacity falls from 1 to 0 over about two pixels at the margin.
    opacity = np.clip((half - np.abs(y)) * (height / 4) + 0.5, 0, 1) * (np.abs(along) < 1)
    stalk = (np.abs(y) < 0.022) & (along > 0.9) & (along < 1.06)
    opacity = np.maximum(opacity, stalk.astype(np.float32))
    return opacity, across, along


def _tissue(across: Floats, along: Floats, rng: np.random.Generator) -> Floats:
    """Healthy green with midrib and side veins."""
    ripe = rng.random()
    dark = np.array([0.13, 0.34, 0.12])
    light = np.array([0.40, 0.55, 0.16])
    green = (dark + ripe * (light - dark)).astype(np.float32)
    shade = 1 + 0.10 * _clouds(PAINTING, (5, 14, 60), rng)
    veins = int(rng.integers(6, 10))
    # Side veins leave the midrib and bend towards the tip.
    reach = np.minimum(np.abs(across), 1.2)
    position = (along + 0.28 * reach) * np.float32(veins)
    off = np.abs(position - np.round(position))
    side = np.clip(1 - off / 0.055, 0, 1) * np.sqrt(np.clip(1 - reach, 0, 1))
    # Tissue swells between two veins and catches the light there.
    shade = shade * (1 + 0.12 * (0.5 - 2 * off))
    colour: Floats = green * shade[..., None]
    pale = green * 1.25 + np.array([0.10, 0.10, 0.05], np.float32)
    _lay(colour, 0.55 * side, pale)
    middle = np.clip(1 - reach / (0.035 + 0.02 * (along + 1)), 0, 1)
    _lay(colour, 0.85 * middle, pale * 1.08)
    return colour


# --- the lesions ----------------------------------------------------------------------------


def _window(outline: Floats, rng: np.random.Generator) -> tuple[slice, slice]:
    """A square around a random point of the leaf, where one lesion is painted."""
    height, width = PAINTING
    for _ in range(60):
        row = int(rng.uniform(0.08, 0.92) * height)
        col = int(rng.uniform(0.08, 0.92) * width)
        if outline[row, col] > 0.9:
            break
    row = min(max(row, LESION_REACH), height - LESION_REACH)
    col = min(max(col, LESION_REACH), width - LESION_REACH)
    return (
        slice(row - LESION_REACH, row + LESION_REACH),
        slice(col - LESION_REACH, col + LESION_REACH),
    )


def _blob(
    shape: tuple[int, ...],
    centre: tuple[float, float],
    radius: float,
    rough: float,
    rng: np.random.Generator,
) -> Floats:
    """Opacity (H, W) of an irregular round patch around (col, row)."""
    angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    r = np.ones_like(angle)
    for k in (2, 3, 5):
        r += rough / k * rng.normal() * np.cos(k * angle + rng.uniform(0, 6.3))
    points = np.stack(
        [centre[0] + radius * r * np.cos(angle), centre[1] + radius * r * np.sin(angle)], 1
    )
    patch = np.zeros(shape, np.uint8)
    # Four fractional bits place the corners to a sixteenth of a pixel.
    cv2.fillPoly(patch, [np.round(points * 16).astype(np.int32)], 255, cv2.LINE_AA, shift=4)
    return patch.astype(np.float32) / 255


def _halo(patch: Floats, sigma: float) -> Floats:
    """A soft rim around a patch."""
    return np.asarray(np.clip(1.6 * cv2.GaussianBlur(patch, (0, 0), sigma), 0, 1))


def _mark(mask: Floats, patch: Floats, outline: Floats) -> None:
    """Count a patch as lesion, where it lies on the leaf."""
    np.maximum(mask, patch * outline, out=mask)


def _add_rust(colour: Floats, mask: Floats, outline: Floats, rng: np.random.Generator) -> None:
    """A cluster of powdery orange pustules in yellowed tissue; old ones turn brown inside."""
    shape, (col, row) = outline.shape, (LESION_REACH, LESION_REACH)
    patch = np.zeros(shape, np.float32)
    for _ in range(int(rng.integers(2, 6))):
        centre = (col + rng.normal(0, 14), row + rng.normal(0, 14))
        patch = np.maximum(patch, _blob(shape, centre, float(rng.uniform(6, 12)), 0.25, rng))
    _lay(colour, 0.65 * _halo(patch, 7) * outline, (0.78, 0.70, 0.18))
    powder = 1 + 0.22 * _clouds(shape, (25, 40), rng)[..., None]
    orange = np.array([0.86, 0.48, 0.10], np.float32) * powder
    _lay(colour, 0.92 * patch * outline, orange.astype(np.float32))
    if rng.random() < 0.25:
        old = _blob(shape, (col, row), float(rng.uniform(5, 9)), 0.3, rng)
        _lay(colour, 0.85 * old * outline, (0.36, 0.20, 0.10))
        patch = np.maximum(patch, old)
    _mark(mask, patch, outline)


def _add_miner(colour: Floats, mask: Floats, outline: Floats, rng: np.random.Generator) -> None:
    """A mine: a winding pale track that widens into a dry blotch."""
    shape = outline.shape
    col, row = rng.uniform(0.6 * LESION_REACH, 1.4 * LESION_REACH, 2)
    heading = rng.uniform(0, 6.3)
    patch = np.zeros(shape, np.uint8)
    tunnel = np.zeros(shape, np.uint8)
    steps = int(rng.integers(9, 18))
    for step in range(steps):
        heading += rng.normal(0, 0.65)
        # Turned back well before the edge of the painted square.
        if max(abs(col - LESION_REACH), abs(row - LESION_REACH)) > 0.6 * LESION_REACH:
            heading = np.arctan2(LESION_REACH - row, LESION_REACH - col)
        end = (col + 9 * np.cos(heading), row + 9 * np.sin(heading))
        ends = [(round(16 * x), round(16 * y)) for x, y in ((col, row), end)]
        width = 5 + round(9 * step / steps)
        cv2.line(patch, ends[0], ends[1], 255, width, cv2.LINE_AA, shift=4)
        cv2.line(tunnel, ends[0], ends[1], 255, 2, cv2.LINE_AA, shift=4)
        col, row = end
    blotch = _blob(shape, (col, row), float(rng.uniform(12, 19)), 0.35, rng)
    pale = np.maximum(patch.astype(np.float32) / 255, blotch)
    dry = np.array([0.76, 0.69, 0.50], np.float32) * (
        1 + 0.12 * _clouds(shape, (10, 24), rng)[..., None]
    )
    _lay(colour, 0.35 * _halo(pale, 3) * outline, (0.55, 0.56, 0.26))
    _lay(colour, 0.88 * pale * outline, dry.astype(np.float32))
    # The larva's droppings darken the middle of the track.
    _lay(colour, 0.6 * tunnel.astype(np.float32) / 255 * outline, (0.36, 0.26, 0.16))
    _mark(mask, pale, outline)


def _add_spot(colour: Floats, mask: Floats, outline: Floats, rng: np.random.Generator) -> None:
    """A round dark spot, mostly with a grey eye and a yellow halo."""
    shape, centre = outline.shape, (LESION_REACH, LESION_REACH)
    radius = float(rng.uniform(9, 20))
    patch = _blob(shape, centre, radius, 0.12, rng)
    if rng.random() < 0.8:
        _lay(colour, 0.7 * _halo(patch, 6.5) * outline, (0.80, 0.74, 0.24))
    _lay(colour, 0.94 * patch * outline, (0.32, 0.19, 0.12))
    if radius > 11:
        _lay(
            colour,
            0.8 * _blob(shape, centre, 0.42 * radius, 0.15, rng) * outline,
            (0.52, 0.43, 0.35),
        )
    _mark(mask, patch, outline)


def _sprinkle_dirt(colour: Floats, outline: Floats, rng: np.random.Generator) -> None:
    """Specks of soil and a pale scratch: what a healthy leaf may carry."""
    for _ in range(int(rng.integers(0, 5))):
        here = _window(outline, rng)
        middle = (LESION_REACH, LESION_REACH)
        speck = _blob(outline[here].shape, middle, float(rng.uniform(2, 6)), 0.4, rng)
        _lay(colour[here], 0.75 * speck * outline[here], (0.33, 0.25, 0.17))
    if rng.random() < 0.3:
        here = _window(outline, rng)
        scratch = np.zeros(outline[here].shape, np.uint8)
        ends = rng.integers(20, 2 * LESION_REACH - 20, (2, 2)).tolist()
        cv2.line(scratch, ends[0], ends[1], 255, 2, cv2.LINE_AA)
        _lay(
            colour[here], 0.4 * scratch.astype(np.float32) / 255 * outline[here], (0.66, 0.66, 0.42)
        )


LESIONS = {"rust": _add_rust, "miner": _add_miner, "spot": _add_spot}


# --- the photo ------------------------------------------------------------------------------


def _photograph(leaf: Leaf, rng: np.random.Generator) -> tuple[NDArray[np.uint8], str]:
    """One photo (H, W, 3) of a leaf, and the name of the background it lies on."""
    shape = DRAWN
    name, scene = _background(shape, rng)
    # The leaf fills most of the frame and lies within it.
    scale = float(rng.uniform(0.78, 0.95)) * shape[1] / PAINTING[1]
    angle = float(rng.uniform(-12, 12)) + 180 * int(rng.integers(0, 2))
    place: Floats = cv2.getRotationMatrix2D((PAINTING[1] / 2, PAINTING[0] / 2), angle, scale)
    place[:, 2] += np.array(shape[::-1]) / 2 - np.array(PAINTING[::-1]) / 2
    place[:, 2] += rng.uniform(-0.03, 0.03, 2) * shape[1]
    if rng.random() < 0.5:
        leaf_colour, leaf_opacity = leaf.colour[::-1], leaf.opacity[::-1]
    else:
        leaf_colour, leaf_opacity = leaf.colour, leaf.opacity
    colour: Floats = cv2.warpAffine(
        np.ascontiguousarray(leaf_colour), place, shape[::-1], borderMode=cv2.BORDER_REPLICATE
    )
    opacity = cv2.warpAffine(np.ascontiguousarray(leaf_opacity), place, shape[::-1])
    shift = np.array([[1, 0, rng.uniform(-9, 9)], [0, 1, rng.uniform(3, 10)]])
    shadow = cv2.GaussianBlur(cv2.warpAffine(opacity, shift, shape[::-1]), (0, 0), 5)
    scene *= 1 - np.float32(rng.uniform(0.15, 0.5)) * shadow[..., None]
    # Glare: the sky mirrored in the leaf's wax.
    glare = np.clip(_clouds(shape, (4, 9), rng) - 0.55, 0, 1) * np.float32(rng.uniform(0, 0.45))
    colour += glare[..., None] * np.array([0.85, 0.95, 1.0], np.float32)
    _lay(scene, opacity, colour)
    small = cv2.resize(scene, PHOTO[::-1], interpolation=cv2.INTER_AREA)
    return _expose(small, rng), name


def _background(shape: tuple[int, int], rng: np.random.Generator) -> tuple[str, Floats]:
    """A surface to photograph a leaf on."""
    # Most leaves of a collection are laid on something plain.
    names = ["paper", "cloth", "soil", "wood", "foliage"]
    name = str(rng.choice(names, p=[0.4, 0.3, 0.1, 0.1, 0.1]))
    fine = _clouds(shape, (8, 40, 130), rng)
    coarse = _clouds(shape, (4, 12), rng)
    light: Floats
    if name == "paper":
        tint, light = (0.86, 0.85, 0.84), 1 + 0.03 * coarse
    elif name == "soil":
        tint, light = (0.42, 0.31, 0.22), 1 + 0.30 * fine + 0.10 * coarse
    elif name == "wood":
        rows = np.arange(shape[0], dtype=np.float32)[:, None]
        grain = np.sin(rows * np.float32(rng.uniform(0.2, 0.5)) + 3 * coarse)
        tint, light = (0.58, 0.42, 0.27), 1 + 0.10 * grain + 0.06 * fine
    elif name == "cloth":
        grey = rng.uniform(0.25, 0.6)
        tint, light = (0.95 * grey, grey, 1.08 * grey), 1 + 0.06 * fine
    else:
        # Other plants, out of focus.
        tint, light = (0.22, 0.36, 0.15), cv2.GaussianBlur(0.8 + 0.55 * coarse, (0, 0), 3)
    scene = np.asarray(light, np.float32)[..., None] * np.array(tint, np.float32)
    return name, np.clip(scene, 0.02, 1)


def _expose(scene: Floats, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Light, lens and sensor."""
    height, width = scene.shape[:2]
    warmth = rng.uniform(-0.05, 0.05)
    slope = rng.uniform(-0.18, 0.18, 2)
    rows = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None]
    cols = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :]
    light = rng.uniform(0.68, 1.12) * (1 + slope[0] * rows + slope[1] * cols)
    seen = scene * light[..., None].astype(np.float32)
    seen *= np.array([1 + warmth, 1.0, 1 - warmth], np.float32)
    blur = rng.uniform(0, 0.9)
    if blur > 0.25:
        seen = cv2.GaussianBlur(seen, (0, 0), blur)
    noise = rng.standard_normal(seen.shape, dtype=np.float32)
    seen += np.float32(rng.uniform(0.004, 0.016)) * noise
    return np.asarray(np.clip(seen * 255 + 0.5, 0, 255), np.uint8)
