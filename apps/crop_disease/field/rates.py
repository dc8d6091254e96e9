"""Application rates by class, from a table with the columns class, rate and unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Rate", "read_rates"]


@dataclass(frozen=True)
class Rate:
    """How much is applied to a class; ``unit`` is per area, as in L/ha."""

    value: float
    unit: str


def read_rates(path: Path, classes: Sequence[str]) -> dict[str, Rate]:
    """Rates by class from a table with the columns class, rate, unit.

    Raises:
        ManifestError: a column or a class is missing, a rate is no number or
            negative, or the units differ.
    """
    import pandas as pd  # noqa: PLC0415  (the app's description must load without it)

    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        msg = f"--rates {path}: cannot be read ({error}). Pass a CSV with class, rate, unit."
        raise ManifestError(msg) from error
    table.columns = [str(name).strip().lower() for name in table.columns]
    absent = [name for name in ("class", "rate", "unit") if name not in table]
    if absent:
        msg = f"--rates {path}: has no column {', '.join(absent)}. It needs class, rate, unit."
        raise ManifestError(msg)
    rates: dict[str, Rate] = {}
    problems: list[str] = []
    for row in table.to_dict("records"):
        name, text, unit = (str(row[key]).strip() for key in ("class", "rate", "unit"))
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value < float("inf"):
            problems.append(f"the rate of {name!r} is {text!r}, which is no amount")
        if not unit:
            problems.append(f"the rate of {name!r} has no unit")
        if name in rates:
            problems.append(f"{name!r} has two rates")
        rates[name] = Rate(value, unit)
    missing = [name for name in classes if name not in rates]
    if missing:
        problems.append(f"there is no rate for {', '.join(missing)} (0 means: leave out)")
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
