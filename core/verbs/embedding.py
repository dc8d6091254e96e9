"""The embedding by which ``check`` finds further copies: of a network that is named by the user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.model.backbone import require_weights
from core.model.embedding import frozen_embedding

if TYPE_CHECKING:
    from core.data.moved_copies import Embed

__all__ = ["embedding"]


def embedding(backbone: str, weights: str) -> Embed:
    """A function from pictures to embeddings, its weights looked for before any image is read.

    Args:
        backbone: timm name of a residual network.
        weights: ``hub`` or a file.

    Raises:
        ConfigError: no such network, or not a residual one.
        WeightsError: the weights are absent or do not fit.
    """
    require_weights(backbone, weights)
    return frozen_embedding(backbone, weights)
