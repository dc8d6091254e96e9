"""What holds for every test: no network, a home of its own, seeds, one thread, no display."""

from __future__ import annotations

import os
import random
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

ROOT = Path(__file__).resolve().parent.parent
LOCAL = ("127.", "::1", "localhost")
SEED = 20

# Set before any library is imported, for they read these only once; processes that
# a test starts inherit them. Nothing listens at the proxy's address, so that such a
# process cannot reach the network either.
os.environ.update(
    dict.fromkeys(("NO_ALBUMENTATIONS_UPDATE", "HF_HUB_OFFLINE", "NO_COLOR"), "1"),
    OMP_NUM_THREADS="1",
    MPLBACKEND="Agg",
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9"),
    NO_PROXY="127.0.0.1,localhost,::1",
)
# Where none is given, as wide as the examples in the documents; the tests hold at 40 as well.
os.environ.setdefault("COLUMNS", "120")
# A process started in the background ignores Ctrl-C, and so would the trainings it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# With any of these rich and typer write for a terminal that is not there.
for _variable in ("FORCE_COLOR", "PY_COLORS", "CLICOLOR_FORCE", "GITHUB_ACTIONS"):
    os.environ.pop(_variable, None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    """Names that are not UTF-8 may be logged; between processes a report must be."""
    report = yield
    report.sections = [
        (title, text.encode("utf-8", "backslashreplace").decode())
        for title, text in report.sections
    ]
    return report


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that reaches for another host: it would pass or fail with the weather."""
    lookup = socket.getaddrinfo

    def refuse_unless_local(host: object) -> None:
        name = host.decode() if isinstance(host, bytes) else host
        if name is not None and not (isinstance(name, str) and name.startswith(LOCAL)):
            # Unlike an exception, this is not swallowed by a library's `except Exception`.
            pytest.fail(f"a test reached for the network: {name!r}")

    def guarded(original: Callable[..., object]) -> Callable[..., object]:
        def call(self: socket.socket, address: tuple[object, ...]) -> object:
            if self.family in {socket.AF_INET, socket.AF_INET6}:
                refuse_unless_local(address[0])
            return original(self, address)

        return call

    def guarded_lookup(host: object, *args: object, **kwargs: object) -> object:
        refuse_unless_local(host)
        return lookup(host, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", guarded(socket.socket.connect))
    monkeypatch.setattr(socket.socket, "connect_ex", guarded(socket.socket.connect_ex))
    monkeypatch.setattr(socket, "getaddrinfo", guarded_lookup)


@pytest.fixture(autouse=True, scope="session")
def session_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of fixtures that outlive one test; never the user's own."""
    home = tmp_path_factory.mktemp("session-home")
    os.environ["RESIGHT_HOME"] = str(home)
    return home


@pytest.fixture(autouse=True)
def private_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A RESIGHT_HOME for each test, so that none finds what another stored."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("RESIGHT_HOME", str(home))
    return home


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Start each test from one random state, importing neither numpy nor torch for it."""
    random.seed(SEED)
    if "numpy" in sys.modules:
        # Libraries under test draw from numpy's global state.
        sys.modules["numpy"].random.seed(SEED)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(SEED)


@pytest.fixture(scope="module")
def quick() -> Iterator[None]:
    """Empty figures and small forests, for tests that run whole commands and look at neither."""
    from matplotlib.figure import Figure  # noqa: PLC0415  (slow; few tests need it)

    from core.data import shortcuts  # noqa: PLC0415

    def save(self: Figure, stream: Any, **_: object) -> None:
        stream.write('<svg xmlns="http://www.w3.org/2000/svg" width="1pt" height="1pt"></svg>')

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", save)
        patch.setattr(shortcuts, "TREES", 3)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, quick: None) -> tuple[Path, Path]:
    """A run that knows leaves only by its probe, and 150 leaves that it never saw."""
    from core.app import find_app  # noqa: PLC0415
    from core.verbs.train import train  # noqa: PLC0415  (torch; few tests need it)

    place = tmp_path_factory.mktemp("trained")
    app = find_app("crop_disease")
    flags = {"backbone": "test_resnet", "weights": "none", "size_px": (64, 64), "device": "cpu"}
    data = app.phantom(place / "data", 72, 1)
    train("crop_disease", data, place / "run", flags={**flags, "preset": "probe"})
    return place / "run", app.phantom(place / "new", 150, 2)


def beside_the_clone(name: str, what: str) -> Path:
    """A folder of ../shared; the test is skipped where it is not there."""
    folder = ROOT.parent / "shared" / name
    if not folder.is_dir():
        pytest.skip(f"needs the {what} of ../shared/{name}, which are not here")
    return folder


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real images beside the clone."""
    return beside_the_clone("data", "real images")


@pytest.fixture(scope="session")
def shared_weights() -> Path:
    """The folder of pretrained weights beside the clone."""
    return beside_the_clone("weights", "pretrained weights")
