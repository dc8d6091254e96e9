"""What a report on tiles of a field adds: how much a random split would flatter.

Neighbouring tiles show the same plants in the same light, so a split that
scatters them lets a model be judged on what it has all but seen. Training a network
twice to show that is dear; a small classifier on colours shows the same of the same
tiles, judged once on tiles scattered at random and once on blocks it has not seen.
The gap is that of the data, not of the network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from core.blocks import Fold, Table, Text
from core.statistics.intervals import student_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from core.app import ReportContext
    from core.blocks import Block

__all__ = ["random_against_spatial", "split_gap"]

# Tiles asked at most, drawn evenly; more change the gap less than its interval.
MOST_TILES = 1500
FOLDS = 5
# Cells along a side of a tile; the mean and the spread of each colour in each.
CELLS = 3


def random_against_spatial(context: ReportContext) -> Sequence[Block]:
    """Macro-F1 of the small classifier with either split, and the gap; nothing for photos."""
    import pandas as pd  # noqa: PLC0415  (the app's description must load without it)

    manifest = context.manifest
    if "row_off" not in manifest or context.picture is None or context.task.kind == "multilabel":
        return []
    rows = manifest[(manifest["status"] == "ok") & (manifest["label"].fillna("") != "")]
    rows = rows[rows["group"].fillna("") != ""]
    step = max(1, -(-len(rows) // MOST_TILES))
    features, labels, groups = [], [], []
    for row in rows.iloc[::step].to_dict("records"):
        pixels = context.picture(str(row["image_id"]))
        if pixels is not None:
            features.append(_colours(pixels))
            labels.append(str(row["label"]))
            groups.append(str(row["group"]))
    if not features:
        return []
    try:
        random, spatial, low, high = split_gap(
            np.array(features), np.array(labels), np.array(groups)
        )
    except ValueError as error:
        return [Text(f"What a random split would claim cannot be told: {error}.", tone="note")]
    gap = random - spatial
    frame = pd.DataFrame(
        {
            "judged on": ["tiles scattered at random", "blocks not seen"],
            "macro-F1": [f"{random:.3f}", f"{spatial:.3f}"],
        }
    )
    flatters = low > 0
    table = Table(
        frame=frame,
        title="Random split and spatial split of the same tiles",
        note=f"A logistic regression on the colours of {len(labels):,} tiles in "
        f"{len(set(groups)):,} groups, {FOLDS} folds each.",
        numeric=("macro-F1",),
    )
    return [
        # Both numbers matter where they differ.
        table if flatters else Fold("Both splits of the same tiles", [table]),
        Text(
            f"Macro-F1 of a classifier on colours is {gap:.3f} higher with a random split (95 % "
            f"interval {low:.3f} to {high:.3f}, over groups). A random split would have promised "
            "that much more than new ground keeps. The numbers of this report are those of blocks "
            "not seen."
            if flatters
            else "Whether a random split flatters is not settled: a classifier on colours has a "
            f"macro-F1 of {random:.3f} with it and {spatial:.3f} with this one"
            f"{_blind(np.array(labels), spatial)}. A network sees more than colours.",
            tone="warning" if flatters else "plain",
        ),
    ]


def _blind(labels: NDArray[Any], score: float) -> str:
    """That a score is no better than naming the commonest class every time; empty otherwise."""
    names, y = np.unique(labels, return_inverse=True)
    most = np.full(len(y), int(np.bincount(y).argmax()))
    if score > _macro_f1(y, most, len(names), None) + 0.0005:
        return ""
    return f" (what always saying {names[most[0]]} gives)"


def split_gap(
    features: NDArray[np.float64], labels: NDArray[Any], groups: NDArray[Any]
) -> tuple[float, float, float, float]:
    """Macro-F1 of a logistic regression with random and with grouped folds, and the gap's interval.

    Args:
        features: (N, F).
        labels: (N,) class names.
        groups: (N,) what may not straddle the grouped folds.

    Returns:
        macro-F1 with random folds, with grouped folds, and the ends of the 95 %
        interval of their difference, from a jackknife over groups.

    Raises:
        ValueError: a class has too few tiles or groups for five folds.
    """
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415  (only a report asks)
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    names, y = np.unique(labels, return_inverse=True)
    fewest = min(len(set(groups[y == k])) for k in range(len(names)))
    if len(names) < 2 or fewest < FOLDS:
        msg = f"a class stands in {fewest} group(s), and {FOLDS} folds need as many"
        raise ValueError(msg)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    scattered = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    grouped = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    random = cross_val_predict(model, features, y, cv=scattered)
    spatial = cross_val_predict(model, features, y, cv=grouped, groups=groups)

    def score(found: NDArray[Any], weight: NDArray[Any] | None = None) -> float:
        return _macro_f1(y, found, len(names), weight)

    _, member = np.unique(groups, return_inverse=True)
    n_groups = int(member.max()) + 1
    gap = score(random) - score(spatial)
    left = np.array(
        [
            score(random, weight) - score(spatial, weight)
            for weight in (np.eye(n_groups)[i][member] == 0 for i in range(n_groups))
        ]
    )
    square = float(((left - left.mean()) ** 2).sum())
    reach = student_quantile(n_groups - 1) * float(np.sqrt((n_groups - 1) / n_groups * square))
    low, high = gap - reach, gap + reach
    return score(random), score(spatial), float(low), float(high)


def _macro_f1(
    y: NDArray[Any], found: NDArray[Any], n_classes: int, weight: NDArray[Any] | None
) -> float:
    """Mean F1 of the classes; 0 for one that is neither there nor named.

    In numpy, because scikit-learn's takes a millisecond and is asked a thousand times.
    """
    counts = np.bincount(y * n_classes + found, weight, n_classes**2).reshape(n_classes, -1)
    both = counts.sum(axis=0) + counts.sum(axis=1)
    return float(np.mean(2 * np.diag(counts) / np.where(both > 0, both, 1)))


def _colours(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean and spread of each colour in each cell of a tile."""
    cells = [
        cell.reshape(-1, pixels.shape[2]).astype(np.float64)
        for rows in np.array_split(pixels, CELLS, axis=0)
        for cell in np.array_split(rows, CELLS, axis=1)
    ]
    return np.concatenate([np.r_[cell.mean(axis=0), cell.std(axis=0)] for cell in cells])
