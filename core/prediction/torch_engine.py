"""The torch engine: the network of a run on a processor or an accelerator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from core.base.machine import pick_device, scoring_batch, threads
from core.model.inference import run_batch
from core.model.saliency import saliency_map
from core.prediction.engines import EngineResult
from core.runs.networks import load_networks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from core.model.network import Network
    from core.model.out_of_distribution import Familiarity
    from core.runs.run import Member, Run

__all__ = ["TorchEngine", "torch_engines"]


def torch_engines(run: Run, device: str) -> Iterator[tuple[Member, TorchEngine, Familiarity]]:
    """Every network of a run, ready to score on a device (Lightning's accelerator name)."""
    for member, network, familiarity in load_networks(run):
        yield member, TorchEngine(network, device), familiarity


class TorchEngine:
    """A loaded network.

    Args:
        network: in evaluation mode.
        device: Lightning's accelerator name.
    """

    def __init__(self, network: Network, device: str) -> None:
        self._device = pick_device(device)
        torch.set_num_threads(threads())
        self.network = network.to(self._device)
        self.n_logits = int(network.head.bias.numel())
        self.has_attention = network.attention is not None

    def run(self, pixels: NDArray[Any]) -> EngineResult:
        """Score (N, C, H, W) stored pixels."""
        size = scoring_batch(self._device.type)
        parts = [
            run_batch(self.network, torch.from_numpy(pixels[start : start + size]))
            for start in range(0, len(pixels), size)
        ]
        logits = np.concatenate([z for z, _ in parts])
        embeddings = np.concatenate([e for _, e in parts])
        pool = self.network.attention
        return EngineResult(logits, embeddings, pool.of_images(embeddings) if pool else None)

    def describe(self) -> dict[str, str]:
        """Name, version and precision."""
        return {
            "engine": f"torch {self._device.type}",
            "version": torch.__version__,
            "precision": "fp32",
        }

    def saliency(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """(h, w) in [0, 1], where the network looked on (C, H, W) stored pixels."""
        batch = torch.from_numpy(pixels)[None].to(self._device)
        layer = self.network.last_stage
        return saliency_map(self.network, batch, class_index=None, target_layer=layer)
