"""Marks of doubt: what speaks against each input, and against each unit of several.

Read from a predictions table: inputs that are unlike the training, of poor quality, of another
kind, failed, or copies; parts of a unit that no input shows. What a mark does to a decision is
said in ``core.evaluation.doubt``.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from core.base.tables import NEGATIVE, POSITIVE
from core.evaluation.missing_parts import (
    OTHER_KIND,
    is_of_other_kind,
    missing_parts,
    untold_parts,
    words_of,
)
from core.evaluation.units import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from core.app import Task, Unit

__all__ = [
    "UNFAMILIAR",
    "doubt_of_images",
    "doubts_within",
    "is_doubtful",
    "is_far",
    "is_negative",
    "is_of_other_kind",
    "is_unfamiliar",
    "n_positive_alone",
    "owners_of",
    "plain_reasons",
    "positive_alone",
    "says_nothing",
    "times_as_far",
    "with_far_ones",
    "with_marks",
    "words_of",
]

UNFAMILIAR = "unlike the training images"
# How the quality of a picture begins that cannot be graded, see ``App.prepare``.
UNGRADABLE = "ungradable"
# Times the distance from which an image is unlike the training, from which it is of another kind.
# Of 495 held-out images of three real sets the farthest has 1.36, of fundus photographs of other
# cameras 1.42; docs/outputs.md has those of other kinds.
FAR = 1.5
# Sentences of the images of one unit that its row repeats.
MOST_TOLD = 3


def doubt_of_images(predictions: pd.DataFrame) -> NDArray[np.object_]:
    """Why each input (N,) is in doubt, in words; empty where nothing speaks against it.

    ``caution``, where the table has it, holds what else speaks against an input.

    >>> import pandas as pd
    >>> rows = pd.DataFrame({"status": ["ok", "failed"], "reason": ["", "cut short"],
    ...                      "quality": ["blurred", ""], "unfamiliar": [True, False]})
    >>> doubt_of_images(rows).tolist()
    ['unlike the training images; blurred', 'failed: cut short']
    """
    status, n = text_of(predictions["status"]), len(predictions)
    reason = plain_reasons(predictions)
    quality, caution = words_of(predictions, "quality"), words_of(predictions, "caution")
    strange = is_unfamiliar(predictions)
    found = np.full(n, "", dtype=object)
    for i in range(n):
        if status[i] != "ok":
            found[i] = f"{status[i]}: {reason[i]}" if reason[i] else str(status[i])
        else:
            parts = [UNFAMILIAR if strange[i] else "", str(quality[i]), str(caution[i])]
            found[i] = "; ".join(filter(None, parts))
    return found


def plain_reasons(predictions: pd.DataFrame) -> NDArray[np.object_]:
    """Why each input (N,) has no score, without its place: a work list names it already.

    >>> import pandas as pd
    >>> rows = pd.DataFrame({"path": ["p/a.jpg"], "reason": ["/photos/p/a.jpg: it is cut short."]})
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


def with_far_ones(
    predictions: pd.DataFrame, limit: float, *, accepted: bool = False
) -> pd.DataFrame:
    """The inputs, with a mark where one lies far from all training images.

    An app's own gate looks for what its pictures have in common; a leaf may pass for a breast.

    Args:
        predictions: with ``embedding_distance``.
        limit: of the distance, above which an image is unlike the training.
        accepted: whether these are decided all the same. Then ``caution`` says what else
            ``quality`` does, which would keep them from it, and ``is_far`` marks them.

    >>> import pandas as pd
    >>> rows = pd.DataFrame({"quality": ["", ""], "embedding_distance": [1.4, 6.6]})
    >>> with_far_ones(rows, 1.1)["quality"].tolist()
    ['', 'not of the kind in training: 6.0 times as far as the limit of what is like it']
    >>> with_far_ones(rows, 1.1, accepted=True)["caution"].tolist()[1][:40]
    'perhaps not of the kind in training: 6.0'
    """
    quality, caution = (words_of(predictions, c).astype(object) for c in ("quality", "caution"))
    times = times_as_far(predictions, limit)
    far = (times > FAR) & ~np.array([text.startswith(OTHER_KIND) for text in quality], dtype=bool)
    for i in np.flatnonzero(far):
        text = f"{OTHER_KIND}of the kind in training: {times[i]:.1f} times as far as the limit of "
        sentence, column = (f"perhaps {text}", caution) if accepted else (text, quality)
        column[i] = "; ".join(filter(None, (f"{sentence}what is like it", column[i])))
    if accepted:
        return predictions.assign(caution=caution, is_far=far)
    return predictions.assign(quality=quality)


def is_far(predictions: pd.DataFrame, limit: float) -> NDArray[np.bool_]:
    """Which inputs (N,) lie so far from all training images that they are of another kind."""
    return np.asarray(times_as_far(predictions, limit) > FAR)


def times_as_far(predictions: pd.DataFrame, limit: float) -> NDArray[np.float64]:
    """Distances (N,) from the training in units of the limit; NaN where there is none."""
    if "embedding_distance" not in predictions:
        return np.full(len(predictions), np.nan)
    distance = predictions["embedding_distance"]
    return np.asarray(distance.to_numpy(dtype=np.float64, na_value=np.nan) / limit)


def says_nothing(predictions: pd.DataFrame) -> NDArray[np.bool_]:
    """Which scored inputs (N,) say nothing of their unit: of another kind, or not gradable."""
    words = words_of(predictions, "quality")
    ok = text_of(predictions["status"]) == "ok"
    silent = [str(word).startswith((OTHER_KIND, UNGRADABLE)) for word in words]
    return np.asarray(ok & np.array(silent, dtype=bool))


def is_negative(decision: NDArray[np.object_], task: Task) -> NDArray[np.bool_]:
    """Which decisions (N,) say that nothing was found."""
    positive = {task.classes[i] for i in task.positive_index}
    others = [name for name in task.classes if name not in positive]
    names = others if task.is_two_way else [*others, NEGATIVE]
    return np.asarray(np.isin(decision, names), dtype=bool)


def _is_against(table: pd.DataFrame, task: Task) -> NDArray[np.bool_]:
    """Of which rows (N,) a positive class is predicted and the threshold decides otherwise."""
    if not task.positive_index or task.kind == "multilabel":
        return np.zeros(len(table), dtype=bool)
    positive = [task.classes[i] for i in task.positive_index]
    negative = is_negative(table["decision"].to_numpy(dtype=object), task)
    return np.asarray(table["predicted"].isin(positive).to_numpy() & negative)


def n_positive_alone(
    table: pd.DataFrame,
    images: pd.DataFrame,
    predictions: pd.DataFrame,
    key: NDArray[np.object_],
    task: Task,
) -> NDArray[np.int64]:
    """How many images of each unit (U,) decided negative are positive on their own.

    An image of which a positive class is predicted counts, whatever the threshold says of it,
    unless the unit's own class is a positive one and says so already.

    Args:
        table: of decisions about the units.
        images: of decisions about each image on its own.
        predictions: the inputs.
        key: the unit (N,) of each of these, see ``owners_of``.
        task: with its class order.
    """
    found = np.zeros(len(table), dtype=np.int64)
    if not task.positive_index or task.kind == "multilabel":
        return found
    positive = [*(task.classes[i] for i in task.positive_index), POSITIVE]
    called = set(images["unit_id"][images["decision"].isin(positive)].astype(str))
    shown = called | set(images["unit_id"][images["predicted"].isin(positive)].astype(str))
    members: dict[str, list[str]] = {}
    for name, image in zip(key, text_of(predictions["image_id"]), strict=True):
        members.setdefault(str(name), []).append(str(image))
    negative = is_negative(table["decision"].to_numpy(dtype=object), task)
    against = _is_against(table, task)
    for place in np.flatnonzero(negative):
        of = members.get(str(table["unit_id"].iloc[place]), [])
        alone = called if against[place] else shown
        found[place] = sum(image in alone for image in of)
    return found


def doubts_within(
    tables: Mapping[str, pd.DataFrame],
    predictions: pd.DataFrame,
    unit: Unit | None,
    units: Sequence[Unit],
    task: Task,
) -> dict[str, list[str]]:
    """What speaks against parts of each unit that are units themselves: an eye of a patient.

    Of a part a positive class may be predicted that the threshold decides against; whoever reads
    only the row of the whole must know.

    Args:
        tables: unit name -> decisions, before doubt changed any.
        predictions: the inputs.
        unit: None for an image, which has no parts.
        units: all steps.
        task: with its class order.

    Returns:
        the unit's name in its table -> sentences, for units with any.
    """
    doubts: dict[str, list[str]] = {}
    if unit is None:
        return doubts
    owners = owners_of(predictions, unit)
    for inner in units:
        if not set(unit.columns) < set(inner.columns) or inner.name not in tables:
            continue
        table, key = tables[inner.name], owners_of(predictions, inner)
        first = {str(name): row for row, name in reversed(list(enumerate(key)))}
        own = [column for column in inner.columns if column not in unit.columns]
        for place in np.flatnonzero(_is_against(table, task)):
            row = first[str(table["unit_id"].iloc[place])]
            named = " ".join(filter(None, (words_of(predictions, c)[row] for c in own)))
            doubts.setdefault(str(owners[row]), []).append(
                f"{named or str(table['unit_id'].iloc[place])} {inner.name}: "
                f"{table['predicted'].iloc[place]} predicted, below the threshold"
            )
    return doubts


def positive_alone(n: int, of: int) -> str:
    """That some images of a unit are positive on their own; empty if none is.

    >>> positive_alone(1, 2), positive_alone(0, 2)
    ('1 of 2 images is positive on its own', '')
    """
    verb, own = ("is", "its") if n == 1 else ("are", "their")
    return f"{n:,} of {of:,} images {verb} positive on {own} own" if n else ""


def with_marks(
    table: pd.DataFrame,
    predictions: pd.DataFrame,
    key: NDArray[np.object_],
    unit: Unit | None,
    units: Sequence[Unit],
    task: Task,
    alone: NDArray[np.int64],
    inner: Mapping[str, Sequence[str]],
) -> pd.DataFrame:
    """One table of decisions with what speaks against each row.

    Args:
        table: of decisions, one row per unit.
        predictions: the inputs.
        key: the unit (N,) of each of these, see ``owners_of``.
        unit: that of the table, None for images.
        units: all steps.
        task: with its class order.
        alone: see ``n_positive_alone``; a doubt only of a unit that heeds each of its images.
        inner: see ``doubts_within``; told where the unit itself is not decided so.

    Returns:
        the table with ``n_unfamiliar``, ``n_poor``, ``n_ungradable``, ``n_failed``,
        ``n_positive_alone``, ``missing`` and ``doubt``.
    """
    strange, status = is_unfamiliar(predictions), text_of(predictions["status"])
    heeds = unit is not None and unit.heeds_each
    ok = status == "ok"
    silent = says_nothing(predictions)
    quality = words_of(predictions, "quality")
    poor = (quality != "") & ok & ~silent
    caution = words_of(predictions, "caution")
    against = _is_against(table, task)
    doubts = doubt_of_images(predictions)
    rows: dict[str, list[int]] = {}
    for place, name in enumerate(key):
        rows.setdefault(str(name), []).append(place)
    lines = []
    for place, name in enumerate(table["unit_id"]):
        at = np.array(rows.get(str(name), []), dtype=int)
        gaps = missing_parts(predictions, at, unit, units)
        missing = list(gaps)
        parts = [*gaps.values(), *untold_parts(predictions, at, unit, units)]
        if len(at) == 1:
            parts += [str(doubts[at[0]])] if doubts[at[0]] else []
        else:
            marks = (strange & ok, silent, ~ok)
            words = (UNFAMILIAR, "not gradable or of another kind", "not read")
            parts += [
                f"{int(mark[at].sum()):,} of {len(at):,} images {word}"
                for mark, word in zip(marks, words, strict=True)
                if mark[at].any()
            ]
            parts += _faults(np.where(poor, quality, "")[at])
            parts += _cautions(caution[at])
        below = f"{table['predicted'].iloc[place]} predicted, below the threshold"
        parts += [below] if against[place] else inner.get(str(name), [])
        parts += [positive_alone(int(alone[place]), len(at))] if heeds and alone[place] else []
        lines.append(
            (
                int((strange & ok)[at].sum()),
                int(poor[at].sum()),
                int(silent[at].sum()),
                int((~ok)[at].sum()),
                "|".join(missing),
                "; ".join(parts),
            )
        )
    columns = list(zip(*lines, strict=True)) or [()] * 6
    return table.assign(
        n_unfamiliar=np.array(columns[0], dtype=np.int64),
        n_poor=np.array(columns[1], dtype=np.int64),
        n_ungradable=np.array(columns[2], dtype=np.int64),
        n_failed=np.array(columns[3], dtype=np.int64),
        n_positive_alone=alone,
        missing=np.array(columns[4], dtype=object),
        doubt=np.array(columns[5], dtype=object),
    )


def _faults(words: NDArray[np.str_]) -> list[str]:
    """The faults of several images (N,), in the words of their own rows, each once."""
    n = Counter(fault for text in words for fault in dict.fromkeys(str(text).split("; ")) if fault)
    more = [f"{len(n) - MOST_TOLD:,} more faults of images"] if len(n) > MOST_TOLD else []
    common = n.most_common(MOST_TOLD)
    return [f"{of:,} of {len(words):,} images: {fault}" for fault, of in common] + more


def _cautions(words: NDArray[np.str_]) -> list[str]:
    """What is said of several images (N,) besides their quality: each sentence once."""
    distinct = dict.fromkeys(str(word) for word in words if word)
    n = int((words != "").sum())
    more = [f"{len(distinct) - MOST_TOLD:,} more"] if len(distinct) > MOST_TOLD else []
    text = ", ".join([*list(distinct)[:MOST_TOLD], *more])
    return [f"{n:,} of {len(words):,} images: {text}"] if distinct else []


def owners_of(predictions: pd.DataFrame, unit: Unit | None) -> NDArray[np.object_]:
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


def is_unfamiliar(predictions: pd.DataFrame) -> NDArray[np.bool_]:
    """Which inputs (N,) are unlike the training."""
    if "unfamiliar" not in predictions:
        return np.zeros(len(predictions), dtype=bool)
    return predictions["unfamiliar"].fillna(value=False).astype(bool).to_numpy()
