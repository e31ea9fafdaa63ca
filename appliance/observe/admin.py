"""The admin pages: health and metrics, for this machine only."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import msgspec
from tornado.web import Application, RequestHandler

from appliance.observe.exposition import CONTENT_TYPE
from appliance.observe.health import Health

_REFUSALS = {
    403: "Only localhost is answered here.",
    404: "There is nothing at this path.",
    405: "Only GET and HEAD are answered here.",
}


class _Page(RequestHandler):
    """What every page has in common: who may ask, how, and that nothing keeps the answer."""

    SUPPORTED_METHODS = ("GET", "HEAD")

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")

    def compute_etag(self) -> None:
        """Give none: every answer is of its moment."""

    def prepare(self) -> None:
        # A page in a browser on this machine could else be led here by a name that it controls (DNS rebinding).
        if not is_loopback(self.request.host):
            self.send_error(403)

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


class NoPage(_Page):
    """Everything else."""

    def get(self) -> None:
        """Refuse."""
        self.send_error(404)


def make_application(health: Callable[[], Health], metrics: Callable[[], bytes]) -> Application:
    """Give the application of the admin pages."""
    return Application(
        [("/healthz", HealthPage, {"health": health}), ("/metrics", MetricsPage, {"metrics": metrics})],
        default_handler_class=NoPage,
        log_function=lambda handler: None,
    )


def is_loopback(host: str) -> bool:
    """Say whether a Host header names this machine and no name that somebody else controls."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
