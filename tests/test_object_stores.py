"""Objects of a store become files that are read like any other, and are fetched once."""

import functools
import json
import socket
import threading
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest

from core.cli.shared import existing
from core.data.object_stores import fetch
from core.errors import ConfigError

# 2026-01-01 in Unix seconds.
START = 1_767_225_600


class Bucket(ThreadingHTTPServer):
    """One bucket, as S3, Google and Azure answer for it: a list, an object, its head."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.objects: dict[str, tuple[bytes, int]] = {}
        self.fetched: list[str] = []

    def blobs(self, prefix: str) -> str:
        """What Azure's List Blobs answers."""
        rows = "".join(
            f"<Blob><Name>{escape(name)}</Name><Properties><Content-Length>{len(data)}"
            f"</Content-Length><Last-Modified>{formatdate(START + second, usegmt=True)}"
            f"</Last-Modified><Etag>e</Etag><Content-Type>image/jpeg</Content-Type><BlobType>BlockBlob</BlobType></Properties></Blob>"
            for name, (data, second) in sorted(self.objects.items())
            if name.startswith(prefix)
        )
        return f"<EnumerationResults><Blobs>{rows}</Blobs><NextMarker/></EnumerationResults>"


class Answers(BaseHTTPRequestHandler):
    """ListObjectsV2 (Google has the same), List Blobs, an object and its head, by path."""

    protocol_version = "HTTP/1.1"
    server: Bucket

    def log_message(self, *_: Any) -> None:
        """Keep the log of the tests free."""

    def do_HEAD(self) -> None:
        """The size and time of an object."""
        self.do_GET()

    def do_GET(self) -> None:
        """A list, or an object."""
        place = urlsplit(self.path)
        bucket, _, key = unquote(place.path).lstrip("/").partition("/")
        if bucket != "farm":
            self.answer(404, b"<Error><Code>NoSuchBucket</Code></Error>")
        elif not key:
            asked = {name: values[0] for name, values in parse_qs(place.query).items()}
            prefix = asked.get("prefix", "")
            if asked.get("comp") == "list":
                self.answer(200, self.server.blobs(prefix).encode())
                return
            rows = "".join(
                f"<Contents><Key>{escape(name)}</Key><Size>{len(data)}</Size>"
                f"<LastModified>2026-01-01T00:00:{second:02d}.000Z</LastModified>"
                f'<ETag>"{second}"</ETag></Contents>'
                for name, (data, second) in sorted(self.server.objects.items())
                if name.startswith(prefix)
            )
            text = f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>"
            self.answer(200, text.encode())
        elif key in self.server.objects:
            data, second = self.server.objects[key]
            if self.command == "GET":
                self.server.fetched.append(key)
            self.answer(200, data, {"Last-Modified": formatdate(START + second, usegmt=True)})
        else:
            self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")

    def answer(self, status: int, data: bytes, more: dict[str, str] | None = None) -> None:
        """Send it."""
        self.send_response(status)
        for name, value in {
            "Content-Length": str(len(data)),
            "ETag": '"e"',
            **(more or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bucket]:
    server = Bucket()
    threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("RESIGHT_HOME", str(tmp_path / "home"))
    server.objects = {
        "2026/may/a.jpg": (b"first", 1),
        "2026/may/b c.jpg": (b"second", 2),
        "2026/june.csv": (b"path\n", 3),
        "2025/old.jpg": (b"old", 4),
    }
    yield server
    server.shutdown()
    server.server_close()


def held(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_prefix_becomes_a_folder_and_is_fetched_once(bucket: Bucket) -> None:
    (folder,) = existing(["s3://farm/2026"])
    assert held(folder) == {"may/a.jpg": b"first", "may/b c.jpg": b"second", "june.csv": b"path\n"}
    assert len(bucket.fetched) == 3
    stamp = (folder / "may" / "a.jpg").stat().st_mtime_ns
    bucket.fetched.clear()
    assert fetch("s3://farm/2026") == folder
    assert bucket.fetched == []
    # What changed in the store is fetched anew, what is gone from it goes.
    bucket.objects["2026/may/a.jpg"] = (b"other", 5)
    del bucket.objects["2026/june.csv"]
    fetch("s3://farm/2026")
    assert bucket.fetched == ["2026/may/a.jpg"]
    assert held(folder) == {"may/a.jpg": b"other", "may/b c.jpg": b"second"}
    assert (folder / "may" / "a.jpg").stat().st_mtime_ns == stamp + 4 * 10**9


def test_one_object_is_a_file(bucket: Bucket) -> None:
    file = fetch("s3://farm/2026/may/a.jpg")
    assert file.name == "a.jpg"
    assert file.read_bytes() == b"first"


def test_a_name_that_leads_out_of_the_mirror_is_refused(bucket: Bucket, tmp_path: Path) -> None:
    bucket.objects = {"2026/..\\..\\evil.jpg": (b"x", 1)}
    with pytest.raises(ConfigError, match="cannot be a file here"):
        fetch("s3://farm/2026")
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize("url", ["s3://farm/2024", "s3://other/2026"])
def test_what_is_not_there_is_told_with_what_to_do(bucket: Bucket, url: str) -> None:
    with pytest.raises(ConfigError, match=rf"{url}: cannot be read .* Check the address"):
        fetch(url)


SERVICE = {"disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}


@pytest.mark.parametrize("store", ["gs", "az"])
def test_other_stores_are_mirrored_by_their_own_protocols(
    store: str, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # How the environment names an account and, in place of the maker's, a server of one's own.
    here = f"http://127.0.0.1:{bucket.server_port}"
    account = tmp_path / "account.json"
    account.write_text(json.dumps({**SERVICE, "gcs_base_url": here}))
    for name, value in {
        "GOOGLE_SERVICE_ACCOUNT": str(account),
        "AZURE_STORAGE_ACCOUNT_NAME": "account",
        "AZURE_STORAGE_ACCOUNT_KEY": "a2V5",
        "AZURE_STORAGE_ENDPOINT": here,
    }.items():
        monkeypatch.setenv(name, value)
    (folder,) = existing([f"{store}://farm/2026"])
    assert held(folder) == {"may/a.jpg": b"first", "may/b c.jpg": b"second", "june.csv": b"path\n"}
    bucket.fetched.clear()
    fetch(f"{store}://farm/2026")
    assert bucket.fetched == []
    assert fetch(f"{store}://farm/2026/may/a.jpg").read_bytes() == b"first"
    with pytest.raises(ConfigError, match=r"nothing is there.*environment alone: (GOOGLE|AZURE)_"):
        fetch(f"{store}://farm/2024")


class Pages(SimpleHTTPRequestHandler):
    """Python's own web server, which refuses one file and counts what it sends."""

    sent: ClassVar[list[str]] = []

    def log_message(self, *_: Any) -> None:
        """Keep the log of the tests free."""

    def send_head(self) -> Any:
        """Refuse, or go on."""
        if self.command == "GET":
            self.sent.append(self.path)
        if "secret" in self.path:
            return self.send_error(403)
        return super().send_head()


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("RESIGHT_HOME", str(tmp_path / "home"))
    folder = tmp_path / "www" / "leaves"
    folder.mkdir(parents=True)
    (folder / "a b.jpg").write_bytes(b"first")
    Pages.sent.clear()
    answers = functools.partial(Pages, directory=str(tmp_path / "www"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), answers)
    threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_file_of_a_web_server_is_fetched_once(web: str) -> None:
    (file,) = existing([f"{web}/leaves/a%20b.jpg"])
    assert (file.name, file.read_bytes()) == ("a b.jpg", b"first")
    assert fetch(f"{web}/leaves/a%20b.jpg") == file
    assert Pages.sent == ["/leaves/a%20b.jpg"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("leaves/none.jpg", "nothing is there"),
        ("secret.jpg", "the server refuses it"),
        ("leaves", "has no list of its files; name one file"),
        ("leaves/a b.jpg?key=1", "fetch the file yourself"),
    ],
)
def test_what_a_web_server_does_not_give_is_told_in_words(web: str, name: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        fetch(f"{web}/{name}")


# Four seconds, in which it is asked ten times.
@pytest.mark.slow
def test_a_server_that_does_not_answer_is_told_in_words() -> None:
    with socket.socket() as taken:
        # Bound and not listening: nobody answers there.
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ConfigError, match="does not answer, or there is no network"):
            fetch(f"http://127.0.0.1:{taken.getsockname()[1]}/a.jpg")
