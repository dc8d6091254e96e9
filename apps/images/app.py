"""Any labelled folder of images: no domain knowledge, everything by looking at the data.

This module only states the app. What a folder holds is found in ``index``, what is no
classification task in ``not_classes``; pixels are read and prepared in ``images`` and ``dicom``,
those of volumes in ``volumes`` and ``whole_volumes``, and varied in ``augmentation``; what is
counted says ``metrics``; ``phantom`` draws the synthetic set.
"""

from __future__ import annotations

from apps.images.images import SYMMETRIES, augment, prepare, read
from apps.images.index import SUBGROUPS, index
from apps.images.metrics import METRICS
from apps.images.phantom import write_phantom
from apps.images.volumes import SLICES
from apps.images.whole_volumes import DEPTH
from core.app import FOR_SMALL_SIGNS, App, Domain, Option, Task, Unit

__all__ = ["APP"]

APP = App(
    name="images",
    title="Any labelled images",
    intended_use=(
        "Sorts images of any kind by the classes of the folder it was trained on, for research "
        "and for a first look at new data. It knows nothing of their domain, gives every image one "
        "of its classes whatever it shows, was tested only on images like those of its report, and "
        "decides nothing about a person, a plant or a product alone."
    ),
    tasks=(
        Task(name="class", kind="multiclass"),
        Task(name="binary", kind="binary"),
        Task(name="ordinal", kind="ordinal", headline="quadratic_kappa"),
        Task(name="multilabel", kind="multilabel"),
    ),
    index=index,
    group="group",
    read=read,
    prepare=prepare,
    augment=augment,
    symmetries=SYMMETRIES,
    units=(
        Unit(name="volume", columns=("volume",), rule="mean", learned=True),
        Unit(name="subject", columns=("subject",), rule="mean", learned=True),
    ),
    metrics=METRICS,
    subgroups=SUBGROUPS,
    phantom=write_phantom,
    # A sign may fill little of any picture.
    config=FOR_SMALL_SIGNS,
    output_columns=("volume", "slice", "depth", "window", "spacing", "foreground", "subject"),
    options=(
        Option(
            name="volumes",
            help="How volumes are seen: slices, one by one by a network for pictures, or whole, "
            "by a 3-D network such as resnet18_3d.",
            default="slices",
            choices=("slices", "whole"),
            scope="pixels",
            # Smaller pictures would be smaller in two of three directions.
            settings={"whole": {"backbone": "resnet18_3d", "small_share": 0.0}},
        ),
        Option(
            name="slices",
            help=f"Slices taken of each volume (NIfTI, DICOM of several frames, NumPy): {SLICES}, "
            f"or {DEPTH} of a whole one.",
            type=int,
        ),
        Option(
            name="window",
            help="LOW,HIGH: values of a volume shown as black and white, as -1000,400 for lungs; "
            "without it each volume's own range.",
            scope="pixels",
        ),
        Option(
            name="spacing",
            help="Side of a voxel in mm that whole volumes are brought to, so that sizes can be "
            "compared; the middle of each is seen.",
            scope="pixels",
        ),
        Option(
            name="foreground",
            help="Cut off what is dark all around whole volumes; not where size is a sign.",
            type=bool,
            default=False,
            scope="pixels",
        ),
    ),
    domain=Domain(is_any=True),
)
