"""Folders that are labelled, but not with classes of whole images: boxes, outlines, masks.

Detection and segmentation sets look like image folders; trained on as they are they would
give a model that answers another question. Each is recognised by the files that hold its
labels, and refused with how to make a classification task of it.

Sources: the formats of YOLO (one text file per image, five numbers a line), Pascal VOC (XML
with bndbox), COCO (JSON with images and annotations).
"""

from __future__ import annotations

import os
import re
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from core.base.regular_files import open_regular, read_regular
from core.data.image_files import EXTENSIONS
from core.data.scan import is_system, readable
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["refuse_other_tasks"]

_YOLO_LINE = re.compile(r"\d+(\s+-?\d*\.?\d+(e-?\d+)?){4,}\s*")
# Files looked into, and characters of each.
_LOOKED_AT, _HEAD = 40, 65_536


def refuse_other_tasks(folder: Path) -> None:
    """Refuse a folder whose labels are boxes or outlines.

    Raises:
        ManifestError: with the file that says so and what to do.
    """
    if not folder.is_dir():
        return
    found = _box_labels(folder)
    if found is None:
        return
    file, what = found
    msg = (
        f"{readable(str(folder))}: this is a set for detection or segmentation: "
        f"{readable(file.relative_to(folder).as_posix())} holds {what}, not the class of a whole "
        "image. Cut the boxes out and put the pieces into one folder per class, or pass a table "
        "with the columns path and label, one class for each image. If its folders are classes "
        "all the same, pass --label-column folder."
    )
    raise ManifestError(msg)


def _box_labels(folder: Path) -> tuple[Path, str] | None:
    """The first file that holds boxes or outlines, and what it holds."""
    texts = 0
    for file in islice(_label_files(folder), _LOOKED_AT):
        try:
            with open_regular(file) as stream:
                head = stream.read(_HEAD).decode("utf-8", "replace")
        except OSError:
            continue
        suffix = file.suffix.lower()
        if suffix == ".xml" and "<bndbox>" in head and "<object>" in head:
            return file, "boxes in Pascal VOC's format"
        if suffix == ".json" and '"annotations"' in head and '"images"' in head:
            whole = head if len(head) < _HEAD else read_regular(file).decode("utf-8", "replace")
            if '"bbox"' in whole or '"segmentation"' in whole:
                return file, "boxes or outlines in COCO's format"
        if suffix == ".txt":
            lines = [line for line in head.splitlines()[:50] if line.strip()]
            if lines and all(_YOLO_LINE.fullmatch(line.strip()) for line in lines):
                texts += 1
                # One such file may be anything; several beside images are not.
                if texts > 1 or file.parent.name.casefold() == "labels":
                    return file, "boxes or outlines in YOLO's format"
    return None


def _label_files(folder: Path) -> Iterator[Path]:
    """Text files that belong to an image by name, and JSON or XML files."""
    for place, folders, names in os.walk(folder):
        here = Path(place)
        folders[:] = sorted(name for name in folders if not is_system(name))
        stems = {name.rsplit(".", 1)[0] for name in names if _is_image(name)}
        in_labels = "labels" in {part.casefold() for part in here.relative_to(folder).parts}
        for name in sorted(names):
            stem, _, suffix = name.rpartition(".")
            suffix = suffix.lower()
            if suffix in {"xml", "json"} or (suffix == "txt" and (stem in stems or in_labels)):
                yield here / name


def _is_image(name: str) -> bool:
    """Whether a file is called like an image."""
    return "." in name and f".{name.rsplit('.', 1)[1].lower()}" in EXTENSIONS
