"""Which files lie below a path: every one found once, in one order, or passed over with a reason.

Links are followed, loops are not; pipes and devices are never opened. Names
need not be UTF-8: text that names a file escapes what cannot be shown, and
``locate`` finds the file again. This module knows no labels.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from core.base.regular_files import open_regular
from core.data.image_files import NOT_READ, RAW_SUFFIXES, sniff

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

__all__ = ["Found", "is_system", "locate", "natural_key", "readable", "scan"]

# Files that operating systems and data sets put beside images; not inputs, so no row.
_SIDE_FILES = re.compile(
    r"(thumbs|ehthumbs)\.db|desktop\.ini|icon\r|manifest\.json|sha256sums|md5sums"
    r"|(readme|licen[cs]e|citation|changelog)(\..*)?|.+\.md",
    re.IGNORECASE,
)


# Folders that operating systems, file servers and programs put beside one's own.
_SYSTEM = frozenset(
    {"__macosx", "$recycle.bin", "system volume information", "lost+found", "@eadir", "#recycle"}
    | {"recycler", "__pycache__", "#snapshot", "found.000", "@recycle", "thumbnails.noindex"}
    | {"_macosx", "lost.dir", "thumbs", "thumb", "thumbnails", "trash", "@tmp", "$rapidb$"}
)


@dataclass(frozen=True)
class Found:
    """One file below a path.

    ``reason`` is why it is no input, empty if it is one; ``is_missing`` that it was
    named and is not there, which is an input that fails.
    """

    path: Path
    reason: str = ""
    is_missing: bool = False


def scan(folder: Path, *, extensions: Collection[str]) -> Iterator[Found]:
    """Walk a folder in natural order of names.

    Hidden files and folders and the usual side files are left out; whatever
    else is no image gives an entry with the reason.

    Args:
        folder: an existing folder.
        extensions: lower case with the dot; a file of another extension is
            taken only if its content is that of an image.
    """
    yield from _walk(folder, frozenset(extensions), {_identity(folder.stat())})


def is_system(name: str) -> bool:
    """Whether a file or folder is hidden, or one that a system keeps for itself."""
    # Excel keeps a file ~$labels.xlsx beside a workbook that is open.
    return name.startswith((".", "~$")) or name.casefold() in _SYSTEM


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """Sort key that puts ``2.jpg`` before ``10.jpg``; ties are broken by the text itself.

    >>> sorted(["b/10", "b/9", "a"], key=natural_key)
    ['a', 'b/9', 'b/10']
    """
    # Only ASCII digits: int() takes others, but their order would depend on the alphabet.
    parts = re.split(r"([0-9]+)", text)
    key = [(1, int(part), "") if i % 2 else (0, 0, part) for i, part in enumerate(parts) if part]
    return [*key, (-1, 0, text)]


def readable(name: str) -> str:
    """A file name as text for tables: as it is, or with odd bytes as ``%FF``.

    Only names that are not UTF-8, or hold control characters, are changed;
    then ``%`` itself is escaped as well, so that the way back is unique.

    >>> readable("leaf 50%.png"), readable("a" + chr(0xDCFF) + "%.png")
    ('leaf 50%.png', 'a%FF%25.png')
    """
    if all(character.isprintable() for character in name):
        return name
    return "".join(
        character if character.isprintable() and character != "%" else _percent(character)
        for character in name
    )


def locate(root: Path, path: str) -> Path:
    """The file that a manifest's ``path`` names: relative to the root, or absolute."""
    plain = root / path
    if "%" in path and not os.path.lexists(plain):
        return root / os.fsdecode(unquote_to_bytes(path))
    return plain


def _walk(folder: Path, extensions: frozenset[str], seen: set[tuple[int, int]]) -> Iterator[Found]:
    """Entries of a folder, then of the folders in it."""
    try:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: natural_key(entry.name))
    except OSError as error:
        yield Found(folder, f"the folder cannot be opened ({(error.strerror or '').lower()})")
        return
    for entry in listed:
        if is_system(entry.name):
            continue
        path = Path(entry.path)
        try:
            status = entry.stat()
        except OSError as error:
            yield Found(path, f"it cannot be reached ({(error.strerror or '').lower()})")
            continue
        suffix = path.suffix.lower()
        if stat.S_ISDIR(status.st_mode):
            # On some network file systems every folder has the number 0.
            identity = _identity(status)
            if identity[1] and identity in seen:
                yield Found(path, "a link to a folder that is already read")
            elif suffix in extensions and suffix:
                yield Found(path, "a folder with the name of an image")
            else:
                seen.add(identity)
                yield from _walk(path, extensions, seen)
        elif not stat.S_ISREG(status.st_mode):
            yield Found(path, "not a regular file")
        elif not suffix and _SIDE_FILES.fullmatch(entry.name):
            continue
        elif suffix in extensions or suffix in RAW_SUFFIXES or _is_image(path, extensions):
            yield Found(path)
        elif not _SIDE_FILES.fullmatch(entry.name):
            what, mark, way_out = NOT_READ.get(suffix, "not an image").partition(";")
            yield Found(path, f"{what} ({suffix or 'no extension'}){mark}{way_out}")


def _identity(status: os.stat_result) -> tuple[int, int]:
    """What tells one folder from another however it is reached."""
    return status.st_dev, status.st_ino


def _is_image(path: Path, extensions: frozenset[str]) -> bool:
    """Whether the content is that of an image although the name does not say so.

    DICOM files are often called by a UID alone; they count where DICOM is read at all.
    """
    others = {"", "PDF"} if ".dcm" in extensions else {"", "PDF", "DICOM"}
    try:
        with open_regular(path) as stream:
            return sniff(stream.read(256)) not in others
    except OSError:
        return False


def _percent(character: str) -> str:
    """One character as the percent escapes of its bytes."""
    return "".join(f"%{byte:02X}" for byte in os.fsencode(character))
