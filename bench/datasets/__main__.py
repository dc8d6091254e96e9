"""Defaults on every labelled folder of a folder, beside what has been published for it.

Each folder in FOLDER is taken by the app that ``resight check`` proposes, for every task whose
labels it holds, and trained with ``resight train`` as a user would: in a process of its own,
with no option but the weights and the seed. A run holds the probe and what fine-tuning made of
it on the same held-out cases, so one training gives both columns. What is complete is not run
again, so a stopped command goes on. FOLDER of another version's runs can be put beside these
with ``--against``: then each data set gives a paired difference, and all together one.

    python -m bench.datasets FOLDER --out RUNS [--seeds 0 1 2] [--only coffee_leaves/disease]
        [--preset default] [--against OTHER_RUNS] [--page docs/results.md]
        [-- --weights resnet50.safetensors]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench.datasets.page import page
from core.app import Source, find_app
from core.base.outputs import is_complete
from core.data.recognition import index_with_cards
from core.errors import ResightError
from core.verbs.propose import propose

# Beside a run: what its process used.
COST = "cost.json"


@dataclass(frozen=True)
class Question:
    """A data set and one thing to predict of it."""

    data: Path
    app: str
    task: str

    @property
    def name(self) -> str:
        """How the page and ``--only`` call it."""
        return f"{self.data.name}/{self.task}"


def questions(folder: Path) -> tuple[list[Question], dict[str, str]]:
    """What can be asked of the data sets in a folder, and the folders passed over with why."""
    found: list[Question] = []
    passed: dict[str, str] = {}
    for data in sorted(path for path in folder.iterdir() if path.is_dir()):
        try:
            app = find_app(propose(data).app)
        except ResightError as error:
            passed[data.name] = str(error)
            continue
        tasks = [app.task()] if app.domain.is_any else list(app.tasks)
        here: list[Question] = []
        seen: list[list[str]] = []
        reason = ""
        for task in tasks:
            try:
                source = Source(paths=(data,), labelled=True, task=task)
                table = index_with_cards(app, source, None)[0].table
            except ResightError as error:
                reason = reason or str(error)
                continue
            labels = table.loc[table["status"] == "ok", "label"].astype(str).tolist()
            # Two tasks of one column are one question, unless their classes differ.
            if len(set(labels) - {""}) > 1 and labels not in seen:
                seen.append(labels)
                here.append(Question(data.absolute(), app.name, task.name))
        found += here
        if not here:
            passed[data.name] = reason or "no task has labels of two classes"
    return found, passed


def run(asked: Question, out: Path, flags: list[str]) -> None:
    """Train once in a process of its own, and keep what it cost beside the run."""
    start_cli = "import sys; from core.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", start_cli, "train", asked.app, str(asked.data)]
    command += ["--task", asked.task, "--out", str(out), *flags]
    log = out.with_name(f"{out.name}.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    start, is_resumed = time.monotonic(), out.exists()
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    cost = {
        "cpu_s": used.ru_utime + used.ru_stime,
        "wall_s": time.monotonic() - start,
        # Kilobytes on Linux; of the largest process.
        "memory_mb": used.ru_maxrss / 1024,
        "faults": used.ru_minflt,
        "exit_status": process.returncode,
        # What the parts before used is not known.
        "is_resumed": is_resumed,
    }
    out.with_name(f"{out.name}.{COST}").write_text(json.dumps(cost), encoding="utf-8")


def main() -> None:
    """Run what is not complete, and write the page."""
    own = sys.argv[1:]
    own, flags = (own[: own.index("--")], own[own.index("--") + 1 :]) if "--" in own else (own, [])
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="where the runs are")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", nargs="+", help="names of data sets, or of set/task")
    parser.add_argument("--preset", default="default")
    parser.add_argument("--against", type=Path, help="runs of another version of the code")
    parser.add_argument("--page", type=Path, help="write the table here as well")
    parser.add_argument("--list", action="store_true", help="only say what would be run")
    given = parser.parse_args(own)
    found, passed = questions(given.folder)
    if given.only:
        found = [q for q in found if {q.name, q.data.name} & set(given.only)]
    for asked in found:
        print(f"{asked.name}: {asked.app}", flush=True)
    for name, reason in passed.items():
        print(f"{name}: passed over. {reason}", flush=True)
    if given.list:
        return
    runs: dict[str, list[Path]] = {}
    for seed in given.seeds:
        for asked in found:
            out = given.out / asked.name / f"{given.preset}-{seed}"
            runs.setdefault(asked.name, []).append(out)
            if not is_complete(out):
                print(f"{asked.name}, seed {seed} ...", flush=True)
                run(asked, out, ["--preset", given.preset, "--seed", str(seed), *flags])
            if not is_complete(out):
                log = out.with_name(f"{out.name}.log").read_text("utf-8").strip().splitlines()
                print("\n".join(["  did not end:", *log[-5:]]), flush=True)
    text = page(runs, against=given.against, root=given.out, passed=passed)
    print(text)
    if given.page:
        given.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
