"""Checks of the audit: each question about the data with its verdict and a sentence.

Each takes what ``core.data.audit`` has measured and looks at no image itself.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from core.base.tables import SPLITS, check_splits
from core.base.words import SHORTCUTS, percent, plural, quantity
from core.data.facts import TINY_PX, Facts
from core.data.groups import EXAMPLE
from core.data.split import FEW_IMAGES, LEAST_GROUPS
from core.errors import LeakageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    import pandas as pd

    from core.app import Manifest, Task
    from core.data.duplicates import NearPair
    from core.data.shortcuts import Shortcut
    from core.data.symmetry import Symmetry

__all__ = [
    "NO_PICTURE_TWICE",
    "PASSED",
    "UNKNOWN",
    "WARNING",
    "Check",
    "class_table",
    "classes",
    "copies_across",
    "exact",
    "forms",
    "groups_across",
    "labels",
    "near",
    "no_labels",
    "not_asked",
    "readable",
    "shortcut",
    "symmetry",
]

PASSED, WARNING, UNKNOWN = "passed", "warning", "cannot be checked"

# Times as many images as the rarest class from which the commonest drowns it.
_IMBALANCED = 20

# Share of the range of 16 bits below which all values of a set end where fewer bits were stored.
_DARK = 0.26

NO_PICTURE_TWICE = "No picture twice"

_ADVICE = {
    "file": "A network can learn the camera or the site instead of the subject. Take all classes "
    "from the same sources.",
    "colour": "That may be a sign of the disease, or the light and the camera of each class: "
    "compare images of one source.",
    "border": "The background differs between classes. Compare the model's result with this "
    "number, and look at where it looks.",
}


@dataclass(frozen=True)
class Check:
    """One line of the audit."""

    name: str
    title: str
    verdict: str
    words: str


def readable(n: int, bad: Sequence[Facts]) -> Check:
    """Whether the images could be decoded, all of them in full."""
    title = "Files can be read"
    if not bad:
        return Check("readable", title, PASSED, f"All {n:,} images were decoded in full.")
    message = f"{len(bad):,} of {quantity(n, 'image')} cannot be read"
    if len(bad) == n:
        message = f"None of {quantity(n, 'image')} can be read"
    words = (
        f"{message} (first: {bad[0].reason}) Such a "
        "file stays in every table as failed and is used for nothing."
    )
    return Check("readable", title, WARNING, words)


def not_asked(check: Check) -> Check:
    """A check where there is nothing to look at."""
    return replace(check, verdict=UNKNOWN, words="Not asked: no image can be read.")


def no_labels(name: str) -> Check:
    """A check about labels where no image has one."""
    title = {"classes": "Enough of every class", "labels": "Copies agree about the class"}[name]
    words = "No image has a label; see the notes for what would give one."
    return Check(name, title, UNKNOWN, words)


def classes(rows: pd.DataFrame, task: Task, group: str) -> Check:
    """Whether each class has enough images, and none drowns another."""
    title = "Enough of every class"
    found = class_table(rows, task)
    counts = {task.title(name): sum(by_split.values()) for name, by_split in found.items()}
    sentences = []
    absent = [name for name, n in counts.items() if not n]
    small = [f"{name} ({n})" for name, n in counts.items() if 0 < n < FEW_IMAGES]
    if absent:
        sentences.append(f"No image of {', '.join(absent)}.")
    if small:
        sentences.append(
            f"Fewer than {FEW_IMAGES} images of {', '.join(small)}; a split needs at least "
            f"{3 * LEAST_GROUPS} images of each class, each of another {group}."
        )
    ranked = sorted(((n, name) for name, n in counts.items() if n), reverse=True)
    most, least = (ranked[0], ranked[-1]) if ranked else ((0, ""), (0, ""))
    if least[0] and most[0] >= _IMBALANCED * least[0]:
        sentences.append(
            f"{most[1]} has {most[0] / least[0]:.0f} times the images of {least[1]}: accuracy says "
            "little here, look at balanced accuracy and at each class."
        )
    if sentences:
        return Check("classes", title, WARNING, " ".join(sentences))
    words = (
        f"{len(ranked)} classes, of {least[0]:,} ({least[1]}) to {most[0]:,} ({most[1]}) images."
    )
    return Check("classes", title, PASSED, words)


def labels(conflicts: Sequence[Mapping[str, Any]], task: Task) -> Check:
    """Whether copies have one label; ``conflicts`` are those that have not."""
    title = "Copies agree about the class"
    if not conflicts:
        return Check("labels", title, PASSED, "No two copies have different classes.")
    first = conflicts[0]
    titles = [task.title(name) for name in first["labels"]]
    words = (
        f"{quantity(len(conflicts), 'set')} of copies with different classes (first: "
        f"{_pairs_of(first['image_ids'], titles)}). One of the labels or files is wrong: "
        "look at these images first."
    )
    return Check("labels", title, WARNING, words)


def exact(exact: Sequence[Sequence[str]]) -> Check:
    """Whether images have the pixels of another."""
    title = "No image twice"
    if not exact:
        return Check("exact", title, PASSED, "No two files hold the same pixels.")
    extra = sum(len(ids) - 1 for ids in exact)
    words = (
        f"{quantity(extra, 'image')} with the pixels of another, in {quantity(len(exact), 'set')} "
        f"(first: {' = '.join(exact[0][:3])}). They add no information and count double."
    )
    return Check("exact", title, WARNING, words)


def near(near: Sequence[NearPair], *, is_complete: bool, n_tiny: int) -> Check:
    """Whether images show the picture of another."""
    title = NO_PICTURE_TWICE
    limit = "" if is_complete else " Only the closest candidates were compared; there may be more."
    if n_tiny:
        limit += (
            f" {quantity(n_tiny, 'image')} with a side below {TINY_PX} px have no fine structure "
            "and are compared by their pixels, upright only."
        )
    if not near:
        verdict = PASSED if is_complete else UNKNOWN
        words = f"No two images show the same thing, mirrored, turned or cropped.{limit}"
        return Check("near", title, verdict, words)
    words = (
        f"{quantity(len(near), 'pair')} of images of the same thing, re-saved or taken again "
        f"(first: {near[0].first} and {near[0].second}). A split that is drawn keeps them "
        f"together.{limit}"
    )
    return Check("near", title, WARNING, words)


def copies_across(
    rows: pd.DataFrame, exact: Sequence[Sequence[str]], near: Sequence[NearPair]
) -> Check:
    """Whether copies stand in two splits."""
    title = "No copy in two splits"
    split = dict(zip(rows["image_id"], rows["split"].fillna(""), strict=True))
    if not any(split.values()):
        words = "The data give no split; when one is drawn, copies stay together."
        return Check("copies_across", title, PASSED, words)
    pairs = [(ids[0], other) for ids in exact for other in ids[1:]]
    pairs += [(pair.first, pair.second) for pair in near]
    crossing = [(a, b) for a, b in pairs if split[a] != split[b]]
    if not crossing:
        words = "No copy of an image stands in another split of those given."
        return Check("copies_across", title, PASSED, words)
    a, b = crossing[0]
    words = (
        f"{quantity(len(crossing), 'pair')} of copies in different splits of those given (first: "
        f"{a} in the given {split[a]}, {b} in the given {split[b]}). The result will look better "
        "than it is. Remove one of each pair, or leave the split out and let one be drawn."
    )
    return Check("copies_across", title, WARNING, words)


def groups_across(rows: pd.DataFrame, manifest: Manifest, group: str) -> Check:
    """Whether a group stands in two splits."""
    title = f"No {group} in two splits"
    known = rows[rows["group"].fillna("") != ""]
    if not len(known):
        words = (
            f"Nothing says which images show the same {group}. If some do, they may stand in "
            "different splits and make the result look better than it is. Say it by --group: a "
            f"column of a table, parent (the folder of each file), or file names as in {EXAMPLE}; "
            "image_id if every image stands for itself."
        )
        return Check("groups_across", title, UNKNOWN, words)
    try:
        check_splits(rows)
    except LeakageError as error:
        return Check("groups_across", title, WARNING, f"{_leaking(rows)}{error}")
    bare = len(rows) - len(known)
    note = f" {bare:,} images have none and count as their own." if bare else ""
    done = (
        "and none stands in two splits"
        if rows["split"].fillna("").any()
        else "kept whole when a split is drawn"
    )
    n_groups = known["group"].nunique()
    if n_groups == 1 and len(known) > 1:
        words = (
            f"All {len(known):,} images carry one {group} ({known['group'].iloc[0]!s:.40}), so it "
            "tells nothing apart and no split can keep it whole; anonymisers write one id into "
            "all. Name a column that does: --group, or pass --group image_id."
        )
        return Check("groups_across", title, WARNING, words)
    words = f"{n_groups:,} {plural(group, n_groups)} of {len(known):,} images, {done}.{note}"
    return Check("groups_across", title, PASSED if not bare else UNKNOWN, words)


def _leaking(rows: pd.DataFrame) -> str:
    """How many images of each split that judges have a group that trains as well."""
    split, group = rows["split"].fillna(""), rows["group"].fillna("")
    trained = set(group[split == "train"]) - {""}
    sentences = []
    for name in ("val", "test"):
        held = group[split == name]
        n = int(held.isin(trained).sum())
        sentences += [f"{n:,} of {len(held):,} images of {name}"] if n else []
    return f"{' and '.join(sentences)} are of a group that trains. " if sentences else ""


def forms(read: Sequence[Facts]) -> Check:
    """Whether the images that were read are of one size, depth and format."""
    title = "Images are of one kind"
    kinds = Counter(f"{quantity(e.channels, 'channel')} of {e.dtype}" for e in read)
    formats, sizes = Counter(e.format for e in read), Counter((e.width, e.height) for e in read)
    pixels = sorted(e.width * e.height for e in read)
    found = f"{', '.join(formats)}; {quantity(len(sizes), 'size')}"
    if pixels:
        low, high = (min(read, key=_area), max(read, key=_area))
        least, most = (f"{entry.width} x {entry.height}" for entry in (low, high))
        found += f", {least} pixels" if least == most else f", {least} to {most} pixels"
    masks = [entry for entry in read if entry.is_two_valued]
    if 0 < len(masks) < len(read):
        words = (
            f"{len(masks):,} images hold two values and no other, as masks do (first: "
            f"{masks[0].image_id}), beside {len(read) - len(masks):,} that hold more. If they are "
            "masks of others, they count as images of their class: move them into a folder called "
            f"masks, or add _mask to their names. {found}."
        )
        return Check("forms", title, WARNING, words)
    deep = [entry.highest for entry in read if entry.dtype == "uint16"]
    if deep and 0 < max(deep) < _DARK:
        top = round(max(deep) * 65535)
        words = (
            f"{quantity(len(deep), '16-bit image')} with no value above {top:,} of 65,535, as "
            f"values of {top.bit_length()} bits have. An app that stretches each image by itself "
            f"(as images does) reads them as they are; for others they are nearly black: scale "
            f"them to the full range of 16 bits. {found}."
        )
        return Check("forms", title, WARNING, words)
    if len(kinds) > 1:
        mixed = ", ".join(f"{n:,} x {kind}" for kind, n in kinds.most_common())
        words = (
            f"Images differ in depth or colour ({mixed}); they become alike on the way in, but ask "
            f"whether they come from different machines. {found}."
        )
        return Check("forms", title, WARNING, words)
    if pixels and pixels[-1] > 16 * pixels[0]:
        words = (
            f"Images differ widely in size: {found}. What is visible in one may be lost in another."
        )
        return Check("forms", title, WARNING, words)
    return Check("forms", title, PASSED, f"{next(iter(kinds), 'no images')}; {found}.")


def symmetry(found: Symmetry) -> Check:
    """Which flips change nothing about the class."""
    return Check("symmetry", "Which flips training may use", PASSED, found.words)


def shortcut(entry: Shortcut) -> Check:
    """Whether the class can be told without looking at what the image shows."""
    name, title = (
        f"shortcut_{entry.name}",
        f"The label cannot be predicted from {SHORTCUTS[entry.name]} alone",
    )
    if entry.value is None:
        return Check(name, title, UNKNOWN, f"Not asked: {entry.reason}.")
    words = (
        f"From {SHORTCUTS[entry.name]} alone it is predicted with a balanced accuracy of "
        f"{percent(entry.value)} (95 % interval {percent(entry.low)} to {percent(entry.high)}; "
        f"chance is {percent(entry.chance)}; {entry.n:,} images, on groups not trained on)."
    )
    if entry.is_warning:
        return Check(name, title, WARNING, f"{words} {_ADVICE[entry.name]}")
    words += f" Warned of where all of it lies above {percent(entry.limit)}."
    return Check(name, title, PASSED, words)


def class_table(rows: pd.DataFrame, task: Task) -> dict[str, dict[str, int]]:
    """Images of each class in each split; the split is empty where it is not yet drawn."""
    counts: dict[str, dict[str, int]] = {name: {} for name in task.classes}
    for label, split in zip(rows["label"].fillna(""), rows["split"].fillna(""), strict=True):
        names = label.split(task.label_separator) if task.kind == "multilabel" else [label]
        for name in filter(None, names):
            of_class = counts.setdefault(name, {})
            of_class[split] = of_class.get(split, 0) + 1
    order = ("", *SPLITS)
    return {name: {s: n[s] for s in order if s in n} for name, n in counts.items()}


def _area(entry: Facts) -> int:
    return entry.width * entry.height


def _pairs_of(ids: Sequence[str], labels: Sequence[str]) -> str:
    """Ids with their labels, for a sentence."""
    return ", ".join(f"{i} is {label}" for i, label in zip(ids[:3], labels[:3], strict=True))
