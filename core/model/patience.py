"""Patience: after how many epochs without a lower validation log-loss a training is given up.

Nothing here knows a network; ``core.model.fitting`` asks after each epoch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.base.settings import TrainConfig

__all__ = ["Patience"]


@dataclass(frozen=True)
class Patience:
    """When a training that does not get better is given up.

    Epochs at a smaller size than the one that is judged, and those of the warm-up, prepare
    for better ones and are no failure: counting begins behind them.

    Attributes:
        epochs: without a lower validation log-loss, after which it ends.
        begins: epochs at the start that do not count.
    """

    epochs: int
    begins: int = 0

    @classmethod
    def of(cls, config: TrainConfig, small_epochs: int) -> Patience:
        """That of the settings, where so many epochs are trained at the smaller size."""
        epochs = config.epochs or 1
        warming = math.ceil(config.warmup * epochs)
        return cls(max(2, round(config.patience * epochs)), max(small_epochs, warming))

    def is_over(self, epoch: int, best_epoch: int) -> bool:
        """Whether to stop after an epoch (1-based), the best one being ``best_epoch``.

        >>> patience = Patience(epochs=5, begins=6)
        >>> [patience.is_over(epoch, 0) for epoch in (5, 10, 11)]
        [False, False, True]
        >>> patience.is_over(12, best_epoch=8)
        False
        """
        return epoch - max(best_epoch, self.begins) >= self.epochs

    def reason(self, epoch: int, of: int) -> str:
        """Why a training ended after an epoch, for people."""
        text = (
            f"stopped after epoch {epoch} of {of}: validation log-loss had not fallen for "
            f"{self.epochs} epochs"
        )
        if self.begins:
            text += f", not counting the first {self.begins} (warm-up and smaller size)"
        return text
