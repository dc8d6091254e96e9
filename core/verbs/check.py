"""The verb ``check``: look at the data before anything is trained on them.

Index, audit, and a directory with ``audit.html`` to read, ``audit.json`` for
programs, and ``rejected.csv``, one row for every file that will not be used.
The data are not changed and no split is written.
"""

from __future__ import annotations

import csv
import io
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.app import Source, find_app
from core.base.options import resolve_options
from core.base.outputs import (
    MANIFEST_NAME,
    claim,
    csv_safe,
    seal,
    unseal,
    write_json,
    write_text,
)
from core.base.tables import check_manifest
from core.cards.licence_terms import terms_of
from core.data.recognition import index_with_cards
from core.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from core.app import App, Manifest, Task
    from core.blocks import Block
    from core.cards.card import Card

__all__ = ["Looked", "check", "look"]

_OURS = {"audit.json", "audit.html", "rejected.csv", MANIFEST_NAME, ".lock"}

# Pairs of copies shown as pictures, and rows of a table on the page; files hold all.
_PICTURES, _ROWS = 12, 200

# Pixels of the longer side of each picture.
_PICTURE_PX = 360


def check(
    app_name: str,
    data: Path,
    out: Path | None = None,
    *,
    task: str | None = None,
    label: str | None = None,
    group: str | None = None,
    card: str | None = None,
    allow_outside: bool = False,
    options: Mapping[str, Any] | None = None,
    progress: bool = True,
    workers: int | None = None,
) -> dict[str, Any]:
    """Audit labelled data and write what was found.

    Args:
        app_name: an installed app.
        data: a folder or a table of labelled images.
        out: where to write; ``<name of the data>-check`` in the current
            directory if it is not given. Never inside the data.
        task: a task of the app, or a kind.
        label: a label column other than the task's.
        group: a group column, ``image_id``, ``parent`` or ``name:EXPRESSION``.
        card: name of a data card, a card file, or ``none``; None lets the layout decide.
        allow_outside: whether a table may name files outside of its folder.
        options: the app's own.
        progress: whether to show a bar where there is a terminal.
        workers: threads; as many as there are cores if it is not given.

    Returns:
        The content of ``audit.json`` (see ``core.data.audit.audit``), and
        ``out``, ``n_failed``, ``notes``, ``group_rule``, ``split_rule``, ``cards``, ``terms``.

    Raises:
        ManifestError: the data cannot be used at all.
        OutputError: the output cannot be written, or is not ours to write to.
    """
    from core.data.audit import audit  # noqa: PLC0415  (scikit-learn, scipy)

    app = find_app(app_name)
    data = data.absolute()
    place = (out or Path.cwd() / f"{data.stem if data.is_file() else data.name}-check").absolute()
    _check_place(place, data)
    manifest, cards, chosen = _indexed(
        app,
        data,
        task=task,
        label=label,
        group=group,
        card=card,
        allow_outside=allow_outside,
        options=options or {},
    )
    with claim(place):
        unseal(place)
        audited = audit(
            manifest, app=app, task=chosen, progress=progress, workers=workers or _cores()
        )
        content = {
            **audited,
            "n_failed": audited["counts"]["unreadable"],
            "notes": list(manifest.notes),
            "class_rule": manifest.class_rule or class_rule(manifest, chosen),
            "group_rule": manifest.group_rule,
            "split_rule": manifest.split_rule,
            "cards": list(manifest.cards),
            "terms": terms_of(cards),
        }
        rejected = _rejected(manifest.table, audited)
        write_json(place / "audit.json", content)
        write_text(place / "rejected.csv", _csv(rejected))
        write_text(place / "audit.html", _page(app, chosen, manifest, content, rejected))
        seal(place)
    return {**content, "out": str(place)}


@dataclass(frozen=True)
class Looked:
    """What a look at a folder found, with nothing written."""

    manifest: Manifest
    audited: dict[str, Any]
    task: Task


def look(
    app: App,
    data: Path,
    *,
    task: str | None = None,
    label: str | None = None,
    group: str | None = None,
    card: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Looked:
    """Index and audit labelled data, and write nothing; arguments as for ``check``."""
    from core.data.audit import audit  # noqa: PLC0415  (scikit-learn, scipy)

    manifest, _, chosen = _indexed(
        app,
        data.absolute(),
        task=task,
        label=label,
        group=group,
        card=card,
        allow_outside=False,
        options=options or {},
    )
    audited = audit(manifest, app=app, task=chosen, progress=True, workers=_cores())
    return Looked(manifest, audited, chosen)


def _indexed(
    app: App,
    data: Path,
    *,
    task: str | None,
    label: str | None,
    group: str | None,
    card: str | None,
    allow_outside: bool,
    options: Mapping[str, Any],
) -> tuple[Manifest, tuple[Card, ...], Task]:
    """The manifest, its cards, and the task with the classes that its labels name."""
    chosen = app.task(task)
    if label is not None:
        chosen = replace(chosen, label=label)
    source = Source(
        paths=(data,),
        labelled=True,
        task=chosen,
        label=label,
        group=group,
        allow_outside=allow_outside,
        options=resolve_options(app, "check", options),
    )
    manifest, cards = index_with_cards(app, source, card)
    labels = set(manifest.table.loc[manifest.table["status"] == "ok", "label"].astype(str))
    # A public set whose table is not there has no label at all, and can still be looked at.
    has_labels = bool(labels - {""})
    check_manifest(manifest.table, labelled=has_labels)
    return manifest, cards, chosen.with_classes(sorted(labels)) if has_labels else chosen


def class_rule(manifest: Manifest, task: Task) -> str:
    """What names the classes, for a manifest that does not say it itself."""
    ok = manifest.table[manifest.table["status"] == "ok"]
    labels = sorted(set(ok["label"].astype(str)) - {""})
    if not labels:
        return "classes: no image has a label."
    by = f", as the data card {manifest.cards[0]} says" if manifest.cards else ""
    shown = ", ".join(task.title(label) for label in labels[:8])
    more = ", ..." if len(labels) > 8 else ""
    return f"classes: {len(labels)} ({shown}{more}){by}."


def _check_place(place: Path, data: Path) -> None:
    """Refuse to write among the inputs, or among files that are not ours."""
    if data.is_dir() and place.resolve().is_relative_to(data.resolve()):
        msg = (
            f"{place}: lies inside the data {data}. Inputs are never changed, and the next command "
            "would take our files for images. Choose another --out."
        )
        raise OutputError(msg)
    others = []
    if place.is_dir():
        try:
            others = sorted(e.name for e in place.iterdir() if e.name not in _OURS)
        except OSError as error:
            msg = f"{place}: cannot be opened ({error.strerror}). Choose another --out."
            raise OutputError(msg) from error
    others = [name for name in others if not name.endswith(".partial")]
    if others:
        msg = (
            f"{place}: holds {len(others):,} files that are not of a check (first: {others[0]}). "
            "They would be sealed with it. Choose another --out."
        )
        raise OutputError(msg)


def _rejected(table: pd.DataFrame, audited: Mapping[str, Any]) -> list[dict[str, str]]:
    """One row for every input that will not be used."""
    skipped = table[table["status"] == "skipped"]
    rows = [
        {"image_id": i, "status": "skipped", "reason": reason}
        for i, reason in zip(skipped["image_id"], skipped["reason"], strict=True)
    ]
    return rows + [{**entry, "status": "failed"} for entry in audited["unreadable"]]


def _csv(rows: Sequence[Mapping[str, str]]) -> str:
    """Rejected inputs as CSV that a spreadsheet shows and does not execute."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["image_id", "status", "reason"])
    for row in rows:
        writer.writerow([csv_safe(row[name]) for name in ("image_id", "status", "reason")])
    return stream.getvalue()


def _page(
    app: App,
    task: Task,
    manifest: Manifest,
    content: Mapping[str, Any],
    rejected: Sequence[Mapping[str, str]],
) -> str:
    """The page to read."""
    from core.report.html import render_page  # noqa: PLC0415  (jinja2)

    return render_page(
        f"{app.title}: a look at the data",
        lead=app.intended_use,
        sections=[
            ("What was checked", _summary(content)),
            ("The images", _images(task, manifest, content)),
            ("Files that are not used", _unused(rejected)),
            ("Copies", _copies(app, manifest, content)),
            ("What foretells the label", _foretold(content)),
        ],
        footer=f"Written by resight check. Task {task.name}; data {manifest.root.name}.",
    )


def _summary(content: Mapping[str, Any]) -> list[Block]:
    """The verdicts."""
    import pandas as pd  # noqa: PLC0415

    from core.blocks import Table, Text  # noqa: PLC0415

    counts = content["counts"]
    frame = pd.DataFrame(content["checks"])[["verdict", "title", "words"]]
    warned = int((frame["verdict"] == "warning").sum())
    unknown = int((frame["verdict"] == "cannot be checked").sum())
    tone = "warning" if warned else "note" if unknown else "plain"
    words = (
        f"{counts['ok']:,} images were looked at: {len(frame) - warned - unknown} checks passed, "
        f"{warned} ended in a warning, {unknown} could not be made."
    )
    frame.columns = pd.Index(["Verdict", "Check", "What was found"])
    return [Text(words, tone), Table(frame)]


def _images(task: Task, manifest: Manifest, content: Mapping[str, Any]) -> list[Block]:
    """Counts, groups, splits, formats and sizes."""
    import pandas as pd  # noqa: PLC0415

    from core.blocks import Table, Text  # noqa: PLC0415
    from core.report.plots_data import class_counts  # noqa: PLC0415

    said = [
        manifest.class_rule or class_rule(manifest, task),
        manifest.group_rule,
        manifest.split_rule,
        *manifest.notes,
    ]
    blocks: list[Block] = [Text(sentence) for sentence in said if sentence]
    counts = pd.DataFrame(
        [{s or "images": n for s, n in row.items()} for row in content["classes"].values()],
        index=[task.title(name) for name in content["classes"]],
    )
    order = [name for name in ("images", "train", "val", "test") if name in counts]
    counts = counts[order].fillna(0).astype(int)
    if order:
        blocks.append(class_counts(counts))
    kinds = [("Format", k, n) for k, n in content["formats"].items()]
    kinds += [("Width x height", k, n) for k, n in content["sizes"].items()]
    shown = [(kind, value, f"{n:,}") for kind, value, n in kinds]
    frame = pd.DataFrame(shown, columns=["Property", "Value", "Images"])
    note = "The twenty commonest of each."
    return [*blocks, Table(frame, title="Formats and sizes", note=note, numeric=("Images",))]


def _unused(rejected: Sequence[Mapping[str, str]]) -> list[Block]:
    """What was skipped and what could not be read."""
    import pandas as pd  # noqa: PLC0415

    from core.blocks import Table  # noqa: PLC0415

    if not rejected:
        return []
    frame = pd.DataFrame(list(rejected[:_ROWS]))[["image_id", "status", "reason"]]
    frame.columns = pd.Index(["Image", "Status", "Reason"])
    more = len(rejected) - len(frame)
    note = f"{more:,} more are listed in rejected.csv." if more else ""
    return [Table(frame, note=note)]


def _copies(app: App, manifest: Manifest, content: Mapping[str, Any]) -> list[Block]:
    """Pairs of copies side by side, those that contradict each other first."""
    import pandas as pd  # noqa: PLC0415

    from core.blocks import Pictures, Table  # noqa: PLC0415

    table = manifest.table.set_index("image_id")
    pairs = [(ids[0], ids[1], "equal pixels") for ids in content["exact"]]
    pairs += [(p["first"], p["second"], f"agreement {p['agreement']:.2f}") for p in content["near"]]
    if not pairs:
        return []

    def told(image_id: str) -> str:
        row = table.loc[image_id]
        return ", ".join(part for part in (image_id, row["label"], row["split"]) if part)

    def rank(pair: tuple[str, str, str]) -> tuple[bool, bool]:
        first, second = table.loc[pair[0]], table.loc[pair[1]]
        return bool(first["label"] == second["label"]), bool(first["split"] == second["split"])

    pairs.sort(key=rank)
    shown = [
        (_side_by_side(app, manifest, pair[:2]), f"{told(pair[0])} | {told(pair[1])} ({pair[2]})")
        for pair in pairs[:_PICTURES]
    ]
    frame = pd.DataFrame(
        [(told(a), told(b), how) for a, b, how in pairs[:_ROWS]],
        columns=["One", "The other", "How alike"],
    )
    note = "Pairs whose labels or splits differ come first; audit.json holds all."
    return [Pictures("Copies side by side", shown, note=note), Table(frame, title="All pairs")]


def _side_by_side(app: App, manifest: Manifest, ids: Sequence[str]) -> bytes:
    """Two images next to each other as JPEG."""
    import numpy as np  # noqa: PLC0415
    from PIL import Image  # noqa: PLC0415

    canvas = Image.new("RGB", (2 * _PICTURE_PX + 8, _PICTURE_PX), "white")
    tallest = 1
    rows = manifest.table.set_index("image_id", drop=False)
    for place, image_id in enumerate(ids):
        row = {str(name): value for name, value in rows.loc[image_id].items()}
        picture = Image.fromarray(_viewable(_pixels(app, manifest, row)))
        picture.thumbnail((_PICTURE_PX, _PICTURE_PX))
        canvas.paste(picture, (place * (_PICTURE_PX + 8), 0))
        tallest = max(tallest, picture.height)
    stream = io.BytesIO()
    Image.fromarray(np.asarray(canvas)[:tallest]).save(stream, format="JPEG", quality=80)
    return stream.getvalue()


def _pixels(app: App, manifest: Manifest, row: Mapping[str, Any]) -> NDArray[Any]:
    """Pixels of a manifest row."""
    from core.data.scan import locate  # noqa: PLC0415

    return app.read({**row, "path": str(locate(manifest.root, str(row["path"])))})


def _viewable(pixels: NDArray[Any]) -> NDArray[Any]:
    """Pixels of any depth as 8-bit RGB, stretched to their own range if they are not 8-bit."""
    import numpy as np  # noqa: PLC0415

    if pixels.dtype != np.uint8:
        low, high = float(pixels.min()), float(pixels.max())
        scaled = (pixels.astype(np.float32) - low) / max(high - low, 1e-6)
        pixels = (scaled * 255).astype(np.uint8)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels[:, :, :3]


def _foretold(content: Mapping[str, Any]) -> list[Block]:
    """How well things beside the subject foretell the label."""
    import pandas as pd  # noqa: PLC0415

    from core.blocks import Table  # noqa: PLC0415

    names = {"file": "File size, bytes, format", "colour": "Mean colour", "border": "Border"}
    rows = [
        (
            names[entry["name"]],
            "" if entry["value"] is None else f"{entry['value']:.0%}",
            "" if entry["value"] is None else f"{entry['low']:.0%} to {entry['high']:.0%}",
            f"{entry['chance']:.0%}",
            f"{entry['n']:,}",
            entry["reason"],
        )
        for entry in content["shortcuts"]
    ]
    columns = ["From", "Balanced accuracy", "95 % interval", "Chance", "Images", "Remark"]
    note = (
        "A random forest that sees nothing else, on groups it was not trained on; the interval is "
        "from resampled groups. A model should do much better than these."
    )
    frame = pd.DataFrame(rows, columns=columns)
    return [Table(frame, note=note, numeric=tuple(columns[1:5]))]


def _cores() -> int:
    """Processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
