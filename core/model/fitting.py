"""One training: Lightning's Trainer around a network, resumable at any step.

The averaged network with the lowest validation log-loss is kept. The starting
point (the probe's head on the untouched backbone) is validated as well, so
that fine-tuning that does not help is not used.
"""

from __future__ import annotations

import logging
import math
import time
import warnings
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from core.base.outputs import atomic_file
from core.base.progress import log, track
from core.model import processes
from core.model.checkpoint import save_network
from core.model.classifier import Classifier
from core.model.patience import Patience
from core.model.resume_points import AtomicCheckpointIO, latest_resume_point
from core.model.stopping import StoppedError, StopSign
from core.model.tracking import loggers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np
    import torch
    from torch.utils.data import DataLoader

    from core.base.settings import TrainConfig
    from core.model.network import Network

__all__ = ["Fitted", "Fitting", "devices_of", "fit"]


@dataclass(frozen=True)
class Fitted:
    """What a training leaves.

    Attributes:
        best: file of the kept weights; None if no epoch beat the start.
        best_epoch: 1-based; 0 if none did.
        log: one row per epoch: epoch, step, train_loss, val_log_loss, val_score, seconds.
        stopped: when and why it ended before its last epoch; empty if it ran through.
    """

    best: Path | None
    best_epoch: int
    log: pd.DataFrame
    stopped: str


class _Keeper(Callback):
    """Keeps the best averaged weights, writes resume points, records the learning curve."""

    def __init__(
        self,
        folder: Path,
        *,
        start: float,
        every_s: float,
        patience: Patience,
        seconds: float,
        score_title: str,
        sign: StopSign,
    ) -> None:
        self.folder = folder
        self.score_title = score_title
        self.sign = sign
        self.last_point = 0
        self.every_s = every_s
        self.patience = patience
        self.seconds = seconds
        self.is_out_of_time = False
        self.best_epoch = 0
        self.best_loss = start
        self.rows: list[dict[str, float]] = []
        self.loss_sum, self.batches = 0.0, 0
        self._since = time.monotonic()
        self._epoch_start = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training must know."""
        return {
            "best_epoch": self.best_epoch,
            "best_loss": self.best_loss,
            "rows": self.rows,
            "loss_sum": self.loss_sum,
            "batches": self.batches,
            "is_out_of_time": self.is_out_of_time,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up where the resume point was."""
        self.best_epoch = state_dict["best_epoch"]
        self.best_loss = state_dict["best_loss"]
        self.rows = list(state_dict["rows"])
        # The time given is that of the command that goes on.
        self.seconds += sum(row["seconds"] for row in self.rows)
        self.is_out_of_time = state_dict.get("is_out_of_time", False)
        self.loss_sum, self.batches = state_dict["loss_sum"], state_dict["batches"]

    def best_file(self) -> Path:
        """Weights of the best epoch."""
        return self.folder / f"best-{self.best_epoch:04d}.safetensors"

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._epoch_start = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if processes.size() > 1:
            # Lightning's own handler talks to the other processes from within the signal.
            self.sign.take()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self.loss_sum += float(outputs["loss"])
        self.batches += 1
        due = self.sign.asked or time.monotonic() - self._since > self.every_s
        # The end of an epoch writes its own, after validation.
        if batch_idx + 1 < trainer.num_training_batches and processes.is_agreed(due):
            self._write(trainer)
            self._stop_if_asked()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking or not isinstance(pl_module, Classifier):
            return
        epoch = len(self.rows) + 1
        loss = pl_module.val_log_loss
        self.loss_sum = processes.mean(self.loss_sum)
        self.rows.append(
            {
                "epoch": epoch,
                "step": trainer.global_step,
                "train_loss": self.loss_sum / max(1, self.batches),
                "val_log_loss": loss,
                "val_score": pl_module.val_score,
                "seconds": round(time.monotonic() - self._epoch_start, 1),
            }
        )
        self.loss_sum, self.batches = 0.0, 0
        # A loss that is not a number compares as false and is never best.
        if loss < self.best_loss:
            self.best_loss, self.best_epoch = loss, epoch
            if trainer.is_global_zero:
                save_network(self.best_file(), pl_module.judged)
        elif self.patience.is_over(epoch, self.best_epoch):
            trainer.should_stop = True
        # Those of a killed training count as well.
        spent = sum(row["seconds"] for row in self.rows)
        is_late = spent + self.rows[-1]["seconds"] > self.seconds
        if processes.is_agreed(is_late) and epoch != trainer.max_epochs:
            self.is_out_of_time = trainer.should_stop = True
        log.info(
            "epoch %d/%s: train loss %.4f, validation log-loss %.4f, %s %.4f%s, %.0f s",
            epoch,
            trainer.max_epochs,
            self.rows[-1]["train_loss"],
            loss,
            self.score_title,
            pl_module.val_score,
            " (best)" if self.best_epoch == epoch else "",
            self.rows[-1]["seconds"],
        )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._write(trainer)
        for old in self.folder.glob("best-*.safetensors"):
            if trainer.is_global_zero and old != self.best_file():
                old.unlink(missing_ok=True)
        if trainer.current_epoch + 1 < (trainer.max_epochs or 0) and not trainer.should_stop:
            self._stop_if_asked()

    def _stop_if_asked(self) -> None:
        """End here, where a resume point has just been written."""
        if processes.is_agreed(self.sign.asked):
            raise StoppedError(self.last_point)

    def _write(self, trainer: pl.Trainer) -> None:
        """Write a resume point."""
        self.loss_sum = processes.mean(self.loss_sum)
        trainer.save_checkpoint(self.folder / f"step-{trainer.global_step:08d}.ckpt")
        self.last_point = trainer.global_step
        self._since = time.monotonic()


class _Bar(Callback):
    """Steps, loss, log-loss and first metric of validation, and time left, on a terminal."""

    def __init__(self, steps: int, score_title: str) -> None:
        self.steps = steps
        self.score_title = score_title
        self.judged = ""
        self.loss = float("nan")
        self._open = ExitStack()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.advance = self._open.enter_context(track("fine-tuning", self.steps, unit="steps"))
        self.advance(trainer.global_step)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, *_: Any, **__: Any
    ) -> None:
        loss = float(outputs["loss"])
        # A mean over about ten steps: single batches jump too much to be read.
        self.loss = loss if self.loss != self.loss else 0.9 * self.loss + 0.1 * loss
        epoch = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        self.advance(1, f"{epoch}  loss {self.loss:.3f}{self.judged}")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if isinstance(pl_module, Classifier):
            self.judged = (
                f"  val log-loss {pl_module.val_log_loss:.3f}"
                f" {self.score_title} {pl_module.val_score:.3f}"
            )

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._open.close()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        self._open.close()


def devices_of(config: TrainConfig) -> str:
    """Which devices, as Lightning takes it; one unless more are asked for."""
    return "1" if config.devices == "auto" else config.devices


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """What a network is fitted to, and from where.

    Attributes:
        groups: for the optimiser.
        train: makes the loader; receives a function that tells the steps done.
        val: whole validation images.
        steps_per_epoch: batches of an epoch.
        small_epochs: at the start, trained at a smaller size than the one judged.
        seconds: that it may take; an epoch that would not fit is not begun.
        folder: of resume points and logs, kept until the run is complete.
        start_log_loss: of the starting point on validation.
        score: the app's first metric, for people to look at.
        score_title: its words.
        prior_shift: see ``Classifier``.
    """

    groups: list[dict[str, Any]]
    train: Callable[[Callable[[], int]], DataLoader[Any]]
    val: DataLoader[Any]
    steps_per_epoch: int
    small_epochs: int = 0
    seconds: float = math.inf
    folder: Path
    start_log_loss: float
    score: Callable[[np.ndarray, np.ndarray], float] | None
    score_title: str = "score"
    prior_shift: torch.Tensor | None = None


def fit(network: Network, config: TrainConfig, fitting: Fitting) -> Fitted:
    """Train, or go on training from the newest resume point in the folder.

    Args:
        network: with the probe's head.
        config: resolved settings; ``epochs`` at least 1.
        fitting: batches, times, the starting point and the folder.

    Raises:
        StoppedError: the user stopped it; the folder holds a resume point.
        DivergedError: the loss stopped being a number.
    """
    folder, epochs = fitting.folder, config.epochs or 1
    folder.mkdir(parents=True, exist_ok=True)
    module = Classifier(
        network,
        config,
        groups=fitting.groups,
        total_steps=epochs * fitting.steps_per_epoch,
        score=fitting.score,
        prior_shift=fitting.prior_shift,
    )
    keeper = _Keeper(
        folder,
        start=fitting.start_log_loss,
        every_s=60 * config.checkpoint_minutes,
        patience=Patience.of(config, fitting.small_epochs),
        seconds=fitting.seconds,
        score_title=fitting.score_title,
        sign=StopSign(),
    )
    trainer = _trainer(config, fitting, keeper)
    # Lightning trains each module in the mode it finds it in, and scoring left ours in
    # evaluation mode; the network itself keeps frozen statistics frozen.
    network.train()
    resume = processes.from_first(latest_resume_point(folder))
    if resume is not None:
        log.info("going on from %s", resume.name)
    loader = fitting.train(lambda: trainer.global_step)
    with keeper.sign, _quiet():
        try:
            trainer.fit(
                module,
                train_dataloaders=loader,
                val_dataloaders=fitting.val,
                ckpt_path=str(resume) if resume else None,
                weights_only=True,
            )
        except SystemExit:
            # Lightning leaves the process at once when it meets KeyboardInterrupt or SIGTERM.
            if keeper.sign.asked:
                raise StoppedError(keeper.last_point) from None
            raise
    table = pd.DataFrame(keeper.rows)
    with atomic_file(folder / "log.csv") as stream:
        table.to_csv(stream, index=False, lineterminator="\n")
    stopped = ""
    if keeper.is_out_of_time:
        stopped = (
            f"stopped after epoch {len(table)} of {epochs}: the next would not have fitted into "
            "the time given"
        )
    elif len(table) < epochs:
        stopped = keeper.patience.reason(len(table), epochs)
    if stopped:
        log.info("fine-tuning %s", stopped)
    best = keeper.best_file() if keeper.best_epoch else None
    return Fitted(best, keeper.best_epoch, table, stopped)


def _trainer(config: TrainConfig, fitting: Fitting, keeper: _Keeper) -> pl.Trainer:
    """Lightning's Trainer, told to keep, log and show nothing of its own."""
    for noisy in ("pytorch_lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    epochs, is_several = config.epochs or 1, processes.size() > 1
    bar = _Bar(epochs * fitting.steps_per_epoch, fitting.score_title)
    return pl.Trainer(
        accelerator=config.device,
        devices=devices_of(config),
        strategy="ddp" if is_several else "auto",
        num_nodes=config.num_nodes,
        precision=config.precision or "32-true",  # type: ignore[arg-type]
        max_epochs=epochs,
        gradient_clip_val=config.clip,
        callbacks=[keeper, bar],
        plugins=[AtomicCheckpointIO(), *([processes.Joined()] if is_several else [])],
        logger=loggers(config, fitting.folder),
        log_every_n_steps=max(1, min(10, fitting.steps_per_epoch)),
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's advice on what is meant to be as it is."""
    with warnings.catch_warnings():
        for message in (
            # More workers would, on a processor, only compete.
            ".*does not have many workers.*",
            ".*GPU available but not used.*",
            # Frozen normalisation and the averaged network are meant to be in evaluation mode.
            ".*in eval mode at the start of training.*",
            # torch renamed a class that Lightning 2.6 still asks for by its old name.
            ".*LeafSpec.*is deprecated.*",
            # The processes agree on what is kept; what is logged of a step is the first one's.
            ".*sync_dist=True.*",
            # A resumed training goes on in the folder of its steps; what counts is in our own log.
            "Experiment logs directory .* is not empty",
            ".*resuming from a checkpoint that ended before the epoch.*",
        ):
            warnings.filterwarnings("ignore", message=message)
        yield
