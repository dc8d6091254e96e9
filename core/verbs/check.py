"""The verb ``check``: look at the data before anything is trained on them.

Index, audit, and a directory with ``audit.html`` to read, ``audit.json`` for
programs, and ``rejected.csv``, one row for every file that will not be used.
The data are not changed and no split is written.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.app import find_app
from core.base.jobs import Job, open_output
from core.base.machine import cores
from core.base.options import resolve_options
from core.base.outputs import csv_safe, seal, write_json, write_text
from core.base.settings import Question
from core.base.tables import check_manifest
from core.cards.licence_terms import terms_of
from core.data.audit import audit
from core.data.input_files import require_apart
from core.data.scan import locate
from core.data.training_data import chosen_task, index_and_cards
from core.report.check_page import check_html

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from core.app import App, Manifest, Task
    from core.cards.card import Card
    from core.data.moved_copies import Embed

__all__ = ["Looked", "check", "look"]


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
    embed: Embed | None = None,
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
        embed: embeddings of a frozen network, by which copies are found as well.

    Returns:
        The content of ``audit.json`` (see ``core.data.audit.audit``), and
        ``out``, ``n_failed``, ``notes``, ``group_rule``, ``split_rule``, ``cards``, ``terms``.

    Raises:
        ManifestError: the data cannot be used at all.
        OutputError: the output cannot be written, or is not ours to write to.
    """
    app = find_app(app_name)
    data = data.absolute()
    place = (out or Path.cwd() / f"{data.stem if data.is_file() else data.name}-check").absolute()
    require_apart(place, [data])
    question = Question(
        app=app_name,
        data=str(data),
        task=task,
        label=label,
        group=group,
        card=card,
        allow_outside=allow_outside,
        options=dict(options or {}),
    )
    manifest, cards, chosen = _indexed(app, question)
    with open_output(place, Job("check", replaces=True)):
        n = workers or cores()
        audited = audit(manifest, app=app, task=chosen, progress=progress, workers=n, embed=embed)
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


def look(app: App, question: Question) -> Looked:
    """Index and audit labelled data, and write nothing."""
    manifest, _, chosen = _indexed(app, question)
    audited = audit(manifest, app=app, task=chosen, progress=True, workers=cores())
    return Looked(manifest, audited, chosen)


def _indexed(app: App, question: Question) -> tuple[Manifest, Sequence[Card], Task]:
    """The manifest, its cards, and the task with the classes that its labels name."""
    chosen = chosen_task(app, question.task, question.label)
    options = resolve_options(app, "check", question.options)
    manifest, cards = index_and_cards(app, question, options)
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

    def pictures(ids: Sequence[str]) -> bytes:
        return _side_by_side(app, manifest, ids)

    return check_html(app, task, manifest, content, rejected, side_by_side=pictures)


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
    return app.read({**row, "path": str(locate(manifest.root, str(row["path"])))})


def _viewable(pixels: NDArray[Any]) -> NDArray[Any]:
    """Pixels of any depth as 8-bit RGB, stretched to their own range if they are not 8-bit."""
    import numpy as np  # noqa: PLC0415

    if pixels.dtype != np.uint8:
        low, high = float(pixels.min()), float(pixels.max())
        scaled = (pixels.astype(np.float32) - low) / max(high - low, 1e-6)
        pixels = (scaled * 255).astype(np.uint8)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels[:, :, :3]
