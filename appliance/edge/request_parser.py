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

Nearly every read is one signed POST to the same path as the one before it. A read that begins with the same request
line as that one is therefore fed at once. Should it turn out to be anything but such a POST or the beginning of one (a
second request behind it, another Host, a chunked body, an error), then llhttp's state is discarded, the read is parsed
again in pieces, and so is everything that this client sends later: a client has one read parsed twice, not each.
"""

from __future__ import annotations

import enum
from typing import Final

import httptools
import msgspec

from appliance.edge.http_rules import CONTENT_LENGTH_DIGITS, WATCHED, Fields, Refused, check_head
from appliance.edge.state import Lane
from appliance.sidebar.reply import MAX_BODY_BYTES, MAX_FIELDS, MAX_HEADER_BYTES, Refusal

# Framing may be larger than what it frames: chunk sizes, extensions and trailers count against this.
MAX_RAW_BODY_BYTES: Final = 4 * MAX_BODY_BYTES

SHARE: Final = 4 * 1024
"""How many bytes are parsed in one go. The dearest, chunks of one byte each, take 0.1 us a byte."""

_EMPTY_LINE: Final = b"\r\n\r\n"
_NEVER: Final = b"\0"
"""No request begins with it."""


class Part(enum.Enum):
    """Where in a request the next byte belongs."""

    BETWEEN = "between two requests"
    HEAD = "in the head"
    BODY = "in the body"
    ENDED = "nowhere"


BETWEEN, HEAD, BODY, ENDED = Part  # Part.BODY takes 0.1 us with Python 3.11


class Request(msgspec.Struct, frozen=True, gc=False):
    """A request that has arrived whole, for the application. `keeps` if the connection may persist after it."""

    method: bytes
    target: bytes
    version: str
    fields: Fields
    body: bytes
    keeps: bool


class SignedPost(msgspec.Struct, frozen=True, gc=False):
    """A request that has arrived whole, for the app of `lane`. `signature` is what the header holds that names it."""

    lane: Lane
    body: bytes
    signature: bytes | None
    version: str
    keeps: bool


class Continue(enum.Enum):
    """The head is complete, and the client waits for "100 Continue" before it sends the body."""

    CONTINUE = enum.auto()


CONTINUE: Final = Continue.CONTINUE
Event = Request | SignedPost | Refusal | Continue | None


class _Ended(Exception):
    """Stops llhttp: the request is refused, or what was fed at once must be fed in pieces."""


class RequestParser:
    """Parses the requests of one connection, one at a time."""

    __slots__ = (
        "_at_once",
        "_body",
        "_event",
        "_expected",
        "_fields",
        "_head",
        "_host",
        "_lane",
        "_lanes",
        "_left",
        "_length",
        "_llhttp",
        "_may_expect",
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
        self._at_once = False  # the piece is a whole read
        self._expected = _NEVER  # the request line that a read must begin with to be fed at once
        self._may_expect = True  # every read that was fed at once was one request, or the beginning of one
        self.kept = b""  # what came and is not parsed yet
        self._piece = b""  # what is being parsed
        self._head = b""  # what was parsed of this head before
        self._tail = b""  # the last bytes of what was parsed of this chunked body before
        self._room = MAX_HEADER_BYTES  # how many more bytes the header block may have
        self._length = b""  # Content-Length of a request that was fed at once
        self._left = 0  # how many bytes of the body are still to come; 0: it is chunked
        self._raw_body = 0
        self._host = _NEVER  # the last Host that was checked, unless it is empty, as one with HTTP/1.0 may be
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
        if self.part is BETWEEN and data.startswith(self._expected) and len(data) <= SHARE:
            self._at_once = True
            try:
                self._llhttp.feed_data(data)  # type: ignore[union-attr]
            except httptools.HttpParserError:
                self._discard()
            else:
                event = self._event
                if event is None:
                    return self._count_beginning(data)
                self._event = None
                return event
        return self._feed_pieces(data)

    def _count_beginning(self, data: bytes) -> Refusal | None:
        """Count a read that was fed at once and holds no whole request."""
        if self.part is BODY:
            self._left = int(self._length or b"0")
            data = data[data.find(_EMPTY_LINE) + len(_EMPTY_LINE) :]
        return self._count(data)

    def _discard(self) -> None:
        """Discard what came of a read that was fed at once."""
        self._llhttp = httptools.HttpRequestParser(self)
        self._may_expect = False
        self._event = None
        self._body = self._target = b""
        self._fields.clear()
        self.part = BETWEEN

    def _feed_pieces(self, data: bytes) -> Event:
        llhttp, event = self._llhttp, None
        if llhttp is None:
            return None
        self._at_once = False
        at, size = 0, len(data)
        share = size if size < SHARE else SHARE
        while at < share:
            before = self.part
            end = at + self._left if before is BODY and self._left > 0 else self._end_of_piece(data, at)
            piece = self._piece = data[at : end if end < share else share]
            at += len(piece)
            try:
                llhttp.feed_data(piece)
            except httptools.HttpParserError as error:
                return self._stopped(error)
            event = self._event
            if event is not None:
                self._event = None
                break
            if (before is BODY or self.part is not BODY) and (event := self._count(piece)) is not None:
                break
        if type(event) is not Refusal:
            self.kept = data[at:]
            if self.part is BETWEEN and event is not None:
                self._head = self._tail = b""
                self._room = MAX_HEADER_BYTES
                self._raw_body = self._left = 0
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
        self._expected = _NEVER
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
            raise _Ended if self._at_once else RuntimeError("two requests in one piece")
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
        if len(self._fields) > MAX_FIELDS:
            self._stop(Refusal.HEADERS_TOO_LARGE)
        if self._at_once:
            if not self._is_common(self._lane):  # type: ignore[arg-type]
                raise _Ended
            return
        self._saved = ()
        self._expected = _NEVER
        method = self._method = self._llhttp.get_method()  # type: ignore[union-attr]
        lane = self._lane = self._lanes.get(self._target) if method == b"POST" else None
        if lane is None or not self._is_common(lane) or self._head or not self._piece.startswith(lane.line):
            self._check(method)
            return
        self._version = "1.1"
        self._left = int(self._length or b"0")
        if self._may_expect:
            self._expected = lane.line

    def _is_common(self, lane: Lane) -> bool:
        """Take what the app of `lane` needs; return whether the fields can be relied on without `check_head`."""
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
        self._length = length
        return plain and host == self._host and len(length) < CONTENT_LENGTH_DIGITS

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
        if type(body) is not bytes:
            body = bytes(body)
        keeps = self._llhttp.should_keep_alive()  # type: ignore[union-attr]
        lane = self._lane
        if lane is not None:
            self._event = SignedPost(lane, body, self._signature, self._version, keeps)
        else:
            self._event = Request(self._method, self._target, self._version, self._saved, body, keeps)
        self._body = self._target = b""
        self._fields.clear()
        self.part = BETWEEN

    def _check(self, method: bytes) -> None:
        self._saved = tuple(self._fields)
        version = self._version = self._llhttp.get_http_version()  # type: ignore[union-attr]
        try:
            head = check_head(self._head + self._piece, method, self._target, version, self._fields)
        except Refused as refused:
            self._stop(refused.refusal)
        else:
            self._host = head.host or _NEVER
            self._left = head.length or 0
            if head.waits:
                self._event = CONTINUE
