"""3-D networks: exactly the 2-D twin on equal slices, MedicalNet's files, maps over slices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import timm
import torch
from monai.networks.nets import resnet as monai_resnet
from safetensors.torch import save_file

from core.base.volumes import LEAST_SLICES, contact_sheet, visible
from core.errors import ConfigError, WeightsError
from core.model.backbone import create_backbone, require_weights, stage_of
from core.model.checkpoint import build_network
from core.model.saliency import saliency_map
from tests.networks import DESCRIPTION

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from core.model.network import Network


def spread(network: nn.Module) -> nn.Module:
    """The network with statistics and scales that are not those of a new one."""
    torch.manual_seed(3)
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.1)
            module.running_mean.normal_(std=0.1)  # type: ignore[union-attr,operator]
            module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr,operator]
    return network.eval()


def file_of(network: nn.Module, path: Path, **facts: str) -> Path:
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, path, facts)
    return path


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_inflated_weights_see_equal_slices_as_the_flat_network_does(
    name: str, tmp_path: Path
) -> None:
    flat = spread(timm.create_model(name, pretrained=False, num_classes=0)).double()
    file = file_of(flat.half(), tmp_path / "w.safetensors", architecture=name)
    flat = flat.double()
    solid, loaded = create_backbone(f"{name}_3d", weights=str(file), in_channels=20)
    assert loaded.unused == ()
    assert "middle slice" in loaded.note
    assert len(loaded.mean) == len(loaded.std) == 20
    solid = solid.double().eval()
    grey = torch.rand(1, 1, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        last, maps = flat.forward_intermediates(grey.expand(-1, 3, -1, -1))
        deep, volumes = solid.forward_intermediates(  # type: ignore[operator]
            grey.expand(-1, 20, -1, -1), indices=[0, 1, 2, 3, 4]
        )
    assert deep.shape == (1, *last.shape[1:2], 1, *last.shape[2:])
    for pictures, volume in zip(maps, volumes, strict=True):
        wanted = pictures[:, :, None].expand_as(volume)
        torch.testing.assert_close(volume, wanted, rtol=1e-9, atol=1e-9)


def test_a_file_of_medicalnet_gives_the_features_that_monai_gives(tmp_path: Path) -> None:
    theirs = spread(
        monai_resnet.resnet18(
            spatial_dims=3,
            n_input_channels=1,
            conv1_t_stride=2,
            shortcut_type="A",
            bias_downsample=False,
            feed_forward=False,
        )
    )
    path = tmp_path / "resnet_18.pth"
    torch.save({"state_dict": {f"module.{k}": v for k, v in theirs.state_dict().items()}}, path)
    ours, _ = create_backbone("resnet18_3d.medicalnet", weights=str(path), in_channels=16)
    x = torch.rand(2, 16, 40, 40)
    with torch.no_grad():
        found = ours.eval().forward_features(x).mean(dim=(2, 3, 4))  # type: ignore[operator]
        wanted = theirs(x[:, None])
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    # Its shortcuts have no weights, those of the other network have.
    with pytest.raises(WeightsError, match=r"resnet18_3d .*downsample"):
        create_backbone("resnet18_3d", weights=str(path), in_channels=16)


def test_what_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"resnet18_3d is for volumes.*have 3.*such as resnet18"):
        create_backbone("resnet18_3d", weights="none", in_channels=3)
    with pytest.raises(ConfigError, match=r"no 3-D network 'resnext50_3d'.*resnet50_3d"):
        require_weights("resnext50_3d", "none")
    file = file_of(
        timm.create_model("resnet18"), tmp_path / "w.safetensors", architecture="resnet34"
    )
    with pytest.raises(WeightsError, match="for resnet34, not for resnet18_3d"):
        require_weights("resnet18_3d", str(file))
    require_weights("resnet34_3d", str(file))
    with pytest.raises(WeightsError, match="names no hub weights"):
        require_weights("resnet18_3d.medicalnet", "hub")


def small(pool: str = "last_two_max") -> Network:
    torch.manual_seed(1)
    backbone, loaded = create_backbone("resnet10_3d", weights="none", in_channels=LEAST_SLICES)
    names = {name for name, _ in backbone.named_parameters()}
    assert {stage_of(backbone, name) for name in names} == {0, 1, 2, 3, 4}
    own = {"channels": LEAST_SLICES, "pool": pool, "mean": loaded.mean, "std": loaded.std}
    content = {**DESCRIPTION, **own, "norms": "train"}
    return build_network(content, n_classes=2, backbone=backbone)


@pytest.mark.parametrize("pool", ["last", "last_two", "last_two_max", "first_two"])
def test_every_pooling_gives_a_gradient_to_each_stage_it_sees(pool: str) -> None:
    network = small(pool).train()
    torch.nn.init.normal_(network.head.weight)
    x = torch.randint(0, 255, (2, LEAST_SLICES, 32, 40), dtype=torch.uint8)
    network(x).square().sum().backward()
    stem = network.backbone.get_submodule("conv1").weight
    assert stem.grad is not None
    assert float(stem.grad.abs().max()) > 0


def test_the_map_of_a_volume_lies_on_the_slices_that_the_picture_shows() -> None:
    network = small("last").eval()
    # The class is told by how bright the last stage is, whatever its channel.
    torch.nn.init.constant_(network.head.weight, 0)
    network.head.weight.data[1] = 1
    volume = np.zeros((48, 48, LEAST_SLICES), np.uint8)
    volume[30:, 30:, 13:] = np.random.default_rng(0).integers(100, 255, (18, 18, 3))
    batch = torch.from_numpy(volume.transpose(2, 0, 1).copy())[None]
    heat = saliency_map(network, batch, class_index=1, target_layer=network.last_stage)
    picture = visible(volume)
    assert heat.shape == picture.shape[:2] == (144, 144)
    assert 0 <= heat.min() <= heat.max() <= 1
    # The bright corner of the last slices is in the last tile.
    assert picture[96:, 96:].max() > 0
    assert picture[:96].max() == 0


def test_a_sheet_shows_first_and_last_slice() -> None:
    volume = np.broadcast_to(np.arange(40, dtype=np.uint8), (2, 3, 40))
    sheet = contact_sheet(volume)
    assert sheet.shape == (6, 9)
    assert (sheet[0, 0], sheet[-1, -1]) == (0, 39)
    assert (np.diff(sheet[::2, ::3].ravel().astype(int)) > 0).all()
