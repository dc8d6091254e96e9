"""The report of one evaluation: which sections, in the order of a paper.

Everything shown comes from the context. What is absent is left out or said to
be absent; the same context gives the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.base.outputs import write_text
from core.base.words import NOT_A_DEVICE
from core.blocks import Block, Fold, Text
from core.errors import ResightError
from core.report.cautions import cautions
from core.report.characteristics import characteristics_blocks
from core.report.checklist import checklist_blocks
from core.report.data_and_training import (
    case_blocks,
    leakage_blocks,
    model_blocks,
    provenance_blocks,
    settings_blocks,
)
from core.report.external_validation import drift_blocks, input_blocks, recalibration_blocks
from core.report.fairness import gap_blocks, subgroup_calibration_blocks
from core.report.first_screen import first_screen, page_title
from core.report.gallery import error_blocks
from core.report.html import render_page
from core.report.model_card import model_card
from core.report.own_words import blocks_in_words, in_words
from core.report.results import Results
from core.report.subgroups import failure_blocks, subgroup_blocks
from core.report.thresholds import operating_blocks, rule_blocks, use_blocks
from core.report.trainings import fold_blocks, member_blocks
from core.report.verdict import group_of, image_word, is_probe_kept, use_words, verdict

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from core.app import ReportContext

__all__ = ["report_html", "write_report"]


def write_report(out: Path, context: ReportContext) -> list[Path]:
    """Write ``report.html`` and ``model_card.md``.

    Args:
        out: an existing directory, held by the caller.
        context: what is known of the evaluation.

    Returns:
        The files written.

    Raises:
        OutputError: the directory cannot be written.
    """
    page, card = out / "report.html", out / "model_card.md"
    write_text(page, report_html(context))
    write_text(card, model_card(context, verdict(context), cautions(context)))
    return [page, card]


def report_html(context: ReportContext) -> str:
    """The page as text."""
    group = group_of(context)
    columns = context.app.characteristics if context.app else {}
    results = Results(context.evaluation, context.task, group, columns)
    first = first_screen(context, results)
    parts = _app_sections(context)
    sections: list[tuple[str, Sequence[Block]]] = [
        ("", first),
        ("Data", _data(context, group, results)),
        ("New data beside those of training", input_blocks(results)),
        *parts["data"],
        ("Model", [*model_blocks(context), *rule_blocks(results), *member_blocks(results)]),
        ("Results", _results(results, is_probe=is_probe_kept(context))),
        *parts["results"],
        ("Calibration", [*results.calibration(), *recalibration_blocks(results)]),
        ("Operating points and use", [*operating_blocks(results), *use_blocks(results)]),
        *parts["use"],
        ("Subgroups", _subgroups(results)),
        *parts["subgroups"],
        ("Errors", error_blocks(context)),
        *parts["errors"],
        ("Further numbers", results.rest()),
        ("Settings and provenance", [*settings_blocks(context), *provenance_blocks(context)]),
    ]
    headings = [heading for heading, blocks in sections if blocks]
    checklist = Fold("Show the checklist", checklist_blocks(context, headings))
    sections.append(("Checklist for reporting", [checklist]))
    sections = [(heading, _folds_last(blocks)) for heading, blocks in sections]
    word = image_word(context)
    return render_page(
        in_words(page_title(context), word),
        lead=use_words(context.app, str(context.run.get("intended_use") or "")),
        sections=[
            (in_words(heading, word), blocks_in_words(part, word)) for heading, part in sections
        ],
        footer=_footer(context),
        glossary=True,
    )


def _folds_last(blocks: Sequence[Block]) -> list[Block]:
    """What is open first, so that tables and figures stand together; what is folded after it."""
    return sorted(blocks, key=lambda block: isinstance(block, Fold))


def _data(context: ReportContext, group: str, results: Results) -> list[Block]:
    """The cases, what they are like, and what the audit found."""
    return [
        *case_blocks(context, group),
        *characteristics_blocks(context),
        *leakage_blocks(context, group, results),
    ]


def _subgroups(results: Results) -> list[Block]:
    """Numbers, errors and calibration by subgroup."""
    return [
        *subgroup_blocks(results),
        *gap_blocks(results),
        *subgroup_calibration_blocks(results),
    ]


def _results(results: Results, *, is_probe: bool) -> list[Block]:
    """The numbers of everybody; on new data the run's own test beside them comes first."""
    return [
        *drift_blocks(results),
        *results.numbers(),
        *results.classes(),
        *results.discrimination(),
        *failure_blocks(results),
        *results.probe(is_kept=is_probe),
        *fold_blocks(results),
        *results.methods(),
    ]


def _app_sections(context: ReportContext) -> dict[str, list[tuple[str, Sequence[Block]]]]:
    """The app's own sections by the part they follow; one that cannot be made says why."""
    parts: dict[str, list[tuple[str, Sequence[Block]]]] = {
        part: [] for part in ("data", "results", "use", "subgroups", "errors")
    }
    for section in context.app.sections if context.app else ():
        try:
            blocks = list(section.build(context))
        except ResightError as error:
            blocks = [Text(f"This section could not be made: {error}", "note")]
        parts[section.part].append((section.title, blocks))
    return parts


def _footer(context: ReportContext) -> str:
    """What made the page."""
    version = (context.run.get("versions") or {}).get("resight")
    model = context.run.get("model_id")
    parts = [
        f"Made by resight{f' {version}' if version else ''}.",
        f"Model {model}." if model else "",
        f"Numbers stand in metrics.json{' and audit.json' * bool(context.audit.get('shortcuts'))}; "
        "the app's own sections count predictions.csv.",
        NOT_A_DEVICE if context.app is None or context.app.about_people else "",
    ]
    return " ".join(filter(None, parts))
