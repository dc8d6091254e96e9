"""The work list: exams (or breasts, or images) from the most to the least suspicious.

What is in doubt or not decided comes first, in a section of its own: an image failed, is of poor
quality or unlike the training, a breast or view is missing, or decisions are withheld as a whole.
In each section exams are ordered by score. ``decision`` is that of every other table. ``triage``
follows from it: ``priority`` where it is positive and most images can be relied on, ``in doubt``
where it is positive and most cannot, or where none is a mammogram, whatever is accepted; ``open``
and ``withheld`` where it is that, else ``routine``. An image of no known exam is never
``routine``; a file that was passed over because it is no mammogram has no triage.
``positive_alone`` says of a negative exam how many of its images are positive on their own: the
exam has the mean of its views, so that this is a mark and no doubt. Nothing is ruled out: that
needs a threshold of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from apps.mammography.overlay import LEVELS
from core.app import Unit
from core.base.outputs import csv_text, write_text
from core.base.tables import POSITIVE
from core.data.dicom import is_dicom, open_dicom, quiet
from core.errors import ImageError
from core.evaluation.doubt import OPEN, REFERRED, WITHHELD, is_left_open, rule_of_decision
from core.evaluation.doubt_marks import (
    is_far,
    is_of_other_kind,
    owners_of,
    positive_alone,
    words_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from core.app import ExportContext

__all__ = ["highest_level", "write_worklist"]

# How a reader finds the exam in the archive; only where identifiers are kept.
# Of images of which no exam is known.
ALONE = "one image alone: no exam known"
# Reasons to pass a file over because it is none, see ``headers``.
NO_MAMMOGRAM = ("is not a mammogram", "is not a DICOM file")
NOT_SAID = "not known: not every image says side and view"
IDENTITY = {"accession": "AccessionNumber", "study_date": "StudyDate", "patient": "PatientID"}


def write_worklist(context: ExportContext) -> Sequence[Path]:
    """Write ``worklist.csv``; nothing for a task without positive classes.

    ``score`` is the summed score of the positive classes, ``percentile`` its place among this
    batch, ``predicted`` the class, ``decision`` what the threshold in use decides.
    """
    import pandas as pd  # noqa: PLC0415  (the app's description must load without it)

    positive = [context.task.classes[i] for i in context.task.positive_index]
    level, rows = highest_level(context)
    columns = [f"score_{name}" for name in positive if f"score_{name}" in rows]
    if not columns:
        return []
    identifier = "unit_id" if "unit_id" in rows else "image_id"
    rows = rows.copy()
    rows["score"] = rows[columns].sum(axis=1, min_count=len(columns))
    if "predicted" in rows:
        # Of what says nothing no class is predicted, and the network's number is no score.
        rows["score"] = rows["score"].where(rows["predicted"].fillna("") != "")
    for name in ("doubt", "predicted", "decision"):
        rows[name] = rows[name].fillna("").astype(str) if name in rows else ""
    rows["is_other"] = _is_no_mammogram(context, rows, level, identifier)
    # Of a run that knows no exams; one that does says so of each image in ``doubt``.
    rows["is_alone"] = level == "image_id"
    rows["section"] = np.where(is_left_open(rows) | rows["score"].isna(), "in doubt", "by score")
    rows["late"] = rows["section"] != "in doubt"
    rows = rows.sort_values(
        ["late", "score", identifier], ascending=[True, False, True], na_position="first"
    )
    # Share of the batch with a lower score; ties share the middle.
    ranks = rows["score"].rank(method="average")
    known = int(rows["score"].notna().sum())
    frame: dict[str, Any] = {
        # In its own section: who is decided about begins with 1.
        "rank": rows.groupby("section").cumcount().to_numpy() + 1,
        "section": rows["section"].to_numpy(),
        level: rows[identifier].astype(str).to_numpy(),
        **_identity(context, rows, level, identifier),
        "triage": _triage(rows, context, positive),
        "predicted": rows["predicted"].to_numpy(),
        "decision": rows["decision"].to_numpy(),
        "decided": rule_of_decision(context.run, context.task),
        "score": rows["score"].round(6).to_numpy(),
        "percentile": (100 * (ranks - 0.5) / max(known, 1)).round(1).to_numpy(),
        "doubt": [
            "; ".join(filter(None, (doubt, ALONE if is_alone else "")))
            for doubt, is_alone in zip(rows["doubt"], rows["is_alone"], strict=True)
        ],
        "missing_views": _missing_views(context, rows, level, identifier),
    }
    if "n_positive_alone" in rows:
        counts = zip(rows["n_positive_alone"], rows["n_images"], strict=True)
        frame["positive_alone"] = [positive_alone(int(n), int(of)) for n, of in counts]
    for name in ("n_images", "n_failed", "n_unfamiliar", "n_poor", "n_ungradable"):
        if name in rows:
            frame[name] = rows[name].to_numpy()
    path = context.out / "worklist.csv"
    write_text(path, csv_text(pd.DataFrame(frame)))
    return [path]


def highest_level(context: ExportContext) -> tuple[str, pd.DataFrame]:
    """The highest level there are decisions for."""
    for level in ("exam", "breast"):
        if level in context.decisions:
            return level, context.decisions[level]
    return "image_id", context.predictions


def _unit(level: str) -> Unit | None:
    """The unit of a level; None for images."""
    return Unit(name=level, columns=LEVELS[level]) if level in LEVELS else None


def _triage(rows: pd.DataFrame, context: ExportContext, positive: Sequence[str]) -> list[str]:
    """What is to be done about each row."""
    found = []
    for row in rows.to_dict("records"):
        decision = row["decision"]
        is_relied_on = context.accept_doubtful or not _is_mostly_doubtful(row)
        if decision in {OPEN, WITHHELD}:
            found.append(decision)
        elif decision == REFERRED:
            found.append("priority")
        elif decision in {*positive, POSITIVE}:
            # Nobody is called for what is no mammogram, whatever is accepted.
            found.append("priority" if is_relied_on and not row["is_other"] else "in doubt")
        elif not decision and row["is_other"]:
            found.append("")
        else:
            found.append("routine" if decision and not row["is_alone"] else OPEN)
    return found


def _is_no_mammogram(
    context: ExportContext, rows: pd.DataFrame, level: str, identifier: str
) -> NDArray[np.bool_]:
    """Of which rows (N,) every image is of another kind, whatever doubt is accepted."""
    images = context.predictions
    limit = float(context.run.get("unfamiliar_above") or np.inf)
    other = is_of_other_kind(images) | is_far(images, limit)
    other |= np.array([str(why).startswith(NO_MAMMOGRAM) for why in words_of(images, "reason")])
    owners = owners_of(images, _unit(level))
    kinds: dict[str, bool] = {}
    for name, is_other in zip(owners, other, strict=True):
        kinds[str(name)] = kinds.get(str(name), True) and bool(is_other)
    return np.array([kinds.get(str(name), False) for name in rows[identifier]], dtype=bool)


def _is_mostly_doubtful(row: Mapping[Any, Any]) -> bool:
    """Whether most images behind a row are unlike the training or poor."""
    if "n_unfamiliar" not in row:
        return bool(row["doubt"])
    return bool(2 * max(row["n_unfamiliar"], row["n_poor"]) > row["n_images"])


def _identity(
    context: ExportContext, rows: pd.DataFrame, level: str, identifier: str
) -> Mapping[str, list[str]]:
    """Accession number, date and patient of each row's first file, where identifiers are kept."""
    if not context.options.get("keep-identifiers"):
        return {}
    manifest = context.manifest
    columns = [] if level == "image_id" else [c for c in LEVELS[level] if c not in manifest]
    names = owners_of(manifest.assign(**dict.fromkeys(columns, "")), _unit(level))
    first = dict(zip(names[::-1], manifest["path"][::-1], strict=True))
    cells = [_header(Path(str(first.get(str(name), "")))) for name in rows[identifier]]
    return {name: [cell.get(name, "") for cell in cells] for name in IDENTITY}


def _header(path: Path) -> dict[str, str]:
    """What identifies the exam of a file; nothing for what is no DICOM file."""
    if not is_dicom(path):
        return {}
    try:
        data = open_dicom(path, tags=list(IDENTITY.values()))
    except ImageError:
        return {}
    with quiet():
        return {name: str(data.get(keyword) or "") for name, keyword in IDENTITY.items()}


def _missing_views(
    context: ExportContext, rows: pd.DataFrame, level: str, identifier: str
) -> list[str]:
    """The views each row's exam lacks, in words where images do not say what they show."""
    images = context.predictions
    if "exam" not in images:
        return [ALONE if level == "image_id" else NOT_SAID] * len(rows)
    known: dict[Any, str] = {}
    # A manifest has no column in which nothing would stand: all exams are whole then.
    if "missing_views" in images:
        by_exam = images[images["status"] == "ok"].drop_duplicates("exam").set_index("exam")
        known = by_exam["missing_views"].fillna("").astype(str).to_dict()
    if level == "image_id":
        exams = images.set_index("image_id")["exam"]
        return [known.get(str(exams.get(name, "")), "") for name in rows[identifier]]
    names = rows["exam"] if "exam" in rows else rows[identifier].astype(str).str.split("/").str[0]
    gaps = words_of(rows, "missing")
    return [
        _joined(known.get(str(name), ""), str(gap)) for name, gap in zip(names, gaps, strict=True)
    ]


def _joined(absent: str, gap: str) -> str:
    """What an exam lacks: views that no file is of, and those that only another picture fills."""
    if "not known" in gap:
        return absent or NOT_SAID
    views = [view for view in absent.split(", ") if view]
    more = [part for part in gap.split("|") if part]
    views += [p for p in more if not any(v == p or v.startswith(f"{p} ") for v in views)]
    return ", ".join(views)
