"""How results become files: tables, ``metrics.json``, the page and its PDF copy.

What was computed is written here and nowhere else, so that a run, an evaluation
of new data and a report on a table from elsewhere look the same on disk.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.app import ReportContext
from core.base import parsing
from core.base.outputs import seal, write_bytes, write_json, write_text
from core.base.progress import log
from core.base.settings import read_plan_rows
from core.base.tables import as_text
from core.data.attempt import attempt
from core.data.volumes import LEAST_SLICES, contact_sheet
from core.errors import RunError
from core.evaluation.characteristics import characteristics_of
from core.evaluation.delivered import delivered_rates
from core.evaluation.verdicts import verdicts
from core.report.page import write_report
from core.report.pdf import write_pdf
from core.runs.predictions import csv_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from core.app import App, Task

__all__ = [
    "Look",
    "print_page",
    "read_json",
    "read_table",
    "visible",
    "write_evaluation",
    "write_table",
]

Look = Callable[[str], "NDArray[Any]"]


def write_table(stem: Path, table: pd.DataFrame) -> None:
    """A table as Parquet, for programs, and as CSV, for people.

    Where no class was decided (a skipped or failed image, a row without any of several
    labels) the name is the empty string in both, never a missing value, which pandas reads
    back as a number.
    """
    named = [name for name in ("predicted", "decision") if name in table]
    table = table.assign(**{name: as_text(table[name]) for name in named})
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    write_bytes(stem.with_suffix(".parquet"), buffer.getvalue())
    write_text(stem.with_suffix(".csv"), csv_text(table))


def read_table(stem: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """A table written by ``write_table``; some of its columns, or all.

    Raises:
        RunError: there is none, or it is damaged.
    """
    if not stem.with_suffix(".parquet").is_file():
        msg = (
            f"{stem.parent}: holds no {stem.name}.parquet; only the files that prediction needs "
            "were copied. Copy the whole run from where it was trained."
        )
        raise RunError(msg)
    try:
        # By its bytes: a folder above it need not be UTF-8, which Arrow asks of a path.
        data = io.BytesIO(stem.with_suffix(".parquet").read_bytes())
        return pd.read_parquet(data, columns=None if columns is None else list(columns))
    # What a damaged file makes the reader raise is not documented, and much.
    except Exception as error:
        msg = (
            f"{stem.with_suffix('.parquet')}: is damaged ({type(error).__name__}). Copy it again "
            "from where it was made."
        )
        raise RunError(msg) from error


def write_evaluation(
    out: Path,
    evaluation: dict[str, Any],
    decisions: Mapping[str, pd.DataFrame],
    predictions: pd.DataFrame,
    *,
    app: App | None,
    task: Task,
    run: Mapping[str, Any],
    manifest: pd.DataFrame,
    picture: Look | None = None,
    saliency: Look | None = None,
    beside: Path | None = None,
) -> None:
    """Write metrics, decisions and the page.

    Args:
        out: an existing directory, held by the caller.
        evaluation: the content of ``metrics.json``.
        decisions: unit name -> decisions table.
        predictions: rows of the split reported on.
        app: gives title, intended use and sections; None for a table from elsewhere.
        task: with its class order.
        run: the content of ``run.json``, or what is known in its place.
        manifest: with splits; empty where there is none.
        picture: image_id -> pixels for a person.
        saliency: image_id -> map.
        beside: where audit, log and plan lie; None takes ``out``.
    """
    kept = [member.get("kept") for member in run.get("members") or []]
    audit = read_json((beside or out) / "audit.json")
    evaluation["verdicts"] = verdicts(
        evaluation, task, audit, is_probe=bool(kept) and all(name == "probe" for name in kept)
    )
    evaluation["delivered"] = delivered_rates(evaluation, decisions, task)
    evaluation["characteristics"] = characteristics_of(
        manifest,
        task,
        str((evaluation.get("about") or {}).get("group") or "group"),
        names={column for unit in (app.units if app else ()) for column in unit.columns},
        titles=app.characteristics if app else None,
    )
    write_json(out / "metrics.json", evaluation)
    for unit, table in decisions.items():
        if unit != "image":
            write_table(out / f"decisions_{unit}", table)
    source = beside or out
    picture, saliency = decorations(picture, saliency)
    write_report(
        out,
        ReportContext(
            app=app,
            task=task,
            evaluation=evaluation,
            predictions=predictions,
            decisions=decisions,
            manifest=manifest,
            run=run,
            audit=audit,
            log=_csv(source / "log.csv"),
            plan=read_plan_rows(source / "plan.yaml"),
            picture=picture,
            saliency=saliency,
        ),
    )


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


def visible(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Prepared pixels as a picture (H, W, 3) uint8 that a person can look at.

    A volume is a sheet of its slices.
    """
    if pixels.shape[2] >= LEAST_SLICES:
        pixels = contact_sheet(pixels)[..., None]
    values = pixels[..., :3] if pixels.shape[2] >= 3 else np.repeat(pixels[..., :1], 3, axis=2)
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    values = values.astype(np.float64)
    low, high = np.percentile(values, [0.5, 99.5])
    return np.asarray(np.clip((values - low) / max(high - low, 1e-9), 0, 1) * 255, dtype=np.uint8)


def read_json(path: Path) -> dict[str, Any]:
    """Content of a file that may be absent.

    Raises:
        RunError: it is there and damaged.
    """
    if not path.is_file():
        return {}
    try:
        return parsing.read_json(path)
    except parsing.ParsingError as error:
        msg = f"{path}: {error}. Copy the directory again from where it was made."
        raise RunError(msg) from error


def _csv(path: Path) -> pd.DataFrame | None:
    """A table that may be absent or empty."""
    if not path.is_file() or path.stat().st_size < 3:
        return None
    return pd.read_csv(path)
