"""What a prediction writes: the right things, at the right place, and nobody's name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image

from apps.mammography import APP
from apps.mammography.overlay import coloured
from core.app import ExportContext, Source

if TYPE_CHECKING:
    from pathlib import Path

CANARIES = ("CANARYNAME", "CANARYID", "CANARYPRIVATE", "CANARYDOCTOR", "19440404", "CANARYSITE")


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight phantom images whose headers are full of canaries."""
    folder = APP.phantom(tmp_path_factory.mktemp("phantom"), 16, 3)
    for path in folder.rglob("*.dcm"):
        data = pydicom.dcmread(path)
        data.PatientName = "CANARYNAME^JANE"
        data.PatientID = f"CANARYID-{data.PatientID}"
        data.PatientBirthDate = data.StudyDate = data.AcquisitionDate = "19440404"
        data.ReferringPhysicianName = data.OperatorsName = "CANARYDOCTOR"
        data.InstitutionName = data.StationName = "CANARYSITE"
        data.Manufacturer = f"{data.Manufacturer} CANARYSITE"
        data.ImageComments = data.StudyDescription = "CANARYNAME"
        block = data.private_block(0x0011, "CANARYPRIVATE", create=True)
        block.add_new(0x01, "LO", "CANARYPRIVATE")
        data.save_as(path)
    return folder


def context(phantom: Path, out: Path, **options: Any) -> ExportContext:
    source = Source(paths=(phantom,), labelled=False, task=APP.tasks[0], options=options)
    found = APP.index(source)
    table = found.table.copy()
    table["path"] = [str(found.root / path) for path in table["path"]]
    ok = table[table["status"] == "ok"]
    rows = {row["image_id"]: row for row in ok.to_dict("records")}
    rng = np.random.default_rng(0)
    scores = rng.random(len(ok))
    predictions = ok.drop(columns=["path"]).assign(
        score_no=1 - scores,
        score_yes=scores,
        decision=np.where(scores > 0.5, "yes", "no"),
        model_id="abc",
        quality="",
    )
    exams = predictions.groupby("exam", sort=True).agg(
        score_yes=("score_yes", "max"), n_images=("image_id", "size")
    )
    exams = exams.reset_index().assign(n_failed=0)
    exams["unit"], exams["unit_id"] = "exam", exams["exam"]
    exams["decision"] = np.where(exams["score_yes"] > 0.5, "yes", "no")

    def spot(image_id: str) -> np.ndarray:
        heat = np.zeros(APP.read(rows[image_id]).shape[:2], np.float32)
        heat[100:140, 50:90] = 1.0
        return heat

    return ExportContext(
        out=out,
        predictions=predictions,
        decisions={"exam": exams},
        manifest=table,
        task=APP.tasks[0],
        run={"model_id": "abc"},
        options=options,
        read=lambda image_id: APP.read(rows[image_id]),
        saliency=spot,
    )


def export(name: str, made: ExportContext) -> list[Path]:
    return list(next(e for e in APP.exports if e.name == name).write(made))


def test_no_canary_reaches_the_manifest_or_an_export(phantom: Path, tmp_path: Path) -> None:
    made = context(phantom, tmp_path)
    files = [*export("worklist", made), *export("overlays", made)]
    assert all(path.is_relative_to(tmp_path) for path in files)
    table = made.manifest.drop(columns=["path"]).to_csv().encode()
    for canary in CANARIES:
        assert canary.encode() not in table
        for path in tmp_path.rglob("*"):
            assert canary not in str(path)
            if path.is_file():
                assert canary.encode() not in path.read_bytes()


def test_notes_and_reasons_hold_no_canary(phantom: Path) -> None:
    found = APP.index(Source(paths=(phantom,), labelled=True, task=APP.tasks[0]))
    words = " ".join([*found.notes, found.group_rule, *found.table["reason"]])
    assert not any(canary in words for canary in CANARIES)


def test_the_worklist_is_ordered_and_complete(phantom: Path, tmp_path: Path) -> None:
    made = context(phantom, tmp_path)
    export("worklist", made)
    table = pd.read_csv(tmp_path / "worklist.csv", keep_default_na=False)
    exams = made.decisions["exam"]
    assert sorted(table["exam"]) == sorted(exams["unit_id"])
    assert table["score"].is_monotonic_decreasing
    assert table["rank"].tolist() == list(range(1, len(table) + 1))
    assert (table["triage"] == np.where(table["score"] > 0.5, "priority", "routine")).all()
    # Four exams: (rank from below - 1/2) / 4.
    assert table["percentile"].tolist() == [87.5, 62.5, 37.5, 12.5]


def test_exams_in_doubt_come_first_and_are_no_routine(phantom: Path, tmp_path: Path) -> None:
    made = context(phantom, tmp_path)
    exams = made.decisions["exam"].sort_values("score_yes").reset_index(drop=True)
    exams["doubt"] = ""
    # The highest is unlike the training, the next has no score at all.
    exams = (
        exams[::-1].reset_index(drop=True).assign(n_unfamiliar=[4, 0, 0, 0], n_poor=0, n_images=4)
    )
    exams.loc[0, "doubt"] = "4 of 4 images unlike the training images"
    assert exams["decision"][0] == "yes"
    exams.loc[1, ["score_yes", "decision"]] = [np.nan, "open"]
    exams.loc[1, "doubt"] = "4 of 4 images not read"
    made = ExportContext(**{**made.__dict__, "decisions": {"exam": exams}})
    export("worklist", made)
    table = pd.read_csv(tmp_path / "worklist.csv")
    assert table["section"].tolist() == ["in doubt", "in doubt", "by suspicion", "by suspicion"]
    assert table["exam"].tolist()[:2] == [exams["exam"][1], exams["exam"][0]]
    assert table["triage"].tolist()[:2] == ["open", "open"]
    assert table["doubt"].tolist()[1] == "4 of 4 images unlike the training images"


def test_an_exam_is_named_as_its_reader_knows_it_only_where_asked(
    phantom: Path, tmp_path: Path
) -> None:
    made = context(phantom, tmp_path, **{"keep-identifiers": True})
    export("worklist", made)
    table = pd.read_csv(tmp_path / "worklist.csv", dtype=str)
    of_exam = made.manifest.drop_duplicates("exam").set_index("exam")["path"]
    for row in table.to_dict("records"):
        source = pydicom.dcmread(of_exam[row["exam"]])
        assert row["patient"] == source.PatientID
        assert row["study_date"] == source.StudyDate
    plain = tmp_path / "plain"
    plain.mkdir()
    export("worklist", context(phantom, plain))
    assert "patient" not in pd.read_csv(plain / "worklist.csv").columns


def test_overlays_have_the_size_of_the_source(phantom: Path, tmp_path: Path) -> None:
    made = context(phantom, tmp_path)
    files = export("overlays", made)
    listing = pd.read_csv(tmp_path / "overlays" / "overlays.csv")
    assert len(listing) == len(files) - 1 == len(made.predictions)
    image_id = str(listing["image_id"].iloc[0])
    with Image.open(tmp_path / "overlays" / listing["file"].iloc[0]) as picture:
        shown = np.asarray(picture).astype(int)
    source = made.read(image_id)
    assert shown.shape == (*source.shape[:2], 3)
    # Orange where the heat is, grey elsewhere.
    assert (shown[110:130, 60:80, 0] > shown[110:130, 60:80, 2]).all()
    assert (shown[300:, :, 0] == shown[300:, :, 2]).all()


def test_an_overlay_without_attention_is_the_picture() -> None:
    pixels = np.array([[[0], [65535]]], np.uint16)
    assert coloured(pixels, np.zeros((1, 2), np.float32)).tolist() == [[[0] * 3, [255] * 3]]


def test_dicom_objects_join_the_study_and_leave_the_source_alone(
    phantom: Path, tmp_path: Path
) -> None:
    pytest.importorskip("highdicom")
    made = context(phantom, tmp_path, **{"keep-identifiers": True})
    first = made.predictions.iloc[[0, 1]]
    made = ExportContext(**{**made.__dict__, "predictions": first})
    before = {path: path.read_bytes() for path in phantom.rglob("*.dcm")}
    export("dicom", made)
    assert before == {path: path.read_bytes() for path in phantom.rglob("*.dcm")}
    listing = pd.read_csv(tmp_path / "dicom" / "dicom.csv", keep_default_na=False)
    assert set(listing["reason"]) == {""}
    objects = [pydicom.dcmread(tmp_path / "dicom" / name) for name in listing["file"]]
    assert sorted(data.Modality for data in objects) == ["OT", "OT", "SEG", "SEG", "SR"]
    paths = dict(zip(made.manifest["image_id"], made.manifest["path"], strict=True))
    source = pydicom.dcmread(paths[first["image_id"].iloc[0]])
    for data in objects:
        assert data.StudyInstanceUID == source.StudyInstanceUID
        assert data.SeriesInstanceUID != source.SeriesInstanceUID
        assert "RESEARCH" in data.SeriesDescription
    report = next(data for data in objects if data.Modality == "SR")
    evidence = report.CurrentRequestedProcedureEvidenceSequence
    referenced = {
        item.ReferencedSOPInstanceUID
        for study in evidence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    assert source.SOPInstanceUID in referenced
    assert "Research use only" in str(report)
    mask = next(data for data in objects if data.Modality == "SEG").pixel_array
    assert mask.sum() == 40 * 40
    again = tmp_path / "again"
    again.mkdir()
    export("dicom", ExportContext(**{**made.__dict__, "out": again}))
    same = pydicom.dcmread(again / "dicom" / listing["file"].iloc[0])
    assert same.SOPInstanceUID == objects[0].SOPInstanceUID
