"""Which authorities may issue certificates for a name: its CAA records (RFC 8659), by this machine's name servers.

The records of the name count, or else those of the nearest domain above it that has any. They only help to explain a
refusal before it comes, so whatever cannot be read counts as no answer.
"""

from __future__ import annotations

import secrets
import socket
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

_RESOLV_CONF: Final = Path("/etc/resolv.conf")
_PORT: Final = 53
_TIMEOUT: Final = 2.0
_MAX_SERVERS: Final = 3
_MAX_ANSWER: Final = 4096
_CAA: Final = 257
_IN: Final = 1
_RECURSION_DESIRED: Final = 0x0100
_ANSWER: Final = 0x8000
_TRUNCATED: Final = 0x0200
_HEADER: Final = struct.Struct("!6H")
_RECORD: Final = struct.Struct("!HHIH")  # type, class, time to live, length
_POINTER: Final = 0xC0
_NO_ERROR: Final = 0
_NO_NAME: Final = 3

Server = tuple[str, int]


class CaaRecords(NamedTuple):
    """The authorities that the records of `domain` allow; with none of them nobody may issue."""

    domain: str
    issuers: tuple[str, ...]


class _MalformedError(Exception):
    """An answer with fewer bytes than it announces."""


def find(name: str, ask: Callable[[str], bytes | None]) -> CaaRecords | None:
    """Return the records that count for a name; None if there are none, or that cannot be told.

    `ask` returns a name server's answer to `question(domain)`, or None.
    """
    labels = name.split(".")
    for index in range(len(labels)):
        domain = ".".join(labels[index:])
        answer = ask(domain)
        issuers = parse(answer) if answer is not None else None
        if issuers is None:
            return None
        if issuers:
            return CaaRecords(domain, tuple(issuer for issuer in issuers if issuer))
    return None


def question(domain: str, number: int) -> bytes:
    """Return the message that asks for the CAA records of a domain."""
    labels = b"".join(bytes([len(label)]) + label.encode("ascii") for label in domain.split("."))
    return _HEADER.pack(number, _RECURSION_DESIRED, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", _CAA, _IN)


def parse(answer: bytes) -> list[str] | None:
    """Return who may issue, by the records in an answer; "" for a record that allows nobody. None: that is no answer.

    The list is empty if the domain has no records that restrict certificates without a wildcard.
    """
    try:
        return _parse(answer)
    except (_MalformedError, struct.error):
        return None


def _parse(answer: bytes) -> list[str] | None:
    _number, flags, questions, answers, _authorities, _additional = _HEADER.unpack_from(answer)
    if not flags & _ANSWER or flags & _TRUNCATED or flags & 0xF not in (_NO_ERROR, _NO_NAME):
        return None
    at = _HEADER.size
    for _ in range(questions):
        at = _skip_name(answer, at) + 4
    issuers = []
    for _ in range(answers):
        at = _skip_name(answer, at)
        kind, _class, _ttl, length = _RECORD.unpack_from(answer, at)
        at += _RECORD.size
        if at + length > len(answer):
            raise _MalformedError
        if kind == _CAA and (issuer := _issuer(answer[at : at + length])) is not None:
            issuers.append(issuer)
        at += length
    return issuers


def _issuer(data: bytes) -> str | None:
    """Return the domain of the authority in a record's property "issue"; None if it is another property."""
    if len(data) < 2:
        raise _MalformedError
    tag, value = data[2 : 2 + data[1]], data[2 + data[1] :]
    if tag.lower() != b"issue":
        return None
    return value.partition(b";")[0].strip().decode("ascii", "replace").lower()


def _skip_name(answer: bytes, at: int) -> int:
    """Return where a name ends that begins at this byte."""
    while at < len(answer):
        size = answer[at]
        if size >= _POINTER:
            return at + 2
        at += 1 + size
        if not size:
            return at
    raise _MalformedError


def name_servers(file: Path = _RESOLV_CONF) -> list[Server]:
    """Return the name servers of this machine."""
    try:
        rows = [row.split() for row in file.read_text("utf-8", "replace").splitlines()]
    except OSError:
        return []
    return [(row[1], _PORT) for row in rows if len(row) > 1 and row[0] == "nameserver"][:_MAX_SERVERS]


def ask(domain: str, servers: Sequence[Server]) -> bytes | None:
    """Return the first answer of a name server to the question for the CAA records of a domain; None if none comes."""
    number = secrets.randbelow(1 << 16)
    message = question(domain, number)
    for host, port in servers:
        try:
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.settimeout(_TIMEOUT)
                sock.connect((host, port))  # so that only its answers are received
                sock.send(message)
                answer = sock.recv(_MAX_ANSWER)
        except OSError:
            continue
        if answer[:2] == message[:2]:
            return answer
    return None
