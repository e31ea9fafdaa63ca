"""Help Scout's legacy custom app, which FreeScout speaks too: a signed JSON object is posted, {"html": …} comes back.

Source: developer.helpscout.com/apps/legacy-custom-apps/dynamic/ and real bodies kept in public test suites. Ids come as
numbers and as texts; `ticket` is false for a draft; keys without a value are absent, null, "" or []; FreeScout adds
keys of its own. PHP writes an empty object as [] and a list with holes as an object. So a signed JSON object is never
refused: a field of a wrong type counts as absent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final, TypeVar

import msgspec

from appliance.outcomes import CARD_STATUS, Outcome, Response
from appliance.sidebar.inquiry import Answer, Inquiry, Taught
from appliance.sidebar.protocols.base import SAMPLE_CUSTOMERS, Conversation, InquiryError, Shape
from appliance.sidebar.protocols.body_signed import BodySigned
from appliance.sidebar.protocols.json_repair import repair

Id = int | str


class Ticket(msgspec.Struct, frozen=True):
    """The conversation."""

    id: Id | None = None
    number: Id | None = None
    subject: str | None = None


class Customer(msgspec.Struct, frozen=True):
    """The person who wrote. Names are not read: nothing needs them."""

    id: Id | None = None
    email: str | None = None
    emails: tuple[str, ...] | None = None


class User(msgspec.Struct, frozen=True):
    """The agent who is looking."""

    id: Id | None = None
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


# What msgspec raises: for bad JSON, for nesting past the recursion limit, and for bytes that are not UTF-8.
_FAULTS: Final = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)
_DECODER: Final = msgspec.json.Decoder(Payload)

MAX_EMAILS: Final = 1000
"""Values of `emails` that are read one by one, at 2 us each: 256 KiB hold 80,000 times `{}`."""

_Part = TypeVar("_Part", bound=msgspec.Struct)


def decode(body: bytes) -> Payload:
    """Return the message in `body`. Raises InquiryError, and nothing else, if it is not a JSON object."""
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
        raise InquiryError from None
    try:
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except _FAULTS:
        raise InquiryError from None
    absent = msgspec.Raw(b"null")
    ticket = members.get("ticket", absent)
    word = bytes(ticket).strip()
    return Payload(
        word == b"true" if word in (b"true", b"false") else _decode_leniently(Ticket, ticket),
        _decode_leniently(Customer, members.get("customer", absent)),
        _decode_leniently(User, members.get("user", absent)),
        _decode_leniently(Mailbox, members.get("mailbox", absent)),
    )


def _decode_leniently(part: type[_Part], raw: msgspec.Raw) -> _Part | None:
    """Return what can be read of one object, field by field; None if it is no object."""
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


_MAX_DIGITS: Final = 18  # more would not fit the 64 bits of a JSON reader
_TOO_LARGE: Final = 10**_MAX_DIGITS


def _number(identifier: Id | None) -> int | None:
    """Return an id as a number; Help Scout's are, and any other text could be somebody's name."""
    if type(identifier) is int:
        return identifier if -_TOO_LARGE < identifier < _TOO_LARGE else None
    if identifier is None:
        return None
    try:
        return int(identifier) if len(identifier) <= _MAX_DIGITS else None  # type: ignore[arg-type]
    except ValueError:
        return None


# In Python 3.11 each `Outcome.DRAFT` calls a function.
_DRAFT, _NO_ADDRESS = Outcome.DRAFT, Outcome.NO_ADDRESS

_JSON: Final = "application/json; charset=utf-8"
_PROBE: Final = '{"ticket": {"id":"0","number":"0",\r\n "subject":"sidebard check \\/ \\u00e9 é"},"customer":%s}'
_encode: Final = msgspec.json.Encoder().encode

# The shapes of samples: what Help Scout, FreeScout and PHP are known to send.

Object = dict[str, object]

_MAILBOX: Final = "help@support.invalid"  # a name that nobody can have (RFC 6761, 6.4)
_ROLES: Final = ("owner", "admin", "user")


def _main(one: Conversation) -> str | None:
    return one.addresses[0] if one.addresses else None


def _customer(one: Conversation, **more: object) -> Object:
    first, _, last = one.name.rpartition(" ")
    return {
        "id": str(SAMPLE_CUSTOMERS + one.number),
        "fname": first or last,
        "lname": last if first else "",
        "email": _main(one),
        "emails": list(one.addresses),
        **more,
    }


def _user(one: Conversation) -> Object:
    return {
        "fname": "Tom",
        "lname": "Gray",
        "id": 140_000 + one.agent,
        "role": _ROLES[one.agent % 3],
        "convRedirect": 0,
    }


def _ticket(one: Conversation) -> Object:
    return {"id": str(250_000_000 + one.number), "number": str(one.number)}


def _full(one: Conversation) -> Object:
    return {
        "ticket": False if one.is_draft else {**_ticket(one), "subject": one.subject},
        "customer": _customer(one) if one.addresses or not one.is_draft else {},
        "user": _user(one),
        "mailbox": {"id": "85001", "email": _MAILBOX},
    }


def _numbers(one: Conversation) -> Object:
    return {
        "ticket": {"id": 250_000_000 + one.number, "number": one.number, "subject": "Re: l'été / 夏 😀"},
        "customer": _customer(one, id=SAMPLE_CUSTOMERS + one.number),
        "user": _user(one),
        "mailbox": {"id": 85001, "email": _MAILBOX},
    }


def _minimal(one: Conversation) -> Object:
    return {"ticket": _ticket(one), "customer": _customer(one)}


def _freescout(one: Conversation) -> Object:
    return {
        "ticket": {"id": one.number, "number": one.number, "subject": "Order"},
        "customer": _customer(one, id=SAMPLE_CUSTOMERS + one.number, lname=None, channel=None, channel_id=None),
        "mailbox": {"id": 1, "email": _MAILBOX},
    }


def _draft(one: Conversation) -> Object:
    return {**_full(one), "ticket": False, "customer": _customer(one)}


def _draft_to_nobody(one: Conversation) -> Object:
    return {**_full(one), "ticket": False, "customer": _customer(one, email="", emails=[])}


def _one_text(one: Conversation) -> Object:
    return {**_full(one), "customer": _customer(one, emails=_main(one))}


def _holes(one: Conversation) -> Object:
    emails = {str(2 * place): address for place, address in enumerate(one.addresses)}
    return {**_full(one), "customer": _customer(one, emails=emails)}


def _only_in_the_list(one: Conversation) -> Object:
    return {**_numbers(one), "customer": _customer(one, email=None)}


def _no_address(one: Conversation) -> Object:
    return {**_numbers(one), "customer": _customer(one, fname="", lname="", email=None, emails=[])}


def _empty_objects(one: Conversation) -> Object:
    return {**_full(one), "ticket": [], "user": [], "mailbox": []}


def _odd_types(one: Conversation) -> Object:
    customer = _customer(one, id=None, fname=7, lname=["Lee"], emails=[None, 7, *one.addresses, {"value": "x"}])
    ticket = {"id": one.number + 0.5, "number": True, "subject": 7}
    return {**_full(one), "ticket": ticket, "customer": customer, "user": "Tom"}


_SAMPLES: Final[tuple[tuple[Shape, Callable[[Conversation], Object]], ...]] = (
    (Shape("all four objects, ids as strings", 35), _full),
    (Shape("all four objects, ids as numbers", 20), _numbers),
    (Shape("ticket and customer only", 10), _minimal),
    (Shape("FreeScout: nulls, its own keys", 15), _freescout),
    (Shape("a draft: ticket is false", 5), _draft),
    (Shape("a draft without a recipient", 1), _draft_to_nobody),
    (Shape("emails is one string", 3), _one_text),
    (Shape("emails is an object: a PHP list with gaps", 3), _holes),
    (Shape("email is null, emails has it", 3), _only_in_the_list),
    (Shape("no address at all", 1), _no_address),
    (Shape("[] for an object: PHP's empty object", 2), _empty_objects),
    (Shape("odd types", 2), _odd_types),
)


class HelpScoutApp(BodySigned):
    """The protocol. FreeScout's is the same with a header of its own."""

    name = "helpscout"
    header = "X-HelpScout-Signature"
    vary = (
        "user.id",
        "user.role",
        "mailbox.id",
        "mailbox.email",
        "ticket.subject",
        "ticket.number",
    )
    shapes = tuple(shape for shape, _ in _SAMPLES)

    @property
    def removes_html(self) -> bool:  # type: ignore[override]
        """Help Scout does, FreeScout does not."""
        return self.header.lower() == HelpScoutApp.header.lower()

    def parse(self, signed: bytes) -> Inquiry:
        """Return what the JSON object in the body asks."""
        try:
            payload = _DECODER.decode(signed)  # nearly always; half a microsecond less
        except _FAULTS:
            payload = decode(signed)
        ticket, customer, user, mailbox = payload.ticket, payload.customer, payload.user, payload.mailbox
        addresses: tuple[str, ...] = ()
        if customer is not None:
            addresses, email = customer.emails or (), customer.email
            if email and not (addresses and addresses[0] == email):  # Help Scout sends the main one twice
                addresses = (email, *addresses)
        return Inquiry(
            addresses=addresses,
            own_address=(mailbox.email or "") if mailbox is not None else "",
            subject=(ticket.subject or "") if isinstance(ticket, Ticket) else "",
            otherwise=_DRAFT if ticket is False else _NO_ADDRESS,
            varied=self._values_of(payload) if self._varied else (),
            conversation=_number(ticket.id) if isinstance(ticket, Ticket) else None,
            mailbox=_number(mailbox.id) if mailbox is not None else None,
            agent=_number(user.id) if user is not None else None,
        )

    def teaches(self, signed: bytes) -> Taught | None:
        """Return the addresses of the customer's id. FreeScout's ids are its own, and those of samples nobody's."""
        payload = decode(signed)
        customer, mailbox = payload.customer, payload.mailbox
        number = _number(customer.id) if customer is not None and self.removes_html else None
        if customer is None or number is None or not 0 < number < SAMPLE_CUSTOMERS:
            return None
        return Taught(
            number,
            (*filter(None, (customer.email,)), *(customer.emails or ())),
            (mailbox.email or "") if mailbox is not None else "",
            bool(customer.emails),
        )

    def _values_of(self, payload: Payload) -> tuple[str, ...]:
        """Return what this message has of each name of `vary`, "" for what it has not."""
        values = (getattr(getattr(payload, part), attribute, None) for part, attribute in self._varied)
        return tuple("" if value is None else str(value) for value in values)

    def render(self, answer: Answer) -> Response:
        """Return the JSON object that Help Scout shows the card of."""
        return Response(CARD_STATUS, _encode({"html": answer.html}), _JSON)

    def read_card(self, body: bytes) -> str:
        """Return the card in such an object."""
        try:
            return msgspec.json.decode(body, type=dict[str, str])["html"]
        except (msgspec.MsgspecError, UnicodeDecodeError, KeyError) as error:
            raise ValueError("this is not a JSON object with a card in it") from error

    def sample(self, conversation: Conversation, shape: int = 0) -> bytes:
        r"""Return a body as PHP's json_encode writes it: ASCII alone, and \/ for a slash."""
        message = _SAMPLES[shape][1](conversation)
        return json.dumps(message, separators=(",", ":")).replace("/", "\\/").encode()

    def probes(self, address: str) -> Sequence[bytes]:
        """Return a body with escapes of both formatters_, white space and line ends, and one that is nothing but {}."""
        return (_PROBE % msgspec.json.encode({"email": address}).decode()).encode(), b"{}"
