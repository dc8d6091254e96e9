"""The errors a user can act on.

A ``ResightError`` means that the input or the command must change: the command
line prints it without a traceback and exits with its ``exit_code``. Anything
else is a fault of ours and keeps its traceback. Each message has four parts:
where, what, why it matters, what to do.
"""

from __future__ import annotations

__all__ = [
    "AppError",
    "CardError",
    "ConfigError",
    "ImageError",
    "LeakageError",
    "LockedError",
    "ManifestError",
    "MetricError",
    "OutputError",
    "ResightError",
    "RunError",
    "WeightsError",
]


class ResightError(Exception):
    """The input or the command must change before the work can go on."""

    exit_code = 2


class AppError(ResightError, LookupError):
    """No installed app has this name, or the app breaks its contract."""


class CardError(ResightError, ValueError):
    """A data card is unknown, malformed, or does not fit the data."""


class ConfigError(ResightError, ValueError):
    """A setting is unknown, out of range, or does not fit the data."""


class ManifestError(ResightError, ValueError):
    """The table of images is missing something the next step needs."""


class LeakageError(ManifestError):
    """A group stands in more than one split."""


class ImageError(ResightError, ValueError):
    """One image cannot be read as it should; in a batch it becomes a row with a reason."""


class MetricError(ResightError, ValueError):
    """A number cannot be computed from these cases; the message is the reason shown."""


class RunError(ResightError, ValueError):
    """The run directory is absent, incomplete, changed, or made for something else."""


class WeightsError(ResightError, ValueError):
    """Pretrained weights are absent or do not fit the network."""


class OutputError(ResightError, OSError):
    """The output cannot be written: no permission, no space, or something is in the way."""


class LockedError(OutputError):
    """Another process holds the output."""

    exit_code = 4
