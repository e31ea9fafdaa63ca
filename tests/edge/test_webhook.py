"""Webhooks beside the legacy app and the page at one path: what is stored, what is answered, and when."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.customers.ids import Change, Kind
from appliance.edge.body import WebhookBody
from appliance.edge.refusals import MAX_BODY_BYTES, MAX_WEBHOOK_BYTES, Refusal
from appliance.edge.request_parser import HEAD, RequestParser
from appliance.edge.requests import Request, SignedPost
from appliance.edge.routes import Route
from appliance.outcomes import Reply
from appliance.sidebar.protocols.base import BAD_PAYLOAD, BAD_SIGNATURE
from appliance.sidebar.protocols.helpscout_page import HelpScoutPage
from appliance.sidebar.protocols.helpscout_webhook import IGNORED, NOT_STORED, NOTED, OVERSIZED
from appliance.sidebar.protocols.signature import Secret, Verifier
from tests.conftest import Logged
from tests.edge.wire import Apps
from tests.factory import SECRET, body_for, make_app, make_snapshot, sign
from tests.server import Response, Server, serving
from tests.vectors import WEBHOOKS

UPDATED = json.dumps({"id": 5, "_embedded": {"emails": [{"value": "Ann@Example.com"}]}}).encode()
SECRETS = sorted({case.values[0]["secret"] for case in WEBHOOKS})  # type: ignore[index]
STORED: list[Change] = []


async def keep(change: Change) -> bool:
    """Store a change, unless it is that of a customer whose number says that the disk is full."""
    STORED.append(change)
    return change.customer != 503


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("webhook")

    def make_apps() -> Apps:
        snapshot = make_snapshot(folder)
        return {
            "/helpscout": make_app(snapshot, others=[HelpScoutPage([SECRET.encode()])]),
            "/legacy": make_app(snapshot),
            **{f"/{at}": make_app(snapshot, [one], others=[HelpScoutPage([b"x"])]) for at, one in enumerate(SECRETS)},
        }

    with serving(make_apps, folder, store_change=keep) as running:
        yield running


@pytest.fixture(autouse=True)
def stored() -> list[Change]:
    STORED.clear()
    return STORED


def deliver(
    server: Server, body: bytes, event: str | None, signature: bytes | None, path: str = "/helpscout"
) -> Response:
    headers = {} if signature is None else {"X-HelpScout-Signature": signature.decode("latin-1")}
    if event is not None:
        headers["X-HelpScout-Event"] = event
    return server.request("POST", path, body, headers)


def is_reply(response: Response, reply: Reply, server: Server) -> None:
    assert (response.status, response.body) == (reply.response.status, reply.response.body)
    assert server.lines.last()["outcome"] == reply.outcome


@pytest.mark.parametrize("case", [case for case in WEBHOOKS if case.values[0]["event"]])  # type: ignore[index]
def test_vector(case: dict[str, Any], server: Server, stored: list[Change]) -> None:
    signature = case["signature"].encode() if case["signature"] else None
    path = f"/{SECRETS.index(case['secret'])}"
    response = deliver(server, case["body"].encode(), case["event"], signature, path)
    assert response.status == case["status"]
    assert [str(change.customer) for change in stored] == list(case["changes"])


def test_a_webhook_is_answered_once_it_is_stored(server: Server, stored: list[Change]) -> None:
    is_reply(deliver(server, UPDATED, "customer.updated", sign(UPDATED)), NOTED, server)
    [change] = stored
    assert (change.customer, change.kind, change.addresses) == (5, Kind.REPLACE, ("ann@example.com",))


def test_one_that_cannot_be_stored_is_to_be_sent_again(server: Server) -> None:
    body = b'{"id": 503}'
    is_reply(deliver(server, body, "customer.deleted", sign(body)), NOT_STORED, server)


@pytest.mark.parametrize(
    ("body", "event", "signature", "reply"),
    [
        (UPDATED, "customer.updated", None, BAD_SIGNATURE),
        (UPDATED, "customer.updated", sign(UPDATED, "other"), BAD_SIGNATURE),
        (b"[]", "customer.updated", sign(b"[]"), BAD_PAYLOAD),
        (b"", "customer.updated", sign(b""), BAD_PAYLOAD),
        (UPDATED, "beacon.chat.created", sign(UPDATED), IGNORED),
        (UPDATED, "", sign(UPDATED), IGNORED),
        (b'{"customer-id":"604417723"}', "customer.deleted", sign(b'{"customer-id":"604417723"}'), IGNORED),
    ],
    ids=[
        "no signature",
        "another secret",
        "a list",
        "empty",
        "another event",
        "no event",
        "the JSON of a page's query",
    ],
)
def test_others(
    body: bytes, event: str, signature: bytes | None, reply: Reply, server: Server, stored: list[Change]
) -> None:
    is_reply(deliver(server, body, event, signature), reply, server)
    assert stored == []


def test_without_the_header_it_is_a_message(server: Server, stored: list[Change]) -> None:
    body = body_for("ann@example.com")
    assert json.loads(deliver(server, body, None, sign(body)).body)["html"]
    assert deliver(server, UPDATED, None, sign(UPDATED)).status == 200
    assert stored == []


def test_an_app_without_a_page_takes_it_for_a_message(server: Server, stored: list[Change]) -> None:
    response = deliver(server, UPDATED, "customer.updated", sign(UPDATED), "/legacy")
    assert (response.status, stored) == (200, [])
    assert "html" in json.loads(response.body)


def test_messages_and_webhooks_on_one_connection(server: Server, stored: list[Change]) -> None:
    def request(body: bytes, *fields: bytes) -> bytes:
        head = b"POST /helpscout HTTP/1.1\r\nHost: localhost\r\nX-HelpScout-Signature: %b\r\nContent-Length: %d\r\n"
        return head % (sign(body), len(body)) + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body

    message, event = body_for("ann@example.com"), b"x-helpscout-EVENT: customer.updated"
    several = [
        request(message),
        request(UPDATED, event),
        request(message),
        request(UPDATED, event, b"Connection: close"),
    ]
    received = server.exchange(b"".join(several))
    assert received.count(b"HTTP/1.1 200 OK") == 4
    assert received.count(NOTED.response.body) == len(stored) == 2


def test_two_event_headers_are_no_event(server: Server, stored: list[Change]) -> None:
    head = b"POST /helpscout HTTP/1.1\r\nHost: localhost\r\nX-HelpScout-Signature: %b\r\nContent-Length: %d\r\n"
    events = b"X-HelpScout-Event: customer.updated\r\nX-HelpScout-Event: customer.deleted\r\nConnection: close\r\n\r\n"
    received = server.exchange(head % (sign(UPDATED), len(UPDATED)) + events + UPDATED)
    assert received.endswith(IGNORED.response.body)
    assert stored == []


# Bodies that are not held

OVER = MAX_BODY_BYTES + 1


def large(size: int) -> bytes:
    """Return a rightly formed event of this size, of a customer with a long background."""
    return UPDATED[:-1] + b', "background": "' + b"x" * (size - len(UPDATED) - 18) + b'"}'


def request(body: bytes, signature: bytes, framing: str, target: bytes = b"/helpscout") -> bytes:
    head = b"POST %b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-HelpScout-Event: convo.moved\r\n" % target
    head += b"X-HelpScout-Signature: %b\r\n" % signature
    if framing == "announced":
        return head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    pieces = (body[at : at + 50_000] for at in range(0, len(body), 50_000))
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


def test_the_largest_that_is_read(server: Server, stored: list[Change]) -> None:
    body = large(MAX_BODY_BYTES)
    assert len(body) == MAX_BODY_BYTES
    is_reply(deliver(server, body, "customer.updated", sign(body)), NOTED, server)
    assert len(stored) == 1


@pytest.mark.parametrize("target", [b"/helpscout", b"/helpscout?a=b", b"https://localhost/helpscout"])
@pytest.mark.parametrize("framing", ["announced", "chunked"])
@pytest.mark.parametrize("size", [OVER, MAX_WEBHOOK_BYTES])
def test_a_larger_one_is_taken_and_not_read(
    size: int, framing: str, target: bytes, server: Server, stored: list[Change], logged: Logged
) -> None:
    body = large(size)
    received = server.exchange(request(body, sign(body), framing, target))
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert received.endswith(OVERSIZED.response.body)
    assert server.lines.last()["outcome"] == "oversized"
    said = logged.take("webhook_oversized")
    assert (said["app"], said["webhook"], said["bytes"]) == ("helpscout", "convo.moved", size)
    assert stored == []


@pytest.mark.parametrize("framing", ["announced", "chunked"])
@pytest.mark.parametrize("signature", [b"", b"x", sign(large(OVER))[:-1] + b"A"], ids=["none", "malformed", "wrong"])
def test_a_larger_one_that_is_wrongly_signed(signature: bytes, framing: str, server: Server) -> None:
    received = server.exchange(request(large(OVER), signature, framing))
    assert received.startswith(b"HTTP/1.1 403 ")
    assert received.endswith(BAD_SIGNATURE.response.body)
    assert server.lines.last()["outcome"] == "bad_signature"


@pytest.mark.parametrize("framing", ["announced", "chunked"])
def test_one_that_is_too_large(framing: str, server: Server) -> None:
    body = large(MAX_WEBHOOK_BYTES + 1)
    received = server.exchange(request(body, sign(body), framing))
    assert received.startswith(b"HTTP/1.1 413 ")
    assert received.endswith(Refusal.WEBHOOK_TOO_LARGE.reply.response.body)
    line = server.lines.last()
    assert (line["outcome"], line["app"]) == ("too_large", "helpscout")


def test_the_sender_names_the_event_and_no_more_than_that(server: Server, logged: Logged) -> None:
    body = large(OVER)
    deliver(server, body, "ann@example.com " * 9, sign(body))
    assert logged.take("webhook_oversized")["webhook"] == "ann?example.com?ann?example.com?ann?exam"


@pytest.mark.parametrize("path", ["/legacy", "/helpscout"])
def test_a_message_is_no_larger_than_before(path: str, server: Server) -> None:
    event = "customer.updated" if path == "/legacy" else None  # an app without a page has no webhooks
    response = deliver(server, large(OVER), event, sign(large(OVER)), path)
    assert (response.status, response.body) == (413, Refusal.BODY_TOO_LARGE.reply.response.body)


ROUTE = Route(
    lambda request: BAD_SIGNATURE,
    "helpscout",
    b"x-helpscout-signature",
    b"POST /h HTTP/1.1\r\n",
    b"x-helpscout-event",
    Verifier([Secret(SECRET.encode())]).begin,
)


@pytest.mark.parametrize("size", [1, 7, 60, 4096])
def test_the_parser_leaves_events_to_the_application(size: int) -> None:
    parser = RequestParser({b"/h": ROUTE})
    head = b"POST /h HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
    raw = (head + b"\r\n{}" + head + b"X-HelpScout-Event: a\r\n\r\n{}") * 2
    events: list[object] = []
    for at in range(0, len(raw), size):
        event = parser.feed(raw[at : at + size])
        while event is not None or parser.kept:
            events += [event] if event is not None else []
            event = parser.feed(b"")
    assert [type(event) for event in events] == [SignedPost, Request] * 2


@pytest.mark.parametrize(("framing", "most"), [("announced", 0), ("chunked", MAX_BODY_BYTES)])
def test_how_much_of_a_large_one_is_held(framing: str, most: int) -> None:
    """However it is framed, and whatever comes after it on the connection."""
    parser = RequestParser({b"/h": ROUTE})
    body = large(MAX_WEBHOOK_BYTES)
    raw = request(body, sign(body), framing, b"/h").replace(b"Connection: close\r\n", b"") + b"POST /h HTTP/1.1\r\n"
    held, events = [0], []
    for at in range(0, len(raw), 4000):
        if (event := parser.feed(raw[at : at + 4000])) is not None:
            events.append(event)
        held.append(len(parser._body))
    assert most - 50_000 <= max(held) <= most
    [event] = events
    assert isinstance(event, Request)
    assert event.check is not None
    assert (event.body, event.check.size, event.check.verify(sign(body))) == (b"", len(body), True)
    assert (parser.feed(b""), parser.part, len(parser._body)) == (None, HEAD, 0)


@given(st.integers(0, 5), st.lists(st.integers(1, 3 * MAX_BODY_BYTES), max_size=6))
def test_pieces_are_checked_as_the_whole(over: int, cuts: list[int]) -> None:
    whole = b"0123456789abcdef" * (MAX_BODY_BYTES // 8) + b"x" * over
    ends = sorted({min(cut, len(whole)) for cut in cuts} | {len(whole)})
    body = WebhookBody(Verifier([Secret(b"one"), Secret(SECRET.encode())]).begin, None)
    assert all(body.add(whole[begin:end]) for begin, end in zip([0, *ends], ends, strict=False))
    assert body.check is not None
    assert body.check.verify(b" " + sign(whole) + b"\t")
    assert not body.check.verify(sign(whole + b"x"))
    assert not body.check.verify(None)
