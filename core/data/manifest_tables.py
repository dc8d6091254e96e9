"""Which columns of a table of images name the file, the class, the group and the split.

A column is the one the user names, else the one whose heading says so, else for the
file the one whose cells are names of images; which, is said. Cells stay text, so that
an id like ``007`` keeps its zeros. This module knows no folders of classes.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from core.data.folder_words import SPLIT_NAMES, split_word
from core.data.scan import Found, readable
from core.data.table_folders import by_folder
from core.data.table_paths import FileKey, Listing, resolve_paths
from core.data.tables_in import plain, read_cells, read_frame, whole_number
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from pathlib import Path

    import pandas as pd

    from core.app import Source

__all__ = [
    "GROUP_NAMES",
    "ID_NAMES",
    "LABEL_NAMES",
    "PATH_NAMES",
    "Listing",
    "column_named",
    "is_about",
    "list_images",
    "missing_column",
    "option",
    "split_column_of",
    "splits_of",
    "wanted_column",
]

# Names a column goes by in published tables, the more telling first.
PATH_NAMES = (
    *("path", "image_path", "file_path", "filepath", "file", "file_name", "filename"),
    *("image", "image_name", "img", "image_id", "imageid", "id_code", "img_path", "imagepath"),
    *("images", "img_name", "image_file", "img_file", "image_filename", "img_id", "fname"),
    *("filenames", "image file path", "dicom_path", "png_path", "jpg_path", "relative_path"),
    *(
        "source-ref",
        "datei",
        "dateiname",
        "bild",
        "archivo",
        "imagen",
        "fichier",
        "arquivo",
        "imagem",
    ),
)
LABEL_NAMES = (
    *("label", "labels", "class", "class_name", "classname", "category", "target", "diagnosis"),
    *("grade", "level", "severity", "y", "dx", "class_label", "label_name", "disease"),
)
GROUP_NAMES = ("group", "group_id")
# Columns that say by their name whom or what an image is of; a word like "site" may mean anything.
ID_NAMES = (
    *("patient", "patient_id", "patientid", "subject", "subject_id", "lesion_id", "case_id"),
    *("person_id", "individual_id", "participant_id", "animal_id", "specimen_id", "mrn", "pid"),
    *("patient_no", "patient_nr", "patient_number", "patient_code", "patient_key", "participant"),
    *("anon_patient_id", "subj_id", "paciente", "patienten_id", "id_paciente", "individual"),
)
# Columns whose cells may name the folder that holds the images of a patient, exam or study.
FOLDER_NAMES = (
    *PATH_NAMES,
    *ID_NAMES,
    *("folder", "folder_name", "directory", "dir", "study", "study_id", "series", "exam", "id"),
    *("case", "exam_id", "accession_number", "accession", "sample", "sample_id", "slide_id"),
)
SPLIT_COLUMNS = ("split", "subset", "partition", "fold_name", "data_split", "set_name", "phase")
_YES, _NO = frozenset({"true", "1", "yes"}), frozenset({"false", "0", "no"})
# Headings of columns that describe an image and are no class of it.
_ABOUT = re.compile(
    r"(.*_)?(id|ids|uid|patient|subject|group|split|fold|subset|set|farm|field|plot|site|leaf|plant"
    r"|age|sex|gender|camera|device|date|time|width|height|size|x|y|w|h|xmin|ymin|xmax|ymax|url"
    r"|source|dataset|license|licence|variety|crop|region|country|lat|lon|latitude|longitude"
    r"|hash|md5|sha256|index|number|count|quality|score|weight|eye|side|laterality|view|usage"
    r"|is_valid|is_test|is_train|is_val|valid|format|mode|channels|path|file|name|notes?|comment"
    r"|comments|manufacturer|vendor|machine|hospital|centre|center|implant|mask|bbox)(_\d+)?"
)


def option(source: Source, name: str) -> str:
    """What the user says of the data by ``--NAME``; empty where nothing."""
    return str(source.options.get(name) or "").strip()


def is_about(column: str) -> bool:
    """Whether a heading describes the image, and so is no class.

    >>> is_about("Patient ID"), is_about("is_valid"), is_about("rust")
    (True, True, False)
    """
    return _ABOUT.fullmatch(plain(column)) is not None or bool(_flag(column))


def list_images(
    file: Path,
    source: Source,
    *,
    files: Callable[[], Sequence[Found]],
    home: Path,
    keys: Sequence[FileKey] = (),
) -> Listing | str:
    """Read a table and find the file of each row; in words why not, if it lists no images.

    The column is the one named by ``--path-column`` or ``--id-column``, else one called
    so, else one whose cells are names of the images.

    Args:
        file: the table.
        source: whose options name columns.
        files: gives the files below ``home``.
        home: the folder that holds all of the images.
        keys: what the app's tables may name a file by beside its path.

    Raises:
        ManifestError: the file is no table, or a column that was named is not there.
    """
    cells = read_cells(file)
    table = read_frame(cells)
    notes = list(cells.notes)
    if cells.repeated:
        notes.append(f"{file.name} has the heading {cells.repeated[0]!r} twice.")

    def listed(column: str, frame: pd.DataFrame = table) -> Listing:
        listing = Listing(file, frame, column, list(notes))
        listing.files = resolve_paths(listing, files, allow_outside=source.allow_outside, home=home)
        return listing

    found = _by_wish(listed, table, source, file) or _by_wish_of_id(
        listed, table, source, (file, keys, files)
    )
    if found is None:
        column = column_named(table.columns, *PATH_NAMES)
        found = listed(column) if column else None
        if (found is None or found.share < 0.5) and keys:
            by_key = _by_keys(Listing(file, table, "", list(notes)), keys, files, "")
            found = by_key if by_key.share >= 0.5 else found
        if found is None or found.share < 0.5:
            found = _by_content(table, column, listed) or found
        if found is None or 2 * sum(row.is_missing for row in found.files) > len(found.files):
            found = by_folder(file, home, files, FOLDER_NAMES) or found
        if found is not None and _is_file(found.path_column, files) and column is None:
            # The first row names a file: the table has no headings.
            table = read_frame(read_cells(file, columns=_made_up(list(table.columns), found)))
            notes.append(
                f"{file.name} has no row of headings: its first row names a file. Its columns are "
                f"taken for {', '.join(table.columns)}."
            )
            found = listed("path", table)
    if found is not None:
        return _with_folders(found, listed)
    first = ", ".join(f"{name} ({table[name].iloc[0]})" for name in list(table.columns)[:4])
    return (
        f"{readable(str(file))}: it has no column 'path', which should say where the images are, "
        f"and none of its columns names them (it has: {first}). Name the column with --path-column "
        "NAME, or the column of an id with --id-column NAME."
    )


def _with_folders(found: Listing, listed: Callable[[str, pd.DataFrame], Listing]) -> Listing:
    """The table, where names fit several files by the column that holds their folder as well."""
    many = [not row.is_missing and bool(row.reason) for row in found.files]
    names = found.table[found.path_column]
    if 2 * sum(many) < len(many):
        return found
    for column in found.table.columns:
        folders = found.table[column]
        if column == found.path_column or not (folders != "").all():
            continue
        frame = found.table.assign(**{found.path_column: folders + "/" + names})
        try:
            joined = listed(found.path_column, frame)
        except ManifestError:
            continue
        if joined.share > max(0.9, found.share):
            joined.notes.append(
                f"The images are named by the columns {column} and {found.path_column} of "
                f"{found.file.name} together."
            )
            return joined
    return found


def _is_file(heading: str, files: Callable[[], Sequence[Found]]) -> bool:
    """Whether a heading is the name of an image, so that it is none."""
    return any(heading in {entry.path.stem, entry.path.name} for entry in files())


def _made_up(columns: Sequence[str], found: Listing) -> list[str]:
    """Headings for a table that has none."""
    n = len(columns)
    names = [f"column {k + 1}" for k in range(n)]
    path = columns.index(found.path_column)
    names[path] = "path"
    if n == 2 and found.table[columns[1 - path]].nunique() < max(3, len(found.table)):
        names[1 - path] = "label"
    return names


def _by_wish(
    listed: Callable[[str], Listing], table: pd.DataFrame, source: Source, file: Path
) -> Listing | None:
    """The table by the column that ``--path-column`` names."""
    wanted = option(source, "path-column")
    if not wanted:
        return None
    return listed(wanted_column(file, table.columns, wanted, "where the images are"))


def _by_wish_of_id(
    listed: Callable[[str], Listing],
    table: pd.DataFrame,
    source: Source,
    known: tuple[Path, Sequence[FileKey], Callable[[], Sequence[Found]]],
) -> Listing | None:
    """The table by the column of ids that ``--id-column`` names."""
    wanted = option(source, "id-column")
    if not wanted:
        return None
    file, keys, files = known
    column = wanted_column(file, table.columns, wanted, "which image a row is of")
    by_name = listed(column)
    return by_name if by_name.share >= 0.5 else _by_keys(by_name, keys, files, column)


def _by_content(
    table: pd.DataFrame, tried: str | None, listed: Callable[[str], Listing]
) -> Listing | None:
    """The table by the column most of whose cells are names of images; None if there is none."""
    best: Listing | None = None
    for column in table.columns:
        cells = [cell for cell in table[column] if cell]
        # A column of few words or of measurements names no files.
        if column == tried or len(set(cells)) * 2 < len(table) or not cells:
            continue
        if all(re.fullmatch(r"[+-]?\d*[.,]\d+", cell) for cell in map(whole_number, cells[:20])):
            continue
        try:
            listing = listed(str(column))
        except ManifestError:
            continue
        if listing.share >= 0.5 and (best is None or listing.share > best.share):
            best = listing
    if best is not None:
        best.notes.append(
            f"The images are named by the column {best.path_column} of {best.file.name}, as its "
            "cells show."
        )
    return best


def _by_keys(
    listing: Listing,
    keys: Sequence[FileKey],
    files: Callable[[], Iterable[Found]],
    column: str,
) -> Listing:
    """The table met with files by what these say of themselves; a row of two files is twice there.

    ``column`` was named by the user for a key of one part.
    """
    paths = [found.path for found in files() if not found.reason]
    best = listing
    for key in keys:
        columns = [column] if column else []
        if not columns:
            named = [column_named(listing.table.columns, *names) for names in key.columns]
            columns = [name for name in named if name]
        if len(columns) != len(key.columns):
            continue
        known: dict[tuple[str, ...], list[Path]] = {}
        for path in paths:
            if (of := key.of(path)) and all(of):
                known.setdefault(tuple(_id(part) for part in of), []).append(path)
        rows: list[int] = []
        met: list[Found] = []
        for i, cells in enumerate(listing.table[columns].itertuples(index=False)):
            wanted = tuple(_id(str(cell)) for cell in cells)
            if len(columns) == 2:
                wanted = (wanted[0], wanted[1][:1])
            for path in known.get(wanted, []):
                rows.append(i)
                met.append(Found(path))
            if wanted not in known:
                rows.append(i)
                why = f"{listing.file.name} lists it, but no header has its {' and '.join(columns)}"
                met.append(Found(listing.file.parent / "-".join(map(str, cells)), why, True))
        table = listing.table.iloc[rows].reset_index(drop=True)
        words = f"Rows of {listing.file.name} are met with files by {key.words}."
        found = Listing(listing.file, table, columns[0], [*listing.notes, words], met)
        if found.share > best.share:
            best = found
    return best


def _id(text: str) -> str:
    """An id as it is compared."""
    return whole_number(text).casefold()


def column_named(columns: Collection[str], *names: str) -> str | None:
    """The first of these names that is a column, whatever its case, spaces or dashes."""
    known = {plain(column): column for column in reversed([str(c) for c in columns])}
    return next((known[plain(name)] for name in names if plain(name) in known), None)


def wanted_column(file: Path, columns: Collection[str], name: str, purpose: str) -> str:
    """The column the user or the task named.

    Raises:
        ManifestError: there is none; the message lists those there are.
    """
    column = column_named(columns, name)
    if column is None:
        raise ManifestError(missing_column(file, columns, name, purpose))
    return column


def missing_column(file: Path, columns: Collection[str], name: str, purpose: str) -> str:
    """What to say when a table lacks a column."""
    found = [str(column) for column in columns]
    guess = difflib.get_close_matches(name.lower(), [c.lower() for c in found], n=1)
    hint = ""
    if guess:
        near = next(c for c in found if c.lower() == guess[0])
        hint = f" Did you mean {near!r}?"
    by = {
        "where the images are": "--path-column",
        "the class": "--label-column",
        "the group": "--group-column",
        "the split": "--split-column",
        "which image a row is of": "--id-column",
    }.get(purpose, "")
    way = f"Rename the column, or name another with {by}." if by else "Rename the column."
    return (
        f"{readable(str(file))}: it has no column {name!r}, which should say {purpose} "
        f"(it has: {', '.join(found)}).{hint} {way}"
    )


def split_column_of(listing: Listing, source: Source) -> str | None:
    """The column that says the split: named by the user, called so, or a flag such as is_valid.

    Any column each of whose cells is called like a split, one of them the training, is one.
    Several flags become one column, which the table then has.

    Raises:
        ManifestError: the column that was named is not there, or flags contradict each other.
    """
    wanted = option(source, "split-column")
    if wanted == "none":
        return None
    if wanted:
        return wanted_column(listing.file, listing.table.columns, wanted, "the split")
    found = column_named(listing.table.columns, *SPLIT_COLUMNS)
    if found:
        return found
    flags = []
    for column in map(str, listing.table.columns):
        cells = {cell for cell in listing.table[column] if cell}
        words = {split_word(cell) for cell in cells} if len(cells) < 12 else set()
        if "train" in words and len(words) > 1 and "" not in words:
            return column
        if _flag(column) and cells and {cell.casefold() for cell in cells} <= _YES | _NO:
            flags.append(column)
    return _joined_flags(listing, flags) if len(flags) > 1 else next(iter(flags), None)


def _flag(column: str) -> str:
    """The split that a column of yes and no stands for; empty if it stands for none.

    >>> [_flag(name) for name in ("is_valid", "Train", "is_training_image", "is_test", "healthy")]
    ['val', 'train', 'train', 'test', '']
    """
    return split_word(re.sub(r"^(is|in)_", "", plain(column)).replace("_", " "))


def _joined_flags(listing: Listing, flags: Sequence[str]) -> str:
    """One column of splits from one column of yes and no for each."""
    cells = [[cell.casefold() in _YES for cell in listing.table[name]] for name in flags]
    rows = list(zip(*cells, strict=True))
    odd = [i for i, row in enumerate(rows) if sum(row) > 1]
    if odd:
        msg = (
            f"{readable(str(listing.file))}: {len(odd):,} rows are of several of the splits "
            f"{', '.join(flags)} (first: row {odd[0] + 1}). Name the one column that says the "
            "split with --split-column, or pass --split-column none and let resight draw it."
        )
        raise ManifestError(msg)
    # A row of none is of the one split that has no column, as test where train and val have one.
    rest = {"train", "val", "test"} - {_flag(name) for name in flags}
    other = rest.pop() if len(rest) == 1 else ""
    name = ", ".join(flags)
    splits = [
        next((_flag(f) for f, on in zip(flags, row, strict=True) if on), other) for row in rows
    ]
    listing.table = listing.table.assign(**{name: splits})
    return name


def splits_of(listing: Listing, column: str) -> list[str]:
    """The split of each row, by any of the usual names.

    Raises:
        ManifestError: a cell names none.
    """
    cells = [str(value).strip() for value in listing.table[column]]
    texts = [cell.casefold() for cell in cells]
    flag = _flag(column)
    if flag and set(texts) <= _YES | _NO | {""}:
        other = "test" if flag == "train" else "train"
        listing.notes.append(f"{column} of {listing.file.name}: 1 is {flag}, 0 is {other}.")
        return [(flag if t in _YES else other) if t else "" for t in texts]
    known = {c.casefold(): SPLIT_NAMES.get(c.casefold()) or split_word(c) for c in set(cells)}
    odd = [text for text in texts if text and not known[text]]
    if odd:
        few = ", ".join(sorted(set(odd))[:4])
        msg = (
            f"{readable(str(listing.file))}: {len(odd):,} rows of {column!r} name a split that "
            f"is not known (first: {readable(odd[0])!r}; in all: {readable(few)}). Write train, "
            "val or test, name another column with --split-column, or pass --split-column none "
            "and let resight draw the split."
        )
        raise ManifestError(msg)
    return [known[text] for text in texts]
