"""3-D residual networks: MONAI's, behind the interface of timm, for volumes.

A volume comes as an image whose channels are its slices, (N, D, H, W), so that stores, loaders
and exports need to know nothing of the third direction. Weights are those of the 2-D network of
the same name, inflated at the centre: each kernel stands in the middle slice of a cube of
zeros. On a volume of equal slices that is exactly the 2-D network. Spreading a kernel over all
slices (Carreira and Zisserman 2017, arXiv 1705.07750) is not, because of the zeros that
convolutions add beyond the first and last slice.

Files of MedicalNet (Chen et al. 2019, arXiv 1904.00625), trained on CT and MR, fit the networks
with the tag ``.medicalnet``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from core.base.machine import memory_format
from core.base.volumes import LEAST_SLICES
from core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["VolumeBackbone", "inflated", "is_volume_network", "twin_of"]

DEPTHS = (10, 18, 34, 50, 101, 152, 200)
# The networks without bottlenecks, for which MedicalNet has shortcuts without weights.
_BASIC = (10, 18, 34)
_NAME = re.compile(r"resnet(?P<depth>\d+)_3d(?P<tag>\.medicalnet)?")


def is_volume_network(name: str) -> bool:
    """Whether a backbone is one of these.

    >>> is_volume_network("resnet18_3d"), is_volume_network("resnet18.a1_in1k")
    (True, False)
    """
    return name.partition(".")[0].endswith("_3d")


def twin_of(name: str) -> str:
    """The 2-D network whose weights are inflated: ``resnet18`` of ``resnet18_3d``."""
    return name.partition(".")[0].removesuffix("_3d")


class VolumeBackbone(nn.Module):
    """A 3-D ResNet without its classifier.

    Args:
        name: ``resnet18_3d``, ``resnet50_3d.medicalnet`` ...
        slices: D of the volumes.

    Attributes:
        feature_info: as timm's: width, stride and module of the stem and the four stages.

    Raises:
        ConfigError: there is no such network, or images of so few channels are no volumes.
    """

    def __init__(self, name: str, slices: int) -> None:
        super().__init__()
        # MONAI takes seconds to import, and no network for pictures needs it.
        from monai.networks.nets import resnet  # noqa: PLC0415

        match = _NAME.fullmatch(name)
        if match is None or int(match["depth"]) not in DEPTHS:
            known = ", ".join(f"resnet{depth}_3d" for depth in DEPTHS)
            msg = (
                f"There is no 3-D network {name!r}. Choose one of {known}; with .medicalnet "
                "behind the name for a file of MedicalNet."
            )
            raise ConfigError(msg)
        if slices < LEAST_SLICES:
            msg = (
                f"{name} is for volumes, whose slices are its channels ({LEAST_SLICES} or more); "
                f"these images have {slices}. Choose a network for pictures, such as "
                f"{twin_of(name)}, or read whole volumes (for the app images: --volumes whole)."
            )
            raise ConfigError(msg)
        depth = int(match["depth"])
        made = getattr(resnet, f"resnet{depth}")(
            spatial_dims=3,
            n_input_channels=1,
            conv1_t_size=7,
            conv1_t_stride=2,
            shortcut_type="A" if match["tag"] and depth in _BASIC else "B",
            bias_downsample=False,
            feed_forward=False,
        )
        for part in ("conv1", "bn1", "act", "maxpool", "layer1", "layer2", "layer3", "layer4"):
            self.add_module(part, getattr(made, part))
        width = made.layer4[-1].bn2.num_features
        bottleneck = 1 if depth in _BASIC else 4
        stages = [(width * bottleneck // 2**back, 32 // 2**back) for back in (3, 2, 1, 0)]
        self.feature_info = [{"num_chs": 64, "reduction": 2, "module": "act"}] + [
            {"num_chs": channels, "reduction": stride, "module": f"layer{number}"}
            for number, (channels, stride) in enumerate(stages, start=1)
        ]

    def forward_features(self, x: Tensor) -> Tensor:
        """(N, D, H, W) -> (N, C, D', H', W') of the last stage."""
        last: Tensor = self.forward_intermediates(x, indices=[])[0]
        return last

    def forward_intermediates(
        self,
        x: Tensor,
        indices: Sequence[int],
        *,
        stop_early: bool = False,
        intermediates_only: bool = False,
    ) -> Any:
        """Feature maps of stages by number, 0 the stem and 4 the last, as in timm.

        Returns:
            (last map, list of maps), or the list alone with ``intermediates_only``.
        """
        x = x[:, None].contiguous(memory_format=memory_format(is_volume=True))
        x = self.act(self.bn1(self.conv1(x)))  # type: ignore[operator]
        maps = {0: x}
        x = self.maxpool(x)  # type: ignore[operator]
        last = max(indices) if stop_early else 4
        for number in range(1, last + 1):
            x = self.get_submodule(f"layer{number}")(x)
            maps[number] = x
        chosen = [maps[index] for index in indices]
        return chosen if intermediates_only else (x, chosen)


def inflated(
    state: dict[str, Tensor], own: dict[str, Tensor]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Weights of a 2-D network as those of its 3-D twin.

    Args:
        state: tensors by name; those of a 3-D network pass unchanged.
        own: of the 3-D network.

    Returns:
        tensors that have the shape of the network's where a rule leads there, and what was done.
    """
    done: dict[str, Tensor] = {}
    notes: dict[str, None] = {}
    for key, value in state.items():
        wanted = own.get(key)
        if wanted is None or value.ndim != 4 or wanted.ndim != 5:
            done[key] = value
            continue
        # A grey value stands for three equal colours.
        is_colour = value.shape[1] != wanted.shape[1]
        # Files of half precision: a sum in it would lose digits.
        flat = value.float().sum(dim=1, keepdim=True) if is_colour else value.float()
        cube = torch.zeros((*flat.shape[:2], wanted.shape[2], *flat.shape[2:]))
        cube[:, :, wanted.shape[2] // 2] = flat
        done[key] = cube
        notes["2-D kernels stand in the middle slice of 3-D ones"] = None
        if is_colour:
            notes["the colours of the first layer are added up"] = None
    return done, tuple(notes)
