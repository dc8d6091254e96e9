"""From the folder of a public mammography set to a manifest, by the facts of ``layouts``.

Tables are read strictly: a column that was renamed is an error that shows the
difference, a file that is missing is counted. What the tables say of outcomes is
never passed on. Headers are asked only where a set says nothing else.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from apps.mammography.layouts import DENSITY, LAYOUTS, SIDES, Layout, Reading, category
from apps.mammography.special_layouts import read_csaw, read_embed, read_mias
from core.app import Manifest, Option
from core.data.label_map import label_map
from core.data.published import (
    Record,
    counted_missing,
    no_such_label,
    not_of_card,
    plain,
    read_sheet,
    refuse_spreadsheet,
    relabelled,
    require_columns,
    resembles,
    table_of,
)
from core.data.scan import readable
from core.data.tables_in import whole_number
from core.errors import ConfigError, ManifestError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from core.app import Source, Task

    Row = Mapping[str, str]

__all__ = ["BIRADS_CANCER", "card_of", "find_layout", "manifest_of"]

BIRADS_CANCER = Option(
    name="birads-cancer",
    help="BI-RADS categories that count as cancer in a set without pathology, by commas; those "
    "that counted by its data card and are not named are left out.",
    verbs=("check", "train", "evaluate"),
)
# A patient's number as CBIS-DDSM writes it into its headers.
_CBIS_PATIENT = re.compile(r"P_\d{5}")


def find_layout(folder: Path, *, card: str = "") -> tuple[Layout, list[Path]] | None:
    """The layout a folder follows and its tables, their columns checked; None if it follows none.

    Args:
        folder: that the user named.
        card: only the layout of this card.

    Raises:
        ManifestError: a table is that of a set, but for its columns.
    """
    near: tuple[Layout, Path] | None = None
    for layout in LAYOUTS:
        if card and layout.card != card:
            continue
        tables = [file for pattern in layout.tables for file in sorted(folder.glob(pattern))]
        if layout.reader == "mias":
            tables = [file for file in tables if "mdb001" in file.read_text("latin-1")[:20_000]]
            if tables:
                return layout, tables
            continue
        whole = []
        for file in tables:
            columns = read_sheet(file).columns
            found = {plain(name) for name in columns}
            if found >= {plain(name) for name in layout.columns}:
                whole.append(file)
            elif near is None and (card or resembles(columns, layout.columns)):
                near = (layout, file)
        if whole:
            near = near if near and near[0] is layout else None
            if near is None:
                return layout, whole
    if near is not None:
        layout, file = near
        require_columns(file, read_sheet(file).columns, layout.columns, title=layout.name)
    return None


def card_of(folder: Path) -> tuple[str, ...]:
    """The card of a folder that is read otherwise, because the user named columns."""
    found = find_layout(folder) if folder.is_dir() else None
    return (found[0].card,) if found else ()


def manifest_of(
    source: Source,
    files: Sequence[Path],
    header_of: Callable[[Path], tuple[str, str]],
) -> Manifest | None:
    """The manifest of a published layout; None if the source is no such folder.

    Args:
        source: one folder; its options ``card``, ``label-map`` and ``birads-cancer`` count.
        files: images below it.
        header_of: path -> patient and side as the header says.

    Raises:
        ManifestError: the folder is a set's, but its columns are not; or it is not
            that of the card named; or the set has no label for the task.
    """
    root, card = source.paths[0], str(source.options.get("card") or "")
    found = find_layout(root, card=card)
    if found is None:
        named = card in {"", "cbis_ddsm"}
        base = _by_headers(source, files, header_of) if source.labelled and named else None
        if base is None and source.labelled:
            for layout in LAYOUTS:
                refuse_spreadsheet(root, layout.spreadsheets, title=layout.name)
        if base is None and card:
            raise not_of_card(root, card)
        return base
    layout, tables = found
    _require_task(layout, source.task)
    meaning, notes = _meaning(layout, source)
    reading = Reading(layout, tables, files, root, source.task, meaning, header_of)
    names = ", ".join(readable(table.name) for table in tables)
    reading.notes += [f"{layout.name}: labels are read from {names}.", *notes]
    reading.notes += [f"{layout.name}: {layout.note}"] if layout.note else []
    _note_outcomes(layout, tables, reading.notes)
    readers = {"rows": _read_rows, "mias": read_mias, "embed": read_embed, "csaw": read_csaw}
    records = readers[layout.reader](reading)
    if not any(record.patient for record in records):
        msg = (
            f"{readable(str(root))}: {names} is that of {layout.name}, but none of "
            f"{len(files):,} image files is listed in it. Point at the folder that holds both the "
            "table and the images."
        )
        raise ManifestError(msg)
    if layout.card == "cbis_ddsm":
        _keep_patients_whole(records, reading.notes)
    return _manifest(layout.name, layout.card, records, source, reading.notes)


def _meaning(layout: Layout, source: Source) -> tuple[dict[str, str], list[str]]:
    """What the cells of the task's label mean, with the user's choices."""
    meaning = dict(layout.labels.get(source.task.name, ("", {}))[1])
    chosen = label_map(source.options.get("label-map"))
    wanted = str(source.options.get("birads-cancer") or "")
    if wanted and source.task.name == "cancer":
        named = {part.strip() for part in wanted.split(",")}
        if not named <= set("0123456"):
            msg = f"--birads-cancer {wanted}: is not a list of BI-RADS categories, such as 4,5."
            raise ConfigError(msg)
        if layout.birads:
            cells = [
                *meaning,
                *(f"BI-RADS {c}" if layout.card == "vindr_mammo" else c for c in named),
            ]
            changes = {cell: "yes" for cell in cells if category(cell) in named}
            changes |= {
                cell: "" for cell, word in meaning.items() if word == "yes" and cell not in changes
            }
            chosen = {**{cell.casefold(): word for cell, word in changes.items()}, **chosen}
    merged, notes = relabelled(meaning, chosen, title=layout.name)
    return {cell: word for cell, word in merged.items() if word}, notes


def _read_rows(reading: Reading) -> list[Record]:
    """Sets with a row per image, lesion or breast."""
    layout = reading.layout
    rows: dict[str, list[Row]] = {}
    names: dict[str, str] = {}
    for table in reading.tables:
        for row in read_sheet(table).rows:
            key = layout.row_key(row) if callable(layout.row_key) else row[plain(layout.row_key)]
            rows.setdefault(key, []).append(row)
            for _, other_key in layout.copies:
                if other := other_key(row):
                    names[other] = key
    records: list[Record] = []
    seen: set[str] = set()
    for path in reading.files:
        key = _key_of(layout, path.relative_to(reading.root).as_posix(), names)
        mine = rows.get(key, []) if key else []
        if mine:
            seen.add(key)
        if layout.by_side and mine:
            side = reading.header_of(path)[1]
            mine = [row for row in mine if SIDES.get(row[plain(layout.side)].upper()) == side]
        if mine:
            records.append(_record(reading, path, mine))
        else:
            records.append(Record(path, reason=f"{reading.tables[0].name} does not list it"))
    missing = [key for key in rows if key not in seen]
    reading.notes += counted_missing(
        layout.name, missing, len(rows), str(reading.root), is_part_fine=True
    )
    return records


def _key_of(layout: Layout, relative: str, names: Mapping[str, str]) -> str:
    """The key of a file, by its path as published or as a known copy has it; empty if none."""
    found = re.search(layout.file_key, relative)
    if found:
        return found[1]
    for pattern, _ in layout.copies:
        found = re.search(pattern, relative)
        if found and found[1] in names:
            return names[found[1]]
    return ""


def _record(reading: Reading, path: Path, rows: Sequence[Row]) -> Record:
    """One image from its rows, which are lesions in some sets."""
    layout, row = reading.layout, rows[0]

    def cell(column: str, of: Row = row) -> str:
        return of.get(plain(column), "") if column else ""

    column = layout.labels.get(reading.task.name, ("", {}))[0]
    raw = [whole_number(cell(column, each)) for each in rows]
    view = cell(layout.view).upper()
    patient = cell(layout.patient)
    if patient.casefold() in {"", "removed"} and layout.patient_in_name:
        named = re.search(layout.patient_in_name, path.as_posix())
        patient = named[1] if named else ""
    extras = {
        "laterality": SIDES.get(cell(layout.side).upper(), ""),
        "view": layout.views.get(view, view),
        "density": DENSITY.get(cell(layout.density).upper().removeprefix("DENSITY "), ""),
        "site": cell(layout.site),
        "age_decade": _decade(cell(layout.age)),
    }
    split = {"training": "train", "test": "test"}.get(cell(layout.split), "")
    if layout.card == "cbis_ddsm":
        split = "train" if "-Training_" in cell("image file path") else "test"
    return Record(
        path=path,
        patient=patient or path.stem,
        label=reading.worst(raw),
        split=split,
        extras={name: value for name, value in extras.items() if value},
    )


def _keep_patients_whole(records: list[Record], notes: list[str]) -> None:
    """CBIS-DDSM split masses and calcifications apart: a patient in both is moved to training."""
    splits: dict[str, set[str]] = {}
    for record in records:
        if record.patient:
            splits.setdefault(record.patient, set()).add(record.split)
    if len({split for found in splits.values() for split in found}) < 2:
        # Only one of its parts is here: no split is given, and one can be drawn.
        for record in records:
            record.split = ""
        return
    both = {patient for patient, found in splits.items() if len(found) > 1}
    for record in records:
        if record.patient in both:
            record.split = "train"
    if both:
        notes.append(
            f"CBIS-DDSM: {len(both):,} patients stand in the training set of one kind of finding "
            f"and the test set of the other (first: {min(both)}). All of their films train."
        )


def _by_headers(
    source: Source, files: Sequence[Path], header_of: Callable[[Path], tuple[str, str]]
) -> Manifest | None:
    """CBIS-DDSM without its tables: its headers name the patient, and no label is known."""
    dicom = [path for path in files if path.suffix.casefold() in {"", ".dcm", ".dicom"}]
    if not dicom or not any(_CBIS_PATIENT.fullmatch(header_of(path)[0]) for path in dicom[:20]):
        return None
    records = []
    for path in files:
        patient = header_of(path)[0]
        if _CBIS_PATIENT.fullmatch(patient):
            records.append(Record(path, patient=patient))
        else:
            records.append(Record(path, reason="its header is not one of CBIS-DDSM"))
    notes = [
        "CBIS-DDSM: recognised by its headers. Its tables (mass_case_description_train_set.csv and "
        "three like it) are not here, so no label is known: put them into the folder to train."
    ]
    return _manifest("CBIS-DDSM", "cbis_ddsm", records, source, notes, needs_label=False)


def _manifest(
    name: str,
    card: str,
    records: Sequence[Record],
    source: Source,
    notes: Sequence[str],
    *,
    needs_label: bool = True,
) -> Manifest:
    """Records as a manifest, in natural order."""
    root = source.paths[0]
    bare = f"{name} has no {source.task.name} label for it" if needs_label else ""
    for record in records:
        # To score images what their tables lack is no need.
        record.reason = source.labelled * (record.reason or ("" if record.label else bare))
        record.label = record.label if source.labelled else ""
        of_breast = {"patient": record.patient, "laterality": "", "view": ""}
        record.extras = {**of_breast, **record.extras}
    table = table_of(records, root)
    is_split = bool((table["split"] != "").any())
    usable = table[table["status"] == "ok"]
    n_ok, n_groups = len(usable), usable.loc[usable["group"] != "", "group"].nunique()
    return Manifest(
        table=table,
        root=root,
        group_rule=f"The group is the patient, as {name} names them: {n_groups:,} "
        f"groups of {n_ok:,} images.",
        split_rule=f"The split is that of {name}." if is_split else "",
        notes=tuple(notes),
        cards=(card,),
    )


def _require_task(layout: Layout, task: Task) -> None:
    """Refuse a task of this app for which the data set has no label."""
    known = {label for each in LAYOUTS for label in each.labels}
    if task.name in known and task.name not in layout.labels:
        raise no_such_label(layout.name, task.name, layout.labels)


def _note_outcomes(layout: Layout, tables: Sequence[Path], notes: list[str]) -> None:
    """Say which columns are not passed on because they give the label away."""
    if not layout.outcomes:
        return
    pattern = re.compile("|".join(plain(c).replace("*", ".*") for c in layout.outcomes))
    there = [
        c for table in tables for c in read_sheet(table).columns if pattern.fullmatch(plain(c))
    ]
    if there:
        named = ", ".join(dict.fromkeys(there))
        notes.append(f"{layout.name}: columns that give the label away are dropped: {named}.")


def _decade(age: str) -> str:
    """Decade of an age in years; ``90+`` above 89."""
    try:
        years = int(float(age))
    except ValueError:
        return ""
    if not 0 < years < 130:
        return ""
    return "90+" if years >= 90 else f"{years // 10 * 10}-{years // 10 * 10 + 9}"
