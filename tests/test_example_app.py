"""The example app: a package of somebody else, installed beside resight, keeps the contract."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "chest_xray"
CODE = """
import sys
from pathlib import Path
from core.app import Source, app_names, find_app
from core.testing import check_app

assert "chest_xray" in app_names(), app_names()
app = find_app("chest_xray")
data = app.phantom(Path(sys.argv[1]) / "nih", 12, 0)
found = app.index(Source(paths=(data,), labelled=True, task=app.tasks[0])).table
assert list(found["label"][:12:3]) == ["|", "Effusion", "Mass", "Effusion|Mass"], found["label"]
assert found["group"].nunique() == 4 and (found["status"] == "ok").all()
work = Path(sys.argv[1]) / "work"
work.mkdir()
check_app(app, work, n_images=36)
"""


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


def test_an_installed_app_of_somebody_else_keeps_the_contract(
    installed: Path, tmp_path: Path
) -> None:
    paths = [str(installed), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, "-c", CODE, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
