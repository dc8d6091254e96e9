"""From a leaf photo to the pixels a network sees: how it is read, brought to size and judged.

A photo is never cropped: a disease may show at the margin only, and no leaf finder is
right on every background. This module knows neither models nor scores.

Pixel coordinates are (row, col), zero-based, at pixel centres.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from apps.crop_disease.field.window import is_tile
from core.data.framing import FitInside, PadAround
from core.data.images import read_image
from core.data.resizing import shrunk
from core.data.steps import Steps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from core.data.augmentation import Changes

__all__ = [
    "LEAST_SHARPNESS",
    "LEAST_SHORT_SIDE_PX",
    "LEAST_WHITE",
    "JudgePhoto",
    "augment",
    "prepare",
    "read",
]

# A photo is judged where its longer side is at most this long.
JUDGED_AT_PX = 256
# Variance of the Laplacian of the grey picture there (8-bit steps). Of 1,433 coffee-leaf
# photos the least sharp has 110; blurred until a vein of 1 % of the leaf's
# length is gone (Gaussian, sigma 2 px there) they have 5 to 11.
LEAST_SHARPNESS = 6.0
# 95th percentile of grey (8-bit steps): below it nothing in the photo is lit. The
# darkest of the 1,433 photos has 144.
LEAST_WHITE = 40.0
# Shorter side of the photo as read: below it a lesion of 5 % of the leaf is about 10 px wide.
LEAST_SHORT_SIDE_PX = 64


def read(row: Mapping[str, Any]) -> NDArray[Any]:
    """The photo of a manifest row, RGB (H, W, 3), turned as its EXIF tag says."""
    return read_image(Path(row["path"]), at_least=row.get("at_least"))


def prepare(size_px: tuple[int, int]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Judge, fit and pad a photo: the same for training, evaluation and prediction.

    Args:
        size_px: (H, W) of the result.

    Returns:
        A chain of steps from ``{"image": (H', W', C), ...}`` to the same with
        ``image`` (H, W, C) in the dtype it came in; ``affine`` (3, 3), which
        maps prepared (row, col, 1) to source (row, col, 1); and ``quality``,
        empty or why the photo should not be judged. A photo that already has
        this size passes unchanged, bit for bit.
    """
    return Steps((JudgePhoto(), FitInside(size_px), PadAround(size_px)))


def augment(size_px: tuple[int, int]) -> Changes:
    """The random changes of training, an albumentations pipeline to exactly ``size_px``."""
    # Without it albumentations asks a server for its newest version when it is imported.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    from apps.crop_disease.augmentation import leaf_changes  # noqa: PLC0415  (heavy)

    return leaf_changes(size_px)


@dataclass(frozen=True)
class JudgePhoto:
    """Adds ``quality``: why a photo should not be judged, or an empty string.

    Conservative: a photo that a person could still read must pass.
    """

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Judge the photo as read, before it is brought to size."""
        if is_tile(data):
            # Its size was chosen, and bare soil is neither dark nor blurred.
            return {**data, "quality": ""}
        return {**data, "quality": "; ".join(_faults(data["image"]))}


def _faults(image: NDArray[Any]) -> list[str]:
    """What is wrong with a photo, in words."""
    faults = []
    short = min(image.shape[:2])
    if short < LEAST_SHORT_SIDE_PX:
        faults.append(f"too small ({short} px on its short side, {LEAST_SHORT_SIDE_PX} needed)")
    grey = shrunk(_grey(image), JUDGED_AT_PX)
    if np.percentile(grey, 95) < LEAST_WHITE:
        # Whether it is sharp cannot be seen in the dark.
        faults.append("too dark")
    elif cv2.Laplacian(grey, cv2.CV_32F).var() < LEAST_SHARPNESS:
        faults.append("blurred")
    return faults


def _grey(image: NDArray[Any]) -> NDArray[np.float32]:
    """Brightness (H, W) in 8-bit steps."""
    full = {"u": 257.0 if image.dtype == np.uint16 else 1.0, "f": 1 / 255}[image.dtype.kind]
    pixels = image.astype(np.float32) / np.float32(full)
    if image.shape[2] == 3:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))
    return np.asarray(pixels.mean(axis=2), np.float32)
