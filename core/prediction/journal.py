"""The journal of a prediction: finished blocks, each synced to disk when it is scored.

A killed job goes on with the blocks that are missing and ends with the same bytes.
Blocks may stand in any order, as several machines finish them.
"""

from __future__ import annotations

import io
import json
import os
import time
import zlib
from typing import TYPE_CHECKING, Any

import pandas as pd

from core.base.outputs import write_bytes
from core.base.progress import amount, log, track
from core.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

__all__ = [
    "JOURNAL",
    "block_text",
    "blocks_of",
    "read_journal",
    "stream_through",
    "write_journal",
]

JOURNAL = "journal.jsonl"


def stream_through(
    journal: Path,
    rows: Sequence[dict[str, Any]],
    score: Callable[[Sequence[int]], Iterator[tuple[int, str]]],
    *,
    block: int,
    extent: tuple[str, str] = ("", "images"),
    share: tuple[int, int] | None = None,
) -> pd.DataFrame:
    """Score what the journal does not hold yet, and return all of its rows in order.

    Args:
        journal: finished blocks.
        rows: of the manifest, in the order they are read.
        score: numbers of blocks -> number and text of each, in any order.
        block: rows of a block.
        extent: see ``Manifest.extent``.
        share: the blocks to score, from and up to; default all.

    Raises:
        RunError: the journal, or what scores, holds a block twice or one that was not asked for.
    """
    wanted = range(*(share or (0, blocks_of(len(rows), block))))
    done = set(read_journal(journal, wanted))
    column, unit = extent
    sizes = [float(row[column] or 0) if column else 1.0 for row in rows]
    of_block = {n: sum(sizes[n * block : (n + 1) * block]) for n in wanted}
    start, finished = time.monotonic(), 0.0
    with track("predicting", sum(of_block.values()), unit=unit) as advance:
        advance(sum(of_block[number] for number in done))
        with journal.open("ab") as file:
            for number, text in score([n for n in wanted if n not in done]):
                if number in done or number not in of_block:
                    raise RunError(_TWICE.format(journal, number))
                file.write(_line(number, text))
                file.flush()
                os.fsync(file.fileno())
                done.add(number)
                advance(of_block[number])
                finished += of_block[number]
    minutes = (time.monotonic() - start) / 60
    if column and finished:
        words = (amount(finished), unit, minutes, amount(finished / minutes), unit)
        log.info("predicted %s %s in %.1f min, %s %s a minute", *words)
    frames = [
        pd.read_json(io.StringIO(text), orient="table", precise_float=True)
        for _, text in sorted(read_journal(journal, wanted).items())
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


_TWICE = (
    "{}: block {} of the inputs was scored twice, or was not asked for, and its inputs would be "
    "counted twice. Remove that directory and predict anew."
)


def blocks_of(n_rows: int, block: int) -> int:
    """How many blocks hold so many rows."""
    return -(-n_rows // block)


def block_text(table: pd.DataFrame) -> str:
    """Prediction rows of a block as a journal holds them; numbers come back to the last bit."""
    return str(table.to_json(orient="table", index=False, double_precision=15))


def write_journal(journal: Path, blocks: Iterable[tuple[int, str]]) -> None:
    """Write finished blocks, their numbers and texts in order, as a whole."""
    write_bytes(journal, b"".join(_line(number, text) for number, text in blocks))


def _line(number: int, text: str) -> bytes:
    """A block as it stands in a journal."""
    return json.dumps([number, zlib.crc32(text.encode()), text]).encode() + b"\n"


def read_journal(journal: Path, wanted: range, *, cut: bool = True) -> dict[int, str]:
    """Number -> text of the whole blocks of a journal, up to a torn or damaged tail.

    Args:
        journal: the file; may be absent.
        wanted: numbers that it may hold; another is damage.
        cut: whether the tail is cut off, to go on behind the last whole block.

    Raises:
        RunError: it holds a block twice.
    """
    if not journal.is_file():
        return {}
    texts: dict[int, str] = {}
    good = 0
    for raw in journal.read_bytes().split(b"\n")[:-1]:
        try:
            number, checksum, text = json.loads(raw)
        except ValueError:
            break
        if number not in wanted or zlib.crc32(text.encode()) != checksum:
            break
        if number in texts:
            raise RunError(_TWICE.format(journal, number))
        texts[number] = text
        good += len(raw) + 1
    if cut and good != journal.stat().st_size:
        os.truncate(journal, good)
    return texts
