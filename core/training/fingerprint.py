"""What a training looks at first: the manifest with its splits, the audit, what rules need.

A look that was finished is kept in the run, so that a killed training goes on with
the same rows. Nothing here knows a network.
"""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.base.machine import cores, detect, threads
from core.base.outputs import write_bytes, write_json
from core.base.tables import check_manifest, check_splits
from core.cards.licence_terms import terms_of
from core.data.audit import audit, image_facts_of, joined_groups, merge_duplicates
from core.data.facts import measure_all
from core.data.input_files import absolute_rows, stamps_of
from core.data.split import draw_split
from core.data.training_data import chosen_task, index_and_cards
from core.errors import ManifestError, RunError
from core.runs.predictions import unit_columns
from core.runs.run import task_from_dict, task_to_dict
from core.runs.table_files import read_json, read_table
from core.statistics.scores import encode
from core.training.recipe import Facts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd

    from core.app import App, Manifest, Task
    from core.base.settings import Question
    from core.data.moved_copies import Embed

__all__ = [
    "INPUTS",
    "LOOKED",
    "RESUMING",
    "Fingerprint",
    "facts_of",
    "keep",
    "look",
    "named_by_app",
    "read_manifest",
    "require_same_data",
    "without_unreadable",
]

# Written last when the data were looked at.
LOOKED = "words.json"
# Size and time of change of every input, kept in the run.
INPUTS = "inputs.json"
# What only an incomplete run needs.
RESUMING = ("checkpoints", LOOKED)


class Fingerprint(BaseModel):
    """What was found in the data of a training, as a killed one finds it again.

    Attributes:
        task: as in ``run.json``, with its classes.
        class_rule, group_rule, split_rule: sentences on where these come from; may be empty.
        notes: further sentences for the user.
        cards, terms: names of the data cards, and the terms of each.
        design: of the data; see ``core.evaluation.summary.summarise``.
        group_word: what the group is called in these data, where that is not as the app says.
        facts: what the run remembers of the data; see ``core.app.Manifest``.
        settings: what the data need instead of the app's own defaults.
        root: the folder that paths of the manifest start from.
        form: channels and dtype of the prepared images.
        threads: sums of several depend on how many, so a resumed training needs as many.
        epochs: that fit the time given; None where none was given, or none measured yet.
        audit: the content of ``audit.json``, which is kept in that file.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)

    task: dict[str, Any]
    class_rule: str = ""
    group_rule: str
    split_rule: str
    notes: list[str]
    cards: list[str]
    terms: list[dict[str, Any]]
    design: str = ""
    group_word: str = ""
    facts: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
    root: str
    form: tuple[int, str]
    threads: int = Field(default_factory=threads)
    epochs: int | None = None
    audit: dict[str, Any] = Field(default_factory=dict, exclude=True)


def keep(fingerprint: Fingerprint, out: Path) -> None:
    """Keep a fingerprint in a run for a training that goes on."""
    write_json(out / LOOKED, fingerprint.model_dump())


def _kept(out: Path) -> Fingerprint:
    """The fingerprint that a killed training left.

    Raises:
        RunError: it is damaged.
    """
    try:
        return Fingerprint.model_validate(
            {**read_json(out / LOOKED), "audit": read_json(out / "audit.json")}
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        msg = (
            f"{out / LOOKED}: is damaged ({where}: {first['msg'].lower()}). Remove {out} and train "
            "again."
        )
        raise RunError(msg) from error


def named_by_app(app: App, found: Manifest) -> Manifest:
    """The manifest without the columns of a user's tables that the app does not name.

    A table of patients holds names and dates of birth; what nobody reads is not kept.
    """
    kept = {*unit_columns(app, list(found.table.columns)), *(f"{u.name}_label" for u in app.units)}
    kept |= {name for name, title in app.characteristics.items() if title}
    unnamed = [name for name in found.from_tables if name in found.table and name not in kept]
    return replace(found, table=found.table.drop(columns=unnamed)) if unnamed else found


def look(
    app: App,
    question: Question,
    options: Mapping[str, Any],
    wanted: Mapping[str, Any],
    out: Path,
    embed: Embed | None = None,
) -> tuple[pd.DataFrame, Task, Fingerprint]:
    """Manifest with splits, and what was found: new, or as a killed training left them.

    ``embed`` gives embeddings by which copies are found as well; see ``audit``.
    """
    task = chosen_task(app, question.task, question.label)
    found, cards = index_and_cards(app, question, options)
    found = named_by_app(app, found)
    check_manifest(found.table, labelled=True)
    check_splits(found.table)
    if (out / LOOKED).is_file():
        table = read_manifest(out)
        require_same_data(app, found, table, out)
        # The data may have been moved since.
        kept = _kept(out).model_copy(update={"root": str(found.root)})
        return table, task_from_dict(kept.task), kept
    labels = found.table.loc[found.table["status"] == "ok", "label"]
    task = task.with_classes(sorted(set(labels.astype(str))))
    audited = audit(found, app=app, task=task, progress=True, workers=cores(), embed=embed)
    indexed = without_unreadable(found.table, audited, task)
    folds = int(wanted.get("folds", 1))
    merged = merge_duplicates(indexed, audited)
    joined = joined_groups(indexed, merged, audited, found.group_word or app.group)
    try:
        table, sentences = draw_split(
            merged,
            task=task,
            seed=int(wanted.get("seed", 0)),
            val=float(wanted.get("val", 0.15)),
            test=float(wanted.get("test", 0.2)) if folds == 1 else 0.0,
        )
    except ManifestError as error:
        # What the message calls a group may not be what the user gave.
        msg = f"{error} {joined}".strip()
        raise ManifestError(msg) from error
    if folds > 1 and not found.split_rule:
        # Every row is judged once and trains in the other folds; no row is kept to tune only.
        table = table.assign(split=table["split"].replace("val", "train"))
        share = float(wanted.get("val", 0.15))
        sentences = (
            f"Cross-validated in {folds} folds drawn at random, stratified by class, with every "
            "group in one: each image is judged by the network that saw nothing of its fold. "
            f"{share:.0%} of the other folds chose that network's epoch.",
        )
    check_splits(table)
    fingerprint = Fingerprint(
        task=task_to_dict(task),
        class_rule=found.class_rule,
        group_rule=found.group_rule,
        split_rule=" ".join(part for part in (found.split_rule, *sentences) if part),
        notes=[*found.notes, *([joined] if joined else [])],
        cards=list(found.cards),
        terms=terms_of(cards),
        design=next((c.design for c in cards if c.design != "cohort"), app.design),
        group_word=found.group_word,
        facts=dict(found.facts),
        settings=dict(found.settings),
        root=str(found.root),
        form=_form(audited),
        audit=audited,
    )
    write_json(out / "audit.json", audited)
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    write_bytes(out / "manifest.parquet", buffer.getvalue())
    write_json(out / INPUTS, stamps_of(absolute_rows(found)))
    # Written last: with it the look at the data is finished.
    keep(fingerprint, out)
    return table, task, fingerprint


def without_unreadable(table: pd.DataFrame, audited: Mapping[str, Any], task: Task) -> pd.DataFrame:
    """The manifest in which images that cannot be read have failed, so that none is counted on.

    Raises:
        ManifestError: no image is left, or none of a class.
    """
    reasons = {entry["image_id"]: entry["reason"] for entry in audited["unreadable"]}
    if not reasons:
        return table
    ok, bad = table["status"] == "ok", table["image_id"].isin(reasons)
    first = next(iter(reasons.values()))
    if not (ok & ~bad).any():
        msg = (
            f"None of {int(ok.sum()):,} images can be read (first: {first}). Look at them with "
            "`resight check`."
        )
        raise ManifestError(msg)

    def named(rows: pd.Series[bool]) -> set[str]:
        labels = table.loc[rows, "label"].fillna("").astype(str)
        many = task.kind == "multilabel"
        parts = (label.split(task.label_separator) if many else [label] for label in labels)
        return {name for part in parts for name in part if name}

    gone = sorted(named(ok) - named(ok & ~bad))
    if gone:
        msg = (
            f"None of the images of {gone[0]!r} can be read (first: {first}), so the class cannot "
            "be learned. Look at them with `resight check`, or leave the class out."
        )
        raise ManifestError(msg)
    return table.assign(
        status=table["status"].where(~(ok & bad), "failed"),
        reason=table["reason"].where(~(ok & bad), table["image_id"].map(reasons)),
    )


def require_same_data(app: App, found: Manifest, before: pd.DataFrame, out: Path) -> None:
    """Refuse to go on with other data than the training began with.

    Files that look untouched are taken for the same. Of those copied or touched
    since, the pixels are compared with the audit's.

    Args:
        app: whose ``read`` decodes.
        found: the data now.
        before: the manifest that the run holds.
        out: the run.

    Raises:
        RunError: an image, its label or its pixels changed; the first is named.
    """
    old, new = (
        set(zip(t["image_id"], t["label"].fillna(""), strict=True)) for t in (before, found.table)
    )
    changed = {str(entry[0]) for entry in old ^ new}
    if not changed:
        changed = _other_pixels(app, found, out)
    if changed:
        msg = (
            f"{out}: the data changed since this training began ({len(changed)} differences, "
            f"first: {min(changed)}). Restore the data to resume, or choose another --out to "
            "train on it as it is."
        )
        raise RunError(msg)


def _other_pixels(app: App, found: Manifest, out: Path) -> set[str]:
    """Images whose file was changed since the audit and holds other pixels now."""
    stamps = read_json(out / INPUTS)
    rows = absolute_rows(found)
    if not stamps:
        # A run of a version that kept none.
        return set()
    now = stamps_of(rows)
    touched = {name for name, stamp in now.items() if stamps.get(name) != stamp}
    if not touched:
        return set()
    facts = image_facts_of(read_json(out / "audit.json"))
    known = dict(zip(facts["image_id"], facts["sha256"], strict=True))
    table = found.table[found.table["image_id"].isin(touched) & (found.table["status"] == "ok")]
    measured = measure_all(table, found.root, read=app.read, workers=cores(), done=lambda _: None)
    return {entry.image_id for entry in measured if entry.sha256 != known.get(entry.image_id, "")}


def read_manifest(out: Path) -> pd.DataFrame:
    """The manifest that a run holds.

    Raises:
        RunError: it is absent or damaged.
    """
    return read_table(out / "manifest")


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
        symmetry=(
            (audited["symmetry"]["name"], audited["symmetry"]["words"])
            if audited.get("symmetry")
            else None
        ),
    )


def _form(audited: Mapping[str, Any]) -> tuple[int, str]:
    """Channels and dtype of the run: those of most images; colour wins over grey."""
    facts = image_facts_of(audited)
    channels = int(facts["channels"].max())
    if channels > 3 or set(facts["channels"]) <= {1}:
        channels = int(facts["channels"].mode().iloc[0])
    return channels, str(facts["dtype"].mode().iloc[0])
