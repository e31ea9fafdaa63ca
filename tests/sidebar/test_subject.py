"""Order numbers in the subject, for when no address is known."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.cards.template import CardTemplate
from appliance.cards.vary import Vary
from appliance.config.values import parse_pattern
from appliance.outcomes import Outcome
from appliance.sidebar.answer_cache import CacheState
from appliance.sidebar.app import Card, Rules
from appliance.sidebar.protocols.base import Message
from appliance.sidebar.subject import MAX_NAMED, MAX_SUBJECT, SubjectRule, match_subject
from tests.factory import (
    NOW,
    Timer,
    body_for,
    import_spec,
    make_app,
    open_snapshot,
    related_spec,
    run_import,
    sign,
    write_csv,
)

CUSTOMERS = (
    ("email", "id", "name", "licence"),
    ("ann@example.com", "1", "Ann Lee", "AB-12"),
    ("bob@example.com", "2", "Bob", "CD-34"),
)
ORDERS = (("number", "customer"), ("100001", "1"), ("100002", "2"))
ORDER = SubjectRule(parse_pattern("#([0-9]{6})"), "orders.number", "order number")
LICENCE = SubjectRule(parse_pattern("[A-Z]{2}-[0-9]{2}"), "licence", "licence")


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    folder = tmp_path_factory.mktemp("subject")
    orders = related_spec(
        name="orders", source=write_csv(folder / "orders.csv", ORDERS), table="", key="customer", on="id"
    )
    source = write_csv(folder / "customers.csv", CUSTOMERS)
    plan = import_spec(source=source, related=(orders,), keys=("orders.number", "licence"))
    run_import(plan, folder / "state")
    return open_snapshot(folder / "state", plan)


@pytest.fixture
def app(snapshot):
    return make_app(snapshot, card=Card(subject=(ORDER, LICENCE)))


def ask(app, subject, *emails, **more):
    body = body_for(*emails, ticket={"id": 1, "subject": subject}, **more)
    reply = app.answer(Message(body, sign(body)))
    return json.loads(reply.response.body)["html"], reply


BY_ORDER = (
    '<p class="orange">Matched by order number 100001 in the subject, not by email address.'
    " Check that the sender is this customer.</p>"
)


@pytest.mark.parametrize("emails", [["nobody@example.com"], []], ids=["unknown", "no address"])
def test_finds_whom_no_address_finds(emails, app):
    html, reply = ask(app, "Order #100001", *emails)
    assert reply.outcome is Outcome.FOUND
    assert html.startswith(BY_ORDER + "<h4>Ann Lee</h4>")
    assert ask(app, "Order #100001", *emails)[1].cache == CacheState.HIT


@pytest.mark.parametrize("emails", [["nobody@example.com"], []], ids=["unknown", "no address"])
@pytest.mark.parametrize("named", [False, True], ids=["hash", "address"])
def test_is_logged_as_the_one_who_is_shown(named, emails, snapshot):
    """Not as whoever wrote, nor as nobody: the audit trail says whose card an agent saw."""
    rules = Rules(address_columns=("email",))
    app = make_app(snapshot, rules=rules, card=Card(subject=(ORDER,)), names_addresses=named)
    _, by_number = ask(app, "Order #100001", *emails)
    _, by_address = ask(app, "Hello", "ann@example.com")
    assert (by_number.customer, by_number.address) == (by_address.customer, by_address.address)
    assert by_number.address == ("ann@example.com" if named else "")


def test_one_who_has_no_address_is_logged_by_the_number(snapshot):
    app = make_app(
        snapshot, rules=Rules(address_columns=("name",)), card=Card(subject=(LICENCE,)), names_addresses=True
    )
    _, reply = ask(app, "Re: AB-12")
    assert reply.address == "ab-12"
    assert reply.customer is not None


def test_a_number_of_nobody_is_logged_as_the_address_that_asked(app):
    known, nobody = (ask(app, "#999999", *emails)[1].customer for emails in (["nobody@example.com"], []))
    assert known == ask(app, "Hello", "nobody@example.com")[1].customer is not None
    assert nobody is None


def test_a_large_message_is_not_cached(app):
    """Its texts are the key, and thousands of such keys would fill the memory."""
    emails = [f"{'x' * 50}{number}@example.com" for number in range(300)]
    assert [ask(app, "Order #100001", *emails)[1].cache for _ in range(2)] == [CacheState.MISS] * 2


def test_an_address_that_is_known_decides(app):
    html, reply = ask(app, "Order #100001", "bob@example.com")
    assert reply.outcome is Outcome.FOUND
    assert html.startswith("<h4>Bob</h4>")


def test_another_subject_is_another_answer(app):
    """Though it is the same address, of which it is known that it is nobody's."""
    assert "Ann" in ask(app, "#100001", "nobody@example.com")[0]
    assert "Bob" in ask(app, "#100002", "nobody@example.com")[0]
    html, reply = ask(app, "Hello", "nobody@example.com")
    assert (reply.outcome, reply.cache) == (Outcome.UNKNOWN, CacheState.HIT)
    assert "order number" not in html


@pytest.mark.parametrize(
    ("emails", "outcome"),
    [(["nobody@example.com"], Outcome.UNKNOWN), ([], Outcome.NO_ADDRESS)],
    ids=["unknown", "none"],
)
def test_a_number_of_nobody_is_said(emails, outcome, app):
    html, reply = ask(app, "Order #999999", *emails)
    assert reply.outcome is outcome
    assert "No customer has order number 999999 (from the subject) either." in html


def test_several_numbers_find_several_customers(app):
    html, _ = ask(app, "#100002, #100001 and ab-12 AB-12 #100002", "nobody@example.com")
    assert html.index("<h4>Bob") < html.index("<h4>Ann")
    assert html.count("<h4>") == 2
    assert "Matched by order number 100002 or order number 100001 or licence AB-12 in the subject" in html


def test_a_draft_has_no_subject(app):
    body = b'{"ticket":false,"customer":{}}'
    assert app.answer(Message(body, sign(body))).outcome is Outcome.DRAFT


def test_without_data_nobody_is_called_unknown():
    app = make_app(None, card=Card(subject=(ORDER,)))
    assert ask(app, "#100001", "nobody@example.com")[1].outcome is Outcome.NOT_LOADED
    assert ask(app, "#100001")[1].outcome is Outcome.NOT_LOADED


def test_a_template_shows_who_was_found_below_how(snapshot):
    template = CardTemplate("{{ customer.name }} {{ user.role }} {{ len(addresses) }}", "card.html")
    app = make_app(snapshot, card=Card(template, vary=Vary(["user.role"]), subject=(ORDER,)))
    for role in ("admin", "user"):
        assert ask(app, "#100001", "nobody@example.com", user={"role": role})[0] == f"{BY_ORDER}Ann Lee {role} 1"


def test_old_data_says_so(snapshot):
    app = make_app(snapshot, clock=Timer(NOW + 3601), card=Card(subject=(ORDER,)), rules=Rules(max_age=3600.0))
    assert ask(app, "#100001", "nobody@example.com")[0].endswith(
        '<p class="orange">This data is out of date: last updated today at 14:13.</p>'
    )


@pytest.mark.parametrize(
    ("subject", "values"),
    [
        (None, []),
        ("", []),
        ("#12345", []),
        ("Re: #100001 / #100001", ["100001"]),
        (" ".join(f"#10000{n}" for n in range(9)), [f"10000{n}" for n in range(MAX_NAMED)]),
        ("x" * MAX_SUBJECT + " #100001", []),
        ("#١٢٣٤٥٦", []),
        ("\x00#100001", ["100001"]),
    ],
)
def test_match_subject(subject, values):
    assert [one.value for one in match_subject(subject, [ORDER])] == values


def test_an_empty_match_names_nothing():
    rule = SubjectRule(parse_pattern("[0-9]*"), "id", "id")
    assert [one.value for one in match_subject("a 7", [rule])] == ["7"]


@pytest.mark.parametrize(("before", "values"), [(49, ["7"]), (50, [])], ids=["fifty", "more"])
def test_fifty_matches_are_looked_at(before, values):
    rule = SubjectRule(parse_pattern("#([0-9]*)"), "id", "id")
    assert [one.value for one in match_subject("#" * before + "#7", [rule])] == values


@given(st.text(max_size=300))
def test_any_subject(subject):
    match_subject(subject, [ORDER, LICENCE])


@pytest.mark.parametrize(
    ("pattern", "subject"),
    [
        ("(?:a+)+$", "a" * 100_000 + "b"),
        ("(?:a|a)*b", "a" * 100_000),
        ("(?:.*,)*x", "," * 100_000),
        (r"(?:\s*#?\s*)*([0-9]+)z", " #1" * 100_000),
        ("(?:x?){500}x{500}", "x" * 100_000),
    ],
)
def test_no_subject_takes_long(pattern, subject):
    """Each takes re for ever; the bound is generous, so that a busy machine does not matter."""
    began = time.process_time()
    match_subject(subject, [SubjectRule(parse_pattern(pattern), "id", "id")])
    assert time.process_time() - began < 0.5
