"""Crop disease from photos of leaves and from the air: which disease, how severe, where."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.base.late import app_when_named

if TYPE_CHECKING:
    from apps.crop_disease.app import APP as APP

__all__ = ["APP"]

__getattr__ = app_when_named(__name__)
