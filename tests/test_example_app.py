"""The example app: a package of somebody else, installed beside resight, keeps the contract."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from core.app import Source, app_names, find_app
from core.testing import check_app

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "chest_xray"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the package was installed into, offline and without its requirements."""
    folder = tmp_path_factory.mktemp("package")
    # A build writes beside its sources.
    source = shutil.copytree(EXAMPLE, folder / "source")
    uv = Path(sys.executable).parent / "uv"
    pip = [str(uv), "pip"] if uv.is_file() else [sys.executable, "-m", "pip"]
    offline = ["--offline", "--python", sys.executable] if uv.is_file() else ["--no-index"]
    command = [*pip, "install", "--quiet", "--no-deps", *offline, "--no-build-isolation"]
    subprocess.run([*command, "--target", str(folder / "site"), str(source)], check=True)
    return folder / "site"


def test_the_example_is_one_short_file() -> None:
    lines = (EXAMPLE / "chest_xray" / "__init__.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 100


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_an_installed_app_of_somebody_else_keeps_the_contract(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(installed)
    assert "chest_xray" in app_names()
    app = find_app("chest_xray")
    data = app.phantom(tmp_path / "nih", 12, 0)
    found = app.index(Source(paths=(data,), labelled=True, task=app.tasks[0])).table
    assert list(found["label"][:12:3]) == ["|", "Effusion", "Mass", "Effusion|Mass"]
    assert found["group"].nunique() == 4
    assert (found["status"] == "ok").all()
    (tmp_path / "work").mkdir()
    check_app(app, tmp_path / "work", n_images=36)
