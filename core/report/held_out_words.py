"""How good a model was on what was held out, in sentences for the pages of a prediction.

Whoever looks at a map or a table of predictions sees no report: the one number that says how
far to trust them, and what the report warns of first, must stand beside them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.base.words import SHORTCUTS
from core.report.numbers import interval, number, pick, quantity, value_words

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["NO_MEASURE", "held_out_words"]

# In place of an accuracy that was measured on other kinds of inputs; the reason follows.
NO_MEASURE = "How good this model was on its own held-out images says nothing of these inputs."


def held_out_words(evaluation: Mapping[str, Any], *, word: str = "image") -> list[str]:
    """The headline with its interval and cases; then each verdict that is not in its favour.

    Args:
        evaluation: the content of the run's ``metrics.json``; empty where it is not there.
        word: what an image is called, as in ``tile``.

    Returns:
        no sentence where there is no result.
    """
    about = evaluation.get("about") or {}
    unit = str(about.get("unit") or "image")
    found = pick(evaluation.get("metrics") or [], name=about.get("headline"), subgroup="", of="")
    row = next((row for row in found if row.get("unit") == unit), None)
    if row is None or row.get("value") is None:
        return []
    cases = quantity(int(row.get("n") or 0), word if unit == "image" else unit)
    groups = int(row.get("n_groups") or 0)
    of = (
        f" of {quantity(groups, str(about.get('group') or 'group'))}"
        if about.get("grouped")
        else ""
    )
    ends = interval(row)
    between = f" (95 % interval {ends})" if ends else " (without an interval)"
    title = str(row.get("title") or row["name"])
    said = [f"On {cases}{of} held out of training, {title} was {value_words(row)}{between}."]
    for verdict in evaluation.get("verdicts") or []:
        if verdict.get("answer") == "yes" or verdict.get("question") not in {"chance", "shortcuts"}:
            continue
        beside = verdict.get("against") or {}
        if beside.get("value") is None or verdict.get("value") is None:
            continue
        name = str(beside.get("words"))
        what = f"{SHORTCUTS[name]} alone" if name in SHORTCUTS else name
        percent = bool(verdict.get("percent"))
        own, other = (number(of["value"], percent=percent) for of in (verdict, beside))
        said.append(
            f"It is not shown that the model does better than {what}: {verdict['title']} {own} "
            f"against {other}."
        )
    return said
