"""Diabetic retinopathy: from fundus photographs to grades, and from grades to referrals.

This module only states the app. Where the retina is, is found in ``disc``; whether it
can be graded is judged in ``quality``; ``images`` and ``dicom`` read and prepare,
``augmentation`` varies; ``index`` and ``layouts`` make the manifest; ``metrics`` says
what is counted, ``screening`` who is referred, ``report`` and ``exports`` what is told
and written; ``phantom`` paints the synthetic set.
"""

from __future__ import annotations

from pathlib import Path

from apps.retinopathy.images import COLOURS, PREPARED_COLUMNS, augment, prepare, read
from apps.retinopathy.index import COLUMNS, index
from apps.retinopathy.letters import write_letters
from apps.retinopathy.metrics import GRADES, METRICS
from apps.retinopathy.overlays import write_overlays
from apps.retinopathy.phantom import write_phantom
from apps.retinopathy.report import cameras, referral_words, screening, ungradable, worst_errors
from apps.retinopathy.screening import UNITS
from apps.retinopathy.worklist import write_worklist
from core.app import App, Domain, Export, Option, Section, Task, output_option

__all__ = ["APP"]

APP = App(
    name="retinopathy",
    title="Diabetic retinopathy",
    intended_use=(
        "Research on screening for diabetic retinopathy: grades colour fundus photographs of the "
        "macula on the International Clinical Diabetic Retinopathy scale (referable: 2, moderate, "
        "or worse) and orders patients for review by a qualified grader. It does not look for "
        "macular oedema or any other disease, is not a medical device, was tested only on "
        "photographs like those of its report, and no patient may be referred, or not referred, "
        "because of it alone."
    ),
    tasks=(
        Task(
            name="grade",
            kind="ordinal",
            classes=GRADES,
            positive=("2", "3", "4"),
            positive_title="referable",
            titles={
                "0": "0 none",
                "1": "1 mild",
                "2": "2 moderate",
                "3": "3 severe",
                "4": "4 proliferative",
            },
        ),
    ),
    index=index,
    group="patient",
    read=read,
    prepare=prepare,
    augment=augment,
    units=UNITS,
    metrics=METRICS,
    # A programme that must not miss anybody wants the one, a clinic that cannot see
    # everybody the other; `resight threshold` puts one in use, or chooses another.
    targets=("sensitivity=0.9", "specificity=0.95"),
    subgroups=("camera", "site", "eye", "resolution", "disc_rule"),
    sections=(
        Section(title="Referral of patients", build=screening),
        Section(title="Ungradable photographs", build=ungradable, part="data"),
        Section(title="Kinds of photographs", build=cameras, part="subgroups"),
        Section(title="Grades far off", build=worst_errors, part="errors"),
    ),
    first_words=referral_words,
    exports=(
        Export(
            name="worklist",
            help="Patients by urgency, and the eyes and photographs behind them.",
            write=write_worklist,
        ),
        Export(
            name="overlays",
            help="PNG files of referred eyes with what moved the score.",
            write=write_overlays,
            option="overlays",
        ),
        Export(
            name="letters",
            help="One plain-language letter per patient as HTML.",
            write=write_letters,
            option="letters",
        ),
    ),
    phantom=write_phantom,
    # Chosen on 878 photographs of EyePACS 2015 by out-of-fold predictions of frozen features:
    # kappa .47 at 256 and .40 at 384 px; .37 with the camera's colours, .47 with normalised
    # ones; .48 with maxima beside the averages, for small lesions. A small batch gives more
    # steps for the time. On an accelerator more pixels may pay: try --size 512.
    config={"size_px": (256, 256), "pool": "last_two_max", "batch": 16, "decide": "validation"},
    image_words={"": "photograph"},
    # The same colours for all, as the option says.
    characteristics={"disc_rule": "field outline", "colours": ""},
    domain=Domain(
        words=("retinopathy", "fundus", "retina", "proliferative", "npdr", "eyepacs", "aptos"),
        modalities=("OP",),
    ),
    prepared_columns=PREPARED_COLUMNS,
    output_columns=tuple(COLUMNS),
    options=(
        Option(
            name="colours",
            help="normalised (less the local average), camera (as they are), equalised (lightness "
            "with limited contrast), or normalised+equalised.",
            verbs=("train", "evaluate", "predict"),
            default="normalised",
            choices=COLOURS,
            scope="pixels",
        ),
        output_option(
            name="overlays",
            help="Write PNG overlays for eyes that are referred.",
            type=bool,
            default=False,
        ),
        output_option(
            name="letters",
            help="Write a letter in plain language for each patient.",
            type=bool,
            default=False,
        ),
        output_option(
            name="letter-template",
            help="A jinja2 template of your own for the letters (HTML).",
            type=Path,
        ),
        output_option(
            name="language",
            help="Language of the letters (en, de), or a YAML file of words.",
            default="en",
        ),
    ),
)
