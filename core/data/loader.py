"""From the prepared store to batches, such that a batch depends on nothing but its number.

The order of images is a function of (seed, epoch), the random changes of an
image are a function of (seed, epoch, image), and both are computed from the
optimiser's step. So the same training gives the same batches with any number
of workers, and a training that was killed goes on exactly where it stopped.
"""

from __future__ import annotations

import random
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from core.base.seeds import mix_seed
from core.data.prepared import resize_to
from core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from core.app import App
    from core.data.prepared import Prepared

__all__ = ["StepSampler", "TrainImages", "eval_batches", "require_guard", "train_loader"]

Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Draw:
    """One image to load: which row, in which epoch, at which size."""

    row: int
    epoch: int
    size_px: tuple[int, int]


class TrainImages(Dataset[Batch]):
    """Augmented training images.

    Args:
        store: prepared images.
        y: (N,) or (N, K) targets of the store's rows.
        app: gives the augmentation.
        augment: whether to use it.
        seed: of all random changes.
    """

    def __init__(
        self, store: Prepared, y: NDArray[np.int_], *, app: App, augment: bool, seed: int
    ) -> None:
        self.store = store
        self.y = torch.from_numpy(y)
        self.app = app
        self.augment = augment
        self.seed = seed
        self._pipelines: dict[tuple[int, int], Any] = {}

    def __getitem__(self, draw: Draw) -> Batch:
        """Pixels (C, H, W) and target of one draw."""
        pixels = np.array(self.store[draw.row])
        if self.augment:
            if draw.size_px not in self._pipelines:
                # Threads of OpenCV inside a worker only fight for the same cores.
                cv2.setNumThreads(0)
                self._pipelines[draw.size_px] = self.app.augment(draw.size_px)
            pipeline = self._pipelines[draw.size_px]
            image_id = self.store.table["image_id"].iloc[draw.row]
            seed = mix_seed(self.seed, draw.epoch, image_id)
            # Not set_random_seed: it gives every step the same numbers, so that all the
            # flips of a pipeline happen together or not at all.
            pipeline.set_random_state(np.random.default_rng(seed), random.Random(seed))
            pixels = pipeline(image=pixels)["image"]
        else:
            pixels = resize_to(pixels, draw.size_px)
        if pixels.ndim == 2:
            pixels = pixels[..., None]
        chw = np.ascontiguousarray(pixels.transpose(2, 0, 1))
        return {"pixels": torch.from_numpy(chw), "y": self.y[draw.row]}

    def __getstate__(self) -> dict[str, Any]:
        """Pipelines are built anew in each worker."""
        return {**self.__dict__, "_pipelines": {}}


class StepSampler(Sampler[list[Draw]]):
    """Batches of an epoch, from any step on.

    Args:
        rows: row numbers to draw from.
        batch: images per batch; a short last batch is dropped unless it is the only one.
        seed: of the order.
        weights: how often each row is drawn, relative; None draws each once.
        size_of: epoch -> (H, W) of its images.
        step: returns the number of optimiser steps done so far.
        spread: (N,) bool, aligned with the sorted ``rows``: those of which every batch is to
            hold at least one; repeated where they are fewer than batches. None: no such rule.
        share: this process, and how many processes share the work.
    """

    def __init__(
        self,
        rows: NDArray[np.int_],
        *,
        batch: int,
        seed: int,
        weights: NDArray[np.float64] | None,
        size_of: Callable[[int], tuple[int, int]],
        step: Callable[[], int],
        spread: NDArray[np.bool_] | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.rows = np.sort(rows)
        self.batch = batch
        self.seed = seed
        self.weights = weights
        self.size_of = size_of
        self.step = step
        self.spread = spread
        self.shard, self.shards = share

    def __len__(self) -> int:
        return max(1, len(self.rows) // (self.batch * self.shards))

    def order(self, epoch: int) -> NDArray[np.int_]:
        """Row numbers in the order of an epoch."""
        rng = np.random.default_rng(mix_seed("order", self.seed, epoch))
        if self.spread is not None and self.spread.any() and not self.spread.all():
            return self._spread_order(rng, self.rows[self.spread])
        if self.weights is None:
            return rng.permutation(self.rows)
        chance = self.weights / self.weights.sum()
        return rng.choice(self.rows, size=len(self.rows), p=chance)

    def _spread_order(self, rng: np.random.Generator, wanted: NDArray[np.int_]) -> NDArray[np.int_]:
        """A permutation in whole batches, changed as little as one wanted row in each needs."""
        # What the processes take together is one batch.
        size = min(self.batch * self.shards, len(self.rows))
        batches = len(self)
        blocks = rng.permutation(self.rows)[: batches * size].reshape(batches, size)
        is_wanted = np.isin(blocks, wanted)
        for bare in np.flatnonzero(~is_wanted.any(axis=1)):
            slot, rich = rng.integers(size), int(is_wanted.sum(axis=1).argmax())
            if is_wanted[rich].sum() > 1:
                place = is_wanted[rich].argmax()
                blocks[bare, slot], blocks[rich, place] = blocks[rich, place], blocks[bare, slot]
                is_wanted[rich, place] = False
            else:
                # Fewer than batches: some are seen twice, and the scores are corrected for it.
                blocks[bare, slot] = rng.choice(wanted)
            is_wanted[bare, slot] = True
        return blocks.ravel()

    def __iter__(self) -> Iterator[list[Draw]]:
        epoch, done = divmod(self.step(), len(self))
        order, size_px = self.order(epoch), self.size_of(epoch)
        for number in range(done, len(self)):
            start = (number * self.shards + self.shard) * self.batch
            rows = order[start : start + self.batch]
            yield [Draw(int(row), epoch, size_px) for row in rows]


def require_guard(workers: int) -> None:
    """Refuse a script that each loader process would run from its start, training included.

    A process that ``multiprocessing`` spawns imports the script of its parent first ("safe
    importing of main module" in Python's documentation), and a parent that waits for one that
    died there waits for ever.

    Raises:
        ConfigError: the script does not ask for its ``__name__``.
    """
    script = getattr(sys.modules["__main__"], "__file__", None)
    if not workers or script is None:
        return
    text = "__name__"
    with suppress(OSError):
        text = Path(script).read_text(encoding="utf-8", errors="replace")
    if "__name__" not in text:
        msg = (
            f"{script}: {workers} processes are to load images, and each would run this script "
            'anew. Put what it does below a line `if __name__ == "__main__":`, or load images '
            "in this process (workers=0)."
        )
        raise ConfigError(msg)


def train_loader(
    images: TrainImages, sampler: StepSampler, *, workers: int, pin: bool
) -> DataLoader[Batch]:
    """A loader over the batches of a sampler."""
    return DataLoader(
        images,
        batch_sampler=sampler,
        num_workers=workers,
        pin_memory=pin,
        persistent_workers=workers > 0,
        # fork after torch has started threads can hang; spawn cannot.
        multiprocessing_context="spawn" if workers else None,
    )


def eval_batches(
    store: Prepared, rows: NDArray[np.int_], *, size_px: tuple[int, int], batch: int
) -> Iterator[tuple[NDArray[np.int_], torch.Tensor]]:
    """Rows and their pixels (N, C, H, W), whole and unchanged, in order."""
    for start in range(0, len(rows), batch):
        block = rows[start : start + batch]
        pixels = np.stack([resize_to(store[row], size_px).transpose(2, 0, 1) for row in block])
        yield block, torch.from_numpy(np.ascontiguousarray(pixels))
