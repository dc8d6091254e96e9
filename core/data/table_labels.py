"""The class that each row of a table names: one column, a column per class, several in a cell.

A table may write several classes of one image as ``a|b``, ``a, b``, ``a b``,
``['a', 'b']`` or as a list of Parquet; which it was is found from the cells and said.
Columns of zeros and ones of which one is 1 in each row are one class per image.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING, Any

from core.data.folder_words import is_class_word
from core.data.manifest_tables import Listing, column_named, is_about, option, wanted_column
from core.data.scan import readable
from core.data.tables_in import whole_number
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import pandas as pd

    from core.app import Source, Task

__all__ = [
    "flag_columns",
    "label_columns",
    "label_texts",
    "labels_of",
    "possible_labels",
    "several_labels",
    "word_columns",
]

_ON = frozenset(
    {"1", "true", "yes", "y", "x", "ja", "j", "wahr", "oui", "vrai", "si", "s\u00ed", "sim"}
    | {"verdadero", "\u2713", "\u2714", "present", "positive", "pos", "+"}
)
_OFF = frozenset(
    {"0", "false", "no", "n", "nein", "falsch", "non", "faux", "n\u00e3o", "nao", "falso"}
    | {"absent", "negative", "neg", "-"}
)
# Marks between the classes of one cell, and what they are called.
_MARKS = {
    **{",": "a comma", ";": "a semicolon", "/": "a slash", "+": "a plus", "&": "'&'"},
    **{"\uff0c": "a comma", "\u3001": "a comma", "\n": "a line break", "::": "'::'"},
    **{" and ": "the word and", " ": "a space", "-": "a dash", "_": "an underscore"},
}
# Of these a name may hold one, so that each part must stand alone elsewhere.
_LOOSE = frozenset({" and ", " ", "-", "_"})
# What a cell of a multi-label column may hold where no class is meant.
_NOTHING = frozenset({"none", "nothing", "no finding", "no findings", "no symptoms", "no symptom"})
# What a cell may hold where nobody knows the class.
_UNSURE = frozenset(
    {"unknown", "?", "??", "unk", "not known", "unlabelled", "unlabeled", "unsure", "not sure"}
    | {"tbd", "todo", "to do", "-", "--", "undefined", "unclear", "missing"}
)
_DATE = re.compile(r"(?:19|20)\d\d-\d\d-\d\d(?:[ T][\d:]+)?")
# Words for the level of folders that names the class, in place of a column.
FOLDERS = frozenset({"folder", "parent"})
_LABEL_LIKE = re.compile(
    r"(?i).*(label|class|categor|diagnos|disease|target|truth|grade|finding|patholog|species"
    r"|symptom|status|condition|outcome|annotat|klasse|etiqueta|rotulo|clase|stress|damage|type"
    r"|infection|health|quality_of|stage|verdict|result|answer|befund|zustand|krankheit|schaden"
    r"|kategorie|art|sorte|etichetta|categoria|enfermedad|enfermedade|doen[cç]a|maladie|malattia"
    r"|[eé]tiquette|estado|[eé]tat|grado|grad|stufe|score_class|groundtruth|gt|ziel|objetivo|cible"
    r"|\u6807\u7b7e|\u7c7b\u522b|\u8bca\u65ad|\u30e9\u30d9\u30eb|\u043a\u043b\u0430\u0441\u0441"
    r"|\u043c\u0435\u0442\u043a\u0430|\u0434\u0438\u0430\u0433\u043d\u043e\u0437).*"
)


def label_columns(listing: Listing, source: Source, names: Sequence[str]) -> list[str]:
    """The columns of a table that say the class; none if it says none.

    Args:
        listing: the table.
        source: names a column (or several, by commas), or its task does.
        names: columns to look for where neither does.

    Raises:
        ManifestError: a column that was named is not there.
    """
    columns = listing.table.columns
    wanted = option(source, "label-column") or source.label
    if wanted and not (wanted in FOLDERS and column_named(columns, wanted) is None):
        whole = column_named(columns, wanted)
        chosen = [wanted] if whole else [name.strip() for name in wanted.split(",")]
        return [wanted_column(listing.file, columns, name, "the class") for name in chosen]
    if wanted:
        return []
    if source.task.label in FOLDERS and column_named(columns, source.task.label) is None:
        return []
    if source.task.label != "label":
        column = column_named(columns, source.task.label)
        flags = _flags(listing, source.task) if column is None else []
        if column or not flags:
            task_label = source.task.label
            return [column or wanted_column(listing.file, columns, task_label, "the class")]
        return flags
    column = column_named(columns, *names)
    return [column] if column else _flags(listing, source.task)


def possible_labels(listing: Listing) -> list[str]:
    """Columns that could be the class by their heading or cells, though none is called so.

    A column that says of each image what its folder says is no question.
    """
    found = []
    for column in word_columns(listing):
        cells = [str(cell) for cell in listing.table[column]]
        distinct = set(cells) - {""}
        words = sum(map(is_class_word, distinct))
        is_like = _LABEL_LIKE.fullmatch(column) or 2 * words > len(distinct)
        pairs = {
            (cell, row.path.parent)
            for cell, row in zip(cells, listing.files, strict=True)
            if cell and not row.reason
        }
        places = {place for _, place in pairs}
        if is_like and not (len(pairs) == len(distinct) == len(places) > 1):
            found.append(column)
    return found


def word_columns(listing: Listing) -> list[str]:
    """Columns of a table with few, repeated words that do not describe the image."""
    found = []
    for name in listing.table.columns:
        cells = [cell for cell in listing.table[name] if cell]
        n = len(set(cells))
        if name == listing.path_column or not 1 < n <= max(2, min(200, len(cells) // 2)):
            continue
        is_measure = any(re.fullmatch(r"[+-]?\d*[.,]\d*[1-9]\d*", cell) for cell in cells)
        if not is_about(str(name)) and not is_measure:
            found.append(str(name))
    return found


def labels_of(
    listing: Listing, columns: Sequence[str], task: Task, chosen: Mapping[str, str] | None = None
) -> list[str]:
    """The label of each row; several columns are one class each.

    Args:
        listing: the table; its notes say how several classes in a cell are written.
        columns: from ``label_columns``.
        task: whether an image may have several classes.
        chosen: ``--label-map``; here it says what a blank and other marks of a column of
            zeros and ones mean (``blank=0,-1=1``; ``-1=`` leaves the image out).

    Raises:
        ManifestError: several columns have a 1 for a task with one class per image, or a
            cell of such a column is neither zero nor one.
    """
    if len(columns) > 1:
        return _one_hot(listing, columns, task, chosen or {})
    labels = label_texts(listing.table[columns[0]])
    if task.kind == "multilabel":
        parts, note = _parts(labels, task.label_separator)
        if note:
            listing.notes.append(f"{listing.file.name}: {note}")
        nothing = next((p[0] for p in parts if len(p) == 1 and p[0].casefold() in _NOTHING), "")
        if nothing and nothing.casefold() not in (chosen or {}):
            listing.notes.append(
                f"{listing.file.name}: {nothing} counts as a class of its own; if it means that an "
                f"image has none of the classes, pass --label-map '{nothing}="
                f"{task.label_separator}'."
            )
        mark = task.label_separator
        return [
            mark.join(p) if p else (mark if x else "") for p, x in zip(parts, labels, strict=True)
        ]
    labels = [_unlisted(label) for label in labels]
    known = {name.casefold() for name in (*task.classes, *(chosen or {}))}
    unsure = {label for label in labels if label.casefold() in _UNSURE - known}
    if unsure:
        asked = ",".join(f"{label}=" for label in sorted(unsure))
        listing.notes.append(
            f"{listing.file.name}: {', '.join(sorted(unsure))} counts as a class; if it means that "
            f"the class is not known, pass --label-map '{asked}' to leave these images out."
        )
    dates = [label for label in labels if _DATE.fullmatch(label)]
    if dates:
        listing.notes.append(
            f"{listing.file.name}: {len(dates):,} classes are dates (first: {dates[0]}); a "
            "spreadsheet makes 3 March of 3-3. Write the names as text."
        )
    several = _made_of_others(labels)
    if several:
        listing.notes.append(
            f"{listing.file.name}: {len(several)} class name(s) are made of others (first: "
            f"{several[0]!r}). Each counts as a class of its own; if an image may have several "
            "classes, choose a multi-label task with --task."
        )
    return labels


def label_texts(values: pd.Series[Any]) -> list[str]:
    """Class names of a column: trimmed, whole numbers without a decimal point, zeros kept.

    >>> import pandas as pd
    >>> label_texts(pd.Series(["0.0", "1.0", " 2", ""])), label_texts(pd.Series(["01", "10"]))
    (['0', '1', '2', ''], ['01', '10'])
    """
    texts = [unicodedata.normalize("NFC", str(value)).strip() for value in values]
    if all(re.fullmatch(r"[+-]?\d+([.,]0*)?|", text) for text in texts):
        return [whole_number(text).rstrip(".,") for text in texts]
    return texts


def several_labels(labels: Sequence[str], classes: Sequence[str], notes: list[str]) -> list[str]:
    """Cells that name several known classes, written with ``|``; other cells as they are.

    Args:
        labels: cells, of which each may be written in its own way.
        classes: the names there are; a cell is parted only where all its parts are among them.
        notes: receives how they are written.

    >>> several_labels(["a;b", "b, a", "a", "c/d"], ["a", "b"], [])
    ['a|b', 'b|a', 'a', 'c/d']
    """
    known = {name.casefold(): name for name in classes}
    seen: Counter[str] = Counter()
    found = []
    for label in labels:
        text = str(label)
        inner = text[1:-1] if _is_list(text) else text
        for between, word in _MARKS.items():
            parts = [_bare(part).casefold() for part in inner.split(between)]
            if text.casefold() not in known and len(parts) > 1 and known.keys() >= set(parts):
                seen[word] += 1
                text = "|".join(dict.fromkeys(known[part] for part in parts))
                break
        found.append(text)
    notes += [f"Labels of {n:,} rows are several, separated by {word}." for word, n in seen.items()]
    nothing = [label for label in found if label.casefold() in _NOTHING - set(known)]
    if nothing and any("|" in label for label in found):
        notes.append(
            f"Only rows whose label is a class count: {len(nothing):,} say {nothing[0]!r}, which "
            f"is none. If it means that none is there, pass --label-map '{nothing[0]}=|'."
        )
    return found


def _flags(listing: Listing, task: Task) -> list[str]:
    """Columns of zeros and ones that are one class each; none if they are not.

    For a task of one class per image, each row but a few must have exactly one 1.
    """
    columns = flag_columns(listing, also={"", "-1"} if task.kind == "multilabel" else {""})
    if len(columns) < 2:
        return []
    if task.kind == "multilabel":
        return columns
    ones = [
        sum(whole_number(cell.casefold()) in _ON for cell in row)
        for row in listing.table[columns].itertuples(index=False)
    ]
    # A row without a 1 has no class known; a row with several is refused later.
    some = [n for n in ones if n]
    is_sure = sum(n == 1 for n in some) >= 0.9 * len(some) and 2 * len(some) >= len(ones)
    return columns if some and is_sure else []


def flag_columns(listing: Listing, *, also: Collection[str] = ()) -> list[str]:
    """Columns of a table that hold nothing but yes and no, or ``also``, and a yes at least."""
    found = []
    for column in listing.table.columns:
        if column == listing.path_column or is_about(str(column)):
            continue
        cells = set(label_texts(listing.table[column].str.casefold()))
        if cells <= _ON | _OFF | set(also) and cells & _ON:
            found.append(str(column))
    return found


def _one_hot(
    listing: Listing, columns: Sequence[str], task: Task, chosen: Mapping[str, str]
) -> list[str]:
    """Labels from one column of zeros and ones per class.

    An image with none of the classes gets the bare separator in a multi-label task,
    because an empty label means that it is not known.
    """
    found: list[list[str]] = [[] for _ in range(len(listing.table))]
    unknown: set[int] = set()
    odd: dict[str, tuple[int, str]] = {}
    for column in columns:
        for row, raw in enumerate(label_texts(listing.table[column])):
            text = raw.casefold()
            mapped = chosen.get(text or "blank")
            if mapped == "":
                unknown.add(row)
                continue
            text = (mapped or text).casefold()
            if not text and task.kind != "multilabel":
                # One class per image: the column that is marked says it, a blank says nothing.
                continue
            if text not in _ON | _OFF:
                odd.setdefault(raw, (row, column))
            if text in _ON:
                found[row].append(column)
    if odd:
        raise ManifestError(_no_flags(listing, odd))
    several = [row for row, names in enumerate(found) if len(names) > 1]
    if task.kind != "multilabel":
        if several:
            msg = (
                f"{readable(str(listing.file))}: {len(columns)} label columns are read "
                f"({', '.join(columns)}), {len(several):,} rows have a 1 in several of them "
                f"(first: row {several[0] + 1}, {', '.join(found[several[0]])}), and the task "
                f"{task.name!r} has one class per image. Name one column with --label-column, or "
                "choose a multi-label task with --task."
            )
            raise ManifestError(msg)
        listing.notes.append(
            f"{listing.file.name}: the class is the column that holds the 1, of "
            f"{', '.join(columns)}."
        )
        return ["" if row in unknown else "".join(names) for row, names in enumerate(found)]
    mark = task.label_separator
    return ["" if row in unknown else mark.join(n) or mark for row, n in enumerate(found)]


def _no_flags(listing: Listing, odd: Mapping[str, tuple[int, str]]) -> str:
    """What to say of cells of columns of zeros and ones that are neither."""
    raw, (row, column) = min(odd.items(), key=lambda pair: pair[1][0])
    words = [value or "blank" for value in sorted(odd)][:4]
    zero = ",".join(f"{word}=0" for word in words)
    return (
        f"{readable(str(listing.file))}: row {row + 1} of column {column!r} holds {raw!r}, and a "
        "column that stands for one class holds 0 or 1. What it means is a choice that changes the "
        f"result: pass --label-map '{zero}' (not there), =1 (there) or '{words[0]}=' (leave the "
        "image out), or correct the cells, or name one column that holds class names."
    )


def _parts(labels: Sequence[str], mark: str) -> tuple[list[list[str]], str]:
    """The classes of each cell, and in words how they are written, where that is not ``mark``."""
    labels = ["[]" if label in {"set()", "list()", "tuple()"} else label for label in labels]
    bare = [label[1:-1] if _is_list(label) else label for label in labels]
    in_lists = sum(_is_list(label) for label in labels)
    split = mark if any(mark in label for label in bare) else ""
    if not split and in_lists:
        split = ";" if any(";" in label for label in bare) else ","
    if not split:
        split = next((m for m in _MARKS if _separates(bare, m)), mark)
    parts = [_quoted(label) or [_bare(part) for part in label.split(split)] for label in bare]
    words = _MARKS.get(split) or repr(split)
    note = ""
    if in_lists:
        note = "several classes of an image are written as a list in brackets."
    elif split != mark:
        note = f"several classes of an image are separated by {words}."
    return [list(dict.fromkeys(filter(None, names))) for names in parts], note


def _quoted(label: str) -> list[str]:
    """The quoted words of a list that numpy wrote, without commas: ``'rust' 'miner'``."""
    return re.findall(r"'([^']*)'", label) if re.fullmatch(r"'[^']*'(?:\s+'[^']*')+", label) else []


def _separates(labels: Sequence[str], mark: str) -> bool:
    """Whether a mark stands between classes: what it separates stands alone elsewhere as well.

    A comma may be part of a name, as in ``Pepper, bell``: then its parts stand nowhere else.
    """
    cells = {label for label in labels if label}
    together = [cell for cell in cells if len(list(filter(str.strip, cell.split(mark)))) > 1]
    if not together:
        return False
    alone = {cell.strip() for cell in cells if mark not in cell}
    of_cells = [{part.strip() for part in cell.split(mark)} - {""} for cell in together]
    times = Counter(part for parts in of_cells for part in parts)
    known = [p for p in times if p in alone or (times[p] > 1 and mark not in _LOOSE)]
    if mark in _LOOSE:
        return len(known) == len(times)
    return len(known) >= 0.8 * len(times) and (bool(alone & set(times)) or len(together) > 1)


def _made_of_others(labels: Sequence[str]) -> list[str]:
    """Class names that are other class names with a mark between them."""
    names = {label for label in labels if label}
    return sorted(
        name
        for name in names
        for mark in ("|", ",", ";", " ")
        if mark in name and {part.strip() for part in name.split(mark)} <= names - {name}
    )


def _is_list(label: str) -> bool:
    """Whether a cell is a list as Python or JSON writes it."""
    return len(label) > 1 and label[0] + label[-1] in {"[]", "()", "{}"}


def _unlisted(label: str) -> str:
    """The one class of a cell such as ``['rust']``; any other cell as it is."""
    if not _is_list(label) or label[0] == "(":
        return label
    return _bare(label[1:-1]) if "," not in label else label


def _bare(part: str) -> str:
    """A class without spaces and quotes around it."""
    return part.strip().strip("'\"").strip()
