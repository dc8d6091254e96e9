"""What a training looks at first: the manifest with its splits, the audit, what rules need.

A look that was finished is kept in the run, so that a killed training goes on with
the same rows. Nothing here knows a network.
"""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.app import App, Source, Task
from core.base.machine import cores, detect, threads
from core.base.outputs import write_bytes, write_json
from core.base.tables import check_manifest, check_splits
from core.cards.licence_terms import terms_of
from core.data.audit import audit, image_facts_of, merge_duplicates
from core.data.corrections import corrected
from core.data.recognition import index_with_cards
from core.data.split import draw_split
from core.errors import RunError
from core.runs.run import task_from_dict, task_to_dict
from core.statistics.scores import encode
from core.training.recipe import Facts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.base.settings import Question

__all__ = ["LOOKED", "chosen_task", "facts_of", "look"]

# Written last when the data were looked at.
LOOKED = "words.json"


def look(
    app: App,
    question: Question,
    options: Mapping[str, Any],
    wanted: Mapping[str, Any],
    out: Path,
) -> tuple[pd.DataFrame, Task, dict[str, Any]]:
    """Manifest with splits, and the audit: new, or as a killed training left them."""
    task = chosen_task(app, question.task, question.label)
    source = Source(
        paths=(Path(question.data),),
        labelled=True,
        task=task,
        label=question.label,
        group=question.group,
        allow_outside=question.allow_outside,
        options=options,
    )
    found, cards = index_with_cards(app, source, question.card)
    if question.corrections:
        found = corrected(found, Path(question.corrections))
    check_manifest(found.table, labelled=True)
    check_splits(found.table)
    if (out / LOOKED).is_file():
        table = pd.read_parquet(out / "manifest.parquet")
        _same_data(table, found.table, out)
        words = json.loads((out / LOOKED).read_text(encoding="utf-8"))
        words["audit"] = json.loads((out / "audit.json").read_text(encoding="utf-8"))
        return table, task_from_dict(words["task"]), words
    labels = found.table.loc[found.table["status"] == "ok", "label"]
    task = task.with_classes(sorted(set(labels.astype(str))))
    audited = audit(found, app=app, task=task, progress=True, workers=cores())
    folds = int(wanted.get("folds", 1))
    table, sentences = draw_split(
        merge_duplicates(found.table, audited),
        task=task,
        seed=int(wanted.get("seed", 0)),
        val=float(wanted.get("val", 0.15)),
        test=float(wanted.get("test", 0.2)) if folds == 1 else 0.0,
    )
    if folds > 1 and not found.split_rule:
        # Every row is judged once and trains in the other folds; no row is kept to tune only.
        table = table.assign(split=table["split"].replace("val", "train"))
        share = float(wanted.get("val", 0.15))
        sentences = (
            f"Cross-validated in {folds} folds drawn by resight, stratified by class, with every "
            "group in one: each image is judged by the network that saw nothing of its fold. "
            f"{share:.0%} of the other folds chose that network's epoch.",
        )
    check_splits(table)
    words = {
        "task": task_to_dict(task),
        "class_rule": found.class_rule,
        "group_rule": found.group_rule,
        "split_rule": " ".join(part for part in (found.split_rule, *sentences) if part),
        "notes": list(found.notes),
        "cards": list(found.cards),
        "terms": terms_of(cards),
        "group_word": found.group_word,
        "facts": dict(found.facts),
        "settings": dict(found.settings),
        "root": str(found.root),
        "form": list(_form(audited)),
        # Sums of several threads depend on how many, so a resumed training needs as many.
        "threads": threads(),
    }
    write_json(out / "audit.json", audited)
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    write_bytes(out / "manifest.parquet", buffer.getvalue())
    # Written last: with it the look at the data is finished.
    write_json(out / LOOKED, words)
    return table, task, {**words, "audit": audited}


def chosen_task(app: App, name: str | None, label: str | None) -> Task:
    """The task asked for; a label column named alone keeps the kind of the first task."""
    task = app.task(name)
    if label is not None and label != task.label:
        return replace(task, label=label)
    return task


def _same_data(before: pd.DataFrame, now: pd.DataFrame, out: Path) -> None:
    """Refuse to resume on other data than the training began with."""
    old, new = (set(zip(t["image_id"], t["label"].fillna(""), strict=True)) for t in (before, now))
    if old != new:
        first = sorted(str(entry[0]) for entry in old ^ new)[0]
        msg = (
            f"{out}: the data changed since this training began ({len(old ^ new)} differences, "
            f"first: "
            f"{first}). Restore the data to resume, or choose another --out to train on it as "
            f"it is."
        )
        raise RunError(msg)


def facts_of(
    manifest: pd.DataFrame, audited: Mapping[str, Any], task: Task, wanted: Mapping[str, Any]
) -> Facts:
    """What the rules look at."""
    ok = manifest[manifest["status"] == "ok"]
    train_rows = ok[ok["split"] == "train"]
    n_train = len(train_rows)
    if int(wanted.get("folds", 1)) > 1:
        n_train = round(
            len(ok) * (1 - 1 / int(wanted["folds"])) * (1 - float(wanted.get("val", 0.15)))
        )
        train_rows = ok
    counts = np.atleast_2d(encode(list(train_rows["label"].astype(str)), task))
    per_class = (
        np.bincount(counts.ravel(), minlength=len(task.classes))
        if task.kind != "multilabel"
        else counts.sum(0)
    )
    facts = image_facts_of(audited)
    return Facts(
        n_train=n_train,
        n_classes=len(task.classes),
        rarest=int(per_class.min()),
        size_px=(int(facts["height"].median()), int(facts["width"].median())),
        machine=detect(str(wanted.get("device", "auto"))),
    )


def _form(audited: Mapping[str, Any]) -> tuple[int, str]:
    """Channels and dtype of the run: those of most images; colour wins over grey."""
    facts = image_facts_of(audited)
    channels = int(facts["channels"].max())
    if channels > 3 or set(facts["channels"]) <= {1}:
        channels = int(facts["channels"].mode().iloc[0])
    return channels, str(facts["dtype"].mode().iloc[0])
