"""How logits become scores, and scores become decisions, for every kind of task.

Pure numpy, so that an evaluation of a stored table and a prediction use the
same lines, and neither needs torch, nor scipy, which takes 0.3 s to load. Training has the
same links in torch in ``core.model.heads``; a test keeps the two equal.

    binary, multiclass   K logits      softmax
    ordinal              K-1 logits    P(y > k) = sigmoid(logit_k), falling in k;
                                       the cumulative link, or regression with cuts
    multilabel           K logits      sigmoid of each

A temperature T divides the logits before the link.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from core.app import Task

__all__ = [
    "cuts_by_frequency",
    "decide",
    "encode",
    "expected_class",
    "link_of",
    "scores_from_logits",
]


def link_of(task: Task, head: str = "auto") -> str:
    """Name of the link: ``softmax``, ``cumulative``, ``sigmoid`` or ``regression``.

    Args:
        task: the task.
        head: the head the network has; ``multiclass`` on an ordinal task asks
            for plain classes, ``regression`` for one number with cuts, ``auto``
            for the link of the task's own kind.

    Raises:
        ConfigError: the head has no meaning for this kind of task.
    """
    if head not in {"auto", "multiclass"} and task.kind != "ordinal":
        msg = (
            f"head {head}: the classes of the task {task.name!r} ({task.kind}) are in no order. "
            "Pass --head auto, or --task ordinal if they are."
        )
        raise ConfigError(msg)
    if head == "multiclass" and task.kind == "multilabel":
        msg = (
            f"head multiclass: images of the task {task.name!r} may have several labels or none. "
            "Pass --head auto, or --task multiclass if each has one."
        )
        raise ConfigError(msg)
    if head == "regression":
        return "regression"
    kind = task.kind if head == "auto" else head
    return {"ordinal": "cumulative", "multilabel": "sigmoid"}.get(kind, "softmax")


def scores_from_logits(
    logits: NDArray[np.float64], *, link: str, temperature: float = 1.0
) -> NDArray[np.float64]:
    """Scores (N, K) in [0, 1] from logits (N, L).

    Args:
        logits: (N, K), or (N, K - 1) for the cumulative link.
        link: see ``link_of``.
        temperature: above 1 softens, below 1 sharpens; must be positive.

    >>> scores_from_logits(np.array([[0.0, 0.0]]), link="softmax").tolist()
    [[0.5, 0.5]]
    >>> scores_from_logits(np.array([[0.0, -20.0]]), link="cumulative").round(3).tolist()
    [[0.5, 0.5, 0.0]]
    """
    z = np.asarray(logits, dtype=np.float64) / temperature
    if link == "softmax":
        likely = np.exp(z - z.max(axis=1, keepdims=True))
        return np.asarray(likely / likely.sum(axis=1, keepdims=True))
    # The exponent is never positive, so nothing overflows.
    small = np.exp(-np.abs(z))
    above = np.asarray(np.where(z >= 0, 1.0, small) / (1.0 + small))
    if link == "sigmoid":
        return above
    edges = np.concatenate([np.ones((len(z), 1)), above, np.zeros((len(z), 1))], axis=1)
    # The thresholds of the head are ordered, so differences are never negative
    # but for rounding.
    return np.asarray(np.maximum(edges[:, :-1] - edges[:, 1:], 0.0))


def decide(
    scores: NDArray[np.float64],
    *,
    task: Task,
    threshold: float | NDArray[np.float64] | None = None,
    fold: NDArray[Any] | None = None,
) -> NDArray[np.int_]:
    """The class index decided for each row; (N, K) zeros and ones for a multi-label task.

    Without a threshold: the class with the highest score; for an ordinal task
    the median grade, the first whose cumulative score reaches one half, which
    is the grade with the least expected absolute error, or, where the task has
    cuts, the grade between whose cuts the expected class lies. With a threshold (an
    operating point of the positive classes): of the positive classes the one
    with the highest score if their scores add up to at least the threshold,
    else the best of the others. (N,) thresholds are those of each row. Rows of a ``fold`` (N,)
    that the task has cuts of its own for are decided by these.

    >>> from core.app import Task
    >>> yes_no = Task(name="t", kind="binary", classes=("no", "yes"), positive=("yes",))
    >>> decide(np.array([[0.7, 0.3]]), task=yes_no, threshold=0.2).tolist()
    [1]
    """
    if task.kind == "multilabel":
        cut = 0.5 if threshold is None else np.asarray(threshold)[..., None]
        return np.asarray((scores >= cut).astype(int))
    if threshold is None:
        if fold is not None and task.fold_cuts:
            return _by_fold(scores, task, fold)
        if task.cuts:
            return np.asarray(np.searchsorted(task.cuts, expected_class(scores), side="right"))
        if task.kind == "ordinal":
            cumulative = np.cumsum(scores[:, :-1], axis=1)
            return np.asarray((cumulative < 0.5 - 1e-12).sum(axis=1))
        return np.asarray(scores.argmax(axis=1))
    positive = np.zeros(scores.shape[1], dtype=bool)
    positive[list(task.positive_index)] = True
    # Thresholds are chosen on sums rounded so (``batches.positive_part``): a score that was the
    # threshold must stay called.
    called = np.round(scores[:, positive].sum(axis=1), 12) >= threshold
    best = np.where(positive, scores, -1.0).argmax(axis=1)
    rest = np.where(positive, -1.0, scores).argmax(axis=1)
    return np.asarray(np.where(called, best, rest))


def _by_fold(scores: NDArray[np.float64], task: Task, fold: NDArray[Any]) -> NDArray[np.int_]:
    """Each row decided by the cuts of its fold; a row of none by those of the task."""
    found = decide(scores, task=task)
    for name, cuts in task.fold_cuts.items():
        rows = fold == name
        if rows.any():
            found[rows] = decide(scores[rows], task=replace(task, cuts=cuts))
    return found


def rule_words(task: Task) -> str:
    """By which rule ``decide`` decides without a threshold, after the word "decided".

    >>> from core.app import Task
    >>> rule_words(Task(name="t", kind="binary", classes=("no", "yes")))
    'the class with the highest score is decided'
    """
    if task.kind == "multilabel":
        return "each label with a score of 0.5 or more is decided"
    if task.cuts:
        return "the grade between whose cuts the expected grade lies is decided"
    if task.kind == "ordinal":
        return "the median grade, the first whose cumulative score reaches 0.5, is decided"
    return "the class with the highest score is decided"


def expected_class(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The expected class index (N,) of scores (N, K), in [0, K - 1]."""
    return np.asarray(scores @ np.arange(scores.shape[1]))


def cuts_by_frequency(
    scores: NDArray[np.float64], y: NDArray[np.int_], *, n_classes: int
) -> tuple[float, ...]:
    """Cuts on the expected class that decide for each class as often as the labels do.

    A median hardly ever names a rare class: where nine of ten cases are healthy, so is
    the median of most of the others. Deciding as often as graders did is what an
    agreement such as the quadratic kappa rewards, and needs no search.

    Args:
        scores: (N, K) of validation cases.
        y: (M,) class indices whose frequencies are to be met; cases may be others.
        n_classes: K.

    Returns:
        (K - 1,) in rising order, for ``Task.cuts``. A cut above every case lies at K.

    >>> scores = np.array([[1.0, 0.0], [0.75, 0.25], [0.5, 0.5]])
    >>> cuts_by_frequency(scores, np.array([0, 0, 1]), n_classes=2)
    (0.375,)
    """
    ranked = np.sort(expected_class(scores))
    below = np.cumsum(np.bincount(y, minlength=n_classes))[:-1] / len(y) * len(ranked)
    # Ends half a case beyond the first and the last, in between the middle of two neighbours.
    middles = (ranked[1:] + ranked[:-1]) / 2
    places = np.concatenate([[0.0], middles, [float(n_classes)]])
    return tuple(float(cut) for cut in places[np.rint(below).astype(int)])


def encode(labels: list[str], task: Task) -> NDArray[np.int_]:
    """Class indices (N,) of labels; (N, K) zeros and ones for a multi-label task.

    Raises:
        KeyError: a label is not a class of the task.
    """
    index = {name: i for i, name in enumerate(task.classes)}
    if task.kind != "multilabel":
        return np.array([index[label] for label in labels], dtype=np.int_)
    encoded = np.zeros((len(labels), len(index)), dtype=np.int_)
    for row, label in enumerate(labels):
        for name in filter(None, label.split(task.label_separator)):
            encoded[row, index[name]] = 1
    return encoded
