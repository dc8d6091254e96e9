"""Levels of folders that name a time, a place or a person, and are passed over for the class."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from core.data.folder_levels import Level, are_neutral, few_of
from core.data.folder_words import (
    is_class_word,
    is_image_folder,
    is_mask_folder,
    is_neutral,
    is_person,
    is_version,
    same_name,
    split_word,
)
from core.data.scan import readable
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path


__all__ = ["is_passed_over"]

# Numbers behind these are of classes.
_GRADES = r"class|grade|stage|level|type|score|categor|degree|severity"


def is_passed_over(level: Level, folder: Path, names: Counter[str], known: set[str]) -> bool:
    """Whether a level names no class; stops where two levels could.

    Raises:
        ManifestError: the same names lie below several folders, and either could be the class.
    """
    if len(names) == 1:
        return _is_only_a_top(level, next(iter(names)), known)
    times = Counter(word for name in names for word in level.below(name))
    shared = sorted(word for word, n in times.items() if n > 1)
    d = level.depth
    n_deep = sum(len(part) > d + 1 for part in level.parts.values())
    if shared and all(map(split_word, shared)) and (deeper := _beyond_splits(level)):
        if not all(is_neutral(name, with_codes=False) and "fold" not in name for name in names):
            raise ManifestError(_two_levels(level, folder, deeper, deeper))
        _pass_over(level, names)
        return True
    if len(shared) < 2 or 2 * n_deep < len(level.parts):
        _refuse_versions(folder, names, known)
        is_place = all(is_neutral(name, with_codes=False) for name in names)
        is_people = len(names) > 2 and all(map(is_person, names))
        if (is_place or is_people) and not level.tops and not known & set(map(same_name, names)):
            _refuse_neutral(folder, names)
        if _may_be_below(level, names, known):
            raise ManifestError(_two_levels(level, folder, sorted(times), shared))
        return False
    if all(is_version(name) for name in names):
        msg = (
            f"{readable(str(folder))}: the same classes ({few_of(shared)}) lie below "
            f"{few_of(sorted(names))}, which are versions of the same pictures. Together they "
            "would be in training and test at once. Pass one of them: "
            f"{folder.joinpath(min(names))}."
        )
        raise ManifestError(msg)
    if not _class_is_below(names, shared, len(times), known):
        if _class_is_here(names, shared) or _are_groups_below(level):
            return False
        raise ManifestError(_two_levels(level, folder, shared, shared))
    _pass_over(level, names)
    return True


def _refuse_versions(folder: Path, names: Collection[str], known: set[str]) -> None:
    """Refuse folders that are called after versions of pictures and hold no class folders.

    Raises:
        ManifestError: nothing says the class.
    """
    if not all(map(is_version, names)) or known & set(map(same_name, names)):
        return
    msg = (
        f"{readable(str(folder))}: its folders ({few_of(sorted(names))}) are called after versions "
        "of pictures, and no class folders lie in them, so nothing says the class of an image. "
        "Pass one of them with a table, or sort its images into one folder per class; if these "
        "are classes, pass --label-column folder."
    )
    raise ManifestError(msg)


def _pass_over(level: Level, names: Collection[str]) -> None:
    """Go below a level of folders that name times or places, and remember which."""
    for path, part in level.parts.items():
        if len(part) > level.depth:
            level.tops.setdefault(path, []).append(part[level.depth])
    level.above.append(" and ".join(f"{name}/" for name in sorted(names)[:4]))
    level.left_out.append(
        f"{few_of(sorted(names))} lie above them; pass --group folder to keep each in one split"
    )
    level.depth += 1


def _beyond_splits(level: Level) -> list[str]:
    """Folders that lie in several folders of splits two levels down, and could be classes."""
    d = level.depth
    places: dict[str, set[tuple[str, str]]] = {}
    for part in level.parts.values():
        if len(part) > d + 2:
            places.setdefault(part[d + 2], set()).add((part[d], part[d + 1]))
    names = sorted(name for name, where in places.items() if len(where) > 1) or sorted(places)
    is_other = all(is_mask_folder(name) or is_image_folder(name) for name in names)
    return [] if len(names) < 2 or is_other or are_neutral(names) else names


def _may_be_below(level: Level, names: Collection[str], known: set[str]) -> bool:
    """Whether folders of a level each hold several folders that could be the classes as well.

    ``apple/scab``, ``apple/rot``, ``grape/esca``, ``grape/rot``: fruits or diseases.
    """
    if known & set(map(same_name, names)) or len(names) < 2:
        return False
    # A flat folder beside one that holds several, such as preview/ beside data/rust.
    inner = [level.below(name) for name in names if level.below(name)]
    words: set[str] = set().union(*inner)
    is_other = all(
        is_mask_folder(w) or is_image_folder(w) or is_version(w) or split_word(w) for w in words
    )
    if is_other or are_neutral(words) or any(is_neutral(w) for w in words):
        return False
    if _are_groups_below(level) or _are_numbered(words):
        return False
    is_here = any(map(is_class_word, names))
    if len(inner) == len(names):
        is_here &= not any(map(is_class_word, words))
    return bool(inner) and all(len(each) > 1 for each in inner) and not is_here


def _are_groups_below(level: Level) -> bool:
    """Whether the user calls the folders in those of this level groups, so that these are classes.

    Of two levels above the groups either could still be the class.
    """
    return level.is_grouped and _lie_just_below(level)


def _lie_just_below(level: Level) -> bool:
    """Whether every file lies in a folder of a folder of this level, and no deeper."""
    return {len(part) for part in level.parts.values()} == {level.depth + 2}


def _are_numbered(words: Collection[str]) -> bool:
    """Whether names are numbers of a few series, as scan_a0 to scan_a9, and so no classes."""
    series = {re.sub(r"\d+", "#", word) for word in words}
    is_grade = any(re.search(_GRADES, word.casefold()) for word in words)
    return not is_grade and all("#" in one for one in series) and 3 * len(series) <= len(words)


def _is_only_a_top(level: Level, only: str, known: set[str]) -> bool:
    """Whether the one folder of a level only holds the class folders; then it is passed over."""
    words = level.below(only)
    d = level.depth
    is_whole = all(len(part) > d + 1 for part in level.parts.values()) and bool(words)
    is_class = is_class_word(only) or same_name(only) in known
    is_empty_top = is_image_folder(only) and not words and same_name(only) not in known
    is_top = is_whole and not are_neutral(words) and (is_image_folder(only) or not is_class)
    if is_top:
        level.above.append(f"{only}/")
    if is_top or is_empty_top:
        level.depth += 1
    return is_top or is_empty_top


def _class_is_here(names: Collection[str], shared: Sequence[str]) -> bool:
    """Whether a level names the class although the folders below have equal names.

    Below a class a leaf, a date, a split or masks may be called as below another.
    """
    is_place = all(is_neutral(name, with_codes=False) for name in names)
    return (
        all(is_mask_folder(name) or is_image_folder(name) for name in shared)
        or (are_neutral(shared) and not is_place)
        or all(map(split_word, shared))
        or all(map(is_version, shared))
        or (any(map(is_class_word, names)) and not any(map(is_class_word, shared)))
    )


def _class_is_below(
    names: Collection[str], shared: Sequence[str], n_below: int, known: set[str]
) -> bool:
    """Whether the equal names below several folders are the classes."""
    if _class_is_here(names, shared):
        return any(same_name(word) in known for word in shared)
    return (
        any(same_name(word) in known for word in shared)
        or (are_neutral(names) and not are_neutral(shared))
        or all(map(is_image_folder, names))
        or (
            any(map(is_class_word, shared))
            and not any(map(is_class_word, names))
            and len(shared) == n_below
        )
    )


def _refuse_neutral(folder: Path, names: Collection[str]) -> None:
    """Refuse flat folders that are called like years, farms or patients."""
    msg = (
        f"{readable(str(folder))}: its {len(names)} folders ({few_of(sorted(names))}) are called "
        "like times, places or numbers, so nothing says which class an image is of. Add a table "
        "with the columns path and label, sort the images into one folder per class, or pass "
        "--label-column folder if these are the classes."
    )
    raise ManifestError(msg)


def _two_levels(level: Level, folder: Path, below: Sequence[str], shared: Sequence[str]) -> str:
    """What to say where two levels of folders could name the class.

    Args:
        level: the upper one.
        folder: that was named.
        below: names of the lower level.
        shared: those that lie in several folders of the upper level.
    """
    names = sorted(level.names())
    what = f"the same folders ({few_of(shared)}) lie below several of {few_of(names)}"
    if not shared:
        tops = [name for name in names if level.below(name)]
        what = f"several folders ({few_of(below)}) lie below {few_of(tops)}"
    group = (
        "--group parent (the same, and the images of each folder below, as of one patient, stay "
        "together), "
        if _lie_just_below(level)
        else ""
    )
    return (
        f"{readable(str(folder))}: {what}, so either could be the class, and a model of the wrong "
        "one would be trained without a word. Settle it with one of: --label-column parent (the "
        f"classes are {few_of(below)}), --label-column folder (the classes are {few_of(names)}), "
        f"{group}or a folder with one of them: {folder.joinpath(names[0])}."
    )
