"""Tables whose rows name folders: all images of a patient, an exam or a study have one label.

A row is met with a folder by the longest end of its path that exactly one folder has, as files
are in ``table_paths``; then every image in or below that folder gets the row.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from core.data.scan import Found, readable
from core.data.table_paths import Listing, ends_of, plain_path
from core.data.tables_in import plain, read_cells, read_frame, whole_number

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["by_folder"]

# Heading of the column that is added to such a table.
FOLDER = "folder of the images"


def by_folder(
    file: Path, home: Path, files: Callable[[], Sequence[Found]], names: Sequence[str]
) -> Listing | None:
    """The table with a row for each image in the folders that its rows name.

    Args:
        file: the table.
        home: the folder that holds all of the images.
        files: gives the files below it.
        names: headings of columns that may name a folder; other columns count only where
            their cells are paths, since a folder may be called like a class.

    Returns:
        None if the rows name no folders.
    """
    images = [entry.path for entry in files() if not entry.reason]
    inside: dict[Path, list[Path]] = {}
    for path in images:
        for folder in path.parents:
            if folder == home or not folder.is_relative_to(home):
                break
            inside.setdefault(folder, []).append(path)
    if not inside:
        return None
    known: dict[str, set[Path]] = {}
    for folder in inside:
        for end in ends_of(folder.relative_to(home).as_posix(), is_file=False):
            known.setdefault(end, set()).add(folder)
    cells = read_cells(file)
    if any(_folder(name, known) for name in cells.columns if "/" in name):
        # The first row names a folder: the table has no headings.
        heading = ["path" if "/" in name else f"column {k}" for k, name in enumerate(cells.columns)]
        heading = ["label" if len(heading) == 2 and n != "path" else n for n in heading]
        cells = read_cells(file, columns=heading)
    table = read_frame(cells)
    may_name = set(map(plain, names))
    for column in map(str, table.columns):
        words = list(table[column])
        if plain(column) not in may_name and not all(re.search(r"[\\/]", word) for word in words):
            continue
        met = [_folder(word, known) for word in words]
        if 2 * sum(folder is not None for folder in met) < len(met):
            continue
        rows = [
            (i, path)
            for i, folder in enumerate(met)
            for path in (inside[folder] if folder is not None else [None])
        ]
        listed = [i for i, _ in rows]
        shown = [readable(f.relative_to(home).as_posix()) if f else "" for f in met]
        where = [shown[i] for i in listed]
        why = f"{file.name} lists it, but no one folder is called so"
        found = [
            Found(path) if path else Found(home / words[i], why, is_missing=True)
            for i, path in rows
        ]
        n = sum(folder is not None for folder in met)
        note = (
            f"{n:,} row(s) of {file.name} name folders by {column}; all images in one have its row."
        )
        frame = table.iloc[listed].reset_index(drop=True).assign(**{FOLDER: where})
        return Listing(file, frame, FOLDER, [*cells.notes, note], found)
    return None


def _folder(name: str, known: dict[str, set[Path]]) -> Path | None:
    """The one folder that a cell can mean; None if there is none, or several."""
    parts = [p for p in re.split(r"[\\/]+", plain_path(name)) if p not in {"", ".", ".."}]
    for words in (parts, [*parts[:-1], whole_number(parts[-1])] if parts else []):
        for k in range(len(words)):
            found = known.get("/".join(words[k:]))
            if found:
                return next(iter(found)) if len(found) == 1 else None
    return None
