"""What HTTP refuses before an app is asked, and the limits that it enforces."""

from __future__ import annotations

import enum
from typing import Final, NamedTuple

from appliance.outcomes import Outcome, Reply, refusal

MAX_HEADER_BYTES: Final = 16 * 1024
MAX_FIELDS: Final = 256
"""Of a header block: 16 KiB hold 4,000 empty ones, which cost 500 KB each time."""

MAX_BODY_BYTES: Final = 256 * 1024
"""Of a message, and what is held of any body."""
MAX_WEBHOOK_BYTES: Final = 4 * 1024 * 1024
"""Of a webhook: a conversation's holds all of its threads. Beyond MAX_BODY_BYTES it is only hashed."""


class Refusal(enum.Enum):
    """Those that leave the rest of the connection in doubt close it (RFC 9112, 9.3 and 9.6)."""

    NOT_FOUND = refusal(Outcome.NOT_FOUND, 404, "There is nothing at this path.")
    BAD_METHOD = refusal(Outcome.BAD_METHOD, 405, "Only POST is answered here.", Allow="POST")
    BAD_PAGE_METHOD = refusal(
        Outcome.BAD_METHOD, 405, "Only GET, HEAD and POST are answered here.", Allow="GET, HEAD, POST"
    )
    BAD_REQUEST = refusal(Outcome.BAD_REQUEST, 400, "This is not a well-formed HTTP/1.1 request.", closes=True)
    UNSUPPORTED = refusal(Outcome.BAD_REQUEST, 501, "This HTTP feature is not supported.", closes=True)
    HEADERS_TOO_LARGE = refusal(Outcome.TOO_LARGE, 431, "The header block is over 16 KiB or 256 fields.", closes=True)
    BODY_TOO_LARGE = refusal(Outcome.TOO_LARGE, 413, "The body is over 256 KiB.", closes=True)
    WEBHOOK_TOO_LARGE = refusal(Outcome.TOO_LARGE, 413, "The webhook is over 4 MiB.", closes=True)
    TOO_SLOW = refusal(Outcome.TOO_SLOW, 408, "The request took too long to arrive.", closes=True)
    NOT_TLS = refusal(Outcome.BAD_REQUEST, 400, "This port speaks HTTPS: begin the address with https://.", closes=True)
    # A bug of our own; what is wrong with the operator's card is CARD_FAULT, and gets the built-in card.
    INTERNAL_ERROR = refusal(Outcome.INTERNAL_ERROR, 500, "Something went wrong here; the log says what.", closes=True)

    @property
    def reply(self) -> Reply:
        """The answer that this refusal gives."""
        return self.value


class BodyLimit(NamedTuple):
    """How many bytes a body may have, and what one gets that has more."""

    size: int
    refusal: Refusal


MESSAGE_LIMIT: Final = BodyLimit(MAX_BODY_BYTES, Refusal.BODY_TOO_LARGE)
WEBHOOK_LIMIT: Final = BodyLimit(MAX_WEBHOOK_BYTES, Refusal.WEBHOOK_TOO_LARGE)
