"""What is in the state folder of certificates, and the only code that writes there.

    acme/                     0700; one writer at a time, which has locked `lock`
      DIRECTORY/account.json  the account's key, written before it is registered, and its URL
      NAME/pair.pem           key and chain: what is served, in one file, so that they always belong together
      NAME/order.json         an order that was begun: its key and URL; written before anything is asked, removed last
      NAME/state.json         failures, the next attempt, the plan for the renewal (renewal.py)
      challenges/             what the authority is to be shown now; emptied when an attempt begins

Every file has mode 0600 and is replaced as a whole. One that is damaged counts as missing; but an account's is not,
for a new account would come about unnoticed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from appliance.acme.problems import AcmeError
from appliance.acme.renewal import State
from appliance.system import files

T = TypeVar("T")
_ACCOUNT: Final = "account.json"
_PAIR: Final = "pair.pem"
_ORDER: Final = "order.json"
_STATE: Final = "state.json"
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{16,128}")


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """An account at an authority. `key` is "" where the config names the key; `kid` is "" until it is registered."""

    directory: str
    key: str = ""
    kid: str = ""
    thumbprint: str = ""


class StoredOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order that was begun; `url` is "" until the authority has named it."""

    names: tuple[str, ...]
    directory: str
    key: str
    profile: str = ""
    url: str = ""
    is_counted: bool = False
    """Whether the certificate was asked for, and counts for the limit of a day."""
    refusals: int = 0
    """How often the authority has refused to issue the certificate, or to hand it over as it should be."""


class Storage:
    """The folder of certificates."""

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder
        self.challenges: Final = folder / "challenges"

    def prepare(self, *names: str) -> None:
        """Make the folders that are missing. Raises OSError."""
        for folder in (self.folder, self.challenges, *(self.folder / name for name in names)):
            folder.mkdir(mode=0o700, exist_ok=True)

    @contextmanager
    def locked(self) -> Iterator[bool]:
        """Be the only writer for the block; yield False if another process is. Raises OSError."""
        descriptor = files.open_private(self.folder / "lock", os.O_RDWR)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(descriptor)

    def account(self, directory: str) -> Account | None:
        """Return the account at a directory. Raises AcmeError if its file is damaged, and OSError."""
        file = self.folder / directory_name(directory) / _ACCOUNT
        try:
            return msgspec.json.decode(file.read_bytes(), type=Account)
        except FileNotFoundError:
            return None
        except (msgspec.MsgspecError, ValueError):
            raise AcmeError("account", f"{file} is damaged") from None

    def write_account(self, account: Account) -> None:
        """Write an account. Raises OSError."""
        self.prepare(directory_name(account.directory))
        self._write(self.folder / directory_name(account.directory) / _ACCOUNT, account)

    def state(self, name: str) -> State:
        """Return the state of a name."""
        return self._read(self.folder / name / _STATE, State) or State()

    def write_state(self, name: str, state: State) -> None:
        """Write the state of a name. Raises OSError."""
        self._write(self.folder / name / _STATE, state)

    def has_order(self, name: str) -> bool:
        """Return whether an order of a name was begun and has not ended."""
        return (self.folder / name / _ORDER).exists()

    def order(self, name: str) -> StoredOrder | None:
        """Return the order of a name that was begun."""
        return self._read(self.folder / name / _ORDER, StoredOrder)

    def write_order(self, name: str, order: StoredOrder) -> None:
        """Write the order of a name. Raises OSError."""
        self._write(self.folder / name / _ORDER, order)

    def remove_order(self, name: str) -> None:
        """Remove the order of a name: it has ended. Raises OSError."""
        with suppress(FileNotFoundError):
            os.unlink(self.folder / name / _ORDER)
        files.sync(self.folder / name)

    def pair_file(self, name: str) -> Path:
        """Return the file with the key and chain of a name, or where it will be."""
        return pair_file(self.folder, name)

    def write_pair(self, name: str, pair: bytes) -> None:
        """Write the key and chain of a name: from then on they are served. Raises OSError."""
        files.write_atomically(self.pair_file(name), pair)

    def write_challenge(self, file: str, content: bytes) -> None:
        """Write what is to be shown to the authority. Raises OSError."""
        files.write_atomically(self.challenges / file, content)

    def clear_challenges(self) -> None:
        """Remove every challenge. Raises OSError."""
        for entry in os.listdir(self.challenges):
            os.unlink(self.challenges / entry)

    def answer(self, token: str) -> bytes | None:
        """Return what is to be answered for a token of HTTP-01; None if it is not one that was written."""
        if not _TOKEN.fullmatch(token):
            return None
        with suppress(OSError):
            return (self.challenges / token).read_bytes()
        return None

    def _write(self, file: Path, content: msgspec.Struct) -> None:
        files.write_atomically(file, msgspec.json.encode(content))

    def _read(self, file: Path, of: type[T]) -> T | None:
        try:
            return msgspec.json.decode(file.read_bytes(), type=of)
        except (OSError, msgspec.MsgspecError, ValueError):
            return None


def is_token(text: str) -> bool:
    """Return whether it may be a token of a challenge, and so the name of a file (RFC 8555, 8.1)."""
    return _TOKEN.fullmatch(text) is not None


def pair_file(folder: Path, name: str) -> Path:
    """Return the file with the key and chain of a name in the folder of certificates."""
    return folder / name / _PAIR


def directory_name(url: str) -> str:
    """Return the name of the folder for what is known of a directory."""
    return f"{urlsplit(url).hostname or 'directory'}-{hashlib.sha256(url.encode()).hexdigest()[:8]}"
