"""Somebody whose address nobody has, and whose company is known: what the agent sees, and what log and trail say."""

import json
import re
from typing import Any

import pytest

from appliance.bootstrap.wiring import make_app as make_app_of
from appliance.bootstrap.wiring import make_protocol
from appliance.cards.template import CardTemplate
from appliance.outcomes import Outcome
from appliance.sidebar.app import Card, Rules
from appliance.sidebar.subject import SubjectRule
from tests.checks.running import settings
from tests.factory import (
    NOW,
    SECRET,
    Timer,
    body_for,
    import_spec,
    make_app,
    open_snapshot,
    run_import,
    signed,
    write_csv,
)

HEADER = ("email", "name", "company", "plan", "site", "order")
ROWS = (
    ("ann@example.com", "Ann", "Example Ltd", "Pro", "https://www.example.com/", "77"),
    ("bob@example.com", "Bob", "Example Ltd", "Free", "Example.com", "78"),
    ("dan@elsewhere.net", "Dan <b>", "One Person", "Pro", "exämple.org", "79"),
    ("eve@gmail.com", "Eve", "Eve", "Free", "gmail.com", "80"),
)
RULES: Any = {"address_columns": ("email",)}


@pytest.fixture
def snapshot(tmp_path):
    spec = import_spec(source=write_csv(tmp_path / "c.csv", [HEADER, *ROWS]), company_domain="site", keys=("order",))
    run_import(spec, tmp_path / "state")
    return open_snapshot(tmp_path / "state", spec)


def ask(app, *emails, **more):
    return app.answer(signed(body_for(*emails, **more)))


def html(reply):
    return json.loads(reply.response.body)["html"]


def words(reply):
    return re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", html(reply))).strip()


def test_the_card_says_that_it_is_the_company_and_shows_what_is_shared(snapshot):
    reply = ask(make_app(snapshot), "zoe@example.com")
    assert (reply.response.status, reply.outcome) == (200, Outcome.COMPANY)
    assert words(reply) == (
        "Matched by the company domain example.com, not by email address. This is the company, not the person."
        " 2 customers have this domain. Only what they all share is shown. Example Ltd Company Example Ltd"
    )


def test_one_customer_is_shown_whole_and_escaped(snapshot):
    reply = ask(make_app(snapshot), "zoe@exämple.org")
    assert reply.outcome is Outcome.COMPANY
    assert words(reply).startswith(
        "Matched by the company domain exämple.org, not by email address. This is the company"
    )
    assert "not the person. One customer has this domain. Dan" in words(reply)
    assert "Dan &lt;b&gt;" in html(reply)


@pytest.mark.parametrize(
    ("emails", "outcome"),
    [
        pytest.param(["ann@example.com"], Outcome.FOUND, id="an address that is known"),
        pytest.param(["zoe@example.com", "dan@elsewhere.net"], Outcome.FOUND, id="another address that is known"),
        pytest.param(["zoe@elsewhere.net"], Outcome.UNKNOWN, id="a domain of addresses alone"),
        pytest.param(["zoe@gmail.com"], Outcome.UNKNOWN, id="public mail"),
        pytest.param(["zoe@googlemail.com"], Outcome.UNKNOWN, id="public mail's other domain"),
        pytest.param(["zoe@sub.example.com"], Outcome.UNKNOWN, id="a subdomain"),
        pytest.param(["zoe@gmail.com", "zoe@EXAMPLE.com"], Outcome.COMPANY, id="the second address"),
        pytest.param(["zoe@mine.example"], Outcome.UNKNOWN, id="nobody's"),
        pytest.param([], Outcome.NO_ADDRESS, id="no address"),
        pytest.param(["box@example.com"], Outcome.NO_ADDRESS, id="the mailbox's own"),
    ],
)
def test_when_a_company_is_found(emails, outcome, snapshot):
    assert ask(make_app(snapshot), *emails, mailbox={"email": "Box@example.com"}).outcome is outcome


def test_a_domain_to_ignore_is_nobodys_company(snapshot):
    app = make_app(snapshot, rules=Rules(ignore_domains=frozenset({"example.com"})))
    assert ask(app, "zoe@example.com").outcome is Outcome.NO_ADDRESS


def test_the_answer_is_cached_and_dropped_as_a_strangers_is(snapshot):
    timer = Timer()
    app = make_app(snapshot, timer=timer)
    replies = [ask(app, "zoe@example.com") for _ in range(2)]
    assert [reply.cache for reply in replies] == ["miss", "hit"]
    assert replies[0].response == replies[1].response
    timer.now = 11.0
    assert ask(app, "zoe@example.com").cache == "miss"


def test_what_the_subject_names_comes_first(snapshot):
    import re2

    card = Card(subject=(SubjectRule(re2.compile("#([0-9]+)"), "order", "order"),))
    app = make_app(snapshot, card=card)
    named = ask(app, "zoe@example.com", ticket={"id": 1, "subject": "my order #79"})
    assert (named.outcome, "Dan" in html(named)) == (Outcome.FOUND, True)
    for subject in ("my order #999", "hello"):
        assert ask(app, "zoe@example.com", ticket={"id": 1, "subject": subject}).outcome is Outcome.COMPANY


def test_an_own_card_stands_below_the_note(snapshot):
    template = CardTemplate("<h4>{{ customer.company }}|{{ customer.plan }}|{{ len(customers) }}</h4>", "card.html")
    reply = ask(make_app(snapshot, template=template), "zoe@example.com")
    assert reply.outcome is Outcome.COMPANY
    assert html(reply).startswith('<p class="orange">Matched by the company domain example.com, ')
    assert html(reply).endswith("<h4>Example Ltd||1</h4>")


def test_an_own_card_that_fails_is_a_fault_of_the_card(snapshot):
    template = CardTemplate("{{ customer.nothing }}", "card.html")
    reply = ask(make_app(snapshot, template=template), "zoe@example.com")
    assert (reply.outcome, reply.fault != "") == (Outcome.CARD_FAULT, True)
    assert "This is the company, not the person" in html(reply)


def test_old_data_is_called_old(snapshot):
    app = make_app(snapshot, clock=lambda: NOW + 7200, rules=Rules(max_age=3600.0))
    assert "This data is out of date" in html(ask(app, "zoe@example.com"))


def test_log_and_trail_name_whose_data_was_shown(snapshot):
    app = make_app(snapshot, rules=Rules(**RULES), names_addresses=True)
    known = ask(app, "dan@elsewhere.net")
    one, several, again = (ask(app, address) for address in ("a@exämple.org", "zoe@example.com", "yan@example.com"))
    assert (one.customer, one.address) == (known.customer, "dan@elsewhere.net")
    assert (several.customer, several.address) == (again.customer, "example.com")
    assert several.customer not in (None, one.customer)


def test_by_the_config(tmp_path, snapshot):
    """The keys of the config lead there; with gmail_dots, an ignored googlemail.com is gmail.com."""
    made = settings(
        tmp_path, customers='company_domain = "site"\ngmail_dots = true\nignore_domains = ["googlemail.com"]'
    )
    app = make_app_of(made, made.apps[0], make_protocol(made.apps[0], [SECRET.encode()]))
    app.use(snapshot)
    addresses = ("zoe@example.com", "e.ve@gmail.com", "eve@googlemail.com")
    outcomes = [ask(app, address).outcome for address in addresses]
    assert outcomes == [Outcome.COMPANY, Outcome.NO_ADDRESS, Outcome.NO_ADDRESS]
