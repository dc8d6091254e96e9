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

from core.base.words import without_marks
from core.data.folder_levels import Level, count_images, few_of
from core.data.folder_words import is_mask_folder, is_unlabelled, same_name, spelled_alike
from core.data.mask_pairs import refuse_mask_pairs
from core.data.passed_folders import is_passed_over
from core.data.scan import is_system, readable
from core.data.split_folders import refuse_glued, split_below, split_level
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from core.app import Task
    from core.data.groups import Input
    from core.data.scan import Found

__all__ = ["FolderAnswer", "check_class_names", "label_by_folder"]


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


def label_by_folder(
    inputs: Mapping[Path, Input],
    folder: Path,
    images: Sequence[Found],
    *,
    task: Task,
    wanted: str = "",
    group: str = "",
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
        group: ``--group``; if it is ``parent``, the folder of a file is no class.
        chosen: ``--label-map``; a name in it is a class.
        why: a sentence that explains why no table is used; may be empty.

    Raises:
        ManifestError: there are no class folders, or nothing says which they are.
    """
    parts = {
        entry.path: tuple(readable(p) for p in entry.path.relative_to(folder).parts[:-1])
        for entry in images
    }
    level = Level(parts, is_grouped=group == "parent")
    known = {same_name(name) for name in (*task.classes, *(chosen or {}))}
    answer = FolderAnswer()
    if not wanted:
        refuse_mask_pairs(folder, parts, known)
    _go_down(level, folder, known, wanted, answer)
    d = level.depth
    _masks_below(level)
    if not any(len(p) > d for p in level.parts.values()):
        raise ManifestError(_nothing_says(folder, len(images), level, why))
    for path, part in level.parts.items():
        entry = inputs[path]
        entry.depth = len(part) if wanted == "parent" else d + 1
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
    words = [f"classes: {len(labels)} folders{below} ({few_of(sorted(labels))})"]
    words += level.left_out
    words += [f"{count_images(n_loose)} outside of them, left out"] if n_loose else []
    answer.classes = f"{'; '.join(words)}."
    answer.notes += _empty_folders(folder, level)
    if level.split_names:
        answer.split = f"The split is that of the folders {', '.join(sorted(level.split_names))}."
    return answer


def _go_down(
    level: Level, folder: Path, known: set[str], wanted: str, answer: FolderAnswer
) -> None:
    """Pass over levels that name no class, and stop at the one that does."""
    while True:
        names = level.names()
        if not names:
            return
        if _without_no_classes(level, names, known):
            continue
        hits = sum(same_name(name) in known for name in names)
        if known and 2 * hits >= len(names):
            split_below(level)
            return
        if split_level(level, folder, names, known):
            continue
        if wanted in {"folder", "parent"}:
            return
        refuse_glued(folder, names, known)
        if is_passed_over(level, folder, names, known):
            continue
        split_below(level)
        return


def _without_no_classes(level: Level, names: Collection[str], known: set[str]) -> bool:
    """Put aside folders that are no classes by their names, if any are and others are there."""
    for is_none, reason in (
        (is_mask_folder, "it lies in {}/, a folder of masks"),
        (is_unlabelled, "{}/ is called after images without a label"),
    ):
        found = [name for name in names if is_none(name) and same_name(name) not in known]
        if found and len(found) < len(names):
            for name in found:
                paths = level.within(name)
                level.put_aside(paths, reason.format(name))
                is_mask = is_none is is_mask_folder
                n = f"{len(paths):,} masks" if is_mask else count_images(len(paths), "unlabelled ")
                level.left_out.append(f"{name}/ has {n}, left out")
            return True
    return False


def _masks_below(level: Level) -> None:
    """Leave out masks that lie in the class folders: ``rust/images`` and ``rust/masks``."""
    d = level.depth
    inner = {part[d + 1] for part in level.parts.values() if len(part) > d + 1}
    masks = {name for name in inner if is_mask_folder(name)}
    found = [p for p, q in level.parts.items() if len(q) > d + 1 and q[d + 1] in masks]
    if found and len(found) < len(level.parts):
        level.put_aside(found, "it lies in a folder of masks")
        level.left_out.append(f"{len(found):,} masks below them, left out")


def _nothing_says(folder: Path, n: int, level: Level, why: str) -> str:
    """What to say of images without class folders."""
    aside = f" ({'; '.join(level.left_out)})" if level.left_out else ""
    return (
        f"{readable(str(folder))}: it holds {n:,} images{aside}, but nothing says their "
        f"class.{why} Put them into one folder per class, or add a table with the columns path and "
        "label."
    )


def _empty_folders(folder: Path, level: Level) -> list[str]:
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
    if twice := spelled_alike(counts, "images", _without_copy_marks):
        names, shown = twice[0]
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
