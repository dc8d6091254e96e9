"""One odd input costs one row: the command, its other inputs and its other outputs go on."""

from __future__ import annotations

import errno
import lzma
import os
import re
import shutil
import signal
import socket
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pandas as pd
import pytest
from typer import Exit
from typer.testing import CliRunner

from apps.crop_disease.field.phantom import Form as RasterForm
from apps.crop_disease.field.phantom import plan_field, write_mosaic
from apps.crop_disease.field.vector_file import open_vectors
from core.app import Export, ExportContext, Source, Task, find_app
from core.base.attempt import attempt
from core.base.options import options_of, resolve_options
from core.base.outputs import seal, write_json, write_text
from core.base.regular_files import open_regular
from core.base.settings import Question, TrainConfig, read_plan
from core.cards.card import read_card
from core.cli.main import build
from core.cli.predict import tell
from core.data.facts import measure_all
from core.data.identity import Pseudonyms
from core.data.input_files import absolute_rows, stamps_of, with_paths
from core.data.label_map import in_words, label_map
from core.data.manifest import index_images
from core.data.prepared import Form, Preparation, prepare_one, prepare_table
from core.data.split import draw_split
from core.data.tables_in import read_cells
from core.errors import ConfigError, ImageError, ManifestError, OutputError, ResightError, RunError
from core.model.tracking import loggers
from core.runs.results import decorations
from core.runs.table_files import read_table, write_table
from core.training.fingerprint import (
    LOOKED,
    RESUMING,
    _kept,
    look,
    named_by_app,
    without_unreadable,
)
from core.training.finish import remove_resume_points
from core.verbs.check import check
from core.verbs.compare import compare
from core.verbs.ensemble import ensemble
from core.verbs.evaluate import evaluate
from core.verbs.export import ExportSettings, export
from core.verbs.kit import Kit, make_kit, require_whole_kit
from core.verbs.predict import _export, predict
from core.verbs.similar import similar
from core.verbs.study_depth import study_depth
from core.verbs.train import train

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

with_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such files")
any_names = pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode there")
APPS = ("crop_disease", "mammography", "retinopathy")


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Fail what waits for ever."""

    def late(*_: object) -> None:
        pytest.fail(f"still waiting after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def photo(path: Path, seed: int = 0) -> Path:
    """A small photograph with structure."""
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    cv2.imwrite(str(path), cv2.resize(coarse, (64, 64), interpolation=cv2.INTER_CUBIC))
    return path


def no_files(folder: Path, names: tuple[str, ...]) -> list[Path]:
    """Pipes, a socket and a link to an endless device under names of images."""
    folder.mkdir(exist_ok=True)
    for name in names:
        os.mkfifo(folder / name)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "socket.jpg"))
    (folder / "zero.png").symlink_to("/dev/zero")
    return sorted(folder.iterdir())


@with_pipes
def test_a_pipe_a_socket_or_a_device_is_refused_at_once(tmp_path: Path) -> None:
    for path in [*no_files(tmp_path / "odd", ("a.jpg", "b.dcm")), tmp_path]:
        with within(5), pytest.raises(OSError):  # noqa: PT011  (each system has its own words)
            open_regular(path).close()
    with open_regular(photo(tmp_path / "good.png")) as stream:
        assert stream.read(4) == b"\x89PNG"


@with_pipes
def test_a_pipe_named_as_a_table_a_plan_or_a_key_is_refused_at_once(tmp_path: Path) -> None:
    readers: dict[str, Callable[[Path], Any]] = {
        **dict.fromkeys(("t.csv", "t.xlsx", "t.parquet", "t.json"), read_cells),
        "card.md": read_card,
        "plan.yaml": read_plan,
        "shapes.gpkg": lambda path: open_vectors(path, "--within", ""),
        "key": lambda path: Pseudonyms.load(key_file=path),
        "kit.json": lambda path: require_whole_kit(path.parent),
    }
    for name, read in readers.items():
        os.mkfifo(tmp_path / name)
        with within(5), pytest.raises(ResightError, match=re.escape(name)):
            read(tmp_path / name)


READING: dict[str, Callable[[Path, Path], Any]] = {
    "check": lambda data, out: check("crop_disease", data, out),
    "compare": lambda data, out: compare(Path("run"), data, out),
    "compare, data": lambda data, out: compare(Path("run"), Path("other"), out, data=data),
    "ensemble": lambda data, out: ensemble([Path("run"), data], out),
    "evaluate": lambda data, out: evaluate(data, None, out),
    "evaluate, data": lambda data, out: evaluate(Path("run"), data, out),
    "export": export,
    "export, data": lambda data, out: export(Path("run"), out, ExportSettings(data=data)),
    "kit": lambda data, out: make_kit(Kit("predict", "linux-x86_64", "3.12", data), out),
    "predict": lambda data, out: predict(Path("run"), [data], out),
    "predict, run": lambda data, out: predict(data, [Path("images")], out),
    "similar": lambda data, out: similar(Path("run"), [data], out),
    "study depth": lambda data, out: study_depth("crop_disease", data, out),
    "train": lambda data, out: train("crop_disease", data, out),
}


@pytest.mark.parametrize("command", READING.values(), ids=READING)
def test_no_command_writes_into_what_it_reads(
    command: Callable[[Path, Path], Any], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (tmp_path / "link").symlink_to(data)
    for out in (data, data / "out", tmp_path / "link" / "a" / "out"):
        with pytest.raises(OutputError, match="Inputs are never changed"):
            command(data, out)
    assert not list(data.iterdir())


@with_pipes
@pytest.mark.parametrize("name", APPS)
def test_no_command_waits_for_a_pipe_that_is_called_an_image(name: str, tmp_path: Path) -> None:
    app = find_app(name)
    odd = no_files(tmp_path / "odd", ("a.tif", "b.dcm", "c.jpg", "d"))
    photo(tmp_path / "odd" / "good.jpg")
    with within(60):
        folder = Source(paths=(tmp_path / "odd",), labelled=False, task=app.tasks[0])
        table = app.index(folder).table
        assert len(table) >= len(odd)
        assert set(table.loc[table["status"] == "ok", "path"]) <= {"good.jpg"}
        # Named one by one they are inputs, and each gets its reason.
        single = Source(paths=tuple(odd), labelled=False, task=app.tasks[0])
        found = app.index(single)
        form = Form(3, "uint8")
        preparation = Preparation.of(app, (64, 64), form)
        transform = app.prepare((74, 74))
        for row in found.table.to_dict("records"):
            row["path"] = str(found.root / row["path"])
            if row["status"] == "ok":
                assert prepare_one(app, transform, row, preparation)["error"]


@with_pipes
def test_a_store_of_pixels_does_not_wait_for_a_pipe(tmp_path: Path) -> None:
    app = find_app("crop_disease")
    paths = [*no_files(tmp_path / "odd", ("a.jpg",)), photo(tmp_path / "good.jpg")]
    table = pd.DataFrame({"path": [str(p) for p in paths], "status": "ok", "reason": ""})
    table["image_id"] = [p.name for p in paths]
    preparation = Preparation.of(app, (64, 64), Form(3, "uint8"))
    with within(60):
        store = prepare_table(table, app=app, preparation=preparation, home=tmp_path / "home")
    assert list(store.table["status"]) == ["failed", "failed", "failed", "ok"]


@pytest.mark.parametrize("value", [-3.4e38, -9999.0, 1e38, np.inf, np.nan])
def test_values_that_are_no_brightness_cost_the_row_of_their_image(
    value: float, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).random((64, 64)).astype(np.float32)
    pixels[:8] = value
    cv2.imwrite(str(tmp_path / "odd.tif"), pixels)
    photo(tmp_path / "good.jpg")
    table = pd.DataFrame({"image_id": ["odd", "good"], "path": ["odd.tif", "good.jpg"]})
    app = find_app("crop_disease")
    odd, good = measure_all(table, tmp_path, read=app.read, workers=1, done=lambda _: None)
    assert not good.reason
    # -9999 is a value that some surface has; whatever is measured must be a number.
    assert bool(odd.reason) != np.isfinite([odd.brightness, odd.contrast, *_of(odd.colour)]).all()
    assert not odd.reason or re.search("are no brightness|NaN or infinite", odd.reason)


def _of(values: Any) -> list[float]:
    return [float("nan")] if values is None else [float(v) for v in values]


@pytest.mark.parametrize("syntax", ["repeated", "rows"])
@pytest.mark.parametrize("app_name", ["mammography", "images"])
def test_a_dicom_file_with_other_pixels_than_its_header_says_costs_its_row(
    app_name: str, syntax: str, tmp_path: Path
) -> None:
    import pydicom  # noqa: PLC0415

    app = find_app(app_name)
    find_app("mammography").phantom(tmp_path / "phantom", 4, 0)
    source = min((tmp_path / "phantom").rglob("*.dcm"))
    data = pydicom.dcmread(source)
    if syntax == "repeated":
        data.PixelData = data.PixelData * 3
    else:
        data.Rows //= 2
    data.save_as(tmp_path / "odd.dcm")
    table = pd.DataFrame({"image_id": ["odd", "good"], "path": ["odd.dcm", str(source)]})
    odd, good = measure_all(table, tmp_path, read=app.read, workers=1, done=lambda _: None)
    assert "its header speaks of one" in odd.reason
    assert not good.reason


def test_a_cut_raster_costs_its_tiles_and_not_the_field(tmp_path: Path) -> None:
    path = tmp_path / "cut.tif"
    write_mosaic(path, plan_field(600, 600, seed=3), RasterForm(tiled=False))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    app = find_app("crop_disease")
    options = {"tile": "64"}
    found = app.index(
        Source(paths=(path,), labelled=False, task=app.tasks[0], options=options, trained={})
    )
    rows = [row for row in absolute_rows(found) if row["status"] == "ok"]
    read = [attempt(lambda row=row: app.read(row)) for row in rows]
    reasons = [reason for _, reason in read]
    assert reasons[0] == ""
    assert "the raster cannot be read at" in reasons[-1]
    # Ground that cannot be seen is not called empty: it is counted among what failed.
    assert 0.2 < np.mean([bool(reason) for reason in reasons]) < 0.6


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on leaves."""
    old = Path(__file__).parent / "fixtures" / "run_of_0_1" / "run"
    path = Path(shutil.copytree(old, tmp_path_factory.mktemp("old") / "run"))
    packed = path / "model.safetensors.xz"
    (path / "model.safetensors").write_bytes(lzma.decompress(packed.read_bytes()))
    packed.unlink()
    return path


def odd_names(folder: Path, n: int) -> None:
    """Images in a folder, two of whose names are not UTF-8."""
    folder.mkdir()
    names = [b"caf\xe9.jpg", b"\xff\xfe.jpg", *(b"%d.jpg" % i for i in range(n - 2))]
    for i, name in enumerate(names):
        photo(folder / f"plain{i}.jpg", i).rename(folder / os.fsdecode(name))


def test_a_picture_that_cannot_be_drawn_costs_no_result() -> None:
    def gone(image_id: str) -> Any:
        raise FileNotFoundError(image_id)

    picture, saliency = decorations(gone, gone)
    assert picture is not None
    assert saliency is not None
    assert picture("a").shape == (64, 64, 3)
    assert saliency("a").shape == (64, 64)
    assert decorations(None, None) == (None, None)


def test_an_export_that_fails_costs_neither_the_table_nor_another(tmp_path: Path) -> None:
    def fails(_: ExportContext) -> list[Path]:
        msg = "no map"
        raise ValueError(msg)

    def works(context: ExportContext) -> list[Path]:
        write_text(context.out / "list.csv", "a")
        return [context.out / "list.csv"]

    exports = (Export(name="map", help="", write=fails), Export(name="list", help="", write=works))
    run: Any = SimpleNamespace(app=SimpleNamespace(name="app", exports=exports))
    context: Any = SimpleNamespace(out=tmp_path, options={}, notes=[])
    assert _export(run, context) == (["list.csv"], ["map"])
    assert context.notes == ["The export map was not made: ValueError: no map"]


@pytest.mark.parametrize("file", ["maps/classes.tif", "../input.tif"])
def test_an_export_stops_for_the_disk_of_the_output_and_not_for_an_input(
    file: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"

    def fails(_: ExportContext) -> list[Path]:
        msg = "a raster cannot be read"
        raise ImageError(msg) from OSError(errno.EIO, "", str((out / file).resolve()))

    run: Any = SimpleNamespace(
        app=SimpleNamespace(name="app", exports=[Export(name="map", help="", write=fails)])
    )
    context: Any = SimpleNamespace(out=out, options={}, notes=[])
    if file.startswith("maps"):
        # The same command makes the map once the disk is mended.
        with pytest.raises(ImageError):
            _export(run, context)
        with pytest.raises(ImageError):
            attempt(lambda: fails(context), own=out)
    else:
        assert _export(run, context) == ([], ["map"])
        assert attempt(lambda: fails(context), own=out) == (None, "a raster cannot be read")


@pytest.mark.parametrize(("ok", "failed", "code"), [(0, 0, 3), (1, 1, 3), (1, 0, 0)])
def test_a_prediction_of_which_nothing_was_scored_does_not_end_with_0(
    ok: int, failed: int, code: int, tmp_path: Path
) -> None:
    result = {"n_ok": ok, "n_failed": failed, "n_skipped": 3, "nothing_decided": False}
    with pytest.raises(Exit) if code else nullcontext() as ended:
        tell(result, tmp_path, quiet=True, as_json=True)
    assert not code or (ended and ended.value.exit_code == code)


@any_names
def test_names_that_are_not_utf8_and_changed_pictures_under_old_names(
    run: Path, tmp_path: Path
) -> None:
    odd_names(tmp_path / "in", 3)
    done = predict(run, [tmp_path / "in"], tmp_path / "out")
    assert (done["n_inputs"], done["n_ok"]) == (3, 3)
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert sorted(table["image_id"]) == ["%FF%FE.jpg", "0.jpg", "caf%E9.jpg"]
    # The same files elsewhere are the same job; other pictures under their names are not.
    (tmp_path / "in").rename(tmp_path / "moved")
    assert predict(run, [tmp_path / "moved"], tmp_path / "out")["n_ok"] == 3
    photo(tmp_path / "moved" / "0.jpg", 99)
    with pytest.raises(RunError, match=r"inputs: 0\.jpg changed \(1 of 3 differ\)"):
        predict(run, [tmp_path / "moved"], tmp_path / "out")


def test_new_data_of_which_nothing_can_be_read_are_told_to_be_so(run: Path, tmp_path: Path) -> None:
    for k in range(4):
        file = tmp_path / "in" / "rust" / f"{k}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("not an image")
    # A killed command left this, and the same one goes on.
    (tmp_path / "out").mkdir()
    write_json(tmp_path / "out" / "job.json", {"kind": "report"})
    write_text(tmp_path / "out" / "predictions.csv", "image_id")
    words = ["evaluate", str(run), str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(build(), words)
    assert done.exit_code == 3
    lines = done.stdout.splitlines()
    assert lines[:2] == ["nothing was evaluated", "4 images failed; the report says why"]
    assert "0 of 4 images were scored" in lines[2]
    assert "text file" in lines[2]


@any_names
def test_a_run_is_used_where_a_folder_above_it_is_not_utf8(run: Path, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"r\xfcn")
    shutil.copytree(run, odd)
    photo(tmp_path / "a.jpg")
    assert predict(odd, [tmp_path / "a.jpg"], odd.with_suffix(".out"))["n_ok"] == 1
    table = pd.DataFrame({"image_id": ["a"], "split": ["test"]})
    write_table(odd / "cases", table)
    assert read_table(odd / "cases", ["split"])["split"].tolist() == ["test"]
    assert [type(one).__name__ for one in loggers(TrainConfig(), odd)] == ["CSVLogger"]


@any_names
def test_a_training_reads_and_keeps_names_that_are_not_utf8(tmp_path: Path) -> None:
    for label in ("rust", "healthy"):
        odd_names(tmp_path / label, 4)
    app = find_app("crop_disease")
    found = app.index(Source(paths=(tmp_path,), labelled=True, task=app.tasks[0]))
    rows = with_paths(found.table, absolute_rows(found))
    preparation = Preparation.of(app, (64, 64), Form(3, "uint8"))
    store = prepare_table(rows, app=app, preparation=preparation, home=tmp_path / "home")
    assert set(store.table["status"]) == {"ok"}
    assert len(stamps_of(absolute_rows(found))) == 8
    write_table(tmp_path / "manifest", found.table)
    write_json(tmp_path / "names.json", {"first": "caf\udce9"})
    write_text(tmp_path / "page.html", "caf\udce9")
    assert pd.read_parquet(tmp_path / "manifest.parquet")["path"].is_unique


def test_a_damaged_look_at_the_data_is_said_where_a_training_goes_on(tmp_path: Path) -> None:
    (tmp_path / "audit.json").write_text("{}", encoding="utf-8")
    (tmp_path / LOOKED).write_text('{"task": {}}', encoding="utf-8")
    with pytest.raises(RunError, match=r"words\.json: is damaged \(group_rule: field required\)"):
        _kept(tmp_path)


def test_resume_points_of_a_run_that_is_not_sealed_stay(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(RuntimeError, match="could not be ended"):
        remove_resume_points(tmp_path)
    assert (tmp_path / "checkpoints").is_dir()
    seal(tmp_path, without=RESUMING)
    remove_resume_points(tmp_path)
    assert not (tmp_path / "checkpoints").exists()


def test_classes_that_cannot_be_read_are_no_classes() -> None:
    table = pd.DataFrame({"image_id": list("abcd"), "label": ["rust", "rust", "ok", "ok"]})
    table = table.assign(status="ok", reason="", path=table["image_id"])
    task = Task(name="t", kind="multiclass")

    def without(names: str) -> pd.DataFrame:
        audited = {"unreadable": [{"image_id": n, "reason": "is cut"} for n in names]}
        return without_unreadable(table, audited, task)

    assert list(without("a")["status"]) == ["failed", "ok", "ok", "ok"]
    with pytest.raises(ManifestError, match="None of the images of 'rust' can be read"):
        without("ab")
    with pytest.raises(ManifestError, match="None of 4 images can be read"):
        without("abcd")


def test_what_cannot_be_read_is_neither_split_nor_counted_as_trained_on(tmp_path: Path) -> None:
    for label in ("rust", "healthy"):
        (tmp_path / "in" / label).mkdir(parents=True)
        for k in range(6):
            photo(tmp_path / "in" / label / f"{k}.jpg", 10 * k + len(label))
    cut = tmp_path / "in" / "rust" / "cut.jpg"
    cut.write_bytes((cut.parent / "0.jpg").read_bytes()[:400])
    app = find_app("crop_disease")
    asked = Question(app="crop_disease", data=str(tmp_path / "in"), card="none")
    table, _, _ = look(app, asked, {}, {}, tmp_path)
    row = table.set_index("image_id").loc["rust/cut.jpg"]
    assert row["status"] == "failed"
    assert row["reason"]
    assert not row["split"]
    assert table.loc[table["status"] == "ok", "split"].ne("").sum() == 12


@pytest.mark.parametrize("seed", range(5))
def test_six_images_of_each_class_are_enough_as_is_said(seed: int) -> None:
    table = pd.DataFrame({"image_id": [f"{i}" for i in range(12)], "label": list("ab") * 6})
    table = table.assign(path=table["image_id"], group="", split="", status="ok", reason="")
    drawn, _ = draw_split(table, task=Task(name="t", kind="multiclass"), seed=seed)
    assert drawn.groupby(["label", "split"]).size().min() == 2
    five = table[table["label"].eq("a") | table.index.isin(range(9))]
    with pytest.raises(ManifestError, match="at least 6 are needed"):
        draw_split(five, task=Task(name="t", kind="multiclass"), seed=seed)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("device", "gpu9"), ("strategy", "wrong"), ("precision", "fp17"), ("size_px", (3, 3))],
)
def test_a_setting_that_cannot_be_had_is_told_before_anything_is_written(
    setting: str, value: Any, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(ConfigError, match=setting):
        train("crop_disease", tmp_path / "data", tmp_path / "out", flags={setting: value})
    assert not (tmp_path / "out").exists()


def test_a_sentence_in_the_column_of_paths_is_a_file_that_is_not_there(tmp_path: Path) -> None:
    names = [photo(tmp_path / f"{i}.jpg", i).name for i in range(8)]
    names += ["x" * 300 + ".jpg", "0.jpg/b.jpg"]
    labels = ["rust", "healthy"] * 5
    rows = [f"{name},{label}" for name, label in zip(names, labels, strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    app = find_app("crop_disease")
    source = Source(paths=(tmp_path / "t.csv",), labelled=True, task=app.tasks[0])
    assert app.index(source).notes[0].startswith("2 will fail")


def test_a_run_keeps_of_a_users_table_what_the_app_names(tmp_path: Path) -> None:
    rows = [f"{photo(tmp_path / f'{i}.jpg', i).name},{'ab'[i % 2]},Jane Doe,L{i}" for i in range(8)]
    (tmp_path / "t.csv").write_text("\n".join(["path,label,full_name,leaf", *rows]) + "\n")
    app = find_app("crop_disease")
    found = index_images(Source(paths=(tmp_path / "t.csv",), labelled=True, task=app.tasks[0]))
    assert "full_name" in found.from_tables
    kept = named_by_app(app, found).table
    assert "leaf" in kept
    assert not kept.isin(["Jane Doe"]).any(axis=None)


@pytest.mark.parametrize("name", [*APPS, "images"])
def test_a_training_on_a_users_table_keeps_no_column_that_its_app_does_not_name(
    name: str, tmp_path: Path
) -> None:
    app = find_app(name)
    rows = [f"{photo(tmp_path / f'{i}.jpg', i).name},{i % 2},Jane Doe" for i in range(12)]
    (tmp_path / "t.csv").write_text("\n".join(["path,label,full_name", *rows]) + "\n")
    asked = Question(app=name, data=str(tmp_path / "t.csv"), label="label", card="none")
    table, _, _ = look(app, asked, {}, {}, tmp_path)
    assert table["status"].eq("ok").all()
    assert not table.isin(["Jane Doe"]).any(axis=None)


def test_a_run_cannot_name_a_table_of_this_machine_as_its_label_map(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = find_app("crop_disease")
    assert "label-map" in options_of(app, "evaluate")
    for words in ("/etc/secret.csv", "../table.xlsx", "table.tsv"):
        stored = {"label-map": words}
        assert "label-map" not in resolve_options(app, "evaluate", {}, stored=stored)
    assert "which only you may" in caplog.text
    own = {"label-map": "rusty=rust"}
    assert resolve_options(app, "evaluate", {}, stored=own)["label-map"] == "rusty=rust"
    # What a table says at training travels as words.
    table = tmp_path / "map.csv"
    table.write_text('raw,class\n"Rust, old",rust\nOK,healthy\n?,\n')
    assert label_map(in_words(table)) == {"rust, old": "rust", "ok": "healthy", "?": ""}
    assert "=" in in_words(table)
