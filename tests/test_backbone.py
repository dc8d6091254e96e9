import hashlib
import pickle
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import numpy as np
import pandas as pd
import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from apps.images.phantom import write_phantom
from core.errors import ConfigError, WeightsError
from core.model.backbone import create_backbone, require_weights, stage_of
from core.model.checkpoint import build_network
from core.model.heads import Head, loss_of
from core.model.network import Network, PixelScale, pool_width
from core.model.saliency import saliency_map
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


@pytest.mark.parametrize(
    ("flips", "views"),
    [
        ("none", [lambda x: x]),
        ("left_right", [lambda x: x, lambda x: x[..., ::-1]]),
        (
            "both",
            [
                lambda x: x,
                lambda x: x[..., ::-1],
                lambda x: x[..., ::-1, :],
                lambda x: x[..., ::-1, ::-1],
            ],
        ),
    ],
)
@pytest.mark.parametrize("link", ["softmax", "cumulative", "regression"])
def test_scores_are_those_of_the_mirrored_views_averaged(
    flips: str, views: list[Any], link: str
) -> None:
    torch.manual_seed(0)
    own = {**DESCRIPTION, "link": link}
    plain, averaged = (
        build_network({**own, "flips": name}, n_classes=3).eval() for name in ("none", flips)
    )
    torch.nn.init.normal_(plain.head.weight)
    averaged.load_state_dict(plain.state_dict())
    pixels = np.random.default_rng(0).integers(0, 255, (2, 3, 64, 96), dtype=np.uint8)
    with torch.no_grad():
        wanted = [plain(torch.from_numpy(view(pixels).copy())) for view in views]
        found = averaged(torch.from_numpy(pixels))
        mirrored = averaged(torch.from_numpy(pixels[..., ::-1].copy()))
    torch.testing.assert_close(found, torch.stack(wanted).mean(dim=0), rtol=1e-4, atol=1e-4)
    if flips != "none":
        torch.testing.assert_close(found, mirrored, rtol=1e-4, atol=1e-4)
    # Training sees pictures one by one.
    averaged.train().dropout.eval()
    torch.testing.assert_close(averaged(torch.from_numpy(pixels)), wanted[0], rtol=1e-4, atol=1e-4)
    # A map is of the picture that is shown.
    one = torch.from_numpy(pixels[:1])
    maps = [saliency_map(each.eval(), one, 0, each.last_stage) for each in (plain, averaged)]
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-4)
    assert averaged.flips == flips


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


def tensors() -> dict[str, torch.Tensor]:
    """Those of a small network, with batch statistics that are not those of a new one."""
    state = timm.create_model("test_resnet", pretrained=False, num_classes=0).state_dict()
    return {key: torch.rand_like(v) if v.is_floating_point() else v for key, v in state.items()}


def assert_same(backbone: torch.nn.Module, state: dict[str, torch.Tensor]) -> None:
    for key, value in backbone.state_dict().items():
        torch.testing.assert_close(value, state[key])


def test_weights_file_is_taken_over_whole(tmp_path: Path) -> None:
    state = tensors()
    file = tmp_path / "w.safetensors"
    about = {"input_mean": "0.1,0.2,0.3", "input_std": "1,2,3", "source": "CC0 of somebody"}
    save_file(state, file, about)
    backbone, loaded = create_backbone("test_resnet", weights=str(file), in_channels=3)
    assert_same(backbone, state)
    assert loaded.as_dict() == {
        "source": "w.safetensors",
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "matched": len(state),
        "unused": (),
        "mean": (0.1, 0.2, 0.3),
        "std": (1.0, 2.0, 3.0),
        # What timm says of its own weights of this network.
        "licence": "apache-2.0",
        "note": "",
    }


def test_without_weights_nothing_is_claimed_and_the_input_is_what_timm_says() -> None:
    _, loaded = create_backbone("resnet18", weights="none", in_channels=1)
    assert (loaded.source, loaded.sha256, loaded.matched, loaded.licence) == ("none", "", 0, "")
    assert loaded.unused == ()
    # The averages of (0.485, 0.456, 0.406) and (0.229, 0.224, 0.225).
    assert loaded.mean == pytest.approx((0.449,))
    assert loaded.std == pytest.approx((0.226,))
    require_weights("resnet18", "none")


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "backbone.", "module.model."])
def test_a_state_dictionary_is_read_whatever_it_was_wrapped_in(prefix: str, tmp_path: Path) -> None:
    state = tensors()
    extra = {"fc.weight": torch.zeros(5, 96), "fc.bias": torch.zeros(5), "ema": torch.zeros(2)}
    kept = {k: v.double() if v.is_floating_point() else v for k, v in state.items()}
    wrapped = {f"{prefix}{key}": value for key, value in {**kept, **extra}.items()}
    # Older files have no count of batches.
    wrapped = {k: v for k, v in wrapped.items() if not k.endswith("num_batches_tracked")}
    torch.save({"state_dict": wrapped, "epoch": 3}, tmp_path / "w.pth")
    backbone, loaded = create_backbone(
        "test_resnet", weights=str(tmp_path / "w.pth"), in_channels=3
    )
    assert_same(backbone, state)
    # The classifier of other classes is left out on purpose; what else has no place is told.
    assert loaded.unused == ("ema",)
    require_weights("test_resnet", str(tmp_path / "w.pth"))


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": tensors(), "when": Path("x")}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"holds more than tensors.*\.safetensors"):
        require_weights("test_resnet", str(tmp_path / "w.pth"))
    (tmp_path / "list.pth").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(WeightsError):
        create_backbone("test_resnet", weights=str(tmp_path / "list.pth"), in_channels=3)


def test_a_tensor_of_another_shape_is_a_part_that_is_missing(tmp_path: Path) -> None:
    state = tensors()
    state["layer1.0.conv1.weight"] = torch.zeros(7, 7, 3, 3)
    save_file(state, tmp_path / "w.safetensors")
    told = r"fits 89 of 90 tensors of test_resnet \(first without a match: layer1.0.conv1.weight"
    with pytest.raises(WeightsError, match=told):
        create_backbone("test_resnet", weights=str(tmp_path / "w.safetensors"), in_channels=3)


class Hub:
    """The hub's cache and its server, which a test may fill or switch off."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self.cached: str | None = None
        self.served: str | Exception = OSError("no")
        monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", self.look)
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", self.download)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)

    def look(self, repository: str, filename: str) -> str | None:
        self.asked.append(("cache", repository, filename))
        return self.cached

    def download(self, repository: str, filename: str) -> str:
        self.asked.append(("server", repository, filename))
        if isinstance(self.served, Exception):
            raise self.served
        return self.served


def test_weights_of_the_hub_come_from_the_cache_before_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub(monkeypatch)
    state = tensors()
    file = tmp_path / "w.safetensors"
    save_file(state, file)
    place = ("timm/test_resnet.r160_in1k", "model.safetensors")
    hub.cached = str(file)
    backbone, loaded = create_backbone("test_resnet", weights="hub", in_channels=3)
    assert_same(backbone, state)
    assert loaded.source == "hub: timm/test_resnet.r160_in1k"
    assert hub.asked == [("cache", *place)]
    hub.asked.clear()
    hub.cached, hub.served = None, str(file)
    require_weights("test_resnet", "hub")
    assert hub.asked == [("cache", *place), ("server", *place)]
    hub.served = OSError("half of it")
    with pytest.raises(WeightsError, match=r"could not be fetched \(OSError\).*--weights FILE"):
        require_weights("test_resnet", "hub")


def test_the_hub_is_only_asked_where_somebody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(monkeypatch)
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    called: list[tuple[tuple[str, int], float]] = []

    def nobody(address: tuple[str, int], timeout: float) -> None:
        called.append((address, timeout))
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", nobody)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "https://hub.example")
    with pytest.raises(WeightsError, match="the hub cannot be reached"):
        require_weights("test_resnet", "hub")
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://mirror.example:8080")
    with pytest.raises(WeightsError, match="the hub cannot be reached"):
        require_weights("test_resnet", "hub")
    assert [address for address, _ in called] == [("hub.example", 443), ("mirror.example", 8080)]
    assert all(timeout <= 10 for _, timeout in called)
    assert [kind for kind, *_ in hub.asked] == ["cache", "cache"]
    # With a connection, or a proxy in between that is taken at its word, it is.
    monkeypatch.setattr(socket, "create_connection", lambda *_: socket.socket())
    with pytest.raises(WeightsError, match="could not be fetched"):
        require_weights("test_resnet", "hub")
    monkeypatch.setattr(socket, "create_connection", nobody)
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        with monkeypatch.context() as one:
            one.setenv(name, "http://127.0.0.1:9")
            with pytest.raises(WeightsError, match="could not be fetched"):
                require_weights("test_resnet", "hub")


def test_first_layer_is_adapted_to_other_channels(tmp_path: Path) -> None:
    file = saved(tmp_path / "w.safetensors")
    backbone, loaded = create_backbone("test_resnet", weights=str(file), in_channels=1)
    with safe_open(file, framework="pt") as stream:
        colour = stream.get_tensor("conv1.0.weight")
    # A grey picture gives what its three equal channels gave.
    torch.testing.assert_close(backbone.conv1[0].weight, colour.sum(dim=1, keepdim=True))
    assert "3 to 1 channels" in loaded.note
    assert loaded.unused == ()
    assert loaded.mean == loaded.std == (0.5,)
    five, loaded = create_backbone("test_resnet", weights=str(file), in_channels=5)
    assert five.conv1[0].weight.shape[1] == 5
    assert "3 to 5 channels" in loaded.note
    assert loaded.mean == (0.5,) * 5


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
    with pytest.raises(ConfigError, match=r"Did you mean .*resnet50"):
        create_backbone("resnet5O", weights="none", in_channels=3)
    with pytest.raises(ConfigError, match=r"called 'qqqqqq'\. See"):
        create_backbone("qqqqqq", weights="none", in_channels=3)
    with pytest.raises(ConfigError, match="Check the tag after the dot"):
        create_backbone("resnet18.of_mine", weights="none", in_channels=3)
    with pytest.raises(WeightsError, match="timm names no hub weights for resnet10_3d"):
        require_weights("resnet10_3d", "hub")


# --- networks ----------------------------------------------------------------------------------


def test_parameters_belong_to_the_stage_they_stand_in() -> None:
    backbone = timm.create_model("test_resnet", pretrained=False, num_classes=0)
    found = {name.partition(".")[0]: set() for name, _ in backbone.named_parameters()}
    for name, _ in backbone.named_parameters():
        found[name.partition(".")[0]].add(stage_of(backbone, name))
    layers = {f"layer{stage}": {stage} for stage in (1, 2, 3, 4)}
    assert found == {"conv1": {0}, "bn1": {0}, **layers}
    # Names of pre-activation networks, whose last norm follows the stages.
    stages = [{"module": "stem"}, *({"module": f"stages.{k}"} for k in range(4))]
    other = SimpleNamespace(feature_info=stages)
    names = ("stem.conv.weight", "stages.0.a", "stages.3.a", "stages.10.a", "norm.weight")
    assert [stage_of(other, name) for name in names] == [0, 1, 4, 0, 4]
    assert [stage_of(other, name) for name in ("final_conv.a", "head.a", "normal.a")] == [4, 4, 0]


def small(
    pool: str, scale: PixelScale, *, dropout: float = 0.0, norms: str = "frozen", frozen: int = 0
) -> Network:
    """A small network with batch statistics that are not those of a new one."""
    torch.manual_seed(0)
    backbone = timm.create_model("test_resnet", pretrained=False, num_classes=0)
    for name, value in backbone.named_buffers():
        if value.is_floating_point():
            value.uniform_(0.5, 1.5) if name.endswith("var") else value.normal_(std=0.1)
    head = Head("softmax", pool_width(backbone, pool), 3)
    torch.nn.init.normal_(head.weight)
    return Network(
        backbone, head, pool=pool, scale=scale, dropout=dropout, norms=norms, frozen_stages=frozen
    )


@pytest.mark.parametrize(
    ("dtype", "full"), [("uint8", 255.0), ("uint16", 65535.0), ("float32", 1.0)]
)
def test_each_pooling_is_of_the_maps_that_timm_gives(dtype: str, full: float) -> None:
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.5)
    share = np.random.default_rng(0).random((2, 3, 64, 48))
    pixels = torch.from_numpy((share * full).astype(dtype))
    for pool in ("last", "last_two", "last_two_max", "first_two"):
        network = small(pool, PixelScale(mean, std, dtype)).eval()
        x = pixels.float() / full
        x = (x - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
        with torch.no_grad():
            maps = network.backbone.forward_intermediates(x, intermediates_only=True)
            last = network.backbone.forward_features(x)
            means = [one.mean(dim=(2, 3)) for one in (*maps[:4], last)]
            wanted = {
                "last": [means[4]],
                "last_two": means[3:],
                "last_two_max": [*means[3:], maps[3].amax(dim=(2, 3)), last.amax(dim=(2, 3))],
                "first_two": means[1:3],
            }[pool]
            found = network.embed(pixels)
            torch.testing.assert_close(found, torch.cat(wanted, dim=1), rtol=1e-4, atol=1e-4)
            assert found.shape[1] == pool_width(network.backbone, pool)
            torch.testing.assert_close(network(pixels), network.head(found))
        stage = "backbone.layer2" if pool == "first_two" else "backbone.layer4"
        assert network.last_stage == stage
        assert network.n_classes == 3


COLOUR = PixelScale((0.5,) * 3, (0.5,) * 3)


def test_a_probe_starts_the_head_on_standardised_features() -> None:
    network = small("last", COLOUR).eval()
    features = torch.randn(4, 96)
    head = Head("softmax", 96, 3)
    torch.nn.init.normal_(head.weight)
    mean, std = torch.randn(96), torch.rand(96) + 0.5
    torch.testing.assert_close(network.classify(features), network.head(features))
    network.start_from(head, mean, std)
    torch.testing.assert_close(network.classify(features), head((features - mean) / std))


def test_statistics_stay_as_loaded_while_frozen() -> None:
    pixels = torch.randint(0, 255, (4, 3, 32, 32), dtype=torch.uint8)
    for norms, is_kept in (("frozen", True), ("train", False)):
        network = small("last", COLOUR, norms=norms)
        before = network.backbone.bn1.running_mean.clone()
        with torch.no_grad():
            assert network.train() is network
            network(pixels)
        assert torch.equal(before, network.backbone.bn1.running_mean) is is_kept
        assert network.training
        assert network.head.training
        assert not network.eval().backbone.bn1.training


def test_dropout_is_for_training_alone() -> None:
    features = torch.ones(2, 96)
    network = small("last", COLOUR, dropout=0.5)
    assert not torch.equal(network.train().classify(features), network.classify(features))
    assert torch.equal(network.eval().classify(features), network.head(features))
    backbone = network.backbone
    plain = Network(backbone, Head("softmax", 96, 3), pool="last", scale=COLOUR).train()
    assert plain.dropout.p == 0.0
    assert not backbone.bn1.training
    assert all(parameter.requires_grad for parameter in plain.parameters())


@pytest.mark.parametrize("frozen", [0, 1, 3, 5])
def test_frozen_stages_are_the_first_ones(frozen: int) -> None:
    network = small("last", COLOUR, frozen=frozen)
    stages = {"conv1": 0, "bn1": 0, "layer1": 1, "layer2": 2, "layer3": 3, "layer4": 4}
    for name, parameter in network.backbone.named_parameters():
        assert parameter.requires_grad == (stages[name.partition(".")[0]] >= frozen)
    assert network.head.weight.requires_grad
