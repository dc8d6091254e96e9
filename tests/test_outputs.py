import errno
import hashlib
import json
import os
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import pandas as pd
import pyarrow
import pytest

from core.base import outputs
from core.base.lock import LOCK_NAME
from core.base.outputs import (
    atomic_file,
    check_space,
    claim,
    csv_safe,
    csv_text,
    is_complete,
    recorded_files,
    replace_sealed,
    seal,
    settle,
    sha256_file,
    unseal,
    write_bytes,
    write_json,
    write_text,
)
from core.errors import LockedError, OutputError


def test_failed_write_leaves_the_old_file_and_no_remains(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")

    def dies_half_way() -> None:
        with atomic_file(target) as stream:
            stream.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        dies_half_way()
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    with atomic_file(target) as stream:
        stream.write(b"all")
        assert not target.exists()
    assert target.read_bytes() == b"all"


def test_seal_names_every_file_and_unseal_marks_incomplete(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "x")
    (tmp_path / "sub").mkdir()
    write_text(tmp_path / "sub" / "b.txt", "y")
    assert not is_complete(tmp_path)
    seal(tmp_path)
    files = json.loads((tmp_path / "MANIFEST.json").read_text())["files"]
    assert sorted(files) == ["a.txt", "sub/b.txt"]
    unseal(tmp_path)
    assert not is_complete(tmp_path)


def test_second_owner_is_refused_and_the_first_unharmed(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from core.base.outputs import claim\n"
        "with claim(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "held\n"
    with pytest.raises(LockedError, match=str(owner.pid)) as caught, claim(tmp_path):
        pass
    assert caught.value.exit_code == 4
    assert (tmp_path / LOCK_NAME).exists()
    owner.communicate()
    assert owner.returncode == 0
    with claim(tmp_path):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="reads from /proc which file is meant")
def test_what_a_library_wrote_is_on_the_disk_before_the_manifest_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    plain = os.fsync

    def fsync(handle: int) -> None:
        order.append(Path(f"/proc/self/fd/{handle}").readlink().name)
        plain(handle)

    (tmp_path / "events").write_text("by a library that syncs nothing")
    monkeypatch.setattr(os, "fsync", fsync)
    seal(tmp_path)
    assert order[0] == "events"
    assert "MANIFEST" in order[1]


def test_lock_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    code = "import os, pathlib, sys\nfrom core.base.outputs import claim\n"
    code += "with claim(pathlib.Path(sys.argv[1])):\n    os.kill(os.getpid(), 9)\n"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert (tmp_path / LOCK_NAME).exists()
    (tmp_path / ".run.json.123.partial").write_text("half")
    # A library that writes several files at once was given a folder.
    folder = tmp_path / "maps" / ".zones.gpkg.x7mx.partial"
    folder.mkdir(parents=True)
    (folder / "zones.gpkg-journal").write_text("half")
    with claim(tmp_path):
        # What the dead process left half written goes with its lock.
        assert {f.name for f in tmp_path.rglob("*")} == {"maps", LOCK_NAME}
    assert not (tmp_path / LOCK_NAME).exists()


def test_lock_of_another_host_is_never_taken_over(tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).write_text(json.dumps({"pid": 1, "host": "elsewhere", "boot": "x"}))
    with pytest.raises(LockedError, match="elsewhere"), claim(tmp_path):
        pass


def test_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match="in the way"), claim(tmp_path / "out"):
        pass
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a user who can be refused")
def test_read_only_folder_is_refused_with_advice(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="may not write"), claim(tmp_path / "out"):
        pass


def test_space_is_checked_before_writing(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="are free"):
        check_space(tmp_path / "not" / "yet", 10**18)


def test_same_content_is_the_same_bytes(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": [1.5, None]})
    write_json(tmp_path / "b.json", {"a": [1.5, None], "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@x", "\tx", "\rx"])
def test_cells_that_a_spreadsheet_would_run_are_neutralised(cell: str) -> None:
    assert csv_safe(cell) == "'" + cell


def test_full_disk_is_said_in_words_whoever_was_writing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(OutputError, match="The disk is full"), claim(out):
        raise OSError(errno.ENOSPC, "No space left on device")
    # Nothing came of it, so nothing is left.
    assert not out.exists()
    with pytest.raises(FileNotFoundError), claim(out):
        raise FileNotFoundError(errno.ENOENT, "a fault of ours keeps its type")


def lock_of(folder: Path, **changed: object) -> dict[str, object]:
    """A lock as this process would write it, with some of it changed."""
    with claim(folder):
        owner = json.loads((folder / LOCK_NAME).read_text())
    owner.update(changed)
    (folder / LOCK_NAME).write_text(json.dumps(owner))
    return dict(owner)


@pytest.mark.skipif(sys.platform != "linux", reason="reads when a process began from /proc")
def test_lock_with_our_number_of_another_start_is_taken_over(tmp_path: Path) -> None:
    # A container that is started again gives its processes the numbers they had before.
    lock_of(tmp_path, started="12345")
    with claim(tmp_path):
        pass
    # Of an older version, which did not write when a process began.
    lock_of(tmp_path, started=None)
    with claim(tmp_path):
        pass
    # A lock that really is ours keeps a second command of this process out.
    lock_of(tmp_path)
    with pytest.raises(LockedError, match="is writing here, for 0 s now"), claim(tmp_path):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="reads when a process began from /proc")
def test_a_dead_lock_is_taken_over_however_slow_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock_of(tmp_path, started="12345")
    now = time.monotonic()
    # Each look at the clock is a minute after the last, as where other work has the processor.
    clock = (now + 60 * k for k in count())
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    with claim(tmp_path):
        assert json.loads((tmp_path / LOCK_NAME).read_text())["pid"] == os.getpid()


def test_empty_lock_of_a_full_disk_does_not_stay_for_ever(tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).write_text("")
    os.utime(tmp_path / LOCK_NAME, (1, 1))
    with claim(tmp_path):
        assert json.loads((tmp_path / LOCK_NAME).read_text())["pid"] == os.getpid()


def test_a_replaced_file_is_old_or_new_and_the_rest_stays_sealed(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    write_text(tmp_path / "b.txt", "other")
    seal(tmp_path)
    replace_sealed(tmp_path, "a.txt", b"new")
    assert (tmp_path / "a.txt").read_text() == "new"
    assert is_complete(tmp_path)
    # Killed before the new one counts: the old one stays.
    (tmp_path / ".a.txt.pending").write_bytes(b"never meant")
    settle(tmp_path)
    assert (tmp_path / "a.txt").read_text() == "new"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["MANIFEST.json", "a.txt", "b.txt"]
    # Killed once the new one counts: the next command puts it in its place.
    write_bytes(tmp_path / ".a.txt.pending", b"newer")
    files = {**recorded_files(tmp_path), "a.txt": hashlib.sha256(b"newer").hexdigest()}
    write_json(tmp_path / "MANIFEST.json", {"files": files})
    with claim(tmp_path):
        assert (tmp_path / "a.txt").read_text() == "newer"


@pytest.mark.parametrize("at", [0, 1])
def test_a_replacement_that_stops_midway_leaves_a_complete_directory(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text(tmp_path / "a.txt", "old")
    write_text(tmp_path / "b.txt", "other")
    seal(tmp_path)
    writes: list[Path] = []

    def stops(path: Path, data: bytes) -> None:
        writes.append(path)
        if len(writes) > at:
            raise OutputError
        write_bytes(path, data)

    monkeypatch.setattr(outputs, "write_bytes", stops)
    with pytest.raises(OutputError):
        replace_sealed(tmp_path, "a.txt", b"new")
    assert is_complete(tmp_path)
    assert set(recorded_files(tmp_path)) == {"a.txt", "b.txt"}
    with claim(tmp_path):
        assert (tmp_path / "a.txt").read_text() == "old"


def test_a_file_that_cannot_be_read_ends_in_a_sentence(tmp_path: Path) -> None:
    # As a failing disk would; a run's weights are read before its output is opened.
    with pytest.raises(OutputError, match=r"cannot be read .* Look at its permissions"):
        sha256_file(tmp_path)


@pytest.mark.parametrize("dtype", ["object", "string", "category", "string[pyarrow]", "arrow"])
def test_text_of_any_kind_is_made_safe_in_a_table(dtype: str) -> None:
    kind = pd.ArrowDtype(pyarrow.string()) if dtype == "arrow" else dtype
    table = pd.DataFrame({"a": pd.Series(["=1+1", "b"], dtype=kind), "n": [1.0, -2.5]})
    assert csv_text(table) == "a,n\n'=1+1,1\nb,-2.5\n"
