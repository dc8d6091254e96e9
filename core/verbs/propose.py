"""The verb behind ``resight check DATA``: the installed app that fits the data, with reasons.

Asked in turn: a data card whose layout the data have, or the user's own card; what an app
finds in the files; the modality of DICOM files; words in the names of the classes. Where no
app knows the data, the app for any images takes them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from core.app import Source, app_names, find_app
from core.base.options import resolve_options
from core.data.dicom import is_dicom, open_dicom
from core.data.recognition import own_card
from core.data.training_data import chosen_task
from core.errors import AppError, ImageError, ResightError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from core.app import App, Manifest

__all__ = ["Proposal", "propose"]

# DICOM files whose modality is read.
_HEADERS = 3
# Share of the classes, other than healthy and normal, that an app's words must name.
_OF_THE_CLASSES = 0.4


@dataclass(frozen=True)
class Proposal:
    """An app, and in words why it was chosen."""

    app: str
    reason: str


def propose(
    data: Path, *, label: str | None = None, columns: Mapping[str, Any] | None = None
) -> Proposal:
    """The app that these data call for.

    Args:
        data: a folder or a table of labelled images.
        label: the column of the class, where the user names it.
        columns: options that name other columns of the user's table.

    Raises:
        AppError: no installed app takes any data, and none knows these.
        ManifestError: these are no labelled images; says what would make them some.
    """
    data = data.absolute()
    apps = [find_app(name) for name in app_names()]
    card = own_card(data)
    if card is not None:
        return Proposal(card.app, f"its own data card {card.name} says so")
    known = [app for app in apps if not app.domain.is_any]
    for app in known:
        why = app.domain.finds(data) if app.domain.finds else ""
        if why:
            return Proposal(app.name, why)
    modality = _modality(data)
    for app in known:
        if modality and modality in app.domain.modalities:
            return Proposal(app.name, f"its DICOM files are of the modality {modality}")
    for app in known:
        cards = _cards(app, data)
        if cards:
            return Proposal(app.name, f"it is laid out as the data card {cards[0]} says")
    general = next((app for app in apps if app.domain.is_any), None)
    if general is None:
        names = ", ".join(app.name for app in apps)
        msg = (
            f"{data}: no installed app knows these data (installed: {names}). Name the app: "
            "resight check APP DATA."
        )
        raise AppError(msg)
    labels = _labels(_index(general, data, label, columns))
    for app in known:
        named = _named(labels, data.name, app.domain.words)
        if named:
            return Proposal(app.name, f"names are of its domain: {', '.join(named[:4])}")
    return Proposal(general.name, "no installed app knows these data by layout, header or name")


def _index(
    app: App, data: Path, label: str | None = None, columns: Mapping[str, Any] | None = None
) -> Manifest:
    """The data as labelled images of an app."""
    task = chosen_task(app, None, label)
    options = resolve_options(app, "check", columns or {})
    return app.index(Source(paths=(data,), labelled=True, task=task, options=options))


def _cards(app: App, data: Path) -> tuple[str, ...]:
    """Cards that an app recognises; none where it cannot read the data."""
    try:
        return _index(app, data).cards
    except ResightError:
        return ()


def _labels(found: Manifest) -> list[str]:
    """The names of the classes."""
    table = found.table
    return sorted(set(table.loc[table["status"] == "ok", "label"].astype(str)) - {""})


def _named(labels: Sequence[str], folder: str, words: Sequence[str]) -> list[str]:
    """Names that hold a word of a domain, if they are enough to go by."""
    if not words:
        return []
    pattern = re.compile(rf"(?:^|[^a-z])(?:{'|'.join(map(re.escape, words))})s?(?:$|[^a-z])")

    def holds(name: str) -> bool:
        # BrownSpot and brown_spot are one name.
        return bool(pattern.search(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()))

    telling = [
        name for name in labels if name.lower() not in {"healthy", "normal", "none", "other"}
    ]
    named = [name for name in telling if holds(name)]
    if len(named) >= max(1, _OF_THE_CLASSES * len(telling)) and (len(named) > 1 or holds(folder)):
        return named
    return [folder] if holds(folder) else []


def _modality(data: Path) -> str:
    """The modality of the first DICOM files; empty where there are none, or they differ."""
    found = set()
    for file in islice((path for path in _files(data) if is_dicom(path)), _HEADERS):
        try:
            found.add(str(open_dicom(file, tags=["Modality"]).get("Modality") or "").upper())
        except ImageError:
            continue
    return found.pop() if len(found) == 1 else ""


def _files(data: Path) -> Iterator[Path]:
    """Some of the files at a path."""
    if data.is_file():
        yield data
    elif data.is_dir():
        yield from islice((path for path in sorted(data.rglob("*")) if path.is_file()), 200)
