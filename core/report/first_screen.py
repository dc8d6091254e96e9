"""The first screen of a report: the verdict, three numbers, one picture, at most three cautions.

A reader with half a minute learns what was asked, on how many cases, what came out and how
sure that is, whether it beats chance, the probe and the shortcut baselines, and what most
limits it. Everything else stands below or behind a fold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from core.blocks import Block, Fold, Numbers, Table, Text
from core.report.calibration_words import calibration_words
from core.report.cautions import BASELINES, cautions, licence_cautions, notes
from core.report.numbers import (
    NBSP,
    count,
    estimate,
    interval,
    is_by_fold,
    number,
    pick,
    plural,
    point_words,
    quantity,
    rounded_parts,
    value_words,
)
from core.report.results import RANKING
from core.report.verdict import (
    FEW,
    answers_of,
    counted_points,
    group_of,
    headline_of,
    image_word,
    in_force,
    is_probe_kept,
    verdict,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.app import ReportContext
    from core.report.results import Results

__all__ = ["first_screen", "page_title"]

# Cautions shown; the rest stand behind a fold, in the same order.
SHOWN = 3
SPLITS = {"test": "held-out test", "out-of-fold": "cross-validation", "val": "validation"}


def first_screen(context: ReportContext, results: Results) -> list[Block]:
    """Verdict, numbers, answers, picture and cautions, in this order."""
    licence = licence_cautions(context)
    sentences = _few_among_first([s for s in cautions(context) if s not in licence])
    shown: list[Block] = [Text(verdict(context), "verdict")]
    asked = context.app.first_picture if context.app is not None else None
    picture = (asked(context) if asked is not None else None) or results.picture()
    if picture is not None:
        shown.append(picture)
    entries = _three_numbers(context, results)
    if entries:
        shown.append(Numbers(entries))
    asked_words = context.app.first_words if context.app is not None else None
    own = asked_words(context) if asked_words is not None else ""
    shown += [Text(words, "count") for words in (_of_thousand(context), own) if words]
    answers = _answers(context)
    shown += [answers] if answers is not None else []
    stored = _stored(context)
    shown += [Text(stored)] if stored else []
    calibrated = calibration_words(context.evaluation, context.task)
    if calibrated:
        shown.append(Text(calibrated))
    source = _source(context)
    shown += [Text(source, "note")] if source else []
    shown += [Text(sentence, "warning") for sentence in sentences[:SHOWN]]
    folded: list[Block] = [Text(sentence, "warning") for sentence in sentences[SHOWN:]]
    folded += [Text(sentence, "warning") for sentence in licence]
    folded += [Text(sentence) for sentence in notes(context)]
    if folded:
        more = len(sentences) - SHOWN
        words = [quantity(more, "further caution")] if more > 0 else []
        words += ["what the licences allow"] if licence else []
        title = f"Notes and {', '.join(words)}" if words else "Notes"
        shown.append(Fold(title, folded))  # type: ignore[arg-type]
    return shown


def _few_among_first(sentences: list[str]) -> list[str]:
    """The sentences with one about few cases, if there is any, among those that are shown."""
    few = next((sentence for sentence in sentences if FEW.search(sentence)), None)
    if few is None or few in sentences[:SHOWN]:
        return sentences
    rest = [sentence for sentence in sentences if sentence != few]
    return [*rest[: SHOWN - 1], few, *rest[SHOWN - 1 :]]


def _source(context: ReportContext) -> str:
    """Which data sets the cases come from and how they were parted; on new data, the former."""
    about = context.evaluation.get("about") or {}
    titles = [str(terms["title"]) for terms in context.run.get("terms") or [] if terms.get("title")]
    is_new = about.get("split") == "new data"
    sentences = [f"{'Trained on' if is_new else 'Data'}: {'; '.join(titles)}."] if titles else []
    n = context.run.get("n_images") or {}
    if about.get("split") == "test" and n.get("train"):
        whole = f", no {group_of(context)} in two of them" if about.get("grouped", True) else ""
        same = " of the same data" if "drawn" in str(context.run.get("split_rule")) else ""
        sentences.append(
            f"Trained on {quantity(n['train'], image_word(context))}, validated on "
            f"{count(n.get('val') or 0)}, tested on {count(n.get('test') or 0)}{same}{whole}. "
            "Labels are taken as given; who set them is not recorded."
        )
    return " ".join(sentences)


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
    "ranking": "than chance at ranking",
    "probe": "than the probe",
    "shortcuts": "than shortcut baselines",
    "own test": "than on its own test",
}
_ANSWERS = {"yes": "✓ yes", "no": "✗ no, worse", "not shown": "– not shown"}  # noqa: RUF001


def _answer_words(entry: Mapping[str, Any]) -> str:
    """The answer; where nothing is shown, whether the number itself is the lower one."""
    own, other = entry.get("value"), entry["against"].get("value")
    is_lower = None not in {own, other} and own < other and entry["answer"] == "not shown"
    return _ANSWERS[entry["answer"]] + (", lower" if is_lower else "")


def _answers(context: ReportContext) -> Table | None:
    """Better than chance, the probe, shortcuts, its own test? One line each."""
    lines = []
    units = (context.evaluation.get("about") or {}).get("units") or []
    with_chance = [e["title"] for e in answers_of(context) if e["question"] == "chance"]
    for entry in answers_of(context):
        against = entry["against"]
        percent = bool(entry["percent"])
        by = f", by {entry['unit']}," if len(units) > 1 and entry.get("unit") else ""
        words = str(against["words"])
        beside = estimate({**against, "percent": percent})
        if words == "chance" and not percent:
            beside = f"{float(against['value']):g}"
        if entry["question"] == "probe" and against.get("difference") is not None:
            ends = {"low": against["difference_low"], "high": against["difference_high"]}
            difference = estimate({"value": against["difference"], **ends, "percent": percent})
            beside += f"; paired difference {difference}"
        if against.get("chance") is not None and entry["title"] not in with_chance:
            beside += f"; chance {number(float(against['chance']), percent=True)}"
        lines.append(
            {
                "Better": _QUESTIONS[entry["question"]],
                "Answer": _answer_words(entry),
                str(_this(context)): f"{entry['title']}{by} {estimate(entry)}",
                "Comparator": f"{BASELINES.get(words, words)} {beside}",
            }
        )
    if is_probe_kept(context) and not _is_probe_asked(context):
        lines.append(
            {
                "Better": _QUESTIONS["probe"],
                "Answer": "it is the probe",
                str(_this(context)): "",
                "Comparator": "no fine-tuned epoch was better on validation",
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
    # Beside a sensitivity at a threshold in use, what does not count at it says so.
    is_apart = results.counts_apart() and not RANKING.search(str(head["name"]))
    found = [(title, value, f"{detail}, by the predicted class" if is_apart else detail)]
    rule = in_force(context)
    if rule is not None:
        name, unit = context.task.positive_name, str(rule.get("unit") or "case")
        for key, words in (("sensitivity", "Sensitivity"), ("specificity", "Specificity")):
            rate = {**(rule.get(key) or {}), "percent": True}
            if rate.get("value") is not None:
                of = f"{count(rate['x'])} of {quantity(rate['n'], unit)}"
                basis = _aim(rule, key, rate) if "name" in rule else ""
                if "name" not in rule and key == "sensitivity":
                    basis = ", by the predicted class"
                found.append(
                    (f"{words} for {name}", value_words(rate), f"{interval(rate)}, {of}{basis}")
                )
        return found
    overall = pick(results.rows, of="", subgroup="", unit=head.get("unit"))
    for row in pick(overall, name="accuracy"):
        if row is not head:
            title, value, detail = _entry(str(row["title"]), row)
            found.append((title, value, f"{detail}{_always(context)}"))
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
        lowest = f"lowest of {len(recalls)} classes"
        if not _lies_apart(worst, recalls):
            # The lowest of several is low by chance, too, and its interval does not know it.
            lowest += ", so partly bad luck"
        found.append((title, value, f"{detail}; {lowest}"))
    return found[:3]


def _lies_apart(row: Mapping[str, Any], rows: list[Mapping[str, Any]]) -> bool:
    """Whether the interval of a share lies below those of all the others."""
    others = [other for other in rows if other is not row]
    if row.get("high") is None or any(other.get("low") is None for other in others):
        return False
    return all(float(row["high"]) < float(other["low"]) for other in others)


def _always(context: ReportContext) -> str:
    """The accuracy of naming the commonest class every time."""
    unit = (context.evaluation.get("about") or {}).get("unit") or "image"
    matrix = (context.evaluation.get("confusion") or {}).get(unit) or {}
    totals = [sum(map(int, line)) for line in matrix.get("counts") or []]
    if not sum(totals):
        return ""
    name = context.task.title(str(matrix["classes"][totals.index(max(totals))]))
    return f"; always {name}: {number(max(totals) / sum(totals), percent=True)}"


def _aim(point: Mapping[str, Any], key: str, rate: Mapping[str, Any]) -> str:
    """What a threshold was set for, where these cases do not agree with it."""
    aim, _, wanted = str(point["name"]).partition("=")
    if aim != key or rate.get("high") is None or float(rate["high"]) >= float(wanted):
        return ""
    return f"; the aim of {100 * float(wanted):g}{NBSP}% was missed"


def _entry(title: str, row: Mapping[str, Any]) -> tuple[str, str, str]:
    cases = quantity(row.get("n") or 0, str(row.get("unit") or "image"))
    return title, value_words(row), ", ".join(filter(None, [interval(row), cases]))


def _of_thousand(context: ReportContext) -> str:
    """How many of a thousand cases would be called, rightly, wrongly and missed."""
    rule = in_force(context)
    if rule is None:
        return ""
    name, unit = context.task.positive_name, str(rule.get("unit") or "case")
    by = f"{_at(rule)}, of" if "name" in rule else "Of"
    found = rule.get("at_prevalence") or {}
    per = found.get("per_1000") or {}
    hit, spared = rule.get("sensitivity") or {}, rule.get("specificity") or {}
    if per:
        share, so = found["prevalence"], ""
    elif {"x", "n"} <= set(hit) & set(spared) and int(hit["n"]) + int(spared["n"]):
        n = int(hit["n"]) + int(spared["n"])
        share, so = int(hit["n"]) / n, " such"
        per = {
            "found": 1000 * int(hit["x"]) / n,
            "false_alarms": 1000 * (int(spared["n"]) - int(spared["x"])) / n,
            "missed": 1000 * (int(hit["n"]) - int(hit["x"])) / n,
        }
    else:
        return ""
    alarms = per.get("false_alarms", per.get("called", 0) - per["found"])
    called, parts = rounded_parts(per["found"] + alarms, [per["found"], alarms])
    return (
        f"{by} 1,000{so} {plural(unit)}, {number(share, percent=True)} of them {name}: "
        f"{called:,} called {name}, {parts[0]:,} of them rightly and {parts[1]:,} wrongly, and "
        f"{round(per['missed']):,} missed."
    )


def _at(point: Mapping[str, Any]) -> str:
    """The operating point in use, with its threshold and where that comes from."""
    words, cut = point_words(point["name"]), point.get("threshold")
    if is_by_fold(point):
        # No case was held against the threshold that is shipped.
        return f"At the operating point in use ({words}; {point['counted_at']})"
    score = "" if cut is None else f"; score {float(cut):.3g} or more"
    return f"At the operating point in use ({words}{score}{_chosen_on(point)})"


def _chosen_on(point: Mapping[str, Any]) -> str:
    """On which cases a threshold was chosen, and on how many."""
    split = str(point.get("split") or "")
    if not split:
        return ""
    of = ""
    if point.get("n") and point.get("n_events") is not None:
        unit = str(point.get("unit") or "case")
        of = f", {quantity(point['n'], unit)}, {count(point['n_events'])} positive"
    return f", chosen on {SPLITS.get(split, split)}{of}"


def _stored(context: ReportContext) -> str:
    """What the first stored threshold would give; empty where one is in use."""
    points = [point for point in counted_points(context) if not point.get("exploratory")]
    if not points or any(point.get("active") for point in points):
        return ""
    point = points[0]
    rate = {
        key: estimate({**point[key], "percent": True}) for key in ("sensitivity", "specificity")
    }
    aim, _, wanted = str(point["name"]).partition("=")
    missed = _aim(point, aim, point[aim]) if aim in rate and wanted else ""
    words, cut = point_words(point["name"]), float(point["threshold"])
    where = f"score {cut:.3g} or more ({words}{_chosen_on(point)})"
    if is_by_fold(point):
        # No case was held against the threshold that is shipped.
        where = f"{words}; {point['counted_at']}"
    return (
        f"A threshold for {context.task.positive_name}, not in use: {where}. Here it gives a "
        f"sensitivity of {rate['sensitivity']} and a specificity of {rate['specificity']}{missed}."
        " The command resight threshold puts it in use."
    )
