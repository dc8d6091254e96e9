"""DICOM objects that show a prediction in a PACS: picture, region and structured report.

For every image a Secondary Capture (the image with the model's attention drawn
on it) and, where there is any, a Segmentation of the region of highest
attention; for every study a Comprehensive SR after TID 1500 with score, decision,
side and view of each image. They are new series of the same study; the source
is only read. Each says that it is for research and was made by a machine.

These objects carry the patient's identity, because they could not join the
study otherwise; ``index`` refuses them unless identifiers are asked for.

Source: DICOM PS3.3 A.8.1, A.51, A.35.13; PS3.16 TID 1500. Checked by hand with
dicom3tools' ``dciodvfy``; a viewer of a PACS has not been tried.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from apps.mammography.overlay import HOT, coloured
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
_SCHEME = "99RESIGHT"
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
    *("ViewCodeSequence", "ImagerPixelSpacing", "BurnedInAnnotation", "BodyPartExamined"),
)
_VIEW_SCT = {
    "CC": ("399162004", "cranio-caudal"),
    "MLO": ("399368009", "medio-lateral oblique"),
    "ML": ("399260004", "medial-lateral"),
    "LM": ("399352003", "latero-medial"),
}
_SIDE_SCT = {"L": ("7771000", "Left"), "R": ("24028007", "Right")}


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
    studies: dict[str, list[tuple[Dataset, Mapping[str, Any]]]] = {}
    scored = context.predictions[context.predictions["status"] == "ok"]
    for number, row in enumerate(_records(scored), start=1):
        path = Path(str(paths[row["image_id"]]))
        if not is_dicom(path):
            continue
        source = _completed(open_dicom(path))
        said = str(row.get("laterality") or "")
        # Read from text is as good as an element; guessed from pixels is not.
        if not _side(source) and said in {"L", "R"} and row.get("laterality_from") != "pixels":
            source.ImageLaterality = said
        studies.setdefault(str(source.get("StudyInstanceUID", "")), []).append((source, row))
        heat = context.saliency(str(row["image_id"])) if context.saliency else None
        made: dict[str, Any] = {}
        if heat is not None:
            picture = coloured(context.read(str(row["image_id"])), heat)
            made["sc"] = lambda s=source, p=picture, n=number: _capture(s, p, context, n)
            if (heat > HOT).any():
                made["seg"] = lambda s=source, h=heat, n=number: _segmentation(s, h, context, n)
        for kind, make in made.items():
            name, reason = _written(folder / f"{number:05d}_{kind}.dcm", make)
            files += [folder / name] if name else []
            table.append(
                {"file": name, "image_id": csv_safe(str(row["image_id"])), "reason": reason}
            )
    for number, members in enumerate(studies.values(), start=1):
        name, reason = _written(
            folder / f"study_{number:05d}_sr.dcm",
            lambda m=members, n=number: _report(m, context, n),
        )
        files += [folder / name] if name else []
        ids = "|".join(str(row["image_id"]) for _, row in members)
        table.append({"file": name, "image_id": csv_safe(ids), "reason": reason})
    if not table:
        folder.rmdir()
        return []
    listing = folder / "dicom.csv"
    write_text(listing, pd.DataFrame(table).to_csv(index=False, lineterminator="\n"))
    return [*files, listing]


def _records(rows: Any) -> list[dict[str, Any]]:
    """The rows of a table as dictionaries."""
    return list(rows.to_dict("records"))


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


def _completed(source: Dataset) -> Dataset:
    """What objects are made from: the elements of ``_KEPT``, and those that must not be absent.

    Dates that are none (``00000000`` of an anonymiser) are emptied as well.
    """
    from pydicom.valuerep import DA, TM  # noqa: PLC0415  (see write_objects)

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
    source: Dataset, picture: NDArray[np.uint8], context: ExportContext, number: int
) -> Dataset:
    """The image with the model's attention drawn on it."""
    import highdicom as hd  # noqa: PLC0415  (see write_objects)

    orientation = _orientation(source)
    spacing = source.get("PixelSpacing") or source.get("ImagerPixelSpacing")
    data = hd.sc.SCImage.from_ref_dataset(
        ref_dataset=source,
        pixel_array=picture,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        series_instance_uid=_uid(context, "sc series", str(source.StudyInstanceUID)),
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
    data.BurnedInAnnotation = str(source.get("BurnedInAnnotation") or "NO")
    if _side(source):
        data.Laterality = _side(source)
    return _marked(data, "attention")


def _segmentation(
    source: Dataset, heat: NDArray[np.float32], context: ExportContext, number: int
) -> Dataset:
    """The region of highest attention as a binary segment."""
    import highdicom as hd  # noqa: PLC0415  (see write_objects)
    from pydicom.sr.codedict import codes  # noqa: PLC0415  (see write_objects)

    algorithm = hd.AlgorithmIdentificationSequence(
        name="resight mammography",
        version=str(context.run.get("model_id") or "unknown"),
        family=codes.cid7162.ArtificialIntelligence,
    )
    segment = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label="model attention",
        segmented_property_category=codes.cid7150.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.cid7159.Lesion
        if hasattr(codes.cid7159, "Lesion")
        else codes.SCT.Lesion,
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
    )
    data = hd.seg.Segmentation(
        source_images=[source],
        pixel_array=(heat > HOT).astype(np.uint8),
        segmentation_type="BINARY",
        segment_descriptions=[segment],
        series_instance_uid=_uid(context, "seg series", str(source.StudyInstanceUID)),
        series_number=FIRST_SERIES + 1,
        sop_instance_uid=_uid(context, "seg", str(source.SOPInstanceUID)),
        instance_number=number,
        manufacturer="resight",
        manufacturer_model_name="mammography",
        software_versions="1",
        device_serial_number=str(context.run.get("model_id") or "unknown"),
        content_description="Where the model looked; no finding.",
    )
    data.PatientOrientation = list(_orientation(source) or ()) or ""
    shared = data.SharedFunctionalGroupsSequence[0]
    # A projection has no slice, and the macro of pixel measures demands its thickness.
    if "PixelMeasuresSequence" in shared:
        del shared.PixelMeasuresSequence
    return _marked(data, "region of attention")


def _report(
    members: Sequence[tuple[Dataset, Mapping[str, Any]]], context: ExportContext, number: int
) -> Dataset:
    """Scores and decisions of one study's images after TID 1500."""
    import highdicom as hd  # noqa: PLC0415  (see write_objects)
    from pydicom.sr.codedict import codes  # noqa: PLC0415  (see write_objects)

    model = str(context.run.get("model_id") or "unknown")
    device = hd.sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
            uid=_uid(context, "device"),
            name="resight mammography",
            model_name="mammography",
            serial_number=model,
        ),
    )
    groups = [_measurements(source, row, context) for source, row in members]
    content = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=device),
        procedure_reported=codes.LN.ScreeningMammography
        if hasattr(codes.LN, "ScreeningMammography")
        else hd.sr.CodedConcept("71651007", "SCT", "Mammography"),
        imaging_measurements=groups,
        title=hd.sr.CodedConcept("126000", "DCM", "Imaging Measurement Report"),
    )
    first = members[0][0]
    data = hd.sr.ComprehensiveSR(
        evidence=[source for source, _ in members],
        content=content,
        series_instance_uid=_uid(context, "sr series", str(first.StudyInstanceUID)),
        series_number=FIRST_SERIES + 2,
        sop_instance_uid=_uid(context, "sr", str(first.StudyInstanceUID)),
        instance_number=number,
        manufacturer="resight",
        is_complete=True,
        is_final=False,
        is_verified=False,
    )
    data.SeriesDescription = "RESEARCH resight scores"
    return data


def _measurements(source: Dataset, row: Mapping[str, Any], context: ExportContext) -> Any:
    """Score, decision, operating point, side and view of one image."""
    import highdicom as hd  # noqa: PLC0415  (see write_objects)

    def code(value: str, meaning: str, scheme: str = _SCHEME) -> Any:
        return hd.sr.CodedConcept(value, scheme, meaning)

    scores = []
    for index, name in enumerate(context.task.classes):
        value = float(row[f"score_{name}"])
        meaning = f"Score of {context.task.title(name)}"[:64]
        scores.append(
            hd.sr.Measurement(
                name=code(f"SCORE{index}", meaning),
                value=round(value, 6),
                unit=hd.sr.CodedConcept("1", "UCUM", "no units"),
            )
        )
    threshold = context.run.get("operating_point")
    point = str((threshold or {}).get("rule", "none")) if isinstance(threshold, dict) else "none"
    evaluations = [
        hd.sr.QualitativeEvaluation(
            name=code("DECISION", "Decision of the model"),
            value=code("CLASS", str(row.get("decision") or "none")[:64]),
        ),
        hd.sr.QualitativeEvaluation(
            name=code("OPERATINGPOINT", "Operating point"), value=code("RULE", point[:64])
        ),
        hd.sr.QualitativeEvaluation(
            name=code("USE", "Intended use"), value=code("RESEARCH", "Research use only")
        ),
    ]
    side, view = str(row.get("laterality") or ""), str(row.get("view") or "")
    if side in _SIDE_SCT:
        value = code(*_SIDE_SCT[side], scheme="SCT")
        name = code("272741003", "Laterality", "SCT")
        evaluations.append(hd.sr.QualitativeEvaluation(name=name, value=value))
    if view in _VIEW_SCT:
        value = code(*_VIEW_SCT[view], scheme="SCT")
        name = code("111031", "Image View", "DCM")
        evaluations.append(hd.sr.QualitativeEvaluation(name=name, value=value))
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(
            uid=_uid(context, "tracking", str(source.SOPInstanceUID)),
            identifier=f"image {source.get('InstanceNumber') or ''}".strip(),
        ),
        source_images=[hd.sr.SourceImageForMeasurementGroup.from_source_image(source)],
        measurements=scores,
        qualitative_evaluations=evaluations,
    )
