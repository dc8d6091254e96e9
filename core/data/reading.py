"""How an untrusted file is read: in a process of its own, within limits of time and memory.

Decoders are C code fed by strangers. A damaged file may make one loop, take all
memory, or crash; that must cost one row and not the job. So ``read_in_subprocess``
calls an app's ``read`` in a reader process and brings back the pixels, or the
reason why there are none. Readers are started when threads need them, serve any
number of files, and end when they have been idle or their parent ends. What
comes back is plain JSON and pixels, so that a reader which a file has taken
over can say nothing but wrong pixels.

This module knows no file format.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from core.base.machine import total_memory
from core.errors import ImageError, ResightError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from concurrent.futures import Future

    from numpy.typing import NDArray

__all__ = ["MEMORY", "SECONDS", "in_threads", "read_in_subprocess"]

T = TypeVar("T")
R = TypeVar("R")

# Processor seconds of the reader for one file. The slowest honest one, a 200-megapixel PNG, takes
# about 3. Its own, so that neither a slow start nor a busy machine is held against a file.
SECONDS = 120.0
# Seconds in which a reader uses no processor time: a network drive that does not answer.
STALLED = 600.0
# Bytes that a reader may take beyond what it needs to start: half of the machine's, but enough
# for the largest image that is read at all, 16-bit colour of 200 megapixels.
MEMORY = 6 * 2**30
_IDLE_SECONDS = 60.0
_TICK = 0.5
# Processor seconds in which a reader must have done its imports.
_START_SECONDS = 120.0
_LENGTH = struct.Struct(">Q")
_PIPE_BYTES = 2**20
# Entries of a thread that are handed over before the first of them must have ended.
_BEGUN = 64


def read_in_subprocess(
    read: Callable[[Mapping[str, Any]], NDArray[Any]], row: Mapping[str, Any]
) -> NDArray[Any]:
    """The pixels of one manifest row, read in another process.

    Args:
        read: ``App.read``. One that does not pickle is called here; ``check_app``
            refuses such an app.
        row: with an absolute ``path``.

    Returns:
        (H, W, C), exactly what ``read`` gives.

    Raises:
        ImageError: with the reason that ``read`` gives, or that the file broke or
            outlasted its reader.
    """
    try:
        # The search path goes along, because what it held may have changed since the reader began.
        request = pickle.dumps((sys.path, pickle.dumps((read, dict(row)))))
    except (pickle.PicklingError, AttributeError, TypeError):
        return read(row)
    return _pool().read(request, str(row.get("path", "")))


def in_threads(work: Callable[[T], R], entries: Iterable[T], *, workers: int) -> list[R]:
    """Results in the order of the entries; on an error or Ctrl-C nothing more is begun."""
    pool = ThreadPoolExecutor(max_workers=max(1, workers))
    try:
        results: list[R] = []
        begun: deque[Future[R]] = deque()
        for entry in entries:
            begun.append(pool.submit(work, entry))
            # What is submitted takes memory, and the entries may be many.
            if len(begun) > _BEGUN * max(1, workers):
                results.append(begun.popleft().result())
        return results + [one.result() for one in begun]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class _Reader:
    """One reader process and its two pipes."""

    def __init__(self) -> None:
        program = (
            # What is loaded stays: to look for garbage in it takes a third of the start.
            "import gc, sys; gc.disable(); "
            f"sys.path[:] = {sys.path!r}; from core.data.reading import serve; serve()"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self.begin()
        self.idle_since = time.monotonic()
        with suppress(ImportError, OSError):
            import fcntl  # noqa: PLC0415  (POSIX)

            fcntl.fcntl(self.replies.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    @property
    def requests(self) -> IO[bytes]:
        """Where requests are written."""
        return cast("IO[bytes]", self.process.stdin)

    @property
    def replies(self) -> IO[bytes]:
        """Where replies come from."""
        return cast("IO[bytes]", self.process.stdout)

    def begin(self) -> None:
        """Start the clock of a file; ``has_started`` starts it anew when imports are done."""
        self.is_decoding = False
        self.overdue = ""
        self.cost_too_much = False
        self.spent_before = self.spent = _processor_seconds(self.process.pid)
        self.waited = 0.0

    def look(self, elapsed: float) -> None:
        """Note what the file has cost so far, and end the process where that is too much.

        Args:
            elapsed: seconds since the last look.
        """
        now = _processor_seconds(self.process.pid)
        # While the whole program is suspended, no seconds count but those of one look.
        self.waited = 0.0 if now > self.spent else self.waited + min(elapsed, 4 * _TICK)
        self.spent = now
        limit = SECONDS if self.is_decoding else _START_SECONDS
        if now - self.spent_before > limit:
            self.overdue = f"after {limit:.0f} s of processor time"
            self.cost_too_much = True
        elif self.waited > STALLED:
            self.overdue = f"after {STALLED:.0f} s without any progress"
        if self.overdue:
            self.process.kill()

    def send(self, request: bytes) -> None:
        """Hand over a request; ``BrokenPipeError`` if the process has ended."""
        _write(self.requests, _LENGTH.pack(len(request)) + request)

    def receive(self) -> tuple[dict[str, Any], NDArray[Any] | None]:
        """The next reply; ``EOFError`` if the process ends instead."""
        head = self._head()
        if head.get("started"):
            self.spent_before = _processor_seconds(self.process.pid)
            self.is_decoding = True
            head = self._head()
        if "shape" not in head:
            return head, None
        pixels = np.empty(head["shape"], dtype=head["dtype"])
        if pixels.size:
            _fill(self.replies, pixels.reshape(-1).view(np.uint8).data)
        return head, pixels

    def _head(self) -> dict[str, Any]:
        """The next piece of JSON."""
        (length,) = _LENGTH.unpack(_exactly(self.replies, _LENGTH.size))
        head: dict[str, Any] = json.loads(_exactly(self.replies, length))
        return head

    def end(self) -> None:
        """Let the process end, and wait until it has."""
        with suppress(OSError):
            self.requests.close()
        self.process.kill()
        self.process.wait()
        self.replies.close()


class _Pool:
    """As many readers as threads read at the same time."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lock = threading.Lock()
        self.idle: list[_Reader] = []
        self.busy: set[_Reader] = set()
        self.watch: threading.Thread | None = None

    def read(self, request: bytes, path: str) -> NDArray[Any]:
        """See ``read_in_subprocess``."""
        is_second = False
        for _ in range(4):
            reader = self._take(fresh=is_second)
            try:
                reader.send(request)
            except OSError:
                # It ended while it was idle, so this file is not to blame.
                self._drop(reader)
                continue
            try:
                head, pixels = reader.receive()
            except (EOFError, OSError, ValueError):
                code = self._drop(reader)
                # Memory may have been short for a moment, or the file before may have done it:
                # only a file that ends a reader of its own, or costs too much, is to blame.
                if is_second or (reader.is_decoding and reader.cost_too_much):
                    raise ImageError(_ended(path, code, reader)) from None
                is_second = True
                continue
            except BaseException:
                self._drop(reader)
                raise
            self._give_back(reader)
            if pixels is None:
                raise ImageError(head["error"])
            return pixels
        msg = "no process that reads images stays alive; look at the messages above"
        raise RuntimeError(msg)

    def _take(self, *, fresh: bool = False) -> _Reader:
        """An idle reader, or a new one."""
        with self.lock:
            alive = [idle for idle in self.idle if idle.process.poll() is None]
            for dead in {*self.idle} - {*alive}:
                dead.end()
            reader = alive.pop() if alive and not fresh else _Reader()
            self.idle = alive
            reader.begin()
            self.busy.add(reader)
            if self.watch is None:
                self.watch = threading.Thread(target=self._watch, name="readers", daemon=True)
                self.watch.start()
            return reader

    def _give_back(self, reader: _Reader) -> None:
        """Keep a reader for the next file."""
        with self.lock:
            self.busy.discard(reader)
            reader.idle_since = time.monotonic()
            self.idle.append(reader)

    def _drop(self, reader: _Reader) -> int:
        """Forget a reader; returns how its process ended."""
        with self.lock:
            self.busy.discard(reader)
        with suppress(subprocess.TimeoutExpired):
            reader.process.wait(timeout=1.0)
        reader.end()
        return reader.process.returncode

    def _watch(self) -> None:
        """End readers that outlast their file, or have nothing to do."""
        before = time.monotonic()
        while True:
            time.sleep(_TICK)
            now = time.monotonic()
            with self.lock:
                for reader in self.busy:
                    reader.look(now - before)
                before = now
                old = [r for r in self.idle if now - r.idle_since > _IDLE_SECONDS]
                self.idle = [r for r in self.idle if r not in old]
                if not (self.idle or self.busy):
                    self.watch = None
            for reader in old:
                reader.end()
            if self.watch is None:
                return

    def close(self) -> None:
        """End all readers; a process forked from the one that started them leaves them alone."""
        if os.getpid() == self.pid:
            with self.lock:
                for reader in (*self.idle, *self.busy):
                    reader.end()
                self.idle, self.busy = [], set()


_pools: list[_Pool] = []
_pools_lock = threading.Lock()


def _pool() -> _Pool:
    """The readers of this process."""
    with _pools_lock:
        if not _pools or _pools[-1].pid != os.getpid():
            _pools.append(_Pool())
            atexit.register(_pools[-1].close)
        return _pools[-1]


def _processor_seconds(pid: int) -> float:
    """Processor time of a process so far; 0 if it has ended."""
    import psutil  # noqa: PLC0415  (a reader does without)

    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def _ended(path: str, code: int, reader: _Reader) -> str:
    """Why a reader that has ended gave no pixels."""
    if reader.overdue and not reader.is_decoding:
        return (
            f"{path}: the process that was to read it had not begun {reader.overdue}. The file is "
            "not to blame; run the same command again when the machine is less busy."
        )
    if reader.overdue:
        return (
            f"{path}: it was still being decoded {reader.overdue} and was given up. Open it "
            "in another program and save it anew, or leave it out."
        )
    how = f"exit code {code}"
    if code < 0:
        with suppress(ValueError):
            how = signal.Signals(-code).name
    memory = ", perhaps for want of memory" if how == "SIGKILL" else ""
    return (
        f"{path}: its decoder broke down ({how}{memory}). Copy it again from its source, or "
        "save it anew in another program."
    )


def serve() -> None:
    """What a reader process does: read what it is asked for until its parent closes the pipe."""
    # Ctrl-C reaches every process of a terminal; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests = os.fdopen(os.dup(0), "rb", buffering=0)
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    # What a library prints must not get between the replies.
    os.dup2(2, 1)
    is_limited = False
    while True:
        try:
            (length,) = _LENGTH.unpack(_exactly(requests, _LENGTH.size))
            request = _exactly(requests, length)
        except EOFError:
            return
        pixels: NDArray[Any] | None = None
        try:
            # From the parent, never from a file.
            sys.path[:], inner = pickle.loads(request)
            read, row = pickle.loads(inner)
            if not is_limited:
                gc.freeze()
                gc.enable()
                _limit_memory()
                is_limited = True
            # Imports are done; from here on time is the file's.
            _write(replies, _framed({"started": True}))
            pixels = np.ascontiguousarray(read(row))
            head: dict[str, Any] = {"shape": pixels.shape, "dtype": pixels.dtype.str}
        except ResightError as error:
            head = {"error": str(error)}
        # Decoders raise nearly every type there is.
        except Exception as error:
            head = {"error": f"{type(error).__name__}: {error}"}
        _write(replies, _framed(head))
        if pixels is not None and pixels.size:
            _write(replies, pixels.reshape(-1).view(np.uint8).data)


def _limit_memory() -> None:
    """Make memory beyond ``MEMORY`` an error in this process, where the system can."""
    with suppress(ImportError, OSError, ValueError):
        import resource  # noqa: PLC0415  (POSIX)

        page = os.sysconf("SC_PAGE_SIZE")
        half = total_memory() // 2
        with open("/proc/self/statm", encoding="ascii") as stream:  # noqa: PTH123
            now = int(stream.read().split()[0]) * page
        limit = now + max(half, MEMORY)
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _framed(head: Mapping[str, Any]) -> bytes:
    """JSON with its length before it."""
    text = json.dumps(head).encode()
    return _LENGTH.pack(len(text)) + text


def _write(stream: IO[bytes], data: bytes | memoryview) -> None:
    """All of the bytes; an unbuffered stream may take fewer at once."""
    left = memoryview(data)
    while left:
        left = left[stream.write(left) :]


def _exactly(stream: IO[bytes], length: int) -> bytes:
    """So many bytes; ``EOFError`` if there are fewer."""
    data = bytearray(length)
    _fill(stream, memoryview(data))
    return bytes(data)


def _fill(stream: Any, view: memoryview) -> None:
    """Bytes into a buffer until it is full; ``EOFError`` if there are fewer."""
    while view:
        count = stream.readinto(view)
        if not count:
            raise EOFError
        view = view[count:]
