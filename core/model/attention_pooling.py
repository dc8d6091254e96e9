"""Attention pooling: learned weights aggregate the images of a unit.

Attention over the embeddings of a unit's images (Ilse, Tomczak and Welling 2018,
arXiv 1802.04712): every image gets a weight from what it shows, the weights of a
unit add up to one, and a linear head reads the weighted average. Any number of
images is accepted, so a missing view only leaves the others more weight. The start
is the network's own head with equal weights; ``core.training.attention_fitting`` fits it.

Because the head is linear, the answer of a unit is the weighted average of the
logits of its images. Two things per image are therefore all that a table needs
(``core.base.tables.ATTENTION``), and ``core.evaluation.attention_units`` makes decisions from them
without a network.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from core.model.heads import Head

__all__ = ["AttentionPool"]

HIDDEN = 32


class AttentionPool(nn.Module):
    """Attention and a linear head over standardised embeddings.

    Args:
        head: of the network; a copy of it is the start.
        mean: (D,) of the network's features, to standardise them with.
        std: (D,) as ``mean``.
    """

    def __init__(self, head: Head, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.head: Head = copy.deepcopy(head)
        n_features = self.head.weight.shape[1]
        self.look = nn.Linear(n_features, HIDDEN)
        self.weigh = nn.Linear(HIDDEN, 1, bias=False)
        # Equal weights at the start: the pool begins as the plain average.
        nn.init.zeros_(self.weigh.weight)
        self.mean: Tensor
        self.std: Tensor
        self.temperature: Tensor
        self.register_buffer("mean", mean.clone())
        self.register_buffer("std", std.clone())
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """(N, D) embeddings -> attention (N,) before the softmax over a unit, logits (N, L)."""
        x = (embeddings - self.mean) / self.std
        attention: Tensor = self.weigh(torch.tanh(self.look(x)))[:, 0]
        logits: Tensor = self.head(x) / self.temperature
        return attention, logits

    def of_images(self, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
        """The same for arrays, side by side: (N, 1 + L)."""
        with torch.no_grad():
            attention, logits = self(torch.from_numpy(embeddings).to(self.mean.device))
        return np.column_stack([attention.double().cpu().numpy(), logits.double().cpu().numpy()])
