"""Make ``.venv`` from the locks, then run a command in it: ``python bootstrap.py test``.

Needs a Python of 3.11 to 3.13 with its venv module and a package index, nothing else:
venv makes the environment with pip in it, pip installs uv by hash, uv installs the lock by
hash. What was installed into ``.venv`` by hand stays there. ``make`` adds shorter names.

No syntax newer than Python 3.6: an old interpreter must say what to install.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
STAMP = VENV / "resight.stamp"
LOCKS = [ROOT / "bootstrap.lock", ROOT / "requirements.lock"]
# First and last minor version that the lock was installed and tested on.
OLDEST, NEWEST = (3, 11), (3, 13)
# Measured and rounded up: on Linux PyTorch brings the CUDA libraries.
NEEDED_GB = 8 if sys.platform.startswith("linux") else 4
# One file of tests stays in one process, for its tests share what they made.
PARALLEL = ["-n", "logical", "--maxprocesses=4", "--dist=loadfile", "--no-loadscope-reorder"]
SHORT = {
    "install": [],
    "demo": ["resight", "demo"],
    "test": ["pytest", *PARALLEL, "-m", "not slow"],
    "test-slow": ["pytest", *PARALLEL, "-m", "slow"],
}
USAGE = """usage: python bootstrap.py COMMAND [ARGUMENT...]

  install    make or update .venv
  demo       the demonstration on synthetic data
  test       the tests, in a few minutes
  test-slow  those that run the commands of each document and app
  NAME       any program of .venv, such as `resight train` or `pip install`
"""
PYTHON_ADVICE = (
    "Install 64-bit CPython 3.11, 3.12 or 3.13 with its venv module (Debian, Ubuntu: apt install "
    "python3 python3-venv; macOS: brew install python@3.13; Windows: winget install "
    "Python.Python.3.13), or name one: make test PYTHON=/path/to/python3.12"
)
# What uv, pip and venv print, and what to do about it; the first that fits.
ADVICE = (
    (
        "no space left|disk quota|os error 112|errno 28",
        f"The disk is full. .venv needs about {NEEDED_GB} GB, and uv's cache as much if it is on "
        "another disk: free some, or set UV_CACHE_DIR and TMPDIR to folders on a larger one.",
    ),
    (
        "hash mismatch|do not match the hashes",
        "What the index served is not what was locked. If you use a mirror, check that it mirrors "
        "without changes; `.venv/bin/uv cache clean` cures a damaged download.",
    ),
    (
        "platform tag|compatible wheel|no usable wheels|not a supported wheel",
        "The lock has wheels for Linux (x86-64, aarch64), Windows (x86-64) and macOS 15 (arm64). "
        "On another machine use environment.yml with conda.",
    ),
    ("permission denied|read-only file", "Change the folder's permissions, or clone elsewhere."),
    (
        "connect|network|dns|resolv|resolution|timed? ?out|unreachable|certificate|no matching",
        "The package index could not be reached. Check the connection and HTTPS_PROXY; behind a "
        "mirror set PIP_INDEX_URL and UV_DEFAULT_INDEX to it; where the network has a certificate "
        "authority of its own, set PIP_CERT and SSL_CERT_FILE to its file.",
    ),
)
# They would redirect where packages go or which are taken.
REDIRECTING = (
    "PYTHON(HOME|PATH)|VIRTUAL_ENV|PIP_(TARGET|PREFIX|USER|REQUIREMENT|NO_BINARY|CONSTRAINT)|"
    "UV_(SYSTEM_PYTHON|TARGET|CONSTRAINT|OVERRIDE|NO_BINARY)"
)


def stamps() -> "tuple[str, str]":
    """The stamp of .venv, empty without one, and what it should be: locks, Python, place."""
    digest = hashlib.sha256()
    for path in [*LOCKS, ROOT / "pyproject.toml"]:
        digest.update(path.read_bytes())
    found = STAMP.read_text(encoding="utf-8") if STAMP.is_file() else ""
    return found, "{} {}.{} {}".format(digest.hexdigest(), *sys.version_info[:2], ROOT)


def is_there() -> bool:
    """Whether .venv has an interpreter; a link to one that is gone is none."""
    return shutil.which("python", path=str(BIN)) is not None


def has_pip() -> bool:
    """Whether pip runs in .venv; not where its making was stopped half way."""
    nowhere = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.call([str(BIN / "python"), "-m", "pip", "--version"], **nowhere) == 0


def install() -> None:
    """Make .venv what the locks say, unless it is; a second call at once waits for the first."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST or sys.maxsize < 2**32:
        stop(f"This is Python {sys.version.split()[0]}. {PYTHON_ADVICE}")
    found, wanted = stamps()
    if found == wanted and is_there():
        return
    with (ROOT / ".venv.lock").open("w") as stream:
        if os.name != "nt":
            import fcntl  # noqa: PLC0415  (not on Windows)

            fcntl.flock(stream, fcntl.LOCK_EX)
        found, wanted = stamps()
        if found != wanted or not is_there():
            make(found, wanted)


def make(found: str, wanted: str) -> None:
    """Make the environment, or install into it what changed."""
    place = wanted.split(" ", 1)[1]
    if not is_there() or found.split(" ", 1)[-1] != place:
        say(f"making .venv with Python {sys.version.split()[0]} ({sys.executable})")
        free = shutil.disk_usage(str(ROOT)).free / 1e9
        if free < NEEDED_GB:
            say(f"{free:.1f} GB are free where about {NEEDED_GB} are needed: it may not fit")
        # One that we made for another Python or place goes; one made by hand is added to.
        clear = ["--clear"] if found or not is_there() else []
        venv = [sys.executable, "-m", "venv", str(VENV)]
        step(".venv could not be made", [*venv, *clear])
        if not has_pip():
            step(".venv could not be made", [*venv, "--clear"])
    python = str(BIN / "python")
    # What was stopped while files were linked counts as installed and lacks some of them.
    stopped = found.startswith("unfinished")
    # Not whole until the end, but worth keeping.
    STAMP.write_text(f"unfinished {place}", encoding="utf-8")
    hashed = ["--require-hashes", "--only-binary", ":all:", "-r"]
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"]
    pip, uv = [python, "-m", "pip", "install"], [str(BIN / "uv"), "pip", "install"]
    uv += ["--python", python]
    anew = ["--force-reinstall"] if stopped else []
    step("uv could not be installed", [*pip, *quiet, *anew, *hashed, str(LOCKS[0])])
    say(f"installing requirements.lock into .venv (about {NEEDED_GB} GB; minutes at first)")
    failure = "The dependencies could not be installed"
    anew = ["--reinstall"] if stopped else []
    step(failure, [*uv, *anew, *hashed, str(LOCKS[1])])
    # The lock holds what the build needs, so nothing without a hash is fetched.
    alone = ["--no-deps", "--no-build-isolation", "--no-index", "--editable", str(ROOT)]
    step("The project itself could not be installed", [*uv, *alone])
    STAMP.write_text(wanted, encoding="utf-8")


def step(failure: str, command: "list[str]") -> None:
    """Run one step of the set-up, showing what it prints; say what to do if it fails."""
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL}
    lines = []
    with subprocess.Popen(
        command, env=environment(), encoding="utf-8", errors="replace", **piped
    ) as process:
        for line in process.stdout:
            lines.append(line)
            # uv ends with a line for each of 190 packages.
            if not line.startswith((" + ", " - ", " ~ ")):
                sys.stderr.write(line)
    if process.returncode != 0:
        stop(f"{failure}. {advice(''.join(lines))}")


def advice(output: str) -> str:
    """What to do about the output of a step that failed."""
    if shutil.disk_usage(str(ROOT)).free < 100e6:
        # venv does not show what the pip that it starts says.
        output = "no space left"
    if re.search("ensurepip is not|no module named '?(venv|ensurepip)", output, re.IGNORECASE):
        return f"This Python came without its venv module. {PYTHON_ADVICE}"
    for pattern, text in ADVICE:
        if re.search(pattern, output, re.IGNORECASE):
            return text + " The same command then goes on."
    return "The lines above say why. The same command starts again from here."


def environment() -> "dict[str, str]":
    """The variables of every process started here."""
    env = {n: value for n, value in os.environ.items() if not re.fullmatch(REDIRECTING, n)}
    # The system knows a network's own certificate authority, uv's built-in list does not.
    env.setdefault("UV_SYSTEM_CERTS", "1")
    # Single wheels of PyTorch's libraries are over half a gigabyte.
    env.setdefault("UV_HTTP_TIMEOUT", "300")
    # pip would try five times, for more than a minute, before it says that there is no network.
    env.setdefault("PIP_RETRIES", "2")
    return env


def say(text: str) -> None:
    """Tell the user what is going on."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def stop(text: str) -> None:
    """Leave: the machine must change before the set-up can go on, and the text says how."""
    say(f"\nset-up: {text}")
    sys.exit(2)


def main(arguments: "list[str]") -> int:
    """Run one command in the environment; return its exit status."""
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        sys.stdout.write(USAGE)
        return 0
    command = SHORT.get(arguments[0], arguments[:1]) + arguments[1:]
    try:
        install()
    except OSError as error:
        stop(f"{error}. {advice(str(error))}")
    except KeyboardInterrupt:
        say("\nset-up: stopped. The same command goes on from here.")
        return 130
    if arguments[0] == "install":
        return 0
    program = shutil.which(command[0], path=str(BIN))
    if program is None:
        stop(f".venv has no program {command[0]!r}.\n\n{USAGE}")
    if os.name != "nt":
        # In this process' place, so that Ctrl-C and signals reach the program alone.
        os.execve(program, [program, *command[1:]], environment())
    return subprocess.call([program, *command[1:]], env=environment())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
