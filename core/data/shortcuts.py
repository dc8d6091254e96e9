"""What the label can be guessed from without looking at the subject.

If the label can be predicted from the size of a file, or from a few patches along the border, a
network will learn that instead of the disease: PlantVillage's 38 classes are
told 49 % right from eight background pixels, where 2.6 % is chance (Noyan 2022,
"Uncovering bias in the PlantVillage dataset", arXiv:2206.04374). A small forest
is asked, on groups it has not seen. This module sees numbers, never pixels.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.data.split import class_members, stratified_folds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from core.app import Task
    from core.data.facts import Facts

__all__ = ["Shortcut", "shortcuts"]

# Balanced accuracy above chance from which a shortcut is worth a warning, as a
# share of what there is to gain: 0.2 of the way from chance to certainty.
WORTH_A_WARNING = 0.2

# Images asked about; more do not change the answer, only the time.
_MOST_IMAGES = 3_000

_FOLDS = 5
TREES = 25
_RESAMPLES = 500


@dataclass(frozen=True)
class Shortcut:
    """How well the label can be predicted from something beside the subject.

    ``value`` is the balanced accuracy on groups not seen, with its 95 %
    interval from a bootstrap by group; None, with a reason, if it cannot be told.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    chance: float
    n: int
    reason: str = ""

    @property
    def limit(self) -> float:
        """Balanced accuracy above which the whole interval must lie to be warned of."""
        return self.chance + WORTH_A_WARNING * (1 - self.chance)

    @property
    def is_warning(self) -> bool:
        """Whether even the lower end of the interval is well above chance."""
        return self.low is not None and self.low > self.limit


def shortcuts(
    rows: pd.DataFrame, facts: Mapping[str, Facts], task: Task, *, seed: int = 0
) -> list[Shortcut]:
    """Predict the label from file properties, mean colour, and the border, each alone.

    Args:
        rows: manifest rows that are ok and were read.
        facts: by image_id.
        task: whose labels the rows have.
        seed: of the folds, the forest and the bootstrap.
    """
    chosen = rows.sort_values("image_id")
    if len(chosen) > _MOST_IMAGES:
        chosen = chosen.sample(_MOST_IMAGES, random_state=seed).sort_values("image_id")
    known = [facts[image_id] for image_id in chosen["image_id"]]
    groups, strata, labels = class_members(chosen, task)
    n_folds, reason = _possible_folds(groups, strata)
    features: dict[str, NDArray[np.floating]] = {
        "file": _file_features(known),
        "colour": np.stack([e.colour for e in known if e.colour is not None]),
        "border": np.stack([e.border for e in known if e.border is not None]),
    }
    is_many = task.kind == "multilabel"
    names = sorted({name for row in labels for name in row})
    chance = 0.5 if is_many else 1 / len(names)
    if reason:
        return [Shortcut(n, None, None, None, chance, len(known), reason) for n in features]
    truth = np.array([[name in row for name in names] for row in labels], dtype=bool)
    fold = stratified_folds(strata, groups, n_folds, seed)
    cases = _Cases(truth, groups, fold, is_many, seed)
    found = []
    for name, table in features.items():
        if not np.isfinite(table).all():
            reason = "some images have values that are no numbers"
            found.append(Shortcut(name, None, None, None, chance, len(known), reason))
            continue
        value, low, high = cases.balanced(cases.right(table))
        found.append(Shortcut(name, value, low, high, chance, len(known)))
    return found


def _possible_folds(groups: NDArray[np.object_], strata: NDArray[np.object_]) -> tuple[int, str]:
    """How many folds the rarest class allows, and why there are none."""
    members: dict[str, set[str]] = {}
    for group, stratum in zip(groups, strata, strict=True):
        members.setdefault(stratum, set()).add(group)
    name, found = min(members.items(), key=lambda pair: (len(pair[1]), pair[0]))
    if len(members) < 2:
        return 0, "all images are of one class"
    if len(found) < 2:
        return 0, f"the class {name!r} has {len(found)} group, and two are needed to hold one out"
    return min(_FOLDS, len(found)), ""


def _file_features(known: Sequence[Facts]) -> NDArray[np.float64]:
    """Size, shape, bytes and format of each file; nothing of its content but how well it packs."""
    formats = [name for name, _ in Counter(entry.format for entry in known).most_common(10)]
    return np.array(
        [
            [
                entry.width,
                entry.height,
                entry.width / entry.height,
                entry.bytes,
                entry.bytes / (entry.width * entry.height),
                entry.channels,
                *(entry.format == name for name in formats),
            ]
            for entry in known
        ],
        dtype=np.float64,
    )


@dataclass(frozen=True)
class _Cases:
    """The images asked about.

    Attributes:
        truth: (N, K) whether a class is one of its labels.
        groups, fold: (N,) its group, and the fold in which that is held out.
        is_many: whether an image may have several labels.
        seed: of the forest and the bootstrap.
    """

    truth: NDArray[np.bool_]
    groups: NDArray[np.object_]
    fold: NDArray[np.int_]
    is_many: bool
    seed: int

    def right(self, table: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Whether each image (N, K) is put right, by a forest that never saw its group."""
        from sklearn.ensemble import RandomForestClassifier  # noqa: PLC0415  (1.8 s to import)

        target = self.truth.astype(int) if self.is_many else self.truth.argmax(axis=1)
        right = np.zeros(self.truth.shape, dtype=bool)
        for number in range(int(self.fold.max()) + 1):
            held = self.fold == number
            forest = RandomForestClassifier(
                n_estimators=TREES,
                min_samples_leaf=4,
                class_weight="balanced",
                random_state=self.seed,
            ).fit(table[~held], target[~held])
            hit = forest.predict(table[held]) == target[held]
            right[held] = hit if self.is_many else hit[:, None]
        return right

    def balanced(self, right: NDArray[np.bool_]) -> tuple[float, float, float]:
        """Balanced accuracy, and its interval from resampled groups.

        The mean over classes of the share put right; with several labels per
        image, over each label and its absence.
        """
        truth = self.truth
        cells = np.concatenate([truth, ~truth], axis=1) if self.is_many else truth
        hits = cells & (np.concatenate([right, right], axis=1) if self.is_many else right)
        codes = np.unique(self.groups.astype(str), return_inverse=True)[1]
        n_groups = int(codes.max()) + 1
        per_group = np.zeros((2, n_groups, cells.shape[1]))
        np.add.at(per_group[0], codes, hits)
        np.add.at(per_group[1], codes, cells)
        rng = np.random.default_rng(self.seed)
        weights = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=_RESAMPLES)
        drawn_hits, drawn = weights @ per_group[0], weights @ per_group[1]
        # A class that a resample left out does not count in that resample.
        shares = np.divide(drawn_hits, drawn, out=np.full(drawn.shape, np.nan), where=drawn > 0)
        resampled = np.nanmean(shares, axis=1)
        totals = per_group.sum(axis=1)
        value = float(np.mean(totals[0][totals[1] > 0] / totals[1][totals[1] > 0]))
        low, high = np.percentile(resampled, [2.5, 97.5])
        return value, float(low), float(high)
