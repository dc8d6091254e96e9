"""Public mammography data sets as their authors publish them: a table of facts.

A layout says which tables it has and with which columns, how a row finds its
files, whose they are, and what a label of each task is. How is the business of
``layout_reader``; mini-MIAS, whose labels stand in a text file, EMBED and CSAW-CC,
whose labels are put together from several cells, have readers of their own.

Sources: the data sets' own pages, named in ``data_cards``. mini-MIAS and the
headers of CBIS-DDSM were read; EMBED is written from its README; the others are
written from descriptions and programs that read them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.data.published import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from core.app import Task

__all__ = ["DENSITY", "LAYOUTS", "SIDES", "Layout", "Reading", "category"]

SIDES = {"L": "L", "LEFT": "L", "R": "R", "RIGHT": "R"}
DENSITY = {"1": "A", "2": "B", "3": "C", "4": "D", **{c: c for c in "ABCD"}}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One published layout.

    Attributes:
        card: name of its data card.
        name: of the data set.
        tables: patterns of its table files, relative to the folder.
        columns: columns the first table must have; they recognise it.
        file_key: regular expression found in a file's relative path; its first
            group is the key.
        row_key: the row's key; rows and files meet where keys are equal.
        copies: the same pair for re-published copies, tried where the first finds nothing.
        patient: column of the patient.
        labels: by task, the column, and what its cells mean, in rising order of
            severity: of several rows for one image the last in this order counts.
        side, view, density, age, site, split, exam: column names; empty if there is none.
        views: names of views in this set only -> ACR abbreviation.
        by_side: the key names a patient, and side decides between its rows.
        birads: the cancer label is a BI-RADS assessment, and which counts is a choice.
        outcomes: columns that give the label away; they are dropped.
        patient_in_name: regular expression of the patient in a file's name, where
            the table names none.
        reader: ``rows``, or which of the special readers.
        spreadsheets: patterns of the same table as a spreadsheet, which is not read.
        note: what a user must know of the labels.
    """

    card: str
    name: str
    tables: tuple[str, ...]
    columns: tuple[str, ...]
    file_key: str = ""
    row_key: Callable[[Mapping[str, str]], str] | str = ""
    copies: tuple[tuple[str, Callable[[Mapping[str, str]], str]], ...] = ()
    patient: str = ""
    labels: Mapping[str, tuple[str, Mapping[str, str]]]
    side: str = ""
    view: str = ""
    density: str = ""
    age: str = ""
    site: str = ""
    split: str = ""
    exam: str = ""
    views: Mapping[str, str] = field(default_factory=dict)
    by_side: bool = False
    birads: bool = False
    outcomes: tuple[str, ...] = ()
    patient_in_name: str = ""
    reader: str = "rows"
    spreadsheets: tuple[str, ...] = ()
    note: str = ""


@dataclass
class Reading:
    """What a reader is given, and what it finds.

    Attributes:
        layout: the facts.
        tables: of the set, in order.
        files: images below the root.
        root: the data set's folder.
        task: decides which label is read.
        meaning: cells without case -> class, with the user's changes.
        header_of: path -> patient and side as its header says; empty if it has none.
        notes: grows by what the user should know.
    """

    layout: Layout
    tables: list[Path]
    files: Sequence[Path]
    root: Path
    task: Task
    meaning: Mapping[str, str]
    header_of: Callable[[Path], tuple[str, str]]
    notes: list[str] = field(default_factory=list)

    def worst(self, raw: Sequence[str]) -> str:
        """The class of several cells: the last in rising order; empty if none has one."""
        order = list(dict.fromkeys(self.meaning.values()))
        found = [self.meaning[r.casefold()] for r in raw if r.casefold() in self.meaning]
        return max(found, key=order.index) if found else ""


def category(assessment: str) -> str:
    """The BI-RADS category of a cell.

    >>> category("BI-RADS 5"), category("4a"), category(" 0 ")
    ('5', '4', '0')
    """
    found = re.search(r"[0-6]", assessment)
    return found[0] if found else ""


def _first_folder(row: Mapping[str, str]) -> str:
    """``Mass-Training_P_00001_LEFT_CC``: the first folder of the path in CBIS-DDSM's tables."""
    return row.get(plain("image file path"), "").strip().split("/")[0]


def _series(row: Mapping[str, str]) -> str:
    """The series in CBIS-DDSM's tables: a copy as JPEG has one folder for each."""
    parts = row.get(plain("image file path"), "").strip().split("/")
    return parts[2] if len(parts) > 2 else ""


_CBIS = {"BENIGN_WITHOUT_CALLBACK": "benign", "BENIGN": "benign", "MALIGNANT": "malignant"}
_BIRADS_4 = ("4", "4a", "4b", "4c")

LAYOUTS: tuple[Layout, ...] = (
    Layout(
        card="mini_mias",
        name="mini-MIAS",
        tables=("Info.txt",),
        columns=(),
        labels={task: ("", {}) for task in ("cancer", "pathology", "tissue", "finding")},
        reader="mias",
    ),
    Layout(
        card="cbis_ddsm",
        name="CBIS-DDSM",
        tables=("*_case_description_*_set.csv", "*/*_case_description_*_set.csv"),
        columns=(
            *("patient_id", "left or right breast", "image view", "abnormality id", "assessment"),
            *("pathology", "image file path"),
        ),
        # Folders of cut-outs end in _1, _2 ... and do not match.
        file_key=r"((?:Mass|Calc)-(?:Training|Test)_P_\d+_(?:LEFT|RIGHT)_(?:CC|MLO))(?:/|\.|$)",
        row_key=_first_folder,
        copies=((r"(1\.3\.6\.1\.4\.1\.[\d.]+)/[^/]+\.(?:jpe?g|png)$", _series),),
        patient="patient_id",
        labels={
            "cancer": (
                "pathology",
                {k: "yes" if v == "malignant" else "no" for k, v in _CBIS.items()},
            ),
            "pathology": ("pathology", _CBIS),
            "density": ("breast_density", DENSITY),
        },
        side="left or right breast",
        view="image view",
        density="breast_density",
        outcomes=("assessment", "subtlety"),
    ),
    Layout(
        card="vindr_mammo",
        name="VinDr-Mammo",
        tables=("breast-level_annotations.csv",),
        columns=(
            *("study_id", "series_id", "image_id", "laterality", "view_position", "breast_birads"),
            *("breast_density", "split"),
        ),
        file_key=r"([0-9a-f]{16,})\.(?:dicom|dcm|png|tiff?)$",
        row_key="image_id",
        patient="study_id",
        labels={
            # 3 and 4 are neither: nobody looked again.
            "cancer": ("breast_birads", {"BI-RADS 1": "no", "BI-RADS 2": "no", "BI-RADS 5": "yes"}),
            "density": ("breast_density", {f"DENSITY {c}": c for c in "ABCD"}),
        },
        side="laterality",
        view="view_position",
        density="breast_density",
        split="split",
        birads=True,
        note=(
            "No pathology is published: BI-RADS 5 counts as cancer, 1 and 2 as none, "
            "3 and 4 are left out."
        ),
    ),
    Layout(
        card="rsna2023",
        name="RSNA-2023",
        tables=("train.csv",),
        columns=("site_id", "patient_id", "image_id", "laterality", "view", "cancer"),
        file_key=r"(?:^|/)(?:\d+_)?(\d+)\.(?:dcm|png|tiff?)$",
        row_key="image_id",
        patient="patient_id",
        labels={
            "cancer": ("cancer", {"0": "no", "1": "yes"}),
            "density": ("density", DENSITY),
        },
        side="laterality",
        view="view",
        density="density",
        age="age",
        site="site_id",
        outcomes=("biopsy", "invasive", "BIRADS", "difficult_negative_case"),
        note="The label is of the breast: every view of a breast with cancer is positive.",
    ),
    Layout(
        card="inbreast",
        name="INbreast",
        tables=("INbreast*.csv", "INbreast*.xlsx"),
        columns=("Laterality", "View", "File Name", "ACR", "Bi-Rads"),
        file_key=r"(?:^|/)(\d{6,})(?:_|\.)",
        row_key="File Name",
        patient="Patient ID",
        patient_in_name=r"(?:^|/)\d{6,}_([0-9a-f]{4,})_",
        labels={
            "cancer": (
                "Bi-Rads",
                {
                    **dict.fromkeys("123", "no"),
                    **dict.fromkeys((*_BIRADS_4, "5", "6"), "yes"),
                },
            ),
            "density": ("ACR", DENSITY),
        },
        side="Laterality",
        view="View",
        density="ACR",
        views={"ML": "MLO"},
        birads=True,
        spreadsheets=("INbreast*.xls*",),
        note="Cancer is BI-RADS 4 or more by convention; biopsies are not in the table.",
    ),
    Layout(
        card="cmmd",
        name="CMMD",
        tables=("CMMD_clinicaldata*.csv", "CMMD_clinicaldata*.xlsx"),
        columns=("ID1", "LeftRight", "Age", "number", "abnormality", "classification"),
        file_key=r"(D[12]-\d{4})/",
        row_key="ID1",
        patient="ID1",
        labels={
            "cancer": ("classification", {"Benign": "no", "Malignant": "yes"}),
            "pathology": ("classification", {"Benign": "benign", "Malignant": "malignant"}),
        },
        side="LeftRight",
        age="Age",
        by_side=True,
        outcomes=("subtype",),
        spreadsheets=("CMMD_clinicaldata*.xls*",),
    ),
    Layout(
        card="embed",
        name="EMBED",
        tables=(
            "EMBED_OpenData_metadata*.csv",
            "tables/EMBED_OpenData_metadata*.csv",
        ),
        columns=(
            *("empi_anon", "acc_anon", "anon_dicom_path", "FinalImageType"),
            *("ImageLateralityFinal", "ViewPosition", "spot_mag"),
        ),
        # In rising order: of several findings of a breast the worst counts.
        labels={
            "cancer": (
                "path_severity",
                {
                    **dict.fromkeys(("birads N", "birads B"), "no"),
                    **dict.fromkeys((f"path {i}" for i in (2, 3, 4, 5)), "no"),
                    **dict.fromkeys(("path 0", "path 1"), "yes"),
                },
            ),
            "density": ("tissueden", DENSITY),
        },
        outcomes=("asses", "path_severity", "bside"),
        reader="embed",
        note=(
            "Cancer is invasive or non-invasive cancer in the pathology of the breast; none is "
            "benign pathology, or BI-RADS 1 or 2 without one; all others are left out."
        ),
    ),
    Layout(
        card="csaw_cc",
        name="CSAW-CC",
        tables=("*.csv",),
        columns=(
            *("anon_patientid", "anon_filename", "exam_year", "x_case", "x_cancer_laterality"),
            *("rad_timing", "imagelaterality", "viewposition"),
        ),
        patient="anon_patientid",
        labels={
            "cancer": ("x_case", {"control": "no", "timing 1": "yes", "timing 2": "yes"}),
        },
        side="imagelaterality",
        view="viewposition",
        outcomes=("x_case", "x_type", "x_cancer_laterality", "x_lymphnode_met", "rad_*"),
        reader="csaw",
        note=(
            "Cancer is the side of a case's cancer where the exam found it or came before an "
            "interval cancer; none are women who are no case; all others are left out."
        ),
    ),
)
