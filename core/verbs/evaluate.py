"""``resight evaluate``: every number of a report, from a predictions table and nothing else.

The held-out split of a run and a new labelled folder go through the same lines.
Thresholds and temperature are those stored in the run; nothing is chosen here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from core.base.attempt import attempt
from core.base.jobs import Job, open_output
from core.data.input_files import require_apart
from core.errors import ConfigError
from core.prediction.labelled import score_labelled
from core.runs.predictions import final_split
from core.runs.results import print_page, write_evaluation
from core.runs.run import load_run
from core.runs.run_metrics import judge
from core.runs.table_files import read_json, read_table, write_table
from core.verbs.external_validation import compare_with_training

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from core.app import ReportContext
    from core.prediction.labelled import Scored
    from core.runs.run import Run

__all__ = ["evaluate"]

# What the rows of a labelled folder are called.
NEW_DATA = "new data"


def evaluate(
    run_path: Path,
    data: Path | None,
    out: Path,
    *,
    label: str | None = None,
    group: str | None = None,
    card: str | None = None,
    allow_outside: bool = False,
    options: Mapping[str, Any] | None = None,
    prevalence: float | None = None,
    design: str | None = None,
    targets: Sequence[str] = (),
    exploratory: bool = False,
    pdf: bool = False,
) -> dict[str, Any]:
    """Report on the held-out split of a run, or on a new labelled folder.

    Args:
        run_path: a complete run.
        data: a labelled folder or table; None takes the run's own held-out predictions.
        out: directory of the report; replaced if it holds an earlier one.
        label: column of the labels, where it is not the run's own.
        group: column of the groups.
        card: data card to use; None lets the layout decide.
        allow_outside: whether a table may name files outside of its folder.
        options: the app's own.
        prevalence: of the positive classes where the model will be used, in (0, 1).
        design: ``cohort``, or ``case-control``: see ``core.evaluation.summary.summarise``; None
            takes what the run's data card or the app says.
        targets: operating points to look at beside those of the run; ``exploratory`` only.
        exploratory: choose ``targets`` on the judged cases themselves, and mark the page.
        pdf: print the page to ``report.pdf`` as well.

    Returns:
        the content of ``metrics.json`` and where the files are.

    Raises:
        ResightError: the run or the data must change; or ``targets`` are given
            without ``exploratory``.
    """
    if targets and not exploratory:
        msg = (
            f"--target {targets[0]}: an evaluation never chooses a threshold on the cases it "
            "judges; the result would look better than it is. Choose it on validation cases with "
            f"`resight threshold {run_path} --target {targets[0]}`, or add --exploratory to look "
            "and have the page marked."
        )
        raise ConfigError(msg)
    require_apart(out, [run_path, *([data] if data else [])])
    run = load_run(run_path)
    how = {"prevalence": prevalence, "design": design, "explore": targets}
    with open_output(out, Job("report", replaces=True)):
        if data is None:
            predictions, context = _held_out(run, how)
        else:
            scored = score_labelled(
                run,
                data,
                label=label,
                group=group,
                card=card,
                allow_outside=allow_outside,
                options=options or {},
            )
            write_table(out / "predictions", scored.predictions)
            predictions, context = scored.predictions, _of_new_data(run, scored, how)
        evaluation = write_evaluation(out, context, beside=run_path)
        print_page(out, pdf=pdf)
    n_failed = int((predictions["status"] == "failed").sum())
    return {"out": str(out), "metrics": evaluation, "n_failed": n_failed}


def _held_out(run: Run, how: Mapping[str, Any]) -> tuple[pd.DataFrame, ReportContext]:
    """The run's own predictions of every split, and those held out, judged."""
    predictions, manifest = read_table(run.path / "predictions"), read_table(run.path / "manifest")
    split = final_split(predictions)
    audit = read_json(run.path / "audit.json")
    about: dict[str, Any] = {"manifest": manifest, "audit": audit, **how}
    evaluation, context = judge(run.content, predictions, split, **about)
    evaluation["about"]["model_id"] = run.model_id
    return predictions, context


def _of_new_data(run: Run, scored: Scored, how: Mapping[str, Any]) -> ReportContext:
    """Predictions of a labelled folder, judged, and beside them what the run was trained on."""
    predictions, notes = scored.predictions, list(scored.notes)
    about = {"manifest": scored.manifest, **how}
    evaluation, context = judge(run.content, predictions, NEW_DATA, **about)
    evaluation["about"]["model_id"] = run.model_id
    own = evaluation.get("cautions", [])
    if evaluation["metrics"]:
        # What a run says of its training may make no sense; that costs the comparison alone.
        found, reason = attempt(
            lambda: compare_with_training(
                run, predictions, scored.manifest, scored.root, evaluation
            )
        )
        if found is None:
            notes.append(f"What the run says of its training cannot be used: {reason}")
        else:
            evaluation["external"] = found
            notes += found["notes"]
        evaluation["cautions"] = [*notes, *own]
    else:
        # Why there is no number comes before what is said of the data.
        evaluation["cautions"] = [*own, *notes]
    return replace(context, picture=scored.picture, saliency=scored.saliency)
