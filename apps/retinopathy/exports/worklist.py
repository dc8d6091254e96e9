"""The work list: patients in order of urgency, and the tables of eyes and photographs behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.retinopathy.screening import URGENCY, Referrals, referrals
from core.base.outputs import write_text
from core.runs.predictions import csv_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from core.app import ExportContext

__all__ = ["decided", "threshold_of", "write_worklist"]

_SCORES = ["grade", "score_referable", "score_vision_threatening"]
_PATIENT = ["rank", "urgency", "patient", *_SCORES, "referred", "why", "images"]
_EYE = ["patient", "eye", *_SCORES, "referred", "why", "n_images", "n_ungradable", "images"]
_IMAGE = ["image_id", "patient", "eye", *_SCORES, "referred", "why"]


def write_worklist(context: ExportContext) -> Sequence[Path]:
    """Write ``worklist.csv`` (patients, most urgent first), ``eyes.csv`` and ``images.csv``.

    Patients are ordered by urgency (``screening.URGENCY``), then by the score of
    vision-threatening and of referable retinopathy, then those with an ungradable eye.
    """
    found = decided(context)
    patients = found.patients.copy()
    patients["rank"] = range(1, len(patients) + 1)
    patients["urgency"] = [URGENCY[place] for place in patients["urgency"]]
    written = []
    for name, table, columns in (
        ("worklist.csv", patients, _PATIENT),
        ("eyes.csv", found.eyes, _EYE),
        ("images.csv", found.images, _IMAGE),
    ):
        path = context.out / name
        write_text(path, csv_text(_shown(table, columns)))
        written.append(path)
    return written


def decided(context: ExportContext) -> Referrals:
    """The referrals of a prediction, at the operating point the run has in force."""
    return referrals(context.predictions, task=context.task, threshold=threshold_of(context.run))


def threshold_of(run: Mapping[str, Any]) -> float | None:
    """The threshold of the operating point in force; None if there is none."""
    active = run.get("operating_point")
    for point in run.get("operating_points") or []:
        if point.get("active") or (active is not None and point.get("name") == active):
            return float(point["threshold"])
    if isinstance(active, dict) and active.get("threshold") is not None:
        return float(active["threshold"])
    return None


def _shown(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The columns of a table for people: yes and no in words, no column without content."""
    shown = table[[name for name in columns if name in table.columns]].copy()
    shown["referred"] = ["yes" if referred else "no" for referred in shown["referred"]]
    return shown.dropna(axis="columns", how="all")
