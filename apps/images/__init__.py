"""Any labelled folder of images: no domain knowledge, everything by looking at the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.base.late import app_when_named

if TYPE_CHECKING:
    from apps.images.app import APP as APP

__all__ = ["APP"]

__getattr__ = app_when_named(__name__)
