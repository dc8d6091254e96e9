"""Cautions at the head of a report, graded by how much they change its reading.

Cautions come the gravest first; each is said once.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from core.base.words import SHORTCUTS
from core.cards.licence_terms import may_release, union_of_terms
from core.evaluation.labelled_rows import FEW_EVENTS
from core.report.numbers import count, estimate, number, pick, quantity, value_words
from core.report.verdict import FEW, headline_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.app import ReportContext

__all__ = ["BASELINES", "cautions", "licence_cautions", "notes"]

# Licences of weights or data that forbid commercial use or any release.
RESTRICTED = re.compile(
    r"\bnc\b|non-?commercial|research[- ]only|no[- ]derivatives|\bnd\b", re.IGNORECASE
)
# Checks of the audit whose warning a reader must know before the numbers.
LEAKS = re.compile(r"copies_across|groups_across|labels")
# What a sentence of the evaluation is about, the gravest first; what fits none is a note.
GRAVITY = (
    re.compile(r"pixels of a training image|copies|more than one split|two splits"),
    re.compile(r"swapped|below chance|worse than|on these very cases"),
    re.compile(r"intervals are withheld|No case is|hold no image of"),
    re.compile(r"unlike|quality gate|lie outside of the training range|holds no measurements"),
    re.compile(r"left out of the numbers|failed"),
    FEW,
)
# What a result is compared with, in words.
BASELINES = {
    **{name: f"{words} alone" for name, words in SHORTCUTS.items()},
    "its own test": "on its own test",
    "the probe": "probe",
}


def cautions(context: ReportContext) -> list[str]:
    """What the reader must know before the numbers, each once, the gravest first."""
    found: list[tuple[int, str]] = []
    for sentence in context.evaluation.get("cautions") or []:
        rank = next((i for i, p in enumerate(GRAVITY) if p.search(str(sentence))), None)
        if rank is not None:
            found.append((10 * rank, str(sentence)))
    if context.run and not context.run.get("group_rule"):
        group = str(
            (context.evaluation.get("about") or {}).get("group")
            or context.run.get("group")
            or "group"
        )
        sharing = context.run.get("sharing")
        why = "the data do not say which images belong to one"
        if sharing:
            # A table made elsewhere: what it holds was compared, training rows or not.
            why = "" if sharing["has_training"] else "the table holds no training rows"
        words = (
            f"Whether training and test share a {group} cannot be checked: {why}. If they do, the "
            "result looks better than it is."
        )
        found += [(24, words)] if why else []
    points = context.evaluation.get("operating_points") or []
    if any(point.get("exploratory") for point in points):
        found.append(
            (5, "Exploratory: an operating point was chosen on the cases it is judged on.")
        )
    checks = [c for c in context.audit.get("checks") or [] if c["verdict"] == "warning"]
    found += [(2, words) for words in _of_copies(context)]
    untold = _untold(context)
    found += [(60, untold)] if untold else []
    shortcut = _shortcut_words(context, checks)
    found += [(22, shortcut)] if shortcut else []
    found += [(70 + i, sentence) for i, sentence in enumerate(licence_cautions(context))]
    return list(dict.fromkeys(sentence for _, sentence in sorted(found, key=lambda pair: pair[0])))


def _is_of_judged(context: ReportContext, check: Mapping[str, Any]) -> bool:
    """Whether a warning of the audit concerns cases judged here, as far as that is known."""
    what = {"copies_across": "leaking", "labels": "conflicting"}.get(str(check["name"]))
    entries = context.evaluation.get("without")
    return what is None or entries is None or any(entry["what"] == what for entry in entries)


def _of_copies(context: ReportContext) -> list[str]:
    """What the audit says of copies and groups, and what the headline is without them."""
    if (context.evaluation.get("about") or {}).get("split") == "new data":
        # Copies in the splits of the run's own data lift the result on these alone.
        return []
    head = headline_of(context)
    found = []
    for entry in context.evaluation.get("without") or []:
        if entry["what"] not in _COPIES or not entry.get("row") or head is None:
            continue
        n = int(entry["n"])
        title = str(head.get("title") or head["name"])
        found.append(
            f"{quantity(n, 'image')} judged here {'has' if n == 1 else 'have'} a copy "
            f"{_COPIES[entry['what']]} (first: {entry['first']}); without "
            f"{'it' if n == 1 else 'them'} {title} is {value_words(entry['row'])} instead of "
            f"{value_words(head)}."
        )
    shown = {"copies_across", "labels"} if context.evaluation.get("without") is not None else set()
    return found + [
        str(check["words"])
        for check in context.audit.get("checks") or []
        if check["verdict"] == "warning"
        and LEAKS.match(str(check["name"]))
        and check["name"] not in shown
    ]


# Why an image is left out of the headline, in words; see ``core.runs.run_metrics``.
_COPIES = {"leaking": "among those trained or tuned on", "conflicting": "with another label"}


def _untold(context: ReportContext) -> str:
    """Classes with enough cases that are not shown to be ranked above the others."""
    about = context.evaluation.get("about") or {}
    matrix = (context.evaluation.get("confusion") or {}).get(about.get("unit") or "image") or {}
    classes, counts = list(matrix.get("classes") or []), matrix.get("counts") or []
    rows = pick(context.evaluation.get("metrics") or [], name="auroc", subgroup="")
    parts, few = [], []
    for row in pick(rows, unit=about.get("unit")):
        if row.get("of") not in classes:
            continue
        if (row.get("n_events") or 0) < FEW_EVENTS:
            few.append(f"{context.task.title(row['of'])} ({count(row.get('n_events') or 0)})")
            continue
        if row.get("low") is None or row["low"] > 0.5:
            continue
        n = sum(int(line[classes.index(row["of"])]) for line in counts)
        predicted = f"predicted for {count(n)} of {count(row['n'])}"
        parts.append(f"{context.task.title(row['of'])} (AUROC {estimate(row)}, {predicted})")
    if not parts:
        return ""
    rare = f" Too few cases to say: {', '.join(few)}." if few else ""
    return f"Not shown to be told from the other classes: {'; '.join(parts)}.{rare}"


def licence_cautions(context: ReportContext) -> list[str]:
    """What the terms of the data and the starting weights forbid; behind the fold."""
    found: list[str] = []
    terms = context.run.get("terms") or []
    if union_of_terms(terms)["weights_release"] in {"forbidden", "unclear"}:
        found.append(may_release(terms))
    start = context.run.get("start") or {}
    licences = {"pretrained weights": start.get("licence"), **(context.run.get("licences") or {})}
    for what, licence in licences.items():
        if licence and RESTRICTED.search(str(licence)):
            words = (
                f"The licence of the {what} ({licence}) restricts use, and so that of this model."
            )
            found.append(words)
    return found


def _shortcut_words(context: ReportContext, checks: Sequence[Mapping[str, Any]]) -> str:
    """From what the label can be predicted without the subject, in one sentence."""
    warned = {str(check["name"]).removeprefix("shortcut_") for check in checks}
    parts = []
    chance = None
    for entry in context.audit.get("shortcuts") or []:
        if entry["name"] in warned and entry.get("value") is not None:
            what = BASELINES.get(str(entry["name"]), f"{entry['name']} alone")
            parts.append(f"from {what}, {estimate({**entry, 'percent': True})}")
            chance = entry["chance"]
    if not parts:
        return ""
    weaker = [
        BASELINES.get(str(entry["name"]), str(entry["name"]))
        for entry in context.audit.get("shortcuts") or []
        if entry["name"] not in warned and (entry.get("low") or 0) > entry["chance"]
    ]
    also = f" Above chance, too: {' and '.join(weaker)}." if weaker else ""
    return (
        f"The label can be predicted {' and '.join(parts)} (balanced accuracy; chance gives "
        f"{number(chance or 0, percent=True)}).{also} Something beside the subject differs with "
        "the class: the place or machine that an image comes from, markers, collimation or "
        "cropping, exposure. The model may use it too: look at images of each class side by "
        "side, and test on images from elsewhere."
    )


def notes(context: ReportContext) -> list[str]:
    """What is good to know and changes no conclusion."""
    task = context.task
    classes = ", ".join(task.title(name) for name in task.classes[:12])
    more = f" and {len(task.classes) - 12} more" if len(task.classes) > 12 else ""
    found = [f"Task: {task.name.replace('_', ' ')} ({classes}{more})."]
    precision = context.evaluation.get("precision")
    if precision:
        found.append(str(precision["words"]))
    found += [
        f"{check['words']} None of these is judged here."
        for check in context.audit.get("checks") or []
        if check["verdict"] == "warning"
        and check["name"] in {"copies_across", "labels"}
        and not _is_of_judged(context, check)
    ]
    grave = set(cautions(context))
    found += [str(s) for s in context.evaluation.get("cautions") or [] if str(s) not in grave]
    return list(dict.fromkeys(found))
