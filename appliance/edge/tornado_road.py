"""The road through the Tornado application: one request and its response, as Tornado's HTTPConnection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPInputError,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.web import Application

from appliance.edge.http_rules import Refused, split_absolute
from appliance.edge.refusals import Refusal
from appliance.edge.request_parser import Request
from appliance.edge.response import CLOSE, Heads


class Context(NamedTuple):
    """What Tornado asks about the peer."""

    remote_ip: str
    protocol: str


class Owner(Protocol):
    """The connection that an exchange belongs to."""

    def connection_field(self, request: Request, status: int) -> bytes:
        """Return the Connection field of the response with this status, unless the handler closes."""

    def deliver(self, response: bytes, closes: bool) -> None:
        """Send the response of the exchange that is running."""

    def give_up(self, refusal: Refusal) -> None:
        """Refuse the request of the exchange that is running."""

    def fault(self, error: BaseException) -> None:
        """Answer for an error of our own in the exchange that is running."""


class TornadoExchange(HTTPConnection):
    """Hands one request to an application and collects its response, which goes out whole: Content-Length always."""

    def __init__(self, owner: Owner, request: Request, context: Context, heads: Heads) -> None:
        """The response to `request` is sent by `owner`."""
        self.context: Final = context
        self._owner: Owner | None = owner
        self._request = request
        self._heads = heads
        self._start: ResponseStartLine | None = None
        self._headers = HTTPHeaders()
        self._chunks: list[bytes] = []
        self._on_close: Callable[[], None] | None = None

    async def run(self, application: Application) -> None:
        """Let `application` answer. What goes wrong is told to the owner."""
        try:
            start_line, headers = _translate(self._request)
            delegate = application.start_request(self._owner, self)
            await self._feed(delegate, start_line, headers)
        except (Refused, HTTPInputError) as error:
            if self._owner is not None:
                self._owner.give_up(error.refusal if isinstance(error, Refused) else Refusal.BAD_REQUEST)
        except Exception as error:  # an application's bug must not leave the client waiting
            if self._owner is not None:
                self._owner.fault(error)

    async def _feed(self, delegate: HTTPMessageDelegate, start_line: RequestStartLine, headers: HTTPHeaders) -> None:
        prepared = delegate.headers_received(start_line, headers)
        if prepared is not None:
            await prepared
        if self._request.body and self._owner is not None:
            taken = delegate.data_received(self._request.body)
            if taken is not None:
                await taken
        if self._owner is not None:
            delegate.finish()

    def close(self) -> None:
        """Note that the client has left: nothing more is sent, and the handler is told."""
        self._owner = None
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close()

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Call this when the client leaves before it is answered."""
        self._on_close = callback

    def write_headers(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders, chunk: bytes | None = None
    ) -> asyncio.Future[None]:
        """Take the response's head, and the first of its body."""
        if isinstance(start_line, ResponseStartLine):
            self._start, self._headers = start_line, headers
        return self.write(chunk or b"")

    def write(self, chunk: bytes) -> asyncio.Future[None]:
        """Take more of the response's body."""
        if chunk:
            self._chunks.append(chunk)
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        written.set_result(None)
        return written

    def finish(self) -> None:
        """Send the response, if there is still somebody to send it to."""
        owner, self._owner, self._on_close = self._owner, None, None
        if owner is None or self._start is None:
            return
        body = b"".join(self._chunks)
        headers = self._headers
        length = int(headers["Content-Length"]) if "Content-Length" in headers else len(body)
        closes = headers.get("Connection", "").lower() == "close"
        connection = CLOSE if closes else owner.connection_field(self._request, self._start.code)
        response = self._heads.render_fields(
            self._start.code, self._start.reason, headers.get_all(), length, connection, body
        )
        owner.deliver(response, connection == CLOSE)


def _translate(request: Request) -> tuple[RequestStartLine, HTTPHeaders]:
    """Give the request as Tornado takes it. Raises Refused and HTTPInputError."""
    target, host = split_absolute(request.target)
    headers = HTTPHeaders()
    for name, value in request.fields:
        headers.add(name.decode("latin-1"), value.strip(b" \t").decode("latin-1"))
    if host is not None:
        headers["Host"] = host.decode("latin-1")
    return RequestStartLine(request.method.decode(), target.decode("latin-1"), f"HTTP/{request.version}"), headers
