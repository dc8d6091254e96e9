"""What a report on tiles of a field says in hectares: areas, accuracy by area, severity.

A map is read as areas, so errors count by the ground they stand on. Intervals leave out
whole groups in turn, because tiles of one block err alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import stdtrit

from core.base.tables import decided_classes, score_columns
from core.blocks import Table, Text
from core.errors import MetricError
from core.report.numbers import count
from core.statistics.agreement import concordance

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from core.app import ReportContext
    from core.blocks import Block

__all__ = ["areas_and_severity", "by_area"]

# Fewer groups than this give no interval worth printing.
LEAST_GROUPS = 5


def areas_and_severity(context: ReportContext) -> Sequence[Block]:
    """Areas by label and by the model, shares right by area, grades per group; none for photos."""
    rows = context.predictions
    if "tile_m" not in rows or "label" not in rows or context.task.kind == "multilabel":
        return []
    rows = rows[(rows["status"] == "ok") & rows["tile_m"].notna()]
    rows = rows[rows["label"].fillna("").astype(str) != ""].reset_index(drop=True)
    if not len(rows):
        return []
    blocks = [*_areas(context, rows)]
    if context.task.kind == "ordinal":
        blocks += _severity(context, rows)
    return blocks


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


def _areas(context: ReportContext, rows: pd.DataFrame) -> list[Block]:
    """The table of areas, and the accuracy weighted by area."""
    import pandas as pd  # noqa: PLC0415  (the app's description must load without it)

    classes = list(context.task.classes)
    place = {name: i for i, name in enumerate(classes)}
    called = decided_classes(rows, context.task)
    label = np.array([place[name] for name in rows["label"].astype(str)], np.int64)
    decided = np.array([place[name] for name in called], np.int64)
    hectares = (rows["tile_m"] ** 2 * rows["valid_fraction"] / 1e4).to_numpy(float)
    group = _groups(rows)
    k = len(classes)

    def shares(weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """User's and producer's accuracy of each class (2K), accuracy, and mapped over true (K)."""
        cells = by_area(label, decided, hectares * weight, k)
        right, mapped, true = np.diag(cells), cells.sum(axis=1), cells.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = [right / mapped, right / true, [right.sum() / cells.sum()], mapped / true]
        return np.concatenate(ratio)

    value = shares(np.ones(len(rows)))
    low, high = _ends(shares, group)
    n_of = [len(set(group[decided == i])) for i in range(k)]
    n_of += [len(set(group[label == i])) for i in range(k)] + [len(set(group))]
    for i, n in enumerate(n_of):
        # Where no error was seen the jackknife gives no width: the exact bound for n groups.
        if n and value[i] == 1:
            low[i], high[i] = 0.025 ** (1 / n), 1.0
    cells = by_area(label, decided, hectares, k)

    def shown(i: int) -> str:
        return _interval(value[i], low[i], high[i])

    frame = pd.DataFrame(
        {
            "class": [context.task.title(name) for name in classes],
            "ha by label": [f"{a:.4f}" for a in cells.sum(axis=0)],
            "ha by the model": [f"{a:.4f}" for a in cells.sum(axis=1)],
            "user's accuracy": [shown(i) for i in range(k)],
            "producer's accuracy": [shown(k + i) for i in range(k)],
        }
    )
    n_groups = len(set(group))
    return [
        Table(
            frame=frame,
            title="Areas of the judged tiles",
            note=f"{count(len(rows))} tiles, {hectares.sum():.4f} ha, in {count(n_groups)} groups. "
            "User's accuracy: of the ground called so, how much is. Producer's: of the ground that "
            "is so, how much was called so. 95 % intervals: over groups; where no error was "
            "seen they are the exact bound for so many groups. Areas of a whole field "
            "are corrected by these errors in the summary of a prediction (Olofsson et al. 2014, "
            "doi:10.1016/j.rse.2014.02.015).",
            numeric=tuple(frame.columns[1:]),
        ),
        Text(f"Accuracy weighted by area: {shown(2 * k)}."),
    ]


def _severity(context: ReportContext, rows: pd.DataFrame) -> list[Block]:
    """How well the mean grade of a group is met: what a scout or a breeder reads."""
    import pandas as pd  # noqa: PLC0415  (the app's description must load without it)

    columns = score_columns(context.task.classes)
    place = {name: i for i, name in enumerate(context.task.classes)}
    given = rows["label"].astype(str).map(place).to_numpy(float)
    found = rows[columns].to_numpy() @ np.arange(len(columns))
    group = _groups(rows)
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
        return np.array(
            [agreed, np.average(np.abs(error), weights=weight), np.average(error, weights=weight)]
        )

    value = numbers(np.ones(len(means)))
    low, high = _ends(numbers, means.index.to_numpy(dtype=str))
    words = ("Lin's concordance", "Mean absolute error, in grades", "Bias, in grades")
    frame = pd.DataFrame(
        {
            "of the mean grade of a group": words,
            "value (95 % interval)": [
                f"{v:.3f} ({a:.3f} to {b:.3f})" if np.isfinite(v) else "not estimable"
                for v, a, b in zip(value, low, high, strict=True)
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


def _groups(rows: pd.DataFrame) -> NDArray[Any]:
    """The group of each tile; a tile without one is one of its own."""
    own = rows["image_id"].astype(str)
    group = rows["group"].fillna("").astype(str) if "group" in rows else own
    return np.asarray(group.where(group != "", own), dtype=str)


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
    # Where a class vanishes with one group its number has no interval: that is a NaN.
    square = ((left - left.mean(axis=0)) ** 2).sum(axis=0)
    reach = float(stdtrit(n - 1, 0.975)) * np.sqrt((n - 1) / n * square)
    return value - reach, value + reach


def _interval(value: float, low: float, high: float) -> str:
    """A share with its interval in words."""
    if not np.isfinite(value):
        return "not estimable"
    if not np.isfinite(low):
        return f"{100 * value:.1f} % (too few groups)"
    return f"{100 * value:.1f} % ({100 * low:.1f} to {100 * high:.1f} %)"
