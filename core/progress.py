"""Progress on a terminal, silence in a log.

Bars go to standard error and only where it is a terminal; results go to
standard output or files, so a pipe never holds a bar.
"""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Advance", "log", "track"]

log = logging.getLogger("resight")


class Advance(Protocol):
    """Called with how many more are done, and words that replace the title."""

    def __call__(self, n: int, words: str = "", /) -> None:
        """Move on."""


@contextmanager
def track(title: str, total: int, *, unit: str = "images") -> Iterator[Advance]:
    """Show how far a loop is, and the time left; yields what to call when more is done.

    Args:
        title: what is being done.
        total: how many there are; nothing is shown for none.
        unit: of the count.
    """
    if total <= 0 or not sys.stderr.isatty() or log.level >= logging.ERROR:
        yield lambda _n, _words="": None
        return
    from rich.console import Console  # noqa: PLC0415  (only where there is a terminal)
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=total)

        def advance(n: int, words: str = "") -> None:
            progress.update(task, advance=n, description=words or None)

        yield advance
