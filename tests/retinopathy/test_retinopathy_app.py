"""The app as a whole keeps the contract."""

from __future__ import annotations

import pickle
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import pytest

from apps.retinopathy import APP
from core.testing import check_app

if TYPE_CHECKING:
    from pathlib import Path


def test_check_app(tmp_path: Path) -> None:
    if "retinopathy" not in {point.name for point in entry_points(group="resight.apps")}:
        pytest.skip("needs the entry point: install the project again (pip install -e .)")
    check_app(APP, tmp_path)


def test_the_app_pickles_and_its_outputs_are_allowed() -> None:
    # Partial functions never compare equal, so the names stand for the whole.
    copy = pickle.loads(pickle.dumps(APP))
    assert [m.name for m in copy.metrics] == [m.name for m in APP.metrics]
    columns = {column for unit in APP.units for column in unit.columns}
    assert columns <= set(APP.output_columns)
    assert [export.option for export in APP.exports] == ["", "overlays", "letters"]
    assert {e.option for e in APP.exports} - {""} <= {option.name for option in APP.options}
