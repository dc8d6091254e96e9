"""Opening an image file: what kind it is, and whether it may be decoded at all.

Everything that can be refused is refused here, before memory is taken for
pixels: pipes and devices, other kinds of file, sizes beyond the limit, broken
checksums, animations, several pages, bands that are no colours. A file is
recognised by its content, never by its name. Pixels are ``core.data.images``'
business.
"""

from __future__ import annotations

import errno
import io
import os
import re
import stat
import struct
import threading
import time
import warnings
import zlib
from typing import TYPE_CHECKING

import numpy as np
from PIL import ImageFile, TiffTags
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = [
    "EXTENSIONS",
    "MAX_BYTES",
    "MAX_PIXELS",
    "NOT_READ",
    "RAW_SUFFIXES",
    "RefusalError",
    "open_image",
    "read_file",
    "sniff",
]

# Names under which photographs are found in folders. GIF and HEIC are among
# them so that such a file is refused with its reason and not passed over.
EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".webp"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".gif", ".heic", ".heif", ".avif"}
    | {".jxl", ".jp2", ".j2k", ".jpx"}
)
# Pictures and films that are not read, by name: passed over as what they are, with the way out.
NOT_READ = {
    **dict.fromkeys((".psd", ".psb", ".xcf", ".kra"), "a layered picture; export it as PNG"),
    **dict.fromkeys((".svg", ".svgz", ".eps", ".ai", ".emf"), "a drawing; export it as PNG"),
    **dict.fromkeys((".tga", ".pcx", ".ico", ".sgi", ".dds", ".bpg"), "a picture to save as PNG"),
    **dict.fromkeys(
        (".exr", ".hdr", ".fits", ".fit"), "a picture of floats to save as 16-bit TIFF"
    ),
    **dict.fromkeys((".svs", ".ndpi", ".mrxs", ".scn", ".vsi"), "a slide; export its tiles as PNG"),
    **dict.fromkeys((".czi", ".lif", ".nd2", ".oib", ".oif", ".lsm"), "microscopy; save as TIFF"),
    **dict.fromkeys((".mp4", ".mov", ".avi", ".mkv", ".m4v", ".mpg"), "a film; save its frames"),
    **dict.fromkeys((".nrrd", ".mha", ".mhd", ".hdf5", ".h5"), "a volume; save its slices as PNG"),
    ".icloud": "the place of a photo that lies in iCloud; download it",
}
# Names of raw files of cameras; most are TIFF inside, whose first page is a small preview.
RAW_SUFFIXES = frozenset(
    {".dng", ".nef", ".nrw", ".cr2", ".cr3", ".crw", ".arw", ".sr2", ".srf", ".pef", ".orf"}
    | {".rw2", ".raf", ".rwl", ".iiq", ".3fr", ".fff", ".mrw", ".x3f", ".srw", ".erf", ".kdc"}
    | {".dcr", ".mos", ".gpr"}
)

# Pixels; a full-frame scan of 14,000 x 14,000 still passes. 600 MB as 8-bit RGB.
MAX_PIXELS = 200_000_000

# Bytes of a file that is read at all: an uncompressed 16-bit RGB image of MAX_PIXELS.
MAX_BYTES = 6 * MAX_PIXELS + 1_000_000

# Errors of network file systems that often pass when the read is repeated.
_PASSING = {errno.EIO, errno.EINTR, errno.EAGAIN, getattr(errno, "ESTALE", errno.EIO)}

_TIFF_PAGES_LOOKED_AT = 64

# Pillow parses TIFF tags with warnings.warn; what it says of odd tags is of no
# use here. catch_warnings changes a global for a moment, so one thread at a time.
_QUIET = threading.Lock()


class RefusalError(Exception):
    """A reason of our own not to read a file, in words that follow its name."""


class _Jpeg(JpegImageFile):
    """A JPEG whose resolution is not looked up in EXIF, which parses and warns."""

    def _read_dpi_from_exif(self) -> None:
        return


_DECODERS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": _Jpeg,
    "PNG": PngImageFile,
    "TIFF": TiffImageFile,
    "BMP": BmpImageFile,
    "WEBP": WebPImageFile,
    "PPM": PpmImageFile,
}

_KINDS: dict[str, Callable[[bytes], bool]] = {
    "JPEG": lambda head: head.startswith(b"\xff\xd8\xff"),
    "PNG": lambda head: head.startswith(b"\x89PNG\r\n\x1a\n"),
    "TIFF": lambda head: head[:4] in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"},
    "WEBP": lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP",
    "BMP": lambda head: head[:2] == b"BM" and head[15:18] == b"\0\0\0",
    "PPM": lambda head: re.match(rb"P[1-6f]\s", head) is not None,
    "GIF": lambda head: head[:6] in {b"GIF87a", b"GIF89a"},
    "HEIC": lambda head: head[4:8] == b"ftyp" and head[8:11] in {b"hei", b"mif", b"msf", b"hev"},
    "AVIF": lambda head: head[4:8] == b"ftyp" and head[8:11] == b"avi",
    "JPEG XL": lambda head: head[:2] == b"\xff\x0a" or head[:12] == b"\0\0\0\x0cJXL \r\n\x87\n",
    "JPEG 2000": lambda head: (
        head[:12] == b"\0\0\0\x0cjP  \r\n\x87\n" or head[:4] == b"\xff\x4f\xff\x51"
    ),
    "camera raw": lambda head: (
        head[:4] in {b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FOVb", b"\0MRM"}
        or head[:15] == b"FUJIFILMCCD-RAW"
        or head[4:11] == b"ftypcrx"
        or (head[:4] == b"II*\0" and head[8:10] == b"CR")
        or head[6:14] == b"HEAPCCDR"
    ),
    "DICOM": lambda head: head[128:132] == b"DICM",
    "PDF": lambda head: head.startswith(b"%PDF"),
}

_CAMERA_RAW = (
    "a camera's raw file, of which only a preview could be read; export it as JPEG or TIFF with "
    "the camera's program, darktable or RawTherapee"
)
_REFUSED = {
    "camera raw": _CAMERA_RAW,
    "JPEG XL": "a JPEG XL image; convert it to JPEG or PNG",
    "JPEG 2000": "a JPEG 2000 image; convert it to PNG or TIFF",
    "GIF": "a GIF, which keeps at most 256 colours and may be an animation; convert it to PNG",
    "DICOM": "a DICOM file, which is not read as a photograph; use an app that reads DICOM",
    "PDF": "a PDF; export its pictures as PNG",
}


def sniff(head: bytes) -> str:
    """The kind of file that begins with these bytes; empty if it is none that is known.

    >>> sniff(bytes([0xFF, 0xD8, 0xFF, 0xE0]))
    'JPEG'
    """
    # A CR2 is a TIFF as well.
    if _KINDS["camera raw"](head):
        return "camera raw"
    return next((name for name, is_it in _KINDS.items() if is_it(head)), "")


def read_file(path: Path) -> bytes:
    """All bytes of a regular file. Never waits on a pipe and never reads a device."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    for attempt in range(3):
        try:
            handle = os.open(path, flags | getattr(os, "O_CLOEXEC", 0))
            with os.fdopen(handle, "rb") as stream:
                status = os.fstat(stream.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise RefusalError(_NOT_REGULAR)
                if status.st_size == 0:
                    msg = "it is empty (0 bytes); copy it again from its source"
                    raise RefusalError(msg)
                if status.st_size > MAX_BYTES:
                    msg = (
                        f"it has {status.st_size / 1e9:.1f} GB, and more than "
                        f"{MAX_BYTES / 1e9:.1f} GB is not read as one image; cut it into tiles"
                    )
                    raise RefusalError(msg)
                return stream.read(MAX_BYTES)
        except IsADirectoryError:
            raise RefusalError(_NOT_REGULAR) from None
        except OSError as error:
            if error.errno in _PASSING and attempt < 2:
                time.sleep(0.05 * (attempt + 1))
                continue
            words = (error.strerror or str(error)).lower()
            msg = f"it cannot be opened ({words}); check the path and its permissions"
            raise RefusalError(msg) from None
    raise AssertionError


_NOT_REGULAR = "it is not a regular file but a folder, pipe or device; give a file"


def open_image(data: bytes, max_pixels: int) -> ImageFile.ImageFile:
    """The image with its header read and every limit checked, its pixels not yet decoded."""
    kind = sniff(data[:256])
    if kind in _REFUSED:
        msg = f"it is {_REFUSED[kind]}"
        raise RefusalError(msg)
    if kind in {"HEIC", "AVIF"}:
        image = _open_heif(kind, data)
        _check_size(*image.size, max_pixels)
        return image
    if kind not in _DECODERS:
        begin = data[:64].lstrip().lower()
        if begin.startswith(b"version https://git-lfs"):
            msg = "it is a pointer of Git LFS; fetch the file itself by git lfs pull"
            raise RefusalError(msg)
        text = b"\0" not in data[:256] and all(9 <= byte < 127 for byte in data[:64])
        page = begin.startswith((b"<!doctype html", b"<html"))
        what = "it is a text file" if text else "its content is no image"
        what = "it is a web page, such as an error that was saved in its place" if page else what
        known = "JPEG, PNG, TIFF, BMP, WEBP, HEIC, AVIF and PPM are read"
        msg = f"{what}, whatever its name says ({known})"
        raise RefusalError(msg)
    if kind == "PNG":
        _check_png(data)
    elif kind == "WEBP":
        _check_webp(data, max_pixels)
    if kind == "TIFF":
        return _open_tiff(data, max_pixels)
    # The classes, not Image.open: its limits are globals and it warns.
    image = _DECODERS[kind](io.BytesIO(data))
    _check_size(*image.size, max_pixels)
    return image


def _open_heif(kind: str, data: bytes) -> ImageFile.ImageFile:
    """A HEIC or AVIF photograph, turned as its own boxes say; of a HEIC its primary picture."""
    what = "a HEIC photograph" if kind == "HEIC" else "an AVIF photograph"
    try:
        if kind == "HEIC":
            from pi_heif import HeifImageFile as Decoder  # noqa: PLC0415  (an extra)
        else:
            # Only where one is met: its decoder takes 0.1 s to load.
            from PIL.AvifImagePlugin import AvifImageFile as Decoder  # noqa: PLC0415
    except ImportError:
        msg = (
            f"it is {what}, and its decoder is not installed: pip install "
            "'resight[heic]', or convert it to JPEG or PNG"
        )
        raise RefusalError(msg) from None
    try:
        image: ImageFile.ImageFile = Decoder(io.BytesIO(data))
    except Exception as error:
        # libheif and libavif raise types of their own on damaged files.
        msg = f"it is {what} that is damaged; copy it again from its source"
        raise RefusalError(msg) from error
    if kind == "AVIF" and getattr(image, "n_frames", 1) > 1:
        msg = "it is an animated AVIF, and nothing says which picture is meant; save one as PNG"
        raise RefusalError(msg)
    return image


def _check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse an image without area, or with more pixels than allowed."""
    if width < 1 or height < 1:
        msg = f"its header says {width} x {height} pixels"
        raise RefusalError(msg)
    if width * height > max_pixels:
        msg = (
            f"its header says {width:,} x {height:,} pixels, and more than {max_pixels:,} in all "
            "are not read as one image; cut it into tiles or make it smaller"
        )
        raise RefusalError(msg)


def _check_png(data: bytes) -> None:
    """Refuse a PNG with a broken checksum, without an end, or with several frames.

    Pillow skips the checksums of pixel chunks and takes a file without an end.
    """
    place = 8
    while place < len(data):
        if len(data) < place + 12:
            break
        size, name = struct.unpack_from(">I4s", data, place)
        if place + 12 + size > len(data):
            break
        if name == b"acTL":
            msg = "it is an animated PNG, and nothing says which picture is meant; save one as PNG"
            raise RefusalError(msg)
        (expected,) = struct.unpack_from(">I", data, place + 8 + size)
        if zlib.crc32(memoryview(data)[place + 4 : place + 8 + size]) != expected:
            msg = "it is damaged (a checksum is wrong); copy it again from its source"
            raise RefusalError(msg)
        if name == b"IEND":
            return
        place += 12 + size
    msg = "it is cut short (the PNG has no end); copy it again from its source"
    raise RefusalError(msg)


def _check_webp(data: bytes, max_pixels: int) -> None:
    """Refuse a WEBP that is cut short, animated or too large: its decoder takes memory at once."""
    if len(data) < 30 or struct.unpack_from("<I", data, 4)[0] + 8 > len(data):
        msg = "it is cut short; copy it again from its source"
        raise RefusalError(msg)
    chunk = data[12:16]
    if chunk == b"VP8X":
        if data[20] & 2:
            msg = "it is an animated WEBP, and nothing says which picture is meant; save one as PNG"
            raise RefusalError(msg)
        width, height = (int.from_bytes(data[i : i + 3], "little") + 1 for i in (24, 27))
    elif chunk == b"VP8L":
        packed = int.from_bytes(data[21:25], "little")
        width, height = (packed & 0x3FFF) + 1, ((packed >> 14) & 0x3FFF) + 1
    else:
        width, height = (int.from_bytes(data[i : i + 2], "little") & 0x3FFF for i in (26, 28))
    _check_size(width, height, max_pixels)


def _open_tiff(data: bytes, max_pixels: int) -> TiffImageFile:
    """The one page of a TIFF, with all that Pillow would parse later parsed now, quietly."""
    with _QUIET, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = TiffImageFile(io.BytesIO(data))
        if _is_camera_raw(image, data):
            msg = f"it is {_CAMERA_RAW}"
            raise RefusalError(msg)
        _check_size(*image.size, max_pixels)
        for page in range(1, _TIFF_PAGES_LOOKED_AT):
            try:
                image.seek(page)
            except EOFError:
                break
            # NewSubfileType: 1 a reduced copy of another page, 4 a mask for it.
            if not int(image.tag_v2.get(254, 0)) & 5:
                msg = (
                    "it is a TIFF of several pages, and nothing says which is meant; "
                    "save each as a file of its own"
                )
                raise RefusalError(msg)
        image.seek(0)
        exif = image.getexif()
        for group in TiffTags.TAGS_V2_GROUPS:
            if group in exif:
                exif.get_ifd(group)
    tags = image.tag_v2
    bands = int(tags.get(277, 1))
    extra = tuple(np.atleast_1d(tags.get(338, ())).astype(int))
    colours = {2: 3, 5: 4, 6: 3, 8: 3}.get(int(tags.get(262, 1)), 1)
    # ExtraSamples 1 and 2 are alpha; any other further band is a measurement.
    if bands > colours and not (bands == colours + 1 and extra in {(1,), (2,)}):
        msg = (
            f"it has {bands} bands, and {colours} were expected (one more only if it is declared "
            "as alpha); export the bands that show the picture"
        )
        raise RefusalError(msg)
    tile = int(tags.get(322, 1)) * int(tags.get(323, 1))
    if tile > max_pixels:
        msg = f"its tiles have {tile:,} pixels each, more than {max_pixels:,}"
        raise RefusalError(msg)
    return image


def _is_camera_raw(image: TiffImageFile, data: bytes) -> bool:
    """Whether a TIFF is a camera's raw file: a DNG, or one whose sensor values lie in a SubIFD.

    Its first page is then a preview. 50706 is DNGVersion; the photometric interpretations
    32803 (colour filter array) and 34892 (linear raw) are those of sensor values.
    """
    tags = image.tag_v2
    sensor = {32803, 34892}
    if 50706 in tags or int(tags.get(262, 0)) in sensor:
        return True
    offsets = [int(v) for v in np.atleast_1d(tags.get(330, ()))][:8]
    order = "<" if data[:2] == b"II" else ">"
    for place in offsets:
        if place + 2 > len(data):
            continue
        (n,) = struct.unpack_from(order + "H", data, place)
        for k in range(min(n, 512)):
            if place + 14 + 12 * k > len(data):
                break
            tag, _, _, value = struct.unpack_from(order + "HHIH", data, place + 2 + 12 * k)
            if tag == 262 and value in sensor:
                return True
    # A preview without readable sensor values: the maker's own compression.
    return bool(offsets) and int(tags.get(254, 0)) & 1 == 1
