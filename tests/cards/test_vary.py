"""What a card may read of the request, and that nobody gets what was made for another."""

import json

import pytest

from appliance.cards.template import CardTemplate
from appliance.cards.vary import Vary
from appliance.outcomes import Outcome
from appliance.sidebar.answer_cache import CacheState
from appliance.sidebar.app import Card
from appliance.sidebar.protocols.base import Message
from appliance.sidebar.protocols.helpscout_app import HelpScoutApp
from tests.factory import body_for, make_app, make_snapshot, sign


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    return make_snapshot(tmp_path_factory.mktemp("vary"))


def ask(app, *emails, **more):
    body = body_for(*emails or ("ann@example.com",), **more)
    reply = app.answer(Message(body, sign(body)))
    return json.loads(reply.response.body)["html"], reply


def app_of(snapshot, text, *names):
    return make_app(snapshot, card=Card(CardTemplate(text, "card.html"), vary=Vary(names)))


ALL = HelpScoutApp.vary


@pytest.mark.parametrize(
    ("message", "values"),
    [
        ({}, ("", "", "", "", "", "")),
        (
            {"user": {"id": 7, "role": "admin"}, "mailbox": {"id": "5", "email": "b@example.com"}},
            ("7", "admin", "5", "b@example.com", "", ""),
        ),
        ({"ticket": {"subject": "<Hi>", "number": 9}}, ("", "", "", "", "<Hi>", "9")),
        ({"ticket": False}, ("", "", "", "", "", "")),
        ({"ticket": True, "user": {"role": 5}}, ("", "", "", "", "", "")),
    ],
)
def test_values(message, values):
    protocol = HelpScoutApp([b"secret"], vary=ALL)
    assert protocol.parse(Message(json.dumps(message).encode(), None)).varied == values


def test_a_role_gets_its_own_card(snapshot):
    """From the cache too, and whoever comes first."""
    app = app_of(snapshot, "{% if user.role == 'admin' %}{{ customer.plan }}{% else %}-{% end %}", "user.role")
    for _ in range(2):
        assert ask(app, user={"id": 1, "role": "admin"})[0] == "Pro"
        assert ask(app, user={"id": 1, "role": "user"})[0] == "-"
        assert ask(app)[0] == "-"
    html, reply = ask(app, user={"id": 2, "role": "admin"})
    assert (html, reply.cache) == ("Pro", CacheState.HIT)  # the id is not named, so it makes no difference


def test_a_value_is_escaped(snapshot):
    app = app_of(snapshot, "{{ ticket.subject }}", "ticket.subject")
    assert ask(app, ticket={"subject": "<script>"})[0] == "&lt;script&gt;"


def test_what_is_not_named_is_a_fault(snapshot):
    app = app_of(snapshot, "{{ user.role }}", "user.id")
    html, reply = ask(app, user={"role": "admin"})
    assert reply.outcome is Outcome.CARD_FAULT
    assert reply.fault == 'card.html:1: user.role is not named in vary; add "user.role" to vary of this [[app]]'
    assert "Ann Lee" in html


@pytest.mark.parametrize("name", ALL)
def test_each_name_is_part_of_the_key(name, snapshot):
    part, attribute = name.split(".")
    app = app_of(snapshot, "{{ " + name + " }}", name)
    for value in ("1", "2", "1"):
        assert ask(app, **{part: {attribute: value}})[0] == value


def test_without_vary_one_card_is_for_all(snapshot):
    app = app_of(snapshot, "x")
    assert ask(app, user={"id": 1, "role": "admin"})[1].cache == CacheState.MISS
    assert ask(app, user={"id": 2, "role": "user"}, ticket={"subject": "x"})[1].cache == CacheState.HIT
