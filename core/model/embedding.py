"""Embeddings of small grey pictures by a frozen backbone, to find which look alike.

A network that was trained on other pictures sees past what changes every pixel, such as a
local equalisation; whether two pictures are one is decided elsewhere (``moved_copies``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from core.model.backbone import create_backbone
from core.model.volume_backbone import is_volume_network, twin_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Embed = Callable[[Sequence[NDArray[np.uint8]]], NDArray[np.float32]]

__all__ = ["frozen_embedding"]

# Pictures that go through the network at a time.
_BATCH = 64
# Mean and spread of grey photographs on which the usual weights were trained.
_MEAN, _STD = 0.45, 0.225


def frozen_embedding(backbone: str, weights: str) -> Embed:
    """A function from grey pictures to embeddings of length 1.

    The network is built when it is first asked, and runs on the processor, so that what is found
    does not depend on the machine.

    Args:
        backbone: timm name of a residual network; a 3-D one sees the pictures as its 2-D twin.
        weights: ``hub`` or a file, see ``create_backbone``.

    Returns:
        (N pictures (H, W) of 0 to 255, sides of any length) -> (N, D).
    """

    def embed(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        flat = twin_of(backbone) if is_volume_network(backbone) else backbone
        network, _ = create_backbone(flat, weights=weights, in_channels=3)
        network.eval()
        side = max(max(picture.shape) for picture in pictures)
        found: list[NDArray[Any]] = []
        with torch.inference_mode():
            for start in range(0, len(pictures), _BATCH):
                batch = _squares(pictures[start : start + _BATCH], side)
                pixels = (torch.from_numpy(batch).float() / 255 - _MEAN) / _STD
                found.append(network(pixels[:, None].expand(-1, 3, -1, -1)).flatten(1).numpy())
        embeddings = np.concatenate(found).astype(np.float32)
        norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
        return np.asarray(embeddings / np.maximum(norms, 1e-6), np.float32)

    return embed


def _squares(pictures: Sequence[NDArray[np.uint8]], side: int) -> NDArray[np.uint8]:
    """Pictures (N, side, side), each in the middle of a black square."""
    squares = np.zeros((len(pictures), side, side), np.uint8)
    for square, picture in zip(squares, pictures, strict=True):
        height, width = picture.shape
        top, left = (side - height) // 2, (side - width) // 2
        square[top : top + height, left : left + width] = picture
    return squares
