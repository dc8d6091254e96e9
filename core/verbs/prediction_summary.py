"""Summary of a prediction: counts, decisions of each unit, the model's held-out performance."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pandas as pd

from core.app import ReportContext
from core.base.attempt import attempt
from core.base.words import NOT_A_DEVICE, quantity
from core.cards.licence_terms import summary_of_terms
from core.evaluation.doubt import decides_nothing, prevailing_doubt, rule_of_decision
from core.evaluation.doubt_marks import UNFAMILIAR, is_unfamiliar, says_nothing
from core.report.verdict import NO_MEASURE, held_out_words, image_word
from core.runs.table_files import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.app import ExportContext, Manifest
    from core.runs.run import Run

__all__ = ["LETTER", "summarise", "summary_sentences"]

NO_DECISION = "No decision about a person may rest on it alone."
# Of these there may be thousands, and a table beside them lists them.
LETTER = re.compile(r"letter-\d+\.html$")


def summary_sentences(run: Run, summary: Mapping[str, Any]) -> list[str]:
    """How good the model was, by which rule it decides, and what it decided of each unit."""
    found = [summary["held_out"]] if summary["held_out"] else []
    rule = rule_of_decision(run.content, run.task)
    counts = []
    for unit, part in summary["units"].items():
        sides = {} if run.task.is_two_way else _sides(run.task.positive_name)
        titles = {name: run.task.title(name) for name in run.task.classes} | sides
        message = ", ".join(f"{titles.get(k, k)}: {n:,}" for k, n in part["decisions"].items())
        doubt = f", {part['n_doubtful']:,} of them in doubt" if part["n_doubtful"] else ""
        counts.append(f" {quantity(part['n'], unit)} ({message}){doubt}.")
    rule = rule.replace("no threshold in use: ", "each input gets the ")
    found.append(f"How it decides: {rule}.{''.join(counts)}")
    if run.task.kind == "ordinal":
        between = (
            "lies between cuts that were chosen on validation"
            if run.task.cuts
            else ("is the median of the scores")
        )
        found.append(f"The predicted grade {between}; it need not be the one of the highest score.")
    return found


def _sides(name: str) -> dict[str, str]:
    """What the two sides of a threshold are called: ``referable`` and ``not referable``."""
    return {"positive": name, "negative": "negative" if name == "positive" else f"not {name}"}


def _held_out(run: Run, context: ExportContext) -> str:
    """What the run's own report says first, or why it says nothing of these inputs.

    Empty where the report is not beside the run.
    """
    if not context.evaluation:
        return ""
    predictions = context.predictions
    prevails = prevailing_doubt(predictions, accepted=context.accept_doubtful)
    if prevails:
        return f"{NO_MEASURE} {prevails}"
    of_run = ReportContext(
        app=run.app,
        task=run.task,
        evaluation=context.evaluation,
        predictions=pd.DataFrame(),
        decisions={},
        manifest=pd.DataFrame() if context.trained is None else context.trained,
        run=run.content,
        audit=read_json(run.path / "audit.json"),
    )
    # A run of others may say anything of itself; what makes no sense costs no prediction.
    message, reason = attempt(lambda: held_out_words(of_run, word=image_word(of_run)))
    if reason:
        return f"What this model's metrics.json says of it cannot be told ({reason})."
    if not message:
        return ""
    n, of = int(is_unfamiliar(predictions).sum()), int((predictions["status"] == "ok").sum())
    rest = (
        f" These numbers do not hold for the {n:,} of {of:,} inputs that are {UNFAMILIAR}."
        if n
        else ""
    )
    return f"How good this model was: {' '.join(message)}{rest}"


def _counts(values: pd.Series[Any]) -> dict[str, int]:
    """How often each value occurs, in the order of the values."""
    return {str(k): int(v) for k, v in values.value_counts().sort_index().items()}


def summarise(
    run: Run, context: ExportContext, found: Manifest, files: Sequence[str]
) -> dict[str, Any]:
    """What became of the inputs, in numbers and words."""
    predictions = context.predictions
    status = predictions["status"].value_counts()
    reasons = predictions.loc[predictions["status"] != "ok", "reason"].value_counts()
    ok = predictions[predictions["status"] == "ok"]
    unfamiliar = int(ok["unfamiliar"].sum())
    # What was left out of the files and what should not be relied on; words about the data are not.
    warnings = list(context.notes)
    if context.withheld:
        warnings.append(
            f"{context.withheld} Scores are in predictions.csv; no letter and no prescription is "
            "written. If you have looked at them and know better, pass --accept-doubtful."
        )
    elif len(ok) and unfamiliar > 0.05 * len(ok):
        warnings.append(
            f"{unfamiliar} of {len(ok):,} images look unlike those the model was trained on "
            "(another camera, another crop, another kind of picture?). Look at them before you "
            "use the scores."
        )
    is_undecided = decides_nothing(predictions, context.decisions, run.task)
    if is_undecided and len(ok) and not context.withheld:
        warnings.append(
            "Nothing is decided: every decision is open or withheld; the column doubt says why."
        )
    return {
        "schema": 1,
        "intended_use": run.content["intended_use"],
        "not_a_medical_device": f"{NOT_A_DEVICE} {NO_DECISION}" if run.app.about_people else "",
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
        "n_doubtful": int((predictions["doubt"] != "").sum()),
        "held_out": _held_out(run, context),
        "units": {
            unit: {
                "n": len(table),
                "decisions": _counts(table["decision"]),
                "n_doubtful": int((table["doubt"].fillna("") != "").sum()),
            }
            for unit, table in context.decisions.items()
            if unit != "image"
        },
        "decisions_withheld": context.withheld,
        "nothing_decided": is_undecided,
        "reasons": {str(k): int(v) for k, v in reasons.items()},
        "predicted": _counts(ok.loc[~says_nothing(ok), "predicted"]),
        "decisions": _counts(ok["decision"]),
        "notes": [*found.notes, *warnings],
        "warnings": warnings,
        "versions": run.content["versions"],
        "files": list(files),
    }
