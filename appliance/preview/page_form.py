"""The page of Help Scout's current platform beside the legacy card: the same conversation, asked for by ids.

The document is the one that is served, but that its script writes to the preview, and the policy lets the preview frame
it, in the place of Help Scout. The frame is sandboxed, so what runs in it is of no origin and reads nothing outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from appliance.customers.address import normalise
from appliance.customers.ids import Known, normal_forms
from appliance.outcomes import Outcome
from appliance.preview.examples import DataState
from appliance.sidebar.app import SidebarApp
from appliance.sidebar.inquiry import Inquiry
from appliance.sidebar.protocols import page_document
from appliance.sidebar.protocols.base import SAMPLE_CUSTOMERS, InquiryError
from appliance.sidebar.protocols.query_signed import QuerySigned

FRAME: Final = page_document.Frame("location.origin", "'self'")
"""The preview in the place of Help Scout: a sandboxed document knows the origin that it came from."""

_MOST_IDS: Final = 100


class PageForm(msgspec.Struct, frozen=True):
    """How the page of a conversation is asked for, and what came of it."""

    url: str
    """Where the preview serves it."""

    request: str
    """The first line of the request to the service, without its signature."""

    outcome: Outcome
    size: int


class PretendedIds:
    """Knows whose ids the previewed visits have, as if a webhook had told."""

    def __init__(self) -> None:
        self._known: dict[int, Known] = {}
        self._number = SAMPLE_CUSTOMERS

    def find(self, customer: int) -> Known | None:
        """Return what is known of an id."""
        return self._known.get(customer)

    def new(self) -> int:
        """Return an id of which nothing is known."""
        self._number += 1
        return self._number

    def id_of(self, addresses: Sequence[str]) -> int:
        """Return an id that stands for these addresses; it is forgotten after many others."""
        known = Known(tuple(addresses), 0.0)
        for customer, held in self._known.items():
            if held == known:
                return customer
        if len(self._known) == _MOST_IDS:
            self._known.pop(next(iter(self._known)))
        customer = self.new()
        self._known[customer] = known
        return customer


def page_of(app: SidebarApp) -> QuerySigned | None:
    """Return the protocol of an app's page, if it has one."""
    return next((one for one in app.protocols if isinstance(one, QuerySigned)), None)


def page_form(app: SidebarApp, path: str, body: bytes, data: DataState, ids: PretendedIds) -> PageForm | None:
    """Return the page of the conversation that a message to the app is about; None if there is none."""
    page = page_of(app)
    try:
        inquiry = app.protocol.parse(body)
    except InquiryError:
        return None
    if page is None:
        return None
    plain = page.query_like(inquiry, _customer(inquiry, data, ids)).decode()
    query = page.signed_query(plain.encode())
    reply = app.answer(page.visit(query), page)
    return PageForm(f"page/{data}?{query}", f"GET {path}?{plain}", reply.outcome, len(reply.response.body))


def framed(app: SidebarApp, query: str) -> bytes | None:
    """Return the document that a visit with this query gets, for the preview's frame; None if it is refused."""
    page = page_of(app)
    if page is None:
        return None
    reply = app.answer(page.visit(query), page)
    try:
        return FRAME.document(page.read_card(reply.response.body))
    except ValueError:
        return None


def _customer(inquiry: Inquiry, data: DataState, ids: PretendedIds) -> int | None:
    """Return the id of the customer; a conversation that does not exist yet has none."""
    if inquiry.otherwise is Outcome.DRAFT:
        return None
    if data is DataState.UNKNOWN_ID:
        return ids.new()
    own = normalise(inquiry.own_address) if inquiry.own_address else None
    return ids.id_of([one for one in normal_forms(inquiry.addresses) if one != own])
