"""From the tables of a public set of fundus photographs to records, by the facts of ``layouts``.

Tables are read strictly: a column that was renamed is an error that shows the
difference, a file that is missing is counted. Columns that were judged after the
grade are not passed on: the index keeps what it knows by name.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from apps.retinopathy.layouts import LAYOUTS, Layout, patient_and_eye
from core.data.folder_words import is_form
from core.data.label_map import label_map
from core.data.published import (
    Record,
    Sheet,
    counted_missing,
    plain,
    read_sheet,
    refuse_spreadsheet,
    require_columns,
    resembles,
    stem_of,
)
from core.data.scan import natural_key, readable
from core.data.tables_in import whole_number
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

__all__ = ["card_of", "find_layout", "read_layout"]

_SPLITS = {"train": "train", "valid": "val", "evalu": "test", "test": "test"}
# Which set a table or a folder belongs to, by its name.
_SPLIT_WORD = re.compile(r"(?i)train|valid|evalu|test")
# Keywords of ODIR-5K that say the picture is none of the retina.
_NO_RETINA = ("anterior segment image", "no fundus image")
# Keywords of ODIR-5K that mean diabetes; hypertensive retinopathy is another disease.
_DIABETIC = re.compile(r"proliferative|diabetic retinopathy")


def find_layout(
    folder: Path, tables: Sequence[Path], images: Sequence[Path], *, card: str = ""
) -> tuple[Layout, list[Path]] | None:
    """The layout that a folder follows, and its tables in order; None if it follows none.

    A layout whose table and columns could be anybody's comes back without a
    card unless the table is called and laid out exactly as published.

    Args:
        folder: that the user named.
        tables: text tables below it.
        images: image files below it.
        card: only the layout of this card.

    Raises:
        ManifestError: a table is that of a set, but for its columns.
    """
    ordered = sorted(tables, key=lambda table: natural_key(table.as_posix()))
    near: tuple[Layout, Path] | None = None
    for layout in LAYOUTS:
        if card and layout.card != card:
            continue
        called = [
            table
            for table in ordered
            if _is_called(table, folder, layout.tables) and not is_form(table.name)
        ]
        mine = [table for table in called if _fits(table, layout)]
        others = [table for table in called if table not in mine]
        if mine and layout.form == "rows":
            # A list of the images to be graded has no column of another name: it has no grades.
            others = [table for table in others if not _is_unlabelled(table, layout)]
        odd = next((t for t in others if _is_near(t, folder, layout, images, card)), None)
        if mine and odd is None:
            return _claimed(layout, mine, folder, card), mine
        near = near or ((layout, odd) if odd is not None else None)
        if mine:
            # One table of the set is as published and another is not.
            break
    if near is not None:
        layout, file = near
        if layout.form in {"list", "triples"}:
            raise ManifestError(_not_a_list(file, layout))
        require_columns(file, read_sheet(file).columns, layout.columns, title=layout.name)
    for layout in LAYOUTS:
        refuse_spreadsheet(folder, layout.spreadsheets, title=layout.name)
    return None


def card_of(folder: Path, tables: Sequence[Path], images: Sequence[Path]) -> tuple[str, ...]:
    """The card of a folder that is read otherwise, because the user named columns."""
    found = find_layout(folder, tables, images)
    return (found[0].card,) if found and found[0].card else ()


def read_layout(
    layout: Layout,
    tables: Sequence[Path],
    images: Iterable[Path],
    folder: Path,
    *,
    chosen: str = "",
) -> tuple[list[Record], list[str]]:
    """The images of a layout, and what the user should know.

    Args:
        layout: from ``find_layout``.
        tables: from ``find_layout``.
        images: image files below the folder.
        folder: the data set.
        chosen: the user's ``--label-map``.

    Raises:
        ManifestError: most files are not there, or a table names a file twice with
            different grades.
    """
    changes = label_map(chosen)
    notes = [f"{layout.name}: grades are read from {', '.join(readable(t.name) for t in tables)}."]
    if layout.note:
        notes.append(f"{layout.name}: {layout.note}")
    if changes:
        told = ", ".join(f"{raw} as {name or 'left out'}" for raw, name in changes.items())
        notes.append(f"{layout.name}: grades count otherwise than its card says, as asked: {told}.")
    rows = _rows(layout, tables, changes, notes)
    pairs = _pairs(folder / layout.pairs) if layout.pairs else {}
    records: dict[tuple[str, str], Record] = {}
    loose: list[Record] = []
    n_other_eye = 0
    for path in images:
        split = _split_of(path.relative_to(folder).as_posix()) if layout.is_split else ""
        key = (split, path.stem.lower())
        if key not in rows or key in records:
            again = "another file of this name is used" if key in records else ""
            loose.append(Record(path, reason=again or "the table does not list it"))
            continue
        records[key], is_other_eye = _record(layout, path, rows[key], split, pairs, changes)
        n_other_eye += is_other_eye
    missing = [key[1] for key in rows if key not in records]
    notes += counted_missing(
        layout.name,
        missing,
        len(rows),
        readable(str(folder)),
        is_part_fine=len(tables) > 1 and bool(records),
    )
    if n_other_eye:
        notes.append(
            f"{layout.name}: {n_other_eye:,} rows fill the column of the other eye; the name "
            "decides which eye it is."
        )
    return [*records.values(), *loose], notes


def _is_called(table: Path, folder: Path, pattern: str) -> bool:
    """Whether the path of a table ends as a layout says."""
    relative = table.relative_to(folder).as_posix()
    return re.search(rf"(?i)(?:^|[/ ]){pattern}$", relative) is not None


def _claimed(layout: Layout, tables: Sequence[Path], folder: Path, card: str) -> Layout:
    """The layout, without its card if the tables are somebody's own in the same layout."""
    if card or not layout.published:
        return layout
    known = {plain(name) for name in (*layout.columns, "usage")}
    is_theirs = all(
        _is_called(table, folder, layout.published)
        and {plain(name) for name in read_sheet(table).columns} <= known
        for table in tables
    )
    return layout if is_theirs else replace(layout, card="", name="Fundus photographs", note="")


def _fits(table: Path, layout: Layout) -> bool:
    """Whether a table is one of the layout's, with every column."""
    if layout.form == "list":
        lines = _text(table).splitlines()
        return bool(lines) and all(re.search(r"\S \d$", line.strip()) for line in lines[:20])
    if layout.form == "triples":
        lines = _text(table).splitlines()
        triple = r"(?i)(train|validation|test),[^,]+,\d+"
        return bool(lines) and all(re.fullmatch(triple, line.strip()) for line in lines[:20])
    sheet = read_sheet(table)
    heading = {plain(name) for name in sheet.columns}
    # A split that somebody added is core's to read.
    if not heading >= {plain(name) for name in layout.columns} or "split" in heading:
        return False
    if not layout.names:
        return True
    names = [stem_of(row.get(plain(layout.image), "")) for row in sheet.rows]
    return 2 * sum(bool(re.match(layout.names, name)) for name in names) >= len(names) > 0


def _is_near(table: Path, folder: Path, layout: Layout, images: Sequence[Path], card: str) -> bool:
    """Whether a table is one of the layout's, but for a column."""
    if layout.published and not _is_called(table, folder, layout.published):
        return False
    if layout.form == "list":
        # The names alone say nothing; the folder does, or the card that was named.
        return bool(card) or table.parent.name.casefold() == "dr_grading"
    if layout.form == "triples":
        return True
    sheet = read_sheet(table)
    if "split" in {plain(name) for name in sheet.columns}:
        return False
    if layout.names and not card:
        names = [path.stem.lower() for path in images[:50]]
        if not names or not all(re.match(layout.names, name) for name in names):
            return False
    return resembles(sheet.columns, layout.columns, bool(layout.names or card))


def _is_unlabelled(table: Path, layout: Layout) -> bool:
    """Whether a table has columns of the set and no others, but not all: no grades."""
    found = {plain(name) for name in read_sheet(table).columns}
    return bool(found) and found < {plain(name) for name in layout.columns}


def _not_a_list(file: Path, layout: Layout) -> str:
    """What to say of a list without headings whose lines are not as published."""
    expected = "name grade" if layout.form == "list" else "TRAIN|VALIDATION|TEST,name,grade"
    first = next(iter(_text(file).splitlines()), "")
    return (
        f"{readable(str(file))}: is laid out as {layout.name}, but its lines are not as published "
        f"(- expected, + found):\n  - {expected}\n  + {readable(first)}\nGrades would be read from "
        "the wrong place. Restore the published file, or pass --card none to read the folder as "
        "any other."
    )


def _record(
    layout: Layout,
    path: Path,
    row: dict[str, str],
    split: str,
    pairs: dict[str, tuple[str, str]],
    changes: dict[str, str],
) -> tuple[Record, bool]:
    """One image from its row, and whether its grade stands in the other eye's column."""
    patient, eye = pairs.get(path.stem.lower()) or patient_and_eye(path.stem)
    if layout.patient:
        patient = whole_number(row.get(layout.patient, "")) or patient
    columns = [name.format(eye=eye) for name in layout.grades]
    filled = next((name for name in columns if whole_number(row.get(name, ""))), "")
    grade = whole_number(row.get(filled, "")) if filled else ""
    if layout.form != "pairs":
        grade = changes.get(grade.casefold(), grade)
    if layout.gradable and whole_number(row.get(layout.gradable, "")) == "0":
        grade = "ungradable"
    split = split or row.get("split of the set", "")
    reason = "" if grade else row.get("why not", "") or "the table gives no grade for it"
    # What the layout knows goes before a column of the same name.
    known = {"patient": patient, "eye": eye}
    extras = {**row, **{name: text for name, text in known.items() if text}}
    record = Record(path, grade, split=split, reason=reason, extras=extras)
    return record, bool(filled) and "{eye}" in layout.grades[0] and filled != columns[0]


def _rows(
    layout: Layout, tables: Sequence[Path], changes: dict[str, str], notes: list[str]
) -> dict[tuple[str, str], dict[str, str]]:
    """Split and lower-case stem -> row."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    of: dict[tuple[str, str], Path] = {}
    table_splits = {table: _table_split(layout, table) for table in tables}
    has_splits = len(set(table_splits.values())) > 1 and all(table_splits.values())
    for table in tables:
        split = _split_of(table.name) if layout.is_split else ""
        for row in _cells(table, layout, changes, notes):
            if has_splits and table_splits[table]:
                row["split of the set"] = table_splits[table]
            stem = stem_of(row.get(plain(layout.image), "") if layout.image else row["name"])
            if not stem:
                continue
            before = rows.setdefault((split, stem), row)
            source = of.setdefault((split, stem), table)
            odd = _differing(layout, before, row, is_same_table=source == table)
            if odd:
                where = "" if source == table else f" (the other in {readable(source.name)})"
                msg = (
                    f"{readable(table.name)}: {stem!r} stands in two rows that differ in {odd}"
                    f"{where}. One image has one grade. Remove one of the rows."
                )
                raise ManifestError(msg)
    return rows


def _differing(
    layout: Layout, before: dict[str, str], row: dict[str, str], *, is_same_table: bool
) -> str:
    """The column in which two rows of one image contradict each other; empty if none does.

    Copies add columns of their own, such as a row number, so rows of two tables are
    compared by their grades.
    """
    if is_same_table:
        names = [name for name in row if before.get(name) != row[name]]
    else:
        columns = [name.format(eye=eye) for name in layout.grades for eye in ("left", "right")]
        cells = [(n, before.get(n, ""), row.get(n, "")) for n in columns]
        names = [n for n, a, b in cells if whole_number(a) != whole_number(b)]
    return names[0] if names else ""


def _table_split(layout: Layout, table: Path) -> str:
    """The split of a table by its name, where the layout says so."""
    return next((s for pattern, s in layout.splits.items() if re.search(pattern, table.name)), "")


def _cells(
    table: Path, layout: Layout, changes: dict[str, str], notes: list[str]
) -> list[dict[str, str]]:
    """Rows of a table as text under plain headings."""
    if layout.form == "list":
        parts = [line.strip().rpartition(" ") for line in _text(table).splitlines()]
        return [{"name": name.strip(), "grade": grade} for name, _, grade in parts if name]
    if layout.form == "triples":
        sheet = read_sheet(table, columns=("set", "name", "grade"))
        for row in sheet.rows:
            row["split of the set"] = _SPLITS.get(row["set"].casefold()[:5], "")
        return sheet.rows
    sheet = read_sheet(table)
    return _eyes(sheet, layout, changes, notes) if layout.form == "pairs" else sheet.rows


def _eyes(
    sheet: Sheet, layout: Layout, changes: dict[str, str], notes: list[str]
) -> list[dict[str, str]]:
    """A row per eye from a row per patient, the grade from the eye's keywords."""
    words = {**layout.grade_words, **changes}
    eyes: list[dict[str, str]] = []
    seen: set[str] = set()
    n_conflicts = 0
    for row in sheet.rows:
        if row["id"] in seen:
            # One copy of the table has a row per image, each with both eyes.
            continue
        seen.add(row["id"])
        of_patient = []
        for side in ("left", "right"):
            said = row[f"{side}_diagnostic_keywords"].casefold()
            keywords = [word.strip() for word in re.split(r"[,\uff0c]", said) if word.strip()]
            grades = [words[word] for word in keywords if words.get(word)]
            why = ""
            if any(word in keywords for word in _NO_RETINA):
                why, grades = f"its keywords say: {', '.join(keywords)}", []
            elif not grades:
                why = f"its keywords name no grade: {', '.join(keywords)}"
            of_patient.append(
                {
                    "name": row[f"{side}_fundus"],
                    "patient": row["id"],
                    "grade": max(grades, default=""),
                    "why not": why,
                    "keywords": said,
                }
            )
        has_words = any(_DIABETIC.search(eye["keywords"]) for eye in of_patient)
        if (whole_number(row["d"]) == "1") != has_words:
            n_conflicts += 1
            for eye in of_patient:
                eye["grade"], eye["why not"] = "", "the keywords and the flag of diabetes disagree"
        eyes += of_patient
    if n_conflicts:
        notes.append(
            f"{layout.name}: for {n_conflicts:,} of {len(seen):,} patients the keywords and the "
            "flag of diabetes disagree; they are left out."
        )
    return eyes


def _split_of(text: str) -> str:
    """The split that a path names; the last word in it counts."""
    found = _SPLIT_WORD.findall(text)
    return _SPLITS[found[-1].lower()] if found else ""


def _pairs(file: Path) -> dict[str, tuple[str, str]]:
    """Stem -> patient and eye from lines "left name;right name"; empty if there is no file."""
    found: dict[str, tuple[str, str]] = {}
    if not file.is_file():
        return found
    number = 0
    for line in _text(file).splitlines():
        names = [part.strip().rsplit(".", 1)[0].lower() for part in re.split(r"[;,]", line)]
        if len(names) != 2 or not all(names) or {"left", "right"} & set(names):
            continue
        number += 1
        for name, eye in zip(names, ("left", "right"), strict=True):
            found[name] = (f"pair {number}", eye)
    return found


def _text(table: Path) -> str:
    """The content of a table."""
    return table.read_text(encoding="utf-8-sig", errors="replace")
