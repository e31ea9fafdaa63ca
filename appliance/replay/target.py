"""Where requests go: the URL as it was given, the address behind it, and the TLS context."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from typing import Any

from appliance.http_client import TIMEOUT, UnreachableError, Url


@dataclass(frozen=True, slots=True)
class LoadTarget:
    """A service that was reached. `context` is None for plain HTTP."""

    url: Url
    address: str  # an IP address: the name is resolved once, before anything is measured
    context: ssl.SSLContext | None


class ResumingContext(ssl.SSLContext):
    """A context that offers `session` to the server, which asyncio's connections cannot do by themselves."""

    session: ssl.SSLSession | None = None

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """Start a handshake that offers the session."""
        return super().wrap_bio(*arguments, **{**options, "session": self.session})


def reach(url: Url, context: ssl.SSLContext | None) -> LoadTarget:
    """Find the address of the service by connecting once. Raises UnreachableError."""
    try:
        with socket.create_connection((url.host, url.port), TIMEOUT) as connection:
            return LoadTarget(url, connection.getpeername()[0], context)
    except OSError as error:
        why = error.strerror or str(error)
        raise UnreachableError(f"{url.text} cannot be reached: {why}; start the service, or correct --url") from None
