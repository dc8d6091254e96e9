"""The lock, the conda environment and bootstrap.py: what a fresh clone stands on."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
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


JOBS = sorted((ROOT / ".github").rglob("*.yml"))


@pytest.mark.parametrize("path", [ROOT / ".ci" / "run", ROOT / "CONTRIBUTING.md", *JOBS], ids=str)
def test_every_make_target_that_is_named_exists(path: Path) -> None:
    (line,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    named = re.findall(r"^(?:.*run: )?make ([a-z-]+)", path.read_text("utf-8"), re.MULTILINE)
    assert set(named) <= set(line.split())


def test_the_public_ci_tests_every_python_that_is_allowed() -> None:
    for path in JOBS:
        assert yaml.safe_load(path.read_text(encoding="utf-8"))
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]
    wanted = SpecifierSet(PROJECT["requires-python"])
    allowed = [f"3.{minor}" for minor in range(8, 20) if wanted.contains(f"3.{minor}")]
    assert jobs["test"]["strategy"]["matrix"]["python"] == allowed
    ends = [tuple(map(int, allowed[i].split("."))) for i in (0, -1)]
    assert ends == [bootstrap.OLDEST, bootstrap.NEWEST]


# --- bootstrap.py ------------------------------------------------------------------------


def test_bootstrap_needs_the_standard_library_alone_and_parses_on_old_pythons() -> None:
    text = (ROOT / "bootstrap.py").read_text(encoding="utf-8")
    tree = ast.parse(text, feature_version=(3, 6))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [str(node.module)]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("version", [(3, 10, 14), (3, 14, 0)])
def test_a_wrong_python_is_named_with_what_to_install(
    version: tuple[int, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    monkeypatch.setattr(sys, "version", ".".join(map(str, version)) + " (main)")
    with pytest.raises(SystemExit) as left:
        bootstrap.main(["test"])
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert "This is Python {}.{}.{}.".format(*version) in said
    assert "apt install python3 python3-venv" in said


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("failed to copy: No space left on device (os error 28)", "The disk is full"),
        ("invalid peer certificate: UnknownIssuer", "SSL_CERT_FILE"),
        ("dns error: failed to lookup address information", "index could not be reached"),
        ("Failed to establish a new connection: [Errno 111]", "index could not be reached"),
        ("ERROR: No matching distribution found for uv==0.13", "index could not be reached"),
        ("The virtual environment was not created: ensurepip is not", "apt install python3"),
        ("/usr/bin/python3: No module named venv", "without its venv module"),
        ("Hash mismatch for `timm==1`", "not what was locked"),
        ("torch==2 has no wheels with a matching platform tag", "environment.yml"),
        ("Permission denied (os error 13)", "permissions"),
        ("segmentation fault", "The lines above say why"),
    ],
)
def test_the_advice_fits_the_failure(output: str, expected: str) -> None:
    assert expected in bootstrap.advice(output)


def test_a_full_disk_is_named_even_where_the_step_does_not_say_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10_000_000))
    hidden = "Command '[python, -m, ensurepip, --upgrade]' returned non-zero exit status 1."
    assert "The disk is full" in bootstrap.advice(hidden)


# Seconds for one step; a venv takes 3 on a machine that is idle and minutes on one that is not.
PATIENCE = 900


def repacked(name: str, folder: Path) -> str:
    """Make the wheel of an installed package again; return its pin with the hash."""
    found = distribution(name)
    wheel = folder / f"{name}-{found.version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file in found.files or ():
            if file.parts[0] == ".." and file.parts[-2] == bootstrap.BIN.name:
                archive.write(file.locate(), f"{name}-{found.version}.data/scripts/{file.name}")
            elif file.parts[0] != ".." and file.suffix != ".pyc":
                archive.write(file.locate(), str(file))
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f"{name}=={found.version} --hash=sha256:{digest}\n"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """An index in a folder: the installer, the build's only need, and a package of the user's."""
    folder = tmp_path_factory.mktemp("wheels")
    try:
        return folder, {name: repacked(name, folder) for name in ("uv", "setuptools", "iniconfig")}
    except PackageNotFoundError:
        pytest.skip("needs the uv that bootstrap.py puts into .venv")


@pytest.fixture
def clone(tmp_path: Path, wheels: tuple[Path, dict[str, str]]) -> Path:
    """A project as small as can be: bootstrap.py, its locks, setuptools as only dependency."""
    folder = tmp_path / "clone"
    (folder / "core").mkdir(parents=True)
    (folder / "core" / "__init__.py").write_text("def main():\n    print('it runs')\n")
    for name in ("bootstrap.py", "Makefile"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "bootstrap.lock").write_text(wheels[1]["uv"], encoding="utf-8")
    (folder / "requirements.lock").write_text(wheels[1]["setuptools"], encoding="utf-8")
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "resight"\nversion = "1"\nscripts.resight = "core:main"\n'
        '[tool.setuptools]\npackages = ["core"]\n',
        encoding="utf-8",
    )
    return folder


@pytest.fixture
def env(tmp_path: Path, wheels: tuple[Path, dict[str, str]]) -> dict[str, str]:
    """Variables of a machine that has the index in a folder, and nothing else."""
    return {
        "HOME": str(tmp_path / "home"),
        "PATH": os.environ["PATH"],
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels[0]),
        "UV_NO_CONFIG": "1",
        "UV_NO_INDEX": "1",
        "UV_FIND_LINKS": str(wheels[0]),
        # They would send packages elsewhere.
        "PIP_TARGET": str(tmp_path / "elsewhere"),
        "UV_TARGET": str(tmp_path / "elsewhere"),
    }


def run(clone: Path, env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a clone's bootstrap.py in an environment of these variables alone."""
    return subprocess.run(
        [sys.executable, str(clone / "bootstrap.py"), *arguments],
        env=env,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=PATIENCE,
    )


@pytest.mark.slow
def test_an_environment_survives_kills_and_company_and_keeps_what_the_user_adds(
    clone: Path, env: dict[str, str]
) -> None:
    command = [sys.executable, str(clone / "bootstrap.py"), "resight"]
    killed = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not (clone / ".venv" / "pyvenv.cfg").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    killed.kill()
    killed.wait()

    # Without a network: a proxy that is not there, which pip asks five times unless told otherwise.
    alone = {name: value for name, value in env.items() if name[:3] not in {"PIP", "UV_"}}
    alone |= {"HTTPS_PROXY": os.environ["HTTPS_PROXY"], "PIP_RETRIES": "0"}
    offline = run(clone, {**alone, "PIP_CONFIG_FILE": os.devnull}, "resight")
    assert offline.returncode == 2
    assert "uv could not be installed. The package index could not be reached" in offline.stderr

    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"}
    both = [subprocess.Popen(command, env=env, **piped) for _ in range(2)]
    said = [process.communicate(timeout=PATIENCE) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert [out for out, _ in said] == ["it runs\n"] * 2
    assert not (clone.parent / "elsewhere").exists()
    if os.name != "nt":
        # One made it; the other waited and found it made.
        assert sorted("installing requirements" in err for _, err in said) == [False, True]
    again = run(clone, env, "install")
    assert (again.returncode, again.stderr) == (0, "")

    # As a kill leaves it: a package that counts as installed and lacks a file; pip as well.
    packages = Path(next((clone / ".venv").rglob("setuptools"))).parent
    (packages / "setuptools" / "build_meta.py").unlink()
    stamp = clone / ".venv" / bootstrap.STAMP.name
    _, place = stamp.read_text(encoding="utf-8").split(" ", 1)
    stamp.write_text(f"unfinished {place}", encoding="utf-8")
    mended = run(clone, env, "python", "-c", "import setuptools.build_meta")
    assert mended.returncode == 0, mended.stderr
    (packages / "pip" / "__main__.py").unlink()
    stamp.unlink()
    mended = run(clone, env, "resight")
    assert mended.returncode == 0, mended.stderr

    added = run(clone, env, "pip", "install", "--disable-pip-version-check", "iniconfig")
    assert added.returncode == 0, added.stderr
    lock = clone / "requirements.lock"
    text = lock.read_text(encoding="utf-8")
    # A lock that cannot be had leaves the environment as it was, and the next one goes on.
    lock.write_text(text + "timm==1 --hash=sha256:" + 64 * "0" + "\n", encoding="utf-8")
    failed = run(clone, env, "resight")
    assert failed.returncode == 2
    assert "set-up: The dependencies could not be installed." in failed.stderr
    assert "Traceback" not in failed.stderr
    lock.write_text(text + "# locked anew\n", encoding="utf-8")
    renewed = run(clone, env, "python", "-c", "import iniconfig")
    assert renewed.returncode == 0, renewed.stderr

    wrong = run(clone, env, "tset")
    assert wrong.returncode == 2
    assert "no program 'tset'" in wrong.stderr


@pytest.mark.parametrize(
    ("found", "has_python", "venv"),
    [
        ("old 3.12 /here", True, None),
        ("unfinished 3.12 /here", True, None),
        ("unfinished 3.12 /there", True, ["--clear"]),
        # Scripts hold the path of their interpreter: a clone that moved is made anew.
        ("old 3.12 /there", True, ["--clear"]),
        ("old 3.11 /here", True, ["--clear"]),
        ("old 3.12 /here", False, ["--clear"]),
        # Made by hand, or its making was killed: completed, never emptied.
        ("", True, []),
        ("", False, ["--clear"]),
    ],
)
def test_only_an_environment_of_ours_for_another_python_or_place_is_emptied(
    found: str,
    has_python: bool,
    venv: list[str] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps: list[list[str]] = []
    monkeypatch.setattr(bootstrap, "step", lambda _, command: steps.append(command))
    monkeypatch.setattr(bootstrap, "STAMP", tmp_path / "stamp")
    monkeypatch.setattr(bootstrap, "is_there", lambda: has_python)
    monkeypatch.setattr(bootstrap, "has_pip", lambda: True)
    bootstrap.make(found, "new 3.12 /here")
    assert (tmp_path / "stamp").read_text(encoding="utf-8") == "new 3.12 /here"
    made = [command[4:] for command in steps if command[1:3] == ["-m", "venv"]]
    assert made == ([] if venv is None else [venv])
    # What a kill left half linked counts as installed.
    anew = [any("reinstall" in word for word in command) for command in steps]
    assert sum(anew) == (2 if found.startswith("unfinished") else 0)


@pytest.mark.parametrize("given", [[], ["PYTHON=/no/such/python"], ["PYTHON=/usr/bin/false"]])
@pytest.mark.parametrize("target", ["install", "check"])
def test_make_without_a_python_says_what_to_install(
    target: str, given: list[str], clone: Path
) -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("needs make")
    done = subprocess.run(
        [make, target, *given],
        cwd=clone,
        env={"PATH": str(clone / "nothing"), "SHELL": "/bin/sh"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 2
    assert "apt install python3 python3-venv" in " ".join(done.stderr.split())


# --- conftest.py -------------------------------------------------------------------------


def test_the_network_is_out_of_reach_of_tests() -> None:
    import socket  # noqa: PLC0415

    with pytest.raises(pytest.fail.Exception, match="reached for the network"):
        socket.create_connection(("192.0.2.1", 80), timeout=0.1)
    with pytest.raises(pytest.fail.Exception, match="reached for the network"):
        socket.getaddrinfo("example.invalid", 80)
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()
