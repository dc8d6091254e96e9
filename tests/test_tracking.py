"""Learning curves go to TensorBoard, and to an MLflow server where one is named and can be had."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from pytorch_lightning.loggers import CSVLogger

from core.base.settings import TrainConfig
from core.errors import ConfigError
from core.model.tracking import loggers, require_tracker, steady

if TYPE_CHECKING:
    from pathlib import Path


def test_without_an_address_curves_go_to_files_alone(tmp_path: Path) -> None:
    require_tracker(None)
    found = loggers(TrainConfig(), tmp_path / "member-0")
    assert [type(logger).__name__ for logger in found] == ["CSVLogger", "TensorBoardLogger"]


def test_a_server_without_mlflow_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ConfigError, match="pip install mlflow-skinny"):
        require_tracker("http://localhost:5000")


def test_a_password_does_not_enter_the_plan() -> None:
    with pytest.raises(ConfigError, match="MLFLOW_TRACKING_PASSWORD"):
        require_tracker("https://me:secret@host.example/")


def test_a_logger_that_dies_costs_its_curves_and_no_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logger = CSVLogger(tmp_path, name="", version="steps", flush_logs_every_n_steps=1)
    tracker = steady(logger, of="member-0 to http://gone:5000")
    tracker.log_hyperparams({"lr": 0.1})
    tracker.log_metrics({"loss": 1.0}, step=0)
    tracker.save()
    # Where it writes is gone, as a server may be.
    written = (tmp_path / "steps").rename(tmp_path / "elsewhere")
    (tmp_path / "steps").write_text("")
    for step in (1, 2):
        tracker.log_metrics({"loss": 0.5}, step=step)
        tracker.save()
    tracker.finalize("success")
    assert "loss" in (written / "metrics.csv").read_text()
    first, last = (record.getMessage() for record in caplog.records)
    assert "the training goes on without it" in first
    assert "2 of 3 points" in last
    assert "member-0 to http://gone:5000" in last
