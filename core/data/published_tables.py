"""Recognise a published data set by its tables or class folders.

A set is known by the columns of its tables, wherever in the folder they lie. A heading
is compared without case, and a space, a dash and an underscore are the same, because
copies differ in these. A table that lies where the set has one and lacks a column is
refused with the difference; so is a class folder under another name.
"""

from __future__ import annotations

import difflib
import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING

from core.cards.card import all_cards
from core.data.dicom import is_dicom
from core.data.folder_words import is_form
from core.data.layouts import Known, Lines, Published, Sheet, Table, stem_of
from core.data.scan import natural_key, readable, scan
from core.data.tables_in import plain, read_cells
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from core.data.layouts import Layout
    from core.data.scan import Found

__all__ = ["TABLES", "Place", "find", "known_of", "refuse_spreadsheet"]

TABLES = frozenset({".csv", ".txt", ".xlsx"})
# Images of a folder by whose names a set is recognised.
_FEW_IMAGES = 50


@dataclass
class Place:
    """What the user named: a folder or a table, extensions of images, and a card.

    Its files are looked up when they are asked for: a table may lie in a home folder.
    """

    path: Path
    extensions: frozenset[str]
    card: str
    sheets: dict[Path, Sheet] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The folder itself, or the one that the table lies in."""
        return self.path if self.path.is_dir() else self.path.parent

    @cached_property
    def _files(self) -> list[Found]:
        """Every file below the folder."""
        return list(scan(self.folder, extensions=self.extensions))

    @cached_property
    def tables(self) -> list[Path]:
        """Tables in natural order of their paths."""
        if not self.path.is_dir():
            return [self.path]
        found = [entry.path for entry in self._files if entry.path.suffix.lower() in TABLES]
        return sorted(found, key=lambda file: natural_key(file.as_posix()))

    @cached_property
    def images(self) -> list[Path]:
        """Image files; one without extension is an image only where DICOM files may have none."""
        found = [entry.path for entry in self._files if not entry.reason]
        is_any = "" not in self.extensions
        return [path for path in found if path.suffix or is_any or is_dicom(path)]

    def sheet(self, file: Path, lines: Lines | None = None) -> Sheet:
        """A table as text; without rows and headings where the file is none."""
        if lines is not None:
            return _sheet_of_lines(file, lines)
        if file not in self.sheets:
            self.sheets[file] = Sheet(file, (), ())
            with suppress(ManifestError):
                cells = read_cells(file, strict=False, any_row=True)
                keys = [plain(name) for name in cells.columns]
                rows = [dict(zip(keys, row, strict=True)) for row in cells.rows]
                self.sheets[file] = Sheet(file, cells.columns, rows)
        return self.sheets[file]


def _sheet_of_lines(file: Path, lines: Lines) -> Sheet:
    """A text without headings as a table; lines that are not as published are kept apart."""
    text = file.read_text(encoding="utf-8-sig", errors="replace") if file.is_file() else ""
    counted = [line.strip() for line in text.splitlines() if line.strip()]
    found = {line: re.fullmatch(lines.pattern, line) for line in counted}
    found = {line: match for line, match in found.items() if re.match(lines.begins, line)}
    rows = [{k: v or "" for k, v in m.groupdict().items()} for m in found.values() if m]
    return Sheet(file, (), rows, [line for line, match in found.items() if match is None])


def known_of(layout: Layout) -> Known:
    """A layout with what its card says of it."""
    file = all_cards().get(layout.card)
    if file is None:
        tables = tuple(table for table in layout.tables if isinstance(table, Table))
        return Known(layout, layout.title or layout.card, tables)
    by_file = {t.file: Table(t.file, t.columns, t.further) for t in file.card.layout.tables}
    join = by_file.get(layout.join.table) if layout.join else None
    tables = tuple(by_file[t] if isinstance(t, str) else t for t in layout.tables or by_file)
    folders = tuple(file.card.layout.folders)
    return Known(layout, layout.title or file.card.title, tables, folders, join)


def find(all_known: Sequence[Known], place: Place) -> Published | None:
    """The layout that a folder follows, with its tables; None if it follows none.

    Raises:
        ManifestError: a table or class folder is that of a set, but for its columns or name.
    """
    near: tuple[Known, Path] | None = None
    for known in all_known:
        if place.card and known.layout.card != place.card:
            continue
        base = _base_of(known, place)
        if base is not None:
            return Published(known, place.folder, (), base=base)
        called = [f for f in place.tables if _is_called(f, known) and not is_form(f.name)]
        whole = [file for file in called if _fits(file, known, place)]
        others = [file for file in called if file not in whole]
        odd = next((f for f in others if _is_near(f, known, place, bool(whole))), None)
        if whole and odd is None:
            return _with_tables(known, whole, place)
        near = near or ((known, odd) if odd is not None else None)
        if whole:
            # One table of the set is as published and another is not.
            break
    if near is not None:
        known, file = near
        _require_columns(place.sheet(file, known.layout.lines), known.columns, known)
    return None


def refuse_two_sets(found: Published, all_known: Sequence[Known], place: Place) -> None:
    """Refuse a folder in which another folder holds another set, whose labels would be lost.

    Raises:
        ManifestError: both are named, and how to choose.
    """

    def top(folder: Path) -> tuple[str, ...]:
        return folder.relative_to(place.folder).parts[:1]

    folders = [sheet.file.parent for sheet in found.sheets] or [found.base or place.folder]
    mine = {top(folder) for folder in folders}
    for other in all_known:
        if other.tables == found.known.tables or () in mine:
            continue
        for file in place.tables:
            where = top(file.parent)
            if where not in {(), *mine} and _is_called(file, other) and _fits(file, other, place):
                first, second = (place.folder.joinpath(*parts) for parts in (min(mine), where))
                msg = (
                    f"{readable(str(place.folder))}: holds two published sets, "
                    f"{found.known.title} in {readable(first.name)}/ and {other.title} in "
                    f"{readable(second.name)}/, and labels of one would be lost. Pass one of the "
                    f"folders: {readable(str(first))} or {readable(str(second))}."
                )
                raise ManifestError(msg)


# A column of row numbers, as pandas writes it, whose heading may be empty.
_NUMBERS = re.compile(r"column_1|unnamed:_[\d.]+")


def _with_tables(known: Known, files: Sequence[Path], place: Place) -> Published:
    """A set with its tables; without its card if they are somebody's own in the same layout.

    Raises:
        ManifestError: its second table is absent or not as published.
    """
    layout, sheets = known.layout, [place.sheet(file, known.layout.lines) for file in files]
    if layout.is_common and not place.card:
        own = {plain(c) for table in known.tables for c in (*table.columns, *table.further)}
        headings = {h for s in sheets for h in s.headings if not _NUMBERS.fullmatch(h)}
        if not (headings <= own and all(_is_published(s.file, known) for s in sheets)):
            title = f"Data laid out as {layout.card}"
            known = replace(known, layout=replace(layout, card="", note=""), title=title)
    if known.join is None:
        return Published(known, place.folder, place.images, sheets)
    name = known.join.file.rsplit("/", 1)[-1]
    beside = sorted(file for file in files[0].parent.iterdir() if _matches(file, name))
    if not beside:
        msg = (
            f"{readable(str(files[0].parent))}: the second table of {known.title}, {name}, is not "
            f"beside {readable(files[0].name)}, and labels stand in it. Put it there, or pass "
            "--card none."
        )
        raise ManifestError(msg)
    joined = place.sheet(beside[0])
    _require_columns(joined, known.join.columns, known)
    return Published(known, place.folder, place.images, sheets, joined)


def _matches(file: Path, pattern: str) -> bool:
    """Whether the path of a file ends as a glob says."""
    wanted = pattern.casefold().split("/")
    there = [part.casefold() for part in file.parts][-len(wanted) :]
    if there[-1].endswith(".xlsx") and wanted[-1].endswith(".csv"):
        # The same table, saved in another format.
        there[-1] = there[-1].removesuffix(".xlsx") + ".csv"
    return len(there) == len(wanted) and all(map(fnmatchcase, there, wanted))


def _is_called(file: Path, known: Known) -> bool:
    """Whether a file has a name of the set's tables, or of those of its copies."""
    names = (*(table.file for table in known.tables), *known.layout.also)
    return any(_matches(file, name.rsplit("/", 1)[-1]) for name in names)


def _is_published(file: Path, known: Known) -> bool:
    """Whether a file lies and is called as the card says."""
    return any(_matches(file, table.file) for table in known.tables)


def _fits(file: Path, known: Known, place: Place) -> bool:
    """Whether a table is one of the set's, with every column."""
    layout = known.layout
    sheet = place.sheet(file, layout.lines)
    if layout.lines:
        return bool(sheet.rows) and not sheet.odd
    has_marks = all((file.parent / mark).exists() for mark in layout.marks)
    if not has_marks or not sheet.headings >= set(map(plain, known.columns)):
        return False
    names = [stem_of(row.get(plain(str(layout.image)), "")) for row in sheet.rows]
    n = sum(bool(re.fullmatch(layout.names, name)) for name in names)
    return not layout.names or bool(place.card) or 2 * n >= len(names) > 0


def _is_near(file: Path, known: Known, place: Place, has_whole: bool) -> bool:
    """Whether a table that lies as the set's does is it, but for a column that was renamed."""
    layout = known.layout
    sheet, required = place.sheet(file, layout.lines), set(map(plain, known.columns))
    if not _is_published(file, known):
        return False
    if layout.lines:
        # Where lines of prose are passed over, a text of these alone is anybody's.
        return bool(sheet.rows or sheet.odd or not layout.lines.begins)
    found = sheet.headings
    if not all((file.parent / mark).exists() for mark in layout.marks):
        return False
    if "split" in found - required or (has_whole and found < required):
        # Read by core; or a list of the images to be judged, which has no labels.
        return False
    if layout.names and not place.card:
        names = [path.stem.casefold() for path in place.images[:_FEW_IMAGES]]
        if not names or not all(re.fullmatch(layout.names, name) for name in names):
            return False
    # Where something else says so, too, half of the columns are enough.
    share = 1 / 2 if layout.marks or layout.names or place.card else 2 / 3
    return len(found & required) >= share * len(required) > 0


def _odd(where: Path, known: Known, what: str, lines: Sequence[str], why: str) -> ManifestError:
    """The error of a set that is not as published; ``lines`` are a diff."""
    return ManifestError(
        f"{readable(str(where))}: is laid out as {known.title}, but {what} are not as published (- "
        "expected, + found):\n" + "\n".join(f"  {line}" for line in lines) + f"\n{why}. Restore "
        "what was published, or pass --card none to read the folder as any other."
    )


def _require_columns(sheet: Sheet, expected: Sequence[str], known: Known) -> None:
    """Refuse a table of a set that lacks a column; further columns are no error.

    Raises:
        ManifestError: a column is absent, or a line is not as published; the message is a diff.
    """
    why = "Labels, groups or splits would be read from the wrong place"
    if form := known.layout.lines:
        what = f"{len(sheet.odd):,} of {len(sheet.odd) + len(sheet.rows):,} lines"
        diff = [f"- {form.shown}", f"+ {readable(next(iter(sheet.odd), 'an empty file'))}"]
        raise _odd(sheet.file, known, what, diff, why)
    wanted = set(map(plain, expected))
    absent = [name for name in expected if plain(name) not in sheet.headings]
    further = {plain(name): name for name in sheet.columns if plain(name) not in wanted}
    lines = []
    for name in absent:
        near = difflib.get_close_matches(plain(name), further, n=1, cutoff=0.5)
        lines.append(f"- {name}" + (f"   (renamed to {further[near[0]]}?)" if near else ""))
    if absent:
        lines += [f"+ {name}" for name in further.values()]
        what = f"{len(absent)} of its {len(expected)} columns"
        raise _odd(sheet.file, known, what, lines, why)


def refuse_spreadsheet(place: Place, all_known: Iterable[Known]) -> None:
    """Refuse a folder whose table is there only as a spreadsheet that is not read.

    Raises:
        ManifestError: there is one; the message says what to do.
    """
    for known in all_known:
        for pattern in known.layout.spreadsheets:
            for file in sorted(place.folder.glob(pattern)):
                msg = (
                    f"{readable(str(file))}: is the table of {known.title}, as a spreadsheet that "
                    "cannot be read, so no label is known. Save its first sheet as .xlsx or CSV "
                    "beside it, headings as they are, or pass --card none."
                )
                raise ManifestError(msg)


def _base_of(known: Known, place: Place) -> Path | None:
    """The folder that holds the class folders of a set; None if the place does not.

    Raises:
        ManifestError: some of them are not as published. A copy may lack classes, but one
            under another name would count as a new class.
    """
    for base in known.layout.bases if place.path.is_dir() else ():
        folders = [place.folder / part for part in base.split("+")]
        present = [folder for folder in folders if folder.is_dir()]
        names = {child.name for folder in present for child in folder.iterdir() if child.is_dir()}
        odd = sorted(names - set(known.folders))
        n = len(names) - len(odd)
        # A few common words are no proof: most folders must be of the set.
        if n < 2 or n < len(odd):
            continue
        if odd:
            near = {name: difflib.get_close_matches(name, known.folders, n=1) for name in odd[:8]}
            lines = [line for k, v in near.items() for line in (*(f"- {x}" for x in v), f"+ {k}")]
            why = "A class under another name would count as a new one"
            raise _odd(present[0], known, f"{len(odd)} of its class folders", lines, why)
        return present[0] if len(folders) == 1 else place.folder
    return None
