"""The outcome table: every way a request can end, what a wrong signature may be caused by, and what to do about it.

Code, tests and docs read this one table.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

CARD_STATUS: Final = 200
"""Every card is a 200: Help Scout drops the body of anything else and shows the agent a bare error."""

TEXT_TYPE: Final = "text/plain; charset=utf-8"


class Outcome(enum.StrEnum):
    """How a request ended, in one word: the `outcome` of its log line and the label of its counter."""

    FOUND = "found"
    COMPANY = "company"
    UNKNOWN = "unknown"
    NO_ADDRESS = "no_address"
    DRAFT = "draft"
    NO_CUSTOMER = "no_customer"
    UNKNOWN_ID = "unknown_id"
    OTHER_INBOX = "other_inbox"
    NOT_LOADED = "not_loaded"
    NOTED = "noted"
    IGNORED = "ignored"
    OVERSIZED = "oversized"
    NOT_STORED = "not_stored"
    BAD_SIGNATURE = "bad_signature"
    BAD_PAYLOAD = "bad_payload"
    OTHER_NETWORK = "other_network"
    NOT_FRAMED = "not_framed"
    TOO_LARGE = "too_large"
    TOO_SLOW = "too_slow"
    NOT_FOUND = "not_found"
    BAD_METHOD = "bad_method"
    BAD_REQUEST = "bad_request"
    CARD_FAULT = "card_fault"
    INTERNAL_ERROR = "internal_error"


class Response(msgspec.Struct, frozen=True, gc=False):
    """What goes back to the client. `closes` ends the connection after it."""

    status: int
    body: bytes
    content_type: str
    headers: tuple[tuple[str, str], ...] = ()
    closes: bool = False


class Reply(msgspec.Struct, frozen=True, gc=False):
    """A response, and the facts about it that its log line may hold.

    `conversation`, `mailbox` and `agent` are the help desk's ids; `customer` is a keyed hash of the first address asked
    for, or of whom the subject names, or of the company that is shown, so that two lines about one person can be told
    to belong together, and no more.
    """

    response: Response
    outcome: Outcome
    cache: str = ""
    conversation: int | None = None
    mailbox: int | None = None
    agent: int | None = None
    customer: str | None = None
    address: str = ""
    """What `customer` is made of, if the audit trail is to name it; for nothing else."""
    taught: object = None
    """What the request says of an id and is not known yet: a Change, to be stored after the answer has gone."""
    unknown_id: int | None = None
    """The help desk's id of which nothing is known, so that it is worth to ask somebody else."""
    fault: str = ""
    """What is wrong with the operator's card, for an event; never for the client."""


def refusal(outcome: Outcome, status: int, sentence: str, *, closes: bool = False, **headers: str) -> Reply:
    """Return a refusal. Its body is a fixed sentence, so it holds nothing that a client or a record brought along."""
    fields = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Reply(Response(status, sentence.encode() + b"\n", TEXT_TYPE, fields, closes), outcome)


class Cause(enum.StrEnum):
    """Why a signature was refused, in a word: the `cause` in the log and in /healthz."""

    MISSING = "missing"
    MALFORMED = "malformed"
    OTHER_APP = "other_app"
    SHA256 = "sha256"
    HEX = "hex"
    ENCODING = "encoding"
    WHITESPACE_OR_QUOTES = "whitespace_or_quotes"
    ENCODED = "encoded_secret"
    LOST_BODY = "lost_body"
    LINE_ENDS = "line_ends"
    RESERIALIZED = "reserialized"
    TRANSCODED = "transcoded"
    ENCODED_BODY = "encoded_body"
    CONTENT_ENCODING = "content_encoding"
    BAD_QUERY = "bad_query"
    OWN_PARAMETER = "own_parameter"
    PLAIN_JSON = "plain_json"
    EMPTY_SIGNED_TEXT = "empty_signed_text"
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
    Cause.ENCODING: Advice(
        "the digest is correct but encoded differently: a prefix, quotes, the URL alphabet, or no padding",
        "the sender must write the 28 characters of standard base64 and nothing else",
    ),
    Cause.WHITESPACE_OR_QUOTES: Advice(
        "the two secrets differ in what is around them: white space, quotes, NAME=, or what cannot be seen",
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
    Cause.RESERIALIZED: Advice(
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
    Cause.CONTENT_ENCODING: Advice(
        "the body came compressed, which Help Scout does not do",
        "have the sender, or the proxy that compresses requests, send the body as it was signed, not compressed",
    ),
    Cause.BAD_QUERY: Advice(
        "the query of the page is not one that Help Scout signs",
        "compare the callback URL in Help Scout's form with this app's; a proxy must pass the query on as it is",
    ),
    Cause.OWN_PARAMETER: Advice(
        "the callback URL's own parameters are not those in own_parameters: Help Scout signs only what it adds itself",
        "name in own_parameters exactly what the callback URL in Help Scout's form has behind its question mark",
    ),
    Cause.PLAIN_JSON: Advice(
        "it is the signature of the parameters as plain JSON, where Help Scout writes them as PHP does",
        "have the program that signs escape every / and every character that is not ASCII, as PHP's json_encode does",
    ),
    Cause.EMPTY_SIGNED_TEXT: Advice(
        "it is the signature of an empty text, which some programs accept for parameters that are not UTF-8",
        "nothing needs to be done here: somebody is probing, or a program that signs cannot encode its parameters",
    ),
    Cause.UNKNOWN: Advice(
        "it is the signature of another secret, or of another body",
        "compare the secret here with Help Scout's; `sidebard check --self` finds a proxy that changes the body",
    ),
}
