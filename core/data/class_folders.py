"""Which class the folders say an image is of, and whether the class names can be meant so.

Folders above an image may name a class, a split, a season, a farm, or that there are
masks in them. The rule goes down level by level: what a level is follows from its words
(``folder_words``) and from the names below it. An answer that is certain is printed; where
two are possible it stops, with the commands that settle it.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.base.words import quantity, without_marks
from core.data.folder_words import (
    glued_split,
    is_class_word,
    is_image_folder,
    is_mask_folder,
    is_neutral,
    is_person,
    is_unlabelled,
    is_version,
    same_name,
    split_word,
)
from core.data.scan import is_system, readable
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from core.app import Task
    from core.data.groups import Input
    from core.data.scan import Found

__all__ = ["FolderAnswer", "check_class_names", "label_by_folder"]

_SHOWN = 6
# Beside these a folder called test holds what was tried out, and is a class.
_CONTROLS = frozenset({"control", "controls", "ctrl", "reference", "placebo", "untreated", "blank"})


@dataclass
class FolderAnswer:
    """What the folders say, in words.

    Attributes:
        classes: the first line of a check: how many classes lie where, what is left out.
        split: where the split comes from; empty if the folders name none.
        notes: further sentences.
    """

    classes: str = ""
    split: str = ""
    notes: list[str] = field(default_factory=list)


@dataclass
class _Level:
    """How far down the rule has come.

    Attributes:
        depth: folders above the level that is looked at.
        parts: of each image still in, the folders above it.
        above: what the levels passed were taken for, in words.
        splits: of each image, the split its folders name.
        aside: of images left out, the reason.
        tops: of each image, folders passed that name a time or place.
    """

    parts: dict[Path, tuple[str, ...]]
    depth: int = 0
    above: list[str] = field(default_factory=list)
    splits: dict[Path, str] = field(default_factory=dict)
    split_names: dict[str, str] = field(default_factory=dict)
    aside: dict[Path, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    tops: dict[Path, list[str]] = field(default_factory=dict)

    def names(self) -> Counter[str]:
        """Folders at this level, with the images in or below them."""
        return Counter(p[self.depth] for p in self.parts.values() if len(p) > self.depth)

    def below(self, name: str) -> set[str]:
        """Folders that lie in a folder of this level."""
        d = self.depth
        return {p[d + 1] for p in self.parts.values() if len(p) > d + 1 and p[d] == name}

    def put_aside(self, paths: Collection[Path], reason: str) -> None:
        """Leave images out."""
        for path in list(paths):
            self.aside[path] = reason
            del self.parts[path]

    def within(self, name: str) -> list[Path]:
        """Images in or below a folder of this level."""
        return [p for p, q in self.parts.items() if len(q) > self.depth and q[self.depth] == name]


def label_by_folder(
    inputs: Mapping[Path, Input],
    folder: Path,
    images: Sequence[Found],
    *,
    task: Task,
    wanted: str = "",
    chosen: Mapping[str, str] | None = None,
    why: str = "",
) -> FolderAnswer:
    """Take the class from the folders, and the split if folders name splits.

    Args:
        inputs: by path; label, split and reason are filled in place.
        folder: the folder that was named.
        images: what was found in it.
        task: its classes, where it has some, tell which level names them.
        wanted: ``folder`` or ``parent``: the user says which level it is.
        chosen: ``--label-map``; a name in it is a class.
        why: a sentence that explains why no table is used; may be empty.

    Raises:
        ManifestError: there are no class folders, or nothing says which they are.
    """
    parts = {
        entry.path: tuple(readable(p) for p in entry.path.relative_to(folder).parts[:-1])
        for entry in images
    }
    level = _Level(parts)
    known = {same_name(name) for name in (*task.classes, *(chosen or {}))}
    answer = FolderAnswer()
    _go_down(level, folder, known, wanted, answer)
    d = level.depth
    _masks_below(level)
    if not any(len(p) > d for p in level.parts.values()):
        raise ManifestError(_nothing_says(folder, len(images), level, why))
    for path, part in level.parts.items():
        entry = inputs[path]
        entry.depth = d + 1
        if len(part) <= d:
            entry.reason = "it lies outside of the class folders"
            continue
        # Some systems write an accent as a sign of its own: one name must not be two classes.
        name = without_marks(part[-1] if wanted == "parent" else part[d])
        entry.label = unicodedata.normalize("NFC", name).strip()
        entry.split = level.splits.get(path, "")
        if path in level.tops:
            entry.extras.setdefault("folder", "/".join(level.tops[path]))
    for path, reason in level.aside.items():
        inputs[path].reason = reason
    given = {inputs[path].label for path in level.parts}
    labels = {(chosen or {}).get(label.casefold(), label) for label in given} - {""}
    n_loose = sum(len(part) <= d for part in level.parts.values())
    below = f" below {', '.join(level.above)}" if level.above else ""
    words = [f"classes: {len(labels)} folders{below} ({_few(sorted(labels))})"]
    words += level.left_out
    words += [f"{_images(n_loose)} outside of them, left out"] if n_loose else []
    answer.classes = f"{'; '.join(words)}."
    answer.notes += _empty_folders(folder, level)
    if level.split_names:
        answer.split = f"The split is that of the folders {', '.join(sorted(level.split_names))}."
    return answer


def _go_down(
    level: _Level, folder: Path, known: set[str], wanted: str, answer: FolderAnswer
) -> None:
    """Pass over levels that name no class, and stop at the one that does."""
    while True:
        names = level.names()
        if not names:
            return
        masks = [name for name in names if is_mask_folder(name) and same_name(name) not in known]
        if masks and len(masks) < len(names):
            for name in masks:
                paths = level.within(name)
                level.put_aside(paths, f"it lies in {name}/, a folder of masks")
                level.left_out.append(f"{name}/ has {len(paths):,} masks, left out")
            continue
        bare = [name for name in names if is_unlabelled(name) and same_name(name) not in known]
        if bare and len(bare) < len(names):
            for name in bare:
                paths = level.within(name)
                level.put_aside(paths, f"{name}/ is called after images without a label")
                level.left_out.append(f"{name}/ has {_images(len(paths), 'unlabelled ')}, left out")
            continue
        hits = sum(same_name(name) in known for name in names)
        if known and 2 * hits >= len(names):
            _split_below(level)
            return
        if _split_level(level, folder, names, known):
            continue
        if wanted in {"folder", "parent"}:
            return
        _refuse_glued(folder, names, known)
        if _is_passed_over(level, folder, names, known):
            continue
        _split_below(level)
        return


def _split_level(level: _Level, folder: Path, names: Counter[str], known: set[str]) -> bool:
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
            level.left_out.append(f"{name}/ has {_images(len(paths), 'unlabelled ')}, left out")
        else:
            told = ", ".join(sorted(deep))
            level.put_aside(paths, f"it lies outside of the folders {told}")
            level.left_out.append(f"{name}/ has {_images(len(paths))}, left out")
    if len(deep) > 1 or len(words) == 1:
        is_whole = len(deep) > 1 and "train" in {words[name] for name in deep}
        for name in deep if is_whole else ():
            level.split_names[name] = words[name]
            for path in level.within(name):
                level.splits[path] = words[name]
    level.above.append(" and ".join(f"{name}/" for name in sorted(deep)))
    level.depth += 1
    return True


def _flat_splits(level: _Level, folder: Path, words: Mapping[str, str], known: set[str]) -> bool:
    """Leave out folders that are called like splits and hold no folders; True if that was done.

    Raises:
        ManifestError: nothing says whether one is a class.
    """
    names = level.names()
    if len(words) == len(names) > 1:
        msg = (
            f"{readable(str(folder))}: its folders ({_few(sorted(names))}) are called like "
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
            level.left_out.append(f"{name}/ has {_images(len(paths), 'unlabelled ')}, left out")
        return True
    is_trial = set(words.values()) == {"test"} and set(map(same_name, others)) <= _CONTROLS
    if others and not is_trial:
        name = min(words)
        msg = (
            f"{readable(str(folder))}: {name}/ is called like a split and holds images without "
            f"class folders, beside {_folders(len(others))} ({_few(sorted(names))}). "
            f"Pass --label-map '{name}=' if its images have no label and are to be left out, "
            f"or --label-map '{name}={name}' if it is a class."
        )
        raise ManifestError(msg)
    return False


def _meet_others(level: _Level, folder: Path, others: Sequence[str], deep: Collection[str]) -> None:
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
                f"like the training split, and {other}/ holds the same folders ({_few(shared)}). "
                f"Rename {other} to train if it trains, or pass one of them: {folder / other}."
            )
            raise ManifestError(msg)
        paths = level.within(name)
        level.put_aside(
            paths, f"{name}/ has none of the class folders of {others[0]}/, so it has no label"
        )
        level.left_out.append(f"{name}/ has {_images(len(paths), 'unlabelled ')}, left out")


def _without_the_classes(
    level: _Level, words: Mapping[str, str], deep: Collection[str]
) -> set[str]:
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


def _holds_classes(level: _Level, name: str, known: set[str]) -> bool:
    """Whether a folder only holds class folders, and is no class itself."""
    words = level.below(name)
    is_class = is_class_word(name) or same_name(name) in known
    return len(words) > 1 and not is_class and not _are_neutral(words)


def _masks_below(level: _Level) -> None:
    """Leave out masks that lie in the class folders: ``rust/images`` and ``rust/masks``."""
    d = level.depth
    inner = {part[d + 1] for part in level.parts.values() if len(part) > d + 1}
    masks = {name for name in inner if is_mask_folder(name)}
    found = [p for p, q in level.parts.items() if len(q) > d + 1 and q[d + 1] in masks]
    if found and len(found) < len(level.parts):
        level.put_aside(found, "it lies in a folder of masks")
        level.left_out.append(f"{len(found):,} masks below them, left out")


def _split_below(level: _Level) -> None:
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


def _is_passed_over(level: _Level, folder: Path, names: Counter[str], known: set[str]) -> bool:
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
            raise ManifestError(_two_levels(folder, sorted(names), deeper))
        _pass_over(level, names)
        return True
    if len(shared) < 2 or 2 * n_deep < len(level.parts):
        _refuse_versions(folder, names, known)
        is_place = all(is_neutral(name, with_codes=False) for name in names)
        is_people = len(names) > 2 and all(map(is_person, names))
        if (is_place or is_people) and not level.tops and not known & set(map(same_name, names)):
            _refuse_neutral(folder, names)
        if _may_be_below(level, names, known):
            raise ManifestError(_two_levels(folder, sorted(names), sorted(times)))
        return False
    if all(is_version(name) for name in names):
        msg = (
            f"{readable(str(folder))}: the same classes ({_few(shared)}) lie below "
            f"{_few(sorted(names))}, which are versions of the same pictures. Together they would "
            f"be in training and test at once. Pass one of them: {folder.joinpath(min(names))}."
        )
        raise ManifestError(msg)
    if not _class_is_below(names, shared, len(times), known):
        if _class_is_here(names, shared):
            return False
        raise ManifestError(_two_levels(folder, sorted(names), shared))
    _pass_over(level, names)
    return True


def _refuse_glued(folder: Path, names: Collection[str], known: set[str]) -> None:
    """Refuse folders that are called after a split and a class at once, as ``train_rust``.

    Raises:
        ManifestError: as classes they would hold training and test pictures of one thing apart.
    """
    splits = {glued_split(name) for name in names}
    if len(splits) < 2 or "" in splits or known & set(map(same_name, names)):
        return
    msg = (
        f"{readable(str(folder))}: its folders ({_few(sorted(names))}) are called after a split "
        "and a class at once. Sort the images into train/CLASS/ and test/CLASS/, or add a table "
        "with the columns path, label and split; if each folder is a class of its own, pass "
        "--label-column folder."
    )
    raise ManifestError(msg)


def _refuse_versions(folder: Path, names: Collection[str], known: set[str]) -> None:
    """Refuse folders that are called after versions of pictures and hold no class folders.

    Raises:
        ManifestError: nothing says the class.
    """
    if not all(map(is_version, names)) or known & set(map(same_name, names)):
        return
    msg = (
        f"{readable(str(folder))}: its folders ({_few(sorted(names))}) are called after versions "
        "of pictures, and no class folders lie in them, so nothing says the class of an image. "
        "Pass one of them with a table, or sort its images into one folder per class; if these "
        "are classes, pass --label-column folder."
    )
    raise ManifestError(msg)


def _pass_over(level: _Level, names: Collection[str]) -> None:
    """Go below a level of folders that name times or places, and remember which."""
    for path, part in level.parts.items():
        if len(part) > level.depth:
            level.tops.setdefault(path, []).append(part[level.depth])
    level.above.append(" and ".join(f"{name}/" for name in sorted(names)[:4]))
    level.left_out.append(
        f"{_few(sorted(names))} lie above them; pass --group folder to keep each in one split"
    )
    level.depth += 1


def _beyond_splits(level: _Level) -> list[str]:
    """Folders that lie in several folders of splits two levels down, and could be classes."""
    d = level.depth
    places: dict[str, set[tuple[str, str]]] = {}
    for part in level.parts.values():
        if len(part) > d + 2:
            places.setdefault(part[d + 2], set()).add((part[d], part[d + 1]))
    names = sorted(name for name, where in places.items() if len(where) > 1) or sorted(places)
    is_other = all(is_mask_folder(name) or is_image_folder(name) for name in names)
    return [] if len(names) < 2 or is_other or _are_neutral(names) else names


def _may_be_below(level: _Level, names: Collection[str], known: set[str]) -> bool:
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
    if is_other or _are_neutral(words) or any(is_neutral(w) for w in words):
        return False
    is_here = any(map(is_class_word, names))
    if len(inner) == len(names):
        is_here &= not any(map(is_class_word, words))
    return bool(inner) and all(len(each) > 1 for each in inner) and not is_here


def _is_only_a_top(level: _Level, only: str, known: set[str]) -> bool:
    """Whether the one folder of a level only holds the class folders; then it is passed over."""
    words = level.below(only)
    d = level.depth
    is_whole = all(len(part) > d + 1 for part in level.parts.values()) and bool(words)
    is_class = is_class_word(only) or same_name(only) in known
    is_empty_top = is_image_folder(only) and not words and same_name(only) not in known
    is_top = is_whole and not _are_neutral(words) and (is_image_folder(only) or not is_class)
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
        or (_are_neutral(shared) and not is_place)
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
        or (_are_neutral(names) and not _are_neutral(shared))
        or all(map(is_image_folder, names))
        or (
            any(map(is_class_word, shared))
            and not any(map(is_class_word, names))
            and len(shared) == n_below
        )
    )


def _are_neutral(names: Collection[str]) -> bool:
    """Whether most names say a time or a place, and none a class."""
    n = sum(is_neutral(name) for name in names)
    return 2 * n > len(names) and not any(map(is_class_word, names))


def _refuse_neutral(folder: Path, names: Collection[str]) -> None:
    """Refuse flat folders that are called like years, farms or patients."""
    msg = (
        f"{readable(str(folder))}: its {len(names)} folders ({_few(sorted(names))}) are called "
        "like times, places or numbers, so nothing says which class an image is of. Add a table "
        "with the columns path and label, sort the images into one folder per class, or pass "
        "--label-column folder if these are the classes."
    )
    raise ManifestError(msg)


def _two_levels(folder: Path, names: Sequence[str], shared: Sequence[str]) -> str:
    """What to say where two levels of folders could name the class."""
    return (
        f"{readable(str(folder))}: the same folders ({_few(shared)}) lie below several of "
        f"{_few(names)}, so either could be the class, and a model of the wrong one would be "
        "trained without a word. Settle it with one of: --label-column parent (the classes are "
        f"{_few(shared)}), --label-column folder (the classes are {_few(names)}), or a folder with "
        f"one of them: {folder.joinpath(names[0])}."
    )


def _nothing_says(folder: Path, n: int, level: _Level, why: str) -> str:
    """What to say of images without class folders."""
    aside = f" ({'; '.join(level.left_out)})" if level.left_out else ""
    return (
        f"{readable(str(folder))}: it holds {n:,} images{aside}, but nothing says their "
        f"class.{why} Put them into one folder per class, or add a table with the columns path and "
        "label."
    )


def _empty_folders(folder: Path, level: _Level) -> list[str]:
    """A note on class folders without an image."""
    d = level.depth
    bases = {part[:d] for part in level.parts.values() if len(part) >= d}
    full = {part[: d + 1] for part in level.parts.values()}
    empty = []
    for base in sorted(bases):
        place = folder.joinpath(*base)
        children = sorted(place.iterdir()) if place.is_dir() else []
        empty += [
            "/".join((*base, readable(child.name)))
            for child in children
            if child.is_dir()
            and not is_system(child.name)
            and (*base, readable(child.name)) not in full
            and not any(path.is_relative_to(child) for path in level.aside)
        ]
    if not empty:
        return []
    shown = ", ".join(empty[:5])
    return [f"{len(empty)} class folder(s) hold no image and are no class: {shown}."]


def _images(n: int, kind: str = "") -> str:
    """So many images."""
    return quantity(n, f"{kind}image")


def _folders(n: int) -> str:
    """So many other folders."""
    return "another folder" if n == 1 else f"{n} other folders"


def _few(names: Sequence[str]) -> str:
    """The first few names."""
    more = ", ..." if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _without_copy_marks(name: str) -> str:
    """A class name as it is compared, without what systems add to the name of a copy."""
    bare = re.sub(r"(?i)\s*(?:\(\d+\)|[-_ ]+(?:copy|kopie|copia|copie)(?: ?\(?\d+\)?)?)$", "", name)
    return same_name(re.sub(r"(?i)^(?:copy of|kopie von|copia de|copie de) ", "", bare) or name)


def check_class_names(usable: Sequence[Input], task: Task, root: Path) -> None:
    """Refuse what would train another model than the one meant.

    Raises:
        ManifestError: one class name is spelled in two ways, or there is but
            one class and the task names no other.
    """
    counts: Counter[str] = Counter()
    for entry in usable:
        is_many = task.kind == "multilabel"
        counts.update(entry.label.split(task.label_separator) if is_many else [entry.label])
    spelled: dict[str, list[str]] = {}
    for name in sorted(counts):
        spelled.setdefault(_without_copy_marks(name), []).append(name)
    twice = [names for names in spelled.values() if len(names) > 1]
    if twice:
        names = sorted(twice[0], key=lambda name: -counts[name])
        shown = ", ".join(f"{name!r} ({counts[name]:,} images)" for name in names)
        msg = (
            f"{readable(str(root))}: {len(twice)} class name(s) are spelled in several ways "
            f"(first: {shown}). They would count as different classes. Did you mean {names[0]!r} "
            f"for all of them? Rename the others, or pass --label-map '{names[1]}={names[0]}'."
        )
        raise ManifestError(msg)
    classes = sorted(name for name in counts if name)
    if len(classes) == 1 and not task.classes and task.kind != "multilabel":
        inner = root / classes[0]
        below = [c for c in inner.iterdir() if c.is_dir()] if inner.is_dir() else []
        hint = f" If the classes are the folders in it, pass {inner}." if len(below) > 1 else ""
        msg = (
            f"{readable(str(root))}: all {sum(counts.values()):,} images are of one class "
            f"({classes[0]!r}); a model needs at least two to tell apart.{hint} Add a folder, or "
            "rows, of another class."
        )
        raise ManifestError(msg)
