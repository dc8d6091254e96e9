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
accepted; what is missing, failed, one picture under two names or (accepted, but so far from the
training) perhaps of another kind is never negative. Nor is a unit that heeds each of its images
(``Unit.heeds_each``) and has one that is positive on its own.

A predicted class is changed by no doubt; only the decision is. What says nothing of its unit
has none: its scores, in predictions.csv, are numbers that the picture does not bear out. This is
the one place where a decision is made; tables, work lists, letters and DICOM objects show what
is decided here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.evaluation.doubt_marks import (
    UNFAMILIAR,
    doubts_within,
    is_negative,
    is_of_other_kind,
    is_unfamiliar,
    n_positive_alone,
    owners_of,
    says_nothing,
    with_marks,
    words_of,
)
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
    "decides_nothing",
    "is_left_open",
    "prevailing_doubt",
    "rule_of_decision",
]

OPEN, REFERRED, WITHHELD = "open", "referred", "withheld"
# From this share of the scored inputs on, the batch as a whole is not what the model knows.
MOST = 0.5


@dataclass(frozen=True, kw_only=True)
class DoubtRule:
    """What is done about inputs and units in doubt.

    Attributes:
        abstain: they are referred instead of decided.
        accept: decisions, letters and prescriptions are written for them as for any other;
            what is missing or failed, one picture under two names, far from all training
            images, or of which one image is positive on its own, is not negative all the same,
            and what is of another kind or not gradable is not decided.
    """

    abstain: bool = False
    accept: bool = False


def prevailing_doubt(
    predictions: pd.DataFrame, *, is_decided: bool = True, accepted: bool = False
) -> str:
    """Why nothing should be decided about these inputs; empty where most are familiar.

    Counted are inputs with a score that are unlike the training, or whose quality says that
    they are not of the kind at all (it begins with ``not``, see ``App.prepare``). Where it was
    decided about them already, the sentence says what was done.

    Args:
        predictions: the inputs, with or without decisions.
        is_decided: whether a ``decision`` in them is what was done (``decide_all``), and not
            yet what the scores alone say.
        accepted: whether decisions were asked for in spite of doubt.
    """
    ok = predictions[text_of(predictions["status"]) == "ok"]
    if not len(ok):
        return ""
    strange = is_unfamiliar(ok)
    other = is_of_other_kind(ok) & ~strange
    n = int((strange | other).sum())
    if n <= MOST * len(ok):
        return ""
    kinds = [f"{int(strange.sum()):,} {UNFAMILIAR}"] if strange.any() else []
    kinds += [f"{int(other.sum()):,} not of the kind"] if other.any() else []
    message = (
        f"{n:,} of {len(ok):,} inputs with a score are no pictures of the kind this model knows "
        f"({', '.join(kinds)})"
    )
    undecided = {OPEN, REFERRED, WITHHELD}
    is_done = is_decided and "decision" in ok
    if not is_done or set(text_of(ok["decision"]).tolist()) <= undecided:
        return f"No decisions are given: {message}."
    if accepted:
        return f"Decisions were given although {message}, as asked by --accept-doubtful."
    return f"Most of this is in doubt: {message}."


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
        predictions: the inputs; ``caution`` (words), ``is_far`` (accepted although it may be of
            another kind, see ``with_far_ones``) and ``same_as`` (the input that has the same
            content under another name, see ``core.evaluation.copies``) may stand in it.
        task: with its class order.
        units: the steps; a unit's ``parts`` say what a whole one has.
        threshold: of the operating point in use, or None.
        rule: what is done about doubt.
        withheld: see ``prevailing_doubt``; empty lets decisions stand.

    Returns:
        the predictions with ``decision``, ``doubt`` and no ``predicted`` class of what says
        nothing; and unit name -> decisions, ``image`` among them, with ``n_unfamiliar``,
        ``n_poor``, ``n_ungradable`` (scored, but silent), ``n_failed``, ``n_positive_alone`` (see
        ``doubt_marks``), ``missing`` and ``doubt``. Units have the scores of the images that say
        something (``says_nothing``).
        The decision gives way to ``open``, ``referred`` or ``withheld`` as the module says.
    """
    silent = says_nothing(predictions)
    counted = predictions.assign(
        status=np.where(silent, "failed", text_of(predictions["status"]).astype(object))
    )
    tables = decisions_of(counted, task=task, units=units, threshold=threshold)
    if "predicted" in predictions:
        named = text_of(predictions["predicted"]).astype(object)
        predictions = predictions.assign(predicted=np.where(silent, "", named))
    found = {}
    for name, table in tables.items():
        unit = next((u for u in units if u.name == name), None)
        key = owners_of(predictions, unit)
        alone = n_positive_alone(table, tables["image"], predictions, key, task)
        heeded = alone > 0 if unit is not None and unit.heeds_each else np.zeros(len(alone), bool)
        inner = doubts_within(tables, predictions, unit, units, task)
        marked = with_marks(table, predictions, key, unit, units, task, alone, inner)
        decision = marked["decision"].to_numpy(dtype=object).copy()
        doubtful = (marked["doubt"] != "").to_numpy()
        silenced = (marked["n_ungradable"] > 0).to_numpy()
        # Of a picture on its own, a score is a number that the picture does not bear out.
        mute = silenced if unit is None else silenced & (marked["n_images"] == 0).to_numpy()
        if task.positive_index and task.kind != "multilabel":
            lacks = ((marked["n_failed"] > 0) | (marked["missing"] != "")).to_numpy()
            never = _is_never_negative(predictions)
            lacks = lacks | silenced | heeded | table["unit_id"].isin(key[never]).to_numpy()
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
    decisions = image["decision"].to_numpy(dtype=object)
    decisions[text_of(predictions["status"]) == "skipped"] = ""
    decided = dict(zip(text_of(predictions["image_id"]).tolist(), decisions, strict=True))
    found["image"] = found["image"].assign(decision=found["image"]["unit_id"].map(decided))
    return predictions.assign(decision=decisions, doubt=image["doubt"].to_numpy()), found


def decides_nothing(
    predictions: pd.DataFrame, tables: Mapping[str, pd.DataFrame], task: Task
) -> bool:
    """Whether no decision stands about any scored input or any unit: all are open or withheld."""
    undecided = {WITHHELD} if task.kind == "multilabel" else {OPEN, WITHHELD, ""}
    ok = predictions[text_of(predictions["status"]) == "ok"]
    return all(
        set(text_of(table["decision"]).tolist()) <= undecided
        for table in (ok, *(table for name, table in tables.items() if name != "image"))
    )


def rule_of_decision(run: Mapping[str, Any], task: Task) -> str:
    """By which rule a run decides, in words, for whoever reads a decision.

    >>> from core.app import Task
    >>> task = Task(name="t", kind="binary", classes=("no", "yes"), positive=("yes",))
    >>> rule_of_decision({"operating_point": {"threshold": 0.25}}, task)
    'at the threshold in use, 0.25'
    >>> rule_of_decision({}, task)
    'no threshold in use: class of the highest score'
    """
    point = run.get("operating_point")
    if isinstance(point, dict) and point.get("threshold") is not None:
        return f"at the threshold in use, {float(point['threshold']):.6g}"
    if task.kind == "multilabel":
        return "no threshold in use: labels with a score of one half or more"
    # See ``core.statistics.scores.decide``.
    best = "median grade" if task.kind == "ordinal" else "class of the highest score"
    return f"no threshold in use: {'grade between the cuts' if task.cuts else best}"


def _all_of_other_kind(
    table: pd.DataFrame, predictions: pd.DataFrame, key: NDArray[np.object_]
) -> NDArray[np.bool_]:
    """Which units (N,) have scores, none of them of a picture of the kind."""
    ok = text_of(predictions["status"]) == "ok"
    kind = is_of_other_kind(predictions)
    scored, of_kind = set(map(str, key[ok])), set(map(str, key[ok & ~kind]))
    return np.array([str(n) in scored - of_kind for n in table["unit_id"]], dtype=bool)


def _is_never_negative(predictions: pd.DataFrame) -> NDArray[np.bool_]:
    """Which inputs (N,) stand for something else as well, or may be of another kind."""
    copied = words_of(predictions, "same_as") != ""
    far = predictions["is_far"].to_numpy(dtype=bool) if "is_far" in predictions else copied
    return np.asarray(copied | far, dtype=bool)


def is_left_open(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Which rows (N,) of a table of decisions are in doubt or not decided: to be looked at.

    They are a section of their own at the head of every work list.
    """
    decision = text_of(table["decision"])
    return np.asarray((words_of(table, "doubt") != "") | np.isin(decision, [OPEN, WITHHELD, ""]))
