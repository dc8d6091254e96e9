"""From what the user points at to a manifest: one row per image, and in words how it came about.

What is understood: a folder of class folders; ``train``, ``val``, ``test`` of
class folders; a table (CSV, TSV, Parquet) that lists images, named or lying in
the folder; for prediction any folder, file or list. A table beside class
folders that names no class adds its columns to them.

Files are only looked up here, never decoded. Which domain the images come from
is the app's business: it passes its column names and its rule for the group.
"""

from __future__ import annotations

import difflib
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from core.app import Manifest
from core.data.class_folders import check_class_names, label_by_folder
from core.data.groups import RESERVED, GroupRule, Input, set_groups
from core.data.image_files import EXTENSIONS
from core.data.manifest_tables import (
    LABEL_NAMES,
    SPLIT_NAMES,
    Listing,
    column_named,
    label_columns,
    labels_of,
    missing_column,
    open_listing,
    read_table,
    resolve_paths,
    splits_of,
)
from core.data.scan import TABLES, Found, locate, natural_key, readable, scan
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import pandas as pd

    from core.app import Source

__all__ = ["EXTENSIONS", "GroupRule", "index_images", "locate"]


@dataclass
class _Look:
    """What is gathered on the way."""

    source: Source
    extensions: frozenset[str]
    label_names: tuple[str, ...]
    inputs: dict[Path, Input] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    listing: Listing | None = None
    split_rule: str = ""


def index_images(
    source: Source,
    *,
    group: GroupRule | Sequence[GroupRule] = (),
    extensions: Collection[str] = EXTENSIONS,
    label_names: Sequence[str] = LABEL_NAMES,
    other_labels: Collection[str] = (),
) -> Manifest:
    """The manifest of photographs.

    Args:
        source: what the user pointed at. ``source.label`` may name several
            columns of zeros and ones, separated by commas, for a multi-label
            task. ``source.group`` may be a column, ``image_id``, ``parent`` or
            ``name:REGULAR EXPRESSION``.
        group: the app's rules for the group; the first that applies counts,
            after it a column ``group``.
        extensions: names of files that are images, lower case with the dot.
        label_names: columns that may hold the class, the more telling first,
            where neither the user nor the task names one.
        other_labels: columns that are the labels of other tasks, so never that.

    Raises:
        ManifestError: nothing usable is there; the message says what to change.
    """
    names = [name for name in (*label_names, *LABEL_NAMES) if name not in other_labels]
    look = _Look(source, frozenset(extensions), tuple(names))
    if source.labelled and len(source.paths) != 1:
        msg = (
            f"{len(source.paths)} paths are given, and labelled images are read from one folder or "
            "one table. Put the classes into one folder, or list all files in one table."
        )
        raise ManifestError(msg)
    for path in source.paths:
        _add_path(look, path)
    root = _root(source.paths)
    inputs = _in_order(look, root)
    rule = set_groups(
        inputs,
        [group] if isinstance(group, GroupRule) else list(group),
        source=source,
        listing=look.listing,
        root=root,
        notes=look.notes,
    )
    if source.labelled:
        usable = [entry for _, entry in inputs if not entry.reason]
        check_class_names(usable, source.task, root)
    _note_skipped(look, inputs)
    return Manifest(
        table=_table(inputs, root),
        root=root,
        group_rule=rule,
        split_rule=look.split_rule,
        notes=tuple(look.notes),
    )


def _add_path(look: _Look, path: Path) -> None:
    """Add what lies at one path."""
    if path.is_dir():
        _add_folder(look, path)
    elif path.suffix.lower() in TABLES and path.is_file():
        listing = open_listing(path)
        if listing is None:
            columns = read_table(path).columns
            raise ManifestError(missing_column(path, columns, "path", "where the images are"))
        rows = resolve_paths(
            listing,
            lambda: scan(path.parent, extensions=look.extensions),
            allow_outside=look.source.allow_outside,
        )
        _add_listing(look, listing, rows, alone=True)
    elif look.source.labelled or not (os.path.lexists(path) or len(look.source.paths) > 1):
        raise ManifestError(_no_such(path))
    else:
        gone = not os.path.lexists(path)
        reason = "there is no such file" if gone else ""
        look.inputs.setdefault(path, Input(path, reason=reason, is_missing=gone))


def _add_folder(look: _Look, folder: Path) -> None:
    """Add a folder: by the one table in it that lists its images, or by its class folders."""
    found = list(scan(folder, extensions=look.extensions))
    images = [entry for entry in found if not entry.reason]
    fitting, unfit = _tables_in(look, folder, found)
    if not images and not fitting:
        raise ManifestError(_nothing_in(folder, found, unfit))
    used = {listing.file for listing, _ in fitting}
    for entry in found:
        if entry.path not in used:
            look.inputs.setdefault(entry.path, Input(entry.path, reason=entry.reason))
    columns: list[str] = []
    if fitting and look.source.labelled:
        columns = label_columns(fitting[0][0], look.source, look.label_names)
    if look.source.labelled and not columns:
        wanted = look.source.label or look.source.task.label
        if wanted != "label":
            msg = (
                f"{readable(str(folder))}: no table in it lists the images, so there is no column "
                f"{wanted!r} to read the classes from.{_why(unfit)} Add a table with the columns "
                f"path and {wanted}, or leave --label and --task out to use the class folders."
            )
            raise ManifestError(msg)
        look.split_rule, notes = label_by_folder(look.inputs, folder, images, why=_why(unfit))
        look.notes.extend(notes)
    if fitting:
        listing, rows = fitting[0]
        name = readable(listing.file.name)
        look.notes.append(
            f"{name}, which lies in the folder, says which class each image is (column "
            f"{', '.join(columns)})."
            if columns
            else f"{name}, which lies in the folder, adds its columns to the images it lists."
        )
        _add_listing(look, listing, rows, alone=False)
    look.notes.extend(f"Not used: {why}" for why in unfit)


def _tables_in(
    look: _Look, folder: Path, found: list[Found]
) -> tuple[list[tuple[Listing, list[Found]]], list[str]]:
    """The table in a folder that lists its images, at most one, and why others were not used."""
    fitting: list[tuple[Listing, list[Found]]] = []
    unfit: list[str] = []
    for entry in found:
        if entry.path.parent != folder or entry.path.suffix.lower() not in TABLES:
            continue
        try:
            listing = open_listing(entry.path)
            if listing is None:
                continue
            rows = resolve_paths(listing, lambda: found, allow_outside=look.source.allow_outside)
        except ManifestError as error:
            unfit.append(str(error))
            continue
        if sum(not row.reason for row in rows) * 2 < len(rows):
            unfit.append(_too_many_missing(listing, rows))
        else:
            fitting.append((listing, rows))
    if len(fitting) > 1 and look.source.labelled:
        telling = [pair for pair in fitting if _says_class(look, pair[0])]
        if len(telling) != 1:
            names = ", ".join(readable(listing.file.name) for listing, _ in fitting)
            msg = (
                f"{readable(str(folder))}: {len(fitting)} tables list its images ({names}), and "
                "nothing says which to follow. Pass the one you mean instead of the folder."
            )
            raise ManifestError(msg)
        fitting = telling
    return (fitting if len(fitting) == 1 else []), unfit


def _says_class(look: _Look, listing: Listing) -> bool:
    """Whether a table has the column that the class is read from."""
    try:
        return bool(label_columns(listing, look.source, look.label_names))
    except ManifestError:
        return False


def _add_listing(look: _Look, listing: Listing, rows: list[Found], *, alone: bool) -> None:
    """Add the rows of a table, or what it says of images already there.

    ``alone`` means that the table itself was named, so only what it lists counts.
    """
    look.listing = listing
    source, table, name = look.source, listing.table, readable(listing.file.name)
    if alone and sum(not row.reason for row in rows) * 2 < len(rows):
        raise ManifestError(_too_many_missing(listing, rows))
    columns = label_columns(listing, look.source, look.label_names) if source.labelled else []
    if source.labelled and alone and not columns:
        raise ManifestError(
            missing_column(listing.file, table.columns, source.label or "label", "the class")
        )
    look.notes.extend(_guessed(source, columns, name) if alone else [])
    labels = labels_of(listing, columns, source.task) if columns else [""] * len(rows)
    split_column = column_named(table.columns, "split", "subset", "partition", "fold_name")
    splits = splits_of(listing, split_column) if split_column else [""] * len(rows)
    if any(splits):
        look.split_rule = f"The split is the column {split_column} of {name}."
    elif columns:
        splits = _splits_by_folder(look, listing, rows)
    cells = {
        f"{c}_given" if c in RESERVED else str(c): list(table[c])
        for c in table.columns
        if c != listing.path_column and not (c in RESERVED and c in {*columns, split_column})
    }
    seen: dict[Path, int] = {}
    repeats: list[int] = []
    for i, found in enumerate(rows):
        if found.path in seen and not found.reason:
            repeats.append(i)
            continue
        seen[found.path] = i
        entry = look.inputs.setdefault(found.path, Input(found.path))
        entry.reason, entry.is_missing = found.reason, found.is_missing
        if columns:
            entry.label, entry.depth = labels[i], 0
            if not labels[i] and not found.reason:
                entry.reason = f"{name} gives no class for it"
        entry.split = splits[i] or entry.split
        entry.extras = {column: values[i] for column, values in cells.items()}
    _check_repeats(listing, rows, repeats, seen)
    if repeats:
        look.notes.append(f"{len(repeats):,} row(s) of {name} repeat another; each counts once.")
    if columns:
        for entry in look.inputs.values():
            if entry.path not in seen and not entry.reason:
                entry.reason = f"{name} does not list it"


def _guessed(source: Source, columns: Sequence[str], name: str) -> list[str]:
    """Which column the class is read from, where nobody has named it."""
    is_named = source.label or not columns or columns[0].strip().lower() == source.task.label
    return [] if is_named else [f"The class is the column {columns[0]} of {name}."]


def _splits_by_folder(look: _Look, listing: Listing, rows: list[Found]) -> list[str]:
    """The split of each row where the first folders of all paths name two splits or more."""
    root = listing.file.parent
    tops = [
        row.path.relative_to(root).parts[0].lower() if row.path.is_relative_to(root) else ""
        for row in rows
    ]
    splits = [SPLIT_NAMES.get(top, "") for top in tops]
    if "" in splits or len(set(splits)) < 2:
        return [""] * len(rows)
    look.split_rule = f"The split is that of the folders {', '.join(sorted(set(tops)))}."
    return splits


def _check_repeats(
    listing: Listing, rows: list[Found], repeats: list[int], seen: dict[Path, int]
) -> None:
    """Refuse a file that is listed twice with different words about it."""
    table = listing.table.drop(columns=[listing.path_column])
    odd = [i for i in repeats if list(table.iloc[i]) != list(table.iloc[seen[rows[i].path]])]
    if odd:
        first = readable(str(listing.table[listing.path_column].iloc[odd[0]]))
        msg = (
            f"{readable(str(listing.file))}: {len(odd):,} rows name a file that another row names "
            f"with other values (first: {first}). One image has one row, and several labels of it "
            "stand in one cell, joined by |. Merge these rows."
        )
        raise ManifestError(msg)


def _note_skipped(look: _Look, inputs: list[tuple[str, Input]]) -> None:
    """Say what is passed over and why, one note per reason."""
    skipped: dict[str, list[str]] = {}
    for image_id, entry in inputs:
        if entry.reason:
            what = "will fail" if entry.is_missing else "skipped"
            skipped.setdefault(f"{what}: {entry.reason}", []).append(image_id)
    look.notes.extend(f"{len(ids):,} {why} (first: {ids[0]})." for why, ids in skipped.items())


def _in_order(look: _Look, root: Path) -> list[tuple[str, Input]]:
    """The inputs under unique ids, in natural order of these."""
    named: dict[str, Input] = {}
    for path, entry in look.inputs.items():
        image_id = _text(path, root)
        # Only a name that is not UTF-8 can meet the escaped form of another.
        while image_id in named:
            image_id += "~"
        named[image_id] = entry
    ordered = sorted(named.items(), key=lambda pair: natural_key(pair[0]))
    if not any(not entry.reason for _, entry in ordered):
        reasons = Counter(entry.reason for _, entry in ordered)
        most = ", ".join(f"{n:,} x {reason}" for reason, n in reasons.most_common(3))
        msg = (
            f"{readable(str(root))}: none of {len(ordered):,} files is usable ({most}). "
            "Point at a folder of images, or at a table that lists them."
        )
        raise ManifestError(msg)
    return ordered


def _table(inputs: list[tuple[str, Input]], root: Path) -> pd.DataFrame:
    """The manifest table; extra columns are text, empty where an image has none."""
    import pandas as pd  # noqa: PLC0415  (0.5 s to import)

    extras = dict.fromkeys(name for _, entry in inputs for name in entry.extras)
    # A file that was asked for and is not there fails when it is read, like any broken one.
    passed_over = ["" if entry.is_missing else entry.reason for _, entry in inputs]
    columns: dict[str, list[str]] = {
        "image_id": [image_id for image_id, _ in inputs],
        "path": [_text(entry.path, root) for _, entry in inputs],
        "label": [entry.label for _, entry in inputs],
        "group": [entry.group for _, entry in inputs],
        "split": [entry.split for _, entry in inputs],
        "status": ["skipped" if reason else "ok" for reason in passed_over],
        "reason": passed_over,
    }
    for name in extras:
        columns[name] = [entry.extras.get(name, "") for _, entry in inputs]
    return pd.DataFrame(columns, dtype="str")


def _text(path: Path, root: Path) -> str:
    """A path as it stands in tables: POSIX, relative to the root where it lies below it."""
    inside = path.relative_to(root) if path.is_relative_to(root) else path
    return readable(inside.as_posix())


def _root(paths: Sequence[Path]) -> Path:
    """The folder that all paths lie in."""
    folders = [str(path if path.is_dir() else path.parent) for path in paths]
    try:
        return Path(os.path.commonpath(folders))
    except ValueError:
        # Different drives on Windows; the ids are then absolute.
        return Path(folders[0])


def _no_such(path: Path) -> str:
    """What to say of a path that labelled images cannot be read from."""
    shown = readable(str(path))
    if os.path.lexists(path):
        return (
            f"{shown}: it is neither a folder nor a table (CSV, TSV, Parquet), so nothing says "
            "which class an image is. Pass a folder of class folders, or a table."
        )
    siblings = os.listdir(path.parent) if path.parent.is_dir() else []  # noqa: PTH208  (names only)
    guess = difflib.get_close_matches(path.name, siblings, n=1)
    hint = f" Did you mean {readable(guess[0])!r}?" if guess else ""
    return f"{shown}: there is no such file or folder.{hint} Check the path."


def _nothing_in(folder: Path, found: list[Found], unfit: list[str]) -> str:
    """What to say of a folder without a single image."""
    what = "it is empty"
    if found:
        reasons = Counter(entry.reason for entry in found)
        what = f"none of its {len(found):,} files is an image ({reasons.most_common(1)[0][0]}, ...)"
    return (
        f"{readable(str(folder))}: {what}.{_why(unfit)} Point at a folder that holds images (JPEG, "
        "PNG, TIFF, BMP, WEBP, PPM), or at a table that lists them."
    )


def _too_many_missing(listing: Listing, rows: list[Found]) -> str:
    """What to say of a table most of whose files are not there."""
    missing = [i for i, row in enumerate(rows) if row.reason]
    first = readable(str(listing.table[listing.path_column].iloc[missing[0]]))
    return (
        f"{readable(str(listing.file))}: {len(missing):,} of the {len(rows):,} files it lists in "
        f"the column {listing.path_column!r} are not there (first: {first!r}). Paths are relative "
        "to the table's folder: move the table, or correct the column."
    )


def _why(unfit: list[str]) -> str:
    """The first table that was not used, as a sentence to append."""
    return f" {unfit[0]}" if unfit else ""
