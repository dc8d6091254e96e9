"""Scores of units from learned weights of their images, out of the predictions table alone.

``core.training.attention_fitting`` fits the weights; what it says of each image stands in two
kinds of columns: ``attention``, and the logits ``attention_logit_<i>``. A unit's
logits are those of its images, weighted by the softmax of their attention.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from core.base.tables import attention_columns
from core.errors import ConfigError, MetricError
from core.statistics.scores import scores_from_logits

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from core.app import Task, Unit

__all__ = ["attend", "attended_scores", "holds_attention", "learned_unit"]


def learned_unit(
    units: Sequence[Unit], table: pd.DataFrame
) -> tuple[Unit, NDArray[np.object_]] | None:
    """The unit whose images get learned weights, and the unit of each row as text.

    Args:
        units: the steps in order; one with the rule ``attention`` is meant, else the
            first that is ``learned`` and whose columns are there.
        table: with ``image_id``; an image that names no unit is one of its own.

    Raises:
        ConfigError: two steps, or one without its columns, ask for the rule.
    """
    asked = [unit for unit in units if unit.rule == "attention"]
    if len(asked) > 1:
        names = " and ".join(unit.name for unit in asked)
        msg = f"--rule: {names} cannot both be attention. Choose it for one of them."
        raise ConfigError(msg)
    known = [u for u in units if u.learned and set(u.columns) <= set(table.columns)]
    unit = next(iter([*asked, *known]), None)
    if unit is None:
        return None
    absent = [name for name in unit.columns if name not in table.columns]
    if absent:
        msg = (
            f"--rule {unit.name}=attention: the data have no column {', '.join(absent)}, so it is "
            "not known which images belong together. Choose another unit."
        )
        raise ConfigError(msg)
    parts = [table[name].fillna("").astype(str) for name in unit.columns]
    is_bare = np.any([part == "" for part in parts], axis=0)
    keys = np.array(["/".join(cells) for cells in zip(*parts, strict=True)], dtype=object)
    own = ("\uffff" + table["image_id"].astype(str)).to_numpy(dtype=object)
    return unit, np.where(is_bare, own, keys)


def holds_attention(predictions: pd.DataFrame) -> bool:
    """Whether the table says how much each image counts."""
    return "attention" in predictions.columns and bool(predictions["attention"].notna().any())


def attend(
    attention: NDArray[np.float64],
    logits: NDArray[np.float64],
    owner: NDArray[np.int_],
    n_units: int,
) -> NDArray[np.float64]:
    """Logits of units (U, L); NaN for a unit without a scored image.

    Args:
        attention: (N,), NaN where an image has none.
        logits: (N, L).
        owner: (N,) the unit of each image, in 0 .. U-1.
        n_units: U.

    >>> attend(np.log([1.0, 3.0]), np.array([[0.0], [4.0]]), np.array([0, 0]), 1).tolist()
    [[3.0]]
    """
    known = np.isfinite(attention) & np.isfinite(logits).all(axis=1)
    found = np.full((n_units, logits.shape[1]), np.nan)
    a, z, of = attention[known], logits[known], owner[known]
    if not len(a):
        return found
    top = np.full(n_units, -np.inf)
    np.maximum.at(top, of, a)
    share = np.exp(a - top[of])
    total = np.bincount(of, weights=share, minlength=n_units)
    filled = total > 0
    sums = np.column_stack(
        [np.bincount(of, weights=share * column, minlength=n_units) for column in z.T]
    )
    found[filled] = sums[filled] / total[filled, None]
    return found


def attended_scores(
    predictions: pd.DataFrame,
    owner: NDArray[np.int_],
    n_units: int,
    *,
    task: Task,
    scored: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Scores (U, K) of units by their learned weights.

    Args:
        predictions: with the columns of ``core.base.tables.attention_columns``.
        owner: (N,) the unit of each row.
        n_units: U.
        task: with its class order.
        scored: (N,) rows that may count.

    Raises:
        MetricError: the table has no such columns.
    """
    names = [name for name in predictions.columns if name in set(attention_columns(99))]
    if "attention" not in names:
        msg = (
            "These predictions hold no learned weights of images, so the rule attention cannot be "
            "applied. Choose mean, max or noisy_or, or train where units have several images."
        )
        raise MetricError(msg)
    values = predictions[names].to_numpy(dtype=np.float64, na_value=np.nan)
    attention = np.where(scored, values[:, 0], np.nan)
    pooled = attend(attention, values[:, 1:], owner, n_units)
    known = np.isfinite(pooled).all(axis=1)
    link = "sigmoid" if task.kind == "multilabel" else "softmax"
    if pooled.shape[1] == len(task.classes) - 1:
        link = "cumulative"
    scores = np.full((n_units, len(task.classes)), np.nan)
    if known.any():
        scores[known] = scores_from_logits(pooled[known], link=link)
    return scores
