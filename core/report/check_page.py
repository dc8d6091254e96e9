"""The page of ``resight check``: warnings first, each with its pictures, then what passed.

It shows what the audit found and decides nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from core.base.words import SHORTCUTS, percent, quantity
from core.blocks import Block, Fold, Numbers, Pictures, Table, Text
from core.report.html import render_page
from core.report.own_words import blocks_in_words, in_words
from core.report.plots_data import class_counts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from core.app import App, Manifest, Task

    Row = Mapping[str, Any]

__all__ = ["check_html"]

# Pairs shown as pictures, and rows of a table on the page; files hold all.
PICTURES, ROWS = 8, 200
SIGNS = {"warning": "! warning", "cannot be checked": "? cannot be checked", "passed": "✓ passed"}
# Which checks the pictures of copies belong to.
COPIES = {"labels", "exact", "near", "copies_across"}


def check_html(
    app: App,
    task: Task,
    manifest: Manifest,
    content: Row,
    rejected: Sequence[Row],
    *,
    side_by_side: Callable[[Sequence[str]], bytes],
) -> str:
    """The page as text.

    Args:
        app: gives title and intended use.
        task: gives the words for classes.
        manifest: what was looked at.
        content: of ``audit.json``.
        rejected: one row for each input that will not be used.
        side_by_side: two image ids -> both pictures as one JPEG.
    """
    counts = content["counts"]
    word = app.image_word(manifest.table)
    sections: list[tuple[str, Sequence[Block]]] = [
        ("", _first_screen(task, content)),
        *_warnings(task, manifest, content, side_by_side),
        ("Images", _images(task, manifest, content)),
        ("Files that are not used", _unused(rejected)),
        ("Shortcut baselines", _shortcuts(content)),
        ("All checks", [Fold(f"All {len(content['checks'])} checks", [_checks(content)])]),
    ]
    return render_page(
        in_words(f"{app.title}: {quantity(counts['ok'], 'image')} checked before training", word),
        lead=app.intended_use,
        sections=[(in_words(head, word), blocks_in_words(part, word)) for head, part in sections],
        footer=f"Made by resight check. Task {task.name}; data {manifest.root.name}.",
        glossary=True,
    )


def _first_screen(task: Task, content: Row) -> list[Block]:
    """How many of what, how many warnings, and the classes."""
    checks = content["checks"]
    warned = [c for c in checks if c["verdict"] == "warning"]
    unknown = [c for c in checks if c["verdict"] == "cannot be checked"]
    counts = content["counts"]
    if warned:
        titles = "; ".join(str(c["title"]) for c in warned)
        words = f"{quantity(len(warned), 'warning')} to look at before training. Not so: {titles}."
    else:
        words = "No check gave a warning."
    if unknown:
        message = "; ".join(str(c["title"]) for c in unknown)
        words += f" Cannot be checked: {message}."
    entries = [
        ("Images that can be used", f"{counts['ok'] - counts['unreadable']:,}", ""),
        ("Left out or unreadable", f"{counts['skipped'] + counts['unreadable']:,}", ""),
        ("Classes", str(len(content["classes"])), ""),
    ]
    figure = _class_figure(task, content)
    return [Text(words, "verdict"), Numbers(entries), *([figure] if figure else [])]


def _class_figure(task: Task, content: Row) -> Block | None:
    """Images of each class, by split where the data give one."""
    counts = pd.DataFrame(
        [{s or "images": n for s, n in row.items()} for row in content["classes"].values()],
        index=[task.title(name) for name in content["classes"]],
    )
    order = [name for name in ("images", "train", "val", "test") if name in counts]
    return class_counts(counts[order].fillna(0).astype(int)) if order else None


def _warnings(
    task: Task,
    manifest: Manifest,
    content: Row,
    side_by_side: Callable[[Sequence[str]], bytes],
) -> list[tuple[str, list[Block]]]:
    """A section for each warning, with the pictures that show it; then what cannot be checked."""
    sections: list[tuple[str, list[Block]]] = []
    pictured = False
    for check in content["checks"]:
        if check["verdict"] == "passed":
            continue
        tone = "warning" if check["verdict"] == "warning" else "plain"
        blocks: list[Block] = [Text(str(check["words"]), tone)]
        if check["name"] in COPIES and not pictured and tone == "warning":
            blocks += _copies(task, manifest, content, side_by_side)
            pictured = True
        # The title says what should hold.
        sign = "! Not so" if tone == "warning" else SIGNS[str(check["verdict"])]
        sections.append((f"{sign}: {check['title']}", blocks))
    return sections


def _copies(
    task: Task,
    manifest: Manifest,
    content: Row,
    side_by_side: Callable[[Sequence[str]], bytes],
) -> list[Block]:
    """Pairs of copies side by side, those that contradict each other first."""
    table = manifest.table.set_index("image_id")
    pairs = [(ids[0], ids[1], "equal pixels") for ids in content["exact"]]
    pairs += [(p["first"], p["second"], f"agreement {p['agreement']:.2f}") for p in content["near"]]

    def caption(image_id: str) -> str:
        row = table.loc[image_id]
        label = task.title(str(row["label"])) if row["label"] else ""
        return ", ".join(part for part in (image_id, label, row["split"]) if part)

    def rank(pair: tuple[str, str, str]) -> tuple[bool, bool]:
        first, second = table.loc[pair[0]], table.loc[pair[1]]
        return bool(first["label"] == second["label"]), bool(first["split"] == second["split"])

    pairs.sort(key=rank)
    if not pairs:
        return []
    shown = [
        (side_by_side(pair[:2]), f"{caption(pair[0])} | {caption(pair[1])} ({pair[2]})")
        for pair in pairs[:PICTURES]
    ]
    frame = pd.DataFrame(
        [(caption(a), caption(b), how) for a, b, how in pairs[:ROWS]],
        columns=["One", "The other", "How alike"],
    )
    note = f"{len(shown)} of {quantity(len(pairs), 'pair')}; labels or splits that differ first."
    return [
        Pictures("Copies side by side", shown, note=note),
        Fold(f"{quantity(len(pairs), 'pair')} by name", [Table(frame)]),
    ]


def _images(task: Task, manifest: Manifest, content: Row) -> list[Block]:
    """Groups, splits, notes; formats and sizes behind a fold."""
    sentences = [
        content.get("class_rule"),
        manifest.group_rule,
        manifest.split_rule,
        *manifest.notes,
    ]
    blocks: list[Block] = [Text(sentence) for sentence in dict.fromkeys(sentences) if sentence]
    kinds = [("Format", k, n) for k, n in content["formats"].items()]
    kinds += [("Width x height", k, n) for k, n in content["sizes"].items()]
    shown = [(kind, value, f"{n:,}") for kind, value, n in kinds]
    frame = pd.DataFrame(shown, columns=["Property", "Value", "Images"])
    note = "The twenty commonest of each."
    table = Table(frame, note=note, numeric=("Images",))
    return [*blocks, Fold("Formats and sizes", [table])]


def _unused(rejected: Sequence[Row]) -> list[Block]:
    """What was skipped and what could not be read."""
    if not rejected:
        return []
    frame = pd.DataFrame(list(rejected[:ROWS]))[["image_id", "status", "reason"]]
    frame.columns = pd.Index(["File", "Status", "Reason"])
    more = len(rejected) - len(frame)
    note = f"{more:,} more are listed in rejected.csv." if more else ""
    return [Table(frame, note=note)]


def _shortcuts(content: Row) -> list[Block]:
    """How well the label can be predicted from things beside the subject."""
    rows = [
        (
            f"{SHORTCUTS[entry['name']]} alone",
            percent(entry["value"]),
            f"{percent(entry['low'])} to {percent(entry['high'])}" if entry["value"] else "",
            percent(entry["chance"]),
            f"{entry['n']:,}",
            "! well above chance" if entry.get("is_warning") else str(entry["reason"]),
        )
        for entry in content["shortcuts"]
    ]
    columns = ["Predicted from", "Balanced accuracy", "95 % interval", "Chance", "Images", "Remark"]
    note = (
        "Random forests that see nothing else, judged on groups they were not trained on; the "
        "interval is from resampled groups. A model should do much better than these."
    )
    frame = pd.DataFrame(rows, columns=columns)
    return [Table(frame, note=note, numeric=tuple(columns[1:5]))]


def _checks(content: Row) -> Table:
    """Every check, warnings first."""
    order = {name: i for i, name in enumerate(SIGNS)}
    checks = sorted(content["checks"], key=lambda check: order[check["verdict"]])
    lines = [(SIGNS[c["verdict"]], c["title"], c["words"]) for c in checks]
    return Table(pd.DataFrame(lines, columns=["Verdict", "Check", "What was found"]))
