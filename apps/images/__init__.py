"""Any labelled folder of images: no domain knowledge, everything by looking at the data.

The app is stated in ``app`` and imported when it is asked for: a process that reads
images for it needs neither its metrics nor its reports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apps.images.app import APP as APP

__all__ = ["APP"]


def __getattr__(name: str) -> Any:
    """``APP``, on demand."""
    if name != "APP":
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    from apps.images.app import APP  # noqa: PLC0415  (see the module)

    return APP
