"""What messages to a legacy app teach of the ids that its page is asked about."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.customers.id_map import IdMap
from appliance.customers.ids import DAY, SEEN_EVERY, Change, Kind, Source
from appliance.service.id_store import IdStore
from appliance.sidebar.app import SidebarApp
from appliance.sidebar.protocols.base import Message
from appliance.sidebar.protocols.helpscout_app import HelpScoutApp
from appliance.sidebar.protocols.helpscout_page import HelpScoutPage
from tests.factory import NOW, SECRET, make_app, sign, visit_for
from tests.vectors import LEGACY_IDS

KEY = SECRET.encode()
PAGE = HelpScoutPage([KEY])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[IdStore]:
    opened = IdStore(tmp_path / "ids", NOW)
    yield opened
    opened.close()


@pytest.fixture
def app(tmp_path: Path) -> SidebarApp:
    return make_app(None, others=[PAGE], ids=IdMap(tmp_path / "ids"))


def message(*emails: str, customer: object = 5, **more: object) -> Message:
    body = json.dumps({"customer": {"id": customer, "email": emails[0], "emails": list(emails)}, **more}).encode()
    return Message(body, sign(body))


@pytest.mark.parametrize("case", LEGACY_IDS)
def test_vector(case: dict[str, Any], tmp_path: Path) -> None:
    body = case["body"].encode()
    protocol = HelpScoutApp([KEY], header=case.get("header", ""))
    app = make_app(None, protocol=protocol, others=[PAGE], ids=IdMap(tmp_path / "ids"))
    taught = app.answer(Message(body, sign(body))).taught
    found = {str(taught.customer): list(taught.addresses)} if isinstance(taught, Change) else {}
    assert found == case["teaches"]


def test_only_what_says_something_new_is_taught(app: SidebarApp, store: IdStore) -> None:
    taught = app.answer(message("a@x.example", "b@x.example")).taught
    assert taught == Change(5, Kind.REPLACE, ("a@x.example", "b@x.example"), NOW, Source.MESSAGE)
    store.apply([taught], NOW)
    for again in (message("a@x.example", "b@x.example"), message("b@x.example", "a@x.example")):
        assert app.answer(again).taught is None
    assert app.answer(message("a@x.example")).taught == Change(5, Kind.REPLACE, ("a@x.example",), NOW, Source.MESSAGE)


def test_one_address_alone_removes_no_other(app: SidebarApp, store: IdStore) -> None:
    store.apply([Change(5, Kind.REPLACE, ("a@x.example", "b@x.example"), NOW)], NOW)
    body = b'{"customer": {"id": 5, "email": "a@x.example"}}'
    assert app.answer(Message(body, sign(body))).taught is None
    body = b'{"customer": {"id": 5, "email": "c@x.example"}}'
    assert app.answer(Message(body, sign(body))).taught == Change(5, Kind.ADD, ("c@x.example",), NOW, Source.MESSAGE)


@pytest.mark.parametrize("customer", [0, -5, "abc", None, True, 5.5, "9" * 30])
def test_what_is_no_id_teaches_nothing(customer: object, app: SidebarApp) -> None:
    assert app.answer(message("a@x.example", customer=customer)).taught is None


def test_a_wrong_signature_teaches_nothing(app: SidebarApp) -> None:
    body = message("a@x.example").body
    assert app.answer(Message(body, sign(body, "other"))).taught is None


def test_an_app_without_a_page_learns_nothing() -> None:
    assert make_app(None).answer(message("a@x.example")).taught is None


def test_no_address_is_no_knowledge(app: SidebarApp) -> None:
    body = b'{"customer": {"id": 5, "email": "no address", "emails": []}}'
    assert app.answer(Message(body, sign(body))).taught is None


@pytest.mark.parametrize(
    ("days", "is_told"), [(0, False), (SEEN_EVERY - 1, False), (SEEN_EVERY, True), (-1, True)], ids=str
)
def test_a_page_says_once_a_week_that_an_id_was_asked_for(
    days: int, is_told: bool, app: SidebarApp, store: IdStore
) -> None:
    """Also where the clock was wrong, and is set back."""
    before = NOW - days * DAY
    store.apply([Change(5, Kind.REPLACE, ("a@x.example",), before)], before)
    taught = app.answer(visit_for(PAGE, customer_id=5), PAGE).taught
    assert taught == (Change(5, Kind.SEEN, (), NOW, Source.PAGE) if is_told else None)
    if isinstance(taught, Change):
        store.apply([taught], NOW)
        assert app.answer(visit_for(PAGE, customer_id=5), PAGE).taught is None
        assert app.answer(message("a@x.example")).taught is None


def test_a_message_that_says_nothing_else_says_that_too(app: SidebarApp, store: IdStore) -> None:
    before = NOW - SEEN_EVERY * DAY
    store.apply([Change(5, Kind.REPLACE, ("a@x.example",), before)], before)
    assert app.answer(message("a@x.example")).taught is not None


@pytest.mark.parametrize("changes", [(), (Change(5, Kind.DELETE, (), NOW),)], ids=["unknown", "deleted"])
def test_a_page_teaches_nothing_of_what_is_not_known(
    changes: tuple[Change, ...], app: SidebarApp, store: IdStore
) -> None:
    store.apply(changes, NOW)
    assert app.answer(visit_for(PAGE, customer_id=5), PAGE).taught is None
