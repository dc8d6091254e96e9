"""A private home for keys, and small DICOM files built by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(autouse=True)
def _private_home(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESIGHT_HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture
def make() -> Callable[..., FileDataset]:
    """A dataset with these stored values; further keywords are DICOM elements."""

    def build(
        values: object, *, bits: int = 12, signed: bool = False, **elements: object
    ) -> FileDataset:
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.1.2")
        meta.MediaStorageSOPInstanceUID = UID(f"1.2.3.{abs(hash(str(values))) % 10**9}")
        data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        data.SOPClassUID = meta.MediaStorageSOPClassUID
        data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
        array = np.atleast_2d(np.asarray(values))
        data.Modality, data.PhotometricInterpretation = "MG", "MONOCHROME2"
        data.Rows, data.Columns = array.shape
        data.SamplesPerPixel, data.PixelRepresentation = 1, int(signed)
        data.BitsAllocated, data.BitsStored, data.HighBit = 16, bits, bits - 1
        data.PixelData = array.astype("<i2" if signed else "<u2").tobytes()
        data["PixelData"].VR = "OW"
        for name, value in elements.items():
            setattr(data, name, value)
        return data

    return build


@pytest.fixture
def save(tmp_path: Path) -> Callable[[FileDataset, str], Path]:
    """Write a dataset under a name."""

    def write(data: FileDataset, name: str = "image.dcm") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data.save_as(path, enforce_file_format=True)
        return path

    return write
