"""The Tornado application: a handler for each app's path, and the refusals for everything else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tornado.web import Application, RequestHandler, stream_request_body

from appliance.edge.refusals import MAX_BODY_BYTES, Refusal
from appliance.edge.site import Counters, Mount, RefusalSampler, RequestWriter
from appliance.outcomes import Reply
from appliance.sidebar.protocols.base import BAD_SIGNATURE, Message

__all__ = ["Mount", "SidebarHandler", "make_application"]


def make_application(
    mounts: Sequence[Mount],
    request_log: RequestWriter,
    timer: Callable[[], float],
    counters: Counters,
    sample_refusal: RefusalSampler,
) -> Application:
    """Give the application that serves `mounts`. `timer` gives seconds for measuring."""
    shared: dict[str, Any] = {
        "request_log": request_log,
        "timer": timer,
        "counters": counters,
        "sample_refusal": sample_refusal,
    }
    paths = {mount.path: mount for mount in mounts}
    return Application(
        default_handler_class=SidebarHandler,
        default_handler_args={"paths": paths, **shared},
        log_function=lambda handler: None,  # the request line says it, without the query
    )


# Streaming keeps Tornado from parsing forms out of a body whose signature nobody has checked, and lets the size be
# refused before it was read.
@stream_request_body
class SidebarHandler(RequestHandler):
    """Answers every request: the reply is `SidebarApp.answer`'s or a refusal's, and its bytes come from the table."""

    SUPPORTED_METHODS = ("POST",)

    def initialize(
        self,
        paths: dict[str, Mount],
        request_log: RequestWriter,
        timer: Callable[[], float],
        counters: Counters,
        sample_refusal: RefusalSampler,
    ) -> None:
        """Take what every request of the application shares."""
        self._mount = paths.get(self.request.path)
        self._request_log = request_log
        self._timer = timer
        self._counters = counters
        self._sample_refusal = sample_refusal
        self._began = timer()
        self._body = bytearray()

    def set_default_headers(self) -> None:
        """Say nothing of the software, and keep every card out of caches."""
        self.clear_header("Server")
        self.set_header("Cache-Control", "no-store")

    def compute_etag(self) -> None:
        """Give none: an answer is never to be reused."""

    def prepare(self) -> None:
        """Refuse what the headers already decide."""
        if self._mount is None:
            self._send(Refusal.NOT_FOUND.reply)
        elif _too_long(self.request.headers.get("Content-Length", "")):
            self._send(Refusal.BODY_TOO_LARGE.reply)

    def data_received(self, chunk: bytes) -> None:
        """Collect the body, up to its limit."""
        if self._finished:
            return
        self._body += chunk
        if len(self._body) > MAX_BODY_BYTES:
            self._body.clear()
            self._send(Refusal.BODY_TOO_LARGE.reply)

    def post(self) -> None:
        """Answer a signed message."""
        if self._finished or self._mount is None:
            return
        signatures = self.request.headers.get_list(self._mount.signature_header)
        # Two are malformed: whoever checks the first and whoever checks the last would see different requests.
        signature = signatures[0].encode("latin-1", "replace") if len(signatures) == 1 else None
        self._message = Message(bytes(self._body), signature)
        self._send(self._mount.app.answer(self._message))

    def write_error(self, status_code: int, **_: Any) -> None:
        """Answer what Tornado itself refuses from the same table."""
        if status_code == 405:
            self._send(Refusal.BAD_METHOD.reply if self._mount else Refusal.NOT_FOUND.reply)
        elif status_code >= 500:
            self._send(Refusal.FAULT.reply)
        else:
            self._send(Refusal.BAD_REQUEST.reply)

    def _send(self, reply: Reply) -> None:
        self.set_status(reply.response.status)
        self.set_header("Content-Type", reply.response.content_type)
        for name, value in reply.response.headers:
            self.set_header(name, value)
        if reply.response.closes:
            self.set_header("Connection", "close")
        self._reply = reply
        self.finish(reply.response.body)

    def on_finish(self) -> None:
        """Write the request's line."""
        seconds = self._timer() - self._began
        name = self._mount.app.name if self._mount else ""
        self._request_log.write(self._reply, name, int(seconds * 1_000_000), self.request.remote_ip or "")
        self._counters.request(name, self._reply.outcome, self._reply.cache, seconds)
        if self._reply is BAD_SIGNATURE:
            self._sample_refusal(name, self._message)


def _too_long(content_length: str) -> bool:
    # What is no number is refused by Tornado as soon as it reads on.
    return content_length.isascii() and content_length.isdigit() and int(content_length[:20]) > MAX_BODY_BYTES
