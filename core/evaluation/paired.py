"""Paired comparison of two models on the same cases: every metric of one level.

What makes a case hard for both does not count. The headline, named before, stands alone;
a few others of a unit, each once, are one family, corrected by Holm's method and called only
where the headline differs, too. The rest are described by their intervals. A difference can
be held against a margin, too.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from core.base.words import plural
from core.evaluation.differences import hold_family as hold
from core.evaluation.differences import of_same_cases, verdict_of
from core.evaluation.metric_specs import MetricSpec, same_of
from core.statistics.comparisons import cases_to_halve, mcnemar_of
from core.statistics.metric_kinds import basis_of
from core.statistics.metrics import sensitivity_of_positive, specificity_of_positive

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.evaluation.cases import Level
    from core.evaluation.paired_decisions import PairedCases

__all__ = ["compare_levels", "hold_family", "non_inferiority", "still_possible"]

# Built-in numbers that are tested; others say the same once more, in other words.
TESTED = frozenset({"accuracy", "auroc", "auroc_positive", "brier"})
DESCRIBED = "described by its interval, not tested"


def compare_levels(
    pair: PairedCases, specs: Sequence[MetricSpec], *, headline: str
) -> list[dict[str, Any]]:
    """Differences of numbers, second minus first.

    Args:
        pair: the same cases with the scores and decisions of two models.
        specs: what is compared, as the first level has it; those without a function of cases
            are passed over, and each function is compared once.
        headline: name of the number that was named before; its p is not corrected.

    Returns:
        for each ``name``, ``title``, ``percent``, ``unit``, ``n``, ``n_groups``, ``first``,
        ``second``, ``difference``, ``low``, ``high``, ``p``, ``method``, ``reason``,
        ``is_headline``, ``is_tested``, ``is_same`` (case by case, so that it cannot differ); and
        ``mcnemar`` for decisions on independent cases. ``hold_family`` adds ``p_holm``,
        ``family`` and ``verdict``.
    """
    first, second = pair.first, pair.second
    taken = {spec.name for spec in specs}
    found = [(first, second, spec, same_of(spec, second)) for spec in specs if spec.compute]
    found += [one for one in _rates(pair) if one[2].name not in taken]
    rows: list[dict[str, Any]] = []
    seen: set[tuple[str, ...]] = set()
    for level, other_level, one, other in found:
        function = _function_of(one, level)
        if one.kind == "count" or function in seen:
            continue
        seen.add(function)
        row = _row(level, other_level, one, other, headline)
        own = one.metric is not None or one.key.startswith("decisions:")
        row["is_tested"] = row["is_headline"] or own or one.name in TESTED
        if not row["is_tested"]:
            row["p"] = None
        rows.append(row)
    return rows


def _function_of(spec: MetricSpec, level: Level) -> tuple[str, ...]:
    """What a number computes, whatever it is called: two that agree are one test."""
    compute = spec.compute
    settings: dict[str, Any] = {}
    if isinstance(compute, partial) and not compute.args:
        settings = dict(compute.keywords)
        compute = compute.func
    positive = settings.pop("positive", None) or level.task.positive_index
    return tuple(map(repr, (compute, sorted(settings.items()), positive, level.task.classes)))


def hold_family(rows: Sequence[dict[str, Any]], *, level: float = 0.95) -> str:
    """Correct the p values of all rows but the headline, and put each into words.

    The headline is a gate for the families of the others, one for each unit. Where it cannot
    differ (the same scores decided at other thresholds) it is none, and all others are one family.

    Returns:
        which of the two it is, in a sentence.
    """
    main = next((row for row in rows if row["is_headline"]), None)
    behind = None if main is None or main["is_same"] else main["p"]
    others = [row for row in rows if not row["is_headline"]]
    if behind is None:
        hold(others, f"all but the headline: {_tested(others)}")
    else:
        for unit in dict.fromkeys(row["unit"] for row in others):
            some = [row for row in others if row["unit"] == unit]
            hold(some, f"by {unit}, after the headline: {_tested(some)}", behind=behind)
    if main is not None:
        main["p_holm"], main["family"] = main["p"], "the headline, named before"
    for row in rows:
        row["verdict"] = verdict_of(row, level, than="for the second")
        if not row["is_tested"]:
            row["family"] = ""
            if row["difference"] and row["low"] is not None:
                row["verdict"] = DESCRIBED
    rules = "The headline was named before and stands alone; the p values of the others are"
    if behind is not None:
        return (
            f"{rules} corrected together, and a difference of one of them is called only where the "
            "headline differs, too."
        )
    why = "is the same in both" if main is not None and main["is_same"] else "is not tested"
    return f"{rules} corrected together, whatever the headline gives, for it {why}."


def _tested(rows: Sequence[dict[str, Any]]) -> str:
    """The numbers of a family; with their units where there are several."""
    some = [row for row in rows if row["p"] is not None]
    many = len({row["unit"] for row in some}) > 1
    return "; ".join(str(row["title"]) + (f" by {row['unit']}" if many else "") for row in some)


def _row(
    first: Level, second: Level, one: MetricSpec, other: MetricSpec, headline: str
) -> dict[str, Any]:
    """One number."""
    found = of_same_cases(first, second, one, other)
    known = found.value == found.value
    row = {
        "name": one.name,
        "title": one.title,
        "percent": one.percent,
        "unit": first.unit,
        "n": first.n,
        "n_groups": first.plan.n_groups,
        "level": first.confidence,
        "first": found.first if known else None,
        "second": found.second if known else None,
        **found.as_row(),
        "is_headline": one.name == headline,
        "is_tested": True,
        # Without any spread the difference is 0 whichever cases are drawn.
        "is_same": found.value == 0 and found.interval.low is None,
    }
    a = one.basis.shares[0] if one.basis is not None and one.kind == "proportion" else None
    b = other.basis.shares[0] if other.basis is not None and a is not None else None
    if a is None or b is None:
        return row
    row["n"], row["n_groups"] = int(a.among.sum()), first.groups_in(a.among)
    row["is_same"] = bool((a.among == b.among).all() and (a.success == b.success)[a.among].all())
    if first.plan.is_independent and (a.among == b.among).all():
        among = a.among
        truth = a.success[among] | True
        test = mcnemar_of(truth, a.success[among], b.success[among])
        row["mcnemar"], row["p"] = asdict(test), test.p_exact
        row["method"] = "; ".join(filter(None, [row["method"], "p: McNemar, exact"]))
    return row


def _rates(pair: PairedCases) -> list[tuple[Level, Level, MetricSpec, MetricSpec]]:
    """Sensitivity and specificity, at the threshold in use and by the predicted class."""
    task = pair.first.task
    if not task.positive_index or task.kind == "multilabel":
        return []
    kinds: list[tuple[tuple[Level, Level], str, str]] = []
    if pair.sides is not None:
        suffix = "" if task.is_two_way else "_at_threshold"
        kinds.append((pair.sides, suffix, "at the threshold in use"))
    if pair.sides is None or not task.is_two_way:
        suffix = "" if task.is_two_way else "_by_class"
        word = "grade" if task.kind == "ordinal" else "class"
        kinds.append(((pair.first, pair.second), suffix, f"by the predicted {word}"))
    found = []
    for levels, suffix, words in kinds:
        for name, compute in (
            ("sensitivity", sensitivity_of_positive),
            ("specificity", specificity_of_positive),
        ):
            one = MetricSpec(
                name=f"{name}{suffix}",
                title=f"{name.capitalize()} {words}",
                key=f"decisions:{name}",
                percent=True,
                basis=basis_of(compute, levels[0].cases),
                compute=compute,
            )
            other = replace(one, basis=basis_of(compute, levels[1].cases))
            found.append((*levels, one, other))
    return found


def non_inferiority(
    row: dict[str, Any], margin: float, *, higher_is_better: bool
) -> dict[str, Any]:
    """Whether the second model is not worse than the first by more than a margin.

    The margin is set before the data are seen. Not worse is shown where the interval of the
    difference lies on the good side of it altogether.

    Args:
        row: of ``compare_levels``.
        margin: the greatest loss that does not matter, above 0, on the number's own scale.
        higher_is_better: which way is up.

    Returns:
        ``name``, ``margin``, ``is_shown`` (None where there is no interval) and ``words``.
    """
    low, high = row["low"], row["high"]
    loss = f"{100 * margin:g} points" if row["percent"] else f"{margin:g}"
    about = f"{row['title']}, margin {loss}"
    if low is None or high is None:
        why = f" ({row['reason']})" if row["reason"] else ""
        words = f"{about}: no interval{why}, so nothing is shown."
        return {"name": row["name"], "margin": margin, "is_shown": None, "words": words}
    worst = -low if higher_is_better else high
    shown = bool(worst < margin)
    at_most = f"{100 * worst:.1f} points" if row["percent"] else f"{worst:.3f}"
    if shown:
        words = f"{about}: the second is not worse than the first by the margin or more"
    else:
        words = f"{about}: that the second is not worse by the margin is not shown"
    words += f"; it may lose up to {at_most}." if worst > 0 else "; it is better."
    return {"name": row["name"], "margin": margin, "is_shown": shown, "words": words}


def still_possible(row: dict[str, Any], word: str) -> str:
    """What the interval of a difference leaves possible, and how many cases would halve it."""
    if row["low"] is None or row["high"] is None:
        return ""
    ends = [
        f"{100 * end:+.1f} points" if row["percent"] else f"{end:+.3f}"
        for end in (row["low"], row["high"])
    ]
    grouped = ""
    if row["n"] != row["n_groups"] and word != row["unit"]:
        grouped = f" of {cases_to_halve(row['n_groups']):,} {plural(word)}"
    return (
        f"Differences from {ends[0]} to {ends[1]} remain possible; "
        f"{cases_to_halve(row['n']):,} more {plural(row['unit'])}{grouped} would halve that."
    )
