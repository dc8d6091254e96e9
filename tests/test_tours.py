"""The first tour in an app's README runs, from the first line to the last."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from core.app import app_names
from core.cli.main import build

ROOT = Path(__file__).resolve().parent.parent
# Added to each training of a document, so that it takes seconds and no download.
TINY = shlex.split("--backbone test_resnet --weights none --epochs 0 --batch 8 --size 64")
# Those of mammography and retinopathy, and the tour of a field, run in tests of their own, which
# look at what they leave.
OURS = [
    name
    for name in app_names()
    if (ROOT / "apps" / name).is_dir() and name not in {"mammography", "retinopathy"}
]


def commands(file: Path) -> list[str]:
    """Lines starting with `$ resight` or `$ python` in the console blocks of the first tour."""
    text = file.read_text(encoding="utf-8").split("\n## A tour\n")[1].split("\n## ")[0]
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line[2:] for line in lines if line.startswith(("$ resight", "$ python"))]


def run(line: str) -> None:
    """Run one line of a tour, a training as small as can be."""
    words = shlex.split(line, comments=True)
    if words[0] == "python":
        assert words[1] == "-c", line
        exec(words[2], {})
        return
    done = CliRunner().invoke(build(), words[1:] + (TINY if words[1] == "train" else []))
    assert done.exit_code == 0, f"{line}\n{done.output}"


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", OURS)
def test_tour_of_an_app_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = commands(ROOT / "apps" / name / "README.md")
    verbs = {line.split()[1] for line in found if line.startswith("resight")}
    assert {"check", "train", "evaluate", "predict"} <= verbs
    for line in found:
        run(line)
