"""What a help desk asks, and what it is told: the two values between a protocol and the core."""

from __future__ import annotations

import msgspec

from appliance.outcomes import Outcome


class Inquiry(msgspec.Struct, frozen=True, gc=False):
    """What one agent wants to know. No protocol's format is left in it."""

    addresses: tuple[str, ...] = ()
    """The customer's, as they were sent and not yet in normal form; the main one first."""

    customer: int | None = None
    """The help desk's id of the customer, where no address is sent: then it is looked up."""

    own_address: str = ""
    """The inbox's own, which is no customer's, though it stands in mail that was forwarded to it."""

    subject: str = ""
    otherwise: Outcome = Outcome.NO_ADDRESS
    """What the answer says if there is nobody to look up."""

    varied: tuple[str, ...] = ()
    """The values of what the app's `vary` names, in its order; "" for what was not sent."""

    conversation: int | None = None
    mailbox: int | None = None
    agent: int | None = None
    """The help desk's ids, for the log: numbers, since any other text could be somebody's name."""


class Taught(msgspec.Struct, frozen=True, gc=False):
    """What a request says of the help desk's id of a customer: by the way, for protocols that are told nothing else."""

    customer: int
    addresses: tuple[str, ...]
    """As they were sent."""

    own_address: str
    is_whole: bool
    """Whether these are all addresses that the customer has."""


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What was found: the outcome, and the card's HTML that says it."""

    outcome: Outcome
    html: str
