"""The page of Help Scout's current platform: the agent's browser loads it into a frame, with signed ids in the query.

Source: developer.helpscout.com/apps, and parameters of real requests in public code. A parameter that does not apply is
left out: a new conversation has neither a conversation nor a customer. No address, name, subject or role is ever sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

from appliance.outcomes import CARD_STATUS, Outcome, Response
from appliance.sidebar.inquiry import Answer, Inquiry
from appliance.sidebar.protocols import page_document
from appliance.sidebar.protocols.base import SAMPLE_CUSTOMERS, Conversation, Shape
from appliance.sidebar.protocols.query_signed import QuerySigned

_HTML: Final = "text/html; charset=utf-8"
_ID: Final = re.compile(r"[1-9][0-9]{0,17}")  # no more, so that every reader of the log can hold it
_CUSTOMER: Final = re.compile(r"[1-9][0-9]{0,19}")
_PARAMETERS: Final = {"user.id": "user-id", "mailbox.id": "mailbox-id", "ticket.number": "conversation-number"}
"""What of `vary` a page knows; the rest is "" here."""

_MAILBOX: Final = 85001
_SHAPES: Final = (Shape("a conversation", 95), Shape("a new conversation: no customer yet", 5))
_NEW: Final = 1


class HelpScoutPage(QuerySigned):
    """The protocol. The customer is named by id alone."""

    name = "helpscout_page"
    vary = tuple(_PARAMETERS)
    shapes = _SHAPES

    def parse(self, signed: Mapping[str, str]) -> Inquiry:
        """Return whom the signed parameters ask about."""
        mailbox = _id(signed, "mailbox-id")
        is_ours = not self._inboxes or mailbox in self._inboxes
        return Inquiry(
            customer=_id(signed, "customer-id", _CUSTOMER) if is_ours else None,
            otherwise=Outcome.NO_CUSTOMER if is_ours else Outcome.OTHER_INBOX,
            varied=tuple(str(_id(signed, _PARAMETERS.get(name, "")) or "") for name in self._varied),
            conversation=_id(signed, "conversation-id"),
            mailbox=mailbox,
            agent=_id(signed, "user-id"),
        )

    def render(self, answer: Answer) -> Response:
        """Return the page that shows the card."""
        return Response(CARD_STATUS, page_document.document(answer.html), _HTML, page_document.HEADERS)

    def read_card(self, body: bytes) -> str:
        """Return the card in such a page."""
        return page_document.card_in(body)

    def sample(self, conversation: Conversation, shape: int = 0) -> bytes:
        """Return a query without its signature, in the order in which live requests have their parameters."""
        customer = conversation.customer
        is_new = conversation.is_draft or shape == _NEW
        # A new one is in any inbox: so a check sees whether the service that it asks takes other inboxes.
        inbox = _MAILBOX if is_new else min(self._inboxes, default=_MAILBOX)
        of_customer = {
            "conversation-id": 250_000_000 + conversation.number,
            "conversation-number": conversation.number,
            "customer-id": SAMPLE_CUSTOMERS + conversation.number if customer is None else customer,
        }
        everything = {
            **({} if is_new else of_customer),
            "mailbox-id": inbox,
            "user-id": 140_000 + conversation.agent,
            "installation-ids": "AbCdEfGhIjKl",
            "application-id": "MnOpQrStUvWx",
            "application-slug": "85001-customer-card",
        }
        return urlencode(everything).encode()

    def query_like(self, inquiry: Inquiry, customer: int | None) -> bytes:
        """Return the same parameters, as far as they are known."""
        number = dict(zip(self._varied, inquiry.varied, strict=False)).get("ticket.number", "")
        of_customer = {
            "conversation-id": inquiry.conversation,
            "conversation-number": number if _ID.fullmatch(number) else None,
            "customer-id": customer,
        }
        is_ours = not self._inboxes or inquiry.mailbox in self._inboxes
        everything = {
            **(of_customer if customer is not None else {}),
            "mailbox-id": inquiry.mailbox if is_ours else min(self._inboxes),
            "user-id": inquiry.agent,
        }
        return urlencode({name: value for name, value in everything.items() if value is not None}).encode()


def _id(signed: Mapping[str, str], name: str, pattern: re.Pattern[str] = _ID) -> int | None:
    """Return an id; Help Scout's are numbers, and any other text could be somebody's name."""
    value = signed.get(name, "")
    return int(value) if pattern.fullmatch(value) else None
