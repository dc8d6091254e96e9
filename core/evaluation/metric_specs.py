"""Which numbers a level has: what each is called, and what its interval rests on.

The app's metrics come first; built-in numbers of the same name give way to them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import MetricError
from core.statistics import metrics as named
from core.statistics.weighted import positive_part

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from core.app import Cases, Metric
    from core.evaluation.cases import Level

__all__ = ["Spec", "specs_of"]


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A number: its words, and what its interval rests on.

    Attributes:
        name, title, of, percent: as in ``core.base.tables.METRICS``.
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
    by_name = {spec.name: spec for spec in builtin if not spec.of}
    found = []
    for metric in metrics:
        function = getattr(metric.compute, "__name__", "")
        like, compute = by_key.get(function), metric.compute
        if like is None or getattr(named, function, None) is not metric.compute:
            alike = [s for name, s in by_name.items() if f"{metric.name}_".startswith(f"{name}_")]
            like = next((spec for spec in alike if _is_same(metric, spec, level.cases)), None)
            if like is not None and like.compute is not None:
                # It gives the same for all resamples at once.
                compute = like.compute
        found.append(
            replace(
                like or Spec(name="", title="", key=""),
                name=metric.name,
                title=metric.title,
                percent=metric.percent,
                key=f"app:{metric.name}",
                compute=compute,
            )
        )
    taken = {metric.name for metric in metrics}
    return found + [spec for spec in builtin if spec.of or spec.name not in taken]


def _is_same(metric: Metric, like: Spec, cases: Cases) -> bool:
    """Whether an app's number, named after a built-in one, is the built-in number.

    An app may write its own function; where it gives the same, on the cases and on some of
    them counted several times, the interval made for this kind of number fits it, too.
    """
    if like.compute is None:
        return False
    some = replace(cases, weight=(np.arange(len(cases.weight)) % 3).astype(np.float64))
    for one in (cases, some):
        try:
            if abs(metric.compute(one) - like.compute(one)) > 1e-12:
                return False
        except MetricError:
            return False
    return True


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
            name="brier_skill",
            title="Brier skill score",
            key="brier_skill",
            why="all cases are of one class, so there is no score to compare with",
        ),
        Spec(
            name="expected_calibration_error",
            title="Expected calibration error (10 equal bins)",
            key="expected_calibration_error",
            kind="binned",
        ),
        Spec(
            name="adaptive_calibration_error",
            title="Adaptive calibration error (10 bins of equal mass)",
            key="adaptive_calibration_error",
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
    truth, score, _ = positive_part(level.cases, positive)
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
