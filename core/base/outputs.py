"""How an output is whole or absent: atomic files, one owner, a manifest written last.

A directory that resight writes is in one of three states: absent; marked
incomplete (it holds no ``MANIFEST.json``); or complete (``MANIFEST.json`` holds
the sha256 of every file and was written last). A file appears under its name
only when all of its bytes are on disk.

This module knows nothing of what the files mean.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import socket
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from core.base.machine import free_disk
from core.errors import LockedError, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "MANIFEST_NAME",
    "atomic_file",
    "check_space",
    "claim",
    "csv_safe",
    "is_complete",
    "remove_partial",
    "seal",
    "sha256_file",
    "unseal",
    "write_bytes",
    "write_json",
    "write_text",
]

MANIFEST_NAME = "MANIFEST.json"
LOCK_NAME = ".lock"
_PARTIAL = ".partial"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that appears under ``path`` only when the block ends well.

    The bytes go to a temporary name in the same directory, are synced, then
    renamed; the directory is synced as well. A rename within one directory is
    the only replacement POSIX promises to be atomic.

    Raises:
        OutputError: the directory cannot be written or the disk is full; what
            stood under ``path`` before is untouched.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}{_PARTIAL}")
    try:
        with partial.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
        _sync_directory(path.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise _explain(path, error) from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    with atomic_file(path) as stream:
        stream.write(data)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text whole or not at all. Lone surrogates of file names are escaped."""
    write_bytes(path, text.encode("utf-8", errors="backslashreplace"))


def write_json(path: Path, content: Any) -> None:
    """Write JSON with sorted keys, so that the same content is the same bytes.

    Raises:
        ValueError: the content holds NaN or infinity, which JSON has no word for.
    """
    write_text(
        path,
        json.dumps(content, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n",
    )


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def seal(directory: Path) -> None:
    """Declare the directory complete: write ``MANIFEST.json``, the sha256 of every file."""
    files = {
        file.relative_to(directory).as_posix(): sha256_file(file)
        for file in sorted(directory.rglob("*"))
        if file.is_file()
        and file.name not in {MANIFEST_NAME, LOCK_NAME}
        and not file.name.endswith(_PARTIAL)
    }
    write_json(directory / MANIFEST_NAME, {"files": files})


def unseal(directory: Path) -> None:
    """Mark the directory incomplete before anything in it changes."""
    (directory / MANIFEST_NAME).unlink(missing_ok=True)


def is_complete(directory: Path) -> bool:
    """Whether the directory was sealed."""
    return (directory / MANIFEST_NAME).is_file()


def remove_partial(directory: Path) -> None:
    """Remove what a killed process left half written. Call only while holding the claim."""
    for file in directory.rglob(f".*{_PARTIAL}"):
        file.unlink(missing_ok=True)


@contextmanager
def claim(directory: Path) -> Iterator[Path]:
    """Make the directory and hold it for this process alone.

    Held with a lock file that names the process, not with ``flock``, which
    network file systems do not keep. A lock whose process has ended on this
    host is taken over.

    Raises:
        LockedError: another process holds it.
        OutputError: it cannot be made or written to.
    """
    if directory.exists() and not directory.is_dir():
        msg = (
            f"{directory}: a file of that name is in the way. Choose another --out, or move "
            f"the file."
        )
        raise OutputError(msg)
    is_new = not directory.exists()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _explain(directory, error) from error
    lock = directory / LOCK_NAME
    me = {"pid": os.getpid(), "host": socket.gethostname(), "boot": _boot_id()}
    for _ in range(3):
        try:
            handle = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            _refuse_if_held(directory, lock)
            continue
        except OSError as error:
            raise _explain(directory, error) from error
        with os.fdopen(handle, "w") as stream:
            json.dump(me, stream)
            stream.flush()
            os.fsync(stream.fileno())
        break
    else:
        msg = (
            f"{directory}: its lock could not be taken; another process is starting here. Wait "
            f"for it, or choose another --out."
        )
        raise LockedError(msg)
    try:
        remove_partial(directory)
        yield directory
    except OSError as error:
        # Whatever wrote here, a library too, a full disk is for the user to mend.
        if error.errno in _FULL and not isinstance(error, OutputError):
            raise _explain(directory, error) from error
        raise
    finally:
        lock.unlink(missing_ok=True)
        if is_new:
            # Only an empty directory goes: one that nothing came of.
            with suppress(OSError):
                directory.rmdir()


def check_space(directory: Path, needed: int) -> None:
    """Refuse before writing what would not fit.

    Args:
        directory: where it will be written; need not exist yet.
        needed: bytes.

    Raises:
        OutputError: less is free.
    """
    free = free_disk(directory)
    if free < needed:
        msg = (
            f"{directory}: {needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free. "
            "Free some space, or put the output and RESIGHT_HOME on another disk."
        )
        raise OutputError(msg)


def csv_safe(value: Any) -> Any:
    """A cell that a spreadsheet will show and not execute.

    Text that starts with = + - @, a tab or a carriage return gets a leading
    apostrophe, as OWASP advises; numbers are left alone.

    >>> csv_safe("=1+1"), csv_safe(-1.5), csv_safe("leaf")
    ("'=1+1", -1.5, 'leaf')
    """
    if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"}:
        return "'" + value
    return value


def _refuse_if_held(directory: Path, lock: Path) -> None:
    """Raise if a living process holds the lock; remove the lock if its process has ended."""
    try:
        owner = json.loads(lock.read_text())
    except FileNotFoundError:
        return
    except ValueError:
        owner = {}
    same_host = owner.get("host") == socket.gethostname()
    if same_host and (owner.get("boot") != _boot_id() or not _is_alive(owner.get("pid", -1))):
        with suppress(FileNotFoundError):
            lock.unlink()
        return
    who = f"process {owner.get('pid', '?')} on {owner.get('host', 'an unknown host')}"
    advice = (
        "Wait for it, or choose another --out."
        if same_host
        else f"If that process has ended, remove {lock} and run the command again."
    )
    msg = f"{directory}: {who} is writing here. {advice}"
    raise LockedError(msg)


def _is_alive(pid: int) -> bool:
    """Whether a process of this number runs on this host."""
    if pid <= 0:
        return False
    import psutil  # noqa: PLC0415  (only needed when a lock is in the way)

    return psutil.pid_exists(pid)


def _boot_id() -> str:
    """Tells one boot of the host from the next; empty where the system has no such file."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def _sync_directory(directory: Path) -> None:
    """Make a rename survive a power cut, where the system lets a directory be synced."""
    with suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _explain(path: Path, error: OSError) -> OutputError:
    """Turn an operating-system error into what to do about it."""
    advice = {
        errno.ENOSPC: (
            "The disk is full. Free some space, or choose another --out; the same command goes "
            "on from here."
        ),
        errno.EDQUOT: (
            "Your quota is used up. Free some space, or choose another --out; the same command "
            "goes on from here."
        ),
        errno.EFBIG: "A limit on the size of files was reached. Raise it, or choose another --out.",
        errno.EACCES: "You may not write there. Change its permissions, or choose another --out.",
        errno.EPERM: "You may not write there. Change its permissions, or choose another --out.",
        errno.EROFS: "That file system is read-only. Choose another --out.",
        errno.ENOTDIR: "A part of that path is a file. Choose another --out.",
    }.get(error.errno or 0, "Choose another --out, or repair the disk.")
    return OutputError(f"{path}: cannot be written ({error.strerror or error}). {advice}")
