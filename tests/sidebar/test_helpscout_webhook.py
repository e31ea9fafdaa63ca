"""What webhooks say about the ids of customers."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.customers.ids import DAY, MAX_ADDRESSES, Change, Kind, Known, Result, apply
from appliance.edge.refusals import MAX_BODY_BYTES
from appliance.outcomes import Reply
from appliance.sidebar.protocols.base import BAD_PAYLOAD, InquiryError, Message
from appliance.sidebar.protocols.helpscout_webhook import IGNORED, HelpScoutWebhook, change_of
from appliance.sidebar.protocols.signature import Secret, Verifier
from tests.vectors import WEBHOOK_SEQUENCES, WEBHOOKS

NOW = 1_790_000_000.0
EVENTS = (*("customer.created", "customer.updated", "customer.deleted"), *("convo.created", "convo.deleted", "x"))


@pytest.mark.parametrize("case", WEBHOOKS)
def test_vector(case: dict[str, Any]) -> None:
    body, signature = case["body"].encode(), case["signature"]
    verifier = Verifier([Secret(case["secret"].encode())])
    assert verifier.verify(body, signature.encode() if signature else None) is (case["status"] != 403)
    if case["status"] == 400:
        with pytest.raises(InquiryError):
            change_of(case["event"] or "", body, NOW)
    if case["status"] != 200:
        return
    change = change_of(case["event"] or "", body, NOW)
    if change is None:
        assert case["result"] == "ignored"
        return
    result, known = apply(None, change, NOW)
    assert (result, known is not None) == (case["result"], True)
    written = list(change.addresses) if change.kind is Kind.REPLACE else [f"+{one}" for one in change.addresses]
    assert {str(change.customer): None if change.kind is Kind.DELETE else written} == case["changes"]


@pytest.mark.parametrize("case", WEBHOOK_SEQUENCES)
def test_sequence(case: dict[str, Any]) -> None:
    held: dict[str, Known | None] = {}
    results = []
    for delivery in case["deliveries"]:
        received = datetime.fromisoformat(delivery["received"]).timestamp()
        change = change_of(delivery["event"], delivery["body"].encode(), received)
        assert change is not None
        result, held[str(change.customer)] = apply(held.get(str(change.customer)), change, received)
        results.append(result)
    assert results == case["results"]
    ends = {
        name: list(known.addresses) if known and known.addresses is not None else None for name, known in held.items()
    }
    assert ends == case["at_the_end"]


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ("customer.deleted", {"id": 5, "primaryCustomer": {"id": 6}}),
        ("customer.deleted", {"id": 5, "_embedded": {"emails": []}}),
        ("customer.deleted", {"customer-id": "5"}),  # the JSON of a page's query
        ("customer.deleted", {"id": True}),
        ("customer.deleted", {"id": 5.0}),
        ("customer.deleted", {"id": "05"}),
        ("customer.deleted", {"id": 2**63}),
        ("customer.updated", {"id": 5, "_embedded": {"emails": {"0": {"value": "a@x.example"}}}}),
        ("customer.updated", {"id": 5, "_embedded": []}),
        ("convo.created", {"id": 5, "primaryCustomer": {"id": 6, "type": "user", "email": "a@x.example"}}),
        ("convo.created", {"id": 5, "createdBy": {"id": 6, "type": "customer", "email": "a@x.example"}}),
        ("convo.created", {"id": 5, "primaryCustomer": {"id": 6, "email": "no address"}}),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else None,
)
def test_what_says_nothing(event: str, message: dict[str, Any]) -> None:
    assert change_of(event, json.dumps(message).encode(), NOW) is None


@pytest.mark.parametrize(
    ("updated", "as_of"),
    [
        ("2026-10-01T10:00:00Z", 1_790_848_800.0),
        ("2026-10-01T12:00:00+02:00", 1_790_848_800.0),
        ("2999-01-01T00:00:00Z", 1_800_000_000.0),  # would keep every later change out
        ("2026-10-01T10:00:00", 1_800_000_000.0),
        ("yesterday", 1_800_000_000.0),
        (7, 1_800_000_000.0),
        (None, 1_800_000_000.0),
    ],
)
def test_when(updated: object, as_of: float) -> None:
    message = {"id": 5, "updatedAt": updated, "_embedded": {"emails": []}}
    change = change_of("customer.updated", json.dumps(message).encode(), 1_800_000_000.0)
    assert change == Change(5, Kind.REPLACE, (), as_of)


def of_size(begin: str, again: str, end: str = "") -> bytes:
    """Return a body of the largest size that is read, of what comes again and again."""
    return (begin + again * ((MAX_BODY_BYTES - len(begin + end)) // len(again)) + end).encode()


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize(
    ("body", "reply"),
    [
        pytest.param(of_size("", "["), BAD_PAYLOAD, id="brackets"),
        pytest.param(of_size("", '{"id":'), BAD_PAYLOAD, id="braces"),
        pytest.param(of_size('{"a":"', "\\u0000", '"}'), IGNORED, id="NUL"),
        pytest.param(of_size('{"a":[', "1e9,", "1]}"), IGNORED, id="numbers"),
        pytest.param(of_size("{", '"id":"x",', '"id":null}'), IGNORED, id="the same key"),
        pytest.param(of_size('{"id":', "9", "}"), BAD_PAYLOAD, id="a long id"),
        pytest.param(of_size("", " "), BAD_PAYLOAD, id="white space"),
        pytest.param(of_size("", "\ufeff"), BAD_PAYLOAD, id="byte order marks"),
        pytest.param(b"\0" * MAX_BODY_BYTES, BAD_PAYLOAD, id="zeros"),
        pytest.param(b"\xff" * MAX_BODY_BYTES, BAD_PAYLOAD, id="not UTF-8"),
        pytest.param(
            of_size('{"x":{"id":5,"_embedded":{"emails":[', '{"value":"a@x.example"},', "0]}}}"), IGNORED, id="in vain"
        ),
    ],
)
def test_the_largest_bodies(event: str, body: bytes, reply: Reply) -> None:
    webhook = HelpScoutWebhook([b"secret"])
    assert webhook.read(event, Message(body, Secret(b"secret").sign(body)), NOW) == reply


@pytest.mark.parametrize(
    "value", ['"a@x.example"', '"no address"', "{}", '"\\u00e9@x.example"', f'"{"x" * 300}@x.example"']
)
def test_a_customer_of_the_largest_size(value: str) -> None:
    """Of so many addresses as many are known as of any customer."""
    body = of_size('{"id":5,"_embedded":{"emails":[', f'{{"value":{value}}},', "0]}}")
    change = change_of("customer.updated", body, NOW)
    assert change is not None
    assert len(change.addresses) <= MAX_ADDRESSES


@given(st.sampled_from(EVENTS), st.binary(max_size=300) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["id", "_embedded", "emails", "value", "primaryCustomer", "email", "updatedAt"]), inner
    ),
    max_leaves=12,
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_any_body_is_a_change_or_none_or_refused(event: str, body: bytes) -> None:
    try:
        change = change_of(event, body, NOW)
    except InquiryError:
        return
    if change is not None:
        assert 0 < change.customer < 2**63
        assert change.as_of <= NOW
        assert len(change.addresses) <= MAX_ADDRESSES


# How changes meet


def test_a_mark_ends_and_a_later_word_is_believed() -> None:
    gone = Known(None, NOW)
    add = Change(5, Kind.ADD, ("a@x.example",), NOW + 5)
    assert apply(gone, add, NOW + 5) == (Result.STALE, gone)
    assert apply(gone, add, NOW + 8 * 86400)[0] is Result.ADDED
    later = Change(5, Kind.REPLACE, ("a@x.example",), NOW + 1)
    assert apply(gone, later, NOW + 5) == (Result.REPLACED, Known(("a@x.example",), NOW + 1, int(NOW // DAY)))


CHANGES = st.builds(
    Change,
    st.just(5),
    st.sampled_from(Kind),
    st.lists(st.sampled_from("abc"), max_size=3, unique=True).map(tuple),
    st.integers(0, 9).map(float),
)


@given(st.lists(CHANGES, max_size=8))
def test_a_repeated_change_changes_nothing_more(changes: list[Change]) -> None:
    held: Known | None = None
    for change in changes:
        _, held = apply(held, change, 10.0)
        assert apply(held, change, 10.0)[1] == held


@given(st.lists(CHANGES.filter(lambda change: change.kind is Kind.REPLACE), min_size=1, max_size=5), st.randoms())
def test_of_replacements_the_latest_stays_whatever_their_order(changes: list[Change], random: Any) -> None:
    latest = max(change.as_of for change in changes)
    random.shuffle(changes)
    held: Known | None = None
    for change in changes:
        _, held = apply(held, change, 10.0)
    assert held is not None
    assert held.as_of == latest
    assert held.addresses in [change.addresses for change in changes if change.as_of == latest]
