"""From a DICOM file to the pixels a radiologist would see, bright tissue on a dark ground.

The order is the standard's: stored values, modality transform, VOI transform,
presentation (inversion). Every step is one private function of values to
values, so each can be checked by hand. A file that cannot be shown faithfully
is refused with the reason; nothing is guessed.

This module knows nothing of breasts, views or folders. It reads one frame of
one file and writes none.

Source: DICOM PS3.3 C.7.6.3 (pixels), C.7.5.1.1.2 (padding), C.11.1 (modality
LUT), C.11.2 (VOI LUT), C.8.11.1 (presentation LUT shape).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from core.data.dicom import (
    DECODERS,
    first_line,
    is_jpeg,
    number_in,
    numbers_in,
    open_dicom,
    quiet,
    refuse,
    stored_values,
)
from core.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    Values = NDArray[np.float64]

__all__ = [
    "choose_voi",
    "pixels_from_dataset",
    "read_dicom",
    "voi_item",
    "why_not_pixels",
]

# The largest image read, in pixels. The largest film digitised at 50 um
# (24 x 30 cm) has 29 million.
LARGEST_PX = 2**27
_ZERO_SLOPE = "has a rescale slope of zero: every pixel would be the same"


def read_dicom(path: Path, *, voi: str = "") -> NDArray[np.uint16]:
    """The pixels of a DICOM file as they should be shown.

    Args:
        path: a part 10 file with one frame.
        voi: ``lut:I``, ``window:I`` or ``range``; empty lets ``choose_voi`` decide.

    Returns:
        (H, W, 1); 0 is black and 65535 white after every transform the header
        names; padding is black.

    Raises:
        ImageError: with the reason the file cannot be shown faithfully.
    """
    return pixels_from_dataset(open_dicom(path), voi=voi)


def pixels_from_dataset(dataset: Dataset, *, voi: str = "") -> NDArray[np.uint16]:
    """The pixels of an open dataset; see ``read_dicom``."""
    reason = why_not_pixels(dataset)
    if reason:
        refuse(reason)
    with quiet():
        try:
            stored = _unused_bits_removed(stored_values(dataset), dataset)
            choice = voi or choose_voi(dataset)
            padding = _padding_range(dataset)
            factor = _eight_bit_factor(stored, dataset, choice)
            limits = _value_limits(stored, padding)

            def show(values: Values) -> NDArray[np.uint16]:
                """The whole chain on any array of stored values."""
                real = _modality(values * factor, dataset)
                ends = np.sort(_modality(np.asarray(limits) * factor, dataset))
                shown = _inverted(_voi(real, dataset, choice, limits=(ends[0], ends[1])), dataset)
                shown = _padding_black(shown, values, padding)
                return np.rint(shown * 65535).astype(np.uint16)

            return _through_table(stored, show)[..., np.newaxis]
        except ImageError:
            raise
        except MemoryError:
            raise
        except Exception as error:
            reason = f"its pixels cannot be shown ({type(error).__name__}: {first_line(error)})"
            refuse(reason)


def why_not_pixels(header: Dataset) -> str:
    """Why a file with this header cannot be shown as one grey image; empty if it can.

    Needs only the header, so an index can ask it without reading pixels.
    """
    with quiet():
        try:
            return _why_not(header)
        except Exception as error:
            return f"its DICOM header cannot be read ({type(error).__name__})"


def _why_not(header: Dataset) -> str:
    """The first reason that holds; see ``why_not_pixels``."""
    rows, columns = _integer(header, "Rows"), _integer(header, "Columns")
    frames = _integer(header, "NumberOfFrames") or 1
    photometric = str(header.get("PhotometricInterpretation", "") or "")
    bits = _integer(header, "BitsAllocated")
    syntax = str(getattr(header, "file_meta", {}).get("TransferSyntaxUID", "") or "")
    has_palette = "RedPaletteColorLookupTableData" in header
    reasons = (
        (not rows or not columns, f"has no picture: {rows} rows and {columns} columns"),
        (
            rows * columns > LARGEST_PX,
            f"is larger than {LARGEST_PX:,} pixels: {rows} rows and {columns} columns",
        ),
        (frames > 1, f"has {frames} frames (tomosynthesis or a cine series); one is expected"),
        (
            photometric == "PALETTE COLOR",
            f"is a palette image{'' if has_palette else ' without its palette'}",
        ),
        (
            photometric not in {"MONOCHROME1", "MONOCHROME2"},
            f"is not a grey image (photometric interpretation {_shown(photometric)})",
        ),
        ((_integer(header, "SamplesPerPixel") or 1) != 1, "has several samples per pixel"),
        (bits not in {8, 16, 32}, f"has {bits} bits per pixel; 8, 16 or 32 are expected"),
        (numbers_in(header, "RescaleSlope")[:1] == [0.0], _ZERO_SLOPE),
        (
            bool(syntax) and syntax not in DECODERS,
            f"has the transfer syntax {_shown(syntax)}, for which no decoder is known",
        ),
    )
    return next((reason for holds, reason in reasons if holds), "")


def choose_voi(header: Dataset, *, prefer: str = "auto", index: int = 0) -> str:
    """Which of the header's ways to show the values is used.

    Args:
        header: the file's header.
        prefer: ``auto`` (a VOI LUT where there is one, else the window, else
            the range of values: what a workstation shows first), ``lut``,
            ``window`` or ``range``.
        index: which of several LUTs or windows; the last where there are fewer.

    Returns:
        ``lut:I``, ``window:I`` or ``range``.
    """
    n_luts = sum("LUTData" in item for item in header.get("VOILUTSequence") or ())
    windows = [i for i, window in enumerate(_windows(header)) if _is_usable(window)]
    if prefer in {"auto", "lut"} and n_luts:
        return f"lut:{min(index, n_luts - 1)}"
    if prefer in {"auto", "window"} and windows:
        return f"window:{windows[min(index, len(windows) - 1)]}"
    return "range"


def voi_item(header: Dataset, choice: str) -> Dataset | None:
    """The chosen way to show the values, as an item of a Softcopy VOI LUT Sequence.

    Either a table or a window, even of a header that has both, and without their free text.

    Args:
        header: the file's header.
        choice: ``lut:I`` or ``window:I``; there is no item for ``range``.

    Source: PS3.3 C.11.8, C.11.2.1.1 (entries of 8 or 16 bits only: those of 12 are stretched).
    """
    from pydicom.dataset import Dataset  # noqa: PLC0415  (0.2 s to import)
    from pydicom.valuerep import DSfloat  # noqa: PLC0415

    kind, _, index = choice.partition(":")
    item = Dataset()
    if kind == "window":
        centre, width, item.VOILUTFunction = _window(header, int(index))
        item.WindowCenter = DSfloat(centre, auto_format=True)
        item.WindowWidth = DSfloat(width, auto_format=True)
        return item
    if kind != "lut":
        return None
    first, table, bits = _voi_lut(header, int(index))
    n = len(table) % 65536
    if first < 0 and n >= 32768:
        n -= 65536
    depth = 8 if bits == 8 else 16
    entries = np.rint(table / ((1 << bits) - 1) * ((1 << depth) - 1))
    data = entries.astype(np.uint8 if depth == 8 else "<u2").tobytes()
    lut = Dataset()
    lut.add_new("LUTDescriptor", "SS" if first < 0 else "US", [n, first, depth])
    lut.add_new("LUTData", "OW", data + bytes(len(data) % 2))
    item.VOILUTSequence = [lut]
    return item


def _unused_bits_removed(stored: NDArray[Any], header: Dataset) -> NDArray[Any]:
    """Stored values without what old files keep in the bits above ``HighBit``: overlays, dirt.

    Only where whole words are stored; a JPEG stream carries its own precision.
    """
    if is_jpeg(header):
        return stored
    allocated = _integer(header, "BitsAllocated")
    bits = _integer(header, "BitsStored") or allocated
    high = int(number_in(header, "HighBit", bits - 1))
    if bits >= allocated or not bits - 1 <= high < allocated:
        return stored
    raw = (stored.astype(np.int64) >> (high - bits + 1)) & ((1 << bits) - 1)
    if _integer(header, "PixelRepresentation"):
        raw = np.where(raw >= 1 << (bits - 1), raw - (1 << bits), raw)
    return raw.astype(stored.dtype)


def _padding_range(header: Dataset) -> tuple[int, int] | None:
    """Lowest and highest stored value that mean "no picture here"; None if there are none."""
    if not numbers_in(header, "PixelPaddingValue"):
        return None
    first = _integer(header, "PixelPaddingValue")
    last = int(number_in(header, "PixelPaddingRangeLimit", first))
    if _integer(header, "PixelRepresentation"):
        # Written as unsigned by some devices: 63536 for -2000.
        whole = 1 << (_integer(header, "BitsAllocated") or 16)
        first, last = (v - whole if v >= whole // 2 else v for v in (first, last))
    return min(first, last), max(first, last)


def _value_limits(stored: NDArray[Any], padding: tuple[int, int] | None) -> tuple[float, float]:
    """Lowest and highest stored value outside the padding."""
    if padding is not None:
        inside = stored[(stored < padding[0]) | (stored > padding[1])]
        stored = inside if inside.size else stored
    return float(stored.min()), float(stored.max())


def _eight_bit_factor(stored: NDArray[Any], header: Dataset, choice: str) -> float:
    """What to multiply values with that were cut to 8 bits while the header still says more.

    Recognised by a VOI transform that begins above every value there is: as
    it stands it would show a black picture.
    """
    bits = _integer(header, "BitsStored")
    if bits <= 8 or stored.max() > 255 or stored.min() < 0 or choice == "range":
        return 1.0
    kind, _, index = choice.partition(":")
    if kind == "lut":
        begin = float(_voi_lut(header, int(index))[0])
    else:
        centre, width, _ = _window(header, int(index))
        begin = centre - width / 2
    highest = float(_modality(np.array([stored.max()], dtype=np.float64), header)[0])
    return ((1 << bits) - 1) / 255 if begin >= highest else 1.0


def _modality(values: Values, header: Dataset) -> Values:
    """Stored values to the device's units: a lookup table, or slope and intercept."""
    sequence = header.get("ModalityLUTSequence")
    if sequence:
        first, table, _ = _lut(sequence[0], header)
        return _looked_up(values, first, table)
    slope = number_in(header, "RescaleSlope", 1.0)
    if slope == 0:
        refuse(_ZERO_SLOPE)
    return values * slope + number_in(header, "RescaleIntercept", 0.0)


def _voi(values: Values, header: Dataset, choice: str, *, limits: tuple[float, float]) -> Values:
    """Values in the device's units to [0, 1] by the chosen table, window or range."""
    kind, _, index = choice.partition(":")
    if kind == "range":
        low, high = limits
        return np.clip((values - low) / ((high - low) or 1.0), 0.0, 1.0)
    if kind == "lut":
        first, table, bits = _voi_lut(header, int(index))
        return _looked_up(values, first, table) / ((1 << bits) - 1)
    centre, width, function = _window(header, int(index))
    return _FUNCTIONS[function](values, centre, width)


def _voi_lut(header: Dataset, index: int) -> tuple[int, Values, int]:
    """One of the header's VOI LUTs; see ``_lut``."""
    luts = list(header.get("VOILUTSequence") or ())
    if index >= len(luts):
        refuse(f"has {len(luts)} VOI LUTs; number {index} is asked for (from 0)")
    return _lut(luts[index], header)


def _window(header: Dataset, index: int) -> tuple[float, float, str]:
    """One of the header's windows; see ``_windows``."""
    windows = _windows(header)
    if index >= len(windows) or not _is_usable(windows[index]):
        refuse(f"has {len(windows)} windows; number {index} is asked for (from 0)")
    return windows[index]


def _linear(values: Values, centre: float, width: float) -> Values:
    """PS3.3 C.11.2.1.2.1: the window ends half a value early, and width 1 is a threshold."""
    if width == 1:
        return (values > centre - 0.5).astype(np.float64)
    return np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0.0, 1.0)


def _linear_exact(values: Values, centre: float, width: float) -> Values:
    """PS3.3 C.11.2.1.3.2: the window as written."""
    return np.clip((values - centre) / width + 0.5, 0.0, 1.0)


def _sigmoid(values: Values, centre: float, width: float) -> Values:
    """PS3.3 C.11.2.1.3.1."""
    with np.errstate(over="ignore"):
        return 1.0 / (1.0 + np.exp(-4.0 * (values - centre) / width))


_FUNCTIONS: Mapping[str, Callable[[Values, float, float], Values]] = {
    "LINEAR": _linear,
    "LINEAR_EXACT": _linear_exact,
    "SIGMOID": _sigmoid,
}


def _inverted(shown: Values, header: Dataset) -> Values:
    """Bright where the tissue is dense.

    ``MONOCHROME1`` means that the lowest value is white, ``INVERSE`` that the
    picture must be inverted to become so. The standard asks for both
    together: they are one statement made twice, not two inversions.
    """
    is_inverse = str(header.get("PresentationLUTShape", "") or "") == "INVERSE"
    is_monochrome1 = str(header.get("PhotometricInterpretation", "") or "") == "MONOCHROME1"
    return 1.0 - shown if is_inverse or is_monochrome1 else shown


def _padding_black(shown: Values, stored: Values, padding: tuple[int, int] | None) -> Values:
    """Black where the stored value says that there is no picture."""
    if padding is None:
        return shown
    return np.where((stored >= padding[0]) & (stored <= padding[1]), 0.0, shown)


def _through_table(
    stored: NDArray[Any], show: Callable[[Values], NDArray[np.uint16]]
) -> NDArray[np.uint16]:
    """``show(stored)``; up to 16 bits through a table, twenty times as fast on 8 megapixels."""
    low, high = int(stored.min()), int(stored.max())
    if high - low >= 65536:
        return show(stored.astype(np.float64))
    low = 0 if low > 0 and high < 65536 else low
    table = show(np.arange(low, high + 1, dtype=np.float64))
    return table[stored.astype(np.int64) - low if low else stored]


def _lut(item: Dataset, header: Dataset) -> tuple[int, Values, int]:
    """First mapped value, entries, and bits per entry of a lookup table."""
    descriptor = [int(v) for v in item.get("LUTDescriptor") or ()]
    raw = item.get("LUTData")
    if len(descriptor) != 3 or raw is None or not len(raw):
        refuse("has a lookup table without its descriptor or data")
    n, first, bits = descriptor
    n = n or 65536
    is_signed = _integer(header, "PixelRepresentation") or number_in(header, "RescaleIntercept") < 0
    if is_signed and first >= 32768:
        first -= 65536
    if isinstance(raw, bytes):
        is_little = getattr(header, "original_encoding", (None, True))[1] is not False
        narrow = bits <= 8 and len(raw) < 2 * n
        raw = np.frombuffer(raw, dtype=np.uint8 if narrow else "<u2" if is_little else ">u2")
    table = np.atleast_1d(np.asarray(raw, dtype=np.float64))[:n]
    # Some devices declare fewer bits than their entries have.
    return first, table, max(bits, int(table.max()).bit_length(), 1)


def _looked_up(values: Values, first: int, table: Values) -> Values:
    """Table entries for values; below the first the first entry, beyond the last the last."""
    indices = np.clip(np.rint(values) - first, 0, len(table) - 1).astype(np.int64)
    return np.asarray(table[indices])


def _windows(header: Dataset) -> list[tuple[float, float, str]]:
    """Centre, width and function of every window, in the header's order."""
    centres, widths = (numbers_in(header, name) for name in ("WindowCenter", "WindowWidth"))
    function = str(header.get("VOILUTFunction", "") or "LINEAR").strip().upper()
    return [(c, w, function) for c, w in zip(centres, widths, strict=False)]


def _is_usable(window: tuple[float, float, str]) -> bool:
    """Whether the standard allows a window of this width and function."""
    _, width, function = window
    return function in _FUNCTIONS and (width >= 1 if function == "LINEAR" else width > 0)


def _integer(header: Dataset, name: str) -> int:
    """The first value of an element as an integer; 0 where it is absent or not a number."""
    return int(number_in(header, name))


def _shown(text: str) -> str:
    """A code word of a header, cut short: a damaged header must not fill the reason."""
    return repr(text[:40]) if text else "missing"
