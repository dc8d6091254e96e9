"""The wheel and the source distribution hold what the tree holds."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
import typer
import yaml

import core
from core.cli.shared import guarded

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ("core", "apps", "data_cards")
# What a source distribution holds besides; a folder that is not there is none.
AROUND = ("tests", "docs", "bench", "examples", ".ci", ".github")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def files(root: Path, folders: tuple[str, ...]) -> set[str]:
    """Every file of these folders that Python did not make, relative to the root."""
    return {
        path.relative_to(root).as_posix()
        for folder in folders
        for path in (root / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, and the wheel that is built from it, as a release makes them."""
    tree = tmp_path_factory.mktemp("tree")
    for path in ROOT.iterdir():
        if path.is_dir() and path.name in {*PROGRAM, *AROUND}:
            shutil.copytree(path, tree / path.name)
        elif path.is_file():
            shutil.copy(path, tree / path.name)
    # A tree that was worked in: compiled files must not get into the wheel.
    cache = tree / "core" / "__pycache__"
    cache.mkdir(exist_ok=True)
    (cache / "left.cpython-311.pyc").touch()
    out = tree / "dist"
    # The lock holds setuptools, which is all the build needs.
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(tree)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return out


def test_the_wheel_holds_every_file_of_the_program(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert len(names) == len(set(names))
    inside = {name for name in names if ".dist-info/" not in name}
    assert inside == files(ROOT, PROGRAM)
    assert {"core/py.typed", "apps/py.typed", "data_cards/schema.json"} <= inside
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_sdist_holds_the_whole_project(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
        folders = {
            name.split("/", 1)[1]
            for name in archive.getnames()
            if "/" in name and archive.getmember(name).isdir()
        }
    made = {"PKG-INFO", "setup.cfg"}
    inside = {name for name in names - folders - made if not name.startswith("resight.egg-info/")}
    here = {path.name for path in ROOT.iterdir() if path.is_file() and path.name[0] != "."}
    assert inside == files(ROOT, (*PROGRAM, *AROUND)) | here


def test_every_place_states_one_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"]
    assert core.__version__ == PROJECT["version"] == cited
    assert f"\n## {cited} " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    # What a run is stamped with.
    assert version("resight") == core.__version__


def test_an_extra_that_is_wanting_is_named_and_another_absence_is_our_fault(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(typer.Exit) as left, guarded():
        raise ModuleNotFoundError(name="pyogrio.raw")
    assert left.value.exit_code == 2
    assert "pip install 'resight[geo]'" in capsys.readouterr().err
    with pytest.raises(ModuleNotFoundError), guarded():
        raise ModuleNotFoundError(name="core.gone")
