"""A table of scores made elsewhere, read as a predictions table of ours.

    id (or image_id)     unique name of the image; without it rows are numbered
    label                class name; empty where unknown
    score_<class>        one column per class, probabilities; or a single ``score``
                         (or ``score_<class>``) of the positive class
    group                what may resemble each other: patient, leaf, field
    split                if present, only ``test`` rows are judged, and ``val`` rows may
                         choose a threshold
    status, reason, quality, and any column named for a unit or subgroup

Classes come from the columns of scores, so a class without a case keeps its place.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.app import Task, class_key
from core.base.tables import score_columns
from core.errors import ConfigError, ManifestError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from core.app import App

__all__ = ["Foreign", "read_foreign"]

# Names of the column that tells images apart, the first found is taken.
IDS = ("image_id", "id", "image", "filename", "file", "path")
# Columns of our own tables that follow from the scores, or speak of a model that is not here.
MADE_ANEW = ("predicted", "decision", "embedding_distance", "unfamiliar", "model_id")
# Scores written with three decimals add up to 1 within this.
ROUNDED = 0.02


@dataclass(frozen=True)
class Foreign:
    """A table from elsewhere, as one of ours.

    Attributes:
        predictions: ``core.base.tables.PREDICTIONS`` with label, group and split.
        task: kind and classes, from the score columns.
        notes: what was assumed, in sentences.
    """

    predictions: pd.DataFrame
    task: Task
    notes: tuple[str, ...]


def read_foreign(
    file: Path,
    *,
    kind: str | None = None,
    label: str | None = None,
    group: str | None = None,
    positive: Sequence[str] = (),
    app: App | None = None,
) -> Foreign:
    """Read a table of predictions made elsewhere.

    Args:
        file: CSV, TSV or Parquet.
        kind: of task; None: by the classes.
        label: column of the label; None: ``label``.
        group: column of the group; None: ``group``, if there is one.
        positive: classes that together count as positive.
        app: whose task is taken where its classes are those of the table.

    Raises:
        ManifestError: the file cannot be read, or columns are absent or contradict each other.
        ConfigError: ``kind`` or ``positive`` does not fit the classes.
    """
    raw = _read(file)
    notes: list[str] = []
    truth = label or "label"
    if truth not in raw.columns:
        msg = (
            f"{file}: has no column {truth!r} (it has: {', '.join(raw.columns[:12])}). Without "
            "labels nothing can be judged. Name the column with --label."
        )
        raise ManifestError(msg)
    if group and group not in raw.columns:
        msg = f"{file}: has no column {group!r} (it has: {', '.join(raw.columns[:12])})."
        raise ManifestError(msg)
    table = pd.DataFrame({"image_id": _ids(raw, file, notes)})
    table["path"] = raw["path"] if "path" in raw else table["image_id"]
    table["label"] = raw[truth]
    table["group"] = raw.get(group or "group", "")
    table["split"] = raw.get("split", "")
    classes, scores = _scores(raw, table["label"], file, notes)
    task = _task(classes, kind, positive, app, scores, file, notes)
    if task.kind != "multilabel" and len(classes) > 1:
        scores = _summed_to_one(scores, file, notes)
    order = [classes.index(name) for name in task.classes]
    table[score_columns(task.classes)] = scores[:, order]
    status = raw["status"] if "status" in raw else pd.Series("", index=raw.index)
    given = status.where(status.isin(["failed", "skipped"]), "ok")
    bare: NDArray[np.bool_] = np.asarray(~np.isfinite(scores).all(axis=1))
    table["status"] = np.where((given == "ok").to_numpy() & bare, "failed", given)
    reason = raw["reason"] if "reason" in raw else pd.Series("", index=raw.index)
    silent = (table["status"] != "ok") & (reason == "")
    table["reason"] = reason.where(~silent, "the table has no score for it")
    table["quality"] = raw.get("quality", "")
    taken = {*table.columns, truth, "id", "score", *MADE_ANEW}
    for column in raw.columns:
        if column not in taken and not column.startswith(("score_", "logit_")):
            table[column] = raw[column]
    return Foreign(table, task, tuple(notes))


def _read(file: Path) -> pd.DataFrame:
    """The table, every cell as text."""
    try:
        if file.suffix.lower() in {".parquet", ".pq"}:
            table = pd.read_parquet(file)
            table = table.astype(object).where(table.notna(), "").astype(str)
        else:
            tabbed = file.suffix.lower() in {".tsv", ".tab"}
            table = pd.read_csv(
                file,
                dtype=str,
                keep_default_na=False,
                sep="\t" if tabbed else ",",
                encoding="utf-8-sig",
            )
    except (OSError, ValueError) as error:
        words = " ".join(str(error).split())
        msg = f"{file}: cannot be read as a table ({words}). Pass a CSV, TSV or Parquet file."
        raise ManifestError(msg) from error
    table.columns = [str(name).strip() for name in table.columns]
    if not len(table):
        msg = f"{file}: holds no row. Pass a table with one row per image."
        raise ManifestError(msg)
    repeated = table.columns[table.columns.duplicated()]
    if len(repeated):
        msg = f"{file}: the column {repeated[0]!r} stands there twice. Rename one."
        raise ManifestError(msg)
    for name in table.columns:
        table[name] = table[name].str.strip()
    return table


def _ids(raw: pd.DataFrame, file: Path, notes: list[str]) -> pd.Series[Any]:
    """Unique names of the images."""
    name = next((name for name in IDS if name in raw.columns), None)
    if name is None:
        notes.append("The table names no images (no column id), so its rows are numbered.")
        return pd.Series([f"row {i + 1}" for i in range(len(raw))])
    values = raw[name]
    repeated = values[values.duplicated()]
    if len(repeated):
        msg = (
            f"{file}: {len(repeated):,} values of {name!r} repeat (first: {repeated.iloc[0]!r}). "
            "Each image must count once. Keep one row per image; images of one patient are told "
            "by the column group."
        )
        raise ManifestError(msg)
    return values


def _scores(
    raw: pd.DataFrame, label: pd.Series[Any], file: Path, notes: list[str]
) -> tuple[list[str], NDArray[np.float64]]:
    """Class names and scores (N, K); NaN where a cell is empty or no number."""
    names = [name for name in raw.columns if name.startswith("score_") and name != "score_"]
    alone = [name for name in ("score", *names) if name in raw.columns]
    if not alone:
        msg = (
            f"{file}: has no column of scores (score_<class> for each class, or score for the "
            f"positive one; it has: {', '.join(raw.columns[:12])}). Rename the columns."
        )
        raise ManifestError(msg)
    columns = names if len(names) > 1 else alone[-1:]
    values = raw[columns].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    n_words = int(((raw[columns] != "").to_numpy() & ~np.isfinite(values)).any(axis=1).sum())
    if n_words:
        notes.append(f"{n_words:,} rows have a score that is no number; they count as failed.")
    odd = np.isfinite(values) & ((values < 0) | (values > 1))
    if odd.any():
        row = int(np.flatnonzero(odd.any(axis=1))[0])
        msg = (
            f"{file}: {int(odd.any(axis=1).sum()):,} rows have a score outside [0, 1] (first: row "
            f"{row + 1}). Calibration, thresholds and costs need probabilities. Pass the outputs "
            "after softmax or sigmoid, not logits."
        )
        raise ManifestError(msg)
    if len(columns) > 1:
        return [name.removeprefix("score_") for name in columns], values
    known = sorted(set(label) - {""}, key=class_key)
    named = columns[0].removeprefix("score_") if columns[0] != "score" else None
    if named is None:
        if len(known) != 2:
            msg = (
                f"{file}: has a single column of scores but {len(known)} classes "
                f"({', '.join(known[:6])}). Pass score_<class> for each class."
            )
            raise ManifestError(msg)
        named = known[1]
        notes.append(f"The column score is taken for the score of {named!r}, the positive class.")
    others = [name for name in known if name != named]
    if len(others) > 1:
        msg = (
            f"{file}: has scores of {named!r} alone but labels of {len(known)} classes "
            f"({', '.join(known[:6])}). Pass score_<class> for each class."
        )
        raise ManifestError(msg)
    return [*(others or [f"not {named}"]), named], np.column_stack([1 - values, values])


def _task(
    classes: Sequence[str],
    kind: str | None,
    positive: Sequence[str],
    app: App | None,
    scores: NDArray[np.float64],
    file: Path,
    notes: list[str],
) -> Task:
    """What was predicted: the app's task of these classes, or one made from the columns."""
    known = {"binary", "multiclass", "ordinal", "multilabel"}
    unknown = [name for name in positive if name not in classes]
    if unknown:
        msg = f"--positive {unknown[0]}: is no class of {file} ({', '.join(classes[:8])})."
        raise ConfigError(msg)
    named = [t for t in (app.tasks if app else ()) if t.name == kind]
    fitting = [t for t in (app.tasks if app else ()) if set(t.classes) == set(classes)]
    if named or (fitting and kind is None):
        task = (named or fitting)[0].with_classes(sorted(classes, key=class_key))
        return replace(task, positive=tuple(positive) or task.positive)
    if kind is not None and kind not in known:
        msg = f"--task {kind}: is no kind. Choose {', '.join(sorted(known))}."
        raise ConfigError(msg)
    ordered = tuple(sorted(classes, key=class_key)) if _all_numbers(classes) else tuple(classes)
    if kind is None:
        kind = "binary" if len(classes) == 2 else "multiclass"
        sums = scores[np.isfinite(scores).all(axis=1)].sum(axis=1)
        if len(sums) and np.median(np.abs(sums - 1)) > ROUNDED:
            kind = "multilabel"
            notes.append(
                "The scores of a row do not add up to 1, so the classes are taken not to exclude "
                "one another (--task multilabel)."
            )
    if kind == "binary" and len(classes) != 2:
        msg = f"--task binary: {file} has {len(classes)} classes. Choose multiclass or ordinal."
        raise ConfigError(msg)
    if kind == "binary" and len(positive) == 1:
        ordered = (*(name for name in ordered if name != positive[0]), positive[0])
    return Task(name="prediction", kind=kind, classes=ordered, positive=tuple(positive))  # type: ignore[arg-type]


def _all_numbers(classes: Sequence[str]) -> bool:
    """Whether every class is a number, so that they have an order of their own."""
    return all(class_key(name)[0] == 0 for name in classes)


def _summed_to_one(
    scores: NDArray[np.float64], file: Path, notes: list[str]
) -> NDArray[np.float64]:
    """Scores whose rows add up to 1 exactly."""
    sums = scores.sum(axis=1, keepdims=True)
    known = np.isfinite(sums[:, 0])
    away = np.abs(sums[:, 0] - 1)
    bad = known & (away > ROUNDED)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        msg = (
            f"{file}: the scores of {int(bad.sum()):,} rows do not add up to 1 (first: row "
            f"{row + 1}, {sums[row, 0]:.3g}). If the classes exclude one another, pass "
            "probabilities; if they do not, pass --task multilabel."
        )
        raise ManifestError(msg)
    if (away[known] > 1e-6).any():
        notes.append("Rounded scores are divided by their sum, so that each row adds up to 1.")
    return np.asarray(scores / np.where(known[:, None], sums, 1.0))
