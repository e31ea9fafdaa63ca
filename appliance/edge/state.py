"""What all connections of a listener share: the site, its limits, the time, and who is connected."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

from appliance.edge.response import Heads
from appliance.edge.site import Limits, Site
from appliance.outcomes import Reply
from appliance.sidebar.protocols.base import SignedRequest

SWEEP_SECONDS: Final = 1.0
GRACE: Final = 0.02
"""Seconds in which a client that has come, or has had its answer, is not dropped to make room for others."""
_VICTIMS: Final = 64
TURN: Final = 8
"""How many of the connections that yield go on in one turn of the loop: what a newcomer waits for behind a crowd."""


class Lane(NamedTuple):
    """A mount, taken apart for the fast lane. `line` is the request line of a POST to it."""

    answer: Callable[[SignedRequest], Reply]
    name: str
    signature_name: bytes
    line: bytes


class Client(Protocol):
    """Somebody connected, in whatever state."""

    @property
    def since(self) -> float:
        """When what it is doing now began, in the state's time."""

    @property
    def waiting(self) -> bool:
        """Whether it could be dropped without an answer being lost."""

    @property
    def silent(self) -> bool:
        """Whether it has not said a word yet."""

    def check_overhead(self) -> None:
        """End it if it sends much and says little."""

    def expire(self, now: float) -> None:
        """End it if a deadline has passed, too."""

    def drop(self) -> None:
        """End it at once."""


class Yielding(Protocol):
    """A connection that has used its share of this turn."""

    def go_on(self) -> None:
        """Use the share of another turn, if there is still use for it."""


class ServerState:
    """Shared by a listener and its connections.

    Deadlines are kept by one sweep a second, not by a timer a request, so each is kept to within a second and never
    too early. `now` is the time of the last sweep.
    """

    def __init__(
        self,
        site: Site,
        limits: Limits,
        call_later: Callable[[float, Callable[[], object]], Any],
        call_soon: Callable[[Callable[[], object]], Any],
    ) -> None:
        """`call_later` and `call_soon` are the loop's."""
        self.site: Final = site
        self.limits: Final = limits
        self.call_later: Final = call_later
        self._call_soon: Final = call_soon
        self._outbox: list[tuple[Any, bytes]] = []
        self.now = site.timer()
        self.heads: Final = Heads(site.clock())
        self.lanes: Final = {
            path: Lane(
                mount.app.answer,
                mount.app.name,
                mount.signature_header.lower().encode("ascii"),
                b"POST %b HTTP/1.1\r\n" % path,
            )
            for path, mount in site.mounts.items()
        }
        self.clients: Final[set[Client]] = set()
        self.stopping = False
        self.release: Callable[[str | None], object] = lambda _source: None
        self._victims: list[tuple[float, bool, Client]] = []
        self._yielding: OrderedDict[Yielding, None] = OrderedDict()
        self._turn_due = False

    def yield_turn(self, connection: Yielding) -> None:
        """Let this connection go on in a later turn of the loop, after those that came before it."""
        self._yielding[connection] = None
        if not self._turn_due:
            self._turn_due = True
            self._call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_due = False
        for _ in range(min(TURN, len(self._yielding))):
            connection, _ = self._yielding.popitem(last=False)
            connection.go_on()
        if self._yielding and not self._turn_due:
            self._turn_due = True
            self._call_soon(self._turn)

    def send(self, transport: Any, answer: bytes) -> None:
        """Write an answer once all requests that have arrived by now are answered.

        Written one by one, each wakes its reader, who is asleep again before the next comes: of 25 us for a write to a
        loopback socket 20 are that. Written together they cost 5.
        """
        self._outbox.append((transport, answer))
        if len(self._outbox) == 1:
            self._call_soon(self.flush)

    def flush(self) -> None:
        """Write what waits to be."""
        if self._outbox:
            outbox, self._outbox = self._outbox, []
            for transport, answer in outbox:
                if not transport.is_closing():
                    transport.write(answer)

    def sweep(self) -> None:
        """Move the time on and end what has passed its deadline."""
        self.now = self.site.timer()
        self.heads.renew(self.site.clock())
        for client in tuple(self.clients):
            client.expire(self.now)

    def check_overhead(self) -> None:
        """End those who send much and say little."""
        for client in tuple(self.clients):
            client.check_overhead()

    @property
    def anyone_to_drop(self) -> bool:
        """Whether there is a client that may be dropped now."""
        return self._next_to_drop() is not None

    def drop_longest_waiting(self) -> bool:
        """Drop the client that has waited longest without a running request; say whether there was one.

        Those who have said nothing go first: in a rush of them, one whose handshake is under way is no stranger. Nobody
        goes within GRACE of having come: on a busy machine a client is that slow to say its first word.
        """
        client = self._next_to_drop()
        if client is None:
            return False
        self._victims.pop()
        self.site.counters.dropped()
        client.drop()
        return True

    def _next_to_drop(self) -> Client | None:
        for _ in range(2):
            while self._victims:
                since, silent, client = self._victims[-1]
                unchanged = client.since == since and client.silent is silent
                if client in self.clients and client.waiting and unchanged:
                    return client
                self._victims.pop()
            # Looking at all of them costs as much as they are; the next ones in line are kept for the next accepts.
            before = self.site.timer() - GRACE
            waiting = [client for client in self.clients if client.waiting]
            first = [client for client in waiting if client.silent] or waiting
            line = sorted((client for client in first if client.since <= before), key=lambda client: client.since)
            self._victims = [(client.since, client.silent, client) for client in reversed(line[:_VICTIMS])]
        return None
