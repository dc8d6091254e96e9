"""Any labelled folder of images: no domain knowledge, everything by looking at the data.

This module only states the app. What a folder holds is found in ``index``, what is no
classification task in ``not_classes``; pixels are read and prepared in ``images`` and
``dicom``, varied in ``augmentation``; what is counted says ``metrics``; ``phantom`` draws
the synthetic set.
"""

from __future__ import annotations

from apps.images.images import SYMMETRIES, augment, prepare, read
from apps.images.index import SUBGROUPS, index
from apps.images.metrics import METRICS
from apps.images.phantom import write_phantom
from apps.images.volumes import SLICES
from core.app import App, Domain, Option, Task, Unit

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
    # As for leaves, because a sign may fill little of any picture: pixels count, and so does
    # the strongest answer anywhere beside the average.
    config={
        "side_px": 361,
        "pool": "last_two_max",
        "batch": 16,
        "lr_backbone": 1.5e-4,
        "small_share": 0.4,
    },
    output_columns=("volume", "slice", "window", "subject"),
    options=(
        Option(
            name="slices",
            help="Slices taken of each volume (NIfTI, DICOM of several frames, NumPy).",
            verbs=("check", "train", "evaluate", "predict"),
            type=int,
            default=SLICES,
        ),
        Option(
            name="window",
            help="LOW,HIGH: values of a volume shown as black and white, as -1000,400 for lungs; "
            "without it each volume's own range.",
            verbs=("check", "train", "evaluate", "predict"),
            scope="pixels",
        ),
    ),
    domain=Domain(is_any=True),
)
