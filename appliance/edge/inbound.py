"""The receiving half of a connection: from bytes to requests, by llhttp's callbacks and the rules on top of it."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import Any, Final

import httptools

from appliance.edge.http_rules import CONTENT_LENGTH_DIGITS, WATCHED, Refused, check_head
from appliance.edge.response import CONTINUE
from appliance.edge.state import Lane, ServerState
from appliance.edge.tornado_road import Request, TornadoExchange
from appliance.sidebar.reply import MAX_BODY_BYTES, MAX_HEADER_BYTES, Refusal

# What a connection is waiting for. From LINGERING on nothing more is parsed.
IDLE, HEADERS, BODY, LINGERING, CLOSED, DROPPED = range(6)

# Framing may be larger than what it frames: chunk sizes, extensions and trailers count against this.
MAX_RAW_BODY_BYTES: Final = 4 * MAX_BODY_BYTES

_LINE_END: Final = b" HTTP/1.1\r\n"
_POST: Final = len(b"POST ")


class _Ended(Exception):
    """Nothing more is read from this connection: stops the parser."""


class Inbound(asyncio.Protocol):
    """Parses requests. A subclass answers them: no method call lies between the two but the abstract ones."""

    __slots__ = (
        "_body",
        "_exchange",
        "_fields",
        "_fresh",
        "_head",
        "_host",
        "_lane",
        "_parser",
        "_phase",
        "_piece",
        "_raw_body",
        "_refusal",
        "_rest",
        "_room",
        "_saved",
        "_signature",
        "_state",
        "_target",
        "_transport",
        "_version",
    )

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._phase = IDLE
        self._transport: Any = None
        self._parser: httptools.HttpRequestParser | None = None
        self._exchange: TornadoExchange | None = None  # the request that the application is answering
        self._fresh = True  # no request has begun yet
        self._refusal: Refusal | None = None  # why the parser was stopped from within
        self._room = MAX_HEADER_BYTES  # how many more bytes the header block may have
        self._raw_body = 0
        self._rest = b""  # what came and is not parsed before the client takes its answers
        self._piece: bytes = b""  # what is being parsed
        self._head = b""  # what was parsed of this head before
        self._host = b""  # the last Host that was checked
        self._target = b""
        self._version = "1.1"
        self._fields: list[tuple[bytes, bytes]] = []
        self._saved: tuple[tuple[bytes, bytes], ...] = ()  # the fields as they were before any trailer
        self._body: bytes | bytearray = b""
        self._lane: Lane | None = None
        self._signature: bytes | None = None

    @abstractmethod
    def _answer(self, lane: Lane, body: bytes, keeps: bool) -> None:
        """Answer a request that arrived whole, by an app; `keeps` if the connection may persist."""

    @abstractmethod
    def _hand_over(self, request: Request, keeps: bool) -> None:
        """Answer a request that arrived whole, by the application, after those before it."""

    @abstractmethod
    def _end_with(self, refusal: Refusal) -> None:
        """Refuse what follows the requests that are still to be answered."""

    @abstractmethod
    def _is_blocked(self) -> bool:
        """Send what is answered; say whether the client does not take it."""

    @abstractmethod
    def fault(self, error: BaseException) -> None:
        """Answer for an error of our own."""

    # Feeding the parser. Header bytes are counted here: one endless field makes no callback. The answers to all that
    # a client may send at once are much larger than that: whoever does not take them gets no more.

    def _feed_by_pieces(self, data: bytes) -> None:
        view = memoryview(data)
        while view and self._parser is not None and self._phase < LINGERING:
            if self._room <= 0 and self._phase != BODY:
                self._end_with(Refusal.HEADERS_TOO_LARGE)
                return
            length = MAX_HEADER_BYTES if self._phase == BODY else self._room
            self._feed(bytes(view[:length]))
            view = view[length:]
            if view and self._is_blocked():
                self._rest = bytes(view)
                return

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
                    self._end_with(Refusal.BODY_TOO_LARGE)

    def _stopped(self, error: Exception) -> None:
        """Find out why the parser stopped, and answer."""
        refusal, self._refusal = self._refusal, None
        if self._phase >= LINGERING:
            return  # what came after the end of the last request adds nothing
        if refusal is None and isinstance(error, httptools.HttpParserCallbackError):
            self.fault(error.__context__ or error)
        else:
            self._end_with(refusal or Refusal.BAD_REQUEST)

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Begin a request."""
        if self._phase >= LINGERING:
            raise _Ended
        self._phase = HEADERS
        self._fresh = False

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
        plain = self._exchange is None
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
        if (
            plain
            and host  # an empty one must not equal the none that HTTP/1.0 may have
            and host == self._host
            and len(length) < CONTENT_LENGTH_DIGITS
            and self._piece.startswith(_LINE_END, _POST + len(target))
        ):
            self._version = "1.1"
        else:
            self._check(method)

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
        body, lane, target = self._body, self._lane, self._target
        if type(body) is not bytes:
            body = bytes(body)
        self._body = self._head = self._target = b""
        self._fields.clear()
        self._phase = IDLE
        self._room = MAX_HEADER_BYTES
        self._raw_body = 0
        if lane is not None and self._exchange is None:
            self._answer(lane, body, keeps)
        else:
            method = parser.get_method()  # type: ignore[union-attr]
            self._hand_over(Request(method, target, self._version, self._saved, body), keeps)

    def _check(self, method: bytes) -> None:
        self._saved = tuple(self._fields)
        raw = self._head + self._piece
        version = self._version = self._parser.get_http_version()  # type: ignore[union-attr]
        try:
            self._host, waits = check_head(raw, method, self._target, version, self._fields)
        except Refused as refused:
            self._stop(refused.refusal)
        # To a pipelined request it would come between the answers to others.
        if waits and self._exchange is None:
            self._transport.write(CONTINUE)

    def _stop(self, refusal: Refusal) -> None:
        self._refusal = refusal
        raise _Ended
