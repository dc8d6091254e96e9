"""What a table of images says: which file, class, group and split each row names.

A table is CSV, TSV or Parquet. Its columns are found by name, whatever their
case; paths are relative to the table's folder. Cells stay text, so that an id
like ``007`` keeps its zeros. This module knows no folders of classes.
"""

from __future__ import annotations

import csv
import difflib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.data.scan import Found, locate, readable
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    import pandas as pd

    from core.app import Source, Task

__all__ = [
    "GROUP_NAMES",
    "LABEL_NAMES",
    "PATH_NAMES",
    "SPLIT_NAMES",
    "Listing",
    "column_named",
    "label_columns",
    "label_texts",
    "labels_of",
    "missing_column",
    "open_listing",
    "read_table",
    "resolve_paths",
    "splits_of",
    "wanted_column",
]

# Names a column goes by in published tables, the more telling first.
PATH_NAMES = (
    *("path", "image_path", "file_path", "filepath", "file", "file_name", "filename"),
    *("image", "image_name", "img", "image_id", "id_code", "img_path"),
)
LABEL_NAMES = (
    *("label", "class", "class_name", "category", "target", "diagnosis"),
    *("grade", "level", "severity", "y"),
)
GROUP_NAMES = ("group", "group_id")

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class Listing:
    """A table that was read: its file, its cells as text, and the column that names the files."""

    file: Path
    table: pd.DataFrame
    path_column: str


def open_listing(file: Path) -> Listing | None:
    """Read a table; None if no column of it could name image files.

    Raises:
        ManifestError: the file cannot be read as a table.
    """
    table = read_table(file)
    column = column_named(table.columns, *PATH_NAMES)
    return None if column is None else Listing(file, table, column)


def column_named(columns: Collection[str], *names: str) -> str | None:
    """The first of these names that is a column, whatever its case, spaces or dashes."""
    plain = {_plain(column): column for column in reversed([str(c) for c in columns])}
    return next((plain[_plain(name)] for name in names if _plain(name) in plain), None)


def wanted_column(listing: Listing, name: str, purpose: str) -> str:
    """The column the user or the task named.

    Raises:
        ManifestError: there is none; the message lists those there are.
    """
    column = column_named(listing.table.columns, name)
    if column is None:
        raise ManifestError(missing_column(listing.file, listing.table.columns, name, purpose))
    return column


def missing_column(file: Path, columns: Collection[str], name: str, purpose: str) -> str:
    """What to say when a table lacks a column."""
    found = [str(column) for column in columns]
    guess = difflib.get_close_matches(name.lower(), [c.lower() for c in found], n=1)
    hint = ""
    if guess:
        near = next(c for c in found if c.lower() == guess[0])
        hint = f" Did you mean {near!r}?"
    return (
        f"{readable(str(file))}: it has no column {name!r}, which should say {purpose} "
        f"(it has: {', '.join(found)}).{hint} Rename the column, or name another."
    )


def resolve_paths(
    listing: Listing, files: Callable[[], Iterable[Found]], *, allow_outside: bool
) -> list[Found]:
    """The file that each row names, or the reason why there is none.

    A name is looked up as it stands, then without its extension, then anywhere
    below the table's folder if exactly one file is called so.

    Args:
        listing: the table.
        files: gives the files below the table's folder; asked only if a name
            does not stand for a file as it is.
        allow_outside: whether a file may lie outside of the table's folder.

    Raises:
        ManifestError: rows point outside of the table's folder.
    """
    root = listing.file.parent
    home = os.path.realpath(root)
    below: dict[str, list[Path]] | None = None
    folders: dict[str, bool] = {}
    resolved: list[Found] = []
    outside: list[str] = []
    names = [name.strip() for name in listing.table[listing.path_column]]
    for name in names:
        if not name:
            resolved.append(Found(root, f"{listing.file.name} names no file in this row"))
            continue
        path = Path(os.path.normpath(locate(root, name)))
        if "\\" in name and not path.is_file():
            path = Path(os.path.normpath(locate(root, name.replace("\\", "/"))))
        reason, is_missing = "", False
        if not path.is_file():
            below = _by_name(root, files()) if below is None else below
            called = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
            matches = below.get(called.lower()) or below.get(path.name.lower()) or []
            if len(matches) == 1:
                path = matches[0]
            else:
                what = f"{len(matches)} files are" if matches else "no file is"
                reason = f"{listing.file.name} lists it, but {what} called so"
                is_missing = not matches
        if not (allow_outside or _is_below(path, home, folders)):
            outside.append(name)
        resolved.append(Found(path, reason, is_missing))
    if outside:
        msg = (
            f"{readable(str(listing.file))}: {len(outside):,} of {len(names):,} rows point outside "
            f"of the table's folder (first: {readable(outside[0])!r}). A stranger's table could "
            "make any file of this machine an input. Put the table into the folder that holds all "
            "of its images, or pass --allow-outside if you trust it."
        )
        raise ManifestError(msg)
    return resolved


def label_columns(listing: Listing, source: Source, names: Sequence[str]) -> list[str]:
    """The columns of a table that say the class; none if it says none.

    Args:
        listing: the table.
        source: names a column (or several, by commas), or its task does.
        names: columns to look for where neither does.

    Raises:
        ManifestError: a column that was named is not there.
    """
    if source.label:
        whole = column_named(listing.table.columns, source.label)
        chosen = [source.label] if whole else [name.strip() for name in source.label.split(",")]
        return [wanted_column(listing, name, "the class") for name in chosen]
    if source.task.label != "label":
        return [wanted_column(listing, source.task.label, "the class")]
    column = column_named(listing.table.columns, *names)
    return [column] if column else []


def labels_of(listing: Listing, columns: Sequence[str], task: Task) -> list[str]:
    """The label of each row; several columns are one class each, of a multi-label task.

    Raises:
        ManifestError: several columns for a task with one class per image.
    """
    if len(columns) > 1:
        if task.kind != "multilabel":
            msg = (
                f"{len(columns)} label columns are named ({', '.join(columns)}), and the task "
                f"{task.name!r} has one class per image. Name one column, or a multi-label task."
            )
            raise ManifestError(msg)
        return _one_hot(listing, columns, separator=task.label_separator)
    labels = label_texts(listing.table[columns[0]])
    if task.kind == "multilabel":
        mark = task.label_separator
        labels = [
            mark.join(dict.fromkeys(part.strip() for part in label.split(mark))) for label in labels
        ]
    return labels


def splits_of(listing: Listing, column: str) -> list[str]:
    """The split of each row, by any of the usual names.

    Raises:
        ManifestError: a cell names none.
    """
    texts = [str(value).strip().lower() for value in listing.table[column]]
    odd = [text for text in texts if text and text not in SPLIT_NAMES]
    if odd:
        msg = (
            f"{readable(str(listing.file))}: {len(odd):,} rows of {column!r} name a split that "
            f"is not known (first: {readable(odd[0])!r}). Write train, val or test, or leave "
            "the column out and let resight draw the split."
        )
        raise ManifestError(msg)
    return [SPLIT_NAMES.get(text, "") for text in texts]


def label_texts(values: pd.Series[Any]) -> list[str]:
    """Class names of a column: trimmed, and whole numbers without a decimal point.

    >>> import pandas as pd
    >>> label_texts(pd.Series(["0.0", "1.0", " 2", ""]))
    ['0', '1', '2', '']
    """
    texts = [str(value).strip() for value in values]
    if all(re.fullmatch(r"[+-]?\d+(\.0*)?|", text) for text in texts):
        return [str(int(float(text))) if text else "" for text in texts]
    return texts


def _one_hot(listing: Listing, columns: Sequence[str], *, separator: str) -> list[str]:
    """Labels of a multi-label task from one column of zeros and ones per class.

    An image with none of the classes gets the bare separator, because an empty
    label means that it is not known.

    Raises:
        ManifestError: a cell is neither zero nor one.
    """
    chosen: list[list[str]] = [[] for _ in range(len(listing.table))]
    for column in columns:
        for row, text in enumerate(label_texts(listing.table[column])):
            if text not in {"0", "1"}:
                msg = (
                    f"{readable(str(listing.file))}: row {row + 1} of column {column!r} holds "
                    f"{text!r}, and a column that stands for one class holds 0 or 1. Correct the "
                    "cell, or name one column that holds class names."
                )
                raise ManifestError(msg)
            if text == "1":
                chosen[row].append(column)
    return [separator.join(row) or separator for row in chosen]


def _by_name(root: Path, files: Iterable[Found]) -> dict[str, list[Path]]:
    """Files by their relative path and by their name, each with and without the extension."""
    below: dict[str, list[Path]] = {}
    for found in files:
        if not found.reason:
            relative = found.path.relative_to(root)
            spellings = (relative.as_posix(), relative.with_suffix("").as_posix())
            for key in {*spellings, relative.name, relative.stem}:
                below.setdefault(key.lower(), []).append(found.path)
    return below


def _is_below(path: Path, home: str, folders: dict[str, bool]) -> bool:
    """Whether the file really lies in the folder, links followed; remembers folders looked at."""
    if path.is_symlink():
        return os.path.realpath(path).startswith(home + os.sep)
    folder = str(path.parent)
    if folder not in folders:
        real = os.path.realpath(folder)
        folders[folder] = real == home or real.startswith(home.rstrip(os.sep) + os.sep)
    return folders[folder]


def _plain(name: object) -> str:
    """A column name without case, spaces and dashes."""
    return re.sub(r"[\s_-]+", "_", str(name).strip().casefold())


def read_table(file: Path) -> pd.DataFrame:
    """The cells of a table as text; missing ones are empty.

    Raises:
        ManifestError: the file is no table, or has no rows.
    """
    import pandas as pd  # noqa: PLC0415  (0.5 s to import; prediction on images needs none)

    shown = readable(str(file))
    try:
        if file.suffix.lower() == ".parquet":
            table = pd.read_parquet(file)
            table = pd.DataFrame({str(c): _as_text(table[c]) for c in table.columns})
        else:
            data = file.read_bytes()
            encoding = _encoding(data)
            lines = data.decode(encoding).splitlines()
            separator = _separator(next((line for line in lines if line.strip()), ""))
            table = pd.read_csv(
                file,
                sep=separator,
                dtype=str,
                keep_default_na=False,
                encoding=encoding,
                skipinitialspace=True,
                on_bad_lines="error",
            )
            if not isinstance(table.index, pd.RangeIndex):
                # pandas takes the first column for row names, and shifts the others.
                msg = "rows have more cells than the header"
                raise TypeError(msg)  # noqa: TRY301  (told with the other ways to be no table)
    except OSError as error:
        words = (error.strerror or str(error)).lower()
        msg = f"{shown}: it cannot be opened ({words}). Check the path and its permissions."
        raise ManifestError(msg) from error
    except Exception as error:
        # pandas and pyarrow raise types of their own, ValueError, UnicodeError, csv.Error ...
        words = str(error).splitlines()[0] if str(error) else type(error).__name__
        msg = f"{shown}: it cannot be read as a table ({words}). Save it as CSV in UTF-8."
        raise ManifestError(msg) from error
    table.columns = pd.Index([str(column).strip() for column in table.columns])
    if not len(table):
        msg = f"{shown}: it has no rows. Each row should name an image."
        raise ManifestError(msg)
    return table.fillna("").astype(str)


def _as_text(values: pd.Series[Any]) -> list[str]:
    """Cells of any type as text; whole floats without a decimal point, missing ones empty."""
    texts = []
    for value in values:
        if value is None or value != value:  # noqa: PLR0124  (NaN and NaT differ from themselves)
            texts.append("")
        elif isinstance(value, float) and value.is_integer():
            texts.append(str(int(value)))
        elif isinstance(value, bytes):
            texts.append(value.decode("utf-8", "replace"))
        else:
            texts.append(str(value))
    return texts


def _encoding(data: bytes) -> str:
    """UTF-16 where a byte order mark says so, UTF-8 where it fits, else what Windows writes."""
    if data[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return "utf-16"
    try:
        data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig"


def _separator(header: str) -> str:
    """The separator that splits the header into most columns."""
    return max(",;\t", key=lambda mark: len(next(csv.reader([header], delimiter=mark), [])))
