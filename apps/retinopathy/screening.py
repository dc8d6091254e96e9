"""From scores to referrals: what is decided about each photograph, eye and patient, and why.

A photograph that is ungradable, no fundus, or could not be read says nothing of its
eye. An eye is graded from its gradable photographs; an eye without any is
ungradable. A patient has the grade of the worse eye and is referred if that is
referable, or if an eye is ungradable: whoever cannot be judged from photographs has
to be seen. The same rule makes the work list and the screening table.

This module reads no file and draws nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from apps.retinopathy.metrics import GRADES, VISION_THREATENING
from core.app import Unit
from core.base.tables import score_columns
from core.evaluation.units import decisions_of, text_of

if TYPE_CHECKING:
    from core.app import Task

__all__ = ["UNITS", "URGENCY", "Referrals", "is_ungradable", "referrals"]

UNITS = (
    Unit(name="eye", columns=("patient", "eye"), rule="mean"),
    Unit(name="patient", columns=("patient",), rule="max"),
)

# Most urgent first. What each asks of a clinic, and how soon, is for the clinic to say.
URGENCY = (
    "proliferative retinopathy",
    "severe retinopathy",
    "referable retinopathy",
    "not gradable, to be examined",
    "not referred",
)


@dataclass(frozen=True)
class Referrals:
    """What is decided, one table per level.

    All have ``score_referable``, ``score_vision_threatening`` (missing unless the task
    is the five grades), ``grade`` (empty where nothing was gradable),
    ``n_ungradable``, ``referred`` (bool), ``why``, ``label`` and ``group``. Scores are
    calibrated and those of gradable photographs only.

    Attributes:
        images: one row per photograph; ``image_id``, ``patient``, ``eye``.
        eyes: one row per eye; ``eye_id``, ``patient``, ``eye``, ``images``.
        patients: one row per patient, with ``urgency`` (0 is the most urgent) and
            ``images``, most urgent first.
    """

    images: pd.DataFrame
    eyes: pd.DataFrame
    patients: pd.DataFrame


def is_ungradable(predictions: pd.DataFrame) -> pd.Series[bool]:
    """Which photographs say nothing of their eye."""
    quality = pd.Series(text_of(predictions["quality"]), index=predictions.index)
    return (predictions["status"] != "ok") | (quality != "")


def referrals(
    predictions: pd.DataFrame, *, task: Task, threshold: float | None = None
) -> Referrals:
    """Decide on photographs, eyes and patients.

    Args:
        predictions: see ``core.base.tables.PREDICTIONS``. Where it names no patient or eye,
            each photograph stands for itself.
        task: with its class order; its positive classes are the referable ones.
        threshold: on the summed score of the referable classes, or None for the
            most likely grade.
    """
    frame = predictions.reset_index(drop=True).copy()
    ids = text_of(frame["image_id"])
    names = text_of(frame["patient"]) if "patient" in frame else np.full(len(frame), "")
    eyes = text_of(frame["eye"]) if "eye" in frame else np.full(len(frame), "")
    frame["image_id"], frame["patient"] = ids, np.where(names == "", ids, names)
    # An unknown eye is one of its own: two photographs may show both eyes of a patient.
    frame["eye"], frame["eye_key"] = eyes, np.where(eyes == "", ids, eyes)
    bad = is_ungradable(frame)
    counted = frame.assign(status=np.where(bad, "failed", "ok"))
    units = [Unit(name="eye", columns=("patient", "eye_key"), rule="mean"), UNITS[1]]
    tables = decisions_of(counted, task=task, units=units, threshold=threshold)
    frame["eye_id"] = frame["patient"] + "/" + frame["eye_key"]
    frame["ungradable"] = bad
    frame["fault"] = _faults(frame)
    images = _level(tables["image"], frame.set_index("image_id", drop=False), task)
    by_eye = _level(tables["eye"], _gathered(frame, "eye_id"), task)
    by_patient = _level(tables["patient"], _gathered(frame, "patient"), task)
    _refer(images)
    _refer(by_eye)
    _refer(by_patient, eyes=by_eye)
    by_patient["urgency"] = [
        _urgency(grade, referred=referred, grades=task.classes)
        for grade, referred in zip(by_patient["grade"], by_patient["referred"], strict=True)
    ]
    return Referrals(images, by_eye, _by_urgency(by_patient))


def _faults(frame: pd.DataFrame) -> list[str]:
    """Why a photograph is ungradable, in words; empty if it is gradable."""
    quality, reason = text_of(frame["quality"]), text_of(frame["reason"])
    return [
        str(q or r or status) if bad else ""
        for q, r, status, bad in zip(
            quality, reason, frame["status"], frame["ungradable"], strict=True
        )
    ]


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
            "fault": grouped["fault"].agg(
                lambda told: "; ".join(dict.fromkeys(filter(None, told)))
            ),
        }
    )


def _level(decided: pd.DataFrame, known: pd.DataFrame, task: Task) -> pd.DataFrame:
    """One table: names, scores, grade."""
    table = known.loc[decided["unit_id"]].reset_index(drop=True)
    kept = ["image_id", "eye_id", "patient", "eye", "images", "n_images", "n_ungradable", "fault"]
    table = table[[c for c in kept if c in table.columns]].copy()
    if "eye_id" not in table and "n_images" in table:
        table.insert(0, "unit_id", decided["unit_id"].to_numpy())
    scores = decided[score_columns(task.classes)].to_numpy(dtype=np.float64)
    table["grade"] = decided["decision"].to_numpy()
    table["score_referable"] = scores[:, list(task.positive_index)].sum(axis=1)
    table["score_vision_threatening"] = (
        scores[:, list(VISION_THREATENING)].sum(axis=1) if tuple(task.classes) == GRADES else np.nan
    )
    table["is_referable"] = [
        g in {task.classes[i] for i in task.positive_index} for g in table["grade"]
    ]
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
        told = named.agg("; ".join).to_dict()
        fault = np.array([told.get(name, "") for name in table["patient"]], dtype=object)
        ungradable = fault != ""
    why = []
    for i, grade in enumerate(table["grade"]):
        parts = [f"grade {grade}"] if table["is_referable"].iloc[i] else []
        parts += [str(fault[i]) or "ungradable"] if ungradable[i] else []
        why.append("; ".join(parts))
    table["ungradable"] = ungradable
    table["referred"] = table["is_referable"].to_numpy() | ungradable
    table["why"] = why


def _urgency(grade: str, *, referred: bool, grades: tuple[str, ...]) -> int:
    """Place in ``URGENCY``."""
    if not referred:
        return 4
    if tuple(grades) == GRADES and grade in GRADES[2:]:
        return 4 - int(grade)
    return 2 if grade not in {"", *GRADES[:2]} else 3


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
