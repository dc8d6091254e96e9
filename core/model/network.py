"""One network: stored pixels in, logits and an embedding out.

Everything that turns pixels into scores is inside: the scale of the stored
dtype, the normalisation constants (buffers, so they travel with the weights),
the timm backbone, the pooling of its last stages, and the head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from core.base.machine import memory_format
from core.model.backbone import stage_of
from core.model.volume_backbone import VolumeBackbone

if TYPE_CHECKING:
    from core.model.attention_pooling import AttentionPool
    from core.model.heads import Head

__all__ = ["Network", "PixelScale", "pool_width"]

# Numbers that each pooling keeps of a feature map.
POOLS = {"last": 1, "last_two": 1, "last_two_max": 2, "first_two": 1}
# Largest value of each stored dtype; float images are taken as they are.
SCALES = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}

# Sides of (N, C, H, W), or of volumes (N, D, H, W), that are reversed in each averaged view.
FLIPS: dict[str, tuple[tuple[int, ...], ...]] = {
    "none": ((),),
    "left_right": ((), (-1,)),
    "both": ((), (-1,), (-2,), (-2, -1)),
}

# Stages whose averages feed the head; 0 is the stem, 4 the last.
POOLED = {"last": (4,), "last_two": (3, 4), "last_two_max": (3, 4), "first_two": (1, 2)}


def pool_width(backbone: nn.Module, pool: str) -> int:
    """How many features the pooling of these stages gives."""
    widths: list[int] = [info["num_chs"] for info in backbone.feature_info]  # type: ignore[union-attr]
    return POOLS[pool] * sum(widths[stage] for stage in POOLED[pool])


@dataclass(frozen=True)
class PixelScale:
    """Mean and spread per channel, for pixels scaled to [0, 1], and the dtype they are stored in.

    ``dtype`` is uint8, uint16 or float32.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    dtype: str = "uint8"


class Network(nn.Module):
    """Backbone, pooling and head, with the input scale and normalisation inside.

    Args:
        backbone: a timm network without classifier, or a ``VolumeBackbone``.
        head: see ``core.model.heads``.
        pool: ``last`` or ``last_two``: the stages whose average feeds the head;
            ``last_two_max``: their average and their maximum, for signs that fill little
            of the picture, as one spot on a leaf does; ``first_two``: the first stages, which
            see texture, and nothing after them is computed.
        scale: of the stored pixels.
        dropout: before the head, in training.
        norms: ``frozen`` (statistics stay as loaded) or ``train``.
        frozen_stages: stages whose weights stay as loaded: 1 is the stem, 2 the
            stem and the first stage, and so on.
        flips: see ``FLIPS``; outside of training the features of these views are averaged, and
            so, heads being linear, their logits.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: Head,
        *,
        pool: str,
        scale: PixelScale,
        dropout: float = 0.0,
        norms: str = "frozen",
        frozen_stages: int = 0,
        flips: str = "none",
    ) -> None:
        super().__init__()
        # 5-D kernels, of volumes, have no such order.
        order = memory_format(is_volume=isinstance(backbone, VolumeBackbone))
        self.backbone = backbone.to(memory_format=order)
        self.head = head
        # Fitted last, where images of a unit are weighted; takes no part in the scores of images.
        self.attention: AttentionPool | None = None
        self.pool = pool
        self.dropout = nn.Dropout(dropout)
        self.norms = norms
        self.flips = flips
        self.mean: Tensor
        self.std: Tensor
        for name, values in (("mean", scale.mean), ("std", scale.std)):
            self.register_buffer(name, torch.tensor(values).view(1, -1, 1, 1) * SCALES[scale.dtype])
        # Features are standardised before the head as they were for the probe, so that dropout
        # and the head's learning rate mean the same for every feature.
        self.feature_mean: Tensor
        self.feature_std: Tensor
        width = head.weight.shape[1]
        self.register_buffer("feature_mean", torch.zeros(width))
        self.register_buffer("feature_std", torch.ones(width))
        for name, parameter in backbone.named_parameters():
            if stage_of(backbone, name) < frozen_stages:
                parameter.requires_grad_(False)

    def embed(self, pixels: Tensor) -> Tensor:
        """(N, C, H, W) stored pixels -> (N, D) pooled features."""
        x = (pixels.to(self.mean.dtype) - self.mean) / self.std
        if self.training or self.flips == "none":
            return self._pooled(x)
        views = [self._pooled(x.flip(sides) if sides else x) for sides in FLIPS[self.flips]]
        return torch.stack(views).mean(dim=0)

    def _pooled(self, x: Tensor) -> Tensor:
        """(N, C, H, W) normalised pixels -> (N, D) pooled features of one view."""
        # (N, D, H, W) of a volume is put in order by its own backbone.
        x = x.contiguous(memory_format=memory_format())
        if self.pool == "last":
            return self._average(self.backbone.forward_features(x))  # type: ignore[operator]
        if self.pool == "first_two":
            maps = self.backbone.forward_intermediates(  # type: ignore[operator]
                x, indices=list(POOLED[self.pool]), stop_early=True, intermediates_only=True
            )
            return torch.cat([self._average(one) for one in maps], dim=1)
        # Five feature maps: the stem and four stages; 3 is the last but one.
        last, (before,) = self.backbone.forward_intermediates(x, indices=[3])  # type: ignore[operator]
        parts = [self._average(before), self._average(last)]
        if self.pool == "last_two_max":
            parts += [one.amax(dim=tuple(range(2, one.ndim))) for one in (before, last)]
        return torch.cat(parts, dim=1)

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, C, H, W) stored pixels -> (N, L) logits."""
        return self.classify(self.embed(pixels))

    def classify(self, features: Tensor) -> Tensor:
        """(N, D) pooled features -> (N, L) logits."""
        standard = (features - self.feature_mean) / self.feature_std
        logits: Tensor = self.head(self.dropout(standard))
        return logits

    def start_from(self, head: Head, mean: Tensor, std: Tensor) -> None:
        """Take the solution of a probe on standardised features."""
        self.head.start_from(head)
        self.feature_mean.copy_(mean)
        self.feature_std.copy_(std)

    def train(self, mode: bool = True) -> Network:
        """Training mode, except for normalisation statistics that stay as loaded."""
        super().train(mode)
        if mode and self.norms == "frozen":
            for module in self.backbone.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    @property
    def n_classes(self) -> int:
        """K."""
        return self.head.n_classes

    @property
    def last_stage(self) -> str:
        """Name of the module whose output a saliency map explains."""
        last = POOLED[self.pool][-1]
        return "backbone." + str(self.backbone.feature_info[last]["module"])  # type: ignore[index]

    @staticmethod
    def _average(maps: Tensor) -> Tensor:
        """Average over rows and columns, and slices of volumes."""
        return maps.mean(dim=tuple(range(2, maps.ndim)))
