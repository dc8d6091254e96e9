"""Public sets of graded fundus photographs as their authors publish them.

Which tables and columns they have stands in their cards; here, where the grade stands,
how a name tells patient and eye, and where a split is given.

Sources: the sets' own pages, named in ``data_cards``. EyePACS, the tables of DeepDRiD
and the program that writes RetinaMNIST were read; the others are written from
descriptions and programs that read them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from core.data.layouts import WHY_NOT, Label, Layout, Lines, Row, Table, stem_of
from core.data.tables_in import plain, whole_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from core.data.layouts import Sheet

__all__ = ["LAYOUTS", "NAMES", "eye_of", "patient_and_eye"]

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
_GRADE = {"grade": Label(columns=("grade",))}
# Keywords of ODIR-5K that say the picture is none of the retina.
_NO_RETINA = ("anterior segment image", "no fundus image")
# Keywords of ODIR-5K that mean diabetes; hypertensive retinopathy is another disease.
_DIABETIC = re.compile(r"proliferative|diabetic retinopathy")
# In rising order: the worst of an eye counts.
_ODIR_GRADES = {
    "normal fundus": "0",
    "mild nonproliferative retinopathy": "1",
    "moderate non proliferative retinopathy": "2",
    "severe nonproliferative retinopathy": "3",
    "proliferative diabetic retinopathy": "4",
    "severe proliferative diabetic retinopathy": "4",
}


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


def _deepdrid(sheet: Sheet, notes: list[str]) -> Iterable[Row]:
    """Rows of DeepDRiD with the grade of the eye that the name tells, whichever column has it."""
    rows: list[Row] = []
    n_other_eye = 0
    for row in sheet.rows:
        eye = patient_and_eye(row["image_id"])[1]
        columns = [f"{side}_eye_dr_level" for side in (eye, "left", "right") if side]
        filled = next((name for name in columns if row[name]), columns[0])
        n_other_eye += filled != columns[0]
        patient = whole_number(row["patient_id"])
        rows.append({**row, "grade": row[filled], "patient": patient, "eye": eye})
    if n_other_eye:
        notes.append(
            f"DeepDRiD: {n_other_eye:,} rows fill the column of the other eye; the name decides "
            "which eye it is."
        )
    return rows


def _messidor(sheet: Sheet, _: list[str]) -> Iterable[Row]:
    """Rows of Messidor-2 with patient and eye by its file of pairs, where that is there."""
    pairs = _pairs(sheet.file.with_name("messidor-2.csv"))
    column = "image_id" if "image_id" in map(plain, sheet.columns) else "id_code"
    for row in sheet.rows:
        patient, eye = pairs.get(stem_of(row[column]), ("", ""))
        grade = row.get("adjudicated_dr_grade", row.get("diagnosis", ""))
        if whole_number(row.get("adjudicated_gradable", "")) == "0":
            grade = "ungradable"
        yield {**row, "image": row[column], "grade": grade, "patient": patient, "eye": eye}


def _pairs(file: Path) -> Mapping[str, tuple[str, str]]:
    """Stem -> patient and eye from lines "left name;right name"; empty if there is no file."""
    found: dict[str, tuple[str, str]] = {}
    lines = file.read_text("utf-8-sig", errors="replace").splitlines() if file.is_file() else []
    for line in lines:
        names = [stem_of(part) for part in re.split(r"[;,]", line)]
        if len(names) != 2 or not all(names) or {"left", "right"} & set(names):
            continue
        number = len(found) // 2 + 1
        found |= {
            n: (f"pair {number}", eye) for n, eye in zip(names, ("left", "right"), strict=True)
        }
    return found


def _odir(sheet: Sheet, notes: list[str]) -> Iterable[Row]:
    """A row per eye from a row per patient of ODIR-5K; one copy has the patient twice."""
    eyes: list[Row] = []
    n_conflicts = 0
    patients: dict[str, Row] = {}
    for row in sheet.rows:
        patients.setdefault(row["id"], row)
    for row in patients.values():
        keywords = {s: row[f"{s}_diagnostic_keywords"].casefold() for s in ("left", "right")}
        is_diabetic = any(map(_DIABETIC.search, keywords.values()))
        is_odd = (whole_number(row["d"]) == "1") != is_diabetic
        n_conflicts += is_odd
        for side, text in keywords.items():
            words = [word.strip() for word in re.split(r"[,\uff0c]", text) if word.strip()]
            why = "the keywords and the flag of diabetes disagree" if is_odd else ""
            if not why and set(words) & set(_NO_RETINA):
                why = f"its keywords say: {', '.join(words)}"
            known = {**row, "image": row[f"{side}_fundus"], "patient": row["id"]}
            eyes.append({**known, "grade": ",".join(words), WHY_NOT: why})
    if n_conflicts:
        notes.append(
            f"ODIR-5K: for {n_conflicts:,} of {len(patients):,} patients the keywords and the flag "
            "of diabetes disagree; they are left out."
        )
    return eyes


LAYOUTS: tuple[Layout, ...] = (
    Layout(card="deepdrid", image="image_id", rows=_deepdrid, labels=_GRADE, is_split=True),
    Layout(
        card="idrid",
        # Copies drop the letter before the name.
        also=("IDRiD_Disease Grading_* Labels.csv",),
        image="image_name",
        labels={"grade": Label(columns=("Retinopathy grade",))},
        is_split=True,
        note="The numbers of the training and the testing images are counted anew.",
    ),
    Layout(
        card="ddr",
        lines=Lines(pattern=r"(?P<image>.*\S) (?P<grade>\d)", shown="name grade"),
        image="image",
        labels=_GRADE,
        is_split=True,
        note="Grade 5 means ungradable. No table names the patients.",
    ),
    Layout(
        card="messidor2",
        tables=("messidor_data.csv",),
        image="image",
        rows=_messidor,
        labels=_GRADE,
    ),
    Layout(
        card="messidor2",
        # A copy under other headings.
        tables=(Table("messidor_data.csv", ("id_code", "diagnosis")),),
        image="image",
        rows=_messidor,
        labels=_GRADE,
    ),
    Layout(
        card="aptos2019",
        also=("*.csv",),
        image="id_code",
        labels={"grade": Label(columns=("diagnosis",))},
        names=r"[0-9a-f]{12}",
        note=(
            "It names no patients, holds copies of one photograph with different grades, and the "
            "size of a file goes with its grade; look at the checks on duplicates and shortcuts."
        ),
    ),
    Layout(
        card="eyepacs",
        also=("*.csv",),
        is_common=True,
        splits={"solution": "test"},
        image="image",
        labels={"grade": Label(columns=("level",))},
        names=r"\d+_(left|right)",
    ),
    Layout(
        card="odir5k",
        image="image",
        rows=_odir,
        labels={
            "grade": Label(columns=("grade",), means=_ODIR_GRADES, is_closed=True, separator=",")
        },
        spreadsheets=("ODIR*.xls*",),
        note="Grades are read from the keywords of each eye; eyes without one are left out.",
    ),
    Layout(
        card="retinamnist",
        lines=Lines(
            pattern=r"(?i)(?P<set>train|validation|test),(?P<image>[^,]+),(?P<grade>\d+)",
            shown="TRAIN|VALIDATION|TEST,name,grade",
        ),
        image="image",
        split="set",
        labels=_GRADE,
        note="28 x 28 pixels show no small lesion.",
    ),
)
