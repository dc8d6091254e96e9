"""Work on one input whose failure must cost that input's row and nothing else.

Everything that is computed input by input runs through here: reading, preparing,
measuring, drawing. Decoders and what stands on them raise nearly every type there is.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from core.errors import ResightError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["attempt", "is_of_disk", "one_line"]

T = TypeVar("T")


def attempt(work: Callable[[], T], *, own: Path | None = None) -> tuple[T | None, str]:
    """What the work gives, and no reason; or nothing, and the reason on one line.

    Stopping (Ctrl-C) is no failure and goes on upwards, as does what the disk of ``own``, the
    folder that is written, is at fault for.

    >>> attempt(lambda: 1 / 1), attempt(lambda: 1 / 0)
    ((1.0, ''), (None, 'ZeroDivisionError: division by zero'))
    """
    try:
        return work(), ""
    except Exception as error:
        if own is not None and is_of_disk(error, own):
            raise
        return None, one_line(error)


def is_of_disk(error: BaseException, folder: Path) -> bool:
    """Whether an error comes from the disk that a folder is on, as a read of our own file does.

    Such a fault is for the user to mend, after which the same work is whole; what one input
    is at fault for is not.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno:
            return Path(str(cause.filename or folder)).is_relative_to(folder)
        cause = cause.__cause__
    return False


def one_line(error: BaseException) -> str:
    """A reason that fits in a table cell."""
    text = " ".join(str(error).split())
    if not isinstance(error, ResightError):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text[:300] or type(error).__name__
