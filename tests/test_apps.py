import re
from pathlib import Path

import pytest

from core.app import app_names, find_app
from core.errors import AppError
from core.testing import check_app

ROOT = Path(__file__).resolve().parent.parent


# One app in every run of the tests, and all of them in `make test-slow`.
OFTEN = "crop_disease"


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n == OFTEN else pytest.mark.slow) for n in app_names()],
)
def test_app_keeps_its_contract(name: str, tmp_path: Path) -> None:
    check_app(find_app(name), tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_app_of_somebody_else_comes_in_by_the_same_door(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The example of CONTRIBUTING.md, as a package that is installed beside resight."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(\"\"\"Seeds.*?)```", text, re.DOTALL)
    site = tmp_path / "site"
    (site / "my_package").mkdir(parents=True)
    (site / "my_package" / "__init__.py").write_text(example)
    info = site / "my_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    group = '[project.entry-points."resight.apps"]'
    (point,) = re.findall(re.escape(group) + r"\n.*?\n", text)
    door = point.replace(group, "[resight.apps]")
    (info / "entry_points.txt").write_text(door.replace('"', ""))
    monkeypatch.syspath_prepend(site)
    assert "seeds" in app_names()
    (tmp_path / "work").mkdir()
    check_app(find_app("seeds"), tmp_path / "work")


def test_unknown_app_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(AppError, match="Did you mean 'crop_disease'"):
        find_app("crop_diseases")
