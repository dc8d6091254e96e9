"""The first screen of a report: the verdict, three numbers, one picture, at most three cautions.

A reader with half a minute learns what was asked, on how many cases, what came out and how
sure that is, whether it beats chance, the probe and the shortcut baselines, and what most
limits it. Everything else stands below or behind a fold.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pandas as pd

from core.base.words import SHORTCUTS
from core.blocks import Block, Fold, Numbers, Table, Text
from core.cards.licence_terms import may_release, union_of_terms
from core.report.calibration_words import calibration_words
from core.report.numbers import (
    NBSP,
    count,
    estimate,
    interval,
    number,
    pick,
    plural,
    point_words,
    quantity,
    rounded_parts,
    value_words,
)
from core.report.results import RANKING
from core.report.verdict import answers_of, headline_of, is_probe_kept, verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.app import ReportContext
    from core.report.results import Results

__all__ = ["cautions", "first_screen", "notes", "page_title"]

# Cautions shown; the rest stand behind a fold, in the same order.
SHOWN = 3
# Licences of weights or data that forbid commercial use or any release.
RESTRICTED = re.compile(
    r"\bnc\b|non-?commercial|research[- ]only|no[- ]derivatives|\bnd\b", re.IGNORECASE
)
# Checks of the audit whose warning a reader must know before the numbers.
LEAKS = re.compile(r"copies_across|groups_across|labels")
# Of few cases, whatever the app: one such sentence always stands on the first screen.
FEW = re.compile(r"^Only |[Tt]oo few|uncertain|call for caution")
# What a sentence of the evaluation is about, the gravest first; what fits none is a note.
GRAVITY = (
    re.compile(r"pixels of a training image|copies|more than one split|two splits"),
    re.compile(r"swapped|below chance|worse than|on these very cases"),
    re.compile(r"intervals are withheld|No case is|hold no image of"),
    re.compile(r"unlike|quality gate|lie outside of the training range|holds no measurements"),
    re.compile(r"left out of the numbers|failed"),
    FEW,
)
SPLITS = {"test": "held-out test", "out-of-fold": "cross-validation", "val": "validation"}


def first_screen(context: ReportContext, results: Results) -> list[Block]:
    """Verdict, numbers, answers, picture and cautions, in this order."""
    licence = licence_cautions(context)
    told = _few_among_first([s for s in cautions(context) if s not in licence])
    shown: list[Block] = [Text(verdict(context), "verdict")]
    asked = context.app.first_picture if context.app is not None else None
    picture = (asked(context) if asked is not None else None) or results.picture()
    if picture is not None:
        shown.append(picture)
    entries = _three_numbers(context, results)
    if entries:
        shown.append(Numbers(entries))
    answers = _answers(context)
    if answers is not None:
        shown.append(answers)
    counts = _of_thousand(context)
    if counts:
        shown.append(Text(counts))
    asked_words = context.app.first_words if context.app is not None else None
    own = asked_words(context) if asked_words is not None else ""
    shown += [Text(own)] if own else []
    calibrated = calibration_words(context.evaluation, context.task)
    if calibrated:
        shown.append(Text(calibrated))
    source = _source(context)
    shown += [Text(source, "note")] if source else []
    shown += [Text(sentence, "warning") for sentence in told[:SHOWN]]
    folded: list[Block] = [Text(sentence, "warning") for sentence in told[SHOWN:]]
    folded += [Text(sentence, "warning") for sentence in licence]
    folded += [Text(sentence) for sentence in notes(context)]
    if folded:
        more = len(told) - SHOWN
        words = [quantity(more, "further caution")] if more > 0 else []
        words += ["what the licences allow"] if licence else []
        title = f"Notes and {', '.join(words)}" if words else "Notes"
        shown.append(Fold(title, folded))  # type: ignore[arg-type]
    return shown


def _few_among_first(told: list[str]) -> list[str]:
    """The sentences with one about few cases among those that are shown, if there is any."""
    few = next((sentence for sentence in told if FEW.search(sentence)), None)
    if few is None or few in told[:SHOWN]:
        return told
    rest = [sentence for sentence in told if sentence != few]
    return [*rest[: SHOWN - 1], few, *rest[SHOWN - 1 :]]


def _source(context: ReportContext) -> str:
    """Which data sets the cases come from; on new data, those of the training."""
    titles = [str(terms["title"]) for terms in context.run.get("terms") or [] if terms.get("title")]
    if not titles:
        return ""
    is_new = (context.evaluation.get("about") or {}).get("split") == "new data"
    return f"{'Trained on' if is_new else 'Data'}: {'; '.join(titles)}."


def page_title(context: ReportContext) -> str:
    """What is judged, on which data and how many: the heading of the page."""
    about = context.evaluation.get("about") or {}
    split = str(about.get("split") or "")
    asked = context.task.name.replace("_", " ")
    title = context.app.title if context.app else str(context.run.get("title") or "Evaluation")
    unit = str(about.get("unit") or "image")
    head = next(iter(pick(context.evaluation.get("metrics") or [], of="", unit=unit)), {})
    n = head.get("n") or about.get("n_images")
    cases = f", {quantity(n, unit)}" if n else ""
    words = SPLITS.get(split, split) or "evaluation"
    if context.run.get("predictions"):
        # What its training saw, only the maker of the table knows.
        is_split = split and split != "predictions"
        words = f"rows that the table calls {split}" if is_split else "a table of predictions"
    return f"{title}: {asked}, {words}{cases}"


# What is asked, and what the answers are called.
_QUESTIONS = {
    "chance": "than chance",
    "probe": "than the probe",
    "shortcuts": "than shortcut baselines",
    "own test": "than on its own test",
}
_BASELINES = {
    **{name: f"{words} alone" for name, words in SHORTCUTS.items()},
    "its own test": "on its own test",
    "the probe": "probe",
}
_ANSWERS = {"yes": "✓ yes", "no": "✗ no, worse", "not shown": "– not shown"}  # noqa: RUF001


def _answers(context: ReportContext) -> Table | None:
    """Better than chance, the probe, shortcuts, its own test? One line each."""
    lines = []
    units = (context.evaluation.get("about") or {}).get("units") or []
    for entry in answers_of(context):
        against = entry["against"]
        percent = bool(entry["percent"])
        by = f", by {entry['unit']}," if len(units) > 1 and entry.get("unit") else ""
        words = str(against["words"])
        beside = estimate({**against, "percent": percent})
        if entry["question"] == "probe" and against.get("difference") is not None:
            ends = {"low": against["difference_low"], "high": against["difference_high"]}
            away = estimate({"value": against["difference"], **ends, "percent": percent})
            beside += f"; paired difference {away}"
        lines.append(
            {
                "Better": _QUESTIONS[entry["question"]],
                "Answer": _ANSWERS[entry["answer"]],
                str(_this(context)): f"{entry['title']}{by} {estimate(entry)}",
                "Beside it": f"{_BASELINES.get(words, words)} {beside}",
            }
        )
    if is_probe_kept(context) and not _is_probe_asked(context):
        lines.append(
            {
                "Better": _QUESTIONS["probe"],
                "Answer": "it is the probe",
                str(_this(context)): "",
                "Beside it": "no fine-tuned epoch was better on validation",
            }
        )
    return Table(pd.DataFrame(lines).fillna("")) if lines else None


def _is_probe_asked(context: ReportContext) -> bool:
    """Whether the training was of a probe alone, so that nothing was fine-tuned."""
    if context.plan is None or "setting" not in context.plan:
        return False
    epochs = context.plan.loc[context.plan["setting"] == "epochs", "value"]
    return bool(len(epochs)) and str(epochs.iloc[0]).strip() == "0"


def _this(context: ReportContext) -> str:
    return "This model" if context.run or context.app else "These scores"


def _three_numbers(context: ReportContext, results: Results) -> list[tuple[str, str, str]]:
    """The headline; then what is found and what is spared, or what the weakest class gets."""
    head = headline_of(context)
    if head is None:
        return []
    title, value, detail = _entry(str(head.get("title") or head["name"]), head)
    # Beside a sensitivity at a threshold, what does not count at it says so.
    is_apart = results.counts_apart() and not RANKING.search(str(head["name"]))
    found = [(title, value, f"{detail}, by the predicted class" if is_apart else detail)]
    point = _point_in_force(context)
    if point is not None:
        name = context.task.positive_name
        for key, words in (
            ("sensitivity", f"Sensitivity for {name}"),
            ("specificity", "Specificity"),
        ):
            rate = {**(point.get(key) or {}), "percent": True}
            if rate.get("value") is not None:
                rest = "" if point.get("active") else ", at a threshold that is not in use"
                of = f"{count(rate['x'])} of {count(rate['n'])}"
                at = _aim(point, key, rate)
                found.append((words + rest, value_words(rate), f"{interval(rate)}, {of}{at}"))
        return found
    overall = pick(results.rows, of="", subgroup="", unit=head.get("unit"))
    found += [_entry(str(r["title"]), r) for r in pick(overall, name="accuracy") if r is not head]
    recalls = [
        row
        for row in pick(results.rows, name="recall", subgroup="", unit=head.get("unit"))
        if row.get("of") in context.task.classes and row.get("value") is not None
    ]
    if len(recalls) > 1:
        worst = min(recalls, key=lambda row: float(row["value"]))
        title, value, detail = _entry(
            f"Worst class, {context.task.title(worst['of'])}: share found", worst
        )
        # The least of several is low by chance, too, and its interval does not know it.
        found.append(
            (title, value, f"{detail}; the least of {len(recalls)}, picked on these cases")
        )
    return found[:3]


def _aim(point: Mapping[str, Any], key: str, rate: Mapping[str, Any]) -> str:
    """What a threshold was set for, and that these cases do not agree with it."""
    name = str(point["name"])
    aim, _, wanted = name.partition("=")
    if aim not in {"sensitivity", "specificity"}:
        return "" if point.get("active") else f"; {point_words(name)}"
    if aim != key:
        return "" if point.get("active") else "; at the same threshold"
    is_missed = rate.get("high") is not None and float(rate["high"]) < float(wanted)
    split = str(point.get("split") or "")
    on = f" on {SPLITS.get(split, split)}" if split else ""
    told = f"; set for a {aim} of {100 * float(wanted):g}{NBSP}%{on}"
    if is_missed:
        return f"{told}; reached {value_words(rate)} here"
    return "" if point.get("active") else told


def _entry(title: str, row: Mapping[str, Any]) -> tuple[str, str, str]:
    cases = quantity(row.get("n") or 0, str(row.get("unit") or "image"))
    return title, value_words(row), ", ".join(filter(None, [interval(row), cases]))


def _point_in_force(context: ReportContext) -> Mapping[str, Any] | None:
    """The operating point at which decisions are made; else the first set before, if any."""
    points = [
        point
        for point in context.evaluation.get("operating_points") or []
        if (point.get("sensitivity") or {}).get("value") is not None
    ]
    return next((p for p in points if p.get("active")), points[0] if points else None)


def _of_thousand(context: ReportContext) -> str:
    """How many of a thousand cases would be called, rightly, wrongly and missed."""
    point = _point_in_force(context)
    if point is None:
        return ""
    name, unit = context.task.positive_name, str(point.get("unit") or "case")
    cut = point.get("threshold")
    score = "" if cut is None else f"; score {float(cut):.3g} or more"
    chosen = (
        f", chosen on {SPLITS.get(point['split'], point['split'])}" if point.get("split") else ""
    )
    if "other folds" in str(point.get("counted_at") or ""):
        # No case was held against the threshold that is shipped.
        score, chosen = "", f"; {point['counted_at']}"
    which = "the" if point.get("active") else "an"
    rest = "" if point.get("active") else " that is not in use"
    where = f"At {which} operating point{rest} ({point_words(point['name'])}{score}{chosen})"
    found = point.get("at_prevalence") or {}
    per = found.get("per_1000") or {}
    if per:
        return (
            f"{where}, of 1,000 {plural(unit)} of which "
            f"{number(found['prevalence'], percent=True)} "
            f"are {name}: {number(per['called'], places=0)} called {name}, "
            f"{number(per['found'], places=0)} of them rightly, and "
            f"{number(per['missed'], places=0)} missed."
        )
    rate = {**(point.get("recall_rate") or {}), "percent": True}
    if rate.get("value") is None:
        return ""
    told = (
        f"{where}, {count(rate['x'])} of these {count(rate['n'])} {plural(unit)} are called {name}"
    )
    hit, spared = point.get("sensitivity") or {}, point.get("specificity") or {}
    if not {"x", "n"} <= set(hit) & set(spared):
        return f"{told} ({value_words(rate)})."
    right, false = int(hit["x"]), int(spared["n"]) - int(spared["x"])
    missed, n = int(hit["n"]) - right, int(rate["n"])
    share = 1000 / n
    called, per = rounded_parts(share * (right + false), [share * right, share * false])
    shares = (f"{part:,}" for part in (called, *per, round(share * missed)))
    return (
        f"{told}: {right:,} of the {int(hit['n']):,} that are, and {false:,} of the "
        f"{int(spared['n']):,} that are not. Of 1,000 such {plural(unit)} that is {next(shares)} "
        f"called, {next(shares)} of them rightly and {next(shares)} wrongly, and {next(shares)} "
        "missed."
    )


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
    if (context.evaluation.get("about") or {}).get("split") != "new data":
        # Copies in the splits of the run's own data lift the result on these alone.
        found += [(2, str(c["words"])) for c in checks if LEAKS.match(str(c["name"]))]
    shortcut = _shortcut_words(context, checks)
    found += [(22, shortcut)] if shortcut else []
    found += [(70 + i, sentence) for i, sentence in enumerate(licence_cautions(context))]
    return list(dict.fromkeys(sentence for _, sentence in sorted(found, key=lambda pair: pair[0])))


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
            what = _BASELINES.get(str(entry["name"]), f"{entry['name']} alone")
            parts.append(f"from {what}, {estimate({**entry, 'percent': True})}")
            chance = entry["chance"]
    if not parts:
        return ""
    return (
        f"The label can be predicted {' and '.join(parts)} (balanced accuracy; chance gives "
        f"{number(chance or 0, percent=True)}). The model may use the same shortcut: test it on "
        "images from elsewhere."
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
    grave = set(cautions(context))
    found += [str(s) for s in context.evaluation.get("cautions") or [] if str(s) not in grave]
    return list(dict.fromkeys(found))
