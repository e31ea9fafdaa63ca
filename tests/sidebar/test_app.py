"""The core: a body and a signature in, a reply out."""

import json
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.cards import builtin
from appliance.customers.address import normalise_domain
from appliance.outcomes import Outcome, Reply
from appliance.sidebar.answer_cache import CacheState
from appliance.sidebar.app import Rules
from appliance.sidebar.protocols.base import BAD_SIGNATURE, Message
from tests.factory import CUSTOMERS, NOW, SECRET, Timer, body_for, make_app, make_snapshot, sign
from tests.sidebar.test_helpscout_app import MESSAGES
from tests.vectors import BODY_SIGNATURES, PAYLOADS


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    return make_snapshot(tmp_path_factory.mktemp("app"))


@pytest.fixture
def app(snapshot):
    return make_app(snapshot)


def ask(app, *emails, **more):
    body = body_for(*emails, **more)
    return app.answer(Message(body, sign(body)))


def html(reply):
    return json.loads(reply.response.body)["html"]


@pytest.mark.parametrize("case", BODY_SIGNATURES)
def test_signature_vector(case, snapshot):
    header = case["header"]
    reply = make_app(snapshot, [case["secret"]]).answer(
        Message(case["body"].encode(), None if header is None else header.encode())
    )
    assert (reply.response.status == 200) is case["valid"]
    assert case["valid"] or reply is BAD_SIGNATURE


@pytest.mark.parametrize("case", PAYLOADS)
def test_payload(case, app):
    body = case["body"].encode()
    assert app.answer(Message(body, sign(body))).outcome == case["outcome"]


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        pytest.param(body_for("ann@example.com"), Outcome.FOUND, id="known"),
        pytest.param(body_for("ANN@Example.com "), Outcome.FOUND, id="known in another case"),
        pytest.param(
            body_for("nobody@example.com", "ann@example.com"), Outcome.FOUND, id="known by the second address"
        ),
        pytest.param(body_for("JÜRGEN@EXÄMPLE.com"), Outcome.FOUND, id="known by another spelling"),
        pytest.param(body_for("nobody@example.com"), Outcome.UNKNOWN, id="unknown"),
        pytest.param(body_for(), Outcome.NO_ADDRESS, id="no address"),
        pytest.param(b'{"ticket":{"id":1}}', Outcome.NO_ADDRESS, id="no customer"),
        pytest.param(b'{"customer":{"email":"none"}}', Outcome.NO_ADDRESS, id="an address that is none"),
        pytest.param(b'{"ticket":false}', Outcome.DRAFT, id="draft without an address"),
        pytest.param(
            b'{"ticket":false,"customer":{"email":"ann@example.com"}}', Outcome.FOUND, id="draft to a known customer"
        ),
        pytest.param(
            body_for("ann@example.com", mailbox={"email": "Ann@Example.com"}),
            Outcome.NO_ADDRESS,
            id="the mailbox's own address is no customer's",
        ),
        pytest.param(b"[]", Outcome.BAD_PAYLOAD, id="no object"),
        pytest.param(b'{"a":' + b"[" * 100_000, Outcome.BAD_PAYLOAD, id="100,000 deep"),
    ],
)
def test_outcome(body, outcome, app):
    assert app.answer(Message(body, sign(body))).outcome is outcome


def test_null_email(app):
    """Help Scout's own sample has `"email": null`, on which others fail with 500."""
    body = b'{"ticket":{"id":1},"customer":{"id":2,"email":null,"emails":[]}}'
    reply = app.answer(Message(body, sign(body)))
    assert (reply.response.status, reply.outcome) == (200, Outcome.NO_ADDRESS)


@pytest.mark.parametrize("header", [b"!!!", b"====", b"\xff\xfe", b"AAAA", "é".encode(), b"a" * 29])
def test_malformed_base64(header, app):
    """A header that is no base64 is refused as any wrong one, where others fail with 500."""
    assert app.answer(Message(body_for("ann@example.com"), header)) is BAD_SIGNATURE


@pytest.mark.parametrize(
    "address",
    ["a_b_c@example.com", "a%@example.com", "%@example.com", "___@example.com", "a*b%c@example.com", "%", "_"],
)
def test_wildcards_match_nobody_else(address, app):
    """`_` and `%` are letters of an address and never patterns; a_b%c@ is a customer."""
    assert ask(app, address).outcome in (Outcome.UNKNOWN, Outcome.NO_ADDRESS)
    assert ask(app, "a_b%c@example.com").outcome is Outcome.FOUND
    assert ask(app, "axb%c@example.com").outcome is Outcome.UNKNOWN


def test_verifies_before_parsing(app, monkeypatch):
    """Not one byte of an unsigned body is read by anything but the signature check."""
    read = []
    monkeypatch.setattr("appliance.sidebar.protocols.helpscout_app.decode", read.append)
    for body in (b"{", b"[" * 100_000, body_for("ann@example.com")):
        assert app.answer(Message(body, b"A" * 28)) is BAD_SIGNATURE
    assert read == []


def test_all_refused_signatures_get_the_same_bytes(app):
    body = body_for("ann@example.com")
    replies = {
        app.answer(Message(body, header)).response.body
        for header in (None, b"", b"x", b"\xff" * 28, sign(body, "other"), sign(body)[:-1])
    }
    assert replies == {BAD_SIGNATURE.response.body}
    assert sign(body) not in BAD_SIGNATURE.response.body


def test_no_data_yet():
    app = make_app(None)
    reply = ask(app, "ann@example.com")
    assert (reply.response.status, reply.outcome, html(reply)) == (200, Outcome.NOT_LOADED, builtin.not_loaded())
    assert ask(app).outcome is Outcome.NO_ADDRESS


def test_damaged_data_calls_nobody_unknown(tmp_path):
    snapshot = make_snapshot(tmp_path)
    app = make_app(snapshot)
    snapshot.close()  # as on a disk error, every look-up raises
    assert ask(app, "ann@example.com").outcome is Outcome.NOT_LOADED
    assert ask(app, "nobody@example.com").outcome is Outcome.NOT_LOADED


def test_damage_is_said_once(tmp_path):
    snapshot = make_snapshot(tmp_path)
    app = make_app(snapshot)
    snapshot.close()
    assert "damaged" in ask(app, "ann@example.com").fault
    assert ask(app, "bob@example.com").fault == ""


def test_more_customers_than_a_card_can_hold(tmp_path):
    """A placeholder on every row would make a card of megabytes, for as long as it is cached."""
    rows = [("email", "name"), *(("none@example.com", f"Name {n}") for n in range(500))]
    app = make_app(make_snapshot(tmp_path, rows))
    shown = html(ask(app, "none@example.com"))
    assert "More than 20 customers" in shown
    assert shown.count("<h4>") == 20


def test_every_customer_that_matches_is_shown_in_the_order_asked(app):
    shown = html(ask(app, "help@helpscout.net", "ann@example.com", "HELP@helpscout.net"))
    assert shown.index("Help Scout") < shown.index("Ann Lee")
    assert "2 customers" in shown
    assert shown.count("<h4>") == 2


def test_at_most_fifty_addresses_and_says_so(app):
    many = [f"nobody{n}@example.com" for n in range(50)]
    assert "only the first" not in html(ask(app, *many))
    late = html(ask(app, *many, "ann@example.com"))
    assert "only the first" in late
    assert "Ann" not in late


def test_caches_until_the_data_or_the_time_is_new(snapshot, tmp_path):
    timer = Timer()
    app = make_app(snapshot, timer=timer)
    assert ask(app, "ann@example.com").cache == CacheState.MISS
    assert ask(app, "ann@example.com").cache == CacheState.HIT
    assert ask(app, "Ann@example.com").response.body == ask(app, "ann@example.com").response.body
    assert ask(app, "nobody@example.com").cache == CacheState.MISS
    timer.now = 10.0
    assert ask(app, "nobody@example.com").cache == CacheState.MISS
    assert ask(app, "ann@example.com").cache == CacheState.HIT
    timer.now = 60.0
    assert ask(app, "ann@example.com").cache == CacheState.MISS
    rows = [CUSTOMERS[0], ("ann@example.com", "Ann Lee-Park", "Pro")]
    app.use(make_snapshot(tmp_path, rows))
    assert "Lee-Park" in html(ask(app, "ann@example.com"))


def test_an_answer_is_cached_for_all_that_it_depends_on(app):
    """More than fifty addresses give another card than the same fifty alone."""
    many = [f"nobody{n}@example.com" for n in range(50)]
    first = ask(app, *many)
    assert ask(app, *many, "x@example.com").response.body != first.response.body
    assert ask(app, *reversed(many)).cache == CacheState.MISS


@pytest.mark.parametrize(
    ("given", "logged"),
    [
        ("7", 7),
        (7, 7),
        ("Ann", None),
        ("ann@example.com", None),
        ("9" * 30, None),
        (10**30, None),
        (-1, -1),
        ("1_000", 1000),
        ("7 rue", None),
    ],
)
def test_only_numbers_go_into_the_log_line(given, logged, app):
    body = json.dumps({"ticket": {"id": given}, "user": {"id": given}, "mailbox": {"id": given}}).encode()
    reply = app.answer(Message(body, sign(body)))
    assert (reply.conversation, reply.agent, reply.mailbox) == (logged, logged, logged)


def test_a_customer_is_a_keyed_hash(app, snapshot):
    one, again, other = ask(app, "ann@example.com"), ask(app, "ANN@example.com"), ask(app, "nobody@example.com")
    assert one.customer == again.customer != other.customer
    assert one.customer is not None
    assert len(one.customer) == 16


@pytest.mark.parametrize(
    ("rules", "emails", "outcome"),
    [
        (Rules(), ["ann@example.com"], Outcome.FOUND),
        (Rules(frozenset({"example.com"})), ["ann@example.com", "ANN@EXAMPLE.COM"], Outcome.NO_ADDRESS),
        (Rules(frozenset({"example.com"})), ["ann@sub.example.com"], Outcome.UNKNOWN),
        (Rules(frozenset({"example.com"})), ["ann@example.com", "help@helpscout.net"], Outcome.FOUND),
        (Rules(frozenset({normalise_domain("EXÄMPLE.com")})), ["jürgen@exämple.com"], Outcome.NO_ADDRESS),
        (Rules(), ["ann+tag@example.com"], Outcome.UNKNOWN),
        (Rules(plus_addressing=True), ["ann+tag@example.com"], Outcome.FOUND),
        (Rules(plus_addressing=True), ["box+tag@example.com"], Outcome.NO_ADDRESS),
    ],
)
def test_rules_of_asking(rules, emails, outcome, snapshot):
    app = make_app(snapshot, rules=rules)
    assert ask(app, *emails, mailbox={"email": "Box@example.com"}).outcome is outcome


@pytest.mark.parametrize(
    ("rules", "email", "outcome"),
    [
        (Rules(), "b.ob@gmail.com", Outcome.UNKNOWN),
        (Rules(gmail_dots=True), "B.o.b@GoogleMail.com", Outcome.FOUND),
        (Rules(gmail_dots=True), "bob+tag@gmail.com", Outcome.UNKNOWN),
        (Rules(gmail_dots=True, plus_addressing=True), "b.ob+t.ag@gmail.com", Outcome.FOUND),
        (Rules(gmail_dots=True), "b.ob@example.com", Outcome.UNKNOWN),
        (Rules(gmail_dots=True), "our.box@gmail.com", Outcome.NO_ADDRESS),  # the mailbox's own
        (Rules(frozenset({"gmail.com"}), gmail_dots=True), "bob@googlemail.com", Outcome.NO_ADDRESS),
    ],
)
def test_rules_of_asking_about_gmail(rules, email, outcome, tmp_path):
    snapshot = make_snapshot(tmp_path, [("email",), ("bob@gmail.com",), ("bob@example.com",)])
    app = make_app(snapshot, rules=rules)
    assert ask(app, email, mailbox={"email": "Ourbox@googlemail.com"}).outcome is outcome


@pytest.mark.parametrize("address", ["ann@example.com", "nobody@example.com"])
def test_old_data_is_shown_with_its_age(address, snapshot):
    """The line comes when the age is reached, whatever is cached."""
    clock = Timer(NOW)
    app = make_app(snapshot, clock=clock, rules=Rules(max_age=3600.0))
    fresh = ask(app, address)
    clock.now = NOW + 3600
    assert ask(app, address).response.body == fresh.response.body
    clock.now = NOW + 3601
    stale = ask(app, address)
    assert stale.outcome is fresh.outcome
    assert html(stale) == html(fresh) + '<p class="orange">This data is out of date: last updated today at 14:13.</p>'


def test_data_grows_old_by_a_clock_that_was_set_back_too(snapshot):
    clock = Timer(NOW + 1800)
    app = make_app(snapshot, clock=clock, rules=Rules(max_age=3600.0))
    fresh = ask(app, "ann@example.com")
    for seconds, is_old in ((0, False), (3600, False), (3601, True), (8000, False)):
        clock.now = NOW - 7200 + seconds
        aged = html(ask(app, "ann@example.com"))
        assert aged == html(fresh) + (
            '<p class="orange">This data is out of date: last updated today at 12:13.</p>' if is_old else ""
        )


def test_a_huge_message_is_not_cached(app):
    """Its texts are the key: 10,000 of them would be 2.5 GB."""
    many = [f"a{n}@example.com" for n in range(1000)]
    assert ask(app, *many).cache == ask(app, *many).cache == CacheState.MISS


@given(message=MESSAGES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_signed_object_gets_a_card(message, snapshot):
    body = json.dumps(message).encode()
    reply = make_app(snapshot).answer(Message(body, sign(body)))
    assert isinstance(reply, Reply)
    assert (reply.response.status, reply.response.content_type) == (200, "application/json; charset=utf-8")
    assert set(json.loads(reply.response.body)) == {"html"}


@given(body=st.binary(max_size=300), signature=st.none() | st.binary(max_size=40), signed=st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_bytes_get_a_reply(body, signature, signed, snapshot):
    reply = make_app(snapshot).answer(Message(body, sign(body) if signed else signature))
    assert reply.response.status in ((200, 400) if signed else (403,))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"a":' + b"[" * 262_000, id="256 KiB of ["),
        pytest.param(b'{"a":' + b"9" * 1_000_000 + b"}", id="a million digits"),
        pytest.param(b'{"ticket":{"id":' + b"9" * 1_000_000 + b"}}", id="an id of a million digits"),
        pytest.param(body_for(*[f"a{n}@example.com" for n in range(8_000)]), id="8,000 addresses"),
        pytest.param(body_for(*["é" * 300 + "@exä" + "mple" * 10 + ".com"] * 200), id="wide addresses"),
        pytest.param(body_for(*[f"a@ä{n}.com" for n in range(14_000)]), id="14,000 wide domains"),
        pytest.param(body_for(*[f"a@\u0640ä{n}.com" for n in range(9_000)]), id="9,000 that are none"),
        pytest.param(b'{"customer":{"email":"' + "ä@".encode() * 60_000 + b'"}}', id="a long address"),
        pytest.param(b'{"customer":{' + b'"x":1,' * 30_000 + b'"id":[]}}', id="30,000 keys"),
    ],
)
def test_no_message_takes_long(body, app):
    """The bound is 100 ms; a pathological message would take seconds, so that a busy machine does not matter here."""
    began = time.process_time()
    reply = app.answer(Message(body, sign(body)))
    assert time.process_time() - began < 0.1
    assert reply.response.status in (200, 400)


def test_two_secrets(snapshot):
    app = make_app(snapshot, ["new", SECRET])
    body = body_for("ann@example.com")
    statuses = [app.answer(Message(body, sign(body, secret))).response.status for secret in ("new", SECRET, "older")]
    assert statuses == [200, 200, 403]
