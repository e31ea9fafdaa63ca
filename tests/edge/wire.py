"""A connection without a network: a transport that keeps what is written, and timers that are fired by hand."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import httptools
import pytest

from appliance.config.schema import Limits
from appliance.edge.connection import Connection
from appliance.edge.connections import ConnectionRegistry
from appliance.edge.request_parser import RequestParser
from appliance.edge.site import Mount, RefusalSampler, Site, by_path
from appliance.edge.web import make_application
from appliance.sidebar.app import SidebarApp
from appliance.sidebar.protocols.base import Authenticator, SignedRequest
from appliance.sidebar.protocols.helpscout_webhook import HelpScoutWebhook
from appliance.sidebar.protocols.signature import BodyCheck, Verifier
from tests.factory import Timer
from tests.fakes import RecordingCounters, RecordingSink

Apps = dict[str, SidebarApp]

_HEAD = re.compile(rb"HTTP/1\.1 (\d{3}) [A-Za-z ]+\r\n((?:[A-Za-z-]+: [^\r\n]+\r\n)*)\r\n")


@dataclass(frozen=True)
class RecordingSite(Site):
    """A site whose log and counters keep what they are told."""

    request_log: RecordingSink
    counters: RecordingCounters


def ignore_refusal(app: str, request: SignedRequest, protocol: Authenticator | None = None) -> None:
    """Sample none."""


def mounts_of(apps: Apps) -> list[Mount]:
    """Return where they are served; those with a page also take webhooks, signed with the app's own secret."""
    return [
        Mount(path, "X-HelpScout-Signature", app, AppSigned(app) if len(app.protocols) > 1 else None)
        for path, app in apps.items()
    ]


class AppSigned(HelpScoutWebhook):
    """Webhooks whose signature is checked with the secrets of an app's messages."""

    def __init__(self, app: SidebarApp) -> None:
        super().__init__([b"not used"])
        self._app = app

    def authenticate(self, request: SignedRequest) -> bytes | None:
        return self._app.protocol.authenticate(request)  # type: ignore[no-any-return]

    def begin(self) -> BodyCheck:
        return Verifier(self._app.protocol._secrets).begin()  # type: ignore[attr-defined]


def make_site(
    apps: Apps, timer: Timer | None = None, fast: bool = True, sample_refusal: RefusalSampler = ignore_refusal
) -> RecordingSite:
    """Return a site that serves these apps; not `fast`: by the application alone."""
    mounts = mounts_of(apps)
    log, counters = RecordingSink(), RecordingCounters()
    timer = timer or Timer()
    return RecordingSite(
        mounts=by_path(mounts) if fast else {},
        application=make_application(mounts, log, timer, counters, sample_refusal),
        request_log=log,
        counters=counters,
        sample_refusal=sample_refusal,
        timer=timer,
        clock=lambda: 1_790_000_000.0,
    )


class Wire(asyncio.Transport):
    """A connection and its other end. It is a transport, to the connection."""

    def __init__(self, site: RecordingSite, limits: Limits | None = None, tls: bool = False) -> None:
        self.site = site
        self.timers: list[Callable[[], object]] = []
        self.turns: list[Callable[[], object]] = []  # what is to happen in the next turn of the loop
        self.registry = ConnectionRegistry(
            site, limits or Limits(max_per_source=None), self._call_later, self._call_soon, lambda source: None
        )
        self.sent = bytearray()
        self.paused = self.closed = self.aborted = self.eof = False
        self.stuck = False
        self.high: int | None = None  # more than so many bytes the client does not take
        self.tls = tls
        self.connection = Connection(self.registry, "192.0.2.1", None)
        self.connection.connection_made(self)

    def _call_soon(self, callback: Callable[[], object]) -> None:
        if callback == self.registry.flush:
            callback()
        else:
            self.turns.append(callback)

    def turn(self) -> None:
        """Let one turn of the loop pass."""
        turns, self.turns = self.turns, []
        for callback in turns:
            callback()

    def _call_later(self, delay: float, callback: Callable[[], object]) -> Wire:
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

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_extra_info(self, name: str, default: object = None) -> object:
        return "a context" if self.tls and name == "sslcontext" else None

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        assert not self.closed
        assert isinstance(data, bytes)
        self.sent += data
        if self.high is not None and len(self.sent) > self.high >= len(self.sent) - len(data):
            self.connection.pause_writing()

    def get_write_buffer_size(self) -> int:
        return len(self.sent) if self.stuck else 0

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.eof = True

    def notice_reset(self) -> None:
        assert self.tls

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
            if not (self.connection._adapter or self.paused or self.turns) or self.closed or self.stuck:
                return
            self.turn()
            await asyncio.sleep(0)
        raise AssertionError("a request never ended")

    def lose(self) -> None:
        """End the connection as the loop does."""
        self.connection.connection_lost(None)


def watch(parser: RequestParser, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that is to hold the size of each piece which the parser's llhttp is fed."""
    fed, make = [], httptools.HttpRequestParser

    class Watched:
        def __init__(self, llhttp: httptools.HttpRequestParser) -> None:
            self.llhttp = llhttp

        def feed_data(self, piece: bytes) -> None:
            fed.append(len(piece))
            self.llhttp.feed_data(piece)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.llhttp, name)

    assert parser._llhttp is not None
    parser._llhttp = Watched(parser._llhttp)  # type: ignore[assignment]
    monkeypatch.setattr(httptools, "HttpRequestParser", lambda protocol: Watched(make(protocol)))
    return fed


@dataclass
class Answer:
    """One response."""

    status: int
    fields: dict[str, str]
    names: list[str]
    body: bytes


def split(received: bytes, head: bool = False) -> list[Answer]:
    """Return the responses in `received`, which must hold nothing else; `head`: they answer HEAD."""
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
    """Return responses without the one thing that may differ."""
    return re.sub(rb"\r\nDate: [^\r]+", b"", received)
