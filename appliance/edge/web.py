"""The Tornado application: a route for each app's path, and a refusal for every other."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from tornado.web import Application, HTTPError, RequestHandler, stream_request_body

from appliance.edge.http_rules import content_encoding
from appliance.edge.refusals import MAX_BODY_BYTES, Refusal
from appliance.edge.site import Counters, Mount, RefusalSampler, RequestWriter
from appliance.observe.logs import describe, log
from appliance.outcomes import Reply
from appliance.sidebar.protocols.base import BAD_PAYLOAD, BAD_SIGNATURE, Message


def make_application(
    mounts: Sequence[Mount],
    request_log: RequestWriter,
    timer: Callable[[], float],
    counters: Counters,
    sample_refusal: RefusalSampler,
) -> Application:
    """Return the application that serves `mounts`. `timer` returns seconds for measuring."""
    shared: dict[str, Any] = {"request_log": request_log, "timer": timer, "counters": counters}
    return Application(
        [
            (re.escape(mount.path), SidebarHandler, {"mount": mount, "sample_refusal": sample_refusal, **shared})
            for mount in mounts
        ],
        default_handler_class=NotFoundHandler,
        default_handler_args=shared,
        log_function=lambda handler: None,  # the request log has it, without the query
    )


class ReplyHandler(RequestHandler):
    """A handler whose responses are Replies: each is encoded, logged and counted as on the fast path."""

    SUPPORTED_METHODS = ("POST",)
    app_name = ""
    wrong_method = Refusal.BAD_METHOD

    def initialize(self, request_log: RequestWriter, timer: Callable[[], float], counters: Counters) -> None:
        """Set what every request of the application shares."""
        self._request_log = request_log
        self._timer = timer
        self._counters = counters
        self._began = timer()

    def set_default_headers(self) -> None:
        """Do not name the software, and keep every card out of caches."""
        self.clear_header("Server")
        self.set_header("Cache-Control", "no-store")

    def compute_etag(self) -> None:
        """Return none: a response is never to be reused."""

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
        response = reply.response
        self.set_status(response.status)
        self.set_header("Content-Type", response.content_type)
        for name, value in response.headers:
            self.set_header(name, value)
        if response.closes:
            self.set_header("Connection", "close")
        self._reply = reply
        self.finish(response.body)

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

    def prepare(self) -> None:
        """Refuse a body that is too large before it is read."""
        length = self.request.headers.get("Content-Length", "")
        # Tornado refuses what is not a number as soon as it reads on.
        if length.isascii() and length.isdigit() and int(length[:20]) > MAX_BODY_BYTES:
            self.send(Refusal.BODY_TOO_LARGE.reply)

    def data_received(self, chunk: bytes) -> None:
        """Collect the body, up to its limit."""
        if self._finished:
            return
        self._body += chunk
        if len(self._body) > MAX_BODY_BYTES:
            self._body.clear()
            self.send(Refusal.BODY_TOO_LARGE.reply)

    def post(self) -> None:
        """Answer a signed message."""
        if self._finished:
            return
        signatures = self.request.headers.get_list(self._mount.signature_header)
        # Two are malformed: whoever checks the first and whoever checks the last would see different requests.
        signature = signatures[0].encode("latin-1", "replace") if len(signatures) == 1 else None
        encodings = self.request.headers.get_list("Content-Encoding")
        fields = [(b"content-encoding", value.encode("latin-1", "replace")) for value in encodings]
        message = Message(bytes(self._body), signature, content_encoding(fields))
        reply = self._mount.app.answer(message)
        self.send(reply)
        if reply is BAD_SIGNATURE or (reply is BAD_PAYLOAD and message.encoding):
            self._sample_refusal(self.app_name, message)


@stream_request_body
class NotFoundHandler(ReplyHandler):
    """Refuses what has no route, whatever its method is."""

    wrong_method = Refusal.NOT_FOUND

    def prepare(self) -> None:
        """Refuse it."""
        self.send(Refusal.NOT_FOUND.reply)

    def data_received(self, chunk: bytes) -> None:
        """Discard the body."""
