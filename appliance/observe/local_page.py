"""What pages for people and programs of this machine have in common: who is answered, and that nobody keeps it."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from tornado.web import RequestHandler


class LocalPage(RequestHandler):
    """A page that is answered under this machine's own names alone."""

    def set_default_headers(self) -> None:
        """Say nothing of the software, and have nothing kept or passed on."""
        self.clear_header("Server")
        self.set_header("Cache-Control", "no-store")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("X-Content-Type-Options", "nosniff")

    def compute_etag(self) -> None:
        """Give none: every answer is of its moment."""

    def prepare(self) -> None:
        """Refuse what a page in a browser here was led to by a name that it controls (DNS rebinding)."""
        if not is_loopback(self.request.host):
            self.send_error(403)


def is_loopback(host: str) -> bool:
    """Say whether a Host header names this machine and no name that somebody else controls."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
