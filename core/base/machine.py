"""What the machine can do, and every setting that follows from it and from nothing else.

Device, precision, fused optimiser, memory format, loader processes, threads, cores,
memory and free disk are decided here and only here. A function that returns one of
several values names them all in its docstring, and the tests train with each of them
on whatever machine they run on.

Torch is imported where it is asked about, so that a reader process stays light. This
module knows no data, no network and no command.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import math
import os
import shutil
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

__all__ = [
    "Machine",
    "cache_home",
    "config_home",
    "cores",
    "detect",
    "free_disk",
    "freed_memory_kept",
    "fused",
    "loader_workers",
    "memory_format",
    "pick_device",
    "precision",
    "readers",
    "require_precision",
    "scoring_batch",
    "seldom_collected",
    "sleeping_threads",
    "threads",
    "total_memory",
]

CGROUP = Path("/sys/fs/cgroup")
LOADS = Path("/proc/loadavg")
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
# Most processes that load training images beside an accelerator; more only compete for the disk.
MOST_WORKERS = 8
# Inputs for which one more reader process pays for its start of about half a second.
FILES_PER_READER = 16
# What a thread at a barrier does before it sleeps: some microseconds of waiting, not the
# milliseconds that are the default of GNU OpenMP. Read once, when torch is loaded.
SLEEPING = {"GOMP_SPINCOUNT": "2000", "KMP_BLOCKTIME": "0"}
# New objects in containers after which Python looks for unreachable cycles among them; its own
# number is 700, or 2,000.
COLLECTED_FROM = 50_000
# glibc's names for mallopt, from malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_DEFAULT_TRIM, _DEFAULT_MMAP_MAX = 128 * 1024, 65_536


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a training runs on.

    Attributes:
        device: ``cpu``, ``cuda`` or ``mps``.
        has_bf16: whether the device multiplies bfloat16 fast.
        cores: processor cores that this process may use.
    """

    device: str
    has_bf16: bool
    cores: int

    @property
    def has_gpu(self) -> bool:
        """Whether training runs on an accelerator."""
        return self.device != "cpu"


def detect(device: str = "auto") -> Machine:
    """This machine, seen from Lightning's accelerator name.

    Raises:
        ConfigError: the accelerator is not here.
    """
    import torch  # noqa: PLC0415  (see the module)

    kind = pick_device(device).type
    if kind == "cuda":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    elif kind == "mps":
        has_bf16 = False
    else:
        # Emulated bfloat16 is slower than float32, so ask for the instruction itself.
        flags = torch.backends.cpu.get_cpu_capability()
        has_bf16 = "AVX512" in flags and torch.cpu._is_avx512_bf16_supported()
    return Machine(device=kind, has_bf16=bool(has_bf16), cores=cores())


def pick_device(name: str = "auto") -> torch.device:
    """The device for Lightning's accelerator name.

    Args:
        name: ``auto``, ``cpu``, ``gpu``, ``cuda`` or ``mps``.

    Raises:
        ConfigError: there is no such accelerator here, or no such name.
    """
    import torch  # noqa: PLC0415  (see the module)

    here = []
    if torch.cuda.is_available():
        here.append("cuda")
    if torch.backends.mps.is_available():
        here.append("mps")
    if name == "cpu":
        return torch.device("cpu")
    if name in {"auto", "gpu"}:
        if here or name == "auto":
            return torch.device(here[0] if here else "cpu")
    elif name in here:
        return torch.device(name)
    found = f"an accelerator ({', '.join(here)})" if here else "a processor and no accelerator"
    msg = (
        f"--device {name}: this machine has {found}. Pass --device auto, cpu"
        f"{''.join(f', {one}' for one in here)}; `resight doctor` says what torch finds."
    )
    raise ConfigError(msg)


def precision(machine: Machine) -> tuple[str, str]:
    """Lightning's precision, ``32-true``, ``bf16-mixed`` or ``16-mixed``, and the reason.

    ``RESIGHT_PRECISION``, where it is set, wins: every training that names no precision then
    runs as it would on another machine.

    Raises:
        ConfigError: the variable names no precision, or one that the device does not have.
    """
    forced = os.environ.get("RESIGHT_PRECISION")
    if forced:
        if forced not in PRECISIONS:
            msg = (
                f"RESIGHT_PRECISION is {forced!r}, which is no precision, so no training can be "
                f"planned. Set it to {', '.join(PRECISIONS)}, or unset it."
            )
            raise ConfigError(msg)
        require_precision(forced, machine.device, given="RESIGHT_PRECISION=")
        return forced, "RESIGHT_PRECISION"
    where = "an accelerator" if machine.has_gpu else "a processor"
    if machine.has_bf16:
        return "bf16-mixed", f"{where} with bfloat16"
    if machine.device == "cuda":
        return "16-mixed", "an accelerator without bfloat16"
    return "32-true", f"{where} without bfloat16 instructions"


def require_precision(precision: str | None, device: str, *, given: str = "--precision ") -> None:
    """Refuse float16 on a processor: Lightning would train in bfloat16 in its place.

    Raises:
        ConfigError: with those that a processor has.
    """
    if precision == "16-mixed" and device == "cpu":
        msg = (
            f"{given}{precision}: a processor does not train in float16. "
            "Choose 32-true or bf16-mixed."
        )
        raise ConfigError(msg)


def fused(device: str, precision: str | None) -> bool:
    """Whether the optimiser updates all weights in one kernel.

    A fused optimiser unscales by itself, so that gradients of ``16-mixed`` could not be
    clipped first; the other precisions have no scale.
    """
    return device in {"cpu", "cuda"} and precision != "16-mixed"


def memory_format(*, is_volume: bool = False) -> torch.memory_format:
    """Channels last, for weights as for pixels: what oneDNN and cuDNN convolve fastest.

    Weights in another order would be reordered in each call.

    Args:
        is_volume: for tensors of three directions, whose order has a name of its own.
    """
    import torch  # noqa: PLC0415  (see the module)

    return torch.channels_last_3d if is_volume else torch.channels_last


def loader_workers(machine: Machine) -> tuple[int, str]:
    """Processes that load training images: 0 to ``MOST_WORKERS``, and the reason."""
    if not machine.has_gpu:
        return 0, "a processor trains faster than loaders would help"
    if machine.cores == 1:
        return 0, "one core beside an accelerator"
    return min(MOST_WORKERS, machine.cores - 1), f"{machine.cores} cores beside an accelerator"


def readers(files: int | None = None) -> int:
    """Processes that decode files at the same time: one per core, fewer for few files.

    Args:
        files: how many there are; None if that is not known.
    """
    most = min(MOST_WORKERS, cores())
    return most if files is None else max(1, min(most, math.ceil(files / FILES_PER_READER)))


def scoring_batch(device: str) -> int:
    """Images that go through a network together: 8 on a processor, 32 on an accelerator.

    On a processor the feature maps of 8 photos still fit its caches: 22.9 ms a photo of
    224 x 224 with a ResNet-18 on one core, where batches of 32 take 24.8 and of 1 take 38.
    """
    return 8 if device == "cpu" else 32


def cores() -> int:
    """Processor cores this process may use: its affinity, within the quota of its cgroup."""
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    quota = _cgroup_quota(CGROUP)
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def threads() -> int:
    """Threads that compute together: the cores that nobody else is using, at least one.

    Threads meet at a barrier after each operation, and one whose partner waits for a core waits
    as well. So on a busy machine fewer are faster. ``OMP_NUM_THREADS``, where it is set, wins.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    mine = cores()
    idle = (os.cpu_count() or mine) - _busy_cores()
    return max(1, min(mine, math.floor(idle + 0.5)))


def _busy_cores() -> float:
    """Cores that others keep busy, both now and over the last minute; 0 where it is not known."""
    with suppress(OSError, ValueError, IndexError):
        words = LOADS.read_text(encoding="ascii").split()
        # This process is one of those that run now.
        return min(float(words[0]), int(words[3].split("/")[0]) - 1)
    with suppress(OSError, AttributeError):
        return os.getloadavg()[0]
    return 0.0


def _cgroup_quota(root: Path) -> float | None:
    """Cores that the control group grants (version 2, then 1); None without a limit."""
    with suppress(OSError, ValueError):
        quota, period = (root / "cpu.max").read_text(encoding="ascii").split()
        return None if quota == "max" else int(quota) / int(period)
    with suppress(OSError, ValueError):
        quota_us = int((root / "cpu" / "cpu.cfs_quota_us").read_text(encoding="ascii"))
        period_us = int((root / "cpu" / "cpu.cfs_period_us").read_text(encoding="ascii"))
        return quota_us / period_us if quota_us > 0 else None
    return None


def total_memory() -> int:
    """Bytes of memory this process may use: the machine's, within the limit of its cgroup."""
    if hasattr(os, "sysconf"):
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    else:
        import psutil  # noqa: PLC0415  (readers of POSIX do without)

        total = psutil.virtual_memory().total
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):
            total = min(total, int((CGROUP / name).read_text(encoding="ascii")))
    return total


def cache_home() -> Path:
    """Where prepared pixels are kept: ``RESIGHT_HOME``, or the user's cache folder."""
    return _home("XDG_CACHE_HOME", "LOCALAPPDATA", ".cache")


def config_home() -> Path:
    """Where the user's own settings are kept: not with the caches, which may be emptied."""
    return _home("XDG_CONFIG_HOME", "APPDATA", ".config")


def _home(variable: str, on_windows: str, name: str) -> Path:
    """``RESIGHT_HOME``, or a folder of resight's in one of the user's."""
    given = os.environ.get("RESIGHT_HOME")
    if given:
        return Path(given)
    base = os.environ.get(variable) or os.environ.get(on_windows)
    return (Path(base) if base else Path.home() / name) / "resight"


def free_disk(folder: Path) -> int:
    """Bytes that may still be written where a folder is, or will be."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def sleeping_threads() -> None:
    """Let threads sleep at a barrier, not spin; to be called before torch is loaded.

    Spinning threads hold the cores that their partners, or another training, wait for. What
    the user has set stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        for name, value in SLEEPING.items():
            os.environ.setdefault(name, value)


def seldom_collected() -> None:
    """Look for unreachable cycles seldom, and not at all where a program without torch ends.

    Loading libraries makes a million objects that stay; by default Python walks through them
    a thousand times meanwhile and thrice more at the end, a fifth of a short command. What is
    not in a cycle is freed at once all the same.
    """
    gc.set_threshold(COLLECTED_FROM)
    atexit.register(_freeze)


def _freeze() -> None:
    """Leave what lives to the system."""
    # Of what torch's compiler leaves to it, it writes a page to whoever looks (nanobind).
    if "torch" not in sys.modules:
        gc.freeze()


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Inside, freed memory stays with the process and is used again, where glibc allocates.

    Each training step allocates the same feature maps. By default glibc gives every
    block of some megabytes back to the kernel when it is freed, which then has to
    clear its pages when they are touched in the next step.
    """
    libc: Any = None
    if sys.platform == "linux":
        with suppress(OSError):
            libc = ctypes.CDLL(None)
    if not (hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim")):
        yield
        return
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        libc.mallopt(_MMAP_MAX, _DEFAULT_MMAP_MAX)
        libc.mallopt(_TRIM_THRESHOLD, _DEFAULT_TRIM)
        libc.malloc_trim(0)
