"""Depth studies, lists of residual networks, and which runs are worth averaging."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch.nn import functional
from typer.testing import CliRunner

from core.cli.main import build
from core.model.depth_twins import gradient_norms, small_network
from core.model.residual_networks import COUNTS, count, families, family_of
from core.report.depth_page import depth_html, short_answer
from core.training import depth_study
from core.training.depth_study import Lesson, study
from core.verbs.ensemble_choice import choose

# One small network of each family of the source, and a picture side that it takes.
FAMILIES = {
    "resnet18": "ResNet",
    "resnext50_32x4d": "ResNeXt",
    "wide_resnet50_2": "Wide ResNet",
    "resnet18d": "ResNet-D",
    "resnetrs50": "ResNet-RS",
    "seresnet18": "SE",
    "ecaresnet26t": "ECA",
    "resnetv2_18": "ResNetV2",
    "resnetv2_50x1_bit": "BiT",
}


def test_twins_have_the_same_layers_and_only_one_has_shortcuts() -> None:
    pair = [small_network(14, channels=3, classes=4, is_plain=p, seed=1) for p in (False, True)]
    weights = [
        [m.weight for m in network.modules() if isinstance(m, torch.nn.Conv2d)] for network in pair
    ]
    # 6 n + 2 layers: 13 convolutions and the classifier; a residual network has two of 1 x 1 more.
    assert sum(w.shape[-1] == 3 for w in weights[0]) == len(weights[1]) == 13
    # With every convolution of its blocks at zero a residual network still carries the picture.
    picture = torch.randn(2, 3, 16, 16)
    for network in pair:
        network.eval()
        for block in (network.layer1, network.layer2, network.layer3):
            for name, parameter in block.named_parameters():
                if parameter.ndim == 4 and "downsample" not in name:
                    torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        residual, plain = (network.forward_features(picture) for network in pair)
    assert float(residual.std()) > 0
    assert float(plain.abs().max()) == 0


def test_gradient_of_a_deep_plain_network_explodes_towards_the_stem() -> None:
    torch.manual_seed(0)
    picture, y = torch.randn(16, 3, 12, 12), torch.arange(16) % 4
    growth = {}
    for is_plain in (False, True):
        network = small_network(56, channels=3, classes=4, is_plain=is_plain, seed=0).train()
        functional.cross_entropy(network(picture), y).backward()
        norms = gradient_norms(network)
        growth[is_plain] = norms["stem"] / norms["stage 3"]
    # Section 9 of the sources: 780-fold against 20-fold on leaves; here on noise.
    assert growth[True] > 5 * growth[False]


def test_page_says_what_the_numbers_say() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.normal(size=(40, 1, 12, 12)).astype(np.float32)
    y = np.arange(40) % 2
    courses = study(Lesson(pixels, y, 2), steps=6, seeds=1, depths=(8, 14))
    assert [course.name for course in courses] == ["ResNet-8", "plain-8", "ResNet-14", "plain-14"]
    plain = [
        {
            "name": c.name,
            "depth": c.depth,
            "seed": 0,
            "parts": c.parts(),
            "curve": c.parts(),
            "curve_steps": [1, 2, 3, 4, 5],
            "gradient": c.gradient,
        }
        for c in courses
    ]
    for entry, last in zip(plain, (0.1, 0.2, 0.15, 0.4), strict=True):
        entry["parts"] = [0.5, 0.5, 0.5, 0.5, last]
    said = short_answer(plain, 0.5).replace("\xa0", " ")
    assert "With 14 layers the residual network ends at 15 % training error" in said
    assert "plain twin at 40 %, higher in the one seed that was run" in said
    assert "With 14 layers the plain network ends higher in the one seed" in said
    assert "guessing is wrong on 50 %" in said.lower()
    assert "Hardly better" not in said
    probed = [
        {"name": name, "accuracy": right, "seconds_per_image": seconds}
        for name, right, seconds in (("resnet18", 0.8, 0.02), ("resnet50", 0.84, 0.05))
    ]
    told = short_answer(plain, 0.42, probed).replace("\xa0", " ")
    assert "Hardly better than guessing: plain-14." in told
    assert "resnet50 is right on 84 % of the images and resnet18 on 80 %, at 2.5 times" in told
    assert "does not tell them apart" in short_answer(plain, 0.05)
    about = {"n": 40, "size_px": [12, 12], "steps": 6, "batch": 32, "seeds": 1}
    page = depth_html(
        {
            **about,
            "courses": plain,
            "chance": 0.5,
            "seconds": 3.0,
            "probed": [],
            "left_out": ["resnet34"],
        }
    )
    assert "Training error, not accuracy" in page
    assert "resnet34" in page


def test_size_and_arithmetic_are_those_published() -> None:
    # ResNet-50: 25.6 M parameters, 2.05 M of them in its classifier, and 4.1 G at 224 pixels.
    params, macs, side = count("resnet50")
    assert json.loads(COUNTS.read_text(encoding="utf-8"))["resnet50"] == [params, macs, side]
    assert params == pytest.approx(25.557e6 - 2.049e6, rel=1e-3)
    assert macs == pytest.approx(4.09e9, rel=0.01)
    assert side == 224


def test_backbones_are_listed_with_licence_and_statistics() -> None:
    done = CliRunner().invoke(build(), ["backbones", "--family", "bit", "--json"])
    assert done.exit_code == 0, done.output
    found = {entry["name"]: entry for entry in json.loads(done.stdout)}
    first = found["resnetv2_50x1_bit"]["weights"][0]
    assert (first["licence"], first["mean"]) == ("apache-2.0", [0.5, 0.5, 0.5])
    assert set(FAMILIES.values()) <= set(families())
    wrong = CliRunner().invoke(build(), ["backbones", "--family", "vit"])
    assert wrong.exit_code == 2
    assert "ResNeXt" in wrong.output


@pytest.mark.parametrize(("name", "family"), FAMILIES.items())
def test_a_network_is_of_its_family(name: str, family: str) -> None:
    assert family_of(name) == family


def test_greedy_selection_keeps_what_adds_and_drops_noise() -> None:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 400)
    truth = np.where(y == 1, 1.0, -1.0)

    def model(spread: float, signal: float = 1.0) -> np.ndarray:
        score = signal * truth + spread * rng.normal(size=400)
        return np.stack([-score, score], axis=1)

    # Two with independent errors, and one that knows nothing.
    found = choose([model(1.5), model(1.4), model(2.0, 0.0)], y, link="softmax")
    assert found.order[0] in {0, 1}
    assert set(found.order[: found.kept]) == {0, 1}
    assert found.path[1] < found.path[0]


def test_a_rare_class_is_seen_as_often_as_a_common_one() -> None:
    y = np.array([0] * 97 + [2] * 3)
    drawn = np.concatenate(list(depth_study._batches(y, 6, seed=0)))
    assert len(drawn) == 6 * depth_study.BATCH
    assert np.bincount(y[drawn]).tolist() == [96, 0, 96]
    # Each image of a class comes before one of it comes again.
    assert len(set(drawn[y[drawn] == 0].tolist())) == 96
    assert np.bincount(drawn)[97:].tolist() == [32, 32, 32]
