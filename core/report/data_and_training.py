"""The sections that speak of what went in: cases, leakage, training, settings, provenance.

Their numbers come from the run, its audit and its manifest, not from the metrics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from core.base.tables import SPLITS
from core.blocks import Block, Table, Text
from core.cards.licence_terms import may_release, union_of_terms
from core.report import plots_data
from core.report.numbers import (
    UNDEFINED,
    count,
    estimate,
    interval,
    number,
    pick,
    quantity,
    reasons,
    sentences,
    value_words,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.app import ReportContext
    from core.report.results import Results

__all__ = [
    "case_blocks",
    "leakage_blocks",
    "provenance_blocks",
    "settings_blocks",
    "training_blocks",
]


def case_blocks(context: ReportContext, group: str) -> list[Block]:
    """The flow of cases, failures, and classes by split."""
    blocks: list[Block] = []
    boxes = []
    for step in context.evaluation.get("flow") or []:
        n, groups = step.get("n"), step.get("groups")
        detail = quantity(n, str(step.get("unit") or "image")) if n is not None else ""
        if groups is not None:
            detail += f" of {quantity(groups, group)}"
        is_aside = bool(step.get("aside"))
        boxes.append(plots_data.FlowBox(title=str(step["step"]), detail=detail, aside=is_aside))
    if boxes:
        blocks.append(plots_data.flow(boxes, title="Flow of cases."))
    counts = _class_counts(context)
    if counts is not None:
        blocks.append(
            plots_data.class_counts(
                counts, title="Images per class.", note="By split, failures left out."
            )
        )
    for key, words in (("group_rule", "Groups"), ("split_rule", "Split")):
        if context.run.get(key):
            blocks.append(Text(f"{words}: {sentences(context.run[key])}"))
    blocks.extend(_failures(context))
    return blocks


def _class_counts(context: ReportContext) -> pd.DataFrame | None:
    """Images of each class in each split, or None where no split is known."""
    table, task = context.manifest, context.task
    if table.empty or not {"label", "split", "status"} <= set(table.columns):
        return None
    if task.kind == "multilabel" or len(task.classes) > 60:
        return None
    rows = table[(table["status"] == "ok") & table["label"].isin(task.classes)]
    splits = [name for name in SPLITS if (rows["split"] == name).any()]
    if not splits:
        return None
    counts = pd.crosstab(rows["label"], rows["split"])
    counts = counts.reindex(index=list(task.classes), columns=splits, fill_value=0)
    counts.index = pd.Index([task.title(name) for name in task.classes])
    return counts


def _failures(context: ReportContext) -> list[Block]:
    """Cases without a score: how many, why, and which."""
    table = context.predictions
    if table.empty or "status" not in table:
        return []
    lost = table[table["status"] != "ok"]
    if lost.empty:
        return [Text("Every image of this split has a score; none failed and none was skipped.")]
    shown = lost.sort_values(["status", "image_id"]).head(20)
    frame = pd.DataFrame(
        {
            "File": shown["path"].astype(str),
            "What became of it": shown["status"].astype(str),
            "Why": shown["reason"].fillna("").astype(str),
        }
    )
    more = f" The first {count(len(shown))} are listed." if len(shown) < len(lost) else ""
    told = f"Without a score: {quantity(len(lost), 'image')} of this split.{more}"
    return [Table(frame, title="Failed and skipped", note=told)]


def leakage_blocks(context: ReportContext, group: str, results: Results) -> list[Block]:
    """What the audit found: groups, duplicates, labels that disagree, and shortcuts.

    Args:
        context: of the report.
        group: what a group is called.
        results: gives the headline and the balanced accuracy, to stand beside the shortcuts.
    """
    audit = context.audit
    blocks: list[Block] = []
    if context.run.get("group_rule"):
        blocks.append(
            Text(f"No {group} stands in more than one split; training refuses to start otherwise.")
        )
    elif context.run:
        blocks.append(
            Text(
                f"The data do not say which images belong to one {group}. Whether one stands in "
                "more than one split cannot be checked.",
                "warning",
            )
        )
    lines = [
        {"Check": str(check["title"]), "Verdict": str(check["verdict"]), "In words": check["words"]}
        for check in audit.get("checks") or []
        if not str(check["name"]).startswith("shortcut_")
    ]
    if lines:
        blocks.append(Table(pd.DataFrame(lines), title="The data, looked at before training"))
    blocks.extend(_without(context, results))
    blocks.extend(_shortcuts(audit, results))
    return blocks


def _without(context: ReportContext, results: Results) -> list[Block]:
    """The headline with and without the images that the audit found suspect."""
    entries = context.evaluation.get("without")
    headline = results.headline()
    if entries is None or headline is None:
        return []
    if not entries:
        words = (
            "No image judged here has a copy that was trained on, repeats or contradicts another."
        )
        return [Text(f"{words} There is nothing to leave out.")] if context.audit else []
    lines = [
        {
            "Left out": "none",
            "Images left out": count(0),
            str(headline.get("title") or headline["name"]): estimate(headline),
        }
    ]
    for entry in entries:
        row = entry.get("row")
        value = estimate(row) if row else f"{UNDEFINED}: {entry.get('reason', '')}"
        lines.append(
            {
                "Left out": f"{entry['title']} (first: {entry['first']})",
                "Images left out": count(entry["n"]),
                str(headline.get("title") or headline["name"]): value,
            }
        )
    frame = pd.DataFrame(lines)
    title = "With and without suspect images"
    return [Table(frame, title=title, numeric=tuple(frame.columns[1:]))]


def _shortcuts(audit: Mapping[str, Any], results: Results) -> list[Block]:
    """Baselines that never see the subject, beside this model."""
    lines, told = [], []
    same = pick(results.rows, name="balanced_accuracy", of="", subgroup="", unit="image")
    known = audit.get("shortcuts") or []
    if same and known:
        row = {**same[0], "percent": True}
        chance = float(known[0]["chance"])
        lines.append(
            {
                "Predicted from": "this model, on the images judged here",
                "Balanced accuracy": value_words(row),
                "95 % interval": interval(row),
                "By chance": number(chance, percent=True),
                "Images": count(row["n"]),
            }
        )
    for entry in known:
        what = _SHORTCUTS.get(str(entry["name"]), str(entry["name"]))
        told.append({"title": what, "reason": entry.get("reason")})
        lines.append(
            {
                "Predicted from": what,
                "Balanced accuracy": value_words({**entry, "percent": True}),
                "95 % interval": interval({**entry, "percent": True}),
                "By chance": number(entry["chance"], percent=True),
                "Images": count(entry["n"]),
            }
        )
    if not told:
        return []
    frame = pd.DataFrame(lines)
    headline = results.headline()
    note = (
        "How well a small forest predicts the label without the subject of the picture, on groups "
        "not seen. Far above chance, a network could do the same."
    )
    named = str((headline or {}).get("title") or "")
    beside = f"Headline of this model: {named} {estimate(headline)}." if headline else ""
    return [
        Table(
            frame,
            title="Shortcuts",
            note=" ".join(filter(None, [note, beside, reasons(told)])),
            numeric=tuple(frame.columns[1:]),
        )
    ]


# What each baseline of the audit sees, in words.
_SHORTCUTS = {
    "file": "size, bytes and format of the file",
    "colour": "mean colour of the image",
    "border": "patches along the border",
}


def training_blocks(context: ReportContext) -> list[Block]:
    """The course of the training."""
    if context.log is None or context.log.empty:
        return []
    members = context.run.get("members") or []
    kept = [m.get("best_epoch") for m in members if m.get("best_epoch")]
    note = f"Kept: epoch {', '.join(map(str, kept))}, by validation log-loss." if kept else ""
    if any(m.get("kept") == "probe" for m in members):
        note += " Where no epoch was better than frozen features, these were kept."
    return [plots_data.learning_curves(context.log, title="Learning curves.", note=note.strip())]


def settings_blocks(context: ReportContext) -> list[Block]:
    """Every resolved setting and the rule that set it."""
    if context.plan is None or context.plan.empty:
        return []
    frame = context.plan.rename(columns=lambda name: str(name).capitalize()).astype(str)
    return [Table(frame)]


def provenance_blocks(context: ReportContext) -> list[Block]:
    """What made these numbers: versions, hashes, seed."""
    run, about = context.run, context.evaluation.get("about") or {}
    start, terms = run.get("start") or {}, run.get("terms") or []
    lines: dict[str, object] = {
        "Model": run.get("model_id") or about.get("model_id"),
        "Trained": run.get("made"),
        "App": run.get("app") or (context.app.name if context.app else None),
        "Task": f"{context.task.name} ({context.task.kind}): {', '.join(context.task.classes)}",
        "Data cards": ", ".join(map(str, run.get("cards") or [])),
        "Licences of the data": "; ".join(union_of_terms(terms)["licences"]),
        "Conditions of the data": ", ".join(union_of_terms(terms)["conditions"]),
        "May the weights be released": may_release(terms),
        "Data, sha256": run.get("data_sha256"),
        "Table of predictions": run.get("predictions"),
        "Its sha256": run.get("predictions_sha256"),
        "Starting weights": start.get("source"),
        "Their sha256": start.get("sha256"),
        "Their licence": start.get("licence"),
        "Temperature": None if run.get("temperature") is None else number(run["temperature"]),
        "Vector scaling": _vector_words(run.get("vector_scaling")),
        "Seed": about.get("seed", run.get("seed")),
        "Bootstrap resamples": about.get("resamples"),
    }
    for i, member in enumerate(run.get("members") or []):
        network, prepared = member.get("network") or {}, member.get("preparation") or {}
        size = " × ".join(str(side) for side in prepared.get("size_px") or [])  # noqa: RUF001  (times)
        name = "Network" if i == 0 else f"Network {i + 1}"
        lines[name] = ", ".join(
            filter(None, [str(network.get("backbone") or ""), size and f"{size} px"])
        )
    for package, version in (run.get("versions") or {}).items():
        lines[f"Version of {package}"] = version
    shown = [(key, str(value)) for key, value in lines.items() if value not in (None, "")]
    return [Table(pd.DataFrame(shown, columns=["What", "Value"]))]


def _vector_words(found: Mapping[str, Any] | None) -> str:
    """Whether each class has a factor and a shift of its own, and what that gained."""
    if not found:
        return ""
    losses = (
        f"log-loss {number(found['log_loss_vector'])}, with a temperature alone "
        f"{number(found['log_loss_temperature'])}"
    )
    kept = "kept" if found["kept"] else "not kept"
    return f"{kept}; on validation rows not fitted on, {losses}, {count(found['n'])} rows"
