"""Public mammography data sets as their authors publish them: a table of facts, and one reader.

A layout says how its table is called, which columns it must have, how a row
finds its files, and what a label of each task is. mini-MIAS comes with a text
file instead of a table and has a reader of its own.

Sources: the data sets' own pages, by name: CBIS-DDSM (doi
10.7937/K9/TCIA.2016.7O02S9CY), VinDr-Mammo (doi 10.13026/br2v-7517), RSNA
Screening Mammography 2023 (Kaggle), INbreast (doi 10.1016/j.acra.2011.09.014),
CMMD (TCIA), mini-MIAS (``Info.txt``). INbreast and CMMD were written from
descriptions and never run on the original files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from core.app import Task

__all__ = ["LAYOUTS", "Layout", "Record", "find_layout", "read_layout"]

_SIDES = {"L": "L", "LEFT": "L", "R": "R", "RIGHT": "R"}
_SPLITS = {"training": "train", "test": "test"}
_DENSITY = {"1": "A", "2": "B", "3": "C", "4": "D", **{c: c for c in "ABCD"}}


@dataclass
class Record:
    """One image of a layout. ``label`` is empty where the table says nothing usable."""

    path: Path
    patient: str
    laterality: str = ""
    view: str = ""
    label: str = ""
    split: str = ""
    extras: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One published layout.

    Attributes:
        name: of the data set.
        tables: patterns of its table files.
        columns: columns the table must have; they recognise it.
        file_key: found in a file's relative path; its first group is the key.
        row_key: the row's key; rows and files meet where keys are equal.
        patient: the row's patient.
        labels: by task, what a row says, in rising order of severity: of
            several rows for one image the last in this order counts.
        side, view, density, age, site, split: column names; empty if there is none.
        views: names of views in this set only -> ACR abbreviation.
        by_side: the key names a patient, and side decides between its rows.
        note: what a user must know of the labels.
    """

    name: str
    tables: tuple[str, ...]
    columns: frozenset[str]
    file_key: str
    row_key: Callable[[Mapping[str, str]], str]
    patient: Callable[[Mapping[str, str]], str]
    labels: Mapping[str, tuple[str, Mapping[str, str]]]
    side: str = ""
    view: str = ""
    density: str = ""
    age: str = ""
    site: str = ""
    split: str = ""
    views: Mapping[str, str] = field(default_factory=dict)
    by_side: bool = False
    note: str = ""


def _column(name: str) -> Callable[[Mapping[str, str]], str]:
    """A function that reads one cell."""
    return lambda row: row[name].strip()


def _cbis_key(row: Mapping[str, str]) -> str:
    """``Mass-Training_P_00001_LEFT_CC``: the first folder of the path in the table."""
    return row["image file path"].strip().split("/")[0]


_BENIGN_MALIGNANT = {"BENIGN_WITHOUT_CALLBACK": "benign", "BENIGN": "benign"}
_CBIS_PATHOLOGY = {**_BENIGN_MALIGNANT, "MALIGNANT": "malignant"}

LAYOUTS: tuple[Layout, ...] = (
    Layout(
        name="CBIS-DDSM",
        tables=("*_case_description_*_set.csv",),
        columns=frozenset({"patient_id", "image view", "pathology", "image file path"}),
        # Folders of cut-outs end in _1, _2 ... and do not match.
        file_key=r"((?:Mass|Calc)-(?:Training|Test)_P_\d+_(?:LEFT|RIGHT)_(?:CC|MLO))(?:/|\.|$)",
        row_key=_cbis_key,
        patient=_column("patient_id"),
        labels={
            "cancer": (
                "pathology",
                {k: "yes" if v == "malignant" else "no" for k, v in _CBIS_PATHOLOGY.items()},
            ),
            "pathology": ("pathology", _CBIS_PATHOLOGY),
            "density": ("breast_density", _DENSITY),
        },
        side="left or right breast",
        view="image view",
        density="breast_density",
        note="Every film shows a finding: there are no normals.",
    ),
    Layout(
        name="VinDr-Mammo",
        tables=("breast-level_annotations.csv",),
        columns=frozenset({"study_id", "image_id", "laterality", "view_position", "breast_birads"}),
        file_key=r"([0-9a-f]{16,})\.(?:dicom|dcm|png|tiff?)$",
        row_key=_column("image_id"),
        patient=_column("study_id"),
        labels={
            # 3 and 4 are neither: nobody looked again.
            "cancer": ("breast_birads", {"BI-RADS 1": "no", "BI-RADS 2": "no", "BI-RADS 5": "yes"}),
            "density": ("breast_density", {f"DENSITY {c}": c for c in "ABCD"}),
        },
        side="laterality",
        view="view_position",
        density="breast_density",
        split="split",
        note=(
            "No pathology is published: BI-RADS 5 counts as cancer, 1 and 2 as none, "
            "3 and 4 are left out."
        ),
    ),
    Layout(
        name="RSNA-2023",
        tables=("train.csv", "test.csv"),
        columns=frozenset({"site_id", "patient_id", "image_id", "laterality", "view"}),
        file_key=r"(?:^|/)(?:\d+_)?(\d+)\.(?:dcm|png|tiff?)$",
        row_key=_column("image_id"),
        patient=_column("patient_id"),
        labels={
            "cancer": ("cancer", {"0": "no", "1": "yes"}),
            "density": ("density", _DENSITY),
        },
        side="laterality",
        view="view",
        density="density",
        age="age",
        site="site_id",
        note="The label is of the breast: every view of a breast with cancer is positive.",
    ),
    Layout(
        name="INbreast",
        tables=("INbreast*.csv",),
        columns=frozenset({"File Name", "Laterality", "View", "ACR", "Bi-Rads"}),
        file_key=r"(?:^|/)(\d{6,})(?:_|\.)",
        row_key=_column("File Name"),
        # The table has no usable patient; the file name has a hash of one.
        patient=lambda row: row.get("Patient ID", "").strip(),
        labels={
            "cancer": (
                "Bi-Rads",
                {
                    **dict.fromkeys("123", "no"),
                    **dict.fromkeys(("4", "4a", "4b", "4c", "5", "6"), "yes"),
                },
            ),
            "density": ("ACR", _DENSITY),
        },
        side="Laterality",
        view="View",
        density="ACR",
        views={"ML": "MLO"},
        note="Cancer is BI-RADS 4 or more by convention; biopsies are not in the table.",
    ),
    Layout(
        name="CMMD",
        tables=("CMMD_clinicaldata*.csv",),
        columns=frozenset({"ID1", "LeftRight", "classification"}),
        file_key=r"(D[12]-\d{4})/",
        row_key=_column("ID1"),
        patient=_column("ID1"),
        labels={
            "cancer": ("classification", {"Benign": "no", "Malignant": "yes"}),
            "pathology": ("classification", {"Benign": "benign", "Malignant": "malignant"}),
        },
        side="LeftRight",
        age="Age",
        by_side=True,
    ),
)

# INFO of mini-MIAS: reference, tissue, class, severity and a circle, the last ones optional.
_MIAS_LINE = re.compile(
    r"^(mdb\d{3})\s+([FGD])\s+([A-Z]{4})(?:\s+([BM]))?(?:\s+(\d+)\s+(\d+)\s+(\d+))?"
)
# Pixels on a side of the original films; Info.txt counts in these whatever was resized since.
MIAS_PX = 1024
_RANK = ("normal", "benign", "malignant")


def find_layout(folder: Path) -> tuple[Layout | None, list[Path]]:
    """The layout a folder follows and its tables; mini-MIAS gives None and its ``Info.txt``.

    An empty list means that the folder follows none of them.
    """
    info = folder / "Info.txt"
    if info.is_file() and any(_mias_lines(info)):
        return None, [info]
    for layout in LAYOUTS:
        tables = [
            table
            for pattern in layout.tables
            for table in sorted(folder.glob(pattern))
            if layout.columns <= set(_cells(table)[0])
        ]
        if tables:
            return layout, tables
    return None, []


def read_layout(
    layout: Layout | None,
    tables: list[Path],
    files: Iterable[Path],
    *,
    root: Path,
    task: Task,
    side_of: Callable[[Path], str],
) -> tuple[list[Record], list[str]]:
    """The images of a layout and what the user should know.

    Args:
        layout: from ``find_layout``.
        tables: from ``find_layout``.
        files: image files below the root.
        root: the data set's folder.
        task: decides which label is read.
        side_of: the side that a file's header gives; only asked where a
            layout's labels are per breast and its files do not say which.

    Raises:
        ManifestError: the layout has no label for this task.
    """
    if layout is None:
        return _read_mias(tables[0], files, task)
    _require_task(layout.name, layout.labels, task)
    rows: dict[str, list[Mapping[str, str]]] = {}
    for table in tables:
        for row in _cells(table)[1]:
            rows.setdefault(layout.row_key(row), []).append(row)
    records, unlisted = [], 0
    for path in files:
        relative = path.relative_to(root).as_posix()
        found = re.search(layout.file_key, relative)
        mine = rows.get(found[1], []) if found else []
        if layout.by_side and mine:
            side = side_of(path)
            mine = [row for row in mine if _SIDES.get(row[layout.side].upper()) == side]
        if mine:
            records.append(_record(layout, path, mine, task))
        else:
            unlisted += 1
    notes = [f"{layout.name}: labels are read from {', '.join(t.name for t in tables)}."]
    if layout.note:
        notes.append(f"{layout.name}: {layout.note}")
    if unlisted:
        notes.append(f"{unlisted:,} images are not in the table and are left out.")
    return records, notes


def _record(layout: Layout, path: Path, rows: list[Mapping[str, str]], task: Task) -> Record:
    """One image from its rows, which are lesions in some sets."""
    row = rows[0]

    def cell(column: str) -> str:
        # One pair of CBIS-DDSM's tables writes "breast density", the other "breast_density".
        value = row.get(column) if column in row else row.get(column.replace("_", " "))
        return (value or "").strip()

    label = ""
    if task.name in layout.labels:
        column, meaning = layout.labels[task.name]
        order = list(dict.fromkeys(meaning.values()))
        found = [
            meaning[value]
            for each in rows
            if (value := (each.get(column) or each.get(column.replace("_", " ")) or "").strip())
            in meaning
        ]
        label = max(found, key=order.index) if found else ""
    view = cell(layout.view).upper() if layout.view else ""
    density = cell(layout.density).removeprefix("DENSITY ") if layout.density else ""
    extras = {"density": _DENSITY.get(density, "")}
    if layout.site:
        extras["site"] = cell(layout.site)
    if layout.age:
        extras["age_decade"] = _decade(cell(layout.age))
    split = (
        {"training": "train", "test": "test"}.get(cell(layout.split), "") if layout.split else ""
    )
    return Record(
        path=path,
        patient=layout.patient(row),
        laterality=_SIDES.get(cell(layout.side).upper(), "") if layout.side else "",
        view=layout.views.get(view, view),
        label=label,
        split=split,
        extras=extras,
    )


def _read_mias(info: Path, files: Iterable[Path], task: Task) -> tuple[list[Record], list[str]]:
    """mini-MIAS: several lines per film, two films per woman.

    Odd numbers are right breasts, the next even number is the left of the same
    woman. Coordinates count from the bottom left corner in pixels of the
    original 1024 x 1024 films; they are turned here to shares of the picture,
    rows downwards.
    """
    lines: dict[str, list[tuple[str, ...]]] = {}
    for name, *rest in _mias_lines(info):
        lines.setdefault(name, []).append(tuple(rest))
    names = {"cancer": "", "pathology": "", "tissue": "", "finding": ""}
    _require_task("mini-MIAS", names, task)
    records = []
    for path in files:
        found = lines.get(path.stem.lower())
        if found is None:
            continue
        number = int(path.stem[3:6])
        severity = max((_severity(line) for line in found), key=_RANK.index)
        by_task = {
            "cancer": "yes" if severity == "malignant" else "no",
            "pathology": severity,
            "tissue": found[0][0],
            "finding": "normal" if severity == "normal" else "abnormal",
        }
        circles = [
            f"{1 - int(y) / MIAS_PX:.4f} {int(x) / MIAS_PX:.4f} {int(r) / MIAS_PX:.4f}"
            for _, _, _, x, y, r in found
            if x
        ]
        kinds = sorted({line[1].lower() for line in found} - {"norm"})
        records.append(
            Record(
                path=path,
                patient=f"woman {(number + 1) // 2:03d}",
                laterality="R" if number % 2 else "L",
                view="MLO",
                label=by_task.get(task.name, ""),
                extras={
                    "tissue": found[0][0],
                    "abnormality": "|".join(kinds) or "none",
                    "lesions": "|".join(circles),
                },
            )
        )
    notes = [
        "mini-MIAS: labels are read from Info.txt; film n belongs to woman (n + 1) // 2.",
        "mini-MIAS: the tissue grades F, G, D are not the ACR densities A to D.",
    ]
    return records, notes


def _severity(line: tuple[str, ...]) -> str:
    """Normal, benign or malignant from the class and severity of one line."""
    if line[1] == "NORM":
        return "normal"
    return {"M": "malignant"}.get(line[2], "benign")


def _mias_lines(info: Path) -> list[tuple[str, ...]]:
    """Name, tissue, class, severity, x, y, radius of every line; absent ones are empty."""
    text = info.read_text(encoding="latin-1")
    matches = (_MIAS_LINE.match(line.strip()) for line in text.splitlines())
    return [tuple(part or "" for part in m.groups()) for m in matches if m]


def _require_task(name: str, labels: Mapping[str, Any], task: Task) -> None:
    """Refuse a task of this app for which the data set has no label."""
    known = {label for layout in LAYOUTS for label in layout.labels} | {"tissue", "finding"}
    if task.name in labels or task.name not in known:
        return
    msg = (
        f"{name} has no label for the task {task.name!r} (it has: {', '.join(labels)}). "
        "Choose one of these with --task."
    )
    raise ManifestError(msg)


def _cells(table: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows of a CSV as text; the separator is the more frequent of , and ;."""
    import csv  # noqa: PLC0415  (only where a layout is looked for)

    text = table.read_text(encoding="utf-8-sig", errors="replace")
    first = text.partition("\n")[0]
    separator = ";" if first.count(";") > first.count(",") else ","
    reader = csv.DictReader(text.splitlines(keepends=True), delimiter=separator)
    rows = [{str(k).strip(): str(v or "") for k, v in row.items()} for row in reader]
    return [str(name).strip() for name in reader.fieldnames or ()], rows


def _decade(age: str) -> str:
    """Decade of an age in years; ``90+`` above 89."""
    try:
        years = int(float(age))
    except ValueError:
        return ""
    if not 0 < years < 130:
        return ""
    return "90+" if years >= 90 else f"{years // 10 * 10}-{years // 10 * 10 + 9}"
