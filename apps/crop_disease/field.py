"""From an orthomosaic to tiles: the manifest of a field, and the pixels of one tile.

A GeoTIFF, a folder of them, or a WebODM project gives one row per tile. For
training the classes come from polygons or points over the raster, or from the
folders that tiles lie in; the group is a block of ground, and blocks keep a
tile's width between them, because neighbouring tiles show the same plants.

Where tiles lie is ``tiles``' business, what is in a file ``raster``'s, labels are
``spatial``'s; the map is made in ``mapping`` and ``field_outputs``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from apps.crop_disease.channels import Reading
from apps.crop_disease.field_files import rasters_of
from apps.crop_disease.field_grid import (
    blocked,
    in_words,
    stride_px,
    tile_side,
    trained_facts,
)
from apps.crop_disease.ground import Ground
from apps.crop_disease.raster import (
    RasterFacts,
    borrow,
    choose_reading,
    describe,
    need_geo,
    read_pixels,
    valid_pixels,
)
from apps.crop_disease.spatial import Shapes, label_of_tiles, read_shapes
from apps.crop_disease.tiles import starts, valid_fractions
from core.app import Manifest
from core.data.scan import readable
from core.errors import ImageError, ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from apps.crop_disease.raster import Window
    from core.app import Source

__all__ = [
    "OUTPUT_COLUMNS",
    "facts_of",
    "field_mask",
    "index_field",
    "is_tile",
    "read_tile",
    "window_of",
]

# Of a tile's side, when a map is made; in training tiles do not overlap.
MAP_OVERLAP = "25%"
LEAST_VALID = 0.5
LEAST_SHARE = 0.5
# How much finer or coarser the ground may be sampled than in training before it is said.
GSD_FACTOR = 1.5
SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
GROUPS = ("block", "field", "flight")

# Columns of tiles that may stand in outputs: places on the ground are what a map is for.
OUTPUT_COLUMNS = (
    "field",
    "flight",
    "block",
    "row_off",
    "col_off",
    "height",
    "width",
    "x",
    "y",
    "lon",
    "lat",
    "valid_fraction",
    "gsd_m",
    "tile_m",
)


@dataclass
class _Found:
    """Rows so far, and what is to be told about them."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    refused: list[tuple[Path, str]] = field(default_factory=list)


def is_tile(row: Mapping[str, Any]) -> bool:
    """Whether a manifest row is a tile of a raster; a photo is not."""
    value = row.get("row_off")
    return value is not None and value == value and value != ""  # noqa: PLR0124  (NaN)


def index_field(source: Source) -> Manifest:
    """The manifest of rasters: one row per tile, in the order in which tiles are stored.

    Extra columns: ``OUTPUT_COLUMNS``, and ``reading``, which says how bands become channels.

    Raises:
        ManifestError: no raster can be used, or labels are wanted and there are none.
        ImageError: the one raster named cannot be placed on the ground or read.
        ConfigError: an option makes no sense.
    """
    need_geo("Indexing a field")
    import pandas as pd  # noqa: PLC0415  (the app's description must load without it)

    files, root = rasters_of(source)
    found = _Found()
    by_folder = source.labelled and not any(_labels_file(source, path) for path, _ in files)
    if by_folder:
        _require_class_folders(files, root)
    for path, flight in files:
        try:
            _add_raster(found, path, flight, root, source, whole=by_folder)
        except (ImageError, ManifestError) as error:
            if len(files) == 1:
                raise
            found.refused.append((path, str(error)))
    for path, reason in found.refused:
        text = _shown(path, root)
        found.rows.append(
            {
                "image_id": text,
                "path": text,
                "status": "skipped",
                "reason": " ".join(reason.split()),
            }
        )
    table = pd.DataFrame(found.rows).sort_values("image_id", kind="stable", ignore_index=True)
    _require_some(table, files, found)
    words = ["label", "group", "split", "reason", "field", "flight", "block", "reading"]
    for name in words:
        column = table[name] if name in table else pd.Series("", index=table.index)
        table[name] = column.fillna("").astype(str)
    group, rule = _group(table, source)
    table["group"] = group
    split_rule = "The split is that of the folders." if (table["split"] != "").any() else ""
    notes = (*_scale_notes(table, source), *found.notes, *_skip_notes(table))
    return Manifest(
        table=table, root=root, group_rule=rule, split_rule=split_rule, notes=tuple(notes)
    )


def read_tile(row: Mapping[str, Any]) -> NDArray[Any]:
    """The tile of a manifest row, (H, W, C); what is not valid has the colour of padding.

    Cheapest in the order of the manifest: one handle per raster is kept, and GDAL keeps
    the stored blocks that the next tiles need.

    Raises:
        ImageError: the raster is damaged there.
    """
    need_geo("Reading a tile")
    from rasterio.errors import RasterioIOError  # noqa: PLC0415  (an extra)

    reading = Reading.parse(str(row["reading"]))
    try:
        with borrow(Path(row["path"])) as source:
            return read_pixels(source, reading, window_of(row))
    except (RasterioIOError, OSError) as error:
        detail = str(error.__cause__ or error)
        msg = f"the raster cannot be read at {window_of(row)[:2]} ({detail})"
        raise ImageError(msg) from error


def window_of(row: Mapping[str, Any]) -> Window:
    """(row, col, height, width) of a tile in its raster."""
    return int(row["row_off"]), int(row["col_off"]), int(row["height"]), int(row["width"])


@dataclass(frozen=True)
class field_mask:  # noqa: N801  (used as a function that pickles)
    """Window -> which pixels hold a measurement and lie within the field's boundary."""

    path: Path
    reading: Reading
    within: Shapes | None = None

    def __call__(self, window: Window) -> NDArray[np.bool_]:
        """The mask (H, W) of a window."""
        with borrow(self.path) as source:
            valid = valid_pixels(source, self.reading, window)
        return valid if self.within is None or not valid.any() else valid & self.within.mask(window)


def facts_of(table: Any) -> dict[str, Any]:
    """What a run should remember of its training tiles, to compare new rasters with.

    Args:
        table: a manifest of tiles.

    Returns:
        ``gsd_m`` and ``tile_m`` (medians), ``tile_px``, ``reading``; empty without tiles.
    """
    tiles = table[(table["status"] == "ok")] if "row_off" in table else table.iloc[:0]
    if not len(tiles):
        return {}
    return {
        "gsd_m": float(tiles["gsd_m"].median()),
        "tile_m": float(tiles["tile_m"].median()),
        "tile_px": int(tiles["width"].median()),
        "reading": str(tiles["reading"].mode().iloc[0]),
    }


def _add_raster(
    found: _Found, path: Path, flight: str, root: Path, source: Source, *, whole: bool
) -> None:
    """Add the tiles of one raster."""
    options = source.options
    facts = describe(path, crs=str(options.get("crs") or ""))
    reading = _reading(facts, source)
    within = None
    if options.get("within"):
        within = read_shapes(Path(options["within"]), facts)
    mask = field_mask(path, reading, within)
    tile = tile_side(facts, source)
    blocks: list[str] = []
    if whole:
        tile_hw = (facts.height, facts.width)
        rows, cols = np.array([0]), np.array([0])
        row_block, col_block = [0], [0]
    elif source.labelled:
        rows, cols, row_block, col_block = blocked(facts, tile, source, found.notes)
        tile_hw = (tile, tile)
    else:
        stride = stride_px(facts, tile, str(options.get("overlap") or MAP_OVERLAP))
        tile_hw = (min(tile, facts.height), min(tile, facts.width))
        rows = np.array(starts(facts.height, tile, stride))
        cols = np.array(starts(facts.width, tile, stride))
        row_block = col_block = []
    share, n_valid = valid_fractions(mask, (facts.height, facts.width), rows, cols, tile_hw)
    if not n_valid:
        inside = " within the polygons" if within else ""
        msg = (
            f"{path}: holds no valid pixel{inside}; all is nodata or transparent. Check the "
            "export, and that the nodata value is right."
        )
        raise ManifestError(msg)
    windows = [
        (int(r), int(c), min(tile_hw[0], facts.height), min(tile_hw[1], facts.width))
        for r in rows
        for c in cols
    ]
    if row_block:
        blocks = [f"r{r:02d}c{c:02d}" for r in row_block for c in col_block]
    labels = _labels(facts, source, windows, path, whole=whole)
    least = float(options.get("least-valid") or LEAST_VALID)
    reasons = [
        f"less than {least:.0%} of it is valid" if value < least else "" for value in share.ravel()
    ]
    found.rows += _rows(
        facts, flight, root, reading, windows, share.ravel(), reasons, labels, blocks, within
    )


def _rows(
    facts: RasterFacts,
    flight: str,
    root: Path,
    reading: Reading,
    windows: Sequence[Window],
    share: NDArray[np.float64],
    reasons: Sequence[str],
    labels: Sequence[tuple[str, str]],
    blocks: Sequence[str],
    within: Shapes | None,
) -> list[dict[str, Any]]:
    """Manifest rows of the tiles of one raster."""
    text = _shown(facts.path, root)
    ground = Ground.of(facts.crs, facts.transform)
    middle = np.array([(r + h / 2, c + w / 2) for r, c, h, w in windows])
    x, y = ground.xy(middle[:, 0], middle[:, 1])
    lon, lat = ground.lonlat(middle[:, 0], middle[:, 1])
    fields = within.at(middle[:, 0], middle[:, 1]) if within else [""] * len(windows)
    split = SPLITS.get(Path(text).parts[0].lower(), "") if labels and "/" in text else ""
    rows = []
    for i, (window, reason) in enumerate(zip(windows, reasons, strict=True)):
        label, unlabelled = labels[i] if labels else ("", "")
        why = reason or unlabelled
        rows.append(
            {
                # Digits of a fixed width: text order is the order in storage.
                "image_id": f"{text}#r{window[0]:06d}_c{window[1]:06d}",
                "path": text,
                "label": label,
                "split": split if split and label else "",
                "status": "skipped" if why else "ok",
                "reason": why,
                "field": fields[i] or Path(text).stem,
                "flight": flight,
                "block": f"{Path(text).stem}/{blocks[i]}" if blocks else "",
                "row_off": window[0],
                "col_off": window[1],
                "height": window[2],
                "width": window[3],
                "valid_fraction": round(float(share[i]), 6),
                "x": float(x[i]),
                "y": float(y[i]),
                "lon": round(float(lon[i]), 8),
                "lat": round(float(lat[i]), 8),
                "gsd_m": round(facts.pixel_m, 6),
                "tile_m": round(facts.pixel_m * (window[2] * window[3]) ** 0.5, 4),
                "reading": str(reading),
            }
        )
    return rows


def _reading(facts: RasterFacts, source: Source) -> Reading:
    """How this raster's bands become channels, checked against the run where it is known."""
    options = source.options
    reading = choose_reading(
        facts,
        bands=str(options.get("bands") or ""),
        indices=str(options.get("indices") or ""),
        full_scale=float(options.get("full-scale") or 0),
    )
    trained = str(trained_facts(source).get("reading") or "")
    if trained:
        want, have = Reading.parse(trained).channels, reading.channels
        if len(want) != len(have):
            msg = (
                f"{facts.path}: gives {len(have)} channels ({', '.join(have)}), and the model was "
                f"trained on {len(want)} ({', '.join(want)}). Name the bands in order, as in "
                "--bands RGB-, and the --indices of training."
            )
            raise ManifestError(msg)
    return reading


def _labels(
    facts: RasterFacts, source: Source, windows: Sequence[Window], path: Path, *, whole: bool
) -> list[tuple[str, str]]:
    """(label, why there is none) of each tile; empty where no labels are wanted."""
    if not source.labelled:
        return []
    if whole:
        return [(readable(path.parent.name), "")] * len(windows)
    options = source.options
    file = _labels_file(source, path)
    if file is None:
        msg = f"{path}: no labels lie beside it. Pass --labels FILE."
        raise ManifestError(msg)
    column = str(options.get("label-column") or source.label or source.task.label)
    shapes = read_shapes(file, facts, column=column, what="--labels")
    return label_of_tiles(
        shapes,
        windows,
        background=str(options.get("background") or ""),
        least_share=float(options.get("label-share") or LEAST_SHARE),
    )


def _labels_file(source: Source, raster: Path) -> Path | None:
    """The file of labels: the one named, or ``labels.gpkg`` or the like beside the raster."""
    if source.options.get("labels"):
        return Path(source.options["labels"])
    beside = (raster.with_name(f"labels{suffix}") for suffix in (".gpkg", ".geojson", ".shp"))
    return next((file for file in beside if file.is_file()), None)


def _group(table: Any, source: Source) -> tuple[Any, str]:
    """The group of each tile, and the rule in words."""
    wish = source.group or ("block" if (table["block"] != "").any() else "field")
    if wish not in GROUPS:
        msg = f"--group {wish}: tiles know their {', '.join(GROUPS)}. Choose one of these."
        raise ManifestError(msg)
    if wish == "block" and source.labelled and not (table["block"] != "").any():
        wish = "field"
    words = {
        "block": "The group is a block of ground; between blocks lies at least the side of a tile.",
        "field": "The group is the field: the polygon of --within, or the raster.",
        "flight": "The group is the flight: the WebODM project, or the folder of the raster.",
    }
    return table[wish], words[wish] if source.labelled else ""


def _scale_notes(table: Any, source: Source) -> Iterator[str]:
    """What is to be said about ground sampling distance and tiles."""
    facts = facts_of(table)
    if not facts:
        return
    tiles = table[table["status"] == "ok"]
    yield (
        f"Tiles are {in_words(facts['tile_m'])} on a side at a ground sampling distance of "
        f"{in_words(facts['gsd_m'])}; channels: {facts['reading']}."
    )
    low, high = float(tiles["gsd_m"].min()), float(tiles["gsd_m"].max())
    if high > GSD_FACTOR * low:
        yield (
            f"The rasters differ in ground sampling distance, {in_words(low)} to {in_words(high)}. "
            "Pass --tile in metres, so that all tiles show as much ground."
        )
    trained = float(trained_facts(source).get("tile_m") or 0)
    if trained:
        ratio = facts["tile_m"] / trained
        if not 1 / GSD_FACTOR <= ratio <= GSD_FACTOR:
            yield (
                f"Tiles show {facts['tile_m']:.3g} m of ground, and the model was trained on "
                f"{trained:.3g} m: plants appear {max(ratio, 1 / ratio):.1f} times "
                f"{'smaller' if ratio > 1 else 'larger'}. Pass --match-gsd."
            )


def _skip_notes(table: Any) -> Iterator[str]:
    """How many tiles are left out for want of valid area or of a class."""
    skipped = table[table["status"] != "ok"]
    dry = int(skipped["reason"].str.contains("of it is valid").sum())
    if dry:
        yield f"{dry:,} of {len(table):,} tiles are left out: too little of them is valid."
    rest = len(skipped) - dry
    if rest:
        first = skipped[~skipped["reason"].str.contains("of it is valid")].iloc[0]
        yield f"{rest:,} of {len(table):,} are left out (first: {first.image_id}: {first.reason})."


def _require_some(table: Any, files: Sequence[Any], found: _Found) -> None:
    """Refuse where nothing is left to judge."""
    if len(table) and (table["status"] == "ok").any():
        return
    reasons = table["reason"].value_counts()
    why = "; ".join(f"{n:,} x {reason}" for reason, n in reasons.head(3).items())
    msg = (
        f"{files[0][0]}: not one of {len(table):,} tiles can be used ({why or 'it has none'}). "
        "Check --within, --labels and --least-valid, or pass a smaller --tile."
    )
    raise ManifestError(msg)


def _require_class_folders(files: Sequence[tuple[Path, str]], root: Path) -> None:
    """Refuse rasters whose classes nothing tells."""
    loose = [path for path, _ in files if path.parent == root]
    if loose:
        msg = (
            f"{loose[0]}: nothing says which class it shows. Pass polygons or points with classes, "
            "as in --labels FILE --label-column NAME, or put tiles into one folder per class."
        )
        raise ManifestError(msg)


def _shown(path: Path, root: Path) -> str:
    """A path as it stands in tables."""
    inside = path.relative_to(root) if path.is_relative_to(root) else path
    return readable(inside.as_posix())
