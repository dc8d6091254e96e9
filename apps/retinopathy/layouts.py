"""Public sets of graded fundus photographs as their authors publish them: facts in a table.

A layout says which table names the images, which columns it must have, how a
name tells patient and eye, and where a split is given. How is the business of
``layout_reader``.

Sources: the sets' own pages, named in ``data_cards``. EyePACS, the tables of DeepDRiD
and the program that writes RetinaMNIST were read; the others are written from
descriptions and programs that read them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LAYOUTS", "NAMES", "Layout", "eye_of", "patient_and_eye"]

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


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One published layout.

    Attributes:
        name: of the data set.
        card: name of its data card.
        tables: regular expression that the path of a table, relative to the folder, ends in.
        published: the same as its authors call it, where ``tables`` fits any; only then
            a renamed column is an error, and the data card that of the set.
        columns: columns a table must have; empty for a list without a heading.
        form: ``rows`` (a row per image); ``list`` (no heading: name and grade, separated by
            a space); ``triples`` (no heading: split, name, grade); ``pairs`` (a row per
            patient, grades in words per eye).
        image: column that names the file, with or without extension.
        grades: columns that may hold the grade, the first that is filled; ``{eye}``
            stands for the eye that the name tells.
        gradable: column in which 0 says that its graders could not grade.
        patient: column of the patient; empty takes it from the name where it tells.
        pairs: file of pairs "left name;right name"; empty if there is none.
        is_split: whether tables and folders are called after train and test.
        names: regular expression that at least half of the names fit; empty if any will do.
        splits: regular expression of a table's name -> its split, where the tables
            are called otherwise; used if more than one of them is there.
        grade_words: grades in words, lower case -> grade.
        spreadsheets: patterns of the same table as a spreadsheet, which is not read.
        note: what a user must know.
    """

    name: str
    card: str
    tables: str
    published: str = ""
    columns: tuple[str, ...]
    form: str = "rows"
    image: str = ""
    grades: tuple[str, ...] = ()
    gradable: str = ""
    patient: str = ""
    pairs: str = ""
    is_split: bool = False
    names: str = ""
    splits: Mapping[str, str] = field(default_factory=dict)
    grade_words: Mapping[str, str] = field(default_factory=dict)
    spreadsheets: tuple[str, ...] = ()
    note: str = ""


LAYOUTS: tuple[Layout, ...] = (
    Layout(
        name="DeepDRiD",
        card="deepdrid",
        tables=r"regular-fundus-(training|validation|evaluation)\.csv",
        columns=(
            *("patient_id", "image_id", "image_path", "left_eye_DR_Level"),
            *("right_eye_DR_Level", "patient_DR_Level"),
        ),
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
        columns=("Image name", "Retinopathy grade", "Risk of macular edema"),
        image="image_name",
        grades=("retinopathy_grade",),
        is_split=True,
        note="The numbers of the training and the testing images are counted anew.",
    ),
    Layout(
        name="DDR",
        card="ddr",
        tables=r"(train|valid|test)\.txt",
        columns=(),
        form="list",
        grades=("grade",),
        is_split=True,
        note="Grade 5 means ungradable. No table names the patients.",
    ),
    Layout(
        name="Messidor-2",
        card="messidor2",
        tables=r"messidor_data\.csv",
        columns=(*("image_id", "adjudicated_dr_grade", "adjudicated_dme", "adjudicated_gradable"),),
        image="image_id",
        grades=("adjudicated_dr_grade",),
        gradable="adjudicated_gradable",
        pairs="messidor-2.csv",
    ),
    Layout(
        name="Messidor-2 (renamed copy)",
        card="messidor2",
        tables=r"messidor_data\.csv",
        columns=("id_code", "diagnosis"),
        image="id_code",
        grades=("diagnosis",),
        pairs="messidor-2.csv",
    ),
    Layout(
        name="APTOS 2019",
        card="aptos2019",
        tables=r"[^/]*\.csv",
        columns=("id_code", "diagnosis"),
        # The much used copy has a table and a folder for each split.
        splits={"(?i)train_": "train", "(?i)val": "val", "(?i)test": "test"},
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
        published=r"(trainLabels|retinopathy_solution)\.csv",
        columns=("image", "level"),
        splits={"(?i)trainlabels": "train", "(?i)solution": "test"},
        image="image",
        grades=("level",),
        names=r"\d+_(left|right)$",
    ),
    Layout(
        name="ODIR-5K",
        card="odir5k",
        tables=r"[^/]*\.(csv|xlsx)",
        columns=(
            *("ID", "Left-Fundus", "Right-Fundus", "Left-Diagnostic Keywords"),
            *("Right-Diagnostic Keywords", "N", "D", "G", "C", "A", "H", "M", "O"),
        ),
        form="pairs",
        grades=("grade",),
        patient="patient",
        grade_words={
            "normal fundus": "0",
            "mild nonproliferative retinopathy": "1",
            "moderate non proliferative retinopathy": "2",
            "severe nonproliferative retinopathy": "3",
            "proliferative diabetic retinopathy": "4",
            "severe proliferative diabetic retinopathy": "4",
        },
        spreadsheets=("ODIR*.xls*",),
        note="Grades are read from the keywords of each eye; eyes without one are left out.",
    ),
    Layout(
        name="RetinaMNIST",
        card="retinamnist",
        tables=r"retinamnist(_\d+)?\.csv",
        columns=(),
        form="triples",
        image="name",
        grades=("grade",),
        note="28 x 28 pixels show no small lesion.",
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
