"""The true label of a unit (breast, eye, patient) from the labels of its images.

The rule is declared by unit and task, and has nothing to do with how scores are combined:
a woman with one malignant breast has cancer, however her scores are averaged. Where no
rule is declared and a unit's images differ, its truth is not known, and it is not judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from core.app import Task, Truth

__all__ = ["UnitTruth", "labels_of_units", "truth_rule", "truth_words"]

WORDS = {
    "worst": "the {worst} of its images, in the order {order}",
    "union": "every label that any of its images has",
    "same": "the label that all of its images have; where they differ it is not judged",
    "most": "the label that most of its images have, the first in order where two are even",
    "positive": "positive ({positive}) if any of its images is; of several labels that are left "
    "it is the one that most images have, the last in the order {order} where two are even",
    "stated": "its own label in the table (column {column})",
}


@dataclass(frozen=True)
class UnitTruth:
    """How units of one kind came by their labels.

    Attributes:
        unit: of what.
        rule: ``worst``, ``union``, ``same``, ``most``, ``positive`` or ``stated``.
        words: the rule in a sentence.
        n: units.
        n_mixed: of these, those whose images have different labels.
        n_unknown: of these, those not judged because of it.
    """

    unit: str
    rule: str
    words: str
    n: int
    n_mixed: int
    n_unknown: int


def truth_rule(task: Task, unit: str) -> Truth:
    """The rule of a unit: the task's for this unit, the task's own, or that of its kind.

    Grades and yes-or-no questions take the worst finding, several labels their union; of
    classes in no order only one that all images have is known.
    """
    declared = task.truths.get(unit) or task.truths.get("")
    if declared:
        return declared
    return {"multilabel": "union", "multiclass": "same"}.get(task.kind, "worst")  # type: ignore[return-value]


def truth_words(task: Task, unit: str, rule: str | None = None) -> str:
    """The rule of a unit in a sentence.

    >>> from core.app import Task
    >>> truth_words(Task(name="t", kind="binary", classes=("no", "yes")), "exam")
    'The truth of each exam is the worst finding of its images, in the order no < yes.'
    """
    how = WORDS[rule or truth_rule(task, unit)]
    words = how.format(
        order=" < ".join(task.title(name) for name in task.classes),
        worst="highest grade" if task.kind == "ordinal" else "worst finding",
        column=f"{unit}_label",
        positive=" or ".join(task.positive),
    )
    return f"The truth of each {unit} is {words}."


def labels_of_units(
    unit: str,
    label: NDArray[np.str_],
    owner: NDArray[np.int_],
    n_units: int,
    task: Task,
    stated: NDArray[np.str_] | None = None,
) -> tuple[NDArray[np.object_], UnitTruth]:
    """The label of each unit (U,), empty where it is not known, and the rule behind it.

    Args:
        unit: of what.
        label: (N,) of the images, empty where unknown.
        owner: (N,) the unit of each image.
        n_units: U.
        task: with its class order.
        stated: (N,) labels of the units themselves, where the table has them.
    """
    rule = truth_rule(task, unit)
    if stated is not None and (stated != "").any():
        rule, label = "stated", stated
    if task.kind == "multilabel":
        found, mixed = _union(label, owner, n_units, task)
        unknown = np.zeros(n_units, dtype=bool)
    else:
        found, mixed, unknown = _of_one_class(label, owner, n_units, task, rule)
    truth = UnitTruth(
        unit=unit,
        rule=rule,
        words=truth_words(task, unit, rule),
        n=n_units,
        n_mixed=int(mixed.sum()),
        n_unknown=int(unknown.sum()),
    )
    return found, truth


def _union(
    label: NDArray[np.str_], owner: NDArray[np.int_], n_units: int, task: Task
) -> tuple[NDArray[np.object_], NDArray[np.bool_]]:
    """Every label of a unit's images, the bare separator where all are known to have none."""
    mark = task.label_separator
    place = {name: i for i, name in enumerate(task.classes)}
    sets: list[set[str]] = [set() for _ in range(n_units)]
    kinds: list[set[frozenset[str]]] = [set() for _ in range(n_units)]
    bare = np.zeros(n_units, dtype=bool)
    for text, of in zip(label, owner, strict=True):
        if text == "":
            bare[of] = True
            continue
        names = frozenset(filter(None, str(text).split(mark)))
        sets[of] |= names
        kinds[of].add(names)
    found = np.full(n_units, "", dtype=object)
    for i, held in enumerate(sets):
        ordered = sorted(held, key=lambda name: (place.get(name, len(place)), name))
        # An image without a known label might have one: then none is not known either.
        none = mark if kinds[i] and not bare[i] else ""
        found[i] = mark.join(ordered) if ordered else none
    return found, np.array([len(kind) > 1 for kind in kinds], dtype=bool)


def _of_one_class(
    label: NDArray[np.str_], owner: NDArray[np.int_], n_units: int, task: Task, rule: str
) -> tuple[NDArray[np.object_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Label of each unit, whether its images differ, and whether it is unknown for that."""
    place = {name: i for i, name in enumerate(task.classes)}
    index = np.array([place.get(str(text), -1) for text in label], dtype=np.int_)
    counts = np.zeros((n_units, len(task.classes)), dtype=np.int_)
    np.add.at(counts, (owner[index >= 0], index[index >= 0]), 1)
    has, mixed = counts.sum(axis=1) > 0, (counts > 0).sum(axis=1) > 1
    if rule == "positive":
        # Images of other classes say nothing against a positive one.
        is_positive = np.isin(np.arange(len(task.classes)), list(task.positive_index))
        some = counts[:, is_positive].any(axis=1)
        counts[np.ix_(some, ~is_positive)] = 0
        counts = np.where(counts == counts.max(axis=1, keepdims=True), counts, 0)
    highest = counts.shape[1] - 1 - (counts[:, ::-1] > 0).argmax(axis=1)
    chosen = counts.argmax(axis=1) if rule == "most" else highest
    unknown = mixed & (rule in {"same", "stated"})
    found = np.full(n_units, "", dtype=object)
    known = has & ~unknown
    found[known] = np.array(task.classes, dtype=object)[chosen[known]]
    # A label that is no class of the task stays, so that it is counted and named later.
    for row in np.flatnonzero((index < 0) & (label != "")):
        if not has[owner[row]]:
            found[owner[row]] = str(label[row])
    return found, mixed, unknown
