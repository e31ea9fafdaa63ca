"""The messages that the page offers: one about each customer, and one for each special state.

They have the keys of Help Scout's own messages (developer.helpscout.com/apps/legacy-custom-apps/dynamic/).
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Final

import msgspec

from appliance.preview.customer_search import CustomerMatch

UNKNOWN_CUSTOMER: Final = CustomerMatch("Sam Stranger", ("sam.stranger@nowhere.example",))
_TICKET: Final = {"id": "410293847", "number": "2048", "subject": "A question about my account"}


class DataState(enum.StrEnum):
    """The state of the customer data that a card is shown for."""

    LIVE = "live"
    NOT_LOADED = "not_loaded"
    OLD = "old"


class Example(msgspec.Struct, frozen=True):
    """A state to look at: its name, the message that leads to it, and the state of the data."""

    title: str
    body: str
    data: DataState = DataState.LIVE


def message(name: str, addresses: Sequence[str], *, draft: bool = False) -> str:
    """Return the message about a conversation with this customer, as text to edit."""
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


def examples(matches: Sequence[CustomerMatch]) -> tuple[Example, ...]:
    """Return the special states; `matches` are some customers, if possible two."""
    known = matches[0] if matches else UNKNOWN_CUSTOMER
    several = [address for match in matches[:2] for address in match.addresses]
    found = [
        Example("Unknown customer", message(UNKNOWN_CUSTOMER.name, UNKNOWN_CUSTOMER.addresses)),
        Example("No e-mail address", message(known.name, ())),
        Example("Draft", message("", (), draft=True)),
        Example("Several customers", message(known.name, several)),
        Example("Old data", message(known.name, known.addresses), DataState.OLD),
        Example("Data not loaded", message(known.name, known.addresses), DataState.NOT_LOADED),
    ]
    return tuple(example for example in found if len(matches) > 1 or example.title != "Several customers")
