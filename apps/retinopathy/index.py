"""Which photographs there are, of whose eye, and with which grade.

Public layouts are recognised by their tables (``layouts``); everything else, class
folders and the user's own tables among them, is read by core. On top of that
stands what a retina needs: patient, eye, camera and site under one name each, the
grade in one spelling, and DICOM headers, of which only the eye and the camera's
maker are kept and the patient becomes a number.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps.retinopathy import dicom
from apps.retinopathy.images import COLOURS
from apps.retinopathy.layouts import LAYOUTS, NAMES, eye_of, patient_and_eye
from apps.retinopathy.metrics import GRADES
from core.app import Manifest
from core.data.manifest import EXTENSIONS, GroupRule, index_images, locate
from core.data.published import index_published
from core.data.same_numbers import apart_by_folder
from core.data.tables_in import plain, whole_number
from core.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

    from core.app import Source

__all__ = ["COLUMNS", "index"]

# Columns every manifest of this app has, and the names they go by in tables.
COLUMNS = {
    "patient": ("patient", "patient_id", "patientid", "pid", "subject", "subject_id"),
    "eye": ("eye", "laterality", "side"),
    "camera": ("camera", "camera_model", "device", "machine"),
    "site": ("site", "center", "centre", "clinic", "hospital"),
}
_KEPT = tuple(name for names in COLUMNS.values() for name in names)
LABEL_NAMES = ("adjudicated_dr_grade", "dr_grade", "retinopathy grade", "grade", "level")
GROUP_RULES = (
    GroupRule(words="the patient", columns=COLUMNS["patient"]),
    GroupRule(
        words="the patient: what stands before _left or _right in the name", pattern=NAMES[0]
    ),
    GroupRule(words="the patient: what stands before the eye in the name", pattern=NAMES[1]),
)
UNGRADABLE = "its grader called it ungradable"
NO_PATIENT = (
    "Nothing says which photographs are of one patient. Photographs that are near copies of each "
    "other are kept in one split, but the two eyes of a patient may be on both sides of it, so "
    "the result may look better than it is. Add a column patient, or name the files "
    "<patient>_left and <patient>_right."
)

_GRADE_WORDS = {
    **dict.fromkeys(("no dr", "nodr", "normal", "none", "healthy", "no retinopathy"), "0"),
    **dict.fromkeys(("mild", "mild npdr", "mild dr"), "1"),
    **dict.fromkeys(("moderate", "moderate npdr", "moderate dr"), "2"),
    **dict.fromkeys(("severe", "severe npdr", "severe dr"), "3"),
    **dict.fromkeys(("proliferative", "proliferate dr", "proliferative dr", "pdr"), "4"),
    **dict.fromkeys(("5", "ungradable", "ungradeable", "reject"), "ungradable"),
}


def index(source: Source) -> Manifest:
    """The manifest of fundus photographs; see the head of this module.

    Raises:
        ConfigError: ``--colours`` is none of ``images.COLOURS``.
        ManifestError: nothing usable is there, or a card named does not fit.
    """
    colours = str(source.options.get("colours") or COLOURS[0])
    if colours not in COLOURS:
        msg = f"--colours {colours}: is not known. Choose one of {', '.join(COLOURS)}."
        raise ConfigError(msg)
    found = None
    if source.labelled:
        found = index_published(source, LAYOUTS, read=_by_core, keep=_KEPT)
    manifest = found or _by_core(source)
    completed = _completed(manifest, source)
    # Read by the steps of the preparation; a column of the user's own must not be.
    table = completed.table.drop(columns="colours", errors="ignore")
    if colours != COLOURS[0]:
        table["colours"] = colours
    from_tables = tuple(name for name in manifest.from_tables if name != "colours")
    return replace(completed, table=table, from_tables=from_tables)


def _by_core(source: Source) -> Manifest:
    """The manifest of class folders or of the user's own tables."""
    return index_images(
        source,
        group=GROUP_RULES,
        extensions=EXTENSIONS | {".dcm", ".dicom"},
        label_names=LABEL_NAMES,
    )


def _completed(manifest: Manifest, source: Source) -> Manifest:
    """The manifest with this app's columns, grades in one spelling, and headers read."""
    table = manifest.table.copy()
    given = {name: _given(table, name) for name in COLUMNS}
    names = [patient_and_eye(Path(str(path)).stem) for path in table["path"]]
    people_by_name, apart = [name for name, _ in names], ""
    if not source.labelled:
        # In training two people of one number stay one group: nobody may be on both sides.
        surer = [
            "" if known else name
            for known, name in zip(given["patient"], people_by_name, strict=True)
        ]
        paths = [str(path) for path in table["path"]]
        people_by_name, apart = apart_by_folder(
            surer, paths, what="patient", same=_grade_folders(paths)
        )
    headers = _headers(manifest)
    people: dict[str, str] = {}
    filled: dict[str, list[str]] = {name: [] for name in COLUMNS}
    for i, (by_name, header) in enumerate(zip(names, headers, strict=True)):
        numbered = ""
        if header.patient:
            numbered = people.setdefault(header.patient, f"DICOM patient {len(people) + 1}")
        filled["patient"].append(given["patient"][i] or people_by_name[i] or numbered)
        filled["eye"].append(eye_of(given["eye"][i]) or by_name[1] or header.eye)
        filled["camera"].append(given["camera"][i] or header.camera)
        filled["site"].append(given["site"][i])
    for name, cells in filled.items():
        if any(cells):
            table[name] = cells
        elif name in table:
            table = table.drop(columns=[name])
    rule, notes = manifest.group_rule, [*manifest.notes, *([apart] if apart else [])]
    if not rule and source.group is None and any(filled["patient"]):
        table["group"] = table["patient"]
        where = "the DICOM header (a number stands for it)" if people else "the set's own names"
        n_groups, n_images = _known_groups(table)
        rule = (
            f"The group is the patient, from {where}: {n_groups:,} groups of {n_images:,} images."
        )
    if source.labelled:
        notes += _grades_in_one_spelling(table, source)
        if not rule:
            notes.append(NO_PATIENT)
    return Manifest(
        table=table,
        root=manifest.root,
        group_rule=rule,
        split_rule=manifest.split_rule,
        class_rule=manifest.class_rule,
        notes=tuple(notes),
        cards=manifest.cards,
    )


def _grade_folders(paths: list[str]) -> set[str]:
    """Lower-case names of class folders, which do not tell one patient from another."""
    # Digits only where grade 0 is among them: clinics are numbered from 1.
    folders = {part for path in paths for part in path.split("/")[:-1]}
    digits = set(GRADES) if "0" in folders else set()
    return {word for word in _GRADE_WORDS if not word.isdigit()} | digits


def _known_groups(table: pd.DataFrame) -> tuple[int, int]:
    """Groups of usable images, and how many images have one."""
    groups = table.loc[table["status"] == "ok", "group"]
    known = groups[groups != ""]
    return known.nunique(), len(known)


def _given(table: pd.DataFrame, name: str) -> list[str]:
    """What the columns of this meaning say; the first that is filled in counts."""
    columns = [c for c in table.columns if _known_name(c) == name]
    rows = [[whole_number(str(v or "")) for v in table[c]] for c in columns]
    return [next(filter(None, cells), "") for cells in zip(*rows, strict=True)] or [""] * len(table)


def _known_name(column: Any) -> str:
    """The name in ``COLUMNS`` that a column of a table goes by here; empty if none."""
    known = plain(column).removesuffix("_given")
    return next((name for name, spellings in COLUMNS.items() if known in spellings), "")


def _headers(manifest: Manifest) -> list[dicom.Header]:
    """The DICOM header of each row, an empty one for other files."""
    headers = []
    for path, status in zip(manifest.table["path"], manifest.table["status"], strict=True):
        file = locate(manifest.root, str(path))
        is_candidate = status == "ok" and file.suffix.lower() in {".dcm", ".dicom", ""}
        headers.append(
            dicom.read_header(file) if is_candidate and dicom.is_dicom(file) else dicom.Header()
        )
    return headers


def _grades_in_one_spelling(table: pd.DataFrame, source: Source) -> list[str]:
    """Turn labels into grades in place; ungradable ones are skipped. Returns notes."""
    if source.task.name != "grade":
        return []
    labels = [_grade(str(text or "")) for text in table["label"]]
    ungradable = [
        label == "ungradable" and status == "ok"
        for label, status in zip(labels, table["status"], strict=True)
    ]
    table["label"] = ["" if label == "ungradable" else label for label in labels]
    table.loc[ungradable, "status"] = "skipped"
    table.loc[ungradable, "reason"] = UNGRADABLE
    n = sum(ungradable)
    if not n:
        return []
    return [
        f"{n:,} photographs were called ungradable by their graders. They train nothing, and "
        "count as referred in the screening table."
    ]


def _grade(label: str) -> str:
    """A label in the spelling of the task: a digit, ``ungradable``, or as it was."""
    plain = re.sub(r"[\s_-]+", " ", label.strip().casefold())
    match = re.fullmatch(r"(?:(?:dr|grade|level|stage|class) ?)?([0-4])(?:\.0+)?", plain)
    return match[1] if match else _GRADE_WORDS.get(plain.removesuffix(".0"), label.strip())
