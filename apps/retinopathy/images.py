"""From a file to the pixels a network sees: read, find the disc, judge, scale, mask.

Every photograph is brought to the same scale, in which the disc of the retina
just fills a square: a microaneurysm then has about the same size whatever the
camera. Outside of the disc the result is black, as cameras leave it. Nothing is
turned or mirrored; left and right eyes look as they were taken.

MONAI has no transform that finds a disc or scales to a radius, and its area
resizing averages over windows of unequal size; so the steps are small callables
here. Pixel coordinates are (row, col),
zero-based, at pixel centres.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from apps.retinopathy import dicom
from apps.retinopathy.disc import FALLBACKS, Disc, find_disc, to_eight_bits
from apps.retinopathy.quality import JUDGED_RADIUS_PX, beside, gate_of, judge
from core.data.images import read_image
from core.data.steps import Steps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

__all__ = [
    "COLOURS",
    "PREPARED_COLUMNS",
    "EqualiseLocally",
    "FindDisc",
    "JudgePhotograph",
    "NormaliseLocally",
    "ScaleToDisc",
    "augment",
    "prepare",
    "read",
    "scale_disc",
]

# What ``prepare`` adds to a row.
PREPARED_COLUMNS = ("gate", "disc_rule", "disc_row", "disc_col", "disc_radius", "resolution")

# What may be done to colours: nothing; subtract the local average, as many entries of the
# 2015 competition did; equalise lightness with limited contrast; or one after the other.
COLOURS = ("camera", "normalised", "equalised", "normalised+equalised")

# The rim of the disc is blurred by compression and shows the notch of the field stop.
KEPT_SHARE = 0.985

# Radius of the disc in the file, in pixels, below which a photograph is called so.
RESOLUTIONS = ((150.0, "below 150 px"), (300.0, "150 to 300 px"), (600.0, "300 to 600 px"))

# Local normalisation as in the winning entry of the 2015 competition: 4 (image - blurred) + 128,
# blurred with sigma of a thirtieth of the radius. github.com/btgraham/SparseConvNet, branch
# kaggle_Diabetic_Retinopathy_competition.
LOCAL_GAIN, LOCAL_SIGMA, LOCAL_MIDDLE = 4.0, 1 / 30, 128
CLAHE_CLIP, CLAHE_TILES = 2.0, 8


def read(row: Mapping[str, Any]) -> NDArray[Any]:
    """The photograph of a manifest row, RGB (H, W, 3), uint8, uint16 or float32.

    Files are told apart by content: DICOM, or any picture that core reads.
    """
    path = Path(row["path"])
    if dicom.is_dicom(path):
        return dicom.read_pixels(path)
    pixels = read_image(path)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def prepare(size_px: tuple[int, int]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Find the disc, judge the photograph, scale and mask it.

    Of a row with a column ``colours`` (see ``COLOURS``) they are changed, too; ``index``
    adds the column where the option says so.

    Args:
        size_px: (H, W) of the result; the disc fills the smaller of the two.

    Returns:
        A chain of steps from ``{"image": (H', W', C), ...}`` to the same with
        ``image`` of that size in the dtype it came in, ``affine`` (3, 3) from
        prepared (row, col, 1) to source (row, col, 1), ``quality``, and
        ``PREPARED_COLUMNS``.
    """
    return Steps(
        (
            FindDisc(),
            JudgePhotograph(),
            ScaleToDisc(size_px),
            NormaliseLocally(),
            EqualiseLocally(),
            DropDisc(),
        )
    )


def augment(size_px: tuple[int, int]) -> Any:
    """The random changes of training, an albumentations pipeline to exactly ``size_px``."""
    # Without it albumentations asks a server for its newest version when it is imported.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    from apps.retinopathy.augmentation import fundus_changes  # noqa: PLC0415  (heavy)

    return fundus_changes(size_px)


@dataclass(frozen=True)
class FindDisc:
    """Adds ``disc`` and what of it stands in tables."""

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Find the disc in the photograph as read."""
        disc = find_disc(data["image"])
        return {
            **data,
            "disc": disc,
            "disc_rule": disc.rule,
            "disc_row": round(disc.row, 2),
            "disc_col": round(disc.col, 2),
            "disc_radius": round(disc.radius, 2),
            "resolution": next(
                (name for limit, name in RESOLUTIONS if disc.radius < limit), "600 px or more"
            ),
        }


@dataclass(frozen=True)
class JudgePhotograph:
    """Adds ``quality``, why the photograph should not be graded, and ``gate``."""

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Judge a small copy in which the disc has its fixed radius."""
        side = 2 * JUDGED_RADIUS_PX
        disc: Disc = data["disc"]
        view, _, shown = scale_disc(data["image"], disc, (side, side))
        if view.shape[2] != 3:
            view = np.repeat(view[..., :1], 3, axis=2)
        quality = judge(view, shown, disc, second=beside(data["image"], disc))
        return {**data, "quality": quality, "gate": gate_of(quality)}


@dataclass(frozen=True)
class ScaleToDisc:
    """Scales the disc to fill the square and blackens what is outside of it."""

    size_px: tuple[int, int]

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Scale, place and mask ``image``; add ``affine``."""
        disc: Disc = data["disc"]
        image, affine, shown = scale_disc(data["image"], disc, self.size_px)
        if disc.rule not in FALLBACKS:
            shown = shown & _inside_disc(self.size_px)
        image[~shown] = 0
        return {**data, "image": image, "affine": affine, "shown": shown}


@dataclass(frozen=True)
class NormaliseLocally:
    """Subtracts the local average colour and stretches what is left."""

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Replace ``image`` where the row asks for it; outside of the disc it stays black."""
        if "normalised" not in str(data.get("colours")):
            return data
        image, shown = data["image"], data["shown"]
        full = _full_scale(image.dtype)
        pixels = image.astype(np.float32) * (255 / full)
        sigma = LOCAL_SIGMA * min(image.shape[:2]) / 2
        # Black surroundings must not darken the average along the rim.
        weight = cv2.GaussianBlur(shown.astype(np.float32), (0, 0), sigma)[..., None]
        around = cv2.GaussianBlur(pixels * shown[..., None], (0, 0), sigma).reshape(pixels.shape)
        changed = LOCAL_GAIN * (pixels - around / np.maximum(weight, 1e-3)) + LOCAL_MIDDLE
        return {**data, "image": _back(changed, image.dtype, shown)}


@dataclass(frozen=True)
class EqualiseLocally:
    """Contrast-limited adaptive equalisation of lightness; colours keep their place."""

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Replace ``image`` where the row asks for it; of more than eight bits eight remain."""
        image, shown = data["image"], data["shown"]
        if "equalised" not in str(data.get("colours")) or image.shape[2] != 3:
            return data
        lab = cv2.cvtColor(to_eight_bits(image), cv2.COLOR_RGB2LAB)
        equaliser = cv2.createCLAHE(CLAHE_CLIP, (CLAHE_TILES, CLAHE_TILES))
        lab[..., 0] = equaliser.apply(np.ascontiguousarray(lab[..., 0]))
        changed = cv2.cvtColor(lab, cv2.COLOR_LAB2RGB).astype(np.float32)
        return {**data, "image": _back(changed, image.dtype, shown)}


@dataclass(frozen=True)
class DropDisc:
    """Removes what only the steps between needed."""

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Leave plain values."""
        return {key: value for key, value in data.items() if key not in {"disc", "shown"}}


def scale_disc(
    image: NDArray[Any], disc: Disc, size_px: tuple[int, int]
) -> tuple[NDArray[Any], NDArray[np.float64], NDArray[np.bool_]]:
    """The part of a picture around its disc, scaled so that the disc fills ``size_px``.

    Shrinking averages the pixels that become one (``INTER_AREA``), so that a
    microaneurysm fades instead of vanishing by chance; enlarging is linear.

    Args:
        image: (H', W', C).
        disc: in that picture.
        size_px: (H, W); the diameter is the smaller of the two.

    Returns:
        The picture (H, W, C); its affine to source pixels (3, 3); and where it
        shows the source (H, W).
    """
    height, width = size_px
    scale = min(size_px) / 2 / disc.radius
    # Edges of the wanted window in source pixels; a pixel's own edges are at -0.5 and +0.5.
    top, left = disc.row + 0.5 - height / 2 / scale, disc.col + 0.5 - width / 2 / scale
    row0, row1 = _clipped(top, height / scale, image.shape[0])
    col0, col1 = _clipped(left, width / scale, image.shape[1])
    rows = min(height, max(1, round((row1 - row0) * scale)))
    cols = min(width, max(1, round((col1 - col0) * scale)))
    part = np.ascontiguousarray(image[row0:row1, col0:col1])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    part = cv2.resize(part, (cols, rows), interpolation=how).reshape(rows, cols, image.shape[2])
    down = min(max(0, round((row0 - top) * scale)), height - rows)
    right = min(max(0, round((col0 - left) * scale)), width - cols)
    placed = np.zeros((height, width, image.shape[2]), image.dtype)
    placed[down : down + rows, right : right + cols] = part
    shown = np.zeros((height, width), bool)
    shown[down : down + rows, right : right + cols] = True
    by_row, by_col = (row1 - row0) / rows, (col1 - col0) / cols
    affine = np.array(
        [
            [by_row, 0, row0 - 0.5 + by_row * (0.5 - down)],
            [0, by_col, col0 - 0.5 + by_col * (0.5 - right)],
            [0, 0, 1],
        ],
        np.float64,
    )
    return placed, affine, shown


def _clipped(start: float, length: float, available: int) -> tuple[int, int]:
    """Whole pixels of a window, as far as the picture reaches; at least one."""
    first = min(max(0, round(start)), available - 1)
    return first, max(first + 1, min(available, round(start + length)))


def _inside_disc(size_px: tuple[int, int]) -> NDArray[np.bool_]:
    """The kept part of the disc in a prepared picture."""
    rows, cols = np.ogrid[: size_px[0], : size_px[1]]
    distance = np.hypot(rows - (size_px[0] - 1) / 2, cols - (size_px[1] - 1) / 2)
    return np.asarray(distance <= KEPT_SHARE * min(size_px) / 2)


def _full_scale(dtype: np.dtype[Any]) -> float:
    """The largest value of a picture of this dtype."""
    return {"uint8": 255.0, "uint16": 65535.0}.get(dtype.name, 1.0)


def _back(
    pixels: NDArray[np.float32], dtype: np.dtype[Any], shown: NDArray[np.bool_]
) -> NDArray[Any]:
    """8-bit steps as floats in the picture's own dtype, black outside of the disc."""
    values = np.clip(pixels, 0, 255) * (_full_scale(dtype) / 255)
    done = (values.round() if dtype.kind == "u" else values).astype(dtype)
    done[~shown] = 0
    return np.asarray(done)
