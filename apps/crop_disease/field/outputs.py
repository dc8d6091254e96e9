"""What a prediction leaves behind of each raster: maps, zones, places to look at, rates.

maps/<raster>/scores.tif       probability of each class, one band each
              classes.tif      class, with palette          (+ classes.qml)
              tiles.gpkg       every tile with its scores   (+ tiles.qml)
              zones.gpkg, zones.geojson    connected patches (+ zones.qml)
              hotspots.csv, hotspots.geojson   where to look first
              summary.csv      hectares per class
              fields.csv       hectares per field and class, where --within names fields
              prescription.*   where rates were given
              map.html         to look at, offline
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from apps.crop_disease.field.channels import Reading
from apps.crop_disease.field.mapping import WELL, Decide, map_colours, write_maps
from apps.crop_disease.field.prescription import write_prescription
from apps.crop_disease.field.raster import RasterFacts, describe
from apps.crop_disease.field.rates import read_rates
from apps.crop_disease.field.spatial import read_shapes
from apps.crop_disease.field.styles import polygon_style, raster_style
from apps.crop_disease.field.summary import cells, per_field, summarise
from apps.crop_disease.field.tile_pixels import field_mask
from apps.crop_disease.field.webmap import web_map
from apps.crop_disease.field.window import is_tile
from apps.crop_disease.field.zones import hot_spots, trace_zones, write_layer
from core.app import Export
from core.base.outputs import csv_safe, write_text
from core.base.tables import score_columns
from core.errors import ManifestError
from core.statistics.scores import decide

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from core.app import ExportContext, Task

__all__ = ["EXPORTS", "affected_classes", "write_field"]


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
    table, notes = summarise(context, maps, zones, tiles)
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
        rows=cells(table, task),
        notes=notes,
        spots=spots,
    )
    write_text(folder / "map.html", page)
    names = ["classes.qml", "zones.qml", "hotspots.csv", "summary.csv", "map.html"]
    if within is not None:
        by_field = per_field(zones, within, facts).map(csv_safe)
        write_text(folder / "fields.csv", by_field.to_csv(index=False, lineterminator="\n"))
        names.append("fields.csv")
    written += [folder / name for name in names]
    if rates is not None:
        written += write_prescription(zones, rates, folder, name=facts.path.stem)
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
