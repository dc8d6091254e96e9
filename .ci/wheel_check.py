"""Install the wheel outside of the tree, as a user does, and run the demo of each app there.

Not collected by pytest, for it takes minutes: ``make wheel-check``. It shows what a list
of files cannot: that everything is found where an installed program looks for it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = "Scripts" if os.name == "nt" else "bin"


def main() -> int:
    """Build, install, run; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="the Python to install into")
    python = parser.parse_args().python
    with tempfile.TemporaryDirectory(prefix="resight-wheel-") as folder:
        check(Path(folder), python)
    print("the wheel works outside of the tree")
    return 0


def check(folder: Path, python: str) -> None:
    """Do it in an empty folder."""
    uv = str(Path(sys.executable).with_name("uv"))
    step([sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", ROOT])
    (wheel,) = (folder / "dist").glob("*.whl")
    step([uv, "venv", "--quiet", "--no-project", "--python", python, folder / "env"], folder)
    # The lock as constraints: newer versions of others are not what is looked at here.
    install = [uv, "pip", "install", "--quiet", "--no-build", "--python", folder / "env"]
    install += ["--constraint", ROOT / "requirements.lock"]
    resight = folder / "env" / BIN / "resight"

    step([*install, str(wheel)], folder)
    shown = step([resight, "apps"], folder)
    missing = step([resight, "demo", "mammography", "--images", "60"], folder, expected=2)
    assert "pip install 'resight[dicom]'" in missing, missing
    assert "CMMD" in step([resight, "cards", "show", "cmmd"], folder)

    step([*install, f"resight[dicom,geo] @ {wheel.as_uri()}"], folder)
    for app in ("crop_disease", "images", "mammography", "retinopathy"):
        assert app in shown, shown
        step([resight, "demo", app, "--images", "60", "--out", app], folder)
    pages = [
        path.read_text("utf-8") for path in folder.glob("crop_disease/*/predictions/**/*.html")
    ]
    assert any("Leaflet" in page for page in pages), "no field map with its library"
    eyes = folder / "retinopathy"
    options = ["--out", "letters", "--letters", "--language", "de"]
    step([resight, "predict", eyes / "run", eyes / "new_site", *options], folder)
    assert list(folder.glob("letters/**/*.html")), "no letter"


def step(command: list[str | Path], folder: Path = ROOT, *, expected: int = 0) -> str:
    """Run one command, show how long it took, return what it printed."""
    start = time.monotonic()
    words = [str(word) for word in command]
    hidden = {"PYTHONPATH", "VIRTUAL_ENV"}
    env = {name: value for name, value in os.environ.items() if name not in hidden}
    env["RESIGHT_HOME"] = str(folder / "home")
    # The system knows a network's own certificate authority, uv's built-in list does not.
    env.setdefault("UV_SYSTEM_CERTS", "1")
    done = subprocess.run(
        words,
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    print(f"{time.monotonic() - start:6.1f} s  {Path(words[0]).name} {' '.join(words[1:4])}")
    if done.returncode != expected:
        print(done.stdout[-4000:])
        sys.exit(f"{' '.join(words)}: exit status {done.returncode}, expected {expected}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
