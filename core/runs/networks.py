"""The networks of a run, loaded. Imports torch; ``core.runs.run`` reads a run without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.model.checkpoint import load_member

if TYPE_CHECKING:
    from core.model.network import Network
    from core.model.out_of_distribution import Familiarity
    from core.runs.run import Member, Run

__all__ = ["load_networks"]


def load_networks(run: Run) -> list[tuple[Member, Network, Familiarity]]:
    """Load every member, on the CPU and in evaluation mode.

    Raises:
        RunError: weights are absent, damaged or not those of ``run.json``.
    """
    n = len(run.task.classes)
    loaded = (load_member(run.path / m.weights, m.network, n_classes=n) for m in run.members)
    return [(member, *found) for member, found in zip(run.members, loaded, strict=True)]
