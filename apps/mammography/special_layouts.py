"""Readers of the public sets whose labels are put together: mini-MIAS, EMBED, CSAW-CC.

Each takes a ``Reading`` and gives records; which classes the parts mean is said in
``layouts`` and may be changed by the user.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from apps.mammography.layouts import DENSITY, SIDES
from core.data.published import (
    Record,
    counted_missing,
    plain,
    read_sheet,
    require_columns,
    stem_of,
)
from core.data.scan import readable
from core.data.tables_in import whole_number
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from apps.mammography.layouts import Reading

    Row = Mapping[str, str]

__all__ = ["read_csaw", "read_embed", "read_mias"]

# INFO of mini-MIAS: reference, tissue, class, severity and a circle, the last ones optional.
_MIAS_LINE = re.compile(
    r"^(mdb\d{3})\s+([FGD])\s+([A-Z]{4})(?:\s+([BM]))?(?:\s+(\d+)\s+(\d+)\s+(\d+))?"
)
# Pixels on a side of the original films; Info.txt counts in these whatever was resized since.
MIAS_PX = 1024
_RANK = ("normal", "benign", "malignant")
# Columns of EMBED's table of findings that labels are put together from.
_FINDINGS = ("empi_anon", "acc_anon", "desc", "tissueden", "asses", "side", "path_severity")


def read_mias(reading: Reading) -> list[Record]:
    """mini-MIAS: several lines per film, two films per woman.

    Odd numbers are right breasts, the next even number is the left of the same
    woman. Coordinates count from the bottom left corner in pixels of the
    original 1024 x 1024 films; they are turned here to shares of the picture,
    rows downwards.

    Raises:
        ManifestError: a line of a film is not as published.
    """
    info = reading.tables[0]
    lines: dict[str, list[tuple[str, ...]]] = {}
    for name, *rest in _mias_lines(info):
        lines.setdefault(name, []).append(tuple(rest))
    records: list[Record] = []
    seen: set[str] = set()
    for path in reading.files:
        found = lines.get(path.stem.lower())
        if found is None or path.stem.lower() in seen:
            records.append(Record(path, reason="Info.txt does not list it"))
            continue
        seen.add(path.stem.lower())
        records.append(_mias_record(reading, path, found))
    missing = [name for name in lines if name not in seen]
    reading.notes += counted_missing("mini-MIAS", missing, len(lines), str(reading.root))
    reading.notes += [
        "mini-MIAS: film n belongs to woman (n + 1) // 2.",
        "mini-MIAS: the tissue grades F, G, D are not the ACR densities A to D.",
    ]
    return records


def _mias_record(reading: Reading, path: Path, found: Sequence[tuple[str, ...]]) -> Record:
    """One film from its lines."""
    number = int(path.stem[3:6])
    severity = max((_severity(line) for line in found), key=_RANK.index)
    by_task = {
        "cancer": "yes" if severity == "malignant" else "no",
        "pathology": severity,
        "tissue": found[0][0],
        "finding": "normal" if severity == "normal" else "abnormal",
    }
    label = by_task.get(reading.task.name, "")
    circles = [
        f"{1 - int(y) / MIAS_PX:.4f} {int(x) / MIAS_PX:.4f} {int(r) / MIAS_PX:.4f}"
        for _, _, _, x, y, r in found
        if x
    ]
    kinds = sorted({line[1].lower() for line in found} - {"norm"})
    return Record(
        path=path,
        patient=f"woman {(number + 1) // 2:03d}",
        label=reading.meaning.get(label.casefold(), label),
        extras={
            "laterality": "R" if number % 2 else "L",
            "view": "MLO",
            "tissue": found[0][0],
            "abnormality": "|".join(kinds) or "none",
            "lesions": "|".join(circles),
        },
    )


def _severity(line: tuple[str, ...]) -> str:
    """Normal, benign or malignant from the class and severity of one line."""
    if line[1] == "NORM":
        return "normal"
    return {"M": "malignant"}.get(line[2], "benign")


def _mias_lines(info: Path) -> list[tuple[str, ...]]:
    """Name, tissue, class, severity, x, y, radius of every line; absent ones are empty.

    Raises:
        ManifestError: a line begins with a film and goes on otherwise than published.
    """
    text = info.read_text(encoding="latin-1")
    lines = [line.strip() for line in text.splitlines() if re.match(r"mdb\d", line.strip())]
    matches = [(line, _MIAS_LINE.match(line)) for line in lines]
    wrong = [line for line, match in matches if match is None]
    if wrong:
        msg = (
            f"{readable(str(info))}: is laid out as mini-MIAS, but {len(wrong):,} of "
            f"{len(lines):,} lines are not as published (- expected, + found):\n"
            "  - mdbNNN F|G|D CALC|CIRC|SPIC|MISC|ARCH|ASYM|NORM [B|M [x y radius]]\n"
            f"  + {wrong[0]}\n"
            "Labels would be read from the wrong place. Restore the published file, or pass --card "
            "none to read the folder as any other."
        )
        raise ManifestError(msg)
    return [tuple(part or "" for part in match.groups()) for _, match in matches if match]


def read_embed(reading: Reading) -> list[Record]:
    """EMBED: one table of files, one of findings; they meet by exam and side.

    Raises:
        ManifestError: the table of findings is absent or its columns are not as published.
    """
    folder = reading.tables[0].parent
    clinical = sorted(folder.glob("EMBED_OpenData_clinical*.csv"))
    if not clinical:
        msg = (
            f"{readable(str(folder))}: EMBED's table of findings, EMBED_OpenData_clinical.csv, is "
            "not beside that of its files, and labels stand in it. Put it there, or pass --card "
            "none."
        )
        raise ManifestError(msg)
    sheet = read_sheet(clinical[0])
    require_columns(clinical[0], sheet.columns, _FINDINGS, title="EMBED")
    findings: dict[tuple[str, str], list[Row]] = {}
    for row in sheet.rows:
        # A finding of both breasts, or of none, is of each.
        sides = [row["side"].upper()] if row["side"].upper() in {"L", "R"} else ["L", "R"]
        for side in sides:
            findings.setdefault((row["acc_anon"], side), []).append(row)
    rows: dict[str, Row] = {}
    for row in read_sheet(reading.tables[0]).rows:
        rows.setdefault(stem_of(row[plain("anon_dicom_path")]), row)
    records: list[Record] = []
    for path in reading.files:
        known = rows.get(path.stem.casefold())
        if known is None:
            records.append(Record(path, reason=f"{reading.tables[0].name} does not list it"))
        else:
            records.append(_embed_record(reading, path, known, findings))
    seen = {path.stem.casefold() for path in reading.files}
    missing = [name for name in rows if name not in seen]
    reading.notes += counted_missing(
        "EMBED", missing, len(rows), str(reading.root), is_part_fine=True
    )
    reading.notes.append(f"EMBED: findings are read from {clinical[0].name}.")
    return records


def _embed_record(
    reading: Reading,
    path: Path,
    row: Row,
    findings: Mapping[tuple[str, str], Sequence[Row]],
) -> Record:
    """One image of EMBED with what was found in its breast."""
    side = row[plain("ImageLateralityFinal")].upper()[:1]
    exam = row["acc_anon"]
    mine = findings.get((exam, side), ())
    densities = [DENSITY.get(whole_number(f["tissueden"]), "") for f in mine]
    severities = [whole_number(f["path_severity"]) for f in mine if f["path_severity"]]
    assessments = [f["asses"].upper() for f in mine]
    label = ""
    if reading.task.name == "density":
        label = next(filter(None, densities), "")
    elif severities:
        label = reading.worst([f"path {s}" for s in severities])
    elif assessments:
        meant = [reading.meaning.get(f"birads {a}".casefold(), "") for a in assessments]
        # One assessment that is neither leaves the breast open.
        label = reading.worst([f"birads {a}" for a in assessments]) if all(meant) else ""
    kind = row[plain("FinalImageType")].casefold()
    reason = ""
    if whole_number(row["spot_mag"]) == "1":
        reason = "is a spot or magnified view"
    elif kind not in {"2d", "cview", "c-view"}:
        reason = f"is no 2D or C-view image ({row[plain('FinalImageType')] or 'type unknown'})"
    return Record(
        path=path,
        patient=row["empi_anon"],
        label=label,
        reason=reason,
        extras={
            "laterality": SIDES.get(side, ""),
            "view": row[plain("ViewPosition")].upper(),
            "exam": exam,
            "density": next(filter(None, densities), ""),
        },
    )


def read_csaw(reading: Reading) -> list[Record]:
    """CSAW-CC: a row per image; its label follows from case, side and time to the diagnosis."""
    rows: dict[str, Row] = {}
    for table in reading.tables:
        for row in read_sheet(table).rows:
            rows.setdefault(stem_of(row["anon_filename"]), row)
    records: list[Record] = []
    for path in reading.files:
        known = rows.get(path.stem.casefold())
        if known is None:
            records.append(Record(path, reason=f"{reading.tables[0].name} does not list it"))
            continue
        side = SIDES.get(known["imagelaterality"].upper(), "")
        records.append(
            Record(
                path=path,
                patient=known["anon_patientid"],
                label=reading.worst([_csaw_cell(known, side)]),
                extras={
                    "laterality": side,
                    "view": known["viewposition"].upper(),
                    "exam": f"{known['anon_patientid']} {known['exam_year']}",
                },
            )
        )
    seen = {path.stem.casefold() for path in reading.files}
    missing = [name for name in rows if name not in seen]
    reading.notes += counted_missing(
        "CSAW-CC", missing, len(rows), str(reading.root), is_part_fine=True
    )
    return records


def _csaw_cell(row: Row, side: str) -> str:
    """``control``, ``other side``, or ``timing N`` of the side of the cancer."""
    if whole_number(row["x_case"]) != "1":
        return "control"
    if SIDES.get(row["x_cancer_laterality"].upper()[:1], "") != side:
        return "other side"
    return f"timing {whole_number(row['rad_timing'])}"
