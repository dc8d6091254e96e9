"""Logits and embeddings of batches, with one retry at half the batch when memory runs out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from core.model.network import Network

__all__ = ["run_batch", "run_batches"]


def run_batch(
    network: Network, pixels: torch.Tensor
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """(N, L) logits and (N, D) embeddings of one batch of stored pixels.

    An accelerator that runs out of memory is given the two halves in turn.
    """
    device = next(network.parameters()).device
    try:
        with torch.inference_mode():
            embeddings = network.embed(pixels.to(device, non_blocking=True))
            logits = network.classify(embeddings)
        return logits.double().cpu().numpy(), embeddings.float().cpu().numpy()
    except torch.OutOfMemoryError:
        if len(pixels) < 2:
            raise
        torch.cuda.empty_cache()
        middle = len(pixels) // 2
        parts = [run_batch(network, part) for part in (pixels[:middle], pixels[middle:])]
        return np.concatenate([z for z, _ in parts]), np.concatenate([e for _, e in parts])


def run_batches(
    network: Network,
    batches: Iterable[tuple[NDArray[np.int_], torch.Tensor]],
    *,
    advance: Callable[[int], None] = lambda _: None,
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Logits and embeddings of all batches, in their order."""
    network.eval()
    logits, embeddings = [], []
    for rows, pixels in batches:
        z, e = run_batch(network, pixels)
        logits.append(z)
        embeddings.append(e)
        advance(len(rows))
    return np.concatenate(logits), np.concatenate(embeddings)
