"""Inputs in an object store (S3, Google Cloud, Azure, or a file over HTTP), mirrored into a folder.

What lies below a URL is copied into resight's cache and read from there, by the same
reader and within the same limits as any other file. An object that is there already,
of the same size and time, is not fetched again; one that is gone from the store goes
from the mirror. Credentials come from the environment, as the store's own tools take
them (``AWS_ACCESS_KEY_ID``, ``GOOGLE_APPLICATION_CREDENTIALS``, ``AZURE_STORAGE_ACCOUNT_KEY``),
and from nowhere else.

Source: obstore, over the object_store crate of Apache Arrow.
"""

from __future__ import annotations

import hashlib
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from core.base.machine import cache_home
from core.base.outputs import atomic_file, check_space
from core.base.progress import track
from core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["fetch", "is_remote"]

WEB = ("http", "https")
SCHEMES = ("s3", "s3a", "gs", "az", "abfs", "abfss", *WEB)
# Where a server of one's own is named, and what opens a store; by the letters a scheme begins with.
ENDPOINTS = {"s3": ("AWS_ENDPOINT_URL",), "a": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT")}
CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL for a server "
    "of your own, or AWS_SKIP_SIGNATURE=true for a bucket that is open to all",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, or GOOGLE_SKIP_SIGNATURE=true for a bucket open to all",
    "a": "AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN",
}
# Objects fetched at once: each waits for the network most of its time.
AT_ONCE = 16


def is_remote(text: str) -> bool:
    """Whether it names objects of a store.

    >>> is_remote("s3://farm/2026"), is_remote("photos/a.jpg"), is_remote("C:/photos")
    (True, False, False)
    """
    scheme, mark, _ = text.partition("://")
    return bool(mark) and scheme in SCHEMES


def fetch(url: str) -> Path:
    """Mirror what a URL names.

    Args:
        url: of one object, or of all below a prefix; of one file where it is http(s).

    Returns:
        the file or folder on this machine.

    Raises:
        ConfigError: obstore is not installed, nothing is there, or it may not be read.
    """
    try:
        import obstore  # noqa: PLC0415  (optional)
        from obstore.exceptions import BaseError  # noqa: PLC0415
    except ImportError as error:
        msg = (
            f"{url}: reading from an object store needs the package obstore, which is not "
            "installed. pip install 'resight[cloud]'"
        )
        raise ConfigError(msg) from error
    del obstore
    try:
        return _mirror(url)
    # The store's own errors, and those of a URL that is none.
    except (BaseError, FileNotFoundError, PermissionError, ValueError) as error:
        msg = f"{url}: cannot be read ({_reason(error)}). Check the address{_credentials(url)}."
        raise ConfigError(msg) from error


def _reason(error: Exception) -> str:
    """What a store says, in words where it is known."""
    text = " ".join(str(error).partition("Debug source")[0].split())
    status = re.search(r"status code: (\d{3})", text)
    code = int(status[1]) if status else 0
    if code == 404 or isinstance(error, FileNotFoundError):
        return "nothing is there"
    if code in {401, 403} or "privileges" in text or "authentication" in text:
        return "the server refuses it"
    if "error sending request" in text:
        return "the server does not answer, or there is no network"
    return text[:300]


def _credentials(url: str) -> str:
    """What opens the store of a URL, and that only the environment is asked."""
    for scheme, names in CREDENTIALS.items():
        if url.startswith(scheme):
            return f"; credentials are taken from the environment alone: {names}"
    return "; a file behind a log-in is not fetched"


def _mirror(url: str) -> Path:
    """Fetch what is new; see ``fetch``."""
    store, objects, is_one = _listed(url)
    folder = cache_home() / "objects" / hashlib.sha256(url.encode()).hexdigest()[:16]
    wanted = {folder / _local(str(one["path"]), url): one for one in objects}
    if not wanted:
        msg = "nothing is there"
        raise ValueError(msg)
    folder.mkdir(parents=True, exist_ok=True)
    new = {path: one for path, one in wanted.items() if not _is_held(path, one)}
    check_space(folder, sum(int(one["size"]) for one in new.values()))
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        if path not in wanted:
            path.unlink()
    with track("fetching", len(new), unit="files") as advance:

        def copy(entry: tuple[Path, Mapping[str, Any]]) -> None:
            _copy(store, *entry)
            advance(1)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(copy, new.items()))
    return next(iter(wanted)) if is_one else folder


def _listed(url: str) -> tuple[Any, Iterable[Mapping[str, Any]], bool]:
    """The store, the objects that the URL names, and whether it names one by its own name."""
    import obstore  # noqa: PLC0415  (optional)
    from obstore.exceptions import NotFoundError  # noqa: PLC0415
    from obstore.store import from_url  # noqa: PLC0415

    # A server of one's own seldom has a certificate; whoever names it by http:// means it.
    servers = [url]
    for scheme, names in ENDPOINTS.items():
        servers += [os.environ.get(name, "") for name in names if url.startswith(scheme)]
    is_plain = any(server.startswith("http://") for server in servers)
    options: Any = {"client_options": {"allow_http": True}} if is_plain else {}
    above, _, name = url.rstrip("/").rpartition("/")
    if url.startswith(WEB):
        name = _web_name(url)
        store = from_url(above, **options)
        return store, [obstore.head(store, name)], True
    if "." in name and not above.endswith("/"):
        store = from_url(above, **options)
        try:
            return store, [obstore.head(store, name)], True
        except (NotFoundError, FileNotFoundError):
            pass
    store = from_url(url, **options)
    return store, [one for chunk in obstore.list(store) for one in chunk], False


def _web_name(url: str) -> str:
    """The name of the one file that an http(s) address names.

    Raises:
        ValueError: it names none.
    """
    parts = urlsplit(url)
    name = unquote(parts.path.rpartition("/")[2])
    if parts.query or parts.fragment:
        msg = "an address with ? or # is not taken; fetch the file yourself and name it"
        raise ValueError(msg)
    if "." not in name:
        msg = "a web server has no list of its files; name one file"
        raise ValueError(msg)
    return name


def _local(name: str, url: str) -> PurePosixPath:
    """Where an object lies below the mirror.

    Raises:
        ValueError: its name leads out of it.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in name or ":" in name:
        msg = f"the object {name!r} of {url} cannot be a file here; rename it"
        raise ValueError(msg)
    return path


def _is_held(path: Path, one: Mapping[str, Any]) -> bool:
    """Whether this very object was fetched before."""
    try:
        status = path.stat()
    except OSError:
        return False
    return status.st_size == one["size"] and status.st_mtime_ns == _time_ns(one)


def _time_ns(one: Mapping[str, Any]) -> int:
    """When the object was changed, in whole seconds: not every disk keeps more."""
    return int(one["last_modified"].timestamp()) * 10**9


def _copy(store: Any, path: Path, one: Mapping[str, Any]) -> None:
    """One object, whole or not at all, with its time."""
    import obstore  # noqa: PLC0415  (optional)

    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as stream:
        for chunk in obstore.get(store, str(one["path"])).stream():
            stream.write(chunk)
    os.utime(path, ns=(_time_ns(one), _time_ns(one)))
