"""``resight predict``: files, folders, globs, lists in; one row per input out.

A killed job goes on where it stopped and ends with the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pandas as pd

from core.app import ExportContext, Manifest, Source, Unit
from core.base.options import resolve_options
from core.base.outputs import claim, is_complete, seal, write_json
from core.cards.licence_terms import summary_of_terms
from core.errors import ManifestError, RunError
from core.evaluation.units import decisions_of
from core.prediction.journal import JOURNAL, stream_through
from core.prediction.scorer import Scorer, absolute
from core.runs.predictions import final_split
from core.runs.results import read_table, write_table
from core.runs.run import Run, load_run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["predict"]

NOT_A_DEVICE = (
    "For research. Not a medical device; no decision about a person may rest on it alone."
)


def predict(
    run_path: Path,
    inputs: Sequence[Path],
    out: Path,
    *,
    allow_outside: bool = False,
    options: Mapping[str, Any] | None = None,
    device: str = "auto",
    workers: int | None = None,
) -> dict[str, Any]:
    """Score new images.

    Args:
        run_path: a complete run.
        inputs: files, folders, tables, or globs already expanded.
        out: directory of the outputs; resumed if a job was killed there.
        allow_outside: whether a table may name files outside of its folder.
        options: the app's own; those of the run hold where none is given.
        device: Lightning's accelerator name.
        workers: threads that decode; default one per core.

    Returns:
        the content of ``summary.json`` and ``out``.

    Raises:
        ResightError: the run or the inputs must change.
    """
    run = load_run(run_path)
    own = resolve_options(run.app, "predict", options or {}, stored=run.options)
    found = run.app.index(
        Source(
            paths=tuple(inputs),
            labelled=False,
            task=run.task,
            allow_outside=allow_outside,
            options=own,
            trained=run.content.get("facts", {}),
        )
    )
    table = found.table
    if not len(table):
        msg = (
            f"{', '.join(str(p) for p in inputs[:3])}: holds no input. Pass images, folders or "
            f"tables."
        )
        raise ManifestError(msg)
    with claim(out):
        job = {
            "model_id": run.model_id,
            "threshold": run.threshold,
            "inputs": hashlib.sha256(
                "\n".join(sorted(table["image_id"])).encode("utf-8", "surrogateescape")
            ).hexdigest(),
            "options": {k: str(v) for k, v in sorted(own.items())},
        }
        _same_job(out, job)
        if is_complete(out):
            return {
                **json.loads((out / "summary.json").read_text(encoding="utf-8")),
                "out": str(out),
            }
        write_json(out / "job.json", job)
        rows = absolute(found)
        scorer = Scorer(run, options=own, device=device, workers=workers)
        order = sorted(range(len(rows)), key=lambda i: rows[i]["image_id"])
        ordered = [rows[i] for i in order]
        predictions = stream_through(out / JOURNAL, ordered, scorer, extent=found.extent)
        predictions["path"] = [row["shown"] for row in ordered]
        decisions = decisions_of(
            predictions,
            task=run.task,
            units=[
                Unit(name=u["name"], columns=tuple(u["columns"]), rule=u["rule"])
                for u in run.content["units"]
            ],
            threshold=run.threshold,
        )
        write_table(out / "predictions", predictions)
        for unit, level in decisions.items():
            if unit != "image":
                write_table(out / f"decisions_{unit}", level)
        files = _export(out, run, scorer, predictions, decisions, ordered, own)
        summary = _summary(run, predictions, found, files)
        write_json(out / "summary.json", summary)
        (out / JOURNAL).unlink(missing_ok=True)
        seal(out)
    return {**summary, "out": str(out)}


def _export(
    out: Path,
    run: Run,
    scorer: Scorer,
    predictions: pd.DataFrame,
    decisions: Mapping[str, pd.DataFrame],
    rows: Sequence[dict[str, Any]],
    options: Mapping[str, Any],
) -> list[str]:
    """Write what the app exports beside the tables; returns the names of the files."""
    by_id = {row["image_id"]: row for row in rows}
    context = ExportContext(
        out=out,
        predictions=predictions,
        decisions=decisions,
        manifest=pd.DataFrame(list(rows)).drop(columns=["shown"]),
        task=run.task,
        run=run.content,
        options=options,
        read=lambda image_id: run.app.read(by_id[image_id]),
        judged=_judged(run),
        saliency=lambda image_id: scorer.saliency(by_id[image_id], in_source=True),
    )
    files: list[str] = []
    for export in run.app.exports:
        if export.option and not options.get(export.option):
            continue
        for path in export.write(context):
            if not path.resolve().is_relative_to(out.resolve()):
                msg = f"the export {export.name!r} of {run.app.name} wrote {path}, outside of {out}"
                raise RuntimeError(msg)
            files.append(path.relative_to(out).as_posix())
    return sorted(files)


def _judged(run: Run) -> pd.DataFrame | None:
    """The run's own predictions of what was held out; None where they are not beside it."""
    if not (run.path / "predictions.parquet").is_file():
        return None
    table = read_table(run.path / "predictions")
    return table[table["split"].fillna("") == final_split(table)].reset_index(drop=True)


def _summary(
    run: Run, predictions: pd.DataFrame, found: Manifest, files: Sequence[str]
) -> dict[str, Any]:
    """What became of the inputs, in numbers and words."""
    status = predictions["status"].value_counts()
    reasons = predictions.loc[predictions["status"] != "ok", "reason"].value_counts()
    ok = predictions[predictions["status"] == "ok"]
    unfamiliar = int(ok["unfamiliar"].sum())
    notes = list(found.notes)
    if len(ok) and unfamiliar > 0.05 * len(ok):
        notes.append(
            f"{unfamiliar} of {len(ok):,} images look unlike those the model was trained on "
            "(another camera, another crop, another kind of picture?). Look at them before you "
            "use the scores."
        )
    return {
        "schema": 1,
        "intended_use": run.content["intended_use"],
        "not_a_medical_device": NOT_A_DEVICE,
        "model_id": run.model_id,
        "app": run.app.name,
        "task": run.content["task"]["name"],
        "cards": run.content.get("cards", []),
        "terms": summary_of_terms(run.content),
        "preparation": run.members[0].preparation.hash,
        "temperature": run.temperature,
        "operating_point": run.content.get("operating_point"),
        "n_inputs": len(predictions),
        "n_ok": int(status.get("ok", 0)),
        "n_failed": int(status.get("failed", 0)),
        "n_skipped": int(status.get("skipped", 0)),
        "n_unfamiliar": unfamiliar,
        "n_quality_flagged": int((ok["quality"].fillna("") != "").sum()),
        "reasons": {str(k): int(v) for k, v in reasons.items()},
        "decisions": {
            str(k): int(v) for k, v in ok["decision"].value_counts().sort_index().items()
        },
        "notes": notes,
        "versions": run.content["versions"],
        "files": list(files),
    }


def _same_job(out: Path, job: Mapping[str, Any]) -> None:
    """Refuse to mix two predictions in one directory."""
    file = out / "job.json"
    others = sorted(f.name for f in out.iterdir() if f.name not in {".lock", "job.json"})
    if not file.is_file():
        if others:
            msg = (
                f"{out}: holds files of something else (first: {others[0]}). Choose another --out."
            )
            raise RunError(msg)
        return
    before = json.loads(file.read_text(encoding="utf-8"))
    changed = [name for name in job if before.get(name) != job[name]]
    if changed:
        msg = (
            f"{out}: holds a prediction that differs in {', '.join(changed)}. Choose another "
            f"--out, "
            "or remove that directory."
        )
        raise RunError(msg)
