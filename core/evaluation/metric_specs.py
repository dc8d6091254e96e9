"""Which numbers a level has: what each is called, and what its interval rests on.

The app's metrics come first; built-in numbers of the same name give way to them. What
kind of number each is, ``core.statistics.metric_kinds`` knows, or the app declares.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from core.errors import MetricError
from core.statistics import metrics as named
from core.statistics.metric_kinds import Basis, Share, basis_of, basis_of_metric, events_of
from core.statistics.weighted import positive_part

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from core.app import Cases, Metric
    from core.evaluation.cases import Level

__all__ = ["MetricSpec", "part_of_spec", "same_of", "specs_of"]

NO_BASIS = Basis("smooth")


# Behind the title of a number whose threshold is sought on the judged cases.
FOUND_HERE = ", threshold found here"


@dataclass(frozen=True, kw_only=True)
class MetricSpec:
    """A number: its words, and what its interval rests on.

    Attributes:
        name, title, of, percent: as in ``core.base.tables.METRICS``.
        key: which of the computed values it is.
        basis: what its interval rests on; of a count, None.
        is_f1: an F1, which follows from the share of cases that are of the class and decided
            for it among those that are either.
        parts: (N,) cases behind each of the shares it averages, for a perfect result.
        events: (N,) cases of the class it speaks of, or None.
        why: the reason where it is undefined.
        seeks: whether its threshold is sought on the cases themselves.
        compute: the function of cases behind it, or None.
        metric: the app's metric that it is, or None.
    """

    name: str
    title: str
    key: str
    of: str = ""
    percent: bool = False
    basis: Basis | None = NO_BASIS
    is_f1: bool = False
    parts: tuple[NDArray[np.bool_], ...] = ()
    events: NDArray[np.bool_] | None = None
    why: str = "no case is left"
    seeks: bool = False
    compute: Callable[[Cases], float] | None = field(default=None, compare=False)
    metric: Metric | None = field(default=None, compare=False)

    @property
    def kind(self) -> str:
        """The kind of its basis; ``count`` without one."""
        return "count" if self.basis is None else self.basis.kind

    @property
    def among(self) -> NDArray[np.bool_] | None:
        """(N,) the cases a proportion is counted on."""
        if self.basis is not None and self.basis.kind == "proportion":
            return self.basis.shares[0].among
        return None


ACCURACY = MetricSpec(name="accuracy", title="Accuracy", key="accuracy", percent=True)
# Means over the classes that occur.
OVER_CLASSES = (
    MetricSpec(
        name="balanced_accuracy",
        title="Balanced accuracy",
        key="balanced_accuracy",
        percent=True,
    ),
    MetricSpec(
        name="macro_f1",
        title="Macro-F1",
        key="macro_f1",
        why="no label occurs and none was decided",
    ),
)
RANKING_OVER_CLASSES = (
    MetricSpec(
        name="macro_auroc",
        title="Macro AUROC, one versus rest",
        key="macro_auroc",
        why="a class has no case, or every case",
    ),
    MetricSpec(
        name="macro_average_precision",
        title="Macro average precision",
        key="macro_average_precision",
        why="a class has no case",
    ),
)
_ALONE = "all cases and decisions are of one class"
ORDINAL = (
    MetricSpec(
        name="quadratic_kappa",
        title="Quadratic weighted kappa",
        key="quadratic_kappa",
        why=_ALONE,
    ),
    MetricSpec(name="linear_kappa", title="Linear weighted kappa", key="linear_kappa", why=_ALONE),
    MetricSpec(
        name="mean_absolute_error",
        title="Mean absolute error (grades)",
        key="mean_absolute_error",
    ),
    MetricSpec(name="off_by_two", title="Two grades off or more", key="off_by_two", percent=True),
)
PROBABILITIES = (
    MetricSpec(name="log_loss", title="Log-loss", key="log_loss"),
    MetricSpec(name="brier", title="Brier score", key="brier"),
    MetricSpec(
        name="brier_skill",
        title="Brier skill score",
        key="brier_skill",
        why="all cases are of one class, so there is no score to compare with",
    ),
    MetricSpec(
        name="expected_calibration_error",
        title="Expected calibration error (10 equal bins)",
        key="expected_calibration_error",
    ),
    MetricSpec(
        name="adaptive_calibration_error",
        title="Adaptive calibration error (10 bins of equal mass)",
        key="adaptive_calibration_error",
    ),
)


def part_of_spec(spec: MetricSpec, inside: NDArray[np.bool_]) -> MetricSpec:
    """The same number of some of the cases (N,)."""
    basis = spec.basis
    if basis is not None:
        basis = replace(
            basis,
            shares=tuple(Share(s.success[inside], s.among[inside]) for s in basis.shares),
            truth=None if basis.truth is None else basis.truth[inside],
            score=None if basis.score is None else basis.score[inside],
        )
    return replace(
        spec,
        basis=basis,
        parts=tuple(part[inside] for part in spec.parts),
        events=None if spec.events is None else spec.events[inside],
    )


def specs_of(level: Level, metrics: Sequence[Metric]) -> list[MetricSpec]:
    """The numbers of a level: the app's first, then the built-in ones that are not among them."""
    builtin = _builtin(level)
    by_function = {
        getattr(spec.compute, "func", spec.compute): spec for spec in builtin if not spec.of
    }
    found = []
    taken = {metric.name for metric in metrics}
    for metric in metrics:
        function = getattr(metric.compute, "func", metric.compute)
        like = by_function.get(function)
        if like is None or getattr(metric.compute, "keywords", None):
            like = MetricSpec(name="", title="", key="")
        taken.add(like.name)
        # "AUROC" says of which classes where the built-in number does.
        title = like.title if like.title.startswith(f"{metric.title} of ") else metric.title
        found.append(
            replace(
                like,
                name=metric.name,
                # Wherever it stands: in a table, a model card, beside another run.
                title=title + (FOUND_HERE if metric.seeks else ""),
                percent=metric.percent,
                key=f"app:{metric.name}",
                basis=basis_of_metric(metric, level.cases),
                events=events_of(metric.compute, level.cases),
                seeks=metric.seeks,
                compute=metric.compute,
                metric=metric,
            )
        )
    return found + [spec for spec in builtin if spec.of or spec.name not in taken]


def same_of(spec: MetricSpec, level: Level) -> MetricSpec:
    """The same number as another level has it.

    Raises:
        MetricError: the other level has no such number.
    """
    for one in specs_of(level, [] if spec.metric is None else [spec.metric]):
        if (one.name, one.of) == (spec.name, spec.of):
            return one
    msg = f"not estimable: {spec.title} is no number of these cases"
    raise MetricError(msg)


def _builtin(level: Level) -> list[MetricSpec]:
    """The numbers every task has."""
    task, positive = level.task, level.task.positive_index
    held = [level.holds(i) for i in range(len(task.classes))]
    groups_held = tuple(rows for rows in held if rows.any())
    several = task.kind == "multilabel"
    specs = [
        replace(ACCURACY, title="All labels right" if several else ACCURACY.title),
        *(replace(spec, parts=groups_held) for spec in OVER_CLASSES),
    ]
    if task.kind == "ordinal":
        specs += ORDINAL
    if len(task.classes) > 2 or several:
        specs += [replace(spec, parts=groups_held) for spec in RANKING_OVER_CLASSES]
    if positive and not several:
        specs += _positive(level, positive)
    specs += PROBABILITIES
    specs = [_computed(spec, positive, level.cases) for spec in specs]
    for i, name in enumerate(task.classes):
        specs += _class_specs(level, i, name, held[i])
    return specs


def _computed(spec: MetricSpec, positive: tuple[int, ...], cases: Cases) -> MetricSpec:
    """A built-in number with the function of cases behind it, and what that rests on."""
    function: Callable[[Cases], float]
    if spec.key == "auroc_positive":
        function = partial(named.auroc_of_positive, positive=positive)
    elif spec.key == "average_precision_positive":
        function = partial(named.average_precision_of_positive, positive=positive)
    else:
        function = getattr(named, spec.key)
    return replace(spec, compute=function, basis=basis_of(function, cases) or NO_BASIS)


def _positive(level: Level, positive: tuple[int, ...]) -> list[MetricSpec]:
    """Ranking of the positive classes taken together."""
    task = level.task
    truth = positive_part(level.cases, positive)[0] == 1
    plain = task.kind == "binary"
    words = ", ".join(task.title(task.classes[i]) for i in positive)
    joint = task.positive_title or (words if len(positive) == 1 else f"{words} together")
    of = f" of {words if plain else joint}"
    return [
        MetricSpec(
            name="auroc" if plain else "auroc_positive",
            title=f"AUROC{of}",
            key="auroc_positive",
            events=truth,
            why="positive and negative cases are both needed",
        ),
        MetricSpec(
            name="average_precision" if plain else "average_precision_positive",
            title=f"Average precision{of}",
            key="average_precision_positive",
            parts=(truth,),
            events=truth,
            why="no case is positive",
        ),
    ]


def _class_specs(level: Level, i: int, name: str, held: NDArray[np.bool_]) -> list[MetricSpec]:
    """Precision, recall, F1, support and ranking of one class."""
    decided = level.decided_for(i)
    none = "no case is of this class"
    common: dict[str, Any] = {"of": name, "events": held}
    specs = [
        *(
            MetricSpec(
                name=share,
                title=share.title(),
                key=f"{share}:{i}",
                percent=True,
                basis=Basis("proportion", (Share(*of),)),
                why=why,
                **common,
            )
            for share, of, why in (
                ("precision", (held, decided), "no case was decided for this class"),
                ("recall", (decided, held), none),
            )
        ),
        MetricSpec(
            name="f1",
            title="F1",
            key=f"f1:{i}",
            basis=Basis("proportion", (Share(held & decided, held | decided),)),
            is_f1=True,
            why="no case is of this class and none was decided for it",
            **common,
        ),
        MetricSpec(name="support", title="Cases", key=f"support:{i}", basis=None, **common),
    ]
    if level.task.kind != "binary":
        score = level.cases.scores[:, i]
        specs += [
            MetricSpec(
                name="auroc",
                title="AUROC, against the rest",
                key=f"auroc:{i}",
                basis=Basis("area", truth=held, score=score),
                why=none if not held.any() else "every case is of this class",
                **common,
            ),
            MetricSpec(
                name="average_precision",
                title="Average precision",
                key=f"average_precision:{i}",
                basis=Basis("smooth", scale="share"),
                parts=(held,) if held.any() else (),
                why=none,
                **common,
            ),
        ]
    return specs
