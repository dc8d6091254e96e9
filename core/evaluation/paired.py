"""Do two models differ on the same cases? Every number of one level, paired.

Resamples of groups are shared, so that what makes a case hard for both does not
count. Where cases are independent, areas are compared by DeLong's test and
decisions by McNemar's. The headline, named before, stands alone; the p values of
all other numbers are corrected together by Holm's method.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import MetricError
from core.statistics import metrics as named
from core.statistics.comparisons import adjust, cases_to_halve, mcnemar_of, paired_difference
from core.statistics.delong import delong_paired
from core.statistics.intervals import plural
from core.statistics.weighted import positive_part

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from core.app import Cases
    from core.evaluation.cases import Level
    from core.evaluation.metric_specs import Spec

__all__ = ["compare_levels", "hold_family", "still_possible"]

# Resamples for a metric of the app's own that has to be called once for each.
SLOW_RESAMPLES = 300


def compare_levels(
    first: Level, second: Level, specs: Sequence[Spec], *, headline: str
) -> list[dict[str, Any]]:
    """Differences of numbers, second minus first.

    Args:
        first: cases with the scores of one model.
        second: the same cases, in the same order, with those of the other.
        specs: what is compared; those without a function of cases are passed over.
        headline: name of the number that was named before; its p is not corrected.

    Returns:
        for each ``name``, ``title``, ``percent``, ``unit``, ``n``, ``n_groups``, ``first``,
        ``second``, ``difference``, ``low``, ``high``, ``p``, ``method``, ``reason``,
        ``is_headline``; and ``mcnemar`` for decisions on independent cases. ``hold_family`` adds
        ``p_holm`` and ``verdict``.
    """
    rows = [_row(first, second, spec, headline) for spec in specs if spec.compute is not None]
    rows += _rates(first, second)
    return rows


def hold_family(rows: Sequence[dict[str, Any]], *, level: float = 0.95) -> None:
    """Correct the p values of all rows but the headline, and put each into words."""
    others = [row for row in rows if not row["is_headline"]]
    adjusted = adjust([np.nan if row["p"] is None else row["p"] for row in others])
    for row, p in zip(others, adjusted, strict=True):
        row["p_holm"] = float(p) if np.isfinite(p) else None
    for row in rows:
        if row["is_headline"]:
            row["p_holm"] = row["p"]
        row["verdict"] = _verdict(row, level)


def _row(first: Level, second: Level, spec: Spec, headline: str) -> dict[str, Any]:
    """One number."""
    row = _about(first, spec.name, spec.title, percent=spec.percent)
    row["is_headline"] = spec.name == headline
    compute = spec.compute
    if compute is None:
        return row
    plan = first.plan
    if not named.is_batched(compute):
        plan = replace(plan, resamples=min(plan.resamples, SLOW_RESAMPLES))

    def of(cases: Cases) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
        return lambda weights: named.over_weights(compute, cases, weights)

    try:
        # The difference is that of the second from the first.
        found = paired_difference(of(second.cases), of(first.cases), plan, level=first.confidence)
    except MetricError as error:
        row["reason"] = str(error)
        return row
    row |= {"first": found.second, "second": found.first, "difference": found.value, "p": found.p}
    row |= {"low": found.interval.low, "high": found.interval.high}
    row |= {"method": found.interval.method, "reason": found.interval.reason}
    if spec.kind == "area" and plan.is_independent and spec.truth is not None:
        _by_delong(row, first, second, spec)
    if spec.name == "accuracy" and plan.is_independent and first.cases.y.ndim == 1:
        test = mcnemar_of(first.cases.y, first.cases.decided, second.cases.decided)
        row["mcnemar"], row["p"] = asdict(test), test.p_exact
        row["method"] = "; ".join(filter(None, [row["method"], "p: McNemar, exact"]))
    return row


def _by_delong(row: dict[str, Any], first: Level, second: Level, spec: Spec) -> None:
    """Put DeLong's paired interval and p in place of those of resamples."""
    positive = first.task.positive_index
    truth, one, _ = positive_part(first.cases, positive)
    other = positive_part(second.cases, positive)[1]
    if not spec.name.startswith("auroc") or spec.of:
        return
    test = delong_paired(truth, other, one, level=first.confidence)
    if test.p is None or not np.isfinite(test.p):
        return
    row |= {"low": test.low, "high": test.high, "p": test.p, "method": "DeLong, paired"}


def _rates(first: Level, second: Level) -> list[dict[str, Any]]:
    """Sensitivity and specificity of the decisions each model makes."""
    positive = first.task.positive_index
    if not positive or first.task.kind == "multilabel":
        return []
    truth, _, one = positive_part(first.cases, positive)
    other = positive_part(second.cases, positive)[2]
    rows = []
    for name, title, of in (("sensitivity", "Sensitivity", 1), ("specificity", "Specificity", 0)):
        among = truth == of
        row = _about(first, name, f"{title} of the decisions", percent=True)
        row["n"], row["n_groups"] = int(among.sum()), first.groups_in(among)
        hit_one, hit_other = (one == of) & among, (other == of) & among

        def share(hit: NDArray[np.bool_], among: NDArray[np.bool_] = among) -> Any:
            def of_weights(weights: NDArray[np.float64]) -> NDArray[np.float64]:
                total = weights @ among.astype(float)
                return np.asarray(
                    (weights @ hit.astype(float)) / np.where(total > 0, total, np.nan)
                )

            return of_weights

        try:
            found = paired_difference(
                share(hit_other), share(hit_one), first.plan, level=first.confidence
            )
        except MetricError as error:
            row["reason"] = str(error)
            rows.append(row)
            continue
        row |= {"first": found.second, "second": found.first, "difference": found.value}
        row |= {"p": found.p, "low": found.interval.low, "high": found.interval.high}
        row |= {"method": found.interval.method, "reason": found.interval.reason}
        if first.plan.is_independent:
            test = mcnemar_of(truth[among], one[among], other[among])
            row["mcnemar"], row["p"] = asdict(test), test.p_exact
            row["method"] = "; ".join(filter(None, [row["method"], "p: McNemar, exact"]))
        rows.append(row)
    return rows


def _about(level: Level, name: str, title: str, *, percent: bool) -> dict[str, Any]:
    """A row without its numbers."""
    return {
        "name": name,
        "title": title,
        "percent": percent,
        "unit": level.unit,
        "n": level.n,
        "n_groups": level.plan.n_groups,
        "level": level.confidence,
        "first": None,
        "second": None,
        "difference": None,
        "low": None,
        "high": None,
        "p": None,
        "method": "",
        "reason": "",
        "is_headline": False,
    }


def _verdict(row: Mapping[str, Any], level: float) -> str:
    """A difference in words: shown or not."""
    if row["difference"] is None:
        return str(row["reason"] or "not compared")
    p = row["p_holm"]
    if p is None:
        return str(row["reason"] or "no interval, so no statement")
    if row["low"] == row["high"] == 0:
        return "no difference is shown: both give the same here"
    if p < 1 - level:
        return f"{'higher' if row['difference'] > 0 else 'lower'} for the second (p = {p:.2g})"
    return f"no difference is shown (p = {p:.2g})"


def still_possible(row: Mapping[str, Any], word: str) -> str:
    """What the interval of a difference leaves possible, and how many cases would halve it."""
    if row["low"] is None or row["high"] is None:
        return ""
    ends = [
        f"{100 * end:+.1f} points" if row["percent"] else f"{end:+.3f}"
        for end in (row["low"], row["high"])
    ]
    grouped = ""
    if row["n"] != row["n_groups"]:
        grouped = f" of {cases_to_halve(row['n_groups']):,} {plural(word)}"
    return (
        f"Differences from {ends[0]} to {ends[1]} remain possible; "
        f"{cases_to_halve(row['n']):,} more {plural(row['unit'])}{grouped} would halve that."
    )
