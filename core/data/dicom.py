"""From a DICOM file to its stored values: opening and decoding, nothing more.

Which decoder reads which compression, fastest first; what is no DICOM file, a
bomb, or damaged is refused with the reason. Every app that reads DICOM opens files here;
what the values mean is the app's question. An element that is there and empty is an
absent one, and a number may have a decimal comma.

Source: DICOM PS3.10 (files), PS3.5 (transfer syntaxes).
"""

from __future__ import annotations

import re
import threading
import warnings
import zlib
from collections.abc import Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from core.base.regular_files import open_regular
from core.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

__all__ = [
    "DECODERS",
    "DICOM_SUFFIXES",
    "decoding",
    "first_line",
    "is_dicom",
    "is_jpeg",
    "number_in",
    "numbers_in",
    "open_dicom",
    "patient_in",
    "quiet",
    "refuse",
    "stored_values",
]

# Inflated bytes of a deflated file beyond which it is taken for a bomb.
LARGEST_INFLATED = 2**29

# Decoding plug-ins by transfer syntax, fastest first as measured on a
# 3328 x 2560 16-bit image; the names are pydicom's. None: pydicom needs none.
DECODERS: Mapping[str, tuple[str, ...]] = {
    "1.2.840.10008.1.2": (),  # implicit little endian
    "1.2.840.10008.1.2.1": (),  # explicit little endian
    "1.2.840.10008.1.2.1.99": (),  # deflated
    "1.2.840.10008.1.2.2": (),  # explicit big endian
    "1.2.840.10008.1.2.5": ("pylibjpeg", "gdcm", "pydicom"),  # RLE
    "1.2.840.10008.1.2.4.50": ("gdcm", "pillow"),  # JPEG baseline, 8 bit
    "1.2.840.10008.1.2.4.51": ("gdcm", "pillow"),  # JPEG extended: 8 bit only
    "1.2.840.10008.1.2.4.57": ("gdcm",),  # JPEG lossless
    "1.2.840.10008.1.2.4.70": ("gdcm",),  # JPEG lossless, first order
    "1.2.840.10008.1.2.4.80": ("pyjpegls", "gdcm"),  # JPEG-LS lossless
    "1.2.840.10008.1.2.4.81": ("pyjpegls", "gdcm"),  # JPEG-LS near-lossless
    "1.2.840.10008.1.2.4.90": ("pylibjpeg", "gdcm", "pillow"),  # JPEG 2000 lossless
    "1.2.840.10008.1.2.4.91": ("pylibjpeg", "gdcm", "pillow"),  # JPEG 2000
    "1.2.840.10008.1.2.4.201": ("pylibjpeg",),  # HTJ2K lossless
    "1.2.840.10008.1.2.4.202": ("pylibjpeg",),  # HTJ2K lossless RPCL
    "1.2.840.10008.1.2.4.203": ("pylibjpeg",),  # HTJ2K
}
# Names by which a file is meant as DICOM; many have none at all.
DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".dic", ".ima"})
_DEFLATED = "1.2.840.10008.1.2.1.99"
# Uncompressed, the highest byte of a value last.
_LITTLE = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", _DEFLATED})
_JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
# Begins the transfer syntax of every JPEG.
_JPEG = "1.2.840.10008.1.2.4."


def is_dicom(path: Path) -> bool:
    """Whether the file begins as DICOM part 10 says: 128 bytes, then ``DICM``."""
    try:
        with open_regular(path) as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def open_dicom(path: Path, *, tags: Sequence[str] | None = None) -> Dataset:
    """A DICOM file as a dataset.

    Args:
        path: a part 10 file.
        tags: keywords of the elements wanted, without pixels; None reads all.

    Raises:
        ImageError: it is not DICOM, or is cut short.
    """
    try:
        import pydicom  # noqa: PLC0415  (a light install works on PNG folders without it)
        from pydicom.filereader import read_file_meta_info  # noqa: PLC0415
    except ImportError:
        refuse(
            "reading DICOM needs pydicom, which is not installed",
            "Install it: pip install 'resight[dicom]'.",
        )

    if not is_dicom(path):
        refuse("is not a DICOM file: bytes 129 to 132 are not DICM")
    with quiet():
        try:
            meta = read_file_meta_info(path)
            if meta.get("TransferSyntaxUID", "") == _DEFLATED:
                _check_inflated_size(path, meta)
            read = pydicom.dcmread(
                path,
                stop_before_pixels=tags is not None,
                specific_tags=None if tags is None else list(tags),
            )
            _complete(read)
        except ImageError:
            raise
        except Exception as error:
            # pydicom's parsers raise nearly every builtin on damaged bytes.
            refuse(f"its DICOM header cannot be read ({type(error).__name__})")
        return read


def _complete(dataset: Dataset) -> None:
    """Fill in of the description of the pixels what is empty or absent and can be but one thing.

    Codes in lower case are read as in capitals. One sample is all that grey has; values of which
    none has its highest bit set are the same signed and unsigned.
    """
    for name in ("PhotometricInterpretation", "Modality"):
        code = str(dataset.get(name) or "")
        if code != code.strip().upper():
            setattr(dataset, name, code.strip().upper())
    bits, kind = int(number_in(dataset, "BitsAllocated")), dataset.get("PhotometricInterpretation")
    data = dataset.get("PixelData")
    if not data or bits not in {8, 16, 32}:
        return
    if not numbers_in(dataset, "BitsStored"):
        dataset.BitsStored, dataset.HighBit = bits, bits - 1
    if not numbers_in(dataset, "SamplesPerPixel"):
        dataset.SamplesPerPixel = 3 if str(kind).startswith(("RGB", "YBR")) else 1
    if not numbers_in(dataset, "PixelRepresentation"):
        is_little = dataset.file_meta.get("TransferSyntaxUID") in _LITTLE
        step = bits // 8
        highest = np.frombuffer(data if is_little else b"", np.uint8)[step - 1 :: step]
        if bits == 8 or not is_little or not np.any(highest & 0x80):
            dataset.PixelRepresentation = 0


def stored_values(dataset: Dataset) -> NDArray[Any]:
    """Stored values (H, W), by the fastest plug-in that can read them."""
    from pydicom.pixels.decoders.base import get_decoder  # noqa: PLC0415  (see open_dicom)

    syntax = dataset.file_meta.get("TransferSyntaxUID", "")
    if "PixelData" not in dataset:
        refuse("holds no pixel data")
    if not syntax:
        refuse("names no transfer syntax, so its bytes could mean anything")
    decoder = get_decoder(syntax)
    ready = set(decoder.available_plugins)
    plugins: Sequence[str] = [name for name in DECODERS[syntax] if name in ready]
    if DECODERS[syntax] and not plugins:
        needed = " or ".join(DECODERS[syntax])
        reason = f"is compressed as {syntax.name}, which needs the decoder {needed}"
        refuse(reason, "Install the extra: pip install 'resight[dicom]'.")
    failure: Exception | None = None
    for plugin in plugins or ("",):
        try:
            pixels, _ = decoder.as_array(dataset, raw=True, decoding_plugin=plugin)
        except Exception as error:  # decoders raise nearly every builtin
            failure = failure or error
        else:
            stored = np.asarray(pixels)
            if stored.ndim != 2:
                refuse(f"holds {len(stored):,} pictures, and its header speaks of one")
            return stored
    reason = f"its {syntax.name} pixels cannot be decoded ({first_line(failure)})"
    if syntax == _JPEG_EXTENDED and dataset.get("BitsStored") != 8:
        return refuse(
            reason, "No decoder here reads its 12 bits: convert it with DCMTK's dcmdjpeg."
        )
    return refuse(reason)


def _check_inflated_size(path: Path, meta: Dataset) -> None:
    """Refuse a deflated file that pydicom, which inflates without a limit, would not survive."""
    length = meta.get("FileMetaInformationGroupLength")
    if length is None:
        refuse("is deflated and does not say where its data begin")
    with open_regular(path) as stream:
        # Preamble and DICM, then the 12 bytes of the element that holds the length.
        stream.seek(132 + 12 + int(length))
        packed = stream.read()
    inflater, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while packed:
        total += len(inflater.decompress(packed, 2**20))
        packed = inflater.unconsumed_tail
        if total > LARGEST_INFLATED:
            refuse(f"inflates to more than {LARGEST_INFLATED // 2**20} MB")


def numbers_in(header: Dataset, name: str) -> list[float]:
    """The finite values of an element; none where it is absent, empty or no number.

    A decimal comma, which some devices write against the standard, counts as a point.
    """
    try:
        value: Any = header.get(name)
    except (TypeError, ValueError):
        # pydicom refuses to convert it; what is stored is still there.
        raw = header.get_item(name)
        value = getattr(raw, "value", None)
    if isinstance(value, bytes):
        value = value.decode("latin-1").strip(" \0").split("\\")
    many = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    found: list[float] = []
    for one in many:
        text = str(one).strip().replace(",", ".") if isinstance(one, str) else one
        try:
            number = float(text)
        except (TypeError, ValueError):
            return []
        if np.isfinite(number):
            found.append(number)
    return found


def number_in(header: Dataset, name: str, default: float = 0.0) -> float:
    """The first value of an element, or the default."""
    found = numbers_in(header, name)
    return found[0] if found else default


class _Quiet:
    """Counts who is inside, because both settings belong to the process and readers are threads.

    The first to enter sets them, the last to leave puts them back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._settings = ExitStack()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        from pydicom import config  # noqa: PLC0415  (see open_dicom)

        with self._lock:
            if not self._inside:
                self._settings.enter_context(warnings.catch_warnings())
                self._settings.enter_context(config.disable_value_validation())
                warnings.simplefilter("ignore")
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    self._settings.close()


# Holds back pydicom's warnings on headers that break the standard: some quote the value.
quiet = _Quiet()


def first_line(error: BaseException | None) -> str:
    """The first line of another library's error, cut short."""
    lines = [line.strip() for line in str(error or "").splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].endswith(":"):
        lines = lines[1:]
    return lines[0][:160] if lines else "no reason given"


def patient_in(data: Any) -> str:
    """The patient's identifier of a header; empty where it has none or an anonymiser's word."""
    patient = str(data.get("PatientID") or "").strip()
    # Anonymisers leave 0000 or a word where the identifier was: that is nobody.
    is_nobody = not re.sub(r"[0\W_]+", "", patient)
    return "" if is_nobody or re.fullmatch(r"(?i)anon\w*|unknown|none", patient) else patient


@contextmanager
def decoding(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong inside, of any type, into an ``ImageError`` that names the file."""
    try:
        yield
    except ImageError as error:
        msg = f"{path.name}: {str(error).removeprefix(path.name + ': ')}"
        raise ImageError(msg) from error
    # pydicom and its decoders raise nearly every type there is on a damaged file.
    except Exception as error:
        msg = (
            f"{path.name}: its DICOM pixels cannot be decoded ({first_line(error)}). Export it "
            "again, or install the decoders: pip install 'resight[dicom]'."
        )
        raise ImageError(msg) from error


def refuse(reason: str, advice: str = "Leave the file out, or convert it.") -> NoReturn:
    """Say that a file cannot be shown, and why.

    Raises:
        ImageError: always.
    """
    msg = f"{reason}. {advice}"
    raise ImageError(msg)


def is_jpeg(dataset: Dataset) -> bool:
    """Whether the pixels are a stream of the JPEG family, which carries its own precision."""
    return str(dataset.file_meta.get("TransferSyntaxUID", "")).startswith(_JPEG)
