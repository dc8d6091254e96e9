"""Index a published data set by the layout that an app declares for it.

What the schema says stands in ``core.data.layouts``, how a set is recognised in
``core.data.published_tables``, how its rows are read in ``core.data.published_rows``.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from core.app import Manifest
from core.base.words import quantity
from core.data.image_files import EXTENSIONS
from core.data.label_map import label_map
from core.data.published_rows import Labels, meet, rows_by_key, splits_of
from core.data.published_tables import (
    TABLES,
    Place,
    find,
    known_of,
    refuse_spreadsheet,
    refuse_two_sets,
)
from core.data.scan import natural_key, readable
from core.data.tables_in import plain
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from core.app import Source
    from core.data.layouts import Layout, Published, Row

__all__ = ["index_published"]


def index_published(
    source: Source,
    layouts: Sequence[Layout],
    *,
    read: Callable[[Source], Manifest],
    extensions: Collection[str] = EXTENSIONS,
    keep: Collection[str] = (),
    choose: Callable[[Layout], Mapping[str, str]] | None = None,
    otherwise: Callable[[Sequence[Path]], Manifest | None] | None = None,
) -> Manifest | None:
    """The manifest of a published set; None if the source is none, or ``--card none`` is asked.

    Where the user names a label or a group that is none of the set's, ``read`` reads the
    images and what is added is the card.

    Args:
        source: its options ``card``, ``label-map`` and ``split-column`` count.
        layouts: the sets that the app knows, in the order in which they are tried.
        read: reads a source as any other.
        extensions: names of files that are images, lower case with the dot.
        keep: further columns of a set's table that are kept, plain.
        choose: layout -> cell -> class, what the app's own options say of labels.
        otherwise: images of the folder -> the manifest where no layout is found.

    Raises:
        ManifestError: the folder is a set's, but a table or class folder is not as published;
            or it is not that of the card named; or the set has no label for the task.
    """
    card = str(source.options.get("card") or "")
    path = source.paths[0]
    is_table = path.suffix.lower() in TABLES and path.parent.is_dir()
    if card == "none" or len(source.paths) != 1 or not (path.is_dir() or is_table):
        return None
    place = Place(path, frozenset(extensions), card)
    known = [known_of(layout) for layout in layouts]
    found = find(known, place)
    if found is None:
        base = otherwise(place.images) if otherwise else None
        if base is None and source.labelled:
            refuse_spreadsheet(place, known)
        if base is None and card:
            msg = (
                f"{readable(str(path))}: its tables and folders are not those of the data card "
                f"{card!r}. Leave --card out, or pass --card none to read the folder as it is."
            )
            raise ManifestError(msg)
        return base
    if source.labelled and not card and path.is_dir():
        refuse_two_sets(found, known, place)
    layout, task = found.known.layout, source.task.name
    is_known = any(task in other.labels for other in layouts)
    is_own = _is_of_the_user(found, source) or not is_known
    if not layout.bases and not is_own and task not in layout.labels:
        msg = (
            f"{found.known.title} has no label for the task {task!r} (it has: "
            f"{', '.join(layout.labels)}). Choose one of these with --task."
        )
        raise ManifestError(msg)
    if layout.bases:
        done = _of_folders(found, source, read)
    elif layout.is_plain or is_own:
        columns = layout.labels[task].columns if not is_own else ()
        label = ",".join(columns) if len(columns) > 1 else source.label
        done = read(replace(source, label=label))
    else:
        done = _of_tables(found, source, keep, choose(layout) if choose else {})
    if layout.is_one_each and not source.group and not done.group_rule:
        ids = done.table["image_id"].where(done.table["status"] == "ok", "")
        rule = (
            f"The group is the {layout.group_word}: {found.known.title} has one image of each, as "
            "its data card says."
        )
        done = replace(done, table=done.table.assign(group=ids), group_rule=rule)
    if source.labelled and found.sheets:
        done = replace(done, notes=(*done.notes, *_passed_over(found, place)))
    done = replace(done, cards=(layout.card,) if layout.card else ())
    return layout.finish(done, source) if layout.finish else done


def _is_of_the_user(found: Published, source: Source) -> bool:
    """Whether the user names a label, a group or a split that the set's tables do not say."""
    is_label = source.label not in {None, "", source.task.label}
    named = (source.group, source.options.get("split-column"))
    return is_label or any(name and name != "none" and not found.has(str(name)) for name in named)


def _passed_over(found: Published, place: Place) -> list[str]:
    """Which tables of the folder were not read."""
    read = {sheet.file for sheet in (*found.sheets, *([found.joined] if found.joined else []))}
    left = [file for file in place.tables if file not in read]
    if not left:
        return []
    names = ", ".join(readable(file.relative_to(place.folder).as_posix()) for file in left[:6])
    more = f" and {len(left) - 6} more" if len(left) > 6 else ""
    return [
        f"{quantity(len(left), 'table')} not read, for labels come from {found.names}: "
        f"{names}{more}."
    ]


def _of_folders(found: Published, source: Source, read: Callable[[Source], Manifest]) -> Manifest:
    """The manifest of a set of class folders: as core reads any."""
    base = found.base or found.folder
    done = read(replace(source, paths=(base,)))
    if base == found.folder:
        return done
    note = f"{found.known.title}: only the images in {base.name} are used."
    return replace(done, notes=(*done.notes, note))


def _of_tables(
    found: Published, source: Source, keep: Collection[str], chosen: Mapping[str, str]
) -> Manifest:
    """The manifest of a set with tables; ``chosen`` is what the app's options say of labels."""
    import pandas as pd  # noqa: PLC0415  (0.5 s to import)

    layout, title = found.known.layout, found.known.title
    chosen = {**chosen, **label_map(source.options.get("label-map"))}
    labels = Labels.of(found, source.task, chosen)
    split = splits_of(found, str(source.options.get("split-column") or ""))
    notes = _notes(found, labels, chosen)
    rows = rows_by_key(found, labels.label, notes)
    records = []
    left_out: dict[str, list[str]] = {}
    for path, mine, unlisted in meet(found, rows, notes):
        name = readable(path.relative_to(found.folder).as_posix())
        label, reason = labels.read(mine) if mine else ("", unlisted)
        if not mine and source.labelled:
            left_out.setdefault(unlisted, []).append(name)
        record = {
            "image_id": name,
            "path": name,
            # To score images what their tables lack is no need.
            "label": label * source.labelled,
            "group": "",
            "split": split(mine[0]) if mine else "",
            "status": "skipped" if reason and source.labelled else "ok",
            "reason": reason * source.labelled,
        }
        extras = {column: mine[0][column] for column in keep if mine and column in mine[0]}
        extras |= _facts(layout, mine)
        if mine and layout.group:
            extras[layout.group_word] = record["group"] = _group(layout, mine[0], path)
        if mine and source.group:
            record["group"] = mine[0].get(plain(source.group), "")
        records.append({**record, **extras, **record})
    for why, names in left_out.items():
        notes.append(f"{quantity(len(names), 'image')} left out: {why} (first: {names[0]}).")
    records.sort(key=lambda record: natural_key(record["image_id"]))
    table = pd.DataFrame(records, dtype="str").fillna("")
    return Manifest(
        table=table,
        root=found.folder,
        group_rule=_group_rule(found, source, table),
        split_rule=f"The split is that of {title}." if (table["split"] != "").any() else "",
        notes=tuple(notes),
    )


def _notes(found: Published, labels: Labels, chosen: Mapping[str, str]) -> list[str]:
    """From which tables and columns labels are read, and what is not read or not as published."""
    layout, title = found.known.layout, found.known.title
    columns = ", ".join(name for name in labels.label.columns if found.has(name))
    beside = f", joined with {readable(found.joined.file.name)}" if found.joined else ""
    column = f", column {columns}" if columns else ""
    notes = [f"{title}: labels are read from {found.names}{beside}{column}."]
    notes += [f"{title}: {layout.note}"] if layout.note else []
    outcomes = "|".join(plain(name).replace("*", ".*") for name in layout.outcomes)
    sheets = [*found.sheets, *([found.joined] if found.joined else [])]
    given = [c for sheet in sheets for c in sheet.columns if re.fullmatch(outcomes, plain(c))]
    if given:
        named = ", ".join(dict.fromkeys(given))
        notes.append(f"{title}: columns that give the label away are dropped: {named}.")
    if chosen:
        message = ", ".join(f"{raw} as {name or 'left out'}" for raw, name in chosen.items())
        notes.append(f"{title}: labels count otherwise than its card says, as asked: {message}.")
    return notes


def _facts(layout: Layout, rows: Sequence[Row]) -> dict[str, str]:
    """What further columns say of an image: the first of its rows that says anything."""
    found: dict[str, str] = {}
    for fact, (column, of) in layout.facts.items():
        cells = (of(row.get(plain(column), "")) for row in rows)
        if value := next(filter(None, cells), ""):
            found[fact] = value
    return found


def _group(layout: Layout, row: Row, path: Path) -> str:
    """The group of an image as the set names it; else one of its own."""
    named = layout.group(row, path) if callable(layout.group) else row.get(plain(layout.group), "")
    return named or path.stem


def _group_rule(found: Published, source: Source, table: pd.DataFrame) -> str:
    """Where the group comes from, in words."""
    ok = table[table["status"] == "ok"]
    n_groups = ok.loc[ok["group"] != "", "group"].nunique()
    message = f"{quantity(n_groups, 'group')} of {quantity(len(ok), 'image')}."
    if source.group:
        return f"The group is as asked, in the column {source.group}: {message}"
    layout, title = found.known.layout, found.known.title
    return f"The group is the {layout.group_word}, as {title} names them: {message}" * bool(
        layout.group
    )
