"""What one image is, measured from its decoded pixels in one pass.

The audit needs these of every image: size, brightness, a hash of the exact
pixels, two perceptual hashes, a small map of fine detail, and the colours along
the border. Pixels are dropped at once and small pictures set aside in a file, so
memory grows by about a kilobyte per image. This module knows no labels.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from core.base.attempt import attempt
from core.base.regular_files import open_regular
from core.data.array_file import ArrayFile
from core.data.image_files import sniff
from core.data.reading import in_threads, read_in_subprocess
from core.data.resizing import resized
from core.data.scan import locate
from core.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from core.data.array_file import StoredArray

__all__ = ["DETAIL_PX", "GREY_PX", "TINY_PX", "Facts", "grey_of", "measure", "measure_all"]

# Side of the map of fine detail by which candidates for copies are compared.
DETAIL_PX = 64

# Times the full scale of its kind beyond which a value is no brightness; surfaces in
# degrees, metres or counts stay below.
LARGEST = 1e9

# Longer side of the grey picture by which mirrored, turned and cropped copies are found.
GREY_PX = 96

# Shorter side in pixels below which an image has no fine structure of its own.
TINY_PX = 40

# Rows of a manifest that are plain values at a time.
_ROWS = 1_000

# Rows and columns, of 8 x 8 patches that cover the image, of twelve on its border.
_RING = ([0, 0, 0, 0, 2, 2, 5, 5, 7, 7, 7, 7], [0, 2, 5, 7, 0, 7, 0, 7, 0, 2, 5, 7])


@dataclass(frozen=True, slots=True)
class Facts:
    """One image. Brightness, contrast, highest value and colour: shares of the dtype's range.

    Attributes:
        image_id: as in the manifest.
        reason: why it could not be read; then nothing else is filled.
        sha256: of shape, dtype and pixels.
        phash: 64 bits, see ``imagehash.phash``.
        dhash: 64 bits, see ``imagehash.dhash``.
        highest: the largest value of all.
        is_two_valued: whether it holds two values and no other, as masks do.
        detail: (64, 64) int8, fine structure with its local contrast taken out.
        grey: (H, W) uint8 from black to white, sides in proportion, the longer one 96; of an
            image with a side below ``TINY_PX`` its own pixels.
        colour: (6,) mean and standard deviation of red, green, blue.
        border: (48,) of 12 patches along the border: mean of red, green, blue,
            and standard deviation.
    """

    image_id: str
    reason: str = ""
    height: int = 0
    width: int = 0
    channels: int = 0
    dtype: str = ""
    bytes: int = 0
    format: str = ""
    sha256: str = ""
    brightness: float = 0.0
    contrast: float = 0.0
    highest: float = 0.0
    phash: int = 0
    dhash: int = 0
    is_two_valued: bool = False
    detail: NDArray[np.int8] | StoredArray | None = None
    grey: NDArray[np.uint8] | StoredArray | None = None
    colour: NDArray[np.float32] | None = None
    border: NDArray[np.float32] | None = None


def measure_all(
    table: pd.DataFrame,
    root: Path,
    *,
    read: Callable[[Mapping[str, Any]], NDArray[Any]],
    workers: int,
    done: Callable[[int], None],
) -> list[Facts]:
    """Facts of every row, in order; an image that cannot be read has a reason and no facts.

    Args:
        table: rows of a manifest that are ok.
        root: the manifest's root.
        read: the app's; gets each row with an absolute ``path``.
        workers: threads; decoders release the interpreter while they work.
        done: called with 1 after each image.
    """
    aside = ArrayFile()

    def one(row: dict[Any, Any]) -> Facts:
        name, path = str(row["image_id"]), locate(root, str(row["path"]))
        try:
            facts, reason = attempt(
                lambda: measure(name, path, read_in_subprocess(read, {**row, "path": str(path)}))
            )
        finally:
            done(1)
        if facts is None:
            return Facts(name, reason=reason)
        detail, grey = (aside.put(np.asarray(one)) for one in (facts.detail, facts.grey))
        return replace(facts, detail=detail, grey=grey)

    return in_threads(one, _rows(table), workers=workers)


def _rows(table: pd.DataFrame) -> Iterator[dict[Any, Any]]:
    """Each row as plain values, not all at once."""
    for start in range(0, len(table), _ROWS):
        yield from table.iloc[start : start + _ROWS].to_dict("records")


def measure(image_id: str, path: Path, pixels: NDArray[Any]) -> Facts:
    """Facts of decoded pixels (H, W, C) of a file.

    Raises:
        ImageError: the values are no brightness: not a number, or beyond any scale.
    """
    import cv2  # noqa: PLC0415  (0.1 s to import)
    import imagehash  # noqa: PLC0415  (imports scipy)
    from PIL import Image  # noqa: PLC0415

    solid = np.ascontiguousarray(pixels)
    digest = hashlib.sha256(f"{solid.shape} {solid.dtype}".encode())
    digest.update(solid.data)
    full = float(np.iinfo(solid.dtype).max) if solid.dtype.kind in "iu" else 1.0
    small = np.asarray(resized(solid, (DETAIL_PX, DETAIL_PX), cv2.INTER_AREA), dtype=np.float32)
    if not np.isfinite(small).all() or float(np.abs(small).max()) > LARGEST * full:
        msg = (
            f"holds values from {float(solid.min()):.3g} to {float(solid.max()):.3g}, which are no "
            "brightness; perhaps a mark for missing pixels that the file does not declare"
        )
        raise ImageError(msg)
    grey: NDArray[np.float32] = small.mean(axis=2)
    low, high = float(grey.min()), float(grey.max())
    shown = Image.fromarray(((grey - low) / max(high - low, 1e-6) * 255).astype(np.uint8))
    three = np.repeat(small, 3, axis=2) if small.shape[2] == 1 else small[:, :, :3]
    colour = np.asarray(three / full, dtype=np.float32)
    with open_regular(path) as stream:
        kind = sniff(stream.read(256))
    return Facts(
        image_id=image_id,
        height=solid.shape[0],
        width=solid.shape[1],
        channels=solid.shape[2],
        dtype=str(solid.dtype),
        bytes=path.stat().st_size,
        format=kind or path.suffix.lower().lstrip(".").upper(),
        sha256=digest.hexdigest(),
        brightness=round(float(grey.mean()) / full, 4),
        contrast=round(float(grey.std()) / full, 4),
        highest=round(float(solid.max()) / full, 6),
        phash=_pack(imagehash.phash(shown)),
        dhash=_pack(imagehash.dhash(shown)),
        is_two_valued=_is_two_valued(solid),
        detail=_detail(np.asarray(shown, dtype=np.float32)),
        grey=grey_of(solid),
        colour=np.concatenate([colour.mean(axis=(0, 1)), colour.std(axis=(0, 1))]),
        border=_border(colour),
    )


def _is_two_valued(pixels: NDArray[Any]) -> bool:
    """Whether pixels (H, W, C) hold the lowest and the highest value and no other."""
    # Most photos show a third value within a row or two.
    for part in (pixels[: 1 + len(pixels) // 16], pixels):
        low, high = part.min(), part.max()
        if not ((part == low) | (part == high)).all():
            return False
    return bool(low != high)


def _detail(grey: NDArray[np.float32]) -> NDArray[np.int8]:
    """Fine structure of (64, 64) grey in 0 to 255: shading and local contrast divided out.

    Photos of one kind share their layout; what tells a copy from a look-alike
    is whether the fine structure agrees.
    """
    import cv2  # noqa: PLC0415

    fine = grey - cv2.GaussianBlur(grey, (0, 0), 1.0)
    local = np.sqrt(cv2.GaussianBlur(fine * fine, (0, 0), 2.0))
    # Two grey levels: below that structure is noise, and must not be blown up.
    return np.asarray(np.clip(fine / (local + 2.0) * 32, -127, 127), dtype=np.int8)


def grey_of(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Pixels (H, W, C) in grey, stretched to 8 bits, sides in proportion; see ``Facts.grey``."""
    import cv2  # noqa: PLC0415

    height, width = pixels.shape[:2]
    by = 1.0 if min(height, width) < TINY_PX else GREY_PX / max(height, width)
    size = (max(8, round(height * by)), max(8, round(width * by)))
    how = cv2.INTER_AREA if by < 1 else cv2.INTER_LINEAR
    small = resized(pixels, size, how) if by != 1 else pixels
    grey = np.asarray(small, dtype=np.float32).reshape(*small.shape[:2], -1).mean(axis=2)
    low, high = float(grey.min()), float(grey.max())
    return np.asarray((grey - low) / max(high - low, 1e-6) * 255).astype(np.uint8)


def _border(colour: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of each channel, and standard deviation, of twelve patches around the border."""
    side = DETAIL_PX // 8
    blocks = colour.reshape(8, side, 8, side, 3).swapaxes(1, 2)[_RING]
    means, spread = blocks.mean(axis=(1, 2)), blocks.std(axis=(1, 2, 3))
    return np.concatenate([means, spread[:, None]], axis=1).ravel()


def _pack(hashed: Any) -> int:
    """The 64 bits of a perceptual hash as a number."""
    return int.from_bytes(np.packbits(hashed.hash.ravel()).tobytes(), "big")
