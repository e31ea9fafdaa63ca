"""All connections of a listener, and what they share: routes, the Date of responses, turns of the loop, deadlines."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, Protocol

from appliance.config.schema import Limits
from appliance.edge.response import ResponseEncoder
from appliance.edge.routes import Route, make_route
from appliance.edge.site import Site

SWEEP_SECONDS: Final = 1.0
GRACE: Final = 0.02
"""Seconds in which a client that has connected, or was answered, is not evicted."""
_EVICTION_BATCH: Final = 64
CONNECTIONS_PER_TURN: Final = 8
"""How many yielding connections continue in one turn of the loop: what a new client waits for behind a crowd."""


class Client(Protocol):
    """A client that is connected, in its handshake or after it."""

    @property
    def since(self) -> float:
        """When the wait began that a deadline may end."""

    @property
    def running(self) -> bool:
        """Whether it is in the middle of a request or handshake, or may be about to begin one."""

    @property
    def evictable(self) -> bool:
        """Whether it could be dropped without losing a response."""

    @property
    def silent(self) -> bool:
        """Whether it has not sent a byte yet."""

    def expire(self, now: float) -> None:
        """End it if a deadline has passed."""

    def finish(self) -> None:
        """End it now unless a request is running: the server is stopping."""

    def drop(self) -> None:
        """End it at once."""


class Yielding(Protocol):
    """A connection that has used its share of this turn."""

    def take_turn(self) -> None:
        """Use the share of another turn, if it is still needed."""


class ConnectionRegistry:
    """The connections of a listener.

    Deadlines are kept by one sweep a second, not by a timer for each request, so each is kept to within a second and
    never too early.
    """

    def __init__(
        self,
        site: Site,
        limits: Limits,
        call_later: Callable[[float, Callable[[], object]], Any],
        call_soon: Callable[[Callable[[], object]], Any],
        release: Callable[[str | None], object],
    ) -> None:
        """`call_later` and `call_soon` are the loop's; `release` takes the source of a connection that has ended."""
        self.site: Final = site
        self.limits: Final = limits
        self.call_later: Final = call_later
        self.release: Final = release
        self._call_soon: Final = call_soon
        self.encoder: Final = ResponseEncoder(site.clock())
        self.routes: Final[dict[bytes, Route]] = {path: make_route(path, mount) for path, mount in site.mounts.items()}
        self.clients: Final[set[Client]] = set()
        self.stopping = False
        self._outbox: list[tuple[Any, bytes]] = []
        self._next_to_evict: list[tuple[float, bool, Client]] = []  # the last one first
        self._yielding: OrderedDict[Yielding, None] = OrderedDict()
        self._turn_due = False

    # Turns of the loop.

    def yield_turn(self, connection: Yielding) -> None:
        """Let this connection continue in a later turn of the loop, after those that yielded before it."""
        self._yielding[connection] = None
        if not self._turn_due:
            self._turn_due = True
            self._call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_due = False
        try:
            for _ in range(min(CONNECTIONS_PER_TURN, len(self._yielding))):
                connection, _ = self._yielding.popitem(last=False)
                connection.take_turn()
        finally:  # a bug in one of them must not stop the others
            if self._yielding and not self._turn_due:
                self._turn_due = True
                self._call_soon(self._turn)

    def send(self, transport: Any, response: bytes) -> None:
        """Write a response once every request that has arrived by now is answered.

        Written one by one, each wakes its reader, which is asleep again before the next one comes: of the 25 us of a
        write to a loopback socket 20 are that. Written together they take 5.
        """
        self._outbox.append((transport, response))
        if len(self._outbox) == 1:
            self._call_soon(self.flush)

    def flush(self) -> None:
        """Write the responses that are waiting."""
        if self._outbox:
            outbox, self._outbox = self._outbox, []
            for transport, response in outbox:
                if not transport.is_closing():
                    transport.write(response)

    # Time.

    def sweep(self) -> None:
        """Move the Date on, and end every client that has passed a deadline. To be called once a second."""
        self.encoder.set_date(self.site.clock())
        now = self.site.timer()
        for client in tuple(self.clients):
            client.expire(now)

    # Eviction: at capacity, a new client takes the place of the one that has been idle longest.

    @property
    def has_evictable(self) -> bool:
        """Whether there is a client that may be evicted now."""
        return self._find_evictable() is not None

    def evict_longest_idle(self) -> None:
        """Drop the client that has been idle longest, if there is one without a running request.

        Clients that have not sent a byte go first, so that in a rush of them those in their handshake stay. Nobody
        goes within GRACE of having connected: on a busy machine a client takes that long to send its first byte.
        """
        client = self._find_evictable()
        if client is not None:
            self._next_to_evict.pop()
            self.site.counters.connection_dropped()
            client.drop()

    def _find_evictable(self) -> Client | None:
        for _ in range(2):
            while self._next_to_evict:
                since, silent, client = self._next_to_evict[-1]
                unchanged = client.since == since and client.silent is silent
                if client in self.clients and client.evictable and unchanged:
                    return client
                self._next_to_evict.pop()
            # A search costs as much as there are clients; a batch of the next ones is kept for the next accepts.
            before = self.site.timer() - GRACE
            evictable = [client for client in self.clients if client.evictable]
            candidates = [client for client in evictable if client.silent] or evictable
            idle = sorted((one for one in candidates if one.since <= before), key=lambda client: client.since)
            self._next_to_evict = [(one.since, one.silent, one) for one in reversed(idle[:_EVICTION_BATCH])]
        return None
