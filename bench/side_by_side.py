"""Two demos at the same time against one alone: what waiting for each other's cores costs.

Both are whole commands in processes of their own, as a user starts them. With nothing else
running, each of two should take at most 2.5 times as long as one: half of the cores are
gone, and threads that wait at barriers must not keep the other half busy.

    python bench/side_by_side.py [--app crop_disease] [--images 240]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def start(app: str, images: int, place: Path) -> subprocess.Popen[bytes]:
    """Begin a demo."""
    place.mkdir()
    program = [sys.executable, "-c", "from core.cli.main import main; main()"]
    return subprocess.Popen(
        [*program, "demo", app, "--images", str(images), "--out", str(place / "demo")],
        env={**os.environ, "RESIGHT_HOME": str(place / "home")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def seconds(app: str, images: int, places: list[Path]) -> list[float]:
    """Wall time of demos that are begun together, each its own."""
    begun = time.monotonic()
    running = dict(enumerate(start(app, images, place) for place in places))
    took = [0.0] * len(places)
    while running:
        time.sleep(0.1)
        for number, process in list(running.items()):
            if process.poll() is not None:
                if process.returncode != 0:
                    sys.exit(f"a demo ended with exit status {process.returncode}")
                took[number] = time.monotonic() - begun
                del running[number]
    return took


def main() -> None:
    """Print the times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--app", default="crop_disease")
    parser.add_argument("--images", type=int, default=240)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (alone,) = seconds(asked.app, asked.images, [place / "alone"])
        both = seconds(asked.app, asked.images, [place / "one", place / "other"])
    print(
        f"alone {alone:.0f} s; side by side {both[0]:.0f} and {both[1]:.0f} s: "
        f"{max(both) / alone:.2f} times"
    )


if __name__ == "__main__":
    main()
