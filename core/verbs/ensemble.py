"""``resight ensemble``: several runs as one, whose scores are averaged.

The runs must answer the same question about the same data with the same split, or
be cross-validated on the same images: then their validation (or out-of-fold) rows
are those of all, the temperature and the operating points of the ensemble are
fitted on them, and its test rows were seen by none. Backbones, sizes and settings
may differ. Weights are copied, so that the ensemble stands alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.base.jobs import Job, open_output
from core.base.outputs import is_complete, sha256_file, write_json
from core.base.tables import logits_in
from core.base.versions import versions
from core.cards.licence_terms import joined_terms
from core.data.input_files import require_apart
from core.errors import ConfigError, LeakageError
from core.evaluation.threshold_choice import choose_points
from core.evaluation.units import left_out_of
from core.runs.predictions import Scoring, final_split, predictions_of
from core.runs.results import print_page, write_evaluation
from core.runs.run import copy_sealed, load_run, task_to_dict, units_of_run
from core.runs.run_metrics import BASELINE, compute_metrics, judge
from core.runs.table_files import read_json, read_table, write_table
from core.statistics.calibration import fit_temperature
from core.statistics.scores import encode, scores_from_logits
from core.training.grade_cuts import chosen_cuts, with_fold_cuts
from core.verbs.ensemble_choice import choose_members, gain_over, member_table, require_several
from core.verbs.run_differences import unlike

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from core.app import Task
    from core.runs.run import Run

__all__ = ["ensemble"]

# What all runs of an ensemble must have in common, and how a user calls it.
ALIKE = (
    ("app", "the app"),
    ("task", "the task and its classes"),
    ("group", "the group"),
    ("units", "the units and their rules"),
    ("options", "the app's options"),
)


def ensemble(run_paths: Sequence[Path], out: Path, *, greedy: bool = False) -> dict[str, Any]:
    """Join runs into one that averages them, and report on it.

    Args:
        run_paths: two or more complete runs.
        out: the new run.
        greedy: keep only runs that lower the log-loss of the average on validation rows.

    Returns:
        ``out``, ``run`` (the content of ``run.json``), ``metrics``, ``members`` (one row per run
        with the ``gain`` of the average over it, paired, and one for the average) and ``gain``
        (over the run that is best on validation).

    Raises:
        ConfigError: the runs differ in what they answer, one is named twice, or no second
            run is worth averaging.
        LeakageError: an image that one run was judged on trained another.
    """
    require_apart(out, run_paths)
    runs = [load_run(path) for path in run_paths]
    _check_alike(runs)
    tables = [read_table(run.path / "predictions") for run in runs]
    _check_splits(runs, tables)
    choice = choose_members(runs, tables, greedy=greedy)
    if greedy:
        require_several(choice, runs)
    kept = choice.order[: choice.kept] if greedy else range(len(runs))
    chosen = [runs[i] for i in kept]
    job = Job("ensemble", {"ensemble_of": [run.model_id for run in chosen]})
    with open_output(out, job) as is_made:
        if is_made:
            run, metrics = (read_json(out / name) for name in ("run.json", "metrics.json"))
            made: dict[str, Any] = {"out": str(out), "run": run, "metrics": metrics}
        else:
            made = _join(chosen, [tables[i] for i in kept], out)
    made["members"] = member_table(runs, choice, list(kept), made["metrics"])
    gains = [gain_over(run.path, out) for run in runs]
    for row, gain in zip(made["members"], gains, strict=False):
        row["gain"] = gain
    # The best on validation is chosen without the cases that are judged.
    best = choice.order[0]
    made["gain"] = {**gains[best], "run": str(runs[best].path)}
    return made


def _join(runs: Sequence[Run], tables: Sequence[pd.DataFrame], out: Path) -> dict[str, Any]:
    """Write the ensemble, inside the claimed directory."""
    first = runs[0]
    rows, logits, distance = _combined(runs, tables)
    heat, temperature = _temperatures(rows, logits, first)
    task = _with_cuts(rows, logits, heat, first)
    entries = _copy_members(runs, out)
    digest = hashlib.sha256("".join(run.model_id for run in runs).encode())
    scoring = Scoring(
        app=first.app,
        task=task,
        link=first.link,
        temperature=heat,
        unfamiliar_above=float(np.median([r.content["unfamiliar_above"] for r in runs])),
        model_id=digest.hexdigest()[:12],
    )
    predictions = predictions_of(rows, logits, distance, scoring)
    content: dict[str, Any] = {
        **first.content,
        "task": task_to_dict(task),
        "members": entries,
        "ensemble_of": [run.model_id for run in runs],
        "cards": list(dict.fromkeys(c for run in runs for c in run.content.get("cards") or [])),
        "terms": joined_terms(*(run.content.get("terms") or [] for run in runs)),
        "licences": {
            f"weights of run {run.model_id}": (run.content.get("start") or {}).get("licence")
            for run in runs[1:]
        },
        "temperature": temperature,
        # Of the first run alone; the averages of all are judged at temperatures of their own.
        "average": None,
        "operating_point": None,
        "operating_points": choose_points(
            predictions,
            task=task,
            targets=first.app.targets,
            units=units_of_run(first.content),
            metrics=first.app.metrics_for(task),
        ),
        "unfamiliar_above": scoring.unfamiliar_above,
        "versions": versions(),
        "model_id": scoring.model_id,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(out / "run.json", content)
    for name in ("manifest.parquet", "audit.json"):
        if (first.path / name).is_file():
            copy_sealed(first.path, name, out / name)
    write_table(out / "predictions", predictions)
    evaluation = _report(runs, tables, predictions, content, out)
    print_page(out, pdf=False)
    return {"out": str(out), "run": content, "metrics": evaluation}


def _report(
    runs: Sequence[Run],
    tables: Sequence[pd.DataFrame],
    predictions: pd.DataFrame,
    content: dict[str, Any],
    out: Path,
) -> dict[str, Any]:
    """The numbers of the ensemble and, beside them, of each run on the same images."""
    split = final_split(predictions)
    about: dict[str, Any] = {"manifest": pd.DataFrame()}
    if (out / "manifest.parquet").is_file():
        about["manifest"] = read_table(out / "manifest")
        about["audit"] = read_json(out / "audit.json")
    evaluation, context = judge(content, predictions, split, **about)
    evaluation["members"] = []
    for run, table in zip(runs, tables, strict=True):
        same = table[table["image_id"].isin(context.predictions["image_id"])]
        found, _ = compute_metrics(same, run=run.content, split=split, without=BASELINE)
        backbones = dict.fromkeys(str(m.network["backbone"]) for m in run.members)
        title = f"{', '.join(backbones)} ({run.model_id})"
        evaluation["members"].append({"title": title, "metrics": found["metrics"]})
    return write_evaluation(out, context)


def _check_alike(runs: Sequence[Run]) -> None:
    """Refuse runs that cannot be averaged."""
    if len(runs) < 2:
        msg = "An ensemble needs at least two runs. Name them one after the other."
        raise ConfigError(msg)
    ids = [run.model_id for run in runs]
    if len(set(ids)) < len(ids):
        msg = f"The same weights ({ids[0]}) are named twice. Name different runs."
        raise ConfigError(msg)
    first = runs[0]
    for run in runs:
        if not is_complete(run.path):
            msg = f"{run.path}: is not complete. Train it to the end first."
            raise ConfigError(msg)
        for key, words in ALIKE:
            one, other = (_asked(each.content.get(key)) for each in (run, first))
            if one != other:
                msg = (
                    f"{run.path} and {first.path} differ in {words}: {unlike(one, other)}. "
                    "Only runs that answer the same question can be averaged."
                )
                raise ConfigError(msg)
        if run.link != first.link:
            msg = (
                f"{run.path} has a head of another kind ({run.link}) than {first.path} "
                f"({first.link}), so their outputs cannot be averaged. Train both with one --head."
            )
            raise ConfigError(msg)


def _asked(value: Any) -> Any:
    """A part of ``run.json`` without what was fitted: the cuts of a task are fitted anew."""
    return {k: v for k, v in value.items() if "cuts" not in k} if isinstance(value, dict) else value


def _check_splits(runs: Sequence[Run], tables: Sequence[pd.DataFrame]) -> None:
    """Refuse runs whose held-out images are not held out from all of them."""
    first, base = runs[0], tables[0]
    wanted = _held(base)
    for run, table in zip(runs[1:], tables[1:], strict=True):
        held = _held(table)
        differing = sorted(
            name for name in wanted.keys() | held.keys() if wanted.get(name) != held.get(name)
        )
        if differing:
            name = differing[0]
            msg = (
                f"{run.path} and {first.path} were not split alike: {len(differing):,} images "
                f"differ (first: {name}, {wanted.get(name) or 'trained on'} in one and "
                f"{held.get(name) or 'trained on'} in the other). The ensemble would be judged on "
                "images that one of them was trained on. Train all on the same data with the same "
                "--seed, --val and --test, or all with --folds."
            )
            raise LeakageError(msg)


def _held(table: pd.DataFrame) -> dict[str, str]:
    """Image -> the split it was held out in."""
    rows = table[table["split"].isin(["val", "test", "out-of-fold"])]
    return dict(zip(rows["image_id"], rows["split"], strict=True))


def _combined(
    runs: Sequence[Run], tables: Sequence[pd.DataFrame]
) -> tuple[pd.DataFrame, NDArray[np.float64], NDArray[np.float64]]:
    """Rows of the first run, with averaged logits and distances; NaN where any run has none."""
    rows = tables[0].copy()
    logits, distances = [], []
    for run, table in zip(runs, tables, strict=True):
        place = table.set_index("image_id").reindex(rows["image_id"])
        columns = logits_in(table)
        logits.append(place[columns].to_numpy(dtype=np.float64) / run.temperature)
        distances.append(place["embedding_distance"].to_numpy(dtype=np.float64))
        failed = (place["status"] == "failed").to_numpy() & (rows["status"] == "ok").to_numpy()
        rows.loc[failed, "reason"] = place["reason"].to_numpy()[failed]
        rows.loc[failed, "status"] = "failed"
    return rows, np.mean(logits, axis=0), np.mean(distances, axis=0)


def _basis(rows: pd.DataFrame, logits: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Rows that may be fitted on: validation, or out-of-fold."""
    split = rows["split"].fillna("").to_numpy().astype(str)
    name = "out-of-fold" if (split == "out-of-fold").any() else "val"
    return np.asarray((split == name) & np.isfinite(logits).all(axis=1))


def _temperatures(
    rows: pd.DataFrame, logits: NDArray[np.float64], first: Run
) -> tuple[NDArray[np.float64], float]:
    """The temperature of each row, and that of the ensemble.

    Fitted on validation rows; of a cross-validation on out-of-fold rows, each judged at
    the temperature that the other folds alone give.
    """
    basis = _basis(rows, logits)
    y = encode(list(rows.loc[basis, "label"].astype(str)), first.task)
    z = logits[basis]
    temperature = fit_temperature(z, y, link=first.link)
    heat = np.full(len(rows), temperature)
    fold = rows["fold"].fillna("").to_numpy().astype(str)[basis] if "fold" in rows else None
    if fold is not None and len(set(fold.tolist()) - {""}) > 1:
        own = np.full(len(z), temperature)
        for name in sorted(set(fold.tolist())):
            others = fold != name
            own[~others] = fit_temperature(z[others], y[others], link=first.link)
        heat[basis] = own
    return heat, temperature


def _with_cuts(
    rows: pd.DataFrame, logits: NDArray[np.float64], heat: NDArray[np.float64], first: Run
) -> Task:
    """The task, its cuts fitted on the averaged scores where the runs decide by cuts.

    Rows of a fold are judged at the cuts that the other folds alone give.
    """
    task = replace(first.task, fold_cuts={})
    if not task.cuts:
        return task
    basis = _basis(rows, logits)
    y = encode(list(rows.loc[basis, "label"].astype(str)), task)
    z, own = logits[basis], heat[basis]
    scores = scores_from_logits(z / own[:, None], link=first.link)
    task = replace(task, cuts=chosen_cuts(scores, y, task=task))
    fold = left_out_of(rows)[basis]
    names = sorted(set(fold.tolist()) - {""})
    if len(names) < 2:
        return task
    folds = {name: np.flatnonzero(fold == name) for name in names}
    return with_fold_cuts(task, z, y, folds=folds, heat=own, link=first.link)


def _copy_members(runs: Sequence[Run], out: Path) -> list[dict[str, Any]]:
    """Copy the weights; every run has the same share, divided among its own members."""
    entries: list[dict[str, Any]] = []
    for run in runs:
        total = sum(member.weight for member in run.members)
        for member, entry in zip(run.members, run.content["members"], strict=True):
            name = f"member-{len(entries)}.safetensors"
            copy_sealed(run.path, member.weights, out / name)
            entries.append(
                {
                    **entry,
                    "weights": name,
                    "sha256": sha256_file(out / name),
                    "temperature": member.temperature * run.temperature,
                    "weight": member.weight / total,
                    "of_run": run.model_id,
                }
            )
    return entries
