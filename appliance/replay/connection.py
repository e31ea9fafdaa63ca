"""One connection to the service: sends a request, parses the response, and reports to its handler."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, Protocol

import httptools

from appliance.http_client import MAX_RESPONSE, NOT_HTTP, TOO_LONG, Failure, explain
from appliance.replay.load_profile import PreparedRequest


class ResponseHandler(Protocol):
    """What a connection reports to."""

    def answered(
        self, connection: LoadConnection, request: PreparedRequest, status: int, body: bytes, keeps: bool
    ) -> None:
        """Handle the response to a request; `keeps` if the connection may be used again."""

    def lost(self, connection: LoadConnection, failure: Failure) -> None:
        """Handle the end of a connection that was not closed here; `failure` is how a running request failed."""


class LoadConnection(asyncio.Protocol):
    """A connection, until it is `gone`.

    `request` is the running request, or None; `planned` is when it was due, `since` when it or the idle time began.
    """

    __slots__ = ("_body", "_handler", "_parser", "gone", "planned", "request", "since", "transport")

    def __init__(self, handler: ResponseHandler) -> None:
        self._handler = handler
        self.gone = False
        self._body = b""
        self._parser: Any = httptools.HttpResponseParser(self)
        self.transport: Any = None
        self.request: PreparedRequest | None = None
        self.planned = self.since = 0.0

    def send(self, request: PreparedRequest, planned: float, now: float) -> None:
        """Send a request; none may be running."""
        self.request, self.planned, self.since = request, planned, now
        self.transport.write(request.data)

    def close(self) -> None:
        """Close the connection without telling the handler."""
        self.gone = True
        if self.transport is not None:
            self.transport.abort()

    @property
    def session(self) -> ssl.SSLSession | None:
        """The TLS session, which the next connection can offer."""
        session: ssl.SSLSession | None = self.transport.get_extra_info("ssl_object").session
        return session

    @property
    def is_resumed(self) -> bool:
        """Whether the server accepted the session that was offered."""
        return bool(self.transport.get_extra_info("ssl_object").session_reused)

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Set the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Parse a piece of the response."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if not self.gone:
                self._lose(NOT_HTTP)

    def connection_lost(self, exc: Exception | None) -> None:
        """Report how it ended, unless it was closed here."""
        if not self.gone:
            self._lose(explain(exc))
        self._parser = None  # it refers to this object

    def _lose(self, failure: Failure) -> None:
        self.close()
        self._handler.lost(self, failure)

    # Called by the parser.

    def on_body(self, data: bytes) -> None:
        """Collect a piece of the body."""
        if self.gone:
            return
        self._body = self._body + data if self._body else data
        if len(self._body) > MAX_RESPONSE:
            self._lose(TOO_LONG)

    def on_message_complete(self) -> None:
        """Pass the response on, unless no request is running: such as a 408 to an idle connection."""
        body, self._body = self._body, b""
        request, self.request = self.request, None
        if request is not None and not self.gone:
            parser = self._parser
            self._handler.answered(self, request, parser.get_status_code(), body, parser.should_keep_alive())
