"""Learning curves go to TensorBoard, and to an MLflow server where one is named and can be had."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from core.base.settings import TrainConfig
from core.errors import ConfigError
from core.model.tracking import loggers, require_tracker

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
