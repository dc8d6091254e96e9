"""Aggregate image scores to units (eye, breast, patient) and decide about these.

One decisions table per level, ``core.base.tables.DECISIONS``. Each step takes the scores
of the level below (image to eye, eye to patient), so that two photos of one eye do
not outvote the single photo of the other. Every image is accounted for: a unit
whose every image failed stays, with empty scores.

Source of the rules: noisy-or, Pearl 1988, Probabilistic Reasoning in Intelligent
Systems, section 4.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.base.tables import NEGATIVE, POSITIVE, score_columns
from core.base.words import plural
from core.errors import AppError, ManifestError
from core.evaluation.attention_units import attended_scores
from core.evaluation.unit_truth import labels_of_units
from core.statistics.scores import decide

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from core.app import Task, Unit

__all__ = ["class_names", "combine", "decisions_by_unit", "decisions_of", "left_out_of", "text_of"]


@dataclass(frozen=True)
class _Images:
    """What is known of each image: scored or not, its group, the fold that left it out."""

    scored: NDArray[np.bool_]
    group: NDArray[np.str_]
    fold: NDArray[np.str_]
    extras: Mapping[str, NDArray[np.str_]]


def text_of(values: pd.Series[Any]) -> NDArray[np.str_]:
    """A column as text: missing values empty, whole numbers without a point.

    >>> text_of(pd.Series([1.0, None, 2.0])).tolist()
    ['1', '', '2']
    """
    if values.dtype.kind == "f":
        whole = values.dropna()
        if (whole == whole.round()).all():
            values = values.astype("Int64")
    cells = values.astype("object").where(values.notna(), "")
    return np.array([str(cell) for cell in cells], dtype=str)


def left_out_of(frame: pd.DataFrame) -> NDArray[np.str_]:
    """(N,) the fold that left each image out, of a cross-validation's own rows; else empty."""
    if not {"fold", "split"} <= set(frame.columns):
        return np.full(len(frame), "")
    own = text_of(frame["split"]) == "out-of-fold"
    return np.where(own, text_of(frame["fold"]), "")


def class_names(
    index: NDArray[np.int_], known: NDArray[np.bool_], task: Task, *, sides: bool = False
) -> NDArray[np.object_]:
    """Names of class indices (N,), or joined names of (N, K) zeros and ones; empty if unknown.

    With ``sides`` the indices are those of a threshold: of more classes than two it says on
    which side a case lies and not which class it is.
    """
    names = np.full(len(known), "", dtype=object)
    only_sides = sides and task.kind != "multilabel" and not task.is_two_way
    for row in np.flatnonzero(known):
        if only_sides:
            names[row] = POSITIVE if int(index[row]) in task.positive_index else NEGATIVE
        elif task.kind == "multilabel":
            on = [name for name, flag in zip(task.classes, index[row], strict=True) if flag]
            names[row] = task.label_separator.join(on)
        else:
            names[row] = task.classes[int(index[row])]
    return names


def decisions_by_unit(
    predictions: pd.DataFrame,
    *,
    task: Task,
    units: Sequence[Unit] = (),
    threshold: float | Mapping[str, float] | None = None,
    keep: Sequence[str] = (),
) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Decisions for images and for each unit above them.

    Args:
        predictions: see ``core.base.tables.PREDICTIONS``.
        task: with its class order.
        units: the steps, in order.
        threshold: of the operating point in use, or None; or one for each value of the kept
            column ``fold``, and under the empty name that of all other rows.
        keep: columns to carry along where they are the same for all images of a unit.

    Returns:
        unit name -> table, ``image`` first; and in words what was left out or
        assumed. The label of a unit: see ``core.evaluation.unit_truth``.

    Raises:
        ManifestError: columns are absent.
    """
    frame = _checked(predictions, task)
    notes: list[str] = []
    columns = score_columns(task.classes)
    scores = frame[columns].to_numpy(dtype=np.float64, na_value=np.nan)
    scored = (frame["status"] == "ok").to_numpy() & np.isfinite(scores).all(axis=1)
    scores = np.where(scored[:, None], scores, np.nan)
    label = text_of(frame["label"]) if "label" in frame else np.full(len(frame), "")
    group = text_of(frame["group"]) if "group" in frame else np.full(len(frame), "")
    ids = text_of(frame["image_id"])
    extras = {name: text_of(frame[name]) for name in keep if name in frame.columns}
    images = _Images(scored, group, left_out_of(frame), extras)
    every = np.arange(len(frame))
    tables = {"image": _table("image", ids, every, scores, label, images, task, threshold)}
    below, below_scores = np.arange(len(frame)), scores
    for unit in units:
        absent = [name for name in unit.columns if name not in frame.columns]
        if absent and (group != "").all() and len(set(group)) == len(group):
            # One image of each group: what would be said of a unit is said of its image.
            continue
        if absent:
            notes.append(f"No result per {unit.name}: the data have no column {', '.join(absent)}.")
            continue
        names, owner, n_bare = _units_of(frame, unit, ids)
        if n_bare:
            notes.append(
                f"{n_bare:,} of {len(frame):,} images name no {unit.name} and count as one each."
            )
        # The unit of each row of the level below, if each lies in one unit only.
        first = np.empty(len(below_scores), dtype=np.int_)
        first[below[::-1]] = owner[::-1]
        if unit.rule == "attention":
            step = attended_scores(frame, owner, len(names), task=task, scored=scored)
        elif (first[below] == owner).all():
            step = combine(below_scores, first, len(names), unit=unit, task=task)
        else:
            notes.append(
                f"Scores per {unit.name} are made from images, for some units of the step below "
                f"span several of them."
            )
            step = combine(scores, owner, len(names), unit=unit, task=task)
        own = f"{unit.name}_label"
        stated = text_of(frame[own]) if own in frame.columns else None
        unit_label, truth = labels_of_units(unit.name, label, owner, len(names), task, stated)
        # Of grades and of yes or no the worst is what everybody expects.
        if truth.n_mixed and task.kind == "multiclass":
            left = f" {truth.n_unknown:,} are left out." if truth.n_unknown else ""
            notes.append(
                f"{truth.n_mixed:,} of {truth.n:,} {plural(unit.name, truth.n)} hold images of "
                f"different classes. {truth.words}{left}"
            )
        tables[unit.name] = _table(
            unit.name, names, owner, step, unit_label, images, task, threshold
        )
        below, below_scores = owner, step
    return tables, notes


def decisions_of(
    predictions: pd.DataFrame,
    *,
    task: Task,
    units: Sequence[Unit] = (),
    threshold: float | Mapping[str, float] | None = None,
) -> dict[str, pd.DataFrame]:
    """The tables of ``decisions_by_unit`` alone."""
    return decisions_by_unit(predictions, task=task, units=units, threshold=threshold)[0]


def _checked(predictions: pd.DataFrame, task: Task) -> pd.DataFrame:
    """The table in the order of image_id, so that the order of its rows changes nothing."""
    wanted = ["image_id", "status", *score_columns(task.classes)]
    absent = [name for name in wanted if name not in predictions.columns]
    if absent:
        msg = (
            f"The predictions have no column {', '.join(absent)}. Without a status and a score of "
            "each class nothing can be counted. Add them, or pass the predictions of this task."
        )
        raise ManifestError(msg)
    repeated = predictions["image_id"].duplicated()
    if repeated.any():
        first = predictions["image_id"][repeated].iloc[0]
        msg = (
            f"{int(repeated.sum()):,} image_id(s) repeat in the predictions (first: {first!r}). "
            "Each image must count once. Remove the repeated rows."
        )
        raise ManifestError(msg)
    order = np.argsort(text_of(predictions["image_id"]), kind="stable")
    return predictions.iloc[order].reset_index(drop=True)


def _units_of(
    frame: pd.DataFrame, unit: Unit, ids: NDArray[np.str_]
) -> tuple[NDArray[np.object_], NDArray[np.int_], int]:
    """Names of the units (U,), the unit of each image (N,), and how many images name none."""
    parts = [text_of(frame[name]) for name in unit.columns]
    bare = np.any([part == "" for part in parts], axis=0)
    keys = ["/".join(cells) for cells in zip(*parts, strict=True)]
    # An image that names no unit is one of its own, told apart from every real name.
    whole = [f"\uffff{ids[i]}" if bare[i] else key for i, key in enumerate(keys)]
    values, owner = np.unique(np.array(whole, dtype=object), return_inverse=True)
    names = np.array([value.removeprefix("\uffff") for value in values], dtype=object)
    return names, owner, int(bare.sum())


def combine(
    scores: NDArray[np.float64],
    owner: NDArray[np.int_],
    n_units: int,
    *,
    unit: Unit,
    task: Task,
) -> NDArray[np.float64]:
    """Scores of units (U, K) from those of the level below (N, K); NaN where it has none.

    ``mean``: the average. ``max``: those of the one row that is worst (highest
    expected class of a binary or ordinal task, highest positive score of a
    multiclass task; each class on its own if multilabel). ``noisy_or``: a class (or
    a grade above k) is absent only if it is absent in every row.

    Args:
        scores: (N, K), rows of NaN where there is no score.
        owner: (N,) the unit of each row, in 0 .. U-1.
        n_units: U.
        unit: names the rule.
        task: with its class order.

    Raises:
        AppError: the rule has no meaning for this kind of task.

    >>> from core.app import Task, Unit
    >>> task = Task(name="t", kind="binary", classes=("no", "yes"))
    >>> scores, eye = np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 0])
    >>> for rule in ("mean", "max", "noisy_or"):
    ...     unit = Unit(name="eye", columns=("eye",), rule=rule)
    ...     print(rule, combine(scores, eye, 1, unit=unit, task=task).round(2).tolist())
    mean [[0.55, 0.45]]
    max [[0.2, 0.8]]
    noisy_or [[0.18, 0.82]]
    """
    known = np.isfinite(scores).all(axis=1)
    found = np.full((n_units, scores.shape[1]), np.nan)
    rows, of = scores[known], owner[known]
    if not len(rows):
        return found
    counts = np.bincount(of, minlength=n_units)
    filled = counts > 0
    if unit.rule == "mean":
        found[filled] = (_sums(rows, of, n_units) / np.maximum(counts, 1)[:, None])[filled]
    elif unit.rule == "max" and task.kind == "multilabel":
        np.maximum.at(found_or := np.full_like(found, -np.inf), of, rows)
        found[filled] = found_or[filled]
    elif unit.rule == "max":
        # The first of the worst rows, unit by unit.
        order = np.lexsort((np.arange(len(rows)), -_severity(rows, task), of))
        starts = order[np.r_[True, np.diff(of[order]) > 0]]
        found[of[starts]] = rows[starts]
    else:
        found[filled] = _noisy_or(rows, of, n_units, unit, task)[filled]
    return found


def _sums(rows: NDArray[np.float64], of: NDArray[np.int_], n_units: int) -> NDArray[np.float64]:
    """Sums over the rows of each unit."""
    return np.column_stack(
        [np.bincount(of, weights=column, minlength=n_units) for column in rows.T]
    )


def _severity(rows: NDArray[np.float64], task: Task) -> NDArray[np.float64]:
    """How bad a row is."""
    if task.kind in {"binary", "ordinal"}:
        return np.asarray(rows @ np.arange(rows.shape[1]))
    if task.positive:
        return np.asarray(rows[:, list(task.positive_index)].sum(axis=1))
    return np.asarray(rows.max(axis=1))


def _noisy_or(
    rows: NDArray[np.float64], of: NDArray[np.int_], n_units: int, unit: Unit, task: Task
) -> NDArray[np.float64]:
    """One minus the chance that it is absent in every row."""

    def any_of(share: NDArray[np.float64]) -> NDArray[np.float64]:
        # The floor keeps a certain row (log of 0) finite; exp brings it back to 0.
        return np.asarray(1 - np.exp(_sums(np.log(np.maximum(1 - share, 1e-300)), of, n_units)))

    if task.kind == "multilabel":
        return any_of(rows)
    if task.kind in {"binary", "ordinal"}:
        above = any_of(np.maximum(1 - np.cumsum(rows, axis=1)[:, :-1], 0.0))
        edges = np.column_stack([np.ones(n_units), above, np.zeros(n_units)])
        return np.asarray(np.clip(edges[:, :-1] - edges[:, 1:], 0.0, 1.0))
    if not task.positive:
        msg = (
            f"The unit {unit.name!r} has the rule noisy_or, but the task {task.name!r} names no "
            "positive classes, so there is nothing to be absent. Use the rule mean."
        )
        raise AppError(msg)
    positive = np.isin(np.arange(rows.shape[1]), task.positive_index)
    found = _sums(rows, of, n_units)
    present = any_of(rows[:, positive].sum(axis=1, keepdims=True))
    # Within the positive classes, and within the others, the shares are those of the mean.
    for part, total in ((positive, present), (~positive, 1 - present)):
        # Where the sum is zero, so is the total; the floor keeps the quotient finite.
        whole = found[:, part].sum(axis=1, keepdims=True)
        found[:, part] *= total / np.maximum(whole, 1e-300)
    return found


def _table(
    name: str,
    ids: NDArray[Any],
    owner: NDArray[np.int_],
    scores: NDArray[np.float64],
    label: NDArray[Any],
    images: _Images,
    task: Task,
    threshold: float | Mapping[str, float] | None,
) -> pd.DataFrame:
    """One decisions table; ``owner`` is the row of each image."""
    n, scored, extras = len(ids), images.scored, images.extras
    fold = _same(images.fold, owner, n)
    known = np.asarray(np.isfinite(scores).all(axis=1))
    shape = (n, len(task.classes)) if task.kind == "multilabel" else (n,)
    predicted, decided = np.zeros(shape, dtype=np.int_), np.zeros(shape, dtype=np.int_)
    if known.any():
        predicted[known] = decide(scores[known], task=task, fold=fold[known])
        at = threshold if threshold is None else _thresholds(threshold, extras, owner, n)[known]
        decided[known] = decide(scores[known], task=task, threshold=at, fold=fold[known])
    table = pd.DataFrame(
        {
            "unit": np.full(n, name, dtype=object),
            "unit_id": np.asarray(ids, dtype=object),
            "n_images": np.bincount(owner[scored], minlength=n).astype(np.int64),
            "n_failed": np.bincount(owner[~scored], minlength=n).astype(np.int64),
            "predicted": class_names(predicted, known, task),
            "decision": class_names(decided, known, task, sides=threshold is not None),
            "label": np.asarray(label, dtype=object),
            "group": _same(images.group, owner, n, or_first=True),
        }
    )
    for column, values in zip(score_columns(task.classes), scores.T, strict=True):
        table[column] = values
    for column, cells in extras.items():
        if column not in table.columns:
            table[column] = _same(cells, owner, n)
    return table


def _thresholds(
    threshold: float | Mapping[str, float],
    extras: Mapping[str, NDArray[np.str_]],
    owner: NDArray[np.int_],
    n: int,
) -> NDArray[np.float64]:
    """(N,) the threshold of each row."""
    if not isinstance(threshold, dict):
        return np.full(n, threshold, dtype=np.float64)
    fold = _same(extras["fold"], owner, n) if "fold" in extras else np.full(n, "")
    return np.array([threshold.get(str(name), threshold[""]) for name in fold])


def _same(
    values: NDArray[np.str_], owner: NDArray[np.int_], n_units: int, *, or_first: bool = False
) -> NDArray[np.object_]:
    """The value that all images of a unit share; else empty, or the first."""
    first = np.full(n_units, "", dtype=object)
    first[owner[::-1]] = values[::-1]
    if not or_first:
        differs = first[owner] != values.astype(object)
        first[owner[differs]] = ""
    return first
