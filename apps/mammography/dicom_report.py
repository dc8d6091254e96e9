"""The structured report of a study: scores, classes and decisions of images, breasts and exam.

A Comprehensive SR after TID 1500 with one group for the exam, each breast, each image and each
region of attention. Class, decision, threshold, model and doubt each stand in an item of their
own; containers are separate items, so that viewers show their names.

Source: DICOM PS3.16 TID 1500, 1410, 1501; PS3.3 C.17.3 (ContinuityOfContent).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from apps.mammography.codes import SCHEME, class_code, decision_code, own_code, standard
from core.evaluation.doubt import rule_of_decision
from core.evaluation.doubt_marks import positive_alone

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from core.app import ExportContext

__all__ = ["Member", "outlines", "report_content", "scheme_of_codes"]

# DICOM's own names of what is measured.
THRESHOLD = ("122411", "DCM", "Threshold Value")
PROBABILITY = ("111047", "DCM", "Probability of cancer")
# Regions of one image that a report lists; the segmentation holds all.
MOST_REGIONS = 10
COMMENT = ("121106", "DCM", "Comment")
SELECTED = ("111099", "DCM", "Selected region")
USE = "Research use only. Not a medical device; no decision may rest on it alone."


@dataclass(frozen=True)
class Member:
    """One image of a study: its header, its row of the predictions, its region of attention.

    ``too_long`` holds the elements of its header that no object may repeat, by keyword.
    """

    source: Dataset
    row: Mapping[str, Any]
    region: NDArray[np.bool_] | None = None
    too_long: Mapping[str, str] = field(default_factory=dict)


def report_content(
    members: Sequence[Member], context: ExportContext, uid: Callable[..., str]
) -> Any:
    """The content tree of one study.

    Args:
        members: its images.
        context: of the prediction.
        uid: parts -> an identifier that is the same for the same parts.
    """
    import highdicom as hd  # noqa: PLC0415  (an extra)
    from pydicom.sr.codedict import codes  # noqa: PLC0415  (an extra)

    model = _model(context)
    device = hd.sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
            uid=uid("device"),
            name="resight mammography",
            manufacturer_name="resight",
            model_name="mammography",
            serial_number=model,
        ),
    )
    groups = [_unit_group(*unit, context, uid) for unit in _units(members, context)]
    for member in members:
        groups.append(_image_group(member, context, uid))
        groups += _region_groups(member, uid)
    content = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=device),
        procedure_reported=hd.sr.CodedConcept("71651007", "SCT", "Mammography"),
        imaging_measurements=groups,
        title=hd.sr.CodedConcept("126000", "DCM", "Imaging Measurement Report"),
    )
    for item in content:
        _separate(item)
    return content


def scheme_of_codes() -> list[Dataset]:
    """What ``CodingSchemeIdentificationSequence`` says of this program's own codes."""
    from pydicom.dataset import Dataset as Made  # noqa: PLC0415  (an extra)

    item = Made()
    item.CodingSchemeDesignator = SCHEME
    item.CodingSchemeName = "Codes of resight"
    item.CodingSchemeResponsibleOrganization = "resight, docs/outputs.md"
    return [item]


def outlines(region: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Closed outlines (P, 2) of a region as (column, row), the largest first.

    Pixel centres lie at .5, as in SR and presentation states (PS3.3 C.10.5.1.2, C.18.6.1.2).
    """
    import cv2  # noqa: PLC0415  (0.1 s to import)

    found, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    kept = sorted((c[:, 0, :] for c in found if len(c) >= 3), key=lambda c: -_area(c))
    return [np.vstack([c, c[:1]]).astype(np.float64) + 0.5 for c in kept]


def _area(points: NDArray[Any]) -> float:
    """Area inside of an outline."""
    import cv2  # noqa: PLC0415  (0.1 s to import)

    return float(cv2.contourArea(np.ascontiguousarray(points)))


def _units(
    members: Sequence[Member], context: ExportContext
) -> list[tuple[str, str, Mapping[str, Any]]]:
    """(level, side, decisions row) of the exam and the breasts that these images belong to."""
    rows = [member.row for member in members]
    found: list[tuple[str, str, Mapping[str, Any]]] = []
    for level, columns in (("exam", ("exam",)), ("breast", ("exam", "laterality"))):
        table = context.decisions.get(level)
        if table is None or any(name not in rows[0] for name in columns):
            continue
        by_id = {str(row["unit_id"]): row for row in table.to_dict("records")}
        keys = dict.fromkeys(tuple(str(row.get(name) or "") for name in columns) for row in rows)
        for key in keys:
            row = by_id.get("/".join(key))
            if row is not None:
                side = key[1] if level == "breast" else ""
                found.append((level, side, {str(k): v for k, v in row.items()}))
    return found


def _unit_group(
    level: str, side: str, row: Mapping[str, Any], context: ExportContext, uid: Callable[..., str]
) -> Any:
    """Scores of an exam or a breast."""
    import highdicom as hd  # noqa: PLC0415  (an extra)

    group = hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(
            uid=uid(level, str(row["unit_id"])), identifier=f"{level} {side}".strip()
        ),
        algorithm_id=_algorithm(context),
        finding_sites=[
            hd.sr.FindingSite(
                anatomic_location=standard("breast"),
                laterality=standard(side) if side in {"L", "R"} else None,
            )
        ],
        measurements=_scores(row, context),
        qualitative_evaluations=_evaluations(row, context),
    )
    _comment(group, str(row.get("doubt") or ""))
    n = int(row.get("n_positive_alone") or 0)
    if n:
        _add_text(group, f"{positive_alone(n, int(row['n_images']))}.")
    return group


def _image_group(member: Member, context: ExportContext, uid: Callable[..., str]) -> Any:
    """Scores of an image, its side and view."""
    import highdicom as hd  # noqa: PLC0415  (an extra)

    row, evaluations = member.row, _evaluations(member.row, context)
    for name, code in (
        ("laterality", ("111027", "DCM", "Image Laterality")),
        ("view", ("111031", "DCM", "Image View")),
    ):
        value = str(row.get(name) or "")
        if value in {"L", "R", "CC", "MLO", "ML", "LM"}:
            evaluations.append(
                hd.sr.QualitativeEvaluation(name=hd.sr.CodedConcept(*code), value=standard(value))
            )
    place = " ".join(str(row.get(name) or "") for name in ("laterality", "view")).strip()
    group = hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(
            uid=uid("tracking", str(member.source.SOPInstanceUID)),
            identifier=f"image {place or member.source.get('InstanceNumber') or ''}".strip(),
        ),
        algorithm_id=_algorithm(context),
        source_images=[hd.sr.SourceImageForMeasurementGroup.from_source_image(member.source)],
        measurements=_scores(row, context),
        qualitative_evaluations=evaluations,
    )
    _comment(group, str(row.get("doubt") or ""))
    for keyword, text in member.too_long.items():
        _add_text(group, f"{keyword} of the source: {text}")
    return group


def _region_groups(member: Member, uid: Callable[..., str]) -> list[Any]:
    """The regions of attention of an image, the largest first, as their outlines; no finding."""
    import highdicom as hd  # noqa: PLC0415  (an extra)

    found = [] if member.region is None else outlines(member.region)
    groups = []
    for number, line in enumerate(found[:MOST_REGIONS], start=1):
        group = hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=hd.sr.TrackingIdentifier(
                uid=uid("region", str(member.source.SOPInstanceUID), str(number)),
                identifier=f"region of attention {number} of {len(found)}",
            ),
            referenced_region=hd.sr.ImageRegion(
                graphic_type=hd.sr.GraphicTypeValues.POLYLINE,
                graphic_data=line,
                source_image=hd.sr.SourceImageForRegion.from_source_image(member.source),
            ),
            finding_type=hd.sr.CodedConcept(*SELECTED),
        )
        _comment(group, "Where the model looked; no finding.")
        groups.append(group)
    return groups


def _scores(row: Mapping[str, Any], context: ExportContext) -> list[Any]:
    """Calibrated probabilities of the classes and the threshold in use, all in percent."""
    import highdicom as hd  # noqa: PLC0415  (an extra)

    task = context.task
    values = []
    for name in task.classes:
        if task.name == "cancer" and name == "yes":
            concept = hd.sr.CodedConcept(*PROBABILITY)
        else:
            title = task.title(name)
            concept = own_code("PRO", title, f"Probability of class {title}")
        # A picture without a predicted class says nothing, whatever number the network gave.
        values.append((concept, row.get(f"score_{name}") if row.get("predicted") else None))
    point = context.run.get("operating_point") or {}
    if isinstance(point, dict):
        values.append((hd.sr.CodedConcept(*THRESHOLD), point.get("threshold")))
    percent = hd.sr.CodedConcept("%", "UCUM", "percent")
    return [
        hd.sr.Measurement(name=concept, value=round(100 * float(value), 4), unit=percent)
        for concept, value in values
        if value is not None and np.isfinite(float(value))
    ]


def _evaluations(row: Mapping[str, Any], context: ExportContext) -> list[Any]:
    """Predicted class, decision, doubt and use, each an item of its own."""
    import highdicom as hd  # noqa: PLC0415  (an extra)

    task = context.task
    decision = str(row.get("decision") or "")
    items = [
        (own_code("NAM", "CLASS", "Predicted class"), str(row.get("predicted") or "")),
        (_name_of_decision(context), decision),
    ]
    named = [
        (name, class_code(value, task) if i == 0 else decision_code(value, task))
        for i, (name, value) in enumerate(items)
        if value or i == 1
    ]
    doubt = own_code("NAM", "DOUBT", "Whether the result is in doubt")
    named.append((doubt, standard("yes" if row.get("doubt") else "no")))
    use = own_code("NAM", "USE", "Intended use")
    named.append((use, own_code("USE", "RESEARCH", "Research use only")))
    return [hd.sr.QualitativeEvaluation(name=name, value=value) for name, value in named]


def _name_of_decision(context: ExportContext) -> Any:
    """The question that the decision answers: a threshold is named only where one is in use."""
    words = rule_of_decision(context.run, context.task)
    if words.startswith("at the threshold"):
        return own_code("NAM", "DECISION", "Decision at the threshold in use")
    return own_code("NAM", words, f"Decision, {words}")


def _comment(group: Any, text: str) -> None:
    """Add words to a group: why it is in doubt, and what it is for."""
    words = f"In doubt: {text}. {USE}" if text and not text.endswith(".") else f"{text} {USE}"
    _add_text(group, words.strip())


def _add_text(group: Any, text: str) -> None:
    """Add words to a group."""
    import highdicom as hd  # noqa: PLC0415  (an extra)

    group[0].ContentSequence.append(
        hd.sr.TextContentItem(
            name=hd.sr.CodedConcept(*COMMENT),
            value=text,
            relationship_type=hd.sr.RelationshipTypeValues.CONTAINS,
        )
    )


def _algorithm(context: ExportContext) -> Any:
    """Model and version."""
    import highdicom as hd  # noqa: PLC0415  (an extra)

    version = str((context.run.get("versions") or {}).get("resight") or "unknown")
    return hd.sr.AlgorithmIdentification(
        name="resight mammography",
        version=version,
        parameters=[f"model {_model(context)}", f"task {context.task.name}"],
    )


def _model(context: ExportContext) -> str:
    """The model's id."""
    return str(context.run.get("model_id") or "unknown")


def _separate(item: Dataset) -> None:
    """Let containers be separate items, so that viewers show their names."""
    if item.get("ValueType") == "CONTAINER":
        item.ContinuityOfContent = "SEPARATE"
    for child in item.get("ContentSequence") or []:
        _separate(child)
