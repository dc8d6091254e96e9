"""Synthetic mammograms with a known answer, written the way different vendors write theirs.

Four-view exams as DICOM files: half an ellipse of fat with gland in it, a
pectoral muscle in the oblique views, a lead marker, and in every other patient
a cancer (a spiculated mass or a cluster of calcifications) in one breast. What
differs between vendors differs here: photometric interpretation, windows and
lookup tables, compression, background, and where the header says left or right.

Nothing here imitates a real patient; it tests code, never a model.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.base.outputs import write_bytes, write_text

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from pydicom.dataset import FileDataset

__all__ = ["Phantom", "draw_breast", "write_phantom"]

ROWS, COLUMNS = 384, 288
SPACING_MM = 0.6
VIEWS = (("R", "CC"), ("L", "CC"), ("R", "MLO"), ("L", "MLO"))
VENDORS = ("Hologic, Inc.", "GE MEDICAL SYSTEMS", "FUJIFILM Corporation", "")
_FOR_PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.2"
_FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.2.1"
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_VIEW_CODES = {"CC": ("R-10242", "cranio-caudal"), "MLO": ("R-10226", "medio-lateral oblique")}


@dataclass(frozen=True)
class Phantom:
    """One picture.

    Attributes:
        shown: (H, W) in [0, 1], as it should look: bright tissue, dark ground.
        lesion: row, column and radius of the lesion in pixels; None without one.
    """

    shown: NDArray[np.float64]
    lesion: tuple[float, float, float] | None


def write_phantom(folder: Path, n_images: int, seed: int) -> Path:
    """Write exams and their table ``labels.csv``.

    Args:
        folder: made if it is absent.
        n_images: pictures that can be used; one more, for processing, is to be skipped.
        seed: same seed, same bytes.

    Returns:
        the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    patient = 0
    while len(rows) < n_images:
        rng = np.random.default_rng([seed, patient])
        density = int(rng.integers(4))
        kind = ("", "malignant", "benign", "malignant")[patient % 4]
        ill = "LR"[int(rng.integers(2))]
        # Every fifth patient lacks a view, as happens in practice.
        views = VIEWS if patient % 5 != 4 else VIEWS[:3]
        for number, (side, view) in enumerate(views):
            if len(rows) == n_images:
                break
            finding = kind if side == ill else ""
            picture = draw_breast(rng, side=side, view=view, density=density, finding=finding)
            relative = f"exam_{patient:03d}/IM{number:04d}.dcm"
            _write(folder / relative, picture, patient, side, view, seed)
            rows.append(
                {
                    "path": relative,
                    "cancer": "yes" if finding == "malignant" else "no",
                    "pathology": finding or "normal",
                    "density": "ABCD"[density],
                    "lesions": _share(picture.lesion),
                }
            )
        patient += 1
    first = np.random.default_rng([seed, 0])
    raw = draw_breast(first, side="R", view="CC", density=0, finding="")
    _write(folder / "exam_000/RAW0000.dcm", raw, 0, "R", "CC", seed, is_raw=True)
    rows.append(
        {
            "path": "exam_000/RAW0000.dcm",
            "cancer": "no",
            "pathology": "normal",
            "density": "A",
            "lesions": "",
        }
    )
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / "labels.csv", text.getvalue())
    return folder


def draw_breast(
    rng: np.random.Generator, *, side: str, view: str, density: int, finding: str
) -> Phantom:
    """One breast, chest wall at the left edge for ``L`` and at the right edge for ``R``.

    Args:
        rng: decides size, texture and place of the lesion.
        side: ``L`` or ``R``.
        view: ``CC`` or ``MLO``; the latter has a pectoral muscle.
        density: 0 (fat) to 3 (dense).
        finding: ``malignant``, ``benign`` or empty.
    """
    from scipy.ndimage import gaussian_filter  # noqa: PLC0415  (only to write phantoms)

    rows, columns = np.mgrid[0:ROWS, 0:COLUMNS].astype(np.float64)
    tall, wide = ROWS * rng.uniform(0.33, 0.42), COLUMNS * rng.uniform(0.5, 0.7)
    middle = ROWS * rng.uniform(0.47, 0.53)
    reach = np.hypot((rows - middle) / tall, columns / wide)
    inside = reach < 1
    # Thin towards the skin, as the compressed breast is.
    depth = np.sqrt(np.clip(1 - reach, 0, 1))
    shown = np.where(inside, 0.12 + 0.28 * depth, 0.0)
    texture = gaussian_filter(rng.standard_normal((ROWS, COLUMNS)), 6)
    texture /= texture.std()
    gland = np.exp(-((reach / 0.62) ** 4)) * (texture > 1.0 - 0.8 * density)
    shown += inside * gaussian_filter(gland, 2) * 0.22
    # Vessels and strands differ from breast to breast; without them all would be copies.
    strands = gaussian_filter(rng.standard_normal((ROWS, COLUMNS)), 4)
    shown += inside * depth * (0.08 - 0.05 * np.abs(strands / strands.std()))
    if view == "MLO":
        slope, reach_down = rng.uniform(0.36, 0.54), ROWS * rng.uniform(0.45, 0.62)
        muscle = columns < (reach_down - rows) * slope
        shown = np.where(muscle, 0.45 + 0.3 * shown, shown)
    lesion = None
    if finding:
        row, column = middle + tall * rng.uniform(-0.35, 0.35), wide * rng.uniform(0.25, 0.6)
        radius = 13.0 if finding == "malignant" else 9.0
        lesion = (row, column, radius)
        shown = shown + inside * _lesion(rng, rows - row, columns - column, finding)
    shown = np.clip(shown + inside * rng.normal(0, 0.01, shown.shape), 0, 1)
    # A lead marker away from the breast.
    top, left = int(rng.integers(8, 24)), COLUMNS - int(rng.integers(34, 48))
    shown[top : top + 14, left : left + 10] = 0.95
    if side == "R":
        shown = shown[:, ::-1]
        lesion = lesion and (lesion[0], COLUMNS - 1 - lesion[1], lesion[2])
    return Phantom(np.ascontiguousarray(shown), lesion)


def _lesion(
    rng: np.random.Generator, down: NDArray[np.float64], right: NDArray[np.float64], finding: str
) -> NDArray[np.float64]:
    """What a lesion adds: a smooth disc, a mass with spicules, or a cluster of specks."""
    distance = np.hypot(down, right)
    if finding == "benign":
        return 0.12 / (1 + np.exp((distance - 9) / 1.0))
    if rng.random() < 0.5:
        angle = np.arctan2(down, right)
        edge = 10 * (1 + 0.45 * np.cos(9 * angle + rng.uniform(0, 6)) ** 8)
        return 0.42 / (1 + np.exp((distance - edge) / 1.5))
    specks = np.zeros_like(distance)
    for _ in range(14):
        row, column = rng.normal(0, 6, 2)
        specks += 0.6 * np.exp(-((down - row) ** 2 + (right - column) ** 2) / 3)
    return specks


def _write(
    path: Path,
    picture: Phantom,
    patient: int,
    side: str,
    view: str,
    seed: int,
    *,
    is_raw: bool = False,
) -> None:
    """Write one picture the way the patient's vendor would."""
    vendor = 0 if is_raw else patient % 4
    data = _common(picture, patient, f"{path.name} {patient} {seed}", seed, vendor)
    style = (_as_hologic, _as_ge, _as_fuji, _as_film)[vendor]
    if vendor != 3:
        data.ViewCodeSequence = [_code(*_VIEW_CODES[view])]
        data.PresentationIntentType = "FOR PRESENTATION"
        data.BreastImplantPresent = "YES" if patient % 11 == 10 else "NO"
    style(data, picture, side, view)
    if is_raw:
        from pydicom.uid import UID  # noqa: PLC0415  (only to write phantoms)

        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = UID(_FOR_PROCESSING)
        data.PresentationIntentType = "FOR PROCESSING"
    path.parent.mkdir(exist_ok=True)
    buffer = io.BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    write_bytes(path, buffer.getvalue())


def _common(picture: Phantom, patient: int, name: str, seed: int, vendor: int) -> FileDataset:
    """What every vendor writes; identifiers are made up and the same for the same seed."""
    import pydicom  # noqa: PLC0415  (only to write phantoms)
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid  # noqa: PLC0415

    def uid(*sources: str) -> pydicom.uid.UID:
        return generate_uid(entropy_srcs=["phantom", str(seed), *sources])

    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = uid(name)
    meta.MediaStorageSOPClassUID = pydicom.uid.UID(
        _SECONDARY_CAPTURE if vendor == 3 else _FOR_PRESENTATION
    )
    data = pydicom.dataset.FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID = meta.MediaStorageSOPClassUID
    data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID = uid("study", str(patient))
    data.SeriesInstanceUID = uid("series", str(patient))
    data.FrameOfReferenceUID = uid("frame", str(patient))
    data.Modality, data.Manufacturer = "MG", VENDORS[vendor]
    data.PatientName, data.PatientID = f"Phantom^{patient:03d}", f"PHANTOM-{seed}-{patient:03d}"
    data.PatientBirthDate, data.PatientSex = "", "F"
    data.PatientAge = f"{45 + patient % 30:03d}Y"
    data.StudyID, data.AccessionNumber, data.ReferringPhysicianName = "", "", ""
    data.StudyDate = data.ContentDate = "20000101"
    data.StudyTime = data.ContentTime = "120000"
    data.SeriesNumber, data.InstanceNumber = 1, 1
    data.BodyPartExamined = "BREAST"
    data.ImageType = ["ORIGINAL", "PRIMARY"]
    data.SamplesPerPixel, data.PixelRepresentation = 1, 0
    data.PhotometricInterpretation = "MONOCHROME2"
    data.Rows, data.Columns = picture.shown.shape
    data.ImagerPixelSpacing = [SPACING_MM, SPACING_MM]
    return data


def _as_hologic(data: FileDataset, picture: Phantom, side: str, view: str) -> None:
    """Uncompressed 12 bits, two windows, padding around the field."""
    _set_pixels(data, np.rint(picture.shown * 3600), bits=12)
    data.ImageLaterality, data.ViewPosition = side, view
    data.WindowCenter, data.WindowWidth = [1800, 2000], [3601, 3000]
    data.VOILUTFunction = "LINEAR"
    data.PixelPaddingValue = 0


def _as_ge(data: FileDataset, picture: Phantom, side: str, view: str) -> None:
    """Two VOI LUTs of 12 bits, sigmoid windows, JPEG 2000."""
    from pydicom.dataset import Dataset  # noqa: PLC0415  (only to write phantoms)
    from pydicom.uid import JPEG2000Lossless  # noqa: PLC0415

    _set_pixels(data, np.rint(400 + picture.shown * 3000), bits=12)
    luts = []
    for name, curve in (("NORMAL", 1.0), ("HARDER", 1.4)):
        item = Dataset()
        item.LUTDescriptor = [3001, 400, 12]
        item.LUTExplanation = name
        entries = np.rint(4095 * np.linspace(0, 1, 3001) ** curve)
        item.LUTData = entries.astype("<u2").tobytes()
        item["LUTData"].VR = "OW"
        luts.append(item)
    data.VOILUTSequence = luts
    data.WindowCenter, data.WindowWidth, data.VOILUTFunction = [1900], [1500], "SIGMOID"
    data.ImageLaterality, data.ViewPosition = side, view
    data.compress(JPEG2000Lossless, generate_instance_uid=False)


def _as_fuji(data: FileDataset, picture: Phantom, side: str, view: str) -> None:
    """White is low, said twice, as the standard wants; RLE; the side only in the text."""
    from pydicom.uid import RLELossless  # noqa: PLC0415  (only to write phantoms)

    _set_pixels(data, 1023 - np.rint(picture.shown * 1000), bits=10)
    data.PhotometricInterpretation = "MONOCHROME1"
    data.PresentationLUTShape = "INVERSE"
    data.WindowCenter, data.WindowWidth = 523, 1001
    data.ViewPosition = f"{'LEFT' if side == 'L' else 'RIGHT'} {view}"
    data.compress(RLELossless, generate_instance_uid=False)


def _as_film(data: FileDataset, picture: Phantom, side: str, view: str) -> None:
    """A digitised film as secondary capture: 16 bits, no window, and a ground that is not black."""
    rng = np.random.default_rng(int(picture.shown.sum()))
    ground = 3000 + rng.normal(0, 120, picture.shown.shape)
    _set_pixels(data, np.clip(np.rint(ground + picture.shown * 50000), 0, 65535), bits=16)
    del data.ImagerPixelSpacing
    data.PixelSpacing = [SPACING_MM, SPACING_MM]
    data.ConversionType = "DF"
    data.Laterality = side
    data.PatientOrientation = view


def _set_pixels(data: FileDataset, values: NDArray[np.float64], *, bits: int) -> None:
    """Stored values and what describes them."""
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, bits, bits - 1
    data.PixelData = values.astype("<u2").tobytes()
    data["PixelData"].VR = "OW"


def _code(value: str, meaning: str) -> Any:
    """A coded concept of SNOMED-RT."""
    from pydicom.dataset import Dataset  # noqa: PLC0415  (only to write phantoms)

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SRT", meaning
    return item


def _share(lesion: tuple[float, float, float] | None) -> str:
    """Row, column and radius of a lesion as shares of the picture; the radius of its height."""
    if lesion is None:
        return ""
    return f"{lesion[0] / ROWS:.4f} {lesion[1] / COLUMNS:.4f} {lesion[2] / ROWS:.4f}"
