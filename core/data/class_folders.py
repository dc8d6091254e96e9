"""Which class the folders say an image is of, and whether the class names can be meant so."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from core.data.manifest_tables import SPLIT_NAMES
from core.data.scan import readable
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from core.app import Task
    from core.data.groups import Input
    from core.data.scan import Found

__all__ = ["check_class_names", "label_by_folder"]


def label_by_folder(
    inputs: Mapping[Path, Input], folder: Path, images: Sequence[Found], *, why: str
) -> tuple[str, list[str]]:
    """Take the class from the folders, and the split if the first folders name splits.

    Args:
        inputs: by path; label, split and reason are filled in place.
        folder: the folder that holds the class folders.
        images: what was found in it.
        why: a sentence that explains why no table is used; may be empty.

    Returns:
        The split in words, empty if the folders name none, and notes.

    Raises:
        ManifestError: there are no class folders.
    """
    parts = {entry.path: entry.path.relative_to(folder).parts[:-1] for entry in images}
    tops = {part[0] for part in parts.values() if part}
    named = {
        top: SPLIT_NAMES[top.strip().lower()] for top in tops if top.strip().lower() in SPLIT_NAMES
    }
    # A folder "test" may be a class; it is a split only if class folders lie in it.
    is_split = bool(named) and all(
        any(len(part) > 1 and part[0] == top for part in parts.values()) for top in named
    )
    depth = 2 if is_split else 1
    if not any(len(part) >= depth for part in parts.values()):
        msg = (
            f"{readable(str(folder))}: it holds {len(images):,} images, but nothing says their "
            f"class.{why} "
            "Put them into one folder per class, or add a table with the columns path and label."
        )
        raise ManifestError(msg)
    for path, part in parts.items():
        entry = inputs[path]
        entry.depth = depth
        if len(part) < depth:
            entry.reason = "it lies outside of the class folders"
        elif is_split and part[0] not in named:
            entry.reason = f"it lies outside of the folders {', '.join(sorted(named))}"
        else:
            entry.label = readable(part[depth - 1]).strip()
            entry.split = named[part[0]] if is_split else ""
    bases = [folder / top for top in sorted(named)] if is_split else [folder]
    full = {folder.joinpath(*part[:depth]) for part in parts.values()}
    empty = [
        readable(child.relative_to(folder).as_posix())
        for base in bases
        for child in sorted(base.iterdir())
        if child.is_dir() and not child.name.startswith(".") and child not in full
    ]
    notes = []
    if empty:
        shown = ", ".join(empty[:5])
        notes.append(f"{len(empty)} class folder(s) hold no image and are no class: {shown}.")
    rule = f"The split is that of the folders {', '.join(sorted(named))}." if is_split else ""
    return rule, notes


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
        spelled.setdefault(re.sub(r"[\s_-]+", " ", name.strip().casefold()), []).append(name)
    twice = [names for names in spelled.values() if len(names) > 1]
    if twice:
        names = sorted(twice[0], key=lambda name: -counts[name])
        shown = ", ".join(f"{name!r} ({counts[name]:,} images)" for name in names)
        msg = (
            f"{readable(str(root))}: {len(twice)} class name(s) are spelled in several ways "
            f"(first: {shown}). They would count as different classes. Did you mean {names[0]!r} "
            "for all of them? Rename the others."
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
