"""Expected gain from recalibration on a few local cases, judged on the others.

A shift (or line) on the logit scale for the positive classes, or a temperature for all
classes, is fitted on groups drawn from the new data and judged on the groups that
were left, so that no case helps to judge itself. The ranking of cases, and so the
AUROC, does not change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, logit

from core.errors import MetricError
from core.statistics.calibration import fit_temperature, recalibrate
from core.statistics.intervals import number_groups
from core.statistics.reliability import brier_rows, expected_calibration_error, log_loss_rows
from core.statistics.resampling import Draws, bootstrap_interval, resample_groups
from core.statistics.scores import scores_from_logits

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from core.statistics.resampling import Resampling

    # Fit on some rows, give the scores of others.
    Method = Callable[[NDArray[np.bool_], NDArray[np.bool_]], NDArray[np.float64]]

__all__ = ["local_recalibration"]

# Numbers of local cases that are tried, as far as half of the data go.
SIZES = (25, 50, 100, 200, 500)
DRAWS = 50
FOLDS = 5
# Below this many cases of either kind nothing is fitted.
LEAST = 10


def local_recalibration(
    y: NDArray[np.int_],
    scores: NDArray[np.float64],
    groups: NDArray[np.str_],
    *,
    logits: NDArray[np.float64] | None = None,
    link: str = "softmax",
    draws: Draws | None = None,
) -> dict[str, Any]:
    """What recalibration on local cases gives on other local cases.

    Args:
        y: (N,) zeros and ones for a two-way question, or class indices with ``logits``.
        scores: (N,) of the positive class, or (N, K).
        groups: (N,) the group of each case.
        logits: (N, L) for a temperature; None fits a shift or line.
        link: of the logits.
        draws: of the bootstrap of the cross-fitted numbers, 1,000 if not given; its seed is
            also that of local cases and folds.

    Returns:
        ``method``, ``n``, ``n_events`` and ``rows``: ``fitted_on`` (cases, or ``all but a fifth, in
        turn``), ``draws``, and for ``log_loss``, ``brier``, ``calibration_error``: ``before``,
        ``after``, ``change``, ``low``, ``high``. Or ``reason`` alone where nothing can be fitted.
        The ends of a drawn row hold the middle 95 % of draws; those of the cross-fitted row are a
        bootstrap interval by group.
    """
    index, n_groups = number_groups(groups, len(y))
    two_way = scores.ndim == 1
    events = int(y.sum()) if two_way else None
    about = {
        "method": "shift or line on the logit scale" if logits is None else "temperature",
        "n": len(y),
        "n_groups": n_groups,
        "n_events": events,
    }
    enough = len(y) >= 2 * LEAST and n_groups >= 2 * FOLDS
    if two_way and events is not None:
        enough = enough and min(events, len(y) - events) >= 2 * LEAST
    if not enough:
        reason = (
            f"nothing is fitted on fewer than {2 * LEAST} cases"
            f"{' of either kind' if two_way else ''} or {2 * FOLDS} groups"
        )
        return {**about, "reason": reason, "rows": []}

    def method(fit: NDArray[np.bool_], use: NDArray[np.bool_]) -> NDArray[np.float64]:
        if logits is not None:
            heat = fit_temperature(logits[fit], y[fit], link=link)
            return scores_from_logits(logits[use], link=link, temperature=heat)
        shift, slope, _ = recalibrate(y[fit], scores[fit])
        return np.asarray(expit(shift + slope * logit(np.clip(scores[use], 1e-12, 1 - 1e-12))))

    draws = draws or Draws(resamples=1000)
    rng = np.random.default_rng(draws.seed)
    cases = _Cases(y, scores, method, draws.level)
    sizes = [size for size in SIZES if size <= len(y) // 2]
    rows = [_drawn(cases, size, index, n_groups, rng) for size in sizes]
    plan = resample_groups(groups, resamples=draws.resamples, seed=draws.seed, word=draws.word)
    fold = rng.permutation(np.arange(n_groups) % FOLDS)[index]
    rows.append(_cross_fitted(cases, fold, plan))
    return {**about, "rows": [row for row in rows if row is not None]}


@dataclass(frozen=True)
class _Cases:
    """What is recalibrated and how; ``y`` and ``scores`` as in ``local_recalibration``."""

    y: NDArray[np.int_]
    scores: NDArray[np.float64]
    method: Method
    level: float


def _drawn(
    cases: _Cases, size: int, index: NDArray[np.int_], n_groups: int, rng: np.random.Generator
) -> dict[str, Any] | None:
    """Fitted on so many cases of groups drawn anew each time, judged on all others."""
    y, scores = cases.y, cases.scores
    before, after, fitted = [], [], []
    for _ in range(DRAWS):
        order = rng.permutation(n_groups)
        rank = np.empty(n_groups, dtype=np.int_)
        rank[order] = np.arange(n_groups)
        counts = np.bincount(index, minlength=n_groups)[order].cumsum()
        last = int(np.searchsorted(counts, size))
        fit = rank[index] <= last
        if fit.all():
            continue
        try:
            new = cases.method(fit, ~fit)
        except MetricError:
            continue
        before.append(_numbers(y[~fit], scores[~fit]))
        after.append(_numbers(y[~fit], new))
        fitted.append(int(fit.sum()))
    if len(after) < DRAWS // 2:
        return None
    tail = (1 - cases.level) / 2
    row: dict[str, Any] = {"fitted_on": round(float(np.mean(fitted))), "draws": len(after)}
    for key in before[0]:
        then, now = (np.array([one[key] for one in side]) for side in (before, after))
        low, high = np.quantile(now - then, [tail, 1 - tail])
        row[key] = {
            "before": float(then.mean()),
            "after": float(now.mean()),
            "change": float((now - then).mean()),
            "low": float(low),
            "high": float(high),
        }
    return row


def _cross_fitted(cases: _Cases, fold: NDArray[np.int_], plan: Resampling) -> dict[str, Any] | None:
    """Each fifth of the groups recalibrated by the other four; the change with its interval."""
    y, scores = cases.y, cases.scores
    new = np.empty_like(scores)
    for number in range(FOLDS):
        use = fold == number
        try:
            new[use] = cases.method(~use, use)
        except MetricError:
            return None
    then, now = _numbers(y, scores), _numbers(y, new)
    row: dict[str, Any] = {"fitted_on": "all but a fifth, in turn", "draws": 1}
    for key, rows_of in (("log_loss", log_loss_rows), ("brier", brier_rows)):
        gain = rows_of(y, _of_positive(y, new)) - rows_of(y, _of_positive(y, scores))
        drawn = np.concatenate([(w @ gain) / w.sum(axis=1) for w in plan.weights()])
        change = now[key] - then[key]
        found = bootstrap_interval(change, drawn, plan, level=cases.level)
        row[key] = {"before": then[key], "after": now[key], "change": change}
        row[key] |= {"low": found.low, "high": found.high}
    key = "calibration_error"
    row[key] = {"before": then[key], "after": now[key], "change": now[key] - then[key]}
    row[key] |= {"low": None, "high": None}
    return row


def _of_positive(y: NDArray[np.int_], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of two classes the score of the second alone, as everywhere else."""
    return scores[:, 1] if scores.ndim == 2 and scores.shape[1] == 2 and y.ndim == 1 else scores


def _numbers(y: NDArray[np.int_], scores: NDArray[np.float64]) -> dict[str, float]:
    """Log-loss, Brier score and expected calibration error in ten equal bins."""
    scores = _of_positive(y, scores)
    if scores.ndim == 2 and y.ndim == 1:
        best = scores.argmax(axis=1)
        truth, sure = (best == y).astype(int), scores[np.arange(len(y)), best]
    else:
        truth, sure = y.ravel(), scores.ravel()
    return {
        "log_loss": float(log_loss_rows(y, scores).mean()),
        "brier": float(brier_rows(y, scores).mean()),
        "calibration_error": expected_calibration_error(truth, np.clip(sure, 0.0, 1.0)),
    }
