"""The journal of a prediction: finished blocks, each synced to disk before the next begins.

A killed job goes on behind the last whole block and ends with the same bytes.
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

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from core.prediction.scorer import Scorer

__all__ = ["JOURNAL", "blocks_of", "read_journal", "stream_through", "write_journal"]

JOURNAL = "journal.jsonl"


def stream_through(
    journal: Path,
    rows: Sequence[dict[str, Any]],
    scorer: Scorer,
    *,
    extent: tuple[str, str] = ("", "images"),
    share: tuple[int, int] | None = None,
) -> pd.DataFrame:
    """Score what the journal does not hold yet, and return all of its rows in order.

    Args:
        journal: finished blocks.
        rows: of the manifest, in the order they are read.
        scorer: of the run.
        extent: see ``Manifest.extent``.
        share: the blocks to score, from and up to; default all.
    """
    first, last = share or (0, blocks_of(len(rows), scorer.block))
    done = first + len(read_journal(journal, first=first))
    column, unit = extent
    sizes = [float(row[column] or 0) if column else 1.0 for row in rows]
    start, finished = time.monotonic(), 0.0
    whole = sum(sizes[first * scorer.block : last * scorer.block])
    with track("predicting", whole, unit=unit) as advance, journal.open("ab") as file:
        advance(sum(sizes[first * scorer.block : done * scorer.block]))
        for number, table in scorer.blocks(rows[: last * scorer.block], start=done):
            here = sum(sizes[number * scorer.block : number * scorer.block + len(table)])
            text = table.to_json(orient="table", index=False, double_precision=15)
            file.write(_line(number, text))
            file.flush()
            os.fsync(file.fileno())
            advance(here)
            finished += here
    minutes = (time.monotonic() - start) / 60
    if column and finished:
        words = (amount(finished), unit, minutes, amount(finished / minutes), unit)
        log.info("predicted %s %s in %.1f min, %s %s a minute", *words)
    frames = [
        pd.read_json(io.StringIO(text), orient="table", precise_float=True)
        for text in read_journal(journal, first=first)
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def blocks_of(n_rows: int, block: int) -> int:
    """How many blocks hold so many rows."""
    return -(-n_rows // block)


def write_journal(journal: Path, blocks: Iterable[tuple[int, str]]) -> None:
    """Write finished blocks, their numbers and texts in order, as a whole."""
    write_bytes(journal, b"".join(_line(number, text) for number, text in blocks))


def _line(number: int, text: str) -> bytes:
    """A block as it stands in a journal."""
    return json.dumps([number, zlib.crc32(text.encode()), text]).encode() + b"\n"


def read_journal(journal: Path, *, first: int = 0, cut: bool = True) -> list[str]:
    """The whole blocks of a journal, in order, up to a torn or damaged tail.

    Args:
        journal: the file; may be absent.
        first: the number of its first block.
        cut: whether the tail is cut off, to go on behind the last whole block.
    """
    if not journal.is_file():
        return []
    texts: list[str] = []
    good = 0
    for raw in journal.read_bytes().split(b"\n")[:-1]:
        try:
            number, checksum, text = json.loads(raw)
        except ValueError:
            break
        if number != first + len(texts) or zlib.crc32(text.encode()) != checksum:
            break
        texts.append(text)
        good += len(raw) + 1
    if cut and good != journal.stat().st_size:
        os.truncate(journal, good)
    return texts
