"""Ophthalmic photographs in DICOM, made here, read through the same door."""

from __future__ import annotations

import builtins
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, generate_uid

from apps.retinopathy import dicom
from apps.retinopathy.images import read
from core.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

OP = "1.2.840.10008.5.1.4.1.1.77.1.5.1"


@pytest.fixture
def colour() -> NDArray[np.uint8]:
    """A smooth reddish picture (32, 48, 3): subsampled colour loses little of it."""
    rows, cols = np.mgrid[:32, :48]
    return np.stack([140 + 2 * cols, 60 + 2 * rows, 40 + cols], axis=2).astype(np.uint8)


def write(path: Path, pixels: NDArray[Any] | bytes, **tags: Any) -> Path:
    """A DICOM file with these pixels; JPEG if they are bytes."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    is_jpeg = isinstance(pixels, bytes)
    data.file_meta.TransferSyntaxUID = JPEGBaseline8Bit if is_jpeg else ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = OP
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.Modality, data.PatientID, data.PatientName = "OP", "SECRET-17", "Doe^Jane"
    data.SamplesPerPixel, data.PlanarConfiguration, data.PixelRepresentation = 3, 0, 0
    data.BitsAllocated = data.BitsStored = 8
    data.PhotometricInterpretation = "RGB"
    data.Rows, data.Columns = (32, 48) if is_jpeg else pixels.shape[:2]
    for name, value in tags.items():
        setattr(data, name, value)
    data.HighBit = data.BitsStored - 1
    data.PixelData = encapsulate([pixels]) if is_jpeg else pixels.tobytes()
    pydicom.dcmwrite(path, data, enforce_file_format=True)
    return path


def test_rgb_is_read_as_it_is(tmp_path: Path, colour: NDArray[np.uint8]) -> None:
    # Without an extension: files are told apart by content.
    np.testing.assert_array_equal(read({"path": write(tmp_path / "IM0001", colour)}), colour)


def test_ybr_full_is_converted(tmp_path: Path, colour: NDArray[np.uint8]) -> None:
    ybr = np.asarray(Image.fromarray(colour).convert("YCbCr"))
    path = write(tmp_path / "a.dcm", ybr, PhotometricInterpretation="YBR_FULL")
    assert np.abs(read({"path": path}).astype(int) - colour).max() <= 3


def test_jpeg_with_subsampled_colour_is_converted(
    tmp_path: Path, colour: NDArray[np.uint8]
) -> None:
    stream = io.BytesIO()
    Image.fromarray(colour).save(stream, "JPEG", quality=95, subsampling="4:2:2")
    path = write(tmp_path / "a.dcm", stream.getvalue(), PhotometricInterpretation="YBR_FULL_422")
    assert np.abs(read({"path": path}).astype(int) - colour).max() <= 8


def test_grey_becomes_three_channels_and_monochrome1_is_turned_over(tmp_path: Path) -> None:
    grey = np.arange(48, dtype=np.uint8)[None].repeat(32, axis=0)
    tags = {"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME1"}
    pixels = read({"path": write(tmp_path / "a.dcm", grey, **tags)})
    assert pixels.shape == (32, 48, 3)
    np.testing.assert_array_equal(pixels[..., 1], 255 - grey)


def test_twelve_bits_are_stretched_to_sixteen(tmp_path: Path) -> None:
    grey = np.array([[0, 2048, 4095]], np.uint16)
    tags: dict[str, Any] = {"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2"}
    tags |= {"BitsAllocated": 16, "BitsStored": 12}
    pixels = read({"path": write(tmp_path / "a.dcm", grey, **tags)})
    # 2048 / 4095 * 65535 = 32775.5...
    assert pixels[0, :, 0].tolist() == [0, 32776, 65535]


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"PhotometricInterpretation": "PALETTE COLOR", "SamplesPerPixel": 1}, "PALETTE COLOR"),
        ({"Modality": "MG"}, "modality is MG"),
        ({"NumberOfFrames": 4}, "4 frames"),
        ({"PixelRepresentation": 1}, "signed"),
        ({"Rows": 60000, "Columns": 60000}, "more than"),
    ],
)
def test_what_is_no_single_photograph_is_refused(
    tmp_path: Path, colour: NDArray[np.uint8], tags: dict[str, Any], words: str
) -> None:
    path = write(tmp_path / "a.dcm", colour, **tags)
    with pytest.raises(ImageError, match=words):
        read({"path": path})


def test_more_pixels_than_the_header_says_are_refused(
    tmp_path: Path, colour: NDArray[np.uint8]
) -> None:
    path = write(tmp_path / "a.dcm", np.tile(colour, (3, 1, 1)), Rows=32)
    with pytest.raises(ImageError, match="holds 3 pictures, and its header speaks of one"):
        read({"path": path})


def test_a_file_cut_short_is_refused(tmp_path: Path, colour: NDArray[np.uint8]) -> None:
    path = write(tmp_path / "a.dcm", colour)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ImageError, match=r"a\.dcm: its DICOM pixels cannot be decoded"):
        read({"path": path})


def test_the_header_gives_the_eye_and_the_maker(tmp_path: Path, colour: NDArray[np.uint8]) -> None:
    path = write(tmp_path / "a.dcm", colour, ImageLaterality="L", Manufacturer="TOPCON <b>")
    assert dicom.read_header(path) == dicom.Header("SECRET-17", "left", "TOPCON b")
    nobody = write(tmp_path / "b.dcm", colour, PatientID="000000")
    assert dicom.read_header(nobody).patient == ""


def test_without_pydicom_it_says_what_to_install(
    tmp_path: Path, colour: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.dcm", colour)
    original = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".", maxsplit=1)[0] == "pydicom":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ImageError, match=r"resight\[dicom\]"):
        read({"path": path})
