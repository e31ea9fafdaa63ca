"""One connection to the service: sends a request, reads its answer, and tells its driver."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, Final, Protocol

import httptools

from appliance.replay.plan import Shot
from appliance.replay.tally import NOT_HTTP, TOO_LONG, kind_of

MAX_ANSWER: Final = 4 * 1024 * 1024
"""Bytes of a body; whoever answers with more would fill the memory."""


class Driver(Protocol):
    """Whom a client tells."""

    def answered(self, client: Client, shot: Shot, status: int, body: bytes, keeps: bool) -> None:
        """Take the answer to a shot; `keeps` if the connection may be used again."""

    def lost(self, client: Client, kind: str) -> None:
        """Take the end of a connection that nobody here asked for; `kind` says how a running request failed."""


class Client(asyncio.Protocol):
    """A connection, until it is `gone`.

    `shot` is the running request, or None; `planned` is when it was to start, `since` when it did, or the idling.
    """

    __slots__ = ("_body", "_driver", "_parser", "gone", "planned", "shot", "since", "transport")

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.gone = False
        self._body = b""
        self._parser: Any = httptools.HttpResponseParser(self)
        self.transport: Any = None
        self.shot: Shot | None = None
        self.planned = self.since = 0.0

    def send(self, shot: Shot, planned: float, now: float) -> None:
        """Send a request; none must be running."""
        self.shot, self.planned, self.since = shot, planned, now
        self.transport.write(shot.data)

    def close(self) -> None:
        """End the connection without a word to the driver."""
        self.gone = True
        if self.transport is not None:
            self.transport.abort()

    @property
    def session(self) -> ssl.SSLSession | None:
        """The TLS session, to be offered to the next connection."""
        session: ssl.SSLSession | None = self.transport.get_extra_info("ssl_object").session
        return session

    @property
    def is_resumed(self) -> bool:
        """Whether the session that it offered was taken."""
        return bool(self.transport.get_extra_info("ssl_object").session_reused)

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Read an answer."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if not self.gone:
                self._lose(NOT_HTTP)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell how it ended, unless that was asked for."""
        if not self.gone:
            self._lose(kind_of(exc))
        self._parser = None  # it refers back to this

    def _lose(self, kind: str) -> None:
        self.close()
        self._driver.lost(self, kind)

    # What the parser calls.

    def on_body(self, data: bytes) -> None:
        """Take a piece of the answer."""
        if self.gone:
            return
        self._body = self._body + data if self._body else data
        if len(self._body) > MAX_ANSWER:
            self._lose(TOO_LONG)

    def on_message_complete(self) -> None:
        """Hand the answer on; one that nobody asked for, such as a 408, is none."""
        body, self._body = self._body, b""
        shot, self.shot = self.shot, None
        if shot is not None and not self.gone:
            parser = self._parser
            self._driver.answered(self, shot, parser.get_status_code(), body, parser.should_keep_alive())
