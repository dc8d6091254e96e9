"""Which tables in a folder say what its images are: read together, or passed over with the reason.

A set may come with one table, with one for each split, with one per split folder, or
with a second table of further columns. Tables that agree are read together; tables that
contradict each other are a question to the user. No table is passed over without a word.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.data.folder_words import is_form, split_word
from core.data.manifest_tables import Listing, column_named, list_images, option
from core.data.scan import Found, readable
from core.data.table_labels import (
    flag_columns,
    label_columns,
    labels_of,
    possible_labels,
    word_columns,
)
from core.data.tables_in import is_table
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from core.app import Source
    from core.data.table_paths import FileKey

__all__ = [
    "UNREAD",
    "Tables",
    "settle",
    "tables_of",
    "too_many_missing",
    "wants_folders",
    "without_a_class",
]

# Folders below the one named that are looked at for tables.
_DEEP = 2
_MOST = 60
# Lists of names may be called so; of many, such as one beside each image, none is a table.
_LISTS = frozenset({".txt", ".lst", ".list", ".dat"})
# Where a table may be that is not read, and what it is.
UNREAD = {
    **dict.fromkeys(
        (".xls", ".ods", ".xlsb", ".numbers"), "a spreadsheet of a kind that is not read"
    ),
    **dict.fromkeys((".json", ".xml", ".yaml", ".yml"), "no table"),
    **dict.fromkeys((".mat", ".npz", ".npy", ".pkl", ".h5", ".hdf5", ".rds", ".sav"), "no table"),
    **dict.fromkeys((".db", ".sqlite", ".accdb", ".mdb"), "a data base"),
    **dict.fromkeys((".gz", ".zip", ".tar", ".rar", ".7z"), "packed"),
    ".arrow": "a table of a kind that is not read",
}
_FEW = 5


@dataclass
class Tables:
    """What the tables of a folder say.

    Attributes:
        used: tables whose rows count, those that say the class first.
        classes: of each, the columns that say the class; none where it does not.
        splits: of each, the split that its name or folder says; empty where that is not so.
        passed_over: why each other table is not used.
        doubts: of tables that say no class, columns that could be one.
    """

    used: list[Listing] = field(default_factory=list)
    classes: list[list[str]] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)
    doubts: list[tuple[Listing, list[str]]] = field(default_factory=list)

    @property
    def files(self) -> set[Path]:
        """The tables that are used."""
        return {listing.file for listing in self.used}

    @property
    def says_class(self) -> bool:
        """Whether a table says the class."""
        return any(self.classes)


def tables_of(
    folder: Path,
    found: Sequence[Found],
    source: Source,
    *,
    label_names: Sequence[str],
    keys: Sequence[FileKey] = (),
) -> Tables:
    """Look at every table in a folder.

    Args:
        folder: that was named.
        found: everything below it.
        source: what is wanted.
        label_names: columns that may hold the class.
        keys: what the app's tables may name a file by beside its path.

    Raises:
        ManifestError: tables contradict each other, or one names files by names of several.
    """
    tables = Tables()
    files = _tables_in(folder, found, source, tables)
    telling: list[tuple[Listing, list[str]]] = []
    others: list[Listing] = []
    for file in files:
        name = readable(file.relative_to(folder).as_posix())
        if is_form(file.name):
            tables.passed_over.append(f"{name} is a form for answers; its labels are made up.")
            continue
        is_list = file.suffix.lower() in _LISTS
        try:
            listing = list_images(file, source, files=lambda: found, home=folder, keys=keys)
        except ManifestError as error:
            # Any text may be called .txt; one that lists no images is no table.
            tables.passed_over.extend([] if is_list else [str(error)])
            continue
        if is_list and (isinstance(listing, str) or listing.share < 0.5):
            continue
        if isinstance(listing, str):
            tables.passed_over.append(listing)
        elif _is_of_boxes(listing):
            tables.passed_over.append(
                f"{name} has a row for each box, several of an image; boxes are not read."
            )
        elif columns := _class_columns(listing, source, label_names):
            if listing.share >= 0.5:
                telling.append((listing, columns))
                continue
            _refuse_ambiguous(listing, source)
            tables.passed_over.append(too_many_missing(listing))
        elif listing.share < 0.5:
            tables.passed_over.append(too_many_missing(listing))
        else:
            others.append(listing)
    kept = _without_repeats(telling, source, folder, tables)
    _give_splits(kept, tables, folder)
    splits = [split_word(listing.file.stem) for listing in others]
    # Lists of names that are called after several splits say the split of what they list.
    is_given = len(set(splits) - {""}) > 1 and not any(tables.splits)
    for listing, split in zip(others, splits, strict=True):
        tables.used.append(listing)
        tables.classes.append([])
        tables.splits.append(split if is_given else "")
        if doubtful := _doubtful(listing):
            tables.doubts.append((listing, doubtful))
    return tables


def _tables_in(folder: Path, found: Sequence[Found], source: Source, tables: Tables) -> list[Path]:
    """The tables below a folder; what may be one and is not read is named in ``passed_over``."""
    shallow = [
        entry.path
        for entry in found
        if len(entry.path.relative_to(folder).parts) <= _DEEP and entry.path.is_file()
    ]
    files = [path for path in shallow if is_table(path)]
    lists = [path for path in shallow if path.suffix.lower() in _LISTS]
    files += lists if len(lists) <= _FEW else []
    unread = [p for p in shallow if p.suffix.lower() in UNREAD and not is_table(p)]
    for path in unread if len(unread) <= _FEW and source.labelled else ():
        name = readable(path.relative_to(folder).as_posix())
        tables.passed_over.append(
            f"{name} is {UNREAD[path.suffix.lower()]}; if it says the classes, save it as CSV or "
            ".xlsx with the columns path and label."
        )
    if len(files) > _MOST:
        tables.passed_over.append(
            f"{readable(str(folder))}: of its {len(files):,} tables the first {_MOST} are looked "
            "at. Pass the one you mean."
        )
    return files[:_MOST]


def _doubtful(listing: Listing) -> list[str]:
    """Columns that could say the class; several of zeros and ones are one wish."""
    flags = flag_columns(listing, also={"", "-1"})
    if len(flags) > 1:
        return [",".join(flags)]
    return possible_labels(listing)


def without_a_class(tables: Tables, folder: Path) -> list[str]:
    """Why each table that lists the images says no class, and which columns it has."""
    sentences = []
    for listing, columns in zip(tables.used, tables.classes, strict=True):
        if columns:
            continue
        name = readable(listing.file.relative_to(folder).as_posix())
        words = [c for c in listing.table.columns if c != listing.path_column]
        flags = flag_columns(listing, also={"", "-1"})
        likely = [",".join(flags)] if len(flags) > 1 else [*word_columns(listing), *flags]
        way = f", as in --label-column {shlex.quote(likely[0])}" if likely else ""
        have = f"it has: {', '.join(map(str, words))}" if words else "it has no other column"
        sentences.append(
            f"{name} lists the images, but no column of it is called like a class ({have}). Name "
            f"the column with --label-column{way}."
        )
    return sentences


def _is_of_boxes(listing: Listing) -> bool:
    """Whether a table has a row for each box that was drawn, and not for each image."""
    names = ("xmin", "x_min", "bbox", "x1", "bbox_x", "left")
    n_files = len({found.path for found in listing.files})
    return n_files < len(listing.files) and column_named(listing.table.columns, *names) is not None


def too_many_missing(listing: Listing) -> str:
    """What to say of a table most of whose files are not there."""
    missing = [i for i, row in enumerate(listing.files) if row.reason]
    first = readable(str(listing.table[listing.path_column].iloc[missing[0]]))
    why = listing.files[missing[0]].reason.partition(", but ")[2]
    return (
        f"{readable(str(listing.file))}: {len(missing):,} of the {len(listing.files):,} files it "
        f"lists in the column {listing.path_column!r} are not there (first: {first!r}"
        f"{f', {why}' if why else ''}). Paths are relative to the table's folder: move the table, "
        "correct the column, or name another with --path-column."
    )


def _refuse_ambiguous(listing: Listing, source: Source) -> None:
    """Refuse a table that says the class of images but by names that several files have.

    Raises:
        ManifestError: most of its names fit several files.
    """
    many = [i for i, row in enumerate(listing.files) if row.reason and not row.is_missing]
    if 2 * len(many) < len(listing.files) or wants_folders(source):
        return
    first = readable(str(listing.table[listing.path_column].iloc[many[0]]))
    msg = (
        f"{readable(str(listing.file))}: says the class of images, but {len(many):,} of the "
        f"{len(listing.files):,} names in its column {listing.path_column!r} fit several files "
        f"(first: {first!r}). Write the folder before each name, or pass --label-column folder if "
        "the folders name the class."
    )
    raise ManifestError(msg)


def _class_columns(listing: Listing, source: Source, names: Sequence[str]) -> list[str]:
    """The columns that say the class; none where the table says none."""
    if not source.labelled:
        return []
    try:
        return label_columns(listing, source, names)
    except ManifestError:
        return []


def _without_repeats(
    telling: Sequence[tuple[Listing, list[str]]], source: Source, folder: Path, tables: Tables
) -> list[tuple[Listing, list[str]]]:
    """Tables that say the class of images, without one that says nothing new.

    Raises:
        ManifestError: two tables give one image two classes.
    """
    kept: list[tuple[Listing, list[str]]] = []
    label_of: dict[Path, tuple[str, Listing]] = {}
    for listing, columns in telling:
        probe = Listing(listing.file, listing.table, listing.path_column)
        labels = labels_of(probe, columns, source.task, {"blank": "0", "-1": "0"})
        pairs = [
            (row.path, label)
            for row, label in zip(listing.files, labels, strict=True)
            if not row.reason and label
        ]
        odd = [
            (path, label, *label_of[path])
            for path, label in pairs
            if path in label_of and label_of[path][0] != label
        ]
        name = readable(listing.file.relative_to(folder).as_posix())
        if odd:
            path, label, before, other = odd[0]
            theirs = readable(other.file.relative_to(folder).as_posix())
            msg = (
                f"{readable(str(folder))}: {theirs} and {name} say different classes of "
                f"{len(odd):,} images (first: {readable(path.name)} is {before!r} in {theirs} and "
                f"{label!r} in {name}), and nothing says which to follow. Pass the one you mean "
                f"instead of the folder: {folder / theirs} or {folder / name}; or name its column "
                "with --label-column."
            )
            raise ManifestError(msg)
        new = sum(path not in label_of for path, _ in pairs)
        if kept and not new:
            tables.passed_over.append(
                f"{name} says the same classes as {readable(kept[0][0].file.name)} and lists no "
                "other image."
            )
            continue
        for path, label in pairs:
            label_of.setdefault(path, (label, listing))
        kept.append((listing, columns))
    return kept


def _give_splits(kept: Sequence[tuple[Listing, list[str]]], tables: Tables, folder: Path) -> None:
    """The split of each table where several are called like splits, or lie in such folders."""
    splits = []
    for listing, _ in kept:
        place = listing.file.parent
        above = split_word(place.name) if place != folder else ""
        splits.append(split_word(listing.file.stem) or above)
    is_given = len(set(splits)) > 1 and all(splits)
    for (listing, columns), split in zip(kept, splits, strict=True):
        tables.used.append(listing)
        tables.classes.append(columns)
        tables.splits.append(split if is_given else "")


def settle(folder: Path, listing: Listing, columns: Sequence[str], names: Sequence[str]) -> str:
    """What to say where a table may name the class, and folders may as well."""
    name = readable(listing.file.name)
    named = [each for each in names if each]
    others = f"; so could the folders ({', '.join(named[:4])})" if named else ""
    return (
        f"{readable(str(folder))}: {name} lists the images, and its column {columns[0]} could be "
        f"the class{others}. A label is never taken from a folder while a "
        f"table may name it. Pass --label-column {columns[0]} to follow the table"
        f"{', or --label-column folder to follow the folders' if named else ''}."
    )


def wants_folders(source: Source) -> str:
    """``folder`` or ``parent`` where the user asked for the class to come from folders."""
    wanted = option(source, "label-column") or source.label or source.task.label
    return wanted if wanted in {"folder", "parent"} else ""
