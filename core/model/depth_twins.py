"""Small residual networks and their plain twins, for the question of what depth does.

The network of He et al. 2016 for small pictures: a 3 x 3 stem, three stages of 16, 32 and 64
channels with n blocks of two convolutions each, 6 n + 2 layers in all. The plain twin has the
same layers, BatchNorm and initial weights, without the shortcuts; where the residual network
halves its picture, so does the twin. No library has plain networks.

Source: He, Zhang, Ren, Sun 2016, "Deep Residual Learning", arXiv:1512.03385, section 4.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from timm.models.resnet import BasicBlock, ResNet
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["STAGES", "gradient_norms", "small_network"]

# Parts of the network in the order pixels pass them.
STAGES: Mapping[str, str] = {
    "stem": "conv1.",
    "stage 1": "layer1.",
    "stage 2": "layer2.",
    "stage 3": "layer3.",
}


def small_network(depth: int, *, channels: int, classes: int, is_plain: bool, seed: int) -> ResNet:
    """ResNet-20, -32, -44, -56 ... for pictures of about 32 pixels, or its plain twin.

    Args:
        depth: layers with weights; 6 n + 2.
        channels: C of the pictures.
        classes: K.
        is_plain: without shortcuts.
        seed: of the initial weights, the same for both twins.

    Raises:
        ValueError: the depth is none of 8, 14, 20 ...
    """
    blocks, rest = divmod(depth - 2, 6)
    if rest or blocks < 1:
        msg = f"depth {depth} is not 6 n + 2"
        raise ValueError(msg)
    torch.manual_seed(seed)
    # zero_init_last would make every plain network constant.
    network = ResNet(
        BasicBlock,  # type: ignore[arg-type]  # timm's types name an instance
        (blocks, blocks, blocks),
        num_classes=classes,
        in_chans=channels,
        channels=(16, 32, 64),
        zero_init_last=False,
    )
    network.set_submodule("conv1", nn.Conv2d(channels, 16, 3, padding=1, bias=False))
    network.bn1 = nn.BatchNorm2d(16)
    # timm's stem has 64 channels, which the first block would bring to 16.
    first: Any = network.get_submodule("layer1.0")
    first.conv1 = nn.Conv2d(16, 16, 3, padding=1, bias=False)
    first.downsample = None
    for unused in ("maxpool", "layer4"):
        network.set_submodule(unused, nn.Identity())
    network.fc = nn.Linear(64, classes)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    if is_plain:
        for module in list(network.modules()):
            if isinstance(module, BasicBlock):
                block: Any = module
                block.downsample = None
                block.forward = _plain.__get__(block)
    return network


def _plain(self: Any, x: Tensor) -> Tensor:
    """The layers of a block, one after the other."""
    x = self.act1(self.bn1(self.conv1(x)))
    result: Tensor = self.act2(self.bn2(self.conv2(x)))
    return result


def gradient_norms(network: nn.Module) -> dict[str, float]:
    """Euclidean norm of the gradient of each part's convolutions, after a backward pass."""
    found = {}
    for stage, prefix in STAGES.items():
        squares = [
            float(parameter.grad.double().square().sum())
            for name, parameter in network.named_parameters()
            if name.startswith(prefix) and parameter.ndim == 4 and parameter.grad is not None
        ]
        found[stage] = sum(squares) ** 0.5
    return found
