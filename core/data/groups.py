"""Which images belong together: the group that may never straddle a split.

A group is a patient, a leaf, a field. It is read from a table's column, a file
name or a folder, by the app's rule or the user's wish, and told in words.
Without one, nothing can be said about leakage, and nothing is invented.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.base.tables import MANIFEST
from core.data.group_folders import folders_below_classes
from core.data.manifest_tables import (
    GROUP_NAMES,
    ID_NAMES,
    Listing,
    column_named,
    option,
    wanted_column,
)
from core.data.scan import readable
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from core.app import Source

__all__ = ["EXAMPLE", "RESERVED", "GroupRule", "Input", "set_groups"]

# How a group is read off file names, as a user writes it.
EXAMPLE = r"--group 'name:part\d+'"
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
_ID_RULE = GroupRule(words="as the table says", columns=ID_NAMES)
# File names that say which picture an image was cut or made from, the surest first.
_NAME_RULES = (
    GroupRule(
        words="the picture it was cut from: what stands before the four numbers of its place in "
        "the file name, as in leaf_x_y_w_h",
        pattern=r"(?i)^(.+?)(?:[_-][xywh]?\d+){4}\.[a-z]+$",
    ),
    GroupRule(
        words="the picture it was cut from: what stands before tile, patch or crop and its number "
        "in the file name",
        pattern=r"(?i)^(.+?)[_-](?:tile|patche?|crop|window|slice|frame)s?[_-]?\d+(?:[_-]\d+)*\.[a-z]+$",
    ),
    GroupRule(
        words="the picture it was cut from: what stands before x and y in the file name",
        pattern=r"(?i)^(.+?)[_-]x[_-]?\d+[_-]y[_-]?\d+.*\.[a-z]+$",
    ),
    GroupRule(
        words="the picture it was made from: what stands before .rf. in the file name (Roboflow)",
        pattern=r"(?i)^(.+?)(?:_(?:jpe?g|png|tiff?|bmp))?\.rf\.[0-9a-z]{5,}\.[a-z]+$",
    ),
    GroupRule(
        words="the picture it was made from: what stands before the change in the file name",
        pattern=r"(?i)^(.+?)[_-](?:aug\w*|[hv]?flip\w*|rot\w*|mirror\w*|bright\w*|noise\w*|blur\w*|"
        r"new[\d ]+degfliplr|zoom\w*|shear\w*)(?:[_-]?\d+)?\.[a-z]+$",
    ),
)
# Words that mean a place in one table and a part of the body or a treatment in another.
_WEAK = frozenset({"site", "farm", "field", "plot", "plant", "block", "location"})
# Images of a group on average, and groups, from which a guess of the group is questioned.
_HUGE, _FEW = 40, 30


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
    listings: Sequence[Listing],
    root: Path,
    notes: list[str],
) -> str:
    """Fill the group of every input, by the user's wish or else by the first rule that applies.

    Args:
        inputs: image_id and input; changed in place.
        rules: the app's, tried in order; after them a column ``group``.
        source: its ``group`` is the wish.
        listings: the tables that list the images.
        root: the manifest's root.
        notes: grows by what should be known of the groups.

    Returns:
        A sentence that says what the group is; empty if none was found.

    Raises:
        ManifestError: the wish cannot be followed, or a group column has gaps.
    """
    request = option(source, "group-column") or source.group
    columns = list(dict.fromkeys(str(c) for one in listings for c in one.table.columns))
    usable = [(image_id, entry) for image_id, entry in inputs if not entry.reason]
    if request == "image_id":
        for image_id, entry in usable:
            entry.group = image_id
        return "Each image is its own group, as asked: images that belong together are not known."
    for rule in _wished(request, listings) if request else _ordered(rules, columns):
        finder = _finder(rule, columns, root)
        if finder is None:
            continue
        found = [finder(entry) for _, entry in usable]
        bare = [image_id for (image_id, _), text in zip(usable, found, strict=True) if not text]
        # A file name may fit a rule by chance; a column that exists is meant.
        if len(bare) == len(found) or (len(bare) * 2 > len(found) and not rule.columns):
            continue
        if rule in _NAME_RULES and _is_chance(found):
            continue
        column = column_named(columns, *rule.columns) if rule.columns else None
        if bare and column and source.labelled:
            tables = ", ".join(readable(one.file.name) for one in listings)
            msg = (
                f"{tables}: {len(bare):,} of {len(found):,} rows have no {column} (first: "
                f"{bare[0]}). Without it images that belong together could be in both train and "
                "test. Fill the column, name another with --group-column, or pass --group image_id "
                "if every image stands for itself."
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
        n_groups = len(set(found) - {""})
        is_guess = not request and rule not in {_TABLE_RULE, _ID_RULE}
        notes.extend(_questions(n_groups, len(found) - len(bare), column if is_guess else None))
        if n_groups == 1 and len(found) > 1 and source.labelled and not request:
            notes.append(_one_for_all(found, column or "group", len(found)))
        # A pattern of names is a guess that a user must be able to refuse.
        refuse = " Pass --group image_id if that is not so." if rule in _NAME_RULES else ""
        return f"The group is {words}: {n_groups:,} groups of {len(found):,} images.{refuse}"
    if request:
        msg = (
            f"--group {request}: it says nothing of most of the {len(usable):,} images. Correct it "
            f"(parent is the folder of each file; file names are searched as in {EXAMPLE}), or "
            "pass --group image_id if every image stands for itself."
        )
        raise ManifestError(msg)
    if source.labelled:
        files = [(entry.path, entry.depth, entry.label) for _, entry in usable]
        notes.extend(folders_below_classes(files, root))
    return ""


def _ordered(rules: Sequence[GroupRule], columns: Collection[str]) -> list[GroupRule]:
    """Rules in the order they are tried: a column that says by its name what it is goes first.

    ``group`` goes before any guess; ``patient_id`` or ``lesion_id`` before a word of the
    app's such as ``site``, which means a farm in one table and a part of the body in another.
    """
    strong = [
        rule
        for rule in rules
        if rule.columns and (column_named(columns, *rule.columns) or "site").casefold() not in _WEAK
    ]
    return [*dict.fromkeys([_TABLE_RULE, *strong, _ID_RULE, *rules, *_NAME_RULES])]


def _is_chance(found: Sequence[str]) -> bool:
    """Whether what a pattern finds in file names groups nothing, or nearly everything."""
    counts = Counter(text for text in found if text)
    n = sum(counts.values())
    return not 1 < len(counts) < n or max(counts.values()) > max(60, 0.2 * n)


def _questions(n_groups: int, n_images: int, column: str | None) -> list[str]:
    """A guess that makes few, huge groups is questioned."""
    if column is None or n_groups > _FEW or n_images < _HUGE * n_groups or n_groups < 2:
        return []
    return [
        f"Is {column} what images share? It makes {n_groups:,} groups of {n_images / n_groups:.0f} "
        f"images each. Pass --group {column} to say so, the name of another column, or --group "
        "image_id if every image stands for itself."
    ]


def _one_for_all(found: Sequence[str], word: str, n: int) -> str:
    """What to say where every image has the same group."""
    return (
        f"All {n:,} images carry one {word} ({readable(found[0])[:40]}), so it tells "
        "nothing apart; anonymisers write one id into all. Pass --group with a column that does, "
        "or --group image_id if every image stands for itself."
    )


def _wished(request: str, listings: Sequence[Listing]) -> list[GroupRule]:
    """The rule that the user's ``--group`` asks for."""
    if request == "parent":
        return [GroupRule(words="the folder of the file, as asked", parent=True)]
    if request.startswith("name:"):
        words = f"what {request[5:]} finds in the file name, as asked"
        return [GroupRule(words=words, pattern=request[5:])]
    if request == "folder":
        return [GroupRule(words="the folder above the class folders, as asked", columns=(request,))]
    if not listings:
        msg = (
            f"--group {request}: there is no table here, so no column. Give image_id, parent (the "
            f"folder of each file), or a regular expression of file names as in {EXAMPLE}, or add "
            "a table with this column."
        )
        raise ManifestError(msg)
    if not any(column_named(one.table.columns, request) for one in listings):
        wanted_column(listings[0].file, listings[0].table.columns, request, "the group")
    return [GroupRule(words="as asked", columns=(request,))]


def _finder(rule: GroupRule, columns: Collection[str], root: Path) -> Callable[[Input], str] | None:
    """How a rule reads the group off an input; None if it cannot apply."""
    if rule.columns:
        column = column_named(columns, *rule.columns)
        if column is None and rule.columns == ("folder",):
            column = "folder"
        if column is None:
            return None
        key = f"{column}_given" if column in RESERVED else str(column)
        # An id that went through a spreadsheet comes back as 10003.0.
        return lambda entry: re.sub(r"^(\d+)\.0+$", r"\1", entry.extras.get(key, "").strip())
    if rule.pattern:
        try:
            pattern = re.compile(rule.pattern)
        except re.error as error:
            msg = f"{rule.pattern!r} is no regular expression ({error}). Write it as in {EXAMPLE}."
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
