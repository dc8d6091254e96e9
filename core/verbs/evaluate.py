"""``resight evaluate``: every number of a report, from a predictions table and nothing else.

The held-out split of a run and a new labelled folder go through the same lines.
Thresholds and temperature are those stored in the run; nothing is chosen here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.app import Unit, find_app
from core.base.outputs import claim, unseal
from core.errors import ConfigError, MetricError
from core.evaluation.summary import summarise
from core.evaluation.threshold_choice import explore_points
from core.runs.results import (
    Look,
    only_ours,
    print_page,
    read_json,
    read_table,
    visible,
    write_evaluation,
    write_table,
)
from core.runs.run import load_run, task_from_dict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from core.app import App, Metric, Task
    from core.data.prepared import Prepared
    from core.model.network import Network

__all__ = [
    "evaluate",
    "final_split",
    "fitting_metrics",
    "numbers",
    "report_run",
    "units_of_run",
]


def report_run(
    out: Path,
    *,
    predictions: pd.DataFrame,
    probe: pd.DataFrame,
    manifest: pd.DataFrame,
    store: Prepared,
    network: Network,
) -> dict[str, Any]:
    """Write predictions, metrics and the report of a training into its run.

    Args:
        out: the run directory; holds ``run.json``, ``plan.yaml`` and ``audit.json``.
        predictions: rows of every split; those without a score and without a
            failure (training rows) are left out.
        probe: the same rows scored by the probe on frozen features.
        manifest: with splits.
        store: prepared images, for pictures.
        network: for saliency maps.
    """
    run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    split = final_split(predictions)
    judged = predictions[
        (predictions["split"].fillna("") != "train") | (predictions["status"] != "ok")
    ]
    judged = judged.reset_index(drop=True)
    write_table(out / "predictions", judged)
    evaluation, decisions = numbers(judged, run=run, split=split)
    known = judged["image_id"][judged["split"] == split]
    beside = probe[probe["image_id"].isin(known)].reset_index(drop=True)
    baseline, _ = numbers(beside, run={**run, "temperature": 1.0}, split=split, plain=True)
    evaluation["probe"] = baseline["metrics"]
    evaluation["without"] = without_suspects(
        judged, manifest, read_json(out / "audit.json"), run, split
    )
    picture, saliency = _pictures(store, network, run)
    write_evaluation(
        out,
        evaluation,
        decisions,
        judged[judged["split"] == split].reset_index(drop=True),
        app=find_app(run["app"]),
        task=task_from_dict(run["task"]),
        run=run,
        manifest=manifest,
        picture=picture,
        saliency=saliency,
    )
    return evaluation


def evaluate(
    run_path: Path,
    data: Path | None,
    out: Path,
    *,
    label: str | None = None,
    group: str | None = None,
    card: str | None = None,
    allow_outside: bool = False,
    options: Mapping[str, Any] | None = None,
    prevalence: float | None = None,
    targets: Sequence[str] = (),
    exploratory: bool = False,
    pdf: bool = False,
) -> dict[str, Any]:
    """Report on the held-out split of a run, or on a new labelled folder.

    Args:
        run_path: a complete run.
        data: a labelled folder or table; None takes the run's own held-out predictions.
        out: directory of the report; replaced if it holds an earlier one.
        label: column of the labels, where it is not the run's own.
        group: column of the groups.
        card: data card to use; None lets the layout decide.
        allow_outside: whether a table may name files outside of its folder.
        options: the app's own.
        prevalence: of the positive classes where the model will be used, in (0, 1).
        targets: operating points to look at beside those of the run; ``exploratory`` only.
        exploratory: choose ``targets`` on the judged cases themselves, and mark the page.
        pdf: print the page to ``report.pdf`` as well.

    Returns:
        the content of ``metrics.json`` and where the files are.

    Raises:
        ResightError: the run or the data must change; or ``targets`` are given
            without ``exploratory``.
    """
    if targets and not exploratory:
        msg = (
            f"--target {targets[0]}: an evaluation never chooses a threshold on the cases it "
            "judges; the result would look better than it is. Choose it on validation cases with "
            f"`resight threshold {run_path} --target {targets[0]}`, or add --exploratory to look "
            "and have the page marked."
        )
        raise ConfigError(msg)
    run = load_run(run_path)
    with claim(out):
        only_ours(out)
        unseal(out)
        if data is None:
            predictions = read_table(run_path / "predictions")
            split = final_split(predictions)
            manifest = pd.read_parquet(run_path / "manifest.parquet")
            picture, saliency, notes = None, None, []
        else:
            from core.prediction.labelled import score_labelled  # noqa: PLC0415  (imports torch)

            scored = score_labelled(
                run,
                data,
                label=label,
                group=group,
                card=card,
                allow_outside=allow_outside,
                options=options or {},
            )
            predictions, manifest, notes = scored.predictions, scored.manifest, scored.notes
            picture, saliency = scored.picture, scored.saliency
            split = "new data"
            write_table(out / "predictions", predictions)
        evaluation, decisions = numbers(
            predictions, run=run.content, split=split, prevalence=prevalence, explore=targets
        )
        evaluation["about"]["model_id"] = run.model_id
        if data is None:
            evaluation["without"] = without_suspects(
                predictions, manifest, read_json(run_path / "audit.json"), run.content, split
            )
        else:
            from core.verbs.external_validation import compare_with_training  # noqa: PLC0415  (imports torch)

            found = compare_with_training(run, predictions, manifest, scored.root, evaluation)
            evaluation["external"] = found
            notes = [*notes, *found["notes"]]
        evaluation["cautions"] = [*notes, *evaluation.get("cautions", [])]
        write_evaluation(
            out,
            evaluation,
            decisions,
            predictions[predictions["split"] == split].reset_index(drop=True),
            app=run.app,
            task=run.task,
            run=run.content,
            manifest=manifest,
            picture=picture,
            saliency=saliency,
            beside=run_path,
        )
        print_page(out, pdf=pdf)
    return {"out": str(out), "metrics": evaluation, "n_failed": _n_failed(predictions)}


def numbers(
    predictions: pd.DataFrame,
    *,
    run: Mapping[str, Any],
    split: str,
    prevalence: float | None = None,
    plain: bool = False,
    explore: Sequence[str] = (),
    resamples: int = 2000,
    broken_down: bool = True,
) -> tuple[dict[str, Any], dict[str, pd.DataFrame]]:
    """Metrics and decisions of one split.

    Args:
        predictions: rows of any split; only those of ``split`` are counted, and
            rows that failed before they could be given one.
        run: the content of ``run.json``.
        split: whose rows are judged.
        prevalence: see ``evaluate``.
        plain: leave out subgroups and units, for a baseline beside the headline.
        explore: targets of operating points chosen on the judged rows, and marked so.
        resamples: of the bootstrap.
        broken_down: whether to give subgroups and operating points.
    """
    app = find_app(run["app"])
    task = task_from_dict(run["task"])
    rows = predictions[predictions["split"].fillna("") == split].reset_index(drop=True)
    units = units_of_run(run)
    metrics = fitting_metrics(app, task)
    points = list(run["operating_points"])
    if explore:
        points += explore_points(
            rows, task=task, targets=explore, split=split, units=units, metrics=metrics
        )
    present = [name for name in app.subgroups if name in rows.columns]
    return summarise(
        rows,
        task=task,
        metrics=metrics,
        units=[] if plain else units,
        subgroups=present if broken_down and not plain else [],
        split=split,
        operating_points=points if broken_down else [],
        temperature=float(run["temperature"]),
        link=run["members"][0]["network"]["link"],
        seed=int(run["seed"]),
        group_word=run["group"],
        prevalence=prevalence,
        resamples=200 if plain else resamples,
    )


def units_of_run(run: Mapping[str, Any]) -> list[Unit]:
    """The steps of a run, with the rules it was trained with."""
    members = run.get("members") or [{}]
    weighed = members[0].get("network", {}).get("attention", "")
    return [
        Unit(
            name=u["name"],
            columns=tuple(u["columns"]),
            rule=u["rule"],
            learned=u["name"] == weighed,
        )
        for u in run["units"]
    ]


def without_suspects(
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
    for what, title, ids in suspects(audit, manifest, set(rows["image_id"])):
        kept = rows[~rows["image_id"].isin(ids)]
        entry: dict[str, Any] = {"what": what, "title": title, "n": len(ids), "first": min(ids)}
        try:
            content, _ = numbers(kept, run=run, split=split, resamples=500, broken_down=False)
            entry["row"] = content["metrics"][0]
        except MetricError as error:
            entry["row"], entry["reason"] = None, str(error)
        found.append(entry)
    return found


def suspects(
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


def fitting_metrics(app: App, task: Task) -> list[Metric]:
    """The app's metrics that make sense for the kind of task, the task's headline first."""
    ordered = {"quadratic_kappa", "linear_kappa", "mean_absolute_error", "lins_concordance"}
    fitting = [m for m in app.metrics if task.kind == "ordinal" or m.name not in ordered]
    return sorted(fitting, key=lambda metric: metric.name != task.headline)


def final_split(predictions: pd.DataFrame) -> str:
    """The split a report speaks of: test, else out-of-fold, else validation."""
    present = set(predictions["split"].dropna())
    for name in ("test", "out-of-fold", "val"):
        if name in present:
            return name
    return "test"


def _pictures(store: Prepared, network: Network, run: Mapping[str, Any]) -> tuple[Look, Look]:
    """Functions that give the prepared picture and the saliency map of an image."""
    from core.data.loader import resize_to  # noqa: PLC0415  (imports torch)
    from core.report.saliency import saliency_map  # noqa: PLC0415

    place = {image_id: row for row, image_id in enumerate(store.table["image_id"])}
    size = run["members"][0]["preparation"]["size_px"]
    size_px = (int(size[0]), int(size[1]))

    def pixels(image_id: str) -> NDArray[Any]:
        return resize_to(store[place[image_id]], size_px)

    def picture(image_id: str) -> NDArray[Any]:
        return visible(pixels(image_id))

    def saliency(image_id: str) -> NDArray[Any]:
        import torch  # noqa: PLC0415

        batch = torch.from_numpy(np.ascontiguousarray(pixels(image_id).transpose(2, 0, 1)))[None]
        return saliency_map(network, batch, class_index=None, target_layer=network.last_stage)

    return picture, saliency


def _n_failed(predictions: pd.DataFrame) -> int:
    """Inputs without a score that were not left out on purpose."""
    return int((predictions["status"] == "failed").sum())
