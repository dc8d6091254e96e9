"""Screening decisions from scores: refer or not, for each photograph, eye and patient, and why.

A photograph that is ungradable, no fundus, or could not be read says nothing of its
eye. An eye is graded from its gradable photographs; an eye without any is
ungradable. A patient has the grade of the worse eye and is referred if that is
referable, or if an eye is ungradable: whoever cannot be judged from photographs has
to be seen. The same rule makes the work list and the screening table.

The grade is the predicted one, whatever a threshold says. What a prediction decides, and what
speaks against it, is taken from core's tables (``core.evaluation.doubt``) word for word; this
module adds who is to be seen first, and why.

This module reads no file and draws nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from apps.retinopathy.metrics import GRADES, VISION_THREATENING
from core.app import Unit
from core.base.tables import POSITIVE, score_columns
from core.evaluation.doubt import OPEN, REFERRED, WITHHELD
from core.evaluation.doubt_marks import plain_reasons
from core.evaluation.units import decisions_by_unit, text_of

if TYPE_CHECKING:
    from collections.abc import Hashable

    from core.app import Task

__all__ = ["UNITS", "URGENCY", "Referrals", "is_ungradable", "referrals"]

UNITS = (
    # A lesion may show on one photograph of an eye and lie outside of the next.
    Unit(name="eye", columns=("patient", "eye"), rule="mean", heeds_each=True),
    Unit(
        name="patient",
        columns=("patient",),
        rule="max",
        parts_are="eye",
        parts=("left", "right"),
        heeds_each=True,
    ),
)

# Most urgent first. What each asks of a clinic, and how soon, is for the clinic to say.
URGENCY = (
    "proliferative retinopathy",
    "severe retinopathy",
    "referable retinopathy",
    "referred at the threshold",
    "not gradable, to be examined",
    "in doubt, to be looked at",
    "not referred",
)


@dataclass(frozen=True)
class Referrals:
    """What is decided, one table per level.

    All have ``score_referable``, ``score_vision_threatening`` (missing unless the task
    is the five grades), ``grade`` (predicted; empty where nothing was gradable), ``decision``
    and ``doubt`` (core's), ``is_copied`` (a photograph stands for another eye or patient as
    well), ``is_called`` (at or above the threshold, or of a referable grade
    where there is none; in a prediction also a patient of whom an eye is), ``n_ungradable``,
    ``n_failed``, ``n_unfamiliar``, ``n_no_eye``, ``n_alone`` (core's: photographs that are
    positive on their own, of what is not), ``referred`` (bool), ``listed`` (what a work list
    says of it: yes, no, ``open``, ``withheld``, or nothing of what is no picture), ``why``,
    ``label`` and ``group``. Scores are calibrated and those of gradable photographs only.

    Attributes:
        images: one row per photograph; ``image_id``, ``patient``, ``eye``.
        eyes: one row per eye; ``eye_id``, ``patient``, ``eye``, ``images``.
        patients: one row per patient, with ``urgency`` (0 is the most urgent), ``missing``
            (core's: eyes without a photograph) and ``images``, most urgent first.
    """

    images: pd.DataFrame
    eyes: pd.DataFrame
    patients: pd.DataFrame


def is_ungradable(predictions: pd.DataFrame) -> pd.Series[bool]:
    """Which photographs say nothing of their eye."""
    quality = pd.Series(text_of(predictions["quality"]), index=predictions.index)
    return (predictions["status"] != "ok") | (quality != "")


def referrals(
    predictions: pd.DataFrame,
    *,
    task: Task,
    threshold: float | Mapping[str, float] | None = None,
    tables: Mapping[str, pd.DataFrame] | None = None,
) -> Referrals:
    """Decide on photographs, eyes and patients.

    Args:
        predictions: see ``core.base.tables.PREDICTIONS``. Where it names no patient or eye,
            each photograph stands for itself.
        task: with its class order; its positive classes are the referable ones.
        threshold: on the summed score of the referable classes, or None: then a referable
            grade decides. One for each value of the column ``fold``, and under the empty
            name that of all others, where the cases helped to choose it.
        tables: what a prediction decided about images, eyes and patients
            (``core.evaluation.doubt.decide_all``); None decides anew, as a report does of
            labelled cases, and knows no doubt.
    """
    frame = predictions.reset_index(drop=True).copy()
    ids = text_of(frame["image_id"])
    names = text_of(frame["patient"]) if "patient" in frame else np.full(len(frame), "")
    eyes = text_of(frame["eye"]) if "eye" in frame else np.full(len(frame), "")
    frame["image_id"], frame["patient"] = ids, np.where(names == "", ids, names)
    # An unknown eye is one of its own: two photographs may show both eyes of a patient.
    frame["eye"], frame["eye_key"] = eyes, np.where(eyes == "", ids, eyes)
    bad = is_ungradable(frame)
    is_decided = tables is not None
    if tables is None:
        counted = frame.assign(status=np.where(bad, "failed", "ok"))
        units = [Unit(name="eye", columns=("patient", "eye_key"), rule="mean"), UNITS[1]]
        tables, _ = decisions_by_unit(
            counted, task=task, units=units, threshold=threshold, keep=("fold",)
        )
    else:
        tables = _renamed(tables, frame, predictions, task)
    frame["eye_id"] = frame["patient"] + "/" + frame["eye_key"]
    frame["ungradable"] = bad
    frame["fault"] = _faults(frame)
    frame["failed"] = frame["status"] != "ok"
    frame["unfamiliar"] = _unfamiliar(frame)
    frame["no_eye"] = [text.startswith("not ") for text in text_of(frame["quality"])]
    copied = text_of(frame["same_as"]) if "same_as" in frame else np.full(len(frame), "")
    frame["is_copied"] = copied != ""
    alone = frame.assign(
        n_unfamiliar=frame["unfamiliar"].astype(int), n_no_eye=frame["no_eye"].astype(int)
    )
    images = _level(tables["image"], alone.set_index("image_id", drop=False), task, threshold)
    by_eye = _level(tables["eye"], _gathered(frame, "eye_id"), task, threshold)
    by_patient = _level(tables["patient"], _gathered(frame, "patient"), task, threshold)
    if is_decided:
        # The worse eye by its grade need not be the one with the higher referable score.
        called = by_eye["patient"][by_eye["is_called"].to_numpy(dtype=bool)]
        by_patient["is_called"] |= by_patient["patient"].isin(called)
    _refer(images)
    _refer(by_eye)
    _refer(by_patient, eyes=by_eye)
    for key, level in (("eye_id", by_eye), ("patient", by_patient)):
        sentences = _reasons_of_photographs(
            level, images, key, task, has_threshold=threshold is not None
        )
        level["why"] = [
            "; ".join(filter(None, both)) for both in zip(level["why"], sentences, strict=True)
        ]
    by_patient["urgency"] = [
        _urgency(row, grades=task.classes) for row in by_patient.to_dict("records")
    ]
    return Referrals(images, by_eye, _by_urgency(by_patient))


def _faults(frame: pd.DataFrame) -> list[str]:
    """Why a photograph is ungradable, in words; empty if it is gradable."""
    quality, reason = text_of(frame["quality"]), plain_reasons(frame)
    return [
        str(q or r or status) if bad else ""
        for q, r, status, bad in zip(
            quality, reason, frame["status"], frame["ungradable"], strict=True
        )
    ]


def _unfamiliar(frame: pd.DataFrame) -> pd.Series[bool]:
    """Which photographs are unlike those of the training; none where that is not known."""
    if "unfamiliar" not in frame:
        return pd.Series(data=False, index=frame.index)
    return frame["unfamiliar"].fillna(value=False).astype(bool) & (frame["status"] == "ok")


def _renamed(
    tables: Mapping[str, pd.DataFrame], frame: pd.DataFrame, predictions: pd.DataFrame, task: Task
) -> dict[str, pd.DataFrame]:
    """Core's tables under this module's names of eyes; a photograph that says nothing is bare.

    A photograph that names no eye is a unit of its own, which core names by the photograph. Where
    none names an eye or patient, core has no table of them, and each photograph stands for both.
    """
    images = tables["image"].copy()
    silent = set(frame["image_id"][is_ungradable(frame)])
    rows = images["unit_id"].isin(silent)
    images.loc[rows, score_columns(task.classes)] = np.nan
    images.loc[rows, "predicted"] = ""
    own = frame["image_id"].to_numpy()
    whole = frame["patient"] + "/" + frame["eye_key"]
    named = text_of(predictions["patient"]) if "patient" in predictions else np.full(len(own), "")
    is_own = (named == "") | (frame["eye"] == "").to_numpy()
    eyes = tables.get("eye", images).copy()
    eyes["unit_id"] = (
        eyes["unit_id"].astype(str).map(dict(zip(np.where(is_own, own, whole), whole, strict=True)))
    )
    return {"image": images, "eye": eyes, "patient": tables.get("patient", images)}


def _gathered(frame: pd.DataFrame, key: str) -> pd.DataFrame:
    """What is known of each unit besides its scores."""
    grouped = frame.groupby(key, sort=True)
    return pd.DataFrame(
        {
            "patient": grouped["patient"].first(),
            "eye": grouped["eye"].agg(lambda eyes: "|".join(sorted(set(eyes) - {""}))),
            "images": grouped["image_id"].agg("|".join),
            "n_images": grouped.size(),
            "n_ungradable": grouped["ungradable"].sum().astype(int),
            "n_failed": grouped["failed"].sum().astype(int),
            "n_unfamiliar": grouped["unfamiliar"].sum().astype(int),
            "n_no_eye": grouped["no_eye"].sum().astype(int),
            "is_copied": grouped["is_copied"].any(),
            "fault": grouped["fault"].agg(
                lambda message: "; ".join(dict.fromkeys(filter(None, message)))
            ),
        }
    )


def _level(
    decided: pd.DataFrame,
    known: pd.DataFrame,
    task: Task,
    threshold: float | Mapping[str, float] | None,
) -> pd.DataFrame:
    """One table: names, scores, grade, decision."""
    table = known.loc[decided["unit_id"]].reset_index(drop=True)
    kept = ["image_id", "eye_id", "patient", "eye", "images", "n_images", "n_ungradable"]
    kept += ["n_failed", "n_unfamiliar", "n_no_eye", "is_copied", "fault"]
    table = table[[c for c in kept if c in table.columns]].copy()
    if "eye_id" not in table and "n_images" in table:
        table.insert(0, "unit_id", decided["unit_id"].to_numpy())
    scores = decided[score_columns(task.classes)].to_numpy(dtype=np.float64)
    positive = {task.classes[i] for i in task.positive_index}
    table["grade"] = decided["predicted"].to_numpy()
    table["decision"] = decided["decision"].to_numpy()
    table["is_referable"] = [grade in positive for grade in table["grade"]]
    table["score_referable"] = scores[:, list(task.positive_index)].sum(axis=1)
    table["score_vision_threatening"] = (
        scores[:, list(VISION_THREATENING)].sum(axis=1) if tuple(task.classes) == GRADES else np.nan
    )
    if threshold is None:
        table["is_called"] = table["is_referable"]
    elif isinstance(threshold, Mapping):
        # Several thresholds are those of a report, which knows no doubt.
        table["is_called"] = decided["decision"].isin([*positive, POSITIVE]).to_numpy()
    else:
        table["is_called"] = table["score_referable"].round(12).ge(threshold).to_numpy()
    for name in ("doubt", "missing"):
        table[name] = decided[name].to_numpy() if name in decided else ""
    alone = decided.get("n_positive_alone", 0)
    table["n_alone"] = np.where(table["is_called"], 0, alone)
    table["label"], table["group"] = decided["label"].to_numpy(), decided["group"].to_numpy()
    return table


def _refer(table: pd.DataFrame, eyes: pd.DataFrame | None = None) -> None:
    """Add ``referred`` and ``why``."""
    ungradable = (table["grade"] == "").to_numpy()
    fault = table["fault"].to_numpy()
    if eyes is not None:
        # A patient with one eye graded and the other not is referred for the other.
        lost = eyes[eyes["grade"] == ""]
        named = (lost["eye"].where(lost["eye"] != "", "one") + " eye: " + lost["fault"]).groupby(
            lost["patient"]
        )
        faults = named.agg("; ".join).to_dict()
        fault = np.array([faults.get(name, "") for name in table["patient"]], dtype=object)
        ungradable = fault != ""
    why = []
    for i, grade in enumerate(table["grade"]):
        is_called, is_referable = table["is_called"].iloc[i], table["is_referable"].iloc[i]
        parts = [f"grade {grade}"] if is_referable else []
        if grade and is_called != is_referable:
            parts = [f"grade {grade} predicted, {'above' if is_called else 'below'} the threshold"]
        parts += [str(fault[i]) or "ungradable"] if ungradable[i] else []
        why.append("; ".join(parts))
    table["ungradable"] = ungradable
    table["referred"] = table["is_called"].to_numpy() | ungradable
    table["listed"] = [_listed(row) for row in table.to_dict("records")]
    table["why"] = why


def _listed(row: Mapping[Hashable, Any]) -> str:
    """What a work list says of a row: yes, no, ``open``, ``withheld``, or nothing."""
    what = row["decision"]
    if what == "":
        return ""
    if row["ungradable"]:
        # Less evidence must never be less referral, whatever else is withheld.
        return "yes"
    if what == WITHHELD:
        return WITHHELD
    if row["referred"] or what == REFERRED:
        return "yes"
    return OPEN if what == OPEN else "no"


def _reasons_of_photographs(
    level: pd.DataFrame, images: pd.DataFrame, key: str, task: Task, *, has_threshold: bool
) -> list[str]:
    """Which photographs of each unit (U) are worse than the whole, in words.

    Named is the photograph of the highest grade, where that is above the unit's, and the one of
    the highest score, where it is called and the unit is not.
    """
    place = {grade: i for i, grade in enumerate(task.classes)}
    known = images[images["grade"] != ""]
    known = known.assign(place=known["grade"].map(place), is_called=known["is_called"].astype(bool))
    groups = {str(name): rows for name, rows in known.groupby(key)}
    sentences = []
    for row in level.to_dict("records"):
        found = groups.get(str(row["unit_id"]))
        if found is None or len(found) < 2:
            sentences.append("")
            continue
        worst = found.sort_values(["place", "score_referable"]).iloc[-1]
        named = [worst] if worst["place"] > place.get(row["grade"], -1) else []
        alone = found[found["is_called"]] if not row["is_called"] else found.iloc[:0]
        if len(alone) and not (named and worst["is_called"]):
            named.append(alone.sort_values("score_referable").iloc[-1])
        messages = [
            f"photograph {one['image_id']}: grade {one['grade']} predicted"
            + (f", {'above' if one['is_called'] else 'below'} the threshold" * has_threshold)
            for one in named
            if one["is_called"] or one["is_referable"]
        ]
        sentences.append("; ".join(messages))
    return sentences


def _urgency(row: dict[Hashable, Any], *, grades: tuple[str, ...]) -> int:
    """Place in ``URGENCY`` of a patient."""
    if row["listed"] == "no":
        return URGENCY.index("not referred")
    if row["listed"] != "yes" or not row["referred"]:
        # What is missing, unlike anything known or withheld is not negative.
        return URGENCY.index("in doubt, to be looked at")
    if row["is_called"] and row["is_referable"]:
        return 4 - int(row["grade"]) if tuple(grades) == GRADES else 2
    return URGENCY.index(
        "referred at the threshold" if row["is_called"] else "not gradable, to be examined"
    )


def _by_urgency(patients: pd.DataFrame) -> pd.DataFrame:
    """Most urgent first: by grade, then by score, then those with an ungradable eye."""
    keys = patients.assign(
        threat=-patients["score_vision_threatening"].fillna(0).round(12),
        refer=-patients["score_referable"].fillna(0).round(12),
        clear=~patients["ungradable"],
    )
    order = keys.sort_values(
        ["urgency", "threat", "refer", "clear", "patient"], kind="stable"
    ).index
    return patients.loc[order].reset_index(drop=True)
