"""Corpora: real customers, known shapes, the same bytes for a seed."""

import json
from collections import Counter
from random import Random

import pytest

from appliance.customers.snapshot import SnapshotFault
from appliance.replay.corpus import CustomerSampler, make_lines
from appliance.replay.corpus_line import HEADER
from appliance.replay.shapes import SHAPES, Conversation
from appliance.sidebar.payload import parse
from appliance.sidebar.reply import Outcome
from appliance.sidebar.signature import Secret
from tests.factory import CUSTOMERS, SECRET, make_app, make_snapshot
from tests.vectors import PAYLOADS

ANN = Conversation(7, ("ann@example.com", "ann.lee@example.org"), 3)
OUTCOMES = {
    "a draft without a recipient": Outcome.DRAFT,
    "no address at all": Outcome.NO_ADDRESS,
}


def lines(snapshot, count=200, seed=1, unknown=0.0, names=("email",), header=HEADER):
    random = Random(seed)
    drawn = CustomerSampler(snapshot, names, random, fold_plus=False)
    made = make_lines(drawn, random, Secret(SECRET.encode()), path="/h", header=header, count=count, unknown=unknown)
    return list(made)


@pytest.fixture
def snapshot(tmp_path):
    return make_snapshot(tmp_path)


def test_the_shares_are_a_whole():
    assert sum(shape.percent for shape in SHAPES) == 100
    assert len({shape.name for shape in SHAPES}) == len(SHAPES)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_every_shape_is_answered(shape, snapshot):
    app = make_app(snapshot)
    body = json.dumps(shape.make(ANN)).encode()
    reply = app.answer(body, Secret(SECRET.encode()).sign(body))
    assert (reply.status, reply.outcome) == (200, OUTCOMES.get(shape.name, Outcome.FOUND))


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_every_shape_can_do_without_an_address(shape):
    parse(json.dumps(shape.make(Conversation(7, (), 3))).encode())


@pytest.mark.parametrize("case", [one for one in PAYLOADS if one.id.startswith(("P1", "P3", "P5", "P6"))])
def test_real_messages_have_one_of_the_shapes(case):
    """The same keys, and values of the same types."""

    def outline(value):
        if isinstance(value, dict):
            return {key: outline(inner) for key, inner in value.items()}
        return type(value).__name__

    made = [outline(shape.make(Conversation(1, ("ann@example.com",), 2))) for shape in SHAPES]
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
    secret = Secret(SECRET.encode())
    assert all(line.signature == secret.sign(line.body.encode()).decode() for line in made)
    assert {(line.path, line.header, line.expect) for line in made} == {("/h", "", 200)}


def test_another_header_is_in_the_line(snapshot):
    assert {line.header for line in lines(snapshot, header="X-FreeScout-Signature")} == {"X-FreeScout-Signature"}


def test_bodies_are_as_php_writes_them(snapshot):
    text = "".join(line.body for line in lines(snapshot))
    assert text.isascii()
    assert r"l'\u00e9t\u00e9 \/ \u590f \ud83d\ude00" in text
    assert " :" not in text


@pytest.mark.parametrize("unknown", [0.0, 0.3, 1.0])
def test_the_share_of_strangers(snapshot, unknown):
    app = make_app(snapshot)
    replies = [app.answer(line.body.encode(), line.signature.encode()) for line in lines(snapshot, 1000, 1, unknown)]
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
    with pytest.raises(SnapshotFault, match="is damaged"):
        snapshot.values(len(CUSTOMERS))  # one too many
