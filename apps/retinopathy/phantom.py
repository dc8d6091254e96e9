"""Synthetic fundus photographs with a known grade, in the layout of EyePACS 2015.

An eye is painted with its optic disc, vessels and macula; lesions are added by
grade; then one of three cameras photographs it, which differ in frame, colour,
sharpness and noise but not in whose eyes they see. Two eyes of a patient have
the same camera and mostly the same grade. About one photograph in fourteen is
too dark, or fogged, to be graded.

    grade 0   nothing, or a few pigment spots
    grade 1   microaneurysms only
    grade 2   and haemorrhages and hard exudates, in part of the retina
    grade 3   and many haemorrhages in every quadrant, cotton-wool spots
    grade 4   as 2 or 3, and a tangle of new vessels, sometimes blood before the retina

The order of lesions follows the International Clinical Diabetic Retinopathy scale
(Wilkinson et al. 2003, doi:10.1016/S0161-6420(03)00475-5); their look is drawn from what
they are, not from any data set, and larger than life, so that a small network at
a small size can learn them. For tests, documentation and the demo only.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import cv2
import numpy as np

from core.base.outputs import write_bytes, write_text

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["CAMERAS", "Camera", "write_phantom"]

# float32; numpy's types cannot follow that through every operation.
Floats: TypeAlias = "NDArray[np.float32]"

# The retina is painted in a square of this side; its disc has this radius.
SIDE, RADIUS = 256, 124
FIRST_PATIENT = 10001
# Grades of a patient's two eyes, over and over: thirty patients hold every grade six times
# or more, which is what a split into three needs.
GRADES = (
    *((0, 0), (4, 4), (2, 2), (1, 1), (3, 3), (0, 0), (2, 1), (4, 3)),
    *((3, 2), (1, 0), (0, 0), (4, 4), (3, 3), (2, 2), (0, 0)),
)
UNGRADABLE_SHARE = 0.07


@dataclass(frozen=True)
class Camera:
    """What a camera does to a retina.

    Attributes:
        name: as in the table.
        frame: (H, W) of its photographs.
        radius: of the disc in them, in pixels.
        gain: of red, green and blue.
        blur: sigma in pixels.
        noise: standard deviation in [0, 1].
        notch: whether the field stop has one.
        quality: of its JPEG files.
    """

    name: str
    frame: tuple[int, int]
    radius: float
    gain: tuple[float, float, float]
    blur: float
    noise: float
    notch: bool
    quality: int


CAMERAS = (
    Camera("north", (256, 288), 122, (1.0, 1.0, 1.0), 0.4, 0.010, True, 92),
    Camera("south", (256, 256), 146, (0.92, 1.08, 1.25), 0.7, 0.014, False, 88),
    Camera("east", (224, 336), 132, (1.08, 0.86, 0.62), 0.5, 0.018, False, 90),
)


def write_phantom(out: Path, n: int, seed: int) -> Path:
    """Write ``n`` photographs to ``out/train`` and ``trainLabels.csv`` beside that folder.

    Columns of the table: image and level, as published by EyePACS, then patient,
    eye, camera and gradable (yes or no). The same arguments give the same bytes.

    Args:
        out: folder to write to; made if absent.
        n: number of photographs; two per patient, an odd last one alone.
        seed: of all randomness; non-negative.

    Returns:
        ``out``, which is what a command takes as its data.
    """
    folder = out / "train"
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[list[object]] = []
    while len(rows) < n:
        number = len(rows) // 2
        rng = np.random.default_rng([seed, number])
        grades = GRADES[number % len(GRADES)][:: 1 if rng.random() < 0.5 else -1]
        camera = CAMERAS[int(rng.integers(len(CAMERAS)))]
        tone = _tone(rng)
        for eye, grade in zip(("left", "right"), grades, strict=True):
            if len(rows) == n:
                break
            fault = str(rng.choice(["dark", "fog"])) if rng.random() < UNGRADABLE_SHARE else ""
            retina = _paint(eye, grade, tone, rng)
            pixels = _photograph(retina, camera, fault, rng)
            image = f"{FIRST_PATIENT + number}_{eye}"
            coding = [cv2.IMWRITE_JPEG_QUALITY, camera.quality]
            _, data = cv2.imencode(".jpg", np.ascontiguousarray(pixels[..., ::-1]), coding)
            write_bytes(folder / f"{image}.jpeg", data.tobytes())
            gradable = "no" if fault else "yes"
            rows.append([image, grade, FIRST_PATIENT + number, eye, camera.name, gradable])
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["image", "level", "patient", "eye", "camera", "gradable"])
    table.writerows(rows)
    write_text(out / "trainLabels.csv", text.getvalue())
    return out


def _tone(rng: np.random.Generator) -> Floats:
    """Colour of a person's retina in [0, 1]."""
    base = np.array([0.72, 0.38, 0.18]) * rng.uniform(0.8, 1.12)
    return np.asarray(base * rng.uniform([0.95, 0.9, 0.8], [1.05, 1.1, 1.25]), np.float32)


def _paint(eye: str, grade: int, tone: Floats, rng: np.random.Generator) -> Floats:
    """One retina (SIDE, SIDE, 3) in [0, 1], its disc centred; nasal is right in a right eye."""
    rows, cols = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    middle = (SIDE - 1) / 2
    nasal = 1.0 if eye == "right" else -1.0
    disc = (middle + rng.uniform(-6, 6), middle + nasal * RADIUS * rng.uniform(0.46, 0.56))
    macula = (disc[0] + rng.uniform(2, 8), disc[1] - nasal * RADIUS * 0.62)
    distance = np.hypot(rows - middle, cols - middle) / RADIUS
    light = 1.08 - 0.28 * distance**2 + 0.06 * rng.normal() * (cols - middle) / RADIUS
    choroid = cv2.GaussianBlur(rng.normal(0, 1, (SIDE, SIDE)).astype(np.float32), (0, 0), 7)
    light += 0.25 * choroid
    light -= 0.3 * np.exp(-((rows - macula[0]) ** 2 + (cols - macula[1]) ** 2) / (2 * 13.0**2))
    retina = tone * light[..., None]
    retina = _blend(retina, _vessels(disc, macula, nasal, rng), (0.46, 0.12, 0.08), 0.75)
    radius = rng.uniform(15, 18)
    head = np.clip((radius + 1.5 - np.hypot(rows - disc[0], cols - disc[1])) / 3, 0, 1)
    retina = _blend(retina, head.astype(np.float32), (0.95, 0.78, 0.5), 0.8)
    stems = _layer()
    for angle in (-1.9, -1.1, 1.1, 1.9):
        end = (disc[0] + 17 * np.sin(angle), disc[1] + nasal * 17 * np.cos(angle))
        _stroke(stems, [disc, end], 3)
    retina = _blend(retina, _soft(stems, 0.7), (0.5, 0.14, 0.1), 0.7)
    return _with_lesions(retina, grade, disc, macula, rng)


def _vessels(
    disc: tuple[float, float], macula: tuple[float, float], nasal: float, rng: np.random.Generator
) -> Floats:
    """Arcades above and below the macula, and shorter nasal vessels, with branches."""
    layer = _layer()
    for up in (-1.0, 1.0):
        for mean_spread, thickness in ((0.62, 4), (0.5, 3)):
            spread = mean_spread * rng.uniform(0.9, 1.15)
            t = np.linspace(0, 1, 24)
            end_col = macula[1] - nasal * RADIUS * rng.uniform(0.45, 0.75)
            col = disc[1] + (end_col - disc[1]) * t
            row = disc[0] + up * RADIUS * spread * np.sin(np.pi * (0.08 + 0.72 * t**0.8))
            row += np.cumsum(rng.normal(0, 0.5, len(t)))
            path = list(zip(row, col, strict=True))
            for piece in range(len(path) - 1):
                width = max(1, round(thickness * (1 - 0.6 * piece / len(path))))
                _stroke(layer, path[piece : piece + 2], width)
            for start in rng.integers(4, 20, 4):
                towards = rng.choice([-1.0, 1.0])
                _branch(layer, path[start], up * towards, -nasal, rng)
        nose = [
            (disc[0] + up * RADIUS * 0.5 * t, disc[1] + nasal * RADIUS * (0.1 + 0.6 * t))
            for t in np.linspace(0, 1, 8)
        ]
        _stroke(layer, nose, 2)
    return _soft(layer, 0.6)


def _branch(
    layer: NDArray[np.uint8],
    start: tuple[float, float],
    down: float,
    along: float,
    rng: np.random.Generator,
) -> None:
    """A thin wavy vessel."""
    steps = np.arange(1, 9)
    row = start[0] + down * steps * rng.uniform(2.5, 5) + np.cumsum(rng.normal(0, 0.8, 8))
    col = start[1] + along * steps * rng.uniform(2, 6)
    _stroke(layer, [start, *zip(row, col, strict=True)], 1)


def _with_lesions(
    retina: Floats,
    grade: int,
    disc: tuple[float, float],
    macula: tuple[float, float],
    rng: np.random.Generator,
) -> Floats:
    """The lesions of a grade."""
    dark, bright, pale = _layer(), _layer(), _layer()
    dots = (int(rng.integers(0, 2)), int(rng.integers(5, 11)), 10, 18, 14)[grade]
    for row, col in _places(dots, rng):
        _spot(dark, row, col, rng.uniform(1.1, 1.7))
    blots = (0, 0, int(rng.integers(5, 9)), int(rng.integers(26, 36)), int(rng.integers(8, 18)))
    # In grade 2 blood lies in part of the retina only.
    side = rng.uniform(0, 2 * np.pi) if grade == 2 else None
    for row, col in _places(blots[grade], rng, towards=side):
        _spot(dark, row, col, rng.uniform(2.4, 4.6), rng.uniform(0.6, 1.0))
    for row, col in _places((0, 0, 3, 2, 3)[grade], rng, near=macula):
        for _ in range(int(rng.integers(4, 9))):
            _spot(bright, row + rng.normal(0, 5), col + rng.normal(0, 5), rng.uniform(1.2, 2.2))
    for row, col in _places((0, 0, 0, 4, 2)[grade], rng):
        _spot(pale, row, col, rng.uniform(4, 7), 0.6)
    retina = _blend(retina, _soft(pale, 2.0), (0.88, 0.78, 0.6), 0.7)
    retina = _blend(retina, _soft(dark, 0.5), (0.33, 0.05, 0.04), 0.85)
    retina = _blend(retina, _soft(bright, 0.5), (0.98, 0.88, 0.45), 0.9)
    if grade == 4:
        retina = _blend(retina, _new_vessels(disc, rng), (0.55, 0.08, 0.08), 0.9)
        if rng.random() < 0.5:
            retina = _blend(retina, _pool(macula, rng), (0.36, 0.04, 0.03), 0.92)
    return retina


def _new_vessels(disc: tuple[float, float], rng: np.random.Generator) -> Floats:
    """A tangle of fine loops on the optic disc or beside an arcade."""
    layer = _layer()
    centre = disc if rng.random() < 0.5 else _places(1, rng)[0]
    for _ in range(14):
        turn = rng.uniform(0, 2 * np.pi)
        t = np.linspace(0, 1, 14)
        reach = rng.uniform(10, 26)
        row = centre[0] + reach * t * np.sin(turn + 2.2 * t) + rng.normal(0, 0.8, 14)
        col = centre[1] + reach * t * np.cos(turn + 2.2 * t) + rng.normal(0, 0.8, 14)
        _stroke(layer, list(zip(row, col, strict=True)), 1)
    return np.asarray(layer / 255, np.float32)


def _pool(macula: tuple[float, float], rng: np.random.Generator) -> Floats:
    """Blood before the retina: a boat with a level top."""
    layer = _layer()
    row, col = macula[0] + rng.uniform(20, 45), macula[1] + rng.uniform(-25, 25)
    axes = (int(rng.integers(16, 26)), int(rng.integers(10, 16)))
    cv2.ellipse(layer, (round(col), round(row)), axes, 0, 0, 180, 255, cv2.FILLED, cv2.LINE_AA)
    return _soft(layer, 0.8)


def _photograph(
    retina: Floats, camera: Camera, fault: str, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """What a camera makes of a retina: (H, W, 3) uint8."""
    if fault == "fog":
        retina = 0.1 * cv2.GaussianBlur(retina, (0, 0), 9) + 0.9 * retina.mean(axis=(0, 1)) * 1.2
    scale = camera.radius / RADIUS
    height, width = camera.frame
    middle = (SIDE - 1) / 2
    row, col = (height - 1) / 2 + rng.uniform(-2, 2), (width - 1) / 2 + rng.uniform(-2, 2)
    place = np.array([[scale, 0, col - scale * middle], [0, scale, row - scale * middle]])
    pixels = cv2.warpAffine(retina, place, (width, height), flags=cv2.INTER_LINEAR)
    pixels = cv2.GaussianBlur(pixels, (0, 0), camera.blur) * np.array(camera.gain, np.float32)
    pixels = pixels * np.float32(0.06 if fault == "dark" else rng.uniform(0.85, 1.1))
    pixels += rng.normal(0, camera.noise, pixels.shape).astype(np.float32)
    stop = np.zeros((height, width), np.uint8)
    at = (round(16 * col), round(16 * row))
    cv2.circle(stop, at, round(16 * (camera.radius - 2)), 255, cv2.FILLED, cv2.LINE_AA, shift=4)
    if camera.notch:
        corner = round(col + 0.71 * camera.radius), round(row - 0.71 * camera.radius)
        cv2.circle(stop, corner, 6, 255, cv2.FILLED, cv2.LINE_AA)
    lit = pixels * (stop.astype(np.float32) / 255)[..., None] + np.float32(0.012)
    return np.asarray((np.clip(lit, 0, 1) * 255).round(), np.uint8)


def _places(
    n: int,
    rng: np.random.Generator,
    *,
    near: tuple[float, float] | None = None,
    towards: float | None = None,
) -> list[tuple[float, float]]:
    """Random places (row, col) on the retina: anywhere, near a point, or in one direction."""
    if near is not None:
        turn, reach = rng.uniform(0, 2 * np.pi, n), rng.uniform(12, 34, n)
        centre = near
    else:
        turn = rng.uniform(0, 2 * np.pi, n)
        if towards is not None:
            turn = rng.normal(towards, 0.5, n)
        reach = RADIUS * np.sqrt(rng.uniform(0.03, 0.68, n))
        centre = ((SIDE - 1) / 2, (SIDE - 1) / 2)
    return [
        (float(centre[0] + r * np.sin(a)), float(centre[1] + r * np.cos(a)))
        for a, r in zip(turn, reach, strict=True)
    ]


def _layer() -> NDArray[np.uint8]:
    """Nothing painted yet."""
    return np.zeros((SIDE, SIDE), np.uint8)


def _stroke(layer: NDArray[np.uint8], path: list[tuple[float, float]], thickness: int) -> None:
    """A line through (row, col) points; sixteenths of pixels count."""
    points = np.array([[round(16 * c), round(16 * r)] for r, c in path], np.int32)
    cv2.polylines(layer, [points], False, 255, thickness, cv2.LINE_AA, shift=4)


def _spot(
    layer: NDArray[np.uint8], row: float, col: float, radius: float, strength: float = 1.0
) -> None:
    """A filled circle."""
    at = (round(16 * col), round(16 * row))
    value = round(255 * strength)
    cv2.circle(layer, at, round(16 * radius), value, cv2.FILLED, cv2.LINE_AA, shift=4)


def _soft(layer: NDArray[np.uint8], sigma: float) -> Floats:
    """A layer as opacity in [0, 1], its edges softened."""
    return np.asarray(cv2.GaussianBlur(layer.astype(np.float32) / 255, (0, 0), sigma), np.float32)


def _blend(
    retina: Floats, opacity: Floats, colour: tuple[float, float, float], strength: float
) -> Floats:
    """Paint a colour over a retina, dimmer where the retina is dimmer."""
    cover = (opacity * np.float32(strength))[..., None]
    return np.asarray(retina * (1 - cover) + np.array(colour, np.float32) * cover, np.float32)
