"""The report of one evaluation: which sections, in which order, and the words of the first screen.

Everything shown comes from the context. What is absent is left out or said to
be absent; the same context gives the same bytes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from core.base.outputs import write_text
from core.blocks import Block, Text
from core.cards.licence_terms import may_release, union_of_terms
from core.errors import ResightError
from core.report.checklist import checklist_blocks
from core.report.data_and_training import (
    case_blocks,
    leakage_blocks,
    provenance_blocks,
    settings_blocks,
    training_blocks,
)
from core.report.external_validation import drift_blocks, input_blocks, recalibration_blocks
from core.report.gallery import error_blocks
from core.report.html import render_page
from core.report.model_card import model_card
from core.report.numbers import UNDEFINED, interval, level_words, quantity, value_words
from core.report.results import Results
from core.report.thresholds_and_subgroups import (
    failure_blocks,
    operating_blocks,
    point_words,
    referral_words,
    rule_blocks,
    subgroup_blocks,
    use_blocks,
)
from core.report.trainings import fold_blocks, member_blocks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from core.app import ReportContext

__all__ = ["report_html", "verdict", "write_report"]

NOT_A_DEVICE = "For research use; not a medical device."
# Operating points told on the first screen.
MOST_POINTS = 3
# Licences of weights or data that forbid commercial use or any release.
RESTRICTED = re.compile(
    r"\bnc\b|non-?commercial|research[- ]only|no[- ]derivatives|\bnd\b", re.IGNORECASE
)

# Checks of the audit whose warning a reader must know before the numbers.
LEAKS = re.compile(r"copies_across|groups_across|labels|shortcut_")


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
    group = _group(context)
    results = Results(context.evaluation, context.task, group)
    headline = results.headline()
    sections: list[tuple[str, Sequence[Block]]] = [
        ("", _first_screen(context)),
        ("Cases and their flow", case_blocks(context, group)),
        ("Results", [*results.numbers(), *failure_blocks(results)]),
        ("Beside the run's own test", drift_blocks(results)),
        ("Inputs beside those of training", input_blocks(results)),
        ("Results by class", results.classes()),
        ("Operating points", operating_blocks(results)),
        ("How images become one answer", rule_blocks(results)),
        ("Discrimination", results.discrimination()),
        ("Calibration", results.calibration()),
        ("Recalibration with local cases", recalibration_blocks(results)),
        ("Use of the scores", use_blocks(results)),
        ("Subgroups", subgroup_blocks(results)),
        ("Spread over folds", fold_blocks(results)),
        ("Members of the ensemble", member_blocks(results)),
        ("Leakage and shortcuts", leakage_blocks(context, group, results)),
        ("Fine-tuned network and probe", results.probe(headline)),
        ("Learning curves", training_blocks(context)),
        ("Errors", error_blocks(context)),
        *_app_sections(context),
        ("Further numbers", results.rest()),
        ("Settings and their reasons", settings_blocks(context)),
        ("Provenance", provenance_blocks(context)),
    ]
    headings = [heading for heading, blocks in sections if blocks]
    sections.insert(-1, ("Checklist for reporting", checklist_blocks(context, headings)))
    use = context.app.intended_use if context.app else str(context.run.get("intended_use") or "")
    return render_page(
        _title(context),
        lead=f"{use} {NOT_A_DEVICE}".strip(),
        sections=sections,
        footer=_footer(context),
    )


def verdict(context: ReportContext) -> str:
    """The result in one or two sentences: on what, which number, how sure."""
    about = context.evaluation.get("about") or {}
    group = _group(context)
    headline = Results(context.evaluation, context.task, group).headline()
    if headline is None:
        return "No number could be computed on these cases."
    unit = str(headline.get("unit") or "image")
    cases = quantity(headline.get("n") or about.get("n_images") or 0, unit)
    n_groups = headline.get("n_groups") or about.get("n_groups")
    if n_groups and group != unit and about.get("grouped", True) and n_groups != headline.get("n"):
        cases += f" of {quantity(n_groups, group)}"
    name = _inside(str(headline.get("title") or headline["name"]))
    if headline.get("value") is None:
        reason = str(headline.get("reason") or "no reason is recorded")
        reason = reason.removeprefix(f"{UNDEFINED}: ").rstrip(".")
        return f"{_on(about, cases, group)}, {name} is {UNDEFINED}: {reason}."
    between = interval(headline)
    told = f" ({level_words([headline])} {between})" if between else ", with no interval"
    return f"{_on(about, cases, group)}, {name} was {value_words(headline)}{told}."


def cautions(context: ReportContext) -> list[str]:
    """What the reader must know before the numbers, each once."""
    terms = context.run.get("terms") or []
    # Whoever reads only one line must learn that these weights cannot be given away.
    bound = union_of_terms(terms)["weights_release"] in {"forbidden", "unclear"}
    found = [may_release(terms)] if bound else []
    found += [str(sentence) for sentence in context.evaluation.get("cautions") or []]
    if context.run and not context.run.get("group_rule"):
        found.append(
            f"Whether training and test share a {_group(context)} cannot be checked: the data do "
            "not say which images belong to one."
        )
    points = context.evaluation.get("operating_points") or []
    if any(point.get("exploratory") for point in points):
        found.append("Exploratory: an operating point was chosen on the cases it is judged on.")
    found.extend(
        str(check["words"])
        for check in context.audit.get("checks") or []
        if check["verdict"] == "warning" and LEAKS.match(str(check["name"]))
    )
    start = context.run.get("start") or {}
    licences = {"pretrained weights": start.get("licence"), **(context.run.get("licences") or {})}
    for what, licence in licences.items():
        if licence and RESTRICTED.search(str(licence)):
            found.append(
                f"The licence of the {what} ({licence}) restricts use, and so that of this model."
            )
    return list(dict.fromkeys(found))


def _first_screen(context: ReportContext) -> list[Block]:
    """The verdict, and what limits it."""
    task = context.task
    classes = ", ".join(task.title(name) for name in task.classes[:12])
    more = f" and {len(task.classes) - 12} more" if len(task.classes) > 12 else ""
    asked = f"Asked: {task.name.replace('_', ' ')} ({classes}{more})."
    return [
        Text(verdict(context), "verdict"),
        *(Text(sentence, "warning") for sentence in cautions(context)),
        *(Text(sentence, "note") for sentence in _in_short(context)),
        Text(asked, "note"),
    ]


def _in_short(context: ReportContext) -> list[str]:
    """What a reader asks next: how sure, and what is left when the unsure cases are referred."""
    found = []
    precision = context.evaluation.get("precision")
    if precision:
        found.append(str(precision["words"]))
    found.extend(
        point_words(point)
        for point in (context.evaluation.get("operating_points") or [])[:MOST_POINTS]
        if (point.get("sensitivity") or {}).get("value") is not None
    )
    curves = context.evaluation.get("curves") or {}
    for entry in curves.get("risk_coverage") or []:
        tenth = [row for row in entry.get("rows") or [] if row["referred"] == 0.1]
        found.extend(referral_words(row) for row in tenth)
    return found


def _on(about: Mapping[str, Any], cases: str, group: str) -> str:
    """Which cases, and what they had to do with the training."""
    split = str(about.get("split") or "")
    if split == "test":
        return f"On {cases} never used for training or tuning"
    if split == "out-of-fold":
        return f"On {cases}, each scored by networks that had not seen its {group}"
    if split == "val":
        return f"On {cases} that also served to choose the model, so that new data may give less"
    return f"On {cases}" + (f" ({split})" if split else "")


def _inside(title: str) -> str:
    """A title within a sentence: ``macro-F1``, but ``AUROC``."""
    return title[0].lower() + title[1:] if title[1:2].islower() else title


def _app_sections(context: ReportContext) -> list[tuple[str, Sequence[Block]]]:
    """The app's own sections; one that cannot be made says why."""
    sections: list[tuple[str, Sequence[Block]]] = []
    for section in context.app.sections if context.app else ():
        try:
            sections.append((section.title, list(section.build(context))))
        except ResightError as error:
            sections.append(
                (section.title, [Text(f"This section could not be made: {error}", "note")])
            )
    return sections


def _group(context: ReportContext) -> str:
    """What a group is called."""
    about = context.evaluation.get("about") or {}
    named = (
        about.get("group") or context.run.get("group") or (context.app.group if context.app else "")
    )
    return str(named or "group")


def _title(context: ReportContext) -> str:
    """Heading of the page."""
    title = context.app.title if context.app else str(context.run.get("title") or "Evaluation")
    split = str((context.evaluation.get("about") or {}).get("split") or "")
    words = {"test": "held-out test", "out-of-fold": "cross-validation", "val": "validation"}
    return f"{title}: {words[split]}" if split in words else f"{title}: {split}" if split else title


def _footer(context: ReportContext) -> str:
    """What made the page."""
    version = (context.run.get("versions") or {}).get("resight")
    model = context.run.get("model_id")
    parts = [
        f"Made by resight{f' {version}' if version else ''}.",
        f"Model {model}." if model else "",
        "Every result shown stands in metrics.json.",
        NOT_A_DEVICE,
    ]
    return " ".join(filter(None, parts))
