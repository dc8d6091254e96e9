"""From the folder of a public set of leaf photos to a manifest, by the facts of ``layouts``.

A table is read here, strictly: a column that was renamed is an error that shows
the difference, a file that is missing is counted. Class folders are read by
core; what is added is the card, and for PlantVillage the leaf.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from apps.crop_disease.layouts import FOLDER_SETS, TABLE_SETS
from core.app import Manifest
from core.base.parsing import read_json
from core.data.label_map import label_map
from core.data.published import (
    Record,
    counted_missing,
    match_rows,
    no_such_label,
    not_of_card,
    plain,
    read_sheet,
    relabelled,
    require_columns,
    resembles,
    table_of,
)
from core.data.scan import readable, scan
from core.data.tables_in import whole_number
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from apps.crop_disease.layouts import FolderSet, TableSet
    from core.app import Source, Task
    from core.data.published import Sheet

    Read = Callable[[Source], Manifest]

__all__ = ["by_layout"]

_EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})


def by_layout(source: Source, read: Read) -> Manifest | None:
    """The manifest of a public set; None if the source is no such set.

    Args:
        source: of labelled photos; its option ``card`` names a card, or ``none``.
        read: reads the source as any other, for sets of class folders.

    Raises:
        ManifestError: the folder is a public set whose table or folders differ from
            those published, or not that of the card named.
    """
    card = str(source.options.get("card") or "")
    if not source.labelled or card == "none" or len(source.paths) != 1:
        return None
    path = source.paths[0]
    if path.is_dir() or path.suffix.lower() == ".csv":
        for one in TABLE_SETS:
            sheet = _table_of(one, path, card) if card in {"", one.card} else None
            if sheet is not None:
                return _read_table(one, sheet, source, read)
        for other in FOLDER_SETS:
            base = _base_of(other, path) if card in {"", other.card} else None
            if base is not None:
                return _read_folders(other, base, source, read)
    if card:
        raise not_of_card(path, card, "tables and folders")
    return None


def _table_of(one: TableSet, path: Path, card: str) -> Sheet | None:
    """The table of a set, its columns checked; None if the path does not hold the set."""
    tables = sorted(path.iterdir()) if path.is_dir() else [path]
    for file in tables:
        if not (file.is_file() and re.fullmatch(one.table, file.name, re.IGNORECASE)):
            continue
        sheet = read_sheet(file)
        found = {plain(name) for name in sheet.columns}
        is_whole = found >= {plain(name) for name in one.columns}
        has_marks = all((file.parent / mark).exists() for mark in one.marks)
        if not has_marks or not (is_whole or resembles(found, one.columns, bool(one.marks))):
            continue
        if one.named_like and not card and not _fits_names(one, sheet):
            continue
        if not is_whole and not card and _fits_another(one, sheet, file):
            continue
        require_columns(file, sheet.columns, one.columns, title=one.title)
        return sheet
    return None


def _fits_names(one: TableSet, sheet: Sheet) -> bool:
    """Whether the photos beside the table are called as in the set."""
    files = scan(sheet.file.parent / one.images, extensions=_EXTENSIONS)
    names = [file.path.stem for file, _ in zip(files, range(50), strict=False)]
    return bool(names) and all(re.fullmatch(one.named_like, name) for name in names)


def _fits_another(one: TableSet, sheet: Sheet, file: Path) -> bool:
    """Whether another set has all of its columns in this table."""
    found = {plain(name) for name in sheet.columns}
    return any(
        found >= {plain(name) for name in other.columns}
        and all((file.parent / mark).exists() for mark in other.marks)
        for other in TABLE_SETS
        if other is not one and re.fullmatch(other.table, file.name, re.IGNORECASE)
    )


def _read_table(one: TableSet, sheet: Sheet, source: Source, read: Read) -> Manifest:
    """The manifest of a set with a table."""
    root = sheet.file.parent
    named = _label_columns(one, source)
    has_split = "split" in {plain(name) for name in sheet.columns}
    if named is None or has_split:
        # The user's own label, or a split that somebody added: core reads it, the card stays.
        columns = ",".join(named or ())
        if named and source.task.name == "symptoms":
            source = replace(source, label=columns)
        return _one_each(one, replace(read(source), cards=(one.card,)), source)
    where = root / one.images if one.images and (root / one.images).is_dir() else root
    images = [file.path for file in scan(where, extensions=_EXTENSIONS) if not file.reason]
    matched = match_rows(sheet, one.image, images, title=one.title)
    notes = [f"{one.title}: labels are read from {sheet.file.name}, column {', '.join(named)}."]
    notes += [f"{one.title}: {one.note}"] if one.note else []
    notes += counted_missing(
        one.title,
        matched.missing,
        len(matched.rows) + len(matched.missing),
        readable(str(where)),
    )
    meaning, said = _meaning(one, source, root)
    group = plain(source.group or "")
    records: list[Record] = []
    for path, row in matched.rows:
        label, reason = _label(one, source.task, named, row, meaning)
        records.append(
            Record(
                path,
                label=label,
                patient=row.get(group, "") if group else "",
                reason=reason,
                extras={name: row.get(plain(name), "") for name in one.keep},
            )
        )
    records += [Record(path, reason=reason) for path, reason in matched.loose]
    rule = ""
    if group:
        n_groups = len({record.patient for record in records} - {""})
        rule = f"The group is as asked, in the column {source.group}: {n_groups:,} groups."
    found = Manifest(
        table=table_of(records, root),
        root=root,
        group_rule=rule,
        notes=(*notes, *said),
        cards=(one.card,),
    )
    return _one_each(one, found, source)


def _one_each(one: TableSet, found: Manifest, source: Source) -> Manifest:
    """The manifest with each photo as a leaf of its own, where the data card says so."""
    if not one.is_one_each or source.group or found.group_rule:
        return found
    ids = found.table["image_id"].where(found.table["status"] == "ok", "")
    rule = f"The group is the leaf: {one.title} has one photo of each, as its data card says."
    return replace(found, table=found.table.assign(group=ids), group_rule=rule)


def _label_columns(one: TableSet, source: Source) -> tuple[str, ...] | None:
    """The columns of the task's label; None if core must find what the user named.

    Raises:
        ManifestError: the set has no label for the task.
    """
    is_column = plain(source.group or "") in {plain(name) for name in (*one.keep, *one.columns)}
    if source.label or (source.group and not is_column):
        return None
    task = source.task.name
    if task in one.labels:
        return one.labels[task]
    if task in {"severity", "symptoms"}:
        raise no_such_label(one.title, task, one.labels)
    return one.labels["disease"]


def _meaning(one: TableSet, source: Source, root: Path) -> tuple[dict[str, str], list[str]]:
    """Raw label -> class, with the user's changes, and notes."""
    names = dict(one.names) if source.task.name not in {"severity", "symptoms"} else {}
    if one.names_file:
        file = root / one.names_file
        try:
            names = {str(k): str(v) for k, v in read_json(file).items()}
        except (OSError, ValueError, AttributeError) as error:
            msg = (
                f"{readable(str(file))}: is not a map from label to name ({error}). Restore the "
                "published file, or pass --card none."
            )
            raise ManifestError(msg) from error
    return relabelled(names, label_map(source.options.get("label-map")), title=one.title)


def _label(
    one: TableSet,
    task: Task,
    columns: tuple[str, ...],
    row: Mapping[str, str],
    meaning: Mapping[str, str],
) -> tuple[str, str]:
    """The label of a row, and why it has none."""
    if len(columns) > 1:
        raw = [name for name in columns if re.fullmatch(r"1(\.0+)?", row.get(plain(name), ""))]
    elif one.separator:
        raw = row.get(plain(columns[0]), "").split(one.separator)
    else:
        cell = whole_number(row.get(plain(columns[0]), ""))
        raw = [cell] if cell else []
    names = [meaning.get(part.casefold(), part) for part in raw if part]
    if task.kind == "multilabel":
        # None of the symptoms is an answer; an empty cell is not.
        return task.label_separator.join(filter(None, names)) or task.label_separator, ""
    if len(names) > 1:
        return "", f"{one.title} gives it {len(names)} labels; --task symptoms trains them"
    if not names or not names[0]:
        return "", f"{one.title} gives no label for it"
    return names[0], ""


def _base_of(one: FolderSet, path: Path) -> Path | None:
    """The folder that holds the class folders of a set; None if the path does not."""
    if not path.is_dir():
        return None
    for base in one.bases:
        folders = [path / part for part in base.split("+")]
        present = [folder for folder in folders if folder.is_dir()]
        names = {child.name for folder in present for child in folder.iterdir() if child.is_dir()}
        known = names & set(one.classes)
        # A few common words are no proof: most folders must be of the set.
        if len(known) < 2 or 2 * len(known) < len(names):
            continue
        _require_folders(one, present[0], names)
        return present[0] if len(folders) == 1 else path
    return None


def _require_folders(one: FolderSet, base: Path, names: set[str]) -> None:
    """Refuse class folders that the set does not have; the message is a diff.

    A copy may lack classes, but one under another name would count as a new class.
    """
    unknown = sorted(names - set(one.classes) - set(one.others))
    if not unknown:
        return
    lines = []
    for name in unknown[:8]:
        near = difflib.get_close_matches(name, one.classes, n=1)
        lines += [f"  - {near[0]}"] if near else []
        lines.append(f"  + {name}")
    msg = (
        f"{readable(str(base))}: is laid out as {one.title}, but {len(unknown)} of its class "
        "folders are not as published (- expected, + found):\n"
        + "\n".join(lines)
        + "\nA class under another name would count as a new one. Restore the published names, or "
        "pass --card none to read the folder as any other."
    )
    raise ManifestError(msg)


def _read_folders(one: FolderSet, base: Path, source: Source, read: Read) -> Manifest:
    """The manifest of a set of class folders: core's, with the card and the leaf."""
    found: Manifest = read(replace(source, paths=(base,)))
    chosen = label_map(source.options.get("label-map"))
    table, notes = found.table, list(found.notes)
    if chosen:
        names, said = relabelled({}, chosen, title=one.title)
        labels = [names.get(str(label).casefold(), str(label)) for label in table["label"]]
        left_out = [
            not label and status == "ok"
            for label, status in zip(labels, table["status"], strict=True)
        ]
        table = table.assign(label=labels)
        table.loc[left_out, "status"] = "skipped"
        table.loc[left_out, "reason"] = "its label is left out, as asked"
        notes += said
    if base != source.paths[0]:
        notes.append(f"{one.title}: only the photos in {base.name} are used.")
    found = replace(found, table=table, notes=tuple(notes), cards=(one.card,))
    return _with_leaves(one, found, source) if one.leaf_map and not source.group else found


def _with_leaves(one: FolderSet, found: Manifest, source: Source) -> Manifest:
    """The manifest with the leaf as its group, from the set's map of photos to leaves."""
    start = found.root
    folders = [source.paths[0], start, start.parent, start.parent.parent]
    file = next((f / one.leaf_map for f in folders if (f / one.leaf_map).is_file()), None)
    if file is None:
        note = (
            f"{one.title}: {one.leaf_map} is not there, so nothing says which photos show the same "
            "leaf, and a split may put one leaf on both sides. Put it beside the class folders."
        )
        return replace(found, notes=(*found.notes, note))
    try:
        content = read_json(file)
        leaves = {str(name): [str(leaf) for leaf in known] for name, known in content.items()}
    except (ValueError, AttributeError, TypeError) as error:
        msg = (
            f"{readable(str(file))}: is laid out as {one.title}, but is not a map from photo to "
            f"leaves ({error}). Groups would be wrong. Restore the published file, or pass --card "
            "none."
        )
        raise ManifestError(msg) from error
    groups = [
        _leaf(str(path), str(label), leaves)
        for path, label in zip(found.table["path"], found.table["label"], strict=True)
    ]
    known = [
        bool(group) and status == "ok"
        for group, status in zip(groups, found.table["status"], strict=True)
    ]
    n_ok = int((found.table["status"] == "ok").sum())
    n_groups = len({group for group, is_known in zip(groups, known, strict=True) if is_known})
    notes = list(found.notes)
    if sum(known) < n_ok:
        notes.append(
            f"{one.title}: {n_ok - sum(known):,} of {n_ok:,} photos are not in {one.leaf_map}; "
            "each counts as a leaf of its own."
        )
    table = found.table.assign(
        group=groups,
        leaf=[g or i for g, i in zip(groups, found.table["image_id"], strict=True)],
    )
    rule = (
        f"The group is the leaf, from {one.leaf_map}: {n_groups:,} leaves of {sum(known):,} photos."
    )
    return replace(found, table=table, group_rule=rule, notes=tuple(notes))


def _leaf(path: str, label: str, leaves: Mapping[str, Sequence[str]]) -> str:
    """The leaf that a photo shows: ``<uuid>___RS_HL 5959.JPG`` is looked up as ``rs_hl 5959``."""
    name = path.rsplit("/", 1)[-1].replace("_final_masked", "").rsplit("___", 1)[-1]
    name = re.sub(r"(?i)\.(jpe?g|png)$", "", name.split("copy")[0]).strip().casefold()
    found = leaves.get(name, ())
    if len(found) == 1:
        return found[0]
    # One number was used for leaves of several crops.
    return next((leaf for leaf in found if leaf.startswith(f"{label}:::")), "")
