"""Fitting a whole picture into a frame: scaled in proportion, centred, padded in one colour.

A picture is never cropped, for what names its class may be at the margin. Both steps carry
``affine`` along, so that a place in the frame is known in the source. Pixel coordinates are
(row, col), zero-based, at pixel centres.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from core.base.volumes import LEAST_SLICES
from core.data.resizing import resized

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PADDING", "FitInside", "PadAround", "padding_for"]


# The mean colour of ImageNet in 8-bit steps (0.485, 0.456, 0.406 of full scale). After
# the network's own normalisation it is zero, which is also what its convolutions
# pad with: padding looks like nothing at all. An edge colour would smear a lesion
# that touches the frame; black and white both occur in photos.
PADDING = (124, 116, 104)


def padding_for(image: NDArray[Any]) -> tuple[float, ...]:
    """The padding colour in the image's own dtype, one value per channel.

    Args:
        image: (H, W, C); floats are taken to lie in [0, 1].

    >>> padding_for(np.zeros((1, 1, 3), np.uint8))
    (124, 116, 104)
    >>> padding_for(np.zeros((1, 1, 1), np.uint16))
    (29812,)
    """
    channels = image.shape[2]
    # Not an RGB picture: its own middle, the same in every channel.
    colour = PADDING if channels == 3 else (PADDING[1],) * channels
    if channels >= LEAST_SLICES:
        # A volume lies in the dark.
        colour = (0,) * channels
    if image.dtype.kind == "f":
        return tuple(value / 255 for value in colour)
    # 257 = 65535 / 255: black stays black and white stays white.
    return tuple(value * (257 if image.dtype == np.uint16 else 1) for value in colour)


@dataclass(frozen=True)
class FitInside:
    """Scales a photo, sides in proportion, to the largest that fits into the frame.

    Shrinking averages the pixels that become one (``INTER_AREA``), so that a
    small pustule fades instead of vanishing by chance; enlarging is linear.
    """

    size_px: tuple[int, int]

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Scale ``image`` and start ``affine``."""
        image = data["image"]
        height, width = image.shape[:2]
        scale = min(self.size_px[0] / height, self.size_px[1] / width)
        rows = min(self.size_px[0], max(1, round(height * scale)))
        cols = min(self.size_px[1], max(1, round(width * scale)))
        if (rows, cols) != (height, width):
            how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            image = resized(image, (rows, cols), how)
        by_row, by_col = height / rows, width / cols
        affine = np.array(
            [[by_row, 0, (by_row - 1) / 2], [0, by_col, (by_col - 1) / 2], [0, 0, 1]], np.float64
        )
        return {**data, "image": image, "affine": affine}


@dataclass(frozen=True)
class PadAround:
    """Centres a photo in the frame, in the padding colour.

    MONAI's own padding fills every channel with one value, and this needs a colour.
    """

    size_px: tuple[int, int]

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Pad ``image`` and shift ``affine``."""
        image = data["image"]
        rows, cols, channels = image.shape
        top, left = (self.size_px[0] - rows) // 2, (self.size_px[1] - cols) // 2
        if (rows, cols) != self.size_px:
            frame = np.empty((*self.size_px, channels), image.dtype)
            frame[...] = np.array(padding_for(image), image.dtype)
            frame[top : top + rows, left : left + cols] = image
            image = frame
        shift = np.array([[1, 0, -top], [0, 1, -left], [0, 0, 1]], np.float64)
        return {**data, "image": image, "affine": data["affine"] @ shift}
