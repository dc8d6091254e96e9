from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from core.errors import ConfigError, WeightsError
from core.model.backbone import create_backbone, require_weights, stage_of
from core.model.checkpoint import build_network
from core.model.heads import loss_of
from core.model.network import pool_width

# One of each family that the tool names, with bottlenecks where it has them. These are the
# largest networks of the suite, so images are 64 pixels and steps are two.
FAMILIES = [
    "resnet10t",
    "resnet18d",
    "resnext50_32x4d",
    "wide_resnet50_2",
    "seresnet18",
    "ecaresnet26t",
    "resnetrs50",
    "resnetv2_18",
    "resnetv2_50x1_bit",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_trains(name: str) -> None:
    torch.manual_seed(0)
    backbone, weights = create_backbone(name, weights="none", in_channels=3)
    network = build_network(
        {
            "channels": 3,
            "dtype": "uint8",
            "pool": "last_two_max",
            "link": "softmax",
            "mean": weights.mean,
            "std": weights.std,
            "norms": "train",
        },
        n_classes=2,
        backbone=backbone,
    ).train()
    assert {stage_of(backbone, key) for key, _ in backbone.named_parameters()} == {0, 1, 2, 3, 4}
    pixels = torch.randint(0, 255, (4, 3, 64, 64), dtype=torch.uint8)
    y = torch.tensor([0, 1, 0, 1])
    stem = next(p for p in backbone.parameters() if p.ndim == 4)
    before = stem.detach().clone()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01)
    # The head starts at zero, which lets nothing through to the backbone.
    assert not network.head.weight.any()
    torch.nn.init.normal_(network.head.weight)
    for _ in range(2):
        loss = loss_of("softmax", network(pixels), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        assert torch.isfinite(loss)
    # Every weight of the backbone takes part.
    missing = [k for k, p in network.named_parameters() if p.grad is None]
    assert not missing
    assert not torch.equal(stem, before)
    network.pool = "first_two"
    assert network.embed(pixels).shape == (4, pool_width(backbone, "first_two"))


def saved(path: Path, **metadata: str) -> Path:
    backbone, _ = create_backbone("test_resnet", weights="none", in_channels=3)
    state = {key: value.contiguous() for key, value in backbone.state_dict().items()}
    save_file(state, path, metadata=metadata or None)
    return path


def test_weights_file_is_taken_over_whole(tmp_path: Path) -> None:
    file = saved(tmp_path / "w.safetensors", input_mean="0,0,0", input_std="1,1,1")
    backbone, loaded = create_backbone("test_resnet", weights=str(file), in_channels=3)
    assert loaded.matched == len(backbone.state_dict())
    assert loaded.mean == (0.0, 0.0, 0.0)
    assert loaded.std == (1.0, 1.0, 1.0)


def test_first_layer_is_adapted_to_other_channels(tmp_path: Path) -> None:
    file = saved(tmp_path / "w.safetensors")
    backbone, loaded = create_backbone("test_resnet", weights=str(file), in_channels=1)
    assert backbone.conv1[0].weight.shape[1] == 1
    assert "3 to 1 channels" in loaded.note
    assert len(loaded.mean) == 1


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="tensors of resnet18"):
        create_backbone("resnet18", weights=str(saved(tmp_path / "w.safetensors")), in_channels=3)
    named = saved(tmp_path / "n.safetensors", architecture="resnet34")
    with pytest.raises(WeightsError, match="--backbone resnet34"):
        require_weights("resnet18", str(named))


@pytest.mark.parametrize(
    "content", [b"", b"<html>proxy</html>", b"\x10\x00\x00\x00\x00\x00\x00\x00{"]
)
def test_file_that_is_no_weights_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "w.safetensors"
    file.write_bytes(content)
    with pytest.raises(WeightsError, match="cannot be read as weights"):
        require_weights("test_resnet", str(file))


def test_missing_weights_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such weights file"):
        require_weights("test_resnet", str(tmp_path / "none.safetensors"))


def test_hub_weights_without_hub_fail_at_once_with_the_way_out() -> None:
    with pytest.raises(WeightsError, match="--weights FILE"):
        require_weights("resnet18", "hub")


def test_network_that_is_not_residual_is_refused() -> None:
    with pytest.raises(ConfigError, match="not a residual network"):
        create_backbone("vit_tiny_patch16_224", weights="none", in_channels=3)
    with pytest.raises(ConfigError, match="resnet50"):
        create_backbone("resnet5O", weights="none", in_channels=3)
