"""Which images train, which choose, and which judge.

A split that the data name is honoured; otherwise one is drawn by group,
stratified by class, and depends on nothing but the seed and the set of images.
What was done is told in sentences. This module opens no file.
"""

from __future__ import annotations

import warnings
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from core.base.tables import check_splits
from core.base.words import quantity
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd
    from numpy.typing import NDArray

    from core.app import Task

__all__ = [
    "class_members",
    "draw_folds",
    "draw_split",
    "group_keys",
    "merge_groups",
    "stratified_folds",
]

# Groups of each class that every split must have: one alone has no spread at all.
LEAST_GROUPS = 2

# Images of a class below which its numbers are little more than anecdotes.
FEW_IMAGES = 10

# Begins the name of a group made of images that only belong together as copies.
COPIES = "copies of "

# Draws tried until every class stands in every split often enough.
_TRIES = 5


def draw_split(
    table: pd.DataFrame, *, task: Task, seed: int, val: float = 0.15, test: float = 0.2
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The manifest with its ``split`` filled, and in sentences how.

    A given split is honoured. Where only train and val are given, val judges:
    its rows become ``test``, and a new val is drawn from train by groups, so
    that what chooses and what judges stay apart. Where only train and test are
    given, val is drawn from train. Rows that are not ok have no split.

    Args:
        table: a manifest; a row without a group counts as a group of its own.
        task: its classes are those of the labels.
        seed: of the draw.
        val: share of the images; 0 draws none.
        test: share of the images; 0 draws none.

    Raises:
        LeakageError: a group stands in two of the given splits.
        ManifestError: a split is named for some rows only, train is missing, or
            a class has too few groups to stand in every split.
    """
    _check_shares(val, test)
    check_splits(table)
    ok = table[table["status"] == "ok"].sort_values("image_id")
    given = ok["split"].fillna("").astype(str)
    names = set(given) - {""}
    bare = ok.loc[given == "", "image_id"]
    if names and len(bare):
        msg = (
            f"{len(bare):,} of {len(ok):,} images have no split and the others do (first: "
            f"{bare.iloc[0]}). Fill the column for all images, or leave it out for all."
        )
        raise ManifestError(msg)
    if names and "train" not in names:
        msg = (
            f"The data name the split {' and '.join(sorted(names))} but no train, so there is "
            "nothing to learn from. Add train rows, or leave the split out and let one be drawn."
        )
        raise ManifestError(msg)
    classes = _Classes(ok, task)
    sentences: list[str] = classes.few()
    split = given.to_numpy(dtype=object)
    if names <= {"train"}:
        if names:
            sentences.append("The data name every image train, so nothing was set aside by them.")
        split[:] = "train"
        if test > 0:
            split[_draw(classes, split == "train", test, seed, left=2 if val > 0 else 1)] = "test"
        if val > 0:
            share = val / (1 - test)
            split[_draw(classes, split == "train", share, seed + 1, left=1)] = "val"
        sentences.append(f"The split was drawn at random{_manner(classes, seed)}")
    else:
        sentences += classes.thin(split)
        if names == {"train", "val"}:
            split[split == "val"] = "test"
            sentences.append(
                "Only train and val are given. The given val is used for the final numbers and is "
                "called test from here on; what chooses the model and the thresholds is a new val, "
                f"drawn from train{_manner(classes, seed)}"
            )
        elif names == {"train", "test"}:
            sentences.append(
                "Train and test are given and kept; val, which chooses the model and the "
                f"thresholds, was drawn from train{_manner(classes, seed)}"
            )
        else:
            sentences.append("Train, val and test are given and kept.")
        if names != {"train", "val", "test"} and val > 0:
            split[_draw(classes, split == "train", val, seed + 1, left=1)] = "val"
    sentences.append(_counts(split, classes.groups))
    filled = table["split"].astype(object).where(table["status"] == "ok", "")
    filled.loc[ok.index] = split
    return table.assign(split=filled.astype("str")), tuple(sentences)


def draw_folds(table: pd.DataFrame, *, task: Task, folds: int, seed: int) -> NDArray[np.int_]:
    """The fold of each row (N,), 0 to ``folds`` - 1, by group and stratified; -1 if it is not ok.

    Raises:
        ManifestError: fewer than two folds, or a class has fewer groups than folds.
    """
    if folds < 2:
        msg = f"--folds {folds}: at least 2 are needed to hold one out. Choose 5, or leave it out."
        raise ManifestError(msg)
    positions = np.flatnonzero((table["status"] == "ok").to_numpy())
    ok = table.iloc[positions]
    order = np.argsort(ok["image_id"].to_numpy(dtype=str), kind="stable")
    classes = _Classes(ok.iloc[order], task)
    scarce = {name: n for name, n in classes.group_counts().items() if n < folds}
    if scarce:
        raise ManifestError(_too_few(classes, scarce, folds, f"one for each of the {folds} folds"))
    fold = stratified_folds(classes.strata, classes.groups, folds, seed)
    result = np.full(len(table), -1, dtype=np.int_)
    result[positions[order]] = fold
    return result


def merge_groups(table: pd.DataFrame, pairs: Iterable[tuple[str, str]]) -> pd.DataFrame:
    """The manifest with groups joined that share a pair of images, such as duplicates.

    Two images are joined only inside one given split (or where none is given):
    a split of the data is not rewritten here. A joined group takes the first of
    its groups' names; images without one are called after the first image.

    Args:
        table: a manifest.
        pairs: image ids that must not be separated; unknown ids are passed over.
    """
    keys = dict(zip(table["image_id"], group_keys(table), strict=True))
    splits = dict(zip(table["image_id"], table["split"].fillna(""), strict=True))
    parent = {key: key for key in keys.values()}

    def root(key: str) -> str:
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for first, second in pairs:
        if first in keys and second in keys and splits[first] == splits[second]:
            # A named group (key "g...") sorts before an image of its own ("i...").
            low, high = sorted((root(keys[first]), root(keys[second])))
            parent[high] = low
    sizes = Counter(root(key) for key in keys.values())
    named = []
    for image_id, own in zip(table["image_id"], table["group"].fillna(""), strict=True):
        top = root(keys[image_id])
        is_joined = top != keys[image_id] or sizes[top] > 1
        named.append((top[2:] if top[0] == "g" else COPIES + top[2:]) if is_joined else own)
    return table.assign(group=named)


def group_keys(table: pd.DataFrame) -> list[str]:
    """One key per row: that of its group, or of the image alone where no group is known."""
    groups = table["group"].fillna("").astype(str)
    return [
        f"g:{group}" if group else f"i:{image_id}"
        for group, image_id in zip(groups, table["image_id"], strict=True)
    ]


def class_members(
    ok: pd.DataFrame, task: Task
) -> tuple[NDArray[np.object_], NDArray[np.object_], list[list[str]]]:
    """Group key, stratum and label names of each usable row.

    Raises:
        ManifestError: the rows are of one class.
    """
    classes = _Classes(ok, task)
    return classes.groups, classes.strata, classes.labels


class _Classes:
    """Labels and groups of the usable images, in the order of their ids."""

    def __init__(self, ok: pd.DataFrame, task: Task) -> None:
        self.groups = np.array(group_keys(ok), dtype=object)
        names = ok["group"].fillna("").astype(str)
        self.has_copies = bool(names.str.startswith(COPIES).any())
        self.is_grouped = bool(((names != "") & ~names.str.startswith(COPIES)).any())
        labels = ok["label"].fillna("").astype(str)
        many = task.kind == "multilabel"
        self.labels = [
            [part for part in label.split(task.label_separator) if part] if many else [label]
            for label in labels
        ]
        self.counts = Counter(name for names in self.labels for name in names)
        if len(self.counts) < (1 if many else 2):
            only = f" ({next(iter(self.counts))!r})" if self.counts else ""
            msg = (
                f"All {len(ok):,} usable images are of one class{only}; a model needs at least two "
                "to tell apart. Add images of another class."
            )
            raise ManifestError(msg)
        # Several labels: the rarest one decides, for it is the hardest to spread.
        self.strata = np.array(
            [
                min(names, key=lambda n: (self.counts[n], n)) if names else ""
                for names in self.labels
            ],
            dtype=object,
        )
        self.absent = [name for name in task.classes if name not in self.counts]

    def group_counts(self, mask: NDArray[np.bool_] | None = None) -> dict[str, int]:
        """How many groups of each class stand in the chosen rows; 0 for a class without any."""
        members: dict[str, set[str]] = {name: set() for name in sorted(self.counts)}
        rows = range(len(self.labels)) if mask is None else np.flatnonzero(mask)
        for row in rows:
            for name in self.labels[row]:
                members[name].add(self.groups[row])
        return {name: len(found) for name, found in members.items()}

    def few(self) -> list[str]:
        """What should be said of small and absent classes."""
        sentences = []
        small = [f"{name} ({n})" for name, n in sorted(self.counts.items()) if n < FEW_IMAGES]
        if small:
            sentences.append(
                f"Fewer than {FEW_IMAGES} images of: {', '.join(small)}. What is said of these "
                "classes rests on single images."
            )
        if self.absent:
            sentences.append(
                f"No image of: {', '.join(self.absent)}. The model cannot learn what it never sees."
            )
        return sentences

    def thin(self, split: NDArray[np.object_]) -> list[str]:
        """What should be said of classes in a given split; refuses one without train images."""
        train = self.group_counts(split == "train")
        unseen = [name for name, n in train.items() if not n]
        if unseen:
            have = "has" if len(unseen) == 1 else "have"
            msg = (
                f"{quantity(len(unseen), 'class')} {have} no train image in the given split "
                f"(first: {unseen[0]!r}), so they could never be predicted. Correct the split, or "
                "leave it out and let one be drawn."
            )
            raise ManifestError(msg)
        sentences = []
        for name in [n for n in ("val", "test") if (split == n).any()]:
            counts = self.group_counts(split == name)
            thin = [f"{c} ({n})" for c, n in counts.items() if n < LEAST_GROUPS]
            if thin:
                sentences.append(
                    f"The given {name} has fewer than {LEAST_GROUPS} groups of: {', '.join(thin)}."
                )
        return sentences


def _draw(
    classes: _Classes, pool: NDArray[np.bool_], share: float, seed: int, *, left: int
) -> NDArray[np.int_]:
    """Row numbers of the pool that are set aside; every class keeps ``left`` x 2 groups in it."""
    rows = np.flatnonzero(pool)
    before = classes.group_counts(pool)
    needed = LEAST_GROUPS * (1 + left)
    scarce = {name: n for name, n in before.items() if n < needed}
    if scarce:
        raise ManifestError(_too_few(classes, scarce, needed, f"{LEAST_GROUPS} for each split"))
    parts, of = _fraction(share, len(set(classes.groups[rows])), rows.size)
    for attempt in range(_TRIES):
        fold = stratified_folds(
            classes.strata[rows], classes.groups[rows], of, seed * _TRIES + attempt
        )
        aside = np.zeros(len(pool), dtype=bool)
        aside[rows[fold < parts]] = True
        _top_up(classes, pool & ~aside, aside, keep=needed - LEAST_GROUPS, need=LEAST_GROUPS)
        rest = pool & ~aside
        _top_up(classes, aside, rest, keep=LEAST_GROUPS, need=needed - LEAST_GROUPS)
        aside = pool & ~rest
        enough = min(classes.group_counts(aside).values()) >= LEAST_GROUPS
        if enough and min(classes.group_counts(rest).values()) >= needed - LEAST_GROUPS:
            return np.flatnonzero(aside)
    least = dict(sorted(before.items(), key=lambda pair: pair[1])[:1])
    raise ManifestError(_too_few(classes, least, needed, f"{LEAST_GROUPS} for each split"))


def _top_up(
    classes: _Classes, giver: NDArray[np.bool_], taker: NDArray[np.bool_], *, keep: int, need: int
) -> None:
    """Move whole groups of rare classes, in place, until the taker has ``need`` of each class.

    Folds spread a class of few groups by chance; the giver keeps ``keep`` of each.
    """
    has, left = classes.group_counts(taker), classes.group_counts(giver)
    if min(has.values()) >= need:
        return
    members: dict[str, list[int]] = {}
    for row in np.flatnonzero(giver):
        members.setdefault(classes.groups[row], []).append(int(row))
    for name in sorted(has, key=lambda n: (classes.counts[n], n)):
        for group in sorted(members):
            if has[name] >= need:
                break
            held = {label for row in members[group] for label in classes.labels[row]}
            if name in held and all(left[label] > keep for label in held):
                taker[members[group]], giver[members[group]] = True, False
                for label in held:
                    has[label] += 1
                    left[label] -= 1
                del members[group]


def stratified_folds(
    strata: NDArray[np.object_], groups: NDArray[np.object_], n_folds: int, seed: int
) -> NDArray[np.int_]:
    """The fold of each row (N,), by scikit-learn's StratifiedGroupKFold.

    Args:
        strata: (N,) what should be spread evenly.
        groups: (N,) what stays whole.
        n_folds: how many.
        seed: of the shuffling.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # noqa: PLC0415  (1.8 s to import)

    if n_folds > max(Counter(strata.tolist()).values()):
        # scikit-learn refuses where every class has fewer rows than there are folds.
        return _dealt(strata, groups, n_folds, seed)
    # Where every row stands for itself the plain draw is the same and much faster.
    is_plain = len(set(groups)) == len(groups)
    kind = StratifiedKFold if is_plain else StratifiedGroupKFold
    draw = kind(n_splits=n_folds, shuffle=True, random_state=seed % 2**32)
    fold = np.zeros(len(strata), dtype=np.int_)
    with warnings.catch_warnings():
        # That a class has fewer members than folds; our own check follows and is stricter.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        codes = np.unique(strata.astype(str), return_inverse=True)[1]
        belong = None if is_plain else groups.astype(str)
        parts = draw.split(np.zeros((len(strata), 1)), codes, belong)
        for number, (_, held) in enumerate(parts):
            fold[held] = number
    return fold


def _dealt(
    strata: NDArray[np.object_], groups: NDArray[np.object_], n_folds: int, seed: int
) -> NDArray[np.int_]:
    """Folds as cards are dealt: the shuffled groups of one class after those of another.

    >>> _dealt(np.array(list("aabb")), np.array(list("1234")), 4, 3).tolist()
    [1, 0, 3, 2]
    """
    class_of = dict(zip(groups.tolist(), strata.tolist(), strict=True))
    names = sorted(class_of)
    order = np.random.default_rng(seed % 2**32).permutation(len(names))
    shuffled = sorted((str(class_of[names[i]]), n, names[i]) for n, i in enumerate(order))
    fold_of = {name: n % n_folds for n, (_, _, name) in enumerate(shuffled)}
    return np.array([fold_of[group] for group in groups.tolist()], dtype=np.int_)


def _fraction(share: float, n_groups: int, n_rows: int) -> tuple[int, int]:
    """``share`` as so many of so many folds: the fewest folds that come near it.

    >>> _fraction(0.2, 100, 100), _fraction(0.15, 100, 100), _fraction(0.3, 100, 100)
    ((1, 5), (1, 6), (2, 7))
    """
    most = max(2, min(20, n_groups, n_rows))
    tolerance = min(0.02, 0.15 * share)
    pairs = [(p, q) for q in range(2, most + 1) for p in range(1, q)]
    near = [(p, q) for p, q in pairs if abs(p / q - share) <= tolerance]
    return near[0] if near else min(pairs, key=lambda pair: abs(pair[0] / pair[1] - share))


def _check_shares(val: float, test: float) -> None:
    """Refuse shares that leave nothing to train on."""
    if not (0 <= val < 1 and 0 <= test < 1 and val + test < 1):
        msg = (
            f"val {val} and test {test}: shares lie between 0 and 1 and must leave some images to "
            "train on. Usual are 0.15 and 0.2."
        )
        raise ManifestError(msg)


def _too_few(classes: _Classes, scarce: dict[str, int], needed: int, why: str) -> str:
    """What to say of classes with too few groups; of groups that can be no groups as well."""
    name, n = min(scarce.items(), key=lambda pair: (pair[1], pair[0]))
    n_groups, n_images = len(set(classes.groups)), len(classes.groups)
    message = f"{quantity(len(scarce), 'class')} {'has' if len(scarce) == 1 else 'have'}"
    if classes.is_grouped and 10 * n_groups < n_images:
        all_one = "all images carry one group" if n_groups == 1 else "groups are few and huge"
        return (
            f"{message} too few groups (first: {name!r} with {n}; at least "
            f"{needed} are needed, {why}): {all_one}, {n_groups} of {n_images:,} images, first "
            f"{classes.groups[0][2:42]!r}. If that is no patient, plant or place of its own, "
            "pass --group with the column that is, or --group image_id if every image stands for "
            "itself; else add images, or merge the class into another."
        )
    return (
        f"{message} too few groups (first: {name!r} with {n}; at least {needed} "
        f"are needed, {why}; an image without a group counts as one). Numbers for such a class "
        "would be chance. Add images, merge the class into another, or leave it out."
    )


def _manner(classes: _Classes, seed: int) -> str:
    """The end of a sentence that says how it was drawn."""
    copies = " Copies of one image stay together." if classes.has_copies else ""
    if classes.is_grouped:
        whole = ", stratified by class, with every group in one split"
        return f"{whole} (seed {seed}).{copies}"
    return (
        f", stratified by class (seed {seed}).{copies} No group is known, so images that belong "
        "together may stand in different splits; this cannot be checked."
    )


def _counts(split: NDArray[np.object_], groups: NDArray[np.object_]) -> str:
    """Images and groups of each split, in words."""
    parts = []
    used = split != ""
    has_fewer = len(set(groups[used])) < int(used.sum())
    for name in ("train", "val", "test"):
        n_images, n_groups = int((split == name).sum()), len(set(groups[split == name]))
        if n_images:
            of = f" of {n_groups:,} groups" if has_fewer else ""
            parts.append(f"{name} {n_images:,} images{of}")
    return f"{'; '.join(parts).capitalize()}."
