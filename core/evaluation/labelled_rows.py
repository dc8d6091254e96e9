"""Which rows of a decisions table can be judged, and as which arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from core.app import Cases
from core.base.tables import decided_classes, score_columns
from core.statistics.scores import encode

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from core.app import Task

__all__ = ["BARE", "FEW_EVENTS", "cases_of", "groups_of", "is_labelled", "judged_rows"]

# Below this many cases of a class its numbers are too few to judge.
FEW_EVENTS = 10


def is_labelled(table: pd.DataFrame, task: Task) -> pd.Series[bool]:
    """Whether the label of each row is known to the task.

    Of several labels the bare separator means that there is none; an empty cell is unknown.
    """
    known = set(task.classes)
    if task.kind == "multilabel":
        separator = task.label_separator
        return table["label"].map(
            lambda text: text != "" and set(filter(None, text.split(separator))) <= known
        )
    return table["label"].isin(known)


def judged_rows(table: pd.DataFrame, task: Task) -> pd.DataFrame:
    """The rows that have a score and a label that is a class of the task."""
    rows = is_labelled(table, task) & (table["n_images"] > 0)
    return table[rows].reset_index(drop=True)


def cases_of(table: pd.DataFrame, task: Task) -> Cases:
    """Judged rows as arrays."""
    return Cases(
        y=encode(table["label"].tolist(), task),
        scores=table[score_columns(task.classes)].to_numpy(dtype=np.float64),
        decided=encode(decided_classes(table, task).tolist(), task),
        weight=np.ones(len(table)),
        positive=task.positive_index,
    )


# Before the name of a row that has no group: no real name begins so.
BARE = "\uffff"


def groups_of(table: pd.DataFrame) -> NDArray[np.str_]:
    """The group of each row; a row without one is a group of its own."""
    group = table["group"].to_numpy().astype(str)
    own = np.array([f"{BARE}{name}" for name in table["unit_id"]], dtype=str)
    return np.where(group == "", own, group)
