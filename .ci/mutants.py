"""Break a module line by line with mutmut, and count how many breaks the tests see.

    make mutants MODULE=core.data.split
    make mutants MODULE=core.data.split ARGS="tests/test_split.py tests/test_folds.py"

Without ARGS the tests are those that import the module. A copy of the tree is broken, and the
copy stays in .mutants/, so that the same command goes on where it was stopped. Prints what
survived as differences; fails if less than 85 % was seen.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".mutants"
# Share of the breaks that a test must see.
LEAST = 0.85
SETTINGS = """
[tool.mutmut]
source_paths = ["core", "apps"]
only_mutate = [{file!r}]
also_copy = {also}
pytest_add_cli_args = ["-p", "no:xdist", "-p", "no:cacheprovider", "-m", "not slow"]
pytest_add_cli_args_test_selection = {tests}
use_git_change_detection = false
"""


def tests_of(module: str) -> list[str]:
    """The test files that import a module."""
    package, _, name = module.rpartition(".")
    found = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Import | ast.ImportFrom):
                continue
            names = {alias.name for alias in node.names}
            source = node.module if isinstance(node, ast.ImportFrom) else None
            if module in {source, *names} or (source == package and name in names):
                found.append(path.relative_to(ROOT).as_posix())
                break
    return found


def copied(module: str, tests: list[str]) -> Path:
    """A copy of what git knows, with mutmut's settings for the module."""
    place = HOME / module
    if not place.exists():
        listing = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
        ).stdout.decode()
        for name in filter(None, listing.split("\0")):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, place / name)
        also = sorted({path.name for path in place.iterdir()} - {"core", "apps", "tests"})
        settings = SETTINGS.format(file=f"{module.replace('.', '/')}.py", also=also, tests=tests)
        with (place / "pyproject.toml").open("a", encoding="utf-8") as file:
            file.write(settings)
    return place


def mutmut(place: Path, *arguments: str) -> str:
    """What mutmut prints; of a run it goes to the terminal as well."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-m", "mutmut", *arguments],
        cwd=place,
        env=environment,
        text=True,
        stdout=None if arguments[0] == "run" else subprocess.PIPE,
        check=False,
    )
    if done.returncode and arguments[0] == "run":
        sys.exit(f"mutmut ended with {done.returncode}")
    return done.stdout or ""


def main() -> None:
    """Break, count, print what survived."""
    if len(sys.argv) < 2 or not (ROOT / f"{sys.argv[1].replace('.', '/')}.py").is_file():
        sys.exit("Name a module, as in: make mutants MODULE=core.data.split")
    module, *tests = sys.argv[1:]
    tests = tests or tests_of(module)
    if not tests:
        sys.exit(f"no test imports {module}: name test files, as in ARGS=tests/test_x.py")
    place = copied(module, tests)
    mutmut(place, "run", "--max-children", str(len(os.sched_getaffinity(0))))
    ended = re.findall(r"^\s*(\S+): (.+)$", mutmut(place, "results", "--all", "true"), re.M)
    counts = Counter(how for _, how in ended)
    for name, how in ended:
        if how not in {"killed", "timeout", "caught by type check"}:
            print(f"{how}:", mutmut(place, "show", name), sep="\n")
    seen = counts["killed"] + counts["timeout"]
    told = ", ".join(f"{n} {how}" for how, n in counts.most_common())
    print(f"{module}: {told}; {seen} of {len(ended)} seen, {seen / max(len(ended), 1):.0%}")
    sys.exit(seen < LEAST * len(ended))


if __name__ == "__main__":
    main()
