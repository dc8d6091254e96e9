"""The one LightningModule: loss, optimiser, averaged weights, choice by validation log-loss.

Lightning runs the loop. Here stands only what a step is, with its randomness a
function of the step's number, so that a killed training continues to the same
weights.
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from core.base.machine import fused
from core.base.seeds import mix_seed
from core.errors import ResightError
from core.model import processes
from core.model.heads import loss_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.base.settings import TrainConfig
    from core.model.network import Network

__all__ = ["Classifier", "DivergedError", "learning_rate"]


class DivergedError(ResightError, ArithmeticError):
    """The loss stopped being a number."""


def learning_rate(step: int, *, total: int, warmup: float, final: float) -> float:
    """Share of the peak learning rate at a step: linear rise, then half a cosine.

    >>> [round(learning_rate(s, total=10, warmup=0.2, final=0.0), 2) for s in (0, 1, 2, 6)]
    [0.5, 1.0, 1.0, 0.5]
    """
    rise = max(1, round(warmup * total))
    if step < rise:
        return (step + 1) / rise
    progress = min(1.0, (step - rise) / max(1, total - rise))
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))


class Classifier(pl.LightningModule):
    """Fine-tunes a network.

    Args:
        network: see ``core.model.network``.
        config: resolved settings.
        groups: parameter groups for the optimiser, from ``core.training.recipe``.
        total_steps: of the whole training.
        score: (N, L) logits and (N,) labels of validation -> the app's first metric.
        prior_shift: (L,) log of how much more often a class is drawn than it occurs,
            added to the logits in the training loss alone, so that the logits
            themselves keep the frequencies of the data (Menon et al. 2021,
            arXiv 2007.07314).
    """

    def __init__(
        self,
        network: Network,
        config: TrainConfig,
        *,
        groups: list[dict[str, Any]],
        total_steps: int,
        score: Callable[[np.ndarray, np.ndarray], float] | None = None,
        prior_shift: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.config = config
        self.groups = groups
        self.total_steps = total_steps
        self.score = score
        self.prior_shift: Tensor | None
        self.register_buffer("prior_shift", prior_shift, persistent=False)
        self.averaged = copy.deepcopy(network) if config.ema else None
        if self.averaged is not None:
            self.averaged.requires_grad_(False)
        self._val: dict[int, tuple[Tensor, Tensor]] = {}
        self.val_log_loss = float("nan")
        self.val_score = float("nan")

    @property
    def judged(self) -> Network:
        """The network that is validated and kept: the averaged one where there is one."""
        return self.averaged if self.averaged is not None else self.network

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Make every random number of this step a function of its number."""
        # Other images than those of the first process drop other features.
        others = [processes.rank()] if processes.rank() else []
        torch.manual_seed(mix_seed("step", self.config.seed, self.global_step, *others))

    def _loss(self, logits: Tensor, y: Tensor) -> Tensor:
        """Loss of the labels, those of positives softened where that was asked for."""
        link, soft = self.network.head.link, self.config.soft_positive
        if not soft or y.ndim == 2:
            return loss_of(link, logits, y, smoothing=self.config.label_smoothing)
        hard = loss_of(link, logits, y, reduction="none")
        other = loss_of(link, logits, 1 - y, reduction="none")
        return torch.where(y == 1, (1 - soft) * hard + soft * other, hard).mean()

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Loss of one batch."""
        pixels, y = batch["pixels"], batch["y"]
        if self.config.mixup > 0:
            share = float(
                np.random.default_rng(mix_seed("mixup", self.config.seed, self.global_step)).beta(
                    self.config.mixup, self.config.mixup
                )
            )
            other = torch.randperm(len(y))
            logits = self._logits(share * pixels.float() + (1 - share) * pixels[other].float())
            loss = share * self._loss(logits, y) + (1 - share) * self._loss(logits, y[other])
        else:
            loss = self._loss(self._logits(pixels), y)
        if not torch.isfinite(loss):
            msg = (
                f"The loss became {float(loss.detach())} at step {self.global_step + 1}. "
                "The last good weights are kept. Lower --set lr_backbone and "
                "lr_head, or check the images for odd values."
            )
            raise DivergedError(msg)
        self.log("train_loss", loss, on_step=True, on_epoch=True, prog_bar=True, batch_size=len(y))
        return loss

    def _logits(self, pixels: Tensor) -> Tensor:
        """Logits as the training loss sees them."""
        logits: Tensor = self.network(pixels).float()
        return logits if self.prior_shift is None else logits + self.prior_shift

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, and move the averaged weights a little towards the new ones.

        Both happen here, before any callback can write a resume point between them.
        """
        super().optimizer_step(*args, **kwargs)
        if self.averaged is None:
            return
        # The window is a tenth of the training; early on it is what there is so far.
        done = self.global_step + 1
        decay = min(1 - 1 / max(2.0, 0.1 * self.total_steps), done / (done + 9))
        with torch.no_grad():
            mine: list[Tensor] = list(self.averaged.parameters())
            theirs = [p.detach() for p in self.network.parameters()]
            torch._foreach_lerp_(mine, theirs, 1 - decay)
            for a, b in zip(self.averaged.buffers(), self.network.buffers(), strict=True):
                a.copy_(b)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the norm of all gradients.

        Lightning refuses a fused optimiser under any mixed precision (its issue 21435). Only
        16-mixed scales its loss; bfloat16 has the range of float32, so its gradients are
        clipped as they are.
        """
        if not gradient_clip_val:
            return
        if self.config.precision == "16-mixed":
            self.clip_gradients(
                optimizer,
                gradient_clip_val=gradient_clip_val,
                gradient_clip_algorithm=gradient_clip_algorithm,
            )
            return
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), gradient_clip_val)

    def on_validation_epoch_start(self) -> None:
        """Judge without randomness."""
        self.judged.eval()
        self._val.clear()
        # Each process has seen other images; what the first has is kept.
        processes.same_buffers(self.network)
        processes.same_buffers(self.judged)

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Collect the logits of one batch."""
        logits = self.judged(batch["pixels"]).float().cpu()
        self._val[batch.get("number", batch_idx)] = (logits, batch["y"].cpu())

    def on_validation_epoch_end(self) -> None:
        """Log-loss, which selects, and the app's first metric, which people look at."""
        # By number, so that each image counts once however many processes there are.
        found = processes.joined(self._val).values()
        self._val.clear()
        logits = torch.cat([z for z, _ in found])
        y = torch.cat([y for _, y in found])
        loss = loss_of(self.network.head.link, logits.double(), y)
        self.val_log_loss = float(loss)
        self.log("val_log_loss", self.val_log_loss, prog_bar=True)
        if self.score is not None:
            self.val_score = self.score(logits.double().numpy(), y.numpy())
            self.log("val_score", self.val_score, prog_bar=True)

    def configure_optimizers(self) -> Any:
        """AdamW with one learning rate per stage, warm-up and cosine."""
        optimiser = torch.optim.AdamW(
            self.groups,
            betas=(0.9, 0.999),
            fused=fused(self.device.type, self.config.precision),
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser,
            lambda step: learning_rate(
                step,
                total=self.total_steps,
                warmup=self.config.warmup,
                final=self.config.final_lr,
            ),
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
