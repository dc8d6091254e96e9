"""Whether a table has the columns that a published data set's table has, and if not, what differs.

Adapters of public layouts read their tables through here: cells as text,
headings trimmed. A heading is compared without case, and a space, a dash and an
underscore are the same, because copies of public sets differ in these.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.data.scan import natural_key, readable
from core.data.tables_in import read_cells
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

__all__ = [
    "Matched",
    "Record",
    "Sheet",
    "counted_missing",
    "match_rows",
    "no_such_label",
    "not_of_card",
    "plain",
    "read_sheet",
    "refuse_spreadsheet",
    "relabelled",
    "require_columns",
    "resembles",
    "stem_of",
    "table_of",
]


@dataclass
class Sheet:
    """One table as text: its file, its headings, and its rows by plain heading."""

    file: Path
    columns: list[str]
    rows: list[dict[str, str]]


@dataclass
class Record:
    """One image of a published set, whatever the app.

    Attributes:
        path: of the file.
        label: empty where the table says nothing usable.
        patient: the group that the set names; empty where it names none.
        split: as the set gives it.
        reason: why the image is left out; empty where it is used.
        extras: further columns of the manifest.
    """

    path: Path
    label: str = ""
    patient: str = ""
    split: str = ""
    reason: str = ""
    extras: dict[str, str] = field(default_factory=dict)


def table_of(records: Iterable[Record], root: Path) -> pd.DataFrame:
    """Records as the table of a manifest, in natural order of their ids.

    Args:
        records: with files below ``root``.
        root: the folder of the set.
    """
    import pandas as pd  # noqa: PLC0415  (0.5 s to import)

    rows = []
    for record in records:
        name = readable(record.path.relative_to(root).as_posix())
        row = {
            "image_id": name,
            "path": name,
            "label": record.label,
            "group": record.patient,
            "split": record.split,
            "status": "skipped" if record.reason else "ok",
            "reason": record.reason,
        }
        rows.append({**row, **record.extras, **row})
    rows.sort(key=lambda row: natural_key(row["image_id"]))
    return pd.DataFrame(rows, dtype="str").fillna("")


def not_of_card(path: Path, card: str, what: str = "tables") -> ManifestError:
    """The error of a folder that is not the data set whose card the user named."""
    return ManifestError(
        f"{readable(str(path))}: its {what} are not those of the data card {card!r}. Leave --card "
        "out, or pass --card none to read the folder as it is."
    )


def no_such_label(title: str, task: str, labels: Iterable[str]) -> ManifestError:
    """The error of a task for which a data set has no label."""
    return ManifestError(
        f"{title} has no label for the task {task!r} (it has: {', '.join(labels)}). Choose one of "
        "these with --task."
    )


def plain(name: str) -> str:
    """A heading without case, spaces and dashes.

    >>> plain(" Risk of macular edema "), plain("breast density") == plain("breast_density")
    ('risk_of_macular_edema', True)
    """
    return re.sub(r"[\s_-]+", "_", name.strip().casefold())


def read_sheet(file: Path, *, columns: Sequence[str] = ()) -> Sheet:
    """The cells of a text table, trimmed, whichever of comma, semicolon and tab separates them.

    Args:
        file: a text file.
        columns: headings of a table that has none; empty reads them from its first line.
    """
    try:
        cells = read_cells(file, columns=columns, strict=False, any_row=True)
    except ManifestError:
        # Not a table at all, so not one of the set.
        return Sheet(file, [], [])
    keys = [plain(name) for name in cells.columns]
    rows = [dict(zip(keys, row, strict=True)) for row in cells.rows]
    return Sheet(file, cells.columns, rows)


def resembles(columns: Collection[str], expected: Collection[str], is_marked: bool = False) -> bool:
    """Whether a table is that of a set, but for a column that was renamed or dropped.

    Args:
        columns: those of the table.
        expected: those it should have.
        is_marked: something else, such as a file beside it, says so, too: half of
            the columns are then enough; otherwise it takes two thirds.
    """
    found = {plain(name) for name in columns}
    n = sum(plain(name) in found for name in expected)
    return 2 * n >= len(expected) > 0 if is_marked else 3 * n >= 2 * len(expected) > 0


def require_columns(
    file: Path, columns: Sequence[str], expected: Sequence[str], *, title: str
) -> None:
    """Refuse a table of a recognised set that lacks a column; the message is a diff.

    Further columns are no error: copies of public sets add their own.

    Args:
        file: the table.
        columns: those it has.
        expected: those it must have.
        title: of the data set.

    Raises:
        ManifestError: a column is absent.
    """
    found = {plain(name) for name in columns}
    absent = [name for name in expected if plain(name) not in found]
    if not absent:
        return
    wanted = {plain(name) for name in expected}
    further = [name for name in columns if plain(name) not in wanted]
    lines = []
    for name in absent:
        near = difflib.get_close_matches(
            plain(name), {plain(other): other for other in further}, n=1, cutoff=0.5
        )
        guess = next((other for other in further if near and plain(other) == near[0]), "")
        lines.append(f"  - {name}" + (f"   (renamed to {guess}?)" if guess else ""))
    lines += [f"  + {name}" for name in further]
    msg = (
        f"{readable(str(file))}: is laid out as {title}, but {len(absent)} of its "
        f"{len(expected)} columns are not as published (- expected, + found):\n"
        + "\n".join(lines)
        + "\nLabels, groups or splits would be read from the wrong place. Restore the published "
        "names, or pass --card none to read the folder as any other."
    )
    raise ManifestError(msg)


def refuse_spreadsheet(folder: Path, patterns: Sequence[str], *, title: str) -> None:
    """Refuse a folder whose table is there only as a spreadsheet, and say what to do.

    Args:
        folder: that the user named.
        patterns: of the spreadsheet's name.
        title: of the data set.

    Raises:
        ManifestError: there is one.
    """
    found = [file for pattern in patterns for file in sorted(folder.glob(pattern))]
    if found:
        msg = (
            f"{readable(str(found[0]))}: is the table of {title} as a spreadsheet that cannot be "
            "read, so no label is known. Save its first sheet as .xlsx or CSV beside it, headings "
            "as they are, or pass --card none."
        )
        raise ManifestError(msg)


def counted_missing(
    title: str, missing: Sequence[str], n_listed: int, where: str, *, is_part_fine: bool = False
) -> list[str]:
    """A note that counts the files a table lists and the folder lacks.

    Args:
        title: of the data set.
        missing: names of the files that are not there.
        n_listed: files that the table lists.
        where: the folder.
        is_part_fine: the set is so large that people download parts of it; else
            more than half missing is an error.

    Raises:
        ManifestError: more than half are missing: the folder is not the data set.
    """
    if not missing:
        return []
    if 2 * len(missing) > n_listed and not is_part_fine:
        msg = (
            f"{title}: {len(missing):,} of the {n_listed:,} images its table lists are not below "
            f"{where} (first: {readable(missing[0])}). Unpack the images there, or shorten the "
            "table."
        )
        raise ManifestError(msg)
    return [
        f"{title}: {len(missing):,} of {n_listed:,} listed images are not there (first: "
        f"{readable(missing[0])})."
    ]


def relabelled(
    meaning: Mapping[str, str], chosen: Mapping[str, str], *, title: str
) -> tuple[dict[str, str], list[str]]:
    """A set's own label map with the user's choices in it, and a note that states them.

    Args:
        meaning: raw label -> class, as the data card says.
        chosen: from ``label_map``.
        title: of the data set.

    Returns:
        The map, keys without case, and notes.
    """
    merged = {raw.casefold(): name for raw, name in meaning.items()}
    merged.update(chosen)
    if not chosen:
        return merged, []
    told = ", ".join(f"{raw} as {name or 'left out'}" for raw, name in chosen.items())
    return merged, [f"{title}: labels count otherwise than its card says, as asked: {told}."]


@dataclass
class Matched:
    """Rows of a table and the files they name.

    Attributes:
        rows: each file with its row.
        loose: files that no row names, with the reason.
        missing: what rows name and nobody finds.
    """

    rows: list[tuple[Path, dict[str, str]]]
    loose: list[tuple[Path, str]]
    missing: list[str]


def match_rows(sheet: Sheet, key: str, images: Sequence[Path], *, title: str) -> Matched:
    """Meet rows and files by name, without case, folders and extension.

    Args:
        sheet: the table.
        key: heading of the column that names the file.
        images: the files that the table speaks of.
        title: of the data set.

    Raises:
        ManifestError: two rows name one image and differ.
    """
    rows: dict[str, dict[str, str]] = {}
    for row in sheet.rows:
        name = stem_of(row.get(plain(key), ""))
        before = rows.setdefault(name, row)
        if before != row:
            msg = (
                f"{readable(str(sheet.file))}: {title}: {name!r} stands in two rows that differ. "
                "One image has one label. Remove one of the rows."
            )
            raise ManifestError(msg)
    rows.pop("", None)
    found: dict[str, Path] = {}
    loose: list[tuple[Path, str]] = []
    for path in images:
        name = path.stem.casefold()
        if name not in rows:
            loose.append((path, f"{sheet.file.name} does not list it"))
        elif name in found:
            loose.append((path, "another file of this name is used"))
        else:
            found[name] = path
    missing = [name for name in rows if name not in found]
    return Matched([(path, rows[name]) for name, path in found.items()], loose, missing)


def stem_of(name: str) -> str:
    r"""A name as tables write it, without folders, extension and case.

    >>> stem_of("Images\\\\1_l1.JPG"), stem_of("1000015157.jpg"), stem_of("v1.2")
    ('1_l1', '1000015157', 'v1.2')
    """
    last = name.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1].strip()
    return re.sub(r"(?i)\.(jpe?g|png|tiff?|bmp|webp|pgm|ppm|dcm|dicom)$", "", last).casefold()
