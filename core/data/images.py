"""The one strict decode point: a photograph's file becomes pixels, or is refused with a reason.

Training, validation, prediction and export all read through ``read_image``, so
they see the same pixels. A file is recognised by its content, never by its
name. What each stored mode becomes:

    stored                                  becomes
    1-bit, 2-bit, 4-bit and 8-bit grey      uint8 (H, W, 1); 1-bit black is 0, white 255
    16-bit grey (12-bit TIFF: 0 to 4095)    uint16 (H, W, 1), values as stored
    float grey (TIFF, PFM)                  float32 (H, W, 1); NaN and infinity are refused
    RGB, YCbCr, palette                     uint8 (H, W, 3)
    16-bit RGB (PNG, TIFF)                  uint16 (H, W, 3), values as stored
    CMYK, YCCK                              uint8 (H, W, 3) by (255 - C)(255 - K) / 255
    any of them with alpha or a key colour  laid over black: v * alpha / highest, rounded
    grey TIFF where zero is white           turned over, so that zero is black
    TIFF with further bands, Lab, 32-bit    refused: they are not photographs
    integers beyond 16 bits, GIF

The orientation of EXIF (or of XMP where there is no EXIF) is applied. Colour
profiles are not. Of a JPEG with several pictures, as some telephones write, the
main one is read; animations and TIFFs of several pages are refused, because
nothing says which page is meant (reduced copies and masks beside a page do not
count as pages).

Nothing global is changed and no warning is emitted, so threads may share it.
This module knows no table, no label and no DICOM.
"""

from __future__ import annotations

import re
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import ExifTags, ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile

from core.data.image_files import (
    EXTENSIONS,
    MAX_BYTES,
    MAX_PIXELS,
    RefusalError,
    open_image,
    read_file,
    sniff,
)
from core.errors import ConfigError, ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = [
    "EXTENSIONS",
    "MAX_BYTES",
    "MAX_PIXELS",
    "read_image",
    "sniff",
]


def read_image(
    path: Path,
    *,
    max_pixels: int = MAX_PIXELS,
    at_least: tuple[int, int] | None = None,
) -> NDArray[Any]:
    """The pixels of one image file, upright: (H, W, C) with C 1 or 3.

    Args:
        path: a regular file; links to one are followed.
        max_pixels: an image of more is refused from its header, before any
            memory is taken for it.
        at_least: (H, W) that the caller needs. A JPEG at least twice as large
            in both directions is decoded at 1/2, 1/4 or 1/8 of its size, never
            below ``at_least``, which is about four times as fast. Its pixels
            differ from a full decode, so whoever trains with it must predict
            with it.

    Returns:
        uint8, uint16 or float32, by the table at the head of this module.

    Raises:
        ImageError: with a reason in one line that names the file.
        ConfigError: the process has told Pillow to accept truncated files.
    """
    with _refusing(path):
        data = read_file(path)
        image = open_image(data, max_pixels)
        orientation = _orientation(image)
        if at_least is not None and isinstance(image, JpegImageFile):
            height, width = at_least if orientation < 5 else at_least[::-1]
            image.draft(image.mode, (max(width, 1), max(height, 1)))
        image.load()
        if isinstance(image, PngImageFile):
            # Only known after the pixels: PNG may hold its EXIF behind them.
            orientation = _orientation(image)
        pixels = _to_array(image, data)
        if not isinstance(image, TiffImageFile):
            # Pillow has turned a TIFF already.
            pixels = _upright(pixels, orientation)
        return np.ascontiguousarray(pixels)


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong inside, of any type, into an ``ImageError`` that names the file."""
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        msg = (
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is True in this process, so half a file would "
            "pass for an image. Set it to False, or find the library that sets it."
        )
        raise ConfigError(msg)
    try:
        yield
    except RefusalError as refusal:
        msg = f"{_shown(path)}: {refusal}."
        raise ImageError(msg) from None
    except MemoryError as error:
        msg = (
            f"{_shown(path)}: it needs more memory to decode than one image may take. Make it "
            "smaller or cut it into tiles."
        )
        raise ImageError(msg) from error
    except Exception as error:
        # Decoders raise nearly every type there is: OSError, ValueError,
        # TypeError, SyntaxError, IndexError, struct.error, MemoryError ...
        words = _shown(str(error).splitlines()[0] if str(error) else "no further word")
        msg = (
            f"{_shown(path)}: it is cut short or damaged ({type(error).__name__}: {words[:160]}). "
            "Copy it again from its source."
        )
        raise ImageError(msg) from error


def _to_array(image: ImageFile.ImageFile, data: bytes) -> NDArray[Any]:
    """The pixels by the mode table, not yet turned upright (but for TIFF)."""
    if _bits(image, data) == 16 and image.mode in {"RGB", "RGBA"}:
        return _deep_colour(image, data)
    is_turned = isinstance(image, TiffImageFile) and int(image.tag_v2.get(262, 1)) == 0
    mode = image.mode
    if mode == "F" or mode.startswith("I"):
        return _measured(np.asarray(image), is_turned=is_turned)
    if mode in {"1", "L", "LA", "La"}:
        has_alpha = mode in {"LA", "La"} or "transparency" in image.info
        grey = np.asarray(image.convert("LA" if has_alpha else "L"))
        return _over_black(grey) if has_alpha else grey[:, :, None]
    if mode in {"RGB", "RGBX", "RGBA", "RGBa", "P", "PA", "CMYK", "YCbCr"}:
        has_alpha = mode in {"RGBA", "RGBa", "PA"} or "transparency" in image.info
        colour = np.asarray(image.convert("RGBA" if has_alpha else "RGB"))
        return _over_black(colour) if has_alpha else colour
    msg = f"its colour mode is {mode}; export it as 8-bit RGB or grey"
    raise RefusalError(msg)


def _measured(values: NDArray[Any], *, is_turned: bool) -> NDArray[Any]:
    """Grey of more than 8 bits: (H, W) as Pillow decodes it -> (H, W, 1) uint16 or float32."""
    if values.dtype.kind == "f":
        odd = int((~np.isfinite(values)).sum())
        if odd or is_turned:
            what = f"{odd:,} of its pixels are NaN or infinite" if odd else "its zero is white"
            msg = f"{what}; export it as 8-bit or 16-bit grey"
            raise RefusalError(msg)
        return values.astype(np.float32)[:, :, None]
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        msg = (
            f"its values run from {low:,} to {high:,}, and 16 bits hold 0 to 65,535; "
            "export it as 16-bit grey"
        )
        raise RefusalError(msg)
    deep = values.astype(np.uint16)
    return np.asarray(65535 - deep if is_turned else deep)[:, :, None]


def _bits(image: ImageFile.ImageFile, data: bytes) -> int:
    """Bits per value of the file; Pillow's own modes hide that it stores 16-bit colour as 8-bit."""
    if isinstance(image, PngImageFile):
        return data[24]
    if isinstance(image, TiffImageFile):
        return int(np.max(image.tag_v2.get(258, 1)))
    if isinstance(image, PpmImageFile) and image.mode == "RGB":
        # The third number of the header, with comments taken out.
        words = re.sub(rb"#[^\r\n]*", b"", data[:4096]).split()
        return 8 if int(words[3]) < 256 else 16
    if image.mode == "1":
        return 1
    if image.mode.startswith("I"):
        return 16
    return 32 if image.mode == "F" else 8


def _deep_colour(image: ImageFile.ImageFile, data: bytes) -> NDArray[Any]:
    """16-bit colour, of which Pillow keeps only the upper byte.

    OpenCV decodes all 16 bits; it is asked only after Pillow has read the whole
    file without complaint, and must agree with it in the upper byte.
    """
    import cv2  # noqa: PLC0415  (rare, and 0.1 s to import)

    deep = None
    if not isinstance(image, PpmImageFile):
        deep = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    upper = np.asarray(image)
    if deep is not None and deep.dtype == np.uint16 and deep.ndim == 3:
        code = cv2.COLOR_BGRA2RGBA if deep.shape[2] == 4 else cv2.COLOR_BGR2RGB
        deep = cv2.cvtColor(deep, code)
        for orientation in range(1, 9) if isinstance(image, TiffImageFile) else [1]:
            turned = _upright(deep, orientation)
            if turned.shape == upper.shape and np.array_equal(turned >> 8, upper):
                if turned.shape[2] == 4:
                    turned = _over_black(turned)
                is_grey = isinstance(image, PngImageFile) and data[25] == 4
                return turned[:, :, :1] if is_grey else turned
    msg = "its 16-bit colours cannot be read in full; export it as 8-bit RGB or 16-bit PNG"
    raise RefusalError(msg)


def _over_black(pixels: NDArray[Any]) -> NDArray[Any]:
    """Lay (H, W, C + alpha) over black; what is opaque keeps its exact values."""
    highest = np.uint64(np.iinfo(pixels.dtype).max)
    alpha = pixels[:, :, -1:]
    if (alpha == highest).all():
        return pixels[:, :, :-1]
    laid = (pixels[:, :, :-1].astype(np.uint64) * alpha + highest // np.uint64(2)) // highest
    return np.asarray(laid, dtype=pixels.dtype)


def _upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Apply EXIF orientation 1 to 8 (CIPA DC-008, tag 0x0112) to (H, W, C)."""
    if orientation in {5, 6, 7, 8}:
        # Rows and columns swap: the picture is mirrored along its diagonal.
        pixels = pixels.swapaxes(0, 1)
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    return pixels


def _orientation(image: ImageFile.ImageFile) -> int:
    """EXIF orientation, 1 if there is none or it cannot be understood."""
    if isinstance(image, TiffImageFile):
        found = image.tag_v2.get(ExifTags.Base.Orientation, 1)
        return found if found in range(1, 9) else 1
    exif = image.info.get("exif")
    raw = image.info.get("Raw profile type exif")
    if exif is None and isinstance(raw, str):
        try:
            exif = bytes.fromhex("".join(raw.split("\n")[3:]))
        except ValueError:
            exif = None
    found = _exif_orientation(exif) if isinstance(exif, bytes) else 0
    if not found:
        xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
        text = xmp.encode("utf-8", "replace") if isinstance(xmp, str) else bytes(xmp)
        match = re.search(rb'tiff:Orientation(?:="|>)([1-8])', text)
        found = int(match[1]) if match else 1
    return found


def _exif_orientation(exif: bytes) -> int:
    """The orientation tag of an EXIF block, 0 if it has none; other tags are not looked at."""
    block = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None or len(block) < 10:
        return 0
    (start,) = struct.unpack_from(order + "I", block, 4)
    if start + 2 > len(block):
        return 0
    (count,) = struct.unpack_from(order + "H", block, start)
    for place in range(start + 2, min(start + 2 + 12 * count, len(block) - 11), 12):
        tag, kind = struct.unpack_from(order + "HH", block, place)
        if tag == ExifTags.Base.Orientation and kind == 3:
            (value,) = struct.unpack_from(order + "H", block, place + 8)
            return value if value in range(1, 9) else 0
    return 0


def _shown(text: Path | str) -> str:
    """A name or message that is safe on a terminal: odd bytes and control characters escaped."""
    printable = (
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode()
        for c in str(text)
    )
    return "".join(printable)
