"""The admin pages: status, health and metrics, for clients on this machine only."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.iostream import IOStream
from tornado.web import Application

from appliance.observe.health import Health
from appliance.observe.local_page import LocalPage
from appliance.observe.logs import log
from appliance.observe.status_page import FOLDER

MAX_CONNECTIONS: Final = 100
PAUSE: Final = 1.0
"""Seconds until the next try to accept, after there was no descriptor for a connection."""

_REFUSALS = {
    403: "These pages are for localhost only.",
    404: "There is nothing at this path.",
    405: "Only GET and HEAD are supported.",
}

_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_ASSETS: Final = {
    name: (content_type, (FOLDER / name).read_bytes())  # at import, see observe/status_page.py
    for name, content_type in (
        ("status.css", "text/css; charset=utf-8"),
        ("status.js", "text/javascript; charset=utf-8"),
    )
}


class _AdminPage(LocalPage):
    """What all pages have in common: the methods and the errors."""

    SUPPORTED_METHODS = ("GET", "HEAD")

    def write_error(self, status_code: int, **_: Any) -> None:
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        if status_code == 405:
            self.set_header("Allow", "GET, HEAD")
        self.finish(_REFUSALS.get(status_code, "The request failed.") + "\n")

    def head(self) -> None:
        """Respond as to GET; Tornado leaves the body out."""
        self.get()


class HealthPage(_AdminPage):
    """/healthz: 200, or 503 with the reasons."""

    def initialize(self, health: Callable[[], Health]) -> None:
        """Set the function that returns the health."""
        self._health = health

    def get(self) -> None:
        """Send the health as JSON."""
        health = self._health()
        self.set_status(503 if health.reasons else 200)
        self.set_header("Content-Type", "application/json")
        self.finish(msgspec.json.format(msgspec.json.encode(health)) + b"\n")


class MetricsPage(_AdminPage):
    """/metrics: for Prometheus."""

    def initialize(self, metrics: Callable[[], bytes]) -> None:
        """Set the function that returns the text."""
        self._metrics = metrics

    def get(self) -> None:
        """Send the metrics as text."""
        from appliance.observe.exposition import CONTENT_TYPE  # as in Steward.metrics

        self.set_header("Content-Type", CONTENT_TYPE)
        self.finish(self._metrics())


class StatusPage(_AdminPage):
    """/: for people."""

    def initialize(self, status: Callable[[], bytes]) -> None:
        """Set the function that returns the page."""
        self._status = status

    def get(self) -> None:
        """Send the page, which may load its own style sheet and script and nothing else."""
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Content-Security-Policy", _POLICY)
        self.finish(self._status())


class AssetPage(_AdminPage):
    """A file that the status page loads."""

    def initialize(self, content: bytes, content_type: str) -> None:
        """Set the content."""
        self._content = content
        self._content_type = content_type

    def get(self) -> None:
        """Send it."""
        self.set_header("Content-Type", self._content_type)
        self.finish(self._content)


class NotFoundPage(_AdminPage):
    """Everything else."""

    def get(self) -> None:
        """Respond with 404."""
        self.send_error(404)


class _Listening(socket.socket):
    """A listening socket for Tornado, which calls `accept` until it would block."""

    has_logged = False

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection; while there is no descriptor or memory for one, try only once every PAUSE."""
        try:
            accepted = super().accept()
        except (BlockingIOError, ConnectionAbortedError):
            raise
        except OSError as error:
            if not self.has_logged:
                log.error("admin_pages_wait", why=error.strerror)
            self.has_logged = True
            loop = IOLoop.current()
            loop.update_handler(self, 0)
            loop.call_later(PAUSE, loop.update_handler, self, IOLoop.READ)
            raise BlockingIOError from error
        self.has_logged = False
        return accepted


class AdminServer(HTTPServer):
    """Serves the pages over at most MAX_CONNECTIONS, and closes further ones at once.

    Without that limit any user of this machine could use up the descriptors, and no import could open its files. If
    they are used up in another way, it tries to accept once a second; Tornado alone would spin, and log each turn.
    """

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Accept connections on listening sockets, which belong to this server from now on."""
        super().add_sockets(_Listening(fileno=one.detach()) for one in sockets)

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        """Serve a connection, or close it if there are too many."""
        if len(self._connections) < MAX_CONNECTIONS:
            super().handle_stream(stream, address)
        else:
            stream.close()


def make_application(
    health: Callable[[], Health], metrics: Callable[[], bytes], status: Callable[[], bytes]
) -> Application:
    """Return the application of the admin pages."""
    assets = [
        (f"/{name}", AssetPage, {"content": content, "content_type": content_type})
        for name, (content_type, content) in _ASSETS.items()
    ]
    return Application(
        [
            ("/", StatusPage, {"status": status}),
            ("/healthz", HealthPage, {"health": health}),
            ("/metrics", MetricsPage, {"metrics": metrics}),
            *assets,
        ],
        default_handler_class=NotFoundPage,
        log_function=lambda handler: None,
    )
