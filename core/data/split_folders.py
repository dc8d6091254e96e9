"""Levels of folders that name a split: what they hold, and what cannot be meant so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.data.folder_levels import Level, are_neutral, count_images, few_of, other_folders
from core.data.folder_words import glued_split, is_class_word, same_name, split_word
from core.data.scan import readable
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path


__all__ = ["refuse_glued", "split_below", "split_level"]

# Beside these a folder called test holds what was tried out, and is a class.
_CONTROLS = frozenset({"control", "controls", "ctrl", "reference", "placebo", "untreated", "blank"})


def split_level(level: Level, folder: Path, names: Counter[str], known: set[str]) -> bool:
    """Pass over a level of folders that name splits; True if it was one.

    ``train/`` with class folders beside a flat ``test/`` is one: the images in ``test/``
    have no label. Nothing but flat folders called like splits is none at all.
    """
    words = {name: split_word(name) for name in names if split_word(name)}
    words = {name: split for name, split in words.items() if same_name(name) not in known}
    if not words:
        return False
    deep = {name for name in words if level.below(name)}
    if not deep:
        return _flat_splits(level, folder, words, known)
    outside = [name for name in names if name not in words]
    if "train" not in {words[name] for name in deep}:
        _meet_others(level, folder, [name for name in outside if level.below(name)], deep)
        deep = {name for name in deep if name in level.names()}
        if not deep:
            return True
    deep -= _without_the_classes(level, words, deep)
    for name in (*outside, *(name for name in words if name not in deep)):
        paths = level.within(name)
        if name in words:
            inner = ", ".join(sorted(level.below(name)))
            why = f"none of the class folders of {min(deep)}/ (but {inner})" if inner else ""
            why = why or "no class folders"
            level.put_aside(paths, f"{name}/ has {why}, so it has no label")
            level.left_out.append(
                f"{name}/ has {count_images(len(paths), 'unlabelled ')}, left out"
            )
        else:
            message = ", ".join(sorted(deep))
            level.put_aside(paths, f"it lies outside of the folders {message}")
            level.left_out.append(f"{name}/ has {count_images(len(paths))}, left out")
    if len(deep) > 1 or len(words) == 1:
        is_whole = len(deep) > 1 and "train" in {words[name] for name in deep}
        for name in deep if is_whole else ():
            level.split_names[name] = words[name]
            for path in level.within(name):
                level.splits[path] = words[name]
    level.above.append(" and ".join(f"{name}/" for name in sorted(deep)))
    level.depth += 1
    return True


def _flat_splits(level: Level, folder: Path, words: Mapping[str, str], known: set[str]) -> bool:
    """Leave out folders that are called like splits and hold no folders; True if that was done.

    Raises:
        ManifestError: nothing says whether one is a class.
    """
    names = level.names()
    if len(words) == len(names) > 1:
        msg = (
            f"{readable(str(folder))}: its folders ({few_of(sorted(names))}) are called like "
            "splits, and no class folders lie in them, so nothing says the class of an image. "
            "Add a table with the columns path and label to the folder, or sort the images "
            "into one folder per class; if these are classes, pass --label-column folder."
        )
        raise ManifestError(msg)
    others = [name for name in names if name not in words]
    if len(others) == 1 and _holds_classes(level, others[0], known):
        # One folder of class folders under any name, beside a flat test/.
        for name in words:
            paths = level.within(name)
            level.put_aside(paths, f"{name}/ has no class folders, so it has no label")
            level.left_out.append(
                f"{name}/ has {count_images(len(paths), 'unlabelled ')}, left out"
            )
        return True
    is_trial = set(words.values()) == {"test"} and set(map(same_name, others)) <= _CONTROLS
    if others and not is_trial:
        name = min(words)
        msg = (
            f"{readable(str(folder))}: {name}/ is called like a split and holds images without "
            f"class folders, beside {other_folders(len(others))} ({few_of(sorted(names))}). "
            f"Pass --label-map '{name}=' if its images have no label and are to be left out, "
            f"or --label-map '{name}={name}' if it is a class."
        )
        raise ManifestError(msg)
    return False


def _meet_others(level: Level, folder: Path, others: Sequence[str], deep: Collection[str]) -> None:
    """Look beside ``test/`` for what trains, where no folder is called so.

    A folder of folders of any name may hold what trains: ``test/`` is left out if none of the
    folders next to its images is one of theirs, else the two are a question.

    Raises:
        ManifestError: folders of equal names lie in both.
    """
    ends = {name: {level.parts[path][-1] for path in level.within(name)} for name in others}
    for name in sorted(deep) if others else ():
        inner = {level.parts[path][-1] for path in level.within(name)}
        shared = sorted(word for other in others for word in ends[other] if word in inner)
        if shared:
            other = next(other for other in others if shared[0] in ends[other])
            msg = (
                f"{readable(str(folder))}: {name}/ is called like a split, no folder is called "
                f"like the training split, and {other}/ holds the same folders ({few_of(shared)}). "
                f"Rename {other} to train if it trains, or pass one of them: {folder / other}."
            )
            raise ManifestError(msg)
        paths = level.within(name)
        level.put_aside(
            paths, f"{name}/ has none of the class folders of {others[0]}/, so it has no label"
        )
        level.left_out.append(f"{name}/ has {count_images(len(paths), 'unlabelled ')}, left out")


def _without_the_classes(level: Level, words: Mapping[str, str], deep: Collection[str]) -> set[str]:
    """Folders of splits that hold folders, but none of those in the training folder.

    ``test/unknown``, ``test/test`` and ``test/images`` beside ``train/rust`` name no class.
    """
    trained = {
        same_name(word) for name in deep if words[name] == "train" for word in level.below(name)
    }
    if len(trained) < 2:
        return set()
    return {
        name
        for name in deep
        if words[name] != "train" and not trained & set(map(same_name, level.below(name)))
    }


def _holds_classes(level: Level, name: str, known: set[str]) -> bool:
    """Whether a folder only holds class folders, and is no class itself."""
    words = level.below(name)
    is_class = is_class_word(name) or same_name(name) in known
    return len(words) > 1 and not is_class and not are_neutral(words)


def split_below(level: Level) -> None:
    """Take the split from folders in the class folders: ``healthy/train``, ``healthy/test``."""
    inner = {name for top in level.names() for name in level.below(top)}
    if level.split_names or len(inner) < 2 or not all(split_word(name) for name in inner):
        return
    d = level.depth
    if any(len(part) == d + 1 for part in level.parts.values()):
        return
    for path, part in level.parts.items():
        if len(part) > d + 1:
            level.splits[path] = split_word(part[d + 1])
            level.split_names[part[d + 1]] = level.splits[path]


def refuse_glued(folder: Path, names: Collection[str], known: set[str]) -> None:
    """Refuse folders that are called after a split and a class at once, as ``train_rust``.

    Raises:
        ManifestError: as classes they would hold training and test pictures of one thing apart.
    """
    splits = {glued_split(name) for name in names}
    if len(splits) < 2 or "" in splits or known & set(map(same_name, names)):
        return
    msg = (
        f"{readable(str(folder))}: its folders ({few_of(sorted(names))}) are called after a split "
        "and a class at once. Sort the images into train/CLASS/ and test/CLASS/, or add a table "
        "with the columns path, label and split; if each folder is a class of its own, pass "
        "--label-column folder."
    )
    raise ManifestError(msg)
