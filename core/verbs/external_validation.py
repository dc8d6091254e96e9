"""External validation: new data against what the run was trained and tested on.

What a run knows of its own data lies in it: sizes and brightness of every training
image in ``audit.json``, the splits in ``manifest.parquet``, scores and embedding
distances of the held-out images in ``predictions.parquet``. The new data are
measured the same way. A run that was copied without these files is judged on the
new data alone, and the report says what could not be compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.base.machine import cores
from core.base.progress import track
from core.base.tables import logits_in
from core.base.words import percent
from core.data.facts import measure_all
from core.errors import MetricError
from core.evaluation.cases import Level
from core.evaluation.drift import input_drift, number_drift
from core.evaluation.labelled_rows import cases_of, groups_of, judged_rows
from core.evaluation.metric_specs import specs_of
from core.evaluation.stored_thresholds import threshold_in_force
from core.evaluation.units import decisions_by_unit, text_of
from core.runs.predictions import final_split
from core.runs.run import units_of_run
from core.runs.run_metrics import draws_of
from core.runs.table_files import read_json, read_table
from core.statistics.recalibration import local_recalibration
from core.statistics.weighted import positive_part

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from core.evaluation.metric_specs import MetricSpec
    from core.runs.run import Run

__all__ = ["compare_with_training"]

# As many as of the numbers of the page, whose intervals are compared.
RESAMPLES = 2000
# New images that are decoded once more to be measured; more say little more and cost as much as
# the scoring.
MOST_MEASURED = 2000
# Properties of the inputs that are compared: column, words, unit.
MEASURED = (
    ("brightness", "Brightness (share of full scale)"),
    ("contrast", "Contrast (share of full scale)"),
    ("height", "Height (pixels)"),
    ("width", "Width (pixels)"),
)
# Numbers compared beside the headline.
COMPARED = (
    *("accuracy", "balanced_accuracy", "quadratic_kappa", "auroc", "auroc_positive"),
    *("macro_auroc", "log_loss", "brier"),
)


def compare_with_training(
    run: Run,
    predictions: pd.DataFrame,
    manifest: pd.DataFrame,
    root: Path,
    evaluation: Mapping[str, Any],
) -> dict[str, Any]:
    """How new data differ from the run's own, in their inputs and in what is reached on them.

    Args:
        run: a loaded run.
        predictions: of the new data, scored by the run.
        manifest: of the new data.
        root: that the paths of the manifest start from.
        evaluation: ``metrics.json`` of the new data; names the headline and its unit.

    Returns:
        ``inputs`` (one row for each property), ``copies`` (new images with the pixels of a
        training image), ``numbers`` (see ``core.evaluation.drift.number_drift``),
        ``recalibration`` (see ``core.statistics.recalibration.local_recalibration``) and ``notes``.
    """
    notes: list[str] = []
    inputs, copies = _inputs(run, predictions, manifest, root, notes)
    notes += [_far_words(row) for row in inputs if row["is_far"]]
    if copies and copies["n"]:
        notes.append(
            f"{copies['n']:,} of {copies['of']:,} new images hold the pixels of a training image "
            f"(first: {copies['first']}); for these this is no test."
        )
    about = evaluation["about"]
    unit = str(about["unit"])
    now = _level(run, predictions, unit, split="new data", design=str(about["design"]))
    numbers: list[dict[str, Any]] = []
    before = _held_out(run, unit, notes)
    if before is not None and now is not None:
        metrics = run.app.metrics_for(run.task)
        mine = [m for m in metrics if (m.unit or unit) == unit] or metrics
        specs = _wanted(specs_of(now, mine), str(about["headline"]))
        numbers = number_drift(before, now, specs)
    recalibration = [] if now is None else _recalibration(run, predictions, now)
    return {
        "inputs": inputs,
        "copies": copies,
        "numbers": numbers,
        "recalibration": recalibration,
        "notes": notes,
    }


def _wanted(specs: list[MetricSpec], headline: str) -> list[MetricSpec]:
    """The headline first, then the numbers that any task of this kind has."""
    whole = [spec for spec in specs if not spec.of and spec.compute is not None]
    first = [spec for spec in whole if spec.name == headline]
    return first + [s for s in whole if s.name in COMPARED and s.name != headline]


def _inputs(
    run: Run, predictions: pd.DataFrame, manifest: pd.DataFrame, root: Path, notes: list[str]
) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """Drift of what can be measured on pixels, and copies of training images."""
    rows: list[dict[str, Any]] = []
    table = predictions[predictions["status"] == "ok"]
    groups = text_of(table["group"]) if "group" in table else np.full(len(table), "")
    own = np.where(groups == "", text_of(table["image_id"]), groups)
    word = str(run.content["group"])
    copies = None
    trained = _training_facts(run.path)
    if trained is None:
        notes.append(
            "The run holds no measurements of its training images (audit.json, manifest.parquet), "
            "so the inputs cannot be compared with them."
        )
    else:
        wanted = manifest[manifest["image_id"].isin(table["image_id"])]
        if len(wanted) > MOST_MEASURED:
            notes.append(
                f"Brightness, contrast, size and copies were looked for in {MOST_MEASURED:,} of "
                f"{len(wanted):,} new images, spread evenly."
            )
            places = np.linspace(0, len(wanted) - 1, MOST_MEASURED).round().astype(int)
            wanted = wanted.sort_values("image_id").iloc[np.unique(places)]
        with track("measuring", len(wanted)) as done:
            facts = measure_all(wanted, root, read=run.app.read, workers=cores(), done=done)
        here = pd.DataFrame(
            {name: [getattr(f, name) for f in facts] for name in ("image_id", "sha256", "reason")}
            | {name: [float(getattr(f, name)) for f in facts] for name, _ in MEASURED}
        )
        here = here[here["reason"] == ""].set_index("image_id")
        of_group = dict(zip(table["image_id"], own, strict=True))
        where = np.array([of_group[name] for name in here.index], dtype=str)
        for name, title in MEASURED:
            then, now = trained[name].to_numpy(dtype=float), here[name].to_numpy(dtype=float)
            rows += _drift(name, title, then, now, where, word)
        same = here["sha256"].isin(set(trained["sha256"]))
        ids = sorted(here.index[same])
        copies = {"n": len(ids), "of": len(here), "first": ids[0] if ids else None}
    held = _predictions(run)
    distance = table["embedding_distance"].to_numpy(dtype=float)
    if held is not None and np.isfinite(held["embedding_distance"].to_numpy(dtype=float)).any():
        then = held["embedding_distance"].to_numpy(dtype=float)
        title = "Out-of-distribution score (1: the 95th percentile of validation)"
        rows += _drift("embedding_distance", title, then, distance, own, word)
    return rows, copies


def _drift(
    name: str,
    title: str,
    then: NDArray[np.float64],
    now: NDArray[np.float64],
    groups: NDArray[np.str_],
    word: str,
) -> list[dict[str, Any]]:
    """One row, or none where there is nothing to compare."""
    try:
        found = input_drift(
            then, now, groups=groups, word=word, upper_only=name == "embedding_distance"
        )
    except MetricError:
        return []
    return [{"name": name, "title": title, **found}]


def _far_words(row: Mapping[str, Any]) -> str:
    """A property that is not as in training, in a sentence."""
    name = str(row["title"]).partition(" (")[0]
    share, expected = row["outside"]["value"], row["expected"]
    return (
        f"{name} is {row['words']}: {percent(share)} of the new images lie outside of the training "
        f"range, where {percent(expected)} are expected. Numbers of other images may not hold here."
    )


def _training_facts(path: Path) -> pd.DataFrame | None:
    """What was measured on the training images, or None where the run does not hold it."""
    audit, table = path / "audit.json", path / "manifest.parquet"
    if not (audit.is_file() and table.is_file()):
        return None
    images = read_json(audit).get("images")
    if not images:
        return None
    splits = read_table(path / "manifest", ["image_id", "split"])
    frame = pd.DataFrame(images)
    if (splits["split"] == "train").any():
        frame = frame[frame["image_id"].isin(splits["image_id"][splits["split"] == "train"])]
    return frame if len(frame) else None


def _predictions(run: Run) -> pd.DataFrame | None:
    """The run's own held-out predictions, or None where it does not hold them."""
    if not (run.path / "predictions.parquet").is_file():
        return None
    table = read_table(run.path / "predictions")
    return table[table["split"] == final_split(table)].reset_index(drop=True)


def _held_out(run: Run, unit: str, notes: list[str]) -> Level | None:
    """The cases the run was tested on."""
    table = _predictions(run)
    if table is None:
        notes.append(
            "The run holds no predictions of its own, so what is reached here cannot be compared "
            "with its own test."
        )
        return None
    design = str(run.content.get("design", run.app.design))
    return _level(run, table, unit, split=final_split(table), design=design)


def _level(
    run: Run, predictions: pd.DataFrame, unit: str, *, split: str, design: str
) -> Level | None:
    """The judged cases of one unit, as an evaluation has them; None where there are none."""
    tables, _ = decisions_by_unit(
        predictions,
        task=run.task,
        units=units_of_run(run.content),
        threshold=threshold_in_force(run.content, split),
        keep=("fold",),
    )
    table = judged_rows(tables[unit], run.task) if unit in tables else None
    if table is None or not len(table):
        return None
    draws = draws_of({**run.content, "design": design}, resamples=RESAMPLES)
    cases, groups = cases_of(table, run.task), groups_of(table)
    return Level.of(unit, cases, groups, task=run.task, draws=draws)


def _recalibration(run: Run, predictions: pd.DataFrame, now: Level) -> list[dict[str, Any]]:
    """A shift of the positive classes at the headline's unit, and a temperature of the images."""
    draws = draws_of(run.content, resamples=1000)
    found = []
    positive = run.task.positive_index
    if positive and run.task.kind != "multilabel":
        truth, score, _ = positive_part(now.cases, positive)
        of = "+".join(run.task.classes[i] for i in positive)
        done = local_recalibration(truth, score, now.groups, draws=draws)
        found.append({"of": of, "unit": now.unit, **done})
    ok = predictions[predictions["status"] == "ok"]
    tables, _ = decisions_by_unit(ok, task=run.task)
    rows = judged_rows(tables["image"], run.task)
    if len(rows) and run.task.kind != "multilabel":
        cases = cases_of(rows, run.task)
        place = ok.set_index("image_id").loc[rows["unit_id"], logits_in(ok)]
        # The run's own temperature is the start; what is fitted is what is left to mend.
        logits = place.to_numpy(dtype=float) / run.temperature
        done = local_recalibration(
            cases.y,
            cases.scores,
            groups_of(rows),
            logits=logits,
            link=run.link,
            draws=draws,
        )
        found.append({"of": "all classes", "unit": "image", **done})
    return found
