"""From any labelled folder or table to a manifest, with what its names and headers say.

The class comes from folders or a table, the group from a column, a DICOM header or a
pattern of file names, whichever is there; each is told in words. Images of one group that
share their label, as crops of a slide do, are also decided about together.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from apps.images.arrays import ARRAY_SUFFIXES
from apps.images.dicom import read_header
from apps.images.not_classes import refuse_other_tasks
from apps.images.volumes import SLICES, VOLUME_SUFFIXES, expand, window_of
from apps.images.whole_volumes import READING, as_bodies, spacing_of
from core.base.tables import MANIFEST
from core.data.dicom import DICOM_SUFFIXES, is_dicom
from core.data.identity import Pseudonyms
from core.data.image_files import EXTENSIONS
from core.data.manifest import GroupRule, index_images
from core.data.manifest_tables import option
from core.data.same_numbers import apart_by_folder
from core.data.scan import locate
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from core.app import Manifest, Source

__all__ = ["KEPT", "SUBGROUPS", "index"]

# Columns of a table by which results are broken down where they are there.
SUBGROUPS = ("site", "camera", "device", "scanner", "view", "modality", "stain", "folder")
# All that a run keeps of a table; names and dates of birth stay where they are.
KEPT = frozenset(
    {
        *(column.name for column in MANIFEST),
        *SUBGROUPS,
        *("subject", "volume", "slice", "depth"),
        *READING,
    }
)
SUFFIXES = EXTENSIONS | DICOM_SUFFIXES | VOLUME_SUFFIXES

_RULES = (
    GroupRule(words="the slide", columns=("slide", "slide_id", "wsi")),
    GroupRule(words="the picture it was cut from", columns=("scene", "source_image", "parent_id")),
    GroupRule(words="the animal or plant", columns=("animal", "plant", "plant_id", "leaf")),
    GroupRule(
        words="what stands before the rest of the file name: patient, slide, case or the like with "
        "its number",
        pattern=r"(?i)^((?:patient|person|subject|subj|pat|slide|case|specimen|sample|animal|mouse|"
        r"plant|leaf|exam|study|scan|eye|field)[-_ ]?\d+)[-_ ]",
    ),
)
# Files of one series and folder from which they are one volume.
_LEAST_FILES = 4
# Labels per image above which a column holds measurements or names, and no classes.
_MOST_LABELS = 1 / 3
# Share of groups of one label from which a group is decided about as a whole.
_OF_ONE_LABEL = 0.95


def index(source: Source) -> Manifest:
    """The manifest of any images.

    Raises:
        ManifestError: it is not a classification task; the message says what would make it one.
    """
    asked = source
    if source.labelled:
        is_settled = source.label or option(source, "label-column")
        for path in source.paths if not is_settled else ():
            refuse_other_tasks(path)
    elif str(source.trained.get("group") or "").startswith(("name:", "parent")):
        asked = replace(source, group=str(source.trained["group"]))
    found = index_images(asked, group=_RULES, extensions=SUFFIXES)
    found = _by_header(found, asked)
    window_of(str(source.options.get("window") or ""))
    spacing_of(str(source.options.get("spacing") or ""))
    if source.options.get("volumes") == "whole":
        found = as_bodies(found, source.options)
    else:
        found = expand(found, slices=int(source.options.get("slices") or SLICES))
        if source.options.get("window") and "slice" in found.table:
            found = replace(found, table=found.table.assign(window=str(source.options["window"])))
    found = replace(found, notes=(*found.notes, *_of_arrays(found.table)))
    if source.labelled:
        _require_classes(found)
        found = _hints(found, source)
    found = _with_subject(found, source)
    table = found.table[[name for name in found.table.columns if name in KEPT]]
    return replace(found, table=table)


def _by_header(found: Manifest, source: Source) -> Manifest:
    """Group and laterality from DICOM headers, where nothing else says the group."""
    table, files = found.table, {}
    for path in table.loc[table["status"] == "ok", "path"]:
        file = locate(found.root, str(path))
        if is_dicom(file):
            files[path] = read_header(file)
    if not files:
        return found
    sided = "some are DICOM, in which left and right are told apart"
    found = replace(found, facts={**found.facts, "sided": sided})
    table = _with_series(table, {path: header.series for path, header in files.items()})
    found = replace(found, table=table, notes=(*found.notes, *_of_series(table, source)))
    if found.group_rule or source.group == "image_id":
        return found
    names = Pseudonyms.load()
    owner = {path: names.name("patient", header.patient) for path, header in files.items()}
    group = [owner.get(path) or "" for path in table["path"]]
    if len(set(group) - {""}) < 2:
        return found
    rule = (
        f"The group is the patient of the DICOM header, under a keyed hash: "
        f"{len(set(group) - {''}):,} groups of {len(files):,} files."
    )
    notes = (*found.notes, *([names.note] if names.note else []))
    return replace(
        found,
        table=table.assign(group=group),
        group_rule=rule,
        group_word="patient",
        notes=notes,
    )


def _with_series(table: pd.DataFrame, series: Mapping[str, str]) -> pd.DataFrame:
    """The column ``volume`` where several DICOM files of a folder are slices of one series."""
    places = [
        f"{path.rpartition('/')[0]}\0{series[path]}" if series.get(path) else ""
        for path in table["path"].astype(str)
    ]
    counts = Counter(places)
    numbers: dict[str, int] = {}
    volume = []
    for image_id, place in zip(table["image_id"], places, strict=True):
        if not place or counts[place] < _LEAST_FILES:
            volume.append(str(image_id))
            continue
        # The UID is an identifier: series of a folder are numbered as they are met.
        number = numbers.setdefault(place, len(numbers) + 1)
        volume.append(f"{place.partition(chr(0))[0]}/series {number}")
    return table.assign(volume=volume) if numbers else table


def _of_series(table: pd.DataFrame, source: Source) -> list[str]:
    """A note on files that are slices of series, as those of CT and MR are."""
    if "volume" not in table:
        return []
    sizes = table.loc[table["volume"] != table["image_id"], "volume"].value_counts()
    least, most = int(sizes.min()), int(sizes.max())
    each = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    is_whole = source.options.get("volumes") == "whole"
    way = "" if is_whole else " Pass --volumes whole to let a 3-D network see each as one body."
    return [
        f"{int(sizes.sum()):,} DICOM files are the slices of {len(sizes):,} series ({each} files "
        f"each): a series is a volume and is decided about as a whole.{way}"
    ]


def _of_arrays(table: pd.DataFrame) -> list[str]:
    """A note on arrays that are pictures and no volumes."""
    is_one = (table["status"] == "ok") & table["path"].str.lower().str.endswith(ARRAY_SUFFIXES)
    for column in ("slice", "depth"):
        is_one &= table[column].fillna("") == "" if column in table else True
    n = int(is_one.sum())
    what = "1 array is a picture" if n == 1 else f"{n:,} arrays are pictures"
    return [f"{what} by the shape, (row, column) or (row, column, colour)."] if n else []


def _require_classes(found: Manifest) -> None:
    """Refuse labels that are measurements, or a name for each image.

    Raises:
        ManifestError: there are too many of them for the images.
    """
    ok = found.table[found.table["status"] == "ok"]
    labels = ok["label"].astype(str)
    n = labels.nunique()
    if n > max(20, _MOST_LABELS * len(labels)):
        example = ", ".join(sorted(set(labels))[:3])
        msg = (
            f"{found.root}: its {len(labels):,} images have {n:,} different labels (such as "
            f"{example}), so they are measurements or names and no classes. Put the numbers into "
            "ranges, such as low, middle and high, in a column of their own, or name the column "
            "of the class with --label-column."
        )
        raise ManifestError(msg)


def _hints(found: Manifest, source: Source) -> Manifest:
    """Notes on what kind of question the labels look like, where another kind was asked."""
    ok = found.table[found.table["status"] == "ok"]
    labels = sorted(set(ok["label"].astype(str)) - {""})
    notes = []
    if source.task.kind == "multiclass":
        if any("|" in label for label in labels):
            notes.append(
                "Some labels hold several names joined by |. Pass --task multilabel if an image "
                "may have several of them; now each combination is a class."
            )
        elif len(labels) > 2 and all(label.isdigit() for label in labels):
            notes.append(
                f"The classes are the numbers {labels[0]} to {labels[-1]}. Pass --task ordinal if "
                "they are grades in rising order."
            )
        elif len(labels) == 2:
            notes.append(
                f"There are two classes. Pass --task binary for sensitivity, specificity and "
                f"thresholds of {source.task.with_classes(labels).classes[1]!r}."
            )
    return replace(found, notes=(*found.notes, *notes))


def _with_subject(found: Manifest, source: Source) -> Manifest:
    """The column ``subject`` where groups of several images share their label."""
    table = found.table
    group = table["group"].fillna("").astype(str)
    if "volume" in table and (group == table["volume"]).all():
        return found
    if source.labelled:
        is_one = _is_decided_together(table.assign(group=group))
        facts = {**found.facts, "group": source.group or "", "together": is_one}
        found = replace(found, facts=facts)
    else:
        is_one = bool(source.trained.get("together")) and bool((group != "").any())
    if not is_one:
        return found
    if not source.labelled and "file name" in found.group_rule:
        # Told by the name alone (see ``GroupRule.words``): two may have one number.
        subject, apart = apart_by_folder(
            group.tolist(),
            table["path"].astype(str).tolist(),
            what="subject",
            same=[name.casefold() for name in source.task.classes],
        )
        group = table.assign(group=subject)["group"]
        found = replace(found, notes=(*found.notes, *([apart] if apart else [])))
    return replace(found, table=table.assign(subject=group.where(group != "", table["image_id"])))


def _is_decided_together(table: pd.DataFrame) -> bool:
    """Whether the images of a group are about one thing: nearly every group has one label."""
    known = table[(table["status"] == "ok") & (table["group"] != "")]
    sizes = known.groupby("group")["label"].agg(["size", "nunique"])
    several = sizes[sizes["size"] > 1]
    return len(several) > 1 and float((several["nunique"] == 1).mean()) >= _OF_ONE_LABEL
