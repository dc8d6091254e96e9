"""What a random split would promise more than new ground keeps."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from apps.crop_disease import APP
from apps.crop_disease.field.report import random_against_spatial, split_gap
from apps.crop_disease.field.tile_picture import map_of_tiles
from core.app import ReportContext, Task
from core.blocks import Figure, Fold, Table, Text
from core.report.first_screen import first_screen
from core.report.results import Results

CLASSES = ("healthy", "rust")


def blocks(leak: float, seed: int = 0) -> tuple[Any, Any, Any]:
    """Tiles in 40 blocks; each block has a look of its own, as strong as ``leak``."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(40), 15)
    label = np.where(group % 2, "rust", "healthy")
    sign = (label == "rust")[:, None] * np.array([[1.2, 0.0]])
    look = rng.normal(size=(40, 24))[group] * leak
    noise = rng.normal(size=(600, 26))
    return np.concatenate([sign, look], axis=1) + noise, label, group.astype(str)


def test_blocks_with_a_look_of_their_own_flatter_a_random_split() -> None:
    random, spatial, low, high = split_gap(*blocks(leak=2.0))
    assert random > spatial + 0.1
    assert 0 < low < random - spatial < high


def test_without_such_a_look_there_is_no_gap() -> None:
    random, spatial, low, high = split_gap(*blocks(leak=0.0))
    assert random == pytest.approx(spatial, abs=0.05)
    assert low < 0.02
    assert high < 0.1


def test_too_few_groups_are_refused() -> None:
    features, label, group = blocks(leak=0.0)
    few = np.isin(group, ["0", "1", "2", "3"])
    with pytest.raises(ValueError, match="a class stands in 2 group"):
        split_gap(features[few], label[few], group[few])


def context(manifest: pd.DataFrame) -> ReportContext:
    """A report on tiles whose colour is their class."""
    colour = {"healthy": (30, 120, 30), "rust": (150, 80, 30)}
    label = manifest.set_index("image_id")["label"]

    def picture(image_id: str) -> Any:
        rng = np.random.default_rng(int(image_id))
        noise = rng.integers(-20, 20, (12, 12, 3))
        return np.clip(np.array(colour[label[image_id]]) + noise, 0, 255).astype(np.uint8)

    return ReportContext(
        app=None,
        task=Task(name="disease", kind="multiclass", classes=CLASSES),
        evaluation={},
        predictions=pd.DataFrame(),
        decisions={},
        manifest=manifest,
        picture=picture,
    )


def test_the_section_shows_both_splits_and_names_the_gap() -> None:
    manifest = pd.DataFrame(
        {"image_id": [str(i) for i in range(120)], "row_off": 0, "status": "ok"}
    )
    manifest["group"] = [str(i // 6) for i in range(120)]
    manifest["label"] = ["rust" if i // 6 % 2 else "healthy" for i in range(120)]
    fold, words = random_against_spatial(context(manifest))
    # Both numbers stand open only where they differ.
    assert isinstance(fold, Fold)
    (table,) = fold.blocks
    assert isinstance(table, Table)
    assert list(table.frame["judged on"]) == ["tiles scattered at random", "blocks not seen"]
    assert list(table.frame["macro-F1"]) == ["1.000", "1.000"]
    assert isinstance(words, Text)
    assert "has a macro-F1 of 1.000 with it and 1.000 with this one" in words.text
    assert words.tone == "plain"
    few = random_against_spatial(context(manifest.assign(group="1")))
    assert isinstance(few[0], Text)
    assert "cannot be told" in few[0].text


def test_photos_have_no_such_section() -> None:
    photos = pd.DataFrame({"image_id": ["1"], "status": ["ok"], "label": ["rust"], "group": ["1"]})
    assert random_against_spatial(context(photos)) == []


def tiles() -> pd.DataFrame:
    """A field of 3 x 4 judged tiles, two of them wrong, and a smaller one."""
    frame = pd.DataFrame({"image_id": [str(i) for i in range(14)]})
    frame["field"] = ["large"] * 12 + ["small"] * 2
    frame["x"], frame["y"] = [2.0 * (i % 4) for i in range(14)], [2.0 * (i // 4) for i in range(14)]
    frame["tile_m"], frame["status"] = 2.0, "ok"
    frame["label"] = ["rust" if i % 4 == 3 else "healthy" for i in range(14)]
    frame["predicted"] = frame["decision"] = frame["label"]
    frame.loc[[0, 3], ["predicted", "decision"]] = [["rust"] * 2, ["healthy"] * 2]
    return frame


def test_a_report_on_a_field_opens_with_its_map() -> None:
    asked = replace(context(pd.DataFrame({"image_id": [], "label": []})), predictions=tiles())
    drawn = map_of_tiles(asked)
    assert drawn is not None
    assert drawn.note.startswith("10 of 12 tiles right")
    assert "Field large, the largest of 2." in drawn.note
    texts = re.findall(r"<text[^>]*>([^<]+)</text>", drawn.svg)
    assert {"predicted healthy (9)", "predicted rust (3)", "wrong (2)"} <= set(texts)
    assert drawn.data is not None
    assert list(drawn.data["predicted"].compare(drawn.data["label"]).index) == [0, 3]
    evaluation = {"about": {"unit": "image"}, "metrics": [], "curves": {}}
    asked = replace(asked, app=APP, evaluation=evaluation)
    shown = first_screen(asked, Results(evaluation, asked.task, "field"))
    assert [block.title for block in shown if isinstance(block, Figure)] == [drawn.title]


def test_photos_keep_the_confusion_matrix_in_front() -> None:
    photos = tiles().drop(columns=["x", "y", "tile_m"])
    asked = replace(context(pd.DataFrame({"image_id": [], "label": []})), predictions=photos)
    assert map_of_tiles(asked) is None
