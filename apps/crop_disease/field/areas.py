"""Area estimation: hectares of each class, corrected for misclassification.

Counting the pixels of a map counts its mistakes as well. From a confusion matrix
and the areas on the map follow an estimate without that bias, its interval, and
the accuracy weighted by area.

Source: Olofsson et al. 2014, "Good practices for estimating area and assessing
accuracy of land change", doi:10.1016/j.rse.2014.02.015, equations 1 to 11. It
takes the judged tiles for a sample drawn at random within each class of this
map; judged tiles from other fields are not, and whoever shows the interval must say so.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.data.tables_in import number, read_cells, whole_number
from core.errors import ManifestError, MetricError
from core.statistics.intervals import student_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

__all__ = ["AreaEstimate", "corrected_areas", "judged_counts", "read_confusion", "wilson_ends"]

# The 97.5th percentile of the normal distribution.
Z95 = 1.959963984540054


@dataclass(frozen=True)
class AreaEstimate:
    """Areas per class, in the unit of the areas on the map.

    Attributes:
        area: (K,) corrected.
        low, high: (K,) ends of the 95 % intervals, between 0 and the whole area.
        accuracy: share of the area mapped as what it is.
        accuracy_low, accuracy_high: ends of its 95 % interval, in [0, 1].
        n_judged: tiles the correction rests on.
        n_groups: groups these tiles belong to; 0 where that is not known.
    """

    area: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    n_judged: int
    n_groups: int


def corrected_areas(mapped: ArrayLike, confusion: ArrayLike) -> AreaEstimate:
    """Areas corrected by a confusion matrix.

    Args:
        mapped: (K,) area of each class on the map.
        confusion: (K, K) counts of judged tiles: row the class on the map, column the
            true class; or (G, K, K), one such matrix per group. Tiles of a group are
            alike, so the interval is also asked of how groups differ (jackknife), and the
            wider of the two is given.

    Raises:
        MetricError: a class that is on the map was judged on fewer than two tiles.

    The example of Olofsson et al. 2014, table 8 and section 4.3.1 (pixels; the paper
    gives 235,086 and an interval of 68,418):

    >>> counts = [[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]]
    >>> found = corrected_areas([200_000, 150_000, 3_200_000, 6_450_000], counts)
    >>> round(float(found.area[0])), abs(float(found.high[0] - found.area[0]) - 68_418) < 2
    (235086, True)
    """
    area = np.asarray(mapped, np.float64)
    by_group = np.asarray(confusion, np.float64)
    if by_group.ndim == 2:
        by_group = by_group[None]
    counts = by_group.sum(axis=0)
    judged = counts.sum(axis=1)
    thin = np.flatnonzero((judged < 2) & (area > 0))
    if len(thin):
        msg = (
            f"not estimable: {len(thin)} class(es) on the map were judged on fewer than two tiles "
            f"(first: class {thin[0]})"
        )
        raise MetricError(msg)
    total = area.sum()
    if not total:
        msg = "not estimable: nothing was mapped"
        raise MetricError(msg)
    weight = area / total
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(judged[:, None] > 0, counts / judged[:, None], 0.0)
        spread = np.where(judged[:, None] > 1, share * (1 - share) / (judged[:, None] - 1), 0.0)
    # Where not one error was seen the formula gives an interval of no width. That none was
    # seen is not that there is none: such a class gets the spread of one case more, shared evenly
    # by all classes (a Dirichlet prior), for the interval only.
    flawless = (np.diag(counts) == judged) & (judged > 1)
    softened = (counts + 1 / len(counts)) / (judged[:, None] + 1)
    spread[flawless] = (softened * (1 - softened) / (judged[:, None] + 2))[flawless]
    true = weight @ share
    error = np.sqrt((weight**2) @ spread)
    accuracy = float(weight @ np.diag(share))
    off = Z95 * float(np.sqrt((weight**2) @ np.diag(spread)))
    low, high = true - Z95 * error, true + Z95 * error
    if len(by_group) > 1:
        reach, off_by_group = _between_groups(by_group, weight, share)
        low, high = np.minimum(low, true - reach), np.maximum(high, true + reach)
        off = max(off, off_by_group)
    accuracy_low, accuracy_high = _ends_of_accuracy(accuracy, off)
    return AreaEstimate(
        area=total * true,
        low=total * np.clip(low, 0, None),
        high=total * np.clip(high, None, 1),
        accuracy=accuracy,
        accuracy_low=accuracy_low,
        accuracy_high=accuracy_high,
        n_judged=int(judged.sum()),
        n_groups=len(by_group) if len(by_group) > 1 else 0,
    )


def wilson_ends(share: float, variance: float, quantile: float) -> tuple[float, float]:
    """Wilson's interval of a share with a known variance: that of p (1 - p) / variance cases.

    Args:
        share: strictly between 0 and 1.
        variance: of it, above 0.
        quantile: how many standard errors it reaches.

    81 of 263 cases (Newcombe 1998):

    >>> p = 81 / 263
    >>> low, high = wilson_ends(p, p * (1 - p) / 263, 1.959964)
    >>> round(low, 4), round(high, 4)
    (0.2553, 0.3662)
    """
    n = share * (1 - share) / variance / quantile**2
    root = float(np.sqrt(share * (1 - share) / n + 1 / (4 * n * n)))
    low, high = ((share + 1 / (2 * n) + side * root) / (1 + 1 / n) for side in (-1, 1))
    return max(0.0, low), min(1.0, high)


def _ends_of_accuracy(accuracy: float, off: float) -> tuple[float, float]:
    """The ends of the interval, from its half width on the plain scale; they stay in [0, 1]."""
    if 1e-12 < accuracy < 1 - 1e-12:
        return wilson_ends(accuracy, off**2, 1.0)
    return max(0.0, accuracy - off), min(1.0, accuracy + off)


def _between_groups(
    by_group: NDArray[np.float64], weight: NDArray[np.float64], share: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Half widths of the shares of the true classes (K,) and of the accuracy, over groups.

    Each group is left out in turn (jackknife); with few groups Student's quantile is wide,
    as it has to be: tiles of one field say little about the next.
    """
    n = len(by_group)
    counts = by_group.sum(axis=0)[None] - by_group
    judged = counts.sum(axis=2, keepdims=True)
    # A class that only the group left out holds keeps the share of all tiles.
    left = np.where(judged > 0, counts / np.maximum(judged, 1), share)
    drawn, right = weight @ left, np.diagonal(left, axis1=1, axis2=2) @ weight
    student = student_quantile(n - 1)

    def reach(values: NDArray[np.float64]) -> NDArray[np.float64]:
        square = ((values - values.mean(axis=0)) ** 2).sum(axis=0)
        return np.asarray(student * np.sqrt((n - 1) / n * square))

    return reach(drawn), float(reach(right))


def judged_counts(predictions: pd.DataFrame, classes: Sequence[str]) -> NDArray[np.float64]:
    """Counts (G, K, K) of judged tiles per group, row the class on the map, column the true class.

    Args:
        predictions: rows of one split; those without a label or a score are passed over.
        classes: in index order.

    Returns:
        one matrix for all where no group is known; G is 0 without any judged tile.
    """
    rows = predictions[predictions["status"] == "ok"]
    label = rows["label"].fillna("").astype(str)
    rows, label = rows[label.isin(classes)], label[label.isin(classes)]
    # Of more classes than two a threshold decides for a side, which is no class of a map.
    column = "predicted" if len(classes) > 2 and "predicted" in rows else "decision"
    decided = rows[column].fillna("").astype(str)
    kept = decided.isin(classes).to_numpy()
    rows, label, decided = rows[kept], label[kept], decided[kept]
    place = {name: i for i, name in enumerate(classes)}
    group = rows["group"].fillna("").astype(str) if "group" in rows else label.map(lambda _: "")
    number = np.zeros(len(rows), np.int64)
    if (group != "").all():
        number = np.unique(group, return_inverse=True)[1]
    counts = np.zeros((int(number.max(initial=-1)) + 1, len(classes), len(classes)))
    row, col = (np.array([place[n] for n in names], np.int64) for names in (decided, label))
    np.add.at(counts, (number, row, col), 1.0)
    return counts


def read_confusion(path: Path, classes: Sequence[str]) -> NDArray[np.float64]:
    """Counts (G, K, K), row the class on the map, column the true class.

    Args:
        path: a run or an evaluation, whose held-out tiles are counted by group; or a CSV
            whose first column names the class on the map and whose header the true class.
        classes: in index order.

    Raises:
        ManifestError: it is neither, or classes are missing.
    """
    import pandas as pd  # noqa: PLC0415  (the app's description must load without it)

    if path.is_dir():
        file = path / "predictions.parquet"
        if not file.is_file():
            msg = f"--confusion {path}: holds no predictions. Pass a run, an evaluation or a CSV."
            raise ManifestError(msg)
        # By its bytes: a folder above it need not be UTF-8, which Arrow asks of a path.
        rows = pd.read_parquet(io.BytesIO(file.read_bytes()))
        for split in ("test", "out-of-fold", "new data", "val"):
            counts = judged_counts(rows[rows["split"] == split], classes)
            if counts.sum():
                return counts
        msg = f"--confusion {path}: holds no judged tile with a known class."
        raise ManifestError(msg)
    try:
        cells = read_cells(path)
    except ManifestError as error:
        msg = f"--confusion {error} Pass a run, or a table of true classes by map classes."
        raise ManifestError(msg) from error
    given = [[number(cell) for cell in row[1:]] for row in cells.rows]
    if any(value is None or value < 0 for row in given for value in row):
        msg = f"--confusion {path}: a cell is no count. Correct the table."
        raise ManifestError(msg)
    names = [whole_number(row[0]) for row in cells.rows]
    table = pd.DataFrame(given, index=names, columns=cells.columns[1:])
    missing = sorted(set(classes) - (set(table.index) & set(table.columns)))
    if missing:
        msg = f"--confusion {path}: has no row and column for {', '.join(missing)}."
        raise ManifestError(msg)
    full = table.reindex(index=list(classes), columns=list(classes), fill_value=0)
    return np.asarray(full.to_numpy(), np.float64)[None]
