"""A published set that an app declares: the example of CONTRIBUTING.md, against another reader."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from core.app import Source
from core.errors import ManifestError

if TYPE_CHECKING:
    from core.app import App, Manifest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def declared() -> dict[str, Any]:
    """What the example in CONTRIBUTING.md defines."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    part = text.partition("## A published data set")[2]
    code = re.search(r"```python\n(.*?)```", part, re.DOTALL)
    assert code
    names: dict[str, Any] = {}
    exec(code[1], names)
    return names


@pytest.fixture(scope="module")
def app() -> App:
    """The example app, which reads the same layout without the schema."""
    place = ROOT / "examples" / "chest_xray" / "chest_xray" / "__init__.py"
    spec = importlib.util.spec_from_file_location("chest_xray_example", place)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: App = module.APP
    return found


def index(declared: dict[str, Any], app: App, data: Path, **settings: Any) -> Manifest:
    source = Source(paths=(data,), labelled=True, task=app.tasks[0], **settings)
    found: Manifest = declared["index"](source)
    return found


def test_a_declared_set_is_read_as_an_app_of_its_own_reads_it(
    declared: dict[str, Any], app: App, tmp_path: Path
) -> None:
    data = app.phantom(tmp_path, 12, 0)
    found = index(declared, app, data).table.set_index("image_id")
    other = app.index(Source(paths=(data,), labelled=True, task=app.tasks[0]))
    expected = other.table.set_index("image_id").loc[found.index]
    assert list(found["label"]) == list(expected["label"])
    assert list(found["group"]) == list(expected["group"])
    assert set(found["view"]) == {"PA", "AP"}
    assert set(found["status"]) == {"ok"}


def test_a_declared_set_needs_no_card_to_be_strict(
    declared: dict[str, Any], app: App, tmp_path: Path
) -> None:
    data = app.phantom(tmp_path / "nih", 6, 0)
    # A copy may be unpacked one folder deeper, under the later name of its table.
    (data / "Data_Entry_2017.csv").rename(data / "Data_Entry_2017_v2020.csv")
    assert set(index(declared, app, tmp_path).table["status"]) == {"ok"}
    by_view = index(declared, app, data, group="View Position")
    assert set(by_view.table["group"]) == {"PA", "AP"}
    assert "in the column View Position: 2 groups" in by_view.group_rule
    table = data / "Data_Entry_2017_v2020.csv"
    table.write_text(table.read_text().replace("Patient ID", "Patient No", 1))
    with pytest.raises(ManifestError, match=r"- Patient ID +\(renamed to Patient No\?\)"):
        index(declared, app, data)
