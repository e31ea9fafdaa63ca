"""The table of requests on each path: a connection without a network, the apps, and the Tornado application.

Wherever a request is cut the parser alone decides what it means: test_request_parser.py cuts them all.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from typing import Any, cast

import pytest

from appliance.edge.response import CONTINUE
from appliance.outcomes import Outcome
from tests.edge.cases import BODY, CASES, GET, HALF, POST, Case, reply_of
from tests.edge.wire import Apps, Wire, make_site, split, without_date
from tests.factory import make_app, make_snapshot, sign
from tests.vectors import BODY_SIGNATURES, PAYLOADS

SECRETS = sorted({case.values[0]["secret"] for case in BODY_SIGNATURES})  # type: ignore[index]
ALL = [pytest.param(case, id=case.id) for case in CASES]


@pytest.fixture(scope="module")
def apps(tmp_path_factory: pytest.TempPathFactory) -> Apps:
    snapshot = make_snapshot(tmp_path_factory.mktemp("requests"))
    others = {f"/{number}": make_app(snapshot, [secret]) for number, secret in enumerate(SECRETS)}
    return {"/helpscout": make_app(snapshot), **others}


async def talk(apps: Apps, raw: bytes, fast: bool = True) -> Wire:
    wire = Wire(make_site(apps, fast=fast))
    await wire.feed([raw])
    wire.fire()
    return wire


def check(case: Case, wire: Wire) -> None:
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
    outcomes = [reply.outcome if (reply := reply_of(one)) else cast(Outcome, one) for one in case.answers]
    assert sorted(written) == sorted(outcomes)
    assert sorted(outcome for _app, outcome, _cache in wire.site.counters.requests) == sorted(outcomes)


def test_there_are_enough_cases() -> None:
    assert len({case.id for case in CASES}) == len(CASES) >= 120


@pytest.mark.parametrize("case", ALL)
def test_each_path(case: Case, apps: Apps) -> None:
    """The fast path and the fallback send the same bytes, and those are right."""
    fast, fallback = (asyncio.run(talk(apps, case.raw, fast)) for fast in (True, False))
    check(case, fast)
    check(case, fallback)
    assert without_date(bytes(fast.sent)) == without_date(bytes(fallback.sent))


def test_reads_of_one_connection(apps: Apps) -> None:
    """Alone, in pipelines, cut, and by both paths: what one read was says nothing of the next."""
    reads = [
        POST,
        POST,
        POST,
        POST[:99],
        POST[99:] + POST,
        GET,
        POST,
        POST * 3,
        POST,
        HALF,
        POST[len(HALF) :] + GET,
        POST,
    ]
    wire = Wire(make_site(apps))
    asyncio.run(wire.feed(reads))
    sent = [b"POST" if answer.status == 200 else b"GET" for answer in split(bytes(wire.sent))]
    assert sent == re.findall(rb"(GET|POST) /", b"".join(reads))


def message(path: str, signature: bytes | None, body: bytes) -> bytes:
    field = b"" if signature is None else b"X-HelpScout-Signature: %b\r\n" % signature
    head = b"POST %b HTTP/1.1\r\nHost: a\r\n%bContent-Length: %d\r\n\r\n"
    return head % (path.encode(), field, len(body)) + body


def both(apps: Apps, raw: bytes) -> bytes:
    fast, fallback = (without_date(bytes(asyncio.run(talk(apps, raw, fast)).sent)) for fast in (True, False))
    assert fast == fallback
    return fast


@pytest.mark.parametrize("case", PAYLOADS)
def test_payloads(case: dict[str, Any], apps: Apps) -> None:
    body = case["body"].encode()
    assert both(apps, message("/helpscout", sign(body), body)).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("case", BODY_SIGNATURES)
def test_signatures(case: dict[str, Any], apps: Apps) -> None:
    header = None if case["header"] is None else case["header"].strip().encode()
    answer = both(apps, message(f"/{SECRETS.index(case['secret'])}", header, case["body"].encode()))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n" if case["valid"] else b"HTTP/1.1 403 Forbidden\r\n")


def test_the_order_of_fields(apps: Apps) -> None:
    raw = message("/helpscout", None, b"")
    [answer] = split(bytes(asyncio.run(talk(apps, raw)).sent))
    assert answer.names == ["Content-Type", "Date", "Cache-Control", "Content-Length"]
    assert answer.fields["Date"] == "Mon, 21 Sep 2026 14:13:20 GMT"


def test_a_refusal_is_logged_for_its_app(apps: Apps) -> None:
    """Once the target is known, a refusal counts for the app that it was meant for."""
    raw = b"POST /helpscout HTTP/1.1\r\nHost: a\r\nContent-Length: 999999\r\n\r\n"
    wire = asyncio.run(talk(apps, raw))
    assert wire.site.counters.requests == [("helpscout", Outcome.TOO_LARGE, "")]


@pytest.mark.parametrize("fast", [True, False], ids=["fast path", "application"])
@pytest.mark.parametrize(
    ("fields", "named"),
    [
        (b"", ""),
        (b"Content-Encoding: gzip\r\n", "gzip"),
        (b"content-encoding:  BR \r\n", "br"),
        (b"Content-Encoding: identity\r\n", ""),
        (b"Content-Encoding:\r\n", ""),
        (b"Content-Encoding: deflate, gzip\r\n", "deflate, gzip"),
        (b"Content-Encoding: deflate\r\nContent-Encoding: gzip\r\n", "deflate, gzip"),
        (b"Content-Encoding: <b>\xfc" + b"x" * 99 + b"\r\n", "?b??" + "x" * 36),
        (b"Accept-Encoding: gzip\r\n", ""),
        (b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", "gzip"),
    ],
    ids=["none", "gzip", "br", "identity", "empty", "two", "two fields", "of a stranger", "of the answer", "chunked"],
)
def test_the_diagnosis_is_told_of_a_content_encoding(fields: bytes, named: str, fast: bool) -> None:
    """Whatever it is, a message that is rightly signed and readable gets its card, and every other its refusal."""
    told: list[tuple[str, bytes, str]] = []
    site = make_site(
        {"/helpscout": make_app(None)},
        fast=fast,
        sample_refusal=lambda app, request, protocol=None: told.append((app, request.body, request.encoding)),
    )
    packed, plain = gzip.compress(BODY), BODY

    def raw(body: bytes, signature: bytes) -> bytes:
        framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if b"chunked" in fields else body
        length = b"" if b"chunked" in fields else b"Content-Length: %d\r\n" % len(body)
        head = b"POST /helpscout HTTP/1.1\r\nHost: a\r\nX-HelpScout-Signature: %b\r\n" % signature
        return head + fields + length + b"\r\n" + framed

    pieces = [
        raw(packed, sign(plain)),
        raw(packed, sign(packed)),
        raw(plain, sign(plain)),
        message("/helpscout", b"x", b"1"),
    ]

    async def talk_to_it() -> Wire:
        wire = Wire(site)
        await wire.feed(pieces)
        wire.fire()
        return wire

    wire = asyncio.run(talk_to_it())
    assert [answer.status for answer in split(bytes(wire.sent))] == [403, 400, 200, 403]
    wrong = unreadable = ("helpscout", packed, named)
    other = ("helpscout", b"1", "")
    assert told == ([wrong, unreadable, other] if named else [wrong, other])
