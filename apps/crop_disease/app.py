"""Crop disease from photos of leaves and from the air: which disease, how severe, where.

A photo shows one leaf, in the field or on a table; a raster shows a field and is judged
tile by tile. This module only states the app. Which of the two is at hand, and which
photos there are, says ``index``; how photos are prepared is in ``images``, how rasters become
tiles in ``field``, how pixels are varied in ``augmentation``, what is counted in
``metrics``, what a report adds in ``report`` and ``field_report``, what a map becomes in
``field_outputs``, and the synthetic sets with a known answer in ``phantom`` and
``field_phantom``.
"""

from __future__ import annotations

from pathlib import Path

from apps.crop_disease.field.area_report import areas_and_severity
from apps.crop_disease.field.index import CHARACTERISTICS, OUTPUT_COLUMNS
from apps.crop_disease.field.options import OPTIONS
from apps.crop_disease.field.outputs import EXPORTS
from apps.crop_disease.field.phantom import write_field_phantom
from apps.crop_disease.field.report import random_against_spatial
from apps.crop_disease.field.tile_picture import map_of_tiles
from apps.crop_disease.images import augment, prepare
from apps.crop_disease.index import index
from apps.crop_disease.inputs import raster_found, read
from apps.crop_disease.metrics import METRICS
from apps.crop_disease.phantom import write_phantom
from apps.crop_disease.report import by_severity, confused_pairs, several_diseases, sick_and_healthy
from core.app import FOR_SMALL_SIGNS, App, Domain, Section, Task, Tour, Unit
from core.data.framing import PADDING

__all__ = ["APP"]

# Words for classes that public data sets abbreviate. They hold for any crop: which fungus
# causes the rust of a crop is for the user to say.
TITLES = {
    "cercospora": "cercospora leaf spot",
    "miner": "leaf miner",
    "phoma": "phoma leaf spot",
    "spot": "leaf spot",
}

APP = App(
    name="crop_disease",
    title="Crop disease on leaves and in fields",
    intended_use=(
        "Sorts photos of single leaves, or the tiles of a field seen from the air, by the diseases "
        "it was trained on, to help scouts and agronomists look at the right plants first. It "
        "knows no disease it was not shown, is tested only on pictures like those of its data, and "
        "replaces neither a plant pathologist nor a laboratory before a treatment is chosen."
    ),
    tasks=(
        Task(name="disease", kind="multiclass", titles=TITLES),
        Task(name="severity", kind="ordinal", label="severity", headline="quadratic_kappa"),
        Task(name="symptoms", kind="multilabel", label="symptoms", titles=TITLES),
    ),
    index=index,
    group="leaf",
    read=read,
    prepare=prepare,
    augment=augment,
    units=(Unit(name="leaf", columns=("leaf",), rule="mean"),),
    metrics=METRICS,
    subgroups=("crop", "variety", "site", "camera", "field", "flight"),
    sections=(
        Section(title="Classes taken for one another", build=confused_pairs, part="errors"),
        Section(title="Several diseases on one leaf", build=several_diseases, part="subgroups"),
        Section(title="Light and severe infections", build=by_severity, part="subgroups"),
        Section(title="Areas of a field", build=areas_and_severity),
        Section(
            title="Random split against spatial split", build=random_against_spatial, part="data"
        ),
    ),
    first_picture=map_of_tiles,
    first_words=sick_and_healthy,
    exports=EXPORTS,
    image_words={"row_off": "tile", "": "photo"},
    domain=Domain(
        words=(
            *("leaf", "leaves", "rust", "blight", "mildew", "miner", "leafspot", "blast", "phoma"),
            *("cercospora", "septoria", "mosaic", "anthracnose", "wilt", "canker", "scab"),
        ),
        finds=raster_found,
    ),
    characteristics=CHARACTERISTICS,
    about_people=False,
    phantom=write_phantom,
    # A disease may show in one spot of a fiftieth of the leaf's length.
    config=FOR_SMALL_SIGNS,
    output_columns=("leaf", "severity", *OUTPUT_COLUMNS),
    options=OPTIONS,
    frame_colour=PADDING,
    tours=(
        Tour(
            name="field",
            title="a field from the air",
            phantom=write_field_phantom,
            n_images=240,
            settings={"epochs": 2, "batch": 16},
            train_options={"tile": "32px"},
            predict_options={"rates": Path("rates.csv"), "within": Path("boundary.gpkg")},
        ),
    ),
)
