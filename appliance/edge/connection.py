"""One client's HTTP/1.1 connection, on asyncio.Protocol: the parser's requests in, answers out.

A signed POST to an app's path takes the fast lane: `SidebarApp.answer` is called as soon as it is parsed, and the
answer is written at once. Everything else is handed to the Tornado application, request by request, in order. The
phases are those of phases.py. Section numbers are RFC 9112's.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Final

from appliance.edge.overhead import BODY_BUFFER, RECEIVE_BUFFER, Received
from appliance.edge.phases import (
    BLOCKED,
    CLOSING,
    DROPPED,
    GONE,
    LINGERING,
    NEXT,
    OPEN,
    PAUSED,
    READING,
    RUNNING,
    YIELDING,
    IllegalMove,
    Phase,
)
from appliance.edge.refusals import Refusal
from appliance.edge.request_parser import BETWEEN, BODY, HEAD, Request, RequestParser
from appliance.edge.response import CLOSE, CONTINUE, KEEP, KEEP_ALIVE
from appliance.edge.state import Lane, ServerState
from appliance.edge.tornado_road import Context, TornadoExchange
from appliance.observe.logs import describe, log
from appliance.outcomes import CARD_STATUS
from appliance.sidebar.protocols.base import BAD_SIGNATURE

LINGER_SECONDS: Final = 1.0
LINGER_BYTES: Final = 1024 * 1024
MAX_REFUSALS: Final = 10
"""How many requests of a connection are refused before it ends: a new one costs whoever goes on a handshake."""
READ_AHEAD: Final = 32 * 1024
"""Bytes of TLS that may wait for a connection whose reading is paused. A record, 16 KiB and its frame, must fit in."""
_WRITE_BUFFER: Final = 64 * 1024


class Connection(asyncio.Protocol):
    """Reads requests and writes answers until either side ends it."""

    __slots__ = (
        "_blocked",
        "_exchange",
        "_fresh",
        "_last",
        "_linger",
        "_lingered",
        "_parser",
        "_phase",
        "_received",
        "_refusals",
        "_said",
        "_sock",
        "_state",
        "_task",
        "_transport",
        "_verdict",
        "made",
        "peer",
        "since",
        "source",
    )

    def __init__(
        self,
        state: ServerState,
        peer: str,
        source: str | None,
        verdict: Refusal | None = None,
        sock: socket.socket | None = None,
    ) -> None:
        """`peer` is the address for the log, `source` the one that is counted; a `verdict` refuses all it may send.

        `sock` is what it comes over.
        """
        self._state = state
        self.peer: Final = peer
        self.source: Final = source
        self.since = state.site.timer()  # when it began to wait for what it waits for
        self.made = False
        self._verdict = verdict
        self._phase: Phase = READING
        self._parser = RequestParser(state.lanes)
        self._transport: Any = None
        self._exchange: TornadoExchange | None = None  # the request that the application is answering
        self._task: asyncio.Task[None] | None = None
        self._fresh = True  # no request has begun yet
        self._last = False  # the client has said that it sends no more
        self._refusals, self._sock = 0, sock
        self._received: Received | None = None  # below TLS
        self._said = 0  # bytes of plaintext
        self._blocked: float | None = None  # since when the client has not taken its answers
        self._linger: Any = None
        self._lingered = 0

    def _enter(self, phase: Phase) -> None:
        """Go over to another phase. Raises IllegalMove."""
        before = self._phase
        if phase not in NEXT[before]:
            raise IllegalMove(before, phase)
        self._phase = phase
        if before is RUNNING or phase is RUNNING or phase not in OPEN:  # else the deadline of the request goes on
            self.since = self._state.site.timer()
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if phase in PAUSED:
            if before not in PAUSED:
                transport.pause_reading()
        elif before in PAUSED and phase is not DROPPED:
            transport.resume_reading()

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to read."""
        self.made = True
        self._transport = transport
        transport.set_write_buffer_limits(_WRITE_BUFFER)  # type: ignore[attr-defined]
        if self._is_tls:
            transport.set_read_buffer_limits(READ_AHEAD)  # type: ignore[attr-defined]
            if self._sock is not None:
                self._received = Received(self._sock)
        self.since = self._state.site.timer()
        self._state.clients.add(self)
        if self._verdict is not None:
            self._refuse(self._verdict)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything: the parser's callbacks and the transport form cycles of 30 KB a connection."""
        self._enter(GONE)
        self._state.clients.discard(self)
        self._state.release(self.source)
        self._parser.end()
        if self._linger is not None:
            self._linger.cancel()
        if self._exchange is not None:
            self._exchange.close()
        self._transport = self._exchange = self._task = self._linger = self._sock = self._received = None

    def eof_received(self) -> bool:
        """End the connection, but not before what it has asked is answered."""
        self._state.flush()  # TLS takes nothing more after this
        if self._phase not in OPEN or not (self._exchange or self._parser.kept):
            if self._phase in OPEN or self._phase is LINGERING:
                self._enter(CLOSING)
            return False
        self._last = True
        # asyncio's TLS knows no half-closed connection, and warns of a True here.
        return not self._is_tls

    def pause_writing(self) -> None:
        """Read and answer nothing more for a client that does not take its answers."""
        self._blocked = self._state.site.timer()
        if self._phase is READING or self._phase is YIELDING:
            self._enter(BLOCKED)

    def resume_writing(self) -> None:
        """Go on."""
        self._blocked = None
        if self._phase is BLOCKED:
            self._proceed()

    def data_received(self, data: bytes) -> None:
        """Parse what came, and answer what is complete."""
        self._said += len(data)
        phase = self._phase
        if phase is READING:
            self._advance(data)
        elif phase in PAUSED:  # it was on its way when reading paused
            self._parser.keep(data)
        elif phase is LINGERING:
            self._lingered += len(data)
            if self._lingered > LINGER_BYTES:
                self._close()

    # Requests and answers.

    def go_on(self) -> None:
        """Use the share of another turn."""
        if self._phase is YIELDING:
            self._advance(b"")

    def _advance(self, data: bytes) -> None:
        """Use the share of this turn: parse on in what waits and in `data`, and answer one request at most."""
        parser = self._parser
        before = parser.part
        try:
            event = parser.feed(data)
        except Exception as error:  # a bug must not leave the client waiting
            self.fault(error)
            return
        if type(event) is Request:
            self._fresh = False
            if event.lane is not None:
                self._answer(event, event.lane)
            else:
                self._start(event)
        elif type(event) is Refusal:
            self._refuse(event)
        else:
            if event is not None:
                self._write(CONTINUE)
            if parser.part is not before:
                self._fresh = False
                self.since = self._state.site.timer()
            elif before is BODY and self._sock is not None and self._said > RECEIVE_BUFFER:
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BODY_BUFFER)
                self._sock = None
        phase = self._phase
        if phase is YIELDING or (phase is READING and parser.kept):
            self._proceed()

    def _proceed(self) -> None:
        """Enter the phase in which nothing is answered that what waits asks for."""
        if self._blocked is not None:
            phase = BLOCKED
        elif self._parser.kept:
            phase = YIELDING
            self._state.yield_turn(self)
        elif self._last:
            self._end()
            return
        else:
            phase = READING
        if phase is not self._phase:
            self._enter(phase)

    def connection_field(self, request: Request, status: int) -> bytes:
        """Return the Connection field of an answer with this status, which is given now."""
        if status != CARD_STATUS:
            self._refusals += 1
        if not request.keeps or self._state.stopping or self._refusals >= MAX_REFUSALS:
            return CLOSE
        return KEEP if request.version == "1.1" else KEEP_ALIVE

    def _answer(self, request: Request, lane: Lane) -> None:
        state, site = self._state, self._state.site
        began = site.timer()
        try:
            reply = lane.answer(request)
        except Exception as error:  # a bug must not leave the client waiting
            self.fault(error)
            return
        response = reply.response
        if response.status == CARD_STATUS and request.keeps and request.version == "1.1" and not state.stopping:
            connection = KEEP  # the common case
        else:
            connection = CLOSE if response.closes else self.connection_field(request, response.status)
        state.send(self._transport, state.heads.render(response, connection))
        self.since = site.timer()
        seconds = self.since - began
        if connection is CLOSE:
            self._end()
        site.request_log.write(reply, lane.name, int(seconds * 1_000_000), self.peer)
        site.counters.request(lane.name, reply.outcome, reply.cache, seconds)
        if reply is BAD_SIGNATURE:
            site.sample_refusal(lane.name, request)

    def _start(self, request: Request) -> None:
        self._enter(RUNNING)
        context = Context(self.peer, "https" if self._is_tls else "http")
        self._exchange = exchange = TornadoExchange(self, request, context, self._state.heads)
        self._task = asyncio.get_running_loop().create_task(exchange.run(self._state.site.application))

    # What the exchange calls.

    def deliver(self, response: bytes, closes: bool) -> None:
        """Send the response of the exchange that is running, and go on with the next request."""
        exchange, self._exchange = self._exchange, None
        if exchange is None or self._phase is not RUNNING:
            return
        self._write(response)
        if closes or self._state.stopping:
            self._end()
        else:
            self._proceed()

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
    def _is_tls(self) -> bool:
        return self._transport.get_extra_info("sslcontext") is not None

    @property
    def running(self) -> bool:
        """Whether a request has begun and its answer is not yet with the kernel."""
        if self._phase is RUNNING or self._parser.begun or self._parser.kept:
            return True
        if self._fresh and self._phase is READING:  # its first request is on the way: nobody connects to say nothing
            return self._state.site.timer() - self.since < LINGER_SECONDS
        return self._transport is not None and self._transport.get_write_buffer_size() > 0

    @property
    def waiting(self) -> bool:
        """Whether it could be dropped without an answer being lost."""
        return self._phase not in (RUNNING, DROPPED)

    @property
    def silent(self) -> bool:
        """Whether it has not said a word yet: its first byte was awaited before there was a connection."""
        return False

    def check_overhead(self) -> None:
        """End it if it sends much and says little."""
        # What waits while reading is paused is not said yet.
        if self._received is not None and self._phase not in PAUSED and self._received.exceeds(self._said):
            self._state.site.counters.dropped()
            self.drop()

    def expire(self, now: float) -> None:
        """End it if a deadline has passed."""
        self.check_overhead()
        limits, age = self._state.limits, now - self.since
        if self._blocked is not None and now - self._blocked >= limits.write_timeout:
            self._state.site.counters.dropped()
            self.drop()
        elif self._phase is CLOSING:
            # The other side need not answer the end of TLS; what is unsent it may still take.
            if age >= (limits.write_timeout if self._transport.get_write_buffer_size() else LINGER_SECONDS):
                self.drop()
        elif self._phase is READING:
            part = self._parser.part
            if (part is HEAD and age >= limits.header_timeout) or (part is BODY and age >= limits.body_timeout):
                self._refuse(Refusal.TOO_SLOW)
            elif part is BETWEEN and age >= limits.idle_timeout:
                self._close()

    def drop(self) -> None:
        """End it at once, with what is unsent."""
        if self._phase is not DROPPED and self._phase is not GONE:
            self._enter(DROPPED)
        self._state.clients.discard(self)
        if self._transport is not None:
            self._transport.abort()

    def finish(self) -> None:
        """End it now if no request is running; the server is stopping, so it will not outlast one."""
        if not self.running and self._phase in OPEN:
            self._close()

    def _close(self) -> None:
        if self._phase in OPEN or self._phase is LINGERING:
            self._enter(CLOSING)
            if self._transport is not None:
                self._transport.close()

    def _refuse(self, refusal: Refusal) -> None:
        """Send a refusal and end the connection."""
        if self._transport is None or self._phase not in OPEN:
            return
        reply, name, site = refusal.reply, self._parser.app, self._state.site
        self._write(self._state.heads.render(reply.response, CLOSE, without_body=self._parser.head_only))
        self._linger_on()
        site.request_log.write(reply, name, 0, self.peer)
        site.counters.request(name, reply.outcome, "", 0.0)

    def _write(self, response: bytes) -> None:
        self._state.flush()  # answers before it may still wait
        self._transport.write(response)

    def _end(self) -> None:
        """End the connection after the last answer. The end of TLS is said at once, and the other side's awaited."""
        self._state.flush()
        if self._transport.can_write_eof():
            self._linger_on()
        else:
            self._close()

    def _linger_on(self) -> None:
        """End the connection so that the client can read its answer.

        Closing with unread bytes would reset the connection, and the client's system would throw the answer away: so
        reading goes on for a while (9.6).
        """
        self._enter(LINGERING)
        self._parser.end()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._linger = self._state.call_later(LINGER_SECONDS, self._close)
