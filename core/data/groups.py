"""Which images belong together: the group that may never straddle a split.

A group is a patient, a leaf, a field. It is read from a table's column, a file
name or a folder, by the app's rule or the user's wish, and told in words.
Without one, nothing can be said about leakage, and nothing is invented.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.base.tables import MANIFEST
from core.data.manifest_tables import GROUP_NAMES, Listing, column_named, wanted_column
from core.data.scan import readable
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from core.app import Source

__all__ = ["RESERVED", "GroupRule", "Input", "set_groups"]

# Columns with a meaning of their own; a table's column of that name becomes <name>_given.
RESERVED = frozenset(column.name for column in MANIFEST)


@dataclass(frozen=True, kw_only=True)
class GroupRule:
    """Where an app finds the group: give one of ``columns``, ``pattern`` or ``parent``.

    Attributes:
        words: what the group is and where it comes from, to follow "The group
            is": ``the patient: the number before _left or _right``.
        columns: names of a table's column, the first that exists.
        pattern: regular expression searched in the file name; its first group
            (or the whole match) is the group. Used if it fits half of the images.
        parent: the folder the file lies in. Used if some folder below the root
            (and below the class folder) holds images.
    """

    words: str
    columns: tuple[str, ...] = ()
    pattern: str = ""
    parent: bool = False


_TABLE_RULE = GroupRule(words="as the table says", columns=GROUP_NAMES)


@dataclass
class Input:
    """One row of a manifest in the making.

    ``depth`` counts the folders above the file that mean a class or a split;
    ``extras`` are the cells of a table that lists it; ``is_missing`` says that it
    was named and is not there.
    """

    path: Path
    label: str = ""
    split: str = ""
    group: str = ""
    reason: str = ""
    is_missing: bool = False
    depth: int = 0
    extras: dict[str, str] = field(default_factory=dict)


def set_groups(
    inputs: Sequence[tuple[str, Input]],
    rules: Sequence[GroupRule],
    *,
    source: Source,
    listing: Listing | None,
    root: Path,
    notes: list[str],
) -> str:
    """Fill the group of every input, by the user's wish or else by the first rule that applies.

    Args:
        inputs: image_id and input; changed in place.
        rules: the app's, tried in order; after them a column ``group``.
        source: its ``group`` is the wish.
        listing: the table that lists the images, if there is one.
        root: the manifest's root.
        notes: grows by what should be known of the groups.

    Returns:
        A sentence that says what the group is; empty if none was found.

    Raises:
        ManifestError: the wish cannot be followed, or a group column has gaps.
    """
    wish = source.group
    columns: list[str] = list(listing.table.columns) if listing else []
    usable = [(image_id, entry) for image_id, entry in inputs if not entry.reason]
    if wish == "image_id":
        for image_id, entry in usable:
            entry.group = image_id
        return "Each image is its own group, as asked: images that belong together are not known."
    tried = _wished(wish, listing) if wish else [*rules, _TABLE_RULE]
    for rule in tried:
        finder = _finder(rule, columns, root)
        if finder is None:
            continue
        found = [finder(entry) for _, entry in usable]
        bare = [image_id for (image_id, _), text in zip(usable, found, strict=True) if not text]
        # A file name may fit a rule by chance; a column that exists is meant.
        if len(bare) == len(found) or (len(bare) * 2 > len(found) and not rule.columns):
            continue
        column = column_named(columns, *rule.columns) if rule.columns else None
        if bare and column and source.labelled:
            msg = (
                f"{readable(listing.file.name) if listing else ''}: {len(bare):,} of "
                f"{len(found):,} rows have no {column} (first: {bare[0]}). Without it images that "
                "belong together could be in both train and test. Fill the column, or pass "
                "--group image_id if every image stands for itself."
            )
            raise ManifestError(msg)
        for (_, entry), text in zip(usable, found, strict=True):
            entry.group = text
        words = f"{rule.words}, in the column {column}" if column else rule.words
        if bare:
            notes.append(
                f"{len(bare):,} of {len(found):,} images have no group by the rule (first: "
                f"{bare[0]}); each counts as a group of its own."
            )
        return f"The group is {words}: {len(set(found) - {''}):,} groups of {len(found):,} images."
    if wish:
        msg = (
            f"--group {wish}: it says nothing of most of the {len(usable):,} images. Correct it, "
            "or pass --group image_id if every image stands for itself."
        )
        raise ManifestError(msg)
    return ""


def _wished(wish: str, listing: Listing | None) -> list[GroupRule]:
    """The rule that the user's ``--group`` asks for."""
    if wish == "parent":
        return [GroupRule(words="the folder of the file, as asked", parent=True)]
    if wish.startswith("name:"):
        words = f"what {wish[5:]} finds in the file name, as asked"
        return [GroupRule(words=words, pattern=wish[5:])]
    if listing is None:
        msg = (
            f"--group {wish}: there is no table here, so no column. Give image_id, parent, or "
            "name:REGULAR EXPRESSION, or add a table with this column."
        )
        raise ManifestError(msg)
    wanted_column(listing, wish, "the group")
    return [GroupRule(words="as asked", columns=(wish,))]


def _finder(rule: GroupRule, columns: Collection[str], root: Path) -> Callable[[Input], str] | None:
    """How a rule reads the group off an input; None if it cannot apply."""
    if rule.columns:
        column = column_named(columns, *rule.columns)
        if column is None:
            return None
        key = f"{column}_given" if column in RESERVED else column
        # An id that went through a spreadsheet comes back as 10003.0.
        return lambda entry: re.sub(r"^(\d+)\.0+$", r"\1", entry.extras.get(key, "").strip())
    if rule.pattern:
        try:
            pattern = re.compile(rule.pattern)
        except re.error as error:
            msg = f"{rule.pattern!r} is no regular expression ({error}). Correct --group."
            raise ManifestError(msg) from error

        def by_name(entry: Input) -> str:
            match = pattern.search(readable(entry.path.name))
            return (match[1] if pattern.groups else match[0]) or "" if match else ""

        return by_name

    def by_folder(entry: Input) -> str:
        if not entry.path.is_relative_to(root):
            return readable(entry.path.parent.as_posix())
        parts = entry.path.relative_to(root).parts[:-1]
        return readable("/".join(parts)) if len(parts) > entry.depth else ""

    return by_folder
