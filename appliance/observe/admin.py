"""The admin pages: status, health and metrics, for this machine only."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.iostream import IOStream
from tornado.web import Application

from appliance.observe.exposition import CONTENT_TYPE
from appliance.observe.health import Health
from appliance.observe.local_page import LocalPage
from appliance.observe.logs import log
from appliance.observe.status import FOLDER

MAX_CONNECTIONS: Final = 100
PAUSE: Final = 1.0
"""Seconds without accepting, after there was no descriptor for a connection."""

_REFUSALS = {
    403: "Only localhost is answered here.",
    404: "There is nothing at this path.",
    405: "Only GET and HEAD are answered here.",
}

_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PARTS: Final = {
    name: (content_type, (FOLDER / name).read_bytes())  # now, while it is there; see observe/status.py
    for name, content_type in (
        ("status.css", "text/css; charset=utf-8"),
        ("status.js", "text/javascript; charset=utf-8"),
    )
}


class _Page(LocalPage):
    """What every page has in common: how it may be asked."""

    SUPPORTED_METHODS = ("GET", "HEAD")

    def write_error(self, status_code: int, **_: Any) -> None:
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        if status_code == 405:
            self.set_header("Allow", "GET, HEAD")
        self.finish(_REFUSALS.get(status_code, "This cannot be answered.") + "\n")

    def head(self) -> None:
        """Answer as GET does; Tornado leaves the body out."""
        self.get()


class HealthPage(_Page):
    """/healthz: 200, or 503 with the reasons."""

    def initialize(self, health: Callable[[], Health]) -> None:
        """Take what gives the health."""
        self._health = health

    def get(self) -> None:
        """Give the health as JSON."""
        health = self._health()
        self.set_status(503 if health.reasons else 200)
        self.set_header("Content-Type", "application/json")
        self.finish(msgspec.json.format(msgspec.json.encode(health)) + b"\n")


class MetricsPage(_Page):
    """/metrics: for Prometheus."""

    def initialize(self, metrics: Callable[[], bytes]) -> None:
        """Take what gives the text."""
        self._metrics = metrics

    def get(self) -> None:
        """Give the metrics as text."""
        self.set_header("Content-Type", CONTENT_TYPE)
        self.finish(self._metrics())


class StatusPage(_Page):
    """/: for people."""

    def initialize(self, status: Callable[[], bytes]) -> None:
        """Take what gives the page."""
        self._status = status

    def get(self) -> None:
        """Give the page, which may load its own style and script and nothing else."""
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Content-Security-Policy", _POLICY)
        self.finish(self._status())


class PartPage(_Page):
    """What the status page loads."""

    def initialize(self, content: bytes, content_type: str) -> None:
        """Take the content."""
        self._content = content
        self._content_type = content_type

    def get(self) -> None:
        """Give it."""
        self.set_header("Content-Type", self._content_type)
        self.finish(self._content)


class NoPage(_Page):
    """Everything else."""

    def get(self) -> None:
        """Refuse."""
        self.send_error(404)


class _Listening(socket.socket):
    """A listening socket for Tornado, which accepts again and again until it would block."""

    told = False

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a client; while there is no descriptor or no memory for one, try once each PAUSE."""
        try:
            accepted = super().accept()
        except (BlockingIOError, ConnectionAbortedError):
            raise
        except OSError as error:
            if not self.told:
                log.error("admin_pages_wait", why=error.strerror)
            self.told = True
            loop = IOLoop.current()
            loop.update_handler(self, 0)
            loop.call_later(PAUSE, loop.update_handler, self, IOLoop.READ)
            raise BlockingIOError from error
        self.told = False
        return accepted


class AdminServer(HTTPServer):
    """Serves the pages over MAX_CONNECTIONS at once, and closes any more.

    At the descriptor limit no import could open its files; any user of this machine could lead it there. Should it get
    there in another way, it tries to accept once a second: Tornado's own way would spin, and log each turn.
    """

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Accept on sockets, which listen already; they are this server's from now on."""
        super().add_sockets(_Listening(fileno=one.detach()) for one in sockets)

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        """Take a connection."""
        if len(self._connections) < MAX_CONNECTIONS:
            super().handle_stream(stream, address)
        else:
            stream.close()


def make_application(
    health: Callable[[], Health], metrics: Callable[[], bytes], status: Callable[[], bytes]
) -> Application:
    """Give the application of the admin pages."""
    parts = [
        (f"/{name}", PartPage, {"content": content, "content_type": content_type})
        for name, (content_type, content) in _PARTS.items()
    ]
    return Application(
        [
            ("/", StatusPage, {"status": status}),
            ("/healthz", HealthPage, {"health": health}),
            ("/metrics", MetricsPage, {"metrics": metrics}),
            *parts,
        ],
        default_handler_class=NoPage,
        log_function=lambda handler: None,
    )
