"""One client's HTTP/1.1 connection, from its first byte to its end, as an asyncio.Protocol.

In the order of this file:

1. The loop opens a connection and passes on what it receives (`connection_made`, `data_received`).
2. The parser turns bytes into requests, one turn's share at a time (`_parse`).
3. A signed POST to an app's path takes the fast path: `SidebarApp.answer` is called and the response is written within
   the same turn (`_answer`). Any other request is dispatched to the Tornado application (`_dispatch`), which sends its
   response later (`send_response`). Requests are answered one by one, in the order in which they came.
4. A request that is malformed, too large or too slow is refused, and the connection ends with it (`_refuse`).
5. A connection ends so that the client can still read the last response (`_end`, `_linger`).
6. Meanwhile the registry asks who has passed a deadline, who may be evicted, and who has a request running.

What a connection is doing is its phase: phases.py has the transitions, and what bounds one client's share. Section
numbers are RFC 9112's.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from appliance.edge.connections import ConnectionRegistry
from appliance.edge.deadlines import LINGER_SECONDS, Overdue, find_overdue
from appliance.edge.overhead import READ_SIZE, ReceiveBuffer
from appliance.edge.persistence import Persistence
from appliance.edge.phases import (
    BLOCKED,
    CLOSING,
    DROPPED,
    GONE,
    LINGERING,
    OPEN,
    PAUSED,
    READING,
    RUNNING,
    YIELDING,
    Phase,
    transition,
)
from appliance.edge.refusals import Refusal
from appliance.edge.request_parser import BODY, RequestParser
from appliance.edge.requests import Request, SignedPost
from appliance.edge.response import CLOSE, CONTINUE
from appliance.edge.tls_transport import TLSProtocol
from appliance.edge.tornado_adapter import Context, TornadoConnectionAdapter
from appliance.observe.logs import describe, log
from appliance.outcomes import CARD_STATUS
from appliance.sidebar.protocols.base import BAD_SIGNATURE

LINGER_BYTES: Final = 8 * 1024 * 1024
"""More than a webhook that is refused for its size usually has: many a sender reads only when it has sent all."""
_WRITE_BUFFER: Final = 64 * 1024


class Connection(TLSProtocol):
    """Reads requests and writes responses until either side ends it."""

    silent: Final = False  # its first byte was awaited before it was made
    __slots__ = (
        "_adapter",
        "_blocked_since",
        "_got_eof",
        "_linger_timer",
        "_lingered",
        "_parser",
        "_persistence",
        "_phase",
        "_receive_buffer",
        "_received",
        "_refusal",
        "_registry",
        "_transport",
        "_unused",
        "established",
        "peer",
        "since",
        "source",
    )

    def __init__(
        self,
        registry: ConnectionRegistry,
        peer: str,
        source: str | None,
        refusal: Refusal | None = None,
        receive_buffer: ReceiveBuffer | None = None,
    ) -> None:
        """`peer` is the address for the log, `source` the one that counts against a limit.

        A `refusal` is what the client gets, whatever it sends. `receive_buffer` is that of its socket.
        """
        self._registry = registry
        self.peer: Final = peer
        self.source: Final = source
        self.established = False
        self.since = registry.site.timer()  # when the wait began that a deadline may end
        self._refusal = refusal
        self._phase: Phase = READING
        self._parser = RequestParser(registry.routes)
        self._transport: Any = None
        self._adapter: TornadoConnectionAdapter | None = None  # of the request that the application is answering
        self._unused = True  # no request has begun yet
        self._got_eof = False
        self._persistence = Persistence()
        self._receive_buffer = receive_buffer
        self._received = 0  # bytes, above TLS
        self._blocked_since: float | None = None  # the client is not reading its responses
        self._linger_timer: Any = None
        self._lingered = 0

    def _enter(self, phase: Phase) -> None:
        """Change the phase; reading pauses and resumes with it. Raises IllegalTransition."""
        before = self._phase
        self._phase = transition(before, phase)
        if before is RUNNING or phase is RUNNING or phase not in OPEN:  # otherwise the request's deadline continues
            self.since = self._registry.site.timer()
        transport = self._transport
        if transport is None or transport.is_closing() or phase is DROPPED:
            return
        if phase in PAUSED and before not in PAUSED:
            transport.pause_reading()
        elif phase not in PAUSED and before in PAUSED:
            transport.resume_reading()

    # 1. What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to read."""
        self.established = True
        self._transport = transport
        transport.set_write_buffer_limits(_WRITE_BUFFER)  # type: ignore[attr-defined]
        self.since = self._registry.site.timer()
        self._registry.clients.add(self)
        if self._refusal is not None:
            self._refuse(self._refusal)

    def data_received(self, data: bytes) -> None:
        """Parse what was received, and answer what is complete."""
        self._received += len(data)
        phase = self._phase
        if phase is READING:
            self._parse(data)
        elif phase in PAUSED:  # it was on its way when reading was paused
            self._parser.keep(data)
        elif phase is LINGERING:
            self._lingered += len(data)
            if self._lingered > LINGER_BYTES:
                self._close()

    def eof_received(self) -> bool:
        """End the connection, but not before every request that was received is answered."""
        self._registry.flush()  # the transport sends nothing more if it is not kept open
        if self._phase in OPEN and (self._adapter or self._parser.kept):
            self._got_eof = True
            return True
        if self._phase in OPEN or self._phase is LINGERING:
            self._enter(CLOSING)
        return False

    def pause_writing(self) -> None:
        """Stop reading from a client that does not read its responses."""
        self._blocked_since = self._registry.site.timer()
        if self._phase is READING or self._phase is YIELDING:
            self._enter(BLOCKED)

    def resume_writing(self) -> None:
        """Continue."""
        self._blocked_since = None
        if self._phase is BLOCKED:
            self._enter_next()

    def connection_lost(self, exc: Exception | None) -> None:
        """Release everything: the parser's callbacks and the transport form cycles of 30 KB a connection."""
        self._enter(GONE)
        self._registry.clients.discard(self)
        self._registry.release(self.source)
        self._parser.end()
        if self._linger_timer is not None:
            self._linger_timer.cancel()
        if self._adapter is not None:
            self._adapter.close()
        self._transport = self._adapter = self._linger_timer = self._receive_buffer = None

    # 2. From bytes to requests.

    def take_turn(self) -> None:
        """Use the share of another turn, in which nothing was received."""
        if self._phase is YIELDING:
            self._parse(b"")

    def _parse(self, data: bytes) -> None:
        """Use this turn's share: parse what was kept and `data`, and answer one request at most."""
        parser, before = self._parser, self._parser.part
        try:
            event = parser.feed(data)
        except Exception as error:  # a bug must not leave the client waiting
            self.send_internal_error(error)
            return
        if type(event) is SignedPost:
            self._unused = False
            self._answer(event)
            if not parser.kept and self._phase is READING:
                return
        elif type(event) is Request:
            self._unused = False
            self._dispatch(event)
        elif type(event) is Refusal:
            self._refuse(event)
        else:
            if event is not None:
                self._write(CONTINUE)
            if parser.part is not before:  # its deadline begins
                self._unused = False
                self.since = self._registry.site.timer()
            elif before is BODY and self._received > READ_SIZE and self._receive_buffer is not None:
                self._receive_buffer.enlarge()
        if self._phase is YIELDING or (self._phase is READING and parser.kept):
            self._enter_next()

    def _enter_next(self) -> None:
        """Enter the phase for what is left to do, when no request is running."""
        if self._blocked_since is not None:
            phase = BLOCKED
        elif self._parser.kept:
            phase = YIELDING
            self._registry.yield_turn(self)
        elif self._got_eof:
            self._end()
            return
        else:
            phase = READING
        if phase is not self._phase:
            self._enter(phase)

    # 3. From requests to responses.

    def _answer(self, request: SignedPost) -> None:
        """Answer on the fast path."""
        registry, site, route = self._registry, self._registry.site, request.route
        began = site.timer()
        try:
            reply = route.answer(request)
        except Exception as error:  # a bug must not leave the client waiting
            self.send_internal_error(error, route.name)
            return
        response = reply.response
        connection = self._persistence.field(request, response.status, response.closes, registry.stopping)
        registry.send(self._transport, registry.encoder.encode(response, connection))
        self.since = ended = site.timer()
        if connection is CLOSE:
            self._end()
        seconds = ended - began
        site.request_log.write(reply, route.name, int(seconds * 1_000_000), self.peer)
        site.counters.request(route.name, reply.outcome, reply.cache, seconds)
        if response.status != CARD_STATUS and (reply is BAD_SIGNATURE or request.encoding):
            site.sample_refusal(route.name, request)

    def _dispatch(self, request: Request) -> None:
        """Hand a request to the Tornado application. Its response comes by one of the `send_` methods."""
        self._enter(RUNNING)
        context = Context(self.peer, "https" if self._is_tls() else "http")
        self._adapter = TornadoConnectionAdapter(self, request, context, self._registry.encoder)
        self._adapter.start(self._registry.site.application)

    def connection_field(self, request: Request, status: int, closes: bool) -> bytes:
        """Return the Connection field of the application's response; `closes` if the handler says so."""
        return self._persistence.field(request, status, closes, self._registry.stopping)

    def send_response(self, response: bytes, connection: bytes) -> None:
        """Send the application's response, and continue with the next request."""
        adapter, self._adapter = self._adapter, None
        if adapter is None or self._phase is not RUNNING:
            return
        self._write(response)
        if connection is CLOSE or self._registry.stopping:
            self._end()
        else:
            self._enter_next()

    def send_refusal(self, refusal: Refusal, app: str = "") -> None:
        """Refuse the request that the application was to answer."""
        self._adapter = None
        self._refuse(refusal, app)

    def send_internal_error(self, error: BaseException, app: str = "") -> None:
        """Respond to a bug of our own, in `app` if it was asked."""
        log.error("request_fault", **describe(error))
        self.send_refusal(Refusal.INTERNAL_ERROR, app)

    def _write(self, response: bytes) -> None:
        self._registry.flush()  # earlier responses may still be waiting
        self._transport.write(response)

    # 4. Refusals.

    def _refuse(self, refusal: Refusal, app: str = "") -> None:
        """Send a refusal and end the connection; without an `app` it is counted for the one whose body is read."""
        if self._phase not in OPEN:
            return
        reply, app, site = refusal.reply, app or self._parser.app, self._registry.site
        self._write(self._registry.encoder.encode(reply.response, CLOSE, without_body=self._parser.head_only))
        self._linger()
        site.request_log.write(reply, app, 0, self.peer)
        site.counters.request(app, reply.outcome, "", 0.0)

    # 5. The end.

    def _end(self) -> None:
        """End the connection after the last response."""
        self._registry.flush()
        self._linger()

    def _linger(self) -> None:
        """End the connection, but read on for a while, so that the client can read its response.

        Closing a socket with unread bytes resets the connection, and a reset makes the client's system discard the
        response (9.6).
        """
        self._enter(LINGERING)
        self._parser.end()
        self._transport.write_eof()
        self._linger_timer = self._registry.call_later(LINGER_SECONDS, self._close)

    def _close(self) -> None:
        """End the connection once all that was written is sent."""
        if self._phase in OPEN or self._phase is LINGERING:
            self._enter(CLOSING)
            self._transport.close()

    def overhead_exceeded(self) -> None:
        """Drop it: it has sent far more than the requests that were in it."""
        self._registry.site.counters.connection_dropped()
        self.drop()

    def drop(self) -> None:
        """End it at once; what is unsent is lost."""
        if self._phase is not DROPPED and self._phase is not GONE:
            self._enter(DROPPED)
        self._registry.clients.discard(self)
        if self._transport is not None:
            self._transport.abort()

    def finish(self) -> None:
        """End it now unless a request is running; the server is stopping, so it will not outlast that one."""
        if not self.running and self._phase in OPEN:
            self._close()

    # 6. What the registry asks.

    @property
    def running(self) -> bool:
        """Whether a request has begun and its response is not yet with the kernel."""
        if self._phase is RUNNING or self._parser.begun or self._parser.kept:
            return True
        if self._unused and self._phase is READING:  # nobody connects to send nothing: the first request is on its way
            return self._registry.site.timer() - self.since < LINGER_SECONDS
        return self._transport is not None and self._transport.get_write_buffer_size() > 0

    @property
    def evictable(self) -> bool:
        """Whether it could be dropped without losing a response."""
        return self._phase is not RUNNING and self._phase is not DROPPED

    def expire(self, now: float) -> None:
        """End it if a deadline has passed, or the client has reset it."""
        if self._is_tls():
            self._transport.notice_reset()
        blocked = now - self._blocked_since if self._blocked_since is not None else None
        unsent = self._phase is CLOSING and self._transport.get_write_buffer_size() > 0
        age = now - self.since
        overdue = find_overdue(self._registry.limits, self._phase, self._parser.part, age, blocked, unsent)
        if overdue is Overdue.RESPONSES_UNREAD:
            self._registry.site.counters.connection_dropped()
            self.drop()
        elif overdue is Overdue.END_UNANSWERED:
            self.drop()
        elif overdue is Overdue.IDLE:
            self._close()
        elif overdue is Overdue.REQUEST_UNFINISHED:
            self._refuse(Refusal.TOO_SLOW)

    def _is_tls(self) -> bool:
        return self._transport.get_extra_info("sslcontext") is not None
