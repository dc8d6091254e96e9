"""A chain of preparation steps: each takes a dictionary and gives one.

Any dictionary transform of MONAI is such a step, and so is a small callable of
one's own. The chain itself is no more than a loop, so that reading pixels does
not wait for MONAI to be imported where only own steps are used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Step", "Steps"]

Step = Callable[[Any], Any]


@dataclass(frozen=True)
class Steps:
    """Steps, one after the other.

    >>> Steps((lambda d: {**d, "a": 1}, lambda d: {**d, "b": d["a"] + 1}))({})
    {'a': 1, 'b': 2}
    """

    steps: tuple[Step, ...]

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Pass the dictionary through all steps."""
        for step in self.steps:
            data = step(data)
        return data
