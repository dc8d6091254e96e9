"""A prediction in parts: processes side by side, killed and repeated, joined to the same bytes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from core.base.outputs import recorded_files
from core.errors import ConfigError, RunError
from core.prediction.scorer import Scorer
from core.verbs.parts import merge, part_of, predict_part, share_of
from core.verbs.predict import begin, predict

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whole(trained: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "predictions"
    predict(trained[0], [trained[1]], out)
    return out


@pytest.fixture(scope="module")
def parts(trained: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    place = tmp_path_factory.mktemp("three")
    for i in (1, 2, 3):
        part_in(place / str(i), trained, (i, 3))
    return [place / str(i) for i in (1, 2, 3)]


def part_in(place: Path, trained: tuple[Path, Path], part: tuple[int, int]) -> dict[str, Any]:
    return predict_part(begin(trained[0], [trained[1]], place), place, part)


def test_parts_are_all_blocks_each_once() -> None:
    for n_blocks in (0, 1, 7, 100):
        for n in (1, 2, 3, 8, 150):
            shares = [share_of(n_blocks, (i, n)) for i in range(1, n + 1)]
            held = [block for first, last in shares for block in range(first, last)]
            assert held == list(range(n_blocks))
            sizes = [last - first for first, last in shares]
            assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("text", ["0/8", "9/8", "1", "1/", "/8", "a/b", "-1/8", "1/2/3", "1.0/2"])
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="first of 8"):
        part_of(text)


def test_a_part_killed_and_repeated_beside_another_ends_with_the_bytes_of_one(
    trained: tuple[Path, Path], whole: Path, tmp_path: Path
) -> None:
    start = "from core.cli.main import main; main()"
    command = [sys.executable, "-c", start, "predict", *map(str, trained), "--device", "cpu"]

    def start_again() -> subprocess.Popen[bytes]:
        return subprocess.Popen([*command, "--part", "2/2", "--out", str(tmp_path / "2")])

    other = start_again()
    journal = tmp_path / "2" / "journal.jsonl"
    end = time.monotonic() + 120
    while not (journal.is_file() and journal.stat().st_size) and time.monotonic() < end:
        time.sleep(0.01)
    other.send_signal(signal.SIGKILL)
    assert other.wait(120) == -signal.SIGKILL
    again = start_again()
    part_in(tmp_path / "1", trained, (1, 2))
    places = [tmp_path / "2", tmp_path / "1"]
    assert again.wait(120) == 0
    merge(places, tmp_path / "out")
    assert recorded_files(tmp_path / "out") == recorded_files(whole)
    (tmp_path / "2" / "MANIFEST.json").unlink()
    with pytest.raises(RunError, match="not finished"):
        merge(places, tmp_path / "another")


def test_more_parts_than_blocks_leave_some_empty(
    trained: tuple[Path, Path], whole: Path, tmp_path: Path
) -> None:
    n = -(-150 // Scorer.block) + 2
    found = [part_in(tmp_path / str(i), trained, (i, n)) for i in range(1, n + 1)]
    assert [f["n_inputs"] for f in found].count(0) == 2
    assert sum(f["n_inputs"] for f in found) == 150
    merge([tmp_path / str(i) for i in range(1, n + 1)], tmp_path / "out")
    assert recorded_files(tmp_path / "out") == recorded_files(whole)


def test_a_part_that_is_made_is_left_alone(trained: tuple[Path, Path], parts: list[Path]) -> None:
    before = {p: p.stat().st_mtime_ns for p in parts[0].iterdir()}
    again = part_in(parts[0], trained, (1, 3))
    assert again["of"] == 3
    assert {
        p: p.stat().st_mtime_ns for p in parts[0].iterdir() if p.name in {q.name for q in before}
    } == before
    with pytest.raises(RunError, match="part"):
        part_in(parts[0], trained, (2, 3))


def test_what_does_not_cover_the_inputs_once_is_refused(
    trained: tuple[Path, Path], parts: list[Path], whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(RunError, match=r"part 2 of 3\s+is missing.*--part 2/3"):
        merge([parts[0], parts[2]], out)
    double = tmp_path / "double"
    shutil.copytree(parts[1], double)
    with pytest.raises(RunError, match="counted twice"):
        merge([*parts, double], out)
    other = tmp_path / "other"
    part_in(other, trained, (2, 4))
    with pytest.raises(RunError, match="another prediction"):
        merge([parts[0], other, parts[2]], out)
    with pytest.raises(RunError, match="is not a part"):
        merge([*parts, whole], out)
    edited = tmp_path / "edited"
    shutil.copytree(parts[1], edited)
    said = json.loads((edited / "part.json").read_text())
    said["found"]["part"] = 9
    (edited / "part.json").write_text(json.dumps(said))
    with pytest.raises(RunError, match="names another part than its job"):
        merge([parts[0], edited, parts[2]], out)
    # A damaged block: the journal ends there, and nothing is guessed.
    torn = tmp_path / "torn"
    shutil.copytree(parts[2], torn)
    journal = torn / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-40])
    with pytest.raises(RunError, match=r"torn: part 3 holds .* its journal is damaged"):
        merge([parts[0], parts[1], torn], out)
    assert not out.exists() or not (out / "MANIFEST.json").exists()


def test_pictures_changed_since_are_told_and_moved_inputs_are_found(
    trained: tuple[Path, Path], parts: list[Path], whole: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(trained[1], moved)
    result = merge(parts, tmp_path / "out", inputs=[moved])
    assert result["n_inputs"] == 150
    mine, theirs = (json.loads((p / "summary.json").read_text()) for p in (tmp_path / "out", whole))
    assert mine == theirs
    picture = sorted(moved.rglob("*.jpg"))[0]
    os.utime(picture)
    with pytest.raises(RunError, match="no longer those that were scored"):
        merge(parts, tmp_path / "again", inputs=[moved])
