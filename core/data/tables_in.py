"""Read a table that somebody made: CSV of any dialect, TSV, Parquet, Excel, as text cells.

The one reader of tables: manifests, predictions made elsewhere, label maps, rates,
confusion tables and the tables of published sets all come through here, so that a
semicolon, a decimal comma or a missing header means the same everywhere. Cells stay
text: ``0007`` keeps its zeros, ``1.0`` is ``1``. What was assumed is said in ``notes``.

This module knows neither images nor classes.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.base.parsing import parse_json
from core.base.regular_files import open_regular, read_regular
from core.base.words import without_marks
from core.data.scan import readable
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

__all__ = [
    "EMPTY",
    "SUFFIXES",
    "Cells",
    "is_table",
    "is_western",
    "number",
    "plain",
    "read_cells",
    "read_frame",
    "whole_number",
]

# Names of tables; others are read only where the user names the file.
SUFFIXES = (
    *(".csv", ".tsv", ".tab", ".csv.gz", ".tsv.gz"),
    *(".parquet", ".pq", ".feather", ".xlsx", ".xlsm", ".jsonl", ".ndjson", ".manifest"),
)
_OTHER_SHEETS = {".xls": "an old Excel file", ".ods": "an OpenDocument sheet", ".xlsb": "a binary"}

# What programs write where a cell holds nothing. "none" is a word, and may be a class.
EMPTY = frozenset({"", "nan", "NaN", "<NA>", "NA", "N/A", "n/a", "#N/A", "null", "NULL", "NaT"})

_COLUMNAR = frozenset({".parquet", ".pq", ".feather"})
_JSON_LINES = frozenset({".jsonl", ".ndjson", ".manifest"})
# What a file begins with that is no table whatever its name says, and what to do about it.
_NO_TABLE = {
    b"version https://git-lfs": "it is a pointer of Git LFS; fetch the file itself by git lfs pull",
    b"<!doctype html": "it is a web page, such as one for signing in; download the table again",
    b"<html": "it is a web page, such as one for signing in; download the table again",
    b"\xd0\xcf\x11\xe0": "it is an old Excel file, or one that a password protects",
    b"%pdf": "it is a PDF",
    b"{\rtf": "it is a text document (RTF)",
}
_SEPARATORS = ",;\t|"
_IMAGE = re.compile(r"(?i)\.(jpe?g|jpe|png|tiff?|bmp|webp|dcm|dicom|p[gpbn]m|gif|heic|avif)$")
# A word that a heading of a table of images holds.
_HEADING = re.compile(
    r"(?i)(.*[ _-])?(path|file|filename|file_name|filepath|image|img|images|picture|photo|id|label"
    r"|labels|class|split|datei|dateiname|bild|foto|imagen|archivo|fichier|etiqueta|klasse|score"
    r"|prediction|group|patient)([ _-].*)?|(image|file|img|class|label)[a-z_]*(id|name|path)"
)
_SPLIT = re.compile(r"(?i)train(ing)?|val(id|idation)?|dev|test(ing)?|holdout")
_LARGEST = 2**30
# Beside accented letters: what Western European programs write beyond ASCII.
_WESTERN = frozenset(
    "\u20ac\u2013\u2014\u2018\u2019\u201a\u201c\u201d\u201e\u2026\u2022\u00a0\u00a7\u00b0"
    "\u00b2\u00b3\u00b5\u00b7\u00ab\u00bb\u00a9\u00ae\u00bd\u00bc\u00ba\u00aa\u00b1\u00df"
)


@dataclass
class Cells:
    """A table as text.

    Attributes:
        file: where it was read from.
        columns: headings, trimmed, in order.
        rows: cells, trimmed, as long as ``columns`` each; empty where nothing is known.
        notes: what was assumed of its form, in sentences.
        repeated: headings that stood there twice with other cells below.
    """

    file: Path
    columns: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)
    repeated: tuple[str, ...] = ()


def read_cells(
    file: Path, *, columns: Sequence[str] = (), strict: bool = True, any_row: bool = False
) -> Cells:
    """The cells of a table as text.

    Args:
        file: CSV, TSV or other text with a separator, packed by gzip or not, Parquet, Feather,
            Excel (.xlsx), JSON lines.
        columns: headings of a text table that has none; empty reads them from it.
        strict: refuse a row that has more cells than there are headings; else cut it.
        any_row: a table without rows is one, too.

    Raises:
        ManifestError: it cannot be opened, is no table, or has no rows.
    """
    shown, suffix = readable(str(file)), file.suffix.lower()
    if suffix in _OTHER_SHEETS:
        msg = (
            f"{shown}: is {_OTHER_SHEETS[suffix]}, which is not read. Save it as .xlsx or as CSV "
            "in UTF-8."
        )
        raise ManifestError(msg)
    try:
        if file.stat().st_size > _LARGEST and suffix not in _COLUMNAR:
            msg = "it is larger than 1 GB"
            raise ValueError(msg)  # noqa: TRY301  (told with the other ways to be no table)
        if message := _no_table(file):
            raise ValueError(message)  # noqa: TRY301
        if suffix in _COLUMNAR:
            cells = _from_columns(file)
        elif suffix in {".xlsx", ".xlsm"}:
            cells = _from_excel(file)
        elif suffix in _JSON_LINES:
            cells = _from_json_lines(file)
        else:
            cells = _from_text(file, columns, strict=strict)
    except OSError as error:
        words = (error.strerror or str(error)).lower()
        msg = f"{shown}: it cannot be opened ({words}). Check the path and its permissions."
        raise ManifestError(msg) from error
    except Exception as error:
        # pandas, pyarrow and openpyxl raise types of their own, ValueError, KeyError, zip errors.
        words = str(error).splitlines()[0] if str(error) else type(error).__name__
        msg = f"{shown}: it cannot be read as a table ({words}). Save it as CSV in UTF-8."
        raise ManifestError(msg) from error
    if not cells.rows and not any_row:
        msg = f"{shown}: it has no rows. Each row should name an image."
        raise ManifestError(msg)
    return cells


def _no_table(file: Path) -> str:
    """What a file is that is no table whatever its name says; empty where nothing tells."""
    with open_regular(file) as stream:
        head = stream.read(64).removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return next((message for begin, message in _NO_TABLE.items() if head.startswith(begin)), "")


def is_table(file: Path) -> bool:
    """Whether a file is called like a table."""
    return file.name.lower().endswith(SUFFIXES)


def read_frame(cells: Cells) -> pd.DataFrame:
    """The cells as a frame of text; a heading that stands there twice gets a number."""
    import pandas as pd  # noqa: PLC0415  (0.5 s to import)

    return pd.DataFrame(cells.rows, columns=pd.Index(cells.columns), dtype="str")


def number(text: str) -> float | None:
    """A cell as a number, whichever mark stands for the decimals; None if it is none.

    >>> number("0.25"), number("0,25"), number("1e-3"), number("25 %"), number("high"), number("")
    (0.25, 0.25, 0.001, 0.25, None, None)
    """
    text = text.strip().replace("\u2212", "-")
    if re.fullmatch(r"\S+\s*%", text):
        share = number(text.rstrip("% \u00a0"))
        return None if share is None else share / 100
    if re.fullmatch(r"[+-]?\d*,\d+(e[+-]?\d+)?", text, re.IGNORECASE):
        text = text.replace(",", ".")
    try:
        return float(text)
    except ValueError:
        return None


def whole_number(text: str) -> str:
    """A cell without the decimal point that pandas and spreadsheets add to whole numbers.

    >>> whole_number("2.0"), whole_number("2,0"), whole_number("01"), whole_number("2.5")
    ('2', '2', '01', '2.5')
    """
    return re.sub(r"^([+-]?\d+)[.,]0+$", r"\1", text.strip())


def plain(name: object) -> str:
    """A heading without case, spaces and dashes.

    >>> plain(" Risk of macular edema "), plain("breast density") == plain("breast_density")
    ('risk_of_macular_edema', True)
    """
    return re.sub(r"[\s_-]+", "_", str(name).strip().casefold())


def _from_text(file: Path, names: Sequence[str], *, strict: bool) -> Cells:
    """A text table of any separator and encoding."""
    notes: list[str] = []
    text, encoding = _decoded(_bytes_of(file))
    if encoding == "cp1252":
        notes.append(f"{file.name} is not in UTF-8; it was read as Windows (cp1252).")
    lines = text.splitlines(keepends=True)
    message = ""
    if lines and (found := re.fullmatch(r"\s*sep=(.)\s*", lines[0], re.IGNORECASE)):
        message, lines = found[1], lines[1:]
    lines, comments = _without_comments(lines)
    if not lines:
        msg = "it is empty"
        raise ValueError(msg)
    mark = message or _separator(file, lines)
    if mark == " ":
        rows = [line.split() for line in lines]
        notes.append(f"{file.name} is read with spaces between its columns.")
    else:
        reader = csv.reader(io.StringIO("".join(lines), newline=""), delimiter=mark)
        rows = [[cell.strip() for cell in row] for row in _limited(reader)]
    rows = _unquoted([row for row in rows if any(row)])
    titles = _titles(rows) if not names else 0
    if titles:
        notes.append(f"{file.name}: the first {titles} line(s) stand above the headings.")
        rows = rows[titles:]
    if comments and rows:
        # A heading may begin with the mark of a comment, as in "#path,label".
        last = comments[-1].strip().lstrip("#").strip()
        heading = last.split() if mark == " " else next(csv.reader([last], delimiter=mark), [])
        if len(heading) == len(rows[0]) > 1 and _is_data(rows[0]):
            rows.insert(0, [cell.strip() for cell in heading])
    if not rows:
        msg = "it is empty"
        raise ValueError(msg)
    if names:
        heading = list(names)
    elif not _is_data(rows[0]):
        heading, rows = rows[0], rows[1:]
    else:
        heading = _headings(rows)
        notes.append(
            f"{file.name} has no row of headings: its first row names a file. Its columns are "
            f"taken for {', '.join(heading)}."
        )
    return _squared(file, heading, rows, notes, strict=strict)


def _unquoted(rows: list[list[str]]) -> list[list[str]]:
    """Rows without single quotes, where every cell of the first stands in them."""
    if rows and all(len(cell) > 1 and cell[0] == cell[-1] == "'" for cell in rows[0]):
        return [[c[1:-1] if len(c) > 1 and c[0] == c[-1] == "'" else c for c in r] for r in rows]
    return rows


def _titles(rows: Sequence[Sequence[str]]) -> int:
    """How many rows of titles and remarks stand above the headings of a table."""
    n_cells = [sum(bool(cell) for cell in row) for row in rows]
    width = Counter(n_cells[:200]).most_common(1)[0][0] if rows else 0
    if width < 2 or (rows and _is_data(rows[0])):
        return 0

    def is_heading(row: Sequence[str]) -> bool:
        cells = [cell for cell in row if cell]
        return len(cells) >= max(2, width - 1) and any(map(_HEADING.fullmatch, cells))

    if is_heading(rows[0]):
        return 0
    for i, row in enumerate(rows[:15]):
        if is_heading(row) and not any(map(_is_data, rows[:i])):
            return i
    # Without a known heading: titles fill one cell.
    n = next((i for i, cells in enumerate(n_cells) if cells > 1), 0)
    return n if n < len(rows) - 1 else 0


def _limited(reader: Any) -> Any:
    """Rows of a reader; a cell of more than 128 kB is the sign of a quote that never ends."""
    try:
        yield from reader
    except csv.Error as error:
        msg = f"a quote is opened and not closed, or a cell is too long ({error})"
        raise ValueError(msg) from error


def _squared(
    file: Path, heading: list[str], rows: list[list[str]], notes: list[str], *, strict: bool
) -> Cells:
    """Rows as long as the heading; columns without a name that hold nothing are dropped."""
    width = len(heading)
    for i, row in enumerate(rows):
        while len(row) > width and not row[-1]:
            row.pop()
        if len(row) > width and strict:
            msg = (
                f"row {i + 2} has {len(row)} cells, more cells than the {width} headings; a name "
                "that holds the separator needs quotes"
            )
            raise ValueError(msg)
        rows[i] = [_cell(cell) for cell in row[:width]] + [""] * (width - len(row))
    kept, names, repeated = _columns(heading, rows)
    return Cells(
        file,
        names,
        [[row[k] for k in kept] for row in rows if any(row)],
        notes,
        repeated=tuple(repeated),
    )


def _columns(
    heading: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[list[int], list[str], list[str]]:
    """Which columns are kept, their names, and names that stand for two different columns."""
    kept: list[int] = []
    names: list[str] = []
    repeated: list[str] = []
    first: dict[str, int] = {}
    for k, raw in enumerate(heading):
        name = raw.strip().strip("\ufeff")
        if not name and not any(row[k] for row in rows):
            continue
        name = name or f"column {k + 1}"
        if name in first:
            if all(row[k] == row[first[name]] for row in rows):
                continue
            repeated.append(name)
            name = f"{name}.{sum(n.split('.')[0] == name for n in names)}"
        first.setdefault(name, k)
        kept.append(k)
        names.append(name)
    return kept, names, repeated


def _cell(text: str) -> str:
    """One cell: trimmed, and empty where a program wrote that nothing is known."""
    text = without_marks(text).strip()
    return "" if text in EMPTY else text


def _decoded(data: bytes) -> tuple[str, str]:
    """The text of a file and its encoding."""
    if data[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return data.decode("utf-16"), "utf-16"
    head = data[:4096]
    for encoding, zeros in (("utf-16-le", head[1::2]), ("utf-16-be", head[::2])):
        # Without a mark at its beginning: every second byte of Latin text is zero.
        if len(zeros) > 3 and zeros.count(0) > 0.8 * len(zeros):
            return data.decode(encoding), encoding
    if b"\0" in head:
        msg = "it holds zero bytes, so it is no text"
        raise ValueError(msg)
    try:
        return data.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    if not is_western(text):
        beyond = [c for c in text if ord(c) > 127]
        first = next((c for c in beyond if not _is_of_the_west(c)), beyond[0])
        msg = (
            "it is neither UTF-8 nor Western European text, and its encoding is not written in it "
            f"(first: {first!r})"
        )
        raise ValueError(msg)
    return text, "cp1252"


def is_western(text: str) -> bool:
    """Whether text that was read as Windows (cp1252) is Western European, as far as it shows.

    >>> is_western("gr\u00f6\u00dfer"), is_western("\u00f0\u00e6\u00e0\u00e2")
    (True, False)
    """
    beyond = [c for c in text if ord(c) > 127]
    # Text of another alphabet has runs of such characters, and few Latin letters between them.
    runs = sum(map(len, re.findall(r"[^\x00-\x7f]{3,}", text)))
    return all(map(_is_of_the_west, beyond)) and 2 * runs <= len(beyond)


def _is_of_the_west(character: str) -> bool:
    return "\u00c0" <= character <= "\u00ff" or character in _WESTERN


def _without_comments(lines: Sequence[str]) -> tuple[list[str], list[str]]:
    """Lines without those that begin with ``#`` before the table, and these."""
    comments = []
    rest = list(lines)
    while rest and (rest[0].lstrip().startswith("#") or not rest[0].strip()):
        line = rest.pop(0)
        if line.strip():
            comments.append(line)
    # Further down a line is a comment only if it is one cell: a file may be called #1.jpg.
    return [x for x in rest if not re.match(r"\s*#[^,;\t|]*$", x)], comments


def _separator(file: Path, lines: Sequence[str]) -> str:
    """The mark that splits most lines into the same number of cells, the most of them."""
    sample = [line for line in lines[:200] if line.strip(" ,;\t|\r\n")][:50]
    best, best_key = ",", (0.0, 0)
    for mark in _SEPARATORS:
        rows = csv.reader(io.StringIO("".join(sample), newline=""), delimiter=mark)
        counts = [len(row) for row in _limited(rows) if row]
        if not counts or counts[0] < 2:
            continue
        alike = sum(n == counts[0] or n == 1 for n in counts) / len(counts)
        key = (1.0 if alike >= 0.9 else alike, counts[0])
        if key > best_key:
            best, best_key = mark, key
    if best_key[1]:
        return best
    widths = {len(line.split()) for line in sample}
    is_list = len(widths) == 1 and max(widths) in {2, 3} and len(sample) > 1
    names_files = any(_IMAGE.search(word) for line in sample[:2] for word in line.split()[:1])
    return " " if is_list and (names_files or file.suffix.lower() == ".txt") else ","


def _is_data(row: Sequence[str]) -> bool:
    """Whether a first row names an image file, so that it is no row of headings."""
    return any(_IMAGE.search(cell) for cell in row)


def _headings(rows: Sequence[Sequence[str]]) -> list[str]:
    """Names for the columns of a table without headings."""
    width = max(len(row) for row in rows)
    columns = [[row[k] if k < len(row) else "" for row in rows] for k in range(width)]
    share = [sum(bool(_IMAGE.search(c)) for c in column) for column in columns]
    path = share.index(max(share))
    split = next(
        (k for k, c in enumerate(columns) if k != path and all(_SPLIT.fullmatch(x) for x in c)), -1
    )
    rest = [k for k in range(width) if k not in {path, split}]
    # What differs in every row numbers the rows and is no class.
    is_class = len(rest) == 1 and len(set(columns[rest[0]])) < max(3, len(rows))
    names = {path: "path", split: "split"} | ({rest[0]: "label"} if is_class else {})
    return [names.get(k, f"column {k + 1}") for k in range(width)]


def _from_columns(file: Path) -> Cells:
    """A Parquet or Feather file; a cell that holds a list becomes its parts, joined by ``|``."""
    import pandas as pd  # noqa: PLC0415  (0.5 s to import)

    read = pd.read_feather if file.suffix.lower() == ".feather" else pd.read_parquet
    # By its bytes: its name need not be UTF-8, which Arrow asks of a path.
    table = read(io.BytesIO(read_regular(file)))
    if not isinstance(table.index, pd.RangeIndex) and any(table.index.names):
        table = table.reset_index()
    columns = [[_cell(_plain(value)) for value in table.iloc[:, k]] for k in range(table.shape[1])]
    rows = [list(row) for row in zip(*columns, strict=True)] if columns else []
    return _squared(file, [str(name) for name in table.columns], rows, [], strict=True)


def _bytes_of(file: Path) -> bytes:
    """All bytes of a regular file, unpacked where it is packed by gzip."""
    with open_regular(file) as stream:
        if file.suffix.lower() != ".gz":
            return stream.read()
        with gzip.GzipFile(fileobj=stream) as unpacked:
            text = unpacked.read(_LARGEST + 1)
    if len(text) > _LARGEST:
        msg = "it unpacks to more than 1 GB"
        raise ValueError(msg)
    return text


def _from_json_lines(file: Path) -> Cells:
    """One JSON object a line, as hubs of data sets publish ``metadata.jsonl``."""
    text, _ = _decoded(_bytes_of(file))
    records = [parse_json(line) for line in text.splitlines() if line.strip()]
    if not all(isinstance(record, dict) for record in records):
        msg = "a line is no object of names and values"
        raise ValueError(msg)
    heading = list(dict.fromkeys(name for record in records for name in record))
    rows = [[_plain(record.get(name)) for name in heading] for record in records]
    return _squared(file, heading, rows, [], strict=True)


def _from_excel(file: Path) -> Cells:
    """The first sheet of a workbook that holds something."""
    import warnings  # noqa: PLC0415
    import zipfile  # noqa: PLC0415

    from openpyxl import load_workbook  # noqa: PLC0415  (0.3 s to import)

    with open_regular(file) as stream, zipfile.ZipFile(stream) as packed:
        if sum(entry.file_size for entry in packed.infolist()) > _LARGEST:
            msg = "it unpacks to more than 1 GB"
            raise ValueError(msg)
    with warnings.catch_warnings():
        # Of styles and validation rules, which have no bearing on cells.
        warnings.simplefilter("ignore")
        book = load_workbook(file, data_only=True)
    sheets = []
    for sheet in book.worksheets:
        rows = [[_excel_cell(cell) for cell in row] for row in sheet.iter_rows()]
        rows = [row for row in rows if any(row)]
        if rows and sheet.sheet_state == "visible":
            sheets.append((sheet.title, rows[_titles(rows) :]))
    if not sheets:
        msg = "no sheet of it holds a cell"
        raise ValueError(msg)
    notes: list[str] = []
    rows = _one_of(file, sheets, notes)
    if _is_data(rows[0]):
        heading = _headings(rows)
        notes.append(f"{file.name} has no row of headings; taken for {', '.join(heading)}.")
    else:
        heading, rows = rows[0], rows[1:]
    return _squared(file, heading, rows, notes, strict=False)


def _one_of(
    file: Path, sheets: Sequence[tuple[str, list[list[str]]]], notes: list[str]
) -> list[list[str]]:
    """The rows of the first sheet that lists files, else of the longest, with those of its like.

    Sheets with the same headings are parts of one table; where each is called like a split
    and no column says it, the name becomes the column ``split``.
    """
    titled = [(title, rows) for title, rows in sheets if len(rows) > 1 and len(rows[0]) > 1]
    listing = [entry for entry in titled if any(_is_data(row) for row in entry[1][1:20])]
    first = next(iter(listing), max(titled or sheets, key=lambda entry: len(entry[1])))
    same = [entry for entry in titled if entry[1][0] == first[1][0]] or [first]
    others = [title for title, _ in sheets if title not in {name for name, _ in same}]
    if others:
        notes.append(f"Of {file.name} the sheet {first[0]} is read, and not {', '.join(others)}.")
    if len(same) == 1:
        return first[1]
    notes.append(
        f"The sheets {', '.join(title for title, _ in same)} of {file.name} have the same headings "
        "and are read as one table."
    )
    heading = first[1][0]
    names_split = all(_SPLIT.fullmatch(title.strip()) for title, _ in same)
    if names_split and "split" not in {cell.casefold() for cell in heading}:
        return [
            [*heading, "split"],
            *([*row, title.strip()] for title, rows in same for row in rows[1:]),
        ]
    return [heading, *(row for _, rows in same for row in rows[1:])]


def _excel_cell(cell: Any) -> str:
    """A cell as it is shown: a number formatted as 0000 keeps its zeros."""
    value = cell.value
    if isinstance(value, int | float) and not isinstance(value, bool):
        pattern = str(cell.number_format or "")
        if re.fullmatch(r"0{2,}", pattern) and float(value).is_integer():
            return str(int(value)).zfill(len(pattern))
    return _plain(value)


def _plain(value: Any) -> str:
    """A value of any type as a cell of text."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        # Hubs write an image as {"path": ..., "bytes": ...}.
        value = value.get("path") or value.get("file_name")
    if isinstance(value, list | tuple | set):
        return "|".join(filter(None, (_plain(part) for part in value))) or "|"
    if value is None or (isinstance(value, float) and value != value):  # noqa: PLR0124  (NaN)
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return str(value).strip()
