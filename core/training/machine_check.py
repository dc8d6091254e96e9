"""Whether this machine can train as asked, found out before anything is written.

Lightning knows which devices, strategies and precisions there are and which go together,
so it is asked by making the Trainer that would be used.
"""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING

import pytorch_lightning as pl

from core.base.machine import pick_device, require_precision
from core.errors import ConfigError
from core.model.fitting import devices_of

if TYPE_CHECKING:
    from core.base.settings import TrainConfig

__all__ = ["check_machine"]


# Others divide the weights, which are small here, and cannot be resumed on another number.
STRATEGIES = ("auto", "ddp")


def check_machine(config: TrainConfig) -> int:
    """Refuse a device, strategy, number of devices or precision that cannot be had here.

    Returns:
        the processes that train together, one for each device of each machine.

    Raises:
        ConfigError: with Lightning's own reason.
    """
    asked = {
        name: str(getattr(config, name))
        for name in ("device", "devices", "strategy", "precision")
        if getattr(config, name) not in {"auto", None}
    }
    if config.strategy not in STRATEGIES:
        msg = (
            f"--strategy {config.strategy}: several devices train on equal shares of each batch "
            f"(distributed data parallel). Choose {' or '.join(STRATEGIES)}."
        )
        raise ConfigError(msg)
    require_precision(config.precision, pick_device(config.device).type)
    for noisy in ("pytorch_lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer = pl.Trainer(
                accelerator=config.device,
                devices=devices_of(config),
                strategy=config.strategy,
                num_nodes=config.num_nodes,
                precision=config.precision or "32-true",  # type: ignore[arg-type]
                logger=False,
                barebones=False,
                enable_checkpointing=False,
                enable_model_summary=False,
                enable_progress_bar=False,
            )
    # Lightning refuses with its own errors, with ValueError, TypeError and with torch's.
    except Exception as error:
        given = ", ".join(f"--{name} {value}" for name, value in asked.items())
        reason = " ".join(str(error).split())[:300]
        msg = f"{given or 'the device'}: cannot be had on this machine ({reason}). Change it."
        raise ConfigError(msg) from error
    return int(trainer.num_devices) * config.num_nodes
