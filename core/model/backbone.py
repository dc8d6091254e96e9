"""Which network, and which pretrained weights.

timm owns the architectures; this module creates one by its timm name, loads
weights from the hub's cache or a file, adapts them to the number of input
channels, and says what matched. It never downloads while a file is given.
"""

from __future__ import annotations

import difflib
import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import timm
import torch
from torch import nn

from core.base.outputs import sha256_file
from core.base.volumes import LEAST_SLICES
from core.errors import ConfigError, WeightsError
from core.model.volume_backbone import VolumeBackbone, inflated, is_volume_network, twin_of

__all__ = ["LoadedWeights", "create_backbone", "require_weights", "stage_of"]

# The files of timm whose networks are residual in every block.
RESIDUAL = ("resnet", "resnetv2", "resnest", "res2net", "sknet", "regnet")
HUB_TIMEOUT_S = 5.0


@dataclass(frozen=True, kw_only=True)
class LoadedWeights:
    """What a backbone starts from.

    Attributes:
        source: ``none``, the hub's name, or the file name.
        sha256: of the file; empty for random weights.
        matched: tensors taken over.
        unused: tensors of the file that the network has no place for.
        mean, std: input normalisation per channel that the weights expect, for
            pixels scaled to [0, 1].
        licence: as the source states it; empty if it does not.
        note: what was adapted, in words.
    """

    source: str
    sha256: str
    matched: int
    unused: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    licence: str
    note: str

    def as_dict(self) -> dict[str, Any]:
        """Plain content for JSON."""
        return asdict(self)


def create_backbone(
    name: str, *, weights: str, in_channels: int
) -> tuple[nn.Module, LoadedWeights]:
    """A residual network without its classifier, and what it starts from.

    Args:
        name: timm name, with or without a tag (``resnet50``, ``resnet50.a1_in1k``), or a 3-D
            network (``resnet18_3d``), which takes the weights of its 2-D twin.
        weights: ``hub``, ``none`` or the path of a ``.safetensors`` file (or a
            ``.pth`` state dictionary, read with ``weights_only``).
        in_channels: C of the images; three-channel weights are adapted. D of volumes.

    Raises:
        ConfigError: no such network, or not a residual one.
        WeightsError: the weights are absent or do not fit.
    """
    backbone = _create(name, in_channels)
    cfg = _weights_of(name, backbone)
    mean, std = tuple(cfg.get("mean", (0.5,) * 3)), tuple(cfg.get("std", (0.5,) * 3))
    if weights == "none":
        loaded = LoadedWeights(
            source="none",
            sha256="",
            matched=0,
            unused=(),
            mean=_to_channels(mean, in_channels),
            std=_to_channels(std, in_channels),
            licence="",
            note="random weights: everything is learned from these images alone",
        )
        return backbone, loaded
    if weights == "hub":
        file, source = _hub_file(name, cfg), f"hub: {cfg.get('hf_hub_id')}"
    else:
        file, source = Path(weights), Path(weights).name
    state, metadata = _read_state(file)
    if "input_mean" in metadata and "input_std" in metadata:
        mean = tuple(float(part) for part in metadata["input_mean"].split(","))
        std = tuple(float(part) for part in metadata["input_std"].split(","))
    _check_architecture(file, metadata, name)
    matched, unused, note = _load(backbone, state, cfg, in_channels, file, name)
    return backbone, LoadedWeights(
        source=source,
        sha256=sha256_file(file),
        matched=matched,
        unused=unused,
        mean=_to_channels(mean, in_channels),
        std=_to_channels(std, in_channels),
        licence=str(cfg.get("license") or metadata.get("source", "")),
        note=note,
    )


def require_weights(name: str, weights: str) -> None:
    """Refuse at once what ``create_backbone`` would refuse later, before any image is read.

    Raises:
        ConfigError: no such network, or not a residual one.
        WeightsError: the weights are absent, or are not weights.
    """
    channels = LEAST_SLICES if is_volume_network(name) else 3
    cfg = _weights_of(name, _create(name, channels))
    if weights == "hub":
        _hub_file(name, cfg)
    elif weights != "none":
        _check_architecture(Path(weights), _read_state(Path(weights))[1], name)


def stage_of(backbone: nn.Module, parameter: str) -> int:
    """The stage a parameter belongs to: 0 is the stem, 4 the last (and what follows it)."""
    modules = [info["module"] for info in backbone.feature_info]  # type: ignore[union-attr]
    for stage in range(1, len(modules)):
        if parameter.startswith(modules[stage] + "."):
            return stage
    # Norms after the last stage (pre-activation networks) belong to it.
    return 4 if parameter.startswith(("norm.", "final_conv.", "head.")) else 0


def _create(name: str, in_channels: int) -> nn.Module:
    """The network with random weights and no classifier."""
    if is_volume_network(name):
        return VolumeBackbone(name, in_channels)
    base = name.split(".", maxsplit=1)[0]
    if not timm.is_model(base):
        guess = difflib.get_close_matches(base, timm.list_models(), n=3)
        hint = f" Did you mean {', '.join(guess)}?" if guess else ""
        msg = f"timm has no network called {name!r}.{hint} See timm.list_models('*resnet*')."
        raise ConfigError(msg)
    try:
        backbone = timm.create_model(name, pretrained=False, num_classes=0, in_chans=in_channels)
    except RuntimeError as error:
        msg = f"timm cannot create {name!r}: {error}. Check the tag after the dot."
        raise ConfigError(msg) from error
    family = type(backbone).__module__.rsplit(".", 1)[-1]
    if family not in RESIDUAL or not hasattr(backbone, "forward_intermediates"):
        msg = (
            f"{name} is not a residual network of the kind resight fine-tunes (its family is "
            f"{family}). Choose a name of the families {', '.join(RESIDUAL)}, such as resnet50."
        )
        raise ConfigError(msg)
    return backbone


def _weights_of(name: str, backbone: nn.Module) -> dict[str, Any]:
    """What timm knows of pretrained weights; those of the 2-D twin for a 3-D network."""
    if not is_volume_network(name):
        return dict(backbone.pretrained_cfg)  # type: ignore[arg-type]
    known = timm.get_pretrained_cfg(twin_of(name)) if timm.is_model(twin_of(name)) else None
    return {} if known is None or ".medicalnet" in name else known.to_dict()  # type: ignore[no-untyped-call]


def _hub_file(name: str, cfg: dict[str, Any]) -> Path:
    """The cached weights file, downloaded first if the hub can be reached at once."""
    import huggingface_hub as hub  # noqa: PLC0415  (only when weights come from the hub)
    from huggingface_hub import constants  # noqa: PLC0415

    repository = cfg.get("hf_hub_id")
    advice = (
        "Connect once so that timm can fetch them, or pass --weights FILE.safetensors, or "
        "--weights none to learn from these images alone."
    )
    if not repository:
        msg = f"timm names no hub weights for {name}. {advice}"
        raise WeightsError(msg)
    filename = cfg.get("hf_hub_filename") or "model.safetensors"
    cached = hub.try_to_load_from_cache(repository, filename)
    if isinstance(cached, str):
        return Path(cached)
    offline = constants.HF_HUB_OFFLINE or not _reachable(constants.ENDPOINT)
    if offline:
        msg = f"Weights for {name} are not in the cache and the hub cannot be reached. {advice}"
        raise WeightsError(msg)
    try:
        return Path(hub.hf_hub_download(repository, filename))
    except Exception as error:
        msg = f"Weights for {name} could not be fetched ({type(error).__name__}). {advice}"
        raise WeightsError(msg) from error


def _reachable(endpoint: str) -> bool:
    """Whether a connection can be opened at once; a proxy is taken at its word.

    The hub's client retries for three quarters of a minute before it gives up,
    so it is only called when there is somebody to talk to.
    """
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY")):
        return True
    parts = urlparse(endpoint)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 443), HUB_TIMEOUT_S):
            return True
    except OSError:
        return False


def _read_state(file: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and metadata of a weights file; nothing in it is executed."""
    if not file.is_file():
        msg = f"{file}: there is no such weights file. Check --weights (hub, none, or a file)."
        raise WeightsError(msg)
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415

    try:
        if file.suffix == ".safetensors":
            with safe_open(file, framework="pt") as stream:
                state = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118
                return state, dict(stream.metadata() or {})
        content = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError) as error:
        msg = f"{file}: cannot be read as weights ({error}). Pass a complete .safetensors file."
        raise WeightsError(msg) from error
    except Exception as error:
        msg = (
            f"{file}: holds more than tensors ({type(error).__name__}), and loading such a file "
            "can run foreign code. Convert it to .safetensors where it came from."
        )
        raise WeightsError(msg) from error
    state = content.get("state_dict", content) if isinstance(content, dict) else {}
    return {k: v for k, v in state.items() if isinstance(v, torch.Tensor)}, {}


def _check_architecture(file: Path, metadata: dict[str, str], name: str) -> None:
    """Refuse weights that say they are for another network."""
    expected = metadata.get("architecture", "").partition(".")[0]
    if expected and expected not in {name.partition(".")[0], twin_of(name)}:
        msg = (
            f"{file}: these weights are for {expected}, not for {name}. "
            f"Pass --backbone {expected}, or a file made for {name}."
        )
        raise WeightsError(msg)


def _load(
    backbone: nn.Module,
    state: dict[str, torch.Tensor],
    cfg: dict[str, Any],
    in_channels: int,
    file: Path,
    name: str,
) -> tuple[int, tuple[str, ...], str]:
    """Copy what fits; refuse a file that does not carry the whole network."""
    from timm.models import adapt_input_conv  # noqa: PLC0415

    own = backbone.state_dict()
    adapted: tuple[str, ...] = ()
    for prefix in ("module.", "model.", "backbone."):
        if state and all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    if is_volume_network(name):
        state, adapted = inflated(state, own)
    classifier = cfg.get("classifier") or "fc"
    heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    taken: dict[str, torch.Tensor] = {}
    unused: list[str] = []
    notes = list(adapted)
    first = cfg.get("first_conv") or "conv1"
    for key, tensor in state.items():
        if any(key.startswith(f"{head}.") for head in heads) and key not in own:
            continue
        if key not in own:
            unused.append(key)
            continue
        value = tensor.float() if tensor.is_floating_point() else tensor
        if key == f"{first}.weight" and value.ndim == 4 and value.shape[1] != in_channels:
            notes.append(
                f"the first layer was adapted from {value.shape[1]} to {in_channels} channels"
            )
            value = adapt_input_conv(in_channels, value)
        if value.shape != own[key].shape:
            unused.append(key)
            continue
        taken[key] = value
    missing = [k for k in own if k not in taken and not k.endswith("num_batches_tracked")]
    if missing:
        msg = (
            f"{file}: fits {len(taken)} of {len(own)} tensors of {name} (first without a match: "
            f"{missing[0]}). A part of the network would start at random. Pass the --backbone this "
            "file was made for."
        )
        raise WeightsError(msg)
    backbone.load_state_dict(taken, strict=False)
    return len(taken), tuple(unused), "; ".join(notes)


def _to_channels(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """Normalisation constants for another number of channels: their average."""
    if len(values) == channels:
        return tuple(float(v) for v in values)
    return (float(sum(values) / len(values)),) * channels
