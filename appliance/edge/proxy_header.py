"""The PROXY protocol: the header with which a balancer says whose connection it passes on.

Its specification is https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt; section numbers are its own. Version 1
is a line of text, version 2 a block of bytes. Both precede all else on a connection, once.

This is a pure function of the bytes received so far. What it reads nothing of is skipped unread: the destination, the
ports, and the TLVs of version 2.
"""

from __future__ import annotations

import socket
import struct
from typing import Final, NamedTuple

MAX_HEADER: Final = 2 * 1024
"""Bytes of a header of version 2. Addresses take at most 232; a chain of cloud TLVs has some hundred more."""
MAX_LINE: Final = 107
"""Bytes of a header of version 1, with its CRLF (2.1)."""

_LINE_BEGINS: Final = b"PROXY "
_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_FIXED: Final = struct.Struct(">12sBBH")  # signature; version and command; family and transport; length of the rest
_LOCAL, _PROXY = 0x20, 0x21
_STREAM: Final = 1
# The families of version 2 (2.2): how long their two addresses and ports are, and for those read, the address's length.
_BLOCKS: Final = {0: 0, 1: 12, 2: 36, 3: 216}
_ADDRESSES: Final = {1: (socket.AF_INET, 4), 2: (socket.AF_INET6, 16)}
_LINE_FAMILIES: Final = {b"TCP4": socket.AF_INET, b"TCP6": socket.AF_INET6}


class ProxyHeaderError(Exception):
    """These bytes are not, and do not begin, a PROXY header."""


class ProxyHeader(NamedTuple):
    """A whole header."""

    length: int
    """How many bytes it has."""

    address: str | None
    """The client's; None if the balancer speaks for itself, such as for a health check, or does not know it."""


def parse(received: bytes) -> ProxyHeader | None:
    """Return the header with which these bytes begin; None if more must be received. Raises ProxyHeaderError."""
    if received[: len(_SIGNATURE)] == _SIGNATURE[: len(received)]:
        return _parse_block(received)
    if received[: len(_LINE_BEGINS)] == _LINE_BEGINS[: len(received)]:
        return _parse_line(received)
    raise ProxyHeaderError("the connection does not begin with a PROXY header")


def _parse_block(received: bytes) -> ProxyHeader | None:
    """Parse version 2 (2.2)."""
    if len(received) < _FIXED.size:
        return None
    _, command, protocol, rest = _FIXED.unpack_from(received)
    family, transport = protocol >> 4, protocol & 0xF
    length = _FIXED.size + rest
    if command not in (_LOCAL, _PROXY):
        raise ProxyHeaderError("its version or command is unknown")
    if length > MAX_HEADER:
        raise ProxyHeaderError(f"it is longer than {MAX_HEADER} bytes")
    if command == _PROXY:
        if family not in _BLOCKS or transport > 2:
            raise ProxyHeaderError("its address family or transport is unknown")
        if rest < _BLOCKS[family]:
            raise ProxyHeaderError("it is too short for its addresses")
    if len(received) < length:
        return None
    if command == _LOCAL or transport != _STREAM or family not in _ADDRESSES:
        return ProxyHeader(length, None)
    kind, size = _ADDRESSES[family]
    return ProxyHeader(length, socket.inet_ntop(kind, received[_FIXED.size : _FIXED.size + size]))


def _parse_line(received: bytes) -> ProxyHeader | None:
    """Parse version 1 (2.1)."""
    end = received.find(b"\r\n", 0, MAX_LINE)
    if end < 0:
        if len(received) >= MAX_LINE:
            raise ProxyHeaderError(f"its line is longer than {MAX_LINE} bytes")
        return None
    words = received[len(_LINE_BEGINS) : end].split(b" ")
    if words[0] == b"UNKNOWN":  # what follows it is to be ignored
        return ProxyHeader(end + 2, None)
    if len(words) != 5 or words[0] not in _LINE_FAMILIES:
        raise ProxyHeaderError("its line is not that of TCP4, TCP6 or UNKNOWN")
    family, source, destination, *ports = words
    try:
        packed, _ = (socket.inet_pton(_LINE_FAMILIES[family], one.decode("ascii")) for one in (source, destination))
    except (OSError, ValueError):  # ValueError: not ASCII, or a NUL
        raise ProxyHeaderError("its addresses are not of its family") from None
    for port in ports:
        if not port.isdigit() or len(port) > 5 or int(port) > 65535 or port != b"%d" % int(port):
            raise ProxyHeaderError("its ports are not numbers from 0 to 65535")
    return ProxyHeader(end + 2, socket.inet_ntop(_LINE_FAMILIES[family], packed))
