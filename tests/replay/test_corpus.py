"""Corpora: real customers, known shapes, the same bytes for a seed."""

import json
from collections import Counter
from random import Random

import pytest

from appliance.customers.snapshot import SnapshotError
from appliance.outcomes import Outcome
from appliance.replay.corpus import CustomerSampler, make_lines
from appliance.sidebar.protocols.base import Conversation, Message
from appliance.sidebar.protocols.helpscout_app import HelpScoutApp, decode
from tests.factory import CUSTOMERS, SECRET, make_app, make_snapshot, sign
from tests.vectors import PAYLOADS

PROTOCOL = HelpScoutApp([SECRET.encode()])
SHAPES = {shape.name: index for index, shape in enumerate(PROTOCOL.shapes)}
ANN = Conversation(number=7, addresses=("ann@example.com", "ann.lee@example.org"), agent=3)
OUTCOMES = {
    "a draft without a recipient": Outcome.DRAFT,
    "no address at all": Outcome.NO_ADDRESS,
}


def lines(snapshot, count=200, seed=1, unknown=0.0, names=("email",), protocol=PROTOCOL):
    random = Random(seed)
    drawn = CustomerSampler(snapshot, names, random, fold_plus=False)
    made = make_lines(drawn, random, protocol, path="/h", count=count, unknown=unknown)
    return list(made)


@pytest.fixture
def snapshot(tmp_path):
    return make_snapshot(tmp_path)


def test_the_shares_are_a_whole():
    assert sum(shape.percent for shape in PROTOCOL.shapes) == 100
    assert len(SHAPES) == len(PROTOCOL.shapes)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_answered(shape, snapshot):
    app = make_app(snapshot)
    body = PROTOCOL.sample(ANN, SHAPES[shape])
    reply = app.answer(Message(body, sign(body)))
    assert (reply.response.status, reply.outcome) == (200, OUTCOMES.get(shape, Outcome.FOUND))


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_can_do_without_an_address(shape):
    decode(PROTOCOL.sample(Conversation(number=7), SHAPES[shape]))


@pytest.mark.parametrize("case", [one for one in PAYLOADS if one.id.startswith(("P1", "P3", "P5", "P6"))])
def test_real_messages_have_one_of_the_shapes(case):
    """The same keys, and values of the same types."""

    def outline(value):
        if isinstance(value, dict):
            return {key: outline(inner) for key, inner in value.items()}
        return type(value).__name__

    ann = Conversation(addresses=("ann@example.com",))
    made = [outline(json.loads(PROTOCOL.sample(ann, index))) for index in SHAPES.values()]
    real = outline(json.loads(case["body"]))
    assert any(set(real) <= set(one) and all(_within(real[key], one[key]) for key in real) for one in made)


def _within(real, made):
    if isinstance(real, dict) and isinstance(made, dict):
        return all(key in made and made[key] == kind for key, kind in real.items())
    return real == made


def test_a_seed_gives_the_same_bytes(snapshot):
    assert lines(snapshot) == lines(snapshot)
    assert lines(snapshot) != lines(snapshot, seed=2)


def test_every_body_is_another_and_signed(snapshot):
    made = lines(snapshot, count=500)
    assert len({line.body for line in made}) == 500
    assert all(line.signature == sign(line.body.encode()).decode() for line in made)
    assert {(line.path, line.header, line.expect) for line in made} == {("/h", "", 200)}


def test_another_header_is_in_the_line(snapshot):
    freescout = HelpScoutApp([SECRET.encode()], header="X-FreeScout-Signature")
    assert {line.header for line in lines(snapshot, protocol=freescout)} == {"X-FreeScout-Signature"}


def test_bodies_are_as_php_writes_them(snapshot):
    text = "".join(line.body for line in lines(snapshot))
    assert text.isascii()
    assert r"l'\u00e9t\u00e9 \/ \u590f \ud83d\ude00" in text
    assert " :" not in text


@pytest.mark.parametrize("unknown", [0.0, 0.3, 1.0])
def test_the_share_of_strangers(snapshot, unknown):
    app = make_app(snapshot)
    replies = [
        app.answer(Message(line.body.encode(), line.signature.encode())) for line in lines(snapshot, 1000, 1, unknown)
    ]
    counted = Counter(reply.outcome for reply in replies)
    asked = counted[Outcome.FOUND] + counted[Outcome.UNKNOWN]
    assert asked + counted[Outcome.DRAFT] + counted[Outcome.NO_ADDRESS] == 1000
    assert counted[Outcome.UNKNOWN] / asked == pytest.approx(unknown, abs=0.05)


@pytest.mark.parametrize("rows", [1, 2, 3, 10, 97, 100])
def test_every_customer_comes_before_one_comes_again(tmp_path, rows):
    snapshot = make_snapshot(tmp_path, [("email", "name"), *((f"c{one}@example.com", "x") for one in range(rows))])
    customers = CustomerSampler(snapshot, ("email",), Random(3), fold_plus=False)
    drawn = [customers.draw() for _ in range(3 * rows)]
    assert drawn[:rows] == drawn[rows : 2 * rows] == drawn[2 * rows :]
    assert set(drawn[:rows]) == {(f"c{one}@example.com",) for one in range(rows)}


def test_all_addresses_of_a_customer_come_along(tmp_path):
    snapshot = make_snapshot(tmp_path, [("email", "name"), ("Ann@Example.com; ann@example.org", "Ann"), ("", "Nobody")])
    customers = CustomerSampler(snapshot, ("email",), Random(3), fold_plus=False)
    assert {customers.draw(), customers.draw()} == {("ann@example.com", "ann@example.org"), ()}


def test_a_customer_that_is_not_there(snapshot):
    with pytest.raises(SnapshotError, match="is damaged"):
        snapshot.values(len(CUSTOMERS))  # one too many
