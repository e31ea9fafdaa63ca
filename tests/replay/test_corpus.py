"""Corpora: real customers, known shapes, the same bytes for a seed."""

import json
from collections import Counter
from random import Random

import pytest

from appliance.customers.ids import MAX_ID
from appliance.customers.snapshot import SnapshotError
from appliance.outcomes import Outcome
from appliance.replay.corpus import CustomerSampler, Drawn, Kind, make_lines
from appliance.replay.corpus_line import read_lines, write_line
from appliance.sidebar.app import Rules
from appliance.sidebar.protocols.base import SAMPLE_CUSTOMERS, Conversation, Message
from appliance.sidebar.protocols.helpscout_app import HelpScoutApp, decode
from appliance.sidebar.protocols.helpscout_page import HelpScoutPage
from appliance.sidebar.protocols.helpscout_webhook import SAMPLE_ADDRESS, HelpScoutWebhook, change_of
from tests.factory import CUSTOMERS, SECRET, make_app, make_snapshot, sign
from tests.vectors import PAYLOADS

PROTOCOL = HelpScoutApp([SECRET.encode()])
SHAPES = {shape.name: index for index, shape in enumerate(PROTOCOL.shapes)}
ANN = Conversation(number=7, addresses=("ann@example.com", "ann.lee@example.org"), agent=3)
OUTCOMES = {
    "a draft without a recipient": Outcome.DRAFT,
    "no address at all": Outcome.NO_ADDRESS,
}
PAGE = HelpScoutPage([SECRET.encode()], inboxes=(7,))
WEBHOOK = HelpScoutWebhook([SECRET.encode()])
MIXED = (Kind(PROTOCOL, 0.25), Kind(PAGE, 0.5), Kind(WEBHOOK, 0.25))
IDS = [("email", "name", "helpscout_id"), ("ann@example.com", "Ann", "11"), ("bo@example.com", "Bo", "-")]


def lines(snapshot, count=200, seed=1, unknown=0.0, names=("email",), protocol=PROTOCOL, kinds=(), id_column=""):
    random = Random(seed)
    drawn = CustomerSampler(snapshot, names, random, fold_plus=False, id_column=id_column)
    kinds = kinds or [Kind(protocol, 1.0)]
    return list(make_lines(drawn, random, kinds, path="/h", count=count, unknown=unknown))


@pytest.fixture
def snapshot(tmp_path):
    return make_snapshot(tmp_path)


@pytest.mark.parametrize("source", [PROTOCOL, PAGE, WEBHOOK], ids=["app", "page", "webhook"])
def test_the_shares_are_a_whole(source):
    assert sum(shape.percent for shape in source.shapes) == 100
    assert len({shape.name for shape in source.shapes}) == len(source.shapes)


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
    assert set(drawn[:rows]) == {Drawn((f"c{one}@example.com",)) for one in range(rows)}


def test_all_addresses_of_a_customer_come_along(tmp_path):
    snapshot = make_snapshot(tmp_path, [("email", "name"), ("Ann@Example.com; ann@example.org", "Ann"), ("", "Nobody")])
    customers = CustomerSampler(snapshot, ("email",), Random(3), fold_plus=False)
    assert {customers.draw(), customers.draw()} == {Drawn(("ann@example.com", "ann@example.org")), Drawn()}


def test_a_customer_that_is_not_there(snapshot):
    with pytest.raises(SnapshotError, match="is damaged"):
        snapshot.values(len(CUSTOMERS))  # one too many


# Pages and webhooks


def test_kinds_are_mixed_by_their_shares(snapshot):
    made = lines(snapshot, 2000, kinds=MIXED)
    counted = Counter("webhook" if line.event else line.method for line in made)
    assert {kind: count / 2000 for kind, count in counted.items()} == {
        "GET": pytest.approx(0.5, abs=0.05),
        "POST": pytest.approx(0.25, abs=0.05),
        "webhook": pytest.approx(0.25, abs=0.05),
    }
    assert made == lines(snapshot, 2000, kinds=MIXED)
    assert read_lines("f", map(write_line, made))


@pytest.mark.parametrize("unknown", [0.0, 0.5, 1.0])
def test_pages_are_about_the_ids_of_customers(unknown, tmp_path):
    snapshot = make_snapshot(tmp_path, IDS, keys=("helpscout_id",))
    app = make_app(snapshot, rules=Rules(id_column="helpscout_id"), others=[PAGE])
    made = lines(snapshot, 400, unknown=unknown, kinds=[Kind(PAGE, 1.0)], id_column="helpscout_id")
    replies = [app.answer(PAGE.visit(line.path.partition("?")[2]), PAGE) for line in made]
    assert {reply.mailbox for reply in replies if reply.outcome != Outcome.OTHER_INBOX} == {7}
    counted = Counter(reply.outcome for reply in replies)
    assert set(counted) <= {Outcome.FOUND, Outcome.UNKNOWN_ID, Outcome.OTHER_INBOX}
    asked = counted[Outcome.FOUND] + counted[Outcome.UNKNOWN_ID]
    assert counted[Outcome.FOUND] / asked == pytest.approx((1 - unknown) / 2, abs=0.07)  # Bo has no id


def test_without_a_column_of_ids_no_id_is_known(snapshot):
    app = make_app(snapshot, others=[PAGE])
    outcomes = {app.answer(PAGE.visit(line.path.partition("?")[2]), PAGE).outcome
                for line in lines(snapshot, kinds=[Kind(PAGE, 1.0)])}  # fmt: skip
    assert outcomes == {Outcome.UNKNOWN_ID, Outcome.OTHER_INBOX}


def test_no_sample_says_anything_of_an_id_that_somebody_has(tmp_path):
    """Nor an address of a customer's: a service that is tested keeps what webhooks say."""
    snapshot = make_snapshot(tmp_path, IDS, keys=("helpscout_id",))
    made = lines(snapshot, 2000, kinds=[Kind(PROTOCOL, 0.5), Kind(WEBHOOK, 0.5)], id_column="helpscout_id")
    taught = [change_of(line.event, line.body.encode(), 1.0) for line in made if line.event]
    changes = [change for change in taught if change is not None]
    assert {change.kind.value for change in changes} == {"replace", "add", "delete"}
    assert {address for change in changes for address in change.addresses} == {SAMPLE_ADDRESS}
    assert min(change.customer for change in changes) >= SAMPLE_CUSTOMERS
    assert max(change.customer for change in changes) < MAX_ID
    assert len({change.customer for change in changes}) <= 100
    assert None in taught  # an event that changes nothing
    assert all(PROTOCOL.teaches(line.body.encode()) is None for line in made if not line.event)


@pytest.mark.parametrize("shape", range(len(WEBHOOK.shapes)), ids=[shape.name for shape in WEBHOOK.shapes])
def test_webhooks_are_signed_and_as_php_writes_them(shape):
    request = WEBHOOK.request(ANN, shape)
    assert request.event == WEBHOOK.shapes[shape].name
    assert WEBHOOK.authenticate(Message(request.body, request.signature.encode())) == request.body
    assert request.body.isascii()
    assert b": " not in request.body
