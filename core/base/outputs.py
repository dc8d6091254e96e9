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
import math
import os
import shutil
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import IO, TYPE_CHECKING, Any

from core.base.lock import LOCK_NAME, locked
from core.base.machine import free_disk
from core.base.parsing import ParsingError, read_json
from core.errors import OutputError, ResightError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    import pandas as pd

__all__ = [
    "MANIFEST_NAME",
    "atomic_file",
    "check_space",
    "claim",
    "copy_file",
    "csv_safe",
    "csv_text",
    "explain",
    "is_complete",
    "json_bytes",
    "pending_file",
    "plain_json",
    "recorded_files",
    "remove_partial",
    "replace_sealed",
    "seal",
    "settle",
    "sha256_file",
    "unseal",
    "write_bytes",
    "write_json",
    "write_text",
]

MANIFEST_NAME = "MANIFEST.json"
_PARTIAL = ".partial"
_PENDING = ".pending"
# What the user can do something about.
_MENDABLE = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS),
    *(errno.EACCES, errno.EPERM, errno.EIO, errno.ENOTDIR, errno.ENAMETOOLONG),
}


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
    except BaseException as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and not isinstance(error, ResightError):
            raise explain(path, error) from error
        raise


def copy_file(source: Path, target: Path) -> None:
    """Copy a file's bytes, whole or not at all."""
    with source.open("rb") as stream, atomic_file(target) as copy:
        shutil.copyfileobj(stream, copy, 2**20)


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
    write_bytes(path, json_bytes(content))


def plain_json(value: Any) -> Any:
    """The same in types that JSON has: numbers that are not finite become None.

    >>> plain_json({1: (0.5, float("nan"))})
    {'1': [0.5, None]}
    """
    if hasattr(value, "tolist"):
        # Arrays and numbers of NumPy, which this module need not import.
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain_json(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_json(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def json_bytes(content: Any) -> bytes:
    """The bytes that ``write_json`` writes."""
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False)
    return (text + "\n").encode("utf-8", errors="backslashreplace")


def sha256_file(path: Path, *, sync: bool = False) -> str:
    """Hex sha256 of a file's bytes.

    Args:
        path: the file.
        sync: whether they must be on the disk before, for libraries write without that.

    Raises:
        OutputError: it cannot be read, or not be brought to the disk.
    """
    try:
        with path.open("rb") as stream:
            # Windows syncs only what is open for writing.
            if sync and os.name != "nt":
                os.fsync(stream.fileno())
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror}). Look at its permissions and the disk."
        raise OutputError(msg) from error


def seal(directory: Path, *, without: Collection[str] = ()) -> None:
    """Declare the directory complete: write ``MANIFEST.json``, the sha256 of every file.

    Args:
        directory: whose files are all written.
        without: names in it that do not belong to the result and are about to go.
    """
    files = {
        file.relative_to(directory).as_posix(): sha256_file(file, sync=True)
        for file in sorted(directory.rglob("*"))
        if file.is_file()
        and file.relative_to(directory).parts[0] not in {MANIFEST_NAME, LOCK_NAME, *without}
        and not file.name.endswith((_PARTIAL, _PENDING))
    }
    write_json(directory / MANIFEST_NAME, {"files": files})


def replace_sealed(directory: Path, name: str, data: bytes) -> None:
    """Replace one file of a complete directory, which stays complete at every moment.

    The new file is written beside the old one; then ``MANIFEST.json`` is replaced,
    from where on the new one counts; then it gets its name. ``settle`` does the
    last step if this process does not live to do it.

    Raises:
        OutputError: it cannot be written; the old file counts.
    """
    pending = pending_file(directory, name)
    write_bytes(pending, data)
    files = dict(recorded_files(directory))
    files[name] = hashlib.sha256(data).hexdigest()
    write_json(directory / MANIFEST_NAME, {"files": files})
    settle(directory)


def pending_file(directory: Path, name: str) -> Path:
    """Where the next content of a file of a complete directory waits to be put in its place."""
    return directory / f".{name}{_PENDING}"


def settle(directory: Path) -> None:
    """End a replacement that was begun: the file that ``MANIFEST.json`` names gets its place."""
    for pending in sorted(directory.glob(f".*{_PENDING}")):
        name = pending.name.removeprefix(".").removesuffix(_PENDING)
        if recorded_files(directory).get(name) == sha256_file(pending):
            pending.replace(directory / name)
            _sync_directory(directory)
        else:
            pending.unlink(missing_ok=True)


def recorded_files(directory: Path) -> dict[str, str]:
    """Name -> sha256 of every file, as ``MANIFEST.json`` has it; empty if there is none.

    Raises:
        OutputError: it is damaged.
    """
    file = directory / MANIFEST_NAME
    if not file.is_file():
        return {}
    try:
        files = read_json(file, largest=64 * 2**20).get("files")
    except ParsingError as error:
        msg = f"{file}: {error}. Copy the directory again from where it was made."
        raise OutputError(msg) from error
    if not isinstance(files, dict) or not all(isinstance(v, str) for v in files.values()):
        msg = f"{file}: lists no files. Copy the directory again from where it was made."
        raise OutputError(msg)
    for name in map(PurePath, files):
        # A stranger may have written it: what it names is read, and copied by other commands.
        if name.is_absolute() or name.drive or ".." in name.parts or "\0" in str(name):
            msg = f"{file}: names {str(name)!r}, which is not below it. Do not use that folder."
            raise OutputError(msg)
    return files


def unseal(directory: Path) -> None:
    """Mark the directory incomplete before anything in it changes."""
    (directory / MANIFEST_NAME).unlink(missing_ok=True)


def is_complete(directory: Path) -> bool:
    """Whether the directory was sealed."""
    return (directory / MANIFEST_NAME).is_file()


def remove_partial(directory: Path) -> None:
    """Remove what a killed process left half written. Call only while holding the claim."""
    for left in list(directory.rglob(f".*{_PARTIAL}")):
        # Some libraries write several files before there is one: theirs is a folder.
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        else:
            left.unlink(missing_ok=True)


@contextmanager
def claim(directory: Path) -> Iterator[Path]:
    """Make the directory and hold it for this process alone; see ``core.base.lock``.

    What a killed process left half done is put in order first.

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
        with locked(directory):
            remove_partial(directory)
            settle(directory)
            yield directory
    except OSError as error:
        # Whatever wrote here, a library too: a full disk or a refusal is for the user to mend.
        if error.errno in _MENDABLE and not isinstance(error, ResightError):
            raise explain(Path(error.filename or directory), error) from error
        raise
    finally:
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


def csv_text(table: pd.DataFrame) -> str:
    """A table as CSV: the same table is the same text, and no cell is executed by a spreadsheet."""
    safe = table.copy()
    safe.columns = [csv_safe(str(name)) for name in safe.columns]
    for column in safe.columns:
        # Whatever is no number, truth value or time may be text: Arrow's strings are, too.
        if safe[column].dtype.kind not in "biufcmM":
            safe[column] = safe[column].map(csv_safe, na_action="ignore")
    # Nine digits tell apart what the network can; more would be noise of its arithmetic.
    return safe.to_csv(index=False, float_format="%.9g", lineterminator="\n")


def _sync_directory(directory: Path) -> None:
    """Make a rename survive a power cut, where the system lets a directory be synced."""
    with suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def explain(path: Path, error: OSError) -> OutputError:
    """Turn an error of the operating system into what to do about it."""
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
        errno.EIO: "The disk or the network failed. Repair it; the same command goes on from here.",
    }.get(error.errno or 0, "Choose another --out, or repair the disk.")
    return OutputError(f"{path}: cannot be written ({error.strerror or error}). {advice}")
