"""Whether a connection persists after a response (RFC 9112, 9.3), and the Connection field that says so."""

from __future__ import annotations

from typing import Final

from appliance.edge.requests import Request, SignedPost
from appliance.edge.response import CLOSE, KEEP, KEEP_ALIVE
from appliance.outcomes import CARD_STATUS

MAX_REFUSALS: Final = 10
"""Refused requests after which a connection ends: whoever goes on then pays for a new handshake."""


class Persistence:
    """Counts the refusals on one connection."""

    __slots__ = ("_refusals",)

    def __init__(self) -> None:
        """None yet."""
        self._refusals = 0

    def field(self, request: Request | SignedPost, status: int, closes: bool, stopping: bool) -> bytes:
        """Return the Connection field of a response with this status, which is sent now.

        `closes` if the response says so, `stopping` if the server is.
        """
        if status != CARD_STATUS:
            self._refusals += 1
        if closes or stopping or not request.keeps or self._refusals >= MAX_REFUSALS:
            return CLOSE
        return KEEP if request.version == "1.1" else KEEP_ALIVE
