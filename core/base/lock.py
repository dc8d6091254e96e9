"""A lock file that names the process which owns an output, so that two never write it at once.

Not ``flock``, which network file systems do not keep. The file appears whole, so
that a lock without an owner can only come from an older version or a torn disk.
"""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import LockedError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LOCK_NAME", "locked"]

LOCK_NAME = ".lock"
# Seconds after which a lock that names nobody is taken for torn: a living process writes its
# name within milliseconds.
_NAMELESS_S = 5.0
# Takes as many waits of a fifth of a second as a nameless lock is given, twice over.
_TRIES = 50


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold an existing directory for this process alone.

    A lock whose process has ended on this machine is taken over: its number is not
    running, or runs since another moment (numbers are given again, and in a
    container nearly always), or the machine was started anew since.

    Raises:
        LockedError: a living process holds it, or one on another machine.
        OSError: the lock cannot be written.
    """
    lock = directory / LOCK_NAME
    # Counted and not timed: on a machine with more work than it can do one try may take seconds.
    for _ in range(_TRIES):
        if _take(directory, lock):
            break
        _refuse_if_held(directory, lock)
    else:
        msg = (
            f"{directory}: its lock could not be taken; other processes are starting here. "
            "Wait for them, or choose another --out."
        )
        raise LockedError(msg)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def _take(directory: Path, lock: Path) -> bool:
    """Whether the lock is ours now; it appears with its content or not at all."""
    me = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "boot": _boot_id(),
        "started": _start_of(os.getpid()),
        "since": time.time(),
    }
    content = json.dumps(me).encode()
    draft = directory / f"{LOCK_NAME}.{os.urandom(6).hex()}.partial"
    try:
        with draft.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        try:
            os.link(draft, lock)
        except (FileExistsError, FileNotFoundError):
            # Held; or the owner, tidying up, removed our draft.
            return False
        except OSError:
            # Some file systems (FAT, some network shares) have no hard links.
            return _take_by_creating(lock, content)
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
    return True


def _take_by_creating(lock: Path, content: bytes) -> bool:
    """Make the lock where there are no hard links."""
    try:
        handle = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        with suppress(OSError):
            lock.unlink(missing_ok=True)
        raise
    return True


def _refuse_if_held(directory: Path, lock: Path) -> None:
    """Raise if a living process holds the lock; remove the lock if its process has ended."""
    try:
        age = max(0.0, time.time() - lock.stat().st_mtime)
        owner = json.loads(lock.read_bytes() if lock.is_file() else b"{}")
        owner = owner if isinstance(owner, dict) else {}
    except FileNotFoundError:
        return
    except ValueError:
        owner = {}
    if not owner:
        if age < _NAMELESS_S:
            time.sleep(0.2)
            return
    elif not _has_ended(owner):
        same_host = owner.get("host") == socket.gethostname()
        who = f"process {owner.get('pid', '?')} on {owner.get('host', 'an unknown host')}"
        advice = (
            "Wait for it, or choose another --out."
            if same_host
            else f"If that process has ended, remove {lock} and run the command again."
        )
        msg = f"{directory}: {who} is writing here, for {_words(age)} now. {advice}"
        raise LockedError(msg)
    with suppress(FileNotFoundError):
        lock.unlink()


def _has_ended(owner: dict[str, Any]) -> bool:
    """Whether the process that made a lock is known to have ended."""
    if owner.get("host") != socket.gethostname():
        return False
    if owner.get("boot") != _boot_id():
        return True
    pid, started = owner.get("pid"), owner.get("started")
    if not isinstance(pid, int) or pid <= 0:
        return True
    if started is None:
        # Of an older version. Our own number on a lock we did not make is a number given again.
        return pid == os.getpid() or not _start_of(pid)
    return bool(started != _start_of(pid))


def _start_of(pid: int) -> str:
    """When a process of this machine began, as text that stays the same; empty if there is none."""
    stat = Path("/proc") / str(pid) / "stat"
    with suppress(OSError, IndexError):
        # Field 22: clock ticks since boot. The name before it may hold blanks and brackets.
        fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        # A zombie has ended; nobody asked for its exit code yet.
        return "" if fields[0] in {"Z", "X"} else fields[19]
    import psutil  # noqa: PLC0415  (only where the system has no /proc)

    with suppress(psutil.Error):
        return f"{psutil.Process(pid).create_time():.0f}"
    return ""


def _boot_id() -> str:
    """Tells one boot of the host from the next; empty where the system has no such file."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def _words(seconds: float) -> str:
    """A duration for a person.

    >>> _words(30.0), _words(600.0), _words(10_000.0)
    ('30 s', '10 min', '2.8 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
