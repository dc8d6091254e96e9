"""Run the core path on each Python and on the lowest versions that pyproject.toml allows.

Not collected by pytest, for it makes environments: ``make matrix``, or
``make matrix ARGS="3.12 lowest"`` for some jobs. Each job runs in a copy of the tree with
nothing beside it, as an ordinary user, on one core, in the C locale and without Pango: what
a machine other than a developer's may look like. Two jobs run at a time.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".matrix"
JOBS = {"3.11": "3.11", "3.12": "3.12", "3.13": "3.13", "lowest": "3.11"}
# The rooms in the order of the data, and one whole path through all of them.
TESTS = [
    *("images", "manifest", "split", "prepared", "heads", "classifier", "scores", "metrics"),
    *("calibration", "html", "outputs", "cli", "machine", "fitting", "path", "old_run"),
]
# Seconds of one job.
PATIENCE = 3600
NOBODY = 65534
# What importing WeasyPrint does where the system has no Pango.
NO_PANGO = """import sys
from importlib.machinery import ModuleSpec
class Hidden:
    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, self) if name == "weasyprint" else None
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        raise OSError("cannot load library 'libpango-1.0-0'")
sys.meta_path.insert(0, Hidden())
"""


def main() -> int:
    """Run the jobs that were asked for; return the exit status."""
    names = sys.argv[1:] or list(JOBS)
    if strange := sorted(set(names) - set(JOBS)):
        sys.exit(f"no job {', '.join(strange)}; there are {', '.join(JOBS)}")
    pythons = {name: find_python(JOBS[name]) for name in names}
    absent = [name for name in names if pythons[name] is None]
    present = [name for name in names if pythons[name] is not None]
    HOME.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="resight-matrix-") as folder:
        place = Path(folder)
        place.chmod(0o755)
        trees = {name: prepare(name, str(pythons[name]), place) for name in present}
        with ThreadPoolExecutor(2) as pool:
            codes = list(pool.map(lambda name: run(name, trees[name]), present))
    for name in absent:
        print(f"{name}: NOT RUN, for no Python {JOBS[name]} was found here")
    passed = sum(code == 0 for code in codes)
    cpu = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{passed} of {len(names)} jobs passed, {cpu.ru_utime + cpu.ru_stime:.0f} s of CPU time")
    return 0 if passed == len(names) else 1


def find_python(minor: str) -> str | None:
    """An interpreter of this minor version that runs, rather one that every user may run."""
    candidates = [shutil.which(f"python{minor}", path=part) for part in os.get_exec_path()]
    candidates += map(str, Path.home().glob(f".pyenv/versions/{minor}.*/bin/python3"))
    found = sorted(filter(None, candidates), key=lambda path: not readable(Path(path).resolve()))
    # A shim may exist and fail.
    question = "import ensurepip, sys; print('{}.{}'.format(*sys.version_info))"
    for candidate in found:
        done = subprocess.run(
            [candidate, "-c", question], capture_output=True, encoding="utf-8", check=False
        )
        if done.stdout.strip() == minor:
            return candidate
    return None


def prepare(name: str, python: str, place: Path) -> Path:
    """Make the environment of a job and a copy of the tree installed in it; return the copy."""
    uv = str(Path(sys.executable).with_name("uv"))
    tree, env = place / name / "resight", HOME / name
    start = time.monotonic()
    lock = ROOT / "requirements.lock"
    if name == "lowest":
        lock = HOME / "lowest.txt"
        # The resolver takes the newest torchvision, an indirect need, and torch with it.
        (bound,) = re.findall(r'"torch>=([\d.]+)"', (ROOT / "pyproject.toml").read_text("utf-8"))
        (HOME / "torch.txt").write_text(f"torch=={bound}.*\n", encoding="utf-8")
        wanted = ["--resolution", "lowest-direct", "--python-version", JOBS[name]]
        wanted += ["--only-binary", ":all:", "--extra", "all", "-c", str(HOME / "torch.txt")]
        check([uv, "pip", "compile", "-q", "pyproject.toml", *wanted, "-o", str(lock)])
    check([uv, "venv", "--quiet", "--no-project", "--clear", "--python", python, str(env)])
    inside = ["--quiet", "--python", str(env)]
    check([uv, "pip", "sync", *inside, str(lock)])
    beside = {".venv", ".git", ".matrix", "runs", "demo", "build", "dist", "resight.egg-info"}
    shutil.copytree(
        ROOT, tree, ignore=lambda folder, _: beside if Path(folder) == ROOT else {"__pycache__"}
    )
    alone = ["--no-deps", "--no-build-isolation", "--no-index", "--editable", str(tree)]
    check([uv, "pip", "install", *inside, *alone])
    (place / name / "hidden").mkdir()
    (place / name / "hidden" / "sitecustomize.py").write_text(NO_PANGO, encoding="utf-8")
    print(f"{name}: {python}, environment made in {time.monotonic() - start:.0f} s", flush=True)
    return tree


def check(command: list[str]) -> None:
    """Run a step of the preparation; leave with its output where it fails."""
    # The system knows a network's own certificate authority, uv's built-in list does not.
    env = {"UV_SYSTEM_CERTS": "1", **os.environ}
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, encoding="utf-8", check=False
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


def run(name: str, tree: Path) -> int:
    """Run the tests of one job; return their exit status."""
    python = (HOME / name / "bin" / "python").resolve()
    as_other: dict[str, object] = {}
    if os.geteuid() == 0 and readable(HOME) and readable(python):
        for path in [tree.parent, *tree.parent.rglob("*")]:
            os.chown(path, NOBODY, NOBODY)
        as_other = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    elif os.geteuid() == 0:
        print(f"{name}: as root, for other users cannot read {python}")
    core = sorted(os.sched_getaffinity(0))[list(JOBS).index(name) % len(os.sched_getaffinity(0))]
    command = ["taskset", "-c", str(core), str(HOME / name / "bin" / "python"), "-m", "pytest"]
    command += ["-q", "-p", "no:xdist", "-p", "no:cacheprovider"]
    command += [f"tests/test_{name}.py" for name in TESTS]
    command += ["tests/mammography/test_dicom.py", "tests/crop_disease/test_field_raster.py"]
    if name == "lowest":
        # Old releases warn of the newer ones that they call; with the lock a warning is an error.
        command += ["-o", "filterwarnings=default"]
    env = {
        "HOME": str(tree.parent),
        "TMPDIR": str(tree.parent),
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(tree.parent / "hidden"),
        "LANG": "C",
        "LC_ALL": "C",
        "COLUMNS": "40",
        "TERM": "dumb",
    }
    start = time.monotonic()
    done = subprocess.run(
        command,
        cwd=tree,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
        timeout=PATIENCE,
        **as_other,
    )
    said = done.stdout.strip().splitlines()
    # What readers say while they end may stand below the line that counts.
    counts = [line for line in said if re.search(r"\d (passed|failed|error)", line)]
    print("\n".join(said[-60:] if done.returncode else counts[-1:]))
    print(f"{name}: exit status {done.returncode}, {time.monotonic() - start:.0f} s", flush=True)
    return done.returncode


def readable(path: Path) -> bool:
    """Whether everybody may go to a path."""
    return all(folder.stat().st_mode & 0o001 for folder in [path, *path.parents])


if __name__ == "__main__":
    sys.exit(main())
