"""Saliency maps point where the score comes from, and leave the network as it was."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from core.model.saliency import saliency_map
from core.report.overlay import overlay


class BrightOrDark(nn.Module):
    """Logit 0 is the mean of the pixels, logit 1 the mean of one less the pixels."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.stage = nn.Conv2d(1, 2, 1)
        self.gain = gain
        with torch.no_grad():
            self.stage.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
            self.stage.bias.copy_(torch.tensor([0.0, 1.0]))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.gain * self.stage(pixels).mean(dim=(2, 3))


def corner() -> Tensor:
    """One image (1, 1, 16, 16), bright in its upper left quarter."""
    image = torch.zeros(1, 1, 16, 16)
    image[..., :8, :8] = 1.0
    return image


def test_the_map_is_high_where_the_class_is_and_low_elsewhere() -> None:
    for index, is_bright in ((0, True), (1, False)):
        found = saliency_map(BrightOrDark(), corner(), index, "stage")
        assert found.shape == (16, 16)
        assert found.dtype == np.float32
        assert np.allclose(found[:8, :8], float(is_bright))
        assert np.allclose(found[8:, 8:], float(not is_bright))


def test_without_a_class_the_highest_logit_is_explained() -> None:
    # Three quarters are dark, so logit 1 is the higher one.
    found = saliency_map(BrightOrDark(), corner(), None, "stage")
    assert np.array_equal(found, saliency_map(BrightOrDark(), corner(), 1, "stage"))


def test_large_logits_do_not_overflow() -> None:
    # exp(1000 / 4) is infinite in 32 bits.
    found = saliency_map(BrightOrDark(gain=1000.0), corner(), 0, "stage")
    assert np.allclose(found[:8, :8], 1.0)
    assert np.isfinite(found).all()


def test_a_flat_map_is_all_zeros() -> None:
    found = saliency_map(BrightOrDark(), torch.zeros(1, 1, 16, 16), 0, "stage")
    assert not found.any()


@pytest.mark.parametrize("is_frozen", [True, False])
def test_the_network_is_left_as_it_was(is_frozen: bool) -> None:
    network = timm.create_model("test_resnet", pretrained=False, num_classes=3)
    network.requires_grad_(not is_frozen)
    network.train()
    network.layer1.eval()
    network.fc.weight.grad = torch.ones_like(network.fc.weight)
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    before = [
        (m.training, len(m._forward_hooks), len(m._backward_hooks)) for m in network.modules()
    ]
    with torch.no_grad():
        found = saliency_map(network, torch.rand(1, 3, 64, 64), 2, "layer4")
    assert found.shape == (64, 64)
    assert found.max() == 1.0
    after = [(m.training, len(m._forward_hooks), len(m._backward_hooks)) for m in network.modules()]
    assert after == before
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())
    assert all(p.requires_grad is not is_frozen for p in network.parameters())
    assert torch.equal(network.fc.weight.grad, torch.ones_like(network.fc.weight))
    assert network.conv1[0].weight.grad is None


def test_whole_numbers_are_taken_as_pixels() -> None:
    class Scaled(BrightOrDark):
        def forward(self, pixels: Tensor) -> Tensor:
            return super().forward(pixels.float() / 255)

    image = (corner() * 255).to(torch.uint8)
    assert np.allclose(saliency_map(Scaled(), image, 0, "stage")[:8, :8], 1.0)


def test_overlay_is_grey_where_nothing_is_salient() -> None:
    picture = np.full((40, 60, 3), (200, 40, 40), dtype=np.uint8)
    saliency = np.zeros((40, 60), dtype=np.float32)
    # 0.299 * 200 + 0.587 * 40 + 0.114 * 40 = 87.84
    assert (overlay(picture, saliency) == 88).all()
    saliency[10:30, 20:40] = 1.0
    shown = overlay(picture, saliency)
    assert shown.dtype == np.uint8
    assert shown.shape == picture.shape
    assert (shown[0, 0] == 88).all()
    assert np.ptp(shown[20, 30].astype(int)) > 50
    assert (shown == 255).all(axis=2).any()


def test_overlay_does_not_change_its_picture() -> None:
    picture = np.full((8, 8, 3), 9, dtype=np.uint8)
    overlay(picture, np.eye(8))
    assert (picture == 9).all()
