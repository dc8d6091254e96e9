"""What of a source's header may be handed on to the objects made from it.

Neither free text nor where, by whom or with which machine an image was made; no value that is
longer than its kind allows.

Source: DICOM PS3.5 6.2 (lengths), PS3.3 C.7 (type 2: empty is allowed, absent is not).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.base.words import quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydicom.dataset import Dataset

__all__ = ["completed", "note_of_long_values", "too_long"]

# Type 2 elements that source files may lack: empty is allowed, absent is not.
_TYPE_2 = (
    *("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID"),
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
)
# What else of a source an object may be made from. Nothing beside it and the description of
# pixels is handed on: not where, by whom or with which machine it was made, no free text.
_KEPT = (
    *("SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID"),
    *("SeriesInstanceUID", "FrameOfReferenceUID", "Modality", "ImageType", "InstanceNumber"),
    *("SeriesNumber", "PatientOrientation", "Laterality", "ImageLaterality", "ViewPosition"),
    *("ViewCodeSequence", "ImagerPixelSpacing", "BodyPartExamined"),
)
# Most characters of a value, PS3.5 6.2.
_LONGEST = {"SH": 16, "CS": 16, "LO": 64, "PN": 64}


def completed(source: Dataset) -> Dataset:
    """What objects are made from: the elements of ``_KEPT``, and those that must not be absent.

    Dates that are none (``00000000`` of an anonymiser) are emptied as well.
    """
    from pydicom.valuerep import DA, TM  # noqa: PLC0415  (an extra)

    for element in list(source):
        # Group 0028 describes pixels (with PixelSpacing), 7FE0 holds them.
        is_pixels = element.tag.group in {0x0028, 0x7FE0}
        if not is_pixels and element.keyword not in {*_KEPT, *_TYPE_2}:
            del source[element.tag]
    for name in _TYPE_2:
        kind = DA if name.endswith("Date") else TM if name.endswith("Time") else str
        try:
            kind(str(source.get(name) or ""))
        except ValueError:
            setattr(source, name, "")
        if name not in source:
            setattr(source, name, "")
    return source


def too_long(source: Dataset) -> dict[str, str]:
    """Take out what is longer than its kind allows; keyword -> the whole text.

    An archive would refuse the object, or cut an accession number to that of another exam.
    """
    from pydicom.multival import MultiValue  # noqa: PLC0415  (an extra)

    found = {}
    for element in list(source):
        limit = _LONGEST.get(element.VR)
        if limit is None or element.value is None:
            continue
        is_many = isinstance(element.value, MultiValue)
        values = [str(value) for value in (element.value if is_many else [element.value])]
        # Of a name each group of characters (Latin, ideographic, phonetic) has the limit.
        if max((len(part) for v in values for part in v.split("=")), default=0) <= limit:
            continue
        found[element.keyword] = "\\".join(values)
        if element.keyword in _TYPE_2:
            element.value = ""
        else:
            del source[element.tag]
    return found


def note_of_long_values(sources: Iterable[Mapping[str, str]]) -> list[str]:
    """A sentence for each element that ``too_long`` took out of any source."""
    counts: dict[str, int] = {}
    for found in sources:
        for keyword in found:
            counts[keyword] = counts.get(keyword, 0) + 1
    return [
        f"{keyword} of {quantity(n, 'image')} is longer than DICOM allows. Objects made from these "
        "have it empty, because a part of it could be another's; the whole of it stands in the "
        "comments of the picture and of the report."
        for keyword, n in counts.items()
    ]
