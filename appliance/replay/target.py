"""Where requests go: the URL as it was typed, then the address and the TLS context that it comes to."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from appliance.errors import SidebardError

_PATIENCE: Final = 10.0


class BadUrl(SidebardError):
    """It is no URL of a service; the text says what one looks like."""


class Unreachable(SidebardError):
    """Nothing can be sent at all; the text is a sentence."""


@dataclass(frozen=True, slots=True)
class Url:
    """The address of a service."""

    text: str  # without a path
    is_secure: bool
    host: str
    port: int
    authority: str  # what Host says
    path: str  # for requests that name none


@dataclass(frozen=True, slots=True)
class Target:
    """A service that was reached. `context` is None for plain HTTP."""

    url: Url
    address: str  # an IP address: names are looked up once, before anything is measured
    context: ssl.SSLContext | None


class Resuming(ssl.SSLContext):
    """A context that offers `session`, which asyncio's clients cannot."""

    session: ssl.SSLSession | None = None

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """Begin a connection."""
        return super().wrap_bio(*arguments, **{**options, "session": self.session})


def parse_url(text: str) -> Url:
    """Read a URL. Raises BadUrl."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:  # such as a port of letters
        raise BadUrl("it must be such as https://your.name/helpscout") from None
    usable = text.isascii() and text.isprintable() and " " not in text
    if not usable or parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise BadUrl("it must be such as https://your.name/helpscout")
    is_secure = parts.scheme == "https"
    return Url(
        text=f"{parts.scheme}://{parts.netloc}",
        is_secure=is_secure,
        host=parts.hostname,
        port=port or (443 if is_secure else 80),
        authority=parts.netloc,
        path=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
    )


def reach(url: Url, context: ssl.SSLContext | None) -> Target:
    """Find the address that answers, by connecting once. Raises Unreachable."""
    try:
        with socket.create_connection((url.host, url.port), _PATIENCE) as connection:
            return Target(url, connection.getpeername()[0], context)
    except OSError as error:
        why = error.strerror or str(error)
        raise Unreachable(f"{url.text} cannot be reached: {why}; start the service, or correct --url") from None
