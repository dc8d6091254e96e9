"""Processes that fine-tune a network together, on the devices of one machine or of several.

The first process does all there is to do in a training but for one thing: where it
fine-tunes, the others are handed the job and take their share of each batch. They write
nothing. On one machine they are started here; on several, SLURM or torchrun starts the
command once for each device, and all but the first wait until they are needed.

What a job is stands in ``core.training.fine_tuning``. Source: torch.distributed.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch import distributed

from core.base.machine import pick_device, threads
from core.errors import ConfigError, ResightError
from core.model.stopping import StoppedError

if TYPE_CHECKING:
    from types import TracebackType

    from core.base.settings import TrainConfig
    from core.model.fitting import Fitted
    from core.model.network import Network
    from core.training.fine_tuning import FineTuning

__all__ = ["Crew", "LostError", "serve"]

# The others wait while the first reads, prepares and scores images, which may take days.
_PATIENCE = timedelta(days=30)
# In which a step of the fitting must be done by all.
_STEP = timedelta(minutes=30)
# For the others to find the first, which listens before they are started here, or as soon as its
# own command has begun.
_FIND_S, _FIND_OUTSIDE_S = 30.0, 600.0
# For the others to end after the first has nothing more for them.
_END_S = 60.0
_HOST = "127.0.0.1"


class LostError(ResightError):
    """A process of the training has ended; the same command goes on."""

    exit_code = 1


@dataclass
class Crew:
    """The processes of one training, seen from one of them.

    Attributes:
        rank: which one this is; 0 is the first.
        size: how many there are.
        address, port: where the first listens, if others than this module started them;
            empty: on this machine, started here.
    """

    rank: int = 0
    size: int = 1
    address: str = ""
    port: int = 0
    _store: Any = None
    _jobs: int = 0
    _started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @staticmethod
    def of(config: TrainConfig) -> Crew:
        """This process, alone or as SLURM or torchrun started it."""
        if config.devices in {"auto", "1"} and config.num_nodes == 1:
            return Crew()
        for kind in (TorchElasticEnvironment, SLURMEnvironment):
            if kind.detect():
                found: Any = kind()
                # At the port itself torchrun listens.
                at = (found.main_address, found.main_port + 1)
                return Crew(found.global_rank(), found.world_size(), *at)
        if config.num_nodes > 1:
            msg = (
                f"--num-nodes {config.num_nodes}: nothing tells this process of the other "
                "machines. Start the command with srun or torchrun, once for each device; "
                "docs/clusters.md shows both."
            )
            raise ConfigError(msg)
        return Crew()

    def __enter__(self) -> Crew:
        """Listen, where others were started that would wait in vain."""
        if self.address:
            self._listen()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Tell the others that there is nothing more, and wait for them."""
        if distributed.is_available() and distributed.is_initialized():
            distributed.destroy_process_group()
        if self._store is not None and not self.rank:
            with suppress(RuntimeError):
                self._store.set(f"job-{self._jobs}", b"")
                # Those that were started here are waited for below.
                if self.address and (error is None or isinstance(error, StoppedError)):
                    self._store.set_timeout(timedelta(seconds=_END_S))
                    self._store.wait([f"left-{rank}" for rank in range(1, self.size)])
        for process in self._started:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=_END_S if error is None else 5.0)
            process.kill()
            process.wait()
        self._store = None

    def require(self, n_processes: int) -> None:
        """Take so many processes, one for each device.

        Raises:
            ConfigError: others were started, and not so many.
        """
        if self.address and self.size != n_processes:
            msg = (
                f"--devices, --num-nodes: ask for {n_processes} processes, and {self.size} were "
                "started. Make them agree with srun --ntasks, or torchrun --nproc-per-node."
            )
            raise ConfigError(msg)
        self.size = n_processes

    def fit(self, job: FineTuning, network: Network) -> Fitted:
        """Fine-tune, together with the others.

        Raises:
            LostError: one of them has ended.
        """
        if self.size == 1:
            return job.run(network)
        if self._store is None:
            self._listen()
        if not self.address and not self._started:
            self._started = [self._start(rank) for rank in range(1, self.size)]
        self._store.set(f"job-{self._jobs}", pickle.dumps(job))
        self._jobs += 1
        try:
            self._wait_for_others()
            _meet(self._store, self.rank, self.size, job)
            return job.run(network)
        # Of every kind: torch's backends have no error of their own for a peer that is gone.
        except RuntimeError as error:
            if not self._ended() and "onnection" not in str(error):
                raise
            raise LostError(self._loss()) from error

    def _wait_for_others(self) -> None:
        """Wait until those that were started here have done their imports.

        Raises:
            LostError: one of them ended; torch would wait for it for long.
        """
        ready = [f"ready-{rank}-{self._jobs}" for rank in range(1, len(self._started) + 1)]
        while ready and not self._store.check(ready):
            if self._ended():
                raise LostError(self._loss())
            time.sleep(0.1)

    def _ended(self) -> list[int]:
        """Exit codes of the processes that were started here and are no more."""
        return [code for one in self._started if (code := one.poll()) is not None]

    def _loss(self) -> str:
        """What to say of a process that is gone."""
        ended = self._ended()
        how = f" (exit code {ended[0]})" if ended else ""
        return (
            f"A process that trained along has ended{how}; what it said stands above. The run "
            "is kept: the same command goes on from the last resume point."
        )

    def has_served(self) -> bool:
        """Whether this is another process than the first, and has done its part."""
        if self.rank:
            self.serve()
        return bool(self.rank)

    def serve(self) -> None:
        """Take part in every fitting until the first process has no more.

        Raises:
            LostError: the first process has ended before.
        """
        for name in ("SIGINT", "SIGUSR1"):
            # Of a terminal or a queue, to all; the first process decides what it means.
            with suppress(AttributeError, ValueError):
                signal.signal(getattr(signal, name), signal.SIG_IGN)
        logging.getLogger("resight").setLevel(logging.WARNING)
        try:
            self._listen()
            while content := self._store.get(f"job-{self._jobs}"):
                # From the first process of this very training.
                job: FineTuning = pickle.loads(content)
                self._jobs += 1
                self._store.set(f"ready-{self.rank}-{self._jobs}", b"1")
                _meet(self._store, self.rank, self.size, job)
                with suppress(StoppedError):
                    job.run()
            self._store.set(f"left-{self.rank}", b"1")
        except RuntimeError as error:
            if "onnect" not in str(error):
                raise
            msg = "The first process of this training has ended; its output says why."
            raise LostError(msg) from error

    def _listen(self) -> None:
        """Open what the processes find each other by."""
        made: Any = distributed
        self._store = made.TCPStore(
            self.address or _HOST,
            self.port,
            self.size,
            is_master=not self.rank,
            wait_for_workers=False,
            timeout=timedelta(seconds=_FIND_S if self.address == _HOST else _FIND_OUTSIDE_S),
        )
        self._store.set_timeout(_PATIENCE)

    def _start(self, rank: int) -> subprocess.Popen[bytes]:
        """Another process, on this machine."""
        program = (
            f"import sys; sys.path[:] = {sys.path!r}; from core.training.crew import serve; "
            f"serve({rank}, {self.size}, {self._store.port})"
        )
        return subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "LOCAL_RANK": str(rank)},
        )


def serve(rank: int, size: int, port: int) -> None:
    """What a process does that ``Crew`` started."""
    try:
        Crew(rank, size, _HOST, port).serve()
    except LostError as error:
        sys.exit(error.exit_code)


def _meet(store: Any, rank: int, size: int, job: FineTuning) -> None:
    """Form the group whose members average their gradients."""
    if distributed.is_initialized():
        return
    per_node = max(1, size // job.training.config.num_nodes)
    torch.set_num_threads(max(1, threads() // per_node))
    distributed.init_process_group(
        # Pixels and gradients go between accelerators, decisions between processors.
        "cpu:gloo,cuda:nccl" if pick_device(job.training.config.device).type == "cuda" else "gloo",
        store=store,
        rank=rank,
        world_size=size,
        timeout=_STEP,
    )
