"""What is wrong with the data, found before anything is trained on them.

Every file is decoded in full, then: what cannot be read, what is there twice,
what contradicts itself, what is too little, what leaks between splits, and what
would let a network guess the label without looking. Each check ends in a
verdict - passed, warning, or cannot be checked - and in a sentence.

This module changes no file and draws no split.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from core.base.progress import track
from core.base.tables import SPLITS, check_splits
from core.base.words import SHORTCUTS, percent, plural, quantity
from core.data.duplicates import (
    NearPair,
    exact_copies,
    is_tiny,
    near_copies,
    of_whole_files,
)
from core.data.facts import TINY_PX, Facts, measure_all
from core.data.groups import EXAMPLE
from core.data.moved_copies import moved_copies
from core.data.shortcuts import Shortcut, shortcuts
from core.data.split import FEW_IMAGES, LEAST_GROUPS, merge_groups
from core.data.symmetry import Symmetry, measure_symmetry
from core.errors import LeakageError, ManifestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from core.app import App, Manifest, Task
    from core.data.moved_copies import Embed

__all__ = [
    "PASSED",
    "UNKNOWN",
    "WARNING",
    "audit",
    "image_facts_of",
    "joined_groups",
    "merge_duplicates",
]

PASSED, WARNING, UNKNOWN = "passed", "warning", "cannot be checked"

# Times as many images as the rarest class from which the commonest drowns it.
_IMBALANCED = 20

# Share of the range of 16 bits below which all values of a set end where fewer bits were stored.
_DARK = 0.26
# From so many pairs on it is asked whether pairs that look alike are copies: those of real sets
# differ in class at most 0.17 times as often as any two images, letters and masks 0.36 to 1.4.
_ENOUGH_PAIRS, _UNLIKE_COPIES = 10, 0.25
_NO_PICTURE_TWICE = "No picture twice"

_FACT_COLUMNS = (
    *("image_id", "height", "width", "channels", "dtype", "bytes", "format"),
    *("sha256", "brightness", "contrast"),
)

_ADVICE = {
    "file": "A network can learn the camera or the site instead of the subject. Take all classes "
    "from the same sources.",
    "colour": "That may be a sign of the disease, or the light and the camera of each class: "
    "compare images of one source.",
    "border": "The background differs between classes. Compare the model's result with this "
    "number, and look at where it looks.",
}


@dataclass(frozen=True)
class _Check:
    """One line of the audit."""

    name: str
    title: str
    verdict: str
    words: str


def audit(
    manifest: Manifest,
    *,
    app: App,
    task: Task,
    progress: bool = False,
    workers: int = 1,
    embed: Embed | None = None,
) -> dict[str, Any]:
    """Look at every image of a manifest; the content of ``audit.json``.

    Args:
        manifest: labelled; rows that are not ok are counted only.
        app: whose ``read`` decodes.
        task: with its classes.
        progress: whether to show a bar where there is a terminal.
        workers: threads.
        embed: embeddings of a frozen network, by which copies are found as well.

    Returns:
        Plain values: ``checks`` (name, title, verdict, words), ``counts``,
        ``classes``, ``unreadable``, ``exact``, ``near``, ``conflicts``,
        ``symmetry``, ``shortcuts``, ``formats``, ``sizes``, ``images`` (one list per fact).
    """
    ok = manifest.table[manifest.table["status"] == "ok"]
    with track("reading", len(ok) if progress else 0) as done:
        measured = measure_all(ok, manifest.root, read=app.read, workers=workers, done=done)
    facts = {entry.image_id: entry for entry in measured}
    bad = [entry for entry in measured if entry.reason]
    rows = ok[~ok["image_id"].isin([entry.image_id for entry in bad])]
    label = dict(zip(rows["image_id"], rows["label"].fillna(""), strict=True))
    exact, near, near_check = _found_copies(ok, measured, label, workers, embed)
    conflicts, has_labels = _conflicts(exact, near, label), any(label.values())
    try:
        asked = shortcuts(rows, facts, task) if has_labels else _unasked(len(rows))
    except ManifestError as error:
        asked = [Shortcut(name, None, None, None, 0.0, len(rows), str(error)) for name in SHORTCUTS]
    symmetry = _measured_symmetry(app, manifest, rows, facts, task) if has_labels else None
    word = manifest.group_word or app.group
    checks = [
        _readable(len(ok), bad),
        _classes(rows, task, word) if has_labels else _no_labels("classes"),
        _labels(conflicts, task) if has_labels else _no_labels("labels"),
        _exact(exact),
        near_check,
        _copies_across(rows, exact, near),
        _groups_across(rows, manifest, word),
        _forms([entry for entry in measured if not entry.reason]),
        *(_shortcut(entry) for entry in asked),
        *([_symmetry(symmetry)] if symmetry else []),
    ]
    if bad and len(bad) == len(ok):
        checks = [checks[0], *map(_not_asked, checks[1:])]
    return {
        "app": app.name,
        "task": task.name,
        "root": str(manifest.root),
        "counts": {
            "rows": len(manifest.table),
            "ok": len(ok),
            "skipped": len(manifest.table) - len(ok),
            "unreadable": len(bad),
        },
        "checks": [asdict(check) for check in checks],
        "classes": _class_table(rows, task),
        "unreadable": [{"image_id": e.image_id, "reason": e.reason} for e in bad],
        "exact": exact,
        "near": [asdict(pair) for pair in near],
        "conflicts": conflicts,
        "symmetry": asdict(symmetry) if symmetry else None,
        "shortcuts": [{**asdict(entry), "is_warning": entry.is_warning} for entry in asked],
        "formats": _count(entry.format for entry in measured if not entry.reason),
        "sizes": _count(f"{e.width} x {e.height}" for e in measured if not e.reason),
        "images": {
            column: [getattr(entry, column) for entry in measured if not entry.reason]
            for column in _FACT_COLUMNS
        },
    }


def _found_copies(
    ok: pd.DataFrame,
    measured: Sequence[Facts],
    label: Mapping[str, str],
    workers: int,
    embed: Embed | None,
) -> tuple[list[list[str]], list[NearPair], _Check]:
    """Sets of equal images, pairs of one picture, and what is said of these pairs."""
    near, is_complete = _near_pairs(ok, measured, workers, embed)
    file = dict(zip(ok["image_id"], ok["path"].astype(str), strict=True))
    exact, near = of_whole_files(exact_copies(measured), near, file)
    near, unlike = _trusted(near, label)
    n_tiny = sum(map(is_tiny, measured))
    return exact, near, unlike or _near(near, is_complete=is_complete, n_tiny=n_tiny)


def _near_pairs(
    ok: pd.DataFrame, measured: Sequence[Facts], workers: int, embed: Embed | None
) -> tuple[list[NearPair], bool]:
    """Pairs of images of one picture, and whether all candidates were compared."""
    near, is_complete = near_copies(measured)
    # Tiles of a few rasters share borders with their neighbours, and are no copies.
    is_cut = 2 * ok["path"].nunique() < len(ok)
    moved, are_all = moved_copies(
        [] if is_cut else [entry for entry in measured if not is_tiny(entry)],
        known={(pair.first, pair.second) for pair in near},
        workers=workers,
        embed=embed,
    )
    return [*near, *moved], is_complete and are_all


def _measured_symmetry(
    app: App, manifest: Manifest, rows: pd.DataFrame, facts: Mapping[str, Facts], task: Task
) -> Symmetry | None:
    """Which flips these data allow; None where the app knows it of its domain."""
    if not app.symmetries:
        return None
    return measure_symmetry(rows, facts, task, sided=str(manifest.facts.get("sided") or ""))


def image_facts_of(audited: Mapping[str, Any]) -> pd.DataFrame:
    """One row per image that was read: its id, size, channels, dtype, format, hash, brightness."""
    import pandas as pd  # noqa: PLC0415

    return pd.DataFrame(audited["images"], columns=list(_FACT_COLUMNS))


def merge_duplicates(table: pd.DataFrame, audited: Mapping[str, Any]) -> pd.DataFrame:
    """The manifest with groups joined that share copies, so that a drawn split keeps them together.

    Joins only inside a split that the data give; see ``merge_groups``.
    """
    pairs = [(copies[0], other) for copies in audited["exact"] for other in copies[1:]]
    pairs += [(pair["first"], pair["second"]) for pair in audited["near"]]
    return merge_groups(table, pairs)


def joined_groups(
    before: pd.DataFrame, after: pd.DataFrame, audited: Mapping[str, Any], word: str
) -> str:
    """In words, how many given groups copies have joined; empty where they joined none.

    Args:
        before: the manifest as indexed.
        after: what ``merge_duplicates`` made of it.
        audited: the content of ``audit.json``.
        word: what the group is called.
    """
    group = before["group"].fillna("").astype(str)
    known = (before["status"] == "ok") & (group != "")
    n_before, n_after = group[known].nunique(), after.loc[known, "group"].nunique()
    if n_after >= n_before:
        return ""
    of = dict(zip(before["image_id"][known], group[known], strict=True))
    pairs = [(copies[0], other) for copies in audited["exact"] for other in copies[1:]]
    pairs += [(pair["first"], pair["second"]) for pair in audited["near"]]
    first, second = next(p for p in pairs if of.get(p[0], "") != of.get(p[1], ""))
    return (
        f"Copies join groups that were given: {quantity(n_before, word)} became {n_after:,} "
        f"(first: {first} and {second} look the same), so that no split holds one copy and "
        "tests on the other. `resight check` shows them side by side; remove the copies to "
        f"keep each {word} apart."
    )


def _readable(n: int, bad: Sequence[Facts]) -> _Check:
    title = "Files can be read"
    if not bad:
        return _Check("readable", title, PASSED, f"All {n:,} images were decoded in full.")
    told = f"{len(bad):,} of {quantity(n, 'image')} cannot be read"
    if len(bad) == n:
        told = f"None of {quantity(n, 'image')} can be read"
    words = (
        f"{told} (first: {bad[0].reason}) Such a "
        "file stays in every table as failed and is used for nothing."
    )
    return _Check("readable", title, WARNING, words)


def _not_asked(check: _Check) -> _Check:
    """A check where there is nothing to look at."""
    return replace(check, verdict=UNKNOWN, words="Not asked: no image can be read.")


def _no_labels(name: str) -> _Check:
    title = {"classes": "Enough of every class", "labels": "Copies agree about the class"}[name]
    words = "No image has a label; see the notes for what would give one."
    return _Check(name, title, UNKNOWN, words)


def _unasked(n: int) -> list[Shortcut]:
    reason = "no image has a label"
    return [Shortcut(name, None, None, None, 0.0, n, reason) for name in SHORTCUTS]


def _classes(rows: pd.DataFrame, task: Task, group: str) -> _Check:
    title = "Enough of every class"
    found = _class_table(rows, task)
    counts = {task.title(name): sum(by_split.values()) for name, by_split in found.items()}
    said = []
    absent = [name for name, n in counts.items() if not n]
    small = [f"{name} ({n})" for name, n in counts.items() if 0 < n < FEW_IMAGES]
    if absent:
        said.append(f"No image of {', '.join(absent)}.")
    if small:
        said.append(
            f"Fewer than {FEW_IMAGES} images of {', '.join(small)}; a split needs at least "
            f"{3 * LEAST_GROUPS} images of each class, each of another {group}."
        )
    ranked = sorted(((n, name) for name, n in counts.items() if n), reverse=True)
    most, least = (ranked[0], ranked[-1]) if ranked else ((0, ""), (0, ""))
    if least[0] and most[0] >= _IMBALANCED * least[0]:
        said.append(
            f"{most[1]} has {most[0] / least[0]:.0f} times the images of {least[1]}: accuracy says "
            "little here, look at balanced accuracy and at each class."
        )
    if said:
        return _Check("classes", title, WARNING, " ".join(said))
    words = (
        f"{len(ranked)} classes, of {least[0]:,} ({least[1]}) to {most[0]:,} ({most[1]}) images."
    )
    return _Check("classes", title, PASSED, words)


def _labels(conflicts: Sequence[Mapping[str, Any]], task: Task) -> _Check:
    title = "Copies agree about the class"
    if not conflicts:
        return _Check("labels", title, PASSED, "No two copies have different classes.")
    first = conflicts[0]
    titles = [task.title(name) for name in first["labels"]]
    words = (
        f"{quantity(len(conflicts), 'set')} of copies with different classes (first: "
        f"{_pairs_of(first['image_ids'], titles)}). One of the labels or files is wrong: "
        "look at these images first."
    )
    return _Check("labels", title, WARNING, words)


def _exact(exact: Sequence[Sequence[str]]) -> _Check:
    title = "No image twice"
    if not exact:
        return _Check("exact", title, PASSED, "No two files hold the same pixels.")
    extra = sum(len(ids) - 1 for ids in exact)
    words = (
        f"{quantity(extra, 'image')} with the pixels of another, in {quantity(len(exact), 'set')} "
        f"(first: {' = '.join(exact[0][:3])}). They add no information and count double."
    )
    return _Check("exact", title, WARNING, words)


def _trusted(
    near: list[NearPair], label: Mapping[str, str]
) -> tuple[list[NearPair], _Check | None]:
    """Near copies, unless pairs agree about the class little more often than any two images.

    Copies carry the label of their original. Where drawings, letters or masks are alike as
    pictures, so are those of other classes, and joining them would tear real groups.
    """
    known = [pair for pair in near if label.get(pair.first) and label.get(pair.second)]
    counts = Counter(name for name in label.values() if name).values()
    if len(known) < _ENOUGH_PAIRS or len(counts) < 2:
        return near, None
    differ = sum(label[pair.first] != label[pair.second] for pair in known) / len(known)
    at_random = 1 - sum((n / sum(counts)) ** 2 for n in counts)
    if differ < _UNLIKE_COPIES * at_random:
        return near, None
    words = (
        f"{quantity(len(near), 'pair')} of images look alike (first: {near[0].first} and "
        f"{near[0].second}), but {percent(differ)} of them are of different classes, where of "
        f"images taken at random {percent(at_random)} are: alike, and no copies. They are neither "
        "counted nor kept together. If there are copies among them, name what is the same by "
        "--group."
    )
    return [], _Check("near", _NO_PICTURE_TWICE, UNKNOWN, words)


def _near(near: Sequence[NearPair], *, is_complete: bool, n_tiny: int) -> _Check:
    title = _NO_PICTURE_TWICE
    limit = "" if is_complete else " Only the closest candidates were compared; there may be more."
    if n_tiny:
        limit += (
            f" {quantity(n_tiny, 'image')} with a side below {TINY_PX} px have no fine structure "
            "and are compared by their pixels, upright only."
        )
    if not near:
        verdict = PASSED if is_complete else UNKNOWN
        words = f"No two images show the same thing, mirrored, turned or cropped.{limit}"
        return _Check("near", title, verdict, words)
    words = (
        f"{quantity(len(near), 'pair')} of images of the same thing, re-saved or taken again "
        f"(first: {near[0].first} and {near[0].second}). A split that is drawn keeps them "
        f"together.{limit}"
    )
    return _Check("near", title, WARNING, words)


def _copies_across(
    rows: pd.DataFrame, exact: Sequence[Sequence[str]], near: Sequence[NearPair]
) -> _Check:
    title = "No copy in two splits"
    split = dict(zip(rows["image_id"], rows["split"].fillna(""), strict=True))
    if not any(split.values()):
        words = "The data give no split; when one is drawn, copies stay together."
        return _Check("copies_across", title, PASSED, words)
    pairs = [(ids[0], other) for ids in exact for other in ids[1:]]
    pairs += [(pair.first, pair.second) for pair in near]
    crossing = [(a, b) for a, b in pairs if split[a] != split[b]]
    if not crossing:
        words = "No copy of an image stands in another split of those given."
        return _Check("copies_across", title, PASSED, words)
    a, b = crossing[0]
    words = (
        f"{quantity(len(crossing), 'pair')} of copies in different splits of those given (first: "
        f"{a} in the given {split[a]}, {b} in the given {split[b]}). The result will look better "
        "than it is. Remove one of each pair, or leave the split out and let one be drawn."
    )
    return _Check("copies_across", title, WARNING, words)


def _groups_across(rows: pd.DataFrame, manifest: Manifest, group: str) -> _Check:
    title = f"No {group} in two splits"
    known = rows[rows["group"].fillna("") != ""]
    if not len(known):
        words = (
            f"Nothing says which images show the same {group}. If some do, they may stand in "
            "different splits and make the result look better than it is. Say it by --group: a "
            f"column of a table, parent (the folder of each file), or file names as in {EXAMPLE}; "
            "image_id if every image stands for itself."
        )
        return _Check("groups_across", title, UNKNOWN, words)
    try:
        check_splits(rows)
    except LeakageError as error:
        return _Check("groups_across", title, WARNING, f"{_leaking(rows)}{error}")
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
        return _Check("groups_across", title, WARNING, words)
    words = f"{n_groups:,} {plural(group, n_groups)} of {len(known):,} images, {done}.{note}"
    return _Check("groups_across", title, PASSED if not bare else UNKNOWN, words)


def _leaking(rows: pd.DataFrame) -> str:
    """How many images of each split that judges have a group that trains as well."""
    split, group = rows["split"].fillna(""), rows["group"].fillna("")
    trained = set(group[split == "train"]) - {""}
    told = []
    for name in ("val", "test"):
        held = group[split == name]
        n = int(held.isin(trained).sum())
        told += [f"{n:,} of {len(held):,} images of {name}"] if n else []
    return f"{' and '.join(told)} are of a group that trains. " if told else ""


def _forms(read: Sequence[Facts]) -> _Check:
    title = "Images are of one kind"
    kinds = Counter(f"{quantity(e.channels, 'channel')} of {e.dtype}" for e in read)
    formats, sizes = Counter(e.format for e in read), Counter((e.width, e.height) for e in read)
    pixels = sorted(e.width * e.height for e in read)
    told = f"{', '.join(formats)}; {quantity(len(sizes), 'size')}"
    if pixels:
        low, high = (min(read, key=_area), max(read, key=_area))
        least, most = (f"{entry.width} x {entry.height}" for entry in (low, high))
        told += f", {least} pixels" if least == most else f", {least} to {most} pixels"
    masks = [entry for entry in read if entry.is_two_valued]
    if 0 < len(masks) < len(read):
        words = (
            f"{len(masks):,} images hold two values and no other, as masks do (first: "
            f"{masks[0].image_id}), beside {len(read) - len(masks):,} that hold more. If they are "
            "masks of others, they count as images of their class: move them into a folder called "
            f"masks, or add _mask to their names. {told}."
        )
        return _Check("forms", title, WARNING, words)
    deep = [entry.highest for entry in read if entry.dtype == "uint16"]
    if deep and 0 < max(deep) < _DARK:
        top = round(max(deep) * 65535)
        words = (
            f"{quantity(len(deep), '16-bit image')} with no value above {top:,} of 65,535, as "
            f"values of {top.bit_length()} bits have. An app that stretches each image by itself "
            f"(as images does) reads them as they are; for others they are nearly black: scale "
            f"them to the full range of 16 bits. {told}."
        )
        return _Check("forms", title, WARNING, words)
    if len(kinds) > 1:
        mixed = ", ".join(f"{n:,} x {kind}" for kind, n in kinds.most_common())
        words = (
            f"Images differ in depth or colour ({mixed}); they become alike on the way in, but ask "
            f"whether they come from different machines. {told}."
        )
        return _Check("forms", title, WARNING, words)
    if pixels and pixels[-1] > 16 * pixels[0]:
        words = (
            f"Images differ widely in size: {told}. What is visible in one may be lost in another."
        )
        return _Check("forms", title, WARNING, words)
    return _Check("forms", title, PASSED, f"{next(iter(kinds), 'no images')}; {told}.")


def _symmetry(found: Symmetry) -> _Check:
    return _Check("symmetry", "Which flips training may use", PASSED, found.words)


def _shortcut(entry: Shortcut) -> _Check:
    name, title = (
        f"shortcut_{entry.name}",
        f"The label cannot be predicted from {SHORTCUTS[entry.name]} alone",
    )
    if entry.value is None:
        return _Check(name, title, UNKNOWN, f"Not asked: {entry.reason}.")
    words = (
        f"From {SHORTCUTS[entry.name]} alone it is predicted with a balanced accuracy of "
        f"{percent(entry.value)} (95 % interval {percent(entry.low)} to {percent(entry.high)}; "
        f"chance is {percent(entry.chance)}; {entry.n:,} images, on groups not trained on)."
    )
    if entry.is_warning:
        return _Check(name, title, WARNING, f"{words} {_ADVICE[entry.name]}")
    words += f" Warned of where all of it lies above {percent(entry.limit)}."
    return _Check(name, title, PASSED, words)


def _conflicts(
    exact: Sequence[Sequence[str]], near: Sequence[NearPair], label: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Copies whose labels differ, with these labels."""
    sets = [(list(ids), "exact") for ids in exact]
    sets += [([pair.first, pair.second], "near") for pair in near]
    return [
        {"kind": kind, "image_ids": ids, "labels": [label[i] for i in ids]}
        for ids, kind in sets
        if len({label[i] for i in ids}) > 1
    ]


def _class_table(rows: pd.DataFrame, task: Task) -> dict[str, dict[str, int]]:
    """Images of each class in each split; the split is empty where it is not yet drawn."""
    counts: dict[str, dict[str, int]] = {name: {} for name in task.classes}
    for label, split in zip(rows["label"].fillna(""), rows["split"].fillna(""), strict=True):
        names = label.split(task.label_separator) if task.kind == "multilabel" else [label]
        for name in filter(None, names):
            of_class = counts.setdefault(name, {})
            of_class[split] = of_class.get(split, 0) + 1
    order = ("", *SPLITS)
    return {name: {s: n[s] for s in order if s in n} for name, n in counts.items()}


def _count(values: Any) -> dict[str, int]:
    """How often each value occurs, the commonest first, twenty at most."""
    return dict(Counter(values).most_common(20))


def _area(entry: Facts) -> int:
    return entry.width * entry.height


def _pairs_of(ids: Sequence[str], labels: Sequence[str]) -> str:
    """Ids with their labels, for a sentence."""
    return ", ".join(f"{i} is {label}" for i, label in zip(ids[:3], labels[:3], strict=True))
