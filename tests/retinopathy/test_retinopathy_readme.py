"""The tour of the app's README is run, on fewer and smaller photographs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from core.cli.main import build

README = Path(__file__).resolve().parents[2] / "apps" / "retinopathy" / "README.md"
# Added to a training, so that it takes seconds and no download.
TINY = shlex.split("--backbone test_resnet --weights none --epochs 1 --batch 8 --size 64")


def commands() -> list[list[str]]:
    """The words of each command in the console blocks."""
    text = README.read_text(encoding="utf-8")
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line[2:], comments=True) for line in lines if line.startswith("$ ")]


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_the_tour_runs_and_leaves_what_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RESIGHT_HOME", str(tmp_path / "home"))
    seen = set()
    for words in commands():
        if words[0] == "python":
            # Thirty patients are what a split into three needs.
            exec(words[2].replace(" 120,", " 60,"), {})
            continue
        assert words[0] == "resight", words
        seen.add(words[1])
        asked = words[1:] + (TINY if words[1] == "train" else [])
        done = CliRunner().invoke(build(), asked)
        assert done.exit_code == 0, f"{shlex.join(words)}\n{done.output}"
    assert seen == {"check", "train", "evaluate", "predict"}
    text = README.read_text(encoding="utf-8")
    for cell in re.findall(r"^\| (`[^|]+`) \| (?:an? )?[a-z]", text, re.MULTILINE):
        for name in re.findall(r"`([a-z]+(?:/[a-z]+)?\.csv)`", cell):
            assert (tmp_path / "predictions" / name).is_file(), f"{name} was not written"
