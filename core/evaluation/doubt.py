"""Doubt about inputs and units: unlike the training, of poor quality, failed, incomplete.

A score says nothing of whether it should have been given. The marks made here travel with
every row of every output, and decide where an output that somebody acts on is withheld:

    open       a negative decision of an incomplete unit: what is missing is not negative
    referred   with ``--abstain``, whatever is in doubt
    withheld   what is no picture of the kind at all; and everything, where most inputs are
               that or unlike the training

The predicted class is never touched; only the decision is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.base.tables import NEGATIVE
from core.evaluation.units import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from core.app import Task, Unit

__all__ = [
    "OPEN",
    "REFERRED",
    "WITHHELD",
    "DoubtRule",
    "doubt_of_images",
    "is_doubtful",
    "plain_reasons",
    "prevailing_doubt",
    "with_doubt",
]

OPEN, REFERRED, WITHHELD = "open", "referred", "withheld"
UNFAMILIAR = "unlike the training images"
# From this share of the scored inputs on, the batch as a whole is not what the model knows.
MOST = 0.5


@dataclass(frozen=True, kw_only=True)
class DoubtRule:
    """What is done about inputs and units in doubt.

    Attributes:
        abstain: they are referred instead of decided.
        accept: decisions, letters and prescriptions are written for them as for any other.
    """

    abstain: bool = False
    accept: bool = False


def doubt_of_images(predictions: pd.DataFrame) -> NDArray[np.object_]:
    """Why each input (N,) is in doubt, in words; empty where nothing speaks against it.

    >>> import pandas as pd
    >>> rows = pd.DataFrame({"status": ["ok", "failed"], "reason": ["", "cut short"],
    ...                      "quality": ["blurred", ""], "unfamiliar": [True, False]})
    >>> doubt_of_images(rows).tolist()
    ['unlike the training images; blurred', 'failed: cut short']
    """
    status, n = text_of(predictions["status"]), len(predictions)
    reason = plain_reasons(predictions)
    quality = text_of(predictions["quality"]) if "quality" in predictions else np.full(n, "")
    strange = _flags(predictions)
    found = np.full(n, "", dtype=object)
    for i in range(n):
        if status[i] != "ok":
            found[i] = f"{status[i]}: {reason[i]}" if reason[i] else str(status[i])
        else:
            found[i] = "; ".join(filter(None, [UNFAMILIAR if strange[i] else "", str(quality[i])]))
    return found


def plain_reasons(predictions: pd.DataFrame) -> NDArray[np.object_]:
    """Why each input (N,) has no score, without its place: a work list names it already.

    >>> import pandas as pd
    >>> rows = pd.DataFrame({"path": ["p/a.jpg"], "reason": ["/home/p/a.jpg: it is cut short."]})
    >>> plain_reasons(rows).tolist()
    ['it is cut short.']
    """
    if "reason" not in predictions:
        return np.full(len(predictions), "", dtype=object)
    reasons = text_of(predictions["reason"]).astype(object)
    if "path" in predictions:
        names = [re.split(r"[\\/]", str(path))[-1] for path in predictions["path"]]
        reasons[:] = [
            str(reason).split(f"{name}: ", 1)[-1] if name else str(reason)
            for reason, name in zip(reasons, names, strict=True)
        ]
    return reasons


def is_doubtful(predictions: pd.DataFrame) -> NDArray[np.bool_]:
    """Which inputs (N,) have a mark of doubt."""
    return np.asarray(doubt_of_images(predictions) != "", dtype=bool)


def prevailing_doubt(predictions: pd.DataFrame) -> str:
    """Why nothing should be decided about these inputs; empty where most are familiar.

    Counted are inputs with a score that are unlike the training, or whose quality says that
    they are not of the kind at all (it begins with ``not``, see ``App.prepare``).
    """
    ok = predictions[text_of(predictions["status"]) == "ok"]
    if not len(ok):
        return ""
    other = _of_other_kind(ok)
    strange = _flags(ok)
    n = int((strange | other).sum())
    if n <= MOST * len(ok):
        return ""
    kinds = [f"{int(strange.sum()):,} unlike the training images"] if strange.any() else []
    kinds += [f"{int(other.sum()):,} not of the kind"] if other.any() else []
    return (
        f"No decisions are given: {n:,} of {len(ok):,} inputs with a score are no pictures of the "
        f"kind this model knows ({', '.join(kinds)})."
    )


def with_doubt(
    tables: Mapping[str, pd.DataFrame],
    predictions: pd.DataFrame,
    *,
    task: Task,
    units: Sequence[Unit],
    rule: DoubtRule,
    withheld: str,
) -> dict[str, pd.DataFrame]:
    """Decisions tables with ``n_unfamiliar``, ``n_poor``, ``missing`` and ``doubt``.

    The decision gives way to ``open``, ``referred`` or ``withheld`` as the module says.

    Args:
        tables: unit name -> decisions, ``image`` among them.
        predictions: the inputs behind them.
        task: with its class order.
        units: the steps; a unit's ``parts`` say what a whole one has.
        rule: what is done about doubt.
        withheld: see ``prevailing_doubt``; empty lets decisions stand.
    """
    found = {}
    for name, table in tables.items():
        unit = next((u for u in units if u.name == name), None)
        key = _owners(predictions, unit)
        marked = _marked(table, predictions, key, unit, units)
        decision = marked["decision"].to_numpy(dtype=object).copy()
        lacks = (marked["n_failed"] > 0).to_numpy() | (marked["missing"] != "").to_numpy()
        if task.positive_index and task.kind != "multilabel":
            negative = _is_negative(decision, task)
            decision[lacks & negative & (marked["n_images"] > 0).to_numpy()] = OPEN
            decision[(marked["n_images"] == 0).to_numpy()] = OPEN
        if rule.abstain:
            decision[(marked["doubt"] != "").to_numpy()] = REFERRED
        if not rule.accept:
            decision[_all_of_other_kind(table, predictions, key)] = WITHHELD
        if withheld:
            decision[:] = WITHHELD
        found[name] = marked.assign(decision=decision)
    return found


def _of_other_kind(predictions: pd.DataFrame) -> NDArray[np.bool_]:
    """Which inputs (N,) are not of the kind: their quality begins with ``not``."""
    if "quality" not in predictions:
        return np.zeros(len(predictions), dtype=bool)
    words = text_of(predictions["quality"])
    return np.array([str(text).startswith("not ") for text in words], dtype=bool)


def _all_of_other_kind(
    table: pd.DataFrame, predictions: pd.DataFrame, key: NDArray[np.object_]
) -> NDArray[np.bool_]:
    """Which units (N,) have scores, none of them of a picture of the kind."""
    ok = text_of(predictions["status"]) == "ok"
    kind = _of_other_kind(predictions)
    scored, of_kind = set(map(str, key[ok])), set(map(str, key[ok & ~kind]))
    return np.array([str(n) in scored - of_kind for n in table["unit_id"]], dtype=bool)


def _is_negative(decision: NDArray[np.object_], task: Task) -> NDArray[np.bool_]:
    """Which decisions (N,) say that nothing was found."""
    positive = {task.classes[i] for i in task.positive_index}
    others = [name for name in task.classes if name not in positive]
    return np.isin(decision, others if task.is_two_way else [*others, NEGATIVE])


def _marked(
    table: pd.DataFrame,
    predictions: pd.DataFrame,
    key: NDArray[np.object_],
    unit: Unit | None,
    units: Sequence[Unit],
) -> pd.DataFrame:
    """One table with its marks."""
    strange, status = _flags(predictions), text_of(predictions["status"])
    ok = status == "ok"
    poor = (
        text_of(predictions["quality"]) != "" if "quality" in predictions else np.zeros(len(ok))
    ).astype(bool) & ok
    said = doubt_of_images(predictions)
    rows: dict[str, list[int]] = {}
    for place, name in enumerate(key):
        rows.setdefault(str(name), []).append(place)
    lines = []
    for name in table["unit_id"]:
        at = np.array(rows.get(str(name), []), dtype=int)
        gaps = _gaps(predictions, at, unit, units)
        missing, parts = list(gaps), [f"no image of {words}" for words in gaps.values()]
        if len(at) == 1:
            parts += [str(said[at[0]])] if said[at[0]] else []
        else:
            counts = ((strange & ok)[at].sum(), poor[at].sum(), (~ok)[at].sum())
            words = (UNFAMILIAR, "of poor quality", "not read")
            parts += [
                f"{int(n):,} of {len(at):,} images {word}"
                for n, word in zip(counts, words, strict=True)
                if n
            ]
        lines.append(
            (
                int((strange & ok)[at].sum()),
                int(poor[at].sum()),
                "|".join(missing),
                "; ".join(parts),
            )
        )
    columns = list(zip(*lines, strict=True)) or [(), (), (), ()]
    return table.assign(
        n_unfamiliar=np.array(columns[0], dtype=np.int64),
        n_poor=np.array(columns[1], dtype=np.int64),
        missing=np.array(columns[2], dtype=object),
        doubt=np.array(columns[3], dtype=object),
    )


def _gaps(
    predictions: pd.DataFrame, at: NDArray[np.int_], unit: Unit | None, units: Sequence[Unit]
) -> dict[str, str]:
    """What no input of a unit shows, and its words: of the unit itself and of those within it.

    An exam lacks a breast, or it lacks a view of one of its breasts.
    """
    if unit is None:
        return {}
    found = {part: f"{unit.parts_are} {part}" for part in _missing(predictions, at, unit)}
    for inner in units:
        own = [column for column in inner.columns if column not in unit.columns]
        if not own or not set(unit.columns) < set(inner.columns):
            continue
        if not set(own) <= set(predictions.columns):
            continue
        cells = list(zip(*(text_of(predictions[column].iloc[at]) for column in own), strict=True))
        for key in dict.fromkeys(cells):
            if all(key):
                rows = at[[cell == key for cell in cells]]
                for part in _missing(predictions, rows, inner):
                    name = " ".join((*key, part))
                    found[name] = name
    return found


def _missing(predictions: pd.DataFrame, at: NDArray[np.int_], unit: Unit | None) -> list[str]:
    """The parts of a unit that no input shows; none where some input does not say what it shows."""
    if unit is None or not unit.parts or unit.parts_are not in predictions or not len(at):
        return []
    shown = set(text_of(predictions[unit.parts_are].iloc[at]))
    return [] if "" in shown else [part for part in unit.parts if part not in shown]


def _owners(predictions: pd.DataFrame, unit: Unit | None) -> NDArray[np.object_]:
    """The unit (N,) of each input, named as in the decisions table."""
    ids = text_of(predictions["image_id"])
    if unit is None:
        return ids.astype(object)
    cells = [text_of(predictions[column]) for column in unit.columns]
    return np.array(
        [
            "/".join(parts) if all(parts) else str(own)
            for own, *parts in zip(ids, *cells, strict=True)
        ],
        dtype=object,
    )


def _flags(predictions: pd.DataFrame) -> NDArray[np.bool_]:
    """Which inputs (N,) are unlike the training."""
    if "unfamiliar" not in predictions:
        return np.zeros(len(predictions), dtype=bool)
    return predictions["unfamiliar"].fillna(value=False).astype(bool).to_numpy()
