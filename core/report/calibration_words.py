"""What was tested of the calibration, on how many cases, and what temperature scaling did.

Nothing is computed here. Of a positive class the sentence rests on slope and in-the-large of the
calibration line, with their intervals; without one on the expected calibration error, whose
lower end is above zero only where the error is more than right scores would show by chance. No
score is spoken of near which there are few cases, and a test that shows no error is not said to
make a score a probability.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.report.numbers import count, estimate, number, pick, plural, quantity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.app import Task

__all__ = ["calibration_words", "temperature_words"]

ERROR = "expected_calibration_error"
# Upper end of a calibration error above which an error that matters may hide.
SMALL = 0.1
# Below this it matters to nobody, whatever chance would give.
TINY = 0.0005
# Ends of the intervals of the calibration line beyond which one may hide, too: either alone
# moves a score by 0.1 (0.4 on the scale of log odds; a slope of 0.7 makes 0.9 of 0.82).
SLOPES, LARGE = (0.7, 1.4), 0.4
# Cases in a tenth of the range below which nothing is said of scores there.
NEARBY = 10


def calibration_words(evaluation: Mapping[str, Any], task: Task) -> str:
    """What was tested of the calibration, on what, with which result; empty where nothing was.

    Of a task with a positive class, its score is spoken of; else that of the predicted class.
    """
    message = _of_positive(evaluation, task) or _of_predicted(evaluation, task)
    return " ".join(
        filter(None, [message, message and temperature_words(evaluation, worse_only=True)])
    )


def _of_positive(evaluation: Mapping[str, Any], task: Task) -> str:
    """Of the score that thresholds are held against; empty without a calibration line."""
    line = evaluation.get("calibration") or {}
    slope, large = (line.get(key) or {} for key in ("slope", "in_the_large"))
    if None in {row.get(key) for row in (slope, large) for key in ("value", "low", "high")}:
        return ""
    name, noun = task.positive_name, _noun(evaluation, task)
    on = (
        f" on {count(line['n'])} {noun}, {count(line['n_events'])} of them {name}"
        if "n" in line
        else ""
    )
    numbers = (
        f"slope {estimate(slope)}, 1 is right; "
        f"calibration-in-the-large {estimate(large)}, 0 is right"
    )
    tested = f"Calibration of the score of {name}, tested{on} ({numbers})"
    difference = _direction(slope, large)
    if difference:
        return f"{tested}: the score is {difference}."
    is_narrow = (
        SLOPES[0] <= slope["low"]
        and slope["high"] <= SLOPES[1]
        and max(abs(large["low"]), abs(large["high"])) <= LARGE
    )
    if not is_narrow:
        return (
            f"{tested}: inconclusive, the intervals are wide. Do not read the score as a "
            "probability."
        )
    # Of two classes the bins are those of the positive one's score.
    where = _where(_bins(evaluation), noun) if task.is_two_way else None
    rest = f" {where.rest}" if where is not None else ""
    return (
        f"{tested}: no error is shown over all cases together; of parts of them this says "
        f"nothing.{rest}"
    )


def _of_predicted(evaluation: Mapping[str, Any], task: Task) -> str:
    """Of the score of the predicted class, by the calibration error."""
    about = evaluation.get("about") or {}
    row = _row(evaluation, ERROR, about.get("unit"))
    if row is None or row.get("value") is None or row.get("low") is None:
        return ""
    low, high = float(row["low"]), float(row["high"])
    points = f"{100 * float(row['value']):.1f} percentage points"
    off = f"on average off by {points} ({100 * low:.1f} to {100 * high:.1f})"
    if high < TINY:
        off = "on average off by less than 0.1 percentage points"
    many = task.kind == "multilabel"
    name = "scores" if many else f"scores of {_decided_class(task)}"
    unit = str(row.get("unit") or "image")
    on = f" on {quantity(row['n'], unit)}" if row.get("n") else ""
    tested = f"Calibration of {name}, tested in ten bins{on}: they are {off}"
    if low > 0 and high >= TINY:
        return f"{tested}, more than calibrated scores would be by chance{_sentence(evaluation)}."
    where = _where(_bins(evaluation), _noun(evaluation, task))
    if where.n_bins < 2:
        why = where.share or "at no score are there enough cases"
        return f"{tested}; inconclusive: {why}. {where.rest}".strip()
    if high <= SMALL:
        chance = "" if high < TINY else ", no more than calibrated scores would be by chance"
        return f"{tested}{chance}. {_capital(where.share)}. {where.rest}".strip()
    return f"{tested}, and on so few cases calibrated scores could be as far off by chance."


def _sentence(evaluation: Mapping[str, Any]) -> str:
    """In which direction scores are off: what they say on average, and what was right."""
    bins = [row for row in _bins(evaluation) if row["n"] and row.get("score") is not None]
    n = sum(int(row["n"]) for row in bins)
    if not n:
        return ""
    score, share = (sum(row["n"] * row[key] for row in bins) / n for key in ("score", "share"))
    message, right = (number(value, percent=True) for value in (score, share))
    return f": they say {message}, and {right} were right"


@dataclass(frozen=True)
class _Where:
    """Where scores lie: tenths of the range with enough cases, and what is said of them."""

    n_bins: int
    share: str
    rest: str


def _where(bins: Sequence[Mapping[str, Any]], noun: str) -> _Where:
    """The scores near which there are enough cases to say anything."""
    filled = [row for row in bins if row["n"] >= NEARBY]
    n, of = (sum(int(row["n"]) for row in rows) for rows in (filled, bins))
    if not filled:
        return _Where(0, "", "")
    spans: list[list[float]] = []
    for row in filled:
        if spans and abs(spans[-1][1] - row["start"]) < 1e-9:
            spans[-1][1] = row["end"]
        else:
            spans.append([row["start"], row["end"]])
    words = " or ".join(
        f"of {low:.1f} or more" if high >= 1 else f"from {low:.1f} to {high:.1f}"
        for low, high in spans
    )
    share = f"{n:,} of {of:,} {noun} have a score {words}"
    if len(spans) == 1 and spans[0][0] > 0 and spans[0][1] >= 1:
        low = f"{spans[0][0]:.1f}"
        words = f"only {of - n:,} of {of:,} {noun} score below {low}, too few to say whether lower"
        return _Where(len(filled), f"{words} scores are right", "")
    whole = spans[0][0] <= 0 and spans[-1][1] >= 1 and len(spans) == 1
    rest = "" if whole else f"Too few {noun} have other scores to say whether those are right."
    return _Where(len(filled), share, rest)


def _bins(evaluation: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The reliability bins of the headline's unit."""
    found = (evaluation.get("curves") or {}).get("reliability") or {}
    unit = (evaluation.get("about") or {}).get("unit")
    return found.get(f"after, by {unit}") or found.get("after") or []


def _noun(evaluation: Mapping[str, Any], task: Task) -> str:
    """What is counted in the bins."""
    unit = str((evaluation.get("about") or {}).get("unit") or "image")
    return "scores of a label" if task.kind == "multilabel" else plural(unit)


def _decided_class(task: Task) -> str:
    return task.positive_name if task.is_two_way else "the predicted class"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def temperature_words(evaluation: Mapping[str, Any], *, worse_only: bool = False) -> str:
    """What temperature scaling did to the scores of the judged cases; empty where unknown.

    Args:
        evaluation: the content of ``metrics.json``.
        worse_only: say nothing unless log-loss is shown to have risen.

    The verdict is that of the paired difference of the same images; that the intervals of two
    numbers overlap would say nothing of it.
    """
    about = evaluation.get("about") or {}
    temperature = about.get("temperature")
    pairs = []
    for name in ("log_loss", ERROR):
        after, before = (_row(evaluation, key, "image") for key in (name, f"{name}_before"))
        if after is None or before is None or None in {after.get("value"), before.get("value")}:
            return ""
        pairs.append((before, after))
    (loss_before, loss), (error_before, error) = pairs
    if all(before["value"] == after["value"] for before, after in pairs):
        return ""
    change = evaluation.get("scaling") or {}
    is_known = None not in {change.get(key) for key in ("difference", "low", "high")}
    is_worse = is_known and change["low"] > 0
    if worse_only and not is_worse:
        return ""
    what = "By image, temperature scaling"
    if temperature is not None and not worse_only:
        what += f" ({_temperature_told(about, float(temperature))})"
    message = ", difference not tested"
    if is_known:
        is_better = change["high"] < 0
        message = " is shown neither to help nor to harm here"
        message = " improved the scores here" if is_better else message
        message = " did not help here but made scores worse" if is_worse else message
        message += (
            f" (log-loss changed by {estimate({**change, 'value': change['difference']})}, paired)"
        )
    return (
        f"{what}{message}: log-loss {estimate(loss_before)} before and {estimate(loss)} "
        f"after, calibration error {estimate(error_before)} and {estimate(error)}."
    )


def _temperature_told(about: Mapping[str, Any], own: float) -> str:
    """By what logits were divided, and where that was fitted; of folds, each by its own."""
    if about.get("split") != "out-of-fold":
        basis = about.get("temperature_from") or "validation"
        return f"all logits divided by {number(own)}, fitted on {basis}"
    by_fold = (about.get("fold_temperatures") or {}).values()
    message = "logits of each fold divided by a temperature fitted on the other folds"
    if not by_fold:
        return message
    low, high = (number(float(end(by_fold))) for end in (min, max))
    return f"{message}: {low if low == high else f'{low} to {high}'}"


def _row(evaluation: Mapping[str, Any], name: str, unit: object) -> Mapping[str, Any] | None:
    """One overall number of a unit."""
    rows = pick(evaluation.get("metrics") or [], name=name, of="", subgroup="")
    return next(iter(pick(rows, unit=unit or "image")), None)


def _direction(slope: Mapping[str, Any], large: Mapping[str, Any]) -> str:
    """How scores of the positive classes miss, where an interval of the line shows it."""
    found = []
    if large["high"] < 0 or large["low"] > 0:
        found.append("too high as a whole" if large["high"] < 0 else "too low as a whole")
    if slope["high"] < 1 or slope["low"] > 1:
        found.append("too extreme" if slope["high"] < 1 else "too close to the middle")
    return " and ".join(found)
