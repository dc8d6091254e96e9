"""``check_app``: the contract of an app as a test that anybody can run.

    from core.testing import check_app
    def test_contract(tmp_path): check_app(APP, tmp_path)

It runs the app on its own phantom, from the index to the exports, with a tiny
network from random weights, and raises ``AssertionError`` with what is broken. Each
of ``CHECKS`` has a name and can be run alone: ``check_app(APP, tmp_path, only=["index"])``.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import random
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.app import App, Manifest, Source
from core.base.tables import check_manifest, check_splits
from core.data.input_files import absolute_rows
from core.data.prepared import Form, store_size
from core.runs.predictions import unit_columns
from core.runs.run import task_from_dict
from core.statistics.operating_points import parse_target
from core.statistics.scores import encode
from core.verbs.evaluate import evaluate
from core.verbs.predict import predict
from core.verbs.train import train

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["CHECKS", "check_app"]

SIZE = (64, 64)
SETTINGS = {
    "backbone": "test_resnet",
    "weights": "none",
    "epochs": 2,
    "batch": 8,
    "size_px": SIZE,
    "device": "cpu",
    "workers": 0,
}

# Columns that people keep beside images, and a word that stands nowhere else.
PERSONAL = ("full_name", "date_of_birth", "phone", "address", "remarks")
CANARY = "canary-7f3a"


@dataclass
class Bench:
    """An app on its phantom; what several checks need is made once, when it is asked for."""

    app: App
    folder: Path
    n_images: int

    @cached_property
    def data(self) -> Path:
        """The phantom's images."""
        data = self.app.phantom(self.folder / "phantom", self.n_images, 1)
        _add_canaries(self.folder / "phantom")
        return data

    @cached_property
    def found(self) -> Manifest:
        """The manifest of the phantom, labelled for the first task."""
        return self.app.index(Source(paths=(self.data,), labelled=True, task=self.app.tasks[0]))

    @cached_property
    def form(self) -> Form:
        """Channels and dtype of its images."""
        row = next(row for row in absolute_rows(self.found) if row["status"] == "ok")
        pixels = self.app.read(row)
        return Form(pixels.shape[2], pixels.dtype.name)

    @cached_property
    def trained(self) -> dict[str, Any]:
        """The result of a training of two epochs."""
        return train(self.app.name, self.data, self.folder / "run", flags=SETTINGS)


def check_app(app: App, folder: Path, *, n_images: int = 60, only: Sequence[str] = ()) -> None:
    """Check that an app keeps its contract.

    Args:
        app: the app; must be installed under its name.
        folder: an empty directory to work in.
        n_images: of the phantom.
        only: names of ``CHECKS``; empty runs all of them.

    Raises:
        AssertionError: the name of the check and what is broken, in words.
        KeyError: ``only`` names no check.
    """
    chosen = {name: CHECKS[name] for name in only or CHECKS}
    bench = Bench(app, folder, n_images)
    with _private_cache(folder / "cache"):
        before = _fingerprint(bench.data)
        for name, check in chosen.items():
            try:
                check(bench)
            except AssertionError as error:
                msg = f"{name}: {error}"
                raise AssertionError(msg) from error
    _require(_fingerprint(bench.data) == before, "inputs: a file was changed")
    known = {"phantom", "cache", "run", "evaluation", "predictions"}
    strays = sorted(p.name for p in folder.iterdir() if p.name not in known)
    _require(not strays, f"inputs: files were written elsewhere: {strays}")
    leaks = [p.relative_to(folder).as_posix() for p in _with_canary(folder)]
    _require(not leaks, f"privacy: what a table says of people was written to {leaks}")


def _check_description(bench: Bench) -> None:
    """It pickles, says what it is for, and names tasks, metrics and targets that exist."""
    app = pickle.loads(pickle.dumps(bench.app))
    _require(app.intended_use.strip().endswith("."), "intended_use is not a sentence")
    _require(bool(app.tasks) and bool(app.metrics), "an app needs a task and a metric")
    for target in app.targets:
        parse_target(target)


def _add_canaries(folder: Path) -> None:
    """Give every table of the phantom columns that no output may hold."""
    for file in sorted(folder.rglob("*.csv")):
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
        for column in PERSONAL:
            table[column] = [f"{CANARY}-{column}-{row}" for row in range(len(table))]
        table.to_csv(file, index=False)


def _with_canary(folder: Path) -> list[Path]:
    """Files of the run, the evaluation and the prediction in which such a value stands."""
    found = []
    for name in ("run", "evaluation", "predictions"):
        for file in sorted(p for p in (folder / name).rglob("*") if p.is_file()):
            data = file.read_bytes()
            if file.suffix == ".parquet":
                # Compressed, so its bytes hide the words.
                data = pd.read_parquet(file).to_csv().encode("utf-8", "replace")
            if CANARY.encode() in data:
                found.append(file)
    return found


def _check_index(bench: Bench) -> None:
    """The manifest is valid, complete, and the same when made again."""
    app, data, found = bench.app, bench.data, bench.found
    again = app.index(Source(paths=(data,), labelled=True, task=app.tasks[0]))
    check_manifest(found.table, labelled=True)
    check_splits(found.table)
    pd.testing.assert_frame_equal(found.table, again.table)
    group = found.table["group"].fillna("").astype(str)
    _require(bool((group != "").all()), "the phantom must give every image a group")
    _require(bool(found.group_rule), "the rule that found the group must be put into words")
    _require(
        bool((group.value_counts() > 1).any()), "the phantom must have groups of several images"
    )
    bare = app.index(Source(paths=(data,), labelled=False, task=app.tasks[0]))
    _require(len(bare.table) >= len(found.table), "an unlabelled index must list every image")


def _check_labels(bench: Bench) -> None:
    """Labels are classes of the task; several classes of one image are joined, none is said."""
    task = bench.app.tasks[0]
    labels = bench.found.table.loc[bench.found.table["status"] == "ok", "label"].astype(str)
    resolved = task.with_classes(sorted(set(labels)))
    y = encode(list(labels), resolved)
    _require(len(y) == len(labels), "not one label per image")
    if task.kind == "multilabel":
        _require(y.shape == (len(labels), len(resolved.classes)), f"labels gave {y.shape}")
        _require(bool((y.sum(axis=0) > 0).any()), "no image of the phantom has any class")
        several = labels.str.strip(task.label_separator).str.contains(
            task.label_separator, regex=False
        )
        _require(bool(several.any()), "the phantom must have images of several classes")
        none = labels == task.label_separator
        _require(bool(none.any()), "the phantom must have images of no class")
    else:
        _require(len(np.unique(y)) > 1, "the phantom must have several classes")


def _check_pixels(bench: Bench) -> None:
    """``read`` and ``prepare`` keep shape, dtype and range, and do the same twice."""
    app = bench.app
    rows = [row for row in absolute_rows(bench.found) if row["status"] == "ok"][:4]
    transform = pickle.loads(pickle.dumps(app.prepare(store_size(SIZE))))
    for row in rows:
        pixels = app.read(row)
        _require(pixels.ndim == 3, f"read gave {pixels.ndim} axes, not (H, W, C)")
        _require(
            pixels.dtype.name in {"uint8", "uint16", "float32"}, f"read gave {pixels.dtype} values"
        )
        np.testing.assert_array_equal(pixels, app.read(row))
        kept = pixels.copy()
        done = transform({**row, "image": pixels})
        np.testing.assert_array_equal(pixels, kept, err_msg="prepare changed its input")
        image = np.asarray(done["image"])
        _require(
            image.shape == (*store_size(SIZE), pixels.shape[2]),
            f"prepare gave {image.shape} for {store_size(SIZE)}",
        )
        _require(image.dtype == pixels.dtype, f"prepare turned {pixels.dtype} into {image.dtype}")
        again = np.asarray(transform({**row, "image": pixels})["image"])
        np.testing.assert_array_equal(image, again, err_msg="prepare is not deterministic")
        for column in app.prepared_columns:
            _require(column in done, f"prepare did not add {column!r}")


def _check_augment(bench: Bench) -> None:
    """``augment`` gives the size asked for, and the same for the same seed."""
    app, form = bench.app, bench.form
    full = {"uint8": 255, "uint16": 65535, "float32": 1}[form.dtype]
    image = np.random.default_rng(0).random((*store_size(SIZE), form.channels)) * full
    image = image.astype(form.dtype)
    pipeline = pickle.loads(pickle.dumps(app.augment(SIZE)))
    results = []
    for _ in range(2):
        pipeline.set_random_state(np.random.default_rng(5), random.Random(5))
        results.append(pipeline(image=image)["image"])
    wanted = (*SIZE, form.channels)
    _require(results[0].shape == wanted, f"augment gave {results[0].shape}, not {wanted}")
    _require(
        results[0].dtype == image.dtype, f"augment turned {form.dtype} into {results[0].dtype}"
    )
    message = "augment depends on more than its seed"
    np.testing.assert_array_equal(results[0], results[1], err_msg=message)


def _check_training(bench: Bench) -> None:
    """A training ends with finite metrics, the first of the app among them, and its targets."""
    app, result = bench.app, bench.trained
    metrics = result["metrics"]["metrics"]
    _require(bool(metrics), "no metric was computed")
    for row in metrics:
        value = row["value"]
        _require(
            (value is None and row["reason"]) or np.isfinite(value),
            f"metric {row['name']} is {value} without a reason",
        )
    points = [point["target"] for point in result["run"]["operating_points"]]
    asked = list(app.targets) if task_from_dict(result["run"]["task"]).positive_index else []
    _require(points == asked, f"operating points {points} were stored, not {asked}")
    names = {row["name"] for row in metrics}
    absent = [m.name for m in app.metrics[:1] if m.name not in names]
    _require(not absent, f"the app's first metric {absent} was not computed")


def _check_evaluation(bench: Bench) -> None:
    """The run evaluates its own phantom as new data."""
    _require(bool(bench.trained), "there is no run")
    judged = evaluate(bench.folder / "run", bench.data, bench.folder / "evaluation")
    _require(judged["n_failed"] == 0, "images of the phantom failed")


def _check_prediction(bench: Bench) -> None:
    """One row per input, exports where they belong, and only columns that may leave."""
    _require(bool(bench.trained), "there is no run")
    app, folder, n_inputs = bench.app, bench.folder, len(bench.found.table)
    predicted = predict(folder / "run", [bench.data], folder / "predictions")
    table = pd.read_parquet(folder / "predictions" / "predictions.parquet")
    _require(predicted["n_inputs"] == len(table) >= n_inputs, "not one row per input")
    _require(bool(table["image_id"].is_unique), "an input has two rows")
    for name in predicted["files"]:
        _require((folder / "predictions" / name).is_file(), f"export {name} was not written")
    known = set(unit_columns(app, list(table.columns))) | set(app.prepared_columns)
    ours = {"image_id", "path", "label", "group", "split", "status", "reason", "quality"}
    ours |= {
        "fold",
        "same_as",
        "predicted",
        "decision",
        "doubt",
        "embedding_distance",
        "unfamiliar",
        "model_id",
    }
    strays = [
        c
        for c in table.columns
        if c not in known | ours and not c.startswith(("score_", "logit_", "attention"))
    ]
    _require(not strays, f"columns left the manifest without being allowed to: {strays}")


CHECKS: dict[str, Callable[[Bench], None]] = {
    "description": _check_description,
    "index": _check_index,
    "labels": _check_labels,
    "pixels": _check_pixels,
    "augment": _check_augment,
    "training": _check_training,
    "evaluation": _check_evaluation,
    "prediction": _check_prediction,
}


def _require(holds: bool, what: str) -> None:
    """Raise with what is broken."""
    if not holds:
        raise AssertionError(what)


def _fingerprint(folder: Path) -> Mapping[str, str]:
    """Path -> sha256 of everything below a folder."""
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


@contextmanager
def _private_cache(folder: Path) -> Iterator[None]:
    """Keep prepared pixels below the folder of the test."""
    before: Any = os.environ.get("RESIGHT_HOME")
    os.environ["RESIGHT_HOME"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["RESIGHT_HOME"]
        else:
            os.environ["RESIGHT_HOME"] = before
