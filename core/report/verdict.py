"""The headline of a report in a sentence: metric, interval, cases, comparison with chance.

The report, the page of a prediction, the map of a field and the model card say it with the
same words, so that nobody meets two judgements of one model.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from core.base.words import NOT_A_DEVICE, SHORTCUTS
from core.evaluation.delivered import delivered_rates
from core.evaluation.verdicts import verdicts
from core.report.numbers import (
    UNDEFINED,
    estimate,
    interval,
    level_words,
    number,
    pick,
    quantity,
    value_words,
)
from core.report.own_words import in_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.app import App, ReportContext

__all__ = [
    "FEW",
    "NO_MEASURE",
    "UNKNOWN_ORIGIN",
    "answers_of",
    "counted_points",
    "delivered_of",
    "group_of",
    "headline_of",
    "held_out_words",
    "image_word",
    "in_force",
    "is_probe_kept",
    "on_cases",
    "use_words",
    "verdict",
]

# Of few cases, whatever the app.
FEW = re.compile(r"^Only |[Tt]oo few|uncertain|call for caution|may be too narrow")
# In place of an accuracy that was measured on other kinds of inputs; the reason follows.
NO_MEASURE = "How good this model was on its own held-out images says nothing of these inputs."
# Of a table made elsewhere: what its training saw, only its maker knows.
UNKNOWN_ORIGIN = "whether they were kept from training cannot be checked here"


def use_words(app: App | None, use: str = "") -> str:
    """The intended use, and of work on people that this is no medical device.

    Args:
        app: the app; None where the scores came from elsewhere.
        use: the intended use where there is no app.
    """
    use = app.intended_use if app else use
    is_about_people = app is None or app.about_people
    says_so = "not a medical device" in use
    return f"{use} {NOT_A_DEVICE if is_about_people and not says_so else ''}".strip()


def verdict(context: ReportContext) -> str:
    """The result in one or two sentences: on what, which number, how sure, better than chance?"""
    about = context.evaluation.get("about") or {}
    head = headline_of(context)
    if head is None:
        return "No number could be computed on these cases."
    cases = on_cases(context)
    name = _inside(str(head.get("title") or head["name"]))
    if head.get("value") is None:
        reason = str(head.get("reason") or "no reason is recorded")
        reason = reason.removeprefix(f"{UNDEFINED}: ").rstrip(".")
        return f"{cases}, {name} is {UNDEFINED}: {reason}."
    between = interval(head)
    message = f" ({level_words([head])} {between})" if between else ", with no interval"
    first = f"{cases}, {name} was {value_words(head)}{message}"
    found = {entry["question"]: entry for entry in answers_of(context)}
    second = _beside_own_test(found.get("own test"))
    chance = found.get("chance")
    beyond = _beyond_chance(chance, head)
    ranked = found.get("ranking")
    if ranked is not None and ranked["answer"] == "yes" and chance is not None:
        beyond = _in_ranking_alone(chance, ranked, context.task.positive_name)
    rest = f"{_missed(context)}{_beside_shortcut(found.get('shortcuts'), head)}"
    return f"{first}{beyond}{second}{rest}{_weak(about)}"


def _in_ranking_alone(chance: Mapping[str, Any], ranked: Mapping[str, Any], name: str) -> str:
    """The end of the verdict where classes are not shown to be told, and ranks are."""
    classes = "worse than chance" if chance["answer"] == "no" else "not shown to beat chance"
    return (
        f". The predicted classes are {classes} ({_plain(chance)}); the score ranks {name} cases "
        f"above the others better than chance (AUROC {estimate(ranked)}, chance is "
        f"{_plain(ranked)})."
    )


def delivered_of(context: ReportContext) -> Mapping[str, Any] | None:
    """How often the calls are right, as stored; of older evaluations, as their tables give it."""
    if "delivered" in context.evaluation:
        stored: Mapping[str, Any] | None = context.evaluation["delivered"]
        return stored
    tables = {"image": context.predictions, **context.decisions}
    return delivered_rates(context.evaluation, tables, context.task)


def counted_points(context: ReportContext) -> list[Mapping[str, Any]]:
    """The operating points that were counted at here."""
    return [
        point
        for point in context.evaluation.get("operating_points") or []
        if (point.get("sensitivity") or {}).get("value") is not None
    ]


def in_force(context: ReportContext) -> Mapping[str, Any] | None:
    """The rates of what decides: the operating point in use, else the predicted class."""
    points = counted_points(context)
    return next((p for p in points if p.get("active")), None) or delivered_of(context)


def _missed(context: ReportContext) -> str:
    """How many positive cases the delivered calls miss."""
    found = in_force(context) or {}
    hit = found.get("sensitivity") or {}
    if not hit.get("n") or "x" not in hit:
        return ""
    n, missed = int(hit["n"]), int(hit["n"]) - int(hit["x"])
    by = "At the operating point in use" if "name" in found else "By the predicted class"
    return (
        f" {by}, {f'{missed:,}' if missed else 'none'} of "
        f"{quantity(n, str(found.get('unit') or 'case'))} that {'is' if n == 1 else 'are'} "
        f"{context.task.positive_name} {'is' if missed < 2 else 'are'} missed."
    )


def _beside_shortcut(entry: Mapping[str, Any] | None, head: Mapping[str, Any]) -> str:
    """That a baseline without the subject is not shown to be beaten, where it is not."""
    if entry is None or entry["answer"] == "yes" or entry.get("value") is None:
        return ""
    name, percent = str(entry["against"]["words"]), bool(entry["percent"])
    own, other = (number(of["value"], percent=percent) for of in (entry, entry["against"]))
    by = f" by {entry['unit']}" if entry.get("unit") != head.get("unit") else ""
    worse = "does worse" if entry["answer"] == "no" else "is not shown to do better"
    return (
        f" It {worse} than {SHORTCUTS.get(name, name)} alone "
        f"({_inside(str(entry['title']))}{by} {own} against {other})."
    )


def _plain(entry: Mapping[str, Any]) -> str:
    """The value of chance: 0, 0.5, 33.3 %."""
    value = float(entry["against"]["value"])
    return number(value, percent=True) if entry["percent"] else f"{value:g}"


def _weak(about: Mapping[str, Any]) -> str:
    """What takes force from a result on cases that served to choose the model."""
    return (
        " These cases also served to choose the model, so new data may give less."
        if about.get("split") == "val"
        else ""
    )


def _beyond_chance(entry: Mapping[str, Any] | None, head: Mapping[str, Any]) -> str:
    """The end of the verdict: whether this is more than guessing gives."""
    if entry is None:
        return "."
    chance = _plain(entry)
    is_head = entry["title"] == head.get("title")
    basis = (
        f"chance is {chance}"
        if is_head
        else f"{_inside(str(entry['title']))} {estimate(entry)}, chance is {chance}"
    )
    if entry["answer"] == "yes":
        return f": better than chance ({basis})."
    if entry["answer"] == "no":
        return f": worse than chance ({basis}). Look for swapped labels."
    if entry.get("low") is None:
        return f". Whether that is better than chance cannot be said without an interval ({basis})."
    return (
        f". This test cannot tell whether the model is better than guessing ({basis}, inside the "
        "interval)."
    )


def _beside_own_test(entry: Mapping[str, Any] | None) -> str:
    """On new data: what became of the headline."""
    if entry is None:
        return ""
    against = entry["against"]
    percent = bool(entry["percent"])
    ends = {"low": against["difference_low"], "high": against["difference_high"]}
    difference = estimate({"value": against["difference"], **ends, "percent": percent})
    return (
        f" On the run's own test it was {number(against['value'], percent=percent)}; difference "
        f"{difference}, {against['verdict']}."
    )


def answers_of(context: ReportContext) -> list[dict[str, Any]]:
    """As stored; of an evaluation from before they were, as its numbers give them."""
    stored = context.evaluation.get("verdicts")
    if stored is not None:
        return list(stored)
    is_probe = is_probe_kept(context)
    return verdicts(context.evaluation, context.task, context.audit, is_probe=is_probe)


def is_probe_kept(context: ReportContext) -> bool:
    """Whether the model is the probe itself: no fine-tuned epoch was kept."""
    kept = [member.get("kept") for member in context.run.get("members") or []]
    return bool(kept) and all(name == "probe" for name in kept)


def headline_of(context: ReportContext) -> Mapping[str, Any] | None:
    """The row of the metric named before training, or the first there is."""
    about = context.evaluation.get("about") or {}
    whole = pick(context.evaluation.get("metrics") or [], of="", subgroup="")
    found = pick(whole, name=about.get("headline")) or whole
    return next(iter([*pick(found, unit=about.get("unit")), *found]), None)


def on_cases(context: ReportContext) -> str:
    """Which cases, and what they had to do with the training."""
    about = context.evaluation.get("about") or {}
    head = headline_of(context) or {}
    group = group_of(context)
    unit = str(head.get("unit") or "image")
    cases = quantity(head.get("n") or about.get("n_images") or 0, unit)
    n_groups = head.get("n_groups") or about.get("n_groups")
    if n_groups and group != unit and about.get("grouped", True) and n_groups != head.get("n"):
        cases += f" of {quantity(n_groups, group)}"
    split = str(about.get("split") or "")
    if split in {"test", "out-of-fold"} and context.run.get("predictions"):
        return f"On {cases} that the table calls {split} ({UNKNOWN_ORIGIN})"
    if split == "test":
        return f"On {cases} never used for training or tuning{_copied(context)}"
    if split == "out-of-fold":
        return f"On {cases}, each scored by networks that had not seen its {group}"
    if split == "val":
        return f"On {cases} of validation"
    return f"On {cases}" + (f" ({split})" if split else "")


def _copied(context: ReportContext) -> str:
    """How many of the cases have a copy that was used, nevertheless."""
    entries = context.evaluation.get("without") or []
    n = next((int(e["n"]) for e in entries if "among those trained" in str(e.get("title"))), 0)
    if not n:
        return ""
    return f" ({n:,} of them {'has' if n == 1 else 'have'} a copy there)"


def group_of(context: ReportContext) -> str:
    """What a group is called; where none is known, what counts by itself."""
    about = context.evaluation.get("about") or {}
    if not about.get("grouped", True) and about.get("unit"):
        return str(about["unit"])
    own = context.app.group if context.app else ""
    return str(about.get("group") or context.run.get("group") or own or "group")


def _inside(title: str) -> str:
    """A title within a sentence: ``macro-F1``, but ``AUROC``."""
    return title[0].lower() + title[1:] if title[1:2].islower() else title


def held_out_words(context: ReportContext, *, word: str = "image") -> list[str]:
    """The verdict, then the probe if the model is not shown to beat it.

    For pages beside which no report stands: a list of predictions, a map.

    Args:
        context: of the run's own evaluation; no sentence where that holds no number.
        word: what an image is called.
    """
    if not context.evaluation.get("metrics"):
        return []
    sentences = [verdict(context)]
    for entry in answers_of(context):
        beside = entry.get("against") or {}
        if entry["question"] != "probe" or entry["answer"] == "yes" or beside.get("value") is None:
            continue
        percent = bool(entry.get("percent"))
        own, other = (number(of["value"], percent=percent) for of in (entry, beside))
        sentences.append(
            f"It is not shown that the model does better than {beside['words']}: "
            f"{entry['title']} {own} against {other}."
        )
    # How few cases that rests on, which no report says beside these pages.
    sentences += [
        text for text in context.evaluation.get("cautions") or [] if FEW.search(str(text))
    ]
    return [in_words(sentence, word) for sentence in sentences]


def image_word(context: ReportContext) -> str:
    """What an image is called in this report: a photograph, a tile."""
    return context.app.image_word(context.manifest) if context.app else "image"
