"""Where a network looked: saliency maps.

A map says which regions raised a score, not why, and a convincing map can be
wrong. Coordinates are (row, col) of the prepared pixels.

Source: GradCAM++, Chattopadhay et al. 2018, arXiv:1710.11063, in MONAI's implementation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from core.base.volumes import LEAST_SLICES, contact_sheet

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

__all__ = ["saliency_map"]


def saliency_map(
    network: nn.Module, batch: Tensor, class_index: int | None, target_layer: str
) -> NDArray[np.float32]:
    """The GradCAM++ map of one image for one logit.

    The network is left as it was: its mode, its gradients and its hooks.

    Args:
        network: (1, C, H, W) -> logits (1, L).
        batch: (1, C, H, W) one image, or volume of C slices.
        class_index: column of the logits to explain; None for the highest.
        target_layer: name of the module whose output is weighed: the last stage.

    Returns:
        (H, W) in [0, 1]; all zeros where no region raises the logit. For a volume a sheet as
        ``core.base.volumes.contact_sheet`` makes it.
    """
    import torch  # noqa: PLC0415  (slow; only for pictures)
    from monai.visualize.class_activation_maps import GradCAMpp  # noqa: PLC0415  (slow; only for pictures)
    from monai.visualize.visualizer import default_upsampler  # noqa: PLC0415
    from torch import nn  # noqa: PLC0415  (slow; only for pictures)

    class Shifted(nn.Module):
        """Logits less their own value: GradCAM++ takes their exponential, which overflows."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, pixels: Tensor) -> Tensor:
            logits: Tensor = self.network(pixels)
            return logits - logits.detach()

    def cut(_layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Start the gradients here: what lies below may be frozen, and none is needed there."""
        return tuple(value.detach().requires_grad_() for value in inputs)

    def to_slices(maps: Tensor) -> Tensor:
        """(1, 1, d, h, w) -> (1, 1, D, H, W)."""
        return nn.functional.interpolate(maps, size=batch.shape[1:], mode="trilinear")

    is_volume = batch.shape[1] >= LEAST_SLICES
    modes = [(module, module.training) for module in network.modules()]
    gradients = [(weight, weight.grad) for weight in network.parameters()]
    layer = network.get_submodule(target_layer)
    hooks: tuple[dict[int, Any], ...] = (layer._forward_hooks, layer._backward_hooks)
    before = [set(registered) for registered in hooks]
    handle = layer.register_forward_pre_hook(cut)
    views = {"flips": network.flips} if hasattr(network, "flips") else {}
    try:
        for weight, _ in gradients:
            weight.grad = None
        wrapped = Shifted().eval()
        if class_index is None:
            with torch.no_grad():
                class_index = int(network(batch).argmax(dim=1))
        # The class is that of all views; the map is of the picture as it is shown.
        vars(network).update(dict.fromkeys(views, "none"))
        explain = GradCAMpp(
            wrapped,
            f"network.{target_layer}",
            # Maps of a volume have a third direction, which its slices, as channels, do not say.
            upsampler=(lambda _: to_slices) if is_volume else default_upsampler,
            postprocessing=lambda values: values,
        )
        with torch.inference_mode(mode=False), torch.enable_grad():
            found = explain(batch, class_idx=class_index)
    finally:
        handle.remove()
        vars(network).update(views)
        # MONAI leaves its hooks; with every picture the network would get slower.
        for registered, names in zip(hooks, before, strict=True):
            for key in set(registered) - names:
                del registered[key]
        for weight, gradient in gradients:
            weight.grad = gradient
        for module, mode in modes:
            module.training = mode
    values = _unit_range(found.detach().float().cpu().numpy()[0, 0])
    return contact_sheet(values.transpose(1, 2, 0)) if is_volume else values


def _unit_range(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Values stretched to [0, 1]; zeros where they are flat or not finite."""
    finite = np.nan_to_num(np.asarray(values, dtype=np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(finite.min()), float(finite.max())
    if high - low <= 1e-12:
        return np.zeros_like(finite)
    return np.asarray((finite - low) / (high - low), dtype=np.float32)
