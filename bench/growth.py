"""The search for copies among many images: processor time and memory against their number.

Facts of images are drawn as ``resight check`` measures them: hashes at random, every tenth image
a near copy of another (a few bits of its hash and a little of its detail changed). Prints for
each number of images the seconds of the search, what it finds of the copies, and the memory.

    python bench/growth.py [--images 25000 50000 100000 200000]
"""

from __future__ import annotations

import argparse
import resource
import time
from dataclasses import replace

import numpy as np

from core.data.duplicates import near_copies
from core.data.facts import DETAIL_PX, GREY_PX, Facts

BITS = np.uint64(1) << np.arange(64, dtype=np.uint64)


def drawn(n: int) -> list[Facts]:
    """Facts of n images, every tenth the image before it, taken again."""
    rng = np.random.default_rng(0)
    found: list[Facts] = []
    for number in range(n):
        detail = rng.integers(-100, 100, (DETAIL_PX, DETAIL_PX), dtype=np.int8)
        phash, dhash = (int(value) for value in rng.integers(0, 2**63, 2, dtype=np.uint64))
        if number % 10 == 9 and found[-1].detail is not None:
            flipped = int(np.bitwise_xor.reduce(rng.choice(BITS, 4, replace=False)))
            phash, dhash = found[-1].phash ^ flipped, found[-1].dhash
            detail = np.where(rng.random(detail.shape) < 0.1, detail, found[-1].detail)
        found.append(
            replace(
                Facts(str(number)),
                height=300,
                width=400,
                sha256=str(number),
                phash=phash,
                dhash=dhash,
                detail=detail,
                grey=np.zeros((GREY_PX * 3 // 4, GREY_PX), np.uint8) + 1,
                colour=np.zeros(6, np.float32),
                border=np.zeros(48, np.float32),
            )
        )
    return found


def megabytes() -> float:
    """The most memory that this process has used so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print a row for each number of images."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[25_000, 50_000, 100_000, 200_000])
    print("images | search, CPU s | copies found | facts, kB an image | search, kB an image")
    for n in sorted(parser.parse_args().images):
        before = megabytes()
        facts = drawn(n)
        held = megabytes()
        start = time.process_time()
        pairs, _ = near_copies(facts)
        took = time.process_time() - start
        each = [1024 * size / n for size in (held - before, megabytes() - held)]
        # Memory of the numbers before is used again, so the first column of it is a lower bound.
        print(f"{n:,} | {took:.1f} | {len(pairs):,} of {n // 10:,} | {each[0]:.1f} | {each[1]:.1f}")
        del facts


if __name__ == "__main__":
    main()
