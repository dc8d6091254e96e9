"""Public sets of leaf photos as their authors publish them.

Which tables, columns and class folders they have stands in their cards; here, where the
label of each task stands, and which photos show one leaf.

Sources: the sets' own pages and repositories, named in ``data_cards``. The
repositories of PlantVillage, PlantDoc, iBean and BRACOL were read; the layouts of
the Kaggle sets are written from programs that read them.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from core.base.parsing import read_json
from core.data.layouts import Label, Layout
from core.data.scan import readable
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from core.app import Manifest, Source

__all__ = ["LAYOUTS"]

_STRESSES = ("miner", "rust", "phoma", "cercospora")
_CASSAVA_CLASSES = "label_num_to_disease_map.json"
_LEAF_MAP = "leaf-map.json"


def _cassava_classes(folder: Path) -> dict[str, str]:
    """Number -> class, from the file beside the table.

    Raises:
        ManifestError: the file is no such map.
    """
    file = folder / _CASSAVA_CLASSES
    try:
        return {str(k): str(v) for k, v in read_json(file).items()}
    except (OSError, ValueError, AttributeError) as error:
        msg = (
            f"{readable(str(file))}: is not a map from label to name ({error}). Restore the "
            "published file, or pass --card none."
        )
        raise ManifestError(msg) from error


def _with_leaves(found: Manifest, source: Source) -> Manifest:
    """PlantVillage with the leaf as its group, from its map of photos to leaves.

    Raises:
        ManifestError: the file is no such map.
    """
    if source.group:
        return found
    start, title = found.root, "PlantVillage"
    folders = [source.paths[0], start, start.parent, start.parent.parent]
    file = next((f / _LEAF_MAP for f in folders if (f / _LEAF_MAP).is_file()), None)
    if file is None:
        note = (
            f"{title}: {_LEAF_MAP} is not there, so nothing says which photos show the same leaf, "
            "and a split may put one leaf on both sides. Put it beside the class folders."
        )
        return replace(found, notes=(*found.notes, note))
    try:
        content = read_json(file)
        leaves = {str(name): [str(leaf) for leaf in known] for name, known in content.items()}
    except (ValueError, AttributeError, TypeError) as error:
        msg = (
            f"{readable(str(file))}: is laid out as {title}, but is not a map from photo to leaves "
            f"({error}). Groups would be wrong. Restore the published file, or pass --card none."
        )
        raise ManifestError(msg) from error
    table, notes = found.table, list(found.notes)
    pairs = zip(table["path"], table["label"], strict=True)
    groups = [_leaf(str(path), str(label), leaves) for path, label in pairs]
    is_ok = table["status"] == "ok"
    known = [g for g, ok in zip(groups, is_ok, strict=True) if g and ok]
    if n_alone := int(is_ok.sum()) - len(known):
        notes.append(
            f"{title}: {n_alone:,} of {int(is_ok.sum()):,} photos are not in {_LEAF_MAP}; each "
            "counts as a leaf of its own."
        )
    leaf = [g or i for g, i in zip(groups, table["image_id"], strict=True)]
    rule = (
        f"The group is the leaf, from {_LEAF_MAP}: {len(set(known)):,} leaves of {len(known):,} "
        "photos."
    )
    table = table.assign(group=groups, leaf=leaf)
    return replace(found, table=table, group_rule=rule, notes=tuple(notes))


def _leaf(path: str, label: str, leaves: Mapping[str, Sequence[str]]) -> str:
    """The leaf that a photo shows: ``<uuid>___RS_HL 5959.JPG`` is looked up as ``rs_hl 5959``."""
    name = path.rsplit("/", 1)[-1].replace("_final_masked", "").rsplit("___", 1)[-1]
    name = re.sub(r"(?i)\.(jpe?g|png)$", "", name.split("copy")[0]).strip().casefold()
    found = leaves.get(name, ())
    if len(found) == 1:
        return found[0]
    # One number was used for leaves of several crops.
    return next((leaf for leaf in found if leaf.startswith(f"{label}:::")), "")


LAYOUTS: tuple[Layout, ...] = (
    Layout(
        card="bracol",
        tables=("dataset.csv",),
        images="images",
        image="id",
        labels={
            "disease": Label(
                columns=("predominant_stress",),
                means={"0": "healthy", **{str(i): name for i, name in enumerate(_STRESSES, 1)}},
            ),
            "severity": Label(columns=("severity",)),
            "symptoms": Label(columns=_STRESSES),
        },
        group_word="leaf",
        is_one_each=True,
        note="A leaf without one predominant stress is not in the table.",
    ),
    Layout(
        card="bracol",
        tables=("labels.csv",),
        is_plain=True,
        labels={
            "disease": Label(columns=("label",)),
            "severity": Label(columns=("severity",)),
            "symptoms": Label(columns=_STRESSES),
        },
        group_word="leaf",
        is_one_each=True,
    ),
    Layout(
        card="cassava2020",
        marks=(_CASSAVA_CLASSES,),
        images="train_images",
        image="image_id",
        labels={"disease": Label(columns=("label",), means=_cassava_classes)},
    ),
    Layout(
        card="plant_pathology2020",
        images="images",
        image="image_id",
        labels={"disease": Label(columns=("healthy", "multiple_diseases", "rust", "scab"))},
    ),
    Layout(
        card="plant_pathology2021",
        marks=("train_images",),
        # Its table could be anybody's.
        names=r"[0-9a-f]{16}",
        images="train_images",
        image="image",
        labels=dict.fromkeys(("disease", "symptoms"), Label(columns=("labels",), separator=" ")),
    ),
    Layout(
        card="paddy_doctor",
        image="image_id",
        labels={"disease": Label(columns=("label",))},
        note="No field is named: photos of one day resemble each other; try --group variety.",
    ),
    Layout(card="plantvillage", bases=("raw/color", "color", "."), finish=_with_leaves),
    Layout(card="plantdoc", bases=("train+test",)),
    Layout(card="ibean", bases=("train+validation+test",)),
)
