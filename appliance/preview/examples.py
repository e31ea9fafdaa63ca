"""The messages that the page starts from: one about each customer, and one for each special state."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Final

import msgspec

from appliance.preview.people import Person
from appliance.sidebar.protocols.base import Conversation, HelpDesk

STRANGER: Final = Person("Sam Stranger", ("sam.stranger@nowhere.example",))


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


def message(protocol: HelpDesk, name: str, addresses: Sequence[str], *, draft: bool = False) -> str:
    """Return the message about a conversation with this customer, as text to edit."""
    conversation = Conversation(
        number=2048,
        addresses=tuple(addresses),
        name=name,
        subject="A question about my account",
        agent=1001,
        is_draft=draft,
    )
    body = protocol.sample(conversation)
    try:
        return msgspec.json.format(body).decode()
    except msgspec.DecodeError:
        return body.decode()


def examples(protocol: HelpDesk, people: Sequence[Person]) -> tuple[Example, ...]:
    """Return the special states; `people` are some customers, at best two."""
    known = people[0] if people else STRANGER
    several = [address for person in people[:2] for address in person.addresses]
    found = [
        Example("Unknown customer", message(protocol, STRANGER.name, STRANGER.addresses)),
        Example("No e-mail address", message(protocol, known.name, ())),
        Example("Draft", message(protocol, "", (), draft=True)),
        Example("Several customers", message(protocol, known.name, several)),
        Example("Old data", message(protocol, known.name, known.addresses), Data.OLD),
        Example("Data not loaded", message(protocol, known.name, known.addresses), Data.NOT_LOADED),
    ]
    return tuple(example for example in found if len(people) > 1 or example.title != "Several customers")
