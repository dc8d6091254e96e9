"""The app as a whole; that it keeps the contract is tested for every app in tests/test_apps.py."""

from __future__ import annotations

import pickle

from apps.retinopathy import APP


def test_the_app_pickles_and_its_outputs_are_allowed() -> None:
    # Partial functions never compare equal, so the names stand for the whole.
    copy = pickle.loads(pickle.dumps(APP))
    assert [m.name for m in copy.metrics] == [m.name for m in APP.metrics]
    columns = {column for unit in APP.units for column in unit.columns}
    assert columns <= set(APP.output_columns)
    assert [export.option for export in APP.exports] == ["", "overlays", "letters"]
    assert {e.option for e in APP.exports} - {""} <= {option.name for option in APP.options}
