"""Decision curves (net benefit) and risk-coverage curves.

The net benefit of acting on the score at a cost, and the error that is left when the least
certain cases are referred to a person.

Sources: Vickers and Elkin 2006, doi:10.1177/0272989X06295361 (decision curve); Zou and Donner
2008, doi:10.1002/sim.3095 (its interval); Geifman and El-Yaniv 2017, arXiv:1705.08500 (risk
and coverage).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import MetricError
from core.statistics.intervals import Interval, number_groups, plural, wilson_of_spread
from core.statistics.operating_points import proportion
from core.statistics.reliability import truth_and_scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from core.statistics.metric_kinds import Share

__all__ = ["decision_curve", "net_interval", "risk_coverage"]

# Share of the cases from which the error at the confidence that refers is learned.
NEAR = 0.1


def decision_curve(
    y: ArrayLike,
    score: ArrayLike,
    *,
    thresholds: Sequence[float] | NDArray[np.float64] | None = None,
    prevalence: float | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Net benefit of acting on the model, on everybody and on nobody.

    At a threshold t a false alarm costs t / (1 - t) of what a found case gains.

    Args:
        y: (N,) zeros and ones.
        score: (N,) calibrated, in [0, 1].
        thresholds: (T,) in (0, 1); None takes 0.01 to 0.99.
        prevalence: share of positive cases where the model will be used: net benefit is then
            that of this place, where cases of each kind resemble these; None: that of the cases.

    Returns:
        ``threshold``, ``model``, ``everybody`` and ``nobody`` (zeros), each (T,); NaN where a
        class is absent and the prevalence is given.

    Raises:
        MetricError: there is no case, a score is no probability, or a threshold or the
            prevalence is not inside (0, 1).

    >>> found = decision_curve([1, 0], [0.8, 0.3], thresholds=[0.5])
    >>> found["model"].tolist(), found["everybody"].tolist()
    ([0.5], [0.0])
    """
    truth, value = truth_and_scores(y, score)
    at = np.arange(1, 100) / 100 if thresholds is None else np.asarray(thresholds, dtype=float)
    if not ((at > 0) & (at < 1)).all():
        msg = "A threshold of a decision curve must lie between 0 and 1."
        raise MetricError(msg)
    odds = at / (1 - at)
    called = (value[:, None] >= at).astype(np.float64)
    n_1, n_0 = float(truth.sum()), float((1 - truth).sum())
    hits, alarms = truth @ called, (1 - truth) @ called
    if prevalence is None:
        share = n_1 / (n_1 + n_0)
        model = (hits - alarms * odds) / (n_1 + n_0)
    else:
        if not 0 < prevalence < 1:
            msg = f"The prevalence is {prevalence:g}; it must lie between 0 and 1."
            raise MetricError(msg)
        share = prevalence if n_1 and n_0 else float("nan")
        model = share * hits / max(n_1, 1.0) - (1 - share) * alarms / max(n_0, 1.0) * odds
    everybody = share - (1 - share) * odds
    return {"threshold": at, "model": model, "everybody": everybody, "nobody": np.zeros(len(at))}


def net_interval(
    gain: tuple[float, Share],
    loss: tuple[float, Share],
    groups: NDArray[Any] | None,
    *,
    level: float = 0.95,
    word: str = "group",
) -> Interval:
    """The interval of a net benefit: a weighted share gained minus a weighted share lost.

    The ends follow from those of the two shares (Zou and Donner 2008), which hold where a rare
    loss was not seen once; resamples of such cases would never show it. What both have in
    common, as groups differ, is taken into account.

    Args:
        gain: weight, and the proportion.
        loss: weight, and the proportion.
        groups: (N,) of each case; None where each is its own.
        level: confidence level.
        word: what a group is called.

    Returns:
        the interval; withheld where that of a share is.
    """
    value, below, above, left = 0.0, [0.0, 0.0], [0.0, 0.0], []
    for i, (weight, share) in enumerate((gain, loss)):
        some = None if groups is None else groups[share.among]
        rate = proportion(share.success[share.among], some, level=level, word=word)
        if rate.value is None or rate.low is None or rate.high is None:
            return Interval(low=None, high=None, level=level, reason=rate.reason)
        value += weight * rate.value if i == 0 else -weight * rate.value
        below[i], above[i] = weight * (rate.value - rate.low), weight * (rate.high - rate.value)
        left.append(np.where(share.among, share.success - rate.value, 0.0))
    alike = _correlation(left[0], left[1], groups)
    reach = [
        float(np.sqrt(max(0.0, a * a + b * b - 2 * alike * a * b)))
        for a, b in ((below[0], above[1]), (above[0], below[1]))
    ]
    method = "from the intervals of both shares (Zou and Donner)"
    return Interval(low=value - reach[0], high=value + reach[1], level=level, method=method)


def _correlation(
    first: NDArray[np.float64], second: NDArray[np.float64], groups: NDArray[Any] | None
) -> float:
    """How much what is left of two proportions goes together over groups, in [-1, 1]."""
    index, n_groups = number_groups(groups, len(first))
    a, b = (np.bincount(index, weights=left, minlength=n_groups) for left in (first, second))
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else 0.0


def risk_coverage(
    correct: ArrayLike,
    confidence: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    referred: Sequence[float] = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5),
    level: float = 0.95,
    word: str = "group",
) -> list[dict[str, Any]]:
    """The error among the rest when the least certain cases are referred to a person.

    Args:
        correct: (N,) whether each decision was right.
        confidence: (N,) how sure it was; the lowest are referred first, tied cases together.
        groups: (N,) the group of each case; None where each is its own.
        referred: shares to refer.
        level: confidence level.
        word: what a group is called.

    Returns:
        one row per share: ``referred`` (asked), ``coverage`` (share kept, with ties),
        ``threshold`` (kept from this confidence on), ``n``, ``errors``, ``error``, ``low``,
        ``high``, ``method``, ``words``: "refer 10 %: error on the rest 1.8 % [1.1, 2.9]".

    Raises:
        MetricError: there is no case, or a confidence is no number.

    >>> risk_coverage([0, 1, 1, 1], [0.4, 0.6, 0.8, 0.9], referred=[0.25])[0]["error"]
    0.0
    """
    right, sure = np.asarray(correct).astype(bool), np.asarray(confidence, dtype=np.float64)
    if not len(right):
        msg = "not estimable: no case is left"
        raise MetricError(msg)
    if right.shape != sure.shape or not np.isfinite(sure).all():
        msg = "not estimable: every decision needs a confidence that is a finite number"
        raise MetricError(msg)
    owner = None if groups is None else np.asarray(groups)
    ordered = np.sort(sure)
    rows = []
    for share in referred:
        n_out = min(len(sure) - 1, int(np.floor(share * len(sure) + 1e-9)))
        kept = sure >= ordered[n_out]
        some = None if owner is None else owner[kept]
        rate = proportion(~right[kept], some, level=level, word=word)
        if not kept.all() and rate.low is not None and 0 < rate.x < rate.n:
            found = _of_the_rest(~right, sure, kept, owner, level=level, word=word)
            rate = replace(rate, low=found.low, high=found.high, method=found.method)
        error = rate.value or 0.0
        words = f"refer {100 * share:.3g} %: error on the rest {100 * error:.1f} %"
        if rate.low is not None and rate.high is not None:
            words += f" [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"
        rows.append(
            {
                "referred": float(share),
                "coverage": float(kept.mean()),
                "threshold": float(ordered[n_out]),
                "n": rate.n,
                "errors": rate.x,
                "error": error,
                "low": rate.low,
                "high": rate.high,
                "method": rate.method,
                "words": words,
            }
        )
    return rows


def _of_the_rest(
    wrong: NDArray[np.bool_],
    sure: NDArray[np.float64],
    kept: NDArray[np.bool_],
    owner: NDArray[Any] | None,
    *,
    level: float,
    word: str,
) -> Interval:
    """The interval of the error among the cases that are kept, for a share referred.

    Which confidence refers that share is a matter of the cases, too. What a case moves is
    therefore its error less that of cases near this confidence, as with any mean above a
    quantile. Taken as given, the confidence made intervals that held 71 to 95 % of truths.
    """
    index, n_groups = number_groups(owner, len(wrong))
    place = np.argsort(np.argsort(sure, kind="stable"), kind="stable")
    distance = np.abs(place - int((~kept).sum()))
    near = np.argsort(distance, kind="stable")[: max(5, round(NEAR * len(wrong)))]
    moved = kept * (wrong - wrong[near].mean())
    totals = np.bincount(index, weights=moved - moved.mean(), minlength=n_groups)
    n, share = int(kept.sum()), float(wrong[kept].mean())
    se = float(np.sqrt(n_groups / (n_groups - 1) * (totals @ totals))) / n
    n_kept = len(np.unique(index[kept]))
    if n_kept < 2:
        return Interval(low=None, high=None, level=level)
    found = wilson_of_spread(share, se, n, n_kept, level=level)
    over = f"{n_kept:,} {plural(word, n_kept)}" if owner is not None else f"{n:,} cases"
    return replace(found, method=f"Wilson with the design effect of {over} and of the share kept")
