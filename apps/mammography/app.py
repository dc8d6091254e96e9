"""Mammography: from DICOM exams to decisions about breasts and exams.

This module only states the app. How files are opened is in ``decoding``, what
their values mean in ``dicom``, what headers say in ``headers``, names without
identity in ``identity``, public data sets in ``layouts``, the manifest in
``index``, preparation in ``images``; ``metrics``, ``report`` and ``exports`` hold
what is counted, told and written, ``phantom`` the synthetic set.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from apps.mammography.exports import write_dicom, write_overlays
from apps.mammography.images import augment, prepare, read
from apps.mammography.index import index
from apps.mammography.layouts import BIRADS_CANCER
from apps.mammography.metrics import METRICS
from apps.mammography.phantom import write_phantom
from apps.mammography.report import screening_audit, views_and_sides, what_recall_finds
from apps.mammography.worklist import write_worklist
from core.app import App, Domain, Export, Option, Section, Task, Unit, output_option

__all__ = ["APP"]

# Density is of the woman: the average of her images, not the densest of them. It is coarse
# texture, which the first stages of a network see; what was measured on 322 films stands in
# the README.
_GRADED: dict[str, Any] = {
    "kind": "ordinal",
    "headline": "quadratic_kappa",
    "rules": {"breast": "mean", "exam": "mean"},
    "config": {"size_px": (224, 224), "pool": "first_two", "epochs": 0, "decide": "validation"},
}

APP = App(
    name="mammography",
    title="Mammography",
    intended_use=(
        "Research on screening and diagnostic mammograms: orders exams for reading and grades "
        "breast density, to support a study or the audit of a programme. It is not a medical "
        "device, was tested only on data like those of its report, and no decision about a woman "
        "may rest on it."
    ),
    tasks=(
        Task(
            name="cancer",
            kind="binary",
            classes=("no", "yes"),
            positive=("yes",),
            titles={"no": "no cancer", "yes": "cancer"},
        ),
        Task(
            name="pathology",
            kind="multiclass",
            classes=("normal", "benign", "malignant"),
            positive=("malignant",),
            # A woman with a malignant breast has cancer, whatever the other one shows.
            truths={"": "worst"},
        ),
        Task(
            name="density",
            **_GRADED,
            classes=("A", "B", "C", "D"),
            positive=("C", "D"),
            positive_title="dense",
            titles={
                "A": "A, almost entirely fatty",
                "B": "B, scattered density",
                "C": "C, heterogeneously dense",
                "D": "D, extremely dense",
            },
        ),
        Task(
            name="tissue",
            **_GRADED,
            classes=("F", "G", "D"),
            positive=("D",),
            titles={"F": "fatty", "G": "fatty-glandular", "D": "dense-glandular"},
        ),
        Task(name="finding", kind="binary", classes=("normal", "abnormal"), positive=("abnormal",)),
    ),
    index=index,
    group="patient",
    read=read,
    prepare=prepare,
    augment=augment,
    units=(
        Unit(
            name="breast",
            columns=("exam", "laterality"),
            rule="mean",
            learned=True,
            parts_are="view",
            parts=("CC", "MLO"),
        ),
        Unit(name="exam", columns=("exam",), rule="max", parts_are="laterality", parts=("L", "R")),
    ),
    metrics=METRICS,
    targets=("sensitivity=0.95", "specificity=0.9", "recall-rate=0.116"),
    subgroups=(
        *("view", "density", "age_decade", "manufacturer", "kind"),
        *("implant", "site", "abnormality"),
    ),
    # What became of a recall; the audit has PPV2 and PPV3 by them.
    characteristics={"biopsy_recommended": "biopsy recommended", "biopsy": "biopsy"},
    sections=(
        Section(title="Screening audit", build=screening_audit),
        Section(title="What a recall rate finds", build=what_recall_finds),
        Section(title="Views and sides", build=views_and_sides, part="data"),
    ),
    exports=(
        Export(
            name="worklist",
            help="Exams in doubt, then the others by score, with percentile and triage class.",
            write=write_worklist,
        ),
        Export(
            name="overlays",
            help="Where the model looked, over each image at its own size.",
            write=write_overlays,
            option="overlays",
        ),
        Export(
            name="dicom",
            help="Secondary capture, segmentation and structured report of each DICOM input.",
            write=write_dicom,
            option="dicom",
        ),
    ),
    phantom=write_phantom,
    config={"size_px": (512, 256), "stage_decay": 0.7, "imbalance": "each_batch"},
    prepared_columns=("breast_fraction", "chest_side"),
    domain=Domain(
        words=("mammogram", "mammography", "mammo", "birads", "bi-rads", "mlo"), modalities=("MG",)
    ),
    output_columns=(
        *("patient", "missing_views", "view_modifiers", "intent", "laterality_from", "voi"),
        "spacing_mm",
    ),
    cautions=(("laterality_from", "pixels", "side guessed from the picture"),),
    options=(
        BIRADS_CANCER,
        Option(
            name="voi",
            help="How DICOM values are shown: auto (LUT, else window, else range), lut, window, "
            "range.",
            default="auto",
            choices=("auto", "lut", "window", "range"),
            scope="pixels",
        ),
        Option(
            name="voi-index",
            help="Which of several LUTs or windows of a header, from 0.",
            type=int,
            default=0,
            scope="pixels",
        ),
        Option(
            name="spacing-mm",
            help="Millimetres per pixel that images are brought to where theirs is known; 0 fits "
            "the breast into the picture instead.",
            type=float,
            default=0.0,
            scope="pixels",
        ),
        Option(
            name="crop",
            help="breast: cut out, the rest blackened, its greys spread; none: the whole picture.",
            default="breast",
            choices=("breast", "none"),
            scope="pixels",
        ),
        Option(
            name="include-skipped",
            help="Use images that are readable but no standard mammogram: for processing, "
            "magnified, contrast, other modalities.",
            type=bool,
            default=False,
            scope="command",
        ),
        Option(
            name="keep-identifiers",
            help="Name patients and exams by the header's identifiers instead of keyed hashes.",
            type=bool,
            default=False,
            scope="command",
        ),
        Option(
            name="identity-key",
            help="File with the secret key of the hashes; default: your own, made on first use.",
            type=Path,
        ),
        output_option(
            name="overlays",
            help="Write where the model looked over each image.",
            type=bool,
            default=False,
        ),
        output_option(
            name="dicom",
            help="Write DICOM objects that join the study of each input; needs highdicom and "
            "--keep-identifiers.",
            type=bool,
            default=False,
        ),
    ),
)
