from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from apps.images.phantom import write_phantom
from core.errors import ConfigError, WeightsError
from core.model.backbone import create_backbone, require_weights, stage_of
from core.model.checkpoint import build_network
from core.model.heads import loss_of
from core.model.network import pool_width
from tests.networks import DESCRIPTION

# One of each family that the tool names, with bottlenecks where it has them. These are the
# largest networks of the suite, so images are 64 pixels.
# 3-D networks go the whole way in the tests of volumes.
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
def test_every_weight_of_every_family_takes_part(name: str) -> None:
    torch.manual_seed(0)
    backbone, weights = create_backbone(name, weights="none", in_channels=3)
    own = {"pool": "last_two_max", "mean": weights.mean, "std": weights.std, "norms": "train"}
    network = build_network({**DESCRIPTION, **own}, n_classes=2, backbone=backbone).train()
    pixels = torch.randint(0, 255, (4, 3, 64, 64), dtype=torch.uint8)
    # The head starts at zero, which lets nothing through to the backbone.
    assert not network.head.weight.any()
    torch.nn.init.normal_(network.head.weight)
    loss_of("softmax", network(pixels), torch.tensor([0, 1, 0, 1])).backward()
    assert not [k for k, p in network.named_parameters() if p.grad is None]
    network.pool = "first_two"
    assert network.embed(pixels).shape == (4, pool_width(backbone, "first_two"))


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Few small pictures in class folders."""
    return write_phantom(tmp_path_factory.mktemp("cells"), 45, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_goes_the_whole_way(
    name: str, cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.verbs.evaluate import evaluate  # noqa: PLC0415  (imports torch)
    from core.verbs.predict import predict  # noqa: PLC0415
    from core.verbs.train import train  # noqa: PLC0415

    monkeypatch.setenv("RESIGHT_HOME", str(tmp_path / "home"))
    backbone, _ = create_backbone(name, weights="none", in_channels=3)
    assert {stage_of(backbone, key) for key, _ in backbone.named_parameters()} == {0, 1, 2, 3, 4}
    settings = {"backbone": name, "weights": "none", "size_px": (64, 64), "epochs": 1}
    made = train("images", cells, tmp_path / "run", flags=settings)
    assert made["run"]["members"][0]["network"]["backbone"] == name
    log = pd.read_csv(tmp_path / "run" / "log.csv")
    assert np.isfinite(log["train_loss"].dropna()).all()
    judged = evaluate(tmp_path / "run", cells, tmp_path / "evaluation")
    assert judged["n_failed"] == 0
    predicted = predict(tmp_path / "run", [cells], tmp_path / "predictions")
    assert predicted["n_ok"] == 45
    # What is scored anew is what the training kept.
    kept, again = (
        pd.read_parquet(tmp_path / place / "predictions.parquet").set_index("image_id")
        for place in ("run", "predictions")
    )
    columns = [column for column in kept if column.startswith("score_")]
    found = again.loc[kept.index, columns]
    np.testing.assert_allclose(found, kept[columns], atol=1e-4)


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
