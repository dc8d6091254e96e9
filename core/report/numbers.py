"""How a number of ``metrics.json`` is found, and the one way in which it is written.

Every number of a report passes through ``number`` or ``count``, so that what a
reader sees can be found again in the file. An undefined number is said to be
not estimable, with its reason; none is ever invented.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pandas as pd

from core.base.words import plural, quantity
from core.blocks import MARKS, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "NBSP",
    "UNDEFINED",
    "Footnotes",
    "brief",
    "count",
    "estimate",
    "interval",
    "is_by_fold",
    "joined_points",
    "level_words",
    "metrics_table",
    "number",
    "pick",
    "plural",
    "point_words",
    "quantity",
    "reasons",
    "sentences",
    "value_words",
    "without_counts",
]

UNDEFINED = "not estimable"
# A number and its unit stay on one line.
NBSP = "\N{NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"


def number(value: float, *, percent: bool = False, places: int | None = None) -> str:
    """A number in words: one decimal of a percentage, three decimals otherwise.

    Unless the decimals are given, what is not exactly zero or one never reads as
    if it were.

    >>> number(0.9478, percent=True).replace(NBSP, " "), number(0.9996, percent=True)[:-2]
    ('94.8 %', '99.96')
    >>> number(0.81234), number(1234.5), number(-0.25)[1:], number(49.96, places=1)
    ('0.812', '1,234.5', '0.250', '50.0')
    >>> number(1e-9), number(1 - 1e-9), number(1 - 1e-16)
    ('< 0.000001', '> 0.999999', '1.000')
    """
    scaled, bound = (100 * value, 100.0) if percent else (value, 1.0)
    # What arithmetic leaves of an exact end.
    scaled = next((end for end in (0.0, bound) if abs(scaled - end) < 1e-10), scaled)
    usual = 1 if percent or abs(scaled) >= 100 else 3
    for decimals in range(usual, 7) if places is None else (places,):
        text = f"{scaled:,.{decimals}f}"
        shown = float(text.replace(",", ""))
        if shown not in {0.0, bound} or scaled in {0.0, bound}:
            break
    else:
        if places is None:
            text = "< 0.000001" if shown == 0 else f"> {bound - 1e-6:,.6f}"
    if shown == 0:
        text = text.lstrip("-")
    return text.replace("-", MINUS) + (f"{NBSP}%" if percent else "")


def count(n: float) -> str:
    """A count.

    >>> count(1747)
    '1,747'
    """
    return f"{int(n):,}"


def value_words(row: Mapping[str, Any]) -> str:
    """The value alone."""
    if row.get("value") is None:
        return UNDEFINED
    return number(row["value"], percent=bool(row.get("percent")))


def interval(row: Mapping[str, Any]) -> str:
    """The interval alone; empty where there is none.

    >>> interval({"value": 0.5, "low": 0.4, "high": 0.6, "percent": True}).replace(NBSP, " ")
    '40.0 to 60.0 %'
    """
    if row.get("value") is None or row.get("low") is None or row.get("high") is None:
        return ""
    percent = bool(row.get("percent"))
    low, high = number(row["low"], percent=percent), number(row["high"], percent=percent)
    return f"{low.removesuffix(f'{NBSP}%')} to {high}"


def estimate(row: Mapping[str, Any]) -> str:
    """The value and its interval.

    >>> estimate({"value": 0.9, "low": 0.8, "high": 0.95})
    '0.900 (0.800 to 0.950)'
    """
    between = interval(row)
    return f"{value_words(row)} ({between})" if between else value_words(row)


def brief(row: Mapping[str, Any]) -> str:
    """The value and its interval without the percent sign, for a column whose head has it."""
    return estimate(row).replace(f"{NBSP}%", "")


def level_words(rows: Sequence[Mapping[str, Any]]) -> str:
    """What the intervals of these rows are called: ``95 % interval``."""
    level = next((row["level"] for row in rows if row.get("level")), 0.95)
    return f"{100 * float(level):g}{NBSP}% interval"


def is_by_fold(point: Mapping[str, Any]) -> bool:
    """Whether each case was counted at a threshold of its own fold, not at the one that ships."""
    return "other folds" in str(point.get("counted_at") or "")


def point_words(name: str) -> str:
    """An operating point by what it aims at.

    >>> point_words("sensitivity=0.95").replace(NBSP, " "), point_words("youden")
    ('aim: sensitivity 95 %', "Youden's index")
    """
    aim, equals, value = str(name).partition("=")
    words = {"recall-rate": "called at most", "youden": "Youden's index"}.get(aim, aim)
    if aim in {"sensitivity", "specificity", "recall-rate"} and equals:
        try:
            return f"aim: {words} {100 * float(value):g}{NBSP}%"
        except ValueError:
            return name
    return f"cost {value}" if aim == "cost" and equals else words


def joined_points(names: Sequence[str], mark: str) -> str:
    """Several operating points in words.

    >>> joined_points(["aim: sensitivity 95", "aim: specificity 90"], " and ")
    'aims: sensitivity 95 and specificity 90'
    """
    several = list(dict.fromkeys(names))
    bare = [name.removeprefix("aim: ") for name in several]
    if len(several) > 1 and all(name.startswith("aim: ") for name in several):
        return f"aims: {mark.join(bare)}"
    return mark.join(several)


def rounded_parts(total: float, parts: Sequence[float]) -> tuple[int, list[int]]:
    """A total rounded as everywhere else, and its parts rounded so that they add up to it.

    By largest remainder: each part is rounded down, and what is left goes to those that lost most.

    >>> rounded_parts(698.9, [170.5, 528.4])
    (699, [171, 528])
    """
    whole, low = round(total), [int(part) for part in parts]
    order = sorted(range(len(parts)), key=lambda i: low[i] - parts[i])
    for i in order[: max(0, whole - sum(low))]:
        low[i] += 1
    return whole, low


def pick(rows: Sequence[Mapping[str, Any]], **wanted: object) -> list[Mapping[str, Any]]:
    """The rows in which these columns have these values; an absent value counts as empty text.

    >>> pick([{"name": "f1", "of": "rust"}, {"name": "f1", "of": None}], name="f1", of="")
    [{'name': 'f1', 'of': None}]
    """
    return [
        row for row in rows if all((row.get(key) or "") == value for key, value in wanted.items())
    ]


class Footnotes:
    """What is said of single cells of one table: a raised letter in the cell, each note once."""

    def __init__(self) -> None:
        self._found: dict[str, str] = {}

    def mark(self, row: Mapping[str, Any]) -> str:
        """The letters of why a number is missing or to be read with care; empty without one.

        >>> notes = Footnotes()
        >>> [notes.mark({"reason": why}) for why in ("few.", "", "far; too few to judge", "few")]
        ['ᵃ', '', 'ᵇᶜ', 'ᵃ']
        >>> notes.texts
        ('Few.', 'Far.', 'Too few to judge.')
        """
        # The reason of a missing number starts with the words that stand in its place.
        why = str(row.get("reason") or "").removeprefix(f"{UNDEFINED}: ").rstrip(".")
        parts = [part for part in _SEVERAL.split(why) if part]
        return "".join(
            self._found.setdefault(part, MARKS[min(len(self._found), len(MARKS) - 1)])
            for part in parts
        )

    @property
    def texts(self) -> tuple[str, ...]:
        """The notes in the order of their letters."""
        return tuple(sentences(part) for part in self._found)


# Reasons of one number, of which the second stands alone elsewhere.
_SEVERAL = re.compile(r"; (?=too few)")


def reasons(rows: Sequence[Mapping[str, Any]]) -> str:
    """Why numbers of these rows are missing or to be read with care; each reason once."""
    values: dict[str, list[str]] = {}
    for row in rows:
        # The reason of a missing number starts with the words that stand in its place.
        why = str(row.get("reason") or "").removeprefix(f"{UNDEFINED}: ").rstrip(".")
        if why:
            what = str(row.get("title") or row.get("name"))
            of = f" ({row.get('of_words') or row['of']})" if row.get("of") else ""
            values.setdefault(why, []).append(what + of)
    parts = []
    for reason, names in values.items():
        shown = list(dict.fromkeys(names))
        more = f" and {len(shown) - 6} more" if len(shown) > 6 else ""
        parts.append(f"{', '.join(shown[:6])}{more}: {reason}.")
    return " ".join(parts)


def without_counts(methods: Iterable[object]) -> list[str]:
    """Methods of intervals, each once: how many cases there were stands beside each number.

    >>> without_counts(["Wilson, 1,012 independent cases", "Wilson, 1 independent case", ""])
    ['Wilson, independent cases']
    >>> without_counts(["bootstrap of 2,000 resamples of 88 eyes above, chance taken off"])
    ['bootstrap of 2,000 resamples of eyes above, chance taken off']
    >>> without_counts(["jackknife over 9 leaves on the scale of logarithm of 1 minus it"])
    ['jackknife over leaves on the scale of logarithm of 1 minus it']
    """
    messages = (
        re.sub(r"\b\d[\d,]* (?!resamples|minus)(?=[a-z])", "", str(one)) for one in methods if one
    )
    messages = (re.sub(r"independent case$", "independent cases", one) for one in messages)
    return list(dict.fromkeys(messages))


def sentences(*parts: object) -> str:
    """Parts as sentences: a capital first, a full stop last; empty ones are left out.

    >>> sentences("drawn by leaf", "", "seed 0.")
    'Drawn by leaf. Seed 0.'
    """
    texts = [str(part).strip().rstrip(".") for part in parts if part]
    return " ".join(f"{text[0].upper()}{text[1:]}." for text in texts if text)


def metrics_table(
    rows: Sequence[Mapping[str, Any]], *, title: str = "", group: str = "group", note: str = ""
) -> Table:
    """One line per number: value, interval, cases, groups, events.

    Args:
        rows: of ``core.base.tables.METRICS``.
        title: heading.
        group: what a group is called.
        note: said before the reasons.
    """
    between = level_words(rows)
    lines = []
    notes = Footnotes()
    for row in rows:
        of = f": {row.get('of_words') or row['of']}" if row.get("of") else ""
        lines.append(
            {
                "Measure": f"{row.get('title') or row.get('name')}{of}",
                "Value": value_words(row) + notes.mark(row),
                between: interval(row),
                "Cases": count(row.get("n") or 0),
                plural(group).capitalize(): count(row.get("n_groups") or 0),
                "Events": "" if row.get("n_events") is None else count(row["n_events"]),
            }
        )
    frame = pd.DataFrame(lines)
    if len(frame) and not frame["Events"].any():
        frame = frame.drop(columns="Events")
    groups = plural(group).capitalize()
    if len(frame) and (frame["Cases"] == frame[groups]).all():
        # Each counts by itself, so a second column would say the same.
        frame = frame.drop(columns=groups)
    sizes = [name for name in ("Cases", groups) if name in frame]
    if len(frame) > 1 and len(frame[sizes].drop_duplicates()) == 1:
        # The same cases in every line: said once, in the heading.
        n, n_groups = (int(rows[0].get(key) or 0) for key in ("n", "n_groups"))
        of = f" of {quantity(n_groups, group)}" if n_groups and n_groups != n else ""
        title = ", ".join(filter(None, [title, f"n = {count(n)}{of}"]))
        frame = frame.drop(columns=sizes)
    return Table(
        frame,
        title=title,
        note=note,
        numeric=tuple(frame.columns[1:]),
        marked=notes.texts,
    )
