"""A table of scores made elsewhere, read as a predictions table of ours.

    id (or image_id)     unique name of the image; without it rows are numbered
    label                class name; empty where unknown
    score_<class>        one column per class, probabilities; or a single ``score``
                         (or ``score_<class>``) of the positive class; ``logit_<class>``
                         and ``logit`` where there are logits only
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
from core.data.label_map import label_map, meet_classes
from core.data.manifest_tables import column_named
from core.data.raw_scores import as_scores, given_name, numbers_of, score_columns_of
from core.data.table_labels import label_texts, several_labels
from core.data.tables_in import Cells, read_cells, read_frame
from core.errors import ConfigError, ManifestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from core.app import App

__all__ = ["Foreign", "read_foreign"]

# Names of the column that tells images apart, the first found is taken.
IDS = ("image_id", "id", "image", "filename", "file", "path")
# Names of the column of the label, where none is named.
TRUTHS = ("label", "y_true", "true_label", "ground_truth", "target", "truth", "class")
# Pairs of class names whose second is the one that a score is of.
POSITIVE = (
    *(("0", "1"), ("no", "yes"), ("negative", "positive"), ("neg", "pos"), ("false", "true")),
    *(("absent", "present"), ("n", "y")),
)
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
        raw: the columns of scores as they were, where they are no probabilities: they only
            rank, and stand in ``predictions`` as shares of their ranks; else None.
    """

    predictions: pd.DataFrame
    task: Task
    notes: tuple[str, ...]
    raw: pd.DataFrame | None = None


def read_foreign(
    file: Path,
    *,
    kind: str | None = None,
    label: str | None = None,
    group: str | None = None,
    positive: Sequence[str] = (),
    app: App | None = None,
    columns: Mapping[str, str] | None = None,
) -> Foreign:
    """Read a table of predictions made elsewhere.

    Args:
        file: a table of any dialect, see ``core.data.tables_in``.
        kind: of task; None: by the classes.
        label: column of the label; None: ``label``.
        group: column of the group; None: ``group``, if there is one.
        positive: classes that together count as positive.
        app: whose task is taken where its classes are those of the table.
        columns: what the user says of the table: ``path-column``, ``id-column``,
            ``split-column``, ``label-map``, ``scores`` (``logits``, or ``auto``).

    Raises:
        ManifestError: the file cannot be read, or columns are absent or contradict each other.
        ConfigError: ``kind`` or ``positive`` does not fit the classes.
    """
    wanted = columns or {}
    cells = read_cells(file, any_row=True)
    raw = _checked(cells)
    notes = list(cells.notes)
    chosen = label_map(wanted.get("label-map"))
    truth = _truth_of(raw, label, file, notes)
    grouped = column_named(raw.columns, group or "group")
    if group and grouped is None:
        msg = f"{file}: has no column {group!r} (it has: {', '.join(raw.columns[:12])})."
        raise ManifestError(msg)
    raw[truth] = [chosen.get(name.casefold(), name) for name in label_texts(raw[truth])]
    columns_of, stem = score_columns_of(raw)
    names = [name.removeprefix(f"{stem}_") for name in columns_of]
    if kind in {None, "multilabel"} and len(names) > 1:
        raw[truth] = several_labels(list(raw[truth]), names, notes)
    split = column_named(raw.columns, wanted.get("split-column") or "split")
    table = pd.DataFrame({"image_id": _ids(raw, file, notes, wanted)})
    table["path"] = raw["path"] if "path" in raw else table["image_id"]
    table["label"] = raw[truth]
    table["group"] = raw[grouped] if grouped else ""
    table["split"] = raw[split] if split else ""
    exclude = _excludes(kind, table["label"], app)
    kind = kind or (None if exclude else "multilabel")
    given = numbers_of(raw, columns_of, file, notes)
    is_logits = stem == "logit" or wanted.get("scores") == "logits"
    values, odd = as_scores(given, notes, is_logits=is_logits, exclude=exclude)
    of = _wanted_class(positive, app, kind)
    classes, scores = _scores(names, values, table["label"], file, notes, of)
    near, words = meet_classes(
        set(table["label"]), Task(name="", kind="multiclass", classes=tuple(classes))
    )
    if near:
        table["label"] = [near.get(name, name) for name in table["label"]]
        notes.append(words)
    if kind is None and odd and len(classes) > 2:
        kind = "multiclass"
    task = _task(classes, kind, positive, app, scores, file, notes)
    if task.kind != "multilabel" and len(classes) > 1 and not odd:
        scores = _summed_to_one(scores, file, notes)
    _require_known(table["label"], classes, kind, file)
    order = [classes.index(name) for name in task.classes]
    # At once: pandas warns of a hundred columns that are added one by one.
    own = pd.DataFrame(scores[:, order], columns=score_columns(task.classes))
    table = pd.concat([table, own], axis=1)
    table["status"], table["reason"] = _status(raw, scores)
    table["quality"] = raw.get("quality", "")
    taken = {*table.columns, truth, "id", "score", *MADE_ANEW}
    others = [c for c in raw.columns if c not in taken and not c.startswith(("score_", "logit_"))]
    whole = pd.concat([table, raw[others]], axis=1)
    kept = pd.DataFrame(given, columns=[given_name(name) for name in columns_of])
    return Foreign(whole, task, tuple(notes), kept if odd else None)


def _excludes(kind: str | None, labels: pd.Series[Any], app: App | None) -> bool:
    """Whether the classes exclude one another: by the kind, or as no label names several."""
    named = next((task.kind for task in (app.tasks if app else ()) if task.name == kind), kind)
    if named is None:
        return not labels.str.contains("|", regex=False).any()
    return named != "multilabel"


def _status(
    raw: pd.DataFrame, scores: NDArray[np.float64]
) -> tuple[NDArray[np.str_], pd.Series[Any]]:
    """Status and reason of each row; one without a score failed."""
    status = raw["status"] if "status" in raw else pd.Series("", index=raw.index)
    known = status.where(status.isin(["failed", "skipped"]), "ok")
    bare: NDArray[np.bool_] = np.asarray(~np.isfinite(scores).all(axis=1))
    found = np.where((known == "ok").to_numpy() & bare, "failed", known)
    reason = raw["reason"] if "reason" in raw else pd.Series("", index=raw.index)
    silent = (found != "ok") & (reason == "")
    return found, reason.where(~silent, "the table has no score for it")


def _truth_of(raw: pd.DataFrame, label: str | None, file: Path, notes: list[str]) -> str:
    """The column of the label: the one named, or one that is called so."""
    truth = column_named(raw.columns, label) if label else column_named(raw.columns, *TRUTHS)
    if truth is None:
        msg = (
            f"{file}: has no column {label or 'label'!r} (it has: {', '.join(raw.columns[:12])}). "
            "Without labels nothing can be judged. Name the column with --label."
        )
        raise ManifestError(msg)
    if truth.casefold() != (label or "label").casefold():
        notes.append(f"The label is the column {truth}.")
    return truth


def _checked(cells: Cells) -> pd.DataFrame:
    """The table as a frame; refused where it has no rows or a column twice."""
    file = cells.file
    if not cells.rows:
        msg = f"{file}: holds no row. Pass a table with one row per image."
        raise ManifestError(msg)
    if cells.repeated:
        msg = f"{file}: the column {cells.repeated[0]!r} stands there twice. Rename one."
        raise ManifestError(msg)
    return read_frame(cells)


def _wanted_class(positive: Sequence[str], app: App | None, kind: str | None) -> str:
    """The class that a single score is of, where the user or the app's task says it."""
    if len(positive) == 1:
        return positive[0]
    for task in app.tasks if app else ():
        if kind in {None, task.name} and len(task.classes) == 2:
            return task.classes[task.positive_index[0]]
    return ""


def _require_known(
    labels: pd.Series[Any], classes: Sequence[str], kind: str | None, file: Path
) -> None:
    """Refuse labels of which none is a class of the score columns; the first are named."""
    known = set(classes)
    found = sorted(set(labels) - {""}, key=class_key)
    parts = {part for name in found for part in name.split("|")} if kind != "binary" else set(found)
    if not found or parts & known or set(found) & known:
        return
    pairs = ",".join(f"{raw}={name}" for raw, name in zip(found, classes, strict=False))
    msg = (
        f"{file}: none of its labels (first: {', '.join(found[:4])}) is a class of its columns of "
        f"scores ({', '.join(classes[:6])}). Say what they count as, such as --label-map "
        f"'{pairs}', or rename the columns of scores."
    )
    raise ManifestError(msg)


def _ids(
    raw: pd.DataFrame, file: Path, notes: list[str], wanted: Mapping[str, str]
) -> pd.Series[Any]:
    """Unique names of the images."""
    asked = wanted.get("id-column") or wanted.get("path-column")
    name = column_named(raw.columns, *([asked] if asked else IDS))
    if asked and name is None:
        msg = f"{file}: has no column {asked!r} (it has: {', '.join(raw.columns[:12])})."
        raise ManifestError(msg)
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
    names: Sequence[str],
    values: NDArray[np.float64],
    label: pd.Series[Any],
    file: Path,
    notes: list[str],
    of: str,
) -> tuple[list[str], NDArray[np.float64]]:
    """Class names and scores (N, K), from the columns of scores and what they are called."""
    if len(names) > 1:
        return list(names), values
    known = sorted(set(label) - {""}, key=class_key)
    named = names[0] if names[0] not in {"score", "logit"} else None
    if named is None:
        if len(known) != 2:
            msg = (
                f"{file}: has a single column of scores but {len(known)} classes "
                f"({', '.join(known[:6])}). Pass score_<class> for each class."
            )
            raise ManifestError(msg)
        named = _positive_of(known, of, file)
        notes.append(f"The column score is taken for the score of {named!r}, the positive class.")
    others = [name for name in known if name != named]
    if len(others) > 1:
        msg = (
            f"{file}: has scores of {named!r} alone but labels of {len(known)} classes "
            f"({', '.join(known[:6])}). Pass score_<class> for each class."
        )
        raise ManifestError(msg)
    return [*(others or [f"not {named}"]), named], np.column_stack([1 - values, values])


def _positive_of(known: Sequence[str], of: str, file: Path) -> str:
    """The class that a column called just ``score`` is of.

    Raises:
        ManifestError: nobody says it and the words of the classes do not.
    """
    lower = {name.casefold(): name for name in known}
    if of:
        if of.casefold() not in lower:
            msg = f"--positive {of}: is no class of {file} ({', '.join(known)})."
            raise ConfigError(msg)
        return lower[of.casefold()]
    pair_found = next((pair for pair in POSITIVE if set(pair) == set(lower)), None)
    if pair_found is None:
        msg = (
            f"{file}: has a single column score, and nothing says whether it is of {known[0]!r} or "
            f"of {known[1]!r}: a wrong guess turns every result upside down. Pass --positive "
            f"{known[0]} or --positive {known[1]}, or rename it score_{known[1]}."
        )
        raise ManifestError(msg)
    return lower[pair_found[1]]


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
    # Who says what is positive asks of a patient whether any image is.
    truths = {"": "positive"} if positive and kind == "multiclass" else {}
    return Task(
        name="prediction",
        kind=kind,  # type: ignore[arg-type]
        classes=ordered,
        positive=tuple(positive),
        truths=truths,  # type: ignore[arg-type]
    )


def _all_numbers(classes: Sequence[str]) -> bool:
    """Whether every class is a number, so that they have an order of their own."""
    return all(class_key(name)[0] == 0 for name in classes)


def _summed_to_one(
    scores: NDArray[np.float64], file: Path, notes: list[str]
) -> NDArray[np.float64]:
    """Scores whose rows add up to 1 exactly."""
    sums = scores.sum(axis=1, keepdims=True)
    known = np.isfinite(sums[:, 0])
    difference = np.abs(sums[:, 0] - 1)
    bad = known & (difference > ROUNDED)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        msg = (
            f"{file}: the scores of {int(bad.sum()):,} rows do not add up to 1 (first: row "
            f"{row + 1}, {sums[row, 0]:.3g}). If the classes exclude one another, pass "
            "probabilities; if they do not, pass --task multilabel."
        )
        raise ManifestError(msg)
    if (difference[known] > 1e-6).any():
        notes.append("Rounded scores are divided by their sum, so that each row adds up to 1.")
    return np.asarray(scores / np.where(known[:, None], sums, 1.0))
