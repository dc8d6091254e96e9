"""Which photos belong together, and in what words the user is told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from apps.crop_disease import APP
from apps.crop_disease.images import read
from apps.crop_disease.index import SAME_LEAF
from apps.crop_disease.phantom import write_phantom
from core.app import Manifest, Source

if TYPE_CHECKING:
    from pathlib import Path


def write_photos(folder: Path, names: list[str]) -> Path:
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (i % 256, i // 256, 90)).save(folder / name)
    return folder


def index(path: Path, *, task: str = "disease", labelled: bool = True, **more: str) -> Manifest:
    return APP.index(Source(paths=(path,), labelled=labelled, task=APP.task(task), **more))


def test_the_phantom_is_grouped_by_the_leaf_of_its_table(tmp_path: Path) -> None:
    manifest = index(write_phantom(tmp_path / "p", 24, 0))
    truth = pd.read_csv(tmp_path / "p" / "labels.csv").set_index("path")
    table = manifest.table.set_index("path")
    assert len(table) == 24
    assert (table["group"] == truth["leaf"].reindex(table.index)).all()
    assert (table["leaf"] == table["group"]).all()
    assert (table["label"] == truth["label"].reindex(table.index)).all()
    assert manifest.group_rule.startswith("The group is the leaf, in the column leaf")


@pytest.mark.parametrize(("task", "column"), [("severity", "severity"), ("symptoms", "symptoms")])
def test_each_task_reads_its_own_column(tmp_path: Path, task: str, column: str) -> None:
    manifest = index(write_phantom(tmp_path / "p", 24, 0), task=task)
    truth = pd.read_csv(tmp_path / "p" / "labels.csv", dtype=str).set_index("path")[column]
    table = manifest.table.set_index("path")
    assert (table["label"] == truth.reindex(table.index)).all()
    assert APP.task(task).with_classes(list(table["label"])).classes


def test_without_the_table_file_names_still_group_the_phantom(tmp_path: Path) -> None:
    folder = write_phantom(tmp_path / "p", 24, 0)
    (folder / "labels.csv").unlink()
    manifest = index(folder)
    expected = manifest.table["path"].str.extract(r"(leaf\d+)_")[0]
    assert (manifest.table["group"] == expected).all()
    assert (manifest.table["leaf"] == expected).all()
    assert "share a leaf number" in manifest.group_rule


def test_lone_numbers_are_no_group_and_none_is_claimed(tmp_path: Path) -> None:
    names = [f"rust/{n}.jpg" for n in range(1016, 1022)] + [
        f"healthy/leaf_{n}.jpg" for n in range(5)
    ]
    manifest = index(write_photos(tmp_path, names))
    assert manifest.group_rule == ""
    assert (manifest.table["group"] == "").all()
    assert "leaf" not in manifest.table


@pytest.mark.parametrize(
    ("name", "leaf"),
    [
        ("leaf12_a.jpg", "leaf12"),
        ("leaf12b.png", "leaf12"),
        ("plot3-leaf-12-2.jpg", "leaf-12"),
        ("Leaf 12 (2).jpeg", "Leaf 12"),
        ("leaf_0012_photo3.jpg", "leaf_0012"),
        ("1016.jpg", None),
        ("leaf_0012.jpg", None),
        ("IMG_20190703_101112.jpg", None),
        ("cloverleaf12_a.jpg", None),
        ("leaf2019_0001.jpg", None),
        ("leafspot_12.jpg", None),
    ],
)
def test_the_file_name_rule_wants_a_leaf_and_a_photo(name: str, leaf: str | None) -> None:
    match = re.search(SAME_LEAF, name)
    assert (match[1] if match else None) == leaf


def test_a_plant_is_a_group_but_no_leaf(tmp_path: Path) -> None:
    names = ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    write_photos(tmp_path, names)
    table = pd.DataFrame(
        {"path": names, "label": ["rust", "rust", "ok", "ok"], "plant": ["1", "1", "2", "3"]}
    )
    table.to_csv(tmp_path / "t.csv", index=False)
    manifest = index(tmp_path / "t.csv")
    assert manifest.group_rule.startswith("The group is the plant")
    assert list(manifest.table["group"]) == ["1", "1", "2", "3"]
    assert "leaf" not in manifest.table


def test_a_field_beside_the_leaf_is_pointed_out(tmp_path: Path) -> None:
    names = ["a.jpg", "b.jpg"]
    write_photos(tmp_path, names)
    table = pd.DataFrame({"path": names, "label": ["x", "y"], "leaf": "12", "field": "north"})
    table["leaf"] = ["1", "2"]
    table.to_csv(tmp_path / "t.csv", index=False)
    assert any("--group field" in note for note in index(tmp_path / "t.csv").notes)
    assert not any("--group" in n for n in index(tmp_path / "t.csv", group="field").notes)


def test_a_photo_without_a_leaf_is_a_leaf_of_its_own_in_prediction(tmp_path: Path) -> None:
    names = ["a.jpg", "b.jpg", "c.jpg"]
    write_photos(tmp_path, names)
    pd.DataFrame({"path": names, "leaf": ["1", "1", ""]}).to_csv(tmp_path / "t.csv", index=False)
    table = index(tmp_path / "t.csv", labelled=False).table
    assert list(table["leaf"])[:2] == ["1", "1"]
    assert table["leaf"].iloc[2] == table["image_id"].iloc[2]


def test_read_gives_the_pixels_of_the_file(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (9, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.array_equal(read({"path": str(tmp_path / "a.png")}), pixels)
