"""Weights that load without running code.

A run's model is ``model.safetensors`` (weights and normalisation constants)
and what ``run.json`` says about it. Lightning is not imported here: a prediction
starts without it (``core.model.resume_points``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from core.base.outputs import write_bytes
from core.errors import ConfigError, RunError
from core.model.attention_pooling import AttentionPool
from core.model.backbone import create_backbone
from core.model.heads import Head
from core.model.network import Network, PixelScale, pool_width
from core.model.out_of_distribution import Familiarity

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = [
    "build_network",
    "load_member",
    "load_weights",
    "save_backbone",
    "save_network",
]

_FAMILIARITY = "familiarity."


def build_network(content: Mapping[str, Any], *, n_classes: int, backbone: Any = None) -> Network:
    """The network that ``run.json`` describes, with random weights unless a backbone is given.

    Args:
        content: backbone, channels, dtype, pool, link, mean, std, dropout, norms,
            frozen_stages, attention (the unit whose images were given weights).
        n_classes: K.
        backbone: an already created timm network.
    """
    if backbone is None:
        backbone, _ = create_backbone(
            content["backbone"], weights="none", in_channels=int(content["channels"])
        )
    head = Head(content["link"], pool_width(backbone, content["pool"]), n_classes)
    network = Network(
        backbone,
        head,
        pool=content["pool"],
        scale=PixelScale(tuple(content["mean"]), tuple(content["std"]), content["dtype"]),
        dropout=float(content.get("dropout", 0.0)),
        norms=content.get("norms", "frozen"),
        frozen_stages=int(content.get("frozen_stages", 0)),
        flips=content.get("flips", "none"),
    )
    if content.get("attention"):
        network.attention = AttentionPool(network.head, network.feature_mean, network.feature_std)
    return network


def save_network(path: Path, network: Network, familiarity: Familiarity | None = None) -> None:
    """Write weights and buffers, and where training images lie, whole or not at all."""
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    if familiarity is not None:
        for key, array in familiarity.tensors().items():
            state[f"{_FAMILIARITY}{key}"] = torch.from_numpy(np.ascontiguousarray(array))
    write_bytes(path, save(state, metadata={"format": "pt"}))


def save_backbone(path: Path, network: Network) -> None:
    """Write the backbone alone, under the names that timm gives its parts."""
    state = network.backbone.state_dict()
    plain = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    write_bytes(path, save(plain, metadata={"format": "pt"}))


def load_weights(path: Path, network: Network) -> None:
    """Load weights saved by ``save_network`` into a network of the same shape.

    Raises:
        RunError: the file is absent, damaged, or of another network.
    """
    try:
        # By its bytes: a folder above it need not be UTF-8, which the package asks of a path.
        state = load(path.read_bytes())
        network.load_state_dict({k: v for k, v in state.items() if not k.startswith(_FAMILIARITY)})
    except (SafetensorError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        msg = f"{path}: cannot be loaded ({reason}). Copy the run again from where it was trained."
        raise RunError(msg) from error


def load_member(
    path: Path, content: Mapping[str, Any], *, n_classes: int
) -> tuple[Network, Familiarity]:
    """Read one member of a run: the network that ``run.json`` describes, ready to score.

    Raises:
        RunError: the file is absent, damaged, or of another network.
    """
    try:
        network = build_network(content, n_classes=n_classes)
    except ConfigError as error:
        msg = f"{path.parent}: its network cannot be made here ({error})"
        raise RunError(msg) from error
    load_weights(path, network)
    tensors = {
        key.removeprefix(_FAMILIARITY): value.numpy()
        for key, value in load(path.read_bytes()).items()
        if key.startswith(_FAMILIARITY)
    }
    try:
        familiarity = Familiarity.from_tensors(tensors)
    except (KeyError, ValueError) as error:
        msg = f"{path}: lacks where its training images lie. Copy the run again, or train anew."
        raise RunError(msg) from error
    return network.eval(), familiarity
