"""Stand-ins for what the edge and the logs report to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from appliance.outcomes import Outcome, Reply


class NoCounters:
    """Counts nothing."""

    def request(self, app: str, outcome: Outcome, cache: str, seconds: float) -> None:
        """See Counters."""

    def connection_opened(self) -> None:
        """See Counters."""

    def connection_closed(self) -> None:
        """See Counters."""

    def handshake_failed(self) -> None:
        """See Counters."""

    def accept_rejected(self) -> None:
        """See Counters."""

    def header_refused(self) -> None:
        """See Counters."""

    def connection_dropped(self) -> None:
        """See Counters."""


class RecordingCounters(NoCounters):
    """Keeps what it is told: the requests, and the names of all other events in their order."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, Outcome, str]] = []
        self.events: list[str] = []

    def request(self, app: str, outcome: Outcome, cache: str, seconds: float) -> None:
        """Keep a request."""
        self.requests.append((app, outcome, cache))

    def connection_opened(self) -> None:
        """Keep the event."""
        self.events.append("connection_opened")

    def connection_closed(self) -> None:
        """Keep the event."""
        self.events.append("connection_closed")

    def handshake_failed(self) -> None:
        """Keep the event."""
        self.events.append("handshake_failed")

    def accept_rejected(self) -> None:
        """Keep the event."""
        self.events.append("accept_rejected")

    def header_refused(self) -> None:
        """Keep the event."""
        self.events.append("header_refused")

    def connection_dropped(self) -> None:
        """Keep the event."""
        self.events.append("connection_dropped")


@dataclass
class RecordingSink:
    """A request sink that keeps what it is told."""

    lines: list[tuple[Reply, str, str]] = field(default_factory=list)

    def write(self, reply: Reply, app: str, duration_us: int, peer: str) -> None:
        """Keep a line."""
        assert duration_us >= 0
        self.lines.append((reply, app, peer))


class FakeLoop:
    """An event loop's timers: it keeps what is to be called later until the test does that. It runs while `running`."""

    def __init__(self) -> None:
        self.running = False
        self.waiting: list[tuple[float, Callable[[], None]]] = []

    def find(self) -> FakeLoop | None:
        """Return itself while it runs."""
        return self if self.running else None

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        """Keep a call."""
        self.waiting.append((delay, callback))

    def turn(self) -> float:
        """Do the next call; return the delay that was asked for."""
        delay, callback = self.waiting.pop(0)
        callback()
        return delay
