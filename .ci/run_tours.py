"""Run the first tour of each app's README and write what its commands print beneath them.

    python .ci/run_tours.py retinopathy mammography crop_disease images

Each tour runs in an empty folder, as a new user would run it. Only standard output is shown, of
a long one its beginning and its end. ``--keep FOLDER`` leaves what was made, for a picture.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Of a long output, lines that are shown of its beginning and its end; and their width.
FIRST, LAST, WIDE = 4, 7, 110
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)


def main() -> None:
    """Run the tours that are named, and rewrite their pages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("apps", nargs="+")
    parser.add_argument("--keep", type=Path)
    wanted = parser.parse_args()
    for app in wanted.apps:
        page = ROOT / "apps" / app / "README.md"
        text = page.read_text(encoding="utf-8")
        before, _, rest = text.partition("\n## A tour\n")
        tour, mark, after = rest.partition("\n## ")
        with tempfile.TemporaryDirectory() as scratch:
            place = wanted.keep / app if wanted.keep else Path(scratch)
            place.mkdir(parents=True, exist_ok=True)

            def told(block: re.Match[str], place: Path = place) -> str:
                return f"```console\n{''.join(_run(c, place) for c in commands(block[1]))}```"

            tour = BLOCK.sub(told, tour)
        page.write_text(f"{before}\n## A tour\n{tour}{mark}{after}", encoding="utf-8")


def commands(block: str) -> list[str]:
    """The commands of a console block, each with its continued lines; output is left out."""
    found: list[str] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append(line)
        elif found and found[-1].endswith("\\"):
            found[-1] += f"\n{line}"
    return found


def _run(command: str, place: Path) -> str:
    """The command and what it printed."""
    own = Path(sys.executable).parent
    done = subprocess.run(
        command[2:],
        shell=True,
        cwd=place,
        env={**os.environ, "PATH": f"{own}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in {0, 3}:
        sys.exit(f"{command}\n{done.stdout}{done.stderr}")
    lines = [line.rstrip().replace(f"{place}/", "") for line in done.stdout.splitlines()]
    lines = [line if len(line) <= WIDE else f"{line[:WIDE]}..." for line in lines]
    left = len(lines) - FIRST - LAST
    if left > 1:
        lines = [*lines[:FIRST], f"... ({left} more lines)", *lines[-LAST:]]
    return "\n".join([command, *lines]) + "\n"


if __name__ == "__main__":
    main()
