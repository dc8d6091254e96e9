"""The README's tour runs, on headers full of strings that must not be found in any output."""

from __future__ import annotations

import io
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pydicom
import pytest
from pydicom.dataset import Dataset
from typer.testing import CliRunner

from apps import mammography
from core.cli.main import build

README = Path(mammography.__file__).parent / "README.md"
# Added to each training, so that it takes seconds.
TINY = shlex.split("--backbone test_resnet --epochs 1 --batch 8 --size 64")
# In every header. The first ones are the patient's own, and may join her study on request.
OWN = ("CANARYNAME", "CANARYID", "19330719", "CANARYACCESSION", "CANARYREFERRER", "19770415")
NEVER = (
    *("CANARYSTATION", "CANARYHOSPITAL", "CANARYOPERATOR", "CANARYPRIVATE", "CANARYCOMMENT"),
    *("CANARYADDRESS", "CANARYOTHERID", "CANARYDEVICE"),
)
UIDS = "1.2.826.0.1.3680043.77777"


def mark(folder: Path) -> None:
    """Fill the headers of every file with names, ids, dates and private elements."""
    for number, path in enumerate(sorted(folder.rglob("*.dcm"))):
        data = pydicom.dcmread(path)
        patient = str(data.PatientID)[-3:]
        data.PatientName, data.PatientID = f"CANARYNAME^{patient}", f"CANARYID{patient}"
        data.PatientBirthDate, data.StudyDate, data.ContentDate = "19330719", "19770415", "19770415"
        data.AccessionNumber, data.ReferringPhysicianName = "CANARYACCESSION", "CANARYREFERRER"
        data.StationName, data.InstitutionName = "CANARYSTATION", "CANARYHOSPITAL"
        data.OperatorsName, data.PatientComments = "CANARYOPERATOR", "CANARYCOMMENT"
        data.ImageComments = data.StudyDescription = data.SeriesDescription = "CANARYCOMMENT"
        data.PatientAddress, data.DeviceSerialNumber = "CANARYADDRESS", "CANARYDEVICE"
        other = Dataset()
        other.PatientID = "CANARYOTHERID"
        data.OtherPatientIDsSequence = [other]
        block = data.private_block(0x0019, "CANARYPRIVATE", create=True)
        block.add_new(0x10, "LO", "CANARYPRIVATE")
        data.StudyInstanceUID = f"{UIDS}.1{patient}"
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"{UIDS}.2.{number}"
        data.save_as(path, enforce_file_format=True)


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory, quick: None) -> Path:
    """Every command of the README, in order, in one folder."""
    folder = tmp_path_factory.mktemp("tour")
    blocks = re.findall(r"```console\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line[2:] for line in "\n".join(blocks).splitlines() if line.startswith("$ ")]
    assert {line.split()[1] for line in lines if line.startswith("resight")} == {
        *("check", "train", "evaluate", "predict"),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        # The tour is small; two breasts with both views must do to learn from.
        patch.setattr("core.training.attention_fitting.LEAST_UNITS", 2)
        for line in lines:
            words = shlex.split(line)
            if words[0] == "python":
                subprocess.run([sys.executable, *words[1:]], check=True)
                mark(folder)
                continue
            done = CliRunner().invoke(
                build(), words[1:] + (TINY if words[1] == "train" else []), catch_exceptions=False
            )
            # The phantom's image for processing is skipped, which is no failure.
            assert done.exit_code == 0, f"{line}\n{done.output}"
            (folder / f"said_{words[1]}.txt").write_text(done.output, encoding="utf-8")
    return folder


def bytes_of(path: Path) -> bytes:
    """What a file holds, tables also as text, for their columns are compressed."""
    content = path.read_bytes()
    if path.suffix == ".parquet":
        content += pd.read_parquet(io.BytesIO(content)).to_csv().encode()
    return content


def found_in(folder: Path, words: tuple[str, ...]) -> list[str]:
    """Which of the words are in which file below a folder."""
    return [
        f"{word} in {path.relative_to(folder)}"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        for word in words
        if word.encode() in bytes_of(path)
    ]


def test_nothing_of_a_header_is_in_a_report_a_run_or_a_prediction(tour: Path) -> None:
    outputs = [f for f in tour.iterdir() if f.name not in {"exams", "new", "for-pacs"}]
    assert {f.name for f in outputs} >= {"check", "runs", "new-report", "predictions"}
    for place in outputs:
        inside = place if place.is_dir() else place.parent
        files = found_in(inside, (*OWN, *NEVER, UIDS)) if place.is_dir() else []
        text = place.read_text(encoding="utf-8") if place.is_file() else ""
        assert not files, files
        assert not any(word in text for word in (*OWN, *NEVER, UIDS)), text


def test_dicom_objects_join_the_study_and_carry_nothing_else(tour: Path) -> None:
    folder = tour / "for-pacs" / "dicom"
    kinds = {path.stem.split("_")[-1] for path in folder.glob("*.dcm")}
    assert kinds >= {"sc", "sr"}
    assert not found_in(tour / "for-pacs", NEVER)
    listing = pd.read_csv(folder / "dicom.csv", keep_default_na=False)
    assert set(listing["reason"]) == {""}
    for path in folder.glob("*.dcm"):
        data = pydicom.dcmread(path)
        assert str(data.PatientID).startswith("CANARYID")
        assert str(data.StudyInstanceUID).startswith(UIDS)
        assert not str(data.SOPInstanceUID).startswith(UIDS)
        assert "resight" in str(data.SeriesDescription)


def test_the_work_list_orders_every_exam(tour: Path) -> None:
    listing = pd.read_csv(tour / "predictions" / "worklist.csv")
    # Each section counts from 1.
    for _, rows in listing.groupby("section"):
        assert list(rows["rank"]) == list(range(1, len(rows) + 1))
    # What is in doubt comes first; in each section the most suspicious does.
    assert list(listing["section"]) == sorted(
        listing["section"], key=["in doubt", "by score"].index
    )
    is_doubtful = listing["doubt"].notna() | listing["score"].isna()
    assert list(listing["section"] == "in doubt") == list(is_doubtful)
    for _, section in listing.groupby("section"):
        scores = section["score"].fillna(float("inf"))
        assert scores.is_monotonic_decreasing, section
    assert len(list((tour / "predictions" / "overlays").glob("*.png"))) == 12


def test_both_views_are_weighed_and_the_report_compares(tour: Path) -> None:
    run = json.loads((tour / "runs" / "cancer" / "run.json").read_text(encoding="utf-8"))
    assert run["members"][0]["network"]["attention"] == "breast"
    assert run["members"][0]["attention"]["n_several"]["train"] > 10
    for place in (tour / "runs" / "cancer", tour / "new-report", tour / "predictions"):
        rows = pd.read_parquet(place / "predictions.parquet")
        assert (
            rows.loc[rows["status"] == "ok", ["attention", "attention_logit_1"]]
            .notna()
            .all(axis=None)
        )
    metrics = json.loads((tour / "runs" / "cancer" / "metrics.json").read_text(encoding="utf-8"))
    by_breast = [row["rule"] for row in metrics["rules"] if row["unit"] == "breast"]
    assert by_breast[0] == "mean"
    assert set(by_breast) == {"mean", "max", "noisy_or", "attention"}
    page = (tour / "runs" / "cancer" / "report.html").read_text(encoding="utf-8")
    assert "Rules of aggregation from images to units compared" in page
    assert "attention (learned weights)" in page
