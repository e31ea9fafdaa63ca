"""Connections by which a certificate authority looks whether a name is ours (TLS-ALPN-01, RFC 8737).

Such a client offers the protocol `acme-tls/1` and no other, and gets a certificate made for the one validation in its
handshake. That is the whole exchange: no request is read.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, Final, Protocol

from appliance.edge.client_hello import parse
from appliance.edge.connections import ConnectionRegistry
from appliance.edge.deadlines import LINGER_SECONDS
from appliance.edge.tls_transport import TLSProtocol

VALIDATION_PROTOCOL: Final = b"acme-tls/1"


class Validations(Protocol):
    """The validations that are to be answered now. Both are called on the event loop and must not block."""

    @property
    def running(self) -> bool:
        """Whether there are any: asked for each connection, so a look into memory."""

    def context(self, name: str) -> ssl.SSLContext | None:
        """Return what answers the one of this name (of ASCII, in lower case; the client's word); None: there is none.

        The context must offer `acme-tls/1`.
        """


def validated_name(record: bytes) -> str | None:
    """Return the name that is to be validated, if this record is the ClientHello of a validation."""
    if VALIDATION_PROTOCOL not in record:  # 1 us, where parsing takes 20
        return None
    hello = parse(record)
    if hello is None or hello.protocols != (VALIDATION_PROTOCOL,) or len(hello.names) != 1:
        return None
    [name] = hello.names
    return name.decode("ascii").lower() if name.isascii() else None


class ValidationConnection(TLSProtocol):
    """A connection that ends when its handshake has."""

    evictable: Final = True  # no response is lost with it
    running: Final = False
    silent: Final = False
    __slots__ = ("_registry", "_source", "_transport", "established", "since")

    def __init__(self, registry: ConnectionRegistry, source: str | None) -> None:
        """`source` is what counts against a limit."""
        self._registry = registry
        self._source = source
        self._transport: Any = None
        self.established = False
        self.since = registry.site.timer()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """End it: the client has seen the certificate."""
        self.established = True
        self.since = self._registry.site.timer()
        self._transport = transport
        self._registry.clients.add(self)
        transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Release everything."""
        self._registry.clients.discard(self)
        self._registry.release(self._source)
        self._transport = None

    def expire(self, now: float) -> None:
        """Drop it if the client does not answer the end of TLS."""
        if now - self.since >= LINGER_SECONDS:
            self.drop()

    def finish(self) -> None:
        """Do nothing: it is ending."""

    def drop(self) -> None:
        """End it at once."""
        self._registry.clients.discard(self)
        if self._transport is not None:
            self._transport.abort()
