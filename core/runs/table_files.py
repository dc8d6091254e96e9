"""Tables and JSON of a directory on disk: written so that both people and programs read them.

What reports are made of is left to ``core.runs.results``: a prediction needs its tables, and
not the modules that draw a report.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pandas as pd

from core.base import parsing
from core.base.outputs import csv_text, write_bytes, write_text
from core.base.tables import as_text
from core.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["read_json", "read_table", "write_table"]


def write_table(stem: Path, table: pd.DataFrame) -> None:
    """A table as Parquet, for programs, and as CSV, for people.

    Where no class was decided (a skipped or failed image, a row without any of several
    labels) the name is the empty string in both, never a missing value, which pandas reads
    back as a number.
    """
    named = [name for name in ("predicted", "decision") if name in table]
    table = table.assign(**{name: as_text(table[name]) for name in named})
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    write_bytes(stem.with_suffix(".parquet"), buffer.getvalue())
    write_text(stem.with_suffix(".csv"), csv_text(table))


def read_table(stem: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """A table written by ``write_table``; some of its columns, or all.

    Raises:
        RunError: there is none, or it is damaged.
    """
    if not stem.with_suffix(".parquet").is_file():
        msg = (
            f"{stem.parent}: holds no {stem.name}.parquet; only the files that prediction needs "
            "were copied. Copy the whole run from where it was trained."
        )
        raise RunError(msg)
    try:
        # By its bytes: a folder above it need not be UTF-8, which Arrow asks of a path.
        data = io.BytesIO(stem.with_suffix(".parquet").read_bytes())
        return pd.read_parquet(data, columns=None if columns is None else list(columns))
    # What a damaged file makes the reader raise is not documented, and much.
    except Exception as error:
        msg = (
            f"{stem.with_suffix('.parquet')}: is damaged ({type(error).__name__}). Copy it again "
            "from where it was made."
        )
        raise RunError(msg) from error


def read_json(path: Path) -> dict[str, Any]:
    """Content of a file that may be absent.

    Raises:
        RunError: it is there and damaged.
    """
    if not path.is_file():
        return {}
    try:
        return parsing.read_json(path)
    except parsing.ParsingError as error:
        msg = f"{path}: {error}. Copy the directory again from where it was made."
        raise RunError(msg) from error
