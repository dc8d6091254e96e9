"""Learned weights of the images of a unit: what they learn, and that a table suffices for them."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from core.app import Task, Unit
from core.errors import ConfigError, MetricError
from core.evaluation.attention_units import attend, learned_unit
from core.evaluation.units import decisions_by_unit
from core.model.attention_pooling import AttentionPool
from core.model.heads import Head, loss_of
from core.model.network import Network, PixelScale
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
