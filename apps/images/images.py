"""From a manifest row to the pixels a network sees, for any kind of image.

A picture is never cropped. Of 8 bits it stays as it is; deeper ones are stretched to their
own range, because nothing says what their values mean. This module knows neither models nor
scores.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from apps.images.arrays import ARRAY_SUFFIXES, read_array
from apps.images.dicom import read_picture
from apps.images.volumes import is_slice, read_slice
from apps.images.whole_volumes import is_whole, read_whole
from core.data.dicom import is_dicom
from core.data.framing import FitInside, PadAround
from core.data.images import read_image
from core.data.steps import Steps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from apps.images.augmentation import PictureOrVolume

__all__ = ["SYMMETRIES", "JudgePicture", "Stretch", "augment", "prepare", "read"]


def read(row: Mapping[str, Any]) -> NDArray[Any]:
    """The picture of a manifest row, (H, W, C); of a whole volume its slices, (H, W, D)."""
    path = Path(row["path"])
    if is_whole(row):
        return read_whole(row, path)
    if is_slice(row):
        return read_slice(row, path)
    if path.suffix.lower() in ARRAY_SUFFIXES:
        return read_array(path)
    if is_dicom(path):
        return read_picture(path)
    return read_image(path, at_least=row.get("at_least"))


def prepare(size_px: tuple[int, int]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Judge, stretch, fit and pad: the same for training, evaluation and prediction.

    Args:
        size_px: (H, W) of the result.

    Returns:
        A chain of steps from ``{"image": (H', W', C), ...}`` to the same with ``image``
        (H, W, C) in the dtype it came in, ``affine`` (3, 3) and ``quality``.
    """
    return Steps((JudgePicture(), Stretch(), FitInside(size_px), PadAround(size_px)))


def augment(size_px: tuple[int, int], symmetry: str = "none") -> PictureOrVolume:
    """The random changes of training, a pipeline to exactly ``size_px``."""
    # Without it albumentations asks a server for its newest version when it is imported.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    from apps.images.augmentation import changes  # noqa: PLC0415  (heavy)

    return changes(size_px, symmetry)


SYMMETRIES = {
    name: partial(augment, symmetry=name) for name in ("none", "left_right", "both", "any")
}


@dataclass(frozen=True)
class JudgePicture:
    """Adds ``quality``: why a picture should not be judged, or an empty string."""

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Judge the picture as read: one of a single value shows nothing."""
        image = data["image"]
        if is_slice(data):
            # The first and last slices of a volume may hold nothing.
            return {**data, "quality": ""}
        is_blank = image.size == 0 or float(image.max()) == float(image.min())
        return {**data, "quality": "blank: every pixel has the same value" if is_blank else ""}


@dataclass(frozen=True)
class Stretch:
    """Brings pixels of 16 bits and floats from their own range to the full scale.

    The 0.1st percentile becomes black, the 99.9th white, over all channels together so that
    colours stay.
    """

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Stretch ``image``; 8 bits pass unchanged."""
        image = data["image"]
        if image.dtype == np.uint8:
            return data
        low, high = (float(value) for value in np.percentile(image, [0.1, 99.9]))
        if high <= low:
            low, high = float(image.min()), float(image.max())
        scaled = np.clip((image.astype(np.float32) - low) / max(high - low, 1e-9), 0, 1)
        if image.dtype == np.uint16:
            scaled = np.round(scaled * 65535)
        return {**data, "image": scaled.astype(image.dtype)}
