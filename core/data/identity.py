"""Names for patients and exams that say nothing about them, yet stay the same from day to day.

An identifier leaves a header only as a keyed hash (HMAC-SHA256, 12 hex digits).
The key is random, made once, and stays in the user's own configuration folder,
never in a run: whoever receives a run or a table can neither look an identifier
up nor test a guess. The same user gets the same hash for the same patient in
training and in prediction, so leakage between them can be seen; to get it on
another machine as well, pass the key file along.

A plain hash would not do: identifiers are short, and all of them can be tried.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.base.machine import config_home
from core.base.regular_files import read_regular
from core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Pseudonyms"]

KEY_NAME = "identity.key"
KEY_BYTES = 32


@dataclass(frozen=True)
class Pseudonyms:
    """Turns identifiers into names.

    Attributes:
        key: the secret; None keeps identifiers as they are.
        note: what the user should know of the key; empty if nothing.
    """

    key: bytes | None = field(repr=False)
    note: str = ""

    @classmethod
    def load(cls, *, key_file: Path | None = None, keep: bool = False) -> Pseudonyms:
        """The user's pseudonyms; the key is made on first use.

        Args:
            key_file: another key than the user's own.
            keep: leave identifiers as they are.

        Raises:
            ConfigError: ``key_file`` cannot be read or is too short to be a key.
        """
        if keep:
            return cls(None, "Identifiers of the headers are kept as they are, as asked.")
        if key_file is not None:
            return cls(_given_key(key_file))
        path = config_home() / KEY_NAME
        try:
            return cls(_own_key(path))
        except OSError as error:
            note = (
                f"Patients are named for this command only: the key {path} can neither be read nor "
                f"made ({error.strerror}), so the same patient has another name next time."
            )
            return cls(secrets.token_bytes(KEY_BYTES), note)

    def name(self, kind: str, *identifiers: str) -> str:
        """The name of what these identifiers mean together; empty if they are all empty.

        >>> Pseudonyms(b"k" * 32).name("patient", "Doe^Jane") == Pseudonyms(b"k" * 32).name(
        ...     "patient", "Doe^Jane"
        ... )
        True
        >>> Pseudonyms(b"k" * 32).name("patient", "")
        ''
        """
        if not any(identifiers):
            return ""
        if self.key is None:
            return "/".join(part for part in identifiers if part)
        message = "\0".join((kind, *identifiers)).encode("utf-8", "surrogateescape")
        return hmac.new(self.key, message, hashlib.sha256).hexdigest()[:12]


def _own_key(path: Path) -> bytes:
    """The user's key, made if there is none; two processes that start at once agree on one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        partial = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        handle = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(handle, "wb") as stream:
            stream.write(secrets.token_bytes(KEY_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
        try:
            os.link(partial, path)
        except FileExistsError:
            pass
        except OSError:
            # A file system without links: the last of two processes wins.
            partial.replace(path)
        partial.unlink(missing_ok=True)
    key = read_regular(path)
    if len(key) < KEY_BYTES:
        msg = f"{path}: is too short to be a key. Remove it; a new one will be made."
        raise ConfigError(msg)
    return key


def _given_key(path: Path) -> bytes:
    """The content of a key file named by the user."""
    try:
        key = read_regular(path)
    except OSError as error:
        msg = f"{path}: the key cannot be read ({error.strerror}). Name another --identity-key."
        raise ConfigError(msg) from error
    if len(key) < KEY_BYTES:
        msg = (
            f"{path}: has {len(key)} bytes; fewer than {KEY_BYTES} could be guessed. Make one with "
            "`head -c 32 /dev/urandom`."
        )
        raise ConfigError(msg)
    return key
