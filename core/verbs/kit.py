"""``resight kit``: what a machine without a network needs to predict or to train, in one folder.

Wheels for its system and its Python, hashed requirements, the exported model or the
pretrained weights, the data cards, a program that installs them (``install.py``), and
``kit.json`` with the sha256 of every file. The wheels are downloaded by pip, for
another system than this one if that is asked for.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from packaging.markers import Marker

from core.base.jobs import Job, open_output
from core.base.outputs import (
    MANIFEST_NAME,
    copy_file,
    is_complete,
    recorded_files,
    seal,
    sha256_file,
    write_json,
    write_text,
)
from core.base.parsing import ParsingError, read_json
from core.base.words import quantity
from core.cards.card import all_cards
from core.data.input_files import require_apart
from core.errors import ConfigError, RunError
from core.runs.run import copy_sealed, load_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.runs.run import Run

__all__ = [
    "PLATFORMS",
    "Kit",
    "fits_here",
    "make_kit",
    "require_whole_kit",
    "requirements_for",
    "this_system",
]

KIT = "kit.json"
SOURCE = Path(__file__).resolve().parent.parent.parent
_GLIBC = tuple(f"manylinux_2_{minor}" for minor in range(28, 16, -1))
# What pip asks of a wheel, and what requirements ask of a machine, by the name of a system.
PLATFORMS: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    f"{system}-{machine}": (
        tags,
        {
            "sys_platform": names[0],
            "platform_system": names[1],
            "os_name": names[2],
            "platform_machine": names[3],
        },
    )
    for system, machine, tags, names in (
        (
            *("linux", "x86_64"),
            (*(f"{g}_x86_64" for g in _GLIBC), "manylinux2014_x86_64"),
            ("linux", "Linux", "posix", "x86_64"),
        ),
        (
            *("linux", "aarch64"),
            (*(f"{g}_aarch64" for g in _GLIBC), "manylinux2014_aarch64"),
            ("linux", "Linux", "posix", "aarch64"),
        ),
        ("macos", "arm64", ("macosx_15_0_arm64",), ("darwin", "Darwin", "posix", "arm64")),
        ("windows", "x86_64", ("win_amd64",), ("win32", "Windows", "nt", "AMD64")),
    )
}


@dataclass(frozen=True)
class Kit:
    """What a kit is for.

    Attributes:
        purpose: ``predict`` or ``train``.
        system: a key of ``PLATFORMS``.
        python: its Python, ``3.12``.
        model: run or exported model; to predict without torch it must be an exported one.
        weights: pretrained weights to train from, a .safetensors file.
        licence: of these weights, as their source states it.
        requirements: more hashed requirements, such as the readers of DICOM.
        wheel: of resight itself; None makes it from the sources, or takes it from the index.
    """

    purpose: Literal["predict", "train"]
    system: str
    python: str
    model: Path | None = None
    weights: Path | None = None
    licence: str = "not stated"
    requirements: tuple[Path, ...] = ()
    wheel: Path | None = None


def make_kit(kit: Kit, out: Path) -> dict[str, Any]:
    """Write a kit.

    Args:
        kit: what it is for.
        out: the folder.

    Returns:
        the content of ``kit.json`` and ``out``.

    Raises:
        ConfigError: the system is unknown, a part is missing, or the index cannot be reached.
        RunError: the model is not complete, or is a run where an exported model is needed.
    """
    require_apart(out, [kit.model] if kit.model else [])
    locks, run = _checked(kit)
    asked = {
        "for": kit.purpose,
        "system": kit.system,
        "python": kit.python,
        "model": run.model_id if run else None,
        "weights": sha256_file(kit.weights) if kit.weights else None,
        "requirements": [sha256_file(lock) for lock in locks],
    }
    with open_output(out, Job("kit", asked)) as is_made:
        if is_made:
            return {**require_whole_kit(out), "out": str(out)}
        texts = [
            requirements_for(lock.read_text("utf-8"), kit.system, kit.python) for lock in locks
        ]
        write_text(out / "requirements.txt", "\n".join(texts))
        with tempfile.TemporaryDirectory(prefix="resight-kit-") as work:
            pip = _pip(Path(work))
            _download(pip, kit, out)
            own = _own_wheel(pip, kit, out / "wheels")
        _add_contents(kit, run, out)
        install = files("core.verbs") / "kit_install.txt"
        write_text(out / "install.py", install.read_text(encoding="utf-8"))
        content = {
            "schema": 1,
            **asked,
            "resight": version("resight"),
            "own_wheel": own,
            "licence_of_weights": kit.licence if kit.weights else None,
            "sha256": {
                path.relative_to(out).as_posix(): sha256_file(path)
                for path in sorted(out.rglob("*"))
                if path.is_file() and path.parent != out
            }
            | {name: sha256_file(out / name) for name in ("install.py", "requirements.txt")},
        }
        write_json(out / KIT, content)
        seal(out)
    return {**content, "out": str(out)}


def _checked(kit: Kit) -> tuple[list[Path], Run | None]:
    """The requirements of a kit, and the model in it.

    Raises:
        ConfigError, RunError: see ``make_kit``.
    """
    if kit.system not in PLATFORMS:
        msg = f"--platform {kit.system}: is not known. Choose one of {', '.join(PLATFORMS)}."
        raise ConfigError(msg)
    if not re.fullmatch(r"3\.1[1-3]", kit.python):
        msg = f"--python {kit.python}: resight runs on Python 3.11, 3.12 and 3.13. Name one."
        raise ConfigError(msg)
    run = load_run(kit.model) if kit.model else None
    if kit.purpose == "predict":
        if run is None or "export" not in run.content:
            msg = (
                f"{kit.model or 'no model'}: a kit that predicts holds an exported model, for its "
                "environment has no torch. Make one with  resight export RUN --out MODEL  and pass "
                "--model MODEL."
            )
            raise RunError(msg)
        lock = Path(str(files("core.prediction") / "requirements.txt"))
    else:
        lock = SOURCE / "requirements.lock"
        if kit.weights is None and run is None:
            msg = (
                "A kit that trains holds the weights to start from, for it cannot fetch them. Pass "
                "--weights FILE.safetensors, or --model RUN."
            )
            raise ConfigError(msg)
    if run is not None and not is_complete(run.path):
        msg = f"{kit.model}: is not complete. Make it to the end, then take it into a kit."
        raise RunError(msg)
    locks = [lock, *kit.requirements]
    for path in [*locks, *filter(None, [kit.weights, kit.wheel])]:
        if not path.is_file():
            msg = f"{path}: is not there; a kit cannot be made without it. Check the path."
            if path == lock:
                msg = (
                    f"{path}: is not there. What a training needs is locked in resight's sources; "
                    "make this kit from a copy of them."
                )
            raise ConfigError(msg)
    return locks, run


def requirements_for(text: str, system: str, python: str) -> str:
    r"""The hashed requirements that hold on a system, without their conditions.

    pip judges conditions by the machine it runs on, also where it downloads for another.

    >>> lock = "a==1 ; sys_platform == 'win32' --hash=sha256:0\nb==2 \\\n    --hash=sha256:1\n"
    >>> requirements_for(lock, "linux-x86_64", "3.12")
    'b==2 --hash=sha256:1\n'
    """
    machine = {
        **PLATFORMS[system][1],
        "python_version": python,
        "python_full_version": f"{python}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "extra": "",
    }
    kept = []
    for line in re.sub(r"\\\r?\n\s*", "", text).splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        what, _, hashes = line.partition(" --hash")
        name, _, condition = what.partition(";")
        if not condition.strip() or Marker(condition.strip()).evaluate(machine):
            kept.append(f"{name.strip()} --hash{hashes}" if hashes else name.strip())
    return "\n".join(kept) + "\n"


def _pip(work: Path) -> list[str]:
    """A pip, of this environment or of one made for it: uv's environments have none."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    env = work / "env"
    _run([sys.executable, "-m", "venv", str(env)], "an environment with pip cannot be made")
    return [str(env / ("Scripts" if os.name == "nt" else "bin") / "python"), "-m", "pip"]


def _download(pip: Sequence[str], kit: Kit, out: Path) -> None:
    """The wheels, each checked against its hash."""
    tags = PLATFORMS[kit.system][0]
    abi = f"cp{kit.python.replace('.', '')}"
    command = [
        *(*pip, "download", "--quiet", "--disable-pip-version-check"),
        *("--only-binary", ":all:", "--no-deps", "--require-hashes"),
        *("--implementation", "cp", "--python-version", kit.python),
        *[word for one in (abi, "abi3", "none") for word in ("--abi", one)],
        *[word for tag in tags for word in ("--platform", tag)],
        *("--requirement", str(out / "requirements.txt"), "--dest", str(out / "wheels")),
    ]
    _run(command, f"the wheels for {kit.system} and Python {kit.python} cannot be had")


def _own_wheel(pip: Sequence[str], kit: Kit, folder: Path) -> str:
    """The wheel of resight itself; its name."""
    before = {path.name for path in folder.iterdir()}
    if kit.wheel is not None:
        copy_file(kit.wheel, folder / kit.wheel.name)
        return kit.wheel.name
    is_source = (SOURCE / "pyproject.toml").is_file()
    what = str(SOURCE) if is_source else f"resight=={version('resight')}"
    with tempfile.TemporaryDirectory(prefix="resight-kit-") as work:
        if is_source:
            # Built from a copy: setuptools leaves a folder beside what it builds.
            what = str(Path(work) / "resight")
            names = ("core", "apps", "data_cards", "pyproject.toml", "README.md", "LICENSE")
            for name in names:
                source, target = SOURCE / name, Path(what) / name
                target.parent.mkdir(exist_ok=True)
                if source.is_dir():
                    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    copy_file(source, target)
        command = [*pip, "wheel", "--quiet", "--no-deps", "--disable-pip-version-check"]
        _run([*command, "--wheel-dir", str(folder), what], "the wheel of resight cannot be made")
    (own,) = {path.name for path in folder.iterdir()} - before
    return own


def _add_contents(kit: Kit, run: Run | None, out: Path) -> None:
    """The model, the weights and the data cards."""
    named: set[str] = set()
    if run is not None:
        for name in recorded_files(run.path):
            target = out / "model" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            copy_sealed(run.path, name, target)
        copy_file(run.path / MANIFEST_NAME, out / "model" / MANIFEST_NAME)
        named = set(run.content.get("cards") or [])
    if kit.weights is not None:
        (out / "weights").mkdir(exist_ok=True)
        copy_file(kit.weights, out / "weights" / kit.weights.name)
    for name, card in all_cards().items():
        if name in named:
            (out / "cards").mkdir(exist_ok=True)
            copy_file(card.path, out / "cards" / card.path.name)


def require_whole_kit(folder: Path) -> dict[str, Any]:
    """The content of ``kit.json`` of a kit whose every file is as it was made.

    Raises:
        RunError: a file is missing or changed; all are counted, the first is named.
    """
    try:
        content = read_json(folder / KIT)
        known = dict(content["sha256"])
    except (ParsingError, OSError, KeyError, TypeError, ValueError) as error:
        msg = f"{folder / KIT}: is missing or damaged, so this is no kit. Copy the kit again."
        raise RunError(msg) from error
    wrong = [
        name
        for name, digest in known.items()
        if not (folder / name).is_file() or sha256_file(folder / name) != digest
    ]
    if wrong:
        msg = (
            f"{folder / wrong[0]}: is missing or not what it was when the kit was made "
            f"({quantity(len(wrong), 'file')} of {len(known):,}). Nothing of it can be relied on; "
            "copy the kit again."
        )
        raise RunError(msg)
    return content


def this_system() -> str:
    """The system that this machine is, as ``PLATFORMS`` names them."""
    machine = {"arm64": "arm64", "amd64": "x86_64"}.get(
        platform.machine().lower(), platform.machine()
    )
    system = {"darwin": "macos", "win32": "windows"}.get(sys.platform, sys.platform)
    return f"{system}-{machine}"


def fits_here(content: dict[str, Any]) -> str:
    """Why a kit cannot be installed with this Python; empty if it can."""
    here = (this_system(), "{}.{}".format(*sys.version_info))
    wanted = (content["system"], content["python"])
    return (
        "" if here == wanted else f"is for {wanted[0]} and Python {wanted[1]}, not {' '.join(here)}"
    )


def _run(command: Sequence[str], fault: str) -> None:
    """Run a program.

    Raises:
        ConfigError: it failed.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = " ".join((lines or done.stderr.splitlines() or ["no reason given"])[-2:])[:400]
        msg = (
            f"{fault}: {reason}. A kit is made where the package index can be reached; "
            "PIP_INDEX_URL and PIP_CERT name a mirror."
        )
        raise ConfigError(msg)
