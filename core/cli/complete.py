"""Completion of words that a shell cannot know: apps, cards, runs, plans."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from core.app import app_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.cards.card import CardFile

__all__ = ["apps", "card_files", "cards", "plans", "runs"]

# Folders looked into for runs, from the current one down.
_DEPTH = 3


def apps(incomplete: str) -> list[str]:
    """Installed apps."""
    return [name for name in app_names() if name.startswith(incomplete)]


def card_files(words: Sequence[str] = ()) -> list[CardFile]:
    """The data cards in which all words occur."""
    from core.cards.card import find_cards  # noqa: PLC0415  (imports pydantic)

    return find_cards(" ".join(words))


def cards(incomplete: str) -> list[str]:
    """Data cards, and ``none``."""
    names = [file.card.name for file in card_files()]
    return [name for name in (*names, "none") if name.startswith(incomplete)]


def runs(incomplete: str) -> list[str]:
    """Runs in or below the current folder."""
    return [path.parent.as_posix() for path in _below("run.json", incomplete)]


def plans(incomplete: str) -> list[str]:
    """Plans of runs in or below the current folder."""
    return [path.as_posix() for path in _below("plan.yaml", incomplete)]


def _below(name: str, incomplete: str) -> list[Path]:
    """Files of this name that are not deep, whose path begins as was typed."""
    found = [p for depth in range(_DEPTH) for p in Path().glob("*/" * (depth + 1) + name)]
    return sorted(path for path in found if path.as_posix().startswith(incomplete))
