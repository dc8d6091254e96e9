"""Report sections on the area of classes: hectares, accuracy weighted by area, severity.

A map is read as areas, so errors count by the ground they stand on. Intervals leave out
whole groups in turn, because tiles of one block err alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from apps.crop_disease.field.areas import wilson_ends
from apps.crop_disease.field.notes import area_words
from core.base.tables import decided_classes, groups_or_own, score_columns
from core.blocks import Table, Text
from core.errors import MetricError
from core.report.numbers import UNDEFINED, count, estimate, number
from core.statistics.agreement import concordance
from core.statistics.intervals import exact_on_groups, student_quantile
from core.statistics.operating_points import proportion

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from core.app import ReportContext
    from core.blocks import Block

__all__ = ["Share", "areas_and_severity", "by_area", "judged_tiles", "share_by_area"]

# Fewer groups than this give no mean grade worth comparing.
LEAST_GROUPS = 5


@dataclass(frozen=True)
class Share:
    """A share in [0, 1], NaN of nothing, with its interval; None where there is none."""

    value: float
    low: float | None
    high: float | None

    @property
    def words(self) -> str:
        """As reports write it."""
        if np.isnan(self.value):
            return UNDEFINED
        if self.low is None:
            return f"{number(self.value, percent=True)} (too few groups)"
        return estimate({"value": self.value, "low": self.low, "high": self.high, "percent": True})


def areas_and_severity(context: ReportContext) -> Sequence[Block]:
    """Areas by label and by the model, shares right by area, grades per group; none for photos."""
    rows = judged_tiles(context, "tile_m")
    if not len(rows):
        return []
    blocks = [*_areas(context, rows)]
    if context.task.kind == "ordinal":
        blocks += _severity(context, rows)
    return blocks


def judged_tiles(context: ReportContext, *columns: str) -> pd.DataFrame:
    """The scored and labelled tiles that have these columns; no rows for photos, or many labels."""
    rows = context.predictions
    if not {*columns, "label"} <= set(rows) or context.task.kind == "multilabel":
        return rows.iloc[:0]
    whole = rows[list(columns)].notna().all(axis=1)
    is_labelled = rows["label"].fillna("").astype(str) != ""
    return rows[whole & is_labelled & (rows["status"] == "ok")].reset_index(drop=True)


def by_area(
    label: NDArray[np.int_], decided: NDArray[np.int_], area: NDArray[np.float64], n_classes: int
) -> NDArray[np.float64]:
    """Areas (K, K): row the class decided, column the true class.

    Args:
        label: (N,) class indices.
        decided: (N,) class indices.
        area: (N,) of each tile.
        n_classes: K.
    """
    cells = np.bincount(decided * n_classes + label, area, n_classes**2)
    return np.asarray(cells.reshape(n_classes, n_classes))


def share_by_area(
    right: NDArray[np.bool_], area: NDArray[np.float64], group: NDArray[Any]
) -> Share:
    """A share of ground with its 95 % interval over groups, which never leaves 0 to 1.

    Wilson's interval on as many independent tiles as would give the variance between groups,
    with Student's quantile: of tiles of one size that of ``core``'s proportions, number for
    number. Where all or nothing is right, the exact limit on the number of groups.

    Args:
        right: (N,) of each tile.
        area: (N,) of it, above 0.
        group: (N,) of it.

    Sources: Rao and Scott 1992, doi:10.2307/2532311; Korn and Graubard 1998 (Survey
    Methodology 24:193-201); Kish 1965 for unequal areas.
    """
    if not len(right):
        return Share(float("nan"), None, None)
    if np.ptp(area) <= 1e-9 * area.max():
        counted = proportion(right, group)
        return Share(counted.x / counted.n, counted.low, counted.high)
    whole = float(area.sum())
    value = float(area[right].sum() / whole)
    _, member = np.unique(group, return_inverse=True)
    n_groups = int(member.max()) + 1
    if n_groups < 2:
        return Share(value, None, None)
    if right.all() or not right.any():
        found = exact_on_groups(float(right.all()), [n_groups], level=0.95, word="group")
        return Share(float(right.all()), found.low, found.high)
    off = np.bincount(member, area * (right - value))
    variance = n_groups / (n_groups - 1) * float((off**2).sum()) / whole**2
    # Groups that vary less than independent tiles would are no reason for more trust.
    variance = max(variance, value * (1 - value) * float((area**2).sum()) / whole**2)
    low, high = wilson_ends(value, variance, student_quantile(n_groups - 1))
    return Share(value, low, high)


def _areas(context: ReportContext, rows: pd.DataFrame) -> list[Block]:
    """The table of areas, and the share of the ground that is called rightly."""
    import pandas as pd  # noqa: PLC0415  (the app's description must load without it)

    classes = list(context.task.classes)
    place = {name: i for i, name in enumerate(classes)}
    called = decided_classes(rows, context.task)
    label = np.array([place[name] for name in rows["label"].astype(str)], np.int64)
    decided = np.array([place[name] for name in called], np.int64)
    hectares = (rows["tile_m"] ** 2 * rows["valid_fraction"] / 1e4).to_numpy(float)
    group = groups_or_own(rows).to_numpy(dtype=str)
    k = len(classes)
    cells = by_area(label, decided, hectares, k)
    right = decided == label

    def shown(of: NDArray[np.bool_]) -> str:
        of = of & (hectares > 0)
        return share_by_area(right[of], hectares[of], group[of]).words

    frame = pd.DataFrame(
        {
            "Class": [context.task.title(name) for name in classes],
            "Area by label": [area_words(a) for a in cells.sum(axis=0)],
            "Area by the model": [area_words(a) for a in cells.sum(axis=1)],
            "User's accuracy": [shown(decided == i) for i in range(k)],
            "Producer's accuracy": [shown(label == i) for i in range(k)],
        }
    )
    n_groups = len(set(group))
    of_tiles = f"{count(len(rows))} held-out tiles"
    return [
        Table(
            frame=frame,
            title="Areas of the judged tiles",
            note=f"{of_tiles}, {area_words(float(hectares.sum()))}, in "
            f"{count(n_groups)} groups. "
            "User's accuracy: of the ground called so, how much is. Producer's: of the ground that "
            "is so, how much was called so. Tiles at the edge count by their part inside. A "
            "prediction corrects the areas of a field by these errors (Olofsson et al. 2014, "
            "doi:10.1016/j.rse.2014.02.015).",
            numeric=tuple(frame.columns[1:]),
        ),
        Text(
            f"Of the ground of these {of_tiles}, {shown(np.ones(len(rows), bool))} is called "
            "rightly."
        ),
    ]


def _severity(context: ReportContext, rows: pd.DataFrame) -> list[Block]:
    """How well the mean grade of a group is met: what a scout or a breeder reads."""
    import pandas as pd  # noqa: PLC0415  (the app's description must load without it)

    columns = score_columns(context.task.classes)
    place = {name: i for i, name in enumerate(context.task.classes)}
    given = rows["label"].astype(str).map(place).to_numpy(float)
    found = rows[columns].to_numpy() @ np.arange(len(columns))
    group = groups_or_own(rows).to_numpy(dtype=str)
    table = pd.DataFrame({"group": group, "given": given, "found": found})
    means = table.groupby("group", sort=True).mean()
    if len(means) < LEAST_GROUPS:
        return [Text(f"Mean grades per group are not compared: there are {len(means)} groups.")]

    def numbers(weight: NDArray[np.float64]) -> NDArray[np.float64]:
        error = (means["found"] - means["given"]).to_numpy()
        try:
            agreed = concordance(
                means["found"].to_numpy(), means["given"].to_numpy(), weight=weight
            )
        except MetricError:
            agreed = float("nan")
        off = np.average(np.abs(error), weights=weight)
        # On scales without an end, so that no interval leaves what the number can be.
        with np.errstate(divide="ignore"):
            return np.array([np.arctanh(agreed), np.log(off), np.average(error, weights=weight)])

    def plain(found: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([np.tanh(found[0]), np.exp(found[1]), found[2]])

    value = plain(numbers(np.ones(len(means))))
    low, high = (plain(end) for end in _ends(numbers, means.index.to_numpy(dtype=str)))
    words = ("Lin's concordance", "Mean absolute error, in grades", "Bias, in grades")
    frame = pd.DataFrame(
        {
            "of the mean grade of a group": words,
            "value (95 % interval)": [
                _with_ends(v, a, b) for v, a, b in zip(value, low, high, strict=True)
            ],
        }
    )
    return [
        Table(
            frame=frame,
            title="Severity by group",
            note=f"Over {count(len(means))} groups: the mean grade given to their tiles against "
            "the mean grade of the scores.",
            numeric=("value (95 % interval)",),
        )
    ]


def _ends(
    numbers: Callable[[NDArray[np.float64]], NDArray[np.float64]], group: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ends of the 95 % intervals from values without each group; NaN where there are too few.

    With few groups Student's quantile is wide, as it has to be.
    """
    _, member = np.unique(group, return_inverse=True)
    n = int(member.max()) + 1
    value = numbers(np.ones(len(group)))
    if n < LEAST_GROUPS:
        return np.full(len(value), np.nan), np.full(len(value), np.nan)
    left = np.array([numbers((member != i).astype(float)) for i in range(n)])
    # Where a number has no place on its scale it has no interval: that is a NaN.
    with np.errstate(invalid="ignore"):
        square = ((left - left.mean(axis=0)) ** 2).sum(axis=0)
    reach = student_quantile(n - 1) * np.sqrt((n - 1) / n * square)
    return value - reach, value + reach


def _with_ends(value: float, low: float, high: float) -> str:
    """A number with its interval in words; without one where there is none."""
    if not np.isfinite(value):
        return UNDEFINED
    if not (np.isfinite(low) and np.isfinite(high)):
        return number(value)
    return f"{number(value)} ({number(low)} to {number(high)})"
