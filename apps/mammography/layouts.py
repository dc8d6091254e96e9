"""Public mammography data sets as their authors publish them.

Which tables and columns they have stands in their cards; here, how a row finds its files,
whose they are, and what a label of each task is. What no single cell says is put
together in ``special_layouts``.

Sources: the data sets' own pages, named in ``data_cards``. mini-MIAS and the
headers of CBIS-DDSM were read; EMBED is written from its README; the others are
written from descriptions and programs that read them.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from apps.mammography.special_layouts import (
    SIDES,
    csaw_rows,
    embed_breast,
    embed_breasts,
    embed_cancer,
    embed_rows,
    inbreast_patient,
    mias_films,
    of_its_side,
    patients_whole,
)
from core.app import Option
from core.data.layouts import Join, Label, Layout, Lines, Row
from core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from core.app import Source

__all__ = ["BIRADS_CANCER", "LAYOUTS", "birads_choice", "category"]

BIRADS_CANCER = Option(
    name="birads-cancer",
    help="BI-RADS categories that count as cancer in a set without pathology, by commas; those "
    "that counted by its data card and are not named are left out.",
    verbs=("check", "train", "evaluate"),
)
DENSITY = {"1": "A", "2": "B", "3": "C", "4": "D", **{c: c for c in "ABCD"}}
_CBIS = {"BENIGN_WITHOUT_CALLBACK": "benign", "BENIGN": "benign", "MALIGNANT": "malignant"}
# Of sets without pathology, how a cell writes a category, and which count unless a user chooses.
_BIRADS = {
    # 3 and 4 are neither: nobody looked again.
    "vindr_mammo": ("BI-RADS {}", {"BI-RADS 1": "no", "BI-RADS 2": "no", "BI-RADS 5": "yes"}),
    "inbreast": (
        "{}",
        {**dict.fromkeys("123", "no"), **dict.fromkeys(("4", "4a", "4b", "4c", "5", "6"), "yes")},
    ),
}


def category(assessment: str) -> str:
    """The BI-RADS category of a cell.

    >>> category("BI-RADS 5"), category("4a"), category(" 0 ")
    ('5', '4', '0')
    """
    found = re.search(r"[0-6]", assessment)
    return found[0] if found else ""


def birads_choice(source: Source, layout: Layout) -> dict[str, str]:
    """What ``--birads-cancer`` says of the cells of a set without pathology.

    Raises:
        ConfigError: it is no list of categories.
    """
    wanted = str(source.options.get("birads-cancer") or "")
    if not wanted or source.task.name != "cancer":
        return {}
    named = {part.strip() for part in wanted.split(",")}
    if not named <= set("0123456"):
        msg = f"--birads-cancer {wanted}: is not a list of BI-RADS categories, such as 4,5."
        raise ConfigError(msg)
    form, means = _BIRADS.get(layout.card, ("", {}))
    cells = [*means, *(form.format(c) for c in sorted(named) if means)]
    is_cancer = {cell: category(cell) in named for cell in cells}
    return {
        cell.casefold(): "yes" if is_yes else ""
        for cell, is_yes in is_cancer.items()
        if is_yes or means.get(cell) == "yes"
    }


def _first_folder(row: Row) -> str:
    """``Mass-Training_P_00001_LEFT_CC``: the first folder of the path in CBIS-DDSM's tables."""
    return row["image_file_path"].split("/")[0]


def _series(row: Row) -> str:
    """The series in CBIS-DDSM's tables: a copy as JPEG has one folder for each."""
    parts = row["image_file_path"].split("/")
    return parts[2] if len(parts) > 2 else ""


def _side(cell: str) -> str:
    """``L``, ``R`` or empty."""
    return SIDES.get(cell.upper(), "")


def _density(cell: str) -> str:
    """The ACR density, ``A`` to ``D``, or empty."""
    return DENSITY.get(cell.upper().removeprefix("DENSITY "), "")


def _decade(age: str) -> str:
    """Decade of an age in years; ``90+`` above 89."""
    try:
        years = int(float(age))
    except ValueError:
        return ""
    if not 0 < years < 130:
        return ""
    return "90+" if years >= 90 else f"{years // 10 * 10}-{years // 10 * 10 + 9}"


def _facts(**columns: str) -> Mapping[str, tuple[str, Callable[[str], str]]]:
    """Facts of a breast by the columns that say them."""
    how = {"laterality": _side, "view": str.upper, "density": _density, "age_decade": _decade}
    return {fact: (column, how.get(fact, str)) for fact, column in columns.items()}


def _benign_or_not(column: str, means: Mapping[str, str]) -> dict[str, Label]:
    """Labels of the tasks cancer and pathology from a column of pathology."""
    cancer = {cell: "yes" if word == "malignant" else "no" for cell, word in means.items()}
    return {
        "cancer": Label(columns=(column,), means=cancer, is_closed=True),
        "pathology": Label(columns=(column,), means=means, is_closed=True),
    }


def _label(column: str, means: Mapping[str, str]) -> Label:
    """A label whose other cells count as none."""
    return Label(columns=(column,), means=means, is_closed=True)


# A row of these is of a lesion, a film or a breast; they are so large that people download parts.
_set = partial(Layout, is_many=True, is_part_fine=True)

LAYOUTS: tuple[Layout, ...] = (
    Layout(
        card="mini_mias",
        lines=Lines(
            pattern=r"(?P<film>mdb\d{3})\s+(?P<tissue>[FGD])\s+(?P<kind>[A-Z]{4})"
            r"(?:\s+(?P<severity>[BM]))?(?:\s+(?P<x>\d+)\s+(?P<y>\d+)\s+(?P<radius>\d+))?.*",
            shown="mdbNNN F|G|D CALC|CIRC|SPIC|MISC|ARCH|ASYM|NORM [B|M [x y radius]]",
            begins=r"mdb\d",
        ),
        image="film",
        rows=mias_films,
        group="woman",
        labels={
            task: Label(columns=(task,)) for task in ("cancer", "pathology", "tissue", "finding")
        },
        facts=_facts(**{n: n for n in ("laterality", "view", "tissue", "abnormality", "lesions")}),
    ),
    _set(
        card="cbis_ddsm",
        # Folders of cut-outs end in _1, _2 ... and do not match.
        file=r"((?:Mass|Calc)-(?:Training|Test)_P_\d+_(?:LEFT|RIGHT)_(?:CC|MLO))(?:/|\.|$)",
        image=_first_folder,
        copies=((r"(1\.3\.6\.1\.4\.1\.[\d.]+)/[^/]+\.(?:jpe?g|png)$", _series),),
        group="patient_id",
        split=lambda row: "train" if "-Training_" in row["image_file_path"] else "test",
        labels={**_benign_or_not("pathology", _CBIS), "density": _label("breast_density", DENSITY)},
        facts=_facts(
            laterality="left or right breast", view="image view", density="breast_density"
        ),
        outcomes=("assessment", "subtlety"),
        finish=patients_whole,
    ),
    _set(
        card="vindr_mammo",
        tables=("breast-level_annotations.csv",),
        file=r"([0-9a-f]{16,})\.(?:dicom|dcm|png|tiff?)$",
        image="image_id",
        group="study_id",
        split="split",
        labels={
            "cancer": _label("breast_birads", _BIRADS["vindr_mammo"][1]),
            "density": _label("breast_density", {f"DENSITY {c}": c for c in "ABCD"}),
        },
        facts=_facts(laterality="laterality", view="view_position", density="breast_density"),
        note=(
            "No pathology is published: BI-RADS 5 counts as cancer, 1 and 2 as none, "
            "3 and 4 are left out."
        ),
    ),
    _set(
        card="rsna2023",
        file=r"(?:^|/)(?:\d+_)?(\d+)\.(?:dcm|png|tiff?)$",
        image="image_id",
        group="patient_id",
        labels={
            "cancer": _label("cancer", {"0": "no", "1": "yes"}),
            "density": _label("density", DENSITY),
        },
        facts=_facts(
            laterality="laterality",
            view="view",
            density="density",
            age_decade="age",
            site="site_id",
        ),
        outcomes=("biopsy", "invasive", "BIRADS", "difficult_negative_case"),
        note="The label is of the breast: every view of a breast with cancer is positive.",
    ),
    _set(
        card="inbreast",
        file=r"(?:^|/)(\d{6,})(?:_|\.)",
        image="File Name",
        group=inbreast_patient,
        labels={
            "cancer": _label("Bi-Rads", _BIRADS["inbreast"][1]),
            "density": _label("ACR", DENSITY),
        },
        facts={
            **_facts(laterality="Laterality", density="ACR"),
            "view": ("View", lambda cell: {"ML": "MLO"}.get(cell.upper(), cell.upper())),
        },
        spreadsheets=("INbreast*.xls*",),
        note="Cancer is BI-RADS 4 or more by convention; biopsies are not in the table.",
    ),
    _set(
        card="cmmd",
        file=r"(D[12]-\d{4})/",
        image="ID1",
        pick=of_its_side,
        group="ID1",
        labels=_benign_or_not("classification", {"Benign": "benign", "Malignant": "malignant"}),
        facts=_facts(laterality="LeftRight", age_decade="Age"),
        outcomes=("subtype",),
        spreadsheets=("CMMD_clinicaldata*.xls*",),
    ),
    _set(
        card="embed",
        tables=("tables/EMBED_OpenData_metadata*.csv",),
        join=Join(
            table="tables/EMBED_OpenData_clinical*.csv", key=embed_breast, keys=embed_breasts
        ),
        image="anon_dicom_path",
        rows=embed_rows,
        group="empi_anon",
        labels={
            # In rising order: of several findings of a breast the worst counts.
            "cancer": Label(
                means={
                    **dict.fromkeys(("birads N", "birads B"), "no"),
                    **dict.fromkeys((f"path {i}" for i in (2, 3, 4, 5)), "no"),
                    **dict.fromkeys(("path 0", "path 1"), "yes"),
                },
                read=embed_cancer,
            ),
            "density": _label("tissueden", DENSITY),
        },
        facts=_facts(
            laterality="ImageLateralityFinal",
            view="ViewPosition",
            exam="acc_anon",
            density="tissueden",
        ),
        outcomes=("asses", "path_severity", "bside"),
        note=(
            "Cancer is invasive or non-invasive cancer in the pathology of the breast; none is "
            "benign pathology, or BI-RADS 1 or 2 without one; all others are left out."
        ),
    ),
    _set(
        card="csaw_cc",
        image="anon_filename",
        rows=csaw_rows,
        group="anon_patientid",
        labels={
            "cancer": _label("finding", {"control": "no", "timing 1": "yes", "timing 2": "yes"})
        },
        facts=_facts(laterality="imagelaterality", view="viewposition", exam="exam"),
        outcomes=("x_case", "x_type", "x_cancer_laterality", "x_lymphnode_met", "rad_*"),
        note=(
            "Cancer is the side of a case's cancer where the exam found it or came before an "
            "interval cancer; none are women who are no case; all others are left out."
        ),
    ),
)
