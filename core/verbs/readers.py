"""``resight readers``: several readers of the same cases, and a model beside them.

The table has one row per case and one column per reader. Agreement needs no truth; with a label
and a score the model is held against the mean of the readers.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from core.app import class_key
from core.base.jobs import Job, open_output
from core.base.outputs import seal, write_json
from core.data.manifest_tables import column_named
from core.data.table_labels import label_texts
from core.data.tables_in import number, read_cells, read_frame
from core.errors import ManifestError
from core.report.readers import write_readers
from core.statistics.delong import delong_several
from core.statistics.intervals import Interval
from core.statistics.operating_points import proportion
from core.statistics.readers import compare_with_readers, icc_of, mean_kappa_of, reader_point
from core.statistics.resampling import resample_groups

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from core.statistics.resampling import Resampling

__all__ = ["readers_of"]

SINGLE_POINT = (
    "AUROC not compared: a reader who says yes or no has one point of a ROC curve, and its area, "
    "the mean of sensitivity and specificity, lies below that of equally good scores. Have "
    "readers grade (three grades or more) to compare areas"
)


def readers_of(
    file: Path,
    out: Path | None = None,
    *,
    readers: Sequence[str] = (),
    label: str | None = None,
    group: str | None = None,
    positive: Sequence[str] = (),
) -> dict[str, Any]:
    """Agreement of readers, and a model against them.

    Args:
        file: a table of any dialect with one row per case.
        out: directory of the page; None writes nothing.
        readers: their columns; empty takes every column whose name begins with ``reader``.
        label: column of the truth; None: ``label``, if there is one.
        group: column of the group; None: ``group``, if there is one.
        positive: classes of the truth that count as positive; of numbers every one above 0.

    Returns:
        ``n``, ``n_groups``, ``word``, ``classes``, ``weights`` of the kappas, ``overall``,
        ``icc``, ``pairs``, ``truth`` (each reader against it), ``comparison``, ``notes``; and
        ``out`` where it was written.

    Raises:
        ManifestError: columns are absent, or there are fewer than two readers.
    """
    table = read_frame(read_cells(file, any_row=True))
    names = list(readers) or [c for c in table.columns if str(c).casefold().startswith("reader")]
    absent = [name for name in names if name not in table.columns]
    if absent or len(names) < 2:
        msg = (
            f"{file}: {f'has no column {absent[0]!r}' if absent else 'names one reader or none'} "
            f"(it has: {', '.join(table.columns[:12])}). Name at least 2 columns of readers with "
            "--reader, or call them reader_1, reader_2."
        )
        raise ManifestError(msg)
    whole = (table[names] != "").all(axis=1)
    notes = []
    if not whole.all():
        notes.append(f"{int((~whole).sum()):,} cases that a reader did not rate are left out.")
        table = table[whole].reset_index(drop=True)
    grouped = column_named(table.columns, group or "group")
    if not len(table):
        msg = f"{file}: holds no case that all readers rated."
        raise ManifestError(msg)
    owner = table[grouped].to_numpy().astype(str) if grouped else np.arange(len(table)).astype(str)
    word = (group or "group").removesuffix("_id").replace("_", " ") if grouped else "case"
    # A case without a group is one of its own.
    own = np.array([f"\uffff{i}" for i in range(len(owner))])
    plan = resample_groups(np.where(owner == "", own, owner), word=word)
    if not grouped:
        notes.append("No column of groups: every case counts as independent.")
    truth = column_named(table.columns, label or "label")
    texts = {name: label_texts(table[name]) for name in names}
    content = {
        "schema": 1,
        "table": file.name,
        "n": len(table),
        "n_groups": plan.n_groups,
        "word": word,
        "notes": notes,
        **_agreement(texts, label_texts(table[truth]) if truth else None, plan),
        "comparison": None,
    }
    if truth is not None:
        content["comparison"] = _comparison(
            table, texts, label_texts(table[truth]), positive, plan, notes
        )
    if out is None:
        return content
    with open_output(out, Job("readers", replaces=True)):
        write_json(out / "readers.json", content)
        write_readers(out, content)
        seal(out)
    return {"out": str(out), **content}


def _agreement(
    texts: dict[str, list[str]], truth: list[str] | None, plan: Resampling
) -> dict[str, Any]:
    """Kappas of all pairs and their mean, ICC of numbers, and each reader against the truth."""
    names = list(texts)
    classes = sorted({text for column in texts.values() for text in column}, key=class_key)
    as_numbers = [number(name) for name in classes]
    is_ordered = None not in as_numbers and len(classes) > 2
    place = {name: i for i, name in enumerate(classes)}
    index = np.column_stack([[place[text] for text in texts[name]] for name in names])
    found: dict[str, Any] = {
        "classes": classes if len(classes) <= 30 else [],
        "weights": "quadratic" if is_ordered else "none",
        "icc": None,
        "truth": [],
    }
    k, settings = len(classes), {"is_ordered": is_ordered}
    found["overall"] = _row("Mean of all pairs", *mean_kappa_of(index, k, plan, **settings))
    found["pairs"] = [
        _row(
            f"{names[a]} and {names[b]}",
            *mean_kappa_of(index[:, [a, b]], k, plan, **settings),
        )
        for a in range(len(names))
        for b in range(a + 1, len(names))
    ]
    if None not in as_numbers and len(classes) > 2:
        ratings = np.asarray(as_numbers, dtype=float)[index]
        found["icc"] = _row("ICC(2,1)", *icc_of(ratings, plan))
    if truth is not None and set(truth) <= set(classes):
        own = np.array([place[text] for text in truth])
        found["truth"] = [
            _row(name, *mean_kappa_of(np.column_stack([index[:, i], own]), k, plan, **settings))
            for i, name in enumerate(names)
        ]
    return found


def _row(title: str, value: float, interval: Interval) -> dict[str, Any]:
    """A number with its interval."""
    return {
        "title": title,
        "value": value if np.isfinite(value) else None,
        "low": interval.low,
        "high": interval.high,
        "level": interval.level,
        "method": interval.method,
        "reason": interval.reason,
    }


def _comparison(
    table: pd.DataFrame,
    texts: dict[str, list[str]],
    truth: list[str],
    positive: Sequence[str],
    plan: Resampling,
    notes: list[str],
) -> dict[str, Any] | None:
    """The model against the mean of the readers, where both can be ranked."""
    score = next(
        (c for c in ("score", *(f"score_{name}" for name in positive)) if c in table.columns), None
    )
    if score is None:
        notes.append("No column score: readers are compared with one another alone.")
        return None
    numbers = {name: [number(text) for text in column] for name, column in texts.items()}
    model = np.array([number(cell) for cell in table[score]], dtype=float)
    held = _positive_of(truth, positive)
    known = np.array([text != "" for text in truth]) & np.isfinite(model)
    if held is None or any(None in column for column in numbers.values()):
        notes.append(
            "The model is not compared with the readers: their ratings must be numbers, and the "
            "positive classes of the label be known (--positive)."
        )
        return None
    if not known.all():
        notes.append(f"{int((~known).sum()):,} cases without a label or a score are not compared.")
    ratings = np.column_stack([np.array(column, dtype=float) for column in numbers.values()])
    if any(len(np.unique(column)) < 3 for column in ratings[known].T):
        own = plan.index[known]
        return _at_points(list(texts), held[known], ratings[known], model[known], own, plan.word)
    some = resample_groups(plan.index[known], word=plan.word)
    found = compare_with_readers(held[known], ratings[known], model[known], some)
    everybody = np.column_stack([ratings[known], model[known]])
    chi2, df, p = delong_several(held[known], everybody, plan.index[known], word=plan.word)
    difference = _row(
        "AUROC: the model minus the mean of the readers", found.difference, found.interval
    )
    return {
        "n": int(known.sum()),
        "n_events": int(held[known].sum()),
        "readers": [
            {"title": name, "value": value}
            for name, value in zip(texts, found.readers, strict=True)
        ],
        "model": found.model,
        "difference": difference,
        "p": found.p,
        "df": found.df,
        "all_alike": {"chi2": chi2, "df": df, "p": p},
    }


def _at_points(
    names: Sequence[str],
    held: NDArray[np.bool_],
    ratings: NDArray[np.float64],
    model: NDArray[np.float64],
    groups: NDArray[np.int_],
    word: str,
) -> dict[str, Any]:
    """Readers of whom some say yes or no: their points, and the model's beside them.

    Without a test: the model's sensitivity at a specificity that is itself estimated has no
    interval that this sample could give by leaving out cases. A reader's own shares have one.
    """
    none = Interval(low=None, high=None, level=0.95, reason=SINGLE_POINT)
    rows = []
    for name, column in zip(names, ratings.T, strict=True):
        row: dict[str, Any] = {"title": name, "value": None}
        if len(np.unique(column)) < 3:
            # Who says the same of all cases says yes where others have a lower value.
            calls = column > (column.min() if len(np.unique(column)) > 1 else ratings.min())
            for share, among in (("sensitivity", held), ("specificity", ~held)):
                right = calls[among] == held[among]
                rate = asdict(proportion(right, groups[among], word=word))
                row[share] = {"title": f"{share.capitalize()} of {name}", **rate}
            row["model_sensitivity"] = reader_point(held, calls, model).model
        rows.append(row)
    return {
        "n": len(held),
        "n_events": int(held.sum()),
        "readers": rows,
        "model": None,
        "difference": _row("AUROC: the model minus the mean of the readers", float("nan"), none),
        "p": None,
        "df": None,
    }


def _positive_of(truth: Sequence[str], positive: Sequence[str]) -> NDArray[np.bool_] | None:
    """(N,) whether a case is positive; None where nobody says which classes are."""
    if positive:
        return np.isin(np.array(truth), list(positive))
    values = [number(text) if text else 0.0 for text in truth]
    if None in values:
        return None
    return np.array(values, dtype=float) > 0
