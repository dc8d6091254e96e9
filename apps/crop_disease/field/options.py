"""What a user may say about rasters of a field on the command line."""

from __future__ import annotations

from pathlib import Path

from core.app import Option, output_option

__all__ = ["OPTIONS"]

LABELLED = ("check", "train", "evaluate")
OPTIONS = (
    Option(name="tile", help="Side of a tile: 224px or 10m."),
    Option(
        name="overlap",
        help="Of neighbouring tiles: 25%, 56px or 2m; default 25% for a map, none for training.",
        # Tiles of a map overlap and those of a training do not.
        scope="command",
    ),
    Option(name="bands", help="The file's bands in order: RGBN, RGNRe, R,G,B,-."),
    Option(name="indices", help="Vegetation indices as further channels: NDVI,ExG."),
    Option(
        name="full-scale", help="The stored value that stands for 1, such as 10000.", type=float
    ),
    Option(name="crs", help="System of a raster that names none: EPSG:32615.", scope="command"),
    Option(name="within", help="Polygons of the field: only there.", type=Path),
    Option(
        name="least-valid",
        help="Share of a tile that must hold a measurement; default 0.5.",
        type=float,
    ),
    Option(name="labels", help="Polygons or points with classes.", verbs=LABELLED, type=Path),
    Option(
        name="label-share",
        help="Share of a tile that its class must cover; default 0.5.",
        verbs=LABELLED,
        type=float,
    ),
    Option(name="background", help="Class of ground that no polygon covers.", verbs=LABELLED),
    Option(name="block", help="Side of the blocks of a spatial split: 60m.", verbs=LABELLED),
    Option(
        name="hold-out",
        help="Fields or flights kept for the final numbers: NAME,NAME.",
        verbs=("check", "train"),
        scope="command",
    ),
    Option(
        name="buffer",
        help="Ground between blocks; default and at least the side of a tile.",
        verbs=LABELLED,
    ),
    Option(
        name="match-gsd",
        help="Cut tiles of the ground size of training, whatever the sampling distance.",
        verbs=("evaluate", "predict"),
        type=bool,
    ),
    output_option(
        name="rates", help="Table of class, rate, unit: writes a prescription map.", type=Path
    ),
    output_option(
        name="working-width",
        help="Metres of a machine's width that zones are simplified to; 0 keeps every pixel.",
        type=float,
        default=1.0,
    ),
    output_option(
        name="least-zone",
        help="Square metres; smaller zones are joined to what surrounds them.",
        type=float,
        default=1.0,
    ),
    output_option(name="product", help="What is applied, as the terminal shows it."),
    output_option(name="farm", help="Farm in the task data."),
    output_option(name="customer", help="Customer in the task data."),
    output_option(
        name="confusion",
        help="A run, or a table of true classes by map classes, to correct areas with.",
        type=Path,
    ),
)
