"""One client's HTTP/1.1 connection, on asyncio.Protocol and llhttp.

A signed POST to an app's path takes the fast lane: the parser's last callback calls `SidebarApp.answer` and the answer
is written at once. Everything else is handed to the Tornado application, request by request, in order. Section numbers
are RFC 9112's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final

import httptools

from appliance.edge.http_rules import CONTENT_LENGTH_DIGITS, WATCHED, Refused, check_head
from appliance.edge.response import CLOSE, CONTINUE, KEEP, KEEP_ALIVE
from appliance.edge.state import Lane, ServerState
from appliance.edge.tornado_road import Context, Request, TornadoExchange
from appliance.observe.logs import describe, log
from appliance.sidebar.reply import MAX_BODY_BYTES, MAX_HEADER_BYTES, Refusal

# What the connection is waiting for. From LINGERING on nothing more is parsed.
IDLE, HEADERS, BODY, LINGERING, CLOSED, DROPPED = range(6)

LINGER_SECONDS: Final = 1.0
LINGER_BYTES: Final = 1024 * 1024
# Framing may be larger than what it frames: chunk sizes, extensions and trailers count against this.
MAX_RAW_BODY_BYTES: Final = 4 * MAX_BODY_BYTES
_WRITE_BUFFER: Final = 64 * 1024

_LINE_END: Final = b" HTTP/1.1\r\n"


class _Ended(Exception):
    """Nothing more is read from this connection: stops the parser."""


class Connection(asyncio.Protocol):
    """Reads requests and writes answers until either side ends it."""

    __slots__ = (
        "_blocked",
        "_body",
        "_exchange",
        "_fields",
        "_head",
        "_host",
        "_lane",
        "_last",
        "_late",
        "_linger",
        "_lingered",
        "_parser",
        "_phase",
        "_piece",
        "_queue",
        "_raw_body",
        "_refusal",
        "_room",
        "_saved",
        "_signature",
        "_state",
        "_target",
        "_task",
        "_transport",
        "_verdict",
        "_version",
        "made",
        "peer",
        "since",
        "source",
    )

    def __init__(self, state: ServerState, peer: str, source: str | None, verdict: Refusal | None = None) -> None:
        """`peer` is the address for the log, `source` the one that is counted; a `verdict` refuses all it may send."""
        self._state = state
        self.peer: Final = peer
        self.source: Final = source
        self.since = state.site.timer()
        self._verdict = verdict
        self.made = False
        self._late = False  # it came while the server stops: its requests are refused
        self._last = False  # no request is answered after the running one
        self._phase = IDLE
        self._transport: Any = None
        self._parser: httptools.HttpRequestParser | None = None
        self._exchange: TornadoExchange | None = None
        self._task: asyncio.Task[None] | None = None
        self._queue: deque[Request | Refusal] = deque()
        self._blocked: float | None = None
        self._linger: Any = None
        self._lingered = 0
        self._refusal: Refusal | None = None
        self._host = b""
        self._head = b""
        self._piece: bytes = b""
        self._room = MAX_HEADER_BYTES
        self._raw_body = 0
        self._fields: list[tuple[bytes, bytes]] = []
        self._saved: tuple[tuple[bytes, bytes], ...] = ()
        self._target = b""
        self._version = "1.1"
        self._body: bytes | bytearray = b""
        self._lane: Lane | None = None
        self._signature: bytes | None = None

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to read."""
        self.made = True
        self._transport = transport
        self._transport.set_write_buffer_limits(_WRITE_BUFFER)
        self._parser = httptools.HttpRequestParser(self)
        self.since = self._state.site.timer()
        self._late = self._state.stopping
        self._state.clients.add(self)
        if self._verdict is not None:
            self._refuse(self._verdict)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything: the parser's callbacks and the transport form cycles of 30 KB a connection."""
        self._phase = CLOSED
        self._state.clients.discard(self)
        self._state.release(self.source)
        if self._linger is not None:
            self._linger.cancel()
        if self._exchange is not None:
            self._exchange.close()
        self._queue.clear()
        self._parser = self._transport = self._exchange = self._task = self._linger = None

    def eof_received(self) -> bool:
        """End the connection, but not before a running request was answered."""
        if self._phase >= LINGERING or self._exchange is None:
            self._phase = max(self._phase, CLOSED)
            return False
        self._last = True
        # asyncio's TLS knows no half-closed connection, and warns of a True here.
        return self._transport.get_extra_info("sslcontext") is None

    def pause_writing(self) -> None:
        """Stop reading from a client that does not take its answers."""
        self._blocked = self._state.site.timer()
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._blocked = None
        if self._exchange is None:
            self._resume_reading()

    def data_received(self, data: bytes) -> None:
        """Parse what came, and answer what is complete."""
        before = self._phase
        if before >= LINGERING:
            self._discard(len(data))
            return
        if len(data) > self._room:
            self._feed_by_pieces(data)
        else:
            self._feed(data)
        after = self._phase
        if after != before:
            self.since = self._state.site.timer()
        if self._exchange is not None and after < LINGERING and not self._transport.is_closing():
            self._transport.pause_reading()

    # Feeding the parser. Header bytes are counted here: one endless field makes no callback.

    def _feed_by_pieces(self, data: bytes) -> None:
        view = memoryview(data)
        while view and self._phase < LINGERING:
            if self._room <= 0 and self._phase != BODY:
                self._refuse(Refusal.HEADERS_TOO_LARGE)
                return
            length = len(view) if self._phase == BODY else self._room
            self._feed(bytes(view[:length]))
            view = view[length:]

    def _feed(self, data: bytes) -> None:
        parser = self._parser
        if parser is None:
            return
        self._piece = data
        self._room -= len(data)
        try:
            parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._stopped(error)
        else:
            if self._phase == HEADERS:
                self._head += data
            elif self._phase == BODY:
                self._raw_body += len(data)
                if self._raw_body > MAX_RAW_BODY_BYTES:
                    self._refuse(Refusal.BODY_TOO_LARGE)

    def _stopped(self, error: Exception) -> None:
        """Find out why the parser stopped, and answer."""
        refusal, self._refusal = self._refusal, None
        if self._phase >= LINGERING:
            return  # what came after the end of the last request adds nothing
        if refusal is None and isinstance(error, httptools.HttpParserCallbackError):
            self.fault(error.__context__ or error)
            return
        self._end_with(refusal or Refusal.BAD_REQUEST)

    def _end_with(self, refusal: Refusal) -> None:
        """Refuse what follows the requests that are still to be answered."""
        if self._exchange is None:
            self._refuse(refusal)
        else:
            self._queue.append(refusal)
            self._parser = None

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Begin a request."""
        if self._phase >= LINGERING:
            raise _Ended
        self._phase = HEADERS

    def on_url(self, target: bytes) -> None:
        """Take the target, or a part of it."""
        self._target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field. What comes after the head is a trailer, and nobody looks at it."""
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """Check the head. The common case is decided here, every other by `check_head`."""
        self._phase = BODY
        target = self._target
        method = self._parser.get_method()  # type: ignore[union-attr]
        lane = self._lane = self._state.lanes.get(target) if method == b"POST" else None
        if lane is None:
            self._check(method)
            return
        signature_name = lane.signature_name
        signature = host = None
        length = b""
        plain = self._exchange is None and not self._late
        for spelling, value in self._fields:
            name = spelling.lower()
            if name == signature_name:
                # Two are malformed: whoever checks the first and whoever the last would see different requests.
                signature = value if signature is None else b""
            elif name in WATCHED:
                if name == b"host" and host is None:
                    host = value
                elif name == b"content-length":
                    length = value
                else:
                    plain = False
        self._signature = signature
        if not (
            plain
            and host == self._host
            and len(length) < CONTENT_LENGTH_DIGITS
            and self._piece.startswith(_LINE_END, 5 + len(target))
        ):
            self._check(method)
        else:
            self._version = "1.1"

    def on_body(self, data: bytes) -> None:
        """Take a piece of the body."""
        body = self._body
        if not body:
            self._body = data
        elif isinstance(body, bytearray):
            body += data
        else:
            self._body = bytearray(body) + data
        if len(self._body) > MAX_BODY_BYTES:
            self._stop(Refusal.BODY_TOO_LARGE)

    def on_message_complete(self) -> None:
        """Answer the request, or hand it over."""
        parser = self._parser
        keeps: bool = parser.should_keep_alive()  # type: ignore[union-attr]
        body, lane = self._body, self._lane
        target = self._target
        self._body = self._head = self._target = b""
        self._fields.clear()
        self._phase = IDLE
        self._room = MAX_HEADER_BYTES
        self._raw_body = 0
        if lane is not None and self._exchange is None:
            self._answer(lane, bytes(body), keeps)
            return
        method = parser.get_method()  # type: ignore[union-attr]
        request = Request(method, target, self._version, self._saved, bytes(body), self._connection_field(keeps))
        if self._exchange is None:
            self._start(request)
        else:
            self._queue.append(request)

    # Steps of the callbacks.

    def _check(self, method: bytes) -> None:
        self._saved = tuple(self._fields)
        raw = self._head + self._piece
        version = self._version = self._parser.get_http_version()  # type: ignore[union-attr]
        try:
            if self._late:
                raise Refused(Refusal.OVERLOADED)
            self._host, waits = check_head(raw, method, self._target, version, self._fields)
        except Refused as refused:
            self._stop(refused.refusal)
        # To a pipelined request the answer would come between those of others.
        if waits and self._exchange is None:
            self._transport.write(CONTINUE)

    def _stop(self, refusal: Refusal) -> None:
        self._refusal = refusal
        raise _Ended

    def _connection_field(self, keeps: bool) -> bytes:
        if not keeps or self._state.stopping:
            return CLOSE
        return KEEP if self._version == "1.1" else KEEP_ALIVE

    def _answer(self, lane: Lane, body: bytes, keeps: bool) -> None:
        """Take the fast lane."""
        state = self._state
        site = state.site
        began = site.timer()
        try:
            reply = lane.answer(body, self._signature)
        except Exception as error:  # a bug must not leave the client waiting
            self.fault(error)
            return
        connection = CLOSE if reply.closes else self._connection_field(keeps)
        self._transport.write(state.heads.render(reply, connection))
        self.since = ended = site.timer()
        if connection is CLOSE:
            self._close()
        seconds = ended - began
        site.request_log.write(reply, lane.name, int(seconds * 1_000_000), self.peer)
        site.counters.request(lane.name, reply.outcome, reply.cache, seconds)

    def _start(self, request: Request) -> None:
        """Take the road through the application."""
        tls = self._transport.get_extra_info("sslcontext") is not None
        context = Context(self.peer, "https" if tls else "http")
        self._exchange = exchange = TornadoExchange(self, request, context, self._state.heads)
        self._task = asyncio.get_running_loop().create_task(exchange.run(self._state.site.application))

    # What the exchange calls.

    def deliver(self, response: bytes, closes: bool) -> None:
        """Send the response of the exchange that is running, and go on with the next request."""
        exchange, self._exchange = self._exchange, None
        if exchange is None or self._transport is None or self._phase >= LINGERING:
            return
        self._transport.write(response)
        self.since = self._state.site.timer()
        if closes or self._last or self._state.stopping:
            self._close()
        elif self._queue:
            following = self._queue.popleft()
            if isinstance(following, Refusal):
                self._refuse(following)
            else:
                self._start(following)
        elif self._blocked is None:
            self._resume_reading()

    def give_up(self, refusal: Refusal) -> None:
        """Refuse the request of the exchange that is running."""
        self._exchange = None
        self._refuse(refusal)

    def fault(self, error: BaseException) -> None:
        """Answer for an error of our own."""
        log.error("request_fault", **describe(error))
        self.give_up(Refusal.FAULT)

    # Ends.

    @property
    def running(self) -> bool:
        """Whether a request has begun and its answer is not yet with the kernel."""
        if self._exchange is not None or self._phase in (HEADERS, BODY):
            return True
        return self._transport is not None and self._transport.get_write_buffer_size() > 0

    @property
    def waiting(self) -> bool:
        """Whether it could be dropped without an answer being lost."""
        return self._exchange is None and self._phase != DROPPED

    def expire(self, now: float) -> None:
        """End it if a deadline has passed."""
        limits = self._state.limits
        age = now - self.since
        if self._blocked is not None and now - self._blocked >= limits.write_timeout:
            self._state.site.counters.dropped()
            self.drop()
        elif self._phase == CLOSED:
            # The other side need not answer the end of TLS; what is unsent it may still take.
            if age >= (limits.write_timeout if self._transport.get_write_buffer_size() else LINGER_SECONDS):
                self.drop()
        elif self._exchange is not None or self._blocked is not None:
            return
        elif (self._phase == HEADERS and age >= limits.header_timeout) or (
            self._phase == BODY and age >= limits.body_timeout
        ):
            self._refuse(Refusal.TOO_SLOW)
        elif self._phase == IDLE and age >= limits.idle_timeout:
            self._close()

    def drop(self) -> None:
        """End it at once, with what is unsent."""
        self._phase = DROPPED
        self._state.clients.discard(self)
        if self._transport is not None:
            self._transport.abort()

    def finish(self) -> None:
        """End it now if no request is running; the server is stopping, so it will not outlast one."""
        if not self.running and self._phase < LINGERING:
            self._close()

    def _close(self) -> None:
        self._phase = CLOSED
        self.since = self._state.site.timer()
        if self._transport is not None:
            self._transport.close()

    def _refuse(self, refusal: Refusal) -> None:
        """Send a refusal and end the connection so that the client can read it.

        Closing with unread bytes would reset the connection, and the client's system would throw the answer away: so
        reading goes on for a while (9.6).
        """
        if self._transport is None or self._phase >= LINGERING:
            return
        reply = refusal.reply
        head_only = bool(self._target) and self._parser is not None and self._parser.get_method() == b"HEAD"
        self._transport.write(self._state.heads.render(reply, CLOSE, without_body=head_only))
        name = self._lane.name if self._lane is not None and self._phase == BODY else ""
        self._phase = LINGERING
        self._parser = None
        self._body = self._head = b""
        self._queue.clear()
        self._resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._linger = self._state.call_later(LINGER_SECONDS, self._close)
        site = self._state.site
        site.request_log.write(reply, name, 0, self.peer)
        site.counters.request(name, reply.outcome, "", 0.0)

    def _resume_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _discard(self, count: int) -> None:
        self._lingered += count
        if self._lingered > LINGER_BYTES and self._phase == LINGERING:
            self._close()
