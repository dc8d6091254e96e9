"""Arrays that are set aside in a temporary file until somebody asks for them again.

What is kept of every image of a large folder would fill the memory; most of it is looked at
once, block by block, or for a few images alone.
"""

from __future__ import annotations

import tempfile
import weakref
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ArrayFile", "StoredArray"]


class ArrayFile:
    """A file that grows by one array at a time; it is gone with the last of them."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        self._lock = Lock()
        self._end = 0

    def put(self, array: NDArray[Any]) -> StoredArray:
        """Write an array; threads may do so at once.

        Raises:
            OSError: the disk is full.
        """
        content = np.ascontiguousarray(array)
        with self._lock:
            at, self._end = self._end, self._end + content.nbytes
            self._file.seek(at)
            self._file.write(content.data)
        return StoredArray(self, at, array.shape, array.dtype)

    def read(self, at: int, n: int) -> bytes:
        """So many bytes from a place."""
        with self._lock:
            self._file.seek(at)
            return self._file.read(n)


@dataclass(frozen=True, slots=True)
class StoredArray:
    """Where an array lies; ``numpy.asarray`` reads it."""

    file: ArrayFile
    at: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """The array, as numpy asks for it."""
        n = int(np.prod(self.shape)) * self.dtype.itemsize
        found = np.frombuffer(self.file.read(self.at, n), self.dtype).reshape(self.shape)
        return found if dtype is None else found.astype(dtype)
