"""Folders below class folders that may be patients, plants or scans, and the note about them.

Names alone rarely tell a patient (``TCGA-AB-1234``, ``anna``) from a kind of a class (``cyst``),
so nothing is grouped by them unasked.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from core.data.folder_levels import few_of
from core.data.folder_words import is_image_folder, is_mask_folder, is_version, split_word
from core.data.scan import natural_key, readable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["folders_below_classes"]


def folders_below_classes(files: Sequence[tuple[Path, int, str]], root: Path) -> list[str]:
    """What ``--group parent`` would do, where every image lies in a folder below its class folder.

    Args:
        files: of each usable image its path, the folders down to that of its class (0: none),
            and its label.
        root: of the manifest.
    """
    places = Counter(path.parent for path, _, _ in files)
    if not all(depth and _is_below(path, root, depth) for path, depth, _ in files):
        return []
    names = {readable(place.name) for place in places}
    if any(map(_is_no_group, names)) or sum(n > 1 for n in places.values()) < 2:
        return []
    if len(places) <= len({label for _, _, label in files}):
        return []
    shown = sorted((readable(p.relative_to(root).as_posix()) for p in places), key=natural_key)
    least, most = min(places.values()), max(places.values())
    each = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    words = (
        f"Every image lies in a folder below its class folder: {len(places):,} folders of {each} "
        f"images ({few_of(shown)}). If such a folder is one patient, plant or scan, pass --group "
        f"parent: it makes {len(places):,} groups of {len(files):,} images, and the images of a "
        "group stay in one split. Without it they may stand in training and test at once."
    )
    shared = sorted(
        name for name, n in Counter(readable(place.name) for place in places).items() if n > 1
    )
    if shared:
        words += (
            f" {len(shared):,} of the names lie in several places ({few_of(shared)}) and count as "
            "different groups; if each is one patient, add a table with the columns path and "
            "patient instead."
        )
    return [words]


def _is_below(path: Path, root: Path, depth: int) -> bool:
    """Whether a file lies more than so many folders below the root."""
    return path.is_relative_to(root) and len(path.relative_to(root).parts) - 1 > depth


def _is_no_group(name: str) -> bool:
    """Whether a folder is called after a split, or after what lies in it."""
    return bool(split_word(name)) or any(
        says(name) for says in (is_image_folder, is_mask_folder, is_version)
    )
