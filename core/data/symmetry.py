"""Which mirror images and turns of pictures look like further pictures of the same data.

A mirrored training image helps where it could have been taken, and misleads where left and
right are told apart: chests, letters, pictures with a marker in one corner. Asked is whether a
linear rule on small grey pictures, fitted on other groups of the same class, tells a picture
from its mirror image. The rule has no constant, so its answer to a picture and to its mirror
image are opposites: 50 % is what it gets right where both are equally likely.

This module sees small grey pictures and class names, and changes nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from core.base.words import percent
from core.data.split import class_members

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import pandas as pd
    from numpy.typing import NDArray

    from core.app import Task
    from core.data.facts import Facts

__all__ = ["Symmetry", "SymmetryName", "measure_symmetry", "names_tell_sides"]

SymmetryName = Literal["none", "left_right", "both", "any"]

# Side in pixels of the grey pictures compared; finer structure is no pose.
SIDE_PX = 24
# Share told from its mirror image above which it counts as told apart. Of real sets chest films
# reach 99 % left to right, leaves 73, fundus photographs of both eyes 72 and breast ultrasound
# 60; top to bottom ultrasound reaches 99 %, fundus photographs 83 and leaves 69.
TOLD_APART = 0.8
# Groups below which nothing is measured.
LEAST_GROUPS = 30
_FOLDS = 5
_MOST_IMAGES = 2_000
# Of the ridge, in standardised pixels and per image.
_PENALTY = 1.0

_FLIPS: Mapping[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "left_right": lambda x: x[:, :, ::-1],
    "up_down": lambda x: x[:, ::-1, :],
    "quarter": lambda x: x.swapaxes(1, 2),
}
_SIDES = re.compile(
    r"(?i)(?:^|[\W_])(left|right|lt|rt|od|os|links|rechts|gauche|droite)(?:$|[\W_])"
)


@dataclass(frozen=True)
class Symmetry:
    """What pictures may be turned into in training, and why.

    Attributes:
        name: ``none``, ``left_right``, ``both`` (and top to bottom) or ``any`` (and turned by
            quarters).
        words: one sentence.
        told_apart: flip -> share of pictures told from what the flip makes of them.
        n: pictures compared.
    """

    name: SymmetryName
    words: str
    told_apart: Mapping[str, float]
    n: int


def names_tell_sides(names: Iterable[str]) -> str:
    """Why the class names forbid a flip, in words; empty if they do not.

    >>> names_tell_sides(["left_hand", "right_hand"]), names_tell_sides(["cat", "dog"])
    ("the class 'left_hand' names a side", '')
    >>> names_tell_sides(list("abcd"))
    'the classes are single letters or signs'
    """
    known = sorted(names)
    for name in known:
        if _SIDES.search(name):
            return f"the class {name!r} names a side"
    letters = [name for name in known if len(name) == 1 and not name.isdigit()]
    if len(letters) > 1 and 2 * len(letters) > len(known):
        return "the classes are single letters or signs"
    if set(known) >= set("0123456789"):
        return "the classes are the ten digits"
    return ""


def measure_symmetry(
    rows: pd.DataFrame, facts: Mapping[str, Facts], task: Task, *, sided: str = "", seed: int = 0
) -> Symmetry:
    """Decide which flips training may use.

    Args:
        rows: manifest rows that are ok, were read and have a label.
        facts: by image_id; ``grey`` is compared.
        task: with its classes.
        sided: why left and right matter in these data, where that is known; measured or not.
        seed: of the folds.
    """
    why = sided or names_tell_sides(task.classes)
    if why:
        return Symmetry("none", f"No picture is mirrored: {why}.", {}, 0)
    if len(rows) > _MOST_IMAGES:
        rows = rows.sample(_MOST_IMAGES, random_state=seed)
    rows = rows.sort_values("image_id")
    groups, _, labels = class_members(rows, task)
    owners = np.unique(groups.astype(str), return_inverse=True)[1]
    n_groups = int(owners.max()) + 1 if len(owners) else 0
    if n_groups < LEAST_GROUPS:
        words = (
            f"No picture is mirrored: {n_groups} groups are too few to see whether left and right "
            f"are told apart ({LEAST_GROUPS} are needed)."
        )
        return Symmetry("none", words, {}, len(rows))
    pictures = np.stack([_small(np.asarray(facts[name].grey)) for name in rows["image_id"]])
    stratum = np.unique(["|".join(sorted(row)) for row in labels], return_inverse=True)[1]
    fold = np.random.default_rng(seed).permutation(n_groups)[owners] % _FOLDS
    shares = {
        name: _told_apart(pictures - flip(pictures), stratum, fold) for name, flip in _FLIPS.items()
    }
    return Symmetry(*_chosen(shares), shares, len(rows))


def _chosen(shares: Mapping[str, float]) -> tuple[SymmetryName, str]:
    """The symmetry that the shares allow, and the sentence that says so."""
    seen = {name: percent(share) for name, share in shares.items()}
    if shares["left_right"] > TOLD_APART:
        return "none", (
            f"No picture is mirrored: left and right are told apart ({seen['left_right']} of "
            "pictures are told from their mirror image; 50 % is chance)."
        )
    if shares["up_down"] > TOLD_APART:
        return "left_right", (
            f"Pictures are mirrored left to right (told from their mirror image: "
            f"{seen['left_right']}; 50 % is chance) and not top to bottom ({seen['up_down']})."
        )
    if shares["quarter"] > TOLD_APART:
        return "both", (
            f"Pictures are mirrored both ways (told apart: {seen['left_right']} left to right, "
            f"{seen['up_down']} top to bottom; 50 % is chance) and not turned by quarters "
            f"({seen['quarter']})."
        )
    return "any", (
        f"Pictures are mirrored and turned by quarters: they have no upright pose (told apart: "
        f"{seen['left_right']}, {seen['up_down']}, {seen['quarter']}; 50 % is chance)."
    )


def _small(grey: NDArray[np.uint8]) -> NDArray[np.float64]:
    """A grey picture at (24, 24) with its brightness and contrast taken out."""
    import cv2  # noqa: PLC0415  (0.1 s to import)

    small = cv2.resize(grey, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    values = np.asarray(small, dtype=np.float64)
    return np.asarray((values - values.mean()) / max(float(values.std()), 1.0))


def _told_apart(
    odd: NDArray[np.float64], stratum: NDArray[np.int_], fold: NDArray[np.int_]
) -> float:
    """Share of pictures on the right side of a rule fitted on other folds of their class.

    ``odd`` is a picture less its flip: it changes its sign when the picture is flipped.
    """
    flat = odd.reshape(len(odd), -1)
    right = []
    for kind in np.unique(stratum):
        for number in range(_FOLDS):
            train, held = (stratum == kind) & (fold != number), (stratum == kind) & (fold == number)
            if train.sum() < _FOLDS or not held.any():
                continue
            x = flat[train]
            # Ridge in its dual form: as many unknowns as pictures.
            gram = x @ x.T + _PENALTY * x.shape[1] * np.eye(len(x))
            answer = flat[held] @ (x.T @ np.linalg.solve(gram, np.ones(len(x))))
            right.extend(np.where(np.abs(answer) < 1e-9, 0.5, answer > 0).tolist())
    return float(np.mean(right)) if right else 0.5
