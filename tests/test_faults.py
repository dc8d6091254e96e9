"""A fault at every file operation of every command, then the same command again.

A command runs in a fork of this process. An audit hook counts what it does to files
in its output, its run and its store. What a kill at the n-th operation would leave is
copied there and then, and once more with the write torn in half; or the operation
fails (disk full, no permission, input or output error). What is left must be absent,
incomplete, or complete and right; the same command must then end with the same bytes
as one that nothing happened to. Faults that leave the same files are repeated once.

A part of the places runs with every test; ``make faults`` runs all of them and prints the
table of docs/guarantees.md. ``RESIGHT_FAULTS=20`` tries 20 places for each kind of fault.
"""

from __future__ import annotations

import atexit
import errno
import hashlib
import importlib
import io
import json
import lzma
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
import venv
import warnings
import zipfile
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save as save_arrays

import core.data.audit
import core.data.facts
import core.data.prepared
import core.evaluation.curves
import core.model.heads
import core.verbs.kit
from apps.crop_disease.field.phantom import write_field_phantom
from core.app import find_app
from core.base.jobs import Job, open_output
from core.base.outputs import (
    MANIFEST_NAME,
    claim,
    is_complete,
    seal,
    sha256_file,
    unseal,
    write_bytes,
    write_json,
    write_text,
)
from core.base.parsing import read_json
from core.errors import OutputError, ResightError, RunError
from core.prediction.scorer import Scorer
from core.testing import SETTINGS
from core.verbs.check import check
from core.verbs.compare import compare
from core.verbs.ensemble import ensemble
from core.verbs.evaluate import evaluate
from core.verbs.export import ExportSettings, export
from core.verbs.from_table import evaluate_table
from core.verbs.kit import Kit, make_kit
from core.verbs.parts import merge, predict_part
from core.verbs.predict import begin, predict
from core.verbs.readers import readers_of
from core.verbs.similar import similar
from core.verbs.study_depth import DepthChoice, study_depth
from core.verbs.threshold import set_threshold
from core.verbs.train import train

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")

ASKED = os.environ.get("RESIGHT_FAULTS", "")
ALL = ASKED == "all"
# Each of these takes seconds, twice for every fault.
whole_only = pytest.mark.skipif(not ASKED, reason="part of make faults, which takes hours")
MODES = ("kill", "torn", "full", "denied", "broken")
ERRORS = {"full": errno.ENOSPC, "denied": errno.EACCES, "broken": errno.EIO}
# When a page was made.
MOMENT = re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\+00:00|Z| UTC)?")
# How long a study took.
SECONDS = re.compile(rb'"seconds": [0-9.e+-]+|[0-9.,]+ minutes of processor time')
REMOVALS = {"os.remove", "os.rmdir"}
CHANGES = {"os.rename", "os.mkdir", "os.link", "os.truncate", *REMOVALS}
LEAVES: dict[str, Any] = {**SETTINGS, "size_px": (32, 32)}


@dataclass
class Injector:
    """Counts file operations below some folders, and makes one of them fail.

    Attributes:
        watched: the folders.
        mode: of ``ERRORS``; empty only counts.
        at: number of the operation, from 0.
        states: where the watched folders are copied to before every change; None does not.
        log: what was counted.
        unsynced: files opened for writing whose bytes may not be on the disk.
    """

    watched: tuple[str, ...]
    mode: str = ""
    at: int = -1
    states: Path | None = None
    log: list[str] = field(default_factory=list)
    unsynced: set[str] = field(default_factory=set)
    is_copying: bool = False

    def install(self) -> None:
        """Begin, for as long as this process lives."""
        plain = os.fsync

        def fsync(handle: int) -> None:
            path = os.readlink(f"/proc/self/fd/{handle}")  # noqa: PTH115
            if self._is_watched(path):
                self._event("fsync", path)
            plain(handle)
            self.unsynced.discard(path)

        os.fsync = fsync
        sys.addaudithook(self._audit)

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = args
            writes = bool(mode and set(mode) & set("wax+")) or bool(
                flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            )
            path = self._watched(path)
            if path and (writes or self.mode in {"", "broken"}):
                self._event("write" if writes else "read", path)
                if writes:
                    self.unsynced.add(path)
        elif event in CHANGES:
            path = self._watched(args[0])
            if path:
                self._event(event, path)
                if event == "os.rename" and path in self.unsynced:
                    self.unsynced.discard(path)
                    self.unsynced.add(os.fspath(args[1]))

    def _watched(self, path: Any) -> str:
        if isinstance(path, int) or path is None:
            return ""
        text = os.path.abspath(os.fsdecode(path))  # noqa: PTH100  (no file operation of its own)
        return text if self._is_watched(text) else ""

    def _is_watched(self, path: str) -> bool:
        return path.startswith(self.watched)

    def _event(self, what: str, path: str) -> None:
        if self.is_copying:
            return
        is_read = what == "read"
        if is_read and self.mode != "broken":
            self.log.append(f"read {path}")
            return
        number = len(self.log) if self.mode == "broken" else changes_in(self.log)
        self.log.append(f"{what} {path}")
        if self.states is not None:
            self.is_copying = True
            self._copy_state(self.states / str(number))
            self.is_copying = False
        if not self.mode:
            return
        # A full disk stays full and lets files be removed; a refusal stays, too.
        stays = (self.mode == "full" and what not in REMOVALS) or self.mode == "denied"
        if number == self.at or (stays and number > self.at >= 0):
            raise OSError(ERRORS[self.mode], os.strerror(ERRORS[self.mode]), path)

    def _copy_state(self, to: Path) -> None:
        """Keep what a kill would leave now, and which files a power cut would tear."""
        for folder in self.watched:
            if Path(folder).is_dir():
                shutil.copytree(folder, to / Path(folder).name)
        to.mkdir(parents=True, exist_ok=True)
        (to / "unsynced.json").write_text(json.dumps(sorted(self.unsynced)))


def changes_in(log: list[str]) -> int:
    """How many of the operations were no reads."""
    return sum(not line.startswith("read ") for line in log)


@dataclass(frozen=True)
class Command:
    """A command to be disturbed.

    Attributes:
        name: of the row in the table.
        prepare: makes what it needs in an empty folder.
        run: runs it there.
        out: its output, below that folder.
    """

    name: str
    prepare: Callable[[Path], None]
    run: Callable[[Path], Any]
    out: str = "out"


def import_once(names: list[str]) -> None:
    """Import what a command needs here, so that not every fork does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names:
            if name not in sys.modules:
                with suppress(Exception):
                    importlib.import_module(name)


def in_fork(work: Callable[[], Any], report: Path) -> tuple[int, str]:
    """Run in a fork; how it ended, and what it said."""
    child = os.fork()
    if child == 0:
        code = 0
        try:
            work()
        except ResightError as error:
            report.write_text(f"{type(error).__name__}: {error}")
            code = error.exit_code
        except BaseException:
            report.write_text(traceback.format_exc())
            code = 1
        os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status, report.read_text() if report.is_file() else ""


def contents(folder: Path) -> dict[str, str]:
    """Path -> hash of every file, moments of making left out."""
    found = {}
    for file in sorted(folder.rglob("*")):
        if not file.is_file() or file.name == MANIFEST_NAME or "tensorboard" in file.parts:
            continue
        data = file.read_bytes()
        if file.name == "run.json" and data.endswith(b"}\n"):
            content = json.loads(data)
            content.pop("made", None)
            for point in [content.get("operating_point"), *content.get("operating_points", [])]:
                (point or {}).pop("set", None)
            data = json.dumps(content).encode()
        if file.name == "depth.json" and data.endswith(b"}\n"):
            data = SECONDS.sub(b"", data)
        if file.suffix == ".html":
            data = SECONDS.sub(b"", MOMENT.sub(b"", data))
        if file.name == "log.csv" and data.count(b"\n") > 1:
            # Seconds that an epoch took.
            data = pd.read_csv(io.BytesIO(data)).drop(columns="seconds").to_csv().encode()
        found[file.relative_to(folder).as_posix()] = hashlib.sha256(data).hexdigest()
    return found


def lies(out: Path, right: dict[str, str]) -> list[str]:
    """What is wrong with a directory that says it is complete."""
    if not is_complete(out):
        return []
    recorded = read_json(out / MANIFEST_NAME)["files"]
    wrong = [name for name, digest in recorded.items() if digest not in digests_of(out, name)]
    return [*wrong, *(name for name in right if name not in recorded)]


def digests_of(out: Path, name: str) -> set[str]:
    """Of the file, and of the one that may wait to take its place."""
    files = (out / f".{name}.pending", out / name)
    return {sha256_file(file) for file in files if file.is_file()}


def state_of(place: Path) -> str:
    """What a repeated command can depend on; names and moments of the process before left out."""
    found = contents(place)
    found |= {f"{entry}": "" for entry in place.rglob("*")}
    found = {re.sub(r"\.(\d+|[0-9a-f]{12})\.partial", ".partial", k): v for k, v in found.items()}
    found |= {name: "lock" for name in found if name.endswith("/.lock")}
    return hashlib.sha256(json.dumps(sorted(found.items())).encode()).hexdigest()


class Bench:
    """Runs commands with and without faults, each time in a folder of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def fresh(self, command: Command) -> Path:
        """The folder in which the command runs, as it was before the first fault.

        Always the same folder, for reasons name files, and always the same files.
        """
        place, template = self.root / command.name, self.root / f"{command.name}-before"
        if not template.is_dir():
            template.mkdir(parents=True)
            command.prepare(template)
        shutil.rmtree(place, ignore_errors=True)
        return Path(shutil.copytree(template, place))

    def once(self, command: Command, place: Path, injector: Injector | None) -> tuple[int, str]:
        """Run the command there."""
        os.environ["RESIGHT_HOME"] = str(place / "home")
        watched = place / "watched.json"

        def work() -> None:
            # Readers are processes of their own, which are disturbed elsewhere.
            core.data.prepared.read_in_subprocess = lambda read, row: read(row)
            core.data.facts.read_in_subprocess = lambda read, row: read(row)
            if injector is not None:
                injector.install()
            try:
                command.run(place)
            finally:
                if injector is not None and not injector.mode:
                    found = {"log": injector.log, "modules": sorted(sys.modules)}
                    watched.write_text(json.dumps(found))

        return in_fork(work, place / "said.txt")

    def killed_after(self, command: Command, place: Path, seconds: float) -> bool:
        """Run the command and kill it after a while; False if it ended before."""
        os.environ["RESIGHT_HOME"] = str(place / "home")
        child = os.fork()
        if child == 0:
            # A traceback must not go on in the tests of the child.
            try:
                command.run(place)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                assert os.waitstatus_to_exitcode(status) == 0
                return False
            time.sleep(0.01)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return True

    def watch(self, place: Path, command: Command, **how: Any) -> Injector:
        """An injector for the output and the store of a place."""
        return Injector((str(place / command.out), str(place / "home")), **how)

    def disturb(self, command: Command) -> Counter[str]:
        """Faults at many places; the count of each ending."""
        place, states = self.fresh(command), self.root / f"{command.name}-states"
        shutil.rmtree(states, ignore_errors=True)
        code, said = self.once(command, place, self.watch(place, command, states=states))
        assert code == 0, said
        right = contents(place / command.out)
        seen = json.loads((place / "watched.json").read_text())
        log: list[str] = seen["log"]
        import_once(seen["modules"])
        shutil.rmtree(place)
        few = int(ASKED) if ASKED.isdigit() else 1
        endings: dict[str, str] = {}
        count: Counter[str] = Counter()
        for mode in MODES:
            n = len(log) if mode == "broken" else changes_in(log)
            for at in chosen(n, few):
                code, said = 0, ""
                if mode in ERRORS:
                    place = self.fresh(command)
                    watch = self.watch(place, command, mode=mode, at=at)
                    code, said = self.once(command, place, watch)
                else:
                    place = self._killed(command, states / str(at), torn=mode == "torn")
                ending = self._ending(command, place, right, code, said, endings)
                if ending == "right" and mode in ERRORS and code == 0:
                    ending = "finished"
                count[ending] += 1
                count["injections"] += 1
                if ending not in {"right", "finished"}:
                    sys.stderr.write(f"{command.name} {mode} at {at}: {ending}\n")
        count["states"], count["operations"] = len(endings), len(log)
        shutil.rmtree(states)
        return count

    def _killed(self, command: Command, state: Path, *, torn: bool) -> Path:
        """The folder as a kill left it; torn: with half of what was not synced."""
        place = self.fresh(command)
        for folder in (command.out, "home"):
            shutil.rmtree(place / folder, ignore_errors=True)
            if (state / folder).is_dir():
                shutil.copytree(state / folder, place / folder)
        if torn:
            for path in json.loads((state / "unsynced.json").read_text()):
                with suppress(OSError):
                    os.truncate(path, os.stat(path).st_size // 2)  # noqa: PTH116
        return place

    def _ending(
        self,
        command: Command,
        place: Path,
        right: dict[str, str],
        code: int,
        said: str,
        endings: dict[str, str],
    ) -> str:
        """What becomes of what a fault left: ``right`` if the same command ends with it."""
        if code == 1:
            return f"traceback: {said.strip().splitlines()[-1]}\n{said}"
        wrong = lies(place / command.out, right)
        if wrong:
            return f"sealed wrong: {wrong[:3]}"
        for file in ("said.txt", "watched.json"):
            (place / file).unlink(missing_ok=True)
        state = state_of(place)
        if state not in endings:
            endings[state] = self._repeated(command, place, right)
        return endings[state]

    def _repeated(self, command: Command, place: Path, right: dict[str, str]) -> str:
        """The ending of the same command once more."""
        again, said = self.once(command, place, None)
        if again:
            return f"stuck: {said}"
        now = contents(place / command.out)
        if now != right:
            names = sorted(k for k in now.keys() | right.keys() if now.get(k) != right.get(k))
            return f"other bytes: {names[:4]}"
        shutil.rmtree(place)
        return "right"


def chosen(n: int, few: int) -> list[int]:
    """The places to try: all, or some of them spread evenly."""
    if ALL or n <= few:
        return list(range(n))
    return sorted({int(place) for place in np.linspace(0, n - 1, few + 2)[1:-1]})


def report_twice(place: Path) -> None:
    """A command as all commands are, but of two small files; in a store, too."""
    store = place / "home" / "store.npy"
    with open_output(place / "out", Job("report", replaces=True)):
        store.parent.mkdir(parents=True, exist_ok=True)
        if not store.is_file():
            write_bytes(store, b"pixels" * 1000)
        write_json(place / "out" / "metrics.json", {"n": len(store.read_bytes())})
        write_text(place / "out" / "page.html", "page" * 2000)
        seal(place / "out")


def unsealed_before_writing(place: Path) -> None:
    """What ``threshold`` did: nothing goes on from an unsealed run."""
    with claim(place / "out"):
        if not is_complete(place / "out"):
            msg = "is not complete. Train it to the end."
            raise RunError(msg)
        unseal(place / "out")
        write_json(place / "out" / "run.json", {"threshold": 0.5})
        seal(place / "out")


def leftovers_refused(place: Path) -> None:
    """What ``evaluate`` and ``ensemble`` did: only some of its own files were known."""
    with claim(place / "out"):
        names = {f.name for f in (place / "out").iterdir()} - {".lock"}
        if names and "metrics.json" not in names:
            msg = "holds files that resight did not write"
            raise OutputError(msg)
        unseal(place / "out")
        write_text(place / "out" / "page.html", "page" * 2000)
        write_json(place / "out" / "metrics.json", {})
        seal(place / "out")


def removed_before_sealing(place: Path) -> None:
    """What ``train`` did: the resume points went before the run was sealed."""
    out = place / "out"
    with claim(out):
        if is_complete(out):
            return
        if not (out / "checkpoint").is_file():
            if (out / "run.json").is_file():
                msg = "cannot be resumed"
                raise RunError(msg)
            write_text(out / "checkpoint", "weights")
        write_json(out / "run.json", {})
        (out / "checkpoint").unlink()
        seal(out)


def written_in_place(place: Path) -> None:
    """A file that is not written whole or not at all, and believed when it is there."""
    out = place / "out"
    with claim(out):
        if not (out / "table.csv").is_file():
            (out / "table.csv").write_text("row\n" * 5000)
        seal(out)


def errors_not_explained(place: Path) -> None:
    """A full disk that ends in a traceback."""
    place.joinpath("out").mkdir(exist_ok=True)
    with suppress(FileExistsError):
        (place / "out" / "a.txt").write_text("a")


def sealed_run(place: Path) -> None:
    """A complete output."""
    (place / "out").mkdir()
    write_json(place / "out" / "run.json", {})
    seal(place / "out")


@pytest.fixture
def everywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    """A bench that tries every place, for commands that take milliseconds."""
    monkeypatch.setattr(sys.modules[__name__], "ALL", True)
    return Bench(tmp_path)


@whole_only
def test_the_common_steps_hold_at_every_operation(everywhere: Bench) -> None:
    count = everywhere.disturb(Command("report_twice", lambda _: None, report_twice))
    n = count["injections"]
    assert n > 100
    assert count["finished"] + count["right"] == n, dict(count)


@whole_only
@pytest.mark.parametrize(
    ("prepare", "run", "ending"),
    [
        (sealed_run, unsealed_before_writing, "stuck: RunError: is not complete"),
        (lambda _: None, leftovers_refused, "stuck: OutputError: holds files"),
        (lambda _: None, removed_before_sealing, "stuck: RunError: cannot be resumed"),
        (lambda _: None, written_in_place, "other bytes: "),
        (lambda _: None, errors_not_explained, "traceback: "),
    ],
)
def test_faults_that_were_mended_would_be_found(
    everywhere: Bench, prepare: Any, run: Any, ending: str
) -> None:
    count = everywhere.disturb(Command(run.__name__, prepare, run))
    assert any(name.startswith(ending) for name in count), dict(count)


OLD = Path(__file__).parent / "fixtures" / "run_of_0_1"


def old_run(place: Path) -> None:
    """The run of the first version, and images for it, one of them damaged."""
    shutil.copytree(OLD / "run", place / "run")
    packed = place / "run" / "model.safetensors.xz"
    (place / "run" / "model.safetensors").write_bytes(lzma.decompress(packed.read_bytes()))
    packed.unlink()
    shutil.copytree(OLD / "inputs", place / "inputs")
    first = min((place / "inputs").iterdir())
    (place / "inputs" / "cut.jpg").write_bytes(first.read_bytes()[:900])


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, quick: None) -> Iterator[Bench]:
    """A bench on which nothing is computed that no file operation depends on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core.data.audit, "moved_copies", lambda *_, **__: ([], True))
        patch.setattr(core.evaluation.curves, "THRESHOLDS", np.array([0.1, 0.5]))
        patch.setattr(core.model.heads, "PENALTIES", (1e-3, 1e-2))
        # Six inputs are two blocks, and so two parts of a prediction.
        patch.setattr(Scorer, "block", 4)
        yield Bench(tmp_path_factory.mktemp("faults"))


@pytest.fixture(scope="module")
def trained(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Labelled leaves, two runs on them with the same split, a run on a field, and other data."""
    folder = tmp_path_factory.mktemp("trained")
    for name, n, seed in (("leaves", 48, 1), ("new", 16, 2)):
        find_app("crop_disease").phantom(folder / name, n, seed)
        table = pd.read_csv(folder / name / "labels.csv")
        table["sick"] = np.where(table["label"] == "healthy", "no", "yes")
        table.to_csv(folder / name / "sick.csv", index=False)
    os.environ["RESIGHT_HOME"] = str(folder / "home")
    for name, flags in (("run", {"epochs": 0}), ("other", {"epochs": 1})):
        train_leaves(folder, folder / name, {**LEAVES, **flags})
    export(folder / "run", folder / "exported", ExportSettings(data=folder / "leaves"))
    train_field(folder)
    onnx = (folder / "exported" / "model.onnx").read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        # To trace the network takes seconds and no file; it is written as it was the first time.
        place = "core.verbs.export.export_onnx"
        patch.setattr(place, lambda _, path, **__: write_bytes(path, onnx))
        yield folder


def train_leaves(data: Path, out: Path, flags: dict[str, Any], group: str | None = None) -> None:
    train(
        "crop_disease",
        data / "leaves" / "sick.csv",
        out,
        flags=flags,
        task="binary",
        label="sick",
        group=group,
    )


def copy_of(folder: Path, *names: str) -> Callable[[Path], None]:
    """What prepares a place with copies."""

    def prepare(place: Path) -> None:
        for name in names:
            shutil.copytree(folder / name, place / name)

    return prepare


def settled(command: Command, bench: Bench) -> None:
    """Disturb a command and require that nothing is stuck, wrong or unexplained."""
    count = bench.disturb(command)
    n, well = count["injections"], count["right"] + count["finished"]
    if ASKED:
        numbers = (
            count["operations"],
            n,
            count["states"],
            count["finished"],
            count["right"],
            n - well,
        )
        cells = " | ".join(f"{number:,}" for number in numbers)
        sys.stderr.write(f"| {command.name} | {cells} |\n")
    assert n == well, dict(count)


def old_pieces(place: Path) -> None:
    """Two finished parts of a prediction."""
    old_run(place)
    for number in (1, 2):
        part(place, number, f"part{number}")


def part(place: Path, number: int, out: str) -> None:
    begun = begin(place / "run", [place / "inputs"], place / out)
    predict_part(begun, place / out, (number, 2))


def join(place: Path) -> None:
    parts = [place / "part1", place / "part2"]
    merge(parts, place / "out", run_path=place / "run", inputs=[place / "inputs"])


def some_of(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.jpg"))[:5]


def kit_parts(place: Path) -> None:
    """Two wheels, one as pip's index and one as our own, and weights to train from."""
    pip_of_its_own()
    (place / "weights.safetensors").write_bytes(save_arrays({"a": np.zeros(9, np.float32)}))
    for name, folder in (("tiny", "index"), ("own", "own")):
        info, wheel = f"{name}-1.0.dist-info", place / folder / f"{name}-1.0-py3-none-any.whl"
        wheel.parent.mkdir()
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(
                f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
            )
            archive.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
    digest = sha256_file(place / "index" / "tiny-1.0-py3-none-any.whl")
    (place / "requirements.lock").write_text(f"tiny==1.0 --hash=sha256:{digest}\n")


@cache
def pip_of_its_own() -> str:
    """A Python with pip; a kit makes one each time where there is none."""
    folder = tempfile.mkdtemp(prefix="resight-pip-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    return f"{folder}/bin/python"


def kit(place: Path) -> None:
    core.verbs.kit.SOURCE = place
    core.verbs.kit._pip = lambda _: [pip_of_its_own(), "-m", "pip"]
    os.environ |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(place / "index")}
    asked = Kit(
        "train",
        "linux-x86_64",
        "3.12",
        weights=place / "weights.safetensors",
        wheel=place / "own" / "own-1.0-py3-none-any.whl",
    )
    make_kit(asked, place / "out")


def rated(place: Path) -> None:
    """Scores, labels and two readers of thirty cases."""
    rng = np.random.default_rng(0)
    label = np.arange(30) % 2
    score = np.clip(0.4 * label + 0.6 * rng.random(30), 0, 1)
    columns = {f"reader_{i}": np.round(4 * score + rng.random(30)).astype(int) for i in (1, 2)}
    table = pd.DataFrame({"image_id": range(30), "label": label, "split": "test", **columns})
    table.assign(score_0=1 - score, score_1=score, score=score).to_csv(place / "cases.csv")


def choose_threshold(place: Path) -> None:
    done = set_threshold(place / "run", target="sensitivity=0.9", unit="image")
    assert done["operating_point"]["threshold"] is not None


def study(place: Path) -> None:
    choice = DepthChoice(seeds=1, steps=6, depths=(8,), full_size=False)
    study_depth("crop_disease", place / "leaves" / "sick.csv", place / "out", choice=choice)


def map_field(place: Path) -> None:
    options = {"within": place / "south" / "boundary.gpkg", "rates": place / "south" / "rates.csv"}
    predict(place / "field", [place / "south" / "mosaic.tif"], place / "out", options=options)


def train_field(folder: Path) -> None:
    """A run on tiles of a raster, and another raster to map."""
    write_field_phantom(folder / "north", 700, 1)
    write_field_phantom(folder / "south", 20, 2)
    north = folder / "north"
    options = {"labels": north / "labels.gpkg", "label-column": "label", "tile": "3.2m"}
    flags = {**LEAVES, "epochs": 0}
    train("crop_disease", north / "mosaic.tif", folder / "field", flags=flags, options=options)


COMMANDS: dict[str, tuple[tuple[str, ...] | Callable[[Path], None], Callable[[Path], Any]]] = {
    "predict": (old_run, lambda p: predict(p / "run", [p / "inputs"], p / "out")),
    "predict --part": (old_run, lambda p: part(p, 1, "out")),
    "merge": (old_pieces, join),
    "predict, exported": (
        ("exported", "new"),
        lambda p: predict(p / "exported", some_of(p / "new"), p / "out"),
    ),
    "similar": (
        ("run", "leaves"),
        lambda p: similar(p / "run", some_of(p / "leaves"), p / "out", k=2),
    ),
    "threshold": (("run",), choose_threshold),
    "evaluate": (("run",), lambda p: evaluate(p / "run", None, p / "out")),
    "evaluate, new data": (
        ("run", "new"),
        lambda p: evaluate(p / "run", p / "new" / "sick.csv", p / "out", label="sick"),
    ),
    "evaluate --predictions": (
        rated,
        lambda p: evaluate_table(p / "cases.csv", p / "out", positive=("1",)),
    ),
    "readers": (rated, lambda p: readers_of(p / "cases.csv", p / "out", positive=("1",))),
    "check": (
        ("leaves",),
        lambda p: check("crop_disease", p / "leaves", p / "out", card="none", workers=1),
    ),
    "compare": (("run", "other"), lambda p: compare(p / "run", p / "other", p / "out")),
    "ensemble": (("run", "other"), lambda p: ensemble([p / "run", p / "other"], p / "out")),
    "export": (
        ("run", "leaves"),
        lambda p: export(p / "run", p / "out", ExportSettings(data=p / "leaves")),
    ),
    "export --format timm": (
        ("run",),
        lambda p: export(p / "run", p / "out", ExportSettings(form="timm")),
    ),
    "export --format hf": (
        ("run", "leaves"),
        lambda p: export(p / "run", p / "out", ExportSettings(data=p / "leaves", form="hf")),
    ),
    "kit": (kit_parts, kit),
    "study depth": (("leaves",), study),
    "predict, a field": (("field", "south"), map_field),
    "train": (("leaves",), lambda p: train_leaves(p, p / "out", LEAVES)),
    "train --folds 2": (
        ("leaves",),
        lambda p: train_leaves(p, p / "out", {**LEAVES, "folds": 2, "epochs": 1}, "image_id"),
    ),
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n == "predict" else whole_only) for n in COMMANDS]
)
def test_a_disturbed_command_ends_with_the_same_bytes(
    name: str, bench: Bench, request: pytest.FixtureRequest
) -> None:
    needs, run = COMMANDS[name]
    if isinstance(needs, tuple):
        needs = copy_of(request.getfixturevalue("trained"), *needs)
    settled(Command(name, needs, run, out="run" if name == "threshold" else "out"), bench)


@whole_only
@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("32-true", {"precision": "32-true"}),
        ("bf16-mixed", {"precision": "bf16-mixed"}),
        ("2 folds", {"folds": 2}),
    ],
)
def test_trainings_killed_at_random_end_with_the_same_bytes(
    name: str, own: dict[str, Any], bench: Bench, trained: Path
) -> None:
    kills = int(ASKED) if ASKED.isdigit() else 20
    flags = {**LEAVES, "epochs": 3, "checkpoint_minutes": 0.0, **own}
    command = Command(
        f"train, {name}",
        copy_of(trained, "leaves"),
        lambda place: train_leaves(place, place / "out", flags, "image_id"),
    )
    place, start = bench.fresh(command), time.monotonic()
    code, said = bench.once(command, place, None)
    assert code == 0, said
    lasts, right = time.monotonic() - start, contents(place / "out")
    rng, done, trainings = random.Random(name), 0, 0
    while done < kills:
        place, trainings = bench.fresh(command), trainings + 1
        while bench.killed_after(command, place, rng.uniform(0.05, 0.9) * lasts):
            done += 1
            assert not lies(place / "out", right)
        assert contents(place / "out") == right
    sys.stderr.write(f"| {name} | {done} | {trainings} | 0 |\n")
