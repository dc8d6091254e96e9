"""Arrays of NumPy (.npy, .npz): whether one is a picture or a volume, and its pixels.

(H, W), (H, W, 1), (H, W, 3) and, of 8 bits, (H, W, 4) are pictures; what has three directions
otherwise is a volume of (slice, row, column), which ``volumes`` reads.
"""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from core.data.image_files import MAX_PIXELS
from core.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["ARRAY_SUFFIXES", "is_picture", "load", "read_array"]

ARRAY_SUFFIXES = (".npy", ".npz")


def is_picture(path: Path) -> bool:
    """Whether a file is an array with the shape of a picture, by its header; nothing is decoded."""
    if path.suffix.lower() not in ARRAY_SUFFIXES:
        return False
    shape, dtype = _header(path)
    if len(shape) == 3:
        return shape[2] in {1, 3} or (shape[2] == 4 and dtype == np.uint8)
    return len(shape) == 2


def read_array(path: Path) -> NDArray[Any]:
    """The picture of an array: (H, W, 1) or (H, W, 3), uint8 as stored.

    Of another type its own range becomes that of uint16, for nothing says what its values mean.

    Raises:
        ImageError: it cannot be decoded, is too large, or holds values that are no numbers.
    """
    try:
        return _as_picture(path, load(path))
    except ImageError:
        raise
    # numpy and zipfile raise nearly every type there is on a damaged file.
    except Exception as error:
        msg = f"{path.name}: cannot be read as an array ({type(error).__name__}: {error})."
        raise ImageError(msg) from error


def _as_picture(path: Path, values: NDArray[Any]) -> NDArray[Any]:
    """(H, W) or (H, W, C) -> (H, W, 1 or 3) of 8 or 16 bits."""
    if values.shape[0] * values.shape[1] > MAX_PIXELS:
        msg = f"{path.name}: has more than {MAX_PIXELS:,} pixels."
        raise ImageError(msg)
    # Opacity, a fourth channel, is no colour.
    values = values[..., None] if values.ndim == 2 else values[..., :3]
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    deep = np.asarray(values, dtype=np.float64)
    if not deep.size or not np.isfinite(deep).all():
        msg = f"{path.name}: holds values that are no numbers. Replace them, and save it again."
        raise ImageError(msg)
    low, high = float(deep.min()), float(deep.max())
    return np.round((deep - low) / max(high - low, 1e-9) * 65535).astype(np.uint16)


def load(path: Path) -> NDArray[Any]:
    """The array of a file, mapped where it can be.

    Raises:
        ImageError: it holds several, or none.
    """
    if path.suffix.lower() == ".npy":
        return np.asarray(np.load(path, allow_pickle=False, mmap_mode="r"))
    with np.load(path, allow_pickle=False) as arrays:
        names = list(arrays.files)
        if len(names) != 1:
            few = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
            msg = (
                f"{path.name}: holds {len(names)} arrays ({few}), and nothing says which is the "
                "image. Save it alone, as by numpy.savez_compressed(name, image=array); labels "
                "belong into folders or a table."
            )
            raise ImageError(msg)
        return np.asarray(arrays[names[0]])


def _header(path: Path) -> tuple[tuple[int, ...], Any]:
    """Shape and dtype of the one array of a file; an empty shape where they cannot be told."""
    try:
        if path.suffix.lower() == ".npy":
            array = np.load(path, allow_pickle=False, mmap_mode="r")
            return tuple(array.shape), array.dtype
        with zipfile.ZipFile(path) as packed:
            (name,) = packed.namelist()
            with packed.open(name) as stream:
                is_first = np.lib.format.read_magic(stream) == (1, 0)
                shape, _, dtype = (
                    np.lib.format.read_array_header_1_0(stream)
                    if is_first
                    else np.lib.format.read_array_header_2_0(stream)
                )
                return tuple(shape), dtype
    # Reading the pixels will say why.
    except Exception:
        return (), None
