"""Files of one name in several folders: whether the folders belong to the same patient.

``clinicA/7_left.jpeg`` and ``clinicB/7_right.jpeg`` share a number by chance, and nobody may be
given another's grade. Where only a file's name says whose it is, what is predicted is kept apart
by folder. Not for training: there a group that is too large costs images, and one that is too
small leaks a patient into the test.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from core.base.words import quantity
from core.data.scan import natural_key

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = ["apart_by_folder"]

# Folders of one patient's sides and visits; of dates one day may count from 1 as the next does.
_OF_ONE = re.compile(
    r"(?:left|right|l|r|od|os|le|re)(?: ?(?:eyes?|breasts?|side|images|photos))?"
    r"|(?:visit|session|baseline|follow ?up) ?\d*"
)


def apart_by_folder(
    names: Sequence[str], paths: Sequence[str], *, what: str, same: Collection[str] = ()
) -> tuple[list[str], str]:
    """Ids that file names tell, with their folder where several folders hold one of them.

    Folders named as a side or a visit, or by ``same``, are not told apart, nor what lies below
    a folder that is named as the id itself.

    Args:
        names: (N,) what the name of each file tells; empty where it tells nothing or something
            surer than a name does.
        paths: (N,) of the files, with ``/``.
        what: an id is of: ``patient``.
        same: lower-case names of further folders that do not tell one patient from another.

    Returns:
        (N,) the ids, and a note; empty where none was changed.

    >>> apart_by_folder(["7", "7"], ["left/7_l.png", "right/7_r.png"], what="patient")
    (['7', '7'], '')
    >>> ids, note = apart_by_folder(["7", "7"], ["A/7_l.png", "B/7_r.png"], what="patient")
    >>> ids
    ['A/7', 'B/7']
    >>> note.split(":")[0]
    '1 patient is named in the files of several folders and kept apart by folder (first'
    """
    folders = [_folder(path, name, same) for name, path in zip(names, paths, strict=True)]
    found: dict[str, set[str]] = {}
    for name, folder in zip(names, folders, strict=True):
        if name:
            found.setdefault(name, set()).add(folder)
    several = {name for name, places in found.items() if len(places) > 1}
    shared = sorted(several, key=natural_key)
    if not shared:
        return list(names), ""
    sentences = [
        f"{folder}/{name}" if folder and name in several else name
        for name, folder in zip(names, folders, strict=True)
    ]
    first = [f"{place}/{shared[0]}" if place else shared[0] for place in sorted(found[shared[0]])]
    few = len(shared) == 1
    note = (
        f"{quantity(len(shared), what)} {'is' if few else 'are'} named in the files of several "
        f"folders and kept apart by folder (first: {' and '.join(first[:3])}), for two may "
        f"have one number. Where it is one {what}, list the files in a table with the columns path "
        f"and {what}."
    )
    return sentences, note


def _folder(path: str, name: str, same: Collection[str]) -> str:
    """The folders above a file that may tell one owner of a name from another."""
    kept: list[str] = []
    for part in path.split("/")[:-1]:
        if part.casefold() == name.casefold():
            break
        kept.append(part)
    plain = [" ".join(re.split(r"[\s_-]+", part.casefold().strip())) for part in kept]
    return "/".join(
        part
        for part, word in zip(kept, plain, strict=True)
        if not _OF_ONE.fullmatch(word) and word not in same
    )
