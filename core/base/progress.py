"""Progress: a bar on a terminal, a line a minute in a log or a notebook.

Both go to standard error; results go to standard output or files, so a pipe never
holds either.
"""

from __future__ import annotations

import logging
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Advance", "amount", "log", "track"]

log = logging.getLogger("resight")

# Seconds between two lines of a log.
EVERY_S = 60.0


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
    if total <= 0 or log.level > logging.INFO:
        yield lambda _n, _words="": None
        return
    if not sys.stderr.isatty():
        yield _line_a_minute(title, total, unit)
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


def _line_a_minute(title: str, total: float, unit: str) -> Advance:
    """What to call when more is done: tells in a line how far the loop is, once a minute."""
    start = last = time.monotonic()
    done = 0.0

    def advance(n: float, words: str = "") -> None:
        nonlocal done, last
        done += n
        now = time.monotonic()
        if now - last < EVERY_S or not done:
            return
        last = now
        left = (now - start) / done * (total - done) / 60
        log.info(
            "%s: %s of %s %s, %s min left",
            words or title,
            amount(done),
            amount(total),
            unit,
            amount(max(left, 0.0)),
        )

    return advance
