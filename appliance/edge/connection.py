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

from appliance.edge.inbound import BODY, CLOSED, DROPPED, HEADERS, IDLE, LINGERING, Inbound
from appliance.edge.response import CLOSE, KEEP, KEEP_ALIVE
from appliance.edge.state import Lane, ServerState
from appliance.edge.tornado_road import Context, Request, TornadoExchange
from appliance.observe.logs import describe, log
from appliance.sidebar.reply import Refusal

LINGER_SECONDS: Final = 1.0
LINGER_BYTES: Final = 1024 * 1024
_WRITE_BUFFER: Final = 64 * 1024


class Connection(Inbound):
    """Reads requests and writes answers until either side ends it."""

    __slots__ = (
        "_blocked",
        "_last",
        "_linger",
        "_lingered",
        "_queue",
        "_task",
        "_verdict",
        "made",
        "peer",
        "since",
        "source",
    )

    def __init__(self, state: ServerState, peer: str, source: str | None, verdict: Refusal | None = None) -> None:
        """`peer` is the address for the log, `source` the one that is counted; a `verdict` refuses all it may send."""
        super().__init__(state)
        self.peer: Final = peer
        self.source: Final = source
        self.since = state.site.timer()  # when it began to wait for what it waits for
        self.made = False
        self._verdict = verdict
        self._last = False  # no request is answered after the running one
        self._task: asyncio.Task[None] | None = None
        self._queue: deque[tuple[Request, bool] | Refusal] = deque()
        self._blocked: float | None = None  # since when the client has not taken its answers
        self._linger: Any = None
        self._lingered = 0

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to read."""
        self.made = True
        self._transport = transport
        self._transport.set_write_buffer_limits(_WRITE_BUFFER)
        self._parser = httptools.HttpRequestParser(self)
        self.since = self._state.site.timer()
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
        self._rest = b""
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
        rest, self._rest = self._rest, b""
        if rest:
            self.data_received(rest)
        if self._exchange is None and self._blocked is None:
            self._resume_reading()

    def data_received(self, data: bytes) -> None:
        """Parse what came, and answer what is complete."""
        before = self._phase
        if before >= LINGERING:
            self._discard(len(data))
            return
        if self._blocked is not None:  # it was on its way when reading paused
            self._rest += data
            return
        if len(data) <= self._room:
            self._feed(data)
        else:
            self._feed_by_pieces(data)
        after = self._phase
        if after != before:
            self.since = self._state.site.timer()
        if self._exchange is not None and after < LINGERING and not self._transport.is_closing():
            self._transport.pause_reading()

    # Answers.

    def _connection_field(self, keeps: bool, version: str) -> bytes:
        if not keeps or self._state.stopping:
            return CLOSE
        return KEEP if version == "1.1" else KEEP_ALIVE

    def _answer(self, lane: Lane, body: bytes, keeps: bool) -> None:
        state = self._state
        site = state.site
        began = site.timer()
        try:
            reply = lane.answer(body, self._signature)
        except Exception as error:  # a bug must not leave the client waiting
            self.fault(error)
            return
        if keeps and self._version == "1.1" and not reply.closes and not state.stopping:
            connection = KEEP
        else:
            connection = CLOSE if reply.closes else self._connection_field(keeps, self._version)
        state.send(self._transport, state.heads.render(reply, connection))
        self.since = ended = site.timer()
        if connection is CLOSE:
            self._end()
        seconds = ended - began
        site.request_log.write(reply, lane.name, int(seconds * 1_000_000), self.peer)
        site.counters.request(lane.name, reply.outcome, reply.cache, seconds)

    def _hand_over(self, request: Request, keeps: bool) -> None:
        if self._exchange is None:
            self._start(request, keeps)
        else:
            self._queue.append((request, keeps))

    def _start(self, request: Request, keeps: bool) -> None:
        tls = self._transport.get_extra_info("sslcontext") is not None
        context = Context(self.peer, "https" if tls else "http")
        connection = self._connection_field(keeps, request.version)
        self._exchange = exchange = TornadoExchange(self, request, connection, context, self._state.heads)
        self._task = asyncio.get_running_loop().create_task(exchange.run(self._state.site.application))

    def _end_with(self, refusal: Refusal) -> None:
        if self._exchange is None:
            self._refuse(refusal)
        else:
            self._queue.append(refusal)
            self._parser = None

    # What the exchange calls.

    def deliver(self, response: bytes, closes: bool) -> None:
        """Send the response of the exchange that is running, and go on with the next request."""
        exchange, self._exchange = self._exchange, None
        if exchange is None or self._transport is None or self._phase >= LINGERING:
            return
        self._write(response)
        self.since = self._state.site.timer()
        if closes or self._last or self._state.stopping:
            self._end()
        elif self._queue:
            following = self._queue.popleft()
            if isinstance(following, Refusal):
                self._refuse(following)
            else:
                self._start(*following)
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

    def _is_blocked(self) -> bool:
        self._state.flush()
        return self._blocked is not None

    # Ends.

    @property
    def running(self) -> bool:
        """Whether a request has begun and its answer is not yet with the kernel."""
        if self._exchange is not None or self._phase in (HEADERS, BODY):
            return True
        if self._fresh and self._phase == IDLE:  # its first request is on the way: nobody connects to say nothing
            return self._state.site.timer() - self.since < LINGER_SECONDS
        return self._transport is not None and self._transport.get_write_buffer_size() > 0

    @property
    def waiting(self) -> bool:
        """Whether it could be dropped without an answer being lost."""
        return self._exchange is None and self._phase != DROPPED

    @property
    def silent(self) -> bool:
        """Whether it has not said a word yet: its first byte was awaited before there was a connection."""
        return False

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
        """Send a refusal and end the connection."""
        if self._transport is None or self._phase >= LINGERING:
            return
        reply = refusal.reply
        head_only = bool(self._target) and self._parser is not None and self._parser.get_method() == b"HEAD"
        self._write(self._state.heads.render(reply, CLOSE, without_body=head_only))
        name = self._lane.name if self._lane is not None and self._phase == BODY else ""
        self._linger_on()
        site = self._state.site
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
        self._phase = LINGERING
        self._parser = None
        self._body = self._head = b""
        self._queue.clear()
        self._resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._linger = self._state.call_later(LINGER_SECONDS, self._close)

    def _resume_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _discard(self, count: int) -> None:
        self._lingered += count
        if self._lingered > LINGER_BYTES and self._phase == LINGERING:
            self._close()
