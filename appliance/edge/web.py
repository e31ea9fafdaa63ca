"""The Tornado application: a route for each app's path, and a refusal for every other."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, cast

from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.routing import Matcher, PathMatches
from tornado.web import Application, HTTPError, RequestHandler, stream_request_body

from appliance.edge.http_rules import content_encoding
from appliance.edge.refusals import Refusal
from appliance.edge.site import Counters, Mount, RefusalSampler, RequestWriter
from appliance.edge.tornado_adapter import TornadoConnectionAdapter
from appliance.observe.logs import describe, log
from appliance.outcomes import Reply
from appliance.sidebar.protocols.base import BAD_PAYLOAD, BAD_SIGNATURE, HelpDesk, Message
from appliance.sidebar.protocols.helpscout_webhook import EVENT, NOT_STORED, NOTED, OVERSIZED, SIGNATURE, StoreChange
from appliance.sidebar.protocols.query_signed import Visit

# The name of an event is in a header that is not signed.
_NOT_IN_EVENTS: Final = re.compile(r"[^a-z.-]")
_MAX_EVENT: Final = 40

AskAbout = Callable[[int], Awaitable[bool]]
"""Asks about an id, for a few seconds at most; returns whether something is known of it now."""


def make_application(
    mounts: Sequence[Mount],
    request_log: RequestWriter,
    timer: Callable[[], float],
    counters: Counters,
    sample_refusal: RefusalSampler,
    store_change: StoreChange | None = None,
    clock: Callable[[], float] = time.time,
    ask_about: AskAbout | None = None,
) -> Application:
    """Return the application that serves `mounts`. `timer` returns seconds for measuring.

    `store_change` stores what webhooks say; without it nothing can be. `clock` returns seconds since 1970. `ask_about`
    asks somebody else about an id that a page does not know; without it nobody is asked.
    """
    shared: dict[str, Any] = {"request_log": request_log, "timer": timer, "counters": counters}

    def routes(mount: Mount) -> list[tuple[Matcher, type[RequestHandler], dict[str, Any]]]:
        given = {"mount": mount, "sample_refusal": sample_refusal, **shared}
        path = re.escape(mount.path)
        if len(mount.app.protocols) == 1:
            return [(PathMatches(path), SidebarHandler, given)]
        return [
            (VisitMatches(path), VisitHandler, {"ask_about": ask_about, **given}),
            (PathMatches(path), WebhookHandler, {"store_change": store_change, "clock": clock, **given}),
        ]

    return Application(
        [route for mount in mounts for route in routes(mount)],
        default_handler_class=NotFoundHandler,
        default_handler_args=shared,
        log_function=lambda handler: None,  # the request log has it, without the query
    )


class VisitMatches(PathMatches):
    """Matches a visit by a browser."""

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """Return the parameters of a GET or HEAD for the path, of which there are none; None: it is not one."""
        return super().match(request) if request.method in VisitHandler.SUPPORTED_METHODS else None


class ReplyHandler(RequestHandler):
    """A handler whose responses are Replies: each is encoded, logged and counted as on the fast path."""

    SUPPORTED_METHODS: tuple[str, ...] = ("POST",)
    app_name = ""
    wrong_method = Refusal.BAD_METHOD

    def initialize(self, request_log: RequestWriter, timer: Callable[[], float], counters: Counters) -> None:
        """Set what every request of the application shares."""
        self._request_log = request_log
        self._timer = timer
        self._counters = counters
        self._began = timer()

    @property
    def _connection(self) -> TornadoConnectionAdapter:
        return cast(TornadoConnectionAdapter, self.request.connection)

    def clear(self) -> None:
        """Begin without the fields that Tornado makes and formats for each response, 7 us, and that are never sent.

        These are the attributes that Tornado's own sets, which a test compares.
        """
        self._headers = HTTPHeaders()
        self._headers["Content-Length"] = "0"  # or `finish` makes it
        self._write_buffer: list[bytes] = []
        self._status_code = 200
        self._reason = "OK"

    def flush(self, include_footers: bool = False) -> asyncio.Future[None]:
        """Write nothing: the connection encodes the Reply."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        written.set_result(None)
        return written

    def set_etag_header(self) -> None:
        """Set none: a response is never to be reused."""

    def check_etag_header(self) -> bool:
        """Look for none."""
        return False

    def write_error(self, status_code: int, **_: Any) -> None:
        """Send the refusal for what Tornado itself refuses."""
        if status_code == 405:
            self.send(self.wrong_method.reply)
        elif status_code >= 500:
            self.send(Refusal.INTERNAL_ERROR.reply)
        else:
            self.send(Refusal.BAD_REQUEST.reply)

    def log_exception(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        """Log a bug of our own as the fast path does."""
        if isinstance(error, HTTPError):
            super().log_exception(kind, error, trace)
        else:
            log.error("request_fault", **describe(error))

    def send(self, reply: Reply) -> None:
        """Finish the request with this reply."""
        self._connection.response = reply.response
        self._reply = reply
        self.finish()

    def on_finish(self) -> None:
        """Log and count the request."""
        seconds = self._timer() - self._began
        reply = self._reply
        self._request_log.write(reply, self.app_name, int(seconds * 1_000_000), self.request.remote_ip or "")
        self._counters.request(self.app_name, reply.outcome, reply.cache, seconds)


# Streaming keeps Tornado from parsing forms out of a body whose signature nobody has checked.
@stream_request_body
class SidebarHandler(ReplyHandler):
    """Answers the POSTs to an app's path that the fast path does not take."""

    def initialize(  # type: ignore[override]
        self, mount: Mount, sample_refusal: RefusalSampler, **shared: Any
    ) -> None:
        """Set the app of this path."""
        super().initialize(**shared)
        self._mount = mount
        self._sample_refusal = sample_refusal
        self.app_name = mount.app.name
        self._body = bytearray()

    def data_received(self, chunk: bytes) -> None:
        """Collect the body. Its limit was kept while it came (body.py)."""
        self._body += chunk

    def _only_field(self, name: str) -> bytes | None:
        """Return the value of a header field; None if there is none, or two.

        Two are malformed: whoever checks the first and whoever checks the last would see different requests.
        """
        values = self.request.headers.get_list(name)
        return values[0].encode("latin-1", "replace") if len(values) == 1 else None

    def post(self) -> None:
        """Answer a signed message."""
        signature = self._only_field(self._mount.signature_header)
        encodings = self.request.headers.get_list("Content-Encoding")
        fields = [(b"content-encoding", value.encode("latin-1", "replace")) for value in encodings]
        message = Message(bytes(self._body), signature, content_encoding(fields))
        reply = self._mount.app.answer(message)
        self.send(reply)
        if reply is BAD_SIGNATURE or (reply is BAD_PAYLOAD and message.encoding):
            self._sample_refusal(self.app_name, message)


class WebhookHandler(SidebarHandler):
    """Answers the same POSTs, webhooks among them, of an app that has a page at its path."""

    wrong_method = Refusal.BAD_PAGE_METHOD

    def initialize(  # type: ignore[override]
        self, store_change: StoreChange | None, clock: Callable[[], float], **shared: Any
    ) -> None:
        """Set the app of this path."""
        super().initialize(**shared)
        self._store_change = store_change
        self._clock = clock

    async def post(self) -> None:  # type: ignore[override]
        """Answer a signed message, or a webhook: that one once what it says is on the disk."""
        webhook, event = self._mount.webhook, self._only_field(EVENT)
        if webhook is None or EVENT not in self.request.headers:
            super().post()
            return
        message = Message(bytes(self._body), self._only_field(SIGNATURE))
        check = self._connection.check
        if check is not None:
            self._answer_oversized(webhook.read_oversized(check, message), check.size)
            return
        said = webhook.read((event or b"").decode("latin-1"), message, self._clock())
        if not isinstance(said, Reply):
            is_stored = self._store_change is not None and await self._store_change(said)
            said = NOTED if is_stored else NOT_STORED
        self.send(said)
        if said is BAD_SIGNATURE:
            self._sample_refusal(self.app_name, message, webhook)

    def _answer_oversized(self, reply: Reply, size: int) -> None:
        """Answer an event whose body was not held. There is nothing to find out about a wrong signature."""
        self.send(reply)
        if reply is OVERSIZED:
            event = _NOT_IN_EVENTS.sub("?", self.request.headers[EVENT])[:_MAX_EVENT]
            log.warning("webhook_oversized", app=self.app_name, webhook=event, bytes=size)


class VisitHandler(ReplyHandler):
    """Answers visits of an app that has a page. It takes no body, which means nothing in them (RFC 9110, 9.3.1)."""

    SUPPORTED_METHODS = ("GET", "HEAD")

    def initialize(  # type: ignore[override]
        self, mount: Mount, sample_refusal: RefusalSampler, ask_about: AskAbout | None, **shared: Any
    ) -> None:
        """Set the app of this path."""
        super().initialize(**shared)
        self._mount = mount
        self._sample_refusal = sample_refusal
        self._ask_about = ask_about
        self.app_name = mount.app.name

    def get(self) -> Awaitable[None] | None:
        """Answer a visit; one that waits for nobody is answered at once, without a coroutine."""
        request = self.request
        protocol = next(one for one in self._mount.app.protocols if request.method in one.methods)
        destinations = request.headers.get_list("Sec-Fetch-Dest")
        visit = Visit(
            self._connection.query,
            request.remote_ip or "",
            ", ".join(destinations) if destinations else None,
        )
        reply = self._mount.app.answer(visit, protocol)
        if reply.unknown_id is not None and self._ask_about is not None:
            return self._ask(self._ask_about(reply.unknown_id), reply, visit, protocol)
        self.send(reply)
        if reply is BAD_SIGNATURE:
            self._sample_refusal(self.app_name, visit, protocol)
        return None

    async def _ask(self, answer: Awaitable[bool], reply: Reply, visit: Visit, protocol: HelpDesk) -> None:
        """Answer a visit once somebody was asked about its id: as before, unless something is known now."""
        self.send(self._mount.app.answer(visit, protocol) if await answer else reply)

    head = get


@stream_request_body
class NotFoundHandler(ReplyHandler):
    """Refuses what has no route, whatever its method is."""

    wrong_method = Refusal.NOT_FOUND

    def prepare(self) -> None:
        """Refuse it."""
        self.send(Refusal.NOT_FOUND.reply)

    def data_received(self, chunk: bytes) -> None:
        """Discard the body."""
