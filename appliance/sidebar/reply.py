"""The outcome table: what each way a request can end gives the client, and what the log calls it.

Code, tests and docs/protocol.md read this one table. A refusal's body is a fixed sentence, so no answer can hold
anything that a client or a customer record brought along.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec


class Outcome(enum.StrEnum):
    """How a request ended, in one word: the `outcome` of its log line and the label of its counter."""

    FOUND = "found"
    UNKNOWN = "unknown"
    NO_ADDRESS = "no_address"
    DRAFT = "draft"
    NOT_LOADED = "not_loaded"
    BAD_SIGNATURE = "bad_signature"
    BAD_PAYLOAD = "bad_payload"
    TOO_LARGE = "too_large"
    TOO_SLOW = "too_slow"
    NOT_FOUND = "not_found"
    BAD_METHOD = "bad_method"
    BAD_REQUEST = "bad_request"
    CARD_FAULT = "card_fault"
    INTERNAL_ERROR = "internal_error"


CARD_TYPE: Final = "application/json; charset=utf-8"
TEXT_TYPE: Final = "text/plain; charset=utf-8"


class Reply(msgspec.Struct, frozen=True, gc=False):
    """One finished answer: what goes back to the client, and the facts that its log line may hold.

    `conversation`, `mailbox` and `agent` are Help Scout's ids; `customer` is a keyed hash of the first address asked
    for, or of whom the subject names, so that two lines about one person can be told to belong together, and no more.
    """

    status: int
    outcome: Outcome
    body: bytes
    content_type: str = CARD_TYPE
    headers: tuple[tuple[str, str], ...] = ()
    closes: bool = False
    cache: str = ""
    conversation: int | None = None
    mailbox: int | None = None
    agent: int | None = None
    customer: str | None = None
    address: str = ""  # what `customer` is made of, if the audit trail is to name it; for nothing else
    fault: str = ""  # what is wrong with the operator's card, for an event; never for the client


def _refusal(outcome: Outcome, status: int, sentence: str, *, closes: bool = False, **headers: str) -> Reply:
    fields = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Reply(status, outcome, sentence.encode() + b"\n", TEXT_TYPE, fields, closes)


class Refusal(enum.Enum):
    """Every refusal there is. Those that leave the rest of the connection in doubt close it (RFC 9112, 9.3 and 9.6)."""

    # One answer for missing, malformed and wrong: a client learns nothing by trying.
    BAD_SIGNATURE = _refusal(Outcome.BAD_SIGNATURE, 403, "The signature is missing or wrong.")
    BAD_PAYLOAD = _refusal(Outcome.BAD_PAYLOAD, 400, "The body is not a JSON object.")
    NOT_FOUND = _refusal(Outcome.NOT_FOUND, 404, "There is nothing at this path.")
    BAD_METHOD = _refusal(Outcome.BAD_METHOD, 405, "Only POST is answered here.", Allow="POST")
    BAD_REQUEST = _refusal(Outcome.BAD_REQUEST, 400, "This is not a well-formed HTTP/1.1 request.", closes=True)
    UNSUPPORTED = _refusal(Outcome.BAD_REQUEST, 501, "This HTTP feature is not supported.", closes=True)
    HEADERS_TOO_LARGE = _refusal(Outcome.TOO_LARGE, 431, "The header block is over 16 KiB or 256 fields.", closes=True)
    BODY_TOO_LARGE = _refusal(Outcome.TOO_LARGE, 413, "The body is over 256 KiB.", closes=True)
    TOO_SLOW = _refusal(Outcome.TOO_SLOW, 408, "The request took too long to arrive.", closes=True)
    NOT_TLS = _refusal(
        Outcome.BAD_REQUEST, 400, "This port speaks HTTPS: begin the address with https://.", closes=True
    )
    # A bug of our own; what is wrong with the operator's card is CARD_FAULT, and gets the built-in card.
    INTERNAL_ERROR = _refusal(Outcome.INTERNAL_ERROR, 500, "Something went wrong here; the log says what.", closes=True)

    @property
    def reply(self) -> Reply:
        """The answer that this refusal gives."""
        return self.value


CARD_STATUS: Final = 200
"""Every card is a 200: Help Scout drops the body of anything else and shows the agent a bare error."""

MAX_HEADER_BYTES: Final = 16 * 1024
MAX_FIELDS: Final = 256
"""Of a header block: 16 KiB hold 4,000 empty ones, which cost 500 KB each time."""

MAX_BODY_BYTES: Final = 256 * 1024
