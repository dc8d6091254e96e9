"""Where learning curves go: CSV, TensorBoard and, where asked for, an MLflow server.

MLflow is no dependency: it brings a web server and some twenty packages along. Whoever has it
installed names its address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from pytorch_lightning.loggers import Logger

    from core.base.settings import TrainConfig

__all__ = ["loggers", "require_tracker"]

EXPERIMENT = "resight"


def require_tracker(address: str | None) -> None:
    """Refuse an MLflow server that cannot be written to, before anything is trained.

    Raises:
        ConfigError: MLflow is not installed, the address holds a password, or nothing answers.
    """
    if address is None:
        return
    if "@" in urlsplit(address).netloc:
        msg = (
            "--mlflow: the address holds a name or password, and the run's plan keeps the address. "
            "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead."
        )
        raise ConfigError(msg)
    try:
        from mlflow import MlflowClient  # noqa: PLC0415  (no dependency)
        from mlflow.exceptions import MlflowException  # noqa: PLC0415
    except ImportError as error:
        msg = f"--mlflow {address}: MLflow is not installed. Install it: pip install mlflow-skinny."
        raise ConfigError(msg) from error
    try:
        MlflowClient(tracking_uri=address).search_experiments(max_results=1)
    except MlflowException as error:
        reason = " ".join(str(error).split())[:300]
        msg = (
            f"--mlflow {address}: MLflow cannot log there ({reason}). Name a server that runs, or "
            "leave the option out: the run keeps its curves for TensorBoard."
        )
        raise ConfigError(msg) from error


def loggers(config: TrainConfig, folder: Path) -> list[Logger]:
    """Lightning's loggers of the training of one network.

    Args:
        config: ``mlflow`` is the address, or None.
        folder: of the network, named ``member-0`` and so on.
    """
    from pytorch_lightning.loggers import (  # noqa: PLC0415  (imports torch)
        CSVLogger,
        MLFlowLogger,
        TensorBoardLogger,
    )

    found: list[Logger] = [
        CSVLogger(folder, name="", version="steps"),
        TensorBoardLogger(folder, name="", version="tensorboard"),
    ]
    if config.mlflow is not None:
        tracker = MLFlowLogger(
            experiment_name=EXPERIMENT, run_name=folder.name, tracking_uri=config.mlflow
        )
        tracker.log_hyperparams(config.model_dump(exclude={"mlflow", "weights"}))
        found.append(tracker)
    return found
