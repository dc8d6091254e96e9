"""The processes that fit one network together: which one this is, and what they agree on.

Each takes an equal share of every batch and of the validation images; torch's
DistributedDataParallel averages the gradients. Whatever decides how a training goes
on (stop, write, end early) is agreed upon here, for a process that goes on alone waits
for the others for ever. Without a process group there is one process, and every
function returns what it was given.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

import torch
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from torch import distributed, nn

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Joined",
    "from_first",
    "is_agreed",
    "joined",
    "mean",
    "rank",
    "same_buffers",
    "share_of",
    "size",
]

T = TypeVar("T")


def size() -> int:
    """How many processes fit together."""
    is_several = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if is_several else 1


def rank() -> int:
    """Which of them this is; 0 writes."""
    return distributed.get_rank() if size() > 1 else 0


def share_of(n: int) -> list[int] | None:
    """Numbers below ``n`` that this process takes, at least one; None for all of them.

    Together the processes take each number; one is taken twice where there are fewer than
    processes, so what comes of them is joined by number.
    """
    if size() == 1:
        return None
    return list(range(rank(), n, size())) or [rank() % n]


def is_agreed(wanted: bool) -> bool:
    """Whether any process wants it; all get the same answer."""
    if size() == 1:
        return wanted
    votes = torch.tensor(int(wanted))
    distributed.all_reduce(votes, op=distributed.ReduceOp.MAX)
    return bool(votes)


def mean(value: float) -> float:
    """The mean over the processes."""
    if size() == 1:
        return value
    total = torch.tensor(value, dtype=torch.float64)
    distributed.all_reduce(total)
    return float(total) / size()


def joined(parts: Mapping[int, T]) -> dict[int, T]:
    """What all processes have by number, in order."""
    every: list[Mapping[int, T]] = [parts]
    if size() > 1:
        every = [{} for _ in range(size())]
        distributed.all_gather_object(every, parts)
    return dict(sorted((number, value) for found in every for number, value in found.items()))


def from_first(value: T) -> T:
    """What the first process has."""
    if size() == 1:
        return value
    values = [value]
    distributed.broadcast_object_list(values, src=0)
    return values[0]


def same_buffers(network: nn.Module) -> None:
    """Give all processes the normalisation statistics of the first."""
    if size() > 1:
        for buffer in network.buffers():
            distributed.broadcast(buffer, src=0)


class Joined(ClusterEnvironment):
    """For Lightning: the processes run already, and know of each other."""

    @property
    def creates_processes_externally(self) -> bool:
        """Lightning starts none."""
        return True

    @property
    def main_address(self) -> str:
        """Not asked for: the process group is there."""
        return os.environ.get("MASTER_ADDR", "127.0.0.1")

    @property
    def main_port(self) -> int:
        """Not asked for: the process group is there."""
        return int(os.environ.get("MASTER_PORT", "0"))

    @staticmethod
    def detect() -> bool:
        """Only given by hand."""
        return False

    def world_size(self) -> int:
        """How many processes."""
        return size()

    def set_world_size(self, size: int) -> None:
        """The group knows."""

    def global_rank(self) -> int:
        """Which process."""
        return rank()

    def set_global_rank(self, rank: int) -> None:
        """The group knows."""

    def local_rank(self) -> int:
        """Which of those on this machine, which decides about its device."""
        return int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0")))

    def node_rank(self) -> int:
        """Which machine."""
        return int(os.environ.get("GROUP_RANK", os.environ.get("SLURM_NODEID", "0")))
