"""Judge what a training held out, and write its numbers and its page into the run."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from core.base.volumes import visible
from core.data.prepared import resize_to
from core.model.saliency import saliency_map
from core.runs.predictions import final_split
from core.runs.results import Look, write_evaluation
from core.runs.run import task_to_dict, units_of_run
from core.runs.run_metrics import BASELINE, against_probe, compute_metrics, judge
from core.runs.table_files import read_json, write_table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from core.app import Task
    from core.data.prepared import Prepared
    from core.model.network import Network

__all__ = ["report_run"]


def report_run(
    out: Path,
    *,
    predictions: pd.DataFrame,
    probe: pd.DataFrame,
    probe_task: Task,
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
        probe_task: the task with the cuts of the probe.
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
    audit = read_json(out / "audit.json")
    evaluation, context = judge(run, judged, split, manifest=manifest, audit=audit)
    known = judged["image_id"][judged["split"] == split]
    beside = probe[probe["image_id"].isin(known)].reset_index(drop=True)
    of_probe = {**run, "temperature": 1.0, "task": task_to_dict(probe_task)}
    # Learned weights of images were fitted to the embeddings of this model alone.
    has_units = all(unit.rule != "attention" for unit in units_of_run(run))
    left_out = ("subgroups",) if has_units else BASELINE
    baseline, _ = compute_metrics(beside, run=of_probe, split=split, without=left_out)
    evaluation["probe"] = baseline["metrics"]
    evaluation["against_probe"] = against_probe(
        judged, beside, run=run, split=split, probe_task=probe_task
    )
    picture, saliency = _pictures(store, network, run)
    return write_evaluation(out, replace(context, picture=picture, saliency=saliency))


def _pictures(store: Prepared, network: Network, run: Mapping[str, Any]) -> tuple[Look, Look]:
    """Functions that give the prepared picture and the saliency map of an image."""
    place = {image_id: row for row, image_id in enumerate(store.table["image_id"])}
    size = run["members"][0]["preparation"]["size_px"]
    size_px = (int(size[0]), int(size[1]))

    def pixels(image_id: str) -> NDArray[Any]:
        return resize_to(store[place[image_id]], size_px)

    def picture(image_id: str) -> NDArray[Any]:
        return visible(pixels(image_id))

    def saliency(image_id: str) -> NDArray[Any]:
        batch = torch.from_numpy(np.ascontiguousarray(pixels(image_id).transpose(2, 0, 1)))[None]
        return saliency_map(network, batch, class_index=None, target_layer=network.last_stage)

    return picture, saliency
