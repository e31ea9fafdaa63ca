"""The shapes of messages that Help Scout, FreeScout and PHP are known to send, and how often each is made.

Sources: real bodies kept in public test suites, FreeScout's CustomApp module, Help Scout's note on drafts. Ids come as
numbers and as texts, and PHP writes an empty object as [] and a list with holes as an object.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

Value = object
Object = dict[str, Value]


@dataclass(frozen=True, slots=True)
class Conversation:
    """What one message is about. `addresses` are the customer's, the main one first; some customers have none."""

    number: int
    addresses: tuple[str, ...]
    agent: int

    @property
    def main(self) -> str | None:
        """The main address, if any."""
        return self.addresses[0] if self.addresses else None


@dataclass(frozen=True, slots=True)
class MessageShape:
    """One shape: `percent` of the messages have it. `make` returns such a message."""

    name: str
    percent: int
    make: Callable[[Conversation], Object]


_MAILBOX: Final = "help@support.invalid"  # a name that nobody can have (RFC 6761, 6.4)
_ROLES: Final = ("owner", "admin", "user")


def _customer(one: Conversation, **more: Value) -> Object:
    return {
        "id": str(95_000_000 + one.number),
        "fname": "Ann",
        "lname": "Lee",
        "email": one.main,
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


def _full(one: Conversation) -> Object:
    return {
        "ticket": {"id": str(250_000_000 + one.number), "number": str(one.number), "subject": "Learning the basics"},
        "customer": _customer(one),
        "user": _user(one),
        "mailbox": {"id": "85001", "email": _MAILBOX},
    }


def _numbers(one: Conversation) -> Object:
    return {
        "ticket": {"id": 250_000_000 + one.number, "number": one.number, "subject": "Re: l'été / 夏 😀"},
        "customer": _customer(one, id=95_000_000 + one.number),
        "user": _user(one),
        "mailbox": {"id": 85001, "email": _MAILBOX},
    }


def _minimal(one: Conversation) -> Object:
    return {"ticket": {"id": str(250_000_000 + one.number), "number": str(one.number)}, "customer": _customer(one)}


def _freescout(one: Conversation) -> Object:
    return {
        "ticket": {"id": one.number, "number": one.number, "subject": "Order"},
        "customer": _customer(one, id=one.number, lname=None, channel=None, channel_id=None),
        "mailbox": {"id": 1, "email": _MAILBOX},
    }


def _draft(one: Conversation) -> Object:
    return {**_full(one), "ticket": False, "customer": _customer(one)}


def _draft_to_nobody(one: Conversation) -> Object:
    return {**_full(one), "ticket": False, "customer": _customer(one, email="", emails=[])}


def _one_text(one: Conversation) -> Object:
    return {**_full(one), "customer": _customer(one, emails=one.main)}


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


SHAPES: Final = (
    MessageShape("all four objects, ids as strings", 35, _full),
    MessageShape("all four objects, ids as numbers", 20, _numbers),
    MessageShape("ticket and customer only", 10, _minimal),
    MessageShape("FreeScout: nulls, its own keys", 15, _freescout),
    MessageShape("a draft: ticket is false", 5, _draft),
    MessageShape("a draft without a recipient", 1, _draft_to_nobody),
    MessageShape("emails is one string", 3, _one_text),
    MessageShape("emails is an object: a PHP list with gaps", 3, _holes),
    MessageShape("email is null, emails has it", 3, _only_in_the_list),
    MessageShape("no address at all", 1, _no_address),
    MessageShape("[] for an object: PHP's empty object", 2, _empty_objects),
    MessageShape("odd types", 2, _odd_types),
)
