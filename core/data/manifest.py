"""From what the user points at to a manifest: one row per image, and in words how it came about.

What is understood: a folder of class folders, with or without folders of splits, seasons
or farms above them; tables (CSV, TSV, Parquet, Excel) that list images, named or lying in
the folder; for prediction any folder, file or list. A table beside class folders that
names no class adds its columns to them.

Files are only looked up here, never decoded. Which domain the images come from
is the app's business: it passes its column names and its rule for the group.
"""

from __future__ import annotations

import difflib
import os
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from core.app import Manifest, class_key
from core.base.words import quantity
from core.data.class_folders import check_class_names, label_by_folder
from core.data.folder_tables import (
    UNREAD,
    Tables,
    settle,
    tables_of,
    too_many_missing,
    wants_folders,
    without_a_class,
)
from core.data.folder_words import mask_base, same_name, split_word
from core.data.groups import RESERVED, GroupRule, Input, set_groups
from core.data.image_files import EXTENSIONS
from core.data.label_map import label_map, mapped, meet_classes
from core.data.manifest_tables import (
    LABEL_NAMES,
    Listing,
    list_images,
    missing_column,
    option,
    split_column_of,
    splits_of,
)
from core.data.scan import Found, locate, natural_key, readable, scan
from core.data.table_labels import label_columns, labels_of
from core.data.tables_in import is_table
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    import pandas as pd

    from core.app import Source
    from core.data.table_paths import FileKey

__all__ = ["EXTENSIONS", "GroupRule", "index_images", "locate"]

# A list of files without headings often has this name; it counts where the user names it.
_LISTS = frozenset({".txt", ".lst", ".dat"})

# What is read, in words for a refusal: by every app, and by those that look for such files.
_PICTURES = "JPEG, PNG, TIFF, BMP, WEBP, HEIC, AVIF, PPM"
_FURTHER = {".dcm": "DICOM", ".nii": "NIfTI", ".npy": "NumPy's .npy and .npz"}


@dataclass
class _Look:
    """What is gathered on the way."""

    source: Source
    extensions: frozenset[str]
    label_names: tuple[str, ...]
    keys: tuple[FileKey, ...] = ()
    chosen: dict[str, str] = field(default_factory=dict)
    label_of: Callable[[str], str] | None = None
    inputs: dict[Path, Input] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    listings: list[Listing] = field(default_factory=list)
    split_rule: str = ""
    class_rule: str = ""


def index_images(
    source: Source,
    *,
    group: GroupRule | Sequence[GroupRule] = (),
    extensions: Collection[str] = EXTENSIONS,
    label_names: Sequence[str] = LABEL_NAMES,
    other_labels: Collection[str] = (),
    keys: Sequence[FileKey] = (),
    label_of: Callable[[str], str] | None = None,
) -> Manifest:
    """The manifest of photographs.

    Args:
        source: what the user pointed at. ``source.label`` may name several
            columns of zeros and ones, separated by commas.
            ``source.group`` may be a column, ``image_id``, ``parent`` or
            ``name:REGULAR EXPRESSION``.
        group: the app's rules for the group; the first that applies counts,
            after a column ``group`` or one that names a patient.
        extensions: names of files that are images, lower case with the dot.
        label_names: columns that may hold the class, the more telling first,
            where neither the user nor the task names one.
        other_labels: columns that are the labels of other tasks, so never that.
        keys: what tables may name a file by beside its path.
        label_of: cell of a label column -> label as ``Task`` writes it, for sets that write it
            otherwise: ``No Finding`` is none of the classes of a multi-label task.

    Raises:
        ManifestError: nothing usable is there; the message says what to change.
    """
    source = replace(source, paths=tuple(_without_dots(path) for path in source.paths))
    names = [name for name in (*label_names, *LABEL_NAMES) if name not in other_labels]
    chosen = label_map(source.options.get("label-map")) if source.labelled else {}
    look = _Look(source, frozenset(extensions), tuple(names), tuple(keys), chosen, label_of)
    if source.labelled and len(source.paths) != 1:
        msg = (
            f"{len(source.paths)} paths are given, and labelled images are read from one folder or "
            "one table. Put the classes into one folder, or list all files in one table."
        )
        raise ManifestError(msg)
    for path in source.paths:
        _add_path(look, path)
    if source.labelled:
        _relabel(look)
    if option(source, "split-column") == "none":
        look.split_rule = ""
        for entry in look.inputs.values():
            entry.split = ""
    root = _root(source.paths)
    inputs = _in_order(look, root)
    rule = set_groups(
        inputs,
        [group] if isinstance(group, GroupRule) else list(group),
        source=source,
        listings=look.listings,
        root=root,
        notes=look.notes,
    )
    if source.labelled:
        usable = [entry for _, entry in inputs if not entry.reason]
        check_class_names(usable, source.task, root)
        look.class_rule = _counted(look.class_rule, usable, source)
    _note_skipped(look, inputs)
    return Manifest(
        table=_table(inputs, root),
        root=root,
        group_rule=rule,
        split_rule=look.split_rule,
        class_rule=look.class_rule,
        notes=tuple(dict.fromkeys(look.notes)),
        from_tables=tuple(dict.fromkeys(name for _, entry in inputs for name in entry.extras)),
    )


def _without_dots(path: Path) -> Path:
    """``farm/../leaves`` as ``leaves``, so that paths compare; through a link, where it leads."""
    plain = Path(os.path.normpath(path))
    if plain == path or not path.exists():
        return path
    return plain if plain.exists() and plain.samefile(path) else path.resolve()


def _add_path(look: _Look, path: Path) -> None:
    """Add what lies at one path."""
    if path.is_dir():
        _add_folder(look, path)
    elif path.is_file() and (
        is_table(path) or (look.source.labelled and path.suffix.lower() in _LISTS)
    ):
        _add_table(look, path)
    elif look.source.labelled or not (os.path.lexists(path) or len(look.source.paths) > 1):
        raise ManifestError(_no_such(path))
    else:
        gone = not os.path.lexists(path)
        reason = "there is no such file" if gone else ""
        look.inputs.setdefault(path, Input(path, reason=reason, is_missing=gone))


def _add_table(look: _Look, path: Path) -> None:
    """Add the images that a table lists which the user named."""
    files: list[Found] = []

    def below() -> list[Found]:
        files[:] = files or list(scan(path.parent, extensions=look.extensions))
        return files

    listing = list_images(path, look.source, files=below, home=path.parent, keys=look.keys)
    if isinstance(listing, str):
        raise ManifestError(listing)
    if listing.share < 0.5:
        raise ManifestError(too_many_missing(listing))
    columns: list[str] = []
    name = readable(path.name)
    if look.source.labelled:
        columns = label_columns(listing, look.source, look.label_names)
        if not columns:
            wanted = look.source.label or "label"
            raise ManifestError(missing_column(path, listing.table.columns, wanted, "the class"))
        look.class_rule = _columns_message(columns, name)
        look.notes.extend(_guessed(look.source, columns, name))
    _add_listing(look, listing, columns)


def _add_folder(look: _Look, folder: Path) -> None:
    """Add a folder: by the tables in it that list its images, or by its class folders."""
    found = list(scan(folder, extensions=look.extensions))
    images = [entry for entry in found if not entry.reason]
    tables = Tables()
    if look.source.labelled or any(is_table(entry.path) for entry in found):
        tables = tables_of(folder, found, look.source, label_names=look.label_names, keys=look.keys)
    if not images and not tables.used:
        raise ManifestError(_nothing_in(look, folder, found, tables.passed_over))
    for entry in found:
        if entry.path not in tables.files:
            look.inputs.setdefault(entry.path, Input(entry.path, reason=entry.reason))
    images = _without_masks(look, images)
    if look.source.labelled and (wants_folders(look.source) or not tables.says_class):
        _label_by_folders(look, folder, images, tables)
    elif tables.says_class:
        sources = [
            f"{_shown(listing, folder)} (column {', '.join(columns)})"
            for listing, columns in zip(tables.used, tables.classes, strict=True)
            if columns
        ]
        n = len(sources)
        look.class_rule = f"classes: as {', '.join(sources)} {'says' if n == 1 else 'say'}."
    is_split = any(tables.splits)
    for listing, columns, split in zip(tables.used, tables.classes, tables.splits, strict=True):
        name = _shown(listing, folder)
        is_class = bool(columns) and not wants_folders(look.source)
        look.notes.append(
            f"{name}, which lies in the folder, says which class each image is (column "
            f"{', '.join(columns)})."
            if is_class
            else f"{name}, which lies in the folder, says which images are for {split}."
            if split
            else f"{name}, which lies in the folder, adds its columns to the images it lists."
        )
        _add_listing(look, listing, columns if is_class else [], split=split)
    if is_split:
        names = ", ".join(
            _shown(listing, folder)
            for listing, split in zip(tables.used, tables.splits, strict=True)
            if split
        )
        look.split_rule = f"The split is that of the tables {names}."
    if tables.says_class and look.source.labelled and not wants_folders(look.source):
        _leave_out_unlisted(look, tables, folder)
    look.notes.extend(f"Not used: {why}" for why in tables.passed_over)


def _label_by_folders(look: _Look, folder: Path, images: Sequence[Found], tables: Tables) -> None:
    """Take the classes from the folders, where no table says or may say them.

    Raises:
        ManifestError: a column was named and no table has it; or a table may name the class.
    """
    wanted = wants_folders(look.source)
    why = _why([*without_a_class(tables, folder), *tables.passed_over])
    named = option(look.source, "label-column") or look.source.label or look.source.task.label
    if named != "label" and not wanted:
        have = ", ".join(dict.fromkeys(str(c) for one in tables.used for c in one.table.columns))
        lists = "lists the images" if not tables.used else f"has it (there are: {have})"
        msg = (
            f"{readable(str(folder))}: no table in it {lists}, so there is no column "
            f"{named!r} to read the classes from.{why} Add a table with the columns path and "
            f"{named}, name its column (or several, by commas) with --label-column, or leave "
            "--label and --task out to use the class folders."
        )
        raise ManifestError(msg)
    if not wanted:
        tops = {entry.path.relative_to(folder).parts[0] for entry in images}
        folders = sorted(top for top in tops if (folder / top).is_dir())
        for listing, columns in tables.doubts:
            raise ManifestError(settle(folder, listing, columns, folders))
    answer = label_by_folder(
        look.inputs,
        folder,
        images,
        task=look.source.task,
        wanted=wanted,
        group=look.source.group or "",
        chosen=look.chosen,
        why=why,
    )
    look.split_rule, look.class_rule = answer.split, answer.classes
    look.notes.extend(answer.notes)


def _without_masks(look: _Look, images: Sequence[Found]) -> list[Found]:
    """Images without files that are called like another with ``_mask`` behind its name."""
    names = {(entry.path.parent, entry.path.stem.casefold()) for entry in images}
    kept = []
    for entry in images:
        base = mask_base(entry.path.stem)
        if base and (entry.path.parent, base.casefold()) in names:
            look.inputs[entry.path].reason = "it is called like the mask of another image"
        else:
            kept.append(entry)
    return kept


def _add_listing(look: _Look, listing: Listing, columns: Sequence[str], *, split: str = "") -> None:
    """Add the rows of a table, or what it says of images already there."""
    look.listings.append(listing)
    source, table, rows = look.source, listing.table, listing.files
    name = readable(listing.file.name)
    labels = [""] * len(rows)
    if columns:
        meant = listing
        if look.label_of is not None:
            cells_of = {name: table[name].map(look.label_of) for name in columns}
            meant = replace(listing, table=table.assign(**cells_of))
        labels = labels_of(meant, columns, source.task, look.chosen)
    split_column = split_column_of(listing, source)
    splits = splits_of(listing, split_column) if split_column else [split] * len(rows)
    if split_column and any(splits):
        look.split_rule = f"The split is the column {split_column} of {name}."
    elif columns and not split and option(source, "split-column") != "none":
        splits = _splits_by_folder(look, listing)
    look.notes.extend(_dropped_fold(listing, split_column))
    look.notes.extend(listing.notes)
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
        if not (entry.reason and not found.reason and not columns):
            entry.reason, entry.is_missing = found.reason, found.is_missing
        if columns:
            entry.label, entry.depth = labels[i], 0
            if not labels[i] and not found.reason:
                entry.reason = f"{name} gives no class for it"
        entry.split = splits[i] or entry.split
        entry.extras |= {column: values[i] for column, values in cells.items()}
    _check_repeats(listing, rows, repeats, seen)
    if repeats:
        look.notes.append(f"{len(repeats):,} row(s) of {name} repeat another; each counts once.")


def _leave_out_unlisted(look: _Look, tables: Tables, folder: Path) -> None:
    """Leave out images that no table with classes lists, and say so in the first line."""
    telling = [t for t, columns in zip(tables.used, tables.classes, strict=True) if columns]
    listed = {row.path for listing in telling for row in listing.files}
    names = ", ".join(_shown(listing, folder) for listing in telling)
    verb = "does" if len(telling) == 1 else "do"
    others = [e for e in look.inputs.values() if e.path not in listed and not e.reason]
    n = len(others)
    classes = {same_name(e.label) for e in look.inputs.values() if e.label and not e.reason}
    sorted_in = {e.path.parent.name for e in others if same_name(e.path.parent.name) in classes}
    if len(sorted_in) > 1 and n > len(listed) and not option(look.source, "label-column"):
        msg = (
            f"{readable(str(folder))}: {names} {verb} not list {quantity(n, 'image')}, more than "
            f"listed, and folders of the same classes hold some of them "
            f"({', '.join(sorted(sorted_in))}). Pass --label-column folder to take the classes "
            f"from the folders, {folder / _shown(telling[0], folder)} to use what is listed alone, "
            "or list all images in one table."
        )
        raise ManifestError(msg)
    for entry in others:
        entry.reason = f"{names} {verb} not list it"
    if n:
        message = look.class_rule.rstrip(".")
        look.class_rule = f"{message}; {quantity(n, 'image')} that no table lists, left out."


def _relabel(look: _Look) -> None:
    """Apply ``--label-map``, and meet labels with known classes but for case, spaces, zeros."""
    task = look.source.task
    usable = [entry for entry in look.inputs.values() if entry.label and not entry.reason]
    for entry in usable:
        entry.label = mapped(entry.label, look.chosen, task)
        if not entry.label:
            entry.reason = "its label is left out, as asked"
    if look.chosen:
        rule = ", ".join(f"{raw} as {name or 'left out'}" for raw, name in look.chosen.items())
        look.notes.append(f"Labels count as asked: {rule}.")
    near, words = meet_classes({entry.label for entry in usable}, task)
    if near:
        look.notes.append(words)
        mark = task.label_separator
        for entry in usable:
            parts = entry.label.split(mark) if task.kind == "multilabel" else [entry.label]
            entry.label = mark.join(near.get(part, part) for part in parts)


def _counted(rule: str, usable: Sequence[Input], source: Source) -> str:
    """The first line of a check with the number and names of the classes."""
    if not rule.startswith("classes: as "):
        return rule
    mark = source.task.label_separator
    is_many = source.task.kind == "multilabel"
    names = {n for e in usable for n in (e.label.split(mark) if is_many else [e.label]) if n}
    few = sorted(names, key=class_key)
    more = ", ..." if len(few) > 8 else ""
    return f"classes: {len(few)} ({', '.join(few[:8])}{more}), {rule.removeprefix('classes: ')}"


def _columns_message(columns: Sequence[str], name: str) -> str:
    """The first line of a check on a table."""
    return f"classes: as the column {', '.join(columns)} of {name} says."


def _guessed(source: Source, columns: Sequence[str], name: str) -> list[str]:
    """Which column the class is read from, where nobody has named it."""
    is_named = source.label or not columns or columns[0].strip().lower() == source.task.label
    return [] if is_named else [f"The class is the column {', '.join(columns)} of {name}."]


def _shown(listing: Listing, folder: Path) -> str:
    """A table's name below a folder."""
    return readable(listing.file.relative_to(folder).as_posix())


def _dropped_fold(listing: Listing, used: str | None) -> list[str]:
    """A note on columns that look like a split and are not read as one."""
    names = [
        str(c)
        for c in listing.table.columns
        if str(c).strip().lower() in {"fold", "folds", "kfold", "set", "usage"} and c != used
    ]
    if not names:
        return []
    return [
        f"The column {names[0]} of {listing.file.name} is not used as a split. Pass --split-column "
        f"{names[0]} if its cells say train, val and test."
    ]


def _splits_by_folder(look: _Look, listing: Listing) -> list[str]:
    """The split of each row where the first folders of all paths name two splits or more."""
    root, rows = listing.file.parent, listing.files
    usable = [row for row in rows if not row.reason]
    tops = {
        row.path: row.path.relative_to(root).parts[0]
        for row in usable
        if row.path.is_relative_to(root) and len(row.path.relative_to(root).parts) > 1
    }
    splits = {path: split_word(top) for path, top in tops.items()}
    if len(tops) < len(usable) or not all(splits.values()) or len(set(splits.values())) < 2:
        return [""] * len(rows)
    look.split_rule = f"The split is that of the folders {', '.join(sorted(set(tops.values())))}."
    return [splits.get(row.path, "") for row in rows]


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
        kind = UNREAD.get(path.suffix.lower(), "")
        what = f"it is {kind}, and " if kind else "it is "
        return (
            f"{shown}: {what}neither a folder nor a table that is read (CSV, TSV, Parquet, "
            "Feather, .xlsx, JSON lines), so nothing says which class an image is. Pass a folder "
            "of class folders, or a table."
        )
    siblings = os.listdir(path.parent) if path.parent.is_dir() else []  # noqa: PTH208  (names only)
    guess = difflib.get_close_matches(path.name, siblings, n=1)
    hint = f" Did you mean {readable(guess[0])!r}?" if guess else ""
    return f"{shown}: there is no such file or folder.{hint} Check the path."


def _nothing_in(look: _Look, folder: Path, found: list[Found], unfit: list[str]) -> str:
    """What to say of a folder without a single image."""
    what = "it is empty"
    if found:
        reasons = Counter(entry.reason for entry in found)
        reason = reasons.most_common(1)[0][0]
        first = next(entry.path for entry in found if entry.reason == reason)
        shown = readable(first.relative_to(folder).as_posix())
        what = f"none of its {len(found):,} files is an image (first: {shown}, {reason})"
    more = [name for ending, name in _FURTHER.items() if ending in look.extensions]
    return (
        f"{readable(str(folder))}: {what}.{_why(unfit)} Point at a folder that holds images "
        f"({', '.join((_PICTURES, *more))}), or at a table that lists them."
    )


def _why(unfit: list[str]) -> str:
    """The first tables that were not used and why, as sentences to append."""
    return "".join(f" {words}" for words in unfit[:3])
