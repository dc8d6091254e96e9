"""How many hectares of what: of the map, and corrected by the model's mistakes.

Areas of a map count the model's mistakes as well. Where tiles with a known class were
judged, the run's own held-out ones or those of ``--confusion``, areas are corrected
and get an interval (``areas``); otherwise it is said that they are not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from apps.crop_disease.field.areas import (
    AreaEstimate,
    corrected_areas,
    judged_counts,
    read_confusion,
)
from apps.crop_disease.field.doubtful_ground import MOST_DOUBT, doubt_verdict, share_of
from apps.crop_disease.field.notes import area_words, facts_of
from core.base.progress import log
from core.base.tables import score_columns
from core.errors import MetricError
from core.evaluation.doubt import prevailing_doubt
from core.report.numbers import number

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from apps.crop_disease.field.mapping import Maps
    from core.app import ExportContext, Task

__all__ = ["cells", "doubt_of_map", "mark_areas", "summarise", "unlike"]


def summarise(
    context: ExportContext, maps: Maps, zones: Any, tiles: pd.DataFrame, *, withheld: str = ""
) -> tuple[pd.DataFrame, list[str]]:
    """Hectares per class, and what is to be said about them.

    Args:
        context: of the prediction.
        maps: what was written.
        zones: traced on them, with their tiles.
        tiles: of the raster.
        withheld: why areas of this map are not given, see ``doubt_of_map``; empty gives them
            but for classes too much of whose ground is in doubt.
    """
    import pandas as pd  # noqa: PLC0415  (the app's description must load without it)

    classes = list(context.task.classes)
    mapped = np.array([maps.area_m2[name] for name in classes]) / 1e4
    reason = _ground_in_doubt(zones) or unlike(zones, tiles, accept=context.accept_doubtful)
    estimate, notes = (None, [withheld]) if withheld else _estimate(context, mapped, zones, reason)
    doubtful = (zones["doubt"] != "") & (not context.accept_doubtful)
    n_zones = zones.loc[~doubtful, "class"].value_counts()
    of_zones, in_doubt = (
        zones[rows].groupby("class")["area_ha"].sum() for rows in (~doubtful, zones["doubt"] != "")
    )
    rows: list[dict[str, Any]] = []
    for i, name in enumerate(classes):
        row: dict[str, Any] = {
            "class": name,
            "area_ha": round(float(mapped[i]), 6),
            "share": round(float(mapped[i] / max(mapped.sum(), 1e-12)), 6),
        }
        values = (estimate.area, estimate.low, estimate.high) if estimate else (None,) * 3
        for column, value in zip(("corrected_ha", "low_ha", "high_ha"), values, strict=True):
            row[column] = None if value is None else round(float(value[i]), 6)
        row["zones"] = int(n_zones.get(name, 0))
        row["zones_ha"] = round(float(of_zones.get(name, 0.0)), 6)
        row["doubt_ha"] = round(float(in_doubt.get(name, 0.0)), 6)
        rows.append(row)
    notes += [] if withheld else _simplified(context, rows)
    for row in rows:
        own = zones[zones["class"] == row["class"]]
        row["doubt_share"] = round(share_of(own["area_ha"], own["doubt_share"]), 6)
        title = context.task.title(row["class"])
        mark_areas(row, _of_class(row["doubt_share"], title, context), whole=withheld)
    notes += [f"{row['class']}: {row['doubt']}." for row in rows if row["doubt"] and not withheld]
    for row in rows:
        _leave_uncorrected(row, reason)
    if maps.unmapped_m2 > 0:
        notes.append(
            f"{area_words(maps.unmapped_m2 / 1e4)} of {area_words(maps.valid_m2 / 1e4)} hold a "
            "measurement and are not on the map: too little of their tiles is valid, or these "
            "could not be read."
        )
    notes += [] if withheld else _mean_grade(context.task, tiles)
    notes += _gsd_notes(context, tiles)
    for note in notes:
        log.info("%s", note)
    return pd.DataFrame(rows), notes


def doubt_of_map(zones: Any, name: str, *, accept: bool) -> tuple[bool, str]:
    """Whether areas of a whole map are withheld, and the sentence that says so or marks them."""
    share = share_of(zones["area_ha"], zones["doubt_share"])
    withheld, words = doubt_verdict(share, of=name, accept=accept)
    if withheld:
        words = (
            f"Hectares and accuracy are {words}: unlike the training images or of poor quality. "
            "If you have looked at them and know better, --accept-doubtful gives the hectares"
        )
    return withheld, f"{words}." if words else ""


def _of_class(share: float, title: str, context: ExportContext) -> tuple[bool, str]:
    """Whether the areas of a class are withheld, and its mark."""
    return doubt_verdict(share, of=f"the ground called {title}", accept=context.accept_doubtful)


def unlike(zones: Any, tiles: pd.DataFrame, *, accept: bool) -> str:
    """Why an accuracy measured elsewhere says nothing of this map; empty where it may.

    Accepting doubt changes what is said, and never whether: nothing was measured on such ground.
    """
    return prevailing_doubt(tiles, accepted=accept) or _ground_in_doubt(zones)


def _ground_in_doubt(zones: Any) -> str:
    """How much of the ground of a map is in doubt; empty where accuracies hold all the same."""
    share = share_of(zones["area_ha"], zones["doubt_share"])
    too_much, words = doubt_verdict(share, of="this map", accept=False)
    words = f"{words.removeprefix('withheld: ')}: unlike the training images or of poor quality."
    return words if too_much else ""


# What is left empty where it is withheld.
UNCORRECTED = "corrected area withheld"
AREAS = ("area_ha", "share", "corrected_ha", "low_ha", "high_ha", "zones_ha", "doubt_ha")


def mark_areas(row: dict[str, Any], doubt: tuple[bool, str], *, whole: str) -> None:
    """Write the mark of doubt into a row of areas, and empty what is withheld."""
    withheld, words = doubt
    row["doubt"] = whole or words
    if whole or withheld:
        row.update(dict.fromkeys(set(AREAS) & set(row)))


def _leave_uncorrected(row: dict[str, Any], reason: str) -> None:
    """Empty the corrected areas of a row where the model's accuracy says nothing of its ground.

    Args:
        row: of areas, marked.
        reason: why none of the map is corrected; empty where one class alone may be in doubt.
    """
    if not reason and row["doubt_share"] <= MOST_DOUBT:
        return
    row.update(dict.fromkeys(("corrected_ha", "low_ha", "high_ha")))
    if row["area_ha"] is not None:
        why = reason.rstrip(".") or f"more than {100 * MOST_DOUBT:.0f} % of it is in doubt"
        row["doubt"] = "; ".join(filter(None, (row["doubt"], f"{UNCORRECTED}: {why}")))


def _simplified(context: ExportContext, rows: Sequence[dict[str, Any]]) -> list[str]:
    """What the working width did to the areas."""
    width = float(context.options.get("working-width") or 0)
    whole = sum(row["area_ha"] for row in rows)
    if not width or not whole:
        return []

    def traced(row: dict[str, Any]) -> float:
        return float(row["zones_ha"] + (0.0 if context.accept_doubtful else row["doubt_ha"]))

    off = max(
        (row for row in rows if row["area_ha"]),
        key=lambda row: abs(traced(row) / row["area_ha"] - 1),
    )
    in_zones = traced(off)
    change = in_zones / off["area_ha"] - 1
    return [
        f"Zones are simplified to a working width of {width:g} m, and those below "
        f"{float(context.options.get('least-zone') or 0):g} m² joined to their surroundings. Most "
        f"changed is {context.task.title(off['class'])}: {area_words(in_zones)} in zones, "
        f"{area_words(off['area_ha'])} on the map, {number(abs(change), percent=True)} "
        f"{'more' if change > 0 else 'less'}.",
        *(
            f"{context.task.title(row['class'])}: {area_words(row['area_ha'])} on the map and no "
            f"zone, for its patches are too small for a working width of {width:g} m: a rate for "
            "it is applied nowhere. Pass a smaller --working-width or --least-zone."
            for row in rows
            if row["area_ha"] and not traced(row)
        ),
    ]


def cells(table: pd.DataFrame, task: Task) -> Sequence[tuple[str, ...]]:
    """The summary as strings for a page."""
    shown = []
    for row in table.to_dict("records"):
        corrected = "withheld" if UNCORRECTED in row["doubt"] else "not estimated"
        if not _is_empty(row["corrected_ha"]):
            areas = (row["corrected_ha"], row["low_ha"], row["high_ha"])
            value, low, high = map(area_words, areas)
            corrected = f"{value} ({low} to {high})"
        is_withheld = _is_empty(row["area_ha"])
        shown.append(
            (
                task.title(str(row["class"])),
                *(
                    ("withheld",) * 3
                    if is_withheld
                    else (
                        area_words(row["area_ha"]),
                        number(row["share"], percent=True),
                        corrected,
                    )
                ),
                f"{row['zones']:,}",
                "withheld" if is_withheld else area_words(row["zones_ha"]),
                "withheld" if is_withheld else area_words(row["doubt_ha"]),
                number(row["doubt_share"], percent=True),
            )
        )
    return shown


def _is_empty(value: Any) -> bool:
    """Whether a cell of a table holds no number."""
    return value is None or bool(np.isnan(value))


def _estimate(
    context: ExportContext, mapped: NDArray[np.float64], zones: Any, reason: str
) -> tuple[AreaEstimate | None, list[str]]:
    """Corrected areas where judged tiles are known, but for a ``reason`` not to (``unlike``)."""
    given = context.options.get("confusion")
    counts, whose = None, "this run's held-out"
    if given:
        counts, whose = read_confusion(_path(given), context.task.classes), f"{given}'s judged"
    elif context.judged is not None and "row_off" in context.judged:
        counts = judged_counts(context.judged, context.task.classes)
    if reason:
        return None, [f"Accuracy and corrected areas are withheld, whatever was asked: {reason}"]
    if counts is None or not counts.sum():
        return None, [
            "Hectares are counted on the map, with the errors of the model in them. Pass "
            "--confusion with an evaluation of this model on tiles to correct them."
        ]
    try:
        estimate = corrected_areas(mapped, counts)
    except MetricError as error:
        return None, [f"Hectares are counted on the map; corrected ones are {error}."]
    _, mark = doubt_of_map(zones, "this map", accept=context.accept_doubtful)
    of = f" in {estimate.n_groups:,} groups" if estimate.n_groups else ""
    return estimate, [
        f"Accuracy expected on this map: {number(estimate.accuracy, percent=True)} (95 % interval "
        f"{number(estimate.accuracy_low, percent=True)} to "
        f"{number(estimate.accuracy_high, percent=True)}), from {whose} tiles "
        f"({estimate.n_judged:,}{of}), weighted by what this map shows of each class; the report "
        "weights the same tiles by their own ground. Corrected areas and intervals follow "
        "Olofsson et al. 2014. They hold as far as the judged tiles are like this field's; tiles "
        "of other fields or seasons are no random sample of it."
        + (f" {mark} Of that ground this says nothing." if mark else "")
    ]


def _path(value: Any) -> Path:
    """An option as a path."""
    from pathlib import Path as Made  # noqa: PLC0415  (only where an option is given)

    return Made(value)


def _mean_grade(task: Task, tiles: pd.DataFrame) -> list[str]:
    """The mean grade of the field where classes are grades."""
    if task.kind != "ordinal":
        return []
    columns = score_columns(task.classes)
    judged = tiles[tiles[columns].notna().all(axis=1)]
    if not len(judged):
        return []
    grade = judged[columns].to_numpy() @ np.arange(len(columns))
    mean = float(np.average(grade, weights=judged["valid_fraction"]))
    return [
        f"Mean grade of the field: {mean:.2f}, on a scale from 0 ({task.classes[0]}) to "
        f"{len(columns) - 1} ({task.classes[-1]})."
    ]


def _gsd_notes(context: ExportContext, tiles: pd.DataFrame) -> list[str]:
    """A warning where the tiles show much more or less ground than those of training."""
    trained = float((context.run.get("facts") or {}).get("tile_m") or 0)
    shown = float(facts_of(tiles).get("tile_m") or 0)
    if not shown:
        return []
    if not trained:
        return [
            "The model was trained on pictures whose size on the ground is not known, so whether "
            "plants appear here as large as there cannot be checked."
        ]
    if 1 / 1.5 <= shown / trained <= 1.5:
        return []
    return [
        f"Tiles show {shown:.3g} m of ground, those of training {trained:.3g} m: the scores are "
        "not those of a model for this flight. Predict again with --match-gsd."
    ]
