"""Score manifest rows with the networks of a run, in blocks of a fixed size.

Images are read and prepared by threads while the block before is scored, and
never more than one block ahead, so memory stays flat whatever the number of inputs.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pandas as pd

from core.base.machine import readers
from core.base.volumes import LEAST_SLICES, visible
from core.data.prepared import Preparation, prepare_one, resize_to, store_size
from core.evaluation.copies import CONTENT, PICTURE, compares_pictures, written
from core.prediction.exported import open_members
from core.prediction.journal import block_text, blocks_of
from core.runs.predictions import Scoring, predictions_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from core.prediction.engines import EngineResult
    from core.runs.run import Run

__all__ = ["Forwarded", "Scorer", "scaled", "shown", "to_source"]


@dataclass(frozen=True)
class Forwarded:
    """What the networks say of one block.

    Attributes:
        prepared: what reading and preparing gave for each row, pixels left out.
        good: (M,) places of the rows that have pixels.
        results: one per member, (M, ...) each; empty where no row has pixels.
    """

    prepared: Sequence[Mapping[str, Any]]
    good: NDArray[np.int_]
    results: tuple[EngineResult, ...]


NO_NUMBER = (
    "the network gave no number for this image: its weights are damaged, or the image holds "
    "values far from any it was trained on"
)


class Scorer:
    """Rows of a manifest -> logits, distances and what the preparation said, block by block.

    Args:
        run: a loaded run.
        options: the app's own, as resolved for the command.
        device: Lightning's accelerator name.
        workers: threads that decode.
    """

    # Inputs scored together and appended to the journal at once.
    block = 32

    def __init__(
        self,
        run: Run,
        *,
        options: Mapping[str, Any],
        device: str = "auto",
        workers: int | None = None,
    ) -> None:
        self.run = run
        for member in run.members:
            member.preparation.require_same(run.app, options)
        self.members = open_members(run, device=device)
        self.transforms = {
            member.preparation.hash: run.app.prepare(store_size(member.preparation.size_px))
            for member in run.members
        }
        self.pool = ThreadPoolExecutor(max_workers=workers or readers())
        self._compares_pictures = compares_pictures(run.app.units)
        self._begun: dict[tuple[str, str], Future[dict[str, Any]]] = {}
        # Called with the id and the picture of each input that was scored.
        self.keep: Callable[[str, NDArray[np.uint8]], None] | None = None

    def prepare(self, row: Mapping[str, Any], preparation: Preparation) -> dict[str, Any]:
        """One input, read and prepared as in training; ``error`` holds the reason if it failed."""
        transform = self.transforms[preparation.hash]
        return prepare_one(
            self.run.app,
            transform,
            row,
            preparation,
            with_hash=True,
            with_grey=self._compares_pictures,
        )

    def begin(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Start to read rows that will be scored soon, while those before are scored.

        Members that were trained on the same preparation share what is read.
        """
        for row in rows:
            for preparation in {
                m.preparation.hash: m.preparation for m, _, _ in self.members
            }.values():
                key = (preparation.hash, str(row["image_id"]))
                if row["status"] == "ok" and key not in self._begun:
                    self._begun[key] = self.pool.submit(self.prepare, row, preparation)

    def forward(self, rows: Sequence[Mapping[str, Any]]) -> Forwarded:
        """Read, prepare and run one block of manifest rows that are ok."""
        self.begin(rows)
        first: list[dict[str, Any]] = []
        results: list[EngineResult] = []
        for member, engine, _ in self.members:
            preparation = member.preparation
            keys = [(preparation.hash, str(row["image_id"])) for row in rows]
            done = [self._begun[key].result() for key in keys]
            if not first:
                first = [{k: v for k, v in d.items() if k != "image"} for d in done]
                good = np.array([i for i, d in enumerate(done) if "error" not in d], dtype=int)
                if self.keep is not None:
                    for i in good:
                        self.keep(str(rows[i]["image_id"]), visible(done[i]["image"]))
            if len(good):
                pixels = [
                    resize_to(done[i]["image"], preparation.size_px).transpose(2, 0, 1)
                    for i in good
                ]
                results.append(engine.run(np.stack(pixels)))
        for member, _, _ in self.members:
            for row in rows:
                self._begun.pop((member.preparation.hash, str(row["image_id"])), None)
        return Forwarded(first, good, tuple(results))

    def score(self, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
        """Prediction rows of one block of manifest rows that are ok."""
        return self.table_of(rows, self.forward(rows))

    def table_of(self, rows: Sequence[Mapping[str, Any]], found: Forwarded) -> pd.DataFrame:
        """Prediction rows from what the networks said."""
        n_out = self.members[0][1].n_logits
        logits, distances, attended = [], [], []
        for i, (member, engine, familiarity) in enumerate(self.members):
            z, d = np.full((len(rows), n_out), np.nan), np.full(len(rows), np.nan)
            weighed = np.full((len(rows), 1 + n_out), np.nan)
            if len(found.good):
                result = found.results[i]
                z[found.good] = result.logits
                d[found.good] = familiarity.distance(result.embeddings)
                if result.attention is not None:
                    weighed[found.good] = result.attention
            if engine.has_attention:
                attended.append(weighed)
            logits.append(z / member.temperature)
            distances.append(d)
        table = pd.DataFrame([shown(row) for row in rows])
        errors = [done.get("error", "") for done in found.prepared]
        scores = np.average(logits, axis=0, weights=[m.weight for m, _, _ in self.members])
        distance = np.mean(distances, axis=0)
        for place in np.flatnonzero(~(np.isfinite(scores).all(axis=1) & np.isfinite(distance))):
            errors[place] = errors[place] or NO_NUMBER
            scores[place], distance[place] = np.nan, np.nan
        table["status"] = ["failed" if error else "ok" for error in errors]
        table["reason"] = errors
        table["quality"] = [str(done.get("quality", "")) for done in found.prepared]
        for column in self.run.app.prepared_columns:
            table[column] = [done.get(column) for done in found.prepared]
        # Members average what they say of an image, then images are weighted once.
        every = np.mean(attended, axis=0) if len(attended) == len(self.members) else None
        made = predictions_of(table, scores, distance, self.scoring(), every)
        pictures = [written(done.get("grey")) for done in found.prepared]
        hashes = [str(done.get("content", "")) for done in found.prepared]
        return made.assign(**{CONTENT: hashes, PICTURE: pictures})

    def scoring(self) -> Scoring:
        """How logits of the run's members become scores and decisions."""
        return Scoring(
            app=self.run.app,
            task=self.run.task,
            link=self.run.link,
            temperature=self.run.temperature,
            threshold=self.run.threshold,
            unfamiliar_above=float(self.run.content["unfamiliar_above"]),
            model_id=self.run.model_id,
        )

    def picture(self, row: Mapping[str, Any]) -> NDArray[Any]:
        """Prepared pixels (H, W, 3) uint8 of one input, for a person."""
        preparation = self.members[0][0].preparation
        return visible(resize_to(self.prepare(row, preparation)["image"], preparation.size_px))

    def saliency(self, row: Mapping[str, Any], *, in_source: bool) -> NDArray[np.float32]:
        """(H, W) in [0, 1] of one input, over the prepared picture or over the source's pixels.

        Of a volume it is a sheet of slices, over the prepared ones.
        """
        member, engine, _ = self.members[0]
        done = self.prepare(row, member.preparation)
        pixels = resize_to(done["image"], member.preparation.size_px).transpose(2, 0, 1)
        heat = engine.saliency(np.ascontiguousarray(pixels))
        if not in_source or len(pixels) >= LEAST_SLICES:
            return heat
        shape = self.run.app.read(row).shape[:2]
        affine = np.asarray(done.get("affine", np.eye(3)), dtype=np.float64)
        affine = scaled(done["read_px"], shape) @ affine
        return to_source(heat, affine, stored=done["image"].shape[:2], shape=(shape[0], shape[1]))

    def blocks(
        self, rows: Sequence[dict[str, Any]], numbers: Sequence[int] | None = None
    ) -> Iterator[tuple[int, pd.DataFrame]]:
        """Prediction rows, block by block; the place of a row fixes which block it is in.

        Args:
            rows: of the manifest, in the order they are scored; skipped inputs among them.
            numbers: of the blocks to score, in order; default all.

        Yields:
            the number of the block, and one row per manifest row of it, in order.
        """
        numbers = range(blocks_of(len(rows), self.block)) if numbers is None else numbers
        blocks = [rows[n * self.block : (n + 1) * self.block] for n in numbers]
        for place, number in enumerate(numbers):
            # The next block is read while this one is scored.
            for block in blocks[place : place + 2]:
                self.begin(block)
            yield number, self.table_with_missing(blocks[place])

    def texts(
        self, rows: Sequence[dict[str, Any]]
    ) -> Callable[[Sequence[int]], Iterator[tuple[int, str]]]:
        """What scores blocks of these rows for a journal; see ``stream_through``."""
        return lambda numbers: (
            (number, block_text(table)) for number, table in self.blocks(rows, numbers)
        )

    def table_with_missing(self, block: Sequence[dict[str, Any]]) -> pd.DataFrame:
        """Prediction rows of a block, in its order, inputs that are skipped or lost among them."""
        ok = [row for row in block if row["status"] == "ok"]
        rest = [row for row in block if row["status"] != "ok"]
        parts = []
        if ok:
            parts.append(self.score(ok))
        if rest:
            nothing = np.full((len(rest), self.members[0][1].n_logits), np.nan)
            parts.append(
                predictions_of(
                    pd.DataFrame([shown(row) for row in rest]).assign(quality=""),
                    nothing,
                    nothing[:, 0],
                    self.scoring(),
                ).assign(**{CONTENT: "", PICTURE: ""})
            )
        table = pd.concat(parts, ignore_index=True).set_index("image_id")
        return table.loc[[row["image_id"] for row in block]].reset_index()


def shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as tables have it: the path as text, where the file's own need not be UTF-8."""
    return {name: value for name, value in row.items() if name != "shown"} | {"path": row["shown"]}


def to_source(
    heat: NDArray[np.float32],
    affine: NDArray[np.float64],
    *,
    stored: tuple[int, int],
    shape: tuple[int, int],
) -> NDArray[np.float32]:
    """A map over the network's pixels, laid over the source's.

    Args:
        heat: (H, W) at the size of the network.
        affine: (3, 3), stored (row, col, 1) -> source (row, col, 1), pixel centres.
        stored: (H, W) of the stored image.
        shape: (H, W) of the source.

    Returns:
        (H, W) of the source; 0 where the preparation left the source out.
    """
    to_heat = np.linalg.inv(affine @ scaled(heat.shape, stored))
    # OpenCV counts (x, y), which is (col, row).
    swap = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    matrix = (swap @ to_heat @ swap)[:2]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    laid = cv2.warpAffine(np.ascontiguousarray(heat), matrix, shape[::-1], flags=flags)
    return np.asarray(laid, dtype=np.float32)


def scaled(small: tuple[int, ...], large: tuple[int, ...]) -> NDArray[np.float64]:
    """(3, 3), (row, col, 1) of one grid -> of another over the same picture, pixel centres.

    >>> [float(v) for v in scaled((2, 2), (4, 8)) @ [0.0, 0.0, 1.0]]
    [0.5, 1.5, 1.0]
    """
    # (r + 0.5) * scale - 0.5
    scale = np.diag([large[0] / small[0], large[1] / small[1], 1.0])
    scale[:2, 2] = 0.5 * np.diag(scale)[:2] - 0.5
    return scale
