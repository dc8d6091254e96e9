"""Layouts of public mammography sets whose labels stand in several columns or files.

Small functions that ``layouts`` names: films of mini-MIAS from several lines, findings of
EMBED, cancers of CSAW-CC, patients of INbreast, sides of CMMD, and CBIS-DDSM, whose split
parts lesions, and which is known without its tables by its headers.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from apps.mammography.headers import read_header
from core.app import Manifest
from core.base.words import quantity
from core.data.dicom import is_dicom
from core.data.layouts import WHY_NOT, Row
from core.data.scan import natural_key, readable
from core.data.tables_in import whole_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from core.app import Source
    from core.data.layouts import Sheet

__all__ = [
    "SIDES",
    "cbis_by_headers",
    "csaw_rows",
    "embed_breast",
    "embed_breasts",
    "embed_cancer",
    "embed_rows",
    "inbreast_patient",
    "mias_films",
    "of_its_side",
    "patients_whole",
]

SIDES = {"L": "L", "LEFT": "L", "R": "R", "RIGHT": "R"}
# Pixels on a side of the original films; Info.txt counts in these whatever was resized since.
MIAS_PX = 1024
# A patient's number as CBIS-DDSM writes it into its headers.
_CBIS_PATIENT = re.compile(r"P_\d{5}")


def mias_films(sheet: Sheet, notes: list[str]) -> Iterable[Row]:
    """Films of mini-MIAS from its lines, several per film; two films are of one woman.

    Odd numbers are right breasts, the next even number is the left of the same woman.
    Coordinates count from the bottom left corner in pixels of the original 1024 x 1024
    films; they are turned here to shares of the picture, rows downwards.
    """
    films: dict[str, list[Row]] = {}
    for line in sheet.rows:
        films.setdefault(line["film"], []).append(line)
    notes += [
        "mini-MIAS: film n belongs to woman (n + 1) // 2.",
        "mini-MIAS: the tissue grades F, G, D are not the ACR densities A to D.",
    ]
    for film, lines in films.items():
        number = int(film[3:])
        kinds = sorted({line["kind"].lower() for line in lines} - {"norm"})
        severity = "benign" if kinds else "normal"
        if any(line["kind"] != "NORM" and line["severity"] == "M" for line in lines):
            severity = "malignant"
        circles = [
            f"{1 - int(line['y']) / MIAS_PX:.4f} {int(line['x']) / MIAS_PX:.4f} "
            f"{int(line['radius']) / MIAS_PX:.4f}"
            for line in lines
            if line["x"]
        ]
        yield {
            "film": film,
            "woman": f"woman {(number + 1) // 2:03d}",
            "laterality": "R" if number % 2 else "L",
            "view": "MLO",
            "tissue": lines[0]["tissue"],
            "abnormality": "|".join(kinds) or "none",
            "lesions": "|".join(circles),
            "cancer": "yes" if severity == "malignant" else "no",
            "pathology": severity,
            "finding": "abnormal" if kinds else "normal",
        }


def embed_rows(sheet: Sheet, _: list[str]) -> Iterable[Row]:
    """Files of EMBED; spot views, and what is neither 2D nor C-view, are left out."""
    for row in sheet.rows:
        kind, why = row["finalimagetype"], ""
        if whole_number(row["spot_mag"]) == "1":
            why = "is a spot or magnified view"
        elif kind.casefold() not in {"2d", "cview", "c-view"}:
            why = f"is no 2D or C-view image ({kind or 'type unknown'})"
        yield {**row, WHY_NOT: why}


def embed_breast(row: Row) -> tuple[str, str]:
    """The breast that a file of EMBED shows: exam and side."""
    return row["acc_anon"], row["imagelateralityfinal"].upper()[:1]


def embed_breasts(finding: Row) -> list[tuple[str, str]]:
    """The breasts of a finding of EMBED; one of both, or of none, is of each."""
    side = finding["side"].upper()
    return [(finding["acc_anon"], each) for each in (side if side in {"L", "R"} else "LR")]


def embed_cancer(rows: Sequence[Row], means: Mapping[str, str]) -> str:
    """The worst of a breast's findings: by pathology, else by assessment."""
    severities = [whole_number(row.get("path_severity", "")) for row in rows]
    cells = [f"path {severity}" for severity in severities if severity]
    is_assessed = not cells
    if is_assessed:
        cells = [f"birads {row['asses'].upper()}" for row in rows if "asses" in row]
    found = [means.get(cell.casefold(), "") for cell in cells]
    if is_assessed and not all(found):
        # One assessment that is neither leaves the breast open.
        return ""
    order = list(dict.fromkeys(means.values()))
    return max(filter(None, found), key=order.index, default="")


def csaw_rows(sheet: Sheet, _: list[str]) -> Iterable[Row]:
    """Images of CSAW-CC: ``control``, ``other side``, or ``timing N`` of the side of the cancer."""
    for row in sheet.rows:
        side = SIDES.get(row["imagelaterality"].upper(), "")
        finding = f"timing {whole_number(row['rad_timing'])}"
        if whole_number(row["x_case"]) != "1":
            finding = "control"
        elif SIDES.get(row["x_cancer_laterality"].upper()[:1], "") != side:
            finding = "other side"
        exam = f"{row['anon_patientid']} {row['exam_year']}"
        yield {**row, "finding": finding, "exam": exam}


def inbreast_patient(row: Row, path: Path) -> str:
    """The patient of INbreast, from the file's name where the table's were removed."""
    patient = row.get("patient_id", "")
    if patient.casefold() not in {"", "removed"}:
        return patient
    named = re.search(r"(?:^|/)\d{6,}_([0-9a-f]{4,})_", path.as_posix())
    return named[1] if named else ""


def of_its_side(path: Path, rows: Sequence[Row]) -> list[Row]:
    """The rows of a patient of CMMD that are of the breast in the picture, as its header says."""
    side = _header(path)[1]
    return [row for row in rows if SIDES.get(row["leftright"].upper()) == side]


def patients_whole(found: Manifest, _: Source) -> Manifest:
    """CBIS-DDSM splits masses and calcifications apart: a patient in both is moved to training."""
    table = found.table
    splits = table[table["group"] != ""].groupby("group")["split"].agg(set)
    if len(set().union(*splits)) < 2:
        # Only one of its parts is here: no split is given, and one can be drawn.
        return replace(found, table=table.assign(split=""), split_rule="")
    both = sorted(str(patient) for patient, names in splits.items() if len(names) > 1)
    if not both:
        return found
    note = (
        f"CBIS-DDSM: {len(both):,} patients stand in the training set of one kind of finding and "
        f"the test set of the other (first: {both[0]}). All of their films train."
    )
    split = table["split"].mask(table["group"].isin(both), "train")
    return replace(found, table=table.assign(split=split), notes=(*found.notes, note))


def cbis_by_headers(folder: Path, files: Sequence[Path]) -> Manifest | None:
    """CBIS-DDSM without its tables: its headers name the patient, and no label is known."""
    import pandas as pd  # noqa: PLC0415  (0.5 s to import)

    dicom = [path for path in files if path.suffix.casefold() in {"", ".dcm", ".dicom"}]
    if not dicom or not any(_CBIS_PATIENT.fullmatch(_header(path)[0]) for path in dicom[:20]):
        return None
    rows = []
    for path in files:
        name, patient = readable(path.relative_to(folder).as_posix()), _header(path)[0]
        why = "" if _CBIS_PATIENT.fullmatch(patient) else "its header is not one of CBIS-DDSM"
        known = {"patient": "" if why else patient, "group": "" if why else patient}
        row = {"image_id": name, "path": name, "label": "", "split": "", "reason": why}
        rows.append({**row, **known, "status": "skipped" if why else "ok"})
    rows.sort(key=lambda row: natural_key(row["image_id"]))
    groups = {row["group"] for row in rows if row["group"]}
    n_ok = sum(row["status"] == "ok" for row in rows)
    note = (
        "CBIS-DDSM: recognised by its headers. Its tables (mass_case_description_train_set.csv and "
        "three like it) are not here, so no label is known: put them into the folder to train."
    )
    return Manifest(
        table=pd.DataFrame(rows, dtype="str"),
        root=folder,
        group_rule="The group is the patient, as CBIS-DDSM names them: "
        f"{quantity(len(groups), 'group')} of {quantity(n_ok, 'image')}.",
        notes=(note,),
        cards=("cbis_ddsm",),
    )


def _header(path: Path) -> tuple[str, str]:
    """What a header says of patient and side; empty for other files."""
    if not is_dicom(path):
        return "", ""
    header = read_header(path)
    return header.patient, header.laterality
