"""Miniatures of public sets, each in exactly the published tree, and how a set is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from core.app import Source
from core.base.tables import check_manifest, check_splits
from core.data.recognition import index_with_cards

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from core.app import App, Manifest

    Write = Callable[[Path], None]


@dataclass(frozen=True)
class Miniature:
    """A public set of an app.

    Attributes:
        app: whose set it is.
        write: puts it into a folder.
        place, old, new: a file or folder, a name in it, and what that is renamed to.
        told: what the error says of the old name.
    """

    app: App
    write: Write
    place: str
    old: str
    new: str
    told: str


# By the name of the data card.
MINIATURES: dict[str, Miniature] = {}


def miniature(app: App, place: str, old: str, new: str, told: str = "") -> Callable[[Write], Write]:
    """Registers what writes a miniature, under its own name."""

    def register(write: Write) -> Write:
        MINIATURES[write.__name__] = Miniature(app, write, place, old, new, told or f"- {old}")
        return write

    return register


def photo(path: Path) -> None:
    """A tiny picture; the index only looks at names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (120, 60, 30)).save(path)


def table(file: Path, *lines: str) -> None:
    """A text file of these lines."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def look_at(
    app: App, path: Path, task: str | None = None, *, card: str | None = None, **asked: Any
) -> Manifest:
    """What an app finds in a labelled folder, checked; ``asked`` as in ``Source``."""
    source = Source(paths=(path,), labelled=True, task=app.task(task), **asked)
    found, cards = index_with_cards(app, source, card)
    check_manifest(found.table, labelled=bool((found.table["label"] != "").any()))
    check_splits(found.table)
    assert tuple(card.name for card in cards) == found.cards
    return found


def labels(found: Manifest) -> dict[str, str]:
    """The label of each image that is ok, by the name of its file."""
    rows = found.table[found.table["status"] == "ok"]
    return dict(zip(rows["image_id"].str.rsplit("/", n=1).str[-1], rows["label"], strict=True))
