"""Blocks of a report section: text, tables, figures, pictures.

Sections return blocks; the page turns them into HTML. Blocks hold data and
words, never markup, so that nothing in a file name can become part of the page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

__all__ = ["MARKS", "Block", "Figure", "Fold", "Numbers", "Pictures", "Table", "Text"]

# Raised letters, which no value and no name ends in.
MARKS = "ᵃᵇᶜᵈᵉᶠᵍʰʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ"


@dataclass(frozen=True)
class Text:
    """A paragraph. ``tone`` is ``plain``, ``verdict``, ``count``, ``note`` or ``warning``."""

    text: str
    tone: str = "plain"


@dataclass(frozen=True)
class Numbers:
    """The few numbers a reader takes away: (what, value, interval and cases) each."""

    entries: Sequence[tuple[str, str, str]]


@dataclass(frozen=True)
class Table:
    """A table; cells are already the strings to show. Columns in ``numeric`` align right.

    A cell may end in one or more of ``MARKS``; ``marked`` says what each means, in their order.
    """

    frame: pd.DataFrame
    title: str = ""
    note: str = ""
    numeric: tuple[str, ...] = ()
    marked: tuple[str, ...] = ()


@dataclass(frozen=True)
class Figure:
    """A plot as SVG text, with the plotted numbers in a table that can be copied."""

    svg: str
    title: str
    note: str = ""
    data: pd.DataFrame | None = None


@dataclass(frozen=True)
class Pictures:
    """A gallery: (PNG or JPEG bytes, caption) each, with alternative texts from the captions."""

    title: str
    pictures: Sequence[tuple[bytes, str]]
    note: str = ""


@dataclass(frozen=True)
class Fold:
    """Blocks behind a line that a click opens; on paper they stand in the appendix."""

    title: str
    blocks: Sequence[Text | Numbers | Table | Figure | Pictures]


Block = Text | Numbers | Table | Figure | Pictures | Fold
