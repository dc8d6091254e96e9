"""The prepared store: each image is read once, and again only where something changed."""

import json
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
from core.data.prepared import (
    Form,
    Preparation,
    Prepared,
    full_scale,
    prepare_one,
    prepare_table,
    resize_to,
    store_size,
    synthetic_pictures,
)
from core.errors import ImageError, OutputError, RunError

SIZE = (32, 32)
FORM = Form(3, "uint8")


class Counting:
    """An app whose reads are counted."""

    def __init__(self, name: str = "crop_disease") -> None:
        self.names: list[str] = []
        plain = find_app(name)

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


# --- one form for all pictures -----------------------------------------------------------------


def test_every_value_is_rescaled_to_the_nearest_of_the_other_depth() -> None:
    deep = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    shallow = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    found = Form(1, "uint8").conform(deep)
    np.testing.assert_array_equal(found, np.rint(deep / 257.0).astype(np.uint8))
    np.testing.assert_array_equal(Form(1, "uint16").conform(shallow), shallow * 257.0)
    for pixels, full in ((deep, 65535), (shallow, 255)):
        found = Form(1, "float32").conform(pixels)
        np.testing.assert_allclose(found, pixels / full, atol=1e-7)
        assert found.dtype == np.float32
    assert Form(1, "uint8").conform(shallow) is shallow
    assert Form(3, "uint8").conform(shallow).shape == (16, 16, 3)
    assert (full_scale("uint8"), full_scale("uint16"), full_scale("float32")) == (255, 65535, 1)


@pytest.mark.parametrize(
    ("have", "form", "word"),
    [
        (np.zeros((2, 2), np.uint8), Form(1, "uint8"), "has 2 axes where rows, columns and"),
        (np.zeros((2, 2, 4), np.uint8), FORM, "has 4 channels where 3 were expected"),
        (np.zeros((2, 2, 1), np.uint8), Form(4, "uint8"), "has 1 channels where 4 were expected"),
        (np.zeros((2, 2, 2), np.uint8), Form(1, "uint8"), "has 2 channels where 1 were expected"),
        (np.zeros((2, 2, 3), np.float32), FORM, "holds float32 values where uint8 were expected"),
        (np.zeros((2, 2, 3), np.int16), Form(3, "float32"), "holds int16 values where float32"),
    ],
)
def test_pictures_of_another_form_are_refused_in_words(have: Any, form: Form, word: str) -> None:
    with pytest.raises(ImageError, match=word):
        form.conform(have)


@pytest.mark.parametrize(("dtype", "full"), [("uint8", 255), ("uint16", 65535), ("float32", 1.0)])
def test_grey_is_what_a_jpeg_may_have_made_of_it(dtype: str, full: float) -> None:
    # Channels may differ by three grey levels of 255.
    grey = np.full((4, 4, 3), 0.5 * full).astype(dtype)
    grey[1, 1, 0] = grey[1, 1, 1] + np.asarray(3 / 255 * full * 0.999).astype(dtype)
    grey[2, 2] = np.asarray([0.1, 0.11, 0.105] * np.asarray(full)).astype(dtype)
    found = Form(1, dtype).conform(grey)
    np.testing.assert_array_equal(found[..., 0], grey[..., 1])
    grey[1, 1, 2] = grey[1, 1, 0] - np.asarray(4.1 / 255 * full).astype(dtype)
    with pytest.raises(ImageError, match="is in colour"):
        Form(1, dtype).conform(grey)


# --- what a run keeps of its preparation -------------------------------------------------------


def test_a_preparation_is_the_same_after_a_file_and_another_by_all_that_changes_it() -> None:
    app = find_app("crop_disease")
    made = Preparation.of(app, SIZE, FORM)
    content = json.loads(json.dumps(made.as_dict()))
    assert content["size_px"] == [32, 32]
    assert (content["channels"], content["dtype"]) == (3, "uint8")
    assert Preparation.from_dict(content) == made == Preparation.of(app, SIZE, FORM)
    # Runs of the first versions know no options.
    content.pop("options")
    assert Preparation.from_dict(content) == replace(made, options={})
    # Three pictures, 6 by 6 blocks each.
    assert len(made.probe) == 108
    assert 0 <= min(made.probe) < max(made.probe) <= 255
    others = [
        Preparation.of(app, (32, 48), FORM),
        Preparation.of(app, SIZE, Form(1, "uint8")),
        Preparation.of(app, SIZE, Form(3, "uint16")),
        Preparation.of(find_app("images"), SIZE, FORM),
    ]
    assert len({made.hash, *(other.hash for other in others)}) == 5
    # The probe tells recipes apart and not depths.
    np.testing.assert_allclose(others[2].probe, made.probe, atol=0.6)


def test_options_that_change_pixels_are_part_of_a_preparation() -> None:
    app = find_app("mammography")
    (name, default), *_ = Preparation.of(app, SIZE, Form(1, "uint16")).options.items()
    option = next(option for option in app.options if option.name == name)
    other = next(one for one in (*(option.choices or ()), True, 3, "x") if one != default)
    made = Preparation.of(app, SIZE, Form(1, "uint16"))
    changed = replace(made, options={**made.options, name: other})
    made.require_same(app)
    made.require_same(app, {name: default})
    with pytest.raises(RunError, match=rf"--{name} .*was trained with .*Leave --{name} out"):
        changed.require_same(app)
    # A run that did not know the option yet had its default.
    replace(made, options={}).require_same(app)


def test_a_change_of_one_grey_level_is_no_other_recipe() -> None:
    app = find_app("crop_disease")
    made = Preparation.of(app, SIZE, FORM)
    near, far = (replace(made, probe=(made.probe[0] + by, *made.probe[1:])) for by in (0.99, -1.01))
    near.require_same(app)
    with pytest.raises(RunError, match="by up to 1 of 255 grey levels"):
        far.require_same(app)


def test_the_pictures_of_the_probe_use_the_whole_range() -> None:
    for form in (FORM, Form(1, "uint16"), Form(5, "float32")):
        full = full_scale(form.dtype)
        ramp, disc, texture = synthetic_pictures(form)
        for picture in (ramp, disc, texture):
            assert picture.shape == (240, 320, form.channels)
            assert picture.dtype.name == form.dtype
        assert ramp[0, 0, 0] == 0
        assert ramp[-1, -1, 0] == full
        # Channels are darker one by one, to six tenths.
        if form.channels > 1:
            assert ramp[-1, -1, -1] == pytest.approx(0.6 * full, rel=1e-6)
        # A disc of 95 pixels around row 120, column 150, on black.
        assert disc[120, 56, 0] > 0.3 * full
        assert disc[26, 150, 0] > 0.3 * full
        assert disc[120, 54, 0] == disc[24, 150, 0] == disc[0, 0, 0] == 0
        assert 0.09 * full < texture.min(axis=(0, 1))[0] < 0.12 * full
        assert 0.88 * full < texture.max() < 0.91 * full


def test_what_is_stored_is_15_percent_larger_than_what_is_trained() -> None:
    assert store_size((224, 320)) == (258, 368)
    assert store_size((100, 64)) == (115, 74)


def test_a_stored_picture_grows_smoothly_and_shrinks_by_averages() -> None:
    pixels = np.random.default_rng(0).random((8, 8, 1)).astype(np.float32)
    assert resize_to(pixels, (8, 8)) is pixels
    found = resize_to(pixels, (4, 4))
    np.testing.assert_allclose(found, pixels.reshape(4, 2, 4, 2, 1).mean(axis=(1, 3)), atol=1e-6)
    ramp = np.linspace(0, 1, 8, dtype=np.float32)[None, :, None].repeat(8, axis=0)
    large = resize_to(ramp, (16, 16))[0, :, 0]
    # Linear between the centres of pixels: half a step each.
    np.testing.assert_allclose(np.diff(large)[1:-1], 1 / 14, atol=1e-6)


# --- one image ---------------------------------------------------------------------------------


def prepare_with(done: Mapping[str, Any], path: Path, form: Form = FORM) -> dict[str, Any]:
    """What is kept of an image for which an app's preparation gives this."""
    app = replace(find_app("images"), prepare=lambda _: lambda row: {**row, **done})
    preparation = Preparation("images", SIZE, form, (), "")
    return prepare_one(app, app.prepare(SIZE), {"image_id": "a", "path": str(path)}, preparation)


def test_what_an_app_prepares_must_be_what_is_stored(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", 0)
    right = np.zeros((*store_size(SIZE), 3), np.uint8)
    done = prepare_with({"image": right[:, ::-1], "mark": 3}, tmp_path / "a.png")
    assert done["read_px"] == (50, 60)
    assert done["mark"] == 3
    # Nobody asked for these.
    assert (done["content"], done["grey"]) == ("", None)
    for wrong in (right[1:], right[..., :1], right.astype(np.uint16)):
        told = prepare_with({"image": wrong}, tmp_path / "a.png")["error"]
        assert "was prepared as" in told
        assert "instead of (37, 37, 3)" in told
    solid = np.zeros((*store_size(SIZE), 3), np.float32)
    form = Form(3, "float32")
    assert prepare_with({"image": solid}, tmp_path / "a.png", form)["image"].dtype == np.float32
    for value in (np.nan, np.inf):
        solid[3, 3, 1] = value
        told = prepare_with({"image": solid}, tmp_path / "a.png", form)["error"]
        assert "not numbers" in told


def test_a_small_grey_picture_is_made_where_it_is_asked_for_and_shows_something(
    tmp_path: Path,
) -> None:
    draw(tmp_path / "a.png", 0)
    Image.new("RGB", (60, 50)).save(tmp_path / "black.png")
    app = find_app("images")
    preparation = Preparation.of(app, SIZE, FORM)
    transform = app.prepare(store_size(SIZE))

    def grey(name: str, **asked: bool) -> Any:
        row = {"image_id": name, "path": str(tmp_path / name)}
        return prepare_one(app, transform, row, preparation, **asked)["grey"]

    found = grey("a.png", with_hash=True, with_grey=True)
    assert found.ndim == 2
    assert found.dtype == np.uint8
    assert (found.min(), found.max()) == (0, 255)
    assert grey("black.png", with_hash=True, with_grey=True) is None
    assert grey("a.png", with_hash=True) is None


# --- the store ---------------------------------------------------------------------------------


def test_what_an_app_says_of_its_pictures_is_kept_with_them(
    table: pd.DataFrame, tmp_path: Path
) -> None:
    counting = Counting()
    inner = counting.app.prepare

    def prepare(size_px: tuple[int, int]) -> Any:
        made = inner(size_px)

        def one(row: Mapping[str, Any]) -> dict[str, Any]:
            affine = np.diag([2.0, 3.0, 1.0])
            mean = np.float32(row["image"].mean())
            return {**made(row), "affine": affine, "quality": "blurred", "mean": mean}

        return one

    counting.app = replace(counting.app, prepare=prepare, prepared_columns=("mean", "absent"))
    first = counting.prepare(table, tmp_path / "home")
    again = counting.prepare(table, tmp_path / "home")
    assert counting.names == ["bad.png"]
    pd.testing.assert_frame_equal(first.table, again.table)
    columns = ["image_id", "status", "reason", "quality", "affine", "mean", "absent"]
    assert list(again.table) == columns
    for row in again.table.to_dict("records"):
        if row["image_id"] == "bad.png":
            assert (row["status"], row["quality"]) == ("failed", "")
            assert pd.isna(row["mean"])
            assert len(row["affine"]) == 9
            assert np.isnan(row["affine"]).all()
            continue
        with Image.open(tmp_path / "images" / row["image_id"]) as picture:
            assert row["mean"] == pytest.approx(np.asarray(picture).mean(), rel=1e-5)
        assert (row["status"], row["reason"], row["quality"]) == ("ok", "", "blurred")
        assert row["affine"] == [2, 0, 0, 0, 3, 0, 0, 0, 1]
        assert row["absent"] is None
    # Each row has its own pixels, whichever segment they lie in.
    for i in np.flatnonzero(first.where[:, 0] >= 0):
        np.testing.assert_array_equal(first[int(i)], again[int(i)])
    assert not np.array_equal(first[1], first[2])


def test_a_picture_under_two_names_is_read_once_and_with_other_columns_again(
    table: pd.DataFrame, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    (folder / "twin.png").write_bytes((folder / "0.png").read_bytes())
    twin = {"image_id": "twin.png", "path": str(folder / "twin.png"), "status": "ok", "reason": ""}
    both = pd.concat([table, pd.DataFrame([twin])], ignore_index=True)
    counting = Counting()
    store = counting.prepare(both, tmp_path / "home")
    assert len(counting.names) == 7
    place = {name: row for row, name in enumerate(store.table["image_id"])}
    np.testing.assert_array_equal(store[place["twin.png"]], store[place["0.png"]])
    # What it is called, of whom it is and what it shows do not change its pixels.
    named = table.assign(label="rust", group="g", split="test", reason="x")
    counting.prepare(named, tmp_path / "home")
    assert counting.names == ["bad.png"]
    # A column that an app may read pixels by, such as a page, does.
    counting.prepare(table.assign(page=1), tmp_path / "home")
    assert len(counting.names) == 7
    counting.prepare(table.assign(page=2), tmp_path / "home")
    assert len(counting.names) == 7


def test_a_file_that_is_gone_is_a_failed_row(table: pd.DataFrame, tmp_path: Path) -> None:
    Path(table["path"][3]).unlink()
    counting = Counting()
    store = counting.prepare(table, tmp_path / "home")
    failed = store.table.set_index("image_id")["status"] == "failed"
    assert sorted(failed.index[failed]) == sorted(["bad.png", table["image_id"][3]])
    # It came back.
    draw(Path(table["path"][3]), 3)
    store = counting.prepare(table, tmp_path / "home")
    assert (store.table["status"] == "ok").sum() == 6


def test_what_failed_before_has_its_pixels_once_it_can_be_read(
    table: pd.DataFrame, tmp_path: Path
) -> None:
    counting = Counting()
    right = counting.app.read

    def no_codec(_: Mapping[str, Any]) -> Any:
        msg = "no codec"
        raise ImageError(msg)

    counting.app = replace(counting.app, read=no_codec)
    assert set(counting.prepare(table, tmp_path / "home").table["status"]) == {"failed"}
    counting.app = replace(counting.app, read=right)
    store = counting.prepare(table, tmp_path / "home")
    assert (store.table["status"] == "ok").sum() == 6
    # A segment whose pixels are lost is made again.
    for file in (tmp_path / "home").rglob("*.npy"):
        file.unlink()
    store = counting.prepare(table, tmp_path / "home")
    assert (store.table["status"] == "ok").sum() == 6
    assert len(counting.names) == 7


def test_nothing_to_prepare_needs_no_room(
    table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(prepared, "check_space", lambda _, size: asked.append(size))
    table = table[table["image_id"] != "bad.png"]
    counting = Counting()
    counting.prepare(table, tmp_path / "home")
    counting.prepare(table, tmp_path / "home")
    # Six pictures of 37 x 37 x 3 bytes, and room for what else is written.
    assert 6 * 37 * 37 * 3 < asked[0] < 200_000_000
    assert asked[1] == 0
