"""From an orthomosaic to tiles: the manifest of a field.

A GeoTIFF, a folder of them, or a WebODM project gives one row per tile. For
training the classes come from polygons or points over the raster, or from the
folders that tiles lie in; the group is a block of ground, and blocks keep a
tile's width between them, because neighbouring tiles show the same plants.

Where tiles lie is ``tiles``' business, what is in a file ``raster``'s, labels are
``spatial``'s, what may not straddle a split ``field_groups``'; the map is made in
``mapping`` and ``field_outputs``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from apps.crop_disease.field.channels import Reading
from apps.crop_disease.field.files import rasters_of
from apps.crop_disease.field.grid import (
    BLOCKS_PER_CLASS,
    BLOCKS_WANTED,
    Layout,
    for_a_map,
    for_training,
    one_tile,
    tile_side,
)
from apps.crop_disease.field.ground import Ground
from apps.crop_disease.field.groups import assign_spatial_blocks
from apps.crop_disease.field.notes import facts_of, require_some, scale_notes, skip_notes
from apps.crop_disease.field.raster import (
    RasterFacts,
    choose_reading,
    depth_of,
    describe,
    in_depth,
    need_geo,
)
from apps.crop_disease.field.spatial import Shapes, label_of_tiles, read_shapes
from apps.crop_disease.field.tile_pixels import field_mask
from apps.crop_disease.field.tiles import valid_fractions
from apps.crop_disease.field.vector_file import DRIVERS
from core.app import Manifest
from core.data.folder_words import split_word
from core.data.label_map import label_map
from core.data.scan import readable
from core.errors import ImageError, ManifestError, RunError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from core.app import Source

__all__ = ["CHARACTERISTICS", "OUTPUT_COLUMNS", "index_field"]

LEAST_VALID = 0.5
LEAST_SHARE = 0.5
# Column of labels that travels along beside the class.
SEVERITY = "severity"
# The app's own size and epochs are those of photos; tiles get what the rules say of tiles.
SETTINGS = {"size_px": None, "side_px": None, "epochs": None}

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


# What Table 1 of a report calls them. Not told: where a tile lies, how bands are read, and the
# ground that progress counts in, which is the raster's shared evenly by its tiles.
CHARACTERISTICS = {
    **dict.fromkeys(("row_off", "col_off", "height", "width", "x", "y", "lon", "lat"), ""),
    **dict.fromkeys(("block", "valid_fraction", "reading", "hectares", "depth"), ""),
    "gsd_m": "ground sampling distance (m)",
    "tile_m": "side of a tile (m)",
}


@dataclass
class _Found:
    """Rows so far, and what is to be told about them.

    ``form`` is the name, the channels and the depth of the first raster, which all must have.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    refused: list[tuple[Path, str]] = field(default_factory=list)
    form: tuple[str, tuple[str, ...], str] | None = None


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
    found.rows += [_refused(path, reason, root, source) for path, reason in found.refused]
    table = pd.DataFrame(found.rows).sort_values("image_id", kind="stable", ignore_index=True)
    words = ["label", "group", "split", "reason", "field", "flight", "block", "reading", "refused"]
    for name in words:
        column = table[name] if name in table else pd.Series("", index=table.index)
        table[name] = column.fillna("").astype(str)
    require_some(table, files)
    table, word, (rule, split_rule), notes = assign_spatial_blocks(table, source, whole=by_folder)
    return Manifest(
        table=table,
        root=root,
        group_rule=rule,
        split_rule=split_rule,
        notes=(*scale_notes(table, source), *found.notes, *notes, *skip_notes(table)),
        class_rule=_class_rule(table, source, by_folder=by_folder),
        facts=facts_of(table),
        settings=SETTINGS,
        group_word=word,
        extent=("hectares", "ha"),
    )


def _class_rule(table: Any, source: Source, *, by_folder: bool) -> str:
    """What names the classes, as the first line of a check."""
    if not source.labelled:
        return ""
    names = sorted(set(table.loc[table["status"] == "ok", "label"]) - {""})
    column = source.options.get("label-column") or source.label or source.task.label
    by = (
        "as the folders of the tiles say" if by_folder else f"as the column {column} of shapes says"
    )
    return f"classes: {len(names)} ({', '.join(names[:8])}), {by}."


def _refused(path: Path, reason: str, root: Path, source: Source) -> dict[str, Any]:
    """The row of a raster that could not be used, among others that could.

    In training it is left out; a prediction must count it as failed, so there reading it fails.
    """
    text, why = _shown(path, root), " ".join(reason.split())
    row = {"image_id": text, "path": text, "hectares": 0.0}
    if source.labelled:
        return {**row, "status": "skipped", "reason": why}
    return {**row, "status": "ok", "reason": "", "refused": why}


def _add_raster(
    found: _Found, path: Path, flight: str, root: Path, source: Source, *, whole: bool
) -> None:
    """Add the tiles of one raster."""
    options = source.options
    facts = describe(path, crs=str(options.get("crs") or ""))
    reading = _reading(facts, source)
    _require_one_form(found, facts, reading)
    within = None
    if options.get("within"):
        layer = "" if options.get("labels") else str(options.get("layer") or "")
        within = read_shapes(Path(options["within"]), facts, layer=layer)
    mask = field_mask(path, reading, within)
    layout, labels = _laid_out(found, facts, path, source, whole=whole)
    severity = _severity(facts, path, source, layout) if source.labelled and not whole else []
    share, n_valid = valid_fractions(
        mask, (facts.height, facts.width), layout.rows, layout.cols, layout.tile
    )
    if not n_valid:
        inside = " within the polygons" if within else ""
        msg = (
            f"{path}: holds no valid pixel{inside}; all is nodata or transparent. Check the "
            "export, and that the nodata value is right."
        )
        raise ManifestError(msg)
    least = float(options.get("least-valid") or LEAST_VALID)
    reasons = [
        f"less than {least:.0%} of it is valid" if value < least else "" for value in share.ravel()
    ]
    raster = _Raster(facts, _shown(facts.path, root), flight, reading, whole)
    rows_of = _rows(raster, layout, share.ravel(), reasons, labels, within)
    # The ground of the raster, shared evenly by the tiles that are judged: tiles overlap.
    n_ok = max(1, sum(row["status"] == "ok" for row in rows_of))
    hectares = n_valid * facts.pixel_m**2 / 1e4 / n_ok
    for row in rows_of:
        row["hectares"] = hectares * (row["status"] == "ok")
        row["depth"] = depth_of(facts, reading)
    for row, (grade, _) in zip(rows_of, severity, strict=False):
        row["severity"] = grade
    found.rows += rows_of


@dataclass(frozen=True)
class _Raster:
    """One raster: its facts, its path as the manifest has it, and whether it is one tile."""

    facts: RasterFacts
    path: str
    flight: str
    reading: Reading
    whole: bool


def _rows(
    raster: _Raster,
    layout: Layout,
    share: NDArray[np.float64],
    reasons: Sequence[str],
    labels: Sequence[tuple[str, str]],
    within: Shapes | None,
) -> list[dict[str, Any]]:
    """Manifest rows of the tiles of one raster."""
    facts, text, windows, blocks = raster.facts, raster.path, layout.windows, layout.blocks
    # A tile that is a file of its own says neither field nor flight by its name.
    field, flight = ("", "") if raster.whole else (Path(text).stem, raster.flight)
    ground = Ground.of(facts.crs, facts.transform)
    middle = np.array([(r + h / 2, c + w / 2) for r, c, h, w in windows])
    x, y = ground.xy(middle[:, 0], middle[:, 1])
    lon, lat = ground.lonlat(middle[:, 0], middle[:, 1])
    fields = within.at(middle[:, 0], middle[:, 1]) if within else [""] * len(windows)
    split = split_word(Path(text).parts[0]) if labels and "/" in text else ""
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
                "field": fields[i] or field,
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
                "reading": str(raster.reading),
            }
        )
    return rows


def _require_one_form(found: _Found, facts: RasterFacts, reading: Reading) -> None:
    """Refuse a raster whose channels or depth are not those of the first.

    Each would be read by a rule of its own, and one brightness would mean three things.

    Raises:
        ManifestError: it differs.
    """
    form = facts.path.name, reading.channels, depth_of(facts, reading)
    if found.form is None:
        found.form = form
        return
    name, channels, depth = found.form
    if (channels, depth) == form[1:]:
        return
    msg = (
        f"{facts.path}: is read as {', '.join(form[1])} in {form[2]}, and {name} as "
        f"{', '.join(channels)} in {depth}; one model needs one reading. Name the bands of all "
        "with --bands, and the stored value that stands for white with --full-scale; or leave this "
        "raster out."
    )
    raise ManifestError(msg)


def _reading(facts: RasterFacts, source: Source) -> Reading:
    """How this raster's bands become channels, checked against the run where it is known."""
    options = source.options
    reading = choose_reading(
        facts,
        bands=str(options.get("bands") or ""),
        indices=str(options.get("indices") or ""),
        full_scale=float(options.get("full-scale") or 0),
    )
    trained, depth = (str(source.trained.get(name) or "") for name in ("reading", "depth"))
    if depth not in {"", "uint8", "uint16", "float32"}:
        msg = f"The run says that it learned from {depth!r} values, which are none. Copy it again."
        raise RunError(msg)
    if trained:
        try:
            want, have = Reading.parse(trained).channels, reading.channels
        except (ValueError, IndexError) as error:
            msg = (
                f"The run says that it read bands as {trained!r}, which is no rule. Copy it again."
            )
            raise RunError(msg) from error
        if len(want) != len(have):
            msg = (
                f"{facts.path}: gives {len(have)} channels ({', '.join(have)}), and the model was "
                f"trained on {len(want)} ({', '.join(want)}). Name the bands in order, as in "
                "--bands RGB-, and the --indices of training."
            )
            raise ManifestError(msg)
    # After the channels: a scale would be no help where those are others.
    return in_depth(facts, reading, depth) if depth else reading


def _laid_out(
    found: _Found, facts: RasterFacts, path: Path, source: Source, *, whole: bool
) -> tuple[Layout, list[tuple[str, str]]]:
    """Where the tiles lie, and (label, why there is none) of each; no labels where none are wanted.

    Blocks are as large as leaves enough of them, of each class as well.
    """
    if whole:
        return one_tile(facts), [(readable(path.parent.name), "")]
    tile = tile_side(facts, source)
    if not source.labelled:
        return for_a_map(facts, tile, source), []
    options = source.options
    file = _labels_file(source, path)
    if file is None:
        msg = f"{path}: no labels lie beside it. Pass --labels FILE."
        raise ManifestError(msg)
    column = str(options.get("label-column") or source.label or source.task.label)
    layer = str(options.get("layer") or "")
    chosen = label_map(options.get("label-map"))
    shapes = read_shapes(file, facts, column=column, what="--labels", layer=layer, chosen=chosen)
    if shapes.n_bare:
        found.notes.append(
            f"{shapes.n_bare:,} of the {len(shapes):,} shapes on {path.name} have no class in the "
            f"column {column}, and count for nothing."
        )
    best: tuple[int, Layout, list[tuple[str, str]]] | None = None
    for layout in for_training(facts, tile, source, found.notes):
        labels = label_of_tiles(
            shapes,
            layout.windows,
            background=str(options.get("background") or ""),
            least_share=float(options.get("label-share") or LEAST_SHARE),
        )
        blocks_of: dict[str, set[str]] = {}
        for (label, _), block in zip(labels, layout.blocks, strict=True):
            blocks_of.setdefault(label, set()).add(block)
        blocks_of.pop("", None)
        fewest = min(map(len, blocks_of.values()), default=0)
        is_enough = len(set(layout.blocks)) >= BLOCKS_WANTED
        # Small blocks lose much ground to strips, so they are cut no smaller than is needed.
        level = sum(fewest >= wanted for wanted in BLOCKS_PER_CLASS) if is_enough else 0
        if best is None or level > best[0] or not best[0]:
            best = level, layout, labels
        if level == len(BLOCKS_PER_CLASS):
            break
    if best is None:
        msg = f"{path}: no block of tiles fits on it. Pass a smaller --tile."
        raise ManifestError(msg)
    return best[1], best[2]


def _severity(
    facts: RasterFacts, path: Path, source: Source, layout: Layout
) -> list[tuple[str, str]]:
    """The grade of each tile where the labels have a column for it beside the class."""
    import pyogrio  # noqa: PLC0415  (an extra)

    file = _labels_file(source, path)
    column = str(source.options.get("label-column") or source.label or source.task.label)
    layer = str(source.options.get("layer") or "") or None
    if file is None or column == SEVERITY or file.suffix.lower() in {".kmz", ".zip"}:
        return []
    if SEVERITY not in pyogrio.read_info(file, layer=layer)["fields"]:
        return []
    shapes = read_shapes(file, facts, column=SEVERITY, what="--labels", layer=layer or "")
    return label_of_tiles(shapes, layout.windows, background="", least_share=LEAST_SHARE)


def _labels_file(source: Source, raster: Path) -> Path | None:
    """The file of labels: the one named, or ``labels.gpkg`` or the like beside the raster."""
    if source.options.get("labels"):
        return Path(source.options["labels"])
    beside = (raster.with_name(f"labels{suffix}") for suffix in DRIVERS)
    return next((file for file in beside if file.is_file()), None)


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
