"""What an image is called on a page: a photograph, a tile of a field, or an image.

Core writes "image" everywhere. An app says what its users call one (``App.image_words``), and
the finished blocks are put into that word: headings, notes, cells and drawings, but never the
name of a file.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from core.base.words import plural
from core.blocks import Block, Figure, Fold, Numbers, Pictures, Table, Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

__all__ = ["blocks_in_words", "in_words"]

# The word alone: no part of a path, a file name, an option or the name of a column.
_IMAGE = re.compile(r"(?<![\w/\\.\-=_])([Ii])mage(s?)(?![\w\\_=]|[./\-]\w)")
# Columns whose cells are names of a user's files.
_NAMES = frozenset({"File"})
_DRAWN_TEXT = re.compile(r">([^<>]*)<")


def in_words(text: str, word: str) -> str:
    """A sentence with ``word`` in place of "image".

    >>> in_words("Images: 2 images, first image_1.png; see image/a.png.", "tile")
    'Tiles: 2 tiles, first image_1.png; see image/a.png.'
    >>> in_words("No copy of an image; an image of an eye.", "photo")
    'No copy of a photo; a photo of an eye.'
    """
    if word == "image":
        return text

    def own(found: re.Match[str]) -> str:
        new = plural(word) if found[2] else word
        return new.capitalize() if found[1] == "I" else new

    message = _IMAGE.sub(own, text)
    if word[0] not in "aeiou":
        message = re.sub(rf"\b([Aa])n (?={re.escape(word)}\b)", r"\1 ", message)
    return message


def blocks_in_words(blocks: Sequence[Block], word: str) -> list[Block]:
    """The same blocks with ``word`` in place of "image"."""
    return list(blocks) if word == "image" else [_block(block, word) for block in blocks]


def _block(block: Any, word: str) -> Any:
    """One block; captions of pictures begin with the name of a file and stay."""

    def own(text: str) -> str:
        return in_words(text, word)

    if isinstance(block, Text):
        return replace(block, text=own(block.text))
    if isinstance(block, Numbers):
        entries = [(own(name), value, own(detail)) for name, value, detail in block.entries]
        return Numbers(entries)
    if isinstance(block, Table):
        return replace(
            block,
            frame=_frame(block.frame, word),
            title=own(block.title),
            note=own(block.note),
            numeric=tuple(map(own, block.numeric)),
            marked=tuple(map(own, block.marked)),
        )
    if isinstance(block, Figure):
        drawn = _DRAWN_TEXT.sub(lambda found: f">{own(found[1])}<", block.svg)
        data = None if block.data is None else _frame(block.data, word)
        return replace(block, svg=drawn, title=own(block.title), note=own(block.note), data=data)
    if isinstance(block, Fold):
        return Fold(own(block.title), blocks_in_words(block.blocks, word))  # type: ignore[arg-type]
    assert isinstance(block, Pictures)
    return replace(block, title=own(block.title), note=own(block.note))


def _frame(frame: pd.DataFrame, word: str) -> pd.DataFrame:
    """A table's cells and headings."""
    shown = frame.copy()
    for name in shown.columns:
        if str(name) not in _NAMES and shown[name].dtype.kind not in "iufb":
            shown[name] = [
                in_words(value, word) if isinstance(value, str) else value for value in shown[name]
            ]
    return shown.rename(
        columns=lambda name: in_words(name, word) if isinstance(name, str) else name
    )
