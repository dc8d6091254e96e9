"""The work list: patients in order of urgency, and the tables of eyes and photographs behind it.

Who is in doubt or not decided comes first, in a section of their own: a photograph failed, is not
gradable or unlike the training, an eye was not photographed or is not named, the threshold decides
against a referable grade, or decisions are withheld as a whole. ``grade``, ``decision`` and
``doubt`` are those of every other table. ``referred`` is yes for whoever cannot be judged (no
photograph shows the eye, whatever is wrong with it), whose decision is ``open`` or ``withheld`` and
who has to be seen all the same, and for whoever lies above the threshold; ``withheld`` and ``open``
where the decision is; empty for a file that is no picture; else no. ``urgency`` and the letters
(``letters``) follow it, and ``why`` says which.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from apps.retinopathy.screening import URGENCY, Referrals, referrals
from core.base.outputs import csv_text, write_text
from core.evaluation.doubt import is_left_open, rule_of_decision

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from core.app import ExportContext

__all__ = ["decided", "threshold_of", "write_worklist"]

_SCORES = ["grade", "decision", "decided", "score_referable", "score_vision_threatening"]
_TOLD = ["referred", "why", "doubt"]
# Of every row, for a list is read far from the documentation.
HOLDS_FOR = (
    "cameras and clinics of the training; a diseased eye of another camera may be called negative "
    "without a mark"
)
_PATIENT = ["rank", "section", "urgency", "patient", *_SCORES, *_TOLD]
_LAST = ["missing", "images", "holds_for"]
_EYE = ["patient", "eye", *_SCORES, *_TOLD, "n_images", "n_ungradable", "n_unfamiliar", "images"]
_IMAGE = ["image_id", "patient", "eye", *_SCORES, *_TOLD]


def write_worklist(context: ExportContext) -> Sequence[Path]:
    """Write ``worklist.csv`` (patients, most urgent first), ``eyes.csv`` and ``images.csv``.

    Patients in doubt come before the others; each section is ordered by urgency
    (``screening.URGENCY``), then by the score of vision-threatening and of referable
    retinopathy, then those with an ungradable eye.
    """
    found = decided(context)
    patients = found.patients.copy()
    patients["section"] = np.where(is_left_open(patients), "in doubt", "by urgency")
    patients = patients.sort_values("section", key=lambda s: s != "in doubt", kind="stable")
    # In its own section: who is decided about begins with 1.
    patients["rank"] = patients.groupby("section").cumcount() + 1
    patients["urgency"] = [URGENCY[place] for place in patients["urgency"]]
    written = []
    for name, table, columns in (
        ("worklist.csv", patients, [*_PATIENT, *_LAST]),
        ("eyes.csv", found.eyes, _EYE),
        ("images.csv", found.images, _IMAGE),
    ):
        path = context.out / name
        write_text(path, csv_text(_shown(table, columns, context)))
        written.append(path)
    return written


def decided(context: ExportContext) -> Referrals:
    """The referrals of a prediction, at the operating point the run has in use."""
    return referrals(
        context.predictions,
        task=context.task,
        threshold=threshold_of(context.run),
        tables=context.decisions,
    )


def threshold_of(run: Mapping[str, Any]) -> float | None:
    """The threshold of the operating point in use; None if there is none."""
    active = run.get("operating_point")
    for point in run.get("operating_points") or []:
        if point.get("active") or (active is not None and point.get("name") == active):
            return float(point["threshold"])
    if isinstance(active, dict) and active.get("threshold") is not None:
        return float(active["threshold"])
    return None


def _shown(table: pd.DataFrame, columns: Sequence[str], context: ExportContext) -> pd.DataFrame:
    """The columns of a table for people: words for what is decided, no column without content."""
    rule = rule_of_decision(context.run, context.task)
    table = table.assign(decided=rule, referred=table["listed"], holds_for=HOLDS_FOR)
    shown = table[[name for name in columns if name in table.columns]]
    return shown.dropna(axis="columns", how="all")
