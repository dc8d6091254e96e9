"""The padding colour: the mean of ImageNet, in the dtype of the picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PADDING", "padding_for"]


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
    if image.dtype.kind == "f":
        return tuple(value / 255 for value in colour)
    # 257 = 65535 / 255: black stays black and white stays white.
    return tuple(value * (257 if image.dtype == np.uint16 else 1) for value in colour)
