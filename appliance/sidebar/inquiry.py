"""What a help desk asks, and what it is told: the two values between a protocol and the core."""

from __future__ import annotations

import msgspec

from appliance.outcomes import Outcome


class Inquiry(msgspec.Struct, frozen=True, gc=False):
    """What one agent wants to know. No protocol's format is left in it."""

    addresses: tuple[str, ...] = ()
    """The customer's, as they were sent and not yet in normal form; the main one first."""

    own_address: str = ""
    """The inbox's own, which is no customer's, though it stands in mail that was forwarded to it."""

    subject: str = ""
    is_draft: bool = False
    """The conversation has not been sent yet."""

    varied: tuple[str, ...] = ()
    """The values of what the app's `vary` names, in its order; "" for what was not sent."""

    conversation: int | None = None
    mailbox: int | None = None
    agent: int | None = None
    """The help desk's ids, for the log: numbers, since any other text could be somebody's name."""


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What was found: the outcome, and the card's HTML that says it."""

    outcome: Outcome
    html: str
