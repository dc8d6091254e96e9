"""Recompute metrics of one split of a run, as its ``run.json`` defines them.

Thresholds, temperature and units are those stored in the run; nothing is chosen here.
A training, an evaluation and an ensemble all compute their numbers through this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.app import ReportContext, find_app
from core.errors import MetricError
from core.evaluation.cases import Level
from core.evaluation.differences import verdict_of
from core.evaluation.labelled_rows import cases_of, groups_of, judged_rows
from core.evaluation.metric_specs import specs_of
from core.evaluation.paired import compare_levels, hold_family
from core.evaluation.paired_decisions import PairedCases
from core.evaluation.summary import DEFAULT_HEADLINES, EvaluationPlan, summarise
from core.evaluation.threshold_choice import choose_points, headline_unit
from core.evaluation.units import decisions_by_unit
from core.runs.run import task_from_dict, units_of_run
from core.statistics.resampling import Draws

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import pandas as pd

    from core.app import Task

__all__ = [
    "BASELINE",
    "against_probe",
    "compute_metrics",
    "draws_of",
    "judge",
]


# What a baseline beside the headline goes without.
BASELINE = ("units", "subgroups")


def compute_metrics(
    predictions: pd.DataFrame,
    *,
    run: Mapping[str, Any],
    split: str,
    prevalence: float | None = None,
    design: str | None = None,
    explore: Sequence[str] = (),
    resamples: int = 2000,
    without: Collection[str] = (),
) -> tuple[dict[str, Any], dict[str, pd.DataFrame]]:
    """Metrics and decisions of one split.

    Args:
        predictions: rows of any split; only those of ``split`` are counted, and
            rows that failed before they could be given one.
        run: the content of ``run.json``.
        split: whose rows are judged.
        prevalence: see ``evaluate``.
        design: see ``core.evaluation.summary.summarise``; None takes that of the run's data,
            for its own held-out rows, and that of the app for any other.
        explore: targets of operating points chosen on the judged rows, and marked so.
        resamples: of the bootstrap.
        without: what to leave out: ``units``, ``subgroups``, ``operating points``.
    """
    app = find_app(run["app"])
    task = task_from_dict(run["task"])
    rows = predictions[predictions["split"].fillna("") == split].reset_index(drop=True)
    units = units_of_run(run)
    about: dict[str, Any] = {"task": task, "metrics": app.metrics_for(task)}
    about["prevalence"] = prevalence
    points = list(run["operating_points"])
    if explore:
        points += choose_points(rows, targets=explore, units=units, exploratory=split, **about)
    plan = EvaluationPlan(
        units=[] if "units" in without else units,
        subgroups=[
            name for name in app.subgroups if name in rows.columns and "subgroups" not in without
        ],
        split=split,
        operating_points=[] if "operating points" in without else points,
        temperature=float(run["temperature"]),
        link=run["members"][0]["network"]["link"],
        seed=int(run["seed"]),
        group_word=run["group"],
        design=design or (app.design if split == "new data" else run.get("design", app.design)),
        resamples=resamples,
        **about,
    )
    content, decisions = summarise(rows, plan)
    content["about"] |= _about_temperature(run, split)
    content["cautions"] += [*_of_average(run, split), *_of_cuts(task, split)]
    return content, decisions


def judge(
    run: Mapping[str, Any],
    predictions: pd.DataFrame,
    split: str,
    *,
    manifest: pd.DataFrame,
    audit: Mapping[str, Any] | None = None,
    **how: Any,
) -> tuple[dict[str, Any], ReportContext]:
    """The numbers of one split, to which more may be added, and the report that shows them.

    Args:
        run: the content of ``run.json``.
        predictions: rows of any split.
        split: whose rows are judged.
        manifest: of the judged rows.
        audit: the content of ``audit.json``: the headline is then also given without the images
            that were found suspect.
        how: see ``compute_metrics``.
    """
    evaluation, decisions = compute_metrics(predictions, run=run, split=split, **how)
    if audit is not None:
        evaluation["without"] = _without_flagged(predictions, manifest, audit, run, split)
    return evaluation, ReportContext(
        app=find_app(run["app"]),
        task=task_from_dict(run["task"]),
        evaluation=evaluation,
        predictions=predictions[predictions["split"] == split].reset_index(drop=True),
        decisions=decisions,
        manifest=manifest,
        run=run,
    )


def _of_average(run: Mapping[str, Any], split: str) -> list[str]:
    """Where the temperature and the thresholds of an average of folds come from."""
    average = run.get("average")
    if not average or split != "out-of-fold":
        return []
    one, own = average["temperature_of_one"], average["temperature"]
    if own == one:
        return [
            f"The average has the temperature {own:.4g} of single networks, for only "
            f"{average['n_shared']:,} images were left out by two networks or more: its scores may "
            "be less extreme than they should be. It decides at the thresholds of single ones."
        ]
    return [
        f"The average has the temperature {own:.4g}, single networks have {one:.4g}: it was fitted "
        f"on {average['n_shared']:,} images that two networks or more had left out, and carried "
        "from two to all. Thresholds are those of single networks at this temperature; the average "
        "may find a few more cases and call fewer others than is said here."
    ]


def _about_temperature(run: Mapping[str, Any], split: str) -> dict[str, Any]:
    """Where the temperature of the judged cases was fitted; of folds, that of each."""
    average = run.get("average")
    if split == "out-of-fold":
        return {
            "temperature_from": "other folds",
            "fold_temperatures": (average or {}).get("fold_temperatures") or {},
        }
    return {"temperature_from": "out-of-fold cases" if average else "validation"}


def _of_cuts(task: Task, split: str) -> list[str]:
    """Where the cuts come from at which out-of-fold cases are judged."""
    if split != "out-of-fold" or not (task.cuts or any(task.fold_cuts.values())):
        return []
    if not task.fold_cuts:
        return [
            "The cuts between grades were chosen on these very cases, so numbers of predicted "
            "grades flatter. Train again with this version: each fold is then judged at the cuts "
            "that the other folds give."
        ]
    n, n_cuts = len(task.fold_cuts), sum(map(bool, task.fold_cuts.values()))
    which = "cuts" if n == n_cuts else f"cuts (in {n_cuts} of {n} folds) or the median"
    ships = "cuts from all cases" if task.cuts else "the median"
    return [
        f"Grades of each fold are decided by the {which} that the other folds alone gave; "
        f"what ships decides by {ships}."
    ]


def draws_of(run: Mapping[str, Any], *, resamples: int) -> Draws:
    """How groups are drawn for numbers of a run, by the seed, group and design it stored."""
    return Draws(
        resamples=resamples,
        seed=int(run["seed"]),
        word=str(run["group"]),
        within_classes=run.get("design") == "case-control",
    )


def against_probe(
    predictions: pd.DataFrame,
    probe: pd.DataFrame,
    *,
    run: Mapping[str, Any],
    split: str,
    probe_task: Task | None = None,
) -> dict[str, Any] | None:
    """The headline of this model minus that of the probe, on the same cases, paired by group.

    Args:
        predictions: of the run.
        probe: the same images scored by the probe on frozen features.
        run: the content of ``run.json``.
        split: whose rows are judged.
        probe_task: the task with the cuts of the probe; None decides it as the run.

    Returns:
        a row of ``compare_levels``, ``first`` of the probe and ``second`` of this model, with
        its verdict; None where no case has both.
    """
    app, task = find_app(run["app"]), task_from_dict(run["task"])
    metrics = app.metrics_for(task)
    # Learned weights of images were fitted to the embeddings of this model alone.
    units = [unit for unit in units_of_run(run) if unit.rule != "attention"]
    tables = [
        decisions_by_unit(
            table[table["split"].fillna("") == split].reset_index(drop=True),
            task=one,
            units=units,
            threshold=None,
        )[0]
        for table, one in ((probe, probe_task or task), (predictions, task))
    ]
    unit = headline_unit(metrics, [name for name in tables[0] if name in tables[1]])
    parts = [judged_rows(some[unit], task).set_index("unit_id", drop=False) for some in tables]
    shared = parts[0].index.intersection(parts[1].index, sort=False)
    if not len(shared):
        return None
    both = [part.loc[shared].reset_index(drop=True) for part in parts]
    draws = draws_of(run, resamples=500)
    levels = [
        Level.of(unit, cases_of(part, task), groups_of(part), task=task, draws=draws)
        for part in both
    ]
    specs = [spec for spec in specs_of(levels[0], metrics) if not spec.of and spec.kind != "count"]
    wanted = metrics[0].name if metrics else DEFAULT_HEADLINES.get(task.kind, "macro_f1")
    chosen = [spec for spec in specs if spec.name == wanted][:1]
    if not chosen:
        return None
    row = compare_levels(PairedCases(levels[0], levels[1]), chosen, headline=wanted)[0]
    hold_family([row])
    row["verdict"] = verdict_of(row, 0.95, than="than the probe")
    return {key: value for key, value in row.items() if key not in {"mcnemar", "is_tested"}}


def _without_flagged(
    predictions: pd.DataFrame,
    manifest: pd.DataFrame,
    audit: Mapping[str, Any],
    run: Mapping[str, Any],
    split: str,
) -> list[dict[str, Any]]:
    """The headline without the images that the audit found suspect, one row for each reason.

    Args:
        predictions: of the run.
        manifest: of the run, with splits.
        audit: the content of ``audit.json``; empty where there is none.
        run: the content of ``run.json``.
        split: whose rows are judged.

    Returns:
        ``what``, ``title``, ``n`` (images left out), ``first``, and ``row``: the headline of
        the others, or None where none are left.
    """
    rows = predictions[predictions["split"].fillna("") == split]
    found = []
    for what, title, ids in flagged_images(audit, manifest, set(rows["image_id"])):
        kept = rows[~rows["image_id"].isin(ids)]
        entry: dict[str, Any] = {"what": what, "title": title, "n": len(ids), "first": min(ids)}
        try:
            few: dict[str, Any] = {"resamples": 500, "without": ("subgroups", "operating points")}
            content, _ = compute_metrics(kept, run=run, split=split, **few)
            entry["row"] = content["metrics"][0]
        except MetricError as error:
            entry["row"], entry["reason"] = None, str(error)
        found.append(entry)
    return found


def flagged_images(
    audit: Mapping[str, Any], manifest: pd.DataFrame, judged: set[str]
) -> list[tuple[str, str, set[str]]]:
    """Judged images with a reason to leave them out: (name, words, image ids), if there are any."""
    split = dict(zip(manifest["image_id"], manifest["split"].fillna(""), strict=True))
    sets = [set(ids) for ids in audit.get("exact") or []]
    sets += [{pair["first"], pair["second"]} for pair in audit.get("near") or []]
    leaking: set[str] = set()
    repeated: set[str] = set()
    for ids in sets:
        inside = sorted(ids & judged)
        if any(split.get(i) in {"train", "val"} and i not in judged for i in ids):
            leaking.update(inside)
        repeated.update(inside[1:])
    conflicting = {i for entry in audit.get("conflicts") or [] for i in entry["image_ids"]}
    found = [
        ("leaking", "images with a copy among those trained or tuned on", leaking),
        ("repeated", "all but one of images that show the same thing", repeated),
        ("conflicting", "images whose copies have another label", conflicting & judged),
    ]
    everything = set().union(*(ids for _, _, ids in found))
    n_reasons = sum(bool(ids) for _, _, ids in found)
    if n_reasons > 1:
        found.append(("all", "all of these", everything))
    return [entry for entry in found if entry[2]]
