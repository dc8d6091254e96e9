"""What a label counts as: ``--label-map RAW=CLASS,...`` or a table of raw labels and classes.

One meaning for every input: class folders, tables, polygons, published sets and
predictions made elsewhere. An empty class leaves the images out.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from core.data.folder_words import same_name
from core.data.scan import readable
from core.data.tables_in import is_table, read_cells
from core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from core.app import Task

__all__ = ["in_words", "label_map", "mapped", "meet_classes"]


def label_map(text: object) -> dict[str, str]:
    """``--label-map`` as raw label (without case) -> class; empty classes leave images out.

    Args:
        text: ``RAW=CLASS``, several separated by commas or semicolons (a comma inside quotes
            belongs to the name), or the path of a table with two columns.

    Raises:
        ConfigError: a part is not RAW=CLASS.

    >>> label_map("BI-RADS 4=yes, BI-RADS 3=")
    {'bi-rads 4': 'yes', 'bi-rads 3': ''}
    >>> label_map("'Pepper, bell'=pepper, 2=rust")
    {'pepper, bell': 'pepper', '2': 'rust'}
    """
    words = str(text or "").strip()
    if words and "=" not in words and is_table(Path(words)):
        return _from_table(Path(words))
    chosen: dict[str, str] = {}
    for part in _pieces(words):
        raw, equals, name = part.rpartition("=")
        if not part.strip():
            continue
        raw, name = (side.strip().strip("'\"").strip() for side in (raw, name))
        if not equals or not raw:
            msg = (
                f"--label-map {text}: {part.strip()!r} is not RAW=CLASS. Write, for example, "
                "--label-map 'BI-RADS 4=yes,BI-RADS 3='."
            )
            raise ConfigError(msg)
        chosen[raw.casefold()] = name
    return chosen


def in_words(text: object) -> str:
    """A label map as ``RAW=CLASS``: a table by what it says, so that it means the same elsewhere.

    The path stays where a label holds what cannot be written so.

    >>> in_words("b=yes, 'a, c'=no")
    "b=yes, 'a, c'=no"
    """
    words = str(text or "")
    if "=" in words:
        return words
    chosen = label_map(words)
    written = ",".join(f"'{raw}'={name}" for raw, name in sorted(chosen.items()))
    with suppress(ConfigError):
        if label_map(written) == chosen:
            return written
    return words


def mapped(label: str, chosen: Mapping[str, str], task: Task) -> str:
    """A label as the user wants it to count; empty leaves the image out.

    Of several classes in one label each is looked up.
    """
    if not chosen or not label:
        return label
    whole = chosen.get(label.casefold())
    if whole is not None or task.kind != "multilabel":
        return label if whole is None else whole
    mark = task.label_separator
    parts = [chosen.get(part.casefold(), part) for part in label.split(mark)]
    return mark.join(dict.fromkeys(filter(None, parts))) or mark


def meet_classes(labels: Iterable[str], task: Task) -> tuple[dict[str, str], str]:
    """Labels that are a known class but for case, spaces or zeros, and a sentence that says so.

    A label is met with a class only if exactly one is the same in this sense.
    """
    of: dict[str, list[str]] = {}
    for name in task.classes:
        of.setdefault(same_name(name), []).append(name)
    found: dict[str, str] = {}
    for label in labels:
        for part in label.split(task.label_separator) if task.kind == "multilabel" else [label]:
            near = of.get(same_name(part), [])
            if part and part not in task.classes and len(near) == 1:
                found[part] = near[0]
    message = ", ".join(f"{raw!r} as {name!r}" for raw, name in sorted(found.items())[:4])
    more = ", ..." if len(found) > 4 else ""
    return found, f"Labels are read as the classes known: {message}{more}." if found else ""


def _pieces(text: str) -> Sequence[str]:
    """Parts between commas that are not in quotes; a comma before a part without = is its own."""
    pieces: list[str] = []
    quote = ""
    current = ""
    for character in text:
        if character in "'\"" and quote in {"", character} and (quote or not current.strip()):
            quote = "" if quote else character
        if character in ",;" and not quote:
            pieces.append(current)
            current = ""
        else:
            current += character
    return [*pieces, current]


def _from_table(file: Path) -> dict[str, str]:
    """A label map from the first two columns of a table."""
    cells = read_cells(file)
    if len(cells.columns) < 2:
        msg = (
            f"--label-map {readable(str(file))}: has one column. It needs two: the label as it is "
            "written, and the class it counts as."
        )
        raise ConfigError(msg)
    return {row[0].casefold(): row[1] for row in cells.rows if row[0]}
