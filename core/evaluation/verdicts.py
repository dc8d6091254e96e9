"""Statistical tests of the headline: against chance, the probe and shortcut baselines.

Each answer rests on intervals that ``metrics.json`` already holds, and is given only
where they allow one: "not shown" is an answer. Where two intervals of one quantity
are compared, "better" needs them not to overlap, which is stricter than a paired test. The
probe is compared by the paired difference where there is one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.app import Task

    Row = Mapping[str, Any]

__all__ = ["chance_of", "verdicts"]

# What guessing gives, by name of the number; of a balanced accuracy see ``chance_of``.
CHANCE = {
    "auroc": 0.5,
    "auroc_positive": 0.5,
    "macro_auroc": 0.5,
    "quadratic_kappa": 0.0,
    "linear_kappa": 0.0,
    "lins_concordance": 0.0,
}
# Where guessing gives the headline nothing known beforehand, one of these answers.
IN_PLACE = ("balanced_accuracy", "macro_auroc", "auroc", "quadratic_kappa")


def chance_of(name: str, n_classes: int) -> float | None:
    """The value that guessing gives a number, or None where that depends on the cases.

    >>> chance_of("balanced_accuracy", 5), chance_of("auroc", 2), chance_of("macro_f1", 5)
    (0.2, 0.5, None)
    """
    if name == "balanced_accuracy":
        return 1 / n_classes if n_classes else None
    return next((v for key, v in CHANCE.items() if name in {key, f"{key}_breast"}), None)


def verdicts(
    evaluation: Mapping[str, Any], task: Task, audit: Mapping[str, Any], *, is_probe: bool = False
) -> list[dict[str, Any]]:
    """A verdict for each question that can be asked of this evaluation.

    Args:
        evaluation: the content of ``metrics.json``.
        task: with its classes.
        audit: the content of ``audit.json``; empty where there is none.
        is_probe: whether the run kept the probe itself.

    Returns:
        ``question`` (``chance``, ``probe``, ``shortcuts``, ``own test``; ``ranking`` where the
        first is not answered with yes and positive cases are ranked), ``answer`` (``yes``,
        ``no``, ``not shown``), ``title``, ``value``, ``low``, ``high``, ``percent``, ``unit``,
        and ``against``: value, low, high and words of what it is compared with.
    """
    head = _headline(evaluation)
    if head is None:
        return []
    n_classes = len(task.classes) - len((evaluation.get("about") or {}).get("absent_classes") or [])
    if task.kind == "multilabel":
        # Each label is a question of two answers, and the number is the mean over the labels.
        n_classes = 2
    chance = _against_chance(evaluation, head, n_classes)
    found = [
        chance,
        None if chance is None or chance["answer"] == "yes" else _ranking(evaluation, chance),
        None if is_probe else _against_probe(evaluation, head),
        _against_shortcuts(evaluation, audit),
        _against_own_test(evaluation),
    ]
    return [entry for entry in found if entry is not None]


def _headline(evaluation: Mapping[str, Any]) -> Row | None:
    about = evaluation.get("about") or {}
    whole = _overall(evaluation.get("metrics") or [])
    named = [row for row in whole if row["name"] == about.get("headline")] or whole
    of_unit = [row for row in named if row.get("unit") == about.get("unit")]
    return next(iter([*of_unit, *named]), None)


def _overall(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if not row.get("of") and not row.get("subgroup")]


def _entry(question: str, row: Row, answer: str, against: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: row.get(key) for key in ("title", "value", "low", "high", "percent", "unit", "n")}
    return {"question": question, "answer": answer, **kept, "against": dict(against)}


def _against_chance(
    evaluation: Mapping[str, Any], head: Row, n_classes: int
) -> dict[str, Any] | None:
    """The headline, or the next number of the same unit that has a value under chance."""
    rows = [r for r in _overall(evaluation["metrics"]) if r.get("unit") == head.get("unit")]
    order = [head, *(r for name in IN_PLACE for r in rows if r["name"] == name)]
    for row in order:
        chance = chance_of(str(row["name"]), n_classes)
        if chance is not None and row.get("value") is not None:
            answer = _answer(row, chance, chance)
            return _entry("chance", row, answer, {"words": "chance", "value": chance})
    return None


def _ranking(evaluation: Mapping[str, Any], chance: Row) -> dict[str, Any] | None:
    """Whether positive cases are ranked above the others, where another number was asked first."""
    rows = _overall(evaluation.get("metrics") or [])
    areas = [r for r in rows if r["name"] in {"auroc", "auroc_positive"} and r.get("value")]
    row = next((r for r in areas if r.get("unit") == chance["unit"]), None)
    if row is None or row.get("title") == chance["title"]:
        return None
    return _entry("ranking", row, _answer(row, 0.5, 0.5), {"words": "chance", "value": 0.5})


def _against_probe(evaluation: Mapping[str, Any], head: Row) -> dict[str, Any] | None:
    paired = evaluation.get("against_probe")
    if paired and (paired["name"], paired["unit"]) == (head["name"], head.get("unit")):
        return _paired_with_probe(paired, head)
    same = [
        row
        for row in _overall(evaluation.get("probe") or [])
        if row["name"] == head["name"] and row.get("unit") == head.get("unit")
    ]
    if not same or same[0].get("value") is None or head.get("value") is None:
        return None
    probe = same[0]
    # Losses are better when lower; no headline is one, so a higher value is better here.
    answer = _answer(head, probe.get("low"), probe.get("high"))
    return _entry("probe", head, answer, {"words": "the probe", **_ends(probe)})


def _paired_with_probe(paired: Row, head: Row) -> dict[str, Any] | None:
    """The answer of the paired difference, which knows what is hard for both."""
    if paired["difference"] is None or paired["first"] is None:
        return None
    low, high = paired["low"], paired["high"]
    answer = "not shown"
    if low is not None and (low > 0 or high < 0):
        answer = "yes" if low > 0 else "no"
    against = {"words": "the probe", "value": paired["first"], "verdict": paired["verdict"]}
    against |= {"difference": paired["difference"]}
    against |= {"difference_low": low, "difference_high": high}
    return _entry("probe", head, answer, against)


def _against_shortcuts(
    evaluation: Mapping[str, Any], audit: Mapping[str, Any]
) -> dict[str, Any] | None:
    if (evaluation.get("about") or {}).get("split") == "new data":
        # The baselines were judged on the run's own data; what they reach on others is not known.
        return None
    known = [e for e in audit.get("shortcuts") or [] if e.get("value") is not None]
    same = [
        row
        for row in _overall(evaluation.get("metrics") or [])
        if row["name"] == "balanced_accuracy" and row.get("unit") == "image"
    ]
    if not known or not same or same[0].get("value") is None:
        return None
    best = max(known, key=lambda entry: float(entry["value"]))
    row = {**same[0], "percent": True}
    answer = _answer(row, best.get("low"), best.get("high"))
    against = {"words": str(best["name"]), **_ends(best), "chance": best.get("chance")}
    return _entry("shortcuts", row, answer, against)


def _against_own_test(evaluation: Mapping[str, Any]) -> dict[str, Any] | None:
    numbers = (evaluation.get("external") or {}).get("numbers") or []
    if not numbers or numbers[0].get("difference") is None:
        return None
    row = numbers[0]
    low, high = row.get("low"), row.get("high")
    answer = "not shown"
    if low is not None and high is not None:
        answer = "yes" if low > 0 else "no" if high < 0 else "not shown"
    shown = {**row, "value": row["now"], "low": None, "high": None}
    against = {"words": "its own test", "value": row["before"], "verdict": row.get("verdict")}
    against |= {"difference": row["difference"], "difference_low": low, "difference_high": high}
    return _entry("own test", shown, answer, against)


def _answer(row: Row, low: float | None, high: float | None) -> str:
    """Whether the interval of a number lies above, below or across an interval or a value."""
    if None in (row.get("low"), row.get("high"), low, high):
        return "not shown"
    if float(row["low"]) > float(high or 0):
        return "yes"
    return "no" if float(row["high"]) < float(low or 0) else "not shown"


def _ends(row: Row) -> dict[str, Any]:
    return {key: row.get(key) for key in ("value", "low", "high")}
