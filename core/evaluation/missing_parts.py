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

__all__ = ["OTHER_KIND", "is_of_other_kind", "missing_parts", "untold_parts", "words_of"]

# How the quality of a picture of something else begins, see ``App.prepare``.
OTHER_KIND = "not "


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
            else:
                # Not of which eye or breast, so that no part of it can be called absent.
                rows = at[[cell == key for cell in cells]]
                gaps = _lacking(predictions, rows, inner, named=f"{inner.parts_are} ")
                untold = f"{inner.parts_are} not known"
                found |= {untold: gaps[untold]} if untold in gaps else {}
    return found


def untold_parts(
    predictions: pd.DataFrame, at: NDArray[np.int_], unit: Unit | None, units: Sequence[Unit]
) -> list[str]:
    """What images of a unit do not say about themselves, as far as it matters to units above.

    An eye whose photograph does not say which eye it is may be either of the patient's.

    Args:
        predictions: the inputs.
        at: places of those of the unit.
        unit: None for an image.
        units: all steps.
    """
    sentences = []
    for outer in units:
        if not outer.parts or not (unit is None or set(outer.columns) < set(unit.columns)):
            continue
        # Where no patient is known at all, nothing is decided about any.
        if not set(outer.columns) <= set(predictions.columns):
            continue
        untold = int((_parts_shown(predictions, at, outer) == "").sum())
        if untold:
            of = f"{untold:,} of {len(at):,} images do" if len(at) > 1 else "the image does"
            sentences.append(f"{of} not say which {outer.parts_are}")
    return sentences


def _parts_shown(predictions: pd.DataFrame, at: NDArray[np.int_], unit: Unit) -> NDArray[np.str_]:
    """The part of a unit that each image (M,) shows; empty where it does not say."""
    if unit.parts_are not in predictions:
        return np.full(len(at), "", dtype=str)
    return text_of(predictions[unit.parts_are].iloc[at])


def _lacking(
    predictions: pd.DataFrame, at: NDArray[np.int_], unit: Unit, *, named: str
) -> dict[str, str]:
    """The parts of a unit that no input shows, each with a sentence.

    Where inputs do not say what they show, it is not known which part is missing; that all are
    there is not known either. A picture of another kind shows none, whatever it is called.
    """
    at = at[~is_of_other_kind(predictions.iloc[at])]
    if not unit.parts or not len(at):
        return {}
    cells = _parts_shown(predictions, at, unit)
    absent = [part for part in unit.parts if part not in set(cells)]
    untold = int((cells == "").sum())
    if absent and untold:
        of = f"{untold:,} of {len(at):,} images" if len(at) > 1 else "the image"
        verb = "does" if untold == 1 else "do"
        where = "" if named == f"{unit.parts_are} " else f"{named.strip()}: "
        return {f"{unit.parts_are} not known": f"{where}{of} {verb} not say which {unit.parts_are}"}
    return {part: f"no image of {named}{part}" for part in absent}


def is_of_other_kind(predictions: pd.DataFrame) -> NDArray[np.bool_]:
    """Which inputs (N,) are not of the kind: their quality begins with ``not``."""
    words = words_of(predictions, "quality")
    return np.array([str(text).startswith(OTHER_KIND) for text in words], dtype=bool)


def words_of(predictions: pd.DataFrame, column: str) -> NDArray[np.str_]:
    """What a column says of each input (N,); empty where the table has no such column."""
    if column not in predictions:
        return np.full(len(predictions), "", dtype=str)
    return text_of(predictions[column])
