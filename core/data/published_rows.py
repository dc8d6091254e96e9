"""Rows of a published data set's tables: which file each speaks of, and what its cells count as.

What a table lists and nobody finds is counted; what lies there and no table lists is
skipped with the reason. All of it follows from the set's ``Layout``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.data.folder_words import split_word
from core.data.layouts import WHY_NOT, Label, stem_of
from core.data.scan import readable
from core.data.tables_in import plain, whole_number
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from core.app import Task
    from core.data.layouts import Layout, Published, Row, Sheet

__all__ = ["Labels", "meet", "rows_by_key", "splits_of"]

# Which split the name of a table or folder says; the last word in it counts.
_SPLITS = {"train": "train", "val": "val", "test": "test", "evalu": "test"}
# A cell that is added to a row; no heading is written so.
_SPLIT = "split of the set"


@dataclass(frozen=True)
class Labels:
    """What cells count as for a task: ``means`` is without case and has the user's choices."""

    title: str
    task: Task
    label: Label
    means: Mapping[str, str]

    @classmethod
    def of(cls, found: Published, task: Task, chosen: Mapping[str, str]) -> Labels:
        """The labels of a set, which has some for the task."""
        label = found.known.layout.labels[task.name]
        means = label.means(found.sheets[0].file.parent) if callable(label.means) else label.means
        # A class that is renamed is so for every cell that means it, unless that is named, too.
        merged = {raw.casefold(): chosen.get(name.casefold(), name) for raw, name in means.items()}
        return cls(found.known.title, task, label, {**merged, **chosen})

    def read(self, rows: Sequence[Row]) -> tuple[str, str]:
        """The label of an image from its rows, and why it is left out."""
        given = next(filter(None, (row.get(WHY_NOT, "") for row in rows)), "")
        bare = f"{self.title} has no {self.task.name} label for it"
        if self.label.read is not None:
            text = self.label.read(rows, self.means)
            return text, given or ("" if text else bare)
        raw = [cell for row in rows for cell in self._cells(row)]
        classes = [self.means.get(c.casefold(), "" if self.label.is_closed else c) for c in raw]
        known = list(filter(None, classes))
        if self.task.kind == "multilabel" and (raw or len(self.label.columns) > 1):
            # None of the classes is an answer; an empty cell is not.
            return self.task.label_separator.join(known) or self.task.label_separator, given
        if given or not known:
            message = f" ({', '.join(dict.fromkeys(raw))} counts as none)" if raw else ""
            return "", given or bare + message
        if self.label.is_closed:
            order = list(dict.fromkeys(self.means.values()))
            return max(known, key=order.index), ""
        if len(known) > 1:
            return "", f"{self.title} gives it {len(known)} labels, and this task has one"
        return known[0], ""

    def _cells(self, row: Row) -> list[str]:
        """The labels that a row says, as written."""
        columns = self.label.columns
        if len(columns) > 1:
            return [c for c in columns if re.fullmatch(r"1(\.0+)?", row.get(plain(c), ""))]
        cell = row.get(plain(columns[0]), "")
        parts = cell.split(self.label.separator) if self.label.separator else [whole_number(cell)]
        return [part.strip() for part in parts if part.strip()]


def splits_of(found: Published, wanted: str) -> Callable[[Row], str]:
    """What says the split of a row: a column, a function of the app, or the tables' names.

    Args:
        found: the set.
        wanted: the user's ``--split-column``.

    Raises:
        ManifestError: a cell names no split.
    """
    column = wanted or found.known.layout.split or "split"
    if callable(column):
        return column
    key = plain(column)
    cells = [row.get(key, "") for sheet in found.sheets for row in sheet.rows]
    odd = [cell for cell in cells if cell and not split_word(cell)]
    if odd and wanted != "none":
        msg = (
            f"{found.names}: {len(odd):,} rows of {column!r} name a split that is not known "
            f"(first: {readable(odd[0])!r}). Write train, val or test, or pass --split-column none "
            "and let resight draw the split."
        )
        raise ManifestError(msg)
    return lambda row: (split_word(row.get(key, "")) or row.get(_SPLIT, "")) * (wanted != "none")


def rows_by_key(
    found: Published, label: Label, notes: list[str]
) -> dict[tuple[str, str], list[Row]]:
    """Split and what names the file -> its rows.

    Raises:
        ManifestError: two rows of one image contradict each other.
    """
    layout = found.known.layout
    joined = _joined(layout, found.joined)
    splits = [_split_named(sheet.file.name, layout) for sheet in found.sheets]
    # The names of several tables say the split; that of one alone says nothing of the rest.
    is_told = layout.is_split or (len(set(splits)) > 1 and all(splits))
    rows: dict[tuple[str, str], list[Row]] = {}
    first: dict[tuple[str, str], Sheet] = {}
    for sheet, split in zip(found.sheets, splits, strict=True):
        for cells in layout.rows(sheet, notes) if layout.rows else sheet.rows:
            row = {**cells, _SPLIT: split} if is_told else cells
            name = layout.image(row) if callable(layout.image) else row.get(plain(layout.image), "")
            key = (split if layout.is_split else "", stem_of(name))
            if not key[1]:
                continue
            known = rows.setdefault(key, [])
            if known and not layout.is_many:
                _refuse_two(found, label, known[0], row, (first[key], sheet, key[1]))
                continue
            first.setdefault(key, sheet)
            more = joined.get(layout.join.key(row), [{}]) if layout.join else [{}]
            known.extend({**other, **row} for other in more)
    return rows


def _joined(layout: Layout, sheet: Sheet | None) -> dict[object, list[Row]]:
    """Rows of a second table by the keys that they belong to."""
    found: dict[object, list[Row]] = {}
    for row in sheet.rows if sheet and layout.join else ():
        for key in layout.join.keys(row) if layout.join else ():
            found.setdefault(key, []).append(row)
    return found


def _refuse_two(
    found: Published, label: Label, one: Row, other: Row, where: tuple[Sheet, Sheet, str]
) -> None:
    """Refuse two rows of one image that contradict each other.

    Copies add columns of their own, such as a row number, so rows of two tables are
    compared by their labels.

    Raises:
        ManifestError: they do.
    """
    first, second, name = where
    columns = [plain(c) for c in label.columns] if first is not second else list(other)
    same = whole_number if first is not second else str
    odd = [c for c in columns if same(one.get(c, "")) != same(other.get(c, ""))]
    if not odd:
        return
    beside = "" if first is second else f" (the other in {readable(first.file.name)})"
    msg = (
        f"{readable(str(second.file))}: {found.known.title}: {name!r} stands in two rows that "
        f"differ in {odd[0]}{beside}. One image has one label. Remove one of the rows."
    )
    raise ManifestError(msg)


def meet(
    found: Published, rows: Mapping[tuple[str, str], Sequence[Row]], notes: list[str]
) -> Iterable[tuple[Path, Sequence[Row], str]]:
    """Each image with its rows, or without and why; what is missing is noted.

    Raises:
        ManifestError: most of what the tables list is not there.
    """
    layout = found.known.layout
    unlisted = f"{found.names} does not list it"
    if len(found.sheets) > 1:
        unlisted = f"none of {found.names} lists it"
    folders = [sheet.file.parent / layout.images for sheet in found.sheets if layout.images]
    folders = [folder for folder in folders if folder.is_dir()]
    copies = [
        (pattern, {name(row): key for key, mine in rows.items() for row in mine if name(row)})
        for pattern, name in layout.copies
    ]
    met: list[tuple[Path, Sequence[Row], str]] = []
    seen: set[tuple[str, str]] = set()
    for path in found.images:
        if folders and not any(path.is_relative_to(folder) for folder in folders):
            met.append((path, (), f"it lies outside of {layout.images}/, which the table is of"))
            continue
        relative = path.relative_to(found.folder).as_posix()
        split = _split_named(relative, layout) if layout.is_split else ""
        named = re.search(layout.file, relative) if layout.file else None
        key = (split, named[1].casefold() if named else "" if layout.file else stem_of(path.name))
        for pattern, known in copies if key not in rows else ():
            if (named := re.search(pattern, relative)) and named[1] in known:
                key = known[named[1]]
        mine: Sequence[Row] = rows.get(key, ())
        if not mine:
            met.append((path, (), unlisted))
        elif key in seen and not layout.is_many:
            met.append((path, (), "another file of this name is used"))
        else:
            seen.add(key)
            mine = layout.pick(path, mine) if layout.pick else mine
            met.append((path, mine, "" if mine else unlisted))
    missing = [key[1] for key in rows if key not in seen]
    where = folders[0] if folders else found.folder
    notes += _counted_missing(found, missing, len(rows), where, is_none_met=not seen)
    if not any(mine for _, mine, _ in met):
        msg = (
            f"{readable(str(found.folder))}: {found.names} is that of {found.known.title}, but "
            f"none of {len(found.images):,} image files is listed in it. Point at the folder that "
            "holds both the table and the images."
        )
        raise ManifestError(msg)
    return met


def _counted_missing(
    found: Published, missing: Sequence[str], n_listed: int, where: Path, *, is_none_met: bool
) -> list[str]:
    """A note that counts the files that the tables list and the folder lacks.

    Raises:
        ManifestError: more than half are missing: the folder is not the data set.
    """
    if not missing:
        return []
    title, n = found.known.title, len(missing)
    # Parts of a set of several tables, and of one that is very large, are used alone.
    is_fine = found.known.layout.is_part_fine or (len(found.sheets) > 1 and not is_none_met)
    if 2 * n > n_listed and not is_fine:
        msg = (
            f"{title}: {n:,} of the {n_listed:,} images its table lists are not below "
            f"{readable(str(where))} (first: {readable(missing[0])}). Unpack the images there, or "
            "shorten the table."
        )
        raise ManifestError(msg)
    first = readable(missing[0])
    return [f"{title}: {n:,} of {n_listed:,} listed images are not there (first: {first})."]


def _split_named(text: str, layout: Layout) -> str:
    """The split that the name of a table or the path of an image says; the last word counts."""
    words = {**_SPLITS, **layout.splits}
    found = re.findall("|".join(words), text.casefold())
    return words[found[-1]] if found else ""
