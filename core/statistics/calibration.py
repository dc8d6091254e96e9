"""Calibration: slope and intercept, temperature and vector scaling, local recalibration.

Slope and intercept say whether scores are too extreme, or too high as a whole; the rest mends
it. What is fitted on which data is the caller's duty: validation for the stored temperature,
local cases for a new site, never the test.

Sources: Cox 1958, doi:10.1093/biomet/45.3-4.562 (slope and intercept); Van Calster et
al. 2016, doi:10.1016/j.jclinepi.2015.12.005 (calibration in the large); Guo et al.
2017, arXiv:1706.04599 (temperature and vector scaling); Bell and McCaffrey 2002, Survey
Methodology 28:169-181 (variance between groups).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, log_softmax

from core.errors import MetricError
from core.statistics.intervals import Interval, check_level, number_groups, plural, student_quantile
from core.statistics.reliability import log_loss, logits_of, truth_and_scores
from core.statistics.scores import scores_from_logits

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "VECTOR_SCALING_ROWS",
    "CalibrationLine",
    "calibration_in_the_large",
    "calibration_line",
    "fit_temperature",
    "fit_vector_scaling",
    "in_the_large",
    "logistic_lines",
    "recalibrate",
]

# Vector scaling has 2 K parameters; below this many rows it fits noise.
VECTOR_SCALING_ROWS = 1000
# Temperatures outside of these mean that the log-loss has no minimum.
LOG_TEMPERATURE = (-4.0, 5.0)
# Of the pull of a group on the fit, at least this share is left to others.
LEAST_FREE = 1e-6


@dataclass(frozen=True, kw_only=True)
class CalibrationLine:
    """How the truth follows the scores on the logit scale.

    Attributes:
        slope: 1 is right; below 1 scores are too extreme.
        intercept: of the same model as the slope; 0 is right.
        in_the_large: intercept with the slope fixed at 1; below 0 scores are too high.
        slope_interval, intercept_interval, in_the_large_interval: their intervals.
    """

    slope: float
    intercept: float
    in_the_large: float
    slope_interval: Interval
    intercept_interval: Interval
    in_the_large_interval: Interval


def calibration_line(
    y: ArrayLike,
    score: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    strata: ArrayLike | None = None,
    level: float = 0.95,
    word: str = "group",
) -> CalibrationLine:
    """Calibration slope, intercept and calibration in the large, with intervals.

    Args:
        y: (N,) zeros and ones.
        score: (N,) of the positive class, in [0, 1].
        groups: (N,) the group of each case: intervals then come from the spread
            between groups (sandwich estimator); None: independent cases.
        strata: (N,) the stratum of each case's group, whose number of groups was fixed by
            design; None: nothing was fixed.
        level: confidence level.
        word: what a group is called.

    Raises:
        MetricError: a class is absent, the scores do not vary, or they separate
            the classes perfectly, so that no finite slope fits best.
    """
    truth, values = truth_and_scores(y, score)
    x = logits_of(values)
    ones = np.ones((1, len(x)))
    intercept, slope = (float(v) for v in logistic_lines(truth, x, ones)[0])
    large = float(in_the_large(truth, x, ones)[0])
    if not np.isfinite(large):
        msg = "not estimable: calibration needs cases of both classes"
        raise MetricError(msg)
    if not np.isfinite(slope):
        msg = (
            "not estimable: the scores do not vary, or separate the classes perfectly, so no "
            "finite calibration slope fits best"
        )
        raise MetricError(msg)
    design = np.column_stack([np.ones(len(x)), x])
    fits = ((design, expit(intercept + slope * x)), (design[:, :1], expit(large + x)))
    if groups is None:
        method = f"Wald, {len(x):,} independent cases"
        both, alone = ([(se, np.inf) for se in _standard_errors(d, p)] for d, p in fits)
    else:
        index, n_groups = number_groups(groups, len(x))
        if min(len(np.unique(index[truth == k])) for k in (0, 1)) < 2:
            msg = f"not estimable: a class is held by one {word} alone"
            raise MetricError(msg)
        of_row = np.zeros(len(x), dtype=int) if strata is None else np.asarray(strata)
        stratum = of_row[np.unique(index, return_index=True)[1]]
        method = f"Student's, sandwich variance over {n_groups:,} {plural(word, n_groups)}"
        both, alone = (_between_groups(d, truth, p, index, stratum) for d, p in fits)

    def around(value: float, spread: tuple[float, float]) -> Interval:
        se, df = spread
        reach = (student_quantile(df, level) if np.isfinite(df) else check_level(level)) * se
        known = df if np.isfinite(df) else None
        return Interval(
            low=value - reach, high=value + reach, level=level, method=method, se=se, df=known
        )

    return CalibrationLine(
        slope=slope,
        intercept=intercept,
        in_the_large=large,
        slope_interval=around(slope, both[1]),
        intercept_interval=around(intercept, both[0]),
        in_the_large_interval=around(large, alone[0]),
    )


def calibration_in_the_large(
    y: ArrayLike, score: ArrayLike, *, weight: ArrayLike | None = None
) -> float:
    """The shift on the logit scale that would make the mean score right; 0 is right.

    Raises:
        MetricError: a class is absent.
    """
    truth, values = truth_and_scores(y, score)
    weights = np.ones(len(values)) if weight is None else np.asarray(weight, dtype=np.float64)
    found = float(in_the_large(truth, logits_of(values), weights[None, :])[0])
    if not np.isfinite(found):
        msg = "not estimable: calibration needs cases of both classes"
        raise MetricError(msg)
    return found


def _standard_errors(design: NDArray[np.float64], fitted: NDArray[np.float64]) -> list[float]:
    """Standard errors of a logistic model of independent cases, of maximum likelihood."""
    bread = np.linalg.inv((design * (fitted * (1 - fitted))[:, None]).T @ design)
    return [float(v) for v in np.sqrt(np.diag(bread))]


def _between_groups(
    design: NDArray[np.float64],
    truth: NDArray[np.float64],
    fitted: NDArray[np.float64],
    index: NDArray[np.int_],
    stratum: NDArray[np.int_],
) -> list[tuple[float, float]]:
    """Standard errors of a logistic model between groups, each with its degrees of freedom.

    The sandwich estimator, in which what each group leaves over is freed of the pull that it
    had on the fit itself (Bell and McCaffrey's CR2). The plain one is too narrow where a few
    groups carry the fit, the jackknife too wide.
    """
    n_groups, k = len(stratum), design.shape[1]
    weight = fitted * (1 - fitted)
    pull = np.zeros((n_groups, k))
    np.add.at(pull, index, design * (truth - fitted)[:, None])
    size = np.zeros((n_groups, k, k))
    np.add.at(size, index, design[:, :, None] * design[:, None, :] * weight[:, None, None])
    value, vector = np.linalg.eigh(np.linalg.inv(size.sum(axis=0)))
    root = (vector * np.sqrt(np.maximum(value, 0.0))) @ vector.T
    own, axes = np.linalg.eigh(root @ size @ root)
    free = 1 / np.sqrt(np.maximum(1 - own, LEAST_FREE))
    turned = np.einsum("gij,gi->gj", axes, pull @ root) * free
    moved = np.einsum("gij,gj->gi", axes, turned) @ root
    for number in np.unique(stratum):
        # Where the groups of each class were fixed, what a class has in common is no spread.
        moved[stratum == number] -= moved[stratum == number].mean(axis=0)
    parts = moved**2
    variance, most = parts.sum(axis=0), n_groups - len(np.unique(stratum))
    noise = (parts**2).sum(axis=0) - variance**2 / n_groups
    df = np.where(noise > 0, 2 * variance**2 / np.where(noise > 0, noise, 1.0), most)
    df = np.clip(df, 2.0, max(2.0, float(most)))
    return [(float(np.sqrt(v)), float(d)) for v, d in zip(variance, df, strict=True)]


def logistic_lines(
    truth: NDArray[np.float64], x: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Intercept and slope (b, 2) of logistic models for weights (b, N); NaN without a best fit."""
    found = np.full((len(weights), 2), np.nan)
    spread = float(x.std())
    both = ((weights @ truth) > 0) & ((weights @ (1 - truth)) > 0)
    if spread <= 1e-12 or not both.any():
        return found
    # On a scaled axis one limit on the step suits every data set.
    centre, scaled = float(x.mean()), (x - x.mean()) / spread
    active = np.flatnonzero(both)
    at = np.zeros((len(active), 2))
    for _ in range(60):
        w = weights[active]
        fitted = expit(at[:, :1] + at[:, 1:] * scaled)
        pull = w * (truth - fitted)
        curve = w * fitted * (1 - fitted)
        g0, g1 = pull.sum(axis=1), pull @ scaled
        h0, h1, h2 = curve.sum(axis=1), curve @ scaled, curve @ scaled**2
        determinant = h0 * h2 - h1**2
        solvable = determinant > 1e-10 * np.maximum(h0 * h2, 1e-300)
        safe = np.where(solvable, determinant, 1.0)
        step = np.stack([(h2 * g0 - h1 * g1) / safe, (h0 * g1 - h1 * g0) / safe], axis=1)
        length = np.abs(step).max(axis=1)
        at = at + step * np.minimum(1.0, 2.0 / np.maximum(length, 1e-300))[:, None]
        done = solvable & (length < 1e-11)
        slope = at[done, 1] / spread
        found[active[done], 1] = slope
        found[active[done], 0] = at[done, 0] - slope * centre
        # A slope that runs away belongs to classes that are separated.
        keep = ~done & solvable & (np.abs(at).max(axis=1) < 60)
        active, at = active[keep], at[keep]
        if not len(active):
            break
    return found


def in_the_large(
    truth: NDArray[np.float64], x: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Intercepts (b,) with the slope fixed at 1; NaN without both classes."""
    wanted = weights @ truth
    known = (wanted > 0) & ((weights @ (1 - truth)) > 0)
    low, high = np.full(len(weights), -100.0), np.full(len(weights), 100.0)
    # The expected number of positives rises with the shift: halve, then sharpen by Newton.
    for _ in range(40):
        middle = (low + high) / 2
        above = (weights * expit(middle[:, None] + x)).sum(axis=1) > wanted
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    at = (low + high) / 2
    for _ in range(2):
        fitted = expit(at[:, None] + x)
        curve = (weights * fitted * (1 - fitted)).sum(axis=1)
        step = (wanted - (weights * fitted).sum(axis=1)) / np.maximum(curve, 1e-300)
        at = at + np.clip(step, -1e-6, 1e-6)
    return np.where(known, at, np.nan)


def fit_temperature(
    logits: ArrayLike, y: ArrayLike, *, link: str = "softmax", weight: ArrayLike | None = None
) -> float:
    """The temperature with the least log-loss; above 1 the scores were too extreme.

    Args:
        logits: (N, L) of validation cases; see ``core.statistics.scores.scores_from_logits``.
            (N,) with the link ``sigmoid`` is one binary question.
        y: (N,) class indices, or (N, K) zeros and ones for the link ``sigmoid``.
        link: see ``core.statistics.scores.link_of``.
        weight: (N,) how often a row counts.

    Returns:
        the temperature; 1.0 where the log-loss has no minimum (every case is
        right, so nothing says how sure the scores may be).

    Raises:
        MetricError: there is no case.

    >>> fit_temperature(np.array([[0.0, 2.0], [0.0, 2.0], [0.0, 2.0]]), [1, 1, 0]).__round__(3)
    2.885
    """
    z = np.asarray(logits, dtype=np.float64)
    labels = np.asarray(y)
    if z.ndim == 1:
        z, labels = z[:, None], labels[:, None]
    if not len(z):
        msg = "not estimable: no validation case is left to fit the temperature on"
        raise MetricError(msg)

    def loss(log_temperature: float) -> float:
        scores = scores_from_logits(z, link=link, temperature=float(np.exp(log_temperature)))
        return log_loss(labels, scores, weight=weight)

    # A coarse look first: the loss of the cumulative link may have a second valley.
    grid = np.linspace(*LOG_TEMPERATURE, 46)
    best = int(np.argmin([loss(at) for at in grid]))
    if best in {0, len(grid) - 1}:
        return 1.0
    ends = (float(grid[best - 1]), float(grid[best + 1]))
    found = minimize_scalar(loss, bounds=ends, method="bounded", options={"xatol": 1e-10})
    return float(np.exp(found.x))


def fit_vector_scaling(
    logits: ArrayLike, y: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A factor and a shift for each logit (K,), with the least log-loss under the softmax link.

    Args:
        logits: (N, K) of validation cases.
        y: (N,) class indices.

    Raises:
        MetricError: fewer than ``VECTOR_SCALING_ROWS`` cases, or a class without any.
    """
    z, labels = np.asarray(logits, dtype=np.float64), np.asarray(y)
    n, n_classes = z.shape
    if n < VECTOR_SCALING_ROWS:
        msg = (
            f"vector scaling needs at least {VECTOR_SCALING_ROWS:,} validation cases, and there "
            f"are {n:,}; temperature scaling needs fewer"
        )
        raise MetricError(msg)
    absent = sorted(set(range(n_classes)) - set(labels.tolist()))
    if absent:
        msg = f"vector scaling needs every class, and {len(absent)} have no case"
        raise MetricError(msg)
    truth = (labels[:, None] == np.arange(n_classes)).astype(np.float64)

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        factor, shift = parameters[:n_classes], parameters[n_classes:]
        logs = log_softmax(z * factor + shift, axis=1)
        pull = np.exp(logs) - truth
        gradient = np.concatenate([(pull * z).sum(axis=0), pull.sum(axis=0)]) / n
        return -float((logs * truth).sum()) / n, gradient

    start = np.concatenate([np.ones(n_classes), np.zeros(n_classes)])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 1000})
    factor, shift = found.x[:n_classes], found.x[n_classes:]
    # Only differences between shifts matter.
    return factor, shift - shift.mean()


def recalibrate(y: ArrayLike, score: ArrayLike) -> tuple[float, float, dict[str, Any]]:
    """Shift and slope that make scores right on local cases: sigmoid(shift + slope * logit(score)).

    A line from 100 events and 100 non-events on, else a shift (slope 1).

    Args:
        y: (N,) zeros and ones of local cases.
        score: (N,) in [0, 1].

    Returns:
        shift, slope, and what was done: ``kind``, ``n``, ``n_events``, ``words``.

    Raises:
        MetricError: a class is absent, or no finite line fits best.

    >>> shift, slope, _ = recalibrate([1, 0, 0, 0], [0.5, 0.5, 0.5, 0.5])
    >>> round(shift, 4), slope
    (-1.0986, 1.0)
    """
    truth, values = truth_and_scores(y, score)
    n, events = len(truth), int(truth.sum())
    kind = "line" if min(events, n - events) >= 100 else "shift"
    if kind == "line":
        line = calibration_line(truth, values)
        shift, slope = line.intercept, line.slope
    else:
        shift, slope = calibration_in_the_large(truth, values), 1.0
    words = f"{kind} fitted on {n:,} local cases with {events:,} events"
    return shift, slope, {"kind": kind, "n": n, "n_events": events, "words": words}
