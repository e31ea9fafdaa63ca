r"""The events of Help Scout's webhooks: what each says about the addresses of a customer.

Source: developer.helpscout.com/webhooks, and real bodies in public code. PHP writes them (\/, \uXXXX). The event's name
is in a header that nobody signs, so a body must look like what its event says: a conversation's id deletes no customer.

    event               body                                     change
    customer.created    a customer, with _embedded.emails        REPLACE, as of updatedAt
    customer.updated    the same                                 REPLACE
    customer.deleted    an id, and nothing of a customer's or    DELETE, as of when it came
                        a conversation's
    convo.*             a conversation, with primaryCustomer     ADD its address
    any other           anything                                 none
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from appliance.customers.ids import MAX_ID, Change, Kind, normal_forms
from appliance.outcomes import TEXT_TYPE, Advice, Outcome, Reply, Response, refusal
from appliance.sidebar.protocols.base import (
    BAD_PAYLOAD,
    BAD_SIGNATURE,
    SAMPLE_CUSTOMERS,
    Conversation,
    Diagnosis,
    InquiryError,
    SampleRequest,
    Shape,
    SignedRequest,
)
from appliance.sidebar.protocols.diagnosis import Diagnoser
from appliance.sidebar.protocols.json_repair import repair
from appliance.sidebar.protocols.signature import BodyCheck, Secret, Verifier

EVENT: Final = "X-HelpScout-Event"
SIGNATURE: Final = "X-HelpScout-Signature"

NOTED: Final = Reply(Response(200, b"Noted.\n", TEXT_TYPE), Outcome.NOTED)
IGNORED: Final = Reply(Response(200, b"This event changes nothing here.\n", TEXT_TYPE), Outcome.IGNORED)
OVERSIZED: Final = Reply(Response(200, b"This event is too large to be read here.\n", TEXT_TYPE), Outcome.OVERSIZED)
"""Not a refusal: it would come ten times, and after ten such events Help Scout switches the webhook off."""
NOT_STORED: Final[Reply] = refusal(Outcome.NOT_STORED, 503, "It could not be stored; please send it again.")
"""Help Scout sends an event again that was not answered with 200. Never 410, which switches the webhook off."""

_ID: Final = re.compile(r"[1-9][0-9]{0,18}")
_FAULTS: Final = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


SAMPLE_ADDRESS: Final = "sample@nobody.invalid"
"""What samples say of every customer, so that one command forgets all that they have taught."""

_SAMPLE_IDS: Final = 100  # so many at most are left in the map of the service that was tested

StoreChange = Callable[[Change], Awaitable[bool]]
"""Stores what an event says; returns whether it is on the disk."""


def _customer(conversation: Conversation) -> Mapping[str, object]:
    """Return the body of a customer's event. It has no updatedAt: a replay days later must not be out of date."""
    first, _, last = conversation.name.rpartition(" ")
    emails = [{"id": 1, "value": SAMPLE_ADDRESS, "type": "work"}]
    customer = {"id": _sample_id(conversation), "firstName": first, "lastName": last, "draft": False}
    return {**customer, "background": f"/{conversation.number}", "_embedded": {"emails": emails}}


def _conversation(conversation: Conversation) -> Mapping[str, object]:
    primary = {"id": _sample_id(conversation), "type": "customer", "email": SAMPLE_ADDRESS}
    return {"id": conversation.number, "subject": conversation.subject, "primaryCustomer": primary}


def _deleted(conversation: Conversation) -> Mapping[str, object]:
    return {"id": _sample_id(conversation)}


def _tag(conversation: Conversation) -> Mapping[str, object]:
    return {"id": conversation.number, "name": "vip"}


def _sample_id(conversation: Conversation) -> int:
    return SAMPLE_CUSTOMERS + conversation.number % _SAMPLE_IDS


_SAMPLES: Final[tuple[tuple[Shape, Callable[[Conversation], Mapping[str, object]]], ...]] = (
    (Shape("customer.created", 20), _customer),
    (Shape("customer.updated", 40), _customer),
    (Shape("customer.deleted", 5), _deleted),
    (Shape("convo.created", 25), _conversation),
    (Shape("tag.created", 10), _tag),
)


class HelpScoutWebhook:
    """The webhooks of one app, with their secrets."""

    shapes = tuple(shape for shape, _ in _SAMPLES)

    def __init__(self, secrets: Sequence[bytes], others: Mapping[str, Sequence[bytes]] | None = None) -> None:
        """`others` are other secrets by what they are for, to tell whose secret a wrong signature was made with."""
        self._secrets = tuple(map(Secret, secrets))
        self._verifier = Verifier(self._secrets)
        self._diagnoser = Diagnoser(secrets, others or {})

    def authenticate(self, request: SignedRequest) -> bytes | None:
        """Return the body if the signature is the body's."""
        return request.body if self._verifier.verify(request.body, request.signature) else None

    def begin(self) -> BodyCheck:
        """Return the check of a body that is too large to be held."""
        return self._verifier.begin()

    def request(self, conversation: Conversation, shape: int = 0) -> SampleRequest:
        r"""Return an event as PHP writes it, ASCII alone and \/ for a slash, about a customer whom nobody has."""
        (event, _), make = _SAMPLES[shape]
        body = json.dumps(make(conversation), separators=(",", ":")).replace("/", "\\/").encode()
        signature = self._secrets[0].sign(body).decode("ascii")
        return SampleRequest(body=body, header=SIGNATURE, signature=signature, event=event)

    def explain(self, request: SignedRequest) -> tuple[Diagnosis, Advice]:
        """Return why a signature may be wrong, and what to say of it."""
        return self._diagnoser.explain(request.body, request.signature, request.encoding)

    def read(self, event: str, request: SignedRequest, received: float) -> Change | Reply:
        """Return what an event says, to be stored, or else the reply to it. Raises nothing, whatever the bytes.

        `received` is when it came, in seconds since 1970.
        """
        body = self.authenticate(request)
        if body is None:
            return BAD_SIGNATURE
        try:
            return change_of(event, body, received) or IGNORED
        except InquiryError:
            return BAD_PAYLOAD

    def read_oversized(self, check: BodyCheck, request: SignedRequest) -> Reply:
        """Return the reply to an event whose body was checked as it came, and not held."""
        return OVERSIZED if check.verify(request.signature) else BAD_SIGNATURE


def change_of(event: str, body: bytes, received: float) -> Change | None:
    """Return what a rightly signed webhook says about a customer's addresses; None: nothing.

    `received` is when it came, in seconds since 1970. Raises InquiryError if the body is no JSON object.
    """
    try:
        message = _decode(body)
    except _FAULTS:
        try:
            message = _decode(repair(body))
        except _FAULTS:
            raise InquiryError from None
    if event in ("customer.created", "customer.updated"):
        return read_customer(message, received)
    if event == "customer.deleted" and not {"_embedded", "primaryCustomer"} & message.keys():
        customer = _id(message)
        return Change(customer, Kind.DELETE, (), received) if customer is not None else None
    if event.startswith("convo."):
        return _of_conversation(message, received)
    return None


def read_customer(message: Mapping[str, Any], received: float) -> Change | None:
    """Return what Help Scout's JSON of a customer says of the addresses; None: nothing."""
    emails = _object(message.get("_embedded")).get("emails")
    customer = _id(message)
    if customer is None or not isinstance(emails, list):
        return None
    texts = tuple(value for each in emails if isinstance(value := _object(each).get("value"), str))
    as_of = _time(message.get("updatedAt"))
    # One of the future would keep every later change out.
    return Change(customer, Kind.REPLACE, normal_forms(texts), received if as_of is None else min(as_of, received))


def _of_conversation(message: Mapping[str, Any], received: float) -> Change | None:
    primary = _object(message.get("primaryCustomer"))
    customer, email = _id(primary), primary.get("email")
    if customer is None or not isinstance(email, str) or primary.get("type", "customer") != "customer":
        return None
    addresses = normal_forms((email,))
    return Change(customer, Kind.ADD, addresses, received) if addresses else None


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _id(value: Mapping[str, Any]) -> int | None:
    found = value.get("id")
    if isinstance(found, bool) or not isinstance(found, int | str) or not _ID.fullmatch(str(found)):
        return None
    return number if (number := int(found)) <= MAX_ID else None


def _time(value: object) -> float | None:
    """Return a time in ISO 8601 in seconds since 1970."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment.timestamp() if moment is not None and moment.tzinfo is not None else None
