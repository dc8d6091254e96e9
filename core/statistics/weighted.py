"""Metrics over all resamples at once: (b, N) weights in, (b,) values out, NaN where undefined.

The functions behind ``core.statistics.metrics``, which names them for apps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from core.errors import MetricError
from core.statistics.agreement import confusion_matrices, from_confusion, mean_of_defined, ratio
from core.statistics.discrimination import Ranking, indicator
from core.statistics.reliability import bin_numbers

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from core.app import Cases

    Weights = NDArray[np.float64]

__all__ = [
    "areas_of_positive",
    "best_rates",
    "brier_skills",
    "briers_of_positive",
    "calibration_errors",
    "calibration_gaps",
    "calibration_noise",
    "concordances",
    "f1_of_positive",
    "macro_areas",
    "means_of_rows",
    "micro_areas",
    "numbers_of_confusion",
    "numbers_of_labels",
    "partial_areas_of_positive",
    "positive_part",
    "rates_of_positive",
    "right_of",
    "top_two",
    "top_two_of",
    "weighted_means",
]


def weighted_means(values: NDArray[np.float64], weights: Weights) -> NDArray[np.float64]:
    """Means (b,) of rows (N,); NaN where no row has weight."""
    return ratio(weights @ values, weights.sum(axis=1))


def positive_part(
    cases: Cases, positive: tuple[int, ...] | None
) -> tuple[NDArray[np.int_], NDArray[np.float64], NDArray[np.int_]]:
    """Truth, summed score and decision of the positive classes taken together, (N,) each.

    Args:
        cases: see ``core.app.Cases``.
        positive: class indices; None takes those of the cases (``Cases.positive``), and where
            they name none either the upper half: the second of two, the third of three.

    Raises:
        MetricError: the task names no positive class.
    """
    n_classes = cases.scores.shape[1]
    named = cases.positive if positive is None else positive
    upper = range(n_classes - n_classes // 2, n_classes)
    where = list(upper if named is None else named)
    if not where:
        msg = "not estimable: the task names no positive class"
        raise MetricError(msg)
    if cases.y.ndim == 2:
        # Labels that do not exclude one another: positive if any is.
        score = 1 - np.prod(1 - cases.scores[:, where], axis=1)
        return (
            cases.y[:, where].max(axis=1),
            score,
            cases.decided[:, where].max(axis=1),
        )
    # Sums of scores end in different digits; ties must stay ties.
    score = np.round(np.clip(cases.scores[:, where].sum(axis=1), 0.0, 1.0), 12)
    return np.isin(cases.y, where).astype(int), score, np.isin(cases.decided, where).astype(int)


def numbers_of_confusion(cases: Cases, weights: Weights, *, name: str) -> NDArray[np.float64]:
    """One number of the confusion matrices."""
    if cases.y.ndim == 2:
        if name == "accuracy":
            return weighted_means(right_of(cases).astype(float), weights)
        if name not in {"macro_f1", "balanced_accuracy"}:
            return np.full(len(weights), np.nan)
        return numbers_of_labels(cases, weights)[name]
    counts = confusion_matrices(cases.y, cases.decided, cases.scores.shape[1], weights)
    return from_confusion(counts)[name]


def right_of(cases: Cases) -> NDArray[np.bool_]:
    """(N,) whether each case is decided right; of several labels, every one of them."""
    right = cases.y == cases.decided
    return np.asarray(right.all(axis=1) if right.ndim == 2 else right)


def numbers_of_labels(cases: Cases, weights: Weights) -> dict[str, NDArray[np.float64]]:
    """Macro F1 and balanced accuracy over the labels of a multi-label task.

    The balanced accuracy of a label is the mean of its sensitivity and specificity, so that
    calling every label of every case is worth one half, and not one.
    """
    hits = weights @ (cases.y * cases.decided).astype(float)
    support, called = weights @ cases.y.astype(float), weights @ cases.decided.astype(float)
    cleared = weights @ ((1 - cases.y) * (1 - cases.decided)).astype(float)
    without = weights.sum(axis=1, keepdims=True) - support
    f1 = ratio(2 * hits, support + called)
    balanced = (ratio(hits, support) + ratio(cleared, without)) / 2
    return {"macro_f1": mean_of_defined(f1), "balanced_accuracy": mean_of_defined(balanced)}


def macro_areas(cases: Cases, weights: Weights, *, which: str) -> NDArray[np.float64]:
    """The mean over classes of an area; NaN if any class has none."""
    truth = indicator(cases.y, cases.scores.shape[1])
    columns = [
        getattr(Ranking(truth[:, k], cases.scores[:, k]), which)(weights)
        for k in range(truth.shape[1])
    ]
    return np.asarray(np.mean(columns, axis=0))


def micro_areas(cases: Cases, weights: Weights) -> NDArray[np.float64]:
    """Areas over all pairs of case and class pooled."""
    n_classes = cases.scores.shape[1]
    truth = indicator(cases.y, n_classes).ravel()
    return Ranking(truth, cases.scores.ravel()).auroc(np.repeat(weights, n_classes, axis=1))


def means_of_rows(
    cases: Cases, weights: Weights, *, rows: Callable[..., NDArray[np.float64]]
) -> NDArray[np.float64]:
    """The mean of a number that each row has."""
    if not len(cases.y):
        return np.full(len(weights), np.nan)
    if cases.scores.shape[1] == 2 and cases.y.ndim == 1:
        return weighted_means(rows(cases.y, np.clip(cases.scores[:, 1], 0, 1)), weights)
    return weighted_means(rows(cases.y, np.clip(cases.scores, 0, 1)), weights)


def brier_skills(cases: Cases, weights: Weights) -> NDArray[np.float64]:
    """One minus the Brier score over that of always saying the class shares."""
    if not len(cases.y):
        return np.full(len(weights), np.nan)
    if cases.y.ndim == 2:
        truth, scores = cases.y.astype(float), cases.scores
    elif cases.scores.shape[1] == 2:
        truth, scores = cases.y[:, None].astype(float), cases.scores[:, 1:]
    else:
        truth, scores = indicator(cases.y, cases.scores.shape[1]).astype(float), cases.scores
    total = weights.sum(axis=1, keepdims=True)
    shares = ratio(weights @ truth, np.broadcast_to(total, (len(weights), truth.shape[1])))
    # Of zeros and ones around their mean p the mean squared error is p (1 - p).
    reference = (shares * (1 - shares)).sum(axis=1)
    own = weighted_means(((np.clip(scores, 0, 1) - truth) ** 2).sum(axis=1), weights)
    return np.asarray(1 - ratio(own, np.where(reference > 1e-15, reference, 0.0)))


def _claims(cases: Cases) -> tuple[NDArray[np.int_], NDArray[np.float64], int]:
    """What scores claim: outcomes (N L,), scores (N L,), and L, one label or several.

    Of the positive class of two, of the decided class of several, or of all labels.
    """
    if cases.y.ndim == 2:
        return cases.y.ravel(), cases.scores.ravel(), cases.y.shape[1]
    if cases.scores.shape[1] == 2:
        return cases.y, cases.scores[:, 1], 1
    best = cases.scores.argmax(axis=1)
    return (best == cases.y).astype(int), cases.scores[np.arange(len(best)), best], 1


def calibration_gaps(
    cases: Cases, weights: Weights, *, bins: int = 10, equal: str = "width"
) -> NDArray[np.float64]:
    """Gaps (b, B) of the bins: score minus outcome, summed over its cases, by the number of all."""
    truth, score, n_labels = _claims(cases)
    # Bins of equal mass are those of the cases themselves; a resample does not move them.
    number, edges = bin_numbers(np.clip(score, 0.0, 1.0), bins=bins, equal=equal)
    gaps = np.zeros((len(cases.y), len(edges) - 1))
    owner = np.repeat(np.arange(len(cases.y)), n_labels)
    np.add.at(gaps, (owner, number), score - truth)
    total = n_labels * weights.sum(axis=1, keepdims=True)
    return ratio(weights @ gaps, np.broadcast_to(total, (len(weights), gaps.shape[1])))


def calibration_noise(
    cases: Cases,
    index: NDArray[np.int_],
    *,
    draws: int = 400,
    seed: int = 0,
    bins: int = 10,
    equal: str = "width",
) -> NDArray[np.float64]:
    """Calibration errors (draws,) that scores which are right show by chance.

    Outcomes are drawn from the scores; those of a group rise and fall together, as far as
    scores allow it.

    Args:
        cases: gives the scores.
        index: (N,) number of the group of each case.
        draws: how many.
        seed: of the draws.
        bins: number of bins.
        equal: as in ``core.statistics.reliability.bin_numbers``.
    """
    _, score, n_labels = _claims(cases)
    number, edges = bin_numbers(np.clip(score, 0.0, 1.0), bins=bins, equal=equal)
    owner = np.repeat(index, n_labels)
    if n_labels > 1:
        # Labels of a case are drawn apart.
        owner = owner * n_labels + np.tile(np.arange(n_labels), len(index))
    of_bin = (number[:, None] == np.arange(len(edges) - 1)).astype(np.float64)
    rng = np.random.default_rng(seed)
    found = np.empty(draws)
    for i in range(draws):
        drawn = rng.random(int(owner.max()) + 1)[owner] < score
        found[i] = np.abs((score - drawn) @ of_bin).sum() / len(score)
    return found


def calibration_errors(
    cases: Cases, weights: Weights, *, bins: int = 10, equal: str = "width"
) -> NDArray[np.float64]:
    """Of the positive class, of the decided class, or of all labels."""
    if not len(cases.y):
        return np.full(len(weights), np.nan)
    return np.asarray(np.abs(calibration_gaps(cases, weights, bins=bins, equal=equal)).sum(axis=1))


def areas_of_positive(
    cases: Cases, weights: Weights, *, which: str, positive: tuple[int, ...] | None = None
) -> NDArray[np.float64]:
    """Areas or average precisions of the positive classes together."""
    truth, score, _ = positive_part(cases, positive)
    return np.asarray(getattr(Ranking(truth, score), which)(weights))


def rates_of_positive(
    cases: Cases, weights: Weights, *, of: int, positive: tuple[int, ...] | None = None
) -> NDArray[np.float64]:
    """Sensitivity (of 1) or specificity (of 0) of the decisions."""
    truth, _, decided = positive_part(cases, positive)
    among = (truth == of).astype(float)
    return ratio(weights @ (among * (decided == of)), weights @ among)


def briers_of_positive(
    cases: Cases, weights: Weights, *, positive: tuple[int, ...] | None = None
) -> NDArray[np.float64]:
    """Brier scores of the positive classes together."""
    truth, score, _ = positive_part(cases, positive)
    return weighted_means((score - truth) ** 2, weights)


def f1_of_positive(
    cases: Cases, weights: Weights, *, positive: tuple[int, ...] | None = None
) -> NDArray[np.float64]:
    """F1 = 2 sum(p over positives) / (sum(p) + n positive), with scores for decisions."""
    truth, score, _ = positive_part(cases, positive)
    n_positive = weights @ truth.astype(float)
    value = ratio(2 * (weights @ (truth * score)), weights @ score + n_positive)
    return np.where(n_positive > 0, value, np.nan)


def partial_areas_of_positive(
    cases: Cases,
    weights: Weights,
    *,
    positive: tuple[int, ...] | None = None,
    specificity: tuple[float, float] = (0.85, 1.0),
) -> NDArray[np.float64]:
    """Standardised partial areas of the positive classes together."""
    truth, score, _ = positive_part(cases, positive)
    return Ranking(truth, score).partial_area(weights, 1 - specificity[1], 1 - specificity[0])


def best_rates(
    cases: Cases,
    weights: Weights,
    *,
    of: str,
    positive: tuple[int, ...] | None = None,
    at_least: float = 0.0,
    limit: float = 1.0,
    prevalence: float | None = None,
) -> NDArray[np.float64]:
    """The best rate of any threshold that keeps to a bound on another."""
    truth, score, _ = positive_part(cases, positive)
    hits, alarms = Ranking(truth, score).rates(weights)
    n_1, n_0 = hits[:, -1:], alarms[:, -1:]
    sensitivity = hits / np.where(n_1 > 0, n_1, 1.0)
    specificity = 1 - alarms / np.where(n_0 > 0, n_0, 1.0)
    slack = 1e-12
    if of == "specificity":
        found = np.where(sensitivity >= at_least - slack, specificity, 0.0).max(axis=1)
    elif limit < 1:
        recalled = (hits + alarms) / np.where(n_1 + n_0 > 0, n_1 + n_0, 1.0)
        if prevalence is not None:
            recalled = prevalence * sensitivity + (1 - prevalence) * (1 - specificity)
        found = np.where(recalled <= limit + slack, sensitivity, 0.0).max(axis=1)
    else:
        found = np.where(specificity >= at_least - slack, sensitivity, 0.0).max(axis=1)
    return np.where((n_1 > 0) & (n_0 > 0), found[:, None], np.nan)[:, 0]


def concordances(cases: Cases, weights: Weights) -> NDArray[np.float64]:
    """Lin's concordance of true and decided grade."""
    if cases.y.ndim == 2:
        return np.full(len(weights), np.nan)
    a, b = cases.y.astype(float), cases.decided.astype(float)
    mean_a, mean_b = weighted_means(a, weights), weighted_means(b, weights)
    both = weighted_means(a * b, weights) - mean_a * mean_b
    spread = weighted_means(a * a, weights) - mean_a**2 + weighted_means(b * b, weights) - mean_b**2
    below = spread + (mean_a - mean_b) ** 2
    return ratio(2 * both, np.where(below > 1e-12, below, 0.0))


def top_two_of(cases: Cases) -> NDArray[np.bool_]:
    """(N,) whether the class of each case has one of the two highest scores."""
    best = np.argsort(-cases.scores, axis=1, kind="stable")[:, :2]
    return np.asarray((best == cases.y[:, None]).any(axis=1))


def top_two(cases: Cases, weights: Weights) -> NDArray[np.float64]:
    """Shares of cases whose class has one of the two highest scores."""
    if cases.y.ndim == 2 or not len(cases.y):
        return np.full(len(weights), np.nan)
    return weighted_means(top_two_of(cases).astype(float), weights)
