"""Files that break their decoder cost one row, never the job."""

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core.app import app_names, find_app
from core.data import reading
from core.data.images import read_image
from core.data.reading import read_in_subprocess
from core.errors import ImageError

resource = pytest.importorskip("resource", reason="limits of memory and signals are POSIX")
READ = find_app("crop_disease").read
# A module that reader processes can import. What its ``read`` does is said by the name of the file.
MODULE = """
import ctypes, os, signal, time
import numpy as np

served = []

def read(row):
    name = os.path.basename(row["path"])
    if name == "unspoilt" and served:
        os.kill(os.getpid(), signal.SIGKILL)
    served.append(name)
    if name == "crash":
        ctypes.string_at(0)
    if name == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "leaves":
        os._exit(7)
    if name == "hang":
        time.sleep(60)
    if name == "spin":
        while True:
            pass
    if name in {"once", "pause"}:
        mark = row["path"] + ".seen"
        if not os.path.exists(mark):
            open(mark, "w").close()
            if name == "pause":
                time.sleep(60)
            os.kill(os.getpid(), signal.SIGKILL)
    if name == "odd":
        raise ZeroDivisionError("in a decoder")
    if name == "greedy":
        return np.ones(2**40, np.uint8)
    if name == "chatty":
        os.write(1, b"a warning of a library")
    return np.full((2, 3, 1), len(name), np.uint16)
"""


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("breaking")
    (folder / "breaking_reader.py").write_text(MODULE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        import breaking_reader  # type: ignore[import-not-found]  # noqa: PLC0415

        yield breaking_reader.read


@pytest.fixture
def slow_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A ``read`` whose imports take their time, as from a cold network drive."""
    (tmp_path / "slow_reader.py").write_text(
        "import os, sys, time\nif 'pytest' not in sys.modules: time.sleep(2)\n" + MODULE
    )
    monkeypatch.syspath_prepend(tmp_path)
    import slow_reader  # type: ignore[import-not-found]  # noqa: PLC0415

    return slow_reader.read


def test_pixels_are_those_of_the_app(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, dtype in (("a.png", np.uint8), ("b.png", np.uint16)):
        pixels = rng.integers(0, 255, (301, 407), dtype=np.uint8).astype(dtype)
        Image.fromarray(pixels).save(tmp_path / name)
        row = {"path": str(tmp_path / name)}
        apart = read_in_subprocess(READ, row)
        np.testing.assert_array_equal(apart, READ(row))
        assert apart.dtype == READ(row).dtype


def test_refusals_keep_their_words(tmp_path: Path) -> None:
    file = tmp_path / "text.jpg"
    file.write_text("no image")
    with pytest.raises(ImageError) as here:
        read_image(file)
    with pytest.raises(ImageError) as apart:
        read_in_subprocess(READ, {"path": str(file)})
    assert str(apart.value) == str(here.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("crash", r"crash: its decoder broke down \(SIGSEGV\)"),
        ("killed", "SIGKILL, perhaps for want of memory"),
        ("leaves", "exit code 7"),
        ("odd", "ZeroDivisionError: in a decoder"),
        ("greedy", "MemoryError|ArrayMemoryError"),
    ],
)
def test_file_that_breaks_its_decoder_is_one_reason(read: Any, name: str, said: str) -> None:
    with pytest.raises(ImageError, match=said):
        read_in_subprocess(read, {"path": f"/data/{name}"})
    # The next file is read as if nothing had happened.
    assert read_in_subprocess(read, {"path": "fine"})[0, 0, 0] == 4


@pytest.mark.parametrize(
    ("name", "limit", "said"),
    [("hang", "STALLED", "without any progress"), ("spin", "SECONDS", "of processor time")],
)
def test_file_that_never_ends_is_given_up(
    read: Any, monkeypatch: pytest.MonkeyPatch, name: str, limit: str, said: str
) -> None:
    read_in_subprocess(read, {"path": "fine"})  # a reader that has started
    monkeypatch.setattr(reading, limit, 1.0)
    start = time.monotonic()
    with pytest.raises(ImageError, match=f"{name}: it was still being decoded .* {said}"):
        read_in_subprocess(read, {"path": f"/data/{name}"})
    assert time.monotonic() - start < 20


def test_slow_start_of_a_reader_is_not_held_against_a_file(
    slow_read: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "SECONDS", 0.1)
    assert read_in_subprocess(slow_read, {"path": "fine"})[0, 0, 0] == 4


def test_reader_that_is_killed_once_costs_no_row(read: Any, tmp_path: Path) -> None:
    assert read_in_subprocess(read, {"path": str(tmp_path / "once")})[0, 0, 0] == 4
    assert (tmp_path / "once.seen").exists()


def test_what_other_files_did_to_readers_costs_no_row(read: Any) -> None:
    pool = reading._pool()
    pool.close()
    used = [pool._take(fresh=True) for _ in range(2)]
    pool.busy.clear()
    for reader in used:
        pool.idle = [reader]
        read_in_subprocess(read, {"path": "fine"})
    pool.idle = used
    # Both have served; only one that has not gives this file.
    assert read_in_subprocess(read, {"path": "unspoilt"})[0, 0, 0] == 8


def test_reader_that_once_comes_to_nothing_costs_no_row(
    read: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_in_subprocess(read, {"path": "fine"})  # a reader that has started
    monkeypatch.setattr(reading, "STALLED", 1.0)
    assert read_in_subprocess(read, {"path": str(tmp_path / "pause")})[0, 0, 0] == 5


def test_what_a_library_prints_does_not_become_pixels(read: Any) -> None:
    assert read_in_subprocess(read, {"path": "chatty"}).tolist() == [[[6]] * 3] * 2


def test_readers_have_a_limit_of_memory(read: Any) -> None:
    read_in_subprocess(read, {"path": "fine"})
    for reader in reading._pool().idle:
        soft, _ = resource.prlimit(reader.process.pid, resource.RLIMIT_AS)
        assert 0 < soft < 2**42


def test_threads_share_readers_and_keep_their_answers(read: Any) -> None:
    names = [f"{'x' * (k % 9)}ok" for k in range(60)]

    def one(name: str) -> int:
        return int(read_in_subprocess(read, {"path": name})[1, 2, 0])

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(one, names)) == [len(name) for name in names]
    assert len(reading._pool().idle) <= 3


def test_reader_that_died_idle_costs_no_row(read: Any) -> None:
    read_in_subprocess(read, {"path": "fine"})
    for reader in reading._pool().idle:
        os.kill(reader.process.pid, signal.SIGKILL)
        reader.process.wait()
    assert read_in_subprocess(read, {"path": "fine"})[0, 0, 0] == 4


def test_idle_readers_end_by_themselves(read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    read_in_subprocess(read, {"path": "fine"})
    pool = reading._pool()
    assert pool.idle
    monkeypatch.setattr(reading, "_IDLE_SECONDS", 0.0)
    for _ in range(100):
        if not pool.idle:
            break
        time.sleep(0.1)
    assert not pool.idle
    assert not any(thread.name == "readers" for thread in threading.enumerate() if pool.watch)


def test_function_that_cannot_be_sent_is_called_here() -> None:
    def read_here(row: Mapping[str, Any]) -> Any:
        return np.full((1, 1, 1), os.getpid())

    assert read_in_subprocess(read_here, {"path": "x"})[0, 0, 0] == os.getpid()


def test_reader_of_an_app_loads_neither_tables_nor_statistics() -> None:
    # Each reader is a process of its own, and what it imports is paid for by every one.
    reads = [pickle.dumps(find_app(name).read) for name in app_names()]
    program = (
        "import pickle, sys\n"
        f"for read in {reads!r}: pickle.loads(read)\n"
        "heavy = {'pandas', 'scipy', 'torch', 'sklearn', 'matplotlib', 'pydicom', 'rasterio'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parent.parent,
    )
    assert done.stdout.strip() == "[]"
