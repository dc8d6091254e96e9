"""What a prediction leaves behind of each raster: maps, zones, places to look at, rates.

maps/<raster>/scores.tif       probability of each class, one band each
              classes.tif      class, with palette          (+ classes.qml)
              tiles.gpkg       every tile with its scores   (+ tiles.qml)
              zones.gpkg, zones.geojson    connected patches (+ zones.qml)
              hotspots.csv, hotspots.geojson   where to look first
              summary.csv      hectares per class
              prescription.*   where rates were given
              map.html         to look at, offline
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from apps.crop_disease.areas import AreaEstimate, corrected_areas, read_confusion
from apps.crop_disease.channels import Reading
from apps.crop_disease.field import facts_of, field_mask, is_tile
from apps.crop_disease.mapping import Decide, Maps, map_colours, write_maps
from apps.crop_disease.prescription import read_rates, write_prescription
from apps.crop_disease.raster import RasterFacts, describe
from apps.crop_disease.spatial import read_shapes
from apps.crop_disease.styles import polygon_style, raster_style
from apps.crop_disease.webmap import web_map
from apps.crop_disease.zones import hot_spots, trace_zones, write_layer
from core.app import Export
from core.errors import ManifestError, MetricError
from core.outputs import csv_safe, write_text
from core.progress import log
from core.scores import decide
from core.tables import score_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

    from core.app import ExportContext, Task

__all__ = ["EXPORTS", "affected_classes", "write_field"]

# Words for ground that is well; every other class is for a scout to see.
WELL = frozenset({"healthy", "normal", "none", "background", "soil", "bare soil", "other"})


def write_field(context: ExportContext) -> list[Path]:
    """Write everything for each raster that gave more than one tile; nothing for photos."""
    written: list[Path] = []
    rates = None
    if context.options.get("rates"):
        rates = read_rates(Path(context.options["rates"]), context.task.classes)
    for name, tiles in _rasters(context):
        folder = context.out / "maps" / name
        folder.mkdir(parents=True, exist_ok=True)
        written += _write_raster(context, tiles, folder, rates)
    if rates is not None and not written:
        msg = "--rates: no raster was mapped, so there is nothing to prescribe."
        raise ManifestError(msg)
    return written


EXPORTS = (
    Export(
        name="maps",
        help="Of each raster: probability and class map, zones, hot spots, areas, a web map.",
        write=write_field,
    ),
)


def affected_classes(task: Task) -> list[str]:
    """The classes a scout should see: the positive ones, or all that are not well."""
    if task.positive:
        return list(task.positive)
    return [name for name in task.classes if name.lower() not in WELL]


def _rasters(context: ExportContext) -> Iterator[tuple[str, pd.DataFrame]]:
    """(name of a folder, tiles with scores) of each raster to be mapped."""
    manifest = context.manifest
    if "row_off" not in manifest:
        return
    tiles = manifest[manifest["row_off"].map(lambda value: is_tile({"row_off": value}))]
    columns = score_columns(context.task.classes)
    extra = [c for c in ("predicted", "decision", "embedding_distance") if c in context.predictions]
    scores = context.predictions.set_index("image_id")[[*columns, *extra]]
    taken: set[str] = set()
    for path, part in tiles.groupby("path", sort=True):
        if len(part) < 2:
            # A tile that came as a file of its own; its row says all there is.
            continue
        # Letters, digits and a few signs only: the name must be one on any system.
        stem = re.sub(r"[^\w.-]", "_", Path(str(path)).stem) or "raster"
        name, n = stem, 1
        while name.lower() in taken:
            n += 1
            name = f"{stem}_{n}"
        taken.add(name.lower())
        yield name, part.join(scores, on="image_id")


def _write_raster(
    context: ExportContext, tiles: pd.DataFrame, folder: Path, rates: Any
) -> list[Path]:
    """All files of one raster."""
    task, options = context.task, context.options
    facts = describe(Path(str(tiles["path"].iloc[0])), crs=str(options.get("crs") or ""))
    reading = Reading.parse(str(tiles["reading"].iloc[0]))
    within = read_shapes(Path(options["within"]), facts) if options.get("within") else None
    point = context.run.get("operating_point")
    maps = write_maps(
        tiles,
        classes=task.classes,
        facts=facts,
        mask=field_mask(facts.path, reading, within),
        out=folder,
        decide=_decider(task, None if point is None else float(point["threshold"])),
    )
    colours = map_colours(task.classes)
    written = [maps.scores, _write_tiles(tiles, facts, task, folder)]
    write_text(folder / "tiles.qml", polygon_style(task.classes, colours, column="predicted"))
    written.append(folder / "tiles.qml")
    if maps.classes is None:
        return written
    zones = trace_zones(maps.classes, maps.scores, task.classes)
    spots = hot_spots(zones, affected_classes(task))
    written += [
        maps.classes,
        write_layer(zones, folder / "zones.gpkg"),
        write_layer(zones, folder / "zones.geojson"),
        write_layer(spots, folder / "hotspots.geojson"),
    ]
    write_text(folder / "classes.qml", raster_style(task.classes, colours))
    write_text(folder / "zones.qml", polygon_style(task.classes, colours, column="class"))
    table, notes = _summary(context, maps, zones, tiles)
    csv = spots.drop(columns="geometry").map(csv_safe)
    write_text(folder / "hotspots.csv", csv.to_csv(index=False, lineterminator="\n"))
    write_text(folder / "summary.csv", table.map(csv_safe).to_csv(index=False, lineterminator="\n"))
    page = web_map(
        f"{facts.path.stem}: {task.name}",
        intended_use=str(context.run.get("intended_use", "")),
        raster=facts.path,
        reading=reading,
        classes_file=maps.classes,
        classes=[task.title(name) for name in task.classes],
        colours=colours,
        header=("class", "ha on the map", "share", "ha corrected (95 % interval)", "zones"),
        rows=_cells(table, task),
        notes=notes,
        spots=spots,
    )
    write_text(folder / "map.html", page)
    names = ("classes.qml", "zones.qml", "hotspots.csv", "summary.csv", "map.html")
    written += [folder / name for name in names]
    if rates is not None:
        written += write_prescription(zones, rates, folder)
    return written


def _decider(task: Task, threshold: float | None) -> Decide | None:
    """Scores to class indices as everywhere else; None where classes do not exclude each other."""
    if task.kind == "multilabel":
        return None
    return lambda scores: decide(scores, task=task, threshold=threshold)


def _write_tiles(tiles: pd.DataFrame, facts: RasterFacts, task: Task, folder: Path) -> Path:
    """Every tile as a polygon, also those without a score, with the reason."""
    import geopandas  # noqa: PLC0415  (an extra)
    import shapely  # noqa: PLC0415

    t = facts.transform
    top, left = tiles["row_off"].to_numpy(float), tiles["col_off"].to_numpy(float)
    bottom, right = top + tiles["height"].to_numpy(float), left + tiles["width"].to_numpy(float)
    corners = np.stack(
        [
            np.stack([t.a * c + t.b * r + t.c, t.d * c + t.e * r + t.f], axis=1)
            for r, c in ((top, left), (top, right), (bottom, right), (bottom, left))
        ],
        axis=1,
    )
    keep = ["image_id", "status", "reason", "field", "valid_fraction", "lon", "lat"]
    keep += [c for c in ("predicted", "decision", "embedding_distance") if c in tiles]
    frame = geopandas.GeoDataFrame(
        tiles[[*keep, *score_columns(task.classes)]].reset_index(drop=True),
        geometry=shapely.polygons(corners),
        crs=facts.crs,
    )
    return write_layer(frame, folder / "tiles.gpkg")


def _summary(
    context: ExportContext, maps: Maps, zones: Any, tiles: pd.DataFrame
) -> tuple[pd.DataFrame, list[str]]:
    """Hectares per class, and what is to be said about them."""
    import pandas as pd  # noqa: PLC0415  (the app's description must load without it)

    classes = list(context.task.classes)
    mapped = np.array([maps.area_m2[name] for name in classes]) / 1e4
    estimate, notes = _estimate(context, mapped)
    n_zones = zones["class"].value_counts()
    rows = []
    for i, name in enumerate(classes):
        row: dict[str, Any] = {
            "class": name,
            "area_ha": round(float(mapped[i]), 6),
            "share": round(float(mapped[i] / max(mapped.sum(), 1e-12)), 6),
        }
        values = (estimate.area, estimate.low, estimate.high) if estimate else (None,) * 3
        for column, value in zip(("corrected_ha", "low_ha", "high_ha"), values, strict=True):
            row[column] = None if value is None else round(float(value[i]), 6)
        rows.append({**row, "zones": int(n_zones.get(name, 0))})
    if maps.unmapped_m2 > 0:
        notes.append(
            f"{maps.unmapped_m2 / 1e4:.4f} of {maps.valid_m2 / 1e4:.4f} ha hold a measurement and "
            "are not on the map: too little of their tiles is valid, or these could not be read."
        )
    notes += _gsd_notes(context, tiles)
    for note in notes:
        log.info("%s", note)
    return pd.DataFrame(rows), notes


def _estimate(context: ExportContext, mapped: Any) -> tuple[AreaEstimate | None, list[str]]:
    """Corrected areas where a confusion matrix is known."""
    given = context.options.get("confusion")
    counts = context.run.get("confusion")
    if given:
        counts = read_confusion(Path(given), context.task.classes)
    if counts is None:
        return None, [
            "Hectares are counted on the map, with the errors of the model in them. Pass "
            "--confusion with a run or an evaluation of this model to correct them."
        ]
    try:
        estimate = corrected_areas(mapped, counts)
    except MetricError as error:
        return None, [f"Hectares are counted on the map; corrected ones are {error}."]
    return estimate, [
        f"Accuracy weighted by area: {estimate.accuracy:.1%} (95 % interval "
        f"{estimate.accuracy_low:.1%} to {estimate.accuracy_high:.1%}). Corrected hectares and "
        "intervals follow Olofsson et al. 2014. They hold as far as the judged tiles are like "
        "this field's; tiles of other fields or seasons are no random sample of it."
    ]


def _gsd_notes(context: ExportContext, tiles: pd.DataFrame) -> list[str]:
    """A warning where the tiles show much more or less ground than those of training."""
    trained = float((context.run.get("facts") or {}).get("tile_m") or 0)
    shown = float(facts_of(tiles).get("tile_m") or 0)
    if not trained or not shown or 1 / 1.5 <= shown / trained <= 1.5:
        return []
    return [
        f"Tiles show {shown:.3g} m of ground, those of training {trained:.3g} m: the scores are "
        "not those of a model for this flight. Predict again with --match-gsd."
    ]


def _cells(table: pd.DataFrame, task: Task) -> Sequence[tuple[str, ...]]:
    """The summary as strings for a page."""
    cells = []
    for row in table.to_dict("records"):
        corrected = "not estimated"
        if row["corrected_ha"] is not None and row["corrected_ha"] == row["corrected_ha"]:
            corrected = f"{row['corrected_ha']:.4f} ({row['low_ha']:.4f} to {row['high_ha']:.4f})"
        cells.append(
            (
                task.title(str(row["class"])),
                f"{row['area_ha']:.4f}",
                f"{row['share']:.1%}",
                corrected,
                f"{row['zones']:,}",
            )
        )
    return cells
