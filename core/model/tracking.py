"""Where learning curves go: CSV, TensorBoard and, where asked for, an MLflow server.

MLflow is no dependency: it brings a web server and some twenty packages along. Whoever has it
installed names its address. A server that goes away during a training costs its curves there
and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from core.base.progress import log
from core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytorch_lightning.loggers import Logger

    from core.base.settings import TrainConfig

__all__ = ["loggers", "require_tracker", "steady"]

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
    from pytorch_lightning.loggers import CSVLogger, MLFlowLogger, TensorBoardLogger  # noqa: PLC0415  (imports torch)

    found: list[Logger] = [CSVLogger(folder, name="", version="steps")]
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        log.warning(
            "%s: no name in UTF-8, so TensorBoard cannot write there; curves are in log.csv",
            folder,
        )
    else:
        found.append(TensorBoardLogger(folder, name="", version="tensorboard"))
    if config.mlflow is not None:
        tracker = steady(
            MLFlowLogger(
                experiment_name=EXPERIMENT, run_name=folder.name, tracking_uri=config.mlflow
            ),
            of=f"{folder.name} to {config.mlflow}",
        )
        tracker.log_hyperparams(config.model_dump(exclude={"mlflow", "weights"}))
        found.append(tracker)
    return found


def steady(tracker: Logger, *, of: str) -> Logger:
    """A logger that never ends a training: it warns at the first failure and then is silent.

    Args:
        tracker: what logs.
        of: what is logged, and where to, for the warning.

    Returns:
        a logger that hands everything on, and says at its end what it could not.
    """
    from pytorch_lightning.loggers.logger import Logger as Base  # noqa: PLC0415  (imports torch)

    class Steady(Base):
        """See ``steady``."""

        def __init__(self) -> None:
            super().__init__()
            self.failed, self.n_lost, self.n_logged = "", 0, 0

        def _tried(self, hand_on: Callable[[], Any]) -> None:
            if self.failed:
                return
            try:
                hand_on()
            # A client of a server may raise whatever it likes; none of it is worth a training.
            except Exception as error:
                self.failed = " ".join(str(error).split())[:300] or type(error).__name__
                log.warning(
                    "MLflow: logging of %s failed (%s); the training goes on without it",
                    of,
                    self.failed,
                )

        @property
        def name(self) -> str:
            """Of the experiment."""
            return EXPERIMENT

        @property
        def version(self) -> str:
            """None of the server's: it may be gone."""
            return ""

        def log_metrics(self, metrics: Any, step: int | None = None) -> None:
            """Hand on one point of the curves."""
            self._tried(lambda: tracker.log_metrics(metrics, step))
            self.n_lost += bool(self.failed)
            self.n_logged += not self.failed

        def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
            """Hand on the settings."""
            self._tried(lambda: tracker.log_hyperparams(params, *args, **kwargs))

        def save(self) -> None:
            """Hand on."""
            self._tried(tracker.save)

        def finalize(self, status: str) -> None:
            """Hand on, and say what was lost."""
            self._tried(lambda: tracker.finalize(status))
            if self.failed:
                log.warning(
                    "MLflow: %d of %d points of the curves of %s were not logged (%s). All are in "
                    "the run: log.csv and tensorboard/",
                    self.n_lost,
                    self.n_lost + self.n_logged,
                    of,
                    self.failed,
                )

    return Steady()
