"""Fine-tune one network: the batches it sees, what it is validated on, the fitting itself.

A ``FineTuning`` holds all that this needs, so that other processes can be handed it and
take their share of every batch (``core.training.crew``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from core.app import Cases
from core.base.machine import pick_device
from core.data.loader import StepSampler, TrainImages, eval_batches, train_loader
from core.errors import ConfigError, MetricError
from core.model import processes
from core.model.checkpoint import build_network
from core.model.fitting import Fitting, fit
from core.statistics.scores import decide, scores_from_logits
from core.training.recipe import parameter_groups

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from core.app import App, Task
    from core.base.settings import TrainConfig
    from core.data.prepared import Preparation, Prepared
    from core.model.fitting import Fitted
    from core.model.network import Network

__all__ = ["EVAL_BATCH", "Data", "FineTuning", "Training"]

EVAL_BATCH = 16


@dataclass(frozen=True)
class Data:
    """Prepared images with their targets; rows are rows of the store.

    Attributes:
        store: prepared pixels.
        y: (N,) class indices or (N, K) zeros and ones.
        groups: (N,) group of each row; its own image_id where it has none.
        unit: name of the unit whose images get learned weights; empty if there is none.
        owner: (N,) that unit of each row; empty if there is none.
    """

    store: Prepared
    y: NDArray[np.int_]
    groups: NDArray[np.object_]
    unit: str = ""
    owner: NDArray[np.object_] = field(default_factory=lambda: np.array([], dtype=object))


@dataclass(frozen=True)
class Training:
    """What all networks of a run share.

    Attributes:
        app: gives the augmentation and the first metric.
        task: with its class order.
        config: resolved settings.
        data: prepared images.
        preparation: of the store.
        until: when all should be done, on the clock of ``time.monotonic``.
    """

    app: App
    task: Task
    config: TrainConfig
    data: Data
    preparation: Preparation
    until: float = math.inf


@dataclass(frozen=True)
class FineTuning:
    """One fine-tuning, as every process that takes part in it must know it.

    Attributes:
        training: what all networks of the run share.
        description: of the network, as in ``run.json``.
        rows: train and val: row numbers without failures.
        work: folder of resume points.
        start: log-loss of the starting point on validation.
        seconds: that it may take.
    """

    training: Training
    description: Mapping[str, Any]
    rows: Mapping[str, NDArray[np.int_]]
    work: Path
    start: float
    seconds: float

    def run(self, network: Network | None = None) -> Fitted:
        """Fit the network, or take a share of its fitting in another process.

        Args:
            network: with the head it starts from; None takes all weights from the first process.

        Raises:
            ConfigError: there are fewer training images, or images in a batch, than processes.
        """
        if network is None:
            network = build_network(self.description, n_classes=len(self.training.task.classes))
        app, config, data = self.training.app, self.training.config, self.training.data
        size_px = self.training.preparation.size_px
        varied = app.with_symmetry(config.symmetry)
        images = TrainImages(
            data.store, data.y, app=varied, augment=config.augment, seed=config.seed
        )
        small_until = round(config.small_share * (config.epochs or 0))
        small = tuple(max(32, 32 * round(config.small_scale * side / 32)) for side in size_px)
        sampler, shift = self._sampler_of(small_until, (small[0], small[1]))

        def loader(step: Callable[[], int]) -> DataLoader[Any]:
            pin = pick_device(config.device).type == "cuda"
            return train_loader(images, sampler(step), workers=config.workers or 0, pin=pin)

        whole = _Whole(data, self.rows["val"], size_px)
        fitting = Fitting(
            groups=parameter_groups(network, config),
            train=loader,
            val=DataLoader(whole, batch_size=None, sampler=processes.share_of(len(whole))),
            steps_per_epoch=len(sampler(lambda: 0)),
            small_epochs=small_until if small != tuple(size_px) else 0,
            seconds=self.seconds,
            folder=self.work,
            start_log_loss=self.start,
            score=_first_metric(app, self.training.task, network.head.link),
            score_title=app.metrics[0].title if app.metrics else "score",
            prior_shift=shift,
        )
        return fit(network, config, fitting)

    def _sampler_of(
        self, small_until: int, small: tuple[int, int]
    ) -> tuple[Callable[[Callable[[], int]], StepSampler], torch.Tensor | None]:
        """What makes the batches of this process, and the shift of the priors they bring."""
        config, task, data = self.training.config, self.training.task, self.training.data
        train, size_px = self.rows["train"], self.training.preparation.size_px
        batch, link = config.batch or 32, self.description["link"]
        weights, spread, shift = None, None, None
        if config.imbalance == "sqrt" and link == "softmax":
            weights, shift = _draw_weights(data.y[np.sort(train)], len(task.classes))
        if config.imbalance == "each_batch":
            y_train = data.y[np.sort(train)]
            spread, shift = _one_in_each(y_train, task, link, batch)
        shards = processes.size()
        # Together the processes take the batch that one would take alone.
        own = batch if shards == 1 else min(batch, len(train)) // shards
        if not own:
            msg = (
                f"--devices, --num-nodes: {shards} processes cannot share a batch of {batch} of "
                f"{len(train)} training images. Ask for fewer, or for a larger --batch."
            )
            raise ConfigError(msg)

        def sampler(step: Callable[[], int]) -> StepSampler:
            return StepSampler(
                train,
                batch=own,
                seed=config.seed,
                weights=weights,
                size_of=lambda epoch: small if epoch < small_until else size_px,
                step=step,
                spread=spread,
                share=(processes.rank(), shards),
            )

        return sampler, shift


class _Whole(torch.utils.data.Dataset[dict[str, Any]]):
    """Validation batches for Lightning: whole images, unchanged."""

    def __init__(self, data: Data, rows: NDArray[np.int_], size_px: tuple[int, int]) -> None:
        self.data = data
        self.rows = rows
        self.size_px = size_px

    def __len__(self) -> int:
        return math.ceil(len(self.rows) / EVAL_BATCH)

    def __getitem__(self, number: int) -> dict[str, Any]:
        rows = self.rows[number * EVAL_BATCH : (number + 1) * EVAL_BATCH]
        block = eval_batches(self.data.store, rows, size_px=self.size_px, batch=EVAL_BATCH)
        _, pixels = next(iter(block))
        return {"pixels": pixels, "y": torch.from_numpy(self.data.y[rows]), "number": number}


def _first_metric(
    app: App, task: Task, link: str
) -> Callable[[NDArray[np.float64], NDArray[np.int_]], float] | None:
    """The app's first metric as a function of logits, for the progress line."""
    if not app.metrics:
        return None
    metric = next((m for m in app.metrics if m.name == task.headline), app.metrics[0])

    def score(logits: NDArray[np.float64], y: NDArray[np.int_]) -> float:
        scores = scores_from_logits(logits, link=link)
        try:
            return float(
                metric.compute(Cases(y, scores, decide(scores, task=task), np.ones(len(y))))
            )
        except MetricError:
            return float("nan")

    return score


def _draw_weights(y: NDArray[np.int_], n_classes: int) -> tuple[NDArray[np.float64], torch.Tensor]:
    """Chances that draw a class by the square root of its size, and the shift of the priors."""
    counts = np.bincount(y, minlength=n_classes).astype(np.float64)
    drawn = np.sqrt(counts) / np.sqrt(counts).sum()
    natural = counts / counts.sum()
    ratio = np.where(counts > 0, drawn / np.where(counts > 0, natural, 1.0), 1.0)
    return 1 / np.sqrt(counts[y]), torch.from_numpy(np.log(ratio)).float()


def _one_in_each(
    y: NDArray[np.int_], task: Task, link: str, batch: int
) -> tuple[NDArray[np.bool_] | None, torch.Tensor | None]:
    """Which training rows every batch must hold one of, and the shift of the priors it makes.

    Nothing where no class counts as positive, or where positives are fewer than
    batches and the head has no priors that could be corrected.
    """
    positive = list(task.positive_index)
    if not positive or y.ndim == 2:
        return None, None
    spread: NDArray[np.bool_] = np.isin(y, positive)
    natural = float(spread.mean())
    drawn = max(natural, 1 / min(batch, len(y)))
    if drawn <= natural or not 0 < natural < 1:
        return spread, None
    if link != "softmax":
        return None, None
    ratio = np.full(len(task.classes), (1 - drawn) / (1 - natural))
    ratio[positive] = drawn / natural
    return spread, torch.from_numpy(np.log(ratio)).float()
