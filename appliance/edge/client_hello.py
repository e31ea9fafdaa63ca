"""What a ClientHello asks for: the server's name and the protocols above TLS, read from its record (RFC 8446, 4.1.2).

Python's ssl tells only the name, and only when the context has been chosen. All that is decided by this is which
certificate a connection begins with, so whatever is not a ClientHello as every library sends it (cut, in several
records, with an extension twice) is None here, and left to OpenSSL to judge.
"""

from __future__ import annotations

from typing import Final, NamedTuple

RECORD_HEAD: Final = 5
"""Bytes of a record's own head: type, version, length."""
HANDSHAKE: Final = 0x16
_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0  # RFC 6066, 3
_HOST_NAME: Final = 0
_PROTOCOLS: Final = 16  # RFC 7301, 3.1


class ClientHello(NamedTuple):
    """The two lists, in the client's order; empty without the extension."""

    names: tuple[bytes, ...]
    protocols: tuple[bytes, ...]


class _MalformedError(Exception):
    """Fewer bytes than were announced, or what is not known here."""


class _Cursor:
    """Reads values from the beginning of some bytes. Each method raises _MalformedError if there are too few."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        """Return the next bytes."""
        begin, self._at = self._at, self._at + size
        if self._at > len(self._data):
            raise _MalformedError
        return self._data[begin : self._at]

    def number(self, size: int) -> int:
        """Return an unsigned number of so many bytes."""
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        """Return bytes whose length precedes them, as a number of so many bytes."""
        return self.take(self.number(size))

    @property
    def left(self) -> int:
        """How many bytes have not been read."""
        return len(self._data) - self._at


def record_length(begin: bytes) -> int:
    """Return how many bytes a record has that begins like this; RECORD_HEAD while that cannot be known yet."""
    return RECORD_HEAD + int.from_bytes(begin[3:RECORD_HEAD], "big") if len(begin) >= RECORD_HEAD else RECORD_HEAD


def parse(record: bytes) -> ClientHello | None:
    """Return what the ClientHello in this record asks for; None if it is not exactly one."""
    try:
        return _parse(_Cursor(record))
    except _MalformedError:
        return None


def _parse(record: _Cursor) -> ClientHello | None:
    kind, _version = record.number(1), record.take(2)
    message = _Cursor(record.vector(2))
    if kind != HANDSHAKE or message.number(1) != _CLIENT_HELLO:
        return None
    hello = _Cursor(message.vector(3))
    if message.left:
        return None
    hello.take(2 + 32)  # version and random
    for size in (1, 2, 1):  # session, cipher suites, compression methods
        hello.vector(size)
    found: dict[int, tuple[bytes, ...]] = {_SERVER_NAME: (), _PROTOCOLS: ()}
    seen: set[int] = set()
    extensions = _Cursor(hello.vector(2) if hello.left else b"")
    while extensions.left:
        number, body = extensions.number(2), extensions.vector(2)
        if number in seen:
            return None
        seen.add(number)
        if number in found:
            found[number] = _items(_Cursor(body), named=number == _SERVER_NAME)
    return ClientHello(found[_SERVER_NAME], found[_PROTOCOLS])


def _items(body: _Cursor, named: bool) -> tuple[bytes, ...]:
    """Return the items of a list: host names, each after its type, or protocols."""
    items = _Cursor(body.vector(2))
    found = []
    while items.left:
        if named and items.number(1) != _HOST_NAME:
            raise _MalformedError
        found.append(items.vector(2 if named else 1))
    return tuple(found)
