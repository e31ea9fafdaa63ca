"""The messages that the page starts from: one about each customer, and one for each special state.

They have the keys of Help Scout's own (developer.helpscout.com/apps/legacy-custom-apps/dynamic/), in its spelling.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Final

import msgspec

from appliance.preview.people import Person

STRANGER: Final = Person("Sam Stranger", ("sam.stranger@nowhere.example",))
_TICKET: Final = {"id": "410293847", "number": "2048", "subject": "A question about my account"}


class Data(enum.StrEnum):
    """What the customers are taken to be."""

    LIVE = "live"
    NOT_LOADED = "not_loaded"
    OLD = "old"


class Example(msgspec.Struct, frozen=True):
    """A state to look at: its name, the message that leads to it, and what the customers are meanwhile."""

    title: str
    body: str
    data: Data = Data.LIVE


def message(name: str, addresses: Sequence[str], *, draft: bool = False) -> str:
    """Give the message about a conversation with this customer, as text to edit."""
    first, _, last = name.rpartition(" ")
    customer: dict[str, object] = {"id": "290817263", "fname": first or last, "lname": last if first else ""}
    if addresses:
        customer |= {"email": addresses[0], "emails": list(addresses)}
    values = {
        "ticket": False if draft else _TICKET,
        "customer": {} if draft else customer,
        "user": {"id": "1001", "fname": "Alex", "lname": "Agent", "role": "user"},
        "mailbox": {"id": "2002", "email": "inbox@helpdesk.example"},
    }
    return msgspec.json.format(msgspec.json.encode(values)).decode()


def examples(people: Sequence[Person]) -> tuple[Example, ...]:
    """Give the special states; `people` are some customers, at best two."""
    known = people[0] if people else STRANGER
    several = [address for person in people[:2] for address in person.addresses]
    found = [
        Example("Unknown customer", message(STRANGER.name, STRANGER.addresses)),
        Example("No e-mail address", message(known.name, ())),
        Example("Draft", message("", (), draft=True)),
        Example("Several customers", message(known.name, several)),
        Example("Old data", message(known.name, known.addresses), Data.OLD),
        Example("Data not loaded", message(known.name, known.addresses), Data.NOT_LOADED),
    ]
    return tuple(example for example in found if len(people) > 1 or example.title != "Several customers")
