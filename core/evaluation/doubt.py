"""Doubt about inputs and units: unlike the training, of poor quality, failed, incomplete.

A score says nothing of whether it should have been given. The marks made here travel with
every row of every output, and decide where an output that somebody acts on is withheld:

    open       a negative decision about anything in doubt: what is missing, failed or unlike
               the training is not negative; where no image says anything; and, for a task
               without positive classes, where every image is unlike the training
    referred   with ``--abstain``, whatever is in doubt
    withheld   what is no picture of the kind at all; and everything, where most inputs are
               that or unlike the training

What says nothing of its unit (of another kind, not gradable) is never decided, whatever is
accepted; what is missing, failed or one picture under two names is never negative.

The predicted class is never touched; only the decision is. This is the one place where a
decision is made; tables, work lists, letters and DICOM objects show what is decided here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.base.tables import NEGATIVE
from core.evaluation.missing_parts import missing_parts
from core.evaluation.units import decisions_of, text_of

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
    "decide_all",
    "doubt_of_images",
    "is_doubtful",
    "is_negative",
    "plain_reasons",
    "prevailing_doubt",
    "rule_of_decision",
    "says_nothing",
]

OPEN, REFERRED, WITHHELD = "open", "referred", "withheld"
UNFAMILIAR = "unlike the training images"
# How the quality of a picture begins that says nothing of its unit, see ``App.prepare``.
OTHER_KIND, UNGRADABLE = "not ", "ungradable"
# Sentences of the images of one unit that its row repeats.
MOST_TOLD = 3
# From this share of the scored inputs on, the batch as a whole is not what the model knows.
MOST = 0.5


@dataclass(frozen=True, kw_only=True)
class DoubtRule:
    """What is done about inputs and units in doubt.

    Attributes:
        abstain: they are referred instead of decided.
        accept: decisions, letters and prescriptions are written for them as for any other;
            what is missing or failed, or one picture under two names, is not negative all the
            same, and what is of another kind or not gradable is not decided.
    """

    abstain: bool = False
    accept: bool = False


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
    quality, caution = _words(predictions, "quality"), _words(predictions, "caution")
    strange = _flags(predictions)
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


def decide_all(
    predictions: pd.DataFrame,
    *,
    task: Task,
    units: Sequence[Unit],
    threshold: float | None,
    rule: DoubtRule,
    withheld: str,
) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """What is decided about every input and every unit, and what speaks against relying on it.

    Args:
        predictions: the inputs; ``caution`` (words) and ``same_as`` (the input that has the same
            content under another name, see ``core.evaluation.copies``) may stand in it.
        task: with its class order.
        units: the steps; a unit's ``parts`` say what a whole one has.
        threshold: of the operating point in force, or None.
        rule: what is done about doubt.
        withheld: see ``prevailing_doubt``; empty lets decisions stand.

    Returns:
        the predictions with ``decision`` and ``doubt``; and unit name -> decisions, ``image``
        among them, with ``n_unfamiliar``, ``n_poor``, ``n_ungradable`` (scored, but silent),
        ``missing`` and ``doubt``. Units have the
        scores of the images that say something (``says_nothing``). The decision gives way to
        ``open``, ``referred`` or ``withheld`` as the module says.
    """
    silent = says_nothing(predictions)
    counted = predictions.assign(
        status=np.where(silent, "failed", text_of(predictions["status"]).astype(object))
    )
    tables = decisions_of(counted, task=task, units=units, threshold=threshold)
    tables["image"] = decisions_of(predictions, task=task, threshold=threshold)["image"]
    found = {}
    for name, table in tables.items():
        unit = next((u for u in units if u.name == name), None)
        key = _owners(predictions, unit)
        marked = _marked(table, predictions, key, unit, units, task)
        decision = marked["decision"].to_numpy(dtype=object).copy()
        doubtful = (marked["doubt"] != "").to_numpy()
        silenced = (marked["n_ungradable"] > 0).to_numpy()
        # Of a picture on its own, a score is a number that the picture does not bear out.
        mute = silenced if unit is None else silenced & (marked["n_images"] == 0).to_numpy()
        if task.positive_index and task.kind != "multilabel":
            lacks = ((marked["n_failed"] > 0) | (marked["missing"] != "")).to_numpy()
            lacks = lacks | silenced | _has_copy(marked, predictions, key)
            unsure = lacks if rule.accept else doubtful
            decision[unsure & is_negative(decision, task)] = OPEN
            mute = mute | (marked["n_images"] == 0).to_numpy()
        elif task.kind != "multilabel" and not rule.accept:
            # No class is the harmless one: of what is unlike the training none is decided.
            strange = (marked["n_unfamiliar"] > 0) & (marked["n_unfamiliar"] >= marked["n_images"])
            mute = mute | strange.to_numpy()
        decision[mute] = OPEN
        if rule.abstain:
            decision[doubtful] = REFERRED
        decision[_all_of_other_kind(table, predictions, key)] = WITHHELD
        if withheld:
            decision[:] = WITHHELD
        found[name] = marked.assign(decision=decision)
    image = found["image"].set_index("unit_id").loc[text_of(predictions["image_id"]).tolist()]
    # What is no input of this kind at all (skipped) has no decision that could be open.
    told = image["decision"].to_numpy(dtype=object)
    told[text_of(predictions["status"]) == "skipped"] = ""
    decided = dict(zip(text_of(predictions["image_id"]).tolist(), told, strict=True))
    found["image"] = found["image"].assign(decision=found["image"]["unit_id"].map(decided))
    return predictions.assign(decision=told, doubt=image["doubt"].to_numpy()), found


def rule_of_decision(run: Mapping[str, Any], task: Task) -> str:
    """By which rule a run decides, in words, for whoever reads a decision.

    >>> from core.app import Task
    >>> task = Task(name="t", kind="binary", classes=("no", "yes"), positive=("yes",))
    >>> rule_of_decision({"operating_point": {"threshold": 0.25}}, task)
    'at the threshold in force, 0.25'
    >>> rule_of_decision({}, task)
    'no threshold in force: class of the highest score'
    """
    point = run.get("operating_point")
    if isinstance(point, dict) and point.get("threshold") is not None:
        return f"at the threshold in force, {float(point['threshold']):.6g}"
    if task.kind == "multilabel":
        return "no threshold in force: labels with a score of one half or more"
    # See ``core.statistics.scores.decide``.
    best = "median grade" if task.kind == "ordinal" else "class of the highest score"
    return f"no threshold in force: {'grade between the cuts' if task.cuts else best}"


def says_nothing(predictions: pd.DataFrame) -> NDArray[np.bool_]:
    """Which scored inputs (N,) say nothing of their unit: of another kind, or not gradable."""
    words = _words(predictions, "quality")
    ok = text_of(predictions["status"]) == "ok"
    silent = [str(word).startswith((OTHER_KIND, UNGRADABLE)) for word in words]
    return np.asarray(ok & np.array(silent, dtype=bool))


def is_negative(decision: NDArray[np.object_], task: Task) -> NDArray[np.bool_]:
    """Which decisions (N,) say that nothing was found."""
    positive = {task.classes[i] for i in task.positive_index}
    others = [name for name in task.classes if name not in positive]
    names = others if task.is_two_way else [*others, NEGATIVE]
    return np.asarray(np.isin(decision, names), dtype=bool)


def _of_other_kind(predictions: pd.DataFrame) -> NDArray[np.bool_]:
    """Which inputs (N,) are not of the kind: their quality begins with ``not``."""
    words = _words(predictions, "quality")
    return np.array([str(text).startswith(OTHER_KIND) for text in words], dtype=bool)


def _words(predictions: pd.DataFrame, column: str) -> NDArray[np.str_]:
    """What a column says of each input (N,); empty where the table has no such column."""
    if column not in predictions:
        return np.full(len(predictions), "", dtype=str)
    return text_of(predictions[column])


def _all_of_other_kind(
    table: pd.DataFrame, predictions: pd.DataFrame, key: NDArray[np.object_]
) -> NDArray[np.bool_]:
    """Which units (N,) have scores, none of them of a picture of the kind."""
    ok = text_of(predictions["status"]) == "ok"
    kind = _of_other_kind(predictions)
    scored, of_kind = set(map(str, key[ok])), set(map(str, key[ok & ~kind]))
    return np.array([str(n) in scored - of_kind for n in table["unit_id"]], dtype=bool)


def _is_against(table: pd.DataFrame, task: Task) -> NDArray[np.bool_]:
    """Of which rows (N,) a positive class is predicted and the threshold decides otherwise."""
    if not task.positive_index or task.kind == "multilabel":
        return np.zeros(len(table), dtype=bool)
    positive = [task.classes[i] for i in task.positive_index]
    negative = is_negative(table["decision"].to_numpy(dtype=object), task)
    return np.asarray(table["predicted"].isin(positive).to_numpy() & negative)


def _marked(
    table: pd.DataFrame,
    predictions: pd.DataFrame,
    key: NDArray[np.object_],
    unit: Unit | None,
    units: Sequence[Unit],
    task: Task,
) -> pd.DataFrame:
    """One table with its marks."""
    strange, status = _flags(predictions), text_of(predictions["status"])
    ok = status == "ok"
    silent = says_nothing(predictions)
    poor = (_words(predictions, "quality") != "") & ok & ~silent
    caution = _words(predictions, "caution")
    against = _is_against(table, task)
    said = doubt_of_images(predictions)
    rows: dict[str, list[int]] = {}
    for place, name in enumerate(key):
        rows.setdefault(str(name), []).append(place)
    lines = []
    for place, name in enumerate(table["unit_id"]):
        at = np.array(rows.get(str(name), []), dtype=int)
        gaps = missing_parts(predictions, at, unit, units)
        missing, parts = list(gaps), list(gaps.values())
        if len(at) == 1:
            parts += [str(said[at[0]])] if said[at[0]] else []
        else:
            marks = (strange & ok, poor, silent, ~ok)
            words = (UNFAMILIAR, "of poor quality", "not gradable or of another kind", "not read")
            parts += [
                f"{int(mark[at].sum()):,} of {len(at):,} images {word}"
                for mark, word in zip(marks, words, strict=True)
                if mark[at].any()
            ]
            parts += _cautions(caution[at])
        if against[place]:
            parts.append(f"{table['predicted'].iloc[place]} predicted, below the threshold")
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
        missing=np.array(columns[4], dtype=object),
        doubt=np.array(columns[5], dtype=object),
    )


def _cautions(words: NDArray[np.str_]) -> list[str]:
    """What is said of several images (N,) besides their quality: each sentence once."""
    told = dict.fromkeys(str(word) for word in words if word)
    n = int((words != "").sum())
    more = [f"{len(told) - MOST_TOLD:,} more"] if len(told) > MOST_TOLD else []
    said = ", ".join([*list(told)[:MOST_TOLD], *more])
    return [f"{n:,} of {len(words):,} images: {said}"] if told else []


def _has_copy(
    table: pd.DataFrame, predictions: pd.DataFrame, key: NDArray[np.object_]
) -> NDArray[np.bool_]:
    """Which units (N,) have an image that stands for something else as well."""
    copied = set(map(str, key[_words(predictions, "same_as") != ""]))
    return np.array([str(name) in copied for name in table["unit_id"]], dtype=bool)


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
