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

__all__ = ["Advance", "amount", "log", "track"]

log = logging.getLogger("resight")


def amount(value: float) -> str:
    """A quantity for a reader: whole where it is a count or large.

    >>> amount(20000), amount(12.3456), amount(0.04217)
    ('20,000', '12.3', '0.0422')
    """
    is_whole = float(value).is_integer() or value >= 100
    return f"{value:,.0f}" if is_whole else f"{value:.3g}"


class Advance(Protocol):
    """Called with how much more is done, and words that replace the title."""

    def __call__(self, n: float, words: str = "", /) -> None:
        """Move on."""


@contextmanager
def track(title: str, total: float, *, unit: str = "images") -> Iterator[Advance]:
    """Show how far a loop is, how fast, and the time left; yields what to call when more is done.

    Args:
        title: what is being done.
        total: how much there is; nothing is shown for none.
        unit: of the count.
    """
    if total <= 0 or not sys.stderr.isatty() or log.level >= logging.ERROR:
        yield lambda _n, _words="": None
        return
    from rich.console import Console  # noqa: PLC0415  (only where there is a terminal)
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )

    class Speed(ProgressColumn):
        """How much is done, of how much, and how much in a minute."""

        def render(self, task: Task) -> str:
            """The words for this moment."""
            rate = "" if task.speed is None else f", {amount(60 * task.speed)} a minute"
            return f"{amount(task.completed)} of {amount(task.total or 0)} {unit}{rate}"

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        Speed(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=total)

        def advance(n: float, words: str = "") -> None:
            progress.update(task, advance=n, description=words or None)

        yield advance
