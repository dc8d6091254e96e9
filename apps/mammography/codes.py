"""Coded concepts of the DICOM objects: standard ones where there are any, else this program's own.

Own codes are of the scheme ``99RESIGHT``, published in ``docs/outputs.md``. A code is made from
what it means, so one code never stands for two things.

Source: DICOM PS3.16, context groups 4014 (views), 6000 (breast composition), 230 (yes and no);
codes are those of SNOMED CT and DICOM as pydicom lists them.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from core.base.tables import NEGATIVE, POSITIVE
from core.evaluation.doubt import OPEN, REFERRED, WITHHELD

if TYPE_CHECKING:
    from core.app import Task

__all__ = ["SCHEME", "class_code", "decision_code", "own_code", "standard"]

SCHEME = "99RESIGHT"
SNOMED = {
    "yes": ("373066001", "Yes"),
    "no": ("373067005", "No"),
    "normal": ("17621005", "Normal"),
    "abnormal": ("263654008", "Abnormal"),
    "benign": ("30807003", "Benign"),
    "malignant": ("21594007", "Malignant"),
    "L": ("7771000", "Left"),
    "R": ("24028007", "Right"),
    "breast": ("76752008", "Breast"),
    "CC": ("399162004", "cranio-caudal"),
    "MLO": ("399368009", "medio-lateral oblique"),
    "ML": ("399260004", "medio-lateral"),
    "LM": ("399352003", "latero-medial"),
}
DENSITY = {
    "A": ("129716005", "Almost entirely fat"),
    "B": ("129717001", "Scattered fibroglandular densities"),
    "C": ("129718006", "Heterogeneously dense"),
    "D": ("129719003", "Extremely dense"),
}
DECISIONS = {
    POSITIVE: "Positive at the threshold",
    NEGATIVE: "Negative at the threshold",
    OPEN: "Open: something is missing or in doubt",
    REFERRED: "Referred to a reader: in doubt",
    WITHHELD: "Withheld: images unlike the training",
    "": "No decision",
}


def standard(name: str) -> Any:
    """A concept of ``SNOMED`` by this module's word for it."""
    import highdicom as hd  # noqa: PLC0415  (an extra)

    value, meaning = SNOMED[name]
    return hd.sr.CodedConcept(value, "SCT", meaning)


def own_code(kind: str, name: str, meaning: str) -> Any:
    """A concept of this program; its value is made of kind and name, 16 characters at most."""
    import highdicom as hd  # noqa: PLC0415  (an extra)

    slug = re.sub(r"[^A-Z0-9]", "", name.upper())
    value = f"{kind}-{slug}"
    if not slug or len(value) > 16 or slug != name.upper():
        value = f"{kind}-{hashlib.sha256(name.encode()).hexdigest()[: 15 - len(kind)].upper()}"
    return hd.sr.CodedConcept(value, SCHEME, meaning[:64])


def class_code(name: str, task: Task) -> Any:
    """The concept of a class."""
    import highdicom as hd  # noqa: PLC0415  (an extra)

    if task.name == "density" and name in DENSITY:
        value, meaning = DENSITY[name]
        return hd.sr.CodedConcept(value, "SCT", meaning)
    if name in {"yes", "no", "normal", "abnormal", "benign", "malignant"}:
        return standard(name)
    # Of the title: a D of one task is no D of another.
    title = task.title(name) or "none"
    return own_code("CLS", title, title)


def decision_code(decision: str, task: Task) -> Any:
    """The concept of a decision: a class of two, a side of a threshold, or why there is none."""
    if decision in task.classes:
        return class_code(decision, task)
    return own_code("DEC", decision or "none", DECISIONS.get(decision, decision))
