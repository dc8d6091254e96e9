"""The sections that speak of what went in: cases, leakage, training, settings, provenance.

Their numbers come from the run, its audit and its manifest, not from the metrics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from core.base.tables import SPLITS, as_text, count_groups
from core.base.words import SHORTCUTS
from core.blocks import Block, Fold, Table, Text
from core.cards.licence_terms import may_release, union_of_terms
from core.report import plots_data
from core.report.numbers import (
    UNDEFINED,
    Footnotes,
    count,
    estimate,
    interval,
    number,
    pick,
    quantity,
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
    "model_blocks",
    "provenance_blocks",
    "settings_blocks",
]


def case_blocks(context: ReportContext, group: str) -> list[Block]:
    """The flow of cases, failures, and classes by split."""
    blocks: list[Block] = []
    boxes = _whole(context, group)
    steps = list(context.evaluation.get("flow") or [])
    if len(steps) > 1 and {**steps[0], "step": ""} == {**steps[1], "step": ""}:
        # Every image given was evaluated: said once.
        steps = steps[1:]
    for step in steps:
        n, groups = step.get("n"), step.get("groups")
        detail = quantity(n, str(step.get("unit") or "image")) if n is not None else ""
        # A unit that is the group itself needs no second count: "24 leaves", not "of 23 leaves".
        if groups is not None and str(step.get("unit") or "image") != group:
            detail += f" of {quantity(groups, group)}"
        is_aside = bool(step.get("aside"))
        boxes.append(plots_data.FlowBox(title=str(step["step"]), detail=detail, aside=is_aside))
    if boxes:
        blocks.append(plots_data.flow(boxes, title="Flow of cases."))
    counts = _class_counts(context)
    if counts is not None:
        blocks.append(
            plots_data.class_counts(
                counts,
                title="Images per class.",
                note=f"{quantity(int(counts.to_numpy().sum()), 'image')}; failed ones left out.",
            )
        )
    is_own = str((context.evaluation.get("about") or {}).get("split")) != "new data"
    for key, words in (("group_rule", "Groups"), ("split_rule", "Split")) if is_own else ():
        if context.run.get(key):
            is_given = key == "split_rule" and "given" in str(context.run[key])
            joined = _joined(context.audit) if is_given else ""
            blocks.append(Text(f"{words}: {sentences(context.run[key])}{joined}"))
    rules = (context.evaluation.get("about") or {}).get("truth") or {}
    if rules:
        blocks.append(Text(sentences(*_merged_truths(rules))))
    blocks.extend(_failures(context))
    return blocks


def _whole(context: ReportContext, group: str) -> list[plots_data.FlowBox]:
    """All images of the data, before the flow of a held-out test."""
    table = context.manifest
    is_test = str((context.evaluation.get("about") or {}).get("split")) == "test"
    if not is_test or not {"split", "group"} <= set(table.columns):
        return []
    n_groups = count_groups(as_text(table["group"]))
    of = f" of {quantity(n_groups, group)}" if n_groups and n_groups != len(table) else ""
    detail = f"{quantity(len(table), 'image')}{of}"
    return [plots_data.FlowBox(title="Images of the data", detail=detail)]


def _merged_truths(rules: Mapping[str, Any]) -> list[str]:
    """How units come by their labels; units with one rule in one sentence.

    >>> _merged_truths({"eye": "The truth of each eye is X.", "arm": "The truth of each arm is X."})
    ['The truth of each eye and each arm is X.']
    """
    found: dict[str, list[str]] = {}
    for unit, words in rules.items():
        rest = str(words).removeprefix(f"The truth of each {unit} ")
        found.setdefault(rest, []).append(f"each {unit}")
    return [
        f"The truth of {' and '.join(units)} {rest}" if rest.startswith("is ") else rest
        for rest, units in found.items()
    ]


def _joined(audit: Mapping[str, Any]) -> str:
    """Why the groups of the splits may be fewer than those that the data name."""
    n = len(audit.get("exact") or []) + len(audit.get("near") or [])
    return " Images of the same thing count as one group, but for those of two given splits." * (
        n > 0
    )


def _class_counts(context: ReportContext) -> pd.DataFrame | None:
    """Images of each class in each split, or None where no split is known."""
    table, task = context.manifest, context.task
    if table.empty or not {"label", "split", "status"} <= set(table.columns):
        return None
    if task.kind == "multilabel" or len(task.classes) > 60:
        return None
    rows = table[(table["status"] == "ok") & table["label"].isin(task.classes)]
    splits = [name for name in (*SPLITS, "new data") if (rows["split"] == name).any()]
    if not splits:
        return None
    counts = pd.crosstab(rows["label"], rows["split"])
    counts = counts.reindex(index=list(task.classes), columns=splits, fill_value=0)
    counts.index = pd.Index([task.title(name) for name in task.classes])
    return counts.rename(columns={"train": "training", "val": "validation"})


def _failures(context: ReportContext) -> list[Block]:
    """Cases without a score: how many, why, and which."""
    table = context.predictions
    if table.empty or "status" not in table:
        return []
    lost = table[table["status"] != "ok"]
    if lost.empty:
        # The flow of cases says so.
        return []
    shown = lost.sort_values(["status", "image_id"]).head(20)
    frame = pd.DataFrame(
        {
            "File": shown["path"].astype(str),
            "What became of it": shown["status"].astype(str),
            "Why": shown["reason"].fillna("").astype(str),
        }
    )
    more = f" The first {count(len(shown))} are listed." if len(shown) < len(lost) else ""
    message = f"Without a score: {quantity(len(lost), 'image')}.{more}"
    return [
        Fold(f"Failed and skipped: {quantity(len(lost), 'image')}", [Table(frame, note=message)])
    ]


def leakage_blocks(context: ReportContext, group: str, results: Results) -> list[Block]:
    """What the audit found: groups, duplicates, labels that disagree, and shortcuts.

    Args:
        context: of the report.
        group: what a group is called.
        results: gives the headline and the balanced accuracy, to stand beside the shortcuts.
    """
    audit = context.audit
    if str((context.evaluation.get("about") or {}).get("split")) == "new data":
        # The audit is that of the training's data, and these are others.
        return []
    blocks: list[Block] = []
    if context.run.get("group_rule"):
        message = _groups_words(audit, group)
        # A split of our own making has said it above.
        if (
            "every group in one split" not in str(context.run.get("split_rule"))
            or "copies" in message
        ):
            blocks.append(Text(message))
    blocks.extend(_shortcuts(audit, results))
    lines = [
        {
            "Check": str(check["title"]),
            "Verdict": f"{_SIGNS.get(str(check['verdict']), '')} {check['verdict']}".strip(),
            "What was found": check["words"],
        }
        for check in audit.get("checks") or []
        if not str(check["name"]).startswith("shortcut_")
    ]
    if lines:
        n = sum("warning" in line["Verdict"] for line in lines)
        title = f"Checks of the data before training: {quantity(n, 'warning')} of {len(lines)}"
        blocks.append(Fold(title, [Table(pd.DataFrame(lines))]))
    blocks.extend(_without(context, results))
    return blocks


def _groups_words(audit: Mapping[str, Any], group: str) -> str:
    """That groups stay whole, and whether copies cross all the same."""
    checks = {str(check["name"]): check for check in audit.get("checks") or []}
    if (checks.get("copies_across") or {}).get("verdict") == "warning":
        return (
            f"No {group}, as the data name them, stands in more than one split; but copies do: see "
            "the caution above."
        )
    return f"No {group} stands in more than one split."


# A sign beside each verdict, so that colour is not all that tells them apart.
_SIGNS = {"passed": "✓", "warning": "!", "cannot be checked": "?"}


def _without(context: ReportContext, results: Results) -> list[Block]:
    """The headline with and without the images that the audit found suspect."""
    entries = context.evaluation.get("without")
    headline = results.headline()
    if entries is None or headline is None:
        return []
    if not entries:
        words = "No evaluated image duplicates a training image or another evaluated one."
        return [Text(words, "note")] if context.audit else []
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
    title = "The headline without suspect images"
    return [Fold(title, [Table(frame, numeric=tuple(frame.columns[1:]))])]


def _shortcuts(audit: Mapping[str, Any], results: Results) -> list[Block]:
    """Baselines that never see the subject, beside this model."""
    lines = []
    notes = Footnotes()
    same = pick(results.rows, name="balanced_accuracy", of="", subgroup="", unit="image")
    known = audit.get("shortcuts") or []
    if same and known:
        row = {**same[0], "percent": True}
        chance = float(known[0]["chance"])
        lines.append(
            {
                "The label predicted from": "this model, on the images evaluated",
                "Balanced accuracy": value_words(row),
                "95 % interval": interval(row),
                "By chance": number(chance, percent=True),
                "Images": count(row["n"]),
            }
        )
    for entry in known:
        what = f"{SHORTCUTS.get(str(entry['name']), entry['name'])} alone"
        lines.append(
            {
                "The label predicted from": what,
                "Balanced accuracy": value_words({**entry, "percent": True}) + notes.mark(entry),
                "95 % interval": interval({**entry, "percent": True}),
                "By chance": number(entry["chance"], percent=True),
                "Images": count(entry["n"]),
            }
        )
    if not known:
        return []
    frame = pd.DataFrame(lines)
    note = (
        "Random forests given only this, judged on groups they were not trained on. If one is far "
        "above chance, a network could rely on the same cue."
    )
    # The strongest stands beside the model on the first screen.
    table = Table(frame, note=note, numeric=tuple(frame.columns[1:]), marked=notes.texts)
    return [Fold("Shortcut baselines", [table])]


def model_blocks(context: ReportContext) -> list[Block]:
    """Network, starting weights, images and epochs in one table, and the course of training."""
    run = context.run
    members = run.get("members") or []
    if not members:
        return []
    start = run.get("start") or {}
    lines: list[tuple[str, str]] = []
    for i, member in enumerate(members):
        network, prepared = member.get("network") or {}, member.get("preparation") or {}
        size = " × ".join(str(side) for side in prepared.get("size_px") or [])  # noqa: RUF001  (times)
        kept = _KEPT.get(str(member.get("kept")), str(member.get("kept") or ""))
        epoch = (
            f"epoch {member['best_epoch']} by validation log-loss"
            if member.get("best_epoch")
            else ""
        )
        # Runs of version 0.1 do not say when they stopped.
        stopped = str(member.get("stopped") or "")
        parts = [
            str(network.get("backbone") or ""),
            size and f"{size} pixels",
            _VIEWS.get(str(network.get("flips") or ""), ""),
            kept,
            epoch,
            stopped and f"fine-tuning {stopped}",
        ]
        name = "Network" if len(members) == 1 else f"Network {i + 1}"
        lines.append((name, ", ".join(filter(None, parts))))
    licence = f" (licence: {start['licence']})" if start.get("licence") else ""
    lines.append(("Starting weights", f"{start.get('source') or 'unknown'}{licence}"))
    if len({text for _, text in lines[: len(members)]}) == 1 and len(members) > 1:
        lines = [(f"{len(members)} networks", lines[0][1]), lines[-1]]
    blocks: list[Block] = [Table(pd.DataFrame(lines, columns=["What", "Value"]))]
    if context.log is not None and not context.log.empty:
        blocks.append(plots_data.learning_curves(context.log, title="Learning curves."))
    return blocks


# Which mirrored views are averaged, in words.
_VIEWS = {
    "left_right": "averaged over the picture and its mirror image",
    "both": "averaged over the picture and its three mirror images",
}

# What was kept of a training, in words.
_KEPT = {
    "probe": "frozen features with a linear head (the probe)",
    "fine-tuned": "fine-tuned",
}


def settings_blocks(context: ReportContext) -> list[Block]:
    """Settings that differ from the default with their reason; all others behind a fold."""
    if context.plan is None or context.plan.empty:
        return []
    frame = context.plan.rename(columns=lambda name: str(name).capitalize()).astype(str)
    last = str(frame.columns[-1])
    usual = frame[last].str.match(_DEFAULTS)
    blocks: list[Block] = []
    if (~usual).any():
        blocks.append(
            Table(frame[~usual].reset_index(drop=True), title="Settings and their reasons")
        )
    if usual.any():
        n = int(usual.sum())
        title = f"{quantity(n, 'setting')} at the default"
        blocks.append(Fold(title, [Table(frame[usual].iloc[:, :-1].reset_index(drop=True))]))
    return blocks


# Reasons that say no more than that nobody chose, and that the data did not decide either.
_DEFAULTS = r"(?:core )?default(?: of \w+)?$"


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
        "Cite": "; ".join(str(term["citation"]) for term in terms if term.get("citation")),
        "May the weights be released": may_release(terms) if run.get("members") else None,
        "Data, sha256": run.get("data_sha256"),
        "Table of predictions": run.get("predictions"),
        "Its sha256": run.get("predictions_sha256"),
        "Starting weights": start.get("source"),
        "Their sha256": start.get("sha256"),
        "Their licence": start.get("licence"),
        "Temperature": None if run.get("temperature") is None else number(run["temperature"]),
        "Vector scaling": _vector_words(run.get("vector_scaling")),
        "Seed": about.get("seed", run.get("seed")),
        "Resamples, of numbers that need them": about.get("resamples"),
    }
    versions = (run.get("versions") or {}).items()
    lines["Versions"] = ", ".join(f"{package} {version}" for package, version in versions)
    shown = [(key, str(value)) for key, value in lines.items() if value not in (None, "")]
    return [
        Fold(
            "Provenance: versions, hashes, seed",
            [Table(pd.DataFrame(shown, columns=["What", "Value"]))],
        )
    ]


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
