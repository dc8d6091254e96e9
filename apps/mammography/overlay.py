"""Saliency drawn over a mammogram at its own size, its hottest part outlined."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["HOT", "coloured"]


# Attention below this share of its maximum is left as it is in an overlay.
FAINT = 0.3


# Attention above this share is outlined, and marked in a segmentation.
HOT = 0.6


def coloured(pixels: NDArray[np.generic], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The image in grey with attention in orange, its hottest part outlined, (H, W, 3).

    Args:
        pixels: (H, W, C) as read.
        heat: (H, W) in [0, 1].
    """
    import cv2  # noqa: PLC0415  (0.1 s to import)

    grey = pixels.astype(np.float32).mean(axis=2)
    full = {"uint8": 255.0, "uint16": 65535.0}.get(str(pixels.dtype)) or float(grey.max()) or 1.0
    grey = np.clip(grey / full, 0, 1)
    strength = np.clip((heat - FAINT) / (1 - FAINT), 0, 1)[..., None] * 0.4
    tint = np.array([1.0, 0.45, 0.0], dtype=np.float32)
    mixed = grey[..., None] * (1 - strength) + tint * strength
    drawn: NDArray[np.uint8] = np.ascontiguousarray(np.rint(mixed * 255).astype(np.uint8))
    outlines, _ = cv2.findContours(
        (heat > HOT).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    width = max(1, round(max(drawn.shape[:2]) / 500))
    cv2.drawContours(drawn, outlines, -1, (255, 140, 0), width)
    return drawn
