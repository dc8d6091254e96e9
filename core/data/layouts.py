"""How a published data set lies on disk: the one schema in which apps declare their sets.

A ``Layout`` is data. What the set's card says, its title, tables, columns and class
folders, stands there; the layout says how a row names its file, where label, group and
split stand, and what cells mean. What no cell says is a small function of the app.
``core.data.published`` reads any of them. See CONTRIBUTING.md for an example.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.data.scan import readable
from core.data.tables_in import plain

if TYPE_CHECKING:
    from pathlib import Path

    from core.app import Manifest, Source

__all__ = [
    "WHY_NOT",
    "Join",
    "Known",
    "Label",
    "Layout",
    "Lines",
    "Published",
    "Row",
    "Sheet",
    "Table",
    "stem_of",
]

# Cells of one row by plain heading: lower case, ``_`` for spaces and dashes.
Row = Mapping[str, str]

# A cell that a function of the app may add to a row: why its image is left out. No heading is
# written so.
WHY_NOT = "why not"


@dataclass(frozen=True)
class Sheet:
    """One table as text: its file, headings as they stand there, rows, and what fits no row."""

    file: Path
    columns: Sequence[str]
    rows: Sequence[Row]
    odd: Sequence[str] = ()

    @property
    def headings(self) -> set[str]:
        """Plain headings."""
        return set(map(plain, self.columns))


@dataclass(frozen=True)
class Table:
    """A table as published: its file (a glob; ``.csv`` may be ``.xlsx``) and required columns.

    ``further`` are published columns that a copy may lack.
    """

    file: str
    columns: Sequence[str]
    further: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Lines:
    """A text without headings: what each line says, by a regular expression with named groups.

    Attributes:
        pattern: of a line; the names of its groups are the columns.
        shown: how a line is written, in the words of a person.
        begins: regular expression of the beginning of a line that counts; others are prose.
    """

    pattern: str
    shown: str
    begins: str = ""


@dataclass(frozen=True, kw_only=True)
class Join:
    """A second table beside the first, whose rows are joined to those of the first by a key.

    Attributes:
        table: its ``file`` in the card.
        key: row of the first table -> key.
        keys: row of this table -> the keys it belongs to.
    """

    table: str
    key: Callable[[Row], object]
    keys: Callable[[Row], Iterable[object]]


@dataclass(frozen=True, kw_only=True)
class Label:
    """How the label of a task is read.

    Attributes:
        columns: that say it: one, or one of zeros and ones for each class.
        means: cell -> class; or the folder of the table -> such a map. In rising order: of
            several labels of one image the last in this order counts.
        is_closed: a cell that ``means`` lacks is no class; else it is one.
        separator: between several labels in one cell.
        read: rows of one image, and ``means`` without case and with the user's changes ->
            class, empty if none; where it does not follow from each cell alone.
    """

    columns: tuple[str, ...] = ()
    means: Mapping[str, str] | Callable[[Path], Mapping[str, str]] = field(default_factory=dict)
    is_closed: bool = False
    separator: str = ""
    read: Callable[[Sequence[Row], Mapping[str, str]], str] | None = None


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One layout of one data set; a set may have several, for its copies.

    Attributes:
        card: name of its data card; empty if it has none.
        title: of the set; empty takes that of the card.
        tables: those of the card that are read, by their ``file``, all with the same columns;
            empty takes all. A set without a card states ``Table`` here.
        also: globs of other names under which copies have a table with the same columns.
        is_common: the columns could be anybody's: a table under another name, or with
            further columns, is read the same and is not the set.
        marks: files or folders that must lie beside the table.
        names: regular expression that at least half of the image names in it must fit.
        lines: for a text without headings.
        bases: for a set of class folders, named in the card under ``layout.folders``: where they
            may lie, the first that holds them is used; several folders of splits are written as
            one, joined by ``+``. Core reads them as any, and only ``finish`` counts beside it.
        is_plain: core reads the table as any; what is added is the card, and ``is_one_each``.
        image: column that names the file, or row -> what names it.
        file: regular expression in a file's path below the folder, whose first group is what a
            row names; empty takes the name without extension.
        copies: the same pair, (``file``, ``image``), for copies, tried where the first fails.
        images: folder beside the table that holds what it speaks of; empty if they lie anywhere.
        is_many: several rows may speak of one image, such as findings, and a row of several images,
            such as all of a patient; else rows must agree, and one file of a name is used.
        pick: file and the rows of its key -> those that speak of it.
        rows: a table and a list of notes that may grow -> its rows, one for each image: what the
            cells lack is added here, among it ``WHY_NOT`` (why an image is left out).
        join: a second table.
        labels: by task.
        group: column of the group, or row and file -> group; an image without one is a group
            of its own. Empty leaves it to the app.
        group_word: what the group is called, and the column that has it beside the group asked.
        is_one_each: every image is a group of its own, as the card says.
        split: column of the split, or row -> split.
        splits: what a table's name holds -> its split, where its words do not say so.
        is_split: names are unique within a split only, which tables and folders are called after.
        facts: column of the manifest -> column of the table and how its cell is read.
        outcomes: columns (``*`` stands for anything) that give the label away and are dropped.
        is_part_fine: people download parts of it, so most of its files may be missing.
        spreadsheets: globs of the same table in a format that is not read.
        note: what a user must know.
        finish: what is done to the manifest at last.
    """

    card: str = ""
    title: str = ""
    tables: tuple[str | Table, ...] = ()
    also: tuple[str, ...] = ()
    is_common: bool = False
    marks: tuple[str, ...] = ()
    names: str = ""
    lines: Lines | None = None
    bases: tuple[str, ...] = ()
    is_plain: bool = False
    image: str | Callable[[Row], str] = ""
    file: str = ""
    copies: tuple[tuple[str, Callable[[Row], str]], ...] = ()
    images: str = ""
    is_many: bool = False
    pick: Callable[[Path, Sequence[Row]], Sequence[Row]] | None = None
    rows: Callable[[Sheet, list[str]], Iterable[Row]] | None = None
    join: Join | None = None
    labels: Mapping[str, Label] = field(default_factory=dict)
    group: str | Callable[[Row, Path], str] = ""
    group_word: str = "patient"
    is_one_each: bool = False
    split: str | Callable[[Row], str] = ""
    splits: Mapping[str, str] = field(default_factory=dict)
    is_split: bool = False
    facts: Mapping[str, tuple[str, Callable[[str], str]]] = field(default_factory=dict)
    outcomes: tuple[str, ...] = ()
    is_part_fine: bool = False
    spreadsheets: tuple[str, ...] = ()
    note: str = ""
    finish: Callable[[Manifest, Source], Manifest] | None = None


@dataclass(frozen=True)
class Known:
    """A layout with what its data card says: title, tables, class folders, the second table."""

    layout: Layout
    title: str
    tables: tuple[Table, ...] = ()
    folders: tuple[str, ...] = ()
    join: Table | None = None

    @property
    def columns(self) -> Sequence[str]:
        """Columns that each of its tables must have."""
        return self.tables[0].columns if self.tables else ()


@dataclass(frozen=True)
class Published:
    """A published set as found in a folder.

    Attributes:
        known: its layout.
        folder: that the user named, or that holds the table named.
        images: image files below it.
        sheets: its tables.
        joined: its second table.
        base: the folder of its class folders, where it has no table.
    """

    known: Known
    folder: Path
    images: Sequence[Path]
    sheets: Sequence[Sheet] = ()
    joined: Sheet | None = None
    base: Path | None = None

    @property
    def names(self) -> str:
        """The names of its tables, in words."""
        return ", ".join(readable(sheet.file.name) for sheet in self.sheets)

    def has(self, column: str) -> bool:
        """Whether a table has a column of this heading."""
        return any(plain(column) == plain(c) for sheet in self.sheets for c in sheet.columns)


def stem_of(name: str) -> str:
    r"""A name as tables write it, without folders, extension and case.

    >>> stem_of("Images\\\\1_l1.JPG"), stem_of("1000015157.jpg"), stem_of("v1.2")
    ('1_l1', '1000015157', 'v1.2')
    """
    last = name.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1].strip()
    return re.sub(r"(?i)\.(jpe?g|png|tiff?|bmp|webp|pgm|ppm|dcm|dicom)$", "", last).casefold()
