"""Read laterality, view and patient from a mammogram's DICOM header; refuse other objects.

Only an allow-list of elements is read, never the pixels. Free text leaves this
module as a code word of our own (a vendor's name, a view) or not at all;
identifiers leave it only through ``core.data.identity``.

Source: DICOM PS3.3 C.8.11.7 (mammography image), PS3.16 CID 4014 (views), CID
4015 (view modifiers), with the older SNOMED-RT codes of the same concepts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from apps.mammography.dicom import choose_voi, why_not_pixels
from core.data.dicom import open_dicom, quiet
from core.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydicom.dataset import Dataset

__all__ = ["Header", "read_header", "side_and_view"]

FOR_PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.2"
FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.2.1"
TOMOSYNTHESIS = "1.2.840.10008.5.1.4.1.1.13.1.3"

# Elements read from a header; everything else stays in the file.
TAGS = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "PatientID", "IssuerOfPatientID"),
    *("Modality", "ImageType", "PresentationIntentType", "QualityControlImage", "PatientAge"),
    *("ImageLaterality", "Laterality", "SharedFunctionalGroupsSequence", "AnatomicRegionSequence"),
    *("FrameLaterality", "ViewPosition", "ViewCodeSequence", "PatientOrientation"),
    *("SeriesDescription", "ProtocolName", "AcquisitionDeviceProcessingDescription"),
    *("ImagerPixelSpacing", "PixelSpacing", "NominalScannedPixelSpacing"),
    *("EstimatedRadiographicMagnificationFactor", "BreastImplantPresent", "Manufacturer"),
    *("ContrastBolusAgent", "BurnedInAnnotation", "Rows", "Columns", "NumberOfFrames"),
    *("SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored"),
    *("PixelRepresentation", "RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth"),
    *("VOILUTFunction", "VOILUTSequence"),
)

# CID 4014: SNOMED CT and SNOMED-RT codes -> ACR abbreviation.
VIEW_CODES: Mapping[str, str] = {
    **{"399162004": "CC", "399368009": "MLO", "399260004": "ML", "399352003": "LM"},
    **{"399099002": "LMO", "399196006": "FB", "399188001": "SIO", "441555000": "ISO"},
    **{"399192008": "XCCL", "399101009": "XCCM", "399265009": "XCC"},
    **{"R-10242": "CC", "R-10226": "MLO", "R-10224": "ML", "R-10228": "LM"},
    **{"R-10230": "LMO", "R-10244": "FB", "R-102D0": "SIO", "R-40AAA": "ISO"},
    **{"R-1024A": "XCCL", "R-1024B": "XCCM", "R-102CF": "XCC"},
}
_DIRECTORY = "1.2.840.10008.1.3.10"
# Readable files that are no single grey picture: passed over, not broken. One that does not say
# what it is has lost a part of its header.
_OTHER_PICTURE = re.compile(
    r"has \d+ frames|is a palette image|is not a grey(?!.*missing)|has several samples"
)
_SPECIMEN = {"127457009", "G-8310"}
# CID 4015, those that change what the picture shows.
MODIFIER_CODES: Mapping[str, str] = {
    **{"399163009": "magnified", "399055006": "spot", "399209000": "implant displaced"},
    **{"R-102D6": "magnified", "R-102D7": "spot", "R-102D5": "implant displaced"},
    **{"399011000": "axillary tail", "R-102D1": "axillary tail"},
    **{"399161006": "cleavage", "R-102D2": "cleavage", "399110001": "tangential"},
    **{"R-102C2": "tangential", "399226006": "rolled", "399197002": "rolled"},
    **{"R-102D4": "rolled", "R-102D3": "rolled"},
}
# The same in words, as devices without codes write them into the series or the protocol.
_MODIFIER_WORDS: Mapping[str, re.Pattern[str]] = {
    "magnified": re.compile(r"(?i)(?<![a-z])(mag|magnif\w*|magview|vergr\w*)(?![a-z])"),
    "spot": re.compile(r"(?i)(?<![a-z])(spot|cone|coned)(?![a-z])"),
    "implant displaced": re.compile(
        r"(?i)implant[\s_-]*displac|eklund|(?<![a-z])(cc|mlo)id(?![a-z])"
    ),
    "axillary tail": re.compile(r"(?i)axillary tail|cleopatra"),
    "cleavage": re.compile(r"(?i)cleavage|valley view"),
    "tangential": re.compile(r"(?i)tangential|(?<![a-z])tan(?![a-z])"),
    "rolled": re.compile(r"(?i)(?<![a-z])rolled(?![a-z])"),
}
_SIDE_CODES = {"24028007": "R", "G-A100": "R", "7771000": "L", "G-A101": "L"}

# Words by which a manufacturer is known -> the name used in outputs.
VENDORS: Mapping[str, str] = {
    **{"hologic": "Hologic", "lorad": "Hologic", "ge medical": "GE", "ge healthcare": "GE"},
    **{"siemens": "Siemens", "fuji": "Fujifilm", "philips": "Philips", "sectra": "Philips"},
    **{"i.m.s": "IMS Giotto", "giotto": "IMS Giotto", "planmed": "Planmed", "agfa": "Agfa"},
    **{"carestream": "Carestream", "kodak": "Carestream", "konica": "Konica Minolta"},
    **{"metaltronica": "Metaltronica", "vieworks": "Vieworks", "icad": "iCAD"},
}

_VIEWS = "XCCL|XCCM|XCC|MLO|LMO|SIO|ISO|CC|ML|LM|AT|FB"
_SIDES = "LEFT|RIGHT|LT|RT|L|R"
_VIEW = re.compile(rf"(?<![A-Z])(?:({_SIDES})[\s_-]*)?({_VIEWS})(?:[\s_-]*({_SIDES}))?(?![A-Z])")
_SIDE = re.compile(r"(?<![A-Z])(LEFT|RIGHT)(?![A-Z])")
# The same written out, and in other languages -> as above.
_WRITTEN_OUT: Mapping[str, re.Pattern[str]] = {
    "MLO": re.compile(
        r"MEDIO[\s_-]?LATERA\w*[\s_-]*(?:OBL\w+|SCHR\w+)|OBL\w+[\s_-]*MEDIO[\s_-]?LATERA\w*"
    ),
    "LMO": re.compile(r"LATERO[\s_-]?MEDIA\w*[\s_-]*OBL\w+"),
    "XCC": re.compile(r"EXAGG\w+[\s_-]*CRANIO[\s_-]?CAUDA\w*"),
    "CC": re.compile(r"(?:C|K)R(?:A|\u00c2)NIO[\s_-]?(?:C|K)AUDA\w*"),
    "ML": re.compile(r"MEDIO[\s_-]?LATERA\w*"),
    "LM": re.compile(r"LATERO[\s_-]?MEDIA\w*"),
    "RIGHT": re.compile(
        r"(?<![A-Z])(?:RECHTS|RECHTE?|DROITE?|DERECH[AO]|DIREIT[AO]|DESTR[AO])(?![A-Z])"
    ),
    "LEFT": re.compile(
        r"(?<![A-Z])(?:LINKS|LINKE?|GAUCHE|IZQUIERD[AO]|ESQUERD[AO]|SINISTR[AO])(?![A-Z])"
    ),
}
# Published with side and view only here, and cut-outs of the same film beside it.
_CBIS = re.compile(r"^(?:Mass|Calc)-(?:Training|Test)_(P_\d+)_(LEFT|RIGHT)_(CC|MLO)(_\d+)?$")


@dataclass(frozen=True, kw_only=True)
class Header:
    """What is known of one file without its pixels.

    ``patient``, ``study`` and ``instance`` are raw identifiers and must not
    leave the index.

    Attributes:
        reason: why it is no screening mammogram; empty if it is one.
        is_readable: whether its pixels can be shown whatever it is.
        is_broken: it was meant as a picture and cannot be read: an input that fails.
        laterality: ``L``, ``R`` or empty; ``laterality_from`` says where it stands.
        view: ACR abbreviation or empty.
        modifiers: of the view, joined by ``|``.
        kind: ``2d`` or ``synthetic`` (computed from tomosynthesis).
        intent: ``presentation``, ``processing`` or empty.
        spacing_mm: of the pixels in the breast's plane; 0 where unknown.
        implant: ``yes``, ``no`` or empty.
        manufacturer: a known vendor, ``other`` or empty.
        age_decade: ``50-59``; ``90+`` above 89, as privacy rules ask; or empty.
        voi: how the pixels will be shown, see ``choose_voi``.
        may_hold_text: the header says that text is burned into the picture.
    """

    patient: str = ""
    issuer: str = ""
    study: str = ""
    instance: str = ""
    reason: str = ""
    is_readable: bool = True
    is_broken: bool = False
    laterality: str = ""
    laterality_from: str = ""
    view: str = ""
    modifiers: str = ""
    kind: str = "2d"
    intent: str = ""
    spacing_mm: float = 0.0
    implant: str = ""
    manufacturer: str = ""
    age_decade: str = ""
    voi: str = ""
    may_hold_text: bool = False


def read_header(path: Path, *, prefer: str = "auto", voi_index: int = 0) -> Header:
    """Read one header. Never raises for a bad file: ``reason`` then says what is wrong.

    Args:
        path: a file.
        prefer: ``auto``, ``lut``, ``window`` or ``range``, see ``choose_voi``.
        voi_index: which of several.
    """
    try:
        data = open_dicom(path, tags=TAGS)
        with quiet():
            return _header(data, prefer, voi_index)
    except ImageError as error:
        return Header(reason=str(error), is_readable=False, is_broken=True)
    except Exception as error:
        reason = f"its DICOM header cannot be read ({type(error).__name__})"
        return Header(reason=reason, is_readable=False, is_broken=True)


def side_and_view(text: str) -> tuple[str, str]:
    """Side and view named in a text or a file name; each empty where it is not named.

    >>> side_and_view("RIGHT CC"), side_and_view("20586908_6c613a_MG_L_ML_ANON")
    (('R', 'CC'), ('L', 'ML'))
    >>> side_and_view("LMLO"), side_and_view("ROUTINE"), side_and_view("CC_R")
    (('L', 'MLO'), ('', ''), ('R', 'CC'))
    >>> side_and_view("Cranio-caudal links"), side_and_view("oblicua mediolateral derecha")
    (('L', 'CC'), ('R', 'MLO'))
    """
    upper = text.upper()
    for name, pattern in _WRITTEN_OUT.items():
        upper = pattern.sub(f" {name} ", upper)
    found = _VIEW.search(upper)
    side = (found[1] or found[3] or "")[:1] if found else ""
    if not side and (word := _SIDE.search(upper)):
        side = word[1][0]
    return side, found[2] if found else ""


def _header(data: Dataset, prefer: str, voi_index: int) -> Header:
    """The facts of an open header."""
    cbis = _CBIS.match(_text(data, "PatientID"))
    view, modifiers, is_specimen = _view(data)
    side, side_from = _laterality(data)
    if cbis:
        side, side_from = (side, side_from) if side else (cbis[2][0], "text")
        view = view or cbis[3]
    unreadable = why_not_pixels(data)
    image_type = {str(word).upper() for word in _many(data, "ImageType")}
    is_synthetic = bool(image_type & {"TOMOSYNTHESIS", "GENERATED_2D", "TOMO_2D"}) or (
        "TOMO" in image_type and "VOLUME" not in image_type
    )
    intent = _text(data, "PresentationIntentType").removeprefix("FOR ").lower()
    if not intent:
        sop = _text(data, "SOPClassUID")
        intent = {FOR_PRESENTATION: "presentation", FOR_PROCESSING: "processing"}.get(sop, "")
    implant = {"YES": "yes", "NO": "no"}.get(_text(data, "BreastImplantPresent").upper(), "")
    not_meant = _why_not(data, image_type, intent, modifiers, is_specimen, cbis)
    if not _text(data, "SOPClassUID") and not _text(data, "Modality") and not data.get("Rows"):
        is_directory = _media_class(data) == _DIRECTORY
        not_meant = "is a directory of DICOM files (DICOMDIR)" if is_directory else ""
    return Header(
        patient=cbis[1] if cbis else _text(data, "PatientID"),
        issuer="" if cbis else _text(data, "IssuerOfPatientID"),
        # Every CBIS-DDSM image has a study of its own; the exam is the patient's.
        study=cbis[1] if cbis else _text(data, "StudyInstanceUID"),
        instance=_text(data, "SOPInstanceUID"),
        reason=not_meant or unreadable,
        is_readable=not unreadable,
        is_broken=bool(unreadable) and not not_meant and not _OTHER_PICTURE.match(unreadable),
        laterality=side,
        laterality_from=side_from,
        view=view,
        modifiers="|".join(modifiers),
        kind="synthetic" if is_synthetic else "2d",
        intent=intent if intent in {"presentation", "processing"} else "",
        spacing_mm=_spacing_mm(data),
        implant="yes" if "implant displaced" in modifiers else implant,
        manufacturer=_vendor(_text(data, "Manufacturer")),
        age_decade=_age_decade(_text(data, "PatientAge")),
        voi="" if unreadable else choose_voi(data, prefer=prefer, index=voi_index),
        may_hold_text=_text(data, "BurnedInAnnotation").upper() == "YES",
    )


def _why_not(
    data: Dataset,
    image_type: set[str],
    intent: str,
    modifiers: list[str],
    is_specimen: bool,
    cbis: re.Match[str] | None,
) -> str:
    """Why this is not a standard picture of a breast; empty if it is one."""
    sop, modality = _text(data, "SOPClassUID"), _text(data, "Modality").upper()
    is_mammogram = modality == "MG" or sop in {FOR_PRESENTATION, FOR_PROCESSING, TOMOSYNTHESIS}
    series = _text(data, "SeriesDescription").lower()
    magnification = _floats(data, "EstimatedRadiographicMagnificationFactor") or [1.0]
    named = modality if re.fullmatch(r"[A-Z]{2,8}", modality) else "missing"
    reasons = (
        (not is_mammogram, f"is not a mammogram (modality {named})"),
        (sop == TOMOSYNTHESIS, "is a tomosynthesis volume"),
        (
            bool(cbis and cbis[4]) or series in {"cropped images", "roi mask images"},
            "is a cut-out or a mask, not a mammogram",
        ),
        (_text(data, "QualityControlImage").upper() == "YES", "is a quality control image"),
        (intent == "processing", "is for processing: the detector's raw values"),
        (
            bool(image_type & {"SUBTRACTION", "SUBTRACTED", "RECOMBINED", "HIGH_ENERGY"})
            or (bool(_text(data, "ContrastBolusAgent")) and "LOW_ENERGY" not in image_type),
            "is a contrast-enhanced picture",
        ),
        (is_specimen, "shows a specimen"),
        (
            bool({"magnified", "spot"} & set(modifiers)) or magnification[0] > 1.3,
            "is a magnified or spot view, not of the whole breast",
        ),
    )
    return next((reason for holds, reason in reasons if holds), "")


def _media_class(data: Dataset) -> str:
    """The kind of object by the file's own header, which a cut does not reach."""
    return str(getattr(data, "file_meta", {}).get("MediaStorageSOPClassUID", "") or "")


def _laterality(data: Dataset) -> tuple[str, str]:
    """Side and where it is said: four places of the header, then text.

    ``Laterality`` comes last of the four: it belongs to the series, and some
    devices fill it with the side of the first picture.
    """
    groups = _items(data, "SharedFunctionalGroupsSequence")
    anatomy = [item for group in groups for item in _items(group, "FrameAnatomySequence")]
    places = (
        ("ImageLaterality", _text(data, "ImageLaterality")),
        (
            "FrameLaterality",
            next((_text(item, "FrameLaterality") for item in anatomy), "")
            or _text(data, "FrameLaterality"),
        ),
        ("AnatomicRegion", _anatomic_side(data)),
        ("Laterality", _text(data, "Laterality")),
    )
    for place, value in places:
        if value.upper() in {"L", "R"}:
            return value.upper(), place
    for name in ("ViewPosition", "SeriesDescription", "ProtocolName"):
        side, _ = side_and_view(_text(data, name))
        if side:
            return side, "text"
    return "", ""


def _anatomic_side(data: Dataset) -> str:
    """The side coded as a modifier of the anatomic region."""
    for region in _items(data, "AnatomicRegionSequence"):
        for modifier in _items(region, "AnatomicRegionModifierSequence"):
            side = _SIDE_CODES.get(_text(modifier, "CodeValue"), "")
            if side:
                return side
    return ""


def _view(data: Dataset) -> tuple[str, list[str], bool]:
    """View, its modifiers, and whether a specimen is shown."""
    views, modifiers, is_specimen = [], [], False
    for item in _items(data, "ViewCodeSequence"):
        code = _text(item, "CodeValue")
        views.append(VIEW_CODES.get(code, ""))
        is_specimen |= code in _SPECIMEN
        modifiers += [
            MODIFIER_CODES.get(_text(m, "CodeValue"), "")
            for m in _items(item, "ViewModifierCodeSequence")
        ]
    text = " ".join(_text(data, n) for n in ("ViewPosition", "SeriesDescription", "ProtocolName"))
    modifiers += [name for name, words in _MODIFIER_WORDS.items() if words.search(text)]
    view = next(filter(None, views), "")
    if not view:
        # CBIS-DDSM writes the view where the direction of the rows belongs.
        for name in ("ViewPosition", "PatientOrientation", "SeriesDescription", "ProtocolName"):
            view = side_and_view(_text(data, name))[1]
            if view:
                break
    return view, list(dict.fromkeys(filter(None, modifiers))), is_specimen


def _spacing_mm(data: Dataset) -> float:
    """Millimetres per pixel; at the detector, corrected for magnification where that is known."""
    for name in ("ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelSpacing"):
        values = _floats(data, name)
        if values and values[0] > 0:
            by = _floats(data, "EstimatedRadiographicMagnificationFactor")
            is_detector = name == "ImagerPixelSpacing" and bool(by) and by[0] >= 1
            return round(values[0] / (by[0] if is_detector else 1.0), 6)
    return 0.0


def _vendor(text: str) -> str:
    """A known vendor's name; ``other`` for any other text, so that no text passes through."""
    lower = text.lower().strip()
    if not lower:
        return ""
    is_ge = lower == "ge" or lower.startswith("ge ")
    return "GE" if is_ge else next((v for word, v in VENDORS.items() if word in lower), "other")


def _age_decade(text: str) -> str:
    """Decade of an age such as ``053Y``.

    >>> _age_decade("053Y"), _age_decade("091Y"), _age_decade("000Y")
    ('50-59', '90+', '')
    """
    found = re.fullmatch(r"(\d{3})Y", text)
    years = int(found[1]) if found else 0
    if not 0 < years < 130:
        return ""
    return "90+" if years >= 90 else f"{years // 10 * 10}-{years // 10 * 10 + 9}"


def _text(data: Dataset, name: str) -> str:
    """An element as text; empty where it is absent or unreadable."""
    try:
        value: Any = data.get(name)
    except Exception:
        return ""
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()
    try:
        return " ".join(str(part).strip() for part in value)
    except TypeError:
        return str(value).strip()


def _many(data: Dataset, name: str) -> list[str]:
    """The parts of a text element with several values."""
    return _text(data, name).split()


def _floats(data: Dataset, name: str) -> list[float]:
    """The numbers of an element; empty where one is no number."""
    try:
        return [float(part) for part in _many(data, name)]
    except ValueError:
        return []


def _items(data: Dataset, name: str) -> list[Dataset]:
    """The items of a sequence; empty where it is absent or unreadable."""
    try:
        return list(data.get(name) or ())
    except Exception:
        return []
