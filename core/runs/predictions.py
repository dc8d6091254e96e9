"""The predictions table: one row per input, whatever became of it.

Built in one place for the held-out split of a run, for a new labelled folder
and for a batch of new images, so that a number means the same in all three.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.base.tables import attention_columns, logit_columns, logits_in, score_columns
from core.evaluation.threshold_choice import choose_points
from core.evaluation.units import class_names, left_out_of
from core.runs.run import task_from_dict
from core.statistics.scores import decide, scores_from_logits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from core.app import App, Task

__all__ = ["Scoring", "final_split", "points_for_run", "predictions_of", "unit_columns"]


def unit_columns(app: App, present: Sequence[str]) -> list[str]:
    """Columns of units and subgroups, and those the app allows in outputs, if present."""
    wanted = [column for unit in app.units for column in unit.columns]
    wanted += [*app.subgroups, *app.output_columns]
    return [column for column in dict.fromkeys(wanted) if column in present]


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How logits become scores and decisions.

    Attributes:
        app: names the columns that may leave the manifest.
        task: with its class order.
        link: of the head.
        temperature: one for all, or (N,) one per row.
        threshold: of the operating point in use, or None.
        unfamiliar_above: embedding distance from which an image is called unfamiliar.
        model_id: see ``core.runs.run.Run``.
    """

    app: App
    task: Task
    link: str
    temperature: float | NDArray[np.float64] = 1.0
    threshold: float | None = None
    unfamiliar_above: float
    model_id: str


def predictions_of(
    rows: pd.DataFrame,
    logits: NDArray[np.float64],
    distance: NDArray[np.float64],
    scoring: Scoring,
    attended: NDArray[np.float64] | None = None,
) -> pd.DataFrame:
    """Rows of ``core.base.tables.PREDICTIONS`` from logits.

    Args:
        rows: image_id, path, status, reason, quality and whatever else the manifest
            and the preparation know; only allow-listed columns are taken over.
        logits: (N, L); rows of NaN where there is no score.
        distance: (N,) embedding distances; NaN where there is no score.
        scoring: how logits become scores and decisions.
        attended: (N, 1 + L) attention and logits of each image, where the run learned how
            much an image of a unit counts.
    """
    keep = ["image_id", "path", "label", "group", "split", "fold"]
    app, task = scoring.app, scoring.task
    columns = [c for c in keep if c in rows.columns]
    columns += [c for c in unit_columns(app, list(rows.columns)) if c not in columns]
    columns += [c for c in app.prepared_columns if c in rows.columns and c not in columns]
    table = rows[columns].reset_index(drop=True).copy()
    scored: NDArray[np.bool_] = np.asarray(np.isfinite(logits).all(axis=1))
    table["status"] = rows["status"].to_numpy()
    table["reason"] = rows["reason"].fillna("").to_numpy()
    table["quality"] = rows["quality"].fillna("").to_numpy() if "quality" in rows else ""
    n_classes = len(task.classes)
    scores = np.full((len(rows), n_classes), np.nan)
    heat = np.broadcast_to(np.asarray(scoring.temperature, dtype=np.float64), (len(rows),))
    if scored.any():
        scores[scored] = scores_from_logits(
            logits[scored] / heat[scored, None], link=scoring.link, temperature=1.0
        )
    fold = left_out_of(rows)
    table["predicted"] = _names(scores, scored, task, None, fold)
    table["decision"] = _names(scores, scored, task, scoring.threshold, fold)
    for name, column in zip(score_columns(task.classes), scores.T, strict=True):
        table[name] = column
    for name, column in zip(logit_columns(logits.shape[1]), logits.T, strict=True):
        table[name] = column
    if attended is not None:
        names = attention_columns(attended.shape[1] - 1)
        for name, column in zip(names, attended.T, strict=True):
            table[name] = column
    table["embedding_distance"] = distance
    table["unfamiliar"] = np.where(scored, distance > scoring.unfamiliar_above, False)
    table["model_id"] = scoring.model_id
    return table


def points_for_run(
    predictions: pd.DataFrame, run: Mapping[str, Any], **choice: Any
) -> list[dict[str, Any]]:
    """Operating points of a run, on the scale of the scores that it predicts with.

    Out-of-fold rows stand in the table at the temperature that judges them. What predicts is
    the average of all networks at a temperature of its own: its thresholds are chosen on the
    same logits at that temperature. The thresholds that judge out-of-fold rows stay those of
    the table.

    Args:
        predictions: of the run, with its logits.
        run: the content of ``run.json``, its operating points aside.
        choice: of ``core.evaluation.threshold_choice.choose_points``.
    """
    task = task_from_dict(run["task"])
    judged = choose_points(predictions, task=task, **choice)
    if len(run["members"]) < 2 or not (predictions["split"] == "out-of-fold").any():
        return judged
    link = str(run["members"][0]["network"]["link"])
    logits = predictions[logits_in(predictions)].to_numpy(dtype=np.float64)
    scored = np.isfinite(logits).all(axis=1)
    table = predictions.copy()
    names = score_columns(task.classes)
    scores = table[names].to_numpy(dtype=np.float64, copy=True)
    scores[scored] = scores_from_logits(
        logits[scored], link=link, temperature=float(run["temperature"])
    )
    table[names] = scores
    shipped = choose_points(table, task=task, **choice)
    heat = (run.get("average") or {}).get("fold_temperatures") or {}
    by_fold = {
        name: [
            point["threshold"]
            for point in _without_fold(name, table, logits / float(own), link, task, choice)
        ]
        for name, own in heat.items()
    }
    return [
        {
            **point,
            **{key: own[key] for key in ("threshold", "between", "reached") if key in own},
            **_fold_thresholds(point, {name: found[i] for name, found in by_fold.items()}),
        }
        for i, (point, own) in enumerate(zip(judged, shipped, strict=True))
    ]


def _without_fold(
    name: str,
    table: pd.DataFrame,
    logits: NDArray[np.float64],
    link: str,
    task: Task,
    choice: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """The points that the other folds give, at the temperature that they gave as well.

    The temperatures that judge their own rows were fitted with the labels of this fold.
    """
    others = (left_out_of(table) != name) & np.isfinite(logits).all(axis=1)
    rows = table[others].copy()
    rows[score_columns(task.classes)] = scores_from_logits(logits[others], link=link)
    return choose_points(rows, task=task, **choice)


def _fold_thresholds(
    point: Mapping[str, Any], found: Mapping[str, float | None]
) -> dict[str, dict[str, float]]:
    """Those of each fold, where one was found."""
    own = point.get("fold_thresholds") or {}
    mended = {k: v for k, v in found.items() if k in own and v is not None}
    return {"fold_thresholds": {**own, **mended}} if own else {}


def final_split(predictions: pd.DataFrame) -> str:
    """The split a report speaks of: test, else out-of-fold, else validation."""
    present = set(predictions["split"].dropna())
    for name in ("test", "out-of-fold", "val"):
        if name in present:
            return name
    return "test"


def _names(
    scores: NDArray[np.float64],
    scored: NDArray[np.bool_],
    task: Task,
    threshold: float | None,
    fold: NDArray[np.str_],
) -> list[str]:
    """Names of what was decided; empty where there is no score."""
    names = [""] * len(scores)
    if not scored.any():
        return names
    index = decide(scores[scored], task=task, threshold=threshold, fold=fold[scored])
    named = class_names(index, np.ones(len(index), dtype=bool), task, sides=threshold is not None)
    for place, name in zip(np.flatnonzero(scored), named, strict=True):
        names[place] = str(name)
    return names
