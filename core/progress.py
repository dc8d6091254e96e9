"""Progress on a terminal, silence in a log.

Bars go to standard error and only where it is a terminal; results go to
standard output or files, so a pipe never holds a bar.
"""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["log", "track"]

log = logging.getLogger("resight")


@contextmanager
def track(title: str, total: int, *, unit: str = "images") -> Iterator[Callable[[int], None]]:
    """Show how far a loop is; yields a function that takes how many more are done.

    Args:
        title: what is being done.
        total: how many there are; nothing is shown for none.
        unit: of the count.
    """
    if total <= 0 or not sys.stderr.isatty() or log.level >= logging.ERROR:
        yield lambda _: None
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
        yield lambda n: progress.advance(task, n)
