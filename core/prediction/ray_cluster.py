"""Score the blocks of a prediction with the actors of a Ray cluster (Ray Data).

The inputs are listed before, and every block of them is one task; an actor holds the
loaded run, and decodes in reader processes as any prediction does, so that a damaged
file costs a row and not an actor. An actor that dies loses the blocks it was at.
They are given out again, in rounds; a block that nobody could score after that is
failed, and said to be lost by the cluster. Ray itself restarts actors and retries no
block: its own retries have no end by default, and with an end the whole job fails.

Nothing is written by the cluster: what is scored comes back to this process, which
keeps the journal. Ray's usage statistics are off.
"""

from __future__ import annotations

import logging
import os
import pickle
import secrets
import signal
import socket
import tempfile
import threading
import traceback
import warnings
import zlib
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.base.machine import cores
from core.base.outputs import sha256_file
from core.base.progress import log
from core.base.words import quantity
from core.data.input_files import stamps_of
from core.errors import ConfigError, ResightError, RunError
from core.prediction.journal import block_text
from core.prediction.scorer import Scorer
from core.report.predictions_page import small_jpeg
from core.runs.run import load_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from core.report.predictions_page import Thumbnails
    from core.runs.run import Run

__all__ = ["LOST", "BlockScorer", "Cluster", "require_ray"]

LOST = "lost by the cluster: each worker that was to read and score it died"
_UNLIKE = (
    "{}: a worker of the cluster does not see {} as it is seen here. Put inputs (and RESIGHT_HOME, "
    "for inputs of an object store) on a disk that all machines share at the same place."
)
# Number of the block of no inputs, which comes back from any worker that scores.
PROBE = -1
# Rounds in a row that may finish nothing. A block that ends its worker is tried so often, and once
# or twice more beside the others: in the first round those that wait behind it are lost as well.
BARREN_ROUNDS = 3
# Workers in a row that may die while they start before a round is given up.
INIT_DEATHS = 3
# Restarts of one worker: Ray Data keeps those that are dead for good in their place, and waits.
RESTARTS = 100
# Starts of a cluster on this machine: on a busy one Ray gives up after 30 s.
STARTS = 4
# Bytes shared by the processes of a cluster on this machine: blocks are tables of some kilobytes.
SHARED_MEMORY = 200 * 2**20

_SETTINGS = {
    # Otherwise Ray sends what it counts to its maker.
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    # Otherwise a program started by uv has its working directory uploaded to the cluster.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}


def require_ray(address: str, *, with_part: str = "") -> None:
    """Refuse an address where Ray is not installed, or that cannot be used.

    Raises:
        ConfigError: with what to do.
    """
    if with_part:
        msg = (
            f"--ray {address} --part {with_part}: a cluster divides the work by itself. Leave one "
            "of them out."
        )
        raise ConfigError(msg)
    if address.startswith("ray://"):
        msg = (
            f"--ray {address}: a client at a distance would lose the job with its connection. Run "
            "this command on a machine of the cluster, with --ray auto or --ray HOST:6379."
        )
        raise ConfigError(msg)
    os.environ.update(_SETTINGS)
    if address == "local":
        # Ray listens to the whole network; nobody else may give tasks to this machine.
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    try:
        import ray.data  # noqa: F401, PLC0415  (optional)
    except ImportError as error:
        msg = (
            f"--ray {address}: needs the package ray, which is not installed. "
            "pip install 'resight[ray]', or predict in parts, which needs none: --part 1/8."
        )
        raise ConfigError(msg) from error


class Cluster:
    """What scores blocks on a cluster, for ``stream_through``.

    Args:
        address: ``local`` for processes of this machine, ``auto`` or HOST:PORT for a cluster.
        run: as loaded here; every machine must see it at the same place.
        options: the app's own, as resolved.
        device: Lightning's accelerator name.
        worker: class of the actors.
    """

    def __init__(
        self,
        address: str,
        run: Run,
        *,
        options: Mapping[str, Any],
        device: str = "auto",
        worker: type[BlockScorer] | None = None,
    ) -> None:
        self.address = address
        self.worker = worker or BlockScorer
        self.actor = {
            "run_path": str(run.path.resolve()),
            "digest": sha256_file(run.path / "run.json"),
            "options": dict(options),
            "device": device,
        }
        self.n_gpus = int(device == "gpu")

    def texts(
        self, rows: Sequence[dict[str, Any]], scorer: Scorer, thumbnails: Thumbnails
    ) -> Callable[[Sequence[int]], Iterator[tuple[int, str]]]:
        """What scores blocks of these rows.

        Args:
            rows: of the manifest, in the order that fixes the blocks.
            scorer: of the same run, for the rows of what is lost.
            thumbnails: where pictures of the inputs are kept.
        """

        def score(numbers: Sequence[int]) -> Iterator[tuple[int, str]]:
            missing = dict.fromkeys(numbers)
            barren = 0
            is_first, works = True, False
            with _connected(self.address) if missing else nullcontext():
                while missing and barren < BARREN_ROUNDS:
                    n = len(missing)
                    for number, results in self._round(rows, list(missing), is_first=is_first):
                        works = works or number == PROBE
                        if number == PROBE:
                            continue
                        for name, data in results["pictures"]:
                            thumbnails.put(name, data)
                        # A block that comes twice is refused by who keeps the journal.
                        missing.pop(number, None)
                        yield number, results["text"]
                    is_first = False
                    barren, works = (barren + 1, works) if len(missing) == n else (0, False)
                    if missing:
                        words = quantity(len(missing), "block")
                        log.warning("Workers of the cluster were lost, and %s with them.", words)
            if missing and not works:
                msg = (
                    f"--ray {self.address}: no worker of the cluster answers; "
                    f"{quantity(len(missing), 'block')} of {Scorer.block} inputs are still to be "
                    "scored. The same command goes on with them; a cluster of another address, "
                    "or none, does as well."
                )
                raise RunError(msg)
            for number in missing:
                lost = [
                    {**row, "status": "failed", "reason": LOST} if row["status"] == "ok" else row
                    for row in _rows_of(rows, number)
                ]
                yield number, block_text(scorer.table_with_missing(lost))

        return score

    def _round(
        self, rows: Sequence[dict[str, Any]], numbers: Sequence[int], *, is_first: bool
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Give out blocks once, and one of no inputs; numbers and results of those that come back.

        Raises:
            ResightError: a worker says what the user must change.
            RuntimeError: scoring failed by a fault of ours.
        """
        results = self._given_out(rows, numbers, is_first=is_first)
        while True:
            try:
                found = next(results)
            except StopIteration:
                return
            # Whatever the cluster failed of is told by what is missing.
            except Exception as error:
                log.debug("the cluster failed of a round: %s", error)
                return
            number, result = int(found["number"]), pickle.loads(found["said"])
            if "error" in result:
                raise result["error"]
            if "fault" in result:
                raise RuntimeError(result["fault"])
            if "unlike" in result:
                # A file that changed for this machine as well is given out again as it is now.
                if result["unlike"] != stamps_of(_rows_of(rows, number)):
                    raise RunError(_UNLIKE.format(result["host"], result["first"]))
                continue
            yield number, result

    def _given_out(
        self, rows: Sequence[dict[str, Any]], numbers: Sequence[int], *, is_first: bool
    ) -> Iterator[dict[str, Any]]:
        """What comes back of blocks that are given out, in the order in which they are scored."""
        import ray.data  # noqa: PLC0415  (optional)

        free = int(ray.cluster_resources().get("CPU", 1))  # type: ignore[no-untyped-call]
        actors = ray.data.ActorPoolStrategy(
            min_size=1,
            max_size=len(numbers),
            initial_size=max(1, min(free, len(numbers))),
            # What waits behind a block that ends its worker is lost as well.
            max_tasks_in_flight_per_actor=None if is_first else 1,
        )
        tasks = [{"number": n, "rows": _packed(_rows_of(rows, n))} for n in numbers]
        tasks.insert(0, {"number": PROBE, "rows": _packed([])})
        with warnings.catch_warnings():
            # Ray takes the two last by no other way, and will take them no longer from 2.64 on.
            warnings.simplefilter("ignore")
            scored = ray.data.from_items(tasks, override_num_blocks=len(tasks)).map_batches(
                self.worker,
                fn_constructor_kwargs=self.actor,
                batch_size=1,
                batch_format="numpy",
                compute=actors,
                num_cpus=1,
                num_gpus=self.n_gpus,
                max_restarts=RESTARTS,
                max_task_retries=0,
            )
        yield from scored.iter_rows()


class BlockScorer:
    """An actor: the loaded run, and what it says of one block at a time.

    Errors are part of what it says: an exception would count as a lost block.
    """

    def __init__(self, *, run_path: str, digest: str, options: dict[str, Any], device: str) -> None:
        self.result: dict[str, Any] = {}
        try:
            run = load_run(Path(run_path))
            if sha256_file(run.path / "run.json") != digest:
                msg = f"{socket.gethostname()}: {run_path} is another run here. Copy it anew."
                self.result = {"error": RunError(msg)}
            self.scorer = Scorer(run, options=options, device=device, workers=1)
        except ResightError as error:
            self.result = {"error": error}
        except Exception:
            self.result = {"fault": traceback.format_exc()}

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Score one block."""
        result = self.result or self._result(pickle.loads(zlib.decompress(batch["rows"][0])))
        packed = np.array([pickle.dumps(result)], dtype=object)
        return {"number": batch["number"], "said": packed}

    def _result(self, block: dict[str, Any]) -> dict[str, Any]:
        """Text of the block's table and pictures of its inputs, or what is wrong."""
        rows, stamps = block["rows"], block["stamps"]
        if not rows:
            return {}
        here = stamps_of(rows)
        if here != stamps:
            first = min(name for name in stamps if stamps[name] != here[name])
            return {"unlike": here, "host": socket.gethostname(), "first": first}
        pictures: list[tuple[str, bytes | None]] = []
        self.scorer.keep = lambda name, pixels: pictures.append((name, small_jpeg(pixels)))
        try:
            text = block_text(self.scorer.table_with_missing(rows))
        except ResightError as error:
            return {"error": error}
        except Exception:
            return {"fault": traceback.format_exc()}
        return {"text": text, "pictures": pictures}


def _rows_of(rows: Sequence[dict[str, Any]], number: int) -> Sequence[dict[str, Any]]:
    """The rows of one block."""
    return rows[number * Scorer.block : (number + 1) * Scorer.block]


def _packed(rows: Sequence[dict[str, Any]]) -> bytes:
    """Rows and what their files were when they were listed; paths need not be UTF-8."""
    return zlib.compress(pickle.dumps({"rows": list(rows), "stamps": stamps_of(rows)}), 1)


@contextmanager
def _connected(address: str) -> Iterator[None]:
    """Within a cluster: that at the address, or one of this machine that ends afterwards.

    Raises:
        ConfigError: there is none.
    """
    require_ray(address)
    import ray  # noqa: PLC0415  (optional)

    handler = signal.getsignal(signal.SIGTERM)
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as logs:
        _start(address, Path(logs))
        context = ray.data.DataContext.get_current()
        # What is dropped is missing afterwards, and counted.
        context.max_errored_blocks = -1
        context.max_consecutive_actor_init_deaths = INIT_DEATHS
        context.print_on_execution_start = False
        context.enable_progress_bars = False
        for name in ("ray", "ray.data"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            ray.shutdown()
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, handler)


def _start(address: str, logs: Path) -> None:
    """Join a cluster, or start one on this machine.

    Raises:
        ConfigError: there is none, or it does not start.
    """
    import ray  # noqa: PLC0415  (optional)

    is_local = address == "local"
    settings: dict[str, Any] = {"address": address}
    if is_local:
        settings |= {
            "num_cpus": cores(),
            "object_store_memory": SHARED_MEMORY,
            "include_dashboard": False,
            "_node_ip_address": "127.0.0.1",
            "_temp_dir": str(logs),
        }
    for again in range(STARTS if is_local else 2, 0, -1):
        try:
            _require_open(address)
            ray.init(**settings, log_to_driver=False, logging_level=logging.CRITICAL)
        # Ray raises a bare Exception where a process of its own was slow.
        except Exception as error:
            ray.shutdown()
            _end_processes_of(logs)
            if again > 1:
                continue
            reason = " ".join(str(error).split())[:300]
            msg = (
                f"--ray {address}: there is no cluster that can be used ({reason}). Start one with "
                "ray start --head --disable-usage-stats, or use this machine alone: --ray local."
            )
            raise ConfigError(msg) from error
        return


def _require_open(address: str) -> None:
    """Refuse HOST:PORT where nobody listens: Ray itself would ask for a quarter of an hour.

    Raises:
        OSError: nobody does.
        ValueError: the port is no number.
    """
    host, colon, port = address.rpartition(":")
    if colon:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _end_processes_of(logs: Path) -> None:
    """End what a start that failed leaves running until this process ends."""
    import psutil  # noqa: PLC0415  (as Ray)

    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if any(str(logs) in word for word in process.cmdline()):
                process.kill()
