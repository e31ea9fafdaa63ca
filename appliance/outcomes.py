"""The outcome table: what each way a request can end gives the client, and what the log calls it.

Code, tests and docs/protocol.md read this one table. A refusal's body is a fixed sentence, so no answer can hold
anything that a client or a customer record brought along.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec


class Outcome(enum.StrEnum):
    """How a request ended, in one word: the `outcome` of its log line and the label of its counter."""

    FOUND = "found"
    COMPANY = "company"
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
    for, or of whom the subject names, or of the company that is shown, so that two lines about one person can be told
    to belong together, and no more.
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
    address: str = ""  # what `customer` is made of, if the access trail is to name it; for nothing else
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


class Cause(enum.StrEnum):
    """Why a signature was refused, in a word: the `cause` in the log and in /healthz."""

    MISSING = "missing"
    MALFORMED = "malformed"
    OTHER_APP = "other_app"
    SHA256 = "sha256"
    HEX = "hex"
    SPELLING = "spelling"
    SURROUNDED = "surrounded_secret"
    ENCODED = "encoded_secret"
    LOST_BODY = "lost_body"
    LINE_ENDS = "line_ends"
    RESERIALISED = "reserialised"
    TRANSCODED = "transcoded"
    ENCODED_BODY = "encoded_body"
    UNKNOWN = "unknown"


class Advice(NamedTuple):
    """What a cause means, and the next step, for the operator."""

    why: str
    todo: str


ADVICE: Final[Mapping[Cause, Advice]] = {
    Cause.MISSING: Advice(
        "there was no signature in the header of the app, or more than one",
        "compare signature_header with what the sender writes, and see that a proxy passes it on",
    ),
    Cause.MALFORMED: Advice(
        "the header value is not a base64 or hex HMAC",
        "the sender must send base64 of HMAC-SHA1 over the body, 28 characters",
    ),
    Cause.OTHER_APP: Advice(
        "it is signed with the secret of another app of this config",
        "in Help Scout, correct the URL or the secret of the custom app; or swap the secrets in this config",
    ),
    Cause.SHA256: Advice("it is right, but made with SHA-256", "the sender must sign with SHA-1"),
    Cause.HEX: Advice("it is right, but written in hex", "the sender must write the digest in base64"),
    Cause.SPELLING: Advice(
        "the digest is correct but encoded differently: a prefix, quotes, the URL alphabet, or no padding",
        "the sender must write the 28 characters of standard base64 and nothing else",
    ),
    Cause.SURROUNDED: Advice(
        "the two secrets differ in white space, quotes, or NAME= around them",
        "write exactly the secret that Help Scout has into the file, without anything around it",
    ),
    Cause.ENCODED: Advice(
        "one side has the secret encoded in base64 or hex, the other has it as it is",
        "write the secret here exactly as it stands in Help Scout's form",
    ),
    Cause.LOST_BODY: Advice("the body arrived empty", "look for a proxy or a redirect that drops it"),
    Cause.LINE_ENDS: Advice(
        "the body's line ends, or white space at its ends, changed on the way",
        "have the proxy pass the body on byte by byte; with curl, use --data-binary",
    ),
    Cause.RESERIALISED: Advice(
        "the body is the same JSON, but not the same bytes: it was re-serialized in transit",
        "have the proxy, firewall or function in between pass the body on byte by byte",
    ),
    Cause.TRANSCODED: Advice(
        "the body's characters were converted on the way, or a byte order mark added or removed",
        "have the proxy pass the body on byte by byte, as UTF-8",
    ),
    Cause.ENCODED_BODY: Advice(
        "the body arrived in base64, or was signed in base64",
        "have the gateway pass the body on as it is (AWS: isBase64Encoded)",
    ),
    Cause.UNKNOWN: Advice(
        "it is the signature of another secret, or of another body",
        "compare the secret here with Help Scout's; `sidebard check --self` finds a proxy that changes the body",
    ),
}
