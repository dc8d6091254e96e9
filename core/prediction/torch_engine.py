"""The torch engine: the network of a run on a processor or an accelerator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from core.base.machine import pick_device
from core.model.inference import run_batch
from core.prediction.engines import EngineResult

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from core.model.network import Network

__all__ = ["TorchEngine"]


class TorchEngine:
    """A loaded network.

    Args:
        network: in evaluation mode.
        device: Lightning's accelerator name.
    """

    def __init__(self, network: Network, device: str) -> None:
        self._device = pick_device(device)
        self.network = network.to(self._device)
        self.n_logits = int(network.head.bias.numel())
        self.has_attention = network.attention is not None

    def run(self, pixels: NDArray[Any]) -> EngineResult:
        """Score (N, C, H, W) stored pixels."""
        logits, embeddings = run_batch(self.network, torch.from_numpy(pixels))
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
        from core.report.saliency import saliency_map  # noqa: PLC0415  (imports MONAI)

        batch = torch.from_numpy(pixels)[None].to(self._device)
        layer = self.network.last_stage
        return saliency_map(self.network, batch, class_index=None, target_layer=layer)
