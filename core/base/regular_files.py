"""Opening a file that a stranger named: a pipe or a device is refused and never waited for."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import io
    from pathlib import Path

__all__ = ["open_regular", "read_regular"]


def open_regular(path: Path) -> io.BufferedReader:
    """A regular file, open for reading.

    Raises:
        OSError: it cannot be opened, or is a folder, pipe, socket or device.
    """
    # Without O_NONBLOCK opening a pipe waits until somebody writes to it.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags | getattr(os, "O_CLOEXEC", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
    return os.fdopen(handle, "rb")


def read_regular(path: Path) -> bytes:
    """The bytes of a regular file.

    Raises:
        OSError: see ``open_regular``.
    """
    with open_regular(path) as stream:
        return stream.read()
