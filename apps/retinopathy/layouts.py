"""Public sets of graded fundus photographs as their authors publish them: facts in a table.

A layout says which table names the images, which columns it must have, how a
name tells patient and eye, and where a split is given. One reader serves all.

Sources: the sets' own pages: EyePACS 2015 (Kaggle, diabetic-retinopathy-detection), APTOS
2019 (Kaggle, aptos2019-blindness-detection), Messidor-2 with the grades of Krause et
al. 2018 (doi:10.1016/j.ophtha.2018.01.034), IDRiD (doi:10.3390/data3030025), DDR
(doi:10.1016/j.ins.2019.06.011), DeepDRiD (doi:10.1016/j.patter.2022.100512). Only EyePACS was
read from original files; the others are written from descriptions of their tables.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.data.scan import natural_key, readable
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

__all__ = ["LAYOUTS", "Layout", "Record", "eye_of", "find_layout", "patient_and_eye", "read_layout"]

# A name with the eye in words; or in letters, if what is before them ends in a digit, for
# "scan_r" may mean anything.
NAMES = (
    r"(?i)^(.+?)[ _-](left|right)(?![a-z])",
    r"(?i)^(.*\d)[ _-](l|r|od|os)\d*(?![a-z0-9])",
)
_EYES = {
    **dict.fromkeys(("left", "l", "os", "le"), "left"),
    **dict.fromkeys(("right", "r", "od", "re"), "right"),
}
_SPLITS = {"train": "train", "valid": "val", "evalu": "test", "test": "test"}
# Which set a table or a folder belongs to, by its name.
_SPLIT_WORD = re.compile(r"(?i)train|valid|evalu|test")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One published layout.

    Attributes:
        name: of the data set.
        card: name of its data card.
        tables: regular expression that the path of a table, relative to the folder, ends in.
        columns: columns a table must have, lower case; empty for a list without a
            heading of "name grade" separated by a space.
        image: column that names the file, with or without extension.
        grades: columns that may hold the grade, the first that is filled; ``{eye}``
            stands for the eye that the name tells.
        gradable: column in which 0 says that its graders could not grade.
        patient: column of the patient; empty takes it from the name where it tells.
        pairs: file of pairs "left name;right name"; empty if there is none.
        is_split: whether tables and folders are called after train and test.
        names: regular expression that at least half of the names fit; empty if any will do.
        note: what a user must know.
    """

    name: str
    card: str
    tables: str
    columns: frozenset[str]
    image: str = ""
    grades: tuple[str, ...] = ()
    gradable: str = ""
    patient: str = ""
    pairs: str = ""
    is_split: bool = False
    names: str = ""
    note: str = ""


@dataclass
class Record:
    """One image of a layout; ``cells`` are those of its row, by lower-case name."""

    path: Path
    grade: str = ""
    patient: str = ""
    eye: str = ""
    split: str = ""
    reason: str = ""
    cells: dict[str, str] = field(default_factory=dict)


LAYOUTS: tuple[Layout, ...] = (
    Layout(
        name="DeepDRiD",
        card="deepdrid",
        tables=r"regular-fundus-(training|validation|evaluation)\.csv",
        columns=frozenset({"patient_id", "image_id", "image_path", "left_eye_dr_level"}),
        image="image_id",
        # Some rows fill the other eye's column; the name decides.
        grades=("{eye}_eye_dr_level", "left_eye_dr_level", "right_eye_dr_level"),
        patient="patient_id",
        is_split=True,
    ),
    Layout(
        name="IDRiD",
        card="idrid",
        tables=r"IDRiD_Disease Grading_(Training|Testing) Labels\.csv",
        columns=frozenset({"image name", "retinopathy grade"}),
        image="image name",
        grades=("retinopathy grade",),
        is_split=True,
        note="The numbers of the training and the testing images are counted anew.",
    ),
    Layout(
        name="DDR",
        card="ddr",
        tables=r"(train|valid|test)\.txt",
        columns=frozenset(),
        grades=("grade",),
        is_split=True,
        note="Grade 5 means ungradable. No table names the patients.",
    ),
    Layout(
        name="Messidor-2",
        card="messidor2",
        tables=r"messidor_data\.csv",
        columns=frozenset({"image_id", "adjudicated_dr_grade"}),
        image="image_id",
        grades=("adjudicated_dr_grade",),
        gradable="adjudicated_gradable",
        pairs="messidor-2.csv",
    ),
    Layout(
        name="Messidor-2 (renamed copy)",
        card="messidor2",
        tables=r"messidor_data\.csv",
        columns=frozenset({"id_code", "diagnosis"}),
        image="id_code",
        grades=("diagnosis",),
        pairs="messidor-2.csv",
    ),
    Layout(
        name="APTOS 2019",
        card="aptos2019",
        tables=r"(train[^/]*)\.csv",
        columns=frozenset({"id_code", "diagnosis"}),
        image="id_code",
        grades=("diagnosis",),
        names=r"[0-9a-f]{12}$",
        note=(
            "It names no patients, holds copies of one photograph with different grades, and the "
            "size of a file goes with its grade; look at the checks on duplicates and shortcuts."
        ),
    ),
    Layout(
        name="EyePACS 2015",
        card="eyepacs",
        tables=r"[^/]*\.csv",
        columns=frozenset({"image", "level"}),
        image="image",
        grades=("level",),
        names=r"\d+_(left|right)$",
        note="Each photograph was graded by one person.",
    ),
)


def eye_of(text: str) -> str:
    """``left``, ``right`` or empty.

    >>> eye_of("OD"), eye_of(" L "), eye_of("both")
    ('right', 'left', '')
    """
    return _EYES.get(text.strip().lower(), "")


def patient_and_eye(stem: str) -> tuple[str, str]:
    """What a file's name tells; empty where it does not.

    >>> patient_and_eye("10003_left"), patient_and_eye("7_r2"), patient_and_eye("scan_r")
    (('10003', 'left'), ('7', 'right'), ('', ''))
    """
    for pattern in NAMES:
        match = re.search(pattern, stem)
        if match:
            return match[1], eye_of(match[2])
    return "", ""


def find_layout(
    folder: Path, tables: Sequence[Path], *, card: str = ""
) -> tuple[Layout, list[Path]] | None:
    """The layout that a folder follows, and its tables in order; None if it follows none.

    Args:
        folder: that the user named.
        tables: text tables below it.
        card: only the layout of this card.
    """
    ordered = sorted(tables, key=lambda table: natural_key(table.as_posix()))
    for layout in LAYOUTS:
        if card and layout.card != card:
            continue
        pattern = re.compile(rf"(?i)(?:^|[/ ]){layout.tables}$")
        mine = [
            table
            for table in ordered
            if pattern.search(table.relative_to(folder).as_posix()) and _fits(table, layout)
        ]
        if mine:
            return layout, mine
    return None


def read_layout(
    layout: Layout, tables: Sequence[Path], images: Iterable[Path], folder: Path
) -> tuple[list[Record], list[str]]:
    """The images of a layout, and what the user should know.

    Args:
        layout: from ``find_layout``.
        tables: from ``find_layout``.
        images: image files below the folder.
        folder: the data set.

    Raises:
        ManifestError: most files are not there, or a table names a file twice with
            different grades.
    """
    rows = _rows(layout, tables)
    pairs = _pairs(folder / layout.pairs) if layout.pairs else {}
    records: dict[tuple[str, str], Record] = {}
    loose: list[Record] = []
    for path in images:
        split = _split_of(path.relative_to(folder).as_posix()) if layout.is_split else ""
        key = (split, path.stem.lower())
        if key not in rows or key in records:
            again = "another file of this name is used" if key in records else ""
            loose.append(Record(path, reason=again or "the table does not list it"))
            continue
        records[key] = _record(layout, path, rows[key], split, pairs)
    missing = [key[1] for key in rows if key not in records]
    names = ", ".join(readable(table.name) for table in tables)
    if len(missing) * 2 > len(rows):
        msg = (
            f"{names}: {len(missing):,} of the {len(rows):,} images it lists are not below "
            f"{readable(str(folder))} (first: {missing[0]}). Unpack the images there, or shorten "
            "the table."
        )
        raise ManifestError(msg)
    notes = [f"{layout.name}: grades are read from {names}."]
    if layout.note:
        notes.append(f"{layout.name}: {layout.note}")
    if missing:
        notes.append(f"{len(missing):,} listed images are not there (first: {missing[0]}).")
    return [*records.values(), *loose], notes


def _record(
    layout: Layout, path: Path, row: dict[str, str], split: str, pairs: dict[str, tuple[str, str]]
) -> Record:
    """One image from its row."""
    patient, eye = pairs.get(path.stem.lower()) or patient_and_eye(path.stem)
    if layout.patient:
        patient = _whole(row.get(layout.patient, "")) or patient
    grade = next(
        (cell for name in layout.grades if (cell := _whole(row.get(name.format(eye=eye), "")))), ""
    )
    if layout.gradable and _whole(row.get(layout.gradable, "")) == "0":
        grade = "ungradable"
    record = Record(path, grade, patient, eye, split, cells=row)
    if not grade:
        record.reason = "the table gives no grade for it"
    return record


def _rows(layout: Layout, tables: Sequence[Path]) -> dict[tuple[str, str], dict[str, str]]:
    """Split and lower-case stem -> row."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for table in tables:
        split = _split_of(table.name) if layout.is_split else ""
        for row in _cells(table, layout):
            stem = _stem(row.get(layout.image or "name", ""))
            if not stem:
                continue
            before = rows.setdefault((split, stem), row)
            if before != row:
                msg = (
                    f"{readable(table.name)}: {stem!r} stands in two rows that differ. One image "
                    "has one grade. Remove one of the rows."
                )
                raise ManifestError(msg)
    return rows


def _stem(name: str) -> str:
    """The lower-case name without folders and extension."""
    plain = name.replace("\\", "/").rsplit("/", 1)[-1]
    return re.sub(r"(?i)\.(jpe?g|png|tiff?|bmp|webp|dcm)$", "", plain).lower()


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


def _fits(table: Path, layout: Layout) -> bool:
    """Whether a table is one of the layout's."""
    if not layout.columns:
        lines = _text(table).splitlines()
        return bool(lines) and all(re.search(r"\S \d$", line.strip()) for line in lines[:20])
    heading = set(_columns(next(iter(_text(table).splitlines()), "")))
    # A split that somebody added is core's to read.
    if not layout.columns <= heading or "split" in heading:
        return False
    if not layout.names:
        return True
    names = [_stem(row.get(layout.image, "")) for row in _cells(table, layout)]
    return 2 * sum(bool(re.match(layout.names, name)) for name in names) >= len(names) > 0


def _cells(table: Path, layout: Layout) -> Iterable[dict[str, str]]:
    """Rows of a table as text under trimmed lower-case names."""
    text = _text(table)
    if not layout.columns:
        for line in text.splitlines():
            name, _, grade = line.strip().rpartition(" ")
            if name:
                yield {"name": name.strip(), "grade": grade}
        return
    lines = csv.reader(io.StringIO(text), delimiter=_separator(text))
    columns = _columns(text.splitlines()[0])
    next(lines)
    for cells in lines:
        # IDRiD ends its rows in empty cells, and columns without a name.
        yield {c: v.strip() for c, v in zip(columns, cells, strict=False) if c}


def _columns(line: str) -> list[str]:
    """Names of a heading."""
    return [
        name.strip().lower() for name in next(csv.reader([line], delimiter=_separator(line)), [])
    ]


def _separator(text: str) -> str:
    """The more frequent of comma and semicolon in the heading."""
    first = next(iter(text.splitlines()), "")
    return ";" if first.count(";") > first.count(",") else ","


def _text(table: Path) -> str:
    """The content of a table."""
    return table.read_text(encoding="utf-8-sig", errors="replace")


def _whole(cell: str) -> str:
    """A cell without the decimal point that spreadsheets add to whole numbers.

    >>> _whole(" 2.0 "), _whole("mild")
    ('2', 'mild')
    """
    return re.sub(r"^(\d+)\.0+$", r"\1", cell.strip())
