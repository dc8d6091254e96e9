"""What a prediction leaves behind of each raster: maps, zones, places to look at, rates.

maps/<raster>/scores.tif       probability of each class, one band each
              classes.tif      class, with palette
              doubt.tif        percent of what was blended there that is from tiles in doubt
              tiles.gpkg       every tile with its scores, decision and doubt
              zones.gpkg, zones.geojson    connected patches, simplified to the working width
              hotspots.csv, hotspots.geojson   where to look first
              summary.csv      hectares per class
              fields.csv       hectares per field and class, where --within names fields
              prescription.*, TASKDATA, grid/TASKDATA   where rates were given
              map.qgs, *.qml   all layers with their styles, for QGIS
              map.html         to look at, offline
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from apps.crop_disease.field.channels import Reading
from apps.crop_disease.field.colours import WELL, map_colours
from apps.crop_disease.field.doubtful_ground import IN_DOUBT, MOST_DOUBT
from apps.crop_disease.field.isoxml import TaskNames
from apps.crop_disease.field.map_words import applied_table, trust_words
from apps.crop_disease.field.mapping import Decide, write_maps
from apps.crop_disease.field.notes import area_words
from apps.crop_disease.field.plots import per_field, plot_notes
from apps.crop_disease.field.prescription import write_prescription
from apps.crop_disease.field.project import Layers
from apps.crop_disease.field.raster import RasterFacts, describe
from apps.crop_disease.field.rates import UNITS, Rate, read_rates
from apps.crop_disease.field.spatial import read_shapes
from apps.crop_disease.field.summary import cells, doubt_of_map, summarise, unlike
from apps.crop_disease.field.tile_pixels import field_mask
from apps.crop_disease.field.webmap import Words, web_map
from apps.crop_disease.field.window import is_tile
from apps.crop_disease.field.zone_tiles import for_files, n_tiles_of, tile_shapes, with_tiles
from apps.crop_disease.field.zones import hot_spots, trace_zones, write_layer
from core.app import Export
from core.base.attempt import attempt
from core.base.outputs import csv_safe, write_text
from core.base.tables import POSITIVE, score_columns
from core.errors import ConfigError, ManifestError
from core.evaluation.doubt import prevailing_doubt, rule_of_decision
from core.evaluation.doubt_marks import is_doubtful, words_of
from core.statistics.scores import decide

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pandas as pd

    from apps.crop_disease.field.spatial import Shapes
    from core.app import ExportContext, Task

__all__ = ["EXPORTS", "affected_classes", "check_options", "write_field"]

# What a prediction says of a tile.
OF_PREDICTIONS = (
    *("predicted", "decision", "doubt", "quality", "unfamiliar"),
    "embedding_distance",
)
HEADER = (
    *("Class", "Area on the map", "Share", "Corrected area (95 % interval)"),
    *("Zones", "Area of the zones", "Area of zones in doubt", "Ground in doubt"),
)
# Side of a cell of the grid where no working width is given; and how many cells lie across one,
# so that the border of a zone is not moved by more than an eighth of it.
LEAST_CELL_M, CELLS_ACROSS = 1.0, 4
# Name of the export.
MAPS = "maps"


def check_options(options: Mapping[str, Any], task: Task) -> dict[str, Rate] | None:
    """The rates of each class, read once and before a tile is scored; None where none are asked.

    Raises:
        ConfigError: a size is negative or no number.
        ManifestError: see ``read_rates``.
    """
    for name in ("working-width", "least-zone"):
        value = float(options.get(name) or 0)
        if not 0 <= value < float("inf"):
            msg = f"--{name} {value:g}: is no size on the ground. Pass 0 or more."
            raise ConfigError(msg)
    return read_rates(Path(options["rates"]), task.classes) if options.get("rates") else None


def write_field(context: ExportContext) -> list[Path]:
    """Write everything for each raster that gave more than one tile; nothing for photos."""
    written: list[Path] = []
    rates = context.checked.get(MAPS)
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
        name=MAPS,
        help="Of each raster: probability and class map, zones, hot spots, areas, a web map.",
        write=write_field,
        check=check_options,
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
    # What happened in scoring, beside what the manifest knew of the tile.
    extra = [c for c in OF_PREDICTIONS if c in context.predictions and c not in tiles]
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
    within = _field(context, facts)
    tiles = tiles.assign(in_doubt=is_doubtful(tiles))
    maps = write_maps(
        tiles,
        classes=task.classes,
        facts=facts,
        mask=field_mask(facts.path, reading, within),
        out=folder,
        decide=_decider(task, _threshold(context)),
    )
    layers = Layers(folder, task, facts.crs)
    layers.add_scores(maps.scores, affected_classes(task))
    layers.add_classes(maps.classes, maps.doubt)
    layers.add_polygons(_write_tiles(tiles, facts, context, folder), column="class")
    if maps.classes is None:
        return [*layers.files, layers.write_project(facts.path)]
    zones = _zones(maps.classes, maps.scores, (tiles, facts, within), context)
    withheld, no_areas = _withheld(context, zones, tiles, facts.path.stem)
    spots, unranked = _spots(zones, context, no_areas)
    shown = for_files(zones, accept=context.accept_doubtful, withheld=bool(no_areas))
    layers.add_polygons(write_layer(shown, folder / "zones.gpkg"), column="class")
    layers.add_spots(write_layer(spots, folder / "hotspots.geojson"))
    table, notes = summarise(context, maps, zones, tiles, withheld=no_areas)
    notes = [
        *([withheld] if withheld else _doubtful_zones(zones)),
        *unranked,
        *_threshold_notes(context, tiles),
        *notes,
    ]
    tables = {"hotspots.csv": spots.drop(columns="geometry"), "summary.csv": table}
    of_plots = plot_notes(zones, within, facts, options) if within else []
    notes += of_plots
    if within is not None:
        tables["fields.csv"] = per_field(
            zones, within, facts, tiles, accept=context.accept_doubtful, withheld=no_areas
        )
    both = maps.classes, maps.doubt
    why = unlike(zones, tiles, accept=context.accept_doubtful)

    def page_of_map() -> str:
        words = Words(
            title=f"{facts.path.stem}: {task.name}",
            intended_use=str(context.run.get("intended_use", "")),
            classes=[task.title(name) for name in task.classes],
            colours=map_colours(task.classes),
            header=HEADER,
            rows=cells(table, task),
            notes=notes,
            spots=spots,
            warning=no_areas,
            trust=trust_words(context, tiles, unlike=why),
            applied=None if rates is None else applied_table(zones, rates, context, withheld),
        )
        return web_map(words, raster=facts.path, reading=reading, maps=both)

    page, reason = attempt(page_of_map, own=context.out)
    for name, frame in tables.items():
        write_text(folder / name, frame.map(csv_safe).to_csv(index=False, lineterminator="\n"))
    written = [write_layer(shown, folder / "zones.geojson")]
    written += [folder / name for name in tables]
    if page is None:
        # A raster beyond 85 degrees, where the projection of web maps ends, has no such page.
        context.notes.append(f"{facts.path.name}: no web map, only the files for a GIS ({reason}).")
    else:
        write_text(folder / "map.html", page)
        written.append(folder / "map.html")
    if rates is not None:
        prescribed = _prescribe(context, zones, rates, folder, (tiles, facts), withheld)
        written += prescribed
        if prescribed:
            layers.add_prescription(folder / "prescription.shp", rates)
    context.notes.extend(f"{facts.path.stem}: {note}" for note in of_plots)
    return [*written, *layers.files, layers.write_project(facts.path)]


def _field(context: ExportContext, facts: RasterFacts) -> Shapes | None:
    """The polygons of --within."""
    file, layer = context.options.get("within"), str(context.options.get("layer") or "")
    return read_shapes(Path(file), facts, layer=layer) if file else None


def _zones(
    classes: Path,
    scores: Path,
    of: tuple[pd.DataFrame, RasterFacts, Shapes | None],
    context: ExportContext,
) -> Any:
    """Zones with the tiles behind them; ``of`` are these, the raster's facts and the field."""
    zones = trace_zones(
        classes,
        scores,
        context.task.classes,
        width_m=float(context.options.get("working-width") or 0),
        least_m2=float(context.options.get("least-zone") or 0),
        within=None if of[2] is None else of[2].geometries,
    )
    return with_tiles(zones, of[0], of[1], context.task)


def _spots(zones: Any, context: ExportContext, no_areas: str) -> tuple[Any, list[str]]:
    """Where to look first, and a sentence on what is not ranked: ground in doubt has no class."""
    affected = affected_classes(context.task)
    if context.accept_doubtful:
        return hot_spots(zones, affected), []
    known = zones[(zones["doubt"] == "") & (not no_areas)]
    n = int((zones["class"].isin(affected) & ~zones.index.isin(known.index)).sum())
    note = f"{n:,} zones in doubt or without hectares are not ranked among the places to look at."
    return hot_spots(known, affected), [note] if n else []


def _withheld(
    context: ExportContext, zones: Any, tiles: pd.DataFrame, name: str
) -> tuple[str, str]:
    """Why a map gets no prescription, and why no areas; empty where it does."""
    too_much, sentence = doubt_of_map(zones, f"the map of {name}", accept=context.accept_doubtful)
    if context.accept_doubtful:
        return "", ""
    withheld = context.withheld or prevailing_doubt(tiles)
    if too_much and not withheld:
        context.notes.append(sentence)
    return withheld, withheld or (sentence if too_much else "")


def _doubtful_zones(zones: Any) -> list[str]:
    """How much of the map is in doubt, for whoever looks at it; nothing where none is."""
    doubtful = zones["doubt"] != ""
    if not doubtful.any():
        return []
    numbers = ", ".join(str(n) for n in zones.loc[doubtful, "zone"][:10])
    return [
        f"{int(doubtful.sum()):,} of {len(zones):,} zones "
        f"({area_words(zones.loc[doubtful, 'area_ha'].sum())}) are in doubt, for more than "
        f"{100 * MOST_DOUBT:.0f} % of their ground lies in tiles unlike the training or of poor "
        f"quality: column doubt of the zones (first: {numbers})."
    ]


def _prescribe(
    context: ExportContext,
    zones: Any,
    rates: Any,
    folder: Path,
    of: tuple[pd.DataFrame, RasterFacts],
    withheld: str,
) -> list[Path]:
    """The prescription, without what is in doubt; nothing where most is.

    ``of`` are the tiles and the facts of the raster.
    """
    name = of[1].path.stem
    if withheld:
        context.notes.append(
            f"{name}: no prescription was written, for most of its tiles are in doubt. If you "
            "have looked at the field and know better, pass --accept-doubtful."
        )
        return []
    doubtful = zones["doubt"] != ""
    if doubtful.any() and not context.accept_doubtful:
        context.notes.append(
            f"{name}: {int(doubtful.sum()):,} of {len(zones):,} zones "
            f"({area_words(zones.loc[doubtful, 'area_ha'].sum())}) are in doubt and have no rate; "
            "nothing is applied there. --accept-doubtful prescribes for them, too."
        )
        zones = zones[~doubtful]
    if not len(zones):
        context.notes.append(f"{name}: no prescription was written, for no zone has a rate.")
        return []
    n, bad = n_tiles_of(zones, *of)
    if bad:
        context.notes.append(
            f"{name}: {bad:,} of {n:,} tiles of the zones with a rate are in doubt: columns "
            "N_doubtful and Doubt of the prescription."
        )
    options = context.options
    given = {key: str(options[key]) for key in ("product", "farm", "customer") if options.get(key)}
    written = write_prescription(
        zones,
        rates,
        folder,
        names=TaskNames(field=name, **given),
        cell_m=float(options.get("working-width") or 0) / CELLS_ACROSS or LEAST_CELL_M,
        notes=context.notes,
    )
    if not any(file.name == "TASKDATA.XML" for file in written):
        unit = next(iter(rates.values())).unit
        context.notes.append(
            f"{name}: no ISOXML was written, only prescription.shp and .geojson: rates in {unit!r} "
            f"have no one meaning there. It takes {', '.join(UNITS)}."
        )
    return written


def _threshold(context: ExportContext) -> float | None:
    """Of the operating point in use."""
    point = context.run.get("operating_point")
    return None if point is None else float(point["threshold"])


def _threshold_notes(context: ExportContext, tiles: pd.DataFrame) -> list[str]:
    """What a threshold in use decides, which is not the class that the map shows."""
    limit = _threshold(context)
    if "decision" not in tiles or context.task.kind == "multilabel":
        return []
    if limit is None:
        return [f"Classes: {rule_of_decision(context.run, context.task)}."]
    if context.task.is_two_way:
        return [f"Classes on the map are decided at the threshold in use, {limit:.3g}."]
    n = int((tiles["decision"] == POSITIVE).sum())
    return [
        f"The map shows the predicted class. The threshold in use, {limit:.3g} on the summed "
        f"score of {', '.join(affected_classes(context.task))}, decides {n:,} of {len(tiles):,} "
        "tiles positive: column decision of tiles.gpkg, n_positive of the zones."
    ]


def _decider(task: Task, threshold: float | None) -> Decide | None:
    """Scores to class indices; None where classes do not exclude each other.

    A threshold parts two classes. Of more it decides for a side, which is no class of a map.
    """
    if task.kind == "multilabel":
        return None
    limit = threshold if task.is_two_way else None
    return lambda scores: decide(scores, task=task, threshold=limit)


def _write_tiles(
    tiles: pd.DataFrame, facts: RasterFacts, context: ExportContext, folder: Path
) -> Path:
    """Every tile as a polygon, also those without a score, with the reason.

    ``class`` is the predicted one, or ``in doubt``.
    """
    import geopandas  # noqa: PLC0415  (an extra)

    keep = ["image_id", "status", "reason", "field", "valid_fraction", "lon", "lat"]
    keep += [c for c in OF_PREDICTIONS if c in tiles]
    marked = tiles["in_doubt"] & (tiles["status"] == "ok") & (not context.accept_doubtful)
    tiles = tiles.assign(
        **{"class": np.where(marked, IN_DOUBT, words_of(tiles, "predicted").astype(object))}
    )
    frame = geopandas.GeoDataFrame(
        tiles[[*keep, "class", *score_columns(context.task.classes)]].reset_index(drop=True),
        geometry=tile_shapes(tiles, facts),
        crs=facts.crs,
    )
    return write_layer(frame, folder / "tiles.gpkg")
