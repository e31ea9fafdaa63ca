"""The table of requests, cut at every place, down both roads, and over real sockets."""

from __future__ import annotations

import asyncio
import json

import pytest

from appliance.edge.response import CONTINUE
from appliance.outcomes import Outcome
from tests.edge.cases import CASES, reply_of
from tests.edge.wire import Wire, make_site, split, without_date
from tests.factory import make_app, make_snapshot, sign
from tests.vectors import BODY_SIGNATURES, PAYLOADS

SMALL = [case for case in CASES if len(case.raw) < 2000]
SECRETS = sorted({case.values[0]["secret"] for case in BODY_SIGNATURES})


def named(cases):
    return [pytest.param(case, id=case.id) for case in cases]


@pytest.fixture(scope="module")
def apps(tmp_path_factory):
    snapshot = make_snapshot(tmp_path_factory.mktemp("requests"))
    others = {f"/{number}": make_app(snapshot, [secret]) for number, secret in enumerate(SECRETS)}
    return {"/helpscout": make_app(snapshot), **others}


async def talk(apps, pieces, fast=True, tls=False):
    wire = Wire(make_site(apps, fast=fast), tls=tls)
    await wire.feed(pieces)
    wire.fire()
    return wire


def check(case, wire):
    received = bytes(wire.sent)
    if case.continues:
        assert received.startswith(CONTINUE)
    assert received.count(CONTINUE) == case.continues
    answers = split(received.replace(CONTINUE, b""), case.head)
    assert [answer.status for answer in answers] == [
        reply.response.status if (reply := reply_of(expected)) else 200 for expected in case.answers
    ]
    for answer, expected in zip(answers, case.answers, strict=True):
        assert answer.fields["Cache-Control"] == "no-store"
        assert {"Date", "Content-Type", "Content-Length"} < set(answer.fields)
        if (reply := reply_of(expected)) is not None:
            assert answer.body == (b"" if case.head else reply.response.body)
            assert answer.fields["Content-Length"] == str(len(reply.response.body))
            assert dict(reply.response.headers).items() <= answer.fields.items()
        else:
            assert "Ann Lee" in json.loads(answer.body)["html"]
    last = answers[-1].fields.get("Connection")
    assert wire.closed == case.closes
    assert (last == "close") == case.closes
    assert last in (None, "close", "keep-alive")
    written = [reply.outcome for reply, _app, _peer in wire.site.request_log.lines]
    outcomes = [reply.outcome if (reply := reply_of(one)) else one for one in case.answers]
    assert sorted(written) == sorted(outcomes)
    assert sorted(outcome for _app, outcome, _cache in wire.site.counters.requests) == sorted(outcomes)


def test_there_are_enough_cases():
    assert len({case.id for case in CASES}) == len(CASES) >= 120


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "tornado"])
@pytest.mark.parametrize("case", named(CASES))
def test_whole(case, fast, apps):
    check(case, asyncio.run(talk(apps, [case.raw], fast)))


@pytest.mark.parametrize("case", named(CASES))
def test_both_roads_give_the_same_bytes(case, apps):
    fast, slow = (bytes(asyncio.run(talk(apps, [case.raw], road)).sent) for road in (True, False))
    assert without_date(fast) == without_date(slow)


@pytest.mark.parametrize("case", named(SMALL))
def test_byte_by_byte(case, apps):
    pieces = [case.raw[at : at + 1] for at in range(len(case.raw))]
    check(case, asyncio.run(talk(apps, pieces)))


@pytest.mark.parametrize("case", named(SMALL))
def test_in_two_at_every_place(case, apps):
    async def all_of_them():
        for at in range(1, len(case.raw)):
            check(case, await talk(apps, [case.raw[:at], case.raw[at:]]))

    asyncio.run(all_of_them())


@pytest.mark.parametrize("size", [1000, 16 * 1024, 16 * 1024 + 1, 64 * 1024])
@pytest.mark.parametrize("case", named([case for case in CASES if case not in SMALL]))
def test_large_ones_in_pieces(case, size, apps):
    pieces = [case.raw[at : at + size] for at in range(0, len(case.raw), size)]
    check(case, asyncio.run(talk(apps, pieces)))


def message(path, signature, body):
    field = b"" if signature is None else b"X-HelpScout-Signature: %b\r\n" % signature
    head = b"POST %b HTTP/1.1\r\nHost: a\r\n%bContent-Length: %d\r\n\r\n"
    return head % (path.encode(), field, len(body)) + body


def both(apps, raw):
    fast, slow = (without_date(bytes(asyncio.run(talk(apps, [raw], road)).sent)) for road in (True, False))
    assert fast == slow
    return fast


@pytest.mark.parametrize("case", PAYLOADS)
def test_payloads_down_both_roads(case, apps):
    body = case["body"].encode()
    assert both(apps, message("/helpscout", sign(body), body)).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("case", BODY_SIGNATURES)
def test_signatures_down_both_roads(case, apps):
    header = None if case["header"] is None else case["header"].strip().encode()
    answer = both(apps, message(f"/{SECRETS.index(case['secret'])}", header, case["body"].encode()))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n" if case["valid"] else b"HTTP/1.1 403 Forbidden\r\n")


def test_the_order_of_fields(apps):
    raw = message("/helpscout", None, b"")
    [answer] = split(bytes(asyncio.run(talk(apps, [raw])).sent))
    assert answer.names == ["Content-Type", "Date", "Cache-Control", "Content-Length"]
    assert answer.fields["Date"] == "Mon, 21 Sep 2026 14:13:20 GMT"


def test_a_refusal_is_logged_for_its_app(apps):
    """Once the target is known, a refusal counts for the app that it was meant for."""
    raw = b"POST /helpscout HTTP/1.1\r\nHost: a\r\nContent-Length: 999999\r\n\r\n"
    wire = asyncio.run(talk(apps, [raw]))
    assert wire.site.counters.requests == [("helpscout", Outcome.TOO_LARGE, "")]
