"""A level of folders above images, and the words in which levels are told of."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.base.words import quantity
from core.data.folder_words import is_class_word, is_neutral

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path


__all__ = ["Level", "are_neutral", "count_images", "few_of", "other_folders"]

_SHOWN = 6


@dataclass
class Level:
    """How far down the rule has come.

    Attributes:
        depth: folders above the level that is looked at.
        is_grouped: the user says that the folder of each file is a group, and so no class.
        parts: of each image still in, the folders above it.
        above: what the levels passed were taken for, in words.
        splits: of each image, the split its folders name.
        aside: of images left out, the reason.
        tops: of each image, folders passed that name a time or place.
    """

    parts: dict[Path, tuple[str, ...]]
    depth: int = 0
    is_grouped: bool = False
    above: list[str] = field(default_factory=list)
    splits: dict[Path, str] = field(default_factory=dict)
    split_names: dict[str, str] = field(default_factory=dict)
    aside: dict[Path, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    tops: dict[Path, list[str]] = field(default_factory=dict)

    def names(self) -> Counter[str]:
        """Folders at this level, with the images in or below them."""
        return Counter(p[self.depth] for p in self.parts.values() if len(p) > self.depth)

    def below(self, name: str) -> set[str]:
        """Folders that lie in a folder of this level."""
        d = self.depth
        return {p[d + 1] for p in self.parts.values() if len(p) > d + 1 and p[d] == name}

    def put_aside(self, paths: Collection[Path], reason: str) -> None:
        """Leave images out."""
        for path in list(paths):
            self.aside[path] = reason
            del self.parts[path]

    def within(self, name: str) -> list[Path]:
        """Images in or below a folder of this level."""
        return [p for p, q in self.parts.items() if len(q) > self.depth and q[self.depth] == name]


def are_neutral(names: Collection[str]) -> bool:
    """Whether most names say a time or a place, and none a class."""
    n = sum(is_neutral(name) for name in names)
    return 2 * n > len(names) and not any(map(is_class_word, names))


def count_images(n: int, kind: str = "") -> str:
    """So many images."""
    return quantity(n, f"{kind}image")


def other_folders(n: int) -> str:
    """So many other folders."""
    return "another folder" if n == 1 else f"{n} other folders"


def few_of(names: Sequence[str]) -> str:
    """The first few names."""
    more = ", ..." if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
