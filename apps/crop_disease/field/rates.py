"""Application rates per class: read from a table, stated in the units of ISO 11783-11.

The rates are the agronomist's; nothing here proposes one. ISOBUS terminals read whole
numbers in the units of the standard's data dictionary, so a rate must be known to it, lie
in its range and be a multiple of its step, near enough: an amount that would be applied
otherwise than it was written down is refused.

Source: ISO 11783-11, entries 1, 6 and 11 of the data dictionary (isobus.net).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.data.tables_in import number, read_cells
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["UNITS", "DictionaryUnit", "Rate", "dictionary_unit", "read_rates", "stored_value"]


@dataclass(frozen=True)
class Rate:
    """How much is applied to a class; ``unit`` is per area, as in L/ha."""

    value: float
    unit: str


@dataclass(frozen=True)
class DictionaryUnit:
    """How a unit of a rate is written in task data.

    Attributes:
        ddi: entry of the data dictionary, four hexadecimal digits.
        factor: the whole number stored for a rate of one.
    """

    ddi: str
    factor: float


# Steps of an entry in one litre, kilogram or piece per square metre. Setpoint volume per area,
# entry 1, counts 0.01 mm3/m2; mass per area, entry 6, 1 mg/m2; count per area, entry 11, 0.001/m2.
VOLUME, MASS, COUNT = ("0001", 1e8), ("0006", 1e6), ("000B", 1e3)
# Amounts as people write them, in litres, kilograms or pieces.
AMOUNTS = {
    **dict.fromkeys(("l", "litre", "litres", "liter", "liters"), (VOLUME, 1.0)),
    "ml": (VOLUME, 1e-3),
    "m3": (VOLUME, 1e3),
    **dict.fromkeys(("kg", "kgs"), (MASS, 1.0)),
    "g": (MASS, 1e-3),
    "mg": (MASS, 1e-6),
    "t": (MASS, 1e3),
    # The pound of 1959, exactly.
    **dict.fromkeys(("lb", "lbs"), (MASS, 0.45359237)),
    **dict.fromkeys(("seeds", "seed", "plants", "plant"), (COUNT, 1.0)),
}
# Ground in square metres; the acre is the international one.
GROUND = {
    **dict.fromkeys(("ha", "hectare"), 1e4),
    **dict.fromkeys(("m2", "sqm"), 1.0),
    **dict.fromkeys(("ac", "acre"), 4046.8564224),
}
# What a message offers. No gallons, pints or ounces: there are several of each.
UNITS = (
    *("l/ha", "ml/ha", "m3/ha", "l/m2", "kg/ha", "g/ha", "t/ha", "g/m2", "lb/ac"),
    *("seeds/ha", "plants/ha", "seeds/m2", "plants/m2", "seeds/ac"),
)
# As in L/ha, kg per hectare, seeds m-2 and l·ha⁻¹ (whose signs NFKC makes plain).
WRITTEN = re.compile(
    r"(?P<amount>[a-z]+3?)(?:(?:/| per )(?P<ground>[a-z]+(?:\^?2)?)"
    r"|[·⋅.* ]*(?P<inverse>ha|ac|m)\^?[-\u2212](?P<power>[12]))",
    re.IGNORECASE,
)
# An amount on some ground, known to the data dictionary or not.
PER_AREA = re.compile(r"\S\s*(/|per\s|[-\u2212\u207b])", re.IGNORECASE)
# "1,200" is twelve hundred to some and one and a fifth to others.
THOUSANDS = re.compile(r"[1-9]\d{0,2}([.,' \u00a0\u2009\u202f]\d{3})+")
# A process data value is a signed number of 32 bits.
MOST_STORED = 2**31 - 1
# What a whole number of steps may differ from the rate that was asked for.
MOST_ROUNDED = 0.01


def dictionary_unit(unit: str) -> DictionaryUnit | None:
    """The entry for a unit as people write it; None where the data dictionary has none.

    ``ML`` and ``MG`` are none: they may be a million litres, which irrigators use, or a thousandth.

    >>> dictionary_unit("L / ha") == dictionary_unit("l ha⁻¹") == DictionaryUnit("0001", 1e4)
    True
    >>> dictionary_unit("ML/ha"), dictionary_unit("gal/ac")
    (None, None)
    """
    plain = " ".join(unicodedata.normalize("NFKC", unit).split()).replace(" /", "/")
    found = WRITTEN.fullmatch(plain.replace("/ ", "/"))
    if found is None:
        return None
    amount, power = found["amount"], found["power"] or "1"
    ground = found["ground"] or found["inverse"] + ("2" if power == "2" else "")
    ground = ground.lower().replace("^", "")
    if amount.lower() in {"ml", "mg"} and amount[0] == "M":
        return None
    # By the acre a ton may be the short one.
    if amount.lower() == "t" and ground in {"ac", "acre"}:
        return None
    if amount.lower() not in AMOUNTS or ground not in GROUND:
        return None
    (ddi, steps), size = AMOUNTS[amount.lower()]
    # Twelve digits: what floating point adds behind them is no part of the definition.
    return DictionaryUnit(ddi, float(f"{steps * size / GROUND[ground]:.12g}"))


def stored_value(rate: Rate) -> int:
    """The whole number that task data hold for a rate.

    Raises:
        ManifestError: the data dictionary has no such unit, the rate lies outside of its
            range, or its step would change the rate by more than 1 %.

    >>> stored_value(Rate(0.8, "L/ha"))
    8000
    """
    unit = dictionary_unit(rate.unit)
    if unit is None:
        msg = (
            f"ISOXML knows no rates in {rate.unit!r}, or it may mean several things. Use one of: "
            f"{', '.join(UNITS)}."
        )
        raise ManifestError(msg)
    value = round(rate.value * unit.factor)
    if not 0 <= value <= MOST_STORED:
        msg = (
            f"{rate.value:g} {rate.unit} is more than ISOXML can hold "
            f"({MOST_STORED / unit.factor:,.5g} {rate.unit}). Check the unit and the decimal point."
        )
        raise ManifestError(msg)
    if abs(value / unit.factor - rate.value) > MOST_ROUNDED * rate.value:
        msg = (
            f"{rate.value:g} {rate.unit} would become {value / unit.factor:g} {rate.unit}, for "
            f"terminals count in steps of {1 / unit.factor:g} {rate.unit}. State the amount of "
            "the mixture instead (L/ha), or a rate that is a multiple of the step."
        )
        raise ManifestError(msg)
    return value


def read_rates(path: Path, classes: Sequence[str]) -> dict[str, Rate]:
    """Rates by class from a table with the columns class, rate, unit.

    Raises:
        ManifestError: a column or a class is missing, a rate is no number, negative, or
            one that ISOXML cannot state, or the units differ.
    """
    try:
        cells = read_cells(path)
    except ManifestError as error:
        msg = f"--rates {error} Pass a table with the columns class, rate, unit."
        raise ManifestError(msg) from error
    headings = [name.lower() for name in cells.columns]
    table = [dict(zip(headings, row, strict=True)) for row in cells.rows]
    absent = [name for name in ("class", "rate", "unit") if name not in headings]
    if absent:
        msg = f"--rates {path}: has no column {', '.join(absent)}. It needs class, rate, unit."
        raise ManifestError(msg)
    rates: dict[str, Rate] = {}
    problems: list[str] = []
    for row in table:
        name, text, unit = (row[key] for key in ("class", "rate", "unit"))
        problems += _faults(name, text, unit)
        if name in rates:
            problems.append(f"{name!r} has two rates")
        rates[name] = Rate(_number(text), unit)
    missing = [name for name in classes if name not in rates]
    if missing:
        problems.append(
            f"there is no rate for {', '.join(missing)} (with 0 nothing is applied; its "
            "zones are in the files all the same, with a rate of 0)"
        )
    strange = [name for name in rates if name not in classes]
    if strange:
        problems.append(f"{', '.join(strange)} is no class of the model ({', '.join(classes)})")
    if len({rate.unit for rate in rates.values()}) > 1:
        # A terminal reads one unit for the whole file.
        problems.append("its rates have several units")
    if problems:
        msg = f"--rates {path}: {'; '.join(problems)}. Correct the table."
        raise ManifestError(msg)
    return rates


def _number(text: str) -> float:
    """An amount, or -1 where it is none."""
    if "%" in text or THOUSANDS.fullmatch(text.strip()):
        return -1.0
    value = number(text)
    return value if value is not None and 0 <= value < float("inf") else -1.0


def _faults(name: str, text: str, unit: str) -> list[str]:
    """What is wrong with one row."""
    problems = []
    value = _number(text)
    if not text:
        # The reader of tables takes nan, NA and null for empty.
        problems.append(f"the rate of {name!r} is empty (so are nan and NA), which is no amount")
    elif THOUSANDS.fullmatch(text.strip()):
        plain = re.sub("[^0-9]", "", text)
        problems.append(
            f"the rate of {name!r} is {text!r}, which may be {int(plain):,} or a thousandth of it: "
            f"write {plain}, or the decimals without their last 0"
        )
    elif value < 0:
        problems.append(f"the rate of {name!r} is {text!r}, which is no amount")
    if not unit:
        problems.append(f"the rate of {name!r} has no unit")
    elif not PER_AREA.search(unit):
        problems.append(f"the unit of {name!r} is {unit!r}, which is no amount per area, as L/ha")
    elif value >= 0 and dictionary_unit(unit) is not None:
        try:
            stored_value(Rate(value, unit))
        except ManifestError as error:
            problems.append(f"the rate of {name!r}: {error}".rstrip("."))
    return problems
