"""What the documents say is run: commands, options, files."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from core.app import find_app
from core.cli.main import build
from core.cli.page import page_of
from core.verbs.parts import part_of

ROOT = Path(__file__).resolve().parent.parent
# Added to each training of a document, so that it takes seconds and no download.
TINY = shlex.split("--backbone test_resnet --weights none --epochs 0 --batch 8 --size 64")


def commands(file: Path) -> list[str]:
    """Lines starting with `$ resight` in the console blocks of a document."""
    blocks = re.findall(r"```console\n(.*?)```", file.read_text(encoding="utf-8"), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line[2:] for line in lines if line.startswith("$ resight")]


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_commands_of_the_readme_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    phantom = find_app("crop_disease").phantom
    phantom(tmp_path / "leaves", 70, 1)
    phantom(tmp_path / "other_farm", 40, 2)
    found = commands(ROOT / "README.md")
    assert any(line.startswith("resight train") for line in found)
    for line in found:
        words = shlex.split(line, comments=True)[1:]
        if words[0] == "demo":
            continue  # run by `make demo`; it takes a minute
        done = CliRunner().invoke(build(), words + (TINY if words[0] == "train" else []))
        assert done.exit_code == 0, f"{line}\n{done.output}"


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
@pytest.mark.parametrize(
    ("code", "requeued"), [(130, "requeue 7"), (138, "requeue 7"), (0, ""), (2, "")]
)
def test_a_training_that_a_queue_stopped_goes_back_into_it(
    code: int, requeued: str, tmp_path: Path
) -> None:
    text = (ROOT / "docs" / "clusters.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    (script,) = [block for block in blocks if "resight train" in block]
    # Written down in place of asked: there is no SLURM here.
    for name, body in (
        ("srun", f'echo "$*" > {tmp_path}/srun.txt; exit {code}'),
        ("scontrol", f'echo "$*" > {tmp_path}/scontrol.txt'),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7", "USER": "me"}
    subprocess.run(["bash", "-c", script], env=env, check=False)
    assert "resight train crop_disease" in (tmp_path / "srun.txt").read_text()
    asked = tmp_path / "scontrol.txt"
    assert (asked.read_text().strip() if asked.exists() else "") == requeued


# What each queue does with a job, for none is here; resight writes down what it was asked.
SHIMS = {
    "resight": 'echo "$*" >> "$ASKED"',
    "srun": 'exec "$@"',
    "parallel": """
        shift 2
        while [ "$1" != ::: ]; do words+=("$1"); shift; done
        shift
        for one; do "${words[@]//\\{\\}/$one}"; done""",
}


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
@pytest.mark.parametrize(("queue", "n"), [("SLURM", 16), ("parallel", 8), ("Kubernetes", 8)])
def test_jobs_of_a_queue_are_all_parts_each_once(queue: str, n: int, tmp_path: Path) -> None:
    for name, body in SHIMS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    text = (ROOT / "docs" / "clusters.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    jobs: list[tuple[list[str], dict[str, str]]]
    if queue == "SLURM":
        (script,) = [block for block in blocks if "--array=" in block]
        first, last = map(int, re.findall(r"--array=(\d+)-(\d+)", script)[0])
        jobs = [
            (
                ["bash", "-c", script],
                {"SLURM_ARRAY_TASK_ID": f"{i}", "SLURM_ARRAY_TASK_COUNT": f"{last - first + 1}"},
            )
            for i in range(first, last + 1)
        ]
    elif queue == "parallel":
        (script,) = [block for block in blocks if block.startswith("parallel ")]
        jobs = [(["bash", "-c", script], {})]
    else:
        (page,) = [block for block in blocks if "completionMode: Indexed" in block]
        job = yaml.safe_load(page)["spec"]
        (container,) = job["template"]["spec"]["containers"]
        jobs = [
            ([*container["command"], *container["args"]], {"JOB_COMPLETION_INDEX": f"{i}"})
            for i in range(job["completions"])
        ]
    path = f"{tmp_path}:{os.environ['PATH']}"
    for command, named in jobs:
        env = {"PATH": path, "ASKED": str(tmp_path / "asked.txt"), **named}
        subprocess.run(command, env=env, check=True)
    asked = (tmp_path / "asked.txt").read_text().splitlines()
    predicted = [line.split() for line in asked if line.startswith("predict ")]
    parts = [part_of(words[words.index("--part") + 1]) for words in predicted]
    assert sorted(parts) == [(i, n) for i in range(1, n + 1)]
    assert len({words[words.index("--out") + 1] for words in predicted}) == n


def test_page_of_commands_is_what_the_commands_say() -> None:
    written = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    made = page_of(get_command(build()))
    assert written == made, "run: resight page > docs/cli.md"


def test_files_that_documents_name_exist() -> None:
    for file in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        for link in re.findall(r"\]\(([^)#:]+)\)", file.read_text(encoding="utf-8")):
            assert (file.parent / link).exists(), f"{file.name} names {link}"


def test_the_map_of_rooms_names_every_room() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for folder in (ROOT / "core", ROOT / "apps"):
        for entry in sorted(os.scandir(folder), key=lambda e: e.name):
            if entry.name.startswith("__") or not (entry.is_dir() or entry.name.endswith(".py")):
                continue
            assert entry.name.removesuffix(".py") in text, f"the tree lacks {entry.name}"
