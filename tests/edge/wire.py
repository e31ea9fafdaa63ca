"""A connection without a network: a transport that keeps what is written, and timers that are fired by hand."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from appliance.edge.connection import Connection
from appliance.edge.site import Limits, Site, by_path
from appliance.edge.state import ServerState
from appliance.edge.web import Mount, make_application
from appliance.outcomes import Outcome, Reply
from appliance.sidebar.app import SidebarApp
from appliance.sidebar.protocols.base import SignedRequest
from tests.factory import Timer

_HEAD = re.compile(rb"HTTP/1\.1 (\d{3}) [A-Za-z ]+\r\n((?:[A-Za-z-]+: [^\r\n]+\r\n)*)\r\n")


@dataclass
class Written:
    """A request log that keeps what it is told."""

    lines: list[tuple[Reply, str, str]] = field(default_factory=list)

    def write(self, reply: Reply, app: str, duration_us: int, peer: str) -> None:
        assert duration_us >= 0
        self.lines.append((reply, app, peer))


@dataclass
class Counted:
    """Counters that keep what they are told."""

    requests: list[tuple[str, Outcome, str]] = field(default_factory=list)
    events: list[str] = field(default_factory=list)

    def request(self, app: str, outcome: Outcome, cache: str, seconds: float) -> None:
        self.requests.append((app, outcome, cache))

    def __getattr__(self, name: str) -> object:
        return lambda: self.events.append(name)


def ignore_refusal(app: str, request: SignedRequest) -> None:
    """Sample none."""


def make_site(apps: dict[str, SidebarApp], timer: Timer | None = None, fast: bool = True) -> Site:
    """Give a site that serves these apps; not `fast`: by the application alone."""
    mounts = [Mount(path, "X-HelpScout-Signature", app) for path, app in apps.items()]
    log, counters = Written(), Counted()
    timer = timer or Timer()
    return Site(
        mounts=by_path(mounts) if fast else {},
        application=make_application(mounts, log, timer, counters, ignore_refusal),
        request_log=log,
        counters=counters,
        sample_refusal=ignore_refusal,
        timer=timer,
        clock=lambda: 1_790_000_000.0,
    )


class Wire:
    """A connection and its other end. It is a transport, to the connection."""

    def __init__(self, site: Site, limits: Limits | None = None, tls: bool = False) -> None:
        self.site = site
        self.timers: list = []
        self.turns: list = []  # what is to happen in the next turn of the loop
        self.state = ServerState(site, limits or Limits(), self._call_later, self._call_soon)
        self.sent = bytearray()
        self.paused = self.closed = self.aborted = self.eof = False
        self.stuck = False
        self.high: int | None = None  # more than so many bytes the client does not take
        self.tls = tls
        self.connection = Connection(self.state, "192.0.2.1", None)
        self.connection.connection_made(self)

    def _call_soon(self, callback) -> None:
        if callback == self.state.flush:
            callback()
        else:
            self.turns.append(callback)

    def turn(self) -> None:
        """Let one turn of the loop pass."""
        turns, self.turns = self.turns, []
        for callback in turns:
            callback()

    def _call_later(self, delay: float, callback) -> asyncio.TimerHandle:
        self.timers.append(callback)
        return self

    def cancel(self) -> None:
        self.timers.clear()

    def fire(self) -> None:
        """Let the time come of all that waits for one."""
        timers, self.timers = self.timers, []
        for callback in timers:
            callback()

    # The transport.

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def set_read_buffer_limits(self, high: int) -> None:
        assert self.tls

    def get_extra_info(self, name: str) -> object:
        return "a context" if self.tls and name == "sslcontext" else None

    def write(self, data: bytes) -> None:
        assert not self.closed
        assert isinstance(data, bytes)
        self.sent += data
        if self.high is not None and len(self.sent) > self.high >= len(self.sent) - len(data):
            self.connection.pause_writing()

    def get_write_buffer_size(self) -> int:
        return len(self.sent) if self.stuck else 0

    def can_write_eof(self) -> bool:
        return not self.tls

    def write_eof(self) -> None:
        assert not self.tls
        self.eof = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        assert not self.closed
        self.paused = True

    def resume_reading(self) -> None:
        assert not self.closed
        self.paused = False

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    # The other end.

    async def feed(self, pieces: Iterable[bytes]) -> None:
        """Send, as long as anybody reads."""
        for piece in pieces:
            if self.closed:
                return
            self.connection.data_received(piece)
            await self.settle()

    async def settle(self) -> None:
        """Wait until nothing is running."""
        for _ in range(10_000):
            if not (self.connection._exchange or self.paused or self.turns) or self.closed or self.stuck:
                return
            self.turn()
            await asyncio.sleep(0)
        raise AssertionError("a request never ended")

    def lose(self) -> None:
        """End the connection as the loop does."""
        self.connection.connection_lost(None)


@dataclass
class Answer:
    """One response."""

    status: int
    fields: dict[str, str]
    names: list[str]
    body: bytes


def split(received: bytes, head: bool = False) -> list[Answer]:
    """Give the responses in `received`, which must hold nothing else; `head`: they answer HEAD."""
    answers = []
    while received:
        match = _HEAD.match(received)
        assert match, received[:200]
        pairs = [line.decode("latin-1").split(": ", 1) for line in match[2].splitlines()]
        fields = dict(pairs)
        assert len(fields) == len(pairs)
        received = received[match.end() :]
        length = int(fields.get("Content-Length", "0")) if not head else 0
        assert len(received) >= length
        answers.append(Answer(int(match[1]), fields, [name for name, _ in pairs], received[:length]))
        received = received[length:]
    return answers


def without_date(received: bytes) -> bytes:
    """Give responses without the one thing that may differ."""
    return re.sub(rb"\r\nDate: [^\r]+", b"", received)
