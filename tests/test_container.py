"""The Dockerfile, as far as it can be tried without a registry of images."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
INSTRUCTIONS = {
    *("ARG", "FROM", "RUN", "ENV", "WORKDIR", "COPY", "USER", "HEALTHCHECK", "ENTRYPOINT", "CMD"),
}


def steps() -> list[tuple[str, str]]:
    """(instruction, the rest) of each step, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
    lines = text.replace("\\\n", "\0").splitlines()
    found = [line.replace("\0", "\\\n").partition(" ") for line in lines if line.strip()]
    return [(word, rest.strip()) for word, _, rest in found]


def targets() -> dict[str, list[tuple[str, str]]]:
    """Name of each stage -> its steps, those of the stage it begins with before."""
    found: dict[str, list[tuple[str, str]]] = {}
    name = ""
    for word, rest in steps():
        if word == "FROM":
            before, _, name = rest.partition(" AS ")
            found[name] = list(found.get(before, []))
        elif name:
            found[name].append((word, rest))
    return found


def commands() -> list[str]:
    """What the shell of the image runs."""
    return [rest for word, rest in steps() if word == "RUN"]


def test_steps_are_instructions_and_lists_are_lists() -> None:
    assert {word for word, _ in steps()} <= INSTRUCTIONS
    for word, rest in steps():
        if word in {"ENTRYPOINT", "CMD"}:
            assert all(isinstance(item, str) for item in json.loads(rest))


@pytest.mark.skipif(not shutil.which("sh"), reason="needs a shell of POSIX")
def test_the_shell_reads_every_command() -> None:
    for command in commands():
        done = subprocess.run(
            ["sh", "-n"], input=command, text=True, capture_output=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"


def test_what_is_copied_is_there_and_goes_along() -> None:
    left_out = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    for word, rest in steps():
        for name in rest.split()[:-1] if word == "COPY" else []:
            assert (ROOT / name).exists()
            assert name not in left_out


@pytest.mark.parametrize("target", ["predict", "train"])
def test_it_runs_as_a_user_who_is_not_root_and_says_whether_it_works(target: str) -> None:
    made = targets()[target]
    assert [rest for word, rest in made if word == "USER"] == ["resight"]
    assert any("useradd" in rest and "resight" in rest for word, rest in made if word == "RUN")
    # What follows writes nothing where that user may not.
    assert [word for word, _ in made].index("USER") > max(
        number for number, (word, _) in enumerate(made) if word in {"RUN", "COPY"}
    )
    (check,) = [rest for word, rest in made if word == "HEALTHCHECK"]
    assert json.loads(check.partition("CMD ")[2]) == ["resight", "--version"]


def test_without_a_target_it_trains_and_predict_has_no_torch() -> None:
    assert list(targets())[-1] == "train"
    installed = [rest for word, rest in targets()["predict"] if word == "RUN"]
    assert not any("requirement requirements.lock" in command for command in installed)
    light = (ROOT / "core" / "prediction" / "requirements.txt").read_text(encoding="utf-8")
    assert not re.search(r"^(torch|monai|timm)==", light, re.MULTILINE)


@pytest.mark.skipif(not shutil.which("sed"), reason="needs sed")
def test_what_makes_the_wheel_is_one_package_with_its_hashes() -> None:
    (script,) = re.findall(r"sed -n '([^']+)' requirements.lock", " ".join(commands()))
    made = subprocess.run(
        ["sed", "-n", script, "requirements.lock"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    first, *hashes = made.stdout.replace("\\\n", "").split()
    assert first.startswith("setuptools==")
    assert hashes
    assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", one) for one in hashes)


def test_extras_that_it_installs_are_those_of_the_project() -> None:
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    named = set(re.findall(r"--extra (\w+)", " ".join(commands())))
    assert named == set(content["project"]["optional-dependencies"]) - {"all", "dev", "docs"}


@pytest.mark.skipif(not shutil.which("sed"), reason="needs sed")
def test_its_versions_are_those_of_the_lock(tmp_path: Path) -> None:
    (script,) = re.findall(r"sed '([^']+)' requirements.lock", " ".join(commands()))
    made = subprocess.run(
        ["sed", script, "requirements.lock"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    pins = [Requirement(line) for line in made.stdout.splitlines() if line[:1] not in {"", "#"}]
    locked = re.findall(r"^([\w.-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert [pin.name for pin in pins] == locked


@pytest.mark.parametrize("kind", ["cpu", "cuda", "tpu"])
@pytest.mark.skipif(not shutil.which("sh"), reason="needs a shell of POSIX")
def test_an_accelerator_that_is_none_is_refused(kind: str, tmp_path: Path) -> None:
    (choice,) = [command for command in commands() if command.startswith("case")]
    (tmp_path / "uv").write_text('#!/bin/sh\necho "uv $*"\n', encoding="utf-8")
    (tmp_path / "uv").chmod(0o755)
    shutil.copy(ROOT / "requirements.lock", tmp_path)
    done = subprocess.run(
        ["sh", "-c", choice],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "ACCELERATOR": kind},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == (2 if kind == "tpu" else 0)
    assert ("--require-hashes" in done.stdout) == (kind == "cuda")
    assert ("--torch-backend cpu" in done.stdout) == (kind == "cpu")
    assert ("ACCELERATOR is cpu or cuda, not 'tpu'" in done.stderr) == (kind == "tpu")
