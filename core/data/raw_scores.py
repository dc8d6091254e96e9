"""Scores that are no probabilities: logits pass through their link, others only rank.

Logits are known to be logits where the columns say so (``logit_<class>``) or the user does
(``--scores logits``). Anything else outside of [0, 1] is brought to ranks, column by column:
how far two such scores are apart, within a column or between two, means nothing here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, softmax

from core.data.tables_in import number
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["as_ranks", "as_scores", "from_logits", "given_name", "numbers_of", "score_columns_of"]


def score_columns_of(raw: pd.DataFrame) -> tuple[list[str], str]:
    """Columns of scores, one for each class or a single one, and how their names begin.

    Columns of logits count where there are none of scores.
    """
    for stem in ("score", "logit"):
        names = [name for name in raw.columns if name.startswith(f"{stem}_") and name != f"{stem}_"]
        alone = [name for name in (stem, *names) if name in raw.columns]
        if alone:
            return (names if len(names) > 1 else alone[-1:]), stem
    return [], "score"


def as_ranks(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores (N,) of any scale as shares of their distinct values, inside (0, 1); ties stay ties.

    >>> as_ranks(np.array([-3.0, 7.5, 7.5])).round(2).tolist()
    [0.33, 0.67, 0.67]
    """
    found = np.full(len(scores), np.nan)
    known = np.isfinite(scores)
    values, place = np.unique(scores[known], return_inverse=True)
    found[known] = (place + 1) / (len(values) + 1)
    return found


def ranks_of_columns(values: NDArray[np.float64], *, exclude: bool) -> NDArray[np.float64]:
    """Scores (N, K) of any scale as ranks.

    Args:
        values: one column per class, or that of the positive class alone; NaN where unknown.
        exclude: whether the classes exclude one another: of two, the second is then ranked by
            how much higher its score is than that of the first.
    """
    if values.shape[1] == 2 and exclude:
        rank = as_ranks(values[:, 1] - values[:, 0])
        return np.column_stack([1 - rank, rank])
    return np.column_stack([as_ranks(column) for column in values.T])


def from_logits(values: NDArray[np.float64], *, exclude: bool) -> tuple[NDArray[np.float64], str]:
    """Probabilities (N, K) of logits (N, K), and the link in words; NaN stays NaN.

    Args:
        values: one column per class, or that of the positive class alone.
        exclude: whether the classes exclude one another: softmax, or else sigmoid.

    >>> from_logits(np.array([[0.0, 0.0]]), exclude=True)
    (array([[0.5, 0.5]]), 'softmax')
    """
    if values.shape[1] > 1 and exclude:
        return np.asarray(softmax(values, axis=1)), "softmax"
    return np.asarray(expit(values)), "sigmoid"


def as_scores(
    given: NDArray[np.float64], notes: list[str], *, is_logits: bool, exclude: bool
) -> tuple[NDArray[np.float64], bool]:
    """Scores (N, K) in [0, 1], and whether they are but ranks of what was given.

    Args:
        given: of the table, on any scale.
        notes: added to.
        is_logits: whether they are known to be logits.
        exclude: whether the classes exclude one another.
    """
    if is_logits:
        values, link = from_logits(given, exclude=exclude)
        notes.append(f"The columns of scores hold logits; the scores judged are their {link}.")
        return values, False
    whole = given[np.isfinite(given).all(axis=1)]
    is_share = given.shape[1] > 1 and len(whole) > 0 and bool((whole >= 0).all())
    # Of one row a hundred may be chance; that all rows add up to it is not.
    if is_share and np.abs(whole.sum(axis=1) - 100).max() <= 1:
        notes.append("The scores of each row add up to 100 and are read as percentages.")
        given = given / 100
    odd = bool((np.isfinite(given) & ((given < 0) | (given > 1))).any())
    return (ranks_of_columns(given, exclude=exclude) if odd else given), odd


def numbers_of(
    raw: pd.DataFrame, columns: Sequence[str], file: Path, notes: list[str]
) -> NDArray[np.float64]:
    """The columns of scores (N, K); NaN where a cell is empty or no number."""
    if not columns:
        msg = (
            f"{file}: has no column of scores (score_<class> for each class, or score for the "
            f"positive one; it has: {', '.join(raw.columns[:12])}). Rename the columns."
        )
        raise ManifestError(msg)
    found = [[number(cell) for cell in raw[column]] for column in columns]
    values = np.array(found, dtype=np.float64).T.reshape(len(raw), len(columns))
    values[~np.isfinite(values)] = np.nan
    n_words = int(((raw[list(columns)] != "").to_numpy() & ~np.isfinite(values)).any(axis=1).sum())
    if n_words:
        notes.append(f"{n_words:,} rows have a score that is no number; they count as failed.")
    return values


def given_name(column: str) -> str:
    """What a column of scores is called once another stands in its place.

    >>> given_name("score"), given_name("score_rust")
    ('score_given', 'score_given_rust')
    """
    return f"score_given{column.removeprefix('score')}"
