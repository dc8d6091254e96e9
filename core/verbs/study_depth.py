"""The verb ``study depth``: residual against plain networks of rising depth on the user's images.

Small residual networks and their plain twins are trained on small pictures of the data, then
pretrained networks of rising depth are probed at a larger size. Two questions, one page.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from core.app import Manifest, find_app
from core.base.jobs import Job, open_output
from core.base.machine import cores, threads
from core.base.options import resolve_options
from core.base.outputs import seal, write_json, write_text
from core.base.settings import Question
from core.base.tables import groups_or_own
from core.data.input_files import absolute_rows, require_apart, with_paths
from core.data.prepared import Form, Preparation, prepare_table, resize_to
from core.data.training_data import chosen_task, index_for
from core.errors import ConfigError, ImageError, ManifestError
from core.report.depth_page import depth_html
from core.statistics.scores import encode
from core.training.depth_probe import probe_depths
from core.training.depth_study import BATCH, DEPTHS, Course, Lesson, steps_within, study

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from core.app import App, Task

__all__ = ["PAGE", "DepthChoice", "study_depth"]

PAGE = "depth.html"
# Pixels of the small pictures, of those that are probed, and images taken at most of each.
SMALL_PX, LARGE_PX = 512, 128 * 128
MOST_SMALL, MOST_LARGE = 2_000, 600
# Points of each curve.
_POINTS = 20


@dataclass(frozen=True)
class DepthChoice:
    """How much is computed.

    Attributes:
        seeds: trainings of each small network.
        steps: of each; None lets ``minutes`` decide.
        minutes: that the small trainings may take.
        depths: of the small networks.
        weights_folder: ``NAME.safetensors`` files of networks of full size; without it only
            the hub's cache is looked into.
        full_size: whether pretrained networks are probed.
    """

    seeds: int = 3
    steps: int | None = None
    minutes: float = 5.0
    depths: tuple[int, ...] = DEPTHS
    weights_folder: Path | None = None
    full_size: bool = True


@dataclass(frozen=True)
class _Data:
    """Labelled images that can be read."""

    app: App
    task: Task
    rows: pd.DataFrame
    form: Form
    shape: tuple[int, int]
    options: Mapping[str, Any]

    def pixels(self, size_px: tuple[int, int], most: int) -> tuple[NDArray[Any], pd.DataFrame]:
        """(N, C, H, W) stored pixels at a size, and their rows; ``most`` of them, at random."""
        rows = self.rows
        if len(rows) > most:
            rows = rows.sample(most, random_state=0).sort_values("image_id")
        preparation = Preparation.of(self.app, size_px, self.form, self.options)
        store = prepare_table(rows, app=self.app, preparation=preparation, workers=cores())
        good = np.flatnonzero(store.table["status"] == "ok")
        if not len(good):
            msg = f"none of {len(rows):,} images can be read; `resight check` says why"
            raise ManifestError(msg)
        made = [resize_to(store[int(i)], size_px).transpose(2, 0, 1) for i in good]
        return np.stack(made), rows.iloc[good].reset_index(drop=True)

    def classes(self, rows: pd.DataFrame) -> NDArray[np.int_]:
        """(N,) class indices."""
        return np.asarray(encode(list(rows["label"].astype(str)), self.task))


def study_depth(
    app_name: str,
    data: Path,
    out: Path,
    *,
    task: str | None = None,
    label: str | None = None,
    group: str | None = None,
    choice: DepthChoice | None = None,
) -> dict[str, Any]:
    """Train small residual and plain networks on these images, probe large ones, write a page.

    Args:
        app_name: an installed app.
        data: a folder or table of labelled images.
        out: where ``depth.html`` and ``depth.json`` are written.
        task: a task of the app, or a kind; of one class per image.
        label: a label column.
        group: what may not straddle a fold.
        choice: how much is computed.

    Returns:
        the content of ``depth.json``, and ``out``.

    Raises:
        ConfigError: the task has several classes per image.
        ManifestError: the data cannot be used.
    """
    choice = choice or DepthChoice()
    require_apart(out, [data])
    found = _load(app_name, data.absolute(), task, label, group)
    torch.set_num_threads(threads())
    with open_output(out, Job("study", replaces=True)):
        content = {"app": app_name, **_studied(found, choice)}
        write_json(out / "depth.json", content)
        write_text(out / PAGE, depth_html(content))
        seal(out)
    return {**content, "out": str(out)}


def _studied(found: _Data, choice: DepthChoice) -> dict[str, Any]:
    """Train the small networks and probe the large ones; the content of ``depth.json``."""
    begun = time.process_time()
    small = _size(found.shape, SMALL_PX, 4)
    pixels, rows = found.pixels(small, MOST_SMALL)
    y, n_classes = found.classes(rows), len(found.task.classes)
    lesson = Lesson(_standardised(pixels), y, n_classes)
    about: dict[str, Any] = {"seeds": choice.seeds, "depths": choice.depths}
    steps = choice.steps or steps_within(choice.minutes, lesson, **about)
    courses = study(lesson, steps=steps, **about)
    probed: list[dict[str, Any]] = []
    left_out: list[str] = []
    if choice.full_size:
        large, of_large = found.pixels(_size(found.shape, LARGE_PX, 32), MOST_LARGE)
        probed, left_out = probe_depths(
            large,
            found.classes(of_large),
            groups_or_own(of_large).to_numpy(dtype=object),
            n_classes=n_classes,
            folder=choice.weights_folder,
        )
    return {
        "n": len(y),
        "classes": list(found.task.classes),
        "chance": 1 - 1 / len(np.unique(y)),
        "size_px": list(small),
        "steps": steps,
        "batch": BATCH,
        "seeds": choice.seeds,
        "seconds": time.process_time() - begun,
        "courses": [_plain(course) for course in courses],
        "probed": probed,
        "left_out": left_out,
    }


def _load(
    app_name: str, data: Path, task: str | None, label: str | None, group: str | None
) -> _Data:
    """Index the data and look at the form of a few images."""
    app = find_app(app_name)
    asked = chosen_task(app, task, label)
    if asked.kind == "multilabel":
        msg = (
            f"The task {asked.name!r} has several classes per image, and training error is asked "
            "of one. Name another task with --task."
        )
        raise ConfigError(msg)
    options = resolve_options(app, "train", {})
    question = Question(app=app_name, data=str(data), task=task, label=label, group=group)
    manifest = index_for(app, question, options)
    ok = manifest.table[manifest.table["status"] == "ok"].reset_index(drop=True)
    asked = asked.with_classes(sorted(set(ok["label"].astype(str))))
    part = Manifest(table=ok, root=manifest.root)
    rows = absolute_rows(part)
    shapes, forms = [], []
    for row in rows[:: max(1, len(rows) // 9)]:
        try:
            seen = app.read(row)
        except ImageError:
            continue
        shapes.append(seen.shape[:2])
        forms.append((seen.shape[2], seen.dtype.name))
    if not shapes:
        msg = f"{data}: the images that were looked at cannot be read; `resight check` says why."
        raise ManifestError(msg)
    height, width = (int(np.median([shape[i] for shape in shapes])) for i in (0, 1))
    form = Form(max(c for c, _ in forms), _commonest([dtype for _, dtype in forms]))
    return _Data(app, asked, with_paths(ok, rows), form, (height, width), options)


def _commonest(names: Sequence[str]) -> str:
    """The name that occurs most often."""
    return max(sorted(set(names)), key=list(names).count)


def _size(shape: tuple[int, int], pixels: int, step: int) -> tuple[int, int]:
    """About so many pixels in the images' own shape, in whole steps."""
    aspect = min(3.0, max(1 / 3, shape[1] / shape[0]))
    rows = (pixels / aspect) ** 0.5
    return max(step, step * round(rows / step)), max(step, step * round(rows * aspect / step))


def _standardised(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """(N, C, H, W) with mean 0 and spread 1 in each channel."""
    values = pixels.astype(np.float32)
    mean, std = (
        values.mean(axis=(0, 2, 3), keepdims=True),
        values.std(axis=(0, 2, 3), keepdims=True),
    )
    return np.asarray((values - mean) / np.maximum(std, 1e-6), dtype=np.float32)


def _plain(course: Course) -> dict[str, Any]:
    """A course as plain values for JSON, its curve smoothed to a few points."""
    blocks = np.array_split(course.wrong, min(_POINTS, len(course.wrong)))
    edges = np.cumsum([len(block) for block in blocks])
    return {
        "name": course.name,
        "depth": course.depth,
        "is_plain": course.is_plain,
        "seed": course.seed,
        "parts": course.parts(),
        "curve": [float(block.mean()) for block in blocks],
        "curve_steps": [int(edge) for edge in edges],
        "gradient": [[step, norms] for step, norms in course.gradient],
        "seconds": course.seconds,
    }
