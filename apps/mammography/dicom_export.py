"""DICOM objects that show a prediction in a PACS: picture, region, outline, structured report.

For every image a Secondary Capture (the image with the model's attention drawn
on it, and below it what the model said) and, where there is any, a Segmentation and a
Presentation State of the region of highest attention; for every study a Comprehensive SR
(``dicom_report``). They are new series of the same study; the source is only read. Each says that
it is for research and was made by a machine.

These objects carry the patient's identity, because they could not join the
study otherwise; ``index`` refuses them unless identifiers are asked for.

Source: DICOM PS3.3 A.8.1, A.51, A.33.1, A.35.13; PS3.5 annex G (RLE).
"""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from apps.mammography.dicom import choose_voi, voi_item
from apps.mammography.dicom_report import Member, outlines, report_content, scheme_of_codes
from apps.mammography.overlay import marked_region, overlay_of, score_and_decision, silent_pictures
from apps.mammography.source_header import completed, note_of_long_values, too_long
from core.base.outputs import csv_safe, write_bytes, write_text
from core.data.dicom import is_dicom, open_dicom, quiet
from core.errors import AppError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from core.app import ExportContext

__all__ = ["write_objects"]

RESEARCH = "RESEARCH USE ONLY. Computed by software that is not a medical device."
# Objects continue the study's series far from those of devices.
FIRST_SERIES = 9300
# How the header wants its values shown; see ``voi_item``.
_VOI = (
    *("VOILUTSequence", "VOILUTFunction"),
    *("WindowCenter", "WindowWidth", "WindowCenterWidthExplanation"),
)


def write_objects(context: ExportContext) -> Sequence[Path]:
    """Write the objects of every scored DICOM input and a table of what became of each.

    Raises:
        AppError: highdicom is not installed.
    """
    try:
        import highdicom  # noqa: F401, PLC0415  (an extra)
    except ImportError as error:
        msg = "--dicom needs highdicom. Install the extra: pip install 'resight[dicom]'."
        raise AppError(msg) from error
    import pandas as pd  # noqa: PLC0415  (the app's description must load without it)

    folder = context.out / "dicom"
    folder.mkdir(exist_ok=True)
    paths = dict(zip(context.manifest["image_id"], context.manifest["path"], strict=True))
    files: list[Path] = []
    table: list[dict[str, str]] = []
    studies: dict[tuple[str, ...], list[Member]] = {}
    scored = context.predictions[context.predictions["status"] == "ok"]
    silent = silent_pictures(scored)
    for number, row in enumerate(_records(scored), start=1):
        path = Path(str(paths[row["image_id"]]))
        if not is_dicom(path):
            continue
        # A name longer than its kind allows is for whoever wrote the file, not for a radiologist.
        with quiet():
            source = completed(open_dicom(path))
            long = too_long(source)
        side = str(row.get("laterality") or "")
        # Read from text is as good as an element; guessed from pixels is not.
        if not _side(source) and side in {"L", "R"} and row.get("laterality_from") != "pixels":
            source.ImageLaterality = side
        made: dict[str, Any] = {}
        region = None
        if row["image_id"] in silent:
            why = f"no region of attention: {row['quality']}"
            table.append({"file": "", "image_id": csv_safe(str(row["image_id"])), "reason": why})
        elif context.saliency:
            heat = context.saliency(str(row["image_id"]))
            made, region = _of_picture(source, row, context, number, long, heat)
        studies.setdefault(_study(source), []).append(Member(source, row, region, long))
        for kind, make in made.items():
            name, reason = _written(folder / f"{number:05d}_{kind}.dcm", make)
            files += [folder / name] if name else []
            table.append(
                {"file": name, "image_id": csv_safe(str(row["image_id"])), "reason": reason}
            )
    long_ones = (member.too_long for group in studies.values() for member in group)
    context.notes.extend(note_of_long_values(long_ones))
    for number, members in enumerate(studies.values(), start=1):
        name, reason = _written(
            folder / f"study_{number:05d}_sr.dcm",
            partial(_report, members, context, number),
        )
        files += [folder / name] if name else []
        ids = "|".join(str(member.row["image_id"]) for member in members)
        table.append({"file": name, "image_id": csv_safe(ids), "reason": reason})
    if not table:
        folder.rmdir()
        return []
    listing = folder / "dicom.csv"
    write_text(listing, pd.DataFrame(table).to_csv(index=False, lineterminator="\n"))
    return [*files, listing]


def _of_picture(
    source: Dataset,
    row: Mapping[str, Any],
    context: ExportContext,
    number: int,
    long: Mapping[str, str],
    heat: NDArray[np.float32],
) -> tuple[dict[str, Any], NDArray[np.bool_]]:
    """What makes the objects of one picture, and its region of attention."""
    pixels = context.read(str(row["image_id"]))
    picture = overlay_of(pixels, heat, {**row, "picture": f"{number:05d}"}, context)
    made: dict[str, Any] = {"sc": partial(_capture, source, picture, context, number, long)}
    region = marked_region(pixels, heat)
    if region.any():
        made["seg"] = partial(_segmentation, source, region, context, number)
        made["pr"] = partial(_presentation, source, region, row, context, number)
    return made, region


def _records(rows: Any) -> list[dict[str, Any]]:
    """The rows of a table as dictionaries."""
    return [{str(k): v for k, v in row.items()} for row in rows.to_dict("records")]


def _written(path: Path, make: Any) -> tuple[str, str]:
    """Name of the file, or why there is none: one odd header must not cost the others."""
    try:
        with quiet():
            data = make()
            buffer = io.BytesIO()
            data.save_as(buffer, enforce_file_format=True)
    except Exception as error:
        return (
            "",
            f"{type(error).__name__}: {str(error).splitlines()[0][:120] if str(error) else ''}",
        )
    write_bytes(path, buffer.getvalue())
    return path.name, ""


def _study(source: Dataset) -> tuple[str, str, str]:
    """What a series or a report belongs to: a study of one patient, see ``exams``."""
    names = ("StudyInstanceUID", "IssuerOfPatientID", "PatientID")
    study, issuer, patient = (str(source.get(name) or "") for name in names)
    return study, issuer, patient


def _uid(context: ExportContext, kind: str, *parts: str) -> str:
    """The same identifier for the same model and source, so that a repetition replaces itself."""
    from pydicom.uid import generate_uid  # noqa: PLC0415  (see write_objects)

    model = str(context.run.get("model_id") or context.predictions["model_id"].iloc[0])
    return str(generate_uid(entropy_srcs=["resight", kind, model, *parts]))


def _marked(data: Dataset, what: str) -> Dataset:
    """The object with what tells it from a device's."""
    data.SeriesDescription = f"RESEARCH resight {what}"[:64]
    data.ContentQualification = "RESEARCH"
    return data


def _side(source: Dataset) -> str:
    """Side of the source, for the object's own header."""
    value = str(source.get("ImageLaterality") or source.get("Laterality") or "")
    return value if value in {"L", "R"} else ""


def _orientation(source: Dataset) -> tuple[str, str] | None:
    """Direction of rows and columns in one letter each; None where the header gives none.

    Oblique views give several letters (``AF``), of which highdicom takes one;
    CBIS-DDSM writes the view here.
    """
    value = source.get("PatientOrientation")
    parts = [] if value is None or isinstance(value, str) else [str(v)[:1] for v in value]
    is_known = len(parts) == 2 and all(v and v in "APLRHF" for v in parts)
    return (parts[0], parts[1]) if is_known else None


def _capture(
    source: Dataset,
    picture: NDArray[np.uint8],
    context: ExportContext,
    number: int,
    long: Mapping[str, str],
) -> Dataset:
    """The image with the model's attention drawn on it, and what the model said below it."""
    import highdicom as hd  # noqa: PLC0415  (see write_objects)
    from pydicom.uid import RLELossless  # noqa: PLC0415  (see write_objects)

    orientation = _orientation(source)
    spacing = source.get("PixelSpacing") or source.get("ImagerPixelSpacing")
    data = hd.sc.SCImage.from_ref_dataset(
        ref_dataset=source,
        pixel_array=picture,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        # Without loss, and read by every viewer; JPEG 2000 is not by dcmtk.
        transfer_syntax_uid=RLELossless,
        series_instance_uid=_uid(context, "sc series", *_study(source)),
        sop_instance_uid=_uid(context, "sc", str(source.SOPInstanceUID)),
        series_number=FIRST_SERIES,
        instance_number=number,
        manufacturer="resight",
        patient_orientation=orientation or ("P", "F"),
        laterality=_side(source) or None,
        # Annotated as whole numbers, meant as millimetres.
        pixel_spacing=(float(spacing[0]), float(spacing[1])) if spacing else None,  # type: ignore[arg-type]
    )
    if orientation is None:
        data["PatientOrientation"].value = None
    data.ImageType = ["DERIVED", "SECONDARY"]
    data.DerivationDescription = RESEARCH
    # Score, decision and legend are; of the source's own pixels only its maker can say.
    data.BurnedInAnnotation = "YES"
    if long:
        data.ImageComments = "; ".join(f"{k} of the source: {v}" for k, v in long.items())
    # Type 2C: of one of a pair, and empty where the side is not known.
    data.Laterality = _side(source)
    return _marked(data, "attention")


def _segmentation(
    source: Dataset, region: NDArray[np.bool_], context: ExportContext, number: int
) -> Dataset:
    """The region of highest attention as a binary segment; a region of the picture, no finding."""
    import highdicom as hd  # noqa: PLC0415  (see write_objects)
    from pydicom.sr.codedict import codes  # noqa: PLC0415  (see write_objects)

    algorithm = hd.AlgorithmIdentificationSequence(
        name="resight mammography",
        version=_model(context),
        family=codes.cid7162.ArtificialIntelligence,
    )
    segment = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label="model attention, no finding",
        segmented_property_category=codes.SCT.SpatialAndRelationalConcept,
        segmented_property_type=codes.DCM.SelectedRegion,
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
    )
    data = hd.seg.Segmentation(
        source_images=[source],
        pixel_array=region.astype(np.uint8),
        segmentation_type="BINARY",
        segment_descriptions=[segment],
        series_instance_uid=_uid(context, "seg series", *_study(source)),
        series_number=FIRST_SERIES + 1,
        sop_instance_uid=_uid(context, "seg", str(source.SOPInstanceUID)),
        instance_number=number,
        **_equipment(context),
        content_description="Where the model looked; no finding.",
    )
    data.PatientOrientation = list(_orientation(source) or ()) or ""
    shared = data.SharedFunctionalGroupsSequence[0]
    # A projection has no slice, and the macro of pixel measures demands its thickness.
    if "PixelMeasuresSequence" in shared:
        del shared.PixelMeasuresSequence
    return _marked(data, "region of attention")


def _presentation(
    source: Dataset,
    region: NDArray[np.bool_],
    row: Mapping[str, Any],
    context: ExportContext,
    number: int,
) -> Dataset:
    """The outline of the region and the decision, over the source's own pixels."""
    import highdicom as hd  # noqa: PLC0415  (see write_objects)

    layer = hd.pr.GraphicLayer("ATTENTION", 1, "Where the model looked; no finding.")
    graphics = [
        hd.pr.GraphicObject(hd.pr.GraphicTypeValues.POLYLINE, line, units="PIXEL")
        for line in outlines(region)
    ]
    doubt = [f"IN DOUBT: {row['doubt']}"] if row.get("doubt") else []
    words = "; ".join(["RESEARCH: attention of resight", *doubt, *score_and_decision(row, context)])
    text = hd.pr.TextObject(words, units="DISPLAY", bounding_box=(0.02, 0.02, 0.98, 0.08))
    data = hd.pr.GrayscaleSoftcopyPresentationState(
        # highdicom refuses a table beside a window, and calls entries of 12 bits ones of 16.
        referenced_images=[_without_voi(source)],
        series_instance_uid=_uid(context, "pr series", *_study(source)),
        series_number=FIRST_SERIES + 3,
        sop_instance_uid=_uid(context, "pr", str(source.SOPInstanceUID)),
        instance_number=number,
        **_equipment(context),
        content_label="ATTENTION",
        content_description="Where the model looked; no finding.",
        graphic_layers=[layer],
        graphic_annotations=[
            hd.pr.GraphicAnnotation([source], layer, graphic_objects=graphics, text_objects=[text])
        ],
    )
    item = voi_item(source, _voi_shown(source, row))
    if item is not None:
        data.SoftcopyVOILUTSequence = [item]
    # Conditional: without a side the study is not of one of a pair.
    data.Laterality = _side(source)
    data.SeriesDescription = "RESEARCH resight outline of attention"
    return data


def _without_voi(source: Dataset) -> Dataset:
    """The source without its tables and windows."""
    from pydicom.dataset import Dataset  # noqa: PLC0415  (see write_objects)

    return Dataset({element.tag: element for element in source if element.keyword not in _VOI})


def _voi_shown(source: Dataset, row: Mapping[str, Any]) -> str:
    """The table or window that the model saw the image with, else the header's first choice."""
    voi = row.get("voi")
    is_named = isinstance(voi, str) and voi not in {"", "range"}
    return str(voi) if is_named else choose_voi(source)


def _model(context: ExportContext) -> str:
    """The model, as the run names it."""
    return str(context.run.get("model_id") or "unknown")


def _equipment(context: ExportContext) -> dict[str, Any]:
    """What made an object: this program and the model, as the run names them."""
    return {
        "manufacturer": "resight",
        "manufacturer_model_name": "mammography",
        "software_versions": str((context.run.get("versions") or {}).get("resight") or "unknown"),
        "device_serial_number": _model(context),
    }


def _report(members: Sequence[Member], context: ExportContext, number: int) -> Dataset:
    """Scores and decisions of one study after TID 1500."""
    import highdicom as hd  # noqa: PLC0415  (see write_objects)

    first = members[0].source
    data = hd.sr.ComprehensiveSR(
        evidence=[member.source for member in members],
        content=report_content(members, context, partial(_uid, context)),
        series_instance_uid=_uid(context, "sr series", *_study(first)),
        series_number=FIRST_SERIES + 2,
        sop_instance_uid=_uid(context, "sr", *_study(first)),
        instance_number=number,
        manufacturer="resight",
        is_complete=True,
        is_final=False,
        is_verified=False,
    )
    data.CodingSchemeIdentificationSequence = scheme_of_codes()
    data.SeriesDescription = "RESEARCH resight scores"
    return data
