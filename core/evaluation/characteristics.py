"""Table 1: what the images of each partition are like, from whatever columns there are.

CLAIM 2024 and TRIPOD+AI ask for the characteristics of the cases of each partition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.base.tables import MANIFEST, SPLITS, count_groups

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from core.app import Task

__all__ = ["characteristics_of"]

# A column of words with more values than this is told by their number alone.
MANY = 12
# A number written with more characters than this is rounded.
LONG = 5
# Columns that say where an image lies, and none of what it shows.
STRUCTURE = {column.name for column in MANIFEST}


def characteristics_of(
    manifest: pd.DataFrame,
    task: Task,
    word: str,
    *,
    names: Collection[str] = (),
    titles: Mapping[str, str] | None = None,
) -> dict[str, Any] | None:
    """Counts, shares and quartiles by partition, of images that could be read.

    Args:
        manifest: with splits; every column beside the structural ones is told of.
        task: gives classes and their titles.
        word: what a group is called.
        names: columns that name units; numbers in them count nothing.
        titles: of columns, see ``App.characteristics``; an empty one leaves its column out.

    Returns:
        ``partitions`` (names), and ``rows``: ``what``, ``value`` and ``cells`` (partition ->
        ``n`` and ``of``, or ``median``, ``low``, ``high`` (quartiles) and ``n``); None where
        no partition is known.
    """
    if manifest.empty or not {"split", "status", "label"} <= set(manifest.columns):
        return None
    known = manifest[manifest["status"] == "ok"]
    names = [name for name in (*SPLITS, "new data") if (known["split"] == name).any()]
    if not names:
        return None
    parts = {name: known[known["split"] == name] for name in names}
    rows = [_row("images", "", {k: {"n": len(t), "of": None} for k, t in parts.items()})]
    group = {k: t["group"].fillna("") if "group" in t else pd.Series() for k, t in parts.items()}
    if any((values != "").any() for values in group.values()):
        counts = {k: {"n": count_groups(v) or len(v), "of": None} for k, v in group.items()}
        rows.append(_row(word, "", counts, is_group=True))
    rows += _classes(parts, task)
    for column in manifest.columns:
        title = (titles or {}).get(str(column), str(column))
        if column in STRUCTURE or str(column).endswith("_id") or not title:
            continue
        if "group" in known and (known[column] == known["group"]).all():
            continue
        if (_text(known[column]) == _text(known["label"])).all():
            # The class under another name.
            continue
        text = {part: _text(some[column]) for part, some in parts.items()}
        rows += _column(title, text, is_name=column in names)
    return {"partitions": names, "rows": rows}


def _row(
    what: str, value: str, cells: dict[str, dict[str, Any]], *, is_group: bool = False
) -> dict[str, Any]:
    """One line of the table."""
    return {"what": what, "value": value, "cells": cells, "is_group": is_group}


def _text(values: pd.Series[Any]) -> pd.Series[str]:
    """Cells as text, empty where there is none."""
    return values.where(values.notna(), "").astype(str).str.strip()


def _classes(parts: dict[str, pd.DataFrame], task: Task) -> list[dict[str, Any]]:
    """Images of each class; of several labels, of each label."""
    mark = task.label_separator
    found = []
    for name in task.classes:
        cells = {}
        for part, table in parts.items():
            label = _text(table["label"])
            held = label == name
            if task.kind == "multilabel":
                held = label.map(lambda text, name=name: name in text.split(mark))
            cells[part] = {"n": int(held.sum()), "of": int((label != "").sum())}
        found.append(_row("class", task.title(name), cells))
    return found


def _column(name: str, parts: dict[str, pd.Series[str]], *, is_name: bool) -> list[dict[str, Any]]:
    """The values of a column: quartiles of numbers, shares of a few words, else their number."""
    everything = pd.concat(list(parts.values()))
    distinct = sorted(set(everything) - {""})
    if not distinct:
        return []
    found = []
    numbers = {part: pd.to_numeric(text, errors="coerce") for part, text in parts.items()}
    is_number = not is_name and all(numbers[p][parts[p] != ""].notna().all() for p in parts)
    if is_number and len(distinct) <= MANY:
        parts = {part: text.map(_shortened) for part, text in parts.items()}
        distinct = sorted(set(pd.concat(list(parts.values()))) - {""}, key=float)
    if is_number and len(distinct) > MANY:
        found.append(_row(name, "median (quartiles)", {p: _spread(v) for p, v in numbers.items()}))
    elif len(distinct) <= MANY:
        for value in distinct:
            cells = {
                part: {"n": int((text == value).sum()), "of": len(text)}
                for part, text in parts.items()
            }
            found.append(_row(name, value, cells))
    else:
        counts = {p: {"n": len(set(text) - {""}), "of": None} for p, text in parts.items()}
        found.append(_row(name, "different values", counts))
    if (everything == "").any():
        cells = {p: {"n": int((text == "").sum()), "of": len(text)} for p, text in parts.items()}
        found.append(_row(name, "not known", cells))
    return found


def _shortened(text: str) -> str:
    """A number of many decimals as people write it.

    >>> _shortened("0.050019"), _shortened("2"), _shortened("0042"), _shortened("")
    ('0.05002', '2', '0042', '')
    """
    return f"{float(text):.4g}" if "." in text and len(text) > LONG else text


def _spread(values: pd.Series[float]) -> dict[str, Any]:
    """Median and quartiles; None of no value."""
    known = values.dropna().to_numpy(dtype=float)
    known = known[np.isfinite(known)]
    if not len(known):
        return {"median": None, "low": None, "high": None, "n": 0}
    low, middle, high = (float(v) for v in np.quantile(known, [0.25, 0.5, 0.75]))
    return {"median": middle, "low": low, "high": high, "n": len(known)}
