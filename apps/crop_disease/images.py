"""From a folder or table of leaf photos to the pixels a network sees.

Which files there are, which of them show the same leaf, how a photo is read,
brought to size and judged. A photo is never cropped: a disease may show at the
margin only, and no leaf finder is right on every background. This module knows
neither models nor scores.

Pixel coordinates are (row, col), zero-based, at pixel centres.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from apps.crop_disease.field.window import is_tile
from apps.crop_disease.layout_reader import by_layout
from core.data.framing import FitInside, PadAround
from core.data.images import read_image
from core.data.manifest import GroupRule, index_images
from core.data.manifest_tables import column_named
from core.data.steps import Steps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from core.app import Manifest, Source
    from core.data.augmentation import Changes
from core.base.tables import MANIFEST

__all__ = [
    "LEAST_SHARPNESS",
    "LEAST_SHORT_SIDE_PX",
    "LEAST_WHITE",
    "SAME_LEAF",
    "JudgePhoto",
    "augment",
    "index",
    "index_photos",
    "prepare",
    "read",
]

# A file name that says which leaf it shows and which photo of it this is: leaf12_a.jpg,
# plot3-leaf-12b.png, Leaf 12 (2).jpeg. The photo must be named as well, because a lone
# number, as in leaf_0012.jpg or 1016.jpg, is as likely the camera's counter.
SAME_LEAF = (
    r"(?i)(?:^|[\W_])(leaf[-_ ]?\d{1,6})"
    r"(?:[-_ ]?[a-z]|[-_ ]?\(\d{1,2}\)|[-_ ](?:photo|view|shot)?[-_ ]?\d{1,2})\.[a-z]+$"
)
# What the group is called when it is the leaf; then there is a decision per leaf.
_LEAF = "the leaf"
# Columns that say more than which leaf it is: photos that share them resemble each other, too.
_WIDER = ("plant", "plant_id", "plot", "field", "farm", "site")


# A photo is judged where its longer side is at most this long.
JUDGED_AT_PX = 256
# Variance of the Laplacian of the grey picture there (8-bit steps). Of 1,433 coffee-leaf
# photos the least sharp has 110; blurred until a vein of 1 % of the leaf's
# length is gone (Gaussian, sigma 2 px there) they have 5 to 11.
LEAST_SHARPNESS = 6.0
# 95th percentile of grey (8-bit steps): below it nothing in the photo is lit. The
# darkest of the 1,433 photos has 144.
LEAST_WHITE = 40.0
# Shorter side of the photo as read: below it a lesion of 5 % of the leaf is about 10 px wide.
LEAST_SHORT_SIDE_PX = 64


# Columns of a user's table that a photo keeps: what the app reads, breaks results down by or
# shows. All others stay where they are.
KEPT = frozenset(
    {
        *(column.name for column in MANIFEST),
        *("leaf", "severity", "symptoms"),
        *("crop", "variety", "site", "camera", "field", "flight"),
    }
)


def index(source: Source) -> Manifest:
    """The manifest of leaf photos: a public set as its data card says, else as it lies there."""
    found = by_layout(source, index_photos) or index_photos(source)
    # A user's table may hold names and dates of birth; a run must not carry them on.
    return replace(found, table=found.table[[c for c in found.table.columns if c in KEPT]])


def index_photos(source: Source) -> Manifest:
    """The manifest of leaf photos: class folders, split folders, a table, or plain files.

    The group is the leaf (column ``leaf`` or ``leaf_id``), else the plant, the
    field, the farm or the site (a column of that name), else the leaf that file
    names such as ``leaf12_a.jpg`` and ``leaf12_b.jpg`` share. Where the leaf is
    known the manifest has a column ``leaf``; a photo without one counts as
    a leaf of its own.
    """
    rules = (
        GroupRule(words=_LEAF, columns=("leaf", "leaf_id")),
        GroupRule(words="the plant", columns=("plant", "plant_id")),
        GroupRule(words="the field", columns=("field", "plot")),
        GroupRule(words="the farm or site", columns=("farm", "site")),
        GroupRule(
            words=f"{_LEAF}: photos whose file names share a leaf number, "
            "as leaf12_a.jpg and leaf12_b.jpg do, show the same leaf",
            pattern=SAME_LEAF,
        ),
    )
    # A grade of severity is no disease, whatever else a table lacks.
    manifest = index_images(source, group=rules, other_labels=("severity", "symptoms"))
    table, notes = manifest.table, list(manifest.notes)
    column = column_named(table.columns, "leaf", "leaf_id")
    if column:
        leaf = table[column]
    elif manifest.group_rule.startswith(f"The group is {_LEAF}"):
        leaf = table["group"]
    else:
        return manifest
    known = leaf.notna() & (leaf.astype(str) != "")
    wider = [name for name in _WIDER if column_named(table.columns, name)]
    if source.labelled and source.group is None and wider:
        notes.append(
            f"The table also says the {wider[0]} of each photo. Photos of one {wider[0]} resemble "
            f"each other as well; pass --group {wider[0]} to keep them in one split and learn how "
            "the model does elsewhere."
        )
    table = table.assign(leaf=leaf.where(known, table["image_id"]).astype(str))
    return replace(manifest, table=table, notes=tuple(notes))


def read(row: Mapping[str, Any]) -> NDArray[Any]:
    """The photo of a manifest row, RGB (H, W, 3), turned as its EXIF tag says."""
    return read_image(Path(row["path"]), at_least=row.get("at_least"))


def prepare(size_px: tuple[int, int]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Judge, fit and pad a photo: the same for training, evaluation and prediction.

    Args:
        size_px: (H, W) of the result.

    Returns:
        A chain of steps from ``{"image": (H', W', C), ...}`` to the same with
        ``image`` (H, W, C) in the dtype it came in; ``affine`` (3, 3), which
        maps prepared (row, col, 1) to source (row, col, 1); and ``quality``,
        empty or why the photo should not be judged. A photo that already has
        this size passes unchanged, bit for bit.
    """
    return Steps((JudgePhoto(), FitInside(size_px), PadAround(size_px)))


def augment(size_px: tuple[int, int]) -> Changes:
    """The random changes of training, an albumentations pipeline to exactly ``size_px``."""
    # Without it albumentations asks a server for its newest version when it is imported.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    from apps.crop_disease.augmentation import leaf_changes  # noqa: PLC0415  (heavy)

    return leaf_changes(size_px)


@dataclass(frozen=True)
class JudgePhoto:
    """Adds ``quality``: why a photo should not be judged, or an empty string.

    Conservative: a photo that a person could still read must pass.
    """

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Judge the photo as read, before it is brought to size."""
        if is_tile(data):
            # Its size was chosen, and bare soil is neither dark nor blurred.
            return {**data, "quality": ""}
        return {**data, "quality": "; ".join(_faults(data["image"]))}


def _faults(image: NDArray[Any]) -> list[str]:
    """What is wrong with a photo, in words."""
    faults = []
    short = min(image.shape[:2])
    if short < LEAST_SHORT_SIDE_PX:
        faults.append(f"too small ({short} px on its short side, {LEAST_SHORT_SIDE_PX} needed)")
    grey: NDArray[Any] = _grey(image)
    scale = JUDGED_AT_PX / max(grey.shape)
    if scale < 1:
        size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    if np.percentile(grey, 95) < LEAST_WHITE:
        # Whether it is sharp cannot be seen in the dark.
        faults.append("too dark")
    elif cv2.Laplacian(grey, cv2.CV_32F).var() < LEAST_SHARPNESS:
        faults.append("blurred")
    return faults


def _grey(image: NDArray[Any]) -> NDArray[np.float32]:
    """Brightness (H, W) in 8-bit steps."""
    full = {"u": 257.0 if image.dtype == np.uint16 else 1.0, "f": 1 / 255}[image.dtype.kind]
    pixels = image.astype(np.float32) / np.float32(full)
    if image.shape[2] == 3:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))
    return np.asarray(pixels.mean(axis=2), np.float32)
