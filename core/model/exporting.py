"""Export a network to ONNX: stored pixels in, logits and embedding out.

The scale of the stored dtype, the normalisation constants, the pooling and the
head are inside the file, so whoever runs it feeds prepared pixels and nothing
else. The batch is dynamic, height and width are those of the run. A network
whose images of a unit are weighted gives a third output. This module needs
torch, onnx and onnxscript; reading an exported file needs none of them.

Source: torch.onnx, exporter on ``torch.export`` (``dynamo=True``).
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from core.base.outputs import write_bytes
from core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from core.model.network import Network

__all__ = ["INPUT", "OPSET", "OUTPUTS", "export_onnx"]

# ONNX Runtime 1.16 and OpenVINO 2023 are the first of their lines that read it.
OPSET = 18
INPUT = "pixels"
OUTPUTS = ("logits", "embedding", "attention")


class _PixelsToLogits(nn.Module):
    """Logits, embedding and, where the run has it, attention of a batch of stored pixels."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        embedding = self.network.embed(pixels)
        logits = self.network.classify(embedding)
        if self.network.attention is None:
            return logits, embedding
        attention, weighted = self.network.attention(embedding)
        return logits, embedding, torch.cat([attention[:, None], weighted], dim=1)


def export_onnx(
    network: Network, path: Path, *, size_px: tuple[int, int], channels: int, dtype: str
) -> None:
    """Write a network as one ONNX file, whole or not at all.

    Args:
        network: of a run; put into evaluation mode.
        path: the file.
        size_px: (H, W) of its input.
        channels: C of its input.
        dtype: of the stored pixels: ``uint8``, ``uint16`` or ``float32``.

    The file takes ``pixels`` (N, C, H, W) of that dtype and gives ``logits`` (N, L),
    ``embedding`` (N, D) and, where images of a unit are weighted, ``attention`` (N, 1 + L):
    the weight before the softmax over the unit, and the image's share of the unit's logits.

    Raises:
        ConfigError: the packages of the export extra are not installed.
    """
    try:
        import onnx  # noqa: F401, PLC0415  (optional)
        import onnxscript  # noqa: F401, PLC0415
    except ImportError as error:
        msg = (
            f"Exporting needs the package {error.name}, which is not installed. "
            "pip install 'resight[export]'"
        )
        raise ConfigError(msg) from error
    # Two images: torch.export takes a batch of one for a constant.
    example = torch.from_numpy(np.zeros((2, channels, *size_px), dtype=dtype))
    model = _PixelsToLogits(network.cpu()).eval()
    names = OUTPUTS[: 2 if network.attention is None else 3]
    # The exporter speaks of its own progress and of operators that we do not use.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            external_data=False,
            verbose=False,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},),
            input_names=[INPUT],
            output_names=list(names),
        )
    if program is None:
        # Only where the exporter was told to write a file itself.
        raise RuntimeError
    write_bytes(path, program.model_proto.SerializeToString())
