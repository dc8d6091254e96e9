"""Checklist of reporting guidelines (CLAIM, TRIPOD+AI, STARD-AI), filled in from the run.

The items are in our own short words and gather what CLAIM 2024
(doi:10.1148/ryai.240300), TRIPOD+AI (doi:10.1136/bmj-2023-078378) and STARD-AI
ask in common; they replace none of the three. What a program cannot know is
left to the user, in words, and never guessed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pandas as pd

from core.blocks import Table, Text
from core.report.numbers import NBSP, count, is_by_fold, pick, plural, quantity, sentences
from core.report.verdict import UNKNOWN_ORIGIN, is_probe_kept
from core.statistics.scores import rule_words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from core.app import ReportContext

__all__ = ["checklist_blocks"]

OPEN = "The user must state."
# Not asked of leaves and fields.
ETHICS = "Ethics approval, consent, de-identification"


def checklist_blocks(context: ReportContext, headings: Sequence[str]) -> list[Text | Table]:
    """The checklist as a table.

    Args:
        context: of the report.
        headings: sections of the page, which the answers refer to.
    """
    lines = [
        {
            "Asked for": asked,
            "By": by.replace(" ", NBSP),
            "Here": sentences(answer(context, headings) or OPEN),
        }
        for asked, by, answer in _ITEMS
        if asked != ETHICS or context.app is None or context.app.about_people
    ]
    left = sum(line["Here"] == OPEN for line in lines)
    return [
        Text(
            "Items that reporting guidelines ask for, in short words of our own: a help in "
            "writing, not a substitute for the guidelines. What no program can know is "
            "marked for the user."
        ),
        Table(
            pd.DataFrame(lines),
            note="C: CLAIM 2024. T: TRIPOD+AI. S: STARD-AI." + ("" if left else " All answered."),
        ),
    ]


def _about(context: ReportContext) -> Mapping[str, Any]:
    about: Mapping[str, Any] = context.evaluation.get("about", {})
    return about


def _use(context: ReportContext, _headings: Sequence[str]) -> str:
    use = context.app.intended_use if context.app else context.run.get("intended_use", "")
    return str(use)


def _see(part: str, words: str) -> Callable[[ReportContext, Sequence[str]], str]:
    """An answer that holds if the page has a section of this name."""

    def answer(_context: ReportContext, headings: Sequence[str]) -> str:
        found = [heading for heading in headings if part.lower() in heading.lower()]
        return f"{words} See “{found[0]}”." if found else ""

    return answer


def _split(context: ReportContext, _headings: Sequence[str]) -> str:
    about = _about(context)
    rule = context.run.get("split_rule") or ""
    group = context.run.get("group_rule") or ""
    if not (rule or group or about.get("group")):
        return ""
    by = f"Divided by {about.get('group') or context.run.get('group')}" if group else ""
    return sentences(by, group, rule)


def _internal(context: ReportContext, _headings: Sequence[str]) -> str:
    split = str(_about(context).get("split", ""))
    if split in {"test", "out-of-fold"} and context.run.get("predictions"):
        return f"the table calls them {split}; {UNKNOWN_ORIGIN}."
    return {
        "test": "internal test: held-out part of the same collection; no external test.",
        "out-of-fold": "internal cross-validation; no external test.",
        "val": "validation part that was also used for tuning; no independent test.",
        "": "",
    }.get(split, f"tested on {split}; whether it is another site, the user must state.")


def _size(context: ReportContext, _headings: Sequence[str]) -> str:
    about = _about(context)
    if not about.get("n_images"):
        return ""
    group = str(about.get("group") or "group")
    cases = quantity(about["n_images"], "image")
    if about.get("grouped", True):
        cases += f" of {quantity(about.get('n_groups') or 0, group)}"
    return f"{cases}; whether their number was calculated beforehand, the user must state."


def _missing(context: ReportContext, _headings: Sequence[str]) -> str:
    failures = context.evaluation.get("failures") or {}
    flagged = failures.get("n_flagged") or 0 if isinstance(failures, dict) else 0
    more = f" {count(flagged)} of doubtful quality, judged as they are." if flagged else ""
    n = failures.get("n", failures.get("n_failed")) if isinstance(failures, dict) else None
    if n is None and context.evaluation.get("metrics") and context.evaluation.get("flow"):
        # Failures have a table of their own wherever there are any.
        steps = [str(step["step"]) for step in context.evaluation["flow"]]
        lost = [step for step in steps if step.startswith(("Failed", "Skipped"))]
        return "counted in the flow of cases." if lost else "no case failed."
    if n is None:
        return ""
    if not n:
        return f"no case failed.{more}"
    return f"{count(n)} failed; shown left out and counted as wrong.{more}"


def _weights(context: ReportContext, _headings: Sequence[str]) -> str:
    start = context.run.get("start") or {}
    networks = [
        str(m.get("network", {}).get("backbone", "")) for m in context.run.get("members", [])
    ]
    if not networks:
        return ""
    source = start.get("source") or "unknown"
    licence = f", licence {start['licence']}" if start.get("licence") else ""
    return f"network {', '.join(dict.fromkeys(networks))}; started from {source}{licence}."


def _intervals(context: ReportContext, _headings: Sequence[str]) -> str:
    rows = context.evaluation.get("metrics", [])
    about = _about(context)
    rows = [row for row in rows if row.get("value") is not None and row.get("name") != "support"]
    shown = sum(row.get("low") is not None for row in rows)
    if not shown:
        return ""
    group = about.get("group")
    over = f" over {plural(str(group))}" if group and about.get("grouped") else ""
    rest = "" if shown == len(rows) else "; the others say why they have none"
    return f"{count(shown)} of {count(len(rows))} estimates have an interval{over}{rest}."


def _subgroups(context: ReportContext, headings: Sequence[str]) -> str:
    rows = context.evaluation.get("metrics", [])
    names = {str(row["subgroup"]).partition("=")[0] for row in rows if row.get("subgroup")}
    if not names:
        own = context.app.sections if context.app else ()
        shown = [s.title for s in own if s.part == "subgroups" and s.title in headings]
        if not shown:
            return ""
        return f"See “{shown[0]}”; other groups the user must state."
    words = context.app.characteristics if context.app else {}
    message = ", ".join(sorted(words.get(name) or name.replace("_", " ") for name in names))
    is_about_people = context.app is None or context.app.about_people
    fair = "" if not is_about_people or _ABOUT.search(" ".join(names)) else _UNFAIR
    return f"results by {message}.{fair}" + _see("subgroup", "")(context, headings)


# Columns by which fairness is asked, and what is said where none is there.
_ABOUT = re.compile(r"age|sex|gender|race|ethnic", re.IGNORECASE)
_UNFAIR = " Fairness: no result by age, sex or ethnicity."


def _threshold(context: ReportContext, headings: Sequence[str]) -> str:
    points = context.evaluation.get("operating_points") or []
    if not points:
        if _about(context).get("ranking_only"):
            return "none: scores are no probabilities, so decisions are left out."
        return f"no operating point: {rule_words(context.task)}."
    if all(point.get("exploratory") for point in points):
        return "none; those shown were chosen on the cases they are judged on, for looking only."
    if all(point.get("chosen_on") == "given by the user" for point in points):
        return "given by the user, who must state where it comes from."
    if any(is_by_fold(point) for point in points):
        return _see("operating", "each case is judged at what the other folds chose.")(
            context, headings
        )
    return _see("operating", _apart(context, points))(context, headings)


def _apart(context: ReportContext, points: Sequence[Mapping[str, Any]]) -> str:
    """Whether a threshold was chosen on other data; of a table made elsewhere, as far as known."""
    if not context.run.get("predictions"):
        return "chosen before the test, on other data."
    on = {str(point.get("chosen_on") or point.get("split") or "") for point in points}
    other = ", ".join(sorted(on - {"", "given by the user"})) or "other"
    sharing, group = context.run.get("sharing"), str(_about(context).get("group") or "group")
    if not sharing:
        return f"chosen on {other} rows; whether these share a {group} with the test is not known."
    shared = max((sharing["with"].get(name, 0) for name in on), default=0)
    if not shared:
        return "chosen before the test, on other data."
    return f"chosen on {other} rows, which share {quantity(shared, group)} with the test."


def _calibrated(context: ReportContext, headings: Sequence[str]) -> str:
    rows = context.evaluation.get("metrics", [])
    known = [row for row in rows if re.search("calibration|brier", str(row.get("name")))]
    return _see("calibration", "reported.")(context, headings) if known else ""


def _versions(context: ReportContext, _headings: Sequence[str]) -> str:
    version = (context.run.get("versions") or {}).get("resight")
    model = context.run.get("model_id") or _about(context).get("model_id")
    parts = [f"resight {version}" if version else "", f"model {model}" if model else ""]
    return ", ".join(filter(None, parts))


def _of_settings(context: ReportContext, headings: Sequence[str]) -> str:
    if context.plan is None or context.plan.empty:
        return ""
    return _see("settings", "those that differ from the default, each with its reason.")(
        context, headings
    )


def _leakage(context: ReportContext, headings: Sequence[str]) -> str:
    if not context.audit:
        return ""
    return _see("data", "checked as far as the data allow.")(context, headings)


def _saliency(context: ReportContext, headings: Sequence[str]) -> str:
    if context.saliency is None:
        return ""
    return _see("errors", "saliency maps, with their limits.")(context, headings)


def _simpler(context: ReportContext, headings: Sequence[str]) -> str:
    if context.evaluation.get("probe") and not is_probe_kept(context):
        return _see("results", "frozen features with a linear head.")(context, headings)
    if context.audit.get("shortcuts"):
        return _see("data", "baselines of the file, the mean colour and the border.")(
            context, headings
        )
    return ""


def _characteristics(context: ReportContext, headings: Sequence[str]) -> str:
    if not context.evaluation.get("characteristics"):
        return ""
    return _see("data", "counts, shares and quartiles of the columns that the data have.")(
        context, headings
    )


def _use_of_scores(context: ReportContext, headings: Sequence[str]) -> str:
    curves = context.evaluation.get("curves") or {}
    if not curves.get("decision"):
        return (
            _see("operating", "error if the least certain are left to a person.")(context, headings)
            if curves.get("risk_coverage")
            else ""
        )
    return _see("operating", "net benefit, against acting on all and on none.")(context, headings)


def _user(_context: ReportContext, _headings: Sequence[str]) -> str:
    return ""


def _headline(context: ReportContext, _headings: Sequence[str]) -> str:
    rows = pick(context.evaluation.get("metrics", []), of="", subgroup="")
    named = pick(rows, name=_about(context).get("headline"))
    if not named or context.app is None:
        return ""
    when = "" if context.run.get("predictions") else " before training"
    return f"{named[0].get('title') or named[0]['name']}, named by the app{when}."


_ITEMS: tuple[tuple[str, str, Callable[[ReportContext, Sequence[str]], str]], ...] = (
    ("Intended use and users", "C T S", _use),
    (
        "Question, and where the result would change what is done",
        "C T S",
        _user,
    ),
    ("Source of the data: places, dates, how cases were chosen", "C T S", _user),
    (ETHICS, "C T S", _user),
    ("Reference standard: who labelled, how, with what agreement", "C T S", _user),
    ("Level and rule of the partition", "C T", _split),
    ("Internal or external test", "C T", _internal),
    ("Flow of cases", "C T S", _see("data", "counted.")),
    ("Characteristics of each partition", "C T", _characteristics),
    ("Number of cases and how it was set", "C T S", _size),
    ("Failed, indeterminate and missing cases", "C T S", _missing),
    ("Network and starting weights", "C T", _weights),
    ("Settings of the training", "C T", _of_settings),
    ("Primary measure named beforehand", "C T", _headline),
    ("Uncertainty of every number", "C T S", _intervals),
    ("Discrimination", "C T S", _see("results", "reported.")),
    ("Calibration", "T", _calibrated),
    ("Practical use of the scores", "T", _use_of_scores),
    ("Threshold set in advance, with its table of hits and misses", "S T", _threshold),
    ("Results in subgroups; fairness", "C T S", _subgroups),
    ("Leakage and shortcuts", "C", _leakage),
    ("Analysis of errors", "C S", _see("errors", "the worst are shown.")),
    ("Explanation of decisions", "C", _saliency),
    ("Comparison with a simpler method", "C T", _simpler),
    ("Comparison with experts or current practice", "C T S", _user),
    ("Versions of software and model", "C T S", _versions),
    ("Availability of code, model and data", "C T S", _user),
    ("Limits, and what a prospective study would add", "C T S", _user),
    ("Registration, protocol, funding, interests", "C T S", _user),
)
