"""How results become files: tables, ``metrics.json``, the page and its PDF copy.

What was computed is written here and nowhere else, so that a run, an evaluation
of new data and a report on a table from elsewhere look the same on disk.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.app import ReportContext
from core.base.attempt import attempt
from core.base.outputs import seal, write_json
from core.base.progress import log
from core.base.settings import read_plan_rows
from core.evaluation.characteristics import characteristics_of
from core.evaluation.delivered import delivered_rates
from core.evaluation.verdicts import verdicts
from core.report.page import write_report
from core.report.pdf import write_pdf
from core.runs.table_files import read_json, write_table

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from core.app import ReportContext

__all__ = [
    "Look",
    "print_page",
    "write_evaluation",
]

Look = Callable[[str], "NDArray[Any]"]


def write_evaluation(
    out: Path, context: ReportContext, *, beside: Path | None = None
) -> dict[str, Any]:
    """Write metrics, decisions and the page.

    Args:
        out: an existing directory, held by the caller.
        context: what the page is made from, but for audit, log and plan.
        beside: where these lie; None takes ``out``.

    Returns:
        the content of ``metrics.json``: the evaluation with its verdicts.
    """
    app, task, run = context.app, context.task, context.run
    kept = [member.get("kept") for member in run.get("members") or []]
    audit = read_json((beside or out) / "audit.json")
    evaluation = dict(context.evaluation)
    evaluation["verdicts"] = verdicts(
        evaluation, task, audit, is_probe=bool(kept) and all(name == "probe" for name in kept)
    )
    evaluation["delivered"] = delivered_rates(evaluation, context.decisions, task)
    evaluation["characteristics"] = characteristics_of(
        context.manifest,
        task,
        str((evaluation.get("about") or {}).get("group") or "group"),
        names={column for unit in (app.units if app else ()) for column in unit.columns},
        titles=app.characteristics if app else None,
    )
    write_json(out / "metrics.json", evaluation)
    for unit, table in context.decisions.items():
        if unit != "image":
            write_table(out / f"decisions_{unit}", table)
    source = beside or out
    picture, saliency = decorations(context.picture, context.saliency)
    write_report(
        out,
        replace(
            context,
            evaluation=evaluation,
            audit=audit,
            log=_csv(source / "log.csv"),
            plan=read_plan_rows(source / "plan.yaml"),
            picture=picture,
            saliency=saliency,
        ),
    )
    return evaluation


def decorations(picture: Look | None, saliency: Look | None) -> tuple[Look | None, Look | None]:
    """Pictures and maps for a page, which never end a command that has its numbers.

    An image that cannot be drawn (its file is gone meanwhile) is grey, and that is logged.
    """
    if picture is None:
        return None, None

    def seen(image_id: str) -> NDArray[Any]:
        found, reason = attempt(lambda: picture(image_id))
        if found is not None:
            return found
        log.warning(
            "%s: its picture cannot be drawn (%s); it is grey in the report", image_id, reason
        )
        return np.full((64, 64, 3), 128, dtype=np.uint8)

    def heat(image_id: str) -> NDArray[Any]:
        found, _ = attempt(lambda: saliency(image_id)) if saliency else (None, "")
        return np.zeros(seen(image_id).shape[:2], np.float32) if found is None else found

    return seen, heat if saliency else None


def print_page(out: Path, *, pdf: bool) -> None:
    """Print the page to PDF if asked, and declare the directory complete.

    Raises:
        OutputError: there is no engine; the directory is complete without the PDF.
    """
    if not pdf:
        # A copy of an earlier page would contradict this one.
        (out / "report.pdf").unlink(missing_ok=True)
    try:
        if pdf:
            write_pdf(out / "report.html", out / "report.pdf")
    finally:
        seal(out)


def _csv(path: Path) -> pd.DataFrame | None:
    """A table that may be absent or empty."""
    if not path.is_file() or path.stat().st_size < 3:
        return None
    return pd.read_csv(path)
