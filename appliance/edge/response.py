"""Responses as bytes: one order of header fields for all of them, and what they have in common made once a second."""

from __future__ import annotations

from email.utils import formatdate
from http.client import responses
from typing import Final

from appliance.outcomes import CARD_STATUS, Response

KEEP: Final = b""  # HTTP/1.1 persists without saying so (RFC 9112, 9.3)
CLOSE: Final = b"Connection: close\r\n"
KEEP_ALIVE: Final = b"Connection: keep-alive\r\n"  # what an HTTP/1.0 client that asked for it waits for
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class ResponseEncoder:
    """Encodes responses. It keeps the beginning of each kind of them until their Date changes."""

    def __init__(self, seconds: float) -> None:
        """`seconds` is the time, since 1970."""
        self._prefixes: dict[object, bytes] = {}
        self.set_date(seconds)

    def set_date(self, seconds: float) -> None:
        """Set the Date of the responses from now on (RFC 9110, 6.6.1)."""
        self.date = formatdate(seconds, usegmt=True)
        self._prefixes.clear()

    def encode(self, response: Response, connection: bytes, *, without_body: bool = False) -> bytes:
        """Return a whole response; `connection` is KEEP, CLOSE or KEEP_ALIVE, `without_body` is for HEAD."""
        # A card's is found by one text, whose hash is kept: hashing three values costs as much as joining the bytes.
        is_card = response.status == CARD_STATUS and not response.headers
        key: object = response.content_type if is_card else (response.status, response.content_type, response.headers)
        prefix = self._prefixes.get(key)
        if prefix is None:
            prefix = self._prefixes[key] = self._prefix(response)
        body = response.body
        return b"%b%d\r\n%b\r\n%b" % (prefix, len(body), connection, b"" if without_body else body)

    def _prefix(self, response: Response) -> bytes:
        fields = (
            ("Content-Type", response.content_type),
            ("Date", self.date),
            ("Cache-Control", "no-store"),
            *response.headers,
        )
        lines = [f"HTTP/1.1 {response.status} {responses.get(response.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in fields]
        return ("\r\n".join(lines) + "\r\nContent-Length: ").encode("latin-1")
