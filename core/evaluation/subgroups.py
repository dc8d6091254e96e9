"""Subgroup analysis: metrics by subgroup, each with a test against the rest.

A number of a subgroup has the interval that the same number of everybody has. A group may lie
in several subgroups (a patient with views of both kinds); its difference is then made within
the group. Holm's correction covers the differences of one column in one number. A subgroup
with too few cases is said to be so.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from core.evaluation import curves
from core.evaluation.calibration_of_level import calibration_of
from core.evaluation.cases import Level, part_of
from core.evaluation.differences import hold_family, of_parts, value_of, verdict_of
from core.evaluation.metric_specs import MetricSpec, part_of_spec
from core.evaluation.unit_intervals import FEW_EVENTS, interval_of
from core.evaluation.unit_metrics import metric_row, too_few
from core.statistics import weighted as batches
from core.statistics.intervals import Interval, plural
from core.statistics.metric_kinds import Basis, Share
from core.statistics.metrics import sensitivity_of_positive, specificity_of_positive
from core.statistics.resampling import MIN_GROUPS, few_groups

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from core.app import Cases

__all__ = ["DIFFERS", "subgroup_calibration", "subgroup_gaps", "subgroup_rows", "values_in_words"]

# A column with more values than this is cut into thirds (numbers) or has its
# smallest values put together (words).
MANY = 12
# Of which cases a rate is a share.
_AMONG = {"true_positive_rate": "positive ", "false_positive_rate": "negative "}
# What stands for a case without a value, and how one begins whose images have several.
NOT_GIVEN, DIFFERS = "not given", "differs within the "


def values_in_words(values: NDArray[np.str_]) -> NDArray[np.str_]:
    """The subgroup of each case: the value itself, or a third of many numbers.

    >>> sorted(set(values_in_words(np.array([str(i) for i in range(30)])).tolist()))
    ['10 to 19', '20 or more', 'under 10']
    """
    is_outside = (values == "") | np.char.startswith(values, DIFFERS)
    distinct = np.unique(values[~is_outside])
    words = np.where(values == "", NOT_GIVEN, values).astype(object)
    if len(distinct) <= MANY:
        return words.astype(str)
    try:
        numbers = np.array(
            [np.nan if o else float(v) for v, o in zip(values, is_outside, strict=True)]
        )
    except ValueError:
        names, counts = np.unique(values, return_counts=True)
        kept = set(names[np.argsort(-counts, kind="stable")][: MANY - 1])
        return np.array(
            [
                w if v in kept or o else "other"
                for v, w, o in zip(values, words, is_outside, strict=True)
            ]
        )
    low, high = np.nanquantile(numbers, [1 / 3, 2 / 3], method="higher")
    whole = np.nanmax(np.abs(numbers - np.round(numbers))) == 0
    top_of_middle = f"{high - 1:g}" if whole else f"below {high:g}"
    words[numbers < low] = f"under {low:g}"
    words[(numbers >= low) & (numbers < high)] = f"{low:g} to {top_of_middle}"
    words[numbers >= high] = f"{high:g} or more"
    return words.astype(str)


def subgroup_rows(
    level: Level,
    specs: Sequence[MetricSpec],
    columns: Mapping[str, NDArray[np.str_]],
    *,
    split: str,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Numbers by subgroup.

    Args:
        level: the cases.
        specs: what is computed; the first one is compared with the rest.
        columns: column -> (N,) value of each case, as text.
        split: for the rows.

    Returns:
        rows of ``core.base.tables.METRICS`` with ``subgroup`` filled, and one row for each
        comparison of the first number with everybody else: ``column``, ``subgroup``, ``name``,
        ``unit``, ``n``, ``n_rest``, ``n_groups``, ``here``, ``rest``, ``difference``, ``low``,
        ``high``, ``p``, ``p_holm``, ``family``, ``verdict``.
    """
    rows: list[dict[str, Any]] = []
    for column, value, inside in _parts(columns):
        part = part_of(level, inside)
        rows += [_row(part, part_of_spec(s, inside), column, value, split) for s in specs]
    compared = _compared(level, specs[0], columns) if specs else []
    return rows, compared


def subgroup_gaps(
    level: Level,
    columns: Mapping[str, NDArray[np.str_]],
    called: NDArray[np.bool_] | None = None,
) -> list[dict[str, Any]]:
    """Gaps between subgroups in the shares of positive and of negative cases called positive.

    Args:
        level: the cases.
        columns: column -> (N,) value of each case, as text.
        called: which cases (N,) are called positive, at the threshold in use where there is
            one; None takes those of which a positive class is predicted.

    Returns:
        rows as ``subgroup_rows`` has them, for the true and the false positive rate; empty for
        a task without positive classes.
    """
    index = level.task.positive_index
    if called is not None and index and level.task.kind != "multilabel":
        others = [i for i in range(len(level.task.classes)) if i not in index]
        decided = np.where(called, index[0], others[0] if others else index[0])
        level = replace(level, cases=replace(level.cases, decided=decided))
    return [row for spec in _rates(level) for row in _compared(level, spec, columns)]


def subgroup_calibration(
    level: Level, columns: Mapping[str, NDArray[np.str_]]
) -> list[dict[str, Any]]:
    """Calibration slope, calibration in the large and bins of each subgroup.

    Args:
        level: the cases.
        columns: column -> (N,) value of each case, as text.

    Returns:
        for each ``column``, ``subgroup``, ``n``, ``n_events``, ``slope``, ``in_the_large`` (as
        ``calibration_of`` has them) and ``bins``; ``reason`` alone where a subgroup has too few
        cases of a class. Empty for a task without positive classes.
    """
    if not level.task.positive_index or level.task.kind == "multilabel":
        return []
    found = []
    for column, value, inside in _parts(columns):
        part = part_of(level, inside)
        truth = batches.positive_part(part.cases, level.task.positive_index)[0]
        events = int(truth.sum())
        row: dict[str, Any] = {"column": column, "subgroup": value, "n": part.n}
        row |= {"n_events": events, "reason": too_few(events, part.n - events)}
        if not row["reason"]:
            row |= calibration_of(part) or {}
            if part.plan.n_groups >= MIN_GROUPS:
                row["bins"] = curves.reliability_of(part)
        found.append(row)
    return found


def _parts(
    columns: Mapping[str, NDArray[np.str_]],
) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    """Column, value and the cases (N,) of each subgroup."""
    for column, raw in columns.items():
        words = values_in_words(raw)
        distinct = sorted(set(words.tolist()), key=_order)
        if len(distinct) >= 2:
            yield from ((column, value, words == value) for value in distinct)


def _compared(
    level: Level, spec: MetricSpec, columns: Mapping[str, NDArray[np.str_]]
) -> list[dict[str, Any]]:
    """One number of each subgroup against that of the rest: one family."""
    found: list[dict[str, Any]] = []
    for column, value, inside in _parts(columns):
        part, rest = part_of(level, inside), part_of(level, ~inside)
        one = part_of_spec(spec, inside), part_of_spec(spec, ~inside)
        difference = of_parts(level, inside, (part, rest), one)
        sizes = [
            side.n if of.among is None else int(of.among.sum())
            for side, of in zip((part, rest), one, strict=True)
        ]
        row = _about(part, spec, column, value, sizes[0]) | difference.as_row()
        for key, number in (("here", difference.second), ("rest", difference.first)):
            row[key] = float(number) if np.isfinite(number) else None
        row["n_rest"] = sizes[1]
        _caution(row, sizes, _AMONG.get(spec.name, ""))
        found.append(row)
    hold_family(found, f"{spec.title} of each subgroup against the rest")
    for row in found:
        words = verdict_of(
            row,
            level.confidence,
            than="than the rest",
            none="no difference to the rest is shown",
            with_p=False,
        )
        row["verdict"] = row["reason"] if row["reason"].startswith("too few") else words
    return found


def _rates(level: Level) -> list[MetricSpec]:
    """The shares of positive and of negative cases called positive."""
    if not level.task.positive_index or level.task.kind == "multilabel":
        return []
    found = []
    truth, _, decided = batches.positive_part(level.cases, level.task.positive_index)
    for name, title, of, compute in (
        ("true_positive_rate", "True positive rate", 1, sensitivity_of_positive),
        ("false_positive_rate", "False positive rate", 0, false_positive_rate),
    ):
        basis = Basis("proportion", (Share(decided == 1, truth == of),))
        found.append(
            MetricSpec(name=name, title=title, key=name, percent=True, basis=basis, compute=compute)
        )
    return found


def _order(word: str) -> tuple[int, float, str]:
    """Numbers by value, thirds from low to high, then words."""
    if word.startswith("under "):
        return (0, -1e300, word)
    try:
        return (0, float(word.split(" ", maxsplit=1)[0]), word)
    except ValueError:
        return (2 if word in {NOT_GIVEN, "other"} or word.startswith(DIFFERS) else 1, 0.0, word)


def false_positive_rate(cases: Cases) -> float:
    """The share of negative cases decided for a positive class."""
    return 1 - specificity_of_positive(cases)


def _row(part: Level, spec: MetricSpec, column: str, value: str, split: str) -> dict[str, Any]:
    """One row of METRICS."""
    number = value_of(part, spec)
    if np.isfinite(number) and part.plan.n_groups < MIN_GROUPS:
        interval = few_groups(part.plan, part.confidence)
    elif np.isfinite(number):
        interval = interval_of(part, spec, number)
    else:
        reason = "not estimable: the cases of this subgroup do not allow it"
        interval = Interval(low=None, high=None, level=part.confidence, reason=reason)
    plain = replace(spec, events=None)
    row = metric_row(part, plain, number, interval, split=split, subgroup=f"{column}={value}")
    caution = f"too few to judge: {part.n} {plural('case', part.n)}" if part.n < FEW_EVENTS else ""
    if spec.basis is not None and spec.basis.truth is not None:
        events = int(spec.basis.truth.sum())
        row["n_events"] = events
        caution = too_few(events, part.n - events) or caution
    row["reason"] = "; ".join(filter(None, [row["reason"], caution]))
    return row


def _about(part: Level, spec: MetricSpec, column: str, value: str, n: int) -> dict[str, Any]:
    """What a comparison is about."""
    return {
        "column": column,
        "subgroup": value,
        "name": spec.name,
        "title": spec.title,
        "percent": spec.percent,
        "unit": part.unit,
        "n": n,
        "n_groups": part.plan.n_groups,
    }


def _caution(one: dict[str, Any], sizes: Sequence[int], kind: str) -> None:
    """Too few cases on either side (here, rest) allow no statement."""
    least = min(sizes)
    # Of no case at all, how many groups the others make says nothing.
    if least == 0 or (least < FEW_EVENTS and one["difference"] is not None):
        where = "" if sizes[0] == least else " in the rest"
        one["reason"] = f"too few to judge: {least} {kind}{plural('case', least)}{where}"
        one["p"] = None
