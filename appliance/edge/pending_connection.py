"""A client between accept() and HTTP."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from appliance.edge.connection import LINGER_SECONDS


class PendingConnection:
    """A client that was accepted and has not reached HTTP: it has sent nothing yet, or is in its TLS handshake."""

    __slots__ = ("_drop", "_handshake_timeout", "_timer", "handshake", "peer", "since", "sock", "source")

    evictable: Final = True  # no response is lost with it

    def __init__(
        self,
        sock: socket.socket,
        peer: str,
        source: str | None,
        *,
        timer: Callable[[], float],
        handshake_timeout: float,
        drop: Callable[[PendingConnection], None],
    ) -> None:
        """`peer` and `source` are those of a Connection; `drop` ends this one."""
        self.sock: Final = sock
        self.peer: Final = peer
        self.source: Final = source
        self.since: Final = timer()
        self.handshake: asyncio.Task[None] | None = None
        self._timer = timer
        self._handshake_timeout = handshake_timeout
        self._drop = drop

    @property
    def running(self) -> bool:
        """Whether its handshake is running, or may be about to begin: nobody connects to send nothing."""
        return self.handshake is not None or self._timer() - self.since < LINGER_SECONDS

    @property
    def silent(self) -> bool:
        """Whether it has not sent a byte yet."""
        return self.handshake is None

    def check_overhead(self) -> None:
        """Do nothing: a handshake is bounded by OpenSSL, which refuses any other record."""

    def expire(self, now: float) -> None:
        """Drop it if it takes too long."""
        if now - self.since >= self._handshake_timeout:
            self.drop()

    def finish(self) -> None:
        """Do nothing: what it is about to ask is answered."""

    def drop(self) -> None:
        """End it at once."""
        self._drop(self)
