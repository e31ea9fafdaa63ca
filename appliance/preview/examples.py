"""The messages that the page offers: one about each customer, and one for each special state."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Final

import msgspec

from appliance.preview.customer_search import CustomerMatch
from appliance.sidebar.protocols.base import Conversation, HelpDesk

UNKNOWN_CUSTOMER: Final = CustomerMatch("Sam Stranger", ("sam.stranger@nowhere.example",))


class DataState(enum.StrEnum):
    """The state of the customer data that a card is shown for."""

    LIVE = "live"
    NOT_LOADED = "not_loaded"
    OLD = "old"
    UNKNOWN_ID = "unknown_id"
    """Nothing is known of the id that a page is told; to a message with an address that makes no difference."""


class Example(msgspec.Struct, frozen=True):
    """A state to look at: its name, the message that leads to it, and the state of the data."""

    title: str
    body: str
    data: DataState = DataState.LIVE


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


def examples(
    protocol: HelpDesk, matches: Sequence[CustomerMatch], company: str | None, *, has_page: bool = False
) -> tuple[Example, ...]:
    """Return the special states; `matches` are some customers, if possible two, `company` is a company's domain."""
    known = matches[0] if matches else UNKNOWN_CUSTOMER
    several = [address for match in matches[:2] for address in match.addresses]
    found = [
        Example("Unknown customer", message(protocol, UNKNOWN_CUSTOMER.name, UNKNOWN_CUSTOMER.addresses)),
        Example("No e-mail address", message(protocol, known.name, ())),
        Example("Draft", message(protocol, "", (), draft=True)),
        Example("Several customers", message(protocol, known.name, several)),
        Example("Old data", message(protocol, known.name, known.addresses), DataState.OLD),
        Example("Data not loaded", message(protocol, known.name, known.addresses), DataState.NOT_LOADED),
    ]
    if len(matches) < 2:
        found = [example for example in found if example.title != "Several customers"]
    if company is not None:
        local = UNKNOWN_CUSTOMER.addresses[0].partition("@")[0]
        found.append(
            Example("Colleague of a customer", message(protocol, UNKNOWN_CUSTOMER.name, (f"{local}@{company}",)))
        )
    if has_page:
        found.append(Example("Id not known", message(protocol, known.name, known.addresses), DataState.UNKNOWN_ID))
    return tuple(found)
