"""What Help Scout posts, as frozen typed values.

Source: developer.helpscout.com/apps/legacy-custom-apps/dynamic/ and real bodies kept in public test suites. Ids come as
numbers and as texts; `ticket` is false for a draft; keys without a value are absent, null, "" or []; FreeScout adds
keys of its own. So a signed JSON object is never refused: a field of a wrong type counts as absent.
"""

from __future__ import annotations

from itertools import islice
from typing import Final, TypeVar

import msgspec

from appliance.sidebar.protocols.json_repair import repair

Id = int | str


class Ticket(msgspec.Struct, frozen=True):
    """The conversation."""

    id: Id | None = None
    number: Id | None = None
    subject: str | None = None


class Customer(msgspec.Struct, frozen=True):
    """The person who wrote."""

    id: Id | None = None
    fname: str | None = None
    lname: str | None = None
    email: str | None = None
    emails: tuple[str, ...] | None = None


class User(msgspec.Struct, frozen=True):
    """The agent who is looking."""

    id: Id | None = None
    fname: str | None = None
    lname: str | None = None
    role: str | None = None


class Mailbox(msgspec.Struct, frozen=True):
    """The inbox that the conversation is in."""

    id: Id | None = None
    email: str | None = None


class Payload(msgspec.Struct, frozen=True):
    """One message. `ticket` is False for a draft; True says nothing and reads as absent."""

    ticket: Ticket | bool | None = None
    customer: Customer | None = None
    user: User | None = None
    mailbox: Mailbox | None = None

    @property
    def is_draft(self) -> bool:
        """Whether the conversation has not been sent yet."""
        return self.ticket is False


class BadPayload(ValueError):
    """The body is not a JSON object."""


# What msgspec raises: for bad JSON, for nesting past the recursion limit, and for bytes that are not UTF-8.
_FAULTS: Final = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)
_DECODER: Final = msgspec.json.Decoder(Payload)

MAX_EMAILS: Final = 1000
"""Values of `emails` that are read one by one, at 2 us each: 256 KiB hold 80,000 times `{}`."""

_Part = TypeVar("_Part", bound=msgspec.Struct)


def parse(body: bytes) -> Payload:
    """Return the message in `body`. Raises BadPayload, and nothing else, if it is not a JSON object."""
    try:
        return _DECODER.decode(body)
    except _FAULTS:
        pass  # not strict JSON, a field of a wrong type, or no object at all
    body = repair(body)
    try:
        return _DECODER.decode(body)
    except msgspec.ValidationError:
        pass  # look at each field by itself
    except _FAULTS:
        raise BadPayload from None
    try:
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except _FAULTS:
        raise BadPayload from None
    absent = msgspec.Raw(b"null")
    ticket = members.get("ticket", absent)
    word = bytes(ticket).strip()
    return Payload(
        word == b"true" if word in (b"true", b"false") else _salvage(Ticket, ticket),
        _salvage(Customer, members.get("customer", absent)),
        _salvage(User, members.get("user", absent)),
        _salvage(Mailbox, members.get("mailbox", absent)),
    )


def _salvage(part: type[_Part], raw: msgspec.Raw) -> _Part | None:
    """Give what can be read of one object, field by field; None if it is no object."""
    try:
        members = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except _FAULTS:
        return None
    values: dict[str, object] = {}
    for field in msgspec.structs.fields(part):
        if field.name not in members:
            continue
        if field.name == "emails":
            values[field.name] = _emails(members[field.name])
            continue
        try:
            values[field.name] = msgspec.json.decode(members[field.name], type=field.type)
        except _FAULTS:
            continue
    return part(**values)


def _emails(raw: msgspec.Raw) -> tuple[str, ...] | None:
    """Return the texts of a list, of an object's values (a PHP array with holes), or one text alone.

    Of a list with values of other types, the first MAX_EMAILS values are read.
    """
    if bytes(raw).strip() == b"null":
        return None
    try:
        items = msgspec.json.decode(raw, type=list[msgspec.Raw] | dict[str, msgspec.Raw])
    except _FAULTS:
        items = [raw]
    texts = map(_text, islice(items.values() if isinstance(items, dict) else items, MAX_EMAILS))
    return tuple(text for text in texts if text is not None)


def _text(raw: msgspec.Raw) -> str | None:
    try:
        return msgspec.json.decode(raw, type=str)
    except _FAULTS:
        return None
