"""Segmentation sets: folders of pictures and of masks with the same file names, and no classes.

``images/`` beside ``masks/``, ``imagesTr/`` beside ``labelsTr/`` (Medical Segmentation Decathlon,
nnU-Net) and the like look like two classes. Where class folders lie above or below, masks are
left out and the classes count (``class_folders``).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from core.data.folder_levels import count_images
from core.data.folder_words import (
    SPLIT_NAMES,
    is_image_folder,
    is_mask_folder,
    is_version,
    mask_base,
    same_name,
    split_word,
)
from core.data.scan import readable
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

__all__ = ["refuse_mask_pairs"]

# The words of ``folder_words``, and that of nnU-Net.
_SPLITS = frozenset({*SPLIT_NAMES, "ts"})


def refuse_mask_pairs(
    folder: Path, parts: Mapping[Path, tuple[str, ...]], known: Collection[str]
) -> None:
    """Refuse a set with a mask for each picture and no folders that could be classes.

    Args:
        folder: that was named.
        parts: of each image, the folders above it.
        known: names of classes as compared, which are never taken for masks.

    Raises:
        ManifestError: it is one; the message says what would make it a classification task.
    """
    pictures: dict[tuple[str, ...], str] = {}
    masks: dict[tuple[str, ...], str] = {}
    rests = set()
    for path, part in parts.items():
        place = "/".join(part)
        mask = next((p for p in part if _is_masks(p) and same_name(p) not in known), None)
        # What is left of the folders could name a class.
        rest = tuple(p for p in part if p != mask and not _is_plain(p))
        key = (*rest, *(w.casefold() for p in part for w in _words(p) if w.casefold() in _SPLITS))
        stem = re.sub(r"(?i)\.nii$", "", path.stem).casefold()
        if mask is None:
            rests.add(rest)
            pictures[*key, stem] = place
            # nnU-Net numbers the channels of a picture behind its name.
            pictures.setdefault((*key, re.sub(r"_\d{4}$", "", stem)), place)
        else:
            masks[*key, mask_base(stem) or stem] = place
    shared = [key for key in masks if key in pictures]
    if not shared or 2 * len(shared) < len(masks) or len(rests) > 1:
        return
    places = f"{pictures[shared[0]] or '.'}/ and {masks[shared[0]]}/"
    msg = (
        f"{readable(str(folder))}: it holds pictures and masks of the same names ({places}: "
        f"{count_images(len(shared))} with a mask); a mask per picture is segmentation, not "
        "classification: it says where something is, not which class a picture is of. Add a table "
        "with the columns path and label, one class for each picture, or sort the pictures into "
        "one folder per class; if these folders are classes, pass --label-column folder."
    )
    raise ManifestError(msg)


def _is_masks(name: str) -> bool:
    """Whether a folder is called as folders of masks are, with or without a split."""
    return is_mask_folder(name) or is_mask_folder(_without_split(name))


def _is_plain(name: str) -> bool:
    """Whether a folder name says a split, or that there are images in it, and no class."""
    bare = _without_split(name)
    return bool(split_word(name)) or any(
        is_image_folder(word) or is_version(word) for word in (name, bare)
    )


def _without_split(name: str) -> str:
    """A folder name without a split: ``labelsTr`` and ``train_masks`` as labels and masks."""
    return " ".join(word for word in _words(name) if word.casefold() not in _SPLITS)


def _words(name: str) -> list[str]:
    """The words of a folder name: ``labelsTr`` is two."""
    return re.split(r"[\s_.-]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name))
