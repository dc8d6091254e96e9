"""Workers, nodes and drivers of a prediction on Ray, killed at random moments.

    python bench/ray_faults.py RUN IMAGES [--times 20] [--only worker node driver]

A cluster of two nodes of one core each is started on this machine. The same prediction is made
on it again and again, and at ten random moments of each a process is killed with SIGKILL: a
worker (an actor), a node (its raylet, with which its workers end; another takes its place), or
the driver, whose command is then repeated. The files must be those of one process without Ray,
byte for byte. Ends with 1 if they are not, or if nothing was killed: give it photos for a minute
(some of them torn, if you like), for a prediction that ends sooner is killed less often.
"""

# ruff: noqa: PLC0415  (Ray is imported when the cluster starts)

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import psutil

from core.base.outputs import recorded_files

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS = ("worker", "node", "driver")
COMMAND = [sys.executable, "-c", "from core.cli.main import main; main()", "predict"]
# Kills in one prediction, each when a random number of blocks is done.
KILLS = 10
# Exit codes of a prediction that is complete: without and with inputs that failed.
FINISHED = (0, 3)
# Times that a node is started before the machine is too busy for it.
STARTS = 5
# Seconds that one prediction may take, and what a cluster of two cores needs of shared memory.
PATIENCE, SHARED_MEMORY = 900.0, 100 * 2**20


def main() -> int:
    """Kill, compare, print the table; 1 if a file differs or nothing was killed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--only", choices=KINDS, nargs="*", default=KINDS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="where outputs and logs stay")
    given = parser.parse_args()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    command = [*COMMAND, str(given.run), str(given.images), "--device", "cpu", "--quiet"]
    draw = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as drawn:
        place = given.work or Path(drawn)
        place.mkdir(parents=True, exist_ok=True)
        whole = place / "whole"
        subprocess.run([*command, "--out", whole], check=False, stdout=subprocess.DEVNULL)
        cluster = TwoNodes()
        counts = []
        try:
            for kind in given.only:
                job = [*command, "--ray", cluster.address]
                found = [
                    one(kind, job, place / f"{kind}{i}", cluster, whole=whole, draw=draw)
                    for i in range(-(-given.times // KILLS))
                ]
                counts.append({"killed": kind, "predictions": len(found)} | total(found))
                print(counts[-1], flush=True)
        finally:
            cluster.end()
    for row in [list(counts[0]), ["---"] * len(counts[0]), *(list(c.values()) for c in counts)]:
        print("|", " | ".join(map(str, row)), "|")
    right = (row["kills"] and row["same bytes"] == row["predictions"] for row in counts)
    return 0 if all(right) else 1


def total(found: list[dict[str, int]]) -> dict[str, int]:
    """Sums over predictions."""
    return {name: sum(one[name] for one in found) for name in found[0]}


class TwoNodes:
    """A cluster of two nodes of one core; the one without the head can be killed."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self.cluster = Cluster()
        self._add(num_cpus=1)
        self.other = self._add(num_cpus=1)
        self.address: str = self.cluster.address

    def _add(self, **settings: Any) -> Any:
        for again in range(STARTS, 0, -1):
            try:
                return self.cluster.add_node(
                    object_store_memory=SHARED_MEMORY, include_dashboard=False, **settings
                )
            # Ray raises a bare Exception where a busy machine lets a node wait for 30 s.
            except Exception:
                if again == 1:
                    raise
        return None

    def kill_node(self) -> None:
        """Kill one node, and add another in its place."""
        self.cluster.remove_node(self.other, allow_graceful=False)
        self.other = self._add(num_cpus=1)

    def kill_worker(self, draw: float) -> bool:
        """Kill one of the actors that score; whether there was one."""
        actors = [p.pid for p in psutil.Process().children(recursive=True) if _is_actor(p)]
        if not actors:
            return False
        os.kill(sorted(actors)[int(draw * len(actors))], signal.SIGKILL)
        return True

    def end(self) -> None:
        """End all of it."""
        self.cluster.shutdown()


def _is_actor(process: psutil.Process) -> bool:
    """Whether a process is an actor that scores blocks."""
    try:
        return any("BlockScorer" in word for word in process.cmdline())
    except psutil.Error:
        return False


def one(
    kind: str,
    command: list[str],
    out: Path,
    cluster: TwoNodes,
    *,
    whole: Path,
    draw: random.Random,
) -> dict[str, int]:
    """One prediction with ``KILLS`` kills at random moments, and what became of its rows."""
    expected = pd.read_csv(whole / "predictions.csv")["image_id"]
    moments = sorted(draw.randrange(-(-len(expected) // 32)) for _ in range(KILLS))
    driver = _start(command, out)
    killed = repeated = done = 0
    for drawn in moments:
        # Between two kills a block is finished; else none would be with so many.
        moment = max(drawn, min(done + 1, len(expected) // 32) if killed else 0)
        # A cluster that lost all of its workers while they started says so, and ends the command.
        while not _wait(lambda after=moment: _blocks(out) >= after, driver):
            if driver.poll() in FINISHED:
                break
            driver, repeated = _start(command, out), repeated + 1
        time.sleep(draw.random())
        done = _blocks(out)
        if driver.poll() is not None:
            break
        if kind == "driver":
            driver.send_signal(signal.SIGKILL)
            driver.wait()
            driver = _start(command, out)
        elif kind == "node":
            cluster.kill_node()
        elif not _wait(lambda: cluster.kill_worker(draw.random()), driver):
            continue
        killed += 1
    while driver.wait(PATIENCE) == 2:
        driver, repeated = _start(command, out), repeated + 1
    ids = pd.read_csv(out / "predictions.csv")["image_id"]
    return {
        "kills": killed,
        "commands repeated by hand": repeated,
        "rows lost": int((~expected.isin(ids)).sum()),
        "rows doubled": int(ids.duplicated().sum()),
        "same bytes": int(recorded_files(out) == recorded_files(whole)),
    }


def _start(command: list[str], out: Path) -> subprocess.Popen[bytes]:
    """The driver."""
    with out.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(
            [*command, "--out", str(out)], stdout=log, stderr=log, start_new_session=True
        )


def _blocks(out: Path) -> int:
    """Blocks that the journal holds."""
    journal = out / "journal.jsonl"
    return journal.read_bytes().count(b"\n") if journal.is_file() else 0


def _wait(until: Callable[[], bool], driver: subprocess.Popen[bytes]) -> bool:
    """Whether it came true while the driver was at work."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and driver.poll() is None:
        if until():
            return True
        time.sleep(0.2)
    return False


if __name__ == "__main__":
    sys.exit(main())
