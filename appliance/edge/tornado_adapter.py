"""The fallback for what the fast path does not take: a request and its response as Tornado's HTTPConnection.

Whether a signed POST takes the fast path depends on how it is spelled (an absolute target, a query), which must not
matter to its sender. So both paths refuse the same requests and send the same bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, Protocol

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPInputError,
    HTTPMessageDelegate,
    RequestStartLine,
)
from tornado.web import Application

from appliance.edge.http_rules import HttpRefused, split_absolute
from appliance.edge.refusals import Refusal
from appliance.edge.requests import Request
from appliance.edge.response import ResponseEncoder
from appliance.outcomes import Response
from appliance.sidebar.protocols.signature import BodyCheck


class Context(NamedTuple):
    """What Tornado asks about the peer."""

    remote_ip: str
    protocol: str


class ResponseSink(Protocol):
    """Sends the response to the request that was dispatched last."""

    def connection_field(self, request: Request, status: int, closes: bool) -> bytes:
        """Return the Connection field of the response with this status; `closes` if the handler says so."""

    def send_response(self, response: bytes, connection: bytes) -> None:
        """Send it. `connection` is its Connection field."""

    def send_refusal(self, refusal: Refusal) -> None:
        """Refuse the request instead."""

    def send_internal_error(self, error: BaseException) -> None:
        """Respond to a bug instead."""


class TornadoConnectionAdapter(HTTPConnection):
    """Hands one request to an application, and encodes the Response that its handler has made.

    What Tornado itself would write is not sent: its fields would have to be made and formatted anew for each response.
    """

    def __init__(self, sink: ResponseSink, request: Request, context: Context, encoder: ResponseEncoder) -> None:
        """The response to `request` goes to `sink`."""
        self.context: Final = context
        self._sink: ResponseSink | None = sink
        self._request = request
        self._encoder = encoder
        self._task: asyncio.Task[None] | None = None
        self.response: Response | None = None
        """What the handler answers; to be set before it finishes."""
        self._on_close: Callable[[], None] | None = None

    def start(self, application: Application) -> None:
        """Have `application` answer the request. A handler that takes a body does so in a task of its own."""
        try:
            start_line, headers = _translate(self._request)
            delegate = application.start_request(self._sink, self)
            prepared = delegate.headers_received(start_line, headers)
            if prepared is None:  # it takes none
                delegate.finish()
            else:
                self._task = asyncio.get_running_loop().create_task(self._feed(delegate, prepared))
        except Exception as error:
            self._fail(error)

    async def _feed(self, delegate: HTTPMessageDelegate, prepared: Awaitable[None]) -> None:
        try:
            await prepared
            if self._request.body and self._sink is not None:
                received = delegate.data_received(self._request.body)
                if received is not None:
                    await received
            if self._sink is not None:
                delegate.finish()
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """Answer a request that Tornado refuses, or a bug in the application: the client must not be left waiting."""
        if self._sink is None:
            return
        if isinstance(error, HttpRefused | HTTPInputError):
            self._sink.send_refusal(error.refusal if isinstance(error, HttpRefused) else Refusal.BAD_REQUEST)
        else:
            self._sink.send_internal_error(error)

    def close(self) -> None:
        """Note that the client has left: nothing more is sent, and the handler is told."""
        self._sink = None
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close()

    @property
    def check(self) -> BodyCheck | None:
        """What has hashed a webhook's body that is too large to be held."""
        return self._request.check

    @property
    def query(self) -> bytes:
        """The raw query, which Tornado is not told."""
        return self._request.target.partition(b"?")[2]

    # What Tornado calls.

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Set what to call when the client leaves before it is answered."""
        self._on_close = callback

    def finish(self) -> None:
        """Send the response, if the client is still there."""
        sink, self._sink, self._on_close = self._sink, None, None
        response, request = self.response, self._request
        if sink is None or response is None:
            return
        connection = sink.connection_field(request, response.status, response.closes)
        without_body = request.method == b"HEAD"
        sink.send_response(self._encoder.encode(response, connection, without_body=without_body), connection)


def _translate(request: Request) -> tuple[RequestStartLine, HTTPHeaders]:
    """Return the request as Tornado's types, without its query, which Tornado would parse three times.

    Raises HttpRefused and HTTPInputError.
    """
    target, host = split_absolute(request.target)
    path = target.partition(b"?")[0]
    headers = HTTPHeaders()
    for name, value in request.fields:
        headers.add(name.decode("latin-1"), value.strip(b" \t").decode("latin-1"))
    if host is not None:
        headers["Host"] = host.decode("latin-1")
    return RequestStartLine(request.method.decode(), path.decode("latin-1"), f"HTTP/{request.version}"), headers
