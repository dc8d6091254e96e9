"""Throughput, processor time and memory of a prediction on Ray against the number of workers.

    python bench/ray_throughput.py EXPORTED PHOTOS [--workers 1 2] [--counts 64 960] [--rounds 3]

Whole commands in turns: one process without Ray on one core, then ``--ray local`` on as many
cores as workers, each with few and with many photos. What the many take beyond the few is what
photos cost; what the few take is mostly the start. Processor time, which a busy machine disturbs
least, is told by who spends it: the command, the workers, their readers, Ray's own processes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

import pandas as pd
import psutil

from core.base.outputs import recorded_files

COMMAND = [sys.executable, "-c", "from core.cli.main import main; main()", "predict"]
ROLES = ("command", "worker", "reader", "ray")


def take(command: list[str]) -> dict[str, float]:
    """Seconds of a command; processor seconds and megabytes of its processes, by their role."""
    begun = time.monotonic()
    seconds: dict[int, float] = {}
    roles: dict[int, str] = {}
    largest: dict[int, float] = {}
    with tempfile.TemporaryFile() as output:
        process = psutil.Popen(command, stdout=output, stderr=output)
        while process.poll() is None:
            for one in (process, *process.children(recursive=True)):
                try:
                    spent, memory = one.cpu_times(), one.memory_info().rss / 1e6
                    roles[one.pid] = role(one, process.pid)
                except psutil.Error:
                    continue
                seconds[one.pid] = spent.user + spent.system
                largest[one.pid] = max(memory, largest.get(one.pid, 0.0))
            time.sleep(0.5)
        # 3: some inputs failed.
        if process.wait() not in {0, 3}:
            output.seek(0)
            sys.exit(output.read().decode(errors="replace"))
    found = {"wall": time.monotonic() - begun}
    for name in ROLES:
        mine = [pid for pid in roles if roles[pid] == name]
        found[name] = sum(seconds[pid] for pid in mine)
        # Ray's own count together, workers and readers one by one.
        sizes = [largest[pid] for pid in mine] or [0.0]
        found[f"{name} MB"] = sum(sizes) if name == "ray" else max(sizes)
    return found


def role(process: psutil.Process, driver: int) -> str:
    """What a process is there for."""
    if process.pid == driver:
        return "command"
    words = " ".join(process.cmdline())
    if "BlockScorer" in words:
        return "worker"
    return "reader" if "core.data.reading" in words else "ray"


def main() -> None:
    """Measure in turns, and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("exported", "photos"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--counts", type=int, nargs=2, default=[64, 960])
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    files = sorted(asked.photos.rglob("*.jpg"))
    few, many = asked.counts
    cores = sorted(os.sched_getaffinity(0))
    arms = {"one process": 1, **{f"{n} on Ray": n for n in asked.workers}}
    rows = []
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        for count in asked.counts:
            (place / str(count)).mkdir()
            for i in range(count):
                shutil.copy(files[i % len(files)], place / str(count) / f"{i:06d}.jpg")
        for turn, (arm, n), count in product(range(asked.rounds), arms.items(), asked.counts):
            os.sched_setaffinity(0, cores[:n])
            ray = ["--ray", "local"] if arm.endswith("Ray") else []
            out, whole = place / f"out{count} {arm}", place / f"out{count} one process"
            shutil.rmtree(out, ignore_errors=True)
            command = [str(asked.exported), str(place / str(count)), "--out", str(out)]
            took = take([*COMMAND, *command, "--device", "cpu", *ray])
            assert recorded_files(out) == recorded_files(whole), "the files differ"
            rows.append({"arm": arm, "count": count, "turn": turn, **took})
            print({k: v if isinstance(v, str) else round(v, 1) for k, v in rows[-1].items()})
    table = pd.DataFrame(rows).set_index(["arm", "count", "turn"]).sort_index()
    each = 1000 * (table.xs(many, level="count") - table.xs(few, level="count")) / (many - few)
    for arm in arms:
        of_few, of_many = (table.loc[(arm, n)].median().round(1).to_dict() for n in asked.counts)
        faster = (each.loc["one process", "wall"] / each.loc[arm, "wall"]).round(2).tolist()
        print(f"{arm}: {faster} times as fast as one process, turn by turn")
        print(
            "  ms for each further photo:",
            each.loc[arm, ["wall", *ROLES]].median().round(1).to_dict(),
        )
        print(f"  s for {few} photos:", {k: of_few[k] for k in ("wall", *ROLES)})
        print("  MB:", {k: of_many[f"{k} MB"] for k in ROLES})


if __name__ == "__main__":
    main()
