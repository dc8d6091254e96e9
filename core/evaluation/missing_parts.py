"""What no input of a unit shows: an eye, a breast, a view.

Asked of a predictions table and the units of an app; never of an image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from core.evaluation.units import text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from core.app import Unit

__all__ = ["missing_parts"]


def missing_parts(
    predictions: pd.DataFrame, at: NDArray[np.int_], unit: Unit | None, units: Sequence[Unit]
) -> dict[str, str]:
    """What no input of a unit shows, and a sentence: of the unit itself and of those within it.

    An exam lacks a breast, or it lacks a view of one of its breasts.
    """
    if unit is None:
        return {}
    found = _lacking(predictions, at, unit, named=f"{unit.parts_are} ")
    for inner in units:
        own = [column for column in inner.columns if column not in unit.columns]
        if not own or not set(unit.columns) < set(inner.columns):
            continue
        if not set(own) <= set(predictions.columns):
            continue
        cells = list(zip(*(text_of(predictions[column].iloc[at]) for column in own), strict=True))
        for key in dict.fromkeys(cells):
            if all(key):
                rows, name = at[[cell == key for cell in cells]], " ".join(key)
                found |= {
                    f"{name} {part}": words
                    for part, words in _lacking(predictions, rows, inner, named=f"{name} ").items()
                }
    return found


def _lacking(
    predictions: pd.DataFrame, at: NDArray[np.int_], unit: Unit, *, named: str
) -> dict[str, str]:
    """The parts of a unit that no input shows, each with a sentence.

    Where inputs do not say what they show, it is not known which part is missing; that all are
    there is not known either.
    """
    if not unit.parts or not len(at):
        return {}
    cells = (
        text_of(predictions[unit.parts_are].iloc[at])
        if unit.parts_are in predictions
        else np.full(len(at), "", dtype=str)
    )
    absent = [part for part in unit.parts if part not in set(cells)]
    untold = int((cells == "").sum())
    if absent and untold:
        of = f"{untold:,} of {len(at):,} images" if len(at) > 1 else "the image"
        verb = "does" if untold == 1 else "do"
        where = "" if named == f"{unit.parts_are} " else f"{named.strip()}: "
        return {f"{unit.parts_are} not known": f"{where}{of} {verb} not say which {unit.parts_are}"}
    return {part: f"no image of {named}{part}" for part in absent}
