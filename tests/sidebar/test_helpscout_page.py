"""The page of the current platform: whom it shows, to whom, and that it is the same card."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from justhtml import JustHTML

from appliance.cards.template import CardTemplate
from appliance.cards.vary import Vary
from appliance.customers.id_map import IdMap, base_of
from appliance.customers.ids import Change, Kind
from appliance.customers.snapshot import Snapshot
from appliance.outcomes import Outcome, Reply
from appliance.service.id_store import IdStore
from appliance.sidebar.app import Card, Rules, SidebarApp
from appliance.sidebar.inquiry import Answer
from appliance.sidebar.protocols.base import BAD_SIGNATURE, Conversation, HelpDesk, Message
from appliance.sidebar.protocols.helpscout_app import HelpScoutApp
from appliance.sidebar.protocols.helpscout_page import HelpScoutPage
from appliance.sidebar.protocols.page_document import FOOT, HEAD, POLICY, SCRIPT, STYLE
from appliance.sidebar.protocols.query_signed import NOT_FRAMED, OTHER_NETWORK, Visit
from tests.cards.hostile import HOSTILE
from tests.cards.html5 import CLASSES
from tests.cards.test_builtin import CARDS, shown
from tests.factory import NOW, SECRET, body_for, make_app, make_snapshot, signed, visit_for
from tests.vectors import PAGE_QUERIES

ROWS = (
    ("id", "email", "name"),
    ("604417723", "ida@nord.example", "Ida Møller"),
    ("604417724", "", "Without address"),
    ("700", "twin@example.com", "Twin One"),
    ("700", "twin2@example.com", "Twin Two"),
)
KEY = SECRET.encode()
PAGE = HelpScoutPage([KEY])


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return make_snapshot(tmp_path_factory.mktemp("page"), ROWS, keys=("id",))


def app_of(snapshot: Snapshot | None, page: HelpDesk = PAGE, **given: Any) -> SidebarApp:
    given = {"rules": Rules(id_column="id", address_columns=("email",)), **given}
    return make_app(snapshot, others=[page], **given)


def card_of(reply: Reply) -> str:
    return PAGE.read_card(reply.response.body)


# Whom it shows


@pytest.mark.parametrize("case", PAGE_QUERIES)
def test_vector(case: dict[str, Any], snapshot: Snapshot) -> None:
    page = HelpScoutPage([one.encode() for one in case["secrets"]], own_parameters=case["own"])
    reply = app_of(snapshot, page).answer(Visit(case["query"].encode(), destination="iframe"), page)
    if not case["valid"]:
        assert reply is BAD_SIGNATURE
        return
    assert reply.response.status == 200
    outcomes = {"by_id": Outcome.FOUND, None: Outcome.FOUND}
    assert reply.outcome == outcomes.get(case.get("page"), case.get("page"))
    assert ("Ida Møller" in card_of(reply)) is (reply.outcome is Outcome.FOUND)
    for number in (reply.conversation, reply.mailbox, reply.agent):
        assert number is None or str(number) in case["query"]


def test_what_the_log_and_the_trail_get(snapshot: Snapshot) -> None:
    app = app_of(snapshot)
    visit = visit_for(PAGE, conversation_id=12, customer_id=604417723, mailbox_id=34, user_id=56)
    reply = app.answer(visit, PAGE)
    assert (reply.conversation, reply.mailbox, reply.agent) == (12, 34, 56)
    by_address = app.answer(signed(body_for("ida@nord.example")))
    assert reply.customer == by_address.customer  # one person in the log, whichever way Help Scout asks


@pytest.mark.parametrize("customer", [604417724, 12345], ids=["without an address", "unknown"])
def test_an_id_is_in_no_log_in_clear(customer: int, snapshot: Snapshot) -> None:
    reply = app_of(snapshot, names_addresses=True).answer(visit_for(PAGE, customer_id=customer), PAGE)
    assert reply.customer is not None
    assert re.fullmatch(r"[0-9a-f]{16}", reply.customer)
    assert reply.address == ""


def test_several_customers_of_one_id(snapshot: Snapshot) -> None:
    card = card_of(app_of(snapshot).answer(visit_for(PAGE, customer_id=700), PAGE))
    assert card.index("Twin One") < card.index("Twin Two")


@pytest.mark.parametrize(
    ("parameters", "outcome", "words"),
    [
        ({"customer_id": 5}, "unknown_id", "Customer not known yet"),
        ({"mailbox_id": 5}, "no_customer", "No customer yet"),
        ({}, "no_customer", "No customer yet"),
        ({"customer_id": "0604417723"}, "no_customer", "No customer yet"),
        ({"customer_id": "604417723 "}, "no_customer", "No customer yet"),
        ({"customer_id": "+604417723"}, "no_customer", "No customer yet"),
        ({"customer_id": "٦"}, "no_customer", "No customer yet"),
        ({"customer_id": "9" * 21}, "no_customer", "No customer yet"),
        ({"customer_id": "6044177%"}, "no_customer", "No customer yet"),
        ({"email": "ida@nord.example"}, "no_customer", "No customer yet"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else None,
)
def test_states(parameters: dict[str, object], outcome: str, words: str, snapshot: Snapshot) -> None:
    reply = app_of(snapshot).answer(visit_for(PAGE, **parameters), PAGE)
    assert reply.outcome == outcome
    assert f"<h4>{words}</h4>" in card_of(reply)


def test_not_loaded() -> None:
    reply = app_of(None).answer(visit_for(PAGE, customer_id=604417723), PAGE)
    assert (reply.outcome, reply.response.status) == (Outcome.NOT_LOADED, 200)
    assert card_of(reply) == CARDS["not_loaded"]


def test_without_a_column_no_id_is_known(snapshot: Snapshot) -> None:
    reply = app_of(snapshot, rules=Rules()).answer(visit_for(PAGE, customer_id=604417723), PAGE)
    assert reply.outcome is Outcome.UNKNOWN_ID


@pytest.mark.parametrize(
    ("mailbox", "outcome"),
    [(34, "found"), (36, "found"), (35, "other_inbox"), (None, "other_inbox"), ("x", "other_inbox")],
)
def test_inboxes(mailbox: object, outcome: str, snapshot: Snapshot) -> None:
    page = HelpScoutPage([KEY], inboxes=[34, 36])
    given = {} if mailbox is None else {"mailbox_id": mailbox}
    reply = app_of(snapshot, page).answer(visit_for(page, customer_id=604417723, **given), page)
    assert reply.outcome == outcome
    assert ("Ida" in card_of(reply)) is (outcome == "found")


def test_a_card_of_the_operators(snapshot: Snapshot) -> None:
    text = "<h4>{{ customer.name }} of {{ addresses[0] }}</h4>{{ mailbox.id }}/{{ user.role }}"
    vary = Vary(("mailbox.id", "user.role"))
    page = HelpScoutPage([KEY], vary=vary.names)
    app = app_of(snapshot, page, card=Card(CardTemplate(text, "card.html"), vary=vary))
    reply = app.answer(visit_for(page, customer_id=604417723, mailbox_id=34), page)
    assert reply.outcome is Outcome.FOUND, reply.fault
    assert card_of(reply) == "<h4>Ida Møller of ida@nord.example</h4>34/"  # a page knows no role


# By what is known of the id


@pytest.fixture
def store(tmp_path: Path) -> Iterator[IdStore]:
    opened = IdStore(tmp_path / "ids", NOW)
    yield opened
    opened.close()


def tell(store: IdStore, customer: int, *addresses: str, kind: Kind = Kind.REPLACE, at: float = NOW) -> None:
    store.apply([Change(customer, kind, addresses, at)], at)


def look(app: SidebarApp, customer: int) -> tuple[str, str]:
    reply = app.answer(visit_for(PAGE, customer_id=customer), PAGE)
    return reply.outcome, card_of(reply)


def test_what_is_learned_of_an_id_shows_at_the_next_look(snapshot: Snapshot, store: IdStore, tmp_path: Path) -> None:
    app = app_of(snapshot, ids=IdMap(tmp_path / "ids"))
    assert look(app, 5)[0] == "unknown_id"
    tell(store, 5, "ida@nord.example")
    outcome, card = look(app, 5)
    assert (outcome, "Ida Møller" in card) == ("found", True)
    tell(store, 5, "stranger@example.com", at=NOW + 1)
    outcome, card = look(app, 5)
    assert (outcome, "stranger@example.com" in card, "Ida" in card) == ("unknown", True, False)
    tell(store, 5, at=NOW + 2)
    assert look(app, 5)[0] == "no_address"
    tell(store, 5, kind=Kind.DELETE, at=NOW + 3)
    assert look(app, 5)[0] == "unknown_id"


def test_customers_by_the_column_come_first_and_each_once(snapshot: Snapshot, store: IdStore, tmp_path: Path) -> None:
    app = app_of(snapshot, ids=IdMap(tmp_path / "ids"))
    tell(store, 700, "ida@nord.example", "twin2@example.com")
    _, card = look(app, 700)
    names = ["Twin One", "Twin Two", "Ida Møller"]
    assert [card.count(f"<h4>{name}</h4>") for name in names] == [1, 1, 1]
    assert sorted(names, key=card.index) == names


def test_own_domains_are_left_out(snapshot: Snapshot, store: IdStore, tmp_path: Path) -> None:
    rules = Rules(ignore_domains=frozenset({"nord.example"}), address_columns=("email",))
    app = app_of(snapshot, ids=IdMap(tmp_path / "ids"), rules=rules)
    tell(store, 5, "ida@nord.example")
    assert look(app, 5)[0] == "no_address"


def test_with_a_damaged_map_the_column_is_still_asked(snapshot: Snapshot, store: IdStore, tmp_path: Path) -> None:
    store.compact(NOW)
    base_of(tmp_path / "ids", 2).write_bytes(b"no database")
    app = app_of(snapshot, ids=IdMap(tmp_path / "ids"))
    assert [look(app, 5)[0], look(app, 604417723)[0]] == ["unknown_id", "found"]


# One app, several protocols


def test_both_forms_are_one_card_and_two_entries_of_one_cache(snapshot: Snapshot) -> None:
    app = app_of(snapshot)
    message, visit = signed(body_for("ida@nord.example")), visit_for(PAGE, customer_id=604417723)
    posted, page = app.answer(message), app.answer(visit, PAGE)
    assert app.protocol.read_card(posted.response.body) == card_of(page)
    assert [posted.cache, page.cache, app.answer(message).cache, app.answer(visit, PAGE).cache] == [
        *("miss", "miss"),
        *("hit", "hit"),
    ]
    assert app.answer(visit, PAGE).response is page.response


def test_what_is_signed_for_one_protocol_is_nothing_to_the_other(snapshot: Snapshot) -> None:
    """The JSON of a page's query is a rightly signed body if the secrets are equal. It names nobody there."""
    app, page = app_of(snapshot), PAGE
    visit = visit_for(page, customer_id=604417723)
    assert app.answer(visit).outcome is Outcome.BAD_SIGNATURE
    text = b'{"customer-id":"604417723"}'
    reply = app.answer(signed(text))
    assert reply.outcome is Outcome.NO_ADDRESS
    body = body_for("ida@nord.example")
    assert app.answer(Message(body, app.protocol.sign(body).encode()), page) is BAD_SIGNATURE


# To whom


@pytest.mark.parametrize(
    ("destination", "is_shown"),
    [
        (None, True),
        ("iframe", True),
        ("document", False),
        ("image", False),
        ("empty", False),
        ("frame", False),
        ("", False),
        ("IFRAME", False),
        ("iframe, document", False),
    ],
)
def test_outside_a_frame(destination: str | None, is_shown: bool, snapshot: Snapshot) -> None:
    visit = visit_for(PAGE, customer_id=604417723)._replace(destination=destination)
    reply = app_of(snapshot).answer(visit, PAGE)
    assert (reply.outcome is Outcome.FOUND) is is_shown
    assert is_shown or reply is NOT_FRAMED


@pytest.mark.parametrize(
    ("peer", "is_shown"),
    [
        ("203.0.113.7", True),
        ("203.0.114.7", False),
        ("::ffff:203.0.113.7", True),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("2001:db8::1%eth0", True),
        ("", False),
        ("unix", False),
    ],
)
def test_networks(peer: str, is_shown: bool, snapshot: Snapshot) -> None:
    page = HelpScoutPage([KEY], networks=[ip_network("203.0.113.0/24"), ip_network("2001:db8::/32")])
    reply = app_of(snapshot, page).answer(visit_for(page, customer_id=604417723)._replace(peer=peer), page)
    assert (reply.outcome is Outcome.FOUND) is is_shown
    assert is_shown or reply is OTHER_NETWORK


@pytest.mark.parametrize("query", [b"\xff", b"customer-id=1&\xc3\x28", b"", b"&", b"X-HelpScout-Signature"])
def test_bytes_that_are_no_query(query: bytes, snapshot: Snapshot) -> None:
    assert app_of(snapshot).answer(Visit(query), PAGE) is BAD_SIGNATURE


# The document


@pytest.mark.parametrize("name", CARDS)
def test_between_head_and_foot_is_the_same_card(name: str) -> None:
    answer = Answer(Outcome.FOUND, CARDS[name])
    page, legacy = PAGE.render(answer), HelpScoutApp([KEY]).render(answer)
    card = HelpScoutApp([KEY]).read_card(legacy.body)
    assert page.body == HEAD.encode() + card.encode() + FOOT.encode()
    assert PAGE.read_card(page.body) == card


def test_headers() -> None:
    response = PAGE.render(Answer(Outcome.FOUND, "x"))
    assert response.content_type == "text/html; charset=utf-8"
    assert dict(response.headers) == {
        "Content-Security-Policy": POLICY,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    for kind, text in (("style", STYLE), ("script", SCRIPT)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in POLICY
    assert POLICY.startswith("default-src 'none'; ")
    assert POLICY.endswith("; base-uri 'none'; form-action 'none'; frame-ancestors https://secure.helpscout.net")
    assert "unsafe" not in POLICY


def test_the_document_is_well_formed_and_asks_for_nothing() -> None:
    document = JustHTML(f"{HEAD}{FOOT}", sanitize=False, collect_errors=True)
    assert document.errors == []
    assert not re.search(r"url\(|@import|https?://(?!secure\.helpscout\.net)|localStorage|cookie", HEAD + FOOT)
    assert len(HEAD + FOOT) < 12 * 1024


@pytest.mark.parametrize("name", sorted({name for names in CLASSES.values() for name in names} - {"is-persisted"}))
def test_every_class_of_the_style_guide_is_styled_or_used(name: str) -> None:
    assert re.search(rf"\.{re.escape(name)}(?![\w-])", STYLE + SCRIPT) or name in (
        *("open", "sb-caret"),  # set by the script; beside another
        *("c-sb-list--two-line", "c-sb-section--toggle", "c-sb-timeline--list", "c-sb-timeline-item__text"),
    )


def elements(html: str) -> list[str]:
    found: list[str] = []

    def look(node: Any) -> None:
        for child in node.children or ():
            found.append(f"{child.name} {sorted(child.attrs)}" if getattr(child, "attrs", None) else child.name)
            look(child)

    look(JustHTML(html, sanitize=False).root)
    return [name for name in found if not name.startswith("#")]


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_values_stay_text(value: str) -> None:
    """In the heading, as text, and as whatever their form is taken for."""
    card = shown(("name", "notes", "url", "status"), (value, value, value, value))
    found = elements(PAGE.render(Answer(Outcome.FOUND, card)).body.decode())
    ours = elements(HEAD + FOOT)
    for name in ours:
        found.remove(name)
    assert {name.split()[0] for name in found} <= {"h4", "ul", "li", "span", "a", "br"}
    assert {name.partition(" ")[2] for name in found} <= {"", "['class']", "['href', 'target']", "['href']"}


# What it is made of for load tests and by hand


def test_a_sample_is_signed_and_shown(snapshot: Snapshot) -> None:
    for draft, outcome in ((False, Outcome.UNKNOWN_ID), (True, Outcome.NO_CUSTOMER)):
        sample = PAGE.sample(Conversation(number=7, agent=3, is_draft=draft))
        reply = app_of(snapshot).answer(Visit(PAGE.signed_query(sample).encode()), PAGE)
        assert (reply.outcome, reply.agent) == (outcome, 140_003)


def test_a_page_without_a_card_is_not_read() -> None:
    with pytest.raises(ValueError, match="not a page"):
        PAGE.read_card(b"<h4>x</h4>")
