"""How a training is stopped from outside, so that it can go on later to the same weights.

Ctrl-C, or the SIGTERM or SIGUSR1 of a queue, asks: the training ends at the next step at
which a resume point is exact. Asked a second time it ends at once and goes
on from the resume point before.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any

from core.errors import ResightError

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["StopSign", "StoppedError"]

# SIGUSR1 is what SLURM sends before the time of a job is over; Windows has none.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, *filter(None, [getattr(signal, "SIGUSR1", None)]))
_ASKED = b"\nStopping after this step. Press Ctrl-C again to stop at once.\n"


class StoppedError(ResightError):
    """The user stopped the training; the same command goes on."""

    exit_code = 130

    def __init__(self, step: int) -> None:
        super().__init__(
            f"Stopped, the run is kept. The same command goes on from step {step}."
            if step
            else "Stopped before the first resume point. The same command starts this part again."
        )


class StopSign:
    """Tells whether somebody asked for an end, while it is entered.

    Attributes:
        asked: whether Ctrl-C was pressed, or SIGTERM or SIGUSR1 came.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSign:
        """Take over the signals; only the main thread can."""
        self.take()
        return self

    def __exit__(self, *_: object) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def take(self) -> None:
        """Take over the signals, also from who took them since."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _SIGNALS:
            if signal.getsignal(number) is signal.SIG_IGN:
                continue  # of a job in the background, which Ctrl-C is not meant for
            self._before.setdefault(number, signal.getsignal(number))
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        """First politely; a second time for good."""
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        # Not through a stream: the step that is interrupted may be writing to it.
        os.write(2, _ASKED)
