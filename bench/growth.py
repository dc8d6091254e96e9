"""The search for copies among many images: processor time and memory against their number.

Pictures are drawn (grey noise of eight sizes of grain, every tenth the one before it, cropped and
saved anew as a JPEG) and measured and set aside as ``resight check`` does; then near copies and
moved copies are searched. Prints for each number of images the seconds of each, what is found of
the copies, and by how much the memory of the process grew for each image in all. Each number is
counted in a process of its own.

    python bench/growth.py [--images 2000 10000 50000]
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from core.data.array_file import ArrayFile
from core.data.duplicates import near_copies
from core.data.facts import Facts, measure
from core.data.moved_copies import moved_copies


def drawn(n: int, place: Path) -> list[Facts]:
    """Facts of n pictures, every tenth the one before it, taken again."""
    rng = np.random.default_rng(0)
    aside, file = ArrayFile(), place / "picture.jpg"
    file.write_bytes(b"")
    found: list[Facts] = []
    picture = np.zeros((120, 160, 3), np.uint8)
    for number in range(n):
        if number % 10 == 9:
            _, packed = cv2.imencode(".jpg", picture[6:-4, 5:-9], [cv2.IMWRITE_JPEG_QUALITY, 70])
            picture = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR_RGB))
        else:
            grain = 8 + 2 * (number % 8)
            coarse = rng.integers(0, 255, (grain * 3 // 4, grain, 3), dtype=np.uint8)
            picture = cv2.resize(coarse, (160, 120), interpolation=cv2.INTER_CUBIC)
        facts = measure(f"{number:07d}", file, picture)
        detail, grey = (aside.put(np.asarray(one)) for one in (facts.detail, facts.grey))
        found.append(replace(facts, detail=detail, grey=grey))
    return found


def megabytes() -> float:
    """The most memory that this process has used so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def counted(n: int) -> str:
    """A row of the table."""
    with tempfile.TemporaryDirectory() as name:
        near_copies(drawn(20, Path(name)))
        moved_copies(drawn(20, Path(name)))
        before = megabytes()
        facts = drawn(n, Path(name))
        times = [time.process_time()]
        near, _ = near_copies(facts)
        times.append(time.process_time())
        moved, _ = moved_copies(facts, known={(pair.first, pair.second) for pair in near})
        times.append(time.process_time())
    pairs = {(int(pair.first), int(pair.second)) for pair in [*near, *moved]}
    copies = sum(first % 10 == 8 and second == first + 1 for first, second in pairs)
    each = 1024 * (megabytes() - before) / n
    spent = " | ".join(f"{seconds:.1f}" for seconds in np.diff(times))
    return f"{n:,} | {spent} | {copies:,} of {n // 10:,} | {len(pairs) - copies} | {each:.1f}"


def main() -> None:
    """Print a row for each number of images."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[2_000, 10_000, 50_000])
    asked = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print("images | near copies, CPU s | moved copies, CPU s | found | other pairs | kB an image")
    for n in asked.images:
        with get_context("spawn").Pool(1) as pool:
            print(pool.apply(counted, (n,)), flush=True)


if __name__ == "__main__":
    main()
