"""Images of any number of channels at another size.

OpenCV averages pixels (``INTER_AREA``) of four channels at most; those of several cameras, and
volumes, have more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["resized", "shrunk"]

# Channels that OpenCV takes at a time.
_AT_ONCE = 4


def resized(image: NDArray[Any], size_px: tuple[int, int], how: int) -> NDArray[Any]:
    """The image at another size, each channel as if it were alone.

    Args:
        image: (H', W', C) or (H', W').
        size_px: (H, W) wanted.
        how: OpenCV's interpolation.

    Returns:
        (H, W, C), or (H, W), in the dtype it came in.
    """
    import cv2  # noqa: PLC0415  (0.1 s to import)

    solid = image if image.ndim == 3 else image[..., None]
    parts = [
        cv2.resize(
            np.ascontiguousarray(solid[..., start : start + _AT_ONCE]),
            size_px[::-1],
            interpolation=how,
        ).reshape(*size_px, -1)
        for start in range(0, solid.shape[2], _AT_ONCE)
    ]
    whole = np.concatenate(parts, axis=2)
    return whole if image.ndim == 3 else whole[..., 0]


def shrunk(image: NDArray[Any], longest_px: int) -> NDArray[Any]:
    """The image with no side longer than this, in proportion; as it is where none is.

    Args:
        image: (H, W, C) or (H, W).
        longest_px: of the longer side.
    """
    import cv2  # noqa: PLC0415  (see above)

    height, width = image.shape[:2]
    scale = longest_px / max(height, width)
    if scale >= 1:
        return image
    size_px = (max(1, round(height * scale)), max(1, round(width * scale)))
    return resized(image, size_px, cv2.INTER_AREA)
