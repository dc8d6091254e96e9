"""The prepared store: each image is read once, and again only where something changed."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from core.app import App, find_app
from core.data import prepared
from core.data.prepared import Form, Preparation, Prepared, prepare_table, store_size
from core.errors import ImageError, OutputError, RunError

SIZE = (32, 32)
FORM = Form(3, "uint8")


class Counting:
    """An app whose reads are counted."""

    def __init__(self) -> None:
        self.names: list[str] = []
        plain = find_app("crop_disease")

        # A function of this moment cannot be sent to a reader process, so it is called here.
        def read(row: Mapping[str, Any]) -> Any:
            self.names.append(Path(row["path"]).name)
            return plain.read(row)

        self.app: App = replace(plain, read=read)

    def prepare(self, table: pd.DataFrame, home: Path, size: tuple[int, int] = SIZE) -> Prepared:
        self.names.clear()
        preparation = Preparation.of(self.app, size, FORM)
        return prepare_table(table, app=self.app, preparation=preparation, home=home)


def draw(path: Path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 255, (50, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(6):
        draw(folder / f"{number}.png", number)
    (folder / "bad.png").write_bytes(b"no image")
    paths = sorted(folder.iterdir())
    rows = [{"image_id": p.name, "path": str(p), "status": "ok", "reason": ""} for p in paths]
    rows.append({"image_id": "s", "path": "x", "status": "skipped", "reason": "a folder"})
    return pd.DataFrame(rows)


def test_every_row_that_is_ok_has_its_pixels_or_its_reason(
    table: pd.DataFrame, tmp_path: Path
) -> None:
    store = Counting().prepare(table, tmp_path / "home")
    assert len(store) == 7
    failed = store.table["status"] == "failed"
    assert list(store.table.loc[failed, "image_id"]) == ["bad.png"]
    assert "it is a text file" in store.table.loc[failed, "reason"].iloc[0]
    with pytest.raises(IndexError, match="has no pixels"):
        store[int(np.flatnonzero(failed)[0])]
    first = store[int(np.flatnonzero(~failed)[0])]
    assert first.shape == (*store_size(SIZE), 3)
    assert store.shape == first.shape


def test_second_time_nothing_is_read_but_what_failed(table: pd.DataFrame, tmp_path: Path) -> None:
    counting = Counting()
    before = counting.prepare(table, tmp_path / "home")
    assert len(counting.names) == 7
    again = counting.prepare(table.iloc[::-1].reset_index(drop=True), tmp_path / "home")
    # A missing codec may be there now, so a failed image is tried again.
    assert counting.names == ["bad.png"]
    place = {name: row for row, name in enumerate(again.table["image_id"])}
    np.testing.assert_array_equal(before[1], again[place[before.table["image_id"][1]]])


def test_changed_file_alone_is_read_again(table: pd.DataFrame, tmp_path: Path) -> None:
    counting = Counting()
    counting.prepare(table, tmp_path / "home")
    draw(Path(table["path"][2]), 99)
    counting.prepare(table, tmp_path / "home")
    assert sorted(counting.names) == sorted(["bad.png", Path(table["path"][2]).name])


def test_another_preparation_reads_all_again_and_keeps_the_first(
    table: pd.DataFrame, tmp_path: Path
) -> None:
    counting = Counting()
    counting.prepare(table, tmp_path / "home")
    counting.prepare(table, tmp_path / "home", size=(64, 64))
    assert len(counting.names) == 7
    counting.prepare(table, tmp_path / "home")
    assert counting.names == ["bad.png"]


def test_killed_preparation_goes_on_with_what_is_missing(
    table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared, "SEGMENT", 3)
    counting = Counting()
    write = prepared.write_json
    written = []

    def dies(path: Path, content: Any) -> None:
        if written:
            raise KeyboardInterrupt  # after the pixels of the second segment, before its index
        written.append(path)
        write(path, content)

    monkeypatch.setattr(prepared, "write_json", dies)
    with pytest.raises(KeyboardInterrupt):
        counting.prepare(table, tmp_path / "home")
    monkeypatch.setattr(prepared, "write_json", write)
    store = counting.prepare(table, tmp_path / "home")
    assert len(counting.names) == 4
    assert (store.table["status"] == "ok").sum() == 6


def test_what_does_not_fit_on_the_disk_is_refused_before_it_is_written(
    table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.statvfs(tmp_path)

    class Full:
        f_bavail = f_bfree = 10
        f_blocks = real.f_blocks
        f_frsize = real.f_frsize

    monkeypatch.setattr(os, "statvfs", lambda _: Full)
    counting = Counting()
    with pytest.raises(OutputError, match="GB are needed"):
        counting.prepare(table, tmp_path / "home")
    assert counting.names == []


def test_home_that_cannot_be_made_is_named(table: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(OutputError, match="Set RESIGHT_HOME"):
        Counting().prepare(table, tmp_path / "home")


def test_index_that_a_failing_disk_does_not_give_back_is_named(
    table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared, "write_json", lambda path, _: path.write_text("{"))
    with pytest.raises(OutputError, match="7 of 7 prepared images cannot be read back"):
        Counting().prepare(table, tmp_path / "home")
    monkeypatch.undo()
    assert len(Counting().prepare(table, tmp_path / "home").table) == 7


def test_preparation_that_changed_is_refused() -> None:
    app = find_app("crop_disease")
    made = Preparation.of(app, SIZE, FORM)

    def brighter(size_px: tuple[int, int]) -> Any:
        inner = app.prepare(size_px)
        return lambda row: {
            **(done := inner(row)),
            "image": np.clip(done["image"].astype(int) + 20, 0, 255).astype(np.uint8),
        }

    made.require_same(app)
    with pytest.raises(RunError, match="has changed since this run was trained"):
        made.require_same(replace(app, prepare=brighter))


@pytest.mark.parametrize(
    ("have", "form", "expected"),
    [
        (np.full((2, 2, 1), 7, np.uint8), Form(3, "uint8"), 7),
        (np.full((2, 2, 3), 65535, np.uint16), Form(3, "uint8"), 255),
        (np.full((2, 2, 3), 255, np.uint8), Form(3, "uint16"), 65535),
        (np.full((2, 2, 1), 65535, np.uint16), Form(1, "float32"), 1.0),
    ],
)
def test_black_and_white_stay_so_at_any_depth(have: Any, form: Form, expected: float) -> None:
    conformed = form.conform(have)
    assert conformed.dtype.name == form.dtype
    assert conformed.shape[2] == form.channels
    assert (conformed == expected).all()


def test_pixels_have_one_hash_whatever_their_file(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", 1)
    with Image.open(tmp_path / "a.png") as picture:
        picture.save(tmp_path / "same.bmp")
    draw(tmp_path / "other.png", 2)
    Image.new("RGB", (60, 50)).save(tmp_path / "black.png")
    app = find_app("images")
    preparation = Preparation.of(app, SIZE, FORM)
    found = {
        path.stem: prepared.prepare_one(
            app,
            app.prepare(store_size(SIZE)),
            {"image_id": path.name, "path": str(path)},
            preparation,
            with_hash=True,
        )["content"]
        for path in tmp_path.iterdir()
    }
    assert found["a"] == found["same"] != ""
    assert found["other"] not in {"", found["a"]}
    # Two black pictures are no two copies of one.
    assert found["black"] == ""


def test_grey_saved_as_colour_serves_a_run_on_grey_pictures() -> None:
    grey = np.random.default_rng(0).integers(0, 255, (6, 5, 1), dtype=np.uint8)
    form = Form(1, "uint8")
    assert np.array_equal(form.conform(np.repeat(grey, 3, axis=2)), grey)
    red = np.repeat(grey, 3, axis=2)
    red[2, 2] = (200, 10, 10)
    with pytest.raises(ImageError, match="is in colour"):
        form.conform(red)
