"""The lock, the conda environment and bootstrap.py: what a fresh clone stands on."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from itertools import chain, pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
import rattler
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version
from rattler.exceptions import InvalidMatchSpecError

import bootstrap

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REQUIRED = {
    "pytorch-lightning",
    "timm",
    "monai",
    "albumentations",
    "pandas",
    "scikit-learn",
}
# Copyleft or non-commercial, or the umbrella package that stands in for pytorch-lightning.
FORBIDDEN = {
    "albumentationsx",
    "pylibjpeg-libjpeg",
    "pillow-heif",
    "lightning",
    "deepchecks",
    "fastdup",
    "ultralytics",
}
posix_only = pytest.mark.skipif(os.name == "nt", reason="builds on shell scripts and signals")


# --- pyproject.toml, the lock, the conda environment -------------------------------------


def requirements() -> list[Requirement]:
    """Every dependency of the project and its extras, but for the extras' own names."""
    lines = [*PROJECT["dependencies"], *chain(*PROJECT["optional-dependencies"].values())]
    found = [Requirement(line) for line in lines]
    return [requirement for requirement in found if requirement.name != PROJECT["name"]]


def pins(path: Path) -> list[tuple[Requirement, int]]:
    """Each pin of a lock and how many hashes it has."""
    logical = path.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    return [
        (
            Requirement(line.split("--hash=")[0]),
            len(re.findall(r"--hash=sha256:[0-9a-f]{64}", line)),
        )
        for line in logical
        if line.strip()
    ]


def version_of(pin: Requirement) -> Version:
    """The one version that a pin allows."""
    (specifier,) = pin.specifier
    assert specifier.operator == "=="
    return Version(specifier.version)


LOCKS = [ROOT / "requirements.lock", ROOT / "bootstrap.lock"]


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_every_pin_is_exact_and_hashed(path: Path) -> None:
    found = pins(path)
    assert found
    assert all(version_of(pin) and n_hashes for pin, n_hashes in found)


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_a_lock_names_no_address(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"://|--(extra-)?index-url|--find-links|\b[a-z-]+\.(org|com|io)\b", text)


def test_the_lock_of_uv_holds_a_uv_that_bootstrap_accepts() -> None:
    ((pin, _),) = pins(ROOT / "bootstrap.lock")
    assert pin.name == "uv"
    assert version_of(pin).release[:2] >= bootstrap.OLDEST_UV


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_every_dependency_is_locked_within_its_bounds(requirement: Requirement) -> None:
    # A universal lock may hold one pin for an older Python and one for a newer.
    name = canonicalize_name(requirement.name)
    locked = [version_of(pin) for pin, _ in pins(LOCKS[0]) if canonicalize_name(pin.name) == name]
    assert locked
    assert all(requirement.specifier.contains(version) for version in locked)


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_every_dependency_has_a_lower_bound(requirement: Requirement) -> None:
    # Without one a resolver slides back years to satisfy another package.
    assert any(specifier.operator in {">=", "==", "~="} for specifier in requirement.specifier)


def test_every_dependency_is_explained_on_the_line_above() -> None:
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    names = {requirement.name for requirement in requirements()}
    bare = []
    for before, line in pairwise(lines):
        entry = re.match(r'\s+"([A-Za-z0-9_.-]+)[^"]*[<>=][^"]*",?$', line)
        if entry and entry.group(1) in names and not before.strip().startswith("#"):
            bare.append(line.strip())
    assert not bare


def test_nothing_forbidden_is_locked_or_asked_for() -> None:
    locked = {canonicalize_name(pin.name): version_of(pin) for pin, _ in pins(LOCKS[0])}
    asked = {canonicalize_name(requirement.name) for requirement in requirements()}
    assert not FORBIDDEN & (set(locked) | asked)
    # Published from a compromised account.
    assert str(locked["pytorch-lightning"]) not in {"2.6.2", "2.6.3"}


def test_bootstrap_and_pyproject_want_the_same_python() -> None:
    wanted = SpecifierSet(PROJECT["requires-python"])
    accepted = [minor for minor in range(8, 20) if wanted.contains(f"3.{minor}")]
    assert (accepted[0], accepted[-1]) == (bootstrap.OLDEST[1], bootstrap.NEWEST[1])


@pytest.fixture(scope="module")
def conda() -> SimpleNamespace:
    """The environment file: its fields, conda specifications and pip lines."""
    content = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    (section,) = [entry for entry in content["dependencies"] if isinstance(entry, dict)]
    specs = [entry for entry in content["dependencies"] if isinstance(entry, str)]
    return SimpleNamespace(content=content, specs=specs, pip=section["pip"])


def test_conda_accepts_each_specification(conda: SimpleNamespace) -> None:
    names = {rattler.MatchSpec(spec).name.normalized for spec in conda.specs}
    assert names == REQUIRED | {"python", "pip"}
    # The parser is one that refuses.
    with pytest.raises(InvalidMatchSpecError):
        rattler.MatchSpec("pandas >==3")


def test_conda_has_the_bounds_of_pyproject(conda: SimpleNamespace) -> None:
    bounds = {requirement.name: requirement.specifier for requirement in requirements()}
    bounds["python"] = SpecifierSet(PROJECT["requires-python"])
    stated = dict(spec.split(" ", 1) for spec in conda.specs if spec != "pip")
    assert {name: SpecifierSet(text) for name, text in stated.items()} == {
        name: bounds[name] for name in REQUIRED | {"python"}
    }


def test_conda_takes_the_rest_from_this_project_without_hashes(conda: SimpleNamespace) -> None:
    # pip refuses a folder beside hashed requirements: the two forms must not be mixed.
    assert conda.pip == ["-e .[all]"]
    assert "all" in PROJECT["optional-dependencies"]
    assert conda.content["variables"] == {"NO_ALBUMENTATIONS_UPDATE": "1"}
    assert conda.content["channels"] == ["conda-forge", "nodefaults"]


# --- bootstrap.py on machines that lack something ----------------------------------------


def run(
    clone: Path, *arguments: str, python: str = sys.executable, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a clone's bootstrap.py in an environment of these variables alone."""
    env = {
        "PATH": "/nonexistent",
        "HOME": str(clone.parent / "home"),
        "HTTPS_PROXY": os.environ["HTTPS_PROXY"],
        **variables,
    }
    return subprocess.run(
        [python, str(clone / "bootstrap.py"), *arguments],
        env=env,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )


def script(path: Path, text: str) -> Path:
    """A program for the shell."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def fake_python(
    path: Path, version: str, *, has_wheels: bool = True, has_venv: bool = True
) -> Path:
    """A program that answers bootstrap's question as such an interpreter would."""
    numbers = [int(part) for part in version.split(".")]
    return script(path, f"echo '{json.dumps([str(path), numbers, has_wheels, has_venv])}'")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A project as small as can be: bootstrap.py, its locks, setuptools as only dependency."""
    folder = tmp_path / "clone"
    (folder / "core").mkdir(parents=True)
    (folder / "core" / "__init__.py").touch()
    for name in ("bootstrap.py", "bootstrap.lock", "Makefile"):
        shutil.copy(ROOT / name, folder / name)
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    (setuptools,) = re.findall(r"^setuptools==(?:.*\\\n)*.*\n", lock, re.MULTILINE)
    (folder / "requirements.lock").write_text(setuptools, encoding="utf-8")
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "resight"\nversion = "1"\n[tool.setuptools]\npackages = ["core"]\n',
        encoding="utf-8",
    )
    return folder


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Variables that let a clone find uv and its cache, but no network; skips without them."""
    monkeypatch.setattr(bootstrap, "STATE", ROOT / ".bootstrap")
    uv = bootstrap.find_uv()
    if uv is None:
        pytest.skip("needs uv, on PATH or where `make install` puts it")
    cache = bootstrap.output_of([uv, "cache", "dir"]) or ""
    probe = [uv, "pip", "install", "--dry-run", "--reinstall", "--offline", "--no-deps"]
    if bootstrap.output_of([*probe, "--python", sys.executable, "setuptools"]) is None:
        pytest.skip("needs setuptools in uv's cache, as `make install` leaves it")
    # A version manager's shim needs the rest of PATH.
    path = f"{Path(uv).parent}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "UV_CACHE_DIR": cache, "UV_OFFLINE": "1"}


def test_bootstrap_can_be_read_by_an_old_python() -> None:
    source = (ROOT / "bootstrap.py").read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 6))
    imported = {
        alias.name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert {str(name).split(".")[0] for name in imported} <= set(sys.stdlib_module_names)


def test_a_wrong_python_is_named_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = fake_python(tmp_path / "bin" / "python3", "3.9.18")
    monkeypatch.setenv("PATH", str(old.parent))
    monkeypatch.setattr(sys, "executable", str(old))
    with pytest.raises(bootstrap.SetupError) as error:
        bootstrap.find_python(needs_venv=True)
    assert f"{old} (3.9.18)" in str(error.value)
    assert "apt install python3 python3-venv" in str(error.value)


def test_an_old_interpreter_reads_what_to_install(clone: Path) -> None:
    names = [f"python3.{minor}" for minor in range(6, 11)]
    found = [bootstrap.probe(path) for name in names for path in bootstrap.on_path(name)]
    real = next((python for python in found if python), None)
    if real is None:
        pytest.skip("no Python from 3.6 to 3.10 runs here")
    done = run(clone, "install", python=real.path)
    assert done.returncode == 2
    assert "No 64-bit CPython 3.11, 3.12 or 3.13 was found" in done.stderr
    assert "Traceback" not in done.stderr


@posix_only
def test_a_shim_that_fails_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shims, real = tmp_path / "shims", tmp_path / "real"
    script(shims / "python3.13", "exit 127")
    script(shims / "python3.12", "exit 127")
    wanted = fake_python(real / "python3.12", "3.12.4")
    fake_python(real / "python3.11", "3.11.9")
    monkeypatch.setenv("PATH", f"{shims}{os.pathsep}{real}")
    monkeypatch.setattr(sys, "executable", str(fake_python(tmp_path / "python", "3.10.1")))
    assert bootstrap.find_python(needs_venv=True).path == str(wanted)
    # The Python that .venv was made with is kept rather than changed for a newer one.
    assert bootstrap.find_python(needs_venv=True, wanted="3.11").minor == "3.11"


@posix_only
def test_a_python_without_venv_is_passed_over_unless_uv_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = fake_python(tmp_path / "bin" / "python3", "3.11.2", has_venv=False)
    monkeypatch.setenv("PATH", str(bare.parent))
    monkeypatch.setattr(sys, "executable", str(bare))
    assert bootstrap.find_python(needs_venv=False).path == str(bare)
    with pytest.raises(bootstrap.SetupError, match=r"apt install python3-venv or python3\.11-venv"):
        bootstrap.find_python(needs_venv=True)
    whole = fake_python(tmp_path / "bin" / "python3.12", "3.12.1")
    assert bootstrap.find_python(needs_venv=True).path == str(whole)


@posix_only
@pytest.mark.parametrize("build", ["free-threaded or 32-bit", "newer"])
def test_a_build_without_wheels_is_not_chosen(
    build: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = "3.14.0" if build == "newer" else "3.13.1"
    python = fake_python(tmp_path / "bin" / "python3", version, has_wheels=build == "newer")
    monkeypatch.setenv("PATH", str(python.parent))
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(bootstrap.SetupError, match="No 64-bit CPython"):
        bootstrap.find_python(needs_venv=True)


@posix_only
def test_an_uv_that_fails_or_is_too_old_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path / "shim" / "uv", "exit 127")
    script(tmp_path / "old" / "uv", "echo uv 0.4.30")
    monkeypatch.setattr(bootstrap, "STATE", tmp_path / "state")
    monkeypatch.setenv("PATH", f"{tmp_path / 'shim'}{os.pathsep}{tmp_path / 'old'}")
    assert bootstrap.find_uv() is None
    new = script(tmp_path / "new" / "uv", "echo 'uv 0.13.9 (x86_64)'")
    monkeypatch.setenv("PATH", os.pathsep.join(str(tmp_path / n) for n in ("shim", "old", "new")))
    assert bootstrap.find_uv() == str(new)


def test_a_disk_too_small_is_refused_before_downloading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "output_of", lambda _: str(tmp_path / "cold" / "cache"))
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=int(1.5e9)))
    with pytest.raises(bootstrap.SetupError, match=r"1\.5 GB are free .* UV_CACHE_DIR"):
        bootstrap.require_space("uv")
    # A warm cache on the same disk is linked, not copied.
    (tmp_path / "cold" / "cache" / "archive-v0").mkdir(parents=True)
    bootstrap.require_space("uv")


@pytest.mark.parametrize(
    ("output", "advice"),
    [
        ("failed to copy: No space left on device (os error 28)", "The disk is full"),
        ("invalid peer certificate: UnknownIssuer", "SSL_CERT_FILE and PIP_CERT"),
        ("Network connectivity is disabled, but the data wasn't found", "could not be reached"),
        ("dns error: failed to lookup address information", "could not be reached"),
        ("Error: No module named venv", "apt install python3-venv"),
        ("ensurepip is not available", "apt install python3-venv"),
        ("Hash mismatch for `timm==1`", "not what was locked"),
        ("torch==2 has no wheels with a matching platform tag", "environment.yml"),
        ("Permission denied (os error 13)", "Change its permissions"),
        ("segmentation fault", "The lines above say why"),
    ],
)
def test_the_advice_fits_the_failure(output: str, advice: str) -> None:
    assert advice in bootstrap.explain_output(output)


def test_an_index_out_of_reach_is_named(clone: Path, offline: dict[str, str]) -> None:
    # The cache is empty and uv is told to stay offline: what a machine without network sees.
    empty = str(clone.parent / "empty-cache")
    done = run(clone, "install", **{**offline, "UV_CACHE_DIR": empty})
    assert done.returncode == 2
    assert "The package index could not be reached" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (clone / ".venv" / "resight.json").exists()


def test_without_uv_and_without_network_the_index_is_named(clone: Path) -> None:
    # pip asks a proxy that is not there, five times over unless told otherwise.
    done = run(
        clone,
        "install",
        PIP_RETRIES="0",
        PIP_CONFIG_FILE=os.devnull,
    )
    assert done.returncode == 2
    assert "uv could not be installed. The package index could not be reached" in done.stderr
    assert not (clone / ".venv").exists()


def test_an_environment_made_by_hand_is_not_replaced(clone: Path, offline: dict[str, str]) -> None:
    (clone / ".venv").mkdir()
    (clone / ".venv" / "mine").touch()
    for command in ("install", "clean"):
        done = run(clone, command, **offline)
        assert done.returncode == 2
        assert "bootstrap.py did not make it" in done.stderr
    assert (clone / ".venv" / "mine").exists()


def test_an_unknown_command_lists_the_known(clone: Path) -> None:
    done = run(clone, "tset")
    assert done.returncode == 2
    assert "'tset'" in done.stderr
    assert all(f"  {name} " in done.stderr for name in bootstrap.COMMANDS)


def test_make_adds_nothing_to_bootstrap() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    (targets,) = re.findall(r"^([a-z ]+):\n\t@for", text, re.MULTILINE)
    assert set(targets.split()) == set(bootstrap.COMMANDS)


@posix_only
def test_make_without_a_python_says_what_to_install(clone: Path) -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("needs make")
    done = subprocess.run(
        [make, "install", f"PYTHON={clone}/no-python"],
        cwd=clone,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 2
    assert "Install Python 3.11, 3.12 or 3.13" in done.stderr


# --- bootstrap.py making an environment --------------------------------------------------


@pytest.fixture
def stamped(clone: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone whose .venv is whole as far as its stamp says; ``bootstrap`` looks at it."""
    python = clone / ".venv" / bootstrap.BIN / ("python" + bootstrap.EXE)
    python.parent.mkdir(parents=True)
    python.touch()
    look_at(clone, monkeypatch)
    minor = "{}.{}".format(*sys.version_info)
    bootstrap.STAMP.write_text(json.dumps(bootstrap.fingerprint(minor)), encoding="utf-8")
    assert bootstrap.is_current(bootstrap.read_stamp())
    return clone


def look_at(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the imported ``bootstrap`` work on another clone than this one."""
    for name in ("VENV", "LOCK", "UV_LOCK", "PROJECT", "STATE", "OWNED", "STAMP"):
        here = getattr(bootstrap, name)
        monkeypatch.setattr(bootstrap, name, clone / here.relative_to(bootstrap.ROOT))
    monkeypatch.setattr(bootstrap, "ROOT", clone)


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
def test_a_changed_lock_or_project_makes_the_environment_stale(name: str, stamped: Path) -> None:
    with (stamped / name).open("a", encoding="utf-8") as stream:
        stream.write("# changed\n")
    assert not bootstrap.is_current(bootstrap.read_stamp())


def test_an_interpreter_that_is_gone_makes_the_environment_stale(stamped: Path) -> None:
    (stamped / ".venv" / bootstrap.BIN / ("python" + bootstrap.EXE)).unlink()
    assert not bootstrap.is_current(bootstrap.read_stamp())


def test_a_clone_that_moved_makes_the_environment_stale(
    stamped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Console scripts hold the absolute path of their interpreter.
    moved = stamped.rename(stamped.with_name("moved"))
    look_at(moved, monkeypatch)
    assert not bootstrap.is_current(bootstrap.read_stamp())


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"python": "3.11"'])
def test_a_damaged_stamp_counts_as_none(content: str, stamped: Path) -> None:
    (stamped / ".venv" / "resight.json").write_text(content, encoding="utf-8")
    assert not bootstrap.is_current(bootstrap.read_stamp())


def test_a_program_that_is_missing_is_a_broken_environment(stamped: Path) -> None:
    done = run(stamped, "test")
    assert done.returncode == 2
    assert ".venv is broken" in done.stderr
    assert "python bootstrap.py clean" in done.stderr


def test_an_environment_is_made_once_and_kept_up_to_date(
    clone: Path, offline: dict[str, str]
) -> None:
    first = run(clone, "install", **offline)
    assert first.returncode == 0, first.stderr
    stamp = clone / ".venv" / "resight.json"
    written = stamp.stat().st_mtime_ns

    elapsed = []
    for _ in range(3):
        start = time.perf_counter()
        again = run(clone, "install", **offline)
        elapsed.append(time.perf_counter() - start)
        assert (again.returncode, again.stderr) == (0, "")
        assert stamp.stat().st_mtime_ns == written
    # 0.05 s; the best of three, for the machine may be busy.
    assert min(elapsed) < 1

    # A change of the project alone reinstalls the project alone.
    project = clone / "pyproject.toml"
    text = project.read_text(encoding="utf-8")
    project.write_text(text + "# changed\n", encoding="utf-8")
    third = run(clone, "install", **offline)
    assert third.returncode == 0, third.stderr
    assert "Building resight" in third.stderr
    assert "installing requirements.lock" not in third.stderr

    # A dependency that the lock lacks is not found out by the user.
    wanting = text.replace('version = "1"\n', 'version = "1"\ndependencies = ["timm>=1"]\n')
    project.write_text(wanting, encoding="utf-8")
    fourth = run(clone, "install", **offline)
    assert fourth.returncode == 2
    assert "requirements.lock does not fit pyproject.toml; run `make lock`" in fourth.stderr
    assert not stamp.exists()

    cleaned = run(clone, "clean", **offline)
    assert cleaned.returncode == 0, cleaned.stderr
    assert not (clone / ".venv").exists()


@posix_only
def test_two_calls_at_once_and_a_killed_one_leave_a_whole_environment(
    clone: Path, offline: dict[str, str]
) -> None:
    command = [sys.executable, str(clone / "bootstrap.py"), "install"]
    env = {"HOME": str(clone.parent / "home"), **offline}

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=log)

    with (clone.parent / "log").open("wb") as log:
        killed = start()
        deadline = time.monotonic() + 60
        while not (clone / ".venv").exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        killed.send_signal(signal.SIGKILL)
        assert killed.wait() == -signal.SIGKILL
        assert not (clone / ".venv" / "resight.json").exists()
        both = [start(), start()]
        assert [process.wait(timeout=120) for process in both] == [0, 0]
    # One made it, the other waited and found it made.
    assert (clone.parent / "log").read_text(encoding="utf-8").count("installing requirements") <= 2
    stamp = json.loads((clone / ".venv" / "resight.json").read_text(encoding="utf-8"))
    assert stamp["root"] == str(clone)
    made = clone / ".venv" / bootstrap.BIN / "python"
    assert bootstrap.output_of([str(made), "-c", "import core, setuptools"]) is not None


@posix_only
def test_an_install_that_outlives_its_call_is_waited_for(clone: Path) -> None:
    # uv goes on when the call that started it is killed; the next call must not meet it.
    log, warm = clone.parent / "log", clone.parent / "cache"
    (warm / "archive-v0").mkdir(parents=True)
    uv = script(
        clone.parent / "bin" / "uv",
        f'case "$1" in --version) echo uv 0.13.9; exit;; cache) echo {warm}; exit;; esac\n'
        f"echo start >> {log}; sleep 1; echo end >> {log}; exit 1",
    )
    command = [sys.executable, str(clone / "bootstrap.py"), "install"]
    env = {"PATH": f"{uv.parent}:{os.environ['PATH']}", "HOME": str(clone.parent)}
    first = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not log.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    first.kill()
    first.wait()
    done = subprocess.run(command, env=env, capture_output=True, check=False, timeout=60)
    assert done.returncode == 2
    assert log.read_text(encoding="utf-8").split() == ["start", "end", "start", "end"]


# --- conftest.py -------------------------------------------------------------------------


def test_the_network_is_out_of_reach_of_tests() -> None:
    import socket  # noqa: PLC0415

    with pytest.raises(pytest.fail.Exception, match="reached for the network"):
        socket.create_connection(("192.0.2.1", 80), timeout=0.1)
    with pytest.raises(pytest.fail.Exception, match="reached for the network"):
        socket.getaddrinfo("example.invalid", 80)
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()
