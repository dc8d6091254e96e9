"""Whether a score can be read as a probability, and what temperature scaling did, in sentences.

Nothing is computed here: the answer rests on the expected calibration error and its interval,
whose lower end is above zero only where the error is more than right scores would show by
chance, and on the calibration line, which tells the direction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.report.numbers import NBSP, number, pick

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.app import Task

__all__ = ["can_be_read", "temperature_words"]

ERROR = "expected_calibration_error"
# An error below which a score still serves as a probability, and above which nothing is shown.
SMALL = 0.1


def can_be_read(evaluation: Mapping[str, Any], task: Task) -> str:
    """May 0.3 be read as 30 %? One or two sentences; empty where no error was estimated."""
    about = evaluation.get("about") or {}
    row = _row(evaluation, ERROR, about.get("unit"))
    if row is None or row.get("value") is None or row.get("low") is None:
        return ""
    low, high = float(row["low"]), float(row["high"])
    points = f"{100 * float(row['value']):.1f}"
    off = f"on average off by {points} percentage points ({100 * low:.1f} to {100 * high:.1f})"
    away = _direction(evaluation, task)
    if low > 0 or away:
        beyond = ", more than right scores would show by chance" if low > 0 else ""
        said = f"A score cannot be read as a probability: scores are {off}{beyond}."
    elif high <= SMALL:
        said = (
            f"A score can be read as a probability, 0.3 as about 30{NBSP}%: scores are {off}, no "
            "more than right scores would show by chance."
        )
    else:
        said = (
            f"Whether a score can be read as a probability, 0.3 as 30{NBSP}%, is not shown: scores "
            f"are {off}, and on so few cases right scores could show as much by chance."
        )
    return " ".join(filter(None, [said, away, temperature_words(evaluation, worse_only=True)]))


def temperature_words(evaluation: Mapping[str, Any], *, worse_only: bool = False) -> str:
    """What temperature scaling did to the scores of the judged cases; empty where unknown.

    Args:
        evaluation: the content of ``metrics.json``.
        worse_only: say nothing unless both log-loss and calibration error rose.
    """
    about = evaluation.get("about") or {}
    temperature = about.get("temperature")
    pairs = []
    for name in ("log_loss", ERROR):
        after, before = (_row(evaluation, key, "image") for key in (name, f"{name}_before"))
        if after is None or before is None or None in {after.get("value"), before.get("value")}:
            return ""
        pairs.append((float(before["value"]), float(after["value"])))
    (loss_before, loss), (error_before, error) = pairs
    if loss == loss_before and error == error_before:
        return ""
    is_worse = loss > loss_before and error > error_before
    if worse_only and not is_worse:
        return ""
    what = "Temperature scaling"
    if temperature is not None and not worse_only:
        what += f" (all logits divided by {number(float(temperature))}, fitted on validation)"
    told = {
        True: "did not help here but made scores worse",
        False: "improved the scores here" if loss < loss_before else "did not improve scores here",
    }[is_worse]
    return (
        f"{what} {told}: log-loss {number(loss_before)} before and {number(loss)} after, "
        f"calibration error {number(error_before)} and {number(error)}."
    )


def _row(evaluation: Mapping[str, Any], name: str, unit: object) -> Mapping[str, Any] | None:
    """One overall number of a unit."""
    rows = pick(evaluation.get("metrics") or [], name=name, of="", subgroup="")
    return next(iter(pick(rows, unit=unit or "image")), None)


def _direction(evaluation: Mapping[str, Any], task: Task) -> str:
    """How scores of the positive classes miss, where an interval of the line shows it."""
    line = evaluation.get("calibration") or {}
    large, slope = (line.get(key) or {} for key in ("in_the_large", "slope"))
    found = []
    if large.get("low") is not None and (large["high"] < 0 or large["low"] > 0):
        found.append("too high as a whole" if large["high"] < 0 else "too low as a whole")
    if slope.get("low") is not None and (slope["high"] < 1 or slope["low"] > 1):
        found.append("too extreme" if slope["high"] < 1 else "too close to one another")
    return f"Scores of {task.positive_name} are {' and '.join(found)}." if found else ""
