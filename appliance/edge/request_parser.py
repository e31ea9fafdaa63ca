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
request is parsed before somebody asks for the next one. A piece that ends too early (a chunk that holds an empty line,
or where the share of a turn ends) does no harm, for llhttp alone decides what the bytes mean.
"""

from __future__ import annotations

import enum
from typing import Final

import httptools
import msgspec

from appliance.edge.http_rules import CONTENT_LENGTH_DIGITS, WATCHED, Fields, Refused, check_head
from appliance.edge.refusals import MAX_BODY_BYTES, MAX_FIELDS, MAX_HEADER_BYTES, Refusal
from appliance.edge.state import Lane

# Framing may be larger than what it frames: chunk sizes, extensions and trailers count against this.
MAX_RAW_BODY_BYTES: Final = 4 * MAX_BODY_BYTES

SHARE: Final = 4 * 1024
"""How many bytes are parsed in one go. The dearest, chunks of one byte each, take 0.1 us a byte."""

_EMPTY_LINE: Final = b"\r\n\r\n"


class Part(enum.Enum):
    """Where in a request the next byte belongs."""

    BETWEEN = "between two requests"
    HEAD = "in the head"
    BODY = "in the body"
    ENDED = "nowhere"


BETWEEN, HEAD, BODY, ENDED = Part  # Part.BODY takes 0.1 us with Python 3.11


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
        "_lane",
        "_lanes",
        "_left",
        "_llhttp",
        "_method",
        "_piece",
        "_raw_body",
        "_room",
        "_saved",
        "_signature",
        "_tail",
        "_target",
        "_version",
        "kept",
        "part",
    )

    def __init__(self, lanes: dict[bytes, Lane]) -> None:
        """`lanes` are the apps by the path that a signed POST goes to."""
        self._lanes = lanes
        self.part = BETWEEN
        self._llhttp: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._event: Event = None  # what the piece led to
        self.kept = b""  # what came and is not parsed yet
        self._piece = b""  # what is being parsed
        self._head = b""  # what was parsed of this head before
        self._tail = b""  # the last bytes of what was parsed of this chunked body before
        self._room = MAX_HEADER_BYTES  # how many more bytes the header block may have
        self._left = 0  # how many bytes of the body are still to come; 0: it is chunked
        self._raw_body = 0
        self._host = b""  # the last Host that was checked
        self._method = b""
        self._target = b""
        self._version = "1.1"
        self._fields: list[tuple[bytes, bytes]] = []
        self._saved: tuple[tuple[bytes, bytes], ...] = ()
        self._body: bytes | bytearray = b""
        self._lane: Lane | None = None
        self._signature: bytes | None = None

    @property
    def begun(self) -> bool:
        """Whether the beginning of a request is parsed and its end is not."""
        return self.part is HEAD or self.part is BODY

    @property
    def app(self) -> str:
        """The name of the app that the request in whose body this is was meant for."""
        return self._lane.name if self._lane is not None and self.part is BODY else ""

    @property
    def head_only(self) -> bool:
        """Whether the request that has begun is a HEAD, whose answer has no body."""
        return bool(self._target) and self._llhttp is not None and self._llhttp.get_method() == b"HEAD"

    def keep(self, data: bytes) -> None:
        """Keep bytes for later."""
        if self.part is not ENDED:
            self.kept += data

    def end(self) -> None:
        """Parse nothing more. llhttp and its callbacks are a cycle, which this breaks."""
        self.part = ENDED
        self._llhttp = None
        self.kept = self._head = self._tail = self._piece = self._body = b""
        self._fields.clear()

    def feed(self, data: bytes) -> Event:
        """Parse what was kept, then `data`, until something has happened or SHARE bytes are parsed; keep the rest.

        Return the request that is complete, why one is refused, CONTINUE, or None.
        """
        if self.kept:
            data = self.kept + data
            self.kept = b""
        llhttp, event = self._llhttp, None
        if llhttp is None:
            return None
        at, size = 0, len(data)
        share = size if size < SHARE else SHARE
        while at < share:
            before = self.part
            if before is BODY and self._left > 0:
                end = at + self._left
            elif before is not BETWEEN or not 4 <= (end := data.find(_EMPTY_LINE, at) + 4) <= at + self._room:
                end = self._end_of_piece(data, at)
            piece = self._piece = data[at : end if end < share else share]
            at += len(piece)
            try:
                llhttp.feed_data(piece)
                if self._left == size - at > 0 and self._event is None and size == share:
                    llhttp.feed_data(data[at:])  # nearly always all the rest is the body, and needs no second look
                    at = size
            except httptools.HttpParserError as error:
                return self._stopped(error)
            event = self._event
            if event is not None:
                self._event = None
                break
            if (before is BODY or self.part is not BODY) and (event := self._count(piece)) is not None:
                break
        if at < size and type(event) is not Refusal:
            self.kept = data[at:]
        return event

    def _end_of_piece(self, data: bytes, begin: int) -> int:
        before = self._tail if self.part is BODY else self._head
        if before:
            # The empty line may have begun in what was parsed before.
            before = before[-3:]
            joint = (before + data[begin : begin + 3]).find(_EMPTY_LINE)
            if joint >= 0:
                return begin + joint + len(_EMPTY_LINE) - len(before)
        end = data.find(_EMPTY_LINE, begin) + len(_EMPTY_LINE)
        if end < len(_EMPTY_LINE):
            end = len(data)
        # Header bytes are counted here: one endless field makes no callback.
        return end if self.part is BODY or end <= begin + self._room else begin + self._room

    def _count(self, piece: bytes) -> Refusal | None:
        """Count a piece at whose end the head, or the body, is not complete."""
        if self.part is BODY:
            self._fields.clear()  # trailers, which nobody looks at
            self._raw_body += len(piece)
            if self._left > 0:
                self._left -= len(piece)
            else:
                self._tail = (self._tail + piece)[-3:]
            return Refusal.BODY_TOO_LARGE if self._raw_body > MAX_RAW_BODY_BYTES else None
        self._room -= len(piece)
        if self.part is HEAD:
            self._head += piece
        return Refusal.HEADERS_TOO_LARGE if self._room <= 0 or len(self._fields) > MAX_FIELDS else None

    def _stopped(self, error: httptools.HttpParserError) -> Refusal:
        event, self._event = self._event, None
        if isinstance(event, Refusal):
            return event
        if isinstance(error, httptools.HttpParserCallbackError):
            raise error.__context__ or error  # a bug of our own
        return Refusal.BAD_REQUEST

    def _stop(self, refusal: Refusal) -> None:
        self._event = refusal
        raise _Ended

    # What llhttp calls.

    def on_message_begin(self) -> None:
        """Begin a request."""
        if self._event is not None:
            raise RuntimeError("two requests in one piece")
        self.part = HEAD

    def on_url(self, target: bytes) -> None:
        """Take the target, or a part of it."""
        self._target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of the head, or a trailer."""
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """Check the head. The common case is decided here, every other by `check_head`."""
        self.part = BODY
        self._saved = ()
        if len(self._fields) > MAX_FIELDS:
            self._stop(Refusal.HEADERS_TOO_LARGE)
        method = self._method = self._llhttp.get_method()  # type: ignore[union-attr]
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
        body = self._body
        self._event = Request(
            self._method,
            self._target,
            self._version,
            self._saved,
            body if type(body) is bytes else bytes(body),
            self._llhttp.should_keep_alive(),  # type: ignore[union-attr]
            self._lane,
            self._signature,
        )
        self._body = self._head = self._tail = self._target = b""
        self._fields.clear()
        self.part = BETWEEN
        self._room = MAX_HEADER_BYTES
        self._raw_body = self._left = 0

    def _check(self, method: bytes) -> None:
        self._saved = tuple(self._fields)
        version = self._version = self._llhttp.get_http_version()  # type: ignore[union-attr]
        try:
            head = check_head(self._head + self._piece, method, self._target, version, self._fields)
        except Refused as refused:
            self._stop(refused.refusal)
        else:
            self._host = head.host
            self._left = head.length or 0
            if head.waits:
                self._event = CONTINUE
