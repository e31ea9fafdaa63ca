"""What all pages for this machine alone have in common: who may ask for them, and that they are not cached."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from tornado.web import RequestHandler


class LocalPage(RequestHandler):
    """A page that is served under a loopback name only."""

    def set_default_headers(self) -> None:
        """Name no software, and forbid caching, referrers and content sniffing."""
        self.clear_header("Server")
        self.set_header("Cache-Control", "no-store")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("X-Content-Type-Options", "nosniff")

    def compute_etag(self) -> None:
        """Return None: no two answers are the same."""

    def prepare(self) -> None:
        """Refuse a request under any other name: a web page could lead its own name here (DNS rebinding)."""
        if not is_loopback(self.request.host):
            self.send_error(403)


def is_loopback(host: str) -> bool:
    """Return whether a Host header is a loopback address or localhost, which nobody else controls."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
