"""From bytes to requests: llhttp's callbacks, and the rules on top of it. No transport, no loop, no clock.

llhttp parses all that it is fed, and does not tell where a request began or how it was spelled. So it is fed in slices
that end where a request may end:

    part      a slice ends                                              and leads to
    BETWEEN   behind the first empty line                               BETWEEN (only empty lines came), or as HEAD
    HEAD      behind the first empty line                               BODY, or BETWEEN with a request that has no body
    BODY      behind the last byte that Content-Length announces, or,   BETWEEN, with a request
              in a chunked body, behind the next empty line
    ENDED     -                                                         ENDED: after a refusal nothing is parsed

So a request begins with a slice and ends with one: its line can be compared in place, and no byte behind a request is
parsed before the next one is asked for. A slice that ends too early (at an empty line within a chunk, or where the
turn's share ends) does no harm, for only llhttp decides what the bytes mean.

Nearly every read is one signed POST that differs from the one before it by its signature and its length alone. Once
such a POST has come in one read, and nothing with it, further ones are recognised by their head (known_head.py), and
llhttp does not see them. After the first read that is not recognised, this client's requests are always parsed. A read
of more than a turn's share is parsed, too, but forgets nothing.
"""

from __future__ import annotations

import enum
from typing import Final

import httptools

from appliance.edge.body import Body, WebhookBody
from appliance.edge.http_rules import (
    CONTENT_LENGTH_DIGITS,
    WATCHED,
    HttpRefused,
    check_head,
    content_encoding,
)
from appliance.edge.known_head import KnownHead, learn
from appliance.edge.refusals import (
    MAX_BODY_BYTES,
    MAX_FIELDS,
    MAX_HEADER_BYTES,
    MESSAGE_LIMIT,
    WEBHOOK_LIMIT,
    Refusal,
)
from appliance.edge.requests import CONTINUE, Event, Request, SignedPost
from appliance.edge.routes import Route, find_webhook

MAX_FRAMING_BYTES: Final = 3 * MAX_BODY_BYTES
"""How many bytes of chunk sizes, extensions and trailers a body may have, beside its limit."""

BYTES_PER_TURN: Final = 4 * 1024
"""How many bytes of a connection are parsed in one turn of the loop. Chunks of one byte cost most: 0.1 us a byte."""

_EMPTY_LINE: Final = b"\r\n\r\n"
_NEVER: Final = b"\0"
"""What no Host is."""


class Part(enum.Enum):
    """Where in a request the next byte belongs."""

    BETWEEN = "between two requests"
    HEAD = "in the head"
    BODY = "in the body"
    ENDED = "nowhere: the connection ends"


BETWEEN, HEAD, BODY, ENDED = Part  # Part.BODY takes 0.1 us with Python 3.11


class _Stopped(Exception):
    """Stops llhttp: the request is refused."""


class RequestParser:
    """Parses the requests of one connection, one at a time."""

    __slots__ = (
        "_body",
        "_encoding",
        "_event",
        "_fields",
        "_head",
        "_header_budget",
        "_host",
        "_is_common",
        "_is_webhook",
        "_known_head",
        "_known_route",
        "_left",
        "_length",
        "_llhttp",
        "_may_learn",
        "_message",
        "_method",
        "_raw_body",
        "_route",
        "_routes",
        "_saved",
        "_signature",
        "_slice",
        "_tail",
        "_target",
        "_version",
        "kept",
        "part",
    )

    def __init__(self, routes: dict[bytes, Route]) -> None:
        """`routes` are those of the fast path, by their paths."""
        self._routes = routes
        self.part = BETWEEN
        self._llhttp: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._event: Event = None  # what the slice led to
        self._known_head: KnownHead | None = None
        self._known_route: Route | None = None  # where requests with that head go
        self._may_learn = True  # no head has been known yet
        self._is_common = False  # this head was right without a look by `check_head`
        self.kept = b""  # what was received and is not parsed yet
        self._slice = b""  # what is being parsed
        self._head = b""  # what was parsed of this head before this slice
        self._tail = b""  # the last bytes of what was parsed of this chunked body before this slice
        self._header_budget = MAX_HEADER_BYTES  # how many more bytes the header block may have
        self._length = b""  # the value of Content-Length
        self._left = 0  # how many bytes of the body are still to come; 0 if it is chunked
        self._raw_body = 0  # bytes of the body and its framing
        self._host = _NEVER  # the last Host that was checked and is not empty, as it may be with HTTP/1.0
        self._method = b""
        self._target = b""
        self._version = "1.1"
        self._fields: list[tuple[bytes, bytes]] = []
        self._saved: tuple[tuple[bytes, bytes], ...] = ()
        self._encoding = ""
        self._is_webhook = False
        self._message = self._body = Body()  # one body for all messages, which come one at a time
        self._route: Route | None = None
        self._signature: bytes | None = None

    @property
    def begun(self) -> bool:
        """Whether a request has begun and is not complete."""
        return self.part is HEAD or self.part is BODY

    @property
    def app(self) -> str:
        """The name of the app that the request with this body is for, "" outside a body or for none."""
        return self._route.name if self._route is not None and self.part is BODY else ""

    @property
    def head_only(self) -> bool:
        """Whether the request that has begun is a HEAD, whose response has no body."""
        return bool(self._target) and self._llhttp is not None and self._llhttp.get_method() == b"HEAD"

    def keep(self, data: bytes) -> None:
        """Keep bytes for later."""
        if self.part is not ENDED:
            self.kept += data

    def end(self) -> None:
        """Parse nothing more. This also breaks the cycle of llhttp and its callbacks."""
        self.part = ENDED
        self._llhttp = None
        self.kept = self._head = self._tail = self._slice = b""
        self._body = self._message
        self._body.take()
        self._fields.clear()

    def feed(self, data: bytes) -> Event:
        """Parse what was kept and `data`, up to the first event or BYTES_PER_TURN bytes, and keep the rest.

        Return the event: a complete request, the refusal of one, or CONTINUE; None if there is none yet.
        """
        if self.kept:
            data = self.kept + data
            self.kept = b""
        begins = self.part is BETWEEN
        if self._known_head is not None and begins and len(data) <= BYTES_PER_TURN:
            known = self._known_head.split(data)
            if known is not None:
                return SignedPost(self._known_route, known[1], known[0], "1.1", True)  # type: ignore[arg-type]
            self._known_head = None
        event = self._feed_slices(data)
        if self._may_learn and begins and type(event) is SignedPost and self._is_common:
            self._may_learn = False
            if event.keeps and event.signature is not None:
                self._known_head, self._known_route = learn(data, event.signature), event.route
        return event

    def _feed_slices(self, data: bytes) -> Event:
        llhttp, event = self._llhttp, None
        if llhttp is None:
            return None
        at, size = 0, len(data)
        share = size if size < BYTES_PER_TURN else BYTES_PER_TURN
        while at < share:
            before = self.part
            end = at + self._left if before is BODY and self._left > 0 else self._end_of_slice(data, at)
            fed = self._slice = data[at : end if end < share else share]
            at += len(fed)
            try:
                llhttp.feed_data(fed)
            except httptools.HttpParserError as error:
                return self._stopped(error)
            event = self._event
            if event is not None:
                self._event = None
                break
            if (before is BODY or self.part is not BODY) and (event := self._count(fed)) is not None:
                break
        if type(event) is not Refusal:
            self.kept = data[at:]
            if self.part is BETWEEN and event is not None:
                self._head = self._tail = b""
                self._header_budget = MAX_HEADER_BYTES
                self._raw_body = self._left = 0
        return event

    def _end_of_slice(self, data: bytes, begin: int) -> int:
        before = self._tail if self.part is BODY else self._head
        if before:
            # The empty line may have begun in the slices before this one.
            before = before[-3:]
            joint = (before + data[begin : begin + 3]).find(_EMPTY_LINE)
            if joint >= 0:
                return begin + joint + len(_EMPTY_LINE) - len(before)
        end = data.find(_EMPTY_LINE, begin) + len(_EMPTY_LINE)
        if end < len(_EMPTY_LINE):
            end = len(data)
        # Header bytes are counted here, because an endless field leads to no callback.
        return end if self.part is BODY or end <= begin + self._header_budget else begin + self._header_budget

    def _count(self, data: bytes) -> Refusal | None:
        """Count a slice after which the head, or the body, is not complete."""
        if self.part is BODY:
            self._fields.clear()  # trailers, which are ignored
            self._raw_body += len(data)
            if self._left > 0:
                self._left -= len(data)
            else:
                self._tail = (self._tail + data)[-3:]
            limit = self._body.limit
            return limit.refusal if self._raw_body > limit.size + MAX_FRAMING_BYTES else None
        self._header_budget -= len(data)
        if self.part is HEAD:
            self._head += data
        return Refusal.HEADERS_TOO_LARGE if self._header_budget <= 0 or len(self._fields) > MAX_FIELDS else None

    def _stopped(self, error: httptools.HttpParserError) -> Refusal:
        event, self._event = self._event, None
        if isinstance(event, Refusal):
            return event
        if isinstance(error, httptools.HttpParserCallbackError):
            raise error.__context__ or error  # a bug of our own
        return Refusal.BAD_REQUEST

    def _stop(self, refusal: Refusal) -> None:
        self._event = refusal
        raise _Stopped

    # What llhttp calls.

    def on_message_begin(self) -> None:
        """Begin a request."""
        if self._event is not None:
            raise RuntimeError("two requests in one slice")
        self.part = HEAD

    def on_url(self, target: bytes) -> None:
        """Collect the target, or a part of it."""
        self._target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header field, or a trailer."""
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """Check the head. The common case is decided here, every other by `check_head`."""
        self.part = BODY
        if len(self._fields) > MAX_FIELDS:
            self._stop(Refusal.HEADERS_TOO_LARGE)
        self._saved = ()
        self._encoding = ""
        self._is_webhook = False
        method = self._method = self._llhttp.get_method()  # type: ignore[union-attr]
        route = self._route = self._routes.get(self._target) if method == b"POST" else None
        self._is_common = (
            route is not None
            and self._note_fields(route)
            and not self._head
            and self._slice.startswith(route.request_line)
        )
        if not self._is_common:
            self._check(method)
            return
        self._version = "1.1"
        self._left = int(self._length or b"0")

    def _note_fields(self, route: Route) -> bool:
        """Note the fields that `route` needs; return whether the head is right without a look by `check_head`."""
        signature_name, event_name = route.signature_name, route.event_name
        signature = host = None
        length = b""
        plain = True
        for spelling, value in self._fields:
            name = spelling.lower()
            if name == signature_name:
                # Two are malformed: whoever checks the first and whoever the last would see different requests.
                signature = value if signature is None else b""
            elif name == event_name:
                plain = False
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
        """Collect a part of the body."""
        if not self._body.add(data):
            self._stop(self._body.limit.refusal)

    def on_message_complete(self) -> None:
        """Note that a request is complete."""
        body, check = self._body.take(), self._body.check
        self._body = self._message
        keeps = self._llhttp.should_keep_alive()  # type: ignore[union-attr]
        route = self._route
        if route is not None and not self._is_webhook:
            self._event = SignedPost(route, body, self._signature, self._version, keeps, self._encoding)
        else:
            self._event = Request(self._method, self._target, self._version, self._saved, body, keeps, check)
        self._target = b""
        self._fields.clear()
        self.part = BETWEEN

    def _check(self, method: bytes) -> None:
        self._saved = tuple(self._fields)
        version = self._version = self._llhttp.get_http_version()  # type: ignore[union-attr]
        webhook = find_webhook(self._routes, method, self._target, self._fields)
        limit = MESSAGE_LIMIT if webhook is None else WEBHOOK_LIMIT
        try:
            head = check_head(self._head + self._slice, method, self._target, version, self._fields, limit)
        except HttpRefused as refused:
            self._stop(refused.refusal)
        else:
            self._encoding = content_encoding(self._saved)
            self._host = head.host or _NEVER
            self._left = head.length or 0
            if webhook is not None and webhook.begin_check is not None:
                # It waits for the disk: the application answers it.
                self._route, self._is_webhook = webhook, True
                self._body = WebhookBody(webhook.begin_check, head.length)
            if head.waits:
                self._event = CONTINUE
