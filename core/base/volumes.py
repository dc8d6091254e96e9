"""Volumes as images: their slices are the channels, and a sheet of them is what a person sees.

Stores, loaders and exports take (H, W, C) images; a volume of D slices is one of D channels. No
picture has as many channels as ``LEAST_SLICES``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LEAST_SLICES", "MOST_SLICES", "contact_sheet", "visible"]

# Channels from which an image is a volume; instruments of fewer bands are cameras.
LEAST_SLICES = 16
# As many as a run's images may have channels.
MOST_SLICES = 64
# Slices on a sheet.
_SHOWN = 9


def contact_sheet(volume: NDArray[Any]) -> NDArray[Any]:
    """Nine slices, spread evenly from the first to the last, row by row.

    Args:
        volume: (H, W, D).

    Returns:
        (3 H, 3 W), in the dtype it came in.

    >>> contact_sheet(np.arange(17)[None, None]).tolist()
    [[0, 2, 4], [6, 8, 10], [12, 14, 16]]
    """
    side = math.isqrt(_SHOWN)
    places = np.linspace(0, volume.shape[2] - 1, _SHOWN).round().astype(int)
    slices = [volume[:, :, place] for place in places]
    rows = [np.hstack(slices[start : start + side]) for start in range(0, _SHOWN, side)]
    return np.vstack(rows)


def visible(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Prepared pixels as a picture (H, W, 3) uint8 that a person can look at.

    A volume is a sheet of its slices.
    """
    if pixels.shape[2] >= LEAST_SLICES:
        pixels = contact_sheet(pixels)[..., None]
    values = pixels[..., :3] if pixels.shape[2] >= 3 else np.repeat(pixels[..., :1], 3, axis=2)
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    values = values.astype(np.float64)
    low, high = np.percentile(values, [0.5, 99.5])
    return np.asarray(np.clip((values - low) / max(high - low, 1e-9), 0, 1) * 255, dtype=np.uint8)
