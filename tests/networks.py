"""A small network as ``run.json`` describes it."""

from __future__ import annotations

from typing import Any

__all__ = ["DESCRIPTION"]

DESCRIPTION: dict[str, Any] = {
    "backbone": "test_resnet",
    "channels": 3,
    "dtype": "uint8",
    "pool": "last_two",
    "link": "softmax",
    "mean": [0.5] * 3,
    "std": [0.2] * 3,
    "norms": "frozen",
    "frozen_stages": 0,
}
