"""Whatever DICOM file comes: decoded, or refused with a reason."""

from __future__ import annotations

import copy
import io
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pydicom.data
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from apps.mammography import APP
from apps.mammography.dicom import choose_voi, pixels_from_dataset, read_dicom, voi_item
from apps.mammography.headers import read_header
from core.app import ExportContext, Source
from core.errors import ImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
    import pandas as pd  # noqa: PLC0415

    from apps.mammography.dicom_export import write_objects  # noqa: PLC0415

    APP.phantom(tmp_path / "exams", 16, 3)
    index = APP.index(
        Source(paths=(tmp_path / "exams",), labelled=False, task=APP.tasks[0],
               options={"keep-identifiers": True})
    )  # fmt: skip
    rows = index.table[index.table["status"] == "ok"].drop_duplicates("exam")
    rows = rows.assign(path=[str(index.root / p) for p in rows["path"]])
    by_id = {
        row["image_id"]: {str(name): value for name, value in row.items()}
        for row in rows.to_dict("records")
    }
    heat = np.zeros((384, 288), np.float32)
    # In the breast: air is never marked.
    heat[170:210, 210:240] = 1
    predictions = rows.assign(
        status="ok", score_yes=0.7, score_no=0.3, decision="yes", model_id="0" * 12
    )
    context = ExportContext(
        out=tmp_path,
        manifest=rows,
        predictions=predictions,
        decisions={
            "exam": predictions.assign(unit_id=rows["exam"]),
            "breast": predictions.assign(unit_id=rows["exam"] + "/" + rows["laterality"]),
        },
        task=APP.tasks[0],
        run={"model_id": "0" * 12, "operating_point": None},
        options={},
        read=lambda image_id: APP.read(by_id[image_id]),
        saliency=lambda _: heat,
    )
    write_objects(context)
    listing = pd.read_csv(tmp_path / "dicom" / "dicom.csv", keep_default_na=False)
    assert set(listing["reason"]) == {""}
    made = sorted((tmp_path / "dicom").glob("*.dcm"))
    assert {path.stem.split("_")[-1] for path in made} == {"sc", "seg", "pr", "sr"}
    errors = {path.name: is_valid(path) for path in made}
    assert not any(errors.values()), errors
    of_states = listing[listing["file"].str.endswith("_pr.dcm")]
    assert set(of_states["image_id"]) == set(by_id)
    for name, image_id in zip(of_states["file"], of_states["image_id"], strict=True):
        source = pydicom.dcmread(by_id[image_id]["path"])
        state = pydicom.dcmread(tmp_path / "dicom" / name)
        assert (shown_in(state, source) == context.read(image_id)).all(), image_id


VOI = ("VOILUTSequence", "VOILUTFunction", "WindowCenter", "WindowWidth")


def shown_in(state: Dataset, source: Dataset) -> NDArray[np.uint16]:
    """The source's pixels shown as a presentation state wants them."""
    for name in VOI:
        if name in source:
            del source[name]
    assert len(state.get("SoftcopyVOILUTSequence", [])) <= 1
    for item in state.get("SoftcopyVOILUTSequence", []):
        assert ("VOILUTSequence" in item) != ("WindowCenter" in item)
        source.update(item)
    return pixels_from_dataset(source)


@pytest.mark.parametrize("first", [-20, 0])
@pytest.mark.parametrize("bits", [7, 8, 12, 16])
@pytest.mark.parametrize("is_bytes", [True, False])
def test_a_table_is_handed_on_as_it_is_shown(first: int, bits: int, *, is_bytes: bool) -> None:
    """With a window beside it, signed or not, of every depth, read as bytes or as numbers."""
    values = np.arange(-40, 41, dtype=np.int16).reshape(9, 9)
    source = Dataset()
    source.file_meta = FileMetaDataset()
    source.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    source.Rows, source.Columns, source.SamplesPerPixel = 9, 9, 1
    source.BitsAllocated = source.BitsStored = 16
    source.HighBit, source.PixelRepresentation = 15, 1
    source.PhotometricInterpretation = "MONOCHROME2"
    source.PixelData = values.tobytes()
    table = np.linspace(0, 2**bits - 1, 31).astype("<u2")
    lut = Dataset()
    lut.add_new("LUTDescriptor", "SS", [31, first, bits])
    lut.add_new("LUTData", *(("OW", table.tobytes()) if is_bytes else ("US", table.tolist())))
    source.VOILUTSequence = [lut]
    source.WindowCenter, source.WindowWidth, source.VOILUTFunction = [1, 5], [30, 9.5], "SIGMOID"
    for choice in (choose_voi(source), "window:1"):
        expected = pixels_from_dataset(source, voi=choice)
        assert len(np.unique(expected)) > 20
        item = voi_item(source, choice)
        assert item is not None
        assert ("VOILUTSequence" in item) == (choice == "lut:0")
        state = Dataset()
        state.SoftcopyVOILUTSequence = [item]
        # Through a file, for that is where a wrong type of an element shows.
        buffer = io.BytesIO()
        pydicom.dcmwrite(buffer, state, implicit_vr=False, little_endian=True)
        buffer.seek(0)
        read = pydicom.dcmread(buffer, force=True)
        assert (shown_in(read, copy.deepcopy(source)) == expected).all()
    assert voi_item(source, "range") is None
