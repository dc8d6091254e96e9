"""All numbers of one level (images, or one kind of unit), each with its interval.

A ``Spec`` says what a number is called and what its interval rests on; the values
of all resamples are computed together, block by block. Proportions of
independent cases get Wilson's interval and areas DeLong's; where cases come in
groups, everything is bootstrapped by group.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import MetricError
from core.evaluation import metrics as named
from core.evaluation.agreement import confusion_matrices, from_confusion
from core.evaluation.delong import delong, newcombe_auroc
from core.evaluation.discrimination import Ranking, indicator
from core.evaluation.intervals import Interval, wilson
from core.evaluation.resampling import Resampling, bootstrap_interval, resample_groups

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from core.app import Cases, Metric, Task

__all__ = [
    "FEW_EVENTS",
    "Level",
    "Spec",
    "metric_row",
    "rows_of",
    "specs_of",
    "too_few",
]

# Below this many cases of a class its numbers are too few to judge.
FEW_EVENTS = 10
# Below this many groups of a class a bootstrapped area is too narrow (86 % coverage with 10
# groups, 91 % with 20 in the manner of tests/test_coverage.py).
FEW_GROUPS_OF_CLASS = 20


@dataclass(frozen=True)
class Level:
    """The cases of one level.

    Attributes:
        unit: ``image`` or the name of a unit.
        cases: scored and labelled, weights all one.
        groups: (N,) the group of each case, as text, unique where it has none.
        plan: how groups are drawn.
        task: with its class order.
        confidence: level of the intervals.
    """

    unit: str
    cases: Cases
    groups: NDArray[np.str_]
    plan: Resampling
    task: Task
    confidence: float

    @classmethod
    def of(
        cls,
        unit: str,
        cases: Cases,
        groups: NDArray[np.str_],
        *,
        task: Task,
        confidence: float,
        resamples: int,
        seed: int,
        word: str,
    ) -> Level:
        """A level with its plan: groups drawn within strata of their rarest class."""
        outcome = cases.y
        if outcome.ndim == 2:
            # Label sets are too many for strata; the rarest label of each row stands for it.
            support = outcome.sum(axis=0)
            rare = np.argsort(np.argsort(support, kind="stable"), kind="stable")
            held = np.where(outcome > 0, rare[None, :], outcome.shape[1])
            outcome = held.min(axis=1)
        plan = resample_groups(groups, outcome=outcome, resamples=resamples, seed=seed, word=word)
        return cls(unit, cases, groups, plan, task, confidence)

    @property
    def n(self) -> int:
        """Number of cases."""
        return len(self.groups)

    def groups_in(self, rows: NDArray[np.bool_]) -> int:
        """Groups that hold any of these cases."""
        return len(np.unique(self.plan.index[rows]))

    def holds(self, index: int) -> NDArray[np.bool_]:
        """(N,) whether a case is of a class."""
        y = self.cases.y
        return np.asarray(y[:, index] == 1 if y.ndim == 2 else y == index)

    def decided_for(self, index: int) -> NDArray[np.bool_]:
        """(N,) whether a case was decided for a class."""
        d = self.cases.decided
        return np.asarray(d[:, index] == 1 if d.ndim == 2 else d == index)


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A number: its words, and what its interval rests on.

    Attributes:
        name, title, of, percent: as in ``core.tables.METRICS``.
        key: which of the computed values it is.
        kind: ``proportion``, ``area``, ``binned`` or ``other``.
        success, among: (N,) of a proportion.
        truth, score: (N,) of an area.
        parts: groups behind each of the proportions it averages, for a perfect result.
        events: cases of the class it speaks of, or None.
        why: the reason where it is undefined.
    """

    name: str
    title: str
    key: str
    of: str = ""
    percent: bool = False
    kind: str = "other"
    success: NDArray[np.bool_] | None = None
    among: NDArray[np.bool_] | None = None
    truth: NDArray[np.bool_] | None = None
    score: NDArray[np.float64] | None = None
    parts: tuple[int, ...] = ()
    events: int | None = None
    why: str = "no case is left"
    compute: Callable[[Cases], float] | None = field(default=None, compare=False)

    @property
    def is_share(self) -> bool:
        """Whether 0 and 1 are its ends, so that a perfect result has an exact limit."""
        return self.kind in {"proportion", "area"} or bool(self.parts)


def specs_of(level: Level, metrics: Sequence[Metric]) -> list[Spec]:
    """The numbers of a level: the app's first, then the built-in ones it does not name itself."""
    builtin = _builtin(level)
    by_key = {spec.key: spec for spec in builtin if not spec.of}
    found = []
    for metric in metrics:
        function = getattr(metric.compute, "__name__", "")
        like = by_key.get(function)
        same = like is not None and getattr(named, function, None) is metric.compute
        base = like if same and like is not None else Spec(name="", title="", key="")
        found.append(
            replace(
                base,
                name=metric.name,
                title=metric.title,
                percent=metric.percent,
                key=f"app:{metric.name}",
                compute=metric.compute,
            )
        )
    taken = {metric.name for metric in metrics}
    return found + [spec for spec in builtin if spec.of or spec.name not in taken]


def _builtin(level: Level) -> list[Spec]:
    """The numbers every task has."""
    task, cases = level.task, level.cases
    everybody = np.ones(level.n, dtype=bool)
    right = cases.y == cases.decided
    right = right.all(axis=1) if right.ndim == 2 else right
    k = len(task.classes)
    held = [level.holds(i) for i in range(k)]
    groups_held = tuple(level.groups_in(rows) for rows in held if rows.any())
    proportion = {"kind": "proportion", "percent": True}
    ranked = "a class has no case, or every case"
    specs = [
        Spec(
            name="accuracy",
            title="Accuracy" if task.kind != "multilabel" else "All labels right",
            key="accuracy",
            success=right,
            among=everybody,
            **proportion,  # type: ignore[arg-type]
        ),
        Spec(
            name="balanced_accuracy",
            title="Balanced accuracy",
            key="balanced_accuracy",
            percent=True,
            parts=groups_held,
        ),
        Spec(
            name="macro_f1",
            title="Macro-F1",
            key="macro_f1",
            parts=groups_held,
            why="no label occurs and none was decided",
        ),
    ]
    if task.kind == "ordinal":
        alone = "all cases and decisions are of one class"
        specs += [
            Spec(
                name="quadratic_kappa",
                title="Quadratic weighted kappa",
                key="quadratic_kappa",
                why=alone,
            ),
            Spec(name="linear_kappa", title="Linear weighted kappa", key="linear_kappa", why=alone),
            Spec(
                name="mean_absolute_error",
                title="Mean absolute error (grades)",
                key="mean_absolute_error",
            ),
            Spec(
                name="off_by_two",
                title="Two grades off or more",
                key="off_by_two",
                success=np.abs(cases.y - cases.decided) >= 2,
                among=everybody,
                **proportion,  # type: ignore[arg-type]
            ),
        ]
    if k > 2 or task.kind == "multilabel":
        specs += [
            Spec(
                name="macro_auroc",
                title="Macro AUROC, one versus rest",
                key="macro_auroc",
                parts=groups_held,
                why=ranked,
            ),
            Spec(
                name="macro_average_precision",
                title="Macro average precision",
                key="macro_average_precision",
                parts=groups_held,
                why="a class has no case",
            ),
        ]
    positive = task.positive_index
    if positive and task.kind != "multilabel":
        specs += _positive(level, positive)
    specs += [
        Spec(name="log_loss", title="Log-loss", key="log_loss"),
        Spec(name="brier", title="Brier score", key="brier"),
        Spec(
            name="expected_calibration_error",
            title="Expected calibration error (10 equal bins)",
            key="expected_calibration_error",
            kind="binned",
        ),
    ]
    specs = [replace(spec, compute=_function_of(spec, positive)) for spec in specs]
    for i, name in enumerate(task.classes):
        specs += _class_specs(level, i, name, held[i])
    return specs


def _function_of(spec: Spec, positive: tuple[int, ...]) -> Callable[[Cases], float]:
    """The function of cases behind a built-in number."""
    if spec.key == "auroc_positive":
        return partial(named.auroc_of_positive, positive=positive)
    if spec.key == "average_precision_positive":
        return partial(named.average_precision_of_positive, positive=positive)
    function: Callable[[Cases], float] = getattr(named, spec.key)
    return function


def _positive(level: Level, positive: tuple[int, ...]) -> list[Spec]:
    """Ranking of the positive classes taken together."""
    task = level.task
    truth, score, _ = named.positive_part(level.cases, positive)
    words = ", ".join(task.title(task.classes[i]) for i in positive)
    plain = task.kind == "binary"
    of = f" of {words}" if plain else f" of {words} together"
    events = int(truth.sum())
    parts = (level.groups_in(truth == 1),)
    return [
        Spec(
            name="auroc" if plain else "auroc_positive",
            title=f"AUROC{of}",
            key="auroc_positive",
            kind="area",
            truth=truth == 1,
            score=score,
            events=events,
            why="positive and negative cases are both needed",
        ),
        Spec(
            name="average_precision" if plain else "average_precision_positive",
            title=f"Average precision{of}",
            key="average_precision_positive",
            parts=parts,
            events=events,
            why="no case is positive",
        ),
    ]


def _class_specs(level: Level, i: int, name: str, held: NDArray[np.bool_]) -> list[Spec]:
    """Precision, recall, F1, support and ranking of one class."""
    decided = level.decided_for(i)
    events = int(held.sum())
    none = "no case is of this class"
    common: dict[str, Any] = {"of": name, "events": events}
    specs = [
        Spec(
            name="precision",
            title="Precision",
            key=f"precision:{i}",
            kind="proportion",
            percent=True,
            success=held,
            among=decided,
            why="no case was decided for this class",
            **common,
        ),
        Spec(
            name="recall",
            title="Recall",
            key=f"recall:{i}",
            kind="proportion",
            percent=True,
            success=decided,
            among=held,
            why=none,
            **common,
        ),
        Spec(
            name="f1",
            title="F1",
            key=f"f1:{i}",
            parts=(level.groups_in(held | decided),),
            why="no case is of this class and none was decided for it",
            **common,
        ),
        Spec(name="support", title="Cases", key=f"support:{i}", kind="count", **common),
    ]
    if level.task.kind != "binary":
        score = level.cases.scores[:, i]
        specs += [
            Spec(
                name="auroc",
                title="AUROC, against the rest",
                key=f"auroc:{i}",
                kind="area",
                truth=held,
                score=score,
                why=none if not events else "every case is of this class",
                **common,
            ),
            Spec(
                name="average_precision",
                title="Average precision",
                key=f"average_precision:{i}",
                parts=(level.groups_in(held),) if events else (),
                why=none,
                **common,
            ),
        ]
    return specs


def values_of(
    level: Level, specs: Sequence[Spec], weights: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Values (b,) of every key for weights (b, N)."""
    cases, k = level.cases, len(level.task.classes)
    found: dict[str, NDArray[np.float64]] = {}
    found.update(_of_decisions(cases, k, weights))
    truth = indicator(cases.y, k)
    if level.task.kind != "binary":
        areas, precisions = [], []
        for i in range(k):
            area, precision = Ranking(truth[:, i], cases.scores[:, i]).both(weights)
            found[f"auroc:{i}"], found[f"average_precision:{i}"] = area, precision
            areas.append(area)
            precisions.append(precision)
        found["macro_auroc"] = np.mean(areas, axis=0)
        found["macro_average_precision"] = np.mean(precisions, axis=0)
    positive = level.task.positive_index
    if positive and level.task.kind != "multilabel":
        of, score, _ = named.positive_part(cases, positive)
        area, precision = Ranking(of, score).both(weights)
        found["auroc_positive"], found["average_precision_positive"] = area, precision
    for name in ("log_loss", "brier", "expected_calibration_error"):
        found[name] = named.over_weights(getattr(named, name), cases, weights)
    for spec in specs:
        if spec.compute is not None and spec.key not in found:
            function = getattr(spec.compute, "__name__", "")
            same = function in found and getattr(named, function, None) is spec.compute
            found[spec.key] = (
                found[function] if same else named.over_weights(spec.compute, cases, weights)
            )
    return found


def _of_decisions(
    cases: Cases, k: int, weights: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """What follows from decisions: confusion matrices, or counts of each label."""
    found: dict[str, NDArray[np.float64]] = {}
    if cases.y.ndim == 1:
        numbers = from_confusion(confusion_matrices(cases.y, cases.decided, k, weights))
    else:
        numbers = {
            name: named.over_weights(getattr(named, name), cases, weights)
            for name in ("accuracy", "balanced_accuracy", "macro_f1")
        }
        hits = weights @ (cases.y * cases.decided).astype(float)
        support, called = weights @ cases.y.astype(float), weights @ cases.decided.astype(float)
        numbers["precision"], numbers["recall"] = (
            named.ratio(hits, called),
            named.ratio(hits, support),
        )
        numbers["f1"], numbers["support"] = named.ratio(2 * hits, support + called), support
    for name, array in numbers.items():
        if array.ndim == 1:
            found[name] = array
        else:
            found.update({f"{name}:{i}": array[:, i] for i in range(k)})
    return found


def rows_of(level: Level, specs: Sequence[Spec], *, split: str) -> list[dict[str, Any]]:
    """Rows of ``core.tables.METRICS`` for these numbers."""
    point = values_of(level, specs, np.ones((1, level.n)))
    wanted = [spec.key for spec in specs if spec.kind != "count"]
    blocks: dict[str, list[NDArray[np.float64]]] = {key: [] for key in wanted}
    for weights in level.plan.weights():
        values = values_of(level, specs, weights)
        for key in wanted:
            blocks[key].append(values[key])
    rows = []
    for spec in specs:
        value = float(point[spec.key][0])
        if spec.kind == "count":
            interval = Interval(low=None, high=None, level=level.confidence)
        elif np.isfinite(value):
            interval = interval_of(level, spec, value, np.concatenate(blocks[spec.key]))
        else:
            interval = Interval(
                low=None,
                high=None,
                level=level.confidence,
                reason=_why(level, spec),
            )
        rows.append(metric_row(level, spec, value, interval, split=split))
    return rows


def _why(level: Level, spec: Spec) -> str:
    """Why a value is undefined: the metric's own words where it has any."""
    if spec.compute is not None:
        try:
            spec.compute(level.cases)
        except MetricError as error:
            return str(error)
    return f"not estimable: {spec.why}"


def interval_of(
    level: Level, spec: Spec, value: float, replicates: NDArray[np.float64]
) -> Interval:
    """The interval that fits a number and its cases."""
    plan, confidence = level.plan, level.confidence
    if spec.kind == "proportion" and spec.success is not None and spec.among is not None:
        if plan.is_independent:
            x, n = int(spec.success[spec.among].sum()), int(spec.among.sum())
            return wilson(x, n, level=confidence)
        parts = (level.groups_in(spec.among),)
        return bootstrap_interval(value, replicates, plan, level=confidence, groups_of=parts)
    if spec.kind == "area" and spec.truth is not None and spec.score is not None:
        return _area(level, spec, value, replicates)
    if spec.kind == "binned":
        return _binned(value, replicates, plan, confidence)
    return bootstrap_interval(
        value, replicates, plan, level=confidence, groups_of=spec.parts or None
    )


def _area(level: Level, spec: Spec, value: float, replicates: NDArray[np.float64]) -> Interval:
    """DeLong or bootstrap; Newcombe's where few cases or a perfect result defeat both.

    DeLong's on the logit scale, which covers 94 to 95 % where the plain one covers
    89 to 93 % (20 to 60 positive cases, area 0.9).
    """
    truth, score = spec.truth, spec.score
    if truth is None or score is None:
        msg = f"The area {spec.name} has no labels and scores."
        raise ValueError(msg)
    plan, confidence = level.plan, level.confidence
    n_1, n_0 = level.groups_in(truth), level.groups_in(~truth)
    if plan.is_independent:
        if min(n_1, n_0) < FEW_EVENTS:
            return newcombe_auroc(value, n_1, n_0, level=confidence)
        return delong(truth, score, level=confidence, scale="logit")
    if value in {0.0, 1.0} or min(n_1, n_0) < FEW_GROUPS_OF_CLASS:
        return newcombe_auroc(value, n_1, n_0, level=confidence, word=plan.word)
    return bootstrap_interval(value, replicates, plan, level=confidence)


def _binned(
    value: float, replicates: NDArray[np.float64], plan: Resampling, confidence: float
) -> Interval:
    """The basic interval: it turns the replicates around the value.

    A binned error is never negative, so noise raises it: in the data, and once
    more in each resample. Turning the replicates around takes the second rise off.
    """
    found = bootstrap_interval(value, replicates, plan, level=confidence)
    if found.low is None or found.high is None:
        return found
    low, high = max(0.0, 2 * value - found.high), max(0.0, 2 * value - found.low)
    return replace(
        found,
        low=min(low, value),
        high=max(high, value),
        method=f"bootstrap of {plan.words}, basic",
    )


def metric_row(
    level: Level, spec: Spec, value: float, interval: Interval, *, split: str, subgroup: str = ""
) -> dict[str, Any]:
    """One row of ``core.tables.METRICS``."""
    known = np.isfinite(value)
    reasons = [interval.reason] if interval.reason else []
    if known and spec.kind != "count" and spec.events is not None:
        caution = too_few(spec.events, level.n - spec.events)
        if caution:
            reasons.append(caution)
    among = spec.among
    return {
        "name": spec.name,
        "title": spec.title,
        "of": spec.of,
        "unit": level.unit,
        "split": split,
        "subgroup": subgroup,
        "value": value if known else None,
        "low": interval.low,
        "high": interval.high,
        "level": level.confidence,
        "method": interval.method,
        "n": level.n if among is None else int(among.sum()),
        "n_groups": level.plan.n_groups if among is None else level.groups_in(among),
        "n_events": spec.events,
        "reason": "; ".join(reasons),
        "percent": spec.percent,
    }


def too_few(events: int, others: int) -> str:
    """A caution in words where events or non-events are few; empty if not.

    >>> too_few(4, 200), too_few(50, 50), too_few(100, 120)
    ('too few to judge: 4 events', '', '')
    """
    fewest = min(events, others)
    if fewest >= FEW_EVENTS:
        return ""
    return f"too few to judge: {fewest} {'events' if events <= others else 'non-events'}"
