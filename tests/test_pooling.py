"""Learned weights of the images of a unit: what they learn, and that a table suffices for them."""

import sys
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from torch import nn

from core.app import Task, Unit
from core.errors import ConfigError, MetricError
from core.evaluation.attention_units import attend, learned_unit
from core.evaluation.units import decisions_by_unit
from core.model.attention_pooling import AttentionPool
from core.model.exporting import export_onnx
from core.model.heads import Head, loss_of
from core.model.network import Network, PixelScale
from core.prediction.engines import open_engine
from core.runs.predictions import Scoring, predictions_of
from core.training.attention_fitting import UnitImages, _average, fit_pool, label_units

TASK = Task(name="cancer", kind="binary", classes=("no", "yes"))
D = 12


def network(weight: float) -> Network:
    """A network whose head calls a positive third feature; its backbone is never used."""
    backbone = nn.Identity()
    backbone.feature_info = []
    head = Head("softmax", D, 2)
    with torch.no_grad():
        head.weight[1, 2] = weight
    return Network(backbone, head, pool="last", scale=PixelScale((0.5,), (0.5,)))


def breasts(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two views each: one shows the sign in feature 2 and says so in feature 0, one shows noise."""
    rng = np.random.default_rng(seed)
    y = np.repeat(rng.integers(2, size=n), 2)
    shows = np.tile([1, 0], n)
    x = rng.normal(size=(2 * n, D)).astype(np.float32)
    x[:, 0] = 2.0 * shows - 1
    x[:, 2] = np.where(shows == 1, 2.0 * y - 1, 3.0 * rng.normal(size=2 * n))
    owner = np.array([f"b{i // 2:04d}" for i in range(2 * n)], dtype=object)
    return x, y, owner


def test_attention_learns_which_view_shows_it_and_needs_only_the_table() -> None:
    x, y, owner = breasts(300, 0)
    train, val = np.arange(400), np.arange(400, 600)
    pooled = fit_pool(
        network(1.0),
        TASK,
        UnitImages(x, y, owner),
        unit="breast",
        rows={"train": train, "val": val},
        seed=0,
    )
    assert pooled is not None
    assert pooled.facts["kept"] == "attention"
    assert pooled.facts["n_several"] == {"train": 200, "val": 100}
    assert pooled.facts["val_log_loss"]["kept"] < 0.8 * pooled.facts["val_log_loss"]["start"]
    x, y, owner = breasts(200, 1)
    attended = pooled.pool.of_images(x)
    assert (attended[::2, 0] > attended[1::2, 0]).mean() > 0.9
    # The table alone gives what the network gives.
    rows = pd.DataFrame(
        {
            "image_id": [f"i{i:04d}" for i in range(len(x))],
            "path": "",
            "status": "ok",
            "reason": "",
            "exam": owner,
        }
    )
    logits = np.column_stack([np.zeros(len(x)), x[:, 2]])
    table = predictions_of(
        rows.assign(label=np.where(y == 1, "yes", "no")),
        logits.astype(np.float64),
        np.ones(len(x)),
        Scoring(
            app=_app(),
            task=TASK,
            link="softmax",
            temperature=1.0,
            threshold=None,
            unfamiliar_above=2.0,
            model_id="0" * 12,
        ),
        attended,
    )
    right = {}
    for rule in ("mean", "attention"):
        unit = Unit(name="breast", columns=("exam",), rule=rule)
        decided = decisions_by_unit(table, task=TASK, units=[unit])[0]["breast"]
        right[rule] = float((decided["predicted"] == decided["label"]).mean())
        if rule == "attention":
            scores = decided["score_yes"].to_numpy()
    assert right["attention"] > right["mean"] + 0.1
    with torch.no_grad():
        index = torch.from_numpy(np.arange(len(x)) // 2)
        inside = _average(*pooled.pool(torch.from_numpy(x)), index, 200).softmax(dim=1)[:, 1]
    np.testing.assert_allclose(scores, inside.numpy(), atol=1e-6)


def _app() -> object:
    """Just enough of an app for a predictions table."""
    from types import SimpleNamespace  # noqa: PLC0415

    unit = Unit(name="breast", columns=("exam",))
    return SimpleNamespace(units=(unit,), subgroups=(), output_columns=(), prepared_columns=())


def test_equal_weights_are_the_average_of_the_networks_own_logits() -> None:
    net = network(1.0)
    attended = AttentionPool(net.head, net.feature_mean, net.feature_std).of_images(
        np.eye(D, dtype=np.float32)[[2, 0]]
    )
    # Image 1 has logits (0, 1), image 2 (0, 0); their average is (0, 0.5).
    np.testing.assert_allclose(
        attend(attended[:, 0], attended[:, 1:], np.array([0, 0]), 1), [[0, 0.5]], atol=1e-6
    )


def test_a_missing_view_leaves_the_others_all_the_weight() -> None:
    attention = np.array([0.0, np.nan, 1.0])
    logits = np.array([[1.0], [np.nan], [5.0]])
    found = attend(attention, logits, np.array([0, 0, 2]), 3)
    np.testing.assert_array_equal(found, [[1.0], [np.nan], [5.0]])


def test_noise_keeps_the_start() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(400, D)).astype(np.float32)
    y = np.repeat(rng.integers(2, size=200), 2)
    owner = np.array([f"b{i // 2}" for i in range(400)], dtype=object)
    pooled = fit_pool(
        network(0.0),
        TASK,
        UnitImages(x, y, owner),
        unit="breast",
        rows={"train": np.arange(200), "val": np.arange(200, 400)},
        seed=0,
    )
    assert pooled is not None
    assert pooled.facts["val_log_loss"]["kept"] <= pooled.facts["val_log_loss"]["start"]
    assert loss_of("softmax", torch.zeros(1, 2), torch.tensor([0])) > 0


def test_labels_of_units_are_those_of_the_decisions() -> None:
    y, index = np.array([0, 2, 1, 1, 0]), np.array([0, 0, 1, 1, 1])
    graded = Task(name="g", kind="ordinal", classes=("a", "b", "c"))
    assert label_units(y, index, 2, graded).tolist() == [2, 1]
    several = Task(name="m", kind="multiclass", classes=("a", "b", "c"))
    assert label_units(y[2:], index[2:] - 1, 1, several).tolist() == [1]


def test_the_rule_cannot_be_had_where_nothing_was_learned_or_nobody_knows_the_unit() -> None:
    table = pd.DataFrame(
        {"image_id": ["a"], "status": ["ok"], "score_no": [0.2], "score_yes": [0.8], "exam": ["e"]}
    )
    unit = Unit(name="breast", columns=("exam",), rule="attention")
    with pytest.raises(MetricError, match="no learned weights"):
        decisions_by_unit(table, task=TASK, units=[unit])
    with pytest.raises(ConfigError, match="no column side"):
        learned_unit([Unit(name="b", columns=("side",), rule="attention")], table)
    assert learned_unit([Unit(name="b", columns=("side",), learned=True)], table) is None


# --- exports -----------------------------------------------------------------------------------


class Edges(nn.Module):
    """A backbone of one layer, as timm's are used."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2)
        self.feature_info = [{"num_chs": 4, "module": "conv"}] * 5

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).relu()


def edges() -> Network:
    torch.manual_seed(0)
    head = Head("softmax", 4, 2)
    nn.init.normal_(head.weight)
    scale = PixelScale((0.3, 0.4, 0.5), (0.2,) * 3, "uint16")
    found = Network(Edges(), head, pool="last", scale=scale, dropout=0.5)
    found.attention = AttentionPool(head, found.feature_mean, found.feature_std)
    nn.init.normal_(found.attention.weigh.weight)
    found.attention.temperature.fill_(2.0)
    return found


@pytest.mark.slow
def test_an_exported_file_gives_logits_embedding_and_attention_of_any_batch(
    tmp_path: Path,
) -> None:
    network = edges().train()
    export_onnx(network, tmp_path / "m.onnx", size_px=(12, 16), channels=3, dtype="uint16")
    graph = onnx.load(tmp_path / "m.onnx").graph
    assert [one.name for one in graph.input] == ["pixels"]
    assert graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT16
    assert [one.name for one in graph.output] == ["logits", "embedding", "attention"]
    engine = open_engine(tmp_path / "m.onnx", engine="ort", precision="fp32")
    network.eval()
    for n in (1, 2, 5):
        pixels = np.random.default_rng(n).integers(0, 65535, (n, 3, 12, 16), dtype=np.uint16)
        found = engine.run(pixels)
        with torch.no_grad():
            embedding = network.embed(torch.from_numpy(pixels))
            logits = network.classify(embedding)
        np.testing.assert_allclose(found.logits, logits, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.embeddings, embedding, rtol=1e-4, atol=1e-5)
        wanted = network.attention.of_images(embedding.numpy())
        np.testing.assert_allclose(found.attention, wanted, rtol=1e-4, atol=1e-5)
        # The pool's head is the network's own, at temperature 2: half of its logits.
        np.testing.assert_allclose(found.attention[:, 1:], found.logits / 2, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["onnx", "onnxscript"])
def test_an_export_without_its_packages_says_how_to_get_them(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=rf"package {name}, which is not .*resight\[export\]"):
        export_onnx(edges(), tmp_path / "m.onnx", size_px=(12, 16), channels=3, dtype="uint8")
    assert not (tmp_path / "m.onnx").exists()
