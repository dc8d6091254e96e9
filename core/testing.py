"""``check_app``: the contract of an app as a test that anybody can run.

    from core.testing import check_app
    def test_contract(tmp_path): check_app(APP, tmp_path)

It runs the app on its own phantom, from the index to the exports, with a tiny
network from random weights, and raises ``AssertionError`` with what is broken.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import random
from contextlib import contextmanager
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
from core.verbs.evaluate import evaluate
from core.verbs.predict import predict
from core.verbs.train import train

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["check_app"]

SIZE = (64, 64)
SETTINGS = {
    "backbone": "test_resnet",
    "weights": "none",
    "epochs": 2,
    "batch": 8,
    "size_px": SIZE,
    "precision": "32-true",
    "device": "cpu",
    "workers": 0,
}

# Columns that people keep beside images, and a word that stands nowhere else.
PERSONAL = ("full_name", "date_of_birth", "phone", "address", "remarks")
CANARY = "canary-7f3a"


def check_app(app: App, folder: Path, *, n_images: int = 60) -> None:
    """Check that an app keeps its contract.

    Args:
        app: the app; must be installed under its name.
        folder: an empty directory to work in.
        n_images: of the phantom.

    Raises:
        AssertionError: what is broken, in words.
    """
    pickle.loads(pickle.dumps(app))
    _require(app.intended_use.strip().endswith("."), "intended_use is not a sentence")
    _require(bool(app.tasks) and bool(app.metrics), "an app needs a task and a metric")
    for target in app.targets:
        parse_target(target)
    data = app.phantom(folder / "phantom", n_images, 1)
    _add_canaries(folder / "phantom")
    before = _fingerprint(folder / "phantom")
    with _private_cache(folder / "cache"):
        found = _check_index(app, data)
        _check_augment(app, _check_pixels(app, found))
        _check_path(app, data, folder, len(found.table))
    _require(_fingerprint(folder / "phantom") == before, "an input was changed")
    known = {"phantom", "cache", "run", "evaluation", "predictions"}
    strays = sorted(p.name for p in folder.iterdir() if p.name not in known)
    _require(not strays, f"files were written elsewhere: {strays}")
    told = [p.relative_to(folder).as_posix() for p in _with_canary(folder)]
    _require(not told, f"what a table says of people was written to {told}")


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


def _check_index(app: App, data: Path) -> Manifest:
    """The manifest is valid, complete, and the same when made again."""
    source = Source(paths=(data,), labelled=True, task=app.tasks[0])
    found, again = app.index(source), app.index(source)
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
    return found


def _check_pixels(app: App, found: Manifest) -> Form:
    """``read`` and ``prepare`` keep shape, dtype and range, and do the same twice."""
    rows = [row for row in absolute_rows(found) if row["status"] == "ok"][:4]
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
    return Form(pixels.shape[2], pixels.dtype.name)


def _check_augment(app: App, form: Form) -> None:
    """``augment`` gives the size asked for, and the same for the same seed."""
    full = {"uint8": 255, "uint16": 65535, "float32": 1}[form.dtype]
    image = np.random.default_rng(0).random((*store_size(SIZE), form.channels)) * full
    image = image.astype(form.dtype)
    pipeline = pickle.loads(pickle.dumps(app.augment(SIZE)))
    results = []
    for _ in range(2):
        pipeline.set_random_state(np.random.default_rng(5), random.Random(5))
        results.append(pipeline(image=image)["image"])
    _require(results[0].shape[:2] == SIZE, f"augment gave {results[0].shape} for {SIZE}")
    _require(
        results[0].dtype == image.dtype, f"augment turned {form.dtype} into {results[0].dtype}"
    )
    message = "augment depends on more than its seed"
    np.testing.assert_array_equal(results[0], results[1], err_msg=message)


def _check_path(app: App, data: Path, folder: Path, n_inputs: int) -> None:
    """Train, evaluate, predict; one row per input, finite metrics, exports where they belong."""
    result = train(app.name, data, folder / "run", flags=SETTINGS)
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
    judged = evaluate(folder / "run", data, folder / "evaluation")
    _require(judged["n_failed"] == 0, "images of the phantom failed")
    predicted = predict(folder / "run", [data], folder / "predictions")
    table = pd.read_parquet(folder / "predictions" / "predictions.parquet")
    _require(predicted["n_inputs"] == len(table) >= n_inputs, "not one row per input")
    _require(bool(table["image_id"].is_unique), "an input has two rows")
    for name in predicted["files"]:
        _require((folder / "predictions" / name).is_file(), f"export {name} was not written")
    known = set(unit_columns(app, list(table.columns))) | set(app.prepared_columns)
    ours = {"image_id", "path", "label", "group", "split", "status", "reason", "quality"}
    ours |= {"fold", "predicted", "decision", "embedding_distance", "unfamiliar", "model_id"}
    strays = [
        c
        for c in table.columns
        if c not in known | ours and not c.startswith(("score_", "logit_", "attention"))
    ]
    _require(not strays, f"columns left the manifest without being allowed to: {strays}")


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
