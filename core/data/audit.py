"""What is wrong with the data, found before anything is trained on them.

Every file is decoded in full, then: what cannot be read, what is there twice,
what contradicts itself, what is too little, what leaks between splits, and what
would let a network guess the label without looking. Each check ends in a
verdict - passed, warning, or cannot be checked - and in a sentence.

This module changes no file and draws no split.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from core.base.progress import track
from core.base.words import SHORTCUTS, percent, quantity
from core.data import audit_checks as check
from core.data.duplicates import NearPair, exact_copies, is_tiny, near_copies, of_whole_files
from core.data.facts import Facts, measure_all
from core.data.moved_copies import moved_copies
from core.data.shortcuts import Shortcut, shortcuts
from core.data.split import merge_groups
from core.data.symmetry import Symmetry, measure_symmetry
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from core.app import App, Manifest, Task
    from core.data.moved_copies import Embed

__all__ = [
    "audit",
    "image_facts_of",
    "joined_groups",
    "merge_duplicates",
]


# From so many pairs on it is asked whether pairs that look alike are copies: those of real sets
# differ in class at most 0.17 times as often as any two images, letters and masks 0.36 to 1.4.
_ENOUGH_PAIRS, _UNLIKE_COPIES = 10, 0.25

_FACT_COLUMNS = (
    *("image_id", "height", "width", "channels", "dtype", "bytes", "format"),
    *("sha256", "brightness", "contrast"),
)


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
    exact, near, of_near = _found_copies(ok, measured, label, workers, embed)
    conflicts, has_labels = _conflicts(exact, near, label), any(label.values())
    try:
        asked = shortcuts(rows, facts, task) if has_labels else _unasked(len(rows))
    except ManifestError as error:
        asked = [Shortcut(name, None, None, None, 0.0, len(rows), str(error)) for name in SHORTCUTS]
    symmetry = _measured_symmetry(app, manifest, rows, facts, task) if has_labels else None
    word = manifest.group_word or app.group
    checks = [
        check.readable(len(ok), bad),
        check.classes(rows, task, word) if has_labels else check.no_labels("classes"),
        check.labels(conflicts, task) if has_labels else check.no_labels("labels"),
        check.exact(exact),
        of_near,
        check.copies_across(rows, exact, near),
        check.groups_across(rows, manifest, word),
        check.forms([entry for entry in measured if not entry.reason]),
        *(check.shortcut(entry) for entry in asked),
        *([check.symmetry(symmetry)] if symmetry else []),
    ]
    if bad and len(bad) == len(ok):
        checks = [checks[0], *map(check.not_asked, checks[1:])]
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
        "checks": [asdict(one) for one in checks],
        "classes": check.class_table(rows, task),
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
) -> tuple[list[list[str]], list[NearPair], check.Check]:
    """Sets of equal images, pairs of one picture, and what is said of these pairs."""
    near, is_complete = _near_pairs(ok, measured, workers, embed)
    file = dict(zip(ok["image_id"], ok["path"].astype(str), strict=True))
    exact, near = of_whole_files(exact_copies(measured), near, file)
    near, unlike = _trusted(near, label)
    n_tiny = sum(map(is_tiny, measured))
    return exact, near, unlike or check.near(near, is_complete=is_complete, n_tiny=n_tiny)


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


def _copies_in(audited: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Pairs of image ids of which one is a copy of the other."""
    pairs = [(copies[0], other) for copies in audited["exact"] for other in copies[1:]]
    return pairs + [(pair["first"], pair["second"]) for pair in audited["near"]]


def merge_duplicates(table: pd.DataFrame, audited: Mapping[str, Any]) -> pd.DataFrame:
    """The manifest with groups joined that share copies, so that a drawn split keeps them together.

    Joins only inside a split that the data give; see ``merge_groups``.
    """
    return merge_groups(table, _copies_in(audited))


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
    first, second = next(p for p in _copies_in(audited) if of.get(p[0], "") != of.get(p[1], ""))
    return (
        f"Copies join groups that were given: {quantity(n_before, word)} became {n_after:,} "
        f"(first: {first} and {second} look the same), so that no split holds one copy and "
        "tests on the other. `resight check` shows them side by side; remove the copies to "
        f"keep each {word} apart."
    )


def _unasked(n: int) -> list[Shortcut]:
    reason = "no image has a label"
    return [Shortcut(name, None, None, None, 0.0, n, reason) for name in SHORTCUTS]


def _trusted(
    near: list[NearPair], label: Mapping[str, str]
) -> tuple[list[NearPair], check.Check | None]:
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
    return [], check.Check("near", check.NO_PICTURE_TWICE, check.UNKNOWN, words)


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


def _count(values: Any) -> dict[str, int]:
    """How often each value occurs, the commonest first, twenty at most."""
    return dict(Counter(values).most_common(20))
