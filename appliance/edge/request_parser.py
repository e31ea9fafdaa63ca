"""From bytes to requests: llhttp's callbacks and the rules on top of it. No transport, no loop, no clock.

llhttp parses all that it is fed, and does not say where a request began or how it was spelled. So it is fed in pieces
that end where a request may end:

    part      a piece ends                                              and leads to
    BETWEEN   behind the first empty line                               BETWEEN (only empty lines came), or as HEAD
    HEAD      behind the first empty line                               BODY, or BETWEEN with a request that has no body
    BODY      behind the last byte that Content-Length announces, or,   BETWEEN, with a request
              in a chunked body, behind the next empty line
    ENDED     -                                                         ENDED: after a refusal nothing is parsed

A request therefore begins with a piece and ends with one: its line is compared where it stands, and no byte behind a
request is parsed before somebody asks for the next one. A piece that ends too early (a chunk that holds an empty line)
does no harm, for llhttp alone decides what the bytes mean.
"""

from __future__ import annotations

import enum
from typing import Final

import httptools
import msgspec

from appliance.edge.http_rules import CONTENT_LENGTH_DIGITS, WATCHED, Fields, Refused, check_head
from appliance.edge.state import Lane
from appliance.sidebar.reply import MAX_BODY_BYTES, MAX_HEADER_BYTES, Refusal

# Framing may be larger than what it frames: chunk sizes, extensions and trailers count against this.
MAX_RAW_BODY_BYTES: Final = 4 * MAX_BODY_BYTES

_EMPTY_LINE: Final = b"\r\n\r\n"
_CHUNKED: Final = -1


class Part(enum.Enum):
    """Where in a request the next byte belongs."""

    BETWEEN = "between two requests"
    HEAD = "in the head"
    BODY = "in the body"
    ENDED = "nowhere"


class Request(msgspec.Struct, frozen=True, gc=False):
    """A request that has arrived whole. `keeps` if the connection may persist after it.

    One with a `lane` is answered by its app, and `fields` may be empty; every other by the application.
    """

    method: bytes
    target: bytes
    version: str
    fields: Fields
    body: bytes
    keeps: bool
    lane: Lane | None
    signature: bytes | None


class Continue(enum.Enum):
    """The head is complete, and the client waits for "100 Continue" before it sends the body."""

    CONTINUE = enum.auto()


CONTINUE: Final = Continue.CONTINUE
Event = Request | Refusal | Continue | None


class _Ended(Exception):
    """Stops llhttp: the request is refused."""


class RequestParser:
    """Parses the requests of one connection, one at a time."""

    __slots__ = (
        "_body",
        "_event",
        "_fields",
        "_head",
        "_host",
        "_kept",
        "_lane",
        "_lanes",
        "_left",
        "_llhttp",
        "_piece",
        "_raw_body",
        "_room",
        "_saved",
        "_signature",
        "_tail",
        "_target",
        "_version",
        "part",
    )

    def __init__(self, lanes: dict[bytes, Lane]) -> None:
        """`lanes` are the apps by the path that a signed POST goes to."""
        self._lanes = lanes
        self.part = Part.BETWEEN
        self._llhttp: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._event: Event = None  # what the piece led to
        self._kept = b""  # what came and is not parsed yet
        self._piece = b""  # what is being parsed
        self._head = b""  # what was parsed of this head before
        self._tail = b""  # the last bytes of what was parsed of this chunked body before
        self._room = MAX_HEADER_BYTES  # how many more bytes the header block may have
        self._left = 0  # how many bytes of the body are still to come, or _CHUNKED
        self._raw_body = 0
        self._host = b""  # the last Host that was checked
        self._target = b""
        self._version = "1.1"
        self._fields: list[tuple[bytes, bytes]] = []
        self._saved: tuple[tuple[bytes, bytes], ...] = ()
        self._body: bytes | bytearray = b""
        self._lane: Lane | None = None
        self._signature: bytes | None = None

    @property
    def pending(self) -> bool:
        """Whether there are bytes that came and are not parsed yet."""
        return bool(self._kept)

    @property
    def begun(self) -> bool:
        """Whether the beginning of a request is parsed and its end is not."""
        return self.part is Part.HEAD or self.part is Part.BODY

    @property
    def app(self) -> str:
        """The name of the app that the request in whose body this is was meant for."""
        return self._lane.name if self._lane is not None and self.part is Part.BODY else ""

    @property
    def head_only(self) -> bool:
        """Whether the request that has begun is a HEAD, whose answer has no body."""
        return bool(self._target) and self._llhttp is not None and self._llhttp.get_method() == b"HEAD"

    def keep(self, data: bytes) -> None:
        """Keep bytes for later."""
        if self.part is not Part.ENDED:
            self._kept += data

    def end(self) -> None:
        """Parse nothing more. llhttp and its callbacks are a cycle, which this breaks."""
        self.part = Part.ENDED
        self._llhttp = None
        self._kept = self._head = self._tail = self._piece = self._body = b""
        self._fields.clear()

    def feed(self, data: bytes) -> Event:
        """Parse what was kept, then `data`, until something has happened; keep the rest.

        Return the request that is complete, why one is refused, CONTINUE, or None if more is needed.
        """
        if self._kept:
            data = self._kept + data
        at, size = 0, len(data)
        event: Event = None
        while at < size and event is None and self.part is not Part.ENDED:
            begin, at = at, self._end_of_piece(data, at)
            event = self._feed(data[begin:at])
        self._kept = data[at:] if self.part is not Part.ENDED else b""
        return event

    def _end_of_piece(self, data: bytes, begin: int) -> int:
        if self.part is not Part.BODY:
            # Header bytes are counted here: one endless field makes no callback.
            return min(_behind_empty_line(self._head[-3:], data, begin), begin + self._room)
        if self._left == _CHUNKED:
            return _behind_empty_line(self._tail, data, begin)
        return min(begin + max(self._left, 1), len(data))

    def _feed(self, piece: bytes) -> Event:
        llhttp = self._llhttp
        if llhttp is None:
            return None
        self._piece = piece
        before = self.part
        try:
            llhttp.feed_data(piece)
        except httptools.HttpParserError as error:
            return self._stopped(error)
        event, self._event = self._event, None
        if self.part is Part.BODY:
            if before is Part.BODY:
                self._raw_body += len(piece)
                if self._left == _CHUNKED:
                    self._tail = (self._tail + piece[-3:])[-3:]
                else:
                    self._left -= len(piece)
                if self._raw_body > MAX_RAW_BODY_BYTES:
                    return self._refuse(Refusal.BODY_TOO_LARGE)
        elif type(event) is not Request:
            self._room -= len(piece)
            if self.part is Part.HEAD:
                self._head += piece
            if self._room <= 0:
                return self._refuse(Refusal.HEADERS_TOO_LARGE)
        return event

    def _stopped(self, error: httptools.HttpParserError) -> Refusal:
        event, self._event = self._event, None
        if isinstance(event, Refusal):
            return self._refuse(event)
        if isinstance(error, httptools.HttpParserCallbackError):
            raise error.__context__ or error  # a bug of our own
        return self._refuse(Refusal.BAD_REQUEST)

    def _refuse(self, refusal: Refusal) -> Refusal:
        # The rest of what is known of the request is for its answer and its line in the log.
        self._kept = b""
        return refusal

    def _stop(self, refusal: Refusal) -> None:
        self._event = refusal
        raise _Ended

    # What llhttp calls.

    def on_message_begin(self) -> None:
        """Begin a request."""
        if self._event is not None:
            raise RuntimeError("two requests in one piece")
        self.part = Part.HEAD

    def on_url(self, target: bytes) -> None:
        """Take the target, or a part of it."""
        self._target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field. What comes after the head is a trailer, and nobody looks at it."""
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """Check the head. The common case is decided here, every other by `check_head`."""
        self.part = Part.BODY
        self._saved = ()
        method = self._llhttp.get_method()  # type: ignore[union-attr]
        lane = self._lane = self._lanes.get(self._target) if method == b"POST" else None
        if lane is None:
            self._check(method)
            return
        signature_name = lane.signature_name
        signature = host = None
        length = b""
        plain = True
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
            and not self._head
            and self._piece.startswith(lane.line)
        ):
            self._version = "1.1"
            self._left = int(length) if length else 0
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
        """Note that a request is complete."""
        llhttp, body = self._llhttp, self._body
        self._event = Request(
            llhttp.get_method(),  # type: ignore[union-attr]
            self._target,
            self._version,
            self._saved,
            body if type(body) is bytes else bytes(body),
            llhttp.should_keep_alive(),  # type: ignore[union-attr]
            self._lane,
            self._signature,
        )
        self._body = self._head = self._tail = self._target = b""
        self._fields.clear()
        self.part = Part.BETWEEN
        self._room = MAX_HEADER_BYTES
        self._raw_body = 0

    def _check(self, method: bytes) -> None:
        self._saved = tuple(self._fields)
        version = self._version = self._llhttp.get_http_version()  # type: ignore[union-attr]
        try:
            head = check_head(self._head + self._piece, method, self._target, version, self._fields)
        except Refused as refused:
            self._stop(refused.refusal)
        else:
            self._host = head.host
            self._left = _CHUNKED if head.length is None else head.length
            if head.waits:
                self._event = CONTINUE


def _behind_empty_line(before: bytes, data: bytes, begin: int) -> int:
    """Return where the first empty line of `data` from `begin` on ends, or all of it; `before` came before that."""
    if before:
        # The empty line may have begun in what was parsed before.
        joint = (before + data[begin : begin + 3]).find(_EMPTY_LINE)
        if joint >= 0:
            return begin + joint + len(_EMPTY_LINE) - len(before)
    found = data.find(_EMPTY_LINE, begin)
    return found + len(_EMPTY_LINE) if found >= 0 else len(data)
