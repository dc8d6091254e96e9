"""Diabetic retinopathy: from fundus photographs to grades, and from grades to referrals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.base.late import app_when_named

if TYPE_CHECKING:
    from apps.retinopathy.app import APP as APP

__all__ = ["APP"]

__getattr__ = app_when_named(__name__)
