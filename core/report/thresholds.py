"""The sections on operating points, the rule that aggregates images, and use of the scores.

Nothing is computed here; a number that ``metrics.json`` does not hold is not shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from core.blocks import Block, Fold, Table, Text
from core.report import plots
from core.report.numbers import (
    UNDEFINED,
    Footnotes,
    count,
    estimate,
    is_by_fold,
    joined_points,
    level_words,
    number,
    pick,
    plural,
    point_words,
    rounded_parts,
    sentences,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.report.results import Results

    Row = Mapping[str, Any]

__all__ = ["operating_blocks", "rule_blocks", "use_blocks"]

# Of errors among the cases that are left, measured: docs/coverage.md, the strong studies.
RARE_ERROR, RARE_ERROR_COVERS = 0.1, 90
# Keys of an operating point in metrics.json, and their words; the last names the class.
RATES = (
    ("sensitivity", "Sensitivity"),
    ("specificity", "Specificity"),
    ("ppv", "Positive predictive value"),
    ("npv", "Negative predictive value"),
    ("recall_rate", "Called {name}"),
)


def operating_blocks(results: Results) -> list[Block]:
    """What each operating point gives here, one line each; where it came from behind a fold."""
    points = results.evaluation.get("operating_points") or []
    if not points:
        return []
    name = results.task.positive_name
    merged = _merged(points)
    own = results.evaluation.get("delivered")
    if own and not any(point.get("active") for point in points):
        merged = [("predicted class (in use)", own), *merged]
    lines, numbers = [], set[int]()
    notes = Footnotes()
    for title, point in merged:
        line = {"Operating point": title}
        for key, words in RATES:
            rate = {**(point.get(key) or {}), "percent": True}
            value = estimate(rate) + notes.mark(rate) if point.get(key) else ""
            line[words.format(name=name)] = value
        counts = point.get("counts") or {}
        for key, words in (("tp", "found"), ("fp", "false alarms"), ("fn", "missed")):
            line[words.capitalize()] = count(counts[key]) if counts else ""
        numbers.add(int((point.get("recall_rate") or {}).get("n") or 0))
        lines.append(line)
    frame = pd.DataFrame(lines)
    unit = next((str(point["unit"]) for point in points if point.get("unit")), "")
    n = f", n = {' and '.join(map(count, sorted(numbers)))}"
    why = [f"{title}: {point['reason']}." for title, point in merged if point.get("reason")]
    blocks: list[Block] = [
        Table(
            frame,
            title=f"Operating points{f', by {unit}' if unit else ''}{n}",
            note=" ".join([f"In brackets the {level_words(points)}.", *why]),
            numeric=tuple(frame.columns[1:]),
            marked=notes.texts,
        )
    ]
    stored = [(title, point) for title, point in merged if "name" in point]
    sources = pd.DataFrame([_source(title, point) for title, point in stored])
    sources = sources.loc[:, (sources != "").any()]
    table = Table(sources, title="Where the thresholds came from", numeric=("Threshold",))
    other = [block for title, point in stored for block in _elsewhere(title, point, name)]
    blocks.append(Fold("Thresholds, and what to expect at other prevalences", [table, *other]))
    names = {str(point["name"]) for point in points}
    results.claim(r for r in pick(results.rows, subgroup="") if r.get("of") in names)
    return blocks


def _merged(points: Sequence[Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """The points with those that decide alike joined under all of their names."""
    found: dict[Any, list[Mapping[str, Any]]] = {}
    for point in points:
        counts = point.get("counts") or {}
        key = (point.get("unit"), *(counts.get(k) for k in ("tp", "fp", "fn", "tn")))
        found.setdefault(key if counts else id(point), []).append(point)
    return [
        (
            joined_points([point_words(point["name"]) for point in same], " and ")
            + (" (in use)" if any(point.get("active") for point in same) else ""),
            next((point for point in same if point.get("active")), same[0]),
        )
        for same in found.values()
    ]


def _source(title: str, point: Mapping[str, Any]) -> dict[str, str]:
    """Threshold and origin of one point."""
    return {
        "Operating point": title,
        "Threshold": UNDEFINED if point["threshold"] is None else number(point["threshold"]),
        "Chosen on": _chosen_on(point),
        "There": _reached_there(point),
        "Cases here": str(point.get("counted_at") or ""),
        **_likelihoods(point),
        "By": str(point.get("unit") or ""),
        "Standing": _standing(point),
    }


def _likelihoods(point: Mapping[str, Any]) -> dict[str, str]:
    """By how much a call, and none, change the odds."""
    ratios = point.get("likelihood_ratios") or {}
    return {
        f"LR{sign}": estimate(ratios[key]) if ratios.get(key) else ""
        for key, sign in (("positive", "+"), ("negative", "\N{MINUS SIGN}"))
    }


RULE_WORDS = {
    "mean": "mean",
    "max": "maximum (the worst image)",
    "noisy_or": "noisy-or",
    "attention": "attention (learned weights)",
}


def rule_blocks(results: Results) -> list[Block]:
    """The headline by rule of aggregation from images to a unit."""
    rows = results.evaluation.get("rules") or []
    blocks: list[Table] = []
    for unit in dict.fromkeys(row["unit"] for row in rows):
        of_unit = [row for row in rows if row["unit"] == unit]
        first = of_unit[0]
        lines = [
            {
                "Rule": RULE_WORDS.get(row["rule"], row["rule"])
                + (" (in use)" if row["in_force"] else ""),
                str(first["title"]): estimate(row),
                "Difference to the rule in use": ""
                if row["difference"] is None
                else estimate(
                    {
                        "value": row["difference"],
                        "low": row["difference_low"],
                        "high": row["difference_high"],
                        "percent": row["percent"],
                    }
                ),
            }
            for row in of_unit
        ]
        several = f"{count(first['n_several'])} of {count(first['n'])} {plural(unit)}"
        blocks.append(
            Table(
                pd.DataFrame(lines),
                title=f"By {unit}",
                note=f"{several} have several images. The rule in use was fixed before this "
                "evaluation; an interval that holds 0 does not show a difference from it."
                + (f" {sentences(first['reason'])}" if first.get("reason") else ""),
                numeric=tuple(lines[0])[1:],
            )
        )
    return [Fold("Rules of aggregation from images to units compared", blocks)] if blocks else []


def _standing(point: Mapping[str, Any]) -> str:
    """Whether decisions are made at it, and whether it may be believed."""
    if point.get("exploratory"):
        return "exploratory: chosen on the cases it is judged on"
    if point.get("active"):
        return "in use"
    return "chosen on the other folds" if is_by_fold(point) else "set before this evaluation"


def _chosen_on(point: Mapping[str, Any]) -> str:
    """Where a threshold came from, with how many cases of which how many were positive."""
    split = str(point.get("chosen_on") or point.get("split") or point.get("source") or "")
    words = {"val": "validation", "out-of-fold": "out-of-fold cases"}.get(split, split)
    if words and point.get("n") is not None and point.get("n_events") is not None:
        words += f", {count(point['n'])} cases, {count(point['n_events'])} positive"
    return words


def _reached_there(point: Mapping[str, Any]) -> str:
    """What it gave on the cases it was chosen on."""
    there = point.get("reached") or {}
    return ", ".join(
        f"{words} {number(there[key], percent=True)}"
        for key, words in (("sensitivity", "sensitivity"), ("specificity", "specificity"))
        if there.get(key) is not None
    )


def _elsewhere(title: str, point: Mapping[str, Any], name: str) -> list[Text | Table]:
    """What one operating point gives where positive cases are rarer or commoner."""
    blocks: list[Text | Table] = [*_expected(point.get("at_prevalence"), name)]
    blocks += _by_prevalence(point.get("by_prevalence") or [], title)
    return blocks


def _by_prevalence(found: Sequence[Mapping[str, Any]], name: str) -> list[Table]:
    """Predictive values at prevalences from screening to the clinic."""
    lines = []
    for entry in found:
        if entry.get("reason"):
            continue
        line = {"Prevalence": number(entry["prevalence"], percent=True)}
        for key, words in RATES[2:4]:
            low, high = entry.get(f"{key}_low"), entry.get(f"{key}_high")
            row = {"value": entry.get(key), "low": low, "high": high, "percent": True}
            line[words] = estimate(row)
        per = entry.get("per_1000") or {}
        line["Called of 1,000"] = number(per["called"], places=0) if per else ""
        line["Missed of 1,000"] = number(per["missed"], places=0) if per else ""
        lines.append(line)
    if not lines:
        return []
    frame = pd.DataFrame(lines)
    note = (
        "By Bayes' rule, the prevalence taken as known; holds where cases of each kind resemble "
        "those tested."
    )
    title = f"At other prevalences: {name}"
    return [Table(frame, title=title, note=note, numeric=tuple(frame.columns))]


def _expected(found: Mapping[str, Any] | None, name: str) -> list[Text]:
    """Predictive values and counts where the model will be used."""
    if not found:
        return []
    where = f"Where {number(found['prevalence'], percent=True)} of cases are {name}"
    if found.get("reason"):
        return [Text(f"{where}: {found['reason']}.", "note")]
    values = []
    for key, words in RATES[2:4]:
        low, high = found.get(f"{key}_low"), found.get(f"{key}_high")
        row = {"value": found.get(key), "low": low, "high": high, "percent": True}
        values.append(f"{words.lower()} {estimate(row)}")
    per = found.get("per_1000") or {}
    expected_words = (
        ("called", f"called {name}"),
        ("found", "rightly"),
        ("false_alarms", "wrongly"),
        ("missed", "missed"),
    )
    if {"called", "found", "false_alarms"} <= set(per):
        called, parts = rounded_parts(per["called"], [per["found"], per["false_alarms"]])
        per = {**per, "called": called, "found": parts[0], "false_alarms": parts[1]}
    counts = ", ".join(
        f"{number(per[key], places=0)} {words}" for key, words in expected_words if key in per
    )
    expected = f" Of 1,000 cases: {counts}." if counts else ""
    return [Text(f"{where}, if these resemble the cases tested: {'; '.join(values)}.{expected}")]


def use_blocks(results: Results) -> list[Block]:
    """Net benefit of acting on the score, and the error left when cases are referred."""
    blocks: list[Block] = []
    for entry in results.curves.get("risk_coverage") or []:
        blocks.extend(_referral(entry))
    decision = results.curves.get("decision")
    if decision:
        x = decision["threshold"]
        model = plots.Line(
            name="this model",
            x=x,
            y=decision["model"],
            low=decision.get("low") or (),
            high=decision.get("high") or (),
        )
        others = [
            plots.Line(name=words, x=x, y=decision[key])
            for key, words in (("all", "act on all"), ("none", "act on none"))
            if decision.get(key)
        ]
        note = f"Net benefit of acting on the score of {results.words_of(decision.get('of'))}."
        if decision.get("prevalence_is_given"):
            where = number(decision["prevalence"], percent=True)
            note += f" Where {where} of cases are positive, if these resemble the cases tested."
        blocks.append(plots.decision_curve([model, *others], title="Decision curve.", note=note))
        blocks += _gains(decision, note, results)
    return blocks


def _gains(decision: Mapping[str, Any], note: str, results: Results) -> list[Block]:
    """What acting on the score gains on acting on none and on all, at some thresholds."""
    rows = decision.get("rows") or []
    notes = Footnotes()
    lines = []
    for row in rows:
        alone = {"value": row["model"], "low": row.get("model_low"), "high": row.get("model_high")}
        lines.append(
            {
                "Threshold probability": number(row["threshold"], percent=True),
                "Act on all": number(row["all"]),
                "Model minus none": estimate(alone),
                "Model minus all": estimate({**row, "value": row["gain"]}) + notes.mark(row),
            }
        )
    if not lines:
        return []
    frame = pd.DataFrame(lines)
    method = sentences(str(decision.get("method") or ""))
    note = f"{note} In brackets the {level_words(results.rows)}. {method}".strip()
    table = Table(frame, note=note, numeric=tuple(frame.columns), marked=notes.texts)
    return [Fold("Net benefit against acting on none and on all", [table])]


def _referral(entry: Mapping[str, Any]) -> list[Block]:
    """What is left when the least certain cases go to a person."""
    blocks: list[Block] = []
    lines = []
    most = max((int(row["n"]) for row in entry.get("rows") or []), default=0)
    for row in entry.get("rows") or []:
        shown = {**row, "value": row["error"], "percent": True}
        lines.append(
            {
                "Left to a person": number(1 - row["n"] / most, percent=True) if most else "",
                "Predicted": count(row["n"]),
                "Errors": count(row["errors"]),
                "Error among these": estimate(shown),
            }
        )
    if lines:
        frame = pd.DataFrame(lines)
        note = "The cases with the lowest score of the predicted class are left first."
        if any(0 < float(row["error"]) < RARE_ERROR for row in entry["rows"]):
            note += (
                f" Where errors are this rare such intervals hold less than they say: "
                f"{RARE_ERROR_COVERS} % of simulated truths."
            )
        blocks.append(
            Fold(
                "Error if the least certain are left to a person",
                [Table(frame, note=note, numeric=tuple(frame.columns))],
            )
        )
    if entry.get("x"):
        line = plots.Line(
            name="error",
            x=entry["x"],
            y=entry["y"],
            low=entry.get("low") or (),
            high=entry.get("high") or (),
        )
        note = "Among the others."
        blocks.append(
            plots.risk_coverage(
                line, title="Error if the least certain are left to a person.", note=note
            )
        )
    return blocks
