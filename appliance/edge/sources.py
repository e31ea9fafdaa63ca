"""Where connections come from: the address for the log, and how many connections each source has."""

from __future__ import annotations

import socket
from typing import Any


class Sources:
    """How many connections each source has."""

    def __init__(self) -> None:
        self._connections: dict[str, int] = {}

    def add(self, source: str, limit: int) -> bool:
        """Count a connection; return False, and count nothing, if that source has `limit` already."""
        connections = self._connections.get(source, 0)
        if connections >= limit:
            return False
        self._connections[source] = connections + 1
        return True

    def remove(self, source: str) -> None:
        """Count one connection less."""
        left = self._connections[source] - 1
        if left:
            self._connections[source] = left
        else:
            del self._connections[source]


def peer_and_source(address: Any) -> tuple[str, str | None]:
    """Return the address of an accepted socket as the log has it, and its source; None for a Unix socket."""
    if not isinstance(address, tuple):
        return "", None
    return by_text(str(address[0]).partition("%")[0])


def by_text(address: str) -> tuple[str, str]:
    """Return an address as the log has it, and its source.

    Whoever has one IPv6 address has 2^64 of them: a source is a /64 (RFC 4291, 2.5.4).
    """
    if ":" not in address:
        return address, address
    packed = socket.inet_pton(socket.AF_INET6, address)
    if packed[:12] == bytes(10) + b"\xff\xff":  # an IPv4 client of a dual-stack socket (RFC 4291, 2.5.5.2)
        address = socket.inet_ntop(socket.AF_INET, packed[12:])
        return address, address
    return address, packed[:8].hex()
