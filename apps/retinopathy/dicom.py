"""Ophthalmic photographs in DICOM: one frame as RGB pixels, or a reason why not.

Colour is brought to RGB (YBR_FULL, YBR_FULL_422 and the colour spaces of JPEG
2000 are converted by pydicom), grey is repeated over three channels, and more
than eight bits are stretched to sixteen, so that white is white. Nothing of the
header leaves this module but the side of the eye, the maker of the camera and,
for grouping only, the patient's identifier.

Source: DICOM PS3.3 C.8.17.2 (Ophthalmic Photography Image) and C.7.6.3.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.data.dicom import decoding, is_dicom, number_in, open_dicom, patient_in, quiet
from core.data.image_files import MAX_PIXELS
from core.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Header", "is_dicom", "read_header", "read_pixels"]

# Modalities whose single colour frames may be fundus photographs. PS3.3 C.7.3.1.1.1.
MODALITIES = {"OP", "XC", "OT", "GM", "SC"}
# Elements read from a header; everything else stays in the file.
_TAGS = ("ImageLaterality", "Laterality", "PatientID", "Manufacturer")
COLOURS = {"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"}
GREYS = {"MONOCHROME1", "MONOCHROME2"}


@dataclass(frozen=True)
class Header:
    """What indexing needs. ``patient`` is an identifier and must not reach an output."""

    patient: str = ""
    eye: str = ""
    camera: str = ""


def read_header(path: Path) -> Header:
    """Side, maker and patient of a file; empty where it does not say, or cannot be read."""
    try:
        data = open_dicom(path, tags=_TAGS)
    except ImageError:
        # Reading the pixels will say why.
        return Header()
    side = str(data.get("ImageLaterality") or data.get("Laterality") or "").strip().upper()
    camera = re.sub(r"[^\w.-]+", " ", str(data.get("Manufacturer") or "")).strip()[:32]
    return Header(patient_in(data), {"L": "left", "R": "right"}.get(side, ""), camera)


def read_pixels(path: Path) -> NDArray[Any]:
    """The picture of a file, (H, W, 3) uint8 or uint16.

    Raises:
        ImageError: it is no single photograph, or its pixels cannot be decoded.
    """
    with decoding(path), quiet():
        data = open_dicom(path)
        _refuse_unfit(path, data)
        pixels = data.pixel_array
    if pixels.ndim != 2 and pixels.shape[2:] != (3,):
        msg = f"{path.name}: it holds {len(pixels):,} pictures, and its header speaks of one."
        raise ImageError(msg)
    return _as_colour(pixels, data)


def _refuse_unfit(path: Path, data: Any) -> None:
    """Refuse what is no single photograph, before memory is taken for its pixels."""
    photometric = str(data.get("PhotometricInterpretation", ""))
    modality = str(data.get("Modality", ""))
    frames = int(number_in(data, "NumberOfFrames")) or 1
    rows, cols = int(number_in(data, "Rows")), int(number_in(data, "Columns"))
    why = ""
    if modality and modality not in MODALITIES:
        why = f"its modality is {modality}, not ophthalmic photography (OP)"
    elif "PixelData" not in data:
        why = "it holds no pixels"
    elif photometric not in COLOURS | GREYS:
        why = f"its colours are {photometric or 'not described'}; export it as RGB"
    elif frames != 1:
        why = f"it holds {frames} frames, and nothing says which to grade; export one"
    elif number_in(data, "PixelRepresentation"):
        why = "its values are signed, which a photograph's are not"
    elif rows * cols > MAX_PIXELS:
        why = f"it has {cols:,} x {rows:,} pixels, more than {MAX_PIXELS:,}"
    if why:
        msg = f"{path.name}: {why}."
        raise ImageError(msg)


def _as_colour(pixels: NDArray[Any], data: Any) -> NDArray[Any]:
    """(H, W, 3), full scale."""
    bits = int(number_in(data, "BitsStored")) or 8
    full = 2**bits - 1
    photometric = str(data.PhotometricInterpretation)
    if photometric == "MONOCHROME1":
        # The lowest stored value is white.
        pixels = full - np.minimum(pixels, full)
    if bits <= 8 and pixels.dtype == np.uint8 and bits == 8:
        scaled = pixels
    else:
        top = 255 if bits <= 8 else 65535
        scaled = np.round(np.minimum(pixels, full).astype(np.float64) * (top / full))
        scaled = scaled.astype(np.uint8 if bits <= 8 else np.uint16)
    if scaled.ndim == 2:
        scaled = np.repeat(scaled[..., None], 3, axis=2)
    return np.ascontiguousarray(scaled)
