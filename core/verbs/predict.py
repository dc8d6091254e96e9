"""``resight predict``: files, folders, globs, lists in; one row per input out.

A killed job goes on where it stopped and ends with the same bytes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.app import ExportContext, Manifest, Source, Unit
from core.base.attempt import is_of_disk, one_line
from core.base.jobs import Job, open_output
from core.base.machine import readers
from core.base.options import of_value, plain_options, resolve_options
from core.base.outputs import seal, write_json
from core.base.tables import as_text
from core.base.words import quantity
from core.data.input_files import absolute_rows, require_apart, stamps_of, with_paths
from core.errors import ImageError, ManifestError, ResightError
from core.evaluation.copies import (
    CONTENT,
    MOST_COMPARED,
    PICTURE,
    changed_copies,
    compares_pictures,
    is_compared_with_all,
    same_pictures,
)
from core.evaluation.doubt import DoubtRule, decide_all, prevailing_doubt
from core.evaluation.doubt_marks import with_far_ones, words_of
from core.prediction.journal import JOURNAL, stream_through
from core.prediction.ray_cluster import Cluster, require_ray
from core.prediction.scorer import Scorer, shown
from core.report.predictions_page import PageText, Thumbnails, write_predictions_page
from core.report.verdict import use_words
from core.runs.predictions import final_split
from core.runs.run import Run, load_run
from core.runs.table_files import read_json, read_table, write_table
from core.verbs.neighbours import on_the_page, require_training_data
from core.verbs.prediction_summary import LETTER, summarise, summary_sentences

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from core.app import App

__all__ = ["Begun", "DoubtRule", "begin", "complete", "index_inputs", "predict", "require_ray"]


@dataclass(frozen=True)
class Begun:
    """What is known before the first input is scored.

    Attributes:
        run: a complete run.
        options: the app's own, as resolved.
        checked: what the checks of the exports made of them.
        found: the manifest of the inputs.
        rows: of the manifest in the order they are scored, with absolute paths.
        doubt: what is done about inputs and units in doubt.
        asked: what the result depends on; two jobs are one where it is equal.
        again: where run and inputs lie and what was given, to begin once more elsewhere.
        similar: training images shown beside each input on the page.
    """

    run: Run
    options: dict[str, Any]
    checked: dict[str, Any]
    found: Manifest
    rows: list[dict[str, Any]]
    doubt: DoubtRule
    asked: dict[str, Any]
    again: dict[str, Any]
    similar: int = 0


def index_inputs(
    run: Run, inputs: Sequence[Path], options: Mapping[str, Any], *, allow_outside: bool = False
) -> Manifest:
    """The manifest of unlabelled inputs, as the run's app lists them."""
    return run.app.index(
        Source(
            paths=tuple(inputs),
            labelled=False,
            task=run.task,
            allow_outside=allow_outside,
            options=options,
            trained=run.content.get("facts", {}),
        )
    )


def begin(
    run_path: Path,
    inputs: Sequence[Path],
    out: Path,
    *,
    allow_outside: bool = False,
    options: Mapping[str, Any] | None = None,
    doubt: DoubtRule | None = None,
    similar: int = 0,
) -> Begun:
    """Load the run and list the inputs, which must lie apart from the outputs; see ``predict``.

    Raises:
        ResightError: the run or the inputs must change.
    """
    require_apart(out, [*inputs, run_path])
    if similar:
        require_training_data(run_path)
    run, doubt = load_run(run_path), doubt or DoubtRule()
    own = resolve_options(run.app, "predict", options or {}, stored=run.options)
    found = index_inputs(run, inputs, own, allow_outside=allow_outside)
    checked = {e.name: e.check(own, run.task) for e in run.app.exports if e.check is not None}
    if not len(found.table):
        msg = (
            f"{', '.join(str(p) for p in inputs[:3])}: holds no input. Pass images, folders or "
            f"tables."
        )
        raise ManifestError(msg)
    rows = sorted(absolute_rows(found), key=lambda row: row["image_id"])
    export = run.content.get("export")
    asked = {
        "model_id": run.model_id,
        # Another engine rounds otherwise, so its rows are not mixed with these.
        **({"engine": f"{export['engine']} {export['precision']}"} if export else {}),
        "threshold": run.threshold,
        "inputs": stamps_of(rows),
        "options": {name: of_value(value) for name, value in sorted(own.items())},
        "doubt": asdict(doubt),
        **({"similar": similar} if similar else {}),
    }
    again = {
        "run": str(run_path.resolve()),
        "inputs": [str(path.resolve()) for path in inputs],
        "allow_outside": allow_outside,
        "options": plain_options(options or {}),
    }
    return Begun(run, dict(own), checked, found, rows, doubt, asked, again, similar)


def predict(
    run_path: Path,
    inputs: Sequence[Path],
    out: Path,
    *,
    allow_outside: bool = False,
    options: Mapping[str, Any] | None = None,
    device: str = "auto",
    workers: int | None = None,
    doubt: DoubtRule | None = None,
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
        doubt: what is done about inputs and units in doubt; default: they are marked, and
            letters and prescriptions for them withheld.

    Returns:
        the content of ``summary.json`` and ``out``.

    Raises:
        ResightError: the run or the inputs must change.
    """
    begun = begin(run_path, inputs, out, allow_outside=allow_outside, options=options, doubt=doubt)
    return complete(begun, out, device=device, workers=workers)


def complete(
    begun: Begun,
    out: Path,
    *,
    device: str = "auto",
    workers: int | None = None,
    fill: Callable[[Thumbnails], None] = lambda thumbnails: None,
    ray: str = "",
) -> dict[str, Any]:
    """Score what is not scored yet, and write all that a prediction holds.

    Args:
        begun: run and inputs.
        out: directory of the outputs.
        device: Lightning's accelerator name.
        workers: threads that decode; default one per core.
        fill: called once the directory is held; may put blocks that were scored elsewhere
            into its journal, and their pictures among the thumbnails.
        ray: address of the Ray cluster that scores; ``local`` for one of this machine.

    Returns:
        the content of ``summary.json`` and ``out``.
    """
    run, rows, doubt = begun.run, begun.rows, begun.doubt
    with open_output(out, Job("prediction", begun.asked, begun_by=JOURNAL)) as is_made:
        if is_made:
            (out / JOURNAL).unlink(missing_ok=True)
            return {**read_json(out / "summary.json"), "out": str(out)}
        scorer = Scorer(
            run, options=begun.options, device=device, workers=workers or readers(len(rows))
        )
        thumbnails = Thumbnails(out, rows)
        fill(thumbnails)
        scorer.keep = thumbnails.keep
        score = _on_cluster(begun, scorer, thumbnails, ray, device) if ray else scorer.texts(rows)
        predictions = stream_through(
            out / JOURNAL, rows, score, block=scorer.block, extent=begun.found.extent
        )
        predictions["path"] = [row["shown"] for row in rows]
        message = _note_of_comparison(run, predictions)
        withheld = "" if doubt.accept else prevailing_doubt(predictions, is_decided=False)
        predictions, decisions = _decided(
            run, predictions, doubt, withheld, workers=workers or readers(len(rows))
        )
        write_table(out / "predictions", predictions)
        for unit, level in decisions.items():
            if unit != "image":
                write_table(out / f"decisions_{unit}", level)
        context = _context(begun, out, scorer, predictions, decisions, withheld)
        context.notes.extend([*_note_of_copies(predictions), *message])
        files, failed = _export(run, context)
        summary = summarise(run, context, begun.found, files)
        summary["failed_exports"] = failed
        text = PageText(
            title=f"{run.app.title}: {_how_many(predictions)} predicted",
            lead=use_words(run.app),
            sentences=summary_sentences(run, summary),
            warnings=summary["warnings"],
            notes=begun.found.notes,
            # A page before the tables: a map is what a field is read from.
            files=sorted(
                (name for name in files if not LETTER.search(name)),
                key=lambda name: not name.endswith(".html"),
            ),
        )
        point = run.content.get("operating_point") or {}
        write_predictions_page(
            out,
            predictions,
            run.task,
            text,
            threshold=point.get("threshold"),
            thumbnails=thumbnails,
            similar=on_the_page(run, scorer, rows, thumbnails, k=begun.similar),
        )
        write_json(out / "summary.json", summary)
        seal(out, without=(JOURNAL,))
        (out / JOURNAL).unlink(missing_ok=True)
    return {**summary, "out": str(out)}


def _on_cluster(
    begun: Begun, scorer: Scorer, thumbnails: Thumbnails, address: str, device: str
) -> Callable[[Sequence[int]], Iterator[tuple[int, str]]]:
    """What scores blocks on a cluster."""
    cluster = Cluster(address, begun.run, options=begun.options, device=device)
    return cluster.texts(begun.rows, scorer, thumbnails)


def _how_many(predictions: pd.DataFrame) -> str:
    """How many inputs have a score, of how many if not all."""
    n, ok = len(predictions), int((predictions["status"] == "ok").sum())
    return quantity(n, "input") if ok == n else f"{ok:,} of {quantity(n, 'input')}"


def _context(
    begun: Begun,
    out: Path,
    scorer: Scorer,
    predictions: pd.DataFrame,
    decisions: Mapping[str, pd.DataFrame],
    withheld: str,
) -> ExportContext:
    """What the app's exports are made from."""
    run, rows = begun.run, begun.rows
    by_id = {row["image_id"]: row for row in rows}
    return ExportContext(
        out=out,
        predictions=predictions,
        decisions=decisions,
        manifest=with_paths(pd.DataFrame([shown(row) for row in rows]), rows),
        task=run.task,
        run=run.content,
        options=begun.options,
        checked=begun.checked,
        read=lambda image_id: run.app.read(by_id[image_id]),
        judged=_judged(run),
        evaluation=read_json(run.path / "metrics.json"),
        trained=(
            read_table(run.path / "manifest") if (run.path / "manifest.parquet").is_file() else None
        ),
        saliency=lambda image_id: scorer.saliency(by_id[image_id], in_source=True),
        withheld=withheld,
        accept_doubtful=begun.doubt.accept,
        abstain=begun.doubt.abstain,
    )


def _decided(
    run: Run, predictions: pd.DataFrame, doubt: DoubtRule, withheld: str, *, workers: int
) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """Predictions and decisions with their marks of doubt, and what these do to decisions."""
    of_app = {unit.name: unit for unit in run.app.units}
    limit = float(run.content["unfamiliar_above"])
    predictions = with_far_ones(predictions, limit, accepted=doubt.accept)
    units = [
        replace(
            of_app.get(u["name"], Unit(name=u["name"], columns=())),
            columns=tuple(u["columns"]),
            rule=u["rule"],
        )
        for u in run.content["units"]
    ]
    predictions = _with_unsaid(run, predictions, units)
    same = same_pictures(predictions, units)
    changed = changed_copies(predictions, units, workers=workers)
    copies = [
        f"the same picture as {a}" if a else f"the same picture as {b}, changed" if b else ""
        for a, b in zip(same, changed, strict=True)
    ]
    own = _cautions(run.app, predictions)
    reasons = zip(words_of(predictions, "caution"), copies, own, strict=True)
    caution = ["; ".join(filter(None, words)) for words in reasons]
    marked, tables = decide_all(
        predictions.drop(columns=[CONTENT, PICTURE], errors="ignore").assign(
            same_as=np.where(same != "", same, changed), caution=caution
        ),
        task=run.task,
        units=units,
        threshold=run.threshold,
        rule=doubt,
        withheld=withheld,
    )
    return marked.drop(columns=["caution", "is_far"], errors="ignore"), tables


def _with_unsaid(run: Run, predictions: pd.DataFrame, units: Sequence[Unit]) -> pd.DataFrame:
    """The inputs with empty columns for what units are known by and no input says.

    Where the run decides about eyes or exams, a picture that does not say of which it is must
    not be called negative for its folder holding no other that does. A run whose own data said
    nothing of units decides about images, and so it does here.
    """
    about = read_json(run.path / "metrics.json").get("about")
    # Beside a run without its results nothing says that its own data named none.
    judged = [unit.name for unit in units]
    if isinstance(about, dict) and about:
        judged = about["units"] if isinstance(about.get("units"), list) else []
    wanted = [
        name
        for unit in units
        if unit.parts and unit.name in judged
        for name in (*unit.columns, unit.parts_are)
    ]
    return predictions.assign(**{name: "" for name in wanted if name not in predictions})


def _note_of_copies(predictions: pd.DataFrame) -> list[str]:
    """A sentence where one picture stands for two things."""
    copies = predictions[as_text(predictions["same_as"]) != ""]
    if not len(copies):
        return []
    first = copies.iloc[0]
    return [
        f"{quantity(len(copies), 'input')} hold the same picture as another input that stands for "
        f"something else, as it is or saved anew, resized, cropped, turned or mirrored (first: "
        f"{first['image_id']} and {first['same_as']}). One of each was never imaged; the column "
        "same_as names it, and nothing negative is decided about them."
    ]


def _note_of_comparison(run: Run, predictions: pd.DataFrame) -> list[str]:
    """A sentence where changed copies are looked for within patients alone."""
    if not compares_pictures(run.app.units) or is_compared_with_all(predictions):
        return []
    return [
        f"Changed copies were looked for within each patient or exam only: of more than "
        f"{MOST_COMPARED:,} inputs all are not compared with each other, unless their pixels are "
        "equal. Predict in smaller batches to find those between patients."
    ]


def _cautions(app: App, predictions: pd.DataFrame) -> list[str]:
    """What the app says against each input besides its quality; see ``App.cautions``."""
    known = [caution for caution in app.cautions if caution[0] in predictions]
    cells = [as_text(predictions[column]) == value for column, value, _ in known]
    return [
        "; ".join(words for holds, (_, _, words) in zip(row, known, strict=True) if holds)
        for row in (zip(*cells, strict=True) if cells else [()] * len(predictions))
    ]


def _export(run: Run, context: ExportContext) -> tuple[list[str], list[str]]:
    """Write what the app exports beside the tables; the names of the files, and what failed."""
    out, options = context.out, context.options
    files: list[str] = []
    failed: list[str] = []
    for export in run.app.exports:
        if export.option and not options.get(export.option):
            continue
        try:
            written = export.write(context)
        # An export is made from the table, and costs neither the table nor other exports.
        except Exception as error:
            if _is_for_user(error, out):
                raise
            failed.append(export.name)
            context.notes.append(f"The export {export.name} was not made: {one_line(error)}")
            continue
        for path in written:
            if not path.resolve().is_relative_to(out.resolve()):
                msg = f"the export {export.name!r} of {run.app.name} wrote {path}, outside of {out}"
                raise RuntimeError(msg)
            files.append(path.relative_to(out).as_posix())
    return sorted(files), failed


def _is_for_user(error: Exception, out: Path) -> bool:
    """Whether an export failed for what the user must change, and not for one of the inputs."""
    is_of_input = isinstance(error, ImageError) or not isinstance(error, ResightError)
    return is_of_disk(error, out) or not is_of_input


def _judged(run: Run) -> pd.DataFrame | None:
    """The run's own predictions of what was held out; None where they are not beside it."""
    if not (run.path / "predictions.parquet").is_file():
        return None
    table = read_table(run.path / "predictions")
    return table[table["split"].fillna("") == final_split(table)].reset_index(drop=True)
