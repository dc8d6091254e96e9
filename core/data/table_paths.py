"""Which file each row of a table names: as it stands, by the longest end of its path, by an id.

Tables travel: their paths were made on another machine, lost an extension or the
zeros of a number. A row is met with a file only where exactly one fits, and whatever
was done besides reading the path as it stands is counted and said.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from core.data.folder_words import split_word
from core.data.scan import Found, locate, readable
from core.data.tables_in import whole_number
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import pandas as pd

__all__ = ["FileKey", "Listing", "ends_of", "plain_path", "resolve_paths"]

_EXTENSION = re.compile(r"(?i)\.(jpe?g|jpe|png|tiff?|bmp|webp|dcm|dicom|p[gpbn]m|gif|heic|avif)$")
_ABSOLUTE = re.compile(r"(?:[A-Za-z]:)?[\\/]|[a-z]{2,5}://")


@dataclass(frozen=True, kw_only=True)
class FileKey:
    """What tables may name a file by beside its path, such as the UID in its header.

    Attributes:
        words: what it is, to follow "by": ``the SOPInstanceUID of the header``.
        columns: for each part of the key, the names its column goes by.
        of: the key of a file, one text per part; empty where it has none.
    """

    words: str
    columns: tuple[tuple[str, ...], ...]
    of: Callable[[Path], tuple[str, ...]]


@dataclass
class Listing:
    """A table of images: its file, its cells as text, the column that names the files.

    Attributes:
        notes: what was assumed of the table, in sentences.
        files: the file of each row, once known; see ``resolve_paths``.
    """

    file: Path
    table: pd.DataFrame
    path_column: str
    notes: list[str] = field(default_factory=list)
    files: list[Found] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Share of rows whose file is there."""
        return sum(not found.reason for found in self.files) / max(1, len(self.files))


def resolve_paths(
    listing: Listing,
    files: Callable[[], Iterable[Found]],
    *,
    allow_outside: bool,
    home: Path | None = None,
) -> list[Found]:
    """The file that each row names, or the reason why there is none.

    A name is looked up as it stands below the table's folder, then by the longest end
    of its path that exactly one file has, first below the table, then below ``home``.

    Args:
        listing: the table; its notes say what was done beside reading the path.
        files: gives the files below ``home``; asked only if a name does not stand for
            a file as it is.
        allow_outside: whether a file may lie outside of ``home``.
        home: the folder that holds all of the images; the table's own by default.

    Raises:
        ManifestError: rows point outside of the folder.
    """
    root, home = listing.file.parent, home or listing.file.parent
    search: _Search | None = None
    found: list[Found] = []
    outside: list[str] = []
    names = [name.strip() for name in listing.table[listing.path_column]]
    for name in names:
        if not name:
            found.append(Found(root, f"{listing.file.name} names no file in this row"))
            continue
        path = _as_written(root, name)
        is_away = not path.is_relative_to(home) and not path.is_relative_to(root)
        is_foreign = is_away and _ABSOLUTE.match(name) is not None and not _exists(path)
        if is_away and not is_foreign and not allow_outside:
            outside.append(name)
        if _is_file(path) and (allow_outside or not is_away):
            found.append(Found(path))
            continue
        if search is None:
            search = _Search(listing.file, home, [f.path for f in files() if not f.reason])
        found.append(search.find(name, path, listing))
    if outside:
        msg = (
            f"{readable(str(listing.file))}: {len(outside):,} of {len(names):,} rows point outside "
            f"of the table's folder (first: {readable(outside[0])!r}). A stranger's table could "
            "make any file of this machine an input. Put the table into the folder that holds all "
            "of its images, or pass --allow-outside if you trust it."
        )
        raise ManifestError(msg)
    if search is not None:
        listing.notes.extend(search.notes(listing))
    return found


def _as_written(root: Path, name: str) -> Path:
    """The path as it stands, with either kind of slash."""
    path = Path(os.path.normpath(locate(root, name)))
    if "\\" in name and not _is_file(path):
        path = Path(os.path.normpath(locate(root, name.replace("\\", "/"))))
    return path


def _exists(path: Path) -> bool:
    """Whether something is there; what no file system could hold, such as a sentence, is not."""
    # Unlike os.path.exists, Path.exists raises for a name that is too long.
    return os.path.exists(path)  # noqa: PTH110


def _is_file(path: Path) -> bool:
    """Whether a file is there; see ``_exists``."""
    return os.path.isfile(path)  # noqa: PTH113


class _Search:
    """Files by every end of their path, with and without the extension."""

    def __init__(self, table: Path, home: Path, files: Sequence[Path]) -> None:
        self._indices: list[tuple[Path, dict[str, set[Path]]]] = []
        root, split = table.parent, split_word(table.stem)
        bases = [root, home] if root != home and root.is_relative_to(home) else [home]
        # val.csv is about the images in val/.
        tops = {file.relative_to(root).parts[0] for file in files if file.is_relative_to(root)}
        own = sorted(root / top for top in tops if split and split_word(top) == split)
        for base in (*own, *bases):
            index: dict[str, set[Path]] = {}
            for path in files:
                if path.is_relative_to(base):
                    for key in ends_of(path.relative_to(base).as_posix()):
                        index.setdefault(key, set()).add(path)
            self._indices.append((base, index))
        self._numbers: dict[int, set[Path]] = {}
        for path in files:
            if re.fullmatch(r"[0-9]{1,15}", path.stem):
                self._numbers.setdefault(int(path.stem), set()).add(path)
        self._how: Counter[str] = Counter()

    def find(self, name: str, path: Path, listing: Listing) -> Found:
        """The one file that a name can mean, or the reason why there is none."""
        parts = [p for p in re.split(r"[\\/]+", plain_path(name)) if p not in {"", ".", ".."}]
        spellings = [("", parts)]
        if parts and _EXTENSION.search(parts[-1]):
            spellings.append(("extension", [*parts[:-1], _EXTENSION.sub("", parts[-1])]))
        if parts and whole_number(parts[-1]) != parts[-1]:
            spellings.append(("", [*parts[:-1], whole_number(parts[-1])]))
        n = 0
        for how, words in spellings:
            for base, index in self._indices:
                for k in range(len(words)):
                    matches = index.get("/".join(words[k:]))
                    if matches and len(matches) == 1:
                        one = next(iter(matches))
                        if _is_of_another_split(words[:k], one.relative_to(base)):
                            break
                        self._count(how or ("end" if k else ""))
                        return Found(one)
                    if matches:
                        n = n or len(matches)
                        break
        digits = whole_number(parts[-1]) if len(parts) == 1 else ""
        by_number = self._numbers.get(int(digits), set()) if digits.isdecimal() else set()
        if len(by_number) == 1 and not n:
            self._count("zeros")
            return Found(next(iter(by_number)))
        what = f"{n} files are" if n else "no file is"
        return Found(path, f"{listing.file.name} lists it, but {what} called so", is_missing=not n)

    def _count(self, how: str) -> None:
        if how:
            self._how[how] += 1

    def notes(self, listing: Listing) -> list[str]:
        """What was done beside reading the path as it stands, in sentences."""
        words = {
            "extension": "name a file of another format; it is the one of the same name",
            "end": "hold the path of another place; the file with the longest same end is meant",
            "zeros": "hold a number that lost its zeros; the file of that number is meant",
        }
        return [
            f"{n:,} row(s) of {listing.file.name} {words[how]}." for how, n in self._how.items()
        ]


def _is_of_another_split(dropped: Sequence[str], relative: Path) -> bool:
    """Whether the folders that a row names are those of a split, and the file lies in another."""
    named = {split_word(word) for word in dropped} - {""}
    found = {split_word(word) for word in relative.parts[:-1]} - {""}
    return bool(named) and bool(found) and not named & found


def ends_of(relative: str, *, is_file: bool = True) -> set[str]:
    """Every end of a path, in the form it is compared in; of a file without extension as well."""
    parts = plain_path(relative).split("/")
    ends = {"/".join(parts[k:]) for k in range(len(parts))}
    stem = parts[-1].rpartition(".")[0] if is_file else ""
    return ends | {"/".join([*parts[k:-1], stem or parts[-1]]) for k in range(len(parts))}


def plain_path(text: str) -> str:
    """A path as it is compared: one Unicode form, no case."""
    return unicodedata.normalize("NFC", text).casefold()
