"""Work on one input whose failure must cost that input's row and nothing else.

Everything that is computed input by input runs through here: reading, preparing,
measuring, drawing. Decoders and what stands on them raise nearly every type there is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from core.errors import ResightError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["attempt", "one_line"]

T = TypeVar("T")


def attempt(work: Callable[[], T]) -> tuple[T | None, str]:
    """What the work gives, and no reason; or nothing, and the reason on one line.

    Stopping (Ctrl-C) is no failure and goes on upwards.

    >>> attempt(lambda: 1 / 1), attempt(lambda: 1 / 0)
    ((1.0, ''), (None, 'ZeroDivisionError: division by zero'))
    """
    try:
        return work(), ""
    except Exception as error:
        return None, one_line(error)


def one_line(error: BaseException) -> str:
    """A reason that fits in a table cell."""
    text = " ".join(str(error).split())
    if not isinstance(error, ResightError):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text[:300] or type(error).__name__
