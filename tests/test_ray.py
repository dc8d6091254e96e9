"""A prediction on a Ray cluster: the bytes of one process, whoever dies on the way."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import psutil
import pytest

from apps.crop_disease.field.phantom import write_field_phantom
from core.base.outputs import recorded_files
from core.errors import ConfigError, RunError
from core.prediction.journal import JOURNAL, block_text, stream_through, write_journal
from core.prediction.ray_cluster import LOST, require_ray
from core.runs.table_files import read_table
from core.verbs.export import export
from core.verbs.predict import predict
from core.verbs.train import train

START = "from core.cli.main import main; main()"
# A cluster that is killed: minutes on a machine that does other things as well.
alone = pytest.mark.skipif(
    "RESIGHT_RAY" not in os.environ, reason="RESIGHT_RAY=1 runs it, on an idle machine"
)
# Workers that end when they are given the second block, so often; the rest are options.
DEADLY = """
import os, signal, sys
from pathlib import Path
from core.prediction.ray_cluster import BlockScorer, Cluster
from core.verbs import predict

class Deadly(BlockScorer):
    def __call__(self, batch):
        died = Path(os.environ["DIED"])
        if batch["number"][0] == 1 and len(list(died.iterdir())) < int(os.environ["DEATHS"]):
            (died / str(os.getpid())).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(batch)

class Deadlier(Cluster):
    def __init__(self, *given, **named):
        super().__init__(*given, **named, worker=Deadly)

predict.Cluster = Deadlier
run, images, out = map(Path, sys.argv[1:4])
options = dict(word.split("=") for word in sys.argv[4:])
begun = predict.begin(run, [images], out, options=options)
predict.complete(begun, out, device="cpu", ray="local")
"""


def rows_of(n: int) -> list[dict[str, str]]:
    return [{"image_id": str(i)} for i in range(n)]


def text_of(*ids: int) -> str:
    return block_text(pd.DataFrame({"image_id": [str(i) for i in ids]}))


def test_blocks_finished_in_any_order_are_joined_in_theirs(tmp_path: Path) -> None:
    asked: list[int] = []

    def score(numbers: Sequence[int]) -> Iterator[tuple[int, str]]:
        asked.extend(numbers)
        return ((n, text_of(2 * n, 2 * n + 1)) for n in (2, 0))

    write_journal(tmp_path / JOURNAL, [(1, text_of(2, 3))])
    table = stream_through(tmp_path / JOURNAL, rows_of(6), score, block=2)
    assert asked == [0, 2]
    assert list(table["image_id"].astype(int)) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("numbers", [(0, 1, 1), (0, 7)])
def test_a_block_that_comes_twice_or_unasked_is_an_error(
    numbers: tuple[int, ...], tmp_path: Path
) -> None:
    with pytest.raises(RunError, match="counted twice"):
        stream_through(
            tmp_path / JOURNAL,
            rows_of(4),
            lambda _: ((n, text_of(2 * n, 2 * n + 1)) for n in numbers),
            block=2,
        )
    write_journal(tmp_path / "double", [(0, text_of(0, 1)), (0, text_of(0, 1))])
    with pytest.raises(RunError, match="counted twice"):
        stream_through(tmp_path / "double", rows_of(4), lambda _: iter(()), block=2)


def test_without_ray_the_error_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'resight\[ray\]'.*--part 1/8"):
        require_ray("auto")


def test_addresses_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(ConfigError, match="on a machine of the cluster"):
        require_ray("ray://head:10001")
    with pytest.raises(ConfigError, match="Leave one"):
        require_ray("auto", with_part="1/8")


@pytest.fixture(scope="module")
def exported(
    trained: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """The run exported, and its new leaves with a torn one among them."""
    run, new = trained
    out = tmp_path_factory.mktemp("ray") / "exported"
    export(run, out)
    (new / "spot" / "torn.jpg").write_bytes(sorted(new.rglob("*.jpg"))[0].read_bytes()[:900])
    return out, new


@pytest.fixture(scope="module")
def whole(exported: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "predictions"
    predict(exported[0], [exported[1]], out, device="cpu")
    return out


def children_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


@alone
@pytest.mark.slow
def test_a_worker_and_then_the_driver_killed_end_with_the_bytes_of_one_process(
    exported: tuple[Path, Path], whole: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    out = tmp_path / "out"

    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", START, "predict", *map(str, exported)]
        return subprocess.Popen(
            [*command, "--ray", "local", "--out", str(out), "--device", "cpu"],
            env={**os.environ, "HOME": str(home)},
        )

    def kill_a_worker(driver: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + 300
        while time.monotonic() < end and driver.poll() is None:
            found = [p for p in children_of(driver) if "BlockScorer" in " ".join(p.cmdline())]
            if found:
                found[0].kill()
                return
            time.sleep(0.02)
        pytest.fail("there was no worker")

    first = start()
    kill_a_worker(first)
    end = time.monotonic() + 300
    while not ((out / JOURNAL).is_file() and (out / JOURNAL).stat().st_size):
        assert time.monotonic() < end
        assert first.poll() is None
        time.sleep(0.02)
    left = children_of(first)
    first.send_signal(signal.SIGKILL)
    assert first.wait(60) == -signal.SIGKILL
    # The cluster of a driver that is gone goes with it: at once, but for two agents of Ray's that
    # ask a server of it for 60 s first.
    assert psutil.wait_procs(left, timeout=240)[1] == []
    again = start()
    kill_a_worker(again)
    assert again.wait(600) == 3  # one input is torn
    assert recorded_files(out) == recorded_files(whole)
    assert list(home.rglob("*")) == []


def predict_deadly(words: Sequence[object], died: Path, *, deaths: int) -> int:
    """Predict with workers that die at the second block; how many did."""
    died.mkdir()
    env = {**os.environ, "DIED": str(died), "DEATHS": str(deaths)}
    command = [sys.executable, "-c", DEADLY, *map(str, words)]
    subprocess.run(command, check=True, timeout=600, env=env)
    return len(list(died.iterdir()))


@pytest.mark.slow
def test_a_block_that_ends_every_worker_is_lost_and_nothing_else(
    exported: tuple[Path, Path], whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    # Once more where blocks that waited behind it were lost with its first worker.
    assert predict_deadly([*exported, out], tmp_path / "died", deaths=99) in {4, 5}
    found, expected = (read_table(place / "predictions") for place in (out, whole))
    assert list(found["image_id"]) == list(expected["image_id"])
    lost = found["reason"] == LOST
    assert list(lost[lost].index) == list(range(32, 64))
    assert set(found.loc[lost, "status"]) == {"failed"}
    columns = [name for name in expected if name.startswith("score_")]
    assert found.loc[~lost, columns].equals(expected.loc[~lost, columns])


@pytest.mark.slow
def test_a_field_whose_worker_dies_is_mapped_to_the_bytes_of_one_process(
    tmp_path: Path, quick: None
) -> None:
    pytest.importorskip("rasterio")
    north, south = tmp_path / "north", tmp_path / "south"
    write_field_phantom(north, 700, 1)
    write_field_phantom(south, 300, 2)
    options = {"labels": north / "labels.gpkg", "label-column": "label", "tile": "3.2m"}
    flags = {"backbone": "test_resnet", "weights": "none", "size_px": (32, 32), "epochs": 0}
    run = tmp_path / "run"
    train("crop_disease", north / "mosaic.tif", run, flags={**flags, "batch": 8}, options=options)
    asked = {"within": south / "boundary.gpkg", "rates": south / "rates.csv"}
    predict(run, [south / "mosaic.tif"], tmp_path / "whole", options=asked, device="cpu")
    words = [run, south / "mosaic.tif", tmp_path / "out", *(f"{k}={v}" for k, v in asked.items())]
    assert predict_deadly(words, tmp_path / "died", deaths=1) == 1
    assert (tmp_path / "out" / "maps" / "mosaic" / "map.html").is_file()
    assert recorded_files(tmp_path / "out") == recorded_files(tmp_path / "whole")


@pytest.mark.slow
def test_where_there_is_no_cluster_the_command_says_so(
    exported: tuple[Path, Path], tmp_path: Path
) -> None:
    command = [sys.executable, "-c", START, "predict", *map(str, exported)]
    done = subprocess.run(
        [*command, "--ray", "127.0.0.1:9", "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 2
    assert "ray start --head --disable-usage-stats" in " ".join(done.stderr.split())
