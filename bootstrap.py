"""Everything a fresh clone needs, in one command: ``python bootstrap.py demo`` or ``test``.

Makes ``.venv`` from ``requirements.lock`` and then runs what was asked for. Needs
a Python of 3.11 to 3.13 and a package index, nothing else; any Python from 3.6 on
may start it, it then looks for a suitable one. It deliberately knows nothing of
what the project does, and ``make`` adds nothing to it.

Only the standard library is imported, and no syntax newer than Python 3.6 is used:
on an old interpreter the user must read what to install, not a SyntaxError.
"""

import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
UV_LOCK = ROOT / "bootstrap.lock"
PROJECT = ROOT / "pyproject.toml"

# What set-up keeps for itself: its lock, uv where the machine has none, and the
# mark that says .venv is ours to replace.
STATE = ROOT / ".bootstrap"
OWNED = STATE / "made-venv"

# Written last: its presence means that the environment is whole.
STAMP = VENV / "resight.json"

# What else `clean` removes.
# One file stays in one process, for its tests share what they made; in the order of the tree, where
# the long ones come early.
PARALLEL = ["-n", "logical", "--maxprocesses=4", "--dist=loadfile", "--no-loadscope-reorder"]
CLEANED = ["build", "dist", "demo", "resight.egg-info", "__pycache__", ".pytest_cache"]
CLEANED += [".mypy_cache", ".ruff_cache"]

# Grows whenever the steps below change what they leave in .venv.
RECIPE = 1

# First and last minor version that the lock was installed and tested on.
OLDEST, NEWEST = (3, 11), (3, 13)

# 0.5 is the first uv with every option used here.
OLDEST_UV = (0, 5)

# Measured sizes of the environment, rounded up: on Linux PyTorch brings the CUDA libraries.
NEEDED_GB = 7.0 if sys.platform.startswith("linux") else 3.0

WINDOWS = sys.platform == "win32"
BIN = "Scripts" if WINDOWS else "bin"
EXE = ".exe" if WINDOWS else ""

# Printed by each interpreter that is looked at. Free-threaded and 32-bit builds
# have no PyTorch wheels; Debian ships ensurepip, which venv needs, apart.
PROBE = """
import importlib.util, json, platform, sys, sysconfig
has = lambda name: importlib.util.find_spec(name) is not None
print(json.dumps([
    getattr(sys, "_base_executable", None) or sys.executable,
    sys.version_info[:3],
    platform.python_implementation() == "CPython" and sys.maxsize > 2**32
    and not sysconfig.get_config_var("Py_GIL_DISABLED"),
    has("venv") and has("ensurepip"),
]))
"""


class SetupError(Exception):
    """The machine must change before the set-up can go on; the message says how."""


class Python(NamedTuple):
    """An interpreter, as ``PROBE`` found it.

    Attributes:
        path: the interpreter outside of any virtual environment.
        version: major, minor, patch.
        has_wheels: whether the dependencies have wheels for this kind of build.
        has_venv: whether it can make a virtual environment that has pip.
    """

    path: str
    version: "tuple[int, ...]"
    has_wheels: bool
    has_venv: bool

    @property
    def minor(self) -> str:
        """``3.12``."""
        return "{}.{}".format(*self.version)

    @property
    def is_suitable(self) -> bool:
        """Whether the lock can be installed for it."""
        return self.has_wheels and OLDEST <= self.version[:2] <= NEWEST

    def __str__(self) -> str:
        """The path and the full version."""
        version = ".".join(str(part) for part in self.version)
        return f"{self.path} ({version}{'' if self.has_wheels else ', without PyTorch wheels'})"


# --- the commands ---------------------------------------------------------------------


def install(arguments: "list[str]") -> int:
    """Make or update .venv."""
    del arguments
    ensure_environment()
    return 0


def demo(arguments: "list[str]") -> int:
    """Run the demonstration on synthetic data; arguments go to `resight demo`."""
    ensure_environment()
    return run_tool("resight", "demo", *arguments)


def test(arguments: "list[str]") -> int:
    """Run the tests, a file at a time in up to four processes; arguments go to pytest."""
    ensure_environment()
    return run_tool("pytest", *PARALLEL, *arguments)


def check(arguments: "list[str]") -> int:
    """Run the linters, the type checker and the tests over sources and documents."""
    del arguments
    ensure_environment()
    over_sources = [ROOT / "tests" / name for name in ("test_architecture.py", "test_docs.py")]
    steps = [
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("mypy",),
        ("pytest", "-q", *[str(path) for path in over_sources if path.exists()]),
    ]
    failed = []
    for step in steps:
        say("$ " + " ".join(step))
        if run_tool(*step) != 0:
            failed.append(" ".join(step[:2]))
    if failed:
        say("{} of {} checks failed: {}".format(len(failed), len(steps), ", ".join(failed)))
    return 1 if failed else 0


def lock(arguments: "list[str]") -> int:
    """Resolve pyproject.toml anew; `--upgrade` moves every pin to the newest version."""
    uv = find_uv() or install_uv(find_python(needs_venv=True))
    wish = STATE / "uv.in"
    with only_one():
        wish.write_text("uv>={}.{}\n".format(*OLDEST_UV), encoding="utf-8")
    options = ["--universal", "--python-version", "{}.{}".format(*OLDEST), "--generate-hashes"]
    options += ["--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"]
    for source, extras, target in (
        (str(PROJECT), ["--extra", "all"], LOCK),
        (str(wish), [], UV_LOCK),
    ):
        partial = target.with_name(target.name + ".new")
        if target.exists():
            # uv keeps the pins it finds in its output file unless told to upgrade.
            shutil.copyfile(str(target), str(partial))
        command = [uv, "pip", "compile", source, *extras, *options, *arguments]
        try:
            run_step(
                "The dependencies could not be resolved",
                [*command, "--quiet", "-o", str(partial)],
            )
            if "://" in partial.read_text(encoding="utf-8"):
                msg = (
                    f"{target.name}: the new lock names an address, which not everybody can "
                    "reach. Replace the dependency that is given by address in pyproject.toml."
                )
                raise SetupError(msg)
            partial.replace(target)
        finally:
            remove(partial)
        say(f"wrote {target.name}")
    return 0


def bench(arguments: "list[str]") -> int:
    """Run the comparisons in bench/, or those named."""
    ensure_environment()
    names = arguments or sorted(path.name for path in (ROOT / "bench").glob("*.py"))
    if not names:
        msg = "bench/: there is no comparison to run. Add one as bench/NAME.py."
        raise SetupError(msg)
    worst = 0
    for name in names:
        script = ROOT / "bench" / (name if name.endswith(".py") else name + ".py")
        say(f"$ {script.name}")
        worst = max(worst, run_tool("python", str(script)))
    return worst


def clean(arguments: "list[str]") -> int:
    """Remove .venv and everything else that these commands made; runs stay."""
    del arguments
    with only_one():
        if VENV.exists():
            require_owned()
        remove(STAMP)
        for made in (VENV, OWNED, STATE / "uv", *(ROOT / name for name in CLEANED)):
            remove(made)
        for folder in ("core", "apps", "tests", "bench"):
            for cache in list((ROOT / folder).rglob("__pycache__")):
                remove(cache)
    return 0


COMMANDS = {
    "install": install,
    "demo": demo,
    "test": test,
    "check": check,
    "lock": lock,
    "bench": bench,
    "clean": clean,
}


# --- the environment ------------------------------------------------------------------


def ensure_environment() -> None:
    """Make .venv what the lock says, unless it is already."""
    if is_current(read_stamp()):
        return
    with only_one():
        # Another call may have finished it while this one waited.
        stamp = read_stamp()
        if not is_current(stamp):
            build(stamp)


def build(stamp: "dict[str, str]") -> None:
    """Install what differs from the stamp; start afresh if there is none."""
    uv = find_uv()
    python = find_python(needs_venv=uv is None, wanted=stamp.get("python"))
    target = fingerprint(python.minor)
    uv = uv or install_uv(python)
    reusable = (
        stamp.get("python") == target["python"]
        and stamp.get("root") == target["root"]
        and probe(program(VENV, "python")) is not None
    )
    remove(STAMP)
    if not reusable:
        make_venv(uv, python)
    inside = ["--python", program(VENV, "python")]
    if not reusable or stamp.get("environment") != target["environment"]:
        say(f"installing requirements.lock into .venv ({NEEDED_GB:.0f} GB; minutes at first)")
        hashed = ["--require-hashes", "--only-binary", ":all:", "--compile-bytecode"]
        run_step(
            "The dependencies could not be installed",
            [uv, "pip", "sync", *inside, *hashed, str(LOCK)],
        )
    # Without an index and without isolation nothing unhashed can be fetched: the
    # lock holds setuptools, which is all the build needs.
    alone = ["--no-deps", "--no-build-isolation", "--no-index", "--reinstall"]
    run_step(
        "The project itself could not be installed",
        [uv, "pip", "install", *inside, *alone, "--editable", str(ROOT)],
    )
    run_step(
        "requirements.lock does not fit pyproject.toml; run `make lock`",
        [uv, "pip", "check", *inside],
    )
    partial = STAMP.with_name(STAMP.name + ".new")
    partial.write_text(json.dumps(target, indent=1) + "\n", encoding="utf-8")
    partial.replace(STAMP)


def make_venv(uv: str, python: Python) -> None:
    """Put an empty environment in the place of whatever .venv holds."""
    say(f"making .venv with {python}")
    if VENV.exists() or VENV.is_symlink():
        require_owned()
        remove(VENV)
    require_space(uv)
    OWNED.touch()
    run_step(
        ".venv could not be made",
        [uv, "venv", "--quiet", "--no-project", "--python", python.path, str(VENV)],
    )


def fingerprint(minor: str) -> "dict[str, str]":
    """What the environment depends on: lock, project, Python, and where it stands.

    Console scripts hold absolute paths, so a clone that was moved is made anew.
    """
    return {
        "environment": sha256(LOCK, f"{RECIPE} {sys.platform}"),
        "project": sha256(PROJECT, str(RECIPE)),
        "python": minor,
        "root": str(ROOT),
    }


def is_current(stamp: "dict[str, str]") -> bool:
    """Whether .venv is whole and what the lock says. Costs a few milliseconds."""
    if not stamp or not Path(program(VENV, "python")).exists():
        return False
    minor = stamp.get("python", "")
    if OLDEST <= sys.version_info[:2] <= NEWEST and minor != "{}.{}".format(*sys.version_info):
        # Another Python is asked for, unless it could not be used when .venv was made.
        minor = find_python(needs_venv=find_uv() is None, wanted=minor).minor
    return stamp == fingerprint(minor)


def read_stamp() -> "dict[str, str]":
    """The stamp of a whole environment, or nothing."""
    try:
        content = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def require_owned() -> None:
    """Refuse to replace an environment that somebody made by hand."""
    if not OWNED.exists():
        msg = (
            f"{VENV} is there, but bootstrap.py did not make it and would have to replace it. "
            "Move it away or remove it, then run the same command again."
        )
        raise SetupError(msg)


def require_space(uv: str) -> None:
    """Refuse before downloading what would not fit.

    uv links files from its cache where both are on one disk; an environment then
    takes no space of its own, so a cache that already holds wheels is not counted.
    """
    cache = Path(output_of([uv, "cache", "dir"]) or str(ROOT))
    is_warm = (cache / "archive-v0").exists()
    while not cache.exists():
        cache = cache.parent
    if is_warm and cache.stat().st_dev == ROOT.stat().st_dev:
        return
    for place in [ROOT] if is_warm else [ROOT, cache]:
        free = shutil.disk_usage(str(place)).free / 1e9
        if free < NEEDED_GB:
            msg = (
                f"{place}: {free:.1f} GB are free and the environment needs about "
                f"{NEEDED_GB:.0f} GB. Free some space; or clone onto a larger disk and set "
                "UV_CACHE_DIR to a folder on it."
            )
            raise SetupError(msg)


# --- uv and Python --------------------------------------------------------------------


def find_uv() -> "str | None":
    """The first uv on PATH that runs and is new enough, or the one installed before."""
    private = program(STATE / "uv", "uv")
    candidates = list(on_path("uv"))
    with suppress(OSError):
        if (STATE / "uv" / "stamp").read_text(encoding="utf-8") == sha256(UV_LOCK):
            candidates.append(private)
    for candidate in candidates:
        found = re.match(r"uv (\d+)\.(\d+)", output_of([candidate, "--version"]) or "")
        if found and (int(found.group(1)), int(found.group(2))) >= OLDEST_UV:
            return candidate
    return None


def install_uv(python: Python) -> str:
    """Install uv into a place of our own, from hashes."""
    home = STATE / "uv"
    say("installing uv, which installs the rest")
    with only_one():
        remove(home)
        run_step("uv could not be installed", [python.path, "-m", "venv", str(home)])
        # --no-deps and --no-input keep a user's own pip settings from adding to it.
        hashed = ["--require-hashes", "--only-binary", ":all:", "--no-deps", "--no-input"]
        quiet = ["--quiet", "--disable-pip-version-check"]
        run_step(
            "uv could not be installed",
            [program(home, "python"), "-m", "pip", "install", *hashed, *quiet, "-r", str(UV_LOCK)],
        )
        (home / "stamp").write_text(sha256(UV_LOCK), encoding="utf-8")
    return program(home, "uv")


def find_python(*, needs_venv: bool, wanted: "str | None" = None) -> Python:
    """The interpreter to build on: the one running this, or the newest suitable on PATH.

    Args:
        needs_venv: whether it must bring the venv module, because there is no uv.
        wanted: a minor version to prefer where the running one will not do.
    """
    minors = range(NEWEST[1], OLDEST[1] - 1, -1)
    names = [f"python3.{minor}" for minor in minors] + ["python3", "python"]
    if wanted:
        names.insert(0, "python" + wanted)
    seen = []  # type: list[Python]
    for candidate in [sys.executable, *(path for name in names for path in on_path(name))]:
        found = probe(candidate)
        if found is None or found in seen:
            continue
        seen.append(found)
        if found.is_suitable and (found.has_venv or not needs_venv):
            return found
    raise SetupError(explain_no_python(seen))


def probe(executable: str) -> "Python | None":
    """What an interpreter is, or None if it is none: a shim may exist and still fail."""
    try:
        path, version, has_wheels, has_venv = json.loads(
            output_of([executable, "-I", "-c", PROBE]) or ""
        )
    except ValueError:
        return None
    return Python(path, tuple(version), has_wheels, has_venv)


def explain_no_python(seen: "list[Python]") -> str:
    """Why none of these interpreters will do, and what to install."""
    for found in seen:
        if found.is_suitable:
            return (
                f"{found} has no venv module, which some systems ship apart. Install it (Debian, "
                f"Ubuntu: apt install python3-venv or python{found.minor}-venv), or put uv on PATH."
            )
    listed = ", ".join(str(found) for found in seen) or "none"
    return (
        f"No 64-bit CPython 3.11, 3.12 or 3.13 was found (found: {listed}). PyTorch and the other "
        "dependencies were locked for these. Install one (Debian, Ubuntu: apt install python3 "
        "python3-venv; macOS: brew install python@3.13; Windows: winget install "
        "Python.Python.3.13), or name it: make test PYTHON=/path/to/python3.12"
    )


# --- processes and files --------------------------------------------------------------


def program(environment: Path, name: str) -> str:
    """Where an environment keeps a program."""
    return str(environment / BIN / (name + EXE))


def run_tool(name: str, *arguments: str) -> int:
    """Run a program of the environment and return its exit status."""
    command = [program(VENV, name), *arguments]
    env = clean_environment()
    # albumentations asks a server for its newest version when imported.
    env.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    if name in {"pytest", "mypy", "ruff"}:
        # Help and tables wrap at the terminal's width and colour themselves for it;
        # threads only slow down networks as small as those of the tests.
        env.update(HF_HUB_OFFLINE="1", COLUMNS="120", NO_COLOR="1", MPLBACKEND="Agg")
        env.setdefault("OMP_NUM_THREADS", "1")
        for variable in ("FORCE_COLOR", "CLICOLOR_FORCE", "PY_COLORS"):
            env.pop(variable, None)
    sys.stdout.flush()
    try:
        return subprocess.call(command, cwd=str(ROOT), env=env)
    except OSError as error:
        msg = (
            f"{command[0]} cannot be started ({error.strerror}): .venv is broken. "
            "Run `python bootstrap.py clean`, then the same command again."
        )
        raise SetupError(msg) from error


def run_step(failure: str, command: "list[str]") -> None:
    """Run one step of the set-up, showing its output; explain it if it fails."""
    # A process that outlives this one keeps the lock: two installs never overlap.
    process = subprocess.Popen(
        command,
        cwd=str(ROOT),
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        pass_fds=() if WINDOWS else tuple(_held),
    )
    lines = []
    try:
        for line in process.stdout or ():
            lines.append(line)
            # uv ends with a line for each of 140 packages.
            if not line.startswith((" + ", " - ")):
                sys.stderr.write(line)
                sys.stderr.flush()
        status = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if status != 0:
        msg = f"{failure}. {explain_output(''.join(lines))}"
        raise SetupError(msg)


def explain_output(output: str) -> str:
    """What to do about the output of a failed uv, pip or venv.

    >>> explain_output("No space left on device (os error 28)")[:17]
    'The disk is full.'
    """
    cases = (
        (
            r"no space left|disk quota|os error 112|errno 28",
            f"The disk is full. The environment needs about {NEEDED_GB:.0f} GB, and uv's cache as "
            "much if it is on another disk: free some space, or set UV_CACHE_DIR to a folder on "
            "the disk of the clone.",
        ),
        (
            r"certificate",
            "The index's certificate is not trusted here. If your network has an authority of its "
            "own, set SSL_CERT_FILE and PIP_CERT to its certificate file.",
        ),
        (
            r"ensurepip|no module named '?venv",
            "This Python has no venv module. Install it (Debian, Ubuntu: apt install "
            "python3-venv), or put uv on PATH.",
        ),
        (
            r"hash mismatch|do not match the hashes|hashes are required",
            "What the index served is not what was locked. If you use an index of your own, "
            "check that it mirrors without changes; `uv cache clean` cures a damaged download.",
        ),
        (
            r"matching platform|not a supported wheel|compatible (wheels|with)|no usable wheels",
            "The lock has wheels for Linux (x86-64 and aarch64), Windows (x86-64) and macOS (15 or "
            "newer, arm64) only. On another machine use environment.yml with conda.",
        ),
        (
            r"connect|network|resolve host|dns|name resolution|timed? ?out|offline|unreachable|"
            r"no matching distribution|error sending request",
            "The package index could not be reached. Check the connection and HTTPS_PROXY; "
            "behind a mirror set UV_DEFAULT_INDEX and PIP_INDEX_URL to it. UV_OFFLINE must not "
            "be set.",
        ),
        (
            r"permission denied|read-only file system|access is denied",
            "The folder cannot be written. Change its permissions, or clone to another place.",
        ),
    )
    for pattern, advice in cases:
        if re.search(pattern, output, re.IGNORECASE):
            return advice + " The same command then goes on."
    return "The lines above say why. The same command starts again from here."


def clean_environment() -> "dict[str, str]":
    """The environment of a step: nothing in it redirects where packages come from or go to."""
    env = dict(os.environ)
    for variable in (
        "PYTHONHOME",
        "PYTHONPATH",
        "VIRTUAL_ENV",
        "PIP_TARGET",
        "PIP_PREFIX",
        "PIP_ROOT",
        "PIP_USER",
        "PIP_REQUIREMENT",
        "PIP_CONSTRAINT",
        "PIP_NO_BINARY",
        "UV_SYSTEM_PYTHON",
        "UV_CONSTRAINT",
        "UV_OVERRIDE",
        "UV_NO_BINARY",
        "UV_TARGET",
    ):
        env.pop(variable, None)
    # An interpreter that uv would fetch by itself comes without a hash of ours.
    env["UV_PYTHON_DOWNLOADS"] = "never"
    # The system knows a network's own certificate authority, uv's built-in list does
    # not. Older releases of uv listen to the second name.
    env.setdefault("UV_SYSTEM_CERTS", "1")
    env.setdefault("UV_NATIVE_TLS", env["UV_SYSTEM_CERTS"])
    # Single wheels of PyTorch's libraries are over half a gigabyte.
    env.setdefault("UV_HTTP_TIMEOUT", "300")
    # Compiling 15,000 files takes a minute of two idle cores, and many of busy ones.
    env.setdefault("UV_COMPILE_BYTECODE_TIMEOUT", "600")
    return env


def output_of(command: "list[str]") -> "str | None":
    """What a short command prints, or None if it fails."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=clean_environment(),
            encoding="utf-8",
            errors="replace",
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def on_path(name: str) -> "list[str]":
    """Every program of this name on PATH, in order: the first may be a shim that fails."""
    found = []
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        candidate = shutil.which(name, path=folder) if folder else None
        if candidate and candidate not in found:
            found.append(candidate)
    return found


# File descriptors of the lock while it is held.
_held = []  # type: list[int]


@contextmanager
def only_one() -> "Iterator[None]":
    """Hold the set-up for this process; wait while another one has it.

    The system drops the lock when its process ends, so a killed call leaves none behind.
    """
    if _held:
        yield
        return
    try:
        STATE.mkdir(exist_ok=True)
        (STATE / ".gitignore").write_text("*\n", encoding="utf-8")
        stream = (STATE / "lock").open("a+")
    except OSError as error:
        msg = (
            f"{ROOT} cannot be written ({error.strerror}). Change its permissions, or clone to "
            "another place."
        )
        raise SetupError(msg) from error
    with stream:
        take(stream)
        _held.append(stream.fileno())
        try:
            yield
        finally:
            _held.clear()


def take(stream: "IO[str]") -> None:
    """Wait for the lock on an open file."""
    told = False
    while True:
        try:
            if sys.platform == "win32":
                import msvcrt  # noqa: PLC0415  (only there)

                msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl  # noqa: PLC0415  (not on Windows)

                fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in {errno.EACCES, errno.EAGAIN, errno.EDEADLK}:
                msg = f"{ROOT} is on a disk without file locks. Clone to a local disk."
                raise SetupError(msg) from error
            if not told:
                say("another set-up is running in this clone; waiting for it")
            told = True
            time.sleep(0.2)
        else:
            return


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(str(path))
        else:
            path.unlink()
    except FileNotFoundError:
        pass
    except OSError as error:
        msg = (
            f"{path} cannot be removed ({error.strerror}). Close what is using it, or change its "
            "permissions, then run the same command again."
        )
        raise SetupError(msg) from error


def sha256(path: Path, *more: str) -> str:
    """The sha256 of a file and of further words."""
    try:
        digest = hashlib.sha256(path.read_bytes())
    except OSError as error:
        msg = f"{path} cannot be read ({error.strerror}). The clone is incomplete: clone it again."
        raise SetupError(msg) from error
    for word in more:
        digest.update(word.encode())
    return digest.hexdigest()


def say(text: str) -> None:
    """Tell the user what is going on."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def usage() -> str:
    """The commands, one a line."""
    lines = [f"  {name:8s}{command.__doc__}" for name, command in COMMANDS.items()]
    return "usage: python bootstrap.py COMMAND [ARGUMENT...]\n\n" + "\n".join(lines) + "\n"


def main(arguments: "list[str]") -> int:
    """Run one command; return the exit status."""
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        sys.stdout.write(usage())
        return 0
    if arguments[0] not in COMMANDS:
        say(f"There is no command {arguments[0]!r}.\n" + usage())
        return 2
    try:
        return COMMANDS[arguments[0]](arguments[1:])
    except SetupError as error:
        say(f"\nset-up: {error}")
        return 2
    except KeyboardInterrupt:
        say("\nstopped; the same command starts again from here")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
