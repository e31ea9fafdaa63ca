"""A client between accept() and HTTP."""

from __future__ import annotations

import asyncio
import enum
import socket
from collections.abc import Callable
from typing import Final

from appliance.edge.deadlines import LINGER_SECONDS


class State(enum.Enum):
    """What a pending connection waits for; first_bytes.py says what may happen in each."""

    HEADER = enum.auto()
    SILENT = enum.auto()
    HELLO = enum.auto()


HEADER: Final = State.HEADER
SILENT: Final = State.SILENT
HELLO: Final = State.HELLO


class PendingConnection:
    """A client that was accepted and has not reached HTTP: it has sent nothing yet, or is in its TLS handshake."""

    __slots__ = (
        "_drop",
        "_handshake_timeout",
        "_timer",
        "end_handshake",
        "header",
        "pause",
        "peer",
        "seen",
        "since",
        "sock",
        "source",
        "state",
    )

    evictable: Final = True  # no response is lost with it

    def __init__(
        self,
        sock: socket.socket,
        peer: str,
        source: str | None,
        state: State,
        *,
        timer: Callable[[], float],
        handshake_timeout: float,
        drop: Callable[[PendingConnection], None],
    ) -> None:
        """`peer` and `source` are those of a Connection; `drop` ends this one."""
        self.sock: Final = sock
        self.peer = peer
        self.source = source
        self.state = state
        self.header = b""  # what has been taken of a PROXY header
        self.seen = 0  # how many bytes of a ClientHello were there at the last look
        self.pause: asyncio.TimerHandle | None = None  # until the next look
        self.since: Final = timer()
        self.end_handshake: Callable[[], object] | None = None  # once it has begun
        self._timer = timer
        self._handshake_timeout = handshake_timeout
        self._drop = drop

    @property
    def running(self) -> bool:
        """Whether its handshake is running, or may be about to begin: nobody connects to send nothing."""
        return not self.silent or self._timer() - self.since < LINGER_SECONDS

    @property
    def silent(self) -> bool:
        """Whether the client has not sent a byte yet; a header is its balancer's."""
        return self.end_handshake is None and self.state is not HELLO

    @property
    def late(self) -> bool:
        """Whether its time is over."""
        return self._timer() - self.since >= self._handshake_timeout

    def expire(self, now: float) -> None:
        """Drop it if it takes too long."""
        if now - self.since >= self._handshake_timeout:
            self.drop()

    def finish(self) -> None:
        """Do nothing: what it is about to ask is answered."""

    def drop(self) -> None:
        """End it at once."""
        self._drop(self)
