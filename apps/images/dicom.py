"""One frame of any DICOM image as pixels: X-ray, ultrasound, CT, MR, photographs.

Colour is brought to RGB. Grey goes through the rescale of the header and its first window
where there is one (else from the 0.1st to the 99.9th percentile), and is stretched to 16
bits, white high. Of the header, the patient's identifier is read for grouping and leaves
this module as a keyed hash only.

Source: DICOM PS3.3 C.7.6.3 (pixels), C.11.1 (modality LUT), C.11.2 (window).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.data.dicom import decoding, number_in, numbers_in, open_dicom, patient_in, quiet, refuse
from core.data.image_files import MAX_PIXELS
from core.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Header", "read_header", "read_picture"]

_TAGS = ("PatientID", "Modality", "SeriesInstanceUID", "NumberOfFrames")


@dataclass(frozen=True)
class Header:
    """What indexing needs. ``patient`` and ``series`` are identifiers and must not be written."""

    patient: str = ""
    series: str = ""
    modality: str = ""
    frames: int = 1


def read_header(path: Path) -> Header:
    """Patient, series, modality and number of frames; empty where the file does not say."""
    try:
        data = open_dicom(path, tags=_TAGS)
    except ImageError:
        # Reading the pixels will say why.
        return Header()
    return Header(
        patient=patient_in(data),
        series=str(data.get("SeriesInstanceUID") or "").strip(),
        modality=str(data.get("Modality") or "").strip().upper(),
        frames=max(1, int(number_in(data, "NumberOfFrames", 1.0))),
    )


def read_picture(path: Path) -> NDArray[Any]:
    """The picture of a file of one frame: (H, W, 3) uint8, or (H, W, 1) uint16.

    Raises:
        ImageError: it holds several frames, no pixels, or cannot be decoded.
    """
    with decoding(path), quiet():
        data = open_dicom(path)
        frames = int(number_in(data, "NumberOfFrames", 1.0))
        rows, cols = int(number_in(data, "Rows")), int(number_in(data, "Columns"))
        if "PixelData" not in data:
            refuse("holds no pixel data")
        if frames > 1:
            refuse(f"holds {frames} frames, so it is a volume or a film", "Export one of them.")
        if rows * cols > MAX_PIXELS:
            refuse(f"has {cols:,} x {rows:,} pixels, more than {MAX_PIXELS:,}")
        return _picture(data)


def _picture(data: Any) -> NDArray[Any]:
    """Pixels of a dataset of one frame."""
    from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi  # noqa: PLC0415  (a light install works on photographs)

    pixels = data.pixel_array
    if pixels.ndim != (2 if number_in(data, "SamplesPerPixel", 1.0) == 1 else 3):
        # Of grey these would pass for a picture in colour.
        refuse(f"holds {len(pixels):,} pictures, and its header speaks of one")
    kind = str(data.get("PhotometricInterpretation", ""))
    if kind == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, data)
        if pixels.dtype == np.uint16:
            pixels = (pixels >> 8).astype(np.uint8)
    if pixels.ndim == 3:
        return np.ascontiguousarray(pixels[..., :3].astype(np.uint8))
    values = np.asarray(apply_modality_lut(pixels, data), dtype=np.float64)
    if "VOILUTSequence" in data:
        looked_up = apply_voi(values.astype(pixels.dtype), data)
        low, high = float(looked_up.min()), float(looked_up.max())
        values = np.asarray(looked_up, dtype=np.float64)
    else:
        low, high = _window(data, values)
    shown = np.clip((values - low) / max(high - low, 1e-9), 0, 1)
    if kind == "MONOCHROME1":
        # The lowest stored value is white.
        shown = 1 - shown
    return np.ascontiguousarray(np.round(shown * 65535).astype(np.uint16)[..., None])


def _window(data: Any, values: NDArray[np.float64]) -> tuple[float, float]:
    """Values shown as black and as white: the header's first window, or percentiles."""
    centres, widths = numbers_in(data, "WindowCenter"), numbers_in(data, "WindowWidth")
    if centres and widths and widths[0] > 1:
        # PS3.3 C.11.2.1.2: linear, with the half step it prescribes.
        low = centres[0] - 0.5 - (widths[0] - 1) / 2
        high = centres[0] - 0.5 + (widths[0] - 1) / 2
        # A window that leaves the picture blank was written by mistake.
        inside = float(((values > low) & (values < high)).mean())
        if inside > 0.02:
            return low, high
    low, high = np.percentile(values, [0.1, 99.9])
    return float(low), float(high)
