"""The residual networks: family, size, arithmetic, and the pretrained weights of each.

They are timm's, and MONAI's 3-D ResNets, which take the weights of their 2-D twins.

Parameters and multiply-accumulates were counted by ``count`` and stand in
``residual_networks.json``; a network that timm has got since is counted when it is asked for.
Input statistics, licences and names of weights come from timm as installed.

Sources of the families: He et al. 2016 (arXiv 1512.03385, 1603.05027), Xie et al. 2017
(1611.05431), Zagoruyko and Komodakis 2016 (1605.07146), He et al. 2019 (1812.01187), Bello et
al. 2021 (2103.07579), Hu et al. 2018 (1709.01507), Wang et al. 2020 (1910.03151), Kolesnikov
et al. 2020 (1912.11370).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import timm
import torch
from torch import nn

from core.base.volumes import MOST_SLICES
from core.model.volume_backbone import DEPTHS, VolumeBackbone, is_volume_network, twin_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MODULES", "Architecture", "Weights", "architectures", "count", "families", "family_of"]

COUNTS = Path(__file__).with_suffix(".json")
_VOLUMES = "3-D ResNet"
# Side of the slices for which a 3-D network is counted.
_VOLUME_PX = 128
# timm's files whose networks are residual in every block.
MODULES = ("resnet", "resnetv2", "resnest", "res2net", "sknet", "regnet")
# The first that fits a name, in this order.
_FAMILIES = (
    ("BiT", ("resnetv2_", "_bit")),
    ("ResNetV2", ("resnetv2_",)),
    ("ResNeSt", ("resnest",)),
    ("Res2Net", ("res2ne",)),
    ("SK", ("skres",)),
    ("RegNet", ("regnet",)),
    ("ECA", ("ecares",)),
    ("SE", ("seres",)),
    ("SE", ("senet",)),
    ("ResNet-RS", ("resnetrs",)),
    ("Wide ResNet", ("wide_resnet",)),
    ("ResNeXt", ("resnext",)),
    ("anti-aliased", ("resnetaa",)),
    ("anti-aliased", ("resnetblur",)),
)


@dataclass(frozen=True)
class Weights:
    """One set of pretrained weights.

    Attributes:
        tag: behind the dot of the name: ``a1_in1k``.
        licence: as timm states it; empty if it does not.
        input_px: side of the images they were trained on.
        mean, std: per channel, of pixels in [0, 1].
        is_cached: whether they lie on this machine.
    """

    tag: str
    licence: str
    input_px: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    is_cached: bool


@dataclass(frozen=True)
class Architecture:
    """One network; ``params_m`` in millions, ``gmacs`` in 1e9 multiply-accumulates per image.

    Of a 3-D network per volume of 64 slices.
    """

    name: str
    family: str
    params_m: float
    gmacs: float
    input_px: int
    weights: tuple[Weights, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain content for JSON."""
        return asdict(self)


def family_of(name: str) -> str:
    """The family of a network by its timm name.

    >>> [family_of(n) for n in ("resnet50", "resnet50d", "seresnext50_32x4d", "resnetv2_50x1_bit")]
    ['ResNet', 'ResNet-D', 'SE', 'BiT']
    """
    if is_volume_network(name):
        return _VOLUMES
    for family, parts in _FAMILIES:
        if name.startswith(parts[0]) and all(part in name for part in parts):
            return family
    # Stems of three convolutions and shortcuts that average, or one of them.
    return "ResNet-D" if name[-1:] in {"d", "t", "c", "s"} else "ResNet"


def architectures(family: str = "") -> Iterator[Architecture]:
    """The residual networks timm has, of one family or of all.

    Args:
        family: as ``family_of`` names it, in any case; empty means all.
    """
    for name in _names():
        if family.casefold() not in {"", family_of(name).casefold()}:
            continue
        params, macs, side = _counted(name)
        weights = tuple(_weights(twin_of(name) if is_volume_network(name) else name))
        yield Architecture(name, family_of(name), params / 1e6, macs / 1e9, side, weights)


def families() -> list[str]:
    """The names of the families."""
    return sorted({family_of(name) for name in _names()})


def _names() -> list[str]:
    """Every network by its name."""
    pictures = (name for module in MODULES for name in timm.list_models(module=module))
    volumes = (f"resnet{depth}_3d" for depth in DEPTHS)
    return [*(name for name in pictures if not name.startswith("test_")), *volumes]


def _counted(name: str) -> tuple[int, int, int]:
    """As ``count``, from the table where it was counted before."""
    if name not in _counts():
        return count(name)
    params, macs, side = _counts()[name]
    return params, macs, side


@cache
def _counts() -> dict[str, list[int]]:
    """Name -> parameters, multiply-accumulates, side in pixels."""
    stored: dict[str, list[int]] = json.loads(COUNTS.read_text(encoding="utf-8"))
    return stored


def count(name: str) -> tuple[int, int, int]:
    """Parameters without classifier, multiply-accumulates of one image, and its side in pixels.

    Counted are convolutions and linear layers, on tensors without storage.
    """
    total = 0

    def add(module: nn.Module, _: Any, out: torch.Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            window = module.weight[0].numel()
            total += window * out.numel()
        elif isinstance(module, nn.Linear):
            total += module.in_features * out.numel()

    with torch.device("meta"), torch.no_grad():
        if is_volume_network(name):
            network: nn.Module = VolumeBackbone(name, MOST_SLICES).eval()
            size = (MOST_SLICES, _VOLUME_PX, _VOLUME_PX)
        else:
            network = timm.create_model(name, pretrained=False, num_classes=0).eval()
            pretrained: Any = network.pretrained_cfg
            size = pretrained["input_size"]
        for module in network.modules():
            module.register_forward_hook(add)
        x = torch.empty(1, *size)
        # A 3-D network has no classifier that would pool its maps.
        network.forward_features(x) if isinstance(network, VolumeBackbone) else network(x)
    return sum(p.numel() for p in network.parameters()), total, int(size[-1])


def _weights(name: str) -> Iterator[Weights]:
    """Every set of pretrained weights of an architecture, timm's default first."""
    for full in timm.list_pretrained(name) or timm.list_pretrained(f"{name}.*"):
        cfg = timm.get_pretrained_cfg(full)
        if cfg is None:
            continue
        yield Weights(
            tag=full.partition(".")[2],
            licence=str(cfg.license or ""),
            input_px=int(cfg.input_size[-1]),
            mean=tuple(float(value) for value in cfg.mean),
            std=tuple(float(value) for value in cfg.std),
            is_cached=_is_cached(cfg),
        )


def _is_cached(cfg: Any) -> bool:
    """Whether the hub's cache on this machine holds the file of these weights."""
    import huggingface_hub as hub  # noqa: PLC0415  (only where weights come from the hub)

    if not cfg.hf_hub_id:
        return False
    file = cfg.hf_hub_filename or "model.safetensors"
    return isinstance(hub.try_to_load_from_cache(cfg.hf_hub_id, file), str)
